"""Market data: frames `{"ch": "market.<symbol>.<kind>", "ts": ..., "tick": ...}`."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, Literal, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.records import (
    DAY_S,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Channel,
    IndexPrice,
    Levels,
    MarkPrice,
    Record,
    Side,
    Ticker,
    Trade,
)
from aggregator.wire import Text, best, end_of, levels, ms, nonzero, optional, seconds, text

DEPTH = 150
UNMERGED = {"step0": DEPTH, "step6": 20}  # levels a side; the other steps merge levels into coarser ones
SPOT: dict[Channel, str] = {"trades": "trade.detail", "bbo": "bbo", "ticker": "detail", "candles": "kline"}
SPOT_BOOK: dict[Channel, str] = {"book": f"mbp.{DEPTH}"}
CONTRACTS: dict[Channel, str] = {**SPOT, "book": f"depth.size_{DEPTH}.high_freq"}
PRICES: dict[Channel, str] = {"mark_price": "mark_price.1min", "index_price": "index.1min"}
NOTICES: dict[Channel, str] = {"funding": "funding_rate", "liquidations": "liquidation_orders"}
WIRES: dict[str, Channel] = {
    "trade": "trades",
    "mbp": "book",
    "depth": "book",
    "bbo": "bbo",
    "detail": "ticker",
    "ticker": "ticker",
    "kline": "candles",
    "mark_price": "mark_price",
    "index": "index_price",
    "funding_rate": "funding",
    "liquidation_orders": "liquidations",
}
PERIODS = {
    "1m": "1min",
    "5m": "5min",
    "15m": "15min",
    "30m": "30min",
    "1h": "60min",
    "4h": "4hour",
    "1d": "1day",
    "1w": "1week",
    "1M": "1mon",
    "1y": "1year",
}
INTERVALS = {period: interval for interval, period in PERIODS.items()}

Rows = list[list[Text]] | dict[str, Any] | None  # a side of a book; nothing changed: absent, [] or {}
T = TypeVar("T")


class Frame(Struct, Generic[T], gc=False):
    ts: int  # when it was sent
    tick: T


class TradeRow(Struct, gc=False):
    price: Text
    amount: Text  # base units on spot, else contracts
    direction: Side | Literal[""]  # the taker's; seen empty
    ts: int
    id: Text = None  # spot: longer than it is unique; tradeId is the trade's own
    tradeId: Text = None
    quantity: Text = None  # derivatives only, as the next: in the base and in the quote asset
    trade_turnover: Text = None

    def record(self, raw_symbol: str, sent: int) -> Record:
        return Trade(
            raw_symbol=raw_symbol,
            id=text(self.id if self.tradeId is None else self.tradeId),
            price=text(self.price),
            size=text(self.amount),
            side=self.direction or None,
            size_unit="base" if raw_symbol.islower() else "contract",
            base_size=optional(self.quantity),
            quote_size=optional(self.trade_turnover),
            ts_event=ms(self.ts),
            ts_sent=sent,
        )


class TradesTick(Struct, gc=False):
    data: list[TradeRow]


class BestTick(Struct, gc=False):
    bid: Text = None  # spot: a number, with its size beside it; else [price, size]
    bidSize: Text = None
    ask: Text = None
    askSize: Text = None
    quoteTime: int | None = None  # spot only, as seqId; 0 where there was no quote yet
    seqId: int | None = None
    ts: int | None = None
    version: int | None = None


class StatisticsTick(Struct, gc=False):
    open: Text
    high: Text
    low: Text
    close: Text
    amount: Text  # in the base asset
    vol: Text  # in the quote asset on spot, else contracts
    count: Text = None
    trade_turnover: Text = None  # linear contracts only: in the quote asset


class BarTick(StatisticsTick, gc=False, kw_only=True):
    id: int  # when it begins, in seconds


class PriceTick(Struct, gc=False):
    """A bar of a price that is not traded; its close is the price now."""

    close: Text


class BasisTick(Struct, gc=False):
    """The price of a contract above its index, at one price of a minute."""

    id: int  # when the minute begins, in seconds
    index_price: Text = None


class ByPriceTick(Struct, gc=False):
    seqNum: int
    prevSeqNum: int | None = None  # not in whole books
    bids: Rows = None
    asks: Rows = None


class DepthTick(Struct, gc=False):
    event: Literal["snapshot", "update"]
    version: int  # each one higher by one than the one before, from the snapshot on
    ts: int
    bids: Rows = None
    asks: Rows = None


class StepTick(Struct, gc=False):
    ts: int
    bids: Rows = None
    asks: Rows = None
    version: int | None = None  # spot's number of the book; on derivatives a time in seconds
    mrid: int | str | None = None  # the derivatives' number


class StepFrame(Frame[StepTick], gc=False):
    update: bool = False  # in 2019 changes were sent between the whole books


# `str` keeps a number's digits; text(), which everything passes, writes an exponent out
decode_trades = Decoder(Frame[TradesTick], float_hook=str).decode
decode_best = Decoder(Frame[BestTick], float_hook=str).decode
decode_statistics = Decoder(Frame[StatisticsTick], float_hook=str).decode
decode_bar = Decoder(Frame[BarTick], float_hook=str).decode
decode_price = Decoder(Frame[PriceTick], float_hook=str).decode
decode_basis = Decoder(Frame[BasisTick], float_hook=str).decode
decode_by_price = Decoder(Frame[ByPriceTick], float_hook=str).decode
decode_depth = Decoder(Frame[DepthTick], float_hook=str).decode
decode_step = Decoder(StepFrame, float_hook=str).decode
decode_whole = Decoder(ByPriceTick, float_hook=str).decode


def read_trades(raw_symbol: str, _kind: str, frame: bytes) -> Iterable[Record]:
    f = decode_trades(frame)
    sent = ms(f.ts)
    return [row.record(raw_symbol, sent) for row in f.tick.data]


def side_of(price: Text, size: Text) -> tuple[str | None, str | None]:
    """A best price and size, or a list of both."""
    if type(price) is list:
        price, size = (price[0], price[1]) if price else (None, None)
    return best(price, size)


def read_best(raw_symbol: str, _kind: str, frame: bytes) -> Iterable[Record]:
    f = decode_best(frame)
    tick = f.tick
    time = tick.ts if tick.quoteTime is None else tick.quoteTime
    if time is None:
        raise BadFrame(f"a best bid and offer of {raw_symbol} without a time")
    bid, bid_size = side_of(tick.bid, tick.bidSize)
    ask, ask_size = side_of(tick.ask, tick.askSize)
    return (
        Bbo(
            raw_symbol=raw_symbol,
            bid_price=bid,
            bid_size=bid_size,
            ask_price=ask,
            ask_size=ask_size,
            sequence=tick.version if tick.seqId is None else tick.seqId,
            ts_event=ms(time) if time else None,
            ts_sent=ms(f.ts),
        ),
    )


def quote_volume(raw_symbol: str, tick: StatisticsTick) -> str | None:
    return optional(tick.vol if raw_symbol.islower() else tick.trade_turnover)


def contract_volume(raw_symbol: str, tick: StatisticsTick) -> str | None:
    return None if raw_symbol.islower() else optional(tick.vol)


def counted(count: Text) -> int | None:
    return None if count is None else int(text(count))


def read_statistics(raw_symbol: str, _kind: str, frame: bytes) -> Iterable[Record]:
    f = decode_statistics(frame)
    tick = f.tick
    return (
        Ticker(
            raw_symbol=raw_symbol,
            last=nonzero(tick.close),
            open=nonzero(tick.open),
            high=nonzero(tick.high),
            low=nonzero(tick.low),
            base_volume=optional(tick.amount),
            quote_volume=quote_volume(raw_symbol, tick),
            contract_volume=contract_volume(raw_symbol, tick),
            trades=counted(tick.count),
            window_s=DAY_S,
            ts_sent=ms(f.ts),
        ),
    )


def read_bar(raw_symbol: str, kind: str, frame: bytes) -> Iterable[Record]:
    f = decode_bar(frame)
    bar = f.tick
    period = kind.partition(".")[2]
    interval = INTERVALS.get(period, period)
    start = seconds(bar.id)
    return (
        Candle(
            raw_symbol=raw_symbol,
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=text(bar.open),
            high=text(bar.high),
            low=text(bar.low),
            close=text(bar.close),
            base_volume=optional(bar.amount),
            quote_volume=quote_volume(raw_symbol, bar),
            contract_volume=contract_volume(raw_symbol, bar),
            trades=counted(bar.count),
            ts_sent=ms(f.ts),
        ),
    )


def read_mark(raw_symbol: str, _kind: str, frame: bytes) -> Iterable[Record]:
    f = decode_price(frame)
    price = nonzero(f.tick.close)
    return (MarkPrice(raw_symbol=raw_symbol, price=price, ts_sent=ms(f.ts)),) if price else ()


def read_index(raw_symbol: str, _kind: str, frame: bytes) -> Iterable[Record]:
    f = decode_price(frame)
    price = nonzero(f.tick.close)
    return (IndexPrice(raw_symbol=raw_symbol, price=price, ts_sent=ms(f.ts)),) if price else ()


def read_basis(raw_symbol: str, kind: str, frame: bytes) -> Iterable[Record]:
    """The index at a minute's first price, or now: the highest, lowest and mean basis are of no moment."""
    f, which = decode_basis(frame), kind.rpartition(".")[2]
    price = nonzero(f.tick.index_price)
    if not price or which not in {"open", "close"}:
        return ()
    at = seconds(f.tick.id) if which == "open" else None
    return (IndexPrice(raw_symbol=raw_symbol, price=price, ts_event=at, ts_sent=ms(f.ts)),)


def side(rows: Rows) -> Levels:
    if isinstance(rows, list):
        return levels(rows)
    if rows:
        raise BadFrame("a side of a book that is no list")
    return []


def whole(raw_symbol: str, kind: str, tick: ByPriceTick) -> BookSnapshot:
    return BookSnapshot(
        raw_symbol=raw_symbol,
        bids=side(tick.bids),
        asks=side(tick.asks),
        depth=int(kind.rpartition(".")[2]),
        sequence=tick.seqNum,
    )


def read_by_price(raw_symbol: str, kind: str, frame: bytes) -> Iterable[Record]:
    f = decode_by_price(frame)
    tick = f.tick
    if kind.startswith("mbp.refresh."):
        book = whole(raw_symbol, kind, tick)
        book.reason, book.ts_sent = "periodic", ms(f.ts)
        return (book,)
    return (
        BookDelta(
            raw_symbol=raw_symbol,
            bids=side(tick.bids),
            asks=side(tick.asks),
            sequence=tick.seqNum,
            sequence_prev=tick.prevSeqNum,
            ts_sent=ms(f.ts),
        ),
    )


def read_depth(raw_symbol: str, kind: str, frame: bytes) -> Iterable[Record]:
    size = kind.split(".")[1] if "." in kind else ""
    if size in UNMERGED:
        return read_step(raw_symbol, UNMERGED[size], frame)
    if not size.startswith("size_"):
        return ()  # levels merged into coarser ones
    f = decode_depth(frame)
    tick = f.tick
    bids, asks, event, sent = side(tick.bids), side(tick.asks), ms(tick.ts), ms(f.ts)
    if tick.event == "update":
        return (
            BookDelta(raw_symbol=raw_symbol, bids=bids, asks=asks, sequence=tick.version, ts_event=event, ts_sent=sent),
        )
    return (
        BookSnapshot(
            raw_symbol=raw_symbol,
            bids=bids,
            asks=asks,
            depth=int(size[5:]),
            sequence=tick.version,
            ts_event=event,
            ts_sent=sent,
        ),
    )


def read_step(raw_symbol: str, depth: int, frame: bytes) -> Iterable[Record]:
    f = decode_step(frame)
    tick = f.tick
    bids, asks, event, sent = side(tick.bids), side(tick.asks), ms(tick.ts), ms(f.ts)
    number = tick.version if tick.mrid is None else int(tick.mrid)
    if f.update:
        return (BookDelta(raw_symbol=raw_symbol, bids=bids, asks=asks, sequence=number, ts_event=event, ts_sent=sent),)
    return (
        BookSnapshot(
            raw_symbol=raw_symbol,
            bids=bids,
            asks=asks,
            depth=depth,
            reason="periodic",
            sequence=number,
            ts_event=event,
            ts_sent=sent,
        ),
    )


READERS: dict[str, Callable[[str, str, bytes], Iterable[Record]]] = {
    "trade": read_trades,
    "bbo": read_best,
    "detail": read_statistics,
    "ticker": read_statistics,
    "kline": read_bar,
    "mbp": read_by_price,
    "depth": read_depth,
    "mark_price": read_mark,
    "index": read_index,
    "basis": read_basis,
}
