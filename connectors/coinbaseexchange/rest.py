"""Requests and answers by REST: trades that were missed, all orders, the listing."""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Request, Since
from aggregator.records import Instrument, MarketState, OrdersSnapshot, Trade
from connectors.coinbaseexchange.wires import Row, stamp

API = "https://api.exchange.coinbase.com"


class AllOrders(Struct):
    """A book with one row for each order, and the number of the last message that it holds."""

    bids: list[tuple[str, str, str]]  # price, size, id
    asks: list[tuple[str, str, str]]
    sequence: int
    time: str | None = None


decode_rows = Decoder(list[Row], strict=False).decode
decode_orders = Decoder(AllOrders).decode


def missed(raw_symbol: str, _: Since) -> Request:
    return Request(f"{API}/products/{raw_symbol}/trades?limit=1000")


def read_missed(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    """Newest first on the wire."""
    return [row.trade(raw_symbol) for row in reversed(decode_rows(body))]


def all_orders(raw_symbol: str) -> Request:
    return Request(f"{API}/products/{raw_symbol}/book?level=3")


def read_orders(raw_symbol: str, body: bytes) -> OrdersSnapshot:
    whole = decode_orders(body)
    bids, asks = ([(id, price, size) for price, size, id in side] for side in (whole.bids, whole.asks))
    return OrdersSnapshot(
        raw_symbol=raw_symbol, bids=bids, asks=asks, sequence=whole.sequence, ts_event=stamp(whole.time)
    )


class Product(Struct):
    id: str
    quote_increment: str
    status: str = "online"
    base_increment: str | None = None
    base_min_size: str | None = None
    base_max_size: str | None = None
    min_market_funds: str | None = None
    trading_disabled: bool = False
    post_only: bool = False
    cancel_only: bool = False


decode_products = Decoder(list[Raw]).decode
decode_product = Decoder(Product).decode


def state(p: Product) -> MarketState:
    if p.status != "online" or p.trading_disabled:
        return "delisted" if p.status == "delisted" else "halt"
    return "cancel_only" if p.cancel_only else "post_only" if p.post_only else "trading"


def read_product(row: Raw) -> Instrument:
    p = decode_product(row)
    base, _, quote = p.id.partition("-")  # not `base_currency`: BTCAUCTION-USD says BTC there
    return Instrument(
        raw_symbol=p.id,
        base=base,
        quote=quote,
        tick_size=p.quote_increment,
        lot_size=p.base_increment,
        min_size=p.base_min_size,
        max_size=p.base_max_size,
        min_notional=p.min_market_funds,
        state=state(p),
    )
