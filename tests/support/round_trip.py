"""Records of every type, written by the `parquet` sink and read back by each reader that people use.

`python -m tests.support.round_trip --records 1000000` takes so many of each type. Every cell must come back to the
digit and the nanosecond, over files of three days, and a price times a size must be what it is in Python. A reader
whose library is not installed is left out, and named.
"""

import argparse
import asyncio
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, structs

from aggregator.bus.bus import Bus
from aggregator.records import RECORD_TYPES, Record
from aggregator.research import Recording
from aggregator.sinks.parquet import SINK
from aggregator.sinks.running import running
from aggregator.tables.columns import EPOCH, MISFITS, TEXT, Column, columns, is_number, tag
from aggregator.tables.tree import DAY_NS
from tests.support.any_records import Some
from tests.support.cases import memory, say
from tests.support.written import FIRST, NOON

PORTION = 50_000  # records of a type that are written and read at once
TOGETHER = 5000  # records that are published at once
DAYS = 3
PRODUCT = "product"

Read = Callable[[type[Record], Path], Any]  # gives a table of pyarrow with all columns, and perhaps others besides


# --- what is expected, made without anything of ours that makes tables


def expected(kind: type[Record], records: Sequence[Record]) -> Any:
    """The table that a reader must give: times as integers, words as texts."""
    pa = import_module("pyarrow")
    cells: dict[str, Any] = {EPOCH: pa.array([FIRST] * len(records), pa.string())}
    for column in columns(kind)[1:]:
        values = [getattr(record, column.name) for record in records]
        if column.kind == "number":
            cells[column.name + TEXT] = pa.array(values, pa.string())
        cells[column.name] = pa.array([plain(column, value) for value in values], form(column))
    cells[MISFITS] = pa.nulls(len(records), pa.string())
    if has_product(kind):
        cells[PRODUCT] = pa.array([product(record) for record in records], pa.float64())
    return pa.table(dict(sorted(cells.items())))


def plain(column: Column, value: Any) -> Any:
    """A cell as Python has it."""
    if column.kind == "words":
        return [] if value is UNSET else list(value)
    if value is None:
        return None
    if column.kind == "number":
        return double(value)
    if column.kind == "json":
        return msgspec.json.encode(value).decode()
    if column.kind == "rows":
        return [dict(cells(column.parts, row)) for row in value]
    return value


def cells(parts: Sequence[Column], row: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for part, value in zip(parts, row, strict=True):
        yield part.name, plain(part, value)
        if part.kind == "number":
            yield part.name + TEXT, value


def double(text: str) -> float | None:
    found = float(text) if is_number(text) else math.inf
    return None if math.isinf(found) else found


def product(record: Any) -> float | None:
    factors = [None if text is None else double(text) for text in (record.price, record.size)]
    return None if None in factors else math.prod(factor for factor in factors if factor is not None)


def has_product(kind: type[Record]) -> bool:
    return {"price", "size"} <= {column.name for column in columns(kind) if column.kind == "number"}


def form(column: Column) -> Any:
    pa = import_module("pyarrow")
    if column.kind == "rows":
        doubled = [(part.name + TEXT, pa.string()) for part in column.parts if part.kind == "number"]
        return pa.list_(pa.struct([*((part.name, form(part)) for part in column.parts), *doubled]))
    forms = {
        "words": pa.list_(pa.string()), "number": pa.float64(), "measure": pa.float64(), "flag": pa.bool_(),
        "time": pa.int64(), "count": pa.int64(),
    }  # fmt: skip
    return forms.get(column.kind, pa.string())


# --- the readers


def files(kind: type[Record], root: Path) -> str:
    return f"{root}/type={tag(kind)}/**/*.parquet"


def by_pyarrow(kind: type[Record], root: Path) -> Any:
    dataset = import_module("pyarrow.dataset").dataset(root / f"type={tag(kind)}", format="parquet")
    table = dataset.to_table()
    if has_product(kind):
        value = import_module("pyarrow.compute").multiply(table["price"], table["size"])
        table = table.append_column(PRODUCT, value)
    return table


def by_duckdb(kind: type[Record], root: Path) -> Any:
    more = f", price * size AS {PRODUCT}" if has_product(kind) else ""
    with import_module("duckdb").connect() as database:
        return database.sql(f"SELECT *{more} FROM read_parquet('{files(kind, root)}')").to_arrow_table()  # noqa: S608


def by_polars(kind: type[Record], root: Path) -> Any:
    polars = import_module("polars")
    frame = polars.read_parquet(files(kind, root), hive_partitioning=False)
    if has_product(kind):
        frame = frame.with_columns((polars.col("price") * polars.col("size")).alias(PRODUCT))
    return frame.to_arrow()


def by_pandas(kind: type[Record], root: Path) -> Any:
    frame = import_module("pandas").read_parquet(root / f"type={tag(kind)}", dtype_backend="pyarrow")
    if has_product(kind):
        frame[PRODUCT] = frame["price"] * frame["size"]
    return import_module("pyarrow").Table.from_pandas(frame, preserve_index=False)


def by_clickhouse(kind: type[Record], root: Path) -> Any:
    more = f", price * size AS {PRODUCT}" if has_product(kind) else ""
    query = f"SELECT *{more} FROM file('{files(kind, root)}', Parquet)"  # noqa: S608
    told = import_module("chdb").query(query, "Arrow").bytes()
    return import_module("pyarrow.ipc").open_file(told).read_all()


READERS: dict[str, tuple[str, Read]] = {  # each with its module
    "pyarrow": ("pyarrow", by_pyarrow),
    "DuckDB": ("duckdb", by_duckdb),
    "polars": ("polars", by_polars),
    "pandas": ("pandas", by_pandas),
    "ClickHouse": ("chdb", by_clickhouse),
}


def readers() -> dict[str, Read]:
    """Those that are installed."""
    found = {}
    for name, (module, read) in READERS.items():
        with suppress(ImportError):
            import_module(module)
            found[name] = read
    return found


# --- the round trip


def made(kind: type[Record], count: int, seed: int) -> list[Record]:
    """Records of a type, in the order of their arrival over some days."""
    records = Some(seed).records(kind, count)
    for number, record in enumerate(records):
        record.ts_recv = NOON + number * (DAYS * DAY_NS // count) + number % 1000
    return records


async def write(records: Sequence[Record], root: Path) -> None:
    """Have the sink write them; they get their offsets."""
    bus = Bus(FIRST)
    sink = running(SINK.configured(path=root), bus)
    await sink.start()
    for start in range(0, len(records), TOGETHER):
        bus.publish(list(records[start : start + TOGETHER]))
        await sink.room()
    sink.end()
    assert sink.task is not None
    await sink.task
    assert sink.status().written == len(records)


def differences(table: Any, wanted: Any, kind: type[Record]) -> list[str]:
    """The columns that are not as they should be."""
    pa, found = import_module("pyarrow"), []
    if len(table) != len(wanted):
        return [f"{len(table)} rows for {len(wanted)}"]
    table = table.take(import_module("pyarrow.compute").sort_indices(table["offset"]))
    times = {column.name for column in columns(kind) if column.kind == "time"}
    for name in wanted.column_names:
        column = table[name].combine_chunks()
        if name in times and not (pa.types.is_timestamp(column.type) and column.type.unit == "ns" and column.type.tz):
            found.append(f"{name} is {column.type}")
        elif not same(column, wanted[name].combine_chunks()):
            found.append(name)
    return found


def same(column: Any, wanted: Any) -> bool:
    """Tell whether a column holds what is wanted, whichever of Arrow's forms its texts and lists have."""
    pa = import_module("pyarrow")
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays([pa.array([], column.type), *column.chunks])
    if pa.types.is_list(wanted.type) and pa.types.is_struct(wanted.type.value_type):
        names = [field.name for field in wanted.type.value_type]
        rows, of_wanted = column.flatten(), wanted.flatten()
        sizes = [import_module("pyarrow.compute").list_value_length(each).cast(pa.int64()) for each in (column, wanted)]
        return bool(sizes[0].equals(sizes[1])) and all(same(rows.field(name), of_wanted.field(name)) for name in names)
    return bool(column.cast(wanted.type).equals(wanted))


def round_trip(kind: type[Record], count: int, seed: int, root: Path, by: dict[str, Read]) -> dict[str, list[str]]:
    """Write so many records of a type below a directory, and read them; what each reader has got wrong."""
    records = made(kind, count, seed)
    asyncio.run(write(records, root))
    wrong = {"ours": ours(kind, records, root)}
    wanted = expected(kind, records)
    for name, read in by.items():
        wrong[name] = differences(read(kind, root), wanted, kind)
    return wrong


def ours(kind: type[Record], records: Sequence[Record], root: Path) -> list[str]:
    read = list(Recording(root).table(tag(kind)).records())
    if read == records:
        return []
    pairs = zip(read, records, strict=False)
    fields = {f.name for a, b in pairs for f in structs.fields(kind) if getattr(a, f.name) != getattr(b, f.name)}
    return [f"{len(read)} records for {len(records)}", *sorted(fields)]


def main() -> None:
    """Do it, and say what came of it; exits with 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="of each type")
    parser.add_argument("--types", help="only these, separated by commas")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    by, is_wrong, begun = readers(), False, time.monotonic()
    missing = ", ".join(set(READERS) - set(by)) or "none"
    say(f"seed {given.seed}; readers: ours, {', '.join(by)}; not installed: {missing}")
    for kind in RECORD_TYPES:
        if given.types and tag(kind) not in given.types.split(","):
            continue
        wrong: dict[str, set[str]] = {}
        for start in range(0, given.records, PORTION):
            with tempfile.TemporaryDirectory(dir=memory()) as root:
                count = min(PORTION, given.records - start)
                for name, found in round_trip(kind, count, given.seed + start, Path(root), by).items():
                    wrong.setdefault(name, set()).update(found)
        told = "; ".join(f"{name}: {', '.join(sorted(each))}" for name, each in wrong.items() if each)
        is_wrong = is_wrong or bool(told)
        say(f"{tag(kind)}: {given.records} records: {told or 'equal'} ({time.monotonic() - begun:.0f} s)")
    raise SystemExit(is_wrong)


if __name__ == "__main__":
    os.environ.setdefault("TZ", "Asia/Tokyo")  # times are the same wherever somebody looks
    main()
