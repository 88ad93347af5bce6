"""The workers of a daemon that gathers with several processes: begun, given their exchanges, asked, and replaced.

To the rest of the daemon it is `RunningExchanges`: what that does itself, this has a worker do. A worker that dies has
left marks, as a daemon that is killed does: its topics have a gap of cause `restart` from the last moment that came,
and its successor closes them.
"""

import asyncio
import logging
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.bus.demand import Unmet
from aggregator.bus.selection import Pattern
from aggregator.bus.view import Wanted
from aggregator.catalog.registry import load_exchange
from aggregator.config.config import Config, ExchangeConfig
from aggregator.daemon import words
from aggregator.daemon.attention import Attention
from aggregator.daemon.balance import Burden, MeasuredLoad
from aggregator.daemon.explain import Explanation
from aggregator.daemon.marks import LIFE, Found, Marks, PassedOn
from aggregator.daemon.moving import Moves
from aggregator.daemon.parts import ExchangePart, allowed, count_of, joined, parts_of
from aggregator.daemon.relayed_demand import Relay, RelayedDemand
from aggregator.daemon.running_exchanges import RunningExchanges
from aggregator.daemon.shared_hosts import LentHosts
from aggregator.daemon.shared_listings import LentListings
from aggregator.daemon.spawning import Spawner
from aggregator.daemon.status import ExchangeStatus, PartStatus, WorkerStatus
from aggregator.errors import AggregatorError
from aggregator.ingest import checkpoint_file
from aggregator.ingest.rest import Hosts
from aggregator.records import Gap, Record
from aggregator.session.subscriptions import Key
from aggregator.sinks.link import RECORDS, WHOLE, WORD, LinkEnd
from aggregator.sinks.worker import Worker
from aggregator.sources.link import LinkedExchange, LinkReader

LONGEST_SILENCE_S = 30.0  # a worker that says nothing for so long hangs, and is killed
LONGEST_START_S = 180.0  # and so has one that begins: on a busy machine each try would end as the one before
LOOK_S = 1.0  # between two looks at that
FIRST_PAUSE_S = 0.5  # before a worker that has died soon after its start is begun anew; doubles
LONGEST_PAUSE_S = 30.0
WELL_S = 2.0  # a worker that has lived for so long did not die of its start; then another process is made ready
UP_S = 15.0  # whoever asks a worker that is just begun waits so long
LEAVE_S = 1.2  # workers have so long to say their last records: sinks have their time after that
LEFT_S = 3.9  # and so long, from then on, to close what they have used: captures too
GATHER_S = 10.0  # a worker has so long to say how it fares
TAKE_S = 3.0  # the disk has so long to give what a worker has left, before the log says that it does not
KEEP_S = 0.3  # in the end it has so long to keep how much has come
REAP_S = 0.02  # between two looks whether a process whose socket is closed has ended
KILLED_S = 0.4  # and it is waited so long for the end of one that is killed
FRAME, REFUSAL = b'"frame":', b'"ok":false'  # so the lines of a tap tell what they are
MOST_TAPPED = 1000  # frames that wait to be sent

T = TypeVar("T")
QuestionOf = Callable[[ExchangePart], words.Question]  # it gives the question to the worker of a part

log = logging.getLogger("aggregator.daemon")


class AskedOfWorker:
    """Something that was asked of a worker, and the pieces of its answer as they come."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[words.ToldPiece] = asyncio.Queue()


class WorkerLife:
    """One process of a worker, from its start to its end."""

    def __init__(self, process: subprocess.Popen[bytes], end: LinkEnd, reader: LinkReader, epoch: str) -> None:
        self.process = process
        self.epoch = epoch
        self.end = end
        self.reader = reader
        self.passed: PassedOn | None = None
        self.heard = time.monotonic()
        self.cpu_s = 0.0
        self.is_silent = asyncio.Event()  # no record comes any more
        self.is_over = asyncio.Event()
        self._asked: dict[int, AskedOfWorker] = {}
        self._number = 0

    def say(self, word: words.FromHub) -> None:
        """Say something."""
        self.end.send(WORD, [words.encode(word)])

    def ask(self, question: words.Question) -> tuple[int, AskedOfWorker]:
        """Ask something; what comes is put into the queue of what this gives."""
        self._number += 1
        asked = self._asked[self._number] = AskedOfWorker()
        self.say(words.AskWorker(self._number, question))
        return self._number, asked

    def forget(self, number: int) -> None:
        """Hear no more of an answer."""
        self._asked.pop(number, None)

    def told(self, word: words.ToldPiece) -> None:
        """Take a part of an answer."""
        asked = self._asked.get(word.id)
        if asked is not None:
            asked.told.put_nowait(word)

    def beat(self, word: words.WorkerBeat) -> None:
        """Note that it lives, and what it has taken."""
        self.cpu_s = word.cpu_s
        if self.passed is not None:
            self.passed.note(word.ts)

    def over(self) -> None:
        """It has ended: nobody answers any more."""
        self.is_silent.set()
        self.is_over.set()
        for number, asked in self._asked.items():
            asked.told.put_nowait(words.ToldPiece(number, error="the process that has it has just ended: ask again"))


class OneWorker:
    """A worker, over all its lives.

    parts: that it has, by their names; of an exchange it has one at most
    hears: the exchanges of which it is told what subscribers ask for: one that is to come is among them
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.parts: dict[str, ExchangePart] = {}
        self.hears: dict[str, None] = {}
        self.life: WorkerLife | None = None
        self.begun = 0
        self.is_up = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.leaving = asyncio.Event()
        self.relay: Relay | None = None

    def part_of(self, exchange: str) -> ExchangePart | None:
        """The part that it has of an exchange."""
        return next((part for part in self.parts.values() if part.exchange == exchange), None)


class Workers(RunningExchanges):
    """The exchanges of a daemon, gathered by several processes.

    views: by exchange, how it stands as far as the stream has told it
    """

    def __init__(
        self,
        config: Config,
        bus: Bus,
        hosts: Hosts,
        attention: Attention,
        keeper: Worker,
        capture: Path | None,
    ) -> None:
        """Prepare; nothing is begun before `begin`."""
        super().__init__(config.exchanges, bus, hosts, attention, keeper, config.state, capture)
        self.views: dict[str, LinkedExchange] = {}
        self.level = config.log_level
        self._form = config.log_format
        self._state = config.state
        self._capture_at = capture
        self._load = MeasuredLoad(config.state / "load.json")
        self._workers = [OneWorker(at + 1) for at in range(config.workers)]
        self._parts: dict[str, list[ExchangePart]] = {}  # by exchange
        self._of: dict[str, OneWorker] = {}  # by the name of a part
        self._by_hand_said: dict[str, dict[str, words.SayTopic]] = {}  # by exchange and topic
        self._leave_until = 0.0  # by the clock that only goes on
        self._balancing: asyncio.Task[None] | None = None
        self._spawner = Spawner()
        self._lent = LentHosts(hosts)
        self._lent_listings = LentListings()
        self.moves = Moves(self)
        self.supply = RelayedDemand(self.configs, bus.views.__contains__)
        for worker in self._workers:
            worker.relay = Relay(worker.hears, partial(_want, worker))
            self.supply.relays.append(worker.relay)

    # --- which worker has what

    def take_over(self, left: Mapping[str, checkpoint_file.Topics], marks: Marks) -> None:
        """Leave to workers what the run before has left of each exchange, and choose who gets which."""
        super().take_over(left, marks)
        self._load.read()
        self._divide()
        for id, topics in left.items():
            try:
                marks.leave_to_workers(id, {part.name: part.left(topics) for part in self._parts[id]})
            except OSError as error:
                log.warning("%s: what the last run left over is lost: %s", id, error)

    def _divide(self) -> None:
        """Divide the exchanges by their load of before: the heaviest part first, each to whoever has least."""
        parts = [part for config in self.configs.values() for part in self._parted(config)]
        for part in sorted(sorted(parts, key=lambda it: it.name), key=self._load_of_part, reverse=True):
            load = self._load_of_part(part)
            self._give(part, f"given to it at the start, as one of {load:.0f} records/s")

    def _parted(self, config: ExchangeConfig) -> list[ExchangePart]:
        """Divide an exchange, where its load or the configuration wants that."""
        fair = sum(map(self._load.of, self.configs)) / len(self._workers)
        count = count_of(config, self._load.of(config.id), fair, len(self._workers))
        if count > 1 and (exchange := load_exchange(config.id)) is not None:  # the hub needs no other connector
            count = allowed(count, exchange.limits)
            log.info("%s: divided among %d workers", config.id, count)
        parts = self._parts[config.id] = parts_of(config.id, count)
        return parts

    def _load_of_part(self, part: ExchangePart) -> float:
        return self._load.of(part.exchange) / (1 if part.symbols is None else part.symbols.count)

    def _load_of(self, worker: OneWorker) -> tuple[float, int, int]:
        return sum(map(self._load_of_part, worker.parts.values())), len(worker.parts), worker.number

    def _give(self, part: ExchangePart, why: str) -> None:
        worker = min(self._without(part), key=self._load_of)
        self._of[part.name] = worker
        worker.parts[part.name] = part
        worker.hears[part.exchange] = None
        self.moves.why[part.name] = why

    def _without(self, part: ExchangePart) -> list[OneWorker]:
        """The workers that have nothing of an exchange."""
        return [worker for worker in self._workers if worker.part_of(part.exchange) is None]

    def of(self, name: str) -> OneWorker | None:
        """The worker that has a part."""
        return self._of.get(name)

    def config_of(self, part: ExchangePart) -> ExchangeConfig:
        """The configuration of a part."""
        return part.configured(self.configs[part.exchange])

    # --- for those that move (`moving.py`)

    def pair(self, name: str, number: int | None) -> tuple[ExchangePart, OneWorker, OneWorker]:
        """A part by its name, the worker that has it, and the one that is to have it. Raises AggregatorError."""
        part = self._part_named(name)
        if part.exchange in self.paused:
            raise AggregatorError(f"{part.exchange} is paused: it can be moved once it goes on")
        giver, others = self._of[name], self._without(part)
        if number is None:
            if not others:
                raise AggregatorError(f"{name} cannot move: every worker has a part of {part.exchange}")
            return part, giver, min(others, key=self._load_of)
        taker = next((worker for worker in self._workers if worker.number == number), None)
        if taker is None:
            raise AggregatorError(f"there is no worker {number}: they are 1 to {len(self._workers)}")
        if taker not in others:
            has = name if taker is giver else f"another part of {part.exchange}"
            raise AggregatorError(f"worker {number} has {has} already")
        return part, giver, taker

    def _part_named(self, name: str) -> ExchangePart:
        """A part by its name. Raises AggregatorError."""
        found = next((part for parts in self._parts.values() for part in parts if part.name == name), None)
        if found is not None:
            return found
        self._named(name)
        names = ", ".join(part.name for part in self._parts[name])
        raise AggregatorError(f"{name} is divided: name one of its parts, {names}")

    async def up(self, worker: OneWorker) -> None:
        """Have a worker be there; one that had no exchange was not begun. Raises AggregatorError."""
        self._begin_worker(worker)
        async for _ in self.told(worker, words.LogFrom(self.level)):
            pass

    async def do(self, worker: OneWorker, question: words.Question) -> bytes:
        """Have a worker do something. Raises AggregatorError."""
        return b"".join([piece async for piece in self.told(worker, question)])

    def hand(self, part: ExchangePart, giver: OneWorker, taker: OneWorker) -> None:
        """Note that another worker has a part from now on."""
        id = part.exchange
        del giver.parts[part.name], giver.hears[id]
        self._of[part.name] = taker
        taker.parts[part.name], taker.hears[id] = part, None
        if giver.life is not None:
            giver.life.reader.gone.add(id)
        if taker.life is not None:
            taker.life.reader.gone.discard(id)
        self.views[id].handed_over()

    def may_have(self, name: str, number: int) -> bool:
        """Tell whether a worker may be given a part: it has nothing else of that exchange."""
        return any(worker.number == number for worker in self._without(self._part_named(name)))

    def said_by_hand(self, id: str) -> list[words.SayTopic]:
        """The topics of an exchange that an operator has asked for, or does without."""
        return list(self._by_hand_said.get(id, {}).values())

    def burdens(self) -> dict[int, Burden]:
        """The burden of each worker, by its number."""
        return {
            each.number: Burden(each.begun, 0.0 if each.life is None else each.life.cpu_s, tuple(sorted(each.parts)))
            for each in self._workers
        }

    def records(self) -> dict[str, float]:
        """About how many records have come of each part from the process that has it now."""
        return {
            part.name: float(worker.life.reader.came[part.exchange])
            for worker in self._workers
            if worker.life is not None
            for part in worker.parts.values()
        }

    # --- as `RunningExchanges` ----------------------------------------------------------------------------------------

    def begin(self, id: str) -> None:
        """Have a worker begin an exchange; it is tried again until it runs."""
        workers = [self._of[part.name] for part in self._parts[id]]
        if id not in self.views:
            view = self.views[id] = LinkedExchange(id, self._bus)
            for gap in self.left_open(id):
                view.note_gap(gap)
            self._left.pop(id, None)  # workers have it
            for worker in workers:
                if worker.life is not None:
                    worker.life.reader.gone.discard(id)
                    worker.life.reader.meet(id)
        for worker in workers:
            self._begin_worker(worker)
        if self._balancing is None:
            self._balancing = asyncio.get_running_loop().create_task(self.moves.balance(), name="balance")

    def _begin_worker(self, worker: OneWorker) -> None:
        if worker.task is None:
            worker.task = asyncio.get_running_loop().create_task(
                self._keep_worker(worker), name=f"worker {worker.number}"
            )

    async def begun(self, id: str) -> None:
        """Wait for the first attempt, where the configuration makes that a condition. Raises AggregatorError."""
        if self.configs[id].on_start_error == "fail":
            await self._do_all(id, lambda _: words.AwaitBegun(id))

    async def add(self, config: ExchangeConfig) -> None:
        """Begin an exchange that was not there. Raises AggregatorError where it must not fail, and has; it is gone."""
        self.configs[config.id] = config
        self.demand.add(config)
        for part in self._parted(config):
            self._give(part, "given to it when it came")
        there = [part for part in self._parts[config.id] if self._of[part.name].task is not None]
        self.begin(config.id)
        try:
            for part in there:
                await self.do(self._of[part.name], words.AddExchange(self.config_of(part)))
                self.relay_again(self._of[part.name])
            await self.begun(config.id)
        except BaseException:
            await self.remove(config.id)
            raise

    async def remove(self, id: str) -> None:
        """End an exchange: its topics end as those that nobody wants any more."""
        await self.moves.leave_off(id, "it is to be gathered no more")
        for part in self._parts.pop(id):
            with suppress(AggregatorError):
                await self.do(self._of[part.name], words.RemoveExchange(id))
            worker = self._of.pop(part.name)
            worker.parts.pop(part.name, None)
            worker.hears.pop(id, None)
            self.moves.why.pop(part.name, None)
            self.relay_again(worker)
        self.demand.remove(id)
        self._forget_instruments(id, ())
        if (view := self.views.pop(id, None)) is not None:
            view.leave()
        self.paused.discard(id)
        self._by_hand_said.pop(id, None)
        del self.configs[id]

    def relay_again(self, worker: OneWorker, *, is_anew: bool = False) -> None:
        """Have a worker know what is asked for of the exchanges that it has now; anew: and say what it cannot have."""
        if worker.relay is not None and worker.is_up.is_set():
            if is_anew:
                worker.relay.forget()
            self.supply.again(worker.relay)

    async def change(self, config: ExchangeConfig) -> None:
        """Have an exchange follow another configuration. Raises AggregatorError; then it is as it was before."""
        await self.moves.leave_off(config.id, "its configuration is another one now")
        await self._do_all(
            config.id,
            lambda part: words.ChangeExchange(part.configured(config)),
            undo=lambda part: words.ChangeExchange(self.config_of(part)),
        )
        self.configs[config.id] = config
        self.demand.offers[config.id].configure(config)

    async def say(self, text: str, pattern: Pattern, *, is_wanted: bool) -> int:
        """Follow the topics of a pattern from now on, or do without them. Raises AggregatorError."""
        id = pattern.exchange
        if id not in self.configs:
            raise AggregatorError(f"{id!a:.80} is not among the exchanges of the configuration; name one of them")
        await self.moves.leave_off(id, "other topics of it are asked for")
        word = words.SayTopic(text, is_wanted)
        count = sum(int(told or b"0") for told in await self._do_all(id, lambda _: word))
        said = self._by_hand_said.setdefault(id, {})
        said.pop(text, None)  # the last that was said comes last
        said[text] = word
        return count

    async def pause(self, id: str) -> int:
        """End an exchange until `resume`: each of its topics has a gap. Gives how many. Raises AggregatorError."""
        self._named(id)
        if id in self.paused:
            raise AggregatorError(f"{id} is paused already")
        await self.moves.leave_off(id, "it is paused")
        told = await self._do_all(
            id, lambda _: words.PauseExchange(id), undo=lambda part: words.AddExchange(self.config_of(part))
        )
        self.paused.add(id)
        return sum(int(count or b"0") for count in told)

    async def resume(self, id: str) -> None:
        """Go on with an exchange that is paused. Raises AggregatorError."""
        self._named(id)
        if id not in self.paused:
            raise AggregatorError(f"{id} is not paused")
        self.paused.remove(id)
        await self._do_all(id, lambda part: words.AddExchange(self.config_of(part)))

    def set_level(self, level: str) -> None:
        """Have workers log from another level on."""
        self.level = level
        for worker in self._workers:
            if worker.life is not None:
                worker.life.ask(words.LogFrom(level))

    def write_stacks(self) -> None:
        """Have each process write what it is at: also one that is stuck, and does not hear what it is asked."""
        for worker in self._workers:
            if worker.life is not None and worker.is_up.is_set():  # one that begins would end of that signal
                worker.life.process.send_signal(signal.SIGUSR2)

    def reopen_captures(self) -> int:
        """Have captures begin new files; how many there are."""
        if self._capture_at is None:
            return 0
        for worker in self._workers:
            if worker.life is not None:
                worker.life.ask(words.ReopenCaptures())
        return len(self.configs)

    async def stop(self) -> None:
        """Have all workers end, and wait for their last records; gaps of topics stay open until the next start."""
        self._leave_until = time.monotonic() + LEFT_S
        self._stop_moves()
        self._spawner.stop()
        for worker in self._workers:
            worker.leaving.set()
            if worker.life is not None:
                worker.life.say(words.LeaveNow())
        for late in await self._silent(LEAVE_S):
            log.error("worker %d does not end, and is killed", late.number)
            if late.life is not None:
                late.life.process.kill()
        await self._silent(KILLED_S)

    async def _silent(self, patience: float) -> list[OneWorker]:
        """Wait until nobody has anything to say; those that may have, after so many seconds."""
        waits = [asyncio.ensure_future(each.life.is_silent.wait()) for each in self._workers if each.life is not None]
        if waits:
            _, late = await asyncio.wait(waits, timeout=patience)
            for wait in late:
                wait.cancel()
        return [each for each in self._workers if each.life is not None and not each.life.is_silent.is_set()]

    def _stop_moves(self) -> None:
        self.moves.stop("the daemon ends")
        if self._balancing is not None:
            self._balancing.cancel()

    async def close(self) -> None:
        """Keep for the next start how much has come of each exchange, and wait for the end of all workers."""
        with suppress(TimeoutError):
            async with asyncio.timeout(KEEP_S):
                await self._keeper.do(partial(self._load.keep, {id: view.records for id, view in self.views.items()}))
        if tasks := [worker.task for worker in self._workers if worker.task is not None]:
            done, late = await asyncio.wait(tasks, timeout=max(0.0, self._leave_until - time.monotonic()))
            for worker in self._workers:
                if worker.task in late and worker.life is not None:
                    log.error("worker %d does not end, and is killed", worker.number)
                    worker.life.process.kill()
            for task in done:
                if not task.cancelled() and task.exception() is not None:
                    log.error("a worker could not be ended", exc_info=task.exception())
        while not self._spawner.is_gone and time.monotonic() < self._leave_until:  # noqa: ASYNC110 - as for a worker
            await asyncio.sleep(REAP_S)
        self._opener.stop()

    # --- what workers are asked

    async def _do_all(self, id: str, of: QuestionOf, *, undo: QuestionOf | None = None) -> list[bytes]:
        """Have the workers of an exchange do something, one after the other. Raises AggregatorError.

        undo: what those that have done it are to do where another one cannot
        """
        told: dict[str, bytes] = {}
        try:
            for part in self._parts[id]:
                told[part.name] = await self.do(self._of[part.name], of(part))
        except AggregatorError:
            for part in [part for part in self._parts.get(id, ()) if part.name in told]:
                if undo is not None:
                    with suppress(AggregatorError):
                        await self.do(self._of[part.name], undo(part))
            raise
        return list(told.values())

    async def told(
        self, worker: OneWorker, question: words.Question, patience: float | None = None
    ) -> AsyncIterator[bytes]:
        """The pieces of an answer as they come. Raises AggregatorError."""
        if worker.task is None:
            raise AggregatorError(f"worker {worker.number} has no exchange, and so was never begun")
        try:
            async with asyncio.timeout(UP_S):
                await worker.is_up.wait()
        except TimeoutError:
            raise AggregatorError(f"worker {worker.number} is being begun anew: ask again") from None
        life = worker.life
        if life is None:
            raise AggregatorError(f"worker {worker.number} is being begun anew: ask again")
        number, asked = life.ask(question)
        try:
            while True:
                async with asyncio.timeout(patience):
                    told = await asked.told.get()
                if told.error is not None:
                    raise AggregatorError(told.error)
                if told.piece:
                    yield told.piece
                if told.is_end:
                    return
        except TimeoutError:
            raise AggregatorError(f"worker {worker.number} does not answer") from None
        finally:
            life.forget(number)

    def having(self, pattern: Pattern) -> list[OneWorker]:
        """The workers of the exchanges that a pattern means."""
        return [each for each in self._workers if any(pattern.is_of(part.exchange) for part in each.parts.values())]

    async def answered(self, line: bytes, workers: Sequence[OneWorker] | None = None) -> list[tuple[int, bytes]]:
        """The answers of workers (null: all) to a line of the control socket; of those that answer."""
        found: list[tuple[int, bytes]] = []
        for worker in self._workers if workers is None else workers:
            with suppress(AggregatorError):
                pieces = [piece async for piece in self.told(worker, words.AnswerLine(line), GATHER_S)]
                found.append((worker.number, b"".join(pieces)))
        return found

    async def tapped(self, pattern: Pattern, line: bytes, most: int) -> AsyncGenerator[bytes, None]:
        """The frames of a tap, of all workers that have such exchanges, as they come. Raises AggregatorError."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_TAPPED)
        refusals: list[str] = []

        async def follow(worker: OneWorker) -> None:
            try:
                async for piece in self.told(worker, words.AnswerLine(line)):
                    if FRAME in piece:
                        await queue.put(piece)
                    elif REFUSAL in piece:
                        refusals.append(msgspec.json.decode(piece)["error"])
            except AggregatorError as error:
                refusals.append(str(error))
            finally:
                await queue.put(None)

        following = [asyncio.ensure_future(follow(worker)) for worker in self.having(pattern)]
        left, is_any = len(following), False
        try:
            while left and most > 0:
                piece = await queue.get()
                if piece is None:
                    left -= 1
                    continue
                is_any, most = True, most - 1
                yield piece
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
        if refusals and not is_any:
            raise AggregatorError(refusals[0])

    async def gathered(self, asked: words.GatherStatus) -> list[tuple[OneWorker, words.GatheredStatus]]:
        """How each worker fares that can say it."""
        found = await asyncio.gather(*(self.gathered_of(worker, asked) for worker in self._workers))
        return [(worker, each) for worker, each in zip(self._workers, found, strict=True) if each is not None]

    async def gathered_of(self, worker: OneWorker, asked: words.GatherStatus) -> words.GatheredStatus | None:
        """How one fares; null: it cannot say it now."""
        if worker.life is None or not worker.is_up.is_set():
            return None
        try:
            blob = b"".join([piece async for piece in self.told(worker, asked, GATHER_S)])
        except AggregatorError:
            return None
        return await asyncio.to_thread(words.gathered, blob)

    def fares(self, id: str, told: Mapping[tuple[int, str], ExchangeStatus]) -> ExchangeStatus:
        """How an exchange fares; `told` is what workers have said of their parts, by their numbers and the exchange."""
        parts = self._parts.get(id, [])
        places = [self._place(part) for part in parts]
        found = [
            told.get((place.worker, id)) or self._absent(part) for part, place in zip(parts, places, strict=True)
        ] or [self._absent(ExchangePart(id, id))]  # it was taken away in the meantime
        whole = joined(found)
        if len(places) == 1:
            return structs.replace(whole, worker=places[0].worker, placed=places[0].placed)
        return structs.replace(whole, parts=places)

    def _absent(self, part: ExchangePart) -> ExchangeStatus:
        """How a part fares whose worker does not say it, as far as the stream has told."""
        view = self.views.get(part.exchange)
        states: Counter[str] = Counter()
        for found in () if view is None else view.states(None if part.symbols is None else part.symbols.has):
            states.update(found)
        return ExchangeStatus(
            id=part.exchange,
            state="starting",
            trouble="the process that gathers from it does not answer, and may be being begun anew",
            topics=dict(states),
            gaps=len(self._gaps_of(part)),
        )

    def _gaps_of(self, part: ExchangePart) -> dict[Key, Gap]:
        """The gaps that are open of a part, as the stream has it."""
        view = self.views.get(part.exchange)
        return {} if view is None else {key: gap for key, gap in view.gaps.items() if part.tells(gap)}

    def _place(self, part: ExchangePart) -> PartStatus:
        """The worker that has a part, and why."""
        why, move = self.moves.why.get(part.name, ""), self.moves.under_way
        if move is not None and move.part == part:
            why = f"{why}; now {move.words()}"
        return PartStatus(name=part.name, worker=self._of[part.name].number, placed=why)

    def placed(self, explained: Explanation, id: str, number: int) -> Explanation:
        """An explanation that says which process gathers the topic, too: the one that has told it."""
        part = next((each for each in self._parts.get(id, ()) if self._of[each.name].number == number), None)
        if part is None:
            return explained
        as_what = "" if part.symbols is None else f", which has {part.name}"
        where = f"gathered by worker {number}{as_what}: {self._place(part).placed}"
        return structs.replace(explained, steps=[where, *explained.steps])

    def status(self, told: Mapping[int, words.GatheredStatus]) -> list[WorkerStatus]:
        """How each of them fares; `told` is what they have said, by their numbers."""
        found = []
        for worker in self._workers:
            life, said = worker.life, told.get(worker.number)
            found.append(
                WorkerStatus(
                    number=worker.number,
                    pid=None if life is None else life.process.pid,
                    exchanges=list(worker.parts),
                    begun=worker.begun,
                    records=0 if life is None else life.reader.records,
                    cpu_s=0.0 if life is None else round(life.cpu_s, 2),
                    memory_bytes=None if said is None else said.process.memory_bytes,
                    lag_max_ms=None if said is None else said.process.lag_max_ms,
                    coming=self.moves.coming_to(worker),
                )
            )
        return found

    # --- one worker

    async def _keep_worker(self, worker: OneWorker) -> None:
        """Have a worker live, and another after it where it dies."""
        await asyncio.sleep(0)  # all that it is to have is known then
        pause = FIRST_PAUSE_S
        while not worker.leaving.is_set():
            begun = time.monotonic()
            try:
                life = self._start(worker)
            except OSError as error:
                log.error("worker %d cannot be begun: %s; again in %g s", worker.number, error, pause)  # noqa: TRY400
            else:
                await self._live(worker, life)
                if worker.leaving.is_set() and life.process.returncode == 0:
                    return
                self._say_end(worker, life)
                if worker.leaving.is_set():  # its marks stay as they are
                    return
                await self._succeed(worker, life)
            if time.monotonic() - begun >= WELL_S:
                pause = FIRST_PAUSE_S
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await worker.leaving.wait()
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def _say_end(self, worker: OneWorker, life: WorkerLife) -> None:
        then = f"another goes on with {', '.join(worker.parts)}"
        log.error(
            "worker %d: process %d has ended (%s); %s",
            worker.number,
            life.process.pid,
            _end_of(life.process.returncode),
            "the next start tells what is missing" if worker.leaving.is_set() else then,
        )

    def _start(self, worker: OneWorker) -> WorkerLife:
        worker.begun += 1
        process, line = self._spawner.take()
        end = LinkEnd(line)
        epoch = f"{self._bus.epoch}{LIFE}{worker.number}.{worker.begun}"
        reader = LinkReader(self._bus, self.views, partial(_ask_whole, worker))
        life = worker.life = WorkerLife(process, end, reader, epoch)
        end.take, end.ended = partial(self._heard, worker, life), life.over
        end.begin()
        life.say(
            words.BeginWorker(
                epoch,
                [self.config_of(part) for part in worker.parts.values() if part.exchange not in self.paused],
                str(self._state),
                self.level,
                self._form,
                None if self._capture_at is None else str(self._capture_at),
                worker.begun > 1,
            )
        )
        self._lent.tell(life.say)
        return life

    async def _live(self, worker: OneWorker, life: WorkerLife) -> None:
        """Wait for the end of a process; one that hangs is killed."""
        try:
            while not life.is_over.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await life.is_over.wait()
                patience = LONGEST_SILENCE_S if worker.is_up.is_set() else LONGEST_START_S
                if time.monotonic() - life.heard > patience and not life.is_over.is_set():
                    log.error("worker %d says nothing for %.0f s, and is killed", worker.number, patience)
                    life.process.kill()
                    life.heard = time.monotonic()
        finally:
            worker.life = None
            worker.is_up.clear()
            self._lent.leave(life)
            self._lent_listings.leave(life)
            if not life.is_over.is_set():
                life.process.kill()
            life.end.close()
        while life.process.poll() is None:  # noqa: ASYNC110 - a thread that waits would keep our own end waiting
            await asyncio.sleep(REAP_S)

    def _heard(self, worker: OneWorker, life: WorkerLife, kind: int, frame: memoryview) -> None:
        life.heard = time.monotonic()
        try:
            if kind == RECORDS:
                life.reader.take(frame)
                if life.passed is not None:
                    life.passed.note(life.reader.last_ts)
            elif kind == WHOLE:
                life.reader.take_whole(frame)
            else:
                self._word(worker, life, words.from_worker(frame))
        except Exception:
            log.exception(
                "worker %d: what it sends cannot be taken, for an error of our own; it is killed", worker.number
            )
            life.process.kill()
            life.end.close()
            life.over()

    def _word(self, worker: OneWorker, life: WorkerLife, word: words.FromWorker) -> None:
        match word:
            case words.WorkerUp():
                self._up(worker, life, word)
            case words.WorkerOver():
                life.is_silent.set()
            case words.ExpectTopics(topics=topics):
                self._expect(topics)
            case words.WorkerBeat():
                life.beat(word)
            case words.ToldPiece():
                life.told(word)
            case words.UnmetWishes():
                self.supply.told(word.who, self._unmet(worker, word.unmet), worker.relay if word.is_answer else None)
            case words.StandsBy():
                self.moves.told(worker, word)
            case words.NoBook():
                self._no_book(worker, word)
            case _:
                self._lend(worker, life, word)

    def _no_book(self, worker: OneWorker, word: words.NoBook) -> None:
        view, part = self.views.get(word.exchange), worker.part_of(word.exchange)
        if view is not None and part is not None and (part.symbols is None or part.symbols.has(word.raw_symbol)):
            view.kept_book(word.raw_symbol, None).doubt()

    def _unmet(self, worker: OneWorker, unmet: Sequence[Unmet]) -> list[Unmet]:
        """Those of which a worker can say so: of an exchange that is to come another one does.

        A subscriber may have asked for something derived, which only the feed can read.
        """
        return [each for each in unmet if not self.moves.is_coming(worker, each.topic.split(":")[1])]

    def _lend(
        self,
        worker: OneWorker,
        life: WorkerLife,
        word: words.AskTurn | words.AskConnect | words.HostRests | words.AskListing | words.ListingRead,
    ) -> None:
        """Give a worker its turn at a host, or with a listing; have everyone leave a host alone that wants rest."""
        match word:
            case words.AskTurn() | words.AskConnect():
                self._lent.ask(life, word, life.say)
            case words.AskListing():
                self._lent_listings.ask(life, word, life.say)
            case words.ListingRead():
                self._lent_listings.told(life, word)
            case words.HostRests():
                self._lent.rests(word)
                for other in self._workers:
                    if other.life is not None and other is not worker:
                        other.life.say(word)

    def _up(self, worker: OneWorker, life: WorkerLife, word: words.WorkerUp) -> None:
        """A process is there: note where it is, and have it follow what was asked for by hand."""
        if word.numbers is not None:
            try:
                life.passed = PassedOn(Path(word.numbers))
                life.passed.note(time.time_ns())
            except (OSError, ValueError) as error:  # it may be shorter than it was
                log.error(  # noqa: TRY400 - no fault of ours
                    "worker %d: %s cannot be opened: %s; how far its records have come is noted nowhere, so what is "
                    "under way when this process is killed would be missing untold: have nobody but the daemon, whose "
                    "user must be able to, read and write there, and begin it anew",
                    worker.number,
                    word.numbers,
                    error,
                )
        worker.is_up.set()
        asyncio.get_running_loop().call_later(WELL_S, self._spawner.prepare)
        if worker.relay is not None:
            worker.relay.forget()
            self.supply.again(worker.relay)
        if worker.begun > 1:
            task = asyncio.get_running_loop().create_task(self._say_again(worker, life))
            self._tasks[f"worker {worker.number}"] = task

    async def _say_again(self, worker: OneWorker, life: WorkerLife) -> None:
        """Have another process follow what was asked for by hand, once its exchanges run."""
        ids = [part.exchange for part in worker.parts.values()]
        said = [each for id in ids for each in self._by_hand_said.get(id, {}).values()]
        for each in said:
            while worker.life is life and not life.is_over.is_set():
                try:
                    await self.do(worker, each)
                    break
                except AggregatorError:
                    await asyncio.sleep(LOOK_S)

    def _expect(self, topics: Iterable[Wanted]) -> None:
        by_id: dict[str, list[Wanted]] = {}
        for topic in topics:
            by_id.setdefault(topic.exchange, []).append(topic)
        for id, wanted in by_id.items():
            if (view := self.views.get(id)) is not None:
                view.expect(wanted)

    async def _succeed(self, worker: OneWorker, life: WorkerLife) -> None:
        """Tell what is missing of a process that has died, and then leave it to the next one.

        Where the end comes in between, its marks stay as they are, and the next start tells it. One that went on
        without what was left would close gaps that nobody has told.
        """
        marks = self.marks
        if marks is None:
            return
        stands = [(part, self._gaps_of(part)) for part in worker.parts.values() if part.exchange in self.views]
        found = await self._of_disk(worker, partial(_found, marks, stands))
        if found is None:
            log.error("worker %d: the next start tells what is missing, as the disk does not answer", worker.number)
            return
        now = time.time_ns()
        gaps: list[Record] = [structs.replace(gap, ts_recv=now) for left in found.values() for gap in left.gaps]
        for gap in gaps:
            if (view := self.views.get(gap.exchange)) is not None:
                view.note(gap)
        await self._tell(gaps)
        await self._of_disk(worker, partial(self._hand_down, found, life.passed))

    async def _of_disk(self, worker: OneWorker, call: Callable[[], T]) -> T | None:
        """Have the disk do something, however long it takes; null where the end comes before that is done."""
        doing, leaving = asyncio.ensure_future(self._keeper.do(call)), asyncio.ensure_future(worker.leaving.wait())
        first = partial(asyncio.wait, (doing, leaving), return_when=asyncio.FIRST_COMPLETED)
        done, _ = await first(timeout=TAKE_S)
        if not done:
            log.error("worker %d: another one begins once the disk answers", worker.number)
            await first()
        leaving.cancel()
        return doing.result() if doing.done() else None

    def _hand_down(self, found: Mapping[str, Found], passed: PassedOn | None) -> None:
        for name, left in found.items():
            try:
                if self.marks is not None:
                    self.marks.leave_to_worker(name, left.topics)
            except OSError as error:
                log.warning("%s: what the last run left over is lost: %s", name, error)
        if passed is not None:
            passed.remove()


def _found(marks: Marks, stands: Sequence[tuple[ExchangePart, Mapping[Key, Gap]]]) -> dict[str, Found]:
    found = {}
    for part, gaps in stands:
        try:
            found[part.name] = marks.find(part.name, part.exchange, gaps)
        except OSError as error:
            log.warning("%s: what a worker left over is lost: %s", part.name, error)
    return found


def _ask_whole(worker: OneWorker, exchange: str, raw_symbol: str) -> None:
    if worker.life is not None:
        worker.life.say(words.AskWhole(exchange, raw_symbol))


def _want(worker: OneWorker, who: int, patterns: dict[str, Pattern]) -> bool:
    if worker.life is None or not worker.is_up.is_set():
        return False
    worker.life.say(words.WantTopics(who, patterns))
    return True


def _end_of(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
