"""Rows of BitMEX's tables: trades, best prices, liquidations, funding and candles."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from aggregator.records import SECOND_NS, Bbo, Candle, Funding, Liquidation, Trade
from aggregator.wire import Text, best, candle, from_iso, interval_s, is_zero, optional, text

DAY_ZERO = from_iso("2000-01-01T00:00:00.000Z")


class TradeRow(Struct, gc=False):
    timestamp: str
    symbol: str
    size: Text
    price: Text
    side: Literal["Buy", "Sell"] | None = None  # the taker's; a settlement has none
    trdMatchID: str | None = None
    trdType: str = ""
    homeNotional: Text = None
    foreignNotional: Text = None

    def is_trade(self) -> bool:
        """Prices of an index (`.BXBT`) are rows of this table too: of nothing, with no id or one of zeros."""
        return self.trdType != "Referential" and not is_zero(text(self.size))

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.symbol,
            id=self.trdMatchID,
            price=text(self.price),
            size=text(self.size),
            side=None if self.side is None else "buy" if self.side == "Buy" else "sell",
            size_unit="contract",
            base_size=optional(self.homeNotional),
            quote_size=optional(self.foreignNotional),
            ts_event=from_iso(self.timestamp),
        )


class QuoteRow(Struct, gc=False):
    timestamp: str
    symbol: str
    bidSize: Text = None
    bidPrice: Text = None
    askPrice: Text = None
    askSize: Text = None

    def record(self) -> Bbo:
        bid, ask = best(self.bidPrice, self.bidSize), best(self.askPrice, self.askSize)
        return Bbo(
            raw_symbol=self.symbol,
            bid_price=bid[0],
            bid_size=bid[1],
            ask_price=ask[0],
            ask_size=ask[1],
            ts_event=from_iso(self.timestamp),
        )


class ForcedRow(Struct, gc=False):
    symbol: str
    orderID: str
    side: Literal["Buy", "Sell"]  # the side of the order that closes the position
    price: Text
    leavesQty: Text

    def record(self) -> Liquidation:
        is_sold = self.side == "Sell"
        return Liquidation(
            raw_symbol=self.symbol,
            id=self.orderID,
            side="sell" if is_sold else "buy",
            position="long" if is_sold else "short",
            price=text(self.price),
            price_kind="order",
            size=text(self.leavesQty),
            size_unit="contract",
        )


class FundingRow(Struct, gc=False):
    timestamp: str  # when it was exchanged
    symbol: str
    fundingRate: Text
    fundingInterval: str  # a time of the first of January 2000, of which the time of day counts

    def records(self) -> Iterable[Funding]:
        when, rate = from_iso(self.timestamp), optional(self.fundingRate)
        if rate is not None:
            yield Funding(
                raw_symbol=self.symbol,
                rate=rate,
                kind="settled",
                interval_s=(from_iso(self.fundingInterval) - DAY_ZERO) // SECOND_NS or None,
                ts_next=when,
                ts_event=when,
            )


class BarRow(Struct, gc=False):
    timestamp: str  # the end of the candle
    symbol: str
    open: Text = None  # there is none where nothing was ever traded
    high: Text = None
    low: Text = None
    close: Text = None
    trades: int = 0
    volume: Text = None
    homeNotional: Text = None
    foreignNotional: Text = None

    def records(self, interval: str) -> Iterable[Candle]:
        if self.open is None:
            return
        start = from_iso(self.timestamp) - (interval_s(interval) or 0) * SECOND_NS
        made = candle(
            self.symbol,
            interval,
            start,
            (self.open, self.high, self.low, self.close),
            base=self.homeNotional,
            quote=self.foreignNotional,
            trades=self.trades,
        )
        made.contract_volume = optional(self.volume)
        yield made
