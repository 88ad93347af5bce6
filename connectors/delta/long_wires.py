"""The long names of Delta Exchange's figures, books by changes, and states, as captures have them.

https://github.com/delta-exchange/slate-global (source/includes/_websocket_api.md, as it stood until January 2026)
Times are microseconds. Rates of funding are in per cent.
"""

from collections.abc import Iterable

from msgspec import Struct, field

from aggregator.exchange import Event
from aggregator.records import (
    DAY_S,
    HOUR_S,
    Funding,
    IndexPrice,
    MarkPrice,
    OpenInterest,
    OptionSummary,
    Status,
    Ticker,
)
from aggregator.wire import Text, bbo, best, fraction, nonzero, optional, us
from connectors.delta.listing import DISRUPTED, OPERATIONAL
from connectors.delta.rest import OptionRow
from connectors.delta.wires import MARK, unit_of


class BestWire(Struct, gc=False):
    symbol: str
    best_bid: Text = None
    bid_qty: Text = None
    best_ask: Text = None
    ask_qty: Text = None
    last_updated_at: int | None = None
    timestamp: int | None = None

    def events(self) -> Iterable[Event]:
        changed = None if self.last_updated_at is None else us(self.last_updated_at)
        sent = None if self.timestamp is None else us(self.timestamp)
        told = self.best_bid, self.bid_qty, self.best_ask, self.ask_qty
        yield bbo(self.symbol, *told, ts_event=changed, ts_sent=sent)


class ShorterBestWire(Struct, gc=False):
    """The best prices as a list, which the documentation had until April 2026.

    https://github.com/delta-exchange/slate-global (l1ob)
    """

    s: str
    d: tuple[Text, Text, Text, Text]  # ask, its size, bid, its size; null where nobody offers
    t: int  # when it was sent, in microseconds
    changed: int | None = field(name="T", default=None)

    def events(self) -> Iterable[Event]:
        ask, ask_size, bid, bid_size = self.d
        changed = None if self.changed is None else us(self.changed)
        yield bbo(self.s, bid, bid_size, ask, ask_size, ts_event=changed, ts_sent=us(self.t))


class DayWire(OptionRow, gc=False):
    """The last 24 hours, and the figures of an option. What a volume counts is told of contracts alone."""

    open: Text = None
    high: Text = None
    low: Text = None
    close: Text = None
    size: Text = None

    def events(self) -> Iterable[Event]:
        is_spot, size = unit_of(self.symbol) == "base", optional(self.size)
        at = None if self.timestamp is None else us(self.timestamp)
        yield Ticker(
            raw_symbol=self.symbol,
            last=nonzero(self.close),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            contract_volume=None if is_spot else size,
            window_s=DAY_S,
            ts_sent=at,
        )
        if not is_spot and (interest := optional(self.oi_contracts)) is not None:
            yield OpenInterest(raw_symbol=self.symbol, size=interest, size_unit="contract", ts_sent=at)
        if self.greeks is not None:
            yield self.summary()


class MarkWire(Struct, gc=False):
    """The mark price, and of an option more; its theta is not told."""

    symbol: str
    price: Text
    timestamp: int | None = None
    implied_volatility: Text = None
    bid_iv: Text = None
    ask_iv: Text = None
    best_bid: Text = None
    bid_qty: Text = None
    best_ask: Text = None
    ask_qty: Text = None
    delta: Text = None
    gamma: Text = None
    vega: Text = None
    rho: Text = None

    def events(self) -> Iterable[Event]:
        name, price = self.symbol.removeprefix(MARK), nonzero(self.price)
        at = None if self.timestamp is None else us(self.timestamp)
        if price is not None:
            yield MarkPrice(raw_symbol=name, price=price, ts_event=at)
        if self.delta is None:
            return
        bid, bid_size = best(self.best_bid, self.bid_qty)
        ask, ask_size = best(self.best_ask, self.ask_qty)
        yield OptionSummary(
            raw_symbol=name,
            mark_price=price,
            mark_iv=optional(self.implied_volatility),
            bid_iv=optional(self.bid_iv),
            ask_iv=optional(self.ask_iv),
            bid_price=bid,
            bid_size=bid_size,
            ask_price=ask,
            ask_size=ask_size,
            delta=optional(self.delta),
            gamma=optional(self.gamma),
            vega=optional(self.vega),
            rho=optional(self.rho),
            ts_event=at,
        )


class IndexWire(Struct, gc=False):
    symbol: str = ""
    price: Text = None
    s: str = ""  # the two of `v2/spot_price`
    p: Text = None

    def events(self) -> Iterable[Event]:
        name, price = self.symbol or self.s, nonzero(self.p if self.price is None else self.price)
        if price is not None:
            yield IndexPrice(raw_symbol=name, index=name, price=price)


class FundingWire(Struct, gc=False):
    symbol: str
    funding_rate: Text = None
    funding_rate_8h: Text = None  # some of 2020 have these alone
    predicted_funding_rate: Text = None
    predicted_funding_rate_8h: Text = None
    next_funding_realization: int | None = None
    funding_interval: int | None = None  # seconds; none before 2026
    timestamp: int | None = None

    def events(self) -> Iterable[Event]:
        due = us(self.next_funding_realization) if self.next_funding_realization else None
        at = None if self.timestamp is None else us(self.timestamp)
        length = self.funding_interval
        current = of_interval(self.funding_rate, length, self.funding_rate_8h)
        if current is not None:
            rate, interval = current
            yield Funding(raw_symbol=self.symbol, rate=rate, interval_s=interval, ts_next=due, ts_event=at)
        predicted = of_interval(self.predicted_funding_rate, length, self.predicted_funding_rate_8h)
        if predicted is not None:
            rate, interval = predicted
            yield Funding(raw_symbol=self.symbol, rate=rate, interval_s=interval, kind="predicted", ts_event=at)


def of_interval(rate: Text, length: int | None, rate_8h: Text) -> tuple[str, int | None] | None:
    """The rate of a market's own interval and its length, if it is said; else the rate of eight hours."""
    if (found := fraction(rate)) is not None:
        return found, length
    return None if (found := fraction(rate_8h)) is None else (found, 8 * HOUR_S)


class Product(Struct):
    symbol: str
    trading_status: str = ""


class ProductWire(Struct):
    """A market is disrupted, is opened by an auction, or goes on."""

    product: Product
    event: str = ""
    timestamp: int | None = None

    def events(self) -> Iterable[Event]:
        status = self.product.trading_status
        is_open = status == OPERATIONAL
        yield Status(
            raw_symbol=self.product.symbol,
            state="trading" if is_open else DISRUPTED.get(status, "unknown"),
            reason=self.event or status or None,
            ts_event=None if self.timestamp is None else us(self.timestamp),
        )
