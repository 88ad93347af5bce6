"""Coinbase Exchange.

https://docs.cdp.coinbase.com/exchange/docs/websocket-channels
The public book is `level2_batch` (every 50 ms); `level2` needs a login. It has neither numbers nor a checksum.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import (
    Accepted,
    Backfill,
    Event,
    Exchange,
    Limits,
    Listing,
    Refused,
    Request,
    Since,
    Stream,
    Subscription,
)
from aggregator.records import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Channel,
    Instrument,
    Levels,
    MarketState,
    Side,
    Ticker,
    Trade,
)
from aggregator.sequence import contiguous
from aggregator.wire import encode, from_iso

API = "https://api.exchange.coinbase.com"
CHANNELS: dict[Channel, str] = {"trades": "matches", "book": "level2_batch", "ticker": "ticker", "bbo": "ticker"}
TAKER: dict[Side, Side] = {"buy": "sell", "sell": "buy"}  # the wire gives the maker's side
LEVEL2 = {"level2", "level2_batch", "level2_50"}


class Match(Struct, tag_field="type", tag="match", gc=False):
    trade_id: int
    side: Side
    size: str
    price: str
    product_id: str
    time: str

    def records(self) -> tuple[Event, ...]:
        return (trade(self),)


class LastMatch(Match, tag_field="type", tag="last_match", gc=False):
    """The last trade before the subscription."""

    def records(self) -> tuple[Event, ...]:
        last = trade(self)
        last.flags = ("snapshot",)
        return (last,)


def trade(match: Match) -> Trade:
    return Trade(
        raw_symbol=match.product_id,
        id=str(match.trade_id),
        price=match.price,
        size=match.size,
        side=TAKER[match.side],
        sequence=match.trade_id,
        ts_event=from_iso(match.time),
    )


class Update(Struct, tag_field="type", tag="l2update", gc=False):
    product_id: str
    changes: list[tuple[Side, str, str]]
    time: str | None = None

    def records(self) -> tuple[Event, ...]:
        changes = self.changes
        return (
            BookDelta(
                raw_symbol=self.product_id,
                bids=[(price, size) for side, price, size in changes if side == "buy"],
                asks=[(price, size) for side, price, size in changes if side == "sell"],
                ts_event=from_iso(self.time) if self.time else None,
            ),
        )


class Snapshot(Struct, tag_field="type", tag="snapshot", gc=False):
    product_id: str
    bids: Levels
    asks: Levels
    time: str | None = None

    def records(self) -> tuple[Event, ...]:
        at = from_iso(self.time) if self.time else None
        return (BookSnapshot(raw_symbol=self.product_id, bids=self.bids, asks=self.asks, ts_event=at),)


class TickerWire(Struct, tag_field="type", tag="ticker", gc=False):
    product_id: str
    price: str
    open_24h: str | None = None
    volume_24h: str | None = None
    low_24h: str | None = None
    high_24h: str | None = None
    best_bid: str | None = None
    best_bid_size: str | None = None
    best_ask: str | None = None
    best_ask_size: str | None = None
    sequence: int | None = None
    time: str | None = None  # of the last trade

    def records(self) -> tuple[Event, ...]:
        at = from_iso(self.time) if self.time else None
        statistics = Ticker(
            raw_symbol=self.product_id,
            last=self.price,
            open=self.open_24h,
            high=self.high_24h,
            low=self.low_24h,
            base_volume=self.volume_24h,
            window_s=86_400,
            sequence=self.sequence,
            ts_event=at,
        )
        best = Bbo(
            raw_symbol=self.product_id,
            bid_price=self.best_bid,
            bid_size=self.best_bid_size,
            ask_price=self.best_ask,
            ask_size=self.best_ask_size,
            sequence=self.sequence,
            ts_event=at,
        )
        return (statistics, best)


class Listened(Struct):
    name: str
    product_ids: list[str] = []


class Subscriptions(Struct, tag_field="type", tag="subscriptions"):
    channels: list[Listened] = []

    def records(self) -> tuple[Event, ...]:
        return tuple(
            Accepted(channel=channel, raw_symbol=product)
            for listened in self.channels
            for channel, wire in CHANNELS.items()
            if wire == listened.name or (channel == "book" and listened.name in LEVEL2)
            for product in listened.product_ids
        )


class Error(Struct, tag_field="type", tag="error"):
    message: str = ""
    reason: str = ""

    def records(self) -> tuple[Event, ...]:
        product = self.reason.split(" ", 1)[0] if "product" in self.reason else None
        return (Refused(f"{self.message}: {self.reason}", raw_symbol=product),)


class Nothing(Struct, tag_field="type", tag="heartbeat"):
    def records(self) -> tuple[Event, ...]:
        return ()


class Status(Nothing, tag_field="type", tag="status"):
    """The products, every five seconds: read from the listing instead."""


decode = Decoder(Match | LastMatch | Update | Snapshot | TickerWire | Subscriptions | Error | Nothing | Status).decode


def parse(frame: bytes) -> Iterable[Event]:
    events: Iterable[Event] = decode(frame).records()
    return events


def frames(method: str) -> Callable[[Sequence[Subscription], int], Iterable[bytes]]:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        products: dict[str, list[str]] = {}
        for s in wanted:
            listed = products.setdefault(CHANNELS[s.channel], [])
            if s.raw_symbol not in listed:
                listed.append(s.raw_symbol)
        for name, ids in products.items():
            yield encode({"type": method, "product_ids": ids, "channels": [name]})

    return ask


class TradeRow(Struct):
    trade_id: int
    side: Side
    size: str
    price: str
    time: str
    product_id: str = ""


decode_trades = Decoder(list[TradeRow], strict=False).decode


def trades_since(raw_symbol: str, _: Since) -> Request:
    return Request(f"{API}/products/{raw_symbol}/trades?limit=1000")


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    """Newest first on the wire."""
    for row in reversed(decode_trades(body)):
        yield Trade(
            raw_symbol=raw_symbol,
            id=str(row.trade_id),
            price=row.price,
            size=row.size,
            side=TAKER[row.side],
            sequence=row.trade_id,
            ts_event=from_iso(row.time),
        )


class Product(Struct):
    id: str
    base_currency: str
    quote_currency: str
    quote_increment: str
    status: Literal["online", "offline", "internal", "delisted"] = "online"
    base_increment: str | None = None
    base_min_size: str | None = None
    base_max_size: str | None = None
    min_market_funds: str | None = None
    trading_disabled: bool = False
    post_only: bool = False
    cancel_only: bool = False


decode_products = Decoder(list[Raw]).decode
decode_product = Decoder(Product).decode


def state(product: Product) -> MarketState:
    if product.status == "delisted":
        return "delisted"
    if product.status != "online" or product.trading_disabled:
        return "halt"
    return "cancel_only" if product.cancel_only else "post_only" if product.post_only else "trading"


def read_product(row: Raw) -> Instrument:
    p = decode_product(row)
    return Instrument(
        raw_symbol=p.id,
        base=p.base_currency,
        quote=p.quote_currency,
        tick_size=p.quote_increment,
        lot_size=p.base_increment,
        min_size=p.base_min_size,
        max_size=p.base_max_size,
        min_notional=p.min_market_funds,
        state=state(p),
    )


EXCHANGE = Exchange(
    id="coinbaseexchange",
    docs="https://docs.cdp.coinbase.com/exchange/docs/websocket-channels",
    notes=(
        "bbo comes with each trade (channel `ticker`), not with each change of the best prices.",
        "The book has no numbers and no checksum: a frame that is lost unseen cannot be noticed by anyone.",
    ),
    limits=Limits(weights={API: (10, 1)}, connects=(8, 1)),
    listing=Listing((Request(f"{API}/products"),), decode_products, read_product),
    feeds=(
        Stream(
            url="wss://ws-feed.exchange.coinbase.com",
            channels=CHANNELS,
            subscribe=frames("subscribe"),
            unsubscribe=frames("unsubscribe"),
            parse=parse,
            sequence={"trades": contiguous},
            backfill=Backfill(trades_since, read_trades),
            per_connection=100,
            pace=0.15,  # eight messages a second are allowed
        ),
    ),
)
