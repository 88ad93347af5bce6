"""Statistics and candles of BigONE's pairs, as its stream tells them.

https://open.bigone.com/docs/spot/pusher
Names are those of public clients (StockSharp, a Go reader, and messages of 2018 that a Python reader quotes).
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.records import DAY_S, Candle, Record, Ticker
from aggregator.wire import Text, bbo, candle, from_iso, nonzero, optional

PERIODS = {
    **{f"{n}m": f"MIN{n}" for n in (1, 5, 15, 30)},
    **{f"{n}h": f"HOUR{n}" for n in (1, 3, 4, 6, 12)},
    "1d": "DAY1",
    "1w": "WEEK1",
    "1M": "MONTH1",
}
INTERVALS = {period: interval for interval, period in PERIODS.items()}


class SideWire(Struct, frozen=True, gc=False):
    price: Text = None
    amount: Text = None


class TickerRow(Struct, gc=False):
    market: str
    bid: SideWire = SideWire()
    ask: SideWire = SideWire()
    open: Text = None
    high: Text = None
    low: Text = None
    close: Text = None
    volume: Text = None
    dailyChange: Text = None

    def records(self) -> Iterable[Record]:
        yield Ticker(
            raw_symbol=self.market,
            last=nonzero(self.close),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.volume),
            change=optional(self.dailyChange),
            window_s=DAY_S,
        )
        bid, ask = self.bid, self.ask
        yield bbo(self.market, bid.price, bid.amount, ask.price, ask.amount)


class TickersWire(Struct):
    tickers: list[TickerRow] = []


class TickerWire(Struct):
    ticker: TickerRow


class CandleRow(Struct, gc=False):
    """A candle as it runs: no word says that it is final."""

    market: str
    time: str  # when it begins
    open: Text
    high: Text
    low: Text
    close: Text
    volume: Text = None
    period: str = ""  # it is left out where it is MIN1, and was in 2018

    def record(self, asked: str) -> Candle:
        period = self.period or asked
        prices = (self.open, self.high, self.low, self.close)
        return candle(self.market, INTERVALS.get(period, period), from_iso(self.time), prices, base=self.volume)


class CandlesWire(Struct):
    candles: list[CandleRow] = []  # newest first


class CandleWire(Struct):
    candle: CandleRow
