"""Books without numbers, whose whole is an answer by REST."""

import json
from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Event, Request, Snapshot, Stream, Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap, Levels, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session

SECOND = 1_000_000_000
START = 1_760_000_000 * SECOND


def subscribe(_: Sequence[Subscription], __: int) -> Iterable[bytes]:
    return (b"join",)


class Said(Struct):
    bids: Levels
    asks: Levels


decode = Decoder(Said).decode


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    return (BookDelta(raw_symbol="A", bids=said.bids, asks=said.asks),)


def read_book(raw_symbol: str, body: bytes) -> BookSnapshot:
    said = decode(body)
    return BookSnapshot(raw_symbol=raw_symbol, bids=said.bids, asks=said.asks)


STREAM = Stream(
    url="wss://toy.example",
    channels={"book": "b"},
    subscribe=subscribe,
    parse=parse,
    snapshot=Snapshot(lambda name: Request(f"https://toy.example/{name}"), read_book, after_delta=False),
    acknowledges=False,
)


def at(seconds: int) -> Now:
    return Now(START + seconds * SECOND, (seconds + 1) * SECOND)


def said(bids: Sequence[Sequence[str]] = (), asks: Sequence[Sequence[str]] = ()) -> bytes:
    return json.dumps({"bids": bids, "asks": asks}).encode()


def opened() -> Session:
    session = Session("toy", STREAM, conn="c", instruments={}, subscriptions=[Subscription("book", "A")])
    session.open(at(0))
    session.sent(session.outbox.popleft(), at(0))
    return session


def books(records: Sequence[Record]) -> list[tuple[str, object, object]]:
    return [(type(r).__name__, r.bids, r.asks) for r in records if isinstance(r, BookSnapshot | BookDelta)]


def test_changes_that_came_before_the_answer_follow_it() -> None:
    session = opened()
    session.tick(at(1))
    held = session.receive([said(bids=[["9", "2"]])], at(1)) + session.receive([said(asks=[["11", "0"]])], at(1))
    assert books(held) == []
    assert len(session.wanted) == 1
    out = session.answer(session.wanted.popleft(), said([["9", "1"]], [["11", "1"], ["12", "1"]]), at(2))
    assert books(out) == [
        ("BookSnapshot", [("9", "1")], [("11", "1"), ("12", "1")]),
        ("BookDelta", [("9", "2")], []),
        ("BookDelta", [], [("11", "0")]),
    ]
    (book,) = session.books(at(3))
    assert (book.bids, book.asks) == ([("9", "2")], [("12", "1")])


def test_a_change_that_crosses_the_book_is_a_gap_until_another_answer() -> None:
    session = opened()
    session.tick(at(1))
    session.answer(session.wanted.popleft(), said([["9", "1"]], [["11", "1"]]), at(2))
    out = session.receive([said(bids=[["11", "5"]])], at(3))
    assert [(g.cause, g.phase) for g in out if isinstance(g, Gap)] == [("crossed", "open")]
    while not session.wanted:
        session.tick(at(4))
    out = session.answer(session.wanted.popleft(), said([["11", "5"]], [["12", "1"]]), at(5))
    assert [(g.cause, g.phase) for g in out if isinstance(g, Gap)] == [("crossed", "close")]
    assert books(out) == [("BookSnapshot", [("11", "5")], [("12", "1")])]
