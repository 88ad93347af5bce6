"""The `nats` sink on a real server that is killed, that hangs, and that takes no large messages."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from aggregator.records import Trade
from aggregator.sinks.brokers.nats import SINK
from tests.support.delivery import Delivery, differences, is_whole, parsed, repeats
from tests.support.servers import Server
from tests.support.servers import nats as nats_server

pytestmark = pytest.mark.waits

COUNT = 10_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = nats_server(tmp_path / "nats")
    server.start()
    yield server
    server.kill()


def delivery(server: Server, folder: Path, **settings: object) -> Delivery:
    return Delivery(SINK, folder, servers=(f"nats://127.0.0.1:{server.port}",), stream_bytes=1 << 29, **settings)


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Client]:
    client = await nats.connect(f"nats://127.0.0.1:{server.port}", allow_reconnect=False)
    yield client
    await client.close()


async def stored(server: Server) -> list[Msg]:
    """Every message of the stream, in its order."""
    async with connected(server) as client:
        stream = client.jetstream()
        left = (await stream.stream_info("market")).state.messages
        reader = await stream.pull_subscribe(
            "market.>", stream="market", config=ConsumerConfig(ack_policy=AckPolicy.NONE)
        )
        messages: list[Msg] = []
        while len(messages) < left:
            messages += await reader.fetch(min(1000, left - len(messages)), timeout=10)
        return messages


@pytest.mark.parametrize("mode", ["frames", "records"])
async def test_jetstream_has_every_record_once_though_the_server_is_killed(
    server: Server, tmp_path: Path, mode: str
) -> None:
    given = delivery(server, tmp_path, mode=mode)
    status = await given.run(COUNT, outages=3, down=server.kill, up=server.start)
    assert is_whole(status, COUNT)
    assert status.restarts == 3
    found = parsed([message.data for message in await stored(server)])
    assert differences(given.published, found) == []
    assert repeats(found) == 0, "the number of a message that came before is known to the stream"


async def test_subjects_name_their_topics(server: Server, tmp_path: Path) -> None:
    await delivery(server, tmp_path, mode="records").run(200)
    subjects = {message.subject for message in await stored(server)}
    assert {"market.trades.alpha.BTC/USDT", "market.trades.alpha.%2EBXBT", "market.trades.beta.a%20b"} <= subjects
    assert len([name for name in subjects if name.startswith("market.trades.alpha.")]) == 10


async def test_who_listens_has_every_record_as_it_is_published(server: Server, tmp_path: Path) -> None:
    got: list[bytes] = []

    async def take(message: Msg) -> None:
        got.append(message.data)

    async with connected(server) as client:
        await client.subscribe("market.>", cb=take, pending_msgs_limit=-1, pending_bytes_limit=-1)
        await client.flush()
        given = delivery(server, tmp_path, mode="core")
        assert is_whole(await given.run(COUNT), COUNT)
        await client.drain()
    assert differences(given.published, parsed(got)) == []


async def test_a_server_that_hangs_is_waited_for(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path)
    assert is_whole(await given.run(COUNT, outages=1, down=server.hang, up=server.go_on), COUNT)
    assert differences(given.published, parsed([m.data for m in await stored(server)])) == []


async def test_a_record_that_is_larger_than_a_message_is_a_dead_letter(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path)
    await given.sink.start()
    ids = ("small", "x" * 2_000_000, "last")
    given.bus.publish([Trade(exchange="alpha", symbol="A/B", id=text, price="1", size="2") for text in ids])
    status = await given.end()
    assert (status.written, status.refused, status.held) == (2, 1, 0)
    assert [row["id"] for row in parsed([m.data for m in await stored(server)])] == ["small", "last"]


async def test_a_server_that_has_not_so_much_room_says_so(server: Server, tmp_path: Path) -> None:
    """The bytes of a stream are reserved when it is made (nats-server 2.15): error 10005, or 10047."""
    given = Delivery(SINK, tmp_path, servers=(f"nats://127.0.0.1:{server.port}",), stream_bytes=1 << 50)
    await given.sink.start()
    assert "insufficient" in await given.fails()
    await given.sink.abandon()
