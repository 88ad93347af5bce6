"""The contents of BitMart's frames of spot: trades, books, statistics and candles."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct

from aggregator.records import DAY_S, MS_NS, BookDelta, BookSnapshot, Candle, Record, Ticker, Trade
from aggregator.wire import bbo, candle, interval_s, levels, ms, nonzero, seconds


class SpotTrade(Struct, gc=False):
    symbol: str
    price: str
    side: Literal["buy", "sell"]
    size: str
    s_t: int  # seconds
    ms_t: int | None = None

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.symbol,
            price=self.price,
            size=self.size,
            side=self.side,
            ts_event=seconds(self.s_t) if self.ms_t is None else ms(self.ms_t),
        )


class SpotBook(Struct, gc=False):
    symbol: str
    asks: list[list[str]]
    bids: list[list[str]]
    ms_t: int
    type: Literal["snapshot", "update"] | None = None  # a book of few levels is always whole, and does not say it
    version: int | None = None

    def record(self) -> BookSnapshot | BookDelta:
        kind = BookDelta if self.type == "update" else BookSnapshot
        bids, asks, time = levels(self.bids), levels(self.asks), self.ms_t * MS_NS
        return kind(raw_symbol=self.symbol, bids=bids, asks=asks, sequence=self.version, ts_event=time)


class SpotDay(Struct, gc=False):
    symbol: str
    last_price: str
    open_24h: str
    high_24h: str
    low_24h: str
    base_volume_24h: str
    s_t: int  # seconds
    ms_t: int | None = None  # null in frames of 2021, as what follows is
    quote_volume_24h: str | None = None
    bid_px: str | None = None
    bid_sz: str | None = None
    ask_px: str | None = None
    ask_sz: str | None = None

    def records(self) -> Iterable[Record]:
        time = seconds(self.s_t) if self.ms_t is None else ms(self.ms_t)
        yield Ticker(
            raw_symbol=self.symbol,
            last=nonzero(self.last_price),
            open=nonzero(self.open_24h),
            high=nonzero(self.high_24h),
            low=nonzero(self.low_24h),
            base_volume=self.base_volume_24h,
            quote_volume=self.quote_volume_24h,
            window_s=DAY_S,
            ts_event=time,
        )
        if self.bid_px is not None or self.ask_px is not None:
            yield bbo(self.symbol, self.bid_px, self.bid_sz, self.ask_px, self.ask_sz, ts_event=time)


class SpotBar(Struct, gc=False):
    symbol: str
    candle: tuple[int, str, str, str, str, str]  # a moment within it in seconds, open, high, low, close, and the volume

    def record(self, interval: str) -> Candle:
        moment, first, high, low, last, volume = self.candle
        return candle(self.symbol, interval, beginning(interval, moment), (first, high, low, last), base=volume)


def beginning(interval: str, moment: int) -> int:
    """When the candle begins (ns) that holds a moment (seconds): a frame tells when it was made, and no beginning."""
    length = interval_s(interval)
    if length is None:
        day = datetime.fromtimestamp(moment, UTC)
        return seconds(moment - moment % DAY_S - (day.day - 1) * DAY_S)
    monday = 4 * DAY_S if length == 7 * DAY_S else 0  # 1970 began on a Thursday
    return seconds(moment - (moment - monday) % length)
