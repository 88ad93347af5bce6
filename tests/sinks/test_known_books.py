"""Where a replay of a journal begins, its books are as if everything before had been read."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from aggregator.bus.bus import Batch, Bus
from aggregator.bus.history import Cursor
from aggregator.bus.selection import Selection, parse_pattern
from aggregator.feed.kept import KeptStream
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Record, Trade
from aggregator.sinks.journal import known_books
from aggregator.sinks.journal.known_books import PastPart
from aggregator.sinks.journal.recording import JournalRecording
from aggregator.sinks.journal.segments import Shelf
from aggregator.sinks.journal.writer import BlockWriter
from aggregator.sinks.sink import LOCAL, Context
from tests.support.journal_model import close_small

EPOCH = "20260102T030405.000000Z"
BOOKS = [("alpha", "A"), ("alpha", "B"), ("beta", "A"), ("beta", "C")]
PATTERNS = ("*:*:*", "book:alpha:*", "book:*:A", "book:beta:C", "trades:*:*")


def made(chance: random.Random, number: int) -> Record:
    """One record: mostly a change of a book, seldom a whole one, a state or a gap."""
    exchange, symbol = chance.choice(BOOKS)
    names = {"exchange": exchange, "symbol": f"{symbol}/USD", "raw_symbol": symbol, "ts_recv": number, "conn": "main#1"}
    match chance.randrange(20):
        case 0:
            return BookSnapshot(**names, bids=[("1", str(number))], asks=[("9", "1")])  # type: ignore[arg-type]
        case 1:
            return Health(**names, channel="book", state=chance.choice(["live", "suspect"]))  # type: ignore[arg-type]
        case 2:
            gap = Gap(**names, gap_id=str(number), phase="open", channel="book", cause="stalled", ts_from=number)  # type: ignore[arg-type]
            return structs.replace(gap, symbol=None, raw_symbol=None) if chance.random() < 0.2 else gap
        case 3 | 4 | 5:
            return Trade(**names, price="1", size="1")  # type: ignore[arg-type]
    return BookDelta(**names, bids=[(str(chance.randrange(1, 5)), str(number))], asks=[])  # type: ignore[arg-type]


def journal(path: Path, records: list[Record], size: int, *, is_ended: bool, closed: int) -> None:
    """A journal of records in segments of about this size, of which so many are closed."""
    bus = Bus(EPOCH)
    shelf = Shelf(path, keep_bytes=1 << 40, keep_ns=1 << 62, close=close_small)
    shelf.recover()
    context = Context("journal", bus, lambda: 1, LOCAL)
    writer = BlockWriter(shelf, EPOCH, context, segment_bytes=size, on_begin=lambda: None)
    batches: list[Batch] = []
    bus.attach(batches.append)
    writer.begin()
    for record in records:
        bus.publish([record])
        writer.write(batches)
        batches.clear()
    if is_ended:
        writer.end(bus.offset)
    for _ in range(closed):
        shelf.close_one()


def known(path: Path, place: Cursor, wanted: Selection) -> tuple[KeptStream, int]:
    """How a stream stands at a place as a replay begins there, and how many records said so."""
    kept, count = KeptStream({}), 0
    for excerpt in JournalRecording(path, str).play(place, wanted, str):
        if excerpt.is_past:
            kept.learn(excerpt.records)
            count += len(excerpt.records)
    return kept, count


def everything(_segments: object, place: Cursor, wanted: Selection) -> list[PastPart]:
    return [PastPart(Cursor(place.epoch, 0), place, known_books._books(wanted, None))]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 1 << 40))
def test_books_are_known_as_if_all_before_had_been_read(
    seed: int, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    path = tmp_path_factory.mktemp("journal")
    records = [made(chance, number) for number in range(1, chance.randrange(2, 200))]
    journal(path, records, chance.randrange(500, 6000), is_ended=chance.random() < 0.5, closed=chance.randrange(40))
    last = len(records)
    for pattern in PATTERNS:
        wanted, place = Selection([parse_pattern(pattern)]), Cursor(EPOCH, chance.randrange(last + 1))
        found, count = known(path, place, wanted)
        with monkeypatch.context() as patch:
            patch.setattr("aggregator.sinks.journal.recording.parts_before", everything)
            expected, most = known(path, place, wanted)
        assert {name: found.book(name) for name in BOOKS} == {name: expected.book(name) for name in BOOKS}
        assert found.told_states == expected.told_states
        assert count <= most


def test_what_came_before_the_last_whole_book_is_not_read(tmp_path: Path) -> None:
    """Of two books one is told whole again, so that of the other alone all changes are read."""
    one, other = (
        {"exchange": "alpha", "symbol": f"{symbol}/USD", "raw_symbol": symbol, "ts_recv": 1} for symbol in "AB"
    )
    records: list[Record] = []
    for number in range(1, 501):
        names = one if number % 2 else other
        is_whole = number <= 2 or number == 450
        records.append(
            BookSnapshot(**names, bids=[("1", "1")], asks=[])  # type: ignore[arg-type]
            if is_whole
            else BookDelta(**names, bids=[("1", str(number))], asks=[])  # type: ignore[arg-type]
        )
    journal(tmp_path, records, 2000, is_ended=True, closed=1000)
    place = Cursor(EPOCH, 480)
    counts = {}
    for pattern in ("book:*:A/USD", "book:*:B/USD", "book:*:*"):
        kept, counts[pattern] = known(tmp_path, place, Selection([parse_pattern(pattern)]))
        assert {book.bids[0] for name in kept.books if (book := kept.book(name))} <= {("1", "479"), ("1", "480")}
    assert counts["book:*:A/USD"] == 240
    assert 16 <= counts["book:*:B/USD"] < 40
    assert counts["book:*:*"] < 240 + 40
