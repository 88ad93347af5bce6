"""The messages of Bybit in its own spelling, and the records that they make.

https://bybit-exchange.github.io/docs/v5/websocket/public/ticker
Volume is of the base asset and turnover of the quote asset; of inverse contracts they change places.
"""

from typing import Literal

from msgspec import Struct
from msgspec.structs import astuple

from aggregator.records import (
    DAY_S,
    HOUR_S,
    MS_NS,
    Bbo,
    Candle,
    Funding,
    Levels,
    Liquidation,
    OpenInterest,
    OptionSummary,
    SizeUnit,
    Status,
    Ticker,
    Trade,
)
from aggregator.wire import ms, nonzero, optional

INTERVALS = {"1h": "60", "2h": "120", "4h": "240", "6h": "360", "12h": "720", "1d": "D", "1w": "W", "1M": "M"}
SPELLED = {wire: interval for interval, wire in INTERVALS.items()}  # the others are minutes
PRODUCTION = 1


class TradeRow(Struct, gc=False):
    s: str
    S: Literal["Buy", "Sell"]  # the taker's
    v: str
    p: str
    i: str
    T: int  # when it was matched
    BT: bool = False

    def record(self, unit: SizeUnit, sent: int) -> Trade:
        return Trade(
            raw_symbol=self.s,
            id=self.i,
            price=self.p,
            size=self.v,
            side="buy" if self.S == "Buy" else "sell",
            size_unit=unit,
            kind="block" if self.BT else "trade",
            ts_event=self.T * MS_NS,
            ts_sent=sent,
        )


class Trades(Struct, gc=False):
    ts: int
    data: list[TradeRow]


class BookRow(Struct, gc=False):
    s: str
    b: Levels
    a: Levels
    u: int  # grows by one; 1 after a restart of the exchange, with a whole book


class Books(Struct, gc=False):
    type: Literal["snapshot", "delta"]
    ts: int
    data: BookRow
    cts: int | None = None  # when the matching engine made it


class TickerRow(Struct, gc=False):
    """A ticker. Futures leave out what has not changed; spot and options send all they have each time."""

    symbol: str
    lastPrice: str | None = None
    prevPrice24h: str | None = None
    highPrice24h: str | None = None
    lowPrice24h: str | None = None
    volume24h: str | None = None
    turnover24h: str | None = None
    markPrice: str | None = None
    indexPrice: str | None = None
    openInterest: str | None = None  # both sides of each contract
    openInterestValue: str | None = None
    fundingRate: str | None = None
    nextFundingTime: str | None = None
    fundingIntervalHour: str | None = None
    markPriceIv: str | None = None  # options only, as all that follow
    bidIv: str | None = None
    askIv: str | None = None
    bidPrice: str | None = None
    bidSize: str | None = None
    askPrice: str | None = None
    askSize: str | None = None
    delta: str | None = None
    gamma: str | None = None
    vega: str | None = None
    theta: str | None = None
    underlyingPrice: str | None = None

    def has_statistics(self) -> bool:
        of_trades = self.lastPrice, self.prevPrice24h, self.highPrice24h, self.lowPrice24h
        return of_trades != (None, None, None, None) or self.volume24h is not None or self.turnover24h is not None

    def has_funding(self) -> bool:
        return (self.fundingRate, self.nextFundingTime, self.fundingIntervalHour) != (None, None, None)

    def filled(self, before: "TickerRow") -> "TickerRow":
        """With what was said before and has not changed."""
        pairs = zip(astuple(self), astuple(before), strict=True)
        return TickerRow(*[old if new is None else new for new, old in pairs])

    def ticker(self, unit: SizeUnit, sent: int) -> Ticker:
        base, quote = (self.turnover24h, self.volume24h) if unit == "quote" else (self.volume24h, self.turnover24h)
        return Ticker(
            raw_symbol=self.symbol,
            last=nonzero(self.lastPrice),
            open=nonzero(self.prevPrice24h),
            high=nonzero(self.highPrice24h),
            low=nonzero(self.lowPrice24h),
            base_volume=optional(base),
            quote_volume=None if self.markPriceIv else optional(quote),  # an option's is worth of the underlying
            window_s=DAY_S,
            ts_sent=sent,
        )

    def funding(self, sent: int) -> Funding:
        return Funding(
            raw_symbol=self.symbol,
            rate=self.fundingRate or "",
            interval_s=int(self.fundingIntervalHour) * HOUR_S if self.fundingIntervalHour else None,
            ts_next=ms(self.nextFundingTime) if self.nextFundingTime else None,
            ts_sent=sent,
        )

    def interest(self, unit: SizeUnit, sent: int) -> OpenInterest:
        """The open interest of one moment: a value that came earlier belongs to another price."""
        size, value = self.openInterest or "", optional(self.openInterestValue)
        is_inverse = unit == "quote"
        return OpenInterest(
            raw_symbol=self.symbol,
            size=size,
            size_unit=unit,
            base_size=value if is_inverse else size,
            quote_value=size if is_inverse else value,
            ts_sent=sent,
        )

    def best(self, sent: int) -> Bbo:
        bid, bid_size = standing(self.bidPrice, self.bidSize)
        ask, ask_size = standing(self.askPrice, self.askSize)
        return Bbo(
            raw_symbol=self.symbol, bid_price=bid, bid_size=bid_size, ask_price=ask, ask_size=ask_size, ts_sent=sent
        )

    def option(self, sent: int) -> OptionSummary:
        bid, bid_size = standing(self.bidPrice, self.bidSize)
        ask, ask_size = standing(self.askPrice, self.askSize)
        return OptionSummary(
            raw_symbol=self.symbol,
            mark_price=optional(self.markPrice),
            mark_iv=optional(self.markPriceIv),
            bid_iv=bid and optional(self.bidIv),
            ask_iv=ask and optional(self.askIv),
            bid_price=bid,
            bid_size=bid_size,
            ask_price=ask,
            ask_size=ask_size,
            delta=optional(self.delta),
            gamma=optional(self.gamma),
            vega=optional(self.vega),
            theta=optional(self.theta),
            underlying_price=optional(self.underlyingPrice),
            open_interest=optional(self.openInterest),
            ts_sent=sent,
        )


class Tickers(Struct, gc=False):
    type: Literal["snapshot", "delta"]
    ts: int
    data: TickerRow


class BarRow(Struct, gc=False):
    start: int
    end: int  # the last millisecond within
    interval: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str
    confirm: bool
    timestamp: int | None = None  # when the last trade in it happened

    def record(self, raw_symbol: str, unit: SizeUnit, sent: int) -> Candle:
        base, quote = (self.turnover, self.volume) if unit == "quote" else (self.volume, self.turnover)
        return Candle(
            raw_symbol=raw_symbol,
            interval=SPELLED.get(self.interval, f"{self.interval}m"),
            ts_open=ms(self.start),
            ts_close=ms(self.end + 1),
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            base_volume=base,
            quote_volume=quote,
            closed=self.confirm,
            ts_event=None if self.timestamp is None else ms(self.timestamp),
            ts_sent=sent,
        )


class Bars(Struct, gc=False):
    ts: int
    data: list[BarRow]


class ForcedRow(Struct, gc=False):
    s: str
    S: Literal["Buy", "Sell"]  # the position's: "Buy" says that a long was liquidated, by an order that sells
    v: str
    p: str  # the bankruptcy price
    T: int

    def record(self, unit: SizeUnit, sent: int) -> Liquidation:
        return Liquidation(
            raw_symbol=self.s,
            side="sell" if self.S == "Buy" else "buy",
            position="long" if self.S == "Buy" else "short",
            price=self.p,
            price_kind="bankruptcy",
            size=self.v,
            size_unit=unit,
            ts_event=ms(self.T),
            ts_sent=sent,
        )


class Forced(Struct, gc=False):
    ts: int
    data: list[ForcedRow]


class MaintenanceRow(Struct):
    title: str
    state: str
    begin: str = ""
    end: str = ""
    env: int = PRODUCTION

    def record(self, sent: int) -> Status:
        is_on = self.state == "ongoing"
        return Status(state="maintenance" if is_on else "trading", reason=f"{self.state}: {self.title}", ts_sent=sent)


class Maintenance(Struct):
    ts: int
    data: list[MaintenanceRow]


def standing(price: str | None, size: str | None) -> tuple[str | None, str | None]:
    """A side's price and size; zeros say that nobody stands there."""
    is_empty = not price or not size or not size.lstrip("0.")
    return (None, None) if is_empty else (price, size)
