"""The signals that do not end a daemon; SIGTERM and SIGINT do, in `daemon/daemon.py`.

`__main__.py` takes care of the moments before anything is imported.
"""

import asyncio
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

from aggregator import SERVICES
from aggregator.daemon.logs import write_past_the_log

if TYPE_CHECKING:
    from aggregator.daemon.daemon import Daemon

PAUSE_S = 1.0  # within this time a signal is obeyed once, however often it comes
MOST_TASKS = 1000  # so many have their stacks written
DEEPEST = 100  # frames of one stack

log = logging.getLogger("aggregator.daemon")


def after_the_loop() -> None:
    """Ignore all signals from now on: the program is ending already."""
    if not SERVICES.isdisjoint(sys.argv[1:2]):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)


def hear(number: int, act: Callable[[], object], *, at_once: Callable[[], object] | None = None) -> None:
    """Have the running loop do something whenever a signal comes; when it has ended, the signal means nothing.

    A handler of the loop's own would go with the loop, and a signal that comes then would end the process by itself.

    at_once: what is done even where the loop is in a call that blocks
    """
    loop = asyncio.get_running_loop()

    def heard(*_: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(act)
        if at_once is not None:
            at_once()

    signal.signal(number, heard)


def heed(daemon: "Daemon") -> None:
    """Answer to SIGHUP, SIGUSR1 and SIGUSR2 while the loop runs."""
    loop = asyncio.get_running_loop()
    hear(signal.SIGHUP, Spaced(loop, daemon.changes.reload_soon))
    hear(signal.SIGUSR1, Spaced(loop, daemon.reopen))
    # not by the loop, because stacks are asked for when the loop does not turn
    others = None if daemon.workers is None else daemon.workers.write_stacks
    signal.signal(signal.SIGUSR2, StackWriter(loop, others))


class Spaced:
    """Does at once what a signal asks for, and once more at the end of a second in which it asks again."""

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Callable[[], object]) -> None:
        self._loop = loop
        self._act = act
        self._timer: asyncio.TimerHandle | None = None
        self._is_asked = False

    def __call__(self) -> None:
        """Act now, or at the end of the second that has begun."""
        if self._timer is not None:
            self._is_asked = True
            return
        self._act()
        self._timer = self._loop.call_later(PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        if self._is_asked:
            self._is_asked = False
            self()


class StackWriter:
    """Writes what everything is at to standard error, past the log, and once in a second at most."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, others: Callable[[], object] | None = None, name: str = ""
    ) -> None:
        """Prepare.

        others: has other processes write theirs
        name: of this process, where there are others
        """
        self._loop = loop
        self._others = others
        self._name = name
        self._next = 0.0

    def __call__(self, _: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PAUSE_S
        lines = "".join(f"{line}\n" for line in stacks(self._loop, frame))
        if self._name:
            lines = lines.replace("stacks:", f"stacks: {self._name}:")
        write_past_the_log(lines.encode("utf-8", "backslashreplace"))
        if self._others is not None:
            self._others()


def stacks(loop: asyncio.AbstractEventLoop, frame: FrameType | None = None) -> Iterator[str]:
    """The stack of every thread and task, a line each frame, the innermost last.

    frame: of the main thread, where a signal interrupted it
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()  # noqa: SLF001 - documented, and the only way to other threads' stacks
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    yield f"stacks: {len(frames)} threads, {len(tasks)} tasks"
    main = threading.main_thread().ident
    for ident, found in frames.items():
        yield f"stacks: thread {names.get(ident, ident)}"
        yield from _lines(_outwards(frame if ident == main and frame is not None else found))
    for task in tasks[:MOST_TASKS]:
        yield f"stacks: task {task.get_name()}"
        yield from _lines(_awaited(task.get_coro()))
    if len(tasks) > MOST_TASKS:
        yield f"stacks: {len(tasks) - MOST_TASKS} tasks more"


def _lines(frames: list[FrameType]) -> Iterator[str]:
    for frame in frames[-DEEPEST:]:
        code = frame.f_code
        yield f"stacks:   {code.co_filename}:{frame.f_lineno} in {code.co_qualname}"


def _outwards(frame: FrameType | None) -> list[FrameType]:
    """A thread's frames, the outermost first."""
    found: list[FrameType] = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found[::-1]


def _awaited(coroutine: object) -> list[FrameType]:
    """A task's frames: each coroutine, and what it awaits."""
    found: list[FrameType] = []
    while coroutine is not None and len(found) < DEEPEST:
        frame = _part(coroutine, "frame")
        if isinstance(frame, FrameType):
            found.append(frame)
        coroutine = _part(coroutine, "await") or _part(coroutine, "yieldfrom")
    return found


def _part(coroutine: object, name: str) -> object:
    for kind in ("cr", "gi", "ag"):
        found = getattr(coroutine, f"{kind}_{name}", None)
        if found is not None:
            return found
    return None
