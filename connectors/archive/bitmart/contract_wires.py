"""The contents of BitMart's frames of contracts: trades, books, statistics, funding and candles."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from aggregator.records import (
    DAY_S,
    MS_NS,
    SECOND_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Funding,
    IndexPrice,
    Levels,
    MarkPrice,
    Record,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, candle, from_iso, ms, nonzero, optional
from connectors.archive.bitmart.spot_wires import beginning


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
    version: int | None = None
    type: Literal["snapshot", "update"] | None = None  # a book of few levels is always whole, and does not say it

    def record(self) -> BookSnapshot | BookDelta:
        kind = BookDelta if self.type == "update" else BookSnapshot
        bids, asks, time = named(self.bids), named(self.asks), self.ms_t * MS_NS
        return kind(raw_symbol=self.symbol, bids=bids, asks=asks, sequence=self.version, ts_event=time)


class ContractSide(Struct, gc=False):
    """One side of a book, whole: the other one comes by itself."""

    symbol: str
    way: Literal[1, 2]  # bids, asks
    depths: list[Level]
    ms_t: int


class ContractBest(Struct, gc=False):
    symbol: str
    best_bid_price: str
    best_bid_vol: str
    best_ask_price: str
    best_ask_vol: str
    ms_t: int

    def record(self) -> Bbo:
        bid, ask = (self.best_bid_price, self.best_bid_vol), (self.best_ask_price, self.best_ask_vol)
        return bbo(self.symbol, *bid, *ask, ts_event=ms(self.ms_t))


class ContractFunding(Struct, gc=False):
    symbol: str
    fundingRate: Text
    fundingTime: int  # when it is exchanged next; since 2026 the moment of the frame, which says nothing of that
    ts: int
    nextFundingRate: Text = None
    nextFundingTime: int | None = None

    def records(self) -> Iterable[Funding]:
        at, after = ms(self.ts), ms(self.nextFundingTime) if self.nextFundingTime else None
        due = ms(self.fundingTime) if self.fundingTime > self.ts else None
        length = None if after is None or due is None else (after - due) // SECOND_NS
        if rate := optional(self.fundingRate):
            yield Funding(raw_symbol=self.symbol, rate=rate, interval_s=length, ts_next=due, ts_event=at)
        if rate := optional(self.nextFundingRate):
            yield Funding(
                raw_symbol=self.symbol, rate=rate, kind="predicted", interval_s=length, ts_next=after, ts_event=at
            )


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
    ts: int  # a moment within it, in seconds
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
            made = candle(self.symbol, interval, beginning(interval, bar.ts), (bar.o, bar.h, bar.l, bar.c))
            made.contract_volume = bar.v
            yield made


def named(rows: list[Level]) -> Levels:
    return [(row.price, row.vol) for row in rows]
