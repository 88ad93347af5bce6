"""The gap of a restart that no sink has written when the daemon dies again is told by the next start.

Nothing runs here: each life is the order in which hub and workers read and write their marks.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aggregator.daemon import marks as marks_module
from aggregator.daemon.marks import LIFE, Found, Marks, PassedOn
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

    def __init__(self, gap: Gap | None = None, *, is_followed: bool = True) -> None:
        self.gap = gap
        self.is_followed = is_followed

    def standing(self) -> Iterator[tuple[str, Standing]]:
        yield "main", Standing(KEY, TopicCheckpoint(self.gap), "A/USD", is_followed=self.is_followed)


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
    ids = set()
    for epoch in ("second", "third", "fourth"):
        found, worker = begun(tmp_path, epoch)
        assert told(found) == [("restart", "open", DIED, None)]
        ids |= {gap.gap_id for gap in found.gaps}
        await worker.mark(Runner())  # type: ignore[arg-type]
    assert len(ids) == 1, "whoever has had the first, and not its end, has the end of the last"


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
    passed = PassedOn(worker.numbers_path)
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


class Hub:
    """What a worker sees of a hub: it notes how far it has come whenever it is told something, unless it is blocked."""

    def __init__(self, worker: Marks) -> None:
        assert worker.numbers_path is not None
        self.passed = PassedOn(worker.numbers_path)
        self.passed.note(DIED)
        self.is_blocked = False
        self._told = DIED
        worker.tell = self._hear

    def _hear(self, ts: int) -> None:
        self._told = ts
        self.go_on()

    def go_on(self) -> None:
        if not self.is_blocked:
            self.passed.note(self._told)


def marked(directory: Path) -> list[Gap | None]:
    """The gap of each topic that the mark on the disk tells of."""
    left = checkpoint_file.load(directory / "toy.json")
    assert left is not None
    return [row.carried.gap for row in left.rows]


async def within(seconds: float, marking: "asyncio.Task[float]") -> bool:
    """Whether a mark is made in so short a time."""
    return bool((await asyncio.wait([marking], timeout=seconds))[0])


CLOSED, NEXT, GONE = Runner(), Runner(lost("disconnect", LATER)), Runner(is_followed=False)


@pytest.mark.parametrize(("after", "topics"), [(CLOSED, 1), (NEXT, 1), (GONE, 0)])
async def test_what_a_blocked_hub_has_not_passed_on_is_not_marked(tmp_path: Path, after: Runner, topics: int) -> None:
    """Of a gap that has closed, or another that has opened, readers of a hub that is killed then have heard nothing."""
    worker = Marks(tmp_path, f"first{LIFE}1.1")
    hub = Hub(worker)
    before = lost("stalled", DIED - 1)
    await worker.mark(Runner(before))  # type: ignore[arg-type]
    hub.is_blocked = True
    marking = asyncio.ensure_future(worker.mark(after))  # type: ignore[arg-type]
    assert not await within(0.2, marking)
    assert marked(tmp_path) == [before]
    hub.is_blocked = False
    hub.go_on()
    await marking
    assert marked(tmp_path) == [after.gap] * topics


async def test_the_gap_of_a_restart_is_told_again_until_a_hub_that_was_blocked_has_had_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sinks have ten seconds from the moment on at which the hub has passed its end on."""
    monkeypatch.setattr(marks_module, "WRITTEN_S", 0.3)
    killed_first(tmp_path)
    found, worker = begun(tmp_path, "second")
    hub = Hub(worker)
    await worker.mark(Runner(open_gap(found)))  # type: ignore[arg-type]
    hub.is_blocked = True
    marking = asyncio.ensure_future(worker.mark(Runner()))  # type: ignore[arg-type]
    assert not await within(0.4, marking)
    hub.is_blocked = False
    hub.go_on()
    await marking
    await worker.mark(Runner())  # type: ignore[arg-type]
    assert [gap.gap_id for gap in begun(tmp_path, "third")[0].gaps] == [gap.gap_id for gap in found.gaps]


async def test_an_end_that_the_hub_does_not_hear_leaves_the_last_mark(tmp_path: Path) -> None:
    """Else what was under way to it would be missing, and a file would say that all of it was told."""
    worker = Marks(tmp_path, f"first{LIFE}1.1")
    hub = Hub(worker)
    await worker.mark(Runner())  # type: ignore[arg-type]
    hub.is_blocked = True
    with pytest.raises(TimeoutError, match="the process that passes records on does not answer"):
        await worker.leave("toy", {"main": {KEY: TopicCheckpoint(lost("paused", LATER))}})
    assert [phase for _, phase, _, _ in told(Marks(tmp_path, "second").take("toy"))] == ["open"]


async def test_marks_wait_for_no_hub_that_does_not_note_how_far_it_has_come(tmp_path: Path) -> None:
    worker = Marks(tmp_path, f"first{LIFE}1.1")
    worker.tell = lambda ts: None  # noqa: ARG005
    await worker.mark(Runner())  # type: ignore[arg-type]
    assert marked(tmp_path) == [None]


def test_numbers_that_have_no_place_are_told_with_what_to_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "first.numbers").mkdir()
    assert Marks(tmp_path, "first").status().numbered is None
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(
        f"{tmp_path / 'first.numbers'}: the last numbers of topics cannot be noted there: File exists; "
    )
    assert said.endswith("and begin it anew")
