"""The positions of the stream of a shard, topic by topic: whoever takes over goes on behind them.

Two members get the same records of an exchange, each by connections of its own and at moments of its own. A record is
known again as redundant connections know it: by the exchange's number or id; a trade that has neither by its time and
content; what tells how something stands by the exchange's time and content, or without a time by when it came.
"""

from collections import Counter, deque
from collections.abc import Collection

from msgspec import UNSET, Struct, structs

from aggregator.records import (
    CHANNEL_OF,
    SECOND_NS,
    BookDelta,
    BookSnapshot,
    Candle,
    Channel,
    Gap,
    Health,
    Instrument,
    Liquidation,
    OrdersDelta,
    OrdersSnapshot,
    Record,
    Trade,
)

REMEMBERED_NS = 60 * SECOND_NS  # no ring holds anything any more that a stream held so long ago
WHOLE = (BookSnapshot, BookDelta, OrdersSnapshot, OrdersDelta)

Topic = tuple[Channel, str | None]
Identity = tuple[object, ...]


class TopicPosition(Struct, eq=False):
    """How far the stream is with one topic.

    symbol: the unified name, as the newest record has it
    at: when the newest record had come to whoever published it, ns
    last: the largest number of trades; of a book that of the newest change
    newest: the largest time that the exchange gives of trades without numbers, ns
    shown: of what tells how something stands the newest, by interval where there are several
    """

    symbol: str | None = None
    at: int = 0
    last: int | None = None
    newest: int = 0
    shown: dict[str, Record] = {}

    def __post_init__(self) -> None:
        self.shown = {}


class Positions:
    """How far the stream is.

    sure: channels of books whose numbers say which record it is
    """

    def __init__(self, sure: Collection[Channel] = ()) -> None:
        self.sure = frozenset(sure)
        self.topics: dict[Topic, TopicPosition] = {}
        self.gaps: dict[str, Gap] = {}  # those that are open there
        self.states: dict[tuple[Topic, str], Health] = {}  # the topics that are not down there, by connection
        self.at = 0
        self._seen: Counter[Identity] = Counter()
        self._order: deque[tuple[int, Identity]] = deque()

    def note(self, record: Record) -> None:
        """Take note of a record that the stream holds."""
        if isinstance(record, Gap):
            self._note_gap(record)
        elif isinstance(record, Health):
            self._note_state(record)
        elif (channel := CHANNEL_OF.get(type(record))) is not None:
            self._note_data(channel, record)

    def _note_gap(self, gap: Gap) -> None:
        if gap.phase == "open":
            self.gaps[gap.gap_id] = gap
        else:
            self.gaps.pop(gap.gap_id, None)

    def _note_state(self, state: Health) -> None:
        key = (state.channel, state.raw_symbol), state.conn
        if state.state == "down":
            self.states.pop(key, None)
        else:
            self.states[key] = state

    def _note_data(self, channel: Channel, record: Record) -> None:
        key, came = (channel, record.raw_symbol), record.ts_recv
        topic = self.topics.get(key)
        if topic is None:
            topic = self.topics[key] = TopicPosition()
        topic.symbol = record.symbol
        topic.at = max(topic.at, came)
        if came > self.at and not isinstance(record, Instrument | BookSnapshot | OrdersSnapshot):
            self.at = came  # those are told at other moments too
        if isinstance(record, Trade | Liquidation):
            self._remember((*key, *identity_of(record)), came)
            if record.sequence is not None:
                topic.last = max(topic.last or 0, record.sequence)
            elif record.ts_event is not None:
                topic.newest = max(topic.newest, record.ts_event)
        elif isinstance(record, WHOLE):
            if record.sequence is not None:
                is_new = isinstance(record, BookSnapshot | OrdersSnapshot) or topic.last is None
                topic.last = record.sequence if is_new else max(topic.last or 0, record.sequence)
        else:
            topic.shown[kind_of(record)] = record

    def _remember(self, identity: Identity, at: int) -> None:
        self._seen[identity] += 1
        self._order.append((at, identity))
        while self._order[0][0] < at - REMEMBERED_NS:
            _, old = self._order.popleft()
            self._seen[old] -= 1
            if self._seen[old] <= 0:
                del self._seen[old]

    def is_behind(self, record: Record) -> bool:
        """Tell whether a numbered record is one that the stream has passed over."""
        channel = CHANNEL_OF.get(type(record))
        topic = None if channel is None else self.topics.get((channel, record.raw_symbol))
        number = None if topic is None else topic.last
        return number is not None and record.sequence is not None and record.sequence < number

    def holds(self, record: Record, count: int = 1) -> bool:
        """Tell whether the stream holds a record that came another way.

        count: how many trades of this identity have come that way, this one among them
        """
        channel = CHANNEL_OF.get(type(record))
        topic = None if channel is None else self.topics.get((channel, record.raw_symbol))
        if channel is None or topic is None:
            return False
        if isinstance(record, Trade | Liquidation):
            return self._seen[channel, record.raw_symbol, *identity_of(record)] >= count
        if isinstance(record, WHOLE):
            if channel not in self.sure or topic.last is None or record.sequence is None:
                return False
            return record.sequence <= topic.last
        return _is_old(record, topic.shown.get(kind_of(record)))

    def shows(self, record: Record) -> bool:
        """Tell whether what the stream holds last of how something stands says the same, whenever it came."""
        channel = CHANNEL_OF.get(type(record))
        topic = None if channel is None else self.topics.get((channel, record.raw_symbol))
        shown = None if topic is None else topic.shown.get(kind_of(record))
        return shown is not None and _is_same(record, shown)


def _is_old(record: Record, shown: Record | None) -> bool:
    """Tell whether how something stands was told already, or is told newer."""
    if shown is None:
        return False
    if record.ts_event is None or shown.ts_event is None:
        return record.ts_recv <= shown.ts_recv
    return record.ts_event < shown.ts_event or (record.ts_event == shown.ts_event and _is_same(record, shown))


def identity_of(record: Trade | Liquidation) -> Identity:
    """The identity of a trade among all others of its market; several that have no name may share it."""
    if record.sequence is not None:
        return (record.sequence,)
    if record.id is not None:
        return (record.id,)
    return record.ts_event, record.side, record.price, record.size


def kind_of(record: Record) -> str:
    """The name of what stands there, of which a topic may have several."""
    if isinstance(record, Candle):
        return f"{record.interval} {record.ts_open}"
    return type(record).__name__ + str(getattr(record, "kind", ""))


def _is_same(one: Record, other: Record) -> bool:
    """Tell whether two records say the same, whenever and however they came."""
    return _said(one) == _said(other)


def _said(record: Record) -> Record:
    return structs.replace(record, ts_sent=None, ts_recv=0, offset=0, conn="", source="", upstream=None, flags=UNSET)
