"""Frames: a message names its topic by its destination, and its first one confirms it."""

from collections.abc import Callable, Iterable

from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Ready, Refused
from aggregator.wire import past
from connectors.latoken.wires import BookWire, TickerWire, TradesWire, frames_of

decode_book = Decoder(BookWire).decode
decode_trades = Decoder(TradesWire).decode
decode_ticker = Decoder(TickerWire).decode


def read_book(name: str, body: bytes) -> tuple[Iterable[Event], int]:
    said = decode_book(body)
    return (said.record(name),), said.nonce


def read_trades(name: str, body: bytes) -> tuple[Iterable[Event], int]:
    said = decode_trades(body)
    found = said.records(name)
    return past(found) if said.nonce == 0 else found, said.nonce


def read_ticker(name: str, body: bytes) -> tuple[Iterable[Event], int]:
    said = decode_ticker(body)
    return said.records(name), said.nonce


READERS: dict[str, Callable[[str, bytes], tuple[Iterable[Event], int]]] = {
    "book": read_book,
    "trade": read_trades,
    "ticker": read_ticker,
}


def parse(message: bytes) -> Iterable[Event]:
    events: list[Event] = []
    for frame in frames_of(message):
        if frame.command == b"MESSAGE":
            destination = frame.header(b"destination")
            _, _, topic = destination.partition("/v1/")
            word, _, name = topic.partition("/")
            read = READERS.get(word)
            if read is not None and name:
                found, nonce = read(name, frame.body)
                events += found
                if nonce == 0:
                    events.append(Accepted(topic=destination))
        elif frame.command == b"CONNECTED":
            events.append(Ready())
        elif frame.command == b"ERROR":
            words = f"{frame.header(b'message')}: {frame.body.decode()}"
            events.append(Refused(words, topic=frame.header(b"destination") or None))
    return events
