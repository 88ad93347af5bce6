"""The current files: what is written to each goes down whole or not at all, and few are open at a time."""

import errno
import os
import resource
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from threading import Lock

from msgspec import Struct

from aggregator.records import Record
from aggregator.sinks.notes import Footer
from aggregator.sinks.paths import closed_path
from aggregator.sinks.repair import set_aside

MOST_OPEN = 512
LOOK_S = 1.0  # between two looks whether a file that is written to is still there
APPEND = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
CREATE = APPEND | os.O_CREAT | os.O_EXCL
MODE = 0o644


class Vanished(OSError):
    """A current file was removed or changed by someone else."""


class Tally(Struct, frozen=True):
    """Records that are written together: how many of each kind, and the offsets of the first and the last of them."""

    counts: Mapping[type[Record], int]
    first: int
    last: int


class Segment:
    """One current file, from its header to its footer.

    slot: the period of time that it is for
    deadline: when it is to be closed, ns; whether or not anything comes for it
    has_footer: whether nothing but the final name is missing
    """

    def __init__(self, path: Path, *, ts: int, slot: int, deadline: int) -> None:
        """Nothing is on disk before the first write."""
        self.path = path
        self.slot = slot
        self.deadline = deadline
        self.size = 0
        self.records = 0
        self.fd: int | None = None
        self._ts = ts
        self._counts: Counter[type[Record]] = Counter()
        self._offset_first: int | None = None
        self._offset_last: int | None = None
        self._hash = sha256()
        self._torn = False
        self._seen_at = time.monotonic()
        self.has_footer = False

    def open(self) -> None:
        """Create the file, or go on with it. Raises OSError, Vanished among them."""
        if self.fd is not None:
            return
        if not self.size:
            self.fd = os.open(self.path, CREATE, MODE)
            return
        try:
            self.fd = os.open(self.path, APPEND)
        except FileNotFoundError as error:
            raise Vanished(error.errno, "removed by someone else", str(self.path)) from error
        if os.fstat(self.fd).st_size < self.size:
            raise Vanished(0, "cut by someone else", str(self.path))

    def append(self, blob: bytes, tally: Tally) -> None:
        """Write whole lines, some records' among them. Raises OSError; then nothing of them stays."""
        self._look()
        self._put(blob)
        self._hash.update(blob)
        self._counts.update(tally.counts)
        self.records += sum(tally.counts.values())
        self._offset_first = tally.first if self._offset_first is None else self._offset_first
        self._offset_last = tally.last

    def _look(self) -> None:
        """See once a second that the file is still where it was. Raises Vanished where it is not."""
        now = time.monotonic()
        if self.size and now - self._seen_at >= LOOK_S:
            self._seen_at = now
            self._be_there()

    def _be_there(self) -> None:
        mine = os.fstat(self._fd())
        try:
            there = self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            raise Vanished(errno.ENOENT, "removed or moved by someone else", str(self.path)) from None
        if (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            raise Vanished(errno.ENOENT, "replaced by someone else", str(self.path))

    def _put(self, blob: bytes) -> None:
        fd = self._fd()
        if self._torn:
            self._cut(fd)
        rest = memoryview(blob)
        try:
            while rest:
                rest = rest[os.write(fd, rest) :]
        except OSError:
            self._torn = True
            self._cut(fd)
            raise
        self.size += len(blob)

    def _cut(self, fd: int) -> None:
        os.ftruncate(fd, self.size)
        self._torn = False

    def _fd(self) -> int:
        if self.fd is None:
            raise ValueError(f"{self.path} is not open")
        return self.fd

    def finish(self, ts: int) -> Path:
        """Write the footer and give the file its final name. Raises OSError; then it may be called again."""
        if not self.has_footer:
            tags = {str(kind.__struct_config__.tag): n for kind, n in self._counts.items()}
            footer = Footer(
                records=self.records,
                by_type=tags,
                offset_first=self._offset_first,
                offset_last=self._offset_last,
                size=self.size,
                hash=self._hash.hexdigest(),
                ts=ts,
            )
            self._put(footer.line())
            self.has_footer = True
        self._be_there()
        closed = closed_path(self.path, self._ts, self._offset_first or 0)
        self.path.rename(closed)
        return closed

    def release(self) -> None:
        """Give the descriptor back; the file can be gone on with."""
        if self.fd is not None:
            fd, self.fd = self.fd, None
            os.close(fd)


class Segments:
    """Every segment of one sink, of which those used last are open.

    One thread works with it; others may look at `owned` while they hold `lock`.
    """

    def __init__(self, aside: Callable[[Path], None]) -> None:
        """Leave most descriptors of the process to others; `aside` is told of a file that had to make room."""
        self._aside = aside
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = max(1, min(MOST_OPEN, soft // 4)) if soft != resource.RLIM_INFINITY else MOST_OPEN
        self._open: OrderedDict[Segment, None] = OrderedDict()
        self.owned: set[Path] = set()
        self.lock = Lock()

    def begin(self, segment: Segment, blob: bytes, tally: Tally) -> None:
        """Create a segment's file with its first lines. Raises OSError; then there is no file."""
        with self.lock:
            segment.path.parent.mkdir(parents=True, exist_ok=True)
            if left := set_aside(segment.path):
                self._aside(left)
            segment.open()
            self.owned.add(segment.path)
        try:
            segment.append(blob, tally)
        except OSError:
            segment.path.unlink(missing_ok=True)
            self.forget(segment)
            raise
        self._used(segment)

    def append(self, segment: Segment, blob: bytes, tally: Tally) -> None:
        """Write whole lines to a segment. Raises OSError."""
        segment.open()
        self._used(segment)
        segment.append(blob, tally)

    def finish(self, segment: Segment, ts: int) -> Path:
        """Close a segment; where its file is now. Raises OSError."""
        segment.open()
        self._used(segment)
        closed = segment.finish(ts)
        self.forget(segment)
        return closed

    def forget(self, segment: Segment) -> None:
        """Have no more to do with a segment."""
        self._open.pop(segment, None)
        with self.lock:
            self.owned.discard(segment.path)
        segment.release()

    def _used(self, segment: Segment) -> None:
        self._open[segment] = None
        self._open.move_to_end(segment)
        while len(self._open) > self._most:
            self._open.popitem(last=False)[0].release()
