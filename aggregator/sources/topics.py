"""The stream of sources as it stands: topics, their states and books are kept from the records that pass.

It is a view of each exchange of which something comes, as a runner is of an exchange that is gathered here.
"""

import time
from collections.abc import Container, Iterable, Iterator
from typing import Literal

from aggregator.book import BadPrice, OrderBook, limit, within
from aggregator.bus.view import Views, Wanted
from aggregator.records import (
    CHANNEL_OF,
    MS_NS,
    BookDelta,
    BookSnapshot,
    Channel,
    Gap,
    Health,
    Record,
    TopicState,
    Upstream,
    channel_of,
)

GOOD = frozenset({"live", "quiet"})
Key = tuple[str, Channel, str | None]  # exchange, channel, raw symbol
Owner = object  # the source that brings a topic


class PassedTopic:
    """A topic that comes by a source.

    conn: the connection of its newest record, there
    states: by connection there, as the stream has told them last: the state and its reason
    gap: it is open while the link is broken, and until a book is whole again
    book: null while there is none that can be trusted
    last_ns: when its newest record came here, by the monotonic clock; null: none has yet
    """

    __slots__ = (
        "_cap",
        "_depth",
        "_floor",
        "_last",
        "book",
        "channel",
        "conn",
        "exchange",
        "gap",
        "last_ns",
        "owner",
        "raw_symbol",
        "states",
        "symbol",
        "upstream",
    )

    def __init__(self, key: Key, symbol: str | None, owner: Owner) -> None:
        self.exchange, self.channel, self.raw_symbol = key
        self.symbol = symbol
        self.owner = owner
        self.conn = ""
        self.states: dict[str, tuple[TopicState, str | None]] = {}
        self.gap: Gap | None = None
        self.book: OrderBook | None = None
        self.last_ns: int | None = None
        self.upstream: Upstream | None = None
        self._last: Record | None = None
        self._floor: str | None = None
        self._cap: str | None = None
        self._depth: int | None = None

    @property
    def reason(self) -> str | None:
        """Why it is in its state, as the other daemon has told it; null: that has told none, or the link is broken."""
        if self.gap is not None:
            return None
        state = self.state
        return next((why for found, why in self.states.values() if found == state), None)

    @property
    def state(self) -> TopicState:
        """The best of its states; `suspect` while its link is broken."""
        if self.gap is not None:
            return "suspect"
        found = [state for state, _ in self.states.values()]
        return next((state for state in found if state in GOOD), found[0] if found else "live")

    def take(self, record: Record, now: int) -> None:
        """Take a record of its channel."""
        self.conn, self.last_ns, self.upstream = record.conn, now, record.upstream
        self.symbol = record.symbol or self.symbol
        if isinstance(record, BookDelta):
            if self.book is None:
                return
            try:
                self.book.apply(record.bids, record.asks)
            except BadPrice:
                self.book = None
        elif isinstance(record, BookSnapshot):
            self.book = OrderBook(record.bids, record.asks, record.depth)
            self._floor, self._cap, self._depth = record.bid_floor, record.ask_cap, record.depth
        self._last = record

    def note(self, record: Gap | Health) -> None:
        """Take a gap or a state that concerns it."""
        line = record.conn.partition("#")[0]
        if isinstance(record, Gap):
            if record.phase == "open":
                self.book = None
                self._settle(line, record.conn, ("suspect", record.cause))
            elif record.cause != "parse_error":
                self._settle(line, record.conn, ("live", None))
            return
        self.conn = self.conn or record.conn
        self._settle(line, record.conn, (record.state, record.reason))

    def _settle(self, line: str, conn: str, stands: tuple[TopicState, str | None]) -> None:
        for other in [other for other in self.states if _is_part(other.partition("#")[0], line)]:
            del self.states[other]
        self.states[conn] = stands

    def whole(self, reason: Literal["resync", "request"]) -> BookSnapshot | None:
        """The book as a record; null: there is none that can be trusted."""
        last, book = self._last, self.book
        if book is None or last is None:
            return None
        try:
            bids, asks = book.bids(), book.asks()
        except BadPrice:
            self.book = None
            return None
        found = BookSnapshot(
            exchange=self.exchange,
            symbol=self.symbol,
            raw_symbol=self.raw_symbol,
            ts_recv=time.time_ns(),
            conn=self.conn,
            source="derived",
            upstream=self.upstream,
            flags=("snapshot",),
            sequence=last.sequence,
            bids=within(bids, 1, self._floor),
            asks=within(asks, -1, self._cap),
            bid_floor=self._floor,
            ask_cap=self._cap,
            depth=self._depth,
            reason=reason,
        )
        limit(found)
        return found

    def healths(self, now: int) -> Iterator[Health]:
        """Its states as records: one for each connection that carries it there."""
        stands = self.states or {self.conn: ("live", None)}
        for conn, (state, reason) in stands.items():
            said: tuple[TopicState, str | None] = (state, reason)
            if self.gap is not None:
                said = "suspect", f"the way by which it comes is broken: {self.gap.cause}"
            yield Health(
                exchange=self.exchange,
                symbol=self.symbol,
                raw_symbol=self.raw_symbol,
                ts_recv=time.time_ns(),
                conn=conn,
                source="derived",
                upstream=self.upstream,
                channel=self.channel,
                state=said[0],
                reason=said[1],
                age_ms=None if self.last_ns is None else max(0, now - self.last_ns) // MS_NS,
            )


def _is_part(one: str, other: str) -> bool:
    """Tell whether two names mean the same line, or one of them the whole feed that the other is a line of."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


class _View:
    """One exchange of those that come by sources."""

    def __init__(self, exchange: str) -> None:
        self.exchange = exchange
        self.topics: dict[Key, PassedTopic] = {}

    def book(self, raw_symbol: str) -> BookSnapshot | None:
        """The live book of a market; null: there is none that can be trusted."""
        topic = self.topics.get((self.exchange, "book", raw_symbol))
        return None if topic is None or topic.gap is not None else topic.whole("request")

    def books(self) -> Iterator[BookSnapshot]:
        """Every live book."""
        for topic in self.topics.values():
            if topic.book is not None and topic.gap is None and (found := topic.whole("request")) is not None:
                yield found

    def health(self, channel: Channel, raw_symbol: str | None) -> Iterator[Health]:
        """The state of a topic, one for each connection that carries it there."""
        topic = self.topics.get((self.exchange, channel, raw_symbol))
        if topic is not None:
            yield from topic.healths(time.monotonic_ns())

    def wanted(self) -> Iterator[Wanted]:
        """Every topic that comes."""
        for topic in self.topics.values():
            if topic.raw_symbol is not None:
                yield Wanted(topic.channel, topic.exchange, topic.raw_symbol, topic.symbol)


class PassedTopics:
    """The topics of all sources. Each comes by one of them alone, and none of an exchange that is gathered here."""

    def __init__(self, views: Views, gathered: Container[str]) -> None:
        """Begin without a topic; `gathered` are the exchanges that this daemon gathers itself, as that changes."""
        self._views = views
        self._gathered = gathered
        self._exchanges: dict[str, _View] = {}
        self.topics: dict[Key, PassedTopic] = {}

    def take(self, record: Record, owner: Owner, now: int) -> str | None:
        """Take a record into account; tells why it is to be left out, null: it is to be passed on."""
        exchange = record.exchange
        if exchange in self._gathered:
            return f"{exchange} is gathered here"
        kind = type(record)
        channel = CHANNEL_OF.get(kind)
        if channel is None:
            return self._note(record, owner)
        if channel == "instruments":
            return None
        topic = self.topics.get((exchange, channel, record.raw_symbol))
        if topic is None:
            topic = self.add((exchange, channel, record.raw_symbol), record.symbol, owner)
        if topic.owner is not owner:
            return self._other(topic)
        topic.take(record, now)
        return None

    def _note(self, record: Record, owner: Owner) -> str | None:
        """Take a gap, a state or a summary."""
        if not isinstance(record, Gap | Health):
            return None
        channel = channel_of(record)
        if channel is None or (isinstance(record, Gap) and not (record.symbol or record.raw_symbol)):
            line = record.conn.partition("#")[0]
            for topic in list(self._of(record.exchange)):
                is_meant = channel in {None, topic.channel} and topic.conn.partition("#")[0] == line
                if is_meant and topic.owner is owner:
                    topic.note(record)
            return None
        key = record.exchange, channel, record.raw_symbol
        found = self.topics.get(key) or self.add(key, record.symbol, owner)
        if found.owner is not owner:
            return self._other(found)
        found.note(record)
        return None

    def add(self, key: Key, symbol: str | None, owner: Owner) -> PassedTopic:
        """A topic that has not been seen before."""
        exchange = key[0]
        view = self._exchanges.get(exchange)
        if view is None:
            view = self._exchanges[exchange] = _View(exchange)
            self._views.add(exchange, view)
        topic = self.topics[key] = view.topics[key] = PassedTopic(key, symbol, owner)
        if topic.raw_symbol is not None:
            self._views.tell([Wanted(topic.channel, exchange, topic.raw_symbol, symbol)])
        return topic

    def forget(self, owner: Owner) -> None:
        """Let go the topics that came by a source: they may come by another now."""
        self._let_go(self.of(owner))

    def forget_exchange(self, exchange: str) -> None:
        """Let go the topics of an exchange: it is gathered here now."""
        self._let_go(list(self._of(exchange)))

    def _let_go(self, topics: Iterable[PassedTopic]) -> None:
        for topic in topics:
            key = topic.exchange, topic.channel, topic.raw_symbol
            view = self._exchanges[topic.exchange]
            del self.topics[key], view.topics[key]
            if not view.topics:
                del self._exchanges[topic.exchange]
                self._views.remove(topic.exchange, view)

    @property
    def count(self) -> int:
        """How many topics there are."""
        return len(self.topics)

    def of(self, owner: Owner) -> list[PassedTopic]:
        """The topics that come by a source."""
        return [topic for topic in self.topics.values() if topic.owner is owner]

    def _of(self, exchange: str) -> Iterator[PassedTopic]:
        view = self._exchanges.get(exchange)
        return iter(()) if view is None else iter(view.topics.values())

    @staticmethod
    def _other(topic: PassedTopic) -> str:
        return f"{topic.channel}:{topic.exchange}:{topic.symbol or topic.raw_symbol or '*'} comes by another source"
