"""The figures of Paradex's markets and their funding, in its binary encoding.

https://docs.paradex.trade/ws/general-information/binary-encoding
"""

from collections.abc import Iterable
from struct import Struct as Layout

from aggregator.exchange import Event
from aggregator.records import DAY_S, HOUR_S, Funding, IndexPrice, MarkPrice, OpenInterest, OptionSummary, Ticker
from aggregator.wire import unscaled, us
from connectors.paradex.wires import HEAD, NOTHING, number, texts

FIGURES = Layout("<27q")  # version 0
PRECISE = Layout("<q")
PRECISE_AT = HEAD.size + FIGURES.size + 16  # since version 1: two rates of options follow, then funding's precise one
FUNDING = Layout("<7qh")


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
