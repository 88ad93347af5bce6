"""Sinks that lose nothing: what does not fit into the queue waits in the journal, and a later life goes on there."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from aggregator.bus.bus import Batch, Bus
from aggregator.bus.history import Cursor
from aggregator.errors import ConfigError
from aggregator.records import Gap, Record, decode_record
from aggregator.sinks import spill
from aggregator.sinks.journal.journal import Journal
from aggregator.sinks.journal.sink import SINK as JOURNAL
from aggregator.sinks.places import SLOT_BYTES, NoPlace, PlaceFile, PlaceNotes
from aggregator.sinks.running import QueuedSink, running
from aggregator.sinks.sink import Delivery
from tests.sinks.test_frame import Keeping, account, sink_of
from tests.sinks.test_journal import FIRST, SECOND, trade, written
from tests.support.journal_model import full_disk

pytestmark = pytest.mark.waits

SPILLING = Delivery(
    when_full="spill", queue=100, batch_records=50, batch_age=0.0, backoff=0.01, longest_backoff=0.02, timeout=0.0
)


class Gate:
    """A target that is there or not."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def __call__(self, batch: Batch) -> None:  # noqa: ARG002 - as every write
        await self.is_open.wait()


@asynccontextmanager
async def life(
    home: Path, writer: Keeping, epoch: str = FIRST, *, delivery: Delivery = SPILLING, **options: Any
) -> AsyncIterator[tuple[Bus, QueuedSink]]:
    """A life of a daemon with a journal and a sink that spills."""
    bus = Bus(epoch)
    journal = running(JOURNAL.configured(path=home / "journal", **options), bus)
    await journal.start()
    sink = running(sink_of(writer, delivery=delivery).configured(), bus, places=home / "places")
    assert isinstance(sink, QueuedSink)
    await sink.start()
    try:
        yield bus, sink
    finally:
        for each in (journal, sink):
            each.end()
        assert journal.task is not None
        assert sink.task is not None
        await asyncio.wait([journal.task, sink.task], timeout=1)
        assert await sink.abandon() == 0


def publish(bus: Bus, numbers: Sequence[int], symbol: str = "A") -> None:
    for start in range(0, len(numbers), 10):
        bus.publish([trade(number, symbol) for number in numbers[start : start + 10]])


async def until(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come")


async def caught_up(sink: QueuedSink) -> None:
    await until(lambda: not sink.status().held)


def ids(records: Sequence[Record]) -> list[int]:
    return [int(str(getattr(record, "id", "-1"))) for record in records if not isinstance(record, Gap)]


def gaps(records: Sequence[Record]) -> list[Gap]:
    return [record for record in records if isinstance(record, Gap)]


async def test_what_does_not_fit_is_given_later_in_order_and_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    writer = Keeping(gate)
    async with life(tmp_path, writer) as (bus, sink):
        publish(bus, range(20))
        await caught_up(sink)
        gate.is_open.clear()
        for start in range(20, 20_000, 500):
            publish(bus, range(start, min(start + 500, 20_000)))
            await asyncio.sleep(0)
            account(sink)
            assert sink.queue.held_bytes < 200_000
        assert sink.status().spilled > 19_000
        gate.is_open.set()
        await caught_up(sink)
        publish(bus, range(20_000, 20_100))
        await caught_up(sink)
        status = sink.status()
        assert (status.received, status.written, status.dropped) == (20_100, 20_100, 0)
        account(sink)
    assert ids(writer.records) == list(range(20_100))
    assert not gaps(writer.records)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "sink kept: its queue is full: what comes now waits in the journal",
        "sink kept: has caught up",
    ]


async def test_a_sink_gets_the_topics_that_it_asks_for_and_their_lines_as_they_were(tmp_path: Path) -> None:
    gate = Gate()
    writer = Keeping(gate)
    async with life(tmp_path, writer, delivery=structs.replace(SPILLING, topics=("trades:alpha:B",))) as (bus, sink):
        gate.is_open.clear()
        lines: list[bytes] = []
        bus.attach(lambda batch: lines.extend(batch.lines))
        for number in range(0, 10_000, 2):
            bus.publish([trade(number, "A"), trade(number + 1, "B")])
            if not number % 500:
                await asyncio.sleep(0)
        gate.is_open.set()
        await caught_up(sink)
        assert sink.status().written == 5000
    assert ids(writer.records) == list(range(1, 10_000, 2))
    assert [line for batch in writer.batches for line in batch.lines] == lines[1::2]


async def test_the_next_life_goes_on_where_the_sink_was(tmp_path: Path) -> None:
    """The target is away when the daemon ends: what it has not taken comes in the next life, and each record once."""
    gate = Gate()
    writer = Keeping(gate)
    async with life(tmp_path, writer) as (bus, sink):
        publish(bus, range(50))
        await caught_up(sink)
        gate.is_open.clear()
        publish(bus, range(50, 3000))
        await asyncio.sleep(0.05)
    assert ids(writer.records) == list(range(50))
    gate.is_open.set()
    async with life(tmp_path, writer, SECOND) as (bus, sink):
        publish(bus, range(3000, 3100))
        await caught_up(sink)
        assert sink.status().received == 3050
    assert ids(writer.records) == list(range(3100))
    assert not gaps(writer.records)
    assert [batch.epoch for batch in writer.batches] == sorted(batch.epoch for batch in writer.batches)
    async with life(tmp_path, writer, "20260102T050000.000000Z") as (bus, sink):
        publish(bus, range(3100, 3110))
        await caught_up(sink)
    assert ids(writer.records) == list(range(3110))


async def test_a_sink_that_is_new_begins_now_and_one_that_no_longer_spills_forgets(tmp_path: Path) -> None:
    writer = Keeping()
    async with life(tmp_path, Keeping()) as (bus, sink):
        publish(bus, range(10))
        await caught_up(sink)
    for path in (tmp_path / "places").iterdir():
        path.unlink()
    async with life(tmp_path, writer, SECOND) as (bus, sink):
        publish(bus, range(10, 20))
        await caught_up(sink)
    assert ids(writer.records) == list(range(10, 20))
    bus = Bus("later")
    running(sink_of(writer).configured(), bus, places=tmp_path / "places")
    assert not list((tmp_path / "places").glob("*.place"))


async def test_what_the_journal_has_let_go_is_told_by_a_gap(tmp_path: Path) -> None:
    gate = Gate()
    writer = Keeping(gate)
    async with life(tmp_path, writer, segment_bytes=1_000_000, keep_bytes=100_000) as (bus, sink):
        gate.is_open.clear()
        for number in range(0, 20_000, 100):
            bus.publish([trade(n, size=str(n * 7919 % 10**9) * 40) for n in range(number, number + 100)])
            await asyncio.sleep(0.002)
        await until(lambda: bus.history is not None and bus.history.status().expired)
        gate.is_open.set()
        await caught_up(sink)
        status = sink.status()
        account(sink)
    told = gaps(writer.records)  # one, and another where more was let go while this was read
    missing: list[int] = []
    for gap in told:
        assert (gap.cause, gap.conn) == ("expired", "kept")
        assert gap.gap_id.startswith(f"kept:{FIRST}:")
        assert gap.expected is not None
        assert gap.got is not None
        assert gap.missed == gap.got - gap.expected
        missing += range(gap.expected - 1, gap.got - 1)
    found = ids(writer.records)
    assert found == sorted(found)
    assert sorted(found + missing) == list(range(20_000))
    assert status.dropped == len(missing) > 0
    assert len({gap.gap_id for gap in told}) == len(told)


async def test_what_the_journal_could_not_write_is_told_by_a_gap(tmp_path: Path) -> None:
    gate = Gate()
    writer = Keeping(gate)
    async with life(tmp_path, writer) as (bus, sink):
        gate.is_open.clear()
        publish(bus, range(500))
        await written(bus.history)
        with full_disk():
            publish(bus, range(500, 520))
            await written(bus.history)
        await asyncio.sleep(1.1)  # the pause after an error
        publish(bus, range(520, 600))
        await written(bus.history)
        assert isinstance(bus.history, Journal)
        bus.history._tail.clear()
        bus.history._in_tail = 0
        gate.is_open.set()
        await caught_up(sink)
        assert sink.status().dropped == 20
    (gap,) = gaps(writer.records)
    assert (gap.cause, gap.expected, gap.got, gap.missed) == ("overflow", 501, 521, 20)
    assert ids(writer.records) == [*range(500), *range(520, 600)]


async def test_a_sink_cannot_spill_without_a_journal(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sink kept cannot spill: there is no journal"):
        running(sink_of(Keeping(), delivery=SPILLING).configured(), Bus(FIRST), places=tmp_path)


@pytest.mark.parametrize("queue_bytes", [256_000_000, 60_000])
async def test_records_that_this_version_cannot_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue_bytes: int
) -> None:
    """A later version may write what this one does not know."""

    def decode(line: bytes) -> Record:
        record = decode_record(line)
        if not int(str(getattr(record, "id", ""))) % 70:
            raise msgspec.ValidationError("another version")
        return record

    monkeypatch.setattr(spill, "decode_record", decode)
    gate = Gate()
    writer = Keeping(gate)
    delivery = structs.replace(SPILLING, queue=10, queue_bytes=queue_bytes)
    async with life(tmp_path, writer, delivery=delivery) as (bus, sink):
        gate.is_open.clear()
        publish(bus, range(1, 8001))
        await written(bus.history)
        assert isinstance(bus.history, Journal)
        bus.history._tail.clear()
        bus.history._in_tail = 0
        gate.is_open.set()
        await caught_up(sink)
        lost = sorted(set(range(1, 8001)) - set(ids(writer.records)))
        assert lost == list(range(70, 8001, 70))
        assert sink.status().dropped == len(lost) == sum(gap.missed or 0 for gap in gaps(writer.records))
        offsets = [record.offset for record in writer.records]
        assert offsets == sorted(offsets)
        for number in lost:
            assert any((gap.expected or 0) <= number < (gap.got or 0) for gap in gaps(writer.records))


async def test_a_place_that_cannot_be_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = Keeping()
    async with life(tmp_path, writer) as (bus, sink):
        publish(bus, range(10))
        await caught_up(sink)
    (path,) = (tmp_path / "places").glob("*.place")
    path.write_bytes(b"x" * 4096)
    async with life(tmp_path, writer, SECOND) as (bus, sink):
        publish(bus, range(10, 20))
        await caught_up(sink)
    (gap,) = gaps(writer.records)
    assert (gap.cause, gap.conn, gap.missed) == ("damaged", "kept", None)
    assert ids(writer.records) == list(range(20))
    assert "where it was is not known, it begins anew, and a gap tells it" in caplog.text
    assert path.with_name(f"{path.name}.bad").exists()


def test_a_place_is_written_whole_or_the_one_before_stays(tmp_path: Path) -> None:
    path = tmp_path / "places" / "kept.place"
    file = PlaceFile(path)
    assert file.read() is None
    for offset in range(1, 10):
        file.write(Cursor(FIRST, offset))
        assert PlaceFile(path).read() == file.read() == Cursor(FIRST, offset)
        assert path.stat().st_size == 2 * SLOT_BYTES
        whole = path.read_bytes()
        at = whole.index(b"%012d" % offset)
        for cut in (0, 5, 30, 60):  # the newest is torn
            path.write_bytes(whole[: at + cut] + b"\0" * (SLOT_BYTES - cut) + whole[at + SLOT_BYTES :])
            if offset > 1:
                assert PlaceFile(path).read() == Cursor(FIRST, offset - 1)
            else:
                with pytest.raises(NoPlace, match="no place can be read of it"):
                    PlaceFile(path).read()
        path.write_bytes(whole)
    again = PlaceFile(path)
    assert again.read() == Cursor(FIRST, 9)
    again.write(Cursor(SECOND, 0))
    assert PlaceFile(path).read() == Cursor(SECOND, 0)


async def test_a_place_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    places = PlaceNotes("kept", tmp_path / "file" / "kept.place")
    with pytest.raises(NoPlace):
        await places.begin()
    offset = 0
    places.follow(lambda: Cursor(FIRST, offset))
    for offset in range(1, 4):  # noqa: B007 - it is what the place says
        await asyncio.sleep(0.15)
    await places.end()
    assert caplog.text.count("the place that it has reached cannot be written") == 1
