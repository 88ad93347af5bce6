"""The pace of writing to clients: what comes for one within a millisecond goes out together.

Most of what a write costs does not depend on its length. So a client of a port that was just written to waits for the
end of the millisecond that began then; one that was not is written to at once. A client of a unix socket does not wait,
as a write there costs half as much. But all clients together are written to only so often in a millisecond. Where there
are more they take turns: each is written to less often, and each write takes more with it. So however many clients
there are, the daemon has time for its exchanges.
"""

import asyncio
from typing import Protocol

GATHER_S = 0.001
MOST_WRITES = 40  # to unix sockets in that time, for all clients together: some quarter of a processor's time
TO_PORT = 2  # a write to a port counts as so many


class Paced(Protocol):
    """Whoever is written to at this pace."""

    def flush(self) -> None:
        """Write what there is now."""


class Pace:
    """The pace of all clients of a feed. One timer serves them all, and runs only while they are written to."""

    def __init__(self) -> None:
        self._written: set[Paced] = set()  # since the timer began
        self._waiting: dict[Paced, int] = {}  # for their turn, at its end: how much each counts
        self._room = MOST_WRITES  # until then
        self._timer: asyncio.TimerHandle | None = None

    def may_write_to_port(self, peer: Paced) -> bool:
        """Tell whether a client of a port may be written to now; else it is told to `flush` when it is its turn."""
        return self._may_write(peer, TO_PORT, is_early=peer in self._written)

    def may_write(self, peer: Paced) -> bool:
        """Tell the same of a client that may be written to more than once in a millisecond."""
        return self._may_write(peer, 1, is_early=False)

    def _may_write(self, peer: Paced, weight: int, *, is_early: bool) -> bool:
        if is_early or self._room <= 0 or peer in self._waiting:
            self._waiting[peer] = weight
            return False
        self._room -= weight
        self._written.add(peer)
        if self._timer is None:
            self._begin()
        return True

    def _begin(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._end)

    def _end(self) -> None:
        """Write to those whose turn it is."""
        turn: list[Paced] = []
        self._room = MOST_WRITES
        self._timer = None
        for peer, weight in self._waiting.items():
            if self._room <= 0:
                break
            self._room -= weight
            turn.append(peer)
        self._written = set(turn)
        if turn:
            self._begin()
        for peer in turn:
            del self._waiting[peer]
            peer.flush()
