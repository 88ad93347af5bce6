"""The messages of Derive in its own spelling, and the records that they make.

https://docs.derive.xyz/api-reference/channels
Amounts are of the base asset, of which a contract is one. Times are milliseconds.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, field

from aggregator.exchange import Event
from aggregator.records import (
    DAY_S,
    HOUR_S,
    MS_NS,
    BookSnapshot,
    Funding,
    IndexPrice,
    MarkPrice,
    OpenInterest,
    OptionSummary,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, best, levels, nonzero, optional, text


class TradeWire(Struct, gc=False):
    trade_id: str
    instrument_name: str
    timestamp: int
    trade_price: Text
    trade_amount: Text
    direction: Literal["buy", "sell"]  # the taker's; of a row with `liquidity_role`, that one's
    liquidity_role: str | None = None
    quote_id: str | None = None
    rfq_id: str | None = None

    def records(self) -> Iterable[Trade]:
        """A trade; its maker's row, which history has besides, says nothing new."""
        if self.liquidity_role != "maker":
            yield Trade(
                raw_symbol=self.instrument_name,
                id=self.trade_id,
                price=text(self.trade_price),
                size=text(self.trade_amount),
                side=self.direction,
                kind="rfq" if self.rfq_id or self.quote_id else "trade",
                ts_event=self.timestamp * MS_NS,
            )


class BookWire(Struct, gc=False):
    instrument_name: str
    timestamp: int
    bids: list[list[Text]]
    asks: list[list[Text]]
    publish_id: int | None = None  # grows by no fixed step

    def record(self, depth: int) -> BookSnapshot:
        return BookSnapshot(
            raw_symbol=self.instrument_name,
            bids=levels(self.bids),
            asks=levels(self.asks),
            depth=depth,
            reason="periodic",
            sequence=self.publish_id,
            ts_event=self.timestamp * MS_NS,
        )


class StatsWire(Struct, gc=False):
    c: Text = None  # the amount that was traded
    v: Text = None  # its worth, of an option that of the underlying
    n: int | None = None
    oi: Text = None
    h: Text = None
    low: Text = field(name="l", default=None)


class PricingWire(Struct, gc=False):
    """The figures of an option."""

    d: Text = None
    t: Text = None
    g: Text = None
    v: Text = None
    r: Text = None
    i: Text = None
    f: Text = None
    bi: Text = None
    ai: Text = None


class FiguresWire(Struct, gc=False):
    t: int
    bid: Text = field(name="b", default=None)
    bid_size: Text = field(name="B", default=None)
    ask: Text = field(name="a", default=None)
    ask_size: Text = field(name="A", default=None)
    f: Text = None  # the rate of the running hour; only a perpetual has it
    mark: Text = field(name="M", default=None)
    index: Text = field(name="I", default=None)
    stats: StatsWire | None = None
    option_pricing: PricingWire | None = None


class TickerWire(Struct, gc=False):
    timestamp: int
    instrument_ticker: FiguresWire

    def records(self, name: str) -> Iterable[Event]:
        said, sent = self.instrument_ticker, self.timestamp * MS_NS
        at, stats = said.t * MS_NS, said.stats or StatsWire()
        yield bbo(name, said.bid, said.bid_size, said.ask, said.ask_size, ts_event=at, ts_sent=sent)
        yield Ticker(
            raw_symbol=name,
            high=nonzero(stats.h),
            low=nonzero(stats.low),
            base_volume=optional(stats.c),
            quote_volume=None if said.option_pricing else optional(stats.v),
            trades=stats.n,
            window_s=DAY_S,
            ts_event=at,
            ts_sent=sent,
        )
        if (rate := optional(said.f)) is not None:
            yield Funding(raw_symbol=name, rate=rate, interval_s=HOUR_S, ts_event=at, ts_sent=sent)
        if (size := optional(stats.oi)) is not None:
            yield OpenInterest(raw_symbol=name, size=size, ts_event=at, ts_sent=sent)
        for kind, price in ((MarkPrice, nonzero(said.mark)), (IndexPrice, nonzero(said.index))):
            if price is not None:
                yield kind(raw_symbol=name, price=price, ts_event=at, ts_sent=sent)
        if said.option_pricing is not None:
            yield option(name, said, said.option_pricing, at, sent)


def option(name: str, said: FiguresWire, pricing: PricingWire, at: int, sent: int) -> OptionSummary:
    bid, bid_size = best(said.bid, said.bid_size)
    ask, ask_size = best(said.ask, said.ask_size)
    return OptionSummary(
        raw_symbol=name,
        mark_price=optional(said.mark),
        mark_iv=optional(pricing.i),
        bid_iv=bid and nonzero(pricing.bi),
        ask_iv=ask and nonzero(pricing.ai),
        bid_price=bid,
        bid_size=bid_size,
        ask_price=ask,
        ask_size=ask_size,
        delta=optional(pricing.d),
        gamma=optional(pricing.g),
        vega=optional(pricing.v),
        theta=optional(pricing.t),
        rho=optional(pricing.r),
        underlying_price=optional(pricing.f),
        open_interest=None if said.stats is None else optional(said.stats.oi),
        ts_event=at,
        ts_sent=sent,
    )
