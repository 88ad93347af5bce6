"""A sink that loses nothing, whose target comes and goes, beside a list that forgets nothing.

The frame of sinks, the queue and the journal are the real ones, of several lives of a daemon; only the threads are
steps that chance orders, and time jumps. `python -m tests.support.spill_model 20000` runs so many cases, and counts
what it has looked at.
"""

import asyncio
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from aggregator.bus.bus import Bus
from aggregator.bus.history import Cursor
from aggregator.bus.selection import Selection, parse_pattern, topic_of
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Record, Trade
from aggregator.sinks import places
from aggregator.sinks.journal.blocks import OPEN
from aggregator.sinks.journal.journal import Journal
from aggregator.sinks.journal.settings import JournalSettings
from aggregator.sinks.places import PlaceFile
from aggregator.sinks.running import QueuedSink, running
from aggregator.sinks.sink import LOCAL, Batch, Context, Delivery, Ended, Refused, Retry, Sink, Writer
from aggregator.sinks.spill import SpillQueue
from tests.support.cases import Chance, main
from tests.support.hurry import Hurried
from tests.support.journal_model import BASE_NS, close_small
from tests.support.seam_model import LARGE, PATTERNS, SYMBOLS, JournalAtWork, Place, Steps

NAME = "target"
TURNS = 3000  # until everything must have come to its end

encode = msgspec.json.Encoder().encode


class NoSettings(Struct, frozen=True):
    """Nothing to set."""


def is_refused(record: Record) -> bool:
    return not record.offset % 3 and not isinstance(record, Gap)


class Target(Writer):
    """The far end, as `SpillModel.take` has it."""

    def __init__(self, take: Callable[[Batch], str], released: Callable[[], asyncio.Event]) -> None:
        self._take = take
        self._released = released

    async def write(self, batch: Batch) -> None:
        for _ in range(3):
            match self._take(batch):
                case "hangs":
                    await self._released().wait()
                case "is busy":
                    raise Retry("busy", 0.01)
                case "is gone":
                    raise Ended
                case "is away":
                    raise OSError(104, "Connection reset by peer")
                case "refuses":
                    raise Refused("not these", [at for at, record in enumerate(batch.records) if is_refused(record)])
                case _:
                    return
        raise OSError(110, "Connection timed out")


class SpillModel(JournalAtWork):
    """One sink and the lives of one daemon.

    got: every record that came, by its place, in order; told: the places that gaps of the journal say are missing
    """

    def __init__(self, path: Path, chance: Chance) -> None:
        self.path = path
        self.chance = chance
        self.seen: Counter[str] = Counter()
        self.published: dict[Place, Record] = {}
        self.epochs: list[str] = []
        self.got: list[Place] = []
        self.told: list[tuple[Place, Place]] = []
        self.refused: set[Place] = set()
        self.told_of: list[tuple[Place, Place, str | None]] = []  # what gaps say that was refused, and of which symbol
        self.behind: Place = (0, 0)  # the last of the batch that was taken last
        self.may_repeat: set[Place] = set()
        self.is_damaged = False
        self.mood = "is there"
        patterns = PATTERNS[chance(0, len(PATTERNS) - 1)]
        self.selection = Selection([parse_pattern(text) for text in patterns])
        self.delivery = Delivery(
            topics=patterns,
            queue=chance(5, 60),
            queue_bytes=(LARGE, 30_000)[chance(0, 1)],
            when_full="spill",
            batch_records=chance(1, 30),
            batch_age=0.0,
            backoff=0.01,
            longest_backoff=0.02,
        )
        self._ts = BASE_NS
        self._released = asyncio.Event()

    async def begin_life(self) -> None:
        self.epochs.append(f"20260102T0304{len(self.epochs):02}.000000Z")
        self.bus = Bus(self.epochs[-1])
        self.workers: dict[str, Steps] = {}

        def worker(name: str) -> Steps:
            return self.workers.setdefault(name, Steps(name))

        vars(places)["Worker"] = worker
        settings = JournalSettings(
            path=self.path / "journal", keep_bytes=LARGE, keep=1e9, segment_bytes=self.chance(300, 5000)
        )
        settings.path.mkdir(exist_ok=True)
        root = os.open(settings.path, os.O_RDONLY)
        context = Context("journal", self.bus, time.time_ns, LOCAL)
        self.journal = Journal(settings, context, root, worker=worker, gather_s=0.0, tail_records=self.chance(1, 30))
        self.journal.shelf._close = close_small
        await self._through(self.journal.begin_life())
        self.bus.history = self.journal
        self.bus.attach(self.journal.write)

        async def opened(_settings: NoSettings, _context: Context) -> Writer:
            return Target(self.take, lambda: self._released)

        self.behind = (0, 0)
        config = Sink(NAME, NoSettings, opened, delivery=self.delivery).configured()
        sink = running(config, self.bus, places=self.path / "places")
        assert isinstance(sink, QueuedSink)
        self.sink = sink
        await self._through(sink.start())
        self.workers["places"].step()  # where it begins is written at once

    async def _through(self, waiting: Coroutine[Any, Any, object]) -> None:
        done = asyncio.ensure_future(waiting)
        while not done.done():
            self._step_all()
            await asyncio.sleep(0.001)
        await done

    def _step_all(self) -> None:
        for worker in self.workers.values():
            worker.step()

    # --- what happens

    async def publish(self) -> None:
        records = [self._record() for _ in range(self.chance(1, 12))]
        self.bus.publish(records)
        self.published |= {(len(self.epochs) - 1, record.offset): record for record in records}
        self._account()

    def _record(self) -> Record:
        self._ts += self.chance(0, 1000)
        symbol = SYMBOLS[self.chance(0, 2)]
        names = {"exchange": "alpha", "symbol": symbol, "raw_symbol": symbol, "ts_recv": self._ts}
        match self.chance(0, 7):
            case 0:
                return BookSnapshot(**names, bids=[("1", "2")], asks=[])  # type: ignore[arg-type]
            case 1:
                return BookDelta(**names, bids=[], asks=[("3", "0")])  # type: ignore[arg-type]
            case 2:
                return Health(**names, channel="trades", state="live")  # type: ignore[arg-type]
        return Trade(**names, price="1", size="1" * self.chance(1, 60))  # type: ignore[arg-type]

    async def note(self) -> None:
        """The place that the sink has reached is written, perhaps."""
        assert self.sink._places is not None
        self.sink._places._note()
        self.workers["places"].step()

    async def turn(self) -> None:
        for _ in range(self.chance(1, 6)):
            await asyncio.sleep(0)
        self._account()

    async def pass_time(self) -> None:
        await asyncio.sleep(0.03)
        self._account()

    async def change_mood(self) -> None:
        moods = ("is there", "is there", "hangs", "is busy", "is away", "refuses", "takes, and is away", "is gone")
        self.mood = moods[self.chance(0, len(moods) - 1)]
        self._released.set()
        self._released = asyncio.Event()

    async def damage(self) -> None:
        """Something in a closed file changes, or it goes."""
        files = sorted(path for path in (self.path / "journal").iterdir() if path.suffix not in {OPEN, ""})
        if not files:
            return
        self.is_damaged = True
        path = files[self.chance(0, len(files) - 1)]
        if self.chance(0, 3):
            data = bytearray(path.read_bytes())
            for _ in range(self.chance(1, 3)):
                data[self.chance(0, len(data) - 1)] ^= 1 << self.chance(0, 7)
            path.write_bytes(data)
        else:
            path.unlink()

    def take(self, batch: Batch) -> str:
        """The target is given a batch: what it does with it."""
        if self.mood in {"hangs", "is busy", "is away", "is gone"}:
            self.seen[f"the target {self.mood}"] += 1
            return self.mood
        epoch = self.epochs.index(batch.epoch)
        for record, line in zip(batch.records, batch.lines, strict=True):
            assert line == encode(record) + b"\n"
            if isinstance(record, Gap):
                self._hear(epoch, record)
            elif self.mood != "refuses" or not is_refused(record):
                place = epoch, record.offset
                assert record == self.published[place]
                self.got.append(place)
                self.seen["records"] += 1
            else:
                self.refused.add((epoch, record.offset))
                self.seen["refused"] += 1
        assert all(one.offset <= other.offset for one, other in pairwise(batch.records))
        offsets = [record.offset for record in batch.records if not (isinstance(record, Gap) and record.exchange)]
        if offsets and self.mood != "takes, and is away":
            assert (epoch, offsets[0]) > self.behind or offsets[0] == 0, "offsets rise from batch to batch"
            self.behind = epoch, offsets[-1]
        if self.mood == "takes, and is away":
            self.may_repeat |= {(epoch, record.offset) for record in batch.records}
            self.mood = "is there"
            return "is away"
        return self.mood

    def _hear(self, epoch: int, gap: Gap) -> None:
        assert gap.conn == NAME
        if gap.exchange:  # the queue's own: of what was refused
            assert gap.expected is not None
            self.told_of.append(((epoch, gap.expected), (epoch, gap.offset), gap.symbol))
            self.seen["gaps of what was refused"] += 1
            return
        self.seen[f"gaps {gap.cause}"] += 1
        start, _, end = gap.gap_id.partition(":")[2].rpartition("-")
        before, _, first = start.rpartition(":")
        after, _, last = end.rpartition(":")
        low = self.epochs.index(before), int(first)
        high = self.epochs.index(after or before), int(last)
        assert high[0] == epoch
        assert gap.cause != "damaged" or self.is_damaged
        if gap.cause != "damaged":
            inside = [place for place in self.got if low < place <= high and place not in self.may_repeat]
            assert not inside, f"{inside[0]} came, and a gap of cause {gap.cause} says it did not"
        self.told.append((low, high))

    def _account(self) -> None:
        found, queue = self.sink.status(), self.sink.queue
        assert found.received == found.written + found.refused + found.dropped + found.held, found
        assert len(queue._batches) <= 1 or queue.held_bytes <= self.delivery.queue_bytes * 1.1  # about

    async def stop(self) -> None:
        """The daemon ends as it should, and the target may be away."""
        self.seen["ends"] += 1
        self.sink.end()
        self._step_all()
        for _ in range(self.chance(0, 10)):
            await asyncio.sleep(0)
        closing = asyncio.ensure_future(self.journal.close())
        for _ in range(20):
            self._step_all()
            await asyncio.sleep(0.01)
        abandoning = asyncio.ensure_future(self.sink.abandon())
        await self._through(asyncio.wait([abandoning, closing]))
        assert abandoning.result() == 0
        self._let_repeat()
        await self.begin_life()

    async def kill(self) -> None:
        """The daemon is killed: the target has what it has, and nothing else happens."""
        self.seen["kills"] += 1
        self._let_repeat()
        os.close(self.journal._root)
        await self._leave()
        await self.begin_life()

    async def _leave(self) -> None:
        """Nothing of this life does anything any more."""
        for worker in self.workers.values():
            worker.calls.clear()
        sink = self.sink
        if sink.task is not None:
            if sink._places is not None:
                if sink._places._timer is not None:
                    sink._places._timer.cancel()
                sink._places._worker = None
            sink.task.cancel()
            await asyncio.wait([sink.task])

    def _let_repeat(self) -> None:
        """What has come behind the place that is written down may come again."""
        (path,) = (self.path / "places").glob("*.place")
        place = PlaceFile(path).read()
        assert isinstance(place, Cursor)
        reached = self.epochs.index(place.epoch), place.offset
        behind = {at for at in {*self.got, *self.refused} if at > reached}
        self.may_repeat |= behind
        self.seen["records that may come again"] += len(behind)

    # --- at the end

    async def finish(self) -> None:
        """Let everything happen that is to happen, and judge it."""
        self.mood = "is there"
        self._released.set()
        for _ in range(3):
            self._step_all()
            await asyncio.sleep(0.01)
        if self.sink.task is None or self.sink.task.done():  # its target was gone for good
            await self.kill()
        queue = self.sink.queue
        assert isinstance(queue, SpillQueue)
        for _ in range(TURNS):
            self._step_all()
            await asyncio.sleep(0.005)
            is_idle = not queue.held and queue._past is None and not queue._losses and queue._owed is None
            if is_idle and queue._given is None and self.journal._put == self.journal._writer.taken:
                break
        else:
            raise AssertionError("it comes to no end")
        self._account()
        self._judge()
        assert queue.place == Cursor(self.epochs[-1], self.bus.offset)
        os.close(self.journal._root)
        await self._leave()

    def _judge(self) -> None:
        first = list(dict.fromkeys(self.got))
        in_order = [place for place in first if place not in self.refused]  # what was refused may come after a kill
        assert all(one < other for one, other in pairwise(in_order)), "not in order"
        twice = {place for place, count in Counter(self.got).items() if count > 1}
        assert twice <= self.may_repeat, f"{sorted(twice - self.may_repeat)[:5]} came twice"
        wanted = {place for place, record in self.published.items() if self.selection.wants(topic_of(record))}
        strangers = set(first) - wanted
        assert not strangers or self.is_damaged, f"not asked for: {sorted(strangers)[:5]}"
        for place in sorted(wanted - set(first) - self.refused):
            assert any(low < place <= high for low, high in self.told), f"{place} is missing in silence"
            self.seen["missing, and told"] += 1
        for place in sorted(self.refused - set(first)):
            symbol = self.published[place].symbol
            is_told = any(low <= place <= high and symbol == of for low, high, of in self.told_of)
            assert is_told or any(low < place <= high for low, high in self.told), f"{place} is refused in silence"


ACTIONS = (
    (SpillModel.publish, 25),
    (SpillModel.write, 15),
    (SpillModel.turn, 25),
    (SpillModel.pass_time, 8),
    (SpillModel.read_disk, 20),
    (SpillModel.note, 8),
    (SpillModel.change_mood, 10),
    (SpillModel.close_segment, 6),
    (SpillModel.write_in_vain, 2),
    (SpillModel.expire, 1),
    (SpillModel.damage, 2),
    (SpillModel.stop, 1),
    (SpillModel.kill, 2),
)
WEIGHTS = [action for action, weight in ACTIONS for _ in range(weight)]


async def _run(chance: Chance, path: Path) -> Counter[str]:
    model = SpillModel(path, chance)
    await model.begin_life()
    for _ in range(chance(5, 150)):
        await WEIGHTS[chance(0, len(WEIGHTS) - 1)](model)
        if len(model.epochs) > 9:
            break
    await model.finish()
    return model.seen


def run_case(chance: Chance, path: Path) -> Counter[str]:
    """One case; what was seen in it."""
    path.mkdir()
    before = vars(places)["Worker"]
    try:
        with asyncio.Runner(loop_factory=Hurried) as runner:
            return runner.run(_run(chance, path))
    finally:
        vars(places)["Worker"] = before
        shutil.rmtree(path)


if __name__ == "__main__":
    main("tests.support.spill_model", run_case)
