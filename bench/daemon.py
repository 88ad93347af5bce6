"""The whole daemon as a process: an exchange on loopback sends, files and subscribers take, and the processor counts.

The daemon has one processor to itself; the exchange, which is also the subscriber that measures, and all other
subscribers share another one.
"""

import json
import os
import re
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.elsewhere import feed_table
from bench.measure import MICRO, processors, table

CONFIG = """\
state = "{home}/state"
log_level = "error"

[[exchanges]]
id = "binance"
channels = {channels}
symbols = ["*"]

[exchanges.endpoints]
"wss://stream.binance.com:9443" = "ws://127.0.0.1:{ws}"
"https://api.binance.com" = "http://127.0.0.1:{http}"

{feed}"""
FILES = """
[[sinks]]
type = "files"
path = "{home}/files"
"""
CHANNELS = {"mixed": '["trades", "book", "bbo"]', "trade": '["trades"]', "book": '["book"]', "ticker": '["bbo"]'}
SAMPLE = 0.5  # seconds between two looks at memory
LONG = 30  # seconds, from which on the growth of memory says something
HEAD = ("through", "sent", "clients", "frames/s", "cpu µs", "waited", "p50 µs", "p99 µs", "p99.9 µs", "lines/frame",
        "lags", "unwritten", "MB", "start s")  # fmt: skip
UNWRITTEN = re.compile(rb'"conn":"files"[^\n]*"missed":(\d+)')  # in a file: a gap that the sink left there


class Load(Struct, frozen=True):
    """What is sent: kind of frames, how many, how many a second (0: as fast as it goes) in bursts of how many.

    bare: through the bare read loop, not the daemon
    files: whether the daemon writes them too
    """

    name: str
    kind: str = "mixed"
    count: int = 300_000
    rate: float = 0
    burst: int = 1
    clients: int = 1
    bare: bool = False
    files: bool = True


class Run(Struct):
    """What came of it.

    cpu, p50, p99, p999: microseconds, of processor time per frame and from send to read
    waited: share of the time in which it could have run, but others had the processor: latencies grow by it
    unwritten: records that files lack, as their gaps say: each file tells of all that the sink has lost
    subscribe: seconds from the start of the process to its first frame
    rss: megabytes, one every SAMPLE seconds
    """

    load: Load
    per_second: float
    cpu: float
    waited: float
    lines: int
    lags: int
    unwritten: int
    subscribe: float
    rss: list[float]
    p50: float = 0
    p99: float = 0
    p999: float = 0

    @property
    def slope(self) -> float:
        """Megabytes a minute by which memory grew after the first third."""
        late = self.rss[len(self.rss) // 3 :]
        return statistics.linear_regression([at * SAMPLE / 60 for at in range(len(late))], late).slope

    def cells(self) -> list[object]:
        """The row of the table."""
        load = self.load
        late = [int(self.p50), int(self.p99), int(self.p999)] if load.rate and self.p50 else ["-"] * 3
        return [
            "bare loop" if load.bare else "daemon", load.name, load.clients, int(self.per_second), self.cpu,
            f"{self.waited:.0%}", *late, self.lines / load.count, self.lags, self.unwritten,
            int(self.rss[-1]), self.subscribe,
        ]  # fmt: skip


def loads(seconds: float) -> list[Load]:
    """Saturation, latency beside the bare loop's, and many clients, each for about so long."""
    steady, many = int(10_000 * seconds), int(50_000 * seconds)
    even = ("evenly, 10,000 a second", "book", steady, 10_000, 1)
    bursts = ("bursts of 10, 10,000 a second", "book", steady, 10_000, 10)
    fast = ("50,000 a second", "ticker", many, 50_000, 50)
    return [
        Load("as fast as it goes", clients=10, count=int(15_000 * seconds)),
        Load(*even, bare=True),
        Load(*even),
        Load(*bursts, bare=True),
        Load(*bursts),
        Load(*fast),
        Load(*fast, clients=100),
    ]


def memory(seconds: float) -> Load:
    """A steady load, for as long as memory is to be watched."""
    return Load("20,000 a second", count=int(20_000 * seconds), rate=20_000, burst=20)


def report(asked: Sequence[Load]) -> dict[str, object]:
    """Measure every load and print the table and the ratios."""
    runs = []
    for load in asked:
        print(f"{'bare loop' if load.bare else 'daemon'}: {load.name}, {load.clients} clients", file=sys.stderr)
        runs.append(run(load))
    table("the daemon over loopback, to files and subscribers", HEAD, [found.cells() for found in runs])
    ratios = dict(_ratios(runs))
    if ratios:
        table("of these", ("what", ""), list(ratios.items()))
    return {"runs": runs, "ratios": ratios}


def _ratios(runs: Sequence[Run]) -> Iterator[tuple[str, float]]:
    for found in runs:
        if len(found.rss) * SAMPLE > LONG:
            yield f"{found.load.name}: megabytes a minute", found.slope
        for other in runs:
            if found.load.name != other.load.name:
                continue
            if other.load.bare and not found.load.bare and other.p50:
                yield f"{found.load.name}: p50 over the bare loop's", found.p50 / other.p50
                yield f"{found.load.name}: p99 over the bare loop's", found.p99 / other.p99
            if found.load.clients > other.load.clients:
                title = f"{found.load.name}: cpu of {found.load.clients} clients over {other.load.clients}"
                yield title, found.cpu / other.cpu


def run(load: Load) -> Run:
    """Measure one load. Raises RuntimeError when a process ends early."""
    with running(load) as measure:
        return measure()


@contextmanager
def running(load: Load, program: Sequence[str] = ("-m", "aggregator")) -> Iterator[Callable[[], Run]]:
    """The processes of a load; what is given sends it and measures, as often as it is called.

    program: what Python is to run as the daemon
    """
    ours, theirs = processors()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = home / "feed.sock"
        simulator = stack.enter_context(process(_simulate(load, path), theirs))
        ports = heard(simulator)
        started = time.time()
        measured = stack.enter_context(process(_target(load, home, ports, program), ours))
        subscribed = started if load.bare else heard(simulator)["subscribed"]
        heard(simulator)
        if load.clients > 1:
            others = ["-m", "bench.clients", f"unix:{path}", "lines", "0", str(load.clients - 1), "0", "*:*:*"]
            heard(stack.enter_context(process(others, theirs)))
        yield lambda: _measure(load, simulator, measured.pid, subscribed - started, home / "files")


def _simulate(load: Load, path: Path) -> list[str]:
    flags = ["--bare"] if load.bare else []
    return ["-m", "bench.simulator", f"--kind={load.kind}", f"--count={load.count}", f"--rate={load.rate}",
            f"--burst={load.burst}", f"--socket={path}", *flags]  # fmt: skip


def _target(load: Load, home: Path, ports: dict[str, int], program: Sequence[str]) -> list[str]:
    if load.bare:
        return ["-m", "bench.bare", f"ws://127.0.0.1:{ports['ws']}/", str(home / "feed.sock")]
    config = home / "config.toml"
    text = CONFIG + FILES if load.files else CONFIG
    feed = feed_table(home / "feed.sock", ring=1_000_000)
    config.write_text(text.format(home=home, feed=feed, channels=CHANNELS[load.kind], **ports))
    return [*program, "run", "--config", str(config)]


def _measure(load: Load, simulator: subprocess.Popen[str], pid: int, subscribe: float, files: Path) -> Run:
    ran, waited = processor_time(pid)
    rss = [resident(pid)]
    tell(simulator)
    said_something = [] if simulator.stdout is None else [simulator.stdout]
    while not select.select(said_something, [], [], SAMPLE)[0]:
        rss.append(resident(pid))
    said = heard(simulator)
    ran, waited = (after - before for after, before in zip(processor_time(pid), (ran, waited), strict=True))
    return Run(
        load,
        said["sent"] / said["seconds"],
        ran / said["sent"] * MICRO,
        waited / said["seconds"],
        said["lines"],
        said["lags"],
        sum(int(n) for file in files.rglob("*.ndjson") for n in UNWRITTEN.findall(file.read_bytes())),
        subscribe,
        rss,
        **{name: said[name] for name in ("p50", "p99", "p999") if name in said},
    )


@contextmanager
def process(arguments: list[str], processor: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A Python process, on one processor where that is named; ended at the end."""
    command = [sys.executable, *arguments]
    running = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - ours
    if processor is not None:
        os.sched_setaffinity(running.pid, {processor})
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.communicate()


def heard(running: subprocess.Popen[str]) -> Any:
    """The next line of a process, which is JSON. Raises RuntimeError when it has ended."""
    line = running.stdout.readline() if running.stdout is not None else ""
    if not line:
        raise RuntimeError("a process of the measurement ended early; what it said stands above")
    return json.loads(line)


def tell(running: subprocess.Popen[str], words: str = "") -> None:
    """Let a process go on."""
    if running.stdin is not None:
        running.stdin.write(words + "\n")
        running.stdin.flush()


def processor_time(pid: int) -> tuple[float, float]:
    """Seconds that all threads of a process have run, and have waited for the processor that others held."""
    tasks = [task.read_text().split() for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(task[0]) for task in tasks) / 1e9, sum(int(task[1]) for task in tasks) / 1e9


def resident(pid: int) -> float:
    """Megabytes of memory that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024
