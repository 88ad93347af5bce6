import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import pytest

from aggregator.daemon.marks import SLOT_BYTES, SLOTS, Marks, deaths_in, read_numbers
from aggregator.errors import ConfigError
from aggregator.ingest import checkpoint_file, state
from aggregator.ingest import listing as instruments
from aggregator.ingest.checkpoint_file import CheckpointRow
from aggregator.records import Gap, Record, Trade
from aggregator.sequence import contiguous
from aggregator.session.moment import Now
from aggregator.session.topics import Origin, TopicCheckpoint
from aggregator.session.trades import Numbered

SECOND = 1_000_000_000

pytestmark = pytest.mark.waits


def put(kind: str, path: Path) -> None:
    """Something that is no regular file."""
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif kind == "directory":
        path.mkdir()
        (path / "within").write_text("x")
    elif kind == "link":
        path.symlink_to("/dev/zero")


KINDS = ("fifo", "socket", "directory", "link")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_set_aside(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "toy.json"
    put(kind, path)
    assert checkpoint_file.load(path) is None
    assert f"{path} is set aside as toy.json.bad: it is no regular file" in caplog.text
    checkpoint_file.save([], path, 1)
    assert checkpoint_file.load(path) == checkpoint_file.CheckpointFile(1, None)
    put(kind, tmp_path / "cache.json")
    assert instruments.load(tmp_path / "cache.json") is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_where_a_file_is_prepared_does_not_hang(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "toy.json"
    put(kind, tmp_path / "toy.json.new")
    if kind == "directory":
        with pytest.raises(OSError, match="directory"):
            state.write(path, [b"x"])
    else:
        state.write(path, [b"x"])
        assert path.read_bytes() == b"x"
        assert Path("/dev/zero").is_char_device()


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "MOST_BYTES", 10)
    (tmp_path / "a").write_bytes(b"x" * 11)
    assert state.read(tmp_path / "a") is None
    assert "larger than 10 bytes" in caplog.text


@pytest.mark.parametrize("blob", [b"", b"[1]", b"{", b"[" * 100_000, b'{"ts":1,"epoch":null,"rows":[{"feed":"\xff"}]}'])
def test_a_leftover_that_cannot_be_read_is_set_aside(
    blob: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "toy.json"
    path.write_bytes(blob)
    assert checkpoint_file.load(path) is None
    assert path.with_name("toy.json.bad").read_bytes() == blob
    assert "it cannot be read" in caplog.text


def test_a_directory_of_state_has_one_daemon(tmp_path: Path) -> None:
    first = state.StateLock(tmp_path)
    with pytest.raises(ConfigError, match=f"is used by another daemon, process {os.getpid()}; give each"):
        state.StateLock(tmp_path)
    first.release()
    state.StateLock(tmp_path).release()


def test_the_lock_ends_with_the_process_that_is_killed(tmp_path: Path) -> None:
    held = f"held = StateLock(Path({str(tmp_path)!r}))"
    lines = ["import time", "from pathlib import Path", "from aggregator.ingest.state import StateLock", held]
    code = "\n".join([*lines, "print(1, flush=True)", "time.sleep(60)"])
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    with pytest.raises(ConfigError, match=f"process {other.pid}"):
        state.StateLock(tmp_path)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    state.StateLock(tmp_path).release()


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory"])
def test_a_lock_that_is_no_file_is_a_reason_not_to_start(kind: str, tmp_path: Path) -> None:
    put(kind, tmp_path / state.LOCK)
    with pytest.raises(ConfigError, match="cannot be used"):
        state.StateLock(tmp_path)


# --- marks ------------------------------------------------------------------------------------------------------------


def row(raw_symbol: str, carried: TopicCheckpoint | None = None, **others: object) -> CheckpointRow:
    left = carried or TopicCheckpoint()
    return CheckpointRow("main", "trades", raw_symbol, left, f"{raw_symbol}/USD", **others)  # type: ignore[arg-type]


def mark(marks: Marks, rows: list[CheckpointRow], ts: int | None = None) -> None:
    marks.save("toy", [checkpoint_file.piece_of(rows)], ts)


async def test_after_a_kill_what_was_followed_has_a_gap_from_the_last_sign_of_life(tmp_path: Path) -> None:
    first = Marks(tmp_path, "first")
    assert first._numbers is not None
    slots = {name: first._numbers.slot("toy", name) for name in "AB"}
    topic = Numbered("trades", "A", None, Origin("toy", "c"), TopicCheckpoint(), contiguous, first.notes("toy"))
    behind = Numbered("trades", "A", None, Origin("toy", "d"), TopicCheckpoint(), contiguous, first.notes("toy"))
    for to, number in ((topic, 70), (topic, 69), (behind, 60), (topic, 2**70)):
        to.accept(Trade(exchange="toy", raw_symbol="A", price="1", size="1", sequence=number), [], Now(0, 0))
    open_gap = Gap(gap_id="g", phase="open", channel="trades", cause="disconnect", ts_from=5 * SECOND)
    mark(
        first,
        [
            row("A", TopicCheckpoint(last=50), is_followed=True, slot=slots["A"]),
            row("B", TopicCheckpoint(open_gap, 40, holes=((30, 35),), missed=6), is_followed=True, slot=slots["B"]),
            row("C", TopicCheckpoint(last=30)),
        ],
        ts=10 * SECOND,
    )
    first._numbers.view[0] = 12 * SECOND
    second = Marks(tmp_path, "second")
    found = second.take("toy")
    assert [(gap.raw_symbol, gap.symbol, gap.cause, gap.ts_from, gap.phase) for gap in found.gaps] == [
        ("A", "A/USD", "restart", 12 * SECOND, "open")
    ]
    topics = found.topics["main"]
    assert topics["trades", "A"].gap is not None
    assert (topics["trades", "A"].last, topics["trades", "A"].is_unsure) == (70, False)
    told_before = topics["trades", "B"]
    assert told_before.gap is not None
    assert (told_before.gap.gap_id, told_before.holes, told_before.is_unsure) == ("g", (), True)
    assert topics["trades", "C"].gap is None
    assert deaths_in({"toy": found}) == {("first", "toy"): 12 * SECOND}
    # a start that is killed in its turn tells nothing twice, and knows what the first one knew
    third = Marks(tmp_path, "third")
    again = third.take("toy")
    assert again.gaps == []
    assert again.topics["main"]["trades", "A"].last == 70
    third.clear()
    assert [path.name for path in tmp_path.glob("*.numbers")] == ["third.numbers"]
    await third.remove()
    assert list(tmp_path.glob("*.numbers")) == []


def test_a_kill_in_the_midst_of_a_read_leaves_numbers_that_prove_nothing(tmp_path: Path) -> None:
    first = Marks(tmp_path, "first")
    notes = first.notes("toy")
    assert notes is not None
    mark(first, [row("A", TopicCheckpoint(last=50), is_followed=True, slot=notes.slot("A"))], ts=10 * SECOND)
    notes.view[0] = -12 * SECOND  # a read is being taken in; number 51 is noted and not published
    notes.view[notes.slot("A") or 0] = 51
    found = Marks(tmp_path, "second").take("toy")
    carried = found.topics["main"]["trades", "A"]
    assert (found.died, carried.last, carried.is_unsure) == (12 * SECOND, 51, True)
    # 52 is the next number: that proves nothing, and the gap is not called needless
    topic = Numbered("trades", "A", None, Origin("toy", "c"), carried, contiguous)
    out: list[Record] = []
    topic.accept(Trade(exchange="toy", raw_symbol="A", price="1", size="1", sequence=52), out, Now(0, 0))
    assert [r.repair for r in out if isinstance(r, Gap)] == ["none"]


def test_the_marks_of_parts_are_those_of_the_exchange_and_the_newest_of_a_topic_counts(tmp_path: Path) -> None:
    """Each part was another process's; an end in between has left a topic in two files."""
    for part, rows, ts in (
        ("toy-0of2", [row("A", is_followed=True), row("C", TopicCheckpoint(last=5))], 10 * SECOND),
        ("toy-1of2", [row("B", is_followed=True)], 11 * SECOND),
        ("toy", [row("A", is_followed=True), row("D", is_followed=True)], 9 * SECOND),
        ("toys-0of2", [row("E", is_followed=True)], 11 * SECOND),
    ):
        Marks(tmp_path, f"run+{part}").save(part, [checkpoint_file.piece_of(rows)], ts)
    found = Marks(tmp_path, "next").take("toy")
    assert {(gap.exchange, gap.raw_symbol, gap.ts_from) for gap in found.gaps} == {
        ("toy", "A", 10 * SECOND), ("toy", "B", 11 * SECOND), ("toy", "D", 9 * SECOND),
    }  # fmt: skip
    assert len(found.gaps) == 3
    assert ("trades", "C") in found.topics["main"]
    assert deaths_in({"toy": found}) == {("run", "toy"): 11 * SECOND}
    assert {path.name for path in tmp_path.glob("*.json")} == {"toy.json", "toys-0of2.json"}
    # a start that is killed now tells nothing twice, and neither does one that is killed while it divides it again
    third = Marks(tmp_path, "third")
    again = third.take("toy")
    assert again.gaps == []
    assert {key[1] for key in again.topics["main"]} == set("ABCD")
    third.leave_to_workers("toy", {"toy-0of3": again.topics})
    assert {path.name for path in tmp_path.glob("*.json")} == {"toy-0of3.json", "toys-0of2.json"}
    assert Marks(tmp_path, "fourth").take("toy-0of3", "toy").topics == again.topics


async def test_an_end_that_is_told_has_no_gap_told_again(tmp_path: Path) -> None:
    checkpoint_file.save(checkpoint_file.pieces_of([row("A", TopicCheckpoint(last=9))]), tmp_path / "toy.json", 1)
    marks = Marks(tmp_path, "next")
    found = marks.take("toy")
    assert (found.gaps, found.epoch, found.topics["main"]["trades", "A"].last) == ([], None, 9)
    assert deaths_in({"toy": found}) == {}
    await marks.remove()


async def test_a_mark_that_comes_late_does_not_undo_an_end(tmp_path: Path) -> None:
    marks = Marks(tmp_path, "first")
    await marks.leave("toy", {"main": {("trades", "A"): TopicCheckpoint(last=9)}})
    mark(marks, [row("A", is_followed=True)])
    left = checkpoint_file.load(tmp_path / "toy.json")
    assert left is not None
    assert left.epoch is None
    marks.begin("toy")
    mark(marks, [row("A", is_followed=True)])
    left = checkpoint_file.load(tmp_path / "toy.json")
    assert left is not None
    assert left.epoch == "first"
    await marks.remove()


async def test_an_end_waits_a_moment_for_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.daemon.marks.PATIENCE_S", 0.1)
    marks = Marks(tmp_path, "first")
    mark(marks, [row("A", is_followed=True)])
    hangs = Event()
    monkeypatch.setattr("aggregator.ingest.state.write", lambda *_: hangs.wait())
    with pytest.raises(TimeoutError, match="does not answer"):
        await marks.leave("toy", {})
    for later in (marks.leave("other", {}), marks.leave("third", {}), marks.remove()):
        task = asyncio.ensure_future(later)
        for _ in range(10):  # it waits once: these are over in a few turns of the loop
            await asyncio.sleep(0)
        assert task.done()
        if task.exception() is not None:
            assert "does not answer" in str(task.exception())
    hangs.set()
    left = checkpoint_file.load(tmp_path / "toy.json")
    assert left is not None
    assert left.epoch == "first", "the next start takes it for killed, and tells what is missing since"


async def test_an_end_on_a_disk_that_answers_again_is_kept(tmp_path: Path) -> None:
    marks = Marks(tmp_path, "first")
    await marks.leave("toy", {})
    await marks.remove()


def test_a_clock_that_ran_back_makes_no_gap_of_the_future(tmp_path: Path) -> None:
    first = Marks(tmp_path, "first")
    mark(first, [row("A", is_followed=True)], ts=time.time_ns() + 3600 * SECOND)
    second = Marks(tmp_path, "second")
    (gap,) = second.take("toy").gaps
    assert gap.ts_from <= time.time_ns()


def test_a_number_larger_than_any_counter_costs_itself_alone(tmp_path: Path) -> None:
    marks = Marks(tmp_path, "first")
    topic = Numbered("trades", "A", None, Origin("toy", "c"), TopicCheckpoint(), contiguous, marks.notes("toy"))
    topic.accept(Trade(exchange="toy", raw_symbol="A", price="1", size="1", sequence=2**70), [], Now(0, 0))
    gap = Gap(gap_id="g", phase="open", channel="trades", cause="sequence", ts_from=1, expected=2**70)
    mark(marks, [row("A", TopicCheckpoint(gap, 2**70), is_followed=True), row("B", is_followed=True)])
    found = Marks(tmp_path, "second").take("toy").topics["main"]
    assert found["trades", "A"].gap is not None
    assert found["trades", "A"].gap.gap_id == "g"
    assert found["trades", "B"].gap is not None
    assert read_numbers(tmp_path / "first.numbers") == {}


def test_numbers_that_are_cut_off_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.numbers").write_bytes(b"\1" * (SLOTS * SLOT_BYTES - 1))
    assert read_numbers(tmp_path / "a.numbers") == {}
    os.mkfifo(tmp_path / "b.numbers")
    assert read_numbers(tmp_path / "b.numbers") == {}
