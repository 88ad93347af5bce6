"""A clock by which old files are removed: one that is wrong would take all of them, and none comes back."""

import logging
import time

from aggregator.records import SECOND_NS

LEAP_S = 3600.0  # a clock that gains more than this between two looks has leapt
DOUBT_S = 86_400.0  # such a clock is not believed for so long


class BelievedClock:
    """Says whether files may go by the clock.

    It is in doubt where it has leapt ahead, or where by it not even the newest file is young enough to stay. A clock
    that goes back takes nothing; when it is set right again, that is a leap like any other.
    """

    def __init__(self, now: int, where: str, log: logging.Logger) -> None:
        """Begin at a moment, in ns, that is believed until something speaks against it.

        where: the files' owner, as `log` calls it
        """
        self._where = where
        self._log = log
        self._ahead = now / SECOND_NS - time.monotonic()  # by so many seconds, while it is believed
        self._doubted_at: float | None = None

    def is_believed(self, now: int, *, newest: int, keep: int) -> bool:
        """Tell whether files may go by this clock; `newest` is the time of the newest of them, all in ns."""
        elapsed = time.monotonic()
        ahead = now / SECOND_NS - elapsed
        if ahead - self._ahead <= LEAP_S and newest + keep > now:
            self._ahead, self._doubted_at = ahead, None
            return True
        if self._doubted_at is None:
            self._doubted_at = elapsed
            if DOUBT_S:
                said = "the clock is far ahead of the newest file, or of itself: nothing goes by age"
                self._log.warning("%s: %s for %.0f s", self._where, said, DOUBT_S)
        if elapsed - self._doubted_at < DOUBT_S:
            return False
        self._ahead = ahead
        return True
