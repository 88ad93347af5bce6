"""What every measurement shares: rounds that take turns, the least of each, tables, and the conditions of a run."""

import gc
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from compileall import compile_dir
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from msgspec.json import encode, format  # noqa: A004 - its own name

from aggregator.daemon.daemon import GC_THRESHOLD

ROOT = Path(__file__).resolve().parents[1]
MICRO = 1e6
LIBRARIES = ("msgspec", "orjson", "picows", "uvloop")

Task = Callable[[], float]  # does the work once; gives the seconds of processor time that count


def as_installed() -> None:
    """Leave the program's bytecode beside it, as an installation does: without it a start compiles every module."""
    for package in ("aggregator", "connectors"):
        compile_dir(ROOT / package, quiet=1)


def processors() -> tuple[int, int]:
    """One for what is measured, and one for everything else: the same where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[-1], allowed[0]


def settle() -> None:
    """Make this process like the daemon: its garbage collector's settings."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


@contextmanager
def pinned(processor: int) -> Iterator[None]:
    """Stay on one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def take_turns(tasks: Mapping[str, Task], rounds: int) -> dict[str, float]:
    """Each task's least over rounds in which all take turns: what else runs on the machine only adds."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            times[name].append(task())
    return {name: min(of_task) for name, of_task in times.items()}


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor time that the work takes: what others do on the machine hardly counts."""
    start = time.process_time()
    work()
    return time.process_time() - start


def conditions() -> dict[str, object]:
    """What a figure depends on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": platform.python_version(),
        "machine": f"{_processor()}, {os.cpu_count()} processors",
        "load": round(os.getloadavg()[0], 1),
        **{name: version(name) for name in LIBRARIES},
    }


def show_conditions() -> None:
    """Print them in one line."""
    print("; ".join(f"{name}: {value}" for name, value in conditions().items()))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their heads: text to the left, numbers to the right."""
    shown = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in [list(head), *shown]) for at in range(len(head))]
    left = [bool(rows) and isinstance(rows[0][at], str) for at in range(len(head))]
    print(f"\n{title}")
    for row in [list(head), *shown]:
        cells = zip(row, widths, left, strict=True)
        print("  ".join(cell.ljust(width) if is_left else cell.rjust(width) for cell, width, is_left in cells).rstrip())


def write(path: Path | None, report: Mapping[str, object]) -> None:
    """Leave a report as JSON, where a file was named."""
    if path is not None:
        path.write_bytes(format(encode(report), indent=1) + b"\n")
