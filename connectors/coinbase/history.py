"""The past as Coinbase's Advanced Trade answers for it by REST, to anybody: trades and candles.

https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-market-trades
https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-product-candles
The newest comes first. Times are seconds: what happened in the second of an edge is asked for again. How many trades an
answer holds and how far back they go is not documented (ccxt 4.5.90 asks for a thousand), and that the side is the
maker's, as in the stream, is unconfirmed. Candles are 350 at most.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import SECOND_NS, Candle, Trade
from aggregator.wire import candle, seconds
from connectors.coinbase.rest import API, read_missed
from connectors.coinbase.wires import counts_contracts

MOST = 1000
MOST_CANDLES = 350
GRANULARITIES = {
    "1m": "ONE_MINUTE",
    "5m": "FIVE_MINUTE",
    "15m": "FIFTEEN_MINUTE",
    "30m": "THIRTY_MINUTE",
    "1h": "ONE_HOUR",
    "2h": "TWO_HOUR",
    "4h": "FOUR_HOUR",
    "6h": "SIX_HOUR",
    "1d": "ONE_DAY",
}


class Bar(Struct):
    start: str
    low: str
    high: str
    open: str
    close: str
    volume: str


class Bars(Struct):
    candles: list[Bar]


decode_bars = Decoder(Bars).decode


def between(start: int, end: int) -> str:
    return f"&start={start // SECOND_NS}&end={-(-end // SECOND_NS)}"


def trades(page: Page) -> Request:
    end = page.end if page.edge is None else (page.edge.ts_event or page.end) // SECOND_NS * SECOND_NS + SECOND_NS
    return Request(f"{API}/products/{page.raw_symbol}/ticker?limit={MOST}{between(page.start, end)}")


def read_trades(page: Page, body: bytes) -> Iterable[Trade]:
    return read_missed(page.raw_symbol, body)


def candles(page: Page) -> Request:
    query = f"granularity={GRANULARITIES[page.interval]}&limit={MOST_CANDLES}"
    return Request(f"{API}/products/{page.raw_symbol}/candles?{query}{between(page.start, page.end - 1)}")


def read_candles(page: Page, body: bytes) -> Iterable[Candle]:
    is_contract = counts_contracts(page.raw_symbol)
    for bar in reversed(decode_bars(body).candles):
        prices = (bar.open, bar.high, bar.low, bar.close)
        volume = None if is_contract else bar.volume
        made = candle(page.raw_symbol, page.interval, seconds(bar.start), prices, base=volume)
        made.contract_volume = bar.volume if is_contract else None
        yield made


HISTORY = (
    PastPages(channel="trades", walk="backward", request=trades, parse=read_trades, most=MOST, unit_ns=SECOND_NS),
    PastPages(
        channel="candles", request=candles, parse=read_candles, most=MOST_CANDLES - 1, intervals=tuple(GRANULARITIES)
    ),
)
