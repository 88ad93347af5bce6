"""Requests and answers by REST: the two listings, whole books, and trades that were missed."""

from collections.abc import Iterable
from typing import Any

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Request, Since
from aggregator.records import BookSnapshot, Instrument, MarketState, Trade
from aggregator.wire import Text, as_written, either, levels, ms, seconds, step, text
from connectors.wazirx.wires import LEVELS

HOST = "https://api.wazirx.com"
STATES: dict[str, MarketState] = {"trading": "trading"}
Filter = dict[str, Any]


class SpotMarket(Struct):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    baseAssetPrecision: int | None = None
    isSpotTradingAllowed: bool = True
    filters: list[Filter] = []


class Contract(Struct):
    """A row of the listing of futures, which says no state: all that it lists is traded."""

    symbol: str
    contractType: str
    baseAsset: str
    quoteAsset: str
    marginAsset: str
    pricePrecision: str | int | None = None
    quantityPrecision: str | int | None = None
    filters: list[Filter] = []


class SpotDepth(Struct):
    bids: list[list[Text]]
    asks: list[list[Text]]
    timestamp: int | None = None  # seconds
    lastUpdateAt: int | None = None  # its name in the documentation


class FuturesDepth(Struct):
    bids: list[list[Text]]
    asks: list[list[Text]]
    E: int
    T: int


class PastTrade(Struct):
    id: int
    price: str
    qty: str
    time: int
    isBuyerMaker: bool
    quoteQty: str | None = None


decode_market = either(
    Decoder(Contract, float_hook=as_written).decode, Decoder(SpotMarket, float_hook=as_written).decode
)
decode_spot_depth = Decoder(SpotDepth).decode
decode_futures_depth = Decoder(FuturesDepth).decode
decode_past = Decoder(list[PastTrade]).decode


def read_market(row: Raw) -> Instrument:
    market = decode_market(row)
    return contract(market) if isinstance(market, Contract) else spot(market)


def spot(m: SpotMarket) -> Instrument:
    return Instrument(
        raw_symbol=m.symbol,
        base=m.baseAsset.upper(),
        quote=m.quoteAsset.upper(),
        tick_size=found(m.filters, "PRICE_FILTER", "tickSize"),
        lot_size=step(m.baseAssetPrecision),
        state=STATES.get(m.status, "unknown") if m.isSpotTradingAllowed else "halt",
    )


def contract(c: Contract) -> Instrument:
    if c.contractType != "PERPETUAL":
        raise BadFrame(f"{c.symbol} is a contract of another type: {c.contractType}")
    return Instrument(
        raw_symbol=c.symbol,
        kind="perpetual",
        base=c.baseAsset,
        quote=c.quoteAsset,
        settle=c.marginAsset,
        linear=c.marginAsset == c.quoteAsset,
        tick_size=step(c.pricePrecision),
        lot_size=step(c.quantityPrecision),
        min_size=found(c.filters, "limit_qty_size", "minQty"),
        max_size=found(c.filters, "limit_qty_size", "maxQty"),
        min_notional=found(c.filters, "min_notional", "notional"),
    )


def found(filters: Iterable[Filter], kind: str, name: str) -> str | None:
    """Give what one filter says, or None where there is none of this type."""
    return next((text(f[name]) for f in filters if f.get("filterType") == kind and name in f), None)


def ask_spot(raw_symbol: str) -> Request:
    return Request(f"{HOST}/sapi/v1/depth?symbol={raw_symbol}&limit={LEVELS}")


def read_spot(raw_symbol: str, body: bytes) -> BookSnapshot:
    d = decode_spot_depth(body)
    at = d.timestamp if d.lastUpdateAt is None else d.lastUpdateAt
    return BookSnapshot(
        raw_symbol=raw_symbol,
        bids=levels(d.bids),
        asks=levels(d.asks),
        depth=LEVELS,
        ts_event=None if at is None else seconds(at),
    )


def ask_futures(raw_symbol: str) -> Request:
    return Request(f"{HOST}/fapi/v1/depth?symbol={raw_symbol}")  # any limit but its own twenty levels is refused


def read_futures(raw_symbol: str, body: bytes) -> BookSnapshot:
    d = decode_futures_depth(body)
    return BookSnapshot(
        raw_symbol=raw_symbol, bids=levels(d.bids), asks=levels(d.asks), depth=LEVELS, ts_event=ms(d.T), ts_sent=ms(d.E)
    )


def missed(raw_symbol: str, _: Since) -> Request:
    return Request(f"{HOST}/sapi/v1/trades?symbol={raw_symbol}&limit=1000")


def read_missed(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    return [
        Trade(
            raw_symbol=raw_symbol,
            id=str(t.id),
            price=text(t.price),
            size=text(t.qty),
            quote_size=text(t.quoteQty),
            side="sell" if t.isBuyerMaker else "buy",
            sequence=t.id,
            ts_event=ms(t.time),
        )
        for t in sorted(decode_past(body), key=lambda t: t.id)
    ]
