"""The exchange's own numbers, followed anew through the records of one topic: each hole in them is found again.

A session has checked these numbers when the records came, and tells what was missing by gaps. Here they are checked
without its help, so that a loss is seen which no gap tells: one of a file, say, of which lines are gone.
"""

from collections.abc import Sequence

from msgspec import Struct

from aggregator.records import BookDelta, BookSnapshot, Gap, Liquidation, OrdersDelta, OrdersSnapshot, Trade
from aggregator.research.gaps import MENDED
from aggregator.sequence import GAP, STALE, Judge, Rule

MOST_HOLES = 1000  # so many are open to what comes late; older ones are settled


class ToldGap(Struct, kw_only=True, eq=False):
    """A gap as it was told.

    ts_from: since when something may be missing
    ts_to: null: it is open
    ts_back: since when, if it closes and something is missing: the last record before it was noticed
    expected, got: the numbers between which it says that some are missing
    """

    cause: str
    ts_from: int
    ts_back: int
    ts_to: int | None = None
    repair: str | None = None
    missed: int | None = None
    recovered: int | None = None
    expected: int | None = None
    got: int | None = None

    def names(self, hole: "MissingNumbers") -> bool:
        """Tell whether it says that these numbers are missing."""
        if self.cause != "sequence" or self.expected is None or self.got is None:
            return False
        return self.expected <= hole.first and hole.last < self.got

    def close(self, gap: Gap) -> None:
        """Take the record that ends it."""
        self.ts_from = min(self.ts_back, gap.ts_from)
        self.ts_to = max(self.ts_from, gap.ts_recv if gap.ts_to is None else gap.ts_to)
        self.repair, self.missed, self.recovered = gap.repair, gap.missed, gap.recovered

    @property
    def is_mended(self) -> bool:
        """Tell whether nothing is missing after all."""
        return self.repair in MENDED

    @property
    def owned(self) -> int | None:
        """How many missing numbers it owns up to; null: any number."""
        if self.is_mended:
            return 0
        if self.repair is None or self.missed is None:
            return None
        return max(0, self.missed - (self.recovered or 0))


class MissingNumbers(Struct, kw_only=True):
    """Numbers that did not come: the first and the last, and when those before and after them did.

    gaps: those that were told there
    """

    first: int
    last: int
    ts_from: int
    ts_to: int
    gaps: Sequence[ToldGap] = ()

    @property
    def count(self) -> int:
        """How many numbers."""
        return self.last - self.first + 1


class NumberChain:
    """The numbers of trades, or of what else comes one by one.

    holes: what is missing now
    settled: holes that are so old that nothing will fill them
    twice: records whose number had come before
    anew: how often the numbers began anew
    """

    __slots__ = ("_ts", "anew", "holes", "last", "newest", "settled", "twice")

    def __init__(self) -> None:
        """Begin with whichever number comes first."""
        self.last: int | None = None
        self.newest = 0  # the exchange's time of that
        self._ts = 0  # when it came
        self.holes: list[MissingNumbers] = []
        self.settled: list[MissingNumbers] = []
        self.twice = 0
        self.anew = 0

    def take(self, record: Trade | Liquidation, gaps: Sequence[ToldGap]) -> None:
        """Take the next record; `gaps` were told since the one before."""
        final = record.sequence
        if final is None:
            return
        last, first = self.last, record.sequence_first or final
        if last is not None and final <= last:
            if self._fill(first, final):
                return
            if record.ts_event is None or record.ts_event <= self.newest:
                self.twice += 1
                return
            self.anew += 1  # younger, yet lower
        elif last is not None and first > last + 1:
            self.holes.append(
                MissingNumbers(first=last + 1, last=first - 1, ts_from=self._ts, ts_to=record.ts_recv, gaps=gaps)
            )
            if len(self.holes) > MOST_HOLES:
                self.settled.append(self.holes.pop(0))
        self.last, self._ts = final, record.ts_recv
        if record.ts_event is not None and record.ts_event > self.newest:
            self.newest = record.ts_event

    def rest(self) -> None:
        """Begin anew with whichever number comes next, as nobody wanted what comes until then."""
        self.last = None

    def _fill(self, first: int, final: int) -> bool:
        """Take a number that comes late; whether it was missing."""
        for at, hole in enumerate(self.holes):
            if hole.first <= first and final <= hole.last:
                parts = ((hole.first, first - 1), (final + 1, hole.last))
                self.holes[at : at + 1] = [
                    MissingNumbers(first=a, last=b, ts_from=hole.ts_from, ts_to=hole.ts_to, gaps=hole.gaps)
                    for a, b in parts
                    if a <= b
                ]
                return True
        return False

    def lost(self, told: Sequence[ToldGap]) -> tuple[list[MissingNumbers], list[MissingNumbers]]:
        """The holes that are left, and those (or parts of them) for which no gap stands.

        told: all gaps of the topic: one that names the numbers stands for them although it came later
        """
        left = [*self.settled, *self.holes]
        untold = []
        used: dict[int, int] = {}  # numbers that a gap has stood for already
        for hole in left:
            bare = hole.count
            for gap in (*hole.gaps, *(gap for gap in told if gap.names(hole) and gap not in hole.gaps)):
                before = used.get(id(gap), 0)
                stands = bare if gap.owned is None else min(bare, gap.owned - before)
                used[id(gap)] = before + stands
                bare -= stands
                if stands:
                    gap.ts_from = min(gap.ts_from, hole.ts_from)
            if bare:
                first = hole.last - bare + 1
                untold.append(MissingNumbers(first=first, last=hole.last, ts_from=hole.ts_from, ts_to=hole.ts_to))
        return left, untold


class Break(Struct):
    """A book that does not follow from what came: since when, until which snapshot, and whether a gap tells it."""

    ts_from: int
    ts_to: int | None
    is_told: bool


class BookChain:
    """The numbers of a book's changes, which follow its snapshots and each other.

    breaks: where they do not
    twice: changes that the book held already
    """

    __slots__ = ("_judge", "_last", "_needs", "_rule", "_ts", "breaks", "twice")

    def __init__(self, rule: Rule | None) -> None:
        """Follow this rule; null: only whether a book begins with a snapshot after a gap is looked at."""
        self._rule = rule
        self._judge: Judge | None = None if rule is None else rule.follows
        self._last: int | None = None
        self._ts = 0
        self._needs = False
        self.breaks: list[Break] = []
        self.twice = 0

    @property
    def is_broken(self) -> bool:
        """Tell whether the book waits for a snapshot."""
        return bool(self.breaks) and self.breaks[-1].ts_to is None

    def doubt(self) -> None:
        """A gap has opened: only a snapshot may follow."""
        self._needs = True

    def lose(self, ts: int) -> None:
        """Changes are missing, as a gap tells, and others follow although the book lacks those."""
        if not self.is_broken:
            self.breaks.append(Break(ts, None, is_told=True))
        self._last = None

    def begin(self, snapshot: BookSnapshot | OrdersSnapshot) -> None:
        """Take a whole book; one that was had anew beyond the last change replaces changes that did not come."""
        number, last = snapshot.sequence, self._last
        is_anew = snapshot.reason == "resync" and self._judge is not None and not self._needs
        if is_anew and not self.is_broken and number is not None and last is not None and number > last:
            self._break(self._ts)
        if self.is_broken:
            self.breaks[-1].ts_to = snapshot.ts_recv
        self._needs = False
        self._last, self._ts = snapshot.sequence, snapshot.ts_recv
        self._judge = None if self._rule is None else self._rule.joins

    def take(self, delta: BookDelta | OrdersDelta) -> None:
        """Take a change."""
        final, last = delta.sequence, self._last
        ts, self._ts = self._ts, delta.ts_recv
        if self._needs:
            self._needs = False
            self._break(ts)
        elif self._judge is not None and final is not None and last is not None:
            first = final if delta.sequence_first is None else delta.sequence_first
            verdict = self._judge(last, first, final, delta.sequence_prev)
            if verdict is STALE:
                self.twice += 1
                return
            if verdict is GAP:
                self._break(ts)
        if final is not None:
            self._last = final
            self._judge = None if self._rule is None else self._rule.follows

    def _break(self, ts: int) -> None:
        """Changes are missing since the last one, and nothing tells it."""
        if self.is_broken and not self.breaks[-1].is_told:
            return
        if self.is_broken:
            self.breaks[-1].ts_to = ts
        self.breaks.append(Break(ts, None, is_told=False))
