"""The past of the Deribit protocol by REST: trades by time, then by their numbers, and candles.

https://docs.deribit.com/api-reference/market-data/public-get_last_trades_by_instrument_and_time
https://docs.deribit.com/api-reference/market-data/public-get_tradingview_chart_data
The oldest comes first, and both ends of a range are within it. Without a key trades of the last 24 hours are there; for
older ones an answer is empty and no error (so says the page of `get_last_trades_by_currency_and_time`, of 2026; that
it holds for an instrument as well is unconfirmed). A chart holds 5000 candles.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request, Since
from aggregator.records import DAY_S, MS_NS, Candle, Trade
from aggregator.wire import Text, candle, interval_s, ms, number
from connectors.families.deribit.listing import read_past
from connectors.families.deribit.wires import RESOLUTIONS

MOST = 1000
REACH_S = DAY_S - 300  # a little less than is there
INTERVALS = ("1m", "3m", "5m", "10m", "15m", "30m", "1h", "2h", "3h", "6h", "12h", "1d")


class Chart(Struct):
    ticks: list[int]
    open: list[Text]
    high: list[Text]
    low: list[Text]
    close: list[Text]
    volume: list[Text]  # in the base asset
    cost: list[Text]  # in the quote asset


class Answer(Struct):
    result: Chart


decode_chart = Decoder(Answer, float_hook=number).decode


def read_candles(page: Page, body: bytes) -> Iterable[Candle]:
    c = decode_chart(body).result
    rows = zip(c.ticks, c.open, c.high, c.low, c.close, c.volume, c.cost, strict=True)
    for start, first, high, low, last, base, quote in rows:
        yield candle(page.raw_symbol, page.interval, ms(start), (first, high, low, last), base=base, quote=quote)


def history(rest: str, past: Callable[[str, Since], Request]) -> tuple[PastPages, ...]:
    def trades(page: Page) -> Request:
        if page.edge is not None:
            return past(page.raw_symbol, Since(page.edge.sequence, page.start))
        between = f"start_timestamp={page.start // MS_NS}&end_timestamp={(page.end - 1) // MS_NS}"
        query = f"instrument_name={page.raw_symbol}&{between}&count={MOST}&sorting=asc"
        return Request(f"{rest}/public/get_last_trades_by_instrument_and_time?{query}")

    def read_trades(page: Page, body: bytes) -> Iterable[Trade]:
        return read_past(page.raw_symbol, body)

    def candles(page: Page) -> Request:
        resolution = RESOLUTIONS.get(page.interval, str((interval_s(page.interval) or 0) // 60))
        between = f"start_timestamp={page.start // MS_NS}&end_timestamp={(page.end - 1) // MS_NS}"
        query = f"instrument_name={page.raw_symbol}&resolution={resolution}&{between}"
        return Request(f"{rest}/public/get_tradingview_chart_data?{query}")

    return (
        PastPages(channel="trades", request=trades, parse=read_trades, most=MOST, reach_s=REACH_S),
        PastPages(channel="candles", request=candles, parse=read_candles, most=MOST, intervals=INTERVALS),
    )
