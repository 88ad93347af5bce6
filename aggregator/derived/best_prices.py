"""`bbo.book`: the best prices of a book, whenever one of them or its size has changed."""

from collections.abc import Sequence

from aggregator.derived.channel import Derived, Stamp, Start
from aggregator.derived.kept_book import KeptBook
from aggregator.records import Bbo, Levels, Record

Best = tuple[Levels, Levels]  # the best level of each side, or none


class BestOfBook:
    """The machine: it says how the best prices are whenever they have changed."""

    due = 0

    def __init__(self, stamp: Stamp) -> None:
        self._stamp = stamp
        self._kept = KeptBook()
        self._told: Best | None = None

    def take(self, record: Record) -> Sequence[Record]:
        """Take a record of the book."""
        self._kept.take(record)
        if self._kept.book is None:
            self._told = None  # whatever comes next is news
        return ()

    def tick(self, _wall: int) -> Sequence[Record]:
        """Do nothing: no price changes by time."""
        return ()

    def news(self) -> Bbo | None:
        """The best prices, if they have changed."""
        best = self._kept.best(1)
        if best is None or best == self._told:
            return None
        self._told = best
        return self._record(best)

    def current(self) -> Bbo | None:
        """The best prices; null while the book is in doubt."""
        best = self._kept.best(1)
        return None if best is None else self._record(best)

    def _record(self, best: Best) -> Bbo | None:
        (bid, bid_size), (ask, ask_size) = ((*levels[0],) if levels else (None, None) for levels in best)
        if self._kept.last is None:
            return None
        return Bbo(
            **self._stamp.of(self._kept.last),
            bid_price=bid,
            bid_size=bid_size,
            ask_price=ask,
            ask_size=ask_size,
            origin="book",
        )


def _read(parts: tuple[str, ...]) -> Start | None:
    return BestOfBook if parts == ("bbo", "book") else None


BEST_OF_BOOK = Derived("bbo.book", "the best bid and offer of the book", "bbo", ("book",), _read)
