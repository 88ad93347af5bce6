"""The `files` sink: NDJSON files by a template, turned over by size and time, each with a header and a footer."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec import Struct

from aggregator.records import SECOND_NS
from aggregator.sinks.closer import Closer
from aggregator.sinks.directory import check_directory, lock_directory
from aggregator.sinks.files_settings import FilesSettings
from aggregator.sinks.notes import FileHeader, encode, header_of, overflow
from aggregator.sinks.paths import SUFFIX, Template
from aggregator.sinks.retention import Retention
from aggregator.sinks.routes import DAY_NS, TYPE, File, FileChunk, FileRoutes, Outage
from aggregator.sinks.segment import Segment, Segments, Vanished
from aggregator.sinks.sink import Batch, Context, Delivery, Sink, Writer
from aggregator.sinks.worker import Worker

GATHERED = Delivery(batch_records=256, batch_age=0.005)  # sorted in small groups, records keep no frame waiting
SHARE = 4  # sorted records may take one part of so many of the memory that the queue may take
GATHER_S = 0.01  # a file's records gather so long, and it is no further behind while the disk keeps up
TICK_S = 1.0  # between two looks at what is due by time
GRACE_NS = 2 * SECOND_NS  # after the end of a period late records still find their file for so long
FIRST_BACKOFF_S = 1.0  # before a file that could not be written is tried again; doubles
LONGEST_BACKOFF_S = 30.0
PROBATION_S = 10.0  # it must then be written so long without an error: a nearly full disk takes some, and refuses some
LAST_WORK_S = 1.5  # closed files may take so long at the end; the next start does the rest

log = logging.getLogger("aggregator.sinks.files")


class _Job(Struct):
    """A task of the thread for one file: to write a chunk, after a header if a segment begins, or to close it."""

    file: File
    chunk: FileChunk | None
    header: FileHeader | None
    close: bool


class FilesWriter(Writer):
    """The loop decides what is to be done, the sink's own thread does it, and then the loop decides again.

    Sorting goes on while the thread writes: nothing is added to a chunk that has been handed over.
    """

    def __init__(self, settings: FilesSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._bus = context.bus
        self._clock = context.clock
        self._every = round(settings.rotate_every * SECOND_NS)
        self._routes = FileRoutes(Template(settings.template), self._every)
        self._segments = Segments(self._hand_over)
        self._closer = Closer(
            settings.path, self._segments, self._clock, compress=settings.compress, deaths=context.deaths
        )
        self._retention = Retention(settings, self._closer, self._segments, self._clock, context.remove)
        self._root: int | None = None  # its descriptor holds the lock on the directory
        self._failing: set[str] = set()
        self._touched: dict[File, None] = {}  # files that have records to be written
        self._most = context.delivery.queue
        self._most_bytes = context.delivery.queue_bytes // SHARE or 1
        self._held = 0  # records that are sorted and not yet written
        self._held_bytes = 0
        self._sorted_since = self._writing_since = 0  # the oldest of what is sorted, and of what is being written, ns
        self._missed = 0  # records that it had taken, and could not write
        self._reopen = False
        self._ended = False
        self._touch = asyncio.Event()  # there is something to write, or nothing more will come
        self._enough = asyncio.Event()  # it is not to wait for more
        self._emptied = asyncio.Event()
        self._tick_at = self._retry_at = 0.0
        self._day = self._clock() // DAY_NS
        self._worker = Worker("files-write")
        self._closing = Worker("files-close")
        self._task = asyncio.get_running_loop().create_task(self._write_all(), name=context.name)

    # --- on the loop ------------------------------------------------------------------------------------------------

    def write(self, batch: Batch) -> Awaitable[None] | None:
        """Sort records into their files. Gives something to wait for where too many are unwritten."""
        if self._task.done():
            self._task.result()  # says why
            raise RuntimeError("the writing has ended")
        self._touched |= self._routes.sort(batch)
        since = min(batch.earliest, self._routes.told_from or batch.earliest)
        if since > 0:
            self._sorted_since = min(self._sorted_since or since, since)
        self._held += len(batch)
        self._held_bytes += batch.size
        self._touch.set()
        if self._held >= self._most // 2 or self._held_bytes >= self._most_bytes // 2:
            self._enough.set()
        return None if self._has_room else self._room()

    @property
    def _has_room(self) -> bool:
        return self._held < self._most and self._held_bytes < self._most_bytes

    async def _room(self) -> None:
        while not self._has_room and not self._task.done():
            await self._next_write()

    def held_since(self) -> int:
        found = [self._sorted_since, self._writing_since]
        if self._failing:
            outages = [file.outage for file in self._routes if file.outage is not None]
            found += [outage.loss.ts_from for outage in outages if outage.loss is not None]
        return min(filter(None, found), default=0)

    async def _next_write(self) -> None:
        self._emptied.clear()
        await self._emptied.wait()

    async def flush(self) -> None:
        """Wait until the files hold all that is sorted."""
        while self._held and not self._task.done():
            await self._next_write()

    def reopen(self) -> bool:
        """Have every file closed within a second; new ones are begun with what comes."""
        self._reopen = True
        return True

    async def close(self) -> None:
        """Close every file, and let others have the directory."""
        self._ended = True
        self._touch.set()
        self._enough.set()
        try:
            await self._task
        finally:
            self._task.cancel()
            self._context.lose(self._held)  # the frame tells since when
            self._closer.stopping.set()
            self._worker.stop()
            try:
                await self._closing.do(self._release)
            finally:
                self._closing.stop()

    async def _write_all(self) -> None:
        """Write what is sorted and close what is due, until the stream has ended; then close every file."""
        try:
            await self._write_until_the_end()
        finally:
            self._emptied.set()

    async def _write_until_the_end(self) -> None:
        with suppress(OSError):  # the first file that is to be written says what is wrong
            await self._worker.do(self._claim)
        while not self._ended or self._touched:
            if await _is_set(self._touch, TICK_S):
                await _is_set(self._enough, GATHER_S)
            await self._write_touched()
            await self._tick()
        await self._finish()

    async def _write_touched(self) -> None:
        touched, self._touched = self._touched, {}
        self._writing_since, self._sorted_since = self._sorted_since, 0
        held, held_bytes = self._held, self._held_bytes
        if not self._ended:
            self._touch.clear()
            self._enough.clear()
        await self._have_done([(file, False) for file in touched])
        self._held -= held
        self._held_bytes -= held_bytes
        self._writing_since = 0
        self._context.settle()
        self._emptied.set()

    async def _tick(self) -> None:
        """Close what is due by time, try again what failed."""
        mono, now = time.monotonic(), self._clock()
        if mono < self._tick_at:
            return
        self._tick_at = mono + TICK_S
        due: list[tuple[File, bool]] = []
        reopen, self._reopen = self._reopen, False
        for file in self._routes:
            is_over = file.segment is not None and (reopen or file.segment.deadline <= now)
            if is_over or (file.outage is not None and file.outage.retry_at <= mono):
                due.append((file, is_over))
        await self._have_done(due)
        if reopen:
            count = sum(is_over for _, is_over in due)
            log.info(
                "files %s: %d files are closed as was asked; new ones begin with what comes", self._settings.path, count
            )
        if self._day != now // DAY_NS:
            self._day = now // DAY_NS
            self._routes.forget_idle()
        if self._closer.unfinished and mono >= self._retry_at:
            self._retry_at = mono + LONGEST_BACKOFF_S
            self._closing.put(self._closer.retry)
        if self._retention.has_limits and self._root is not None and not self._retention.is_asked:
            self._retention.is_asked = True
            self._closing.put(self._retention.look)

    async def _finish(self) -> None:
        """Close every file; what cannot be compressed soon is left for the next start."""
        open_files = [file for file in self._routes if file.segment is not None or file.outage is not None]
        for file in open_files:
            if file.outage is not None:
                file.outage.retry_at = 0.0
        await self._have_done([(file, True) for file in open_files])
        if owing := [file.name for file in open_files if file.outage is not None and file.outage.over_at is None]:
            log.error(
                "files %s: the end of %d files could not be written: %s", self._settings.path, len(owing), owing[0]
            )
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORK_S):
                await self._closing.do(lambda: None)

    async def _have_done(self, due: list[tuple[File, bool]]) -> None:
        """Have the thread write, and where it says so close, these files."""
        jobs: list[_Job] = []
        for file, close in due:
            for job in self._jobs(file, close=close):
                jobs.append(job)
                if job.header is not None:
                    await asyncio.sleep(0)  # books take long to collect
                if job.header is not None and job.header.books:
                    await self._worker.do(partial(self._do_all, jobs))  # and are large
                    jobs = []
        if jobs:
            await self._worker.do(partial(self._do_all, jobs))

    def _jobs(self, file: File, *, close: bool) -> Iterator[_Job]:
        chunks, file.chunks = file.chunks, []
        outage = file.outage
        if outage is not None and time.monotonic() < outage.retry_at:
            for chunk in chunks:
                self._drop(outage, chunk)
            return
        if not chunks and outage is not None and outage.loss is not None:
            chunks = [FileChunk(outage.loss.ts_to // self._every)]
        slot = file.segment.slot if file.segment is not None and not file.segment.has_footer else None
        for chunk in chunks:
            header = None
            if slot is None or chunk.slot > slot:
                slot, header = chunk.slot, header_of(self._bus, file.scope, self._clock())
            yield _Job(file, chunk, header, close=close and chunk is chunks[-1])
        if not chunks:
            yield _Job(file, None, None, close=close)

    # --- in the writer's thread -------------------------------------------------------------------------------------

    def _claim(self) -> None:
        """Lock the directory, once: two daemons would repair each other's files. Raises OSError."""
        if self._root is not None:
            return
        self._root = lock_directory(self._settings.path)
        self._closing.put(self._closer.sweep)

    def _release(self) -> None:
        if self._root is not None:
            os.close(self._root)

    def _hand_over(self, closed: Path) -> None:
        self._closer.pending.add(closed)
        self._closing.put(partial(self._closer.finish, closed))

    def _do_all(self, jobs: list[_Job]) -> None:
        for job in jobs:
            self._do(job)
            os.sched_yield()  # on a single processor frames would wait for all of them

    def _do(self, job: _Job) -> None:
        file, chunk = job.file, job.chunk
        try:
            self._claim()
            if job.header is not None and file.segment is not None:
                self._close(file, file.segment)
            if chunk is not None:
                self._append(file, chunk, job.header)
                chunk = None
            segment = file.segment
            if segment is not None and (job.close or segment.has_footer or segment.size >= self._settings.rotate_bytes):
                self._close(file, segment)
        except OSError as error:
            self._fail(file, chunk, error)
        else:
            self._go_on(file)

    def _append(self, file: File, chunk: FileChunk, header: FileHeader | None) -> None:
        """Write a chunk, behind the gap that an outage left. Raises OSError."""
        owed = []
        if file.outage is not None and file.outage.loss is not None:
            owed.append(overflow(TYPE, self._bus.epoch, file.outage.loss, file.scope))
        tally, lines = chunk.tally(*owed), [*(encode(gap) + b"\n" for gap in owed), *chunk.lines]
        if header is not None:
            first = (*owed, chunk.first)[0]
            left = 0 if first is None else (chunk.slot + 1) * self._every - first.ts_recv  # by the records' own clock
            deadline = header.ts + max(left, 0) + GRACE_NS
            path = self._settings.path / (file.name + SUFFIX)
            segment = Segment(path, ts=header.ts, slot=chunk.slot, deadline=deadline)
            self._segments.begin(segment, b"".join([header.line(), *lines]), tally)
            file.segment = segment
        elif file.segment is not None:
            self._segments.append(file.segment, b"".join(lines), tally)
        else:
            raise Vanished(0, "its file could not be begun", file.name)
        file.last_offset = tally.last
        if file.outage is not None:
            file.outage.loss = None

    def _close(self, file: File, segment: Segment) -> None:
        self._hand_over(self._segments.finish(segment, self._clock()))
        file.segment = None

    def _fail(self, file: File, chunk: FileChunk | None, error: OSError) -> None:
        """Go on without this file for a while; say so when it is the first."""
        outage = file.outage = file.outage or Outage()
        outage.wait = min(outage.wait * 2 or FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
        outage.retry_at, outage.over_at = time.monotonic() + outage.wait, None
        if chunk is not None:
            self._drop(outage, chunk)
        if isinstance(error, Vanished) and file.segment is not None:
            log.error("%s: gone with %d records", file.segment.path, file.segment.records)
            self._segments.forget(file.segment)
            file.segment, outage.retry_at = None, 0.0
        if not self._failing:
            log.error(
                "files %s: %s cannot be written: %s; its records are dropped until it can",
                self._settings.path,
                file.name,
                error,
            )
        self._failing.add(file.name)
        self._context.report(f"{file.name}: {error}")

    def _drop(self, outage: Outage, chunk: FileChunk) -> None:
        loss = chunk.loss()
        if loss is not None:
            outage.loss = loss if outage.loss is None else outage.loss + loss
            self._missed += chunk.received
            self._context.lose(chunk.received)

    def _go_on(self, file: File) -> None:
        """Note that a file could be written; when that has lasted for long enough, say so."""
        outage, mono = file.outage, time.monotonic()
        if outage is None:
            return
        outage.over_at = outage.over_at or mono + PROBATION_S
        if mono < outage.over_at:
            return
        file.outage = None
        self._failing.discard(file.name)
        if not self._failing:
            self._context.report(None)
            log.warning("files %s: all can be written again; %d records missed", self._settings.path, self._missed)


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


async def open_files(settings: FilesSettings, context: Context) -> Writer:
    """Begin. Raises ConfigError where nothing can be written below the directory."""
    check_directory(settings.path, "files")
    return FilesWriter(settings, context)


SINK = Sink(
    TYPE,
    FilesSettings,
    open_files,
    kind="local",
    delivery=GATHERED,
    unique="path",
    is_recording=True,
    can_spill=False,
    example={"path": "/var/lib/aggregator/data", "keep": "30d", "keep_bytes": "500GB", "min_free": "10GB"},
)
