"""The fault matrix: the daemon beside an exchange that does each hostile thing, and others that do none.

`python -m bench.faults` (or `make faults`) starts, for each behaviour of `aggregator sandbox --hostile`, each fault
that comes by itself, and each of the machine, a daemon on three simulated exchanges at a known rate and on a hostile
one. It is wrong if
- the others' records are not within 5 % of the frames that their sandbox says it sent, or come a second late;
- a number of any exchange's trades is missing and no gap speaks of it;
- the daemon takes more than 200 MB at any moment, or more than 5 s to leave on SIGTERM in that state;
- its log holds a traceback, or a character that is not printable.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.client import FeedError, connect
from aggregator.sandbox.settings import AT_START, HOSTILE, ON_FRAMES
from bench.elsewhere import feed_table
from bench.measure import table

GOOD = ("binance", "coinbaseexchange", "kraken")
HOSTILE_ONE = "okx"
RATE = 600  # frames a second of the good ones
HOSTILE_RATE = 100
FAULTS = {"stall": 2.0, "half_open": 1.0, "close": 1.0, "refuse": 1.0, "corrupt": 0.5, "http_429": 1.0}
CALM = "none"
SETTLE = 1.0  # seconds after the good ones are live, and after the hostile one has begun
PATIENCE = 30.0  # seconds until they must be live
NEAR = 0.05
LATEST = 1.0  # seconds
MOST_MB = 200
LEAVE = 5.0  # seconds
UNTELLABLE = {"stall"}  # what takes trades away from the hostile one, whose protocol does not let a reader see that
APART = {"dense"}  # what brings more than one reader of everything can read: it is looked at by a reader of the others
LONGEST_ID = 30  # digits of what is a number of a trade
COUNTED = re.compile(r"@trade$|@depth|^matches:|^level2|^trade:|^book\.")  # the sandbox's topics of one record a frame
SINKS = """\
[[sinks]]
type = "files"
path = "{home}/out"

{feed}"""
# What goes wrong with the machine, or with who uses it; the exchanges are all well.
MACHINE = {
    "names_hang": "no name server answers for the fourth exchange",
    "log_unread": "standard error is a full pipe that nobody reads",
    "disk_hangs": "no disk answers: neither that of state nor those of data and captures",
    "disk_full": "no file may grow beyond 50 kB",
    "few_files": "64 files may be open",
    "signals": "SIGHUP, SIGUSR1 and SIGUSR2 a hundred times a second",
    "clients": "300 subscribers to everything, none of which reads",
    "files_away": "the directories of data and captures are removed",
}
NO_GOOD_END = {"disk_hangs"}  # what keeps a daemon from writing all that it has to, so that its code may be 1
SITE = """\
import os, signal, socket, time
from pathlib import Path

def hanging(call, hangs):
    def wrapper(*args, **options):
        while hangs(*args, **options):
            time.sleep(0.05)
        return call(*args, **options)
    return wrapper

flag = Path({flag!r})
for name in ("write", "rename", "replace", "fsync", "ftruncate"):
    setattr(os, name, hanging(getattr(os, name), lambda fd, *_: fd not in (1, 2) and flag.exists()))
plain = socket.getaddrinfo
named = lambda host, *_, flags=0, **__: not flags and str(host).endswith(".hangs")
socket.getaddrinfo = hanging(plain, named)
"""
HEAD = ("behaviour", "others %", "p99 ms", "untold", "peak MB", "SIGTERM s", "pause ms", "gaps", "connections", "wrong")


class Row(Struct):
    """What is looked at of a record."""

    type: str
    exchange: str = ""
    channel: str | None = None
    raw_symbol: str | None = None
    id: str | None = None
    conn: str = ""
    ts_recv: int = 0
    ts_event: int | None = None
    pause_ms: float | None = None
    missed: int | None = None


class Sent(Struct):
    """What the sandbox has sent to one client."""

    exchange: str
    sent: dict[str, int]


class Stats(Struct):
    """What the sandbox says of all of them."""

    clients: dict[str, Sent]

    @property
    def frames(self) -> int:
        """Those that make one record each."""
        return sum(n for client in self.clients.values() for topic, n in client.sent.items() if COUNTED.search(topic))


class Found(Struct):
    """What came of one behaviour."""

    name: str
    share: float = 0.0
    p99: float = 0.0
    untold: int = 0
    peak: float = 0.0
    leave: float = 0.0
    code: int | None = None
    pause: float = 0.0
    gaps: int = 0
    connections: int = 0
    log: str = ""

    @property
    def wrong(self) -> list[str]:
        """All that is not as it must be."""
        found = {
            f"others at {self.share:.0%}": abs(self.share - 1) > NEAR,
            "late": self.p99 > LATEST * 1000,
            f"{self.untold} untold": self.untold > 0,
            "memory": self.peak > MOST_MB,
            "slow to leave": self.leave > LEAVE,
            f"exit code {self.code}": self.code != 0 and not (self.code == 1 and self.name in NO_GOOD_END),
            "traceback": "Traceback" in self.log or "of our own" in self.log,
            "log not printable": any(not c.isprintable() for line in self.log.split("\n") for c in line),
        }
        return [name for name, is_so in found.items() if is_so]

    def cells(self) -> list[object]:
        """The row of the table."""
        return [self.name, self.share * 100, int(self.p99), self.untold, int(self.peak), self.leave, int(self.pause),
                self.gaps, self.connections, ", ".join(self.wrong) or "-"]  # fmt: skip


class Reader:
    """Who reads the whole feed, and notices what is missing without a word."""

    def __init__(self, followed: Collection[str], patterns: Sequence[str] = ("*:*:*",)) -> None:
        self._patterns = patterns
        self._followed = followed  # exchanges of whose trades none may be missing
        self.records = 0  # of the good exchanges
        self.latencies: list[float] = []
        self.untold = 0
        self.gaps = 0
        self.pause = 0.0
        self.lines: set[str] = set()  # connections of the hostile one
        self.is_measuring = False
        self.has_begun = False
        self._last: dict[tuple[str, str | None], int] = {}
        self._told: set[tuple[str, str | None]] = set()

    async def read(self, path: Path) -> None:
        """Read until the feed ends."""
        decode = Decoder(Row).decode
        while not self.has_begun:
            with suppress(OSError, FeedError):
                async with connect(path) as feed:
                    await feed.subscribe(*self._patterns, snapshot=False)
                    self.has_begun = True
                    async for line in feed.lines():
                        self._take(decode(line))
            await asyncio.sleep(0.1)

    def _take(self, row: Row) -> None:
        if row.exchange == HOSTILE_ONE and row.conn:
            self.lines.add(row.conn)
        if row.type in {"gap", "lag"}:
            self.gaps += row.type == "gap"
            if row.type == "lag" or row.channel in {None, "trades"}:
                self._told.add((row.exchange if row.type == "gap" else "", row.raw_symbol))
        elif row.type == "summary" and row.exchange in GOOD:
            self.pause = max(self.pause, row.pause_ms or 0)
        elif row.exchange in GOOD and row.type in {"trade", "book_delta"}:
            self.records += 1
            if self.is_measuring and row.ts_event:
                self.latencies.append((time.time_ns() - row.ts_event) / 1e6)
        if (
            row.type == "trade"
            and row.exchange in self._followed
            and row.id
            and row.id.isdecimal()
            and len(row.id) < LONGEST_ID
        ):
            self._follow(row.exchange, row.raw_symbol, int(row.id))

    def _follow(self, exchange: str, symbol: str | None, number: int) -> None:
        last = self._last.get((exchange, symbol))
        if last is not None and number > last + 1 and not self._is_told(exchange, symbol):
            self.untold += 1
        if last is None or number > last:
            self._last[exchange, symbol] = number
            self._told.discard((exchange, symbol))

    def _is_told(self, exchange: str, symbol: str | None) -> bool:
        return any(key in self._told for key in ((exchange, symbol), (exchange, None), ("", None)))


async def ask(control: Path, **command: object) -> bytes:
    """One command to a sandbox's control socket."""
    reader, writer = await asyncio.open_unix_connection(control, limit=2**28)
    writer.write(json.dumps(command).encode() + b"\n")
    answer = await reader.readline()
    writer.close()
    return answer


class Sandboxed(Struct):
    """A sandbox that runs: its process, its control socket and what goes into a configuration."""

    process: Process
    control: Path
    config: str

    async def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        await self.process.wait()


async def start(home: Path, name: str, *options: str) -> Sandboxed:
    """A sandbox of its own."""
    config, control = home / f"{name}.toml", home / f"{name}.sock"
    with (home / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "aggregator", "sandbox", "--port", "0", "--config-out", str(config),
            "--control", str(control), *options, stderr=log,
        )  # fmt: skip
    while not (config.exists() and control.exists()):  # noqa: ASYNC110 - another process makes them
        await asyncio.sleep(0.05)
    return Sandboxed(process, control, config.read_text().partition("[[sinks]]")[0])


class Machine:
    """The machine that a daemon runs on, and what is wrong with it."""

    def __init__(self, name: str, home: Path) -> None:
        self._name = name
        self._home = home
        self._pipe: tuple[int, int] | None = None
        self._storm: asyncio.Task[None] | None = None
        self._clients: list[socket.socket] = []

    async def start(self) -> Process:
        """Start the daemon."""
        home, command, environment = self._home, ["run"], dict(os.environ)
        if self._name in MACHINE:
            command = ["capture", "--out", str(home / "captures")]
            (home / "site").mkdir()
            (home / "site" / "sitecustomize.py").write_text(SITE.format(flag=str(home / "hangs")))
            environment["PYTHONPATH"] = f"{home / 'site'}:{environment.get('PYTHONPATH', '')}"
        with (home / "daemon.log").open("wb") as log:
            if self._name == "log_unread":
                self._pipe = os.pipe()
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "aggregator", *command, "--config", str(home / "daemon.toml"),
                stderr=self._pipe[1] if self._pipe is not None else log, env=environment, preexec_fn=self._limit,
            )  # fmt: skip

    def _limit(self) -> None:
        """Bound what the daemon may have, in its process."""
        if self._name == "disk_full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        elif self._name == "few_files":
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    def begin(self, daemon: Process) -> None:
        """Let go wrong what goes wrong while it runs."""
        match self._name:
            case "log_unread" if self._pipe is not None:
                os.set_blocking(self._pipe[1], False)
                with suppress(BlockingIOError):
                    while True:
                        os.write(self._pipe[1], b"x" * 512)
                os.set_blocking(self._pipe[1], True)
                for number in (signal.SIGHUP, signal.SIGUSR2):
                    daemon.send_signal(number)
            case "disk_hangs":
                (self._home / "hangs").touch()
            case "signals":
                self._storm = asyncio.create_task(_storm(daemon))
            case "clients":
                for _ in range(300):
                    client = socket.socket(socket.AF_UNIX)
                    self._clients.append(client)
                    with suppress(OSError):
                        client.connect(str(self._home / "feed.sock"))
                        client.sendall(b"*:*:*\n")
            case "files_away":
                for name in ("out", "captures"):
                    shutil.rmtree(self._home / name)

    def end(self) -> None:
        """Give back what that took."""
        if self._storm is not None:
            self._storm.cancel()
        for client in self._clients:
            client.close()
        for fd in self._pipe or ():
            os.close(fd)


async def _storm(daemon: Process) -> None:
    while daemon.returncode is None:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            with suppress(ProcessLookupError):
                os.kill(daemon.pid, number)  # asyncio's own way would take its exit code from whoever waits for that
        await asyncio.sleep(0.01)


async def try_one(name: str, good: Sandboxed, seconds: float, transport: str) -> Found:
    """The daemon beside one behaviour for so long."""
    found = Found(name)
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        home = Path(directory)
        options = ["--hostile", name] if name in AT_START else []
        hostile = await start(home, "hostile", "--simulate", HOSTILE_ONE, "--rate", str(HOSTILE_RATE), *options)
        begins_late = name in ON_FRAMES or name in FAULTS
        if not begins_late and name not in {CALM, *AT_START, *MACHINE}:
            await ask(hostile.control, op="fault", kind=name, value=1)
        block = hostile.config.replace("[[exchanges]]", f'[[exchanges]]\ntransport = "{transport}"')
        if name == "names_hang":
            block = block.replace("127.0.0.1", "none.hangs")
        sinks = SINKS.format(home=home, feed=feed_table(home / "feed.sock"))
        (home / "daemon.toml").write_text(f'state = "{home}/state"\n{good.config}{block}{sinks}')
        machine = Machine(name, home)
        daemon = await machine.start()
        patterns = [f"*:{id}:*" for id in GOOD] if name in APART else ["*:*:*"]
        reader = Reader(GOOD if name in UNTELLABLE else (*GOOD, HOSTILE_ONE), patterns)
        try:
            reading = await _live(daemon, home / "feed.sock", reader, good)
            await asyncio.sleep(SETTLE)
            if begins_late:
                await ask(hostile.control, op="fault", kind=name, value=FAULTS.get(name, 1))
            machine.begin(daemon)
            await asyncio.sleep(SETTLE)
            await _measure(good, reader, found, seconds)
            found.peak = _peak(daemon.pid)
            await _leave(daemon, found)
            await asyncio.wait({reading}, timeout=PATIENCE)
        finally:
            if daemon.returncode is None:
                daemon.kill()
                await daemon.wait()
            machine.end()
            await hostile.stop()
        found.untold, found.gaps, found.pause = reader.untold, reader.gaps, reader.pause
        found.connections = len({conn for conn in reader.lines if "#" in conn})
        found.log = (home / "daemon.log").read_text(errors="replace")
    return found


async def _live(daemon: Process, feed: Path, reader: Reader, good: Sandboxed) -> asyncio.Task[None]:
    """Read the feed, once it is there, until all good exchanges flow. Raises RuntimeError where they do not."""
    begun = time.monotonic()
    while not feed.exists():  # noqa: ASYNC240 - a moment
        if daemon.returncode is not None or time.monotonic() - begun > PATIENCE:
            raise RuntimeError("the daemon does not start")
        await asyncio.sleep(0.05)
    reading = asyncio.create_task(reader.read(feed))
    while True:
        clients = Decoder(Stats).decode(await ask(good.control, op="stats")).clients.values()
        sent = {client.exchange: client.sent for client in clients}
        if {id for id, frames in sent.items() if frames} >= set(GOOD) and reader.records > RATE // 4:
            return reading
        if time.monotonic() - begun > PATIENCE:
            is_over = reading.done() and repr(reading.exception())
            raise RuntimeError(f"the good exchanges do not flow: {sent}, {reader.records} records read, {is_over}")
        await asyncio.sleep(0.1)


async def _measure(good: Sandboxed, reader: Reader, found: Found, seconds: float) -> None:
    """Compare what is sent with what is read."""
    decode = Decoder(Stats).decode
    sent, read = decode(await ask(good.control, op="stats")).frames, reader.records
    reader.is_measuring = True
    await asyncio.sleep(seconds)
    sent, read = decode(await ask(good.control, op="stats")).frames - sent, reader.records - read
    reader.is_measuring = False
    found.share = read / sent if sent > 0 else 0.0
    late = sorted(reader.latencies)
    found.p99 = late[int(len(late) * 0.99)] if late else float("inf")


async def _leave(daemon: Process, found: Found) -> None:
    asked = time.monotonic()
    if daemon.returncode is None:
        daemon.send_signal(signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(4 * LEAVE):
            await daemon.wait()
    found.leave, found.code = time.monotonic() - asked, daemon.returncode


def _peak(pid: int) -> float:
    """Megabytes that a process has held at most."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0) / 1024


async def run(names: Sequence[str], seconds: float, transport: str, logs: Path | None) -> list[Found]:
    """Try each behaviour in turn."""
    found = []
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        good = await start(Path(directory), "good", "--simulate", ",".join(GOOD), "--rate", str(RATE))
        try:
            for name in names:
                one = await try_one(name, good, seconds, transport)
                print(" ".join(map(_shown, one.cells())), file=sys.stderr, flush=True)
                if logs is not None:
                    (logs / f"{name}.log").write_text(one.log)
                found.append(one)
        finally:
            await good.stop()
    return found


def _shown(cell: object) -> str:
    return f"{cell:.1f}" if isinstance(cell, float) else str(cell)


def behaviours() -> Iterator[str]:
    """All of them; the first is none, for comparison."""
    yield CALM
    yield from HOSTILE
    yield from FAULTS
    yield from MACHINE


def main() -> None:
    """Parse the command line, run, print the table, and leave with 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="of each behaviour")
    parser.add_argument("--only", default="", help="some of them, with commas")
    parser.add_argument("--transport", choices=("picows", "websockets"), default="picows", help="of the hostile one")
    parser.add_argument("--logs", type=Path, help="keep the daemon's logs in this directory")
    asked = parser.parse_args()
    names = [name for name in asked.only.split(",") if name] or list(behaviours())
    if asked.logs is not None:
        asked.logs.mkdir(parents=True, exist_ok=True)
    found = asyncio.run(run(names, asked.seconds, asked.transport, asked.logs))
    table("the daemon beside an exchange that is hostile", HEAD, [one.cells() for one in found])
    counts = Counter(bool(one.wrong) for one in found)
    print(f"\n{counts[False]} of {len(found)} as they must be")
    sys.exit(1 if counts[True] else 0)


if __name__ == "__main__":
    main()
