"""Bitget's contracts in the words of OKX's third version, as captures of 2021 and 2022 hold them.

https://github.com/crypto-crawler/crypto-msg-parser (frames of that time, and what they mean)
Sizes count contracts. Candles are left out: whether one is named by its beginning or its end is not certain. So is the
time of a rate, which was none at which funding was exchanged.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.records import MS_NS, BookDelta, BookSnapshot, Funding, Record, Side, Trade
from aggregator.wire import Text, levels, oldest_first, optional, text

R = TypeVar("R")


class Rows(Struct, Generic[R]):
    data: list[R]
    action: str = ""


class TradeRow(Struct):
    instrument_id: str
    price: Text
    size: Text
    side: Side  # the taker's
    timestamp: int

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.instrument_id,
            price=text(self.price),
            size=text(self.size),
            size_unit="contract",
            side=self.side,
            ts_event=self.timestamp * MS_NS,
        )


class BookRow(Struct):
    instrument_id: str
    timestamp: int
    bids: list[list[Text]] = []
    asks: list[list[Text]] = []

    def whole(self, depth: int | None) -> BookSnapshot:
        return BookSnapshot(
            raw_symbol=self.instrument_id,
            bids=levels(self.bids),
            asks=levels(self.asks),
            depth=depth,
            reason="initial" if depth is None else "periodic",
            ts_event=self.timestamp * MS_NS,
        )

    def delta(self) -> BookDelta:
        bids, asks, at = levels(self.bids), levels(self.asks), self.timestamp * MS_NS
        return BookDelta(raw_symbol=self.instrument_id, bids=bids, asks=asks, ts_event=at)


class RateRow(Struct):
    instrument_id: str
    funding_rate: Text = None


decode_trades = Decoder(Rows[TradeRow], strict=False).decode  # not strict: times come as text
decode_books = Decoder(Rows[BookRow], strict=False).decode
decode_rates = Decoder(Rows[RateRow]).decode


def read_trades(frame: bytes) -> Iterable[Record]:
    return oldest_first(row.record() for row in decode_trades(frame).data)


def read_books(frame: bytes) -> Iterable[Record]:
    said = decode_books(frame)
    return [row.delta() if said.action == "update" else row.whole(None) for row in said.data]


def read_best(frame: bytes) -> Iterable[Record]:
    return [row.whole(5) for row in decode_books(frame).data]


def read_rates(frame: bytes) -> Iterable[Record]:
    for row in decode_rates(frame).data:
        if (rate := optional(row.funding_rate)) is not None:
            yield Funding(raw_symbol=row.instrument_id, rate=rate)


READERS: dict[str, Callable[[bytes], Iterable[Record]]] = {
    "trade": read_trades,
    "depth": read_books,
    "depth5": read_best,
    "funding_rate": lambda frame: [*read_rates(frame)],
}


def read(table: str, frame: bytes) -> Iterable[Record]:
    """Read a frame by its table, as `swap/depth`."""
    reader = READERS.get(table.removeprefix("swap/"))
    return () if reader is None else reader(frame)
