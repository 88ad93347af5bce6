"""The past of ZebPay's pairs by REST: candles.

https://github.com/zebpay/zebpay-api-references/blob/main/spot/api-reference/public-endpoints.md
How many an answer may hold is not documented. Of perpetuals no beginning can be named.
"""

from collections.abc import Iterable

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import MS_NS, Candle
from aggregator.wire import candle, seconds
from connectors.zebpay.rest import SPOT, decode_bars, is_pair


def ask_past(page: Page) -> Request:
    between = f"startTime={page.start // MS_NS}&endTime={(page.end - 1) // MS_NS}"
    return Request(f"{SPOT}/market/klines?symbol={page.raw_symbol}&interval={page.interval}&{between}")


def read_past(page: Page, body: bytes) -> Iterable[Candle]:
    for bar in sorted(decode_bars(body).data, key=lambda bar: bar.start):
        prices = bar.open, bar.high, bar.low, bar.close
        yield candle(page.raw_symbol, page.interval, seconds(bar.start), prices, base=bar.volume)


HISTORY = (
    PastPages(
        channel="candles",
        request=ask_past,
        parse=read_past,
        most=100,
        serves=is_pair,
        intervals=("1m", "5m", "15m", "1h", "4h", "1d"),
    ),
)
