"""The messages that only Gate's socket of options has, and the records that they make.

https://www.gate.com/docs/developers/options/ws/en/
"""

from collections.abc import Sequence

from msgspec import Struct

from aggregator.exchange import Event
from aggregator.records import MarkPrice, OptionSummary
from aggregator.wire import Text, is_zero, ms, optional, text
from connectors.families.gate.contract_wires import BookFrame, DeltaWire, TradeWire
from connectors.families.gate.spot_wires import BarWire, BestWire, One, Several


class OptionBarWire(BarWire, gc=False):
    """Here `a` is of no known meaning."""

    def records(self, sent: int | None) -> Sequence[Event]:
        return (self.candle(sent),)


class SummaryWire(Struct, gc=False):
    name: str
    mark_price: Text = None
    index_price: Text = None
    position_size: Text = None
    bid1_price: Text = None
    bid1_size: Text = None
    ask1_price: Text = None
    ask1_size: Text = None
    vega: Text = None
    theta: Text = None
    rho: Text = None
    gamma: Text = None
    delta: Text = None
    mark_iv: Text = None
    bid_iv: Text = None
    ask_iv: Text = None

    def records(self, sent: int | None) -> Sequence[Event]:
        has_bid, has_ask = present(self.bid1_price), present(self.ask1_price)
        summary = OptionSummary(
            raw_symbol=self.name,
            mark_price=optional(self.mark_price),
            mark_iv=optional(self.mark_iv),
            bid_iv=optional(self.bid_iv),
            ask_iv=optional(self.ask_iv),
            bid_price=optional(self.bid1_price) if has_bid else None,
            bid_size=optional(self.bid1_size) if has_bid else None,
            ask_price=optional(self.ask1_price) if has_ask else None,
            ask_size=text(self.ask1_size).removeprefix("-") if has_ask else None,
            delta=optional(self.delta),
            gamma=optional(self.gamma),
            vega=optional(self.vega),
            theta=optional(self.theta),
            rho=optional(self.rho),
            underlying_price=optional(self.index_price),
            underlying=self.name.partition("-")[0],
            open_interest=optional(self.position_size),
            ts_sent=sent,
        )
        return (summary,)


class MarkWire(Struct, gc=False):
    contract: str
    price: Text
    time_ms: Text = None

    def records(self, sent: int | None) -> Sequence[Event]:
        at = None if self.time_ms is None else ms(self.time_ms)
        return (MarkPrice(raw_symbol=self.contract, price=text(self.price), ts_event=at, ts_sent=sent),)


def present(price: Text) -> bool:
    """Tell whether a side has a price: an empty one has none, or 0."""
    return price is not None and not is_zero(str(price))


class TradesFrame(Several[TradeWire], tag_field="channel", tag="options.trades", kw_only=True, gc=False):
    pass


class UnderlyingTradesFrame(Several[TradeWire], tag_field="channel", tag="options.ul_trades", kw_only=True, gc=False):
    """Those of all options of an underlying; not asked for."""


class MarkFrame(Several[MarkWire], tag_field="channel", tag="options.mark_prices", kw_only=True, gc=False):
    """Not asked for, as the summary says it too."""


class BestFrame(One[BestWire], tag_field="channel", tag="options.book_ticker", kw_only=True, gc=False):
    pass


class DeltaFrame(One[DeltaWire], tag_field="channel", tag="options.order_book_update", kw_only=True, gc=False):
    pass


class WholeFrame(BookFrame, tag_field="channel", tag="options.order_book", kw_only=True, gc=False):
    pass


class SummaryFrame(Several[SummaryWire], tag_field="channel", tag="options.contract_tickers", kw_only=True, gc=False):
    pass


class BarFrame(
    Several[OptionBarWire], tag_field="channel", tag="options.contract_candlesticks", kw_only=True, gc=False
):
    pass


OptionFrame = (
    TradesFrame | UnderlyingTradesFrame | BestFrame | DeltaFrame | WholeFrame | SummaryFrame | MarkFrame | BarFrame
)
