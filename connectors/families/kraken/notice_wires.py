"""Kraken's messages about its pairs, about itself, and in answer to requests."""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Meaning, Refused
from aggregator.records import Channel, Instrument, MarketState, Record, Status
from aggregator.refusals import meaning_of
from aggregator.wire import Text, optional

CHANNELS: dict[Channel, str] = {
    "trades": "trade",
    "book": "book",
    "ticker": "ticker",
    "candles": "ohlc",
    "instruments": "instrument",
    "status": "instrument",  # the state of a pair; that of the whole exchange comes unasked
}
OURS: dict[str, Channel] = {name: channel for channel, name in CHANNELS.items()}
TAGS = {*OURS, "status"}
STATES: dict[str, MarketState] = {
    "online": "trading",
    "limit_only": "trading",
    "reduce_only": "reduce_only",
    "post_only": "post_only",
    "cancel_only": "cancel_only",
    "maintenance": "maintenance",
    "work_in_progress": "pre_open",
    "delisted": "delisted",
}


class PairRow(Struct):
    symbol: str
    base: str
    quote: str
    status: str
    qty_increment: Text = None
    price_increment: Text = None
    tick_size: Text = None  # the former name of price_increment
    qty_min: Text = None
    cost_min: Text = None

    def record(self, change: Literal["new", "update"]) -> Instrument:
        return Instrument(
            raw_symbol=self.symbol,
            base=self.base,
            quote=self.quote,
            tick_size=optional(self.price_increment) or optional(self.tick_size),
            lot_size=optional(self.qty_increment),
            min_size=optional(self.qty_min),
            min_notional=optional(self.cost_min),
            state=STATES.get(self.status, "unknown"),
            change=change,
        )


class Pairs(Struct):
    pairs: list[PairRow] = []


class Instruments(Struct, tag_field="channel", tag="instrument"):
    type: Literal["snapshot", "update"]
    data: Pairs

    def events(self) -> Iterable[Event]:
        pairs = self.data.pairs
        change: Literal["new", "update"] = "update" if self.type == "update" else "new"
        instruments = [row.record(change) for row in pairs]
        return flagged(self.type, [*instruments, *(status(row.status, row.symbol) for row in pairs)])


class System(Struct):
    system: str


class Statuses(Struct, tag_field="channel", tag="status"):
    data: list[System]

    def events(self) -> Iterable[Event]:
        return [status(row.system) for row in self.data]


class Asked(Struct):
    channel: str = ""
    symbol: str | None = None
    event_trigger: str = ""


class Other(Struct):
    """An answer to what was asked, or a channel that is not ours."""

    channel: str = ""
    method: str = ""
    success: bool = True
    error: str = ""
    symbol: str | None = None
    req_id: int | None = None
    result: Asked | None = None

    def events(self) -> Iterable[Event]:
        if self.channel in TAGS:
            raise BadFrame(f"a message of {self.channel} that cannot be read")
        if self.error or not self.success:
            return () if self.method == "unsubscribe" else (self.refused(),)
        asked = self.result
        if self.method != "subscribe" or asked is None:
            return ()
        if asked.channel == "instrument":  # the topic has all pairs at once
            return Accepted(channel="instruments"), Accepted(channel="status")
        channel = "bbo" if asked.event_trigger == "bbo" else OURS.get(asked.channel)
        return (Accepted(channel=channel, raw_symbol=asked.symbol),)

    def refused(self) -> Refused:
        """Each symbol is answered by itself, under the number that the whole request had."""
        channel: Channel | None = "candles" if "ohlc" in self.error else None
        id = self.req_id if self.symbol is None else None
        return Refused(self.error, id=id, channel=channel, raw_symbol=self.symbol, meaning=meaning(self.error))


def meaning(error: str) -> Meaning:
    """The meaning of Kraken's words: there is no such pair, or it was asked too much."""
    return meaning_of(error, final=("pair not",), passing=("rate limit", "msg rate"))


def flagged(type: str, records: Sequence[Record]) -> Sequence[Record]:
    """The state at the subscription is told from what happens after it."""
    if type == "snapshot":
        for record in records:
            record.flags = ("snapshot",)
    return records


def status(word: str, raw_symbol: str | None = None) -> Status:
    state = STATES.get(word, "unknown")
    return Status(raw_symbol=raw_symbol, state=state, reason=None if word == "online" else word)
