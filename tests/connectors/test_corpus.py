"""Genuine messages, read in place: what each connector makes of every capture and every quoted frame it may meet.

The counts stand in `corpus.json`, beside the lines that cannot be read, each with the reason. After a change that is
meant: `CORPUS=write pytest tests/connectors/test_corpus.py`, and look at the difference.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from aggregator.capture.listed import listed_by
from aggregator.capture.reading import read_capture
from aggregator.capture.replay import ParseOnly, Replay
from aggregator.catalog.catalog import aliases_of
from aggregator.catalog.registry import archived_ids, connector_ids, load_exchange
from aggregator.errors import BadFrame
from aggregator.exchange import Exchange
from aggregator.records import CHANNEL_OF, Gap, Instrument, Record

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
PINNED = Path(__file__).with_name("corpus.json")
OLDER = {"dydx": ["dydx_v3"]}  # more folders that hold an exchange's captures
WRITES = os.environ.get("CORPUS") == "write"
Counts = dict[str, int]

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"{CORPUS} is not here")


def captures() -> list[object]:
    found: list[object] = []
    for id in (*connector_ids(), *archived_ids()):
        for folder in (id, *OLDER.get(id, [])):
            paths = sorted((CORPUS / folder).glob("ws-*.jsonl.zst"))
            found += [pytest.param(id, path, id=name_of(path)) for path in paths]
    return found


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.name.partition('.')[0]}"


def listed(exchange: Exchange, folder: str) -> list[Instrument]:
    """The instruments of the listing bodies that stand in the corpus, whichever request they answer."""
    found: dict[str | None, Instrument] = {}
    path = CORPUS / folder / "rest.jsonl"
    for line in path.read_text().splitlines() if path.exists() else ():
        row = json.loads(line)
        if row["channel"] == "instrument" and row["kind"] == "capture":
            try:
                listing = listed_by(exchange, [row["raw"].encode()], aliases_of(exchange.id))
            except Exception:  # noqa: BLE001, S112 - a body of another endpoint than ours
                continue
            found |= {instrument.raw_symbol: instrument for instrument in listing.instruments}
    return list(found.values())


def parse_only(exchange: Exchange, path: Path) -> tuple[Counts, list[int]]:
    """Records by type from the parser alone, and the lines that it cannot read."""
    reader = ParseOnly(exchange, [], stream=None)
    counts: Counter[str] = Counter()
    unread = []
    for number, line in read_capture(path):
        assert not isinstance(line, BadFrame)
        try:
            counts.update(str(type(record).__struct_config__.tag) for record in reader.feed(line))
        except Exception:  # noqa: BLE001 - counted
            unread.append(number)
    return dict(sorted(counts.items())), unread


def replayed(exchange: Exchange, instruments: list[Instrument], path: Path) -> Counts:
    """Records by type from whole sessions; gaps by cause and phase."""
    replay = Replay(exchange, instruments)
    counts: Counter[str] = Counter()
    records: list[Record] = []
    for _, line in read_capture(path):
        assert not isinstance(line, BadFrame)
        records += replay.feed(line)
    for record in [*records, *replay.end()]:
        assert type(record) not in CHANNEL_OF or record.exchange == exchange.id
        counts[f"gap {record.cause} {record.phase}" if isinstance(record, Gap) else _tag(record)] += 1
    return dict(sorted(counts.items()))


def _tag(record: object) -> str:
    return str(type(record).__struct_config__.tag)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("id", "path"), captures())
def test_every_frame_of_a_capture_is_read(id: str, path: Path) -> None:
    exchange = load_exchange(id)
    assert exchange is not None
    parsed, unread = parse_only(exchange, path)
    seen = {"parsed": parsed, "sessions": replayed(exchange, listed(exchange, path.parent.name), path)}
    name = name_of(path)
    pinned = json.loads(PINNED.read_text()) if PINNED.exists() else {}
    if WRITES:
        assert "PYTEST_XDIST_WORKER" not in os.environ, "two that write one file: name the tests that write it in ARGS"
        reasons = pinned.get(name, {}).get("unread", {})
        seen["unread"] = {str(line): reasons.get(str(line), "") for line in unread}
        pinned[name] = seen
        PINNED.write_text(json.dumps(dict(sorted(pinned.items())), indent=1) + "\n")
        return
    assert name in pinned, f"{name} is new: CORPUS=write pytest tests/connectors/test_corpus.py"
    assert {key: pinned[name][key] for key in seen} == seen
    assert sorted(map(int, pinned[name]["unread"])) == unread
    assert all(pinned[name]["unread"].values()), "each frame that cannot be read has its reason"


def test_nothing_is_pinned_that_is_not_there() -> None:
    assert set(json.loads(PINNED.read_text())) <= {param.id for param in captures()}  # type: ignore[attr-defined]
