"""The past of Bybit's markets by REST: candles of any time, and the latest trades.

https://bybit-exchange.github.io/docs/v5/market/kline
https://bybit-exchange.github.io/docs/v5/market/recent-trade
Both ends of a range are within it, and the newest comes first. Options have no candles.
"""

from collections.abc import Collection, Iterable
from typing import Literal

from msgspec import Struct, field
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import MS_NS, Candle, Instrument, SizeUnit, Trade
from aggregator.wire import candle, ms
from connectors.families.bybit.wires import INTERVALS

MINUTES = ("1m", "3m", "5m", "15m", "30m")
MOST = 1000
MOST_TRADES = {"spot": 60}  # and of all others MOST


class Bars(Struct):
    rows: list[tuple[str, str, str, str, str, str, str]] = field(name="list")  # start, open, high, low, close, volumes


class Dealt(Struct):
    execId: str
    price: str
    size: str
    side: Literal["Buy", "Sell"]  # the taker's
    time: str
    isBlockTrade: bool = False


class Deals(Struct):
    rows: list[Dealt] = field(name="list")


class BarsAnswer(Struct):
    result: Bars


class DealsAnswer(Struct):
    result: Deals


decode_bars = Decoder(BarsAnswer).decode
decode_deals = Decoder(DealsAnswer).decode


def category(instrument: Instrument) -> str:
    if instrument.kind in {"perpetual", "future"}:
        return "linear" if instrument.linear else "inverse"
    return instrument.kind


def candles(rest: str, of: str) -> PastPages:
    def request(page: Page) -> Request:
        interval = INTERVALS.get(page.interval, page.interval.removesuffix("m"))
        query = f"category={of}&symbol={page.raw_symbol}&interval={interval}&limit={MOST}"
        return Request(f"{rest}/v5/market/kline?{query}&start={page.start // MS_NS}&end={(page.end - 1) // MS_NS}")

    def parse(page: Page, body: bytes) -> Iterable[Candle]:
        for start, first, high, low, last, volume, turnover in reversed(decode_bars(body).result.rows):
            base, quote = (turnover, volume) if of == "inverse" else (volume, turnover)
            yield candle(page.raw_symbol, page.interval, ms(start), (first, high, low, last), base=base, quote=quote)

    return PastPages(
        channel="candles",
        request=request,
        parse=parse,
        most=MOST,
        serves=lambda i: category(i) == of,
        intervals=(*MINUTES, *(interval for interval in INTERVALS if interval != "1M")),
    )


def trades(rest: str, of: str) -> PastPages:
    unit: SizeUnit = "quote" if of == "inverse" else "base"
    most = MOST_TRADES.get(of, MOST)

    def request(page: Page) -> Request:
        return Request(f"{rest}/v5/market/recent-trade?category={of}&symbol={page.raw_symbol}&limit={most}")

    def parse(page: Page, body: bytes) -> Iterable[Trade]:
        for deal in reversed(decode_deals(body).result.rows):
            yield Trade(
                raw_symbol=page.raw_symbol,
                id=deal.execId,
                price=deal.price,
                size=deal.size,
                side="buy" if deal.side == "Buy" else "sell",
                size_unit=unit,
                kind="block" if deal.isBlockTrade else "trade",
                ts_event=ms(deal.time),
            )

    return PastPages(
        channel="trades", walk="latest", request=request, parse=parse, most=most, serves=lambda i: category(i) == of
    )


def history(rest: str, categories: Collection[str]) -> tuple[PastPages, ...]:
    """The ways of each market. Options have no candles."""
    return (
        *(trades(rest, of) for of in ("spot", "linear", "inverse", "option") if of in categories),
        *(candles(rest, of) for of in ("spot", "linear", "inverse") if of in categories),
    )
