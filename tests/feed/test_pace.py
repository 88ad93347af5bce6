"""What comes for one client of a port within a millisecond goes out together; where there are many they take turns."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from aggregator.bus.bus import encode_lines
from aggregator.feed.hub import CROWD
from aggregator.feed.subscriber_queue import BookRole, Chunk, Ring
from aggregator.feed.transports.pace import GATHER_S, MOST_WRITES, TO_PORT, Pace
from tests.feed.test_feed import Spot, both, eventually, serving, spot, subscriber, trade

__all__ = ["spot"]  # the fixture of every transport

TRADES = BookRole(None, starts=False)


class Client:
    def __init__(self, pace: Pace, *, is_local: bool = False) -> None:
        self.writes: list[float] = []
        self._may_write = pace.may_write if is_local else pace.may_write_to_port

    def wake(self) -> None:
        if self._may_write(self):
            self.flush()

    def flush(self) -> None:
        self.writes.append(time.monotonic())


async def test_the_first_write_is_at_once_and_the_others_of_its_millisecond_are_one() -> None:
    pace = Pace()
    one, other = Client(pace), Client(pace)
    for _ in range(10):
        one.wake()
    other.wake()
    assert (len(one.writes), len(other.writes)) == (1, 1)
    await asyncio.sleep(20 * GATHER_S)
    assert (len(one.writes), len(other.writes)) == (2, 1)
    assert one.writes[1] - one.writes[0] >= 0.9 * GATHER_S
    one.wake()
    assert len(one.writes) == 3  # nothing was written meanwhile: it does not wait


async def test_a_stream_is_written_once_a_millisecond() -> None:
    client = Client(Pace())
    began = time.monotonic()
    while time.monotonic() - began < 50 * GATHER_S:
        client.wake()
        await asyncio.sleep(0)
    assert 2 < len(client.writes) <= 52


@pytest.mark.parametrize(("is_local", "at_once"), [(False, MOST_WRITES // TO_PORT), (True, MOST_WRITES)])
async def test_many_take_turns_and_each_has_one(is_local: bool, at_once: int) -> None:
    pace = Pace()
    clients = [Client(pace, is_local=is_local) for _ in range(3 * at_once + 1)]
    for client in clients:
        client.wake()
    assert [len(client.writes) for client in clients] == [1] * at_once + [0] * (len(clients) - at_once)
    clients[0].wake()  # it is behind those who have had nothing yet
    await eventually(lambda: len(clients[0].writes) == 2)
    assert all(client.writes for client in clients)
    assert [client.writes[0] for client in clients] == sorted(client.writes[0] for client in clients)
    assert clients[-1].writes[0] - clients[0].writes[0] >= 2.9 * GATHER_S


async def test_a_unix_socket_is_written_to_at_once_however_often() -> None:
    client = Client(Pace(), is_local=True)
    for _ in range(MOST_WRITES):
        client.wake()
    assert len(client.writes) == MOST_WRITES
    client.wake()
    client.wake()
    assert len(client.writes) == MOST_WRITES
    await asyncio.sleep(20 * GATHER_S)
    assert len(client.writes) == MOST_WRITES + 1


async def publish_to_a_crowd(spot: Spot) -> None:
    """More clients than are written to in one turn, of two interests: each gets its records, all of them in order."""
    async with serving(spot) as (bus, _), AsyncExitStack() as stack:
        topics = ("trades:*:*", "trades:*:A0/USD trades:*:A1/USD")
        clients = [await stack.enter_async_context(subscriber(spot, topics[at % 2])) for at in range(CROWD + 4)]
        for _ in range(50):
            bus.publish([trade(f"A{at}/USD") for at in range(4)])
            await asyncio.sleep(0)
        for at, client in enumerate(clients):
            due = [offset for offset in range(1, 201) if at % 2 == 0 or offset % 4 in {1, 2}]
            rows = await client.until_offset(due[-1])
            assert [row["offset"] for row in rows] == due
        bus.publish([trade("A0/USD")])
        assert {(await client.row())["offset"] for client in clients} == {201}


test_a_crowd_gets_every_record = pytest.mark.waits(both(publish_to_a_crowd))


@pytest.mark.parametrize(("chunk", "is_pressing"), [(b"{}\n" * 24, False), (b"{}\n" * 25, True), (b"x" * 70_000, True)])
def test_a_queue_that_fills_is_pressing(chunk: bytes, is_pressing: bool) -> None:
    ring = Ring(100, encode_lines)
    count = chunk.count(b"\n") or 1
    ring.put(Chunk(chunk, [TRADES] * count, range(count)))
    assert ring.is_pressing is is_pressing
    assert ring.take() == chunk
    assert not ring.is_pressing
