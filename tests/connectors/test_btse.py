"""BTSE's books: each change names the number before it, and both spellings of a contract are one book."""

import json

from aggregator.exchange import Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.btse import EXCHANGE


def frame(number: int, kind: str = "delta", topic: str = "update:ABC-PERP_0") -> bytes:
    data = {"bids": [["1", "2"]], "asks": [["4", "1"], ["3", "2"]], "seqNum": number, "prevSeqNum": number - 1}
    return json.dumps({"topic": topic, "data": {**data, "type": kind, "symbol": "ABC-PERP", "timestamp": 5}}).encode()


def session() -> Session:
    (stream,) = (stream for stream in EXCHANGE.streams if stream.name == "contract-books")
    wanted = [Subscription("book", "ABC-PERP")]
    found = Session("btse", stream, conn="btse", instruments={}, subscriptions=wanted)
    found.open(Now(1, 1))
    return found


def heard(talk: Session, at: int, *frames: bytes) -> list[Record]:
    return [record for record in talk.receive(list(frames), Now(at, at)) if not isinstance(record, Health)]


def test_the_first_change_follows_the_whole_book_whichever_spelling_that_has() -> None:
    found = heard(session(), 2, frame(96, "snapshot", "update:ABC-PERP-USDT_0"), frame(97), frame(98))
    assert [type(record) for record in found] == [BookSnapshot, BookDelta, BookDelta]
    assert {record.raw_symbol for record in found} == {"ABC-PERP"}


def test_a_hole_is_mended_by_asking_for_the_topic_again() -> None:
    talk = session()
    while talk.outbox:
        talk.sent(talk.outbox.popleft(), Now(1, 1))
    assert isinstance(heard(talk, 2, frame(96, "snapshot"), frame(98))[-1], Gap)
    talk.tick(Now(10**9, 10**9))
    asked = [json.loads(said) for said in talk.outbox if said != b"ping"]
    assert [(said["op"], said["args"]) for said in asked] == [
        ("unsubscribe", ["update:ABC-PERP_0"]),
        ("subscribe", ["update:ABC-PERP_0"]),
    ]
    assert [type(record) for record in heard(talk, 2 * 10**9, frame(99, "snapshot"), frame(100))] == [
        BookSnapshot,
        Gap,
        BookDelta,
    ]
