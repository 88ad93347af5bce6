"""The figures of a market in version 3 of dYdX: all of them at first, then those that change.

https://docs.dydx.exchange/#markets-channel
The oracle's price is what positions were valued by; the index is another, of spot markets. A rate is of one hour.
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.records import (
    DAY_S,
    HOUR_S,
    Funding,
    IndexPrice,
    MarketState,
    MarkPrice,
    OpenInterest,
    Record,
    Status,
    Ticker,
)
from aggregator.wire import Text, from_iso, nonzero, optional

STATES: dict[str, MarketState] = {
    "ONLINE": "trading",
    "OFFLINE": "delisted",
    "POST_ONLY": "post_only",
    "CANCEL_ONLY": "cancel_only",
    "INITIALIZING": "pre_open",
}


class FiguresWire(Struct, gc=False):
    status: str = ""
    indexPrice: Text = None
    oraclePrice: Text = None
    priceChange24H: Text = None
    volume24H: Text = None  # in US dollars
    trades24H: Text = None
    openInterest: Text = None  # in the base asset
    nextFundingRate: Text = None  # the rate of the running hour
    nextFundingAt: str | None = None

    def records(self, name: str) -> Iterable[Record]:
        trades = optional(self.trades24H)
        if self.volume24H is not None or trades is not None:
            yield Ticker(
                raw_symbol=name,
                quote_volume=optional(self.volume24H),
                change=optional(self.priceChange24H),
                trades=None if trades is None else int(trades),
                window_s=DAY_S,
            )
        if (rate := optional(self.nextFundingRate)) is not None:
            due = from_iso(self.nextFundingAt) if self.nextFundingAt else None
            yield Funding(raw_symbol=name, rate=rate, interval_s=HOUR_S, ts_next=due)
        if (size := optional(self.openInterest)) is not None:
            yield OpenInterest(raw_symbol=name, size=size)
        if (mark := nonzero(self.oraclePrice)) is not None:
            yield MarkPrice(raw_symbol=name, price=mark)
        if (index := nonzero(self.indexPrice)) is not None:
            yield IndexPrice(raw_symbol=name, price=index)
        if self.status:
            state = STATES.get(self.status, "unknown")
            yield Status(raw_symbol=name, state=state, reason=None if state == "trading" else self.status)


class Markets(Struct, gc=False):
    markets: dict[str, FiguresWire]
