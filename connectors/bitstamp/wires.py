"""Frames: trades, changed levels, funding rates, and what is said of subscriptions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Hangup, Refused, Subscribe, Subscription
from aggregator.records import (
    BookDelta,
    BookSnapshot,
    Channel,
    Funding,
    IndexPrice,
    Levels,
    MarkPrice,
    Record,
    Trade,
)
from aggregator.refusals import meaning_of
from aggregator.wire import Text, encode, nonzero, number, seconds, text, us

CHANNELS: dict[Channel, str] = {"trades": "live_trades", "book": "diff_order_book"}
PERPETUAL: dict[Channel, str] = {
    "funding": "funding_rate",
    "mark_price": "funding_rate",
    "index_price": "funding_rate",
}
ORDERS: dict[Channel, str] = {"book": "live_orders", "orders": "live_orders"}


class Frame(Struct):
    event: str
    channel: str = ""  # the exchange's channel, `_`, the market
    data: Raw = Raw(b"{}")


class TradeWire(Struct, gc=False):
    microtimestamp: Text
    id: int | None = None
    id_str: str | None = None  # the same; of perpetuals alone, whose ids are longer than JavaScript's numbers
    type: int | None = None  # the taker 0 bought, 1 sold
    order_type: int | None = None  # its name of old
    price_str: str | None = None
    amount_str: str | None = None
    price: Text = None
    amount: Text = None

    def records(self, raw_symbol: str) -> Iterable[Record]:
        kind = self.order_type if self.type is None else self.type
        trade = Trade(
            raw_symbol=raw_symbol,
            id=self.id_str or text(self.id),
            price=self.price_str or text(self.price),
            size=self.amount_str or text(self.amount),
            side=None if kind is None else "sell" if kind else "buy",
            ts_event=us(text(self.microtimestamp)),
        )
        return (trade,)


class BookWire(Struct, gc=False):
    microtimestamp: str
    bids: list[list[str]]
    asks: list[list[str]]

    def records(self, raw_symbol: str) -> Iterable[Record]:
        at, bids, asks = int(self.microtimestamp), pairs(self.bids), pairs(self.asks)
        return (BookDelta(raw_symbol=raw_symbol, bids=bids, asks=asks, sequence=at, ts_event=at * 1000),)


class WholeWire(BookWire, gc=False):
    def records(self, raw_symbol: str) -> Iterable[Record]:
        return (self.snapshot(raw_symbol, "periodic"),)

    def snapshot(self, raw_symbol: str, reason: Literal["initial", "periodic"] = "initial") -> BookSnapshot:
        at, bids, asks = int(self.microtimestamp), pairs(self.bids), pairs(self.asks)
        return BookSnapshot(raw_symbol=raw_symbol, bids=bids, asks=asks, sequence=at, ts_event=at * 1000, reason=reason)


class FundingWire(Struct):
    funding_rate: str
    timestamp: str
    next_funding_time: str
    mark_price: str | None = None
    index_price: str | None = None

    def records(self, raw_symbol: str) -> Iterable[Record]:
        at, due = seconds(self.timestamp), seconds(self.next_funding_time)
        if self.funding_rate:
            yield Funding(raw_symbol=raw_symbol, rate=self.funding_rate, ts_next=due, ts_event=at)
        if mark := nonzero(self.mark_price):
            yield MarkPrice(raw_symbol=raw_symbol, price=mark, ts_event=at)
        if index := nonzero(self.index_price):
            yield IndexPrice(raw_symbol=raw_symbol, price=index, ts_event=at)


class Said(Struct):
    message: str = ""


decode = Decoder(Frame).decode
decode_whole = Decoder(WholeWire).decode
decode_said = Decoder(Said).decode
READERS: dict[tuple[str, str], Callable[[Raw], TradeWire | BookWire | FundingWire]] = {
    ("diff_order_book", "data"): Decoder(BookWire).decode,
    ("order_book", "data"): decode_whole,
    ("live_trades", "trade"): Decoder(TradeWire, float_hook=number).decode,
    ("funding_rate", "funding_rate_saved"): Decoder(FundingWire).decode,
}


OURS: dict[str, list[Channel]] = {}
for declared in (CHANNELS, PERPETUAL, ORDERS):
    for channel, name in declared.items():
        OURS.setdefault(name, []).append(channel)


def pairs(rows: list[list[str]]) -> Levels:
    return [(row[0], row[1]) for row in rows]


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    wire, _, raw_symbol = said.channel.rpartition("_")
    read = READERS.get((wire, said.event))
    return parse_other(said, wire, raw_symbol) if read is None else read(said.data).records(raw_symbol)


def parse_other(said: Frame, wire: str, raw_symbol: str) -> Iterable[Event]:
    ours = OURS.get(wire, [])
    if said.event == "bts:subscription_succeeded":
        return [Accepted(channel=channel, raw_symbol=raw_symbol) for channel in ours]
    if said.event == "bts:request_reconnect":
        return (Hangup(said.event),)
    if said.event == "bts:error":
        reason = decode_said(said.data).message
        meaning = meaning_of(reason, final=("bad subscription string",))
        named = [Refused(reason, channel=channel, raw_symbol=raw_symbol, meaning=meaning) for channel in ours]
        return named or (Refused(reason, meaning=meaning),)
    return ()


def asking(event: str, channels: Mapping[Channel, str]) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        named = dict.fromkeys(f"{channels[s.channel]}_{s.raw_symbol}" for s in wanted)
        return [encode({"event": event, "data": {"channel": channel}}) for channel in named]

    return ask
