"""The past of the Binance protocol by REST: candles of every market, trades by number (spot) or by time (futures).

https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Kline-Candlestick-Data
https://developers.binance.com/docs/derivatives/coin-margined-futures/market-data/rest-api/Kline-Candlestick-Data
Both ends of a range are within it. Aggregates of futures are of the last 48 hours (Binance's SDKs of 2026 say so).
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request, Since
from aggregator.records import DAY_S, HOUR_S, MS_NS, Candle, Trade
from aggregator.wire import candle
from connectors.families.binance import futures_rest
from connectors.families.binance import rest as spot_rest
from connectors.families.binance.wires import stamp

INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w")
AGGREGATES_S = 2 * DAY_S - 300  # they go two days back; a little less is asked for
MOST = 1000


class Bar(Struct, array_like=True):
    start: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    end: int
    turnover: str
    trades: int


decode_bars = Decoder(list[Bar]).decode


def milliseconds(page: Page) -> str:
    return f"&startTime={page.start // MS_NS}&endTime={(page.end - 1) // MS_NS}"


def candles(rest: str, *, inverse: bool = False, weight: int = 2, intervals: tuple[str, ...] = INTERVALS) -> PastPages:
    """Candles; those of inverse contracts count contracts, and give the base asset as their turnover."""

    def request(page: Page) -> Request:
        query = f"symbol={page.raw_symbol}&interval={page.interval}&limit={MOST}{milliseconds(page)}"
        return Request(f"{rest}/klines?{query}", weight=weight)

    def parse(page: Page, body: bytes) -> Iterable[Candle]:
        for bar in decode_bars(body):
            base, quote = (bar.turnover, None) if inverse else (bar.volume, bar.turnover)
            prices = (bar.open, bar.high, bar.low, bar.close)
            made = candle(
                page.raw_symbol, page.interval, stamp(bar.start), prices, base=base, quote=quote, trades=bar.trades
            )
            made.contract_volume = bar.volume if inverse else None
            yield made

    return PastPages(
        channel="candles",
        request=request,
        parse=parse,
        most=MOST,
        span_s=200 * DAY_S if inverse else None,
        intervals=intervals,
    )


def trades(rest: str, *, lookup: bool) -> PastPages:
    """Raw trades by number, or without `lookup` only the latest."""
    ways = spot_rest.backfill(rest, lookup=lookup)

    def request(page: Page) -> Request:
        return ways.request(page.raw_symbol, Since(None if page.number is None else page.number - 1, page.start))

    def parse(page: Page, body: bytes) -> Iterable[Trade]:
        return ways.parse(page.raw_symbol, body)

    return PastPages(channel="trades", walk="numbered" if lookup else "latest", request=request, parse=parse, most=MOST)


def spot(rest: str, *, lookup: bool = True) -> tuple[PastPages, ...]:
    return trades(rest, lookup=lookup), candles(rest, intervals=("1s", *INTERVALS))


def futures(rest: str, *, inverse: bool) -> tuple[PastPages, ...]:
    ways = futures_rest.backfill(rest, inverse=inverse)

    def request(page: Page) -> Request:
        if page.edge is not None:
            return ways.request(page.raw_symbol, Since(page.edge.sequence, page.start))
        query = f"symbol={page.raw_symbol}&limit={MOST}{milliseconds(page)}"
        return Request(f"{rest}/aggTrades?{query}", weight=20)

    def parse(page: Page, body: bytes) -> Iterable[Trade]:
        return ways.parse(page.raw_symbol, body)

    aggregates = PastPages(
        channel="trades", request=request, parse=parse, most=MOST, span_s=HOUR_S, reach_s=AGGREGATES_S
    )
    return aggregates, candles(rest, inverse=inverse, weight=5)
