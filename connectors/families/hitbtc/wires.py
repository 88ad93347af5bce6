"""The messages of version 3 of the HitBTC protocol in its own spelling, and the records that they make.

https://api.hitbtc.com/#socket-market-data
"""

from collections.abc import Iterable
from typing import Literal, TypeVar

from msgspec import UNSET, Struct, UnsetType

from aggregator.errors import BadFrame
from aggregator.records import (
    DAY_S,
    HOUR_S,
    MS_NS,
    SECOND_NS,
    BookDelta,
    BookSnapshot,
    Candle,
    Flags,
    Funding,
    IndexPrice,
    Levels,
    MarkPrice,
    OpenInterest,
    Record,
    Side,
    Ticker,
    Trade,
)
from aggregator.wire import bbo, nonzero

PERIODS = {
    "1m": "M1",
    "3m": "M3",
    "5m": "M5",
    "15m": "M15",
    "30m": "M30",
    "1h": "H1",
    "4h": "H4",
    "1d": "D1",
    "1w": "D7",
    "1M": "1M",
}
INTERVALS = {period: interval for interval, period in PERIODS.items()}
UNITS = {"M": 60, "H": HOUR_S, "D": DAY_S}  # seconds; a period of months, `1M`, has no length
SNAPSHOT: Flags = ("snapshot",)

T = TypeVar("T")


class TradeWire(Struct, gc=False):
    t: int
    i: int
    p: str
    q: str
    s: Side  # the taker's

    def record(self, raw_symbol: str, flags: Flags | UnsetType) -> Record:
        return Trade(
            raw_symbol=raw_symbol,
            id=str(self.i),
            price=self.p,
            size=self.q,
            side=self.s,
            ts_event=self.t * MS_NS,
            flags=flags,
        )


class BookWire(Struct, gc=False):
    t: int
    s: int  # one more with each update of the symbol
    a: Levels
    b: Levels

    def delta(self, raw_symbol: str) -> Record:
        return BookDelta(raw_symbol=raw_symbol, bids=self.b, asks=self.a, sequence=self.s, ts_event=self.t * MS_NS)

    def whole(self, raw_symbol: str, reason: Literal["initial", "periodic"], depth: int | None) -> Record:
        return BookSnapshot(
            raw_symbol=raw_symbol,
            bids=filled(self.b),
            asks=filled(self.a),
            depth=depth,
            reason=reason,
            sequence=self.s,
            ts_event=self.t * MS_NS,
        )


def filled(side: Levels) -> Levels:
    """A whole book may hold levels of no size, which are none."""
    return [level for level in side if level[1].lstrip("0.")]


class BestWire(Struct, gc=False):
    """A side that is empty is null, or left out."""

    t: int
    a: str | None = None
    A: str | None = None
    b: str | None = None
    B: str | None = None

    def record(self, raw_symbol: str) -> Record:
        return bbo(
            raw_symbol,
            self.b,
            self.B,
            self.a,
            self.A,
            ts_event=self.t * MS_NS,
        )


class TickerWire(Struct, gc=False):
    """The ticker of the last 24 hours; the short one, `ticker/price`, has no `p`."""

    t: int
    o: str | None = None
    c: str | None = None
    h: str | None = None
    l: str | None = None  # noqa: E741 - the exchange's name
    v: str | None = None  # in the base asset
    q: str | None = None  # in the quote asset
    p: str | None = None  # last minus open

    def record(self, raw_symbol: str) -> Record:
        return Ticker(
            raw_symbol=raw_symbol,
            last=nonzero(self.c),
            open=nonzero(self.o),
            high=nonzero(self.h),
            low=nonzero(self.l),
            base_volume=self.v,
            quote_volume=self.q,
            change=self.p,
            window_s=DAY_S,
            ts_event=self.t * MS_NS,
        )


class BarWire(Struct, gc=False):
    t: int  # its start
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the exchange's name
    v: str  # in the base asset
    q: str  # in the quote asset

    def record(self, raw_symbol: str, period: str, flags: Flags | UnsetType) -> Record:
        at, length = self.t * MS_NS, length_of(period)
        return Candle(
            raw_symbol=raw_symbol,
            interval=INTERVALS.get(period, period),
            ts_open=at,
            ts_close=None if length is None else at + length,
            open=self.o,
            high=self.h,
            low=self.l,
            close=self.c,
            base_volume=self.v,
            quote_volume=self.q,
            flags=flags,
        )


class FutureWire(Struct, gc=False):
    """The figures of a future, every three seconds; by REST they have longer names."""

    t: int
    m: str | None = None  # mark price
    i: str | None = None  # index price
    o: str | None = None  # open interest, in the underlying
    r: str | None = None  # funding rate
    R: str | None = None  # the rate of the interval after, as it looks now
    T: int | None = None  # when funding is exchanged next

    def records(self, raw_symbol: str) -> Iterable[Record]:
        at = self.t * MS_NS
        if mark := nonzero(self.m):
            yield MarkPrice(raw_symbol=raw_symbol, price=mark, ts_event=at)
        if index := nonzero(self.i):
            yield IndexPrice(raw_symbol=raw_symbol, price=index, ts_event=at)
        if self.r:
            due = self.T * MS_NS if self.T else None
            yield Funding(raw_symbol=raw_symbol, rate=self.r, ts_next=due, ts_event=at)
        if self.R:
            yield Funding(raw_symbol=raw_symbol, rate=self.R, kind="predicted", ts_event=at)
        if self.o:
            yield OpenInterest(raw_symbol=raw_symbol, size=self.o, ts_event=at)


def length_of(period: str) -> int | None:
    """A period's length in nanoseconds; a month has none."""
    unit, count = UNITS.get(period[:1]), period[1:]
    return unit * int(count) * SECOND_NS if unit and count.isdecimal() else None


class Trades(Struct, gc=False):
    """`snapshot` is what had been dealt before, and only comes where it is asked for."""

    update: dict[str, list[TradeWire]] | None = None
    snapshot: dict[str, list[TradeWire]] | None = None

    def records(self) -> Iterable[Record]:
        trades, flags = either(self.update, self.snapshot)
        return [trade.record(name, flags) for name, rows in trades.items() for trade in rows]


class Books(Struct, gc=False):
    """`data` is the best levels alone, in the channels of a fixed depth: `orderbook/D5/500ms`."""

    ch: str
    update: dict[str, BookWire] | None = None
    snapshot: dict[str, BookWire] | None = None
    data: dict[str, BookWire] | None = None

    def records(self) -> Iterable[Record]:
        if self.update is not None:
            return [book.delta(name) for name, book in self.update.items()]
        if self.snapshot is not None:
            return [book.whole(name, "initial", None) for name, book in self.snapshot.items()]
        if self.data is None:
            raise BadFrame(f"a frame of {self.ch} without a book")
        levels = self.ch.removeprefix("orderbook/D").partition("/")[0]
        depth = int(levels) if levels.isdecimal() else None
        return [book.whole(name, "periodic", depth) for name, book in self.data.items()]


class Bests(Struct, gc=False):
    data: dict[str, BestWire]

    def records(self) -> Iterable[Record]:
        return [best.record(name) for name, best in self.data.items()]


class Tickers(Struct, gc=False):
    data: dict[str, TickerWire]

    def records(self) -> Iterable[Record]:
        return [ticker.record(name) for name, ticker in self.data.items()]


class Bars(Struct, gc=False):
    """`snapshot` is the bars before, and the one that is open."""

    ch: str
    update: dict[str, list[BarWire]] | None = None
    snapshot: dict[str, list[BarWire]] | None = None

    def records(self) -> Iterable[Record]:
        bars, flags = either(self.update, self.snapshot)
        period = self.ch.removeprefix("candles/")
        return [bar.record(name, period, flags) for name, rows in bars.items() for bar in rows]


class Futures(Struct, gc=False):
    data: dict[str, FutureWire]

    def records(self) -> Iterable[Record]:
        return [record for name, future in self.data.items() for record in future.records(name)]


def either(update: dict[str, T] | None, snapshot: dict[str, T] | None) -> tuple[dict[str, T], Flags | UnsetType]:
    """Whichever is there, and the flags of its records."""
    if update is not None:
        return update, UNSET
    if snapshot is None:
        raise BadFrame("neither an update nor a snapshot")
    return snapshot, SNAPSHOT
