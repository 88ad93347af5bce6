"""The journal: the cost of writing a record, and how fast the past is read; docs/performance.md says how to read it.

It makes a journal of records over many topics, as fast as it can, whose times are spread over `--hours`. Then it reads
that anew: one topic from an hour before the end, and all topics from the beginning, once with what the system keeps of
the files in memory and once without. Where two figures stand, the first is by the clock, and the second too, but
without the time in which other programs had the processor.
"""

import argparse
import asyncio
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aggregator.bus.bus import Batch, Bus
from aggregator.bus.history import Cursor, Start, Stretch
from aggregator.bus.selection import Selection, parse_pattern
from aggregator.records import SECOND_NS, Record, Trade
from aggregator.sinks.directory import lock_directory
from aggregator.sinks.journal.journal import Journal
from aggregator.sinks.journal.settings import JournalSettings
from aggregator.sinks.sink import LOCAL, Context
from aggregator.sinks.worker import Worker
from bench.measure import table

EPOCH = "20260102T030405.000000Z"
END_NS = 1_767_330_000 * SECOND_NS
TOGETHER = 25  # records of one publishing
AT_ONCE = 4000  # records between two turns of the thread that writes
HEAD = ("", "figure")


class InTurn(Worker):
    """A thread's calls, done in this one when they are asked for."""

    def __init__(self, _name: str) -> None:
        self.calls: list[Callable[[], object]] = []

    def put(self, call: Callable[[], object]) -> None:
        self.calls.append(call)

    def work(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()

    async def do(self, call: Callable[[], Any]) -> Any:
        self.work()
        return call()

    def stop(self) -> None:
        pass


def opened(path: Path, bus: Bus, workers: dict[str, InTurn]) -> Journal:
    settings = JournalSettings(path=path, keep_bytes=1 << 50, keep=3e9)

    def worker(name: str) -> InTurn:
        return workers.setdefault(name, InTurn(name))

    context = Context("journal", bus, time.time_ns, LOCAL)
    return Journal(settings, context, lock_directory(path), worker=worker, gather_s=0.0)


def made(count: int, topics: int, hours: float) -> Callable[[int], list[Record]]:
    """Records like those of trades; half of the topics have a tenth of them."""
    chance = random.Random(1)
    symbols = [f"COIN{number}/USDT" for number in range(topics)]
    weights = [9.0 if number % 2 else 1.0 for number in range(topics)]
    chosen = chance.choices(symbols, weights, k=1 << 16)
    step = round(hours * 3600 * SECOND_NS / count)
    start = END_NS - count * step

    def records(first: int) -> list[Record]:
        return [
            Trade(
                exchange="binance",
                symbol=chosen[(number * 40503) & 0xFFFF],
                raw_symbol=chosen[(number * 40503) & 0xFFFF].replace("/", ""),
                ts_event=start + number * step - 5_000_000,
                ts_recv=start + number * step,
                conn="binance/2#17",
                source="ws",
                id=str(3_000_000_000 + number),
                price=f"{20000 + number % 977}.{number % 100:02}",
                size=f"0.{number * 7919 % 100000:05}",
                side="buy" if number % 3 else "sell",
            )
            for number in range(first, first + TOGETHER)
        ]

    return records


async def write(path: Path, count: int, topics: int, hours: float) -> list[tuple[str, str]]:
    """Make the journal; the cost of a record on the loop, in the thread that writes, and in the one that closes."""
    bus = Bus(EPOCH)
    workers: dict[str, InTurn] = {}
    journal = opened(path, bus, workers)
    await journal.begin_life()
    published: list[Batch] = []
    bus.attach(published.append)
    bus.attach(journal.write)
    records = made(count, topics, hours)
    spent = {"loop": 0.0, "encode": 0.0, "journal-write": 0.0, "journal-close": 0.0}
    without = Bus(EPOCH)
    before: list[Batch] = []
    without.attach(before.append)
    bare = 0.0
    size = 0
    for start in range(0, count, AT_ONCE):
        batches = [records(first) for first in range(start, start + AT_ONCE, TOGETHER)]
        begun = time.process_time()
        for batch in batches:
            without.publish(batch)
        before.clear()
        bare += time.process_time() - begun
        begun = time.process_time()
        for batch in batches:
            bus.publish(batch)
        spent["loop"] += time.process_time() - begun
        begun = time.process_time()
        size = sum([len(batch.blob) for batch in published])
        published.clear()
        spent["encode"] += time.process_time() - begun
        for name in ("journal-write", "journal-close"):
            begun = time.process_time()
            workers[name].work()
            spent[name] += time.process_time() - begun
    await journal.close()
    rows = [
        ("records, topics", f"{count:,}, {topics:,}"),
        ("on the loop, µs a record", f"{(spent['loop'] - bare) / count * 1e6:.3f}"),
        ("lines, where nobody else has them made, µs a record", f"{spent['encode'] / count * 1e6:.3f}"),
        ("the thread that writes, µs a record", f"{spent['journal-write'] / count * 1e6:.3f}"),
        ("the thread that closes, µs a record", f"{spent['journal-close'] / count * 1e6:.3f}"),
    ]
    on_disk = sum(file.stat().st_size for file in path.iterdir())  # noqa: ASYNC240 - nobody waits
    rows.append(("bytes of a line, and of it on disk", f"{size / AT_ONCE:.0f}, {on_disk / count:.1f}"))
    return rows


class Elapsed:
    """The time since it was made: by the clock, of the processor, and by the clock but for waiting for a processor.

    The last is what the clock would show on a core of one's own, where the system tells how long that wait was.
    """

    def __init__(self) -> None:
        self._begun = _now()

    def seconds(self) -> tuple[float, float, float]:
        clock, cpu, waited = (now - then for now, then in zip(_now(), self._begun, strict=True))
        return clock, cpu, clock - waited


def _now() -> tuple[float, float, float]:
    return time.perf_counter(), time.process_time(), _waited()


def _waited() -> float:
    """The seconds that this thread was ready and had no processor; 0 where the system does not tell."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def forget(path: Path) -> None:
    """Have the system keep nothing of the files in memory."""
    for file in path.iterdir():
        fd = os.open(file, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


async def read(path: Path, *, is_cold: bool) -> list[tuple[str, str]]:
    if is_cold:
        forget(path)
    said = "cold" if is_cold else "warm"
    rows: list[tuple[str, str]] = []
    workers: dict[str, InTurn] = {}
    begun = Elapsed()
    journal = opened(path, Bus("20270101T000000.000000Z"), workers)
    await journal.begin_life()
    clock, _, alone = begun.seconds()
    rows.append((f"{said}: taken up at a start, ms", f"{clock * 1e3:.0f}, {alone * 1e3:.0f}"))
    workers["journal-close"].work()
    one = Selection([parse_pattern("trades:*:COIN7/USDT")])
    begun = Elapsed()
    cursor, _ = await journal.begin(Start(ts=END_NS - 3600 * SECOND_NS))
    stretch = await _next(journal, cursor, one)
    clock, _, alone = begun.seconds()
    rows.append((f"{said}: one topic from an hour back, first record, ms", f"{clock * 1e3:.1f}, {alone * 1e3:.1f}"))
    found, _ = await _all(journal, stretch.cursor, one)
    found += len(stretch.lines)
    clock, _, alone = begun.seconds()
    rows.append((f"{said}: all {found:,} records of it, s", f"{clock:.2f}, {alone:.2f}"))
    if is_cold:
        forget(path)
    earliest, _ = await journal.begin("earliest")
    begun = Elapsed()
    found, size = await _all(journal, earliest, Selection([parse_pattern("*:*:*")]))
    clock, cpu, alone = begun.seconds()
    rows.append((f"{said}: all topics, records a second", f"{found / clock:,.0f}, {found / alone:,.0f}"))
    rows.append((f"{said}: all topics, MB of lines a second", f"{size / clock / 1e6:.0f}, {size / alone / 1e6:.0f}"))
    rows.append((f"{said}: all topics, records a second of processor time", f"{found / cpu:,.0f}"))
    await journal.close()
    return rows


async def _next(journal: Journal, cursor: Cursor, wanted: Selection) -> Stretch:
    while True:
        stretch: Stretch = await journal.read(cursor, wanted, lambda found: found)
        if stretch.lines or stretch.is_end:
            return stretch
        cursor = stretch.cursor


async def _all(journal: Journal, cursor: Cursor, wanted: Selection) -> tuple[int, int]:
    """Every record as the feed would give it, in bytes; how many, and how long they are."""
    count = size = 0
    while True:
        found, length, stretch = await journal.read(
            cursor, wanted, lambda found: (len(found.lines), len(b"".join(found.lines)), found)
        )
        count, size, cursor = count + found, size + length, stretch.cursor
        if stretch.is_end:
            return count, size


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--topics", type=int, default=2000)
    parser.add_argument("--hours", type=float, default=1.5, help="that the records' times are spread over")
    parser.add_argument("--path", type=Path, help="where to make the journal; by default on a disk of its own time")
    arguments = parser.parse_args()
    path = arguments.path or Path(tempfile.mkdtemp(prefix="journal-"))
    try:
        count = -(-arguments.records // AT_ONCE) * AT_ONCE
        rows = await write(path, count, arguments.topics, arguments.hours)
        for is_cold in (False, True):
            rows += await read(path, is_cold=is_cold)
    finally:
        if arguments.path is None:
            shutil.rmtree(path)
    table("The journal", HEAD, rows)


if __name__ == "__main__":
    asyncio.run(main())
