"""Bitrue's markets: pairs within an object, contracts as a list.

https://www.bitrue.com/api-docs
https://www.bitrue.com/api_docs_includes_file/futures/index.html (a contract's `status` is as in ChainUP's protocol)
"""

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Request
from aggregator.records import Instrument, MarketState
from aggregator.wire import Text, as_written, optional, step, text

SPOT = "https://www.bitrue.com/api/v1"
CONTRACT = "https://fapi.bitrue.com"
STATES: dict[str, MarketState] = {"TRADING": "trading", "HALT": "halt"}
CONTRACT_STATES: dict[int, MarketState] = {0: "halt", 1: "trading"}
LINEAR = 1  # `side` of a contract


class Filter(Struct):
    filterType: str
    priceScale: int | None = None  # decimals of a price
    volumeScale: int | None = None
    minQty: str | None = None
    maxQty: str | None = None
    minVal: str | None = None


class PairWire(Struct):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[Filter] = []


class ContractWire(Struct):
    symbol: str  # `E-BTC-USDT`
    type: str  # `E`; others are for practice, or of another kind of margin
    status: int  # 0 cannot be traded, 1 can be
    side: int
    multiplier: Text
    pricePrecision: int
    minOrderVolume: Text = None


class Pairs(Struct):
    symbols: list[Raw]


decode_pairs = Decoder(Pairs).decode
decode_contracts = Decoder(list[Raw]).decode
decode_pair = Decoder(PairWire).decode
decode_contract = Decoder(ContractWire, float_hook=as_written).decode


def rows(body: bytes) -> list[Raw]:
    """The pairs are within an object, the contracts are a list."""
    return decode_contracts(body) if body[:1] == b"[" else decode_pairs(body).symbols


def read_market(row: Raw) -> Instrument | None:
    return read_contract(row) if b'"multiplier"' in bytes(row) else read_pair(row)


def read_pair(row: Raw) -> Instrument:
    p = decode_pair(row)
    named, nothing = {f.filterType: f for f in p.filters}, Filter("")
    price, lot = named.get("PRICE_FILTER", nothing), named.get("LOT_SIZE", nothing)
    return Instrument(
        raw_symbol=p.symbol,
        base=p.baseAsset.upper(),
        quote=p.quoteAsset.upper(),
        state=STATES.get(p.status, "unknown"),
        tick_size=step(price.priceScale),
        lot_size=step(lot.volumeScale),
        min_size=optional(lot.minQty),
        max_size=optional(lot.maxQty),
        min_notional=optional(lot.minVal),
    )


def read_contract(row: Raw) -> Instrument | None:
    c = decode_contract(row)
    if c.type != "E":
        return None
    _, base, quote = c.symbol.split("-")
    is_linear = c.side == LINEAR
    return Instrument(
        raw_symbol=c.symbol,
        kind="perpetual",
        base=base,
        quote=quote,
        settle=quote if is_linear else base,
        linear=is_linear,
        contract_size=text(c.multiplier),
        tick_size=step(c.pricePrecision),
        lot_size="1",
        min_size=optional(c.minOrderVolume),
        state=CONTRACT_STATES.get(c.status, "unknown"),
    )


def is_contract(instrument: Instrument) -> bool:
    return instrument.kind == "perpetual"


LISTING = Listing(
    (
        Request(f"{SPOT}/exchangeInfo"),
        Request(f"{CONTRACT}/fapi/v1/contracts"),
        Request(f"{CONTRACT}/dapi/v1/contracts"),
    ),
    rows,
    read_market,
)
