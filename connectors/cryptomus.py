"""Cryptomus, spot, by polling: its socket wants a token that only an account gives.

https://doc.cryptomus.com/personal/market-cap/orderbook
https://doc.cryptomus.com/personal/market-cap/trades
https://doc.cryptomus.com/personal/exchange/list-of-available-trading-pairs
The two volumes of a trade have each other's names: in each example of the documentation the base volume is the price
times the quote volume. ccxt 4.5.90 reads them so too. Steps and least sizes are read as the documentation has them.
Trades and tickers have the fields of CoinMarketCap, whose side of a trade is the taker's.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Exchange, Limits, Listing, Page, PastPages, Poll, Request, Trouble
from aggregator.records import DAY_S, BookSnapshot, Instrument, Level, Levels, Record, Side, Ticker, Trade
from aggregator.refusals import fields_of, text_of
from aggregator.wire import Text, nonzero, optional, seconds, step, text

API = "https://api.cryptomus.com"
MARKET = f"{API}/v1/exchange/market"


class Answer(Struct):
    """The content is in either field: the examples of the documentation and those of ccxt differ."""

    result: Raw = Raw()
    data: Raw = Raw()


class TradeRow(Struct):
    trade_id: str
    price: str
    base_volume: str  # in the quote currency, whatever its name
    quote_volume: str  # in the base currency
    timestamp: Text  # seconds
    type: Side


class LevelRow(Struct):
    price: str
    quantity: str


class Depth(Struct):
    bids: list[LevelRow]
    asks: list[LevelRow]
    timestamp: Text = None


class DayRow(Struct):
    currency_pair: str
    last_price: Text = None
    base_volume: Text = None
    quote_volume: Text = None


class MarketRow(Struct):
    symbol: str
    baseCurrency: str
    quoteCurrency: str
    basePrec: Text = None
    quotePrec: Text = None
    baseMinSize: Text = None
    baseMaxSize: Text = None
    quoteMinSize: Text = None


decode_answer = Decoder(Answer).decode
decode_trades = Decoder(list[TradeRow], float_hook=str).decode
decode_depth = Decoder(Depth, float_hook=str).decode
decode_days = Decoder(list[DayRow]).decode
decode_rows = Decoder(list[Raw]).decode
decode_market = Decoder(MarketRow).decode


def content(body: bytes) -> bytes:
    said = decode_answer(body)
    found = bytes(said.result) or bytes(said.data)
    if not found:
        raise BadFrame("an answer without a content")
    return found


def trouble(_: int, __: Mapping[str, str], body: bytes) -> Trouble | None:
    """An error has a state that is not 0, or a code, and may come with HTTP 200."""
    said = fields_of(body)
    state, code = text_of(said.get("state")), text_of(said.get("code"))
    if state in {None, "0"} and code is None:
        return None
    return Trouble(f"{code or state}: {text_of(said.get('message')) or ''}".removesuffix(": "))


def asking(path: str, query: str = "") -> Callable[[str], Request]:
    return lambda raw_symbol: Request(f"{MARKET}/{path}/{raw_symbol}{query}")


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    return [
        Trade(
            raw_symbol=raw_symbol,
            id=t.trade_id,
            price=text(t.price),
            size=text(t.quote_volume),
            quote_size=text(t.base_volume),
            side=t.type,
            ts_event=seconds(text(t.timestamp)),
        )
        for t in sorted(decode_trades(content(body)), key=lambda t: t.trade_id)  # an id begins with its time
    ]


def price(level: Level) -> Decimal:
    return Decimal(level[0])


def levels(rows: Iterable[LevelRow]) -> Levels:
    return sorted(((text(row.price), text(row.quantity)) for row in rows), key=price)


def read_depth(raw_symbol: str, body: bytes) -> Iterable[Record]:
    d = decode_depth(content(body))
    at = None if d.timestamp is None else seconds(text(d.timestamp))
    bids, asks = levels(d.bids)[::-1], levels(d.asks)
    return (BookSnapshot(raw_symbol=raw_symbol, bids=bids, asks=asks, reason="periodic", ts_event=at),)


def read_days(_: str, body: bytes) -> Iterable[Record]:
    return [
        Ticker(
            raw_symbol=day.currency_pair,
            last=nonzero(day.last_price),
            base_volume=optional(day.base_volume),
            quote_volume=optional(day.quote_volume),
            window_s=DAY_S,
        )
        for day in decode_days(content(body))
    ]


def rows(body: bytes) -> Iterable[Raw]:
    return decode_rows(content(body))


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    return Instrument(
        raw_symbol=m.symbol,
        base=m.baseCurrency,
        quote=m.quoteCurrency,
        tick_size=step(m.quotePrec),
        lot_size=step(m.basePrec),
        min_size=optional(m.baseMinSize),
        max_size=optional(m.baseMaxSize),
        min_notional=optional(m.quoteMinSize),
    )


def ask_past(page: Page) -> Request:
    return Request(f"{MARKET}/trades/{page.raw_symbol}")


def read_past(page: Page, body: bytes) -> Iterable[Trade]:
    return read_trades(page.raw_symbol, body)


EXCHANGE = Exchange(
    id="cryptomus",
    docs="https://doc.cryptomus.com/personal",
    checked="2026-11, its documentation, ccxt 4.5.90 and a client of others: no answer was seen",
    trouble=trouble,
    limits=Limits(weights={API: ((10, 10),)}),
    listing=Listing((Request(f"{API}/v2/user-api/exchange/markets"),), rows, read_market),
    history=(PastPages(channel="trades", walk="latest", request=ask_past, parse=read_past, most=100),),
    feeds=(
        Poll(name="trades", channels=("trades",), every=15, request=asking("trades"), parse=read_trades),
        Poll(name="book", channels=("book",), every=10, request=asking("order-book", "?level=0"), parse=read_depth),
        Poll(
            name="days",
            channels=("ticker",),
            every=30,
            request=lambda _: Request(f"{MARKET}/tickers"),
            parse=read_days,
            many=True,
        ),
    ),
    notes=(
        "An answer holds the last hundred trades, with times in whole seconds.",
        "Its limits are not documented: it is asked once in a second.",
        "The list of markets says of none how it stands.",
    ),
)
