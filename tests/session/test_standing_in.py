"""Captures that hold the best levels of a book, whole each time, beside the channel of its changes."""

from collections.abc import Sequence

import pytest

from aggregator.catalog.registry import load_exchange
from aggregator.records import BookDelta, BookSnapshot, Levels, OrdersDelta, OrdersSnapshot
from aggregator.session.moment import Now
from aggregator.session.session import Session

NOW = Now(1_790_138_580_000_000_000, 1)
BTCMARKETS = (
    (
        b'{"messageType":"orderbook","marketId":"A","timestamp":"2026-09-23T04:43:00.1Z","snapshotId":1790138580100000,'
        b'"bids":[["100","1"]],"asks":[["101","1"]]}'
    ),
    (
        b'{"messageType":"orderbookUpdate","marketId":"A","timestamp":"2026-09-23T04:43:00.2Z",'
        b'"snapshotId":1790138580200000,"bids":[["99","3",1]],"asks":[]}'
    ),
    (
        b'{"messageType":"orderbookUpdate","snapshot":true,"marketId":"A","timestamp":"2026-09-23T04:43:00.3Z",'
        b'"snapshotId":1790138580300000,"bids":[["100","1",1],["98","7",1]],"asks":[["101","1",1]]}'
    ),
)
OKX = (
    (
        b'{"arg":{"channel":"books5","instId":"A"},"data":[{"asks":[["101","1","0","1"]],"bids":[["100","1","0","1"]],'
        b'"instId":"A","ts":"1790138580000","seqId":10}]}'
    ),
    (
        b'{"arg":{"channel":"books","instId":"A"},"action":"update","data":[{"asks":[],"bids":[["99","3","0","1"]],'
        b'"ts":"1790138580000","checksum":0,"prevSeqId":10,"seqId":11}]}'
    ),
    (
        b'{"arg":{"channel":"books","instId":"A"},"action":"snapshot","data":[{"asks":[["101","1","0","1"]],'
        b'"bids":[["100","1","0","1"],["98","7","0","1"]],"ts":"1790138580000","checksum":0,"prevSeqId":-1,"seqId":12}]}'
    ),
)
BITSO = (
    (
        b'{"type":"orders","book":"A","payload":{"bids":[{"o":"x","r":"100","a":"1","v":"1","t":0,"d":1}],'
        b'"asks":[{"o":"w","r":"101","a":"1","v":"1","t":1,"d":1}]},"sent":1790138580000}'
    ),
    (
        b'{"type":"diff-orders","book":"A","sequence":8,"payload":[{"d":1,"r":"99","t":0,"a":"3","v":"1","o":"y",'
        b'"s":"open"}],"sent":1790138580001}'
    ),
)
Told = tuple[str, Levels]


def session_of(id: str, stream: str) -> Session:
    exchange = load_exchange(id)
    assert exchange is not None
    return Session(id, next(s for s in exchange.streams if s.name == stream), conn="a", instruments={})


def books(records: Sequence[object]) -> list[Told]:
    """What is told of a book: how a whole one came or that it changed, and its bids."""
    return [
        (r.reason if isinstance(r, BookSnapshot) else "change", r.bids)
        for r in records
        if isinstance(r, BookSnapshot | BookDelta)
    ]


@pytest.mark.parametrize(
    ("id", "stream", "frames"), [("btcmarkets", "main", BTCMARKETS), ("okx", "public", OKX)], ids=["btcmarkets", "okx"]
)
def test_no_change_applies_to_the_best_levels_and_they_stand_until_the_whole_book_is_had(
    id: str, stream: str, frames: tuple[bytes, bytes, bytes]
) -> None:
    best, change, whole = frames
    session = session_of(id, stream)
    told = [record for frame in (best, change, best, whole, best) for record in session.receive([frame], NOW)]
    cut: Told = ("periodic", [("100", "1")])
    assert books(told) == [cut, cut, ("resync", [("100", "1"), ("98", "7")])]
    topic = session.topics.get("book", "A")
    assert topic is not None
    assert topic.duplicates == 1


def test_a_change_behind_them_applies_to_the_whole_book() -> None:
    best, change, whole = BTCMARKETS
    session = session_of("btcmarkets", "main")
    later = change.replace(b"00.2Z", b"00.4Z").replace(b"580200000", b"580400000")
    session.receive([best, whole, best, later], NOW)
    (book,) = session.topics.books(NOW)
    assert book.bids == [("100", "1"), ("99", "3"), ("98", "7")]


def test_the_best_orders_stand_in_for_a_book_that_is_told_order_by_order() -> None:
    best, change = BITSO
    session = session_of("bitso", "main")
    whole = (
        b'{"success":true,"payload":{"asks":[{"oid":"w","book":"A","price":"101","amount":"1"}],'
        b'"bids":[{"oid":"x","book":"A","price":"100","amount":"1"}],"sequence":"7"}}'
    )
    told = [*session.receive([best, change, best], NOW), *session.receive_snapshot("A", whole, NOW)]
    told += session.receive([best], NOW)
    assert books(told) == [
        ("periodic", [("100", "1")]),
        ("periodic", [("100", "1")]),
        ("resync", [("100", "1")]),
        ("change", [("99", "3")]),
    ]
    assert [type(r) for r in told if isinstance(r, OrdersSnapshot | OrdersDelta)] == [OrdersSnapshot, OrdersDelta]


def test_changes_follow_periodic_books_where_one_channel_brings_both() -> None:
    session = session_of("bitflyer", "main")
    head = b'{"jsonrpc":"2.0","method":"channelMessage","params":{"channel":"lightning_board'
    rows = b'"message":{"mid_price":100,"bids":[{"price":%d,"size":1}],"asks":[]}}}'
    whole, change = head + b'_snapshot_A",' + rows % 100, head + b'_A",' + rows % 99
    assert books(session.receive([whole, change], NOW)) == [("periodic", [("100", "1")]), ("change", [("99", "1")])]
