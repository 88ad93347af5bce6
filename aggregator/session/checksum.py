"""The checksums that an exchange sends with a book: verified, and given up where they are wrong again and again."""

from collections.abc import Callable

from aggregator.book import OrderBook
from aggregator.records import Instrument

MOST_WRONG = 3  # after so many whole books in a row that contradict their checksums, these are taken for wrong
ALWAYS = 20  # after so many deltas in a row with a checksum, as many without one are told in a health record

Compute = Callable[[OrderBook, Instrument | None], int]


class Checksum:
    """The checksums of one topic's book.

    comes: whether the latest deltas came with one
    """

    __slots__ = ("_bare", "_compute", "_summed", "_unchecked", "_verify", "_wrong", "comes")

    def __init__(self, compute: Compute | None, verify: int) -> None:
        """Compute one of `verify` checksums; none at all for 0, or where the exchange declares none."""
        self.comes = False
        self._compute = compute if verify else None
        self._verify = verify
        self._unchecked = 0  # checksums that came since one was last computed
        self._summed = 0  # deltas in a row that came with a checksum
        self._bare = 0  # deltas after those that came without one
        self._wrong = 0  # whole books in a row that contradict their own checksum

    def is_wrong(self, book: OrderBook, instrument: Instrument | None, said: int) -> bool:
        """Tell whether a book contradicts the checksum that came with it; False if this one is not to be computed."""
        if self._bare:
            self._bare = self._summed = 0
        self.comes = True
        self._summed += 1
        self._unchecked += 1
        if self._compute is None or self._unchecked < self._verify:
            return False
        self._unchecked = 0
        return self._compute(book, instrument) != said

    def has_stopped(self) -> bool:
        """Note a delta without a checksum where others had one; True once, when they have stopped coming for good."""
        if self._summed < ALWAYS:
            self._summed, self.comes = 0, False
            return False
        self._bare += 1
        return self._bare == ALWAYS

    def fits(self, is_right: bool) -> bool:  # noqa: FBT001 - it is what is noted
        """Note whether a whole book agrees with its own checksum."""
        self._wrong = 0 if is_right else self._wrong + 1
        return is_right

    @property
    def is_doubtful(self) -> bool:
        """Tell whether so many whole books in a row contradict their checksums that these must be what is wrong."""
        return self._wrong >= MOST_WRONG

    def give_up(self) -> None:
        """Compute no more of them."""
        self._compute = None
