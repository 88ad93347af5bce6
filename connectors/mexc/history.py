"""The past of MEXC by REST: candles. Its trades by REST have no ids, so that they cannot be told from one another.

https://www.mexc.com/api-docs/spot-v3/market-data-endpoints#klinecandlestick-data
https://www.mexc.com/api-docs/futures/market-endpoints#get-candlestick-data
The oldest comes first. The end of a range is within it for contracts and not for spot, which makes no difference to one
between two candles. An answer of spot holds 500, however many the documentation allows (so ccxt 4.5.90 has found); one
of contracts 2000.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import MS_NS, SECOND_NS, Candle
from aggregator.wire import Text, candle, ms, number, seconds, text
from connectors.families.mexc.contract_wires import is_inverse
from connectors.families.mexc.wires import INTERVALS

MOST_SPOT, MOST = 500, 1000
SPOT = {"1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "60m", "4h": "4h", "1d": "1d", "1w": "1W"}


class Bar(Struct, array_like=True):
    start: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    end: int
    turnover: str


class Chart(Struct):
    time: list[int]
    open: list[Text]
    high: list[Text]
    low: list[Text]
    close: list[Text]
    vol: list[Text]  # contracts
    amount: list[Text]  # in the asset in which they settle


class Answer(Struct):
    data: Chart


decode_bars = Decoder(list[Bar]).decode
decode_chart = Decoder(Answer, float_hook=number).decode


def read_pairs(page: Page, body: bytes) -> Iterable[Candle]:
    for bar in decode_bars(body):
        prices = (bar.open, bar.high, bar.low, bar.close)
        yield candle(page.raw_symbol, page.interval, ms(bar.start), prices, base=bar.volume, quote=bar.turnover)


def read_contracts(page: Page, body: bytes) -> Iterable[Candle]:
    c, inverse = decode_chart(body).data, is_inverse(page.raw_symbol)
    for start, first, high, low, last, volume, turnover in zip(
        c.time, c.open, c.high, c.low, c.close, c.vol, c.amount, strict=True
    ):
        made = candle(page.raw_symbol, page.interval, seconds(start), (first, high, low, last))
        made.base_volume, made.quote_volume = (text(turnover), None) if inverse else (None, text(turnover))
        made.contract_volume = text(volume)
        yield made


def history(spot: str, contract: str) -> tuple[PastPages, ...]:
    def pairs(page: Page) -> Request:
        query = f"symbol={page.raw_symbol}&interval={SPOT[page.interval]}&limit={MOST_SPOT}"
        return Request(f"{spot}/klines?{query}&startTime={page.start // MS_NS}&endTime={(page.end - 1) // MS_NS}")

    def contracts(page: Page) -> Request:
        between = f"start={page.start // SECOND_NS}&end={(page.end - 1) // SECOND_NS}"
        return Request(f"{contract}/kline/{page.raw_symbol}?interval={INTERVALS[page.interval]}&{between}")

    return (
        PastPages(
            channel="candles",
            request=pairs,
            parse=read_pairs,
            most=MOST_SPOT,
            serves=lambda i: i.kind == "spot",
            intervals=tuple(SPOT),
        ),
        PastPages(
            channel="candles",
            request=contracts,
            parse=read_contracts,
            most=MOST,
            serves=lambda i: i.kind != "spot",
            intervals=tuple(interval for interval in INTERVALS if interval != "1M"),
        ),
    )
