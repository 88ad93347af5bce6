"""Signals to a daemon that runs, or is only about to."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from aggregator.daemon.signals import stacks
from tests.daemon.test_daemon import (
    PATIENCE,
    PROGRAM,
    ROOT,
    Running,
    configure,
    exchanges,
    files_sink,
    lines_of,
    of,
    running,
    stored,
    until,
)

pytestmark = pytest.mark.waits

__all__ = ["exchanges"]  # the fixture


def catches(process: subprocess.Popen[bytes], number: int) -> bool:
    """Whether a process has a handler for a signal yet."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize(
    ("command", "number"), [("run", signal.SIGTERM), ("capture", signal.SIGTERM), ("run", signal.SIGINT)]
)
@pytest.mark.parametrize("later", [0.0, 0.03, 0.1, 0.2, 0.35, 0.5, 0.8])
def test_a_stop_in_the_first_second_is_a_good_end(
    tmp_path: Path, exchanges: str, later: float, command: str, number: int
) -> None:
    config = configure(tmp_path, of(exchanges, "kraken"), sinks=files_sink(tmp_path))
    options = ["--out", str(tmp_path)] if command == "capture" else []
    process = subprocess.Popen([*PROGRAM, command, *options, "--config", str(config)], stderr=subprocess.PIPE, cwd=ROOT)
    until(lambda: catches(process, signal.SIGTERM), what="it does not catch SIGTERM")
    time.sleep(later)
    process.send_signal(number)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert b"Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_that_comes_too_early_ends_nothing(tmp_path: Path, exchanges: str, number: int) -> None:
    config = configure(tmp_path, of(exchanges, "kraken"), sinks=files_sink(tmp_path))
    with running(config) as daemon:
        until(lambda: catches(daemon.process, signal.SIGTERM), what="the program to begin")
        for _ in range(20):
            daemon.process.send_signal(number)
            time.sleep(0.02)
        assert daemon.process.poll() is None
        assert daemon.signal(signal.SIGTERM) == 0


def test_signals_in_storms_cost_nothing_and_end_nothing(tmp_path: Path, exchanges: str) -> None:
    """Up to the very end, where the loop is gone and its handlers with it."""
    config = configure(tmp_path, of(exchanges, "kraken"), sinks=files_sink(tmp_path))
    with running(config) as daemon:
        until(lambda: list((tmp_path / "data").rglob("trades.ndjson")), what="data")
        begun = time.monotonic()
        while time.monotonic() - begun < 2:
            storm(daemon)
        daemon.process.send_signal(signal.SIGTERM)
        while daemon.process.poll() is None:
            storm(daemon)
        took = time.monotonic() - begun
        assert daemon.process.returncode == 0
    assert 1 <= daemon.log.count("the configuration is read again") <= took + 1
    assert 1 <= daemon.log.count("files are closed and new ones begun") <= took + 1
    assert 1 <= daemon.log.count("stacks: thread MainThread") <= took + 1


def storm(daemon: Running) -> None:
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        daemon.process.send_signal(number)
        time.sleep(0.001)


def test_hang_up_has_the_configuration_read_again(tmp_path: Path, exchanges: str) -> None:
    with running(configure(tmp_path, of(exchanges, "kraken"))) as daemon:
        until(lambda: daemon.has([("kraken", "trade")]), what="trades")
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: "the configuration is read again: nothing is different" in daemon.log, what="word of it")
        seen = len(daemon.records())
        until(lambda: len(daemon.records()) > seen, what="more")
        assert daemon.signal(signal.SIGTERM) == 0


def test_files_are_reopened(tmp_path: Path, exchanges: str) -> None:
    config = configure(tmp_path, of(exchanges, "kraken"), sinks=files_sink(tmp_path))
    captures = tmp_path / "captures"
    process = Running(config, command="capture", options=("--out", str(captures)))
    try:
        until(lambda: list((tmp_path / "data").rglob("trades.ndjson")), what="a file")
        until(lambda: time.time() % 1 < 0.5, what="a second")
        (before,) = captures.iterdir()
        time.sleep(1.1)
        process.process.send_signal(signal.SIGUSR1)
        until(lambda: "closed as was asked" in process.log, what="word of it")
        assert "files are closed and new ones begun: 1 sinks of files, 1 captures" in process.log
        until(lambda: [p for p in stored(tmp_path) if p.name.startswith("trades-")], what="a closed file")
        until(lambda: list((tmp_path / "data").rglob("trades.ndjson")), what="a new file")
        assert len(list(captures.iterdir())) == 2
        assert process.signal(signal.SIGTERM) == 0
    finally:
        process.finish()
    files = stored(tmp_path)
    assert all(lines_of(path)[-1]["type"] == "footer" for path in files)
    rows = [row for path in files for row in lines_of(path) if row["type"] not in {"header", "footer"}]
    offsets = sorted(int(row["offset"]) for row in rows)
    assert offsets == list(range(offsets[0], offsets[-1] + 1)), "nothing is lost or doubled between two files"
    checked = subprocess.run(["zstd", "-t", str(before)], capture_output=True, check=False)
    assert checked.returncode == 0


def test_stacks_are_written_even_by_a_loop_that_does_not_turn(tmp_path: Path, exchanges: str) -> None:
    with running(configure(tmp_path, of(exchanges, "kraken"))) as daemon:
        until(lambda: daemon.has([("kraken", "trade")]), what="trades")
        daemon.process.send_signal(signal.SIGUSR2)
        until(lambda: " in Collector.sweep" in daemon.log and " in Shard.run" in daemon.log, what="stacks of all")
        lines = [line for line in daemon.log.splitlines() if line.startswith("stacks:")]
        assert "stacks: thread MainThread" in lines
        assert any("aggregator/ingest/shard.py:" in line and " in Shard.run" in line for line in lines)
        assert daemon.signal(signal.SIGTERM) == 0


async def test_a_stack_holds_what_a_task_awaits_and_what_a_thread_is_at() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="waiting thread")
    thread.start()

    async def inner() -> None:
        await asyncio.sleep(60)

    async def outer() -> None:
        await inner()

    task = asyncio.create_task(outer(), name="waiting task")
    await asyncio.sleep(0)
    said = list(stacks(asyncio.get_running_loop()))
    task.cancel()
    over.set()
    thread.join()
    at = said.index("stacks: task waiting task")
    assert said[at + 1].endswith("outer")
    assert said[at + 2].endswith("inner")
    assert "in sleep" in said[at + 3]
    assert "stacks: thread waiting thread" in said


def test_other_commands_keep_the_usual_meaning_of_signals() -> None:
    assert meanings("tail") == [signal.SIG_DFL, signal.SIG_DFL], "an interrupt has no traceback while it is imported"
    assert signal.SIG_DFL not in meanings("run")


def meanings(command: str) -> list[object]:
    """What SIGTERM and SIGINT mean to a command before anything is imported: `SIG_DFL`, or something else."""
    code = (
        "import signal; signal.signal(2, signal.default_int_handler);"  # in the background it is ignored
        " from aggregator.__main__ import before_the_loop as go; go();"
        " print(*(int(signal.getsignal(n) is not signal.SIG_DFL) for n in (15, 2)))"
    )
    told = subprocess.check_output([sys.executable, "-c", code, command], cwd=ROOT, env=os.environ)
    return [signal.SIG_DFL if word == b"0" else None for word in told.split()]
