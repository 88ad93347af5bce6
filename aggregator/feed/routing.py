"""The way of records to subscribers: found once per topic, and joined once for all who want the same."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple
from weakref import WeakValueDictionary

from aggregator.bus.bus import Batch
from aggregator.bus.selection import ALONE, CHANNEL_NAMES, KIND, Pattern, RecordTopic, Selection, topic_of
from aggregator.bus.view import Wanted
from aggregator.feed.formats import PLAIN, Options, encode, pieces
from aggregator.feed.index import TopicIndex
from aggregator.feed.subscriber_queue import BookName, BookRole, Chunk, Ring
from aggregator.records import (
    CHANNELS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Channel,
    Health,
    IndexPrice,
    MarkPrice,
    OpenInterest,
    OptionSummary,
    Record,
    Ticker,
    channel_of,
)

NOTHING = Selection(())
STANDING = (
    Ticker,
    Bbo,
    MarkPrice,
    IndexPrice,
    OpenInterest,
    OptionSummary,
)  # the newest of these supersedes what was before
ALIKE = 2  # characters that a name has in common with what may be meant by it


class Interest(NamedTuple):
    """The records that a subscriber wants, and how they are to be written."""

    patterns: frozenset[str]
    options: Options


class Group:
    """The subscribers of one and the same interest: what is written for one of them is written for all."""

    __slots__ = ("chunks", "derived", "options", "rings", "selection")

    def __init__(self, patterns: tuple[Pattern, ...], options: Options) -> None:
        self.derived: dict[str, list[Pattern]] = {}  # the patterns of derived topics, by their channel
        for pattern in patterns:
            if pattern.channels[0] not in CHANNEL_NAMES:
                self.derived.setdefault(pattern.channels[0], []).append(pattern)
        self.selection = Selection(patterns)
        self.options = PLAIN if options == PLAIN else options  # one object, told by identity
        self.rings: dict[Ring, None] = {}
        self.chunks: list[Chunk] = []  # since the last tick


class Fanout:
    """The groups that want a topic. Topics with the same groups share one object, which is compared by identity."""

    __slots__ = ("__weakref__", "groups")

    def __init__(self, groups: tuple[Group, ...]) -> None:
        self.groups = groups


class Route:
    """Where the records of one kind and topic go."""

    __slots__ = ("fanout", "role", "topic")

    def __init__(self, topic: RecordTopic, role: BookRole, fanout: Fanout) -> None:
        self.topic = topic
        self.role = role
        self.fanout = fanout


NO_BOOK = BookRole(None, False)  # the role of all records that belong to no book  # noqa: FBT003


class Known(NamedTuple):
    """A topic that has been seen."""

    channel: Channel
    exchange: str
    raw_symbol: str


class TopicRoutes:
    """The groups, the topics seen so far, and the route of each.

    version: how often a group has come or gone
    """

    def __init__(self) -> None:
        self.version = 0
        self.known: dict[Known, RecordTopic] = {}
        self._begun: set[BookName] = set()  # books of which a snapshot has been seen
        self._known_by_topic: TopicIndex[Known] = TopicIndex()  # filed under "health" too, which tells their states
        self._unnamed: dict[tuple[Channel, str], None] = {}  # channels and exchanges of topics without a symbol
        self._routes: dict[Hashable, Route] = {}
        self._routes_by_topic: TopicIndex[Route] = TopicIndex()
        self._fanouts: WeakValueDictionary[tuple[Group, ...], Fanout] = WeakValueDictionary()
        self._groups: dict[Interest, Group] = {}
        self._interests: dict[Ring, Interest] = {}

    def join(self, ring: Ring, patterns: dict[str, Pattern], options: Options) -> None:
        """Put a ring into the group of its interest, and out of the one that it was in."""
        self.leave(ring)
        if not patterns:
            return
        self.version += 1
        interest = Interest(frozenset(patterns), options)
        group = self._groups.get(interest)
        if group is None:
            group = self._groups[interest] = Group(tuple(patterns.values()), options)
            self._reroute(group, lambda others: (*others, group))
        group.rings[ring] = None
        self._interests[ring] = interest

    def leave(self, ring: Ring) -> None:
        """The ring wants nothing more."""
        interest = self._interests.pop(ring, None)
        if interest is None:
            return
        self.version += 1
        group = self._groups[interest]
        del group.rings[ring]
        if not group.rings:
            del self._groups[interest]
            self._reroute(group, lambda before: tuple(other for other in before if other is not group))

    def selection_of(self, ring: Ring) -> Selection:
        """Everything that a ring wants."""
        interest = self._interests.get(ring)
        return NOTHING if interest is None else self._groups[interest].selection

    def matching(self, selection: Selection) -> list[Known]:
        """The topics seen so far that a selection wants."""
        found = self._known_by_topic.matching(selection)
        return [known for known in found if selection.wants(self.known[known])]  # its symbol may have changed

    def stated(self, selection: Selection) -> Iterator[tuple[Channel, str, str | None]]:
        """The topics seen so far of which a selection wants the state: channel, exchange and raw symbol."""
        for known in self._known_by_topic.matching(selection):
            if selection.wants(RecordTopic(("health", known.channel), known.exchange, self.known[known].names)):
                yield known
        for channel, exchange in self._unnamed:
            if selection.wants(RecordTopic(("health", channel), exchange, ())):
                yield channel, exchange, None

    def wants_book(self, ring: Ring, book: BookName) -> bool:
        """Tell whether a ring is still to have a book."""
        topic = self.known.get(Known("book", book[0], book[1] or ""))
        return topic is not None and self.selection_of(ring).wants(topic)

    def named(self, selection: Selection | None) -> Iterator[tuple[Known, str]]:
        """The topics seen so far, or those of them that a selection wants, with their names."""
        for known in self.known if selection is None else self.matching(selection):
            yield known, f"{known.channel}:{known.exchange}:{self.known[known].names[0]}"

    def books_of(self, exchange: str, symbol: str) -> list[Known]:
        """The books of this name: one, or the few whose names are alike."""
        return self._known_by_topic.named("book", exchange, symbol)

    def channels_of(self, exchange: str, symbol: str) -> list[Channel]:
        """The channels of a market that have been seen, or are wanted."""
        return [c for c in CHANNELS if self._known_by_topic.named(c, exchange, symbol)]

    def like(self, exchange: str, symbol: str) -> list[str]:
        """Names of books of an exchange that begin as this symbol does."""
        return self._known_by_topic.beginning("book", exchange, (symbol[:ALIKE], symbol[:ALIKE].upper()))

    def distribute(self, batch: Batch) -> Iterable[Group]:
        """Add the batch's records to those who want them, joined once for each set that is wanted; who got some."""
        known = self._routes
        if batch.is_passed:
            routes = [known.get(key) or self._find(batch.record(at)) for at, key in enumerate(batch.keys)]
        else:
            routes = [known.get((type(r), r.exchange, r.raw_symbol, r.symbol)) or self._find(r) for r in batch.records]
        return self.spread(batch, routes)

    def spread(self, batch: Batch, routes: Sequence[Route]) -> Iterable[Group]:
        """Add the batch's records to the groups that their routes lead to; who got some."""
        roles = [route.role for route in routes]
        fanouts = dict.fromkeys([route.fanout for route in routes])
        if len(fanouts) == 1:
            return _give_all(batch, roles, routes[0].fanout.groups)
        bits = {fanout: 1 << bit for bit, fanout in enumerate(fanouts)}
        wanted: dict[Group, int] = {}  # the fanouts that a group is in, as bits
        for fanout, bit in bits.items():
            for group in fanout.groups:
                wanted[group] = wanted.get(group, 0) | bit
        if wanted:
            _give_parts(batch, roles, [bits[route.fanout] for route in routes], wanted)
        return wanted

    @property
    def groups(self) -> Iterable[Group]:
        """Every group."""
        return self._groups.values()

    def fanout(self, groups: Iterable[Group]) -> Fanout:
        """The object that stands for these groups."""
        return self._fanout(tuple(groups))

    def _find(self, record: Record) -> Route:
        """The route of a record that tells of another topic, or of a topic that has not been seen before."""
        key: Hashable = (type(record), record.exchange, record.raw_symbol, record.symbol)
        if type(record) in KIND:
            key = (key, channel_of(record))
        return self._routes.get(key) or self._meet(key, record)

    def _meet(self, key: Hashable, record: Record) -> Route:
        """Find the way of a topic that has not been seen before; a book that starts in its middle is awaited."""
        topic = topic_of(record)
        fanout = self._fanout(tuple(a for a in self._groups.values() if a.selection.wants(topic)))
        book = (record.exchange, record.raw_symbol) if isinstance(record, BookSnapshot | BookDelta) else None
        if book is not None and isinstance(record, BookDelta) and book not in self._begun:
            for ring in (ring for group in fanout.groups for ring in group.rings):
                ring.await_book(book, is_new=True)
        self.learn(record, topic)
        role = BookRole(None, False, True) if isinstance(record, STANDING) else NO_BOOK  # noqa: FBT003
        if book is not None:
            role = BookRole(book, isinstance(record, BookSnapshot))
        route = self._routes[key] = Route(topic, role, fanout)
        self._routes_by_topic.add(topic, route)
        return route

    def learn(self, record: Record, topic: RecordTopic | None = None) -> None:
        """Remember a record's topic; a gap or health record tells of the topic that it is about."""
        channel = channel_of(record)
        if channel is not None and record.raw_symbol:
            self._learn(Known(channel, record.exchange, record.raw_symbol), (topic or topic_of(record)).names)
        elif channel is not None and isinstance(record, Health):
            self._unnamed[channel, record.exchange] = None
        if isinstance(record, BookSnapshot):
            self._begun.add((record.exchange, record.raw_symbol))

    def expect(self, topics: Iterable[Wanted]) -> None:
        """Know topics that are wanted, before anything comes of them."""
        for topic in topics:
            known = Known(topic.channel, topic.exchange, topic.raw_symbol)
            if known not in self.known:
                names = dict.fromkeys(name for name in (topic.symbol, topic.raw_symbol) if name is not None)
                self._learn(known, tuple(names))

    def _learn(self, known: Known, names: tuple[str, ...]) -> None:
        self.known[known] = RecordTopic(ALONE[known.channel], known.exchange, names)
        self._known_by_topic.add(RecordTopic(("health", known.channel), known.exchange, names), known)

    def _fanout(self, groups: tuple[Group, ...]) -> Fanout:
        fanout = self._fanouts.get(groups)
        if fanout is None:
            fanout = self._fanouts[groups] = Fanout(groups)
        return fanout

    def _reroute(self, group: Group, change: Callable[[tuple[Group, ...]], tuple[Group, ...]]) -> None:
        """A group has come or gone: change the fanouts of the topics that it wants, and look at no others."""
        changed: dict[Fanout, Fanout] = {}
        for route in self._routes_by_topic.matching(group.selection):
            before = route.fanout
            if before not in changed:
                changed[before] = self._fanout(change(before.groups))
            route.fanout = changed[before]


def _give_all(batch: Batch, roles: list[BookRole], groups: tuple[Group, ...]) -> tuple[Group, ...]:
    """Give a batch to groups that want all of it, as their options say."""
    chunks: dict[Options, Chunk] = {}
    for group in groups:
        chunk = chunks.get(group.options)
        if chunk is None:
            data = batch.blob if group.options == PLAIN else encode(batch.records, group.options)
            chunk = chunks[group.options] = Chunk(data, roles, batch.offsets, group.options)
        group.chunks.append(chunk)
    return groups


def _give_parts(batch: Batch, roles: list[BookRole], bits: list[int], wanted: dict[Group, int]) -> None:
    """Give each group those records of a batch whose bits are among its own."""
    offsets = batch.offsets
    places: dict[int, list[int]] = {}  # by bit
    for place, bit in enumerate(bits):
        places.setdefault(bit, []).append(place)
    lines: dict[Options, list[bytes]] = {PLAIN: batch.lines}
    chunks: dict[Hashable, Chunk] = {}
    for group, mask in wanted.items():
        options = group.options
        key = mask if options is PLAIN else (mask, options)
        chunk = chunks.get(key)
        if chunk is None:
            if options not in lines:
                lines[options] = pieces(encode(batch.records, options), options)
            written = lines[options]
            at = places.get(mask) or [place for place, bit in enumerate(bits) if bit & mask]
            chunk = chunks[key] = (
                Chunk(written[at[0]], (roles[at[0]],), (offsets[at[0]],), options)
                if len(at) == 1
                else Chunk(
                    b"".join([written[i] for i in at]),
                    [roles[i] for i in at],
                    [offsets[i] for i in at],
                    options,
                )
            )
        group.chunks.append(chunk)
