"""The messages of WEEX in its own spelling, and the records that they make.

https://www.weex.com/api-doc/contract/Websocket/public/Depth-Channel
https://www.weex.com/api-doc/spot/Websocket/public/Depth-Channel
Amounts are of the base asset, of contracts too. `E` is when a message was made, 2 to 10 ms after its trade.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, field

from aggregator.records import (
    DAY_S,
    MS_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    IndexPrice,
    MarkPrice,
    Record,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, levels, nonzero, optional, text

DEPTH = 200  # levels a side, as we ask for them


class TradeRow(Struct, gc=False):
    at: int = field(name="T")
    t: str
    p: str
    q: str
    m: bool  # the buyer was the maker, so the taker sold

    def record(self, symbol: str, sent: int) -> Trade:
        return Trade(
            raw_symbol=symbol,
            id=self.t,
            price=text(self.p),
            size=text(self.q),
            side="sell" if self.m else "buy",
            ts_event=self.at * MS_NS,
            ts_sent=sent,
        )


class DepthWire(Struct, gc=False):
    """A whole book or changes of it. `U` is the number of the frame before, and not the one after that (2026-09)."""

    E: int
    s: str
    U: int
    u: int
    d: Literal["SNAPSHOT", "CHANGED"]
    b: list[list[Text]]
    a: list[list[Text]]
    l: int = DEPTH  # noqa: E741 - the wire's name: levels a side

    def record(self) -> BookSnapshot | BookDelta:
        bids, asks, sent = levels(self.b), levels(self.a), self.E * MS_NS
        if self.d == "SNAPSHOT":
            return BookSnapshot(raw_symbol=self.s, bids=bids, asks=asks, depth=self.l, sequence=self.u, ts_sent=sent)
        return BookDelta(raw_symbol=self.s, bids=bids, asks=asks, sequence=self.u, sequence_prev=self.U, ts_sent=sent)


class BestWire(Struct, gc=False):
    E: int
    s: str
    b: str | None = None
    B: str | None = None
    a: str | None = None
    A: str | None = None

    def record(self) -> Bbo:
        return bbo(self.s, self.b, self.B, self.a, self.A, ts_sent=self.E * MS_NS)


class BarRow(Struct, gc=False):
    t: int
    end: int = field(name="T")
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the wire's name
    v: str
    q: str | None = None
    n: int | None = None

    def record(self, symbol: str, sent: int) -> Candle:
        return Candle(
            raw_symbol=symbol,
            interval=self.i,
            ts_open=self.t * MS_NS,
            ts_close=self.end * MS_NS,
            open=text(self.o),
            high=text(self.h),
            low=text(self.l),
            close=text(self.c),
            base_volume=optional(self.v),
            quote_volume=optional(self.q),
            trades=self.n,
            ts_sent=sent,
        )


class DayRow(Struct, gc=False):
    """Statistics of a day, which end up to a quarter of an hour before the message."""

    c: str | None = None
    o: str | None = None
    h: str | None = None
    l: str | None = None  # noqa: E741 - the wire's name
    v: str | None = None
    q: str | None = None
    w: str | None = None
    p: str | None = None
    n: int | None = None
    m: str | None = None  # perpetuals alone have it, and `i`
    i: str | None = None

    def records(self, symbol: str, sent: int) -> Iterable[Record]:
        yield Ticker(
            raw_symbol=symbol,
            last=nonzero(self.c),
            open=nonzero(self.o),
            high=nonzero(self.h),
            low=nonzero(self.l),
            base_volume=optional(self.v),
            quote_volume=optional(self.q),
            vwap=nonzero(self.w),
            change=optional(self.p) if nonzero(self.c) else None,
            trades=self.n,
            window_s=DAY_S,
            ts_sent=sent,
        )
        if (mark := nonzero(self.m)) is not None:
            yield MarkPrice(raw_symbol=symbol, price=mark, ts_sent=sent)
        if (index := nonzero(self.i)) is not None:
            yield IndexPrice(raw_symbol=symbol, price=index, ts_sent=sent)
