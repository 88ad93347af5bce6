"""The `redis` sink on a real server that is killed, that hangs, and whose clock or keys are not as they should be."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from aggregator.records import BookDelta, Trade
from aggregator.sinks.brokers.redis import SINK
from tests.support.delivery import Delivery, Row, differences, is_whole, parsed, repeats
from tests.support.servers import Server
from tests.support.servers import redis as redis_server

pytestmark = pytest.mark.waits

COUNT = 10_000
TS = 1_795_000_000_000_000_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = redis_server(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def url(server: Server) -> str:
    return f"redis://127.0.0.1:{server.port}/0"


def delivery(server: Server, folder: Path, **settings: object) -> Delivery:
    return Delivery(SINK, folder, url=url(server), **settings)


async def stored(server: Server) -> list[Row]:
    """The records of every stream, each stream in its order."""
    async with Redis.from_url(url(server)) as client:
        found = []
        for key in await client.keys("market:*"):
            found += [fields[b"records"] for _, fields in await client.xrange(key)]
        return parsed(found)


@pytest.mark.parametrize("mode", ["batches", "records"])
async def test_streams_have_every_record_once_though_the_server_is_killed(
    server: Server, tmp_path: Path, mode: str
) -> None:
    given = delivery(server, tmp_path, mode=mode)
    status = await given.run(COUNT, outages=3, down=server.kill, up=server.start)
    assert is_whole(status, COUNT)
    assert status.restarts == 3
    found = await stored(server)
    assert differences(given.published, found) == []
    assert repeats(found) == 0


async def test_a_server_that_hangs_is_waited_for(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path)
    assert is_whole(await given.run(COUNT, outages=1, down=server.hang, up=server.go_on), COUNT)
    found = await stored(server)
    assert differences(given.published, found) == []
    assert repeats(found) == 0, "what the server had taken in before it hung is not appended again"


async def test_a_clock_that_goes_back_stops_no_stream(server: Server, tmp_path: Path) -> None:
    """An id must be above the last one (redis 7.0), so a stream's time does not go back with ours."""
    for epoch, times in enumerate([(TS, TS - 10**12), (TS - 10**13, TS - 10**13 + 1)]):
        given = delivery(server, tmp_path, mode="records")
        given.bus.epoch = f"e{epoch}"
        await given.sink.start()
        given.bus.publish([Trade(exchange="x", symbol="A/B", price="1", size="2", ts_recv=time) for time in times])
        assert is_whole(await given.end(), 2)
    assert [row["ts_recv"] for row in await stored(server)] == [TS, TS - 10**12, TS - 10**13, TS - 10**13 + 1]


async def test_a_key_that_holds_something_else_costs_its_own_records_alone(server: Server, tmp_path: Path) -> None:
    async with Redis.from_url(url(server)) as client:
        await client.set("market:trades:x:A/B", "mine")
    given = delivery(server, tmp_path, mode="records")
    await given.sink.start()
    given.bus.publish([Trade(exchange="x", symbol=symbol, price="1", size="2") for symbol in ("A/B", "C/D")])
    status = await given.end()
    assert (status.written, status.refused, status.held) == (1, 1, 0)
    async with Redis.from_url(url(server)) as client:
        assert await client.xlen("market:trades:x:C/D") == 1


async def test_who_listens_has_every_record_as_it_is_published(server: Server, tmp_path: Path) -> None:
    async with Redis.from_url(url(server)) as client, client.pubsub() as heard:
        await heard.psubscribe("market:*")
        given = delivery(server, tmp_path, mode="publish")
        assert is_whole(await given.run(COUNT), COUNT)
        got: list[bytes] = []
        while len(got) < COUNT:
            message = await heard.get_message(ignore_subscribe_messages=True, timeout=10)
            if message is not None:
                got.append(message["data"])
    assert differences(given.published, parsed(got)) == []


async def test_the_latest_of_each_topic_is_in_a_hash(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path, mode="latest")
    await given.sink.start()
    trades = [Trade(exchange="x", symbol=s, price=str(n), size="2") for n in range(9) for s in ("A/B", "A/B:B")]
    given.bus.publish([*trades, BookDelta(exchange="x", symbol="A/B", bids=[], asks=[], conn="x")])
    assert is_whole(await given.end(), 19)
    async with Redis.from_url(url(server)) as client:
        found = {field: json.loads(line)["price"] for field, line in (await client.hgetall("market:trades")).items()}
        assert await client.keys("*") == [b"market:trades"], "the change of a book alone tells nothing"
    assert found == {b"x:A/B": "8", b"x:A/B%3AB": "8"}


async def test_a_full_server_is_waited_for(server: Server, tmp_path: Path) -> None:
    async with Redis.from_url(url(server)) as client:
        await client.config_set("maxmemory", "1mb")
        given = delivery(server, tmp_path)
        running = asyncio.create_task(given.run(COUNT))
        assert "maxmemory" in await given.fails()
        await client.config_set("maxmemory", "0")
        assert is_whole(await running, COUNT)
    assert differences(given.published, await stored(server)) == []
