"""The sinks of a configuration, running: started on a bus, ended together, each failing alone."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence

from msgspec import Struct

from aggregator.bus.bus import Bus, Tap
from aggregator.config.schema import SinkSettings
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.feed.status import FeedStatus
from aggregator.sinks.files import FilesStatus, check_directory, write_files
from aggregator.sinks.repair import Deaths
from aggregator.sinks.settings import FilesSettings, StdoutSettings
from aggregator.sinks.stdout import write_stdout

log = logging.getLogger("aggregator.outputs")


class SinkStatus(Struct, frozen=True, kw_only=True):
    """One sink that has a queue.

    name: as logs call it
    failing: what keeps it, or a part of it, from writing; null: nothing
    held: records that wait for it
    dropped: records that are lost to it; each is told to it by a gap
    """

    name: str
    failing: str | None
    held: int
    dropped: int


class Output(Struct, frozen=True):
    """A running sink: its queue and its task; of one that writes files, how these fare."""

    name: str
    tap: Tap
    task: asyncio.Task[object]
    files: FilesStatus | None = None

    def status(self) -> SinkStatus:
        """How it fares."""
        files = self.files
        return SinkStatus(
            name=self.name,
            failing=None if files is None else files.failing,
            held=self.tap.held,
            dropped=self.tap.missed if files is None else files.missed,
        )


class RunningSinks:
    """Every sink of one bus.

    on_idle: called when the last sink has ended by itself (a closed pipe): nothing is left to do
    """

    def __init__(self, bus: Bus, *, on_idle: Callable[[], None]) -> None:
        """Start nothing yet."""
        self.feeds: list[FeedServer] = []
        self.outputs: list[Output] = []
        self._bus = bus
        self._on_idle = on_idle
        self._stopping = False
        self._deaths: Deaths = {}
        self._files: list[FilesStatus] = []

    async def start(self, sinks: Sequence[SinkSettings], deaths: Deaths | None = None) -> None:
        """Start every sink. Raises ConfigError or OSError when one cannot.

        deaths: of runs that were killed, from when on the stream tells what is missing of an exchange
        """
        self._deaths = deaths or {}
        for settings in sinks:
            if isinstance(settings, FilesSettings):
                check_directory(settings.path)
        for settings in sinks:
            if isinstance(settings, FeedSettings):
                feed = FeedServer(settings, self._bus)
                await feed.start()
                self._bus.attach(feed.publish)
                self.feeds.append(feed)
                log.info("feed: whoever subscribes at %s is served", ", ".join(feed.addresses))
            else:
                self._start(settings)

    def _start(self, settings: FilesSettings | StdoutSettings) -> None:
        tap = Tap(settings.queue)
        write: Coroutine[object, object, object]
        status: FilesStatus | None = None
        if isinstance(settings, FilesSettings):
            status = FilesStatus()
            self._files.append(status)
            name = f"files {settings.path}"
            write = write_files(settings, self._bus, tap, status=status, deaths=self._deaths)
        else:
            name, write = "stdout", write_stdout(settings, self._bus, tap)
        task = asyncio.get_running_loop().create_task(write)
        self.outputs.append(Output(name, tap, task, status))
        log.info("%s: records are written there", name)
        task.add_done_callback(self._ended)
        self._bus.attach(tap.put)

    def _ended(self, task: asyncio.Task[object]) -> None:
        """A sink that ends by itself gets no more."""
        if self._stopping or task.cancelled():
            return
        output = next(output for output in self.outputs if output.task is task)
        if task.exception() is not None:
            log.error("sink %s failed", output.name, exc_info=task.exception())
        self._bus.detach(output.tap.put)
        output.tap.leave()
        self.outputs.remove(output)
        if not self.outputs and not self.feeds:
            self._on_idle()

    def status(self) -> list[SinkStatus]:
        """How each of them fares; feeds are told by `feed_status`."""
        return [output.status() for output in self.outputs]

    def feed_status(self) -> list[FeedStatus]:
        """How each feed and its subscribers fare."""
        return [feed.status() for feed in self.feeds]

    def reopen(self) -> int:
        """Have every sink of files close those that it writes to, and begin new ones; how many such sinks there are."""
        for status in self._files:
            status.reopen = True
        return len(self._files)

    async def room(self) -> None:
        """Wait until no sink is more than half full: for a replay, which can wait as a live stream cannot."""
        for output in list(self.outputs):
            await output.tap.room()

    async def stop(self, drain: float) -> None:
        """End the sinks' streams, and let them write what they hold for at most `drain` seconds."""
        self._stopping = True
        for output in self.outputs:
            output.tap.end()
        waiting = [output.task for output in self.outputs]
        feeds = [asyncio.ensure_future(feed.stop(drain / 2)) for feed in self.feeds]
        try:
            async with asyncio.timeout(drain):
                for result in await asyncio.gather(*waiting, *feeds, return_exceptions=True):
                    if isinstance(result, Exception):
                        log.error("while stopping: %s", result, exc_info=result)
        except TimeoutError:
            log.error("a sink could not write all that it held within %.0f s", drain)  # noqa: TRY400 - it is no fault of ours
