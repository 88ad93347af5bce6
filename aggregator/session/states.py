"""A topic's state, as a table: what may happen to a topic, and what becomes of its state then.

Everything that changes a state goes through `after`, and every change is told: by a `health` record, or by the `gap`
that is the change. `docs/topic-states.md` is made from this table.
"""

from typing import Literal, get_args

from msgspec import Struct

from aggregator.records import TopicState

Happening = Literal[
    "asked",
    "accepted",
    "unacknowledged",
    "refused",
    "fresh",
    "silent",
    "nothing new",
    "dead",
    "lost",
    "whole",
    "answered",
    "unanswered",
    "disconnected",
    "unwanted",
    "noted",
]

STATES: dict[TopicState, str] = {
    "subscribing": "The exchange is asked for it, and has not answered.",
    "syncing": "The exchange has agreed; no record has come yet.",
    "live": "Records come; of a book, once it is whole.",
    "quiet": "Nothing comes, as it may be in a quiet market.",
    "stalled": "Nothing comes though it should, and it is asked for again.",
    "suspect": "Something is missing, and a gap is open.",
    "down": "It is refused, no longer listed, or without a connection or an answer.",
}
EVERY = frozenset[TopicState](get_args(TopicState))
UP = EVERY - {"down"}


class Move(Struct, frozen=True):
    """The change that one event makes to a topic's state.

    when: what has happened, for the page
    of: the states that it changes; in any other it changes nothing
    to: the state afterwards; null: the same, and only the reason is new
    by: the type of the record that tells it
    """

    when: str
    of: frozenset[TopicState]
    to: TopicState | None
    by: Literal["health", "gap"] = "health"


MOVES: dict[Happening, Move] = {
    "asked": Move(
        "The exchange is asked for the topic, or again after a refusal.",
        frozenset({"subscribing", "down"}),
        "subscribing",
    ),
    "accepted": Move(
        "The exchange has agreed, or the address alone subscribes.", frozenset({"subscribing", "down"}), "syncing"
    ),
    "unacknowledged": Move("No answer to the request has come in time.", UP, "stalled"),
    "refused": Move("The exchange has refused it.", EVERY, "down"),
    "fresh": Move("Its last record is recent enough for its rhythm, and nothing is missing.", UP, "live"),
    "silent": Move(
        "Nothing has come for longer than its rhythm allows.", frozenset({"subscribing", "syncing", "live"}), "quiet"
    ),
    "nothing new": Move(
        "The exchange was asked by REST, and has nothing newer than what came.", frozenset({"quiet"}), "quiet"
    ),
    "dead": Move(
        "The exchange has something newer that did not come, or the first record does not come at all.", UP, "stalled"
    ),
    "lost": Move("Something is missing: a gap opens.", EVERY, "suspect", "gap"),
    "whole": Move("The gap closes.", EVERY, "live", "gap"),
    "answered": Move("A poll was answered.", frozenset({"subscribing", "down"}), "live"),
    "unanswered": Move("A poll was not answered.", UP, "down"),
    "disconnected": Move("The connection is gone before anything came.", UP, "down"),
    "unwanted": Move("Nobody wants it any more, or it is no longer listed.", EVERY, "down"),
    "noted": Move("There is something to say of it, such as how often it was asked for again.", EVERY, None),
}


def after(state: TopicState, happening: Happening) -> TopicState | None:
    """The state after something has happened; None where that changes nothing."""
    move = MOVES[happening]
    return (move.to or state) if state in move.of else None
