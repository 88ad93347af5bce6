"""Workers of one daemon that are killed at random, while simulated exchanges stream: what that costs is told.

`python -m tests.support.killed_workers --kills 50 --rate 5000` says of what the daemon wrote to its standard output:
holes in the exchanges' own numbers that no gap tells, numbers that came twice, gaps of exchanges whose worker lived,
and how long it took until a gap was closed. With `--divided` all of it is one exchange, and each worker has a bucket of
its symbols.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from aggregator.cluster.buckets import part_of
from tests.daemon.test_killed import NUMBERED, trades, untold
from tests.support.cases import say
from tests.support.killed_daemons import Lives, main, simulated

Row = dict[str, Any]
IDS = "binance,coinbaseexchange,kraken,okx"
BUCKET = re.compile(r"(.+)-([0-9]+)of([0-9]+)")
CONFIG = """\
state = "{home}/state"
workers = {workers}
{exchanges}
[[sinks]]
type = "stdout"
queue = 1000000
queue_bytes = "1GB"

[feed]
listen = ["unix:{home}/feed.sock"]
"""
SETTLED_S = 8.0  # after the last kill
BEGIN_S = 120.0  # workers have so long to be well, and gaps to close after the last kill, however late they are judged
CLOSED_S = 5.0  # a gap of a killed worker's topic closes within this time
SLACK_NS = 10**9


async def ask(path: Path, **request: object) -> Row:
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 26)
    writer.write(json.dumps(request).encode() + b"\n")
    answer = json.loads(await reader.readline())
    writer.close()
    return dict(answer)


async def settled(control: Path) -> list[Row]:
    """Wait until every worker with an exchange is there and runs it, and has something fresh of it; these workers."""
    async with asyncio.timeout(BEGIN_S):
        while True:
            status = (await ask(control, op="status"))["status"]
            fresh = [
                each["state"] == "running" and any(each["topics"].get(word) for word in ("live", "quiet"))
                for each in status["exchanges"]
            ]
            workers = [each for each in status["workers"] if each["exchanges"]]
            if fresh and all(fresh) and all(each["pid"] for each in workers):
                return workers
            await asyncio.sleep(0.1)


async def healed(control: Path) -> None:
    """Wait until no gap is open, or for so long that those which are stay so."""
    with suppress(TimeoutError):
        async with asyncio.timeout(BEGIN_S):
            while any(each["gaps"] for each in (await ask(control, op="status"))["status"]["exchanges"]):  # noqa: ASYNC110
                await asyncio.sleep(0.1)


def has(names: Iterable[str], gap: Row) -> bool:
    """Whether a topic is one of a worker that has these exchanges, or buckets of some."""
    for name in names:
        found = BUCKET.fullmatch(name)
        if found is None:
            if name == gap["exchange"]:
                return True
            continue
        part = part_of(int(found[3]), [int(found[2])])
        if found[1] == gap["exchange"] and (part is None or part.has(gap["raw_symbol"])):
            return True
    return False


def divided(arguments: argparse.Namespace, exchanges: str) -> str:
    """The exchanges as a configuration names them, divided where that is asked for."""
    if arguments.divided is None:
        return exchanges
    return exchanges.replace("symbols =", f"buckets = {arguments.buckets or arguments.workers}\nsymbols =")


def at_last(gap: Row, kills: list[tuple[int, list[str]]], closed: int) -> int:
    """When a topic's worker was killed for the last time before its gap closed: until then nobody could close it."""
    return max((ts for ts, names in kills if ts < closed and has(names, gap)), default=int(gap["ts_from"]))


def still_open(opened: Iterable[Row], end: int) -> list[Row]:
    """What gaps that are open in the end say: something is missing up to now."""
    return [gap | {"phase": "close", "ts_to": end, "repair": "none"} for gap in opened]


def judge(rows: list[Row], kills: list[tuple[int, list[str]]], end: int) -> int:
    """Print what was found; the number of what is wrong."""
    offsets = [int(row["offset"]) for row in rows if row.get("conn") != "stdout"]
    unordered = sum(one + 1 != other for one, other in pairwise(offsets))
    opened: dict[str, Row] = {}
    late: list[str] = []
    strange: list[str] = []
    took: list[float] = []
    since: list[float] = []  # seconds from the last kill until a gap was closed
    for row in rows:
        if row["type"] != "gap" or row.get("conn") == "stdout" or row["ts_recv"] > end:
            continue  # in the end all topics have a gap
        if row["cause"] != "restart":
            strange.append(f"{row['cause']} {row['phase']} of {row['exchange']}")
        elif row["phase"] == "open":
            opened[row["gap_id"]] = row
        elif row["gap_id"] in opened:
            gap = opened.pop(row["gap_id"])
            took.append((row["ts_recv"] - gap["ts_from"]) / 1e9)
            # it begins at the last moment that came, which on a busy machine lies some time before the kill
            if not any(has(names, gap) and gap["ts_from"] - SLACK_NS < ts < gap["ts_recv"] for ts, names in kills):
                strange.append(f"restart of {gap['exchange']} {gap['raw_symbol']}, whose worker lived")
            since.append((row["ts_recv"] - at_last(gap, kills, row["ts_recv"])) / 1e9)
            if since[-1] > CLOSED_S:
                late.append(f"{gap['exchange']} {gap['channel']} {gap['raw_symbol']}: {since[-1]:.1f} s")
    numbered = [row for row in rows if row["type"] != "trade" or row["exchange"] in NUMBERED]
    faults = untold([*numbered, *still_open(opened.values(), rows[-1]["ts_recv"])])
    took.sort()
    since.sort()
    repairs = Counter(row["repair"] for row in rows if row["type"] == "gap" and row["phase"] == "close")
    middle, most = (took[len(took) // 2], took[-1]) if took else (0.0, 0.0)
    say(f"{len(rows):,} records; {len(kills)} kills; {len(took)} gaps closed: {dict(repairs)}")
    say(f"after {middle:.2f} s (median), {most:.2f} s at most; {since[-1] if since else 0.0:.2f} s after the last kill")
    say(f"load: {', '.join(f'{load:.1f}' for load in os.getloadavg())}")
    say(f"untold holes or numbers twice: {len(faults)} {faults[:5]}; out of order: {unordered}")
    say(f"still open: {len(opened)}; closed late: {len(late)} {late[:5]}; other gaps: {dict(Counter(strange))}")
    return len(faults) + unordered + len(opened) + len(late) + len(strange)


async def run(arguments: argparse.Namespace, home: Path) -> int:
    chance = random.Random(arguments.seed)
    kills: list[tuple[int, list[str]]] = []
    with simulated(home, arguments.rate, arguments.divided or IDS) as (_, exchanges):
        found = divided(arguments, exchanges)
        lives = Lives(home, CONFIG.format(home=home, exchanges=found, workers=arguments.workers))
        control = home / "state/control.sock"
        try:
            lives.start()
            await lives.begun()
            start = time.monotonic()
            for _ in range(arguments.kills):
                workers = await settled(control)
                await asyncio.sleep(chance.uniform(0, arguments.longest))
                worker = chance.choice(workers)
                kills.append((time.time_ns(), worker["exchanges"]))
                os.kill(worker["pid"], signal.SIGKILL)
                await asyncio.sleep(0.3)
            await settled(control)
            await asyncio.sleep(SETTLED_S)
            await healed(control)
            seconds, end = time.monotonic() - start, time.time_ns()
            await asyncio.to_thread(lives.end, signal.SIGTERM)
        finally:
            lives.abandon()
    rows = [json.loads(line) for line in lives.paths[0].read_bytes().splitlines()]
    rates: dict[str, int] = defaultdict(int)
    for row in rows:
        rates[row["exchange"]] += 1
    say(f"{len(rows) / seconds:,.0f} records/s: {dict(rates)}; numbered: {NUMBERED}, {len(trades(rows))} markets")
    return judge(rows, kills, end)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options with which one exchange is divided."""
    parser.add_argument("--divided", help="one exchange that all workers have together, instead of several")
    parser.add_argument("--buckets", type=int, help="into so many; by default as many as there are workers")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--longest", type=float, default=4.0, help="seconds between a worker that is well and its end")
    main(parser, run, workers=2)
