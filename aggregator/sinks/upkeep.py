"""The days that lie behind a sink of tables: the oldest go when they are too many, and small files become one.

All of it is done in a thread of its own, a round after the other, and never while files appear of which a former life
may have left others.
"""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from threading import Event

from aggregator.records import SECOND_NS
from aggregator.sinks.believed_clock import BelievedClock
from aggregator.sinks.retention import free_bytes
from aggregator.tables.merging import NOTE, mend_folder
from aggregator.tables.tree import DAY_NS

PAUSE_S = 600.0  # between two rounds
SPARE_BYTES = 256_000_000  # a disk on which less would be left has no files merged
QUIET_S = 600.0  # a folder is left alone until nothing in it has changed for so long

Merge = Callable[[Path, Callable[[], bool]], int]  # makes one file of a folder's, unless it is to stop; how many

log = logging.getLogger("aggregator.sinks.upkeep")


class Upkeep:
    """Keeps a sink's directory within `keep`, `keep_bytes` and `min_free`, and merges the files of days that are over.

    stopping: is set when nothing more is to be begun
    """

    def __init__(
        self,
        root: Path,
        name: str,
        limits: tuple[float | None, int | None, int | None],
        clock: Callable[[], int],
        *,
        suffixes: tuple[str, ...],
        may_merge: Callable[[], bool],
        removed: Callable[[int], None],
        emptied: Callable[[Path], None],
        merge: Merge | None = None,
    ) -> None:
        """Look after a directory; `limits` are seconds, bytes and free bytes, or null.

        suffixes: how the names of its files end
        may_merge: whether files may be merged now
        removed: is told how many files have gone
        emptied: is told of a folder that may be empty now
        merge: makes one file of a folder's, and tells of how many; null: they stay
        """
        self._root, self._name, self._clock = root, name, clock
        keep, self._keep_bytes, self._min_free = limits
        self._keep = None if keep is None else round(keep * SECOND_NS)
        self._removed, self._emptied, self._merge = removed, emptied, merge
        self._suffixes, self._may_merge = suffixes, may_merge
        self._is_mended = False  # nothing is left of what a former life has begun to merge
        self._believed = BelievedClock(clock(), name, log)
        self._next_round = 0.0
        self._merged: dict[Path, int] = {}  # folders that were looked at, and when they had changed last
        self._is_said = False
        self.stopping = Event()

    def look(self) -> None:
        """Do what there is to do, if it is time; it raises nothing."""
        if time.monotonic() < self._next_round or self.stopping.is_set():
            return
        try:
            if not self._is_mended:
                for note in list(self._root.glob(f"type=*/date=*/*/{NOTE}")):
                    mend_folder(note.parent)
                self._is_mended = True
            self._remove_old()
            if self._merge is not None:
                self._merge_all(self._merge)
        except Exception as error:  # noqa: BLE001 - of the disk, or of pyarrow; the sink itself goes on
            said = error if isinstance(error, OSError) else repr(error)
            log.error("%s: old files cannot be looked after: %s", self._name, said)  # noqa: TRY400 - no fault of ours
        self._next_round = time.monotonic() + PAUSE_S

    def _days(self) -> dict[int, list[Path]]:
        """The folders of each day, the oldest first; a day is counted from 1970 on."""
        days: dict[int, list[Path]] = {}
        for path in self._root.glob("type=*/date=*"):
            day = _day(path.name.removeprefix("date="))
            if day is not None:
                days.setdefault(day, []).append(path)
        return dict(sorted(days.items()))

    def _remove_old(self) -> None:
        if self._keep is self._keep_bytes is self._min_free is None:
            return
        days, now = self._days(), self._clock()
        newest = (max(days, default=0) + 1) * DAY_NS
        is_believed = (
            self._keep is not None and bool(days) and self._believed.is_believed(now, newest=newest, keep=self._keep)
        )
        over = 0
        if self._keep_bytes is not None:
            over = (
                sum(size for folders in days.values() for _, _, size in _files(folders, self._suffixes))
                - self._keep_bytes
            )
        short = 0 if self._min_free is None else self._min_free - free_bytes(self._root)
        for day, folders in days.items():
            is_old = is_believed and self._keep is not None and (day + 1) * DAY_NS + self._keep <= now
            for _, path, size in sorted(_files(folders, self._suffixes)):
                if not (is_old or over > 0 or short > 0) or self.stopping.is_set():
                    return
                path.unlink(missing_ok=True)
                over, short = over - size, short - size
                self._removed(1)
                why = "is older than keep" if is_old else "all take too much"
                log.info("%s: removed: %s (%d bytes)", path, why, size)
            for exchange in [each for folder in folders for each in folder.iterdir()]:
                self._emptied(exchange)
        if (over > 0 or short > 0) and not self._is_said:
            log.warning("%s: files take too much, and none of this sink is left to be removed", self._name)
        self._is_said = over > 0 or short > 0

    def _merge_all(self, merge: Merge) -> None:
        today = self._clock() // DAY_NS
        for day, folders in self._days().items():
            for folder in [each for each in _folders(folders) if day < today]:
                changed = folder.stat().st_mtime_ns
                if self._merged.get(folder) == changed or changed / SECOND_NS + QUIET_S > time.time():
                    continue
                if self.stopping.is_set() or not self._may_merge():
                    return
                if not self._has_room(folder):
                    continue
                try:
                    if count := merge(folder, self.stopping.is_set):
                        log.info("%s: %d files are one now", folder, count)
                except Exception as error:  # noqa: BLE001 - of the disk, or of pyarrow; its files stay as they are
                    log.error("%s: its files cannot be merged: %s", folder, error)  # noqa: TRY400 - no fault of ours
                self._merged[folder] = folder.stat().st_mtime_ns

    def _has_room(self, folder: Path) -> bool:
        """Tell whether the disk takes a folder once more, and enough is left for the sink itself."""
        size = sum(size for _, _, size in _whole_files(folder, self._suffixes))
        return free_bytes(self._root) - size >= max(self._min_free or 0, SPARE_BYTES)


def _day(text: str) -> int | None:
    try:
        return round(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * SECOND_NS // DAY_NS
    except ValueError:
        return None


def _folders(days: list[Path]) -> Iterator[Path]:
    for day in days:
        yield from (path for path in sorted(day.iterdir()) if path.is_dir() and not path.is_symlink())


def _files(days: list[Path], suffixes: tuple[str, ...]) -> Iterator[tuple[int, Path, int]]:
    """The whole files of a day: when each was written, and its size."""
    for folder in _folders(days):
        yield from _whole_files(folder, suffixes)


def _whole_files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[int, Path, int]]:
    for path in folder.iterdir():
        told = path.lstat()
        if path.name.endswith(suffixes) and not path.name.startswith(".") and S_ISREG(told.st_mode):
            yield told.st_mtime_ns, path, told.st_size
