"""docs/topic-states.md: the states of a topic and what moves it from one to another, from the table of the code."""

from aggregator.docgen.markdown import code, notice, table
from aggregator.session.states import MOVES, STATES, Happening, after

HEAD = """# The states of a topic

A topic is one channel of one market on one connection. It is in one of these states, and every change is told: by a
`health` record with the reason, or by the `gap` that is the change. [The records](records.md) say what both hold, and
[how a session works](how-a-session-works.md) shows them in the course of one connection.
"""

MIDDLE = """
## What moves it

What happens stands on the left, the state before it at the top, and the state after it in the cell. An empty cell: it
changes nothing there. A state that stays is told again only if there is a new reason.
"""


def states_page() -> str:
    """The whole page."""
    states = table(("state", "meaning"), ((code(state), meaning) for state, meaning in STATES.items()))
    moves = table(("what happens", *map(code, STATES), "told by"), map(_row, MOVES))
    whens = table(("what happens", "when"), ((happening, move.when) for happening, move in MOVES.items()))
    return f"{notice('aggregator/session/states.py')}{HEAD}\n{states}{MIDDLE}\n{moves}\n{whens}"


def _row(happening: Happening) -> tuple[str, ...]:
    found = (after(state, happening) for state in STATES)
    return happening, *(state or "" for state in found), code(MOVES[happening].by)
