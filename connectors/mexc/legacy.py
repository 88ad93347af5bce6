"""The messages of MEXC's spot streams before August 2025, when protobuf took their place: JSON with short names.

https://www.mexc.com/support/articles/17827791522393
"""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.records import DAY_S, MS_NS, BookDelta, BookSnapshot, Candle, Levels, Record, Ticker, Trade
from aggregator.wire import Text, bbo, nonzero, number, optional, seconds, text
from connectors.families.mexc.wires import OURS, SIDES

T = TypeVar("T")


class Push(Struct, gc=False):
    """`spot@public.deals.v3.api@BTCUSDT`, the pair, and when it was sent."""

    c: str
    s: str
    t: int


class DealWire(Struct, gc=False):
    S: int
    p: Text
    v: Text
    t: int

    def record(self, raw_symbol: str, sent: int) -> Trade:
        if self.S not in SIDES:
            raise BadFrame(f"a deal of {raw_symbol} of the unknown side {self.S}")
        return Trade(
            raw_symbol=raw_symbol,
            price=text(self.p),
            size=text(self.v),
            side=SIDES[self.S],
            ts_event=self.t * MS_NS,
            ts_sent=sent,
        )


class DealsWire(Struct, gc=False):
    deals: list[DealWire]


class DealsPush(Push, gc=False):
    d: DealsWire

    def records(self) -> list[Record]:
        return [deal.record(self.s, self.t * MS_NS) for deal in self.d.deals]


class LevelWire(Struct, gc=False):
    p: Text
    v: Text


class DepthWire(Struct, gc=False):
    r: int  # its version
    asks: list[LevelWire] = []
    bids: list[LevelWire] = []


class DepthPush(Push, gc=False):
    d: DepthWire

    def records(self) -> list[Record]:
        bids, asks = levels(self.d.bids), levels(self.d.asks)
        return [
            BookDelta(raw_symbol=self.s, bids=bids, asks=asks, sequence=self.d.r, ts_sent=self.t * MS_NS),
        ]


class LimitPush(Push, gc=False):
    """The best levels, whole; how many were asked for ends the channel."""

    d: DepthWire

    def records(self) -> list[Record]:
        return [
            BookSnapshot(
                raw_symbol=self.s,
                bids=levels(self.d.bids),
                asks=levels(self.d.asks),
                depth=int(self.c.rpartition("@")[2]),
                reason="periodic",
                sequence=self.d.r,
                ts_sent=self.t * MS_NS,
            )
        ]


class BestWire(Struct, gc=False):
    b: Text = None
    B: Text = None
    a: Text = None
    A: Text = None


class BestPush(Push, gc=False):
    d: BestWire

    def records(self) -> list[Record]:
        return [bbo(self.s, self.d.b, self.d.B, self.d.a, self.d.A, ts_sent=self.t * MS_NS)]


class BarWire(Struct, gc=False):
    i: str
    t: int  # start, in seconds
    T: int  # its end
    o: Text
    h: Text
    l: Text  # noqa: E741 - the wire's name
    c: Text
    v: Text = None
    a: Text = None


class BarBox(Struct, gc=False):
    k: BarWire


class BarPush(Push, gc=False):
    d: BarBox

    def records(self) -> list[Record]:
        k = self.d.k
        return [
            Candle(
                raw_symbol=self.s,
                interval=OURS.get(k.i, k.i),
                ts_open=seconds(k.t),
                ts_close=seconds(k.T),
                open=text(k.o),
                high=text(k.h),
                low=text(k.l),
                close=text(k.c),
                base_volume=optional(k.v),
                quote_volume=optional(k.a),
                ts_sent=self.t * MS_NS,
            )
        ]


class TickerWire(Struct, gc=False):
    p: Text
    h: Text = None
    l: Text = None  # noqa: E741 - the wire's name
    v: Text = None  # in the quote asset
    q: Text = None  # in the base asset


class TickerPush(Push, gc=False):
    d: TickerWire

    def records(self) -> list[Record]:
        d = self.d
        return [
            Ticker(
                raw_symbol=self.s,
                last=nonzero(text(d.p)),
                high=nonzero(d.h),
                low=nonzero(d.l),
                base_volume=optional(d.q),
                quote_volume=optional(d.v),
                window_s=DAY_S,
                ts_sent=self.t * MS_NS,
            )
        ]


class Told(Protocol):
    """A frame of one channel."""

    def records(self) -> list[Record]: ...


class Named(Struct):
    c: str


def decoder(push: type[T]) -> Callable[[bytes], T]:
    return Decoder(push, strict=False, float_hook=number).decode


decode_name = Decoder(Named).decode
DECODERS: dict[str, Callable[[bytes], Told]] = {
    "spot@public.deals.v3.api": decoder(DealsPush),
    "spot@public.increase.depth.v3.api": decoder(DepthPush),
    "spot@public.limit.depth.v3.api": decoder(LimitPush),
    "spot@public.bookTicker.v3.api": decoder(BestPush),
    "spot@public.kline.v3.api": decoder(BarPush),
    "spot@public.miniTicker.v3.api": decoder(TickerPush),
}


def levels(side: list[LevelWire]) -> Levels:
    return [(text(level.p), text(level.v)) for level in side]


def read(frame: bytes) -> Iterable[Record]:
    """The records of a frame; other channels are of no use here."""
    name = "@".join(decode_name(frame).c.split("@")[:2])
    decode = DECODERS.get(name)
    return () if decode is None else decode(frame).records()
