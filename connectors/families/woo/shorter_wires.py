"""Messages of WOO X in version 3: short fields, numbers as text, and two times, the event's and the frame's.

https://developer.woox.io/api-reference/endpoint/websocket/TRADE
"""

from typing import Literal

from msgspec import Struct

from aggregator.records import (
    DAY_S,
    MS_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    Levels,
    MarkPrice,
    OpenInterest,
    Ticker,
    Trade,
)
from aggregator.wire import bbo, ms, nonzero, optional, text
from connectors.families.woo.frames import perpetual_of

TOP = 10  # levels a side of a book that is always sent whole


class TradeRow(Struct, gc=False):
    s: str
    px: str
    sx: str
    sd: Literal["BUY", "SELL"]  # the taker's
    ts: int

    def record(self, at: int) -> Trade:
        return Trade(
            raw_symbol=self.s,
            price=self.px,
            size=self.sx,
            side="buy" if self.sd == "BUY" else "sell",
            ts_event=self.ts * MS_NS,
            ts_sent=at,
        )


class Change(Struct, gc=False):
    s: str
    ts: int
    prevTs: int  # the `ts` of the change before
    bids: Levels
    asks: Levels

    def record(self, at: int) -> BookDelta:
        return BookDelta(
            raw_symbol=self.s,
            bids=self.bids,
            asks=self.asks,
            sequence=self.ts,
            sequence_prev=self.prevTs,
            ts_event=self.ts * MS_NS,
            ts_sent=at,
        )


class Top(Struct, gc=False):
    """The ten best levels a side, sent whole; those of the exchange's own users (RPI) among them."""

    s: str
    ts: int
    bids: Levels
    asks: Levels

    def record(self, at: int) -> BookSnapshot:
        return BookSnapshot(
            raw_symbol=self.s,
            bids=self.bids,
            asks=self.asks,
            depth=TOP,
            reason="periodic",
            ts_event=self.ts * MS_NS,
            ts_sent=at,
        )


class BestRow(Struct, gc=False):
    s: str
    ts: int
    bp: str | None = None
    bq: str | None = None
    ap: str | None = None
    aq: str | None = None

    def record(self, at: int) -> Bbo:
        return bbo(
            self.s,
            self.bp,
            self.bq,
            self.ap,
            self.aq,
            ts_event=self.ts * MS_NS,
            ts_sent=at,
        )


class TickerRow(Struct, gc=False):
    s: str
    ts: int
    o: str | None = None
    c: str | None = None
    h: str | None = None
    l: str | None = None  # noqa: E741 - the exchange's spelling
    v: str | None = None
    a: str | None = None
    cnt: int | None = None

    def record(self, at: int) -> Ticker:
        return Ticker(
            raw_symbol=self.s,
            last=nonzero(self.c),
            open=nonzero(self.o),
            high=nonzero(self.h),
            low=nonzero(self.l),
            base_volume=optional(self.v),
            quote_volume=optional(self.a),
            trades=self.cnt,
            window_s=DAY_S,
            ts_event=self.ts * MS_NS,
            ts_sent=at,
        )


class Bar(Struct, gc=False):
    s: str
    t: str  # interval
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the exchange's spelling
    v: str
    a: str
    st: int
    et: int
    ts: int | None = None

    def record(self, at: int) -> Candle:
        return Candle(
            raw_symbol=self.s,
            interval=self.t,
            ts_open=self.st * MS_NS,
            ts_close=self.et * MS_NS,
            open=text(self.o),
            high=text(self.h),
            low=text(self.l),
            close=text(self.c),
            base_volume=text(self.v),
            quote_volume=text(self.a),
            ts_event=None if self.ts is None else self.ts * MS_NS,
            ts_sent=at,
        )


class RateRow(Struct, gc=False):
    s: str
    r: str
    ft: int | str  # when it is exchanged
    ts: int

    def record(self, at: int) -> Funding | None:
        rate = optional(self.r)
        if rate is None:
            return None
        return Funding(
            raw_symbol=self.s,
            rate=rate,
            kind="predicted",
            ts_next=ms(self.ft),
            ts_event=self.ts * MS_NS,
            ts_sent=at,
        )


class OpenRow(Struct, gc=False):
    s: str
    oi: str  # in the base asset
    ts: int

    def record(self, at: int) -> OpenInterest | None:
        size, told = optional(self.oi), self.ts * MS_NS
        return None if size is None else OpenInterest(raw_symbol=self.s, size=size, ts_event=told, ts_sent=at)


class MarkRow(Struct, gc=False):
    s: str
    px: str
    ts: int

    def record(self, at: int) -> MarkPrice | None:
        price = nonzero(self.px)
        return MarkPrice(raw_symbol=self.s, price=price, ts_event=self.ts * MS_NS, ts_sent=at) if price else None


class IndexRow(Struct, gc=False):
    s: str
    px: str
    ts: int

    def record(self, at: int) -> IndexPrice | None:
        name, price, told = perpetual_of(self.s), nonzero(self.px), self.ts * MS_NS
        return IndexPrice(raw_symbol=name, price=price, index=self.s, ts_event=told, ts_sent=at) if price else None
