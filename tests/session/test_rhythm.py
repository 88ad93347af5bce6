from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.records import SECOND_NS
from aggregator.session.rhythm import CEILING_NS, FLOOR_NS, LONGEST, MEANS, Pulse

START: Final = 1_000 * SECOND_NS

INTERVALS = st.lists(st.integers(1, 1_000 * SECOND_NS), min_size=1, max_size=50)


def learned(intervals: list[int]) -> Pulse:
    """A pulse that saw one record at the start, and one after each interval."""
    pulse, heard = Pulse(), START
    pulse.learn(1, heard)
    for count, interval in enumerate(intervals, 2):
        heard += interval
        pulse.learn(count, heard)
    return pulse


# --- what is not known


def test_who_knows_nothing_keeps_the_floor() -> None:
    assert Pulse().deadline == FLOOR_NS
    assert Pulse().rate is None


def test_one_record_is_no_rhythm() -> None:
    pulse = learned([])
    assert pulse.deadline == FLOOR_NS
    assert pulse.rate is None


def test_many_records_at_the_first_tick_are_no_rhythm_either() -> None:
    pulse = Pulse()
    pulse.learn(500, START)
    assert pulse.deadline == FLOOR_NS
    assert pulse.rate is None


@pytest.mark.parametrize("count", [0, 3, 5])
def test_a_tick_without_a_new_record_teaches_nothing(count: int) -> None:
    pulse = learned([30 * SECOND_NS] * 4)
    before = (pulse.deadline, pulse.rate)
    pulse.learn(count, START + 10_000 * SECOND_NS)
    assert (pulse.deadline, pulse.rate) == before


def test_silence_itself_does_not_move_the_deadline() -> None:
    """Ticks go on while nothing comes: the next record's interval counts from the last record, not the last tick."""
    ticked, still = Pulse(), learned([60 * SECOND_NS])
    ticked.learn(1, START)
    for _ in range(59):
        ticked.learn(1, START)
    ticked.learn(2, START + 60 * SECOND_NS)
    assert ticked.deadline == still.deadline == MEANS * 60 * SECOND_NS


# --- a rhythm


@pytest.mark.parametrize(
    ("interval", "deadline"),
    [
        (SECOND_NS // 1000, FLOOR_NS),
        (SECOND_NS, FLOOR_NS),
        (2 * SECOND_NS, 20 * SECOND_NS),
        (30 * SECOND_NS, 300 * SECOND_NS),
        (60 * SECOND_NS, CEILING_NS),
        (3600 * SECOND_NS, CEILING_NS),
    ],
)
def test_a_steady_rhythm_gives_ten_of_its_intervals(interval: int, deadline: int) -> None:
    assert learned([interval] * 20).deadline == deadline


@pytest.mark.parametrize(
    ("interval", "rate"), [(SECOND_NS, 1.0), (SECOND_NS // 250, 250.0), (8 * SECOND_NS, 0.125), (3 * SECOND_NS, 0.333)]
)
def test_the_rate_is_records_a_second(interval: int, rate: float) -> None:
    assert learned([interval] * 3).rate == rate


def test_several_records_in_one_tick_share_its_time() -> None:
    pulse = Pulse()
    pulse.learn(10, START)
    pulse.learn(30, START + 40 * SECOND_NS)
    assert pulse.rate == 0.5
    assert pulse.deadline == MEANS * 2 * SECOND_NS


def test_one_long_pause_is_remembered_as_the_longest() -> None:
    busy = [SECOND_NS // 10] * 100
    assert learned(busy).deadline == FLOOR_NS
    assert learned([*busy, 30 * SECOND_NS]).deadline == LONGEST * 30 * SECOND_NS


def test_a_long_pause_fades_while_records_go_on() -> None:
    deadlines = [learned([SECOND_NS, 60 * SECOND_NS, *[SECOND_NS] * more]).deadline for more in range(0, 300, 10)]
    assert deadlines == sorted(deadlines, reverse=True)
    assert deadlines[0] > LONGEST * 60 * SECOND_NS - 1
    assert deadlines[-1] < 2 * FLOOR_NS


def test_a_topic_that_falls_asleep_is_given_more_time_at_each_record() -> None:
    waking = [learned([SECOND_NS] * 50 + [20 * SECOND_NS] * more).deadline for more in range(20)]
    assert waking == sorted(waking)
    assert waking[0] == FLOOR_NS
    assert waking[-1] > 100 * SECOND_NS


def test_a_topic_that_wakes_up_is_soon_held_to_its_new_rhythm() -> None:
    assert learned([60 * SECOND_NS] * 20 + [SECOND_NS // 100] * 300).deadline == FLOOR_NS


def test_records_of_one_moment_are_no_division_by_zero() -> None:
    pulse = learned([0, 0, 0])
    assert pulse.deadline == FLOOR_NS
    assert pulse.rate is None


@given(INTERVALS)
def test_the_deadline_lies_between_floor_and_ceiling(intervals: list[int]) -> None:
    pulse = learned(intervals)
    assert isinstance(pulse.deadline, int)
    assert FLOOR_NS <= pulse.deadline <= CEILING_NS
    assert pulse.rate is not None
    assert pulse.rate >= 0


@given(INTERVALS)
def test_no_silence_that_was_just_heard_is_odd(intervals: list[int]) -> None:
    """The deadline after a record is no less than thrice the interval that it ended, up to the ceiling."""
    assert learned(intervals).deadline >= min(LONGEST * intervals[-1], CEILING_NS) - 1


@given(INTERVALS)
def test_the_mean_stays_within_what_was_heard(intervals: list[int]) -> None:
    rate = learned(intervals).rate
    assert rate is not None
    assert SECOND_NS / max(intervals) - 0.001 <= rate <= SECOND_NS / min(intervals) * 1.000001 + 0.001


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 10**13)), max_size=20))
def test_any_counts_at_any_times_leave_the_bounds(ticks: list[tuple[int, int]]) -> None:
    """A count may start anew with its connection."""
    pulse = Pulse()
    for count, heard in ticks:
        pulse.learn(count, heard)
        assert FLOOR_NS <= pulse.deadline <= CEILING_NS
