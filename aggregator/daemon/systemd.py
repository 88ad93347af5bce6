"""The word to the service manager: this daemon is ready, it takes another configuration, it lives, it stops.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

from aggregator.bus.bus import Bus
from aggregator.ingest.runner import ExchangeRunner

WORDS = 4  # so many within the watchdog's time: three of them may be missing
STILL_S = 150.0  # every connection that stands tells a summary each minute
US = 1_000_000  # in a second

log = logging.getLogger("aggregator.daemon")


def notify(state: str) -> None:
    """Tell the service manager, where one asked to be told (sd_notify)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


def ready() -> None:
    """Tell that the daemon is up, or has taken another configuration, or goes on with the one it had."""
    notify("READY=1")


def reloading() -> None:
    """Tell that another configuration is being taken; `ready` tells the end of that, however it ends."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def more_time(seconds: float) -> None:
    """Ask for so many seconds more in which to become ready, or to stop."""
    notify(f"EXTEND_TIMEOUT_USEC={round(seconds * US)}")


def watchdog_s() -> float | None:
    """Seconds within which the service manager wants to hear that this process lives; null: it does not ask."""
    within, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if pid not in {None, str(os.getpid())} or not within.isdecimal() or not int(within):
        return None
    return int(within) / US


class Watchdog:
    """Tells the service manager that the daemon lives, as long as it does its work.

    The event loop itself does so, and no thread, which would go on while the loop hangs.
    """

    def __init__(self, bus: Bus, runners: Mapping[str, ExchangeRunner]) -> None:
        """Prepare: records must come of the exchanges of these runners while a connection to one stands."""
        self._bus = bus
        self._runners = runners
        self._seen = 0  # the offset at the last look
        self._moved = 0.0  # when it was another one, or nothing could come

    async def watch(self) -> None:
        """Look, and tell that all is well, until cancelled; at once over where nobody asks."""
        within = watchdog_s()
        if within is None:
            return
        loop, pause = asyncio.get_running_loop(), within / WORDS
        self._moved = loop.time()
        while True:
            due = loop.time() + pause
            await asyncio.sleep(pause)
            now = loop.time()
            trouble = self.trouble(now, late=now - due, bound=pause)
            if trouble is None:
                notify("WATCHDOG=1")
            else:
                log.error("the service manager is not told that all is well: %s", trouble)

    @property
    def _is_connected(self) -> bool:
        shards = (shard.status() for runner in list(self._runners.values()) for shard in runner.shards)
        return any(connection.is_open for shard in shards for connection in shard.connections)

    def trouble(self, now: float, *, late: float, bound: float) -> str | None:
        """Why the daemon does not do its work; null: it does."""
        if self._bus.offset != self._seen or not self._is_connected:
            self._seen, self._moved = self._bus.offset, now
        if late > bound:
            return f"the event loop is late by {late:.1f} s"
        if now - self._moved > STILL_S:
            return f"no record was published for {now - self._moved:.0f} s, though a connection stands"
        return None
