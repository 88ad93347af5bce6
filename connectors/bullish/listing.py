"""Bullish's list of all its markets, in one answer.

https://docs.exchange.bullish.com
"""

from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Request
from aggregator.records import HOUR_S, Instrument, Kind, MarketState
from aggregator.wire import at, from_iso, optional, step

REST = "https://api.exchange.bullish.com/trading-api"
KINDS: dict[str, Kind] = {"SPOT": "spot", "PERPETUAL": "perpetual", "DATED_FUTURE": "future", "OPTION": "option"}
OPTION_TYPES: dict[str, Literal["call", "put"]] = {"CALL": "call", "PUT": "put"}


class MarketWire(Struct):
    symbol: str
    baseSymbol: str
    quoteSymbol: str
    marketType: str = "SPOT"
    tickSize: str | None = None
    quantityPrecision: str | None = None
    minQuantityLimit: str | None = None
    maxQuantityLimit: str | None = None
    minCostLimit: str | None = None
    marketEnabled: bool = True
    createOrderEnabled: bool = True
    cancelOrderEnabled: bool = True
    underlyingBaseSymbol: str | None = None  # contracts alone, as what follows
    underlyingQuoteSymbol: str | None = None
    settlementAssetSymbol: str | None = None
    contractMultiplier: str | None = None
    expiryDatetime: str | None = None
    optionStrikePrice: str | None = None
    optionType: str | None = None


decode_market = Decoder(MarketWire, strict=False).decode


def read_market(row: Raw) -> Instrument | None:
    """Read a market; one of a type that is not known is of no interest, as nobody could say what its sizes count."""
    m = decode_market(row)
    kind = KINDS.get(m.marketType)
    if kind is None:
        return None
    base, quote = m.underlyingBaseSymbol or m.baseSymbol, m.underlyingQuoteSymbol or m.quoteSymbol
    is_spot, is_dated = kind == "spot", kind in {"future", "option"}
    settle = None if is_spot else m.settlementAssetSymbol or quote
    return Instrument(
        raw_symbol=m.symbol,
        kind=kind,
        base=base,
        quote=quote,
        settle=settle,
        linear=None if is_spot else settle == quote,
        contract_size=None if is_spot else optional(m.contractMultiplier),
        tick_size=optional(m.tickSize),
        lot_size=step(m.quantityPrecision),
        min_size=optional(m.minQuantityLimit),
        max_size=optional(m.maxQuantityLimit),
        min_notional=optional(m.minCostLimit),
        expiry=from_iso(m.expiryDatetime) if m.expiryDatetime and is_dated else None,
        strike=optional(m.optionStrikePrice),
        option_type=OPTION_TYPES.get(m.optionType or ""),
        state=state(m),
        index=None if is_spot else base,
        funding_interval_s=HOUR_S if kind == "perpetual" else None,
        funding_offset_s=0 if kind == "perpetual" else None,
    )


def state(m: MarketWire) -> MarketState:
    """A market may be open for those alone who take their orders back."""
    if m.marketEnabled and m.createOrderEnabled:
        return "trading"
    return "cancel_only" if m.marketEnabled and m.cancelOrderEnabled else "halt"


LISTING = Listing((Request(f"{REST}/v1/markets"),), at(), read_market, state=())
