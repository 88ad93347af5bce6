"""Books level by level: a row for each level of a snapshot, and for each that a delta changes."""

from collections.abc import Iterator
from operator import attrgetter
from typing import Literal

from aggregator.records import BookDelta, BookSnapshot, Record

ENVELOPE = Record.__struct_fields__
_envelope = attrgetter(*ENVELOPE)


class BookLevel(Record, tag="book_levels", kw_only=True, gc=False):
    """One level of a record of a book, whose envelope it has. It stands in tables alone, and is never published.

    is_snapshot: whether it is of a whole book: with the first row of its offset all levels of before are gone
    side: `bid` or `ask`; null in the single row of a book without any level
    price: of the level; null in that row
    size: what is there now; `"0"` (however spelled) removes the level
    """

    is_snapshot: bool = False
    side: Literal["bid", "ask"] | None = None
    price: str | None = None
    size: str | None = None


def levels_of(record: Record) -> Iterator[BookLevel]:
    """The levels of a record of a book, bids before asks, in its order."""
    if not isinstance(record, BookSnapshot | BookDelta):
        return
    told = dict(zip(ENVELOPE, _envelope(record), strict=True))
    is_snapshot = isinstance(record, BookSnapshot)
    for price, size in record.bids:
        yield BookLevel(**told, is_snapshot=is_snapshot, side="bid", price=price, size=size)
    for price, size in record.asks:
        yield BookLevel(**told, is_snapshot=is_snapshot, side="ask", price=price, size=size)
    if is_snapshot and not record.bids and not record.asks:
        yield BookLevel(**told, is_snapshot=True)
