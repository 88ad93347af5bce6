"""A line: one of several connections that carry the same topics, as the arbiter sees it."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from aggregator.records import BookSnapshot, Channel, Gap, OrdersSnapshot
from aggregator.session.moment import Now


class Position(NamedTuple):
    """How far a line is with a topic.

    last: the last number; null: it has none
    gap: the gap that is open; null: nothing is missing
    newest: the exchange's time of its newest trade; 0: not known
    """

    channel: Channel
    raw_symbol: str | None
    last: int | None
    gap: Gap | None
    newest: int = 0


class ArbitratedLine(Protocol):
    """A connection whose records are compared with those of others. Only `adopt` changes it."""

    conn: str

    def positions(self) -> Iterable[Position]:
        """How far it is with each of its topics."""

    def is_good(self, channel: Channel, raw_symbol: str | None) -> bool:
        """Tell whether it brings all records of a topic from now on, whatever it has missed before."""

    def is_whole(self, channel: Channel, raw_symbol: str | None) -> bool:
        """Tell whether nothing of a topic is missing here."""

    def books(self, now: Now, raw_symbol: str | None = None) -> list[BookSnapshot]:
        """Every book that can be trusted now (or the one of `raw_symbol`), as records."""

    def orders(self, now: Now, raw_symbol: str | None, /) -> list[OrdersSnapshot]:
        """Every order of a book that can be trusted now, as a record; none where it is not told order by order."""

    def adopt(self, channel: Channel, raw_symbol: str | None, gap: Gap) -> None:
        """Take a gap that the stream has open for its own: it closes it once nothing is missing."""
