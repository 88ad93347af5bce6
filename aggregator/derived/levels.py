"""`book.10`: the best levels of a book, whole each time. `book.100ms`: all of them, whole, at an interval."""

import re
from collections.abc import Sequence

from aggregator.book import limit, within
from aggregator.bus.selection import BadPattern
from aggregator.derived.channel import Derived, Stamp, Start
from aggregator.derived.kept_book import KeptBook
from aggregator.records import BookSnapshot, Levels, Record

COUNT = re.compile(r"[1-9][0-9]{0,3}")


class BookLevels:
    """The machine: it says how the best levels are whenever they have changed."""

    due = 0

    def __init__(self, stamp: Stamp, count: int | None) -> None:
        """Tell this many levels a side; null: all."""
        self._stamp = stamp
        self._count = count
        self._kept = KeptBook()
        self._has_changed = False
        self._told: tuple[Levels, Levels] | None = None

    def take(self, record: Record) -> Sequence[Record]:
        """Take a record of the book."""
        self._has_changed |= self._kept.take(record)
        if self._kept.book is None:
            self._told, self._has_changed = None, False  # whatever comes next is news
        return ()

    def tick(self, _wall: int) -> Sequence[Record]:
        """Do nothing: no level changes by time."""
        return ()

    def news(self) -> BookSnapshot | None:
        """The best levels, if they have changed."""
        if not self._has_changed:
            return None
        self._has_changed = False
        found = self.current()
        if found is None or (found.bids, found.asks) == self._told:
            return None
        self._told = found.bids, found.asks
        return found

    def current(self) -> BookSnapshot | None:
        """The best levels; null while the book is in doubt."""
        kept, count = self._kept, self._count
        best = kept.best(count)
        if best is None or kept.last is None:
            return None
        bids, asks = best
        found = BookSnapshot(
            **self._stamp.of(kept.last),
            bids=within(bids, 1, kept.bid_floor),
            asks=within(asks, -1, kept.ask_cap),
            depth=count,
            bid_floor=kept.bid_floor,
            ask_cap=kept.ask_cap,
            reason="periodic",
        )
        limit(found)
        return found


def _read(parts: tuple[str, ...]) -> Start | None:
    if parts[0] != "book" or len(parts) > 2 or parts[-1].endswith("ms"):
        return None
    if len(parts) == 1:
        return lambda stamp: BookLevels(stamp, None)
    if not COUNT.fullmatch(parts[1]):
        raise BadPattern(f"{parts[1]!a:.40} is no number of levels; write book.10, or book.10.100ms: 1 to 9999 a side")
    count = int(parts[1])
    return lambda stamp: BookLevels(stamp, count)


LEVELS = Derived("book.N", "the best N levels a side, whole each time", "book", ("book",), _read)
