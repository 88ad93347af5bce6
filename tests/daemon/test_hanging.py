"""The end of a daemon while a disk, or who reads its log, does not answer any more."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from aggregator.daemon.process import LEAVE_S
from tests.daemon.test_daemon import PROGRAM, ROOT, configure, exchanges, files_sink, of, running, until

pytestmark = pytest.mark.waits

__all__ = ["exchanges"]  # the fixture

PATIENCE = 20.0  # seconds; a busy machine lets a process that has ended wait
HANGING = """
import os, threading, time
from pathlib import Path

def hanging(call):
    def wrapper(*args, **options):
        while Path({flag!r}).exists() and ({everywhere} or threading.current_thread() is not threading.main_thread()):
            time.sleep(0.05)
        return call(*args, **options)
    return wrapper

for name in ("write", "rename", "replace", "fsync", "ftruncate"):
    call, plain = getattr(os, name), os.write
    if name != "write":
        setattr(os, name, hanging(call))
slow = hanging(os.write)
os.write = lambda fd, *rest: plain(fd, *rest) if fd <= 2 else slow(fd, *rest)
"""


def hang(directory: Path, *, everywhere: bool = False) -> tuple[Path, str]:
    """A file while which exists no disk answers, and where Python finds what makes it so."""
    flag, site = directory / "hangs", directory / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HANGING.format(flag=str(flag), everywhere=everywhere))
    return flag, f"{site}:{ROOT}"


def test_an_end_takes_less_than_five_seconds_whatever_hangs() -> None:
    """The tests below see that the process then ends; that a machine is busy makes none of them fail."""
    assert LEAVE_S < 5


def test_sigterm_while_the_disk_of_state_and_data_hangs(tmp_path: Path, exchanges: str) -> None:
    flag, path = hang(tmp_path)
    config = configure(tmp_path, of(exchanges, "kraken"), sinks=files_sink(tmp_path))
    with running(config, PYTHONPATH=path) as daemon:
        until(lambda: list((tmp_path / "data").rglob("trades.ndjson")), what="files")
        flag.touch()
        time.sleep(0.5)
        code = daemon.signal(signal.SIGTERM)
        assert code in {0, 1}
        assert "Traceback" not in daemon.log
        assert "could not write all that it held" in daemon.log


def test_sigterm_while_even_the_loop_hangs(tmp_path: Path, exchanges: str) -> None:
    """A capture is written by the loop itself."""
    flag, path = hang(tmp_path, everywhere=True)
    config = configure(tmp_path, of(exchanges, "kraken"), sinks=files_sink(tmp_path))
    options = ["--out", str(tmp_path / "captures"), "--config", str(config)]
    process = subprocess.Popen(
        [*PROGRAM, "capture", *options], stderr=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}
    )
    until(lambda: list((tmp_path / "data").rglob("trades.ndjson")), what="files")
    flag.touch()
    time.sleep(2.5)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert b"as something hangs: leaving at once" in said
    assert b"Traceback" not in said


def test_a_log_that_nobody_reads_keeps_neither_data_nor_the_end_waiting(tmp_path: Path, exchanges: str) -> None:
    config = configure(tmp_path, of(exchanges, "kraken"), sinks=files_sink(tmp_path))
    reader, writer = os.pipe()
    process = subprocess.Popen([*PROGRAM, "run", "--config", str(config)], stderr=writer, cwd=ROOT)
    until(lambda: trades(tmp_path), what="files")
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, b"x" * 512)
        except BlockingIOError:
            break
    os.set_blocking(writer, True)
    for number in (signal.SIGHUP, signal.SIGUSR2):
        process.send_signal(number)
    time.sleep(0.5)
    before = trades(tmp_path)
    until(lambda: trades(tmp_path) > before, what="more data")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=PATIENCE) == 0
    os.close(reader)
    os.close(writer)


def trades(directory: Path) -> int:
    """Bytes of trades that have reached the disk."""
    return sum(path.stat().st_size for path in (directory / "data").rglob("trades*.ndjson"))
