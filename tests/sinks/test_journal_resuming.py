"""A client of the feed that begins in the past: what it missed, and then the stream, with no hole and nothing twice."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aggregator.bus.bus import Bus
from aggregator.feed.address import parse_address
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Trade
from aggregator.sinks.journal.reader import JournalReader
from aggregator.sinks.journal.recording import JournalRecording
from aggregator.sinks.journal.sink import SINK
from aggregator.sinks.running import running
from tests.feed.test_schema import judge
from tests.sinks.test_journal import ALL, BASE_NS, FIRST, SECOND, trade, written
from tests.support.views import Fixed

pytestmark = pytest.mark.waits
Row = dict[str, Any]


class Client:
    """A connection that reads lines of JSON."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def row(self) -> Row:
        row: Row = json.loads(await asyncio.wait_for(self.reader.readline(), 10))
        return row

    async def ask(self, **request: object) -> None:
        self.writer.write(json.dumps(request).encode() + b"\n")

    async def until(self, is_last: Callable[[Row], bool]) -> list[Row]:
        rows = [await self.row()]
        while not is_last(rows[-1]):
            rows.append(await self.row())
        return rows

    def leave(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def serving(
    path: Path, epoch: str = FIRST, *, ring: int = 10_000, **options: Any
) -> AsyncIterator[tuple[Bus, Any]]:
    """A bus with a journal and a feed; gives a way to connect as well."""
    bus = Bus(epoch)
    journal = running(SINK.configured(path=path / "journal", **options), bus, clock=lambda: BASE_NS)
    await journal.start()
    listen = (parse_address(f"unix:{path}/feed.sock"), parse_address("http:127.0.0.1:0"))
    server = FeedServer(FeedSettings(listen=listen, ring=ring), bus)
    await server.start()
    bus.attach(server.publish)
    clients: list[Client] = []

    async def connect() -> Client:
        client = Client(*await asyncio.open_unix_connection(f"{path}/feed.sock", limit=1 << 22))
        clients.append(client)
        assert (await client.row())["type"] == "hello"
        return client

    connect.http = server.addresses[1].replace("http:", "http://", 1)  # type: ignore[attr-defined]
    try:
        yield bus, connect
    finally:
        bus.detach(server.publish)
        await server.stop(0)
        journal.end()
        assert journal.task is not None
        await journal.task
        for client in clients:
            client.leave()


def ids(rows: list[Row]) -> list[int]:
    return [int(row["id"]) for row in rows if row["type"] == "trade"]


def has(number: int) -> Callable[[Row], bool]:
    return lambda row: row.get("type") == "trade" and row["id"] == str(number)


def says(kind: str) -> Callable[[Row], bool]:
    return lambda row: bool(row.get("type") == kind)


@pytest.mark.parametrize("settle", [True, False], ids=["on disk", "in memory"])
async def test_what_was_missed_comes_first_and_then_the_stream(tmp_path: Path, settle: bool) -> None:
    async with serving(tmp_path) as (bus, connect):
        for start in range(0, 1000, 10):
            bus.publish([trade(n, f"S{n % 2}") for n in range(start, start + 10)])
        if settle:
            await written(bus.history)
        client = await connect()
        await client.ask(op="subscribe", topics=["trades:alpha:S1"], id=7, **{"from": {"epoch": FIRST, "offset": 500}})
        for start in range(1000, 1100, 10):
            bus.publish([trade(n, f"S{n % 2}") for n in range(start, start + 10)])
            await asyncio.sleep(0)
        rows = await client.until(says("live"))
        bus.publish([trade(n, f"S{n % 2}") for n in range(1100, 1110)])
        rows += await client.until(has(1109))
        rows += await client.until(says("cursor"))
        for row in rows:
            names = {"subscribed": "Subscribed", "resuming": "Resuming", "live": "Live", "cursor": "Reached"}
            if row["type"] in names:
                assert not list(judge(names[row["type"]]).iter_errors(row)), row
        assert rows[0] == {"type": "subscribed", "topics": ["trades:alpha:S1"], "matched": 1, "id": 7}
        assert rows[1] == {"type": "resuming", "epoch": FIRST, "offset": 500, "id": 7}
        assert ids(rows) == list(range(501, 1110, 2))


async def test_each_cursor_goes_on_behind_the_last_record(tmp_path: Path) -> None:
    async with serving(tmp_path) as (bus, connect):
        bus.publish([trade(n) for n in range(100)])
        client = await connect()
        await client.ask(op="subscribe", topics=["*:*:*"], **{"from": "now"})
        (live,) = [row for row in await client.until(says("live")) if row["type"] == "live"]
        bus.publish([trade(100), trade(101)])
        rows = await client.until(has(101))
        cursor = (await client.until(says("cursor")))[-1]["cursor"]
        assert ids(rows) == [100, 101]
        client.leave()
        bus.publish([trade(102)])
        for given, first in ((cursor, 102), (live["cursor"], 100)):
            again = await connect()
            await again.ask(op="subscribe", topics=["trades:*:*"], **{"from": given})
            assert ids(await again.until(says("live"))) == list(range(first, 103))


async def test_the_feed_says_bye_with_a_cursor_that_the_next_life_takes(tmp_path: Path) -> None:
    async with serving(tmp_path) as (bus, connect):
        client = await connect()
        await client.ask(op="subscribe", topics=["trades:*:*"], **{"from": "earliest"})
        await client.until(says("live"))
        bus.publish([trade(n) for n in range(10)])
        await client.until(has(9))
        leaving = asyncio.create_task(client.until(says("bye")))
        await asyncio.sleep(0)
    bye = (await leaving)[-1]
    assert bye["reason"] == "the daemon ends"
    async with serving(tmp_path, SECOND) as (bus, connect):
        bus.publish([trade(n) for n in range(10, 20)])
        client = await connect()
        await client.ask(op="subscribe", topics=["trades:*:*"], **{"from": bye["cursor"]})
        rows = await client.until(says("live"))
        assert [(row["epoch"], row["offset"]) for row in rows if row["type"] == "resuming"] == [
            (FIRST, 10),
            (SECOND, 0),
        ]
        assert ids(rows) == list(range(10, 20))
        assert not [row for row in rows if row["type"] == "gap"]


def snapshot(offset: int = 0) -> BookSnapshot:
    return BookSnapshot(
        exchange="alpha", symbol="A", raw_symbol="A", ts_recv=BASE_NS, offset=offset, bids=[("1", "1")], asks=[]
    )


def delta(size: str) -> BookDelta:
    return BookDelta(exchange="alpha", symbol="A", raw_symbol="A", ts_recv=BASE_NS, bids=[("1", size)], asks=[])


async def test_books_start_from_a_snapshot_of_the_journal_or_from_the_next(tmp_path: Path) -> None:
    async with serving(tmp_path) as (bus, connect):
        book = Fixed([snapshot()])
        bus.views.add("alpha", book)
        bus.publish([snapshot()])
        bus.publish([delta("2"), delta("3")])
        await written(bus.history)

        async def told(after: int, **options: object) -> list[tuple[str, str]]:
            client = await connect()
            await client.ask(
                op="subscribe", topics=["book:*:*"], **{"from": {"epoch": FIRST, "offset": after}}, **options
            )
            rows = await client.until(says("live"))
            size = str(bus.offset + 10)
            bus.publish([delta(size)])
            rows += await client.until(lambda row: row["type"] == "book_delta" and row["bids"][0][1] == size)
            return [(row["type"], row["bids"][0][1]) for row in rows if row["type"].startswith("book_")]

        assert await told(0) == [("book_snapshot", "1"), ("book_delta", "2"), ("book_delta", "3"), ("book_delta", "13")]
        assert await told(1, snapshot=False) == [("book_delta", s) for s in ("2", "3", "13", "14")]
        found = await told(1)
        assert found[0][0] == "book_snapshot"  # as it stands at the seam
        assert [kind for kind, _ in found[1:]] == ["book_delta"] * (len(found) - 1)


async def test_who_is_too_slow_loses_nothing_with_the_policy_lossless(tmp_path: Path) -> None:
    async with serving(tmp_path, ring=100) as (bus, connect):
        client = await connect()
        await client.ask(op="subscribe", topics=["trades:*:*"], policy="lossless", **{"from": "now"})
        await client.until(says("live"))
        for start in range(0, 30_000, 250):
            bus.publish([trade(n, size="1" * 100) for n in range(start, start + 250)])
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        bus.publish([trade(30_000)])
        rows = await client.until(has(30_000))
        assert ids(rows) == list(range(30_001))
        assert [row["type"] for row in rows if row["type"] in {"resuming", "live"}]
        assert not [row for row in rows if row["type"] == "lag"]


async def test_a_range_is_given_over_http_and_ranges_join(tmp_path: Path) -> None:
    async with serving(tmp_path) as (bus, connect), aiohttp.ClientSession(connect.http) as session:
        bus.publish([trade(n, f"S{n % 2}") for n in range(100)])

        async def get(**query: str) -> list[int]:
            async with session.get("/records", params={"topic": "trades:alpha:S1", **query}) as response:
                assert response.status == 200, await response.text()
                return ids([json.loads(line) for line in (await response.read()).splitlines()])

        assert await get(**{"from": "earliest"}) == list(range(1, 100, 2))
        edges = [str(BASE_NS), str(BASE_NS + 31), str(BASE_NS + 60), str(BASE_NS + 10**12)]
        parts = [await get(**{"from": a, "to": b}) for a, b in pairwise(edges)]
        assert parts == [list(range(1, 31, 2)), list(range(31, 60, 2)), list(range(61, 100, 2))]
        await written(bus.history)
        assert [await get(**{"from": a, "to": b}) for a, b in pairwise(edges)] == parts
        spelled = {"from": json.dumps({"epoch": FIRST, "offset": 30}), "to": json.dumps({"ts": BASE_NS + 40})}
        assert await get(**spelled) == list(range(31, 40, 2))
        for query, said in (
            ({"topic": "trades:*:*"}, "from is missing"),
            ({"topic": "trades:*:*", "from": "x"}, "no cursor"),
            ({"topic": "trades:*:*", "from": '{"epoch":7}'}, "is no place"),
            ({"topic": "trades:*:*", "from": '{"ts":1,"epoch":"x"}'}, "write {"),
            ({"topic": "trades:*:*", "from": "{" * 2000}, "is no place"),
            ({"topic": "trades:*:*", "from": "now", "time": "s"}, "allowed: numbers"),
            ({"topic": "trades:*:*", "from": "now", "numbers": "decimal"}, "allowed: numbers"),
        ):
            async with session.get("/records", params=query) as response:
                assert response.status == 400
                assert said in await response.text()


async def test_events_resume_by_the_last_event_id(tmp_path: Path) -> None:
    async with serving(tmp_path) as (bus, connect), aiohttp.ClientSession(connect.http) as session:
        bus.publish([trade(n) for n in range(10)])

        async def listen(start: str | None, stop: int) -> tuple[list[int], str]:
            headers = {} if start is None else {"Last-Event-ID": start}
            found: list[Row] = []
            last = ""
            async with session.get("/events", params={"topic": "trades:*:*"}, headers=headers) as response:
                async for line in response.content:
                    if line.startswith(b"id: "):
                        last = line[4:-1].decode()
                        if any(has(stop)(row) for row in found):
                            return ids(found), last
                    elif line.startswith(b"data: "):
                        found.append(json.loads(line[6:]))
                        if found[-1]["type"] == "live" and stop >= 10:
                            bus.publish([trade(stop)])
            raise AssertionError("it ended")

        rows, last = await listen(None, 10)
        assert rows == [10]
        bus.publish([trade(11)])
        assert (await listen(last, 12))[0] == [11, 12]


async def test_what_cannot_be_resumed_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as (bus, connect):
        bus.publish([trade(1)])
        client = await connect()
        for request, said in (
            ({"topics": ["trades:*:*"], "from": "x"}, "is no cursor of this feed"),
            ({"topics": ["trades:*:*"], "from": {"epoch": FIRST, "offset": 99}}, "has not been published yet"),
            ({"topics": ["bbo.book:*:*"], "from": "now"}, "what is computed is not kept"),
        ):
            await client.ask(op="subscribe", id=1, **request)
            row = await client.row()
            assert (row["type"], row["id"]) == ("error", 1)
            assert said in row["error"]
        await client.ask(op="subscribe", topics=["trades:*:*"], **{"from": "now"})
        await client.until(says("live"))
        await client.ask(op="subscribe", topics=["book:*:*"], **{"from": "now"})
        assert "for the first topics of a connection" in (await client.until(says("error")))[-1]["error"]


async def test_without_a_journal_it_is_said(tmp_path: Path) -> None:
    async with serving(tmp_path) as (bus, connect):
        history, bus.history = bus.history, None
        client = await connect()
        await client.ask(op="subscribe", topics=["trades:*:*"], **{"from": "now"})
        assert "this daemon keeps none" in (await client.row())["error"]
        await client.ask(op="subscribe", topics=["trades:*:*"], policy="lossless")
        assert "needs a journal" in (await client.row())["error"]
        bus.history = history


def test_the_trade_of_these_tests_is_one() -> None:
    assert isinstance(trade(1), Trade)


def of_another_version() -> Health:
    """A state that this version does not know: nothing is checked where a record is written."""
    names = {"exchange": "alpha", "symbol": "A", "raw_symbol": "A", "ts_recv": BASE_NS}
    return Health(**names, channel="trades", state="novel")  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"numbers": "float"}, {"time": "ms"}, {"fields": ["missed"]}, {"snapshot": False}])
async def test_what_another_version_wrote_keeps_nobody_waiting(tmp_path: Path, options: Row) -> None:
    """Lines pass on as they are; where they are to be written anew, a gap stands for those that cannot be read."""
    is_plain = "snapshot" in options
    async with serving(tmp_path) as (bus, connect):
        bus.publish(
            [snapshot(), delta("2"), of_another_version(), of_another_version(), delta("5"), trade(6), snapshot()]
        )
        await written(bus.history)
        client = await connect()
        await client.ask(op="subscribe", topics=["*:*:*"], **options, **{"from": {"epoch": FIRST, "offset": 0}})
        told = await client.until(says("live"))
        rows = [row for row in told if row["type"] not in {"subscribed", "resuming", "cursor"}]
        kinds = [row["type"] for row in rows[:-1]]
        lost = ["health", "health", "book_delta"] if is_plain else ["gap"]
        assert kinds == ["book_snapshot", "book_delta", *lost, "trade", "book_snapshot"]
        assert is_plain or rows[2]["missed"] == 2
        bus.publish([trade(8)])
        await client.until(says("trade"))


async def test_a_replay_tells_what_another_version_wrote(tmp_path: Path) -> None:
    async with serving(tmp_path) as (bus, _):
        bus.publish([trade(1), of_another_version(), of_another_version(), trade(4)])
    said: list[str] = []
    recording = JournalRecording(tmp_path / "journal", said.append)
    told = [record for part in recording.play("earliest", ALL, said.append) for record in part.records]
    (gap,) = (record for record in told if isinstance(record, Gap))
    assert [record.offset for record in told] == [1, 3, 4]
    assert (gap.cause, gap.expected, gap.got, gap.missed) == ("damaged", 2, 4, 2)
    assert "can be read by this version" in said[0]


async def test_an_error_of_our_own_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as (bus, connect):
        bus.publish([trade(1)])
        await written(bus.history)
        monkeypatch.setattr(JournalReader, "read", lambda *_, **__: 1 / 0)
        client = await connect()
        await client.ask(op="subscribe", topics=["*:*:*"], **{"from": "earliest"})
        rows = await client.until(says("bye"))
        assert "an error of the feed's own" in rows[-1]["reason"]
    assert "ZeroDivisionError" in caplog.text
