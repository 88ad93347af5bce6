"""The messages of WhiteBIT in its own spelling, and the records that they make.

https://docs.whitebit.com/websocket/market-streams/overview
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, convert
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.records import (
    DAY_S,
    HOUR_S,
    SECOND_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    MarkPrice,
    Record,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, end_of, levels, ms, nonzero, number, optional, seconds, text

PERIODS = {  # seconds
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": HOUR_S,
    "2h": 7200,
    "4h": 14_400,
    "6h": 21_600,
    "8h": 28_800,
    "12h": 43_200,
    "1d": DAY_S,
    "3d": 259_200,
    "1w": 604_800,
    "1M": 2_592_000,
}
DEPTH = 100  # levels a side, the most that is offered
FIRST_MS = 10**11  # a time from here on is in milliseconds, below in seconds


class TradeRow(Struct, gc=False):
    id: int
    time: Text  # seconds
    price: str
    amount: str
    type: str  # the taker's side

    def record(self, name: str) -> Trade:
        if self.type not in {"buy", "sell"}:
            raise BadFrame(f"a trade of the side {self.type[:20]!r}")
        return Trade(
            raw_symbol=name,
            id=str(self.id),
            price=text(self.price),
            size=text(self.amount),
            side="buy" if self.type == "buy" else "sell",
            ts_event=seconds(self.time),
        )


class TradesFrame(Struct, tag_field="method", tag="trades_update", gc=False):
    params: tuple[str, list[TradeRow]]

    def records(self, _: str) -> Iterable[Record]:
        return self.trades(0)

    def trades(self, known: int | None) -> list[Trade]:
        """Oldest first; those up to the number that is known, or all where none is, are of the past."""
        name, rows = self.params
        trades = [row.record(name) for row in reversed(rows)]  # the newest comes first
        for row, trade in zip(reversed(rows), trades, strict=True):
            if known is None or row.id <= known:
                trade.flags = ("snapshot",)
        return trades


class DepthWire(Struct, gc=False):
    timestamp: Text = None  # when the matching engine made it
    event_time: Text = None  # when the message was sent
    update_id: int | None = None
    past_update_id: int | None = None
    bids: list[list[Text]] = []  # left out where nothing of it has changed
    asks: list[list[Text]] = []


class DepthFrame(Struct, tag_field="method", tag="depth_update", gc=False):
    params: tuple[bool, DepthWire, str]

    def records(self, _: str) -> Iterable[Record]:
        is_whole, book, name = self.params
        at = None if book.timestamp is None else seconds(book.timestamp)
        sent = None if book.event_time is None else seconds(book.event_time)
        if is_whole:
            return (
                BookSnapshot(
                    raw_symbol=name,
                    bids=levels(book.bids),
                    asks=levels(book.asks),
                    depth=DEPTH,
                    sequence=book.update_id,
                    ts_event=at,
                    ts_sent=sent,
                ),
            )
        return (
            BookDelta(
                raw_symbol=name,
                bids=levels(book.bids),
                asks=levels(book.asks),
                sequence=book.update_id,
                sequence_prev=book.past_update_id,
                ts_event=at,
                ts_sent=sent,
            ),
        )


class BestRow(Struct, array_like=True, gc=False):
    matched: Text
    sent: Text
    market: str
    update_id: int
    bid: str | None
    bid_amount: str | None
    ask: str | None
    ask_amount: str | None

    def record(self) -> Bbo:
        return bbo(
            self.market,
            self.bid,
            self.bid_amount,
            self.ask,
            self.ask_amount,
            sequence=self.update_id,
            ts_event=seconds(self.matched),
            ts_sent=seconds(self.sent),
        )


class BestFrame(Struct, tag_field="method", tag="bookTicker_update", gc=False):
    params: list[BestRow]

    def records(self, _: str) -> Iterable[Record]:
        return [row.record() for row in self.params]


class Statistics(Struct, gc=False):
    period: int | None = None  # seconds
    last: str | None = None
    open: str | None = None
    high: str | None = None
    low: str | None = None
    volume: str | None = None
    deal: str | None = None  # in the quote asset

    def record(self, name: str) -> Ticker:
        return Ticker(
            raw_symbol=name,
            last=nonzero(self.last),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.volume),
            quote_volume=optional(self.deal),
            window_s=self.period,
        )


class Failure(Struct):
    message: str
    code: int


class MarketFrame(Struct, tag_field="method", tag="market_update", gc=False):
    params: tuple[str, Statistics]

    def records(self, _: str) -> Iterable[Record]:
        name, wire = self.params
        return (wire.record(name),)


class Bar(Struct, array_like=True, gc=False):
    """A candle; its close stands before its high."""

    time: int  # seconds
    open: str
    close: str
    high: str
    low: str
    volume: str
    deal: str
    market: str

    def record(self, interval: str) -> Candle:
        start = self.time * SECOND_NS
        return Candle(
            raw_symbol=self.market,
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=text(self.open),
            high=text(self.high),
            low=text(self.low),
            close=text(self.close),
            base_volume=text(self.volume),
            quote_volume=text(self.deal),
        )


class CandlesFrame(Struct, tag_field="method", tag="candles_update", gc=False):
    params: list[Bar]

    def records(self, interval: str) -> Iterable[Record]:
        return [bar.record(interval) for bar in self.params]


class Premium(Struct, array_like=True, gc=False):
    market: str
    mark: str
    index: str
    rate: str
    due: Text  # documented as seconds, seen as milliseconds
    sent: Text = None  # seconds

    def records(self) -> Iterable[Record]:
        name, sent = self.market, None if self.sent is None else seconds(self.sent)
        due = ms(self.due) if int(text(self.due).partition(".")[0]) >= FIRST_MS else seconds(self.due)
        if rate := optional(self.rate):
            yield Funding(raw_symbol=name, rate=rate, ts_next=due, ts_sent=sent)
        if mark := nonzero(self.mark):
            yield MarkPrice(raw_symbol=name, price=mark, ts_sent=sent)
        if index := nonzero(self.index):
            yield IndexPrice(raw_symbol=name, price=index, ts_sent=sent)


class PremiumFrame(Struct, tag_field="method", tag="premiumIndex_update"):
    params: list[Any]  # one row, or a list of them

    def records(self, _: str) -> Iterable[Record]:
        rows = self.params if self.params and type(self.params[0]) is list else [self.params]
        return [record for row in convert(rows, list[Premium]) for record in row.records()]


decode = Decoder(
    TradesFrame | DepthFrame | BestFrame | MarketFrame | CandlesFrame | PremiumFrame, float_hook=number
).decode
