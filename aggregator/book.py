"""A book: exact, keyed by price however it is spelled, cheap to update, sorted only where somebody looks.

A side keeps its levels in a dictionary from price text to size text, so that a delta is one update at C speed, and a
sorted list of keys whose end is the best price. A removed level stays, with its zero size, until the best price
passes it or enough of them have gathered. Two spellings of one price (`100.0`, `100.00`) are one level: a spelling
that is new to the side is compared by number before it is let in.
"""

from bisect import bisect_left, insort
from decimal import Decimal
from itertools import islice

from aggregator.errors import BadFrame
from aggregator.records import Levels

Key = float | Decimal

EXACT_DIGITS = 15  # a float tells any two decimal numbers of this many digits apart
INFINITY = float("inf")
MANY = 256  # new prices at once that are cheaper sorted together than inserted one by one
SLACK = 256  # removed levels that may gather before they are swept out, beside as many as there are levels


def is_zero(size: str) -> bool:
    """Whether a size, however it is spelled, removes its level."""
    return not size.strip("0.")


def _is_long(price: str) -> bool:
    return len(price) > EXACT_DIGITS and len(price.replace(".", "").strip("0")) > EXACT_DIGITS


class Side:
    """One side of a book; `sign` is 1 for bids and -1 for asks, so that the best key is always the greatest.

    best: the key of the best level (asks: the price negated), or minus infinity for an empty side
    """

    __slots__ = ("_depth", "_keys", "_sign", "_sizes", "_spelling", "_sweep_at", "_top", "best", "exact")

    def __init__(self, sign: int, levels: Levels, depth: int | None) -> None:
        self._sign = sign
        self._depth = depth
        self.exact = False
        self._sizes: dict[str, str] = dict(levels)
        self._spelling: dict[Key, str] = {}
        self._keys: list[Key] = []
        self._sweep_at = 0
        self.best: Key = -INFINITY
        self._top = ""
        self._place(levels, len(self._sizes))
        if depth is not None:
            self._cut([])

    def apply(self, levels: Levels) -> None:
        """Set the sizes of these levels; a size of zero removes. Raises BadFrame for a price that is no number."""
        sizes = self._sizes
        known = len(sizes)
        sizes |= levels  # not update(): before Python 3.13 that call alone costs as much as two levels
        if len(sizes) > known:
            self._place(levels, len(sizes) - known)
        if self._depth is not None:
            self._cut(levels)
        elif not sizes.get(self._top, "").strip("0."):
            self._seek()

    def top(self, count: int | None = None) -> Levels:
        """The best `count` levels (None: all), best first."""
        found: Levels = []
        sizes, spelling = self._sizes, self._spelling
        for key in reversed(self._keys):
            if len(found) == count:
                break
            price = spelling[key]
            size = sizes[price]
            if size.strip("0."):
                found.append((price, size))
        return found

    def _place(self, levels: Levels, count: int) -> None:
        """Give the newest `count` prices among the sizes their place; one price spelled anew is one level still."""
        new = list(islice(reversed(self._sizes), count))
        if not self.exact and any(_is_long(price) for price in new):
            self.exact = True
            self._spelling = {self._key(price): price for price in self._spelling.values()}
            self._keys = sorted(self._spelling)
            self.best = -INFINITY  # it was a float: it is found anew
        keys, spelling = self._keys, self._spelling
        again = []
        for price in new:
            key = self._key(price)
            if spelling.setdefault(key, price) is not price:
                again.append(price)
            elif count > MANY:
                keys.append(key)
            else:
                insort(keys, key)
        if again:
            self._respell(again, levels)
        if count > MANY or len(keys) > self._sweep_at:
            self._sweep()
        elif keys and keys[-1] > self.best:
            self._seek()

    def _respell(self, again: list[str], levels: Levels) -> None:
        """Give sizes that came under another spelling to the levels that are there, in the order in which they came."""
        for price in again:
            del self._sizes[price]
        for price, size in levels:
            self._sizes[self._spelling[self._key(price)]] = size

    def _key(self, price: str) -> Key:
        try:
            key = float(price)
            if -INFINITY < key < INFINITY:
                if not self.exact:
                    return key * self._sign
                exact = Decimal(price)
                return exact if self._sign > 0 else exact.copy_negate()  # to multiply would round
        except (ValueError, ArithmeticError):
            pass
        raise BadFrame(f"{price[:40]!r} is not a price")

    def _seek(self) -> None:
        """Find the best level; what was removed above it is forgotten."""
        keys, spelling, sizes = self._keys, self._spelling, self._sizes
        while keys:
            key = keys[-1]
            price = spelling[key]
            if sizes[price].strip("0."):
                self.best, self._top = key, price
                return
            del sizes[price], spelling[key], keys[-1]
        self.best, self._top = -INFINITY, ""

    def _sweep(self) -> None:
        """Forget what was removed, and sort what is left."""
        sizes, spelling = self._sizes, self._spelling
        for key in [key for key, price in spelling.items() if not sizes[price].strip("0.")]:
            del sizes[spelling.pop(key)]
        self._keys[:] = sorted(spelling)
        self._sweep_at = 2 * len(spelling) + SLACK
        self._seek()

    def _cut(self, levels: Levels) -> None:
        """Keep a side of limited depth to its depth: what falls out of it is not heard of again."""
        for price, size in levels:
            if not size.strip("0."):
                key = self._key(price)
                known = self._spelling.get(key)
                if known is not None and not self._sizes[known].strip("0."):  # the last word on it
                    self._drop(key)
        while len(self._keys) > (self._depth or 0):
            self._drop(self._keys[0])
        self._seek()

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
        if self._bids.exact or self._asks.exact:
            return self._is_crossed_exactly()
        return self._bids.best >= -self._asks.best

    def _is_crossed_exactly(self) -> bool:
        """As text is compared: a float and a Decimal of one price are not always equal."""
        bids, asks = self.bids(1), self.asks(1)
        return bool(bids and asks) and Decimal(bids[0][0]) >= Decimal(asks[0][0])

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
