"""How the daemon fares, in words: for the log when an exchange comes, and for the service manager's status line."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from aggregator.bus.bus import Bus
from aggregator.daemon.printable import printable
from aggregator.records import TopicState

LOOK_S = 5.0  # between two looks
NAMED = 3  # exchanges of which nothing comes

log = logging.getLogger("aggregator.daemon")


def in_words(states: Mapping[TopicState, int]) -> str:
    """Topics by state: those that are as they should be by name, and the others together."""
    live, quiet = states.get("live", 0), states.get("quiet", 0)
    others = sum(states.values()) - live - quiet
    parts = [f"{live} topics live", f"{quiet} quiet" if quiet else "", f"{others} without data" if others else ""]
    return ", ".join(filter(None, parts))


class StandingExchange(Protocol):
    """An exchange whose topics stand somehow."""

    def states(self) -> Iterator[Counter[TopicState]]:
        """How many topics are in each state: a part after the other, so that others have turns."""


class Progress:
    """Looks at the exchanges every few seconds.

    notify: tells the service manager
    """

    def __init__(self, bus: Bus, runners: Mapping[str, StandingExchange], notify: Callable[[str], None]) -> None:
        self._bus = bus
        self._runners = runners
        self._notify = notify
        self.note = ""  # says what the daemon is at, where that has to be said
        self._live: set[str] = set()
        self._begun = time.monotonic()

    async def watch(self) -> None:
        """Look until cancelled."""
        before = self._bus.offset
        self._say(await self.look())
        while True:
            await asyncio.sleep(LOOK_S)
            rate, before = (self._bus.offset - before) / LOOK_S, self._bus.offset
            self._say(f"{await self.look()}, {rate:.0f}/s")

    def _say(self, words: str) -> None:
        self._notify(f"STATUS={printable(f'{self.note}; {words}' if self.note else words)}")

    def tell(self, note: str) -> None:
        """Have the service manager told what the daemon is at; with an empty text that this is over."""
        if note != self.note:
            self.note = note
            if note:
                self._notify(f"STATUS={printable(note)}")

    async def look(self) -> str:
        """Log which exchanges have come to life since the last look; all of them in words."""
        total: Counter[TopicState] = Counter()
        silent: list[str] = []
        for id, runner in list(self._runners.items()):
            states: Counter[TopicState] = Counter()
            for part in runner.states():
                states += part
                await asyncio.sleep(0)
            total += states
            is_live = states["live"] > 0
            if is_live and id not in self._live:
                log.info("%s: live: %s", id, in_words(states))
            (self._live.add if is_live or states["quiet"] else self._live.discard)(id)
            if states and id not in self._live:
                silent.append(id)
        named = ", ".join(silent[:NAMED]) + (" and others" if len(silent) > NAMED else "")
        return f"{len(self._runners)} exchanges, {in_words(total)}{f' (nothing of {named})' if silent else ''}"

    def sum_up(self) -> str:
        """The whole run in words."""
        return f"{self._bus.offset} records in {time.monotonic() - self._begun:.0f} s"
