"""`aggregator tail`: what it says beside the records, and records as a person reads them."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from aggregator.bus.bus import Batch, Bus
from aggregator.cli.show import show
from aggregator.cli.tail import beginning, follow, length_ms, name_topics
from aggregator.cli.way import Way
from aggregator.client import StreamPosition, connect
from aggregator.feed.address import UnixAddress
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import Bbo, BookSnapshot, Candle, Health, Record, Trade
from tests.support.numbered import EVERY, NumberedFeed, numbered

pytestmark = pytest.mark.waits
SECOND = 1_000_000_000
NOON = 1_758_888_000 * SECOND  # 2025-09-26T12:00:00Z
PATIENCE = 20.0  # seconds; nothing here takes nearly as long


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[tuple[Bus, FeedServer]]:
    bus = Bus("epoch")
    server = FeedServer(FeedSettings(listen=(UnixAddress(path),)), bus)
    await server.start()
    bus.attach(server.publish)
    yield bus, server


def sold(number: int, price: str = "1") -> Trade:
    return Trade(exchange="kraken", symbol=f"S{number}/USD", raw_symbol=f"S{number}USD", price=price, size="1")


async def ended(path: Path, *topics: str) -> str:
    """What is said of topics by the time the daemon goes, which ends it with 1."""
    async with serving(path) as (bus, server):
        bus.publish([sold(n) for n in range(10)])
        following = asyncio.ensure_future(follow(Way(str(path)), topics, is_plain=False))
        async with asyncio.timeout(PATIENCE):
            while not (server.status().subscribers and server.status().subscribers[0].topics):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
        bus.publish([sold(1, "7")])
        await server.stop(1)
        with pytest.raises(click.exceptions.Exit) as raised:
            await following
    assert raised.value.exit_code == 1
    return str(path)


async def test_the_daemons_end_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = await ended(tmp_path / "feed.sock", "trades:*:S1/USD")
    out, err = capfd.readouterr()
    assert " trade         7 " in out
    assert err == f"aggregator: {path}: the daemon has gone: the daemon ends\n"


async def test_topics_that_fit_nothing_are_answered_with_those_that_are_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    await ended(tmp_path / "feed.sock", "trades:bitmex:*")
    said = capfd.readouterr().err.splitlines()[0]
    assert said.startswith("aggregator: no topic fits trades:bitmex:* yet; known are trades:kraken:S0/USD ")
    assert said.endswith(" and 2 more")


async def test_of_the_topics_that_are_there_those_of_the_same_channel_come_first(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving(tmp_path / "feed.sock") as (bus, server):
        bus.publish([Bbo(exchange="kraken", symbol=f"S{n}/USD", raw_symbol=f"S{n}USD") for n in range(10)])
        bus.publish([sold(7)])
        async with connect(str(tmp_path / "feed.sock")) as feed:
            await name_topics(feed, ["trades:krakn:*"])
        await server.stop(1)
    assert "; known are trades:kraken:S7/USD bbo:kraken:S0/USD " in capfd.readouterr().err


# --- a record for a person


def shown(record: Record) -> str:
    (line,) = Batch([record]).lines
    return click.unstyle(show(line))


def test_what_goes_without_saying_is_not_said() -> None:
    trade = Trade(exchange="okx", symbol="BTC/USDT", ts_recv=NOON, id="7", price="67000.1", size="0.5", side="buy")
    assert shown(trade) == "12:00:00.000 okx              BTC/USDT    trade         id 7 67000.1 0.5 buy"
    trade.kind, trade.size_unit = "block", "contract"
    assert shown(trade).endswith(" 67000.1 0.5 buy size_unit contract kind block")


def test_times_are_read_as_times() -> None:
    day = NOON - 12 * 3600 * SECOND
    candle = Candle(
        ts_recv=NOON, interval="1m", ts_open=NOON, ts_close=NOON + 60 * SECOND, open="1", high="2", low="1", close="2"
    )
    assert "interval 1m open 12:00:00 close 12:01:00 open 1 " in shown(candle)
    candle.ts_open, candle.ts_close = day - 24 * 3600 * SECOND, day
    assert " open 2025-09-25 close 00:00:00 " in shown(candle)


def test_a_state_and_an_empty_side_are_always_said() -> None:
    assert "live" in shown(Health(ts_recv=NOON, channel="book", state="live"))
    assert "bids - asks 1 @ 9" in shown(BookSnapshot(ts_recv=NOON, bids=[], asks=[("9", "1")]))


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("earliest", "earliest"),
        ("kwG7Mj", "kwG7Mj"),
        ("20260102T030405.000000Z:4711", StreamPosition("20260102T030405.000000Z", 4711)),
        ("1767323045000000000", 1_767_323_045_000_000_000),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 05:04:05+02:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_where_to_begin_is_read(text: str, given: object) -> None:
    assert beginning(text) == given


def test_where_to_begin_may_be_some_time_ago() -> None:
    before = time.time_ns()
    start = beginning("10m")
    assert isinstance(start, int)
    assert before - 600 * SECOND <= start <= time.time_ns() - 600 * SECOND
    with pytest.raises(click.BadParameter, match="does not say in which time zone"):
        beginning("2026-01-02T03:04:05")
    with pytest.raises(click.BadParameter, match='is no length of time in whole milliseconds; write "100ms"'):
        length_ms("10 minutes")
    assert [length_ms(text) for text in ("250ms", "1.5s", "2d")] == [250, 1500, 172_800_000]


async def test_it_begins_in_the_past_and_gives_some_fields(tmp_path: Path) -> None:
    async with numbered(tmp_path, "20260102T030405.000000Z", f"unix:{tmp_path}/feed.sock") as daemon:
        daemon.publish(20)
        options = ("--from", "20260102T030405.000000Z:2", "--fields", "id,offset", "--policy", "lossless")
        out, err = await said(tmp_path, daemon, "trades:*:*", *options, until='"offset":20')
    assert [json.loads(line) for line in out.splitlines()] == [
        {"type": "trade", "id": str(offset), "offset": offset} for offset in range(3, 21) if offset % EVERY > 1
    ]
    assert "the daemon has gone: the daemon ends" in err


async def test_a_book_may_be_had_shallow_and_seldom(tmp_path: Path) -> None:
    async with numbered(tmp_path, "20260102T030405.000000Z", f"unix:{tmp_path}/feed.sock") as daemon:
        daemon.publish(20)
        options = ("--depth", "1", "--interval", "50ms", "--json")
        out, _ = await said(tmp_path, daemon, "book:alpha:A/USD", *options, until='"book_snapshot"')
    found = [json.loads(line) for line in out.splitlines() if '"book_snapshot"' in line]
    assert (found[0]["conn"], found[0]["bids"]) == ("derived/book.1.50ms", [["1", "18"]])


async def said(path: Path, daemon: NumberedFeed, *arguments: str, until: str) -> tuple[str, str]:
    """What the command says, until the daemon goes: behind the first line that has this in it."""
    program = (sys.executable, "-m", "aggregator", "tail", "--feed", f"{path}/feed.sock", *arguments)
    process = await asyncio.create_subprocess_exec(
        *program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        lines = [(await process.stdout.readline()).decode()]
        while until not in lines[-1]:
            lines.append((await process.stdout.readline()).decode())
        await daemon.stop(PATIENCE)
        out, err = await process.communicate()
    assert process.returncode == 1
    return "".join(lines) + out.decode(), err.decode()
