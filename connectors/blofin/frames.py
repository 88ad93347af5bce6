"""Reading BloFin's frames: OKX's envelope, with books and refusals of its own.

https://docs.blofin.com/index.html#ws-order-book-channel
Documented as JSON numbers, levels have come as text since 2026: both are read.
"""

import re
from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused
from aggregator.records import Channel, Record
from aggregator.refusals import meaning_of, named_in
from aggregator.wire import by_word, number, oldest_first, optional
from connectors.blofin.wires import BarWire, BookWire, FundingWire, PriceWire, TickerWire, Topic, TradeWire

CHANNELS: dict[Channel, str] = {
    "trades": "trades",
    "book": "books",
    "bbo": "tickers",
    "ticker": "tickers",
    "candles": "candle",
    "funding": "funding-rate",
}
NAMED = re.compile(r"channel:([\w-]{1,64}),instId:([^, ]{1,64}?) doesn't exist")
ECHO = "Invalid request: "  # and the request

T = TypeVar("T")


class Rows(Struct, Generic[T], gc=False):
    """Rows that name their own instrument."""

    data: list[T]


class Said(Struct, Generic[T], gc=False):
    """Data whose instrument only the head names."""

    arg: Topic
    data: T
    action: str | None = None


class AskedFor(Struct):
    """The request, as a refusal repeats it."""

    args: list[Topic]


class Other(Struct):
    arg: Topic | None = None
    event: str | None = None
    code: str = ""
    msg: str = ""


decode_trades = Decoder(Rows[TradeWire], strict=False, float_hook=number).decode  # not strict: integers come as text
decode_book = Decoder(Said[BookWire], strict=False, float_hook=number).decode
decode_tickers = Decoder(Rows[TickerWire], strict=False, float_hook=number).decode
decode_bars = Decoder(Said[list[BarWire]], strict=False, float_hook=number).decode
decode_fundings = Decoder(Rows[FundingWire], strict=False, float_hook=number).decode
decode_prices = Decoder(Rows[PriceWire], float_hook=number).decode
decode_other = Decoder(Other, strict=False).decode
decode_request = Decoder(AskedFor).decode


def read_trades(frame: bytes) -> Iterable[Event]:
    return oldest_first(trade.record() for trade in decode_trades(frame).data)


def read_book(frame: bytes) -> Iterable[Event]:
    said = decode_book(frame)
    return (said.data.delta(said.arg.instId) if said.action == "update" else said.data.whole(said.arg),)


def read_tickers(frame: bytes) -> Iterable[Event]:
    return [record for ticker in decode_tickers(frame).data for record in ticker.records()]


def read_bars(frame: bytes) -> Iterable[Event]:
    said = decode_bars(frame)
    return [bar.record(said.arg) for bar in said.data]


def read_fundings(frame: bytes) -> Iterable[Event]:
    return [funding.record() for funding in decode_fundings(frame).data if optional(funding.fundingRate) is not None]


def read_prices(_: str, body: bytes) -> Iterable[Record]:
    return [record for price in decode_prices(body).data for record in price.records()]


READERS: dict[str, Parse] = {
    "trades": read_trades,
    "books": read_book,
    "books5": read_book,
    "tickers": read_tickers,
    "funding-rate": read_fundings,
}
START = b'{"arg":{"channel":"'


def parse_other(frame: bytes) -> Iterable[Event]:
    if frame == b"pong":
        return ()
    said = decode_other(frame)
    if said.event is not None:
        return parse_event(said)
    if said.arg is None:
        raise BadFrame("neither an event nor data of a channel")
    read = read_bars if said.arg.channel.startswith("candle") else READERS.get(said.arg.channel)
    return read(frame) if read is not None else ()


def parse_event(said: Other) -> Iterable[Event]:
    if said.event == "subscribe" and said.arg is not None:
        return (Accepted(topic=said.arg.name),)
    if said.event != "error":
        return ()
    reason = f"{said.code}: {said.msg}"
    meaning = meaning_of(reason, final=("doesn't exist",), passing=("60014", "too frequent", "too many"))
    return [Refused(reason, topic=topic.name, meaning=meaning) for topic in refused(said)] or [
        Refused(reason, meaning=meaning)
    ]


def refused(said: Other) -> list[Topic]:
    """The topics that a refusal names: in its words, in its head, or by repeating the request."""
    words = named_in(said.msg, NAMED)
    if words is not None:
        return [Topic(words[1], words[2])]
    if said.arg is not None:
        return [said.arg]
    try:
        return decode_request(said.msg.removeprefix(ECHO)).args
    except DecodeError:
        return []


parse = by_word(START, READERS, parse_other)
