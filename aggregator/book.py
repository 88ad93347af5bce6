"""A book: exact, keyed by price however it is spelled, cheap to update, sorted only where somebody looks.

A side keeps its levels in a dictionary from price text to size text, so that a delta is one update at C speed, and a
sorted list of keys whose end is the best price. A removed level stays, with its zero size, until the best price
passes it or enough of them have gathered. Two spellings of one price (`100.0`, `100.00`) are one level: a spelling
that is new to the side is compared by number before it is let in.
"""

from bisect import bisect_left, insort
from decimal import Decimal, InvalidOperation

from aggregator.errors import BadFrame
from aggregator.records import Levels

Key = float | Decimal

EXACT_DIGITS = 15  # a float tells any two decimal numbers of this many digits apart
INFINITY = float("inf")
SLACK = 256  # removed levels that may gather before they are swept out, beside as many as there are levels


def is_zero(size: str) -> bool:
    """Whether a size, however it is spelled, removes its level."""
    return not size.strip("0.")


def _is_long(price: str) -> bool:
    return len(price) > EXACT_DIGITS and len(price.replace(".", "").strip("0")) > EXACT_DIGITS


class Side:
    """One side of a book; `sign` is 1 for bids and -1 for asks, so that the best key is always the greatest."""

    __slots__ = (
        "_depth",
        "_exact",
        "_keys",
        "_sign",
        "_sizes",
        "_spelling",
        "_sweep_at",
    )

    def __init__(self, sign: int, levels: Levels, depth: int | None) -> None:
        self._sign = sign
        self._depth = depth
        self._exact = any(_is_long(price) for price, _ in levels)
        self._sizes: dict[str, str] = {}
        self._spelling: dict[Key, str] = {}
        for price, size in levels:
            self._set(price, size)
        self._sort()

    def apply(self, levels: Levels) -> None:
        """Set the sizes of these levels; a size of zero removes. Raises BadFrame for a price that is no number."""
        sizes = self._sizes
        new = [price for price, _ in levels if price not in sizes]
        if not new or self._admit(new):
            sizes.update(levels)
        else:
            for price, size in levels:
                self._set(price, size)
            self._sort()
        if self._depth is not None:
            self._cut(levels)
        elif len(self._keys) > self._sweep_at:
            self._sort()

    def best(self) -> Key | None:
        """The key of the best level (asks: the price negated), or None for an empty side."""
        keys = self._keys
        while keys:
            key = keys[-1]
            if self._sizes[self._spelling[key]].strip("0."):
                return key
            del self._sizes[self._spelling.pop(keys.pop())]
        return None

    def top(self, count: int | None = None) -> Levels:
        """The best `count` levels (None: all), best first."""
        found: Levels = []
        for key in reversed(self._keys):
            if len(found) == count:
                break
            price = self._spelling[key]
            size = self._sizes[price]
            if not is_zero(size):
                found.append((price, size))
        return found

    def _key(self, price: str) -> Key:
        try:
            key = Decimal(price) if self._exact else float(price)
        except (ValueError, InvalidOperation):
            raise BadFrame(f"{price[:40]!r} is not a price") from None
        if not -INFINITY < key < INFINITY:
            raise BadFrame(f"{price[:40]!r} is not a price")
        return key * self._sign

    def _admit(self, new: list[str]) -> bool:
        """Let in prices that the side has not under this spelling; False when one is there under another."""
        keys, spelling, sign = self._keys, self._spelling, self._sign
        exact = self._exact
        for price in new:
            if len(price) > EXACT_DIGITS and not exact and _is_long(price):
                return False
            try:
                key: Key = sign * (Decimal(price) if exact else float(price))
            except (ValueError, InvalidOperation):
                raise BadFrame(f"{price[:40]!r} is not a price") from None
            if not -INFINITY < key < INFINITY:
                raise BadFrame(f"{price[:40]!r} is not a price")
            known = spelling.setdefault(key, price)
            if known is price:
                self._sizes[price] = "0"
                insort(keys, key)
            elif known != price:
                return False
        return True

    def _set(self, price: str, size: str) -> None:
        if not self._exact and _is_long(price):
            self._exact = True
            self._spelling = {self._key(known): known for known in self._sizes}
        self._sizes[self._spelling.setdefault(self._key(price), price)] = size

    def _sort(self) -> None:
        """Sweep out what was removed, and sort what is left."""
        for key in [key for key, price in self._spelling.items() if is_zero(self._sizes[price])]:
            del self._sizes[self._spelling.pop(key)]
        self._keys = sorted(self._spelling)
        self._sweep_at = 2 * len(self._keys) + SLACK

    def _cut(self, levels: Levels) -> None:
        """Keep a side of limited depth to its depth: what falls out of it is not heard of again."""
        for price, size in levels:
            if is_zero(size):
                self._drop(self._key(price))
        while len(self._keys) > (self._depth or 0):
            self._drop(self._keys[0])

    def _drop(self, key: Key) -> None:
        if key in self._spelling:
            del self._sizes[self._spelling.pop(key)]
            del self._keys[bisect_left(self._keys, key)]


class Book:
    """Both sides; `depth` is the number of levels a side that the exchange keeps (None: all)."""

    __slots__ = ("_asks", "_bids", "_depth", "_pending")

    def __init__(self, bids: Levels, asks: Levels, depth: int | None = None) -> None:
        """Start from a whole book. Raises BadFrame (here or when first used) for a price that is no number."""
        self._depth = depth
        self._pending: tuple[Levels, Levels] | None = (
            bids,
            asks,
        )  # many books are replaced before anyone looks

    def _settle(self) -> None:
        if self._pending is not None:
            bids, asks = self._pending
            self._bids = Side(1, bids, self._depth)
            self._asks = Side(-1, asks, self._depth)
            self._pending = None

    def apply(self, bids: Levels, asks: Levels) -> bool:
        """Set the sizes of these levels, a size of zero removes; answers whether the book is crossed now.

        Raises BadFrame for a price that is no number; the book is of no use after that.
        """
        if self._pending is not None:
            self._settle()
        if bids:
            self._bids.apply(bids)
        if asks:
            self._asks.apply(asks)
        bid, ask = self._bids.best(), self._asks.best()
        return bid is not None and ask is not None and bid >= -ask

    def is_crossed(self) -> bool:
        """Whether the best bid reaches the best ask."""
        return self.apply([], [])

    def bids(self, count: int | None = None) -> Levels:
        """The best `count` bids (None: all), best first."""
        self._settle()
        return self._bids.top(count)

    def asks(self, count: int | None = None) -> Levels:
        """The best `count` asks (None: all), best first."""
        self._settle()
        return self._asks.top(count)
