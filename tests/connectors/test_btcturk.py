"""BtcTurk's book, whose numbers count the frames of one subscription."""

from msgspec import json

from aggregator.exchange import Subscription
from aggregator.records import SECOND_NS, BookDelta, BookSnapshot, Gap
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.btcturk import EXCHANGE

JOIN = b'[151,{"type":151,"channel":"obdiff","event":"ABCTRY","join":true}]'
LEAVE = b'[151,{"type":151,"channel":"obdiff","event":"ABCTRY","join":false}]'


def at(second: int) -> Now:
    return Now(second * SECOND_NS, second * SECOND_NS)


def whole(number: int) -> bytes:
    rows = {"AO": [{"A": "1", "P": "11"}], "BO": [{"A": "1", "P": "10"}]}
    return json.encode(
        [431, {"CS": number, "PS": "ABCTRY", **rows, "channel": "obdiff", "event": "ABCTRY", "type": 431}]
    )


def changed(number: int, change: int, amount: str) -> bytes:
    rows = {"AO": [], "BO": [{"CP": change, "P": "10", "A": amount}]}
    return json.encode(
        [432, {"CS": number, "PS": "ABCTRY", **rows, "channel": "obdiff", "event": "ABCTRY", "type": 432}]
    )


def answered(words: str) -> bytes:
    return json.encode([100, {"type": 100, "ok": True, "message": words}])


def opened() -> Session:
    wanted = [Subscription("book", "ABCTRY")]
    session = Session("btcturk", EXCHANGE.streams[0], conn="btcturk/main.1#1", instruments={}, subscriptions=wanted)
    session.open(at(1))
    assert list(session.outbox) == [JOIN]
    session.outbox.clear()
    session.receive([answered("join|obdiff:ABCTRY"), whole(70000)], at(2))
    return session


def test_a_deleted_level_is_gone_whatever_amount_it_still_has() -> None:
    session = opened()
    (delta,) = session.receive([changed(70001, 3, "1")], at(3))
    assert isinstance(delta, BookDelta)
    assert delta.bids == [("10", "0")]


def test_a_hole_is_mended_by_joining_again_where_the_numbers_begin_elsewhere() -> None:
    session = opened()
    records = session.receive([changed(70002, 0, "2")], at(3))
    assert [(gap.cause, gap.expected, gap.got) for gap in records if isinstance(gap, Gap)] == [
        ("sequence", 70001, 70002)
    ]
    found: list[BookSnapshot] = []
    for second in range(4, 8):
        session.tick(at(second))
        asked = list(session.outbox)
        session.outbox.clear()
        if asked:
            assert asked == [LEAVE, JOIN]
            frames = [answered("leave|obdiff:ABCTRY"), answered("join|obdiff:ABCTRY"), whole(500)]
            found += [r for r in session.receive(frames, at(second)) if isinstance(r, BookSnapshot)]
    assert [(book.sequence, book.reason) for book in found] == [(500, "resync")]
    (delta,) = session.receive([changed(501, 0, "2")], at(9))
    assert isinstance(delta, BookDelta)
