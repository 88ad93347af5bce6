"""Rows of BitMEX's table of instruments: statistics, prices, funding, open interest and states.

https://www.bitmex.com/app/wsAPI, https://www.bitmex.com/api/explorer/#!/Instrument
A row holds all at first, then what has changed. An index (`.BXBT`) is a row of its own, whose last price it is.
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.records import (
    DAY_S,
    SECOND_NS,
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
from connectors.archive.bitmex.wires import DAY_ZERO

STATES: dict[str, MarketState] = {"Open": "trading", "Closed": "halt", "Settled": "delisted", "Unlisted": "delisted"}


class InstrumentRow(Struct, gc=False):
    symbol: str
    timestamp: str | None = None
    state: str | None = None
    lastPrice: Text = None
    prevPrice24h: Text = None
    highPrice: Text = None
    lowPrice: Text = None
    vwap: Text = None
    volume24h: Text = None  # contracts
    homeNotional24h: Text = None  # the base asset
    foreignNotional24h: Text = None  # the quote asset
    markPrice: Text = None
    indicativeSettlePrice: Text = None  # the index
    openInterest: Text = None  # contracts
    fundingRate: Text = None
    indicativeFundingRate: Text = None
    fundingTimestamp: str | None = None  # when it is exchanged next
    fundingInterval: str | None = None  # a time of the first of January 2000, of which the time of day counts

    def filled(self, before: "InstrumentRow | None") -> "InstrumentRow":
        """This row, with what was said before of whatever it leaves out."""
        for name in self.__struct_fields__ if before is not None else ():
            if getattr(self, name) is None:
                setattr(self, name, getattr(before, name))
        return self

    def has_statistics(self) -> bool:
        return (self.lastPrice, self.volume24h, self.vwap) != (None, None, None)

    def ticker(self, time: int | None) -> Ticker:
        return Ticker(
            raw_symbol=self.symbol,
            last=nonzero(self.lastPrice),
            open=nonzero(self.prevPrice24h),
            high=nonzero(self.highPrice),
            low=nonzero(self.lowPrice),
            vwap=nonzero(self.vwap),
            base_volume=optional(self.homeNotional24h),
            quote_volume=optional(self.foreignNotional24h),
            contract_volume=optional(self.volume24h),
            window_s=DAY_S,
            ts_event=time,
        )

    def figures(self, time: int | None) -> Iterable[Record]:
        """Prices, open interest and the state that this row itself tells."""
        if mark := nonzero(self.markPrice):
            yield MarkPrice(raw_symbol=self.symbol, price=mark, ts_event=time)
        if index := nonzero(self.indicativeSettlePrice):
            yield IndexPrice(raw_symbol=self.symbol, price=index, ts_event=time)
        if size := optional(self.openInterest):
            yield OpenInterest(raw_symbol=self.symbol, size=size, size_unit="contract", ts_event=time)
        if self.state is not None:
            state = STATES.get(self.state, "unknown")
            reason = None if state == "trading" else self.state
            yield Status(raw_symbol=self.symbol, state=state, reason=reason, ts_event=time)

    def fundings(self, current: Text, predicted: Text, time: int | None) -> Iterable[Funding]:
        """The rates that are news, with what else is known of them."""
        due = from_iso(self.fundingTimestamp) if self.fundingTimestamp else None
        length = (from_iso(self.fundingInterval) - DAY_ZERO) // SECOND_NS if self.fundingInterval else None
        if rate := optional(current):
            yield Funding(raw_symbol=self.symbol, rate=rate, interval_s=length, ts_next=due, ts_event=time)
        if rate := optional(predicted):
            yield Funding(raw_symbol=self.symbol, rate=rate, kind="predicted", interval_s=length, ts_event=time)


def index_of(row: InstrumentRow, time: int | None) -> list[Record]:
    price = nonzero(row.lastPrice)
    return [] if price is None else [IndexPrice(raw_symbol=row.symbol, price=price, index=row.symbol, ts_event=time)]


def read_instrument(row: InstrumentRow, known: dict[str, InstrumentRow], *, is_whole: bool) -> list[Record]:
    """The records that a row has news for; statistics are filled up with what was said before."""
    time = None if row.timestamp is None else from_iso(row.timestamp)
    if row.symbol.startswith("."):
        return index_of(row, time)
    has_statistics, told = row.has_statistics(), list(row.figures(time))
    rates = row.fundingRate, row.indicativeFundingRate
    whole = known[row.symbol] = row if is_whole else row.filled(known.get(row.symbol))
    told += whole.fundings(*rates, time)
    return [whole.ticker(time), *told] if has_statistics else told
