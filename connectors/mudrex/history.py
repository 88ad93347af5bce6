"""The past of Mudrex by REST: candles, whose prices are Bybit's.

https://docs.trade.mudrex.com/docs/historical-kline
A market is named by its two assets. An answer holds the minutes that are over.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import SECOND_NS, Candle
from aggregator.wire import Text, as_written, candle, seconds
from connectors.mudrex.listing import API, QUOTE

AGGREGATIONS = {
    "1m": "1m",
    "3m": "3t",
    "5m": "5t",
    "15m": "15t",
    "30m": "30t",
    "1h": "1h",
    "4h": "4h",
    "6h": "6h",
    "12h": "12h",
    "1d": "1d",
}


class Bar(Struct, array_like=True):
    start: int
    open: Text
    high: Text
    low: Text
    close: Text
    volume: Text = None


class Ticks(Struct):
    asset_ticks: dict[str, list[Bar]]


class Answer(Struct):
    data: Ticks


decode = Decoder(Answer, float_hook=as_written).decode


def request(page: Page) -> Request:
    asset = f"{page.raw_symbol.removesuffix(QUOTE)}/{QUOTE}"
    between = f"start_time={page.start // SECOND_NS}&end_time={(page.end - 1) // SECOND_NS}"
    return Request(f"{API}/price/kline?assets={asset}&aggregation={AGGREGATIONS[page.interval]}&{between}")


def parse(page: Page, body: bytes) -> Iterable[Candle]:
    for bars in decode(body).data.asset_ticks.values():
        for bar in sorted(bars, key=lambda bar: bar.start):
            prices = bar.open, bar.high, bar.low, bar.close
            yield candle(page.raw_symbol, page.interval, seconds(bar.start), prices, base=bar.volume)


HISTORY = (PastPages(channel="candles", request=request, parse=parse, most=500, intervals=tuple(AGGREGATIONS)),)
