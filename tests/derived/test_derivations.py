"""What is computed, for whom, and until when; and the intervals at which it is told."""

import pytest

from aggregator.bus.selection import BadPattern
from aggregator.bus.view import Views
from aggregator.derived import derivations
from aggregator.derived.channels import parse_topics
from aggregator.derived.derivations import Derivations, Input, Told
from aggregator.records import Bbo, BookDelta, BookSnapshot, Gap, Health, Record
from tests.support.views import Fixed

MS = 1_000_000


def bbo(price: str, symbol: str = "BTC/USD", exchange: str = "alpha") -> Bbo:
    raw = symbol.replace("/", "")
    return Bbo(exchange=exchange, symbol=symbol, raw_symbol=raw, ts_recv=1, conn=f"{exchange}/1#1", bid_price=price)


def book(symbol: str = "BTC/USD", exchange: str = "alpha", bid: str = "100") -> BookSnapshot:
    raw = symbol.replace("/", "")
    return BookSnapshot(exchange=exchange, symbol=symbol, raw_symbol=raw, bids=[(bid, "1")], asks=[])


def stream(*records: BookSnapshot | Health) -> Views:
    views = Views(lambda: 0)
    books = [record for record in records if isinstance(record, BookSnapshot)]
    views.add("alpha", Fixed(books, [record for record in records if isinstance(record, Health)]))
    return views


def said(told: Told) -> list[tuple[str, str | None]]:
    return [(each.topic, record.bid_price) for each, record in told if isinstance(record, Bbo)]


ONE: list[Input] = [("bbo", "alpha", "BTCUSD", "BTC/USD")]


def test_the_newest_is_told_at_once_and_then_at_most_once_in_an_interval() -> None:
    found = Derivations(stream())
    found.join(parse_topics("bbo.100ms:alpha:BTC/USD"), ONE)
    topic = "bbo.100ms:alpha:BTC/USD"
    assert said(found.take([bbo("1"), bbo("2")], 0)) == [(topic, "1")]
    assert said(found.take([bbo("3")], 50 * MS)) == []
    assert found.wait_ns(0, 60 * MS) == 40 * MS
    assert said(found.tick(0, 99 * MS)) == []
    assert said(found.tick(0, 100 * MS)) == [(topic, "3")]
    assert found.wait_ns(0, 100 * MS) is None, "nothing new, nothing due"
    assert said(found.tick(0, 1000 * MS)) == []
    assert said(found.take([bbo("4")], 1000 * MS)) == [(topic, "4")]


def test_a_wall_clock_that_jumps_holds_nothing_up() -> None:
    found = Derivations(stream())
    found.join(parse_topics("bbo.100ms:alpha:BTC/USD"), ONE)
    found.take([bbo("1"), bbo("2")], 0)
    assert said(found.tick(-(10**18), 100 * MS)) == [("bbo.100ms:alpha:BTC/USD", "2")]


def test_what_several_ask_for_is_computed_once_and_let_go_after_the_last() -> None:
    found = Derivations(stream())
    wide, narrow = parse_topics("bbo.100ms:*:*"), parse_topics("bbo.100ms:alpha:BTC/USD")
    found.join(wide, ONE)
    found.join(narrow, ONE)
    found.join(narrow, ONE)
    assert [each.topic for each in found] == ["bbo.100ms:alpha:BTC/USD"]
    assert len(found.take([bbo("1")], 0)) == 1
    found.leave(narrow)
    found.leave(wide)
    assert len(found.of([narrow])) == 1, "one is still there"
    found.leave(narrow)
    assert not found
    assert not list(found)
    assert found.take([bbo("2")], 10**12) == []


def test_a_topic_that_comes_later_is_computed_from_its_first_record_on() -> None:
    found = Derivations(stream())
    found.join(parse_topics("bbo.book:*:*/USD"), ())
    assert said(found.take([book("ETH/USD"), book("ETH/EUR"), book("BTC/USD", "beta")], 0)) == [
        ("bbo.book:alpha:ETH/USD", "100"),
        ("bbo.book:beta:BTC/USD", "100"),
    ]


def test_a_raw_symbol_names_a_topic_too() -> None:
    found = Derivations(stream())
    found.join(parse_topics("bbo.100ms:alpha:BTCUSD"), ())
    assert said(found.take([bbo("1")], 0)) == [("bbo.100ms:alpha:BTC/USD", "1")]


def test_a_book_that_is_there_already_is_begun_from_it() -> None:
    found = Derivations(stream(book()))
    found.join(parse_topics("bbo.book:alpha:*"), [("book", "alpha", "BTCUSD", "BTC/USD")])
    change = BookDelta(exchange="alpha", symbol="BTC/USD", raw_symbol="BTCUSD", bids=[("101", "1")], asks=[])
    assert found.take([change], 0) == [], "what it changes is not known yet"
    assert found.wait_ns(0, 0) == 0
    assert said(found.tick(0, 0)) == [("bbo.book:alpha:BTC/USD", "100")]
    assert said(found.take([change], 0)) == [("bbo.book:alpha:BTC/USD", "101")]


def test_many_books_are_begun_a_few_at_a_time() -> None:
    names = [f"A{number}/USD" for number in range(40)]
    found = Derivations(stream(*map(book, names)))
    found.join(parse_topics("bbo.book:*:*"), [("book", "alpha", n.replace("/", ""), n) for n in names])
    assert len(found.tick(0, 0)) == derivations.BOOKS_AT_ONCE
    assert len(found.tick(0, 0) + found.tick(0, 0)) == 40 - derivations.BOOKS_AT_ONCE
    assert found.wait_ns(0, 0) is None


def test_gaps_and_states_of_the_input_are_told_as_those_of_the_derived_topic() -> None:
    found = Derivations(stream())
    found.join(parse_topics("bbo.book:alpha:BTC/USD"), [("book", "alpha", "BTCUSD", "BTC/USD")])
    names = {"exchange": "alpha", "symbol": "BTC/USD", "raw_symbol": "BTCUSD", "conn": "alpha/1#1"}
    gap = Gap(**names, channel="book", gap_id="g", phase="open", cause="checksum", ts_from=1)  # type: ignore[arg-type]
    health = Health(**names, channel="book", state="stalled")  # type: ignore[arg-type]
    others: list[Record] = [
        Health(exchange="alpha", symbol="BTC/USD", raw_symbol="BTCUSD", channel="trades", state="down"),
        Health(exchange="alpha", symbol="ETH/USD", raw_symbol="ETHUSD", channel="book", state="down"),
        Gap(exchange="alpha", symbol=None, gap_id="w", phase="open", cause="checksum", ts_from=1),
    ]
    told = [record for _, record in found.take([gap, health, *others], 0)]
    assert [type(record) for record in told] == [Gap, Health]
    for record in told:
        assert isinstance(record, Gap | Health)
        assert (record.channel, record.source, record.conn) == ("bbo", "derived", "derived/bbo.book/alpha/1#1")
        assert (record.exchange, record.symbol) == ("alpha", "BTC/USD")
    assert gap.channel == "book", "the record of the stream itself stays as it is"


def test_the_state_of_a_derived_topic_is_that_of_its_input() -> None:
    health = Health(exchange="alpha", symbol="BTC/USD", raw_symbol="BTCUSD", channel="book", state="quiet", conn="c")
    found = Derivations(stream(health))
    found.join(parse_topics("book.5:alpha:BTC/USD"), [("book", "alpha", "BTCUSD", "BTC/USD")])
    (each,) = found
    (state,) = found.states(each)
    assert (state.state, state.channel, state.conn) == ("quiet", "book", "derived/book.5/c")


def test_no_more_is_computed_than_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivations, "MOST_DERIVED", 3)
    found = Derivations(stream())
    with pytest.raises(BadPattern, match="at most 3 derived topics"):
        found.join(parse_topics("bbo.100ms:*:*"), [("bbo", "alpha", name, None) for name in "ABCDE"])
    assert len(list(found)) == 3
    found.leave(parse_topics("bbo.100ms:*:*"))
    assert not list(found)
