"""The messages of Coinbase International's own protocol, and the records that they make.

https://docs.cdp.coinbase.com/international-exchange/websocket-feed/channels
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from aggregator.exchange import Event
from aggregator.records import (
    DAY_S,
    BookDelta,
    BookSnapshot,
    Funding,
    IndexPrice,
    MarketState,
    MarkPrice,
    OpenInterest,
    Side,
    SizeUnit,
    Status,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, from_iso, levels, nonzero, optional, sides, text

SIDES: dict[str, Side] = {"BUY": "buy", "SELL": "sell"}  # an opening fill has none
STATES: dict[str, MarketState] = {
    "trading": "trading",
    "offline": "halt",
    "halt": "halt",
    "trading_disabled": "halt",
    "delisted": "delisted",
    "auction_mode": "pre_open",
    "cancel_only": "cancel_only",
    "post_only": "post_only",
    "limit_only": "trading",
}
PERPETUAL = "-PERP"


def unit(name: str) -> SizeUnit:
    return "contract" if name.endswith(PERPETUAL) else "base"


def volumes(name: str, volume: str | None) -> tuple[str | None, str | None]:
    """A volume of coins, or of contracts, as the market counts them."""
    return (None, volume) if unit(name) == "contract" else (volume, None)


def moment(time: str) -> int | None:
    """A time; one before 1970 stands for none."""
    return None if time < "1970" else from_iso(time)


class Head(Struct, gc=False):
    product_id: str
    type: str = ""
    time: str = ""


class TradeWire(Head, kw_only=True, gc=False):
    match_id: str
    trade_price: str
    trade_qty: str
    aggressor_side: str = ""

    def trade(self) -> Trade:
        return Trade(
            raw_symbol=self.product_id,
            id=self.match_id,
            price=text(self.trade_price),
            size=text(self.trade_qty),
            size_unit=unit(self.product_id),
            side=SIDES.get(self.aggressor_side),
            kind="auction" if self.aggressor_side == "OPENING_FILL" else "trade",
            ts_event=moment(self.time),
        )

    def events(self) -> Iterable[Event]:
        yield self.trade()


class RfqWire(TradeWire, gc=False):
    """A trade that was asked for."""

    def events(self) -> Iterable[Event]:
        trade = self.trade()
        trade.kind = "rfq"
        yield trade


class BestWire(Head, kw_only=True, gc=False):
    """The best prices: a side that is empty is left out."""

    bid_price: Text = None
    bid_qty: Text = None
    ask_price: Text = None
    ask_qty: Text = None

    def events(self) -> Iterable[Event]:
        told = self.bid_price, self.bid_qty, self.ask_price, self.ask_qty
        yield bbo(self.product_id, *told, ts_event=moment(self.time))


class BookWire(Head, kw_only=True, gc=False):
    type: Literal["SNAPSHOT", "UPDATE"]
    bids: list[list[Text]] = []
    asks: list[list[Text]] = []
    changes: list[tuple[str, str, str]] = []

    def events(self) -> Iterable[Event]:
        name, at = self.product_id, moment(self.time)
        if self.type == "SNAPSHOT":
            bids, asks = levels(self.bids), levels(self.asks)
            yield BookSnapshot(raw_symbol=name, bids=bids, asks=asks, depth=20, ts_event=at)
        else:
            bids, asks = sides(self.changes, bid="BUY")
            yield BookDelta(raw_symbol=name, bids=bids, asks=asks, ts_event=at)


class FundingWire(Head, kw_only=True, gc=False):
    """The rate of the last interval, or a prediction of the next one's."""

    funding_rate: Text
    is_final: bool

    def events(self) -> Iterable[Event]:
        at = moment(self.time)
        if (rate := optional(self.funding_rate)) is None:
            return
        if not self.is_final:
            yield Funding(raw_symbol=self.product_id, rate=rate, kind="predicted", ts_event=at)
            return
        due = at if self.type == "UPDATE" else None  # a snapshot's time is that of the subscription
        yield Funding(raw_symbol=self.product_id, rate=rate, kind="settled", ts_next=due, ts_event=at)


class RiskWire(Head, kw_only=True, gc=False):
    index_price: Text = None
    mark_price: Text = None
    open_interest: Text = None

    def events(self) -> Iterable[Event]:
        name, at = self.product_id, moment(self.time)
        for kind, price in ((MarkPrice, nonzero(self.mark_price)), (IndexPrice, nonzero(self.index_price))):
            if price is not None:
                yield kind(raw_symbol=name, price=price, ts_event=at)
        if (size := optional(self.open_interest)) is not None:
            yield OpenInterest(raw_symbol=name, size=size, size_unit=unit(name), ts_event=at)


class IndexWire(Head, kw_only=True, gc=False):
    price: Text

    def events(self) -> Iterable[Event]:
        if (price := nonzero(self.price)) is not None:
            name = self.product_id
            yield IndexPrice(raw_symbol=name, index=name, price=price, ts_event=moment(self.time))


class MarketWire(Head, kw_only=True, gc=False):
    """A market: what it has traded in 24 hours, and its state."""

    total_24_hour_quantity: Text = None
    total_24_hour_volume: Text = None
    trading_state: str = ""

    def events(self) -> Iterable[Event]:
        name, at = self.product_id, moment(self.time)
        base, contracts = volumes(name, optional(self.total_24_hour_quantity))
        yield Ticker(
            raw_symbol=name,
            base_volume=base,
            quote_volume=optional(self.total_24_hour_volume),
            contract_volume=contracts,
            window_s=DAY_S,
            ts_sent=at,
        )
        if self.trading_state:
            state = STATES.get(self.trading_state.lower(), "unknown")
            reason = None if state == "trading" else self.trading_state
            yield Status(raw_symbol=name, state=state, reason=reason, ts_sent=at)
