"""A client that is killed and goes on, again and again, while exchanges stream and the daemon is killed, too.

`python -m tests.support.resumed --resumes 200 --restarts 5 --kills 3 --rate 3000` says whether what came to the client,
put one behind the other, is the reference but for what gaps name. The reference is what the daemon itself wrote to its
standard output, which neither the journal nor the feed has a part in. Exchanges are simulated ones of the sandbox.

With `--by-itself` it is one client of `aggregator.client`, whose connection is cut as often, and which goes on by
itself.
"""

import argparse
import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from aggregator.client import connect, pauses
from aggregator.feed.address import UnixAddress
from tests.support.cases import say
from tests.support.cutter import Cutter
from tests.support.killed_daemons import GATHERS, Lives, Place, main, simulated

ALONE = {"health", "hello", "subscribed", "resuming", "live", "cursor", "bye"}  # they belong to one connection
CUT_WITHIN_BYTES = 1_500_000
PATIENCE_S = 600.0


class Ledger:
    """What a client was given.

    first: the place at which it began
    got: the places of its records, but for the states, which are told with each connection
    gaps: what gaps of the journal say is missing, from behind the first to the second, and why
    """

    def __init__(self) -> None:
        self.first: Place | None = None
        self.got: list[Place] = []
        self.gaps: list[tuple[Place, Place, str]] = []
        self.seen: Counter[str] = Counter()

    def gap(self, row: dict[str, Any]) -> Place:
        """Note a gap of the journal; gives the place behind it."""
        start, _, end = row["gap_id"].removeprefix("journal:").rpartition("-")
        low_epoch, _, low = start.partition(":")
        high_epoch = end.rpartition(":")[0] or low_epoch
        place = high_epoch, int(end.rpartition(":")[2])
        self.gaps.append(((low_epoch, int(low)), place, row["cause"]))
        return place


class Following(Ledger):
    """A client of `aggregator.client`, which goes on by itself whenever its connection is cut."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        super().__init__()
        self.cutter = Cutter(UnixAddress(path), path.with_name("near.sock"), chance)
        self.opened = 0  # gaps of its own
        self.repairs: Counter[str] = Counter()  # how they were closed
        self.reached: Place = ("", 0)
        self.is_live = False

    async def follow(self) -> None:
        """Read on and on."""
        address = await self.cutter.start()
        async with connect(address, reconnect=True) as feed:
            await feed.subscribe("*:*:*", snapshot=False, policy="lossless", start="now")
            async for line in feed.lines():
                row = json.loads(line)
                place = feed.position
                assert place is not None
                self.reached, self.is_live = place, feed.is_live
                if self.first is None:
                    self.first = place.epoch, place.offset - (row["type"] not in ALONE)
                self.seen[row["type"] if row["type"] in ALONE else "records"] += 1
                if row["type"] == "gap" and row.get("conn") == "journal":
                    self.gap(row)
                elif row["type"] == "gap" and row["gap_id"].startswith("client/"):
                    self.opened += row["phase"] == "open"
                    self.repairs[row.get("repair", "open")] += 1
                elif row["type"] not in ALONE:
                    assert place.offset == row["offset"], (place, row)
                    self.got.append((place.epoch, row["offset"]))

    async def cut(self, times: int) -> None:
        """Wait until its connection was cut so many times more."""
        self.cutter.most, end = CUT_WITHIN_BYTES, self.cutter.cuts + times
        await _until(lambda: self.cutter.cuts >= end)
        self.cutter.most = None


class Killed(Ledger):
    """The client: it holds a cursor and the place of its last record, and loses everything else each time."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        super().__init__()
        self.path = path
        self.chance = chance
        self.cursor: str | None = None
        self.place: Place | None = None

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
                self.place = self.gap(row)
            elif kind not in ALONE:
                self._take((epoch, row["offset"]))

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


def judge(client: Ledger, expected: list[Place]) -> int:
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
    client: Ledger
    with simulated(home, arguments.rate) as (_, exchanges):
        lives = Lives(home, GATHERS.format(home=home, exchanges=exchanges, workers=arguments.workers))
        try:
            lives.start()
            await lives.begun()
            start = time.monotonic()
            killed = set(chance.sample(range(arguments.restarts), min(arguments.kills, arguments.restarts)))
            if arguments.by_itself:
                client = await follow_by_itself(arguments, lives, chance, killed)
            else:
                client = await kill_and_resume(arguments, lives, chance, killed)
            seconds = time.monotonic() - start
            await asyncio.to_thread(lives.end, signal.SIGTERM)
        finally:
            lives.abandon()
    expected = reference(lives.paths, lives.epochs)
    say(f"{len(expected) / seconds:,.0f} records/s in {seconds:.0f} s, the time between lives among it")
    return judge(client, expected)


async def kill_and_resume(
    arguments: argparse.Namespace, lives: Lives, chance: random.Random, killed: set[int]
) -> Ledger:
    """Have a client begin anew again and again, over all restarts."""
    client = Killed(lives.home / "feed.sock", chance)
    for restart in range(arguments.restarts + 1):
        for _ in range(arguments.resumes // (arguments.restarts + 1) + 1):
            await client.connect_for(chance.uniform(0.05, arguments.longest))
            if chance.random() < 0.3:
                await asyncio.sleep(chance.uniform(0, 0.5))
        watching = asyncio.ensure_future(client.connect_for(5))  # it is there when the daemon ends
        await asyncio.sleep(chance.uniform(0.3, 1))
        await lives.again(_signal(restart in killed))  # after the last, what was missed is read from the next life
        await watching
    await client.connect_for(10)
    return client


async def follow_by_itself(
    arguments: argparse.Namespace, lives: Lives, chance: random.Random, killed: set[int]
) -> Ledger:
    """Cut the connection of one client again and again, over all restarts."""
    pauses.FIRST_PAUSE_S, pauses.LONGEST_PAUSE_S = 0.05, 0.5
    client = Following(lives.home / "feed.sock", chance)
    following = asyncio.ensure_future(client.follow())
    try:
        for restart in range(arguments.restarts + 1):
            await client.cut(arguments.resumes // (arguments.restarts + 1) + 1)
            await asyncio.sleep(chance.uniform(0, 0.5))
            epoch = await lives.again(_signal(restart in killed))
        await _until(lambda: following.done() or (client.is_live and client.reached > (epoch, 0)))
        if following.done():
            following.result()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await client.cutter.stop()
    say(f"{client.cutter.cuts} cuts; gaps of the client: {client.opened} opened, {dict(client.repairs)}")
    return client


def _signal(is_killed: bool) -> int:
    return signal.SIGKILL if is_killed else signal.SIGTERM


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resumes", type=int, default=200)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--kills", type=int, default=3, help="restarts by kill -9 among them")
    parser.add_argument("--longest", type=float, default=0.6, help="seconds that a connection lives")
    parser.add_argument("--by-itself", action="store_true", help="one client of aggregator.client, which resumes")
    main(parser, run)
