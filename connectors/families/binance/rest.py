"""Requests to the Binance protocol by REST: instruments, whole books, past trades.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Backfill, Listing, Request, Since, Snapshot
from aggregator.records import BookSnapshot, Instrument, Levels, MarketState, Trade
from aggregator.refusals import BANNED, coded
from aggregator.wire import at, ms
from connectors.families.binance.wires import stamp

DEPTH = 5000  # levels a side of a book
STATES: dict[str, MarketState] = {
    "TRADING": "trading",
    "HALT": "halt",
    "BREAK": "halt",
    "END_OF_DAY": "halt",
    "CANCEL_ONLY": "cancel_only",
    "PRE_TRADING": "pre_open",
}


BUSY = ("-1003", "-1008")  # too many requests; overloaded
trouble = coded("code", "msg", fine=("0", "200"), busy=BUSY, until=BANNED)


class PartialWire(Struct, gc=False):
    lastUpdateId: int
    bids: Levels
    asks: Levels
    s: str | None = None
    E: int | None = None
    T: int | None = None  # the engines that futures run on tell both times


decode_partial = Decoder(PartialWire, strict=False).decode  # the number may come as text (Coins.ph)


class Filter(Struct):
    filterType: str
    tickSize: str | None = None
    stepSize: str | None = None
    minQty: str | None = None
    maxQty: str | None = None
    minNotional: str | None = None
    notional: str | None = None  # derivatives, for minNotional


class Filtered(Struct, kw_only=True):
    filters: list[Filter] = []


class SymbolWire(Filtered):
    symbol: str
    baseAsset: str
    quoteAsset: str
    status: str


class ExchangeInfo(Struct):
    symbols: list[Raw]


decode_info = Decoder(ExchangeInfo).decode
decode_symbol = Decoder(SymbolWire).decode


def read_symbol(row: Raw) -> Instrument:
    s = decode_symbol(row)
    instrument = Instrument(
        raw_symbol=s.symbol,
        kind="spot",
        base=s.baseAsset,
        quote=s.quoteAsset,
        state=STATES.get(s.status.upper(), "unknown"),
    )
    read_filters(instrument, s.filters)
    return instrument


def read_filters(instrument: Instrument, filters: Iterable[Filter]) -> None:
    """Set an instrument's steps and limits."""
    named, nothing = {f.filterType: f for f in filters}, Filter("")
    lot = named.get("LOT_SIZE", nothing)
    notional = named.get("NOTIONAL") or named.get("MIN_NOTIONAL", nothing)
    instrument.tick_size = named.get("PRICE_FILTER", nothing).tickSize
    instrument.lot_size, instrument.min_size, instrument.max_size = lot.stepSize, lot.minQty, lot.maxQty
    instrument.min_notional = notional.minNotional or notional.notional


class PastTrade(Struct):
    id: int
    price: str
    qty: str
    quoteQty: str
    time: int
    isBuyerMaker: bool


decode_past = Decoder(list[PastTrade]).decode


def read_past(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    """Oldest first on the wire."""
    for past in decode_past(body):
        yield Trade(
            raw_symbol=raw_symbol,
            id=str(past.id),
            price=past.price,
            size=past.qty,
            side="sell" if past.isBuyerMaker else "buy",
            quote_size=past.quoteQty,
            sequence=past.id,
            ts_event=stamp(past.time),
        )


def listing(rest: str) -> Listing:
    return Listing((Request(f"{rest}/exchangeInfo", weight=20),), at("symbols"), read_symbol)


def snapshot(rest: str, *, depth: int = DEPTH, weight: int = 250) -> Snapshot:
    """Whole books of so many levels a side; a name that has a line between its assets is asked for without it."""

    def request(raw_symbol: str) -> Request:
        return Request(f"{rest}/depth?symbol={raw_symbol.replace('_', '')}&limit={depth}", weight=weight)

    def read(raw_symbol: str, body: bytes) -> BookSnapshot:
        book = decode_partial(body)
        return BookSnapshot(
            raw_symbol=raw_symbol,
            bids=book.bids,
            asks=book.asks,
            sequence=book.lastUpdateId,
            depth=depth,
            ts_event=None if book.T is None else ms(book.T),
            ts_sent=None if book.E is None else ms(book.E),
        )

    return Snapshot(request=request, parse=read)


def backfill(rest: str, *, lookup: bool = True) -> Backfill:
    """Raw trades are asked for by number (without a key at Binance since 2023), or without `lookup` the latest 1000."""

    def request(raw_symbol: str, since: Since) -> Request:
        if not lookup:
            return Request(f"{rest}/trades?symbol={raw_symbol}&limit=1000", weight=25)
        start = "" if since.sequence is None else f"&fromId={since.sequence + 1}"
        return Request(f"{rest}/historicalTrades?symbol={raw_symbol}&limit=1000{start}", weight=25)

    return Backfill(request, read_past)
