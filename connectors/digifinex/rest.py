"""The answers of DigiFinex by REST: instruments of both markets.

https://docs.digifinex.com/en-ww/swap/v2/rest.html
https://docs.digifinex.com/en-ww/spot/v3/rest.html
A row's `is_inverse` contract is of 1 USD, and settles in its base asset.
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import Instrument, MarketState
from aggregator.wire import Text, at, number, optional, step, text

API = "https://openapi.digifinex.com"
SPOT = f"{API}/v3/spot/symbols"
SWAP = f"{API}/swap/v2/public"
STATES: dict[str, MarketState] = {"TRADING": "trading", "ONLINE": "trading", "OFFLINE": "halt", "DELIVERY": "settling"}


class PairWire(Struct):
    symbol: str
    base_asset: str
    quote_asset: str
    status: str
    price_precision: Text  # decimals
    amount_precision: Text
    minimum_amount: Text = None
    minimum_value: Text = None
    is_allow: int = 1


class ContractWire(Struct):
    instrument_id: str
    base_currency: str
    quote_currency: str
    clear_currency: str
    contract_value: Text
    is_inverse: bool
    status: str
    is_trading: bool = True
    type: str = "REAL"
    tick_size: Text = None
    min_order_amount: Text = None


class Row(Struct):
    instrument_id: str | None = None


decode_row = Decoder(Row).decode
decode_pair = Decoder(PairWire, float_hook=number).decode
decode_contract = Decoder(ContractWire, float_hook=number).decode
pairs, contracts = at("symbol_list"), at("data")


def rows(body: bytes) -> Iterable[Raw]:
    """The rows of either list."""
    return pairs(body) if b'"symbol_list"' in body else contracts(body)


def read(row: Raw) -> Instrument | None:
    return read_pair(row) if decode_row(row).instrument_id is None else read_contract(row)


def read_pair(row: Raw) -> Instrument:
    wire = decode_pair(row)
    return Instrument(
        raw_symbol=wire.symbol,
        base=wire.base_asset,
        quote=wire.quote_asset,
        tick_size=step(wire.price_precision),
        lot_size=step(wire.amount_precision),
        min_size=optional(wire.minimum_amount),
        min_notional=optional(wire.minimum_value),
        state=STATES.get(wire.status, "unknown") if wire.is_allow else "halt",
    )


def read_contract(row: Raw) -> Instrument | None:
    wire = decode_contract(row)
    if wire.type != "REAL":
        return None  # a simulated one
    return Instrument(
        raw_symbol=wire.instrument_id,
        kind="perpetual",
        base=wire.base_currency,
        quote=wire.quote_currency,
        settle=wire.clear_currency,
        linear=not wire.is_inverse,
        contract_size=text(wire.contract_value),
        tick_size=optional(wire.tick_size),
        min_size=optional(wire.min_order_amount),
        state=STATES.get(wire.status, "unknown") if wire.is_trading else "halt",
    )
