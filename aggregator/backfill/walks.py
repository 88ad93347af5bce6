"""How a range of the past is walked, page by page: what is asked next, and what of an answer is new.

No I/O, no clock: a walk gives pages and takes records. Its place can be kept, and another walk goes on there.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from aggregator.errors import BadFrame
from aggregator.exchange import Page, PastPages
from aggregator.records import SECOND_NS, Candle, Trade
from aggregator.wire import interval_s

FIRST_SLICE_S = 600  # walked backward, what comes waits in memory until the slice is whole
LONGEST_SLICE_S = 86_400
MOST_GATHERED = (
    100_000  # records that wait for their slice to be whole; with more it is cut, and the rest asked for anew
)
FEW_PAGES, MANY_PAGES = 2, 50  # a slice of fewer pages is followed by a longer one, one of more by a shorter one

Past = Trade | Candle


class WalkedTo(Struct, kw_only=True):
    """The place that a walk has reached.

    at: everything before this time (ns) is had
    seen: names of the records at that time and after it that are had
    number: of the next trade, of a walk by numbers
    """

    at: int
    seen: list[str] = field(default_factory=list)
    number: int | None = None


class MissingTime(Struct, frozen=True):
    """A time in which records are missing that the exchange does not give: from `start` on and before `end` (ns).

    is_too_much: more happened in one moment than an answer holds; else it is too old
    """

    start: int
    end: int
    is_too_much: bool = False


class Steps(Struct, frozen=True):
    """The new records of an answer, oldest first, and the holes behind them.

    is_astray: it had records, and all of them are of a time from which nothing was asked; a full answer of such hides
        what there is, which is a hole
    """

    records: Sequence[Past] = ()
    holes: Sequence[MissingTime] = ()
    is_astray: bool = False


def moment(record: Past) -> int:
    """When a record happened; of a candle, when it began. Raises BadFrame where a trade has no time."""
    if isinstance(record, Candle):
        return record.ts_open
    if record.ts_event is None:
        raise BadFrame(f"the trade {record.id} has no time")
    return record.ts_event


def name(record: Past) -> str:
    """The name of a record within its market. Raises BadFrame where a trade has none."""
    if isinstance(record, Candle):
        return str(record.ts_open)
    if record.id is None:
        raise BadFrame(f"a trade at {record.ts_event} has no id")
    return record.id


def once(records: Iterable[Past]) -> list[Past]:
    """Each record once, in their order: an answer may hold one twice."""
    return list({name(r): r for r in records}.values())


def is_behind(record: Past, edge: Past | None) -> bool:
    """Tell by the exchange's numbers whether a record follows another."""
    return edge is not None and None not in {record.sequence, edge.sequence} and record.sequence > edge.sequence  # type: ignore[operator]


class Target(Struct, frozen=True, kw_only=True):
    """A channel of one market that is walked, from `start` on and before `end` (ns)."""

    history: PastPages
    raw_symbol: str
    start: int
    end: int
    interval: str = "1m"

    @property
    def step(self) -> int:
        """The length of a candle in ns; of trades the step of the times in requests."""
        length = interval_s(self.interval) if self.history.channel == "candles" else None
        return self.history.unit_ns if length is None else length * SECOND_NS

    def page(self, start: int, end: int, edge: Past | None = None, number: int | None = None) -> Page:
        """A page of it."""
        return Page(raw_symbol=self.raw_symbol, interval=self.interval, start=start, end=end, edge=edge, number=number)

    @property
    def span(self) -> int:
        """The longest time that one page may be about, in ns."""
        history = self.history
        spans = [self.end - self.start]
        if history.span_s is not None:
            spans.append(history.span_s * SECOND_NS)
        if history.channel == "candles":
            spans.append(history.most * self.step)
        return max(self.step, min(spans))


class Forward:
    """The oldest first; a page begins where the one before has ended, with the same moment."""

    def __init__(self, target: Target, place: WalkedTo) -> None:
        """Go on from a place."""
        self.target = target
        self.at = place.at
        self._seen = dict.fromkeys(place.seen, place.at)  # name -> when it happened
        self._edge: Past | None = None
        self._until = 0  # where the window ends in which the walk is

    def place(self) -> WalkedTo:
        """The place that is reached."""
        return WalkedTo(at=self.at, seen=list(self._seen))

    def page(self) -> Page | None:
        """The next page; null: the range is walked."""
        if self.at >= self.target.end:
            return None
        if self.at >= self._until:
            self._until, self._edge = min(self.target.end, self.at + self.target.span), None
        return self.target.page(self.at, self._until, self._edge)

    def take(self, records: Sequence[Past]) -> Steps:
        """Take the answer to the last page."""
        target = self.target
        fresh = once(r for r in records if self._is_new(r))
        if not fresh:
            is_full = len(records) >= target.history.most and target.history.channel == "trades"
            if records and all(moment(r) < self.at - target.step for r in records):
                start, self.at = self.at, self._until
                return Steps(holes=[MissingTime(start, self.at)] if is_full else [], is_astray=True)
            return self._pass(is_full=is_full and moment(records[-1]) < self._until)
        newest = max(map(moment, fresh))
        self._edge = fresh[-1]
        if target.history.channel == "candles":
            self.at = newest + target.step
        else:
            self.at = max(self.at, newest)
            since = self.at // target.step * target.step
            self._seen |= {name(r): moment(r) for r in fresh}
            self._seen = {known: ts for known, ts in self._seen.items() if ts >= since}
        if any(moment(r) >= self._until for r in records):
            self.at = self._until
        return Steps(fresh)

    def _is_new(self, record: Past) -> bool:
        """Tell whether a record of the window has not come before: one behind the edge may be told to be earlier."""
        ts = moment(record)
        if name(record) in self._seen or not self.target.start <= ts < self._until:
            return False
        return ts >= self.at // self.target.step * self.target.step or is_behind(record, self._edge)

    def _pass(self, *, is_full: bool) -> Steps:
        """Nothing new has come: the window is walked, or (full of one moment) the moment is passed."""
        if not is_full:
            self.at = self._until
            return Steps()
        start, step = self.at, self.target.step
        self.at = min(self._until, (start // step + 1) * step)
        self._edge = None
        return Steps(holes=[MissingTime(start, self.at, is_too_much=True)])


class Backward:
    """The newest first: the range is cut into slices, and what comes of one waits until all of it is there."""

    def __init__(self, target: Target, place: WalkedTo) -> None:
        """Go on from a place."""
        self.target = target
        self.at = place.at
        self._length = FIRST_SLICE_S * SECOND_NS
        self._begin()

    def _begin(self) -> None:
        self._until = self._end = min(self.target.end, self.at + min(self._length, self.target.span))
        self._edge: Past | None = None
        self._gathered: list[Past] = []
        self._seen: set[str] = set()
        self._holes: list[MissingTime] = []
        self._pages = 0

    def place(self) -> WalkedTo:
        """The place that is reached: the beginning of the slice under way."""
        return WalkedTo(at=self.at)

    def page(self) -> Page | None:
        """The next page; null: the range is walked."""
        if self.at >= self.target.end:
            return None
        return self.target.page(self.at, self._end, self._edge)

    def take(self, records: Sequence[Past]) -> Steps:
        """Take the answer to the last page."""
        self._pages += 1
        fresh = once(r for r in records if name(r) not in self._seen and self.at <= moment(r) < self._end)
        if fresh:
            self._seen |= {name(r) for r in fresh}
            self._gathered[:0] = fresh
            self._edge = fresh[0]
            if min(map(moment, records)) >= self.at:
                while len(self._gathered) > MOST_GATHERED and self._cut():
                    pass
                return Steps()
        elif self._edge is not None and len(records) >= self.target.history.most and moment(records[0]) >= self.at:
            return self._pass(self._edge)
        bound = self._end + self.target.step
        is_astray = bool(records) and all(moment(r) >= bound and name(r) not in self._seen for r in records)
        if is_astray and len(records) >= self.target.history.most and self.target.history.channel == "trades":
            self._holes.insert(0, MissingTime(self.at, self._end))
        return self._finish(is_astray=is_astray)

    def _cut(self) -> bool:
        """Leave the later half of the slice to the next one; whether it can be halved."""
        step = self.target.step
        middle = (self.at + self._until) // 2 // step * step
        if middle <= self.at:
            return False
        self._gathered = [r for r in self._gathered if moment(r) < middle]
        self._seen = set(map(name, self._gathered))
        self._holes = [hole for hole in self._holes if hole.start < middle]
        if self._edge is not None and moment(self._edge) >= middle:
            self._edge = None
        self._until, self._end = middle, min(self._end, middle)
        self._length, self._pages = max(middle - self.at, SECOND_NS), 0
        return True

    def _pass(self, edge: Past) -> Steps:
        """An answer full of one moment hides what else happened in it: pass it."""
        step = self.target.step
        start = moment(edge) // step * step
        self._holes.insert(0, MissingTime(max(start, self.at), min(start + step, self._until), is_too_much=True))
        self._end, self._edge = start, None
        return Steps() if start > self.at else self._finish()

    def _finish(self, *, is_astray: bool = False) -> Steps:
        found = Steps(sorted(self._gathered, key=moment), self._holes, is_astray)
        if self._pages < FEW_PAGES:
            self._length = min(self._length * 2, LONGEST_SLICE_S * SECOND_NS)
        elif self._pages > MANY_PAGES:
            self._length = max(self._length // 2, SECOND_NS)
        self.at = self._until
        self._begin()
        return found


class ByNumber:
    """By numbers without a hole: where the range begins is found by halving, then they are walked upward."""

    def __init__(self, target: Target, place: WalkedTo) -> None:
        """Go on from a place."""
        self.target = target
        self.at = place.at
        self._number = place.number  # the next trade has it; null: it is still looked for
        # The first trade of the range is `best`, or one from `low` on and before `high`; null: nothing is known yet.
        self._low, self._best = 0, 0
        self._high: int | None = None

    def place(self) -> WalkedTo:
        """The place that is reached."""
        return WalkedTo(at=self.at, number=self._number)

    def page(self) -> Page | None:
        """The next page; null: the range is walked."""
        if self.at >= self.target.end:
            return None
        number = self._number
        if number is None and self._high is not None:
            number = (self._low + self._high) // 2
        return self.target.page(self.target.start, self.target.end, number=number)

    def take(self, records: Sequence[Past]) -> Steps:
        """Take the answer to the last page."""
        numbered = [(number_of(r), r) for r in once(records)]
        if self._number is None:
            self._look(numbered)
            return Steps()
        fresh = [(n, r) for n, r in numbered if n >= self._number and moment(r) < self.target.end]
        if fresh:
            self._number = fresh[-1][0] + 1
            self.at = max(self.at, moment(fresh[-1][1]))
        if not fresh or any(moment(r) >= self.target.end for _, r in numbered):
            self.at = self.target.end
        is_astray = bool(numbered) and all(n < self._number - 1 for n, _ in numbered)
        return Steps([r for _, r in fresh if moment(r) >= self.target.start], is_astray=is_astray)

    def _look(self, numbered: Sequence[tuple[int, Past]]) -> None:
        """Come nearer to the first number of the range."""
        inside = next((n for n, r in numbered if moment(r) >= self.target.start), None)
        is_first = inside is not None and inside != numbered[0][0]
        if self._high is None:
            if inside is None:
                self.at = self.target.end  # nothing has happened since
                return
            self._best, self._high = inside, numbered[0][0]
        elif inside is None:
            self._low = max((self._low + self._high) // 2, numbered[-1][0] if numbered else 0) + 1
        else:
            self._best, self._high = inside, (self._low + self._high) // 2
        if is_first or self._low >= self._high:
            self._number = self._best


class Latest:
    """Only the newest are to be had: one page, and what is older than it is missing."""

    def __init__(self, target: Target, place: WalkedTo) -> None:
        """Go on from a place."""
        self.target = target
        self.at = place.at

    def place(self) -> WalkedTo:
        """The place that is reached."""
        return WalkedTo(at=self.at)

    def page(self) -> Page | None:
        """The only page; null: it was asked for."""
        return None if self.at >= self.target.end else self.target.page(self.at, self.target.end)

    def take(self, records: Sequence[Past]) -> Steps:
        """Take the answer."""
        target, start = self.target, self.at
        self.at = target.end
        found = sorted(once(records), key=moment)
        oldest = moment(found[0]) if found else target.end
        known = oldest
        is_full = len(records) >= target.history.most
        if found and is_full and target.history.channel == "trades":  # others of that moment may have been cut off
            known = (oldest // target.step + 1) * target.step
        end = min(target.end, known) if is_full or target.history.reach_s is None else start
        return Steps(
            [r for r in found if start <= moment(r) < target.end], [MissingTime(start, end)] if start < end else []
        )


AnyWalk = Forward | Backward | ByNumber | Latest
WALKS: dict[str, type[AnyWalk]] = {
    "forward": Forward,
    "backward": Backward,
    "numbered": ByNumber,
    "latest": Latest,
}


def number_of(record: Past) -> int:
    """The number of a trade. Raises BadFrame where it has none."""
    if isinstance(record, Candle) or record.sequence is None:
        raise BadFrame("a trade that is walked by numbers has none")
    return record.sequence


def begin(target: Target, place: WalkedTo | None = None) -> AnyWalk:
    """A walk over a range, from its beginning or a place on."""
    return WALKS[target.history.walk](target, place or WalkedTo(at=target.start))
