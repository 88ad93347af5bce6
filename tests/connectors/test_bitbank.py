"""A conversation with bitbank: rooms are joined once the namespace is open, and a whole book joins its changes."""

import json

from aggregator.exchange import Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.bitbank import EXCHANGE

SECOND = 1_000_000_000
MS = 1_790_000_000_000
(STREAM,) = EXCHANGE.streams


def at(seconds: int) -> Now:
    return Now(MS * 1_000_000 + seconds * SECOND, (seconds + 1) * SECOND)


def room(kind: str, data: object) -> bytes:
    name = f"{kind}_btc_jpy"
    return b"42" + json.dumps(["message", {"room_name": name, "message": {"data": data}}]).encode()


def diff(number: int, price: str, size: str) -> bytes:
    return room("depth_diff", {"a": [], "b": [[price, size]], "t": MS, "s": str(number)})


def whole(number: int) -> bytes:
    sides = {"asks": [["102", "1"]], "bids": [["100", "1"]]}
    return room("depth_whole", sides | {"timestamp": MS, "sequenceId": str(number)})


def opened() -> Session:
    session = Session("bitbank", STREAM, conn="c", instruments={}, subscriptions=[Subscription("book", "btc_jpy")])
    session.open(at(0))
    return session


def said(session: Session) -> list[str]:
    frames = []
    while session.outbox:
        frames.append(session.outbox.popleft())
        session.sent(frames[-1], at(0))
    return [frame.decode() for frame in frames]


def books(records: list[Record]) -> list[tuple[str, int | None]]:
    return [(type(r).__name__, r.sequence) for r in records if isinstance(r, BookSnapshot | BookDelta)]


def test_rooms_are_joined_once_the_namespace_is_open() -> None:
    session = opened()
    assert said(session) == []
    session.receive([b'0{"sid":"a","pingInterval":25000,"pingTimeout":20000}'], at(0))
    assert said(session) == ["40"]
    session.receive([b'40{"sid":"b"}'], at(0))
    assert said(session) == ['42["join-room","depth_diff_btc_jpy"]', '42["join-room","depth_whole_btc_jpy"]']
    session.receive([b"2"], at(1))
    assert said(session) == ["3"]


def test_a_whole_book_joins_the_changes_that_came_before_it() -> None:
    session = opened()
    session.receive([b'40{"sid":"b"}'], at(0))
    said(session)
    assert books(session.receive([diff(10, "99", "5"), diff(16, "100", "0"), diff(24, "98", "2")], at(1))) == []
    assert said(session) == ['42["join-room","depth_whole_btc_jpy"]']
    out = session.receive([whole(16)], at(1))
    assert books(out) == [("BookSnapshot", 16), ("BookDelta", 24)]
    assert books(session.receive([whole(40), diff(36, "97", "1"), diff(44, "101", "1")], at(15))) == [
        ("BookSnapshot", 40),
        ("BookDelta", 44),
    ]
    (book,) = session.books(at(16))
    assert (book.bids, book.asks) == ([("101", "1"), ("100", "1")], [("102", "1")])


def test_a_whole_book_that_is_older_than_all_changes_waits_for_the_next() -> None:
    session = opened()
    session.receive([b'40{"sid":"b"}'], at(0))
    assert books(session.receive([diff(10, "99", "5"), whole(8)], at(1))) == []
    out = session.receive([whole(20)], at(15))
    assert books(out) == [("BookSnapshot", 20)]
    assert [r for r in out if isinstance(r, Gap)] == []
