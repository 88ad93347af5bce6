"""A thread for calls that may block: the event loop waits for none of them, and neither does the end of the process."""

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Does calls one after the other. It is a daemon thread: a disk that hangs keeps no process from ending."""

    def __init__(self, name: str) -> None:
        """Start the thread. Raises OSError where the system has no more of them."""
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        try:
            Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, str(error)) from None

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    async def do(self, call: Callable[[], T]) -> T:
        """Have a call done after those before it; its result, or what it raises."""
        future: Future[T] = Future()

        def settle() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - it is raised where the call is awaited
                future.set_exception(error)

        self._calls.put(settle)
        return await asyncio.wrap_future(future)

    def put(self, call: Callable[[], object]) -> None:
        """Have a call done that raises nothing, and go on."""
        self._calls.put(call)

    def stop(self) -> None:
        """End the thread after what was asked of it."""
        self._calls.put(None)
