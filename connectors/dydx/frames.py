"""Reading the frames of dYdX's indexer.

https://docs.dydx.xyz/indexer-client/websockets
https://github.com/dydxprotocol/v4-chain (indexer/services/socks: its frames, refusals and limits, March 2026)
`message_id` counts the frames of a connection, but an answer takes its number when it was asked for and comes later: a
number that is left out proves no loss, and none of them is judged.
"""

import re
from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused, Subscription
from aggregator.records import Channel, Record
from aggregator.refusals import meaning_of, named_in
from aggregator.wire import by_word, either, number, past
from connectors.dydx.wires import RESOLUTIONS, Bars, BarWire, BookWire, Markets, Trades

CHANNELS: dict[Channel, str] = {
    "trades": "v4_trades",
    "liquidations": "v4_trades",
    "book": "v4_orderbook",
    "candles": "v4_candles",
    "ticker": "v4_markets",
    "funding": "v4_markets",
    "open_interest": "v4_markets",
    "index_price": "v4_markets",
    "status": "v4_markets",
}
NAMED = re.compile(r"\b(v4_[a-z_]{1,40})-(.{1,200}?)(?:\)|\. Please)")
FINAL = ("Invalid subscription id", "Invalid channel")
PASSING = ("Internal error", "Too many", "subscription limit reached")

T = TypeVar("T")


class Said(Struct, Generic[T], gc=False):
    """Data, of which the first of a topic confirms it; that of all markets has no id."""

    type: str
    contents: T
    id: str = ""

    def answer(self, channel: str) -> tuple[Event, ...]:
        return (Accepted(topic=(channel, self.id)),) if self.type == "subscribed" else ()


class Other(Struct):
    type: str
    message: str = ""
    channel: str = ""
    id: str | int | None = None


decode_trades = Decoder(Said[Trades | list[Trades]], strict=False, float_hook=number).decode
decode_book = Decoder(Said[BookWire | list[BookWire]], strict=False, float_hook=number).decode
decode_bars = either(
    Decoder(Said[BarWire | list[BarWire]], strict=False, float_hook=number).decode,
    Decoder(Said[Bars], float_hook=number).decode,
)
decode_markets = Decoder(Said[Markets | list[Markets]], strict=False, float_hook=number).decode
decode_other = Decoder(Other).decode


def each(contents: T | list[T]) -> list[T]:
    """The parts of a frame: several where they are asked for in batches."""
    return contents if isinstance(contents, list) else [contents]


def read_trades(frame: bytes) -> Iterable[Event]:
    said = decode_trades(frame)
    rows = [row for part in each(said.contents) for row in part.trades]
    if said.type != "subscribed":
        return [record for row in rows for record in row.records(said.id)]
    old: list[Record] = [record for row in reversed(rows) for record in row.records(said.id)]
    return [*said.answer("v4_trades"), *past(old)]


def read_book(frame: bytes) -> Iterable[Event]:
    said = decode_book(frame)
    if said.type != "subscribed":
        return [part.delta(said.id) for part in each(said.contents)]
    return [*said.answer("v4_orderbook"), *(part.whole(said.id) for part in each(said.contents))]


def read_bars(frame: bytes) -> Iterable[Event]:
    said = decode_bars(frame)
    if isinstance(said.contents, Bars):
        return [*said.answer("v4_candles"), *past(bar.record() for bar in reversed(said.contents.candles))]
    return [bar.record() for bar in each(said.contents)]


def read_markets(frame: bytes) -> Iterable[Event]:
    said = decode_markets(frame)
    records = [record for part in each(said.contents) for record in part.records()]
    return [*said.answer("v4_markets"), *records]


READERS: dict[str, Parse] = {
    "v4_trades": read_trades,
    "v4_orderbook": read_book,
    "v4_candles": read_bars,
    "v4_markets": read_markets,
}
DATA = {"subscribed", "channel_data", "channel_batch_data"}


def parse_other(frame: bytes) -> Iterable[Event]:
    said = decode_other(frame)
    if said.type in DATA:
        read = READERS.get(said.channel)
        return () if read is None else read(frame)
    if said.type != "error":
        return ()
    words = named_in(said.message, NAMED)
    topic = (said.channel, str(said.id or "")) if said.channel else (words[1], words[2]) if words else None
    if "already subscribed" in said.message and topic is not None:
        return (Accepted(topic=topic),)
    if not said.message:
        raise BadFrame("an error without words")
    return (Refused(said.message, topic=topic, meaning=meaning_of(said.message, final=FINAL, passing=PASSING)),)


def topic(s: Subscription) -> tuple[str, str]:
    """Give the channel of a topic, and its id there; one subscription tells of all markets."""
    channel = CHANNELS[s.channel]
    if channel == "v4_markets":
        return channel, ""
    if s.channel == "candles":
        return channel, f"{s.raw_symbol}/{RESOLUTIONS.get(s.interval, s.interval)}"
    return channel, s.raw_symbol


parse = by_word(b'"channel":"', READERS, parse_other)
