import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.sequence import GAP, NEXT, STALE, Rule, Verdict, contiguous, linked, ordered, unnumbered

RULES = [contiguous, linked, ordered, unnumbered]
NUMBERS = st.integers(0, 20)
Case = tuple[int, int, int, int | None, Verdict]  # last known; first, final and previous of the record; what it is


def judge(rule: Rule, case: Case, *, joins: bool) -> Verdict:
    last, first, final, prev, _ = case
    return (rule.joins if joins else rule.follows)(last, first, final, prev)


# --- contiguous: ranges without a hole

JOINS_CONTIGUOUS: list[Case] = [
    (10, 11, 11, None, NEXT),
    (10, 11, 15, None, NEXT),
    (10, 5, 11, None, NEXT),  # the snapshot lies within the record
    (10, 10, 12, None, NEXT),
    (10, 1, 99, None, NEXT),
    (10, 5, 10, None, STALE),
    (10, 10, 10, None, STALE),
    (10, 1, 3, None, STALE),
    (10, 12, 12, None, GAP),
    (10, 12, 20, None, GAP),
    (0, 1, 1, None, NEXT),
    (0, 2, 2, None, GAP),
    (0, 0, 0, None, STALE),
    (10, 11, 11, 3, NEXT),  # a previous number is not looked at
]
FOLLOWS_CONTIGUOUS: list[Case] = [
    (10, 11, 11, None, NEXT),
    (10, 11, 15, None, NEXT),
    (10, 12, 15, None, GAP),
    (10, 12, 12, None, GAP),
    (10, 10, 10, None, STALE),
    (10, 1, 10, None, STALE),
    (10, 5, 7, None, STALE),
    (10, 10, 12, None, GAP),  # half of it is known: after the first delta that is no longer allowed
    (10, 5, 11, None, GAP),
    (10, 1_000_000_000_000, 1_000_000_000_000, None, GAP),
    (10, 1, 1, None, STALE),  # numbers that start anew look like this; who knows the time tells them apart
]


@pytest.mark.parametrize("case", JOINS_CONTIGUOUS, ids=str)
def test_contiguous_joins(case: Case) -> None:
    assert judge(contiguous, case, joins=True) is case[-1]


@pytest.mark.parametrize("case", FOLLOWS_CONTIGUOUS, ids=str)
def test_contiguous_follows(case: Case) -> None:
    assert judge(contiguous, case, joins=False) is case[-1]


@given(NUMBERS, NUMBERS, st.integers(0, 5))
def test_contiguous_says_what_the_set_of_updates_says(last: int, first: int, more: int) -> None:
    """A record covers first..final: it is stale when nothing of that is new, and a gap when something is missing."""
    final = first + more
    covered, known = set(range(first, final + 1)), set(range(last + 1))
    missing = set(range(last + 1, first))
    expected = STALE if covered <= known else GAP if missing else NEXT
    assert contiguous.joins(last, first, final, None) is expected
    overlaps = expected is NEXT and bool(covered & known)
    assert contiguous.follows(last, first, final, None) is (GAP if overlaps else expected)


# --- linked: each record names the number before it

JOINS_LINKED: list[Case] = [
    (10, 12, 15, 10, NEXT),
    (10, 15, 15, 10, NEXT),
    (10, 8, 12, 7, NEXT),  # the snapshot lies within the record
    (10, 10, 12, 9, NEXT),
    (10, 8, 10, 7, NEXT),  # it ends where the snapshot ends: sizes are absolute, once more does no harm
    (10, 10, 10, 9, NEXT),
    (10, 10, 10, 10, NEXT),  # nothing changed: a keepalive
    (10, 8, 9, 7, STALE),
    (10, 11, 12, 9, GAP),
    (10, 12, 15, 11, GAP),
    (10, 12, 15, None, GAP),
    (10, 8, 9, None, STALE),
    (10, 8, 12, None, NEXT),
    (0, 5, 5, 0, NEXT),
    (10, 3, 3, 10, NEXT),  # the link holds, though numbers fell: an exchange may count anew
]
FOLLOWS_LINKED: list[Case] = [
    (10, 12, 15, 10, NEXT),
    (10, 11, 11, 10, NEXT),
    (10, 10, 10, 10, NEXT),
    (10, 3, 3, 10, NEXT),
    (10, 10, 12, 9, GAP),
    (10, 11, 11, 9, GAP),
    (10, 15, 15, 12, GAP),
    (10, 11, 11, None, GAP),
    (10, 8, 12, 7, GAP),  # only the first delta may hold the snapshot within it
    (10, 8, 10, 7, STALE),
    (10, 8, 9, 7, STALE),
    (10, 8, 9, None, STALE),
    (10, 1, 1, -1, STALE),
]


@pytest.mark.parametrize("case", JOINS_LINKED, ids=str)
def test_linked_joins(case: Case) -> None:
    assert judge(linked, case, joins=True) is case[-1]


@pytest.mark.parametrize("case", FOLLOWS_LINKED, ids=str)
def test_linked_follows(case: Case) -> None:
    assert judge(linked, case, joins=False) is case[-1]


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_a_link_that_holds_is_next_whatever_the_numbers(last: int, first: int, final: int, other: int) -> None:
    assert linked.joins(last, first, final, last) is NEXT
    assert linked.follows(last, first, final, last) is NEXT
    if other != last:
        assert linked.follows(last, first, final, other) is (STALE if final <= last else GAP)


# --- ordered and unnumbered

ORDERED: list[Case] = [
    (10, 11, 11, None, NEXT),
    (10, 999, 999, None, NEXT),
    (10, 5, 11, None, NEXT),
    (10, 10, 10, None, STALE),
    (10, 9, 9, None, STALE),
    (10, 9, 9, 10, STALE),  # a previous number is not looked at
    (10, 12, 12, 11, NEXT),
]


@pytest.mark.parametrize("joins", [True, False])
@pytest.mark.parametrize("case", ORDERED, ids=str)
def test_ordered(case: Case, joins: bool) -> None:
    assert judge(ordered, case, joins=joins) is case[-1]


@given(NUMBERS, NUMBERS, NUMBERS, st.none() | NUMBERS)
def test_unnumbered_takes_everything(last: int, first: int, final: int, prev: int | None) -> None:
    assert unnumbered.joins(last, first, final, prev) is NEXT
    assert unnumbered.follows(last, first, final, prev) is NEXT


# --- every rule


@given(st.sampled_from(RULES), NUMBERS, NUMBERS, st.integers(0, 5), st.none() | NUMBERS)
def test_a_hole_is_seen_by_every_rule_that_is_sure(
    rule: Rule, last: int, first: int, more: int, prev: int | None
) -> None:
    final = first + more
    verdicts = {rule.joins(last, first, final, prev), rule.follows(last, first, final, prev)}
    if first > last + 1 and prev != last:
        assert verdicts == ({GAP} if rule.sure else {NEXT})
    if not rule.sure:
        assert GAP not in verdicts


def walk(rule: Rule, records: list[tuple[int, int, int]], last: int) -> list[Verdict]:
    """Judge records as a topic does: the first by `joins`, and after it by `follows`."""
    verdicts, judge_by = list[Verdict](), rule.joins
    for first, final, prev in records:
        verdict = judge_by(last, first, final, prev)
        verdicts.append(verdict)
        if verdict is NEXT:
            last, judge_by = final, rule.follows
    return verdicts


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """A stream without a hole: (first, final, previous) of each record."""
    prev, records = draw(st.integers(0, 50)), list[tuple[int, int, int]]()
    for width in draw(st.lists(st.integers(1, 4), min_size=2, max_size=12)):
        records.append((prev + 1, prev + width, prev))
        prev += width
    return records


@given(st.sampled_from(RULES), streams(), st.data())
def test_a_whole_stream_joins_a_snapshot_taken_anywhere_in_it(
    rule: Rule, records: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    last = data.draw(st.integers(records[0][2], records[-1][1]))
    verdicts = walk(rule, records, last)
    assert GAP not in verdicts
    fresh = [final > last for _, final, _ in records]
    assert all(verdict is NEXT for verdict, new in zip(verdicts, fresh, strict=True) if new)


@given(st.sampled_from([contiguous, linked]), streams(), st.data())
def test_a_record_that_is_lost_is_a_gap_and_one_that_comes_twice_is_stale(
    rule: Rule, records: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(records) - 2))
    start = records[0][2]
    lost = walk(rule, records[:place] + records[place + 1 :], start)
    assert lost == [NEXT] * place + [GAP] * (len(records) - place - 1)
    twice = walk(rule, [*records[: place + 1], *records[place:]], start)
    assert twice == [NEXT] * (place + 1) + [STALE] + [NEXT] * (len(records) - place - 1)


def test_what_a_rule_is_called_and_promises() -> None:
    assert [(rule.name, rule.sure) for rule in RULES] == [
        ("contiguous", True),
        ("linked", True),
        ("ordered", False),
        ("unnumbered", False),
    ]
