"""The `parquet` sink: files of one record type, day and exchange, all of which appear whole when an interval is over.

Until then the records of the interval are in memory and in files without a name, which a killed daemon loses. Therefore
the place of a sink that spills stays where the interval began, and the journal gives its records once more. Without a
journal a marker on the disk says that an interval has begun: who finds it at the next start tells a gap.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Struct, structs
from pydantic import Field

from aggregator.bus.history import Cursor
from aggregator.records import SECOND_NS, Gap
from aggregator.sinks.directory import check_directory, lock_directory
from aggregator.sinks.files_settings import Period
from aggregator.sinks.notes import Loss, overflow, sink_gap
from aggregator.sinks.paths import Scope
from aggregator.sinks.sink import LOCAL, Batch, Context, Retry, Sink, Writer
from aggregator.sinks.values import Count, FilePath
from aggregator.sinks.worker import Worker
from aggregator.tables.parquet import DAY_NS, LEVEL, SUFFIX, ParquetTree, day_name

TYPE = "parquet"
MARKER = ".interval"  # the file that says which interval has begun and is not over
TICK_S = 1.0  # between two looks whether an interval is over
GATHERED = 65_536  # records that wait one by one, of all files together; then they become columns
PROBE_BYTES = 16_000_000  # a disk that was full must have so much room before the sink goes on

log = logging.getLogger("aggregator.sinks.parquet")


class ParquetSettings(Struct, frozen=True, kw_only=True):
    """Parquet files by record type, day and exchange, as [research](research.md) reads them.

    path: the directory below which all is written; no other sink may have it
    rotate_every: files appear at each multiple of this, UTC; it divides a day: `"15m"`, `"1h"`, `"1d"`, or seconds
    rotate_rows: they appear earlier where so many records have come
    level: of the compression by zstd: 1 is the fastest, 22 the smallest
    """

    path: FilePath
    rotate_every: Period = 3600.0
    rotate_rows: Count = 20_000_000
    level: Annotated[int, Field(ge=1, le=22)] = LEVEL


class Interval(Struct):
    """An interval, as its marker tells it.

    stem: the names of its files begin so
    epoch, offset: the place before its first record
    ts: the `ts_recv` of that
    """

    stem: str
    epoch: str
    offset: int
    ts: int


class ParquetWriter(Writer):
    """Everything is done by the sink's own thread, one call after the other."""

    def __init__(self, settings: ParquetSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._clock = context.clock
        self._every = round(settings.rotate_every * SECOND_NS)
        self._comes_again = (
            context.delivery.when_full == "spill"
        )  # the journal gives once more all that has no name yet
        self._root: int | None = None  # its descriptor holds the lock on the directory
        self._tree: ParquetTree | None = None  # null: nothing has come since the last files
        self._interval: Interval | None = None  # the tree holds its records
        self._since: Interval | None = None  # the oldest interval whose records, or the gap for them, have no name yet
        self._place: Cursor | None = None  # where the stream was before that; null: all that came has its name
        self._deadline = 0
        self._taken = self._waiting = 0  # records of the interval; of these, about so many that are no columns yet
        self._last = (0, 0)  # the offset and `ts_recv` of the newest
        self._owed: list[tuple[str, Gap]] = []  # the gaps that the next files are to tell, with their epochs
        self._stale: set[str] = set()  # stems of files whose records come again
        self._is_failing = False
        self._worker = Worker(TYPE)
        self._task: asyncio.Task[None] | None = None

    # --- on the loop ------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Lock the directory, and look what a former life has left. Raises OSError."""
        await self._worker.do(self._claim)
        self._task = asyncio.get_running_loop().create_task(self._look(), name=self._context.name)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self._worker.do(self._tick)

    async def write(self, batch: Batch) -> None:
        """Take a batch. Raises Retry."""
        await self._worker.do(partial(self._take, batch, self._context.place()))

    def lasting(self) -> Cursor | None:
        return self._place

    async def flush(self) -> None:
        """Give every file its name."""
        await self._worker.do(self._rotate)

    def reopen(self) -> bool:
        """Have every file appear now."""
        self._worker.put(self._rotate)
        return True

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._worker.put(self._release)
        try:
            await self._worker.do(lambda: None)
        finally:
            self._worker.stop()

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        import pyarrow.parquet  # noqa: F401 - it takes long to load, and here nobody waits for it

        self._root = lock_directory(self._settings.path)
        left = self._left()
        if left is None:
            return
        unnamed, whole = list(self._files(left, is_whole=False)), any(self._files(left, is_whole=True))
        for path in unnamed:
            path.unlink(missing_ok=True)
        if self._comes_again:
            self._stale.add(left.stem)
        elif unnamed or not whole:  # files get their names when all are written: these are not all there
            died = [ts for (epoch, _), ts in self._context.deaths.items() if epoch == left.epoch]
            now = max(died, default=self._clock())
            gap = sink_gap(
                TYPE,
                Scope(),
                gap_id=f"{TYPE}:{left.epoch}:{left.offset}-end",
                cause="restart",
                ts=(left.ts, max(left.ts, now)),
                offset=left.offset,
            )
            self._owed.append((left.epoch, gap))
            self._since = left
            log.warning("parquet %s: what a former run had not finished is lost; a gap tells it", self._settings.path)
            self._rotate()
        else:
            (self._settings.path / MARKER).unlink(missing_ok=True)

    def _left(self) -> Interval | None:
        """The interval that a former life has not ended; null: there is none, or nothing is known of it."""
        try:
            return msgspec.json.decode((self._settings.path / MARKER).read_bytes(), type=Interval)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def _files(self, interval: Interval, *, is_whole: bool) -> Iterator[Path]:
        """The files of an interval, with or without their names: those of its day, or later."""
        first = f"date={day_name(interval.ts // DAY_NS - 1)}"
        pattern = f"{interval.stem}-*{SUFFIX}" if is_whole else f".{interval.stem}-*"
        for day in self._settings.path.glob("type=*/date=*"):
            if day.name >= first:
                yield from day.glob(f"*/{pattern}")

    def _take(self, batch: Batch, before: Cursor | None) -> None:
        """Take a batch, before which the stream was at this place. Raises Retry, where nothing of it was taken."""
        interval = self._interval
        is_over = self._clock() >= self._deadline or self._taken >= self._settings.rotate_rows
        if interval is not None and (is_over or interval.epoch != batch.epoch):
            self._rotate()
        try:
            tree = self._tree or self._begin(batch)
            self._place = self._place or before
            tree.add(batch.records, batch.epoch)
            self._waiting += len(batch)
            if self._waiting >= GATHERED:
                tree.gather()
                self._waiting = 0
        except Exception as error:
            self._fail(error)
            raise Retry(str(error)) from error
        self._taken += len(batch)
        self._last = batch.last, max(self._last[1], batch.records[-1].ts_recv)

    def _begin(self, batch: Batch | None = None) -> ParquetTree:
        """Begin an interval: that of a batch, or one that has nothing to tell but gaps. Raises OSError."""
        if self._is_failing:
            self._probe()
        if batch is not None:
            stem = f"{batch.epoch.replace('.', '-')}-{batch.first}"
            interval = Interval(stem, batch.epoch, batch.first - 1, batch.records[0].ts_recv)
        else:
            epoch, gap = self._owed[0]
            interval = Interval(f"{epoch.replace('.', '-')}-{gap.offset}-lost", epoch, gap.offset, gap.ts_from)
        self._mark(interval if self._since is None else structs.replace(self._since, stem=interval.stem))
        tree = ParquetTree(self._settings.path, interval.stem, file_rows=sys.maxsize, level=self._settings.level)
        for epoch, gap in self._owed:
            tree.add([gap], epoch)
        self._tree, self._interval = tree, interval
        self._since = self._since or interval
        self._taken = self._waiting = 0
        self._last = interval.offset, interval.ts
        self._deadline = (self._clock() // self._every + 1) * self._every
        return tree

    def _probe(self) -> None:
        """See whether a disk that was full has room again. Raises OSError."""
        path = self._settings.path / ".probe"
        try:
            with path.open("wb") as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            path.unlink(missing_ok=True)

    def _mark(self, interval: Interval) -> None:
        """Note on the disk that an interval has begun. Raises OSError."""
        path = self._settings.path / MARKER
        new = path.with_name(f"{MARKER}.new")
        with new.open("wb") as file:
            file.write(msgspec.json.encode(interval))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def _tick(self) -> None:
        if self._tree is not None and self._clock() >= self._deadline:
            self._rotate()

    def _rotate(self) -> None:
        """Give every file its name; where that fails, the next ones tell what is missing. It raises nothing."""
        try:
            if self._tree is None and self._owed:
                self._begin()
            tree, interval = self._tree, self._interval
            if tree is None or interval is None:
                return
            tree.close()
            if self._comes_again:
                self._remove_stale(interval, set(tree.paths))
            (self._settings.path / MARKER).unlink(missing_ok=True)
        except Exception as error:  # noqa: BLE001 - of the disk, or of pyarrow
            self._fail(error)
            return
        self._tree = self._interval = self._since = self._place = None
        self._owed.clear()
        self._taken = 0
        if self._is_failing:
            self._is_failing = False
            self._context.report(None)
            log.warning("parquet %s: can be written again", self._settings.path)

    def _remove_stale(self, interval: Interval, made: set[Path]) -> None:
        """Remove files of a former life whose records have come again, or will: those of these are not there twice."""
        for stem in {interval.stem, *self._stale}:
            for path in list(self._files(structs.replace(interval, stem=stem), is_whole=True)):
                if path not in made:
                    path.unlink(missing_ok=True)
        self._stale.clear()

    def _fail(self, error: Exception) -> None:
        """Let go of the interval, and note what is missing; say so when it is the first time."""
        tree, interval = self._tree, self._interval
        self._tree = self._interval = None
        if tree is not None:
            tree.abandon()
        if tree is not None and interval is not None and self._taken:
            lost = max(0, self._taken - tree.kept)
            loss = Loss(lost, interval.offset + 1, self._last[0], interval.ts, self._last[1])
            if lost:
                self._owed.append((interval.epoch, overflow(TYPE, interval.epoch, loss, Scope())))
            self._context.lose(lost)
        self._taken = 0
        if not self._is_failing:
            said = error if isinstance(error, OSError) else repr(error)
            log.error("parquet %s: cannot be written: %s; a gap will tell what is lost", self._settings.path, said)
        self._is_failing = True
        self._context.report(str(error))

    def _release(self) -> None:
        """Finish, and let others have the directory. It raises nothing."""
        self._rotate()
        if self._tree is not None:
            self._tree.abandon()
        if self._root is not None:
            with suppress(OSError):
                os.close(self._root)
            self._root = None


async def open_parquet(settings: ParquetSettings, context: Context) -> Writer:
    """Begin. Raises ConfigError where nothing can be written below the directory, OSError."""
    check_directory(settings.path, TYPE)
    writer = ParquetWriter(settings, context)
    try:
        await writer.begin()
    except BaseException:
        await writer.close()
        raise
    return writer


SINK = Sink(
    TYPE,
    ParquetSettings,
    open_parquet,
    kind="local",
    delivery=structs.replace(LOCAL, queue=400_000, batch_records=10_000, batch_bytes=10_000_000, batch_age=1.0),
    unique="path",
    example={"path": "/var/lib/aggregator/parquet"},
    module="pyarrow",
)
