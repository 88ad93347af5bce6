"""Frames and answers that cannot be read: their content is missing, and those in a row are told as one gap.

More than so many in a second are no accident: the connection is of no use.
"""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from aggregator.errors import AggregatorError, Bomb
from aggregator.exchange import Event
from aggregator.records import SECOND_NS, Gap
from aggregator.session.moment import Now
from aggregator.session.topics import Origin, unread

KEPT = 16  # the latest ones are kept for the log
KEPT_BYTES = 4096  # so much of each is kept
MOST_A_SECOND = 100
EXPECTED = (
    AggregatorError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    OSError,
    MemoryError,
)  # a hostile frame can provoke these
LONGEST_RUN_NS = 10 * SECOND_NS  # after which one that goes on is told


class BadFrameSeen(Struct):
    """A frame that could not be read, kept for a look."""

    frame: bytes
    error: Exception
    ts: int


class Unread(Exception):
    """A frame is not read yet."""


def unread_yet(_: bytes) -> Iterable[Event]:
    """Stand in for a parser while frames cannot be read, so that each comes to where the first good one is noticed."""
    raise Unread


class UnreadableRun(Struct):
    """Frames one behind the other that could not be read: how many, the first of them, and the latest."""

    count: int = 0
    first: Now = Now(0, 0)
    latest: Now = Now(0, 0)

    def add(self, now: Now) -> None:
        """Count one more."""
        self.first = self.first if self.count else now
        self.latest = now
        self.count += 1

    def is_over(self, now: Now) -> bool:
        """Tell whether it is to be told although nothing good has come: it has ended, or lasts too long."""
        return self.count > 0 and (
            now.mono - self.latest.mono > SECOND_NS or now.mono - self.first.mono > LONGEST_RUN_NS
        )


class Unreadable:
    """The frames and answers of one connection that could not be read."""

    def __init__(self, place: Origin) -> None:
        self.count = 0
        self.run = UnreadableRun()
        self.seen: deque[BadFrameSeen] = deque(maxlen=KEPT)
        self._place = place
        self._gaps = 0
        self._bomb: str | None = None
        self._second = 0  # when the current second began (monotonic ns)
        self._within = 0  # how many have come within it

    def note(self, frame: bytes, error: Exception, now: Now) -> None:
        """Count one more."""
        self.count += 1
        if isinstance(error, EXPECTED):  # nobody looks where it was raised, and that would keep all of the frame
            error.__traceback__ = error.__context__ = None
        self.seen.append(BadFrameSeen(frame[:KEPT_BYTES], error, now.wall))
        if now.mono - self._second > SECOND_NS:
            self._second, self._within = now.mono, 0
        self._within += 1
        if isinstance(error, Bomb):
            self._bomb = str(error)

    def gap(self, count: int, now: Now) -> Gap:
        """The gap that stands for `count` unreadable ones in a row."""
        self._gaps += 1
        gap = unread(self._place, self._gaps, None, now)
        gap.missed = count
        return gap

    def take(self, now: Now) -> Gap | None:
        """The gap of the frames in a row that were counted last, if there are any: the next begin another one."""
        run = self.run
        if not run.count:
            return None
        self.run = UnreadableRun()
        gap = self.gap(run.count, now)
        gap.ts_from, gap.ts_to = min(run.first.wall, run.latest.wall), run.latest.wall
        return gap

    @property
    def is_flood(self) -> bool:
        """Tell whether more have come within a second than a connection is worth, or one that is no accident."""
        return self._within > MOST_A_SECOND or self._bomb is not None

    @property
    def words(self) -> str:
        """Why the connection is to be hung up."""
        return self._bomb or f"more than {MOST_A_SECOND} frames a second cannot be read"
