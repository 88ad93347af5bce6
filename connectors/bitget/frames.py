"""Reading Bitget's frames: data of a channel, or an event.

https://www.bitget.com/api-doc/common/websocket-intro
"""

import re
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Refused
from aggregator.records import MS_NS, Channel
from aggregator.refusals import meaning_of, named_in
from aggregator.wire import by_word, past
from connectors.bitget import legacy, table_wires, unified_wires
from connectors.bitget.wires import BarWire, BookWire, TickerWire, TradeWire, interval_of

BOOK = "books"
SPOT: dict[Channel, str] = {
    "trades": "trade",
    "book": BOOK,
    "bbo": "books1",
    "ticker": "ticker",
    "candles": "candle",
}
FUTURES: dict[Channel, str] = SPOT | {
    "funding": "ticker",
    "open_interest": "ticker",
    "mark_price": "ticker",
    "index_price": "ticker",
}
LIQUIDATIONS: dict[Channel, str] = {"liquidations": "liquidation"}  # only version 3 has them
DEPTHS = {"books5": 5, "books15": 15}  # these books are always sent whole
KEPT = {"SPOT": 500, "USDT-FUTURES": 500, "USDC-FUTURES": 200, "COIN-FUTURES": 200}  # levels a side of `books`, 2026-09
NAMED = re.compile(r"channel:([\w-]{1,64}),instId:([^, ]{1,64}?) doesn't exist")
MARK = b'"channel":"'  # the name of the channel follows it

T = TypeVar("T")
Reader = Callable[[bytes], Iterable[Event]]


class Topic(Struct, gc=False):
    channel: str
    instId: str
    instType: str = ""


class Said(Struct, Generic[T], gc=False):
    """Data of one channel of one instrument."""

    arg: Topic
    data: list[T]
    action: str = ""
    ts: int | None = None  # when it was sent


class Book(Struct, gc=False):
    """A book, which for tokenized stocks stands alone instead of in a list."""

    arg: Topic
    data: list[BookWire] | BookWire
    action: str = ""
    ts: int | None = None


class Arg(Struct):
    instType: str = ""
    channel: str = ""
    topic: str = ""  # in place of the channel in version 3
    instId: str | None = None


class Other(Struct):
    arg: Arg | None = None
    table: str = ""  # contracts had one in 2021
    event: str | None = None
    code: str | int = ""
    msg: str = ""


decode_trades = Decoder(Said[TradeWire], strict=False).decode  # not strict: times come as text
decode_tickers = Decoder(Said[TickerWire], strict=False).decode
decode_bars = Decoder(Said[BarWire], strict=False).decode
decode_book = Decoder(Book, strict=False).decode
decode_other = Decoder(Other).decode


def read_trades(frame: bytes) -> Iterable[Event]:
    """Read trades, which come newest first; those at the beginning of a connection are past ones."""
    said = decode_trades(frame)
    name, sent = said.arg.instId, sent_at(said.ts)
    trades = [trade.record(name, sent) for trade in reversed(said.data)]
    return past(trades) if said.action == "snapshot" else trades


def read_book(frame: bytes) -> Iterable[Event]:
    said = decode_book(frame)
    name, sent, channel = said.arg.instId, sent_at(said.ts), said.arg.channel
    rows = said.data if isinstance(said.data, list) else [said.data]
    if channel == "books1":
        return [row.best(name, sent) for row in rows]
    if said.action == "update":
        return [row.delta(name, sent) for row in rows]
    depth = DEPTHS.get(channel) or KEPT.get(said.arg.instType)
    return [row.whole(name, sent, depth, is_first=channel == BOOK) for row in rows]


def read_tickers(frame: bytes) -> Iterable[Event]:
    said = decode_tickers(frame)
    return [record for row in said.data for record in row.records(sent_at(said.ts))]


def read_bars(frame: bytes) -> Iterable[Event]:
    said = decode_bars(frame)
    interval = interval_of(said.arg.channel.removeprefix("candle"))
    return [row.record(said.arg.instId, interval, sent_at(said.ts)) for row in said.data]


def sent_at(ts: int | None) -> int | None:
    return None if ts is None else ts * MS_NS


READERS: dict[str, Reader] = {
    "trade": read_trades,
    "books": read_book,
    "books1": read_book,
    "books5": read_book,
    "books15": read_book,
    "ticker": read_tickers,
}


def parse_other(frame: bytes) -> Iterable[Event]:
    if frame == b"pong":
        return ()
    said = decode_other(frame)
    if said.event is not None:
        return parse_event(said)
    if said.table:
        return table_wires.read(said.table, frame)
    if said.arg is None:
        raise BadFrame("neither an event nor data of a channel")
    read = reader(said.arg)
    return read(frame) if read is not None else ()


def reader(arg: Arg) -> Reader | None:
    """The reader of a topic's data, in version 3 (where only liquidations are asked for), 1 or 2."""
    if arg.topic:
        return unified_wires.READERS.get(arg.topic)
    if arg.channel.startswith("candle"):
        return read_bars
    old = legacy.READERS.get(arg.channel) if arg.instType in legacy.TYPES else None
    return old or READERS.get(arg.channel)


def parse_event(said: Other) -> Iterable[Event]:
    arg = said.arg
    topic = None if arg is None else (arg.channel or arg.topic, arg.instId)
    if said.event == "subscribe":
        return (Accepted(topic=topic),)
    if said.event != "error":
        return ()
    named = named_in(said.msg, NAMED)
    if named is not None:
        topic = (named[1], named[2])
    reason = f"{said.code}: {said.msg}"
    meaning = meaning_of(reason, final=("doesn't exist",), passing=("too many", "too frequent"))
    return (Refused(reason, topic=topic, meaning=meaning),)


parse = by_word(MARK, READERS, parse_other)
