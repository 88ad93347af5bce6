"""The messages of Hyperliquid in its own spelling, and the records that they make.

https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket/subscriptions
Of `A` and `B` (ask and bid) a trade names the taker's side: `A` is a taker who sells. What a coin's context says has no
time. A candle has no word for being final.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, field

from aggregator.exchange import Event
from aggregator.records import (
    MS_NS,
    Bbo,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    MarkPrice,
    OpenInterest,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, end_of, nonzero, optional, text

DEPTH, FAST_DEPTH = 20, 5


class TradeWire(Struct, gc=False):
    coin: str
    side: Literal["A", "B"]  # the taker's
    px: Text
    sz: Text
    time: int  # the block's, as all times here
    tid: int | None = None  # trades of 2023 have none

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.coin,
            id=None if self.tid is None else str(self.tid),
            price=text(self.px),
            size=text(self.sz),
            side="sell" if self.side == "A" else "buy",
            ts_event=self.time * MS_NS,
        )


class LevelWire(Struct, gc=False):
    px: Text
    sz: Text


class BookWire(Struct, gc=False):
    coin: str
    time: int
    levels: tuple[list[LevelWire], list[LevelWire]]  # bids and asks, best first

    def record(self) -> BookSnapshot:
        bids, asks = ([(text(level.px), text(level.sz)) for level in side] for side in self.levels)
        depth = FAST_DEPTH if max(len(bids), len(asks)) <= FAST_DEPTH else DEPTH  # a frame says not which it is
        return BookSnapshot(
            raw_symbol=self.coin, bids=bids, asks=asks, depth=depth, reason="periodic", ts_event=self.time * MS_NS
        )


class BestWire(Struct, gc=False):
    coin: str
    time: int
    bbo: list[LevelWire | None]  # bid and ask: an empty side is null, or left out at the end

    def record(self) -> Bbo:
        bid, ask = [*self.bbo, None, None][:2]
        return bbo(
            self.coin,
            bid and bid.px,
            bid and bid.sz,
            ask and ask.px,
            ask and ask.sz,
            ts_event=self.time * MS_NS,
        )


class BarWire(Struct, gc=False):
    t: int
    s: str
    i: str
    o: Text
    h: Text
    low: Text = field(name="l")
    c: Text
    v: Text
    n: int

    def record(self) -> Candle:
        return Candle(
            raw_symbol=self.s,
            interval=self.i,
            ts_open=self.t * MS_NS,
            ts_close=end_of(self.i, self.t * MS_NS),
            open=text(self.o),
            high=text(self.h),
            low=text(self.low),
            close=text(self.c),
            base_volume=text(self.v),
            trades=self.n,
        )


class ContextWire(Struct, gc=False):
    prevDayPx: Text = None  # 0.0 of a coin that nobody traded
    dayNtlVlm: Text = None  # in the quote asset
    dayBaseVlm: Text = None
    markPx: Text = None
    funding: Text = None  # a fraction of the running hour, as the rest only of a perpetual
    openInterest: Text = None  # in the base asset
    oraclePx: Text = None


class CoinWire(Struct, gc=False):
    coin: str
    ctx: ContextWire

    def records(self) -> Iterable[Event]:
        coin, said = self.coin, self.ctx
        yield Ticker(
            raw_symbol=coin,
            open=nonzero(said.prevDayPx),
            base_volume=optional(said.dayBaseVlm),
            quote_volume=optional(said.dayNtlVlm),
        )
        if (rate := optional(said.funding)) is not None:
            yield Funding(raw_symbol=coin, rate=rate)
        if (size := optional(said.openInterest)) is not None:
            yield OpenInterest(raw_symbol=coin, size=size)
        if (mark := nonzero(said.markPx)) is not None:
            yield MarkPrice(raw_symbol=coin, price=mark)
        if (oracle := nonzero(said.oraclePx)) is not None:
            yield IndexPrice(raw_symbol=coin, price=oracle)
