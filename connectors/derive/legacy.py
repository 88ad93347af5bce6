"""The larger ticker of Derive, which the second version of its protocol had beside today's: the same figures by name.

https://docs.derive.xyz/api-reference/channels
"""

from msgspec import Struct

from aggregator.wire import Text
from connectors.derive.wires import FiguresWire, PricingWire, StatsWire, TickerWire


class OlderStats(Struct, gc=False):
    contract_volume: Text = None
    num_trades: Text = None
    open_interest: Text = None
    high: Text = None
    low: Text = None


class OlderPricing(Struct, gc=False):
    delta: Text = None
    theta: Text = None
    gamma: Text = None
    vega: Text = None
    rho: Text = None
    iv: Text = None
    forward_price: Text = None
    bid_iv: Text = None
    ask_iv: Text = None


class PerpetualDetails(Struct, gc=False):
    funding_rate: Text = None  # the rate of the running hour


class OlderFigures(Struct, gc=False):
    timestamp: int
    best_bid_price: Text = None
    best_bid_amount: Text = None
    best_ask_price: Text = None
    best_ask_amount: Text = None
    mark_price: Text = None
    index_price: Text = None
    perp_details: PerpetualDetails | None = None
    option_pricing: OlderPricing | None = None
    stats: OlderStats | None = None

    def today(self, sent: int) -> TickerWire:
        """The same as today's ticker tells it."""
        stats, pricing = self.stats or OlderStats(), self.option_pricing
        told = FiguresWire(
            t=self.timestamp,
            bid=self.best_bid_price,
            bid_size=self.best_bid_amount,
            ask=self.best_ask_price,
            ask_size=self.best_ask_amount,
            f=None if self.perp_details is None else self.perp_details.funding_rate,
            mark=self.mark_price,
            index=self.index_price,
            stats=StatsWire(
                c=stats.contract_volume,
                n=None if stats.num_trades is None else int(stats.num_trades),
                oi=stats.open_interest,
                h=stats.high,
                low=stats.low,
            ),
            option_pricing=None
            if pricing is None
            else PricingWire(
                d=pricing.delta,
                t=pricing.theta,
                g=pricing.gamma,
                v=pricing.vega,
                r=pricing.rho,
                i=pricing.iv,
                f=pricing.forward_price,
                bi=pricing.bid_iv,
                ai=pricing.ask_iv,
            ),
        )
        return TickerWire(timestamp=sent, instrument_ticker=told)


class OlderTicker(Struct, gc=False):
    timestamp: int
    instrument_ticker: OlderFigures

    def today(self) -> TickerWire:
        return self.instrument_ticker.today(self.timestamp)
