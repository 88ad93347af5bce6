"""The messages of Backpack in its own spelling, and the records that they make.

https://docs.backpack.exchange/#tag/Streams
Times are microseconds, as numbers or as text; `T` is the engine's, `E` the publication's. A candle's are ISO without a
zone, read as UTC, as frames of 2025 have them; the exchange's own client (bpx-api-client, July 2026) reads seconds, so
that a number is one. The next funding is told in milliseconds.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, field

from aggregator.exchange import Event
from aggregator.records import (
    DAY_S,
    MS_NS,
    Bbo,
    BookDelta,
    Candle,
    Funding,
    IndexPrice,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, from_iso, levels, nonzero, optional, seconds, text, us

MONTH, WIRE_MONTH = "1M", "1month"


class TradeWire(Struct, gc=False):
    E: Text
    T: Text
    s: str
    t: int  # numbers of one symbol
    p: Text
    q: Text
    m: bool  # true: the buyer was the maker

    def records(self, _: str) -> Iterable[Event]:
        yield Trade(
            raw_symbol=self.s,
            id=str(self.t),
            sequence=self.t,
            price=text(self.p),
            size=text(self.q),
            side="sell" if self.m else "buy",
            ts_event=us(self.T),
            ts_sent=us(self.E),
        )


class DepthWire(Struct, gc=False):
    E: Text
    T: Text
    s: str
    first: int = field(name="U")
    final: int = field(name="u")
    b: list[list[Text]] = []
    a: list[list[Text]] = []

    def records(self, _: str) -> Iterable[Event]:
        yield BookDelta(
            raw_symbol=self.s,
            bids=levels(self.b),
            asks=levels(self.a),
            sequence=self.final,
            sequence_first=self.first,
            ts_event=us(self.T),
            ts_sent=us(self.E),
        )


class BestWire(Struct, gc=False):
    E: Text
    T: Text
    s: str
    u: Text
    bid: Text = field(name="b", default=None)
    bid_size: Text = field(name="B", default=None)
    ask: Text = field(name="a", default=None)
    ask_size: Text = field(name="A", default=None)

    def records(self, _: str) -> Iterable[Bbo]:
        at, sent, sides = us(self.T), us(self.E), (self.bid, self.bid_size, self.ask, self.ask_size)
        yield bbo(self.s, *sides, ts_event=at, ts_sent=sent, sequence=int(self.u))


class TickerWire(Struct, gc=False):
    E: Text
    s: str
    o: Text
    c: Text
    h: Text
    low: Text = field(name="l")
    v: Text
    quote: Text = field(name="V")
    n: int

    def records(self, _: str) -> Iterable[Event]:
        yield Ticker(
            raw_symbol=self.s,
            last=nonzero(self.c),
            open=nonzero(self.o),
            high=nonzero(self.h),
            low=nonzero(self.low),
            base_volume=optional(self.v),
            quote_volume=optional(self.quote),
            trades=self.n,
            window_s=DAY_S,
            ts_sent=us(self.E),
        )


class BarWire(Struct, gc=False):
    E: Text
    s: str
    start: str | int = field(name="t")
    end: str | int = field(name="T")
    o: Text
    h: Text
    low: Text = field(name="l")
    c: Text
    v: Text
    n: int
    X: bool  # true: it is final

    def records(self, stream: str) -> Iterable[Event]:
        interval = stream.split(".", 2)[1]
        yield Candle(
            raw_symbol=self.s,
            interval=MONTH if interval == WIRE_MONTH else interval,
            ts_open=moment(self.start),
            ts_close=moment(self.end),
            open=text(self.o),
            high=text(self.h),
            low=text(self.low),
            close=text(self.c),
            base_volume=optional(self.v),
            trades=self.n,
            closed=self.X,
            ts_sent=us(self.E),
        )


def moment(time: str | int) -> int:
    return seconds(time) if isinstance(time, int) else from_iso(time)


class MarkWire(Struct, gc=False):
    E: Text
    T: Text
    s: str
    p: Text
    i: Text = None
    f: Text = None  # an estimate, by its own word
    n: int | None = None  # in milliseconds

    def records(self, _: str) -> Iterable[Event]:
        at, sent = us(self.T), us(self.E)
        for kind, price in ((MarkPrice, nonzero(self.p)), (IndexPrice, nonzero(self.i))):
            if price is not None:
                yield kind(raw_symbol=self.s, price=price, ts_event=at, ts_sent=sent)
        if (rate := optional(self.f)) is not None:
            due = self.n * MS_NS if self.n else None
            yield Funding(raw_symbol=self.s, rate=rate, kind="predicted", ts_next=due, ts_event=at, ts_sent=sent)


class OpenWire(Struct, gc=False):
    E: Text
    s: str
    o: Text  # contracts, of which each is one of the base asset

    def records(self, _: str) -> Iterable[Event]:
        if (size := optional(self.o)) is not None:
            yield OpenInterest(raw_symbol=self.s, size=size, size_unit="contract", ts_sent=us(self.E))


class ForcedWire(Struct, gc=False):
    E: Text
    T: Text
    s: str
    S: Literal["Bid", "Ask"]  # the side of the order
    p: Text
    q: Text

    def records(self, _: str) -> Iterable[Event]:
        is_sale = self.S == "Ask"
        yield Liquidation(
            raw_symbol=self.s,
            side="sell" if is_sale else "buy",
            position="long" if is_sale else "short",
            price=text(self.p),
            size=text(self.q),
            ts_event=us(self.T),
            ts_sent=us(self.E),
        )
