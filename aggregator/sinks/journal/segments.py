"""The segments of a journal, in the order in which they were written, and which of them are to go.

One thread adds to them and one closes and removes them; readers take the tuple as it stands at one moment.
"""

import logging
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Protocol

from aggregator.bus.history import Cursor, KeptTopic
from aggregator.records import SECOND_NS
from aggregator.sinks.believed_clock import LEAP_S, BelievedClock
from aggregator.sinks.journal.blocks import (
    CLOSED,
    OPEN,
    TEMPORARY,
    AnotherFormat,
    Block,
    Head,
    NotReadable,
    OpenFile,
    has_head,
    read_head,
)
from aggregator.sinks.journal.groups import ClosedFile, GroupPlace, Loaded, close_segment, load_block
from aggregator.sinks.journal.lives import Lives

BAD = ".bad"  # the end of the name of a file that cannot be read

log = logging.getLogger("aggregator.sinks.journal")


class JournalSegment:
    """One segment, open or closed.

    number: its place among all
    open_file: while it is not closed
    """

    def __init__(self, number: int, path: Path, head: Head, open_file: OpenFile | None = None, size: int = 0) -> None:
        self.number = number
        self.path = path
        self.epoch = head.epoch
        self.open_file = open_file
        self.head = head
        self._size = size

    @property
    def has_records(self) -> bool:
        return self.open_file is None or bool(self.open_file.blocks)

    @property
    def first(self) -> int:
        return self.head.first if self.open_file is None else self.open_file.blocks[0].first

    @property
    def last(self) -> int:
        return self.head.last if self.open_file is None else self.open_file.blocks[-1].last

    @property
    def ts_first(self) -> int:
        return self.head.ts_first if self.open_file is None else self.open_file.ts_first

    @property
    def ts_last(self) -> int:
        """The greatest time of its records."""
        return self.head.ts_last if self.open_file is None else self.open_file.blocks[-1].ts

    @property
    def is_end(self) -> bool:
        """Tell whether its last record is known to be the last of its epoch."""
        return self.head.is_end if self.open_file is None else self.open_file.is_end

    @property
    def size(self) -> int:
        """The bytes of its file."""
        return self._size if self.open_file is None else self.open_file.size


class Readable:
    """A segment, opened to be read: pages of records, and what is in each. A page is a block or a group."""

    def __init__(self, segment: JournalSegment) -> None:
        """Open it. Raises OSError, NotReadable."""
        self._file: OpenFile | ClosedFile = segment.open_file or ClosedFile(segment.path)

    @property
    def pages(self) -> Sequence[Block | GroupPlace]:
        return self._file.blocks

    @property
    def topics(self) -> Sequence[KeptTopic]:
        """Every topic that occurs, by its number."""
        return self._file.topics

    @property
    def is_damaged(self) -> bool:
        return self._file.is_damaged

    def groups_of(self, wanted: set[int]) -> set[int] | None:
        """The numbers of the pages in which any of these topics occurs; null: it may be in any."""
        return self._file.groups_of(wanted) if isinstance(self._file, ClosedFile) else None

    def load(self, page: Block | GroupPlace, wanted: set[int] | None, *, with_ids: bool) -> Loaded:
        """The records of a page, of these topics or of all. Raises OSError, NotReadable."""
        if isinstance(self._file, ClosedFile):
            return self._file.load(page, wanted, with_ids=with_ids)  # type: ignore[arg-type]
        return load_block(self._file, page, wanted, with_ids=with_ids)  # type: ignore[arg-type]


class ShelfView:
    """The segments as they stood at one moment; only the newest may grow."""

    def __init__(self, kept: tuple[JournalSegment, ...], order: dict[str, int]) -> None:
        """Know these, the oldest first, and the order of their epochs."""
        self._kept = kept
        self._order = order

    @property
    def kept(self) -> tuple[JournalSegment, ...]:
        """The segments that hold records, the oldest first."""
        kept = self._kept
        return kept if not kept or kept[-1].has_records else kept[:-1]

    @property
    def newest(self) -> JournalSegment | None:
        """The segment that was begun last, whether it holds records or not."""
        return self._kept[-1] if self._kept else None

    @property
    def epochs(self) -> int:
        """How many epochs they are of."""
        return len(self._order)

    def order(self, epoch: str) -> float:
        """The place of an epoch among those of the journal; of one that it does not know, between those by its name."""
        order = self._order
        if epoch in order:
            return order[epoch]
        return max((place for known, place in order.items() if known < epoch), default=-1) + 0.5

    def index_after(self, kept: Sequence[JournalSegment], cursor: Cursor) -> int:
        """The place among `kept` of the segment that holds what follows a cursor."""
        at = self.order(cursor.epoch), cursor.offset
        return bisect_right(kept, at, key=lambda segment: (self.order(segment.epoch), segment.last))


class Shelved(Protocol):
    """Whoever has segments."""

    @property
    def view(self) -> ShelfView: ...


class Shelf:
    """All segments of a directory."""

    def __init__(
        self,
        path: Path,
        *,
        keep_bytes: int,
        keep_ns: int,
        clock: Callable[[], int] = time.time_ns,
        before: str | None = None,
        close: Callable[[OpenFile, Path], Head] = close_segment,
    ) -> None:
        """Look after the segments below `path`, which is locked already.

        before: the epoch of the daemon's life before this one, as its state knows it, and as `Context` has it
        close: writes a closed segment
        """
        self._said_before = before
        self._clock = clock
        self._believed = BelievedClock(clock(), f"journal {path}", log)
        self._newest: int | None = (
            None  # the time of the newest record of before this life, until the clock is believed
        )
        self._close = close
        self.path = path
        self.expired = 0
        self._keep_bytes = keep_bytes
        self._keep_ns = keep_ns
        self._lock = Lock()
        self._number = 0
        self._kept: tuple[JournalSegment, ...] = ()
        self._view = ShelfView((), {})
        self.to_close: list[JournalSegment] = []
        self.lives: Lives
        self._before, self._is_whole = "", True  # the epoch before that of now, and whether all of it was written

    @property
    def view(self) -> "ShelfView":
        """The segments of this moment that hold records."""
        return self._view

    def size(self) -> int:
        """The bytes of all files."""
        return sum(segment.size for segment in self._kept)

    # --- at the start

    def recover(self) -> None:
        """Take up what former lives have left. Raises OSError; AnotherFormat where another version wrote it."""
        found: dict[int, Path] = {}
        for entry in sorted(self.path.iterdir()):
            if entry.name.startswith(".") and entry.name.endswith(f"{CLOSED}{TEMPORARY}"):
                entry.unlink(missing_ok=True)  # the life before may be ending yet, and removes its own
            elif entry.suffix in {OPEN, CLOSED} and entry.stem.isdecimal():
                number = int(entry.stem)
                if number in found:  # it was closed, and its writer died before it removed the open one
                    closed, left = sorted((found[number], entry), key=lambda path: path.suffix != CLOSED)
                    left.unlink()
                    entry = closed  # noqa: PLW2901 - the one that stays
                found[number] = entry
        kept: list[JournalSegment] = []
        for number, path in sorted(found.items()):
            segment = self._taken_up(number, path)
            if segment is not None:
                self._before, self._is_whole = segment.epoch, segment.is_end
                kept.append(segment)
            if not path.exists() and segment is None and not path.with_suffix(BAD).exists():
                continue  # it held nothing, and its number is given anew
            self._number = number
        self._change(kept)
        self.to_close = [segment for segment in kept if segment.open_file is not None]
        self._newest = kept[-1].ts_last if kept else None
        self.lives = Lives(self.path)
        if (life := self.lives.before) is not None and life.epoch != self._before:
            self._before, self._is_whole = life.epoch, False  # it left no segment
        if (said := self._said_before) is not None and said != self._before:
            self._before, self._is_whole = said or self._before, False  # it had no journal, or another one

    def _taken_up(self, number: int, path: Path) -> JournalSegment | None:
        """A segment that was left; null: nothing of it is of use."""
        try:
            if path.suffix == CLOSED:
                return JournalSegment(number, path, self._head_of(path), size=path.stat().st_size)
            if not has_head(path):  # its writer was killed before it had written one line
                path.unlink()
                self._is_whole = False
                return None
            opened, torn = OpenFile.found(path)
        except AnotherFormat:
            raise
        except (NotReadable, OSError) as error:
            log.error("journal: %s is left out: %s; a gap tells what is missing", path, error)  # noqa: TRY400
            path.rename(path.with_suffix(BAD))
            self._is_whole = False
            return None
        if torn:
            log.warning("journal: %s: %d bytes of a torn block cut off, which was being written", path, torn)
        if opened.blocks:
            return JournalSegment(number, path, opened.head, opened)
        if opened.is_end:  # a life without a record
            self._before, self._is_whole = opened.head.before, opened.head.is_whole
        else:  # it may have published what it could not write any more
            self._before, self._is_whole = opened.head.epoch, False
        path.unlink()
        return None

    def _head_of(self, path: Path) -> Head:
        """The head of a closed segment, which stands at its end as well. Raises OSError, AnotherFormat, NotReadable."""
        try:
            return read_head(path)
        except AnotherFormat:
            raise
        except NotReadable:
            head = ClosedFile(path).head
            if head is None:
                raise
            return head

    # --- as it grows

    def begin(self, epoch: str) -> OpenFile:
        """Begin a segment, in which what comes is written from now on. Raises OSError."""
        with self._lock:
            kept = list(self._kept)
            number = self._number + 1
            if kept and not kept[-1].has_records:
                number = kept[-1].number
                kept.pop().path.unlink(missing_ok=True)
            elif kept and kept[-1].open_file is not None and kept[-1] not in self.to_close:
                self.to_close.append(kept[-1])
            head = Head(epoch=epoch, before=self._before, is_whole=self._is_whole)
            opened = OpenFile.create(self.path / f"{number:012d}{OPEN}", head)
            self._number = number
            self._change([*kept, JournalSegment(number, opened.path, opened.head, opened)])
        return opened

    def close_one(self) -> bool:
        """Close the oldest segment that nobody writes to any more; whether there was one. Raises what keeps it."""
        if not self.to_close:
            return False
        segment = self.to_close[0]
        if segment.open_file is not None and segment in self._kept:
            path = segment.path.with_suffix(CLOSED)
            head = self._close(segment.open_file, path)
            closed = JournalSegment(segment.number, path, head, size=path.stat().st_size)
            with self._lock:
                self._change([closed if each is segment else each for each in self._kept])
            segment.path.unlink(missing_ok=True)
        del self.to_close[0]
        return True

    def expire(self) -> None:
        """Remove the oldest segments that are too old or too much; the newest always stays. Raises OSError."""
        now = self._clock()
        is_believed = self._is_believed(now)
        while True:
            with self._lock:
                kept = self._kept
                if len(kept) < 2:
                    return
                oldest, over = kept[0], self.size() > self._keep_bytes
                is_old = is_believed and oldest.has_records and _age_of(kept, now) > self._keep_ns
                if not over and not is_old:
                    return
                self._change(kept[1:])
                if oldest in self.to_close:
                    self.to_close.remove(oldest)
            oldest.path.unlink(missing_ok=True)
            self.expired += 1
            log.info("journal: %s removed: %s", oldest.path, "keep_bytes" if over else "keep")

    def _is_believed(self, now: int) -> bool:
        """Tell whether segments may go by the clock.

        At a start it is compared with what former lives have left: by a clock that is wrong what comes now is young.
        """
        there = self._view.kept
        if not there:
            return True
        newest = there[-1].ts_last if self._newest is None else self._newest
        found = self._believed.is_believed(now, newest=newest, keep=self._keep_ns)
        if found:
            self._newest = None
        return found

    def _change(self, kept: Sequence[JournalSegment]) -> None:
        order: dict[str, int] = {}
        for segment in kept:
            order.setdefault(segment.epoch, len(order))
        self._kept = tuple(kept)
        self._view = ShelfView(self._kept, order)


def _age_of(kept: Sequence[JournalSegment], now: int) -> int:
    """The age of the oldest segment; a time that is to come is of a clock that was wrong: it is as old as the next."""
    known = (segment.ts_last for segment in kept if segment.has_records)
    return now - next((ts for ts in known if ts <= now + LEAP_S * SECOND_NS), now)


def is_there(opened: OpenFile) -> bool:
    """Tell whether the file that is written to is still where it was."""
    try:
        there = os.lstat(opened.path)
    except OSError:
        return False
    mine = opened.identity
    return (there.st_dev, there.st_ino) == mine
