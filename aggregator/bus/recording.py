"""The contract of whoever has a stream that is over, and the bus on which such a stream is told again.

A recording is read from a place on, as often as anybody likes. What it gives is told with the offsets, times and lines
that it had.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from msgspec import Struct

from aggregator.bus.bus import Batch, Bus
from aggregator.bus.history import Beginning, Cursor
from aggregator.bus.selection import Selection
from aggregator.bus.view import Wanted
from aggregator.records import Instrument, Record

Complain = Callable[[str], object]  # is told what cannot be read: the file, the line and the reason


class Excerpt(Struct):
    """Records of one epoch that follow each other.

    lines: each record as NDJSON, with its newline; null: they are to be written anew
    is_past: whether they come before the place where the reader begins: they are not told, and say how things stood
    """

    epoch: str
    records: Sequence[Record]
    lines: Sequence[bytes] | None = None
    is_past: bool = False


class Opening(Struct, frozen=True):
    """The state of a recording where it begins to be read, as far as it says so without being read.

    place: where it begins, or some place before
    topics: those that it is known to hold
    instruments: those in force
    """

    place: Cursor
    topics: Sequence[Wanted] = ()
    instruments: Sequence[Instrument] = ()


Excerpts = Generator[Excerpt, None, None]  # it is closed by the one who wants no more


class Replayable(Protocol):
    """A stream that is over. Its calls read from disk, and are made in a thread."""

    def opening(self, ts: int | None) -> Opening | None:
        """Tell what is known of the beginning, or of a time; null: there is nothing. Raises OSError."""

    def play(self, start: Beginning, wanted: Selection, complain: Complain) -> Excerpts:
        """Give what follows a place, of the topics that are wanted, with a gap where something cannot be read.

        The first excerpts may be of before that place, so that books are known there. Raises BadStart.
        """


class ReplayedBus(Bus):
    """A bus on which a recorded stream is told again: records keep their offsets, and come with their lines."""

    def __init__(self, epoch: str, offset: int) -> None:
        """Stand at a place of the stream."""
        super().__init__(epoch)
        self.offset = offset

    def move(self, place: Cursor) -> None:
        """Go on from another place."""
        self.epoch, self.offset = place.epoch, place.offset

    def replay(self, records: list[Record], lines: Sequence[bytes] | None) -> None:
        """Hand records on as they were published."""
        if not records:
            return
        self.offset = max(self.offset, records[-1].offset)
        batch = Batch(records, self.epoch) if lines is None else Reread(records, self.epoch, list(lines))
        for receive in self._receivers:
            receive(batch)


class Reread(Batch):
    """A batch whose lines are known."""

    __slots__ = ()

    def __init__(self, records: list[Record], epoch: str, lines: list[bytes]) -> None:
        """Hold records, and the line of each."""
        super().__init__(records, epoch)
        self._lines = lines
        self._blob = b"".join(lines)
