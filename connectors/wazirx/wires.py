"""The messages of the two streams, which wrap their data alike, and the records that they make.

Spot gives no word of its own for what a message is: its stream is named by it. Futures are spelled in small letters in
the stream and in capitals in the listing.
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import Raw, Struct

from aggregator.records import (
    DAY_S,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    Levels,
    MarkPrice,
    Record,
    Ticker,
    Trade,
)
from aggregator.wire import bbo, end_of, ms, nonzero, optional

LEVELS = 20  # a side of each book that is told

T = TypeVar("T")


class Frame(Struct, Generic[T]):
    data: T
    stream: str


class SpotTrade(Struct, gc=False):
    """Its `S` is the maker's side: the documentation's example says `buy` where the buyer's order is the older one."""

    E: int  # when it was matched
    m: bool  # the buyer was the maker, so the taker sold
    p: str
    q: str
    s: str
    t: int

    def record(self) -> Record:
        return Trade(
            raw_symbol=self.s,
            id=str(self.t),
            price=self.p,
            size=self.q,
            side="sell" if self.m else "buy",
            sequence=self.t,
            ts_event=ms(self.E),
        )


class SpotTrades(Struct, gc=False):
    trades: list[SpotTrade]

    def records(self) -> Iterable[Record]:
        return [trade.record() for trade in self.trades]


class SpotBook(Struct, gc=False):
    E: int
    s: str
    a: Levels
    b: Levels

    def records(self) -> Iterable[Record]:
        book = BookSnapshot(
            raw_symbol=self.s, bids=self.b, asks=self.a, depth=LEVELS, ts_sent=ms(self.E), reason="periodic"
        )
        return (book,)


class SpotTicker(Struct, gc=False):
    """Prices are `0.0` where there is none."""

    E: int
    s: str
    a: str
    b: str
    c: str
    h: str
    l: str  # noqa: E741 - the wire's name
    o: str
    q: str  # the quantity, which is in the base as that of a trade

    def records(self) -> Iterable[Record]:
        sent = ms(self.E)
        statistics = Ticker(
            raw_symbol=self.s,
            last=nonzero(self.c),
            open=nonzero(self.o),
            high=nonzero(self.h),
            low=nonzero(self.l),
            base_volume=optional(self.q),
            window_s=DAY_S,
            ts_sent=sent,
        )
        return statistics, bbo(self.s, self.b, None, self.a, None, ts_sent=sent)


class SpotCandle(Struct, gc=False):
    s: str
    t: int  # when it begins
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the wire's name
    v: str  # in the base
    E: int | None = None

    def records(self) -> Iterable[Record]:
        start = ms(self.t)
        candle = Candle(
            raw_symbol=self.s,
            interval=self.i,
            ts_open=start,
            ts_close=end_of(self.i, start),
            open=self.o,
            high=self.h,
            low=self.l,
            close=self.c,
            base_volume=self.v,
            ts_sent=None if self.E is None else ms(self.E),
        )
        return (candle,)


class FuturesTrade(Struct, gc=False):
    E: int
    T: int
    m: bool  # the buyer was the maker
    p: str
    q: str  # in the base
    s: str

    def records(self) -> Iterable[Record]:
        trade = Trade(
            raw_symbol=self.s.upper(),
            price=self.p,
            size=self.q,
            side="sell" if self.m else "buy",
            kind="aggregate",
            ts_event=ms(self.T),
            ts_sent=ms(self.E),
        )
        return (trade,)


class FuturesBook(Struct, gc=False):
    E: int
    T: int
    a: Levels
    b: Levels
    s: str

    def records(self) -> Iterable[Record]:
        book = BookSnapshot(
            raw_symbol=self.s.upper(),
            bids=self.b,
            asks=self.a,
            depth=LEVELS,
            ts_event=ms(self.T),
            ts_sent=ms(self.E),
            reason="periodic",
        )
        return (book,)


class FuturesMark(Struct, tag_field="e", tag="markPriceUpdate", gc=False):
    E: int
    T: int  # when funding is exchanged next
    i: str
    p: str
    r: str
    s: str

    def records(self) -> Iterable[Record]:
        name, sent = self.s.upper(), ms(self.E)
        if mark := nonzero(self.p):
            yield MarkPrice(raw_symbol=name, price=mark, ts_sent=sent)
        if index := nonzero(self.i):
            yield IndexPrice(raw_symbol=name, price=index, ts_sent=sent)
        if rate := optional(self.r):
            yield Funding(raw_symbol=name, rate=rate, ts_next=ms(self.T) if self.T else None, ts_sent=sent)


class FuturesTicker(Struct, tag_field="e", tag="24hrTicker", gc=False):
    E: int
    s: str
    c: str
    h: str
    l: str  # noqa: E741 - the wire's name
    o: str
    p: str | None = None
    v: str | None = None  # in the base
    q: str | None = None  # in the quote
    w: str | None = None
    n: int | None = None

    def records(self) -> Iterable[Record]:
        statistics = Ticker(
            raw_symbol=self.s.upper(),
            last=nonzero(self.c),
            open=nonzero(self.o),
            high=nonzero(self.h),
            low=nonzero(self.l),
            base_volume=optional(self.v),
            quote_volume=optional(self.q),
            vwap=nonzero(self.w),
            change=optional(self.p),
            trades=self.n,
            window_s=DAY_S,
            ts_sent=ms(self.E),
        )
        return (statistics,)


class Answer(Struct):
    """Any frame; data has a `stream` and no `event`."""

    event: str = ""
    id: int | None = None  # 0 where the request had none
    stream: str = ""
    data: Raw = Raw(b"{}")
    status: str = ""
    message: str = ""


class Served(Struct):
    streams: list[str] | None = None  # null where none of them is served


class Complaint(Struct):
    code: int = 0
    message: str = ""
