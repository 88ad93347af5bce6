"""The messages of Bitget's protocol, version 2, in its own spelling, and the records that they make.

https://www.bitget.com/api-doc/contract/websocket/public/Tickers-Channel
Every size is of the base asset, that of coin-margined contracts too.
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.records import (
    DAY_S,
    MS_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    Levels,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Record,
    Side,
    Ticker,
    Trade,
)
from aggregator.wire import Text, end_of, lower_unit, ms, nonzero, optional

SECONDS = {"60s": "1m", "300s": "5m", "900s": "15m", "1800s": "30m", "3600s": "1h", "14400s": "4h", "43200s": "12h"}
SECONDS |= {"86400s": "1d", "604800s": "1w"}


def interval_of(name: str) -> str:
    """An interval as we spell it: `1H`, `1Dutc` and so on are the exchange's spelling, and `60s` was."""
    return SECONDS.get(name) or lower_unit(name.removesuffix("utc"))


class TradeWire(Struct, gc=False):
    ts: int
    price: str
    size: str
    side: Side  # the taker's
    tradeId: str | None = None

    def record(self, raw_symbol: str, sent: int | None) -> Trade:
        return Trade(
            raw_symbol=raw_symbol,
            id=self.tradeId,
            price=self.price,
            size=self.size,
            side=self.side,
            ts_event=self.ts * MS_NS,
            ts_sent=sent,
        )


class BookWire(Struct, gc=False):
    asks: Levels
    bids: Levels
    ts: int  # when the matching engine made it
    checksum: int | None = None  # 0 says nothing
    seq: int | None = None  # grows from one message to the next, by no fixed step
    pseq: int | None = None  # the one before, since 2026; 0 of a whole book

    def delta(self, raw_symbol: str, sent: int | None) -> BookDelta:
        return BookDelta(
            raw_symbol=raw_symbol,
            bids=self.bids,
            asks=self.asks,
            checksum=self.checksum or None,
            sequence=self.seq,
            sequence_prev=self.pseq,
            ts_event=self.ts * MS_NS,
            ts_sent=sent,
        )

    def whole(self, raw_symbol: str, sent: int | None, depth: int | None, *, is_first: bool) -> BookSnapshot:
        """A book that changes follow, or one of few levels, which is only ever sent whole."""
        return BookSnapshot(
            raw_symbol=raw_symbol,
            bids=self.bids,
            asks=self.asks,
            depth=depth,
            reason="initial" if is_first else "periodic",
            checksum=self.checksum or None,
            sequence=self.seq,
            ts_event=self.ts * MS_NS,
            ts_sent=sent,
        )

    def best(self, raw_symbol: str, sent: int | None) -> Bbo:
        bid, bid_size = self.bids[0] if self.bids else (None, None)
        ask, ask_size = self.asks[0] if self.asks else (None, None)
        return Bbo(
            raw_symbol=raw_symbol,
            bid_price=bid,
            bid_size=bid_size,
            ask_price=ask,
            ask_size=ask_size,
            sequence=self.seq,
            ts_event=self.ts * MS_NS,
            ts_sent=sent,
        )


class TickerWire(Struct, gc=False):
    instId: str
    ts: int | None  # version 3 says none
    lastPr: str = ""
    last: str = ""  # its name in older examples of the documentation
    open24h: str = ""
    high24h: str = ""
    low24h: str = ""
    baseVolume: str = ""
    quoteVolume: str = ""
    fundingRate: str | None = None  # this and what follows: futures only
    nextFundingTime: Text = None  # a number or text; nothing, or 0, where a contract has no funding
    holdingAmount: str | None = None  # open interest
    markPrice: str | None = None
    indexPrice: str | None = None

    def records(self, sent: int | None) -> Iterable[Record]:
        name, at = self.instId, None if self.ts is None else self.ts * MS_NS
        yield Ticker(
            raw_symbol=name,
            last=nonzero(self.lastPr or self.last),
            open=nonzero(self.open24h),
            high=nonzero(self.high24h),
            low=nonzero(self.low24h),
            base_volume=self.baseVolume or None,
            quote_volume=self.quoteVolume or None,
            window_s=DAY_S,
            ts_event=at,
            ts_sent=sent,
        )
        due = optional(self.nextFundingTime)
        if self.fundingRate and due and due != "0":
            yield Funding(raw_symbol=name, rate=self.fundingRate, ts_next=ms(due), ts_event=at, ts_sent=sent)
        if self.holdingAmount:
            size = self.holdingAmount
            yield OpenInterest(raw_symbol=name, size=size, base_size=size, ts_event=at, ts_sent=sent)
        if mark := nonzero(self.markPrice):
            yield MarkPrice(raw_symbol=name, price=mark, ts_event=at, ts_sent=sent)
        if index := nonzero(self.indexPrice):
            yield IndexPrice(raw_symbol=name, price=index, ts_event=at, ts_sent=sent)


class BarWire(Struct, array_like=True, gc=False):
    """A candle; what follows, its volume in USDT, is left out."""

    ts: int
    open: str
    high: str
    low: str
    close: str
    baseVolume: str
    quoteVolume: str | None = None

    def record(self, raw_symbol: str, interval: str, sent: int | None) -> Candle:
        at = self.ts * MS_NS
        return Candle(
            raw_symbol=raw_symbol,
            interval=interval,
            ts_open=at,
            ts_close=end_of(interval, at),
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            base_volume=self.baseVolume,
            quote_volume=self.quoteVolume,
            ts_sent=sent,
        )


class LiquidationWire(Struct):
    symbol: str
    side: Side  # the position's: buy is a long one
    price: str
    amount: str
    ts: int

    def record(self, sent: int | None) -> Liquidation:
        is_long = self.side == "buy"
        return Liquidation(
            raw_symbol=self.symbol,
            side="sell" if is_long else "buy",
            position="long" if is_long else "short",
            price=self.price,
            size=self.amount,
            ts_event=self.ts * MS_NS,
            ts_sent=sent,
            sampled=True,  # only the largest of each side in each second is sent
        )
