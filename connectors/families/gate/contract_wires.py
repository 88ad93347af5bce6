"""The messages of Gate's sockets of perpetuals and dated futures, and the records that they make.

https://www.gate.com/docs/developers/futures/ws/en/
Sizes count contracts; those of trades and liquidations have the sign of the order: a sale is negative.
"""

from collections.abc import Sequence

from msgspec import Struct

from aggregator.errors import BadFrame
from aggregator.exchange import Event, Ignored
from aggregator.records import (
    DAY_S,
    MS_NS,
    BookDelta,
    BookSnapshot,
    Funding,
    IndexPrice,
    Levels,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Record,
    Ticker,
    Trade,
)
from aggregator.wire import Text, ms, nonzero, optional, seconds, signed, text
from connectors.families.gate.spot_wires import BarWire, BestWire, Changes, Frame, One, Several, StreamWire

FIRST_MS = 10**11  # a time above this cannot be seconds


class LevelWire(Struct, gc=False):
    p: Text
    s: Text


def levels(side: list[LevelWire]) -> Levels:
    return [(text(level.p), text(level.s).removeprefix("-")) for level in side]


class TradeWire(Struct, gc=False):
    contract: str
    id: int
    size: Text
    price: Text
    create_time: Text
    create_time_ms: Text = None
    is_internal: bool = False  # the insurance fund, or who is auto-deleveraged, takes over a liquidation

    def records(self, sent: int | None) -> Sequence[Event]:
        side, size = signed(text(self.size))
        if side is None:  # less than a contract, cut to whole ones for who does not ask for parts: see `PARTS`
            return (Ignored("a trade of size 0"),)
        trade = Trade(
            raw_symbol=self.contract,
            id=str(self.id),
            price=text(self.price),
            size=size,
            side=side,
            size_unit="contract",
            kind="liquidation" if self.is_internal else "trade",
            ts_event=ms(self.create_time_ms) if self.create_time_ms else seconds(self.create_time),
            ts_sent=sent,
        )
        return (trade,)


class DeltaWire(Changes, gc=False):
    b: list[LevelWire] | None = None
    a: list[LevelWire] | None = None
    l: str = ""  # noqa: E741 - the wire's name: levels a side

    def records(self, sent: int | None) -> Sequence[Event]:
        return (self.book(self.s, levels(self.b or []), levels(self.a or []), self.l, sent),)


class WholeWire(Struct, gc=False):
    """The few best levels, whole."""

    contract: str
    bids: list[LevelWire]
    asks: list[LevelWire]
    id: int | None = None
    t: int | None = None
    l: str = ""  # noqa: E741 - the wire's name

    def records(self, sent: int | None) -> Sequence[Event]:
        book = BookSnapshot(
            raw_symbol=self.contract,
            bids=levels(self.bids),
            asks=levels(self.asks),
            depth=int(self.l) if self.l else None,
            reason="periodic",
            sequence=self.id,
            ts_event=self.t * MS_NS if self.t else None,
            ts_sent=sent,
        )
        return (book,)


class ChangeWire(Struct, gc=False):
    """One changed level, as of old: asks are negative, and 0 may be of either side."""

    p: Text
    s: Text
    c: str = ""
    contract: str = ""  # how the documentation of dated contracts spells it
    id: int | None = None
    t: int | None = None


class BookFrame(Frame, kw_only=True, gc=False):
    """A frame of whole books, which of old also came as lists of changes."""

    result: WholeWire | list[ChangeWire]

    def records(self) -> Sequence[Event]:
        rows, sent = self.result, self.sent
        return rows.records(sent) if isinstance(rows, WholeWire) else [one_level(row, sent) for row in rows]


def one_level(row: ChangeWire, sent: int | None) -> BookDelta:
    name, size = row.c or row.contract, text(row.s)
    if not name:
        raise BadFrame("a changed level of no contract")
    level = [(text(row.p), size.removeprefix("-"))]
    is_gone = not size.strip("-0.")
    return BookDelta(
        raw_symbol=name,
        bids=level if is_gone or size[0] != "-" else [],
        asks=level if is_gone or size[0] == "-" else [],
        sequence=row.id,
        ts_event=row.t * MS_NS if row.t else None,
        ts_sent=sent,
    )


class TickerWire(Struct, gc=False):
    """Everything but trades and books; a dated contract, `BTC_USDT_20261225`, pays no funding, whatever is sent."""

    contract: str
    last: Text = None
    high_24h: Text = None
    low_24h: Text = None
    volume_24h: Text = None  # contracts
    volume_24h_base: Text = None
    volume_24h_quote: Text = None
    mark_price: Text = None
    index_price: Text = None
    total_size: Text = None
    funding_rate: Text = None  # beside it stands `funding_rate_indicative`, deprecated, which is the same (2026-09)
    funding_interval: Text = None  # s
    funding_next_apply: Text = None  # s
    t: Text = None  # ms, since 2026

    def records(self, sent: int | None) -> Sequence[Event]:
        out: list[Record] = [self.ticker(sent)]
        if mark := nonzero(self.mark_price):
            out.append(MarkPrice(raw_symbol=self.contract, price=mark, ts_sent=sent))
        if index := nonzero(self.index_price):
            out.append(IndexPrice(raw_symbol=self.contract, price=index, ts_sent=sent))
        if self.total_size not in {None, ""}:
            size = text(self.total_size)
            out.append(OpenInterest(raw_symbol=self.contract, size=size, size_unit="contract", ts_sent=sent))
        if self.contract.count("_") == 1:
            out += self.fundings(sent)
        if self.t:
            for record in out:
                record.ts_event = ms(self.t)
        return out

    def ticker(self, sent: int | None) -> Ticker:
        return Ticker(
            raw_symbol=self.contract,
            last=nonzero(self.last),
            high=nonzero(self.high_24h),
            low=nonzero(self.low_24h),
            base_volume=optional(self.volume_24h_base),
            quote_volume=optional(self.volume_24h_quote),
            contract_volume=optional(self.volume_24h),
            window_s=DAY_S,
            ts_sent=sent,
        )

    def fundings(self, sent: int | None) -> list[Record]:
        rate = optional(self.funding_rate)
        if rate is None:
            return []
        interval = int(self.funding_interval) if self.funding_interval else None
        next = seconds(self.funding_next_apply) if self.funding_next_apply else None
        return [Funding(raw_symbol=self.contract, rate=rate, interval_s=interval, ts_next=next, ts_sent=sent)]


class ContractBarWire(BarWire, gc=False):
    def records(self, sent: int | None) -> Sequence[Event]:
        candle = self.candle(sent)
        candle.base_volume, candle.contract_volume = optional(self.a), optional(self.v)
        return (candle,)


class LiquidationWire(Struct, gc=False):
    """A forced order; `time` was in seconds until August 2026, where `time_ms` was not sent instead."""

    contract: str
    price: Text
    size: Text
    time: Text = None
    time_ms: Text = None

    def records(self, sent: int | None) -> Sequence[Event]:
        side, size = signed(text(self.size))
        if side is None:
            return (Ignored("a liquidation of size 0"),)
        at = optional(self.time_ms) or text(self.time)
        liquidation = Liquidation(
            raw_symbol=self.contract,
            side=side,
            position="long" if side == "sell" else "short",
            price=text(self.price),
            price_kind="order",
            size=size,
            size_unit="contract",
            ts_event=ms(at) if int(at.partition(".")[0]) > FIRST_MS else seconds(at),
            ts_sent=sent,
        )
        return (liquidation,)


class TradesFrame(Several[TradeWire], tag_field="channel", tag="futures.trades", kw_only=True, gc=False):
    pass


class BestFrame(One[BestWire], tag_field="channel", tag="futures.book_ticker", kw_only=True, gc=False):
    pass


class StreamFrame(One[StreamWire], tag_field="channel", tag="futures.obu", kw_only=True, gc=False):
    pass


class DeltaFrame(One[DeltaWire], tag_field="channel", tag="futures.order_book_update", kw_only=True, gc=False):
    pass


class WholeFrame(BookFrame, tag_field="channel", tag="futures.order_book", kw_only=True, gc=False):
    pass


class TickerFrame(Frame, tag_field="channel", tag="futures.tickers", kw_only=True, gc=False):
    """Rows as in `Several`; in April 2021 their list stood within another."""

    result: TickerWire | list[TickerWire | list[TickerWire]]

    def records(self) -> Sequence[Event]:
        rows = self.result if isinstance(self.result, list) else [self.result]
        flat = [each for row in rows for each in (row if isinstance(row, list) else (row,))]
        return [record for row in flat for record in row.records(self.sent)]


class BarFrame(Several[ContractBarWire], tag_field="channel", tag="futures.candlesticks", kw_only=True, gc=False):
    pass


class LiquidationFrame(
    Several[LiquidationWire], tag_field="channel", tag="futures.public_liquidates", kw_only=True, gc=False
):
    pass


ContractFrame = (
    TradesFrame | BestFrame | StreamFrame | DeltaFrame | WholeFrame | TickerFrame | BarFrame | LiquidationFrame
)
