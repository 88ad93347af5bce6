"""The messages of the Binance protocol in its own spelling, and the records that they make.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
Times come in milliseconds, or in microseconds where the address says `timeUnit=MICROSECOND`. Fields stand in the order
of the wire, where the decoder looks for each next one first.
"""

from msgspec import Struct

from aggregator.records import DAY_S, HOUR_S, MS_NS, Bbo, BookDelta, Candle, Levels, Record, Ticker, Trade
from aggregator.wire import ZERO, Text, best, end_of, levels, nonzero

FIRST_US = 10**14  # a time above this cannot be milliseconds
US_NS = 1000


def stamp(time: int) -> int:
    """Milliseconds or microseconds as nanoseconds."""
    return time * US_NS if time > FIRST_US else time * MS_NS


class TradeWire(Struct, tag_field="e", tag="trade", gc=False):
    E: int  # when it was sent; T is when it was matched
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool  # the buyer was the maker, so the taker sold

    def record(self) -> Record:
        unit = US_NS if self.T > FIRST_US else MS_NS  # hot: as `stamp` does, without a call for either time
        return Trade(
            raw_symbol=self.s,
            id=str(self.t),
            price=self.p,
            size=self.q,
            side="sell" if self.m else "buy",
            sequence=self.t,
            ts_event=self.T * unit,
            ts_sent=self.E * unit,
        )


class BlockTradeWire(Struct, tag_field="e", tag="blockTrade", gc=False):
    """A trade that two sides agreed on outside the book; blocks have numbers of their own. Spot, since May 2026."""

    s: str
    t: int
    p: str
    q: str
    T: int
    E: int
    m: bool

    def record(self) -> Record:
        return Trade(
            raw_symbol=self.s,
            id=str(self.t),
            price=self.p,
            size=self.q,
            side="sell" if self.m else "buy",
            kind="block",
            ts_event=stamp(self.T),
            ts_sent=stamp(self.E),
        )


class AggregateWire(Struct, tag_field="e", tag="aggTrade", gc=False):
    E: int
    s: str
    a: int  # the aggregate's own number; f and l are those of its first and last trade
    p: str
    q: str
    f: int
    l: int  # noqa: E741 - the wire's name
    T: int
    m: bool

    def record(self) -> Record:
        unit = US_NS if self.T > FIRST_US else MS_NS  # hot: as `stamp` does, without a call for either time
        return Trade(
            raw_symbol=self.s,
            id=str(self.a),
            price=self.p,
            size=self.q,
            side="sell" if self.m else "buy",
            kind="aggregate",
            first_id=str(self.f),
            last_id=str(self.l),
            count=self.l - self.f + 1,
            sequence=self.a,
            ts_event=self.T * unit,
            ts_sent=self.E * unit,
        )


class DepthWire(Struct, tag_field="e", tag="depthUpdate", kw_only=True, gc=False):
    E: int
    T: int | None = None  # derivatives only, as pu
    s: str
    U: int | None = None
    u: int
    pu: int | None = None
    b: Levels  # [["price", "size"], …]: already what we publish
    a: Levels

    def record(self) -> Record:
        return BookDelta(
            raw_symbol=self.s,
            bids=self.b,
            asks=self.a,
            sequence_first=self.U,
            sequence=self.u,
            sequence_prev=self.pu,
            ts_event=None if self.T is None else stamp(self.T),
            ts_sent=stamp(self.E),
        )


class WideDepthWire(Struct):
    """Changes in their old form: a level had a third element that meant nothing."""

    s: str
    E: int
    u: int
    b: list[list[Text]]
    a: list[list[Text]]
    U: int | None = None

    def record(self) -> Record:
        return DepthWire(s=self.s, E=self.E, u=self.u, b=levels(self.b), a=levels(self.a), U=self.U).record()


class BestWire(Struct, gc=False):
    u: int
    s: str
    b: str
    B: str
    a: str
    A: str
    T: int | None = None  # derivatives only, as E
    E: int | None = None

    def record(self) -> Record:
        bid, ask = self.b, self.a
        found = Bbo(
            raw_symbol=self.s,
            bid_price=bid,
            bid_size=self.B,
            ask_price=ask,
            ask_size=self.A,
            sequence=self.u,
            ts_event=None if self.T is None else stamp(self.T),
            ts_sent=None if self.E is None else stamp(self.E),
        )
        if bid <= ZERO or ask <= ZERO:  # hot: only a price of zero, an empty side, needs a call
            found.bid_price, found.bid_size = best(bid, self.B)
            found.ask_price, found.ask_size = best(ask, self.A)
        return found


class TaggedBestWire(BestWire, tag_field="e", tag="bookTicker", gc=False):
    """Derivatives say the kind inside; spot says it only in the stream's name."""


class BarWire(Struct, gc=False):
    t: int
    T: int  # the last millisecond (or microsecond) within; some documents show the end itself
    i: str
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    c: str
    v: str
    q: str
    n: int
    x: bool


class KlineWire(Struct, tag_field="e", tag="kline", gc=False):
    s: str
    E: int
    k: BarWire

    def record(self) -> Record:
        bar, start = self.k, stamp(self.k.t)
        return Candle(
            raw_symbol=self.s,
            interval=bar.i,
            ts_open=start,
            ts_close=end_of(bar.i, start) or stamp(bar.T + 1),
            open=bar.o,
            high=bar.h,
            low=bar.l,
            close=bar.c,
            base_volume=bar.v,
            quote_volume=bar.q,
            trades=bar.n,
            closed=bar.x,
            ts_sent=stamp(self.E),
        )


class TickerWire(Struct, tag_field="e", tag="24hrTicker", gc=False):
    s: str
    E: int
    c: str
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    v: str
    q: str
    w: str | None = None  # the mini ticker has none, nor the next two
    p: str | None = None
    n: int | None = None

    def record(self, window_s: int = DAY_S) -> Record:
        return Ticker(
            raw_symbol=self.s,
            # hot: a price that is not zero needs no call to say so
            last=self.c if self.c > ZERO else nonzero(self.c),
            open=self.o if self.o > ZERO else nonzero(self.o),
            high=self.h if self.h > ZERO else nonzero(self.h),
            low=self.l if self.l > ZERO else nonzero(self.l),
            base_volume=self.v,
            quote_volume=self.q,
            vwap=self.w if self.w and self.w > ZERO else nonzero(self.w),
            change=self.p,
            trades=self.n,
            window_s=window_s,
            ts_sent=stamp(self.E),
        )


class MiniTickerWire(TickerWire, tag_field="e", tag="24hrMiniTicker", gc=False):
    """The same statistics, fewer of them."""


class HourTickerWire(TickerWire, tag_field="e", tag="1hTicker", gc=False):
    """The ticker of an hour. Like the next two it has a window that begins on a whole minute."""

    def record(self, window_s: int = HOUR_S) -> Record:
        return super().record(window_s)


class FourHourTickerWire(TickerWire, tag_field="e", tag="4hTicker", gc=False):
    def record(self, window_s: int = 4 * HOUR_S) -> Record:
        return super().record(window_s)


class DayTickerWire(TickerWire, tag_field="e", tag="1dTicker", gc=False):
    """The ticker of a day, whose window begins on a whole minute."""


Statistics = TickerWire | MiniTickerWire | HourTickerWire | FourHourTickerWire | DayTickerWire
Wire = TradeWire | BlockTradeWire | AggregateWire | DepthWire | TaggedBestWire | KlineWire | Statistics
