"""Time that does not pass: a loop whose clock jumps to the next timer, so that a test counts seconds and waits none."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Jumping(selectors.DefaultSelector):
    """Instead of waiting for so many seconds, it adds them to its clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "it would wait for ever"
            self.now += timeout
        return ready


class Hurried(asyncio.SelectorEventLoop):
    """A loop for what waits for timers alone: no socket, no thread, no process."""

    def __init__(self) -> None:
        self._jumping = Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def hurried(test: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Run a test on such a loop, which begins at 0."""

    @wraps(test)
    def run(*args: P.args, **others: P.kwargs) -> R:
        with asyncio.Runner(loop_factory=Hurried) as runner:
            return runner.run(test(*args, **others))

    return run


def seconds() -> float:
    """The seconds that have passed on the running loop."""
    return round(asyncio.get_running_loop().time(), 6)
