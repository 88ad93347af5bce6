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
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import zstandard
from aggregator.client import connect
from aggregator.registry import simulated_ids

FAULTS = "drop=0.0002,duplicate=0.0005,reorder=0.0002,corrupt=0.0002,stall=60s,half_open=240s,close=45s,refuse=200s,http_429=0.05"
BEFORE, AFTER = 1.5, 75.0  # seconds around a loss within which its gap must begin (a dead line is noticed late)


async def ask(path: Path, **command: object) -> object:
    """One command to the sandbox's control socket."""
    reader, writer = await asyncio.open_unix_connection(path, limit=2**28)
    writer.write(json.dumps(command).encode() + b"\n")
    answer = await reader.readline()
    writer.close()
    return json.loads(answer)


def memory(pid: int) -> float:
    """Resident megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def records_of(directory: Path, mark: bytes) -> list[dict]:
    """Every record in the files, closed ones too, whose line holds this mark."""
    found = []
    for path in directory.rglob("*.ndjson*"):
        file = zstandard.open(path, "rb") if path.suffix == ".zst" else path.open("rb")
        with file:
            found += [msgspec.json.decode(line) for line in file.read().splitlines() if mark in line]
    return found


def intervals(gaps: list[dict]) -> dict[tuple, list[tuple[float, float, str]]]:
    """By topic: from when to when something may be missing, and why."""
    spans = defaultdict(list)
    ended = {gap["gap_id"]: gap["ts_to"] for gap in gaps if gap["phase"] == "close"}
    for gap in gaps:
        end = ended.get(gap["gap_id"], time.time_ns())
        key = (gap["exchange"], gap["channel"], gap["raw_symbol"])
        spans[key].append((gap["ts_from"] / 1e9, end / 1e9, gap["cause"]))
    return spans


def covers(spans: dict, entry: dict) -> bool:
    """Whether a gap speaks for this loss: of its topic, or of the whole connection."""
    at = entry["ts"] / 1e9
    keys = [(entry["exchange"], entry["channel"], entry["raw_symbol"]), (entry["exchange"], None, None)]
    return any(begin - AFTER <= at <= end + BEFORE for key in keys for begin, end, _ in spans.get(key, ()))


def tally(log: list[dict], gaps: list[dict]) -> tuple[int, int]:
    """Print which losses are covered; how many are not, and how many gaps no fault explains."""
    spans = intervals(gaps)
    losses = [
        e for e in log if e["kind"] in {"drop", "stall", "half_open", "corrupt"} and e["channel"] and e["detectable"]
    ]
    bare = [e for e in losses if not covers(spans, e)]
    print("\ninjected", dict(Counter(e["kind"] for e in log)))
    print("detectable losses", len(losses), "of which no gap speaks for", len(bare))
    for entry in bare[:10]:
        print("   no gap:", entry)
    print("gaps", dict(Counter(f"{g['cause']}/{g['channel']}/{g['phase']}" for g in gaps)))
    times = sorted(e["ts"] / 1e9 for e in log)
    odd = [
        g
        for g in gaps
        if g["cause"] != "restart" and not any(t - BEFORE <= g["ts_from"] / 1e9 <= t + AFTER for t in times)
    ]
    for gap in odd[:10]:
        print("   no fault:", gap)
    return len(bare), len(odd)


async def books_differ(feed: Path, control: Path, symbols: set[tuple[str, str]]) -> list[str]:
    """The daemon's books against the simulator's, once both stand still."""
    true = await ask(control, op="books")
    differ = []
    async with connect(feed) as client:
        await client.subscribe("book:*:*")
        deadline = time.time() + 5
        seen: dict[tuple[str, str], dict] = {}
        async for line in client.lines():
            record = msgspec.json.decode(line)
            if record.get("type") == "book_snapshot":
                seen[record["exchange"], record["raw_symbol"]] = record
            if len(seen) >= len(symbols) or time.time() > deadline:
                break
    for exchange, raw_symbol in sorted(symbols):
        got = seen.get((exchange, raw_symbol))
        wanted = true[exchange][raw_symbol]
        if got is None:
            differ.append(f"{exchange} {raw_symbol}: no book")
            continue
        for side in ("bids", "asks"):
            depth = len(got[side])
            if got[side] != [list(level) for level in wanted[side][:depth]] or (depth < min(len(wanted[side]), 100)):
                differ.append(f"{exchange} {raw_symbol}: {side} {got[side][:2]} {wanted[side][:2]}")
    return differ


async def soak(minutes: float, rate: float, faults: str, ids: list[str], directory: Path) -> int:
    """Run both for a while, then judge; the number of things that are wrong."""
    control, feed, config = directory / "control.sock", directory / "feed.sock", directory / "daemon.toml"
    aggregator = [sys.executable, "-m", "aggregator"]
    sandbox = await asyncio.create_subprocess_exec(
        *aggregator, "sandbox", "--simulate", ",".join(ids), "--port", "0", "--rate", str(rate), "--faults", faults,
        "--control", str(control), "--fault-log", str(directory / "faults.ndjson"), "--config-out", str(config),
        stderr=(directory / "sandbox.log").open("wb"),
    )  # fmt: skip
    while not config.exists() or not control.exists():
        await asyncio.sleep(0.1)
    sinks = f'[[sinks]]\ntype = "files"\npath = "{directory}/out"\nrotate_bytes = "64MB"\n\n[[sinks]]\ntype = "feed"\npath = "{feed}"\n'
    text = config.read_text().replace('[[sinks]]\ntype = "stdout"\n', sinks)
    text = text.replace("[[exchanges]]\n", "[[exchanges]]\naudit = 5\n")
    config.write_text(f'state = "{directory}/state"\n' + text)
    daemon = await asyncio.create_subprocess_exec(
        *aggregator, "run", "--config", str(config), stderr=(directory / "daemon.log").open("wb")
    )
    start, marks = time.time(), []
    while time.time() - start < minutes * 60 and daemon.returncode is None:
        await asyncio.sleep(5)
        marks.append((time.time() - start, memory(daemon.pid)))
        print(f"\r{marks[-1][0]:5.0f} s  {marks[-1][1]:6.1f} MB", end="", file=sys.stderr)
    await ask(control, op="fault_off")
    await asyncio.sleep(70)  # what is half open or backing off comes back
    await ask(control, op="pause")
    await asyncio.sleep(3)
    stats = await ask(control, op="stats")
    symbols = {(exchange, name) for exchange, books in (await ask(control, op="books")).items() for name in books}
    differ = await books_differ(feed, control, symbols)
    stopping = time.time()
    daemon.send_signal(signal.SIGTERM)
    code = await daemon.wait()
    took = time.time() - stopping
    sandbox.send_signal(signal.SIGTERM)
    await sandbox.wait()
    log = [json.loads(line) for line in (directory / "faults.ndjson").read_text().splitlines()]
    gaps = {(gap["gap_id"], gap["phase"]): gap for gap in records_of(directory / "out", b'"type":"gap"')}
    bare, odd = tally(log, list(gaps.values()))
    audits = records_of(directory / "out", b'"reason":"audit')
    wrong = [audit for audit in audits if "are not the exchange's" in audit["reason"]]
    errors = [
        line
        for line in (directory / "daemon.log").read_text().splitlines()
        if "Traceback" in line or "of our own" in line
    ]
    settled = [mb for at, mb in marks if at > 60]
    print(
        "memory after the first minute", f"{settled[0]:.1f} MB, at the end {settled[-1]:.1f} MB" if settled else marks
    )
    print("audits", len(audits), "of which found a difference", len(wrong))
    print("books that differ", differ or "none", f"({len(symbols)} compared)")
    print("errors of our own", len(errors), "· exit code", code, f"in {took:.1f} s · faults", stats["faults"])
    return bare + odd + len(wrong) + len(differ) + len(errors) + (code != 0)


def main() -> None:
    """Parse the command line, run, and leave with 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=5000)
    parser.add_argument("--faults", default=FAULTS)
    parser.add_argument("--exchanges", default=",".join(simulated_ids()))
    parser.add_argument("--keep", type=Path, help="use this directory, and leave it")
    asked = parser.parse_args()
    directory = asked.keep or Path(tempfile.mkdtemp(prefix="soak-"))
    directory.mkdir(parents=True, exist_ok=True)
    print("in", directory, file=sys.stderr)
    wrong = asyncio.run(soak(asked.minutes, asked.rate, asked.faults, asked.exchanges.split(","), directory))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
