import asyncio
import errno
import hashlib
import io
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.errors import ConfigError
from aggregator.records import BookSnapshot, Gap, Health, Instrument, Record, Trade
from aggregator.session.moment import Now
from aggregator.session.summaries import Counts
from aggregator.session.topics import Origin
from aggregator.sinks import closer, files
from aggregator.sinks.files import SINK, FilesWriter
from aggregator.sinks.files_settings import FilesSettings
from aggregator.sinks.paths import Template
from aggregator.sinks.queue import Queue
from aggregator.sinks.running import QueuedSink
from aggregator.sinks.sink import Context, SinkConfig
from aggregator.sinks.status import SinkStatus
from tests.support.views import Fixed

Row = dict[str, Any]
pytestmark = pytest.mark.waits

NS = 1_000_000_000
PATIENCE = 20.0  # seconds; nothing here takes nearly as long
NOON = 1_758_888_000 * NS  # 2025-09-26T12:00:00Z
BY_SYMBOL = "{exchange}/{channel}/{symbol}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "TICK_S", 0.02)
    monkeypatch.setattr(files, "GATHER_S", 0.01)
    monkeypatch.setattr(files, "FIRST_BACKOFF_S", 0.05)
    monkeypatch.setattr(files, "PROBATION_S", 0.3)


def trade(symbol: str | None = "BTC/USDT", *, ts: int = NOON, exchange: str = "alpha") -> Trade:
    return Trade(exchange=exchange, symbol=symbol, raw_symbol=symbol, price="1.50", size="2", ts_recv=ts)


class Sink:
    """A `files` sink and the bus that feeds it. It is opened without a look at the directory."""

    def __init__(self, settings: FilesSettings, clock: Callable[[], int], epoch: str, queue: int = 100_000) -> None:
        async def open_files(settings: FilesSettings, context: Context) -> FilesWriter:
            return FilesWriter(settings, context)

        self.bus = Bus(epoch)
        delivery = structs.replace(SINK.defaults, queue=queue)
        config = SinkConfig(structs.replace(SINK, open=open_files), settings, delivery)
        self.sink = QueuedSink(config, self.bus, Context(config.name, self.bus, clock, delivery))

    @property
    def status(self) -> SinkStatus:
        return self.sink.status()

    @property
    def task(self) -> asyncio.Task[None]:
        assert self.sink.task is not None
        return self.sink.task

    async def put(self, *records: Record) -> None:
        """Publish, and wait until the sink has taken it."""
        self.bus.publish(list(records))
        await until(lambda: not self.status.held)
        await asyncio.sleep(0.1)


@asynccontextmanager
async def running(
    path: Path,
    *,
    clock: Callable[[], int] = lambda: NOON,
    epoch: str = "e1",
    settings: FilesSettings | None = None,
    queue: int = 100_000,
) -> AsyncIterator[Sink]:
    sink = Sink(settings or FilesSettings(path=path, compress=False), clock, epoch, queue)
    await sink.sink.start()
    try:
        yield sink
        sink.sink.end()
        await asyncio.wait_for(sink.task, PATIENCE)
    finally:
        await sink.sink.abandon()


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited happens on disk
            await asyncio.sleep(0.005)


def content(path: Path) -> bytes:
    if path.suffix != ".zst":
        return path.read_bytes()
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())).read()


def whole(path: Path) -> tuple[Row, list[Row], Row]:
    """A closed file's header, records and footer, after its footer has been found true."""
    data = content(path)
    assert data.endswith(b"\n")
    header, *records, footer = map(json.loads, data.splitlines())
    body = data[: data.rindex(b"\n", 0, -1) + 1]
    assert (header["type"], footer["type"]) == ("header", "footer")
    assert footer["hash"] == hashlib.sha256(body).hexdigest()
    assert footer["bytes"] == len(body)
    assert footer["records"] == len(records)
    assert footer["by_type"] == Counter(record["type"] for record in records)
    assert [footer["offset_first"], footer["offset_last"]] == [records[0]["offset"], records[-1]["offset"]]
    return header, records, footer


def found(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def left(path: Path) -> bytes:
    """What a file holds, if it has not been compressed away in between."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def all_records(root: Path) -> list[Row]:
    return [record for path in found(root) for record in whole(path)[1]]


# --- names ----------------------------------------------------------------------------------------------------------

HOSTILE = [
    "../x", "..", ".", "", "/etc/passwd", "a\0b", "A" * 300, "\u00e9" * 200, "~root", "%2F", "%none", "\n", "\ud800",
    ".HID", "BTC/USDT", "BTC-20250926T120000Z-5", "btc", "BTC", "Btc", "CON", "\u2028", "\U0001f600" * 90, "-rf",
    "a/../../b",
]  # fmt: skip


def names(template: str, symbol: str | None) -> str:
    values = dict.fromkeys(("date", "exchange", "channel", "raw_symbol"), "x") | {"symbol": symbol}
    return Template(template).name(values)


@given(st.text() | st.sampled_from(HOSTILE), st.text() | st.sampled_from(HOSTILE))
def test_a_name_stays_in_its_directory_and_is_one_symbols_alone(one: str, other: str) -> None:
    for name in (names(BY_SYMBOL, one), names(BY_SYMBOL, other)):
        parts = name.split("/")
        assert parts[:2] == ["x", "x"]
        assert len(parts) == 3
        assert 0 < len(parts[2]) <= 200
        assert parts[2].isascii()
        assert parts[2].isprintable()
        assert not parts[2].startswith(".")
    assert (names(BY_SYMBOL, one).lower() == names(BY_SYMBOL, other).lower()) == (one == other)


def test_names_read_well() -> None:
    assert names(BY_SYMBOL, "BTC/USDT:USDT-250926") == "x/x/BTC%2FUSDT%3AUSDT-250926"
    assert names(BY_SYMBOL, None) == "x/x/%none"
    assert names("{date}-{symbol}.part", "K") == "x-K.part"


@pytest.mark.parametrize("text", ["{day}", "../{date}", "/x", "{date}//{symbol}", "{date", "{symbol}/.", "a\0", "{}"])
def test_a_wrong_template_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="template"):
        Template(text)


async def test_hostile_symbols_get_files_of_their_own(tmp_path: Path) -> None:
    root = tmp_path / "in"
    symbols = [s for s in HOSTILE if s.isprintable() or s in {"\n", "a\0b", "\u2028"}]
    async with running(root, settings=FilesSettings(path=root, template=BY_SYMBOL, compress=False)) as sink:
        await sink.put(*[trade(symbol) for symbol in symbols])
    assert found(tmp_path) == found(root)
    assert sorted(r.get("symbol", "") for r in all_records(root)) == sorted(symbols)
    assert len(found(root)) == len(symbols)


async def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    root, secret = tmp_path / "in", tmp_path / "secret.ndjson"
    secret.write_text("mine\n")
    (root / "2025-09-26/alpha").mkdir(parents=True)
    (root / "2025-09-26/alpha/trades.ndjson").symlink_to(secret)
    async with running(root) as sink:
        await sink.put(trade())
    assert secret.read_text() == "mine\n"
    kept, moved = sorted(root.rglob("*.ndjson"), key=Path.is_symlink)
    assert moved.readlink() == secret
    assert whole(kept)[1][0]["offset"] == 1


# --- content --------------------------------------------------------------------------------------------------------


async def test_header_records_and_footer(tmp_path: Path) -> None:
    async with running(tmp_path) as sink:
        for exchange in ("alpha", "beta"):
            sink.bus.instruments[exchange, "BTC/USDT"] = Instrument(
                exchange=exchange, symbol="BTC/USDT", raw_symbol="BTC"
            )
        book = BookSnapshot(exchange="alpha", raw_symbol="BTC", bids=[("1", "2")], asks=[])
        view = Fixed([book])
        sink.bus.views.add("alpha", view)
        delta = BookSnapshot(exchange="alpha", raw_symbol="BTC", bids=[], asks=[], ts_recv=NOON)
        health = Health(exchange="alpha", channel="trades", state="live", ts_recv=NOON)
        gap = Gap(exchange="alpha", gap_id="g", phase="open", cause="disconnect", ts_from=NOON, ts_recv=NOON)
        summary = Counts(Origin("beta", "beta/main.1#1")).summary((), Now(NOON, 0), "closed")
        await sink.put(trade(), delta, health, gap, summary)
    day = tmp_path / "2025-09-26"
    stamp = "20250926T120000Z"
    header, records, footer = whole(day / f"alpha/trades-{stamp}-1.ndjson")
    assert [r["type"] for r in records] == ["trade", "health"]
    assert header | {"instruments": [], "offset": 0} == {
        "type": "header", "schema": 1, "epoch": "e1", "offset": 0, "ts": NOON, "exchange": "alpha", "channel": "trades",
        "symbol": None, "raw_symbol": None, "instruments": [], "books": [],
    }  # fmt: skip
    assert header["offset"] == 5
    assert [i["exchange"] for i in header["instruments"]] == ["alpha"]
    assert footer["ts"] == NOON
    header, records, _ = whole(day / f"alpha/book-{stamp}-2.ndjson")
    assert [(b["bids"], b["offset"]) for b in header["books"]] == [([["1", "2"]], 5)]
    assert view.asked == [None]
    assert whole(day / f"alpha/gaps-{stamp}-4.ndjson")[1][0]["gap_id"] == "g"
    assert whole(day / f"beta/summary-{stamp}-5.ndjson")[1][0]["bye"] == "closed"
    assert len(found(tmp_path)) == 4


async def test_a_file_of_one_symbol_has_its_instrument_and_book(tmp_path: Path) -> None:
    settings = FilesSettings(path=tmp_path, template="{exchange}/{symbol}", compress=False)
    async with running(tmp_path, settings=settings) as sink:
        view = Fixed()
        sink.bus.views.add("alpha", view)
        for raw in ("A", "B"):
            sink.bus.instruments["alpha", raw] = Instrument(exchange="alpha", symbol=raw, raw_symbol=raw)
        await sink.put(trade("A"), trade(None))
    header, *_ = whole(tmp_path / "alpha/A-20250926T120000Z-1.ndjson")
    assert [i["raw_symbol"] for i in header["instruments"]] == ["A"]
    assert header["symbol"] == header["raw_symbol"] == "A"
    assert header["channel"] is None
    assert whole(tmp_path / "alpha/%none-20250926T120000Z-2.ndjson")[0]["symbol"] is None
    assert view.asked == ["A", None]


async def test_the_current_file_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "GATHER_S", 0.05)
    current = tmp_path / "2025-09-26/alpha/trades.ndjson"
    async with running(tmp_path) as sink:
        sink.bus.publish([trade()])
        await until(current.exists)
        for n in range(2, 6):
            sink.bus.publish([trade()])
            await asyncio.sleep(0.25)
            data = current.read_bytes()
            assert data.endswith(b"\n")
            assert json.loads(data.splitlines()[-1])["offset"] == n
    assert not current.exists()


# --- turning over ---------------------------------------------------------------------------------------------------


async def test_turning_over_by_size_and_compressing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.sinks.files.LAST_WORK_S", PATIENCE)  # what is left then is the next start's
    settings = FilesSettings(path=tmp_path, rotate_bytes=13_000)
    async with running(tmp_path, settings=settings) as sink:
        for _ in range(10):
            await sink.put(*[trade() for _ in range(50)])
    paths = found(tmp_path)
    assert len(paths) == 5
    assert {path.suffix for path in paths} == {".zst"}
    assert all(13_000 <= whole(path)[2]["bytes"] < 26_000 for path in paths)
    offsets = [r["offset"] for r in sorted(all_records(tmp_path), key=lambda r: r["offset"])]
    assert offsets == list(range(1, 501))


async def test_turning_over_by_time_and_date(tmp_path: Path) -> None:
    late = NOON + 11 * 3600 * NS
    async with running(tmp_path) as sink:
        batch = [
            trade(ts=NOON),
            trade(ts=NOON + 3600 * NS - 1),
            trade(ts=NOON + 3600 * NS),
            trade(ts=NOON + 3600 * NS - 5),
        ]
        await sink.put(*batch, trade(ts=late), trade(ts=late + 3600 * NS))
    held = [[r["offset"] for r in whole(path)[1]] for path in found(tmp_path)]
    assert sorted(held) == [[1, 2], [3, 4], [5], [6]]  # one that is late by a moment opens no old file
    assert {path.parts[-3] for path in found(tmp_path)} == {"2025-09-26", "2025-09-27"}


async def test_an_idle_file_is_closed_when_its_time_is_over(tmp_path: Path) -> None:
    now = [NOON + 3599 * NS]
    async with running(tmp_path, clock=lambda: now[0]) as sink:
        await sink.put(trade(ts=now[0]))
        assert [path.name for path in found(tmp_path)] == ["trades.ndjson"]
        now[0] += 4 * NS
        await until(lambda: found(tmp_path)[0].name == "trades-20250926T125959Z-1.ndjson")
        whole(found(tmp_path)[0])


async def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    for epoch in ("e1", "e2", "e3"):
        async with running(
            tmp_path, epoch=epoch, settings=FilesSettings(path=tmp_path, compress=epoch == "e2")
        ) as sink:
            await sink.put(trade())
    epochs = {path.name.partition("Z-1")[2]: whole(path)[0]["epoch"] for path in found(tmp_path)}
    assert sorted(epochs.values()) == ["e1", "e2", "e3"]
    assert set(epochs) >= {"-2.ndjson.zst", "-3.ndjson"}


async def test_more_files_than_may_be_open(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        settings = FilesSettings(path=tmp_path, template=BY_SYMBOL, compress=False)
        before = len(list(Path("/proc/self/fd").iterdir()))  # earlier tests of this process may have some open
        async with running(tmp_path, settings=settings) as sink:
            for _ in range(3):
                await sink.put(*[trade(f"S{n}") for n in range(500)])
            assert len(list(Path("/proc/self/fd").iterdir())) - before < 70
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(found(tmp_path)) == 500
    assert len(all_records(tmp_path)) == 1500
    assert (sink.status.failing, sink.status.dropped) == (None, 0)


# --- losses ---------------------------------------------------------------------------------------------------------


async def test_what_its_queue_lost_is_a_gap_in_the_file_of_each_topic(tmp_path: Path) -> None:
    settings = FilesSettings(path=tmp_path, template="{channel}/{exchange}", compress=False)
    async with running(tmp_path, settings=settings, queue=10) as sink:
        await sink.put(trade(), trade(exchange="idle"))
        sink.sink.queue.hand_over_with(None)  # as if the sink were at something else
        for n in range(30):
            sink.bus.publish([trade("ETH/USDT" if n % 3 else "BTC/USDT", ts=NOON + n)])
        await asyncio.sleep(0.1)
        await sink.put(trade(exchange="new"))
    gaps = {}
    for path in found(tmp_path):
        _, records, _ = whole(path)
        for gap in (r for r in records if r["type"] == "gap"):
            assert (gap["cause"], gap["phase"], gap["channel"]) == ("overflow", "close", "trades")
            gaps[gap["exchange"], gap["symbol"]] = (gap["expected"], gap["got"], gap["missed"])
            assert gap["ts_from"] == NOON + gap["expected"] - 3
            assert gap["ts_to"] == NOON + gap["got"] - 4
        assert [r["offset"] for r in records] == sorted(r["offset"] for r in records)
    assert gaps == {("alpha", "BTC/USDT"): (3, 22, 7), ("alpha", "ETH/USDT"): (4, 23, 13)}
    assert sink.status.dropped == 20
    assert sink.status.written == 13


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount a small tmpfs here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


async def test_a_full_disk_costs_records_that_are_counted(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    ballast = small_disk / "ballast"
    async with running(small_disk) as sink:
        await sink.put(trade())
        ballast.write_bytes(bytes(200 * 1024))
        for _ in range(10):
            await sink.put(*[trade() for _ in range(100)])
        assert "No space left" in (sink.status.failing or "")
        current = small_disk / "2025-09-26/alpha/trades.ndjson"
        assert current.read_bytes().endswith(b"\n")
        ballast.unlink()
        await until(lambda: sink.status.failing is None)
        await sink.put(trade())
    records = all_records(small_disk)
    gaps = [r for r in records if r["type"] == "gap"]
    trades = [r for r in records if r["type"] == "trade"]
    assert len(trades) + sum(gap["missed"] for gap in gaps) == 1002
    assert sum(gap["missed"] for gap in gaps) == sink.status.dropped > 0
    assert {gap["cause"] for gap in gaps} == {"overflow"}
    holes = {n for gap in gaps for n in range(gap["expected"], gap["got"])}
    assert holes == set(range(1, 1003)) - {r["offset"] for r in trades}
    assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING"]


async def test_a_short_write_leaves_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, room = os.write, [2000]

    def short(fd: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.EIO, "Input/output error")
        size = write(fd, data[: room[0]])
        room[0] -= size
        return size

    monkeypatch.setattr("aggregator.sinks.segment.os.write", short)
    async with running(tmp_path) as sink:
        await sink.put(trade())
        await sink.put(*[trade() for _ in range(20)])
        data = found(tmp_path)[0].read_bytes()
        assert data.endswith(b"\n")
        assert json.loads(data.splitlines()[-1])["offset"] == 1
        room[0] = 1 << 20
        await until(lambda: sink.status.failing is None)
    (gap,) = all_records(tmp_path)[1:]
    assert (gap["expected"], gap["got"], gap["missed"]) == (2, 22, 20)


async def test_one_file_that_cannot_be_written_costs_no_other(tmp_path: Path) -> None:
    async with running(tmp_path) as sink:
        (tmp_path / "2025-09-26").mkdir()
        blocker = tmp_path / "2025-09-26/beta"
        blocker.write_text("a file where a directory should be")
        await sink.put(trade(), trade(exchange="beta"))
        await sink.put(trade(), trade(exchange="beta"))
        assert "beta" in (sink.status.failing or "")
        blocker.unlink()
        await until(lambda: sink.status.failing is None)
        await sink.put(trade(exchange="beta"))
    alpha, beta = [whole(path)[1] for path in found(tmp_path)]
    assert [r["offset"] for r in alpha] == [1, 3]
    assert [(r["type"], r.get("missed"), r["offset"]) for r in beta] == [("gap", 2, 4), ("trade", None, 5)]


async def test_a_current_file_that_someone_removes_is_begun_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as sink:
        await sink.put(trade())
        found(tmp_path)[0].unlink()
        await sink.put(trade(ts=NOON + 3600 * NS))
        await sink.put(trade(ts=NOON + 3600 * NS))
    records = all_records(tmp_path)
    assert [(r["type"], r.get("missed"), r["offset"]) for r in records] == [("gap", 1, 2), ("trade", None, 3)]
    assert "gone with 1 records" in caplog.text


def moved(path: Path) -> None:
    """As `mv data old`."""
    data = path.parents[2]
    data.rename(data.with_name("old"))


def replaced(path: Path) -> None:
    blob = path.read_bytes()
    path.unlink()
    path.write_bytes(blob)


@pytest.mark.parametrize("away", [Path.unlink, moved, replaced])
async def test_a_file_that_is_away_is_noticed_while_it_is_written_to(
    tmp_path: Path, away: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What came to a file of no name would be found by nobody, until it is closed at the end of its day."""
    monkeypatch.setattr("aggregator.sinks.segment.LOOK_S", 0.0)
    data = tmp_path / "data"
    async with running(data) as sink:
        await sink.put(trade())
        away(found(data)[0])
        await sink.put(trade())
        await sink.put(trade())
    *copies, path = found(data)
    assert len(copies) == (away is replaced), "what somebody puts there is set aside"
    rows = whole(path)[1]
    assert [(r["type"], r.get("missed"), r["offset"]) for r in rows] == [("gap", 1, 2), ("trade", None, 3)]
    assert "gone with 1 records" in caplog.text


async def test_what_comes_in_one_turn_of_the_loop_is_sorted_as_it_comes(tmp_path: Path) -> None:
    """More than the tap holds, but no more than it and the sorted records together may."""
    async with running(tmp_path, queue=500) as sink:
        await asyncio.sleep(0.1)
        for _ in range(80):
            sink.bus.publish([trade() for _ in range(10)])
    assert (sink.status.failing, sink.status.dropped) == (None, 0)
    assert [r["offset"] for r in all_records(tmp_path)] == list(range(1, 801))


async def test_a_stalled_disk_stops_neither_the_loop_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, go, written = os.write, threading.Event(), threading.Event()

    def stalled(fd: int, data: memoryview) -> int:
        go.wait(PATIENCE)
        written.set()
        return write(fd, data)

    monkeypatch.setattr("aggregator.sinks.segment.os.write", stalled)
    async with running(tmp_path, queue=100) as sink:
        other = Queue("other", "e1", SINK.defaults)
        sink.bus.attach(other.put)
        for _ in range(50):
            sink.bus.publish([trade() for _ in range(10)])
            await asyncio.sleep(0.01)
        assert not written.is_set(), "the loop went on while the disk stood still"
        assert other.held == 500
        assert sink.status.dropped > 0
        go.set()
    records = all_records(tmp_path)
    missed = sum(r["missed"] for r in records if r["type"] == "gap")
    assert missed == sink.status.dropped
    assert missed + sum(r["type"] == "trade" for r in records) == 500


async def test_a_sink_on_a_stalled_disk_can_be_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr("aggregator.sinks.segment.os.write", lambda *_: go.wait(PATIENCE) and 0)
    sink = Sink(FilesSettings(path=tmp_path), lambda: NOON, "e1")
    await sink.sink.start()
    sink.bus.publish([trade()])
    await asyncio.sleep(0.1)
    sink.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(sink.task, PATIENCE)
    monkeypatch.undo()
    go.set()


async def test_two_daemons_do_not_share_a_directory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path) as first:
        await first.put(trade())
        async with running(tmp_path, epoch="e2") as second:
            await second.put(trade(exchange="beta"))
            await until(lambda: second.status.failing)
            assert "another process writes there" in (second.status.failing or "")
            await first.put(trade())
    assert [r["exchange"] for r in all_records(tmp_path)] == ["alpha", "alpha"]
    assert "the end of 1 files could not be written" in caplog.text


# --- after a crash --------------------------------------------------------------------------------------------------

HEAD = (
    b'{"type":"header","schema":1,"epoch":"e0","offset":6,"ts":1758887000000000000,'
    b'"exchange":"alpha","channel":"trades"}\n'
)
LINE = b'{"type":"trade","exchange":"alpha","ts_recv":1758887000000000007,"offset":7,"price":"1"}\n'


def leave(root: Path, data: bytes, name: str = "trades.ndjson") -> Path:
    directory = root / "2025-09-26/alpha"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(data)
    return directory / name


@pytest.mark.parametrize(
    ("tail", "records"),
    [
        (b"", ["trade", "gap"]),
        (LINE[:40], ["trade", "gap"]),
        (b"\0" * 5000, ["trade", "gap"]),
        (LINE[:-1], ["trade", "gap"]),
        (LINE[:40] + b"\n", ["trade", "gap"]),
        (b'{"type":"footer","rec', ["trade", "gap"]),
        (LINE + b"\xff\xfe" + LINE[:30], ["trade", "trade", "gap"]),
    ],
)
@pytest.mark.parametrize("again", [False, True])
async def test_a_left_file_is_repaired(tmp_path: Path, tail: bytes, records: list[str], again: bool) -> None:
    leave(tmp_path, HEAD + LINE + tail)
    async with running(tmp_path) as sink:
        if again:
            await sink.put(trade())
        await until(lambda: any(b'"footer"' in left(p) for p in found(tmp_path)))
    old, *new = sorted(found(tmp_path), key=lambda path: whole(path)[0]["epoch"])
    assert old.name == "trades-20250926T114320Z-7.ndjson"
    _, held, _ = whole(old)
    assert [r["type"] for r in held] == records
    gap = held[-1]
    assert (gap["cause"], gap["phase"], gap["exchange"], gap["channel"]) == ("restart", "close", "alpha", "trades")
    assert (gap["ts_from"], gap["ts_to"]) == (NOON - 1000 * NS + 7, NOON)
    assert [whole(path)[0]["epoch"] for path in new] == ["e1"] * again


async def test_what_an_end_leaves_no_time_for_the_start_after_the_next_repairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may be so slow that files of a killed daemon have no end when the next one is stopped."""
    look = closer.Closer._look_at

    def slow(self: closer.Closer, path: Path) -> None:
        self.stopping.wait()
        if not path.read_bytes().startswith(HEAD):
            look(self, path)

    path = leave(tmp_path, HEAD + LINE)
    monkeypatch.setattr(closer.Closer, "_look_at", slow)
    monkeypatch.setattr(files, "LAST_WORK_S", 0.05)
    async with running(tmp_path, epoch="e1") as sink:
        await sink.put(trade(exchange="beta"))
    assert path.read_bytes() == HEAD + LINE
    monkeypatch.setattr(closer.Closer, "_look_at", look)
    async with running(tmp_path, epoch="e2"):
        await until(lambda: not path.exists() and all(b'"footer"' in left(p) for p in found(tmp_path)))
    (gap,) = [record for record in all_records(tmp_path) if record["type"] == "gap"]
    assert (gap["exchange"], gap["cause"], gap["ts_from"], gap["ts_to"]) == (
        "alpha",
        "restart",
        NOON - 1000 * NS + 7,
        NOON,
    )


async def test_what_a_crash_left_half_done_is_finished(tmp_path: Path) -> None:
    async with running(tmp_path) as sink:
        await sink.put(trade())
    (closed,) = found(tmp_path)
    data = closed.read_bytes()
    unnamed = leave(tmp_path, data, "bbo.ndjson")  # the footer was written, the file not renamed
    leave(tmp_path, b"half", f".{closed.name}.zst.tmp")
    both = leave(tmp_path, data, "book-20250926T120000Z-1.ndjson")  # compressed, the plain one not removed
    leave(tmp_path, zstandard.compress(data), f"{both.name}.zst")
    empty = leave(tmp_path, b"", "status.ndjson")
    header_only = leave(tmp_path, HEAD[:60], "ticker.ndjson")
    foreign = leave(tmp_path, b'{"my":"notes"}\n', "notes.ndjson")
    async with running(tmp_path, settings=FilesSettings(path=tmp_path)):
        await until(lambda: not (unnamed.exists() or both.exists() or empty.exists() or header_only.exists()))
    assert foreign.read_bytes() == b'{"my":"notes"}\n'
    stems = ["bbo", "book", "trades"]
    assert [p.name for p in found(tmp_path)] == [
        "bbo-20250926T120000Z-1.ndjson.zst", "book-20250926T120000Z-1.ndjson.zst", "notes.ndjson",
        "trades-20250926T120000Z-1.ndjson.zst",
    ]  # fmt: skip
    assert [content(p) for p in found(tmp_path) if p != foreign] == [data] * len(stems)


async def test_a_file_in_the_way_makes_room(tmp_path: Path) -> None:
    leave(tmp_path, b"what is this\n")
    async with running(tmp_path) as sink:
        await sink.put(trade())
    theirs, ours = sorted(found(tmp_path), key=lambda path: path.stat().st_size)
    assert theirs.read_bytes() == b"what is this\n"
    assert whole(ours)[1][0]["offset"] == 1


async def test_compression_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST_BACKOFF_S", 0.05)
    fail = [True]
    copy = closer.Closer._copy

    def sometimes(*args: object) -> None:
        if fail[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        copy(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(closer.Closer, "_copy", sometimes)
    async with running(tmp_path, settings=FilesSettings(path=tmp_path, rotate_bytes=1)) as sink:
        await sink.put(trade())
        await until(lambda: [p.suffix for p in found(tmp_path)] == [".ndjson"])
        whole(found(tmp_path)[0])
        fail[0] = False
        await until(lambda: [p.suffix for p in found(tmp_path)] == [".zst"])
    whole(found(tmp_path)[0])


CHILD = """
import asyncio, sys, time
from pathlib import Path
from aggregator.bus.bus import Bus
from aggregator.records import Trade
from aggregator.sinks.files import SINK
from aggregator.sinks.running import running

async def main():
    bus = Bus("killed")
    values = {"path": Path(sys.argv[1]), "rotate_bytes": 3_000_000, "template": "{exchange}/{symbol}"}
    sink = running(SINK.configured(**values), bus)
    await sink.start()
    while not sink.task.done():
        now, symbols = time.time_ns(), ("S0", "S1", "S2") * 167
        bus.publish([Trade(exchange="alpha", symbol=s, price="1.5", size="2", ts_recv=now) for s in symbols])
        await asyncio.sleep(0.005)

asyncio.run(main())
"""


@pytest.mark.parametrize("closed", [0, 3])
async def test_killed_in_mid_write_and_started_again(tmp_path: Path, closed: int) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, tmp_path], cwd=Path(__file__).parents[2])  # noqa: ASYNC220
    current = tmp_path / "alpha/S0.ndjson"

    def in_mid_write() -> bool:
        try:
            return current.stat().st_size > 500_000 and len(list(tmp_path.rglob("*.zst"))) >= closed
        except FileNotFoundError:
            return False

    try:
        await until(lambda: child.poll() is not None or in_mid_write(), 30)
    finally:
        child.send_signal(signal.SIGKILL)
    assert child.wait(5) == -signal.SIGKILL
    current_ones = [p.read_bytes() for p in found(tmp_path) if p.name in {"S0.ndjson", "S1.ndjson", "S2.ndjson"}]
    unfinished = [data for data in current_ones if b"\n" in data and b'"type":"footer"' not in data.splitlines()[-1]]
    async with running(
        tmp_path, clock=time.time_ns, settings=FilesSettings(path=tmp_path, template="{exchange}/{symbol}")
    ):
        await until(lambda: {path.suffix for path in found(tmp_path)} == {".zst"})
    records = sorted(all_records(tmp_path), key=lambda r: (r["offset"], r["type"] == "gap"))
    gaps = [r for r in records if r["type"] == "gap"]
    assert {gap["cause"] for gap in gaps} == {"restart"}
    assert len(gaps) == len(unfinished) > 0
    by_symbol = {
        s: [r["offset"] for r in records if r["type"] == "trade" and r["symbol"] == s] for s in ("S0", "S1", "S2")
    }
    for offsets in by_symbol.values():
        assert len(offsets) == len(set(offsets))
        assert max((b - a for a, b in pairwise(offsets)), default=3) == 3  # nothing is missing in between


# --- speed ----------------------------------------------------------------------------------------------------------


async def test_heavy_traffic_is_written_in_large_pieces(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, sizes = os.write, []

    def counting(fd: int, data: memoryview) -> int:
        sizes.append(len(data))
        return write(fd, data)

    monkeypatch.setattr("aggregator.sinks.segment.os.write", counting)
    caplog.set_level(logging.ERROR)
    records: list[list[Record]] = [[trade(f"S{n % 40}/USDT") for n in range(k, k + 50)] for k in range(0, 50_000, 50)]
    async with running(tmp_path) as sink:
        for batch in records:
            sink.bus.publish(batch)
        await until(lambda: not sink.status.held)
    assert len(sizes) < 1000, len(sizes)
    assert len(all_records(tmp_path)) == 50_000
