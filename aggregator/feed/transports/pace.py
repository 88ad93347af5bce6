"""The pace of writing to ports: what comes for one client within a millisecond goes out together.

Most of what a write to a port costs does not depend on its length. So a client that was just written to waits for the
end of the millisecond that began then; one that was not is written to at once.
"""

import asyncio
from typing import Protocol

GATHER_S = 0.001


class Paced(Protocol):
    """Whoever is written to at this pace."""

    def flush(self) -> None:
        """Write what there is now."""


class Pace:
    """The pace of all clients of a port. One timer serves them all, and runs only while they are written to."""

    def __init__(self) -> None:
        self._written: set[Paced] = set()  # since the timer began
        self._waiting: dict[Paced, None] = {}  # for its end
        self._timer: asyncio.TimerHandle | None = None

    def may_write(self, peer: Paced) -> bool:
        """Tell whether a peer may be written to now; else it is told to `flush` within a millisecond."""
        if peer in self._written:
            self._waiting[peer] = None
            return False
        self._written.add(peer)
        if self._timer is None:
            self._begin()
        return True

    def _begin(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._end)

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, {}
        self._written = set(waiting)
        self._timer = None
        if waiting:
            self._begin()
        for peer in waiting:
            peer.flush()
