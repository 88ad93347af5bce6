"""Levels of a book, the best prices, and the checksum of levels."""

import zlib
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal
from functools import reduce
from itertools import chain, zip_longest

from aggregator.wire.numbers import UNREAD, Text, nonzero, optional, read_all, text

EXACT = Context(prec=1000)  # by default sums are rounded to 28 digits


def levels(rows: list[list[Text]]) -> list[tuple[str, str]]:
    """Rows `[price, size, ...]` of numbers or strings as book levels; what follows is left out.

    Raises BadFrame as `text` does. Hot: all numbers are looked at together, and one by one only where something is odd.
    """
    found = [(row[0], row[1]) for row in rows]
    try:
        numbers = ",".join([number for level in found for number in level])
        if "e" not in numbers and "E" not in numbers and len(read_all(f"[{numbers}]")) == 2 * len(found):
            return found
    except UNREAD:
        pass
    return [(text(price), text(size)) for price, size in found]


def summed(orders: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The levels of orders `(price, size)`, in the order in which their prices come first."""
    found: dict[str, list[str]] = {}
    for price, size in orders:
        found.setdefault(price, []).append(size)
    return [
        (price, sizes[0] if len(sizes) == 1 else f"{reduce(EXACT.add, map(Decimal, sizes)):f}")
        for price, sizes in found.items()
    ]


def crc_in_turns(bids: Sequence[str], asks: Sequence[str]) -> int:
    """CRC32, signed, of levels as they are spelled, in turn: bid, ask, bid, ask, until both sides are through."""
    words = chain.from_iterable(zip_longest(bids, asks, fillvalue=""))
    crc = zlib.crc32(":".join(filter(None, words)).encode())
    return crc - 2**32 if crc >= 2**31 else crc


def best(price: Text, size: Text) -> tuple[str | None, str | None]:
    """One side of the best prices, as text; no price, or one of nothing (`0.00`), stands for an empty side."""
    found = nonzero(price)
    return (None, None) if found is None else (found, optional(size))
