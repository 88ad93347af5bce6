"""A sink whose daemon was killed is told by the next life since when it lacks records, and by no later one."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from struct import pack, unpack

import msgspec
import pytest
from msgspec import structs

from aggregator.bus.bus import Batch, Bus
from aggregator.daemon.running_sinks import RunningSinks
from aggregator.records import Gap, Record, Trade
from aggregator.sinks import files
from aggregator.sinks.csv import SINK as CSV
from aggregator.sinks.intervals import MARKER
from aggregator.sinks.journal.sink import SINK as JOURNAL
from aggregator.sinks.notes import Loss, overflow
from aggregator.sinks.paths import Scope, Template
from aggregator.sinks.routes import FileRoutes
from aggregator.sinks.running import QueuedSink, running
from aggregator.sinks.segment import Segments
from aggregator.sinks.sink import Context, Delivery, Ended, Refused, Sink, Writer
from tests.sinks.test_frame import Keeping, NoSettings, sink_of

pytestmark = pytest.mark.waits

PLAIN = Delivery(batch_age=0.0, backoff=0.01, longest_backoff=0.01)
DIED, ENDED = 9_000, 9_500


def trade(ts: int, symbol: str = "BTC/USDT") -> Trade:
    return Trade(exchange="alpha", symbol=symbol, raw_symbol=symbol, price="1.50", size="2", ts_recv=ts)


class Life:
    """One life of a daemon with one sink, whose notes are in a folder."""

    def __init__(self, folder: Path, *writers: Keeping, epoch: str = "e1", delivery: Delivery = PLAIN) -> None:
        self.bus = Bus(epoch)
        config = sink_of(*writers, delivery=delivery).configured()
        sink = running(config, self.bus, clock=lambda: ENDED, deaths={("e0", "alpha"): DIED}, places=folder)
        assert isinstance(sink, QueuedSink)
        self.sink, self.writer, self.folder = sink, writers[-1], folder

    async def begin(self) -> "Life":
        await self.sink.start()
        return self

    def publish(self, *times: int) -> None:
        self.bus.publish([trade(ts) for ts in times])

    @property
    def note(self) -> tuple[int, int]:
        since, until = unpack("=qq", (self.folder / "kept.unwritten").read_bytes())
        return since, until

    async def killed(self, folder: Path) -> Path:
        """Have it lose what it holds; the notes as they were at that moment, in another folder."""
        shutil.copytree(self.folder, folder)
        await self.sink.abandon()
        return folder

    async def end(self) -> None:
        self.sink.end()
        assert self.sink.task is not None
        await self.sink.task
        await self.sink.abandon()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a task or a thread makes it true
            await asyncio.sleep(0.001)


async def never(_: Batch) -> None:
    await asyncio.Event().wait()


def told(writer: Keeping) -> list[tuple[int, int | None]]:
    gaps = [record for record in writer.records if isinstance(record, Gap)]
    assert all((gap.cause, gap.phase, gap.repair, gap.missed) == ("restart", "close", "none", None) for gap in gaps)
    assert {(gap.conn, gap.exchange, gap.channel, gap.raw_symbol) for gap in gaps} <= {("kept", "", None, None)}
    return [(gap.ts_from, gap.ts_to) for gap in gaps]


async def test_what_waits_when_it_is_killed_is_told_first_by_the_next_life_alone(tmp_path: Path) -> None:
    life = await Life(tmp_path / "1", Keeping(never)).begin()
    life.publish(100, 101)
    await asyncio.sleep(0.01)  # the writer is at these
    life.publish(102)
    assert life.note == (100, 0)
    left = await life.killed(tmp_path / "2")

    life = await Life(left, Keeping(), epoch="e2").begin()
    life.publish(10_000)
    await life.end()
    assert told(life.writer) == [(100, DIED)]
    assert isinstance(life.writer.records[0], Gap)
    assert life.sink.status().written == life.sink.status().received == 1
    assert life.note == (0, 0)

    life = await Life(left, Keeping(), epoch="e3").begin()
    life.publish(20_000)
    await life.end()
    assert told(life.writer) == []


async def test_the_note_moves_on_with_what_is_written(tmp_path: Path) -> None:
    going = asyncio.Event()

    async def waits(batch: Batch) -> None:
        if batch.earliest >= 102:
            await going.wait()

    life = await Life(tmp_path, Keeping(waits), delivery=structs.replace(PLAIN, batch_records=2)).begin()
    life.publish(100, 101)
    await until(lambda: len(life.writer.records) == 2)
    await until(lambda: life.note == (0, 0))
    life.publish(102)
    life.publish(103)
    life.publish(104)
    await asyncio.sleep(0.01)
    assert life.note == (102, 0)
    going.set()
    await until(lambda: life.note == (0, 0))
    assert len(life.writer.records) == 5
    await life.end()


async def test_one_that_is_killed_before_it_has_told_it_leaves_that_to_the_next(tmp_path: Path) -> None:
    life = await Life(tmp_path / "1", Keeping(never)).begin()
    life.publish(100)
    left = await life.killed(tmp_path / "2")
    life = await Life(left, Keeping(never), epoch="e2").begin()
    life.publish(10_000)
    await asyncio.sleep(0.01)
    assert life.note == (100, 0)
    left = await life.killed(tmp_path / "3")
    life = await Life(left, Keeping(never), epoch="e3").begin()
    assert life.note == (100, DIED), "nothing has come since"
    left = await life.killed(tmp_path / "4")
    life = await Life(left, Keeping(), epoch="e4").begin()
    await life.end()
    assert told(life.writer) == [(100, DIED)]


async def test_what_an_end_in_good_order_could_not_write_is_told_too(tmp_path: Path) -> None:
    life = await Life(tmp_path, Keeping(never)).begin()
    life.publish(100)
    life.sink.end()
    assert await life.sink.abandon() == 1
    assert life.note == (100, ENDED)
    life = await Life(tmp_path, Keeping(), epoch="e2").begin()
    await life.end()
    assert told(life.writer) == [(100, ENDED)]


async def test_losses_that_it_had_not_been_told_are_told_by_the_next_life(tmp_path: Path) -> None:
    """The queue had dropped records, and was killed before the sink took the gap that says so."""
    life = await Life(tmp_path / "1", Keeping(never), delivery=structs.replace(PLAIN, queue=2)).begin()
    life.publish(100)
    await asyncio.sleep(0.01)
    for ts in range(101, 120):
        life.publish(ts)
    assert life.sink.status().dropped
    left = await life.killed(tmp_path / "2")
    life = await Life(left, Keeping(), epoch="e2").begin()
    await life.end()
    assert told(life.writer) == [(100, DIED)]


async def test_a_gap_that_came_alone_is_written_when_it_is(tmp_path: Path) -> None:
    """A sink that is idle from then on lacks nothing."""

    async def refuses(batch: Batch) -> None:
        if not isinstance(batch.records[0], Gap):
            raise Refused("never")

    life = await Life(tmp_path, Keeping(refuses)).begin()
    life.publish(100)
    await until(lambda: len(life.writer.records) == 1)
    await until(lambda: life.note == (0, 0))
    await life.end()


async def test_what_is_refused_lacks_until_the_gap_is_written_that_tells_it(tmp_path: Path) -> None:
    """Later records wait meanwhile, and are not all that would be missing."""

    async def refuses(batch: Batch) -> None:
        if any(isinstance(record, Gap) for record in batch.records):
            await never(batch)
        raise Refused("never", [0])

    life = await Life(tmp_path, Keeping(refuses), delivery=structs.replace(PLAIN, batch_records=1)).begin()
    life.publish(100)
    life.publish(101)
    await until(lambda: life.sink.status().dropped)
    await asyncio.sleep(0.01)
    assert life.note == (100, 0)
    life.sink.end()
    await life.sink.abandon()


async def test_records_that_were_held_back_are_older_than_those_before_them(tmp_path: Path) -> None:
    life = await Life(tmp_path, Keeping(never)).begin()
    life.publish(105, 103)
    assert life.note == (103, 0)
    life.publish(106, 101)
    assert life.note == (101, 0)
    await life.sink.abandon()


class Holding(Keeping):
    """Holds what it is given, so many times; then it fails."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.settle: Callable[[], None] = lambda: None
        self._left = times
        self._since = 0

    def write(self, batch: Batch) -> None:  # type: ignore[override]  # it never waits
        if not self._left:
            self.settle()
            raise OSError("it is broken")
        self._left -= 1
        self._since = self._since or batch.earliest

    def held_since(self) -> int:
        return self._since


async def test_what_a_writer_held_that_failed_is_told_to_the_next(tmp_path: Path) -> None:
    writer = Keeping()
    life = await Life(tmp_path, Holding(1), writer).begin()
    life.publish(100, 101)
    await until(lambda: life.sink.status().written == 2)
    life.publish(102)
    await until(lambda: len(writer.records) == 2)
    await until(lambda: life.note == (0, 0))
    life.publish(103)
    await life.end()
    assert told(writer) == [(100, ENDED)]
    assert [record.offset for record in writer.records if isinstance(record, Trade)] == [3, 4]
    offsets = [record.offset for record in writer.records[1:]]
    assert offsets == sorted(offsets)


async def test_what_a_writer_that_failed_held_is_told_to_the_next_life_where_none_can_be_opened(tmp_path: Path) -> None:
    delivery = structs.replace(PLAIN, backoff=60.0, longest_backoff=60.0)
    life = await Life(tmp_path / "1", Holding(1), delivery=delivery).begin()
    life.publish(100)
    await until(lambda: life.sink.status().written == 1)
    life.publish(101)
    await until(lambda: life.sink.status().failing)
    assert life.note == (100, 0)
    left = await life.killed(tmp_path / "2")
    life = await Life(left, Keeping(), epoch="e2").begin()
    await life.end()
    assert told(life.writer) == [(100, DIED)]


async def test_a_writer_that_settles_forgets_nothing_that_it_was_not_given(tmp_path: Path) -> None:
    writer = Holding(0)
    delivery = structs.replace(PLAIN, backoff=60.0, longest_backoff=60.0)
    life = Life(tmp_path, writer, delivery=delivery)
    writer.settle = life.sink._context.settle
    await life.begin()
    life.publish(100)
    await until(lambda: life.sink.status().failing)
    assert life.note == (100, 0)
    await life.sink.abandon()


async def test_a_reader_that_has_left_lacks_nothing(tmp_path: Path) -> None:
    async def ends(_: Batch) -> None:
        raise Ended

    life = await Life(tmp_path, Keeping(ends)).begin()
    life.publish(100)
    await until(lambda: life.sink.status().state == "ended")
    assert life.note == (0, 0)


@pytest.mark.parametrize("left", [b"", b"torn", pack("=qq", -1, 7), bytes(400)])
async def test_a_note_that_is_none_tells_nothing(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "kept.unwritten").write_bytes(left)
    life = await Life(tmp_path, Keeping(), epoch="e2").begin()
    life.publish(100)
    await life.end()
    assert told(life.writer) == []
    assert life.note == (0, 0)


async def test_where_nothing_can_be_noted_that_is_said_and_the_sink_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "kept.unwritten").mkdir()
    life = await Life(tmp_path, Keeping()).begin()
    life.publish(100)
    await life.end()
    assert len(life.writer.records) == 1
    assert "kept: what a kill would lose of it cannot be noted" in caplog.text


async def test_an_interval_that_has_the_only_gap_tells_it_if_it_is_killed(tmp_path: Path) -> None:
    """What the queue had lost before the interval began is lost anew with the gap that told it."""
    pytest.importorskip("pyarrow")
    sink = running(CSV.configured(PLAIN, path=tmp_path), bus := Bus("e1"), clock=lambda: ENDED)
    await sink.start()
    lost = Loss(1, 1, 1, 90, 99)
    bus.publish([trade(100), trade(101)])
    await until(lambda: sink.status().written == 2)
    sink.receive(Batch([overflow("csv", "e1", lost, Scope()), trade(102)], "e1"))
    await until(lambda: sink.status().held == 0)
    assert msgspec.json.decode((tmp_path / MARKER).read_bytes())["ts"] == 90
    await sink.abandon()


async def test_what_waits_for_a_sink_that_is_being_replaced_when_it_is_killed_is_told(tmp_path: Path) -> None:
    opening = asyncio.Event()

    async def open_never(_: NoSettings, __: Context) -> Writer:
        opening.set()
        await asyncio.Event().wait()
        raise AssertionError

    before = sink_of(Keeping(), delivery=PLAIN).configured()
    after = Sink("kept", NoSettings, open_never, delivery=PLAIN).configured()
    sinks = RunningSinks.alone("e1", on_idle=lambda: None)
    await sinks.start([before], places=tmp_path / "1")
    replacing = asyncio.create_task(sinks.replace(before, after))
    await opening.wait()
    await sinks.give([trade(100)])
    shutil.copytree(tmp_path / "1", tmp_path / "2")
    replacing.cancel()
    await asyncio.wait([replacing])
    await sinks.stop(20)
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["kept.unwritten"]

    for epoch, expected in (("e2", [(100, DIED)]), ("e3", [])):
        writer = Keeping()
        sinks = RunningSinks.alone(epoch, on_idle=lambda: None)
        config = sink_of(writer, delivery=PLAIN).configured()
        await sinks.start([config], {("e1", "alpha"): DIED}, places=tmp_path / "2")
        await sinks.stop(20)
        assert told(writer) == expected


async def test_a_sink_that_spills_is_told_once_what_it_lacked_when_it_did_not(tmp_path: Path) -> None:
    life = await Life(tmp_path / "places", Keeping(never)).begin()
    life.publish(100)
    await life.sink.abandon()
    spilling = structs.replace(PLAIN, when_full="spill")

    async def spill(epoch: str, writer: Keeping, *times: int) -> None:
        bus = Bus(epoch)
        journal = running(JOURNAL.configured(path=tmp_path / "journal"), bus)
        await journal.start()
        config = sink_of(writer, delivery=spilling).configured()
        sink = running(config, bus, clock=lambda: ENDED + 1000, places=tmp_path / "places")
        await sink.start()
        bus.publish([trade(ts) for ts in times])
        await until(lambda: not sink.status().held or writer.calls == ["write"])
        for each in (sink, journal):
            each.end()
            assert each.task is not None
            await asyncio.wait([each.task], timeout=0.2)
            await each.abandon()

    async def stays(batch: Batch) -> None:
        silent.calls.append("write")
        await never(batch)

    silent, second, third = Keeping(stays), Keeping(), Keeping()
    await spill("20260101T000000.000000Z", silent, 200)
    assert silent.records == []
    await spill("20260102T000000.000000Z", second, 300)
    assert told(second) == [(100, ENDED)]
    assert [record.ts_recv for record in second.records if isinstance(record, Trade)] == [200, 300]
    await spill("20260103T000000.000000Z", third, 400)
    assert told(third) == []


# --- files, which are sorted before they are written ------------------------------------------------------------------


def test_what_a_file_lost_is_told_from_the_earliest_to_the_latest() -> None:
    routes = FileRoutes(Template("{channel}"), 10**12)
    ((file, _),) = routes.sort(Batch([trade(105), trade(103), trade(109), trade(104)])).items()
    loss = file.chunks[0].loss()
    assert loss is not None
    assert (loss.ts_from, loss.ts_to) == (103, 109)


def full_disk(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Have no file begun while the first of what this gives is true."""
    begin, is_full = Segments.begin, [True]

    def begins(self: Segments, *arguments: object) -> None:
        if is_full[0]:
            raise OSError(28, "No space left on device")
        begin(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Segments, "begin", begins)
    return is_full


async def test_files_that_are_not_begun_when_it_is_killed_lack_nothing_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records of a topic without an open file would be in no gap of a file."""
    monkeypatch.setattr(files, "GATHER_S", 0.0)
    is_full = full_disk(monkeypatch)
    notes = tmp_path / "notes"

    async def life(epoch: str, *records: Record) -> QueuedSink:
        bus = Bus(epoch)
        config = files.SINK.configured(path=tmp_path / "data", compress=False)
        sink = running(config, bus, deaths={("e0", "alpha"): DIED}, places=notes)
        assert isinstance(sink, QueuedSink)
        await sink.start()
        bus.publish(list(records))
        return sink

    def note() -> int:
        (path,) = notes.glob("*.unwritten")
        return int(unpack("=qq", path.read_bytes())[0])

    sink = await life("e1", trade(100), trade(101))
    await until(lambda: sink.status().failing)
    assert note() == 100
    shutil.copytree(notes, tmp_path / "kept")
    await sink.abandon()
    assert not list((tmp_path / "data").rglob("*.ndjson"))

    shutil.rmtree(notes)
    shutil.copytree(tmp_path / "kept", notes)
    is_full[0] = False
    sink = await life("e2", trade(10_000))
    await until(lambda: note() == 0)
    sink.end()
    assert sink.task is not None
    await sink.task
    lines = [line for path in (tmp_path / "data").rglob("*.ndjson") for line in path.read_text().splitlines()]
    gaps = [line for line in lines if '"type":"gap"' in line]
    assert len(gaps) == 1
    assert f'"ts_from":{100},"ts_to":{DIED}' in gaps[0]


# --- gaps, which tell of more than of the time at which they came -----------------------------------------------------


def gap(ts_from: int, ts: int, phase: str = "open") -> Gap:
    return Gap(
        exchange="alpha", raw_symbol="BTC/USDT", channel="trades", gap_id="x", phase=phase,  # type: ignore[arg-type]
        cause="restart", ts_from=ts_from, ts_to=None if phase == "open" else ts, ts_recv=ts,
    )  # fmt: skip


async def test_what_a_gap_tells_that_was_not_written_is_told_by_the_next_life(tmp_path: Path) -> None:
    """Both ends of the gap of a restart waited for a sink that hung when the daemon was killed again."""
    life = await Life(tmp_path / "1", Keeping(never)).begin()
    life.publish(100)
    await asyncio.sleep(0.01)
    life.bus.publish([gap(40, 101)])
    life.bus.publish([trade(102), gap(40, 103, "close")])
    assert life.note == (40, 0)
    left = await life.killed(tmp_path / "2")
    life = await Life(left, Keeping(), epoch="e2").begin()
    life.bus.publish([trade(10_000)])
    life.bus.publish([gap(50, 10_001)])
    life.bus.publish([gap(50, 10_002, "close")])  # of an end that is not written the beginning is there
    await life.end()
    assert [(each.ts_from, each.ts_to) for each in life.writer.records if isinstance(each, Gap)] == [
        (40, DIED),
        (50, None),
        (50, 10_002),
    ]
    assert life.note == (0, 0)


async def test_of_a_batch_that_is_given_in_halves_the_second_is_not_forgotten(tmp_path: Path) -> None:
    async def takes_one(batch: Batch) -> None:
        if len(batch) > 1:
            raise Refused("it is looked for by halves")
        if not isinstance(batch.records[0], Gap):
            await never(batch)

    life = await Life(tmp_path, Keeping(takes_one)).begin()
    life.bus.publish([gap(40, 101), trade(102)])
    await until(lambda: life.writer.records)
    await asyncio.sleep(0.01)
    assert life.note[0]
    await life.sink.abandon()


@pytest.mark.parametrize("ts", [0, -5, 1 << 64])
async def test_times_that_are_none_are_noted_nowhere(tmp_path: Path, ts: int) -> None:
    life = await Life(tmp_path, Keeping()).begin()
    life.bus.publish([trade(ts), gap(ts, 101)])
    life.publish(100)
    assert life.note == (100, 0)
    await life.end()


async def test_a_sink_of_other_topics_lacks_nothing_of_a_gap(tmp_path: Path) -> None:
    life = await Life(tmp_path, Keeping(), delivery=structs.replace(PLAIN, topics=("bbo:*:*",))).begin()
    life.bus.publish([trade(100), gap(40, 101)])
    assert life.note == (0, 0)
    await life.end()


async def test_what_the_queue_drops_takes_the_time_of_a_gap_with_it(tmp_path: Path) -> None:
    going = asyncio.Event()

    async def waits(_: Batch) -> None:
        await going.wait()

    life = await Life(tmp_path, Keeping(waits), delivery=structs.replace(PLAIN, queue=2)).begin()
    life.publish(100)
    await asyncio.sleep(0.01)
    life.bus.publish([gap(40, 101)])
    for ts in range(102, 106):
        life.publish(ts)
    going.set()
    await life.end()
    lost = [each for each in life.writer.records if isinstance(each, Gap) and each.cause == "overflow"]
    assert min(each.ts_from for each in lost) == 40


async def test_files_tell_where_a_gap_began_that_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "GATHER_S", 0.0)
    monkeypatch.setattr(files, "TICK_S", 0.01)
    monkeypatch.setattr(files, "FIRST_BACKOFF_S", 0.01)
    is_full = full_disk(monkeypatch)
    bus = Bus("e1")
    sink = running(files.SINK.configured(path=tmp_path / "data", compress=False), bus, places=tmp_path / "notes")
    await sink.start()
    bus.publish([gap(40, 101), trade(102), gap(40, 103, "close")])
    await until(lambda: sink.status().failing)
    (note,) = (tmp_path / "notes").iterdir()
    assert unpack("=qq", note.read_bytes())[0] == 40
    is_full[0] = False
    bus.publish([trade(10_000)])
    await until(lambda: unpack("=qq", note.read_bytes())[0] == 0)
    sink.end()
    assert sink.task is not None
    await sink.task
    lines = [line for path in (tmp_path / "data").rglob("*.ndjson") for line in path.read_text().splitlines()]
    (told_,) = [line for line in lines if '"cause":"overflow"' in line]
    assert '"ts_from":40,' in told_
