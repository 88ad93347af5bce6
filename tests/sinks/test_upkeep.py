"""The days that lie behind a sink of tables: which go, which become one file, and which are left alone."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aggregator.sinks import upkeep
from aggregator.sinks.upkeep import Upkeep
from aggregator.tables.tree import DAY_NS

SIZE = 1000
FIRST_DAY = 20_000  # 2024-10-04
DAYS = ("2024-10-04", "2024-10-05", "2024-10-06")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "PAUSE_S", 0.0)
    monkeypatch.setattr(upkeep, "QUIET_S", 0.0)


class Kept:
    """A directory with a file an hour of three days, of two exchanges, and who looks after it."""

    def __init__(self, root: Path, limits: tuple[float | None, int | None, int | None], **more: Any) -> None:
        self.root = root
        for at, day in enumerate(DAYS):
            for exchange in ("alpha", "beta"):
                for hour in (0, 1):
                    path = root / f"type=trade/date={day}/{exchange}/e-{hour}-0.parquet"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(bytes(SIZE))
                    os.utime(path, ns=(ts := (FIRST_DAY + at) * DAY_NS + hour, ts))
        self.now = (FIRST_DAY + 2) * DAY_NS + DAY_NS // 2
        self.removed = 0
        self.emptied: list[Path] = []
        self.merged: list[str] = []
        self.upkeep = Upkeep(
            root,
            "parquet",
            limits,
            lambda: self.now,
            suffixes=(".parquet",),
            removed=self.count,
            emptied=self.emptied.append,
            **{"may_merge": lambda: True, **more},
        )

    def count(self, removed: int) -> None:
        self.removed += removed

    def merge(self, folder: Path, is_stopped: Callable[[], bool]) -> int:
        assert not is_stopped()
        self.merged.append(str(folder.relative_to(self.root)))
        return 2

    @property
    def days(self) -> list[str]:
        return sorted(path.parts[-3].removeprefix("date=") for path in self.root.rglob("[!.]*.parquet"))


def test_days_that_are_too_old_go(tmp_path: Path) -> None:
    kept = Kept(tmp_path, (86_400.0, None, None))
    kept.upkeep.look()
    assert kept.days == ["2024-10-05"] * 4 + ["2024-10-06"] * 4  # the second has ended twelve hours ago
    assert kept.removed == 4
    assert {path.parent.name for path in kept.emptied} == {"date=2024-10-04"}


def test_a_clock_that_is_far_ahead_takes_nothing(tmp_path: Path) -> None:
    kept = Kept(tmp_path, (86_400.0, None, None))
    kept.now += 30 * DAY_NS
    kept.upkeep.look()
    assert kept.removed == 0


def test_the_oldest_go_while_all_take_too_much(tmp_path: Path) -> None:
    kept = Kept(tmp_path, (None, 7 * SIZE, None))
    kept.upkeep.look()
    assert kept.days == ["2024-10-05"] * 3 + ["2024-10-06"] * 4
    assert not (tmp_path / "type=trade/date=2024-10-05/alpha/e-0-0.parquet").exists()  # of two of one time, by name


def test_what_is_no_whole_file_of_this_sink_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept(tmp_path, (None, 1, None))
    others = [tmp_path / name for name in ("notes.txt", "type=trade/date=2024-10-04/alpha/.e-9-0.parquet.tmp")]
    others += [tmp_path / "type=trade/date=2024-10-04/alpha/notes.txt", tmp_path / "type=trade/date=soon/alpha.parquet"]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(SIZE))
    with caplog.at_level(logging.WARNING):
        kept.upkeep.look()
    assert kept.removed == 12
    assert all(path.exists() for path in others)


def test_days_that_are_over_are_merged_once(tmp_path: Path) -> None:
    kept = Kept(tmp_path, (None, None, None))
    kept.upkeep._merge = kept.merge
    kept.upkeep.look()
    kept.upkeep.look()
    assert kept.merged == [f"type=trade/date={day}/{name}" for day in DAYS[:2] for name in ("alpha", "beta")]
    late = tmp_path / kept.merged[0] / "late-0.parquet"
    late.write_bytes(b"")
    kept.upkeep.look()
    assert kept.merged[4:] == kept.merged[:1]


def test_nothing_is_merged_that_may_have_to_go_or_has_just_changed(tmp_path: Path, monkeypatch: Any) -> None:
    kept = Kept(tmp_path, (None, None, None), may_merge=lambda: False)
    kept.upkeep._merge = kept.merge
    kept.upkeep.look()
    monkeypatch.setattr(upkeep, "QUIET_S", 600.0)
    kept.upkeep._may_merge = lambda: True
    kept.upkeep.look()
    assert not kept.merged


def test_a_folder_that_cannot_be_merged_is_said_and_keeps_no_other_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept(tmp_path, (None, None, None))

    def refuse_first(folder: Path, is_stopped: Callable[[], bool]) -> int:
        kept.merge(folder, is_stopped)
        if len(kept.merged) == 1:
            raise OSError(28, "No space left on device")
        return 2

    kept.upkeep._merge = refuse_first
    kept.upkeep.look()
    kept.upkeep.look()
    assert len(kept.merged) == 4
    assert "its files cannot be merged: [Errno 28]" in caplog.text


def test_a_disk_without_room_for_a_day_has_no_files_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(tmp_path, (None, None, None))
    kept.upkeep._merge = kept.merge
    monkeypatch.setattr(upkeep, "free_bytes", lambda _: upkeep.SPARE_BYTES + 2 * SIZE - 1)
    kept.upkeep.look()
    assert not kept.merged
    monkeypatch.setattr(upkeep, "free_bytes", lambda _: upkeep.SPARE_BYTES + 2 * SIZE)
    kept.upkeep.look()
    assert len(kept.merged) == 4
