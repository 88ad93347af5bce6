"""The messages of MEXC's first spot streams, as captures of 2021 and 2022 hold them.

https://github.com/crypto-crawler/crypto-msg-parser (frames of that time, and what they mean)
In 2021 a frame was a list of its kind and its content. A candle is named by its beginning, as those of contracts are,
which were spelled alike: a frame of them came within the candle that it named (June 2022).
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.records import MS_NS, BookDelta, BookSnapshot, Record, Trade
from aggregator.wire import Text, candle, levels, number, optional, seconds, text
from connectors.families.mexc.wires import OURS, SIDES

T = TypeVar("T")


class Push(Struct, Generic[T]):
    symbol: str
    data: T
    depth: int | None = None
    version: Text = None


class DealWire(Struct):
    t: int
    p: Text
    q: Text
    T: int

    def record(self, symbol: str) -> Trade:
        if self.T not in SIDES:
            raise BadFrame(f"a deal of {symbol} of the unknown side {self.T}")
        return Trade(
            raw_symbol=symbol,
            price=text(self.p),
            size=text(self.q),
            side=SIDES[self.T],
            ts_event=self.t * MS_NS,
        )


class LevelWire(Struct):
    p: Text
    q: Text


class ChangeWire(Struct):
    """Deals, changes of a book, or both."""

    deals: list[DealWire] = []
    bids: list[LevelWire] = []
    asks: list[LevelWire] = []
    version: Text = None

    def records(self, symbol: str) -> Iterable[Record]:
        for deal in self.deals:
            yield deal.record(symbol)
        if self.bids or self.asks:
            bids, asks = ([(text(level.p), text(level.q)) for level in side] for side in (self.bids, self.asks))
            yield BookDelta(raw_symbol=symbol, bids=bids, asks=asks, sequence=numbered(self.version))


class WholeWire(Struct):
    bids: list[list[Text]] = []
    asks: list[list[Text]] = []


class BarWire(Struct):
    interval: str
    t: int  # its beginning, in seconds
    o: Text
    h: Text
    l: Text  # noqa: E741 - the wire's name
    c: Text
    q: Text  # in the base asset
    v: Text  # in the quote asset: candles of contracts, which else look alike, have none


class Named(Struct):
    channel: str


decode_pair = Decoder(tuple[str, Raw]).decode
decode_name = Decoder(Named).decode
decode_changes = Decoder(Push[ChangeWire], strict=False, float_hook=number).decode
decode_whole = Decoder(Push[WholeWire], strict=False, float_hook=number).decode
decode_bar = Decoder(Push[BarWire], strict=False, float_hook=number).decode


def numbered(version: Text) -> int | None:
    return int(text(version)) if version else None


def read_changes(content: bytes) -> Iterable[Record]:
    said = decode_changes(content)
    return [*said.data.records(said.symbol)]


def read_whole(content: bytes) -> Iterable[Record]:
    said = decode_whole(content)
    return (
        BookSnapshot(
            raw_symbol=said.symbol,
            bids=levels(said.data.bids),
            asks=levels(said.data.asks),
            depth=said.depth,
            reason="periodic",
            sequence=numbered(said.version),
        ),
    )


def read_bar(content: bytes) -> Iterable[Record]:
    said = decode_bar(content)
    bar = said.data
    prices, interval = (bar.o, bar.h, bar.l, bar.c), OURS.get(bar.interval, bar.interval)
    base, quote = optional(bar.q), optional(bar.v)
    return (candle(said.symbol, interval, seconds(bar.t), prices, base=base, quote=quote),)


READERS: dict[str, Callable[[bytes], Iterable[Record]]] = {
    "push.symbol": read_changes,
    "push.deal": read_changes,
    "push.depth": read_changes,
    "push.limit.depth": read_whole,
    "push.kline": read_bar,
}


def read(frame: bytes) -> Iterable[Record]:
    """Read a frame by its kind; other kinds are of no use here."""
    kind, content = decode_pair(frame) if frame[:1] == b"[" else (decode_name(frame).channel, frame)
    reader = READERS.get(kind)
    return () if reader is None else reader(content)
