"""The messages of MEXC's contract streams, and the records that they make.

https://www.mexc.com/api-docs/futures/websocket-api
Sizes count contracts. A contract that is quoted in US dollars is inverse, and its turnover is in its base asset.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from aggregator.errors import BadFrame
from aggregator.records import (
    DAY_S,
    MS_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    MarkPrice,
    OpenInterest,
    Record,
    Side,
    Ticker,
    Trade,
)
from aggregator.wire import Text, end_of, levels, nonzero, optional, seconds, text
from connectors.families.mexc.wires import OURS, SIDES


def is_inverse(raw_symbol: str) -> bool:
    return raw_symbol.endswith("_USD")


class DealWire(Struct, gc=False):
    p: Text
    v: Text  # contracts
    T: int  # 1: the taker bought, 2: sold
    t: int
    i: str | int | None = None

    def record(self, raw_symbol: str, sent: int | None) -> Trade:
        side: Side | None = SIDES.get(self.T)
        if side is None:
            raise BadFrame(f"a deal of {raw_symbol} of the unknown side {self.T}")
        return Trade(
            raw_symbol=raw_symbol,
            id=None if self.i is None else str(self.i),
            price=text(self.p),
            size=text(self.v),
            side=side,
            size_unit="contract",
            ts_event=self.t * MS_NS,
            ts_sent=sent,
        )


class DepthWire(Struct, gc=False):
    """Levels are a price, how many contracts, and of how many orders."""

    version: int
    asks: list[list[Text]] = []
    bids: list[list[Text]] = []
    begin: int | None = None  # where several versions are told as one: the first and the last
    end: int | None = None
    timestamp: int | None = None  # only a snapshot has it
    cts: int | None = None  # when it happened, since 2026

    def delta(self, raw_symbol: str, sent: int | None) -> BookDelta:
        return BookDelta(
            raw_symbol=raw_symbol,
            bids=levels(self.bids),
            asks=levels(self.asks),
            sequence=self.version if self.end is None else self.end,
            sequence_first=self.begin,
            ts_event=None if self.cts is None else self.cts * MS_NS,
            ts_sent=sent,
        )

    def whole(self, raw_symbol: str, reason: Literal["initial", "periodic"], sent: int | None) -> BookSnapshot:
        at = self.cts or self.timestamp
        return BookSnapshot(
            raw_symbol=raw_symbol,
            bids=levels(self.bids),
            asks=levels(self.asks),
            reason=reason,
            sequence=self.version,
            ts_event=None if at is None else at * MS_NS,
            ts_sent=sent,
        )


class TickerWire(Struct, gc=False):
    lastPrice: Text
    timestamp: int | None = None
    high24Price: Text = None
    lower24Price: Text = None
    volume24: Text = None  # contracts
    amount24: Text = None  # their value in the asset in which they settle
    holdVol: Text = None  # contracts
    bid1: Text = None
    ask1: Text = None
    fairPrice: Text = None
    indexPrice: Text = None
    fundingRate: Text = None

    def records(self, name: str, sent: int | None) -> Iterable[Record]:
        turnover = optional(self.amount24)
        at = None if self.timestamp is None else self.timestamp * MS_NS
        yield Ticker(
            raw_symbol=name,
            last=nonzero(text(self.lastPrice)),
            high=nonzero(self.high24Price),
            low=nonzero(self.lower24Price),
            base_volume=turnover if is_inverse(name) else None,
            quote_volume=None if is_inverse(name) else turnover,
            contract_volume=optional(self.volume24),
            window_s=DAY_S,
            ts_event=at,
            ts_sent=sent,
        )
        bid, ask = optional(self.bid1 or None), optional(self.ask1 or None)  # 0 is nobody's price
        if bid or ask:
            yield Bbo(raw_symbol=name, bid_price=bid, ask_price=ask, ts_event=at, ts_sent=sent)
        if self.holdVol is not None:
            size = text(self.holdVol)
            yield OpenInterest(raw_symbol=name, size=size, size_unit="contract", ts_event=at, ts_sent=sent)
        if rate := optional(self.fundingRate):
            yield Funding(raw_symbol=name, rate=rate, ts_event=at, ts_sent=sent)
        if mark := nonzero(self.fairPrice):
            yield MarkPrice(raw_symbol=name, price=mark, ts_event=at, ts_sent=sent)
        if index := nonzero(self.indexPrice):
            yield IndexPrice(raw_symbol=name, price=index, ts_event=at, ts_sent=sent)


class NamedTicker(TickerWire, gc=False, kw_only=True):
    symbol: str


class BarWire(Struct, gc=False):
    interval: str
    t: int  # seconds
    o: Text
    h: Text
    l: Text  # noqa: E741 - the exchange's own name
    c: Text
    q: Text = None  # contracts
    a: Text = None  # their value in the asset in which they settle

    def record(self, raw_symbol: str, sent: int | None) -> Candle:
        interval, at, turnover = OURS.get(self.interval, self.interval), seconds(self.t), optional(self.a)
        return Candle(
            raw_symbol=raw_symbol,
            interval=interval,
            ts_open=at,
            ts_close=end_of(interval, at),
            open=text(self.o),
            high=text(self.h),
            low=text(self.l),
            close=text(self.c),
            base_volume=turnover if is_inverse(raw_symbol) else None,
            quote_volume=None if is_inverse(raw_symbol) else turnover,
            contract_volume=optional(self.q),
            ts_sent=sent,
        )


class RateWire(Struct):
    rate: Text
    nextSettleTime: int | None = None

    def record(self, raw_symbol: str, sent: int | None) -> Funding:
        due = self.nextSettleTime
        return Funding(
            raw_symbol=raw_symbol, rate=text(self.rate), ts_next=None if due is None else due * MS_NS, ts_sent=sent
        )


class PriceWire(Struct):
    price: Text
