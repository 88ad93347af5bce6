"""The listings of the exchanges: asked for at the start and again and again, and kept for the next start."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aggregator.catalog.catalog import aliases_of
from aggregator.daemon.followed import Followed, in_steps
from aggregator.errors import SessionError
from aggregator.exchange import Exchange
from aggregator.ingest.listing import Listed, Markets, fetch_listing, load, save
from aggregator.ingest.rest import Need, Rest
from aggregator.records import SECOND_NS, Instrument
from aggregator.sinks.worker import Worker

if TYPE_CHECKING:
    from aggregator.daemon.shared_listings import BorrowedListings

MOST_WARNINGS = 20
DISK_S = 5.0  # a file of instruments may take so long
Announce = Callable[[Sequence[Instrument]], Awaitable[None]]

log = logging.getLogger("aggregator.daemon")


class Listings:
    """The listings of all exchanges of one daemon."""

    def __init__(self, directory: Path) -> None:
        """Keep instruments in this directory."""
        self._directory = directory
        self._worker = Worker("listings")
        self._told: dict[str, frozenset[str]] = {}  # exchange -> what the log has said of its last listing
        self._in_part: set[str] = set()  # exchanges of whose last listing something was missing
        self.turns: BorrowedListings | None = None  # a worker has them; it asks for others too
        self._of_others: set[str] = set()  # exchanges whose last listing another worker has read
        self.inherited: set[str] = set()  # exchanges of a process that has died: what it has kept is still in force
        self._passed: dict[str, float] = {}  # exchange -> how old, in seconds, what was inherited is

    async def first(
        self,
        exchange: Exchange,
        rest: Rest,
        most: int,
        *,
        is_shared: bool = False,
        relist: float | None = None,
    ) -> Markets:
        """Ask for an exchange's instruments, or take those that an earlier run has kept, with a warning.

        A part of the listing that does not answer, and figures that complete it, are taken from there as well.
        relist: seconds that a listing is in force; one that is inherited is asked for again when they have passed
        """
        if exchange.id in self.inherited:
            self.inherited.discard(exchange.id)
            found = await self._inherited(exchange, relist)
            if found is not None:
                return found
        try:
            listed = await self.fetch(exchange, rest, most, is_shared=is_shared)
        except SessionError as error:
            cached = await self._kept(exchange)
            if cached is None:
                raise
            age = (time.time_ns() - cached.ts) / SECOND_NS / 3600
            log.warning("%s: %s; going on with instruments that are %.1f hours old", exchange.id, error.brief, age)
            return await asyncio.to_thread(Markets, cached)
        cached = None if _is_whole(exchange, listed) else await self._kept(exchange)
        markets = await asyncio.to_thread(Markets, cached or listed)
        if cached is not None:
            await asyncio.to_thread(markets.update, listed)
        self.keep(exchange, markets, listed.ts)
        return markets

    async def _inherited(self, exchange: Exchange, relist: float | None) -> Markets | None:
        """The instruments that a process had which has died, if they are not to be asked for again by now.

        A host that allows few requests is needed for what was missed meanwhile.
        """
        kept = await self._kept(exchange)
        if kept is None or relist is None:
            return None
        age = (time.time_ns() - kept.ts) / SECOND_NS
        if not 0 <= age < relist:
            return None
        self._passed[exchange.id] = age
        return await asyncio.to_thread(Markets, kept)

    async def _kept(self, exchange: Exchange, path: Path | None = None) -> Listed | None:
        """The instruments that were kept, if the disk gives them in time; `path`: in another file than the cache."""
        path = path or self._cache(exchange)
        try:
            async with asyncio.timeout(DISK_S):
                return await self._worker.do(partial(load, path))
        except TimeoutError:
            log.warning("%s: the disk does not answer: %s", exchange.id, path)
            return None

    def _cache(self, exchange: Exchange) -> Path:
        return self._directory / f"{exchange.id}.json"

    async def fetch(self, exchange: Exchange, rest: Rest, most: int, *, is_shared: bool = False) -> Listed:
        """Ask the exchange. Raises SessionError where there is no answer.

        is_shared: other workers gather from it too, and one asks for all of them
        """
        self._of_others.discard(exchange.id)
        if is_shared and self.turns is not None:
            return await self._in_turn(exchange, rest, most, self.turns)
        return await self._asked(exchange, rest, most)

    async def _asked(self, exchange: Exchange, rest: Rest, most: int) -> Listed:
        listed = await fetch_listing(
            exchange, lambda request: rest.fetch(request, Need.LISTING), aliases_of(exchange.id), time.time_ns, most
        )
        self._tell(exchange, listed)
        return listed

    async def _in_turn(self, exchange: Exchange, rest: Rest, most: int, turns: "BorrowedListings") -> Listed:
        """Ask for all workers, or read what another one was answered. Raises SessionError."""
        path = self._directory / f"{exchange.id}.answer.json"
        if not await turns.is_ours(exchange.id):
            found = await self._kept(exchange, path)
            if found is not None:
                self._of_others.add(exchange.id)
                return found
            return await self._asked(exchange, rest, most)
        is_there = False
        try:
            listed = await self._asked(exchange, rest, most)
            is_there = await self._written(listed, path)
        finally:
            turns.read(exchange.id, is_there=is_there)
        return listed

    async def _written(self, listed: Listed, path: Path) -> bool:
        """Write an answer for other workers; whether that could be done in time."""
        try:
            async with asyncio.timeout(DISK_S):
                await self._worker.do(partial(save, listed, path))
        except OSError as error:
            log.warning("%s: cannot be written, and each worker asks for itself: %s", path, error)
            return False
        return True

    def _tell(self, exchange: Exchange, listed: Listed) -> None:
        """Log what the listing before did not have to warn of, and that it is whole again.

        A request that stays without an answer is the same news, though the words of the answers may differ.
        """
        known = {warning: listed.missing.get(warning, warning) for warning in listed.warnings}
        told = self._told.get(exchange.id, frozenset())
        for warning in [warning for warning, as_what in known.items() if as_what not in told][:MOST_WARNINGS]:
            log.warning("%s", warning)
        self._told[exchange.id] = frozenset(known.values())
        if not _is_whole(exchange, listed):
            self._in_part.add(exchange.id)
        elif exchange.id in self._in_part:
            self._in_part.remove(exchange.id)
            log.info("%s: the listing is whole again", exchange.id)

    def keep(self, exchange: Exchange, markets: Markets, ts: int) -> None:
        """Keep the instruments in force for the next start; a thread writes: a slow disk keeps nothing waiting.

        Where another worker has read the listing it keeps them, too.
        """
        if exchange.id in self._of_others:
            return
        instruments, parts = markets.listed
        listed = Listed(ts, instruments, parts, frozenset())

        def write() -> None:
            try:
                save(listed, self._cache(exchange))
            except OSError as error:
                log.warning("%s: instruments cannot be kept for the next start: %s", exchange.id, error)

        self._worker.put(write)

    async def again(self, followed: Followed, announce: Announce) -> None:
        """Ask for the instruments again and again: say what has changed, and follow what is wanted."""
        exchange, wait = followed.exchange, 0.0
        passed = self._passed.pop(exchange.id, 0.0)
        while True:
            await followed.until_relisting(wait, passed)
            wait = passed = 0.0
            try:
                config = followed.config
                is_shared = config.processes > 1
                listed = await self.fetch(exchange, followed.runner.rest, config.max_instruments, is_shared=is_shared)
            except SessionError as error:
                log.warning("%s: %s", exchange.id, error.brief)
                wait = error.wait
                async with followed.changing:
                    await in_steps(followed.following())  # a new day changes it: markets open, sources begin and end
                continue
            changes = await asyncio.to_thread(followed.markets.update, listed)
            async with followed.changing:
                await in_steps(followed.choosing())
                await announce(followed.named(changes))
                followed.runner.heed_listing()
                await in_steps(followed.carrying())
            self.keep(exchange, followed.markets, listed.ts)


def _is_whole(exchange: Exchange, listed: Listed) -> bool:
    """Tell whether every part of a listing was answered, and what completes it."""
    return len(listed.answered) >= len(exchange.listing.requests) and listed.is_complete
