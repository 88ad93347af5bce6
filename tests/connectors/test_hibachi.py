"""Hibachi: a book is a window, and what has left it is taken out."""

import json

from aggregator.exchange import Subscription
from aggregator.records import Instrument
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.hibachi import EXCHANGE

AT = 1_795_168_800 * 10**9
NAME = "ETH/USDT-P"


def book(kind: str, first: int, last: int, **levels: str) -> bytes:
    rows = [{"price": price.removeprefix("p"), "quantity": size} for price, size in levels.items()]
    bid = {"startPrice": str(first), "endPrice": str(last), "levels": rows}
    ask = {"startPrice": "200", "endPrice": "200", "levels": [{"price": "200", "quantity": "1"}]}
    said = {"topic": "orderbook", "symbol": NAME, "messageType": kind, "depth": 20, "granularity": "1"}
    return json.dumps(said | {"timestamp_ms": AT // 10**6, "data": {"bid": bid, "ask": ask}}).encode()


def bids(*frames: bytes) -> list[tuple[str, str]]:
    """The bids that a session holds after these frames."""
    known = {NAME: Instrument(raw_symbol=NAME, kind="perpetual")}
    wanted = [Subscription("book", NAME)]
    session = Session("hibachi", EXCHANGE.streams[0], conn="test", instruments=known, subscriptions=wanted)
    session.open(Now(AT, AT))
    records = [record for frame in frames for record in session.receive([frame], Now(AT, AT))]
    held = dict(level for record in records for level in getattr(record, "bids", ()))
    return [(price, size) for price, size in held.items() if size != "0"]


WHOLE = book("Snapshot", 103, 100, p103="1", p102="2", p100="3")


def test_what_stands_outside_of_the_window_has_left() -> None:
    assert bids(WHOLE, book("Update", 102, 101, p101="4")) == [("102", "2"), ("101", "4")]


def test_a_level_comes_back_with_the_window() -> None:
    frames = WHOLE, book("Update", 102, 101, p101="4"), book("Update", 103, 101, p103="9")
    assert bids(*frames) == [("103", "9"), ("102", "2"), ("101", "4")]
