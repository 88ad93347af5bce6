"""A market that is no more: what its REST address still answers is no book, and what was refused is not fetched."""

import json
from collections.abc import Iterable, Sequence

import pytest

from aggregator.exchange import Accepted, Event, Refused, Request, Snapshot, Stream, Subscription
from aggregator.records import BookDelta, BookSnapshot, Health, Record
from aggregator.sequence import contiguous
from aggregator.session.moment import Now
from aggregator.session.session import Session

SECOND = 10**9
START = 1_789_455_700 * SECOND
LEVELS = [["100", "1"]]


def parse(frame: bytes) -> Iterable[Event]:
    said = json.loads(frame)
    if "refused" in said:
        return (Refused("no such market", raw_symbol="A", meaning="final"),)
    if "delta" in said:
        return (BookDelta(raw_symbol="A", bids=[("100", "1")], asks=[], sequence=said["delta"]),)
    return (Accepted(channel="book", raw_symbol="A"),)


def subscribe(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
    return [s.raw_symbol.encode() for s in wanted]


def read_book(raw_symbol: str, body: bytes) -> BookSnapshot:
    said = json.loads(body)
    bids, asks = ([(price, size) for price, size in said[side]] for side in ("bids", "asks"))
    return BookSnapshot(raw_symbol=raw_symbol, bids=bids, asks=asks, sequence=said["sequence"], ts_event=said["ts"])


def answer(age: int, bids: Sequence[Sequence[str]] = ()) -> bytes:
    return json.dumps({"sequence": 7, "ts": START - age * SECOND, "bids": bids, "asks": []}).encode()


STREAM = Stream(
    channels={"book": "b"},
    subscribe=subscribe,
    parse=parse,
    sequence={"book": contiguous},
    snapshot=Snapshot(lambda name: Request(f"https://toy.example/{name}"), read_book, after_delta=False),
    patience=1000,
)


def at(seconds: int) -> Now:
    return Now(START + seconds * SECOND, (seconds + 1) * SECOND)


def opened() -> tuple[Session, list[Record]]:
    session = Session("toy", STREAM, conn="c", instruments={}, subscriptions=[Subscription("book", "A")])
    return session, session.open(at(0))


def ask_for(session: Session, body: bytes, seconds: int) -> tuple[int, list[Record]]:
    """Let so much time pass, each question answered alike: how many there were, and what was told."""
    asked, out = 0, []
    for second in range(1, seconds):
        out += session.tick(at(second))
        while session.wanted:
            asked += 1
            out += session.answer(session.wanted.popleft(), body, at(second))
    return asked, out


def test_a_book_that_was_refused_is_not_fetched() -> None:
    session, out = opened()
    out += session.receive([b'{"refused": true}'], at(0))
    asked, told = ask_for(session, answer(99), 120)
    assert (asked, [r for r in told if isinstance(r, BookSnapshot)]) == (0, [])
    assert [r.state for r in (*out, *told) if isinstance(r, Health)] == ["subscribing", "down"]


def test_an_empty_book_of_long_ago_is_no_book_and_is_asked_for_ever_more_rarely() -> None:
    session, _ = opened()
    session.receive([b"{}"], at(0))
    asked, told = ask_for(session, answer(99), 120)
    assert [r for r in told if isinstance(r, BookSnapshot)] == []
    assert session.books(at(120)) == []
    assert 2 <= asked <= 10
    reasons = [r.reason for r in told if isinstance(r, Health)]
    assert reasons.count("the exchange answers with an empty book of long ago") == 1  # it is said once
    assert "live" not in [r.state for r in told if isinstance(r, Health)]


@pytest.mark.parametrize(("age", "bids"), [(5, ()), (3600, LEVELS)])
def test_an_empty_book_of_now_and_a_quiet_one_with_levels_are_books(age: int, bids: Sequence[Sequence[str]]) -> None:
    """Where nobody trades, the time of a book may be that of its last change."""
    session, _ = opened()
    session.receive([b"{}"], at(0))
    asked, told = ask_for(session, answer(age, bids), 3)
    assert (asked, len([r for r in told if isinstance(r, BookSnapshot)])) == (1, 1)


def test_a_book_that_fills_again_is_taken() -> None:
    session, _ = opened()
    session.receive([b"{}"], at(0))
    ask_for(session, answer(99), 10)
    _, told = ask_for(session, answer(0, LEVELS), 70)
    assert [r.bids for r in told if isinstance(r, BookSnapshot)] == [[("100", "1")]]


def test_an_answer_that_comes_when_its_topic_was_left_makes_no_topic() -> None:
    """It would never get a frame, stand still, and have the connection replaced for it."""
    session, _ = opened()
    session.receive([json.dumps({"delta": 8}).encode()], at(1))
    assert [fetch.raw_symbol for fetch in session.wanted] == ["A"]
    session.unsubscribe([Subscription("book", "A")], at(2))
    assert session.receive_snapshot("A", answer(0, LEVELS), at(3)) == []
    assert session.topics.get("book", "A") is None
