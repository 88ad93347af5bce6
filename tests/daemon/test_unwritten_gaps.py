"""The gap of a restart that no sink has written when the daemon dies again is told by the next start.

Nothing runs here: each life is the order in which hub and workers read and write their marks.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aggregator.daemon import marks as marks_module
from aggregator.daemon.marks import LIFE, Found, Marks
from aggregator.ingest import checkpoint_file
from aggregator.ingest.checkpoint_file import CheckpointRow
from aggregator.records import SECOND_NS, Gap
from aggregator.session.subscriptions import Key
from aggregator.session.topics import Standing, TopicCheckpoint

pytestmark = pytest.mark.waits

KEY: Key = ("trades", "A")
DIED = 10 * SECOND_NS  # the first run
LATER = 30 * SECOND_NS


class Runner:
    """An exchange of one topic, whose gap a test opens and closes."""

    name = "toy"

    def __init__(self, gap: Gap | None = None) -> None:
        self.gap = gap

    def standing(self) -> Iterator[tuple[str, Standing]]:
        yield "main", Standing(KEY, TopicCheckpoint(self.gap), "A/USD", is_followed=True)


def lost(cause: Any, ts_from: int) -> Gap:
    return Gap(
        exchange="toy", raw_symbol="A", gap_id="lost", phase="open", channel="trades", cause=cause, ts_from=ts_from
    )


def killed_first(directory: Path) -> None:
    """A run that is killed while it follows the topic."""
    row = CheckpointRow("main", *KEY, TopicCheckpoint(), "A/USD", is_followed=True)
    Marks(directory, "first").save("toy", [checkpoint_file.piece_of([row])], DIED)


def begun(directory: Path, epoch: str) -> tuple[Found, Marks]:
    """A hub that has taken over, and the worker to which it has left the exchange."""
    hub = Marks(directory, epoch)
    found = hub.take("toy")
    hub.leave_to_workers("toy", {"toy": found.topics})
    worker = Marks(directory, f"{epoch}{LIFE}1.1")
    worker.take("toy")
    return found, worker


def told(found: Found) -> list[tuple[str, str, int, int | None]]:
    return [(gap.cause, gap.phase, gap.ts_from, gap.ts_to) for gap in found.gaps]


def open_gap(found: Found) -> Gap | None:
    return found.topics["main"][KEY].gap


async def test_it_begins_where_the_gap_began_that_a_worker_had_just_closed(tmp_path: Path) -> None:
    killed_first(tmp_path)
    for epoch in ("second", "third", "fourth"):
        found, worker = begun(tmp_path, epoch)
        assert told(found) == [("restart", "open", DIED, None)]
        await worker.mark(Runner())  # type: ignore[arg-type]


@pytest.mark.parametrize("is_marked", [False, True])
async def test_a_hub_that_is_killed_before_its_worker_has_marked_anything_has_told_it_or_leaves_it_open(
    tmp_path: Path, *, is_marked: bool
) -> None:
    killed_first(tmp_path)
    if is_marked:
        begun(tmp_path, "second")
    else:
        Marks(tmp_path, "second").take("toy")
    found, worker = begun(tmp_path, "third")
    gap = open_gap(found)
    assert gap is not None
    assert (found.gaps, gap.ts_from) == ([], DIED)
    await worker.mark(Runner())  # type: ignore[arg-type]
    assert told(begun(tmp_path, "fourth")[0]) == [("restart", "open", DIED, None)]


async def test_where_another_gap_is_open_by_then_the_time_before_that_is_told_for_itself(tmp_path: Path) -> None:
    killed_first(tmp_path)
    _, worker = begun(tmp_path, "second")
    other = lost("disconnect", LATER)
    await worker.mark(Runner(other))  # type: ignore[arg-type]
    for epoch in ("third", "fourth"):
        found, worker = begun(tmp_path, epoch)
        assert told(found) == [("restart", "close", DIED, LATER)]
        assert open_gap(found) == other, "it stays open, and closes in its time"
        await worker.mark(Runner(other))  # type: ignore[arg-type]


async def test_a_gap_that_stays_open_for_long_keeps_nothing_from_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks_module, "WRITTEN_S", 0.0)
    killed_first(tmp_path)
    _, worker = begun(tmp_path, "second")
    for gap in (lost("restart", DIED), lost("disconnect", LATER), lost("disconnect", LATER)):
        await worker.mark(Runner(gap))  # type: ignore[arg-type]
    assert told(begun(tmp_path, "third")[0]) == []


async def test_a_worker_that_dies_between_takes_it_from_nobody(tmp_path: Path) -> None:
    """While the hub lives the stream goes on; but when it dies too, sinks may have written nothing since it began."""
    killed_first(tmp_path)
    _, worker = begun(tmp_path, "second")
    await worker.mark(Runner())  # type: ignore[arg-type]
    assert worker.numbers_path is not None
    passed = marks_module.PassedOn(worker.numbers_path)
    passed.note(LATER)
    hub = Marks(tmp_path, "second-of-hub")
    found = hub.find("toy", "toy", {})
    assert told(found) == [("restart", "open", LATER, None)], "whoever hears the stream has had the first one"
    hub.leave_to_worker("toy", found.topics)
    successor = Marks(tmp_path, f"second{LIFE}1.2")
    successor.take("toy")
    await successor.mark(Runner(open_gap(found)))  # type: ignore[arg-type]
    found, worker = begun(tmp_path, "third")
    assert told(found) == [("restart", "close", DIED, LATER)]
    assert (gap := open_gap(found)) is not None
    assert gap.ts_from == LATER
    await worker.mark(Runner())  # type: ignore[arg-type]
    assert told(begun(tmp_path, "fourth")[0]) == [("restart", "open", DIED, None)]


async def test_it_moves_with_the_exchange_from_one_worker_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks_module, "PATIENCE_S", 30.0)
    killed_first(tmp_path)
    _, giver = begun(tmp_path, "second")
    taker = Marks(tmp_path, f"second{LIFE}2.1")
    taker.let_be("toy", is_ours=False)
    await taker.mark(Runner())  # type: ignore[arg-type]
    await giver.hand_over(Runner(), taker.epoch)  # type: ignore[arg-type]
    await taker.go_on("toy")
    await taker.mark(Runner())  # type: ignore[arg-type]
    assert told(begun(tmp_path, "third")[0]) == [("restart", "open", DIED, None)]


async def test_numbers_of_a_worker_prove_nothing_where_the_hub_has_not_noted_what_it_passed_on(tmp_path: Path) -> None:
    worker = Marks(tmp_path, f"first{LIFE}1.1")
    worker.handed(LATER)
    await worker.mark(Runner())  # type: ignore[arg-type]
    assert Marks(tmp_path, "second").take("toy").topics["main"][KEY].is_unsure
