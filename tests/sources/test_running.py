"""The frame of every source, with links that a test has written: what passes on, and what is told of a broken link."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from aggregator.bus.bus import Batch, Bus
from aggregator.bus.history import Cursor
from aggregator.records import (
    BookDelta,
    BookSnapshot,
    Gap,
    Health,
    Instrument,
    Record,
    Trade,
)
from aggregator.sources.running import RunningSource, RunningSources
from aggregator.sources.source import KnownPlace, LinkBroken, Passage, Reception, Source, SourceConfig

pytestmark = pytest.mark.waits
EPOCH = "20260102T000000.000000Z"
NAMES = {"exchange": "alpha", "symbol": "BTC/USDT", "raw_symbol": "BTCUSDT", "source": "ws", "conn": "alpha/main.1#1"}
Step = Passage | LinkBroken


def trade(offset: int, **more: Any) -> Trade:
    return Trade(**{**NAMES, **more}, price="1.50", size="2", ts_recv=offset, offset=offset)


def book(offset: int, **more: Any) -> BookSnapshot:
    return BookSnapshot(**NAMES, bids=[("10", "1")], asks=[("11", "2")], offset=offset, **more)  # type: ignore[arg-type]


def delta(offset: int, size: str) -> BookDelta:
    return BookDelta(**NAMES, bids=[("10", size)], asks=[], offset=offset)  # type: ignore[arg-type]


def health(state: Any, offset: int = 0) -> Health:
    return Health(**NAMES, channel="trades", state=state, offset=offset)  # type: ignore[arg-type]


def passed(*records: Record, is_live: bool = False, epoch: str = EPOCH) -> Passage:
    """Records as they were published there."""
    return Passage(Cursor(epoch, records[-1].offset if records else 0), records=list(records), is_live=is_live)


def hole(cause: Any = "expired") -> Gap:
    return Gap(symbol=None, gap_id="journal:1", phase="close", cause=cause, ts_from=1, ts_to=2)


class Script:
    """Links one after the other: each gives its steps, and then nothing until it is closed."""

    def __init__(self, *links: Sequence[Step], daemon: str = "tokyo", resumes: bool = True) -> None:
        self.links = list(links)
        self.daemon = daemon
        self.resumes = resumes
        self.asked: list[KnownPlace | None] = []
        self.standing: list[bool] = []
        self.is_done = asyncio.Event()

    async def open(self, settings: object, topics: Sequence[str], known: KnownPlace | None) -> "ScriptedLink":
        assert (isinstance(settings, Nowhere), topics) == (True, ("*:*:*",))
        self.asked.append(known)
        if not self.links:
            self.is_done.set()
            await asyncio.Event().wait()
        return ScriptedLink(self, self.links.pop(0), is_resumed=self.resumes and known is not None)


class ScriptedLink:
    def __init__(self, script: Script, steps: Sequence[Step], *, is_resumed: bool) -> None:
        self.daemon = script.daemon
        self.is_resumed = is_resumed
        self.script = script
        self.steps = list(steps)

    async def read(self) -> Sequence[Passage]:
        if not self.steps:
            self.script.is_done.set()
            await asyncio.Event().wait()
        step = self.steps.pop(0)
        if isinstance(step, LinkBroken):
            raise step
        return [step]

    async def ask_standing(self, *, books: bool) -> None:
        self.script.standing.append(books)

    async def close(self) -> None:
        pass


class Nowhere(Struct, frozen=True):
    url: str = "nowhere"


CUT = LinkBroken("the connection was cut")


class Run:
    """Sources at work on a bus, and all that they have published."""

    def __init__(self, path: Path, epoch: str = "20260103T000000.000000Z", gathered: Sequence[str] = ()) -> None:
        self.bus = Bus(epoch)
        self.told: list[Record] = []
        self.bus.attach(self._take)
        self.path = path
        self.sources = RunningSources(self.bus, gathered, room=self._room, progress=dict)

    def _take(self, batch: Batch) -> None:
        self.told += batch.records

    async def _room(self) -> None:
        """There always is."""

    @property
    def source(self) -> RunningSource:
        return self.sources.sources[0]

    @asynccontextmanager
    async def of(self, *scripts: Script) -> AsyncIterator[None]:
        """Run sources until each script is done, then give the test its turn, and end."""
        configs = [
            SourceConfig(
                Source("toy", Nowhere, script.open, unique="url"),
                Nowhere(f"nowhere {number}"),
                Reception(backoff=0.001, longest_backoff=0.002),
            )
            for number, script in enumerate(scripts)
        ]
        self.sources.start(configs, "london", self.path)
        for script in scripts:
            await asyncio.wait_for(script.is_done.wait(), 10)
        try:
            yield
        finally:
            await self.sources.end()
            await self.sources.keep()

    def kinds(self) -> list[str]:
        """What was told, in short."""
        return [_short(record) for record in self.told]


def _short(record: Record) -> str:
    if isinstance(record, Gap):
        return f"{record.phase} {record.channel} {record.cause} {record.repair or ''}".strip()
    if isinstance(record, Health):
        return f"health {record.channel} {record.state}"
    return f"{record.__struct_config__.tag} {record.upstream[1] if record.upstream else ''}".strip()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


async def test_records_pass_on_as_they_are_with_their_place(run: Run) -> None:
    gone = Trade(**NAMES, price="2.0", size="3", ts_event=5, ts_recv=7, sequence=9, offset=12)  # type: ignore[arg-type]
    async with run.of(Script([passed(trade(11), gone, is_live=True)])):
        assert [record.upstream for record in run.told] == [(EPOCH, 11, "tokyo"), (EPOCH, 12, "tokyo")]
        assert [record.offset for record in run.told] == [1, 2]
        (_, last) = run.told
        assert isinstance(last, Trade)
        assert (last.ts_event, last.ts_recv, last.sequence, last.conn, last.source, last.price) == (
            5, 7, 9, "alpha/main.1#1", "ws", "2.0",
        )  # fmt: skip


async def test_a_chain_names_every_daemon(run: Run) -> None:
    came = trade(11, upstream=("20260101T000000.000000Z", 900, "osaka"))
    async with run.of(Script([passed(came, is_live=True)])):
        assert run.told[0].upstream == (EPOCH, 11, "osaka/tokyo")


async def test_a_link_that_goes_on_closes_every_gap_as_full(run: Run) -> None:
    first: list[Step] = [passed(book(11), delta(12, "5"), trade(13), is_live=True), CUT]
    script = Script(first, [passed(delta(14, "6"), is_live=True)])
    async with run.of(script):
        assert script.asked == [None, KnownPlace("tokyo", Cursor(EPOCH, 13))]
        assert run.kinds() == [
            "book_snapshot 11",
            "book_delta 12",
            "trade 13",
            "open book disconnect",
            "open trades disconnect",
            "book_snapshot 12",
            "close book disconnect full",
            "close trades disconnect full",
            "book_delta 14",
        ]
        again = run.told[5]
        assert isinstance(again, BookSnapshot)
        assert (again.bids, again.reason, again.upstream) == ([("10", "5")], "resync", (EPOCH, 12, "tokyo"))
        opened, closed = run.told[3], run.told[6]
        assert isinstance(opened, Gap)
        assert isinstance(closed, Gap)
        assert opened.gap_id == closed.gap_id
        assert closed.ts_to is not None
        assert opened.ts_from <= closed.ts_to


async def test_what_is_not_there_any_more_is_told_and_a_book_waits_for_its_next_whole_one(run: Run) -> None:
    lossy = Passage(Cursor(EPOCH, 30), gap=hole(), records=[trade(30)])
    script = Script([passed(book(11), trade(12), is_live=True), CUT], [lossy, passed(book(31), delta(32, "7"))])
    async with run.of(script):
        assert run.kinds()[4:] == [
            "close trades disconnect none",
            "trade 30",
            "book_snapshot 31",
            "close book disconnect none",
            "book_delta 32",
        ]


async def test_a_hole_in_the_midst_is_a_gap_of_its_cause(run: Run) -> None:
    lossy = Passage(Cursor(EPOCH, 30), gap=hole("restart"), records=[book(30)])
    async with run.of(Script([passed(book(11), trade(12), is_live=True), lossy])):
        assert run.kinds()[2:] == [
            "open book restart",
            "close trades restart none",
            "book_snapshot 30",
            "close book restart none",
        ]


async def test_without_a_journal_there_each_break_has_lost_something(run: Run) -> None:
    script = Script([passed(trade(11), is_live=True), CUT], [passed(trade(15), is_live=True)], resumes=False)
    async with run.of(script):
        assert run.kinds() == ["trade 11", "open trades disconnect", "close trades disconnect none", "trade 15"]


async def test_states_are_those_of_the_other_daemon_and_suspect_while_the_link_is_broken(run: Run) -> None:
    script = Script([passed(trade(11), health("quiet", 12), is_live=True), CUT])
    views = run.bus.views
    async with run.of(script):
        (stands,) = views.health("trades", "alpha", "BTCUSDT")
        assert (stands.state, stands.conn) == ("suspect", "alpha/main.1#1")
        assert stands.reason is not None
        assert "broken" in stands.reason


async def test_a_state_that_is_not_live_is_told_behind_the_end_of_a_gap(run: Run) -> None:
    script = Script([passed(trade(11), health("stalled", 12), is_live=True), CUT], [passed(is_live=True)])
    async with run.of(script):
        assert run.kinds()[2:] == [
            "open trades disconnect",
            "close trades disconnect full",
            "health trades stalled",
        ]
        (stands,) = run.bus.views.health("trades", "alpha", "BTCUSDT")
        assert stands.state == "stalled"


async def test_what_stands_there_is_told_where_it_differs(run: Run) -> None:
    instrument = Instrument(exchange="alpha", symbol="BTC/USDT", raw_symbol="BTCUSDT", source="rest", tick_size="0.1")
    again = Instrument(exchange="alpha", symbol="BTC/USDT", raw_symbol="BTCUSDT", source="rest", tick_size="0.1")
    stands = Passage(Cursor(EPOCH, 11), standing=[health("live"), health("live"), book(9), book(9), instrument])
    script = Script([passed(trade(11), is_live=True), stands, Passage(Cursor(EPOCH, 11), standing=[again])])
    async with run.of(script):
        assert run.kinds() == ["trade 11", "health trades live", "book_snapshot 11", "instrument 11"]
        (in_force,) = run.bus.instruments.values()
        assert (in_force.tick_size, in_force.offset) == ("0.1", 0)
        found = run.bus.views.book("alpha", "BTCUSDT")
        assert found is not None
        assert found.bids == [("10", "1")]
        assert script.standing == [False]


async def test_records_of_this_daemon_that_come_back_are_refused_with_words(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script([passed(trade(11), trade(12, upstream=(EPOCH, 5, "london/osaka")))])
    config = SourceConfig(Source("toy", Nowhere, script.open, unique="url"), Nowhere(), Reception())
    run.sources.start([config], "london", run.path)
    await _until(lambda: run.source.status().state == "refused")
    assert run.told == []
    trouble = run.source.status().trouble
    assert trouble is not None
    assert "a loop" in trouble
    assert "london/osaka/tokyo" in trouble
    assert "a loop" in caplog.text
    await run.sources.end()


async def test_a_daemon_is_no_source_of_itself(run: Run) -> None:
    script = Script([passed(trade(11))], daemon="london")
    config = SourceConfig(Source("toy", Nowhere, script.open, unique="url"), Nowhere(), Reception())
    run.sources.start([config], "london", run.path)
    await _until(lambda: run.source.status().state == "refused")
    assert run.told == []
    assert "itself" in (run.source.status().trouble or "")
    await run.sources.end()


async def test_what_comes_another_way_is_left_out_and_counted(tmp_path: Path) -> None:
    run = Run(tmp_path, gathered=["beta"])
    one = Script([passed(trade(11), trade(12, exchange="beta"), is_live=True)])
    async with run.of(one):
        assert run.kinds() == ["trade 11"]
        assert (run.source.status().left_out, run.source.status().left_out_for) == (1, "beta is gathered here")
        assert "beta" not in run.bus.views


async def test_a_topic_comes_by_the_source_that_brought_it_first(run: Run) -> None:
    one, other = Script([passed(trade(11), is_live=True)]), Script([passed(trade(21), trade(22, raw_symbol="X"))])
    async with run.of(one, other):
        pass
    left_out = [source.left_out for source in run.sources.status()]
    assert sorted(left_out) == [0, 1]


async def test_what_cannot_be_read_is_a_gap(run: Run) -> None:
    unread = Record(exchange="alpha", symbol="BTC/USDT", raw_symbol="BTCUSDT", offset=12)
    async with run.of(Script([Passage(Cursor(EPOCH, 12), records=[trade(11)], unread=[unread])])):
        assert run.kinds() == ["trade 11", "close None parse_error none"]
        assert run.source.status().unread == 1
        assert run.source.status().offset == 12


# --- from one start to the next


async def test_a_clean_end_leaves_gaps_that_the_next_start_closes_as_full(tmp_path: Path) -> None:
    first = Run(tmp_path)
    async with first.of(Script([passed(book(11), trade(12), is_live=True)])):
        pass
    assert first.kinds()[2:] == ["open book restart", "open trades restart"]
    second = Run(tmp_path, "20260104T000000.000000Z")
    script = Script([passed(delta(13, "8"), is_live=True)])
    async with second.of(script):
        assert script.asked == [KnownPlace("tokyo", Cursor(EPOCH, 12))]
        assert second.kinds() == ["close book restart full", "close trades restart full", "book_delta 13"]
        assert script.standing == [True], "books are had whole, as this life has none"
        opened, closed = first.told[2], second.told[0]
        assert isinstance(opened, Gap)
        assert isinstance(closed, Gap)
        assert opened.gap_id == closed.gap_id


async def test_a_start_after_a_kill_opens_the_gaps_itself(tmp_path: Path) -> None:
    first = Run(tmp_path)
    script = Script([passed(trade(11), is_live=True)])
    config = SourceConfig(Source("toy", Nowhere, script.open, unique="url"), Nowhere("nowhere 0"), Reception())
    first.sources.start([config], "london", tmp_path)
    await _until(lambda: len(list(tmp_path.glob("*.topics"))) == len(list(tmp_path.glob("*.place"))) == 1)
    second = Run(tmp_path, "20260104T000000.000000Z")
    async with second.of(Script([passed(trade(12), is_live=True)])):
        assert second.kinds() == ["open trades restart", "close trades restart full", "trade 12"]
    await first.sources.end()


async def test_another_daemon_in_the_place_of_the_one_before_begins_anew(tmp_path: Path) -> None:
    first = Run(tmp_path)
    async with first.of(Script([passed(trade(11), is_live=True)])):
        pass
    second = Run(tmp_path, "20260104T000000.000000Z")
    async with second.of(Script([passed(trade(1), is_live=True)], daemon="osaka", resumes=False)):
        assert second.kinds() == ["close trades restart none", "trade 1"]
        assert second.told[1].upstream == (EPOCH, 1, "osaka")


@pytest.mark.parametrize("content", [b"", b"{", b'{"ts":"soon","topics":7}', b"\xff"])
async def test_files_that_cannot_be_read_are_set_aside(tmp_path: Path, content: bytes) -> None:
    first = Run(tmp_path)
    async with first.of(Script([passed(trade(11), is_live=True)])):
        pass
    for path in tmp_path.glob("toy*"):
        path.write_bytes(content)
    second = Run(tmp_path, "20260104T000000.000000Z")
    script = Script([passed(trade(12), is_live=True)])
    async with second.of(script):
        assert script.asked == [None]
        assert second.kinds() == ["trade 12"]
    assert len(list(tmp_path.glob("*.bad"))) == 2


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - files come by a thread
            await asyncio.sleep(0.01)
