"""The contents of BitMart's frames: trades, books, statistics and candles, of spot and of contracts."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from aggregator.records import (
    DAY_S,
    MS_NS,
    BookDelta,
    BookSnapshot,
    Candle,
    IndexPrice,
    Levels,
    MarkPrice,
    Record,
    Ticker,
    Trade,
)
from aggregator.wire import bbo, candle, from_iso, levels, ms, nonzero, seconds


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


class ContractTrade(Struct, gc=False):
    trade_id: int
    symbol: str
    deal_price: str
    deal_vol: str
    created_at: str
    m: bool | None = None  # the buyer was the maker

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.symbol,
            id=str(self.trade_id),
            price=self.deal_price,
            size=self.deal_vol,
            side=None if self.m is None else "sell" if self.m else "buy",
            size_unit="contract",
            ts_event=from_iso(self.created_at),
        )


class Level(Struct, gc=False):
    price: str
    vol: str


class ContractBook(Struct, gc=False):
    symbol: str
    asks: list[Level]
    bids: list[Level]
    ms_t: int
    version: int
    type: Literal["snapshot", "update"]

    def record(self) -> BookSnapshot | BookDelta:
        kind = BookDelta if self.type == "update" else BookSnapshot
        bids, asks, time = named(self.bids), named(self.asks), self.ms_t * MS_NS
        return kind(raw_symbol=self.symbol, bids=bids, asks=asks, sequence=self.version, ts_event=time)


class SpotDay(Struct, gc=False):
    symbol: str
    last_price: str
    open_24h: str
    high_24h: str
    low_24h: str
    base_volume_24h: str
    quote_volume_24h: str
    bid_px: str
    bid_sz: str
    ask_px: str
    ask_sz: str
    ms_t: int

    def records(self) -> Iterable[Record]:
        time = ms(self.ms_t)
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
        yield bbo(self.symbol, self.bid_px, self.bid_sz, self.ask_px, self.ask_sz, ts_event=time)


class SpotBar(Struct, gc=False):
    symbol: str
    candle: tuple[int, str, str, str, str, str]  # a time in seconds, open, high, low, close, and the volume

    def record(self, interval: str) -> Candle:
        start, first, high, low, last, volume = self.candle
        return candle(self.symbol, interval, seconds(start), (first, high, low, last), base=volume)


class ContractDay(Struct, gc=False):
    symbol: str
    last_price: str
    volume_24: str
    mark_price: str
    index_price: str
    bid_price: str
    bid_vol: str
    ask_price: str
    ask_vol: str

    def records(self) -> Iterable[Record]:
        name = self.symbol
        yield Ticker(raw_symbol=name, last=nonzero(self.last_price), contract_volume=self.volume_24, window_s=DAY_S)
        if mark := nonzero(self.mark_price):
            yield MarkPrice(raw_symbol=name, price=mark)
        if index := nonzero(self.index_price):
            yield IndexPrice(raw_symbol=name, price=index)
        yield bbo(name, self.bid_price, self.bid_vol, self.ask_price, self.ask_vol)


class ContractBar(Struct, gc=False):
    ts: int
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    c: str
    v: str


class ContractBars(Struct, gc=False):
    symbol: str
    items: list[ContractBar]

    def records(self, interval: str) -> Iterable[Record]:
        for bar in self.items:
            made = candle(self.symbol, interval, seconds(bar.ts), (bar.o, bar.h, bar.l, bar.c))
            made.contract_volume = bar.v
            yield made


def named(rows: list[Level]) -> Levels:
    return [(row.price, row.vol) for row in rows]
