"""What is computed, for whom, and until when; and the intervals at which it is told."""

from collections import Counter
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.bus.selection import BadPattern
from aggregator.bus.view import Views
from aggregator.derived import derivations
from aggregator.derived.channels import parse_topics
from aggregator.derived.derivations import Derivations, Input, Told
from aggregator.records import Bbo, BookDelta, BookSnapshot, Gap, Health, Record, Trade
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


def test_a_topic_that_comes_when_there_is_no_room_is_told_as_down_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivations, "MOST_DERIVED", 2)
    found = Derivations(stream())
    wide, narrow = parse_topics("bbo.100ms:*:*"), parse_topics("bbo.100ms:alpha:BTC/USD")
    found.join(narrow, ONE)
    found.join(wide, ())
    found.take([bbo("1", "ETH/USD")], 0)
    told = found.take([bbo("1", "XRP/USD"), bbo("2", "XRP/USD")], 0)
    ((each, health),) = told
    assert isinstance(health, Health)
    assert each.topic == "bbo.100ms:alpha:XRP/USD"
    assert each.fits(wide)
    assert (health.state, health.channel, health.symbol, health.raw_symbol) == ("down", "bbo", "XRP/USD", "XRPUSD")
    assert health.reason == "the feed computes at most 2 derived topics at once"
    found.join(parse_topics("bbo.100ms:alpha:ETH/USD"), ())
    assert found.take([bbo("3", "XRP/USD")], 0) == [], "it was told"
    found.leave(narrow)
    assert len(list(found)) == 2, "BTC/USD has its place, as the pattern of all asks for it still"
    found.leave(wide)
    found.join(wide, ())
    assert said(found.take([bbo("5", "XRP/USD")], 0)) == [("bbo.100ms:alpha:XRP/USD", "5")]


def test_bars_of_which_many_are_kept_count_as_several_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivations, "MOST_DERIVED", 20)
    markets: list[Input] = [("trades", "alpha", name, None) for name in "ABC"]
    found = Derivations(stream())
    found.join(parse_topics("candles.1m:alpha:*"), markets)
    found.leave(parse_topics("candles.1m:alpha:*"))
    with pytest.raises(BadPattern, match="at most 20 derived topics"):
        found.join(parse_topics("candles.1s:alpha:*"), markets)  # ten minutes of them are kept: each counts as 7
    found.leave(parse_topics("candles.1s:alpha:*"))
    found.join(parse_topics("candles.1s:alpha:*"), markets[:2])


def test_so_many_channels_and_wide_patterns_are_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivations, "MOST_CHANNELS", 2)
    monkeypatch.setattr(derivations, "MOST_WIDE", 2)
    found = Derivations(stream())
    for text in ("book.1:alpha:A*", "book.1:alpha:B*", "book.2:alpha:A"):
        found.join(parse_topics(text), ())
    for text, words in (("book.3:alpha:A", "at most 2 derived channels"), ("book.1:alpha:C*", "at most 2 patterns")):
        with pytest.raises(BadPattern, match=words):
            found.join(parse_topics(text), ())
        found.leave(parse_topics(text))
    found.leave(parse_topics("book.2:alpha:A"))
    found.join(parse_topics("book.3:alpha:A"), ())
    found.leave(parse_topics("book.1:alpha:B*"))
    found.join(parse_topics("book.1:alpha:C*"), ())


def test_a_bar_of_a_year_is_not_held_once_nobody_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivations, "MOST_ENDED", 0)
    found = Derivations(stream())
    pattern = parse_topics("candles.365d:alpha:*")
    found.join(pattern, ())
    trade = Trade(exchange="alpha", symbol="A/B", raw_symbol="AB", price="1", size="1", base_size="1", ts_recv=10**18)
    found.take([trade], 0)
    found.tick(10**18, 0)
    assert found.wait_ns(10**18, 0) is not None
    found.leave(pattern)
    assert found.wait_ns(10**18, 0) is None


PATTERNS = [
    f"{channel}:{exchange}:{symbol}"
    for channel in ("bbo.book", "consolidated", "book.1")
    for exchange in ("*", "alpha", "b*")
    for symbol in ("*", "A/B", "AB", "*B", "C/D")
]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(PATTERNS)), max_size=12))
def test_what_is_at_work_is_what_is_asked_for(steps: list[tuple[bool, str]]) -> None:
    """However patterns come and go, in whatever order."""
    there = [("alpha", "A/B"), ("beta", "A/B"), ("alpha", "C/D")]
    known: list[Input] = [("book", exchange, name.replace("/", ""), name) for exchange, name in there]
    found, asked = Derivations(stream()), Counter[str]()
    for is_join, text in steps:
        if is_join:
            found.join(parse_topics(text), known)
            asked[text] += 1
        elif asked[text]:
            found.leave(parse_topics(text))
            asked[text] -= 1
        due = {
            f"{channel}:{exchange if channel == 'consolidated' else where}:{name}"
            for channel, exchange, symbol in (pattern.split(":") for pattern in +asked)
            for where, name in there
            for alike in ((name,) if channel == "consolidated" else (name, name.replace("/", "")))
            if fnmatchcase(where, exchange) and fnmatchcase(alike, symbol)
        }
        assert sorted(each.topic for each in found) == sorted(due)
        for pattern in map(parse_topics, PATTERNS):
            assert {each.topic for each in found.of([pattern])} == {e.topic for e in found if e.fits(pattern)}
