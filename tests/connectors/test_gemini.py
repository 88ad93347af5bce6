"""Gemini: its WebSocket of today carries trades and books, whose numbers show a hole."""

import json

from aggregator.exchange import Stream, Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.gemini import EXCHANGE

NOW = Now(1_790_000_000_000_000_000, 0)


def carrying(channel: str) -> Stream:
    """The stream that carries a channel live: the first that declares it."""
    return next(stream for stream in EXCHANGE.streams if channel in stream.channels)


def depth(first: int, final: int, *bids: tuple[str, str]) -> bytes:
    said = {"e": "depthUpdate", "E": 1789456742337187316, "s": "ethgusdperp", "U": first, "u": final}
    return json.dumps(said | {"b": bids, "a": [["2483.5000", "1.000"]] if first == final else []}).encode()


def test_the_address_of_today_carries_what_it_has_and_the_archived_one_the_rest() -> None:
    assert {carrying(channel).url for channel in ("trades", "book", "bbo")} == {"wss://ws.gemini.com?snapshot=-1"}
    archived = {carrying(channel).url for channel in ("candles", "mark_price", "index_price", "funding")}
    assert archived == {"wss://api.gemini.com/v2/marketdata"}


def test_a_book_that_comes_before_its_confirmation_is_followed_and_a_hole_is_seen() -> None:
    """As in September 2026: the whole book first, then the confirmation; each change begins where the last ended."""
    stream = carrying("book")
    wanted = [Subscription("book", "ETHGUSDPERP")]
    session = Session("gemini", stream, conn="streams#1", instruments={}, subscriptions=wanted)
    session.open(NOW)
    asked = json.loads(session.outbox.popleft())
    assert (asked["method"], asked["params"]) == ("SUBSCRIBE", ["ethgusdperp@depth@100ms"])
    confirmed = json.dumps({"id": asked["id"], "status": 200}).encode()
    frames = [depth(100, 100, ("2482.5500", "1.047")), confirmed, depth(100, 463, ("2482.5500", "0.000"))]
    said = session.receive(frames, NOW)
    assert [type(record) for record in said if isinstance(record, BookSnapshot | BookDelta | Gap)] == [
        BookSnapshot,
        BookDelta,
    ]
    [gap] = [r for r in session.receive([depth(464, 470, ("2482.0000", "1.000"))], NOW) if isinstance(r, Gap)]
    assert (gap.cause, gap.phase) == ("sequence", "open")
    assert [json.loads(frame)["method"] for frame in session.outbox] == ["UNSUBSCRIBE", "SUBSCRIBE"]
