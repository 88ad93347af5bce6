"""The hub of several workers, without these: what one that has died left is told first and handed down then."""

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from aggregator.bus.bus import Batch, Bus
from aggregator.bus.demand import Unmet
from aggregator.config.config import Config, ExchangeConfig
from aggregator.daemon import marks as marks_module
from aggregator.daemon import workers as workers_module
from aggregator.daemon.attention import Attention
from aggregator.daemon.marks import LIFE, Marks, PassedOn
from aggregator.daemon.words import WorkerUp
from aggregator.daemon.workers import OneWorker, Workers
from aggregator.ingest import checkpoint_file
from aggregator.ingest.checkpoint_file import CheckpointRow
from aggregator.ingest.rest import Hosts
from aggregator.records import Gap, Record
from aggregator.session.topics import TopicCheckpoint
from aggregator.sinks.worker import Worker
from aggregator.sources.link import LinkReader

pytestmark = pytest.mark.waits

MARKED, PASSED = 10_000_000_000, 12_000_000_000


class Scene:
    """A hub whose first worker has just died; its disk answers as long as `answers` is set.

    left: what the run before has left
    """

    def __init__(self, directory: Path, left: checkpoint_file.Topics | None = None) -> None:
        self.answers = Event()
        self.answers.set()
        self.bus = Bus("hub")
        self.told: list[Record] = []
        self.bus.attach(self._take)
        self.keeper = Worker("state")
        kraken = ExchangeConfig(id="kraken", channels=("trades",), symbols=("*",), endpoints={})
        config = Config(exchanges=(kraken,), sinks=(), state=directory, log_level="info", workers=2)
        self.hub = Workers(config, self.bus, Hosts(), Attention(self.bus, directory / "normal"), self.keeper, None)
        self.left = directory / "left"
        self.hub.take_over({"kraken": left or {}}, Marks(self.left, "hub"))
        self.worker: OneWorker = self.hub._of["kraken"]
        self.follow()
        row = CheckpointRow("main", "trades", "A", TopicCheckpoint(), "A/USD", is_followed=True)
        dead = Marks(self.left, f"hub{LIFE}1.1")
        dead.save("kraken", [checkpoint_file.piece_of([row])], MARKED)
        self.numbers = self.left / f"hub{LIFE}1.1.numbers"
        self.passed = PassedOn(self.numbers)
        self.passed.note(PASSED)

    def follow(self) -> None:
        """Have the hub follow the exchange, without a process that gathers."""
        nothing: Any = asyncio.ensure_future(asyncio.sleep(0))
        self.worker.task = self.hub._balancing = nothing
        self.hub.begin("kraken")
        self.worker.task = None

    def _take(self, batch: Batch) -> None:
        self.told += batch.records

    def hang(self) -> None:
        """From now on the disk keeps waiting whoever asks for something."""
        self.answers.clear()
        self.keeper.put(self.answers.wait)

    def begin(self) -> "asyncio.Task[None]":
        life: Any = SimpleNamespace(passed=self.passed)
        return asyncio.ensure_future(self.hub._succeed(self.worker, life))

    async def end(self) -> None:
        """The disk answers again, and does all that was asked."""
        self.answers.set()
        await self.keeper.do(lambda: None)

    def gaps(self) -> list[Gap]:
        return [record for record in self.told if isinstance(record, Gap)]

    @property
    def owner(self) -> str | None:
        """The run whose mark stands on the disk."""
        left = checkpoint_file.load(self.left / "kraken.json")
        assert left is not None
        return left.epoch


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a thread or a log makes it true
            await asyncio.sleep(0.01)


async def test_a_gap_is_told_and_then_left_to_the_next_process(tmp_path: Path) -> None:
    it = Scene(tmp_path)
    await it.begin()
    (gap,) = it.gaps()
    assert (gap.exchange, gap.channel, gap.raw_symbol, gap.cause, gap.ts_from) == (
        "kraken", "trades", "A", "restart", PASSED,
    )  # fmt: skip
    assert it.owner is None
    found = Marks(it.left, f"hub{LIFE}1.2").take("kraken")
    carried = found.topics["main"]["trades", "A"].gap
    assert (found.gaps, carried and carried.gap_id) == ([], gap.gap_id)
    assert not it.numbers.exists()


@pytest.mark.parametrize("is_followed", [False, True])
async def test_a_gap_that_an_earlier_run_has_left_is_open_until_some_process_closes_it(
    tmp_path: Path, *, is_followed: bool
) -> None:
    """Also where the first process dies before it has marked what it follows: the stream has not told its end."""
    gap = Gap(
        exchange="kraken", raw_symbol="A", conn="kraken/main", gap_id="of the run before", phase="open",
        channel="trades", cause="restart", ts_from=5,
    )  # fmt: skip
    it = Scene(tmp_path, {"main": {("trades", "A"): TopicCheckpoint(gap)}})
    row = CheckpointRow("main", "trades", "A", TopicCheckpoint(gap), "A/USD", is_followed=is_followed)
    Marks(it.left, f"hub{LIFE}1.2").save("kraken", [checkpoint_file.piece_of([row])])
    await it.begin()
    assert it.gaps() == []
    carried = Marks(it.left, f"hub{LIFE}1.3").take("kraken").topics["main"]["trades", "A"]
    assert carried.gap == gap
    closed = structs.replace(gap, phase="close", ts_to=9)
    it.hub.views["kraken"].note(closed)
    assert it.hub._gaps_of(it.hub._parts["kraken"][0]) == {}


async def test_a_disk_that_takes_its_time_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers_module, "TAKE_S", 0.02)
    it = Scene(tmp_path)
    it.hang()
    succeeding = it.begin()
    await until(lambda: "worker 1: another one begins once the disk answers" in caplog.text)
    assert not succeeding.done()
    await it.end()
    await succeeding
    assert [gap.ts_from for gap in it.gaps()] == [PASSED]
    assert it.owner is None


async def test_an_end_that_comes_before_the_disk_answers_leaves_all_of_it_to_the_next_start(tmp_path: Path) -> None:
    """What is called told on the disk and was told to nobody would be a gap that closes and never opened."""
    it = Scene(tmp_path)
    it.hang()
    succeeding = it.begin()
    await asyncio.sleep(0)
    it.worker.leaving.set()
    async with asyncio.timeout(10):
        await succeeding
    await it.end()
    assert it.told == []
    assert it.owner == f"hub{LIFE}1.1"
    (gap,) = Marks(it.left, "next").take("kraken").gaps
    assert (gap.cause, gap.ts_from) == ("restart", PASSED)


async def test_an_exchange_that_was_moved_away_and_comes_again_has_its_books_whole_again(tmp_path: Path) -> None:
    """Whole books of a worker that has let an exchange go are too old; those of one that has it anew are not."""
    it = Scene(tmp_path)
    it.hub.views.pop("kraken").leave()
    reader = LinkReader(it.bus, it.hub.views, lambda exchange, raw_symbol: None)  # noqa: ARG005
    reader.gone.add("kraken")
    it.worker.life = SimpleNamespace(reader=reader)  # type: ignore[assignment]
    it.follow()
    await asyncio.sleep(0)
    assert reader.gone == set()


async def test_a_worker_that_was_never_begun_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be fewer exchanges than workers."""
    monkeypatch.setattr(workers_module, "UP_S", 1000.0)
    it = Scene(tmp_path)
    async with asyncio.timeout(10):
        assert await it.hub.answered(b'{"op":"stacks"}') == []


@pytest.mark.parametrize("stands", ["nothing", "a folder", "a file that is cut off"])
async def test_numbers_that_the_hub_cannot_open_are_told_with_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, stands: str
) -> None:
    it = Scene(tmp_path)
    path = it.left / "of-a-worker.numbers"
    if stands == "a folder":
        path.mkdir()
    elif stands == "a file that is cut off":
        path.write_bytes(b"12345678")
    life: Any = SimpleNamespace(passed=None)
    it.hub._up(it.worker, life, WorkerUp(str(path)))
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert said.startswith(f"worker 1: {path} cannot be opened: ")
    assert said.endswith("begin it anew")
    assert life.passed is None
    assert it.worker.is_up.is_set(), "what it gathers is passed on all the same"


async def test_numbers_that_cannot_be_removed_keep_no_worker_from_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    it = Scene(tmp_path)

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        await it.begin()
    assert [gap.ts_from for gap in it.gaps()] == [PASSED]
    assert f"{it.numbers}: it is of no use any more, and cannot be removed: " in caplog.text


async def test_numbers_that_cannot_be_read_cost_no_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The mark is known, and from then on all is told as missing."""
    it = Scene(tmp_path)

    def refuse(path: Path) -> dict[int, int]:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(marks_module, "read_numbers", refuse)
    await it.begin()
    assert [gap.ts_from for gap in it.gaps()] == [MARKED]
    assert f"{it.numbers}: cannot be read, so gaps begin with the last mark: " in caplog.text


async def test_whatever_a_subscriber_cannot_have_the_worker_that_says_so_lives_on(tmp_path: Path) -> None:
    it = Scene(tmp_path)
    unmet = [Unmet("book.2:kraken:NO/SUCH", "it needs book"), Unmet("trades:*:NO/SUCH", "nothing of it is followed")]
    assert it.hub._unmet(it.worker, unmet) == unmet
