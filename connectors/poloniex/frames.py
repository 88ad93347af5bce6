"""Poloniex's WebSocket protocol: the same words for spot and (version 3) futures, whose messages name fields otherwise.

https://api-docs.poloniex.com/spot/websocket
https://api-docs.poloniex.com/v3/futures/websocket
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Heartbeat, Parse, Refused, Stream, Subscribe, Subscription
from aggregator.records import Channel, Instrument, Record
from aggregator.sequence import linked
from aggregator.wire import encode, symbols_by
from connectors.poloniex import legacy

UNITS = {"m": "minute", "h": "hour", "d": "day", "w": "week", "M": "month"}
LETTERS = {unit: letter for letter, unit in UNITS.items()}
CANDLES = "candles_"
DEPTH = 20  # levels a side of `book_lv2`: what leaves them is removed, what comes into them is told


class Frame(Struct, gc=False):
    channel: str = ""
    data: Raw = Raw(b"")
    action: str | None = None  # `snapshot` or `update`, of books
    event: str = ""
    message: str = ""
    symbols: list[str] | None = None


Reader = Callable[[Frame], Iterable[Record]]

decode = Decoder(Frame).decode


def interval(channel: str) -> str:
    """`candles_minute_5` gives `5m`."""
    unit, _, count = channel.removeprefix(CANDLES).partition("_")
    if unit not in LETTERS or not count.isdecimal():
        raise BadFrame(f"{channel[:40]!r} is no channel of candles")
    return f"{count}{LETTERS[unit]}"


def spelled(channels: Mapping[Channel, str], s: Subscription) -> str:
    name = channels[s.channel]
    return f"{name}{UNITS.get(s.interval[-1:], s.interval[-1:])}_{s.interval[:-1]}" if name == CANDLES else name


def parsing(channels: Mapping[Channel, str], readers: Mapping[str, Reader]) -> Parse:
    """A parser, given the reader of each of the exchange's channels (`candles_` for all candles)."""
    read_older = legacy.reading()

    def parse(frame: bytes) -> Iterable[Event]:
        if frame.startswith(b"["):
            return read_older(frame)
        said = decode(frame)
        if said.event:
            return answer(channels, said)
        read = readers.get(said.channel)
        if read is None and said.channel.startswith(CANDLES):
            read = readers[CANDLES]
        return () if read is None else read(said)

    return parse


def answer(channels: Mapping[Channel, str], said: Frame) -> Iterable[Event]:
    """Read an answer: a refusal names nothing, and may be of any frame of a request; a grant has the known symbols."""
    if said.event == "error":
        return (Refused(said.message),)
    if said.event != "subscribe":
        return ()
    wire = CANDLES if said.channel.startswith(CANDLES) else said.channel
    ours = [channel for channel, name in channels.items() if name == wire]
    return [Accepted(channel=channel, raw_symbol=symbol) for channel in ours for symbol in said.symbols or ()]


def asking(event: str, channels: Mapping[Channel, str]) -> Subscribe:
    """A frame for each channel, with all its symbols."""

    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for name, symbols in symbols_by(lambda s: spelled(channels, s), wanted).items():
            yield encode({"event": event, "channel": [name], "symbols": symbols})

    return ask


def stream(
    name: str,
    url: str,
    channels: Mapping[Channel, str],
    readers: Mapping[str, Reader],
    serves: Callable[[Instrument], bool],
) -> Stream:
    """Declare one socket; it ends after 30 s in which it hears nothing from us."""
    return Stream(
        name=name,
        url=url,
        channels=channels,
        serves=serves,
        subscribe=asking("subscribe", channels),
        unsubscribe=asking("unsubscribe", channels),
        parser=lambda: parsing(channels, readers),
        heartbeat=Heartbeat(every=15, frame=b'{"event":"ping"}'),
        sequence={"book": linked},
        depth=DEPTH,
        pace=0.05,
    )
