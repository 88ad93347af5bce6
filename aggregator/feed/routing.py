"""The way of records to subscribers: found once per topic, and joined once for all who want the same."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import NamedTuple
from weakref import WeakValueDictionary

from aggregator.bus.bus import Batch
from aggregator.bus.selection import ALONE, KIND, Pattern, RecordTopic, Selection, topic_of
from aggregator.bus.view import Wanted
from aggregator.feed.formats import PLAIN, Options, encode
from aggregator.feed.index import TopicIndex
from aggregator.feed.subscriber_queue import Book, Chunk, Place, Ring
from aggregator.records import BookDelta, BookSnapshot, Channel, Health, Record, channel_of

NOTHING = Selection(())


class Wish(NamedTuple):
    """The wish of a subscriber; those with the same wish make one audience."""

    patterns: frozenset[str]
    options: Options


class Audience:
    """Subscribers of one and the same wish."""

    __slots__ = ("chunks", "options", "rings", "selection")

    def __init__(self, selection: Selection, options: Options) -> None:
        self.selection = selection
        self.options = options
        self.rings: dict[Ring, None] = {}
        self.chunks: list[Chunk] = []  # since the last tick


class Crowd:
    """The audiences that want a topic. Topics with the same audiences share one crowd, so it is told by identity."""

    __slots__ = ("__weakref__", "audiences")

    def __init__(self, audiences: tuple[Audience, ...]) -> None:
        self.audiences = audiences


class Route:
    """Where the records of one kind and topic go."""

    __slots__ = ("crowd", "place", "topic")

    def __init__(self, topic: RecordTopic, place: Place, crowd: Crowd) -> None:
        self.topic = topic
        self.place = place
        self.crowd = crowd


ELSEWHERE = Place(None, False)  # the place of all records that belong to no book  # noqa: FBT003


class Known(NamedTuple):
    """A topic that has been seen."""

    channel: Channel
    exchange: str
    raw_symbol: str


class Routes:
    """The audiences, the topics seen so far, and the route of each."""

    def __init__(self) -> None:
        """Know no one and nothing."""
        self.known: dict[Known, RecordTopic] = {}
        self._begun: set[Book] = set()  # books of which a snapshot has been seen
        self._known_by_topic: TopicIndex[Known] = TopicIndex()  # filed under "health" too, which tells their states
        self._unnamed: dict[tuple[Channel, str], None] = {}  # channels and exchanges of topics without a symbol
        self._routes: dict[Hashable, Route] = {}
        self._routes_by_topic: TopicIndex[Route] = TopicIndex()
        self._crowds: WeakValueDictionary[tuple[Audience, ...], Crowd] = WeakValueDictionary()
        self._audiences: dict[Wish, Audience] = {}
        self._wishes: dict[Ring, Wish] = {}

    def join(self, ring: Ring, patterns: dict[str, Pattern], options: Options) -> None:
        """Put a ring into the audience of its wish, and out of the one that it was in."""
        self.leave(ring)
        if not patterns:
            return
        wish = Wish(frozenset(patterns), options)
        audience = self._audiences.get(wish)
        if audience is None:
            audience = self._audiences[wish] = Audience(Selection(patterns.values()), options)
            self._reroute(audience, lambda others: (*others, audience))
        audience.rings[ring] = None
        self._wishes[ring] = wish

    def leave(self, ring: Ring) -> None:
        """The ring wants nothing more."""
        wish = self._wishes.pop(ring, None)
        if wish is None:
            return
        audience = self._audiences[wish]
        del audience.rings[ring]
        if not audience.rings:
            del self._audiences[wish]
            self._reroute(audience, lambda before: tuple(other for other in before if other is not audience))

    def selection_of(self, ring: Ring) -> Selection:
        """Everything that a ring wants."""
        wish = self._wishes.get(ring)
        return NOTHING if wish is None else self._audiences[wish].selection

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

    def wants_book(self, ring: Ring, book: Book) -> bool:
        """Tell whether a ring is still to have a book."""
        topic = self.known.get(Known("book", book[0], book[1] or ""))
        return topic is not None and self.selection_of(ring).wants(topic)

    def names(self) -> list[str]:
        """The topics seen so far as text, by unified symbol where there is one, sorted."""
        return sorted(f"{known.channel}:{known.exchange}:{topic.names[0]}" for known, topic in self.known.items())

    def distribute(self, batch: Batch) -> Iterable[Audience]:
        """Add the batch's records to those who want them, joined once for each set that is wanted; who got some."""
        known = self._routes
        routes = [known.get((type(r), r.exchange, r.raw_symbol, r.symbol)) or self._find(r) for r in batch.records]
        places = [route.place for route in routes]
        crowds = dict.fromkeys([route.crowd for route in routes])
        if len(crowds) == 1:
            return _give_all(batch, places, routes[0].crowd.audiences)
        bits = {crowd: 1 << bit for bit, crowd in enumerate(crowds)}
        wanted: dict[Audience, int] = {}  # the crowds that an audience is in, as bits
        for crowd, bit in bits.items():
            for audience in crowd.audiences:
                wanted[audience] = wanted.get(audience, 0) | bit
        if wanted:
            _give_parts(batch, places, [bits[route.crowd] for route in routes], wanted)
        return wanted

    def _find(self, record: Record) -> Route:
        """The route of a record that tells of another topic, or of a topic that has not been seen before."""
        key: Hashable = (type(record), record.exchange, record.raw_symbol, record.symbol)
        if type(record) in KIND:
            key = (key, channel_of(record))
        return self._routes.get(key) or self._meet(key, record)

    def _meet(self, key: Hashable, record: Record) -> Route:
        """Find the way of a topic that has not been seen before; a book that starts in its middle is awaited."""
        topic = topic_of(record)
        crowd = self._crowd(tuple(a for a in self._audiences.values() if a.selection.wants(topic)))
        book = (record.exchange, record.raw_symbol) if isinstance(record, BookSnapshot | BookDelta) else None
        if book is not None and isinstance(record, BookDelta) and book not in self._begun:
            for ring in (ring for audience in crowd.audiences for ring in audience.rings):
                ring.await_book(book, is_new=True)
        self.learn(record, topic)
        place = ELSEWHERE if book is None else Place(book, isinstance(record, BookSnapshot))
        route = self._routes[key] = Route(topic, place, crowd)
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

    def _crowd(self, audiences: tuple[Audience, ...]) -> Crowd:
        crowd = self._crowds.get(audiences)
        if crowd is None:
            crowd = self._crowds[audiences] = Crowd(audiences)
        return crowd

    def _reroute(self, audience: Audience, change: Callable[[tuple[Audience, ...]], tuple[Audience, ...]]) -> None:
        """An audience has come or gone: change the crowds of the topics that it wants, and look at no others."""
        changed: dict[Crowd, Crowd] = {}
        for route in self._routes_by_topic.matching(audience.selection):
            before = route.crowd
            if before not in changed:
                changed[before] = self._crowd(change(before.audiences))
            route.crowd = changed[before]


def _give_all(batch: Batch, places: list[Place], audiences: tuple[Audience, ...]) -> tuple[Audience, ...]:
    """Give a batch to audiences that want all of it, as their options say."""
    records = batch.records
    chunks: dict[Options, Chunk] = {}
    for audience in audiences:
        chunk = chunks.get(audience.options)
        if chunk is None:
            data = batch.blob if audience.options == PLAIN else encode(records, audience.options)
            offsets = range(records[0].offset, records[-1].offset + 1)
            chunk = chunks[audience.options] = Chunk(data, places, offsets)
        audience.chunks.append(chunk)
    return audiences


def _give_parts(batch: Batch, places: list[Place], bits: list[int], wanted: dict[Audience, int]) -> None:
    """Give each audience those records of a batch whose bits are among its own."""
    records = batch.records
    lines: dict[Options, list[bytes]] = {PLAIN: batch.lines}
    chunks: dict[tuple[int, Options], Chunk] = {}
    for audience, mask in wanted.items():
        options = audience.options
        chunk = chunks.get((mask, options))
        if chunk is None:
            if options not in lines:
                lines[options] = encode(records, options).splitlines(keepends=True)
            written = lines[options]
            at = [at for at, bit in enumerate(bits) if bit & mask]
            chunk = chunks[mask, options] = Chunk(
                b"".join([written[i] for i in at]),
                [places[i] for i in at],
                [records[i].offset for i in at],
            )
        audience.chunks.append(chunk)
