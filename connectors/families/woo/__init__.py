"""The WOO protocol: topics of a channel and a symbol, in the words of version 3 and in the longer ones before it.

https://developer.woox.io/api-reference/websocket_introduction
https://orderly.network/docs/build-on-omnichain/websocket-api/introduction
Version 3 says `trade@SPOT_BTC_USDT` and short fields of text; what came before, which Orderly still speaks, says
`SPOT_BTC_USDT@trade` and long fields of numbers. An index is named by its spot pair, and told under its perpetual.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Refused, Reply
from aggregator.records import MS_NS, Channel, Record
from aggregator.refusals import meaning_of
from aggregator.wire import number
from connectors.families.woo import longer_wires, shorter_wires
from connectors.families.woo.frames import Frame, Row, perpetual_of

R = TypeVar("R", bound=Row)

CHANNELS: dict[Channel, str] = {
    "trades": "trade",
    "book": "orderbookupdate",
    "bbo": "bbo",
    "ticker": "ticker",
    "candles": "kline",
    "funding": "estfundingrate",
    "open_interest": "openinterest",
    "mark_price": "markprice",
    "index_price": "indexprice",
    "liquidations": "liquidation",
}
WHOLE = "orderbook10"  # the book that is always sent whole
OURS = {word: channel for channel, word in CHANNELS.items()} | {WHOLE: "book"}
HEAD = b'{"topic":"'


class Other(Struct):
    """An answer to what was asked, or data that does not begin with its topic."""

    topic: str = ""
    id: str | int | None = None
    event: str = ""  # the longer words have it
    cmd: str = ""  # the shorter ones have it
    success: bool | None = None
    errorMsg: str | None = None
    data: Raw = Raw(b"null")


decode_other = Decoder(Other).decode
decode_answer = Decoder(Frame[longer_wires.WholeBook], float_hook=number).decode
decode_topics = Decoder(list[str]).decode
decode_reason = Decoder(str).decode


def one(row: type[R]) -> Callable[[bytes], Iterable[Record]]:
    """A reader of frames that hold one row."""
    decode = Decoder(Frame[row], float_hook=number).decode  # type: ignore[valid-type]

    def read(frame: bytes) -> Iterable[Record]:
        said: Frame[R] = decode(frame)
        record = said.data.record(said.ts * MS_NS)
        return () if record is None else (record,)

    return read


def many(row: type[R]) -> Callable[[bytes], Iterable[Record]]:
    """A reader of frames that hold a row of each symbol."""
    decode = Decoder(Frame[list[row]], float_hook=number).decode  # type: ignore[valid-type]

    def read(frame: bytes) -> Iterable[Record]:
        said: Frame[list[R]] = decode(frame)
        records = [data.record(said.ts * MS_NS) for data in said.data]
        return [record for record in records if record is not None]

    return read


def forced(frame: bytes) -> Iterable[Record]:
    return [record for row in longer_wires.decode_forced(frame).data for record in row.records()]


SHORTER = {  # the keys stand before the `@` of a topic
    b"trade": one(shorter_wires.TradeRow),
    b"orderbookupdate": one(shorter_wires.Change),
    b"orderbook10": one(shorter_wires.Top),
    b"bbo": one(shorter_wires.BestRow),
    b"ticker": one(shorter_wires.TickerRow),
    b"kline": one(shorter_wires.Bar),
    b"estfundingrate": one(shorter_wires.RateRow),
    b"openinterest": one(shorter_wires.OpenRow),
    b"markprice": one(shorter_wires.MarkRow),
    b"indexprice": one(shorter_wires.IndexRow),
    b"bbos": many(longer_wires.BestRow),
    b"tickers": many(longer_wires.TickerRow),
    b"markprices": many(longer_wires.MarkRow),
    b"indexprices": many(longer_wires.IndexRow),
    b"liquidation": forced,
}
LONGER = {  # the keys stand behind the `@` of a topic
    b"trade": one(longer_wires.TradeRow),
    b"orderbookupdate": one(longer_wires.Change),
    b"orderbook": one(longer_wires.Top),
    b"bbo": one(longer_wires.BestRow),
    b"ticker": one(longer_wires.TickerRow),
    b"kline": one(longer_wires.Bar),
    b"estfundingrate": one(longer_wires.RateRow),
    b"openinterest": one(longer_wires.OpenRow),
    b"markprice": one(longer_wires.MarkRow),
    b"indexprice": one(longer_wires.IndexRow),
}


def parse(frame: bytes) -> Iterable[Event]:
    if frame.startswith(HEAD):
        topic = frame[len(HEAD) : frame.find(b'"', len(HEAD))]
    else:
        other = decode_other(frame)
        if not other.topic:
            return parse_answer(other, frame)
        topic = other.topic.encode()
    first, _, rest = topic.partition(b"@")
    read = SHORTER.get(first)
    if read is None and b"$" not in first:  # `broker$symbol`: the share of one broker
        read = LONGER.get(rest.partition(b"_")[0])
    return () if read is None else read(frame)


def parse_answer(other: Other, frame: bytes) -> Iterable[Event]:
    if other.cmd:
        return parse_command(other)
    if not other.event and other.success is None:
        raise BadFrame("neither data of a topic nor an answer")
    if other.event == "ping":
        return (Reply(b'{"event":"pong"}'),)
    if other.event == "request" and other.success:
        answer = decode_answer(frame)
        return (answer.data.record(answer.ts * MS_NS),)
    channel, raw_symbol = subject(str(other.id))
    if other.event not in {"subscribe", ""} or (channel is None and other.success):
        return ()
    if other.success:
        return (Accepted(channel=channel, raw_symbol=raw_symbol),)
    reason = other.errorMsg or "no reason given"  # comes without the event, whatever the documentation shows
    meaning = meaning_of(
        reason, final=("invalid symbol", "invalid index symbol", "invalid topic"), passing=("too many",)
    )
    name = None if channel is None else raw_symbol
    return (Refused(reason, channel=channel, raw_symbol=name, meaning=meaning),)


def parse_command(other: Other) -> Iterable[Event]:
    """Read an answer of version 3: an acknowledgement lists the topics that are new and known, and no others."""
    id = int(other.id) if str(other.id).isdecimal() and other.id is not None else None
    if other.success is False:
        return (Refused(decode_reason(other.data), id=id),)
    if other.cmd != "SUBSCRIBE":
        return ()
    named = [subject(topic) for topic in decode_topics(other.data)]
    if not named:
        return (Refused("the exchange knows no such topic", id=id, meaning="final"),)
    return [Accepted(channel=channel, raw_symbol=raw_symbol) for channel, raw_symbol in named if channel]


def subject(topic: str) -> tuple[Channel | None, str | None]:
    """The channel and the symbol of a topic, in whichever words."""
    first, _, rest = topic.partition("@")
    name = rest.partition("@")[0] if first in OURS else first
    channel = OURS.get(first if first in OURS else rest.partition("_")[0])
    if channel == "index_price":
        name = perpetual_of(name)
    return channel, name or None
