"""Exchanges that move from one worker to another at random, while they stream: nobody must notice.

`python -m tests.support.moved_workers --moves 50 --rate 5000` says of what the daemon wrote to its standard output:
holes in the exchanges' own numbers, numbers that came twice, changes of books that follow no other, and gaps, of which
there must be none; and how long a move took. With `--divided` all of it is one exchange, of which a bucket moves each
time; more `--workers` than `--buckets` leave room for that.
"""

import argparse
import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.daemon.test_killed import NUMBERED, trades, untold
from tests.support.cases import say
from tests.support.killed_daemons import Lives, main, simulated
from tests.support.killed_workers import CONFIG, IDS, add_options, ask, divided, settled

Row = dict[str, Any]
SETTLED_S = 3.0  # after the last move


def unchained(rows: Iterable[Row]) -> list[str]:
    """Changes of books that do not go on where the one before, or the whole book, ended: by the exchanges' numbers."""
    faults: list[str] = []
    last: dict[tuple[str, str], int | None] = {}
    for row in rows:
        if row["type"] not in {"book_snapshot", "book_delta"}:
            continue
        market = row["exchange"], row["raw_symbol"]
        before, number = last.get(market), row.get("sequence")
        if row["type"] == "book_delta" and before is not None and number is not None:
            previous, first = row.get("sequence_prev"), row.get("sequence_first")
            is_next = previous == before if previous is not None else first is None or first <= before + 1
            if not is_next or number < before:
                faults.append(f"{market}: {previous or first} to {number} after {before}")
        last[market] = number
    return faults


def judge(rows: list[Row], end: int) -> int:
    """Print what was found; the number of what is wrong."""
    offsets = [int(row["offset"]) for row in rows if row.get("conn") != "stdout"]
    unordered = sum(one + 1 != other for one, other in pairwise(offsets))
    faults = untold([row for row in rows if row["type"] != "trade" or row["exchange"] in NUMBERED])
    books = unchained(rows)
    opened = [row for row in rows if row["type"] == "gap" and row["phase"] == "open" and row["ts_recv"] < end]
    gaps = Counter(f"{row['cause']} of {row['channel']}:{row['exchange']}" for row in opened)
    say(f"{len(rows):,} records; holes or numbers twice: {len(faults)} {faults[:5]}; out of order: {unordered}")
    say(f"books that do not follow: {len(books)} {books[:5]}; gaps: {dict(gaps)}")
    return len(faults) + unordered + len(books) + len(opened)


async def run(arguments: argparse.Namespace, home: Path) -> int:
    chance = random.Random(arguments.seed)
    took: list[float] = []
    refused: list[str] = []
    with simulated(home, arguments.rate, arguments.divided or IDS) as (_, exchanges):
        found = divided(arguments, exchanges)
        lives = Lives(home, CONFIG.format(home=home, exchanges=found, workers=arguments.workers))
        control = home / "state/control.sock"
        try:
            lives.start()
            await lives.begun()
            names = [name for each in await settled(control) for name in each["exchanges"]]
            start = time.monotonic()
            for _ in range(arguments.moves):
                await asyncio.sleep(chance.uniform(0, arguments.longest))
                begun = time.monotonic()
                answer = await ask(control, op="move", exchange=chance.choice(names))
                if answer["ok"]:
                    took.append(time.monotonic() - begun)
                else:
                    refused.append(answer["error"])
            await asyncio.sleep(SETTLED_S)
            seconds, end = time.monotonic() - start, time.time_ns()
            await asyncio.to_thread(lives.end, signal.SIGTERM)
        finally:
            lives.abandon()
    rows = [json.loads(line) for line in lives.paths[0].read_bytes().splitlines()]
    took.sort()
    middle, most = (took[len(took) // 2], took[-1]) if took else (0.0, 0.0)
    say(f"{len(rows) / seconds:,.0f} records/s; numbered: {NUMBERED}, {len(trades(rows))} markets")
    say(f"{len(took)} moves, {middle:.1f} s (median), {most:.1f} s at most; not done: {refused[:3]}")
    return judge(rows, end) + len(refused)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--moves", type=int, default=50)
    parser.add_argument("--longest", type=float, default=2.0, help="seconds between two moves")
    main(parser, run, workers=2)
