"""The end of old files: the oldest closed ones go when they are too old, take too much, or the disk is nearly full.

It knows nothing between two rounds but how far it is: others may add and remove files as they like. A round looks at
every file below the directory, a few at a time, and at its end removes what must go, a few at a time as well.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import zstandard

from aggregator.records import SECOND_NS
from aggregator.sinks.believed_clock import BelievedClock
from aggregator.sinks.closer import ZST, Closer
from aggregator.sinks.files_settings import FilesSettings
from aggregator.sinks.notes import HEADER
from aggregator.sinks.paths import SUFFIX
from aggregator.sinks.segment import Segments

NAME = re.compile(rf"-(\d{{8}}T\d{{6}}Z)-(\d+)(?:-\d+)?{re.escape(SUFFIX)}(?:{re.escape(ZST)})?\Z")
LOOKED_AT = 500  # files in one look: some milliseconds
REMOVED = 50  # files in one look, at most
MOST = 5000  # the oldest files, which a round remembers; if all of them go, the next round follows at once
PAUSE_S = 60.0  # between two rounds

log = logging.getLogger("aggregator.sinks.files")


def free_bytes(path: Path) -> int:
    """The bytes that others than root may still write to the disk of a directory. Raises OSError."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


class Closed(NamedTuple):
    """A file with the name of a closed one; the oldest is the least.

    stamp: when it was begun, as its name says it
    offset: of its first record
    """

    stamp: str
    offset: int
    path: str
    size: int

    @property
    def begun(self) -> int:
        """The stamp in ns; a stamp that is no time is one that never grows old."""
        try:
            return round(datetime.strptime(self.stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()) * SECOND_NS
        except ValueError:
            return 1 << 63


class Retention:
    """Keeps the files of one sink within `keep`, `keep_bytes` and `min_free`; all of it in the closer's thread."""

    def __init__(
        self,
        settings: FilesSettings,
        closer: Closer,
        segments: Segments,
        clock: Callable[[], int],
        removed: Callable[[int], None],
        *,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        """Look after the files of these; `removed` is told how many have gone, `free` asks the disk."""
        self._settings = settings
        self._root = settings.path
        self._closer = closer
        self._segments = segments
        self._clock = clock
        self._removed = removed
        self._free = free
        self._keep = None if settings.keep is None else round((settings.keep + settings.rotate_every) * SECOND_NS)
        self._walk: Iterator[os.DirEntry[str]] | None = None
        self._found: list[Closed] = []
        self._count = self._bytes = 0  # closed files that this round has seen, and bytes of all files of this sink
        self._going: Iterator[tuple[Closed, str]] | None = None
        self._next_round = 0.0
        self._is_said = False
        self._newest = ""  # the stamp of the newest closed file that this round has seen
        self._believed = BelievedClock(clock(), f"files {self._root}", log)
        self.is_asked = False

    @property
    def has_limits(self) -> bool:
        """Tell whether anything is ever to go."""
        settings = self._settings
        return not settings.keep is settings.keep_bytes is settings.min_free is None

    def look(self) -> None:
        """Do a little of what there is to do; it raises nothing."""
        self.is_asked = False
        if self._closer.stopping.is_set():
            return
        try:
            if self._going is not None:
                self._remove_some(self._going)
            elif self._walk is not None:
                self._look_at_some(self._walk)
            elif time.monotonic() >= self._next_round:
                self._count = self._bytes = 0
                self._newest = ""
                self._walk = _files(self._root)
                self._look_at_some(self._walk)
        except OSError as error:
            self._walk = self._going = None
            self._next_round = time.monotonic() + PAUSE_S
            log.error("files %s: old files cannot be removed: %s", self._root, error)  # noqa: TRY400 - no fault of ours

    def _look_at_some(self, walk: Iterator[os.DirEntry[str]]) -> None:
        for _ in range(LOOKED_AT):
            entry = next(walk, None)
            if entry is None:
                self._walk, self._going = None, self._due()
                self._remove_some(self._going)
                return
            self._take(entry)

    def _take(self, entry: os.DirEntry[str]) -> None:
        if not entry.name.endswith((SUFFIX, SUFFIX + ZST)):
            return
        try:
            size = entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            return
        name = NAME.search(entry.name)
        if name is None:  # a current file counts, and stays; another's does neither
            self._bytes += size if Path(entry.path) in self._segments.owned else 0
            return
        self._bytes += size
        self._count += 1
        self._newest = max(self._newest, name[1])
        self._found.append(Closed(name[1], int(name[2]), entry.path, size))
        if len(self._found) >= 2 * MOST:
            self._keep_oldest()

    def _keep_oldest(self) -> None:
        self._found.sort()
        del self._found[MOST:]

    def _due(self) -> Iterator[tuple[Closed, str]]:
        """Name what must go, the oldest first, and why. Raises OSError."""
        self._keep_oldest()
        found, self._found = self._found, []
        settings, now = self._settings, self._clock()
        over = 0 if settings.keep_bytes is None else self._bytes - settings.keep_bytes
        short = 0 if settings.min_free is None else settings.min_free - self._free(self._root)
        # The disk is not asked again for each file: it may tell late what has become free, and then all would go.
        more = self._count > len(found)
        keep = self._keep if found and self._is_believed(now) else None
        for closed in found:
            if keep is not None and closed.begun + keep <= now:
                why = "is older than keep"
            elif over > 0:
                why = "all take more than keep_bytes"
            elif short > 0:
                why = "the disk has less than min_free left"
            else:
                more = False
                break
            over -= closed.size
            if self._may_go(Path(closed.path)):
                short -= closed.size
                yield closed, why
        self._say(over, short)
        self._next_round = time.monotonic() + (0.0 if more else PAUSE_S)

    def _is_believed(self, now: int) -> bool:
        """Tell whether files may go by the clock: it is in doubt where by it not even the newest is to stay."""
        newest = Closed(self._newest, 0, "", 0).begun
        return self._keep is not None and self._believed.is_believed(now, newest=newest, keep=self._keep)

    def _say(self, over: int, short: int) -> None:
        """Log once that nothing more can go, though something should."""
        is_stuck = self._count <= MOST and (over > 0 or short > 0)
        if is_stuck and not self._is_said:
            limit = "the disk has less than min_free left" if short > 0 else "files take more than keep_bytes"
            log.warning("files %s: %s, and no closed file of this sink is left to be removed", self._root, limit)
        self._is_said = is_stuck

    def _may_go(self, path: Path) -> bool:
        """Tell whether it is a file of this sink that is closed and done with. Raises OSError."""
        with suppress(FileNotFoundError):
            return path not in self._closer.pending and _begins_as_ours(path)
        return False

    def _remove_some(self, going: Iterator[tuple[Closed, str]]) -> None:
        for _ in range(REMOVED):
            closed, why = next(going, (None, ""))
            if closed is None:
                self._going = None
                return
            self._remove(closed, why)

    def _remove(self, closed: Closed, why: str) -> None:
        path = Path(closed.path)
        try:
            path.unlink()
        except FileNotFoundError:
            return
        self._closer.unfinished.discard(path)
        self._removed(1)
        log.info("%s: removed: %s (%d bytes)", path, why, closed.size)
        with self._segments.lock, suppress(OSError):  # it is not empty; and no file may just be begun there
            for directory in path.parents:
                if directory == self._root:
                    break
                directory.rmdir()


def _files(root: Path) -> Iterator[os.DirEntry[str]]:
    """Every regular file below a directory; what cannot be read is left out, the sweep at the start has named it."""
    waiting = [str(root)]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry


def _begins_as_ours(path: Path) -> bool:
    """Tell whether a file, compressed or not, begins with the header that this sink writes. Raises OSError."""
    with path.open("rb") as file:
        if path.suffix != ZST:
            return file.read(len(HEADER)) == HEADER
        with suppress(zstandard.ZstdError):
            return bool(zstandard.ZstdDecompressor().stream_reader(file).read(len(HEADER)) == HEADER)
    return False
