"""The past of the KuCoin protocol by REST: candles of any time, and the latest hundred trades.

https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-klines
https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-trade-history
https://www.kucoin.com/docs-new/rest/futures-trading/market-data/get-klines
Of spot's candles the newest comes first, of those of futures the oldest; trades are put in order by their `sequence`,
which is the stream's `tradeId` on spot.
Whether the end of a range of spot's candles is within it is not documented, so that one less is asked for than an
answer holds. Of futures it holds 500 (the SDK 1.3.2), or 200 (ccxt 4.5.90): the smaller number is asked for.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import MINUTE_NS, MS_NS, SECOND_NS, Candle, Side, Trade
from aggregator.wire import Text, candle, interval_s, ms, number, seconds, text
from connectors.families.kucoin.figure_wires import INTERVALS
from connectors.families.kucoin.wires import stamp

MOST_TRADES, MOST_CANDLES, MOST_FUTURES = 100, 1500, 200
MINUTE_S = MINUTE_NS // SECOND_NS
OF_FUTURES = ("1m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "1w")


class SpotDeal(Struct):
    sequence: str
    price: str
    size: str
    side: Side  # the taker's
    time: int


class Deal(Struct):
    sequence: int
    tradeId: str
    price: Text
    size: Text
    side: Side
    ts: int


class SpotDeals(Struct):
    data: list[SpotDeal]


class Deals(Struct):
    data: list[Deal]


class SpotBars(Struct):
    data: list[tuple[str, str, str, str, str, str, str]]  # start, open, close, high, low, volume, turnover


class Bars(Struct):
    data: list[tuple[int, Text, Text, Text, Text, Text, Text]]  # start, open, high, low, close, contracts, turnover


decode_spot_deals = Decoder(SpotDeals).decode
decode_deals = Decoder(Deals, float_hook=number).decode
decode_spot_bars = Decoder(SpotBars).decode
decode_bars = Decoder(Bars, float_hook=number).decode


def read_spot_trades(page: Page, body: bytes) -> Iterable[Trade]:
    for deal in sorted(decode_spot_deals(body).data, key=lambda deal: int(deal.sequence)):
        yield Trade(
            raw_symbol=page.raw_symbol,
            id=deal.sequence,
            price=deal.price,
            size=deal.size,
            side=deal.side,
            ts_event=stamp(deal.time),
        )


def read_trades(page: Page, body: bytes) -> Iterable[Trade]:
    for deal in sorted(decode_deals(body).data, key=lambda deal: deal.sequence):
        price, size = text(deal.price), text(deal.size)
        yield Trade(
            raw_symbol=page.raw_symbol, id=deal.tradeId, price=price, size=size, side=deal.side,
            size_unit="contract", ts_event=stamp(deal.ts),
        )  # fmt: skip


def read_spot_candles(page: Page, body: bytes) -> Iterable[Candle]:
    for start, first, last, high, low, volume, turnover in reversed(decode_spot_bars(body).data):
        prices = (first, high, low, last)
        yield candle(page.raw_symbol, page.interval, seconds(start), prices, base=volume, quote=turnover)


def read_candles(page: Page, body: bytes) -> Iterable[Candle]:
    for start, first, high, low, last, contracts, _ in decode_bars(body).data:
        made = candle(page.raw_symbol, page.interval, ms(start), (first, high, low, last))
        made.contract_volume = text(contracts)
        yield made


def latest(api: str, path: str, *, is_spot: bool) -> PastPages:
    return PastPages(
        channel="trades",
        walk="latest",
        request=lambda page: Request(f"{api}{path}?symbol={page.raw_symbol}", weight=3),
        parse=read_spot_trades if is_spot else read_trades,
        most=MOST_TRADES,
    )


def spot(api: str) -> tuple[PastPages, ...]:
    def candles(page: Page) -> Request:
        query = f"type={INTERVALS[page.interval]}&symbol={page.raw_symbol}&startAt={page.start // SECOND_NS}"
        return Request(f"{api}/api/v1/market/candles?{query}&endAt={-(-page.end // SECOND_NS)}", weight=3)

    return (
        latest(api, "/api/v1/market/histories", is_spot=True),
        PastPages(
            channel="candles",
            request=candles,
            parse=read_spot_candles,
            most=MOST_CANDLES - 1,
            intervals=tuple(interval for interval in INTERVALS if interval != "1M"),
        ),
    )


def futures(api: str) -> tuple[PastPages, ...]:
    def candles(page: Page) -> Request:
        query = f"symbol={page.raw_symbol}&granularity={(interval_s(page.interval) or 0) // MINUTE_S}"
        between = f"from={page.start // MS_NS}&to={(page.end - 1) // MS_NS}"
        return Request(f"{api}/api/v1/kline/query?{query}&{between}", weight=3)

    return (
        latest(api, "/api/v1/trade/history", is_spot=False),
        PastPages(channel="candles", request=candles, parse=read_candles, most=MOST_FUTURES, intervals=OF_FUTURES),
    )
