"""Recordings of every kind, read as one stream: what is there is given, in order and once, and what is not is told."""

import importlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from aggregator.records import (
    RECORD_TYPES,
    BookDelta,
    BookSnapshot,
    Candle,
    Consolidated,
    Funding,
    Gap,
    Lag,
    Record,
    Trade,
)
from aggregator.research import BadMoment, Recording, RecordingWarning, UnreadableRecording, nanoseconds
from aggregator.research import lines as line_files
from aggregator.tables.columns import tag
from tests.support.any_records import Some
from tests.support.written import (
    BTC,
    FIRST,
    NOON,
    SECOND,
    SECOND_NS,
    as_journal,
    as_lines,
    as_parquet,
    encode,
    numbered,
    sold,
)

pa = pytest.importorskip("pyarrow")
pytestmark = pytest.mark.waits
Write = Callable[[Path, Sequence[Record], str], Path]
WAYS: dict[str, Write] = {
    "ndjson": lambda path, records, epoch: as_lines(path / "all.ndjson", records, epoch),
    "zst": lambda path, records, epoch: as_lines(path / "all-20261129T120000Z-1.ndjson.zst", records, epoch),
    "parquet": as_parquet,
    "journal": as_journal,
}
EVERY_WAY = pytest.mark.parametrize("write", WAYS.values(), ids=WAYS)


def copies(records: Sequence[Record]) -> list[Record]:
    return [structs.replace(record) for record in records]


def prices(rows: Any) -> list[str]:
    return list(rows.to_pyarrow()["price_text"].to_pylist())


def market() -> list[Record]:
    """Twenty minutes of two markets on two exchanges."""
    records: list[Record] = []
    for number in range(1200):
        records.append(sold(number, f"{100 + number}.50", id=str(number)))
        if number % 3 == 0:
            records.append(sold(number, f"{number}", symbol="ETH/USDT", raw_symbol="ETHUSDT"))
        if number % 5 == 0:
            records.append(sold(number, "7", exchange="beta"))
        if number % 100 == 0:
            records.append(Funding(**BTC, ts_recv=NOON + number * SECOND_NS, rate="0.0001"))
    return numbered(records)


# --- what is there


@EVERY_WAY
@pytest.mark.parametrize("kind", RECORD_TYPES, ids=tag)
def test_every_record_comes_back_equal(write: Write, kind: type[Record], tmp_path: Path) -> None:
    is_live = write is WAYS["journal"]
    if is_live and kind in {Consolidated, Lag}:
        return  # the feed makes them: no journal holds any
    made = Some(3).records(kind, 60)
    for record in made:
        record.ts_recv = NOON if is_live else max(record.ts_recv, 0)
    write(tmp_path / "it", numbered(made), FIRST)
    recording = Recording(tmp_path / "it")
    assert list(recording.records(tag(kind))) == made
    assert list(recording.table(tag(kind)).records()) == made
    assert recording.defects == []


@EVERY_WAY
def test_a_market_is_told_from_the_others(write: Write, tmp_path: Path) -> None:
    records = market()
    write(tmp_path / "it", copies(records), FIRST)
    recording = Recording(tmp_path / "it")
    trades = [each for each in records if isinstance(each, Trade)]
    btc = [t for t in trades if (t.exchange, t.symbol) == ("alpha", "BTC/USDT")]
    assert list(recording.trades("alpha", "BTC/USDT").records()) == btc
    assert list(recording.trades("alpha", "BTCUSDT").records()) == btc
    assert list(recording.trades(symbol="ETH/USDT").records()) == [t for t in trades if t.symbol == "ETH/USDT"]
    assert list(recording.trades("beta").records()) == [t for t in trades if t.exchange == "beta"]
    assert list(recording.trades().records()) == trades
    assert list(recording.records("trades", "funding")) == records
    assert len(recording.table("funding", "alpha").to_pyarrow()) == 12
    assert recording.trades("gamma").to_pyarrow().schema.equals(recording.trades().schema)


@EVERY_WAY
def test_a_time_is_its_beginning_and_not_its_end(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "it", market(), FIRST)
    recording = Recording(tmp_path / "it")
    found = recording.trades("alpha", "BTC/USDT", "2026-11-29T12:00:10Z", "2026-11-29T12:00:12.000000001Z")
    assert prices(found) == ["110.50", "111.50", "112.50"]
    start = datetime(2026, 11, 29, 12, 0, 10, tzinfo=UTC)
    assert prices(recording.trades("alpha", "BTC/USDT", start, NOON + 11 * SECOND_NS)) == ["110.50"]
    assert prices(recording.trades("alpha", "BTC/USDT", end="2026-11-29")) == []


def test_all_kinds_side_by_side_are_one_stream_and_nothing_comes_twice(tmp_path: Path) -> None:
    records = market()
    third = len(records) // 3
    as_lines(tmp_path / "a/part.ndjson.zst", copies(records[: third + 50]))
    as_parquet(tmp_path / "b", copies(records[third : 2 * third + 9]))
    as_lines(tmp_path / "c/part.ndjson", copies(records[2 * third :]), is_closed=False)
    as_journal(tmp_path / "d", copies(records))
    recording = Recording(tmp_path)
    assert list(recording.records("trades", "funding")) == records
    assert list(recording.trades().records()) == [each for each in records if isinstance(each, Trade)]


@pytest.mark.parametrize("epoch", [FIRST, "replay", ""])
def test_many_files_are_read_in_the_order_of_the_stream(epoch: str, tmp_path: Path) -> None:
    records = market()
    by_market: dict[tuple[str, str | None, int], list[Record]] = {}
    for record in records:
        if isinstance(record, Trade):
            by_market.setdefault((record.exchange, record.raw_symbol, record.offset // 200), []).append(record)
    for (exchange, symbol, part), trades in by_market.items():
        as_lines(tmp_path / f"{exchange}/{symbol}-{part}.ndjson", trades, epoch)
    expected = [each for each in records if isinstance(each, Trade)]
    recording = Recording(tmp_path)
    assert list(recording.trades().records()) == list(recording.records("trades")) == expected


def test_epochs_follow_each_other_though_offsets_begin_anew(tmp_path: Path) -> None:
    first, second = numbered([sold(1, "1"), sold(2, "2")]), numbered([sold(3, "3"), sold(4, "4")])
    as_lines(tmp_path / "b.ndjson", first, FIRST)
    as_lines(tmp_path / "a.ndjson", second, SECOND)
    rows = Recording(tmp_path).trades()
    assert prices(rows) == ["1", "2", "3", "4"]
    assert rows.to_pyarrow()["epoch"].to_pylist() == [FIRST, FIRST, SECOND, SECOND]


def test_lines_that_somebody_kept_have_no_epoch(tmp_path: Path) -> None:
    (tmp_path / "kept.ndjson").write_bytes(b"".join(encode(each) + b"\n" for each in numbered([sold(1), sold(2)])))
    rows = Recording(tmp_path / "kept.ndjson").trades().to_pyarrow()
    assert (rows["epoch"].to_pylist(), len(rows)) == (["", ""], 2)


def test_long_ranges_are_read_a_batch_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_files, "RECORDS", 100)
    as_lines(tmp_path / "all.ndjson", market())
    rows = Recording(tmp_path).trades("alpha", "BTC/USDT")
    assert [len(batch) for batch in rows.batches()] == [100] * 12
    assert rows.reader().read_all().num_rows == 1200


# --- in the libraries


def test_libraries_compute_with_what_they_are_given(tmp_path: Path) -> None:
    given = [("60424.45", "0.00250000"), ("0.0000000000001", "12345678901234.5"), ("123456789.12345678", "0.1")]
    records = numbered([sold(at, price, size) for at, (price, size) in enumerate(given)])
    as_parquet(tmp_path, records)
    rows = Recording(tmp_path).trades()
    expected = [float(price) * float(size) for price, size in given]
    polars, pandas, duckdb = (pytest.importorskip(name) for name in ("polars", "pandas", "duckdb"))
    compute = importlib.import_module("pyarrow.compute")
    frame, table, data = rows.to_polars(), rows.to_pyarrow(), rows.to_pandas()
    assert (frame["price"] * frame["size"]).to_list() == expected
    assert list(data["price"] * data["size"]) == expected
    assert compute.multiply(table["price"], table["size"]).to_pylist() == expected
    reader = rows.reader()  # noqa: F841 - DuckDB finds it by its name
    assert duckdb.sql("SELECT price * size FROM reader").fetchall() == [(value,) for value in expected]
    files = f"'{tmp_path}/**/*.parquet'"
    told = duckdb.sql(f"SELECT price * size, price_text, epoch_ns(ts_recv) FROM {files}").fetchall()  # noqa: S608
    assert told == [(value, r.price, r.ts_recv) for value, r in zip(expected, records, strict=True)]  # type: ignore[attr-defined]
    assert str(frame.schema["ts_recv"]) == "Datetime(time_unit='ns', time_zone='UTC')"
    assert str(data["ts_recv"].dtype) == "datetime64[ns, UTC]"
    assert [each.value for each in data["ts_recv"]] == [record.ts_recv for record in records]
    assert str(data["sequence"].dtype) == "Int64"
    assert polars.read_parquet(f"{tmp_path}/**/*.parquet").equals(frame, null_equal=True)
    assert len(pandas.read_parquet(tmp_path)) == 3
    assert "price_text" not in rows.to_polars(digits=False).columns
    assert "price" in rows.to_pandas(digits=False).columns


def test_clickhouse_reads_the_files(tmp_path: Path) -> None:
    chdb = pytest.importorskip("chdb")
    as_parquet(tmp_path, numbered([sold(0.000000777, "60424.45", "0.00250000"), sold(1, "0.0000000000001", "3")]))
    query = "SELECT price * size, price_text, toUnixTimestamp64Nano(ts_recv), exchange, date FROM file"
    told = chdb.query(f"{query}('{tmp_path}/**/*.parquet') ORDER BY offset FORMAT TSV")
    found = [line.split("\t") for line in str(told).splitlines()]
    assert [float(row[0]) for row in found] == [60424.45 * 0.0025, 0.0000000000001 * 3]
    assert [row[1:] for row in found] == [
        ["60424.45", str(NOON + 777), "alpha", "2026-11-29"],
        ["0.0000000000001", str(NOON + SECOND_NS), "alpha", "2026-11-29"],
    ]


# --- gaps


def hole(id: str, phase: Any, at: float, until: float | None = None, **more: Any) -> Gap:
    told: dict[str, Any] = {**BTC, "channel": "trades", "cause": "disconnect", "ts_recv": NOON + round(at * SECOND_NS)}
    told |= {"ts_from": told["ts_recv"], "ts_to": None if until is None else NOON + round(until * SECOND_NS)}
    return Gap(**{**told, "gap_id": id, "phase": phase, **more})


@EVERY_WAY
def test_gaps_are_intervals(write: Write, tmp_path: Path) -> None:
    closed = hole("1", "close", 20, 20, ts_from=NOON + 10 * SECOND_NS, repair="none", missed=7)
    records: list[Record] = [
        sold(1),
        hole("1", "open", 10),
        hole("2", "open", 12, raw_symbol="ETHUSDT", symbol="ETH/USDT"),
        hole("3", "close", 15, 16, channel="book", repair="none"),
        closed,
        hole("4", "close", 30, 31, raw_symbol=None, symbol=None, channel=None, repair="full"),
        hole("5", "open", 40),
        sold(50),
    ]
    write(tmp_path / "it", numbered(records), FIRST)
    recording = Recording(tmp_path / "it")
    found = recording.gaps("alpha", "BTC/USDT", "trades")
    assert [(each.gap_id, (each.ts_from - NOON) // SECOND_NS, each.missed) for each in found] == [
        ("1", 10, 7),
        ("4", 30, None),
        ("5", 40, None),
    ]
    assert [each.ts_to for each in found] == [NOON + 20 * SECOND_NS, NOON + 31 * SECOND_NS, None]
    assert [each.is_mended for each in found] == [False, True, False]
    assert [each.gap_id for each in recording.gaps("alpha", "BTC/USDT")] == ["1", "3", "4", "5"]
    assert [each.gap_id for each in recording.gaps()] == ["1", "2", "3", "4", "5"]
    assert [each.gap_id for each in recording.gaps("beta")] == []
    assert [each.gap_id for each in recording.gaps(channel="book")] == ["3", "4"]
    assert [each.gap_id for each in recording.gaps(end=NOON + 13 * SECOND_NS)] == ["1", "2"]
    assert [each.gap_id for each in recording.gaps(start=NOON + 21 * SECOND_NS)] == ["2", "4", "5"]


def test_rows_are_masked_with_gaps(tmp_path: Path) -> None:
    records: list[Record] = [sold(at) for at in range(10)]
    records[3:3] = [hole("1", "close", 4, 4, ts_from=NOON + 2 * SECOND_NS, repair="none")]
    records += [hole("2", "open", 7.5), hole("3", "close", 9, 9, ts_from=NOON + 6 * SECOND_NS, repair="full")]
    as_lines(tmp_path / "all.ndjson", numbered(records))
    recording = Recording(tmp_path)
    rows, gaps = recording.trades(), recording.gaps("alpha", "BTC/USDT", "trades").unmended()
    expected = [False, False, True, True, True, False, False, False, True, True]
    for frame in (rows.to_polars(), rows.to_pandas(), rows.to_pyarrow()):
        mask = gaps.mask(frame["ts_recv"])
        assert list(mask.to_pylist() if hasattr(mask, "to_pylist") else mask) == expected
    polars = rows.to_polars()
    assert len(polars.filter(~gaps.mask(polars["ts_recv"]))) == 5
    assert gaps.mask([NOON, NOON + 3 * SECOND_NS]) == [False, True]
    assert gaps.to_polars().shape == (2, 14)
    assert list(gaps.to_pandas()["cause"]) == ["disconnect", "disconnect"]


# --- books


def whole_book(at: float, bid: str, ask: str, **more: Any) -> BookSnapshot:
    return BookSnapshot(
        **{**BTC, "ts_recv": NOON + round(at * SECOND_NS), "bids": [(bid, "1")], "asks": [(ask, "2")]} | more
    )


def change(at: float, bids: Any = (), asks: Any = (), **more: Any) -> BookDelta:
    return BookDelta(**{**BTC, "ts_recv": NOON + round(at * SECOND_NS), "bids": list(bids), "asks": list(asks)} | more)


@EVERY_WAY
def test_a_book_at_a_time(write: Write, tmp_path: Path) -> None:
    records: list[Record] = [
        whole_book(0, "100", "101"),
        change(1, [("100.5", "3")]),
        whole_book(1.5, "7", "8", raw_symbol="ETHUSDT", symbol="ETH/USDT"),
        change(2, [("100.5", "0")], [("100.8", "1")]),
        hole("1", "open", 3, channel="book"),
        whole_book(4, "90", "91", reason="resync"),
        hole("1", "close", 4, 4, channel="book"),
        change(5000, [("90.5", "9")]),
    ]
    write(tmp_path / "it", numbered(records), FIRST)
    recording = Recording(tmp_path / "it")

    def best(at: float) -> tuple[Any, Any, str]:
        found = recording.book_at("alpha", "BTC/USDT", NOON + round(at * SECOND_NS), 1)
        return found.bids[0], found.asks[0], found.doubt

    assert best(0) == (("100", "1"), ("101", "2"), "")
    assert best(1.9) == (("100.5", "3"), ("101", "2"), "")
    assert best(2.5) == (("100", "1"), ("100.8", "1"), "")
    assert best(3.5) == (("100", "1"), ("100.8", "1"), "a gap is open: disconnect")
    assert best(4.5) == (("90", "1"), ("91", "2"), "")
    assert best(6000) == (("90.5", "9"), ("91", "2"), "")
    assert recording.book_at("alpha", "ETH/USDT", NOON + 9 * SECOND_NS).bids == [("7", "1")]
    with pytest.raises(LookupError, match=r"no book of alpha BTC/USDT is known at .*: no snapshot of it came before"):
        recording.book_at("alpha", "BTC/USDT", NOON - 1)
    told = [(ts, book.bids(1), book.is_whole) for ts, book in recording.books("alpha", "BTC/USDT", NOON + SECOND_NS)]
    assert [((ts - NOON) / SECOND_NS, bids[0][0], is_whole) for ts, bids, is_whole in told] == [
        (1, "100.5", True),
        (2, "100", True),
        (3, "100", False),
        (4, "90", True),
        (5000, "90.5", True),
    ]


def test_a_book_begins_with_the_header_of_its_file(tmp_path: Path) -> None:
    earlier = numbered([change(1, [("100.5", "3")]), change(2, [("99", "1")])], 11)
    later = numbered([change(3, [("100.7", "4")]), change(4, [("100.7", "0")])], 13)
    as_lines(tmp_path / "a.ndjson.zst", earlier, books=[whole_book(0, "100", "101", offset=11)])
    as_lines(
        tmp_path / "b.ndjson", later, books=[whole_book(2, "100", "101", offset=12, bids=[("100", "1"), ("99", "1")])]
    )
    recording = Recording(tmp_path)

    def bids(at: float) -> Any:
        return recording.book_at("alpha", "BTC/USDT", NOON + round(at * SECOND_NS)).bids

    assert bids(1.5) == [("100", "1")]  # the header's book is of offset 11: that change is in it
    assert bids(2) == [("100", "1"), ("99", "1")]
    assert bids(3) == [("100.7", "4"), ("100", "1"), ("99", "1")]
    assert bids(10) == [("100", "1"), ("99", "1")]


# --- candles


def test_candles_as_they_were_told_and_as_they_are_computed(tmp_path: Path) -> None:
    minute = 60 * SECOND_NS
    told: list[Record] = [
        Candle(**BTC, ts_recv=NOON + at, interval="1m", ts_open=NOON, open="1", high="2", low="1", close=close)
        for at, close in ((1, "1.5"), (2, "1.7"))
    ]
    told += [Candle(**BTC, ts_recv=NOON + 3, interval="5m", ts_open=NOON, open="1", high="2", low="1", close="9")]
    trades: list[Record] = [sold(at, str(100 + at), "1") for at in range(0, 180, 10)]
    as_lines(tmp_path / "all.ndjson", numbered([*told, *trades]))
    recording = Recording(tmp_path)
    assert recording.candles("alpha", "BTC/USDT").to_pyarrow()["close_text"].to_pylist() == ["1.7"]
    made = recording.candles("alpha", "BTC/USDT", interval="1m", origin="computed").to_polars()
    assert made["open"].to_list() == [100.0, 160.0, 220.0]
    assert made["close"].to_list() == [150.0, 210.0, 270.0]
    assert [ts.timestamp() for ts in made["ts_open"]] == [(NOON + at * minute) / 1e9 for at in range(3)]
    assert made["trades"].to_list() == [6, 6, 6]
    with pytest.raises(ValueError, match="candles are computed of one market: name the exchange and the symbol"):
        recording.candles("alpha", origin="computed")


# --- what cannot be read


def test_a_bad_line_is_told_with_its_place_and_the_rest_is_given(tmp_path: Path) -> None:
    path = as_lines(tmp_path / "all.ndjson", numbered([sold(1, "1"), sold(2, "2"), sold(3, "3")]))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b'{"type":"trade","exchange":"alpha","pri\n'
    path.write_bytes(b"".join(lines))
    recording = Recording(path)
    with pytest.warns(RecordingWarning, match=r"all.ndjson:3: .*; it is passed over"):
        assert prices(recording.trades()) == ["1", "3"]
    assert [(each.line, each.ts_from) for each in recording.defects] == [(3, NOON + SECOND_NS)]
    assert prices(recording.trades()) == ["1", "3"]  # it is told once
    with pytest.raises(UnreadableRecording, match=r"all.ndjson:3: "):
        prices(Recording(path, strict=True).trades())


def test_a_bad_beginning_hides_nothing_else(tmp_path: Path) -> None:
    path = as_lines(tmp_path / "all.ndjson", numbered([sold(1, "1"), sold(2, "2")]))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([b'{"type":"header","epoch":7}\n', b'{"type":"trade","pri\n', *lines[2:]]))
    with pytest.warns(RecordingWarning) as told:
        assert prices(Recording(path).trades()) == ["2"]
    assert [str(each.message).partition(": ")[0][-3:] for each in told] == ["n:1", "n:2"]


def test_a_torn_tail_is_told(tmp_path: Path) -> None:
    path = as_lines(tmp_path / "all.ndjson", numbered([sold(1, "1"), sold(2, "2")]), is_closed=False)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.warns(RecordingWarning, match=r"all.ndjson:3: torn: .*a daemon that starts on this directory repairs"):
        assert prices(Recording(path).trades()) == ["1"]


def test_a_compressed_file_that_is_cut_off_is_told(tmp_path: Path) -> None:
    path = as_lines(tmp_path / "a-20261129T120000Z-1.ndjson.zst", market())
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.warns(RecordingWarning, match=r"ndjson.zst:\d+: .*restore it"):
        assert 0 < len(Recording(path).trades("alpha", "BTC/USDT").to_pyarrow()) < 1200


def test_a_compressed_file_that_is_damaged_is_told(tmp_path: Path) -> None:
    path = as_lines(
        tmp_path / "a-20261129T120000Z-1.ndjson.zst", numbered([sold(at, f"{at}.5") for at in range(50_000)])
    )
    data = bytearray(path.read_bytes())
    data[-len(data) // 3] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.warns(RecordingWarning, match=r"ndjson.zst"):
        assert len(Recording(path).trades().to_pyarrow()) < 50_000


def test_lines_that_are_missing_are_told(tmp_path: Path) -> None:
    path = as_lines(tmp_path / "all.ndjson", numbered([sold(1, "1"), sold(2, "2"), sold(3, "3")]))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.warns(RecordingWarning, match="holds 2 records, and its footer says 3; it was changed after"):
        assert prices(Recording(path).trades()) == ["1", "3"]


def test_a_parquet_file_that_is_none_is_told(tmp_path: Path) -> None:
    as_parquet(tmp_path, numbered([sold(1, "1")]))
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    with pytest.warns(RecordingWarning, match="torn.parquet: is no whole Parquet file"):
        assert prices(Recording(tmp_path).trades()) == ["1"]


def test_a_hole_of_the_journal_is_a_gap(tmp_path: Path) -> None:
    as_journal(tmp_path, numbered([sold(1), sold(2)]), FIRST)
    as_journal(tmp_path, numbered([sold(3), sold(4)]), SECOND, before="20261129T030000.000000Z")
    found = Recording(tmp_path).gaps()
    assert [(each.cause, each.conn) for each in found] == [("restart", "journal")]


def test_where_nothing_is_nothing_is_read(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRecording, match=r"no recording: no .ndjson, .parquet, .jsonl or journal is there"):
        Recording(tmp_path)
    with pytest.raises(UnreadableRecording, match="is not there"):
        Recording(tmp_path / "nothing")


def test_a_name_that_is_none_is_said(tmp_path: Path) -> None:
    as_lines(tmp_path / "all.ndjson", numbered([sold(1)]))
    recording = Recording(tmp_path)
    with pytest.raises(
        ValueError, match="'book' is not the name of one record type; there are book_snapshot, book_delta"
    ):
        recording.table("book")
    with pytest.raises(ValueError, match="'books' is neither a channel nor a record type"):
        list(recording.records("books"))


# --- moments


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("2026-11-29T12:00:00Z", NOON),
        ("2026-11-29 12:00", NOON),
        ("2026-11-29", NOON - 43_200 * SECOND_NS),
        ("2026-11-29T13:00:00.000000777+01:00", NOON + 777),
        ("2026-11-29T12:00:00.1", NOON + 10**8),
        (NOON, NOON),
        (datetime(2026, 11, 29, 12, tzinfo=UTC), NOON),
        (datetime(2026, 11, 29, 12, tzinfo=UTC).date(), NOON - 43_200 * SECOND_NS),
    ],
)
def test_a_moment(given: Any, found: int) -> None:
    assert nanoseconds(given) == found


@pytest.mark.parametrize("given", ["noon", "2026-13-01", 1_795_953_600, datetime(2026, 11, 29), "29.11.2026"])  # noqa: DTZ001 - it is refused
def test_what_is_no_moment(given: Any) -> None:
    with pytest.raises(BadMoment):
        nanoseconds(given)


def test_a_moment_of_pandas_keeps_its_nanoseconds() -> None:
    pandas = pytest.importorskip("pandas")
    assert nanoseconds(pandas.Timestamp(NOON + 777, unit="ns", tz="UTC")) == NOON + 777
