"""The rows that Advanced Trade's frames are made of, and the records that they stand for."""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from aggregator.records import (
    DAY_S,
    MINUTE_NS,
    BookDelta,
    BookSnapshot,
    Candle,
    Levels,
    MarketState,
    Record,
    Side,
    Status,
    Ticker,
    Trade,
)
from aggregator.sequence import Count
from aggregator.wire import bbo, from_iso, nonzero, optional, past, seconds

TAKER: dict[str, Side] = {"BUY": "sell", "SELL": "buy"}  # the wire gives the maker's side
STATES: dict[str, MarketState] = {
    "": "trading",  # futures have no word for it
    "online": "trading",
    "offline": "halt",
    "internal": "pre_open",
    "delisted": "delisted",
}
FIVE_MINUTES_NS = 5 * MINUTE_NS


def counts_contracts(product_id: str) -> bool:
    """Tell whether sizes and volumes of a product count contracts, as of `BIT-26APR24-CDE`."""
    return product_id.count("-") > 1


class TradeRow(Struct, gc=False):
    trade_id: str  # counts the trades of one product
    product_id: str
    price: str
    size: str
    side: str
    time: str

    def record(self, sent: int | None = None) -> Trade:
        is_contract = counts_contracts(self.product_id)
        return Trade(
            raw_symbol=self.product_id,
            id=self.trade_id,
            price=self.price,
            size=self.size,
            side=TAKER.get(self.side),
            size_unit="contract" if is_contract else "base",
            sequence=None if is_contract else int(self.trade_id),
            ts_event=from_iso(self.time),
            ts_sent=sent,
        )


class TradesEvent(Struct, gc=False):
    type: Literal["snapshot", "update"]
    trades: list[TradeRow] | None  # newest first

    def records(self, sent: int) -> Sequence[Trade]:
        rows = self.trades or ()
        if self.type == "update" and len(rows) == 1:  # the usual case
            return (rows[0].record(sent),)
        trades = [row.record(sent) for row in reversed(rows)]
        return past(trades) if self.type == "snapshot" else trades


class LevelRow(Struct, gc=False):
    side: Literal["bid", "offer"]
    event_time: str
    price_level: str
    new_quantity: str  # 0 removes


class BookEvent(Struct, gc=False):
    type: Literal["snapshot", "update"]
    product_id: str
    updates: list[LevelRow] | None

    def record(self, sent: int, count: Count) -> Record:
        rows = self.updates or ()
        bids: Levels = []
        asks: Levels = []
        for row in rows:
            if row.side == "bid":
                bids.append((row.price_level, row.new_quantity))
            else:
                asks.append((row.price_level, row.new_quantity))
        at = latest({row.event_time for row in rows})
        before = count.tell(self.product_id)
        if self.type == "snapshot":
            return BookSnapshot(
                raw_symbol=self.product_id, bids=bids, asks=asks, sequence=count.last, ts_event=at, ts_sent=sent
            )
        return BookDelta(
            raw_symbol=self.product_id,
            bids=bids,
            asks=asks,
            sequence=count.last,
            sequence_prev=before,
            ts_event=at,
            ts_sent=sent,
        )


def latest(times: set[str]) -> int | None:
    """The last of the times of a book's changes, which mostly agree; the exchange sends 1970-01-01 for none."""
    return (from_iso(times.pop()) if len(times) == 1 else max(map(from_iso, times), default=0)) or None


class TickerRow(Struct, gc=False):
    product_id: str
    price: str
    volume_24_h: str = ""
    low_24_h: str = ""
    high_24_h: str = ""
    best_bid: str | None = None
    best_bid_quantity: str | None = None
    best_ask: str | None = None
    best_ask_quantity: str | None = None

    def records(self, sent: int) -> Iterable[Record]:
        volume, is_contract = optional(self.volume_24_h), counts_contracts(self.product_id)
        statistics = Ticker(
            raw_symbol=self.product_id,
            last=nonzero(self.price),
            high=nonzero(self.high_24_h),
            low=nonzero(self.low_24_h),
            base_volume=None if is_contract else volume,
            contract_volume=volume if is_contract else None,
            window_s=DAY_S,
            ts_sent=sent,
        )
        if not self.best_bid and not self.best_ask:  # `ticker_batch` has neither
            return (statistics,)
        offered = bbo(
            self.product_id,
            self.best_bid,
            self.best_bid_quantity,
            self.best_ask,
            self.best_ask_quantity,
            ts_sent=sent,
        )
        return statistics, offered


class TickersEvent(Struct, gc=False):
    tickers: list[TickerRow] | None


class CandleRow(Struct, gc=False):
    product_id: str
    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str

    def record(self, sent: int) -> Candle:
        start, is_contract = seconds(self.start), counts_contracts(self.product_id)
        return Candle(
            raw_symbol=self.product_id,
            interval="5m",
            ts_open=start,
            ts_close=start + FIVE_MINUTES_NS,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            base_volume=None if is_contract else self.volume,
            contract_volume=self.volume if is_contract else None,
            ts_sent=sent,
        )


class CandlesEvent(Struct, gc=False):
    type: Literal["snapshot", "update"]
    candles: list[CandleRow] | None


class StatusRow(Struct, gc=False):
    id: str
    status: str
    status_message: str = ""

    def record(self, sent: int) -> Status:
        state = STATES.get(self.status, "unknown")
        word = self.status if state == "unknown" else None
        return Status(raw_symbol=self.id, state=state, reason=self.status_message or word, ts_sent=sent)


class StatusEvent(Struct, gc=False):
    type: Literal["snapshot", "update"]
    products: list[StatusRow] | None
