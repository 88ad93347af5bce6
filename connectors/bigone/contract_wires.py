"""Trades and candles of BigONE's contracts in its own spelling, and the records that they make.

https://open.big.one/docs/contract/pusher
Sizes and volumes count contracts. What a candle's turnover counts is not said, and differs by contract. Whose side a
trade names is said nowhere, so it is not told.
"""

from msgspec import Struct

from aggregator.records import Candle, Trade
from aggregator.wire import Text, ms, optional, text

PERIODS = {
    **{f"{n}m": f"{n}MIN" for n in (1, 5, 15, 30)},
    **{f"{n}h": f"{n}H" for n in (1, 4, 6, 12)},
    "1d": "1D",
}
INTERVALS = {period: interval for interval, period in PERIODS.items()}


class TradeWire(Struct, gc=False):
    id: str
    symbol: str
    price: Text
    size: Text
    matchedAt: int

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.symbol,
            id=self.id,
            price=text(self.price),
            size=text(self.size),
            size_unit="contract",
            ts_event=ms(self.matchedAt),
        )


class BarWire(Struct, gc=False):
    """A candle as it runs: no word says that it is final."""

    symbol: str
    type: str
    time: int  # when it begins, in milliseconds
    open: Text
    high: Text
    low: Text
    close: Text
    nextTs: int  # when the next one begins
    volume: Text = None
    nTrades: int | None = None

    def record(self) -> Candle:
        return Candle(
            raw_symbol=self.symbol,
            interval=INTERVALS.get(self.type, self.type),
            ts_open=ms(self.time),
            ts_close=ms(self.nextTs),
            open=text(self.open),
            high=text(self.high),
            low=text(self.low),
            close=text(self.close),
            contract_volume=optional(self.volume),
            trades=self.nTrades,
        )
