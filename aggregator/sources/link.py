"""The source `link`: batches of another process of this daemon, passed on as they are, and how its exchanges stand.

A record is not read here, but for those that tell of states, instruments and gaps. A book is kept as lines: the last
whole one, and the changes behind it, which are read once somebody asks for the book. Where these become many, the other
process is asked for a whole one.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from msgspec import structs

from aggregator.book import BadPrice
from aggregator.bus.bus import Bus, TopicKey
from aggregator.bus.passing import PassedBatch, Unpacker
from aggregator.bus.view import Wanted
from aggregator.errors import UNREADABLE
from aggregator.records import (
    CHANNEL_OF,
    BookDelta,
    BookSnapshot,
    Channel,
    Gap,
    Health,
    Instrument,
    Record,
    TopicState,
    channel_of,
    decode_record,
)
from aggregator.sources.topics import PassedTopic

LEAST_BEHIND_BYTES = 64 * 1024  # changes behind a whole book weigh less than this,
BEHIND = 8  # or so many times as much as the book, before another whole one is asked for
READ = (Gap, Health, Instrument)  # these are read as they pass
SAMPLED = 32  # one batch of so many is counted by exchange
Place = tuple[Channel, str | None]  # channel and raw symbol, within an exchange

AskWhole = Callable[[str, str], object]


class LinkedBook:
    """A book as its lines, and as it is read of them once somebody asks."""

    __slots__ = ("asked", "behind", "lines", "size", "topic", "whole")

    def __init__(self, topic: PassedTopic) -> None:
        self.topic = topic
        self.lines: list[bytes] = []  # those that are not read yet
        self.whole = 0  # bytes of the last whole one; 0: there is none
        self.behind = 0  # bytes of the changes behind it
        self.asked = False  # for a whole one

    def begin(self, line: bytes) -> None:
        """Take a whole one."""
        self.lines = [line]
        self.whole, self.behind, self.asked = len(line), 0, False
        self.topic.book = None

    def change(self, line: bytes) -> bool:
        """Take a change; tells whether there are too many."""
        if not self.whole:
            return False
        self.lines.append(line)
        self.behind += len(line)
        if self.asked or self.behind < max(LEAST_BEHIND_BYTES, BEHIND * self.whole):
            return False
        self.asked = True
        return True

    def doubt(self) -> None:
        """There is none until the next whole one."""
        self.lines.clear()
        self.whole, self.asked = 0, False
        self.topic.book = None

    def read(self, now: int) -> BookSnapshot | None:
        """The book as a record; null: there is none that can be trusted."""
        if not self.whole:
            return None
        lines, self.lines = self.lines, []
        try:
            for line in lines:
                self.topic.take(decode_record(line), self.topic.last_ns or now)
        except BadPrice:
            self.topic.book = None
        return self.topic.whole("request")


class LinkedExchange:
    """One exchange of another process, as its records and words have told it: a view (`bus/view.py`).

    gaps: those that are open
    """

    def __init__(self, exchange: str, bus: Bus) -> None:
        self.exchange = exchange
        self.records = 0.0  # about how many have come
        self.gaps: dict[Place, Gap] = {}
        self._bus = bus
        self._topics: dict[Place, PassedTopic] = {}
        self._books: dict[str | None, LinkedBook] = {}
        self._wanted: dict[tuple[Channel, str], Wanted] = {}
        bus.views.add(exchange, self)

    def topic(self, channel: Channel, raw_symbol: str | None, symbol: str | None) -> PassedTopic:
        """A topic; it is new where nothing has come of it."""
        found = self._topics.get((channel, raw_symbol))
        if found is None:
            found = self._topics[channel, raw_symbol] = PassedTopic((self.exchange, channel, raw_symbol), symbol, self)
        return found

    def kept_book(self, raw_symbol: str | None, symbol: str | None) -> LinkedBook:
        """The lines of a book."""
        found = self._books.get(raw_symbol)
        if found is None:
            found = self._books[raw_symbol] = LinkedBook(self.topic("book", raw_symbol, symbol))
        return found

    def expect(self, wanted: Sequence[Wanted]) -> None:
        """Take note of topics that are wanted."""
        self._wanted |= {(each.channel, each.raw_symbol): each for each in wanted}
        self._bus.views.tell(wanted)

    def note(self, record: Record) -> None:
        """Take note of a gap, a state or an instrument."""
        if isinstance(record, Instrument):
            self._list(record)
        if not isinstance(record, Gap | Health):
            return
        if isinstance(record, Gap):
            self.note_gap(record)
        for topic in self._meant(record):
            topic.note(record)
            if topic.channel == "book" and isinstance(record, Gap) and record.phase == "open":
                book = self._books.get(topic.raw_symbol)
                if book is not None:
                    book.doubt()

    def _list(self, instrument: Instrument) -> None:
        key = instrument.exchange, instrument.symbol or instrument.raw_symbol or ""
        if instrument.change == "delist":
            self._bus.instruments.pop(key, None)
        else:
            self._bus.instruments[key] = structs.replace(instrument, offset=0)

    def note_gap(self, gap: Gap) -> None:
        """Take note of a gap alone: also of one that an earlier run has left open."""
        if gap.channel is None:
            return
        place = gap.channel, gap.raw_symbol
        if gap.phase == "open":
            self.gaps[place] = structs.replace(gap, offset=0)
        elif (known := self.gaps.get(place)) is not None and known.gap_id == gap.gap_id:
            del self.gaps[place]

    def _meant(self, record: Gap | Health) -> list[PassedTopic]:
        """The topics that a record is about; where it names none, those of its connection."""
        channel, line = channel_of(record), record.conn.partition("#")[0]
        if channel is not None and record.raw_symbol is not None:
            return [self.topic(channel, record.raw_symbol, record.symbol)]
        if isinstance(record, Health) and channel is not None:
            return [self.topic(channel, None, None)]
        return [t for t in self._topics.values() if channel in {None, t.channel} and _may_be_on(t, line)]

    def handed_over(self) -> None:
        """Another process goes on with it, which knows nothing of what the one before was asked for."""
        for book in self._books.values():
            book.asked = False

    def leave(self) -> None:
        """Answer no more for this exchange."""
        self._bus.views.remove(self.exchange, self)

    # --- as a view

    def book(self, raw_symbol: str) -> BookSnapshot | None:
        """The live book of a market; null: there is none that can be trusted."""
        found = self._books.get(raw_symbol)
        return None if found is None else found.read(time.monotonic_ns())

    def books(self) -> Iterator[BookSnapshot]:
        """Every live book."""
        now = time.monotonic_ns()
        for book in list(self._books.values()):
            if (found := book.read(now)) is not None:
                yield found

    def health(self, channel: Channel, raw_symbol: str | None) -> Iterator[Health]:
        """The state of a topic, from each connection that carries a part of it."""
        topic = self._topics.get((channel, raw_symbol))
        if topic is not None and (topic.states or topic.last_ns is not None):
            yield from topic.healths(time.monotonic_ns())

    def wanted(self) -> Iterator[Wanted]:
        """Every topic that is wanted."""
        return iter(list(self._wanted.values()))

    def states(self, is_meant: Callable[[str | None], bool] | None = None) -> Iterator[Counter[TopicState]]:
        """How many topics are in each state; `is_meant` tells of a raw symbol whether its topics are."""
        topics = [topic for topic in self._topics.values() if is_meant is None or is_meant(topic.raw_symbol)]
        yield Counter(topic.state for topic in topics if topic.states or topic.last_ns is not None)


def _may_be_on(topic: PassedTopic, line: str) -> bool:
    return not topic.conn or topic.conn.partition("#")[0] == line


class LinkReader:
    """Takes what one other process sends, in order.

    exchanges: those that it has
    ask_whole: asks it for the whole book of a market
    gone: exchanges that it has let go: books that come of these still are older than the stream
    heard: is told each batch that was passed on, while somebody wants that; null: nobody does
    came: about how many records have come of each exchange
    """

    def __init__(self, bus: Bus, exchanges: dict[str, LinkedExchange], ask_whole: AskWhole) -> None:
        self.gone: set[str] = set()
        self.heard: Callable[[PassedBatch], object] | None = None
        self.came: Counter[str] = Counter()
        self.last_ts = 0  # the time of the last record that was passed on
        self.records = 0
        self._bus = bus
        self._exchanges = exchanges
        self._ask_whole = ask_whole
        self._unpacker = Unpacker()
        self._topics: list[PassedTopic | None] = []  # by the numbers of the other process
        self._read: set[int] = set()  # numbers of topics whose records are read
        self._books: dict[int, tuple[LinkedBook, bool]] = {}  # by number: whether a record is a whole one
        self._seen: set[int] = set()  # all of these
        self._batches = 0

    def take(self, frame: memoryview) -> None:
        """Pass a batch on. Raises BadPassage."""
        bus = self._bus
        batch = self._unpacker.unpack(frame, bus.epoch, bus.offset + 1)
        bus.offset += batch.count
        self.records += batch.count
        self._learn()
        self._look(batch)
        self.last_ts = batch.last_ts
        bus.hand_on(batch)
        if self.heard is not None:
            self.heard(batch)

    def take_whole(self, frame: memoryview) -> None:
        """Take a whole book that was asked for. Raises BadPassage."""
        batch = self._unpacker.unpack(frame, self._bus.epoch, self._bus.offset)
        self._learn()
        for number, line in zip(batch.ids, batch.lines, strict=True):
            book, _ = self._books.get(number, (None, False))
            if book is not None and book.whole and book.topic.exchange not in self.gone:
                book.begin(line)

    def _learn(self) -> None:
        """Take note of topics that have come for the first time."""
        keys = self._unpacker.keys
        for number in range(len(self._topics), len(keys)):
            self._topics.append(self._met(number, keys[number]))

    def meet(self, id: str) -> None:
        """Know the topics of an exchange anew: what was known of it before is gone."""
        for number, key in enumerate(self._unpacker.keys):
            if key[1] == id:
                self._topics[number] = self._met(number, key)

    def _met(self, number: int, key: TopicKey) -> PassedTopic | None:
        kind, id, raw_symbol, symbol = key
        exchange = self._exchanges.get(id)
        if kind in READ:
            self._read.add(number)
            self._seen.add(number)
        channel = CHANNEL_OF.get(kind)
        if exchange is None or channel is None:
            return None
        if kind in {BookSnapshot, BookDelta}:
            self._books[number] = exchange.kept_book(raw_symbol, symbol), kind is BookSnapshot
            self._seen.add(number)
        return exchange.topic(channel, raw_symbol, symbol)

    def _look(self, batch: PassedBatch) -> None:
        """Keep what a batch tells of states, instruments and books."""
        present = set(batch.ids)
        now, topics = time.monotonic_ns(), self._topics
        for number in present:
            topic = topics[number]
            if topic is not None:
                topic.last_ns = now
        if not self._seen.isdisjoint(present):
            self._keep(batch)
        self._batches += 1
        if self._batches % SAMPLED == 0:
            for id, count in Counter(key[1] for key in batch.keys).items():
                self.came[id] += count * SAMPLED
                if (exchange := self._exchanges.get(id)) is not None:
                    exchange.records += count * SAMPLED

    def _keep(self, batch: PassedBatch) -> None:
        """Keep the lines of books, and read what tells of others, in order."""
        books, read = self._books, self._read
        for at, (number, line) in enumerate(zip(batch.ids, batch.lines, strict=True)):
            found = books.get(number)
            if found is not None:
                book, is_whole = found
                if is_whole:
                    book.begin(line)
                elif book.change(line):
                    self._ask_whole(book.topic.exchange, book.topic.raw_symbol or "")
            elif number in read:
                with suppress(*UNREADABLE):
                    record = batch.record(at)
                    if (exchange := self._exchanges.get(record.exchange)) is not None:
                        exchange.note(record)
