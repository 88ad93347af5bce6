"""Extended: frames are numbered over the whole connection, and a book is whole again about once a minute."""

import json
from collections.abc import Sequence

from aggregator.exchange import Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap, Instrument, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.extended import EXCHANGE

AT = 1_795_168_800 * 10**9
NAMES = ("BTC-USD", "ETH-USD")
Level = dict[str, str]


def book(kind: str, name: str, number: int, bids: Sequence[Level]) -> bytes:
    data = {"t": kind, "m": name, "b": bids, "a": [], "d": "f"}
    said = {"type": f"ORDERBOOKS.{kind}", "data": data, "ts": AT // 10**6, "seq": number}
    return json.dumps(said | {"subscription": f"orderbooks.{name}"}).encode()


def heard(*frames: bytes) -> list[Record]:
    known = {name: Instrument(raw_symbol=name, kind="perpetual") for name in NAMES}
    wanted = [Subscription("book", name) for name in NAMES]
    session = Session("extended", EXCHANGE.streams[0], conn="test", instruments=known, subscriptions=wanted)
    session.open(Now(AT, AT))
    return [record for frame in frames for record in session.receive([frame], Now(AT, AT))]


WHOLE = tuple(book("SNAPSHOT", name, at, [{"p": "100", "q": "3"}]) for at, name in enumerate(NAMES))
CHANGE = [{"p": "100", "q": "-1", "c": "2"}]


def test_numbers_of_other_books_lie_between_those_of_one() -> None:
    records = heard(*WHOLE, book("DELTA", NAMES[0], 2, CHANGE), book("DELTA", NAMES[1], 3, CHANGE))
    assert [r for r in records if isinstance(r, Gap)] == []
    assert [r.bids for r in records if isinstance(r, BookDelta)] == [[("100", "2")]] * 2


def test_a_frame_that_is_missing_is_a_gap_of_each_book_that_comes_after_it() -> None:
    records = heard(*WHOLE, book("DELTA", NAMES[0], 3, CHANGE), book("DELTA", NAMES[1], 4, CHANGE))
    assert [r.raw_symbol for r in records if isinstance(r, Gap) and r.cause == "sequence"] == list(NAMES)


def test_a_frame_that_cannot_be_read_is_a_gap_of_each_book() -> None:
    records = heard(*WHOLE, book("DELTA", NAMES[0], 2, [{"p": "100"}]), book("DELTA", NAMES[1], 3, CHANGE))
    assert [r.raw_symbol for r in records if isinstance(r, Gap) and r.cause == "sequence"] == [NAMES[1]]


def test_a_book_that_is_whole_again_goes_on() -> None:
    again = book("SNAPSHOT", NAMES[0], 3, [{"p": "101", "q": "1"}])
    records = heard(*WHOLE, book("DELTA", NAMES[0], 2, CHANGE), again, book("DELTA", NAMES[0], 4, CHANGE))
    assert [r for r in records if isinstance(r, Gap)] == []
    assert [r.sequence for r in records if isinstance(r, BookSnapshot | BookDelta)] == [0, 1, 2, 3, 4]
