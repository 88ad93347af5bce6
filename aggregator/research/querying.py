"""SQL over a recording, run by DuckDB: a view for each record type, whose columns and types are ours.

DuckDB itself reads NDJSON and CSV, plain and compressed, and Parquet. Captures and the journal are read by a
`Recording`, and so is a file that DuckDB refuses; of them only the types that a query names are read, and held while
it runs.
"""

import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, get_args

from aggregator.errors import AggregatorError, nearest
from aggregator.records import CHANNELS, RECORD_TYPES, BookDelta, BookSnapshot, Gap, Record, Trade
from aggregator.research.choice import Choice
from aggregator.research.csv import CsvRecords
from aggregator.research.defects import Defects
from aggregator.research.finding import RecordingFile, find_files, open_strand
from aggregator.research.gaps import Gaps, intervals
from aggregator.research.lines import LinesFile
from aggregator.research.parquet import ParquetRecords
from aggregator.research.recording import Recording
from aggregator.research.times import BadMoment
from aggregator.tables.arrow import schema, to_records
from aggregator.tables.clauses import duckdb_csv_select, duckdb_select
from aggregator.tables.columns import EPOCH, TYPE_OF, stored, tag, types_of
from aggregator.tables.extras import needed
from aggregator.tables.levels import ENVELOPE, BookLevel

T = TypeVar("T")
Table = LinesFile | ParquetRecords | CsvRecords  # DuckDB reads these by itself
Format = Literal["csv", "json", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
HOW: dict[Format, str] = {"csv": "FORMAT csv, HEADER", "json": "FORMAT json", "parquet": "FORMAT parquet"}
GAPS = "gaps"
LEVELS = tag(BookLevel)
POURED_BYTES = 2**20
TIMES = {"TIMESTAMPTZ_NS": "Z", "TIMESTAMP WITH TIME ZONE": "Z", "TIMESTAMP_NS": "", "TIMESTAMP": ""}
NESTED = re.compile(r".*\]|(STRUCT|MAP|UNION)\b.*", re.DOTALL)
REFUSED_FILE = re.compile(r'in file "([^"]+)"')
NO_COLUMN = re.compile(r'Referenced column "([^"]+)" not found|does not have a column named "([^"]+)"')
NO_VIEW = re.compile(r"Table with name (\S+) does not exist")
TEXT = r"\s*'((?:[^']|'')*)'\s*"
BOOK_AT = re.compile(rf"\bbook_at\s*\({TEXT},{TEXT},{TEXT}(?:,\s*([0-9]+)\s*)?\)", re.IGNORECASE)
# The library's own of this kind give the last 500 ns of a minute to the next one.
BUCKET = """CREATE MACRO bucket(ts, width) AS make_timestamp_ns(
    epoch_ns(ts) - epoch_ns(ts) % (epoch_us(width::INTERVAL) * 1000)) AT TIME ZONE 'UTC'"""
CANDLES = """CREATE OR REPLACE MACRO candles_of(width) AS TABLE
    SELECT exchange, symbol, raw_symbol, bucket(coalesce(ts_event, ts_recv), width) AS ts_open,
        arg_min(price, (epoch, "offset")) AS open, max(price) AS high, min(price) AS low,
        arg_max(price, (epoch, "offset")) AS close, sum(size) AS volume, sum(price * size) AS notional,
        count(*) AS trades
    FROM trade GROUP BY ALL"""
# The books' own records, of whichever files, level by level: the same rows as those that `parquet` may store besides.
BY_LEVEL = """CREATE OR REPLACE VIEW {name} AS
    SELECT {envelope}, is_snapshot, level.side AS side, level.price AS price, level.size AS size,
        level.price_text AS price_text, level.size_text AS size_text, misfits
    FROM (SELECT {envelope}, is_snapshot, misfits, unnest(CASE WHEN is_snapshot AND len(levels) = 0 THEN [NULL]
            ELSE levels END) AS level
        FROM (SELECT *, [struct_insert(each, side := 'bid') FOR each IN bids] ||
                [struct_insert(each, side := 'ask') FOR each IN asks] AS levels
            FROM (SELECT {envelope}, misfits, bids, asks, true AS is_snapshot FROM {snapshots}
                UNION ALL SELECT {envelope}, misfits, bids, asks, false FROM {deltas})))"""
# Trades that were recorded, and those of the past that were not: where several fills are told as one, their id is that
# of the last of them.
ONCE = """WITH heard AS ({heard}), asked AS ({asked}), names AS (
        SELECT exchange, raw_symbol, unnest(CASE WHEN kind = 'aggregate' AND id = last_id AND "count" > 1
            AND TRY_CAST(id AS BIGINT) IS NOT NULL
            THEN [each::VARCHAR FOR each IN range(TRY_CAST(id AS BIGINT) - "count" + 1, TRY_CAST(id AS BIGINT) + 1)]
            ELSE [id] END) AS id
        FROM heard WHERE id IS NOT NULL)
    FROM heard UNION ALL
    FROM (SELECT DISTINCT ON (exchange, raw_symbol, id) * FROM asked
        ORDER BY exchange, raw_symbol, id, epoch, "offset") AS late
    WHERE NOT EXISTS (SELECT 1 FROM names
        WHERE names.exchange = late.exchange AND names.raw_symbol = late.raw_symbol AND names.id = late.id)"""
# A channel that carries one type is another name of it.
ALIASES: dict[str, str] = {
    name: tag(types_of(name)[0]) for name in CHANNELS if len(types_of(name)) == 1 and name not in TYPE_OF
}


class BadQuery(AggregatorError):
    """A query that cannot be run; the words say why, and what was meant."""


class Database:
    """A recording as a database, to be closed.

    warnings: the places that could not be read, and the types that are there twice
    """

    def __init__(self, *paths: str | PathLike[str]) -> None:
        """Look what is there. Raises UnreadableRecording where nothing is, and MissingPackage."""
        self._duckdb = needed("duckdb", "a query")
        self._defects = Defects(is_silent=True)
        self._files: dict[
            RecordingFile, LinesFile | ParquetRecords | CsvRecords | None
        ] = {}  # null: it is read by a Recording
        self._paths = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - links stay as they are
        self._told: list[str] = []
        self._ready: set[str] = set()  # the views that show everything
        self._folder = tempfile.TemporaryDirectory(prefix="aggregator-query-")
        self._database = self._duckdb.connect(config={"temp_directory": self._folder.name})
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        for file in find_files(self._paths):
            if file.kind in {"lines", "parquet", "csv"}:
                strand = open_strand(file, self._defects)
                if isinstance(strand, Table):
                    self._files[file] = strand
            else:
                self._files[file] = None
        run = self._database.execute
        run("SET TimeZone = 'UTC'")
        run("CREATE SCHEMA held")
        run(BUCKET)
        run(f"SET allowed_directories = {_texts([*filter(os.path.isdir, self._paths), self._folder.name])}")
        run(f"SET allowed_paths = {_texts([path for path in self._paths if not Path(path).is_dir()])}")
        run("SET enable_external_access = false")

    def close(self) -> None:
        """Let go of it all."""
        self._database.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def warnings(self) -> list[str]:
        """The places that could not be read so far, and the types that are there twice."""
        return [*self._told, *map(str, self._defects.all)]

    def views(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """The views, each with its columns and their types."""
        for kind in RECORD_TYPES:
            self._declare(kind)
        if GAPS not in self._ready:
            self._show_gaps(Gaps([]))
        if LEVELS not in self._ready:
            self._show_levels("held.")
        held = {name: f"held.{ALIASES.get(name, name)}" for name in (*TYPE_OF, *ALIASES)} | {GAPS: GAPS, LEVELS: LEVELS}
        described = {name: self._database.sql(f"FROM {table}") for name, table in held.items()}
        return [(name, list(zip(told.columns, map(str, told.types), strict=True))) for name, told in described.items()]

    def progress(self) -> float:
        """The part of the query that runs is done, in percent; below zero: nobody knows."""
        return float(self._database.query_progress())

    def interrupt(self) -> None:
        """Stop the query that runs."""
        self._database.interrupt()

    # --- questions

    def write(self, query: str, path: Path, form: Format) -> None:
        """Write the answer to a file, which appears whole. Raises BadQuery, OSError."""
        made = Path(self._folder.name) / "answer"
        self._run(query, lambda asked: self._copy(asked, made, form))
        if path.exists() and not path.is_file():  # a pipe or a device
            with path.open("wb") as file, made.open("rb") as answer:
                _pour(answer, file)
            return
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            with temporary.open("wb") as file, made.open("rb") as answer:
                _pour(answer, file)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def pour(self, query: str, file: Any, form: Format) -> None:
        """Write the answer to an open file, once it is known. Raises BadQuery, OSError."""
        made = Path(self._folder.name) / "answer"
        self._run(query, lambda asked: self._copy(asked, made, form))
        with made.open("rb") as answer:
            _pour(answer, file)

    def rows(self, query: str, most: int | None = None) -> tuple[list[str], list[tuple[str | None, ...]]]:
        """The names and the rows of an answer as text, exactly; of more than `most` the first. Raises BadQuery."""

        def fetch(asked: str) -> tuple[list[str], list[tuple[str | None, ...]]]:
            told = self._database.sql(asked)
            values = [_as_text(f"c{at}", str(type)) for at, type in enumerate(told.types)]
            limit = "" if most is None else f" LIMIT {most}"
            answer = self._database.execute(f"SELECT {', '.join(values)} {_of(asked, len(values))}{limit}")
            return list(told.columns), list(answer.fetchall())

        return self._run(query, fetch)

    def _copy(self, asked: str, path: Path, form: Format) -> None:
        told = self._database.sql(asked)
        written = [WRITERS[form](f"c{at}", str(type)) for at, type in enumerate(told.types)]
        values = [f"{value} AS {_quoted(name)}" for value, name in zip(written, told.columns, strict=True)]
        answer = f"SELECT {', '.join(values)} {_of(asked, len(values))}"
        self._database.execute(f"COPY ({answer}) TO {_text(str(path))} ({HOW[form]})")

    def _run(self, query: str, ask: Callable[[str], T]) -> T:
        """Ask, and ask anew where DuckDB refuses a file: a `Recording` reads that one, and says what is wrong there."""
        asked = self._books(query.strip().rstrip(";"))
        named = set(re.findall(r"\w+", asked.casefold()))
        try:
            self._look_at(asked)
            while True:
                self._prepare(named)
                try:
                    return ask(asked)
                except self._duckdb.InvalidInputException as error:
                    if not self._refused(str(error)):
                        raise
        except self._duckdb.InterruptException:
            raise KeyboardInterrupt from None
        except self._duckdb.Error as error:
            raise BadQuery(self._explained(str(error), named)) from None

    def _look_at(self, asked: str) -> None:
        """Raise BadQuery unless it is one question."""
        statements = self._database.extract_statements(asked)
        if len(statements) != 1 or statements[0].type != self._duckdb.StatementType.SELECT:
            raise BadQuery("a query is one SELECT (or FROM, WITH, DESCRIBE, SUMMARIZE), and writes nothing by itself")

    def _books(self, query: str) -> str:
        """Put a table in the place of each `book_at('exchange', 'symbol', 'time'[, depth])`."""

        def made(found: re.Match[str]) -> str:
            exchange, symbol, moment = (part.replace("''", "'") for part in found.groups()[:3])
            with warnings.catch_warnings(action="ignore"):
                recording = Recording(*self._paths)
                try:
                    book = recording.book_at(exchange, symbol, moment, int(found[4]) if found[4] else None)
                except (LookupError, BadMoment) as error:
                    raise BadQuery(str(error)) from None
            self._tell(map(str, recording.defects))
            rows = [
                (side, place, *level, book.ts, book.doubt)
                for side, levels in (("bid", book.bids), ("ask", book.asks))
                for place, level in enumerate(levels, 1)
            ]
            pa = needed("pyarrow")
            types = {"side": pa.string(), "level": pa.int64(), "price_text": pa.string(), "size_text": pa.string(),
                     "ts": pa.int64(), "doubt": pa.string()}  # fmt: skip
            held = [list(cells) for cells in zip(*rows, strict=True)] or [[] for _ in types]
            self._database.register("levels", pa.table(held, schema=pa.schema(types)))
            name = f"held.book_at_{found.start()}"
            self._database.execute(f"""CREATE OR REPLACE TABLE {name} AS SELECT side, level,
                TRY_CAST(price_text AS DOUBLE) AS price, TRY_CAST(size_text AS DOUBLE) AS size, price_text, size_text,
                make_timestamp_ns(ts) AT TIME ZONE 'UTC' AS ts_recv, doubt FROM levels""")  # noqa: S608 - a name of ours
            self._database.unregister("levels")
            return name

        return BOOK_AT.sub(made, query)

    def _tell(self, said: Iterable[str]) -> None:
        self._told = list(dict.fromkeys([*self._told, *said]))

    # --- views

    def _prepare(self, named: set[str]) -> None:
        """Have the views that a query names show everything."""
        wanted = named | {kind for name, kind in ALIASES.items() if name in named}
        wanted |= {"trade"} if "candles_of" in named else set()
        wanted |= {"gap"} if GAPS in named else set()
        wanted |= {tag(BookSnapshot), tag(BookDelta)} if LEVELS in named else set()
        for kind in RECORD_TYPES:
            if tag(kind) in wanted - self._ready:
                self._show(kind)
                self._ready.add(tag(kind))
        if "candles_of" in named:
            self._database.execute(CANDLES)
        if LEVELS in named - self._ready:
            self._show_levels()
            self._ready.add(LEVELS)
        if GAPS in named - self._ready:
            table = self._database.sql('FROM gap ORDER BY epoch, "offset"').to_arrow_table().cast(schema(Gap))
            found = [
                (epoch, gap)
                for batch in table.to_batches()
                for epoch, gap in zip(batch["epoch"].to_pylist(), to_records(Gap, batch), strict=True)
                if isinstance(gap, Gap)
            ]
            self._show_gaps(Gaps(intervals(found)))
            self._ready.add(GAPS)

    def _show_gaps(self, gaps: Gaps) -> None:
        self._database.register("found", gaps.to_pyarrow())
        self._database.execute(f"CREATE OR REPLACE TABLE {GAPS} AS FROM found")
        self._database.unregister("found")

    def _show_levels(self, schema: str = "") -> None:
        envelope = ", ".join(_quoted(name) for name in (EPOCH, *ENVELOPE))
        books = {"snapshots": f"{schema}{tag(BookSnapshot)}", "deltas": f"{schema}{tag(BookDelta)}"}
        self._database.execute(BY_LEVEL.format(name=LEVELS, envelope=envelope, **books))

    def _declare(self, kind: type[Record]) -> None:
        """Have a table for records of a type that are held."""
        self._database.register("nothing", schema(kind).empty_table())
        self._database.execute(f"CREATE TABLE IF NOT EXISTS held.{tag(kind)} AS FROM nothing")
        self._database.unregister("nothing")

    def _show(self, kind: type[Record]) -> None:
        self._declare(kind)
        asked = {file for file, strand in self._files.items() if strand is not None and strand.past_day is not None}
        if kind is Trade and asked:
            heard = self._whole(kind, [file for file in self._files if file not in asked])
            whole = ONCE.format(heard=heard, asked=self._whole(kind, list(asked)))
        else:
            whole = self._whole(kind, list(self._files))
        self._database.execute(f"CREATE OR REPLACE VIEW {tag(kind)} AS {whole}")
        for channel in (channel for channel, name in ALIASES.items() if name == tag(kind)):
            self._database.execute(f"CREATE OR REPLACE VIEW {channel} AS FROM {tag(kind)}")

    def _whole(self, kind: type[Record], files: Sequence[RecordingFile]) -> str:
        """A query that gives the records of a type of some files."""
        choice = Choice(frozenset({kind}))
        lines: dict[str, list[LinesFile]] = {}
        tables: list[str] = []
        commas: list[str] = []
        others: list[Path] = []
        for file in files:
            strand = self._files[file]
            if strand is None:
                others.append(file.path)
            elif isinstance(strand, ParquetRecords):
                tables += [str(file.path)] if strand.record is kind else []
            elif isinstance(strand, CsvRecords):
                commas += [str(file.path)] if strand.record is kind else []
            elif strand.may_hold(choice):
                lines.setdefault(strand.head.epoch, []).append(strand)
        parts = [self._hold(kind, others)] if others else []
        parts += [self._of_tables(kind, tables)] if tables else []
        parts += [duckdb_csv_select(kind, _texts(commas))] if commas else []
        known = [self._epochs(part) for part in parts] if lines or len(parts) > 1 else []
        known += [set(lines)] if lines else []
        parts += [duckdb_select(kind, _texts([str(each.path) for each in files]), epoch=_text(epoch))
                  for epoch, files in lines.items()]  # fmt: skip
        is_twice = len(set().union(*known)) < sum(map(len, known)) or any(map(_overlap, lines.values()))
        whole = "\nUNION ALL\n".join(parts) or f"FROM held.{tag(kind)}"
        if is_twice:  # equal records of one epoch are the same one
            whole = f"SELECT DISTINCT * FROM ({whole})"  # noqa: S608 - of our own parts
            said = "of one epoch stand in files that may overlap; equal ones are given once, which takes longer"
            self._tell([f"{tag(kind)}: records {said}"])
        return whole

    def _epochs(self, part: str) -> set[str]:
        return {epoch for (epoch,) in self._database.sql(f"SELECT DISTINCT epoch FROM ({part})").fetchall()}  # noqa: S608

    def _hold(self, kind: type[Record], paths: Sequence[Path]) -> str:
        """Read the records of captures, journals and refused files now."""
        name = f"held.{tag(kind)}"
        self._database.execute(f"DELETE FROM {name}")  # noqa: S608 - a name of ours
        with warnings.catch_warnings(action="ignore"):
            recording = Recording(*paths)
            for batch in recording.table(tag(kind)).batches():
                self._database.register("batch", needed("pyarrow").Table.from_batches([batch]))
                self._database.execute(f"INSERT INTO {name} FROM batch")
                self._database.unregister("batch")
        self._tell(map(str, recording.defects))
        return f"FROM {name}"

    def _of_tables(self, kind: type[Record], paths: Sequence[str]) -> str:
        """The columns as they are now of files of which some may be of an earlier version."""
        reading = f"read_parquet({_texts(paths)}, union_by_name = true, hive_partitioning = false)"
        there = set(self._database.sql(f"FROM {reading}").columns)
        typed = self._database.sql(f"FROM held.{tag(kind)}")
        types = dict(zip(typed.columns, map(str, typed.types), strict=True))
        values = [_quoted(column.name) if column.name in there else
                  f"NULL::{types[column.name]} AS {_quoted(column.name)}" for column in stored(kind)]  # fmt: skip
        return f"SELECT {', '.join(values)} FROM {reading}"  # noqa: S608 - of names of ours

    def _refused(self, error: str) -> bool:
        """Have a file read by a `Recording` from now on; whether there is one that was not yet."""
        found = REFUSED_FILE.search(error)
        files = [file for file, strand in self._files.items() if found and strand and str(file.path) == found[1]]
        for file in files:
            self._files[file] = None
        self._ready.clear()
        return bool(files)

    # --- errors

    def _explained(self, error: str, named: set[str]) -> str:
        """The words of DuckDB, with the names that were perhaps meant."""
        if found := NO_COLUMN.search(error):
            name = found[1] or found[2]
            views = dict(self.views())
            here = [view for view in views if view in named] or list(views)
            among = list(dict.fromkeys(column for view in here for column, _ in views[view]))
            meant = nearest(name, among)
            hint = f"did you mean {meant}?" if meant else f"there are {', '.join(among)}"
            return f"no column is called {name}; {hint}"
        if found := NO_VIEW.search(error):
            names = [*TYPE_OF, *ALIASES, GAPS, LEVELS]
            meant = nearest(found[1], names)
            hint = f"did you mean {meant}?" if meant else f"there are {', '.join(names)}"
            return f"no view is called {found[1]}; {hint}"
        if "book_at" in error:
            return "book_at takes texts: book_at('exchange', 'symbol', 'time'), and a depth where one is wanted"
        return error.strip()


def _overlap(files: Sequence[LinesFile]) -> bool:
    """Tell whether files of one epoch may hold the same records: by what each is for, and where it begins."""
    begun = [(_scope(file), file.first.offset if file.first else 0) for file in files]
    scopes = list({scope for scope, _ in begun})
    return len(set(begun)) < len(begun) or any(
        all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))
        for at, one in enumerate(scopes)
        for other in scopes[:at]
    )


def _scope(file: LinesFile) -> tuple[str | None, ...]:
    head = file.head
    return head.exchange, head.channel, head.raw_symbol or head.symbol


def _of(asked: str, count: int) -> str:
    return f"FROM ({asked}\n) AS answer({', '.join(f'c{at}' for at in range(count))})"


def _as_text(value: str, type: str) -> str:
    """A value as text, to the digit and the nanosecond."""
    if type in TIMES:
        return f"strftime({value}, '%Y-%m-%dT%H:%M:%S.%n{TIMES[type]}')"
    return f"to_json({value})::VARCHAR" if NESTED.fullmatch(type) else f"{value}::VARCHAR"


def _as_json(value: str, type: str) -> str:
    """A value as JSON has it: what is no number there, and what a reader might round, is text."""
    if type in {"DOUBLE", "FLOAT"}:
        return f"CASE WHEN isfinite({value}) THEN to_json({value}) ELSE to_json({value}::VARCHAR) END"
    is_itself = NESTED.fullmatch(type) or type.endswith("INT") or type in {"BOOLEAN", "INTEGER", "JSON", '"NULL"'}
    return value if is_itself else _as_text(value, type)


def _as_is(value: str, type: str) -> str:  # noqa: ARG001 - one of the writers
    return value


WRITERS: dict[Format, Callable[[str, str], str]] = {"csv": _as_text, "json": _as_json, "parquet": _as_is}


def _pour(answer: Any, file: Any) -> None:
    shutil.copyfileobj(answer, file, POURED_BYTES)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _texts(values: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
