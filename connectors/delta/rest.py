"""The figures of options on Delta Exchange, which have names by REST alone.

https://docs.delta.exchange/#get-tickers-for-products
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.records import OptionSummary, Record
from aggregator.wire import Text, as_written, best, nonzero, optional, us


class Greeks(Struct):
    delta: Text = None
    gamma: Text = None
    rho: Text = None
    theta: Text = None
    vega: Text = None


class Quotes(Struct):
    ask_iv: Text = None
    ask_size: Text = None
    best_ask: Text = None
    best_bid: Text = None
    bid_iv: Text = None
    bid_size: Text = None
    mark_iv: Text = None


class OptionRow(Struct):
    symbol: str
    contract_type: str = ""
    timestamp: int | None = None
    greeks: Greeks | None = None
    quotes: Quotes | None = None
    mark_price: Text = None
    oi_contracts: Text = None
    spot_price: Text = None

    def summary(self) -> OptionSummary:
        greeks, quotes = self.greeks or Greeks(), self.quotes or Quotes()
        bid, bid_size = best(quotes.best_bid, quotes.bid_size)
        ask, ask_size = best(quotes.best_ask, quotes.ask_size)
        return OptionSummary(
            raw_symbol=self.symbol,
            mark_price=nonzero(self.mark_price),
            mark_iv=optional(quotes.mark_iv),
            bid_iv=optional(quotes.bid_iv),
            ask_iv=optional(quotes.ask_iv),
            bid_price=bid,
            bid_size=bid_size,
            ask_price=ask,
            ask_size=ask_size,
            delta=optional(greeks.delta),
            gamma=optional(greeks.gamma),
            vega=optional(greeks.vega),
            theta=optional(greeks.theta),
            rho=optional(greeks.rho),
            underlying_price=nonzero(self.spot_price),
            open_interest=optional(self.oi_contracts),
            ts_event=None if self.timestamp is None else us(self.timestamp),
        )


class Options(Struct):
    result: list[OptionRow]


decode_options = Decoder(Options, float_hook=as_written).decode


def read_options(_: str, body: bytes) -> Iterable[Record]:
    return [row.summary() for row in decode_options(body).result]
