"""`aggregator tail`: what it says beside the records, and records as a person reads them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import pytest

from aggregator.bus.bus import Batch, Bus
from aggregator.cli.show import show
from aggregator.cli.tail import follow, name_topics
from aggregator.cli.way import Way
from aggregator.client import connect
from aggregator.feed.address import UnixAddress
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import Bbo, BookSnapshot, Candle, Health, Record, Trade

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
