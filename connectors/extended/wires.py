"""The messages of Extended in its own spelling, and the records that they make.

https://api.docs.extended.exchange/#public-websocket-streams
A level of a change tells by how much its size has changed (`q`) and, in newer frames, how much it is then (`c`). Times
are milliseconds.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

from msgspec import Raw, Struct

from aggregator.errors import BadFrame
from aggregator.records import (
    HOUR_S,
    MS_NS,
    Candle,
    Funding,
    IndexPrice,
    Levels,
    Liquidation,
    MarkPrice,
    Trade,
)
from aggregator.wire import Text, end_of, is_zero, nonzero, optional, text

INTERVALS = {"1m": "PT1M", "5m": "PT5M", "15m": "PT15M", "30m": "PT30M", "1h": "PT1H", "2h": "PT2H", "4h": "PT4H"}
INTERVALS["1d"] = "P1D"
SPELLED = {wire: interval for interval, wire in INTERVALS.items()}
FORCED = {"LIQUIDATION", "DELEVERAGE"}


class Fault(Struct):
    code: int | str = ""
    message: str = ""


class Result(Struct):
    method: str = ""
    subscription: str = ""


class Frame(Struct):
    type: str | None = None
    data: Raw = Raw(b"null")
    ts: int | None = None
    seq: int | None = None
    subscription: str = ""
    id: int | None = None
    result: Result | None = None
    error: Fault | str | None = None


class TradeWire(Struct, gc=False):
    i: Text  # above what a double holds: no client may read it as one
    m: str
    S: Literal["BUY", "SELL"]  # the taker's
    T: int
    p: Text
    q: Text
    tT: str = "TRADE"

    def records(self, sent: int) -> Iterable[Trade | Liquidation]:
        is_forced, at = self.tT in FORCED, self.T * MS_NS
        id, price, size = text(self.i), text(self.p), text(self.q)
        yield Trade(
            raw_symbol=self.m,
            id=id,
            price=price,
            size=size,
            side="buy" if self.S == "BUY" else "sell",
            kind="liquidation" if is_forced else "trade",
            ts_event=at,
            ts_sent=sent,
        )
        if is_forced:  # nothing says whether the taker was forced, or whoever stood in the book
            yield Liquidation(
                raw_symbol=self.m,
                id=id,
                price=price,
                price_kind="trade",
                size=size,
                status=self.tT,
                ts_event=at,
                ts_sent=sent,
            )


class LevelWire(Struct, gc=False):
    p: Text
    q: Text
    c: Text = None


class BookWire(Struct, gc=False):
    m: str
    b: list[LevelWire] = []
    a: list[LevelWire] = []
    d: str = ""  # `1`: the best prices alone; `f`: a full book


Side = dict[str, str]  # price -> size


def whole(rows: list[LevelWire]) -> Levels:
    return [(text(row.p), text(row.q)) for row in rows]


def changed(held: Side, rows: list[LevelWire], *, adds: bool) -> Levels:
    """The levels of a change, with their sizes as they are then; `held` is brought up to it where changes are added."""
    if not adds:
        return [(text(row.p), text(row.c)) for row in rows]
    found: Levels = []
    for row in rows:
        price = text(row.p)
        size = added(held.get(price, "0"), text(row.q))
        if is_zero(size):
            held.pop(price, None)
        else:
            held[price] = size
        found.append((price, size))
    return found


def added(size: str, change: str) -> str:
    """Where a frame has the change alone, it is added to what stood there, as the exchange's own client does."""
    now = Decimal(size) + Decimal(change)
    if now < 0:
        raise BadFrame(f"{change} takes more off a level than the {size} that stands there")
    return f"{now:f}"


class FundingWire(Struct, gc=False):
    m: str
    f: Text
    T: int

    def records(self, sent: int) -> Iterable[Funding]:
        if (rate := optional(self.f)) is not None:
            yield Funding(
                raw_symbol=self.m, rate=rate, interval_s=HOUR_S, ts_event=self.T * MS_NS or None, ts_sent=sent
            )


class PriceWire(Struct, gc=False):
    m: str
    p: Text
    ts: int = 0  # a mark price has none (2026-09)

    def records(self, kind: type[MarkPrice] | type[IndexPrice], sent: int) -> Iterable[MarkPrice | IndexPrice]:
        if (price := nonzero(self.p)) is not None:
            yield kind(raw_symbol=self.m, price=price, ts_event=self.ts * MS_NS or None, ts_sent=sent)


class BarWire(Struct, gc=False):
    T: int
    o: Text
    h: Text
    l: Text  # noqa: E741 - the wire's name
    c: Text
    v: Text = None

    def record(self, raw_symbol: str, word: str, sent: int) -> Candle:
        interval, start = SPELLED.get(word, word), self.T * MS_NS
        return Candle(
            raw_symbol=raw_symbol,
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=text(self.o),
            high=text(self.h),
            low=text(self.l),
            close=text(self.c),
            base_volume=optional(self.v),
            ts_sent=sent,
        )
