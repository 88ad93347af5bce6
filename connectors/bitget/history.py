"""The past of Bitget by REST: trades of ninety days, and candles.

https://www.bitget.com/api-doc/spot/market/Get-Market-Trades
https://www.bitget.com/api-doc/contract/market/Get-Fills-History
https://www.bitget.com/api-doc/spot/market/Get-History-Candle-Data
https://www.bitget.com/api-doc/contract/market/Get-History-Candle-Data
Trades come newest first, for seven days at most, and further back by `idLessThan`; candles come oldest first, of
contracts for ninety days at most. They are the last ones before `endTime`; one less is asked for than an answer holds,
since that the end is not within is unconfirmed, and so is that the side of a trade is the taker's.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import DAY_S, MS_NS, Candle, Instrument, Trade
from aggregator.wire import ms
from connectors.bitget.wires import BarWire

MOST, MOST_CANDLES = 1000, 200
CHART_S = 84 * DAY_S  # within ninety days, and whole weeks: an end within a candle may be rounded down
SPOT = {
    "1m": "1min", "5m": "5min", "15m": "15min", "30m": "30min", "1h": "1h", "4h": "4h", "6h": "6Hutc", "12h": "12Hutc",
    "1d": "1Dutc", "1w": "1Wutc",
}  # fmt: skip
CONTRACTS = SPOT | {"1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1H", "4h": "4H"}


class Dealt(Struct):
    tradeId: str
    side: str  # in contracts it begins with a capital
    price: str
    size: str
    ts: str


class Deals(Struct):
    data: list[Dealt]


class Bars(Struct):
    data: list[BarWire]


decode_deals = Decoder(Deals).decode
decode_bars = Decoder(Bars, strict=False).decode  # times come as text


def read_trades(page: Page, body: bytes) -> Iterable[Trade]:
    for deal in reversed(decode_deals(body).data):
        yield Trade(
            raw_symbol=page.raw_symbol,
            id=deal.tradeId,
            price=deal.price,
            size=deal.size,
            side="buy" if deal.side.lower() == "buy" else "sell",
            ts_event=ms(deal.ts),
        )


def read_candles(page: Page, body: bytes) -> Iterable[Candle]:
    return [bar.record(page.raw_symbol, page.interval, None) for bar in decode_bars(body).data]


def ways(rest: str, type: str | None, serves: Callable[[Instrument], bool]) -> tuple[PastPages, ...]:
    path, of = ("spot", "") if type is None else ("mix", f"&productType={type}")
    names = SPOT if type is None else CONTRACTS

    def trades(page: Page) -> Request:
        between = f"startTime={page.start // MS_NS}&endTime={-(-page.end // MS_NS)}"
        older = f"&idLessThan={page.edge.id}" if isinstance(page.edge, Trade) else ""
        query = f"symbol={page.raw_symbol}{of}&limit={MOST}&{between}{older}"
        return Request(f"{rest}/api/v2/{path}/market/fills-history?{query}", weight=2)

    def candles(page: Page) -> Request:
        since = "" if type is None else f"&startTime={page.start // MS_NS}"
        query = f"symbol={page.raw_symbol}{of}&granularity={names[page.interval]}&limit={MOST_CANDLES}{since}"
        return Request(f"{rest}/api/v2/{path}/market/history-candles?{query}&endTime={-(-page.end // MS_NS)}")

    return (
        PastPages(
            channel="trades",
            walk="backward",
            request=trades,
            parse=read_trades,
            most=MOST,
            serves=serves,
            span_s=7 * DAY_S,
            reach_s=90 * DAY_S,
        ),
        PastPages(
            channel="candles",
            request=candles,
            parse=read_candles,
            most=MOST_CANDLES - 1,
            serves=serves,
            span_s=None if type is None else CHART_S,
            intervals=tuple(names),
        ),
    )
