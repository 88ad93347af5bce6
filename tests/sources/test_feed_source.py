"""The source `feed` at real feeds: a daemon's stream passes to another bus over a socket, cut and taken up."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from aggregator.bus.bus import Batch, Bus
from aggregator.feed.access import Token
from aggregator.feed.address import parse_address
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import BookDelta, BookSnapshot, Gap, Instrument, Record, Trade
from aggregator.sinks.journal.sink import SINK
from aggregator.sinks.running import running
from aggregator.sources.feed import SOURCE, FeedSourceKeys
from aggregator.sources.running import RunningSources
from aggregator.sources.source import Reception, SourceConfig
from tests.sinks.test_journal import BASE_NS, FIRST, SECOND, trade, written
from tests.support.views import Fixed

pytestmark = pytest.mark.waits
LATER = "20990101T000000.000000Z"


class Upstream:
    """A daemon that others link to: a bus, a feed, and perhaps a journal."""

    def __init__(self, path: Path, epoch: str, *, has_journal: bool = True, token: Token | None = None) -> None:
        self.path = path
        self.bus = Bus(epoch)
        self.has_journal = has_journal
        self.token = token

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Bus]:
        journal = running(SINK.configured(path=self.path / "journal"), self.bus, clock=lambda: BASE_NS)
        if self.has_journal:
            await journal.start()
        listen = (parse_address(f"unix:{self.path}/up.sock"), parse_address("tcp:127.0.0.1:0"))
        tokens = () if self.token is None else (self.token,)
        self.server = FeedServer(FeedSettings(listen=listen, tokens=tokens), self.bus, "tokyo")
        await self.server.start()
        self.bus.attach(self.server.publish)
        try:
            yield self.bus
        finally:
            self.bus.detach(self.server.publish)
            await self.server.stop(0.2)
            if self.has_journal:
                journal.end()
                assert journal.task is not None
                await journal.task

    def cut(self) -> None:
        """Hang up on everybody, without a word."""
        for subscriber in list(self.server.hub._subscribers.values()):
            subscriber.peer.close()


class Here:
    """The daemon that passes on."""

    def __init__(self, path: Path, epoch: str = SECOND) -> None:
        self.path = path
        self.bus = Bus(epoch)
        self.told: list[Record] = []
        self.bus.attach(self._take)
        self.sources = RunningSources(self.bus, [], room=self._room, progress=dict)

    def _take(self, batch: Batch) -> None:
        self.told += batch.records

    async def _room(self) -> None:
        """There always is."""

    @asynccontextmanager
    async def linked(
        self, url: str | None = None, topics: tuple[str, ...] = ("*:*:*",), **keys: Any
    ) -> AsyncIterator[None]:
        settings = FeedSourceKeys(url=url or f"unix:{self.path}/up.sock", **keys)
        reception = Reception(topics=topics, backoff=0.01, longest_backoff=0.05)
        self.sources.start([SourceConfig(SOURCE, settings, reception)], "london", self.path / "state")
        try:
            yield
        finally:
            await self.sources.end()
            await self.sources.keep()

    @property
    def state(self) -> str:
        return self.sources.status()[0].state

    @property
    def trouble(self) -> str:
        return self.sources.status()[0].trouble or ""

    def ids(self) -> list[int]:
        return [int(record.id or 0) for record in self.told if isinstance(record, Trade)]

    def gaps(self) -> list[tuple[str, str, str | None]]:
        return [(gap.phase, gap.cause, gap.repair) for gap in self.told if isinstance(gap, Gap)]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - it comes over a socket
            await asyncio.sleep(0.005)


async def test_a_link_that_is_cut_goes_on_where_it_was(tmp_path: Path) -> None:
    up, here = Upstream(tmp_path, FIRST), Here(tmp_path)
    async with up.serving() as bus, here.linked():
        await until(lambda: here.state == "live")
        for round in range(5):
            numbers = range(round * 20, round * 20 + 20)
            for number in numbers[:10]:
                bus.publish([trade(number)])
            await until(lambda last=numbers[9]: last in here.ids())  # type: ignore[misc]
            up.cut()
            for number in numbers[10:]:
                bus.publish([trade(number)])
        await until(lambda: 99 in here.ids())
    assert here.ids() == list(range(100))
    assert here.gaps() == [("open", "disconnect", None), ("close", "disconnect", "full")] * 5 + [
        ("open", "restart", None)
    ]
    trades = [record for record in here.told if isinstance(record, Trade)]
    assert [record.upstream for record in trades] == [(FIRST, offset, "tokyo") for offset in range(1, 101)]


async def test_the_next_life_of_the_other_daemon_goes_on(tmp_path: Path) -> None:
    here = Here(tmp_path, LATER)
    async with here.linked():
        async with Upstream(tmp_path, FIRST).serving() as bus:
            await until(lambda: here.state == "live")
            bus.publish([trade(n) for n in range(5)])
            await until(lambda: 4 in here.ids())
        await until(lambda: here.state == "waiting")
        async with Upstream(tmp_path, SECOND).serving() as bus:
            bus.publish([trade(n) for n in range(5, 10)])
            await until(lambda: 9 in here.ids())
            assert here.gaps() == [("open", "disconnect", None), ("close", "disconnect", "full")]
            assert here.ids() == list(range(10))
            assert here.told[-1].upstream == (SECOND, 5, "tokyo")


async def test_a_restart_here_goes_on_and_tells_nothing_twice(tmp_path: Path) -> None:
    async with Upstream(tmp_path, FIRST).serving() as bus:
        first = Here(tmp_path)
        async with first.linked():
            await until(lambda: first.state == "live")
            bus.publish([trade(n) for n in range(5)])
            await until(lambda: 4 in first.ids())
        bus.publish([trade(n) for n in range(5, 10)])
        second = Here(tmp_path, LATER)
        async with second.linked():
            await until(lambda: 9 in second.ids())
        assert first.ids() + second.ids() == list(range(10))
        assert second.gaps()[0] == ("close", "restart", "full")


async def test_after_a_kill_the_journal_here_says_how_far_it_came(tmp_path: Path) -> None:
    """The file of the place is older than what the journal has: nothing comes into it twice."""
    async with Upstream(tmp_path, FIRST).serving() as bus:
        here = Here(tmp_path, SECOND)
        journal = running(SINK.configured(path=tmp_path / "here"), here.bus, clock=lambda: BASE_NS)
        await journal.start()
        async with here.linked():
            await until(lambda: here.state == "live")
            bus.publish([trade(n) for n in range(5)])
            await until(lambda: 4 in here.ids())
        (place,) = (tmp_path / "state").glob("*.place")
        old = json.loads(place.read_bytes())
        old["cursor"]["offset"], old["own"]["offset"], old["is_end"] = 2, 2, False
        place.write_bytes(json.dumps(old).encode())
        await written(here.bus.history)
        journal.end()
        assert journal.task is not None
        await journal.task
        bus.publish([trade(n) for n in range(5, 8)])
        again = Here(tmp_path, LATER)
        journal = running(SINK.configured(path=tmp_path / "here"), again.bus, clock=lambda: BASE_NS)
        await journal.start()
        async with again.linked():
            await until(lambda: 7 in again.ids())
        assert again.ids() == [5, 6, 7]
        journal.end()
        assert journal.task is not None
        await journal.task


async def test_without_a_journal_there_what_is_missed_is_told(tmp_path: Path) -> None:
    up, here = Upstream(tmp_path, FIRST, has_journal=False), Here(tmp_path)
    async with up.serving() as bus, here.linked():
        await until(lambda: here.state == "live")
        bus.publish([trade(1)])
        await until(lambda: here.ids() == [1])
        up.cut()
        bus.publish([trade(2)])
        await until(lambda: here.gaps()[-1:] == [("close", "disconnect", "none")])
        bus.publish([trade(3)])
        await until(lambda: here.ids() == [1, 3])


async def test_books_and_instruments_are_there_for_readers_here(tmp_path: Path) -> None:
    names = {"exchange": "alpha", "symbol": "BTC/USDT", "raw_symbol": "A", "source": "ws", "conn": "alpha/main.1#1"}
    book = BookSnapshot(**names, bids=[("10", "1")], asks=[("11", "2")], ts_recv=1)  # type: ignore[arg-type]
    instrument = Instrument(
        exchange="alpha", symbol="BTC/USDT", raw_symbol="A", source="rest", tick_size="0.1", ts_recv=1
    )
    up, here = Upstream(tmp_path, FIRST), Here(tmp_path)
    up.bus.views.add("alpha", Fixed([structs.replace(book)]))
    up.bus.instruments["alpha", "BTC/USDT"] = instrument
    async with up.serving() as bus:
        bus.publish([structs.replace(instrument), structs.replace(book)])
        async with here.linked():
            await until(lambda: ("alpha", "BTC/USDT") in here.bus.instruments and bool(here.bus.views.books()))
            bus.publish([BookDelta(**names, bids=[("10", "7")], asks=[], ts_recv=1)])  # type: ignore[arg-type]
            await until(lambda: any(isinstance(record, BookDelta) for record in here.told))
            (found,) = here.bus.views.books()
            assert (found.bids, found.asks) == ([("10", "7")], [("11", "2")])
            assert here.bus.instruments["alpha", "BTC/USDT"].tick_size == "0.1"


async def test_only_what_is_asked_for_comes(tmp_path: Path) -> None:
    up, here = Upstream(tmp_path, FIRST), Here(tmp_path)
    async with up.serving() as bus, here.linked(topics=("trades:alpha:B",)):
        await until(lambda: here.state == "live")
        bus.publish([trade(1, "A"), trade(2, "B"), trade(3, "A"), trade(4, "B")])
        await until(lambda: 4 in here.ids())
        assert here.ids() == [2, 4]


async def test_two_daemons_that_pass_on_each_others_records_are_told_of_the_loop(tmp_path: Path) -> None:
    """What comes back here is what this daemon, `london`, has published itself."""
    up, here = Upstream(tmp_path, FIRST), Here(tmp_path)
    async with up.serving() as bus, here.linked():
        await until(lambda: here.state == "live")
        bus.publish([structs.replace(trade(1), upstream=(SECOND, 1, "london"))])
        await until(lambda: here.state == "refused")
        assert here.ids() == []
        assert "a loop" in here.trouble
        assert "london/tokyo" in here.trouble


async def test_a_wrong_token_is_refused_and_a_right_one_let_in(tmp_path: Path) -> None:
    right = Token("desk", f"sha256:{'0' * 64}")
    up, here = Upstream(tmp_path, FIRST, token=right), Here(tmp_path)
    (tmp_path / "token").write_text("wrong\n")
    async with up.serving():
        url = up.server.addresses[1]
        async with here.linked(url, token=f"file:{tmp_path}/token"):
            await until(lambda: here.state == "refused")
            assert "token" in here.trouble


async def test_nobody_there_is_waited_for(tmp_path: Path) -> None:
    here = Here(tmp_path)
    async with here.linked():
        await until(lambda: here.state == "waiting")
        assert "is not there" in here.trouble
        async with Upstream(tmp_path, FIRST).serving():
            await until(lambda: here.state == "live")


async def test_what_listens_there_and_is_no_feed_is_said_to_be_none(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    here = Here(tmp_path)
    port = server.sockets[0].getsockname()[1]
    async with here.linked(f"tcp:127.0.0.1:{port}"):
        await until(lambda: "does not speak as the feed does" in here.trouble)
    server.close()
