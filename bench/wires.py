"""What every way of writing a market's events shares: the time, the numbers, and what must be said."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random

from bench.market import Change, Ladder, Pair

START = 1_760_000_000_000_000  # microseconds since the epoch: when every capture begins


class Moment:
    """The time of the next frame, and its random numbers."""

    def __init__(self, random: Random) -> None:
        """Begin at START."""
        self.random = random
        self.us = START

    def pass_by(self) -> None:
        """Let a little time go by."""
        self.us += self.random.randrange(20_000)

    @property
    def ms(self) -> int:
        """Milliseconds since the epoch."""
        return self.us // 1000

    @property
    def iso(self) -> str:
        """As `2025-10-09T08:53:20.001234Z`."""
        return datetime.fromtimestamp(self.us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{self.us % 10**6:06d}Z"


class Wire:
    """How one exchange writes what happens.

    depth: levels a side that its book stream keeps (None: all)
    """

    depth: int | None = None

    def __init__(self, moment: Moment) -> None:
        """Count from the same numbers in every capture."""
        self.moment = moment
        self.numbers: dict[str, int] = {}

    def raw_symbol(self, pair: Pair) -> str:
        raise NotImplementedError

    def trade(self, pair: Pair, price: int, size: int) -> object:
        raise NotImplementedError

    def ticker(self, pair: Pair, bid: int, ask: int, size: int) -> object:
        raise NotImplementedError

    def delta(self, ladder: Ladder, bids: Change, asks: Change) -> object:
        raise NotImplementedError

    def opening(self, ladder: Ladder) -> object | None:
        """The whole book as a frame, where it comes in band."""
        del ladder
        return None

    def snapshot(self, ladder: Ladder) -> object | None:
        """The whole book as a REST answer, where it comes so."""
        del ladder
        return None

    def pack(self, message: object) -> bytes:
        """A message as the bytes that travel."""
        return (message if isinstance(message, str) else json.dumps(message, separators=(",", ":"))).encode()

    def next(self, name: str, step: int = 1) -> int:
        """A number that grows, one count for each name."""
        number = self.numbers[name] = self.numbers.get(name, 1_000_000_000) + step
        return number

    @property
    def buys(self) -> bool:
        """Heads or tails."""
        return self.moment.random.random() < 0.5


def eight(text: str) -> str:
    """Decimal text with eight decimals."""
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<8}"


def rows(pair: Pair, side: Change, spell: Callable[[str], str] = str) -> list[list[str]]:
    """Levels as the pairs of text that most exchanges send."""
    return [[spell(pair.price(price)), spell(pair.size(size)) if size else spell("0")] for price, size in side]
