"""The markets of XT by REST: pairs, and contracts that settle in USDT or in their base asset.

https://doc.xt.com/docs/spot/Market/GetSymbolInformation
https://doc.xt.com/docs/futures/Market/Get_multiple_symbols
A contract can be traded where `tradeSwitch` says so; its `state` is always 0 (September 2026). Where `openSwitch` is
off beside it, nobody may open a position.
"""

from collections.abc import Iterable, Mapping

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Details, Listing, Request, Trouble
from aggregator.records import HOUR_S, MS_NS, Instrument, MarketState
from aggregator.refusals import coded
from aggregator.wire import Text, at, number, optional, step, text

SPOT = "https://sapi.xt.com/v4/public"
LINEAR, INVERSE = "https://fapi.xt.com/future/market", "https://dapi.xt.com/future/market"
STATES: dict[str, MarketState] = {"ONLINE": "trading", "OFFLINE": "halt", "DELISTED": "delisted"}


class Filter(Struct):
    filter: str
    min: Text = None


class PairWire(Struct):
    symbol: str
    state: str
    baseCurrency: str
    quoteCurrency: str
    pricePrecision: Text  # decimals
    quantityPrecision: Text
    tradingEnabled: bool = True
    filters: list[Filter] = []


class ContractWire(Struct):
    symbol: str
    contractSize: Text
    underlyingType: str
    productType: str
    baseCoin: str
    quoteCoin: str
    tradeSwitch: bool
    openSwitch: bool = True
    minStepPrice: Text = None
    minQty: Text = None
    quantityPrecision: Text = None  # decimals that a number of contracts may have
    minNotional: Text = None
    onboardDate: int | None = None
    deliveryDate: int | None = None


class Row(Struct):
    contractSize: Text = None


class FundingRow(Struct):
    symbol: str
    collection_internal: int | None = None  # hours
    next_funding_rate_timestamp: int | None = None


pairs, contracts = at("result", "symbols"), at("result")
decode_row = Decoder(Row).decode
decode_pair = Decoder(PairWire, float_hook=number).decode
decode_contract = Decoder(ContractWire, float_hook=number).decode
decode_funding = Decoder(FundingRow, float_hook=number).decode
decode_rows = Decoder(list[Raw]).decode


def rows(body: bytes) -> Iterable[Raw]:
    """The rows of either list."""
    return pairs(body) if b'"symbols"' in body else contracts(body)


def read(row: Raw) -> Instrument | None:
    return read_pair(row) if decode_row(row).contractSize is None else read_contract(row)


def read_pair(row: Raw) -> Instrument:
    wire = decode_pair(row)
    return Instrument(
        raw_symbol=wire.symbol,
        base=wire.baseCurrency.upper(),
        quote=wire.quoteCurrency.upper(),
        tick_size=step(wire.pricePrecision),
        lot_size=step(wire.quantityPrecision),
        min_notional=optional(next((f.min for f in wire.filters if f.filter == "QUOTE_QTY"), None)),
        state=STATES.get(wire.state, "unknown") if wire.tradingEnabled or wire.state != "ONLINE" else "halt",
    )


def read_contract(row: Raw) -> Instrument:
    wire = decode_contract(row)
    base, counter = wire.baseCoin.upper(), wire.quoteCoin.upper()
    is_linear, is_perpetual = wire.underlyingType == "U_BASED", wire.productType == "perpetual"
    return Instrument(
        raw_symbol=wire.symbol,
        kind="perpetual" if is_perpetual else "future",
        base=base,
        quote=counter,
        settle=counter if is_linear else base,
        linear=is_linear,
        contract_size=text(wire.contractSize),
        tick_size=optional(wire.minStepPrice),
        lot_size=step(wire.quantityPrecision),
        min_size=optional(wire.minQty),
        min_notional=optional(wire.minNotional),
        expiry=None if is_perpetual or wire.deliveryDate is None else wire.deliveryDate * MS_NS,
        state="halt" if not wire.tradeSwitch else "trading" if wire.openSwitch else "reduce_only",
        ts_listed=None if wire.onboardDate is None else wire.onboardDate * MS_NS,
    )


def read_interval(row: Raw) -> Instrument:
    wire = decode_funding(row)
    length = (wire.collection_internal or 0) * HOUR_S
    due = wire.next_funding_rate_timestamp
    return Instrument(
        raw_symbol=wire.symbol,
        kind="perpetual",
        funding_interval_s=length or None,
        funding_offset_s=due // 1000 % length if due and length else None,
    )


def trouble(status: int, headers: Mapping[str, str], body: bytes) -> Trouble | None:
    """An error comes with HTTP 200: with a code of spot, or an object `error` of contracts."""
    return spot_trouble(status, headers, body) or contract_trouble(status, headers, body)


spot_trouble = coded("rc", "mc", fine=("0",))
contract_trouble = coded("code", "msg", within="error", fine=("",))
LISTING = Listing(
    tuple(
        Request(url)
        for url in (f"{SPOT}/symbol", f"{LINEAR}/v1/public/symbol/list", f"{INVERSE}/v1/public/symbol/list")
    ),
    rows,
    read,
    details=tuple(
        Details(Request(f"{api}/v1/public/cg/contracts"), decode_rows, read_interval) for api in (LINEAR, INVERSE)
    ),
)
