"""The messages of both streams, and the answers by REST; numbers are text."""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.records import DAY_S, BookDelta, BookSnapshot, Record, Ticker, Trade
from aggregator.wire import bbo, from_iso, nonzero, optional, text


class Level(Struct, gc=False):
    price: str
    amount: str


class SnapshotWire(Struct, tag_field="type", tag="SNAPSHOT", gc=False):
    market: str
    bids: list[Level]
    asks: list[Level]
    final_snapshot: bool | str = True  # a word in one example of the documentation, else a truth value

    @property
    def is_last(self) -> bool:
        return self.final_snapshot in {True, "true"}


class UpdateWire(Struct, tag_field="type", tag="UPDATE", gc=False):
    """One level as it is now; an amount of zero removes it."""

    market: str
    side: str
    price: str
    amount: str

    def record(self) -> BookDelta:
        level = [(text(self.price), text(self.amount))]
        if self.side == "BUY":
            return BookDelta(raw_symbol=self.market, bids=level, asks=[])
        if self.side == "SELL":
            return BookDelta(raw_symbol=self.market, bids=[], asks=level)
        raise ValueError(f"an update of {self.market} has the side {self.side!r:.40}; it is BUY or SELL")


class ExecutionWire(Struct, gc=False):
    """An execution does not say which side took."""

    market: str
    price: str
    amount: str
    executed_at: str
    match_number: str  # letters and digits, in no order

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.market,
            id=self.match_number,
            price=text(self.price),
            size=text(self.amount),
            ts_event=from_iso(self.executed_at),
        )


class ErrorWire(Struct):
    error: str


def whole(parts: list[SnapshotWire]) -> BookSnapshot:
    """The book that the parts of a snapshot make together."""
    return BookSnapshot(
        raw_symbol=parts[0].market,
        bids=[(text(level.price), text(level.amount)) for part in parts for level in part.bids],
        asks=[(text(level.price), text(level.amount)) for part in parts for level in part.asks],
    )


class Statistics(Struct):
    high: str | None = None
    low: str | None = None
    open: str | None = None
    volume: str | None = None
    volume_weighted_average_price: str | None = None


class TickerWire(Struct):
    market: str
    last_day: Statistics  # 24 hours; `today` begins at midnight
    best_bid: Level | None = None
    best_ask: Level | None = None
    last_execution: Level | None = None
    snapshot_at: str | None = None

    def records(self) -> Iterable[Record]:
        day, bid, ask = self.last_day, self.best_bid or NOTHING, self.best_ask or NOTHING
        sent = None if self.snapshot_at is None else from_iso(self.snapshot_at)
        statistics = Ticker(
            raw_symbol=self.market,
            last=nonzero((self.last_execution or NOTHING).price),
            open=nonzero(day.open),
            high=nonzero(day.high),
            low=nonzero(day.low),
            vwap=nonzero(day.volume_weighted_average_price),
            base_volume=optional(day.volume),
            window_s=DAY_S,
            ts_sent=sent,
        )
        return statistics, bbo(self.market, bid.price, bid.amount, ask.price, ask.amount, ts_sent=sent)


NOTHING = Level("", "")


class Market(Struct):
    market: str
    base_asset: str
    quote_asset: str
    tick_rate: str | None = None
