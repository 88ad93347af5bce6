"""The order book: a snapshot and deltas go in, the best levels come out, exactly (docs/python.md shows it in use).

Prices and sizes are decimal text, and stay as they were given. A price that is no number raises `BadPrice`.

A side keeps its levels in a dictionary from price text to size text, so that a delta is one update at C speed, and
sorted lists of keys and of price texts whose end is the best price. A removed level stays, with its zero size, until
the best price passes it, somebody reads there, or enough of them have gathered. Two spellings of one price (`100.0`,
`100.00`) are one level: a spelling that is new to the side is compared by number before it is let in.

Most levels are far from the best and hardly ever change. They are packed: some dozens of neighbours are one text, with
the keys of its ends, which takes a tenth of the memory. A price that is new to the dictionary and lies between these
ends has the text unpacked first; so has the best price when it comes there, and whoever reads that far.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import chain, islice

from aggregator.errors import BadFrame
from aggregator.records import BookSnapshot, Levels

Key = float | Decimal
Spell = Callable[[str, str], str]  # writes a level's price and size as a checksum wants them

EXACT_DIGITS = 15  # a float tells any two decimal numbers of this many digits apart
INFINITY = float("inf")
MANY = 256  # more new prices than this at once are cheaper sorted together than inserted one by one
SPELLED = 8  # spellings of so many times the levels that are asked for are remembered
SLACK = 256  # removed levels that may gather before they are swept out, beside as many as there are levels
PACK = 16  # levels that are one text; up to twice as many at the end of a run
NEAR = 160  # levels nearest the best are never packed, nor are twice as many as the first deltas reached
FEW = 64  # levels of a first delta up to which a book is packed at once; else it is seen first how far deltas reach
LOOKS = 4  # deltas with a new price that show it
PATIENCE = 1024  # deltas with a new price between two packings, so that unpacking stays a small part of the work
BETWEEN = "\n"  # between the texts of what is packed: a side in which an exchange says this itself is never packed


def _is_long(price: str) -> bool:
    return len(price.replace(".", "").strip("0")) > EXACT_DIGITS


class BadPrice(BadFrame):
    """A price is no number; the book is of no use after that."""


class Packed:
    """The levels of a side that are far from the best, as texts in the order of their keys, the best last.

    texts: prices and sizes in turns, the best level of each text last
    lows: the least key of each text
    highs: its greatest key; no level outside of a text lies between its two keys
    """

    __slots__ = ("highs", "lows", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.lows = array("d")
        self.highs = array("d")

    def add(self, keys: list[Key], levels: Levels) -> bool:
        """Pack levels that are better than all here, the best last; False where their texts cannot be told apart."""
        count = max(1, len(levels) // PACK)
        for start in range(0, count * PACK, PACK):
            end = start + PACK if start + PACK < count * PACK else len(levels)
            self.texts.append(BETWEEN.join(chain.from_iterable(levels[start:end])))
            if self.texts[-1].count(BETWEEN) != 2 * (end - start) - 1:
                return False
            self.lows.append(float(keys[start]))
            self.highs.append(float(keys[end - 1]))
        return True

    def move(self, source: "Packed", at: int) -> None:
        """Take over a text that is better than all here."""
        self.texts.append(source.texts[at])
        self.lows.append(source.lows[at])
        self.highs.append(source.highs[at])

    def pop(self, at: int) -> list[str]:
        """Take a text out: prices and sizes in turns."""
        del self.lows[at], self.highs[at]
        return self.texts.pop(at).split(BETWEEN)


class Side:
    """One side of a book; `sign` is 1 for bids and -1 for asks, so that the best key is always the greatest.

    best: the key of the best level (asks: the price negated), or minus infinity for an empty side
    """

    __slots__ = (
        "_count",
        "_dead",
        "_depth",
        "_edge",
        "_keys",
        "_looks",
        "_pack_at",
        "_packed",
        "_placed",
        "_prices",
        "_reach",
        "_sign",
        "_sizes",
        "_spell",
        "_spelled",
        "_sweep_at",
        "_top",
        "_top_size",
        "_words",
        "best",
        "exact",
    )

    def __init__(self, sign: int, levels: Levels, depth: int | None, *, packs: bool = False) -> None:
        self._sign = sign
        self._depth = depth
        self.exact = False
        self._sizes: dict[str, str] = dict(levels)
        self._keys: list[Key] = []  # they are in order, the best last
        self._prices: list[str] = []  # the prices of the keys, as they are spelled
        self._dead: set[str] = set()  # removed prices that are still here; only a side of limited depth keeps this set
        self._sweep_at = self._pack_at = 0
        self._packed: Packed | None = None
        self._edge = -INFINITY  # the greatest key of what is packed
        self._looks = 0 if packs else LOOKS  # how many deltas are still to show how far they reach
        if depth is not None:
            self._looks = -1  # a side that is cut has no far end that stays
        self._reach = 0
        self._placed = PATIENCE if packs else 0  # deltas with a new price since the side was packed
        self._spell: Spell | None = None  # the function that spelled levels last; `_count` of them
        self._count = 0
        self._spelled: dict[str, str] = {}  # price -> its level as `_spell` has written it
        self._words: list[str] | None = None  # the best levels so written; None if something has changed since
        self.best: Key = -INFINITY
        self._top = ""
        self._top_size: str | None = None
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
        else:
            size = sizes.get(self._top)
            if size is not self._top_size:
                if size is not None and size.lstrip("0."):
                    self._top_size = size
                else:
                    self._seek()

    def top(self, count: int | None = None) -> Levels:
        """The best `count` levels (None: all), best first."""
        if self._packed is not None and count is None:
            return self._all(self._packed)
        names = self._best(count)
        return list(zip(names, map(self._sizes.__getitem__, names), strict=True))

    def _all(self, packed: Packed) -> Levels:
        """All levels, best first, without unpacking any."""
        levels: Levels = []
        end = len(self._keys)
        for text, high in zip(reversed(packed.texts), reversed(packed.highs), strict=True):
            start = bisect_left(self._keys, high)
            levels += self._live(start, end)
            fields = text.split(BETWEEN)
            levels += zip(fields[-2::-2], fields[::-2], strict=True)
            end = start
        levels += self._live(0, end)
        return levels

    def _live(self, start: int, end: int) -> Levels:
        """The levels of some places that are not packed nor removed, best first."""
        names = self._prices[start:end]
        names.reverse()
        levels = zip(names, map(self._sizes.__getitem__, names), strict=True)
        return [level for level in levels if level[1].lstrip("0.")]

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
            while True:
                names = list(islice((price for price in reversed(self._prices) if sizes[price].lstrip("0.")), count))
                if self._packed is None or count == 0:
                    return names
                if len(names) == count and self._key(names[-1]) > self._edge:
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
        again = self._insert(new) if count <= MANY else self._merge(new)
        if again:
            levels = self._respell(again, levels)
        self._placed += 1
        if count > MANY or len(self._keys) > (self._sweep_at if self._placed < PATIENCE else self._pack_at):
            self._sweep()
        elif self._keys and self._keys[-1] > self.best:
            self._seek()
        if self._looks > 0:
            self._look(levels)
        return levels

    def _go_exact(self) -> None:
        """Have decimals for keys from now on."""
        self._unpack_all()
        self.exact = True
        self._keys = [self._key(price) for price in self._prices]
        self.best = -INFINITY  # the key was a float and is found anew

    def _look(self, levels: Levels) -> None:
        """Note how far from the best the ends of a delta are; pack what lies well beyond when enough were seen."""
        if self._placed == 1:
            return  # it is the whole book
        self._looks -= 1
        for price in (levels[0][0], levels[-1][0]):
            self._reach = max(self._reach, len(self._keys) - bisect_left(self._keys, self._key(price)))
        if self._looks == 0 and len(self._keys) >= 2 * self._near():
            self._placed = PATIENCE
            self._sweep()

    def _near(self) -> int:
        """How many of the best levels are not packed."""
        return max(NEAR, 2 * self._reach)

    def _pack(self) -> None:
        """Pack levels that are far from the best. All that are not packed have been swept."""
        near = self._near()
        keep = len(self._keys) - near
        if keep < (near if self._packed is None else PACK):
            return
        old, packed, start = self._packed or Packed(), Packed(), 0
        levels = [(price, self._sizes[price]) for price in self._prices[:keep]]
        for at in range(len(old.texts) + 1):
            end = min(bisect_left(self._keys, old.highs[at]), keep) if at < len(old.texts) else keep
            if start < end and not packed.add(self._keys[start:end], levels[start:end]):
                return
            if at < len(old.texts):
                packed.move(old, at)
            start = end
        self._packed, self._edge = packed, packed.highs[-1]
        self._keys, self._prices = self._keys[keep:], self._prices[keep:]
        self._sizes = {price: self._sizes[price] for price in self._prices}
        self._sweep_at, self._pack_at = 2 * near + SLACK, near + near // 2

    def _unpack(self, at: int = -1) -> None:
        """Unpack a text: the best one, unless another is named. A size that is here already has come since."""
        packed = self._packed
        if packed is None:
            return
        fields = packed.pop(at)
        if packed.texts:
            self._edge = packed.highs[-1]
        else:
            self._packed, self._edge = None, -INFINITY
        prices, sizes, sign = fields[::2], self._sizes, self._sign
        for price, size in zip(prices, fields[1::2], strict=True):
            sizes.setdefault(price, size)
        keys: list[Key] = [key * sign for key in map(float, prices)]
        at = bisect_left(self._keys, keys[0])
        self._keys[at:at] = keys
        self._prices[at:at] = prices

    def _unpack_all(self) -> None:
        while self._packed is not None:
            self._unpack()

    def _insert(self, new: list[str]) -> dict[str, str]:
        """Insert a few prices. Gives those that are here under another spelling, with that spelling."""
        keys, prices = self._keys, self._prices
        again = {}
        for price in new:
            key = self._key(price)
            if key <= self._edge and self._packed is not None:
                at = bisect_left(self._packed.highs, key)
                if self._packed.lows[at] <= key:
                    self._unpack(at)
            at = bisect_left(keys, key)
            if at < len(keys) and keys[at] == key:
                if prices[at] != price:  # else it was packed
                    again[price] = prices[at]
            else:
                keys.insert(at, key)
                prices.insert(at, price)
        return again

    def _merge(self, new: list[str]) -> dict[str, str]:
        """Add many prices, which `_sweep` sorts. Gives the same as `_insert`."""
        self._unpack_all()
        spelling = dict(zip(self._keys, self._prices, strict=True))
        again = {}
        for price in new:
            own = spelling.setdefault(self._key(price), price)
            if own != price:
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
        while keys or self._packed is not None:
            if not keys or keys[-1] <= self._edge:
                self._unpack()
            price = prices[-1]
            size = sizes[price]
            if size.lstrip("0."):
                self.best, self._top, self._top_size = keys[-1], price, size
                return
            del sizes[price], keys[-1], prices[-1]
            self._dead.discard(price)
        self.best, self._top, self._top_size = -INFINITY, "", None

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
        self._pack_at = self._sweep_at
        if self._looks == 0 and self._placed >= PATIENCE and not self.exact:
            self._placed = 0
            self._pack()

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

    def _settle(self, *, packs: bool = False) -> None:
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
            self._settle(packs=0 < len(bids) + len(asks) <= FEW)
        lower, upper = self._bids, self._asks
        if bids:
            lower.apply(bids)
        if asks:
            upper.apply(asks)
        if lower.exact or upper.exact:
            return self._is_crossed_exactly()
        return lower.best >= -upper.best

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
