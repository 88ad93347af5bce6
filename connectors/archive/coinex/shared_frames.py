"""The parts that both versions of CoinEx's frames share: mark and index prices, and the unit of an amount."""

from collections.abc import Iterable

from aggregator.records import IndexPrice, MarkPrice, Record, SizeUnit
from aggregator.wire import nonzero


def prices(market: str, mark: str | None, index: str | None) -> Iterable[Record]:
    if price := nonzero(mark):
        yield MarkPrice(raw_symbol=market, price=price)
    if price := nonzero(index):
        yield IndexPrice(raw_symbol=market, price=price)


def unit(symbol: str) -> SizeUnit:
    return "quote" if symbol.endswith("USD") else "base"
