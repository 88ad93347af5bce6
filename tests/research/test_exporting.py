"""Exports: what every target is made of, the CSV of tardis, and what an export that fails leaves."""

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aggregator.cli import group
from aggregator.records import Record
from aggregator.research import Recording
from aggregator.research.export.market import Beside, RecordedMarket, Step, decimals, plain
from tests.support.exported import at, changed, eventful, gap, recorded, whole
from tests.support.written import FIRST, NOON, SECOND, SECOND_NS, as_lines, numbered, sold

pytestmark = pytest.mark.waits
DAY_S = 86_400


def run(folder: Path, *words: str, out: str = "out") -> Result:
    return CliRunner().invoke(
        group, ["export", "--in", str(folder / "in"), "--out", str(folder / out), *words], catch_exceptions=False
    )


def exported(folder: Path, *words: str) -> dict[str, Any]:
    """The report of an export that ends well."""
    found = run(folder, *words)
    assert found.exit_code == 0, found.output
    report: dict[str, Any] = json.loads((folder / "out/report.json").read_text())
    return report


def rows(folder: Path, table: str, day: str = "2026-11-29") -> list[list[str]]:
    with gzip.open(folder / f"out/alpha_{table}_{day}_BTCUSDT.csv.gz", "rt", newline="") as file:
        return list(csv.reader(file))[1:]


def told(step: Step) -> tuple[Any, ...]:
    """A step in short: what it is, the second, and the levels."""
    second = (step.ts - NOON) / SECOND_NS
    if isinstance(step, Beside):
        return (type(step.record).__name__, second)
    return (type(step).__name__, second, step.bids, step.asks)


def steps(folder: Path, records: Sequence[Record], **times: Any) -> list[tuple[Any, ...]]:
    as_lines(folder / "in/a.ndjson", numbered(records), FIRST)
    return [told(step) for step in RecordedMarket(Recording(folder / "in"), "alpha", "BTC/USDT", **times).steps()]


# --- the steps of a market


def test_a_book_is_lost_where_its_gap_begins_and_whole_where_it_is_had_again(tmp_path: Path) -> None:
    assert steps(tmp_path, eventful()) == [
        ("WholeBook", 1, [("100.1", "2"), ("100.0", "1"), ("99.9", "5")], [("100.3", "1"), ("100.4", "4")]),
        ("BookChange", 3, [("100.2", "1.5")], [("100.3", "0")]),
        ("BookLost", 10, [("100.2", "1.5"), ("100.1", "2"), ("100.0", "1"), ("99.9", "5")], [("100.4", "4")]),
        ("WholeBook", 20, [("101.0", "3")], [("101.2", "7")]),
        ("BookChange", 21, [], [("101.1", "2"), ("101.2", "0")]),
        ("BookChange", 40, [("101.0", "0"), ("100.9", "4")], []),
    ]


def test_what_came_while_nobody_had_noticed_the_gap_is_not_believed(tmp_path: Path) -> None:
    found = steps(
        tmp_path,
        [whole(1, [("1", "1")], []), changed(5, [("1", "2")], []), gap(9, "open", 3), whole(12, [("1", "3")], [])],
    )
    assert [step[:2] for step in found] == [("WholeBook", 1), ("BookLost", 3), ("WholeBook", 12)]


@pytest.mark.parametrize("cause", ["overflow", "restart"])
def test_a_hole_that_a_sink_made_is_a_gap_of_the_book_too(cause: str, tmp_path: Path) -> None:
    hole = gap(6, "close", 4, cause=cause, repair="none", conn="files")
    found = steps(
        tmp_path,
        [whole(1, [("1", "1")], []), hole, changed(7, [("1", "2")], []), whole(9, [("1", "3")], [])],
    )
    assert [step[:2] for step in found] == [("WholeBook", 1), ("BookLost", 4), ("WholeBook", 9)]
    assert Recording(tmp_path / "in").book_at("alpha", "BTC/USDT", NOON + 8 * SECOND_NS).doubt == (
        f"records are missing: {cause}"
    )


def test_a_gap_that_is_noticed_after_the_end_is_a_gap_all_the_same(tmp_path: Path) -> None:
    records = [whole(1, [("1", "1")], []), gap(9, "open", 3), whole(12, [("1", "3")], [])]
    found = steps(tmp_path, records, end=NOON + 5 * SECOND_NS)
    assert [step[:2] for step in found] == [("WholeBook", 1), ("BookLost", 3)]


def test_what_cannot_be_read_is_a_gap_of_the_book(tmp_path: Path) -> None:
    path = as_lines(tmp_path / "in/a.ndjson", numbered([whole(1, [("1", "1")], []), whole(9, [("1", "2")], [])]))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b'{"type":"book_delta","symbol":"BTC/USDT",no\n', *lines[2:3]]))
    market = RecordedMarket(Recording(path), "alpha", "BTC/USDT")
    with pytest.warns(match=":3:"):
        found = [told(step)[:2] for step in market.steps()]
    assert found == [("WholeBook", 1), ("BookLost", 1), ("WholeBook", 9)]
    assert [(each.ts_from, each.ts_to) for each in market.unknown] == [(NOON + SECOND_NS, NOON + 9 * SECOND_NS)]


def test_another_life_begins_with_a_book_of_its_own(tmp_path: Path) -> None:
    as_lines(tmp_path / "in/a.ndjson", numbered([whole(1, [("1", "1")], [])]), FIRST)
    later = [changed(5, [("1", "7")], []), whole(6, [("1", "2")], []), changed(7, [("1", "3")], [])]
    as_lines(tmp_path / "in/b.ndjson", numbered(later), SECOND)
    found = [told(step)[:2] for step in RecordedMarket(Recording(tmp_path / "in"), "alpha", "BTC/USDT").steps()]
    assert found == [("WholeBook", 1), ("BookLost", 1), ("WholeBook", 6), ("BookChange", 7)]


def test_a_book_of_limited_depth_says_which_levels_have_left_it(tmp_path: Path) -> None:
    first = whole(1, [("9", "1"), ("8.0", "1")], [("11", "1")], depth=2)
    found = steps(tmp_path, [first, changed(2, [("9.5", "1")], []), changed(3, [("9", "0")], []),
                             changed(4, [("8.00", "2")], [])])  # fmt: skip
    assert [step[2] for step in found[1:]] == [[("9.5", "1"), ("8", "0")], [("9", "0")], [("8.00", "2")]]


def test_a_time_in_the_midst_begins_with_the_book_of_before(tmp_path: Path) -> None:
    times = {"start": NOON + 2 * SECOND_NS, "end": NOON + 4 * SECOND_NS}
    found = steps(tmp_path, eventful(), **times)
    assert [step[:2] for step in found] == [("WholeBook", 2), ("BookChange", 3)]


def test_an_instrument_is_found_in_the_header_of_a_file(tmp_path: Path) -> None:
    path = as_lines(tmp_path / "in/a.ndjson", numbered([whole(1, [("1", "1")], [])]))
    told = b'"instruments":[{"type":"instrument","exchange":"alpha","symbol":"BTC/USDT","raw_symbol":"BTCUSDT",'
    path.write_bytes(path.read_bytes().replace(b'"instruments":[', told + b'"tick_size":"0.5"}', 1))
    market = RecordedMarket(Recording(tmp_path / "in"), "alpha", "BTCUSDT")
    assert market.instrument is not None
    assert (market.instrument.tick_size, market.symbol) == ("0.5", "BTC/USDT")


def test_numbers_are_compared_by_their_digits() -> None:
    assert [plain(text) for text in ("8.00", "08", "0.0", "-1.50", "-0", "100")] == ["8", "8", "0", "-1.5", "0", "100"]
    assert [decimals(text) for text in ("8.00", "0.0010", "7")] == [0, 3, 0]


# --- the CSV of tardis


def test_tardis_has_its_tables_and_the_report_says_what_is_missing(tmp_path: Path) -> None:
    recorded(tmp_path)
    report = exported(tmp_path, "--to", "tardis", "--depth", "2", "alpha", "BTC/USDT")
    noon_us = NOON // 1000
    with gzip.open(tmp_path / "out/alpha_trades_2026-11-29_BTCUSDT.csv.gz", "rt") as file:
        assert file.readline() == "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
    assert rows(tmp_path, "trades") == [
        ["alpha", "BTCUSDT", str(noon_us + 1_997_000), str(noon_us + 2_000_000), "t1", "buy", "100.3", "0.5"],
        ["alpha", "BTCUSDT", str(noon_us + 5_000_000), str(noon_us + 30_000_000), "late", "sell", "101.0", "1"],
    ]
    book: list[Any] = [(int(row[3]) - noon_us, *row[4:]) for row in rows(tmp_path, "incremental_book_L2")]
    assert book[:2] == [(1_000_000, "true", "bid", "100.1", "2"), (1_000_000, "true", "bid", "100.0", "1")]
    assert [" ".join(row[2:]) for row in book if row[0] == 10_000_000] == [
        "bid 100.2 0", "bid 100.1 0", "bid 100.0 0", "bid 99.9 0", "ask 100.4 0",
    ]  # fmt: skip
    assert not any(10_000_000 < row[0] < 20_000_000 for row in book)
    assert [row[4:] for row in rows(tmp_path, "quotes")][1:4] == [
        ["4", "100.4", "100.2", "1.5"], ["", "", "", ""], ["7", "101.2", "101.0", "3"],
    ]  # fmt: skip
    assert rows(tmp_path, "book_snapshot_2")[0][4:] == ["100.3", "1", "100.1", "2", "100.4", "4", "100.0", "1"]
    assert rows(tmp_path, "book_ticker")[0][4:] == ["1", "100.3", "100.1", "2"]
    assert rows(tmp_path, "derivative_ticker")[0][4:] == ["", "", "", "", "", "", "100.25"]
    (market,) = report["markets"]
    assert market["counts"] == {"Bbo": 1, "BookDelta": 4, "BookSnapshot": 2, "MarkPrice": 1, "Trade": 2}
    assert market["unknown"] == [
        {"ts_from": NOON + 10 * SECOND_NS, "ts_to": NOON + 20 * SECOND_NS, "why": "gap: disconnect"}
    ]
    assert market["left_out"] == {
        "changes of a book that is not known": 1,
        "trades of kind block, which met no order of the book": 1,
    }
    assert [(each["ts_from"], each["repair"]) for each in market["gaps"]] == [(NOON + 10 * SECOND_NS, "partial")]


def test_each_day_of_tardis_begins_with_a_whole_book(tmp_path: Path) -> None:
    as_lines(
        tmp_path / "in/a.ndjson", numbered([whole(1, [("1", "1")], [("2", "1")]), changed(DAY_S, [("1", "5")], [])])
    )
    exported(tmp_path, "--to", "tardis", "alpha", "BTC/USDT")
    assert [row[4:] for row in rows(tmp_path, "incremental_book_L2", "2026-11-30")] == [
        ["true", "bid", "1", "5"], ["true", "ask", "2", "1"],
    ]  # fmt: skip


def test_names_of_strangers_stay_within_the_directory(tmp_path: Path) -> None:
    odd = {"symbol": '../../x,"y"', "raw_symbol": '../../x,"y"'}
    as_lines(tmp_path / "in/a.ndjson", numbered([sold(1, id="a\nb", **odd)]))
    exported(tmp_path, "--to", "tardis", "alpha", odd["symbol"])
    (path,) = (tmp_path / "out").glob("*.gz")
    assert path.name == "alpha_trades_2026-11-29_%2E%2E%2F%2E%2E%2Fx%2C%22y%22.csv.gz"
    with gzip.open(path, "rt", newline="") as file:
        assert list(csv.reader(file))[1][1::3] == [odd["raw_symbol"], "a\nb", "2"]


# --- an export that fails


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    recorded(tmp_path)
    found = run(tmp_path, "--to", "tardis", "alpha", "BTC/USDT", "ETH/USDT")
    assert (found.exit_code, [path.name for path in tmp_path.iterdir()]) == (1, ["in"])
    assert "of alpha ETH/USDT the recording has nothing in that time that tardis takes" in found.stderr


def test_what_is_there_already_is_not_touched(tmp_path: Path) -> None:
    recorded(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("precious")
    found = run(tmp_path, "--to", "tardis", "alpha", "BTC/USDT")
    assert (found.exit_code, (tmp_path / "out/mine").read_text()) == (1, "precious")
    assert "out is there already: name another directory, or remove it" in found.stderr


def test_a_name_of_two_markets_is_refused(tmp_path: Path) -> None:
    other = {**at(2), "raw_symbol": "OTHER"}
    as_lines(tmp_path / "in/a.ndjson", numbered([sold(1), sold(2, raw_symbol=other["raw_symbol"])]))
    found = run(tmp_path, "--to", "tardis", "alpha", "BTC/USDT")
    assert found.exit_code == 1
    assert "is the name of BTCUSDT and of OTHER: give the exchange's own name" in found.stderr


def test_a_file_that_lacks_records_is_not_exported(tmp_path: Path) -> None:
    path = as_lines(tmp_path / "in/a.ndjson", eventful())
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], *lines[6:]]))
    with pytest.warns(match="its footer says"):
        found = run(tmp_path, "--to", "tardis", "alpha", "BTC/USDT")
    assert found.exit_code == 1
    assert "whatever is missing here is not known" in found.stderr


# --- the arrays of hftbacktest

SELL, BUY, LOCAL, EXCH = 1 << 28, 1 << 29, 1 << 30, 1 << 31


def events(folder: Path, name: str = "alpha_BTCUSDT_2026-11-29") -> list[tuple[Any, ...]]:
    """Rows of an array: the bits, the two times in seconds behind noon, price and size."""
    np = pytest.importorskip("numpy")
    with np.load(folder / f"out/{name}.npz") as held:
        rows = held["data"]
    assert rows.dtype.itemsize == 64
    assert not rows["order_id"].any()
    return [
        (int(ev), (int(exch) - NOON) / SECOND_NS, (int(local) - NOON) / SECOND_NS, float(px), float(qty))
        for ev, exch, local, px, qty in rows[["ev", "exch_ts", "local_ts", "px", "qty"]].tolist()
    ]


def test_hftbacktest_has_a_clear_at_the_gap_and_two_rows_of_a_trade_that_came_late(tmp_path: Path) -> None:
    recorded(tmp_path)
    (market,) = exported(tmp_path, "--to", "hftbacktest", "alpha", "BTC/USDT")["markets"]
    both = EXCH | LOCAL
    assert events(tmp_path)[:2] == [(3 | both, 0.998, 1, 0, 0), (4 | both | BUY, 0.998, 1, 100.1, 2)]
    assert events(tmp_path)[9:12] == [
        (2 | EXCH | SELL, 5, 30, 101, 1),
        (3 | both, 10, 10, 0, 0),
        (3 | both, 19.998, 20, 0, 0),
    ]
    assert (2 | LOCAL | SELL, 5, 30, 101, 1) in events(tmp_path)
    assert market["details"] == {"tick_size": "0.10", "lot_size": "0.001", "contract_size": None}
    assert (market["adjusted"], market["files"][0]["rows"]) == ({}, len(events(tmp_path)))


@pytest.mark.parametrize("seed", range(12))
def test_both_orders_hold_whatever_the_times_are(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event is there once in either order, also where much more than a portion is out of order."""
    pytest.importorskip("numpy")
    from aggregator.research.export import hftbacktest

    random = Random(seed)
    monkeypatch.setattr(hftbacktest, "ROWS", random.choice([1, 3, 7, 1000]))
    records: list[Record] = [whole(0, [("1", "1")], [("900", "1")])]
    for second in range(1, 120):
        lag = random.choice([0, 0, 0, 1, 2, 5, 40, -3])
        more = {"ts_event": None if random.random() < 0.1 else NOON + (second - lag) * SECOND_NS}
        if random.random() < 0.5:
            records.append(sold(second, str(second), "1", side=random.choice(["buy", "sell", None]), **more))
        else:
            records.append(changed(second, [(str(second), "1")], [], **more))
    as_lines(tmp_path / "in/a.ndjson", numbered(records), FIRST)
    (market,) = exported(tmp_path, "--to", "hftbacktest", "alpha", "BTC/USDT")["markets"]
    found = events(tmp_path)
    heard = [row for row in found if row[0] & LOCAL]
    happened = [row for row in found if row[0] & EXCH]
    assert [row[2] for row in heard] == sorted(row[2] for row in heard)
    assert [row[1] for row in happened] == sorted(row[1] for row in happened)
    assert sorted((row[0] & 0xFF, *row[1:]) for row in heard) == sorted((row[0] & 0xFF, *row[1:]) for row in happened)
    assert [row[3] for row in heard[3:]] == list(range(1, 120))
    assert all(row[1] <= row[2] for row in found)
    book = [row[3] for row in happened if row[0] & 0xFF == 1]
    assert book == sorted(book)
    assert market["adjusted"].keys() == {
        "rows without a time of the exchange, which have ours",
        "rows whose exchange's clock was ahead of ours, which have ours",
        "rows of the book that ran back by the exchange's clock, which have the time of those before",
        "trades without a side, which fill no order",
    }


def test_a_day_of_hftbacktest_that_begins_in_a_book_has_it_beside(tmp_path: Path) -> None:
    records = [whole(1, [("1", "1")], [("2", "1")]), sold(DAY_S, "1"), changed(DAY_S + 1, [("1", "5")], [])]
    as_lines(tmp_path / "in/a.ndjson", numbered(records))
    (market,) = exported(tmp_path, "--to", "hftbacktest", "alpha", "BTC/USDT")["markets"]
    assert [file["name"].removeprefix("alpha_BTCUSDT_2026-11-") for file in market["files"]] == [
        "29.npz", "30_snapshot.npz", "30.npz",
    ]  # fmt: skip
    assert [row[3:] for row in events(tmp_path, "alpha_BTCUSDT_2026-11-30_snapshot")] == [(1, 5), (2, 1)]
    assert [row[0] & 0xFF for row in events(tmp_path, "alpha_BTCUSDT_2026-11-30")] == [2, 1]
    assert market["details"]["tick_size"] == "1"


def test_a_price_that_a_double_cannot_hold_is_refused(tmp_path: Path) -> None:
    fits = sold(1, "0.00000123456789012345", "0.1234567890123456789")
    as_lines(tmp_path / "in/a.ndjson", numbered([fits]))
    (market,) = exported(tmp_path, "--to", "hftbacktest", "alpha", "BTC/USDT")["markets"]
    assert market["adjusted"]["sizes of more than 15 digits, which are the nearest double"] == 1
    as_lines(tmp_path / "in/a.ndjson", numbered([sold(1, "1000.000000000001")]))
    found = run(tmp_path, "--to", "hftbacktest", "alpha", "BTC/USDT", out="other")
    assert (found.exit_code, (tmp_path / "other").exists()) == (1, False)
    assert "alpha BTCUSDT: the price 1000.000000000001 has more than 15 digits" in found.stderr


def test_a_depth_is_for_tardis_alone(tmp_path: Path) -> None:
    recorded(tmp_path)
    found = run(tmp_path, "--to", "hftbacktest", "--depth", "5", "alpha", "BTC/USDT")
    assert (found.exit_code, "hftbacktest has books by their changes alone" in found.stderr) == (1, True)
