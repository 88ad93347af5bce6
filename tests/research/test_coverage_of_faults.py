"""Coverage of a recording that was made under the sandbox's faults says what the fault log says."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest
import zstandard

from aggregator.cli import ctl
from aggregator.records import SECOND_NS
from aggregator.research import CoverageReport, Recording, RecordingWarning, coverage_of
from aggregator.research.coverage import CoverageDay
from aggregator.research.spans import union
from aggregator.sandbox.faults import Injected

pytestmark = [pytest.mark.waits, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "aggregator"]
IDS = "binance,coinbaseexchange,okx"
FAULTS = "drop=0.03,duplicate=0.02,reorder=0.01,corrupt=0.003,close=3s"
ENOUGH = 150  # faults
SOUND_S = 3.5  # so long without them: what is missing is noticed, and asked for
SOUND = 1500  # and so many records
WORKERS = int(os.environ.get("WORKERS", "1"))
PATIENCE = 30.0 if WORKERS == 1 else 90.0
SLACK_NS = 2 * SECOND_NS  # on the way from one process to the other
LOSSES = {"drop", "corrupt"}
CONFIG = """\
state = "{home}/state"
workers = {workers}
{exchanges}
[[sinks]]
type = "files"
path = "{home}/out"
"""
Key = tuple[str, str, str | None]  # exchange, channel, raw symbol


class Run(msgspec.Struct):
    """A recording and what was done to it on its way."""

    path: Path
    log: list[Injected]
    report: CoverageReport

    @property
    def rows(self) -> dict[Key, CoverageDay]:
        found: dict[Key, CoverageDay] = {}
        for day in self.report.days:
            assert (day.exchange, day.channel, day.raw_symbol) not in found, "it is midnight: run it again"
            found[day.exchange, day.channel, day.raw_symbol] = day
        return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("faults")
    options = ["--simulate", IDS, "--port", "0", "--rate", "600", "--faults", FAULTS, "--seed", "7"]
    options += [
        "--control",
        str(home / "control"),
        "--fault-log",
        str(home / "log"),
        "--config-out",
        str(home / "c.toml"),
    ]
    sandbox = subprocess.Popen([*PROGRAM, "sandbox", *options], stderr=subprocess.PIPE, cwd=ROOT)
    try:
        assert sandbox.stderr is not None
        sandbox.stderr.readline()
        exchanges = (home / "c.toml").read_text().partition("[[sinks]]")[0]
        (home / "daemon.toml").write_text(CONFIG.format(home=home, exchanges=exchanges, workers=WORKERS))
        daemon = subprocess.Popen([*PROGRAM, "run", str(home / "daemon.toml")], stderr=subprocess.DEVNULL, cwd=ROOT)
        try:
            begun = time.monotonic()
            while (home / "log").read_bytes().count(b"\n") < ENOUGH and time.monotonic() - begun < PATIENCE:
                time.sleep(0.05)
            ask(home / "control", "fault_off")
            sound = offset(home) + SOUND
            while offset(home) < sound or is_troubled(home):  # a busy machine has its own pace
                time.sleep(0.1)
            time.sleep(SOUND_S)
        finally:
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(PATIENCE) == 0
    finally:
        sandbox.kill()
        sandbox.communicate()
    log = [msgspec.json.decode(line, type=Injected) for line in (home / "log").read_bytes().splitlines()]
    return Run(home / "out", log, coverage_of(Recording(home / "out")))


def ask(control: Path, op: str) -> None:
    with socket.socket(socket.AF_UNIX) as way:
        way.connect(str(control))
        way.sendall(json.dumps({"op": op}).encode() + b"\n")
        assert way.recv(1000)


def offset(home: Path) -> int:
    """How many records the daemon has published."""
    answer = json.loads(ctl.ask(home / "state" / "control.sock", {"op": "status"}))
    return int(answer["status"]["bus"]["offset"])


def is_troubled(home: Path) -> bool:
    """Tell whether any topic is neither live nor quiet: connections may be waiting to be made anew."""
    asked: dict[str, object] = {"op": "status", "topics": ["*:*:*"], "only": "troubled"}
    return bool(json.loads(ctl.ask(home / "state" / "control.sock", asked))["status"]["topics"])


def trades(path: Path) -> dict[Key, set[int]]:
    """The numbers that are there."""
    found: dict[Key, set[int]] = defaultdict(set)
    for record in Recording(path).records("trade"):
        if record.sequence is not None:
            found[record.exchange, "trades", record.raw_symbol].add(record.sequence)
    return found


def test_the_numbers_that_are_missing_are_those_that_were_taken_out(run: Run) -> None:
    lost: dict[Key, set[int]] = defaultdict(set)
    there = trades(run.path)
    for entry in run.log:
        if entry.kind in LOSSES and entry.channel == "trades" and entry.numbers is not None:
            key: Key = (entry.exchange, entry.channel, entry.raw_symbol)
            first = min(there[key], default=0)  # those before it nobody has asked for
            lost[key].update(n for n in range(entry.numbers[0], entry.numbers[1] + 1) if n > first)
    checked = [key for key, row in run.rows.items() if row.numbers == "checked" and key[1] == "trades"]
    assert len(checked) >= 8
    assert sum(len(lost[key]) for key in checked) > 0
    for key in checked:
        row = run.rows[key]
        assert (row.missing, row.untold) == (len(lost[key] - there[key]), 0), key


def test_each_loss_that_shows_lies_in_a_gap(run: Run) -> None:
    looked_at = 0
    for entry in run.log:
        row = run.rows.get((entry.exchange, entry.channel or "", entry.raw_symbol))
        if entry.kind not in LOSSES or row is None or not entry.detectable or row.numbers != "checked":
            continue
        end = run.report.ts_to or 0
        spans = union((gap.ts_from - SLACK_NS, (gap.ts_to or end) + SLACK_NS) for gap in row.gaps)
        assert any(start <= entry.ts <= until for start, until in spans), (entry, row.gaps)
        looked_at += 1
    assert looked_at > 5


def test_nothing_is_missing_where_nothing_was_done(run: Run) -> None:
    times = [entry.ts for entry in run.log]
    end = run.report.ts_to or 0
    for key, row in run.rows.items():
        for gap in row.gaps:
            if gap.cause == "restart" or (gap.cause == "unknown" and gap.ts_from == row.followed[0][0]):
                continue  # its end, and its beginning
            near = (gap.ts_from - SLACK_NS, (gap.ts_to or end) + SLACK_NS)
            assert any(near[0] <= ts <= near[1] for ts in times), (key, gap)


def test_what_came_twice_is_not_there_twice(run: Run) -> None:
    assert any(entry.kind == "duplicate" for entry in run.log)
    assert [(key, row.times.twice) for key, row in run.rows.items() if row.times.twice] == []


@pytest.mark.parametrize("channel", ["trades", "book"])
def test_lines_that_somebody_takes_out_are_found(run: Run, channel: str, tmp_path: Path) -> None:
    """Three records of one market, far from any gap."""
    row = run.rows["binance", channel, "BTCUSDT"]
    gaps = union((gap.ts_from, gap.ts_to or run.report.ts_to or 0) for gap in row.gaps)
    (path,) = run.path.glob(f"*/binance/{channel}-*.zst")
    with zstandard.open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    kind = b'"type":"trade"' if channel == "trades" else b'"type":"book_delta"'
    own = [n for n, line in enumerate(lines) if kind in line and b'"BTCUSDT"' in line and b'"flags"' not in line]
    times = [int(re.findall(rb'"ts_recv":(\d+)', lines[n])[0]) for n in own]
    at = next(
        n
        for n in range(1, len(own) - 4)
        if not any(start <= times[n + 3] and times[n - 1] <= end for start, end in gaps)
    )
    kept = [line for n, line in enumerate(lines) if n not in own[at : at + 3]]
    (tmp_path / path.name).write_bytes(zstandard.compress(b"".join(kept)))
    with pytest.warns(RecordingWarning, match="its footer says"):
        report = coverage_of(Recording(tmp_path), "binance", "BTCUSDT", channel)  # type: ignore[arg-type]
    (found,) = report.days
    (bare,) = [gap for gap in found.gaps if gap.cause == "untold"]
    assert (bare.ts_from, found.untold) == (times[at - 1], 3 if channel == "trades" else 1)
    after = lines[own[at + 3] :]
    if channel == "book" and not any(b'"book_snapshot"' in line and b'"BTCUSDT"' in line for line in after):
        assert bare.ts_to is None  # the book is never whole again
    else:
        assert bare.ts_to is not None
        assert bare.ts_to >= times[at + 3]
    assert found.covered_ns < row.covered_ns
