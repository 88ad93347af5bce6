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

import pytest

from aggregator.bus.bus import Bus, Tap
from aggregator.records import Trade
from aggregator.sinks import stdout
from aggregator.sinks.settings import StdoutSettings
from aggregator.sinks.stdout import write_stdout

pytestmark = pytest.mark.waits

SETTINGS = StdoutSettings()
PATIENCE = 20.0  # seconds; nothing here takes nearly as long


class Pipe:
    """A real pipe; its reader keeps what came."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        self.data = b""

    def read(self) -> None:
        while chunk := os.read(self.read_fd, 1 << 16):
            self.data += chunk

    def lines(self) -> list[dict]:
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


def start(pipe: Pipe, limit: int = 100_000) -> tuple[Bus, Tap, asyncio.Task[bool]]:
    bus, tap = Bus("e1"), Tap(limit)
    bus.attach(tap.put)
    return bus, tap, asyncio.create_task(write_stdout(SETTINGS, bus, tap, fd=pipe.write_fd))


def trades(count: int) -> list[Trade]:
    return [Trade(exchange="alpha", raw_symbol="BTC", price="1.50", size="2", ts_recv=n) for n in range(count)]


async def drained(pipe: Pipe, tap: Tap, task: asyncio.Task[bool], reader: threading.Thread) -> bool:
    """End the stream, and wait for both ends of the pipe."""
    tap.end()
    closed = await asyncio.wait_for(task, PATIENCE)
    os.close(pipe.write_fd)
    pipe.write_fd = -1
    await asyncio.to_thread(reader.join, 10)
    return closed


def reading(pipe: Pipe) -> threading.Thread:
    reader = threading.Thread(target=pipe.read)
    reader.start()
    return reader


@pytest.mark.parametrize("blocking", [True, False])
async def test_every_record_is_written_whole(pipe: Pipe, blocking: bool) -> None:
    os.set_blocking(pipe.write_fd, blocking)
    bus, tap, task = start(pipe)
    reader = reading(pipe)
    for _ in range(40):
        bus.publish([*trades(250)])
        await asyncio.sleep(0)
    assert await drained(pipe, tap, task, reader) is False
    assert [line["offset"] for line in pipe.lines()] == list(range(1, 10_001))


async def test_a_record_does_not_wait_for_the_next(pipe: Pipe) -> None:
    bus, tap, task = start(pipe)
    bus.publish([*trades(1)])
    data = await asyncio.wait_for(asyncio.to_thread(os.read, pipe.read_fd, 4096), PATIENCE)
    assert json.loads(data)["offset"] == 1
    tap.end()
    assert await task is False


async def test_a_reader_that_left_ends_it_quietly(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    bus, _, task = start(pipe)
    pipe.close_reader()
    bus.publish([*trades(1)])
    assert await asyncio.wait_for(task, PATIENCE) is True
    assert not caplog.records


async def test_a_reader_that_leaves_while_a_write_waits_for_it(pipe: Pipe) -> None:
    bus, _, task = start(pipe)
    bus.publish([*trades(5000)])
    await asyncio.sleep(0.1)
    assert not task.done()
    pipe.close_reader()
    assert await asyncio.wait_for(task, PATIENCE) is True


async def test_a_stopped_reader_loses_records_and_stops_nobody(pipe: Pipe) -> None:
    bus, tap, task = start(pipe, limit=1000)
    other = Tap(1_000_000)
    bus.attach(other.put)
    for _ in range(100):  # whoever waited for the reader would wait here for ever
        bus.publish([*trades(100)])
        await asyncio.sleep(0.003)
    assert other.held == 10_000
    assert tap.missed > 0
    assert await drained(pipe, tap, task, reading(pipe)) is False
    lines = pipe.lines()
    gaps = [line for line in lines if line["type"] == "gap"]
    offsets = [line["offset"] for line in lines if line["type"] == "trade"]
    assert {(gap["cause"], gap["phase"], gap.get("channel"), gap.get("exchange")) for gap in gaps} == {
        ("overflow", "close", None, None)
    }
    holes = {n for gap in gaps for n in range(gap["expected"], gap["got"])}
    assert sum(gap["missed"] for gap in gaps) == len(holes) == tap.missed
    assert holes | set(offsets) == set(range(1, 10_001))
    assert [line["offset"] for line in lines] == sorted(line["offset"] for line in lines)


async def test_a_full_disk_behind_it_tears_no_line(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stdout, "FIRST_BACKOFF", 0.05)
    write, room = os.write, [1000]

    def full(fd: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        size = write(fd, data[: room[0]])
        room[0] -= size
        return size

    monkeypatch.setattr("aggregator.sinks.stdout.os.write", full)
    bus, tap, task = start(pipe)
    reader = reading(pipe)
    bus.publish([*trades(10)])
    await asyncio.sleep(0.12)
    room[0] = 1 << 20
    assert await drained(pipe, tap, task, reader) is False
    assert [line["offset"] for line in pipe.lines()] == list(range(1, 11))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


async def test_it_can_be_cancelled_while_the_pipe_is_full(pipe: Pipe) -> None:
    bus, _, task = start(pipe)
    bus.publish([*trades(5000)])
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, PATIENCE)
    pipe.close_reader()
    await asyncio.sleep(0.05)  # the write in the thread ends with the pipe


CHILD = """
import asyncio
from aggregator.bus.bus import Bus, Tap
from aggregator.records import Trade
from aggregator.sinks.settings import StdoutSettings
from aggregator.sinks.stdout import write_stdout

async def main():
    bus, tap = Bus("e1"), Tap(10_000)
    bus.attach(tap.put)
    task = asyncio.create_task(write_stdout(StdoutSettings(), bus, tap))
    while not task.done():
        bus.publish([Trade(exchange="alpha", price="1.50", size="2") for _ in range(10)])
        await asyncio.sleep(0.001)
    assert task.result() is True

asyncio.run(main())
"""


def test_a_process_piped_into_head_ends_cleanly() -> None:
    root = Path(__file__).parents[2]
    command = f"{sys.executable} -c {shlex.quote(CHILD)} | head -n 3; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=root, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [json.loads(line)["offset"] for line in done.stdout.splitlines()] == [1, 2, 3]
