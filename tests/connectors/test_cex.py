"""CEX.IO's book: a number that is not the next, be it a lower one, asks for the whole book anew."""

from msgspec import json

from aggregator.exchange import Subscription
from aggregator.records import SECOND_NS, BookDelta, BookSnapshot, Gap, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.cex import EXCHANGE


def at(second: int) -> Now:
    return Now(second * SECOND_NS, second * SECOND_NS)


def told(kind: str, number: int, oid: str | None = None) -> bytes:
    book = {"seqId": number, "pair": "ABC-USD", "bids": [["10", str(number)]], "asks": [["11", "1"]]}
    return json.encode({"e": kind, "data": book, "ok": "ok"} | ({} if oid is None else {"oid": oid}))


def answer(session: Session, number: int, second: int) -> list[Record]:
    """Answer each subscription that stands in the outbox with a whole book."""
    asked = [json.decode(frame) for frame in session.outbox]
    session.outbox.clear()
    frames = [told(one["e"], number, one["oid"]) for one in asked if one["e"] == "order_book_subscribe"]
    return list(session.receive(frames, at(second))) if frames else []


def test_a_lower_number_is_a_restart_within_and_the_book_is_asked_for_again() -> None:
    """The documentation says so; frames carry no time by which an old one could be told from a younger one."""
    wanted = [Subscription("book", "ABC-USD")]
    session = Session("cex", EXCHANGE.streams[0], conn="cex/main.1#1", instruments={}, subscriptions=wanted)
    session.open(at(1))
    answer(session, 500, 1)
    (delta,) = session.receive([told("order_book_increment", 501)], at(2))
    assert isinstance(delta, BookDelta)
    gaps = [record for record in session.receive([told("order_book_increment", 7)], at(3)) if isinstance(record, Gap)]
    assert [(gap.cause, gap.expected, gap.got) for gap in gaps] == [("sequence", 502, 7)]
    found: list[BookSnapshot] = []
    for second in range(4, 12):
        session.tick(at(second))
        found += [record for record in answer(session, 8, second) if isinstance(record, BookSnapshot)]
    assert [(book.sequence, book.reason) for book in found] == [(8, "resync")]
    (delta,) = session.receive([told("order_book_increment", 9)], at(13))
    assert isinstance(delta, BookDelta)
