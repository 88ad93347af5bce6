"""The past of Coinbase Exchange by REST: every trade by its number, and candles.

https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-trades
https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-candles
`after=N` gives trades with lower numbers than N, the newest first; a product's numbers have no holes. Both ends of a
range of candles are within it, and a range of more than 300 is refused.
"""

from collections.abc import Iterable

from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import DAY_S, HOUR_S, SECOND_NS, Candle, Trade
from aggregator.wire import Text, candle, number, seconds
from connectors.coinbaseexchange.rest import API, read_missed

MOST = 1000
GRANULARITIES = {"1m": 60, "5m": 300, "15m": 900, "1h": HOUR_S, "6h": 6 * HOUR_S, "1d": DAY_S}

decode_bars = Decoder(list[tuple[int, Text, Text, Text, Text, Text]], float_hook=number).decode


def trades(page: Page) -> Request:
    after = "" if page.number is None else f"&after={page.number + MOST}"
    return Request(f"{API}/products/{page.raw_symbol}/trades?limit={MOST}{after}")


def read_trades(page: Page, body: bytes) -> Iterable[Trade]:
    return read_missed(page.raw_symbol, body)


def candles(page: Page) -> Request:
    query = f"granularity={GRANULARITIES[page.interval]}&start={page.start // SECOND_NS}"
    return Request(f"{API}/products/{page.raw_symbol}/candles?{query}&end={(page.end - 1) // SECOND_NS}")


def read_candles(page: Page, body: bytes) -> Iterable[Candle]:
    for start, low, high, first, last, volume in reversed(decode_bars(body)):
        yield candle(page.raw_symbol, page.interval, seconds(start), (first, high, low, last), base=volume)


HISTORY = (
    PastPages(channel="trades", walk="numbered", request=trades, parse=read_trades, most=MOST),
    PastPages(channel="candles", request=candles, parse=read_candles, most=300, intervals=tuple(GRANULARITIES)),
)
