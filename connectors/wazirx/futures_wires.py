"""The messages of futures, which spell a contract in small letters; its listing has capitals."""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.records import DAY_S, BookSnapshot, Funding, IndexPrice, MarkPrice, Record, Ticker, Trade
from aggregator.wire import Text, levels, ms, nonzero, optional, text
from connectors.wazirx.wires import LEVELS


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
            price=text(self.p),
            size=text(self.q),
            side="sell" if self.m else "buy",
            kind="aggregate",
            ts_event=ms(self.T),
            ts_sent=ms(self.E),
        )
        return (trade,)


class FuturesBook(Struct, gc=False):
    E: int
    T: int
    a: list[list[Text]]
    b: list[list[Text]]
    s: str

    def records(self) -> Iterable[Record]:
        book = BookSnapshot(
            raw_symbol=self.s.upper(),
            bids=levels(self.b),
            asks=levels(self.a),
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
