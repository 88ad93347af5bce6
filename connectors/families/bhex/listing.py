"""The list of markets in the BHEX protocol: pairs and contracts in one answer.

https://hashkeyglobal-apidoc.readme.io
"""

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Request
from aggregator.records import Instrument, MarketState
from aggregator.wire import optional, text

STATES: dict[str, MarketState] = {
    "TRADING": "trading",
    "API_TRADE_FORBIDDEN": "trading",  # by others than programs
    "OPEN_FORBIDDEN": "reduce_only",
    "ONLINE": "pre_open",
    "CLOSE_FORBIDDEN": "halt",
    "HALT": "halt",
    "BREAK": "halt",
}


class Filter(Struct):
    filterType: str
    tickSize: str | None = None
    stepSize: str | None = None
    minQty: str | None = None
    maxQty: str | None = None
    minNotional: str | None = None


class MarketWire(Struct):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[Filter] = []
    underlying: str = ""  # contracts only, as what follows
    index: str = ""
    indexToken: str = ""  # where there is one, it names the index, and `index` the coin alone (2025)
    inverse: bool = False
    marginToken: str = ""
    contractMultiplier: str = ""


class Markets(Struct):
    symbols: list[Raw]
    contracts: list[Raw] = []


decode_markets = Decoder(Markets).decode
decode_market = Decoder(MarketWire).decode


def rows(body: bytes) -> list[Raw]:
    markets = decode_markets(body)
    return [*markets.symbols, *markets.contracts]


def read_market(row: Raw, suffix: str, interval_s: int | None) -> Instrument:
    """A contract's limits are told in coins, and not read, because its sizes count contracts."""
    m = decode_market(row)
    named, nothing = {f.filterType: f for f in m.filters}, Filter("")
    tick, state = optional(named.get("PRICE_FILTER", nothing).tickSize), STATES.get(m.status, "unknown")
    if m.contractMultiplier:
        return Instrument(
            raw_symbol=m.symbol,
            kind="perpetual",
            base=m.underlying,
            quote=m.quoteAsset,
            settle=m.marginToken,
            linear=not m.inverse,
            contract_size=text(m.contractMultiplier),
            tick_size=tick,
            state=state,
            index=m.symbol.removesuffix(suffix) if suffix else m.indexToken or m.index or None,
            funding_interval_s=interval_s,
        )
    lot = named.get("LOT_SIZE", nothing)
    return Instrument(
        raw_symbol=m.symbol,
        base=m.baseAsset,
        quote=m.quoteAsset,
        tick_size=tick,
        lot_size=optional(lot.stepSize),
        min_size=optional(lot.minQty),
        max_size=optional(lot.maxQty),
        min_notional=optional(named.get("MIN_NOTIONAL", nothing).minNotional),
        state=state,
    )


def listing(rest: str, *, suffix: str = "", interval_s: int | None = None) -> Listing:
    """Declare the list.

    suffix: what a contract has behind its index's name; else the list names the index
    interval_s: how often all contracts exchange funding, where that is one number
    """
    return Listing((Request(f"{rest}/api/v1/exchangeInfo"),), rows, lambda row: read_market(row, suffix, interval_s))
