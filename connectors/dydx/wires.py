"""The messages of dYdX's indexer in its own spelling, and the records that they make.

https://docs.dydx.xyz/indexer-client/websockets
https://github.com/dydxprotocol/v4-chain (indexer/packages/postgres/src/types/websocket-message-types.ts)
A trade is the taker's fill: its side is the taker's, and where its type says so the taker was forced. Times are those
of blocks.
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.exchange import Event
from aggregator.records import (
    DAY_S,
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    Levels,
    Liquidation,
    MarketState,
    OpenInterest,
    Status,
    Ticker,
    Trade,
)
from aggregator.wire import Text, end_of, from_iso, nonzero, optional, text

STATES: dict[str, MarketState] = {
    "ACTIVE": "trading",
    "PAUSED": "halt",
    "CANCEL_ONLY": "cancel_only",
    "POST_ONLY": "post_only",
    "INITIALIZING": "pre_open",
    "FINAL_SETTLEMENT": "settling",
}
RESOLUTIONS = {
    "1m": "1MIN",
    "5m": "5MINS",
    "15m": "15MINS",
    "30m": "30MINS",
    "1h": "1HOUR",
    "4h": "4HOURS",
    "1d": "1DAY",
}
INTERVALS = {word: interval for interval, word in RESOLUTIONS.items()}
FORCED = {"LIQUIDATED", "DELEVERAGED"}  # both name the order of the account that could not stand


class TradeWire(Struct, gc=False):
    id: str
    side: str
    size: Text
    price: Text
    createdAt: str
    type: str = ""

    def records(self, name: str) -> Iterable[Trade | Liquidation]:
        is_forced, is_sale, at = self.type in FORCED, self.side == "SELL", from_iso(self.createdAt)
        yield Trade(
            raw_symbol=name,
            id=self.id,
            price=text(self.price),
            size=text(self.size),
            side="sell" if is_sale else "buy",
            kind="liquidation" if is_forced else "trade",
            ts_event=at,
        )
        if is_forced:
            yield Liquidation(
                raw_symbol=name,
                id=self.id,
                side="sell" if is_sale else "buy",
                position="long" if is_sale else "short",
                price=text(self.price),
                price_kind="trade",
                size=text(self.size),
                ts_event=at,
            )


class Trades(Struct, gc=False):
    trades: list[TradeWire]


class LevelWire(Struct, gc=False):
    price: Text
    size: Text


Rows = list[LevelWire | list[Text]]  # a whole book has objects, a change has arrays


class BookWire(Struct, gc=False):
    bids: Rows = []
    asks: Rows = []

    def whole(self, name: str) -> BookSnapshot:
        return BookSnapshot(raw_symbol=name, bids=levels(self.bids), asks=levels(self.asks))

    def delta(self, name: str) -> BookDelta:
        return BookDelta(raw_symbol=name, bids=levels(self.bids), asks=levels(self.asks))


def levels(rows: Rows) -> Levels:
    return [
        (text(row[0]), text(row[1])) if type(row) is list else (text(row.price), text(row.size))  # type: ignore[union-attr]
        for row in rows
    ]


class BarWire(Struct, gc=False):
    startedAt: str
    ticker: str
    resolution: str
    open: Text
    high: Text
    low: Text
    close: Text
    baseTokenVolume: Text
    usdVolume: Text
    trades: int

    def record(self) -> Candle:
        interval, start = INTERVALS.get(self.resolution, self.resolution), from_iso(self.startedAt)
        return Candle(
            raw_symbol=self.ticker,
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=text(self.open),
            high=text(self.high),
            low=text(self.low),
            close=text(self.close),
            base_volume=optional(self.baseTokenVolume),
            quote_volume=optional(self.usdVolume),
            trades=self.trades,
        )


class Bars(Struct, gc=False):
    candles: list[BarWire]


class OracleWire(Struct, gc=False):
    oraclePrice: Text
    effectiveAt: str

    def records(self, name: str) -> Iterable[Event]:
        if (price := nonzero(self.oraclePrice)) is not None:
            yield IndexPrice(raw_symbol=name, price=price, ts_event=from_iso(self.effectiveAt))


class FiguresWire(Struct, gc=False):
    """The figures of a market: all of them at first, then those that change."""

    status: str = ""
    oraclePrice: Text = None
    nextFundingRate: Text = None  # a fraction of the running hour, which is paid at its end
    openInterest: Text = None  # in the base asset
    volume24H: Text = None  # in US dollars
    trades24H: int | None = None

    def records(self, name: str) -> Iterable[Event]:
        if self.volume24H is not None or self.trades24H is not None:
            yield Ticker(raw_symbol=name, quote_volume=optional(self.volume24H), trades=self.trades24H, window_s=DAY_S)
        if (rate := optional(self.nextFundingRate)) is not None:
            yield Funding(raw_symbol=name, rate=rate)
        if (size := optional(self.openInterest)) is not None:
            yield OpenInterest(raw_symbol=name, size=size)
        if (price := nonzero(self.oraclePrice)) is not None:
            yield IndexPrice(raw_symbol=name, price=price)
        if self.status:
            state = STATES.get(self.status, "unknown")
            yield Status(raw_symbol=name, state=state, reason=None if state == "trading" else self.status)


class Markets(Struct, gc=False):
    markets: dict[str, FiguresWire] = {}  # the first frame has it, and the others have what follows
    trading: dict[str, FiguresWire] = {}
    oraclePrices: dict[str, OracleWire] = {}

    def records(self) -> Iterable[Event]:
        for told in (self.markets, self.trading, self.oraclePrices):
            for name, figures in told.items():
                yield from figures.records(name)
