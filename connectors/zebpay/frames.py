"""The events of ZebPay's socket, which are Binance's with some fields more.

https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
The numbers of a book are Binance's, of which only some are forwarded: they show no loss.
"""

from collections.abc import Callable, Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import DAY_S, MS_NS, BookSnapshot, Funding, IndexPrice, MarkPrice, Record, Ticker, Trade
from aggregator.wire import Text, levels, nonzero, optional, text

DEPTH = 20


class TradeWire(Struct, gc=False):
    E: int
    s: str
    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741 - the wire's name
    T: int
    m: bool  # the buyer was the maker, so the taker sold

    def records(self) -> Iterable[Record]:
        yield Trade(
            raw_symbol=self.s,
            id=str(self.a),
            price=text(self.p),
            size=text(self.q),
            side="sell" if self.m else "buy",
            kind="aggregate",
            first_id=str(self.f),
            last_id=str(self.l),
            count=self.l - self.f + 1,
            ts_event=self.T * MS_NS,
            ts_sent=self.E * MS_NS,
        )


class BookWire(Struct, gc=False):
    """A whole book, its bids cheapest first."""

    E: int
    T: int
    s: str
    u: int
    b: list[list[Text]]
    a: list[list[Text]]

    def records(self) -> Iterable[Record]:
        yield BookSnapshot(
            raw_symbol=self.s,
            bids=levels(self.b)[::-1],
            asks=levels(self.a),
            depth=DEPTH,
            reason="periodic",
            sequence=self.u,
            ts_event=self.T * MS_NS,
            ts_sent=self.E * MS_NS,
        )


class MarkWire(Struct, gc=False):
    E: int
    s: str
    p: str
    i: str | None = None
    r: str | None = None  # the rate that is exchanged next
    T: int | None = None

    def records(self) -> Iterable[Record]:
        sent = self.E * MS_NS
        if mark := nonzero(self.p):
            yield MarkPrice(raw_symbol=self.s, price=mark, ts_sent=sent)
        if index := nonzero(self.i):
            yield IndexPrice(raw_symbol=self.s, price=index, ts_sent=sent)
        if (rate := optional(self.r)) is not None:
            due = self.T * MS_NS if self.T else None
            yield Funding(raw_symbol=self.s, rate=rate, ts_next=due, ts_sent=sent)


class DayWire(Struct, gc=False):
    E: int
    s: str
    c: str
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    v: str
    q: str
    p: str | None = None
    w: str | None = None
    n: int | None = None

    def records(self) -> Iterable[Record]:
        yield Ticker(
            raw_symbol=self.s,
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
            ts_sent=self.E * MS_NS,
        )


decode_trade = Decoder(TradeWire).decode
decode_book = Decoder(BookWire).decode
decode_mark = Decoder(MarkWire).decode
decode_day = Decoder(DayWire).decode

READERS: dict[str, Callable[[Raw], Iterable[Record]]] = {
    "aggTrade": lambda payload: decode_trade(payload).records(),
    "depthUpdate": lambda payload: decode_book(payload).records(),
    "markPriceUpdate": lambda payload: decode_mark(payload).records(),
    "24hrTicker": lambda payload: decode_day(payload).records(),
}


def read(name: str, payload: Raw) -> Iterable[Record]:
    """Read an event; the list of all contracts, which comes unasked each second, is of no use."""
    reader = READERS.get(name)
    return () if reader is None else reader(payload)
