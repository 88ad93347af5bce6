"""The derived topics that are asked for: each is computed once, for all who ask, and let go when the last has left.

Whoever drives it hands in records as they are published, and ticks; it gives what came of them, and reads no clock.
"""

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Protocol, TypeVar

from msgspec import structs

from aggregator.bus.selection import BadPattern, Glob, Pattern
from aggregator.derived.channel import SOURCE, Stamp
from aggregator.derived.channels import DerivedChannel, derived
from aggregator.records import BookSnapshot, Channel, Gap, Health, Record, channel_of

MOST_DERIVED = 20_000  # topics at work; one that keeps much counts as several
MOST_CHANNELS = 100  # derived channels of which topics are at work: each computes the same records once more
MOST_WIDE = 200  # different patterns of derived topics with `*` in the symbol
MOST_ENDED = 1000  # topics that have ended, and whose times are waited for still
BOOKS_AT_ONCE = 16  # whole books that are asked for in one turn
LOOK_NS = 250_000_000  # the wall clock is looked at so often, as it may jump


class Standings(Protocol):
    """The stream as it stands (`bus/view.py`)."""

    def book(self, exchange: str, raw_symbol: str) -> BookSnapshot | None:
        """The live book of a market."""

    def health(self, channel: Channel, exchange: str, raw_symbol: str | None) -> Iterable[Health]:
        """The state of a topic."""


T = TypeVar("T")
Input = tuple[Channel, str, str, str | None]  # a topic to compute of: channel, exchange, raw symbol, symbol
Place = tuple[str, str]  # a channel and the symbol, or raw symbol, of a market
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
        self._exact: dict[Place, dict[Pattern, None]] = {}  # those that name a market
        self._wide: dict[str, dict[Pattern, None]] = {}  # those with `*` in the symbol, by channel
        self._found: dict[Name, Derivation] = {}
        self._of_channel: dict[str, dict[Derivation, None]] = {}
        self._of_name: dict[Place, dict[Derivation, None]] = {}
        self._refused: set[Name] = set()  # those for which there was no room
        self._size = 0
        self._by_input: dict[tuple[Channel, str, str], dict[Derivation, None]] = {}
        self._takers: dict[Hashable, tuple[Derivation, ...]] = {}  # the same, by what names the topic of a record
        self._unseeded: deque[tuple[Derivation, str, str]] = deque()  # they wait for this whole book
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
        self._file(pattern)
        if len(self._channels()) > MOST_CHANNELS:
            raise BadPattern(f"the feed computes topics of at most {MOST_CHANNELS} derived channels at once")
        if sum(map(len, self._wide.values())) > MOST_WIDE:
            raise BadPattern(f"all clients have at most {MOST_WIDE} patterns of derived topics with * in the symbol")
        refused = [self._begin(pattern, *one) for one in known]
        self._takers.clear()
        if any(refused):
            raise BadPattern(f"{_full()}: name fewer markets")

    def leave(self, pattern: Pattern) -> None:
        """Compute those topics of a pattern no more that nobody else asks for."""
        self._wanted[pattern] -= 1
        if self._wanted[pattern] > 0:
            return
        del self._wanted[pattern]
        _remove(*self._filed(pattern), pattern)
        for each in self.of([pattern]):
            if not any(map(each.fits, self._asking(each.channel.name, each.names))):
                self._end(each)
        self._takers.clear()
        self._refused.clear()
        self._forget_ended()

    def of(self, patterns: Iterable[Pattern]) -> list[Derivation]:
        """The derived topics at work that some patterns name."""
        found: dict[Derivation, None] = {}
        for pattern in patterns:
            (name,), symbol = pattern.channels, pattern.symbol
            near = self._of_channel.get(name, {}) if "*" in symbol else self._of_name.get((name, symbol), {})
            found |= dict.fromkeys(each for each in near if each.fits(pattern))
        return list(found)

    def _filed(self, pattern: Pattern) -> tuple[dict[Any, dict[Pattern, None]], object]:
        """The place of a pattern: what is named in full is found by its name."""
        (name,), symbol = pattern.channels, pattern.symbol
        return (self._wide, name) if "*" in symbol else (self._exact, (name, symbol))

    def _file(self, pattern: Pattern) -> None:
        among, key = self._filed(pattern)
        among.setdefault(key, {})[pattern] = None

    def _channels(self) -> set[str]:
        return {*self._wide, *(name for name, _ in self._exact)}

    def _asking(self, channel: str, names: Iterable[str]) -> Iterator[Pattern]:
        """The patterns of a derived channel that may ask for a market."""
        yield from self._wide.get(channel, ())
        for name in names:
            yield from self._exact.get((channel, name), ())

    def _add(self, each: Derivation) -> None:
        self._found[_name(each)] = each
        self._size += each.channel.size
        self._of_channel.setdefault(each.channel.name, {})[each] = None
        for name in each.names:
            self._of_name.setdefault((each.channel.name, name), {})[each] = None
        if each.machine.due:
            self._await(each)

    def _end(self, each: Derivation) -> None:
        del self._found[_name(each)]
        self._size -= each.channel.size
        _remove(self._of_channel, each.channel.name, each)
        for name in each.names:
            _remove(self._of_name, (each.channel.name, name), each)
        for put in each.inputs:
            _remove(self._by_input, put, each)

    def _forget_ended(self) -> None:
        """Wait no more for topics that have ended, where these are many: a bar of a year would hold its own so long."""
        most = 2 * len(self._found) + MOST_ENDED
        if len(self._by_wall) > most:
            self._by_wall = [one for one in self._by_wall if self._is_alive(one[2]) and one[2].machine.due == one[0]]
            heapify(self._by_wall)
        if len(self._by_mono) > most:
            self._by_mono = [one for one in self._by_mono if self._is_alive(one[2])]
            heapify(self._by_mono)

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
                    found = self._find(record, key, told)
            for each in found:
                self._give(each, record, mono, told)
        return told

    def tick(self, wall: int, mono: int) -> Told:
        """Do what is due by time, in ns of both clocks. Gives what comes of it."""
        told: Told = []
        for _ in range(min(BOOKS_AT_ONCE, len(self._unseeded))):
            each, exchange, raw_symbol = self._unseeded.popleft()
            if self._is_alive(each):
                self._seed(each, exchange, raw_symbol, mono, told)
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

    def _seed(self, each: Derivation, exchange: str, raw_symbol: str, mono: int, told: Told) -> None:
        """Give a machine a book of its inputs as it stands."""
        book = self._stream.book(exchange, raw_symbol)
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
            self._fall_back(each, record)
        self._tell_news(each, mono, told)

    def _fall_back(self, each: Derivation, record: Gap | Health) -> None:
        """Where the first of inputs of which one is enough is down, the machine goes on with the book, as it stands."""
        name, raw_symbol = record.exchange, record.raw_symbol
        is_down = isinstance(record, Health) and record.state == "down" and record.channel != "book"
        if is_down and each.channel.kind.needs_one and raw_symbol and ("book", name, raw_symbol) in each.inputs:
            self._unseeded.append((each, name, raw_symbol))

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

    def _find(self, record: Record, key: Hashable, told: Told) -> tuple[Derivation, ...]:
        """The derived topics of which a record is an input; those that it is the first one of begin with it."""
        channel, exchange = channel_of(record), record.exchange
        if channel is None or not record.raw_symbol:
            return ()
        raw_symbol = record.raw_symbol
        names = [name for name in (record.symbol, raw_symbol) if name]
        for pattern in [pattern for name in self._channels() for pattern in self._asking(name, names)]:
            refused = self._begin(pattern, channel, exchange, raw_symbol, record.symbol)
            if refused is not None and _name(refused) not in self._refused:
                self._refused.add(_name(refused))
                told.append((refused, _no_room(refused, record)))
        found = tuple(self._by_input.get((channel, exchange, raw_symbol), ()))
        self._takers[key] = found
        return found

    def _concerned(self, record: Gap | Health) -> Iterable[Derivation]:
        """The derived topics that a gap or a state of an input concerns."""
        if record.channel is not None and record.raw_symbol:
            return list(self._by_input.get((record.channel, record.exchange, record.raw_symbol), ()))
        found: dict[Derivation, None] = {}
        for (channel, exchange, raw_symbol), takers in self._by_input.items():
            is_meant = record.channel in {channel, None} and record.raw_symbol in {raw_symbol, None}
            if is_meant and record.exchange in {exchange, ""}:
                found |= takers
        return found

    def _begin(
        self, pattern: Pattern, channel: Channel, exchange: str, raw_symbol: str, symbol: str | None
    ) -> Derivation | None:
        """Begin, or extend, the derived topic that a pattern wants of an input, if it wants any.

        Gives one for which there is no room.
        """
        found = derived(pattern)
        if found is None or channel not in found.kind.inputs or not _fits(pattern.exchange, exchange):
            return None
        names = tuple(name for name in (symbol, raw_symbol) if name)[: 1 if found.kind.merges else 2]
        if not any(_fits(pattern.symbol, name) for name in names):
            return None
        conn = SOURCE + found.name
        stamp = Stamp(exchange, symbol, raw_symbol, conn)
        if found.kind.merges:
            stamp = Stamp(pattern.exchange, names[0], None, conn)
        name = found.name, stamp.exchange, stamp.raw_symbol or names[0]
        each = self._found.get(name)
        if each is None:
            each = Derivation(found, stamp)
            if self._size + found.size > MOST_DERIVED:
                return each
            self._add(each)
        put = channel, exchange, raw_symbol
        if put in each.inputs:
            return None
        each.inputs[put] = None
        self._by_input.setdefault(put, {})[each] = None
        for health in self._stream.health(*put):
            each.machine.take(health)
        if channel == "book":
            self._unseeded.append((each, exchange, raw_symbol))
        return None


def _remove(among: "dict[Any, dict[T, None]]", key: object, value: T) -> None:
    del among[key][value]
    if not among[key]:
        del among[key]


def _full() -> str:
    return f"the feed computes at most {MOST_DERIVED} derived topics at once"


def _no_room(each: Derivation, cause: Record) -> Health:
    """The state of a topic that is not computed, as there are too many."""
    kind, names = each.channel.kind, each.names
    return Health(
        exchange=each.exchange,
        symbol=names[0],
        raw_symbol=names[-1],
        ts_recv=cause.ts_recv,
        conn=f"{SOURCE}{each.channel.name}",
        source="derived",
        channel=kind.channel or kind.inputs[0],
        state="down",
        reason=_full(),
    )


def _name(each: Derivation) -> Name:
    return each.channel.name, each.exchange, each.names[-1]


def _fits(pattern: str, name: str) -> bool:
    return _glob(pattern).matches(name) if "*" in pattern else pattern == name


_glob = lru_cache(maxsize=2**10)(Glob)
