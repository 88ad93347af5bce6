"""The products of Delta Exchange.

https://docs.delta.exchange/#get-list-of-products
"""

from collections.abc import Iterable
from urllib.parse import quote

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Request
from aggregator.records import Instrument, Kind, MarketState
from aggregator.wire import Text, from_iso, number, optional, step

KINDS: dict[str, Kind] = {  # spreads, swaps of interest and options on a move are left out
    "spot": "spot",
    "perpetual_futures": "perpetual",
    "futures": "future",
    "call_options": "option",
    "put_options": "option",
}
STATES: dict[str, MarketState] = {
    "live": "trading",
    "upcoming": "pre_open",
    "expired": "settling",
    "settled": "delisted",
}
DISRUPTED: dict[str, MarketState] = {"disrupted_cancel_only": "cancel_only", "disrupted_post_only": "post_only"}
OPERATIONAL = "operational"
WHOLE = "1"  # contracts are not divided


class Asset(Struct):
    symbol: str | None = None


class Index(Struct):
    symbol: str | None = None


class Specs(Struct):
    rate_exchange_interval: int | None = None  # seconds
    underlying_precision: int | None = None
    min_order_size: Text = None
    max_order_size: Text = None


class ProductWire(Struct):
    symbol: str
    contract_type: str
    state: str = ""
    trading_status: str = OPERATIONAL
    underlying_asset: Asset | None = None
    quoting_asset: Asset | None = None
    settling_asset: Asset | None = None
    contract_unit_currency: str | None = None
    contract_value: Text = None
    tick_size: Text = None
    strike_price: Text = None
    launch_time: str | None = None
    settlement_time: str | None = None
    spot_index: Index | None = None
    product_specs: Specs | None = None


class Pages(Struct):
    after: str | None = None


class Page(Struct):
    meta: Pages | None = None


decode_product = Decoder(ProductWire, float_hook=number).decode
decode_page = Decoder(Page).decode


def read_product(row: Raw) -> Instrument | None:
    p = decode_product(row)
    kind = KINDS.get(p.contract_type)
    if kind is None:
        return None
    base, quoted, settle = named(p.underlying_asset), named(p.quoting_asset), named(p.settling_asset)
    specs, is_spot, is_dated = p.product_specs or Specs(), kind == "spot", kind in {"future", "option"}
    linear = None if is_spot else settle == quoted
    of = base if linear or kind == "option" else quoted  # a contract that counts a third asset has no such size
    return Instrument(
        raw_symbol=p.symbol,
        kind=kind,
        base=base,
        quote=quoted,
        settle=None if is_spot else settle,
        linear=linear,
        contract_size=None if is_spot or p.contract_unit_currency != of else optional(p.contract_value),
        tick_size=optional(p.tick_size),
        lot_size=step(specs.underlying_precision) if is_spot else WHOLE,
        min_size=optional(specs.min_order_size) if is_spot else WHOLE,
        max_size=optional(specs.max_order_size) if is_spot else None,
        expiry=from_iso(p.settlement_time) if is_dated and p.settlement_time else None,
        strike=optional(p.strike_price) if kind == "option" else None,
        option_type=None if kind != "option" else "call" if p.contract_type == "call_options" else "put",
        state=state(p),
        ts_listed=from_iso(p.launch_time) if p.launch_time else None,
        index=None if p.spot_index is None else p.spot_index.symbol,
        funding_interval_s=specs.rate_exchange_interval if kind == "perpetual" else None,
    )


def named(asset: Asset | None) -> str | None:
    return None if asset is None else asset.symbol


def state(p: ProductWire) -> MarketState:
    stands = STATES.get(p.state, "unknown")
    if stands != "trading" or p.trading_status == OPERATIONAL:
        return stands
    return DISRUPTED.get(p.trading_status, "unknown")


def following(request: Request, body: bytes) -> Iterable[Request]:
    """The next page: `meta.after` is the next request's `after`."""
    meta = decode_page(body).meta
    if meta is not None and meta.after:
        url = request.url.partition("&after=")[0]
        yield Request(f"{url}&after={quote(meta.after, safe='')}", weight=request.weight)
