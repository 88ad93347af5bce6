"""A subscriber that begins in the past: what it has missed is read for it, piece by piece, as fast as it takes it.

Only the next piece is in memory, so a slow one costs no more than that; the history is read in a thread. `bus/past.py`
follows it, here as for sinks; once all is taken, the hub lets the stream follow within one turn of the loop.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any

from msgspec import Struct

from aggregator.bus.history import KEEPER, BadStart, Beginning, Cursor, History, Stretch, kept_line, kept_records
from aggregator.bus.past import WAIT_S, Past
from aggregator.bus.selection import Selection, topic_of
from aggregator.feed.formats import PLAIN, Options, encode
from aggregator.feed.subscriber_queue import TAKE_BYTES, BookName
from aggregator.records import BookDelta, BookSnapshot, Gap, Record

RECODED = 500  # records that are written otherwise than in the history, at once

log = logging.getLogger("aggregator.feed")


class BegunBooks:
    """The books that a subscriber has whole: no change of another is told before a snapshot of it."""

    def __init__(self, *, has_all: bool, but: Iterable[BookName] = ()) -> None:
        """Have all books but some, or none at all."""
        self._has_all = has_all
        self._lacking = set(but)
        self._begun: set[BookName] = set()

    @property
    def is_all(self) -> bool:
        """Tell whether nothing is to be withheld."""
        return self._has_all and not self._lacking

    def has(self, book: BookName) -> bool:
        return book in self._begun or (self._has_all and book not in self._lacking)

    def forget(self) -> None:
        """Have none any more: something is missing."""
        self._has_all = False
        self._begun.clear()

    def admits(self, kind: str, exchange: str, raw_symbol: str | None) -> bool:
        """Tell whether a record is to be told, and take it into account."""
        if kind == "book_snapshot":
            self._begun.add((exchange, raw_symbol))
        return kind != "book_delta" or self.has((exchange, raw_symbol))

    def admits_record(self, record: Record) -> bool:
        """Tell the same of a record."""
        if isinstance(record, BookSnapshot | BookDelta):
            kind = "book_snapshot" if isinstance(record, BookSnapshot) else "book_delta"
            return self.admits(kind, record.exchange, record.raw_symbol)
        return True


class Piece(Struct, frozen=True):
    """Whole lines as the subscriber reads them, and the place behind the last of them.

    begins: whether what follows is of another epoch, or was missed, so that this is told
    """

    data: bytes
    cursor: Cursor
    begins: bool = False


class CatchUp:
    """The past, as one subscriber is told it.

    told: the place behind all that was taken; null: where it begins is not known yet
    """

    def __init__(
        self,
        history: History,
        selection: Selection,
        options: Options,
        books: BegunBooks,
        *,
        wake: Callable[[], None],
        give_up: Callable[[str], None],
    ) -> None:
        """Prepare to read; `wake` is called when there is something to take, `give_up` where that is never any more."""
        self.selection = selection
        self.books = books
        self.told: Cursor | None = None
        self._past: Past | None = None
        self._history = history
        self._options = options
        self._wake = wake
        self._give_up = give_up
        self._pieces: deque[Piece] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def cursor(self) -> Cursor | None:
        """The place behind all that was read; null: it is not known yet."""
        return None if self._past is None else self._past.cursor

    def begin(self, start: Beginning, begun: Callable[[], None], failed: Callable[[str], None]) -> None:
        """Find where to begin, and begin to read; `begun` or `failed` is called then."""
        self._do(self._begin(start, begun, failed))

    def go_on(self, cursor: Cursor) -> None:
        """Begin to read at a place that is known."""
        self._stand_at(cursor)
        self._pieces.append(Piece(b"", cursor, begins=True))
        self._wake()

    def _stand_at(self, cursor: Cursor) -> Past:
        self.told = cursor
        self._past = Past(self._history, self.selection, cursor, log)
        return self._past

    def stop(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()
        self._pieces.clear()

    def take(self) -> Piece | None:
        """The next piece; null: there is none now, and it is being read, or all is read."""
        if not self._pieces:
            return None
        piece = self._pieces.popleft()
        self.told = piece.cursor
        if not self._pieces and self._task is None and self._past is not None and not self._past.is_at_end:
            self._do(self._read(self._past))
        return piece

    def seam(self) -> tuple[bytes, bool] | None:
        """The lines of what is in memory behind all that was read, and whether that was all; null: it is being read."""
        past = self._past
        if self._task is not None or past is None:
            return None
        found = past.in_memory()
        if found is None:
            self._do(self._read(past))
            return None
        records, is_all = found
        self.told = past.cursor
        return encode(list(filter(self.books.admits_record, records)), self._options), is_all

    # --- reading

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._look_at)

    def _look_at(self, task: "asyncio.Task[None]") -> None:
        """Leave nobody waiting for what an error of our own has ended."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("what was missed cannot be told, for an error of ours", exc_info=error)
            self._give_up("what was missed cannot be told, for an error of the feed's own; its log says more")

    async def _begin(self, start: Beginning, begun: Callable[[], None], failed: Callable[[str], None]) -> None:
        try:
            cursor, gap = await self._history.begin(start)
        except (BadStart, OSError) as error:
            self._task = None
            failed(str(error))
            return
        past = self._stand_at(cursor)
        begun()
        if gap is not None:
            self.books.forget()
            self._pieces.append(Piece(encode([gap], self._options), cursor))
        await self._read(past)

    async def _read(self, past: Past) -> None:
        """Read the next piece that holds something, or up to the end of what is on disk."""
        while not self._pieces:
            epoch = past.cursor.epoch
            stretch, pieces = await past.read(self._shaped, with_topics=not self.books.is_all)
            if stretch.cursor.epoch != epoch and not stretch.lines:
                pieces = [*pieces, Piece(b"", stretch.cursor, begins=True)]
            self._pieces += pieces
            if stretch.is_end:
                break
        self._task = None
        self._wake()

    def _shaped(self, stretch: Stretch) -> list[Piece]:
        """The pieces of a stretch; made in the thread that has read it."""
        return list(shaped(stretch, self._options, self.books))


def shaped(stretch: Stretch, options: Options, books: BegunBooks) -> Iterator[Piece]:
    """The pieces of a stretch, none much larger than is written at once."""
    epoch = stretch.cursor.epoch
    if stretch.gap is not None:
        books.forget()
        place = stretch.cursor if not stretch.lines else Cursor(epoch, kept_line(stretch.lines[0]).offset - 1)
        yield Piece(encode([stretch.gap], options), place)
    lines = stretch.lines if books.is_all else list(_admitted(stretch, books))
    start = size = 0
    most = RECODED if options != PLAIN else len(lines)
    for at, line in enumerate(lines, 1):
        size += len(line)
        if size >= TAKE_BYTES or at - start >= most or at == len(lines):
            some = lines[start:at]
            is_last = at == len(lines)
            place = stretch.cursor if is_last else Cursor(epoch, kept_line(line).offset)
            data = b"".join(some) if options == PLAIN else encode(_records(some, epoch, books), options)
            yield Piece(data, place)
            start, size = at, 0


def _admitted(stretch: Stretch, books: BegunBooks) -> Iterator[bytes]:
    if stretch.topics == ():  # nobody asked for them, as no book was withheld before this gap
        for line in stretch.lines:
            named = kept_line(line)
            if books.admits(named.type, named.exchange, named.raw_symbol):
                yield line
        return
    for line, topic in zip(stretch.lines, stretch.topics, strict=True):
        if books.admits(topic.type, topic.exchange, topic.raw_symbol):
            yield line


def _records(lines: list[bytes], epoch: str, books: BegunBooks) -> list[Record]:
    """The records of lines. Behind what this version cannot read each book has to begin anew."""
    records, reason = kept_records(lines, epoch)
    if not reason and books.is_all:
        return records
    if reason:
        log.error("records of the journal cannot be read by this version, and a gap tells them: %s", reason)
    found: list[Record] = []
    for record in records:
        if isinstance(record, Gap) and record.conn == KEEPER:
            books.forget()
        if books.admits_record(record):
            found.append(record)
    return found


async def past_records(
    history: History, wanted: Selection, start: Beginning, to: Beginning, options: Options
) -> AsyncIterator[bytes]:
    """The records between two places, as lines, some at a time. Raises BadStart, OSError."""
    until, _ = await history.begin(to)
    cursor, gap = await history.begin(start)
    if gap is not None:
        yield encode([gap], options)

    def give(found: Stretch) -> tuple[Stretch, list[Piece]]:
        return found, list(shaped(found, options, BegunBooks(has_all=True)))

    while True:
        stretch, pieces = await history.read(cursor, wanted, give, until=until, with_topics=True)
        for piece in pieces:
            yield piece.data
        cursor = stretch.cursor
        if stretch.is_over:
            return
        records = history.tail(cursor) if stretch.is_end else None
        if records is not None:
            there = [record for record in records if record.offset <= until.offset and wanted.wants(topic_of(record))]
            yield encode(there, options)
            return
        if stretch.is_end:
            await asyncio.sleep(WAIT_S)
