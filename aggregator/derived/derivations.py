"""The derived topics that are asked for: each is computed once, for all who ask, and let go when the last has left.

Whoever drives it hands in records as they are published, and ticks; it gives what came of them, and reads no clock.
"""

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from msgspec import structs

from aggregator.bus.selection import BadPattern, Glob, Pattern
from aggregator.derived.channel import SOURCE, Stamp
from aggregator.derived.channels import DerivedChannel, derived
from aggregator.records import BookSnapshot, Channel, Gap, Health, Record, channel_of

MOST_DERIVED = 20_000  # topics at work
BOOKS_AT_ONCE = 16  # whole books that are asked for in one turn
LOOK_NS = 250_000_000  # the wall clock is looked at so often, as it may jump


class Standings(Protocol):
    """The stream as it stands (`bus/view.py`)."""

    def book(self, exchange: str, raw_symbol: str) -> BookSnapshot | None:
        """The live book of a market."""

    def health(self, channel: Channel, exchange: str, raw_symbol: str | None) -> Iterable[Health]:
        """The state of a topic."""


Input = tuple[Channel, str, str, str | None]  # a topic to compute of: channel, exchange, raw symbol, symbol
Name = tuple[str, str, str]  # a derived topic: channel, exchange (or the pattern of several), symbol or raw symbol


class Derivation:
    """One derived topic at work.

    names: its symbol and raw symbol, as far as they are known
    inputs: the topics that it is made of: channel, exchange and raw symbol
    """

    __slots__ = ("channel", "exchange", "inputs", "is_waiting", "machine", "names", "told_at")

    def __init__(self, channel: DerivedChannel, stamp: Stamp) -> None:
        self.channel = channel
        self.exchange = stamp.exchange
        self.names = tuple(dict.fromkeys(name for name in (stamp.symbol, stamp.raw_symbol) if name))
        self.machine = channel.start(stamp)
        self.inputs: dict[tuple[Channel, str, str], None] = {}
        self.is_waiting = False  # for its interval to pass
        self.told_at: int | None = None  # mono

    @property
    def topic(self) -> str:
        """Its name, as it is subscribed to."""
        return f"{self.channel.name}:{self.exchange}:{self.names[0]}"

    @property
    def is_told_as_it_stands(self) -> bool:
        """Tell whether every change of it is told, and not only what is final."""
        return bool(self.channel.interval_ns) or self.channel.kind.tells_all

    def fits(self, pattern: Pattern) -> bool:
        """Tell whether a pattern asks for it. The exchange of one that merges several is part of its name."""
        if pattern.channels != (self.channel.name,):
            return False
        is_there = self.exchange == pattern.exchange
        if not self.channel.kind.merges:
            is_there = is_there or _fits(pattern.exchange, self.exchange)
        return is_there and any(_fits(pattern.symbol, name) for name in self.names)


Told = list[tuple[Derivation, Record]]


class Derivations:
    """Every derived topic at work."""

    def __init__(self, stream: Standings) -> None:
        """Begin without one; `stream` is asked for books and states as they stand."""
        self._stream = stream
        self._wanted: Counter[Pattern] = Counter()
        self._found: dict[Name, Derivation] = {}
        self._by_input: dict[tuple[Channel, str, str], dict[Derivation, None]] = {}
        self._takers: dict[Hashable, tuple[Derivation, ...]] = {}  # the same, by what names the topic of a record
        self._unseeded: deque[Derivation] = deque()  # they wait for the whole book
        self._by_mono: list[tuple[int, int, Derivation]] = []  # intervals that will have passed
        self._by_wall: list[tuple[int, int, Derivation]] = []  # ticks that machines wait for
        self._tie = count()

    def __bool__(self) -> bool:
        """Tell whether anything is asked for."""
        return bool(self._wanted)

    def __iter__(self) -> Iterator[Derivation]:
        """Give every derived topic at work."""
        return iter(self._found.values())

    def join(self, pattern: Pattern, known: Iterable[Input]) -> None:
        """Compute the derived topics that a pattern names; `known` are the inputs that are known.

        Raises BadPattern where there are too many; who asked leaves again then.
        """
        self._wanted[pattern] += 1
        if self._wanted[pattern] > 1:
            return
        for channel, exchange, raw_symbol, symbol in known:
            self._begin(pattern, channel, exchange, raw_symbol, symbol)
        self._takers.clear()
        if len(self._found) >= MOST_DERIVED:
            raise BadPattern(f"the feed computes at most {MOST_DERIVED} derived topics at once: name fewer markets")

    def leave(self, pattern: Pattern) -> None:
        """Compute those topics of a pattern no more that nobody else asks for."""
        self._wanted[pattern] -= 1
        if self._wanted[pattern] > 0:
            return
        del self._wanted[pattern]
        self._found = {name: each for name, each in self._found.items() if any(map(each.fits, self._wanted))}
        self._takers.clear()
        self._by_input.clear()
        for each in self._found.values():
            for put in each.inputs:
                self._by_input.setdefault(put, {})[each] = None

    def of(self, patterns: Iterable[Pattern]) -> list[Derivation]:
        """The derived topics at work that some patterns name."""
        wanted = list(patterns)
        return [each for each in self._found.values() if any(map(each.fits, wanted))]

    # --- records and time

    def take(self, records: Iterable[Record], mono: int) -> Told:
        """Take records as they are published. Gives what comes of them, in order."""
        told: Told = []
        takers = self._takers
        for record in records:
            found: Iterable[Derivation] | None
            if isinstance(record, Gap | Health):
                found = self._concerned(record)
            else:
                key = type(record), record.exchange, record.raw_symbol, record.symbol
                found = takers.get(key)
                if found is None:
                    found = self._find(record, key)
            for each in found:
                self._give(each, record, mono, told)
        return told

    def tick(self, wall: int, mono: int) -> Told:
        """Do what is due by time, in ns of both clocks. Gives what comes of it."""
        told: Told = []
        for _ in range(min(BOOKS_AT_ONCE, len(self._unseeded))):
            each = self._unseeded.popleft()
            if self._is_alive(each):
                self._seed(each, mono, told)
        while self._by_mono and self._by_mono[0][0] <= mono:
            each = heappop(self._by_mono)[2]
            each.is_waiting = False
            if self._is_alive(each):
                self._tell_news(each, mono, told)
        while self._by_wall and self._by_wall[0][0] <= wall:
            due, _, each = heappop(self._by_wall)
            if self._is_alive(each) and each.machine.due and each.machine.due <= wall:
                told += [(each, record) for record in each.machine.tick(wall)]
                self._tell_news(each, mono, told)
                if each.machine.due > due:
                    self._await(each)
        return told

    def wait_ns(self, wall: int, mono: int) -> int | None:
        """How long until `tick` has something to do; null: it has nothing to do."""
        if self._unseeded:
            return 0
        waits = [self._by_mono[0][0] - mono] if self._by_mono else []
        if self._by_wall:
            waits.append(min(self._by_wall[0][0] - wall, LOOK_NS))
        return max(0, min(waits)) if waits else None

    def _is_alive(self, each: Derivation) -> bool:
        return self._found.get(_name(each)) is each

    def _await(self, each: Derivation) -> None:
        heappush(self._by_wall, (each.machine.due, next(self._tie), each))

    def _seed(self, each: Derivation, mono: int, told: Told) -> None:
        """Give a machine the books of its inputs as they stand, unless the stream has brought them already."""
        for channel, exchange, raw_symbol in each.inputs:
            book = self._stream.book(exchange, raw_symbol) if channel == "book" else None
            if book is not None:
                each.machine.take(book)
        self._tell_news(each, mono, told)

    def _give(self, each: Derivation, record: Record, mono: int, told: Told) -> None:
        machine = each.machine
        due = machine.due
        told += [(each, made) for made in machine.take(record)]
        if machine.due and machine.due != due:
            self._await(each)
        if isinstance(record, Gap | Health):
            own = self._retold(each, record)
            if own is not None:
                told.append((each, own))
        self._tell_news(each, mono, told)

    def _tell_news(self, each: Derivation, mono: int, told: Told) -> None:
        """Tell how a derived topic stands, if that is new, and its interval has passed."""
        if each.is_waiting or not each.is_told_as_it_stands:
            return
        at, interval_ns = each.told_at, each.channel.interval_ns
        if at is not None and mono - at < interval_ns:
            each.is_waiting = True
            heappush(self._by_mono, (at + interval_ns, next(self._tie), each))
            return
        news = each.machine.news()
        if news is not None:
            each.told_at = mono
            told.append((each, news))

    def _retold(self, each: Derivation, record: Gap | Health) -> Record | None:
        """A gap or a state of the input as one of the derived topic; a whole connection's reaches everybody anyway."""
        channel = each.channel.kind.channel
        if channel is None or not (record.symbol or record.raw_symbol):
            return None
        conn = f"{SOURCE}{each.channel.name}/{record.conn}"
        return structs.replace(record, channel=channel, conn=conn, source="derived")

    def states(self, each: Derivation) -> list[Health]:
        """The states of a derived topic: those of its inputs."""
        found = [health for channel, *names in each.inputs for health in self._stream.health(channel, *names)]
        told = (self._retold(each, health) for health in found)
        return [health for health in told if isinstance(health, Health)]

    # --- the topics at work

    def _find(self, record: Record, key: Hashable) -> tuple[Derivation, ...]:
        """The derived topics of which a record is an input; those that it is the first one of begin with it."""
        channel = channel_of(record)
        if channel is None or not record.raw_symbol:
            return ()
        for pattern in list(self._wanted):
            self._begin(pattern, channel, record.exchange, record.raw_symbol, record.symbol)
        found = tuple(self._by_input.get((channel, record.exchange, record.raw_symbol), ()))
        self._takers[key] = found
        return found

    def _concerned(self, record: Gap | Health) -> Iterable[Derivation]:
        """The derived topics that a gap or a state of an input concerns."""
        if record.channel is not None and record.raw_symbol:
            return list(self._by_input.get((record.channel, record.exchange, record.raw_symbol), ()))
        found: dict[Derivation, None] = {}
        for (channel, exchange, raw_symbol), takers in self._by_input.items():
            is_meant = record.channel in {channel, None} and record.raw_symbol in {raw_symbol, None}
            if is_meant and exchange == record.exchange:
                found |= takers
        return found

    def _begin(self, pattern: Pattern, channel: Channel, exchange: str, raw_symbol: str, symbol: str | None) -> None:
        """Begin, or extend, the derived topic that a pattern wants of an input, if it wants any."""
        found = derived(pattern)
        if found is None or channel not in found.kind.inputs or not _fits(pattern.exchange, exchange):
            return
        names = tuple(name for name in (symbol, raw_symbol) if name)[: 1 if found.kind.merges else 2]
        if not any(_fits(pattern.symbol, name) for name in names):
            return
        conn = SOURCE + found.name
        stamp = Stamp(exchange, symbol, raw_symbol, conn)
        if found.kind.merges:
            stamp = Stamp(pattern.exchange, names[0], None, conn)
        name = found.name, stamp.exchange, stamp.raw_symbol or names[0]
        each = self._found.get(name)
        if each is None:
            if len(self._found) >= MOST_DERIVED:
                return
            each = self._found[name] = Derivation(found, stamp)
            if each.machine.due:
                self._await(each)
        put = channel, exchange, raw_symbol
        if put in each.inputs:
            return
        each.inputs[put] = None
        self._by_input.setdefault(put, {})[each] = None
        for health in self._stream.health(*put):
            each.machine.take(health)
        if channel == "book":
            self._unseeded.append(each)


def _name(each: Derivation) -> Name:
    return each.channel.name, each.exchange, each.names[-1]


def _fits(pattern: str, name: str) -> bool:
    return Glob(pattern).matches(name) if "*" in pattern else pattern == name
