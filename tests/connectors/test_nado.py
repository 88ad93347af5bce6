"""Nado: the numbers of a book are times, and a whole one by REST is of a moment between two changes."""

import json

from aggregator.exchange import Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap, Instrument, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.nado import EXCHANGE

AT = 1_795_168_800 * 10**9
UNIT = 10**18


def change(before: int, at: int, price: int) -> bytes:
    said = {"type": "book_depth", "min_timestamp": str(at), "max_timestamp": str(at), "last_max_timestamp": str(before)}
    return json.dumps(said | {"product_id": 2, "bids": [[str(price * UNIT), str(UNIT)]], "asks": []}).encode()


def whole(at: int) -> bytes:
    data = {"bids": [[str(100 * UNIT), str(UNIT)]], "asks": [[str(200 * UNIT), str(UNIT)]], "timestamp": str(at)}
    return json.dumps({"status": "success", "data": data}).encode()


def heard(at: int, *frames: bytes) -> list[Record]:
    """What a session tells of these changes, where the whole book of this moment comes behind the first two."""
    known = {"2": Instrument(raw_symbol="2", kind="perpetual")}
    wanted = [Subscription("book", "2")]
    session = Session("nado", EXCHANGE.streams[0], conn="test", instruments=known, subscriptions=wanted)
    now = Now(AT, AT)
    session.open(now)
    records = session.receive(list(frames[:2]), now)
    records += session.receive_snapshot("2", whole(at), now)
    return [*records, *session.receive(list(frames[2:]), now)]


CHANGES = change(10, 20, 101), change(20, 30, 102), change(30, 40, 103)


def test_changes_that_the_whole_book_has_are_left_out() -> None:
    records = heard(25, *CHANGES)
    assert [r.sequence for r in records if isinstance(r, BookSnapshot | BookDelta)] == [25, 30, 40]
    assert [r for r in records if isinstance(r, Gap)] == []


def test_a_change_that_is_missing_is_a_gap() -> None:
    records = heard(25, *CHANGES[:2], change(40, 50, 104))
    assert [r.cause for r in records if isinstance(r, Gap)] == ["sequence"]
