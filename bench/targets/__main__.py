"""How fast each sink that speaks to a server is, beside its client library alone: `python -m bench.targets [NAME ...]`.

Both write the same batches to the same server on loopback, in turn, and wait until it has confirmed them; the sink's
records go through bus and frame, where they are queued, gathered and counted. Either encodes them, as it must.
`docs/sinks/NAME.md` has the figures.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import uvloop
from msgspec import Struct, structs

from aggregator.bus.bus import Batch, Bus
from aggregator.records import Record, Trade
from aggregator.sinks.running import running
from bench.measure import table
from bench.targets.target import Mode, Target

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in {"__init__", "__main__", "target"})
SYMBOLS = [f"S{number}/USDT" for number in range(50)]
SETTLE_S = 0.1  # from when a client stands, until a subscriber of it, where there is one, has connected to it
HEAD = ("sink", "mode", "records/s", "client alone", "share", "range", "µs of processor", "client alone")


def trade(number: int) -> Record:
    """A trade, whose line has 290 bytes or so."""
    return Trade(
        exchange="x",
        symbol=SYMBOLS[number % len(SYMBOLS)],
        raw_symbol=SYMBOLS[number % len(SYMBOLS)].replace("/", ""),
        ts_event=1_795_000_000_000_000_777 + number,
        ts_recv=1_795_000_000_001_000_777 + number,
        offset=number + 1,
        conn="x/1#1",
        source="ws",
        sequence=number,
        id=str(number),
        price="60424.45",
        size=f"0.{number % 10**8:08}",
        side="buy",
        base_size=f"0.{number % 10**8:08}",
    )


def batches(count: int, size: int, record: Callable[[int], Record] = trade) -> list[Batch]:
    """So many records, in batches of so many."""
    found = []
    for start in range(0, count, size):
        batch = Batch([record(number) for number in range(start, min(start + size, count))], "e")
        assert batch.lines  # noqa: S101 - they are encoded now
        found.append(batch)
    return found


class Pace(Struct, frozen=True):
    """How fast it went: records a second, and µs of processor time a record."""

    rate: float
    cost: float


class Watch:
    """What time has passed since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def pace(self, count: int) -> Pace:
        """The pace of so many records since then."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Pace(count / wall, cpu * 1e6 / count)


async def with_sink(target: Target, mode: Mode, port: int, todo: list[Batch], epoch: str) -> Pace:
    """Write through the sink."""
    bus = Bus(epoch)
    keys = structs.replace(target.sink.defaults, queue=100_000_000, queue_bytes=1 << 40, batch_records=len(todo[0]))
    sink = running(target.sink.configured(keys, **mode.settings(port)), bus)
    await sink.start()
    await asyncio.sleep(SETTLE_S)
    watch = Watch()
    for batch in todo:
        bus.publish(list(batch.records))
        await asyncio.sleep(0)
    sink.end()
    assert sink.task is not None  # noqa: S101
    await sink.task
    pace = watch.pace(sum(map(len, todo)))
    status = sink.status()
    written = sum(map(len, todo))
    if status.written != written:
        raise SystemExit(f"{target.sink.name}: {status.written} of {written} records were written: {status}")
    return pace


async def alone(mode: Mode, port: int, todo: list[Batch]) -> Pace:
    """Write by the client library alone; what it has not sent by then it sends as it is closed, as a sink does."""
    async with mode.alone(port) as send:
        await asyncio.sleep(SETTLE_S)
        watch = Watch()
        for batch in todo:
            await send(Batch(list(batch.records), batch.epoch))
    return watch.pace(sum(map(len, todo)))


def measured(target: Target, name: str, mode: Mode, count: int, size: int, rounds: int) -> tuple[str, ...]:
    """One line of the table: each round has a server of its own for either."""
    ours: list[Pace] = []
    theirs: list[Pace] = []
    for number in range(rounds):
        for who in (ours, theirs) if number % 2 else (theirs, ours):
            with tempfile.TemporaryDirectory(prefix="targets-") as folder:
                server = target.server(Path(folder) / "server")
                server.start()
                try:
                    todo = batches(count, size, target.record or trade)
                    if who is ours:
                        who.append(uvloop.run(with_sink(target, mode, server.port, todo, f"e{number}")))
                    else:
                        who.append(uvloop.run(alone(mode, server.port, todo)))
                finally:
                    server.kill()
    shares = [one.rate / other.rate for one, other in zip(ours, theirs, strict=True)]
    slow = " (slow)" if mode.is_slow else ""
    return (
        target.sink.name,
        f"{name}{slow}",
        f"{statistics.median([pace.rate for pace in ours]):,.0f}",
        f"{statistics.median([pace.rate for pace in theirs]):,.0f}",
        f"{statistics.median(shares):.2f}",
        f"{min(shares):.2f} to {max(shares):.2f}",
        f"{statistics.median([pace.cost for pace in ours]):.1f}",
        f"{statistics.median([pace.cost for pace in theirs]):.1f}",
    )


def main() -> None:
    """Parse the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; by default all")
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--batch", type=int, help="records of a batch (default: as many as the sink takes at once)")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    rows = []
    for name in asked.names or NAMES:
        target: Target = import_module(f"bench.targets.{name}").TARGET
        size = asked.batch or target.sink.defaults.batch_records
        for mode, how in target.modes.items():
            count = asked.records // 10 if how.is_slow else asked.records
            rows.append(measured(target, mode, how, count, size, asked.rounds))
    table("sinks beside their client libraries", HEAD, rows)


if __name__ == "__main__":
    main()
