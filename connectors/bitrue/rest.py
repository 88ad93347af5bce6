"""Bitrue's answers by REST: trades and tickers of pairs, mark, index and funding of contracts, best prices of both.

https://www.bitrue.com/api-docs
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Poll, Request
from aggregator.records import DAY_S, Funding, IndexPrice, MarkPrice, Record, Ticker, Trade
from aggregator.wire import Text, as_written, bbo, either, ms, nonzero, optional, text
from connectors.bitrue.listing import CONTRACT, SPOT, is_contract


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


class BestWire(Struct):
    bidPrice: str | None
    bidQty: str | None
    askPrice: str | None
    askQty: str | None


class QuoteWire(Struct):
    """The ticker of a contract: its best prices come without sizes."""

    buy: Text
    sell: Text
    time: int | None = None


class IndexWire(Struct):
    indexPrice: Text
    tagPrice: Text
    currentFundRate: Text = None


decode_past = Decoder(list[PastWire]).decode
decode_day = either(Decoder(DayWire).decode, Decoder(list[DayWire]).decode)
decode_best = either(Decoder(BestWire).decode, Decoder(QuoteWire, float_hook=as_written).decode)
decode_index = Decoder(IndexWire, float_hook=as_written).decode


def read_past(raw_symbol: str, body: bytes) -> Iterable[Record]:
    return [
        Trade(
            raw_symbol=raw_symbol,
            id=str(t.id),
            price=text(t.price),
            size=text(t.qty),
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
            base_volume=optional(t.volume),
            quote_volume=optional(t.quoteVolume),
            change=optional(t.priceChange),
            window_s=DAY_S,
        )
        for t in (found if isinstance(found, list) else [found])
    ]


def read_best(raw_symbol: str, body: bytes) -> Iterable[Record]:
    b = decode_best(body)
    if isinstance(b, QuoteWire):
        return (bbo(raw_symbol, b.buy, None, b.sell, None, ts_sent=None if b.time is None else ms(b.time)),)
    return (bbo(raw_symbol, b.bidPrice, b.bidQty, b.askPrice, b.askQty),)


def ask_best(raw_symbol: str) -> Request:
    if raw_symbol.startswith("E-"):
        return ask_contract("ticker", raw_symbol)
    return Request(f"{SPOT}/ticker/bookTicker?symbol={raw_symbol}")


def ask_contract(path: str, raw_symbol: str) -> Request:
    api = "dapi" if raw_symbol.endswith("-USD") else "fapi"
    return Request(f"{CONTRACT}/{api}/v1/{path}?contractName={raw_symbol}")


def read_index(raw_symbol: str, body: bytes) -> Iterable[Record]:
    i = decode_index(body)
    if mark := nonzero(i.tagPrice):
        yield MarkPrice(raw_symbol=raw_symbol, price=mark)
    if index := nonzero(i.indexPrice):
        yield IndexPrice(raw_symbol=raw_symbol, price=index)
    if rate := optional(i.currentFundRate):
        yield Funding(raw_symbol=raw_symbol, rate=rate)


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
BEST = Poll(
    name="best",
    channels=("bbo",),
    every=10,
    request=ask_best,
    parse=read_best,
)
INDEX = Poll(
    name="index",
    channels=("mark_price", "index_price", "funding"),
    every=60,
    request=lambda raw_symbol: ask_contract("index", raw_symbol),
    parse=read_index,
    serves=is_contract,
)
