"""A recording is served as a feed: the client's code is that of every day, and gets what was recorded."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import zstandard

from aggregator.bus.bus import Bus, encode_lines
from aggregator.capture.line import CaptureLine
from aggregator.capture.replay import Replay
from aggregator.cli.served import played
from aggregator.client import Feed, connect
from aggregator.errors import ConfigError
from aggregator.feed.address import parse_address
from aggregator.feed.recordings import find_recording
from aggregator.feed.replaying import ReplayServer, ReplayTerms, Timetable
from aggregator.feed.settings import FeedSettings
from aggregator.records import BookDelta, BookSnapshot, Candle, Gap, Instrument, Record, Trade
from aggregator.sinks.directory import lock_directory
from aggregator.sinks.files import SINK as FILES
from aggregator.sinks.journal.sink import SINK as JOURNAL
from aggregator.sinks.running import running
from tests.feed.test_schema import judge
from tests.support.toy import toy
from tests.support.views import Fixed

pytestmark = pytest.mark.waits

FIRST, SECOND = "20260102T030405.000000Z", "20260102T040000.000000Z"
BASE_NS = 1_767_323_045_000_000_000
SECOND_NS = 1_000_000_000
LONG_S = 30.0
FAST = ReplayTerms(speed=0, along_s=0.05)
Row = dict[str, Any]
Market = tuple[str, str]
ALPHA, BETA = ("alpha", "A/USD"), ("beta", "B/USD")


def stamped(market: Market, second: float) -> dict[str, Any]:
    return {
        "exchange": market[0],
        "symbol": market[1],
        "raw_symbol": market[1][0],
        "ts_recv": BASE_NS + int(second * SECOND_NS),
        "conn": f"{market[0]}/main.1#1",
    }


def trade(second: float, market: Market = ALPHA, price: str = "1.50") -> Trade:
    return Trade(**stamped(market, second), id=str(second), price=price, size="2", base_size="2")


def whole(second: float, bid: str, market: Market = ALPHA) -> BookSnapshot:
    return BookSnapshot(**stamped(market, second), bids=[(bid, "1"), ("1.0", "1")], asks=[("9", "1")])


def change(second: float, bid: str, size: str = "1", market: Market = ALPHA) -> BookDelta:
    return BookDelta(**stamped(market, second), bids=[(bid, size)], asks=[])


def a_minute() -> list[Record]:
    """Two markets for a minute: trades of both, and the book of one."""
    records: list[Record] = [whole(0, "2.00")]
    for second in range(1, 60):
        records += [trade(second), trade(second, BETA), change(second + 0.5, f"2.{second:02}")]
    return records


@asynccontextmanager
async def writing(path: Path, kind: str, epoch: str, **keys: Any) -> AsyncIterator[Callable[[Sequence[Record]], Any]]:
    """A daemon's life that writes what it is given, by a sink as it is; gives what publishes."""
    bus = Bus(epoch)
    now = BASE_NS
    sink = (JOURNAL if kind == "journal" else FILES).configured(path=path, **keys)
    at_work = running(sink, bus, clock=lambda: now)
    await at_work.start()

    async def publish(records: Sequence[Record]) -> None:
        nonlocal now
        for record in records:
            now = max(now, record.ts_recv)
            bus.publish([record])
        await asyncio.sleep(0.05)

    publish.bus = bus  # type: ignore[attr-defined]
    try:
        yield publish
    finally:
        at_work.end()
        assert at_work.task is not None
        await asyncio.wait_for(at_work.task, LONG_S)
        await released(path)


async def released(path: Path) -> None:
    """Wait until the sink's threads have let go of its directory."""
    async with asyncio.timeout(LONG_S):
        while True:
            try:
                os.close(lock_directory(path))
            except BlockingIOError:
                await asyncio.sleep(0.01)
            else:
                return


async def recorded(path: Path, kind: str, records: Sequence[Record], epoch: str = FIRST, **keys: Any) -> list[bytes]:
    """Write records, and give their lines."""
    async with writing(path, kind, epoch, **keys) as publish:
        await publish(records)
    return encode_lines(records).splitlines(keepends=True)


class Served:
    """A replay that is served, at a socket and over HTTP."""

    def __init__(self, path: Path, server: ReplayServer, said: list[str]) -> None:
        self.socket = str(path)
        self.server = server
        self.said = said

    @property
    def http(self) -> str:
        return self.server.addresses[1].replace("http:", "http://", 1)

    async def lines(self, *topics: str) -> list[bytes]:
        """All that an ordinary client gets."""
        async with asyncio.timeout(LONG_S), connect(self.socket) as feed:
            await feed.subscribe(*topics)
            found = [line async for line in feed.lines()]
            assert feed.goodbye == "the replay is over"
            return found

    async def records(self, *topics: str) -> list[Record]:
        async with asyncio.timeout(LONG_S), connect(self.socket) as feed:
            await feed.subscribe(*topics)
            return [record async for record in feed]

    async def talk(self, **request: object) -> list[Row]:
        """The whole conversation that follows a request, as it is written."""
        reader, writer = await asyncio.open_unix_connection(self.socket, limit=1 << 22)
        writer.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(LONG_S):
            rows = []
            while line := await reader.readline():
                rows.append(json.loads(line))
        writer.close()
        return rows


@asynccontextmanager
async def serving(*paths: Path, terms: ReplayTerms = FAST, played: Any = None) -> AsyncIterator[Served]:
    said: list[str] = []
    recording = played or find_recording(paths, said.append)
    assert recording is not None
    socket = paths[0].parent / "replay.sock"
    listen = (parse_address(f"unix:{socket}"), parse_address("http:127.0.0.1:0"))
    server = ReplayServer(FeedSettings(listen=listen, max_clients=3), recording, terms, said.append)
    await server.start()
    try:
        yield Served(socket, server, said)
    finally:
        await server.stop()


def ids(records: Sequence[Record]) -> list[str | None]:
    return [record.id for record in records if isinstance(record, Trade)]


# --- what was recorded comes, and nothing else


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("files", {"compress": False}),
        ("files", {"rotate_every": 10.0, "template": "{date}/{exchange}/{channel}/{symbol}"}),
        ("files", {"rotate_bytes": 4096, "template": "{channel}"}),
        ("journal", {}),
    ],
    ids=["plain", "rotated", "by size", "journal"],
)
async def test_a_client_gets_the_very_lines_that_were_recorded(tmp_path: Path, kind: str, keys: Row) -> None:
    lines = await recorded(tmp_path / "data", kind, a_minute(), **keys)
    async with serving(tmp_path / "data") as served:
        assert await served.lines("*:*:*") == lines
        some = [line for line in lines if b'"trade"' in line and b'"beta"' in line]
        assert len(some) == 59
        assert await served.lines("trades:beta:*") == some
        assert served.said == []


async def test_a_capture_gives_what_the_live_code_makes_of_it(tmp_path: Path) -> None:
    instrument = Instrument(exchange="toy", raw_symbol="A", symbol="A/USD", base="A", quote="USD")
    lines = [
        CaptureLine(
            ts=str(1_700_000_000 + n), dir="in", conn="toy/main.1#1", url="wss://toy.example/ws", exchange="toy",
            raw=json.dumps({"s": "A", "n": n, "price": str(n)}),
        )
        for n in [1, 2, 3, 5, 6]
    ]  # fmt: skip
    path = tmp_path / "toy.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines) + b"no json\n")
    replay = Replay(toy(), [instrument])
    expected = [record for line in lines for record in replay.feed(line)] + replay.end()
    for offset, record in enumerate(expected, 1):
        record.offset = offset
    said: list[str] = []
    captures = played([(path, toy(), [instrument])], said.append)
    async with serving(path, played=captures) as served:
        first, *rest = await served.lines("*:*:*")
        assert json.loads(first)["type"] == "instrument"  # in force, as a daemon tells it first
        assert b"".join(rest) == encode_lines(expected)
        assert len(expected) > 5
        (complaint,) = served.said
        assert complaint.startswith(f"{path}:6: not a line of a capture")


async def test_each_client_has_a_replay_to_itself_and_one_that_is_killed_is_nobody_else_s(tmp_path: Path) -> None:
    lines = await recorded(tmp_path / "data", "files", a_minute())
    async with serving(tmp_path / "data") as served:
        _, writer = await asyncio.open_unix_connection(served.socket)
        writer.write(b"*:*:*\n")
        one = asyncio.create_task(served.lines("*:*:*"))
        writer.transport.abort()
        assert await one == await served.lines("*:*:*") == lines


async def test_who_reads_slowly_loses_nothing(tmp_path: Path) -> None:
    records: list[Record] = [trade(n / 1000, price="1." + "0" * 200) for n in range(20_000)]
    lines = await recorded(tmp_path / "data", "journal", records)
    async with serving(tmp_path / "data") as served, asyncio.timeout(LONG_S):
        reader, writer = await asyncio.open_unix_connection(served.socket, limit=1 << 16)
        writer.write(b"*:*:*\n")
        got = bytearray()
        while data := await reader.read(1 << 16):
            got += data
            await asyncio.sleep(0.001)
        writer.close()
        assert [line for line in got.splitlines(keepends=True) if b'"trade"' in line] == lines
        assert b'"lag"' not in got


async def test_what_is_subscribed_one_after_the_other_is_there_from_the_beginning(tmp_path: Path) -> None:
    lines = await recorded(tmp_path / "data", "files", a_minute())
    async with serving(tmp_path / "data") as served, connect(served.socket) as feed:
        await feed.subscribe("trades:alpha:*")
        await feed.subscribe("book:alpha:A/USD")
        got = [line async for line in feed.lines()]
        assert got == [line for line in lines if b'"alpha"' in line]


async def test_a_client_that_reconnects_by_itself_takes_the_end_for_the_end(tmp_path: Path) -> None:
    await recorded(tmp_path / "data", "files", a_minute())
    async with asyncio.timeout(LONG_S), serving(tmp_path / "data") as served:
        async with connect(served.socket, reconnect=True) as feed:
            await feed.subscribe("trades:alpha:*")
            assert len([record async for record in feed]) == 59
        assert feed.goodbye == "the replay is over"


# --- places


async def test_a_replay_begins_and_ends_at_the_times_that_were_asked_for(tmp_path: Path) -> None:
    await recorded(tmp_path / "data", "files", a_minute(), rotate_every=10.0)
    terms = ReplayTerms(speed=0, along_s=0.05, ts=BASE_NS + 20 * SECOND_NS, end=BASE_NS + 23 * SECOND_NS)
    async with serving(tmp_path / "data", terms=terms) as served:
        records = await served.records("trades:alpha:*")
        assert ids(records) == ["20", "21", "22"]


@pytest.mark.parametrize("kind", ["files", "journal"])
async def test_a_client_says_where_its_replay_begins(tmp_path: Path, kind: str) -> None:
    await recorded(tmp_path / "data", kind, a_minute())
    async with serving(tmp_path / "data") as served:
        start = {"ts": BASE_NS + 30 * SECOND_NS}
        rows = await served.talk(op="subscribe", topics=["trades:alpha:*"], id=7, **{"from": start})
        cursors = [row for row in rows if row["type"] == "cursor"]
        assert cursors[0]["cursor"] == rows[4]["cursor"]
        del rows[3]  # the first cursor
        assert [row["type"] for row in rows[:4]] == ["hello", "subscribed", "resuming", "live"]
        assert rows[2]["epoch"] == FIRST
        assert rows[2]["id"] == 7
        trades = [row for row in rows if row["type"] == "trade"]
        assert [row["id"] for row in trades] == [str(n) for n in range(30, 60)]
        assert rows[2]["offset"] == trades[0]["offset"] - 1
        assert rows[-1]["type"] == "bye"
        assert rows[-1]["over"] is True
        for row in rows[1:4] + rows[-1:]:
            names = {"subscribed": "Subscribed", "resuming": "Resuming", "live": "Live", "bye": "Bye"}
            assert not list(judge(names[row["type"]]).iter_errors(row)), row
        behind = {"epoch": FIRST, "offset": trades[9]["offset"]}
        rows = await served.talk(op="subscribe", topics=["trades:alpha:*"], **{"from": behind})
        assert [row["id"] for row in rows if row["type"] == "trade"] == [str(n) for n in range(40, 60)]
        cursor = [row for row in rows if row["type"] == "cursor"][-1]["cursor"]
        assert rows[-1]["cursor"] == cursor
        rows = await served.talk(op="subscribe", topics=["*:*:*"], **{"from": cursor})
        assert [row["id"] for row in rows if row["type"] == "trade"] == ["59"]  # the other market's comes behind it


@pytest.mark.parametrize("reconnect", [False, True])
async def test_a_client_that_says_where_it_begins_reads_two_lives_with_their_places(
    tmp_path: Path, reconnect: bool
) -> None:
    await recorded(tmp_path / "data", "files", [trade(n) for n in range(5)])
    await recorded(tmp_path / "data", "files", [trade(n) for n in range(3600, 3605)], SECOND)
    async with serving(tmp_path / "data") as served, asyncio.timeout(LONG_S):
        async with connect(served.socket, reconnect=reconnect) as feed:
            await feed.subscribe("trades:alpha:*", start=datetime.fromtimestamp(BASE_NS // SECOND_NS + 3, UTC))
            found = [(record, feed.position) async for record in feed]
        assert ids([record for record, _ in found]) == ["3", "4", "3600", "3601", "3602", "3603", "3604"]
        assert [(at.epoch, at.offset) for _, at in found if at is not None] == [
            *((FIRST, n) for n in (4, 5)),
            *((SECOND, n) for n in range(1, 6)),
        ]


async def test_what_is_no_place_of_the_recording_is_refused(tmp_path: Path) -> None:
    await recorded(tmp_path / "data", "files", a_minute())
    async with serving(tmp_path / "data") as served, connect(served.socket) as feed:
        line = {"op": "subscribe", "topics": ["*:*:*"], "from": {"epoch": "another", "offset": 3}}
        assert feed._connection._writer is not None
        reader, writer = await asyncio.open_unix_connection(served.socket)
        writer.write(json.dumps(line).encode() + b"\n")
        await reader.readline()
        error = json.loads(await asyncio.wait_for(reader.readline(), LONG_S))
        assert error["error"] == f"the epoch 'another' is not in this recording, which has {FIRST}"
        writer.close()


async def test_a_book_is_right_from_the_middle_on(tmp_path: Path) -> None:
    """A file's header has the books, and their changes up to the place are applied to them."""
    book = Fixed()
    async with writing(tmp_path / "data", "files", FIRST, rotate_every=10.0) as publish:
        publish.bus.views.add("alpha", book)  # type: ignore[attr-defined]
        records = a_minute()
        for second in range(60):
            bids = [(f"2.{n:02}", "1") for n in range(second, 0, -1)] + [("2.00", "1"), ("1.0", "1")]
            book.live["A"] = BookSnapshot(**stamped(ALPHA, second), bids=bids, asks=[("9", "1")])
            await publish([r for r in records if r.ts_recv // SECOND_NS - BASE_NS // SECOND_NS == second])
    terms = ReplayTerms(speed=0, along_s=0.05, ts=BASE_NS + 25 * SECOND_NS)
    async with serving(tmp_path / "data", terms=terms) as served, connect(served.socket) as feed:
        kept = await feed.book("alpha:A/USD")
        seen = [kept.bids() async for _ in feed.changes()]
        assert seen[0] == [(f"2.{n:02}", "1") for n in range(24, -1, -1)] + [("1.0", "1")]
        assert seen[-1][0] == ("2.59", "1")
        assert len(seen[-1]) == 61


async def test_a_journal_has_its_books_in_the_middle_too(tmp_path: Path) -> None:
    await recorded(tmp_path / "data", "journal", [*a_minute(), whole(80, "3.00"), change(81, "3.01")])
    for second, first in ((25, [("2.24", "1"), ("2.23", "1")]), (81, [("3.01", "1"), ("3.00", "1")])):
        terms = ReplayTerms(speed=0, along_s=0.05, ts=BASE_NS + second * SECOND_NS)
        async with serving(tmp_path / "data", terms=terms) as served, connect(served.socket) as feed:
            kept = await feed.book("alpha:A/USD")
            seen = [kept.bids(2) async for _ in feed.changes()]
            assert seen[0 if second == 25 else -1] == first


async def test_two_lives_follow_each_other_and_cursors_say_so(tmp_path: Path) -> None:
    before = await recorded(tmp_path / "data", "files", [trade(n) for n in range(5)])
    after = await recorded(tmp_path / "data", "files", [trade(n) for n in range(3600, 3605)], SECOND)
    async with serving(tmp_path / "data") as served:
        assert await served.lines("*:*:*") == before + after
        rows = await served.talk(op="subscribe", topics=["*:*:*"], **{"from": "earliest"})
        told = [
            (row["type"], row.get("epoch"), row.get("offset")) for row in rows if row["type"] in {"resuming", "live"}
        ]
        assert told == [("resuming", FIRST, 0), ("live", FIRST, 0), ("resuming", SECOND, 0)]
        at = [row["type"] for row in rows].index("resuming", 3)
        assert [row["type"] for row in rows[:at]].count("trade") == 5


# --- as in the daemon


async def test_bars_are_computed_by_the_time_of_the_records(tmp_path: Path) -> None:
    records: list[Record] = [trade(second) for second in range(0, 300, 7)]
    await recorded(tmp_path / "data", "files", records)
    async with serving(tmp_path / "data") as served:
        bars = [record for record in await served.records("candles.1m:alpha:A/USD") if isinstance(record, Candle)]
        assert len(bars) == 4
        assert all(not bar.flags for bar in bars)
        assert [bar.trades for bar in bars] == [8, 9, 8, 9]


async def test_topics_and_ranges_are_answered_over_http(tmp_path: Path) -> None:
    lines = await recorded(tmp_path / "data", "files", a_minute(), template="{date}/{exchange}/{channel}/{symbol}")
    async with serving(tmp_path / "data") as served, aiohttp.ClientSession() as session:
        async with session.get(f"{served.http}/topics") as answer:
            assert (await answer.json())["topics"] == ["book:alpha:A/USD", "trades:alpha:A/USD", "trades:beta:B/USD"]
        span = f"from={BASE_NS + 10 * SECOND_NS}&to={BASE_NS + 12 * SECOND_NS}"
        async with session.get(f"{served.http}/records?topic=trades:alpha:*&{span}") as answer:
            assert await answer.read() == b"".join(
                [line for line in lines if b'"id":"10"' in line or b'"id":"11"' in line][::2]
            )
        async with session.get(f"{served.http}/events?topic=trades:alpha:*") as answer:
            text = await asyncio.wait_for(answer.text(), LONG_S)
            assert text.count('"type":"trade"') == 59
            assert '"the replay is over"' in text


# --- what cannot be read


def lines_of(path: Path) -> list[bytes]:
    data = path.read_bytes()
    return (
        zstandard.ZstdDecompressor().decompressobj().decompress(data) if path.suffix == ".zst" else data
    ).splitlines(keepends=True)


async def test_lines_that_cannot_be_read_are_named_and_told(tmp_path: Path) -> None:
    lines = await recorded(tmp_path / "data", "files", [trade(n) for n in range(10)], compress=False)
    (path,) = tmp_path.glob("data/**/*.ndjson")
    there = lines_of(path)
    there[4], there[5] = b'{"type":"trade","exch\n', b"\xff\xfe\n"
    path.write_bytes(b"".join(there))
    async with serving(tmp_path / "data") as served:
        records = await served.records("*:*:*")
        (gap,) = [record for record in records if isinstance(record, Gap)]
        assert [type(record).__name__ for record in records] == ["Trade"] * 3 + ["Gap"] + ["Trade"] * 5
        assert ids(records) == ["0", "1", "2", "5", "6", "7", "8", "9"]
        assert (gap.cause, gap.missed, gap.exchange, gap.channel) == ("damaged", 2, "alpha", "trades")
        assert (gap.ts_from, gap.ts_to) == (BASE_NS + 2 * SECOND_NS, BASE_NS + 5 * SECOND_NS)
        assert [text.split(": ")[0] for text in served.said] == [f"{path}:5", f"{path}:6"]
        assert len(lines) == 10


@pytest.mark.parametrize("harm", ["cut", "flipped", "lines gone"])
async def test_a_file_that_is_damaged_is_read_as_far_as_it_goes(tmp_path: Path, harm: str) -> None:
    records: list[Record] = [trade(n / 10, price=str(hash(n))) for n in range(20_000)]
    lines = await recorded(tmp_path / "data", "files", records, compress=harm != "lines gone")
    (path,) = tmp_path.glob("data/**/*.ndjson*")
    data = path.read_bytes()
    if harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif harm == "flipped":
        at = len(data) // 2
        path.write_bytes(data[:at] + bytes([data[at] ^ 255]) * 50 + data[at + 50 :])
    else:
        there = lines_of(path)
        path.write_bytes(b"".join(there[:100] + there[200:]))
    async with serving(tmp_path / "data") as served:
        got = await served.lines("*:*:*")
        gaps = [json.loads(line) for line in got if b'"gap"' in line]
        assert gaps
        assert gaps[-1]["cause"] == "damaged"
        assert gaps[-1]["channel"] == "trades"
        assert served.said
        assert all(text.startswith(f"{path}:") for text in served.said)
        known = set(lines)
        trades = [line for line in got if line in known]
        if harm == "flipped":  # what could be unpacked may be wrong: the file's hash tells
            assert gaps[-1]["ts_from"] == BASE_NS
            assert gaps[-1]["ts_to"] >= json.loads(got[-2])["ts_recv"]
        else:
            assert len(trades) == len(got) - len(gaps)
        if harm == "cut":
            assert trades == lines[: len(trades)]
            assert 1000 < len(trades) < 19_000
        if harm == "lines gone":
            assert gaps[-1]["missed"] == 100


async def test_a_file_of_which_nothing_can_be_read_is_named_and_told(tmp_path: Path) -> None:
    lines = await recorded(tmp_path / "data", "files", [trade(n) for n in range(3)])
    (tmp_path / "data" / "more.ndjson").write_bytes(b"\x00\x01\n")
    async with serving(tmp_path / "data") as served:
        gap, *rest = await served.lines("*:*:*")
        assert rest == lines
        assert (json.loads(gap)["type"], json.loads(gap)["cause"]) == ("gap", "damaged")
        assert served.said[0].startswith(f"{tmp_path}/data/more.ndjson:1: not the header of a recording")


async def test_a_book_that_lost_a_change_begins_anew_with_the_next_snapshot(tmp_path: Path) -> None:
    records = [whole(0, "2.0"), change(1, "2.1"), change(2, "2.2"), change(3, "2.3"), whole(4, "2.4"), change(5, "2.5")]
    await recorded(tmp_path / "data", "files", records, compress=False)
    (path,) = tmp_path.glob("data/**/*.ndjson")
    there = lines_of(path)
    there[3] = b"{}\n"
    path.write_bytes(b"".join(there))
    async with serving(tmp_path / "data") as served:
        found = [
            (type(r).__name__, r.ts_recv // SECOND_NS % 60 - BASE_NS // SECOND_NS % 60)
            for r in await served.records("*:*:*")
        ]
        assert found == [("BookSnapshot", 0), ("BookDelta", 1), ("Gap", 3), ("BookSnapshot", 4), ("BookDelta", 5)]


async def test_recordings_of_two_daemons_at_once_are_refused(tmp_path: Path) -> None:
    for name, epoch in (("one", FIRST), ("two", SECOND)):
        await recorded(tmp_path / "data" / name, "files", [trade(n) for n in range(0, 60, 10)], epoch, rotate_every=5.0)
    with pytest.raises(ConfigError, match="two daemons that ran at once"):
        find_recording([tmp_path / "data"], print)


# --- the pace


@pytest.mark.parametrize(("speed", "waits"), [(1.0, [0, 1.5, 4]), (10.0, [0, 0.15, 0.4]), (0.0, [0, 0, 0])])
def test_the_times_between_records_are_those_that_were_divided_by_the_speed(speed: float, waits: list[float]) -> None:
    table = Timetable(speed)
    times = [BASE_NS, BASE_NS + 3 * SECOND_NS // 2, BASE_NS + 4 * SECOND_NS]
    assert [table.wait(ts, 100.0) for ts in times] == pytest.approx(waits)
    assert table.wait(times[-1], 200.0) <= 0  # who is late does not wait any more


async def test_a_replay_takes_the_time_that_it_took(tmp_path: Path) -> None:
    await recorded(tmp_path / "data", "files", [trade(n / 10) for n in range(11)])
    loop = asyncio.get_running_loop()
    async with (
        serving(tmp_path / "data", terms=ReplayTerms(speed=2, along_s=0)) as served,
        connect(served.socket) as feed,
    ):
        await feed.subscribe("*:*:*")
        at = [loop.time() async for _ in feed]
        assert at[-1] - at[0] >= 0.45


async def test_a_replay_that_is_stopped_says_so(tmp_path: Path) -> None:
    await recorded(tmp_path / "data", "files", [trade(n) for n in range(1000)])
    feed: Feed
    async with serving(tmp_path / "data", terms=ReplayTerms(along_s=0)) as served, connect(served.socket) as feed:
        await feed.subscribe("*:*:*")
        assert ids([await anext(aiter(feed))]) == ["0"]
        stopping = asyncio.create_task(served.server.stop())
        assert [record async for record in feed] == []
        assert feed.goodbye == "the replay was stopped"
        await stopping


async def test_a_file_whose_offsets_run_back_is_read_to_its_end(tmp_path: Path) -> None:
    lines = await recorded(tmp_path / "data", "files", [trade(n) for n in range(6)], compress=False)
    more = await recorded(tmp_path / "data", "files", [trade(n, BETA) for n in range(6)], compress=False)
    (path,) = tmp_path.glob("data/*/alpha/*.ndjson")
    head, *_, foot = lines_of(path)
    path.write_bytes(b"".join([head, b"[]\n", *reversed(lines), foot]))
    async with serving(tmp_path / "data") as served:
        got = await served.lines("*:*:*")
        assert [line for line in got if line in lines] == lines[::-1]
        assert [line for line in got if line in more] == more
        assert [json.loads(line)["cause"] for line in got if b'"gap"' in line] == ["damaged"]


async def test_a_damaged_part_of_a_journal_is_named_and_told(tmp_path: Path) -> None:
    lines = await recorded(tmp_path / "data", "journal", a_minute())
    async with writing(tmp_path / "data", "journal", SECOND) as publish:
        await publish([trade(n) for n in range(4000, 4010)])
    first = min(tmp_path.glob("data/0*"))
    data = bytearray(first.read_bytes())
    data[:20] = b"\0" * 20
    data[len(data) // 2 :] = b""
    first.write_bytes(data)
    async with serving(tmp_path / "data") as served:
        got = await served.records("trades:*:*")
        assert ids(got)[-10:] == [str(n) for n in range(4000, 4010)]
        assert len(got) < len(lines)
        assert [record.cause for record in got if isinstance(record, Gap)][:1] == ["damaged"]
        assert any(text.startswith(str(tmp_path)) for text in served.said)
