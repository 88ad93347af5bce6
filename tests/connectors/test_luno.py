"""Luno's stream, where no frame names its market, and a trade takes from its maker's order."""

import pytest
from msgspec import json

from aggregator.exchange import Subscription
from aggregator.records import SECOND_NS, BookDelta, BookSnapshot, Gap, OrdersDelta, Record, Trade
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.luno import EXCHANGE, address, wires
from connectors.luno.wires import CHANNELS

WHOLE = {
    "sequence": "7",
    "bids": [{"id": "B1", "price": "10", "volume": "0.50"}, {"id": "B2", "price": "10.00", "volume": "1"}],
    "asks": [{"id": "A1", "price": "11", "volume": "2"}],
    "timestamp": 1790000000000,
}


def at(second: int) -> Now:
    return Now(second * SECOND_NS, second * SECOND_NS)


def traded(number: int, maker: str, base: str, counter: str) -> bytes:
    trade = {"sequence": number, "base": base, "counter": counter, "maker_order_id": maker}
    return json.encode({"sequence": str(number), "trade_updates": [trade], "timestamp": 1790000000001})


def opened() -> tuple[Session, list[Record]]:
    stream = next(stream for stream in EXCHANGE.streams if stream.sign is None)
    wanted = [Subscription(channel, "XBTZAR") for channel in CHANNELS]
    session = Session("luno", stream, conn="luno/main.1#1", instruments={}, subscriptions=wanted)
    session.open(at(1))
    assert list(session.outbox) == [b"{}"]
    return session, session.receive([json.encode(WHOLE)], at(2))


def test_the_address_names_the_market_of_all_that_comes() -> None:
    assert address([Subscription("book", "XBTZAR")]) == "wss://ws.luno.com/api/1/stream/XBTZAR"
    session, records = opened()
    (book,) = (record for record in records if isinstance(record, BookSnapshot))
    assert (book.raw_symbol, book.bids, book.asks) == ("XBTZAR", [("10", "1.50")], [("11", "2")])
    assert {record.raw_symbol for record in records} == {"XBTZAR"}
    assert session.reconnect_reason is None


def test_a_trade_takes_from_its_makers_order_until_that_is_gone() -> None:
    session, _ = opened()
    records = session.receive([traded(8, "B1", "0.2", "2"), traded(9, "B1", "0.3", "3")], at(3))
    assert [(r.price, r.side, r.id) for r in records if isinstance(r, Trade)] == [
        ("10", "sell", "8"),
        ("10", "sell", "9"),
    ]
    assert [r.bids for r in records if isinstance(r, BookDelta)] == [[("10", "1.30")], [("10", "1.00")]]
    assert [r.bids for r in records if isinstance(r, OrdersDelta)] == [[("B1", "10", "0.30")], [("B1", "10", "0")]]


def test_a_hole_in_the_numbers_wants_a_new_connection() -> None:
    session, _ = opened()
    records = session.receive([traded(9, "B1", "0.2", "2")], at(3))
    assert {(gap.channel, gap.cause) for gap in records if isinstance(gap, Gap)} == {
        ("book", "sequence"),
        ("orders", "sequence"),
    }
    assert "only a new connection can do that" in str(session.reconnect_reason)


def test_an_order_that_trades_have_filled_is_forgotten_and_one_that_rests_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A filled order is not told to be gone: were it remembered, an old one that rests would be forgotten for it."""
    monkeypatch.setattr(wires, "MOST_KNOWN", 4)
    parse = wires.without_keys()
    list(parse(json.encode(WHOLE)))
    for number in range(8, 20):
        new = {"order_id": f"N{number}", "type": "ASK", "price": "11", "volume": "0.3"}
        list(parse(json.encode({"sequence": str(number), "create_update": new})))
        list(parse(traded(number, f"N{number}", "0.1", "1.1")))
        list(parse(traded(number, f"N{number}", "0.20", "2.2")))
    trade, _ = parse(traded(20, "B1", "0.2", "2"))
    assert isinstance(trade, Trade)
    assert (trade.price, trade.side) == ("10", "sell")
