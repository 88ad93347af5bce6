"""A client that comes and goes, and is told the past and then the stream, beside a list that forgets nothing.

The hub and the journal are the real ones, of several lives of a daemon; only the threads are steps that chance orders.
`python -m tests.support.seam_model 50000` runs so many cases, and counts what it has looked at.
"""

import asyncio
import json
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from aggregator.bus.bus import Bus
from aggregator.bus.selection import Selection, parse_pattern, topic_of
from aggregator.feed.hub import FeedHub
from aggregator.feed.subscriber import Subscriber
from aggregator.records import BookDelta, BookSnapshot, Record, Trade
from aggregator.sinks.journal.journal import Journal
from aggregator.sinks.journal.settings import JournalSettings
from aggregator.sinks.sink import LOCAL, Context
from aggregator.sinks.worker import Worker
from tests.support.cases import Chance, main
from tests.support.journal_model import BASE_NS, full_disk

SYMBOLS = ("A", "B", "C")
PATTERNS = (("*:*:*",), ("trades:alpha:A",), ("trades:alpha:*", "book:alpha:B"), ("book:*:*",))
LARGE = 1 << 40
Place = tuple[int, int]  # the number of an epoch, and an offset


class Steps(Worker):
    """A thread that does one call when it is told to."""

    def __init__(self, _name: str) -> None:
        self.calls: deque[Callable[[], object]] = deque()

    def put(self, call: Callable[[], object]) -> None:
        self.calls.append(call)

    def step(self) -> None:
        if self.calls:
            self.calls.popleft()()

    def stop(self) -> None:
        pass

    async def do(self, call: Callable[[], Any]) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def settle() -> None:
            try:
                result = call()
            except Exception as error:  # noqa: BLE001 - it is raised where the call is awaited
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self.calls.append(settle)
        return await future


class JournalAtWork:
    """A journal whose threads do a step where the model says so."""

    journal: Journal
    workers: dict[str, Steps]
    chance: Chance

    async def write(self) -> None:
        self.workers["journal-write"].step()

    async def write_in_vain(self) -> None:
        with full_disk():
            self.workers["journal-write"].step()
        self.journal._writer._retry_at = 0.0

    async def close_segment(self) -> None:
        self.journal._ask_for_chores()
        self.workers["journal-close"].step()

    async def expire(self) -> None:
        shelf = self.journal.shelf
        shelf._keep_bytes = shelf.size() * self.chance(30, 100) // 100
        shelf.expire()
        shelf._keep_bytes = LARGE

    async def read_disk(self) -> None:
        self.workers["journal-read"].step()


class FarEnd:
    """A client's end of its connection: it takes what there is when it likes."""

    name, host, unsent = "client", "", 0

    def __init__(self) -> None:
        self.is_finishing = False

    def wake(self) -> None:
        pass

    def finish(self) -> None:
        self.is_finishing = True

    def close(self) -> None:
        raise AssertionError("the hub hung up, for an error of its own")


class SeamModel(JournalAtWork):
    """One client and the lives of one daemon.

    got: every record that came, by its place; told: the places that gaps say are missing
    """

    def __init__(self, path: Path, chance: Chance) -> None:
        self.path = path
        self.chance = chance
        self.seen: Counter[str] = Counter()
        self.published: list[tuple[Place, Record]] = []
        self.epochs: list[str] = []
        self.got: list[Place] = []
        self.told: list[tuple[Place, Place]] = []
        patterns = PATTERNS[chance(0, len(PATTERNS) - 1)]
        self.patterns = list(patterns)
        self.selection = Selection([parse_pattern(text) for text in patterns])
        self.policy = ("lossless", "drop_oldest")[chance(0, 1)]
        self.place: Place = (0, 0)  # behind the last record that came
        self.cursor = ""
        self.first: Place | None = None
        self.subscriber: Subscriber | None = None
        self.far: FarEnd | None = None
        self.epoch = 0  # of the records that come
        self.is_live = False
        self._ts = BASE_NS
        self._begun: set[tuple[str, int]] = set()

    async def begin_life(self) -> None:
        self.epochs.append(f"20260102T0304{len(self.epochs):02}.000000Z")
        self.bus = Bus(self.epochs[-1])
        self.workers: dict[str, Steps] = {}

        def worker(name: str) -> Steps:
            return self.workers.setdefault(name, Steps(name))

        settings = JournalSettings(path=self.path, keep_bytes=LARGE, keep=1e9, segment_bytes=self.chance(300, 5000))
        root = os.open(self.path, os.O_RDONLY)
        context = Context("journal", self.bus, time.time_ns, LOCAL)
        self.journal = Journal(settings, context, root, worker=worker, gather_s=0.0, tail_records=self.chance(1, 30))
        starting = asyncio.ensure_future(self.journal.begin_life())
        while not starting.done():
            self._step_all()
            await asyncio.sleep(0)
        await starting
        self.bus.history = self.journal
        self.hub = FeedHub(self.bus, ring=self.chance(5, 40) if self.policy == "lossless" else LARGE, max_clients=9)
        self.hub.start()
        self.bus.attach(self.hub.publish)
        self.bus.attach(self.journal.write)

    def _step_all(self) -> None:
        for worker in self.workers.values():
            worker.step()

    # --- what happens

    async def publish(self) -> None:
        records = [self._record() for _ in range(self.chance(1, 12))]
        self.bus.publish(records)
        self.published += [((len(self.epochs) - 1, record.offset), record) for record in records]

    def _record(self) -> Record:
        self._ts += self.chance(0, 1000)
        symbol = SYMBOLS[self.chance(0, 2)]
        names = {"exchange": "alpha", "symbol": symbol, "raw_symbol": symbol, "ts_recv": self._ts}
        match self.chance(0, 5):
            case 0 | 1 if (symbol, len(self.epochs)) not in self._begun:  # no change is published before a snapshot
                self._begun.add((symbol, len(self.epochs)))
                return BookSnapshot(**names, bids=[], asks=[])  # type: ignore[arg-type]
            case 0:
                return BookSnapshot(**names, bids=[], asks=[])  # type: ignore[arg-type]
            case 1:
                return BookDelta(**names, bids=[], asks=[])  # type: ignore[arg-type]
        return Trade(**names, price="1", size="1" * self.chance(1, 60))  # type: ignore[arg-type]

    async def turn(self) -> None:
        for _ in range(self.chance(1, 4)):
            await asyncio.sleep(0)

    async def come(self) -> None:
        """The client connects, and goes on where it is."""
        if self.subscriber is not None:
            return
        self.far = FarEnd()
        self.subscriber = self.hub.welcome(self.far)
        self.is_live = False
        request: dict[str, object] = {
            "op": "subscribe",
            "topics": self.patterns,
            "policy": self.policy,
            "snapshot": False,
        }
        if self.first is None:
            request["from"] = "now"
        elif self.cursor and self.chance(0, 1) and not self.has_more:
            request["from"] = self.cursor
        else:
            request["from"] = {"epoch": self.epochs[self.place[0]], "offset": self.place[1]}
        self.subscriber.hear(json.dumps(request).encode())
        self.seen["connections"] += 1

    has_more = False  # a record has come behind the newest cursor

    async def leave(self) -> None:
        """The client is gone, perhaps within a batch."""
        if self.subscriber is not None:
            self.take(cut=True)
            self.subscriber.gone()
            self.subscriber = None

    async def take_some(self) -> None:
        self.take(cut=False)

    def take(self, *, cut: bool) -> bytes:
        """The client takes what there is; of the last lines it may see only some."""
        if self.subscriber is None:
            return b""
        data = self.subscriber.refill()
        lines = data.splitlines()
        for line in lines[: self.chance(0, len(lines))] if cut else lines:
            self._see(json.loads(line))
        return data

    def _see(self, row: dict[str, Any]) -> None:
        match row["type"]:
            case "resuming":
                self.epoch = self.epochs.index(row["epoch"])
                if self.first is None:
                    self.first = self.place = self.epoch, row["offset"]
            case "live":
                assert self.epochs[len(self.epochs) - 1] == row["epoch"]
                self.epoch, self.is_live = len(self.epochs) - 1, True
                self.place = self.epoch, row["offset"]
                self.cursor, self.has_more = row["cursor"], False
                self.seen["lives"] += 1
            case "cursor":
                self.cursor, self.has_more = row["cursor"], False
            case "gap" if row["conn"] == "journal":
                self.seen[f"gaps {row['cause']}"] += 1
                self._see_gap(row)
            case "hello" | "subscribed" | "health":
                pass
            case "bye":
                self.cursor, self.has_more = row.get("cursor", self.cursor), False
            case "error" | "lag":
                raise AssertionError(row)
            case _:
                self.place = self.epoch, row["offset"]
                self.got.append(self.place)
                self.has_more = True
                self.seen["records"] += 1

    def _see_gap(self, row: dict[str, Any]) -> None:
        """A gap goes from where the client is, or from a number, to a number, or to the beginning of an epoch."""
        _, _, rest = row["gap_id"].partition(":")
        start, _, end = rest.rpartition("-")
        before_epoch, _, _ = start.partition(":")
        after_epoch = end.rpartition(":")[0] or before_epoch
        first, last = int(start.rpartition(":")[2]), int(end.rpartition(":")[2])
        low, high = (self.epochs.index(before_epoch), first), (self.epochs.index(after_epoch), last)
        self.told.append((low, high))
        self.place = max(self.place, high)
        self.epoch = high[0]

    async def stop(self) -> None:
        """The daemon ends as it should: who is connected may read its last word."""
        stopping = asyncio.ensure_future(self.hub.stop(10))
        await asyncio.sleep(0)
        if self.chance(0, 1):
            while self.take(cut=False):
                pass
        await self.leave()
        await stopping
        closing = asyncio.ensure_future(self.journal.close())
        while not closing.done():
            self._step_all()
            await asyncio.sleep(0)
        await closing
        await self.begin_life()

    async def kill(self) -> None:
        """The daemon is killed: what was taken from it before has come, and nothing else."""
        await self.leave()
        os.close(self.journal._root)
        await self.begin_life()

    # --- at the end

    async def finish(self) -> None:
        """Let everything happen that is to happen, and judge it."""
        await self.come()
        for _ in range(5000):
            self._step_all()
            await asyncio.sleep(0)
            if not self.take(cut=False) and self.is_live and self._is_quiet():
                break
            if self.journal._put == self.journal._writer.taken and not any(w.calls for w in self.workers.values()):
                await asyncio.sleep(0.001)
        else:
            raise AssertionError("it comes to no end")
        self._judge()
        await self.leave()
        os.close(self.journal._root)

    def _is_quiet(self) -> bool:
        return (
            not any(worker.calls for worker in self.workers.values())
            and self.subscriber is not None
            and (self.subscriber.catch_up is None)
        )

    def _judge(self) -> None:
        assert self.first is not None
        assert all(one < other for one, other in pairwise(self.got)), "not in order, or twice"
        wanted = [
            place for place, record in self.published if place > self.first and self.selection.wants(topic_of(record))
        ]
        strangers = set(self.got) - set(wanted)
        assert not strangers, f"not asked for: {sorted(strangers)[:5]}"
        for place in sorted(set(wanted) - set(self.got)):
            is_delta = isinstance(dict(self.published)[place], BookDelta)
            if is_delta and any(high < place for _, high in self.told):
                self.seen["changes of a book that lost something"] += 1
                continue
            assert any(low < place <= high for low, high in self.told), f"{place} is missing in silence"
            self.seen["missing, and told"] += 1
        for low, high in self.told:
            assert not [place for place in self.got if low < place <= high], "a gap says that what came did not"


ACTIONS = (
    (SeamModel.publish, 25),
    (SeamModel.write, 15),
    (SeamModel.turn, 20),
    (SeamModel.take_some, 20),
    (SeamModel.read_disk, 20),
    (SeamModel.come, 8),
    (SeamModel.leave, 3),
    (SeamModel.close_segment, 6),
    (SeamModel.write_in_vain, 2),
    (SeamModel.expire, 1),
    (SeamModel.stop, 1),
    (SeamModel.kill, 1),
)
WEIGHTS = [action for action, weight in ACTIONS for _ in range(weight)]


async def _run(chance: Chance, path: Path) -> Counter[str]:
    model = SeamModel(path, chance)
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
    try:
        return asyncio.run(_run(chance, path))
    finally:
        shutil.rmtree(path)


if __name__ == "__main__":
    main("tests.support.seam_model", run_case)
