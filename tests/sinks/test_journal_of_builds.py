"""Journals that earlier builds have left are read by this one; `tests/sinks/journals/make.py` makes them."""

import tarfile
from pathlib import Path

import pytest

from aggregator.bus.history import Cursor
from aggregator.sinks.places import PlaceFile
from tests.sinks.journals.make import BASE_NS, FIRST, SECOND
from tests.sinks.test_frame import Keeping
from tests.sinks.test_journal import living, read_all, select, trade, written
from tests.sinks.test_spill import caught_up, gaps, life, until

pytestmark = pytest.mark.waits

JOURNALS = sorted((Path(__file__).parent / "journals").glob("*.tar.gz"))
NOW = "20260102T050000.000000Z"


def unpack(build: Path, directory: Path) -> None:
    with tarfile.open(build) as archive:
        archive.extractall(directory, filter="data")


def test_there_are_journals() -> None:
    assert [path.name for path in JOURNALS] == ["5806cf5.tar.gz"]


@pytest.mark.parametrize("build", JOURNALS, ids=lambda path: path.name)
async def test_it_is_read_and_gone_on_with(build: Path, tmp_path: Path) -> None:
    unpack(build, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000001.journal", "000000000002.open", "lives"]
    async with living(tmp_path, NOW, before=SECOND) as (bus, history):
        bus.publish([trade(500)])
        await written(history)
        rows, (gap,) = await read_all(history, Cursor(FIRST, 0), key="offset")
        assert rows == [
            *((FIRST, str(number)) for number in range(1, 301)),
            *((SECOND, str(number)) for number in range(1, 201)),
            (NOW, "1"),
        ]
        assert (gap.cause, gap.ts_from, gap.ts_to) == ("restart", BASE_NS + 499, trade(500).ts_recv)
        rows, _ = await read_all(history, Cursor(FIRST, 0), select("trades:alpha:B"))
        assert [int(id) for _, id in rows] == [n for n in range(500) if n % 2 and n % 10 > 2]
        rows, _ = await read_all(history, Cursor(FIRST, 0), select("book:*:A"), key="type")
        assert [kind for _, kind in rows] == ["book_snapshot"] * 50


@pytest.mark.parametrize("build", JOURNALS, ids=lambda path: path.name)
async def test_a_sink_takes_it_from_there(build: Path, tmp_path: Path) -> None:
    unpack(build, tmp_path / "journal")
    PlaceFile(tmp_path / "places" / "kept.place").write(Cursor(FIRST, 100))
    writer = Keeping()
    async with life(tmp_path, writer, NOW, keep=1e9) as (bus, sink):
        bus.publish([trade(500)])
        await caught_up(sink)
        await until(lambda: sink.status().written == 401)
        assert sink.status().received == 401
    (gap,) = gaps(writer.records)
    assert gap.cause == "restart"
    assert [record.ts_recv - BASE_NS for record in writer.records if record is not gap] == list(range(100, 501))
