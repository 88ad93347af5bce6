"""The `zmq` sink with real subscribers that come and go, stop reading, or have no right to read."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

from aggregator.records import Trade
from aggregator.sinks.brokers.zmq import SINK
from aggregator.sinks.values import parse_place
from tests.support.delivery import Delivery, Row, differences, is_whole, parsed, repeats
from tests.support.servers import free_port

pytestmark = pytest.mark.waits

COUNT = 10_000


class Reader:
    """A subscriber that reads in a task, until it hangs or goes."""

    def __init__(self, url: str, topic: str = "market:", *, room: int = 1_000_000, server: bytes = b"") -> None:
        """Subscribe, with room for so many messages; `server` is its public key."""
        self.got: list[tuple[str, dict[str, Any], bytes]] = []
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, room)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 10)
        if server:
            public, secret = zmq.curve_keypair()
            for option, key in (
                (zmq.CURVE_SERVERKEY, server),
                (zmq.CURVE_PUBLICKEY, public),
                (zmq.CURVE_SECRETKEY, secret),
            ):
                self._socket.setsockopt(option, key)
        self._socket.connect(url)
        self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self._task: asyncio.Task[None] | None = None
        self.go_on()

    def go_on(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        while True:
            try:
                topic, header, payload = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                await asyncio.sleep(0.002)
                continue
            self.got.append((topic.decode(), json.loads(header), payload))
            if not len(self.got) % 50:
                await asyncio.sleep(0)

    async def hang(self) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def close(self) -> None:
        await self.hang()
        self._context.destroy(0)

    @property
    def rows(self) -> list[Row]:
        return parsed([payload for _, _, payload in self.got])

    async def has(self, count: int) -> None:
        """Wait until so many records have come."""
        while sum(payload.count(b"\n") for _, _, payload in self.got) < count:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)

    async def quiet(self) -> None:
        """Wait until it has read what was left for it."""
        count = -1
        while count != len(self.got):
            count = len(self.got)
            await asyncio.sleep(0.2)

    def missed(self) -> set[int]:
        """Offsets in the holes that the messages show: each is of one topic, and so are the holes."""
        found: set[int] = set()
        last: dict[str, int] = {}
        for topic, header, _ in self.got:
            before = last.get(topic, 0)
            if header["previous"] != before:
                found |= set(range(before + 1, header["previous"] + 1))
            last[topic] = header["last"]
        return found


async def heard(given: Delivery, *readers: Reader) -> None:
    """Publish until every reader hears it: a subscription takes a moment."""
    while not all(reader.got for reader in readers):
        given.bus.publish([Trade(exchange="first", symbol="A/B", price="1", size="2")])
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)  # what of this is still under way
    for reader in readers:
        reader.got.clear()


@pytest.mark.parametrize("mode", ["batches", "records"])
async def test_who_subscribes_has_every_record_as_it_is_published(tmp_path: Path, mode: str) -> None:
    url = f"tcp://127.0.0.1:{free_port()}"
    reader = Reader(url)
    given = Delivery(SINK, tmp_path, url=url, mode=mode, high_water=100_000)
    await given.sink.start()
    await heard(given, reader)
    await given.publish(COUNT)
    await reader.has(COUNT)
    status = await given.end()
    assert is_whole(status, status.received)
    assert differences(given.published, reader.rows) == []
    assert repeats(reader.rows) == 0
    assert reader.missed() == set()
    topics = {topic for topic, _, _ in reader.got}
    if mode == "records":
        assert {"market:trades:alpha:BTC/USDT:", "market:trades:alpha:BTC/USDT%3AUSDT:"} <= topics
    else:
        assert topics == {f"market:{name}:" for name in ("trades:alpha", "trades:beta", "book:alpha", "book:beta")}
    assert {header["epoch"] for _, header, _ in reader.got} == {given.bus.epoch}
    await reader.close()


async def test_a_topic_is_not_the_beginning_of_another(tmp_path: Path) -> None:
    url = f"tcp://127.0.0.1:{free_port()}"
    reader, all_of_it = Reader(url, "market:trades:x:BTC/USD:"), Reader(url)
    given = Delivery(SINK, tmp_path, url=url, mode="records")
    await given.sink.start()
    await heard(given, all_of_it)
    given.bus.publish(
        [Trade(exchange="x", symbol=s, price="1", size="2") for s in ("BTC/USD", "BTC/USDT", "BTC/USD:USD")]
    )
    await all_of_it.has(3)
    await given.end()
    assert [row["symbol"] for row in reader.rows] == ["BTC/USD"]
    await reader.close()
    await all_of_it.close()


async def test_a_subscriber_that_does_not_read_costs_no_other_anything_and_its_loss_is_told(tmp_path: Path) -> None:
    url = f"ipc://{tmp_path}/s"
    slow, good = Reader(url, room=5), Reader(url)
    given = Delivery(SINK, tmp_path, url=url, mode="records", high_water=2000)
    await given.sink.start()
    await heard(given, slow, good)
    await slow.hang()
    await given.publish(COUNT)
    await good.has(COUNT)
    assert differences(given.published, good.rows) == []
    slow.go_on()
    await slow.quiet()
    await given.publish(COUNT // 10)
    await good.has(len(given.published))
    await slow.quiet()
    assert "too slow" in str(given.sink.status().failing)
    status = await given.end()
    missing = {row["offset"] for row in given.published} - {row["offset"] for row in slow.rows}
    assert len(missing) > COUNT // 4
    assert missing <= slow.missed(), "the next message of the topic shows it"
    assert is_whole(status, status.received)
    await slow.close()
    await good.close()


async def test_a_subscriber_that_does_not_read_is_waited_for_where_that_is_asked(tmp_path: Path) -> None:
    url = f"ipc://{tmp_path}/s"
    reader = Reader(url, room=5)
    given = Delivery(SINK, tmp_path, url=url, mode="records", high_water=100, slow="wait")
    await given.sink.start()
    await heard(given, reader)
    await reader.hang()
    publishing = asyncio.create_task(given.publish(COUNT))
    assert "does not read" in await given.fails()
    reader.go_on()
    await publishing
    await reader.has(COUNT)
    status = await given.end()
    assert is_whole(status, status.received)
    assert differences(given.published, reader.rows) == []
    assert repeats(reader.rows) == 0
    await reader.close()


async def test_subscribers_that_go_and_come_cost_the_others_nothing(tmp_path: Path) -> None:
    url = f"tcp://127.0.0.1:{free_port()}"
    stays = Reader(url)
    given = Delivery(SINK, tmp_path, url=url, high_water=100_000)
    await given.sink.start()
    await heard(given, stays)
    for _ in range(3):
        comes = Reader(url)
        await given.publish(COUNT // 4)
        await comes.close()
    await given.publish(COUNT // 4)
    await stays.has(COUNT)
    status = await given.end()
    assert is_whole(status, status.received)
    assert differences(given.published, stays.rows) == []
    await stays.close()


async def test_who_has_not_the_key_reads_nothing(tmp_path: Path) -> None:
    public, secret = zmq.curve_keypair()
    file = tmp_path / "key"
    file.write_bytes(secret)
    file.chmod(0o600)
    url = f"tcp://127.0.0.1:{free_port()}"
    other = zmq.curve_keypair()[0]
    friend, stranger, plain = Reader(url, server=public), Reader(url, server=other), Reader(url)
    given = Delivery(SINK, tmp_path, url=url, curve_key=parse_place(f"file:{file}"))
    await given.sink.start()
    await heard(given, friend)
    await given.publish(500)
    await friend.has(500)
    await given.end()
    assert (stranger.got, plain.got) == ([], [])
    for reader in (friend, stranger, plain):
        await reader.close()


async def test_an_address_that_is_taken_or_a_wrong_key_is_told_and_the_key_is_not(tmp_path: Path) -> None:
    url = f"tcp://127.0.0.1:{free_port()}"
    first = Delivery(SINK, tmp_path, url=url)
    await first.sink.start()
    await asyncio.sleep(0.1)
    second = Delivery(SINK, tmp_path, url=url)
    await second.sink.start()
    assert "Address already in use" in await second.fails()
    await first.end()
    await second.publish(100)
    assert is_whole(await second.end(), 100)

    file = tmp_path / "key"
    file.write_text("hunter2")
    file.chmod(0o600)
    wrong = Delivery(SINK, tmp_path, url=url, curve_key=parse_place(f"file:{file}"))
    await wrong.sink.start()
    said = await wrong.fails()
    assert "curve_key is no key of CURVE" in said
    assert "hunter2" not in said
    await wrong.sink.abandon()
