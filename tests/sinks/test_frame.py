"""The frame of every sink: whatever one does, the others do not notice, and each record is accounted for."""

import asyncio
import errno
import json
import random
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
from msgspec import Struct, structs

from aggregator.bus.bus import Batch, Bus
from aggregator.errors import ConfigError
from aggregator.records import Bbo, BookDelta, BookSnapshot, Gap, Record, Trade
from aggregator.sinks import files
from aggregator.sinks.queue import Queue, weight
from aggregator.sinks.running import QueuedSink, running
from aggregator.sinks.sink import NETWORK, Context, Delivery, Ended, Refused, Retry, Sink, Writer
from aggregator.sinks.status import SinkStatus
from aggregator.sinks.worker import Worker

T = TypeVar("T")
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
pytestmark = pytest.mark.waits

PLAIN = Delivery(batch_age=0.0, backoff=1.0)


class NoSettings(Struct, frozen=True):
    """Nothing to set."""


class Keeping(Writer):
    """Keeps what it is given; `trouble` is asked before each write, and may raise or wait."""

    def __init__(self, trouble: Callable[[Batch], Awaitable[None]] | None = None) -> None:
        self.records: list[Record] = []
        self.batches: list[Batch] = []
        self.calls: list[str] = []
        self._trouble = trouble

    async def write(self, batch: Batch) -> None:
        if self._trouble is not None:
            await self._trouble(batch)
        self.keep(batch, range(len(batch)))

    def keep(self, batch: Batch, which: Iterable[int]) -> None:
        self.batches.append(batch)
        self.records += [batch.records[at] for at in which]

    async def flush(self) -> None:
        self.calls.append("flush")

    async def close(self) -> None:
        self.calls.append("close")

    @property
    def offsets(self) -> list[int]:
        return [record.offset for record in self.records if not is_told(record)]


def is_told(record: Record) -> bool:
    return isinstance(record, Gap) and record.cause == "overflow"


def sink_of(*writers: Writer | Exception, delivery: Delivery = PLAIN, name: str = "kept") -> Sink:
    """A sink that gives these writers one after the other, and the last again and again."""
    left = list(writers)

    async def open_next(settings: NoSettings, context: Context) -> Writer:
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return found

    return Sink(name, NoSettings, open_next, delivery=delivery)


def begin(bus: Bus, *writers: Writer | Exception, delivery: Delivery = PLAIN, dead: Path | None = None) -> QueuedSink:
    sink = running(sink_of(*writers, delivery=delivery).configured(), bus, dead=dead)
    assert isinstance(sink, QueuedSink)
    return sink


async def started(
    bus: Bus, *writers: Writer | Exception, delivery: Delivery = PLAIN, dead: Path | None = None
) -> QueuedSink:
    sink = begin(bus, *writers, delivery=delivery, dead=dead)
    await sink.start()
    return sink


async def drained(sink: QueuedSink) -> None:
    sink.end()
    assert sink.task is not None
    await sink.task


def trades(count: int, symbols: tuple[str, ...] = SYMBOLS) -> list[Record]:
    return [
        Trade(exchange="alpha", symbol=symbols[n % len(symbols)], price="1.50", size="2", ts_recv=1000 + n)
        for n in range(count)
    ]


def bbo(symbol: str, bid: str) -> Bbo:
    return Bbo(exchange="alpha", symbol=symbol, bid_price=bid, bid_size="1", ask_price="9", ask_size="1")


def account(sink: QueuedSink) -> None:
    """Every record is in one place."""
    found = sink.status()
    assert found.received == found.written + found.refused + found.dropped + found.held


def told(records: Iterable[Record]) -> dict[tuple[str | None, str | None], int]:
    """The records that gaps say are missing, by topic."""
    found: dict[tuple[str | None, str | None], int] = {}
    for record in records:
        if isinstance(record, Gap) and is_told(record):
            key = record.channel, record.symbol
            found[key] = found.get(key, 0) + (record.missed or 0)
    return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time jumps to what is waited for next: ten minutes take none."""

    def __init__(self) -> None:
        super().__init__()
        self._jumped = 0.0

    def time(self) -> float:
        return super().time() + self._jumped

    def _run_once(self) -> None:
        waiting: Any = self  # asyncio's own lists, which typeshed does not know
        due = [] if waiting._ready else [timer.when() for timer in waiting._scheduled if not timer.cancelled()]
        if due:
            self._jumped += max(0.0, min(due) - self.time())
        super()._run_once()  # type: ignore[misc]


async def at_once(_: Worker, call: Callable[[], T]) -> T:
    """What a thread would do: it would take real time, while virtual time jumps."""
    return call()


def virtually(main: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await main()

    with patch.object(Worker, "do", at_once), asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


# --- what a writer is given -----------------------------------------------------------------------------------------


async def test_every_record_comes_once_and_in_order_and_then_the_end() -> None:
    bus, writer = Bus("e1"), Keeping()
    sink = await started(bus, writer)
    for _ in range(20):
        bus.publish(trades(50))
        await asyncio.sleep(0)
    await drained(sink)
    assert writer.offsets == list(range(1, 1001))
    assert writer.calls == ["flush", "close"]
    assert {batch.epoch for batch in writer.batches} == {"e1"}
    status = sink.status()
    assert (status.received, status.written, status.held, status.held_bytes, status.state) == (
        1000,
        1000,
        0,
        0,
        "ended",
    )
    assert status.bytes == sum(len(batch.blob) for batch in writer.batches)
    assert status.batches == len(writer.batches)


async def test_batches_are_as_large_as_count_and_bytes_say() -> None:
    bus, writer = Bus("e1"), Keeping()
    line = len(Batch(trades(1)).blob)
    delivery = structs.replace(PLAIN, batch_records=30, batch_bytes=line * 40, batch_age=10)
    sink = await started(bus, writer, delivery=delivery)
    bus.publish(trades(100))
    bus.publish([Trade(exchange="alpha", price="1" * line * 60, size="1")])
    bus.publish([Trade(exchange="alpha", price="1" * line * 15, size="1") for _ in range(4)])
    await drained(sink)
    assert [len(batch) for batch in writer.batches] == [30, 30, 30, 10, 1, 2, 2]
    assert writer.offsets == list(range(1, 106))
    assert all(b"".join(batch.lines) == batch.blob for batch in writer.batches)
    assert all(batch.first == batch.records[0].offset for batch in writer.batches)


def test_a_record_waits_for_others_no_longer_than_it_may() -> None:
    async def main() -> None:
        bus, writer = Bus("e1"), Keeping()
        sink = await started(bus, writer, delivery=structs.replace(PLAIN, batch_age=5.0))
        loop = asyncio.get_running_loop()
        bus.publish(trades(1))
        begun = loop.time()
        await asyncio.sleep(4.9)
        bus.publish(trades(1))
        assert writer.records == []
        await asyncio.sleep(0.2)
        assert len(writer.records) == 2
        waited = loop.time() - begun  # on a clock of the test's own
        assert waited < 5.2
        await drained(sink)

    virtually(main)


async def test_a_sink_gets_what_its_patterns_name() -> None:
    bus, writer = Bus("e1"), Keeping()
    sink = await started(bus, writer, delivery=structs.replace(PLAIN, topics=("trades:*:BTC/*", "bbo:beta:*")))
    bus.publish(trades(9))
    bus.publish([bbo("BTC/USDT", "1")])
    bus.publish([structs.replace(bbo("X", "1"), exchange="beta")])
    await drained(sink)
    assert writer.offsets == [1, 4, 7, 11]
    assert sink.status().received == 4
    assert [json.loads(line)["offset"] for batch in writer.batches for line in batch.lines] == [1, 4, 7, 11]


# --- what it says ---------------------------------------------------------------------------------------------------


def test_what_may_pass_is_tried_again_with_the_same_batch() -> None:
    async def main() -> None:
        tries: list[Batch] = []
        at: list[float] = []
        loop = asyncio.get_running_loop()

        async def busy(batch: Batch) -> None:
            tries.append(batch)
            at.append(loop.time())
            if len(tries) < 5:
                raise Retry("busy")
            if len(tries) == 5:
                raise Retry("wait", after=100)

        bus, writer = Bus("e1"), Keeping(busy)
        sink = await started(bus, writer)
        bus.publish(trades(10))
        await asyncio.sleep(3)
        assert sink.status().state == "waiting"
        assert sink.status().failing == "busy"
        assert sink.status().held == 10
        await asyncio.sleep(200)
        assert all(batch is tries[0] for batch in tries)
        pauses = [late - early for early, late in pairwise(at)]
        assert all(base / 2 <= pause <= base + 0.1 for base, pause in zip((1, 2, 4, 8), pauses, strict=False))
        assert 100 <= pauses[4] < 100.1
        await drained(sink)
        assert writer.offsets == list(range(1, 11))
        assert (sink.status().retried, sink.status().failing) == (5, None)

    virtually(main)


async def test_records_that_are_refused_stand_in_the_dead_letters(tmp_path: Path) -> None:
    bus = Bus("e1")

    class Choosy(Keeping):
        async def write(self, batch: Batch) -> None:
            bad = [at for at, record in enumerate(batch.records) if record.offset % 100 == 0]
            self.keep(batch, [at for at in range(len(batch)) if at not in bad])
            if bad:
                raise Refused("not a hundred, please", bad)

    writer = Choosy()
    sink = await started(bus, writer, dead=tmp_path)
    for _ in range(10):
        bus.publish(trades(100))
        await asyncio.sleep(0)
    await drained(sink)
    (path,) = tmp_path.iterdir()
    letters = [json.loads(line) for line in path.read_text().splitlines()]
    assert [letter["record"]["offset"] for letter in letters] == list(range(100, 1001, 100))
    assert {(letter["reason"], letter["epoch"], letter["sink"]) for letter in letters} == {
        ("not a hundred, please", "e1", "kept")
    }
    assert sorted([*writer.offsets, *range(100, 1001, 100)]) == list(range(1, 1001))
    status = sink.status()
    assert (status.written, status.refused, status.dropped) == (990, 10, 0)


async def test_a_record_that_is_refused_twice_over_counts_once(tmp_path: Path) -> None:
    class Confused(Keeping):
        async def write(self, batch: Batch) -> None:
            self.keep(batch, [0, 3])
            raise Refused("these", [2, 1, 2, 1, 9, -1])

    bus = Bus("e1")
    sink = await started(bus, Confused(), dead=tmp_path)
    bus.publish(trades(4))
    await drained(sink)
    (path,) = tmp_path.iterdir()
    assert [json.loads(line)["record"]["offset"] for line in path.read_text().splitlines()] == [2, 3]
    assert (sink.status().written, sink.status().refused) == (2, 2)


@pytest.mark.parametrize("error", [Refused("bad"), ValueError("bad")])
def test_the_culprits_of_a_batch_are_found_by_halves(tmp_path: Path, error: Exception) -> None:
    async def main() -> None:
        async def whole(batch: Batch) -> None:
            if any(record.offset in {7, 300} for record in batch.records):
                raise error

        bus, writer = Bus("e1"), Keeping(whole)
        sink = await started(bus, writer, dead=tmp_path)
        bus.publish(trades(500))
        await asyncio.sleep(3600)
        await drained(sink)
        assert writer.offsets == [n for n in range(1, 501) if n not in {7, 300}]
        (path,) = tmp_path.iterdir()
        letters = [json.loads(line) for line in path.read_text().splitlines()]
        assert [letter["record"]["offset"] for letter in letters] == [7, 300]
        assert all("bad" in letter["reason"] for letter in letters)
        assert (sink.status().refused, sink.status().written) == (2, 498)

    virtually(main)


async def test_dead_letters_that_are_full_are_told_as_missing(tmp_path: Path) -> None:
    async def never(batch: Batch) -> None:
        if not all(map(is_told, batch.records)):
            raise Refused("never", [at for at, record in enumerate(batch.records) if not is_told(record)])

    bus, writer = Bus("e1"), Keeping(never)
    path = tmp_path / "dead.ndjson"
    delivery = structs.replace(PLAIN, dead_letters=path, dead_letters_bytes=1000)
    sink = await started(bus, writer, delivery=delivery)
    bus.publish(trades(100))
    await drained(sink)
    kept = len(path.read_text().splitlines())
    assert 0 < kept < 10
    assert path.stat().st_size <= 1000
    assert sum(told(writer.records).values()) == 100 - kept == sink.status().dropped
    assert sink.status().refused == kept
    account(sink)


async def test_a_disk_that_takes_no_dead_letters_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def never(batch: Batch) -> None:
        if not any(map(is_told, batch.records)):
            raise Refused("never", range(len(batch)))

    monkeypatch.setattr("aggregator.sinks.dead_letters.os.write", full)
    bus, writer = Bus("e1"), Keeping(never)
    sink = await started(bus, writer, dead=tmp_path)
    bus.publish(trades(30))
    await drained(sink)
    assert told(writer.records) == {("trades", symbol): 10 for symbol in SYMBOLS}
    assert (sink.status().refused, sink.status().dropped) == (0, 30)


async def test_a_target_that_is_gone_ends_the_sink_quietly(caplog: pytest.LogCaptureFixture) -> None:
    async def gone(batch: Batch) -> None:
        raise Ended

    bus, writer = Bus("e1"), Keeping(gone)
    sink = await started(bus, writer)
    bus.publish(trades(5))
    assert sink.task is not None
    await asyncio.wait_for(sink.task, 5)
    bus.publish(trades(5))
    assert writer.calls == ["close"]
    assert not caplog.records
    account(sink)
    assert sink.status().dropped == 5


# --- failures -------------------------------------------------------------------------------------------------------


def test_a_sink_that_fails_is_opened_anew_and_given_the_same_batch(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def broken(batch: Batch) -> None:
            raise ConnectionResetError("the server has left")

        bus, first, second = Bus("e1"), Keeping(broken), Keeping()
        sink = await started(bus, first, OSError("nobody there"), second)
        bus.publish(trades(10))
        await asyncio.sleep(60)
        await drained(sink)
        assert first.calls == ["close"]
        assert second.offsets == list(range(1, 11))
        assert sink.status().restarts == 1
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
        assert "the server has left" in caplog.text

    virtually(main)


async def test_a_call_that_is_cancelled_within_a_sink_ends_neither_it_nor_its_records() -> None:
    """Client libraries raise that of a future of their own, in whatever call; it is a failure like any other."""

    class Cancelled(Keeping):
        async def close(self) -> None:
            raise asyncio.CancelledError

    async def trouble(_: Batch) -> None:
        raise asyncio.CancelledError

    came = asyncio.Event()

    async def arrive(_: Batch) -> None:
        came.set()

    bus = Bus("epoch-1")
    good = Keeping(arrive)
    sink = await started(bus, Cancelled(trouble), good, delivery=structs.replace(PLAIN, backoff=0.001))
    bus.publish(trades(3))
    await came.wait()
    bus.publish(trades(2))
    await drained(sink)
    assert good.offsets == [1, 2, 3, 4, 5]
    assert (sink.status().written, sink.status().restarts, sink.status().held) == (5, 1, 0)


async def test_a_sink_that_is_cancelled_from_outside_ends() -> None:
    async def trouble(_: Batch) -> None:
        await asyncio.sleep(3600)

    bus = Bus("epoch-1")
    sink = await started(bus, Keeping(trouble))
    bus.publish(trades(3))
    await asyncio.sleep(0)
    assert sink.task is not None
    assert await sink.abandon() == 3
    assert sink.task.cancelled()
    assert sink.status().dropped == 3


async def test_a_local_sink_that_cannot_be_opened_is_a_reason_not_to_start() -> None:
    with pytest.raises(ConfigError, match="sink kept cannot be opened: no such disk"):
        await started(Bus("e1"), OSError("no such disk"))


def test_a_network_sink_that_cannot_be_opened_is_waited_for() -> None:
    async def main() -> None:
        bus, writer = Bus("e1"), Keeping()
        delivery = structs.replace(NETWORK, batch_age=0.0)
        sink = await started(bus, OSError("no answer"), OSError("no answer"), writer, delivery=delivery)
        bus.publish(trades(10))
        await asyncio.sleep(0.1)
        assert (sink.status().state, sink.status().failing) == ("opening", "no answer")
        await asyncio.sleep(60)
        await drained(sink)
        assert writer.offsets == list(range(1, 11))

    virtually(main)


def test_a_write_that_takes_too_long_has_failed() -> None:
    async def main() -> None:
        async def hangs(batch: Batch) -> None:
            await asyncio.sleep(3600)

        bus, first, second = Bus("e1"), Keeping(hangs), Keeping()
        sink = await started(bus, first, second, delivery=structs.replace(PLAIN, timeout=30.0))
        bus.publish(trades(10))
        await asyncio.sleep(30.5)
        assert sink.status().failing == "no answer within 30 s"
        await asyncio.sleep(2)
        assert second.offsets == list(range(1, 11))
        await drained(sink)

    virtually(main)


def test_a_write_may_take_as_long_as_it_comes_further() -> None:
    async def main() -> None:
        contexts: list[Context] = []

        async def is_slow(batch: Batch) -> None:
            for _ in range(10):
                await asyncio.sleep(20)
                contexts[-1].step()

        writer = Keeping(is_slow)

        async def opened(settings: NoSettings, context: Context) -> Writer:
            contexts.append(context)
            return writer

        bus = Bus("e1")
        delivery = structs.replace(PLAIN, timeout=30.0)
        sink = running(Sink("slow", NoSettings, opened, delivery=delivery).configured(), bus)
        assert isinstance(sink, QueuedSink)
        await sink.start()
        bus.publish(trades(10))
        await asyncio.sleep(150)
        assert (sink.status().failing, writer.offsets) == (None, [])
        await asyncio.sleep(51)
        assert writer.offsets == list(range(1, 11))
        contexts[-1].step()  # nothing is written: it means nothing
        await drained(sink)
        assert sink.status().restarts == 0

    virtually(main)


def test_what_is_not_written_when_the_time_to_drain_is_over_is_counted() -> None:
    async def main() -> None:
        async def hangs(batch: Batch) -> None:
            await asyncio.sleep(3600)

        bus, writer = Bus("e1"), Keeping(hangs)
        sink = await started(bus, writer)
        bus.publish(trades(10))
        await asyncio.sleep(1)
        bus.publish(trades(20))
        sink.end()
        await asyncio.sleep(1)
        assert await sink.abandon() == 30
        assert writer.calls == ["close"]
        assert (sink.status().dropped, sink.status().held) == (30, 0)
        account(sink)

    virtually(main)


# --- a queue that is full -------------------------------------------------------------------------------------------


def filled(
    when_full: str, *batches: list[Record], queue: int = 10, queue_bytes: int = 10**9
) -> tuple[Queue, list[Record]]:
    """A queue after these batches, and what it gives."""
    delivery = Delivery(queue=queue, queue_bytes=queue_bytes, when_full=when_full)  # type: ignore[arg-type]  # a case's word
    bus, found = Bus("e1"), Queue("kept", "e1", delivery)
    bus.attach(found.put)
    for batch in batches:
        bus.publish(batch)
    given: list[Record] = []
    while (taken := found.take()) is not None:
        given += taken.records
    return found, given


def shown(records: list[Record]) -> list[object]:
    return [(r.symbol, r.expected, r.got, r.missed) if isinstance(r, Gap) else r.offset for r in records]


def test_the_oldest_go() -> None:
    found, given = filled("drop_oldest", trades(6, ("A", "B")), trades(6, ("A",)), trades(4, ("B",)))
    assert shown(given) == [("A", 1, 6, 3), ("B", 2, 7, 3), *range(7, 17)]
    assert (found.received, found.dropped, found.held) == (16, 6, 0)
    assert len({gap.gap_id for gap in given if isinstance(gap, Gap)}) == 2


def test_the_newest_go() -> None:
    _, given = filled("drop_newest", trades(6, ("A", "B")), trades(6, ("A",)), trades(4, ("B",)), trades(1, ("C",)))
    assert shown(given) == [1, 2, 3, 4, 5, 6, ("A", 7, 13, 6), *range(13, 17), ("C", 17, 18, 1)]


def test_only_the_latest_of_what_tells_a_state_is_kept() -> None:
    early: list[Record] = [bbo("A", "1"), bbo("B", "1"), bbo("A", "2"), *trades(2, ("A",))]
    late: list[Record] = [bbo("A", "3"), bbo("A", "4"), *trades(1, ("B",)), bbo("C", "1")]
    found, given = filled("conflate", early, late, queue=8)
    assert shown(given) == [2, ("A", 1, 7, 3), 4, 5, 7, 8, 9] or shown(given) == [2, 4, 5, ("A", 1, 7, 3), 7, 8, 9]
    assert found.dropped == 3


def test_where_that_is_not_enough_the_oldest_go_too() -> None:
    found, given = filled("conflate", *[trades(5, ("A",)) for _ in range(20)], queue=20)
    kept = [record.offset for record in given if not is_told(record)]
    assert kept == list(range(101 - len(kept), 101))
    assert 10 <= len(kept) <= 20
    assert told(given) == {("trades", "A"): 100 - len(kept)}
    assert found.dropped == 100 - len(kept)


@pytest.mark.parametrize("most", [1, 3, 4])
async def test_a_sink_that_may_hold_next_to_nothing_waits_for_records_and_gets_each(most: int) -> None:
    """An empty queue of so few bytes counted as full enough to be emptied: its task never let another run."""
    came = asyncio.Event()

    async def arrive(_: Batch) -> None:
        came.set()

    bus = Bus("epoch-1")
    good = Keeping(arrive)
    sink = await started(bus, good, delivery=structs.replace(PLAIN, queue_bytes=most))
    for _ in range(3):
        await asyncio.sleep(0)
    for _ in range(2):
        bus.publish(trades(1))
        await came.wait()
        came.clear()
    await drained(sink)
    assert good.offsets == [1, 2]


@pytest.mark.parametrize(("records", "size"), [(1, 1), (2, 3), (100, 1)])
async def test_files_of_which_next_to_nothing_may_wait_are_written_and_end(
    tmp_path: Path, records: int, size: int
) -> None:
    """There was never room for a record where a part of so few bytes was none."""
    bus = Bus("epoch-1")
    delivery = structs.replace(files.SINK.defaults, queue=records, queue_bytes=size)
    sink = running(files.SINK.configured(delivery, path=tmp_path), bus)
    await sink.start()
    for _ in range(20):
        bus.publish(trades(1))
        await asyncio.sleep(0)
    sink.end()
    assert sink.task is not None
    async with asyncio.timeout(20):
        await sink.task
    status = sink.status()
    assert (status.received, status.held) == (20, 0)
    assert status.written + status.dropped == 20
    assert status.written


def test_memory_stays_within_the_bytes() -> None:
    """A thousand levels and a text of megabytes count for what they are."""
    levels = [(f"{n}.5", "1.25") for n in range(1000)]
    kinds: list[Callable[[int], Record]] = [
        lambda n: Trade(exchange="alpha", symbol="A", raw_symbol="A", price=f"{n}.5", size=f"{n}.25", id=f"{n}-id"),
        lambda n: BookSnapshot(exchange="alpha", symbol="A", bids=[(f"{n}{p}", s) for p, s in levels], asks=[]),
        lambda n: BookDelta(exchange="alpha", symbol="A", bids=[(f"{n}.1", "2")], asks=[(f"{n}.2", "2")]),
        lambda n: Trade(exchange="alpha", symbol="A", price="1" * 100_000 + str(n), size="1"),
    ]
    for kind in kinds:
        most = 4_000_000
        found, bus = Queue("kept", "e1", Delivery(queue_bytes=most)), Bus("e1")
        bus.attach(found.put)
        tracemalloc.start()
        try:
            for n in range(300):
                bus.publish([kind(10_000 + n * 20 + k) for k in range(20 if n % 2 else 1)])
                if found.dropped > 300:
                    break
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert found.held_bytes <= most
        assert used <= most * 1.15, kind
        assert weight(Batch([kind(1)])) < 15 * len(Batch([kind(1)]).blob)


# --- all at once ----------------------------------------------------------------------------------------------------


class Scene:
    """Sinks on one bus, and what becomes of each record of theirs."""

    def __init__(self, dead: Path, policy: str) -> None:
        self.bus = Bus("e1")
        self.sinks: dict[str, tuple[QueuedSink, Keeping]] = {}
        self.sent: list[Record] = []
        self._dead = dead
        self._delivery = structs.replace(PLAIN, queue=2000, queue_bytes=3_000_000, when_full=policy, batch_records=200)

    async def add(self, name: str, writer: Keeping) -> None:
        config = sink_of(writer, delivery=self._delivery, name=name).configured()
        sink = running(config, self.bus, dead=self._dead)
        assert isinstance(sink, QueuedSink)
        self.sinks[name] = sink, writer
        await sink.start()

    async def send(self, records: list[Record]) -> None:
        self.bus.publish(records)
        self.sent += records
        await asyncio.sleep(1)
        for sink, _ in self.sinks.values():
            assert sink.queue.held <= 2000
            assert sink.queue.held_bytes <= 3_000_000
            account(sink)

    async def end(self) -> None:
        for sink, _ in self.sinks.values():
            await drained(sink)

    def status(self, name: str) -> SinkStatus:
        return self.sinks[name][0].status()

    def buried(self, name: str) -> list[int]:
        path = self._dead / f"{name}.ndjson"
        return [json.loads(line)["record"]["offset"] for line in path.read_text().splitlines()] if path.exists() else []

    def check(self, name: str) -> None:
        """Every record is delivered, buried or told, each exactly once; what came is in order."""
        sink, writer = self.sinks[name]
        status, delivered, buried = sink.status(), set(writer.offsets), set(self.buried(name))
        assert status.held == 0
        account(sink)
        assert len(delivered) == len(writer.offsets) == status.written
        assert len(buried) == len(self.buried(name)) == status.refused
        assert not delivered & buried
        known = delivered | buried
        missing = [record for record in self.sent if record.offset not in known]
        assert len(missing) == status.dropped
        topics = Counter(("bbo" if isinstance(record, Bbo) else "trades", record.symbol) for record in missing)
        assert topics == told(writer.records)
        offsets = [record.offset for record in writer.records]
        assert offsets == sorted(offsets)


class Choosy(Keeping):
    """Refuses one record in a hundred."""

    async def write(self, batch: Batch) -> None:
        bad = [at for at, record in enumerate(batch.records) if record.offset % 100 == 0 and not is_told(record)]
        self.keep(batch, [at for at in range(len(batch)) if at not in bad])
        if bad:
            raise Refused("one in a hundred", bad)


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "conflate"])
def test_four_bad_sinks_and_two_good_ones(tmp_path: Path, policy: str) -> None:
    """One hangs for ten minutes, one raises at random, one refuses 1 %, one's disk is full: the others see nothing."""

    async def main() -> None:
        loop, chance, scene = asyncio.get_running_loop(), random.Random(5), Scene(tmp_path, policy)
        begun = loop.time()

        async def hangs(batch: Batch) -> None:
            await asyncio.sleep(max(0.0, begun + 600 - loop.time()))

        async def raises(batch: Batch) -> None:
            if chance.random() < 0.3:
                raise chance.choice([RuntimeError("ours"), ConnectionError("away"), ValueError("odd"), Retry("busy")])

        async def full(batch: Batch) -> None:
            if loop.time() - begun < 300:
                raise OSError(errno.ENOSPC, "No space left on device")

        for name, writer in (("hanging", Keeping(hangs)), ("raising", Keeping(raises)), ("full", Keeping(full))):
            await scene.add(name, writer)
        await scene.add("choosy", Choosy())
        await scene.add("good", Keeping())
        await scene.add("other", Keeping())
        while loop.time() - begun < 900:
            await scene.send([*trades(40), bbo(chance.choice(SYMBOLS), "1")])
            assert scene.status("good").held == scene.status("other").held == 0
        await scene.end()
        for name in scene.sinks:
            scene.check(name)
        assert scene.sinks["good"][1].offsets == list(range(1, len(scene.sent) + 1))
        assert scene.sinks["other"][1].offsets == list(range(1, len(scene.sent) + 1))
        assert scene.status("hanging").dropped > 10_000
        assert scene.status("choosy").refused > 100
        assert {offset % 100 for offset in scene.buried("choosy")} == {0}
        assert scene.status("raising").restarts > 10
        assert scene.status("full").dropped > 5000

    virtually(main)
