"""Single orders of Coinbase Exchange, of which every message has the next number."""

from typing import Any

from msgspec import json

from aggregator.exchange import Credentials, Subscription
from aggregator.records import SECOND_NS, Gap, OrdersDelta
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.coinbaseexchange import EXCHANGE
from connectors.coinbaseexchange.rest import API

ALL = {
    "bids": [["10.00", "0.5", "one"], ["10.00", "1.0", "two"]],
    "asks": [["11.00", "2.0", "three"]],
    "sequence": 7,
}


def now(second: int) -> Now:
    return Now(second * SECOND_NS, second * SECOND_NS)


def step(type: str, sequence: int, side: str, **rest: Any) -> bytes:
    shared = {"type": type, "sequence": sequence, "side": side, "product_id": "BTC-USD"}
    return json.encode(shared | {"time": "2026-11-20T09:20:00.123456Z"} | rest)


def test_the_life_of_orders_is_followed_from_the_number_of_the_whole_book_on() -> None:
    stream = next(stream for stream in EXCHANGE.streams if "orders" in stream.channels)
    assert stream.needs_keys
    wanted = [Subscription(channel, "BTC-USD") for channel in stream.channels]
    session = Session(
        "coinbaseexchange", stream, conn="coinbaseexchange/full.1#1", instruments={}, subscriptions=wanted
    )
    session.open(now(1))
    records = session.receive(
        [
            step("open", 7, "buy", order_id="two", price="10.00", remaining_size="1.0"),
            step("received", 8, "sell", order_id="four", size="0.7", price="10.00"),
            step("match", 9, "buy", maker_order_id="one", taker_order_id="four", size="0.5", price="10.00", trade_id=1),
            step("done", 10, "buy", order_id="one", price="10.00", reason="filled", remaining_size="0"),
            step("change", 11, "sell", order_id="four", reason="STP", old_size="0.2", new_size="0.1", price="10.00"),
        ],
        now(2),
    )
    fetch = session.wanted.popleft()
    assert fetch.request.url == f"{API}/products/BTC-USD/book?level=3"
    records += session.answer(fetch, json.encode(ALL), now(3))
    assert [record for record in records if isinstance(record, Gap)] == []
    changed = [(record.bids, record.asks) for record in records if isinstance(record, OrdersDelta)]
    assert changed == [([], []), ([("one", "10.00", "0")], []), ([], []), ([], [])]
    (book,) = session.books(now(3))
    assert (book.bids, book.asks) == ([("10.00", "1.0")], [("11.00", "2.0")])
    records = session.receive([step("done", 13, "buy", order_id="two", price="10.00")], now(4))
    assert {gap.channel for gap in records if isinstance(gap, Gap)} == {"book", "orders"}


def test_a_request_for_orders_shows_the_keys() -> None:
    stream = next(stream for stream in EXCHANGE.streams if "orders" in stream.channels)
    assert stream.sign is not None
    (frame,) = stream.subscribe([Subscription("orders", "BTC-USD"), Subscription("book", "BTC-USD")], 1)
    keys = Credentials({"key": "K", "passphrase": "P", "secret": "c2VjcmV0"})
    shown = json.decode(stream.sign(keys, 1790000000 * SECOND_NS, frame))
    assert shown["channels"] == ["full"]
    assert (shown["key"], shown["passphrase"], shown["timestamp"]) == ("K", "P", "1790000000")
