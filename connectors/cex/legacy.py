"""The socket before today's, `ws.cex.io`: books, for which it wanted a login, and statistics.

https://cex.io/websocket-api
Its trades name no pair. They, its candles and the book of its web page count a coin's smallest units, and how small
those are no message tells: they are left alone.
"""

from collections.abc import Callable, Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Event, Refused
from aggregator.records import DAY_S, BookDelta, BookSnapshot, Ticker
from aggregator.wire import Text, bbo, levels, ms, nonzero, number, optional, seconds


class BookWire(Struct, gc=False):
    """A whole book, or what has changed of it: an amount of zero removes a level; numbers follow without a hole."""

    pair: str = ""  # `BTC:USDT`
    id: int = 0
    timestamp_ms: int | None = None
    time: int | None = None  # the same of a change, in milliseconds too
    bids: list[list[Text]] = []
    asks: list[list[Text]] = []
    error: str | None = None


class TickWire(Struct, gc=False):
    """A price after a trade; its documentation does not say which asset the volume is in."""

    symbol1: str
    symbol2: str
    price: Text
    open24: Text = None


class TickerWire(Struct, gc=False):
    """The answer to a question for one pair. Its bid and ask have no sizes."""

    pair: tuple[str, str]
    timestamp: Text = None  # seconds
    low: Text = None
    high: Text = None
    last: Text = None
    volume: Text = None  # in the base, of 24 hours
    bid: Text = None
    ask: Text = None


DayRow = tuple[Text, Text, Text, Text, Text]  # open, high, low and close, and a volume in a coin's smallest units

decode_book = Decoder(BookWire, float_hook=number).decode
decode_tick = Decoder(TickWire, float_hook=number).decode
decode_ticker = Decoder(TickerWire, float_hook=number).decode
decode_day = Decoder(DayRow, float_hook=number).decode


def today(pair: str) -> str:
    """The name of a pair on the socket of today."""
    return pair.replace(":", "-")


def read_whole(data: Raw) -> Iterable[Event]:
    said = decode_book(data)
    if said.error is not None:
        return (Refused(said.error),)
    sent = None if said.timestamp_ms is None else ms(said.timestamp_ms)
    bids, asks = levels(said.bids), levels(said.asks)
    return (BookSnapshot(raw_symbol=today(said.pair), bids=bids, asks=asks, sequence=said.id, ts_sent=sent),)


def read_change(data: Raw) -> Iterable[Event]:
    said = decode_book(data)
    sent = None if said.time is None else ms(said.time)
    bids, asks = levels(said.bids), levels(said.asks)
    return (BookDelta(raw_symbol=today(said.pair), bids=bids, asks=asks, sequence=said.id, ts_sent=sent),)


def read_tick(data: Raw) -> Iterable[Event]:
    said = decode_tick(data)
    name = f"{said.symbol1}-{said.symbol2}"
    return (Ticker(raw_symbol=name, last=nonzero(said.price), open=nonzero(said.open24), window_s=DAY_S),)


def read_ticker(data: Raw) -> Iterable[Event]:
    said = decode_ticker(data)
    name, sent = "-".join(said.pair), None if said.timestamp is None else seconds(said.timestamp)
    statistics = Ticker(
        raw_symbol=name,
        last=nonzero(said.last),
        high=nonzero(said.high),
        low=nonzero(said.low),
        base_volume=optional(said.volume),
        window_s=DAY_S,
        ts_sent=sent,
    )
    return statistics, bbo(name, said.bid, None, said.ask, None, ts_sent=sent)


def read_day(pair: str, data: Raw) -> Iterable[Event]:
    """Read the prices of 24 hours, `ohlcv24`, in the order of its name: open, high, low, close."""
    first, high, low, last, _ = decode_day(data)
    if not pair:
        raise BadFrame("the prices of 24 hours without a pair")
    prices = Ticker(
        raw_symbol=today(pair),
        last=nonzero(last),
        open=nonzero(first),
        high=nonzero(high),
        low=nonzero(low),
        window_s=DAY_S,
    )
    return (prices,)


READERS: dict[str, Callable[[Raw], Iterable[Event]]] = {
    "order-book-subscribe": read_whole,
    "md_update": read_change,
    "tick": read_tick,
    "ticker": read_ticker,
}
