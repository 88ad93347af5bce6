"""The messages of XT's contracts in its own spelling, and the records that they make.

https://doc.xt.com/docs/futures/WebsocKetV2/General_WSS_information
Sizes and volumes count contracts. What the socket calls turnover repeats the volume (September 2026), and is left out.
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.errors import BadFrame
from aggregator.records import (
    DAY_S,
    MS_NS,
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    MarkPrice,
    Record,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, end_of, levels, nonzero, optional, text


class TradeWire(Struct, gc=False):
    """A trade; the exchange gives it no number."""

    s: str
    p: str
    a: str  # contracts
    m: str  # BID: the taker bought
    t: int

    def records(self, _: str) -> Iterable[Record]:
        if self.m not in {"BID", "ASK"}:
            raise BadFrame(f"a trade of the side {self.m[:20]!r}")
        yield Trade(
            raw_symbol=self.s,
            price=text(self.p),
            size=text(self.a),
            size_unit="contract",
            side="buy" if self.m == "BID" else "sell",
            ts_event=self.t * MS_NS,
        )


class DeltaWire(Struct, gc=False):
    s: str
    pu: str
    fu: str
    u: str
    a: list[list[Text]]
    b: list[list[Text]]
    t: int

    def records(self, _: str) -> Iterable[Record]:
        yield BookDelta(
            raw_symbol=self.s,
            bids=levels(self.b),
            asks=levels(self.a),
            sequence=int(self.u),
            sequence_first=int(self.fu),
            sequence_prev=int(self.pu),
            ts_sent=self.t * MS_NS,
        )


class TopWire(Struct, gc=False):
    """The best levels as they stand, in captures of others (`depth@btc_usdt,20`); some name a pace after the depth.

    The `id` that it has without `u` is not exactly where the changes stand (September 2026, live probes by others).
    """

    s: str
    a: list[list[Text]]
    b: list[list[Text]]
    t: int
    u: str | None = None

    def records(self, depth: str) -> Iterable[Record]:
        yield BookSnapshot(
            raw_symbol=self.s,
            bids=levels(self.b),
            asks=levels(self.a),
            depth=int(depth.partition(",")[0]),
            reason="periodic",
            sequence=None if self.u is None else int(self.u),
            ts_sent=self.t * MS_NS,
        )


class TickerWire(Struct, gc=False):
    """Statistics, and in `agg_ticker` the best prices, of which it says no sizes."""

    s: str
    t: int
    o: str | None = None
    c: str | None = None
    h: str | None = None
    l: str | None = None  # noqa: E741 - the exchange's own name
    a: str | None = None
    bp: str | None = None
    ap: str | None = None

    def records(self, _: str) -> Iterable[Record]:
        sent = self.t * MS_NS
        yield Ticker(
            raw_symbol=self.s,
            last=nonzero(self.c),
            open=nonzero(self.o),
            high=nonzero(self.h),
            low=nonzero(self.l),
            contract_volume=optional(self.a),
            window_s=DAY_S,
            ts_sent=sent,
        )
        if self.bp is not None or self.ap is not None:
            yield bbo(self.s, self.bp, None, self.ap, None, ts_sent=sent)


class BarWire(Struct, gc=False):
    s: str
    t: int  # when it begins
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the exchange's own name
    a: str  # contracts

    def records(self, interval: str) -> Iterable[Record]:
        start = self.t * MS_NS
        yield Candle(
            raw_symbol=self.s,
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=text(self.o),
            high=text(self.h),
            low=text(self.l),
            close=text(self.c),
            contract_volume=optional(self.a),
        )


class MarkWire(Struct, gc=False):
    s: str
    p: str
    t: int

    def records(self, _: str) -> Iterable[Record]:
        if price := nonzero(self.p):
            yield MarkPrice(raw_symbol=self.s, price=price, ts_sent=self.t * MS_NS)


class IndexWire(Struct, gc=False):
    s: str
    p: str
    t: int

    def records(self, _: str) -> Iterable[Record]:
        if price := nonzero(self.p):
            yield IndexPrice(raw_symbol=self.s, price=price, ts_sent=self.t * MS_NS)


class RateWire(Struct, gc=False):
    """The rate that is expected at the next exchange; it moves until then."""

    s: str
    r: str
    t: int

    def records(self, _: str) -> Iterable[Record]:
        if rate := optional(self.r):
            yield Funding(raw_symbol=self.s, rate=rate, ts_sent=self.t * MS_NS)
