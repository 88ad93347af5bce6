"""The source `nats` on a real server: what the sink wrote comes into another daemon, whoever is killed on the way."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import nats
import pytest

from aggregator.bus.bus import Batch, Bus
from aggregator.records import Gap, Record, Trade
from aggregator.sinks.brokers.nats import SINK
from aggregator.sinks.brokers.nats_client import Watch
from aggregator.sinks.journal.offline import StillJournal
from aggregator.sinks.running import QueuedSink
from aggregator.sources.nats import SOURCE, NatsSourceKeys, StreamReader
from aggregator.sources.running import RunningSources
from aggregator.sources.source import Reception, SourceConfig
from tests.sources.test_feed_source import until
from tests.support.delivery import Delivery, Row, is_whole
from tests.support.killed_daemons import Lives
from tests.support.servers import Server
from tests.support.servers import nats as nats_server
from tests.support.strangers import publish_foreign

pytestmark = pytest.mark.waits

COUNT = 10_000
READS = """\
state = "{home}/state"

[[sources]]
type = "nats"
servers = ["nats://127.0.0.1:{port}"]
begin = "earliest"
backoff = "50ms"
longest_backoff = "500ms"

[journal]
path = "{home}/journal"
keep = "36500d"  # the records are of 2026

[feed]
listen = ["unix:{home}/feed.sock"]
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = nats_server(tmp_path / "nats")
    server.start()
    yield server
    server.kill()


def url(server: Server) -> str:
    return f"nats://127.0.0.1:{server.port}"


def delivery(server: Server, folder: Path, **settings: object) -> Delivery:
    return Delivery(SINK, folder, servers=(url(server),), stream_bytes=1 << 29, **settings)


class Here:
    """A daemon that reads."""

    def __init__(self, server: Server, path: Path, epoch: str = "20270101T000000.000000Z") -> None:
        self.server = server
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
    async def linked(self, topics: tuple[str, ...] = ("*:*:*",), **keys: Any) -> AsyncIterator[None]:
        settings = NatsSourceKeys(servers=(url(self.server),), **keys)
        reception = Reception(topics=topics, backoff=0.01, longest_backoff=0.05)
        self.sources.start([SourceConfig(SOURCE, settings, reception)], "london", self.path / "state")
        try:
            yield
        finally:
            await self.sources.end()
            await self.sources.keep()

    @property
    def status(self) -> Any:
        return self.sources.status()[0]

    def came(self) -> list[Record]:
        """The records that were published there."""
        return [record for record in self.told if record.upstream is not None]

    def gaps(self) -> list[tuple[str, str, str | None]]:
        return [
            (gap.phase, gap.cause, gap.repair) for gap in self.told if isinstance(gap, Gap) and gap.upstream is None
        ]


def told_there(came: list[Row]) -> list[Row]:
    """Records as they were before they were passed on."""
    return [
        {key: value for key, value in row.items() if key != "upstream"} | {"offset": row["upstream"][1]} for row in came
    ]


def kept(journal: Path) -> list[Row]:
    """The records of the other daemon in the journal of the one that read them.

    The feed withholds changes of a book after a restart until it comes whole, and those here have no whole one.
    """
    rows = [json.loads(line) for page in StillJournal(journal).pages(["*:*:*"], 0) for line in page.lines]
    return [row for row in rows if "upstream" in row and row.get("source") != "derived"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("mode", ["frames", "records"])
async def test_every_record_once_though_the_server_and_the_daemon_are_killed(
    server: Server, tmp_path: Path, mode: str
) -> None:
    home = tmp_path / "here"
    daemon = Lives(home, READS.format(home=home, port=server.port))
    daemon.start()
    await daemon.begun()
    given = delivery(server, tmp_path, mode=mode)
    try:
        await given.sink.start()
        for round in range(3):
            await given.publish(COUNT // 5)
            server.kill()
            await given.fails()
            await asyncio.to_thread(server.start)
            if round < 2:
                await asyncio.sleep(1.5)  # one that dies before its place was kept for the first time has all twice
                await daemon.again(9)
        await given.publish(COUNT // 5)
        assert is_whole(await given.end(), COUNT // 5 * 4)
        while len(rows := kept(home / "journal")) < COUNT // 5 * 4:  # noqa: ASYNC110 - a file is read
            await asyncio.sleep(0.5)
    finally:
        daemon.abandon()
    assert [row["upstream"][1] for row in rows] == [row["offset"] for row in given.published]
    assert told_there(rows) == given.published


async def test_a_link_that_is_cut_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    given, here = delivery(server, tmp_path), Here(server, tmp_path)
    async with here.linked(begin="earliest"):
        assert is_whole(await given.run(COUNT, outages=3, down=server.kill, up=server.start), COUNT)
        await until(lambda: len(here.came()) == COUNT)
    assert [record.upstream[1] for record in here.came() if record.upstream] == list(range(1, COUNT + 1))
    kinds = set(here.gaps())
    assert kinds <= {("open", "disconnect", None), ("close", "disconnect", "full"), ("open", "restart", None)}


async def test_what_the_stream_has_let_go_is_told(server: Server, tmp_path: Path) -> None:
    given, here = delivery(server, tmp_path), Here(server, tmp_path)
    await given.sink.start()
    async with here.linked(begin="earliest"):
        await given.publish(500)
        await until(lambda: len(here.came()) == 500)
    await given.publish(500)
    await until(lambda: given.sink.status().held == 0)
    client = await nats.connect(url(server))
    info = await client.jetstream().stream_info("market")
    await client.jetstream().purge_stream("market", keep=2)
    await client.close()
    assert info.state.messages > 4
    later = Here(server, tmp_path, "20280101T000000.000000Z")
    async with later.linked():
        await given.publish(500)
        await given.end()
        await until(lambda: bool(later.came()) and later.came()[-1].upstream[1] == 1500)  # type: ignore[index]
    first = later.came()[0]
    assert first.upstream is not None
    assert first.upstream[1] > 501
    closed = {gap for gap in later.gaps() if gap[0] == "close"}
    assert ("close", "restart", "none") in closed


async def test_a_restart_that_misses_nothing_says_so(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path)
    await given.sink.start()
    offsets: list[int] = []

    def have_come(here: Here, life: int) -> bool:
        return len(offsets) + len(here.came()) == 700 * (life + 1)

    for life in range(3):
        here = Here(server, tmp_path, f"2027010{life + 1}T000000.000000Z")
        async with here.linked(begin="earliest"):
            await given.publish(700)
            await until(partial(have_come, here, life))
        offsets += [record.upstream[1] for record in here.came() if record.upstream]
        assert {gap for gap in here.gaps() if gap[0] == "close"} <= {("close", "restart", "full")}
    await given.end()
    assert offsets == list(range(1, 2101))


async def test_a_stream_that_never_had_a_message_begins_with_the_first(server: Server) -> None:
    """The server says 0 (2.15): as a place that would be none, and the next start would not go on from there."""
    client = await nats.connect(url(server))
    try:
        await client.jetstream().add_stream(name="market", subjects=["market.>"])
        reader = StreamReader(client, Watch(), NatsSourceKeys(servers=(url(server),)))
        assert await reader.numbers() == (1, 0)
    finally:
        await client.close()


async def test_topics_that_are_not_wanted_do_not_come(server: Server, tmp_path: Path) -> None:
    given, here = delivery(server, tmp_path), Here(server, tmp_path)
    await given.run(1000)
    async with here.linked(("trades:alpha:BTC/USDT",), begin="earliest"):
        await until(lambda: here.status.state == "live")
    kinds = {(type(record), record.exchange, record.symbol) for record in here.came()}
    assert (Trade, "alpha", "BTC/USDT") in kinds
    assert kinds <= {(Trade, "alpha", "BTC/USDT"), (Gap, "alpha", "BTC/USDT")}
    assert here.gaps() == [("open", "restart", None)]


async def test_core_messages_are_had_whole_while_the_link_stands(server: Server, tmp_path: Path) -> None:
    given, here = delivery(server, tmp_path, mode="core"), Here(server, tmp_path)
    await given.sink.start()
    async with here.linked(mode="core"):
        while not here.came():
            await given.publish(1)
        await given.publish(COUNT)
        await until(lambda: len(here.came()) > COUNT)
        first = here.came()[0].upstream
        assert first is not None
        last = len(given.published)
        await until(lambda: here.came()[-1].upstream[1] == last)  # type: ignore[index]
        assert [r.upstream[1] for r in here.came() if r.upstream] == list(range(first[1], last + 1))
        assert here.gaps() == []
    await given.end()


async def test_core_messages_that_nobody_heard_are_told(server: Server, tmp_path: Path) -> None:
    """What is published while the link is broken is gone; that something is shows in what comes next."""
    given, here = delivery(server, tmp_path, mode="core"), Here(server, tmp_path)
    await given.sink.start()
    async with here.linked(mode="core"):
        while not here.came():
            await given.publish(1)
        server.kill()
        await until(lambda: ("open", "disconnect", None) in here.gaps())
        await asyncio.to_thread(server.start)
        while not any(gap[0] == "close" for gap in here.gaps()):
            await given.publish(10)
    await given.end()
    assert {gap[2] for gap in here.gaps() if gap[0] == "close"} == {"none"}


def _name(given: Delivery, daemon: str) -> None:
    """Have the sink write in the name of this daemon."""
    assert isinstance(given.sink, QueuedSink)
    given.sink._context.daemon = daemon


async def test_a_daemon_that_reads_what_it_writes_is_refused(server: Server, tmp_path: Path) -> None:
    given, here = delivery(server, tmp_path), Here(server, tmp_path)
    _name(given, "london")
    await given.run(10)
    async with here.linked(begin="earliest"):
        await until(lambda: here.status.state == "refused")
    assert "it is this daemon itself" in here.status.trouble


async def test_two_daemons_that_write_to_one_stream_are_refused(server: Server, tmp_path: Path) -> None:
    here = Here(server, tmp_path)
    one, other = delivery(server, tmp_path), delivery(server, tmp_path)
    _name(one, "tokyo")
    _name(other, "osaka")
    other.bus.epoch = "20990101T000000.000000Z"
    for each in (one, other):
        await each.sink.start()
    async with here.linked(begin="earliest"):
        while here.status.state != "refused":
            await one.publish(5)
            await other.publish(5)
            await asyncio.sleep(0.01)
    assert "two daemons write there" in here.status.trouble
    await one.end()
    await other.end()


async def test_messages_of_others_are_passed_over(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given, here = delivery(server, tmp_path), Here(server, tmp_path)
    await given.sink.start()
    async with here.linked():
        for _ in range(3):
            await given.publish(20)
            await until(lambda: len(here.came()) == len(given.published))
            await publish_foreign(server.port, "market.other", "market.frames")
        assert here.gaps() == []
    assert [r.upstream[1] for r in here.came() if r.upstream] == list(range(1, 61))
    assert here.status.links == 1
    assert caplog.text.count("is passed over") == 1
    assert re.search(r"message \d+ of the stream market at 'market.other': its headers are none of", caplog.text)
    again = Here(server, tmp_path / "again")
    await publish_foreign(server.port, "market.other")
    async with again.linked(begin="earliest"):
        await until(lambda: len(again.came()) == 60)
    await given.end()


async def test_a_stream_that_begins_with_messages_of_others_is_read(server: Server, tmp_path: Path) -> None:
    given, here = delivery(server, tmp_path), Here(server, tmp_path)
    await given.sink.start()
    client = await nats.connect(url(server))
    while not await client.jetstream().streams_info():  # noqa: ASYNC110 - the sink makes it
        await asyncio.sleep(0.05)
    await client.close()
    await publish_foreign(server.port, "market.other", "market.frames")
    async with here.linked(begin="earliest"):
        await given.publish(20)
        await until(lambda: len(here.came()) == 20)
    await given.end()


async def test_core_messages_of_others_are_passed_over(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given, here = delivery(server, tmp_path, mode="core"), Here(server, tmp_path)
    await given.sink.start()
    async with here.linked(mode="core"):
        while not here.came():
            await publish_foreign(server.port, "market.trades.alpha.x")
            await given.publish(1)
        for _ in range(3):
            await publish_foreign(server.port, "market.trades.alpha.x")
            await given.publish(20)
        await until(lambda: here.came()[-1].upstream[1] == len(given.published))  # type: ignore[index]
        assert here.gaps() == []
        assert here.status.links == 1
    assert caplog.text.count("a message at 'market.trades.alpha.x'") == 1
    await given.end()


def test_check_names_the_package_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('[[sources]]\ntype = "nats"\nservers = ["nats://a:b@c"]\n[[sinks]]\ntype = "stdout"\n')
    done = subprocess.run(
        [sys.executable, "-m", "aggregator", "check", str(path)], capture_output=True, text=True, check=False
    )
    assert "names who logs in" in done.stdout + done.stderr
    assert "a:b" not in done.stdout + done.stderr
