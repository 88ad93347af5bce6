"""Books of exchanges that number each subscription from its beginning: the one that mends a hole has lower numbers."""

from collections.abc import Iterable, Sequence

from msgspec import Struct, json

from aggregator.exchange import Event, Stream, Subscription
from aggregator.records import SECOND_NS, BookDelta, BookSnapshot, Gap, Record
from aggregator.sequence import contiguous
from aggregator.session.moment import Now
from aggregator.session.session import Session


class Said(Struct):
    number: int
    time: int | None = None  # seconds
    whole: bool = False


decode = json.Decoder(Said).decode


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    kind = BookSnapshot if said.whole else BookDelta
    sent = None if said.time is None else said.time * SECOND_NS
    return (kind(raw_symbol="A", bids=[("1", "2")], asks=[], sequence=said.number, ts_sent=sent),)


def words(word: bytes) -> Sequence[bytes]:
    return (word,)


STREAM = Stream(
    url="wss://toy.example",
    channels={"book": "b"},
    subscribe=lambda _, __: words(b"join"),
    unsubscribe=lambda _, __: words(b"leave"),
    parse=parse,
    sequence={"book": contiguous},
    acknowledges=False,
)


def at(second: int) -> Now:
    return Now(second * SECOND_NS, second * SECOND_NS)


def said(number: int, time: int | None, *, whole: bool = False) -> bytes:
    return json.encode(Said(number, time, whole))


def with_a_hole(*, timed: bool = True) -> Session:
    session = Session("toy", STREAM, conn="toy", instruments={}, subscriptions=[Subscription("book", "A")])
    session.open(at(1))
    session.receive([said(0, 2 if timed else None, whole=True), said(1, 2 if timed else None)], at(2))
    records = session.receive([said(7, 3 if timed else None)], at(3))
    assert causes(records) == [("open", "sequence")]
    return session


def causes(records: list[Record]) -> list[tuple[str, str]]:
    return [(r.phase, r.cause) for r in records if isinstance(r, Gap)]


def test_a_younger_whole_book_with_a_lower_number_is_taken_at_once() -> None:
    session = with_a_hole()
    records = session.receive([said(8, 4), said(0, 4, whole=True), said(1, 5)], at(5))
    assert causes(records) == [("close", "sequence")]
    assert [(type(r), r.sequence) for r in records if isinstance(r, BookSnapshot | BookDelta)] == [
        (BookSnapshot, 0),
        (BookDelta, 1),
    ]


def test_an_older_whole_book_with_a_lower_number_misses_changes() -> None:
    session = with_a_hole()
    assert causes(session.receive([said(6, 2, whole=True)], at(4))) == []


def test_where_numbers_went_on_all_the_same_the_next_change_shows_the_hole() -> None:
    session = with_a_hole()
    records = session.receive([said(6, 4, whole=True), said(8, 4)], at(4))
    assert causes(records) == [("close", "sequence"), ("open", "sequence")]


def test_without_times_a_lower_number_is_not_believed_the_first_time() -> None:
    session = with_a_hole(timed=False)
    assert causes(session.receive([said(0, None, whole=True)], at(4))) == []
    assert causes(session.receive([said(0, None, whole=True)], at(5))) == [("close", "sequence")]


def standing() -> Session:
    """A book that stands at the number 1,001, and has no times."""
    session = Session("toy", STREAM, conn="toy", instruments={}, subscriptions=[Subscription("book", "A")])
    session.open(at(1))
    session.receive([said(1000, None, whole=True), said(1001, None)], at(2))
    return session


def test_without_times_lower_numbers_alone_are_numbers_that_begin_anew() -> None:
    """Else they would be taken for repeats, and the book would stand still for ever without a word."""
    session = standing()
    for second in range(3, 33):
        assert causes(session.receive([said(second, None)], at(second))) == []
    assert causes(session.receive([said(33, None)], at(33))) == [("open", "sequence")]
    assert causes(session.receive([said(34, None, whole=True), said(35, None)], at(34))) == [("close", "sequence")]


def test_repeats_between_changes_are_no_numbers_that_begin_anew() -> None:
    session = standing()
    for second in range(3, 120):
        assert causes(session.receive([said(second, None), said(1000 + second - 1, None)], at(second))) == []


def test_one_number_that_is_repeated_is_no_number_that_begins_anew() -> None:
    session = standing()
    for second in range(3, 120):
        assert causes(session.receive([said(1001, None)], at(second))) == []
