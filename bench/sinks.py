"""A bad sink beside a good one: how much later the good one has its records; docs/performance.md says how to read it.

Both are in the frame of every sink, on one bus. The good one only notes how long after their publishing its records
came. Each bad one does one thing wrong; all take turns with no bad one at all, so that a ratio is of the same minute.

With `--spill` the other one loses nothing: it hangs for `--seconds`, while a journal keeps what its queue cannot, and
then gets all of it. Whether that came in order and once is looked at, and how much memory it took.
"""

import argparse
import asyncio
import logging
import os
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from aggregator.bus.bus import Bus
from aggregator.records import Trade
from aggregator.sinks.journal.sink import SINK as JOURNAL
from aggregator.sinks.running import running
from aggregator.sinks.sink import Batch, Context, Delivery, Refused, Retry, Sink, Writer
from bench.measure import table

RATE = 20_000  # records a second
TOGETHER = 20  # records of one publishing
SPILL_RATE = 5000  # records a second, beside a sink that spills
SPILL_BYTES = 16_000_000  # the memory that its queue may take
REFUSED = 100  # one record of so many
QUEUE = 20_000  # records; a sink that hangs has lost some after a second
HEAD = ("the other sink", "p50 ms", "p99 ms", "p99 ratio", "written by it", "refused", "dropped")

SPILL_HEAD = (
    "the sink that spills",
    "s",
    "p50 ms",
    "p99 ms",
    "p99 ratio",
    "µs a record",
    "held MB",
    "spilled",
    "RSS MB",
)

Write = Callable[[Batch], Awaitable[None]]


class Nothing(Struct, frozen=True):
    """A sink without keys."""


class Found(Struct):
    """One turn: what the good sink waited, ms, and what the bad one says of itself."""

    p50: float
    p99: float
    counts: tuple[int, int, int]


async def hangs(batch: Batch) -> None:  # noqa: ARG001 - as every write
    """Never answer."""
    await asyncio.Event().wait()


async def raises(batch: Batch) -> None:  # noqa: ARG001
    """Fail every other time, in one of three ways."""
    if random.random() < 0.5:
        raise random.choice([OSError(104, "Connection reset by peer"), ValueError("no"), Retry("busy", 0.01)])


async def refuses(batch: Batch) -> None:
    """Take all but one record of a hundred."""
    if which := [at for at, record in enumerate(batch.records) if record.offset % REFUSED == 0]:
        raise Refused("not this one", which)


async def is_full(batch: Batch) -> None:  # noqa: ARG001
    """Have no room on the disk."""
    raise OSError(28, "No space left on device")


BAD: dict[str, Write | None] = {
    "none": None, "hangs": hangs, "raises at random": raises, "refuses 1 %": refuses, "disk full": is_full,
}  # fmt: skip


def sink_of(name: str, write: Write, **keys: Any) -> Sink:
    """A sink that does this with each batch; `keys` are of its delivery."""

    class Doing(Writer):
        async def write(self, batch: Batch) -> None:
            await write(batch)

    async def opened(settings: Nothing, context: Context) -> Writer:  # noqa: ARG001
        return Doing()

    delivery = Delivery(queue=QUEUE, batch_records=500, batch_age=0.005, backoff=0.05, longest_backoff=1.0)
    return Sink(name, Nothing, opened, delivery=structs.replace(delivery, **keys))


async def turn(bad: Write | None, seconds: float) -> Found:
    """Publish for so long to the good sink, and to the bad one where there is one."""
    bus, waits = Bus("bench"), list[float]()

    async def note(batch: Batch) -> None:
        now = time.perf_counter_ns()
        waits.extend((now - record.ts_recv) / 1e6 for record in batch.records)

    with tempfile.TemporaryDirectory() as home:
        sinks = [running(sink_of("good", note).configured(), bus)]
        if bad is not None:
            sinks.append(running(sink_of("bad", bad).configured(), bus, dead=Path(home)))
        for sink in sinks:
            await sink.start()
        due = started = time.perf_counter()
        while due - started < seconds:
            now = time.perf_counter_ns()
            bus.publish([
                Trade(exchange="x", symbol=f"A{at}/B", raw_symbol=f"A{at}B", price="1.5", size="2", ts_recv=now)
                for at in range(TOGETHER)
            ])  # fmt: skip
            due += TOGETHER / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        said = sinks[-1].status()
        for sink in sinks:
            await sink.abandon()
    cuts = statistics.quantiles(waits, n=100)
    return Found(cuts[49], cuts[98], (said.written, said.refused, said.dropped))


async def compare(seconds: float, rounds: int) -> list[list[object]]:
    """The rows of the table: medians over the rounds, each ratio of one round."""
    found: dict[str, list[Found]] = {name: [] for name in BAD}
    for _ in range(rounds):
        for name, bad in BAD.items():
            found[name].append(await turn(bad, seconds))
    rows: list[list[object]] = []
    for name, turns in found.items():
        ratio = statistics.median(one.p99 / base.p99 for one, base in zip(turns, found["none"], strict=True))
        p50, p99 = (statistics.median(values) for values in ([t.p50 for t in turns], [t.p99 for t in turns]))
        rows.append([name, p50, p99, f"{ratio:.2f}", *(turns[-1].counts if BAD[name] else ("-", "-", "-"))])
    return rows


class Target:
    """The far end of the sink that spills: it hangs, or takes records and looks whether each comes in its turn."""

    def __init__(self) -> None:
        self.is_there = asyncio.Event()
        self.is_there.set()
        self.last = 0
        self.wrong = 0

    async def __call__(self, batch: Batch) -> None:
        await self.is_there.wait()
        for record in batch.records:
            self.wrong += record.offset != self.last + 1
            self.last = record.offset


async def outage(seconds: float, home: Path) -> None:
    """Publish before, while and after the target hangs, and print what the good sink waited."""
    bus, waits, target = Bus("20260102T030405.000000Z"), list[float](), Target()

    async def note(batch: Batch) -> None:
        now = time.perf_counter_ns()
        waits.extend((now - record.ts_recv) / 1e6 for record in batch.records)

    spilling = sink_of("spilling", target, queue=1_000_000, queue_bytes=SPILL_BYTES, when_full="spill")
    journal = running(JOURNAL.configured(path=home / "journal"), bus)
    await journal.start()
    good = running(sink_of("good", note).configured(), bus)
    sink = running(spilling.configured(), bus, places=home / "places")
    for each in (good, sink):
        await each.start()
    rows, begun = list[list[object]](), 0.0

    async def phase(name: str, until: Callable[[], bool]) -> None:
        nonlocal begun
        waits.clear()
        most, spilled = 0, 0
        begun = due = time.perf_counter()
        first, spent = bus.offset, time.process_time()
        while not until():
            now = time.perf_counter_ns()
            bus.publish([
                Trade(exchange="x", symbol=f"A{at}/B", raw_symbol=f"A{at}B", price="1.5", size="2", ts_recv=now)
                for at in range(TOGETHER)
            ])  # fmt: skip
            said = sink.status()
            most, spilled = max(most, said.held_bytes), max(spilled, said.spilled)
            due += TOGETHER / SPILL_RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        cuts = statistics.quantiles(waits, n=100)
        ratio = f"{cuts[98] / float(str(rows[0][3])):.2f}" if rows else "1"
        took, spent = time.perf_counter() - begun, time.process_time() - spent
        each = spent / (bus.offset - first) * 1e6
        rows.append([name, took, cuts[49], cuts[98], ratio, each, most / 1e6, f"{spilled:,}", resident() / 1e6])

    def over(span: float) -> Callable[[], bool]:
        end = time.perf_counter() + span
        return lambda: time.perf_counter() > end

    await phase("keeps up", over(seconds / 4))
    target.is_there.clear()
    await phase("hangs", over(seconds))
    target.is_there.set()
    await phase("catches up", lambda: not sink.status().spilled)
    await phase("keeps up again", over(seconds / 4))
    for each in (sink, good, journal):
        each.end()
        assert each.task is not None  # noqa: S101 - for the type checker
        await each.task
    table(f"a sink that spills, {SPILL_RATE:,} records a second, {SPILL_BYTES // 10**6} MB", SPILL_HEAD, rows)
    is_whole = target.last == bus.offset and not target.wrong
    print(f"{bus.offset:,} records, {'each once and in order' if is_whole else f'{target.wrong} out of order'}")


def resident() -> int:
    """The memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.sinks", description=__doc__)
    parser.add_argument("--seconds", type=float, help="of each turn, or that the target of a sink that spills hangs")
    parser.add_argument("--spill", action="store_true", help="measure a sink that spills")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    logging.getLogger("aggregator").setLevel(logging.CRITICAL)  # what is wrong is wanted
    if options.spill:
        with tempfile.TemporaryDirectory() as home:
            asyncio.run(outage(options.seconds or 60.0, Path(home)))
        return
    rows = asyncio.run(compare(options.seconds or 3.0, options.rounds))
    table(f"a good sink beside a bad one, {RATE:,} records a second", HEAD, rows)


if __name__ == "__main__":
    main()
