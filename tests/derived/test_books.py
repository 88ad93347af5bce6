"""bbo.book, book.N and what is told at an interval, from the specification in docs/feed.md."""

import pytest

from aggregator.bus.selection import BadPattern, Pattern
from aggregator.derived.best_prices import BestOfBook
from aggregator.derived.channel import Stamp
from aggregator.derived.channels import derived, find, narrowed, needs, parse_topics
from aggregator.derived.levels import BookLevels
from aggregator.derived.newest import Newest
from aggregator.records import Bbo, BookDelta, BookSnapshot, Gap, Levels, Ticker, Trade

STAMP = Stamp("alpha", "BTC/USD", "BTCUSD", "derived/x")


def snapshot(bids: Levels, asks: Levels, depth: int | None = None, floor: str | None = None) -> BookSnapshot:
    return BookSnapshot(
        exchange="alpha",
        symbol="BTC/USD",
        raw_symbol="BTCUSD",
        ts_event=5,
        ts_recv=7,
        sequence=3,
        conn="alpha/main.1#1",
        source="ws",
        bids=bids,
        asks=asks,
        depth=depth,
        bid_floor=floor,
    )


def delta(bids: Levels = [], asks: Levels = [], ts: int = 9) -> BookDelta:  # noqa: B006 - nobody changes them
    return BookDelta(
        exchange="alpha",
        symbol="BTC/USD",
        raw_symbol="BTCUSD",
        ts_event=ts,
        ts_recv=ts,
        sequence=4,
        conn="alpha/main.1#1",
        source="ws",
        bids=bids,
        asks=asks,
    )


def gap(symbol: str | None = "BTC/USD", conn: str = "alpha/main.1#1") -> Gap:
    raw = symbol and symbol.replace("/", "")
    return Gap(
        exchange="alpha",
        symbol=symbol,
        raw_symbol=raw,
        conn=conn,
        channel="book" if symbol else None,
        gap_id="g",
        phase="open",
        cause="sequence",
        ts_from=1,
    )


BOOK = snapshot([("100.0", "1"), ("99.0", "2"), ("98", "3")], [("101.0", "4"), ("102", "5")])


# --- the best prices


def prices(found: Bbo | None) -> tuple[str | None, ...] | None:
    return None if found is None else (found.bid_price, found.bid_size, found.ask_price, found.ask_size)


def test_the_best_prices_of_a_book_are_told_when_they_change_and_only_then() -> None:
    machine = BestOfBook(STAMP)
    assert machine.news() is None
    machine.take(BOOK)
    first = machine.news()
    assert first is not None
    assert prices(first) == ("100.0", "1", "101.0", "4")
    assert (first.exchange, first.symbol, first.raw_symbol) == ("alpha", "BTC/USD", "BTCUSD")
    assert (first.source, first.conn, first.origin) == ("derived", "derived/x", "book")
    assert (first.ts_event, first.ts_recv, first.sequence) == (5, 7, 3)
    machine.take(delta(bids=[("98", "7")]))
    assert machine.news() is None, "a deeper level changes nothing"
    machine.take(delta(bids=[("100.0", "0.5")]))
    assert prices(machine.news()) == ("100.0", "0.5", "101.0", "4")
    machine.take(delta(bids=[("100.0", "0")]))
    found = machine.news()
    assert prices(found) == ("99.0", "2", "101.0", "4")
    assert found is not None
    assert (found.ts_event, found.sequence) == (9, 4)


def test_an_empty_side_has_no_price() -> None:
    machine = BestOfBook(STAMP)
    machine.take(snapshot([], [("101", "4")]))
    assert prices(machine.news()) == (None, None, "101", "4")


def test_after_a_gap_nothing_is_told_before_the_next_whole_book_and_then_always() -> None:
    machine = BestOfBook(STAMP)
    machine.take(BOOK)
    machine.news()
    machine.take(gap())
    machine.take(delta(bids=[("100.5", "1")]))
    assert machine.news() is None
    assert machine.current() is None
    machine.take(BOOK)
    assert prices(machine.news()) == ("100.0", "1", "101.0", "4"), "told anew, though it is what it was"


@pytest.mark.parametrize(("conn", "is_ours"), [("alpha/main.1#2", True), ("alpha/main.2#1", False)])
def test_a_gap_of_a_whole_connection_concerns_the_books_that_it_carries(conn: str, is_ours: bool) -> None:
    machine = BestOfBook(STAMP)
    machine.take(BOOK)
    machine.take(gap(None, conn))
    assert (machine.current() is None) is is_ours


def test_a_price_that_is_no_number_leaves_no_book() -> None:
    for machine in (BestOfBook(STAMP), BookLevels(STAMP, 2)):
        machine.take(snapshot([("x", "1")], []))
        assert machine.news() is None
        machine.take(delta(bids=[("1", "1")]))
        assert machine.news() is None
        machine.take(BOOK)
        machine.take(delta(bids=[("nan", "1")]))
        assert machine.news() is None
        machine.take(BOOK)
        assert machine.news() is not None


# --- levels


def test_the_best_levels_come_whole_each_time_and_only_when_one_of_them_has_changed() -> None:
    machine = BookLevels(STAMP, 2)
    machine.take(BOOK)
    first = machine.news()
    assert first is not None
    assert first.bids == [("100.0", "1"), ("99.0", "2")]
    assert first.asks == [("101.0", "4"), ("102", "5")]
    assert (first.depth, first.reason, first.source, first.conn) == (2, "periodic", "derived", "derived/x")
    assert (first.bid_floor, first.ask_cap) == ("99.0", "102"), "below and above nothing is told"
    machine.take(delta(bids=[("98", "9")]))
    assert machine.news() is None
    machine.take(delta(bids=[("100.0", "0")]))
    second = machine.news()
    assert second is not None
    assert second.bids == [("99.0", "2"), ("98", "9")]


def test_a_book_with_fewer_levels_is_told_as_it_is() -> None:
    machine = BookLevels(STAMP, 10)
    machine.take(BOOK)
    found = machine.current()
    assert found is not None
    assert len(found.bids) == 3
    assert found.bid_floor is None, "the whole side is known"


def test_levels_beyond_what_the_exchange_tells_are_not_told() -> None:
    machine = BookLevels(STAMP, None)
    machine.take(snapshot([("100", "1"), ("99", "1")], [("101", "1")], floor="99"))
    machine.take(delta(bids=[("98", "1")]))
    found = machine.news()
    assert found is not None
    assert found.bids == [("100", "1"), ("99", "1")]
    assert (found.depth, found.bid_floor) == (None, "99")


# --- the newest


def test_the_newest_record_is_told_as_it_came_but_for_its_way() -> None:
    machine = Newest(STAMP)
    assert machine.news() is None
    for last in ("1.0", "2.0"):
        machine.take(Ticker(exchange="alpha", symbol="BTC/USD", conn="alpha/1#1", source="ws", last=last, ts_recv=4))
    machine.take(gap())
    found = machine.news()
    assert isinstance(found, Ticker)
    assert (found.last, found.ts_recv, found.conn, found.source) == ("2.0", 4, "derived/x", "derived")
    assert machine.news() is None
    assert machine.current() == found


# --- names


@pytest.mark.parametrize(
    ("name", "inputs", "interval_ms"),
    [
        ("bbo.book", ("book",), 0),
        ("bbo.book.100ms", ("book",), 100),
        ("bbo.250ms", ("bbo",), 250),
        ("book.10", ("book",), 0),
        ("book.10.100ms", ("book",), 100),
        ("book.100ms", ("book",), 100),
        ("ticker.1000ms", ("ticker",), 1000),
        ("mark_price.10ms", ("mark_price",), 10),
    ],
)
def test_names_of_derived_channels(name: str, inputs: tuple[str, ...], interval_ms: int) -> None:
    found = find(name)
    assert found is not None
    assert (found.kind.inputs, found.interval_ns) == (inputs, interval_ms * 1_000_000)
    pattern = parse_topics(f"{name}:kraken:BTC/USD:USD")
    assert pattern == Pattern((name,), "kraken", "BTC/USD:USD")
    assert needs(pattern) == Pattern(inputs, "kraken", "BTC/USD:USD")


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("trades.100ms:a:b", "each record of trades counts"),
        ("funding.100ms:a:b", "each record of funding counts"),
        ("book.0:a:b", "is no number of levels"),
        ("book.10x:a:b", "is no number of levels"),
        ("bbo.5ms:a:b", "is no interval: 10 to 3600000 ms"),
        ("bbo.top:a:b", "is no derived channel; those are book.N"),
        ("book.*:a:b", "is no number of levels"),
        ("trade.1m:a:b", "is no derived channel"),
        ("bbo.book:a", "is not a topic"),
        ("trade:a:b", "did you mean trades"),
        (f"{'x.' * 50}:a:b", "is no derived channel"),
    ],
)
def test_what_is_no_derived_channel_is_answered_with_the_reason(topic: str, reason: str) -> None:
    with pytest.raises(BadPattern, match=reason):
        parse_topics(topic)


@pytest.mark.parametrize("topic", ["trades:*:*", "*:*:*", "b*:kraken:*", "gap:*:*"])
def test_ordinary_topics_are_none_of_them(topic: str) -> None:
    pattern = parse_topics(topic)
    assert derived(pattern) is None
    assert needs(pattern) == pattern


def test_options_are_names() -> None:
    assert narrowed("book:kraken:BTC/USD", 10, None) == "book.10:kraken:BTC/USD"
    assert narrowed("book:kraken:BTC/USD", 10, 100) == "book.10.100ms:kraken:BTC/USD"
    assert narrowed("bbo:*:A/B:C", None, 100) == "bbo.100ms:*:A/B:C"
    with pytest.raises(BadPattern, match="is no book"):
        narrowed("trades:kraken:BTC/USD", 10, None)


def test_a_trade_is_no_news_for_a_book() -> None:
    machine = BookLevels(STAMP, 1)
    machine.take(BOOK)
    machine.news()
    machine.take(Trade(price="1", size="1"))
    assert machine.news() is None
