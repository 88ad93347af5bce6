"""A share in a shard, step by step, where the model says only that nothing is wrong."""

from copy import copy
from typing import Literal

from msgspec import structs

from aggregator.cluster.share import Share
from aggregator.records import SECOND_NS, BookDelta, BookSnapshot, Gap, Health, Record, Trade

START = 1_700_000_000 * SECOND_NS


def at(second: float) -> int:
    return START + round(second * SECOND_NS)


def trade(number: int, second: float) -> Trade:
    return Trade(
        exchange="x", symbol="S", raw_symbol="S", ts_recv=at(second), price="1", size="1", id=str(number), offset=number
    )


def whole(number: int, second: float) -> BookSnapshot:
    return BookSnapshot(
        exchange="x", symbol="S", raw_symbol="S", ts_recv=at(second), bids=[], asks=[], sequence=number, offset=number
    )


def change(number: int, second: float) -> BookDelta:
    return BookDelta(
        exchange="x", symbol="S", raw_symbol="S", ts_recv=at(second), bids=[], asks=[], sequence=number, offset=number
    )


def live(channel: str, second: float) -> Health:
    return Health(
        exchange="x", symbol="S", raw_symbol="S", ts_recv=at(second), conn="c", channel=channel, state="live"  # type: ignore[arg-type]
    )  # fmt: skip


def goes_on(stream: list[Record], ring: list[Record], second: float) -> list[Record]:
    """What a standby publishes behind what the stream holds."""
    share = Share("x", {"book"})
    share.heard(1, len(stream), stream)
    share.gather(ring, at(second))
    share.take_over(2, at(second), lambda _: None)
    frame = share.next_frame(1000, 1 << 20)
    return [] if frame is None else [record for record in frame.records if not isinstance(record, Health)]


def test_whoever_came_just_before_the_owner_died_goes_on_where_both_have_a_record() -> None:
    """Times alone would not tell: the records of two hosts may be two seconds apart."""
    stream: list[Record] = [change(number, number / 10) for number in range(1, 101)]
    ring: list[Record] = [
        live("book", 9.5),
        whole(97, 9.5),
        *(change(number, number / 10) for number in range(98, 130)),
    ]
    assert [(type(r), r.sequence) for r in goes_on(stream, ring, 22)] == [(BookDelta, n) for n in range(101, 130)]


def test_whoever_has_no_record_that_the_stream_has_tells_a_gap() -> None:
    stream: list[Record] = [change(number, number / 10) for number in range(1, 101)]
    ring: list[Record] = [live("book", 10.5), whole(103, 10.5), change(104, 10.6)]
    gap, *_ = goes_on(stream, ring, 22)
    assert isinstance(gap, Gap)
    assert (gap.channel, gap.phase, gap.cause) == ("book", "open", "restart")


def test_trades_go_on_behind_a_gap_that_the_owner_has_left_open() -> None:
    """The owner had lost its connection when it died: whoever stood by had not."""
    left = Gap(
        exchange="x", symbol="S", raw_symbol="S", ts_recv=at(10.1), gap_id="1", phase="open", channel="trades",
        cause="disconnect", ts_from=at(10), offset=101,
    )  # fmt: skip
    stream: list[Record] = [*(trade(number, number / 10) for number in range(1, 101)), left]
    ring: list[Record] = [live("trades", 0.5), *(trade(number, number / 10) for number in range(5, 130))]
    closed, *behind = goes_on(stream, ring, 22)
    assert isinstance(closed, Gap)
    assert (closed.gap_id, closed.phase) == ("1", "close")
    assert [getattr(record, "id", None) for record in behind] == [str(number) for number in range(101, 130)]


def test_a_trade_that_comes_after_a_takeover_and_was_passed_over_is_late() -> None:
    """The owner before had lost its connection for trades that come to the new one only now, as it had been stopped."""
    share = Share("x")
    numbered = [structs.replace(trade(number, number / 10), sequence=number) for number in (1, 2, 3, 7)]
    share.heard(1, 7, numbered)
    share.gather([live("trades", 0), *map(copy, numbered[:3])], at(0.4))
    share.take_over(2, at(12), lambda _: None)
    share.gather([structs.replace(trade(n, 12.1), sequence=n) for n in range(4, 10)], at(12.1))
    frame = share.next_frame(100, 1 << 20)
    assert frame is not None
    trades = [record for record in frame.records if isinstance(record, Trade)]
    assert [(each.id, "late" in (each.flags or ())) for each in trades] == [
        ("4", True), ("5", True), ("6", True), ("8", False), ("9", False)
    ]  # fmt: skip


def test_a_trade_without_a_number_that_was_passed_over_is_late_by_its_time() -> None:
    """Both members have trades that the other one has not; in the new owner's own order they would run back in time."""

    def timed(id: str, second: float) -> Trade:
        return structs.replace(trade(1, second + 0.2), id=id, ts_event=at(second))

    share = Share("x")
    share.heard(1, 3, [structs.replace(timed(id, second), offset=1) for id, second in (("a", 1), ("c", 3), ("d", 4))])
    share.gather([live("trades", 0), timed("a", 1), timed("b", 2), timed("c", 3), timed("e", 4), timed("f", 5)], at(6))
    share.take_over(2, at(6), lambda _: None)
    share.gather([timed("g", 3.5), timed("h", 6), timed("i", 5.5)], at(7))
    frame = share.next_frame(100, 1 << 20)
    assert frame is not None
    trades = [record for record in frame.records if isinstance(record, Trade)]
    assert [(each.id, "late" in (each.flags or ())) for each in trades] == [
        ("b", True), ("e", False), ("f", False), ("g", True), ("h", False), ("i", False)
    ]  # fmt: skip


def test_a_ring_reaches_back_to_where_the_stream_stands_still() -> None:
    """The servers were away for a minute when the owner died."""
    share = Share("x", most=2000)
    share.heard(1, 50, [trade(number, number / 10) for number in range(1, 51)])
    for number in range(1, 700):
        share.gather(
            [live("trades", 0), trade(number, number / 10)] if number == 1 else [trade(number, number / 10)],
            at(number / 10),
        )
    share.take_over(2, at(72), lambda _: None)
    frame = share.next_frame(2000, 1 << 20)
    assert frame is not None
    assert [record.id for record in frame.records if isinstance(record, Trade)] == [str(n) for n in range(51, 700)]
    assert not any(isinstance(record, Gap) for record in frame.records)


def test_a_ring_of_what_the_stream_has_gone_past_is_short() -> None:
    share = Share("x")
    for number in range(1, 700):
        share.gather([trade(number, number / 10)], at(number / 10))
        share.heard(1, number, [trade(number, number / 10)])
    assert len(share) == 301


def test_what_does_not_fit_is_told_while_a_frame_is_under_way() -> None:
    """The frame is stored in the end; the gaps, and what else is told of the topics, stand behind it."""
    share = Share("x", most=100)
    share.take_over(1, at(0), lambda _: None)
    share.gather([trade(number, number / 10) for number in range(1, 51)], at(5))
    sent = share.next_frame(10, 1 << 20)
    assert sent is not None
    down = structs.replace(live("trades", 5), state="down")
    share.gather([down, *(trade(number, number / 10) for number in range(51, 150))], at(15))
    assert share.overflowed == 49
    share.stored(sent)
    behind = share.next_frame(1000, 1 << 20)
    assert behind is not None
    state, gap, *trades = behind.records
    assert isinstance(state, Health)
    assert state.state == "down"
    assert isinstance(gap, Gap)
    assert (gap.channel, gap.cause, gap.phase, gap.missed, gap.ts_from) == ("trades", "overflow", "close", 49, at(1.1))
    told = [int(getattr(each, "id", 0)) for each in (*sent.records, *trades)]
    assert told == [*range(1, 11), *range(60, 150)]


def test_a_frame_that_is_not_stored_is_held_again() -> None:
    share = Share("x")
    share.take_over(1, at(0), lambda _: None)
    share.gather([trade(number, number / 10) for number in range(1, 51)], at(5))
    assert share.next_frame(10, 1 << 20) is not None
    assert len(share) == 50
    share.let_go(at(6))
    share.take_over(2, at(6), lambda _: None)
    frame = share.next_frame(100, 1 << 20)
    assert frame is not None
    assert [each.id for each in frame.records if isinstance(each, Trade)] == [str(number) for number in range(1, 51)]


def test_what_has_come_is_fresh_once() -> None:
    share = Share("x")
    share.gather([live("trades", 0), trade(1, 0)], at(0))
    assert share.fresh() == []
    share.take_over(1, at(1), lambda _: None)
    assert [type(record) for record in share.fresh()] == [Health, Trade]
    share.gather([trade(2, 1), trade(3, 1)], at(1))
    frame = share.next_frame(2, 1 << 20)
    assert frame is not None
    share.heard(1, frame.last, [])
    share.stored(frame)
    assert [getattr(record, "id", "") for record in share.fresh()] == ["2", "3"]
    assert share.fresh() == []
    share.let_go(at(2))
    assert share.fresh() == []


def gap(second: float, to: float | None = None) -> Gap:
    """Of the trades, from a new beginning until something came."""
    phase: Literal["open", "close"] = "open" if to is None else "close"
    return Gap(
        exchange="x", symbol="S", raw_symbol="S", ts_recv=at(to or second), conn="c", gap_id="g", phase=phase,
        channel="trades", cause="restart", ts_from=at(second), ts_to=None if to is None else at(to),
    )  # fmt: skip


def silent(ring: list[Record], second: float) -> Share:
    """A member whose market S has nothing to tell, and whose other market makes time pass in the stream."""

    def other(number: int) -> Record:
        return structs.replace(trade(number, number), raw_symbol="T", offset=number + 2)

    share = Share("x")
    share.heard(1, 2, [structs.replace(live("trades", 0), offset=1), structs.replace(trade(1, 0.5), offset=2)])
    share.gather(ring, at(10))
    for number in range(1, round(second)):
        share.heard(1, number + 2, [other(number)])
        share.gather([structs.replace(other(number), offset=0)], at(number))
    return share


def told(share: Share) -> list[tuple[str, str]]:
    """The gaps and states that go into the stream of the silent market."""
    frame = share.next_frame(1000, 1 << 20)
    rows = [] if frame is None else [row for row in frame.records if row.raw_symbol == "S"]
    gaps = [(row.phase, row.cause) for row in rows if isinstance(row, Gap)]
    return gaps + [(row.state, "") for row in rows if isinstance(row, Health)]


def test_a_gap_of_a_silent_topic_is_not_told_once_the_stream_has_gone_on_for_long() -> None:
    began_anew = [gap(5), structs.replace(live("trades", 6), state="syncing")]
    share = silent(began_anew, 30)
    assert share.is_fresh, "whoever owns it waits"
    share.take_over(2, at(30), lambda _: None)
    assert told(share) == [("open", "restart"), ("syncing", "")]

    share = silent(began_anew, 40)
    assert not share.is_fresh
    share.take_over(2, at(40), lambda _: None)
    assert told(share) == [("syncing", "")]
    share.gather([trade(2, 50), gap(5, 50)], at(50))
    assert told(share) == [("live", "")], "a gap ends that was not told"


def test_what_is_lost_while_a_gap_is_open_that_was_not_told_opens_one() -> None:
    """A session opens no second gap of a topic."""
    share = silent([gap(5), structs.replace(live("trades", 6), state="syncing")], 40)
    share.take_over(2, at(40), lambda _: None)
    told(share)
    down = structs.replace(live("trades", 45), state="down")
    share.gather([down, structs.replace(live("trades", 46), state="syncing")], at(46))
    assert told(share) == [("open", "restart"), ("down", ""), ("syncing", "")]
    share.gather([trade(2, 50), gap(5, 50)], at(50))
    assert told(share) == [("close", "restart")]


def test_a_gap_that_a_record_has_ended_that_the_stream_has_too_is_not_told() -> None:
    numbered = structs.replace(trade(7, 38), sequence=7)
    share = silent([gap(25), live("trades", 26)], 40)
    share.heard(1, 100, [structs.replace(numbered, offset=100)])
    share.gather([numbered, gap(25, 38)], at(38))
    assert share.is_fresh
    share.take_over(2, at(39), lambda _: None)
    assert [cause for cause, _ in told(share)] == ["live"]


def test_what_a_member_has_published_itself_is_not_missed_in_its_ring() -> None:
    """It owned the shard, another one did, and it owns it again; a market has had nothing to tell since."""
    share = Share("x")
    share.gather([live("trades", 0)], at(0))
    share.take_over(1, at(0), lambda _: None)
    share.gather([trade(1, 20)], at(20))
    frame = share.next_frame(100, 1 << 20)
    assert frame is not None
    share.stored(frame)
    share.heard(1, frame.last, frame.records)
    share.let_go(at(21))
    other = [structs.replace(trade(n, n), raw_symbol="T", offset=n) for n in range(22, 32)]
    share.gather([structs.replace(each, offset=0) for each in other], at(31))
    share.heard(2, 31, other)
    share.take_over(3, at(40), lambda _: None)
    assert told(share) == [("live", "")]


def test_a_gap_between_two_owners_is_decided_anew_by_whoever_goes_on() -> None:
    """The frame that told it was stored, and its answer came late: told again behind its end it would stay open."""
    share = Share("x")
    share.heard(1, 2, [structs.replace(live("trades", 0), offset=1), structs.replace(trade(1, 1), offset=2)])
    share.gather([live("trades", 5)], at(5))
    share.take_over(2, at(14), lambda _: None)
    sent = share.next_frame(100, 1 << 20)
    assert sent is not None
    share.let_go(at(15))
    share.heard(2, sent.last, sent.records)
    share.take_over(3, at(30), lambda _: None)
    share.gather([trade(2, 31)], at(31))
    frame = share.next_frame(100, 1 << 20)
    assert frame is not None
    reader: dict[str, Gap] = {}
    for record in (*sent.records, *frame.records):
        if isinstance(record, Gap):
            reader.update({record.gap_id: record}) if record.phase == "open" else reader.pop(record.gap_id)
    assert reader == {}


def test_times_say_nothing_of_a_silent_topic_where_the_owner_before_was_late() -> None:
    """It had been stopped, and was gone again before all was published that it then read."""
    numbered = [structs.replace(trade(n, 8 + n / 10), sequence=n, raw_symbol="T") for n in range(1, 20)]
    state = live("trades", 0)
    stream = [
        state,
        structs.replace(trade(1, 1), sequence=1),
        *(structs.replace(each, ts_recv=at(14)) for each in numbered),
    ]
    stream = [structs.replace(record, offset=offset) for offset, record in enumerate(stream, 1)]
    for delay, wanted in ((4, [("open", "restart"), ("live", "")]), (0, [("live", "")])):
        share = Share("x")
        share.heard(1, 21, stream)
        mine = [structs.replace(each, ts_recv=at(14 - delay), offset=0) for each in numbered]
        share.gather([live("trades", 8), *mine], at(14))
        share.take_over(2, at(20), lambda _: None)
        assert told(share) == wanted


def test_what_both_had_before_a_break_says_nothing_of_what_came_behind_it() -> None:
    """The ring reaches back to before this member began the exchange anew."""
    numbered = [structs.replace(trade(n, n / 10), sequence=n) for n in range(1, 101)]
    late = [structs.replace(trade(n, 10), sequence=n) for n in range(60, 71)]
    stream = [live("trades", 0), *numbered[:59], *late]
    share = Share("x")
    share.heard(1, 71, [structs.replace(record, offset=offset) for offset, record in enumerate(stream, 1)])
    mine = [live("trades", 0), *numbered[:50], gap(5), live("trades", 7.5), *numbered[75:], gap(5, 7.6)]
    share.gather([structs.replace(record, offset=0) for record in mine], at(10))
    share.take_over(2, at(20), lambda _: None)
    assert ("open", "restart") in told(share)


def gaps_behind_a_clock_that_is_ahead(stored_at: int) -> list[Gap]:
    """The gaps of a takeover behind an owner whose clock was three minutes ahead, with one that it has left open."""
    share = Share("x")
    left = gap(182)
    stream = [live("trades", 181), left, trade(3, 185)]
    share.heard(1, 3, [structs.replace(record, offset=number) for number, record in enumerate(stream, 1)])
    share.stored_at = stored_at
    share.gather([live("trades", 10), trade(9, 12)], at(12))
    share.take_over(2, at(20), lambda _: None)
    frame = share.next_frame(1000, 1 << 20)
    assert frame is not None
    return [record for record in frame.records if isinstance(record, Gap)]


def test_a_gap_ends_no_earlier_than_it_begins_though_a_clock_was_ahead() -> None:
    left, opened, ended = gaps_behind_a_clock_that_is_ahead(at(6))
    assert (left.phase, left.ts_from, left.ts_to) == ("close", at(182), at(182))
    assert (opened.phase, opened.cause, opened.ts_from) == ("open", "restart", at(6))
    assert (ended.gap_id, ended.ts_from, ended.ts_to) == (opened.gap_id, at(6), at(12))
    _, opened, ended = gaps_behind_a_clock_that_is_ahead(0)
    assert (opened.ts_from, ended.ts_from, ended.ts_to) == (at(20), at(20), at(20)), "it is not known when it came"


def test_what_is_left_out_after_a_clock_was_set_back_ends_no_earlier_than_it_begins() -> None:
    share = Share("x", most=10)
    share.take_over(1, at(0), lambda _: None)
    share.gather([trade(number, 50) for number in range(1, 20)], at(1))
    frame = share.next_frame(1000, 1 << 20)
    assert frame is not None
    (lost,) = (record for record in frame.records if isinstance(record, Gap))
    assert (lost.cause, lost.ts_from, lost.ts_to) == ("overflow", at(50), at(50))
