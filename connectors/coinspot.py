"""CoinSpot, by polling version 2 of its public API: it has no stream.

https://www.coinspot.com.au/v2/api
"""

from collections.abc import Callable, Iterable
from decimal import Decimal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Limits, Listing, Poll, Request
from aggregator.records import Bbo, BookSnapshot, Instrument, Levels, Record, Ticker, Trade
from aggregator.refusals import coded
from aggregator.wire import Text, encode, from_iso, ms, nonzero, number, text

API = "https://www.coinspot.com.au/pubapi/v2"
HOME = "AUD"  # the market of whatever names none


class TradeRow(Struct, gc=False):
    """Without an id and a side."""

    rate: Text
    amount: Text
    solddate: Text  # an ISO time, or milliseconds
    market: str = ""  # `BTC/AUD`


class Trades(Struct):
    orders: list[TradeRow]  # newest first


class OrderRow(Struct, gc=False):
    rate: Text
    amount: Text


class Orders(Struct):
    buyorders: list[OrderRow]
    sellorders: list[OrderRow]


class Price(Struct):
    """Text, `NaN` where a coin has no such price."""

    last: Text = None
    bid: Text = None
    ask: Text = None


class Prices(Struct):
    prices: dict[str, Price]  # `btc`, `btc_usdt`


decode_trades = Decoder(Trades, float_hook=number).decode
decode_orders = Decoder(Orders, float_hook=number).decode
decode_prices = Decoder(Prices, float_hook=number).decode
decode_name = Decoder(str).decode


def asking(path: str) -> Callable[[str], Request]:
    return lambda raw_symbol: Request(f"{API}/{path}/{raw_symbol.replace('_', '/')}")


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Record]:
    trades = [
        Trade(
            raw_symbol=raw_symbol or named(t.market),
            price=text(t.rate),
            size=text(t.amount),
            ts_event=sold_at(t.solddate),
        )
        for t in reversed(decode_trades(body).orders)
    ]
    return sorted(trades, key=lambda t: t.ts_event or 0)


def named(market: str) -> str:
    """A market as the listing spells it: for an answer of which nobody knows what was asked."""
    base, _, quote = market.partition("/")
    return base.lower() if quote in {HOME, ""} else f"{base}_{quote}".lower()


def sold_at(date: Text) -> int:
    return ms(date) if isinstance(date, int) else from_iso(date)


def read_book(raw_symbol: str, body: bytes) -> Iterable[Record]:
    d = decode_orders(body)
    bids, asks = side(d.buyorders), side(d.sellorders)
    return (BookSnapshot(raw_symbol=raw_symbol, bids=bids[::-1], asks=asks, reason="periodic"),)


def side(orders: list[OrderRow]) -> Levels:
    """Single orders as levels, the cheapest first: what stands at one price is added up."""
    sizes: dict[Decimal, tuple[str, str]] = {}
    for order in orders:
        price, size = text(order.rate), text(order.amount)
        at = Decimal(price)
        known = sizes.get(at)
        sizes[at] = (price, size) if known is None else (known[0], f"{Decimal(known[1]) + Decimal(size):f}")
    return [level for _, level in sorted(sizes.items())]


def read_prices(_: str, body: bytes) -> Iterable[Record]:
    for name, p in decode_prices(body).prices.items():
        yield Ticker(raw_symbol=name, last=known(p.last))
        yield Bbo(raw_symbol=name, bid_price=known(p.bid), ask_price=known(p.ask))


def known(price: Text) -> str | None:
    return None if price == "NaN" else nonzero(price)


def rows(body: bytes) -> Iterable[Raw]:
    return [Raw(encode(name)) for name in decode_prices(body).prices]


def read_name(row: Raw) -> Instrument:
    name = decode_name(row)
    base, _, quote = name.upper().partition("_")
    return Instrument(raw_symbol=name, base=base, quote=quote or HOME)


EXCHANGE = Exchange(
    id="coinspot",
    docs="https://www.coinspot.com.au/v2/api",
    trouble=coded("status", "message", fine=("ok",)),
    checked="ccxt 4.5.90, which holds its answers; nothing was seen live",
    notes=(
        "Trades have neither a side nor an id.",
        "A book holds the best hundred orders of a side, twenty where the quote is not AUD.",
        "Best bids and offers come without sizes.",
        "The markets are those of its latest prices.",
    ),
    limits=Limits(weights={API: ((1000, 60),)}),
    listing=Listing((Request(f"{API}/latest"),), rows, read_name),
    feeds=(
        Poll(
            name="trades",
            channels=("trades",),
            every=20,
            request=asking("orders/summary/completed"),
            parse=read_trades,
        ),
        Poll(name="book", channels=("book",), every=10, request=asking("orders/open"), parse=read_book),
        Poll(
            name="prices",
            channels=("ticker", "bbo"),
            every=10,
            request=lambda _: Request(f"{API}/latest"),
            parse=read_prices,
            many=True,
        ),
    ),
)
