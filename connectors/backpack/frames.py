"""Reading Backpack's frames, and its answers by REST about books and trades.

https://docs.backpack.exchange/#tag/Streams
A subscription is not answered, and a name that is refused is not repeated: the error names nothing.
"""

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Event, Parse, Refused, Subscription
from aggregator.records import MS_NS, BookSnapshot, Channel, Trade
from aggregator.refusals import meaning_of
from aggregator.wire import Text, by_word, levels, number, text, us
from connectors.backpack.wires import (
    MONTH,
    WIRE_MONTH,
    BarWire,
    BestWire,
    DepthWire,
    ForcedWire,
    MarkWire,
    OpenWire,
    TickerWire,
    TradeWire,
)

MARKET: dict[Channel, str] = {
    "trades": "trade",
    "book": "depth",
    "bbo": "bookTicker",
    "ticker": "ticker",
    "candles": "kline",
}
CONTRACTS: dict[Channel, str] = {
    "mark_price": "markPrice",
    "index_price": "markPrice",
    "funding": "markPrice",
    "open_interest": "openInterest",
    "liquidations": "liquidation",
}
CHANNELS = {**MARKET, **CONTRACTS}
OF_ALL: tuple[Channel, ...] = ("liquidations",)  # one stream tells of all markets: its name has no symbol
DEPTH = 1000  # levels a side of a whole book by REST


class Row(Protocol):
    """The data of a frame."""

    def records(self, stream: str, /) -> Iterable[Event]:
        """The records that it is, given the name of its stream."""


W = TypeVar("W", bound=Row)


class Said(Struct, Generic[W], gc=False):
    stream: str
    data: W


class Kind(Struct):
    e: str = ""


class Fault(Struct):
    code: int
    message: str = ""


class Other(Struct):
    data: Kind | None = None
    error: Fault | None = None


class WholeWire(Struct):
    bids: list[list[Text]]  # the best one is the last
    asks: list[list[Text]]
    lastUpdateId: Text
    timestamp: Text


class PastTrade(Struct):
    id: int
    price: Text
    quantity: Text
    isBuyerMaker: bool
    timestamp: int  # in milliseconds


decode_other = Decoder(Other).decode
decode_whole = Decoder(WholeWire, strict=False, float_hook=number).decode
decode_past = Decoder(list[PastTrade], strict=False, float_hook=number).decode


def of(row: type[W]) -> Parse:
    """A reader of one kind of frames."""
    decode = Decoder(Said[row], strict=False, float_hook=number).decode  # type: ignore[valid-type]

    def read(frame: bytes) -> Iterable[Event]:
        said: Said[W] = decode(frame)
        return [*said.data.records(said.stream)]

    return read


READERS: dict[str, Parse] = {
    "trade": of(TradeWire),
    "depth": of(DepthWire),
    "bookTicker": of(BestWire),
    "ticker": of(TickerWire),
    "kline": of(BarWire),
    "markPrice": of(MarkWire),
    "openInterest": of(OpenWire),
    "liquidation": of(ForcedWire),
}


def parse_other(frame: bytes) -> Iterable[Event]:
    said = decode_other(frame)
    if said.error is not None:
        reason = f"{said.error.code}: {said.error.message}"
        return (Refused(reason, meaning=meaning_of(reason, final=("4006", "4008"))),)
    if said.data is None:
        raise BadFrame("neither data nor an error")
    read = READERS.get(said.data.e)
    return () if read is None else read(frame)


def topic(s: Subscription) -> str:
    if s.channel in OF_ALL:
        return CHANNELS[s.channel]
    if s.channel == "candles":
        return f"kline.{WIRE_MONTH if s.interval == MONTH else s.interval}.{s.raw_symbol}"
    return f"{CHANNELS[s.channel]}.{s.raw_symbol}"


def read_whole(raw_symbol: str, body: bytes) -> BookSnapshot:
    said = decode_whole(body)
    return BookSnapshot(
        raw_symbol=raw_symbol,
        bids=levels(said.bids)[::-1],
        asks=levels(said.asks),
        depth=DEPTH,
        sequence=int(said.lastUpdateId),
        ts_event=us(said.timestamp),
    )


def read_past(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    return [
        Trade(
            raw_symbol=raw_symbol,
            id=str(trade.id),
            sequence=trade.id,
            price=text(trade.price),
            size=text(trade.quantity),
            side="sell" if trade.isBuyerMaker else "buy",
            ts_event=trade.timestamp * MS_NS,
        )
        for trade in sorted(decode_past(body), key=lambda trade: trade.id)
    ]


parse = by_word(b'"e":"', READERS, parse_other)
