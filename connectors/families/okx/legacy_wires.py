"""The rows of version 3 of the OKX protocol, which name their instrument, and the records that they make.

https://github.com/okcoin-okex/API-docs-OKEx.com, and https://www.okcoin.com/docs/en/
Times are ISO text. In 2019 some tables had JSON numbers where later ones have text.
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.records import (
    DAY_S,
    Candle,
    Funding,
    IndexPrice,
    MarkPrice,
    OpenInterest,
    OptionSummary,
    Record,
    Side,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, candle, from_iso, nonzero, optional, text
from connectors.families.okx.wires import unit

INTERVALS = {
    "60": "1m",
    "180": "3m",
    "300": "5m",
    "900": "15m",
    "1800": "30m",
    "3600": "1h",
    "7200": "2h",
    "14400": "4h",
    "21600": "6h",
    "43200": "12h",
    "86400": "1d",
    "604800": "1w",
}


class TradeRow(Struct, gc=False):
    instrument_id: str
    price: Text
    side: Side  # the taker's
    timestamp: str
    trade_id: Text = None
    size: Text = None
    qty: Text = None  # dated contracts have it, and options

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.instrument_id,
            id=optional(self.trade_id),
            price=text(self.price),
            size=text(self.size if self.qty is None else self.qty),
            side=self.side,
            size_unit=unit(self.instrument_id),
            ts_event=from_iso(self.timestamp),
        )


class BookRow(Struct, gc=False):
    instrument_id: str
    asks: list[list[Text]]  # price, size, orders that were liquidations, orders
    bids: list[list[Text]]
    timestamp: str
    checksum: int | None = None


class TickerRow(Struct, gc=False):
    instrument_id: str
    timestamp: str
    last: Text = None
    open_24h: Text = None
    high_24h: Text = None
    low_24h: Text = None
    base_volume_24h: Text = None  # spot has it, and what follows
    quote_volume_24h: Text = None
    volume_24h: Text = None  # contracts
    volume_token_24h: Text = None  # contracts have it: in the base asset
    open_interest: Text = None
    best_bid: Text = None
    best_ask: Text = None
    best_bid_size: Text = None  # since the end of 2019
    best_ask_size: Text = None

    def records(self) -> Iterable[Record]:
        name, time = self.instrument_id, from_iso(self.timestamp)
        yield Ticker(
            raw_symbol=name,
            last=nonzero(self.last),
            open=nonzero(self.open_24h),
            high=nonzero(self.high_24h),
            low=nonzero(self.low_24h),
            base_volume=optional(self.base_volume_24h) or optional(self.volume_token_24h),
            quote_volume=optional(self.quote_volume_24h),
            contract_volume=optional(self.volume_24h),
            window_s=DAY_S,
            ts_event=time,
        )
        yield bbo(name, self.best_bid, self.best_bid_size, self.best_ask, self.best_ask_size, ts_event=time)
        if size := optional(self.open_interest):
            yield OpenInterest(raw_symbol=name, size=size, size_unit="contract", ts_event=time)


class BarRow(Struct, gc=False):
    instrument_id: str
    candle: list[Text]  # a time, open, high, low, close, volume, and of contracts that in the base asset

    def record(self, length: str) -> Candle:
        start, first, high, low, last, volume, *rest = self.candle
        is_spot = unit(self.instrument_id) == "base"
        base = volume if is_spot else rest[0] if rest else None
        interval = INTERVALS.get(length, f"{length}s")
        made = candle(self.instrument_id, interval, from_iso(str(start)), (first, high, low, last), base=base)
        made.contract_volume = None if is_spot else text(volume)
        return made


class FundingRow(Struct, gc=False):
    instrument_id: str
    funding_rate: Text
    funding_time: str
    estimated_rate: Text = None  # the rate of the interval after

    def records(self) -> Iterable[Funding]:
        if rate := optional(self.funding_rate):
            yield Funding(raw_symbol=self.instrument_id, rate=rate, ts_next=from_iso(self.funding_time))
        if rate := optional(self.estimated_rate):
            yield Funding(raw_symbol=self.instrument_id, rate=rate, kind="predicted")


class MarkRow(Struct, gc=False):
    instrument_id: str
    mark_price: Text
    timestamp: str

    def records(self) -> Iterable[MarkPrice]:
        if price := nonzero(self.mark_price):
            yield MarkPrice(raw_symbol=self.instrument_id, price=price, ts_event=from_iso(self.timestamp))


class IndexRow(Struct, gc=False):
    instrument_id: str  # the index's, which is also the spot pair's
    last: Text
    timestamp: str

    def records(self) -> Iterable[IndexPrice]:
        name = self.instrument_id
        if price := nonzero(self.last):
            yield IndexPrice(raw_symbol=name, price=price, index=name, ts_event=from_iso(self.timestamp))


class OptionRow(Struct, gc=False):
    instrument_id: str
    timestamp: str
    underlying: str | None = None
    mark_price: Text = None
    mark_vol: Text = None
    bid_vol: Text = None
    ask_vol: Text = None
    best_bid: Text = None
    best_bid_size: Text = None
    best_ask: Text = None
    best_ask_size: Text = None
    delta: Text = None
    gamma: Text = None
    vega: Text = None
    theta: Text = None
    open_interest: Text = None

    def record(self) -> OptionSummary:
        bid, ask = nonzero(self.best_bid), nonzero(self.best_ask)
        return OptionSummary(
            raw_symbol=self.instrument_id,
            mark_price=nonzero(finite(self.mark_price)),
            mark_iv=nonzero(self.mark_vol),
            bid_iv=nonzero(self.bid_vol),
            ask_iv=nonzero(self.ask_vol),
            bid_price=bid,
            bid_size=None if bid is None else optional(self.best_bid_size),
            ask_price=ask,
            ask_size=None if ask is None else optional(self.best_ask_size),
            delta=finite(self.delta),
            gamma=finite(self.gamma),
            vega=finite(self.vega),
            theta=finite(self.theta),
            open_interest=optional(self.open_interest),
            underlying=self.underlying,
            ts_event=from_iso(self.timestamp),
        )


def finite(figure: Text) -> str | None:
    """A figure of an option; one that cannot be computed is told as `∞` or `-∞`."""
    return None if figure in {"∞", "-∞"} else optional(figure)
