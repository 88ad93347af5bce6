"""A feed whose every record follows from its offset, so that a reader knows what it should have been told.

`python -m tests.support.numbered HOME EPOCH RATE` serves one at `HOME/feed.sock`, with a journal in `HOME/journal`,
until it is ended, in whatever way. Two thirds of the records are trades, the others change two books: of A the journal
has a whole one now and then, of B only the first.
"""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aggregator.bus.bus import Bus
from aggregator.bus.view import Wanted
from aggregator.client import LiveBook, StreamPosition
from aggregator.feed.address import parse_address
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import BookDelta, BookSnapshot, Channel, Gap, Health, Record, Trade
from aggregator.sinks.journal.sink import SINK
from aggregator.sinks.running import running
from tests.support.cases import say

BASE_NS = 1_767_323_045_000_000_000
EVERY = 6  # of so many records one is a change of A, and one of B
WHOLE_EVERY = 50 * EVERY
BOOKS = {"A": 0, "B": 1}


def names(symbol: str) -> dict[str, str]:
    return {"exchange": "alpha", "symbol": f"{symbol}/USD", "raw_symbol": symbol}


def size_at(symbol: str, offset: int) -> int:
    """The only size in a book behind a record: the offset of its last change; 0: there is none."""
    last = offset - (offset - BOOKS[symbol]) % EVERY
    return max(last, 0)


def record_at(offset: int) -> Record:
    for symbol, rest in BOOKS.items():
        if offset % EVERY == rest:
            is_whole = size_at(symbol, offset - 1) == 0 or (symbol == "A" and offset % WHOLE_EVERY == 0)
            kind = BookSnapshot if is_whole else BookDelta
            return kind(**names(symbol), ts_recv=BASE_NS + offset, bids=[("1", str(offset))], asks=[])  # type: ignore[arg-type]
    return Trade(**names(f"S{offset % 3}"), ts_recv=BASE_NS + offset, id=str(offset), price="1", size="1")  # type: ignore[arg-type]


class NumberedFeed:
    """One life of the daemon: it has as many records as are asked for. It is the view of its exchange, too."""

    def __init__(self, home: Path, epoch: str, listen: str) -> None:
        self.bus = Bus(epoch)
        self.bus.views.add("alpha", self)
        self.journal = running(SINK.configured(path=home / "journal", segment_bytes=200_000, keep=1e9), self.bus)
        self.server = FeedServer(FeedSettings(listen=(parse_address(listen),), ring=1_000_000), self.bus)
        self.has_ended = False

    async def start(self) -> None:
        await self.journal.start()
        await self.server.start()
        self.bus.attach(self.server.publish)

    async def stop(self, grace_s: float = 0.2) -> None:
        """End, if it has not yet."""
        if self.has_ended:
            return
        self.has_ended = True
        self.bus.detach(self.server.publish)
        await self.server.stop(grace_s)
        self.journal.end()
        assert self.journal.task is not None
        await self.journal.task

    def publish(self, count: int) -> None:
        offset = self.bus.offset
        self.bus.publish([record_at(number) for number in range(offset + 1, offset + count + 1)])

    # --- the view

    def book(self, raw_symbol: str) -> BookSnapshot | None:
        size = size_at(raw_symbol, self.bus.offset) if raw_symbol in BOOKS else 0
        if not size:
            return None
        return BookSnapshot(**names(raw_symbol), ts_recv=BASE_NS, bids=[("1", str(size))], asks=[], reason="request")  # type: ignore[arg-type]

    def books(self) -> list[BookSnapshot]:
        return [book for symbol in BOOKS if (book := self.book(symbol)) is not None]

    def health(self, channel: Channel, raw_symbol: str | None) -> list[Health]:
        if channel != "book" or raw_symbol is None or self.book(raw_symbol) is None:
            return []
        return [Health(**names(raw_symbol), channel="book", state="live", age_ms=1)]  # type: ignore[arg-type]

    def wanted(self) -> list[Wanted]:
        return [Wanted("book", "alpha", symbol, f"{symbol}/USD") for symbol in BOOKS]


@asynccontextmanager
async def numbered(home: Path, epoch: str, listen: str) -> AsyncIterator[NumberedFeed]:
    feed = NumberedFeed(home, epoch, listen)
    await feed.start()
    try:
        yield feed
    finally:
        await feed.stop()


class Reader:
    """What a client gave: it must be every record once and in order, but for those that gaps name.

    got: the places of the records; holes: what gaps of the journal say is missing, from behind the first to the second
    cuts: the gaps of the client itself
    """

    def __init__(self) -> None:
        self.books: dict[str, LiveBook] = {}
        self.got: list[StreamPosition] = []
        self.holes: list[tuple[StreamPosition, StreamPosition]] = []
        self.cuts: list[Gap] = []
        self.whole = 0  # times that a book could be trusted, and was right

    def take(self, record: Record, place: StreamPosition | None) -> None:
        assert place is not None
        if isinstance(record, Gap):
            (self.cuts if record.conn != "journal" else self.holes).append(self._gap(record))  # type: ignore[arg-type]
        elif not isinstance(record, Health) and getattr(record, "reason", None) != "request":
            assert place.offset == record.offset
            assert not self.got or self.got[-1] < place, (self.got[-1], place)
            self.got.append(place)
        if isinstance(record, BookSnapshot | BookDelta):
            assert record.raw_symbol is not None
            book = self.books[record.raw_symbol]
            if book.is_whole:
                assert book.bids() == [("1", str(size_at(record.raw_symbol, record.offset)))]
                self.whole += 1

    @property
    def is_cut(self) -> bool:
        """Tell whether a gap of the client is open."""
        return bool(self.cuts) and self.cuts[-1].phase == "open"

    def _gap(self, gap: Gap) -> object:
        if gap.conn != "journal":
            return gap
        start, _, end = gap.gap_id.removeprefix("journal:").rpartition("-")
        (low_epoch, _, low), (high_epoch, _, high) = start.rpartition(":"), end.rpartition(":")
        return StreamPosition(low_epoch, int(low)), StreamPosition(high_epoch or low_epoch, int(high))

    def missing(self) -> list[StreamPosition]:
        """The places between the first and the last record that were not given and not told as missing."""
        found = []
        for low, high in zip(self.got, self.got[1:], strict=False):
            if low.epoch == high.epoch:
                between = [StreamPosition(low.epoch, offset) for offset in range(low.offset + 1, high.offset)]
            else:  # nobody knows what was the last of the life before; its end is told if not all of it was kept
                between = [StreamPosition(high.epoch, offset) for offset in range(1, high.offset)]
            found += [place for place in between if not any(start < place <= end for start, end in self.holes)]
        return found


async def serve(home: Path, epoch: str, rate: float) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with numbered(home, epoch, f"unix:{home}/feed.sock") as feed:
        say("ready")
        while not ended.is_set():
            feed.publish(count := random.randrange(1, 40))
            await asyncio.sleep(count / rate)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
