"""Recordings to Parquet: equal to the digit, and a conversion that was killed gives the same when it is begun again."""

import os
import signal
import subprocess
import sys
import time
import warnings
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

from aggregator.cli import group
from aggregator.records import RECORD_TYPES, Record
from aggregator.research import Recording, RecordingWarning, UnreadableRecording
from aggregator.research.converting import MARKERS, convert
from tests.support.any_records import Some
from tests.support.written import FIRST, NOON, SECOND, SECOND_NS, as_journal, as_lines, numbered, sold

pa = pytest.importorskip("pyarrow")
pytestmark = pytest.mark.waits


def everything(count: int = 20, *, is_odd: bool = False) -> list[Record]:
    """Some records of every type, over two days."""
    some = Some(7, is_odd=is_odd)
    records = [record for kind in RECORD_TYPES for record in some.records(kind, count)]
    for number, record in enumerate(records):
        record.ts_recv = NOON + number * 200 * SECOND_NS
    return numbered(records)


def hashes(out: Path) -> dict[str, str]:
    """Every file of a tree, and its content."""
    files = sorted(path for path in out.rglob("*") if path.is_file() and MARKERS not in path.parts)
    return {str(path.relative_to(out)): sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_is_converted_is_equal(tmp_path: Path) -> None:
    records = everything()
    as_lines(tmp_path / "in/all-20261129T120000Z-1.ndjson.zst", records)
    (one,) = convert([tmp_path / "in"], tmp_path / "out")
    assert (one.state, one.records, one.defects) == ("done", len(records), [])
    assert list(Recording(tmp_path / "out").records()) == records
    assert {path.parts[0] for path in map(Path, hashes(tmp_path / "out"))} == {
        f"type={kind.__struct_config__.tag}" for kind in RECORD_TYPES
    }


def test_what_no_exchange_should_say_is_equal_too(tmp_path: Path) -> None:
    records = everything(is_odd=True)
    as_lines(tmp_path / "all.ndjson", records)
    convert([tmp_path / "all.ndjson"], tmp_path / "out")
    assert list(Recording(tmp_path / "out").records()) == records


def test_files_and_a_journal_by_several_processes(tmp_path: Path) -> None:
    first, second = everything(3), numbered([sold(number) for number in range(50)])
    as_lines(tmp_path / "in/a.ndjson", first[:30])
    as_lines(tmp_path / "in/b.ndjson", first[30:])
    as_journal(tmp_path / "in/journal", second, SECOND)
    found = convert([tmp_path / "in"], tmp_path / "out", jobs=2)
    assert sorted((one.path.name, one.state) for one in found) == [
        ("a.ndjson", "done"),
        ("b.ndjson", "done"),
        ("journal", "done"),
    ]
    assert list(Recording(tmp_path / "out").records()) == [*first, *second]


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    path = as_lines(tmp_path / "in/a-20261129T120000Z-1.ndjson", everything(2))
    out = tmp_path / "out"
    convert([tmp_path / "in"], out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert [one.state for one in convert([tmp_path / "in"], out)] == ["before"]
    as_lines(path.with_name(path.name + ".zst"), everything(2))  # it has been compressed meanwhile
    path.unlink()
    assert [one.state for one in convert([tmp_path / "in"], out)] == ["before"]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before


def test_a_file_that_is_written_to_is_left_until_it_is_closed(tmp_path: Path) -> None:
    records = numbered([sold(number) for number in range(9)])
    path = as_lines(tmp_path / "in/trades.ndjson", records[:5], is_closed=False)
    out = tmp_path / "out"
    assert [one.state for one in convert([path], out)] == ["current"]
    assert [one.records for one in convert([path], out, takes_current=True)] == [5]
    as_lines(path.with_name("trades-20261129T120000Z-1.ndjson"), records)
    path.unlink()
    assert [one.state for one in convert([tmp_path / "in"], out)] == ["done"]
    assert list(Recording(out).records()) == records


def test_what_is_left_of_a_change_is_removed(tmp_path: Path) -> None:
    path = as_lines(tmp_path / "kept.ndjson", numbered([sold(0), sold(86_400)]))
    out = tmp_path / "out"
    convert([path], out)
    as_lines(path, numbered([sold(1)]), ts=NOON + 1)
    as_journal(tmp_path / "journal", numbered([sold(number) for number in range(5)]), FIRST)
    convert([tmp_path / "journal"], out)
    as_journal(tmp_path / "journal", numbered([sold(number) for number in range(5)]), SECOND, before=FIRST)
    assert [one.records for one in convert([tmp_path / "journal"], out)] == [10]
    assert len([path for path in hashes(out) if "journal" in path]) == 1


def test_a_killed_conversion_gives_the_same_when_it_is_begun_again(tmp_path: Path) -> None:
    for number in range(6):
        records = [sold(number * 1000 + at / 10, exchange=f"e{at % 7}") for at in range(9000)]
        as_lines(tmp_path / f"in/{number}-20261129T120000Z-1.ndjson", numbered(records, number * 9000 + 1))
    convert([tmp_path / "in"], tmp_path / "whole")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "aggregator", "convert", "--out", str(out), str(tmp_path / "in")]
    for files in (1, 9, 20, 33):
        program = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while program.poll() is None and len(list(out.rglob("*.parquet*"))) < files:
            time.sleep(0.005)
        program.send_signal(signal.SIGKILL)
        program.wait()
    assert [one.state for one in convert([tmp_path / "in"], out)].count("done") > 0
    assert hashes(out) == hashes(tmp_path / "whole")
    assert len(list(Recording(out).trades().records())) == 54_000


def test_what_cannot_be_read_is_told_and_the_rest_converted(tmp_path: Path) -> None:
    good = as_lines(tmp_path / "good.ndjson", numbered([sold(1), sold(2)]))
    bad = as_lines(tmp_path / "bad.ndjson", numbered([sold(1), sold(2)]))
    bad.write_bytes(bad.read_bytes().replace(b'"price":"100.50"', b'"price":100.50,', 1))
    found = {one.path: one for one in convert([good, bad], tmp_path / "out")}
    assert (found[good].records, found[good].defects) == (2, [])
    assert (found[bad].state, found[bad].records) == ("done", 1)
    assert "bad.ndjson:2: " in found[bad].defects[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    as_lines(tmp_path / "a.ndjson", numbered([sold(1)]))
    (tmp_path / "out").mkdir(mode=0o500)
    result = CliRunner().invoke(group, ["convert", "--out", str(tmp_path / "out"), str(tmp_path / "a.ndjson")])
    assert result.exit_code == 1
    assert "Permission denied" in result.stderr


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    as_lines(tmp_path / "a.ndjson", numbered([sold(1), sold(2)]))
    as_lines(tmp_path / "b.ndjson", numbered([sold(1)]), is_closed=False)
    words = ["convert", "--out", str(tmp_path / "out"), str(tmp_path / "a.ndjson"), str(tmp_path / "b.ndjson")]
    result = CliRunner().invoke(group, words)
    assert result.exit_code == 0
    assert "a.ndjson: 2 records, 1 file" in result.stderr
    assert "b.ndjson: is still being written: it is left for later" in result.stderr
    assert "convert: 2 inputs, of which 1 were converted now: 2 records in 1 file; 0 places could not be read" in (
        result.stderr
    )
    assert "a.ndjson: was done before" in CliRunner().invoke(group, words).stderr
    nothing = CliRunner().invoke(group, ["convert", "--out", str(tmp_path / "new"), str(tmp_path / "out")])
    assert nothing.exit_code == 0
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableRecording):
        convert([tmp_path / "empty"], tmp_path / "out")


def test_a_capture_is_converted(tmp_path: Path) -> None:
    corpus = Path(__file__).resolve().parents[3] / "shared/corpus/kraken"
    captures = sorted(corpus.glob("kraken*.jsonl*")) or sorted(corpus.glob("*.jsonl*"))
    if not captures:
        pytest.skip("there are no captures beside this checkout")
    capture = next(path for path in captures if path.name != "rest.jsonl")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecordingWarning)
        records = list(Recording(capture).records())
        (one,) = convert([capture], tmp_path / "out")
        assert len(records) == one.records > 0
        assert list(Recording(tmp_path / "out").records()) == records
    assert {record.exchange for record in records} == {"kraken"}
