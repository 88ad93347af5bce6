"""The messages of Pacifica in its own spelling, and the records that they make.

https://docs.pacifica.fi/api-documentation/api/websocket/subscriptions
Amounts are of the base asset. Of two rates `funding` is the one that is paid at the end of the hour that runs, computed
from the hour before it: five of five markets paid exactly that (others' readings, 2026-09), though a page on REST calls
it paid. `next_funding` is an estimate of the one after. Times are milliseconds; `li` is the number of the last order
that counts.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, field

from aggregator.records import (
    DAY_S,
    HOUR_S,
    MS_NS,
    Bbo,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Record,
    Side,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, nonzero, optional, text

SIDES: dict[str, Side] = {"open_long": "buy", "close_short": "buy", "open_short": "sell", "close_long": "sell"}
POSITIONS: dict[str, Literal["long", "short"]] = {"close_long": "long", "close_short": "short"}
FORCED = {"market_liquidation", "backstop_liquidation", "insolvency_liquidation"}  # the third in frames of August 2026
DEPTH = 10  # levels a side of a book; the documentation gives no number


class TradeWire(Struct, gc=False):
    h: int
    s: str
    a: Text
    p: Text
    d: Literal["open_long", "open_short", "close_long", "close_short"]  # the taker did so
    t: int
    tc: str = "normal"

    def records(self) -> Iterable[Trade | Liquidation]:
        id, price, size, at = str(self.h), text(self.p), text(self.a), self.t * MS_NS
        is_forced, side = self.tc in FORCED, SIDES[self.d]
        yield Trade(
            raw_symbol=self.s,
            id=id,
            price=price,
            size=size,
            side=side,
            kind="liquidation" if is_forced else "trade",
            ts_event=at,
        )
        if is_forced:
            yield Liquidation(
                raw_symbol=self.s,
                id=id,
                side=side,
                position=POSITIONS.get(self.d),
                price=price,
                price_kind="trade",
                size=size,
                status=self.tc,
                ts_event=at,
            )


class LevelWire(Struct, gc=False):
    p: Text
    a: Text


class BookWire(Struct, gc=False):
    s: str
    l: tuple[list[LevelWire], list[LevelWire]]  # noqa: E741 - the wire's name: bids and asks
    t: int
    li: int | None = None

    def record(self) -> BookSnapshot:
        bids, asks = ([(text(level.p), text(level.a)) for level in side] for side in self.l)
        at, number = self.t * MS_NS, self.li
        return BookSnapshot(
            raw_symbol=self.s,
            bids=bids,
            asks=asks,
            depth=DEPTH,
            reason="periodic",
            sequence=number,
            ts_event=at,
        )


class BestWire(Struct, gc=False):
    s: str
    t: int
    b: Text = None
    B: Text = None
    a: Text = None
    A: Text = None
    li: int | None = None

    def record(self) -> Bbo:
        return bbo(self.s, self.b, self.B, self.a, self.A, ts_event=self.t * MS_NS, sequence=self.li)


class BarWire(Struct, gc=False):
    t: int
    end: int = field(name="T")
    s: str
    i: str
    o: Text
    h: Text
    l: Text  # noqa: E741 - the wire's name
    c: Text
    v: Text = None
    n: int | None = None

    def record(self) -> Candle:
        return Candle(
            raw_symbol=self.s,
            interval=self.i,
            ts_open=self.t * MS_NS,
            ts_close=self.end * MS_NS,
            open=text(self.o),
            high=text(self.h),
            low=text(self.l),
            close=text(self.c),
            base_volume=optional(self.v),
            trades=self.n,
        )


class FiguresWire(Struct, gc=False):
    symbol: str
    timestamp: int
    funding: Text = None
    next_funding: Text = None
    mark: Text = None
    oracle: Text = None
    open_interest: Text = None
    volume_24h: Text = None  # in US dollars

    def records(self) -> Iterable[Record]:
        name, at = self.symbol, self.timestamp * MS_NS
        yield Ticker(raw_symbol=name, quote_volume=optional(self.volume_24h), window_s=DAY_S, ts_event=at)
        if (due := optional(self.funding)) is not None:
            yield Funding(raw_symbol=name, rate=due, interval_s=HOUR_S, ts_event=at)
        if (after := optional(self.next_funding)) is not None:
            yield Funding(raw_symbol=name, rate=after, kind="predicted", interval_s=HOUR_S, ts_event=at)
        if (size := optional(self.open_interest)) is not None:
            yield OpenInterest(raw_symbol=name, size=size, ts_event=at)
        if (mark := nonzero(self.mark)) is not None:
            yield MarkPrice(raw_symbol=name, price=mark, ts_event=at)
        if (oracle := nonzero(self.oracle)) is not None:
            yield IndexPrice(raw_symbol=name, price=oracle, ts_event=at)
