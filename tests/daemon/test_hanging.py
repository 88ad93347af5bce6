"""The end of a daemon while a disk, or who reads its log, does not answer any more."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from aggregator.daemon.process import LEAVE_S
from tests.daemon.test_daemon import (
    PROGRAM,
    ROOT,
    WORKERS,
    Running,
    configure,
    exchanges,
    files_sink,
    of,
    running,
    until,
)

pytestmark = pytest.mark.waits

__all__ = ["exchanges"]  # the fixture

SOON = 12.0  # seconds from the signal to the end; five on a machine that is not busy
PATIENCE = 20.0  # seconds; a busy machine lets a process that has ended wait
HANGING = """
import os, signal, time
from pathlib import Path

def hanging(call):
    def wrapper(*args, **options):
        while Path({flag!r}).exists():
            time.sleep(0.05)
        return call(*args, **options)
    return wrapper

for name in ("write", "rename", "replace", "fsync", "ftruncate"):
    call, plain = getattr(os, name), os.write
    if name != "write":
        setattr(os, name, hanging(call))
slow = hanging(os.write)
os.write = lambda fd, *rest: plain(fd, *rest) if fd <= 2 else slow(fd, *rest)
signal.signal(signal.SIGRTMIN, lambda *_: time.sleep(60))  # in the loop's thread
"""


def hang(directory: Path) -> tuple[Path, str]:
    """A file while which exists no disk answers, and where Python finds what makes it so."""
    flag, site = directory / "hangs", directory / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HANGING.format(flag=str(flag)))
    return flag, f"{site}:{ROOT}"


def end(daemon: Running) -> tuple[float, int]:
    """Have a daemon end: the seconds that it takes, and its code."""
    begun = time.monotonic()
    code = daemon.signal(signal.SIGTERM)
    return time.monotonic() - begun, code


def test_an_end_takes_less_than_five_seconds_whatever_hangs() -> None:
    """The tests below see that it does end then, and give a busy machine time for it."""
    assert LEAVE_S < 5


def test_sigterm_while_the_disk_of_state_and_data_hangs(tmp_path: Path, exchanges: str) -> None:
    flag, path = hang(tmp_path)
    config = configure(tmp_path, of(exchanges, "kraken"), sinks=files_sink(tmp_path))
    with running(config, PYTHONPATH=path) as daemon:
        until(lambda: list((tmp_path / "data").rglob("trades.ndjson")), what="files")
        flag.touch()
        time.sleep(0.5)
        took, code = end(daemon)
        assert code in {0, 1}
        assert took < SOON
        assert "Traceback" not in daemon.log
        assert "could not write all that it held" in daemon.log


def test_a_capture_whose_disk_hangs_keeps_neither_data_nor_the_end_waiting(tmp_path: Path, exchanges: str) -> None:
    flag, path = hang(tmp_path)
    feed = f'[feed]\nlisten = ["unix:{tmp_path}/feed.sock"]\n'
    config = configure(tmp_path, of(exchanges, "kraken"), sinks=feed)
    daemon = Running(config, command="capture", options=("--out", str(tmp_path / "captures")), PYTHONPATH=path)
    try:
        until(lambda: list(tmp_path.glob("captures/*")), what="a capture")
        flag.touch()
        time.sleep(2.5)  # more than lines wait
        with socket.socket(socket.AF_UNIX) as subscriber:
            subscriber.settimeout(PATIENCE)
            subscriber.connect(str(tmp_path / "feed.sock"))
            subscriber.sendall(b"trades:*:*\n")
            fed = b""
            while fed.count(b'"type":"trade"') < 10:
                fed += subscriber.recv(65536)
        took, code = end(daemon)
        assert code in {0, 1}
        assert took < SOON
    finally:
        daemon.finish()
    said = ["the disk does not answer: the end of the capture is not written"]
    if WORKERS > 1:  # on a busy machine the hub waits no longer for a worker that waits for its disk
        said.append("does not end, and is killed")
    assert any(words in daemon.log for words in said), daemon.log
    assert "Traceback" not in daemon.log


def test_a_loop_that_hangs_keeps_the_end_waiting_for_some_seconds(tmp_path: Path, exchanges: str) -> None:
    _, path = hang(tmp_path)
    with running(configure(tmp_path, of(exchanges, "kraken")), PYTHONPATH=path) as daemon:
        until(lambda: daemon.has([("kraken", "trade")]), what="trades")
        daemon.process.send_signal(signal.SIGRTMIN)
        time.sleep(0.5)
        took, code = end(daemon)
        assert code == 1
        assert took < SOON
    assert "as something hangs: leaving at once" in daemon.log


NAMELESS = """
import socket, time
plain = socket.getaddrinfo

def hanging(host, *rest, **named):
    while str(host).endswith(".hangs") and not named.get("flags"):
        time.sleep(60)
    return plain(host, *rest, **named)

socket.getaddrinfo = hanging
"""


@pytest.mark.parametrize("transport", ["picows", "websockets"])
def test_names_that_hang_keep_neither_others_nor_the_end_waiting(
    tmp_path: Path, exchanges: str, transport: str
) -> None:
    _, path = hang(tmp_path)
    (tmp_path / "site" / "sitecustomize.py").write_text(NAMELESS)
    named = of(exchanges, "kraken").replace("127.0.0.1", "localhost")
    hanging = of(exchanges, "okx", "binance", "coinbaseexchange").replace("127.0.0.1", "none.hangs")
    blocks = (hanging + named).replace("[[exchanges]]", f'[[exchanges]]\ntransport = "{transport}"')
    with running(configure(tmp_path, blocks), PYTHONPATH=path) as daemon:
        until(lambda: daemon.has([("kraken", "trade")]), what="trades")
        took, code = end(daemon)
        assert code == 0
        assert took < SOON


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
