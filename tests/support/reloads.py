"""A daemon under load whose configuration changes at random, well and badly: what that does to all that stays the same.

    python -m tests.support.reloads --count 100 --rate 5000

Simulated exchanges send; some topics, a sink and a client stay in every configuration. They must notice nothing: no
record of theirs is missing or comes twice, and their connections and files are the same in the end. What is wrong
changes nothing at all, and what fails while it is applied is undone.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.cases import say
from tests.support.killed_daemons import PROGRAM, ROOT, main

IDS = ("binance", "coinbaseexchange", "kraken", "okx")
PATIENCE_S = 120.0
# Topics that every configuration has: a whole exchange, and a part of one whose other topics come and go.
LASTING = {("kraken", None), ("binance", "BTCUSDT")}
KRAKEN = {"id": "kraken", "channels": ["trades", "book", "ticker"], "symbols": ["*"]}
BINANCE = {"id": "binance", "channels": ["trades", "book"], "symbols": ["BTC/USDT"]}
KINDS = ("good", "good", "good", "bad", "bad", "failing")
BAD = (
    ('id = "kraken"', 'id = "krakn"'),
    ('"trades"', '"trade"'),
    ("symbols", "symbls"),
    ("[[sinks]]", "[[sinks"),
    ('type = "files"', 'type = "fles"'),
    ("[feed]", "[fed]"),
    ("feed.sock", "other.sock"),
    ("ring = 20000", "ring = 30000"),
    ('state = "', 'state = "/elsewhere'),
    ('id = "kraken"', 'id = "binance"'),
)
# An exchange that must begin, and whose listing nobody answers.
NOT_THERE = """
[[exchanges]]
id = "bitstamp"
channels = ["trades"]
symbols = ["*"]
on_start_error = "fail"
[exchanges.endpoints]
"https://www.bitstamp.net" = "http://127.0.0.1:9"
"""
Row = dict[str, Any]


class Wanted:
    """A configuration that is made at random."""

    def __init__(
        self, home: Path, endpoints: Mapping[str, str], rng: random.Random | None = None, *, workers: int = 1
    ) -> None:
        """Make one; without chance it is the smallest."""
        self._home = home
        self._workers = workers
        self._endpoints = endpoints
        self.exchanges: list[Row] = [KRAKEN, dict(BINANCE)]
        self.sinks: list[Row] = []
        self.log_level = "info"
        if rng is not None:
            self._vary(rng)

    def _vary(self, rng: random.Random) -> None:
        binance = self.exchanges[1]
        more = [("ETH/USDT", "SOL/USDT", "XRP/USDT")[at] for at in range(3) if rng.random() < 0.5]
        binance["symbols"] = rng.choice((["BTC/USDT", *more], ["BTC/USDT", *more], ["*"]))
        binance["channels"] += [each for each in ("bbo", "ticker", "candles") if rng.random() < 0.4]
        binance["relist"] = rng.choice((0, 60, 900))
        for id, symbols in (
            ("okx", ("BTC/USDT", "ETH/USDT", "SOL/USDT")),
            ("coinbaseexchange", ("BTC/USD", "ETH/USD")),
        ):
            if rng.random() < 0.6:
                table: Row = {"id": id, "channels": rng.sample(["trades", "book", "ticker"], rng.randint(1, 3))}
                table["symbols"] = rng.sample(symbols, rng.randint(1, len(symbols)))
                table["verify"] = rng.choice(("all", "all", "off"))
                self.exchanges.append(table)
        rng.shuffle(self.exchanges)
        if rng.random() < 0.6:
            sink = {"type": "files", "path": str(self._home / "changing"), "queue": rng.choice((50_000, 100_000))}
            self.sinks.append(sink)
        if rng.random() < 0.3:
            self.sinks.append({"type": "files", "path": str(self._home / "seldom"), "topics": ["*:okx:*"]})
        self.log_level = rng.choice(("info", "info", "warning"))

    def text(self) -> str:
        """The configuration as a file."""
        home = self._home
        parts = [f'state = "{home}/state"\ncontrol = "{home}/control.sock"\nlog_level = "{self.log_level}"\n']
        parts.append(f"workers = {self._workers}\n")
        parts += [
            f"[[exchanges]]\n{_keys(table)}[exchanges.endpoints]\n{self._endpoints[table['id']]}"
            for table in self.exchanges
        ]
        parts.append('[[sinks]]\ntype = "stdout"\nqueue = 1000000\nqueue_bytes = "1GB"\n')
        parts.append(f'[[sinks]]\ntype = "files"\npath = "{home}/lasting"\n')
        parts += [f"[[sinks]]\n{_keys(sink)}" for sink in self.sinks]
        parts.append(f'[feed]\nlisten = ["unix:{home}/feed.sock"]\nring = 20000\n')
        return "\n".join(parts)


def _keys(table: Row) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())


class Scene:
    """A sandbox, a daemon, and a client that stays; what was noticed stands in `faults`."""

    def __init__(self, home: Path, rate: float, rng: random.Random, workers: int = 1) -> None:
        self.home = home
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.rows: list[Row] = []
        self.endpoints: dict[str, str] = {}
        self._rate = rate
        self._workers = workers
        self._rng = rng
        self._kinds: list[str] = []
        self._end = 0  # the offset from which on the daemon was to end
        self.rate = 0.0  # records a second, from the first change to the last

    @property
    def _path(self) -> Path:
        return self.home / "daemon.toml"

    def fault(self, words: str) -> None:
        """Note that something is not as it must be."""
        self.faults.append(words)
        say(f"WRONG: {words}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all of it."""
        sandbox = await self._sandbox()
        self._write(Wanted(self.home, self.endpoints, workers=self._workers).text())
        with (self.home / "out").open("wb") as out, (self.home / "log").open("wb") as log:
            daemon = await asyncio.create_subprocess_exec(
                *PROGRAM, "run", str(self._path), stdout=out, stderr=log, cwd=ROOT
            )
        try:
            await self._until_live()
            listening = asyncio.create_task(self._listen())
            yield
            self._end = (await self.status())["bus"]["offset"]
            daemon.terminate()
            async with asyncio.timeout(PATIENCE_S):
                if await daemon.wait():
                    self.fault(f"the daemon left with {daemon.returncode}")
                await listening
        finally:
            for process in (daemon, sandbox):
                if process.returncode is None:
                    process.kill()
                await process.wait()

    async def _sandbox(self) -> asyncio.subprocess.Process:
        path = self.home / "sandbox.toml"
        options = ["--simulate", ",".join(IDS), "--port", "0", "--rate", str(self._rate), "--config-out", str(path)]
        sandbox = await asyncio.create_subprocess_exec(
            *PROGRAM, "sandbox", *options, stderr=asyncio.subprocess.PIPE, cwd=ROOT
        )
        assert sandbox.stderr is not None
        assert (await sandbox.stderr.readline()).startswith(b"sandbox: serving")
        for table in path.read_text().partition("[[sinks]]")[0].split("[[exchanges]]")[1:]:
            head, _, endpoints = table.partition("[exchanges.endpoints]\n")
            self.endpoints[json.loads(head.partition("id = ")[2].partition("\n")[0])] = endpoints
        return sandbox

    def _write(self, text: str) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(text)
        new.replace(self._path)

    # --- what is asked ----------------------------------------------------------------------------------------------

    async def ask(self, **request: object) -> Row:
        """The answer at the control socket."""
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_unix_connection(self.home / "control.sock", limit=1 << 24)
            writer.write(json.dumps(request).encode() + b"\n")
            answer: Row = json.loads(await reader.readline())
            writer.close()
            return answer

    async def status(self) -> Row:
        """How the daemon fares."""
        found: Row = (await self.ask(op="status", topics=["*:*:*"], most=10_000))["status"]
        return found

    async def _running(self) -> Row:
        """How it fares once all exchanges have begun."""
        async with asyncio.timeout(PATIENCE_S):
            found = await self.status()
            while any(not _is_begun(exchange) for exchange in found["exchanges"]):
                await asyncio.sleep(0.05)
                found = await self.status()
        return found

    async def _until_live(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not (self.home / "control.sock").exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.05)
            found = await self.status()
            while any(not states or set(states) - {"live", "quiet"} for states in _states(found)):
                await asyncio.sleep(0.1)
                found = await self.status()

    async def _listen(self) -> None:
        """Follow the lasting topics as a client, to the end."""
        reader, writer = await asyncio.open_unix_connection(self.home / "feed.sock", limit=1 << 24)
        writer.write(b"trades:kraken:*\ntrades:binance:BTC/USDT\n")
        with (self.home / "heard").open("wb") as file:
            while chunk := await reader.read(1 << 20):
                file.write(chunk)
        writer.close()

    # --- what is changed --------------------------------------------------------------------------------------------

    async def change(self) -> None:
        """Make one change at random, and see what comes of it."""
        if not self._kinds:
            self._kinds = self._rng.sample(KINDS, len(KINDS))
        kind = self._kinds.pop()
        self.counts[kind] += 1
        wanted = Wanted(self.home, self.endpoints, self._rng, workers=self._workers)
        if kind == "good":
            await self._change_well(wanted)
            return
        before = _told(await self._running())
        text = wanted.text()
        if kind == "bad":
            places = [(old, new) for old, new in BAD if old in text]
            text = text.replace(*self._rng.choice(places), 1)
        elif self._rng.random() < 0.5:  # a sink below a file, which is found only when it is opened
            text += f'\n[[sinks]]\ntype = "files"\npath = "{self._path}/none"\n'
        else:
            text += NOT_THERE
        self._write(text)
        answer = await self.ask(op="reload")
        if answer["ok"] or not answer["error"]:
            self.fault(f"a {kind} configuration was taken: {answer}")
        after = _told(await self._running())
        if kind == "bad" and before != after:
            self.fault(f"a bad configuration changed something: {before} {after}")
        if kind == "failing" and (before[0], before[2]) != (after[0], after[2]):
            self.fault(f"a change that failed was not undone: {before} {after}")

    async def _change_well(self, wanted: Wanted) -> None:
        self._write(wanted.text())
        answer = await self.ask(op="reload")
        if not answer["ok"]:
            self.fault(f"a good configuration was refused: {answer}")
            return
        await asyncio.sleep(self._rng.uniform(0, 1.0))
        status = await self._running()
        ids = {exchange["id"] for exchange in status["exchanges"]}
        if ids != {table["id"] for table in wanted.exchanges}:
            self.fault(f"{sorted(ids)} are gathered")

    async def settle(self) -> tuple[int, int, int]:
        """Go back to the smallest configuration; the open files, tasks and connections that it takes."""
        await self._change_well(Wanted(self.home, self.endpoints, workers=self._workers))
        await self._until_live()
        await self.ask(op="rotate")  # files of topics that are gone
        await asyncio.sleep(3)  # what lingers of connections is gone
        status = await self.status()
        for exchange in status["exchanges"]:
            self.attempts[exchange["id"]] = sum(shard["attempts"] for shard in exchange["shards"])
        process = status["process"]
        lines = sum(len(shard["connections"]) for exchange in status["exchanges"] for shard in exchange["shards"])
        return process["open_files"], process["tasks"], lines

    # --- what has come of it ----------------------------------------------------------------------------------------

    def check(self) -> None:
        """Look at all that was written."""
        offset, trades, heard = 0, dict[tuple[str, str], int](), list[tuple[str, str, int]]()
        conns: dict[str, set[str]] = {}
        for row in _rows(self.home / "out"):
            offset += 1
            if row["offset"] != offset:
                self.fault(f"the sink that stays lacks something before {row['offset']}")
                return
            if not _is_lasting(row) or (row["type"] == "gap" and offset > self._end):
                continue
            self.counts["lasting"] += 1
            if row["type"] == "gap":
                self.fault(f"a topic that stays has a gap: {row}")
            elif row["type"] == "trade":
                conns.setdefault(row["exchange"], set()).add(row["conn"])
                place = row["exchange"], row["raw_symbol"]
                number = int(row["id"])
                if trades.setdefault(place, number - 1) != number - 1:
                    self.fault(f"{place}: {number} comes after {trades[place]}")
                trades[place] = number
                heard.append((*place, number))
        self.counts["records"], self.counts["trades"] = offset, len(heard)
        for exchange, found in conns.items():
            if len(found) != 1:
                self.fault(f"{exchange}: trades of topics that stay came by {sorted(found)}")
        fed = [
            (row["exchange"], row["raw_symbol"], int(row["id"]))
            for row in _rows(self.home / "heard")
            if row.get("type") == "trade"
        ]
        if not fed or fed != heard[heard.index(fed[0]) :]:
            self.fault(f"the client that stays has {len(fed)} trades, and not what was published")


def _is_begun(exchange: Row) -> bool:
    return exchange["state"] == "running" and any(shard["attempts"] for shard in exchange["shards"])


def _states(status: Row) -> Iterator[Mapping[str, int]]:
    return (exchange["topics"] for exchange in status["exchanges"])


def _told(status: Row) -> tuple[list[str], dict[str, int], list[tuple[str, str]], list[str]]:
    """Which topics are followed, on how many attempts, and which sinks there are."""
    topics = sorted((topic["exchange"], f"{topic['channel']}:{topic['raw_symbol']}") for topic in status["topics"])
    attempts = {e["id"]: sum(shard["attempts"] for shard in e["shards"]) for e in status["exchanges"]}
    return sorted(attempts), attempts, topics, sorted(sink["name"] for sink in status["sinks"])


def _is_lasting(row: Row) -> bool:
    if row["exchange"] == "binance" and row.get("channel") in {"bbo", "ticker", "candles"}:
        return False
    return not LASTING.isdisjoint({(row["exchange"], None), (row["exchange"], row["raw_symbol"])})


def _rows(path: Path) -> Iterable[Row]:
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


async def reload_at_random(home: Path, rng: random.Random, count: int, rate: float, workers: int = 1) -> Scene:
    """Reload so often; what was noticed."""
    scene = Scene(home, rate, rng, workers)
    async with scene.running():
        for _ in range(min(5, count)):
            await scene.change()
        first = await scene.settle()
        begun, before = time.monotonic(), (await scene.status())["bus"]["offset"]
        attempts = dict(scene.attempts)
        for number in range(max(0, count - 5)):
            await scene.change()
            if number % 20 == 0:
                say(f"{number} changes: {dict(scene.counts)}")
        scene.rate = ((await scene.status())["bus"]["offset"] - before) / (time.monotonic() - begun)
        last = await scene.settle()
        for id, before in attempts.items():
            if scene.attempts[id] != before:
                scene.fault(f"{id} was connected {scene.attempts[id] - before} times more")
        for what, before, after, slack in zip(("files", "tasks", "lines"), first, last, (3, 3, 0), strict=True):
            if after > before + slack:
                scene.fault(f"{before} {what} have become {after}; the tasks stand in {home}/stacks")
                (home / "stacks").write_text("\n".join((await scene.ask(op="stacks"))["stacks"]))
        say(f"files, tasks, connections at first {first}, in the end {last}; attempts {dict(scene.attempts)}")
    scene.check()
    return scene


async def run(arguments: argparse.Namespace, home: Path) -> int:
    """Run the program; how much was wrong."""
    scene = await reload_at_random(
        home, random.Random(arguments.seed), arguments.count, arguments.rate, arguments.workers
    )
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    say(f"{dict(scene.counts)}; {scene.rate:.0f} records a second")
    say(f"{cpu:.0f} s of the processor, {os.cpu_count()} cores; {len(scene.faults)} wrong")
    return len(scene.faults)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="changes")
    main(parser, run)
