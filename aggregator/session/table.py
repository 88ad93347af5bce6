"""The topics of one connection, found by record type and symbol, and made when they are first needed."""

from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial

from msgspec import Struct

from aggregator.exchange import Stream
from aggregator.records import (
    CHANNEL_OF,
    CHANNELS,
    BookSnapshot,
    Channel,
    Instrument,
    OrdersDelta,
    OrdersSnapshot,
    Record,
)
from aggregator.sequence import unnumbered
from aggregator.session.moment import Now
from aggregator.session.order_book import BookNeed, BookTopic
from aggregator.session.orders import OrderedBookTopic, OrdersTopic
from aggregator.session.subscriptions import Key
from aggregator.session.topics import Origin, Stated, Topic, TopicCheckpoint, Words, topic_class
from aggregator.session.trades import Notes, Numbered

# The channel whose topic reads a record that a parser gives: a book reads its orders.
READ_BY: dict[type[Record], Channel] = CHANNEL_OF | {OrdersSnapshot: "book", OrdersDelta: "book"}
BEFORE = {"disconnect", "restart"}  # causes of gaps that an earlier connection has left


class TopicContext(Struct, frozen=True):
    """The inputs that every new topic of a connection needs.

    carried: what the connection before left over
    needs: books add to it when they need a whole one from the exchange
    verify: of how many checksums one is computed; 0: none
    words: for states that are not known
    notes: where the last numbers of trades are noted for the run after a process that is killed
    """

    stream: Stream
    place: Origin
    instruments: Mapping[str, Instrument]
    carried: dict[Key, TopicCheckpoint]
    needs: deque[BookNeed]
    verify: int
    words: Words
    notes: Notes | None = None


class TopicTable:
    """The topics of one connection."""

    def __init__(self, context: TopicContext) -> None:
        self._context = context
        self._all: dict[Key, Topic] = {}
        self._made = 0
        self.numbered: dict[int, Topic] = {}  # by their numbers
        self._channels: dict[Channel, dict[str | None, Topic]] = {channel: {} for channel in CHANNELS}
        self.by_type: dict[type, dict[str | None, Topic]] = {
            record: self._channels[channel] for record, channel in READ_BY.items()
        }

    def __iter__(self) -> Iterator[Topic]:
        """Every topic, in the order in which they came."""
        return iter(list(self._all.values()))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._all)

    def get(self, channel: Channel, raw_symbol: str | None) -> Topic | None:
        """A topic, if it is known."""
        return self._all.get((channel, raw_symbol))

    def of(self, channel: Channel) -> Mapping[str | None, Topic]:
        """The topics of one channel, by raw symbol."""
        return self._channels[channel]

    def known(self, channel: Channel, raw_symbol: str | None, now: Now) -> Topic:
        """A topic; it is made if there was none."""
        topic = self._all.get((channel, raw_symbol))
        if topic is None:
            topic = self._all[channel, raw_symbol] = self._make(channel, raw_symbol)
            topic.subscribed = now.mono
            topic.number = self._made = self._made + 1
            self.numbered[topic.number] = topic
            self._context.place.touch(topic)
            self._channels[channel][raw_symbol] = topic
        return topic

    def carry(self, carried: Mapping[Key, TopicCheckpoint]) -> None:
        """Add the checkpoints of topics that are about to be made."""
        self._context.carried.update(carried)

    def forget(self, key: Key) -> None:
        """Remove a topic that is no longer wanted."""
        topic = self._all.pop(key, None)
        if topic is not None:
            del self.numbered[topic.number]
            topic.number = -1
        self._channels[key[0]].pop(key[1], None)

    def fresh(self) -> list[Topic]:
        """The topics of which something has come since they were looked at, in order."""
        return [topic for topic in self._all.values() if topic.heard is not topic.looked_at]

    def is_good(self, channel: Channel, raw_symbol: str | None) -> bool:
        """Tell whether this connection brings all records of a topic from now on, whatever it has missed before."""
        topic = self.get(channel, raw_symbol)
        if topic is None or topic.state in {"down", "stalled"} or (topic.state == "subscribing" and not topic.heard):
            return False
        if isinstance(topic, BookTopic | OrdersTopic):
            return topic.stands
        return topic.gap is None or (topic.gap.cause in BEFORE and not topic.has_skipped)

    def is_whole(self, channel: Channel, raw_symbol: str | None) -> bool:
        """Tell whether nothing of a topic is missing here."""
        topic = self.get(channel, raw_symbol)
        return topic is not None and topic.gap is None and self.is_good(channel, raw_symbol)

    def good(self) -> set[Key]:
        """The topics that this connection can be relied on for now."""
        return {key for key in self._all if self.is_good(*key)}

    def numbers(self) -> dict[Key, int]:
        """The last number of each topic that is numbered."""
        return {key: topic.last for key, topic in self._all.items() if topic.last is not None}

    def books(self, now: Now, raw_symbol: str | None = None) -> list[BookSnapshot]:
        """Every book that can be trusted now (or the one of `raw_symbol`), as records."""
        books = self._channels["book"]
        topics = books.values() if raw_symbol is None else [books[raw_symbol]] if raw_symbol in books else []
        found = (topic.snapshot(now) for topic in topics if isinstance(topic, BookTopic))
        return [snapshot for snapshot in found if snapshot is not None]

    def orders(self, now: Now, raw_symbol: str | None) -> list[OrdersSnapshot]:
        """Every order of a book that can be trusted now, as a record; none where it is not told order by order."""
        topic = self._channels["book"].get(raw_symbol)
        found = topic.orders(now) if isinstance(topic, OrderedBookTopic) else None
        return [] if found is None else [found]

    @property
    def is_heard(self) -> bool:
        """Tell whether anything but acknowledgements has come."""
        return any(topic.heard for topic in self._all.values())

    def carried(self) -> dict[Key, TopicCheckpoint]:
        """The checkpoints that the next connection begins with."""
        return self._context.carried | {key: topic.carried() for key, topic in self._all.items()}

    def unmet(self) -> dict[Key, TopicCheckpoint]:
        """The checkpoints of topics that are not made yet."""
        return self._context.carried

    def _make(self, channel: Channel, raw_symbol: str | None) -> Topic:
        context = self._context
        stream, place = context.stream, context.place
        instrument = context.instruments.get(raw_symbol or "")
        carried = context.carried.pop((channel, raw_symbol), None) or TopicCheckpoint()
        rule = stream.sequence.get(channel)
        if channel == "orders":
            return OrdersTopic(channel, raw_symbol, instrument, place, carried)
        if channel == "book":
            make = (
                partial(OrderedBookTopic, beside=self._channels["orders"]) if "orders" in stream.channels else BookTopic
            )
            return make(
                raw_symbol,
                instrument,
                place,
                carried,
                rule=rule or unnumbered,
                depth=stream.depth,
                crosses=stream.crosses,
                joins=stream.periodic_joins,
                checksum=stream.checksum,
                verify=context.verify,
                needs=context.needs,
                in_band=stream.snapshot is None or stream.snapshot.in_band,
                requested=stream.snapshot is not None,
            )
        if rule is not None:
            notes = context.notes if channel == "trades" else None
            return Numbered(channel, raw_symbol, instrument, place, carried, rule, notes)
        if channel == "status":
            return Stated(raw_symbol, instrument, place, carried, context.words)
        return topic_class(channel, instrument)(channel, raw_symbol, instrument, place, carried)
