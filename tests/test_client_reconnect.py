"""A client that makes its connection anew: what it takes up again, and what it says of the time between."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aggregator.bus.bus import Bus
from aggregator.client import Feed, FeedError, LiveBook, LockedOut, connect, pauses, sync
from aggregator.client.pauses import LONGEST_PAUSE_S, Pauses
from aggregator.feed.access import Token, hash_of
from aggregator.feed.address import TcpAddress, UnixAddress
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import BookSnapshot, Gap, Record, Trade
from tests.support.views import Fixed

pytestmark = pytest.mark.waits

PATIENCE = 20.0  # seconds; nothing here takes nearly as long
BTC = {"exchange": "alpha", "symbol": "BTC/USD", "raw_symbol": "XBTUSD"}
WHOLE = BookSnapshot(**BTC, bids=[("100", "2")], asks=[("101", "1")])  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(pauses, "LONGEST_PAUSE_S", 0.2)


class Daemon:
    """A feed that ends and comes back at the same place."""

    def __init__(self, address: UnixAddress | TcpAddress) -> None:
        self.address = address
        self.lives = 0
        self.bus: Bus
        self.server: FeedServer

    async def start(self, **settings: Any) -> None:
        self.lives += 1
        self.bus = Bus(f"epoch {self.lives}")
        self.bus.views.add("alpha", Fixed([WHOLE]))
        self.server = FeedServer(FeedSettings(listen=(self.address,), **settings), self.bus)
        await self.server.start()
        if isinstance(self.address, TcpAddress):
            self.address = self.address._replace(port=int(self.server.addresses[0].rpartition(":")[2]))
        self.bus.attach(self.server.publish)

    async def stop(self) -> None:
        await self.server.stop(0.2)

    async def has(self, *topics: str) -> None:
        """Wait until a client has just these topics."""
        async with asyncio.timeout(PATIENCE):
            while [sorted(one.topics) for one in self.server.status().subscribers] != [sorted(topics)]:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.005)

    async def cut(self) -> None:
        """Cut off whoever is there, without a word."""
        here = set(self.server.hub._subscribers)
        for ring in here:
            self.server.hub._subscribers[ring].peer.close()
        async with asyncio.timeout(PATIENCE):
            while here & set(self.server.hub._subscribers):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)

    def trade(self, count: int = 1) -> None:
        self.bus.publish([Trade(**BTC, ts_recv=1, price="1", size="1") for _ in range(count)])  # type: ignore[arg-type]


@pytest.fixture(params=["unix", "tcp", "http"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> UnixAddress | TcpAddress:
    return UnixAddress(tmp_path / "feed.sock") if request.param == "unix" else TcpAddress("127.0.0.1", 0, request.param)


@pytest.fixture
async def daemon(address: UnixAddress | TcpAddress) -> AsyncIterator[Daemon]:
    daemon = Daemon(address)
    await daemon.start()
    yield daemon
    await daemon.stop()


@pytest.fixture
async def near(tmp_path: Path) -> AsyncIterator[Daemon]:
    """One at a unix socket, where the transport makes no difference."""
    daemon = Daemon(UnixAddress(tmp_path / "feed.sock"))
    await daemon.start()
    yield daemon
    await daemon.stop()


@asynccontextmanager
async def reading(feed: Feed) -> AsyncIterator[Callable[[int], Any]]:
    """The records of a feed as they come; so many are waited for."""
    found: list[Record] = []

    async def read() -> None:
        async for record in feed:
            found.append(record)  # noqa: PERF401 - they are looked at while they come

    async def wait(count: int) -> list[Record]:
        async with asyncio.timeout(PATIENCE):
            while len(found) < count:
                await asyncio.sleep(0.005)
                if task.done():
                    task.result()
        return found

    task = asyncio.ensure_future(read())
    try:
        yield wait
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def told(opened: Record, closed: Record) -> tuple[str, str, int, int]:
    """The two records that tell of a lost connection: its number, the cause, and the offsets before and behind it."""
    assert isinstance(opened, Gap)
    assert isinstance(closed, Gap)
    for gap in (opened, closed):
        assert (gap.exchange, gap.symbol, gap.raw_symbol, gap.channel, gap.missed) == ("", None, None, None, None)
        assert (gap.gap_id, gap.ts_from) == (opened.gap_id, opened.ts_from)
    assert (opened.phase, opened.ts_to, opened.repair) == ("open", None, None)
    assert (closed.phase, closed.repair) == ("close", "none")
    assert 0 < opened.ts_from <= (closed.ts_to or 0) <= time.time_ns()
    return opened.gap_id, opened.cause, opened.offset, closed.offset


async def test_a_cut_is_told_and_the_topics_are_had_again(daemon: Daemon) -> None:
    async with connect(str(daemon.address), reconnect=True) as feed, reading(feed) as wait:
        await feed.subscribe("trades:*:*", "ticker:*:*")
        await feed.unsubscribe("ticker:*:*")
        daemon.trade(3)
        await wait(3)
        await daemon.cut()
        daemon.trade(2)
        await daemon.has("trades:*:*")
        daemon.trade()
        found = await wait(6)
        assert [record.offset for record in found if isinstance(record, Trade)] == [1, 2, 3, 6]
        assert told(found[3], found[4]) == ("client/1", "disconnect", 3, 5)
        assert "trades:alpha:BTC/USD" in await feed.topics()


async def test_a_restart_is_told(daemon: Daemon) -> None:
    async with connect(str(daemon.address), reconnect=True) as feed, reading(feed) as wait:
        await feed.subscribe("trades:*:*")
        for life in (1, 2, 3):
            await daemon.has("trades:*:*")
            daemon.trade(life)
            await wait({1: 1, 2: 5, 3: 10}[life])
            assert (feed.hello.epoch, feed.goodbye) == (f"epoch {life}", None)
            await daemon.stop()
            await asyncio.sleep(0.05)
            await daemon.start()
        await daemon.has("trades:*:*")
        found = await wait(12)
        assert [record.offset for record in found if isinstance(record, Trade)] == [1, 1, 2, 1, 2, 3]
        gaps = [record for record in found if isinstance(record, Gap)]
        assert [told(*gaps[at : at + 2])[2:] for at in (0, 2, 4)] == [(1, 0), (2, 0), (3, 0)]


async def test_the_blocking_client_does_the_same(daemon: Daemon) -> None:
    found: list[Record] = []

    def converse() -> None:
        with sync.connect(str(daemon.address), reconnect=True) as feed:
            feed.subscribe("trades:*:*")
            for record in feed:
                found.append(record)
                if len(found) == 6:
                    return

    async def come(count: int) -> None:
        while len(found) < count:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)

    async with asyncio.timeout(PATIENCE):
        talking = asyncio.ensure_future(asyncio.to_thread(converse))
        await daemon.has("trades:*:*")
        daemon.trade()
        await come(1)
        await daemon.cut()
        await daemon.has("trades:*:*")
        daemon.trade()
        await come(4)
        await daemon.stop()
        await daemon.start()
        await talking
    assert [type(record) for record in found] == [Trade, Gap, Gap, Trade, Gap, Gap]
    assert told(*found[1:3]) == ("client/1", "disconnect", 1, 1)
    assert told(*found[4:]) == ("client/2", "disconnect", 2, 0)


async def test_a_book_is_in_doubt_from_the_cut_to_its_next_snapshot(near: Daemon) -> None:
    changed: list[tuple[str, list[tuple[str, str]]]] = []

    async def keep(feed: Feed) -> None:
        async for book in feed.changes():
            changed.append((book.doubt, book.bids(1)))  # noqa: PERF401 - they are looked at while they come

    async with connect(str(near.address), reconnect=True) as feed:
        book = await feed.book("alpha:BTC/USD")
        keeping = asyncio.ensure_future(keep(feed))

        async def until(is_so: Callable[[LiveBook], bool]) -> None:
            async with asyncio.timeout(PATIENCE):
                while not is_so(book):  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.005)

        await until(lambda book: book.is_whole)
        await near.stop()
        await until(lambda book: not book.is_whole)
        assert changed[-1] == ("a gap is open: disconnect", [("100", "2")])
        await near.start()
        await until(lambda book: book.is_whole)
        assert changed[-1] == ("", [("100", "2")])
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_a_book_of_a_client_that_does_not_reconnect_is_in_doubt_at_the_end(near: Daemon) -> None:
    async with connect(str(near.address)) as feed:
        book = await feed.book("alpha:BTC/USD")
        async for _ in feed.changes():
            if book.is_whole:
                await near.stop()
        assert book.doubt == "the feed has hung up: the daemon ends"


async def test_a_question_of_the_time_between_is_answered_afterwards(near: Daemon) -> None:
    async with connect(str(near.address), reconnect=True) as feed:
        await near.stop()
        asked = asyncio.ensure_future(asyncio.gather(feed.topics(), feed.subscribe("trades:*:*"), feed.ping()))
        await asyncio.sleep(0.05)
        await near.start()
        async with asyncio.timeout(PATIENCE):
            assert (await asked)[0] == ["book:alpha:BTC/USD"]
        await near.has("trades:*:*")
        with pytest.raises(TimeoutError):  # nobody had a topic: nothing was lost
            await asyncio.wait_for(anext(feed.lines()), 0.1)


async def test_a_wait_that_is_given_up_meanwhile_spoils_nothing(near: Daemon) -> None:
    async with connect(str(near.address), reconnect=True) as feed:
        await feed.subscribe("trades:*:*")
        await near.stop()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(feed.ping(), 0.03)
        await near.start()
        async with reading(feed) as wait:
            await near.has("trades:*:*")
            near.trade()
            assert [type(record) for record in await wait(3)] == [Gap, Gap, Trade]


async def test_numbers_and_time_hold_on(near: Daemon) -> None:
    async with connect(str(near.address), reconnect=True) as feed:
        lines = feed.lines()
        await feed.subscribe("trades:*:*", numbers="float", time="iso")
        await near.cut()
        coming = asyncio.ensure_future(anext(lines))
        async with asyncio.timeout(PATIENCE):
            gap = json.loads(await coming)
            assert json.loads(await anext(lines))["ts_to"] > gap["ts_from"]
            await near.has("trades:*:*")
            near.trade()
            trade = json.loads(await anext(lines))
        assert (gap["type"], gap["phase"], gap["ts_recv"][-1], gap["ts_from"][-1]) == ("gap", "open", "Z", "Z")
        assert (trade["price"], trade["ts_recv"]) == (1, "1970-01-01T00:00:00.000000001Z")


async def test_more_topics_than_a_line_has_room_for(near: Daemon) -> None:
    async with connect(str(near.address), reconnect=True) as feed, reading(feed) as wait:
        topics = [f"trades:*:{number:0>200}" for number in range(900)]
        for start in range(0, 900, 100):
            await feed.subscribe(*topics[start : start + 100])
        await near.cut()
        await near.has(*topics)
        assert [type(record) for record in await wait(2)] == [Gap, Gap]


async def test_a_token_that_is_taken_back_ends_it(near: Daemon) -> None:
    both = (Token("desk", hash_of("x" * 43)), Token("narrow", hash_of("y" * 43), ("trades:*:*",)))
    narrow = Token("desk", hash_of("x" * 43), ("trades:*:*",))
    for tokens, said in (((narrow,), "the feed refuses now: 'book:"), ((both[1],), "the token is wrong")):
        near.address = TcpAddress("127.0.0.1", 0)
        await near.stop()
        await near.start(tokens=both)
        async with connect(str(near.address), token="x" * 43, reconnect=True) as feed:
            await feed.subscribe("book:*:*", snapshot=False)
            await near.stop()
            await near.start(tokens=tokens)
            assert isinstance(await asyncio.wait_for(anext(aiter(feed)), PATIENCE), Gap)
            with pytest.raises(LockedOut, match=said):
                await asyncio.wait_for(anext(feed.lines()), PATIENCE)


async def test_the_first_try_is_the_only_one(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="is not there: does the daemon run"):
        async with connect(tmp_path / "feed.sock", reconnect=True):
            pass


def test_pauses_grow_and_chance_spreads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    longest = [0.0] * 12
    for _ in range(300):
        tries, now = Pauses(), 1000.0
        tries.connected(now)
        for number in range(12):
            tries.failed(now)
            longest[number] = max(longest[number], tries.left(now))
    assert all(
        0.8 * most < found <= most for found, most in zip(longest, (0.5, 1, 2, 4, 8, 16, *(30,) * 6), strict=True)
    )
    tries = Pauses()
    for _ in range(10):
        tries.failed(0.0)
    tries.connected(10.0)
    tries.failed(10.0 + LONGEST_PAUSE_S + 1)
    assert tries.left(10.0 + LONGEST_PAUSE_S + 1) <= 0.5
