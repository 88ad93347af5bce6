"""Lines to Parquet on one core, beside pyarrow alone on the same records: `python -m bench.parquet`.

The time of the processor is measured, so that a busy machine tells the same. `convert` is everything: lines read and
decoded, columns, files. `the sink` is everything from the bus on: its queue, which weighs the records' lines, columns,
files. The others are the library alone: writing the very batches that `convert` made, and reading the lines by its own
reader, which knows no header, no gap and no number.
"""

import argparse
import asyncio
import random
import tempfile
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any

import msgspec
from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.records import SCHEMA, Record, Trade
from aggregator.research.converting import Task, convert_one
from aggregator.research.finding import find_files
from aggregator.sinks.notes import FileHeader
from aggregator.sinks.parquet import SINK
from aggregator.sinks.running import running
from aggregator.tables.arrow import schema, to_batch
from aggregator.tables.clauses import told
from aggregator.tables.columns import columns
from aggregator.tables.parquet import options
from aggregator.tables.tree import BATCH_RECORDS

EPOCH = "20261129T000000.000000Z"
MARKETS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")
GOAL = 150_000  # records a second
SINK_GOAL = 160_000
PUBLISHED = 100  # records at once, as a busy socket gives them
QUEUE = 100_000  # half of it is waited for: the sink is measured, and not how it loses


def trades(count: int) -> list[Record]:
    """Trades of a few markets, as an exchange tells them."""
    chance = random.Random(1)
    ts, found = 1_795_953_600_000_000_777, list[Record]()
    for number in range(count):
        ts += chance.randrange(10**7)
        symbol = chance.choice(MARKETS)
        size = f"{chance.random():.8f}"
        found.append(
            Trade(
                exchange="example",
                symbol=symbol,
                raw_symbol=symbol.replace("/", ""),
                ts_event=ts // 10**6 * 10**6,
                ts_sent=ts // 10**6 * 10**6 + 10**6,
                ts_recv=ts,
                offset=number + 1,
                conn="example/main.1#1",
                source="ws",
                id=str(10**9 + number),
                price=f"{60_000 + chance.random() * 100:.2f}",
                size=size,
                side=chance.choice(("buy", "sell")),
                base_size=size,
            )
        )
    return found


def written(path: Path, records: list[Record]) -> Path:
    """A file of lines as the `files` sink writes it, but for its footer."""
    header = FileHeader(SCHEMA, EPOCH, 0, 1_795_953_600_000_000_000, None, None, None, None, [], [])
    path.write_bytes(header.line() + msgspec.json.Encoder().encode_lines(records))
    return path


def by_pyarrow(path: Path, out: Path) -> None:
    """Read the lines by pyarrow's own reader, make doubles of numbers, and write them."""
    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    reader = import_module("pyarrow.json")
    kinds = {"time": pa.int64(), "count": pa.int64(), "flag": pa.bool_(), "words": pa.list_(pa.string())}
    form = pa.schema([(c.name, kinds.get(c.kind, pa.string())) for c in told(Trade) if c.kind != "json"])
    how = reader.ParseOptions(explicit_schema=form, unexpected_field_behavior="ignore")
    table = reader.read_json(path, reader.ReadOptions(use_threads=False), how)
    for column in columns(Trade):
        if column.kind == "number":
            double = table[column.name].cast(pa.float64())
            table = table.append_column(f"{column.name}_text", table[column.name])
            table = table.set_column(table.schema.get_field_index(column.name), column.name, double)
    parquet.write_table(table, out, compression="zstd", row_group_size=131_072)


async def sink_takes(records: list[Record], out: Path) -> None:
    """Publish records, and wait until they stand in files of the sink."""
    bus = Bus(EPOCH)
    sink = running(SINK.configured(structs.replace(SINK.defaults, queue=QUEUE), path=out / "sink"), bus, dead=out)
    await sink.start()
    for at in range(0, len(records), PUBLISHED):
        bus.publish(records[at : at + PUBLISHED])
        await sink.room()
    sink.end()
    if sink.task is not None:
        await sink.task
    if sink.status().written != len(records):
        raise SystemExit("the sink has not written all")


def main() -> None:
    """Measure, and say it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    pa.set_cpu_count(1)
    records = trades(given.records)
    found: dict[str, float] = {}

    def measure(name: str, what: Any) -> None:
        begun = process_time()
        what()
        found[name] = max(found.get(name, 0.0), given.records / (process_time() - begun))

    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "trades.ndjson", records)
        batches = [
            to_batch(Trade, records[at : at + BATCH_RECORDS], EPOCH) for at in range(0, len(records), BATCH_RECORDS)
        ]
        table = pa.Table.from_batches(batches, schema(Trade))
        (file,) = find_files([path])
        sizes: dict[str, int] = {"lines": path.stat().st_size}
        for number in range(given.rounds):
            out = Path(folder) / str(number)
            out.mkdir()
            (out / ".converted").mkdir()
            measure("convert", lambda out=out: convert_one(Task(file, out, takes_current=True)))
            sizes["convert"] = sum(each.stat().st_size for each in out.rglob("*.parquet"))
            measure("the sink, from the bus to its files", lambda out=out: asyncio.run(sink_takes(records, out)))
            target = Path(folder) / "alone.parquet"
            measure(
                "pyarrow writes the same batches",
                lambda to=target: parquet.write_table(table, to, row_group_size=131_072, **options(Trade)),
            )
            measure("pyarrow reads the lines and writes", lambda to=target: by_pyarrow(path, to))
            sizes["pyarrow reads the lines and writes"] = target.stat().st_size
            measure("records to batches", lambda: [to_batch(Trade, part, EPOCH) for part in _parts(records)])
    print(
        f"{given.records:,} trades of {sizes['lines'] / given.records:.0f} bytes, one core, the best of {given.rounds}"
    )
    for name, rate in found.items():
        size = f", {sizes[name] / given.records:.1f} bytes each" if name in sizes else ""
        print(f"{name:36} {rate:>10,.0f} records/s{size}")
    print("good" if found["convert"] >= GOAL else f"less than {GOAL:,}")
    is_quick = found["the sink, from the bus to its files"] >= SINK_GOAL
    print(f"the sink: {'good' if is_quick else f'less than {SINK_GOAL:,}'}")


def _parts(records: list[Record]) -> list[list[Record]]:
    return [records[at : at + BATCH_RECORDS] for at in range(0, len(records), BATCH_RECORDS)]


if __name__ == "__main__":
    main()
