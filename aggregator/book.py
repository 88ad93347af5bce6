"""The order book: a snapshot and deltas go in, the best levels come out, exactly (docs/python.md shows it in use).

Prices and sizes are decimal text, and stay as they were given. A price that is no number raises `BadPrice`.

A side keeps its levels in a dictionary from price text to size text, so that a delta is one update at C speed, and
sorted lists of keys and of price texts whose end is the best price. A removed level stays, with its zero size, until
the best price passes it, somebody reads there, or enough of them have gathered. Two spellings of one price (`100.0`,
`100.00`) are one level: a spelling that is new to the side is compared by number before it is let in.

Most levels are far from the best and hardly ever change. They are packed into a stack of texts, the best on top, which
takes a tenth of the memory; only the near ones are kept as said. A far level that changes is in the dictionary again,
where it counts instead of what its text says. The text on top is unpacked when the best price, or a reader, comes
there; when the near ones are too many, the farthest of them become texts. A side of which many far levels change is
unpacked as a whole, and packed again only after so many new prices that this costs next to nothing. A book that is
first read as a whole, or told much at once, is packed when as many new prices have come as it has levels. Sides of
limited depth, and those with prices that are too long for a float, are never packed.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import chain, compress, islice

from msgspec import DecodeError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.records import BookSnapshot, Levels

Key = float | Decimal
Spell = Callable[[str, str], str]  # writes a level's price and size as a checksum wants them

EXACT_DIGITS = 15  # a float tells any two decimal numbers of this many digits apart
INFINITY = float("inf")
MANY = 256  # more new prices than this at once are cheaper sorted together than inserted one by one
SPELLED = 8  # spellings of so many times the levels that are asked for are remembered
SLACK = 64  # removed levels that may gather before they are swept out, beside as many as there are levels
NEAR = 128  # levels nearest the best that are not packed; those beyond are, once there are twice as many
PACK = 64  # levels of one text, at most
FEW = 8  # far levels that may change at once; where more do, the side is unpacked
SMALL = 64  # levels of a first delta up to which a book is packed beforehand: it tells how far the others will reach
PATIENCE = 4  # times as many new prices as there are levels must come before a side is packed again
BETWEEN = "\n"  # between prices and sizes in a text; levels in which an exchange says it are not packed

_read = Decoder(float).decode  # it gives what `float` gives, in a fourth of the time, but reads only JSON's spellings


class BadPrice(BadFrame):
    """A price is no number; the book is of no use after that."""


def _number(price: str) -> float:
    try:
        return _read(price)
    except (DecodeError, UnicodeError):
        pass
    try:
        number = float(price)
        if -INFINITY < number < INFINITY:
            return number
    except ValueError:
        pass
    raise _no_price(price)


def _numbers(prices: list[str]) -> list[float]:
    try:
        return [*map(_read, prices)]
    except (DecodeError, UnicodeError):
        return [*map(_number, prices)]


def _no_price(price: str) -> BadPrice:
    return BadPrice(f"{price[:40]!r} is not a price")


def _is_long(price: str) -> bool:
    return len(price.replace(".", "").strip("0")) > EXACT_DIGITS


class Far:
    """The levels of a side that are packed, and which of them have changed since.

    edge: the best key that is packed, or minus infinity; every level with a better one is near
    count: how many levels are packed
    changed: the keys of levels no better than the edge that the side's dictionary has, with their prices
    """

    __slots__ = ("_packs", "changed", "count", "edge")

    def __init__(self) -> None:
        self.edge: Key = -INFINITY
        self.count = 0
        self.changed: dict[Key, str] = {}
        self._packs: list[tuple[Key, str]] = []  # the best key of each text, and its prices and sizes in turns

    def push(self, edge: Key, levels: Levels) -> bool:
        """Pack levels that are better than all here, best first; False where they could not be told apart again."""
        text = BETWEEN.join(chain.from_iterable(levels))
        if text.count(BETWEEN) != 2 * len(levels) - 1:
            return False
        self._packs.append((edge, text))
        self.edge = edge
        self.count += len(levels)
        return True

    def pop(self, *, whole: bool) -> tuple[list[str], list[str]]:
        """Take out the best text, or the whole of them: prices, and sizes, best last."""
        taken = self._packs if whole else self._packs[-1:]
        fields = _fields(taken)
        del self._packs[-len(taken) :]
        self.edge = self._packs[-1][0] if self._packs else -INFINITY
        self.count -= len(fields) // 2
        return fields[-2::-2], fields[::-2]

    def levels(self) -> Levels:
        """All that is packed, as it was then, best first."""
        fields = _fields(self._packs)
        return list(zip(fields[::2], fields[1::2], strict=True))


def _fields(packs: list[tuple[Key, str]]) -> list[str]:
    return BETWEEN.join(text for _, text in reversed(packs)).split(BETWEEN)


class Side:
    """One side of a book; `sign` is 1 for bids and -1 for asks, so that the best key is always the greatest.

    best: the key of the best level (asks: the price negated), or minus infinity for an empty side
    """

    __slots__ = (
        "_count",
        "_dead",
        "_depth",
        "_far",
        "_keys",
        "_patience",
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

    def __init__(self, sign: int, levels: Levels, depth: int | None, *, packs: bool = True) -> None:
        self._sign = sign
        self._depth = depth
        self.exact = False
        self._sizes: dict[str, str] = dict(levels)
        self._far = Far()
        self._patience: float = 0 if packs else 2 * len(levels)  # new prices that come before a side is packed
        self._keys: list[Key] = []  # those of near levels are in order, the best last
        self._prices: list[str] = []  # the prices of the keys, as they are spelled
        self._dead: set[str] = set()  # removed prices that are still here; only a side of limited depth keeps this set
        self._sweep_at = 0
        self._spell: Spell | None = None  # the function that spelled levels last; `_count` of them
        self._count = 0
        self._spelled: dict[str, str] = {}  # price -> its level as `_spell` has written it
        self._words: list[str] | None = None  # the best levels so written; None if something has changed since
        self.best: Key = -INFINITY
        self._top = ""
        if depth is not None:
            self._patience = INFINITY  # levels come and go at its far end, too
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
        is_deep = self._far.count > 0 and (count is None or count > NEAR)
        names = self._best(None if is_deep else count)
        levels = list(zip(names, map(self._sizes.__getitem__, names), strict=True))
        return (levels + self._beyond())[:count] if is_deep else levels

    def _beyond(self) -> Levels:
        """All levels that are not near, best first."""
        levels, changed, sizes = self._far.levels(), self._far.changed, self._sizes
        if changed:
            keyed = dict(zip(self._keys_of([price for price, _ in levels]), levels, strict=True))
            keyed |= ((key, (price, sizes[price])) for key, price in changed.items())
            levels = [keyed[key] for key in sorted(keyed, reverse=True) if keyed[key][1].lstrip("0.")]
        return levels

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
        """The best `count` prices (None: all that are near), best first."""
        if self._depth is None:
            while True:
                sizes = self._sizes
                names = list(islice((price for price in reversed(self._prices) if sizes[price].lstrip("0.")), count))
                if count is None or len(names) == count or not self._far.count:
                    return names
                self._unpack()
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
        if not self.exact:
            for price in new:
                if len(price) > EXACT_DIGITS and _is_long(price):
                    self._go_exact()
                    break
        changed = self._far.changed
        known = len(changed)
        again = self._insert(new) if count <= MANY else self._merge(new)
        if again:
            levels = self._respell(again, levels)
        self._patience -= count
        if len(changed) > known and (len(changed) > known + FEW or len(changed) > self._far.count // 2):
            self._unpack(whole=True)
        if count > MANY or len(self._keys) > self._sweep_at:
            self._sweep()
        elif self._keys and self._keys[-1] > self.best:
            self._seek()
        return levels

    def _go_exact(self) -> None:
        """Have decimals for keys from now on."""
        if self._far.count:
            self._unpack(whole=True)
        self.exact, self._patience = True, INFINITY
        self._keys = self._keys_of(self._prices)
        self.best = -INFINITY  # the key was a float and is found anew

    def _insert(self, new: list[str]) -> dict[str, str]:
        """Insert a few prices. Gives those that are here under another spelling, with that spelling."""
        keys, prices = self._keys, self._prices
        again = {}
        for price in new:
            key = self._key(price)
            at = bisect_left(keys, key)
            if at == 0 and key <= self._far.edge:
                own = self._far.changed.setdefault(key, price)
                if own is not price:
                    again[price] = own
            elif at < len(keys) and keys[at] == key:
                again[price] = prices[at]
            else:
                keys.insert(at, key)
                prices.insert(at, price)
        return again

    def _merge(self, new: list[str]) -> dict[str, str]:
        """Add many prices, and sort all. Gives the same as `_insert`."""
        spelling, far = dict(zip(self._keys, self._prices, strict=True)), self._far
        again = {}
        for key, price in zip(self._keys_of(new), new, strict=True):
            own = (spelling if key > far.edge else far.changed).setdefault(key, price)
            if own is not price:
                again[price] = own
        self._keys = sorted(spelling)
        self._prices = [*map(spelling.__getitem__, self._keys)]
        return again

    def _respell(self, again: dict[str, str], levels: Levels) -> Levels:
        """Move sizes that came under another spelling to the levels that are here, in the order in which they came."""
        for price in again:
            del self._sizes[price]
        levels = [(again.get(price, price), size) for price, size in levels]
        self._sizes |= levels
        return levels

    def _keys_of(self, prices: list[str]) -> list[Key]:
        if self.exact:
            return [self._key(price) for price in prices]
        numbers = _numbers(prices)
        return [*numbers] if self._sign > 0 else [-number for number in numbers]

    def _key(self, price: str) -> Key:
        number = _number(price)
        if not self.exact:
            return number * self._sign
        try:
            exact = Decimal(price)
        except ArithmeticError:
            raise _no_price(price) from None
        return exact if self._sign > 0 else exact.copy_negate()  # multiplying would round

    def _seek(self) -> None:
        """Find the best level, and forget removed ones above it."""
        while self._keys or self._far.count:
            if not self._keys:
                self._unpack()
            keys, prices, sizes = self._keys, self._prices, self._sizes
            price = prices[-1]
            if sizes[price].lstrip("0."):
                self.best, self._top = keys[-1], price
                return
            del sizes[price], keys[-1], prices[-1]
            self._dead.discard(price)
        self.best, self._top = -INFINITY, ""

    def _sweep(self) -> None:
        """Forget near levels that were removed, and pack the farthest of the others if they are too many."""
        sizes = self._sizes
        live = [sizes[price].lstrip("0.") for price in self._prices]
        if not all(live):
            for price, size in zip(self._prices, live, strict=True):
                if not size:
                    del sizes[price]
            self._keys, self._prices = [*compress(self._keys, live)], [*compress(self._prices, live)]
        self._dead.clear()
        if len(self._keys) >= 2 * NEAR and (self._far.count or self._patience <= 0):
            self._pack(len(self._keys) - NEAR)
        self._sweep_at = 2 * len(self._keys) + SLACK
        self._seek()

    def _pack(self, excess: int) -> None:
        """Pack so many of the near levels, which have been swept."""
        keys, prices, sizes, packed = self._keys, self._prices, self._sizes, 0
        if not self._far.count:
            self._patience = PATIENCE * len(keys)
        while packed < excess:
            end = min(packed + PACK, excess)
            names = prices[packed:end]
            names.reverse()
            if not self._far.push(keys[end - 1], list(zip(names, map(sizes.__getitem__, names), strict=True))):
                break
            packed = end
        del keys[:packed], prices[:packed]
        self._sizes = {price: sizes[price] for price in chain(self._far.changed.values(), prices)}

    def _unpack(self, *, whole: bool = False) -> None:
        """Make the best of the packed levels near ones, or all of them."""
        far = self._far
        prices, sizes = far.pop(whole=whole)
        keys = self._keys_of(prices)
        known = dict(zip(prices, sizes, strict=True))
        changed = [key for key in far.changed if key > far.edge]
        if changed:
            spelling = dict(zip(keys, prices, strict=True))
            for key in changed:
                price = far.changed.pop(key)
                known.pop(spelling.get(key, price), None)
                spelling[key] = price
            keys = sorted(spelling)
            prices = [spelling[key] for key in keys]
        self._sizes = known | self._sizes
        self._keys[:0] = keys
        self._prices[:0] = prices
        if whole:
            far.changed.clear()  # it is empty, but has the size that it had
            self._sweep_at = 2 * len(self._keys) + SLACK if self._patience > 0 else 0

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

    def _settle(self, *, packs: bool = True) -> None:
        if self._pending is not None:
            bids, asks = self._pending
            self._bids = Side(1, bids, self._depth, packs=packs)
            self._asks = Side(-1, asks, self._depth, packs=packs)
            self._pending = None

    def apply(self, bids: Levels, asks: Levels) -> bool:
        """Set the sizes of these levels, a size of zero removes; answers whether the book is crossed now.

        Raises BadPrice for a price that is no number; the book is of no use after that.
        """
        if self._pending is not None:
            self._settle(packs=len(bids) + len(asks) <= SMALL)
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
        self._settle(packs=count is not None)
        return self._bids.top(count)

    def asks(self, count: int | None = None) -> Levels:
        """The best `count` asks (None: all), best first."""
        self._settle(packs=count is not None)
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
        lower, upper = _numbers([price for price, _ in bids]), _numbers([price for price, _ in asks])
    except BadPrice:
        return False
    return max(lower, default=-INFINITY) < min(upper, default=INFINITY)  # rounding swaps no two prices


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
