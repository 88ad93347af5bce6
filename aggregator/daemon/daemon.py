"""The daemon: connectors by id, instruments, runners, bus and sinks, started together and stopped in order."""

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.capture.recorder import CLOSE_S
from aggregator.config.config import Config, default_control
from aggregator.daemon.attention import Attention
from aggregator.daemon.changes import Changes, Reread
from aggregator.daemon.collector import Collector
from aggregator.daemon.control import Answering, Control
from aggregator.daemon.identity import own_name
from aggregator.daemon.insight import DaemonInsight
from aggregator.daemon.logs import tell_repeats
from aggregator.daemon.marks import Found, Marks, deaths_in
from aggregator.daemon.process import Deadline, Process
from aggregator.daemon.progress import Progress
from aggregator.daemon.required import Required
from aggregator.daemon.running_exchanges import RunningExchanges
from aggregator.daemon.running_sinks import RunningSinks
from aggregator.daemon.signals import hear
from aggregator.daemon.systemd import Watchdog, more_time, notify, ready
from aggregator.daemon.workers import Workers
from aggregator.errors import ConfigError, in_short, is_of_the_machine
from aggregator.ingest.host_names import new_loop
from aggregator.ingest.rest import Hosts
from aggregator.ingest.state import StateLock
from aggregator.sinks.journal.lives import Lives
from aggregator.sinks.worker import Worker
from aggregator.sources.running import RunningSources

if TYPE_CHECKING:
    from aggregator.cluster.settings import ClusterKeys
    from aggregator.daemon.clustered import ClusteredExchanges

FORGET_S = 5.0  # the disk has so long to forget a life in which nothing was said
DRAIN_S = 3.0  # the sinks have so long to write what they hold,
HANG_UP_S = 0.5  # and less by what exchanges take longer than this to end
SETTLE_S = 30.0  # the service manager waits so much longer than a start may take
ECHO_S = 0.3  # a second signal within this time is the first: `timeout` and others signal a process, then its group
SWITCH_S = 0.0005  # another thread may hold the interpreter so long while frames wait (5 ms unless told)
GC_THRESHOLD = (5_000, 10**6, 10**6)  # a look at the young takes 0.5 to 1 ms; the old are left to `Collector`

T = TypeVar("T")

log = logging.getLogger("aggregator.daemon")


class Daemon:
    """One epoch: from start to stop."""

    def __init__(
        self,
        config: Config,
        *,
        capture: Path | None = None,
        owns_process: bool = False,
        reread: Reread | None = None,
        bus: Bus | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        """Prepare.

        capture: a directory for the raw frames of every exchange
        reread: reads the configuration anew, with what a cluster shares, and raises ConfigError; null: it cannot be
            changed while it runs
        owns_process: whether the process is to end in time after a signal, whatever hangs
        bus: where records become one stream; null: one that counts them from 1 on
        hosts: the budgets of the hosts that are asked; null: its own
        """
        self._owns_process = owns_process
        self.config = config
        self.name = ""  # by which other daemons know this one, once it runs
        self.bus = bus or Bus(datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ"))
        self.outputs = RunningSinks(self.bus, on_idle=self.leave)
        self.hosts = hosts or Hosts()
        self.attention = Attention(self.bus, config.state / "normal")
        self._keeper = Worker("state")
        self.workers: Workers | None = None
        if config.workers > 1:
            self.workers = Workers(config, self.bus, self.hosts, self.attention, self._keeper, capture)
        gathered = () if config.cluster else config.exchanges  # a cluster says which of them, and when
        self.exchanges = self.workers or RunningExchanges(
            gathered, self.bus, self.hosts, self.attention, self._keeper, config.state, capture
        )
        self.demand = self.exchanges.demand
        self.bus.supply = self.demand if self.workers is None else self.workers.supply
        self.sources = RunningSources(
            self.bus, self.exchanges.configs, room=self.outputs.room, progress=self.outputs.progress
        )
        self.changes = Changes(self, reread)
        self.process = Process()
        self.clustered = None if config.cluster is None else _clustered(self, config.cluster)
        self.bus.insight = DaemonInsight(self)
        self.answers = Answering(self)
        self._control: Control | None = None
        self._stop = asyncio.Event()
        self._stopped_at: float | None = None
        standing = self.exchanges.runners if self.workers is None else self.workers.views
        self._progress = Progress(self.bus, standing, notify)
        self._watchdog = Watchdog(self.bus, self.exchanges.runners)
        self.marks: Marks | None = None
        self._lives: Lives | None = None
        self._before = ""  # the epoch of the life before this one, where that is known

    def stop(self) -> None:
        """Drain and leave; a second call leaves at once, unless it is an echo of the first."""
        now = time.monotonic()
        if self._stopped_at is None:
            self._stopped_at = now
            self._stop.set()
        elif now - self._stopped_at > ECHO_S:
            log.error("stopped twice: leaving at once")
            logging.shutdown()
            os._exit(1)

    @property
    def is_leaving(self) -> bool:
        """Tell whether it drains."""
        return self._stop.is_set()

    def leave(self) -> None:
        """Drain and leave: there is nothing more to do."""
        self._stop.set()

    def reopen(self) -> tuple[int, int]:
        """Close every file that is written to, and begin new ones: how many sinks and captures do so."""
        files, captures = self.outputs.reopen(), self.exchanges.reopen_captures()
        log.warning("files are closed and new ones begun: %d sinks of files, %d captures", files, captures)
        return files, captures

    async def run(self) -> None:
        """Run until stopped. Raises AggregatorError when a sink, or an exchange that must, cannot start."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(tell_loop)
        notify("STATUS=begins: its directories and its sinks are opened")
        before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
        deadline = Deadline().begin if self._owns_process else None
        for number, _ in before:
            hear(number, self.stop, at_once=deadline)
        lock, tasks = StateLock(self.config.state), list[asyncio.Task[None]]()
        try:
            self.marks = marks = Marks(self.config.state / "left", self.bus.epoch)
            found = await self._unless_stopped(self._keeper.do(partial(self._take_over, marks)))
            if found is None:
                return
            self.name = await self._keeper.do(partial(own_name, self.config.state))
            from aggregator.feed.sink import check_sockets  # a worker has no feed, and does without its 5 MB

            check_sockets(self.config.sinks)
            dead, places = self.config.state / "dead", self.config.state / "places"
            await self.outputs.start(self.config.sinks, deaths_in(found), dead, places, self.name, self._before)
            self.bus.attach(marks.heed)
            for left in found.values():
                self.bus.publish([structs.replace(gap, ts_recv=time.time_ns()) for gap in left.gaps])
            self.sources.start(self.config.sources, self.name, self.config.state / "sources")
            for id in list(self.exchanges.configs):
                self.exchanges.begin(id)
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLD)
            sys.setswitchinterval(SWITCH_S)
            await self._be_asked()
            chores = (
                Collector().sweep(),
                self._progress.watch(),
                self.process.watch(),
                marks.beat(),
                self.attention.watch(self._keeper),
                self._watchdog.watch(),
                tell_repeats(),
            )
            tasks += [loop.create_task(each) for each in chores]
            await self._unless_stopped(self._begun())
            ready()
            if self.clustered is not None:
                self.clustered.start()
            self.changes.begin()
            await self._stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            notify("STATUS=stopping: sinks write what they hold")
            notify("STOPPING=1")
            await self.changes.end()
            if self._control is not None:
                await self._control.stop()
            await self._leave()
            lock.release()
            if not self._owns_process:
                for number, handler in before:
                    signal.signal(number, handler or signal.SIG_DFL)

    async def _begun(self) -> None:
        """Wait for exchanges that must start, and for the topics that are required, as the configuration says."""
        for id in list(self.exchanges.configs):
            await self.exchanges.begun(id)
        await self.required()

    async def required(self) -> None:
        """Wait for the topics that the configuration requires, but no longer than its `start_grace`."""
        patterns, grace = self.config.required, self.config.start_grace
        if patterns:
            more_time(grace + SETTLE_S)
            try:
                await Required(patterns, self.bus.views).wait(grace, self._progress.tell)
            finally:
                self._progress.tell("")

    async def _be_asked(self) -> None:
        """Listen at the control socket. Raises ConfigError where that cannot be, and a configuration names the path."""
        path = self.config.control
        if path is None:
            return
        try:
            self._control = Control(path, self)
        except ConfigError as error:
            if path != default_control(self.config.state):
                raise
            log.warning("%s; `aggregator ctl` cannot ask this daemon", error)
            return
        await self._control.start()

    async def _unless_stopped(self, call: Coroutine[object, object, T]) -> T | None:
        """Give the result of a call; None where the program is to end before that."""
        calling, stopping = asyncio.create_task(call), asyncio.create_task(self._stop.wait())
        await asyncio.wait({calling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        return calling.result() if calling.done() or not calling.cancel() else None

    def _take_over(self, marks: Marks) -> dict[str, Found]:
        """The checkpoints that the run before has left of each exchange."""
        found: dict[str, Found] = {}
        for id in self.exchanges.configs:
            try:
                found[id] = marks.take(id)
            except OSError as error:
                log.warning("%s: what the last run left over is lost: %s", id, error)
        self.exchanges.take_over({id: left.topics for id, left in found.items()}, marks)
        marks.clear()
        self._lives, self._before = Lives.begun(self.config.state, self.bus.epoch)
        return found

    # --- stopping ---------------------------------------------------------------------------------------------------

    def _sum_up(self) -> None:
        log.info("stopped: %s", self._progress.sum_up())

    async def _leave(self) -> None:
        """Hang up the exchanges, end the sinks' streams, let them write, leave."""
        begun = time.monotonic()
        if self.clustered is not None:
            await self.clustered.leave()
        await self.exchanges.stop()
        await self.sources.end()
        recorders = list(self.exchanges.recorders.values())
        ends = [asyncio.wrap_future(recorder.end()) for recorder in recorders]
        finished = asyncio.create_task(asyncio.wait(ends, timeout=CLOSE_S)) if ends else asyncio.sleep(0)
        await self.outputs.stop(DRAIN_S - max(0.0, time.monotonic() - begun - HANG_UP_S))
        await self.sources.keep()
        await finished
        for recorder in recorders:
            recorder.sum_up()
        self._sum_up()
        await self.attention.keep(self._keeper)
        await self.exchanges.close()
        if self.marks is not None:
            await self.marks.remove()
        if self._lives is not None and not self.bus.offset:
            with suppress(TimeoutError):
                async with asyncio.timeout(FORGET_S):
                    await self._keeper.do(partial(self._lives.end_empty, self.bus.epoch))
        self._keeper.stop()


def _clustered(daemon: Daemon, keys: "ClusterKeys") -> "ClusteredExchanges":
    from aggregator.daemon.clustered import ClusteredExchanges  # few daemons are members, and no worker is

    return ClusteredExchanges(daemon, keys)


def tell_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what went wrong where nobody waits for it: without a traceback, where the machine is to blame."""
    error = context.get("exception")
    if isinstance(error, BaseException) and is_of_the_machine(error):
        log.error("%s: %s", str(context.get("message")).splitlines()[0], in_short(error))
    else:
        loop.default_exception_handler(context)


def run(main: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run a coroutine on a loop that is fit for a daemon."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
