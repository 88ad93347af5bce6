"""What comes for one client of a port within a millisecond goes out together, unless much waits."""

import asyncio
import time

import pytest

from aggregator.bus.bus import encode_lines
from aggregator.feed.subscriber_queue import BookRole, Chunk, Ring
from aggregator.feed.transports.pace import GATHER_S, Pace

TRADES = BookRole(None, starts=False)


class Client:
    def __init__(self, pace: Pace) -> None:
        self.writes: list[float] = []
        self._pace = pace

    def wake(self) -> None:
        if self._pace.may_write(self):
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


@pytest.mark.parametrize(("chunk", "is_pressing"), [(b"{}\n" * 24, False), (b"{}\n" * 25, True), (b"x" * 70_000, True)])
def test_a_queue_that_fills_is_pressing(chunk: bytes, is_pressing: bool) -> None:
    ring = Ring(100, encode_lines)
    count = chunk.count(b"\n") or 1
    ring.put(Chunk(chunk, [TRADES] * count, range(count)))
    assert ring.is_pressing is is_pressing
    assert ring.take() == chunk
    assert not ring.is_pressing
