"""Coinbase Advanced Trade: what one frame alone cannot show."""

import json

from aggregator.capture.replay import Reader
from aggregator.exchange import Stream, Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.coinbase import EXCHANGE

SECOND = 10**9
START = 1_795_168_800 * SECOND


def frame(number: int, product: str, type: str = "update", channel: str = "l2_data") -> bytes:
    at = "2026-11-20T10:00:01.1Z"
    level = {"side": "bid", "event_time": at, "price_level": "1.5", "new_quantity": "2"}
    event = {"type": type, "product_id": product, "updates": [level]}
    return json.dumps({"channel": channel, "timestamp": at, "sequence_num": number, "events": [event]}).encode()


def heard(*frames: bytes) -> tuple[Session, list[Record]]:
    wanted = [Subscription("book", "BTC-USD"), Subscription("book", "ETH-USD")]
    session = Session("coinbase", EXCHANGE.streams[0], conn="main#1", instruments={}, subscriptions=wanted)
    session.open(Now(START, 0))
    session.outbox.clear()
    out: list[Record] = []
    for at, message in enumerate(frames, 1):
        out += session.receive([message], Now(START + at * SECOND, at * SECOND))
    session.tick(Now(START + 30 * SECOND, (len(frames) + 1) * SECOND))
    return session, out


WHOLE = (frame(0, "BTC-USD", "snapshot"), frame(1, "ETH-USD", "snapshot"))


def test_books_follow_each_other_through_frames_of_other_channels() -> None:
    session, out = heard(*WHOLE, frame(2, "", channel="heartbeats"), frame(3, "BTC-USD"), frame(4, "ETH-USD"))
    assert [type(record) for record in out] == [BookSnapshot, BookSnapshot, BookDelta, BookDelta]
    assert [record.sequence_prev for record in out[2:]] == [0, 1]
    assert not session.outbox


def test_after_a_frame_that_is_missing_every_book_is_asked_for_again() -> None:
    session, out = heard(*WHOLE, frame(3, "BTC-USD"), frame(4, "ETH-USD"))
    assert [(type(gap), gap.raw_symbol) for gap in out[2:]] == [(Gap, "BTC-USD"), (Gap, "ETH-USD")]
    asked = [json.loads(sent) for sent in session.outbox]
    books = [(sent["type"], sent["product_ids"]) for sent in asked if sent["channel"] == "level2"]
    assert books == [
        ("unsubscribe", ["BTC-USD"]),
        ("subscribe", ["BTC-USD"]),
        ("unsubscribe", ["ETH-USD"]),
        ("subscribe", ["ETH-USD"]),
    ]


def test_a_book_that_has_come_anew_goes_on() -> None:
    _, out = heard(*WHOLE, frame(3, "BTC-USD"), frame(4, "BTC-USD", "snapshot"), frame(5, "BTC-USD"))
    *_, snapshot, gap, delta = out
    assert isinstance(snapshot, BookSnapshot)
    assert isinstance(gap, Gap)
    assert (gap.phase, delta.sequence_prev) == ("close", 4)


def test_thirty_books_share_a_connection() -> None:
    """More, and the exchange says "too many L2 streams requested in a single session", naming none (2026-09)."""
    carriers = [feed for feed in EXCHANGE.feeds_on("2026-12-01") if "book" in feed.channels]
    assert [(feed.name, feed.per_connection) for feed in carriers if isinstance(feed, Stream)] == [("books", 30)]
    assert {channel for feed in EXCHANGE.feeds_on("2026-12-01") for channel in feed.channels} == set(EXCHANGE.channels)


def test_captures_of_books_among_other_channels_are_read_as_one() -> None:
    reader = Reader(EXCHANGE, [], None)
    url = "wss://advanced-trade-ws.coinbase.com"
    assert reader.stream_of(url, b"{}") is EXCHANGE.streams[0]
    assert reader.stream_of(url, b"{}", "coinbase/main.0#3") is EXCHANGE.streams[0]
