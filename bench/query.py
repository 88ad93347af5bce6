"""A count by exchange over a recording, by `Database` and by DuckDB alone: `python -m bench.query --records 50000000`.

The same trades stand as lines, a million in a file, and as Parquet, made of these by `convert`. DuckDB alone reads the
lines with the schema that `aggregator schema records --for duckdb trades` prints. Both begin anew each time, as a
command does, and take turns; the time is that of the clock.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import msgspec

from aggregator.records import SCHEMA, Record, Trade
from aggregator.research.converting import Task, convert_one
from aggregator.research.finding import find_files
from aggregator.research.querying import Database
from aggregator.sinks.notes import FileHeader
from aggregator.tables.clauses import clause
from bench.parquet import EPOCH, trades

IN_A_FILE = 1_000_000
EXCHANGES = ("binance", "bybit", "coinbaseexchange", "kraken", "okx")
Count = Callable[[], list[tuple[str, int]]]

ASKED = "SELECT exchange, count(*) FROM {} GROUP BY exchange ORDER BY exchange"


def write(folder: Path, records: list[Record], count: int) -> None:
    """Write files of lines, as the `files` sink does; the same trades stand in each, at later times."""
    encode = msgspec.json.Encoder().encode_lines
    last = records[-1].ts_recv - records[0].ts_recv + 1
    for number, start in enumerate(range(0, count, IN_A_FILE)):
        header = FileHeader(SCHEMA, EPOCH, start, records[0].ts_recv, None, None, None, None, [], [])
        some = records[: count - start]
        with (folder / f"trades.{number:04}.ndjson").open("wb") as file:
            file.write(header.line())
            file.write(encode(some))
        for record in records:
            record.offset += IN_A_FILE
            record.ts_recv += last


def ours(folder: Path) -> list[tuple[str, int]]:
    with Database(folder) as database:
        return [(str(exchange), int(count or 0)) for exchange, count in database.rows(ASKED.format("trades"))[1]]


def alone(reading: str) -> list[tuple[str, int]]:
    with import_module("duckdb").connect() as database:
        found: list[tuple[str, int]] = database.sql(ASKED.format(reading)).fetchall()
        return found


def timed(what: Count) -> tuple[float, list[tuple[str, int]]]:
    begun = time.perf_counter()
    found = what()
    return time.perf_counter() - begun, found


def main() -> None:
    """Measure, and say it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", type=Path, help="for the files, 350 bytes a record (default: a temporary one)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.dir, prefix="query-") as folder:
        lines, tables = Path(folder) / "lines", Path(folder) / "tables"
        lines.mkdir()
        (tables / ".converted").mkdir(parents=True)
        records = trades(min(IN_A_FILE, given.records))
        for at, record in enumerate(records):
            record.exchange = EXCHANGES[at % len(EXCHANGES)]
        write(lines, records, given.records)
        for file in find_files([lines]):
            convert_one(Task(file, tables, takes_current=True))
        by_hand = f"read_ndjson('{lines}/*.ndjson', {clause('duckdb', Trade)}) WHERE type = 'trade'"
        by_parquet = f"read_parquet('{tables}/**/*.parquet')"
        asked: dict[str, tuple[Count, Count]] = {
            "lines": (lambda: ours(lines), lambda: alone(by_hand)),
            "Parquet": (lambda: ours(tables), lambda: alone(by_parquet)),
        }
        print(f"{given.records:,} trades, seconds, medians of {given.rounds}; ratios of the same round")
        for name, (one, other) in asked.items():
            pairs = []
            for number in range(given.rounds):
                first, second = (one, other) if number % 2 else (other, one)
                a, b = timed(first), timed(second)
                ((mine, found), (theirs, right)) = (a, b) if number % 2 else (b, a)
                if found != right or sum(count for _, count in found) != given.records:
                    raise SystemExit(f"{name}: {found} is not {right}")
                pairs.append((mine, theirs))
            mine, theirs = (statistics.median(each) for each in zip(*pairs, strict=True))
            ratio = statistics.median(one / other for one, other in pairs)
            print(f"{name:8} query {mine:6.2f}   DuckDB alone {theirs:6.2f}   ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
