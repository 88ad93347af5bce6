"""What coverage says of a recording is what happened: to the nanosecond of time, and to the last of the numbers."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from aggregator.cli import group
from aggregator.cli.coverage_picture import picture
from aggregator.daemon import running_exchanges
from aggregator.records import Bbo, BookDelta, BookSnapshot, Channel, Gap, Health, Record, Summary, Trade
from aggregator.research import Recording, RecordingWarning, coverage_of
from aggregator.research.coverage import CoverageDay
from aggregator.research.spans import DAY_NS, by_day, common, minus, union
from aggregator.research.watch import UNWANTED
from aggregator.session import session
from tests.support.written import FIRST, NOON, SECOND, SECOND_NS, as_journal, as_lines, as_parquet, numbered

pytestmark = pytest.mark.waits
ROOT = Path(__file__).parents[2]
A, B = "kraken/main.1#1", "kraken/main.1#2"  # one connection behind the other
XBT: dict[str, Any] = {"exchange": "kraken", "symbol": "BTC/USD", "raw_symbol": "BTC/USD"}


def at(seconds: float) -> int:
    return NOON + round(seconds * SECOND_NS)


def trade(seconds: float, number: int | None = None, conn: str = A, **more: Any) -> Trade:
    names = XBT | {"ts_recv": at(seconds), "conn": conn, "source": "ws", "price": "1", "size": "1"}
    return Trade(**names | {"id": None if number is None else str(number), "sequence": number} | more)


def health(seconds: float, state: str, channel: Channel = "trades", conn: str = A, **more: Any) -> Health:
    return Health(
        **XBT | {"ts_recv": at(seconds), "conn": conn, "source": "derived", "channel": channel, "state": state} | more
    )


def gap(
    seconds: float, until: float | None = None, cause: str = "disconnect", repair: str = "none", **more: Any
) -> Gap:
    """The opening of a gap, or (`until`) its end."""
    is_over = until is not None
    said: dict[str, Any] = {"ts_recv": at(until if until is not None else seconds), "conn": A, "source": "derived"}
    said |= {"gap_id": f"g{seconds}", "phase": "close" if is_over else "open", "channel": "trades", "cause": cause}
    said |= {"ts_from": at(seconds), "ts_to": None if until is None else at(until)}
    return Gap(**XBT | said | ({"repair": repair} if is_over else {}) | more)


def delta(seconds: float, number: int, **more: Any) -> BookDelta:
    names = {"exchange": "binance", "symbol": "BTC/USDT", "raw_symbol": "BTCUSDT", "conn": "binance/main.1#1"}
    said: dict[str, Any] = {"ts_recv": at(seconds), "sequence": number, "sequence_first": number, "source": "ws"}
    return BookDelta(**names | said | {"bids": [], "asks": []} | more)


def quote(seconds: float, **more: Any) -> Bbo:
    return Bbo(**XBT | {"ts_recv": at(seconds), "conn": A, "source": "ws"} | more)


def book(seconds: float, number: int, **more: Any) -> BookSnapshot:
    names = {"exchange": "binance", "symbol": "BTC/USDT", "raw_symbol": "BTCUSDT", "conn": "binance/main.1#1/snapshot"}
    said: dict[str, Any] = {"ts_recv": at(seconds), "sequence": number, "source": "rest"}
    return BookSnapshot(**names | said | {"bids": [("1", "1")], "asks": [("2", "1")]} | more)


def days(path: Path, *records: Record, then: Sequence[Record] = (), **asked: Any) -> list[CoverageDay]:
    """Of a recording of these; `then` are of another life of the daemon."""
    as_lines(path / "a.ndjson", numbered(records), FIRST)
    if then:
        as_lines(path / "b.ndjson", numbered(then), SECOND)
    return coverage_of(Recording(path), **asked).days


def day(path: Path, *records: Record, then: Sequence[Record] = (), **asked: Any) -> CoverageDay:
    (found,) = days(path, *records, then=then, **asked)
    return found


def spans(found: CoverageDay) -> list[tuple[float, float]]:
    """What is covered, in seconds behind noon."""
    return [((start - NOON) / SECOND_NS, (end - NOON) / SECOND_NS) for start, end in found.covered]


# --- how much of the time is covered


def test_it_is_covered_from_the_first_record_on(tmp_path: Path) -> None:
    found = day(tmp_path, health(0, "subscribing"), health(1, "syncing"), trade(2), trade(10))
    assert (found.followed_ns, spans(found), found.percent) == (10 * SECOND_NS, [(2, 10)], 80.0)
    assert [(g.cause, g.ts_from, g.ts_to) for g in found.gaps] == [("unknown", at(0), at(2))]


def test_a_gap_is_not_covered(tmp_path: Path) -> None:
    """From the last record before it was noticed on, as nothing says when it began."""
    found = day(tmp_path, trade(0), trade(9), gap(10), gap(10, 15), trade(15), trade(20))
    assert spans(found) == [(0, 9), (15, 20)]
    assert [(g.cause, g.repair, g.is_mended) for g in found.gaps] == [("disconnect", "none", False)]


@pytest.mark.parametrize(("repair", "covered"), [("full", 20), ("not_needed", 20), ("partial", 14), ("none", 14)])
def test_a_gap_that_was_mended_is_covered(repair: str, covered: int, tmp_path: Path) -> None:
    found = day(tmp_path, trade(0), trade(9), gap(10), gap(10, 15, repair=repair), trade(15), trade(20))
    assert found.covered_ns == covered * SECOND_NS
    assert found.percent == (100 if covered == 20 else 70)


def test_only_what_is_whole_is_a_hundred(tmp_path: Path) -> None:
    last = 86_399.0 - 43_200
    found = day(tmp_path, trade(0), gap(10, 10.000001, conn="files", cause="overflow"), trade(last))
    assert found.percent is not None
    assert 99.9999 <= found.percent < 100
    assert "99.99 %" in run(tmp_path).stdout


def test_a_gap_of_a_connection_concerns_its_topics(tmp_path: Path) -> None:
    wide: dict[str, Any] = {"symbol": None, "raw_symbol": None, "channel": None}
    other = trade(0, symbol="ETH/USD", raw_symbol="ETH/USD", conn="kraken/main.2#1")
    records = [trade(0), other, gap(3, 5, "parse_error", **wide), trade(10)]
    btc, eth = days(tmp_path, *records)
    assert (spans(btc), spans(eth)) == ([(0, 3), (5, 10)], [(0, 10)])


def test_a_gap_of_who_recorded_concerns_everything(tmp_path: Path) -> None:
    wide: dict[str, Any] = {"exchange": "", "symbol": None, "raw_symbol": None, "channel": None, "conn": "journal"}
    btc, eth = days(
        tmp_path,
        trade(0),
        trade(0, symbol="ETH/USD", raw_symbol="ETH/USD"),
        gap(3, 5, "damaged", **wide),
        trade(10),
    )
    assert spans(btc) == spans(eth) == [(0, 3), (5, 10)]


def test_a_topic_without_a_connection_is_not_covered(tmp_path: Path) -> None:
    bye = Summary(exchange="kraken", symbol=None, ts_recv=at(6), conn=A, source="derived", ts_from=at(0), bye="cut")
    found = day(tmp_path, trade(0), health(5, "down", reason="the connection is gone"), bye, trade(8, conn=B), trade(9))
    assert spans(found) == [(0, 5), (8, 9)]
    found = day(tmp_path, trade(0), bye, trade(8, conn=B), trade(9))
    assert spans(found) == [(0, 6), (8, 9)]


def test_one_good_connection_is_enough(tmp_path: Path) -> None:
    bye = Summary(
        exchange="kraken", symbol=None, ts_recv=at(6), conn=A, source="derived", ts_from=at(0), bye="replaced"
    )
    found = day(tmp_path, trade(0), health(4, "subscribing", conn=B), health(5, "live", conn=B), bye, trade(9, conn=B))
    assert spans(found) == [(0, 9)]


def test_a_quiet_topic_is_covered_and_a_stalled_one_is_not(tmp_path: Path) -> None:
    found = day(tmp_path, trade(0), health(5, "quiet"), health(9, "stalled"), health(12, "live"), health(20, "live"))
    assert spans(found) == [(0, 9), (12, 20)]


def test_what_nobody_wants_is_not_followed(tmp_path: Path) -> None:
    down = health(5, "down", reason=session.UNWANTED)
    found = day(tmp_path, trade(0, 1), down, health(20, "subscribing"), trade(21, 9), trade(30, 10))
    assert (found.followed_ns, spans(found)) == (15 * SECOND_NS, [(0, 5), (21, 30)])
    assert (found.missing, found.untold) == (0, 0)  # nobody wanted those between


def test_the_reasons_are_those_of_the_daemon() -> None:
    said = re.findall(r'carrying\("([^"]+)"\)', (ROOT / "aggregator/daemon/followed.py").read_text())
    assert len(said) == 2
    assert {*said, session.UNWANTED, running_exchanges.PAUSED} == UNWANTED


def test_a_topic_that_never_got_a_record(tmp_path: Path) -> None:
    found = day(tmp_path, health(0, "subscribing"), health(9, "stalled"), health(10, "stalled", reason="again"))
    assert (found.records, found.percent, found.followed_ns) == (0, 0.0, 10 * SECOND_NS)
    assert "nothing came" in run(tmp_path).stdout


def test_between_two_lives_nothing_is_known(tmp_path: Path) -> None:
    found = day(tmp_path, trade(0), trade(10), then=[health(20, "subscribing"), trade(22), trade(30)])
    assert spans(found) == [(0, 10), (22, 30)]
    found = day(tmp_path, trade(0), trade(10), then=[gap(10, 22, "restart", "not_needed"), trade(22), trade(30)])
    assert spans(found) == [(0, 30)]


def test_a_topic_that_the_next_life_does_not_follow_has_ended(tmp_path: Path) -> None:
    other: dict[str, Any] = {"symbol": "ETH/USD", "raw_symbol": "ETH/USD"}
    btc, eth = days(tmp_path, trade(0), trade(10), then=[trade(20, **other), trade(30, **other)])
    assert (btc.followed_ns, eth.followed_ns) == (10 * SECOND_NS, 10 * SECOND_NS)


def test_days_are_cut_at_midnight(tmp_path: Path) -> None:
    half = 43_200
    found = days(
        tmp_path, trade(half - 10), trade(half - 1), gap(half), gap(half, half + 4), trade(half + 4), trade(half + 10)
    )
    assert [(each.day, each.followed_ns, each.covered_ns, each.records) for each in found] == [
        ("2026-11-29", 10 * SECOND_NS, 9 * SECOND_NS, 2),
        ("2026-11-30", 10 * SECOND_NS, 6 * SECOND_NS, 2),
    ]
    assert [len(each.gaps) for each in found] == [1, 0]  # it stands where it began


def test_a_time_is_looked_at_alone_and_how_it_began_is_known(tmp_path: Path) -> None:
    records = [health(0, "subscribing"), trade(1), gap(5), gap(5, 12), trade(12), trade(30)]
    found = day(tmp_path, *records, start=at(10), end=at(20))
    assert (found.followed_ns, spans(found)) == (10 * SECOND_NS, [(12, 20)])
    found = day(tmp_path, *records, start=at(15), then=[trade(90)], end=at(80))
    assert spans(found) == [(15, 30)]  # this life ended then


# --- the exchange's numbers


def test_a_loss_that_no_gap_tells_is_found(tmp_path: Path) -> None:
    found = day(tmp_path, *(trade(n, n) for n in range(100, 120) if n not in {105, 106, 110}))
    assert (found.numbers, found.missing, found.untold) == ("checked", 3, 3)
    first = found.gaps[0]
    assert (first.cause, first.missed, first.ts_from, first.ts_to) == ("untold", 2, at(104), at(107))
    assert found.covered_ns == (19 - 3 - 2) * SECOND_NS


def test_a_loss_that_a_gap_tells_is_told(tmp_path: Path) -> None:
    opened, closed = gap(3, cause="sequence", missed=2), gap(3, 5, "sequence", missed=2, recovered=0)
    found = day(tmp_path, trade(1, 1), opened, trade(3, 4), closed, trade(6, 5))
    assert (found.missing, found.untold, spans(found)) == (2, 0, [(1, 1), (5, 6)][1:])


def test_a_gap_stands_for_so_many_as_it_says(tmp_path: Path) -> None:
    opened, closed = gap(3, cause="sequence", missed=2), gap(3, 5, "sequence", missed=2, recovered=0)
    found = day(tmp_path, trade(1, 1), opened, trade(3, 4), trade(4, 6), closed, trade(6, 7))
    assert (found.missing, found.untold) == (3, 1)
    mended = gap(3, 5, "sequence", "full", missed=2, recovered=2)
    found = day(tmp_path, trade(1, 1), opened, trade(3, 4), mended, trade(6, 5))
    assert (found.missing, found.untold) == (2, 2)  # it says that all of them came


def test_a_gap_that_names_the_numbers_may_come_later(tmp_path: Path) -> None:
    """One of two connections had passed them over before the other said so."""
    opened = gap(4, cause="sequence", missed=3, expected=2, got=5)
    closed = gap(4, 6, "sequence", missed=3, recovered=1, expected=2, got=5)
    found = day(
        tmp_path, trade(1, 1), trade(2, 4), opened, trade(4, 5), trade(5, 3, flags=("late",)), closed, trade(8, 6)
    )
    assert (found.missing, found.untold, spans(found)) == (1, 0, [(6, 8)])


def test_what_comes_late_is_not_missing(tmp_path: Path) -> None:
    late = trade(4, 2, flags=("late",))
    asked = trade(5, 3, f"{A}/backfill", source="backfill", flags=("backfill",))
    mended = gap(3, 5, "sequence", "full", missed=2, recovered=2)
    found = day(
        tmp_path, trade(1, 1), gap(3, cause="sequence", missed=2), trade(3, 4), late, asked, mended, trade(6, 5)
    )
    assert (found.missing, found.untold, found.times.late, spans(found)) == (0, 0, 2, [(1, 6)])


def test_what_comes_twice_and_numbers_that_begin_anew(tmp_path: Path) -> None:
    found = day(
        tmp_path, *(trade(n, number, ts_event=at(when)) for n, number, when in ((1, 7, 1), (2, 7, 1), (3, 2, 3)))
    )
    assert (found.times.twice, found.missing) == (1, 0)


def test_aggregates_cover_their_numbers(tmp_path: Path) -> None:
    found = day(tmp_path, trade(1, 3, sequence_first=1), trade(2, 9, sequence_first=4), trade(3, 12, sequence_first=11))
    assert (found.missing, found.untold) == (1, 1)


def test_what_is_not_numbered_is_not_found_and_that_is_said(tmp_path: Path) -> None:
    (of_kraken,) = days(tmp_path / "a", delta(1, 1, exchange="kraken", conn=A), delta(2, 9, exchange="kraken", conn=A))
    assert (of_kraken.numbers, of_kraken.untold) == ("none", 0)
    found = day(tmp_path / "b", trade(1, 1, exchange="nowhere", conn="nowhere/main.1#1"))
    assert found.numbers == "unknown"


def test_a_book_is_broken_from_a_loss_to_the_next_snapshot(tmp_path: Path) -> None:
    found = day(
        tmp_path, book(0, 10), delta(1, 11), delta(2, 12), delta(4, 14), delta(5, 15), book(7, 20), delta(9, 21)
    )
    assert (found.numbers, found.untold, spans(found)) == ("checked", 1, [(0, 2), (7, 9)])


def test_a_book_begins_anew_behind_a_gap(tmp_path: Path) -> None:
    said: dict[str, Any] = {"channel": "book", "exchange": "binance", "symbol": "BTC/USDT", "raw_symbol": "BTCUSDT"}
    said |= {"conn": "binance/main.1#1"}
    opened, closed = gap(3, cause="sequence", **said), gap(3, 5, "sequence", **said)
    sound = [book(0, 10), delta(1, 11), opened, book(5, 20), closed, delta(6, 21), delta(8, 22)]
    assert (day(tmp_path, *sound).untold, spans(day(tmp_path, *sound))) == (0, [(0, 1), (5, 8)])
    found = day(tmp_path, *sound[:3], *sound[4:])  # its snapshot is gone
    assert (found.untold, spans(found)) == (1, [(0, 1)])


def test_a_book_that_was_had_anew_without_a_gap_lacks_changes(tmp_path: Path) -> None:
    records = [book(0, 10), delta(1, 11), book(5, 20, reason="resync"), delta(6, 21), delta(8, 22)]
    assert (day(tmp_path, *records).untold, spans(day(tmp_path, *records))) == (1, [(0, 1), (5, 8)])
    records[2] = book(5, 20, reason="periodic")
    assert (day(tmp_path, *records).untold, spans(day(tmp_path, *records))) == (0, [(0, 8)])


@pytest.mark.parametrize(("cause", "end"), [("overflow", 2), ("restart", 1)])  # a restart's lies behind the last one
def test_a_book_of_which_a_sink_lost_changes_is_broken_though_that_is_told(
    cause: str, end: int, tmp_path: Path
) -> None:
    said: dict[str, Any] = {
        "channel": "book",
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "raw_symbol": "BTCUSDT",
        "conn": "files",
    }
    lost = gap(2, 3, cause, missed=3, **said)
    found = day(tmp_path, book(0, 10), delta(1, 11), lost, delta(4, 15), delta(5, 16), book(7, 20), delta(9, 21))
    assert (found.untold, spans(found)) == (0, [(0, end), (7, 9)])


# --- late and bad times


def test_bad_times_are_counted(tmp_path: Path) -> None:
    found = day(
        tmp_path,
        trade(1, ts_event=at(0.5)),
        trade(2, ts_event=at(2.25)),  # it has yet to happen
        trade(3, ts_event=at(1.25)),  # it happened before the one before
        trade(2.5),  # and came before it, without a word
        trade(2.75, flags=("bad_ts",)),
        trade(2.6, flags=("bad_ts",)),
    )
    times = found.times
    assert (times.ahead, times.ahead_ns, times.back, times.back_ns) == (1, SECOND_NS // 4, 1, SECOND_NS)
    assert (times.bad_ts, times.unflagged, times.delay_ns) == (2, 1, 1_750_000_000)


def test_times_that_are_none_are_left_out_and_told(tmp_path: Path) -> None:
    as_lines(tmp_path / "a.ndjson", numbered([trade(0), trade(0, ts_recv=5), trade(0, ts_recv=2**63 - 2), trade(1)]))
    report = coverage_of(Recording(tmp_path))
    assert [each.records for each in report.days] == [2]
    assert report.remarks == ["2 records were left out: they say that they came before 2000 or after 2200"]


# --- any kind of file


Write = Callable[[Path, Sequence[Record], str], Path]
WAYS: dict[str, Write] = {
    "zst": lambda path, records, epoch: as_lines(path / "all-20261129T120000Z-1.ndjson.zst", records, epoch),
    "parquet": as_parquet,
    "journal": as_journal,
}


@pytest.mark.parametrize("write", WAYS.values(), ids=WAYS)
def test_any_kind_of_file_says_the_same(write: Write, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")

    def told() -> list[Record]:
        made = [
            health(0, "subscribing"),
            *(trade(n, n) for n in range(1, 5)),
            gap(7),
            gap(7, 9),
            trade(9, 8),
            book(9, 1),
        ]
        return numbered([*made, delta(10, 2), delta(11, 4), trade(20, 10)])

    as_lines(tmp_path / "a/a.ndjson", told(), FIRST)
    write(tmp_path / "b", told(), FIRST)
    one, other = (coverage_of(Recording(tmp_path / name)) for name in "ab")
    assert one == other
    assert [each.untold for each in one.days] == [1, 1]


def test_two_daemons_at_once_are_told(tmp_path: Path) -> None:
    as_lines(tmp_path / "a.ndjson", numbered([trade(0), trade(30)]), FIRST)
    as_lines(tmp_path / "b.ndjson", numbered([trade(10), trade(40)]), SECOND)
    assert "overlap: two daemons have recorded them" in coverage_of(Recording(tmp_path)).remarks[0]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = as_lines(tmp_path / "a.ndjson", numbered([trade(0), trade(1)]))
    path.write_bytes(path.read_bytes().replace(b'"price"', b'"price', 1))
    with pytest.warns(RecordingWarning):
        report = coverage_of(Recording(tmp_path))
    assert [each.records for each in report.days] == [1]
    assert f"{path}:2: " in report.unreadable[0]


def test_a_capture_of_nobody_knows_whom_is_left_out_and_told(tmp_path: Path) -> None:
    """It does not end the reading of all others."""
    as_lines(tmp_path / "a.ndjson", numbered([trade(0), trade(1)]))
    (tmp_path / "rest.jsonl").write_text('{"ts":1700000000000000000,"raw":"{}"}\n')
    with pytest.warns(RecordingWarning):
        report = coverage_of(Recording(tmp_path))
    assert [each.records for each in report.days] == [2]
    assert "does not say whose frames it holds" in report.unreadable[0]


def test_a_capture_whose_listing_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    """Likewise."""
    as_lines(tmp_path / "a.ndjson", numbered([trade(0), trade(1)]))
    url = "https://api.kraken.com/0/public/AssetPairs"
    line = {"ts": NOON, "method": "GET", "url": url, "status": 200, "raw": "{}"}
    (tmp_path / "kraken-rest.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.warns(RecordingWarning):
        report = coverage_of(Recording(tmp_path))
    assert [each.records for each in report.days] == [2]
    assert "listing" in report.unreadable[0]


# --- the command


def run(*words: object) -> Result:
    return CliRunner().invoke(group, ["coverage", *map(str, words)])


def test_the_command_tells_it_in_every_way(tmp_path: Path) -> None:
    days(tmp_path, trade(0, 1), trade(9, 2), gap(10), gap(10, 15), trade(15, 4), trade(20, 5))
    found = run(tmp_path, "--svg", tmp_path / "it.svg")
    assert (found.exit_code, found.stderr) == (0, "")
    names, row = (line.split("\t") for line in found.stdout.splitlines())
    told = dict(zip(names, row, strict=True))
    assert told == {
        "DAY": "2026-11-29", "EXCHANGE": "kraken", "CHANNEL": "trades", "SYMBOL": "BTC/USD", "COVERED": "70.00 %",
        "FOLLOWED": "00:00:20", "RECORDS": "4", "GAPS": "1 disconnect", "NUMBERS": "1 missing, 0 untold", "TIMES": "-",
    }  # fmt: skip
    listed = run(tmp_path, "--gaps").stdout.splitlines()[1].split("\t")
    assert listed[:2] == ["2026-11-29T12:00:09.000000000Z", "2026-11-29T12:00:15.000000000Z"]
    report = json.loads(run(tmp_path, "--json").stdout)
    assert report["days"][0]["percent"] == 70.0
    assert report["days"][0]["covered"] == [[at(0), at(9)], [at(15), at(20)]]
    assert [run(tmp_path, "--least", share).exit_code for share in (70, 70.1)] == [0, 1]
    texts = "".join(ET.parse(tmp_path / "it.svg").getroot().itertext())  # noqa: S314 - our own
    assert "kraken trades BTC/USD" in texts
    assert "disconnect (none) from 2026-11-29 12:00:09 to 2026-11-29 12:00:15" in texts


def test_what_is_asked_for_alone_is_as_it_is_among_all(tmp_path: Path) -> None:
    """The records of one topic tell that the connection of another was alive."""
    alive = quote(9, symbol="ETH/USD", raw_symbol="ETH/USD")
    records = [quote(0), alive, gap(10, channel="bbo"), gap(10, 15, channel="bbo"), quote(15), quote(20)]
    among = days(tmp_path, *records)[0]
    assert spans(among) == [(0, 9), (15, 20)]
    for asked in ({"symbol": "BTC/USD"}, {"exchange": "kraken", "channel": "bbo", "symbol": "BTC/USD"}):
        assert coverage_of(Recording(tmp_path), **asked).days == [among]  # type: ignore[arg-type]


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    assert (run(tmp_path / "x").exit_code, "is not there" in run(tmp_path / "x").stderr) == (1, True)
    days(tmp_path, trade(0))
    assert "is no moment" in run(tmp_path, "--from", "yesterday").stderr
    found = run(tmp_path, "--svg", tmp_path / "none/it.svg")
    assert (found.exit_code, "No such file" in found.stderr) == (1, True)


def test_a_picture_of_nothing_and_of_names_that_are_no_names(tmp_path: Path) -> None:
    as_lines(tmp_path / "a/a.ndjson", [])
    assert "There is no record of any topic." in picture(coverage_of(Recording(tmp_path / "a")))
    days(tmp_path / "b", *(trade(n, symbol=f'</text><script>"{n}\x1b', raw_symbol=f"{n}") for n in range(450)))
    drawn = picture(coverage_of(Recording(tmp_path / "b")))
    assert "<script>" not in drawn
    assert "\x1b" not in drawn
    assert "50 more are left out" in drawn
    ET.fromstring(drawn)  # noqa: S314 - our own


# --- times


def test_spans() -> None:
    assert union([(5, 7), (1, 2), (2, 3), (6, 9), (4, 4)]) == [(1, 3), (5, 9)]
    assert minus([(0, 10), (20, 30)], [(2, 3), (5, 22), (29, 40)]) == [(0, 2), (3, 5), (22, 29)]
    assert common([(0, 10)], [(5, 20)]) == [(5, 10)]
    assert list(by_day([(DAY_NS - 1, DAY_NS + 1)])) == [(0, (DAY_NS - 1, DAY_NS)), (1, (DAY_NS, DAY_NS + 1))]
