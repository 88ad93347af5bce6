"""The past of Kraken Futures by REST: trades of seven days, a hundred an answer, and candles.

https://docs.kraken.com/api-reference/market-data/get-trade-history
https://docs.kraken.com/api-reference/candles/market-candles
Trades come newest first, those before `lastTime`; fewer days are there where the exchange was restarted, and how many
it does not say. How many candles an answer holds is not documented: ccxt 4.5.90 asks for two thousand.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import DAY_S, MS_NS, SECOND_NS, Candle, Side, Trade
from aggregator.wire import Text, candle, from_iso, ms, number, text

CHARTS = "https://futures.kraken.com/api/charts/v1/trade"
INTERVALS = ("1m", "5m", "15m", "30m", "1h", "4h", "12h", "1d", "1w")
MOST, MOST_CANDLES = 100, 1000


class Dealt(Struct):
    time: str
    price: Text
    size: Text
    side: Side  # the taker's
    uid: str
    type: str = "fill"


class Deals(Struct):
    history: list[Dealt]


class Bar(Struct):
    time: int
    open: Text
    high: Text
    low: Text
    close: Text
    volume: Text


class Bars(Struct):
    candles: list[Bar]


decode_deals = Decoder(Deals, float_hook=number).decode
decode_bars = Decoder(Bars, float_hook=number).decode


def iso(ts: int) -> str:
    return f"{datetime.fromtimestamp(ts // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%S}.{ts // MS_NS % 1000:03}Z"


def trades(api: str) -> Callable[[Page], Request]:
    def request(page: Page) -> Request:
        edge = None if page.edge is None else page.edge.ts_event
        before = page.end if edge is None else edge // MS_NS * MS_NS + MS_NS  # others of its millisecond come again
        return Request(f"{api}/history?symbol={page.raw_symbol}&lastTime={iso(-(-before // MS_NS) * MS_NS)}")

    return request


def read_trades(page: Page, body: bytes) -> Iterable[Trade]:
    for deal in reversed(decode_deals(body).history):
        yield Trade(
            raw_symbol=page.raw_symbol,
            id=deal.uid,
            price=text(deal.price),
            size=text(deal.size),
            side=deal.side,
            size_unit="contract",
            kind="liquidation" if deal.type == "liquidation" else "block" if deal.type == "block" else "trade",
            ts_event=from_iso(deal.time),
        )


def candles(page: Page) -> Request:
    between = f"from={page.start // SECOND_NS}&to={(page.end - 1) // SECOND_NS}"
    return Request(f"{CHARTS}/{page.raw_symbol}/{page.interval}?{between}")


def read_candles(page: Page, body: bytes) -> Iterable[Candle]:
    for bar in decode_bars(body).candles:
        made = candle(page.raw_symbol, page.interval, ms(bar.time), (bar.open, bar.high, bar.low, bar.close))
        made.contract_volume = text(bar.volume)
        yield made


def history(api: str) -> tuple[PastPages, ...]:
    return (
        PastPages(
            channel="trades", walk="backward", request=trades(api), parse=read_trades, most=MOST, reach_s=7 * DAY_S
        ),
        PastPages(channel="candles", request=candles, parse=read_candles, most=MOST_CANDLES, intervals=INTERVALS),
    )
