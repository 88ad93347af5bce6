"""Rules of sequence: what a record is, given the last number that is known.

A rule is two functions: `joins` for the first delta after a snapshot, `follows` for each one after that (and for
trades). Both take the last known number, the record's first, final and previous one, and answer NEXT, STALE (already
covered) or GAP.
"""

from collections.abc import Callable
from enum import Enum

from msgspec import Struct


class Verdict(Enum):
    """The place of a record after the last number that is known."""

    NEXT = "next"
    STALE = "stale"
    GAP = "gap"


NEXT, STALE, GAP = Verdict.NEXT, Verdict.STALE, Verdict.GAP
Judge = Callable[[int, int, int, int | None], Verdict]


class Rule(Struct, frozen=True):
    """How an exchange numbers one channel.

    sure: whether a hole always shows in the numbers; where not, a frame that is lost makes the book suspect
    """

    name: str
    joins: Judge
    follows: Judge
    sure: bool = True


def _range_joins(last: int, first: int, final: int, _prev: int | None) -> Verdict:
    if final <= last:
        return STALE
    return NEXT if first <= last + 1 else GAP


def _range_follows(last: int, first: int, final: int, _prev: int | None) -> Verdict:
    if first == last + 1:
        return NEXT
    return STALE if final <= last else GAP


def _linked_joins(last: int, first: int, final: int, prev: int | None) -> Verdict:
    if prev == last or first <= last <= final:
        return NEXT
    return STALE if final <= last else GAP


def _linked_follows(last: int, _first: int, final: int, prev: int | None) -> Verdict:
    if prev == last:
        return NEXT
    return STALE if final <= last else GAP


def _spanning_joins(last: int, _first: int, final: int, prev: int | None) -> Verdict:
    if final <= last:
        return STALE
    return NEXT if prev is not None and prev <= last else GAP


def _ordered(last: int, _first: int, final: int, _prev: int | None) -> Verdict:
    return NEXT if final > last else STALE


def _any(_last: int, _first: int, _final: int, _prev: int | None) -> Verdict:
    return NEXT


contiguous = Rule("contiguous", _range_joins, _range_follows)  # one number a record, or first..last, without a hole
linked = Rule("linked", _linked_joins, _linked_follows)  # each record names the number before it
spanning = Rule("spanning", _spanning_joins, _linked_follows)  # a whole book may be of a moment within a delta's span
ordered = Rule("ordered", _ordered, _ordered, sure=False)  # numbers (or times) grow, by no known step
unnumbered = Rule("unnumbered", _any, _any, sure=False)


class Count(Struct):
    """Where frames are counted over a whole connection: what a parser remembers, to name the number before a delta's.

    last: the number of the newest frame
    missed: the last number before a frame that did not follow the one before it
    books: raw symbol -> the number of the last frame about that book
    """

    last: int = -1
    missed: int = -1
    books: dict[str, int] = {}

    def hear(self, number: int) -> None:
        """Take a frame's number."""
        if number != self.last + 1:
            self.missed = number - 1
        self.last = number

    def lose(self) -> None:
        """Take the newest frame, which cannot be read, as missed."""
        self.missed = self.last

    def tell(self, raw_symbol: str) -> int | None:
        """The number before this frame's, for a book: its own last, or that of a frame that was missed since."""
        before = max(self.books.get(raw_symbol, -1), self.missed)
        self.books[raw_symbol] = self.last
        return None if before < 0 else before
