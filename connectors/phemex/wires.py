"""The messages of Phemex in its own spelling, and the records that they make.

https://phemex-docs.github.io/#subscribe-orderbook
Integers are scaled, and no frame says by how much: on spot, whose symbols begin with a small `s`, prices and sizes by
10^8; on the older contracts prices by 10^4, while sizes count contracts; rates by 10^8. The listing holds no other.
The newer contracts have methods of their own, whose names end in `_p`, and write their numbers out.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from aggregator.records import (
    SECOND_NS,
    BookDelta,
    BookSnapshot,
    Candle,
    Flags,
    Levels,
    Record,
    Side,
    Trade,
)
from aggregator.wire import unscaled

SPOT_PLACES = 8  # decimal places of prices and sizes
CONTRACT_PLACES = 4  # decimal places of prices
RATE_PLACES = 8
SIDES: dict[str, Side] = {"Buy": "buy", "Sell": "sell"}  # the taker's
INTERVALS = {  # the keys are seconds; months have no fixed length
    60: "1m",
    180: "3m",
    300: "5m",
    900: "15m",
    1800: "30m",
    3600: "1h",
    7200: "2h",
    10_800: "3h",
    14_400: "4h",
    21_600: "6h",
    43_200: "12h",
    86_400: "1d",
    604_800: "1w",
    2_592_000: "1M",
    7_776_000: "3M",
    31_104_000: "1y",
}
LONGEST_S = 604_800  # seconds of an interval that is no month

Kind = Literal["snapshot", "incremental"]


def is_spot(raw_symbol: str) -> bool:
    return raw_symbol.startswith("s")


class BookWire(Struct, gc=False):
    asks: list[tuple[int, int]] | None
    bids: list[tuple[int, int]] | None

    def levels(self, raw_symbol: str) -> tuple[Levels, Levels]:
        """Both sides, bids first."""
        if is_spot(raw_symbol):
            return spot_side(self.bids or ()), spot_side(self.asks or ())
        return contract_side(self.bids or ()), contract_side(self.asks or ())


def spot_side(rows: Iterable[tuple[int, int]]) -> Levels:
    return [(unscaled(price, SPOT_PLACES), unscaled(size, SPOT_PLACES)) for price, size in rows]


def contract_side(rows: Iterable[tuple[int, int]]) -> Levels:
    return [(unscaled(price, CONTRACT_PLACES), str(size)) for price, size in rows]


class PlainBookWire(Struct, gc=False):
    asks: Levels | None
    bids: Levels | None

    def levels(self, _: str) -> tuple[Levels, Levels]:
        """Both sides, bids first."""
        return self.bids or [], self.asks or []


class Placed(Struct, gc=False):
    """The fields that stand beside a book."""

    symbol: str
    sequence: int  # grows, by more than one when much has changed
    type: Kind
    depth: int | None = None  # levels a side, also where the whole book is sent; 0: all
    timestamp: int | None = None  # ns

    def record(self, book: BookWire | PlainBookWire) -> Record:
        bids, asks = book.levels(self.symbol)
        if self.type == "incremental":
            return BookDelta(
                raw_symbol=self.symbol, bids=bids, asks=asks, sequence=self.sequence, ts_event=self.timestamp
            )
        is_cut = self.depth and max(len(bids), len(asks)) <= self.depth
        return BookSnapshot(
            raw_symbol=self.symbol,
            bids=bids,
            asks=asks,
            depth=self.depth if is_cut else None,
            sequence=self.sequence,
            ts_event=self.timestamp,
        )


class BookFrame(Placed, gc=False, kw_only=True):
    book: BookWire

    def records(self) -> Iterable[Record]:
        return (self.record(self.book),)


class PlainBookFrame(Placed, gc=False, kw_only=True):
    orderbook_p: PlainBookWire

    def records(self) -> Iterable[Record]:
        return (self.record(self.orderbook_p),)


class TradeWire(Struct, array_like=True, gc=False):
    timestamp: int  # ns
    side: Literal["Buy", "Sell"]
    priceEp: int
    qty: int

    def record(self, raw_symbol: str, flags: Flags | UnsetType) -> Record:
        spot = is_spot(raw_symbol)
        return Trade(
            raw_symbol=raw_symbol,
            price=unscaled(self.priceEp, SPOT_PLACES if spot else CONTRACT_PLACES),
            size=unscaled(self.qty, SPOT_PLACES) if spot else str(self.qty),
            side=SIDES[self.side],
            size_unit="base" if spot else "contract",
            ts_event=self.timestamp,
            flags=flags,
        )


class PlainTradeWire(Struct, array_like=True, gc=False):
    timestamp: int  # ns
    side: Literal["Buy", "Sell"]
    price: str
    qty: str  # in the base asset

    def record(self, raw_symbol: str, flags: Flags | UnsetType) -> Record:
        return Trade(
            raw_symbol=raw_symbol,
            price=self.price,
            size=self.qty,
            side=SIDES[self.side],
            ts_event=self.timestamp,
            flags=flags,
        )


class TradeFrame(Struct, gc=False):
    """The newest trade stands first."""

    symbol: str
    type: Kind
    trades: list[TradeWire]

    def records(self) -> Iterable[Record]:
        return [trade.record(self.symbol, flags(self.type)) for trade in reversed(self.trades)]


class PlainTradeFrame(Struct, gc=False):
    """The newest trade stands first."""

    symbol: str
    type: Kind
    trades_p: list[PlainTradeWire]

    def records(self) -> Iterable[Record]:
        return [trade.record(self.symbol, flags(self.type)) for trade in reversed(self.trades_p)]


def flags(kind: Kind) -> Flags | UnsetType:
    return ("snapshot",) if kind == "snapshot" else UNSET


class BarWire(Struct, array_like=True, gc=False):
    timestamp: int  # its start, in seconds
    interval: int  # in seconds
    lastCloseEp: int
    openEp: int
    highEp: int
    lowEp: int
    closeEp: int
    volume: int  # spot: in the base asset, scaled; contracts: contracts
    turnoverEv: int  # by the scale of the asset in which a contract settles

    def record(self, raw_symbol: str, flags: Flags | UnsetType) -> Record:
        spot = is_spot(raw_symbol)
        places = SPOT_PLACES if spot else CONTRACT_PLACES
        return Candle(
            raw_symbol=raw_symbol,
            interval=interval_name(self.interval),
            ts_open=self.timestamp * SECOND_NS,
            ts_close=end(self.timestamp, self.interval),
            open=unscaled(self.openEp, places),
            high=unscaled(self.highEp, places),
            low=unscaled(self.lowEp, places),
            close=unscaled(self.closeEp, places),
            base_volume=unscaled(self.volume, SPOT_PLACES) if spot else None,
            quote_volume=unscaled(self.turnoverEv, SPOT_PLACES) if spot else None,
            contract_volume=None if spot else str(self.volume),
            flags=flags,
        )


class PlainBarWire(Struct, array_like=True, gc=False):
    timestamp: int  # its start, in seconds
    interval: int  # in seconds
    lastClose: str
    open: str
    high: str
    low: str
    close: str
    volume: str  # in the base asset
    turnover: str  # in the quote asset

    def record(self, raw_symbol: str, flags: Flags | UnsetType) -> Record:
        return Candle(
            raw_symbol=raw_symbol,
            interval=interval_name(self.interval),
            ts_open=self.timestamp * SECOND_NS,
            ts_close=end(self.timestamp, self.interval),
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            base_volume=self.volume,
            quote_volume=self.turnover,
            flags=flags,
        )


def interval_name(seconds: int) -> str:
    return INTERVALS.get(seconds, f"{seconds}s")


def end(start: int, seconds: int) -> int | None:
    return (start + seconds) * SECOND_NS if seconds <= LONGEST_S else None


class BarFrame(Struct, gc=False):
    """The newest bar stands first."""

    symbol: str
    type: Kind
    kline: list[BarWire]

    def records(self) -> Iterable[Record]:
        return [bar.record(self.symbol, flags(self.type)) for bar in reversed(self.kline)]


class PlainBarFrame(Struct, gc=False):
    """The newest bar stands first."""

    symbol: str
    type: Kind
    kline_p: list[PlainBarWire]

    def records(self) -> Iterable[Record]:
        return [bar.record(self.symbol, flags(self.type)) for bar in reversed(self.kline_p)]
