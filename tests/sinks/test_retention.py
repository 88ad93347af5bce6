"""Old files of the `files` sink: which go, which never do, and how it is told."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard
from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.records import Trade
from aggregator.sinks import believed_clock, files, retention
from aggregator.sinks.closer import Closer
from aggregator.sinks.files import SINK
from aggregator.sinks.files_settings import FilesSettings
from aggregator.sinks.notes import HEADER
from aggregator.sinks.retention import Retention
from aggregator.sinks.running import running
from aggregator.sinks.segment import Segments

NS = 1_000_000_000
HOUR, DAY = 3600, 86_400
NOON = 1_758_888_000  # 2025-09-26T12:00:00Z
SIZE = 100  # bytes of every file here, before it is compressed


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAUSE_S", 0.0)
    monkeypatch.setattr(believed_clock, "DOUBT_S", 0.0)


def closed(root: Path, hours: float, name: str = "alpha/trades", suffix: str = ".ndjson") -> Path:
    """A closed file that was begun so many hours before noon."""
    stamp = f"{datetime.fromtimestamp(NOON - hours * HOUR, UTC):%Y%m%dT%H%M%SZ}"
    path = root / f"{name}-{stamp}-{10_000 - round(hours)}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = HEADER + b"}\n" + b"x" * (SIZE - len(HEADER) - 2)
    path.write_bytes(zstandard.ZstdCompressor().compress(content) if suffix.endswith(".zst") else content)
    return path


class Kept:
    """A directory and who looks after it."""

    def __init__(self, root: Path, *, free: Callable[[Path], int] = lambda _: 1 << 40, **keys: float) -> None:
        self.settings = structs.replace(FilesSettings(path=root), **keys)
        self.removed = 0
        self.segments = Segments(lambda _: None)
        self.closer = Closer(root, self.segments, lambda: NOON * NS, compress=True)
        self.now = NOON * NS
        self.retention = Retention(self.settings, self.closer, self.segments, lambda: self.now, self._count, free=free)

    def _count(self, count: int) -> None:
        self.removed += count

    def look(self, times: int = 5) -> None:
        for _ in range(times):
            self.retention.look()

    def names(self) -> set[str]:
        root = self.settings.path
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() or path.is_symlink()}


def test_what_is_too_old_goes_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file holds records of one `rotate_every`: the last of them must be too old."""
    old = [closed(tmp_path, 26), closed(tmp_path, 25, suffix=".ndjson.zst")]
    young = {str(closed(tmp_path, hours).relative_to(tmp_path)) for hours in (24.9, 1)}
    kept = Kept(tmp_path, keep=DAY, rotate_every=HOUR)
    with caplog.at_level(logging.INFO):
        kept.look()
    assert kept.names() == young
    assert kept.removed == 2
    assert [record.message for record in caplog.records] == [
        f"{path}: removed: is older than keep ({size} bytes)"
        for path, size in zip(old, (SIZE, kept_size(HEADER)), strict=True)
    ]


def test_a_clock_that_leaps_ahead_takes_no_file_before_it_has_stood_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(believed_clock, "DOUBT_S", float(DAY))
    closed(tmp_path, 26)
    closed(tmp_path, 2)
    kept = Kept(tmp_path, keep=DAY, rotate_every=HOUR)
    kept.look()
    assert (kept.removed, caplog.text) == (1, ""), "as long as it goes as time does"
    for days in (300, 0, 300):
        kept.now = (NOON + days * DAY) * NS
        kept.look()
        assert kept.removed == 1
    assert (
        caplog.text.count("the clock is far ahead of the newest file, or of itself: nothing goes by age for 86400 s")
        == 2
    )
    begun = time.monotonic()
    monkeypatch.setattr("aggregator.sinks.believed_clock.time.monotonic", lambda: begun + DAY + 60)
    kept.now += DAY * NS
    kept.look()
    assert kept.removed == 2, "it was right, it seems"


def test_a_clock_by_which_not_even_the_newest_file_may_stay_is_not_believed_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(believed_clock, "DOUBT_S", float(DAY))
    for hours in (300, 200, 100):
        closed(tmp_path, hours)
    kept = Kept(tmp_path, keep=DAY, rotate_every=HOUR)
    kept.look()
    assert kept.removed == 0
    closed(tmp_path, 1)
    kept.look()
    assert kept.removed == 3, "a file of today has been closed"


def test_a_clock_that_is_behind_takes_nothing(tmp_path: Path) -> None:
    closed(tmp_path, 26)
    kept = Kept(tmp_path, keep=DAY, rotate_every=HOUR)
    kept.now -= 10 * DAY * NS
    kept.look()
    assert kept.removed == 0


def kept_size(head: bytes) -> int:
    return len(zstandard.ZstdCompressor().compress(head + b"}\n" + b"x" * (SIZE - len(head) - 2)))


def test_the_oldest_go_until_all_take_no_more(tmp_path: Path) -> None:
    paths = [closed(tmp_path, hours, f"{'ab'[hours % 2]}/trades") for hours in range(10, 0, -1)]
    kept = Kept(tmp_path, keep_bytes=4 * SIZE)
    kept.look()
    assert kept.names() == {str(path.relative_to(tmp_path)) for path in paths[-4:]}
    assert kept.removed == 6


def test_a_current_file_counts_and_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    current, another = tmp_path / "trades.ndjson", tmp_path / "notes.ndjson"
    current.write_bytes(HEADER + b"x" * 10 * SIZE)
    another.write_bytes(b"x" * 10 * SIZE)
    closed(tmp_path, 3)
    kept = Kept(tmp_path, keep_bytes=11 * SIZE)
    kept.segments.owned.add(current)
    kept.look()
    assert kept.names() == {
        "trades.ndjson",
        "notes.ndjson",
    }  # it was more by the header's bytes; the notes do not count
    kept = Kept(tmp_path, keep_bytes=SIZE)
    kept.segments.owned.add(current)
    kept.look()
    assert kept.names() == {"trades.ndjson", "notes.ndjson"}
    said = "files take more than keep_bytes, and no closed file of this sink is left to be removed"
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [f"files {tmp_path}: {said}"]  # once


def test_a_full_disk_loses_the_oldest(tmp_path: Path) -> None:
    """The disk is simulated: so many bytes, less what the files take."""
    for hours in range(8, 0, -1):
        closed(tmp_path, hours)
    other = 0

    def free(root: Path) -> int:
        return 1000 - other - sum(path.stat().st_size for path in root.rglob("*.ndjson"))

    kept = Kept(tmp_path, free=free, min_free=200)
    kept.look()
    assert (len(kept.names()), kept.removed) == (8, 0)
    other = 250  # somebody else's
    kept.look()
    assert (len(kept.names()), kept.removed) == (5, 3)
    assert min(kept.names()).endswith(f"-{10_000 - 5}.ndjson")


def test_a_disk_that_tells_late_what_is_free_costs_no_more_than_it_lacked(tmp_path: Path) -> None:
    for hours in range(8, 0, -1):
        closed(tmp_path, hours)
    kept = Kept(tmp_path, free=lambda _: 750, min_free=1000)
    kept.look(1)
    assert kept.removed == 3


def test_what_is_not_ours_never_goes(tmp_path: Path) -> None:
    foreign = closed(tmp_path, 100)
    foreign.write_bytes(b'{"type":"trade"}\n')
    empty = closed(tmp_path, 101)
    empty.write_bytes(b"")
    archive = closed(tmp_path, 102, suffix=".ndjson.zst")
    archive.write_bytes(zstandard.ZstdCompressor().compress(b"something else"))
    broken = closed(tmp_path, 103, suffix=".ndjson.zst")
    broken.write_bytes(b"no zstd")
    pending = closed(tmp_path, 104)
    outside = tmp_path / "outside"
    target = closed(outside, 105)
    root = tmp_path / "root"
    root.mkdir()
    (root / target.name).symlink_to(target)
    (root / "linked").symlink_to(outside)
    for path in (foreign, empty, archive, broken, pending):
        path.rename(root / path.name)
    (root / "alpha-99999999T999999Z-1.ndjson").write_bytes(HEADER)  # no time at all
    (root / "README.md").write_text("read me")
    kept = Kept(root, keep=HOUR, rotate_every=HOUR)
    kept.closer.pending.add(root / pending.name)
    before = kept.names()
    kept.look()
    assert (kept.names(), kept.removed) == (before, 0)
    kept.closer.pending.clear()
    kept.look()
    assert kept.names() == before - {pending.name}
    assert target.exists()


def test_files_that_are_not_ours_take_no_room_of_ours(tmp_path: Path) -> None:
    for hours in (9, 8, 7):
        closed(tmp_path, hours).write_bytes(b"x" * SIZE)
    closed(tmp_path, 6)
    kept = Kept(tmp_path, keep_bytes=SIZE)
    kept.look()
    assert kept.removed == 0


def test_empty_directories_go_too(tmp_path: Path) -> None:
    closed(tmp_path, 50, "2025-09-24/alpha/trades")
    closed(tmp_path, 50, "2025-09-24/beta/trades")
    left = closed(tmp_path, 1, "2025-09-26/alpha/trades")
    (tmp_path / "mine").mkdir()
    kept = Kept(tmp_path, keep=DAY)
    kept.look()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2025-09-26", "mine"]
    assert left.exists()


def test_one_look_is_short_however_many_files_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(retention, "MOST", 1000)
    count = 3000
    paths = [closed(tmp_path, count - at, f"{at % 7}/trades") for at in range(count)]
    kept = Kept(tmp_path, keep_bytes=500 * SIZE)
    looked_at = 0
    real = Retention._take

    def take(self: Retention, entry: os.DirEntry[str]) -> None:
        nonlocal looked_at
        looked_at += 1
        real(self, entry)

    monkeypatch.setattr(Retention, "_take", take)
    looks = 0
    while kept.removed < 2500:
        before, looked_at = kept.removed, 0
        kept.look(1)
        looks += 1
        assert looked_at <= retention.LOOKED_AT
        assert kept.removed - before <= retention.REMOVED
        assert len(kept.retention._found) < 2 * retention.MOST
        assert looks < 100
    kept.look(20)
    assert kept.removed == 2500
    assert sorted(tmp_path.rglob("*.ndjson")) == sorted(paths[-500:])


def test_a_disk_that_cannot_be_asked_is_an_error_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def free(path: Path) -> int:
        raise OSError(5, "Input/output error", str(path))

    closed(tmp_path, 1)
    kept = Kept(tmp_path, free=free, min_free=1)
    kept.look(1)
    assert "old files cannot be removed: [Errno 5]" in caplog.text
    assert kept.removed == 0


@pytest.mark.waits
async def test_a_sink_removes_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "TICK_S", 0.02)
    old = closed(tmp_path, 3 * 24)
    old.write_bytes(old.read_bytes() + b'{"type":"footer"}\n')
    bus, now = Bus("e"), NOON * NS
    config = SINK.configured(path=tmp_path, keep=float(DAY), rotate_every=float(HOUR))
    sink = running(config, bus, clock=lambda: now)
    await sink.start()
    bus.publish([Trade(exchange="alpha", symbol="A/B", price="1", size="1", ts_recv=now)])
    deadline = time.monotonic() + 20
    while not sink.status().removed:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    sink.end()
    assert sink.task is not None
    await sink.task
    assert sink.status().removed == 1
    assert not any(str(path.name).startswith(old.name) for path in tmp_path.rglob("*"))
    assert [path.name.partition("-")[0] for path in tmp_path.rglob("*.zst")] == ["trades"]
