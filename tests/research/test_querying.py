"""SQL over a recording: each view gives what a `Recording` gives, and answers have every digit and nanosecond."""

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aggregator.cli import group
from aggregator.records import RECORD_TYPES, BookDelta, BookSnapshot, Gap, Record, Trade
from aggregator.research import Recording
from aggregator.tables.arrow import to_records
from aggregator.tables.columns import TYPE_OF, stored, tag
from tests.support.any_records import Some
from tests.support.written import BTC, FIRST, NOON, SECOND, SECOND_NS, as_journal, as_lines, as_parquet, numbered, sold

pa = pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")
pytestmark = pytest.mark.waits
PAGE = Path(__file__).parents[2] / "docs/research.md"
THIRD = "20261129T070000.000000Z"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(group, ["query", *map(str, words)])


def told(query: str, *paths: Path) -> list[dict[str, Any]]:
    """The answer, as JSON tells it; nothing is amiss."""
    found = run(*(word for path in paths for word in ("--in", path)), "--format", "json", "--", query)
    assert (found.exit_code, found.stderr) == (0, ""), found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


def as_records(kind: type[Record], path: Path) -> list[Record]:
    from aggregator.tables.arrow import schema

    table = pa.parquet.read_table(path)
    assert table.column_names == [column.name for column in stored(kind)]
    return [record for batch in table.cast(schema(kind)).to_batches() for record in to_records(kind, batch)]


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=tag)
def test_a_view_is_what_a_recording_gives(kind: type[Record], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet")
    made = [numbered(Some(seed).records(kind, 40)) for seed in range(3)]
    for record in (record for each in made for record in each):
        record.ts_recv = max(record.ts_recv, 0)
    as_lines(tmp_path / "in/a.ndjson", made[0], FIRST)
    as_lines(tmp_path / "in/b.ndjson.zst", made[1], SECOND)
    as_parquet(tmp_path / "in/tables", made[2], THIRD)
    found = run("--in", tmp_path / "in", "--out", tmp_path / "it.parquet", f'FROM {tag(kind)} ORDER BY epoch, "offset"')
    assert (found.exit_code, found.output) == (0, "")
    assert as_records(kind, tmp_path / "it.parquet") == list(Recording(tmp_path / "in").table(tag(kind)).records())


def test_the_views_are_named(tmp_path: Path) -> None:
    as_lines(tmp_path / "a.ndjson", numbered([sold(0)]))
    rows = [line.split("\t") for line in run("--in", tmp_path, "--views").stdout.splitlines()[1:]]
    assert {row[0] for row in rows} >= {*TYPE_OF, "trades", "gaps"}
    assert ["trade", "ts_recv", "TIMESTAMPTZ_NS"] in rows
    assert [column for view, column, _ in rows if view == "trade"] == [column.name for column in stored(Trade)]


def test_what_comes_late_is_there(tmp_path: Path) -> None:
    """A reader that infers reads as null what its sample did not have."""
    late = 20_500
    as_lines(tmp_path / "a.ndjson", numbered([sold(0) for _ in range(late)] + [sold(0, id="9" * 30, size="2.5")]))
    assert told('SELECT id, size, "offset" FROM trade WHERE id IS NOT NULL', tmp_path) == [
        {"id": "9" * 30, "size": 2.5, "offset": late + 1}
    ]


def test_the_fortieth_file_is_there(tmp_path: Path) -> None:
    for number in range(40):
        more = {"id": "x"} if number == 39 else {}
        as_lines(tmp_path / f"{number:02}.ndjson", numbered([sold(number, **more)], number + 1))
    assert told("SELECT count(*) AS n, count(id) AS ids FROM trades", tmp_path) == [{"n": 40, "ids": 1}]


def test_a_journal_and_files_stand_side_by_side(tmp_path: Path) -> None:
    as_lines(tmp_path / "a.ndjson", numbered([sold(0, "100.5", "2"), sold(1, "0.25", "4")]))
    as_journal(tmp_path / "journal", numbered([sold(2, "7", "1")]), SECOND)
    assert told("SELECT count(*) AS n, sum(price * size) AS notional FROM trade", tmp_path) == [
        {"n": 3, "notional": 209.0}
    ]


def test_a_record_in_two_files_comes_once_and_that_is_said(tmp_path: Path) -> None:
    records = numbered([sold(number) for number in range(9)])
    as_lines(tmp_path / "a.ndjson", records[:6])
    as_parquet(tmp_path / "tables", records)
    found = run("--in", tmp_path, "SELECT count(*) FROM trade")
    assert found.stdout.splitlines()[1] == "9"
    assert "trade: records of one epoch stand in files that may overlap" in found.stderr
    as_lines(tmp_path / "copies/b.ndjson", records[:6])
    assert run("--in", tmp_path / "a.ndjson", "--in", tmp_path / "copies", "SELECT count(*) FROM trade").stdout == (
        "count_star()\n6\n"
    )


def test_a_file_that_is_torn_gives_what_is_whole_and_says_so(tmp_path: Path) -> None:
    path = as_lines(tmp_path / "a.ndjson", numbered([sold(0), sold(1)]), is_closed=False)
    path.write_bytes(path.read_bytes() + b'{"type":"trade","excha')
    found = run("--in", tmp_path, "SELECT count(*) AS n FROM trade")
    assert found.stdout == "n\n2\n"
    assert f"{path}:4: torn" in found.stderr


# --- what is written


def test_every_digit_and_nanosecond_is_written(tmp_path: Path) -> None:
    big = 2**63 - 1
    as_lines(tmp_path / "a.ndjson", numbered([sold(0, "0.10000000000000000001", id='a,"b"', ts_event=NOON - 1)], big))
    query = 'SELECT ts_event, price_text, "offset", id, ts_sent, price_text::DECIMAL(38,20) AS whole, price FROM trade'
    ts, digits = "2026-11-29T11:59:59.999999999Z", "0.10000000000000000001"
    assert told(query, tmp_path) == [
        {"ts_event": ts, "price_text": digits, "offset": big, "id": 'a,"b"', "ts_sent": None, "whole": digits,
         "price": 0.1}
    ]  # fmt: skip
    (row,) = list(csv.DictReader(run("--in", tmp_path, "--format", "csv", query).stdout.splitlines()))
    assert row == {
        "ts_event": ts, "price_text": digits, "offset": str(big), "id": 'a,"b"', "ts_sent": "", "whole": digits,
        "price": "0.1",
    }  # fmt: skip
    shown = run("--in", tmp_path, query).stdout.splitlines()[1]
    assert shown.split("\t") == [ts, digits, str(big), 'a,"b"', "NULL", digits, "0.1"]
    assert run("--in", tmp_path, "--out", tmp_path / "out/x.parquet", query).exit_code == 1  # no such folder
    assert run("--in", tmp_path, "--out", tmp_path / "x.parquet", query).output == ""
    kept = pa.parquet.read_table(tmp_path / "x.parquet")
    assert kept["ts_event"].cast(pa.int64()).to_pylist() == [NOON - 1]
    assert kept["price_text"].to_pylist() == [digits]


def test_the_last_half_microsecond_belongs_to_its_minute(tmp_path: Path) -> None:
    last = NOON + 60 * SECOND_NS - 1
    as_lines(tmp_path / "a.ndjson", numbered([sold(0, "5", "2", ts_event=last), sold(1, "3", "1", ts_event=last + 1)]))
    found = told("SELECT ts_open, open, close, volume, trades FROM candles_of('1 minute') ORDER BY ts_open", tmp_path)
    assert found == [
        {"ts_open": "2026-11-29T12:00:00.000000000Z", "open": 5.0, "close": 5.0, "volume": 2.0, "trades": 1},
        {"ts_open": "2026-11-29T12:01:00.000000000Z", "open": 3.0, "close": 3.0, "volume": 1.0, "trades": 1},
    ]


def books() -> list[Record]:
    whole = BookSnapshot(**BTC, ts_recv=NOON, bids=[("9", "1"), ("8", "2")], asks=[("10", "3")], depth=2)
    change = BookDelta(**BTC, ts_recv=NOON + SECOND_NS, bids=[("8.50", "4")], asks=[("10", "0"), ("11", "5")])
    return [whole, change]


def gap() -> list[Record]:
    at: dict[str, Any] = {**BTC, "channel": "book", "cause": "disconnect", "gap_id": "g", "ts_from": NOON + SECOND_NS}
    return [
        Gap(**at, ts_recv=NOON + 2 * SECOND_NS, phase="open"),
        Gap(**at, ts_recv=NOON + 3 * SECOND_NS, phase="close", ts_to=NOON + 3 * SECOND_NS, repair="none"),
    ]


def test_a_book_and_the_gaps_are_those_of_a_recording(tmp_path: Path) -> None:
    as_lines(tmp_path / "a.ndjson", numbered([*books(), *gap()]))
    recording = Recording(tmp_path)
    for moment, doubt in (("2026-11-29T12:00:01Z", False), ("2026-11-29T12:00:02Z", True)):
        book = recording.book_at("alpha", "BTC/USDT", moment)
        found = told(f"FROM book_at('alpha', 'BTC/USDT', '{moment}')", tmp_path)  # the last levels are cut off
        assert [(row["price_text"], row["size_text"]) for row in found] == [*book.bids, *book.asks]
        assert [(row["side"], row["level"]) for row in found] == [("bid", 1), ("bid", 2), ("ask", 1)]
        assert {row["doubt"] for row in found} == {book.doubt}
        assert bool(book.doubt) is doubt
    (each,) = recording.gaps()
    (row,) = told("SELECT *, epoch_ns(ts_from) AS ns FROM gaps", tmp_path)
    assert (row["ns"], row["cause"], row["is_mended"], row["gap_id"]) == (each.ts_from, each.cause, False, each.gap_id)


# --- what cannot be done is said


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT prise FROM trade", "no column is called prise; did you mean price?"),
        ("FROM tradez", "no view is called tradez; did you mean trade?"),
        ("COPY trade TO 'x.csv'", "a query is one SELECT"),
        ("FROM trade; FROM gaps", "a query is one SELECT"),
        ("FROM book_at('alpha', 'BTC/USDT', '2026-11-29')", "no book of alpha BTC/USDT is known at"),
        ("FROM book_at('alpha', 'BTC/USDT', 'noon')", "noon"),
        ("FROM read_text('/etc/passwd')", 'Cannot access file "/etc/passwd"'),
    ],
)
def test_a_query_that_cannot_be_run(query: str, said: str, tmp_path: Path) -> None:
    as_lines(tmp_path / "a.ndjson", numbered([sold(0)]))
    found = run("--in", tmp_path, query)
    assert (found.exit_code, found.stdout) == (1, "")
    assert said in found.stderr
    assert found.stderr.startswith("aggregator: ")


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    assert "there" in run("--in", tmp_path / "none", "FROM trade").stderr
    assert "no .ndjson, .parquet" in run("--in", tmp_path, "FROM trade").stderr
    assert run("--in", tmp_path).exit_code == 2
    assert "write --out FILE" in run("--format", "parquet", "FROM trade").stderr
    assert "does not say by its name" in run("--out", tmp_path / "x", "FROM trade").stderr


# --- the page


def of_page() -> list[str]:
    text = PAGE.read_text().partition("## In SQL")[2].partition("\n## ")[0]
    return [
        query.strip() for block in re.findall(r"```sql\n(.*?)```", text, re.DOTALL) for query in block.split(";")[:-1]
    ]


def recorded() -> Sequence[Record]:
    from aggregator.records import Bbo

    kraken: dict[str, Any] = {"exchange": "kraken"}
    quote = Bbo(**BTC | kraken, ts_recv=NOON - 1, bid_price="99", bid_size="1", ask_price="101", ask_size="1")
    return numbered([quote, *(sold(at, "102", **kraken) for at in range(90)), *books(), *gap()])


def test_the_queries_of_the_page(tmp_path: Path) -> None:
    records = recorded()
    for record in records:
        record.exchange = "kraken"
    as_lines(tmp_path / "a.ndjson", records)
    queries = of_page()
    assert len(queries) >= 3
    assert all(told(query, tmp_path) for query in queries)
    (spread,) = [query for query in queries if "ASOF" in query]
    assert {row["paid"] for row in told(spread, tmp_path)} == {2.0}


def test_books_stand_level_by_level_whatever_they_are_read_from(tmp_path: Path) -> None:
    """The rows are those that the `parquet` sink stores where `book_levels` says so."""
    pq = pytest.importorskip("pyarrow.parquet")
    books = numbered([*Some(3).records(BookSnapshot, 30), *Some(4).records(BookDelta, 30)])
    books[0].bids = books[0].asks = []  # type: ignore[attr-defined]
    for number, record in enumerate(books):
        record.ts_recv, record.exchange = NOON + number, "alpha"
    as_parquet(tmp_path / "with", books, has_levels=True)
    as_lines(tmp_path / "lines/a.ndjson", books)
    stored_rows = pq.ParquetFile(next((tmp_path / "with/type=book_levels").rglob("*.parquet"))).read()
    for path in (tmp_path / "with", tmp_path / "lines"):
        found = run("--in", path, "--out", tmp_path / "it.parquet", "FROM book_levels")
        assert (found.exit_code, found.output) == (0, "")
        levels = pq.read_table(tmp_path / "it.parquet").cast(stored_rows.schema)
        assert sorted(map(repr, levels.to_pylist())) == sorted(map(repr, stored_rows.to_pylist()))
    views = run("--in", tmp_path / "lines", "--views").stdout
    assert "book_levels" in views
