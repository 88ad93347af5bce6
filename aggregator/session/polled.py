"""The records in one poll's answers: each once, with a gap if something may be missing between two answers."""

from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping

from aggregator.exchange import Poll
from aggregator.records import CHANNEL_OF, Cause, Channel, Health, Instrument, Record, Source, TopicState, Trade
from aggregator.sequence import unnumbered
from aggregator.session.moment import Now
from aggregator.session.order_book import BookTopic
from aggregator.session.status import SessionStatus, TopicStatus, topic_status
from aggregator.session.subscriptions import Key
from aggregator.session.summaries import Counts
from aggregator.session.topics import (
    Origin,
    Sized,
    Standing,
    Topic,
    TopicCheckpoint,
    happen,
    health,
    topic_class,
    unread,
)

MOST_RESTED = 1000  # topics that are not wanted any more, and whose last answer is remembered

Identity = tuple[object, int]


class PolledTrades(Sized):
    """Trades of overlapping answers: each once, by id, and a gap where two answers do not overlap."""

    __slots__ = ("_seen", "before")

    def __init__(
        self, raw_symbol: str | None, instrument: Instrument | None, place: Origin, carried: TopicCheckpoint
    ) -> None:
        super().__init__("trades", raw_symbol, instrument, place, carried)
        self._seen: set[Identity] = set()
        self.before: frozenset[Identity] = frozenset()  # published before nobody wanted the topic for a while

    def take_all(self, trades: list[Trade], out: list[Record], now: Now) -> None:
        """Publish the trades that the answer before did not hold; `trades` is one whole answer, oldest first."""
        names = identities(trades)
        if self._seen and names and self._seen.isdisjoint(names):
            self.open_gap("overflow", out, now)  # more trades in between than one answer holds
        first = not self.count
        for name, trade in zip(names, trades, strict=True):
            if name not in self._seen and name not in self.before:
                if first:
                    trade.flags = ("snapshot",)
                self.accept(trade, out, now)
        self._seen = set(names) or self._seen
        self.before = frozenset()

    @property
    def seen(self) -> frozenset[Identity]:
        """The trades of the last answer."""
        return frozenset(self._seen or self.before)


def identities(trades: list[Trade]) -> list[Identity]:
    """The key that tells an answer's trades apart: the id, or else all fields, and a number among equal ones."""
    counts: Counter[object] = Counter()
    names: list[Identity] = []
    for trade in trades:
        said = trade.id or (trade.ts_event, trade.price, trade.size, trade.side)
        counts[said] += 1
        names.append((said, counts[said]))
    return names


class Polling:
    """The answers of one declared poll; no I/O, no clock."""

    def __init__(
        self,
        exchange: str,
        poll: Poll,
        *,
        conn: str,
        instruments: Mapping[str, Instrument],
        wanted: Collection[Key] | None = None,
        carried: Mapping[Key, TopicCheckpoint] | None = None,
        source: Source = "rest",
    ) -> None:
        """Without `wanted` topics every record is taken."""
        self.exchange = exchange
        self.poll = poll
        self.conn = conn
        self.bad = 0
        self._instruments = instruments
        self._wanted = wanted
        self._carried = dict(carried or {})
        self._source: Source = source
        self._topics: dict[Key, Topic] = {}
        self._rested: dict[Key, frozenset[Identity]] = {}  # trades last published of topics that nobody wants now
        self._place = Origin(exchange, conn)
        self._counts = Counts(self._place)

    def open(self, now: Now) -> None:
        """Asking begins."""
        self._counts.begin(now)

    @property
    def changes(self) -> int:
        """How often a topic's state or gap has changed."""
        return self._place.changes

    def health(self, key: Key, now: Now) -> Health | None:
        """A topic's state; null: there is no such topic."""
        topic = self._topics.get(key)
        return None if topic is None else health(topic, now)

    def states(self) -> Counter[TopicState]:
        """How many topics are in each state now."""
        return Counter(topic.state for topic in self._topics.values())

    def status(self) -> SessionStatus:
        """Tell what its answers have brought."""
        counts = self._counts
        return SessionStatus(frames=counts.frames, bytes=counts.bytes, unread=self.bad, refused=counts.refused)

    def topics(self, now: Now) -> Iterator[TopicStatus]:
        """Each topic as it stands."""
        return (topic_status(topic, now) for topic in list(self._topics.values()))

    def want(self, gone: Collection[Key], carried: Mapping[Key, TopicCheckpoint], now: Now) -> list[Record]:
        """Change the wanted topics. Those that are no longer wanted end; `carried` are checkpoints of the others."""
        out: list[Record] = []
        self._carried.update(carried)
        for key in gone:
            topic = self._topics.pop(key, None)
            if topic is not None:
                topic.close_gap(out, now, "none")
                happen(topic, "unwanted", out, now, "no longer wanted")
                self._counts.forget(topic)
            if isinstance(topic, PolledTrades) and topic.seen:
                self._rested[key] = topic.seen
                if len(self._rested) > MOST_RESTED:
                    del self._rested[next(iter(self._rested))]
        for key in sorted(self._wanted or (), key=str):
            if key not in self._topics:
                happen(self._topic(*key), "asked", out, now)
        return out

    def receive(self, raw_symbol: str, body: bytes, now: Now) -> list[Record]:
        """Read one answer; one that cannot be read is a gap of cause `parse_error`."""
        out: list[Record] = []
        self._counts.frames += 1
        self._counts.bytes += len(body)
        try:
            self._take(list(self.poll.parse(raw_symbol, body)), out, now)
        except Exception:  # noqa: BLE001 - whatever a hostile answer provokes, it is one answer lost
            self.bad += 1
            self._counts.unread += 1
            gap = unread(self._place, self.bad, raw_symbol or None, now)
            instrument = self._instruments.get(raw_symbol)
            gap.symbol = instrument.symbol if instrument else None
            out.append(gap)
            return out
        for topic in self._told_of(raw_symbol):
            if topic.gap is None:
                happen(topic, "answered" if topic.heard or not self.poll.many else "asked", out, now)
        return out

    def _told_of(self, raw_symbol: str) -> list[Topic]:
        """The topics that an answer tells of."""
        if self.poll.many:
            return list(self._topics.values())
        found = (self._topics.get((channel, raw_symbol)) for channel in self.poll.channels)
        return [topic for topic in found if topic is not None]

    def _take(self, records: list[Record], out: list[Record], now: Now) -> None:
        trades: dict[str | None, list[Trade]] = {}
        for record in records:
            channel = CHANNEL_OF[type(record)]
            if self._wanted is not None and (channel, record.raw_symbol) not in self._wanted:
                continue
            topic = self._topic(channel, record.raw_symbol)
            record.exchange, record.symbol = self.exchange, topic.symbol
            record.ts_recv, record.conn, record.source = now.wall, self.conn, self._source
            topic.heard = now.mono
            if isinstance(record, Trade):
                trades.setdefault(record.raw_symbol, []).append(record)
            else:
                topic.accept(record, out, now)
        for symbol, answered in trades.items():
            topic = self._topic("trades", symbol)
            if isinstance(topic, PolledTrades):
                topic.take_all(answered, out, now)

    def failed(self, raw_symbol: str, reason: str, now: Now) -> list[Record]:
        """Tell that no answer came; it is told once, until one comes again."""
        out: list[Record] = []
        self._counts.refused += 1
        if self._wanted is None:  # a replay has no other word of topics that were never answered
            for channel in self.poll.channels:
                self._topic(channel, raw_symbol or None)
        for topic in self._told_of(raw_symbol):
            happen(topic, "unanswered", out, now, reason)
        return out

    def tick(self, now: Now) -> list[Record]:
        """Give the summary if it is due. Call it about every second."""
        out: list[Record] = []
        self._counts.tick(self._topics.values(), out, now)
        return out

    def bye(self, reason: str, now: Now) -> list[Record]:
        """The last summary."""
        return [self._counts.summary(self._topics.values(), now, reason)]

    def close(self, cause: Cause, now: Now) -> list[Record]:
        """Note that asking has stopped, so that the next answer comes after a hole."""
        out: list[Record] = []
        for topic in self._topics.values():
            if topic.heard:
                topic.open_gap(cause, out, now)
        return out

    def carried(self) -> dict[Key, TopicCheckpoint]:
        """The checkpoints that the next start begins with."""
        return self._carried | {key: topic.carried() for key, topic in self._topics.items()}

    def standing(self) -> Iterator[Standing]:
        """How each topic stands while asking goes on."""
        wanted = self._wanted or ()
        for key in dict.fromkeys([*wanted, *self._topics, *self._carried]):
            topic = self._topics.get(key)
            if topic is not None:
                yield Standing(key, topic.carried(), topic.symbol, bool(topic.heard) or key in wanted)
                continue
            instrument = self._instruments.get(key[1] or "")
            symbol = instrument.symbol if instrument else None
            yield Standing(key, self._carried.get(key) or TopicCheckpoint(), symbol, key in wanted)

    def _topic(self, channel: Channel, raw_symbol: str | None) -> Topic:
        topic = self._topics.get((channel, raw_symbol))
        if topic is None:
            topic = self._topics[channel, raw_symbol] = self._new_topic(channel, raw_symbol)
        return topic

    def _new_topic(self, channel: Channel, raw_symbol: str | None) -> Topic:
        instrument = self._instruments.get(raw_symbol or "")
        place = self._place
        carried = self._carried.pop((channel, raw_symbol), None) or TopicCheckpoint()
        if channel == "trades":
            trades = PolledTrades(raw_symbol, instrument, place, carried)
            trades.before = self._rested.pop((channel, raw_symbol), frozenset())
            return trades
        if channel == "book":
            return BookTopic(
                raw_symbol,
                instrument,
                place,
                carried,
                rule=unnumbered,
                depth=None,
                crosses=False,
                joins=True,
                checksum=None,
                verify=0,
                needs=deque(maxlen=0),  # the next answer is a whole book anyway
                in_band=True,
                requested=False,
            )
        return topic_class(channel, instrument)(channel, raw_symbol, instrument, place, carried)
