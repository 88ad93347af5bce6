"""CSV: every value comes back as it was, by our reader, by `query`, and by the tools with the clause that we print."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from msgspec import UNSET, structs

from aggregator.cli import group
from aggregator.records import RECORD_TYPES, BookSnapshot, Record, Trade
from aggregator.research import Recording
from aggregator.research.defects import RecordingWarning
from aggregator.tables.clauses import csv_clause
from aggregator.tables.columns import EPOCH, Column, columns, tag
from aggregator.tables.csv import IN_JSON, csv_form, header
from aggregator.tables.parquet import parquet_form
from aggregator.tables.tree import TableForm, TableTree
from tests.support.any_records import Some
from tests.support.written import BTC, FIRST, NOON, numbered, sold

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.waits

EVERY = pytest.mark.parametrize("kind", RECORD_TYPES, ids=tag)
HOSTILE = [
    "",
    '"',
    '""',
    ",",
    "\n",
    "\r\n",
    "\r",
    " a ",
    "null",
    "NaN",
    "#x",
    'a,"b"\nc',
    "\\",
    "'",
    "é\U0001f600",
    "1e5",
]
MANY = 60


def written(out: Path, records: list[Record], form: TableForm | None = None, **more: Any) -> Path:
    """Files as the sink makes them, of records that get their offsets."""
    tree = TableTree(out, "some", form or csv_form(**more), group_rows=20)
    tree.add(records, FIRST)
    tree.close()
    return out


def some(kind: type[Record], *, is_odd: bool = False) -> list[Record]:
    """Records of a type, all of one day and exchange, with hostile texts among them."""
    records = Some(3, is_odd=is_odd).records(kind, MANY)
    for at, record in enumerate(records):
        record.exchange, record.ts_recv = "alpha", NOON + at
        record.symbol = HOSTILE[at % len(HOSTILE)] or None
        record.raw_symbol = HOSTILE[at // 2 % len(HOSTILE)]
    return numbered(records)


def the_file(out: Path) -> Path:
    (path,) = [path for path in out.rglob("*") if path.is_file()]
    return path


def said(column: Column, value: Any) -> Any:
    """A value as the field of a row holds it."""
    if value is None or value is UNSET:
        return None
    if column.kind in IN_JSON:
        return msgspec.json.encode(value).decode()
    return value


def expected(records: list[Record]) -> list[list[Any]]:
    return [
        [FIRST, *(said(column, getattr(record, column.name)) for column in columns(type(record))[1:])]
        for record in records
    ]


@EVERY
@pytest.mark.parametrize("is_compressed", [False, True])
def test_every_record_comes_back_as_it_was(kind: type[Record], is_compressed: bool, tmp_path: Path) -> None:
    records = some(kind, is_odd=True)
    written(tmp_path, records, is_compressed=is_compressed)
    recording = Recording(tmp_path)
    assert list(recording.records()) == records
    assert not recording.defects


@EVERY
def test_the_columns_are_fixed_and_the_header_names_them(kind: type[Record], tmp_path: Path) -> None:
    written(tmp_path, some(kind))
    assert the_file(tmp_path).read_text().startswith(header(kind) + "\n")
    assert header(kind) == ",".join([EPOCH, *(field.name for field in structs.fields(kind))])


@EVERY
def test_a_query_gives_what_it_gives_of_parquet(kind: type[Record], tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    from aggregator.research.querying import Database

    records = some(kind)
    records[3].sequence, records[4].sequence_first = 2**64 + 1, -(2**70)
    texts = written(tmp_path / "csv", records)
    tables = written(tmp_path / "parquet", records, parquet_form())
    query = f'FROM {tag(kind)} ORDER BY "offset"'
    with Database(texts) as one, Database(tables) as other:
        assert one.rows(query) == other.rows(query)
        assert not one.warnings


@EVERY
def test_duckdb(kind: type[Record], tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    records = some(kind)
    reading = f"read_csv('{the_file(written(tmp_path, records))}', {csv_clause('duckdb', kind)})"
    assert list(map(list, duckdb.sql(f"FROM {reading}").fetchall())) == expected(records)


@EVERY
def test_polars(kind: type[Record], tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    records = some(kind)
    path = the_file(written(tmp_path, records))
    frame = eval(f"pl.read_csv(path, {csv_clause('polars', kind)})", {"pl": pl, "path": path})  # noqa: S307 - ours
    assert list(map(list, frame.rows())) == expected(records)


@EVERY
@pytest.mark.parametrize("tool", ["pyarrow", "pandas"])
def test_pyarrow_and_pandas(kind: type[Record], tool: Any, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    import pyarrow.csv

    records = some(kind)
    known = {"pyarrow": pyarrow, "pa": pyarrow, "pd": pd, "FILE": str(the_file(written(tmp_path, records)))}
    clause = csv_clause(tool, kind)
    asked = clause if tool == "pandas" else f"pyarrow.csv.read_csv(FILE, {clause})"
    found = eval(asked, known)  # noqa: S307 - ours
    table = pyarrow.Table.from_pandas(found, preserve_index=False) if tool == "pandas" else found
    assert [list(row.values()) for row in table.to_pylist()] == expected(records)


def test_null_and_an_empty_text_are_two_things(tmp_path: Path) -> None:
    written(tmp_path, numbered([sold(0, id=None), sold(1, id="")]))
    fields = [line.split(",") for line in the_file(tmp_path).read_text().splitlines()]
    at = fields[0].index("id")
    assert [row[at] for row in fields[1:]] == ["", '""']


def test_a_torn_file_and_those_of_others_are_told_or_left_out(tmp_path: Path) -> None:
    records = numbered([sold(at) for at in range(50)])
    written(tmp_path, records)
    path = the_file(tmp_path)
    other = path.with_name("other.csv")
    other.write_text("price,size\n1,2\n")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:30]) + lines[30][:40])
    recording = Recording(tmp_path)
    with pytest.warns(RecordingWarning, match="restore it"):
        assert len(list(recording.records())) < 50
    assert [defect.path for defect in recording.defects] == [path]


def test_a_file_of_an_earlier_version_lacks_what_was_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "type=trade" / "date=2026-11-29" / "alpha"
    folder.mkdir(parents=True)
    (folder / "old-0.csv").write_text(
        f"epoch,offset,ts_recv,exchange,price,size,gone\n{FIRST},7,{NOON},alpha,1.50,2,x\n"
    )
    (record,) = Recording(tmp_path).records()
    assert (record.offset, record.ts_recv, record.price, record.kind) == (7, NOON, "1.50", "trade")  # type: ignore[attr-defined]


def test_the_clauses_are_printed_and_view_is_whole(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    book = BookSnapshot(**BTC, ts_recv=NOON, bids=[("10.50", "1")], asks=[])
    written(tmp_path, numbered([book]))
    asked = ["schema", "records", "--for", "duckdb", "--of", "csv", "--view", "book_snapshot"]
    printed = CliRunner().invoke(group, asked)
    database = duckdb.connect()
    database.execute(printed.output.replace("FILES", str(the_file(tmp_path))))
    told = database.sql("SELECT bids[1].price, bids[1].price_text, epoch_ns(ts_recv) FROM book_snapshot")
    assert told.fetchall() == [(10.5, "10.50", NOON)]
    plain = CliRunner().invoke(group, ["schema", "records", "--for", "polars", "--of", "csv", "trades"])
    assert plain.output.strip() == csv_clause("polars", Trade)
