"""A client that is killed and goes on, again and again, while exchanges stream and the daemon is killed, too.

`python -m tests.support.resumed --resumes 200 --restarts 5 --kills 3 --rate 3000` says whether what came to the client,
put one behind the other, is the reference but for what gaps name. The reference is what the daemon itself wrote to its
standard output, which neither the journal nor the feed has a part in. Exchanges are simulated ones of the sandbox.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.cases import say

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "aggregator"]
IDS = "binance,kraken"
CONFIG = """\
state = "{home}/state"
{exchanges}
[[sinks]]
type = "stdout"
queue = 1000000
queue_bytes = "1GB"

[journal]
path = "{home}/journal"
segment_bytes = "2MB"

[feed]
listen = ["unix:{home}/feed.sock"]
"""
ALONE = {"health", "hello", "subscribed", "resuming", "live", "cursor", "bye"}  # they belong to one connection
Place = tuple[str, int]  # epoch and offset


class Lives:
    """A daemon that is started anew each time that it ends; `paths` are its standard outputs."""

    def __init__(self, home: Path, config: Path) -> None:
        self.home = home
        self.config = config
        self.paths: list[Path] = []
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = self.home / f"out-{len(self.paths):02}"
        self.paths.append(path)
        with path.open("wb") as out, (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen([*PROGRAM, "run", str(self.config)], stdout=out, stderr=log, cwd=ROOT)

    def end(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(30)


class Killed:
    """The client: it holds a cursor and the place of its last record, and loses everything else each time."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        self.path = path
        self.chance = chance
        self.cursor: str | None = None
        self.place: Place | None = None
        self.first: Place | None = None
        self.got: list[Place] = []
        self.gaps: list[tuple[Place, Place, str]] = []
        self.seen: Counter[str] = Counter()

    async def connect_for(self, seconds: float) -> None:
        """One connection, cut after some seconds in the middle of whatever is going on."""
        try:
            reader, writer = await asyncio.open_unix_connection(self.path, limit=1 << 24)
        except OSError:
            await asyncio.sleep(0.1)
            return
        self.seen["connections"] += 1
        try:
            async with asyncio.timeout(seconds):
                await self._converse(reader, writer)
        except (TimeoutError, OSError):
            pass
        finally:
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start: object = "now"
        if self.place is not None:
            by_cursor = self.cursor is not None and self.chance.random() < 0.5
            start = self.cursor if by_cursor else {"epoch": self.place[0], "offset": self.place[1]}
        request = {"op": "subscribe", "topics": ["*:*:*"], "snapshot": False, "from": start}
        writer.write(json.dumps(request).encode() + b"\n")
        epoch = ""
        while line := await reader.readline():
            if not line.endswith(b"\n"):
                return  # torn by the death of the daemon
            row = json.loads(line)
            kind = row["type"]
            self.seen[kind if kind in ALONE else "records"] += 1
            if kind == "error":
                raise AssertionError(row)
            if kind in {"resuming", "live"}:
                epoch = row["epoch"]
                if self.first is None:
                    self.first = self.place = epoch, row["offset"]
            self.cursor = row.get("cursor", self.cursor)
            if kind == "gap" and row.get("conn") == "journal":
                self._gap(row)
            elif kind not in ALONE:
                self._take((epoch, row["offset"]))

    def _gap(self, row: dict[str, Any]) -> None:
        start, _, end = row["gap_id"].removeprefix("journal:").rpartition("-")
        low_epoch, _, low = start.partition(":")
        high_epoch = end.rpartition(":")[0] or low_epoch
        place = high_epoch, int(end.rpartition(":")[2])
        self.gaps.append(((low_epoch, int(low)), place, row["cause"]))
        self.place = place

    def _take(self, place: Place) -> None:
        if self.place is not None and place <= self.place and self.place in self.got[-1:]:
            self.seen["told once more behind a cursor"] += 1  # it was cut within a batch
            return
        self.place = place
        self.got.append(place)


def reference(paths: list[Path], epochs: list[str]) -> list[Place]:
    """Every record that the lives wrote, but the states, which each subscriber is told as well."""
    found: list[Place] = []
    for path, epoch in zip(paths, epochs, strict=True):
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    row = json.loads(line)
                    if row["type"] != "health" and row.get("conn") != "stdout":
                        found.append((epoch, row["offset"]))
    return found


def judge(client: Killed, expected: list[Place]) -> int:
    """Print what was compared; the number of what is wrong."""
    twice = sum(one >= other for one, other in pairwise(client.got))
    assert client.first is not None
    end = client.got[-1]
    wanted = [place for place in expected if client.first < place <= end]
    got = set(client.got)
    missing = [place for place in wanted if place not in got]
    silent = [place for place in missing if not any(low < place <= high for low, high, _ in client.gaps)]
    false = [place for place in client.got if any(low < place <= high for low, high, _ in client.gaps)]
    strange = got - set(wanted)
    last: dict[str, int] = {}
    for epoch, offset in expected:
        last[epoch] = max(last.get(epoch, 0), offset)
    beyond = [place for place in strange if place[1] > last.get(place[0], 0)]  # standard output was cut before them
    say(f"{len(client.got):,} records came, of {len(wanted):,} in the reference; {dict(client.seen)}")
    say(f"gaps of the journal: {dict(Counter(cause for _, _, cause in client.gaps))}")
    say(f"missing and told: {len(missing) - len(silent)}; beyond what a killed daemon wrote elsewhere: {len(beyond)}")
    say(f"missing in silence: {len(silent)}; twice or not in order: {twice}; told as missing, and there: {len(false)}")
    say(f"not in the reference: {len(strange) - len(beyond)}")
    return len(silent) + twice + len(false) + len(strange) - len(beyond)


async def run(arguments: argparse.Namespace, home: Path) -> int:
    chance = random.Random(arguments.seed)
    sandbox_config = home / "sandbox.toml"
    options = ["--simulate", IDS, "--port", "0", "--rate", str(arguments.rate), "--config-out", str(sandbox_config)]
    sandbox = subprocess.Popen(  # noqa: ASYNC220 - nothing else goes on yet
        [*PROGRAM, "sandbox", *options], stderr=subprocess.PIPE, cwd=ROOT
    )
    assert sandbox.stderr is not None
    sandbox.stderr.readline()
    exchanges = sandbox_config.read_text().partition("[[sinks]]")[0].partition("[[exchanges]]")
    config = home / "daemon.toml"
    config.write_text(CONFIG.format(home=home, exchanges="".join(exchanges[1:])))
    lives, client = Lives(home, config), Killed(home / "feed.sock", chance)
    try:
        lives.start()
        await _begun(home)
        killed = set(chance.sample(range(arguments.restarts), min(arguments.kills, arguments.restarts)))
        for restart in range(arguments.restarts + 1):
            for _ in range(arguments.resumes // (arguments.restarts + 1) + 1):
                await client.connect_for(chance.uniform(0.05, arguments.longest))
                if chance.random() < 0.3:
                    await asyncio.sleep(chance.uniform(0, 0.5))
            if restart < arguments.restarts:
                watching = asyncio.ensure_future(client.connect_for(5))  # it is there when the daemon ends
                await asyncio.sleep(chance.uniform(0.3, 1))
                await asyncio.to_thread(lives.end, signal.SIGKILL if restart in killed else signal.SIGTERM)
                await watching
                lives.start()
                await _begun(home)
        await asyncio.to_thread(lives.end, signal.SIGTERM)
        lives.start()  # what was missed last is read from the next life
        await _begun(home)
        await client.connect_for(10)
        await asyncio.to_thread(lives.end, signal.SIGTERM)
    finally:
        if lives.process is not None and lives.process.poll() is None:
            lives.process.kill()
        sandbox.terminate()
        sandbox.communicate()
    epochs = _epochs(home)
    return judge(client, reference(lives.paths, epochs))


async def _begun(home: Path) -> None:
    """Wait until the feed of this life lets somebody in, and note its epoch."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            reader, writer = await asyncio.open_unix_connection(home / "feed.sock")
        except OSError:
            await asyncio.sleep(0.05)
            continue
        hello = json.loads(await reader.readline())
        writer.transport.abort()
        with (home / "epochs").open("a") as file:
            file.write(f"{hello['epoch']}\n")
        return
    raise AssertionError((home / "log").read_text()[-2000:])


def _epochs(home: Path) -> list[str]:
    return (home / "epochs").read_text().split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resumes", type=int, default=200)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--kills", type=int, default=3, help="restarts by kill -9 among them")
    parser.add_argument("--rate", type=float, default=3000, help="frames a second of the sandbox")
    parser.add_argument("--longest", type=float, default=0.6, help="seconds that a connection lives")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--home", type=Path, help="where all of it is kept; by default it is removed in the end")
    arguments = parser.parse_args()
    home = arguments.home or Path(tempfile.mkdtemp(prefix="resumed-"))
    home.mkdir(exist_ok=True)
    say(f"seed {arguments.seed}, in {home}")
    wrong = asyncio.run(run(arguments, home))
    if arguments.home is None and not wrong:
        shutil.rmtree(home)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(ROOT))
    main()
