"""What Bitrue tells by REST: its markets, trades and tickers of pairs, and mark, index and funding of contracts.

https://www.bitrue.com/api-docs
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Poll, Request
from aggregator.records import (
    DAY_S,
    Funding,
    IndexPrice,
    Instrument,
    MarketState,
    MarkPrice,
    Record,
    Ticker,
    Trade,
)
from aggregator.wire import Text, as_written, either, ms, nonzero, optional, step, text

SPOT = "https://www.bitrue.com/api/v1"
CONTRACT = "https://fapi.bitrue.com"
STATES: dict[str, MarketState] = {"TRADING": "trading", "HALT": "halt"}
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
    status: int
    side: int
    multiplier: Text
    pricePrecision: int
    minOrderVolume: Text = None


class Pairs(Struct):
    symbols: list[Raw]


class PastWire(Struct):
    id: int
    price: str
    qty: str
    time: int
    isBuyerMaker: bool


class DayWire(Struct):
    lastPrice: str | None
    openPrice: str | None
    highPrice: str | None
    lowPrice: str | None
    volume: str | None
    quoteVolume: str | None
    priceChange: str | None = None


class IndexWire(Struct):
    indexPrice: Text
    tagPrice: Text
    currentFundRate: Text = None


decode_pairs = Decoder(Pairs).decode
decode_contracts = Decoder(list[Raw]).decode
decode_pair = Decoder(PairWire).decode
decode_contract = Decoder(ContractWire, float_hook=as_written).decode
decode_past = Decoder(list[PastWire]).decode
decode_day = either(Decoder(DayWire).decode, Decoder(list[DayWire]).decode)
decode_index = Decoder(IndexWire, float_hook=as_written).decode


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
        min_size=lot.minQty,
        max_size=lot.maxQty,
        min_notional=lot.minVal,
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
        state="trading" if c.status == 1 else "unknown",
    )


def is_contract(instrument: Instrument) -> bool:
    return instrument.kind == "perpetual"


def read_past(raw_symbol: str, body: bytes) -> Iterable[Record]:
    return [
        Trade(
            raw_symbol=raw_symbol,
            id=str(t.id),
            price=t.price,
            size=t.qty,
            side="sell" if t.isBuyerMaker else "buy",
            ts_event=ms(t.time),
        )
        for t in sorted(decode_past(body), key=lambda t: t.id)
    ]


def read_day(raw_symbol: str, body: bytes) -> Iterable[Record]:
    found = decode_day(body)
    return [
        Ticker(
            raw_symbol=raw_symbol,
            last=nonzero(t.lastPrice),
            open=nonzero(t.openPrice),
            high=nonzero(t.highPrice),
            low=nonzero(t.lowPrice),
            base_volume=t.volume,
            quote_volume=t.quoteVolume,
            change=t.priceChange,
            window_s=DAY_S,
        )
        for t in (found if isinstance(found, list) else [found])
    ]


def ask_index(raw_symbol: str) -> Request:
    api = "dapi" if raw_symbol.endswith("-USD") else "fapi"
    return Request(f"{CONTRACT}/{api}/v1/index?contractName={raw_symbol}")


def read_index(raw_symbol: str, body: bytes) -> Iterable[Record]:
    i = decode_index(body)
    if mark := nonzero(i.tagPrice):
        yield MarkPrice(raw_symbol=raw_symbol, price=mark)
    if index := nonzero(i.indexPrice):
        yield IndexPrice(raw_symbol=raw_symbol, price=index)
    if rate := optional(i.currentFundRate):
        yield Funding(raw_symbol=raw_symbol, rate=rate)


LISTING = Listing(
    (
        Request(f"{SPOT}/exchangeInfo"),
        Request(f"{CONTRACT}/fapi/v1/contracts"),
        Request(f"{CONTRACT}/dapi/v1/contracts"),
    ),
    rows,
    read_market,
)
TRADES = Poll(
    name="trades",
    channels=("trades",),
    every=15,
    request=lambda raw_symbol: Request(f"{SPOT}/trades?symbol={raw_symbol}&limit=500"),
    parse=read_past,
    serves=lambda i: not is_contract(i),
)
TICKER = Poll(
    name="ticker",
    channels=("ticker",),
    every=30,
    request=lambda raw_symbol: Request(f"{SPOT}/ticker/24hr?symbol={raw_symbol}"),
    parse=read_day,
    serves=lambda i: not is_contract(i),
)
INDEX = Poll(
    name="index",
    channels=("mark_price", "index_price", "funding"),
    every=60,
    request=ask_index,
    parse=read_index,
    serves=is_contract,
)
