"""The past of Kraken's spot markets by REST: every trade, and the latest 720 candles.

https://docs.kraken.com/api/docs/rest-api/get-recent-trades
https://docs.kraken.com/api/docs/rest-api/get-ohlc-data
Trades come oldest first, those after `since` (ns); their own times are told to 100 ns. The last candle is not over yet.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Backfill, Page, PastPages, Request, Since
from aggregator.records import Candle, Trade
from aggregator.wire import Text, candle, number, seconds
from connectors.families.kraken.wires import INTERVALS

MOST_TRADES, MOST_CANDLES = 1000, 720
TIME_NS = 100


class Bars(Struct):
    result: dict[str, Text]  # the candles under the pair's name, and `last`


decode_bars = Decoder(Bars, float_hook=number).decode


def read_candles(page: Page, body: bytes) -> Iterable[Candle]:
    for name, bars in decode_bars(body).result.items():
        for start, first, high, low, last, _, volume, count in () if name == "last" else bars:
            prices = (first, high, low, last)
            yield candle(page.raw_symbol, page.interval, seconds(start), prices, base=volume, trades=count)


def history(api: str, missed: Backfill, pair: Callable[[str], str]) -> tuple[PastPages, ...]:
    def trades(page: Page) -> Request:
        return missed.request(page.raw_symbol, Since(None, page.start // TIME_NS * TIME_NS - 1))

    def read_trades(page: Page, body: bytes) -> Iterable[Trade]:
        return missed.parse(page.raw_symbol, body)

    def candles(page: Page) -> Request:
        return Request(f"{api}/OHLC?pair={pair(page.raw_symbol)}&interval={INTERVALS[page.interval]}")

    return (
        PastPages(channel="trades", request=trades, parse=read_trades, most=MOST_TRADES, unit_ns=TIME_NS),
        PastPages(
            channel="candles",
            walk="latest",
            request=candles,
            parse=read_candles,
            most=MOST_CANDLES,
            intervals=tuple(INTERVALS),
        ),
    )
