"""The records, version 1: what every sink, socket and file carries.

One record is one flat struct, and on the wire one JSON object on one line. Numbers are the exchange's own decimal
text, times are integer nanoseconds since the Unix epoch (UTC), and null means "the exchange did not say". What is null
is left out on the wire, but for the names of a topic.
`docs/records.md` is made from the docstrings below: a line `name: meaning` describes a field.
"""

import re
from collections.abc import Callable
from itertools import repeat
from typing import Literal, TypeVar, Union, cast, get_args

import msgspec
from msgspec import NODEFAULT, UNSET, Struct, UnsetType, field, structs

SCHEMA = 1
T = TypeVar("T")

# The units in which times are reckoned: `_NS` is nanoseconds, as in every record, and `_S` whole seconds.
MS_NS = 1_000_000
SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_S = 3600
DAY_S = 24 * HOUR_S
UNITS_NS = {"ms": MS_NS, "s": SECOND_NS, "m": MINUTE_NS, "h": HOUR_S * SECOND_NS, "d": DAY_S * SECOND_NS}
DURATION = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,12}))?\s*(ms|[smhd])", re.ASCII)
DURATIONS = '"100ms", "1.5s", "15m", "1h" or "1d"'  # how they are written, for people


def duration_ns(text: str) -> int | None:
    """How long a text like `1.5s` says, exactly; null where it is none, or is finer than a nanosecond."""
    match = DURATION.fullmatch(text)
    if match is None:
        return None
    decimals = match[2] or ""
    length, rest = divmod(int(match[1] + decimals) * UNITS_NS[match[3]], 10 ** len(decimals))
    return None if rest else length


Channel = Literal[
    "trades",
    "book",
    "orders",
    "bbo",
    "ticker",
    "candles",
    "funding",
    "open_interest",
    "liquidations",
    "mark_price",
    "index_price",
    "options",
    "instruments",
    "status",
]
CHANNELS: tuple[Channel, ...] = get_args(Channel)

Side = Literal["buy", "sell"]
SizeUnit = Literal["base", "quote", "contract"]
Source = Literal["ws", "rest", "backfill", "derived", "replay"]
Flag = Literal["snapshot", "backfill", "late", "bad_ts"]
Flags = tuple[Flag, ...]
Upstream = tuple[str, int, str]
Level = tuple[str, str]
Levels = list[Level]
Order = tuple[str, str, str]
Orders = list[Order]
Contributor = tuple[str, str, int, str | None, str | None, str | None, str | None]
Absent = tuple[str, str, int | None]
Kind = Literal["spot", "perpetual", "future", "option", "index"]
Cause = Literal[
    "disconnect",
    "no_first_frame",
    "stalled",
    "sequence",
    "checksum",
    "crossed",
    "parse_error",
    "overflow",
    "restart",
    "paused",
    "expired",
    "damaged",
]
Repair = Literal["none", "partial", "full", "not_needed"]
DemandState = Literal["wanted", "pending", "live", "lingering"]  # of a topic that is brought on demand
TopicState = Literal[
    "subscribing",
    "syncing",
    "live",
    "quiet",
    "stalled",
    "suspect",
    "down",
]
MarketState = Literal[
    "trading",
    "pre_open",
    "post_only",
    "reduce_only",
    "cancel_only",
    "halt",
    "settling",
    "maintenance",
    "delisted",
    "unknown",
]


def written(value: T) -> T:
    """A default that is written out all the same: msgspec leaves a field out that holds the very default."""
    give = value.__str__ if type(value) is str else repeat(value).__next__  # hot: both are quick to call
    return field(default_factory=cast("Callable[[], T]", give))


def defaults(kind: type[Struct]) -> dict[str, object]:
    """What each field of a record holds while nobody has said anything else; without those that must be given."""
    found = [each for each in structs.fields(kind) if not each.required]
    return {f.name: f.default if f.default_factory is NODEFAULT else f.default_factory() for f in found}


class Record(Struct, kw_only=True, gc=False, tag_field="type", omit_defaults=True):
    """The envelope, on every record. A field that is null is left out on the wire, but for what names the topic.

    type: which of the record types below
    exchange: the exchange's id as ccxt spells it; null on what is about the whole stream, as a gap of the journal is
    symbol: unified name `BASE/QUOTE[:SETTLE[-YYMMDD[-STRIKE-(C|P)]]]`; null while the instrument is not known
    raw_symbol: the exchange's own name; null, as `symbol` is, on records about the whole exchange
    ts_event: when it happened at the matching engine
    ts_sent: when the exchange published it
    ts_recv: our clock at the socket read; of what [`aggregator backfill`](research.md#what-nobody-recorded) brought,
        when it happened
    offset: ours, strictly increasing within one epoch (one daemon's life): the cursor to resume from; the instruments
        in force that begin a subscription of the feed have none, as they are not published then, and a gap of the
        journal has none where it ends at the beginning of an epoch
    sequence: the exchange's own number of the last update that this record covers
    sequence_first: the exchange's own number of the first update that this record covers
    sequence_prev: the exchange's own number of the update before
    conn: the connection it came over: `name/2#17` is the 17th connection of the second shard (a listing has none);
        of a derived channel its name: `derived/bbo.book`
    source: `ws`, `rest`, `backfill`, `derived` or `replay`; `derived` was made here, as gaps, `health` and a book that
        is told on request are. A derived channel is known by its `conn`
    upstream: only on what came [from another daemon](sources.md): the epoch and the offset that it has there, and the
        daemons by which it came, as `first/next`: these are of the last
    flags: left out when empty: `snapshot`, `backfill`, `late`, `bad_ts`
    """

    exchange: str = ""
    symbol: str | None = ""  # until the record is stamped, as `source`: null and `ws` are written then
    raw_symbol: str | None = written(None)
    ts_event: int | None = None
    ts_sent: int | None = None
    ts_recv: int = 0
    offset: int = 0
    sequence: int | None = None
    sequence_first: int | None = None
    sequence_prev: int | None = None
    conn: str = ""
    source: Source = ""  # type: ignore[assignment]
    upstream: Upstream | None = None
    flags: Flags | UnsetType = UNSET


class Trade(Record, tag="trade", kw_only=True, gc=False):
    """A trade, or several of one taker that the exchange reports as one.

    id: the exchange's own id of it, as text
    price: in the quote asset
    size: in `size_unit`
    side: the taker's
    size_unit: `base`, `quote` or `contract`
    base_size: the size in the base asset, where the exchange or the contract size gives it
    quote_size: the size in the quote asset, where the exchange or the contract size gives it
    kind: `trade`, `aggregate`, `block`, `rfq`, `auction` or `liquidation`
    first_id: aggregates: the first trade within it
    last_id: aggregates: the last trade within it
    count: aggregates: how many trades it holds
    """

    id: str | None = None
    price: str
    size: str
    side: Side | None = None
    size_unit: SizeUnit = written("base")
    base_size: str | None = None
    quote_size: str | None = None
    kind: Literal["trade", "aggregate", "block", "rfq", "auction", "liquidation"] = written("trade")
    first_id: str | None = None
    last_id: str | None = None
    count: int | None = None


class BookSnapshot(Record, tag="book_snapshot", kw_only=True, gc=False):
    """The whole book, as deep as it is known: the reader drops what it had.

    bids: `[[price, size], ...]`, best first
    asks: `[[price, size], ...]`, best first
    depth: how many levels a side the book has at most: a reader cuts it to that after each delta; null: no limit
    reason: `initial`, `resync`, `periodic` or `request`: told to one subscriber, as it stands
    checksum: the exchange's own, over the levels that its documentation names
    bid_floor: below this price nothing is known (the book was cut there); null: the whole side is known
    ask_cap: above this price nothing is known (the book was cut there); null: the whole side is known
    """

    bids: Levels
    asks: Levels
    depth: int | None = None
    reason: Literal["initial", "resync", "periodic", "request"] = written("initial")
    checksum: int | None = None
    bid_floor: str | None = None
    ask_cap: str | None = None


class BookDelta(Record, tag="book_delta", kw_only=True, gc=False):
    """Changed levels: one message of the exchange is one record, and applies as a whole.

    bids: `[[price, size], ...]`; a size is absolute, and `"0"` (however spelled) removes the level
    asks: `[[price, size], ...]`; a size is absolute, and `"0"` (however spelled) removes the level
    checksum: the exchange's own, over the book after this delta
    """

    bids: Levels
    asks: Levels
    checksum: int | None = None


class OrdersSnapshot(Record, tag="orders_snapshot", kw_only=True, gc=False):
    """Every order of a book that is told order by order: the reader drops what it had.

    bids: `[[id, price, size], ...]`, those of one price in the order in which they came; prices in no order
    asks: likewise
    reason: `initial`, `resync` or `periodic`: told again after some minutes of changes, for readers that came later
    """

    bids: Orders
    asks: Orders
    reason: Literal["initial", "resync", "periodic"] = written("initial")


class OrdersDelta(Record, tag="orders_delta", kw_only=True, gc=False):
    """Changed orders: one message of the exchange is one record, and applies as a whole.

    bids: `[[id, price, size], ...]`: what is left of the order; `"0"` (however spelled) removes it, else it is new
        where its id is, or has this size and this price now
    asks: likewise
    """

    bids: Orders
    asks: Orders


class Bbo(Record, tag="bbo", kw_only=True, gc=False):
    """The best bid and offer; a null side is empty.

    bid_price: in the quote asset
    bid_size: in the unit in which the exchange trades the instrument
    ask_price: in the quote asset
    ask_size: in the unit in which the exchange trades the instrument
    origin: `native`: as the exchange sent it; `book`: the best levels of its book
    """

    bid_price: str | None = None
    bid_size: str | None = None
    ask_price: str | None = None
    ask_size: str | None = None
    origin: Literal["native", "book"] = written("native")


class Consolidated(Record, tag="consolidated", kw_only=True, gc=False):
    """The best bid and offer of a market over several exchanges; `exchange` is the pattern that they fit.

    bid_price: the highest bid; null: nobody bids
    bid_size: its size there, in the unit in which that exchange trades the instrument
    bid_exchange: the exchange that has it; of several, the one where the price stands longest
    ask_price: the lowest offer; it may be below the highest bid, as they are of different exchanges
    ask_size: its size there, in the unit in which that exchange trades the instrument
    ask_exchange: the exchange that has it; of several, the one where the price stands longest
    contributors: `[[exchange, state, age_ms, bid_price, bid_size, ask_price, ask_size], ...]`: each that it is made of,
        with the state of its topic, the milliseconds since its last record, and its own best prices
    absent: `[[exchange, reason, age_ms], ...]`, those that were left out: the state of the topic, `waiting` for its
        first record since that was bad, or `old`
    """

    bid_price: str | None = None
    bid_size: str | None = None
    bid_exchange: str | None = None
    ask_price: str | None = None
    ask_size: str | None = None
    ask_exchange: str | None = None
    contributors: list[Contributor]
    absent: list[Absent]


class Ticker(Record, tag="ticker", kw_only=True, gc=False):
    """Rolling statistics, and nothing else.

    last: price of the last trade
    open: price at the start of the window
    high: highest price in the window
    low: lowest price in the window
    base_volume: in the base asset, where the exchange or the contract size gives it
    quote_volume: in the quote asset, where the exchange or the contract size gives it
    vwap: volume-weighted average price
    change: last minus open, in the quote asset
    trades: how many trades the window holds
    window_s: length of the window in seconds; null where the exchange does not say
    contract_volume: in contracts, where the exchange counts them
    """

    last: str | None = None
    open: str | None = None
    high: str | None = None
    low: str | None = None
    base_volume: str | None = None
    quote_volume: str | None = None
    vwap: str | None = None
    change: str | None = None
    trades: int | None = None
    window_s: int | None = None
    contract_volume: str | None = None


class Candle(Record, tag="candle", kw_only=True, gc=False):
    """One interval's open, high, low, close and volume.

    interval: `1m`, `5m`, `1h`, `1d` and so on; of a computed one also `100trades`, `5base`, `1000000quote`
    ts_open: start, inclusive
    ts_close: end, exclusive
    open: first price
    high: highest price
    low: lowest price
    close: last price
    base_volume: in the base asset, where the exchange or the contract size gives it
    quote_volume: in the quote asset, where the exchange or the contract size gives it
    trades: how many trades it holds
    closed: the exchange's own word that it will not change; null where it gives none. A computed one that is closed
        changes only if trades come late, and then has the flag `late`
    origin: `exchange`: as it was told; `computed` of trades here
    complete: whether no gap lies inside; null where nobody watched the whole of it. Of a computed one: whether it holds
        every trade, so that the first one is false if it was begun in the middle
    contract_volume: in contracts, where the exchange counts them
    """

    interval: str
    ts_open: int
    ts_close: int | None = None
    open: str
    high: str
    low: str
    close: str
    base_volume: str | None = None
    quote_volume: str | None = None
    trades: int | None = None
    closed: bool | None = None
    origin: Literal["exchange", "computed"] = written("exchange")
    complete: bool | None = None
    contract_volume: str | None = None


class Funding(Record, tag="funding", kw_only=True, gc=False):
    """One funding rate; a predicted and a settled rate are two records.

    rate: fraction per interval; positive: longs pay shorts
    kind: `current` of the running interval, as it stands; `predicted` an estimate, by the exchange's own word: of the
        interval after where there is a current one; `settled` what was exchanged
    interval_s: length of the funding interval in seconds
    ts_next: when it is (for `settled`: was) exchanged
    """

    rate: str
    kind: Literal["current", "predicted", "settled"] = written("current")
    interval_s: int | None = None
    ts_next: int | None = None


class OpenInterest(Record, tag="open_interest", kw_only=True, gc=False):
    """How much is open.

    size: in `size_unit`
    size_unit: `base`, `quote` or `contract`
    base_size: in the base asset, where the exchange or the contract size gives it
    quote_value: in the quote asset, where the exchange or the contract size gives it
    """

    size: str
    size_unit: SizeUnit = written("base")
    base_size: str | None = None
    quote_value: str | None = None


class Liquidation(Record, tag="liquidation", kw_only=True, gc=False):
    """A forced order.

    id: the exchange's own id of it, as text
    side: the forced order's
    position: what was closed: a forced sell closes a `long`
    price: the price that `price_kind` names
    price_kind: `order`, `average`, `bankruptcy` or `trade`
    size: in `size_unit`
    size_unit: `base`, `quote` or `contract`
    base_size: in the base asset
    quote_size: in the quote asset
    status: the exchange's own word for how far the order is
    sampled: whether the exchange sends only some of them (say, the last of each second)
    """

    id: str | None = None
    side: Side | None = None
    position: Literal["long", "short"] | None = None
    price: str | None = None
    price_kind: Literal["order", "average", "bankruptcy", "trade"] | None = None
    size: str
    size_unit: SizeUnit = written("base")
    base_size: str | None = None
    quote_size: str | None = None
    status: str | None = None
    sampled: bool = written(False)  # noqa: FBT003 - it is the value


class MarkPrice(Record, tag="mark_price", kw_only=True, gc=False):
    """The price at which positions are valued.

    price: in the quote asset
    """

    price: str


class IndexPrice(Record, tag="index_price", kw_only=True, gc=False):
    """The price of the underlying index.

    price: in the quote asset
    index: the index's own id
    """

    price: str
    index: str | None = None


class OptionSummary(Record, tag="option_summary", kw_only=True, gc=False):
    """The figures that an exchange computes about one option.

    mark_price: in the unit in which the option is quoted
    mark_iv: a fraction (0.55 is 55 %)
    bid_iv: a fraction
    ask_iv: a fraction
    bid_price: best bid
    bid_size: its size
    ask_price: best offer
    ask_size: its size
    delta: as the exchange gives it
    gamma: as the exchange gives it
    vega: as the exchange gives it
    theta: as the exchange gives it
    rho: as the exchange gives it
    underlying_price: price of the underlying
    underlying: the underlying's own id
    open_interest: in contracts
    """

    mark_price: str | None = None
    mark_iv: str | None = None
    bid_iv: str | None = None
    ask_iv: str | None = None
    bid_price: str | None = None
    bid_size: str | None = None
    ask_price: str | None = None
    ask_size: str | None = None
    delta: str | None = None
    gamma: str | None = None
    vega: str | None = None
    theta: str | None = None
    rho: str | None = None
    underlying_price: str | None = None
    underlying: str | None = None
    open_interest: str | None = None


class Instrument(Record, tag="instrument", kw_only=True, gc=False):
    """A market: its names, the steps of its prices and sizes, and its state.

    kind: `spot`, `perpetual`, `future`, `option` or `index`
    base: unified code of the base asset
    quote: unified code of the quote asset
    settle: unified code of the asset in which a contract settles
    linear: whether a contract settles in its quote asset, or in one that stands for it (USDC for USD): what it pays
        goes straight with its price; null for spot
    contract_size: how much one contract is: of the base asset when linear, of the quote asset when inverse
        (an option's: always of the base asset)
    tick_size: smallest step of a price
    lot_size: smallest step of a size
    min_size: smallest size of an order
    max_size: largest size of an order
    min_notional: smallest price times size of an order
    expiry: when a dated contract ends
    strike: an option's strike price
    option_type: `call` or `put`
    state: as in `status`
    ts_listed: when trading began
    index: the exchange's own name of the index that it is priced by
    funding_interval_s: seconds between two exchanges of funding
    funding_offset_s: how many seconds after a whole number of such intervals, counted from 1970 on, they are
    valid_from: since when these figures hold
    change: `new`, `update` or `delist`
    """

    kind: Kind = written("spot")
    base: str | None = None
    quote: str | None = None
    settle: str | None = None
    linear: bool | None = None
    contract_size: str | None = None
    tick_size: str | None = None
    lot_size: str | None = None
    min_size: str | None = None
    max_size: str | None = None
    min_notional: str | None = None
    expiry: int | None = None
    strike: str | None = None
    option_type: Literal["call", "put"] | None = None
    state: MarketState = written("trading")
    ts_listed: int | None = None
    index: str | None = None
    funding_interval_s: int | None = None
    funding_offset_s: int | None = None
    valid_from: int | None = None
    change: Literal["new", "update", "delist"] = written("new")


class Status(Record, tag="status", kw_only=True, gc=False):
    """Whether an exchange (both symbols null) or an instrument can be traded.

    state: `trading`, `pre_open`, `post_only`, `reduce_only` (orders are matched that make a position smaller, and no
        others), `cancel_only`, `halt`, `settling`, `maintenance`, `delisted`, `unknown`
    reason: in words
    origin: `exchange`: as it was told
    """

    state: MarketState
    reason: str | None = None
    origin: Literal["exchange"] = written("exchange")


class Gap(Record, tag="gap", kw_only=True):
    """A hole in one topic, or (symbols null) in a whole channel or connection.

    gap_id: the same on `open` and `close`; it names a gap together with the epoch. One that is open when a daemon ends
        is closed in the next epoch by the same id; after a kill perhaps once more, out of caution
    phase: `open`, `close`; a hole of one moment is a single `close`
    channel: of the topic; null: every channel of the connection
    cause: why
    ts_from: since when something may be missing
    ts_to: until when; null while open
    expected: the number that should have come
    got: the number that came
    missed: how many records are known to be missing (of cause `parse_error`: frames, or answers); null: not known
    repair: on close: `none`, `partial`, `full` or `not_needed`
    recovered: on close: how many records were had after all
    """

    gap_id: str
    phase: Literal["open", "close"]
    channel: Channel | None = written(None)
    cause: Cause
    ts_from: int
    ts_to: int | None = None
    expected: int | None = None
    got: int | None = None
    missed: int | None = None
    repair: Repair | None = None
    recovered: int | None = None


class Health(Record, tag="health", kw_only=True):
    """One topic's state on one connection: when it changes, and to a new subscriber of the feed.

    channel: of the topic
    state: `subscribing`, `syncing`, `live`, `quiet`, `stalled`, `suspect` or `down`
    age_ms: milliseconds since its last record; null: none yet
    rate: records per second, lately
    reason: in words, where there is something to say
    """

    channel: Channel
    state: TopicState
    age_ms: int | None = None
    rate: float | None = None
    reason: str | None = None


class Summary(Record, tag="summary", kw_only=True):
    """How one connection, or one poll, has fared: each minute, and at its end.

    ts_from: all this is counted since then: the summary before, or the beginning
    bye: why the connection has ended; null: it has not
    frames: frames, or answers of a poll, that have come
    bytes: their length, as they came: compressed where the exchange compresses them
    records: that came of its topics, those of answers by REST among them, but no gaps and no health
    unread: frames and answers that could not be read; each is a gap by itself
    gaps_opened: gaps that were opened
    gaps_closed: gaps that were closed; those that were over at once are in neither number
    refused: topics that the exchange has refused; of a poll, requests without a good answer
    subscribing: topics in this state now
    syncing: topics in this state now
    live: topics in this state now
    quiet: topics in this state now
    stalled: topics in this state now
    suspect: topics in this state now
    down: topics in this state now
    latency_ms: the median of `ts_recv` less the time that the exchange gives, of one record each second: `ts_sent`, or
        where it says no such time `ts_event` of a trade, a book's change or a best price; null: none came live
    latency_max_ms: the greatest of these
    clock_offset_ms: the least of these in two minutes: the way here and the difference of the clocks in one, so what
        a record needs beyond that has waited somewhere
    pause_ms: how late something that was due each second came at most: so long the program did nothing else
    first: records that this connection was the first to bring; null: no other connection carries the same
    second: records that another connection had brought before; null as above
    behind_ms: how much later a trade of these came, on average; null as above
    """

    ts_from: int
    bye: str | None = None
    frames: int = written(0)
    bytes: int = written(0)
    records: int = written(0)
    unread: int = written(0)
    gaps_opened: int = written(0)
    gaps_closed: int = written(0)
    refused: int = written(0)
    subscribing: int = written(0)
    syncing: int = written(0)
    live: int = written(0)
    quiet: int = written(0)
    stalled: int = written(0)
    suspect: int = written(0)
    down: int = written(0)
    latency_ms: float | None = None
    latency_max_ms: float | None = None
    clock_offset_ms: float | None = None
    pause_ms: float = written(0.0)
    first: int | None = None
    second: int | None = None
    behind_ms: float | None = None


class Lag(Record, tag="lag", kw_only=True):
    """To one subscriber alone: it was too slow, and lost its own oldest records.

    missed: how many
    offset_from: the first that it lost
    offset_to: the last that it lost
    """

    missed: int
    offset_from: int
    offset_to: int


RECORD_TYPES: tuple[type[Record], ...] = (
    Trade,
    BookSnapshot,
    BookDelta,
    OrdersSnapshot,
    OrdersDelta,
    Bbo,
    Consolidated,
    Ticker,
    Candle,
    Funding,
    OpenInterest,
    Liquidation,
    MarkPrice,
    IndexPrice,
    OptionSummary,
    Instrument,
    Status,
    Gap,
    Health,
    Summary,
    Lag,
)

decode_record: Callable[[bytes], Record] = msgspec.json.Decoder(Union[RECORD_TYPES]).decode  # noqa: UP007 - a tuple

CHANNEL_OF: dict[type[Record], Channel] = {
    Trade: "trades",
    BookSnapshot: "book",
    BookDelta: "book",
    OrdersSnapshot: "orders",
    OrdersDelta: "orders",
    Bbo: "bbo",
    Ticker: "ticker",
    Candle: "candles",
    Funding: "funding",
    OpenInterest: "open_interest",
    Liquidation: "liquidations",
    MarkPrice: "mark_price",
    IndexPrice: "index_price",
    OptionSummary: "options",
    Instrument: "instruments",
    Status: "status",
}

DERIVED_OF: dict[type[Record], str] = {Consolidated: "consolidated"}  # types that only a derived channel carries


def channel_of(record: Record) -> Channel | None:
    """The channel that carries a record; null for what is about no single channel."""
    if isinstance(record, Gap | Health):
        return record.channel
    return CHANNEL_OF.get(type(record))


LOST = frozenset({"overflow", "damaged"})  # causes of what was lost by whoever took, kept or read records
OF_RECORDINGS = LOST | {"restart", "expired"}  # causes of gaps that such a one tells by himself


def is_hole(gap: Gap) -> bool:
    """Tell whether records are missing in what was written or handed on, though they came: nothing tells books anew.

    It is a single `close`. A topic that goes on behind a `restart` has a gap with an `open`, and a book is told whole
    before the `close` of it; such a gap has the name of a connection, which holds a `/`.
    """
    if gap.phase == "open" or gap.repair != "none":
        return False
    return gap.cause in LOST or (gap.cause in OF_RECORDINGS and "/" not in gap.conn)


# The fields of all these that hold a number as decimal text, and those that hold a time beside what begins with ts_.
# fmt: off
DECIMALS = frozenset({
    "price", "size", "base_size", "quote_size", "bid_floor", "ask_cap", "bid_price", "bid_size", "ask_price",
    "ask_size", "last", "open", "high", "low", "close", "base_volume", "quote_volume", "vwap", "change", "rate",
    "quote_value", "mark_price", "mark_iv", "bid_iv", "ask_iv", "delta", "gamma", "vega", "theta", "rho",
    "underlying_price", "open_interest", "contract_size", "tick_size", "lot_size", "min_size", "max_size",
    "min_notional", "strike", "contract_volume",
})
# fmt: on
TIMES = frozenset({"expiry", "valid_from"})
