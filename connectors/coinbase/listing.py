"""Advanced Trade's products, and what REST alone says of futures.

https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/list-public-products
Perpetuals exchange funding every hour, those of the international exchange too, of which no answer says so (Coinbase's
pages on funding, 2026-07).
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import HOUR_S, Funding, Instrument, MarketState, OpenInterest, Record
from aggregator.wire import from_iso, optional
from connectors.coinbase.wires import STATES


class Perpetual(Struct):
    open_interest: str | None = None
    funding_rate: str | None = None


class Contract(Struct):
    contract_root_unit: str = ""
    contract_size: str | None = None
    contract_expiry: str | None = None
    contract_expiry_type: str = ""
    funding_interval: str | None = None  # `3600s`
    funding_rate: str | None = None
    open_interest: str | None = None
    perpetual_details: Perpetual | None = None


class Product(Struct):
    product_id: str
    quote_currency_id: str
    base_currency_id: str = ""
    base_increment: str = ""
    quote_increment: str = ""
    price_increment: str = ""
    base_min_size: str = ""
    base_max_size: str = ""
    quote_min_size: str = ""
    status: str = ""
    display_name: str = ""
    alias: str = ""
    is_disabled: bool = False
    trading_disabled: bool = False
    cancel_only: bool = False
    post_only: bool = False
    product_type: str = "SPOT"
    future_product_details: Contract | None = None


class Products(Struct):
    products: list[Raw]


class Futures(Struct):
    products: list[Product]


decode_products = Decoder(Products).decode
decode_product = Decoder(Product).decode
decode_futures = Decoder(Futures).decode


def state(p: Product) -> MarketState:
    if p.is_disabled or p.trading_disabled:
        return "delisted" if p.status == "delisted" else "halt"
    if p.cancel_only or p.post_only:
        return "cancel_only" if p.cancel_only else "post_only"
    return STATES.get(p.status, "unknown")


def read_product(row: Raw) -> Instrument | None:
    p = decode_product(row)
    if p.alias not in {"", p.product_id}:
        return None
    instrument = Instrument(
        raw_symbol=p.product_id,
        base=p.base_currency_id,
        quote=p.quote_currency_id,
        tick_size=optional(p.price_increment) or optional(p.quote_increment),
        lot_size=optional(p.base_increment),
        min_size=optional(p.base_min_size),
        max_size=optional(p.base_max_size),
        min_notional=optional(p.quote_min_size),
        state=state(p),
    )
    if p.product_type == "FUTURE" and p.future_product_details is not None:
        as_contract(instrument, p, p.future_product_details)
    return instrument


def as_contract(instrument: Instrument, p: Product, contract: Contract) -> None:
    """Perpetual-style futures are listed as expiring, with a funding interval or a name that says what they are."""
    is_perpetual = (
        contract.contract_expiry_type == "PERPETUAL"
        or contract.funding_interval is not None
        or p.display_name.endswith("PERP")
    )
    instrument.kind = "perpetual" if is_perpetual else "future"
    instrument.base, instrument.settle = contract.contract_root_unit, p.quote_currency_id
    instrument.linear, instrument.contract_size = True, optional(contract.contract_size)
    instrument.funding_interval_s = (length(contract) or HOUR_S) if is_perpetual else None
    if not is_perpetual and contract.contract_expiry:
        instrument.expiry = from_iso(contract.contract_expiry)


def length(contract: Contract) -> int | None:
    """Seconds between two exchanges of funding, where a contract says it."""
    return int(contract.funding_interval.removesuffix("s")) if contract.funding_interval else None


def read_futures(_: str, body: bytes) -> Iterable[Record]:
    for p in decode_futures(body).products:
        contract = p.future_product_details or Contract()
        told = contract.perpetual_details or Perpetual()
        rate = optional(contract.funding_rate) or optional(told.funding_rate)
        open_interest = optional(contract.open_interest) or optional(told.open_interest)
        if rate is not None:
            yield Funding(raw_symbol=p.product_id, rate=rate, interval_s=length(contract))
        if open_interest is not None:
            yield OpenInterest(raw_symbol=p.product_id, size=open_interest, size_unit="contract")
