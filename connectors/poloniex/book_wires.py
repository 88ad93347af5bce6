"""The books and candles of Poloniex, which are alike on spot and futures behind other names."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec import Raw

from aggregator.errors import BadFrame
from aggregator.records import BookDelta, BookSnapshot, Levels, Record
from aggregator.wire import ms
from connectors.poloniex.frames import DEPTH, Frame, Reader, interval


class Book(Protocol):
    """A row of a book's channel."""

    symbol: str
    bids: Levels
    asks: Levels
    id: int
    createTime: int
    ts: int
    lastId: int | None  # the `id` before this one


class Bar(Protocol):
    """A row of a channel of candles."""

    def record(self, interval: str, /) -> Record: ...


def whole(book: Book, *, periodic: bool) -> BookSnapshot:
    return BookSnapshot(
        raw_symbol=book.symbol,
        bids=book.bids,
        asks=book.asks,
        depth=None if periodic else DEPTH,
        reason="periodic" if periodic else "initial",
        sequence=book.id,
        ts_event=ms(book.createTime),
        ts_sent=ms(book.ts),
    )


def delta(book: Book) -> BookDelta:
    return BookDelta(
        raw_symbol=book.symbol,
        bids=book.bids,
        asks=book.asks,
        sequence=book.id,
        sequence_prev=book.lastId,
        ts_event=ms(book.createTime),
        ts_sent=ms(book.ts),
    )


def books(decode: Callable[[Raw], Sequence[Book]]) -> Reader:
    """The reader of `book_lv2`: a whole book first, then its changes."""

    def read(said: Frame) -> Iterable[Record]:
        if said.action == "update":
            return [delta(book) for book in decode(said.data)]
        if said.action != "snapshot":
            raise BadFrame(f"a book of action {said.action!r}")
        return [whole(book, periodic=False) for book in decode(said.data)]

    return read


def pictures(decode: Callable[[Raw], Sequence[Book]]) -> Reader:
    """The reader of `book`: the best levels, whole each time."""
    return lambda said: [whole(book, periodic=True) for book in decode(said.data)]


def candles(decode: Callable[[Raw], Sequence[Bar]]) -> Reader:
    """The reader of the channels of candles, whose names hold the interval."""

    def read(said: Frame) -> Iterable[Record]:
        name = interval(said.channel)
        return [bar.record(name) for bar in decode(said.data)]

    return read
