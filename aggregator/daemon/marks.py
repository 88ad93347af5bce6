"""The notes that a running daemon keeps, so that even after `kill -9` the next start tells what is missing.

Each exchange has a file that is replaced every few seconds: the topics that are followed, and their open gaps. So has
each part of an exchange, where several workers have parts of it.
The last number of each topic, and the moment at which the program last lived, stand in memory that belongs to a file:
the system keeps what is written there, whatever becomes of the process.
"""

import asyncio
import logging
import mmap
import os
import re
import time
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec import Struct, structs

from aggregator.bus.bus import Batch
from aggregator.ingest import checkpoint_file, state
from aggregator.ingest.checkpoint_file import CheckpointFile, CheckpointRow
from aggregator.ingest.runner import ExchangeRunner
from aggregator.records import Gap
from aggregator.session.subscriptions import Key
from aggregator.session.topics import Standing
from aggregator.session.trades import Notes
from aggregator.sinks.worker import Worker

EVERY_S = 5.0  # between two marks of an exchange
SOON_S = 0.2  # after a change of what is followed it is marked
SHARE = 50  # a mark is made again after at least so many times what it took: it takes 2 % of the time at most
BEGIN_S = 3.0  # an exchange waits so long for a disk before it is begun
PATIENCE_S = 0.5  # the end waits so long for hub and disk
BEAT_S = 1.0  # a quiet program notes this often that it lives
HEARD_S = 0.02  # between two looks whether the hub has passed on what came
SLOTS = 131_072  # numbered topics of one daemon whose numbers are noted
SLOT_BYTES = 8
WRITTEN_S = 10.0  # after so long every sink that is well has written a gap that was closed
STEP = 200  # topics that are looked at before others have their turn
SUFFIX = ".numbers"
HANDED, PASSED = SLOTS - 1, SLOTS - 2  # slots of a worker's numbers: how far it has come on its way to the hub
LIFE = "+"  # between the epoch of the hub and what tells the life of a worker from others

log = logging.getLogger("aggregator.daemon")


class Numbers:
    """The last number of each topic, and in slot 0 when the program last lived (`trades.Notes` says more)."""

    def __init__(self, path: Path) -> None:
        """Begin a file. Raises OSError.

        All of its room is taken now: a disk that is full when a page is first used would end the process.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(handle, 0, SLOTS * SLOT_BYTES)
            self._map = mmap.mmap(handle, SLOTS * SLOT_BYTES)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        self.view = memoryview(self._map).cast("q")
        self._slots: dict[tuple[str, str | None], int] = {}

    def slot(self, exchange: str, raw_symbol: str | None) -> int | None:
        """The slot of a topic of trades; None where there is no room."""
        key = exchange, raw_symbol
        found = self._slots.get(key)
        if found is None and len(self._slots) + 1 < PASSED:
            found = self._slots[key] = len(self._slots) + 1
        return found

    @property
    def count(self) -> int:
        """How many topics have a slot."""
        return len(self._slots)

    def release(self) -> None:
        """Note nothing any more."""
        self.view.release()
        self._map.close()

    def remove(self) -> None:
        """Remove the file: the program tells otherwise what it leaves."""
        self.path.unlink(missing_ok=True)


class NumbersOf:
    """The last numbers of one exchange."""

    def __init__(self, numbers: Numbers, exchange: str) -> None:
        self.view = numbers.view
        self._numbers = numbers
        self._exchange = exchange

    def slot(self, raw_symbol: str | None) -> int | None:
        """The slot of a market's trades; None where there is no room."""
        return self._numbers.slot(self._exchange, raw_symbol)


def read_numbers(path: Path) -> dict[int, int]:
    """The last numbers that a killed run has left, by slot; under 0 the moment as it stands there. Raises OSError."""
    blob = state.read(path)
    if blob is None or len(blob) != SLOTS * SLOT_BYTES:
        return {}
    return {slot: number for slot, number in enumerate(array("q", blob)) if number}


def _numbers_in(path: Path) -> dict[int, int]:
    """The same, and none where the file cannot be read: what marks tell is worth more than nothing."""
    try:
        return read_numbers(path)
    except OSError as error:
        log.warning("%s: cannot be read, so gaps begin with the last mark: %s", path, error)
        return {}


def _as_told(row: CheckpointRow, stands: Mapping[Key, Gap]) -> CheckpointRow:
    """A topic with the gap that the stream has told last, which is newer than any mark."""
    gap = stands.get((row.channel, row.raw_symbol))
    if gap is None and row.carried.gap is None:
        return row
    return structs.replace(row, carried=structs.replace(row.carried, gap=gap))


class Restart(Struct):
    """A topic's gap of the last restart: the next start tells it again if this run dies before sinks have written it.

    ts_from: where it begins, ns
    since: when everybody had heard that it is closed, by the loop's clock; null: not everybody has
    """

    ts_from: int
    is_closed: bool = False
    since: float | None = None


def _unwritten(rows: Iterable[CheckpointRow]) -> dict[tuple[str, Key], Restart]:
    """The gaps of restarts that sinks may not have written, by feed and topic."""
    found: dict[tuple[str, Key], Restart] = {}
    for row in rows:
        ts_from, gap = row.restart, row.carried.gap
        if ts_from is None and gap is not None and gap.cause == "restart":
            ts_from = gap.ts_from
        if ts_from is not None:
            found[row.feed, (row.channel, row.raw_symbol)] = Restart(ts_from)
    return found


class Found(Struct, frozen=True):
    """The notes that an earlier run has left of an exchange.

    gaps: those that are still to be told
    epoch: of a run that was killed; null: there was none, or it ended by itself
    died: when that run ended, ns
    """

    topics: checkpoint_file.Topics = {}
    gaps: list[Gap] = []
    epoch: str | None = None
    died: int = 0


Deaths = dict[tuple[str, str], int]  # (epoch, exchange) -> when a run that was killed is known to have lived last


def _newest(files: Iterable[CheckpointFile | None]) -> list[CheckpointFile]:
    """Files of an exchange and of its parts, the newest first, with each topic in the newest alone that has it.

    A topic is in several where an end came while an exchange was divided, or put together.
    """
    seen: set[tuple[str, Key]] = set()
    found: list[CheckpointFile] = []
    for file in sorted((each for each in files if each is not None), key=lambda each: each.ts, reverse=True):
        rows = [row for row in file.rows if (row.feed, (row.channel, row.raw_symbol)) not in seen]
        seen |= {(row.feed, (row.channel, row.raw_symbol)) for row in rows}
        found.append(structs.replace(file, rows=rows))
    return found


def _together(parts: Sequence[Found]) -> Found:
    """The notes of the parts of an exchange as those of the whole."""
    topics: checkpoint_file.Topics = {}
    for part in parts:
        for feed, some in part.topics.items():
            topics.setdefault(feed, {}).update(some)
    epoch = next((part.epoch for part in parts if part.epoch is not None), None)
    return Found(topics, [gap for part in parts for gap in part.gaps], epoch, max(part.died for part in parts))


def deaths_in(found: Mapping[str, Found]) -> Deaths:
    """Where the stream itself tells what is missing from the end of a run on."""
    return {(left.epoch, id): left.died for id, left in found.items() if left.epoch is not None}


class PassedOn:
    """The place in a worker's numbers where the hub notes up to when it has passed on what came."""

    def __init__(self, path: Path) -> None:
        """Open the file of a worker. Raises OSError."""
        self._path = path
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SLOTS * SLOT_BYTES)
        self._view = memoryview(self._map).cast("q")

    def note(self, ts: int) -> None:
        """Note a time, in ns."""
        self._view[PASSED] = ts

    def remove(self) -> None:
        """Remove the file: its numbers are taken over."""
        self._view.release()
        self._map.close()
        _remove(self._path)


def _remove(path: Path) -> None:
    """Remove a file of numbers that nobody needs any more; one that stays is in nobody's way."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s: it is of no use any more, and cannot be removed: %s; the next start tries again", path, error)


class MarksStatus(Struct, frozen=True, kw_only=True):
    """The notes for a start after a crash.

    numbered: topics whose last numbers are noted; null: there is no room for numbers
    room: how many may be
    failing: exchanges whose topics cannot be marked
    """

    numbered: int | None
    room: int
    failing: list[str]


class Marks:
    """The marks of every exchange of a daemon.

    tell: of a worker, has the hub note that all has come which was published before a time, ns; null: it is no worker
    """

    def __init__(self, directory: Path, epoch: str) -> None:
        """Begin; without room for numbers the marks do without."""
        self.epoch = epoch
        self._directory = directory
        self._failing: set[str] = set()
        self._ended: set[str] = set()  # exchanges that have left what is to be told: a mark that comes late is none
        self._others: set[str] = set()  # exchanges that another worker marks
        self._hangs = False  # True: the disk, or the hub, has kept the end waiting
        self.tell: Callable[[int], object] | None = None
        self._restarts: dict[str, dict[tuple[str, Key], Restart]] = {}  # by exchange, feed and topic
        self._worker = Worker("marks")  # a thread of its own: a disk that hangs does not keep the process from ending
        self._numbers: Numbers | None = None
        try:
            self._numbers = Numbers(directory / f"{epoch}{SUFFIX}")
        except OSError as error:
            log.error(  # noqa: TRY400 - no fault of ours
                "%s: the last numbers of topics cannot be noted there: %s; after a kill nothing is told as recovered "
                "in full, and with several workers what is under way then may be missing untold: make room for %d kB, "
                "or let the daemon write there, and begin it anew",
                directory / f"{epoch}{SUFFIX}",
                error.strerror,
                SLOTS * SLOT_BYTES // 1024,
            )

    # --- what an earlier run has left -------------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        """The file of an exchange, or of a part of one."""
        return self._directory / f"{name}.json"

    def take(self, name: str, exchange: str | None = None) -> Found:
        """Take over the notes that the last run has left of an exchange, in whatever parts. Raises OSError.

        So a start that is killed too tells no gap twice.

        exchange: whose part is meant; null: `name` is the exchange itself
        """
        parts = self._parts_of(name)
        files = _newest(map(checkpoint_file.load, [self.path(name), *parts]))
        read = [self._read(exchange or name, left) for left in files]
        if not read:
            return Found()
        found, rows = _together([each for each, _ in read]), [row for _, some in read for row in some]
        self._restarts[name] = _unwritten(rows)
        rows = [structs.replace(row, slot=self._begun(name, row)) for row in rows]
        self.save(name, checkpoint_file.pieces_of(rows))
        for path in parts if name not in self._failing else ():
            path.unlink(missing_ok=True)
        return found

    def _parts_of(self, exchange: str) -> list[Path]:
        """The files of the parts of an exchange."""
        is_part = re.compile(rf"{re.escape(exchange)}-[0-9]+of[0-9]+\.json").fullmatch
        return sorted(path for path in self._directory.glob("*of*.json") if is_part(path.name))

    def _read(
        self, id: str, left: CheckpointFile, stands: Mapping[Key, Gap] | None = None
    ) -> tuple[Found, list[CheckpointRow]]:
        """The meaning of a file, and the rows with which the next run goes on. Raises OSError."""
        gaps: list[Gap] = []
        died = left.ts
        if left.epoch is not None:
            numbers = _numbers_in(self._directory / f"{Path(left.epoch).name}{SUFFIX}")
            moment, handed, passed = (numbers.pop(slot, 0) for slot in (0, HANDED, PASSED))
            if passed:
                died, is_sure = passed, stands is not None and moment >= 0 and handed >= 0
            else:
                died = min(max(died, abs(moment)), time.time_ns())  # clocks may run back
                is_sure = moment >= 0 and LIFE not in left.epoch  # nobody noted what was passed on of a worker
            if stands is not None:
                left = structs.replace(left, rows=[_as_told(row, stands) for row in left.rows])
            goes_on = stands is not None
            left, gaps = checkpoint_file.after_a_kill(id, left, died, numbers, is_sure=is_sure, goes_on=goes_on)
        epoch = None if left.epoch is None else left.epoch.partition(LIFE)[0]
        return Found(checkpoint_file.topics_of(left), gaps, epoch, died), left.rows

    def _begun(self, name: str, row: CheckpointRow) -> int | None:
        """The slot of a topic, in which its last number stands again."""
        last = row.carried.last
        if row.channel != "trades" or self._numbers is None or last is None:
            return None
        slot = self._numbers.slot(name, row.raw_symbol)
        if slot is not None:
            self._numbers.view[slot] = last
        return slot

    def clear(self) -> None:
        """Remove the numbers of earlier runs: every mark is in this run's name now."""
        for path in self._directory.glob(f"*{SUFFIX}"):
            if self._numbers is None or path != self._numbers.path:
                _remove(path)

    # --- for workers, which go on with what their hub has taken over -------------------------------------------------

    def find(self, name: str, exchange: str, stands: Mapping[Key, Gap]) -> Found:
        """Read the notes that a worker has left of its part of an exchange, and leave them there. Raises OSError.

        stands: the gaps that are open as the stream has it, which goes on; all that was handed on was passed on
        """
        left = checkpoint_file.load(self.path(name))
        if left is None:
            return Found()
        found, rows = self._read(exchange, left, stands)
        self._restarts[name] = _unwritten(rows)
        return found

    def leave_to_workers(self, exchange: str, left: Mapping[str, checkpoint_file.Topics]) -> None:
        """Leave an exchange to workers, by the names of its parts: all that is missing is told. Raises OSError.

        What of that sinks may not have written they mark from now on.
        """
        restarts = self._unwritten_of(exchange)
        for name, topics in left.items():
            self._leave(name, checkpoint_file.rows_of(topics, restarts))
        if exchange not in left:
            self.path(exchange).unlink(missing_ok=True)

    def leave_to_worker(self, name: str, topics: checkpoint_file.Topics) -> None:
        """Leave a part to a worker, likewise. Raises OSError."""
        self._leave(name, checkpoint_file.rows_of(topics, self._unwritten_of(name)))

    def _unwritten_of(self, name: str) -> dict[tuple[str, Key], int]:
        return {topic: restart.ts_from for topic, restart in self._restarts.pop(name, {}).items()}

    def let_be(self, name: str, *, is_ours: bool) -> None:
        """Mark a part of an exchange, or leave that to another worker."""
        if is_ours:
            self._others.discard(name)
        else:
            self._others.add(name)

    async def hand_over(self, runner: ExchangeRunner, epoch: str) -> None:
        """Mark an exchange for the last time, in the name of the worker that goes on with it."""
        name, ts = runner.name, time.time_ns()
        self.let_be(name, is_ours=False)
        pieces = await self._pieces(runner, has_slots=False)
        try:
            await self._in_time(partial(checkpoint_file.save, pieces, self.path(name), ts, epoch))
        except (OSError, ValueError, OverflowError) as error:
            log.warning("%s: it cannot be marked for the worker that goes on with it: %s", name, error)

    async def go_on(self, name: str) -> None:
        """Mark a part of an exchange from now on, as the worker did that has handed it over."""
        try:
            await self._in_time(partial(self._learn, name))
        except OSError as error:
            log.warning("%s: what its worker before has marked cannot be read: %s", name, error)
        self.let_be(name, is_ours=True)

    def _learn(self, name: str) -> None:
        left = checkpoint_file.load(self.path(name))
        self._restarts[name] = {} if left is None else _unwritten(left.rows)

    def handed(self, ts: int | None) -> None:
        """Note that all is handed on up to a time; null: something is not."""
        if self._numbers is not None:
            view = self._numbers.view
            view[HANDED] = -abs(view[HANDED]) or -1 if ts is None else ts

    @property
    def numbers_path(self) -> Path | None:
        """The file of the last numbers; null: there is none."""
        return None if self._numbers is None else self._numbers.path

    # --- while running ----------------------------------------------------------------------------------------------

    def heed(self, batch: Batch) -> None:
        """Note the moment of what is published."""
        if self._numbers is not None:
            self._numbers.view[0] = batch.last_ts

    def notes(self, name: str) -> Notes | None:
        """Where the topics of an exchange, or of a part of it, note their last numbers."""
        return None if self._numbers is None else NumbersOf(self._numbers, name)

    async def beat(self) -> None:
        """Note that the program lives, until cancelled."""
        while self._numbers is not None:
            self._numbers.view[0] = time.time_ns()
            await asyncio.sleep(BEAT_S)

    async def keep(self, runner: ExchangeRunner) -> None:
        """Mark an exchange's topics again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        marked, took = 0.0, 0.0
        changes: list[object] = []
        while True:
            if marked:
                await asyncio.sleep(max(SOON_S, took * SHARE))
                if changes == runner.changes and loop.time() - marked < EVERY_S:
                    continue
            marked, changes = loop.time(), runner.changes
            took = await self.mark(runner)

    async def mark_first(self, runner: ExchangeRunner) -> None:
        """Mark an exchange's topics before anything is asked for, unless the disk hangs: data do not wait for it."""
        try:
            async with asyncio.timeout(BEGIN_S):
                await self.mark(runner)
        except TimeoutError:
            log.warning(
                "%s: begun without a mark for a start after a crash: it could not be written within %g s",
                runner.name,
                BEGIN_S,
            )

    async def mark(self, runner: ExchangeRunner) -> float:
        """Mark an exchange's topics: gathered in steps, written by a thread. Gives how long it took, in seconds."""
        now = asyncio.get_running_loop().time
        ts, begun = time.time_ns(), now()
        pieces = await self._pieces(runner)
        gathered = now()
        await self._heard()
        heard = now()
        for restart in self._restarts.get(runner.name, {}).values():
            if restart.is_closed and restart.since is None:
                restart.since = heard
        await self._worker.do(partial(self.save, runner.name, pieces, ts))
        return gathered - begun + now() - heard

    async def _heard(self) -> None:
        """Wait until the hub, if there is one, has passed on all that was published so far.

        A mark tells of nothing that the stream has not: of a gap that is closed there, readers have had the end. While
        the hub does not note how far it has come, nobody waits.
        """
        if self.tell is None:
            return
        ts = time.time_ns()
        self.tell(ts)
        while self._numbers is not None and 0 < self._numbers.view[PASSED] < ts:  # noqa: ASYNC110 - another process does
            await asyncio.sleep(HEARD_S)

    async def _pieces(self, runner: ExchangeRunner, *, has_slots: bool = True) -> list[bytes]:
        """The rows of an exchange; without slots where another process has the numbers."""
        rows: list[CheckpointRow] = []
        pieces: list[bytes] = []  # rows would take ten times the room
        for at, (feed, standing) in enumerate(runner.standing()):
            row = self._row(runner.name, feed, standing)
            if not has_slots:
                row = structs.replace(row, slot=None)
            if row.is_followed or row.carried.gap is not None or row.carried.last is not None:
                rows.append(row)
            if at % STEP == STEP - 1:
                pieces.append(checkpoint_file.piece_of(rows))
                rows.clear()
                await asyncio.sleep(0)
        pieces.append(checkpoint_file.piece_of(rows))
        return pieces

    def _row(self, name: str, feed: str, standing: Standing) -> CheckpointRow:
        channel, raw_symbol = standing.key
        slot = None
        if channel == "trades" and self._numbers is not None:
            slot = self._numbers.slot(name, raw_symbol)
        restart = self._restart(name, feed, standing)
        return CheckpointRow(
            feed, channel, raw_symbol, standing.carried, standing.symbol, standing.is_followed, slot, restart
        )

    def _restart(self, name: str, feed: str, standing: Standing) -> int | None:
        """Where a topic's last gap of a restart begins, until it is sure to be written."""
        restarts = self._restarts.get(name)
        if not restarts or (found := restarts.get((feed, standing.key))) is None:
            return None
        gap = standing.carried.gap
        found.is_closed = gap is None or gap.cause != "restart"
        if not found.is_closed:
            found.since = None
        elif found.since is not None and asyncio.get_running_loop().time() - found.since > WRITTEN_S:
            del restarts[feed, standing.key]
            return None
        return found.ts_from

    def save(self, id: str, pieces: Iterable[bytes], ts: int | None = None) -> None:
        """Write a mark; where that fails it is said once."""
        try:
            if id not in self._ended and id not in self._others:
                checkpoint_file.save(pieces, self.path(id), time.time_ns() if ts is None else ts, self.epoch)
        except (OSError, ValueError, OverflowError) as error:
            if id not in self._failing:
                self._failing.add(id)
                log.warning("%s: what is followed cannot be marked for a start after a crash: %s", id, error)
        else:
            self._failing.discard(id)

    async def leave(self, id: str, topics: checkpoint_file.Topics) -> None:
        """Write what an exchange leaves that has ended, instead of a mark, until it begins again.

        Raises OSError, also where disk or hub take too long: the last mark stands then, and tells more than is missing.
        """
        self._ended.add(id)
        if id not in self._others:
            await self._in_time(partial(self._leave, id, checkpoint_file.rows_of(topics)))

    def _leave(self, id: str, rows: list[CheckpointRow]) -> None:
        checkpoint_file.save(checkpoint_file.pieces_of(rows), self.path(id), time.time_ns())

    async def _in_time(self, call: Callable[[], None]) -> None:
        """Have the thread do something once the hub has all, unless either hangs: the end waits once, and not long."""
        late = "the process that passes records on"
        try:
            async with asyncio.timeout(0 if self._hangs else PATIENCE_S):
                await self._heard()
                late = "the disk"
                await self._worker.do(call)
        except TimeoutError:
            self._hangs = True
            raise TimeoutError(f"{late} does not answer") from None
        self._hangs = False

    def status(self) -> MarksStatus:
        """How the notes fare."""
        numbered = None if self._numbers is None else self._numbers.count
        return MarksStatus(numbered=numbered, room=SLOTS - 1, failing=sorted(self._failing))

    def begin(self, id: str) -> None:
        """An exchange is marked from now on."""
        self._ended.discard(id)

    async def remove(self) -> None:
        """The program ends by itself, and every exchange has left what is to be told."""
        numbers, self._numbers = self._numbers, None
        if numbers is not None:
            numbers.release()
            with suppress(OSError):  # also where the disk takes too long
                await self._in_time(numbers.remove)
        self._worker.stop()
