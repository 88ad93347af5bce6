import asyncio
import errno
import json
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aggregator.bus.bus import Bus
from aggregator.bus.history import BadStart, Cursor, History, HistoryStatus, Start, Stretch, parse_beginning
from aggregator.bus.selection import Selection, parse_pattern
from aggregator.errors import ConfigError
from aggregator.records import Gap, Record, Trade
from aggregator.sinks.journal import groups
from aggregator.sinks.journal.blocks import Head
from aggregator.sinks.journal.journal import Journal
from aggregator.sinks.journal.lives import Lives
from aggregator.sinks.journal.segments import Shelf
from aggregator.sinks.journal.sink import SINK
from aggregator.sinks.journal.writer import BlockWriter
from aggregator.sinks.running import running
from aggregator.sinks.sink import LOCAL, Context
from tests.support.journal_model import full_disk

pytestmark = pytest.mark.waits

FIRST, SECOND = "20260102T030405.000000Z", "20260102T040000.000000Z"
BASE_NS = 1_767_323_045_000_000_000
DAY_NS = 86_400_000_000_000
ALL = Selection([parse_pattern("*:*:*")])


def select(*patterns: str) -> Selection:
    return Selection([parse_pattern(text) for text in patterns])


def trade(number: int, symbol: str = "A", size: str = "1") -> Trade:
    return Trade(
        exchange="alpha",
        symbol=symbol,
        raw_symbol=symbol,
        ts_recv=BASE_NS + number,
        id=str(number),
        price="1",
        size=size,
    )


@asynccontextmanager
async def living(
    path: Path,
    epoch: str = FIRST,
    *,
    segment_bytes: int = 64_000_000,
    keep_bytes: int = 1 << 40,
    keep: float = 1e9,
    before: str | None = None,
) -> AsyncIterator[tuple[Bus, History]]:
    """One life of a daemon, with a journal; `before` is the life before it, as its state knows that."""
    bus = Bus(epoch)
    config = SINK.configured(path=path, segment_bytes=segment_bytes, keep_bytes=keep_bytes, keep=keep)
    sink = running(config, bus, before=before)
    await sink.start()
    assert bus.history is not None
    try:
        yield bus, bus.history
    finally:
        sink.end()
        assert sink.task is not None
        await sink.task


async def written(history: History | None) -> HistoryStatus:
    assert history is not None
    for _ in range(500):
        status = history.status()
        if not status.held:
            return status
        await asyncio.sleep(0.01)
    raise AssertionError("it is not written")


async def read_all(
    history: History, cursor: Cursor, wanted: Selection = ALL, *, key: str = "id"
) -> tuple[list[tuple[str, str]], list[Gap]]:
    """The epoch and id of every trade, or another field, and the gaps."""
    rows: list[tuple[str, str]] = []
    gaps: list[Gap] = []
    while True:
        stretch: Stretch = await history.read(cursor, wanted, lambda found: found)
        rows += [(stretch.cursor.epoch, str(json.loads(line)[key])) for line in stretch.lines]
        gaps += [stretch.gap] if stretch.gap is not None else []
        cursor = stretch.cursor
        if stretch.is_end:
            return rows, gaps


def ids(rows: Sequence[tuple[str, str]]) -> list[int]:
    return [int(id) for _, id in rows]


async def test_what_was_published_can_be_read_in_this_life_and_the_next(tmp_path: Path) -> None:
    async with living(tmp_path) as (bus, history):
        for number in range(100):
            bus.publish([trade(10 * number + i) for i in range(10)])
        await written(history)
        rows, gaps = await read_all(history, Cursor(FIRST, 0))
        assert (ids(rows), gaps) == (list(range(1000)), [])
    async with living(tmp_path, SECOND) as (bus, history):
        bus.publish([trade(1000), trade(1001)])
        await written(history)
        assert history.status().epochs == 2
        rows, gaps = await read_all(history, Cursor(FIRST, 990))
        assert rows[-3:] == [(FIRST, "999"), (SECOND, "1000"), (SECOND, "1001")]
        assert (ids(rows), gaps) == (list(range(990, 1002)), [])


async def test_one_topic_is_read_without_unpacking_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with living(tmp_path, segment_bytes=1_000_000) as (bus, history):
        for number in range(0, 9000, 100):
            bus.publish([trade(n, f"S{n % 500}", size="1" * 200) for n in range(number, number + 100)])
            await asyncio.sleep(0)
            if not number % 1000:
                await written(history)
    unpacked = 0
    unpack = groups.ClosedFile._unpacked

    def counted(self: groups.ClosedFile, packed: bytes, size: int) -> bytes:
        nonlocal unpacked
        unpacked += size
        return unpack(self, packed, size)

    monkeypatch.setattr(groups.ClosedFile, "_unpacked", counted)
    async with living(tmp_path, SECOND) as (_, history):
        for _ in range(500):
            if not list(tmp_path.glob("*1.open")):
                break
            await asyncio.sleep(0.01)
        closed = sum(path.stat().st_size for path in tmp_path.glob("*.journal"))
        assert closed
        rows, gaps = await read_all(history, Cursor(FIRST, 0), select("trades:alpha:S7"))
        assert ids(rows) == list(range(7, 9000, 500))
        assert not gaps
        one = unpacked
        await read_all(history, Cursor(FIRST, 0))
        assert one * 5 < unpacked - one


async def test_the_oldest_go_and_a_gap_says_from_where_to_where(tmp_path: Path) -> None:
    async with living(tmp_path, segment_bytes=1_000_000, keep_bytes=100_000) as (bus, history):
        for number in range(0, 20_000, 100):
            bus.publish([trade(n, size=str(n * 7919 % 10**9) * 40) for n in range(number, number + 100)])
            await asyncio.sleep(0.002)
        await written(history)
        before = -1
        while not history.status().expired or history.status().expired != before:  # what is let go while it is read
            before = history.status().expired  # would be a second gap
            await asyncio.sleep(0.5)
        rows, (gap,) = await read_all(history, Cursor(FIRST, 10))
        assert gap.cause == "expired"
        assert gap.expected == 11
        assert gap.got == int(rows[0][1]) + 1
        assert gap.missed == gap.got - 11
        assert ids(rows) == list(range(gap.got - 1, 20_000))
        cursor, told = await history.begin(Start(ts=BASE_NS))
        assert told is not None
        assert (told.cause, told.ts_from) == ("expired", BASE_NS)
        earliest, told = await history.begin("earliest")
        assert (earliest, told) == (cursor, None)


class Aging:
    """A journal of one segment an hour, over days, under a clock that may be set."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, *, keep_days: int = 2) -> None:
        self.path, self.keep = path, keep_days * DAY_NS
        self.lives = 0
        self.now = BASE_NS
        self.elapsed = 0  # ns, on which nobody sets a clock
        monkeypatch.setattr("aggregator.sinks.believed_clock.time.monotonic", lambda: self.elapsed / 1e9)
        self.begin_life()

    def begin_life(self) -> None:
        self.bus = Bus(f"20260102T03{self.lives:02}05.000000Z")
        self.lives += 1
        self.shelf = Shelf(self.path, keep_bytes=1 << 40, keep_ns=self.keep, clock=lambda: self.now)
        self.shelf.recover()
        context = Context("journal", self.bus, lambda: self.now, LOCAL)
        self.writer = BlockWriter(self.shelf, self.bus.epoch, context, segment_bytes=1, on_begin=lambda: None)
        self.writer.begin()
        self.bus.attach(lambda batch: self.writer.write([batch]))

    def pass_(self, hours: int) -> None:
        for _ in range(hours):
            self.elapsed += DAY_NS // 24
            self.now += DAY_NS // 24
            self.bus.publish([trade(self.now - BASE_NS)])
            while self.shelf.close_one():
                pass
            self.shelf.expire()

    @property
    def kept(self) -> int:
        return len(self.shelf.view.kept)


def test_a_clock_that_leaps_ahead_does_not_empty_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    aging = Aging(tmp_path, monkeypatch)
    aging.pass_(100)
    assert aging.kept == 49, "two days, while the clock goes as time does"
    aging.now += 300 * DAY_NS
    aging.pass_(5)
    assert aging.kept == 54
    assert caplog.text.count("the clock is far ahead of the newest file, or of itself: nothing goes by age") == 1
    aging.now -= 300 * DAY_NS
    aging.pass_(10)
    assert aging.kept == 49, "it is right again, and what was written meanwhile keeps nothing from going"
    aging.pass_(100)
    assert aging.kept == 49
    aging.now += 300 * DAY_NS
    aging.pass_(23)
    assert aging.kept == 72
    aging.pass_(2)
    assert aging.kept == 25, "it has stood for a day: it was right, it seems"


def test_a_clock_that_leaps_back_takes_nothing_then_or_when_it_is_set_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aging = Aging(tmp_path, monkeypatch)
    aging.pass_(100)
    aging.now -= 300 * DAY_NS
    aging.pass_(5)
    assert aging.kept == 54
    aging.now += 300 * DAY_NS
    aging.pass_(20)
    assert aging.kept == 74
    aging.pass_(10)
    assert aging.kept == 49


def test_a_clock_that_is_far_ahead_at_a_start_does_not_empty_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes now has the time of that clock, and says nothing for it."""
    aging = Aging(tmp_path, monkeypatch)
    aging.pass_(40)
    aging.now += 300 * DAY_NS
    aging.begin_life()
    aging.pass_(10)
    assert aging.kept == 50
    aging.now -= 300 * DAY_NS
    aging.begin_life()
    aging.pass_(40)
    assert aging.kept == 50, "what has a time that is to come goes with what was written next"
    aging.pass_(20)
    assert aging.kept == 49


async def test_a_time_is_found(tmp_path: Path) -> None:
    async with living(tmp_path) as (bus, history):
        bus.publish([trade(number) for number in range(100)])
        await written(history)
        cursor, gap = await history.begin(Start(ts=BASE_NS + 40))
        assert (cursor, gap) == (Cursor(FIRST, 40), None)
        bus.publish([trade(100), trade(101)])  # in memory at first
        cursor, gap = await history.begin(Start(ts=BASE_NS + 101))
        assert (cursor, gap) == (Cursor(FIRST, 101), None)
        assert await history.begin(Start(ts=BASE_NS + 10**9)) == (Cursor(FIRST, 102), None)
        assert await history.begin("now") == (Cursor(FIRST, 102), None)


async def test_the_newest_are_in_memory(tmp_path: Path) -> None:
    async with living(tmp_path) as (bus, history):
        bus.publish([trade(number) for number in range(10)])
        bus.publish([trade(number) for number in range(10, 20)])
        for behind in (0, 5, 10, 19):
            found = history.tail(Cursor(FIRST, behind))
            assert found is not None
            assert [record.offset for record in found] == list(range(behind + 1, 21))
        assert history.tail(Cursor(FIRST, 20)) == []
        assert history.tail(Cursor("another", 0)) is None


async def test_a_full_disk_stops_nothing_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with living(tmp_path) as (bus, history):
        bus.publish([trade(0)])
        await written(history)
        with full_disk():
            bus.publish([trade(1), trade(2)])
            status = await written(history)
        assert (status.missed, status.failing) == (2, "No space left on device")
        rows, (gap,) = await read_all(history, Cursor(FIRST, 0))
        assert ids(rows) == [0]
        assert (gap.cause, gap.expected, gap.got, gap.missed) == ("overflow", 2, 4, 2)
        await asyncio.sleep(1.1)  # the pause after an error
        bus.publish([trade(3)])
        status = await written(history)
        assert (status.failing, status.records) == (None, 2)
        rows, (gap,) = await read_all(history, Cursor(FIRST, 0))
        assert ids(rows) == [0, 3]
        assert (gap.expected, gap.got, gap.ts_from, gap.ts_to) == (2, 4, BASE_NS, BASE_NS + 3)
    assert "cannot be written: No space left on device" in caplog.text


async def test_a_life_that_could_write_nothing_is_known(tmp_path: Path) -> None:
    async with living(tmp_path) as (bus, history):
        bus.publish([trade(0)])
    with full_disk():
        async with living(tmp_path, "20260102T033000.000000Z") as (bus, history):
            bus.publish([trade(1)])
            assert (await written(history)).missed == 1
    async with living(tmp_path, "20260102T034500.000000Z"):
        pass  # it published nothing, and nothing is to be told of it
    async with living(tmp_path, SECOND) as (bus, history):
        bus.publish([trade(2)])
        await written(history)
        rows, (gap,) = await read_all(history, Cursor(FIRST, 0))
        assert (ids(rows), gap.cause) == ([0, 2], "restart")


@pytest.mark.parametrize("before", ["20260102T033000.000000Z", ""])
async def test_a_life_without_a_journal_is_told(tmp_path: Path, before: str) -> None:
    """The state knows of a life that left nothing here; or it knows of none, as it was lost, or is another daemon's."""
    async with living(tmp_path, before="") as (bus, history):
        bus.publish([trade(0)])
    async with living(tmp_path, "20260102T032000.000000Z", before=FIRST) as (bus, history):
        bus.publish([trade(1)])
    async with living(tmp_path, "20260102T034500.000000Z", before=before):
        pass  # it publishes nothing, and what is told of the lives before it stays
    async with living(tmp_path, SECOND, before=before) as (bus, history):
        nothing: list[Record] = []
        for records in (nothing, [trade(2)]):
            bus.publish(list(records))
            await written(history)
            rows, (gap,) = await read_all(history, Cursor(FIRST, 0))
            assert (ids(rows), gap.cause, gap.missed) == ([0, 1, *range(2, 2 + len(records))], "restart", None)


async def test_the_state_remembers_each_life_that_published_something(tmp_path: Path) -> None:
    def begin(epoch: str) -> tuple[Lives | None, str]:
        return Lives.begun(tmp_path, epoch)

    assert begin("e1")[1] == ""
    lives, before = begin("e2")
    assert (before, lives is not None) == ("e1", True)
    assert lives is not None
    lives.end_empty("e2")
    assert begin("e3")[1] == "e1"
    for number in range(4, 600):
        assert begin(f"e{number}")[1] == f"e{number - 1}"
    path = tmp_path / "lives"
    path.unlink()
    path.mkdir()
    assert begin("e600") == (None, ""), "it cannot be noted"
    path.rmdir()
    assert begin("e601")[1] == ""


def killed(path: Path, epoch: str, *, torn: int) -> None:
    """A life that publishes ten records, and is killed while it writes the last of them."""

    async def life() -> None:
        bus = Bus(epoch)
        sink = running(SINK.configured(path=path), bus)
        await sink.start()
        assert isinstance(bus.history, Journal)
        for number in range(10):
            bus.publish([trade(number)])
            await written(bus.history)
        os.close(bus.history._root)  # a dead process holds no lock

    asyncio.run(life())
    (file,) = path.glob("*.open")
    os.truncate(file, file.stat().st_size - torn)


def test_a_torn_end_is_cut_off_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    killed(tmp_path, FIRST, torn=5)

    async def next_life() -> None:
        async with living(tmp_path, SECOND) as (bus, history):
            bus.publish([trade(10)])
            await written(history)
            rows, (gap,) = await read_all(history, Cursor(FIRST, 7))
            assert rows == [(FIRST, "7"), (FIRST, "8"), (SECOND, "10")]
            assert (gap.cause, gap.expected, gap.got, gap.missed) == ("restart", None, None, None)
            assert (gap.ts_from, gap.ts_to) == (BASE_NS + 8, BASE_NS + 10)

    with caplog.at_level(logging.WARNING):
        asyncio.run(next_life())
    assert "of a torn block cut off" in caplog.text


async def closed_file(path: Path) -> Path:
    """The closed segment of a life that is over: 40,000 records of ten topics."""
    async with living(path) as (bus, _):
        for number in range(0, 40_000, 100):
            bus.publish([trade(n, f"S{n % 10}", size=str(n * 7919 % 10**9) * 5) for n in range(number, number + 100)])
    async with living(path, SECOND):
        for _ in range(500):
            if list(path.glob("*.journal")):
                break
            await asyncio.sleep(0.01)
    return path / "000000000001.journal"


@pytest.mark.parametrize("pattern", ["*:*:*", "trades:alpha:S7"])
async def test_a_disk_that_cannot_read_a_part_keeps_nobody_from_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    path = await closed_file(tmp_path)
    size, pread = path.stat().st_size, os.pread
    lost = range(size // 5, size // 3)

    def refuse(fd: int, count: int, at: int) -> bytes:
        if os.fstat(fd).st_size == size and at < lost.stop and at + count > lost.start:
            raise OSError(errno.EIO, "Input/output error")
        return pread(fd, count, at)

    async with living(tmp_path, "20260102T050000.000000Z") as (_, history):
        monkeypatch.setattr(os, "pread", refuse)
        rows, gaps = await read_all(history, Cursor(FIRST, 0), select(pattern))
    assert {gap.cause for gap in gaps} == {"damaged"}
    there = 40_000 if pattern == "*:*:*" else 4000
    assert there // 2 < len(rows) < there
    assert ids(rows) == sorted(ids(rows))


async def test_of_a_damaged_file_what_can_be_read_is_read(tmp_path: Path) -> None:
    path = await closed_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    async with living(tmp_path, "20260102T050000.000000Z") as (_, history):
        rows, (gap,) = await read_all(history, Cursor(FIRST, 0))
        assert gap.cause == "damaged"
        assert gap.missed == 40_000 - len(rows) > 0
        assert len(rows) > 20_000


@pytest.mark.parametrize("later", [True, False])
def test_records_whose_topic_has_lost_its_name_are_judged_by_what_they_say(tmp_path: Path, later: bool) -> None:
    async def life() -> None:
        bus = Bus(FIRST)
        sink = running(SINK.configured(path=tmp_path), bus)
        await sink.start()
        assert isinstance(bus.history, Journal)
        for number, symbol in enumerate("ABC" if later else "AB"):
            bus.publish([trade(number, symbol)])
            await written(bus.history)
        os.close(bus.history._root)  # a dead process holds no lock

    asyncio.run(life())
    path = tmp_path / "000000000001.open"
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"names":["B"', b'"names":["X"', 1))  # the block's checksum finds out

    async def read(epoch: str) -> None:
        async with living(tmp_path, epoch) as (_, history):
            for patterns, wanted in ((("trades:*:B",), [1]), (("trades:*:A",), [0]), (("*:*:*",), [0, 1])):
                rows, _ = await read_all(history, Cursor(FIRST, 0), select(*patterns))
                assert ids(rows) == wanted + ([2] if later and patterns == ("*:*:*",) else [])
                stretch: Stretch = await history.read(
                    Cursor(FIRST, 1), select(*patterns), lambda found: found, with_topics=True
                )
                assert [topic.raw_symbol for topic in stretch.topics][:1] == (["B"] if 1 in wanted else [])
            await until_closed(tmp_path)

    asyncio.run(read(SECOND))
    asyncio.run(read("20260102T050000.000000Z"))  # now of the closed file


async def until_closed(path: Path) -> None:
    for _ in range(1000):
        if list(path.glob("*1.journal")):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it is not closed")


async def test_a_journal_of_another_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "000000000001.open").write_bytes(Head(format=2, epoch=FIRST).line())
    with pytest.raises(
        ConfigError, match="version 2 of the journal's format, and this program reads 1: run the version"
    ):
        async with living(tmp_path):
            pass


async def test_two_daemons_never_share_one(tmp_path: Path) -> None:
    async with living(tmp_path):
        with pytest.raises(ConfigError, match="another process writes there"):
            async with living(tmp_path, SECOND):
                pass


async def test_places_that_are_none_are_refused(tmp_path: Path) -> None:
    async with living(tmp_path, SECOND) as (bus, history):
        bus.publish([trade(1)])
        with pytest.raises(BadStart, match="has not been published yet: the last one is 1"):
            await history.begin(Cursor(SECOND, 5))
        with pytest.raises(BadStart, match="it is of another daemon"):
            await history.begin(Cursor("20270101T000000.000000Z", 5))
    for text in ("", "abc", "!", "gQ", "x" * 2000):
        with pytest.raises(BadStart, match="is no cursor of this feed"):
            parse_beginning(text)
    for start in (Start(), Start(epoch="x"), Start(epoch="x", offset=-1), Start(ts=1, offset=1)):
        with pytest.raises(BadStart, match="write"):
            parse_beginning(start)


def test_a_cursor_is_read_as_it_was_given() -> None:
    cursor = Cursor(FIRST, 123_456_789_012)
    assert parse_beginning(cursor.text) == cursor
    assert cursor.text.isascii()
    assert FIRST not in cursor.text
