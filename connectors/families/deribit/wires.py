"""The messages of the Deribit protocol in its own spelling, and the records that they make.

https://docs.deribit.com/subscriptions/market-data/tickerinstrument_nameinterval
Amounts of inverse futures are US dollars, all others are of the base asset. Every volatility is a percentage.
"""

from functools import lru_cache
from typing import Literal

from msgspec import Struct

from aggregator.records import (
    DAY_S,
    HOUR_S,
    MINUTE_NS,
    MS_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    Liquidation,
    MarketState,
    MarkPrice,
    OpenInterest,
    OptionSummary,
    Record,
    Side,
    SizeUnit,
    Ticker,
    Trade,
)
from aggregator.wire import Text, fraction, ms, nonzero, optional, text

RESOLUTIONS = {"1h": "60", "2h": "120", "3h": "180", "6h": "360", "12h": "720", "1d": "1D"}
SPELLED = {wire: interval for interval, wire in RESOLUTIONS.items()}  # the others are minutes
STATES: dict[str, MarketState] = {
    "open": "trading",
    "closed": "halt",
    "settlement": "settling",
    "delivered": "delisted",
    "inactive": "halt",
    "locked": "halt",
    "halted": "halt",
    "archivized": "delisted",
}
OPPOSITE: dict[Side, Side] = {"buy": "sell", "sell": "buy"}
FUNDING_S = 8 * HOUR_S  # rates are for eight hours, whatever is paid continuously


class TradeRow(Struct, gc=False):
    instrument_name: str
    trade_id: str
    trade_seq: int  # counts the trades of the instrument
    timestamp: int
    price: Text
    amount: Text
    direction: Side  # the taker's
    liquidation: Literal["M", "T", "MT"] | None = None  # the maker's order was forced, the taker's, or both
    block_trade_id: Text = None
    block_rfq_id: Text = None

    def trade(self) -> Trade:
        kind: Literal["trade", "liquidation", "rfq", "block"] = "trade"
        if self.liquidation is not None:
            kind = "liquidation"
        elif self.block_rfq_id is not None:
            kind = "rfq"
        elif self.block_trade_id is not None:
            kind = "block"
        return Trade(
            raw_symbol=self.instrument_name,
            id=self.trade_id,
            price=text(self.price),
            size=text(self.amount),
            side=self.direction,
            size_unit=unit(self.instrument_name),
            kind=kind,
            sequence=self.trade_seq,
            ts_event=self.timestamp * MS_NS,
        )

    def liquidations(self) -> list[Liquidation]:
        side: Side
        return [
            Liquidation(
                raw_symbol=self.instrument_name,
                id=self.trade_id,
                side=(side := self.direction if whose == "T" else OPPOSITE[self.direction]),
                position="long" if side == "sell" else "short",
                price=text(self.price),
                price_kind="trade",
                size=text(self.amount),
                size_unit=unit(self.instrument_name),
                ts_event=ms(self.timestamp),
            )
            for whose in self.liquidation or ""
        ]


class BookData(Struct, gc=False):
    instrument_name: str
    timestamp: int
    change_id: int
    bids: list[tuple[str, Text, Text]]  # "new", "change" or "delete", price, amount: 0 where deleted
    asks: list[tuple[str, Text, Text]]
    prev_change_id: int | None = None
    type: Literal["snapshot", "change"] | None = None  # not said before 2020: a change names the one before it

    def record(self) -> Record:
        bids = [(text(price), text(amount)) for _, price, amount in self.bids]
        asks = [(text(price), text(amount)) for _, price, amount in self.asks]
        at = self.timestamp * MS_NS
        if self.type == "snapshot" or not self.prev_change_id:  # the first change of an instrument names 0, and is all
            return BookSnapshot(
                raw_symbol=self.instrument_name, bids=bids, asks=asks, sequence=self.change_id, ts_event=at
            )
        return BookDelta(
            raw_symbol=self.instrument_name,
            bids=bids,
            asks=asks,
            sequence=self.change_id,
            sequence_prev=self.prev_change_id,
            ts_event=at,
        )


class BestData(Struct, gc=False):
    instrument_name: str
    timestamp: int
    best_bid_price: Text = None
    best_bid_amount: Text = None
    best_ask_price: Text = None
    best_ask_amount: Text = None

    def record(self) -> Bbo:
        bid, bid_size = standing(self.best_bid_price, self.best_bid_amount)
        ask, ask_size = standing(self.best_ask_price, self.best_ask_amount)
        return Bbo(
            raw_symbol=self.instrument_name,
            bid_price=bid,
            bid_size=bid_size,
            ask_price=ask,
            ask_size=ask_size,
            ts_event=self.timestamp * MS_NS,
        )


class Stats(Struct, gc=False):
    high: Text = None
    low: Text = None
    volume: Text = None  # the base asset
    volume_notional: Text = None  # the quote asset; options have none


class Greeks(Struct, gc=False):
    delta: Text = None
    gamma: Text = None
    vega: Text = None
    theta: Text = None
    rho: Text = None


class TickerData(BestData, gc=False):
    last_price: Text = None
    stats: Stats | None = None
    state: str = ""
    open_interest: Text = None
    mark_price: Text = None
    index_price: Text = None
    current_funding: Text = None  # perpetuals only
    mark_iv: Text = None  # options only, as all that follow
    bid_iv: Text = None
    ask_iv: Text = None
    greeks: Greeks | None = None
    underlying_price: Text = None
    underlying_index: str | None = None

    def records(self, at: int) -> list[Record]:
        name = self.instrument_name
        found: list[Record] = [self.ticker(at)]
        if self.current_funding is not None:
            rate = text(self.current_funding)
            found.append(Funding(raw_symbol=name, rate=rate, interval_s=FUNDING_S, ts_event=at))
        if self.open_interest is not None:
            found.append(self.interest(at))
        if self.mark_price is not None:
            found.append(MarkPrice(raw_symbol=name, price=text(self.mark_price), ts_event=at))
        if index := nonzero(self.index_price):
            found.append(IndexPrice(raw_symbol=name, price=index, ts_event=at))
        if self.greeks is not None:
            found.append(self.option(self.greeks, at))
        return found

    def ticker(self, at: int) -> Ticker:
        stats = self.stats or Stats()
        return Ticker(
            raw_symbol=self.instrument_name,
            last=nonzero(self.last_price),
            high=nonzero(stats.high),
            low=nonzero(stats.low),
            base_volume=optional(stats.volume),
            quote_volume=optional(stats.volume_notional),
            window_s=DAY_S,
            ts_event=at,
        )

    def interest(self, at: int) -> OpenInterest:
        size, size_unit = text(self.open_interest), unit(self.instrument_name)
        return OpenInterest(
            raw_symbol=self.instrument_name,
            size=size,
            size_unit=size_unit,
            base_size=size if size_unit == "base" else None,
            quote_value=size if size_unit == "quote" else None,
            ts_event=at,
        )

    def option(self, greeks: Greeks, at: int) -> OptionSummary:
        bid, bid_size = standing(self.best_bid_price, self.best_bid_amount)
        ask, ask_size = standing(self.best_ask_price, self.best_ask_amount)
        return OptionSummary(
            raw_symbol=self.instrument_name,
            mark_price=optional(self.mark_price),
            mark_iv=fraction(self.mark_iv),
            bid_iv=bid and fraction(self.bid_iv),
            ask_iv=ask and fraction(self.ask_iv),
            bid_price=bid,
            bid_size=bid_size,
            ask_price=ask,
            ask_size=ask_size,
            delta=optional(greeks.delta),
            gamma=optional(greeks.gamma),
            vega=optional(greeks.vega),
            theta=optional(greeks.theta),
            rho=optional(greeks.rho),
            underlying_price=optional(self.underlying_price),
            underlying=self.underlying_index or None,
            open_interest=optional(self.open_interest),
            ts_event=at,
        )


class BarData(Struct, gc=False):
    tick: int  # the start
    open: Text
    high: Text
    low: Text
    close: Text
    volume: Text  # the base asset
    cost: Text = None  # the quote asset

    def record(self, raw_symbol: str, resolution: str) -> Candle:
        start = ms(self.tick)
        minutes = 1440 if resolution == "1D" else int(resolution)
        return Candle(
            raw_symbol=raw_symbol,
            interval=SPELLED.get(resolution, f"{resolution}m"),
            ts_open=start,
            ts_close=start + minutes * MINUTE_NS,
            open=text(self.open),
            high=text(self.high),
            low=text(self.low),
            close=text(self.close),
            base_volume=text(self.volume),
            quote_volume=optional(self.cost),
        )


class PlatformData(Struct):
    """Either an index that is (no longer) locked, or maintenance that begins or ends."""

    price_index: str = ""
    locked: bool | None = None
    maintenance: bool | None = None


@lru_cache(maxsize=2**12)
def unit(raw_symbol: str) -> SizeUnit:
    """Inverse futures (`BTC-PERPETUAL`, `BTC-25DEC26`, spreads `BTC-FS-25DEC26_PERP`) are of one asset."""
    asset, _, rest = raw_symbol.partition("-")
    return "quote" if "_" not in asset and (rest.startswith("FS-") or "-" not in rest) else "base"


def standing(price: Text, amount: Text) -> tuple[str | None, str | None]:
    """A side's price and amount; null, or no amount, says that nobody stands there."""
    size = optional(amount)
    is_empty = price is None or size is None or not size.lstrip("0.")
    return (None, None) if is_empty else (text(price), size)
