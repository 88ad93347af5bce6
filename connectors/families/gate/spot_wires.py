"""The messages of Gate's spot socket in its own spelling, and the records that they make.

https://www.gate.com/docs/developers/apiv4/ws/en/
The public trade channel tells the taker's side alone.
"""

from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from aggregator.exchange import Event
from aggregator.records import (
    DAY_S,
    MS_NS,
    SECOND_NS,
    BookDelta,
    BookSnapshot,
    Candle,
    Levels,
    Record,
    Side,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, end_of, ms, nonzero, optional, text

LONG = {"7d": "1w", "30d": "1M"}  # the latter is a month of the calendar


class Row(Protocol):
    """A row: a frame holds one or several."""

    def records(self, sent: int | None) -> Iterable[Event]:
        """The records that it makes, sent at that time."""


T = TypeVar("T", bound=Row)


class Frame(Struct, gc=False):
    """The envelope; both times are of sending."""

    time: int | None = None  # s
    time_ms: int | None = None  # it was sometimes 0 in the past

    @property
    def sent(self) -> int | None:
        """When it was sent, as exactly as it is said."""
        return self.time_ms * MS_NS if self.time_ms else self.time * SECOND_NS if self.time else None


class One(Frame, Generic[T], kw_only=True, gc=False):
    """A frame of one row."""

    result: T

    def records(self) -> Iterable[Event]:
        return self.result.records(self.sent)


class Several(Frame, Generic[T], kw_only=True, gc=False):
    """A frame of one row or of a list of them."""

    result: T | list[T]

    def records(self) -> Iterable[Event]:
        rows, sent = self.result, self.sent
        return [r for row in rows for r in row.records(sent)] if isinstance(rows, list) else rows.records(sent)


class TradeWire(Struct, gc=False):
    currency_pair: str
    id: int
    amount: str
    price: str
    side: Side
    create_time: Text
    create_time_ms: Text = None  # with decimals
    id_market: int | None = None  # grows by one within a market
    range: str = ""  # `first-last`, of the same numbers

    def records(self, sent: int | None) -> Sequence[Event]:
        number = self.id_market
        first, _, last = self.range.partition("-")
        is_many = first != last and last == str(number)
        trade = Trade(
            raw_symbol=self.currency_pair,
            id=str(self.id),
            price=self.price,
            size=self.amount,
            side=self.side,
            sequence=number,
            sequence_first=int(first) if is_many else None,
            ts_event=ms(self.create_time_ms) if self.create_time_ms else ms(self.create_time) * 1000,
            ts_sent=sent,
        )
        return (trade,)


class BestWire(Struct, gc=False):
    """Best prices, of contracts too, whose sizes may be numbers; an empty price is an empty side."""

    s: str
    u: int
    t: int | None = None
    b: Text = ""
    B: Text = ""
    a: Text = ""
    A: Text = ""

    def records(self, sent: int | None) -> Sequence[Event]:
        top = bbo(
            self.s,
            self.b,
            self.B,
            self.a,
            self.A,
            sequence=self.u,
            ts_event=self.t * MS_NS if self.t else None,
            ts_sent=sent,
        )
        return (top,)


class Changes(Struct, gc=False):
    """A book's changes, or (`full`) the whole of it; without levels only the number has moved on."""

    s: str
    u: int
    t: int
    U: int | None = None
    full: bool = False

    def book(self, raw_symbol: str, bids: Levels, asks: Levels, depth: str, sent: int | None) -> Record:
        if self.full:
            return BookSnapshot(
                raw_symbol=raw_symbol,
                bids=bids,
                asks=asks,
                depth=int(depth) if depth else None,
                sequence=self.u,
                ts_event=self.t * MS_NS,
                ts_sent=sent,
            )
        return BookDelta(
            raw_symbol=raw_symbol,
            bids=bids,
            asks=asks,
            sequence_first=self.U,
            sequence=self.u,
            ts_event=self.t * MS_NS,
            ts_sent=sent,
        )


class DeltaWire(Changes, gc=False):
    b: Levels | None = None
    a: Levels | None = None
    l: str = ""  # noqa: E741 - the wire's name: levels a side

    def records(self, sent: int | None) -> Sequence[Event]:
        return (self.book(self.s, self.b or [], self.a or [], self.l, sent),)


class StreamWire(Changes, gc=False):
    """Named by its stream: `ob.BTC_USDT.400`."""

    b: Levels | None = None
    a: Levels | None = None

    def records(self, sent: int | None) -> Sequence[Event]:
        raw_symbol, _, depth = self.s.removeprefix("ob.").rpartition(".")
        return (self.book(raw_symbol, self.b or [], self.a or [], depth, sent),)


class WholeWire(Struct, gc=False):
    """The few best levels, only ever sent whole."""

    s: str
    lastUpdateId: int
    t: int
    bids: Levels
    asks: Levels
    l: str = ""  # noqa: E741 - the wire's name

    def records(self, sent: int | None) -> Sequence[Event]:
        book = BookSnapshot(
            raw_symbol=self.s,
            bids=self.bids,
            asks=self.asks,
            depth=int(self.l) if self.l else None,
            reason="periodic",
            sequence=self.lastUpdateId,
            ts_event=self.t * MS_NS,
            ts_sent=sent,
        )
        return (book,)


class TickerWire(Struct, gc=False):
    currency_pair: str
    last: Text = None
    base_volume: Text = None
    quote_volume: Text = None
    high_24h: Text = None
    low_24h: Text = None

    def records(self, sent: int | None) -> Sequence[Event]:
        ticker = Ticker(
            raw_symbol=self.currency_pair,
            last=nonzero(self.last),
            high=nonzero(self.high_24h),
            low=nonzero(self.low_24h),
            base_volume=optional(self.base_volume),
            quote_volume=optional(self.quote_volume),
            window_s=DAY_S,
            ts_sent=sent,
        )
        return (ticker,)


class BarWire(Struct, gc=False):
    """`a` is the volume in the base asset; `v` that in the quote asset, of contracts a number of contracts."""

    n: str  # 1m_BTC_USDT
    t: int
    o: Text
    h: Text
    l: Text  # noqa: E741 - the wire's name
    c: Text
    v: Text = None
    a: Text = None
    w: bool | None = None

    def candle(self, sent: int | None) -> Candle:
        name, _, raw_symbol = self.n.partition("_")
        interval, start = LONG.get(name, name), self.t * SECOND_NS
        return Candle(
            raw_symbol=raw_symbol,
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=text(self.o),
            high=text(self.h),
            low=text(self.l),
            close=text(self.c),
            closed=self.w,
            ts_sent=sent,
        )

    def records(self, sent: int | None) -> Sequence[Event]:
        candle = self.candle(sent)
        candle.base_volume, candle.quote_volume = optional(self.a), optional(self.v)
        return (candle,)


class TradesFrame(Several[TradeWire], tag_field="channel", tag="spot.trades", kw_only=True, gc=False):
    pass


class Trades2Frame(Several[TradeWire], tag_field="channel", tag="spot.trades_v2", kw_only=True, gc=False):
    """Trades that came sooner than those of `TradesFrame`, and in no order; the exchange has given them up."""


class BestFrame(One[BestWire], tag_field="channel", tag="spot.book_ticker", kw_only=True, gc=False):
    pass


class DeltaFrame(One[DeltaWire], tag_field="channel", tag="spot.order_book_update", kw_only=True, gc=False):
    pass


class StreamFrame(One[StreamWire], tag_field="channel", tag="spot.obu", kw_only=True, gc=False):
    pass


class WholeFrame(One[WholeWire], tag_field="channel", tag="spot.order_book", kw_only=True, gc=False):
    pass


class TickerFrame(Several[TickerWire], tag_field="channel", tag="spot.tickers", kw_only=True, gc=False):
    pass


class BarFrame(Several[BarWire], tag_field="channel", tag="spot.candlesticks", kw_only=True, gc=False):
    pass


SpotFrame = TradesFrame | Trades2Frame | BestFrame | DeltaFrame | StreamFrame | WholeFrame | TickerFrame | BarFrame
