"""The tasks of a transport, which last as long as it does."""

import asyncio
import logging
from collections.abc import Coroutine

log = logging.getLogger("aggregator.feed")


def lasting(*works: Coroutine[object, object, None]) -> list[asyncio.Task[None]]:
    """Begin work that ends only when it is cancelled; where a mistake of ours ends it, the log says so at once."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(work) for work in works]
    for task in tasks:
        task.add_done_callback(_tell)
    return tasks


def _tell(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("feed: an error of ours: nobody can connect any more", exc_info=error)
