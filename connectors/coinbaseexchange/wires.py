"""Frames: trades, the book by level, tickers, and what is said of subscriptions."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Denied, Event, Refused, Subscribe, Subscription
from aggregator.records import DAY_S, BookDelta, BookSnapshot, Channel, Levels, Side, Ticker, Trade
from aggregator.refusals import meaning_of
from aggregator.wire import bbo, encode, from_iso, nonzero, optional, symbols_by

CHANNELS: dict[Channel, str] = {"trades": "matches", "book": "level2_batch", "ticker": "ticker", "bbo": "ticker"}
SIGNED: dict[Channel, str] = {"book": "level2"}
ORDERS: dict[Channel, str] = {"book": "full", "orders": "full"}
OURS: dict[str, tuple[Channel, ...]] = {
    "matches": ("trades",),
    "level2": ("book",),
    "level2_batch": ("book",),
    "level2_50": ("book",),  # how `level2_batch` is answered
    "ticker": ("ticker", "bbo"),
    "full": ("book", "orders"),
}
TAGS = {"match", "last_match", "rfq_match", "l2update", "snapshot", "ticker"}
TAKER: dict[Side, Side] = {"buy": "sell", "sell": "buy"}  # the wire gives the maker's side


class Row(Struct, gc=False):
    trade_id: int  # counts the trades of one product
    side: Side
    size: str
    price: str
    time: str

    def trade(self, raw_symbol: str) -> Trade:
        return Trade(
            raw_symbol=raw_symbol,
            id=str(self.trade_id),
            price=self.price,
            size=self.size,
            side=TAKER[self.side],
            sequence=self.trade_id,
            ts_event=stamp(self.time),
        )


class Match(Row, tag_field="type", tag="match", gc=False):
    product_id: str

    def records(self) -> tuple[Event, ...]:
        return (self.trade(self.product_id),)


class LastMatch(Match, tag_field="type", tag="last_match", gc=False):
    """The last trade before the subscription."""

    def records(self) -> tuple[Event, ...]:
        last = self.trade(self.product_id)
        last.flags = ("snapshot",)
        return (last,)


class Quoted(Match, tag_field="type", tag="rfq_match", gc=False):
    """A trade at a price that was asked for, beside the book; it is not said whether it is counted with the others."""

    def records(self) -> tuple[Event, ...]:
        quoted = self.trade(self.product_id)
        quoted.kind, quoted.sequence = "rfq", None
        return (quoted,)


class Update(Struct, tag_field="type", tag="l2update", gc=False):
    product_id: str
    changes: list[tuple[Side, str, str]]
    time: str | None = None

    def records(self) -> tuple[Event, ...]:
        bids: Levels = []
        asks: Levels = []
        for side, price, size in self.changes:  # mostly one: a loop is cheaper than two comprehensions
            (bids if side == "buy" else asks).append((price, size))
        return (BookDelta(raw_symbol=self.product_id, bids=bids, asks=asks, ts_event=stamp(self.time)),)


class SnapshotWire(Struct, tag_field="type", tag="snapshot", gc=False):
    product_id: str
    bids: Levels
    asks: Levels
    time: str | None = None

    def records(self) -> tuple[Event, ...]:
        """A size may be garbled to what is no number (`0.-10000`): such a level is left out."""
        bids, asks = ([level for level in side if "-" not in level[1]] for side in (self.bids, self.asks))
        return (BookSnapshot(raw_symbol=self.product_id, bids=bids, asks=asks, ts_event=stamp(self.time)),)


class TickerWire(Struct, tag_field="type", tag="ticker", gc=False):
    product_id: str
    price: str
    open_24h: str | None = None
    volume_24h: str | None = None
    low_24h: str | None = None
    high_24h: str | None = None
    best_bid: str | None = None
    best_bid_size: str | None = None
    best_ask: str | None = None
    best_ask_size: str | None = None
    sequence: int | None = None
    time: str | None = None  # when the last trade happened

    def records(self) -> tuple[Event, ...]:
        at = stamp(self.time)
        statistics = Ticker(
            raw_symbol=self.product_id,
            last=nonzero(self.price),
            open=nonzero(self.open_24h),
            high=nonzero(self.high_24h),
            low=nonzero(self.low_24h),
            base_volume=optional(self.volume_24h),
            window_s=DAY_S,
            sequence=self.sequence,
            ts_event=at,
        )
        offered = bbo(
            self.product_id,
            self.best_bid,
            self.best_bid_size,
            self.best_ask,
            self.best_ask_size,
            sequence=self.sequence,
            ts_event=at,
        )
        return (statistics, offered)


class Listened(Struct):
    name: str
    product_ids: list[str] | None = None


class Other(Struct):
    """A list of what is now subscribed to, a refusal, or a kind that is not ours."""

    type: str
    channels: list[Listened] = []
    message: str = ""
    reason: str = ""


decode = Decoder(Match | LastMatch | Quoted | Update | SnapshotWire | TickerWire).decode
decode_other = Decoder(Other).decode


def stamp(time: str | None) -> int | None:
    """The exchange's empty time, in the year 1, is none."""
    if not time or (time[0] == "0" and time.startswith("0001-")):  # one letter is looked at in no time
        return None
    return from_iso(time)


def parse(frame: bytes) -> Iterable[Event]:
    try:
        events: Iterable[Event] = decode(frame).records()
    except ValidationError:
        return parse_other(frame)
    return events


def parse_other(frame: bytes, data: AbstractSet[str] = TAGS) -> Iterable[Event]:
    """Read what is no data; a frame of these types is, and should have been read."""
    said = decode_other(frame)
    if said.type in data:
        raise BadFrame(f"a {said.type} that cannot be read")
    if said.type == "subscriptions":
        named = [(listened.name, product) for listened in said.channels for product in listened.product_ids or ()]
        return [Accepted(channel=ours, raw_symbol=product) for name, product in named for ours in OURS.get(name, ())]
    if said.type == "error":
        word = said.reason.partition(" ")[0]  # `FOO-USD is not a valid product`
        reason = f"{said.message}: {said.reason}"
        if said.message.lower() == "authentication failed":
            return (Denied(reason),)
        meaning = meaning_of(reason, final=("not a valid product",), passing=("rate limit", "too many"))
        if "-" not in word:
            return (Refused(reason, meaning=meaning),)
        return (Refused(reason, raw_symbol=word, whole=True, meaning=meaning),)
    return ()


def asking(method: str, channels: Mapping[Channel, str] = CHANNELS) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for name, products in symbols_by(lambda s: channels[s.channel], wanted).items():
            yield encode({"type": method, "product_ids": products, "channels": [name]})

    return ask
