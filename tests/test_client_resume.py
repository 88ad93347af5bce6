"""A client that goes on by itself where its connection was cut, and a program that begins where another has ended."""

import asyncio
import itertools
import json
import random
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aggregator.client import Feed, FeedError, StreamPosition, connect, pauses, sync
from aggregator.feed.address import TcpAddress, UnixAddress
from aggregator.records import BookSnapshot, Gap, Health
from tests.support.cutter import Cutter
from tests.support.numbered import BASE_NS, BOOKS, EVERY, NumberedFeed, Reader, numbered

pytestmark = pytest.mark.waits

PATIENCE = 60.0  # seconds; nothing here takes nearly as long
EPOCHS = [f"2026010{number}T030405.000000Z" for number in range(1, 9)]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "FIRST_PAUSE_S", 0.005)
    monkeypatch.setattr(pauses, "LONGEST_PAUSE_S", 0.02)


def judge(reader: Reader, last: StreamPosition, *, cuts: int) -> None:
    """What a reader was given is everything up to the last, once, and it was told how that went."""
    assert (reader.got[0].offset, reader.got[-1]) == (1, last)
    assert reader.missing() == []
    assert len([gap for gap in reader.cuts if gap.phase == "open"]) >= cuts
    for opened, closed in zip(reader.cuts[::2], reader.cuts[1::2], strict=True):
        assert (opened.phase, closed.phase, opened.gap_id) == ("open", "close", closed.gap_id)
        assert closed.repair == ("partial" if reader.holes else "full"), closed
    assert reader.whole > 0


async def follow(feed: Feed, reader: Reader, is_end: Callable[[StreamPosition], bool], **options: Any) -> None:
    await feed.subscribe("trades:*:*", "book:alpha:*", **options)
    reader.books |= {symbol: await feed.book(f"alpha:{symbol}") for symbol in BOOKS}
    async for record in feed:
        reader.take(record, feed.position)
        if feed.position is not None and is_end(feed.position) and feed.is_live:
            break
    assert all(book.is_whole for book in reader.books.values()), [book.doubt for book in reader.books.values()]


@pytest.mark.parametrize("start", [None, "earliest"])
@pytest.mark.parametrize("scheme", ["unix", "tcp", "http"])
async def test_a_connection_that_is_cut_anywhere_is_taken_up_again(
    scheme: str, start: str | None, tmp_path: Path
) -> None:
    chance = random.Random(7)
    listen = f"unix:{tmp_path}/feed.sock" if scheme == "unix" else f"{scheme}:127.0.0.1:0"
    async with numbered(tmp_path, EPOCHS[0], listen) as daemon:
        cutter, address = await cutting(daemon, scheme, tmp_path, chance)
        last: list[StreamPosition] = []
        reader = Reader()
        options = {} if start is None else {"start": start}
        try:
            async with asyncio.timeout(PATIENCE), connect(address, reconnect=True) as feed:
                following = asyncio.ensure_future(follow(feed, reader, lambda place: [place] == last, **options))
                await subscribed(daemon)
                await publish_while_cutting(daemon, cutter, reader, following, chance)
                last.append(StreamPosition(EPOCHS[0], daemon.bus.offset + 1))
                daemon.publish(1)
                await following
                judge(reader, last[0], cuts=10)
                assert feed.cursor
        finally:
            await cutter.stop()


async def test_the_blocking_client_takes_it_up_as_well(tmp_path: Path) -> None:
    chance = random.Random(8)
    async with numbered(tmp_path, EPOCHS[0], f"unix:{tmp_path}/feed.sock") as daemon:
        cutter, address = await cutting(daemon, "unix", tmp_path, chance)
        last: list[StreamPosition] = []

        reader = Reader()

        def converse() -> None:
            with sync.connect(address, reconnect=True) as feed:
                feed.subscribe("trades:*:*")
                reader.books |= {symbol: feed.book(f"alpha:{symbol}") for symbol in BOOKS}
                for record in feed:
                    reader.take(record, feed.position)
                    if [feed.position] == last and feed.is_live:
                        return

        try:
            async with asyncio.timeout(PATIENCE):
                following = asyncio.ensure_future(asyncio.to_thread(converse))
                await subscribed(daemon, 3)
                await publish_while_cutting(daemon, cutter, reader, following, chance)
                last.append(StreamPosition(EPOCHS[0], daemon.bus.offset + 1))
                daemon.publish(1)
                await following
                judge(reader, last[0], cuts=10)
        finally:
            await cutter.stop()


async def cutting(daemon: NumberedFeed, scheme: str, path: Path, chance: random.Random) -> tuple[Cutter, str]:
    far: UnixAddress | TcpAddress = UnixAddress(path / "feed.sock")
    if scheme != "unix":
        far = TcpAddress("127.0.0.1", int(daemon.server.addresses[0].rpartition(":")[2]), scheme)
    cutter = Cutter(far, path / "near.sock", chance)
    return cutter, await cutter.start()


async def subscribed(daemon: NumberedFeed, count: int = 4) -> None:
    """Wait until a client has so many topics."""
    while not any(len(one.topics) >= count for one in daemon.server.status().subscribers):  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.005)


async def publish_while_cutting(
    daemon: NumberedFeed,
    cutter: Cutter,
    reader: Reader,
    following: "asyncio.Future[None]",
    chance: random.Random,
    cuts: int = 40,
) -> None:
    """Publish, and have connections cut: early, within what was missed, or within what comes then.

    A connection that is cut before the client has its place tells it nothing new, so that cuts alone do not count.
    """
    while (cutter.cuts < cuts or len(reader.cuts) < cuts) and not following.done():
        before = cutter.cuts
        if chance.random() < 0.5:
            cutter.most = None
            while reader.is_cut and not following.done():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.001)
        cutter.most = chance.choice((2_000, 20_000, 40_000))
        while cutter.cuts == before and not following.done():
            daemon.publish(chance.randrange(1, 30))
            await asyncio.sleep(chance.choice((0, 0.002)))
    cutter.most = None


async def test_a_daemon_that_is_started_anew_or_killed_is_followed_on(tmp_path: Path) -> None:
    """Its lives are processes; two of them end by `kill -9`. What they had not written yet is named by gaps."""
    chance = random.Random(9)
    cutter = Cutter(UnixAddress(tmp_path / "feed.sock"), tmp_path / "near.sock", chance)
    lives: list[asyncio.subprocess.Process] = []

    async def begin_life() -> None:
        program = (sys.executable, "-m", "tests.support.numbered", str(tmp_path), EPOCHS[len(lives)], "5000")
        process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        lives.append(process)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"

    async def end_life(how: signal.Signals) -> None:
        lives[-1].send_signal(how)
        await lives[-1].wait()

    reader = Reader()

    def is_end(place: StreamPosition) -> bool:
        return place >= StreamPosition(EPOCHS[3], 100)

    try:
        async with asyncio.timeout(PATIENCE):
            await begin_life()
            address = await cutter.start()
            async with connect(address, reconnect=True) as feed:
                following = asyncio.ensure_future(follow(feed, reader, is_end))
                for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
                    cutter.most, before = 50_000, cutter.cuts
                    while cutter.cuts < before + 3 and not following.done():  # noqa: ASYNC110 - nothing tells of it
                        await asyncio.sleep(0.01)
                    cutter.most = None
                    await end_life(how)
                    await begin_life()
                await following
    finally:
        await cutter.stop()
        for process in lives:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert [place.epoch for place in dict.fromkeys(StreamPosition(place.epoch, 0) for place in reader.got)] == EPOCHS[
        :4
    ]
    assert reader.missing() == []
    opened = [gap for gap in reader.cuts if gap.phase == "open"]
    closed = [gap for gap in reader.cuts if gap.phase == "close"]
    assert [gap.gap_id for gap in opened] == [gap.gap_id for gap in closed]
    assert {gap.repair for gap in closed} <= {"full", "partial"}
    assert len(opened) >= 3
    assert reader.whole > 0


@pytest.mark.parametrize("scheme", ["unix", "tcp", "http"])
async def test_a_program_begins_where_another_has_ended(scheme: str, tmp_path: Path) -> None:
    """By the place of its last record nothing comes twice; by the cursor some may, but nothing is left out."""
    listen = f"unix:{tmp_path}/feed.sock" if scheme == "unix" else f"{scheme}:127.0.0.1:0"
    chance = random.Random(10)
    got: list[int] = []
    start: Any = "earliest"
    async with asyncio.timeout(PATIENCE), numbered(tmp_path, EPOCHS[0], listen) as daemon:
        for number in range(20):
            daemon.publish(chance.randrange(1, 200))
            wanted = chance.randrange(1, 100)
            async with connect(daemon.server.addresses[0]) as feed:
                await feed.subscribe("trades:*:*", start=start, policy="lossless")
                await feed.subscribe("health:*:*")  # it waits until the past is told
                daemon.publish(60)
                async for record in feed:
                    if not isinstance(record, Health):
                        got.append(record.offset)
                        assert feed.position == StreamPosition(EPOCHS[0], record.offset)
                        wanted -= 1
                    if not wanted:
                        break
                assert feed.cursor
                start = feed.cursor if number % 2 else feed.position
            if number % 2:
                async with connect(daemon.server.addresses[0]) as feed:
                    await feed.subscribe("trades:*:*", start=start)
                    first = await anext(aiter(feed))
                    got = [offset for offset in got if offset < first.offset]
    assert got == [offset for offset in range(2, got[-1] + 1) if offset % EVERY > 1]


async def test_the_past_goes_with_the_other_options(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), numbered(tmp_path, EPOCHS[0], f"unix:{tmp_path}/feed.sock") as daemon:
        daemon.publish(10)

        def converse() -> list[dict[str, Any]]:
            with sync.connect(tmp_path / "feed.sock") as feed:
                with pytest.raises(FeedError, match="is a field of no record"):
                    feed.subscribe("trades:*:*", fields=["prize"], start="earliest")
                with pytest.raises(FeedError, match="is no cursor of this feed"):
                    feed.subscribe("trades:*:*", start="yesterday")
                at = datetime.fromtimestamp(BASE_NS // 10**9, UTC)
                feed.subscribe("trades:*:*", start=at, fields=["id", "ts_recv"], time="iso", policy="lossless")
                # what is on the disk by now begins after that time, and a gap says so
                rows = (json.loads(line) for line in feed.lines())
                return list(itertools.islice((row for row in rows if row["type"] == "trade"), 6))

        rows = await asyncio.to_thread(converse)
        assert rows[0] == {"type": "trade", "id": "2", "ts_recv": "2026-01-02T03:04:05.000000002Z"}
        assert [row["id"] for row in rows] == ["2", "3", "4", "5", "8", "9"]


async def test_what_is_shown_shallow_or_seldom_is_had_again_by_its_name(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), numbered(tmp_path, EPOCHS[0], f"unix:{tmp_path}/feed.sock") as daemon:
        cutter, address = await cutting(daemon, "unix", tmp_path, random.Random(11))
        try:
            async with connect(address, reconnect=True) as feed:
                granted = await feed.subscribe("book:alpha:A/USD", depth=1, interval_ms=50)
                assert granted.topics == ["book.1.50ms:alpha:A/USD"]
                await feed.subscribe("trades:alpha:S2/USD", policy="conflate")
                cutter.most = 1
                daemon.publish(10)
                closed = 0
                async for record in feed:
                    if isinstance(record, Gap):
                        cutter.most = None
                        closed += record.phase == "close"
                        assert record.repair in {None, "partial"}
                    elif isinstance(record, BookSnapshot) and closed:
                        assert record.conn == "derived/book.1.50ms"
                        break
                await feed.unsubscribe("book.1.50ms:alpha:A/USD")
                with pytest.raises(FeedError, match="is no book"):
                    await feed.subscribe("trades:alpha:*", depth=1)
        finally:
            await cutter.stop()
