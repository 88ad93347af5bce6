"""NDAX's books, as those of its platform were seen: rows of an event in no order, a price twice, numbers that skip."""

import json

from aggregator.exchange import Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.ndax import EXCHANGE

Row = tuple[int, int, int, str, str, int]  # number, time, action, price, size, side


def frame(name: str, kind: int, *rows: Row) -> bytes:
    said = [[n, 1, at, action, 1, 1, float(price), 8, float(size), side] for n, at, action, price, size, side in rows]
    return json.dumps({"m": kind, "i": 800_000, "n": name, "o": json.dumps(said)}).encode()


def whole(number: int, at: int) -> bytes:
    return frame("SubscribeLevel2", 1, (number, at, 0, "10", "1", 0), (number, at, 0, "11", "2", 1))


def event(*rows: Row) -> bytes:
    return frame("Level2UpdateEvent", 3, *rows)


def read(*frames: bytes) -> tuple[Session, list[Record]]:
    stream = EXCHANGE.streams[0]
    session = Session("ndax", stream, conn="ndax", instruments={}, subscriptions=[Subscription("book", "8")])
    session.open(Now(1, 1))
    found = [record for at, said in enumerate(frames, 2) for record in session.receive([said], Now(at, at))]
    return session, [record for record in found if type(record) in {BookSnapshot, BookDelta, Gap}]


def test_rows_count_in_the_order_of_the_wire_and_an_event_has_its_highest_number() -> None:
    rows: list[Row] = [(93, 7, 2, "11", "0", 1), (94, 9, 0, "11", "5", 1), (91, 8, 1, "10", "3", 0)]
    session, found = read(whole(90, 5), event(*rows))
    delta = found[-1]
    assert isinstance(delta, BookDelta)
    assert [(book.bids, book.asks) for book in session.books(Now(9, 9))] == [([("10.0", "3.0")], [("11.0", "5.0")])]
    assert (delta.sequence_first, delta.sequence, delta.ts_event) == (91, 94, 9_000_000)
    assert delta.asks == [("11.0", "0"), ("11.0", "5.0")]


def test_numbers_may_skip_and_one_that_was_told_is_not_told_again() -> None:
    _, found = read(whole(90, 5), event((95, 6, 1, "10", "3", 0)), event((95, 6, 1, "10", "3", 0)))
    assert [type(record) for record in found] == [BookSnapshot, BookDelta]


def test_a_lower_number_of_a_later_time_ends_the_book_and_asks_for_it_anew() -> None:
    session, found = read(whole(90, 5), event((95, 6, 1, "10", "3", 0)), event((2, 9, 1, "10", "4", 0)))
    assert [type(record) for record in found] == [BookSnapshot, BookDelta, Gap]
    session.tick(Now(10**9, 10**9))
    assert any(b"SubscribeLevel2" in sent for sent in session.outbox)


def test_a_book_is_asked_for_whole() -> None:
    (asked,) = EXCHANGE.streams[0].subscribe([Subscription("book", "8")], 1)
    assert json.loads(json.loads(asked)["o"])["Depth"] == 1000
