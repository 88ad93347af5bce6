"""The messages of ApeX Omni in its own spelling, and the records that they make.

https://api-docs.pro.apex.exchange/#websocket-v3-for-omni-websocket-endpoint
Sizes are of the base asset. Since 2026 a frame says in microseconds when it was sent; older samples say milliseconds.
The bids of a whole book come worst first, its asks best first (live frames of September 2026).
"""

from typing import Literal

from msgspec import Struct
from msgspec.structs import astuple

from aggregator.records import DAY_S, HOUR_S, MS_NS, Candle, Funding, Ticker, Trade
from aggregator.wire import Text, from_iso, nonzero, optional, text

INTERVALS = {"1h": "60", "2h": "120", "4h": "240", "6h": "360", "12h": "720", "1d": "D", "1w": "W", "1M": "M"}
SPELLED = {wire: interval for interval, wire in INTERVALS.items()}  # the others are minutes
MICROSECONDS = 10**14  # no time in milliseconds is that great before the year 5138


class Frame(Struct, kw_only=True, gc=False):
    """The head of data: whole, or what has changed."""

    topic: str
    type: Literal["snapshot", "delta"]
    ts: int | None = None

    @property
    def sent(self) -> int | None:
        if self.ts is None:
            return None
        return self.ts * (1000 if self.ts >= MICROSECONDS else MS_NS)


class TradeRow(Struct, gc=False):
    T: int  # when it was matched
    s: str
    S: Literal["Buy", "Sell"]  # the taker's
    v: str
    p: str
    i: str
    BT: bool = False

    def record(self, sent: int | None) -> Trade:
        return Trade(
            raw_symbol=self.s,
            id=self.i,
            price=text(self.p),
            size=text(self.v),
            side="buy" if self.S == "Buy" else "sell",
            kind="block" if self.BT else "trade",
            ts_event=self.T * MS_NS,
            ts_sent=sent,
        )


class Trades(Frame, kw_only=True, gc=False):
    data: list[TradeRow]


class BookRow(Struct, gc=False):
    s: str
    u: int  # grows by one
    b: list[list[Text]] = []
    a: list[list[Text]] = []


class Books(Frame, kw_only=True, gc=False):
    data: BookRow


class FiguresRow(Struct, gc=False):
    """The figures of a market; what has not changed is left out of a delta."""

    symbol: str
    lastPrice: str | None = None
    highPrice24h: str | None = None
    lowPrice24h: str | None = None
    volume24h: str | None = None
    turnover24h: str | None = None
    tradeCount: Text = None  # empty where it is not known (live, September 2026)
    fundingRate: str | None = None
    predictedFundingRate: str | None = None
    nextFundingTime: str | None = None
    indexPrice: str | None = None
    markPrice: str | None = None
    openInterest: str | None = None

    def filled(self, before: "FiguresRow") -> "FiguresRow":
        """With what was said before and has not changed."""
        pairs = zip(astuple(self), astuple(before), strict=True)
        return FiguresRow(*[old if new is None else new for new, old in pairs])

    def has_statistics(self) -> bool:
        of_trades = self.lastPrice, self.highPrice24h, self.lowPrice24h, self.volume24h, self.turnover24h
        return any(figure is not None for figure in of_trades)

    def ticker(self, sent: int | None) -> Ticker:
        count = optional(self.tradeCount)
        return Ticker(
            raw_symbol=self.symbol,
            last=nonzero(self.lastPrice),
            high=nonzero(self.highPrice24h),
            low=nonzero(self.lowPrice24h),
            base_volume=optional(self.volume24h),
            quote_volume=optional(self.turnover24h),
            trades=None if count is None else int(count),
            window_s=DAY_S,
            ts_sent=sent,
        )

    def current(self, sent: int | None) -> Funding:
        """The rate of the running hour. The time is of today alone in an old sample (`10:00:00`): it is left out."""
        due = self.nextFundingTime or ""
        return Funding(
            raw_symbol=self.symbol,
            rate=text(self.fundingRate),
            interval_s=HOUR_S,
            ts_next=from_iso(due) if "T" in due else None,
            ts_sent=sent,
        )

    def predicted(self, sent: int | None) -> Funding:
        rate = text(self.predictedFundingRate)
        return Funding(raw_symbol=self.symbol, rate=rate, kind="predicted", interval_s=HOUR_S, ts_sent=sent)


class ShortRow(Struct, gc=False):
    """The figures of one market among all, for which nobody asks here; `op`, an oracle's or a first price, is not told.

    https://github.com/thrasher-corp/gocryptotrader/blob/master/exchanges/apexpro (what its names stand for)
    """

    s: str
    p: Text = None
    h: Text = None
    l: Text = None  # noqa: E741 - the wire's name
    v: Text = None
    to: Text = None
    tc: Text = None
    fr: Text = None
    xp: Text = None
    mp: Text = None
    o: Text = None

    def full(self) -> FiguresRow:
        return FiguresRow(
            symbol=self.s,
            lastPrice=optional(self.p),
            highPrice24h=optional(self.h),
            lowPrice24h=optional(self.l),
            volume24h=optional(self.v),
            turnover24h=optional(self.to),
            tradeCount=optional(self.tc),
            fundingRate=optional(self.fr),
            indexPrice=optional(self.xp),
            markPrice=optional(self.mp),
            openInterest=optional(self.o),
        )


class Figures(Frame, kw_only=True, gc=False):
    data: FiguresRow | list[ShortRow]  # a list where the topic is `instrumentInfo.all`


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

    def record(self, raw_symbol: str, sent: int | None) -> Candle:
        return Candle(
            raw_symbol=raw_symbol,
            interval=SPELLED.get(self.interval, f"{self.interval}m"),
            ts_open=self.start * MS_NS,
            ts_close=(self.end + 1) * MS_NS,
            open=text(self.open),
            high=text(self.high),
            low=text(self.low),
            close=text(self.close),
            base_volume=optional(self.volume),
            quote_volume=optional(self.turnover),
            closed=self.confirm,
            ts_sent=sent,
        )


class Bars(Frame, kw_only=True, gc=False):
    data: list[BarRow]
