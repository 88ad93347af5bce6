"""How long the daemon keeps a frame, by its own account: from the read of its socket until its records are handed on.

`python -m bench.pauses` sends 10,000 frames a second, evenly and in bursts, to a daemon that writes files and serves
ten subscribers, and notes of each frame the time from its read to the end of its hand-over: by the clock, and the
processor time of the loop within it, in which nothing is that the process waited for a processor. The same daemon does
it as ever, with these two clocks read beside.
"""

import argparse
import atexit
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from aggregator.__main__ import main as run_aggregator
from aggregator.ingest import picows_line
from aggregator.ingest.connection import Connection
from aggregator.ingest.lines import read_clocks
from aggregator.session.moment import Now
from bench.daemon import Load, running
from bench.measure import show_conditions, table

REPORT = "BENCH_PAUSES_REPORT"
SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "longest": 1.0}
HEAD = ("frames", "count", *(f"{name} {clock}" for clock in ("µs of processor", "µs by the clock") for name in SHARES))


class Watch:
    """What each frame took, in nanoseconds: of the processor, and by the clock."""

    def __init__(self) -> None:
        self.own: list[int] = []
        self.wall: list[int] = []
        self._began: dict[int, int] = {}  # when it was read -> the processor time of the loop by then

    def read(self) -> Now:
        """Note that the socket is read."""
        now = read_clocks()
        if len(self._began) > 1000:  # reads of which frames wait for a later turn are never as many
            self._began.clear()
        self._began[now.mono] = time.thread_time_ns()
        return now

    def handed(self, count: int, now: Now) -> None:
        """Note that so many frames of a read are handed on."""
        began = self._began.get(now.mono)
        if began is not None:
            self.own += [time.thread_time_ns() - began] * count
            self.wall += [time.monotonic_ns() - now.mono] * count


def watched() -> None:
    """Be the daemon, and leave in the end what was seen."""
    watch, hand_on = Watch(), Connection.frames

    def frames(self: Connection, payloads: list[bytes], now: Now) -> None:
        hand_on(self, payloads, now)
        watch.handed(len(payloads), now)

    picows_line.read_clocks = watch.read  # type: ignore[attr-defined]
    Connection.frames = frames  # type: ignore[method-assign]
    atexit.register(lambda: Path(os.environ[REPORT]).write_text(json.dumps([watch.own, watch.wall])))
    run_aggregator()


def told(name: str, found: Sequence[Sequence[int]]) -> list[object]:
    """A row of the table."""
    cells: list[object] = [name, len(found[0])]
    for each in map(sorted, found):
        cells += [each[min(int(share * len(each)), len(each) - 1)] / 1000 for share in SHARES.values()]
    return cells


def main() -> None:
    """Measure, and print."""
    if sys.argv[1:2] == ["run"]:
        watched()
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="of each kind of sending")
    seconds = parser.parse_args().seconds
    show_conditions()
    rows = []
    for name, burst in (("evenly", 1), ("bursts of 10", 10), ("bursts of 50", 50)):
        with tempfile.TemporaryDirectory() as home:
            os.environ[REPORT] = report = f"{home}/report.json"
            load = Load(name, "mixed", 10_000 * seconds, 10_000, burst, clients=10)
            with running(load, ("-m", "bench.pauses")) as measure:
                measure()
            rows.append(told(name, json.loads(Path(report).read_text())))
    table("from the read of a frame to its hand-over, 10,000 a second, files and ten clients", HEAD, rows)


if __name__ == "__main__":
    main()
