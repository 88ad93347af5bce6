"""The messages of Paradex in its binary encoding (SBE, schema 1, versions 0 to 3), and the records that they make.

https://docs.paradex.trade/ws/general-information/binary-encoding
https://github.com/tradeparadex/paradex-py (`paradex_1_0.xml`, schema 1:2 of 25 September 2026)
A message is a head, a block of fixed fields whose length the head tells (fields are appended to it), groups of levels,
and texts. Numbers count 10^-8, but for the precise rate of funding, which counts 10^-12; times are microseconds.
What was appended to a version after the fact may be missing at its end. A trade names the aggressor's side.
"""

from collections.abc import Callable, Iterable
from struct import Struct as Layout
from struct import error

from aggregator.errors import BadFrame
from aggregator.exchange import Event
from aggregator.records import (
    DAY_S,
    HOUR_S,
    BookDelta,
    BookSnapshot,
    Funding,
    IndexPrice,
    Levels,
    Liquidation,
    MarkPrice,
    OpenInterest,
    OptionSummary,
    Ticker,
    Trade,
)
from aggregator.wire import bbo, unscaled, us

HEAD = Layout("<HHHH")  # length of the block, template, schema, version
GROUP = Layout("<HH")  # length of an entry, how many there are
LEVEL = Layout("<qq")
TRADE = Layout("<qqqBqqqB")
BEST = Layout("<6q")
BOOK = Layout("<qqB")
FIGURES = Layout("<27q")  # version 0
PRECISE = Layout("<q")
PRECISE_AT = HEAD.size + FIGURES.size + 16  # since version 1: two rates of options follow, then funding's precise one
FUNDING = Layout("<7qh")
SCHEMA, NOTHING, DEPTH = 1, -(2**63), 15
BUY, SELL, WHOLE, LIQUIDATED, BLOCK = 1, 2, 0, 2, 6


def number(mantissa: int) -> str | None:
    """The number that counts 10^-8, in the fewest digits; None where nothing is said."""
    return None if mantissa == NOTHING else unscaled(mantissa, 8)


def told(mantissa: int) -> str:
    found = number(mantissa)
    if found is None:
        raise BadFrame("a number that must be there is null")
    return found


def texts(frame: bytes, at: int) -> list[str]:
    """The texts at the end of a message, each behind its length."""
    found = []
    while at < len(frame):
        end = at + 1 + frame[at]
        if end > len(frame):
            raise BadFrame("a text is cut off")
        found.append(frame[at + 1 : end].decode())
        at = end
    return found


def levels(frame: bytes, at: int) -> tuple[Levels, int]:
    """The levels of a group, and where it ends."""
    size, count = GROUP.unpack_from(frame, at)
    end = at + GROUP.size + count * size
    if size < LEVEL.size or end > len(frame):
        raise BadFrame("a group of levels is cut off")
    rows = (LEVEL.unpack_from(frame, start) for start in range(at + GROUP.size, end, size))
    return [(told(price), told(amount)) for price, amount in rows], end


def read_trade(frame: bytes, end: int) -> Iterable[Event]:
    """A trade; the number that stands before the text of its id is cut to 64 bits, and of no use."""
    sent, sequence, _, side, price, size, matched, kind = TRADE.unpack_from(frame, HEAD.size)
    name, *rest = texts(frame, end)
    id, at = rest[0] if rest and rest[0] else None, us(matched)
    yield Trade(
        raw_symbol=name,
        id=id,
        price=told(price),
        size=told(size),
        side="buy" if side == BUY else "sell" if side == SELL else None,
        kind="liquidation" if kind == LIQUIDATED else "block" if kind == BLOCK else "trade",
        sequence=sequence or None,
        ts_event=at,
        ts_sent=us(sent),
    )
    if kind == LIQUIDATED:
        yield Liquidation(
            raw_symbol=name,
            id=id,
            price=told(price),
            price_kind="trade",
            size=told(size),
            ts_event=at,
            ts_sent=us(sent),
        )


def read_best(frame: bytes, end: int) -> Iterable[Event]:
    sent, sequence, *sides = BEST.unpack_from(frame, HEAD.size)
    yield bbo(texts(frame, end)[0], *map(number, sides), ts_sent=us(sent), sequence=sequence)


def read_book(frame: bytes, end: int) -> Iterable[Event]:
    sent, sequence, package = BOOK.unpack_from(frame, HEAD.size)
    bids, end = levels(frame, end)
    asks, end = levels(frame, end)
    name, at = texts(frame, end)[0], us(sent)
    if package == WHOLE:
        book = BookSnapshot(raw_symbol=name, bids=bids, asks=asks, depth=DEPTH, sequence=sequence, ts_sent=at)
        book.reason = "periodic"
        yield book
    else:
        yield BookDelta(raw_symbol=name, bids=bids, asks=asks, sequence=sequence, ts_sent=at)


def precise(frame: bytes, end: int) -> str | None:
    """The precise rate of funding; None where the message has none, or a market no funding."""
    if end < PRECISE_AT + PRECISE.size:
        return None
    (mantissa,) = PRECISE.unpack_from(frame, PRECISE_AT)
    return None if mantissa == NOTHING else unscaled(mantissa, 12)


def read_figures(frame: bytes, end: int) -> Iterable[Event]:
    """The figures of a market: those of an option are there where its volatility is neither null nor 0.

    A price or a volatility of 0 is none, and a side without a price is empty.
    """
    sent, _, mark, index, last, volume, interest, rate, bid, ask, _, _, iv, bid_iv, ask_iv, _, *rest = (
        FIGURES.unpack_from(frame, HEAD.size)
    )
    delta, gamma, vega, theta, rho, _, _, _, _, bid_size, ask_size = map(number, rest)
    name, at = texts(frame, end)[0], us(sent)
    yield Ticker(
        raw_symbol=name,
        last=number(last or NOTHING),
        quote_volume=number(volume),
        window_s=DAY_S,
        ts_sent=at,
    )
    if (price := number(mark or NOTHING)) is not None:
        yield MarkPrice(raw_symbol=name, price=price, ts_sent=at)
    if (underlying := number(index or NOTHING)) is not None:
        yield IndexPrice(raw_symbol=name, price=underlying, ts_sent=at)
    if (size := number(interest)) is not None:
        yield OpenInterest(raw_symbol=name, size=size, ts_sent=at)
    if (funding := precise(frame, end) or number(rate or NOTHING)) is not None:
        yield Funding(raw_symbol=name, rate=funding, ts_sent=at)
    if iv not in (NOTHING, 0):
        best_bid, best_ask = number(bid or NOTHING), number(ask or NOTHING)
        yield OptionSummary(
            raw_symbol=name,
            mark_price=price,
            mark_iv=number(iv),
            bid_iv=best_bid and number(bid_iv or NOTHING),
            ask_iv=best_ask and number(ask_iv or NOTHING),
            bid_price=best_bid,
            bid_size=best_bid and bid_size,
            ask_price=best_ask,
            ask_size=best_ask and ask_size,
            delta=delta,
            gamma=gamma,
            vega=vega,
            theta=theta,
            rho=rho,
            underlying_price=underlying,
            open_interest=size,
            ts_sent=at,
        )


def read_funding(frame: bytes, end: int) -> Iterable[Event]:
    """The rate cut to eight decimals: captures have it, and whoever asks today gets the precise one."""
    sent, _, rate, _, created, _, _, hours = FUNDING.unpack_from(frame, HEAD.size)
    name = texts(frame, end)[0]
    if (found := number(rate)) is not None:
        interval = hours * HOUR_S if hours > 0 else None
        yield Funding(raw_symbol=name, rate=found, interval_s=interval, ts_event=us(created), ts_sent=us(sent))


READERS: dict[int, tuple[int, Callable[[bytes, int], Iterable[Event]]]] = {  # template -> length, reader
    1: (TRADE.size, read_trade),
    2: (BEST.size, read_best),
    3: (BOOK.size, read_book),
    4: (FIGURES.size, read_figures),
    5: (FUNDING.size, read_funding),
}


def read_binary(frame: bytes) -> Iterable[Event]:
    """The records of a message; a template that is not known gives none."""
    try:
        length, template, schema, _ = HEAD.unpack_from(frame)
        if schema != SCHEMA:
            raise BadFrame(f"a message of schema {schema}, not of {SCHEMA}")
        least, read = READERS.get(template, (0, None))
        if length < least:
            raise BadFrame(f"a message of template {template} with a block of {length} bytes, not of {least}")
        return () if read is None else [*read(frame, HEAD.size + length)]
    except (error, IndexError, ValueError) as why:
        raise BadFrame(f"no message in a frame of {len(frame)} bytes: {why}") from None
