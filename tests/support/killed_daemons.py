"""Daemons that are killed and started anew over simulated exchanges, by programs that say what became of the stream."""

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.cases import say

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "aggregator"]
IDS = "binance,kraken"
BEGIN_S = 60.0  # a daemon has so long to let somebody in
GATHERS = """\
state = "{home}/state"
workers = {workers}
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
Place = tuple[str, int]  # epoch and offset


class Lives:
    """A daemon that is started anew each time that it ends; `paths` are its standard outputs, `epochs` its lives."""

    def __init__(self, home: Path, config: str) -> None:
        home.mkdir(exist_ok=True)
        self.home = home
        self.paths: list[Path] = []
        self.epochs: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._config = home / "daemon.toml"
        self._config.write_text(config)

    def start(self) -> None:
        path = self.home / f"out-{len(self.paths):02}"
        self.paths.append(path)
        with path.open("wb") as out, (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen([*PROGRAM, "run", str(self._config)], stdout=out, stderr=log, cwd=ROOT)

    async def begun(self) -> str:
        """Wait until the feed of this life lets somebody in; gives the epoch."""
        end = time.monotonic() + BEGIN_S
        while time.monotonic() < end:
            try:
                reader, writer = await asyncio.open_unix_connection(self.home / "feed.sock")
            except OSError:
                await asyncio.sleep(0.05)
                continue
            line = await reader.readline()
            writer.transport.abort()
            if line:
                self.epochs.append(json.loads(line)["epoch"])
                return self.epochs[-1]
        raise AssertionError((self.home / "log").read_text()[-2000:])

    def end(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(30)

    async def again(self, number: int) -> str:
        """End the daemon by a signal, and start it anew; gives the epoch."""
        await asyncio.to_thread(self.end, number)
        self.start()
        return await self.begun()

    def abandon(self) -> None:
        """Let nothing run on, however it went."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def simulated(home: Path, rate: float, ids: str = IDS) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Exchanges of the sandbox that stream so many frames a second: the process, and what a configuration says."""
    config = home / "sandbox.toml"
    options = ["--simulate", ids, "--port", "0", "--rate", str(rate), "--config-out", str(config)]
    sandbox = subprocess.Popen([*PROGRAM, "sandbox", *options], stderr=subprocess.PIPE, cwd=ROOT)
    try:
        assert sandbox.stderr is not None
        sandbox.stderr.readline()
        exchanges = config.read_text().partition("[[sinks]]")[0].partition("[[exchanges]]")
        yield sandbox, "".join(exchanges[1:])
    finally:
        sandbox.kill()
        sandbox.communicate()


def main(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace, Path], Awaitable[int]], *, workers: int = 1
) -> None:
    """Run such a program in a directory of its own, which stays where anything is wrong; `run` counts that."""
    os.environ.setdefault("PYTHONPATH", str(ROOT))
    parser.add_argument("--rate", type=float, default=3000, help="frames a second of the sandbox")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--workers", type=int, default=workers, help="processes that gather")
    parser.add_argument("--home", type=Path, help="where all of it is kept; by default it is removed in the end")
    arguments = parser.parse_args()
    home = arguments.home or Path(tempfile.mkdtemp(prefix="killed-"))
    home.mkdir(exist_ok=True)
    say(f"seed {arguments.seed}, in {home}")

    async def counted() -> int:
        return await run(arguments, home)

    wrong = asyncio.run(counted())
    if arguments.home is None and not wrong:
        shutil.rmtree(home)
    raise SystemExit(1 if wrong else 0)
