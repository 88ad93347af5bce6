"""The messages of XT's spot markets in its own spelling, and the records that they make.

https://doc.xt.com/docs/spot/WebSocket%20Public/RequestFormat
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.records import DAY_S, MS_NS, BookDelta, BookSnapshot, Candle, Record, Ticker, Trade
from aggregator.wire import Text, end_of, levels, ms, nonzero, optional, text


class TradeWire(Struct, gc=False):
    s: str
    i: Text
    t: int
    p: str
    q: str
    b: bool  # true: the buyer was the maker

    def records(self, _: str) -> Iterable[Record]:
        yield Trade(
            raw_symbol=self.s,
            id=text(self.i),
            price=text(self.p),
            size=text(self.q),
            side="sell" if self.b else "buy",
            ts_event=self.t * MS_NS,
        )


class DeltaWire(Struct, gc=False):
    s: str
    fi: int  # the first number that it covers
    i: int
    a: list[list[Text]]
    b: list[list[Text]]

    def records(self, _: str) -> Iterable[Record]:
        yield BookDelta(
            raw_symbol=self.s, bids=levels(self.b), asks=levels(self.a), sequence=self.i, sequence_first=self.fi
        )


class TopWire(Struct, gc=False):
    """The best levels as they stand, in captures of others (`depth@btc_usdt,20`)."""

    s: str
    a: list[list[Text]]
    b: list[list[Text]]
    i: int | None = None
    t: int | None = None

    def records(self, depth: str) -> Iterable[Record]:
        yield BookSnapshot(
            raw_symbol=self.s,
            bids=levels(self.b),
            asks=levels(self.a),
            depth=int(depth),
            reason="periodic",
            sequence=self.i,
            ts_sent=None if self.t is None else ms(self.t),
        )


class TickerWire(Struct, gc=False):
    s: str
    t: int
    o: str | None = None
    c: str | None = None
    h: str | None = None
    l: str | None = None  # noqa: E741 - the exchange's own name
    q: str | None = None
    v: str | None = None  # in the quote asset
    cv: str | None = None

    def records(self, _: str) -> Iterable[Record]:
        yield Ticker(
            raw_symbol=self.s,
            last=nonzero(self.c),
            open=nonzero(self.o),
            high=nonzero(self.h),
            low=nonzero(self.l),
            base_volume=optional(self.q),
            quote_volume=optional(self.v),
            change=optional(self.cv),
            window_s=DAY_S,
            ts_sent=self.t * MS_NS,
        )


class BarWire(Struct, gc=False):
    s: str
    t: int  # when it begins
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the exchange's own name
    q: str
    v: str  # in the quote asset

    def records(self, interval: str) -> Iterable[Record]:
        start = self.t * MS_NS
        yield Candle(
            raw_symbol=self.s,
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=text(self.o),
            high=text(self.h),
            low=text(self.l),
            close=text(self.c),
            base_volume=optional(self.q),
            quote_volume=optional(self.v),
        )
