"""The messages of the stream, and the answers by REST."""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.records import (
    DAY_S,
    BookDelta,
    BookSnapshot,
    MarketState,
    Record,
    Side,
    Status,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, from_iso, levels, nonzero, optional, seconds, text

DEPTH = 200  # levels a side of a whole book
STATES: dict[str, MarketState] = {
    "available": "trading",
    "itayose": "pre_open",  # orders are gathered for an auction
    "stop": "halt",
}


class Changes(Struct, gc=False):
    """Changed levels: sizes are absolute, and `0` deletes."""

    bids: list[list[Text]]
    asks: list[list[Text]]
    last_update_at: str | None = None  # whole seconds

    def record(self, pair: str) -> BookDelta:
        at = None if self.last_update_at is None else seconds(self.last_update_at)
        return BookDelta(raw_symbol=pair, bids=levels(self.bids), asks=levels(self.asks), ts_event=at)


class TradeRow(Struct, array_like=True, gc=False):
    time: str  # seconds
    id: str
    pair: str
    rate: str
    amount: str
    side: Side  # the taker's
    taker_order: str | None = None
    maker_order: str | None = None
    auction: Text = None  # the id of the auction that the trade is of

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.pair,
            id=self.id,
            price=text(self.rate),
            size=text(self.amount),
            side=self.side,
            kind="auction" if self.auction else "trade",
            sequence=int(self.id),
            ts_event=seconds(self.time),
        )


class OldTrade(Struct, array_like=True, gc=False):
    """A trade by itself and without a time, as the stream told it until 2022."""

    id: int
    pair: str
    rate: Text
    amount: Text
    side: Side  # the taker's

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.pair,
            id=str(self.id),
            price=text(self.rate),
            size=text(self.amount),
            side=self.side,
            sequence=self.id,
        )


class Book(Struct):
    bids: list[list[Text]]
    asks: list[list[Text]]

    def record(self, pair: str) -> BookSnapshot:
        return BookSnapshot(raw_symbol=pair, bids=levels(self.bids), asks=levels(self.asks), depth=DEPTH)


class PastTrade(Struct):
    id: int
    pair: str
    rate: str
    amount: str
    order_type: Side  # the taker's
    created_at: str

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.pair,
            id=str(self.id),
            price=text(self.rate),
            size=text(self.amount),
            side=self.order_type,
            sequence=self.id,
            ts_event=from_iso(self.created_at),
        )


class PastTrades(Struct):
    data: list[PastTrade]  # newest first


class TickerWire(Struct):
    """Figures of 24 hours, from a cache that may be ten seconds old."""

    last: Text
    timestamp: int  # seconds
    bid: Text = None
    ask: Text = None
    high: Text = None
    low: Text = None
    volume: Text = None

    def records(self, pair: str) -> Iterable[Record]:
        at = seconds(self.timestamp)
        statistics = Ticker(
            raw_symbol=pair,
            last=nonzero(self.last),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.volume),
            window_s=DAY_S,
            ts_event=at,
        )
        return statistics, bbo(pair, self.bid, None, self.ask, None, ts_event=at)


class PairState(Struct):
    pair: str
    status: str
    timestamp: int | None = None  # seconds

    @property
    def state(self) -> MarketState:
        return STATES.get(self.status, "unknown")

    def record(self) -> Status:
        return Status(
            raw_symbol=self.pair,
            state=self.state,
            reason=None if self.state == "trading" else self.status,
            ts_event=None if self.timestamp is None else seconds(self.timestamp),
        )
