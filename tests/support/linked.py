"""A daemon that gathers, one that passes on, and a reader of that, while the link between the two is cut at random.

`python -m tests.support.linked --cuts 50 --rate 3000` says whether what came to the reader is what the first daemon
wrote to its standard output, in the same order and with the same fields, but for what gaps name. With `--kill-first`
and `--kill-second` so many of the cuts are a `kill -9` of either daemon. Exchanges are simulated ones of the sandbox.

After the death of the second daemon its journal tells the reader a gap. Behind that a book starts anew, so its changes
are withheld until it comes whole; and what the journal had not written yet comes once more, with the same `upstream`.
"""

import argparse
import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from tests.support.cases import say
from tests.support.killed_daemons import GATHERS, Lives, Place, main, simulated

SECOND = """\
state = "{home}/state"
[[sources]]
type = "feed"
url = "tcp:127.0.0.1:{port}"
backoff = "100ms"
longest_backoff = "500ms"

[journal]
path = "{home}/journal"

[feed]
listen = ["unix:{home}/feed.sock"]
ring = 100000
"""
ALONE = {"hello", "subscribed", "resuming", "live", "cursor", "bye"}
SILENT_S = 3.0
SHOWN = 3
UNWRITTEN_NS = 1_000_000_000  # a journal that is killed lacks far less
Topic = tuple[str | None, str | None, str | None]  # exchange, channel, raw symbol


class Cutter:
    """A proxy to the first daemon's feed whose connections are cut."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_shut = False
        self.writers: set[asyncio.StreamWriter] = set()
        self.server: asyncio.Server
        self.carried = 0

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        with suppress(OSError, ConnectionError):
            if not self.is_shut:
                inner, outer = await asyncio.open_unix_connection(self.path)
                self.writers.add(outer)
                await asyncio.gather(self._carry(reader, outer), self._carry(inner, writer), return_exceptions=True)
        for each in (writer, *(self.writers if self.is_shut else ())):
            each.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                self.carried += len(data)
                writer.write(data)
                await writer.drain()
        finally:
            writer.transport.abort()

    def cut(self) -> None:
        """Cut every connection, in the middle of whatever it carries."""
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()


class Reader:
    """The far end: it keeps a cursor, and every line in a file, with the place where each connection goes on."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.file = file
        self.cursor: object = "now"
        self.heard = time.monotonic()
        self.lines = 0

    async def run(self) -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_unix_connection(self.path, limit=1 << 26)
                try:
                    await self._converse(reader, writer)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0.05)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = {"op": "subscribe", "topics": ["*:*:*"], "snapshot": False, "from": self.cursor, "policy": "lossless"}
        writer.write(json.dumps(request).encode() + b"\n")
        while (line := await reader.readline()).endswith(b"\n"):
            if line.startswith(b'{"type":"error"'):
                raise AssertionError(line)
            if line.startswith(b'{"type":"cursor"'):
                self.cursor = json.loads(line)["cursor"]
                continue
            self.file.write(line)
            self.lines += 1
            self.heard = time.monotonic()


class Judge:
    """What came to the far end, against the first daemon's standard output."""

    def __init__(self) -> None:
        self.got: list[tuple[Place, dict[str, Any]]] = []
        self.states: set[Place] = set()
        self.again: set[Place] = set()  # those that may come once more, as a gap has said
        self.withheld: dict[
            str, list[tuple[Place, Place]]
        ] = {}  # by book: places between a gap and its next whole book
        self.waiting: dict[str, Place] = {}
        self.books: dict[str, None] = {}
        self.own: Counter[str] = Counter()
        self.losses: dict[Topic, list[tuple[int, int]]] = {}
        self.closed: Counter[str] = Counter()
        self.twice_at_second = 0

    def take(self, lines: Iterator[bytes]) -> None:
        epoch, last = "", ("", 0)
        told: list[tuple[Place, int]] = []  # of this life of the second daemon: the places at the first, and the times
        for line in lines:
            row = json.loads(line)
            kind = row["type"]
            if kind in {"resuming", "live"}:
                epoch = row["epoch"]
            if kind in ALONE:
                continue
            if kind == "gap" and row.get("conn") == "journal":
                self.again |= {there for there, ts in told if ts > told[-1][1] - UNWRITTEN_NS}
                self.waiting = {**dict.fromkeys(self.books, self.got[-1][0]), **self.waiting}
                told.clear()
                self.own[f"gap of the journal: {row['cause']}"] += 1
                continue
            here = epoch, row.get("offset", 0)  # what is told before anything is published has none
            if kind != "health" and here <= last and last[0] == epoch:
                self.twice_at_second += 1  # it was cut behind a cursor, and these are known by their place
                continue
            last = here if kind != "health" else last
            upstream = row.get("upstream")
            if upstream is None:
                self._of_second(row)
            elif kind in {"health", "instrument"}:  # they are told as they stand, too
                self.states.add((upstream[0], upstream[1]))
            elif row["source"] == "derived" and row.get("flags") == ["snapshot"]:
                self.own["whole books told anew"] += 1
            else:
                self.got.append(((upstream[0], upstream[1]), row))
                told.append(((upstream[0], upstream[1]), row["ts_recv"]))
            if kind == "book_snapshot":
                self._whole(f"{row['exchange']}:{row['raw_symbol']}", (upstream[0], upstream[1]))

    def _whole(self, book: str, place: Place) -> None:
        self.books[book] = None
        if book in self.waiting:
            self.withheld.setdefault(book, []).append((self.waiting.pop(book), place))

    def is_withheld(self, place: Place, row: dict[str, Any]) -> bool:
        """Tell whether a record is a change of a book that was to start anew."""
        spans = self.withheld.get(f"{row['exchange']}:{row['raw_symbol']}", [])
        return row["type"] == "book_delta" and any(low < place <= high for low, high in spans)

    def _of_second(self, row: dict[str, Any]) -> None:
        if row["type"] != "gap":
            self.own[row["type"]] += 1
            return
        self.closed[f"{row['cause']} {row['phase']} {row.get('repair', '')}".strip()] += 1
        if row.get("repair") in {"none", "partial"}:
            topic = row["exchange"], row.get("channel"), row.get("raw_symbol")
            self.losses.setdefault(topic, []).append((row["ts_from"], row["ts_to"]))

    def names(self, row: dict[str, Any]) -> bool:
        """Tell whether a gap names a record as missing."""
        return any(
            low <= row["ts_recv"] <= high
            for (exchange, _, symbol), spans in self.losses.items()
            if exchange == row["exchange"] and symbol in {None, row.get("raw_symbol")}
            for low, high in spans
        )

    def verdict(self, expected: dict[Place, dict[str, Any]], last: dict[str, int]) -> int:
        """Print what was compared; the number of what is wrong."""
        first, end = self.got[0][0], self.got[-1][0]
        seen: set[Place] = set()
        twice = disordered = different = strange = beyond = again = 0
        before: Place = ("", 0)
        for place, row in self.got:
            if place in seen:
                again += place in self.again
                twice += place not in self.again
                continue
            seen.add(place)
            disordered += place < before
            before = place
            reference = expected.get(place)
            if reference is None:
                is_beyond = place[1] > last.get(place[0], 0)
                beyond += is_beyond
                strange += not is_beyond
            else:
                is_alike = _alike(reference) == _alike(row)
                different += not is_alike
                if not is_alike and different < SHOWN:
                    say(f"  {reference}\n  {row}")
        wanted = [(place, row) for place, row in expected.items() if first <= place <= end]
        there = seen | self.states
        missing = [(place, row) for place, row in wanted if place not in there]
        withheld = len(missing)
        missing = [each for each in missing if not self.is_withheld(*each)]
        withheld -= len(missing)
        silent = [row for _, row in missing if not self.names(row)]
        say(f"{len(seen):,} records at the far end, of {len(wanted):,} of the first daemon's standard output")
        say(f"gaps that the second daemon told: {dict(self.closed)}; and {dict(self.own)}")
        say(f"missing and told: {len(missing) - len(silent)}; changes of a book that starts anew: {withheld}")
        say(f"once more behind a gap that says so: {again}")
        say(
            f"beyond what a killed daemon wrote elsewhere: {beyond}; told again behind a cursor: {self.twice_at_second}"
        )
        say(f"missing in silence: {len(silent)}; twice: {twice}; not in order: {disordered}; different: {different}")
        say(f"not of the first daemon: {strange}")
        for row in silent[:SHOWN]:
            say(f"  {row}")
        return len(silent) + twice + disordered + different + strange


def _alike(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in {"offset", "upstream"}}


def reference(paths: list[Path], epochs: list[str]) -> tuple[dict[Place, dict[str, Any]], dict[str, int]]:
    """Every record that the lives of the first daemon wrote, and the last offset of each life."""
    found: dict[Place, dict[str, Any]] = {}
    last: dict[str, int] = {}
    for path, epoch in zip(paths, epochs, strict=True):
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    row = json.loads(line)
                    if row.get("conn") != "stdout":
                        found[epoch, row["offset"]] = row
                        last[epoch] = row["offset"]
    return found, last


async def run(arguments: argparse.Namespace, home: Path) -> int:
    chance = random.Random(arguments.seed)
    first, second = home / "first", home / "second"
    cutter = Cutter(first / "feed.sock")
    with simulated(home, arguments.rate) as (sandbox, exchanges), (home / "far").open("wb") as told:
        gathers = Lives(first, GATHERS.format(home=first, exchanges=exchanges, workers=arguments.workers))
        passes = Lives(second, SECOND.format(home=second, port=await cutter.start()))
        reader = Reader(second / "feed.sock", told)
        try:
            passes.start()
            gathers.start()
            await gathers.begun()
            await passes.begun()
            reading = asyncio.ensure_future(reader.run())
            await asyncio.sleep(2)
            began, lines = time.monotonic(), reader.lines
            await cut_and_kill(arguments, cutter, gathers, passes, chance)
            took = time.monotonic() - began
            say(f"{arguments.cuts} cuts in {took:.0f} s; {(reader.lines - lines) / took:,.0f} records/s")
            await asyncio.sleep(2)
            sandbox.send_signal(signal.SIGSTOP)
            while time.monotonic() - reader.heard < SILENT_S:  # noqa: ASYNC110 - the time itself is awaited
                await asyncio.sleep(0.1)
            reading.cancel()
            await asyncio.to_thread(passes.end, signal.SIGTERM)
            await asyncio.to_thread(gathers.end, signal.SIGTERM)
        finally:
            passes.abandon()
            gathers.abandon()
            cutter.server.close()
    judge = Judge()
    with (home / "far").open("rb") as lines_told:
        judge.take(iter(lines_told))
    return judge.verdict(*reference(gathers.paths, gathers.epochs))


async def cut_and_kill(
    arguments: argparse.Namespace, cutter: Cutter, gathers: Lives, passes: Lives, chance: random.Random
) -> None:
    """Cut the link so often, and have some of the cuts be the death of either daemon."""
    ends: list[Lives | None] = [*[gathers] * arguments.kill_first, *[passes] * arguments.kill_second]
    ends += [None] * (arguments.cuts - len(ends))
    chance.shuffle(ends)
    for lives in ends:
        await asyncio.sleep(chance.uniform(0.2, arguments.longest))
        if lives is not None:
            await lives.again(signal.SIGKILL)
            continue
        cutter.is_shut = chance.random() < 0.5
        cutter.cut()
        await asyncio.sleep(chance.uniform(0, 1) if cutter.is_shut else 0)
        cutter.is_shut = False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--kill-first", type=int, default=0, help="so many of them kill the daemon that gathers")
    parser.add_argument("--kill-second", type=int, default=0, help="so many of them kill the daemon that passes on")
    parser.add_argument("--longest", type=float, default=2.5, help="seconds that a link lives")
    main(parser, run)
