"""The arbiter over lines that a test makes up: no session, no connection."""

from collections.abc import Iterable

from msgspec import structs

from aggregator.exchange import Stream
from aggregator.records import (
    BookDelta,
    BookSnapshot,
    Channel,
    Gap,
    Liquidation,
    OrdersSnapshot,
    Record,
    Ticker,
    Trade,
)
from aggregator.sequence import Rule, contiguous
from aggregator.session.arbiter import BEHIND_NS, MOST_HOLES, LineArbiter
from aggregator.session.arbitrated import Position
from aggregator.session.moment import Now

NOW = Now(1_760_000_000_000_000_000, 1_000)
AFTER = Now(NOW.wall + BEHIND_NS, NOW.mono + BEHIND_NS)  # whoever was behind has caught up
NUMBERED: dict[Channel, Rule] = {"trades": contiguous, "book": contiguous}
BOOK: tuple[Channel, str] = ("book", "A")


class Scripted:
    """A line whose topics are as the test says."""

    def __init__(self, conn: str, *, good: Iterable[tuple[Channel, str | None]] = (), book: int | None = None) -> None:
        self.conn = conn
        self.good = set(good)
        self.whole = set(good)
        self.book = book  # the number of its book
        self.at: list[Position] = []
        self.adopted: list[tuple[Channel, str | None, Gap]] = []

    def positions(self) -> list[Position]:
        return self.at

    def is_good(self, channel: Channel, raw_symbol: str | None) -> bool:
        return (channel, raw_symbol) in self.good

    def is_whole(self, channel: Channel, raw_symbol: str | None) -> bool:
        return (channel, raw_symbol) in self.whole

    def books(self, now: Now, raw_symbol: str | None = None) -> list[BookSnapshot]:
        return [] if self.book is None or raw_symbol != "A" else [whole(self.book, ts_recv=now.wall)]

    def orders(self, _: Now, __: str | None) -> list[OrdersSnapshot]:
        return []

    def adopt(self, channel: Channel, raw_symbol: str | None, gap: Gap) -> None:
        self.adopted.append((channel, raw_symbol, gap))


def arbiter(*lines: Scripted, numbered: bool = True, lasting: bool = True) -> LineArbiter:
    stream = Stream(
        channels={"trades": "t", "book": "b", "ticker": "k"},
        subscribe=lambda _, __: (),
        parse=lambda _: (),
        sequence=NUMBERED if numbered else {},
    )
    made = LineArbiter(stream, lasting=lasting)
    for line in lines:
        made.join(line)
    return made


def trade(number: int) -> Trade:
    return Trade(raw_symbol="A", price="1", size="1", sequence=number)


def delta(number: int) -> BookDelta:
    return BookDelta(raw_symbol="A", bids=[("1", "1")], asks=[], sequence=number)


def whole(number: int, ts_recv: int = 0) -> BookSnapshot:
    return BookSnapshot(raw_symbol="A", bids=[("1", "1")], asks=[], sequence=number, ts_recv=ts_recv)


def hole(channel: Channel = "trades", id: str = "g1", cause: str = "sequence") -> Gap:
    return Gap(raw_symbol="A", gap_id=id, phase="open", channel=channel, cause=cause, ts_from=1)  # type: ignore[arg-type]


def numbers(records: list[Record]) -> list[int | None]:
    return [record.sequence for record in records if isinstance(record, Trade | BookDelta | BookSnapshot)]


def test_of_a_numbered_trade_the_first_arrival_counts() -> None:
    a, b = Scripted("a"), Scripted("b")
    made = arbiter(a, b)
    assert numbers(made.merge(a, [trade(1), trade(2)], NOW)) == [1, 2]
    assert numbers(made.merge(b, [trade(1), trade(2), trade(3)], NOW)) == [3]
    assert numbers(made.merge(a, [trade(3), trade(4)], NOW)) == [4]
    assert made.dropped == 3
    assert (made.scores["a"].wins, made.scores["a"].losses, made.scores["b"].losses) == (3, 1, 2)


def test_a_trade_that_only_the_slower_line_has_is_told_as_late() -> None:
    a, b = Scripted("a"), Scripted("b")
    made = arbiter(a, b)
    made.merge(a, [trade(1), trade(3)], NOW)
    (missed,) = made.merge(b, [trade(1), trade(2), trade(3)], NOW)
    assert (numbers([missed]), missed.flags) == ([2], ("late",))


def test_records_without_numbers_come_from_one_line_until_it_fails() -> None:
    topic: tuple[Channel, str] = ("ticker", "A")
    a, b = Scripted("a", good=[topic]), Scripted("b", good=[topic])
    made = arbiter(a, b)
    said: list[Record] = [Ticker(raw_symbol="A", last="1")]
    assert made.merge(a, said, NOW) == said
    assert made.merge(b, [Ticker(raw_symbol="A", last="1")], NOW) == []
    a.good.clear()
    assert made.merge(b, said, NOW) == said
    assert made.merge(a, [Ticker(raw_symbol="A", last="2")], NOW) == []


def test_a_book_goes_on_with_whichever_line_has_the_next_number() -> None:
    a, b = Scripted("a", good=[BOOK]), Scripted("b", good=[BOOK])
    made = arbiter(a, b)
    assert numbers(made.merge(a, [whole(5), delta(6)], NOW)) == [5, 6]
    assert numbers(made.merge(b, [whole(5), delta(6), delta(7)], NOW)) == [7]
    assert numbers(made.merge(a, [delta(7), delta(8)], NOW)) == [8]


def test_a_book_that_no_line_can_continue_starts_anew_from_the_line_that_speaks() -> None:
    a, b = Scripted("a", good=[BOOK]), Scripted("b", book=9)
    made = arbiter(a, b)
    made.merge(a, [whole(5)], NOW)
    assert made.merge(b, [delta(9)], NOW) == [], "the other line is good: it will bring what is missing"
    a.good.clear()
    gap, snapshot = made.merge(b, [delta(9)], NOW)
    assert isinstance(gap, Gap)
    assert (gap.phase, gap.channel, gap.cause, gap.expected, gap.got) == ("open", "book", "sequence", 6, 9)
    assert isinstance(snapshot, BookSnapshot)
    assert (snapshot.sequence, snapshot.reason) == (9, "resync")
    b.whole.add(BOOK)
    changed, end = made.merge(b, [delta(10)], NOW)
    assert numbers([changed]) == [10]
    assert isinstance(end, Gap)
    assert (end.phase, end.gap_id) == ("close", gap.gap_id)
    assert numbers(made.merge(b, [delta(11)], NOW)) == [11]


def test_a_book_of_which_the_line_that_has_gone_owed_changes_goes_on_behind_a_gap() -> None:
    """Seen in a recording of OKX beside the sandbox's faults: 1001940 was followed by 1001984, and no gap told it."""
    a, b = Scripted("a", good=[BOOK]), Scripted("b", good=[BOOK], book=9)
    made = arbiter(a, b, lasting=False)
    made.merge(a, [whole(5)], NOW)
    assert made.merge(b, [whole(8), delta(9)], NOW) == []
    made.leave(a)
    b.at = [Position("book", "A", 9, None)]
    begun, snapshot, end = made.settle(NOW)
    assert isinstance(begun, Gap)
    assert (begun.phase, begun.expected, begun.got) == ("open", 6, 9)
    assert numbers([snapshot]) == [9]
    assert isinstance(end, Gap)
    assert (end.phase, end.gap_id) == ("close", begun.gap_id)
    assert numbers(made.merge(b, [delta(10)], NOW)) == [10]


def told(records: list[Record]) -> list[tuple[str, int | None, int | None, int | None]]:
    """The gaps: phase, the first number that is missing, the one behind the last, and how many."""
    return [(gap.phase, gap.expected, gap.got, gap.missed) for gap in records if isinstance(gap, Gap)]


def test_a_number_that_no_line_brings_is_told_once() -> None:
    """Of two lines one stood still, and the other had just come back (Kraken, beside the sandbox's faults)."""
    topic: tuple[Channel, str] = ("trades", "A")
    a, b = Scripted("a", good=[topic]), Scripted("b", good=[topic])
    made = arbiter(a, b)
    made.merge(a, [trade(1)], NOW)
    assert told(made.merge(b, [trade(5)], NOW)) == []
    made.leave(a)
    assert told(made.merge(a, [hole(cause="disconnect")], NOW)) == [], "the other is good"
    assert told(made.merge(b, [trade(6)], NOW)) == []
    later = Now(AFTER.wall + 1, AFTER.mono + 1)
    assert told(made.merge(b, [trade(7)], later)) == [("close", 2, 5, 3)]
    assert told(made.merge(b, [trade(8)], later)) == []


def test_a_number_that_comes_late_is_not_missing() -> None:
    a, b = Scripted("a"), Scripted("b")
    made = arbiter(a, b)
    made.merge(a, [trade(1)], NOW)
    made.merge(b, [trade(8)], NOW)
    made.merge(a, [trade(4), trade(2)], NOW)
    later = Now(AFTER.wall + 1, AFTER.mono + 1)
    found = made.merge(b, [trade(9)], later)
    assert told(found) == [("close", 3, 4, 1), ("close", 5, 8, 3)]
    assert len({gap.gap_id for gap in found if isinstance(gap, Gap)}) == 2
    made.merge(b, [trade(12)], later)
    made.merge(a, [trade(10), trade(11)], later)
    assert told(made.merge(b, [trade(13)], Now(later.wall + 2 * BEHIND_NS, later.mono + 2 * BEHIND_NS))) == []


def test_what_a_gap_of_a_line_tells_is_not_told_again() -> None:
    a, b = Scripted("a"), Scripted("b")
    made = arbiter(a, b)
    made.merge(a, [trade(1)], NOW)
    made.merge(a, [trade(5)], NOW)
    gap = structs.replace(hole(), expected=2, got=5, missed=3)
    assert told(made.merge(a, [gap], NOW)) == [("open", 2, 5, 3)]
    made.merge(a, [structs.replace(gap, phase="close", repair="none")], NOW)
    assert told(made.merge(b, [trade(6)], Now(AFTER.wall + 1, AFTER.mono + 1))) == []


def test_what_is_missing_is_told_by_time_and_of_the_time_in_which_it_was_passed_over() -> None:
    a, b = Scripted("a"), Scripted("b")
    made = arbiter(a, b)
    made.merge(a, [trade(1)], NOW)
    made.merge(b, [trade(3)], Now(NOW.wall + 5, NOW.mono + 5))
    (gap,) = made.merge(a, [], Now(AFTER.wall + 5, AFTER.mono + 5))
    assert isinstance(gap, Gap)
    assert (gap.ts_from, gap.ts_to, gap.missed) == (NOW.wall, NOW.wall + 5, 1)


def test_while_a_gap_of_the_topic_is_open_what_was_passed_over_waits() -> None:
    topic: tuple[Channel, str] = ("trades", "A")
    a, b = Scripted("a"), Scripted("b")
    made = arbiter(a, b)
    made.merge(a, [trade(1)], NOW)
    made.merge(b, [trade(3)], NOW)
    assert told(made.merge(a, [hole(cause="stalled")], NOW)) == [("open", None, None, None)]
    later = Now(AFTER.wall + 1, AFTER.mono + 1)
    assert told(made.merge(a, [], later)) == []
    a.whole.add(topic)
    assert told(made.merge(a, [trade(4)], later)) == [("close", None, None, None), ("close", 2, 3, 1)]


def test_when_the_last_line_has_gone_what_was_passed_over_is_told_before_its_own_gap() -> None:
    a, b = Scripted("a"), Scripted("b")
    made = arbiter(a, b)
    made.merge(a, [trade(1)], NOW)
    made.merge(b, [trade(3)], NOW)
    made.leave(b)
    assert told(made.merge(b, [hole(cause="disconnect")], NOW)) == [("open", None, None, None)]
    made.merge(a, [structs.replace(hole(cause="disconnect"), phase="close")], NOW)
    made.leave(a)
    assert told(made.merge(a, [hole(cause="disconnect")], NOW)) == [
        ("close", 2, 3, 1),
        ("open", None, None, None),
    ]


def test_no_more_than_some_ranges_are_waited_for() -> None:
    a, b = Scripted("a"), Scripted("b")
    made = arbiter(a, b)
    found = made.merge(a, [trade(1 + 2 * n) for n in range(101)], NOW)
    assert len(told(found)) == 100 - MOST_HOLES
    assert told(found)[0] == ("close", 2, 3, 1)


def test_numbers_that_begin_anew_double_nothing_that_is_missing() -> None:
    a, b = Scripted("a"), Scripted("b")
    made = arbiter(a, b)
    made.merge(a, [trade(100), trade(110)], NOW)
    made.merge(a, [structs.replace(hole(), expected=111, got=5), structs.replace(hole(), phase="close")], NOW)
    assert told(made.merge(b, [], Now(AFTER.wall + 1, AFTER.mono + 1))) == [("close", 101, 110, 9)]


def test_a_gap_that_the_run_before_has_left_open_is_closed() -> None:
    """With two lines its end was withheld, since the arbiter had not seen it begin."""
    topic: tuple[Channel, str] = ("trades", "A")
    a, b = Scripted("a", good=[topic]), Scripted("b", good=[topic])
    made = arbiter(a, b)
    end = structs.replace(hole(id="old:1", cause="restart"), phase="close")
    assert end in made.merge(a, [trade(5), end], NOW)


def test_a_gap_that_ended_here_is_not_closed_once_more_by_its_line() -> None:
    topic: tuple[Channel, str] = ("trades", "A")
    a, b = Scripted("a"), Scripted("b")
    made = arbiter(a, b)
    made.merge(a, [hole()], NOW)
    b.whole.add(topic)
    assert told(made.merge(b, [trade(1)], NOW)) == [("close", None, None, None)]
    assert told(made.merge(a, [structs.replace(hole(), phase="close")], NOW)) == []


def test_what_is_missing_is_told_when_lines_are_compared_no_more() -> None:
    a, b = Scripted("a"), Scripted("b")
    made = arbiter(a, b, lasting=False)
    made.merge(a, [trade(1)], NOW)
    made.merge(b, [trade(3)], NOW)
    made.leave(a)
    made.settle(NOW)
    assert told(made.merge(b, [trade(4)], AFTER)) == [("close", 2, 3, 1)]
    assert not made.is_merging


def test_a_gap_is_told_only_if_no_other_line_makes_up_for_it() -> None:
    a, b = Scripted("a"), Scripted("b", good=[("trades", "A")])
    made = arbiter(a, b)
    assert made.merge(a, [hole()], NOW) == []
    assert made.merge(a, [structs.replace(hole(), phase="close")], NOW) == []
    b.whole.clear()
    opened = hole(id="g2")
    assert made.merge(a, [opened], NOW) == [opened]
    b.whole.add(("trades", "A"))
    *_, closing = made.merge(b, [trade(7)], NOW)
    assert isinstance(closing, Gap)
    assert (closing.gap_id, closing.phase) == ("g2", "close")


def test_a_line_that_lives_on_while_its_records_are_missing_elsewhere_is_asked_for_more_than_one_that_died() -> None:
    """If a line is gone, another has to bring what comes from now on; if it lives, also what is missing here."""
    a, b = Scripted("a"), Scripted("b", good=[("trades", "A")])
    b.whole.clear()
    made = arbiter(a, b)
    assert made.merge(a, [hole(cause="disconnect")], NOW) == []
    opened = hole(id="g2")
    assert made.merge(a, [opened], NOW) == [opened]


def test_the_last_line_adopts_the_gap_that_the_stream_has_open() -> None:
    a, b = Scripted("a"), Scripted("b")
    made = arbiter(a, lasting=False)
    made.join(b)
    opened = hole()
    assert made.merge(a, [opened], NOW) == [opened]
    b.at = [Position("trades", "A", 3, None)]
    made.leave(a)
    assert made.settle(NOW) == []
    assert b.adopted == [("trades", "A", opened)]
    assert made.merge(b, [], AFTER) == []
    assert not made.is_merging


def test_the_last_line_closes_the_gap_where_nothing_is_missing_any_more() -> None:
    a, b = Scripted("a"), Scripted("b", good=[("trades", "A")])
    b.whole.clear()
    made = arbiter(a, lasting=False)
    made.join(b)
    made.merge(a, [hole()], NOW)
    b.at = [Position("trades", "A", 3, None)]
    made.leave(a)
    (closing,) = made.settle(NOW)
    assert isinstance(closing, Gap)
    assert (closing.phase, closing.conn) == ("close", "b")
    assert b.adopted == []


def test_a_gap_that_another_line_had_made_up_for_is_told_once_it_is_alone() -> None:
    a, b = Scripted("a"), Scripted("b", good=[("trades", "A")])
    made = arbiter(a, lasting=False)
    made.join(b)
    withheld = hole()
    assert made.merge(a, [withheld], NOW) == []
    a.at = [Position("trades", "A", 3, withheld)]
    made.leave(b)
    assert made.settle(NOW) == [withheld]


def test_a_line_that_comes_beside_another_starts_from_what_that_has_published() -> None:
    a, b = Scripted("a"), Scripted("b")
    a.at = [Position("trades", "A", 5, None)]
    made = arbiter(a, lasting=False)
    made.join(b)
    assert numbers(made.merge(b, [trade(4), trade(5), trade(6)], NOW)) == [6]


def test_a_slower_line_that_stays_alone_repeats_nothing_of_the_one_that_has_gone() -> None:
    a, b = Scripted("a", good=[BOOK]), Scripted("b", good=[BOOK])
    a.at = [Position("trades", "A", 5, None), Position("book", "A", 5, None)]
    made = arbiter(a, lasting=False)
    made.join(b)
    assert numbers(made.merge(a, [trade(6), delta(6), trade(7), delta(7)], NOW)) == [6, 6, 7, 7]
    b.at = [Position("trades", "A", 5, None), Position("book", "A", 5, None)]
    made.leave(a)
    assert made.settle(NOW) == []
    assert numbers(made.merge(b, [trade(6), delta(6)], NOW)) == []
    assert numbers(made.merge(b, [trade(7), delta(7), trade(8), delta(8)], NOW)) == [8, 8]
    assert made.is_merging
    assert numbers(made.merge(b, [trade(9), delta(9)], AFTER)) == [9, 9]
    assert not made.is_merging


def test_a_slower_line_repeats_nothing_from_before_it_came_once_the_first_has_spoken_again() -> None:
    a, b = Scripted("a"), Scripted("b")
    a.at = [Position("trades", "A", 5, None)]
    made = arbiter(a, lasting=False)
    made.join(b)
    assert numbers(made.merge(a, [trade(6)], NOW)) == [6]
    assert numbers(made.merge(b, [trade(4), trade(5), trade(6), trade(7)], NOW)) == [7]


def test_of_trades_without_numbers_the_time_says_which_are_from_before_a_line_came() -> None:
    a, b = Scripted("a", good=[("trades", "A")]), Scripted("b")
    a.at = [Position("trades", "A", None, None, newest=3)]
    made = arbiter(a, numbered=False, lasting=False)
    made.join(b)
    said: list[Record] = [Trade(raw_symbol="A", price="1", size="1", id=str(at), ts_event=at) for at in range(1, 7)]
    assert made.merge(a, said[3:4], NOW) == said[3:4]
    assert made.merge(b, said[:5], NOW) == said[4:5]
    made.leave(a)
    assert made.settle(NOW) == []
    assert made.merge(b, said[4:], NOW) == said[5:]


def test_a_gap_of_the_line_that_stays_alone_is_closed_as_it_was_opened() -> None:
    a, b = Scripted("a", good=[BOOK]), Scripted("b", good=[BOOK])
    a.at = [Position("book", "A", 5, None)]
    made = arbiter(a, lasting=False)
    made.join(b)
    opened = hole("book")
    assert made.merge(b, [opened], NOW) == []
    b.at = [Position("book", "A", 5, opened)]
    made.leave(a)
    assert made.settle(NOW) == [opened]
    ending = structs.replace(opened, phase="close")
    b.whole.clear()
    assert made.merge(b, [whole(9), ending, delta(10)], NOW) == [whole(9), ending, delta(10)]


def test_of_trades_without_a_name_as_many_are_told_as_the_line_has_that_has_most() -> None:
    a, b = Scripted("a", good=[("trades", "A")]), Scripted("b", good=[("trades", "A")])
    a.at = b.at = [Position("trades", "A", None, None, newest=3)]
    made = arbiter(a, numbered=False, lasting=False)
    made.join(b)
    said: list[Record] = [Trade(raw_symbol="A", price="1", size="1", ts_event=at) for at in (4, 4, 5)]
    assert made.merge(b, said[:1], NOW) == said[:1]
    assert made.merge(a, said[:2], NOW) == said[1:2]
    assert made.merge(b, said[1:], NOW) == said[2:]
    made.leave(b)
    assert made.settle(NOW) == []
    assert made.merge(a, said[2:], NOW) == []


def test_liquidations_are_merged_as_trades_are() -> None:
    a, b = Scripted("a", good=[("liquidations", "A")]), Scripted("b", good=[("liquidations", "A")])
    a.at = [Position("liquidations", "A", None, None, newest=3)]
    made = arbiter(a, numbered=False, lasting=False)
    made.join(b)
    said: list[Record] = [Liquidation(raw_symbol="A", price="1", size="1", ts_event=at) for at in (3, 4, 5)]
    assert made.merge(b, said[:2], NOW) == said[1:2], "the line that is ahead is heard at once"
    assert made.merge(a, said[1:], NOW) == said[2:]


def test_how_something_stands_does_not_go_back_when_a_slower_line_goes_on() -> None:
    a, b = Scripted("a"), Scripted("b")
    a.at = b.at = [Position("ticker", "A", None, None)]
    made = arbiter(a, lasting=False)
    made.join(b)
    said: list[Record] = [Ticker(raw_symbol="A", last=str(at), ts_event=at) for at in range(1, 5)]
    assert made.merge(a, said[:3], NOW) == said[:3]
    assert made.merge(b, said[:1], NOW) == []
    made.leave(a)
    assert made.settle(NOW) == []
    assert made.merge(b, said[1:], NOW) == said[3:]
    again = Ticker(raw_symbol="A", last="2", ts_event=2)
    assert made.merge(b, [again], NOW) == [again], "a line may contradict itself"


def test_while_neither_line_is_good_the_one_that_was_followed_is_followed_as_long_as_it_speaks() -> None:
    a, b = Scripted("a"), Scripted("b")
    made = arbiter(a, b, numbered=False)
    said: list[Record] = [Ticker(raw_symbol="A", last=str(at)) for at in range(4)]
    assert made.merge(a, said[:1], NOW) == said[:1]
    assert made.merge(b, said[:1], NOW) == []
    assert made.merge(a, said[1:2], NOW) == said[1:2]
    later = Now(NOW.wall + 2 * BEHIND_NS, NOW.mono + 2 * BEHIND_NS)
    assert made.merge(b, said[2:3], later) == said[2:3], "it has been silent for too long"
    assert made.merge(a, said[2:3], later) == []
    a.good.add(("ticker", "A"))
    assert made.merge(a, said[3:], later) == said[3:], "the one that is good is followed at once"


def test_a_topic_that_is_wanted_again_soon_is_not_told_what_it_was_told() -> None:
    a, b = Scripted("a", good=[("trades", "A")]), Scripted("b", good=[("trades", "A")])
    made = arbiter(a, b, numbered=False)
    said: list[Record] = [Trade(raw_symbol="A", price="1", size="1", id=str(at), ts_event=at) for at in range(3)]
    assert made.merge(a, said[:2], NOW) == said[:2]
    made.forget([("trades", "A")])
    assert made.merge(b, said, NOW) == said[2:], "this line is behind"
