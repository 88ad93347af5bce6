"""Frames: which message each is, by its channel and its event."""

from collections.abc import Callable, Iterable
from typing import Protocol

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Event
from aggregator.wire import by_word
from connectors.foxbit.wires import Changes, Done, Failed, Params, TickerWire, Trades, WholeBook


class Told(Protocol):
    def events(self) -> Iterable[Event]: ...


class Other(Struct):
    """A frame of any kind: an input that is not understood has words alone."""

    event: str = ""
    message: str = ""
    params: Params | None = None


decode_other = Decoder(Other).decode
decode_failed = Decoder(Failed).decode


def reader(decode: Callable[[bytes], Told]) -> Callable[[bytes], Iterable[Event]]:
    return lambda frame: decode(frame).events()


READERS = {
    "orderbook-100": reader(Decoder(Changes | WholeBook | Done | Failed).decode),
    "trades": reader(Decoder(Trades | Done | Failed).decode),
    "ticker": reader(Decoder(TickerWire | Done | Failed).decode),
}


def parse_other(frame: bytes) -> Iterable[Event]:
    other = decode_other(frame)
    if other.event == "invalid-input":
        return Failed(message=other.message).events()
    read = None if other.params is None else READERS.get(other.params.channel)
    if read is not None:
        return read(frame)
    return decode_failed(frame).events() if other.event == "error" else ()


parse = by_word(b'"channel":"', READERS, parse_other)
