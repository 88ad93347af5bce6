"""GRVT: the answer to a subscription of a book says which number its changes begin with."""

import json

from aggregator.exchange import Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap, Instrument, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.grvt import EXCHANGE

AT = 1_795_168_800 * 10**9
NAME, SELECTOR = "BTC_USDT_Perp", "BTC_USDT_Perp@50"


def answer(id: int, first: int) -> bytes:
    result = {"stream": "v1.book.d", "subs": [SELECTOR], "unsubs": [], "first_sequence_number": [str(first)]}
    return json.dumps({"jsonrpc": "2.0", "result": result, "id": id, "method": "subscribe"}).encode()


def book(number: int, price: str) -> bytes:
    feed = {"event_time": str(AT), "instrument": NAME, "bids": [{"price": price, "size": "1"}], "asks": []}
    said = {"stream": "v1.book.d", "selector": SELECTOR, "sequence_number": str(number), "feed": feed}
    return json.dumps(said | {"prev_sequence_number": str(max(number - 1, 0))}).encode()


def heard(*frames: bytes) -> list[Record]:
    known = {NAME: Instrument(raw_symbol=NAME, kind="perpetual")}
    wanted = [Subscription("book", NAME)]
    session = Session("grvt", EXCHANGE.streams[0], conn="test", instruments=known, subscriptions=wanted)
    session.open(Now(AT, AT))
    return [record for frame in frames for record in session.receive([frame], Now(AT, AT))]


def test_the_first_change_follows_a_book_whose_own_number_is_nothing() -> None:
    records = heard(answer(1, 501), book(0, "100"), book(501, "101"), book(502, "102"))
    assert [type(r) for r in records if isinstance(r, BookSnapshot | BookDelta)] == [BookSnapshot, BookDelta, BookDelta]
    assert [r for r in records if isinstance(r, Gap)] == []


def test_a_change_that_is_missing_is_a_gap() -> None:
    for frames in ((book(502, "101"),), (book(501, "101"), book(503, "102"))):
        records = heard(answer(1, 501), book(0, "100"), *frames)
        assert [r.cause for r in records if isinstance(r, Gap)] == ["sequence"]


def test_a_change_that_comes_twice_is_told_once() -> None:
    records = heard(answer(1, 501), book(0, "100"), book(501, "101"), book(501, "101"))
    assert [r.sequence for r in records if isinstance(r, BookDelta)] == [501]
