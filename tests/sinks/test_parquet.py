"""The `parquet` sink: whole files of every record, and a word about each that is in none."""

import asyncio
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.records import RECORD_TYPES, BookDelta, Gap, Record
from aggregator.research import Recording
from aggregator.sinks import intervals, upkeep
from aggregator.sinks.intervals import MARKER
from aggregator.sinks.journal.sink import SINK as JOURNAL
from aggregator.sinks.parquet import SINK
from aggregator.sinks.running import QueuedSink, Running, running
from aggregator.tables.extras import needed
from aggregator.tables.tree import DAY_NS, TEMPORARY, TableTree
from tests.sinks.test_frame import account
from tests.support.any_records import Some
from tests.support.written import BTC, FIRST, NOON, SECOND, SECOND_NS, numbered, sold

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.waits

PAGE = Path(__file__).resolve().parents[2] / "docs/sinks/parquet.md"
SOON = structs.replace(SINK.defaults, batch_age=0.01, backoff=0.01, longest_backoff=0.02)
SPILLING = structs.replace(SOON, when_full="spill")


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


async def until(condition: Any) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come")


async def begun(out: Path, bus: Bus, clock: Clock, delivery: Any = SOON, **more: Any) -> Running:
    places = out.parent / "places"
    sink = running(SINK.configured(delivery, path=out, **more), bus, clock=clock, dead=out.parent, places=places)
    await sink.start()
    return sink


async def ended(*sinks: Running) -> None:
    for sink in sinks:
        sink.end()
        assert sink.task is not None
        await sink.task


@asynccontextmanager
async def life(out: Path, epoch: str = FIRST, **more: Any) -> AsyncIterator[tuple[Bus, Running, Clock]]:
    bus, clock = Bus(epoch), Clock()
    sink = await begun(out, bus, clock, **more)
    yield bus, sink, clock
    await ended(sink)


def read(out: Path) -> list[Record]:
    return list(Recording(out).records())


def files(out: Path) -> list[Path]:
    return sorted(out.rglob("*.parquet"))


def left(out: Path) -> list[Path]:
    """Whatever is there and is no whole file."""
    return [path for path in out.rglob("*") if path.is_file() and path.suffix != ".parquet"]


async def test_every_record_is_there_to_the_digit(tmp_path: Path) -> None:
    some = Some(7, is_odd=True)
    records = [record for kind in RECORD_TYPES for record in some.records(kind, 8)]
    for number, record in enumerate(records):
        record.ts_recv = NOON + number * 200 * SECOND_NS
    numbered(records)
    async with life(tmp_path / "out") as (bus, sink, _):
        for at in range(0, len(records), 30):
            bus.publish(records[at : at + 30])
        await until(lambda: sink.status().written == len(records))
        assert not files(tmp_path / "out")
    assert read(tmp_path / "out") == records
    assert not left(tmp_path / "out")


async def test_files_appear_when_an_interval_is_over_and_where_many_records_came(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with life(out, rotate_every=60.0, rotate_rows=100) as (bus, sink, clock):
        bus.publish([sold(at) for at in range(10)])
        await until(lambda: sink.status().written == 10)
        assert not files(out)
        clock.now += 60 * SECOND_NS  # nothing comes, and the time is over all the same
        await until(lambda: len(files(out)) == 1)
        assert len(read(out)) == 10
        assert not left(out)
        for start in range(10, 310, 100):
            bus.publish([sold(at) for at in range(start, start + 100)])
            await until(lambda until=start + 100: sink.status().written == until)
        assert len(files(out)) == 3
        assert sink.reopen()
        await until(lambda: len(files(out)) == 4)
    assert [record.offset for record in read(out)] == [*range(1, 311)]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A disk that takes no file which is larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


async def test_a_disk_that_takes_nothing_is_told_and_what_it_loses_too(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with life(out, rotate_every=60.0) as (bus, sink, clock):
        bus.publish([sold(at) for at in range(50)])
        await until(lambda: sink.status().written == 50)
        with largest_file(1000):
            clock.now += 60 * SECOND_NS
            await until(lambda: sink.status().failing is not None)
            bus.publish([sold(at) for at in range(50, 60)])
            await until(lambda: sink.status().retried)
            assert (sink.status().written, sink.status().dropped) == (0, 50)
            assert not files(out)
        await until(lambda: sink.status().written == 10)
    assert sink.status().failing is None
    gap, *records = read(out)
    assert isinstance(gap, Gap)
    assert (gap.cause, gap.missed, gap.expected, gap.got, gap.conn) == ("overflow", 50, 1, 51, "parquet")
    assert (gap.ts_from, gap.ts_to) == (NOON, NOON + 49 * SECOND_NS)
    assert [record.offset for record in records] == [*range(51, 61)]
    assert not left(out)


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.sinks import test_parquet
asyncio.run(test_parquet.live_until_killed(Path(sys.argv[1]), sys.argv[2] == "spill"))
"""


async def live_until_killed(home: Path, is_spilling: bool) -> None:
    """The life of a daemon that is killed when 20,000 records are in files, and 20,000 are not."""
    bus, clock = Bus(FIRST), Clock()
    if is_spilling:
        journal = running(JOURNAL.configured(path=home / "journal"), bus)
        await journal.start()
    intervals.GATHERED = 1000  # so that files without a name are there, too
    vars(intervals)["TableTree"] = partial(TableTree, group_rows=1000, held_rows=2000)
    sink = await begun(home / "out", bus, clock, SPILLING if is_spilling else SOON)
    for start in range(0, 40_000, 1000):
        bus.publish([sold(at / 10, exchange=f"e{at % 3}") for at in range(start, start + 1000)])
        await until(lambda until=start + 1000: sink.status().written == until)
        if start == 19_000:
            sink.reopen()
    await until(lambda: len(files(home / "out")) == 3)
    await asyncio.sleep(0.5)  # the journal and the place reach the disk
    os.kill(os.getpid(), signal.SIGKILL)


def killed(home: Path, mode: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(home), mode], check=False, timeout=50)
    assert done.returncode == -signal.SIGKILL


async def test_a_kill_leaves_no_half_file_and_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed(tmp_path, "alone")
    assert list(out.rglob(f".*{TEMPORARY}"))
    assert [record.offset for record in read(out)] == [*range(1, 20_001)]
    assert (out / MARKER).exists()
    async with life(out, SECOND) as (bus, _, _):
        bus.publish([sold(9000)])
    *before, gap, after = sorted(read(out), key=lambda record: record.ts_recv)
    assert isinstance(gap, Gap)
    assert len(before) == 20_000
    assert (gap.cause, gap.missed, gap.ts_from) == ("restart", None, NOON + 2000 * SECOND_NS)
    assert after.ts_recv == NOON + 9000 * SECOND_NS
    assert not left(out)


async def test_what_a_gap_tells_is_told_too_where_a_kill_takes_the_interval_that_opens_it(tmp_path: Path) -> None:
    """The gap of a restart begins before the interval in which it is written, and would be lost with it."""
    out, copy = tmp_path / "out", tmp_path / "copy"
    lost = Gap(
        exchange="alpha", raw_symbol="A", channel="trades", gap_id="x", phase="open", cause="restart",
        ts_from=NOON - 700 * SECOND_NS, ts_recv=NOON + SECOND_NS,
    )  # fmt: skip
    ended_one = structs.replace(lost, phase="close", ts_from=NOON - 9000 * SECOND_NS, ts_to=NOON)
    async with life(out) as (bus, sink, _):
        bus.publish([sold(0), ended_one])  # its beginning was in an interval of before
        bus.publish([lost])
        bus.publish([sold(2)])
        await until(lambda: sink.status().written == 4)
        copy.mkdir()
        shutil.copy(out / MARKER, copy)
    async with life(copy, SECOND):
        pass
    (gap,) = read(copy)
    assert isinstance(gap, Gap)
    assert (gap.cause, gap.ts_from) == ("restart", NOON - 700 * SECOND_NS)


async def test_what_a_kill_has_taken_comes_again_from_the_journal(tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed(tmp_path, "spill")
    assert [record.offset for record in read(out)] == [*range(1, 20_001)]
    bus, clock = Bus(SECOND), Clock()
    journal = running(JOURNAL.configured(path=tmp_path / "journal"), bus, before=FIRST)
    await journal.start()
    sink = await begun(out, bus, clock, SPILLING)
    await until(lambda: sink.status().written == 20_000)
    await ended(sink, journal)
    records = [record for record in read(out) if not isinstance(record, Gap)]
    assert [record.offset for record in records] == [*range(1, 40_001)]
    assert sum(rows(out)) == 40_000  # none of them twice
    assert not left(out)


def rows(out: Path) -> Iterator[int]:
    for path in files(out):
        if "type=trade" in path.parts:
            yield needed("pyarrow.parquet").read_metadata(path).num_rows


async def test_files_that_got_their_names_before_a_kill_are_not_there_twice(tmp_path: Path) -> None:
    """The kill came while the files of an interval got their names: some have theirs, and the marker is there."""
    out = tmp_path / "out"
    killed(tmp_path, "spill")
    unnamed = sorted(path for path in out.rglob(f".*{TEMPORARY}"))
    whole = files(out)[0]
    stem = msgspec.json.decode((out / MARKER).read_bytes())["stem"]
    early = whole.with_name(f"{stem}-0.parquet")
    early.write_bytes(whole.read_bytes())
    later = whole.parent.parent.parent / "date=2026-11-30/e0" / early.name
    later.parent.mkdir(parents=True)
    later.write_bytes(whole.read_bytes())
    assert unnamed  # of the interval that was under way
    bus, clock = Bus(SECOND), Clock()
    journal = running(JOURNAL.configured(path=tmp_path / "journal"), bus, before=FIRST)
    await journal.start()
    sink = await begun(out, bus, clock, SPILLING)
    await until(lambda: sink.status().written == 20_000)
    await ended(sink, journal)
    assert sum(rows(out)) == 40_000


async def test_the_files_of_a_day_become_one_when_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "PAUSE_S", 0.0)
    monkeypatch.setattr(upkeep, "QUIET_S", 0.0)
    out = tmp_path / "out"
    async with life(out, rotate_rows=10) as (bus, sink, clock):
        for start in range(0, 50, 10):
            bus.publish([sold(at) for at in range(start, start + 10)])
            await until(lambda until=start + 10: sink.status().written == until)
        assert len(files(out)) == 4
        clock.now += DAY_NS
        await until(lambda: [path.name.startswith("merged-") for path in files(out)] == [True])
    assert [record.offset for record in read(out)] == [*range(1, 51)]
    assert not left(out)


async def test_old_days_go_with_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "PAUSE_S", 0.0)
    out = tmp_path / "out"
    async with life(out, keep=DAY_NS / SECOND_NS) as (bus, sink, clock):
        for day in range(4):
            bus.publish([sold(day * DAY_NS // SECOND_NS)])
            await until(lambda: sink.status().held == 0)
            sink.reopen()
        await until(lambda: len(files(out)) == 4)
        clock.now += 3 * DAY_NS
        upkeep_of(sink)._believed._ahead += 4 * DAY_NS  # the clock is right, though it has leapt for this test
        await until(lambda: len(list(out.glob("type=trade/*"))) == 2)
    assert sink.status().removed == 2
    assert [record.offset for record in read(out)] == [3, 4]


def upkeep_of(sink: Running) -> Any:
    return vars(vars(sink)["_writer"])["_upkeep"]


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[None]:
    """A disk in memory of so many bytes, where the system lets us have one."""
    path.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root may mount")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=False)
    if done.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


async def test_a_full_disk_is_told_with_a_count_and_the_sink_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 24_000_000):
        out = tmp_path / "disk" / "out"
        ballast = tmp_path / "disk" / "ballast"
        async with life(out) as (bus, sink, _):
            bus.publish([sold(at) for at in range(100)])
            await until(lambda: sink.status().written == 100)
            sink.reopen()
            await until(lambda: len(files(out)) == 1)
            bus.publish([sold(at) for at in range(100, 150)])
            await until(lambda: sink.status().written == 150)
            with suppress(OSError), ballast.open("wb") as file:
                while True:
                    file.write(bytes(1 << 16))
            sink.reopen()
            await until(lambda: sink.status().dropped == 50)
            bus.publish([sold(at) for at in range(150, 170)])
            await until(lambda: sink.status().retried)
            assert sink.status().held == 20
            ballast.unlink()
        assert sink.status().failing is None
        gaps = [record for record in read(out) if isinstance(record, Gap)]
        assert [(gap.cause, gap.missed, gap.expected, gap.got) for gap in gaps] == [("overflow", 50, 101, 151)]
        told = [record.offset for record in read(out) if not isinstance(record, Gap)]
        assert told == [*range(1, 101), *range(151, 171)]
        assert not left(out)


LIVES = [FIRST, SECOND, "20261130T050000.000000Z", "20261130T060000.000000Z"]


@asynccontextmanager
async def spilling(home: Path, epoch: str = FIRST, out: Path | None = None, **more: Any) -> AsyncIterator[Any]:
    """A life of a sink that spills beside a journal; `more` is about that, `rows` about the sink."""
    bus, clock, rows = Bus(epoch), Clock(), more.pop("rows", 20_000_000)
    before = LIVES[LIVES.index(epoch) - 1] if epoch != FIRST else None
    journal = running(JOURNAL.configured(path=home / "journal", **more), bus, before=before)
    await journal.start()
    sink = await begun(out or home / "out", bus, clock, SPILLING, rotate_rows=rows)
    assert isinstance(sink, QueuedSink)
    yield bus, sink, clock
    await ended(sink, journal)
    account(sink)


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb") as file:
        while True:
            file.write(bytes(1 << 16))


async def test_what_a_full_disk_took_not_comes_again_from_the_journal(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 24_000_000):
        out, ballast = tmp_path / "disk" / "out", tmp_path / "disk" / "ballast"
        async with spilling(tmp_path, out=out) as (bus, sink, _):
            bus.publish([sold(at) for at in range(100)])
            await until(lambda: sink.status().written == 100)
            sink.reopen()
            await until(lambda: len(files(out)) == 1)
            bus.publish([sold(at) for at in range(100, 150)])
            await until(lambda: sink.status().written == 150)
            fill(ballast)
            sink.reopen()
            await until(lambda: sink.status().failing is not None)  # nothing more comes, and it goes back all the same
            await until(lambda: (sink.status().written, sink.status().held, sink.status().dropped) == (100, 50, 0))
            bus.publish([sold(at) for at in range(150, 170)])
            await until(lambda: sink.status().retried)
            assert sink.status().held == 70
            account(sink)
            ballast.unlink()
            await until(lambda: sink.status().written == 170)
            assert sink.status().failing is None
        assert [record.offset for record in read(out)] == [*range(1, 171)]
        assert sum(rows(out)) == 170
        assert not left(out)


async def test_a_disk_that_stays_full_leaves_the_interval_to_the_next_life(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 24_000_000):
        out, ballast = tmp_path / "disk" / "out", tmp_path / "disk" / "ballast"
        async with spilling(tmp_path, out=out) as (bus, sink, _):
            bus.publish([sold(at) for at in range(50)])
            await until(lambda: sink.status().written == 50)
            fill(ballast)
        assert (sink.status().received, sink.status().written, sink.status().held) == (50, 0, 50)
        assert not files(out)
        async with spilling(tmp_path, SECOND, out) as (bus, sink, _):
            bus.publish([sold(at) for at in range(1000, 1020)])
            await until(lambda: sink.status().retried)
            ballast.unlink()
            await until(lambda: sink.status().written == 70)
        records = read(out)
        assert [record.ts_recv for record in records] == [
            NOON + at * SECOND_NS for at in [*range(50), *range(1000, 1020)]
        ]
        assert not left(out)


async def test_what_the_journal_has_let_go_meanwhile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    async with spilling(tmp_path, segment_bytes=1_000_000, keep_bytes=100_000) as (bus, sink, _):
        bus.publish([sold(at) for at in range(50)])
        await until(lambda: sink.status().written == 50)
        monkeypatch.setattr(TableTree, "close", refusing)
        monkeypatch.setattr(intervals.IntervalWriter, "_probe", refusing)
        sink.reopen()
        for start in range(50, 15_050, 100):
            bus.publish([sold(at, size=str(at * 7919 % 10**9) * 40) for at in range(start, start + 100)])
            await asyncio.sleep(0.002)
        assert bus.history is not None
        await until(lambda: bus.history.status().expired)
        monkeypatch.undo()
        await until(lambda: not sink.status().held)
    records = read(out)
    gaps = [record for record in records if isinstance(record, Gap)]
    assert {(gap.cause, gap.conn) for gap in gaps} == {("expired", "parquet")}
    missing = [at for gap in gaps for at in range(gap.expected or 0, gap.got or 0)]
    assert sorted([*missing, *(record.offset for record in records if not isinstance(record, Gap))]) == [
        *range(1, 15_051)
    ]
    assert sink.status().dropped == len(missing) > 50


def refusing(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("seed", range(4))
async def test_whenever_a_disk_fails_each_record_is_there_once(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three lives; each call that writes may fail, at the beginning, the middle and the end of files."""
    chance, out, sent = random.Random(seed), tmp_path / "out", 0
    for name in ("add", "gather", "flush", "_end", "close"):
        monkeypatch.setattr(TableTree, name, failing(chance, getattr(TableTree, name)))
    monkeypatch.setattr(intervals, "GATHERED", 20)
    monkeypatch.setattr(intervals, "AGAIN_ROWS", 10)
    monkeypatch.setattr(intervals, "PROBE_BYTES", 10)
    for epoch in LIVES[:3]:
        async with spilling(tmp_path, epoch, rows=chance.choice([30, 1000])) as (bus, sink, clock):
            for _ in range(40):
                count = chance.randrange(1, 30)
                bus.publish([sold(at, exchange=f"e{at % 3}") for at in range(sent, sent + count)])
                sent += count
                await asyncio.sleep(chance.choice([0, 0.01, 0.02]))
                if chance.random() < 0.2:
                    sink.reopen()
                if chance.random() < 0.1:
                    clock.now += DAY_NS // 24
                account(sink)
    monkeypatch.undo()
    async with spilling(tmp_path, LIVES[3]) as (bus, sink, _):
        bus.publish([sold(sent)])
        await until(lambda: not sink.status().held)
    records = read(out)
    assert not [record for record in records if isinstance(record, Gap)]
    found = [(record.ts_recv - NOON) // SECOND_NS for record in records]
    assert (sorted({*range(sent + 1)} - {*found}), len(found) - len({*found})) == ([], 0)
    assert found == sorted(found)
    assert not left(out)


def failing(chance: random.Random, call: Any) -> Any:
    def sometimes(*given: Any, **more: Any) -> Any:
        if chance.random() < 0.05:
            refusing()
        return call(*given, **more)

    return sometimes


async def test_the_queries_of_the_page(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    kraken: dict[str, Any] = {"exchange": "kraken"}
    change = BookDelta(**BTC | kraken, ts_recv=NOON, bids=[("100", "3")], asks=[("101", "1")])
    async with life(tmp_path / "out", book_levels=True) as (bus, sink, _):
        bus.publish([change, *(sold(at, **kraken) for at in range(5))])
        await until(lambda: sink.status().written == 6)
    text = PAGE.read_text().replace("/var/lib/aggregator/parquet", str(tmp_path / "out"))
    blocks = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    assert duckdb.sql(blocks[0]).fetchall() == [("BTC/USDT", 5, 1005.0)]
    with duckdb.connect() as database:
        found = database.sql(blocks[1]).fetchall()
    assert [row[1:] for row in found] == [(100.5, 100.0, 3.0)] * 5
