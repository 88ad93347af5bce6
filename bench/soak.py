"""The daemon against the sandbox with every fault: `python -m bench.soak --minutes 10 --rate 5000`.

Both run as processes of their own. At the end the market is paused, and the tally is printed: what was injected, which
losses a gap covers and which none does, gaps that no fault explains, books against the simulator's, and memory.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import zstandard
from msgspec import Struct
from msgspec.json import decode

from aggregator.catalog.registry import simulated_ids
from aggregator.client import connect
from aggregator.records import BookSnapshot, Gap, Health, Levels
from aggregator.sandbox.faults import Injected
from bench.daemon import resident
from bench.elsewhere import feed_table

FAULTS = (
    "drop=0.0002,duplicate=0.0005,reorder=0.0002,corrupt=0.0002,"
    "stall=60s,half_open=240s,close=45s,refuse=200s,http_429=0.05"
)
LOSSES = {"drop", "stall", "half_open", "corrupt"}
BEFORE, AFTER = 1.5, 75.0  # seconds around a loss within which its gap must begin (a dead line is noticed late)
RETURN = 70  # seconds in which what is half open or backing off comes back
SETTLE = 3  # seconds in which the last frames of a paused market come through
SAMPLE = 5  # seconds between two looks at memory
SHOWN = 10  # of what is wrong
FEWEST_LEVELS = 100  # a side, that a served book must have where the market has them
SINKS = """\
[[sinks]]
type = "files"
path = "{home}/out"
rotate_bytes = "64MB"

{feed}"""

Books = dict[str, dict[str, dict[str, Levels]]]  # exchange, raw symbol, side
Spans = dict[tuple[str | None, str | None, str | None], list[tuple[float, float]]]  # exchange, channel, raw symbol


class Stats(Struct):
    """What the sandbox counts: faults by kind."""

    faults: dict[str, int]


async def ask(home: Path, op: str) -> bytes:
    """One command to the sandbox's control socket."""
    reader, writer = await asyncio.open_unix_connection(home / "control.sock", limit=2**28)
    writer.write(json.dumps({"op": op}).encode() + b"\n")
    answer = await reader.readline()
    writer.close()
    return answer


def lines_of(directory: Path, mark: bytes) -> Iterable[bytes]:
    """Every line of the files, closed ones too, that holds this mark."""
    for path in directory.rglob("*.ndjson*"):
        file = zstandard.open(path, "rb") if path.suffix == ".zst" else path.open("rb")
        with file:
            yield from (line for line in file.read().splitlines() if mark in line)


def spans_of(gaps: Iterable[Gap]) -> Spans:
    """By topic: from when to when something may be missing."""
    spans: Spans = defaultdict(list)
    ended = {gap.gap_id: gap.ts_to for gap in gaps if gap.phase == "close"}
    for gap in gaps:
        end = ended.get(gap.gap_id) or time.time_ns()
        spans[gap.exchange, gap.channel, gap.raw_symbol].append((gap.ts_from / 1e9, end / 1e9))
    return spans


def is_covered(entry: Injected, spans: Spans) -> bool:
    """Whether a gap speaks for this loss: of its topic, or of the whole connection."""
    at = entry.ts / 1e9
    keys = [(entry.exchange, entry.channel, entry.raw_symbol), (entry.exchange, None, None)]
    return any(begin - AFTER <= at <= end + BEFORE for key in keys for begin, end in spans.get(key, ()))


def tally(log: Sequence[Injected], gaps: Sequence[Gap]) -> int:
    """Print which losses are covered; how many are not, and how many gaps no fault explains."""
    spans = spans_of(gaps)
    losses = [entry for entry in log if entry.kind in LOSSES and entry.channel and entry.detectable]
    bare = [entry for entry in losses if not is_covered(entry, spans)]
    times = [entry.ts / 1e9 for entry in log]
    odd = [
        gap
        for gap in gaps
        if gap.cause != "restart" and not any(at - BEFORE <= gap.ts_from / 1e9 <= at + AFTER for at in times)
    ]
    print("\ninjected", dict(Counter(entry.kind for entry in log)))
    print("detectable losses", len(losses), "of which no gap speaks for", len(bare))
    print("gaps", dict(Counter(f"{gap.cause}/{gap.channel}/{gap.phase}" for gap in gaps)))
    for wrong in [*bare[:SHOWN], *odd[:SHOWN]]:
        print("   no gap:" if isinstance(wrong, Injected) else "   no fault:", wrong)
    return len(bare) + len(odd)


async def served(home: Path, count: int) -> dict[tuple[str, str], BookSnapshot]:
    """The books that the feed serves, once there are so many, or after a while."""
    seen: dict[tuple[str, str], BookSnapshot] = {}
    async with connect(home / "feed.sock") as feed:
        await feed.subscribe("book:*:*")
        try:
            async with asyncio.timeout(SETTLE):
                async for record in feed:
                    if isinstance(record, BookSnapshot):
                        seen[record.exchange, record.raw_symbol or ""] = record
                    if len(seen) >= count:
                        break
        except TimeoutError:
            pass
    return seen


async def books_differ(home: Path) -> tuple[int, list[str]]:
    """The daemon's books against the simulator's, once both stand still: how many, and what differs."""
    true = decode(await ask(home, "books"), type=Books)
    wanted = {(exchange, name): book for exchange, books in true.items() for name, book in books.items()}
    seen = await served(home, len(wanted))
    differ = [f"{exchange} {name}: no book" for exchange, name in sorted(wanted.keys() - seen.keys())]
    for exchange, name in sorted(wanted.keys() & seen.keys()):
        got = seen[exchange, name]
        for side, levels in (("bids", got.bids), ("asks", got.asks)):
            whole = wanted[exchange, name][side]
            if levels != whole[: len(levels)] or len(levels) < min(len(whole), FEWEST_LEVELS):
                differ.append(f"{exchange} {name}: {side} {levels[:2]} {whole[:2]}")
    return len(wanted), differ


async def start(home: Path, rate: float, faults: str, exchanges: str) -> tuple[Process, Process]:
    """The sandbox, and the daemon that reads it."""
    config = home / "daemon.toml"
    sandbox = await _aggregator(
        home, "sandbox", "--simulate", exchanges, "--port", "0", "--rate", str(rate), "--faults", faults,
        "--control", str(home / "control.sock"), "--fault-log", str(home / "faults.ndjson"),
        "--config-out", str(config),
    )  # fmt: skip
    while not config.exists() or not (home / "control.sock").exists():  # noqa: ASYNC110 - another process makes them
        await asyncio.sleep(0.1)
    sinks = SINKS.format(home=home, feed=feed_table(home / "feed.sock"))
    text = config.read_text().replace('[[sinks]]\ntype = "stdout"\n', sinks)
    text = text.replace("[[exchanges]]\n", "[[exchanges]]\naudit = 5\n")
    config.write_text(f'state = "{home}/state"\n{text}')
    return sandbox, await _aggregator(home, "run", "--config", str(config))


async def _aggregator(home: Path, command: str, *arguments: str) -> Process:
    with (home / f"{command}.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(sys.executable, "-m", "aggregator", command, *arguments, stderr=log)


async def watched(daemon: Process, minutes: float) -> list[float]:
    """Megabytes that the daemon holds, every SAMPLE seconds for so long."""
    found: list[float] = []
    while len(found) * SAMPLE < minutes * 60 and daemon.returncode is None:
        await asyncio.sleep(SAMPLE)
        found.append(resident(daemon.pid))
        print(f"\r{len(found) * SAMPLE:5.0f} s  {found[-1]:6.1f} MB", end="", file=sys.stderr)
    return found


async def stopped(daemon: Process) -> int:
    """Ask it to leave, and say how that went; its exit code."""
    asked = time.monotonic()
    if daemon.returncode is None:
        daemon.send_signal(signal.SIGTERM)
    code = await daemon.wait()
    print(f"exit code {code} after {time.monotonic() - asked:.1f} s")
    return code


async def soak(home: Path, minutes: float, rate: float, faults: str, exchanges: str) -> int:
    """Run both for a while, then judge; the number of things that are wrong."""
    sandbox, daemon = await start(home, rate, faults, exchanges)
    memory = await watched(daemon, minutes)
    await ask(home, "fault_off")
    await asyncio.sleep(RETURN)
    await ask(home, "pause")
    await asyncio.sleep(SETTLE)
    stats = decode(await ask(home, "stats"), type=Stats)
    count, differ = await books_differ(home)
    code = await stopped(daemon)
    sandbox.send_signal(signal.SIGTERM)
    await sandbox.wait()
    settled = memory[60 // SAMPLE :] or memory
    print(f"memory after the first minute {settled[0]:.1f} MB, at the end {settled[-1]:.1f} MB")
    print(f"books that differ {differ or 'none'} ({count} compared); faults {stats.faults}")
    return judge(home) + len(differ) + (code != 0)


def judge(home: Path) -> int:
    """What the files and the log say; the number of things that are wrong."""
    log = [decode(line, type=Injected) for line in (home / "faults.ndjson").read_bytes().splitlines()]
    found = [decode(line, type=Gap) for line in lines_of(home / "out", b'"type":"gap"')]
    gaps = {(gap.gap_id, gap.phase): gap for gap in found}
    audits = [decode(line, type=Health) for line in lines_of(home / "out", b'"reason":"audit')]
    wrong = [audit for audit in audits if "are not the exchange's" in (audit.reason or "")]
    said = (home / "run.log").read_text().splitlines()
    errors = [line for line in said if "Traceback" in line or "of our own" in line]
    unexplained = tally(log, list(gaps.values()))
    print(f"audits {len(audits)} of which found a difference {len(wrong)}; errors of our own {len(errors)}")
    return unexplained + len(wrong) + len(errors)


def main() -> None:
    """Parse the command line, run, and leave with 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=5000)
    parser.add_argument("--faults", default=FAULTS)
    parser.add_argument("--exchanges", default=",".join(simulated_ids()))
    parser.add_argument("--keep", type=Path, help="use this directory, and leave it")
    asked = parser.parse_args()
    home = asked.keep or Path(tempfile.mkdtemp(prefix="soak-"))
    home.mkdir(parents=True, exist_ok=True)
    print("in", home, file=sys.stderr)
    wrong = asyncio.run(soak(home, asked.minutes, asked.rate, asked.faults, asked.exchanges))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
