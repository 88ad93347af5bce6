"""The protocol of Kraken's futures, once those of Crypto Facilities: feeds of products.

https://docs.kraken.com/exchange/api-reference/futures-websocket
A refusal names nothing but, in words, a product that there is not: so every product is asked for in a frame of its own.
"""

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Meaning, Refused, Subscribe, Subscription
from aggregator.records import Channel
from aggregator.refusals import meaning_of, named_in
from aggregator.wire import channels_by_word, encode, number
from connectors.krakenfutures.wires import (
    BestFrame,
    BookFrame,
    BooksFrame,
    TickerFrame,
    TradeFrame,
    TradesFrame,
)

CHANNELS: dict[Channel, str] = {
    "trades": "trade",
    "book": "book",
    "bbo": "ticker",
    "ticker": "ticker",
    "funding": "ticker",
    "open_interest": "ticker",
    "liquidations": "trade",
    "mark_price": "ticker",
    "index_price": "ticker",
}
OURS = channels_by_word(CHANNELS)
FEEDS = {"trade", "trade_snapshot", "book", "book_snapshot", "ticker", "ticker_lite"}


ALREADY = "Already subscribed"  # how an alert begins that refuses nothing
NAMED = re.compile(r"invalid product `([^`]+)`", re.IGNORECASE)


class Other(Struct):
    """An answer, a notice, or a feed that is not ours."""

    event: str = ""
    feed: str = ""
    product_ids: list[str] = []
    message: str = ""


decode = Decoder(TradeFrame | TradesFrame | BookFrame | BooksFrame | TickerFrame | BestFrame, float_hook=number).decode
decode_other = Decoder(Other).decode


def parse(frame: bytes) -> Iterable[Event]:
    try:
        events: Iterable[Event] = decode(frame).records()
    except ValidationError:
        return parse_other(frame)
    return events


def parse_other(frame: bytes) -> Iterable[Event]:
    said = decode_other(frame)
    named = [(channel, name) for name in said.product_ids for channel in OURS.get(said.feed, ())]
    if said.event == "subscribed":
        return [Accepted(channel=channel, raw_symbol=name) for channel, name in named]
    if said.event == "subscribed_failed":
        reason = said.message or said.event
        return [Refused(reason, channel=c, raw_symbol=name, meaning=meaning(reason)) for c, name in named]
    if said.event in {"alert", "error"}:
        return (parse_alert(said.message or said.event),)
    if not said.event and said.feed in FEEDS:
        raise BadFrame(f"a {said.feed} that cannot be read")
    return ()


def parse_alert(message: str) -> Accepted | Refused:
    """Read an alert. One that names a product refuses it, whatever the feed was: no product has that name (2026)."""
    if message.startswith(ALREADY):
        return Accepted()
    found = named_in(message, NAMED)
    if found is not None:
        return Refused(message, raw_symbol=found[1], meaning="final")
    return Refused(message, meaning=meaning(message))


def meaning(message: str) -> Meaning:
    """The documented words of an error, and those of a pace.

    https://docs.kraken.com/api/docs/futures-api/websocket/book
    """
    return meaning_of(message, final=("invalid product", "invalid feed"), passing=("rate",))


def asking(event: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for feed, product in dict.fromkeys((CHANNELS[s.channel], s.raw_symbol) for s in wanted):
            yield encode({"event": event, "feed": feed, "product_ids": [product]})
        if event == "subscribe":
            yield encode({"event": event, "feed": "heartbeat"})

    return ask
