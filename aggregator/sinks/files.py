"""The `files` sink: NDJSON files by a template, turned over by size and time, each with a header and a footer."""

import asyncio
import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec import Struct

from aggregator.bus.bus import Bus, Group, Tap
from aggregator.errors import ConfigError
from aggregator.sinks.closer import Closer
from aggregator.sinks.notes import FileHeader, encode, header_of, overflow
from aggregator.sinks.paths import NS, SUFFIX, Template
from aggregator.sinks.repair import Deaths
from aggregator.sinks.routes import DAY, SINK, Chunk, File, Outage, Routes
from aggregator.sinks.segment import Segment, Segments, Vanished
from aggregator.sinks.settings import FilesSettings
from aggregator.sinks.worker import Worker

PAUSE = 0.005  # seconds in which batches gather: sorted in small groups, they keep no frame waiting
HOLD = 0.01  # seconds in which a file's records gather: the most that it is behind while the disk keeps up
TICK = 1.0  # seconds between looks at what is due by time
GRACE = 2 * NS  # after the end of a period; late records still find their file
FIRST_BACKOFF = 1.0  # seconds before a file that could not be written is tried again; doubles
LONGEST_BACKOFF = 30.0
PROBATION = 10.0  # seconds that it must then be written without an error; nearly full disks take some and refuse some
LAST_WORK = 1.5  # seconds that closed files may take at the end; the next start does the rest

log = logging.getLogger("aggregator.sinks.files")


class FilesStatus(Struct):
    """How the sink is; for whoever watches it.

    failing: what keeps it from writing some file; null: nothing
    missed: records that it could not write, or that its tap lost
    reopen: set it, and every file is closed within a second; new ones are begun with what comes
    """

    failing: str | None = None
    missed: int = 0
    reopen: bool = False


class _Job(Struct):
    """A task of the thread for one file: to write a chunk, after a header if a segment begins, or to close it."""

    file: File
    chunk: Chunk | None
    header: FileHeader | None
    close: bool


class _Files:
    """One sink: what is decided on the loop is done in its own thread, and then the loop decides again.

    Sorting goes on while the thread writes: nothing is added to a chunk that has been handed over.
    """

    def __init__(
        self, settings: FilesSettings, bus: Bus, clock: Callable[[], int], status: FilesStatus, deaths: Deaths
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._clock = clock
        self._status = status
        self._every = round(settings.rotate_every * NS)
        self._routes = Routes(Template(settings.template), self._every, bus.epoch)
        self._segments = Segments(self._hand_over)
        self._closer = Closer(settings.path, self._segments, clock, compress=settings.compress, deaths=deaths)
        self._root: int | None = None  # its descriptor holds the lock on the directory
        self._failing: set[str] = set()
        self._touched: dict[File, None] = {}  # files that have records to be written
        self._held = 0  # records that are sorted and not yet written
        self._lost = 0  # records that the tap has lost since the last write
        self._ended = False
        self._touch = asyncio.Event()  # there is something to write, or nothing more will come
        self._enough = asyncio.Event()  # it is not to wait for more
        self._room = asyncio.Event()
        self._tick_at = self._retry_at = 0.0
        self._day = clock() // DAY
        self._writer = Worker("files-write")
        self._closing = Worker("files-close")

    # --- on the loop ------------------------------------------------------------------------------------------------

    async def sort(self, tap: Tap) -> None:
        """Sort what comes into its files, until the stream ends; wait while too much of it is unwritten."""

        def sort_many() -> None:
            if self._held < self._settings.queue:
                self._sort(tap.take())

        tap.drain_with(sort_many)
        async for group in tap.groups(PAUSE):
            self._sort(group)
            while self._held >= self._settings.queue:
                self._room.clear()
                await self._room.wait()
        self._ended = True
        self._touch.set()
        self._enough.set()

    def _sort(self, group: Group) -> None:
        self._lost += 0 if group.lost is None else group.lost.missed
        self._touched |= self._routes.sort(group)
        self._held += group.count
        self._touch.set()
        if self._held >= self._settings.queue // 2:
            self._enough.set()

    async def write(self) -> None:
        """Write what is sorted and close what is due, until the stream has ended; then close every file."""
        with suppress(OSError):  # the first file that is to be written says what is wrong
            await self._writer.do(self._claim)
        while not self._ended or self._touched:
            if await _is_set(self._touch, TICK):
                await _is_set(self._enough, HOLD)
            await self._write_touched()
            await self._tick()
        await self._finish()

    async def _write_touched(self) -> None:
        touched, self._touched = self._touched, {}
        held, self._status.missed, self._lost = self._held, self._status.missed + self._lost, 0
        if not self._ended:
            self._touch.clear()
            self._enough.clear()
        await self._have_done([(file, False) for file in touched])
        self._held -= held
        self._room.set()

    async def _tick(self) -> None:
        """Close what is due by time, try again what failed."""
        mono, now = time.monotonic(), self._clock()
        if mono < self._tick_at:
            return
        self._tick_at = mono + TICK
        due: list[tuple[File, bool]] = []
        reopen, self._status.reopen = self._status.reopen, False
        for file in self._routes:
            is_over = file.segment is not None and (reopen or file.segment.deadline <= now)
            if is_over:
                self._routes.tell(file)
            if is_over or (file.outage is not None and file.outage.retry_at <= mono):
                due.append((file, is_over))
        await self._have_done(due)
        if reopen:
            count = sum(is_over for _, is_over in due)
            log.info(
                "files %s: %d files are closed as was asked; new ones begin with what comes", self._settings.path, count
            )
        if self._day != now // DAY:
            self._day = now // DAY
            self._routes.forget_idle()
        if self._closer.unfinished and mono >= self._retry_at:
            self._retry_at = mono + LONGEST_BACKOFF
            self._closing.put(self._closer.retry)

    async def _finish(self) -> None:
        """Close every file; what cannot be compressed soon is left for the next start."""
        open_files = [file for file in self._routes if file.segment is not None or file.outage is not None]
        for file in open_files:
            if file.outage is not None:
                file.outage.retry_at = 0.0
            if file.segment is not None:
                self._routes.tell(file)
        await self._have_done([(file, True) for file in open_files])
        if owing := [file.name for file in open_files if file.outage is not None and file.outage.over_at is None]:
            log.error(
                "files %s: the end of %d files could not be written: %s", self._settings.path, len(owing), owing[0]
            )
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORK):
                await self._closing.do(lambda: None)

    def stop(self) -> None:
        """End the threads after what they are at."""
        self._closer.stopping.set()
        self._writer.stop()
        self._closing.put(self._release)
        self._closing.stop()

    async def _have_done(self, due: list[tuple[File, bool]]) -> None:
        """Have the thread write, and where it says so close, these files."""
        jobs: list[_Job] = []
        for file, close in due:
            for job in self._jobs(file, close=close):
                jobs.append(job)
                if job.header is not None:
                    await asyncio.sleep(0)  # books take long to collect
                if job.header is not None and job.header.books:
                    await self._writer.do(partial(self._do_all, jobs))  # and are large
                    jobs = []
        if jobs:
            await self._writer.do(partial(self._do_all, jobs))

    def _jobs(self, file: File, *, close: bool) -> Iterator[_Job]:
        chunks, file.chunks = file.chunks, []
        outage = file.outage
        if outage is not None and time.monotonic() < outage.retry_at:
            for chunk in chunks:
                self._drop(outage, chunk)
            return
        if not chunks and outage is not None and outage.loss is not None:
            chunks = [Chunk(outage.loss.ts_to // self._every)]
        slot = file.segment.slot if file.segment is not None and not file.segment.has_footer else None
        for chunk in chunks:
            header = None
            if slot is None or chunk.slot > slot:
                slot, header = chunk.slot, header_of(self._bus, file.place, self._clock())
            yield _Job(file, chunk, header, close=close and chunk is chunks[-1])
        if not chunks:
            yield _Job(file, None, None, close=close)

    # --- in the writer's thread -------------------------------------------------------------------------------------

    def _claim(self) -> None:
        """Lock the directory, once: two daemons would repair each other's files. Raises OSError."""
        if self._root is not None:
            return
        self._root = _lock(self._settings.path)
        self._closing.put(self._closer.sweep)

    def _release(self) -> None:
        if self._root is not None:
            os.close(self._root)

    def _hand_over(self, closed: Path) -> None:
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

    def _append(self, file: File, chunk: Chunk, header: FileHeader | None) -> None:
        """Write a chunk, behind the gap that an outage left. Raises OSError."""
        owed = []
        if file.outage is not None and file.outage.loss is not None:
            owed.append(overflow(SINK, self._bus.epoch, file.outage.loss, file.place))
        tally, lines = chunk.tally(*owed), [*(encode(gap) + b"\n" for gap in owed), *chunk.lines]
        if header is not None:
            first = (*owed, chunk.first)[0]
            left = 0 if first is None else (chunk.slot + 1) * self._every - first.ts_recv  # by the records' own clock
            deadline = header.ts + max(left, 0) + GRACE
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

    def _fail(self, file: File, chunk: Chunk | None, error: OSError) -> None:
        """Go on without this file for a while; say so when it is the first."""
        outage = file.outage = file.outage or Outage()
        outage.wait = min(outage.wait * 2 or FIRST_BACKOFF, LONGEST_BACKOFF)
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
        self._status.failing = f"{file.name}: {error}"

    def _drop(self, outage: Outage, chunk: Chunk) -> None:
        loss = chunk.loss()
        if loss is not None:
            outage.loss = loss if outage.loss is None else outage.loss + loss
            self._status.missed += loss.missed

    def _go_on(self, file: File) -> None:
        """It could be written: when that has lasted, say so."""
        outage, mono = file.outage, time.monotonic()
        if outage is None:
            return
        outage.over_at = outage.over_at or mono + PROBATION
        if mono < outage.over_at:
            return
        file.outage = None
        self._failing.discard(file.name)
        if not self._failing:
            self._status.failing = None
            missed = self._status.missed
            log.warning("files %s: all can be written again; %d records missed", self._settings.path, missed)


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def _lock(path: Path) -> int:
    """A descriptor of a directory, made where it is missing, that holds the only lock on it. Raises OSError."""
    path.mkdir(parents=True, exist_ok=True)
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(root)
        raise BlockingIOError(error.errno, "another process writes there", str(path)) from error
    return root


def check_directory(path: Path) -> None:
    """Write below a directory, to see whether that can be done; nothing stays of it. Raises ConfigError.

    A full disk is no reason not to start: it may have room later, and what it costs is counted.
    """
    try:
        root = _lock(path)
        try:
            probe = os.open(f".probe-{os.getpid()}", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=root)
            os.close(probe)
            os.unlink(f".probe-{os.getpid()}", dir_fd=root)
        finally:
            os.close(root)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise ConfigError(f"files cannot be written below {path}: {error.strerror}") from error


async def write_files(
    settings: FilesSettings,
    bus: Bus,
    tap: Tap,
    *,
    clock: Callable[[], int] = time.time_ns,
    status: FilesStatus | None = None,
    deaths: Deaths | None = None,
) -> None:
    """Write until the stream ends, then close every file. Raises ConfigError for a wrong template, and no OSError.

    clock: ns since the epoch
    deaths: of runs that were killed, from when on the stream itself tells what is missing of an exchange
    """
    files = _Files(settings, bus, clock, status or FilesStatus(), deaths or {})
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(files.sort(tap))
            both.create_task(files.write())
    finally:
        files.stop()
