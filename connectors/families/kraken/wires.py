"""Kraken's messages, version 2, as they are on the wire, and what each of them says."""

from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Event
from aggregator.records import (
    DAY_S,
    MINUTE_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Channel,
    Levels,
    Side,
    Ticker,
    Trade,
)
from aggregator.wire import Text, as_written, bbo, from_iso, nonzero, optional, text
from connectors.families.kraken.notice_wires import Instruments, Other, Statuses, flagged

DEPTH = 100  # levels a side of the book that is subscribed to: 10, 25, 100, 500 or 1000
BEST: dict[Channel, str] = {"bbo": "ticker"}
INTERVALS = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440, "1w": 10080, "15d": 21600}
SPELLED = {minutes: interval for interval, minutes in INTERVALS.items()}


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
        if self.type == "update" and len(self.data) == 1:  # the usual case
            return (self.data[0].record(),)
        return flagged(self.type, [row.record() for row in self.data])


class LevelRow(Struct, gc=False):
    price: Text
    qty: Text


class BookRow(Struct, gc=False):
    symbol: str
    bids: list[LevelRow] = []
    asks: list[LevelRow] = []
    checksum: int | None = None
    timestamp: str | None = None  # older snapshots have none


class Books(Struct, tag_field="channel", tag="book"):
    type: Literal["snapshot", "update"]
    data: list[BookRow]

    def events(self) -> Iterable[Event]:
        if self.type == "update":
            return (delta(self.data[0]),) if len(self.data) == 1 else [delta(row) for row in self.data]
        return [whole(row) for row in self.data]


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

    def record(self, at: int | None) -> Ticker:
        return Ticker(
            raw_symbol=self.symbol,
            last=nonzero(self.last),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.volume),
            vwap=nonzero(self.vwap),
            change=optional(self.change),
            window_s=DAY_S,
            ts_event=at,
        )

    def best(self, at: int | None) -> Bbo:
        return bbo(
            self.symbol,
            self.bid,
            self.bid_qty,
            self.ask,
            self.ask_qty,
            ts_event=at,
        )


class Tickers(Struct, tag_field="channel", tag="ticker"):
    data: list[TickerRow]

    def events(self) -> Iterable[Event]:
        """The events of both channels, whichever was subscribed to: frames do not tell."""
        found: list[Event] = []
        for row in self.data:
            at = stamp(row.timestamp)
            found += (row.record(at), row.best(at))
        return found


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
            ts_close=start + self.interval * MINUTE_NS,
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


Message = Trades | Books | Tickers | Bars | Instruments | Statuses
decode: Callable[[bytes], Message] = Decoder(Message, float_hook=as_written).decode
decode_other = Decoder(Other, float_hook=as_written).decode


def stamp(time: str | None) -> int | None:
    """Read a time. The exchange sends 1970-01-01 where it has none."""
    return None if time is None else from_iso(time) or None


def rows(side: list[LevelRow]) -> Levels:
    """The levels of one side; in a change, one of the two is often empty."""
    return [(text(level.price), text(level.qty)) for level in side] if side else []


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
