"""The pauses before a connection is made anew."""

import random

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0  # the longest that the first may take, and the longest of all


class Pauses:
    """The pauses before a connection is made anew: as long as chance has it, so that not all clients come at once."""

    def __init__(self) -> None:
        """Begin with the shortest."""
        self._tries = 0
        self._next = 0.0
        self._connected = 0.0

    def connected(self, now: float) -> None:
        """Take note that there is a connection; `now` in seconds of any clock."""
        self._connected = now

    def failed(self, now: float) -> None:
        """Take note that there is none; one that lasted has had nothing to do with the tries before."""
        if self._connected and now - self._connected > LONGEST_PAUSE_S:
            self._tries = 0
        self._connected = 0.0
        self._next = now + random.uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._tries, 10)))
        self._tries += 1

    def left(self, now: float) -> float:
        """Seconds until the next try."""
        return max(0.0, self._next - now)
