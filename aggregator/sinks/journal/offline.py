"""A journal read where it lies, without a daemon: nothing in its directory is changed, and one may be writing it."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from aggregator.bus.history import Cursor
from aggregator.bus.selection import CHANNEL_NAMES, BadPattern, Selection, parse_pattern
from aggregator.records import Gap
from aggregator.sinks.journal.blocks import CLOSED, OPEN, NotReadable, OpenFile, read_head
from aggregator.sinks.journal.groups import ClosedFile
from aggregator.sinks.journal.reader import JournalReader
from aggregator.sinks.journal.segments import JournalSegment, ShelfView


class JournalPage(NamedTuple):
    """Lines of one epoch that follow each other, or the gap where something is missing."""

    epoch: str
    lines: list[bytes]
    gap: Gap | None


class StillShelf:
    """The segments as they lie in a directory at one moment."""

    def __init__(self, path: Path) -> None:
        """Look at them. Raises OSError, AnotherFormat."""
        self.unreadable: list[tuple[Path, str]] = []
        found: dict[int, Path] = {}
        for entry in sorted(path.iterdir()):  # a closed one comes before an open one of its number, and stays
            if entry.suffix in {OPEN, CLOSED} and entry.stem.isdecimal():
                found.setdefault(int(entry.stem), entry)
        kept = [segment for number, entry in sorted(found.items()) if (segment := self._seen(number, entry))]
        order: dict[str, int] = {}
        for segment in kept:
            order.setdefault(segment.epoch, len(order))
        self.view = ShelfView(tuple(kept), order)

    def _seen(self, number: int, path: Path) -> JournalSegment | None:
        try:
            if path.suffix == CLOSED:
                head = ClosedFile(path).head or read_head(path)
                return JournalSegment(number, path, head, size=path.stat().st_size)
            opened = OpenFile.seen(path)
        except FileNotFoundError:
            return None  # its daemon has just removed it
        except (NotReadable, OSError) as error:
            self.unreadable.append((path, str(error)))
            return None
        return JournalSegment(number, path, opened.head, opened) if opened.blocks else None


class StillJournal:
    """A journal's records, in order."""

    def __init__(self, path: Path) -> None:
        """Look at its segments. Raises OSError, AnotherFormat."""
        self._shelf = StillShelf(path)
        kept = self._shelf.view.kept
        self.unreadable = self._shelf.unreadable
        self.first = (kept[0].epoch, kept[0].first, kept[0].ts_first) if kept else ("", 0, 0)
        self._last = Cursor(kept[-1].epoch, kept[-1].last) if kept else None

    def pages(self, patterns: list[str], start: int) -> Iterator[JournalPage]:
        """Some topics as far as they are kept, from a time on. Raises OSError."""
        if self._last is None:
            return
        reader = JournalReader(self._shelf, self._last.epoch, ())
        wanted = Selection(map(parse_pattern, patterns))
        cursor = reader.at_time(start)[0] if start > 0 else reader.earliest()
        while cursor is not None:
            stretch = reader.read(cursor, wanted, until=self._last)
            if stretch.gap is not None:
                yield JournalPage(stretch.cursor.epoch, [], stretch.gap)
            if stretch.lines:
                yield JournalPage(stretch.cursor.epoch, stretch.lines, None)
            if stretch.is_over or stretch.is_end:
                return
            cursor = stretch.cursor


def is_journal(path: Path) -> bool:
    """Tell whether a directory holds the segments of a journal. Raises OSError."""
    return any(entry.suffix in {OPEN, CLOSED} and entry.stem.isdecimal() for entry in path.iterdir())


def pattern_of(channel: str, exchange: str | None, symbol: str | None) -> str:
    """A pattern that fits a topic; where a name cannot stand in one it fits more."""
    text = f"{channel}:{exchange or '*'}:{symbol or '*'}"
    try:
        parse_pattern(text)
    except BadPattern:
        return f"{channel}:*:*" if channel in CHANNEL_NAMES else "*:*:*"
    return text
