"""The past of Bitfinex by REST: every trade and candle, ten thousand an answer.

https://docs.bitfinex.com/reference/rest-public-trades
https://docs.bitfinex.com/reference/rest-public-candles
Both ends of a range are within it; `sort=1` has the oldest come first. Trades may be asked for 15 times a minute.
"""

from collections.abc import Iterable

from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import MS_NS, Candle, Trade
from aggregator.wire import Text, candle, ms, number, signed, text

REST = "https://api-pub.bitfinex.com/v2"
MOST = 10_000
SPELLED = {"1d": "1D", "1w": "1W", "2w": "14D"}
INTERVALS = ("1m", "5m", "15m", "30m", "1h", "3h", "6h", "12h", *SPELLED)

decode_deals = Decoder(list[tuple[int, int, Text, Text]], float_hook=number).decode
decode_bars = Decoder(list[tuple[int, Text, Text, Text, Text, Text]], float_hook=number).decode


def between(page: Page) -> str:
    return f"hist?sort=1&limit={MOST}&start={page.start // MS_NS}&end={(page.end - 1) // MS_NS}"


def trades(page: Page) -> Request:
    return Request(f"{REST}/trades/{page.raw_symbol}/{between(page)}", weight=2)


def read_trades(page: Page, body: bytes) -> Iterable[Trade]:
    for id, time, amount, price in decode_deals(body):
        side, size = signed(text(amount))
        yield Trade(raw_symbol=page.raw_symbol, id=str(id), price=text(price), size=size, side=side, ts_event=ms(time))


def candles(page: Page) -> Request:
    interval = SPELLED.get(page.interval, page.interval)
    return Request(f"{REST}/candles/trade:{interval}:{page.raw_symbol}/{between(page)}")


def read_candles(page: Page, body: bytes) -> Iterable[Candle]:
    """Open and close come before high and low."""
    for start, first, last, high, low, volume in decode_bars(body):
        yield candle(page.raw_symbol, page.interval, ms(start), (first, high, low, last), base=volume)


HISTORY = (
    PastPages(channel="trades", request=trades, parse=read_trades, most=MOST),
    PastPages(channel="candles", request=candles, parse=read_candles, most=MOST, intervals=INTERVALS),
)
