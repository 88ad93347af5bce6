from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from aggregator.records import Gap, Record, Trade
from aggregator.sequence import Rule, contiguous, ordered
from aggregator.session.moment import Now
from aggregator.session.topics import Origin, TopicCheckpoint
from aggregator.session.trades import HOLES, LATE_NS, Numbered


class Tape:
    """A topic of trades, and what comes out of it."""

    def __init__(self, rule: Rule = contiguous, carried: TopicCheckpoint | None = None) -> None:
        self.topic = Numbered("trades", "A", None, Origin("toy", "toy/main.1#1"), carried or TopicCheckpoint(), rule)
        self.time = 1_000
        self.out: list[Record] = []

    @property
    def now(self) -> Now:
        return Now(self.time, self.time)

    def hear(self, *numbers: int | None, first: int | None = None) -> list[Record]:
        """The next trades, each a second younger; what came of them."""
        before = len(self.out)
        for number in numbers:
            self.time += 10**9
            self.topic.heard = self.time
            trade = Trade(price="1", size="2", sequence=number, sequence_first=first, ts_event=self.time)
            self.topic.accept(trade, self.out, self.now)
        return self.out[before:]

    def late(self, *numbers: int) -> list[Record]:
        """Trades that happened before all others."""
        before = len(self.out)
        for number in numbers:
            self.topic.accept(Trade(price="1", size="2", sequence=number, ts_event=1), self.out, self.now)
        return self.out[before:]

    def wait(self, time: int) -> list[Record]:
        self.time += time
        before = len(self.out)
        self.topic.tick(self.out, self.now)
        return self.out[before:]


def numbers(records: Iterable[Record]) -> list[int | None]:
    return [record.sequence for record in records if isinstance(record, Trade)]


def gaps(records: Iterable[Record]) -> list[tuple[str, int | None, int | None, int | None, str | None]]:
    return [(r.phase, r.expected, r.got, r.missed, r.repair) for r in records if isinstance(r, Gap)]


def test_trades_that_follow_on_each_other_pass() -> None:
    tape = Tape()
    assert numbers(tape.hear(5, 6, 7)) == [5, 6, 7]
    assert gaps(tape.out) == []
    assert [r.base_size for r in tape.out if isinstance(r, Trade)] == ["2"] * 3


def test_what_is_skipped_is_told_and_closed_in_time() -> None:
    tape = Tape()
    assert gaps(tape.hear(5, 9)) == [("open", 6, 9, 3, None)]
    assert gaps(tape.hear(12)) == []
    assert gaps(tape.wait(LATE_NS - 1)) == []
    assert gaps(tape.wait(1)) == [("close", 6, 9, 5, "none")]
    assert gaps(tape.hear(13)) == []
    assert tape.topic.has_skipped is False


def test_a_late_trade_fills_its_hole_and_the_last_one_closes_the_gap() -> None:
    tape = Tape()
    tape.hear(5, 9)
    assert numbers(tape.late(7)) == [7]
    closing = tape.late(8, 6)
    assert numbers(closing) == [8, 6]
    assert gaps(closing) == [("close", 6, 9, 3, "full")]
    assert [r.flags for r in closing if isinstance(r, Trade)] == [("late",)] * 2


def test_what_comes_twice_is_dropped_and_counted() -> None:
    tape = Tape()
    tape.hear(5, 6)
    assert tape.late(6, 5) == []
    assert tape.topic.duplicates == 2
    assert numbers(tape.hear(7)) == [7]


def test_a_younger_trade_of_a_lower_number_begins_a_new_count() -> None:
    tape = Tape()
    tape.hear(500, 501)
    assert gaps(tape.hear(1)) == [("open", 502, 1, None, None), ("close", 502, 1, None, "none")]
    assert gaps(tape.hear(2, 3)) == []


def test_a_trade_without_a_number_hides_no_loss() -> None:
    """Trades outside the book have none, where the others are counted."""
    tape = Tape()
    assert numbers(tape.hear(None, 5, None)) == [None, 5, None]
    assert gaps(tape.hear(8)) == [("open", 6, 8, 2, None)]


def test_several_trades_in_one_are_counted_as_such() -> None:
    tape = Tape()
    tape.hear(5)
    assert gaps(tape.hear(9, first=6)) == []
    assert gaps(tape.hear(14, first=12)) == [("open", 10, 12, 2, None)]
    assert numbers(tape.late(11, 10)) == [11, 10]
    assert tape.topic.gap is None


def test_where_numbers_only_grow_nothing_is_missing() -> None:
    tape = Tape(ordered)
    assert numbers(tape.hear(5, 90, 1000)) == [5, 90, 1000]
    assert tape.late(90) == []
    assert gaps(tape.out) == []


def test_what_an_earlier_connection_has_missed_is_told_with_what_this_one_finds() -> None:
    before = Tape()
    before.hear(5, 8)
    before.topic.open_gap("disconnect", before.out, before.now)
    tape = Tape(carried=before.topic.carried())
    assert gaps(tape.hear(11)) == []
    assert tape.topic.has_skipped is False  # it was between the two
    assert numbers(tape.late(6, 7, 9)) == [6, 7, 9]
    assert gaps(tape.late(10)) == [("close", 6, 8, 4, "full")]


def test_a_gap_that_an_earlier_connection_left_is_none_where_the_next_number_comes() -> None:
    before = Tape()
    before.hear(5)
    before.topic.open_gap("disconnect", before.out, before.now)
    tape = Tape(carried=before.topic.carried())
    assert [gap[0::4] for gap in gaps(tape.hear(6))] == [("close", "not_needed")]


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=60))
def test_no_number_is_lost_without_a_word_and_none_comes_twice(heard: list[tuple[int, bool]]) -> None:
    """Whatever order they come in: between the first and the highest, each was published once or is a hole."""
    tape = Tape()
    for number, is_in_order in heard:
        if is_in_order and number > (tape.topic.last or 0):
            tape.hear(number)
        else:
            tape.late(number)
        published = numbers(tape.out)
        assert len(published) == len(set(published))
        holes = {n for first, last in tape.topic.holes() for n in range(first, last + 1)}
        assert holes.isdisjoint(published)
        assert {*published} | holes >= set(range(published[0] or 0, (tape.topic.last or 0) + 1))
        assert bool(holes) == (tape.topic.gap is not None)


def test_of_very_many_holes_the_oldest_are_waited_for_no_longer_but_counted() -> None:
    tape = Tape()
    tape.hear(*range(0, 4 * HOLES, 2))
    assert len(tape.topic.holes()) == HOLES
    assert tape.late(1) == []
    assert gaps(tape.wait(LATE_NS))[0][3:] == (2 * HOLES - 1, "none")
