"""The `mqtt` sink on a real Mosquitto that is killed, that hangs, that denies, and whose readers are too slow."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from aggregator.records import Trade
from aggregator.sinks.brokers.mqtt import SINK
from aggregator.sinks.values import parse_place
from tests.support.delivery import Delivery, Row, differences, is_whole, parsed, repeats
from tests.support.servers import Server, mosquitto

pytestmark = pytest.mark.waits

COUNT = 10_000


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts a server with these lines in its configuration, which ends with the test."""
    servers = []

    def start(*options: str) -> Server:
        servers.append(mosquitto(tmp_path / "mosquitto", *options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def server(started: Callable[..., Server]) -> Server:
    return started()


def delivery(server: Server, folder: Path, **settings: object) -> Delivery:
    return Delivery(SINK, folder, url=f"mqtt://127.0.0.1:{server.port}", **settings)


def trades(*symbols: str, id: str = "") -> list[Trade]:
    return [Trade(exchange="x", symbol=symbol, id=id, price="1", size="2") for symbol in symbols]


class Reader:
    """A subscriber in a thread of its own, which connects again whenever its server is there."""

    def __init__(self, server: Server, name: str = "") -> None:
        """Read what is published; by a name the server keeps it meanwhile."""
        self.got: list[MQTTMessage] = []
        self.is_reading = False
        self._client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("market/#", qos=2)
        self._client.on_subscribe = lambda *_: setattr(self, "is_reading", True)
        self._client.on_message = lambda _, __, message: self.got.append(message)
        self._client.reconnect_delay_set(1, 1)
        keeping = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call,unused-ignore]
        keeping.SessionExpiryInterval = 3600 if name else 0
        self._client.connect("127.0.0.1", server.port, clean_start=not name, properties=keeping)
        self._client.loop_start()

    @property
    def rows(self) -> list[Row]:
        return parsed([bytes(message.payload) for message in self.got])

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():  # noqa: ASYNC110 - a thread brings it about
            await asyncio.sleep(0.05)

    async def whole(self, count: int) -> None:
        """Wait until so many records are there, those that came twice counted once, and go."""

        def are_there() -> bool:
            lines = sum(message.payload.count(b"\n") for message in list(self.got))
            return lines >= count and len({row["offset"] for row in self.rows}) >= count

        await self.until(are_there)
        self.close()

    async def end(self, last: int) -> None:
        """Wait until the record of this offset is there, and go."""
        await self.until(lambda: self.has(last))
        self.close()

    def has(self, last: int) -> bool:
        return any(told(message)["Last"] == last for message in self.got[-1000:])

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


async def reading(server: Server, name: str = "") -> Reader:
    reader = Reader(server, name)
    await reader.until(lambda: reader.is_reading)
    return reader


def told(message: MQTTMessage) -> dict[str, int]:
    """The offsets that a message names."""
    names = dict(getattr(message.properties, "UserProperty", ()))
    return {key: int(names[f"Aggregator-{key}"]) for key in ("First", "Last", "Previous")}


def untold(published: list[Row], got: list[MQTTMessage]) -> list[int]:
    """Offsets that are missing although each message of their topic follows the one before it."""
    holes: set[int] = set()
    last: dict[str, int] = {}
    for message in got:
        offsets = told(message)
        if offsets["Previous"] != last.get(message.topic, 0) and offsets["Last"] > last.get(message.topic, 0):
            holes |= set(range(last.get(message.topic, 0) + 1, offsets["First"]))
        last[message.topic] = max(offsets["Last"], last.get(message.topic, 0))
    missing = {row["offset"] for row in published} - {row["offset"] for row in parsed([bytes(m.payload) for m in got])}
    return sorted(missing - holes - set(range(min(last.values()) + 1, max(last.values()) + 1)))


@pytest.mark.parametrize(("mode", "qos"), [("batches", 0), ("batches", 1), ("batches", 2), ("records", 1)])
async def test_who_listens_has_every_record_as_it_is_published(
    server: Server, tmp_path: Path, mode: str, qos: int
) -> None:
    reader = await reading(server)
    given = delivery(server, tmp_path, mode=mode, qos=qos)
    assert is_whole(await given.run(COUNT), COUNT)
    await reader.whole(COUNT)
    assert differences(given.published, reader.rows) == []
    assert repeats(reader.rows) == 0
    assert untold(given.published, reader.got) == []
    topics = {message.topic for message in reader.got}
    if mode == "records":
        assert {"market/trades/alpha/BTC%2FUSDT", "market/trades/alpha/%2EBXBT", "market/trades/beta/%24x"} <= topics
        assert len([topic for topic in topics if topic.startswith("market/trades/alpha/")]) == 10
    else:
        assert topics == {f"market/{path}" for path in ("trades/alpha", "trades/beta", "book/alpha", "book/beta")}


async def test_a_server_that_is_killed_is_waited_for_and_what_it_takes_with_it_is_told(
    server: Server, tmp_path: Path
) -> None:
    """It keeps nothing on disk: what it had accepted, and not handed on, is lost with it."""
    reader = await reading(server)
    given = delivery(server, tmp_path)

    def up() -> None:
        reader.is_reading = False
        server.start()

    status = await given.run(COUNT, outages=3, down=server.kill, up=up)
    assert is_whole(status, COUNT)
    assert status.restarts >= 3
    await reader.until(lambda: reader.is_reading)
    more = delivery(server, tmp_path)
    more.bus.offset = given.bus.offset
    await more.run(500)
    await reader.end(more.published[-1]["offset"])
    assert untold(given.published, reader.got) == []
    assert [row for row in reader.rows if row not in given.published and row not in more.published] == []


async def test_a_server_that_hangs_is_waited_for(server: Server, tmp_path: Path) -> None:
    reader = await reading(server)
    given = delivery(server, tmp_path)
    assert is_whole(await given.run(COUNT, outages=1, down=server.hang, up=server.go_on), COUNT)
    await reader.whole(COUNT)
    assert differences(given.published, reader.rows) == []
    assert repeats(reader.rows) <= 1000


@pytest.mark.timeout(180)  # a busy machine takes its time
async def test_what_a_full_server_drops_for_a_slow_reader_is_told(
    started: Callable[..., Server], tmp_path: Path
) -> None:
    """Mosquitto 2.0.11 acknowledges to the sink what it has no room for."""
    server = started("max_queued_messages 5", "max_inflight_messages 1")
    (await reading(server, "slow")).close()
    given = delivery(server, tmp_path, mode="records")
    assert is_whole(await given.run(1000), 1000)
    reader = await reading(server, "slow")
    await reader.until(lambda: len(reader.got) >= 5)
    given = delivery(server, tmp_path, mode="records")
    given.bus.offset = 1000
    await given.run(20)
    while not reader.has(given.published[-1]["offset"]):  # a reader on a busy machine is too slow for the last of them
        await asyncio.sleep(1)
        after = delivery(server, tmp_path, mode="records")
        after.bus.offset = given.published[-1]["offset"]
        await after.run(1)
        given.published += after.published
    reader.close()
    missing = given.published[-1]["offset"] - len({row["offset"] for row in reader.rows})
    assert missing > 900
    assert untold(given.published, reader.got) == []


@pytest.mark.parametrize(("qos", "words"), [(1, "does not take other/trades/x: Not authorized"), (2, "gone")])
async def test_a_topic_that_is_denied_is_waited_for(
    started: Callable[..., Server], tmp_path: Path, qos: int, words: str
) -> None:
    """The server acknowledges it all the same, with a reason, which MQTT 3.1.1 does not have.

    With QoS 2 the client goes on with the second step after that (paho 2.2.0), for which the server hangs up.
    """
    rights = tmp_path / "rights"
    rights.write_text("topic write market/trades/x\n")
    server = started(f"acl_file {rights}")
    given = delivery(server, tmp_path, prefix="other", qos=qos)
    await given.sink.start()
    given.bus.publish(list(trades("A/B", "C/D")))
    assert words in await given.fails()
    rights.write_text("topic readwrite #\n")
    server.signal(signal.SIGHUP)
    assert is_whole(await given.end(), 2)


async def test_a_record_that_fits_into_no_message_of_the_server_is_a_dead_letter(
    started: Callable[..., Server], tmp_path: Path
) -> None:
    server = started("max_packet_size 4000")
    reader = await reading(server)
    given = delivery(server, tmp_path)
    await given.sink.start()
    given.bus.publish([*trades("A/B", id="small"), *trades("A/B", id="x" * 5000), *trades(*["A/B"] * 100, id="last")])
    status = await given.end()
    assert (status.written, status.refused, status.held) == (101, 1, 0)
    await reader.whole(101)


async def test_the_latest_of_each_topic_is_there_for_who_comes_later(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path, mode="records", retain=True)
    await given.sink.start()
    given.bus.publish([*trades("A/B", "C/D", id="1"), *trades("A/B", id="2")])
    assert is_whole(await given.end(), 3)
    reader = await reading(server)
    await reader.until(lambda: len(reader.got) == 2)
    assert sorted((row["symbol"], row["id"]) for row in reader.rows) == [("A/B", "2"), ("C/D", "1")]
    reader.close()


async def test_a_wrong_password_is_told_and_not_shown(started: Callable[..., Server], tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("")
    server = started(f"password_file {names}", "allow_anonymous false")
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o600)
    given = delivery(server, tmp_path, user="me", password=parse_place(f"file:{secret}"))
    await given.sink.start()
    said = await given.fails()
    assert "Not authorized" in said
    assert "hunter2" not in said
    await given.sink.abandon()
