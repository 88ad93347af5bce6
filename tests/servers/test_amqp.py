"""The `amqp` sink on a real RabbitMQ that is killed, that hangs, that is full, and that has no queue."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from aggregator.records import Trade
from aggregator.sinks.brokers.amqp import SINK
from tests.support.delivery import Delivery, differences, is_whole, parsed, repeats
from tests.support.servers import Server, rabbitmq

pytestmark = pytest.mark.waits

COUNT = 10_000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that starts once for all who leave it as it was."""
    server = rabbitmq(tmp_path_factory.mktemp("rabbitmq") / "shared")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = rabbitmq(tmp_path / "rabbitmq")
    server.start()
    yield server
    server.kill()


def delivery(server: Server, folder: Path, timeout: float = 3.0, /, **settings: object) -> Delivery:
    """A sink with an exchange and a queue of its own."""
    return Delivery(
        SINK,
        folder,
        timeout,
        url=f"amqp://127.0.0.1:{server.port}",
        **{"exchange": folder.name, "queue_name": folder.name, **settings},
    )


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    connection = await aio_pika.connect(port=server.port)
    try:
        yield await connection.channel()
    finally:
        await connection.close()


async def stored(server: Server, queue: str) -> list[AbstractIncomingMessage]:
    """Every message of a queue, in its order; they are gone from it then.

    No more are asked for than are counted: what goes back into a queue unread is missing from its count for a while,
    which a busy server gives before it has taken them back (RabbitMQ 3.10).
    """
    found: list[AbstractIncomingMessage] = []
    async with connected(server) as channel:
        reader = await channel.get_queue(queue)
        left = reader.declaration_result.message_count or 0
        if not left:
            return found
        await channel.set_qos(left)
        async with reader.iterator() as messages:
            while len(found) < left:
                found.append(await anext(messages))
        await found[-1].ack(multiple=True)
    return found


async def bodies(server: Server, queue: str) -> list[bytes]:
    return [message.body for message in await stored(server, queue)]


@pytest.mark.timeout(180)  # a start of this server takes seconds, and on a busy machine ten of them
@pytest.mark.parametrize(("mode", "outages", "count"), [("batches", 3, COUNT), ("records", 1, COUNT // 2)])
async def test_a_queue_has_every_record_though_the_server_is_killed(
    server: Server, tmp_path: Path, mode: str, outages: int, count: int
) -> None:
    given = delivery(server, tmp_path, mode=mode)
    status = await given.run(count, outages=outages, down=server.kill, up=server.start)
    assert is_whole(status, count)
    assert status.restarts >= outages
    found = parsed(await bodies(server, tmp_path.name))
    assert differences(given.published, found) == []
    assert repeats(found) <= status.restarts * 1000, "the batch that was under way may come twice"


async def test_a_server_that_hangs_is_waited_for(shared: Server, tmp_path: Path) -> None:
    given = delivery(shared, tmp_path)
    assert is_whole(await given.run(COUNT, outages=1, down=shared.hang, up=shared.go_on), COUNT)
    found = parsed(await bodies(shared, tmp_path.name))
    assert differences(given.published, found) == []
    assert repeats(found) <= 1000


async def test_what_a_message_says_of_itself(shared: Server, tmp_path: Path) -> None:
    given = delivery(shared, tmp_path, mode="records")
    await given.run(200)
    messages = await stored(shared, tmp_path.name)
    keys = {str(message.routing_key) for message in messages}
    assert {"market.trades.alpha.BTC/USDT", "market.trades.alpha.%2EBXBT", "market.trades.beta.a%20b"} <= keys
    assert len([key for key in keys if key.startswith("market.trades.alpha.")]) == 10
    first = given.published[0]["offset"]
    assert messages[0].headers == {
        "Aggregator-Epoch": given.bus.epoch,
        "Aggregator-First": first,
        "Aggregator-Last": first,
    }
    assert messages[0].delivery_mode == aio_pika.DeliveryMode.PERSISTENT


@pytest.mark.timeout(180)
async def test_a_full_queue_is_waited_for_and_nothing_that_it_took_comes_again(shared: Server, tmp_path: Path) -> None:
    """A queue that drops what it acknowledges is none that the sink makes: it has the policy `reject-publish`.

    A batch has all the time that a busy machine needs: behind a timeout it would come again on a new connection.
    """
    given = delivery(shared, tmp_path, 60.0, mode="records", largest_queue=100_000)
    running = asyncio.create_task(given.run(2000))
    assert "full" in await given.fails()
    found: list[bytes] = []
    while not running.done():
        found += await bodies(shared, tmp_path.name)
    assert is_whole(await running, 2000)
    rows = sorted(parsed(found + await bodies(shared, tmp_path.name)), key=lambda row: row["offset"])
    assert differences(given.published, rows) == []
    assert repeats(rows) == 0


async def test_a_message_that_no_queue_takes_is_waited_for_or_dropped_as_asked(shared: Server, tmp_path: Path) -> None:
    """The server acknowledges it all the same (RabbitMQ 3.10), behind a `basic.return`."""
    given = delivery(shared, tmp_path, queue_name="")
    await given.sink.start()
    given.bus.publish([Trade(exchange="x", symbol="A/B", price="1", size="2")])
    assert "no queue takes market.trades.x" in await given.fails()
    async with connected(shared) as channel:
        await (await channel.declare_queue(tmp_path.name, durable=True)).bind(tmp_path.name, "market.trades.#")
    assert is_whole(await given.end(), 1)
    assert len(parsed(await bodies(shared, tmp_path.name))) == 1

    dropping = delivery(shared, tmp_path, queue_name="", exchange=f"{tmp_path.name}-other", unrouted="drop")
    assert is_whole(await dropping.run(500), 500)


async def test_a_server_without_memory_is_waited_for_on_the_same_connection(shared: Server, tmp_path: Path) -> None:
    given = delivery(shared, tmp_path)
    control(shared, "set_vm_memory_high_watermark", "0.0001")
    running = asyncio.create_task(given.run(COUNT))
    assert "memory" in await given.fails()
    await asyncio.to_thread(control, shared, "set_vm_memory_high_watermark", "0.4")
    status = await running
    assert is_whole(status, COUNT)
    assert status.restarts == 0
    found = parsed(await bodies(shared, tmp_path.name))
    assert differences(given.published, found) == []
    assert repeats(found) == 0


def control(server: Server, *words: str) -> None:
    """Have the server's own tool do something; the one on PATH would do it as another user."""
    subprocess.run(
        ["/usr/lib/rabbitmq/bin/rabbitmqctl", *words],
        env=server.environment,
        check=True,
        capture_output=True,
        timeout=60,
    )


async def test_a_record_that_fits_into_no_message_is_a_dead_letter(shared: Server, tmp_path: Path) -> None:
    given = delivery(shared, tmp_path, mode="records")
    await given.sink.start()
    texts = (("small", "A/B"), ("x" * 5_000_000, "A/B"), ("named", "é" * 100), ("last", "A/B"))
    given.bus.publish([Trade(exchange="x", symbol=symbol, id=id, price="1", size="2") for id, symbol in texts])
    status = await given.end()
    assert (status.written, status.refused, status.held) == (2, 2, 0)
    assert [row["id"] for row in parsed(await bodies(shared, tmp_path.name))] == ["small", "last"]


async def test_what_is_there_already_is_left_as_it_is_or_its_reason_told(shared: Server, tmp_path: Path) -> None:
    async with connected(shared) as channel:
        await channel.declare_exchange(tmp_path.name, "fanout", durable=False)
        await channel.declare_queue(tmp_path.name, arguments={"x-max-length": 3})
    assert is_whole(await delivery(shared, tmp_path, unrouted="drop").run(100), 100)

    wrong = delivery(shared, tmp_path, user="nobody")
    await wrong.sink.start()
    assert "ACCESS_REFUSED" in await wrong.fails()
    await wrong.sink.abandon()
