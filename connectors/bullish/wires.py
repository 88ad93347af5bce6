"""The messages of Bullish in its own spelling, and the records that they make.

https://docs.exchange.bullish.com
Amounts are of the base asset, of contracts too. A funding rate is in percent here, and a fraction in REST's histories
(2026-09).
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from aggregator.records import (
    DAY_S,
    HOUR_S,
    MS_NS,
    Bbo,
    BookSnapshot,
    Funding,
    IndexPrice,
    Levels,
    MarkPrice,
    OpenInterest,
    OptionSummary,
    Record,
    Ticker,
    Trade,
)
from aggregator.wire import bbo, best, fraction, nonzero, optional, text

DEPTH = 200
DIGITS = {13: MS_NS, 19: 1}  # how many a time of now has -> what it counts, in nanoseconds


def moment(stamp: str | None) -> int | None:
    """A time in milliseconds, or in nanoseconds as trades may have it; one of 1970 (`1784801`) says nothing.

    Both stand in frames of 2026 (https://github.com/tardis-dev/tardis-node, test/mappers.test.ts).
    """
    unit = DIGITS.get(len(stamp or ""))
    return None if stamp is None or unit is None else int(stamp) * unit


class TradeRow(Struct, gc=False):
    tradeId: str
    price: str
    quantity: str
    side: Literal["BUY", "SELL"]  # the taker's or the maker's, as the next field says
    isTaker: bool
    createdAtTimestamp: str
    publishedAtTimestamp: str | None = None
    otcTradeId: str | None = None

    def record(self, symbol: str) -> Trade:
        return Trade(
            raw_symbol=symbol,
            id=self.tradeId,
            price=text(self.price),
            size=text(self.quantity),
            side="buy" if (self.side == "BUY") is self.isTaker else "sell",
            kind="block" if self.otcTradeId else "trade",
            ts_event=moment(self.createdAtTimestamp),
            ts_sent=moment(self.publishedAtTimestamp),
        )


class TradesWire(Struct, gc=False):
    symbol: str
    trades: list[TradeRow]

    def records(self) -> Iterable[Trade]:
        return [row.record(self.symbol) for row in self.trades]


def pairs(flat: Sequence[str]) -> Levels:
    """Levels of a side that is told as price, size, price, size."""
    return [(text(flat[at]), text(flat[at + 1])) for at in range(0, len(flat), 2)]


class BookWire(Struct, gc=False):
    symbol: str
    bids: list[str]
    asks: list[str]
    sequenceNumberRange: tuple[int, int]
    timestamp: str
    publishedAtTimestamp: str | None = None

    def records(self) -> Iterable[BookSnapshot]:
        yield BookSnapshot(
            raw_symbol=self.symbol,
            bids=pairs(self.bids),
            asks=pairs(self.asks),
            depth=DEPTH,
            reason="periodic",
            sequence=self.sequenceNumberRange[1],
            ts_event=moment(self.timestamp),
            ts_sent=moment(self.publishedAtTimestamp),
        )


class BestWire(Struct, gc=False):
    symbol: str
    bid: list[str]
    ask: list[str]
    sequenceNumber: str
    timestamp: str
    publishedAtTimestamp: str | None = None

    def records(self) -> Iterable[Bbo]:
        (bid, bid_size), (ask, ask_size) = self.bid or (None, None), self.ask or (None, None)
        at, sent, number = moment(self.timestamp), moment(self.publishedAtTimestamp), int(self.sequenceNumber)
        yield bbo(self.symbol, bid, bid_size, ask, ask_size, ts_event=at, ts_sent=sent, sequence=number)


class TickWire(Struct, gc=False):
    symbol: str
    createdAtTimestamp: str
    publishedAtTimestamp: str | None = None
    last: str | None = None
    open: str | None = None
    high: str | None = None
    low: str | None = None
    baseVolume: str | None = None
    quoteVolume: str | None = None
    vwap: str | None = None
    change: str | None = None
    markPrice: str | None = None  # contracts alone have it, and what follows
    fundingRate: str | None = None  # perpetuals alone have it, in percent
    openInterest: str | None = None
    impliedVolatility: str | None = None  # options alone have it, and what follows, but for the best prices
    delta: str | None = None
    gamma: str | None = None
    vega: str | None = None
    theta: str | None = None
    bestBid: str | None = None
    bidVolume: str | None = None
    bestAsk: str | None = None
    askVolume: str | None = None

    def records(self) -> Iterable[Record]:
        name, at, sent = self.symbol, moment(self.createdAtTimestamp), moment(self.publishedAtTimestamp)
        yield Ticker(
            raw_symbol=name,
            last=nonzero(self.last),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.baseVolume),
            quote_volume=optional(self.quoteVolume),
            vwap=nonzero(self.vwap),
            change=optional(self.change),
            window_s=DAY_S,
            ts_event=at,
            ts_sent=sent,
        )
        if (mark := nonzero(self.markPrice)) is not None:
            yield MarkPrice(raw_symbol=name, price=mark, ts_event=at, ts_sent=sent)
        if (rate := fraction(optional(self.fundingRate))) is not None:
            yield Funding(raw_symbol=name, rate=rate, interval_s=HOUR_S, ts_event=at, ts_sent=sent)
        if (size := optional(self.openInterest)) is not None:
            yield OpenInterest(raw_symbol=name, size=size, ts_event=at, ts_sent=sent)
        if self.delta is not None or self.impliedVolatility is not None:
            yield self.option(at, sent)

    def option(self, at: int | None, sent: int | None) -> OptionSummary:
        bid, ask = best(self.bestBid, self.bidVolume), best(self.bestAsk, self.askVolume)
        return OptionSummary(
            raw_symbol=self.symbol,
            mark_price=nonzero(self.markPrice),
            mark_iv=nonzero(self.impliedVolatility),
            bid_price=bid[0],
            bid_size=bid[1],
            ask_price=ask[0],
            ask_size=ask[1],
            delta=optional(self.delta),
            gamma=optional(self.gamma),
            vega=optional(self.vega),
            theta=optional(self.theta),
            ts_event=at,
            ts_sent=sent,
        )


class IndexWire(Struct, gc=False):
    assetSymbol: str
    price: str | None
    updatedAtTimestamp: str

    def records(self) -> Iterable[IndexPrice]:
        if (price := nonzero(self.price)) is not None:
            name = self.assetSymbol
            yield IndexPrice(raw_symbol=name, price=price, index=name, ts_event=moment(self.updatedAtTimestamp))
