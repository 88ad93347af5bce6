"""Frames and answers that cannot be read: what each held is missing, and those that come together are told as one gap.

More than so many in a second are no accident: the connection is of no use.
"""

from collections import deque

from msgspec import Struct

from aggregator.errors import Bomb
from aggregator.records import Gap
from aggregator.topics import Now, Place, unread

SECOND = 1_000_000_000
KEPT = 16  # of the latest, for a look
KEPT_BYTES = 4096  # of each
MOST_A_SECOND = 100


class BadFrameSeen(Struct):
    """A frame that could not be read, kept for a look."""

    frame: bytes
    error: Exception
    ts: int


class Unreadable:
    """What one connection has brought that could not be read."""

    def __init__(self, place: Place) -> None:
        """Nothing yet."""
        self.count = 0
        self.seen: deque[BadFrameSeen] = deque(maxlen=KEPT)
        self._place = place
        self._gaps = 0
        self._bomb: str | None = None
        self._second = 0  # when a second began in which
        self._within = 0  # so many have come

    def note(self, frame: bytes, error: Exception, now: Now) -> None:
        """One more."""
        self.count += 1
        self.seen.append(BadFrameSeen(frame[:KEPT_BYTES], error, now.wall))
        if now.mono - self._second > SECOND:
            self._second, self._within = now.mono, 0
        self._within += 1
        if isinstance(error, Bomb):
            self._bomb = str(error)

    def gap(self, count: int, now: Now) -> Gap:
        """What is to be told of those that came together, one behind the other."""
        self._gaps += 1
        gap = unread(self._place, self._gaps, None, now)
        gap.missed = count
        return gap

    @property
    def is_flood(self) -> bool:
        """Whether more have come within a second than a connection is worth, or one that is no accident."""
        return self._within > MOST_A_SECOND or self._bomb is not None

    @property
    def words(self) -> str:
        """Why the connection is to be hung up."""
        return self._bomb or f"more than {MOST_A_SECOND} frames a second cannot be read"
