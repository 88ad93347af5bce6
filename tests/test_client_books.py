"""Books that a client keeps: right through losses, and in doubt for as long as something may be missing."""

import asyncio
from pathlib import Path

import pytest

from aggregator.bus.bus import Bus
from aggregator.client import FeedError, LiveBook, connect
from aggregator.client.books import Books
from aggregator.feed.address import UnixAddress
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Lag, Levels, Trade
from tests.support.views import Fixed

pytestmark = pytest.mark.waits

PATIENCE = 20.0  # seconds; nothing here takes nearly as long
BTC = {"exchange": "alpha", "symbol": "BTC/USD", "raw_symbol": "XBTUSD"}
LAG = Lag(symbol=None, missed=1, offset_from=1, offset_to=1)


def whole(bids: Levels, **names: str) -> BookSnapshot:
    return BookSnapshot(**(BTC | names), bids=bids, asks=[("101", "1")])  # type: ignore[arg-type]


def change(bids: Levels, **names: str) -> BookDelta:
    return BookDelta(**(BTC | names), bids=bids, asks=[])  # type: ignore[arg-type]


def gap(phase: str, **names: str | None) -> Gap:
    said = BTC | {"channel": "book", "cause": "sequence"} | names
    return Gap(**said, gap_id="1", phase=phase, ts_from=1)  # type: ignore[arg-type]


def health(state: str, **names: str | None) -> Health:
    return Health(**(BTC | {"channel": "book"} | names), state=state, reason="why")  # type: ignore[arg-type]


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def book(books: Books) -> LiveBook:
    book = books.keep("alpha", "BTC/USD")
    assert (book.is_whole, book.doubt, book.bids()) == (False, "no snapshot has come yet", [])
    assert books.note(change([("99", "1")])) == []
    assert books.note(whole([("100", "1")])) == [book]
    assert book.is_whole
    return book


def test_deltas_change_it(books: Books, book: LiveBook) -> None:
    assert books.note(change([("100", "0"), ("99", "2.50")])) == [book]
    assert (book.bids(1), book.asks(10)) == ([("99", "2.50")], [("101", "1")])


def test_records_of_others_do_not(books: Books, book: LiveBook) -> None:
    for names in ({"exchange": "beta"}, {"raw_symbol": "OTHER"}):
        assert books.note(change([("1", "1")], **names)) == []
        assert books.note(whole([("1", "1")], **names)) == []
        assert books.note(gap("open", **names)) == []
        assert books.note(health("down", **names)) == []
    assert books.note(gap("open", channel="trades")) == []
    assert books.note(health("down", channel="trades")) == []
    assert books.note(Trade(**BTC, price="1", size="1")) == []  # type: ignore[arg-type]
    assert book.is_whole


@pytest.mark.parametrize(
    "names", [{}, {"symbol": None, "raw_symbol": None}, {"symbol": None, "raw_symbol": None, "channel": None}]
)
def test_a_gap_puts_it_in_doubt_until_the_next_snapshot(
    names: dict[str, str | None], books: Books, book: LiveBook
) -> None:
    assert books.note(gap("open", **names)) == [book]
    assert book.doubt == "a gap is open: sequence"
    assert books.note(change([("100", "5")])) == []
    assert books.note(health("live")) == []
    assert book.bids() == [("100", "1")]
    assert books.note(whole([("98", "1")])) == [book]
    assert books.note(gap("close", **names)) == []
    assert (book.is_whole, book.bids()) == (True, [("98", "1")])


@pytest.mark.parametrize("cause", ["overflow", "damaged", "restart", "expired"])
def test_a_hole_of_a_recording_puts_it_in_doubt_and_the_end_of_a_gap_that_was_told_whole_does_not(
    cause: str, books: Books, book: LiveBook
) -> None:
    hole = {"cause": cause, "repair": "none"}
    assert books.note(gap("close", **hole, conn="files")) == [book]
    assert book.doubt == f"records are missing: {cause}"
    assert books.note(whole([("98", "1")])) == [book]
    books.note(gap("open", cause="restart", conn="alpha/main.1#2"))
    books.note(whole([("97", "1")]))
    assert books.note(gap("close", cause="restart", repair="none", conn="alpha/main.1#2")) == []
    assert (book.is_whole, book.bids()) == (True, [("97", "1")])


def test_a_lag_puts_it_in_doubt_until_a_delta_or_a_snapshot(books: Books, book: LiveBook) -> None:
    for record in (change([("100", "3")]), whole([("100", "3")])):
        assert books.note(LAG) == [book]
        assert books.note(LAG) == []
        assert not book.is_whole
        assert books.note(record) == [book]
        assert (book.is_whole, book.bids()) == (True, [("100", "3")])
    books.note(gap("open"))
    assert books.note(LAG) == []
    assert books.note(change([("100", "9")])) == []
    assert not book.is_whole


def test_its_topics_state_puts_it_in_doubt(books: Books, book: LiveBook) -> None:
    assert books.note(health("stalled")) == [book]
    assert book.doubt == "stalled: why"
    assert books.note(health("quiet")) == [book]
    assert books.note(health("live")) == []
    assert book.is_whole


def test_it_is_had_by_either_name(books: Books) -> None:
    raw = books.keep("alpha", "XBTUSD")
    assert books.keep("alpha", "XBTUSD") is raw
    assert books.note(whole([("100", "1")])) == [raw]
    assert raw.is_whole


@pytest.mark.waits
async def test_what_is_kept_is_what_the_feed_has_also_after_losses(tmp_path: Path) -> None:
    bus, path = Bus("epoch"), tmp_path / "feed.sock"
    there = LiveBook("alpha", "BTC/USD")
    there.note(whole([("1", "1")]))
    fixed = Fixed([whole([("1", "1")])])
    bus.views.add("alpha", fixed)
    server = FeedServer(FeedSettings(listen=(UnixAddress(path),), ring=50), bus)
    await server.start()
    bus.attach(server.publish)
    async with asyncio.timeout(PATIENCE), connect(path) as feed:
        with pytest.raises(FeedError, match="names no book; write exchange:symbol"):
            await feed.book("alpha:*")
        book = await feed.book("alpha:BTC/USD")
        doubts = set()
        for number in range(1, 20_001):
            delta = change([(str(number % 97 + 1), str(number % 3))])
            there.note(delta)
            fixed.live["XBTUSD"] = whole(there.bids())
            bus.publish([delta])
            if number % 5000 == 0:
                await asyncio.sleep(0.01)
        last = change([("1000", "1")])
        there.note(last)
        fixed.live["XBTUSD"] = whole(there.bids())
        bus.publish([last])
        async for changed in feed.changes():
            assert changed is book
            doubts.add(book.doubt)
            if book.is_whole and book.bids(1) == [("1000", "1")]:
                break
        assert book.bids() == there.bids()
        assert "this program was too slow, and lost records" in doubts
    await server.stop(0)
