"""Bitstamp: what its REST interface allows, and how its cache is passed."""

from msgspec import json

from aggregator.exchange import Subscription, Trouble
from aggregator.records import SECOND_NS, Gap, OrdersDelta, OrdersSnapshot, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.bitstamp import EXCHANGE
from connectors.bitstamp.rest import API


def test_both_of_its_budgets_are_kept() -> None:
    """400 requests a second, and 10,000 in ten minutes (its API reference, September 2026)."""
    assert EXCHANGE.limits.weights[API] == ((400, 1), (10_000, 600))


def test_a_whole_book_is_asked_for_past_the_cache() -> None:
    """Its edge answered the same book for about a second; with another parameter a fresh one came (September 2026)."""
    snapshot = EXCHANGE.streams[0].snapshot
    assert snapshot is not None
    assert snapshot.request is not None
    request = snapshot.request("btcusd")
    assert (request.url, request.fresh) == (f"{API}/order_book/btcusd/", "_")


def test_a_limit_is_told_by_a_code() -> None:
    assert EXCHANGE.trouble is not None
    for code in ("400.002", "400.067", "400.068"):
        body = f'{{"response_code":"{code}","response_explanation":"exceeded rate limit"}}'.encode()
        assert EXCHANGE.trouble(400, {}, body) == Trouble(body.decode(), is_busy=True)
    assert EXCHANGE.trouble(400, {}, b'{"response_code":"400.001"}') is None
    assert EXCHANGE.trouble(200, {}, b"[]") is None


# --- single orders

ALL = {
    "timestamp": "1795168800",
    "microtimestamp": "1795168800000100",
    "bids": [["10.00", "0.5", "1"], ["10.00", "1.0", "2"]],
    "asks": [["11.00", "2.0", "3"]],
}


def told(event: str, row: tuple[str, str, str], at: int, name: int, side: int = 0) -> bytes:
    """An event whose name is a number, as is that of the one before it."""
    id, price, size = row
    order = {
        "id_str": id,
        "order_type": side,
        "price_str": price,
        "amount_str": size,
        "microtimestamp": str(1795168800000000 + at),
    }
    frame = {"event": event, "channel": "live_orders_btcusd", "data": order, "order_source": "orderbook"}
    return json.encode(frame | {"event_id": str(name), "pre_event_id": str(name - 1)})


def now(second: int) -> Now:
    return Now(second * SECOND_NS, second * SECOND_NS)


def opened() -> tuple[Session, list[Record]]:
    """A session with a whole book, asked for behind its first event, and which holds the second."""
    stream = next(stream for stream in EXCHANGE.streams if "orders" in stream.channels)
    wanted = [Subscription(channel, "btcusd") for channel in stream.channels]
    session = Session("bitstamp", stream, conn="bitstamp/orders.1#1", instruments={}, subscriptions=wanted)
    session.open(now(1))
    assert [json.decode(frame)["data"] for frame in session.outbox] == [{"channel": "live_orders_btcusd"}]
    first = told("order_created", ("2", "10.00", "1.0"), 90, 6)
    second = told("order_deleted", ("2", "10.00", "1.0"), 100, 7)
    third = told("order_changed", ("1", "10.00", "0.4"), 101, 8)
    records = session.receive([first, second, third], now(2))
    fetch = session.wanted.popleft()
    assert fetch.request.url == f"{API}/order_book/btcusd/?group=2"
    return session, records + session.answer(fetch, json.encode(ALL), now(3))


def test_events_up_to_the_time_of_the_whole_book_are_part_of_it() -> None:
    session, records = opened()
    (whole,) = (record for record in records if isinstance(record, OrdersSnapshot))
    assert whole.bids == [("1", "10.00", "0.5"), ("2", "10.00", "1.0")]
    assert [record.bids for record in records if isinstance(record, OrdersDelta)] == [[("1", "10.00", "0.4")]]
    (book,) = session.books(now(3))
    assert (book.bids, book.asks) == ([("10.00", "1.4")], [("11.00", "2.0")])


def test_events_of_one_time_follow_each_other() -> None:
    session, _ = opened()
    both = [told("order_changed", ("1", "10.00", "0.3"), 101, 9), told("order_deleted", ("3", "9", "2"), 101, 10, 1)]
    records = session.receive(both, now(4))
    assert [record for record in records if isinstance(record, Gap)] == []
    (book,) = session.books(now(4))
    assert (book.bids, book.asks) == ([("10.00", "1.3")], [])


def test_an_event_that_is_lost_shows_even_where_time_stands_still() -> None:
    session, _ = opened()
    records = session.receive([told("order_created", ("5", "10.50", "1"), 101, 10)], now(4))
    assert {gap.channel for gap in records if isinstance(gap, Gap)} == {"book", "orders"}
    assert session.books(now(4)) == []
    session.receive([told("order_deleted", ("5", "10.50", "1"), 150, 11)], now(5))
    session.tick(now(6))
    assert [fetch.purpose for fetch in session.wanted] == ["snapshot"]


def test_a_book_may_be_crossed_for_a_moment() -> None:
    session, _ = opened()
    records = session.receive([told("order_created", ("5", "11.50", "1"), 102, 9)], now(4))
    assert [record for record in records if isinstance(record, Gap)] == []
