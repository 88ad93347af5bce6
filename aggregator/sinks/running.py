"""The frame of every sink: it opens it, gives it batches until the stream ends, and answers for each record.

A record that came for a sink is written, stands in the dead letters, or is told to the sink as missing. One sink's
trouble reaches no other: each has its own queue and its own task, and publishing waits for none.
"""

import asyncio
import logging
import random
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Protocol, TypeVar

from msgspec import Raw

from aggregator.bus.bus import Batch, Bus
from aggregator.bus.history import Cursor
from aggregator.errors import ConfigError
from aggregator.sinks.dead_letters import DeadLetter, DeadLetters
from aggregator.sinks.notes import sink_gap
from aggregator.sinks.paths import Scope
from aggregator.sinks.places import NoPlace, PlaceNotes
from aggregator.sinks.queue import Queue
from aggregator.sinks.sink import Context, Ended, Refused, Retry, SinkConfig, Writer
from aggregator.sinks.spill import SpillQueue
from aggregator.sinks.status import SinkStatus, State
from aggregator.sinks.unwritten import UNWRITTEN, WAITING, UnwrittenNote

OF_DATA = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)  # the record may be to blame for these
MOST_FAILURES = 4  # so often one batch may meet such an error; then the records to blame are looked for
LAST_PAUSE_S = 0.1  # between two tries while the daemon stops
STEP = 0.05  # the part of a timeout within which a second step of a write changes nothing
CLOSING_S = 0.5  # a writer has so long to close after a failure, or when the time to drain is over
SILENT_S = 60.0  # for so long after a line of the log a sink that fails again and again is not named anew

T = TypeVar("T")

log = logging.getLogger("aggregator.sinks")


class Running(Protocol):
    """A sink of a configuration at work.

    is_listed: whether its status is one of those of sinks
    goes_on: whether the next life of the daemon gives it what this one does not
    """

    is_listed: bool

    @property
    def goes_on(self) -> bool: ...

    name: str
    task: asyncio.Task[None] | None

    async def start(self) -> None:
        """Begin. Raises ConfigError where it cannot be opened, and that is a reason not to start."""

    def receive(self, batch: Batch) -> None:
        """Take a batch beside those that are published from now on."""

    async def room(self) -> None:
        """Wait until its queue is at most half full."""

    def reopen(self) -> bool:
        """Have it begin new files; whether it has any."""

    def end(self) -> None:
        """Let it write what it holds, and then end."""

    async def abandon(self) -> int:
        """End it now; how many records it has not taken."""

    def status(self) -> SinkStatus:
        """How it fares."""

    def detail(self) -> object:
        """The status that its writer adds to that; null: it adds none."""


class _Pauses:
    """The pauses between tries: they double, and each is shortened at random, so that not all call at once."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def next(self) -> float:
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause * random.uniform(0.5, 1)

    def reset(self) -> None:
        self._next = self._first


def _is_to_end() -> bool:
    """Tell whether this task itself was cancelled, and not a call in a client library, whose error looks the same."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


class QueuedSink:
    """A sink with a queue of its own.

    dead_letters: where they go unless the configuration says it; null: nowhere, and what is refused is told as missing
    place: the file of the place that it has reached, where what does not fit into its queue is left to the journal
    unwritten: the file of the note since when something is not written; null: nowhere
    """

    is_listed = True

    def __init__(
        self,
        config: SinkConfig,
        bus: Bus,
        context: Context,
        *,
        dead_letters: Path | None = None,
        place: Path | None = None,
        unwritten: Path | None = None,
    ) -> None:
        self.name = config.name
        self._unwritten = unwritten
        self._note: UnwrittenNote | None = None
        self._began: Cursor | None = None  # where a sink that spills began
        self._places: PlaceNotes | None = None
        self.queue = Queue(config.sink.name, bus.epoch, config.delivery)
        if place is not None:
            if bus.history is None:
                raise ConfigError(f"sink {self.name} cannot spill: there is no journal to read from")
            self._places = PlaceNotes(config.name, place)
            queue = self.queue = SpillQueue(config.sink.name, bus, bus.history, config.delivery)
            context.place = lambda: queue.place
        context.fail, context.step, context.settle = self._fail, self._step, self._settle
        self.task: asyncio.Task[None] | None = None
        self._config = config
        self._delivery = config.delivery
        self._bus = bus
        self._context = context
        path = config.delivery.dead_letters or dead_letters
        self._dead = None if path is None else DeadLetters(path, config.delivery.dead_letters_bytes)
        self._writer: Writer | None = None
        self._lasting: Cursor | None = None  # its writer has said so last; null: all that was taken
        self._unlasting: tuple[Cursor | None, int] = (None, 0)  # so many were taken behind this place
        self._at: deque[Batch] = deque()  # a batch that was taken from the queue and is to be written, or parts of one
        self._raised: Exception | None = None  # by a write within the call that published, or by nothing that was given
        self._busy: Awaitable[None] | None = None  # such a write asked to wait for it
        self._limit: asyncio.Timeout | None = None  # it ends the call that is waited for
        self._pauses = _Pauses(config.delivery.backoff, config.delivery.longest_backoff)
        self._failures = 0  # in a row, with the batch that is being written
        self._is_ready = True  # to be given a batch within the call that publishes
        self._state: State = "opening"
        self._failing: str | None = None
        self._is_said = False  # the log has a line that it fails
        self._silent_until = 0.0
        self._dropped_then = 0  # records that were dropped before it began to fail
        self._written = self._refused = self._bytes = self._batches = self._retried = self._restarts = 0
        self._is_told_dead = False
        self._is_attached = False

    # --- from outside -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin. Raises ConfigError where it cannot be opened, and that is a reason not to start."""
        writer = None
        if self._delivery.on_start_error == "fail":
            try:
                writer = await self._open()
            except ConfigError:
                raise
            except Exception as error:
                raise ConfigError(f"sink {self.name} cannot be opened: {_said(error)}") from error
        await self._begin_where_it_was()
        self._tell_what_was_left()
        self._bus.attach(self.queue.put)
        self._is_attached = True
        self.task = asyncio.get_running_loop().create_task(self._run(writer), name=f"sink {self.name}")

    async def _begin_where_it_was(self) -> None:
        """Have a queue that spills begin at the place that a former life has left."""
        queue, places = self.queue, self._places
        if places is None or not isinstance(queue, SpillQueue):
            return
        try:
            place = await places.begin()
        except NoPlace as error:
            log.error("sink %s: where it was is not known, it begins anew, and a gap tells it: %s", self.name, error)  # noqa: TRY400
            queue.begin_anew(self._context.clock())
        else:
            if place is not None:
                queue.begin_at(place)
        places.follow(lambda: self._place(queue))

    def _tell_what_was_left(self) -> None:
        """Have the sink told first what a former life had not written, and note the same of this one."""
        if self._unwritten is None:
            return
        try:
            note = UnwrittenNote(self._unwritten)
        except OSError as error:
            log.warning("sink %s: what a kill would lose of it cannot be noted: %s", self.name, error)
            return
        self._note, queue = note, self.queue
        if isinstance(queue, SpillQueue):  # whatever it lacks from now on it reads from the journal
            self._began = queue.place
        else:
            queue.unwritten = note.view
        if note.left is not None:
            since, until = note.left
            until = until or max(self._context.deaths.values(), default=self._context.clock())
            self._tell(since, until)
            note.view[1] = until

    def _tell(self, since: int, until: int) -> None:
        """Have the sink told that it may lack anything of a time, in ns."""
        type_, epoch = self._config.sink.name, self._bus.epoch
        self.queue.begin_behind(
            sink_gap(
                type_,
                Scope(),
                gap_id=f"{type_}:{epoch}:{since}-unwritten",
                cause="restart",
                ts=(since, max(since, until)),
                offset=self._bus.offset,
            )
        )

    def _settle(self) -> None:
        """Note since when something is not written, where the sink is at nothing that was taken."""
        if self._places is None and self._note is not None and not self._at:
            self.queue.settle()

    def _place(self, queue: SpillQueue) -> Cursor:
        """Where the next life goes on: behind what was taken, and is lasting."""
        if self._writer is not None:
            self._lasting = self._writer.lasting()
        place = self._lasting or queue.place
        if self._note is not None and place != self._began:
            self._note.view[0] = 0  # the gap of a former life is told
        return place

    def receive(self, batch: Batch) -> None:
        self.queue.put(batch)

    async def room(self) -> None:
        await self.queue.room()

    def reopen(self) -> bool:
        return self._writer is not None and self._writer.reopen()

    def detail(self) -> object:
        return None if self._writer is None else self._writer.detail()

    def end(self) -> None:
        self._detach()
        self.queue.end()

    def _detach(self) -> None:
        if self._is_attached:
            self._is_attached = False
            self._bus.detach(self.queue.put)

    async def abandon(self) -> int:
        """End it now; how many records it has not taken."""
        if self.task is not None and not self.task.done():
            self.task.cancel()
            await asyncio.wait([self.task], timeout=CLOSING_S)
        return self._let_go()

    def _let_go(self) -> int:
        if self._note is not None:
            self.queue.unwritten = [0, 0]
            self._note.end(self._context.clock())
            self._note = None
        left = self.queue.abandon()
        self.queue.dropped += left
        self._at.clear()
        return left

    @property
    def goes_on(self) -> bool:
        return self._places is not None

    def status(self) -> SinkStatus:
        late = self._context.lost
        return SinkStatus(
            name=self.name,
            type=self._config.sink.name,
            state=self._state,
            failing=self._failing or self._context.trouble,
            received=self.queue.received,
            written=self._written - late,
            refused=self._refused,
            dropped=self.queue.dropped + late,
            held=self.queue.held,
            held_bytes=self.queue.held_bytes,
            spilled=self.queue.spilled,
            bytes=self._bytes,
            batches=self._batches,
            retried=self._retried,
            restarts=self._restarts,
            removed=self._context.removed,
        )

    # --- the task ---------------------------------------------------------------------------------------------------

    async def _run(self, writer: Writer | None) -> None:
        try:
            while True:
                try:
                    self._writer = writer or await self._open()
                    writer = None
                    self._state = "running"
                    self.queue.held_since = self._writer.held_since
                    await self._give_all(self._writer)
                    await self._timed(self._writer.flush())
                    self._lasting = self._writer.lasting()
                    writer, self._writer = self._writer, None
                    await writer.close()
                    self._take_back(writer)
                    self._settle()
                    return
                except Ended:
                    self.queue.unwritten[0] = 0  # nobody wants it
                    self._let_go()
                    return
                except asyncio.CancelledError:
                    if _is_to_end():
                        raise
                    await self._failed(OSError("a call of its own was cancelled"))
                except Exception as error:  # noqa: BLE001 - whatever a sink raises concerns no other
                    await self._failed(error)
        finally:
            self._state = "ended"
            self._detach()
            if self._places is not None:
                await self._places.end()
            self.queue.hand_over_with(None)
            await self._close()
            if self._dead is not None:
                self._dead.close()

    async def _open(self) -> Writer:
        self._state = "opening"
        return await self._timed(self._config.sink.open(self._config.settings, self._context))

    async def _timed(self, call: Awaitable[T]) -> T:
        """Wait for a call, but no longer than a write may come no further. Raises TimeoutError with words."""
        seconds = self._delivery.timeout
        if not seconds:
            return await call
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                self._limit = limit
                return await call
        except TimeoutError as error:
            if limit.expired():
                raise TimeoutError(f"no answer within {seconds:g} s") from error
            raise
        finally:
            self._limit = None

    def _step(self) -> None:
        """Wait longer for the call that has come further."""
        limit, seconds = self._limit, self._delivery.timeout
        if limit is None or limit.expired():
            return
        until, when = asyncio.get_running_loop().time() + seconds, limit.when()
        if when is not None and until - when > seconds * STEP:  # hot: there may be thousands of steps in a second
            limit.reschedule(until)

    async def _close(self) -> None:
        """Have the writer give back what it holds, whatever it says to that."""
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                with suppress(Exception):
                    async with asyncio.timeout(CLOSING_S):  # `wait_for` of Python 3.11 may swallow a cancellation
                        await writer.close()
                self._take_back(writer)
            except asyncio.CancelledError:
                if _is_to_end():
                    raise

    def _take_back(self, writer: Writer) -> None:
        """Have what a writer took, and closed without its being lasting, come again: now, or to the next life.

        Where it comes from nowhere the sink is told that it is missing.
        """
        self.queue.held_since = int
        if self._places is None and (since := writer.held_since()) > 0:
            self._tell(since, self._context.clock())
        self._lasting = place = writer.lasting()
        queue = self.queue
        if place is not None and isinstance(queue, SpillQueue):
            behind, count = self._unlasting
            count = count if behind == place else 0
            self._written -= count
            self._at.clear()
            queue.go_back(place, count)
            self._unlasting = None, 0

    def _fail(self, error: Exception) -> None:
        """Have the writer closed and opened anew, as it says itself that it cannot go on."""
        self._raised = error
        self.queue.wake()

    async def _give_all(self, writer: Writer) -> None:
        """Give what comes until the stream ends."""
        is_plain = not iscoroutinefunction(writer.write)  # it has no target that would mind how large a batch is
        self._is_ready = True
        self.queue.hand_over_with(partial(self._hand_over, writer) if is_plain else None)
        while self._at or self._busy is not None or await self.queue.filled():
            if self._raised is not None and not self._at:
                raise self._raised
            if self._busy is not None:
                await self._busy
                self._busy, self._is_ready = None, True
            elif self._at:
                await self._give(writer, self._at[0])
            elif (batch := self.queue.take(is_whole=is_plain)) is not None:
                self._at.append(batch)

    def _hand_over(self, writer: Writer) -> None:
        """Give full batches within the call that publishes, to a writer that never waits."""
        while self._is_ready and not self._at and self.queue.has_enough:
            batch = self.queue.take(is_whole=True)
            if batch is None:
                return
            self._at.append(batch)
            try:
                self._busy = writer.write(batch)
            except Exception as error:  # noqa: BLE001 - the task deals with it
                self._raised = error
                self.queue.wake()
                return
            self._accept(batch, len(batch))
            if self._busy is not None:
                self._is_ready = False
                self.queue.wake()

    async def _give(self, writer: Writer, batch: Batch) -> None:
        """Try once to have a batch taken, and deal with what comes of it."""
        try:
            await self._write(writer, batch)
        except Retry as error:
            self._retried += 1
            self._state = "waiting"
            self._say(error.reason)
            await self._pause(error.after)
            self._state = "running"
        except Refused as error:
            await self._refuse(batch, error)
        except OF_DATA as error:
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                self._pauses.reset()
                await self._refuse(batch, Refused(_said(error)))
            raise
        else:
            self._accept(batch, len(batch))

    async def _write(self, writer: Writer, batch: Batch) -> None:
        if self._raised is not None:
            error, self._raised = self._raised, None
            raise error
        waiting = writer.write(batch)
        if waiting is None:
            return
        if iscoroutinefunction(writer.write):
            await self._timed(waiting)
        else:
            self._busy, self._is_ready = waiting, False

    def _accept(self, batch: Batch, count: int) -> None:
        """Note that so many records of a batch were taken, and that it is done with."""
        own = sum(map(self.queue.is_own, batch.records)) if self.queue.has_gaps else 0
        self._written += count - own
        self._bytes += batch.size
        self._batches += 1
        self._at.popleft()
        self.queue.done(len(batch) - own)
        self.queue.passed(batch)
        self._settle()
        if self._places is not None and self._writer is not None:
            place, (behind, before) = self._writer.lasting(), self._unlasting
            self._unlasting = place, count - own + (before if behind == place else 0)
        if not self._at:
            self._failures = 0
        if self._failing is not None:
            if self._is_said:
                lost = self.queue.dropped - self._dropped_then
                log.warning("sink %s: goes on%s", self.name, f"; {lost} records are missing" if lost else "")
            self._failing, self._is_said = None, False
            self._pauses.reset()

    async def _refuse(self, batch: Batch, refused: Refused) -> None:
        """Put what was refused into the dead letters; where that is not known, look for it by halves."""
        which = refused.which
        if which is None and len(batch) > 1:
            half = len(batch) // 2
            self._at.popleft()
            self._at.extendleft([batch.part(half, len(batch)), batch.part(0, half)])
            return
        which = [0] if which is None else sorted({at for at in which if 0 <= at < len(batch)})
        kept = await self._bury(batch, which, refused.reason)
        lost = [batch.records[at] for at in which[kept:] if not self.queue.is_own(batch.records[at])]
        own = sum(self.queue.is_own(batch.records[at]) for at in which)
        before, self._refused = self._refused, self._refused + len(which) - own - len(lost)
        self.queue.lose(lost)
        self._accept(batch, len(batch) - len(which) + own)
        if len(str(self._refused)) > len(str(before)) or not before:
            where = "told as missing" if self._dead is None else f"in {self._dead.path}"
            log.error(
                "sink %s: refuses records, %d so far, which are %s: %s",
                self.name,
                self._refused + len(lost),
                where,
                refused.reason,
            )

    async def _bury(self, batch: Batch, which: list[int], reason: str) -> int:
        """Write dead letters; how many there was room for."""
        if self._dead is None:
            return 0
        now, lines = self._context.clock(), batch.lines
        letters = [DeadLetter(now, self.name, batch.epoch, reason, Raw(lines[at].rstrip())) for at in which]
        try:
            kept = await self._dead.add(letters)
            trouble = "it is full"
        except OSError as error:
            kept, trouble = 0, _said(error)
        if kept < len(which) and not self._is_told_dead:
            self._is_told_dead = True
            log.error(
                "sink %s: what it refuses is from now on told as missing: %s: %s", self.name, self._dead.path, trouble
            )
        return kept

    # --- failures ---------------------------------------------------------------------------------------------------

    async def _failed(self, error: Exception) -> None:
        """Have the writer closed that failed to open or to write, and wait before it is opened anew."""
        self.queue.hand_over_with(None)
        self._busy = self._raised = None
        self._restarts += self._writer is not None
        is_ours = not isinstance(error, OSError | Retry | ConfigError)
        self._say(_said(error), error if is_ours else None)
        self._state = "opening"
        await self._close()
        await self._pause(error.after if isinstance(error, Retry) else None)

    def _say(self, reason: str, error: Exception | None = None) -> None:
        """Log the first failure after all was well, though not every minute; the status always has the last."""
        now = asyncio.get_running_loop().time()
        if self._failing is None and now >= self._silent_until:
            self._is_said, self._silent_until = True, now + SILENT_S
            self._dropped_then = self.queue.dropped
            log.error("sink %s: %s; trying again until it works", self.name, reason, exc_info=error)
        self._failing = reason

    async def _pause(self, seconds: float | None) -> None:
        pause = self._pauses.next() if seconds is None else seconds
        if self.queue.ended.is_set():
            await asyncio.sleep(min(pause, LAST_PAUSE_S))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self.queue.ended.wait()


class DirectSink:
    """A sink without a queue: it is given each batch within the call that publishes it."""

    goes_on = False

    def __init__(self, config: SinkConfig, bus: Bus, context: Context) -> None:
        self.name = config.name
        self.is_listed = not config.sink.is_table
        self.task: asyncio.Task[None] | None = None
        self._config = config
        self._bus = bus
        self._context = context
        self._writer: Writer | None = None
        self._received = 0

    async def start(self) -> None:
        """Begin. Raises ConfigError where it cannot be opened."""
        self._writer = await self._config.sink.open(self._config.settings, self._context)
        self._bus.attach(self._writer.write)

    def receive(self, batch: Batch) -> None:
        if self._writer is not None:
            self._writer.write(batch)

    async def room(self) -> None:
        """Return at once, because there is no queue."""

    def reopen(self) -> bool:
        return self._writer is not None and self._writer.reopen()

    def detail(self) -> object:
        return None if self._writer is None else self._writer.detail()

    def end(self) -> None:
        if self._writer is not None:
            self._bus.detach(self._writer.write)
            self.task = asyncio.get_running_loop().create_task(self._writer.close(), name=f"sink {self.name}")

    async def abandon(self) -> int:
        """End it now."""
        if self.task is not None and not self.task.done():
            self.task.cancel()
            await asyncio.wait([self.task], timeout=CLOSING_S)
        return 0

    def status(self) -> SinkStatus:
        state: State = "opening" if self._writer is None else "running" if self.task is None else "ended"
        return SinkStatus(name=self.name, type=self._config.sink.name, state=state, failing=self._context.trouble)


def running(
    config: SinkConfig,
    bus: Bus,
    *,
    clock: Callable[[], int] = time.time_ns,
    deaths: Mapping[tuple[str, str], int] | None = None,
    dead: Path | None = None,
    places: Path | None = None,
    daemon: str = "",
    before: str | None = None,
) -> Running:
    """A sink of a configuration, to be started. Raises ConfigError where it needs a journal and there is none.

    clock: ns since the epoch
    dead: the directory for the dead letters of sinks that name no file
    places: the directory for notes of how far sinks have come
    daemon: the name by which others know this daemon
    before: the epoch of the daemon's life before this one, as `Context` has it
    """
    context = Context(config.name, bus, clock, config.delivery, deaths or {}, daemon, before)
    if not config.sink.has_queue:
        return DirectSink(config, bus, context)
    place = None if places is None else places / _file_name(config.name, ".place")
    if place is not None and config.delivery.when_full != "spill":
        with suppress(OSError):
            place.unlink(missing_ok=True)  # it stays where it is no longer
        place = None
    letters = None if dead is None else dead / _file_name(config.name, ".ndjson")
    unwritten = None if places is None else places / _file_name(config.name, UNWRITTEN)
    return QueuedSink(config, bus, context, dead_letters=letters, place=place, unwritten=unwritten)


def noted(waiting: Queue, config: SinkConfig, places: Path | None) -> Callable[[], None]:
    """Have it outlive a kill that something waits for a sink which is not begun. Call what is given once it is."""
    if places is None or not config.sink.has_queue:
        return lambda: None
    path = places / _file_name(config.name, WAITING)
    try:
        note = UnwrittenNote(path)
    except OSError as error:
        log.warning("sink %s: what a kill would lose of it cannot be noted: %s", config.name, error)
        return lambda: None
    waiting.unwritten = note.view

    def begun() -> None:
        waiting.unwritten = [0, 0]
        note.end(0)
        path.unlink(missing_ok=True)

    return begun


def _file_name(name: str, ending: str) -> str:
    """The name of a file of a sink; two sinks never share one."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", name)
    mark = "" if plain == name else f"-{blake2b(name.encode('utf-8', 'surrogateescape'), digest_size=4).hexdigest()}"
    return f"{plain[:100]}{mark}{ending}"


def _said(error: Exception) -> str:
    """An error in words, on one line."""
    said = error.reason if isinstance(error, Retry | Refused) else str(error)
    shown = " ".join(said.split()) or type(error).__name__
    return shown if isinstance(error, OSError | Retry | Refused | ConfigError) else f"{type(error).__name__}: {shown}"
