"""HashKey's answers by REST: its markets, funding rates and index prices.

https://hashkeyglobal-apidoc.readme.io
Funding is exchanged every eight hours, as the documentation says of all contracts.
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Poll, Request
from aggregator.records import HOUR_S, Funding, IndexPrice, Instrument, MarketState, Record
from aggregator.wire import ms, nonzero

REST = "https://api-glb.hashkey.com"
STATES: dict[str, MarketState] = {"TRADING": "trading", "HALT": "halt", "BREAK": "halt"}
SUFFIX = "-PERPETUAL"


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
    underlying: str = ""  # contracts only, as the next three
    inverse: bool = False
    marginToken: str = ""
    contractMultiplier: str = ""


class Markets(Struct):
    symbols: list[Raw]
    contracts: list[Raw] = []


class FundingWire(Struct):
    symbol: str
    rate: str
    nextSettleTime: str


class Indices(Struct):
    index: dict[str, str]


decode_markets = Decoder(Markets).decode
decode_market = Decoder(MarketWire).decode
decode_fundings = Decoder(list[FundingWire]).decode
decode_indices = Decoder(Indices).decode


def rows(body: bytes) -> list[Raw]:
    markets = decode_markets(body)
    return [*markets.symbols, *markets.contracts]


def read_market(row: Raw) -> Instrument:
    """A contract's limits are told in coins, and not read, because its sizes count contracts."""
    m = decode_market(row)
    named, nothing = {f.filterType: f for f in m.filters}, Filter("")
    tick, state = named.get("PRICE_FILTER", nothing).tickSize, STATES.get(m.status, "unknown")
    if m.contractMultiplier:
        return Instrument(
            raw_symbol=m.symbol,
            kind="perpetual",
            base=m.underlying,
            quote=m.quoteAsset,
            settle=m.marginToken,
            linear=not m.inverse,
            contract_size=m.contractMultiplier,
            tick_size=tick,
            state=state,
            index=m.symbol.removesuffix(SUFFIX),
            funding_interval_s=8 * HOUR_S,
        )
    lot = named.get("LOT_SIZE", nothing)
    return Instrument(
        raw_symbol=m.symbol,
        base=m.baseAsset,
        quote=m.quoteAsset,
        tick_size=tick,
        lot_size=lot.stepSize,
        min_size=lot.minQty,
        max_size=lot.maxQty,
        min_notional=named.get("MIN_NOTIONAL", nothing).minNotional,
        state=state,
    )


def read_fundings(_: str, body: bytes) -> Iterable[Record]:
    for f in decode_fundings(body):
        if f.rate:
            yield Funding(raw_symbol=f.symbol, rate=f.rate, ts_next=ms(f.nextSettleTime) or None)


def read_indices(_: str, body: bytes) -> Iterable[Record]:
    for name, price in decode_indices(body).index.items():
        if nonzero(price):
            yield IndexPrice(raw_symbol=name + SUFFIX, price=price, index=name)


LISTING = Listing((Request(f"{REST}/api/v1/exchangeInfo"),), rows, read_market)
FUNDING = Poll(
    name="funding",
    channels=("funding",),
    every=60,
    request=lambda _: Request(f"{REST}/api/v1/futures/fundingRate", fresh="timestamp"),  # it must be given
    parse=read_fundings,
    many=True,
)
INDEX = Poll(
    name="index",
    channels=("index_price",),
    every=10,
    request=lambda _: Request(f"{REST}/quote/v1/index"),
    parse=read_indices,
    many=True,
)
