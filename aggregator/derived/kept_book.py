"""The book that derived channels are computed of: kept from its records, and without levels while it is in doubt."""

from aggregator.book import BadPrice, OrderBook
from aggregator.derived.concerns import concerns
from aggregator.records import BookDelta, BookSnapshot, Gap, Levels, Record, is_hole


class KeptBook:
    """A book, null while there is none that can be trusted; `last` is the record that brought it there."""

    __slots__ = ("ask_cap", "bid_floor", "book", "last")

    def __init__(self) -> None:
        self.book: OrderBook | None = None
        self.bid_floor: str | None = None
        self.ask_cap: str | None = None
        self.last: Record | None = None

    def take(self, record: Record) -> bool:
        """Take a record; tells whether the levels may have changed. A gap leaves none until the next whole book."""
        if isinstance(record, BookDelta):
            if self.book is None:
                return False
            try:
                self.book.apply(record.bids, record.asks)
            except BadPrice:  # it can be of no use any more; the next whole book can
                self.book = None
                return False
        elif isinstance(record, BookSnapshot):
            self.book = OrderBook(record.bids, record.asks, record.depth)
            self.bid_floor, self.ask_cap = record.bid_floor, record.ask_cap
        elif isinstance(record, Gap) and (record.phase == "open" or is_hole(record)) and concerns(record, self.last):
            self.book = None
            return False
        else:
            return False
        self.last = record
        return True

    def best(self, count: int | None) -> tuple[Levels, Levels] | None:
        """The best bids and asks, so many a side (null: all); null while the book is in doubt."""
        if self.book is None:
            return None
        try:
            return self.book.bids(count), self.book.asks(count)
        except BadPrice:  # likewise
            self.book = None
            return None
