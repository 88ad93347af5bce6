"""The Upbit protocol: one frame names everything that a connection wants, and each frame that comes is whole.

https://docs.upbit.com/kr/reference/websocket-guide
Messages are asked for in their long form (`DEFAULT`); the short one (`SIMPLE`) and lists of either are read as well.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from msgspec import Raw, Struct, ValidationError, convert
from msgspec.json import Decoder

from aggregator.exchange import (
    Event,
    Exchange,
    Heartbeat,
    Limits,
    Listing,
    Older,
    Parse,
    Refused,
    Request,
    Stream,
    Subscription,
)
from aggregator.records import DAY_S, MS_NS, SECOND_NS, BookSnapshot, Candle, Channel, Instrument, Levels, Ticker, Trade
from aggregator.refusals import coded, meaning_of
from aggregator.wire import Text, encode, from_iso, ms, nonzero, number, optional, text, us

CHANNELS: dict[Channel, str] = {"trades": "trade", "book": "orderbook", "ticker": "ticker"}
CANDLES: dict[Channel, str] = {"candles": "candle"}
UNITS = {"1h": "60m", "4h": "240m"}  # intervals that the exchange spells in minutes; all others are spelled as ours
INTERVALS = {unit: interval for interval, unit in UNITS.items()}
SCALES = {"s": 1, "m": 60}
FIRST_US = 10**14  # from here on a time is in them: in milliseconds it would be the year 5138
ZEROS = {f"0.{'0' * places}" for places in range(20)}
LASTING = ("INVALID_PARAM", "NO_CODES")  # errors in the request itself: it is refused again, with all else in it
NOTHING = {
    None,
    0,
    "0",
    *ZEROS,
}  # a level with such a price or size fills up the shorter side, or is rounded to nothing
LONG = {
    "ty": "type", "cd": "code", "tms": "timestamp", "st": "stream_type", "ab": "ask_bid", "sid": "sequential_id",
    "tp": "trade_price", "tv": "trade_volume", "ttms": "trade_timestamp", "obu": "orderbook_units",
    "ap": "ask_price", "bp": "bid_price", "as": "ask_size", "bs": "bid_size",
    "atp24h": "acc_trade_price_24h", "atv24h": "acc_trade_volume_24h", "cdttmu": "candle_date_time_utc",
    "op": "opening_price", "hp": "high_price", "lp": "low_price",
    "catv": "candle_acc_trade_volume", "catp": "candle_acc_trade_price",
}  # fmt: skip


class TradeWire(Struct, tag_field="type", tag="trade", gc=False):
    code: str
    trade_timestamp: Text
    trade_price: Text
    trade_volume: Text
    ask_bid: Literal["ASK", "BID"]  # the taker sold, or bought
    timestamp: Text = None
    sequential_id: Text = None
    stream_type: str = ""

    def records(self) -> tuple[Event, ...]:
        trade = Trade(
            raw_symbol=self.code,
            id=optional(self.sequential_id),
            price=text(self.trade_price),
            size=text(self.trade_volume),
            side="buy" if self.ask_bid == "BID" else "sell",
            ts_event=moment(self.trade_timestamp),
            ts_sent=None if self.timestamp is None else moment(self.timestamp),
        )
        if self.stream_type == "SNAPSHOT":  # the last one before the subscription
            trade.flags = ("snapshot",)
        return (trade,)


class Unit(Struct, gc=False):
    ask_price: Text
    bid_price: Text
    ask_size: Text
    bid_size: Text


class BookWire(Struct, tag_field="type", tag="orderbook", gc=False):
    code: str
    timestamp: Text
    orderbook_units: list[Unit]

    def records(self) -> tuple[Event, ...]:
        units = self.orderbook_units
        bids = side((u.bid_price, u.bid_size) for u in units)
        asks = side((u.ask_price, u.ask_size) for u in units)
        at = moment(self.timestamp)
        book = BookSnapshot(
            raw_symbol=self.code, bids=bids, asks=asks, depth=len(units) or None, reason="periodic", ts_event=at
        )
        return (book,)


class TickerWire(Struct, tag_field="type", tag="ticker", gc=False):
    code: str
    timestamp: Text
    trade_price: Text
    trade_timestamp: Text = None
    acc_trade_volume_24h: Text = None
    acc_trade_price_24h: Text = None

    def records(self) -> tuple[Event, ...]:
        statistics = Ticker(
            raw_symbol=self.code,
            last=nonzero(self.trade_price),
            base_volume=optional(self.acc_trade_volume_24h),
            quote_volume=optional(self.acc_trade_price_24h),
            window_s=DAY_S,
            ts_event=None if self.trade_timestamp is None else moment(self.trade_timestamp),
            ts_sent=moment(self.timestamp),
        )
        return (statistics,)


class CandleWire(Struct):
    type: str  # `candle.1m`
    code: str
    candle_date_time_utc: str
    opening_price: Text
    high_price: Text
    low_price: Text
    trade_price: Text
    candle_acc_trade_volume: Text = None
    candle_acc_trade_price: Text = None
    timestamp: Text = None  # when the last trade in it happened

    def records(self) -> tuple[Event, ...]:
        unit, at = self.type.partition(".")[2], from_iso(self.candle_date_time_utc)
        candle = Candle(
            raw_symbol=self.code,
            interval=INTERVALS.get(unit, unit),
            ts_open=at,
            ts_close=at + int(unit[:-1]) * SCALES[unit[-1]] * SECOND_NS,
            open=text(self.opening_price),
            high=text(self.high_price),
            low=text(self.low_price),
            close=text(self.trade_price),
            base_volume=optional(self.candle_acc_trade_volume),
            quote_volume=optional(self.candle_acc_trade_price),
            ts_event=None if self.timestamp is None else moment(self.timestamp),
        )
        return (candle,)


class ErrorWire(Struct):
    name: str | int = ""
    message: str = ""


Message = dict[str, Any]
decode = Decoder(TradeWire | BookWire | TickerWire, float_hook=number).decode
decode_other = Decoder(Message | list[Message], float_hook=number).decode


def side(rows: Iterable[tuple[Text, Text]]) -> Levels:
    """Without what only fills the shorter side up: levels of no size, or of no price."""
    return [(text(price), text(size)) for price, size in rows if price not in NOTHING and size not in NOTHING]


def moment(value: Text) -> int:
    """A time in milliseconds, or (Bithumb's books) in microseconds."""
    if type(value) is int and value < FIRST_US:
        return value * MS_NS
    digits = text(value)
    return us(digits) if int(digits) >= FIRST_US else ms(digits)


def parse(frame: bytes) -> Iterable[Event]:
    try:
        message: TradeWire | BookWire | TickerWire = decode(frame)
        return message.records()
    except ValidationError:
        return parse_other(frame)


def parse_other(frame: bytes) -> Iterable[Event]:
    """Read what is not one message of the long form."""
    said = decode_other(frame)
    return [event for message in (said if isinstance(said, list) else [said]) for event in read(message)]


def read(message: Message) -> Iterable[Event]:
    """Read a candle, a message in the short form or in a list, or one that is about the conversation."""
    said = {LONG.get(name, name): value for name, value in message.items()}
    kind = str(said.get("type", ""))
    if kind.startswith("candle."):
        return convert(said, CandleWire).records()
    if kind in CHANNELS.values():
        if kind == "orderbook" and "obu" in message:
            said["orderbook_units"] = [{LONG.get(k, k): v for k, v in unit.items()} for unit in message["obu"]]
        found: TradeWire | BookWire | TickerWire = convert(said, TradeWire | BookWire | TickerWire)
        return found.records()
    if "error" in said:
        trouble = convert(said["error"], ErrorWire)
        reason = f"{trouble.name}: {trouble.message}"
        return (Refused(reason, meaning=meaning_of(reason, final=LASTING, passing=("too many",))),)
    return ()


def subscribe(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    """Name everything at once: what was asked for before on the connection is dropped."""
    codes: dict[str, dict[str, None]] = {}
    for s in wanted:
        kind = CHANNELS.get(s.channel) or f"candle.{UNITS.get(s.interval, s.interval)}"
        codes.setdefault(kind, {})[s.raw_symbol] = None
    asked = [{"type": kind, "codes": list(of)} for kind, of in codes.items()]
    return (encode([{"ticket": f"aggregator-{id}"}, *asked, {"format": "DEFAULT"}]),)


def reading(older: Parse | None) -> Parse:
    """The reader of frames, also of those of an older protocol, whose data is `content`."""

    def read(frame: bytes) -> Iterable[Event]:
        if older is not None and b'"content"' in frame:
            return older(frame)
        return parse(frame)

    return parse if older is None else read


class Market(Struct):
    market: str  # quote and base: `KRW-BTC`


decode_markets = Decoder(list[Raw]).decode
decode_market = Decoder(Market).decode


def read_market(row: Raw) -> Instrument:
    name = decode_market(row).market
    quote, _, base = name.partition("-")
    return Instrument(raw_symbol=name, base=base, quote=quote)


def listen(name: str, url: str, channels: dict[Channel, str], parse: Parse, depth: int | None = None) -> Stream:
    """A connection of its own for some channels: one request that is refused is refused whole."""
    return Stream(
        name=name,
        url=url,
        channels=channels,
        subscribe=subscribe,
        parse=parse,
        heartbeat=Heartbeat(every=25, frame=b"PING"),
        depth=depth,
        periodic_joins=True,  # Bithumb's first generation had changes
        per_connection=200,
        batch=200,
        pace=0.25,
        acknowledges=False,
        replaces=True,
    )


def exchange(
    id: str,
    *,
    docs: str,
    stream: str,
    markets: str,
    limits: Limits,
    depth: int,
    has_candles: bool,
    checked: str,
    notes: tuple[str, ...] = (),
    older: Parse | None = None,
) -> Exchange:
    """One exchange that speaks it: its addresses, limits, whether it streams candles, what reads an older protocol.

    depth: levels a side of its books
    notes: what holds for it alone
    """
    parse = reading(older)
    return Exchange(
        id=id,
        docs=docs,
        checked=checked,
        older=() if older is None else (Older(channels=("trades", "book", "ticker")),),
        notes=(
            "Open, high and low of the ticker are those of the UTC day, not of 24 hours, and are left out.",
            f"The book comes whole each time, {depth} levels a side.",
            "The listing does not say the steps of prices: they depend on the price.",
            "A market that it does not know may be left out without a word, as in September 2026.",
            *notes,
        ),
        trouble=coded("name", "message", within="error", busy=("429",)),
        limits=limits,
        listing=Listing((Request(markets),), decode_markets, read_market),
        feeds=(
            listen("main", stream, CHANNELS, parse, depth),
            *((listen("candles", stream, CANDLES, parse),) if has_candles else ()),
        ),
    )
