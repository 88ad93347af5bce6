"""The notebook of examples/research runs from top to bottom, and draws what the recording holds."""

import json
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from aggregator.records import Bbo, BookDelta, BookSnapshot, Gap, Health, Record
from tests.support.written import NOON, SECOND_NS, as_lines, numbered

matplotlib = pytest.importorskip("matplotlib", reason="`make notebook` installs it")
pytest.importorskip("polars")
pytestmark = pytest.mark.waits
NOTEBOOK = Path(__file__).parents[2] / "examples/research/one_day.ipynb"
BTC: dict[str, Any] = {"exchange": "kraken", "symbol": "BTC/USD", "raw_symbol": "BTC/USD", "conn": "kraken/main.1#1"}


def at(second: int) -> dict[str, Any]:
    return {**BTC, "ts_recv": NOON + second * SECOND_NS}


def recorded() -> list[Record]:
    """A minute of which ten seconds are missing: the spread is one in a hundred thousand, bids are twice the asks."""
    told: list[Record] = [
        Health(**at(0), source="derived", channel="book", state="subscribing"),
        BookSnapshot(**at(0), bids=[("99999.5", "2")], asks=[("100000.5", "1"), ("200000", "9")]),
    ]
    for second in range(61):
        if second == 20:
            told += [Gap(**at(20), gap_id=c, phase="open", channel=c, cause="disconnect", ts_from=at(20)["ts_recv"])
                     for c in ("book", "bbo")]  # fmt: skip
        elif second == 30:
            told.append(BookSnapshot(**at(30), bids=[("99999.5", "4")], asks=[("100000.5", "2")], reason="resync"))
            told += [Gap(**at(30), gap_id=c, phase="close", channel=c, cause="disconnect", repair="none",
                         ts_from=at(20)["ts_recv"], ts_to=at(30)["ts_recv"]) for c in ("book", "bbo")]  # fmt: skip
        if not 20 <= second < 30:
            told += [BookDelta(**at(second), bids=[], asks=[("300000", str(second + 1))])]
            told += [Bbo(**at(second), bid_price="99999.5", ask_price="100000.5")]
    return numbered(told)


def run(**names: object) -> dict[str, Any]:
    """Run its cells, with other names than it begins with."""
    matplotlib.use("Agg")
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] for cell in cells), "it is kept without what it gave"
    told: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        code = compile("".join(cell["source"]), f"{NOTEBOOK.name}:{number}", "exec")
        exec(code, told)  # noqa: S102 - our own
        if not number:
            assert names.keys() <= told.keys()
            told |= names
    return told


def test_it_draws_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    as_lines(tmp_path / "data/a.ndjson", recorded())
    told = run(PATH=tmp_path / "data")
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "2026-11-29 bbo       81.6666 % covered, 51 records, 0 untold"
    bids, asks = told["middle"].lines[:2]
    drawn = told["top"].lines[0].get_ydata()
    assert drawn[0] == pytest.approx(0.1)
    assert list(map(isnan, drawn)).count(True) == 1  # broken where something is missing
    assert (bids.get_ydata()[0], asks.get_ydata()[0]) == (2, 1)
    assert (bids.get_ydata()[-1], asks.get_ydata()[-1]) == (4, 2)
    assert len(told["top"].patches) == len(told["middle"].patches) == 1
    assert [label.get_text() for label in told["bottom"].get_yticklabels()] == ["book", "bbo"]
    told["figure"].savefig(tmp_path / "it.png")
    assert (tmp_path / "it.png").stat().st_size > 10_000
    told["plt"].close("all")


def test_a_recording_of_nothing_of_it_is_no_error(tmp_path: Path) -> None:
    as_lines(tmp_path / "a.ndjson", recorded())
    told = run(PATH=tmp_path / "a.ndjson", SYMBOL="ETH/USD")
    assert len(told["times"]) == 0
    told["plt"].close("all")
