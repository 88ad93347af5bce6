"""The commands, queries and programs that the pages of the sinks show, as they stand there, each on a real server."""

import asyncio
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from aggregator.records import Bbo, BookDelta, Gap, Record, Ticker, Trade
from aggregator.sinks.brokers import amqp, kafka, mqtt, nats, redis, zmq
from aggregator.sinks.databases import clickhouse, influx, postgres
from aggregator.sinks.sink import Sink
from tests.support import servers
from tests.support.delivery import Delivery
from tests.support.servers import Server

pytestmark = [pytest.mark.waits, pytest.mark.timeout(240)]

PAGES = Path(__file__).resolve().parents[2] / "docs/sinks"
BTC: dict[str, Any] = {"exchange": "kraken", "symbol": "BTC/USD", "raw_symbol": "XBTUSD"}
TRADE = "60424.4500"


def blocks(page: str, language: str) -> list[str]:
    """What a page shows in a language, after the command that installs the sink's library."""
    found = re.findall(rf"```{language}\n(.*?)```", (PAGES / f"{page}.md").read_text(), re.DOTALL)
    return [block for block in found if "pip install" not in block]


def queries(page: str) -> list[str]:
    return [query.strip() for block in blocks(page, "sql") for query in block.split(";") if query.strip()]


def made(ts: int | None = None) -> list[Record]:
    """A minute of Kraken, ending now."""
    begun = time.time_ns() - 60_000_000_000 if ts is None else ts
    records: list[Record] = [
        Trade(**BTC, ts_recv=begun + at * 1_000_000_000, id=str(at), price=TRADE, size="0.5", side="buy")
        for at in range(50)
    ]
    records += [
        Ticker(**BTC, ts_recv=begun, last=TRADE),
        Bbo(**BTC, ts_recv=begun, bid_price="60424.1", bid_size="1", ask_price="60424.5", ask_size="2"),
        BookDelta(**BTC, ts_recv=begun, bids=[("60424.1", "1")], asks=[]),
        Gap(**BTC, ts_recv=begun, gap_id="g", phase="close", channel="trades", cause="sequence", ts_from=begun),
    ]
    return records


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[Callable[[Path], Server]], Server]]:
    """Starts a server, which ends with the test."""
    begun: list[Server] = []

    def start(server: Callable[[Path], Server]) -> Server:
        begun.append(server(tmp_path / server.__name__))
        begun[-1].start()
        return begun[-1]

    yield start
    for server in begun:
        server.kill()


async def delivered(sink: Sink, folder: Path, records: list[Record] | None = None, /, **settings: object) -> None:
    given = made() if records is None else records
    status = await Delivery(sink, folder, 10.0, **settings).run(given)
    assert 0 < status.written == status.received, status  # some take only what they are for


@asynccontextmanager
async def shown(program: list[str]) -> AsyncIterator[Callable[[str], Any]]:
    """A program of a page while it runs; what is given waits for a text in what it prints."""
    process = await asyncio.create_subprocess_exec(*program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    said = b""

    async def until(text: str) -> None:
        nonlocal said
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while text.encode() not in said:
                more = await process.stdout.read(65536)
                assert more, said.decode()
                said += more

    try:
        yield until
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def said(command: str) -> str:
    """What a command of a shell prints. Raises CalledProcessError."""
    return subprocess.run(["sh", "-ec", command], capture_output=True, text=True, check=True, timeout=60).stdout


async def test_amqp(started: Callable[..., Server], tmp_path: Path) -> None:
    server = started(servers.rabbitmq)
    await delivered(amqp.SINK, tmp_path, url=f"amqp://127.0.0.1:{server.port}")
    (program,) = blocks("amqp", "python")
    async with shown([sys.executable, "-u", "-c", program.replace("127.0.0.1/", f"127.0.0.1:{server.port}/")]) as until:
        await until(TRADE)


async def test_nats(started: Callable[..., Server], tmp_path: Path) -> None:
    server = started(servers.nats)
    url = f"nats://127.0.0.1:{server.port}"
    await delivered(nats.SINK, tmp_path, servers=(url,), stream="market", stream_bytes=1 << 29)
    (program,) = blocks("nats", "python")
    async with shown([sys.executable, "-u", "-c", program.replace("nats://127.0.0.1:4222", url)]) as until:
        await until(TRADE)


async def test_zmq(tmp_path: Path) -> None:
    url = f"tcp://127.0.0.1:{servers.free_port()}"
    (program,) = blocks("zmq", "python")
    given = Delivery(zmq.SINK, tmp_path, 10.0, url=url)
    await given.sink.start()
    async with shown([sys.executable, "-u", "-c", program.replace("tcp://127.0.0.1:5556", url)]) as until:
        reading = asyncio.create_task(until(TRADE))
        while not reading.done():
            await given.publish(made())
            await asyncio.sleep(0.1)
        await reading
    await given.end()


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
async def test_redis(started: Callable[..., Server], tmp_path: Path) -> None:
    server = started(servers.redis)
    begun = 1_795_000_000_000_000_777
    lines = [line.partition("#")[0].split(" ", 1)[1] for line in "".join(blocks("redis", "sh")).splitlines()]
    asked = {line.partition(" ")[0]: f"redis-cli -p {server.port} {line}" for line in lines}
    url = f"redis://127.0.0.1:{server.port}/0"
    for mode, command in (("batches", "XREVRANGE"), ("records", "XRANGE"), ("latest", "HGET")):
        await delivered(redis.SINK, tmp_path / mode, made(begun), url=url, mode=mode)
        assert TRADE in said(asked[command]), command
    async with shown(["sh", "-ec", f"exec stdbuf -oL {asked['PSUBSCRIBE']}"]) as until:
        await until("psubscribe")
        await delivered(redis.SINK, tmp_path / "publish", url=url, mode="publish")
        await until(TRADE)


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="mosquitto_sub is not installed")
async def test_mqtt(started: Callable[..., Server], tmp_path: Path) -> None:
    server = started(servers.mosquitto)
    for mode, line in zip(("batches", "records"), "".join(blocks("mqtt", "sh")).splitlines(), strict=True):
        command = line.partition("  #")[0].replace("mosquitto_sub", f"mosquitto_sub -p {server.port}")
        async with shown(["sh", "-ec", f"exec {command}"]) as until:
            reading = asyncio.create_task(until(TRADE))
            at = 0
            while not reading.done():
                at += 1
                folder = tmp_path / f"{mode}{at}"
                await delivered(mqtt.SINK, folder, url=f"mqtt://127.0.0.1:{server.port}", mode=mode)
            await reading


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
async def test_kafka(tmp_path: Path) -> None:
    """By the servers that librdkafka plays: the kcat of Debian 12 does not understand Tansu."""
    from confluent_kafka import Producer

    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "x"})
    (broker,) = cluster.list_topics(timeout=10).brokers.values()
    address = f"{broker.host}:{broker.port}"
    await delivered(kafka.SINK, tmp_path, servers=(address,))
    (command,) = [block for block in blocks("kafka", "sh") if block.startswith("kcat")]
    async with shown(["sh", "-ec", f"exec {command.replace('127.0.0.1:9092', address)}"]) as until:
        await until(TRADE)


async def test_postgres(started: Callable[..., Server], tmp_path: Path) -> None:
    import asyncpg

    server = started(servers.postgres)
    place: dict[str, Any] = {"host": "127.0.0.1", "port": server.port, "database": "postgres"}
    await delivered(postgres.SINK, tmp_path, **place)
    client = await asyncpg.connect(**place, user="aggregator")
    asked = queries("postgres")
    assert len(asked) == 3
    for query in asked:
        assert await client.fetch(query), query
    await client.close()


async def test_clickhouse(started: Callable[..., Server], tmp_path: Path) -> None:
    server = started(servers.clickhouse)
    url = f"http://127.0.0.1:{server.port}"
    await delivered(clickhouse.SINK, tmp_path, url=url, database="market")
    asked = queries("clickhouse")
    assert len(asked) == 4
    for query in asked:
        assert said(f"curl -sf {url}/?query={quote(query + ' FORMAT JSONEachRow')} -X POST -d ''"), query


async def test_influx(started: Callable[..., Server], tmp_path: Path) -> None:
    (block,) = blocks("influx", "sh")
    first, _, second = block.replace("\\\n", "").partition("\n")
    for kind, place, command, settings in (
        (servers.influxdb, "127.0.0.1:8086", first, {"database": "market"}),
        (servers.victoria_metrics, "127.0.0.1:8428", second.partition("     #")[0], {}),
    ):
        server = started(kind)
        here = f"127.0.0.1:{server.port}"
        await delivered(influx.SINK, tmp_path / kind.__name__, url=f"http://{here}", **settings)
        async with asyncio.timeout(60):
            while "kraken" not in (found := said(command.replace(place, here).replace("curl", "curl -sf"))):  # noqa: ASYNC110 - nothing tells it
                await asyncio.sleep(0.5)
        assert "0.4" in found or "0.399" in found, found
