"""itBit's streams: the address names the market, and a connection remembers what it has been told."""

import pytest
from msgspec import json

from aggregator.errors import BadFrame
from aggregator.exchange import Stream, Subscription
from aggregator.records import SECOND_NS, BookDelta, BookSnapshot, Record, Trade
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.itbit import EXCHANGE, PARTS

BOOK, TRADES = EXCHANGE.streams


def at(second: int) -> Now:
    return Now(second * SECOND_NS, second * SECOND_NS)


def part(price: str, *, is_last: bool) -> bytes:
    level = {"price": price, "amount": "1"}
    return json.encode({"type": "SNAPSHOT", "market": "BTCUSD", "bids": [level], "asks": [], "final_snapshot": is_last})


def execution(number: str) -> bytes:
    said = {"market": "BTCUSD", "price": "2", "amount": "1", "executed_at": "2026-11-28T11:28:21Z"}
    return json.encode(said | {"match_number": number})


def opened(stream: Stream) -> Session:
    (channel,) = stream.channels
    wanted = [Subscription(channel, "BTCUSD")]
    session = Session("itbit", stream, conn=f"itbit/{stream.name}.1#1", instruments={}, subscriptions=wanted)
    session.open(at(1))
    assert list(session.outbox) == []
    return session


def flags(records: list[Record]) -> list[tuple[str | None, object]]:
    return [(r.id, r.flags) for r in records if isinstance(r, Trade)]


@pytest.mark.parametrize(("stream", "kind"), [(BOOK, "marketdata"), (TRADES, "executiondata")])
def test_the_address_names_the_market(stream: Stream, kind: str) -> None:
    assert callable(stream.url)
    assert stream.url([Subscription("book", "BTCUSD")]) == f"wss://ws.paxos.com/{kind}/BTCUSD"


def test_a_book_in_parts_is_one_book_and_changes_follow_it() -> None:
    change = {"type": "UPDATE", "market": "BTCUSD", "side": "SELL", "price": "4", "amount": "1"}
    frames = [part("3", is_last=False), part("2", is_last=True), json.encode(change)]
    book, delta = (
        record for record in opened(BOOK).receive(frames, at(2)) if isinstance(record, BookSnapshot | BookDelta)
    )
    assert (book.bids, delta.asks) == ([("3", "1"), ("2", "1")], [("4", "1")])


def test_parts_without_an_end_are_not_kept() -> None:
    parse = BOOK.reader()
    for _ in range(PARTS - 1):
        assert list(parse(part("3", is_last=False))) == []
    with pytest.raises(BadFrame, match="more than 100 messages"):
        parse(part("3", is_last=False))
    (book,) = parse(part("2", is_last=True))
    assert isinstance(book, BookSnapshot)
    assert book.bids == [("2", "1")]


def test_the_first_execution_of_each_connection_is_an_old_one() -> None:
    told = opened(TRADES).receive([execution("A"), execution("B")], at(2))
    assert flags(told)[0] == ("A", ("snapshot",))
    assert flags(told)[1][0] == "B"
    assert "snapshot" not in json.encode(told[-1]).decode()
    assert flags(opened(TRADES).receive([execution("B")], at(3))) == [("B", ("snapshot",))]
