"""The sinks of a configuration, running: started on a bus, ended together, each failing alone."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.feed.status import FeedStatus
from aggregator.records import Record
from aggregator.sinks.queue import Queue
from aggregator.sinks.repair import Deaths
from aggregator.sinks.running import Running, noted, running
from aggregator.sinks.sink import ALL, SinkConfig
from aggregator.sinks.status import SinkStatus
from aggregator.sinks.unwritten import take_over

UNWRITTEN_RECORDS = 50_000  # records that may wait for the journal before whoever can wait does so
UNWRITTEN_S = 0.02
DRAIN_S = 20.0  # a sink that is taken away, or begun anew, has so long to write what it holds

log = logging.getLogger("aggregator.outputs")


class RunningSinks:
    """Every sink of one bus.

    on_idle: called when the last sink has ended by itself (a closed pipe): nothing is left to do
    """

    def __init__(self, bus: Bus, *, on_idle: Callable[[], None]) -> None:
        self.sinks: list[Running] = []
        self._bus = bus
        self._on_idle = on_idle
        self._stopping = False
        self._make: Callable[[SinkConfig, Bus], Running] = running
        self._places: Path | None = None

    @classmethod
    def alone(cls, epoch: str, *, on_idle: Callable[[], None]) -> Self:
        """On a bus of their own: what comes is given by `give`."""
        return cls(Bus(epoch), on_idle=on_idle)

    async def start(
        self,
        sinks: Sequence[SinkConfig],
        deaths: Deaths | None = None,
        dead: Path | None = None,
        places: Path | None = None,
        daemon: str = "",
        before: str | None = None,
    ) -> None:
        """Start every sink. Raises ConfigError when one cannot.

        deaths: of runs that were killed, from when on the stream tells what is missing of an exchange
        dead: the directory for the records that sinks refuse
        places: the directory for notes of how far sinks have come
        daemon: the name by which others know this daemon
        before: the epoch of the life before this one
        """
        self._make = partial(running, deaths=deaths, dead=dead, places=places, daemon=daemon, before=before)
        self._places = places
        if places is not None:
            take_over(places)
        for config in sorted(sinks, key=lambda config: not config.sink.starts_first):
            await self._start(self._make(config, self._bus))

    async def _start(self, sink: Running, waiting: Queue | None = None) -> None:
        """Start a sink, with what has waited for it; nothing is published between the two."""
        await sink.start()
        while waiting is not None and not sink.goes_on and (batch := waiting.take(is_whole=True)) is not None:
            sink.receive(batch)
        self.sinks.append(sink)
        log.info("%s: records are written there", sink.name)
        if sink.task is not None:
            sink.task.add_done_callback(self._ended)

    async def add(self, config: SinkConfig) -> None:
        """Start one more. Raises ConfigError where it cannot be."""
        await self._start(self._make(config, self._bus))

    async def remove(self, name: str) -> None:
        """End a sink once it has written what it holds, as far as that can be done in time."""
        sink = next((sink for sink in self.sinks if sink.name == name), None)
        if sink is None:  # it has ended by itself
            return
        self.sinks.remove(sink)
        sink.end()
        if sink.task is not None:
            await asyncio.wait([sink.task], timeout=DRAIN_S)
        is_late = sink.task is not None and not sink.task.done()
        left = await sink.abandon()
        if (
            sink.task is not None
            and sink.task.done()
            and not sink.task.cancelled()
            and sink.task.exception() is not None
        ):
            log.error("sink %s failed", sink.name, exc_info=sink.task.exception())
        if not sink.goes_on and (is_late or left):
            log.error("sink %s could not write all that it held within %.0f s: %d left", sink.name, DRAIN_S, left)

    async def replace(self, before: SinkConfig, after: SinkConfig) -> None:
        """Drain a sink, and begin it anew by another configuration; what comes meanwhile waits for it.

        Raises ConfigError where it cannot be opened, and then it goes on as it was before.
        """
        waiting = Queue(after.sink.name, self._bus.epoch, structs.replace(after.delivery, topics=ALL))
        begun = noted(waiting, after, self._places)
        self._bus.attach(waiting.put)
        try:
            await self.remove(before.name)
            try:
                await self._start(self._make(after, self._bus), waiting)
            except BaseException:
                delivery = structs.replace(before.delivery, on_start_error="retry")  # it is wanted, whatever it takes
                await self._start(self._make(structs.replace(before, delivery=delivery), self._bus), waiting)
                raise
        finally:
            self._bus.detach(waiting.put)
            begun()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A sink that ends by itself gets no more."""
        sink = next((sink for sink in self.sinks if sink.task is task), None)
        if self._stopping or task.cancelled() or sink is None:
            return
        if task.exception() is not None:
            log.error("sink %s failed", sink.name, exc_info=task.exception())
        self.sinks.remove(sink)
        if not self.sinks:
            self._on_idle()

    def status(self) -> list[SinkStatus]:
        """How each of them fares; feeds are told by `feed_status`."""
        return [sink.status() for sink in self.sinks if sink.is_listed]

    def feed_status(self) -> list[FeedStatus]:
        """How each feed and its subscribers fare."""
        found = [sink.detail() for sink in self.sinks]
        return [detail for detail in found if isinstance(detail, FeedStatus)]

    def reopen(self) -> int:
        """Have every sink of files close those that it writes to, and begin new ones; how many such sinks there are."""
        return sum(sink.reopen() for sink in self.sinks)

    def progress(self) -> dict[str, tuple[int, int]]:
        """How far those are that count for what is lasting: records that came for each, and those it is done with.

        Where there is a journal that alone counts, because whatever a sink lacks can be had from there.
        """
        history = self._bus.history
        if history is not None:
            found = history.status()
            done = found.records + found.missed
            return {"journal": (done + found.held, done)}
        return {
            each.name: (each.received, each.written + each.refused + each.dropped)
            for each in self.status()
            if each.state != "ended"
        }

    @property
    def _unwritten(self) -> int:
        history = self._bus.history
        return 0 if history is None else history.status().held

    async def room(self) -> None:
        """Wait until no sink is more than half full, and little waits for the journal."""
        for sink in list(self.sinks):
            await sink.room()
        while self._unwritten > UNWRITTEN_RECORDS:  # noqa: ASYNC110 - a thread empties it
            await asyncio.sleep(UNWRITTEN_S)

    async def give(self, records: list[Record]) -> None:
        """Publish, and wait until no sink is more than half full: for a replay, which can wait as nothing live can."""
        self._bus.publish(records)
        await self.room()

    async def stop(self, drain: float) -> None:
        """End the sinks' streams, and let them write what they hold for at most `drain` seconds."""
        self._stopping = True
        for sink in self.sinks:
            sink.end()
        tasks = [sink.task for sink in self.sinks if sink.task is not None]
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=drain)
            for task in done:
                if not task.cancelled() and task.exception() is not None:
                    log.error("while stopping: %s", task.exception(), exc_info=task.exception())
        late = [sink.task is not None and not sink.task.done() for sink in self.sinks]
        left = await asyncio.gather(*(sink.abandon() for sink in self.sinks))
        for sink, is_late, count in zip(self.sinks, late, left, strict=True):
            if sink.goes_on and (is_late or sink.status().held):
                log.info("sink %s goes on at the next start with what it has not taken", sink.name)
            elif is_late or count:
                log.error("sink %s could not write all that it held within %.0f s: %d left", sink.name, drain, count)
