import asyncio
import errno
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.records import Trade
from aggregator.sinks.queue import Queue
from aggregator.sinks.running import QueuedSink
from aggregator.sinks.sink import Context, Delivery
from aggregator.sinks.stdout import SINK, StdoutSettings, StdoutWriter

pytestmark = pytest.mark.waits

PATIENCE = 20.0  # seconds; nothing here takes nearly as long


class Pipe:
    """A real pipe; its reader keeps what came."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        self.data = b""

    def read(self) -> None:
        while chunk := os.read(self.read_fd, 1 << 16):
            self.data += chunk

    def lines(self) -> list[dict[str, Any]]:
        assert self.data.endswith(b"\n")
        return [json.loads(line) for line in self.data.splitlines()]

    def close_reader(self) -> None:
        os.close(self.read_fd)
        self.read_fd = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    try:
        yield pipe
    finally:
        for fd in (pipe.read_fd, pipe.write_fd):
            if fd >= 0:
                os.close(fd)


class Started:
    """A running `stdout` sink that writes to a pipe, and the bus that feeds it."""

    def __init__(self, pipe: Pipe, delivery: Delivery) -> None:
        async def open_pipe(settings: StdoutSettings, context: Context) -> StdoutWriter:
            return StdoutWriter(pipe.write_fd)

        self.bus = Bus("e1")
        config = structs.replace(SINK, open=open_pipe).configured(delivery)
        context = Context(config.name, self.bus, lambda: 0, delivery)
        self.sink = QueuedSink(config, self.bus, context)

    @property
    def task(self) -> asyncio.Task[None]:
        assert self.sink.task is not None
        return self.sink.task


async def start(pipe: Pipe, queue: int = 100_000) -> Started:
    delivery = structs.replace(SINK.defaults, queue=queue, backoff=0.05)
    started = Started(pipe, delivery)
    await started.sink.start()
    return started


def trades(count: int) -> list[Trade]:
    return [Trade(exchange="alpha", raw_symbol="BTC", price="1.50", size="2", ts_recv=n) for n in range(count)]


async def drained(pipe: Pipe, started: Started, reader: threading.Thread) -> None:
    """End the stream, and wait for both ends of the pipe."""
    started.sink.end()
    await asyncio.wait_for(started.task, PATIENCE)
    os.close(pipe.write_fd)
    pipe.write_fd = -1
    await asyncio.to_thread(reader.join, 10)


def reading(pipe: Pipe) -> threading.Thread:
    reader = threading.Thread(target=pipe.read)
    reader.start()
    return reader


@pytest.mark.parametrize("blocking", [True, False])
async def test_every_record_is_written_whole(pipe: Pipe, blocking: bool) -> None:
    os.set_blocking(pipe.write_fd, blocking)
    started = await start(pipe)
    reader = reading(pipe)
    for _ in range(40):
        started.bus.publish([*trades(250)])
        await asyncio.sleep(0)
    await drained(pipe, started, reader)
    assert [line["offset"] for line in pipe.lines()] == list(range(1, 10_001))


async def test_a_record_does_not_wait_for_the_next(pipe: Pipe) -> None:
    started = await start(pipe)
    started.bus.publish([*trades(1)])
    data = await asyncio.wait_for(asyncio.to_thread(os.read, pipe.read_fd, 4096), PATIENCE)
    assert json.loads(data)["offset"] == 1
    started.sink.end()
    await started.task


async def test_a_reader_that_left_ends_it_quietly(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    started = await start(pipe)
    pipe.close_reader()
    started.bus.publish([*trades(1)])
    await asyncio.wait_for(started.task, PATIENCE)
    assert started.sink.status().state == "ended"
    assert not caplog.records


async def test_a_reader_that_leaves_while_a_write_waits_for_it(pipe: Pipe) -> None:
    started = await start(pipe)
    started.bus.publish([*trades(5000)])
    await asyncio.sleep(0.1)
    assert not started.task.done()
    pipe.close_reader()
    await asyncio.wait_for(started.task, PATIENCE)
    assert started.sink.status().state == "ended"


async def test_a_stopped_reader_loses_records_and_stops_nobody(pipe: Pipe) -> None:
    started = await start(pipe, queue=1000)
    other = Queue("other", "e1", SINK.defaults)
    started.bus.attach(other.put)
    for _ in range(100):  # whoever waited for the reader would wait here for ever
        started.bus.publish([*trades(100)])
        await asyncio.sleep(0.003)
    assert other.held == 10_000
    assert started.sink.status().dropped > 0
    await drained(pipe, started, reading(pipe))
    lines = pipe.lines()
    gaps = [line for line in lines if line["type"] == "gap"]
    offsets = [line["offset"] for line in lines if line["type"] == "trade"]
    assert {(gap["cause"], gap["phase"], gap["channel"], gap["exchange"], gap["raw_symbol"]) for gap in gaps} == {
        ("overflow", "close", "trades", "alpha", "BTC")
    }
    holes = {n for gap in gaps for n in range(gap["expected"], gap["got"])}
    assert sum(gap["missed"] for gap in gaps) == len(holes) == started.sink.status().dropped
    assert holes | set(offsets) == set(range(1, 10_001))
    assert [line["offset"] for line in lines] == sorted(line["offset"] for line in lines)


async def test_a_full_disk_behind_it_tears_no_line(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write, room = os.write, [1000]

    def full(fd: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        size = write(fd, data[: room[0]])
        room[0] -= size
        return size

    monkeypatch.setattr("aggregator.sinks.stdout.os.write", full)
    started = await start(pipe)
    reader = reading(pipe)
    started.bus.publish([*trades(10)])
    await asyncio.sleep(0.12)
    room[0] = 1 << 20
    await drained(pipe, started, reader)
    assert [line["offset"] for line in pipe.lines()] == list(range(1, 11))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


async def test_it_can_be_cancelled_while_the_pipe_is_full(pipe: Pipe) -> None:
    started = await start(pipe)
    started.bus.publish([*trades(5000)])
    await asyncio.sleep(0.05)
    started.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(started.task, PATIENCE)
    pipe.close_reader()
    await asyncio.sleep(0.05)  # the write in the thread ends with the pipe


CHILD = """
import asyncio
from aggregator.bus.bus import Bus
from aggregator.records import Trade
from aggregator.sinks.running import running
from aggregator.sinks.stdout import SINK

async def main():
    bus = Bus("e1")
    sink = running(SINK.configured(), bus)
    await sink.start()
    while not sink.task.done():
        bus.publish([Trade(exchange="alpha", price="1.50", size="2") for _ in range(10)])
        await asyncio.sleep(0.001)
    assert sink.status().state == "ended"

asyncio.run(main())
"""


def test_a_process_piped_into_head_ends_cleanly() -> None:
    root = Path(__file__).parents[2]
    command = f"{sys.executable} -c {shlex.quote(CHILD)} | head -n 3; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=root, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [json.loads(line)["offset"] for line in done.stdout.splitlines()] == [1, 2, 3]
