"""The past of the OKX protocol by REST: single fills of three months, and candles.

https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history
https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-candlesticks-history
Neither end of a range is within it, and the newest comes first. `after` asks for what is older: than a time, or
(type 1) than the trade of that id. The stream tells fills of one taker at one price as one, under the id of the last.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import DAY_S, MS_NS, Candle, Trade
from connectors.families.okx.wires import BarWire, TradeWire

MOST = 100
INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d", "1w")


class Bars(Struct):
    data: list[BarWire]


class Deals(Struct):
    data: list[TradeWire]


decode_bars = Decoder(Bars).decode
decode_deals = Decoder(Deals, strict=False).decode  # times come as text


def parse_deals(_: Page, body: bytes) -> Iterable[Trade]:
    told = [deal.record() for deal in reversed(decode_deals(body).data)]
    return [record for record in told if isinstance(record, Trade)]


def parse_bars(page: Page, body: bytes) -> Iterable[Candle]:
    told = [bar.record(page.raw_symbol, page.interval) for bar in reversed(decode_bars(body).data)]
    return [record for record in told if isinstance(record, Candle)]


def history(rest: str, bar_name: Callable[[str], str]) -> tuple[PastPages, ...]:
    def deals(page: Page) -> Request:
        older = f"type=2&after={-(-page.end // MS_NS)}"
        if isinstance(page.edge, Trade):
            older = f"type=1&after={page.edge.id}"
        return Request(f"{rest}/market/history-trades?instId={page.raw_symbol}&limit={MOST}&{older}")

    def bars(page: Page) -> Request:
        query = f"instId={page.raw_symbol}&bar={bar_name(page.interval)}&limit={MOST}"
        between = f"after={-(-page.end // MS_NS)}&before={page.start // MS_NS - 1}"
        return Request(f"{rest}/market/history-candles?{query}&{between}")

    return (
        PastPages(channel="trades", walk="backward", request=deals, parse=parse_deals, most=MOST, reach_s=90 * DAY_S),
        PastPages(channel="candles", request=bars, parse=parse_bars, most=MOST, intervals=INTERVALS),
    )
