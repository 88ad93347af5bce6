"""The daemon: connectors by id, instruments, runners, bus and sinks, started together and stopped in order."""

import asyncio
import ctypes
import gc
import logging
import os
import signal
import ssl
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.capture.recorder import CLOSE_S, Recorder
from aggregator.catalog.registry import load_exchange
from aggregator.config.config import Config, ExchangeConfig, default_control
from aggregator.daemon.attention import Attention
from aggregator.daemon.control import Control
from aggregator.daemon.followed import Followed, in_steps
from aggregator.daemon.identity import own_name
from aggregator.daemon.insight import DaemonInsight
from aggregator.daemon.marks import Found, Marks, deaths_in
from aggregator.daemon.on_demand import OnDemand
from aggregator.daemon.process import Deadline, Process
from aggregator.daemon.progress import Progress
from aggregator.daemon.relisting import Listings
from aggregator.daemon.running_sinks import RunningSinks
from aggregator.daemon.signals import hear
from aggregator.daemon.systemd import notify
from aggregator.errors import ConfigError, SessionError, in_short, is_of_the_machine
from aggregator.exchange import Exchange
from aggregator.ingest import checkpoint_file
from aggregator.ingest.credentials import lacking
from aggregator.ingest.host_names import new_loop
from aggregator.ingest.network import Internet, Network, moved
from aggregator.ingest.rest import Hosts, Rest
from aggregator.ingest.runner import STEP, ExchangeRunner, for_rest
from aggregator.ingest.shard import ConnectionPolicy
from aggregator.ingest.signing import Keyring
from aggregator.ingest.state import StateLock
from aggregator.records import Instrument
from aggregator.sinks.journal.lives import Lives
from aggregator.sinks.worker import Worker
from aggregator.sources.running import RunningSources

RETRY_LISTING_S = 5.0  # doubles
LONGEST_RETRY_S = 300.0
OPEN_S = 5.0  # the disk has so long to begin a capture
DRAIN_S = 3.0  # the sinks have so long to write what they hold
ECHO_S = 0.3  # a second signal within this time is the first: `timeout` and others signal a process, then its group
SWEEP_S = 20.0  # a sweep takes milliseconds, because little is tracked
SWITCH_S = 0.0005  # another thread may hold the interpreter so long while frames wait (5 ms unless told)
GC_THRESHOLD = (50_000, 20, 50)  # records are not tracked, so a young collection finds little

T = TypeVar("T")

log = logging.getLogger("aggregator.daemon")


class Daemon:
    """One epoch: from start to stop."""

    def __init__(self, config: Config, *, capture: Path | None = None, owns_process: bool = False) -> None:
        """Prepare.

        capture: a directory for the raw frames of every exchange
        owns_process: whether the process is to end in time after a signal, whatever hangs
        """
        self._owns_process = owns_process
        self.config = config
        self.name = ""  # by which other daemons know this one, once it runs
        self.bus = Bus(datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ"))
        self.runners: dict[str, ExchangeRunner] = {}
        self._capture = capture
        self.outputs = RunningSinks(self.bus, on_idle=self.leave)
        self.followed: dict[str, Followed] = {}
        self.troubles: dict[str, str] = {}  # by exchange, why it could not be run the last time
        self.demand = self.bus.supply = OnDemand(config.exchanges, self.bus, self.troubles)
        self.sources = RunningSources(
            self.bus,
            [exchange.id for exchange in config.exchanges],
            room=self.outputs.room,
            progress=self.outputs.progress,
        )
        self.process = Process()
        self.attention = Attention(self.bus, config.state / "normal")
        self.bus.insight = DaemonInsight(self)
        self._control: Control | None = None
        self.hosts = Hosts()
        self._listings = Listings(config.state / "instruments")
        self._networks: list[Internet] = []
        self._tls: ssl.SSLContext | None = None  # all exchanges share it: reading the certificates takes 10 to 30 ms
        self.recorders: dict[str, Recorder] = {}  # by exchange
        self._stop = asyncio.Event()
        self._stopped_at: float | None = None
        self._exchanges: list[asyncio.Task[None]] = []
        self._progress = Progress(self.bus, self.runners, notify)
        self.marks: Marks | None = None
        self._keeper = Worker("state")
        self._opener = Worker("captures")
        self._lives: Lives | None = None
        self._before = ""  # the epoch of the life before this one, where that is known
        self._left: dict[str, checkpoint_file.Topics] = {}  # checkpoints of the run before, by exchange
        self._began: set[str] = set()  # exchanges that were run, and left over something themselves

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
        files = self.outputs.reopen()
        for id, recorder in self.recorders.items():
            recorder.reopen(partial(self._capture_path, id))
        captures = len(self.recorders)
        log.warning("files are closed and new ones begun: %d sinks of files, %d captures", files, captures)
        return files, captures

    async def run(self) -> None:
        """Run until stopped. Raises ConfigError when a sink cannot start."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_tell)
        before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
        deadline = Deadline().begin if self._owns_process else None
        for number, _ in before:
            hear(number, self.stop, at_once=deadline)
        lock = StateLock(self.config.state)
        try:
            self.marks = marks = Marks(self.config.state / "left", self.bus.epoch)
            found = await self._unless_stopped(self._keeper.do(partial(self._take_over, marks)))
            if found is None:
                return
            self.name = await self._keeper.do(partial(own_name, self.config.state))
            dead, places = self.config.state / "dead", self.config.state / "places"
            await self.outputs.start(self.config.sinks, deaths_in(found), dead, places, self.name, self._before)
            self.bus.attach(marks.heed)
            for left in found.values():
                self.bus.publish([structs.replace(gap, ts_recv=time.time_ns()) for gap in left.gaps])
            self.sources.start(self.config.sources, self.name, self.config.state / "sources")
            for exchange in self.config.exchanges:
                self._exchanges.append(loop.create_task(self._keep(exchange)))
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLD)
            sys.setswitchinterval(SWITCH_S)
            await self._be_asked()
            chores = (
                _sweep(),
                self._progress.watch(),
                self.process.watch(),
                marks.beat(),
                self.attention.watch(self._keeper),
            )
            tasks = [loop.create_task(each) for each in chores]
            notify("READY=1")
            await self._stop.wait()
            for task in tasks:
                task.cancel()
        finally:
            notify("STOPPING=1")
            if self._control is not None:
                await self._control.stop()
            await self._leave()
            lock.release()
            if not self._owns_process:
                for number, handler in before:
                    signal.signal(number, handler or signal.SIG_DFL)

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

    # --- exchanges --------------------------------------------------------------------------------------------------

    async def _keep(self, config: ExchangeConfig) -> None:
        """Run one exchange; whatever goes wrong with it stops no other."""
        wait = RETRY_LISTING_S
        exchange = load_exchange(config.id)
        if exchange is None:
            log.error("%s: no connector", config.id)
            return
        streams = [stream.url for stream in exchange.streams if isinstance(stream.url, str)]
        for prefix, today in moved(config.endpoints, [*streams, *(r.url for r in exchange.listing.all_requests)]):
            log.warning("%s: the endpoint %s replaces nothing: the exchange is at %s", config.id, prefix, today)
        if not self._has_its_keys(config, exchange):
            return
        network, keyring = await self._network(config, exchange)
        network = await self.attention.at(config.id, network, self._keeper)
        rest = Rest(network, exchange, self.hosts)
        while True:
            pause = wait
            try:
                if keyring is not None:
                    await keyring.read()
                await self._run_exchange(config, exchange, network, rest, keyring)
            except SessionError as error:
                pause = max(wait, error.wait)
                log.warning("%s: %s; again in %.0f s", config.id, error.brief, pause)
                self.troubles[config.id] = str(error)
            except Exception as error:
                if is_of_the_machine(error):
                    self.troubles[config.id] = in_short(error)
                    log.error("%s: %s; again in %.0f s", config.id, in_short(error), wait)  # noqa: TRY400 - no fault of ours
                else:
                    self.troubles[config.id] = f"an error of our own: {type(error).__name__}: {error}"
                    log.exception("%s: an error of our own; again in %.0f s", config.id, wait)
            self._forget(config.id)
            await asyncio.sleep(pause)
            wait = min(wait * 2, LONGEST_RETRY_S)

    def _has_its_keys(self, config: ExchangeConfig, exchange: Exchange) -> bool:
        """Tell whether an exchange gives anything with the keys that there are; say which ones it needs else."""
        if exchange.keys is None or config.credentials:
            return True
        words = lacking(exchange, config.channels)
        if words is None:
            return True
        log.error("%s", words)
        if exchange.with_keys != "all":
            return True
        self.troubles[config.id] = words
        return False

    async def _run_exchange(
        self, config: ExchangeConfig, exchange: Exchange, network: Network, rest: Rest, keyring: Keyring | None
    ) -> None:
        markets = await self._listings.first(exchange, rest, config.max_instruments)
        runner = ExchangeRunner(
            exchange,
            [channel for channel in config.channels if channel in exchange.channels],
            config.intervals,
            network=network,
            bus=self.bus,
            rest=rest,
            policy=ConnectionPolicy(config.redundancy, config.lifetime, config.verify, config.audit),
            left=self._left.pop(config.id, {}),
            most=config.max_topics,
            notes=None if self.marks is None else self.marks.notes(config.id),
            keyring=keyring,
        )
        self.runners[config.id] = runner
        offer = self.demand.offers[config.id]
        followed = self.followed[config.id] = Followed(config, exchange, runner, markets, offer)
        await in_steps(followed.choosing())
        self.attention.know(config.id, markets.instruments)
        await self._announce(await asyncio.to_thread(followed.named, markets.instruments))
        await in_steps(followed.carrying())
        log.info(
            "%s: %d instruments, %d connections, %d polls",
            config.id,
            len(followed.chosen),
            len(runner.shards),
            len(runner.pollers),
        )
        self._began.add(config.id)
        try:
            if self.marks is not None:
                self.marks.begin(config.id)
                await self.marks.mark_first(runner)
            async with asyncio.TaskGroup() as group:
                group.create_task(runner.run())
                if self.marks is not None:
                    group.create_task(self.marks.keep(runner))
                if config.on_demand:
                    group.create_task(offer.run(followed))
                if config.relist is not None and exchange.listing.requests:
                    group.create_task(self._listings.again(followed, self._announce))
        finally:
            await self._leave_over(config.id, runner)

    def _take_over(self, marks: Marks) -> dict[str, Found]:
        """The checkpoints that the run before has left of each exchange."""
        found: dict[str, Found] = {}
        for exchange in self.config.exchanges:
            try:
                found[exchange.id] = marks.take(exchange.id)
            except OSError as error:
                log.warning("%s: what the last run left over is lost: %s", exchange.id, error)
            else:
                self._left[exchange.id] = found[exchange.id].topics
        marks.clear()
        self._lives, self._before = Lives.begun(self.config.state, self.bus.epoch)
        return found

    async def _leave_over(self, id: str, runner: ExchangeRunner) -> None:
        """Keep what the next attempt begins with, be it in this run or in the next."""
        self._left[id] = runner.carried()
        await self._keep_left(id)

    async def _keep_left(self, id: str) -> None:
        if self.marks is None:
            return
        try:
            await self.marks.leave(id, self._left[id])
        except (OSError, OverflowError) as error:
            log.warning("%s: open gaps cannot be kept for the next start: %s", id, error)

    async def _network(self, config: ExchangeConfig, exchange: Exchange) -> tuple[Network, Keyring | None]:
        """The network of an exchange: the keyring is below the recorder, which must not know what it signs."""
        self._tls = self._tls or ssl.create_default_context()
        internet = Internet(config.endpoints, config.route, for_rest(exchange.limits), self._tls)
        self._networks.append(internet)
        network, keyring = internet.network(), None
        if exchange.keys is not None and config.credentials:
            keyring = Keyring(exchange.id, exchange.keys, config.credentials, network)
            network = keyring.network()
        if self._capture is None:
            return network, keyring
        begin = partial(self._record, config.id, network)
        try:
            async with asyncio.timeout(OPEN_S):
                recorder = self.recorders[config.id] = await self._opener.do(begin)
        except OSError as error:
            said = "the disk does not answer" if isinstance(error, TimeoutError) else error
            log.error("%s: gathered without a capture, which cannot be begun: %s", config.id, said)  # noqa: TRY400 - no fault of ours
            return network, keyring
        return recorder.network(), keyring

    def _record(self, id: str, network: Network) -> Recorder:
        return Recorder(self._capture_path(id), id, network)

    def _capture_path(self, id: str) -> Path:
        """Where the frames of an exchange go that come from now on: a file that nobody writes to."""
        stem = f"{id}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        names = (f"{stem}-{number}" if number > 1 else stem for number in count(1))
        paths = ((self._capture or Path()) / f"{name}.jsonl.zst" for name in names)
        return next(path for path in paths if not path.exists())

    async def _announce(self, instruments: Sequence[Instrument]) -> None:
        """Publish what is new of the instruments in force (copies: the stream stamps each record once)."""
        for start in range(0, len(instruments), STEP):
            part = instruments[start : start + STEP]
            for instrument in part:
                key = instrument.exchange, instrument.symbol or instrument.raw_symbol or ""
                if instrument.change == "delist":
                    self.bus.instruments.pop(key, None)
                else:
                    self.bus.instruments[key] = instrument
            self.bus.publish([structs.replace(i, ts_recv=time.time_ns()) for i in part])
            await asyncio.sleep(0)

    def _forget(self, id: str) -> None:
        self.demand.offers[id].close()
        self.followed.pop(id, None)
        runner = self.runners.pop(id, None)
        if runner is not None:
            runner.leave()

    # --- stopping ---------------------------------------------------------------------------------------------------

    async def _leave(self) -> None:
        """Hang up the exchanges, end the sinks' streams, let them write, leave."""
        await _end(self._exchanges)
        await self.sources.end()
        await self.attention.keep(self._keeper)
        ends = [asyncio.wrap_future(recorder.end()) for recorder in self.recorders.values()]
        finished = asyncio.create_task(asyncio.wait(ends, timeout=CLOSE_S)) if ends else asyncio.sleep(0)
        await self.outputs.stop(DRAIN_S)
        await self.sources.keep()
        await finished
        for recorder in self.recorders.values():
            recorder.sum_up()
        log.info("stopped: %s", self._progress.sum_up())
        for network in self._networks:
            await network.close()
        await asyncio.gather(*map(self._keep_left, self._left.keys() - self._began))
        if self.marks is not None:
            await self.marks.remove()
        if self._lives is not None and not self.bus.offset:
            with suppress(TimeoutError):
                async with asyncio.timeout(OPEN_S):
                    await self._keeper.do(partial(self._lives.end_empty, self.bus.epoch))
        self._keeper.stop()
        self._opener.stop()


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what went wrong where nobody waits for it: without a traceback, where the machine is to blame."""
    error = context.get("exception")
    if isinstance(error, BaseException) and is_of_the_machine(error):
        log.error("%s: %s", str(context.get("message")).splitlines()[0], in_short(error))
    else:
        loop.default_exception_handler(context)


async def _sweep() -> None:
    """Free the sessions of connections that are gone: they hold books, and only the collector frees them."""
    give_back = _trimmer()
    while True:
        await asyncio.sleep(SWEEP_S)
        gc.collect()
        give_back(0)


def _trimmer() -> Callable[[int], object]:
    """The C library's own way to give free memory back to the system, where it has one: else it keeps the most."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda _: None


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def run(main: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run a coroutine on a loop that is fit for a daemon."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
