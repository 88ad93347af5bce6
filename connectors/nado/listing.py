"""Reading what Nado lists, and what of it comes by REST.

https://docs.nado.xyz/developer-resources/api/gateway/queries/symbols
https://docs.nado.xyz/developer-resources/api/v2/contracts
Outside of their hours, markets that have some are `soft_reduce_only`: none may open a position there.
Every market is quoted in USDT0, its product 0. A funding rate is that of a day; funding is exchanged each hour.
"""

from collections.abc import Iterable, Mapping

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Poll, Request, Snapshot
from aggregator.records import (
    DAY_S,
    BookSnapshot,
    Funding,
    IndexPrice,
    Instrument,
    Kind,
    MarketState,
    MarkPrice,
    OpenInterest,
    Record,
    Ticker,
)
from aggregator.wire import Text, nonzero, number, optional, seconds
from connectors.nado.wires import levels, x18

GATEWAY, ARCHIVE = "https://gateway.prod.nado.xyz/v1", "https://archive.prod.nado.xyz/v2"
DEPTH = 100
KINDS: dict[str, Kind] = {"perp": "perpetual", "spot": "spot"}
STATES: dict[str, MarketState] = {
    "live": "trading",
    "reduce_only": "reduce_only",
    "soft_reduce_only": "reduce_only",  # markets that have hours are so outside of them
    "post_only": "post_only",
    "not_tradable": "halt",
}


class SymbolWire(Struct):
    type: str
    product_id: int
    symbol: str
    price_increment_x18: int
    size_increment: int
    min_size: int = 0  # the smallest price times size
    trading_status: str = ""


class MarketWire(Struct):
    """The figures of a market, or of a contract."""

    product_id: int
    last_price: Text = None
    base_volume: Text = None
    quote_volume: Text = None
    open_interest: Text = None
    open_interest_usd: Text = None
    index_price: Text = None
    mark_price: Text = None
    funding_rate: Text = None
    next_funding_rate_timestamp: int | None = None  # in seconds


class BookData(Struct):
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    timestamp: int  # in nanoseconds


class BookAnswer(Struct):
    data: BookData


decode_rows = Decoder(list[Raw]).decode
decode_symbol = Decoder(SymbolWire, strict=False).decode
decode_markets = Decoder(dict[str, MarketWire], strict=False, float_hook=number).decode
decode_book = Decoder(BookAnswer, strict=False).decode


def read_symbol(row: Raw) -> Instrument | None:
    s = decode_symbol(row)
    kind = KINDS.get(s.type)
    if kind is None or s.product_id == 0:
        return None
    is_spot = kind == "spot"
    return Instrument(
        raw_symbol=str(s.product_id),
        kind=kind,
        base=s.symbol.removesuffix("-PERP").upper(),  # `kPEPE` is a thousand
        quote="USDT0",
        settle=None if is_spot else "USDT0",
        linear=None if is_spot else True,
        contract_size=None if is_spot else "1",
        tick_size=x18(s.price_increment_x18),
        lot_size=x18(s.size_increment),
        min_notional=x18(s.min_size),
        state=STATES.get(s.trading_status, "unknown"),
    )


def each(body: bytes) -> Mapping[str, MarketWire]:
    return {str(market.product_id): market for market in decode_markets(body).values()}


def read_tickers(_: str, body: bytes) -> Iterable[Record]:
    for name, market in each(body).items():
        yield Ticker(
            raw_symbol=name,
            last=nonzero(market.last_price),
            base_volume=optional(market.base_volume),
            quote_volume=optional(market.quote_volume),
            window_s=DAY_S,
        )


def read_contracts(_: str, body: bytes) -> Iterable[Record]:
    for name, market in each(body).items():
        if (rate := optional(market.funding_rate)) is not None:
            due = market.next_funding_rate_timestamp
            yield Funding(raw_symbol=name, rate=rate, interval_s=DAY_S, ts_next=None if due is None else seconds(due))
        if (size := optional(market.open_interest)) is not None:
            yield OpenInterest(raw_symbol=name, size=size, quote_value=optional(market.open_interest_usd))
        for kind, price in ((MarkPrice, nonzero(market.mark_price)), (IndexPrice, nonzero(market.index_price))):
            if price is not None:
                yield kind(raw_symbol=name, price=price)


def book_request(raw_symbol: str) -> Request:
    return Request(f"{GATEWAY}/query?type=market_liquidity&product_id={raw_symbol}&depth={DEPTH}")


def read_book(raw_symbol: str, body: bytes) -> BookSnapshot:
    """A whole book, which is cut: below the last of so many levels nothing is known."""
    said = decode_book(body).data
    bids, asks = levels(said.bids), levels(said.asks)
    return BookSnapshot(
        raw_symbol=raw_symbol,
        bids=bids,
        asks=asks,
        bid_floor=bids[-1][0] if len(bids) >= DEPTH else None,
        ask_cap=asks[-1][0] if len(asks) >= DEPTH else None,
        sequence=said.timestamp,
        ts_event=said.timestamp,
    )


LISTING = Listing((Request(f"{GATEWAY}/symbols"),), decode_rows, read_symbol, state=("trading_status",))
BOOK = Snapshot(request=book_request, parse=read_book)
TICKERS = Poll(
    name="tickers",
    channels=("ticker",),
    every=10,
    request=lambda _: Request(f"{ARCHIVE}/tickers"),
    parse=read_tickers,
    many=True,
)
CONTRACTS = Poll(
    name="contracts",
    channels=("funding", "open_interest", "mark_price", "index_price"),
    every=10,
    request=lambda _: Request(f"{ARCHIVE}/contracts"),
    parse=read_contracts,
    serves=lambda instrument: instrument.kind == "perpetual",
    many=True,
)
