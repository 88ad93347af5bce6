"""Cryptofeed over the same loopback WebSocket as our daemon, to one reader of a unix socket, in turn with it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Raw, Struct
from msgspec.json import encode

from bench import daemon
from bench.daemon import Load
from bench.frames import Capture, make
from bench.market import PAIRS
from bench.measure import processors, table

RECORD_TIME = r'"timestamp": ?(\d+\.\d+)'  # in its lines: when the frame was sent, in seconds
BATCH = "1"  # records that it gathers before it writes: more would wait for more


class Row(Struct):
    """One load through both: microseconds of processor time per frame and of latency, and theirs over ours."""

    name: str
    kind: str
    ours: dict[str, float]
    theirs: dict[str, float]  # the same, and the lines that came

    def cells(self) -> list[object]:
        """The row of the table."""
        cells: list[object] = [self.name, self.kind]
        for key in ("cpu", "p50", "p99"):
            ours, theirs = self.ours[key], self.theirs[key]
            cells += [ours, theirs, theirs / ours]
        return cells


def loads(seconds: float) -> list[Load]:
    """Evenly and in bursts, all within what it can read; ours writes no files, for it writes none."""
    return [
        Load(name, kind, int(rate * seconds), rate, burst, files=False)
        for kind in ("trade", "book")
        for name, rate, burst in (
            ("evenly, 10,000 a second", 10_000, 1),
            ("bursts of 10, 10,000 a second", 10_000, 10),
            ("bursts of 50, 20,000 a second", 20_000, 50),
        )
    ]


def report(python: Path, scripts: Path, seconds: float) -> list[Row]:
    """Measure with the interpreter that has cryptofeed, and print the table; what cannot be measured is left out."""
    rows = []
    for load in loads(seconds):
        print(f"over a socket: {load.name}, {load.kind}", file=sys.stderr)
        try:
            ours, theirs = daemon.run(load), run(python, scripts, load)
        except RuntimeError as error:
            print(f"{load.name}, {load.kind}: left out: {error}")
            continue
        rows.append(Row(load.name, load.kind, {"cpu": ours.cpu, "p50": ours.p50, "p99": ours.p99}, theirs))
    head = ["sent", "frames", *(f"{key} {of}" for key in ("cpu", "p50", "p99") for of in ("ours", "theirs", "ratio"))]
    table("over a loopback WebSocket, to one subscriber: µs", head, [row.cells() for row in rows])
    return rows


def run(python: Path, scripts: Path, load: Load) -> dict[str, float]:
    """One load through cryptofeed's own client and socket backend. Raises RuntimeError when it ends early."""
    ours, theirs = processors()
    with tempfile.TemporaryDirectory() as directory:
        path, line = Path(directory) / "binance.bench.cap", Path(directory) / "reader.sock"
        save(make("binance", load.kind, load.count, walks=False), path)
        key = '"T":' if load.kind == "trade" else '"E":'  # the time that its records tell
        command = [
            "e2e_server.py",
            path,
            load.rate,
            load.count,
            load.burst,
            "--float",
            "--key",
            key,
            "--re",
            RECORD_TIME,
        ]
        with process(python, scripts, command, theirs) as server:
            port = answer(server).split()[1]
            daemon.tell(server, f"listen {line}")
            answer(server)
            command = ["peer_cryptofeed_live.py", path, f"ws://127.0.0.1:{port}", "uvloop", "--uds", line]
            with process(python, scripts, command, ours) as peer:
                answer(peer)
                seen = json.loads(answer(server))
                spent = json.loads(answer(peer))
        if seen["lines"] < load.count * 0.9:
            raise RuntimeError(f"{load.count} frames came to only {seen['lines']} lines")
        return {"cpu": spent["cpu_us"], "p50": seen["p50"], "p99": seen["p99"], "lines": seen["lines"]}


@contextmanager
def process(python: Path, scripts: Path, command: list[object], processor: int) -> Iterator[subprocess.Popen[str]]:
    """A script on one processor; ended at the end."""
    words = [str(python), str(scripts / str(command[0])), *map(str, command[1:])]
    pipes = subprocess.PIPE
    running = subprocess.Popen(words, text=True, stdin=pipes, stdout=pipes, env=os.environ | {"BATCH_MAX": BATCH})  # noqa: S603
    os.sched_setaffinity(running.pid, {processor})
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def answer(running: subprocess.Popen[str]) -> str:
    """The next line of a script. Raises RuntimeError when it has ended."""
    line = running.stdout.readline() if running.stdout is not None else ""
    if not line:
        raise RuntimeError(f"{running.args!r} ended early; what it said stands above")
    return line


def aggregated(frame: bytes) -> bytes:
    """A trade as it stands in the other stream of trades, which is the one that cryptofeed reads."""
    if b'@trade"' not in frame:
        return frame
    return frame.replace(b'@trade"', b'@aggTrade"').replace(b'"e":"trade"', b'"e":"aggTrade"').replace(b'"t":', b'"a":')


def save(capture: Capture, path: Path) -> None:
    """Write a capture as the scripts read it, with its meta file."""
    with path.open("wb") as file:
        file.write(b"wss://stream.binance.com:9443/stream <-> 1760000000.0\n")
        file.writelines(b"1760000000.0: " + aggregated(frame) + b"\n" for frame in capture.frames)
    symbols = [
        {"native": raw, "base": i.base, "quote": i.quote, "type": "spot", "pdec": pair.tick, "qdec": pair.step}
        for (raw, i), pair in zip(capture.instruments.items(), PAIRS, strict=True)
    ]
    snapshots = {symbol: Raw(body) for symbol, body in capture.snapshots.items()}
    meta = {"venue": "binance", "symbols": symbols, "snapshots": snapshots}
    Path(f"{path}.meta.json").write_bytes(encode(meta))
