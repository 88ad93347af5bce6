"""The journal: it takes every batch as it is published, has a thread write it, and gives what is past to whoever asks.

Publishing only puts the batch into a queue. What waits there, and the newest that is written, stays in memory: a reader
that comes to the end of what is on disk goes on with that, and then with the stream, without a hole between.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

from aggregator.bus.bus import Batch
from aggregator.bus.history import BadStart, Beginning, Cursor, HistoryStatus, Start, Stretch
from aggregator.bus.selection import Selection
from aggregator.records import SECOND_NS, Gap, Record
from aggregator.sinks.journal.reader import JournalReader
from aggregator.sinks.journal.segments import Shelf
from aggregator.sinks.journal.settings import JournalSettings
from aggregator.sinks.journal.writer import BlockWriter
from aggregator.sinks.sink import Context, Writer
from aggregator.sinks.worker import Worker

T = TypeVar("T")

GATHER_S = 0.02  # records wait so long for others
BLOCK_RECORDS = 4096  # a block holds about so many at most
TAIL_RECORDS = 4096  # the newest that stay in memory
MOST_HELD = 200_000  # records that may wait to be written; those that come then are told as missing
CHORES_S = 10.0  # between two looks for what is to be closed and removed

log = logging.getLogger("aggregator.sinks.journal")


class Journal(Writer):
    """Writes and reads one directory. `write`, `tail` and `status` are for the loop; threads do the rest."""

    def __init__(
        self,
        settings: JournalSettings,
        context: Context,
        root: int,
        *,
        worker: Callable[[str], Worker] = Worker,
        gather_s: float = GATHER_S,
        tail_records: int = TAIL_RECORDS,
    ) -> None:
        """Take up a directory; `root` is its descriptor, which holds the lock.

        worker: makes the threads
        gather_s: how long records wait for others, so that a block holds many
        tail_records: the newest that stay in memory
        """
        self._settings = settings
        self._context = context
        self._bus = context.bus
        self._root = root
        self.shelf = Shelf(
            settings.path,
            keep_bytes=settings.keep_bytes,
            keep_ns=round(settings.keep * SECOND_NS),
            clock=context.clock,
            before=context.before,
        )
        self._writer = BlockWriter(
            self.shelf, self._bus.epoch, context, segment_bytes=settings.segment_bytes, on_begin=self._ask_for_chores
        )
        self._reader = JournalReader(self.shelf, self._bus.epoch, self._writer.lost)
        self._gather_s = gather_s
        self._tail_records = tail_records
        self._reading = worker("journal-read")
        self._closing = worker("journal-close")
        self._writing = worker("journal-write")
        self._readers = 0
        # of the loop
        self._queue: SimpleQueue[Batch] = SimpleQueue()
        self._tail: deque[Batch] = deque()
        self._in_tail = 0
        self._put = 0  # records that were put into the queue
        self._is_asked = False  # the thread has been asked to write
        self._chores_at = 0.0
        self._is_ending = False

    async def begin_life(self) -> None:
        """Take up what is there, and begin to close what a former life left open. Raises OSError, AnotherFormat."""
        await self._writing.do(self.shelf.recover)
        await self._writing.do(self._writer.begin)

    # --- on the loop: what is published

    def write(self, batch: Batch) -> None:
        """Take a batch. Never waits."""
        count = batch.count
        if self._put - self._writer.taken > MOST_HELD:
            self._miss(batch)
            return
        self._tail.append(batch)
        self._in_tail += count
        self._put += count
        self._queue.put(batch)
        if not self._is_asked:
            self._is_asked = True
            self._writing.put(self._write_some)
        while self._in_tail - self._tail[0].count > self._tail_records and self._tail[0].last <= self._writer.settled:
            self._in_tail -= self._tail.popleft().count

    def _miss(self, batch: Batch) -> None:
        """Leave out a batch, because too much waits already: the disk does not answer."""
        self._tail.clear()
        self._in_tail = 0
        self._writer.lose([batch], "the disk is too slow")

    def tail(self, cursor: Cursor) -> list[Record] | None:
        """The records behind a place up to the newest that was published; null: that is more than is in memory."""
        if cursor.epoch != self._bus.epoch:
            return None
        if cursor.offset >= self._bus.offset:
            return []
        if not self._tail or self._tail[0].first > cursor.offset + 1:
            return None
        found: list[Record] = []
        for batch in reversed(self._tail):
            if batch.last <= cursor.offset:
                break
            records = batch.records if batch.first > cursor.offset else batch.records[cursor.offset - batch.last :]
            found[:0] = records
        return found

    def status(self) -> HistoryStatus:
        """How much is kept, and whether all is well."""
        view = self.shelf.view
        kept = view.kept
        return HistoryStatus(
            path=str(self._settings.path),
            failing=self._context.trouble,
            epochs=view.epochs,
            segments=len(kept),
            bytes=self.shelf.size(),
            records=self._writer.written,
            missed=self._writer.missed,
            held=self._put - self._writer.taken,
            ts_from=kept[0].ts_first if kept else None,
            expired=self.shelf.expired,
            readers=self._readers,
        )

    async def close(self) -> None:
        """Write what waits, say that the epoch ends, and let go of the directory."""
        self._is_ending = True
        try:
            await self._writing.do(self._end)
        finally:
            if self._bus.history is self:
                self._bus.history = None
            for worker in (self._writing, self._reading, self._closing):
                worker.stop()
            os.close(self._root)

    # --- on the loop: what is asked for

    async def begin(self, start: Beginning) -> tuple[Cursor, Gap | None]:
        """Find a place, and tell what is missing before it. Raises BadStart."""
        if isinstance(start, Cursor):
            self._check(start)
            return start, None
        now = Cursor(self._bus.epoch, self._bus.offset)
        if start == "now":
            return now, None
        if isinstance(start, Start):
            return await self._at_time(start.ts or 0)
        found = await self._read(self._reader.earliest)
        return found or Cursor(now.epoch, self._tail[0].first - 1 if self._tail else now.offset), None

    def _check(self, cursor: Cursor) -> None:
        epoch, offset = self._bus.epoch, self._bus.offset
        if cursor.epoch == epoch and cursor.offset > offset:
            raise BadStart(f"record {cursor.offset} of this epoch has not been published yet: the last one is {offset}")
        if cursor.epoch > epoch and self.shelf.view.order(cursor.epoch) % 1:
            raise BadStart(
                f"the epoch {cursor.epoch!a:.40} is later than that of now, {epoch}: it is of another daemon"
            )

    async def _at_time(self, ts: int) -> tuple[Cursor, Gap | None]:
        while True:
            cursor, gap, is_found = await self._read(lambda: self._reader.at_time(ts))
            if is_found:
                return cursor, gap
            if cursor.epoch != self._bus.epoch:
                cursor = Cursor(self._bus.epoch, 0)
            records = self.tail(cursor)
            if records is None and self._writer.is_lost(cursor.offset + 1):
                return cursor, None  # the read that follows tells the gap
            if records is not None:
                late = next((record.offset for record in records if record.ts_recv >= ts), None)
                return Cursor(cursor.epoch, self._bus.offset if late is None else late - 1), None

    async def read(
        self,
        cursor: Cursor,
        wanted: Selection,
        give: Callable[[Stretch], T],
        *,
        until: Cursor | None = None,
        with_topics: bool = False,
    ) -> T:
        """Read some of what follows a place; `give` makes of it, off the loop, what is returned. Raises OSError."""
        return await self._read(lambda: give(self._reader.read(cursor, wanted, until=until, with_topics=with_topics)))

    async def _read(self, call: Callable[[], T]) -> T:
        self._readers += 1
        try:
            return await self._reading.do(call)
        finally:
            self._readers -= 1

    # --- in the thread that writes

    def _write_some(self) -> None:
        """Write what has come, once some more had time to."""
        if not self._is_ending and self._gather_s:
            time.sleep(self._gather_s)
        self._is_asked = False  # a batch that is put from now on asks anew
        self._write_all()
        if time.monotonic() >= self._chores_at:
            self._ask_for_chores()

    def _write_all(self) -> None:
        gathered: list[Batch] = []
        count = 0
        try:
            while True:
                batch = self._queue.get_nowait()
                if count >= BLOCK_RECORDS:
                    self._writer.write(gathered)
                    gathered, count = [], 0
                gathered.append(batch)
                count += batch.count
        except Empty:
            if gathered:
                self._writer.write(gathered)

    def _end(self) -> None:
        """Write what is left, and that the epoch ends here."""
        self._write_all()
        self._writer.end(self._bus.offset)

    def _ask_for_chores(self) -> None:
        self._chores_at = time.monotonic() + CHORES_S
        self._closing.put(self._do_chores)

    # --- in the thread that closes

    def _do_chores(self) -> None:
        """Close what is to be closed, and remove what is to go."""
        try:
            while not self._is_ending and self.shelf.close_one():
                pass
            self.shelf.expire()
        except OSError as error:
            log.error("journal: a segment cannot be closed or removed yet: %s", error)  # noqa: TRY400 - no fault of ours
        except Exception:
            log.exception("journal: a segment cannot be closed, for an error of ours")
