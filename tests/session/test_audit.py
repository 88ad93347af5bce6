"""The audit of a live book: it is compared with the exchange's own at the very number that the answer has."""

from collections import deque

import pytest

from aggregator.records import SECOND_NS, BookDelta, BookSnapshot, Gap, Health, Levels, Record
from aggregator.sequence import contiguous
from aggregator.session.audit import PATIENCE_NS, Audit, compare
from aggregator.session.moment import Now
from aggregator.session.order_book import BookNeed, BookTopic
from aggregator.session.topics import Origin, TopicCheckpoint

NOW = Now(1_760_000_000 * SECOND_NS, 1000 * SECOND_NS)
LATE = Now(NOW.wall, NOW.mono + PATIENCE_NS + 1)


def answer(number: int, *bids: tuple[str, str]) -> BookSnapshot:
    return BookSnapshot(raw_symbol="A", sequence=number, bids=list(bids), asks=[("20", "1")])


class Audited:
    """A live book at number 5 with one bid and one ask, and an audit that has just begun."""

    def __init__(self) -> None:
        self.needs: deque[BookNeed] = deque()
        self.topic = BookTopic(
            "A",
            None,
            Origin("toy", "toy/main.1#1"),
            TopicCheckpoint(),
            rule=contiguous,
            depth=None,
            crosses=False,
            joins=False,
            checksum=None,
            verify=1,
            needs=self.needs,
            in_band=False,
            requested=True,
        )
        self.topic.accept(answer(5, ("10", "1")), [], NOW)
        self.audit = Audit(self.topic, NOW)
        self.out: list[Record] = []

    def delta(self, number: int, *bids: tuple[str, str]) -> None:
        self.topic.accept(BookDelta(raw_symbol="A", sequence=number, bids=list(bids), asks=[]), [], NOW)

    def tick(self, now: Now = NOW) -> bool:
        return self.audit.tick(self.out, now)

    def told(self) -> list[str | None]:
        return [record.reason for record in self.out if isinstance(record, Health)]


def test_the_book_is_compared_at_the_number_of_the_answer_and_not_as_it_stands() -> None:
    book = Audited()
    book.delta(6, ("9", "4"))
    book.delta(7, ("9", "0"), ("10", "3"))
    book.audit.answer(answer(6, ("10", "1.0"), ("9", "4")))
    assert book.tick()
    assert book.told() == ["audit: 3 levels agree with the exchange's book"]
    assert book.topic.book is not None


def test_an_answer_that_is_ahead_is_kept_until_our_book_is_as_far() -> None:
    book = Audited()
    book.audit.answer(answer(6, ("10", "2")))
    assert not book.tick()
    book.delta(6, ("10", "2"))
    assert book.tick()
    assert book.told() == ["audit: 2 levels agree with the exchange's book"]


def test_a_book_that_differs_is_lost_and_asked_for_anew() -> None:
    book = Audited()
    book.audit.answer(answer(5, ("10", "1"), ("9", "1")))
    assert book.tick()
    assert book.told()[0] == "audit: 1 of 3 levels are not the exchange's"
    assert [(gap.phase, gap.cause) for gap in book.out if isinstance(gap, Gap)] == [("open", "checksum")]
    assert (book.topic.book, [need.raw_symbol for need in book.needs]) == (None, ["A"])


@pytest.mark.parametrize("number", [4, 6])
def test_an_answer_of_a_moment_at_which_our_book_never_stood_proves_nothing(number: int) -> None:
    """Earlier than the copy, or between the two numbers of a delta that covers several."""
    book = Audited()
    book.topic.accept(BookDelta(raw_symbol="A", sequence_first=6, sequence=7, bids=[("9", "1")], asks=[]), [], NOW)
    book.audit.answer(answer(number, ("1", "1")))
    assert book.tick()
    assert book.told() == ["audit: the exchange's book is of a moment that ours never stood at"]
    assert book.topic.book is not None


def test_without_an_answer_the_audit_ends_and_says_nothing() -> None:
    book = Audited()
    assert not book.tick()
    assert book.tick(LATE)
    assert book.out == []


def test_a_book_that_was_lost_meanwhile_is_in_doubt_anyway() -> None:
    book = Audited()
    book.delta(9)
    book.audit.answer(answer(5, ("10", "1")))
    assert book.tick()
    assert book.told() == []


@pytest.mark.parametrize(
    ("ours", "theirs", "sign", "limits", "found"),
    [
        ([("1", "1")], [("1.00", "1.0")], 1, (None, None), (0, 1)),
        ([("1", "1")], [("1", "2")], 1, (None, None), (1, 1)),
        ([("2", "1"), ("1", "1")], [("2", "1")], 1, (None, "2"), (0, 1)),
        ([("2", "1"), ("1", "1")], [("2", "1")], 1, (None, "1"), (1, 2)),
        ([("2", "1"), ("3", "1")], [("2", "1")], -1, ("2", None), (0, 1)),
        ([], [], 1, (None, None), (0, 0)),
    ],
)
def test_levels_are_compared_as_numbers_and_only_where_both_books_know_them(
    ours: Levels, theirs: Levels, sign: int, limits: tuple[str | None, str | None], found: tuple[int, int]
) -> None:
    assert compare(ours, theirs, sign, limits) == found
