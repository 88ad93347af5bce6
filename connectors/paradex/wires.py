"""The messages of Paradex in its binary encoding (SBE, schema 1, versions 0 to 3), and the records that they make.

https://docs.paradex.trade/ws/general-information/binary-encoding
https://github.com/tradeparadex/paradex-py (`paradex_1_0.xml`, schema 1:2 of 25 September 2026)
A message is a head, a block of fixed fields whose length the head tells (fields are appended to it), groups of levels,
and texts. Numbers count 10^-8, but for the precise rate of funding, which counts 10^-12; times are microseconds.
What was appended to a version after the fact may be missing at its end. A trade names the aggressor's side.
"""

from collections.abc import Iterable
from struct import Struct as Layout

from aggregator.errors import BadFrame
from aggregator.exchange import Event
from aggregator.records import (
    BookDelta,
    BookSnapshot,
    Levels,
    Liquidation,
    Trade,
)
from aggregator.wire import bbo, unscaled, us

HEAD = Layout("<HHHH")  # length of the block, template, schema, version
GROUP = Layout("<HH")  # length of an entry, how many there are
LEVEL = Layout("<qq")
TRADE = Layout("<qqqBqqqB")
BEST = Layout("<6q")
BOOK = Layout("<qqB")
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
