"""The messages of Crypto.com by channel, in its own spelling, and the records that they make.

https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html#websocket-subscriptions
Sizes are of the base asset, those of contracts too.
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.records import (
    DAY_S,
    HOUR_S,
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
    Ticker,
    Trade,
)
from aggregator.wire import Text, levels, nonzero, optional, text

HOUR_MS = HOUR_S * 1000
UNITS = {"m": 60, "h": HOUR_S, "D": DAY_S}  # seconds
OURS = {"1D": "1d", "7D": "1w", "14D": "2w"}

Rows = list[list[Text]]  # price, size, number of orders


class TradeRow(Struct, gc=False):
    d: Text
    p: Text
    q: Text
    s: str  # the taker's side
    t: int
    tn: Text = None  # the same in nanoseconds, where it is sent

    def record(self, raw_symbol: str) -> Record:
        return Trade(
            raw_symbol=raw_symbol,
            id=str(self.d),
            price=text(self.p),
            size=text(self.q),
            side="buy" if self.s in {"BUY", "buy"} else "sell",
            ts_event=int(self.tn) if self.tn else self.t * MS_NS,
        )


class TradeWire(Struct, tag_field="channel", tag="trade", gc=False):
    """Newest first on the wire; a subscription is answered with the last fifty."""

    instrument_name: str
    data: list[TradeRow] = []

    def records(self) -> Iterable[Record]:
        return [row.record(self.instrument_name) for row in reversed(self.data)]


class Sides(Struct, gc=False):
    bids: Rows | None = None
    asks: Rows | None = None


class WholeRow(Sides, kw_only=True, gc=False):
    t: int  # when it was published
    tt: int | None = None  # when the book last changed
    u: int | None = None
    cs: int | None = None  # a checksum whose algorithm is not published


class BookWire(Struct, tag_field="channel", tag="book", gc=False):
    instrument_name: str
    depth: int | None = None
    data: list[WholeRow] = []

    def records(self) -> Iterable[Record]:
        return [
            BookSnapshot(
                raw_symbol=self.instrument_name,
                bids=levels(row.bids or []),
                asks=levels(row.asks or []),
                depth=self.depth,
                checksum=row.cs,
                sequence=row.u,
                ts_event=row.tt * MS_NS if row.tt else None,
                ts_sent=row.t * MS_NS,
            )
            for row in self.data
        ]


class ChangeRow(Struct, gc=False):
    update: Sides
    t: int
    tt: int | None = None
    u: int | None = None  # grows by no fixed step, and not at all where nothing changed for five seconds
    pu: int | None = None
    cs: int | None = None


class ChangeWire(Struct, tag_field="channel", tag="book.update", gc=False):
    instrument_name: str
    data: list[ChangeRow] = []

    def records(self) -> Iterable[Record]:
        return [
            BookDelta(
                raw_symbol=self.instrument_name,
                bids=levels(row.update.bids or []),
                asks=levels(row.update.asks or []),
                checksum=row.cs,
                sequence=row.u,
                sequence_prev=row.pu,
                ts_event=row.tt * MS_NS if row.tt else None,
                ts_sent=row.t * MS_NS,
            )
            for row in self.data
        ]


class TickerRow(Struct, gc=False):
    t: int  # when it was published
    a: Text = None
    h: Text = None
    l: Text = None  # noqa: E741 - the wire's name
    v: Text = None
    vv: Text = None  # in US dollars, whatever the quote asset
    b: Text = None
    bs: Text = None
    k: Text = None
    ks: Text = None
    oi: Text = None  # spot says 0

    def records(self, raw_symbol: str) -> list[Record]:
        sent, bid, ask = self.t * MS_NS, optional(self.b), optional(self.k)
        is_spot = "_" in raw_symbol
        ticker = Ticker(
            raw_symbol=raw_symbol,
            last=nonzero(self.a),
            high=nonzero(self.h),
            low=nonzero(self.l),
            base_volume=optional(self.v),
            quote_volume=optional(self.vv) if not is_spot or raw_symbol.endswith("_USD") else None,
            window_s=DAY_S,
            ts_sent=sent,
        )
        bbo = Bbo(
            raw_symbol=raw_symbol,
            bid_price=bid,
            bid_size=optional(self.bs) if bid else None,
            ask_price=ask,
            ask_size=optional(self.ks) if ask else None,
            ts_sent=sent,
        )
        interest = None if is_spot else optional(self.oi)
        if interest is None:
            return [ticker, bbo]
        return [ticker, bbo, OpenInterest(raw_symbol=raw_symbol, size=interest, ts_sent=sent)]


class TickerWire(Struct, tag_field="channel", tag="ticker", gc=False):
    instrument_name: str
    data: list[TickerRow] = []

    def records(self) -> Iterable[Record]:
        return [record for row in self.data for record in row.records(self.instrument_name)]


class BarRow(Struct, gc=False):
    t: int
    o: Text
    h: Text
    l: Text  # noqa: E741 - the wire's name
    c: Text
    v: Text = None


class BarWire(Struct, tag_field="channel", tag="candlestick", gc=False):
    instrument_name: str
    interval: str
    data: list[BarRow] = []

    def records(self) -> Iterable[Record]:
        name = self.interval
        scale = UNITS.get(name[-1:])  # a month has no length
        length = None if scale is None else int(name[:-1]) * scale * 1000
        return [
            Candle(
                raw_symbol=self.instrument_name,
                interval=OURS.get(name, name),
                ts_open=bar.t * MS_NS,
                ts_close=None if length is None else (bar.t + length) * MS_NS,
                open=text(bar.o),
                high=text(bar.h),
                low=text(bar.l),
                close=text(bar.c),
                base_volume=optional(bar.v),
            )
            for bar in self.data
        ]


class Value(Struct, gc=False):
    v: str
    t: int


class MarkWire(Struct, tag_field="channel", tag="mark", gc=False):
    instrument_name: str
    data: list[Value] = []

    def records(self) -> Iterable[Record]:
        name = self.instrument_name
        return [MarkPrice(raw_symbol=name, price=v, ts_event=x.t * MS_NS) for x in self.data if (v := nonzero(x.v))]


class IndexWire(Struct, tag_field="channel", tag="index", gc=False):
    """An index by its own name, `BTCUSD-INDEX`."""

    instrument_name: str
    data: list[Value] = []

    def records(self) -> Iterable[Record]:
        index = self.instrument_name
        said = [(nonzero(x.v), x.t * MS_NS) for x in self.data]
        return [IndexPrice(raw_symbol=index, price=price, index=index, ts_event=at) for price, at in said if price]


class FundingWire(Struct, tag_field="channel", tag="funding", gc=False):
    """The rate of this hour, which is exchanged at its end."""

    instrument_name: str
    data: list[Value] = []

    def records(self) -> Iterable[Record]:
        return [
            Funding(
                raw_symbol=self.instrument_name,
                rate=text(x.v),
                interval_s=HOUR_S,
                ts_next=(x.t // HOUR_MS + 1) * HOUR_MS * MS_NS,
                ts_event=x.t * MS_NS,
            )
            for x in self.data
            if optional(x.v) is not None
        ]


class EstimateWire(Struct, tag_field="channel", tag="estimatedfunding", gc=False):
    """The rate of each hour of the next interval, which is of four hours."""

    instrument_name: str
    data: list[Value] = []

    def records(self) -> Iterable[Record]:
        return [
            Funding(
                raw_symbol=self.instrument_name,
                rate=text(x.v),
                kind="predicted",
                interval_s=HOUR_S,
                ts_event=x.t * MS_NS,
            )
            for x in self.data
            if optional(x.v) is not None
        ]


Result = TradeWire | BookWire | ChangeWire | TickerWire | BarWire | MarkWire | IndexWire | FundingWire | EstimateWire
