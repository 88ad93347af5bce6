"""A part of an exchange moves from one worker to another while it streams, as the hub has it done: make before break.

The part is mostly the whole exchange (`parts.py`).

The second worker stands by: it gathers, hears from here what the first one has published, and publishes nothing
(`standing_by.py`). Once it could go on, the first one lets go; all that it has published has come here then, and has
gone on to the second. So nothing is missing and nothing comes twice. Until the first one has let go, nothing has
changed for anybody, and whatever goes wrong ends the attempt alone.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aggregator.bus.bus import encode_lines
from aggregator.bus.passing import PassedBatch
from aggregator.catalog.registry import load_exchange
from aggregator.daemon import words
from aggregator.daemon.balance import EVERY_S, Balance
from aggregator.daemon.parts import ExchangePart
from aggregator.errors import AggregatorError
from aggregator.ingest.runner import for_rest, for_streams, limits_of_one
from aggregator.records import Record

if TYPE_CHECKING:
    from aggregator.daemon.workers import OneWorker, WorkerLife, Workers

MOVE_S = 120.0  # so long a worker may take until it could go on
LOOK_S = 1.0  # between two looks at whether it can be done still
LET_GO_S = 10.0  # so long the other one may take to let go; then it is killed
AGAIN_S = 600.0  # between two moves that balance the load
MOST_BEHIND_BYTES = 4 << 20  # a worker that has not read so much of what it is to hear does not get on
ROOM = 3  # an exchange that limits connections must allow so many times those that there are

log = logging.getLogger("aggregator.daemon")


class ExchangeMove:
    """One exchange, or a part of it, on its way."""

    def __init__(self, part: ExchangePart, giver: "OneWorker", taker: "OneWorker") -> None:
        self.part = part
        self.exchange = part.exchange
        self.giver, self.taker = giver, taker
        self._lives: tuple[WorkerLife, WorkerLife] | None = None
        self.lacking: int | None = None  # topics that the second does not have yet; null: it has not said
        self.heard = asyncio.Event()
        self.over = asyncio.Event()
        self.stopped: str | None = None  # why it is left off

    def living(self) -> tuple["WorkerLife", "WorkerLife"]:
        """Both processes. Raises AggregatorError where they are not those of the beginning, or it is to be left off."""
        if self.stopped is not None:
            raise AggregatorError(self.stopped)
        now = []
        for worker in (self.giver, self.taker):
            if worker.life is None:
                raise AggregatorError(f"worker {worker.number} has ended")
            now.append(worker.life)
        found = now[0], now[1]
        if self._lives not in {None, found}:
            raise AggregatorError("one of the two workers has ended")
        self._lives = found
        return found

    def hears(self, life: "WorkerLife") -> bool:
        """Tell whether a process is the one that stands by."""
        return self._lives is not None and self._lives[1] is life

    def words(self) -> str:
        """How far it is."""
        lacking = "" if self.lacking is None else f": {self.lacking} topics are not there yet"
        return f"{self.part.name} moves from worker {self.giver.number} to {self.taker.number}{lacking}"


class Moves:
    """The moves of one daemon, one after the other; and why each part of an exchange is where it is."""

    def __init__(self, workers: "Workers") -> None:
        self.why: dict[str, str] = {}  # by the name of a part
        self.under_way: ExchangeMove | None = None
        self._workers = workers
        self._balance = Balance(workers.may_have)

    async def move(self, name: str, number: int | None, why: str) -> int:
        """Have another worker gather an exchange; the number of that one. Raises AggregatorError: it stays.

        name: of the exchange, or of a part of it
        number: of the worker; null: the one with the fewest records
        """
        if self.under_way is not None:
            raise AggregatorError(f"{self.under_way.words()}: one after the other")
        part, giver, taker = self._workers.pair(name, number)
        move = self.under_way = ExchangeMove(part, giver, taker)
        try:
            await self._workers.up(taker)
            first, _ = move.living()
            await self._check(move)
            log.info("%s: worker %d stands by to go on with it: %s", name, taker.number, why)
            first.reader.heard = self._pass_on
            try:
                await self._prepared(move)
                await self._let_go(move)
            finally:
                first.reader.heard = None
            await self._go_on(move)
            self.why[name] = f"moved there at {datetime.now(UTC):%H:%M:%S}: {why}"
            log.warning("%s: moved from worker %d to %d: %s", name, giver.number, taker.number, why)
        finally:
            self.under_way = None
            move.over.set()
        return taker.number

    async def leave_off(self, id: str, why: str) -> None:
        """Leave an exchange where it is, unless it is there already: something else is to be done with it."""
        move = self.under_way
        if move is not None and move.exchange == id:
            self.stop(why)
            await move.over.wait()

    def stop(self, why: str) -> None:
        """Have whatever moves stay where it is."""
        if self.under_way is not None:
            self.under_way.stopped = why
            self.under_way.heard.set()

    def told(self, worker: "OneWorker", word: words.StandsBy) -> None:
        """Hear how far a worker is that stands by."""
        move = self.under_way
        if move is not None and move.taker is worker and move.exchange == word.exchange:
            move.lacking = word.lacking
            move.heard.set()

    def is_coming(self, worker: "OneWorker", id: str) -> bool:
        """Tell whether an exchange is to come to a worker, and has not."""
        move = self.under_way
        if move is None or move.taker is not worker or move.exchange != id:
            return False
        return worker is not self._workers.of(move.part.name)

    def coming_to(self, worker: "OneWorker") -> str | None:
        """The exchange that is on its way to a worker, in words."""
        move = self.under_way
        return None if move is None or move.taker is not worker else move.words()

    # --- the steps ----------------------------------------------------------------------------------------------------

    async def _check(self, move: ExchangeMove) -> None:
        """Raise AggregatorError where an exchange cannot be gathered twice for a while."""
        id = move.exchange
        gathered = await self._workers.gathered_of(move.giver, words.GatherStatus([]))
        found = next((each for each in gathered.exchanges if each.id == id), None) if gathered is not None else None
        if found is None or found.state != "running":
            raise AggregatorError(f"{id} does not run now, and can be moved once it does")
        exchange = load_exchange(id)
        processes = self._workers.config_of(move.part).processes
        limits = None if exchange is None else limits_of_one(exchange.limits, processes)
        count = None if limits is None else for_streams(limits)
        if limits is None or count is None:
            return
        here = sum(max(1, len(shard.connections)) for shard in found.shards)
        if here * ROOM > count - for_rest(limits):
            raise AggregatorError(
                f"{move.part.name} stays where it is: it has {here} connections and may have {limits.connections}; "
                f"while it moves it has twice as many, and for a moment some more"
            )

    async def _prepared(self, move: ExchangeMove) -> None:
        """Have the second one come to where it could go on. Raises AggregatorError; then nothing has changed."""
        try:
            await self._stand_by(move)
        except AggregatorError as error:
            await self._drop(move)
            raise AggregatorError(f"{move.part.name} stays where it is: {error}") from None

    async def _stand_by(self, move: ExchangeMove) -> None:
        workers, id, taker = self._workers, move.exchange, move.taker
        until = time.monotonic() + MOVE_S
        standing = encode_lines(list(self._standing(move.part)))
        await workers.do(taker, words.StandBy(workers.config_of(move.part), standing))
        taker.hears[id] = None
        workers.relay_again(taker)
        for said in workers.said_by_hand(id):
            while not await self._is_done(move, said):
                await self._wait(move, until)
        while move.lacking != 0:
            await self._wait(move, until)
        move.living()

    def _standing(self, part: ExchangePart) -> Iterator[Record]:
        """How its topics stand, and which gaps are open."""
        view = self._workers.views[part.exchange]
        for wanted in view.wanted():
            if part.symbols is None or part.symbols.has(wanted.raw_symbol):
                yield from view.health(wanted.channel, wanted.raw_symbol)
        yield from filter(part.tells, view.gaps.values())

    async def _is_done(self, move: ExchangeMove, said: words.SayTopic) -> bool:
        """Have the second worker follow what was said by hand; it may not run yet."""
        try:
            await self._workers.do(move.taker, said)
        except AggregatorError:
            return False
        return True

    async def _wait(self, move: ExchangeMove, until: float) -> None:
        """Wait until something is heard. Raises AggregatorError where it takes too long, or cannot be any more."""
        _, life = move.living()
        if life.end.waiting > MOST_BEHIND_BYTES:
            raise AggregatorError(f"worker {move.taker.number} does not keep up")
        if time.monotonic() > until:
            raise AggregatorError(f"{move.lacking} of its topics are not there after {MOVE_S:.0f} s")
        move.heard.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await move.heard.wait()
        move.living()

    def _pass_on(self, batch: PassedBatch) -> None:
        """Have the second worker hear what the first one publishes of the exchange."""
        move = self.under_way
        life = None if move is None else move.taker.life
        if move is None or life is None or not move.hears(life):
            return
        at = [n for n, key in enumerate(batch.keys) if key[1] == move.exchange]
        if at:
            lines = batch.blob if len(at) == batch.count else batch.chosen(at).blob
            life.say(words.HeardOfStream(move.exchange, lines))

    async def _go_on(self, move: ExchangeMove) -> None:
        """Have the second one go on, and the first one hang up."""
        workers, id = self._workers, move.exchange
        second = move.taker.life
        workers.hand(move.part, move.giver, move.taker)
        try:
            await workers.do(move.taker, words.TakeOver(id))
        except AggregatorError as error:
            log.error("%s: worker %d cannot go on with it, and is killed: %s", id, move.taker.number, error)  # noqa: TRY400
            if second is not None and move.taker.life is second:
                second.process.kill()
        workers.relay_again(move.taker, is_anew=True)
        try:
            await workers.do(move.giver, words.RemoveExchange(id))
        except AggregatorError as error:
            log.warning("%s: worker %d could not hang up: %s", id, move.giver.number, error)
        workers.relay_again(move.giver)

    async def _let_go(self, move: ExchangeMove) -> None:
        """Have the first one publish nothing more. Raises AggregatorError where that went wrong: it has ended then."""
        id, (first, second) = move.exchange, move.living()
        try:
            async with asyncio.timeout(LET_GO_S):
                await self._workers.do(move.giver, words.LetGo(id, second.epoch))
        except (AggregatorError, TimeoutError) as error:
            trouble = str(error) or f"worker {move.giver.number} does not let go"
        else:
            if move.taker.life is second:
                return
            trouble = f"worker {move.taker.number} has just ended"
        if move.giver.life is first:  # nobody knows whether it has let go, or nobody is there to go on
            log.error("%s: %s; worker %d is killed, and another goes on with it", id, trouble, move.giver.number)
            first.process.kill()
        await self._drop(move)
        raise AggregatorError(trouble)

    async def _drop(self, move: ExchangeMove) -> None:
        """Have the second one gather no more what it does not get."""
        move.taker.hears.pop(move.exchange, None)
        if move.taker.life is not None and move.hears(move.taker.life):
            try:
                await self._workers.do(move.taker, words.RemoveExchange(move.exchange))
            except AggregatorError as error:
                log.warning("%s: worker %d could not hang up: %s", move.exchange, move.taker.number, error)
        self._workers.relay_again(move.taker)

    # --- balance ------------------------------------------------------------------------------------------------------

    async def balance(self) -> None:
        """Move an exchange where that makes the busiest worker less busy, again and again, until cancelled."""
        tried: dict[str, float] = {}
        while True:
            await asyncio.sleep(EVERY_S)
            now = time.monotonic()
            burdens = self._workers.burdens()
            found = self._balance.look(now, burdens, self._workers.records())
            if found is None or self.under_way is not None or now - max(tried.values(), default=-AGAIN_S) < AGAIN_S:
                continue
            tried[found.exchange] = now
            try:
                await self.move(found.exchange, found.worker, found.why)
            except AggregatorError as error:
                log.info("%s; it was to move, as %s", error, found.why)
