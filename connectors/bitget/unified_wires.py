"""Bitget's version 3 (of unified accounts): the same markets, told by `topic` and `symbol`, with shorter names.

https://www.bitget.com/api-doc/uta/websocket/public/Order-Book-Channel
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Event
from aggregator.records import MS_NS, Candle, Levels, Record, Side, Trade
from aggregator.wire import Text, past
from connectors.bitget.wires import BarWire, BookWire, LiquidationWire, TickerWire, TradeWire, interval_of

DEPTHS = {"books5": 5, "books50": 50}

T = TypeVar("T")


class Topic(Struct, gc=False):
    topic: str
    symbol: str = ""
    instId: str = ""  # the symbol, in older examples of the documentation
    interval: str = ""  # only candles have one

    @property
    def name(self) -> str:
        """The instrument; liquidations have none here, they name it themselves."""
        name = self.symbol or self.instId
        if not name:
            raise BadFrame(f"{self.topic} without a symbol")
        return name


class Said(Struct, Generic[T], gc=False):
    """Data of one topic of one instrument."""

    arg: Topic
    data: list[T] | T  # a book of a tokenized stock stands alone
    action: str = ""
    ts: int | None = None  # when it was sent

    @property
    def rows(self) -> list[T]:
        """The data as a list."""
        return self.data if isinstance(self.data, list) else [self.data]

    @property
    def sent(self) -> int | None:
        """When it was sent, in ns."""
        return None if self.ts is None else self.ts * MS_NS


class Fill(Struct, gc=False):
    """A trade; `isRPI` tells whether the maker's order was one for retail price improvement."""

    i: str
    v: str
    S: Side  # the taker's
    T: int
    p: str = ""
    P: str = ""  # the price, in 2025

    def record(self, name: str, sent: int | None) -> Trade:
        price = self.p or self.P
        if not price:
            raise BadFrame("a trade without a price")
        return TradeWire(ts=self.T, price=price, size=self.v, side=self.S, tradeId=self.i).record(name, sent)


class Depth(Struct, gc=False):
    a: Levels
    b: Levels
    ts: int
    seq: int | None = None
    pseq: int | None = None  # the one before; 0 of a whole book
    checksum: int | None = None

    def record(self, said: "Said[Depth]") -> Record:
        topic, name = said.arg.topic, said.arg.name
        book = BookWire(asks=self.a, bids=self.b, ts=self.ts, checksum=self.checksum, seq=self.seq, pseq=self.pseq)
        if topic == "books1":
            return book.best(name, said.sent)
        if said.action != "update":
            return book.whole(name, said.sent, DEPTHS.get(topic), is_first=topic == "books")
        return book.delta(name, said.sent)


class Statistics(Struct, gc=False):
    """The ticker of version 3: it has the figures of version 2's under other names, and no time of its own."""

    lastPrice: str = ""
    openPrice24h: str = ""
    highPrice24h: str = ""
    lowPrice24h: str = ""
    volume24h: str = ""
    turnover24h: str = ""
    fundingRate: str | None = None  # this and what follows: futures only
    nextFundingTime: Text = None
    openInterest: str | None = None
    markPrice: str | None = None
    indexPrice: str | None = None

    def records(self, name: str, sent: int | None) -> Iterable[Record]:
        ticker = TickerWire(
            instId=name,
            ts=None,
            lastPr=self.lastPrice,
            open24h=self.openPrice24h,
            high24h=self.highPrice24h,
            low24h=self.lowPrice24h,
            baseVolume=self.volume24h,
            quoteVolume=self.turnover24h,
            fundingRate=self.fundingRate,
            nextFundingTime=self.nextFundingTime,
            holdingAmount=self.openInterest,
            markPrice=self.markPrice,
            indexPrice=self.indexPrice,
        )
        return ticker.records(sent)


class Line(Struct, gc=False):
    """A candle."""

    start: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str | None = None

    def record(self, said: "Said[Line]") -> Candle:
        bar = BarWire(self.start, self.open, self.high, self.low, self.close, self.volume, self.turnover)
        return bar.record(said.arg.name, interval_of(said.arg.interval), said.sent)


class Forced(Struct):
    """Liquidations of one type of contracts."""

    data: list[LiquidationWire]
    ts: int | None = None


decode_fills = Decoder(Said[Fill], strict=False).decode  # not strict: times come as text
decode_depths = Decoder(Said[Depth], strict=False).decode
decode_statistics = Decoder(Said[Statistics], strict=False).decode
decode_lines = Decoder(Said[Line], strict=False).decode
decode_forced = Decoder(Forced, strict=False).decode


def read_fills(frame: bytes) -> Iterable[Event]:
    """Read trades, which come newest first; those at the beginning of a connection are past ones."""
    said = decode_fills(frame)
    trades = [fill.record(said.arg.name, said.sent) for fill in reversed(said.rows)]
    return past(trades) if said.action == "snapshot" else trades


def read_depths(frame: bytes) -> Iterable[Event]:
    said = decode_depths(frame)
    return [depth.record(said) for depth in said.rows]


def read_statistics(frame: bytes) -> Iterable[Event]:
    said = decode_statistics(frame)
    return [record for row in said.rows for record in row.records(said.arg.name, said.sent)]


def read_lines(frame: bytes) -> Iterable[Event]:
    said = decode_lines(frame)
    return [line.record(said) for line in said.rows]


def read_forced(frame: bytes) -> Iterable[Event]:
    said = decode_forced(frame)
    return [row.record(None if said.ts is None else said.ts * MS_NS) for row in said.data]


READERS: dict[str, Callable[[bytes], Iterable[Event]]] = {
    "publicTrade": read_fills,
    "books": read_depths,
    "books1": read_depths,
    "books5": read_depths,
    "books50": read_depths,
    "ticker": read_statistics,
    "kline": read_lines,
    "liquidation": read_forced,
}
