"""The clauses that are printed for other tools: each reads lines of every type right, run by the tool itself."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from aggregator.cli import group
from aggregator.records import CHANNELS, RECORD_TYPES, Funding, Health, Record, Trade
from aggregator.tables.clauses import TOOLS, clause, duckdb_select, told
from aggregator.tables.columns import Column, tag
from tests.support.any_records import NOW, Some

EVERY = pytest.mark.parametrize("kind", RECORD_TYPES, ids=tag)
encode = msgspec.json.Encoder().encode
HEADER = b'{"type":"header","schema":1,"epoch":"e","exchange":null,"instruments":[{"type":"instrument"}],"books":[]}'
FOOTER = b'{"type":"footer","records":3,"by_type":{"trade":3},"bytes":1,"hash":"00"}'
MANY = 100


def lines(tmp_path: Path, records: list[Record], *others: bytes) -> Path:
    path = tmp_path / "some.ndjson"
    path.write_bytes(b"".join(line + b"\n" for line in [*map(encode, records), *others]))
    return path


def as_read(record: Record) -> dict[str, Any]:
    """The fields as they stand in the line; what a line leaves out is null."""
    said = msgspec.json.decode(encode(record))
    return {column.name: said.get(column.name) for column in told(type(record))}


OTHERS = [encode(Health(exchange="alpha", ts_recv=NOW, channel="book", state="live", rate=2.5)), HEADER, FOOTER]


@EVERY
def test_duckdb(kind: type[Record], tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    records = Some().records(kind, MANY)
    path = lines(tmp_path, records, *(OTHERS if kind is not Health else OTHERS[1:]))
    reading = f"read_json('{path}', format='newline_delimited', {clause('duckdb', kind)})"
    names = ", ".join(f'"{column.name}"' for column in told(kind))
    query = f"SELECT {names} FROM {reading} WHERE type = '{tag(kind)}'"  # noqa: S608 - a test's own
    found = duckdb.sql(query).fetchall()
    assert [told_by(kind, row) for row in found] == [told_by(kind, as_read(record).values()) for record in records]


def told_by(kind: type[Record], row: Any) -> list[Any]:
    """A row with the parts of rows as texts, as DuckDB and polars give them."""

    def plain(column: Column, value: Any) -> Any:
        if column.kind == "rows" and value is not None:
            return [[None if each is None else str(each) for each in part] for part in value]
        if column.kind == "json" and isinstance(value, str):
            return msgspec.json.decode(value)
        return value

    return [plain(column, value) for column, value in zip(told(kind), row, strict=True)]


@EVERY
def test_a_view_of_duckdb_is_the_table(kind: type[Record], tmp_path: Path) -> None:
    duckdb, pa = pytest.importorskip("duckdb"), pytest.importorskip("pyarrow")
    from aggregator.tables.arrow import to_batch

    records = Some().records(kind, MANY)
    path = lines(tmp_path, records, *(OTHERS if kind is not Health else OTHERS[1:]))
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'Asia/Tokyo'")  # times are the same wherever somebody looks
        query = duckdb_select(kind, f"'{path}'", epoch="'the epoch'")
        found = database.sql(query).to_arrow_table()
        made = pa.Table.from_batches([to_batch(kind, records, "the epoch")])
        kept = database.sql("SELECT * FROM made").to_arrow_table()
    assert found.schema == kept.schema
    assert integers(pa, found) == integers(pa, made)


def integers(pa: Any, table: Any) -> list[Any]:
    """The rows with times as integers: Python's have no nanoseconds."""
    whole = [column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column for column in table.columns]
    return list(pa.table(whole, names=table.schema.names).to_pylist())


@EVERY
def test_polars(kind: type[Record], tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    records = Some().records(kind, MANY)
    path = lines(tmp_path, records, *(OTHERS if kind is not Health else OTHERS[1:]))
    found = eval(f"pl.read_ndjson(path, {clause('polars', kind)})", {"pl": pl, "path": path})  # noqa: S307 - what is printed
    rows = found.filter(pl.col("type") == tag(kind)).rows()
    assert [told_by(kind, row) for row in rows] == [told_by(kind, as_read(record).values()) for record in records]


@EVERY
@pytest.mark.parametrize("tool", ["pyarrow", "pandas"])
def test_pyarrow_and_pandas(tool: Any, kind: type[Record], tmp_path: Path) -> None:
    pa, pd = pytest.importorskip("pyarrow"), pytest.importorskip("pandas")
    pyarrow_json = pytest.importorskip("pyarrow.json")
    records = Some().records(kind, MANY)
    path = lines(tmp_path, records, *([HEADER, FOOTER] if kind is not Health else ()))
    names = {"pa": pa, "pd": pd, "pyarrow": pa, "pyarrow.json": pyarrow_json, "FILE": str(path)}
    text = clause(tool, kind)
    text = text[text.index("parse_options" if tool == "pyarrow" else "pyarrow.json") :]
    found = eval(f"pyarrow.json.read_json(FILE, {text})" if tool == "pyarrow" else text, names)  # noqa: S307 - likewise
    table = found if tool == "pyarrow" else pa.Table.from_pandas(found, preserve_index=False)
    rows = [row for row in table.to_pylist() if row["type"] == tag(kind)]
    expected = [as_read(record) for record in records]
    assert rows == [{name: row[name] for name in found_names} for row in expected for found_names in [rows[0]]]


@EVERY
def test_clickhouse(kind: type[Record], tmp_path: Path) -> None:
    chdb = pytest.importorskip("chdb")
    records = Some().records(kind, MANY)
    path = lines(tmp_path, records, *(OTHERS if kind is not Health else OTHERS[1:]))
    reading = f"file('{path}', JSONEachRow, '{clause('clickhouse', kind)}')"
    query = f"SELECT * FROM {reading} WHERE type = '{tag(kind)}'"  # noqa: S608 - likewise
    told_as = "SETTINGS output_format_json_quote_64bit_integers = 0 FORMAT JSONCompactEachRow"
    found = [msgspec.json.decode(line) for line in str(chdb.query(f"{query} {told_as}")).splitlines()]
    empty: dict[str, list[Any]] = {column.name: [] for column in told(kind) if column.kind in {"words", "rows"}}
    expected = [
        [empty.get(name) if value is None else value for name, value in as_read(record).items()] for record in records
    ]
    assert [told_by(kind, row) for row in found] == [told_by(kind, row) for row in expected]


# --- the command


def run(*words: str) -> Any:
    return CliRunner().invoke(group, ["schema", "records", *words])


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("channel", [*CHANNELS, "consolidated", "gap", "health", "summary", "trade"])
def test_every_channel_has_a_clause_for_every_tool(tool: str, channel: str) -> None:
    result = run("--for", tool, channel)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "ts_recv" in result.stdout
    assert "TODO" not in result.stdout


def test_a_channel_of_two_types_has_two_clauses_with_their_names() -> None:
    assert [line for line in run("--for", "polars", "book").stdout.splitlines() if line.startswith("#")] == [
        "# book_snapshot",
        "# book_delta",
    ]


def test_a_view_is_printed_whole() -> None:
    found = run("--for", "duckdb", "--view", "trades").stdout
    assert found.startswith("CREATE OR REPLACE VIEW trade AS\nSELECT")
    assert 'TRY_CAST("price" AS DOUBLE) AS "price"' in found
    assert run("--for", "polars", "--view", "trades").exit_code == 2


def test_what_is_no_channel_is_said_with_what_was_meant() -> None:
    found = run("--for", "duckdb", "trade_")
    assert found.exit_code == 2
    assert "'trade_' is neither a channel nor a record type; did you mean trade" in found.stderr
    assert "channels: trades, book" in run("--for", "duckdb", "zzzzzz").stderr


def test_a_field_of_two_kinds_is_warned_of_where_it_matters() -> None:
    assert clause("pyarrow", Funding).startswith("# Give it lines of this type alone: rate of health is of another")
    assert "Give it lines" not in clause("pyarrow", Trade)
    assert not clause("duckdb", Funding).startswith("#")
