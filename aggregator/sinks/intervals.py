"""Files of one record type, day and exchange, all of which appear whole when an interval is over: how such sinks write.

Until then the records of the interval are in memory and in files without a name, which a killed daemon loses, and a
full disk too. Therefore the place of a sink that spills stays where the interval began, and the journal gives its
records once more. Without a journal a gap tells what a full disk has cost, and a marker on the disk says that an
interval has begun: who finds it at the next start tells a gap.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from aggregator.bus.history import Cursor
from aggregator.records import SECOND_NS, Gap
from aggregator.sinks.directory import lock_directory
from aggregator.sinks.files_settings import Age, Period
from aggregator.sinks.notes import Loss, overflow, sink_gap
from aggregator.sinks.paths import Scope
from aggregator.sinks.sink import Batch, Context, Retry, Writer
from aggregator.sinks.upkeep import Merge, Upkeep
from aggregator.sinks.values import Bytes, Count, FilePath
from aggregator.sinks.worker import Worker
from aggregator.tables.tree import DAY_NS, TableForm, TableTree, day_name

MARKER = ".interval"  # the file that says which interval has begun and is not over
TICK_S = 1.0  # between two looks whether an interval is over
GATHERED = 65_536  # records that wait one by one, of all files together; then they become columns
PROBE_BYTES = 16_000_000  # a disk that was full must have so much room before the sink goes on
AGAIN_ROWS = GATHERED  # files of what comes again hold so many records at first: a disk may have room for a part

log = logging.getLogger("aggregator.sinks.intervals")


class IntervalSettings(Struct, frozen=True, kw_only=True):
    """The keys of every such sink.

    path: the directory below which all is written; no other sink may have it
    rotate_every: files appear at each multiple of this, UTC; it divides a day: `"15m"`, `"1h"`, `"1d"`, or seconds
    rotate_rows: they appear earlier where so many records have come
    book_levels: whether books come level by level besides, a row each, as the type `book_levels`
    keep: files go when the day that they are of ended so long ago, like `"30d"`; by default they stay
    keep_bytes: the oldest files go while all take more than this; by default they stay
    min_free: the oldest files go while the disk has less than this left; by default they stay
    """

    path: FilePath
    rotate_every: Period = 3600.0
    rotate_rows: Count = 5_000_000
    book_levels: bool = False
    keep: Age | None = None
    keep_bytes: Bytes | None = None
    min_free: Bytes | None = None


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


class IntervalWriter(Writer):
    """Everything is done by the sink's own thread, one call after the other; old files are another thread's."""

    def __init__(
        self,
        type: str,
        settings: IntervalSettings,
        form: TableForm,
        context: Context,
        *,
        load: Callable[[], None] = lambda: None,
        merge: Merge | None = None,
    ) -> None:
        """Write files of a form for the sink of this type.

        load: loads what the form needs, in the sink's own thread
        merge: makes one file of those of a folder; null: they stay as they are
        """
        self._type = type
        self._settings = settings
        self._form = form
        self._load = load
        self._context = context
        self._name = context.name
        self._clock = context.clock
        self._every = round(settings.rotate_every * SECOND_NS)
        self._comes_again = (
            context.delivery.when_full == "spill"
        )  # the journal gives once more all that has no name yet
        self._root: int | None = None  # its descriptor holds the lock on the directory
        self._tree: TableTree | None = None  # null: nothing has come since the last files
        self._interval: Interval | None = None  # the tree holds its records
        self._since: Interval | None = None  # the oldest interval whose records, or the gap for them, have no name yet
        self._place: Cursor | None = None  # where the stream was before that; null: all that came has its name
        self._deadline = 0
        self._taken = self._waiting = 0  # records of the interval; of these, about so many that are no columns yet
        self._most = settings.rotate_rows  # an interval is over with so many
        self._last = (0, 0)  # the offset and `ts_recv` of the newest
        self._owed: list[tuple[str, Gap]] = []  # the gaps that the next files are to tell, with their epochs
        self._stale: set[str] = set()  # stems of files whose records come again
        self._is_failing = False
        self._failure: OSError | None = None  # the interval comes again, to another writer
        self._worker = Worker(type)
        self._keeper = Worker(f"{type}-keep")
        self._upkeep = Upkeep(
            settings.path,
            context.name,
            (settings.keep, settings.keep_bytes, settings.min_free),
            context.clock,
            suffixes=form.suffixes,
            may_merge=lambda: not (self._stale or self._is_failing),  # else some of the files may have to go
            removed=context.remove,
            emptied=lambda folder: self._worker.put(partial(_remove_empty, folder)),
            merge=merge,
        )
        self._is_asked = False  # the keeper has something to do
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
            if self._failure is not None:
                self._context.fail(self._failure)
                return
            if not self._is_asked:
                self._is_asked = True
                self._keeper.put(self._look_behind)

    async def write(self, batch: Batch) -> None:
        """Take a batch. Raises Retry, OSError."""
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
        self._upkeep.stopping.set()
        self._worker.put(self._finish)
        try:
            await self._worker.do(lambda: None)
        finally:
            self._worker.stop()
            try:
                await self._keeper.do(self._release)
            finally:
                self._keeper.stop()

    # --- in the keeper's thread -------------------------------------------------------------------------------------

    def _look_behind(self) -> None:
        self._upkeep.look()
        self._is_asked = False

    # --- in the sink's thread ---------------------------------------------------------------------------------------

    def _claim(self) -> None:
        self._load()
        self._root = lock_directory(self._settings.path)
        left = self._left()
        if left is None:
            return
        unnamed, whole = list(self._files(left, is_whole=False)), any(self._files(left, is_whole=True))
        for path in unnamed:
            path.unlink(missing_ok=True)
        if self._comes_again:
            self._stale.add(left.stem)
            self._most = min(AGAIN_ROWS, self._most)
        elif unnamed or not whole:  # files get their names when all are written: these are not all there
            died = [ts for (epoch, _), ts in self._context.deaths.items() if epoch == left.epoch]
            now = max(died, default=self._clock())
            gap = sink_gap(
                self._type,
                Scope(),
                gap_id=f"{self._type}:{left.epoch}:{left.offset}-end",
                cause="restart",
                ts=(left.ts, max(left.ts, now)),
                offset=left.offset,
            )
            self._owed.append((left.epoch, gap))
            self._since = left
            log.warning("%s: what a former run had not finished is lost; a gap tells it", self._name)
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
        pattern = f"{interval.stem}-[0-9]*" if is_whole else f".{interval.stem}-*"
        for day in self._settings.path.glob("type=*/date=*"):
            if day.name >= first:
                yield from day.glob(f"*/{pattern}")

    def _take(self, batch: Batch, before: Cursor | None) -> None:
        """Take a batch, before which the stream was at this place.

        Raises Retry, where nothing of it was taken; OSError, where all behind `lasting` has to come again.
        """
        interval = self._interval
        is_over = self._clock() >= self._deadline or self._taken >= self._most
        if interval is not None and (is_over or interval.epoch != batch.epoch):
            self._rotate()
        if self._failure is not None:
            raise self._failure
        try:
            tree = self._tree or self._begin(batch)
            self._reach_back(batch)
            self._place = self._place or before
            tree.add(batch.records, batch.epoch)
            self._waiting += len(batch)
            if self._waiting >= GATHERED:
                tree.gather()
                self._waiting = 0
        except Exception as error:
            self._fail(error)
            raise (self._failure or Retry(str(error))) from error
        self._taken += len(batch)
        self._last = batch.last, max(self._last[1], *batch.times)

    def _reach_back(self, batch: Batch) -> None:
        """Have a kill be told from as early on as the gaps of a batch begin, which are lost with it. Raises OSError.

        Those that open there, and those of the queue: of one that closes the beginning was written before.
        """
        interval, since = self._interval, self._since
        gaps = [each for each in batch.records if isinstance(each, Gap)]
        told = [gap.ts_from for gap in gaps if gap.phase == "open" or gap.conn == self._type]
        ts = min([batch.earliest, *told])
        if interval is None or since is None or ts >= interval.ts:
            return
        is_earliest, interval.ts = ts < since.ts, ts
        if is_earliest:
            since.ts = ts
            self._mark(structs.replace(since, stem=interval.stem))

    def _begin(self, batch: Batch | None = None) -> TableTree:
        """Begin an interval: that of a batch, or one that has nothing to tell but gaps. Raises OSError."""
        if self._is_failing or self._stale:
            self._probe()
        if batch is not None:
            stem = f"{batch.epoch.replace('.', '-')}-{batch.first}"
            interval = Interval(stem, batch.epoch, batch.first - 1, batch.earliest)
        else:
            epoch, gap = self._owed[0]
            interval = Interval(f"{epoch.replace('.', '-')}-{gap.offset}-lost", epoch, gap.offset, gap.ts_from)
        self._mark(interval if self._since is None else structs.replace(self._since, stem=interval.stem))
        tree = TableTree(
            self._settings.path, interval.stem, self._form, file_rows=sys.maxsize, has_levels=self._settings.book_levels
        )
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
        """Give every file its name; where that fails, see `_fail`. It raises nothing."""
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
        self._most = min(2 * self._most, self._settings.rotate_rows)
        if self._is_failing:
            self._is_failing = False
            self._context.report(None)
            log.warning("%s: can be written again", self._name)

    def _remove_stale(self, interval: Interval, made: set[Path]) -> None:
        """Remove files of a former life whose records have come again, or will: those of these are not there twice."""
        for stem in {interval.stem, *self._stale}:
            for path in list(self._files(structs.replace(interval, stem=stem), is_whole=True)):
                if path not in made:
                    path.unlink(missing_ok=True)
        self._stale.clear()

    def _fail(self, error: Exception) -> None:
        """Let go of the interval: it comes again, or the next files tell what is missing, which the log says once."""
        tree, interval = self._tree, self._interval
        self._tree = self._interval = None
        if tree is not None:
            tree.abandon()
        if self._comes_again:
            for path in [] if tree is None else tree.paths:
                with suppress(OSError):  # then it goes when its records have come again
                    path.unlink(missing_ok=True)
            if self._place is not None:
                self._failure = error if isinstance(error, OSError) else OSError(repr(error))
            return
        if tree is not None and interval is not None and self._taken:
            lost = max(0, self._taken - tree.kept)
            loss = Loss(lost, interval.offset + 1, self._last[0], interval.ts, self._last[1])
            if lost:
                self._owed.append((interval.epoch, overflow(self._type, interval.epoch, loss, Scope())))
            self._context.lose(lost)
        self._taken = 0
        if not self._is_failing:
            said = error if isinstance(error, OSError) else repr(error)
            log.error("%s: cannot be written: %s; a gap will tell what is lost", self._name, said)
        self._is_failing = True
        self._context.report(str(error))

    def _finish(self) -> None:
        """Give every file its name; what cannot have one goes. It raises nothing."""
        self._rotate()
        if self._tree is not None:
            self._tree.abandon()

    def _release(self) -> None:
        """Let others have the directory."""
        if self._root is not None:
            with suppress(OSError):
                os.close(self._root)
            self._root = None


def _remove_empty(folder: Path) -> None:
    """Remove a folder of an exchange, and those above it, where nothing is in them any more."""
    with suppress(OSError):  # it is not empty
        for path in (folder, *list(folder.parents)[:2]):
            path.rmdir()


async def open_intervals(writer: IntervalWriter) -> IntervalWriter:
    """Begin with a writer. Raises OSError."""
    try:
        await writer.begin()
    except BaseException:
        await writer.close()
        raise
    return writer
