"""Telling the frames of Delta Exchange's stream apart, and what it answers to requests.

https://docs.delta.exchange/#websocket-feed
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Refused
from aggregator.refusals import meaning_of
from aggregator.wire import as_written, by_word
from connectors.delta.book_wires import BestWire, BookWire, TopWire
from connectors.delta.wires import (
    FundingWire,
    IndexWire,
    MarkWire,
    StatusWire,
    TickerWire,
    TradeWire,
)

FINAL = ("invalid channel",)


class Told(Protocol):
    def events(self) -> Iterable[Event]: ...


class ChannelRow(Struct):
    name: str = ""
    symbols: list[str] | None = None
    error: str | None = None


class AnswerWire(Struct):
    """Accepted topics have their symbols; a channel that is refused comes without them."""

    channels: list[ChannelRow]

    def events(self) -> Iterable[Event]:
        for row in self.channels:
            if row.error is not None:
                yield refused(f"{row.name}: {row.error}")
            else:
                yield from (Accepted(topic=(row.name, symbol)) for symbol in row.symbols or [""])


class ErrorWire(Struct):
    message: str = ""

    def events(self) -> Iterable[Event]:
        yield refused(self.message)


def refused(reason: str) -> Refused:
    return Refused(reason, meaning=meaning_of(reason, final=FINAL))


class Kind(Struct):
    type: str = ""


decode_kind = Decoder(Kind).decode


def reader(kind: type[Told]) -> Callable[[bytes], Iterable[Event]]:
    decode = Decoder(kind, float_hook=as_written).decode
    return lambda frame: tuple(decode(frame).events())


READERS = {
    "trades": reader(TradeWire),
    "ob_updates": reader(BookWire),
    "ob_l1": reader(BestWire),
    "ob_l2": reader(TopWire),
    "ticker": reader(TickerWire),
    "mark_price": reader(MarkWire),
    "spot_price": reader(IndexWire),
    "funding_rate": reader(FundingWire),
    "system_status": reader(StatusWire),
    "subscriptions": reader(AnswerWire),
    "error": reader(ErrorWire),
}


def parse_other(frame: bytes) -> Iterable[Event]:
    read = READERS.get(decode_kind(frame).type)
    return () if read is None else read(frame)


parse = by_word(b'"type":"', READERS, parse_other)
