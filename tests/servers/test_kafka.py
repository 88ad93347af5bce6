"""The `kafka` sink on Tansu, a server of Kafka's protocol in memory, with connections that are cut."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from aggregator.records import Trade
from aggregator.sinks.brokers.kafka import SINK
from aggregator.sinks.values import parse_place
from tests.support.delivery import Delivery, Row, differences, is_whole, parsed, repeats
from tests.support.servers import Server, free_port, tansu

pytestmark = pytest.mark.waits

COUNT = 10_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = tansu(tmp_path / "tansu")
    server.start()
    yield server
    server.kill()


def delivery(port: int, folder: Path, **settings: object) -> Delivery:
    return Delivery(SINK, folder, servers=(f"127.0.0.1:{port}",), **settings)


async def stored(port: int) -> list[Message]:
    """Every message of every topic, each partition in its order."""
    return await asyncio.to_thread(_stored, port)


def _stored(port: int) -> list[Message]:
    settings = {"bootstrap.servers": f"127.0.0.1:{port}", "group.id": "test", "auto.offset.reset": "earliest"}
    reader = Consumer(settings, logger=logging.getLogger("kafka"))
    known = reader.list_topics(timeout=10).topics
    places = [TopicPartition(name, at, 0) for name, topic in known.items() for at in topic.partitions]
    left = sum(reader.get_watermark_offsets(place, timeout=10)[1] for place in places)
    reader.assign(places)
    found: list[Message] = []
    while len(found) < left:
        found += reader.consume(1000, 1.0)
    reader.close()
    return found


def rows(messages: list[Message]) -> list[Row]:
    return parsed([message.value() or b"" for message in messages])


class Way:
    """A way to the server, which can be cut."""

    def __init__(self, port: int) -> None:
        """Listen at a port of its own; `to` says where the server is."""
        self.port = port
        self.to = 0
        self.is_cut = False
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to)
        self._open |= {writer, far_writer}
        await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while blob := await reader.read(65_536):
                writer.write(blob)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    def cut(self) -> None:
        self.is_cut = True
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        self.is_cut = False


@asynccontextmanager
async def way_to(folder: Path) -> AsyncIterator[tuple[Way, Server]]:
    """A server that sends its clients to a way to itself."""
    way = Way(free_port())
    server = tansu(folder / "tansu", told=way.port)
    server.start()
    way.to = server.port
    listening = await asyncio.start_server(way.serve, "127.0.0.1", way.port)
    yield way, server
    way.cut()
    listening.close()
    server.kill()


async def test_each_record_is_a_message_with_its_key_its_time_and_its_headers(server: Server, tmp_path: Path) -> None:
    given = delivery(server.port, tmp_path)
    assert is_whole(await given.run(COUNT), COUNT)
    messages = await stored(server.port)
    assert differences(given.published, rows(messages)) == []
    assert repeats(rows(messages)) == 0
    assert {message.topic() for message in messages} == {
        f"market.{name}" for name in ("trades.alpha", "trades.beta", "book.alpha", "book.beta")
    }
    places = defaultdict(set)
    for message in messages:
        places[message.topic(), message.key()].add(message.partition())
    assert {len(found) for found in places.values()} == {1}, "a key has one partition"
    assert ("market.trades.alpha", b"trades:alpha:BTC/USDT%3AUSDT") in places
    row, first = rows(messages[:1])[0], messages[0]
    assert first.timestamp()[1] == row["ts_recv"] // 1_000_000
    kind = str(row["type"]).encode()
    assert first.headers() == [
        ("Aggregator-Type", kind),
        ("Aggregator-Schema", b"1"),
        ("Aggregator-Epoch", given.bus.epoch.encode()),
    ]


async def test_connections_that_are_cut_cost_nothing(tmp_path: Path) -> None:
    async with way_to(tmp_path) as (way, server):
        given = delivery(way.port, tmp_path)
        status = await given.run(COUNT, outages=3, down=way.cut, up=way.mend)
        assert is_whole(status, COUNT)
        assert status.restarts == 0, "the producer goes on"
        found = rows(await stored(server.port))
    assert differences(given.published, found) == []


async def test_a_server_that_hangs_is_waited_for(server: Server, tmp_path: Path) -> None:
    given = delivery(server.port, tmp_path)
    assert is_whole(await given.run(COUNT, outages=1, down=server.hang, up=server.go_on), COUNT)
    found = rows(await stored(server.port))
    assert differences(given.published, found) == []
    assert repeats(found) == 0


async def test_a_server_that_is_killed_is_waited_for(server: Server, tmp_path: Path) -> None:
    """It has all in memory, so that nothing of before is left when it comes again."""
    given = delivery(server.port, tmp_path)
    assert is_whole(await given.run(COUNT, outages=3, down=server.kill, up=server.start), COUNT)
    offsets = {row["offset"] for row in rows(await stored(server.port))}
    assert offsets >= set(range(COUNT * 3 // 4 + 1001, COUNT + 1)), "all that came after the last kill"


async def test_a_record_that_fits_into_no_message_is_a_dead_letter(server: Server, tmp_path: Path) -> None:
    given = delivery(server.port, tmp_path, largest_message=5000)
    await given.sink.start()
    ids = ("small", "x" * 6000, "last")
    given.bus.publish([Trade(exchange="x", symbol="A/B", id=id, price="1", size="2") for id in ids])
    status = await given.end()
    assert (status.written, status.refused, status.held) == (2, 1, 0)
    assert [row["id"] for row in rows(await stored(server.port))] == ["small", "last"]


async def test_a_server_that_is_not_there_is_told_and_the_password_is_not(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o600)
    given = delivery(free_port(), tmp_path, user="me", password=parse_place(f"file:{secret}"))
    await given.sink.start()
    said = await given.fails()
    assert "Connection refused" in said
    assert "hunter2" not in said
    await given.sink.abandon()
