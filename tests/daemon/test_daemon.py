"""The daemon as a service manager meets it: a process on simulated exchanges, its sinks, signals and exit codes."""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard

from aggregator.daemon.daemon import ECHO_S

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "aggregator"]
IDS = ("binance", "coinbaseexchange", "kraken", "okx")
MARKET = {"trade", "book_snapshot", "book_delta", "bbo", "ticker"}
ENDED_S = 90.0  # a process that is killed in the midst of a call to the disk is there until the disk has answered
AT_ONCE = 2.0
WORKERS = int(os.environ.get("WORKERS", "1"))  # processes that gather, in every test of this directory
PATIENCE = 20.0 if WORKERS == 1 else 120.0  # seconds; nothing takes nearly as long, but several processes begin
NOBODY = "127.0.0.1:9"  # nothing listens at the port of `discard`

Row = dict[str, Any]


def until(condition: Callable[[], object], *, what: str, patience: float = PATIENCE, pause: float = 0.02) -> None:
    """Wait for another process or thread to make something true; it is looked at again after each pause."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(pause)


# --- what is started --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exchanges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Simulated exchanges that run; the part of a configuration that names them."""
    config = tmp_path_factory.mktemp("sandbox") / "daemon.toml"
    options = ["--simulate", ",".join(IDS), "--port", "0", "--rate", "600", "--config-out", str(config)]
    sandbox = subprocess.Popen([*PROGRAM, "sandbox", *options], stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert sandbox.stderr is not None
    try:
        assert sandbox.stderr.readline().startswith("sandbox: serving")
        yield config.read_text().partition("[[sinks]]")[0]
    finally:
        sandbox.terminate()
        sandbox.communicate(timeout=PATIENCE)


def of(exchanges: str, *ids: str) -> str:
    """Some exchanges of a configuration."""
    tables = ["[[exchanges]]" + part for part in exchanges.split("[[exchanges]]")[1:]]
    return "".join(table for table in tables if any(f'id = "{id}"' in table for id in ids))


class Running:
    """A daemon; what it says is read as it comes, unless nobody is to read it."""

    def __init__(
        self,
        config: Path,
        *,
        read: bool = True,
        command: str = "run",
        options: Iterable[str] = (),
        **environment: str,
    ) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, command, *options, "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | environment,
        )
        self.out, self.err = bytearray(), bytearray()
        pipes = [(self.process.stderr, self.err)] + ([(self.process.stdout, self.out)] if read else [])
        self._readers = [threading.Thread(target=self._read, args=pipe, daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(pipe: object, into: bytearray) -> None:
        while chunk := os.read(pipe.fileno(), 1 << 16):  # type: ignore[attr-defined]
            into += chunk

    @property
    def log(self) -> str:
        return self.err.decode()

    def records(self) -> list[Row]:
        """Every whole line so far."""
        return [json.loads(line) for line in bytes(self.out).split(b"\n")[:-1]]

    def has(self, wanted: Iterable[tuple[str, str]]) -> bool:
        """Whether a record of each of these exchanges and types has come."""
        return set(wanted) <= {(str(row.get("exchange")), str(row["type"])) for row in self.records()}

    def signal(self, number: int) -> int:
        """Send a signal; the code with which the process leaves."""
        self.process.send_signal(number)
        return self.process.wait(ENDED_S)

    def finish(self) -> None:
        """Nothing of it is left, and all that it said has been read."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(ENDED_S)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
        for reader in self._readers:
            reader.join(PATIENCE)
        self.process.stdout.close()  # type: ignore[union-attr]
        self.process.stderr.close()  # type: ignore[union-attr]


@contextmanager
def running(config: Path, *, read: bool = True, **environment: str) -> Iterator[Running]:
    daemon = Running(config, read=read, **environment)
    try:
        yield daemon
    finally:
        daemon.finish()
    assert "Traceback" not in daemon.log, daemon.log
    assert "an error of our own" not in daemon.log, daemon.log


def configure(directory: Path, *parts: str, sinks: str = '[[sinks]]\ntype = "stdout"\n') -> Path:
    path = directory / "aggregator.toml"
    path.write_text("\n".join([f'state = "{directory}/state"', f"workers = {WORKERS}", *parts, sinks]))
    return path


@contextmanager
def service_manager(directory: Path) -> Iterator[socket.socket]:
    """Where a service manager would hear how the daemon does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(directory / "notify"))
        manager.settimeout(PATIENCE)
        yield manager


def heard(manager: socket.socket, word: bytes) -> None:
    """Wait for a word to the service manager; only lines about how it goes may come before it."""
    while (said := manager.recv(1000)) != word:
        assert said.startswith(b"STATUS="), said


def files_sink(directory: Path) -> str:
    return f'[[sinks]]\ntype = "files"\npath = "{directory}/data"\n'


# --- the whole --------------------------------------------------------------------------------------------------------


def stored(directory: Path) -> list[Path]:
    return sorted(path for path in (directory / "data").rglob("*.ndjson*") if path.is_file())


def lines_of(path: Path) -> list[Row]:
    data = path.read_bytes()
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return [json.loads(line) for line in data.splitlines()]


def test_it_gathers_into_every_sink_and_drains_on_sigterm(tmp_path: Path, exchanges: str) -> None:
    feed = f'[feed]\nlisten = ["unix:{tmp_path}/feed.sock"]\n'
    config = configure(tmp_path, exchanges, sinks=f'[[sinks]]\ntype = "stdout"\n{files_sink(tmp_path)}{feed}')
    with (
        service_manager(tmp_path) as manager,
        socket.socket(socket.AF_UNIX) as subscriber,
        running(config, NOTIFY_SOCKET=str(manager.getsockname())) as daemon,
        ThreadPoolExecutor(1) as reader,
    ):
        subscriber.settimeout(PATIENCE)
        heard(manager, b"READY=1")
        subscriber.connect(str(tmp_path / "feed.sock"))
        subscriber.sendall(b"trades:*:*\n")
        reading = reader.submit(read_to_end, subscriber)  # at once: more may come than a socket holds
        wanted = {(id, kind) for id in IDS for kind in MARKET} - {("kraken", "bbo")}
        until(lambda: daemon.has(wanted), what="records of every kind from every exchange")
        assert daemon.signal(signal.SIGTERM) == 0
        assert daemon.process.returncode == 0
        heard(manager, b"STOPPING=1")
        fed = [json.loads(line) for line in reading.result().splitlines()]
    assert daemon.out.endswith(b"\n")
    printed = daemon.records()
    assert [row["offset"] for row in printed] == list(range(1, len(printed) + 1))
    check_feed(fed, printed)
    check_files(tmp_path, printed)
    assert f"files {tmp_path}/data: records are written there" in daemon.log
    assert f"feed: whoever subscribes at unix:{tmp_path}/feed.sock is served" in daemon.log
    assert f"stopped: {len(printed)} records in " in daemon.log
    assert not (tmp_path / "feed.sock").exists()
    assert len(list((tmp_path / "state" / "instruments").iterdir())) == len(IDS)


def test_it_says_in_the_log_and_to_the_service_manager_how_it_fares(tmp_path: Path, exchanges: str) -> None:
    with (
        service_manager(tmp_path) as manager,
        running(configure(tmp_path, of(exchanges, "kraken")), NOTIFY_SOCKET=str(manager.getsockname())) as daemon,
    ):
        until(lambda: "kraken: live: " in daemon.log, what="word that it is live")
        heard(manager, b"READY=1")
        status = re.compile(rb"STATUS=1 exchanges, [1-9]\d* topics live(, .*)?, [1-9]\d*/s")
        until(lambda: status.fullmatch(manager.recv(100)) is not None, what="a status line that says so")
        daemon.signal(signal.SIGTERM)
    assert "kraken: 4 instruments, " in daemon.log
    assert "stdout: records are written there" in daemon.log


def read_to_end(connection: socket.socket) -> bytes:
    data = b""
    while chunk := connection.recv(1 << 16):
        data += chunk
    return data


def check_feed(fed: list[Row], printed: list[Row]) -> None:
    """The subscriber had, to the end, what stdout had."""
    hello, subscribed, *records = fed
    assert (hello["type"], subscribed["type"]) == ("hello", "subscribed")
    trades = [row for row in records if row["type"] == "trade"]
    assert trades
    assert trades == [row for row in printed if row["type"] == "trade" and row["offset"] >= trades[0]["offset"]]


def check_files(directory: Path, printed: list[Row]) -> None:
    """The files hold, all together, what stdout had; each is whole."""
    found: Counter[int] = Counter()
    names = set()
    for path in stored(directory):
        header, *records, footer = lines_of(path)
        assert (header["type"], footer["type"], footer["records"]) == ("header", "footer", len(records))
        found.update(int(str(row["offset"])) for row in records)
        names.add((path.parent.name, path.name.split("-")[0]))
    assert found == Counter(int(str(row["offset"])) for row in printed)
    assert names >= {(id, channel) for id in IDS for channel in ("trades", "book", "ticker")}


# --- signals ----------------------------------------------------------------------------------------------------------


def test_sigterm_leaves_in_time_though_nobody_reads_its_output(tmp_path: Path, exchanges: str) -> None:
    with running(configure(tmp_path, exchanges), read=False) as daemon:
        wait_until_stuck(daemon)
        assert daemon.signal(signal.SIGTERM) == 0
        assert daemon.process.returncode == 0
    assert "could not write all that it held" in daemon.log


def test_a_second_sigterm_leaves_at_once(tmp_path: Path, exchanges: str) -> None:
    with service_manager(tmp_path) as manager:
        config = configure(tmp_path, exchanges)
        with running(config, read=False, NOTIFY_SOCKET=str(manager.getsockname())) as daemon:
            wait_until_stuck(daemon)
            daemon.process.send_signal(signal.SIGTERM)
            heard(manager, b"READY=1")
            heard(manager, b"STOPPING=1")
            assert daemon.process.poll() is None, "it drains for as long as three seconds"
            time.sleep(ECHO_S)
            assert daemon.signal(signal.SIGTERM) < AT_ONCE
            assert daemon.process.returncode == 1
    assert "stopped twice" in daemon.log


def test_a_signal_that_comes_twice_at_once_is_one(tmp_path: Path, exchanges: str) -> None:
    """As from `timeout`, which signals its child and then the whole group."""
    with running(configure(tmp_path, exchanges), read=False) as daemon:
        wait_until_stuck(daemon)
        daemon.process.send_signal(signal.SIGTERM)
        time.sleep(ECHO_S / 10)
        assert daemon.signal(signal.SIGTERM) == 0
        assert daemon.process.returncode == 0
    assert "stopped twice" not in daemon.log


def wait_until_stuck(daemon: Running) -> None:
    """Wait until what the daemon prints does not fit into the pipe any more."""
    assert daemon.process.stdout is not None
    pipe = daemon.process.stdout.fileno()
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
    until(lambda: 0 < held_in(pipe) == held_in(pipe, after=0.3), what="a full pipe")


def held_in(pipe: int, *, after: float = 0) -> int:
    """How many bytes nobody has read yet."""
    time.sleep(after)
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_an_interrupt_drains_too(tmp_path: Path, exchanges: str) -> None:
    with running(configure(tmp_path, of(exchanges, "kraken"))) as daemon:
        until(lambda: daemon.has([("kraken", "trade")]), what="a trade")
        assert daemon.signal(signal.SIGINT) == 0
        assert daemon.process.returncode == 0
    assert daemon.out.endswith(b"\n")


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path, exchanges: str) -> None:
    with running(configure(tmp_path, of(exchanges, "okx")), read=False) as daemon:
        assert daemon.process.stdout is not None
        assert daemon.process.stdout.readline()
        daemon.process.stdout.close()
        assert daemon.process.wait(PATIENCE) == 0
    assert " E " not in daemon.log


# --- kill -9 ----------------------------------------------------------------------------------------------------------


def test_after_kill_9_the_next_start_repairs_the_files_and_says_what_is_missing(tmp_path: Path, exchanges: str) -> None:
    config = configure(
        tmp_path, of(exchanges, "binance", "okx"), sinks='[[sinks]]\ntype = "stdout"\n' + files_sink(tmp_path)
    )
    with running(config) as daemon:
        until(lambda: any(size(path) > 3000 for path in current(tmp_path, "okx", "trades")), what="trades on disk")
        until(lambda: current(tmp_path, "binance", "trades"), what="trades of the other")
        daemon.signal(signal.SIGKILL)
        assert daemon.process.returncode == -signal.SIGKILL
    (torn,) = current(tmp_path, "okx", "trades")
    before = [line for line in torn.read_bytes().split(b"\n")[:-1] if line]
    with torn.open("ab") as file:
        file.write(b'{"type":"trade","exchange":"okx","pri')  # as a write that the kernel never finished
    with running(config) as daemon:
        until(lambda: daemon.has([("okx", "trade"), ("binance", "trade")]), what="trades after the restart")
        assert daemon.signal(signal.SIGTERM) == 0
        assert daemon.process.returncode == 0
    assert re.search(r"/okx/trades-\S+: its writer left it .*; [1-9]\d* bytes of a torn line cut off", daemon.log)
    repaired = [path for path in stored(tmp_path) if gap_of_restart(lines_of(path)) and path.parent.name == "okx"]
    (trades,) = [path for path in repaired if path.name.startswith("trades-")]
    *kept, gap, footer = lines_of(trades)
    assert kept == [json.loads(line) for line in before]
    assert (gap["type"], gap["phase"], gap["exchange"], gap["channel"]) == ("gap", "close", "okx", "trades")
    assert kept[-1]["ts_recv"] == gap["ts_from"] < gap["ts_to"]
    assert footer["type"] == "footer"
    told = {path.parent.name for path in stored(tmp_path) if gap_of_restart(lines_of(path))}
    assert told - {"%empty"} == {"binance", "okx"}  # a gap of all is told where something just waited to be written


def current(directory: Path, exchange: str, channel: str) -> list[Path]:
    """The file that is being written; none before it is begun."""
    return list((directory / "data").glob(f"*/{exchange}/{channel}.ndjson"))


def size(path: Path) -> int:
    return path.stat().st_size


def gap_of_restart(lines: list[Row]) -> Row | None:
    """The gap by which a repair ends a file."""
    return next((line for line in lines if (line.get("cause"), line.get("conn")) == ("restart", "files")), None)


# --- listing ----------------------------------------------------------------------------------------------------------


def test_with_the_listing_down_it_starts_from_the_cache_and_says_how_old_that_is(
    tmp_path: Path, exchanges: str
) -> None:
    both = of(exchanges, "coinbaseexchange", "kraken")
    with running(configure(tmp_path, of(exchanges, "coinbaseexchange"))) as daemon:
        until(lambda: daemon.has([("coinbaseexchange", "instrument")]), what="instruments")
        daemon.signal(signal.SIGTERM)
    broken = re.sub(r'= "http://127\.0\.0\.1:\d+/', f'= "http://{NOBODY}/', both)
    assert NOBODY in broken
    with running(configure(tmp_path, broken)) as daemon:
        until(lambda: daemon.has([("coinbaseexchange", "trade")]), what="trades with cached instruments")
        until(lambda: "kraken: no answer from" in daemon.log, what="a word about the exchange that has no cache")
        daemon.signal(signal.SIGTERM)
    (warning,) = [line for line in daemon.log.splitlines() if "hours old" in line]
    assert " W " in warning
    assert "coinbaseexchange: no answer from" in warning
    assert "going on with instruments that are 0.0 hours old" in warning
    (retry,) = [line for line in daemon.log.splitlines() if "kraken: no answer from" in line]
    assert retry.endswith("again in 5 s")
    assert {row["exchange"] for row in daemon.records()} == {"coinbaseexchange"}


def test_a_cache_that_cannot_be_read_is_as_good_as_none(tmp_path: Path, exchanges: str) -> None:
    (tmp_path / "state" / "instruments").mkdir(parents=True)
    (tmp_path / "state" / "instruments" / "okx.json").write_bytes(b'{"ts":1,"instruments":[{"ty')
    broken = re.sub(r'= "http://127\.0\.0\.1:\d+/', f'= "http://{NOBODY}/', of(exchanges, "okx"))
    with running(configure(tmp_path, broken)) as daemon:
        until(lambda: "okx: no answer from" in daemon.log, what="a word about the listing")
        assert daemon.signal(signal.SIGTERM) == 0
        assert daemon.process.returncode == 0
    assert daemon.out == b""


# --- configuration ----------------------------------------------------------------------------------------------------

MISTAKEN = """\
log_levle = "info"
[[exchanges]]
id = "binnance"
channels = ["trade"]
symbols = []
[[exchanges]]
id = "bittrex"
channels = ["trades"]
symbols = ["*"]
[[exchanges]]
id = "kraken"
channels = ["trade"]
symbols = "BTC/USD"
[exchanges.endpoints]
"wss://ws.kraken.com" = "ftp://nowhere"
[[sinks]]
type = "file"
[[sinks]]
type = "files"
path = "data"
template = "../{day}"
"""
MISTAKES = {  # by line
    1: ["log_levle", "log_level"],
    3: ['"binnance"', '"binance"'],
    5: ["symbols"],
    7: ["bittrex", "closed on 2023-12-04"],
    12: ['"trade"', '"trades"'],
    13: ["symbols", "must be a list"],
    15: ["ftp://nowhere"],
    17: ['"file"', '"files"'],
    21: ["template"],
}


@pytest.mark.parametrize("command", ["run", "check"])
def test_every_mistake_is_named_and_nothing_is_started(tmp_path: Path, command: str) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text(MISTAKEN)
    daemon = Running(config, command=command)
    assert daemon.process.wait(PATIENCE) == 78
    daemon.finish()
    assert daemon.out == b""
    said = daemon.log.splitlines()
    assert all(line.startswith(f"{config}:") for line in said)
    for number, words in MISTAKES.items():
        about = " ".join(line for line in said if line.startswith(f"{config}:{number}:"))
        assert all(word in about for word in words), (number, said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wrong.toml"]


def test_a_configuration_that_is_not_there_exits_78(tmp_path: Path) -> None:
    daemon = Running(tmp_path / "none.toml")
    assert daemon.process.wait(PATIENCE) == 78
    daemon.finish()
    assert daemon.log == f"{tmp_path}/none.toml: cannot be read: No such file or directory\n"


def test_a_feed_that_another_daemon_serves_is_a_reason_not_to_start(tmp_path: Path, exchanges: str) -> None:
    feed = f'[[sinks]]\ntype = "feed"\npath = "{tmp_path}/feed.sock"\n'
    config = configure(tmp_path, of(exchanges, "kraken"), sinks=feed)
    (tmp_path / "other").mkdir()
    other = configure(tmp_path / "other", of(exchanges, "kraken"), sinks=feed)
    with running(config) as first:
        until((tmp_path / "feed.sock").exists, what="the feed")
        with running(other) as second:
            assert second.process.wait(PATIENCE) in {1, 78}
        assert f"{tmp_path}/feed.sock" in second.log
        assert (tmp_path / "feed.sock").exists(), "the first daemon's"
        assert first.process.poll() is None
        first.signal(signal.SIGTERM)
        assert first.process.returncode == 0


def test_a_directory_of_state_that_another_daemon_uses_is_a_reason_not_to_start(tmp_path: Path, exchanges: str) -> None:
    config = configure(tmp_path, of(exchanges, "kraken"))
    with running(config) as first:
        until(lambda: first.has([("kraken", "trade")]), what="trades")
        with running(config) as second:
            assert second.process.wait(PATIENCE) == 78
        assert f"{tmp_path}/state is used by another daemon, process {first.process.pid}; give each" in second.log
        seen = len(first.records())
        until(lambda: len(first.records()) > seen, what="the first goes on")
        first.signal(signal.SIGKILL)
    with running(config) as third:
        until(lambda: third.has([("kraken", "trade")]), what="trades")
        assert third.signal(signal.SIGTERM) == 0


def test_what_is_no_file_among_the_files_of_state_neither_hangs_nor_ends_it(tmp_path: Path, exchanges: str) -> None:
    for directory in ("left", "instruments"):
        (tmp_path / "state" / directory).mkdir(parents=True)
        for id, make in (("kraken", os.mkfifo), ("okx", os.mkdir)):
            make(tmp_path / "state" / directory / f"{id}.json")
    os.mkfifo(tmp_path / "state/left/a.numbers")
    with running(configure(tmp_path, of(exchanges, "kraken", "okx"))) as daemon:
        until(lambda: daemon.has([("kraken", "trade"), ("okx", "trade")]), what="trades")
        assert daemon.signal(signal.SIGTERM) == 0
    assert daemon.log.count("it is no regular file") == 4
    assert (tmp_path / "state/instruments/okx.json").is_file()
    assert (tmp_path / "state/left/kraken.json").is_file()


def test_files_that_cannot_be_written_are_a_reason_not_to_start(tmp_path: Path, exchanges: str) -> None:
    (tmp_path / "file").write_text("")
    files = f'[[sinks]]\ntype = "files"\npath = "{tmp_path}/file/data"\n'
    with running(configure(tmp_path, of(exchanges, "kraken"), sinks=files)) as daemon:
        assert daemon.process.wait(PATIENCE) == 78
    assert daemon.log.endswith(f"aggregator: files cannot be written below {tmp_path}/file/data: Not a directory\n")
    assert "kraken" not in daemon.log, "nothing was connected"


def test_a_symbol_that_is_misspelled_is_answered_with_the_right_one(tmp_path: Path, exchanges: str) -> None:
    wanted = of(exchanges, "kraken").replace('symbols = ["*"]', 'symbols = ["ETH-USD"]')
    with running(configure(tmp_path, wanted)) as daemon:
        until(lambda: "nothing to follow" in daemon.log, what="a word about it")
        daemon.signal(signal.SIGTERM)
    assert "kraken: no instrument is named 'ETH-USD'; did you mean 'ETH/USD'?" in daemon.log


def test_symbols_that_do_not_exist_are_named_and_the_rest_is_gathered(tmp_path: Path, exchanges: str) -> None:
    wanted = of(exchanges, "kraken").replace('symbols = ["*"]', 'symbols = ["ETH/*", "DOGE/USD"]')
    with running(configure(tmp_path, wanted)) as daemon:
        until(lambda: daemon.has([("kraken", "trade")]), what="trades")
        daemon.signal(signal.SIGTERM)
    assert "kraken: no instrument is named 'DOGE/USD'" in daemon.log
    assert {row["symbol"] for row in daemon.records() if row["symbol"]} == {"ETH/USD"}
