"""No window of the declared length ever holds more than the limit, and what is due is not kept waiting."""

from hypothesis import given
from hypothesis import strategies as some

from aggregator.ingest.budget import SLACK_S, STRETCH, Window

SECOND = 1_000_000_000


@given(
    some.integers(1, 20),
    some.floats(0.01, 60),
    some.lists(some.tuples(some.integers(0, 30 * SECOND), some.integers(1, 25)), max_size=60),
)
def test_no_window_holds_more_than_the_limit(limit: int, seconds: float, asked: list[tuple[int, int]]) -> None:
    window, now = Window((limit, seconds)), 0
    spent: list[tuple[int, int]] = []
    for idle, amount in asked:
        now += idle
        now += window.wait(amount, now)
        assert window.wait(amount, now) <= 0
        window.spend(min(amount, limit), now)
        spent.append((now, min(amount, limit)))
    for at, _ in spent:
        assert sum(amount for when, amount in spent if at <= when < at + seconds * SECOND) <= limit


def test_a_full_budget_is_free_again_after_its_window() -> None:
    window = Window((2, 10))
    window.spend(2, 0)
    length = int((10 * STRETCH + SLACK_S) * SECOND)
    assert window.wait(1, 4 * SECOND) == length - 4 * SECOND
    assert window.wait(2, length) == 0


def test_what_is_heavier_than_the_limit_waits_for_all_of_it() -> None:
    window = Window((2, 1))
    window.spend(50, 0)
    assert window.wait(50, SECOND) > 0
    assert window.wait(50, 2 * SECOND) == 0
