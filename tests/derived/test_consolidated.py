"""The best prices over exchanges, from the specification in docs/feed.md: who is in it, and who leaves it."""

import pytest

from aggregator.bus.selection import BadPattern
from aggregator.bus.view import Views
from aggregator.derived.channel import Machine, Stamp
from aggregator.derived.channels import find, parse_topics
from aggregator.derived.derivations import Derivations
from aggregator.records import (
    MS_NS,
    SECOND_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Channel,
    Consolidated,
    Gap,
    Health,
    Levels,
    Record,
    TopicState,
)

T = 1_700_000_000 * SECOND_NS


def start(name: str = "consolidated") -> Machine:
    found = find(name)
    assert found is not None
    return found.start(Stamp("*", "BTC/USD", None, f"derived/{name}"))


def names(exchange: str, at: float) -> dict[str, object]:
    ns = T + round(at * SECOND_NS)
    return {
        "exchange": exchange,
        "symbol": "BTC/USD",
        "raw_symbol": f"{exchange}-BTC",
        "conn": f"{exchange}/main.1#1",
        "ts_recv": ns,
        "source": "ws",
    }


def bbo(exchange: str, bid: str | None, ask: str | None, at: float = 0, size: str = "1") -> Bbo:
    return Bbo(**names(exchange, at), bid_price=bid, bid_size=size, ask_price=ask, ask_size=size, ts_event=5)  # type: ignore[arg-type]


def book(exchange: str, bids: Levels, asks: Levels, at: float = 0) -> BookSnapshot:
    return BookSnapshot(**names(exchange, at), bids=bids, asks=asks)  # type: ignore[arg-type]


def health(exchange: str, state: TopicState, channel: Channel = "bbo", at: float = 0) -> Health:
    return Health(**names(exchange, at), channel=channel, state=state)  # type: ignore[arg-type]


def gap(exchange: str, phase: str, channel: Channel = "bbo") -> Gap:
    return Gap(**names(exchange, 0), channel=channel, phase=phase, gap_id="g", cause="sequence", ts_from=T)  # type: ignore[arg-type]


def after(machine: Machine, *records: Record) -> Consolidated | None:
    """The news after some records."""
    for record in records:
        assert list(machine.take(record)) == []
    found = machine.news()
    assert found is None or isinstance(found, Consolidated)
    return found


def best(found: Consolidated | None) -> tuple[str | None, ...]:
    assert found is not None
    return found.bid_exchange, found.bid_price, found.ask_exchange, found.ask_price


def inside(found: Consolidated | None) -> list[str]:
    assert found is not None
    return [each[0] for each in found.contributors]


def absent(found: Consolidated | None) -> list[tuple[str, str]]:
    assert found is not None
    return [(name, reason) for name, reason, _ in found.absent]


def test_the_highest_bid_and_the_lowest_offer_of_all() -> None:
    found = after(
        start(), bbo("beta", "99", "103", 1), bbo("alpha", "100.10", "101.0", 2, "3"), bbo("gamma", "9", "100.2", 3)
    )
    assert best(found) == ("alpha", "100.10", "gamma", "100.2")
    assert found is not None
    assert (found.bid_size, found.ask_size) == ("3", "1")
    assert (found.exchange, found.symbol, found.raw_symbol) == ("*", "BTC/USD", None)
    assert (found.source, found.conn, found.sequence) == ("derived", "derived/consolidated", None)
    assert (found.ts_recv, found.ts_event) == (T + 3 * SECOND_NS, 5), "those of the record that it follows from"
    assert found.contributors == [
        ("alpha", "live", 1000, "100.10", "3", "101.0", "3"),
        ("beta", "live", 2000, "99", "1", "103", "1"),
        ("gamma", "live", 0, "9", "1", "100.2", "1"),
    ]
    assert found.absent == []


def test_prices_are_compared_as_numbers_and_kept_as_text() -> None:
    tiny = "0.000000000000000000000000000000"
    found = after(
        start(), bbo("alpha", f"9{tiny[1:]}1", None), bbo("beta", f"9{tiny[1:]}2", None), bbo("gamma", "10e0", "0")
    )
    assert best(found)[:2] == ("gamma", "10e0")
    found = after(start(), bbo("alpha", f"9{tiny[1:]}2", None), bbo("beta", f"9{tiny[1:]}1", None))
    assert best(found)[:2] == ("alpha", f"9{tiny[1:]}2")


def test_of_equal_prices_the_one_that_stands_longest_is_the_best() -> None:
    machine = start()
    assert best(after(machine, bbo("beta", "100", "101"), bbo("alpha", "100.0", "101")))[0] == "beta"
    assert best(after(machine, bbo("beta", "100.00", "101", size="7")))[0] == "beta", "another size is no other price"
    machine.take(bbo("beta", "99", "101"))
    assert best(after(machine, bbo("beta", "100", "101"))) == ("alpha", "100.0", "beta", "101")


def test_it_is_told_only_when_the_best_or_who_is_in_it_changes() -> None:
    machine = start()
    after(machine, bbo("alpha", "100", "101"), bbo("beta", "98", "103"))
    assert after(machine, bbo("beta", "97", "104")) is None
    assert after(machine, bbo("alpha", "100", "101")) is None
    assert best(after(machine, bbo("alpha", "100", "101", size="2")))[1] == "100"
    assert inside(after(machine, bbo("gamma", "1", "1000"))) == ["alpha", "beta", "gamma"]


def test_tops_are_told_whenever_one_of_them_changes() -> None:
    machine = start("consolidated.tops")
    after(machine, bbo("alpha", "100", "101"), bbo("beta", "98", "103"))
    found = after(machine, bbo("beta", "97", "104"))
    assert best(found) == ("alpha", "100", "alpha", "101")
    assert found is not None
    assert found.contributors[1][3] == "97"
    assert after(machine, bbo("beta", "97", "104")) is None


@pytest.mark.parametrize("state", ["stalled", "suspect", "down", "syncing", "subscribing"])
def test_one_that_cannot_be_relied_on_leaves_until_its_next_record(state: TopicState) -> None:
    machine = start()
    after(machine, bbo("alpha", "100", "101"), bbo("beta", "98", "103"))
    found = after(machine, health("alpha", state))
    assert (best(found), inside(found)) == (("beta", "98", "beta", "103"), ["beta"])
    assert absent(found) == [("alpha", state)]
    assert after(machine, health("alpha", "live")) is None, "its prices are of before"
    assert absent(machine.current()) == [("alpha", "waiting")]  # type: ignore[arg-type]
    found = after(machine, bbo("alpha", "99", "102"))
    assert (best(found)[0], absent(found)) == ("alpha", [])


def test_a_record_that_comes_before_the_state_that_it_makes_good_counts() -> None:
    machine = start()
    after(machine, bbo("alpha", "100", "101"), health("alpha", "stalled"))
    found = after(machine, bbo("alpha", "99", "101"), health("alpha", "live"))
    assert best(found)[:2] == ("alpha", "99")


def test_a_quiet_one_stays() -> None:
    machine = start()
    after(machine, bbo("alpha", "100", "101"))
    assert after(machine, health("alpha", "quiet")) is None
    found = machine.current()
    assert isinstance(found, Consolidated)
    assert found.contributors[0][1] == "quiet"


def test_an_open_gap_is_told_as_suspect_and_its_end_alone_does_not_bring_prices_back() -> None:
    machine = start()
    after(machine, bbo("alpha", "100", "101"))
    assert absent(after(machine, gap("alpha", "open"))) == [("alpha", "suspect")]
    after(machine, gap("alpha", "close"))
    assert absent(machine.current()) == [("alpha", "waiting")]  # type: ignore[arg-type]
    assert inside(after(machine, bbo("alpha", "100", "101"))) == ["alpha"]


def test_with_nobody_in_it_there_is_no_price_and_that_is_told() -> None:
    machine = start()
    after(machine, bbo("alpha", "100", "101"))
    found = after(machine, health("alpha", "down"))
    assert best(found) == (None, None, None, None)
    assert absent(found) == [("alpha", "down")]


# --- books


def test_one_without_best_prices_of_its_own_contributes_those_of_its_book() -> None:
    machine = start()
    found = after(machine, book("alpha", [("100", "1"), ("99", "2")], [("101", "3")]), bbo("beta", "98", "100.5"))
    assert best(found) == ("alpha", "100", "beta", "100.5")
    change = BookDelta(**names("alpha", 1), bids=[("100", "0")], asks=[])  # type: ignore[arg-type]
    assert best(after(machine, change)) == ("alpha", "99", "beta", "100.5")
    found = after(machine, gap("alpha", "open", "book"))
    assert absent(found) == [("alpha", "suspect")]
    found = after(machine, gap("alpha", "close", "book"), change)
    assert inside(machine.current()) == ["beta"], "a delta without its book tells nothing"  # type: ignore[arg-type]
    assert best(after(machine, book("alpha", [("7", "1")], [("100.1", "3")])))[2:] == ("alpha", "100.1")


def test_best_prices_of_its_own_take_the_place_of_those_of_its_book() -> None:
    machine = start()
    after(machine, book("alpha", [("100", "1")], [("101", "3")]))
    assert best(after(machine, bbo("alpha", "99", "102"))) == ("alpha", "99", "alpha", "102")
    change = BookDelta(**names("alpha", 1), bids=[("150", "1")], asks=[])  # type: ignore[arg-type]
    assert after(machine, change) is None
    assert after(machine, gap("alpha", "open", "book")) is None, "what its book does is nothing to it now"


@pytest.mark.parametrize("has_come", [True, False])
def test_while_its_best_prices_are_refused_its_book_counts(has_come: bool) -> None:
    machine = start()
    after(machine, book("alpha", [("100", "1")], [("101", "3")]), health("alpha", "live", "book"))
    if has_come:
        after(machine, bbo("alpha", "99", "102"))
        found = after(machine, health("alpha", "down"))
        assert absent(found) == [("alpha", "waiting")], "it was not followed meanwhile"
        found = after(machine, book("alpha", [("100.5", "1")], [("101", "3")]))
        assert best(found) == ("alpha", "100.5", "alpha", "101")
    else:
        after(machine, health("alpha", "down"))
    change = BookDelta(**names("alpha", 1), bids=[("100.7", "1")], asks=[])  # type: ignore[arg-type]
    assert best(after(machine, change))[:2] == ("alpha", "100.7")
    after(machine, health("alpha", "live"))
    assert best(machine.current())[:2] == ("alpha", "100.7")  # type: ignore[arg-type]
    assert best(after(machine, bbo("alpha", "98", "102"))) == ("alpha", "98", "alpha", "102")


class OneBook:
    """An exchange with one book, as it stands."""

    def __init__(self) -> None:
        self.whole = book("alpha", [("100", "1")], [("101", "3")])

    def book(self, _: str, raw_symbol: str) -> BookSnapshot | None:
        return self.whole if raw_symbol == "alpha-BTC" else None

    def health(self, *_: object) -> list[Health]:
        return []


def test_a_book_that_is_followed_beside_them_is_there_when_they_are_refused() -> None:
    view = OneBook()
    found = Derivations(view)
    known: list[tuple[Channel, str, str, str]] = [(one, "alpha", "alpha-BTC", "BTC/USD") for one in ("bbo", "book")]
    found.join(parse_topics("consolidated:*:BTC/USD"), known)
    found.tick(T, 0)
    ((_, told),) = found.take([bbo("alpha", "99", "102")], 0)
    assert best(told)[:2] == ("alpha", "99")  # type: ignore[arg-type]
    view.whole = book("alpha", [("103", "1")], [("104", "3")])
    ((_, told),) = found.take([health("alpha", "down")], 0)
    assert best(told)[:2] == (None, None)  # type: ignore[arg-type]
    assert found.wait_ns(T, 0) == 0
    ((_, told),) = found.tick(T, 0)
    assert best(told) == ("alpha", "103", "alpha", "104")  # type: ignore[arg-type]


def test_a_hole_of_the_recording_puts_its_book_in_doubt_and_makes_nothing_live() -> None:
    machine = start()
    whole = book("alpha", [("100", "1")], [("101", "3")])
    after(machine, whole)
    hole = Gap(
        exchange="alpha",
        symbol=None,
        gap_id="h",
        phase="close",
        cause="restart",
        ts_from=T,
        repair="none",
        conn="files",
    )
    assert inside(after(machine, hole)) == []
    change = BookDelta(**names("alpha", 1), bids=[("100.7", "1")], asks=[])  # type: ignore[arg-type]
    assert after(machine, change) is None, "changes before it are missing"
    assert inside(after(machine, whole)) == ["alpha"]


def test_a_book_whose_prices_are_no_numbers_is_left_out() -> None:
    machine = start()
    found = after(machine, bbo("beta", "1", "2"), book("alpha", [("x", "1")], []))
    assert inside(found) == ["beta"]
    assert inside(after(machine, book("alpha", [("1", "1")], []))) == ["alpha", "beta"]
    change = BookDelta(**names("alpha", 1), bids=[("nan", "1")], asks=[])  # type: ignore[arg-type]
    assert inside(after(machine, change)) == ["beta"]


# --- age


def test_with_an_age_one_of_which_nothing_has_come_for_so_long_leaves_by_the_clock() -> None:
    machine = start("consolidated.30s")
    after(machine, bbo("alpha", "100", "101", 0), bbo("beta", "98", "103", 20))
    assert machine.due == T + 30 * SECOND_NS
    assert list(machine.tick(T + 30 * SECOND_NS)) == []
    found = machine.news()
    assert isinstance(found, Consolidated)
    assert (inside(found), found.absent) == (["beta"], [("alpha", "old", 30_000)])
    assert found.ts_recv == T + 30 * SECOND_NS
    assert machine.due == T + 50 * SECOND_NS
    assert inside(after(machine, bbo("alpha", "100", "101", 40))) == ["alpha", "beta"]
    machine.tick(T + 50 * SECOND_NS)
    assert machine.due == T + 70 * SECOND_NS


def test_a_clock_that_jumps_back_gives_no_age_below_zero() -> None:
    machine = start()
    found = after(machine, bbo("alpha", "100", "101", 50), bbo("beta", "101", "102", -3600))
    assert found is not None
    assert [each[2] for each in found.contributors] == [0, 0]


# --- names and topics


@pytest.mark.parametrize("name", ["consolidated", "consolidated.tops", "consolidated.5s", "consolidated.tops.5s.100ms"])
def test_names(name: str) -> None:
    found = find(name)
    assert found is not None
    assert found.kind.inputs == ("bbo", "book")
    assert found.interval_ns == (100 * MS_NS if name.endswith("100ms") else 0)


@pytest.mark.parametrize("name", ["consolidated.best", "consolidated.0s", "consolidated.tops.x", "consolidated.5s.5s"])
def test_what_is_none_of_them(name: str) -> None:
    with pytest.raises(BadPattern, match="is not among consolidated"):
        find(name)


def test_the_exchanges_of_a_name_are_those_that_are_in_it_and_another_pattern_is_another_topic() -> None:
    found = Derivations(Views(lambda: 0))
    known = [("bbo", name, f"{name}-BTC", "BTC/USD") for name in ("alpha", "alps", "beta")]
    for text in ("consolidated:*:BTC/USD", "consolidated:al*:*", "consolidated:beta:BTC/USD", "consolidated:*:ETH/*"):
        found.join(parse_topics(text), known)  # type: ignore[arg-type]
    told = found.take([bbo("alpha", "1", "9"), bbo("alps", "2", "8"), bbo("beta", "3", "7")], 0)
    last = {each.topic: record for each, record in told}
    assert {topic: inside(record) for topic, record in last.items()} == {  # type: ignore[arg-type]
        "consolidated:*:BTC/USD": ["alpha", "alps", "beta"],
        "consolidated:al*:BTC/USD": ["alpha", "alps"],
        "consolidated:beta:BTC/USD": ["beta"],
    }
    assert {record.exchange for record in last.values()} == {"*", "al*", "beta"}
    assert [each.topic for each in found.of([parse_topics("consolidated:*:*")])] == ["consolidated:*:BTC/USD"]
