"""The order book: a snapshot and deltas go in, the best levels come out, exactly (docs/python.md shows it in use).

Prices and sizes are decimal text, and stay as they were given. A price that is no number raises `BadPrice`.

A side keeps its levels in a dictionary from price text to size text, so that a delta is one update at C speed, and
sorted lists of keys and of price texts whose end is the best price. A removed level stays, with its zero size, until
the best price passes it, somebody reads there, or enough of them have gathered. Two spellings of one price (`100.0`,
`100.00`) are one level: a spelling that is new to the side is compared by number before it is let in.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import islice

from aggregator.errors import BadFrame
from aggregator.records import BookSnapshot, Levels

Key = float | Decimal
Spell = Callable[[str, str], str]  # writes a level's price and size as a checksum wants them

EXACT_DIGITS = 15  # a float tells any two decimal numbers of this many digits apart
INFINITY = float("inf")
MANY = 256  # more new prices than this at once are cheaper sorted together than inserted one by one
SPELLED = 8  # spellings of so many times the levels that are asked for are remembered
SLACK = 256  # removed levels that may gather before they are swept out, beside as many as there are levels


def _is_long(price: str) -> bool:
    return len(price) > EXACT_DIGITS and len(price.replace(".", "").strip("0")) > EXACT_DIGITS


class BadPrice(BadFrame):
    """A price is no number; the book is of no use after that."""


class Side:
    """One side of a book; `sign` is 1 for bids and -1 for asks, so that the best key is always the greatest.

    best: the key of the best level (asks: the price negated), or minus infinity for an empty side
    """

    __slots__ = (
        "_count",
        "_dead",
        "_depth",
        "_keys",
        "_prices",
        "_sign",
        "_sizes",
        "_spell",
        "_spelled",
        "_sweep_at",
        "_top",
        "_words",
        "best",
        "exact",
    )

    def __init__(self, sign: int, levels: Levels, depth: int | None) -> None:
        self._sign = sign
        self._depth = depth
        self.exact = False
        self._sizes: dict[str, str] = dict(levels)
        self._keys: list[Key] = []  # they are in order, the best last
        self._prices: list[str] = []  # the prices of the keys, as they are spelled
        self._dead: set[str] = set()  # removed prices that are still here; only a side of limited depth keeps this set
        self._sweep_at = 0
        self._spell: Spell | None = None  # the function that spelled levels last; `_count` of them
        self._count = 0
        self._spelled: dict[str, str] = {}  # price -> its level as `_spell` has written it
        self._words: list[str] | None = None  # the best levels so written; None if something has changed since
        self.best: Key = -INFINITY
        self._top = ""
        if self._sizes:
            levels = self._place(levels, len(self._sizes))
        if depth is not None:
            self._cut(levels, depth)

    def apply(self, levels: Levels) -> None:
        """Set the sizes of these levels; a size of zero removes. Raises BadPrice for a price that is no number."""
        sizes = self._sizes
        known = len(sizes)
        sizes |= levels  # not update(): before Python 3.13 that call alone costs as much as two levels
        if len(sizes) > known:
            levels = self._place(levels, len(sizes) - known)
        if self._spell is not None:
            self._words = None
            for price, _ in levels:
                self._spelled.pop(price, None)
        if self._depth is not None:
            self._cut(levels, self._depth)
        elif not sizes.get(self._top, "").lstrip("0."):
            self._seek()

    def top(self, count: int | None = None) -> Levels:
        """The best `count` levels (None: all), best first."""
        names = self._best(count)
        return list(zip(names, map(self._sizes.__getitem__, names), strict=True))

    def spelled(self, count: int, spell: Spell) -> list[str]:
        """The best `count` levels, best first, as `spell` writes each; unchanged ones are remembered."""
        if spell is not self._spell or count != self._count or len(self._spelled) > SPELLED * count:
            self._spell, self._count, self._spelled, self._words = spell, count, {}, None
        if self._words is None:
            names, sizes, spelled = self._best(count), self._sizes, self._spelled
            for price in names:
                if price not in spelled:
                    spelled[price] = spell(price, sizes[price])
            self._words = [*map(spelled.__getitem__, names)]
        return self._words

    def _best(self, count: int | None) -> list[str]:
        """The best `count` prices (None: all), best first."""
        if self._depth is None:
            sizes = self._sizes
            return list(islice((price for price in reversed(self._prices) if sizes[price].lstrip("0.")), count))
        while True:
            names = self._prices[::-1] if count is None else self._prices[: -count - 1 : -1]
            if self._dead.isdisjoint(names):
                return names
            self._bury(self._dead.intersection(names))

    def _bury(self, prices: Iterable[str]) -> None:
        """Forget levels that were removed."""
        for price in prices:
            at = bisect_left(self._keys, self._key(price))
            del self._sizes[price], self._keys[at], self._prices[at]
            self._dead.remove(price)

    def _place(self, levels: Levels, count: int) -> Levels:
        """Sort in the newest `count` prices of the sizes. Gives the levels in the spelling of this side."""
        new = list(islice(reversed(self._sizes), count))
        if not self.exact and any(map(_is_long, new)):
            self.exact = True
            self._keys = [self._key(price) for price in self._prices]
            self.best = -INFINITY  # the key was a float and is found anew
        again = self._insert(new) if count <= MANY else self._merge(new)
        if again:
            levels = self._respell(again, levels)
        if count > MANY or len(self._keys) > self._sweep_at:
            self._sweep()
        elif self._keys and self._keys[-1] > self.best:
            self._seek()
        return levels

    def _insert(self, new: list[str]) -> dict[str, str]:
        """Insert a few prices. Gives those that are here under another spelling, with that spelling."""
        keys, prices = self._keys, self._prices
        again = {}
        for price in new:
            key = self._key(price)
            at = bisect_left(keys, key)
            if at < len(keys) and keys[at] == key:
                again[price] = prices[at]
            else:
                keys.insert(at, key)
                prices.insert(at, price)
        return again

    def _merge(self, new: list[str]) -> dict[str, str]:
        """Add many prices, which `_sweep` sorts. Gives the same as `_insert`."""
        spelling = dict(zip(self._keys, self._prices, strict=True))
        again = {}
        for price in new:
            own = spelling.setdefault(self._key(price), price)
            if own is not price:
                again[price] = own
        self._keys, self._prices = list(spelling), list(spelling.values())
        return again

    def _respell(self, again: dict[str, str], levels: Levels) -> Levels:
        """Move sizes that came under another spelling to the levels that are here, in the order in which they came."""
        for price in again:
            del self._sizes[price]
        levels = [(again.get(price, price), size) for price, size in levels]
        self._sizes |= levels
        return levels

    def _key(self, price: str) -> Key:
        try:
            key = float(price)
            if -INFINITY < key < INFINITY:
                if not self.exact:
                    return key * self._sign
                exact = Decimal(price)
                return exact if self._sign > 0 else exact.copy_negate()  # multiplying would round
        except (ValueError, ArithmeticError):
            pass
        raise BadPrice(f"{price[:40]!r} is not a price")

    def _seek(self) -> None:
        """Find the best level, and forget removed ones above it."""
        keys, prices, sizes = self._keys, self._prices, self._sizes
        while keys:
            price = prices[-1]
            if sizes[price].lstrip("0."):
                self.best, self._top = keys[-1], price
                return
            del sizes[price], keys[-1], prices[-1]
            self._dead.discard(price)
        self.best, self._top = -INFINITY, ""

    def _sweep(self) -> None:
        """Forget removed levels, and sort the others."""
        sizes = self._sizes
        levels = sorted(zip(self._keys, self._prices, strict=True))
        live = [level for level in levels if sizes[level[1]].lstrip("0.")]
        if len(live) < len(levels):
            for price in [price for price, size in sizes.items() if not size.lstrip("0.")]:
                del sizes[price]
        self._keys, self._prices = [key for key, _ in live], [price for _, price in live]
        self._dead.clear()
        self._sweep_at = 2 * len(live) + SLACK
        self._seek()

    def _cut(self, levels: Levels, depth: int) -> None:
        """Cut a side of limited depth: the exchange tells no more of levels beyond it."""
        sizes, dead = self._sizes, self._dead
        for price, size in levels:
            if not size.lstrip("0."):
                if price in sizes:
                    dead.add(price)
            elif price in dead:
                dead.remove(price)
        excess = len(sizes) - len(dead) - depth
        while excess > 0:
            price = self._prices[0]
            del sizes[price], self._keys[0], self._prices[0]
            if price in dead:
                dead.remove(price)
            else:
                excess -= 1
        if self._top in dead or self._top not in sizes:
            self._seek()


class OrderBook:
    """A whole book; `depth` is how many levels a side the exchange keeps (None: all)."""

    __slots__ = ("_asks", "_bids", "_depth", "_pending")

    def __init__(self, bids: Levels, asks: Levels, depth: int | None = None) -> None:
        """Start from a whole book. Raises BadPrice (here or when first used) for a price that is no number."""
        self._depth = depth
        self._pending: tuple[Levels, Levels] | None = (bids, asks)

    def _settle(self) -> None:
        if self._pending is not None:
            bids, asks = self._pending
            self._bids = Side(1, bids, self._depth)
            self._asks = Side(-1, asks, self._depth)
            self._pending = None

    def apply(self, bids: Levels, asks: Levels) -> bool:
        """Set the sizes of these levels, a size of zero removes; answers whether the book is crossed now.

        Raises BadPrice for a price that is no number; the book is of no use after that.
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
        """Compare the best prices as decimals: a float and a Decimal of one price are not always equal."""
        bids, asks = self.bids(1), self.asks(1)
        return bool(bids and asks) and Decimal(bids[0][0]) >= Decimal(asks[0][0])

    def is_crossed(self) -> bool:
        """Tell whether the best bid reaches the best ask. Raises BadPrice for a price that is no number."""
        if self._pending is not None and _are_apart(*self._pending):
            return False  # without giving every level its place: many books are replaced before anyone looks
        return self.apply([], [])

    def bids(self, count: int | None = None) -> Levels:
        """The best `count` bids (None: all), best first."""
        self._settle()
        return self._bids.top(count)

    def asks(self, count: int | None = None) -> Levels:
        """The best `count` asks (None: all), best first."""
        self._settle()
        return self._asks.top(count)

    def spelled(self, count: int, bid: Spell, ask: Spell) -> tuple[list[str], list[str]]:
        """The best `count` bids and asks, best first, as `bid` and `ask` write each from its price and size.

        This serves checksums: a level that has not changed since the last call is not spelled again.
        """
        self._settle()
        return self._bids.spelled(count, bid), self._asks.spelled(count, ask)


def _are_apart(bids: Levels, asks: Levels) -> bool:
    """Tell whether every bid is surely below every ask, and every price a number; False asks for a closer look."""
    try:
        lower, upper = [float(price) for price, _ in bids], [float(price) for price, _ in asks]
    except ValueError:
        return False
    is_finite = -INFINITY < sum(lower) < INFINITY and -INFINITY < sum(upper) < INFINITY
    return is_finite and max(lower, default=-INFINITY) < min(upper, default=INFINITY)  # rounding swaps no two prices


def within(levels: Levels, sign: int, limit: str | None) -> Levels:
    """The levels no worse than a price; `sign` is -1 for asks."""
    if limit is None:
        return levels
    outermost = sign * Decimal(limit)
    return [level for level in levels if sign * Decimal(level[0]) >= outermost]


def limit(snapshot: BookSnapshot) -> None:
    """Note the prices beyond which a snapshot of limited depth knows nothing."""
    depth = snapshot.depth
    if depth is not None and len(snapshot.bids) >= depth:
        snapshot.bid_floor = snapshot.bids[-1][0]
    if depth is not None and len(snapshot.asks) >= depth:
        snapshot.ask_cap = snapshot.asks[-1][0]
