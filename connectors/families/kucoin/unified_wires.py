"""The messages of KuCoin's unified address (since 2025), and their records: the same figures under short names.

https://www.kucoin.com/docs-new/3470222w0
Frames are told apart by `T`, and are pushed at `P`; `M` is the matching engine's time, both in nanoseconds. Sizes of
futures count contracts. Nothing is asked of that address here; what was captured there is read all the same.
"""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.records import (
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    MarkPrice,
    OpenInterest,
    Record,
    Trade,
)
from aggregator.wire import Text, bbo, levels, ms, nonzero, number, optional, seconds, text
from connectors.families.kucoin.figure_wires import SPELLED
from connectors.families.kucoin.wires import SIDES

FUTURES = "FUTURES"

T = TypeVar("T")


class Envelope(Struct, gc=False):
    T: str
    P: int

    @property
    def is_spot(self) -> bool:
        return not self.T.endswith(FUTURES)


class TradeWire(Struct, gc=False):
    s: str
    S: str  # the taker's; spelled in either case
    p: Text
    q: Text
    ti: Text
    M: int


class TradeFrame(Envelope, gc=False):
    d: TradeWire

    def records(self) -> list[Record]:
        d = self.d
        return [
            Trade(
                raw_symbol=d.s,
                id=str(d.ti),
                price=text(d.p),
                size=text(d.q),
                side=SIDES[d.S.lower()],
                size_unit="base" if self.is_spot else "contract",
                ts_event=d.M,
                ts_sent=self.P,
            )
        ]


class BookWire(Struct, gc=False):
    s: str
    O: int  # noqa: E741 - the wire's name: the first number
    C: int  # the last one
    M: int | None = None
    a: list[list[Text]] = []
    b: list[list[Text]] = []


class BookFrame(Envelope, gc=False):
    d: BookWire
    t: str  # `snapshot`, or a change
    dp: str = ""  # levels a side, or how often changes come: `increment@10ms`

    def records(self) -> list[Record]:
        d, depth = self.d, int(self.dp) if self.dp.isdecimal() else None
        bids, asks = levels(d.b), levels(d.a)
        if self.t != "snapshot":
            return [
                BookDelta(
                    raw_symbol=d.s,
                    bids=bids,
                    asks=asks,
                    sequence_first=d.O,
                    sequence=d.C,
                    ts_event=d.M,
                    ts_sent=self.P,
                )
            ]
        return [
            BookSnapshot(
                raw_symbol=d.s,
                bids=bids,
                asks=asks,
                depth=depth,
                reason="initial" if depth is None else "periodic",
                sequence=d.C,
                ts_event=d.M,
                ts_sent=self.P,
            )
        ]


class BestWire(Struct, gc=False):
    """The last trade, which stands here too, comes as a trade."""

    s: str
    b: Text = None
    B: Text = None
    a: Text = None
    A: Text = None
    E: int | None = None
    M: int | None = None


class BestFrame(Envelope, gc=False):
    d: BestWire

    def records(self) -> list[Record]:
        d = self.d
        return [bbo(d.s, d.b, d.B, d.a, d.A, sequence=d.E, ts_event=d.M, ts_sent=self.P)]


class BarWire(Struct, gc=False):
    s: str
    i: str
    O: int  # noqa: E741 - the wire's name: start, in seconds
    C: int  # its end, in seconds: the start of the next
    o: Text
    h: Text
    l: Text  # noqa: E741 - the wire's name
    c: Text
    v: Text = None
    a: Text = None


class BarFrame(Envelope, gc=False):
    d: BarWire

    def records(self) -> list[Record]:
        d = self.d
        return [
            Candle(
                raw_symbol=d.s,
                interval=SPELLED.get(d.i, d.i),
                ts_open=seconds(d.O),
                ts_close=seconds(d.C),
                open=text(d.o),
                high=text(d.h),
                low=text(d.l),
                close=text(d.c),
                base_volume=optional(d.v) if self.is_spot else None,
                quote_volume=optional(d.a) if self.is_spot else None,
                contract_volume=None if self.is_spot else optional(d.v),
                ts_sent=self.P,
            )
        ]


class MarkWire(Struct, gc=False):
    s: str
    ts: int  # ms
    mp: Text = None
    ip: Text = None
    oi: Text = None  # contracts


class MarkFrame(Envelope, gc=False):
    d: MarkWire

    def records(self) -> list[Record]:
        d, at, said = self.d, ms(self.d.ts), list[Record]()
        mark, index, size = nonzero(d.mp), nonzero(d.ip), optional(d.oi)
        if mark is not None:
            said.append(MarkPrice(raw_symbol=d.s, price=mark, ts_event=at, ts_sent=self.P))
        if index is not None:
            said.append(IndexPrice(raw_symbol=d.s, price=index, ts_event=at, ts_sent=self.P))
        if size is not None:
            said.append(OpenInterest(raw_symbol=d.s, size=size, size_unit="contract", ts_event=at, ts_sent=self.P))
        return said


class RateWire(Struct, gc=False):
    s: str
    fr: Text
    nt: int | None = None  # ms: when it is exchanged
    gl: int | None = None  # ms: how long it holds


class RateFrame(Envelope, gc=False):
    d: RateWire

    def records(self) -> list[Record]:
        d, rate = self.d, optional(self.d.fr)
        if rate is None:
            return []
        return [
            Funding(
                raw_symbol=d.s,
                rate=rate,
                interval_s=None if d.gl is None else d.gl // 1000,
                ts_next=None if d.nt is None else ms(d.nt),
                ts_sent=self.P,
            )
        ]


class Told(Protocol):
    """A frame of one channel."""

    def records(self) -> list[Record]: ...


def decoder(frame: type[T]) -> Callable[[bytes], T]:
    return Decoder(frame, strict=False, float_hook=number).decode


DECODERS: dict[str, Callable[[bytes], Told]] = {
    "trade": decoder(TradeFrame),
    "obu": decoder(BookFrame),
    "ticker": decoder(BestFrame),
    "kline": decoder(BarFrame),
    "mark-price": decoder(MarkFrame),
    "funding-fee": decoder(RateFrame),
}


def read(kind: str, frame: bytes) -> Iterable[Record]:
    """The records of a frame of that `T`; those of an account are none of ours."""
    decode = DECODERS.get(kind.partition(".")[0])
    return () if decode is None else decode(frame).records()
