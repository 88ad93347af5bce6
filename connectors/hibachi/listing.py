"""Reading what Hibachi lists, and what of it comes by REST.

https://api-doc.hibachi.xyz
"""

from collections.abc import Callable, Iterable
from urllib.parse import quote

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Poll, Request
from aggregator.records import DAY_S, HOUR_S, Instrument, MarketState, OpenInterest, Record, Ticker
from aggregator.wire import Text, at, nonzero, number, optional, seconds

REST = "https://data-api.hibachi.xyz/market"
STATES: dict[str, MarketState] = {"LIVE": "trading", "CLOSED": "halt"}


class ContractWire(Struct):
    symbol: str
    underlyingSymbol: str
    settlementSymbol: str
    status: str = ""
    tickSize: Text = None
    stepSize: Text = None
    minOrderSize: Text = None
    minNotional: Text = None
    marketCreationTimestamp: Text = None  # in seconds


class StatsWire(Struct):
    high24h: Text
    low24h: Text
    volume24h: Text  # in the quote asset: the sum of its candles' `volumeNotional` (2026-09)


class OpenWire(Struct):
    totalQuantity: Text


decode_contract = Decoder(ContractWire, float_hook=number).decode
decode_stats = Decoder(StatsWire, float_hook=number).decode
decode_open = Decoder(OpenWire, float_hook=number).decode


def read_contract(row: Raw) -> Instrument:
    c = decode_contract(row)
    return Instrument(
        raw_symbol=c.symbol,
        kind="perpetual",
        base=c.underlyingSymbol,
        quote=c.settlementSymbol,
        settle=c.settlementSymbol,
        linear=True,
        contract_size="1",
        tick_size=optional(c.tickSize),
        lot_size=optional(c.stepSize),
        min_size=optional(c.minOrderSize),
        min_notional=optional(c.minNotional),
        state=STATES.get(c.status, "unknown"),
        ts_listed=seconds(c.marketCreationTimestamp) if c.marketCreationTimestamp else None,
        funding_interval_s=HOUR_S,
        funding_offset_s=0,
    )


def read_stats(name: str, body: bytes) -> Iterable[Record]:
    said = decode_stats(body)
    high, low, volume = nonzero(said.high24h), nonzero(said.low24h), optional(said.volume24h)
    yield Ticker(raw_symbol=name, high=high, low=low, quote_volume=volume, window_s=DAY_S)


def read_open(name: str, body: bytes) -> Iterable[Record]:
    if (size := optional(decode_open(body).totalQuantity)) is not None:
        yield OpenInterest(raw_symbol=name, size=size)


def asking_for(what: str) -> Callable[[str], Request]:
    return lambda raw_symbol: Request(f"{REST}/data/{what}?symbol={quote(raw_symbol, safe='')}")


LISTING = Listing((Request(f"{REST}/exchange-info"),), at("futureContracts"), read_contract)
POLLS = (
    Poll(name="stats", channels=("ticker",), every=30, request=asking_for("stats"), parse=read_stats),
    Poll(name="open", channels=("open_interest",), every=30, request=asking_for("open-interest"), parse=read_open),
)
