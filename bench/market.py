"""A small market that never crosses itself: prices walk, books change, everything comes from one seed."""

from random import Random

from msgspec import Struct

Change = list[tuple[int, int]]  # (price in ticks, size in steps; 0 removes), best first


class Pair(Struct, frozen=True):
    """What is traded: `tick` and `step` count the decimals of a price and of a size."""

    base: str
    quote: str
    start: int  # the first price, in ticks
    tick: int
    step: int

    def price(self, ticks: int) -> str:
        """A price as decimal text."""
        return decimal(ticks, self.tick)

    def size(self, steps: int) -> str:
        """A size as decimal text."""
        return decimal(steps, self.step)


PAIRS = (
    Pair("BTC", "USD", 6_712_345, 2, 6),
    Pair("ETH", "USD", 261_130, 2, 5),
    Pair("SOL", "USD", 15_107, 2, 3),
    Pair("XRP", "USD", 53_120, 5, 1),
)


def decimal(units: int, decimals: int) -> str:
    """An integer number of smallest units as text with so many decimals."""
    if not decimals:
        return str(units)
    whole, fraction = divmod(units, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}"


class Ladder:
    """One pair's book: no bid at or above `middle`, no ask at or below it."""

    def __init__(self, pair: Pair, random: Random, depth: int, *, cut: bool = False, walks: bool = True) -> None:
        """Begin with `depth` levels a side; `cut` keeps it at that depth, as an exchange of limited depth does.

        A book whose middle never `walks` can be played again from its first change, over and over.
        """
        self.pair = pair
        self.middle = pair.start
        self._random = random
        self._depth = depth
        self._cut = cut
        self._walks = walks
        self.bids = {pair.start - at: self._size() for at in range(1, depth + 1)}
        self.asks = {pair.start + at: self._size() for at in range(1, depth + 1)}

    def _size(self) -> int:
        return 1 + int(self._random.lognormvariate(0, 1.5) * 10**self.pair.step)

    def whole(self) -> tuple[Change, Change]:
        """Every bid and every ask, best first."""
        return sorted(self.bids.items(), reverse=True), sorted(self.asks.items())

    def change(self, levels: int) -> tuple[Change, Change]:
        """Change so many levels, mostly near the middle, and say how: bids, asks."""
        bids: dict[int, int] = {}
        asks: dict[int, int] = {}
        if self._walks:
            self._walk(bids, asks)
        reach = min(max(16.0, levels * 1.25), self._depth / 4)
        while len(bids) + len(asks) < levels:
            at = 1 + min(int(self._random.expovariate(1 / reach)), self._depth - 1)
            if self._random.random() < 0.5:
                self._touch(self.bids, bids, self.middle - at, keep=self._walks and at == 1)
            else:
                self._touch(self.asks, asks, self.middle + at, keep=self._walks and at == 1)
        if self._cut:
            for gone in sorted(self.bids, reverse=True)[self._depth :]:
                del self.bids[gone]
            for gone in sorted(self.asks)[self._depth :]:
                del self.asks[gone]
        return sorted(bids.items(), reverse=True), sorted(asks.items())

    def _walk(self, bids: dict[int, int], asks: dict[int, int]) -> None:
        """Move the middle by one tick now and then, through whatever stands there."""
        step = self._random.choice((-1, 1)) if self._random.random() < 0.2 else 0
        self.middle += step
        if self.bids.pop(self.middle, 0):
            bids[self.middle] = 0
        if self.asks.pop(self.middle, 0):
            asks[self.middle] = 0

    def _touch(self, side: dict[int, int], said: dict[int, int], price: int, *, keep: bool) -> None:
        if price in said:
            return
        if price in side and not keep and self._random.random() < 0.3:
            del side[price]
            said[price] = 0
        else:
            said[price] = side[price] = self._size()
