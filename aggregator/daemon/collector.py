"""The collector of garbage: it looks at what is new, and at all that lives only when memory says that it must.

A connection that ends frees itself, with its session and all topics, and nothing that is made of a frame refers to
itself. What only the collector can free is little: ends of sockets and requests, tracebacks. A look at all that lives
takes as long as there is of it, 20 ms for the program and 1 µs a topic, and meanwhile nothing is read. So where much
that is new has outlived a look, it is frozen, which takes no time: it is still freed when nothing refers to it any
more, but not looked at. What has come to be garbage among that shows in memory alone, and is looked for once that has
grown.
"""

import asyncio
import ctypes
import gc
import time
from collections.abc import Callable
from itertools import count

from aggregator.daemon.process import memory

LOOK_S = 0.5
SWEEP_LOOKS = 40  # a sweep at each so many looks
FULL_LOOKS = 7200  # at each so many it asks whether memory has grown
MANY = 4  # so many collections of the young since the last sweep: a look at what they have left would take long
LONG_S = 0.002  # so does the next sweep, where this one did
GROWN = 1.25  # times as much memory as after the last look at all


class Collector:
    """Whatever is known of its work; `sweep` runs for as long as the program does."""

    def __init__(self) -> None:
        """Listen to its collections."""
        self._young = 0  # collections since the last sweep, or since what they have left was frozen
        self._usual: int | None = None  # bytes of memory after the last look at all
        gc.callbacks.append(self._heard)

    def close(self) -> None:
        """Listen no more."""
        gc.callbacks.remove(self._heard)

    async def sweep(self) -> None:
        """Free what only the collector frees, a little each time."""
        give_back = _trimmer()
        try:
            for number in count(1):
                await asyncio.sleep(LOOK_S)
                if number % FULL_LOOKS == 0 and self._has_grown():
                    self.look_at_all()
                elif self._young >= MANY:
                    self.freeze()
                elif number % SWEEP_LOOKS == 0:
                    self.look_at_new()
                if number % SWEEP_LOOKS == 0:
                    give_back(0)
        finally:
            self.close()

    def look_at_new(self) -> None:
        """Collect what is not frozen; where that took long, freeze what is left of it."""
        begun = time.thread_time()
        gc.collect()
        self._young = 0
        if time.thread_time() - begun > LONG_S:
            self.freeze()

    def look_at_all(self) -> None:
        """Collect everything."""
        gc.unfreeze()
        gc.collect()
        self.freeze()
        self._usual = memory()

    def freeze(self) -> None:
        """Look at nothing any more that lives now."""
        gc.freeze()
        self._young = 0

    def _has_grown(self) -> bool:
        now = memory()
        if self._usual is None:
            self._usual = now
        return now is not None and self._usual is not None and now > GROWN * self._usual

    def _heard(self, phase: str, _: dict[str, int]) -> None:
        self._young += phase == "stop"


def _trimmer() -> Callable[[int], object]:
    """The C library's own way to give free memory back to the system, where it has one: else it keeps the most."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda _: None
