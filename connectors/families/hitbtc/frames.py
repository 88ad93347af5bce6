"""Reading the frames of the HitBTC protocol: the channel's name stands at their beginning."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Refused
from aggregator.records import Channel, Record
from aggregator.refusals import meaning_of
from connectors.families.hitbtc import legacy
from connectors.families.hitbtc.wires import Bars, Bests, Books, Futures, Tickers, Trades

HEAD = b'{"ch":"'


class Said(Protocol):
    """A frame of a channel."""

    def records(self) -> Iterable[Record]: ...


class Fault(Struct):
    code: int = 0
    message: str = ""
    description: str = ""


class Subscribed(Struct):
    ch: str
    subscriptions: list[str] = []


class Other(Struct):
    id: int | str | None = None
    ch: str | None = None
    method: str | None = None
    result: Raw = Raw()
    error: Fault | None = None


Decode = Callable[[bytes], Said]
DECODERS: tuple[tuple[str, Channel, Decode], ...] = (  # how a channel's name begins
    ("trades", "trades", Decoder(Trades).decode),
    ("orderbook/top", "bbo", Decoder(Bests).decode),
    ("orderbook", "book", Decoder(Books).decode),
    ("ticker", "ticker", Decoder(Tickers).decode),
    ("candles", "candles", Decoder(Bars).decode),
    ("futures/info", "funding", Decoder(Futures).decode),
    ("futures/info", "open_interest", Decoder(Futures).decode),
    ("futures/info", "mark_price", Decoder(Futures).decode),
    ("futures/info", "index_price", Decoder(Futures).decode),
)
decode_other = Decoder(Other).decode
decode_subscribed = Decoder(Subscribed).decode


@lru_cache(maxsize=64)
def decoder(name: bytes) -> Decode | None:
    return next((decode for wire, _, decode in DECODERS if name.startswith(wire.encode())), None)


def parse(frame: bytes) -> Iterable[Event]:
    if frame.startswith(HEAD):
        decode = decoder(frame[7 : frame.find(b'"', 7)])
        if decode is not None:
            return decode(frame).records()
    return parse_other(frame)


def parse_other(frame: bytes) -> Iterable[Event]:
    said = decode_other(frame)
    if said.error is not None:
        return (refusal(said.error, said.id),)
    if b'"subscriptions"' in bytes(said.result):
        result = decode_subscribed(said.result)
        channels = ours(result.ch)
        return [Accepted(channel=channel, raw_symbol=name) for name in result.subscriptions for channel in channels]
    if said.ch is not None:
        decode = decoder(said.ch.encode())
        return decode(frame).records() if decode is not None else ()
    if said.method in legacy.METHODS:
        found: Iterable[Event] = legacy.decode(frame).records()
        return found
    if not bytes(said.result) and said.method is None:
        raise BadFrame("neither an answer nor data of a channel")
    return ()


def ours(name: str) -> list[Channel]:
    """Our channels that one of the exchange's carries."""
    first = next((wire for wire, *_ in DECODERS if name.startswith(wire)), None)
    return [channel for wire, channel, _ in DECODERS if wire == first]


def refusal(fault: Fault, id: int | str | None) -> Refused:
    reason = f"{fault.code}: {fault.message}"
    if fault.description:
        reason += f" ({fault.description})"
    meaning = meaning_of(reason, final=("symbol not found", "unknown channel"), passing=("too many", "429"))
    return Refused(reason, id=id if isinstance(id, int) else None, meaning=meaning)
