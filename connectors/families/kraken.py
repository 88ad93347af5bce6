"""Kraken's WebSocket protocol, version 2: the spot address speaks it, and so does the unified one that is to follow.

https://docs.kraken.com/exchange/api-reference/spot-websocket
Books have no numbers: the checksum over the ten best levels is the only guard. An address sends one ticker a symbol,
either on trades or when the best prices move, so `bbo` has a stream of its own.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Literal
from zlib import crc32

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from aggregator.book import Book
from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Backfill, Event, Heartbeat, Refused, Stream, Subscription
from aggregator.records import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Channel,
    Instrument,
    Levels,
    MarketState,
    Record,
    Side,
    Status,
    Ticker,
    Trade,
)
from aggregator.sequence import contiguous
from aggregator.wire import Text, encode, from_iso, number, optional, text

DEPTH = 100  # levels a side of the book that is subscribed to: 10, 25, 100, 500 or 1000
CHECKED = 10  # levels a side under the checksum, whatever the depth
CHANNELS: dict[Channel, str] = {
    "trades": "trade",
    "book": "book",
    "ticker": "ticker",
    "candles": "ohlc",
    "instruments": "instrument",
    "status": "instrument",  # the state of a pair; that of the whole exchange comes unasked
}
BEST: dict[Channel, str] = {"bbo": "ticker"}
OURS: dict[str, Channel] = {name: channel for channel, name in CHANNELS.items()}
TAGS = {*OURS, "status"}
INTERVALS = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440, "1w": 10080, "15d": 21600}
SPELLED = {minutes: interval for interval, minutes in INTERVALS.items()}
STATES: dict[str, MarketState] = {
    "online": "trading",
    "limit_only": "trading",
    "reduce_only": "trading",
    "post_only": "post_only",
    "cancel_only": "cancel_only",
    "maintenance": "maintenance",
    "work_in_progress": "pre_open",
    "delisted": "delisted",
}
MINUTE = 60_000_000_000
DAY_S = 86_400


class TradeRow(Struct, gc=False):
    symbol: str
    side: Side  # the taker's
    price: Text
    qty: Text
    trade_id: int  # counts the trades of one book
    timestamp: str

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.symbol,
            id=str(self.trade_id),
            price=text(self.price),
            size=text(self.qty),
            side=self.side,
            sequence=self.trade_id,
            ts_event=from_iso(self.timestamp),
        )


class Trades(Struct, tag_field="channel", tag="trade"):
    type: Literal["snapshot", "update"]
    data: list[TradeRow]

    def events(self) -> Iterable[Event]:
        return flagged(self.type, [row.record() for row in self.data])


class LevelRow(Struct, gc=False):
    price: Text
    qty: Text


class BookRow(Struct):
    symbol: str
    bids: list[LevelRow]
    asks: list[LevelRow]
    checksum: int | None = None
    timestamp: str | None = None  # of older snapshots there is none


class Books(Struct, tag_field="channel", tag="book"):
    type: Literal["snapshot", "update"]
    data: list[BookRow]

    def events(self) -> Iterable[Event]:
        return [whole(row) if self.type == "snapshot" else delta(row) for row in self.data]


class TickerRow(Struct, gc=False):
    symbol: str
    bid: Text = None
    bid_qty: Text = None
    ask: Text = None
    ask_qty: Text = None
    last: Text = None
    volume: Text = None
    vwap: Text = None
    low: Text = None
    high: Text = None
    change: Text = None
    timestamp: str | None = None

    def record(self) -> Ticker:
        return Ticker(
            raw_symbol=self.symbol,
            last=optional(self.last),
            high=optional(self.high),
            low=optional(self.low),
            base_volume=optional(self.volume),
            vwap=optional(self.vwap),
            change=optional(self.change),
            window_s=DAY_S,
            ts_event=stamp(self.timestamp),
        )

    def best(self) -> Bbo:
        return Bbo(
            raw_symbol=self.symbol,
            bid_price=optional(self.bid),
            bid_size=optional(self.bid_qty),
            ask_price=optional(self.ask),
            ask_size=optional(self.ask_qty),
            ts_event=stamp(self.timestamp),
        )


class Tickers(Struct, tag_field="channel", tag="ticker"):
    data: list[TickerRow]

    def events(self) -> Iterable[Event]:
        return [row.record() for row in self.data]


class BarRow(Struct, gc=False):
    symbol: str
    open: Text
    high: Text
    low: Text
    close: Text
    volume: Text
    trades: int
    interval_begin: str
    interval: int  # minutes

    def record(self, sent: int | None) -> Candle:
        start = from_iso(self.interval_begin)
        return Candle(
            raw_symbol=self.symbol,
            interval=SPELLED.get(self.interval, f"{self.interval}m"),
            ts_open=start,
            ts_close=start + self.interval * MINUTE,
            open=text(self.open),
            high=text(self.high),
            low=text(self.low),
            close=text(self.close),
            base_volume=text(self.volume),
            trades=self.trades,
            ts_sent=sent,
        )


class Bars(Struct, tag_field="channel", tag="ohlc"):
    type: Literal["snapshot", "update"]
    data: list[BarRow]
    timestamp: str | None = None

    def events(self) -> Iterable[Event]:
        sent = stamp(self.timestamp)
        return flagged(self.type, [row.record(sent) for row in self.data])


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
        if asked.channel == "instrument":  # of all pairs at once
            return Accepted(channel="instruments"), Accepted(channel="status")
        channel = "bbo" if asked.event_trigger == "bbo" else OURS.get(asked.channel)
        return (Accepted(channel=channel, raw_symbol=asked.symbol),)

    def refused(self) -> Refused:
        """Each symbol is answered by itself, under the number that the whole request had."""
        channel: Channel | None = "candles" if "ohlc" in self.error else None
        id = self.req_id if self.symbol is None else None
        return Refused(self.error, id=id, channel=channel, raw_symbol=self.symbol)


Message = Trades | Books | Tickers | Bars | Instruments | Statuses
decode: Callable[[bytes], Message] = Decoder(Message, float_hook=number).decode
decode_other = Decoder(Other, float_hook=number).decode


def stamp(time: str | None) -> int | None:
    return None if time is None else from_iso(time)


def flagged(type: str, records: Sequence[Record]) -> Sequence[Record]:
    """The state at the subscription is told from what happens after it."""
    if type == "snapshot":
        for record in records:
            record.flags = ("snapshot",)
    return records


def rows(side: list[LevelRow]) -> Levels:
    return [(text(level.price), text(level.qty)) for level in side]


def whole(row: BookRow) -> BookSnapshot:
    return BookSnapshot(
        raw_symbol=row.symbol,
        bids=rows(row.bids),
        asks=rows(row.asks),
        depth=DEPTH,
        checksum=row.checksum,
        ts_event=stamp(row.timestamp),
    )


def delta(row: BookRow) -> BookDelta:
    return BookDelta(
        raw_symbol=row.symbol,
        bids=rows(row.bids),
        asks=rows(row.asks),
        checksum=row.checksum,
        ts_event=stamp(row.timestamp),
    )


def status(word: str, raw_symbol: str | None = None) -> Status:
    state = STATES.get(word, "unknown")
    return Status(raw_symbol=raw_symbol, state=state, reason=None if word == "online" else word)


def parse(frame: bytes) -> Iterable[Event]:
    try:
        return decode(frame).events()
    except ValidationError:
        return decode_other(frame).events()


def parse_best(frame: bytes) -> Iterable[Event]:
    """As `parse`, of a ticker that is sent when the best prices move."""
    try:
        message = decode(frame)
    except ValidationError:
        return decode_other(frame).events()
    return [row.best() for row in message.data] if isinstance(message, Tickers) else message.events()


def asking(method: str) -> Callable[[Sequence[Subscription], int], Iterable[bytes]]:
    """One frame for all symbols of a channel (and of an interval)."""

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        symbols: dict[tuple[str, str, int | str | None], list[str]] = {}
        for s in wanted:
            symbols.setdefault(kind(s), []).append(s.raw_symbol)
        for (name, option, value), named in symbols.items():
            about = {"channel": name, option: value} if option else {"channel": name}
            params = about if name == "instrument" else about | {"symbol": named}
            yield encode({"method": method, "params": params, "req_id": id})

    return ask


def kind(s: Subscription) -> tuple[str, str, int | str | None]:
    """The exchange's channel, with the option that tells its kinds apart."""
    if s.channel == "candles":
        return "ohlc", "interval", INTERVALS.get(s.interval, s.interval)
    if s.channel == "bbo":
        return "ticker", "event_trigger", "bbo"
    return (CHANNELS[s.channel], "depth", DEPTH) if s.channel == "book" else (CHANNELS[s.channel], "", None)


def checksum(book: Book, instrument: Instrument | None) -> int:
    """CRC32 of the ten best asks, then bids: price and size of each, at the pair's own number of decimals."""
    best = book.asks(CHECKED) + book.bids(CHECKED)
    tick, lot = (instrument.tick_size, instrument.lot_size) if instrument else (None, None)
    after_price = decimals(tick) if tick else max([decimals(price) for price, _ in best], default=0)
    after_size = decimals(lot) if lot else max([decimals(size) for _, size in best], default=0)
    return crc32("".join([digits(price, size, after_price, after_size) for price, size in best]).encode())


@lru_cache(maxsize=2**13)  # the ten best levels of as many books as a connection carries
def digits(price: str, size: str, after_price: int, after_size: int) -> str:
    """A level without points and leading zeros; JSON numbers short of decimals have lost zeros on the way."""
    ends = "0" * (after_price - decimals(price)), "0" * (after_size - decimals(size))
    return price.replace(".", "").lstrip("0") + ends[0] + size.replace(".", "").lstrip("0") + ends[1]


@lru_cache(maxsize=2**12)
def decimals(number: str) -> int:
    return len(number) - number.find(".") - 1 if "." in number else 0


def streams(url: str, backfill: Backfill | None = None) -> tuple[Stream, Stream]:
    """Declare an address that speaks this protocol."""
    main = Stream(
        url=url,
        channels=CHANNELS,
        subscribe=asking("subscribe"),
        unsubscribe=asking("unsubscribe"),
        parse=parse,
        heartbeat=Heartbeat(30, b'{"method":"ping"}'),
        sequence={"trades": contiguous},
        checksum=checksum,
        backfill=backfill,
        depth=DEPTH,
        per_connection=300,
        patience=20,  # the exchange beats every second that has nothing else to say
    )
    best = Stream(
        name="bbo",
        url=url,
        channels=BEST,
        subscribe=asking("subscribe"),
        unsubscribe=asking("unsubscribe"),
        parse=parse_best,
        heartbeat=Heartbeat(30, b'{"method":"ping"}'),
        per_connection=300,
        patience=20,
    )
    return main, best
