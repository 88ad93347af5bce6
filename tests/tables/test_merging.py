"""Many Parquet files of a folder as one: nothing is lost, or there twice, wherever it is killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aggregator.records import BookDelta, BookSnapshot, Record, Trade
from aggregator.research import Recording
from aggregator.tables.extras import needed
from aggregator.tables.merging import NOTE, Stopped, mend_folder, merge_folder
from aggregator.tables.parquet import parquet_form
from aggregator.tables.tree import TableTree
from tests.support.written import BTC, FIRST, NOON, SECOND, numbered, sold

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.waits

FOLDER = "type=trade/date=2026-11-29/alpha"


def parts(out: Path, count: int = 4, each: int = 25) -> list[Record]:
    """Files of a day, whose names are in another order than their rows, of two epochs."""
    records = list[Record]()
    for epoch, names in ((FIRST, "dbca"), (SECOND, "hgfe")):
        told = numbered([sold(at + 3600 * (epoch == SECOND)) for at in range(count * each)])
        for at in range(count):
            tree = TableTree(out, names[at], parquet_form())
            tree.add(told[at * each : (at + 1) * each], epoch)
            tree.close()
        records += told
    return records


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read(out: Path) -> list[Record]:
    return list(Recording(out).records())


def rows(folder: Path) -> int:
    parquet = needed("pyarrow.parquet")
    return sum(parquet.read_metadata(path).num_rows for path in folder.glob("[!.]*.parquet"))


def test_the_rows_of_all_files_stand_in_one_in_their_order(tmp_path: Path) -> None:
    records = parts(tmp_path)
    assert merge_folder(tmp_path / FOLDER, level=3) == 8
    (path,) = (tmp_path / FOLDER).iterdir()
    table = needed("pyarrow.parquet").read_table(path)
    assert table["offset"].to_pylist() == [record.offset for record in records]
    assert read(tmp_path) == records
    assert merge_folder(tmp_path / FOLDER, level=3) == 0


def test_a_late_file_is_merged_with_what_was_merged_before(tmp_path: Path) -> None:
    records = parts(tmp_path)
    merge_folder(tmp_path / FOLDER, level=3)
    tree = TableTree(tmp_path, "late", parquet_form())
    late = [sold(9000, offset=7000)]
    tree.add(late, SECOND)
    tree.close()
    assert merge_folder(tmp_path / FOLDER, level=3) == 2
    assert read(tmp_path) == [*records, *late]
    assert len(names(tmp_path / FOLDER)) == 1


def test_files_of_others_and_broken_ones_stay_as_they_are(tmp_path: Path) -> None:
    pa, parquet = needed("pyarrow"), needed("pyarrow.parquet")
    parts(tmp_path)
    folder = tmp_path / FOLDER
    parquet.write_table(pa.table({"price": [1.5]}), folder / "foreign.parquet")
    (folder / "broken.parquet").write_bytes(b"PAR1 and no more")
    assert merge_folder(folder, level=3) == 8
    assert {"foreign.parquet", "broken.parquet"} < set(names(folder))


def test_who_is_told_to_stop_leaves_all_as_it_was(tmp_path: Path) -> None:
    parts(tmp_path)
    before = names(tmp_path / FOLDER)
    with pytest.raises(Stopped):
        merge_folder(tmp_path / FOLDER, level=3, is_stopped=lambda: True)
    assert names(tmp_path / FOLDER) == before


def test_a_note_removes_nothing_outside_its_folder(tmp_path: Path) -> None:
    parts(tmp_path)
    folder = tmp_path / FOLDER
    outside = tmp_path / "outside.parquet"
    outside.write_bytes(b"")
    (folder / NOTE).write_text('{"into":"a-0.parquet","sources":["../../../outside.parquet","a-0.parquet"]}')
    before = [name for name in names(folder) if name != NOTE]
    mend_folder(folder)
    assert names(folder) == before
    assert outside.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from aggregator.tables import merging
from aggregator.tables.extras import needed
needed("pyarrow.parquet"), needed("pyarrow.compute")
merging.schema(merging.KINDS["trade"])
folder, left = Path(sys.argv[1]), int(sys.argv[2])
def step(event, given):
    global left
    is_write = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
    if (is_write or event in ("os.rename", "os.remove")) and str(folder) in str(given[0]):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(step)
merging.merge_folder(folder, level=3)
"""


def test_a_kill_at_any_step_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    step, killed = 0, 0
    while True:
        step += 1
        out = tmp_path / str(step)
        records = parts(out, count=1)
        done = subprocess.run([sys.executable, "-c", KILLED, out / FOLDER, str(step)], check=False, timeout=50)
        assert read(out) == records  # at once, whatever was left
        mend_folder(out / FOLDER)
        assert rows(out / FOLDER) == len(records)
        assert merge_folder(out / FOLDER, level=3) in {0, 2}
        assert len(names(out / FOLDER)) == 1
        assert read(out) == records
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        killed += 1
    assert killed >= 6  # the note and its name, the file and its name, two sources, and the note again


def test_levels_of_books_stand_in_rows_and_the_records_beside_them(tmp_path: Path) -> None:
    book = BookSnapshot(**BTC, ts_recv=NOON, offset=1, bids=[("10.5", "1"), ("10", "2")], asks=[("11", "0.10")])
    delta = BookDelta(**BTC, ts_recv=NOON + 5, offset=2, sequence=9, bids=[("10", "0")], asks=[])
    empty = BookSnapshot(**BTC, ts_recv=NOON + 9, offset=3, bids=[], asks=[])
    tree = TableTree(tmp_path, "some", parquet_form(), has_levels=True)
    tree.add([book, sold(0, offset=4), delta, empty], FIRST)
    tree.close()
    assert (tree.records, tree.kept) == (4, 4)
    found = needed("duckdb").read_parquet(f"{tmp_path}/type=book_levels/date=2026-11-29/alpha/*.parquet")
    asked = found.select('"offset", is_snapshot, side, price_text, size_text, price, sequence, epoch_ns(ts_recv)')
    assert asked.fetchall() == [
        (1, True, "bid", "10.5", "1", 10.5, None, NOON),
        (1, True, "bid", "10", "2", 10.0, None, NOON),
        (1, True, "ask", "11", "0.10", 11.0, None, NOON),
        (2, False, "bid", "10", "0", 10.0, 9, NOON + 5),
        (3, True, None, None, None, None, None, NOON + 9),
    ]
    assert len(read(tmp_path)) == 4  # a reader of records passes them over
    assert isinstance(read(tmp_path)[3], Trade)
