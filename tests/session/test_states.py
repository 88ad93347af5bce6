"""The table of a topic's states."""

import re
from pathlib import Path
from typing import get_args

import pytest

from aggregator.records import Gap, Health, Record, TopicState
from aggregator.session.moment import Now
from aggregator.session.states import MOVES, STATES, Happening, after
from aggregator.session.topics import Origin, Topic, TopicCheckpoint, happen

NOW = Now(5, 5)
SESSION = Path(__file__).parents[2] / "aggregator" / "session"


def topic(state: TopicState) -> Topic:
    made = Topic("trades", "A", None, Origin("toy", "toy/main.1#1"), TopicCheckpoint())
    made.state, made.reason = state, None
    return made


def test_every_word_has_its_row() -> None:
    assert set(MOVES) == set(get_args(Happening))
    assert set(STATES) == set(get_args(TopicState))


@pytest.mark.parametrize("happening", [each for each, move in MOVES.items() if move.by == "health"])
@pytest.mark.parametrize("state", STATES)
def test_a_change_is_told_once_and_what_changes_nothing_is_not(state: TopicState, happening: Happening) -> None:
    one, out = topic(state), list[Record]()
    for _ in range(2):
        happen(one, happening, out, NOW, "why")
    told = [(r.state, r.reason) for r in out if isinstance(r, Health)]
    expected = after(state, happening)
    assert told == ([] if expected is None else [(expected, "why")])
    assert (one.state, one.place.changes) == (expected or state, len(told))


@pytest.mark.parametrize("state", STATES)
def test_a_gap_is_the_change(state: TopicState) -> None:
    one, out = topic(state), list[Record]()
    one.open_gap("sequence", out, NOW)
    assert one.state == "suspect"
    one.close_gap(out, NOW, "none")
    assert (one.state, [r.phase for r in out if isinstance(r, Gap)]) == ("live", ["open", "close"])
    assert len(out) == 2


def test_nothing_else_changes_a_state() -> None:
    """Who sets it past the table would not be told of."""
    setting = {path.name for path in SESSION.glob("*.py") if re.search(r"\.state(, \S+)? = ", path.read_text())}
    assert setting == {"topics.py"}
    assert len(re.findall(r"self\.state(, \S+)? = ", (SESSION / "topics.py").read_text())) == 1
