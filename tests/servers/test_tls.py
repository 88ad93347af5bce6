"""Sinks that speak TLS: with a server whose certificate they trust, with no other, and with one that wants theirs.

NATS tells of TLS by itself before it is spoken, and so speaks it itself here. Before the others stands one who unwraps
it; of these PostgreSQL is of a build without.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import pytest
from msgspec import Struct

from aggregator.records import Bbo, Record
from aggregator.sinks.brokers.amqp import SINK as AMQP
from aggregator.sinks.brokers.kafka import SINK as KAFKA
from aggregator.sinks.brokers.mqtt import SINK as MQTT
from aggregator.sinks.brokers.nats import SINK as NATS
from aggregator.sinks.brokers.redis import SINK as REDIS
from aggregator.sinks.databases.clickhouse import SINK as CLICKHOUSE
from aggregator.sinks.databases.influx import SINK as INFLUX
from aggregator.sinks.databases.postgres import SINK as POSTGRES
from aggregator.sinks.databases.questdb import SINK as QUESTDB
from aggregator.sinks.http import SINK as HTTP
from aggregator.sinks.sink import Sink
from tests.support import servers
from tests.support.certificates import Authority
from tests.support.delivery import Delivery, is_whole, records
from tests.support.servers import LOOPBACK, Server, free_port
from tests.support.webhook import webhook

pytestmark = [pytest.mark.waits, pytest.mark.timeout(240)]  # some servers take seconds to start

COUNT = 500
PATIENCE_S = 30.0  # the reason comes before that
Greet = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ELSEWHERE = "DNS:elsewhere.test"


class Certified(Struct, frozen=True):
    """What a server shows, and whose certificates it wants to see; null: nobody's."""

    certificate: Path
    wanted: Path | None = None


class Speaker(Protocol):
    """A server that speaks TLS with these certificates for a while; gives the port."""

    def speaking(self, certified: Certified) -> AbstractAsyncContextManager[int]: ...
    def end(self) -> None: ...


class Behind:
    """A server that speaks no TLS, behind a port where it is unwrapped."""

    def __init__(self, make: Callable[[Path, int], Server], folder: Path, greet: Greet | None = None) -> None:
        """Start the server.

        make: is told the port in front
        greet: what is said before TLS is spoken; null: nothing
        """
        self._port = free_port()
        self._server = make(folder, self._port)
        self._server.start()
        self._greet = greet

    @asynccontextmanager
    async def speaking(self, certified: Certified) -> AsyncIterator[int]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certified.wanted)
        context.load_cert_chain(certified.certificate)
        if certified.wanted is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        tasks: set[asyncio.Task[None]] = set()

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._between(reader, writer, context))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        at_once = context if self._greet is None else None
        listening = await asyncio.start_server(serve, LOOPBACK, self._port, ssl=at_once)
        try:
            yield self._port
        finally:
            listening.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _between(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
    ) -> None:
        try:
            if self._greet is not None:
                await self._greet(reader, writer)
                await writer.start_tls(context)
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._server.port)
        except OSError:
            writer.transport.abort()
            return
        ways = [asyncio.ensure_future(_pass(*way)) for way in ((reader, far_writer), (far_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            writer.transport.abort()
            far_writer.transport.abort()

    def end(self) -> None:
        self._server.kill()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while blob := await reader.read(65_536):
            writer.write(blob)
            await writer.drain()


class Itself:
    """A server that speaks TLS itself, and is started for each test."""

    def __init__(self, make: Callable[[Path, Certified], Server], folder: Path) -> None:
        self._make = make
        self._folder = folder
        self._made = 0

    @asynccontextmanager
    async def speaking(self, certified: Certified) -> AsyncIterator[int]:
        self._made += 1
        server = await asyncio.to_thread(self._make, self._folder / str(self._made), certified)
        await asyncio.to_thread(server.start)
        try:
            yield server.port
        finally:
            server.kill()

    def end(self) -> None:
        """Nothing is left."""


def nats(folder: Path, certified: Certified) -> Server:
    shown = ("--tls", "--tlscert", str(certified.certificate), "--tlskey", str(certified.certificate))
    wanted = () if certified.wanted is None else ("--tlsverify", "--tlscacert", str(certified.wanted))
    return servers.nats(folder, *shown, *wanted)


async def greet_postgres(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Agree to the request for TLS: https://www.postgresql.org/docs/current/protocol-message-formats.html."""
    assert await reader.readexactly(8) == (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")
    writer.write(b"S")
    await writer.drain()


def plain(make: Callable[[Path], Server]) -> Callable[[Path], Speaker]:
    """A server that need not know who stands before it."""
    return lambda folder: Behind(lambda inner, front: make(inner), folder)  # noqa: ARG005


class Kind(Struct, frozen=True):
    """A sink, its server, and the settings for a port of it.

    records: what it is given, so many; not every sink takes every record
    shows: whether it has a certificate of its own to show
    """

    sink: Sink
    speaker: Callable[[Path], Speaker]
    settings: Callable[[int], Mapping[str, object]]
    records: Callable[[int], list[Record]] = records
    shows: bool = True


def prices(count: int) -> list[Record]:
    return [Bbo(exchange="x", symbol="A/B", ts_recv=number + 1, bid_price="1", bid_size="2") for number in range(count)]


def at(scheme: str) -> Callable[[int], Mapping[str, object]]:
    return lambda port: {"url": f"{scheme}://{LOOPBACK}:{port}"}


KINDS = {
    "amqp": Kind(AMQP, plain(servers.rabbitmq), at("amqps")),
    "clickhouse": Kind(CLICKHOUSE, plain(servers.clickhouse), at("https")),
    "http": Kind(HTTP, plain(webhook), lambda port: {"url": f"https://{LOOPBACK}:{port}/market"}),
    "influx": Kind(INFLUX, plain(servers.influxdb), at("https"), prices),
    "kafka": Kind(
        KAFKA,
        lambda folder: Behind(servers.tansu, folder),
        lambda port: {"servers": (f"{LOOPBACK}:{port}",), "tls": True},
    ),
    "mqtt": Kind(MQTT, plain(servers.mosquitto), at("mqtts")),
    "nats": Kind(
        NATS,
        lambda folder: Itself(nats, folder),
        lambda port: {"servers": (f"tls://{LOOPBACK}:{port}",), "stream_bytes": 1 << 29},
    ),
    "postgres": Kind(
        POSTGRES,
        lambda folder: Behind(lambda inner, front: servers.postgres(inner), folder, greet_postgres),  # noqa: ARG005
        lambda port: {"host": LOOPBACK, "port": port, "database": "postgres", "tls": True},
    ),
    "questdb": Kind(QUESTDB, plain(servers.questdb), at("https"), prices, shows=False),
    "redis": Kind(REDIS, plain(servers.redis), at("rediss")),
}


@pytest.fixture(scope="module", params=KINDS)
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kind, Speaker]]:
    kind = KINDS[request.param]
    speaker = kind.speaker(tmp_path_factory.mktemp(request.param) / "server")
    yield kind, speaker
    speaker.end()


async def refusal(kind: Kind, given: Delivery) -> str:
    """What a sink says that does not come to write."""
    await given.sink.start()
    await given.publish(kind.records(COUNT))
    said = await given.fails()
    assert given.sink.status().written == 0
    await given.sink.abandon()
    return said


async def test_a_server_whose_certificate_is_trusted_gets_every_record(
    started: tuple[Kind, Speaker], authority: Authority, tmp_path: Path
) -> None:
    kind, speaker = started
    async with speaker.speaking(Certified(authority.signed())) as port:
        given = Delivery(kind.sink, tmp_path, PATIENCE_S, ca=authority.certificate, **kind.settings(port))
        assert is_whole(await given.run(kind.records(COUNT)), COUNT)


async def test_one_whose_certificate_another_has_signed_gets_none(
    started: tuple[Kind, Speaker], authority: Authority, other_authority: Authority, tmp_path: Path
) -> None:
    kind, speaker = started
    async with speaker.speaking(Certified(other_authority.signed())) as port:
        given = Delivery(kind.sink, tmp_path, PATIENCE_S, ca=authority.certificate, **kind.settings(port))
        assert "certificate verify failed" in await refusal(kind, given)


async def test_one_whose_certificate_is_that_of_another_place_gets_none(
    started: tuple[Kind, Speaker], authority: Authority, tmp_path: Path
) -> None:
    kind, speaker = started
    async with speaker.speaking(Certified(authority.signed(ELSEWHERE))) as port:
        given = Delivery(kind.sink, tmp_path, PATIENCE_S, ca=authority.certificate, **kind.settings(port))
        assert "certificate verify failed" in await refusal(kind, given)


async def test_one_that_wants_to_see_a_certificate_is_shown_it(
    started: tuple[Kind, Speaker], authority: Authority, other_authority: Authority, tmp_path: Path
) -> None:
    kind, speaker = started
    if not kind.shows:
        pytest.skip("its client has none to show")
    certified = Certified(authority.signed(), wanted=other_authority.certificate)
    async with speaker.speaking(certified) as port:
        keys = {"ca": authority.certificate, **kind.settings(port)}
        given = Delivery(kind.sink, tmp_path, PATIENCE_S, certificate=other_authority.signed(), **keys)
        assert is_whole(await given.run(kind.records(COUNT)), COUNT)
        assert await refusal(kind, Delivery(kind.sink, tmp_path, PATIENCE_S, **keys))
