"""The process itself: how late its event loop is, and what it takes of the machine."""

import asyncio
import errno
import os
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from msgspec import Struct

from aggregator import __version__
from aggregator.daemon.logs import write_past_the_log

LOOK_S = 1.0  # between two looks at the loop
LEAVE_S = 4.6  # from a signal to the end of the process, whatever hangs
LAST_WORDS_S = 0.1  # more time, in which it is said
KEPT = 60  # looks: the greatest lag of the last minute is told
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Deadline:
    """A thread that ends the process some seconds after it is told to: a call into a disk may hang for ever.

    It is started beforehand, because there may be no room for a thread when a signal comes.
    """

    def __init__(self) -> None:
        """Start the thread, which waits. Raises OSError where that cannot be."""
        self._told: SimpleQueue[None] = SimpleQueue()  # a signal's handler may put something there at any moment
        try:
            threading.Thread(target=self._run, name="deadline", daemon=True).start()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, str(error)) from None

    def begin(self) -> None:
        """End the process some seconds from now, if it has not ended by then."""
        self._told.put(None)

    def _run(self) -> None:
        self._told.get()
        time.sleep(LEAVE_S)
        _leave_at_once()


def _leave_at_once() -> None:
    said = f"not stopped after {LEAVE_S:g} s, as something hangs: leaving at once; SIGUSR2 would have said what\n"
    write_past_the_log(said.encode(), LAST_WORDS_S)
    os._exit(1)


class ProcessStatus(Struct, frozen=True, kw_only=True):
    """The daemon's process.

    pid: its number
    version: of the program
    started: when (ns)
    uptime_s: seconds since then
    loop: the event loop that it runs on
    lag_ms: how late the loop was at the last look
    lag_max_ms: how late it was at most, of the last minute's looks
    memory_bytes: resident memory; null: the system does not tell
    open_files: descriptors that are in use; null: the system does not tell
    threads: of Python
    tasks: of the event loop
    """

    pid: int
    version: str
    started: int
    uptime_s: float
    loop: str
    lag_ms: float
    lag_max_ms: float
    memory_bytes: int | None
    open_files: int | None
    threads: int
    tasks: int


class Process:
    """Looks at the event loop once a second."""

    def __init__(self) -> None:
        self._started = time.time_ns()
        self._begun = time.monotonic()
        self._lags: deque[float] = deque(maxlen=KEPT)  # seconds

    async def watch(self) -> None:
        """Measure how late a timer comes, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self._lags.append(max(0.0, loop.time() - due))

    def status(self) -> ProcessStatus:
        """How it is now."""
        loop = asyncio.get_running_loop()
        return ProcessStatus(
            pid=os.getpid(),
            version=__version__,
            started=self._started,
            uptime_s=round(time.monotonic() - self._begun, 1),
            loop=type(loop).__module__.partition(".")[0],
            lag_ms=_ms(self._lags[-1] if self._lags else 0.0),
            lag_max_ms=_ms(max(self._lags, default=0.0)),
            memory_bytes=memory(),
            open_files=_open_files(),
            threads=threading.active_count(),
            tasks=len(asyncio.all_tasks(loop)),
        )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def memory() -> int | None:
    """Resident memory in bytes, where the system tells it."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    return None


def _open_files() -> int | None:
    with suppress(OSError):
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    return None
