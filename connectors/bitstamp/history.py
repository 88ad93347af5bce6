"""The past of Bitstamp by REST: trades of the last day, with times of whole seconds, and candles.

https://www.bitstamp.net/api/#tag/Transactions-public
https://www.bitstamp.net/api/#tag/Market-info/operation/GetOHLCData
The newest trade comes first; a day is one answer.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import DAY_S, HOUR_S, SECOND_NS, Candle, Side, Trade
from aggregator.wire import candle, seconds
from connectors.bitstamp.rest import API

MOST_CANDLES = 1000
MOST_TRADES = 10_000_000  # none is documented
STEPS = {
    "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": HOUR_S, "2h": 2 * HOUR_S, "4h": 4 * HOUR_S,
    "6h": 6 * HOUR_S, "12h": 12 * HOUR_S, "1d": DAY_S, "3d": 3 * DAY_S,
}  # fmt: skip
SIDES: dict[str, Side] = {"0": "buy", "1": "sell"}  # the taker's


class Dealt(Struct):
    date: str
    tid: str
    price: str
    type: str
    amount: str


class Bar(Struct):
    timestamp: str
    open: str
    high: str
    low: str
    close: str
    volume: str


class Bars(Struct):
    ohlc: list[Bar]


class Answer(Struct):
    data: Bars


decode_deals = Decoder(list[Dealt], strict=False).decode
decode_bars = Decoder(Answer, strict=False).decode


def trades(page: Page) -> Request:
    return Request(f"{API}/transactions/{page.raw_symbol}/?time=day")


def read_trades(page: Page, body: bytes) -> Iterable[Trade]:
    for deal in reversed(decode_deals(body)):
        yield Trade(
            raw_symbol=page.raw_symbol,
            id=deal.tid,
            price=deal.price,
            size=deal.amount,
            side=SIDES[deal.type],
            ts_event=seconds(deal.date),
        )


def candles(page: Page) -> Request:
    query = f"step={STEPS[page.interval]}&limit={MOST_CANDLES}&start={page.start // SECOND_NS}"
    return Request(f"{API}/ohlc/{page.raw_symbol}/?{query}&end={(page.end - 1) // SECOND_NS}")


def read_candles(page: Page, body: bytes) -> Iterable[Candle]:
    for bar in decode_bars(body).data.ohlc:
        prices = (bar.open, bar.high, bar.low, bar.close)
        yield candle(page.raw_symbol, page.interval, seconds(bar.timestamp), prices, base=bar.volume)


HISTORY = (
    PastPages(
        channel="trades",
        walk="latest",
        request=trades,
        parse=read_trades,
        most=MOST_TRADES,
        reach_s=DAY_S - 60,
        unit_ns=SECOND_NS,
    ),
    PastPages(channel="candles", request=candles, parse=read_candles, most=MOST_CANDLES, intervals=tuple(STEPS)),
)
