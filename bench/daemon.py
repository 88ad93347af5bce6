"""The whole daemon as a process: an exchange on loopback sends, files and subscribers take, and the processor counts.

The daemon has one processor to itself; the exchange, which is also the subscriber that measures, and all other
subscribers share another one.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from msgspec import Struct

from bench.measure import table

CONFIG = """\
state = "{home}/state"
log_level = "warning"

[[exchanges]]
id = "binance"
channels = ["trades", "book", "bbo"]
symbols = ["*"]

[exchanges.endpoints]
"wss://stream.binance.com:9443" = "ws://127.0.0.1:{ws}"
"https://api.binance.com" = "http://127.0.0.1:{http}"

[[sinks]]
type = "feed"
path = "{home}/feed.sock"
ring = 1000000

[[sinks]]
type = "files"
path = "{home}/files"
"""
PATIENCE = 30.0  # seconds for a process to say that it is ready
STARTS = 5


class Load(Struct, frozen=True):
    """What is sent: kind of frames, how many, how many a second (0: as fast as it goes) in bursts of how many."""

    name: str
    kind: str = "mixed"
    count: int = 300_000
    rate: float = 0
    burst: int = 1
    clients: int = 1


class Run(Struct):
    """What came of it: microseconds of the daemon's processor time per frame, of latency from send to read."""

    name: str
    frames: int
    clients: int
    per_second: float
    cpu: float
    lines: int
    lags: int
    subscribe: float
    rss: list[float]
    p50: float = 0
    p99: float = 0
    p999: float = 0


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def resident(pid: int) -> float:
    """Megabytes of memory that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


@contextmanager
def process(arguments: list[str], processor: int, **files: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python process on one processor; ended at the end."""
    wrapped = ["taskset", "-c", str(processor), sys.executable, *arguments]
    running = subprocess.Popen(wrapped, text=True, stdin=subprocess.PIPE, **files)  # noqa: S603 - our own program
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def heard(stream: IO[str] | None) -> dict[str, Any]:
    """The next line of a process, which is JSON. Raises RuntimeError when it has ended."""
    line = stream.readline() if stream is not None else ""
    if not line:
        raise RuntimeError("a process of the measurement ended early; what it said stands above")
    found: dict[str, Any] = json.loads(line)
    return found


def tell(running: subprocess.Popen[str]) -> None:
    """Let a process go on."""
    if running.stdin is not None:
        running.stdin.write("\n")
        running.stdin.flush()


def simulate(load: Load, path: Path, *, bare: bool) -> list[str]:
    """The simulator's command line."""
    flags = ["--bare"] if bare else []
    return ["-m", "bench.simulator", f"--kind={load.kind}", f"--count={load.count}", f"--rate={load.rate}",
            f"--burst={load.burst}", f"--socket={path}", *flags]  # fmt: skip


def await_socket(path: Path) -> None:
    """Wait until somebody listens. Raises TimeoutError."""
    limit = time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > limit:
            raise TimeoutError(f"nobody listens at {path}")
        time.sleep(0.02)


def run(load: Load, *, bare: bool = False, processors: tuple[int, int] = (1, 0)) -> Run:
    """Measure one load, through the daemon or through the bare read loop."""
    ours, theirs = processors
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = home / ("bare.sock" if bare else "feed.sock")
        simulator = stack.enter_context(process(simulate(load, path, bare=bare), theirs, stdout=subprocess.PIPE))
        ports = heard(simulator.stdout)
        started = time.time()
        measured = stack.enter_context(process(_target(home, ports, bare=bare), ours))
        subscribed = started if bare else heard(simulator.stdout)["subscribed"]
        heard(simulator.stdout)
        if load.clients > 1:
            others = ["-m", "bench.clients", str(path), str(load.clients - 1)]
            clients = stack.enter_context(process(others, theirs, stdout=subprocess.PIPE))
            if clients.stdout is not None:
                clients.stdout.readline()
        return _measure(load, simulator, measured.pid, subscribed - started)


def _target(home: Path, ports: dict[str, int], *, bare: bool) -> list[str]:
    if bare:
        return ["-m", "bench.bare", f"ws://127.0.0.1:{ports['ws']}/", str(home / "bare.sock")]
    config = home / "config.toml"
    config.write_text(CONFIG.format(home=home, **ports))
    return ["-m", "aggregator", "run", "--config", str(config)]


def _measure(load: Load, simulator: subprocess.Popen[str], pid: int, subscribe: float) -> Run:
    before = cpu_seconds(pid)
    rss = [resident(pid)]
    tell(simulator)
    os.set_blocking(simulator.stdout.fileno(), False)  # type: ignore[union-attr]
    while not (line := simulator.stdout.readline()):  # type: ignore[union-attr]
        time.sleep(0.2)
        rss.append(resident(pid))
        if simulator.poll() is not None:
            raise RuntimeError("the simulator ended early; what it said stands above")
    said = json.loads(line)
    spent = cpu_seconds(pid) - before
    return Run(
        load.name,
        said["sent"],
        load.clients,
        said["sent"] / said["seconds"],
        spent / said["sent"] * 1e6,
        said["lines"],
        said["lags"],
        subscribe,
        rss,
        **{name: said[name] for name in ("p50", "p99", "p999") if name in said},
    )


def start_up() -> dict[str, float]:
    """Seconds for `aggregator --help`, and for importing the daemon alone."""

    def median(arguments: list[str]) -> float:
        times = []
        for _ in range(STARTS):
            start = time.monotonic()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)  # noqa: S603 - ourselves
            times.append(time.monotonic() - start)
        return statistics.median(times)

    return {
        "python": median(["-c", ""]),
        "help": median(["-m", "aggregator", "--help"]),
        "import": median(["-c", "import aggregator.daemon"]),
    }


def slope(rss: list[float], seconds: float) -> float:
    """Megabytes a minute by which memory grew after the first third of the samples."""
    late = rss[len(rss) // 3 :]
    if len(late) < 2:
        return 0.0
    times = [at * seconds / len(rss) / 60 for at in range(len(late))]
    return statistics.linear_regression(times, late).slope


def loads(seconds: float) -> list[tuple[Load, bool]]:
    """What is measured, each for about so long; and whether through the bare loop."""
    steady = int(10_000 * seconds)
    even = Load("evenly, 10,000 a second", "book", steady, 10_000)
    bursts = Load("bursts of 10, 10,000 a second", "book", steady, 10_000, 10)
    many = int(50_000 * seconds)
    return [
        (Load("as fast as it goes", clients=10), False),
        (even, True),
        (even, False),
        (bursts, True),
        (bursts, False),
        (Load("50,000 a second", "ticker", many, 50_000, 50), False),
        (Load("50,000 a second", "ticker", many, 50_000, 50, clients=100), False),
        (Load("memory, 20,000 a second", count=int(20_000 * seconds * 2), rate=20_000, burst=20), False),
    ]


def measure(seconds: float) -> dict[str, Any]:
    """Every load, and the start."""
    runs = []
    for load, bare in loads(seconds):
        print(f"{'bare loop' if bare else 'daemon'}: {load.name}, {load.clients} clients", file=sys.stderr)
        runs.append((run(load, bare=bare), bare))
    return {"start": start_up(), "runs": runs}


def show(found: dict[str, Any]) -> None:
    """Print the tables."""
    rows = []
    for result, bare in found["runs"]:
        grows = slope(result.rss, result.frames / result.per_second)
        rows.append([
            "bare loop" if bare else "daemon", result.name, result.clients, int(result.per_second), result.cpu,
            result.p50, result.p99, result.p999, result.lines, result.lags, result.rss[-1], grows, result.subscribe,
        ])  # fmt: skip
    head = ("through", "sent", "clients", "frames/s", "cpu µs", "p50 µs", "p99", "p99.9", "lines", "lags", "MB",
            "MB/min", "start s")  # fmt: skip
    table("the daemon over loopback, to files and subscribers", head, rows)
    print("\nseconds: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in found["start"].items()))
