"""What one run leaves to the next: written whole, read as it was written, and of a killed run a gap for each topic."""

from pathlib import Path

import pytest

from aggregator.ingest.checkpoint_file import (
    PIECE,
    CheckpointFile,
    CheckpointRow,
    Topics,
    after_a_kill,
    load,
    pieces_of,
    rows_of,
    save,
    topics_of,
)
from aggregator.records import Gap
from aggregator.session.topics import TopicCheckpoint

OPEN = Gap(gap_id="g", phase="open", channel="trades", cause="disconnect", ts_from=3, raw_symbol="A", missed=2)
KEPT: Topics = {
    "main": {
        ("trades", "A"): TopicCheckpoint(OPEN, last=9, holes=((4, 5),), missed=2),
        ("book", None): TopicCheckpoint(),
    }
}


def test_what_is_left_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "toy.json"
    save(pieces_of(rows_of(KEPT)), path, 7)
    left = load(path)
    assert left is not None
    assert (left.ts, left.epoch) == (7, None)
    assert topics_of(left) == KEPT
    assert load(path) == left, "it stays there: a start may be killed too"


@pytest.mark.parametrize("count", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
def test_pieces_come_to_one_list(tmp_path: Path, count: int) -> None:
    path = tmp_path / "toy.json"
    rows = [CheckpointRow("main", "trades", str(n), TopicCheckpoint(last=n)) for n in range(count)]
    save(pieces_of(rows), path, 1, "epoch")
    left = load(path)
    assert left is not None
    assert (left.rows, left.epoch) == (rows, "epoch")


def test_where_nothing_was_left_there_is_nothing(tmp_path: Path) -> None:
    assert load(tmp_path / "toy.json") is None


def killed(
    *rows: CheckpointRow, numbers: dict[int, int] | None = None, is_sure: bool = True, goes_on: bool = False
) -> tuple[list[CheckpointRow], list[Gap]]:
    file = CheckpointFile(1, "e", rows=list(rows))
    left, gaps = after_a_kill("toy", file, 50, numbers or {}, is_sure=is_sure, goes_on=goes_on)
    return left.rows, gaps


def test_what_was_followed_when_the_run_was_killed_has_a_gap_since_then() -> None:
    rows, gaps = killed(
        CheckpointRow("main", "trades", "A", TopicCheckpoint(), "A/USD", is_followed=True, slot=3),
        CheckpointRow("main", "trades", "B", TopicCheckpoint()),
        numbers={3: 12},
    )
    (gap,) = gaps
    assert (gap.cause, gap.ts_from, gap.symbol, gap.gap_id) == ("restart", 50, "A/USD", "toy/main:trades:A:50")
    assert [(row.carried.last, row.carried.gap, row.carried.is_unsure) for row in rows] == [
        (12, gap, False),
        (None, None, False),
    ]


def test_a_gap_that_was_open_already_stays_the_same_and_is_never_said_to_be_filled() -> None:
    carried = TopicCheckpoint(OPEN, last=9, holes=((4, 5),), missed=2, recovered=1)
    rows, gaps = killed(CheckpointRow("main", "trades", "A", carried, is_followed=True))
    assert gaps == []
    assert rows[0].carried == TopicCheckpoint(OPEN, is_unsure=True)


def test_numbers_of_records_that_may_not_have_been_published_leave_every_topic_unsure() -> None:
    rows, _ = killed(CheckpointRow("main", "trades", "A", TopicCheckpoint(), slot=0), numbers={0: 5}, is_sure=False)
    assert (rows[0].carried.last, rows[0].carried.is_unsure) == (5, True)


def test_a_run_that_died_before_its_first_gap_was_surely_written_is_missing_from_where_that_began() -> None:
    row = CheckpointRow("main", "trades", "A", TopicCheckpoint(), is_followed=True, slot=0, restart=20)
    rows, gaps = killed(row, numbers={0: 12})
    (gap,) = gaps
    assert (gap.ts_from, gap.gap_id) == (20, "toy/main:trades:A:20"), "it is the one that may not be written"
    assert rows[0].carried.is_unsure, "what a sink has not written no number shows"


def test_what_a_sink_may_not_have_written_of_a_topic_that_nobody_wants_any_more_is_told_and_is_over() -> None:
    rows, gaps = killed(CheckpointRow("main", "trades", "A", TopicCheckpoint(last=9), restart=20))
    (gap,) = gaps
    assert (gap.phase, gap.cause, gap.ts_from, gap.ts_to, gap.repair) == ("close", "restart", 20, 50, "none")
    assert rows[0].carried.gap is None


def test_a_worker_that_died_alone_has_sinks_write_what_it_told_and_its_mark_still_says_what_that_may_be() -> None:
    rows, gaps = killed(
        CheckpointRow("main", "trades", "A", TopicCheckpoint(), is_followed=True, restart=20),
        CheckpointRow("main", "trades", "B", TopicCheckpoint(OPEN), is_followed=True, restart=2),
        goes_on=True,
    )
    assert [(gap.raw_symbol, gap.phase, gap.ts_from) for gap in gaps] == [("A", "open", 50)]
    assert [row.restart for row in rows] == [20, 2]
