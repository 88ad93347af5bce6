"""A tally of the stream since the daemon began: gaps, connections that ended, and their yield.

Only gaps, states and summaries are looked at, which are few: the bus hands on nothing else here.
A connection's own counts begin anew with each; its summaries, the last at its end, add up to all of them.
"""

import time
from bisect import bisect_left
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from aggregator.bus.bus import OF_THE_STREAM, Batch
from aggregator.ingest.status import PollStatus, ShardStatus
from aggregator.records import CHANNEL_OF, SECOND_NS, Cause, Channel, Gap, Health, Record, Summary

if TYPE_CHECKING:
    from aggregator.daemon.words import ToldLags

LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # bounds of the histogram
MOST_REMEMBERED = 5000  # topics whose latest events are remembered
EVENTS = 12  # so many of each
MOST_OPEN = 100_000  # gaps that are known to be open
ENDED = 1000  # connections that have ended, and are remembered until nobody counts them as living any more

# How connections end, by the first words of their `bye`: few enough to be labels.
ENDS = {
    "closed by the exchange": "closed",
    "line lost": "lost",
    "replaced": "replaced",
    "no longer wanted": "unwanted",
    "cannot connect": "unreachable",
    "hung up": "abuse",
    "the exchange refuses the keys": "keys",
    "an error of our own": "error",
}


class TopicEvent(Struct, frozen=True):
    """Something that happened to a topic.

    ts: when (ns)
    conn: on which connection
    words: what
    """

    ts: int
    conn: str
    words: str


class Yield(Struct):
    """The yield of connections: frames, their bytes, records, and frames that could not be read."""

    frames: int = 0
    bytes: int = 0
    records: int = 0
    unread: int = 0

    def add(self, other: "Yield | Summary") -> None:
        """Add what others have brought."""
        self.frames += other.frames
        self.bytes += other.bytes
        self.records += other.records
        self.unread += other.unread


class ExchangeTally:
    """The counts of one exchange, since the daemon began.

    gaps: by channel ("" for all of a connection) and cause
    resyncs: books that were whole again after a gap
    ends: connections that have ended, by the kind of reason
    clock_offset_ms: the newest of each connection that lives
    """

    def __init__(self) -> None:
        self.gaps: Counter[tuple[Channel | str, Cause]] = Counter()
        self.resyncs = 0
        self.ends: Counter[str] = Counter()
        self.clock_offset_ms: dict[str, float] = {}
        self._over = Yield()  # the yield of connections that have ended
        self._told: dict[str, Yield] = {}  # by living connection, what its summaries have told
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._open: dict[str, None] = {}  # ids of gaps
        self._best = Yield()

    def gap(self, gap: Gap) -> None:
        """Count a gap once: when it opens, or when it is told as one that is over."""
        if gap.phase == "open":
            self._open[gap.gap_id] = None
            if len(self._open) > MOST_OPEN:
                del self._open[next(iter(self._open))]
        elif gap.gap_id in self._open:
            del self._open[gap.gap_id]
            self.resyncs += gap.channel == "book"  # a new whole book repairs nothing of what was missed
            return
        self.gaps[gap.channel or "", gap.cause] += 1

    def summary(self, told: Summary) -> None:
        """Add up what a connection tells."""
        self._told.setdefault(told.conn, Yield()).add(told)
        if told.bye is None:
            self._ended.pop(told.conn, None)  # an exchange that was begun anew names its connections as before
            if told.clock_offset_ms is not None:
                self.clock_offset_ms[told.conn] = told.clock_offset_ms
            return
        self._over.add(self._told.pop(told.conn))
        self.clock_offset_ms.pop(told.conn, None)
        self._ended[told.conn] = None
        if len(self._ended) > ENDED:
            self._ended.popitem(last=False)
        self.ends[kind_of_end(told.conn, told.bye)] += 1

    def total(self, shards: Iterable[ShardStatus], polls: Iterable[PollStatus], records: int) -> Yield:
        """All that was brought, with what the living connections have; it never falls.

        records: that the topics of the living connections have published
        """
        found = Yield(self._over.frames, self._over.bytes, self._over.records + records, self._over.unread)
        lines = [(line.conn, line.session) for shard in shards for line in shard.connections]
        for conn, session in [*lines, *((f"{poll.name}#1", poll.session) for poll in polls)]:
            if conn not in self._ended:
                found.add(Yield(session.frames, session.bytes, 0, session.unread))
        best = self._best
        self._best = Yield(
            max(best.frames, found.frames),
            max(best.bytes, found.bytes),
            max(best.records, found.records),
            max(best.unread, found.unread),
        )
        return self._best


class Lags:
    """How long records were on their way, as a histogram.

    counts: by bucket; the last one is for all that is longer
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(LAG_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(LAG_S, seconds)] += 1
        self.sum_s += max(0.0, seconds)  # a clock that is behind gives less than nothing


class StreamTally:
    """The counts of the whole stream."""

    def __init__(self) -> None:
        self.exchanges: dict[str, ExchangeTally] = {}
        self.lags: dict[tuple[str, Channel], Lags] = {}
        self._events: OrderedDict[tuple[Channel | None, str, str | None], deque[TopicEvent]] = OrderedDict()

    def take(self, batch: Batch) -> None:
        """Look at a batch that holds something of the kind."""
        kinds = [key[0] for key in batch.keys]
        self._look([batch.record(at) for at, kind in enumerate(kinds) if kind in OF_THE_STREAM])

    def of(self, exchange: str) -> ExchangeTally:
        """The counts of one exchange."""
        return self.exchanges.setdefault(exchange, ExchangeTally())

    def _look(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.upstream is not None:  # another daemon's own
                continue
            if isinstance(record, Gap):
                self.of(record.exchange).gap(record)
                self._remember(record.channel, record, _gap_words(record))
            elif isinstance(record, Health):
                reason = f": {record.reason}" if record.reason else ""
                self._remember(record.channel, record, f"{record.state}{reason}")
            elif isinstance(record, Summary):
                self.of(record.exchange).summary(record)

    def _remember(self, channel: Channel | None, record: Record, words: str) -> None:
        key = channel, record.exchange, record.raw_symbol
        events = self._events.get(key)
        if events is None:
            events = self._events[key] = deque(maxlen=EVENTS)
            if len(self._events) > MOST_REMEMBERED:
                self._events.popitem(last=False)
        else:
            self._events.move_to_end(key)
        events.append(TopicEvent(record.ts_recv or time.time_ns(), record.conn, words))

    def events(self, channel: Channel, exchange: str, raw_symbol: str | None) -> list[TopicEvent]:
        """The latest events of a topic, and those of its whole connection, in order."""
        found = [
            event
            for key in ((channel, exchange, raw_symbol), (channel, exchange, None), (None, exchange, None))
            for event in self._events.get(key, ())
        ]
        return sorted(dict.fromkeys(found), key=lambda event: event.ts)

    def told_lags(self, told: "Iterable[ToldLags]") -> None:
        """Take what other processes have counted, in place of what they told before; several may have parts of one."""
        found: dict[tuple[str, Channel], Lags] = {}
        for each in told:
            lags = found.setdefault((each.exchange, each.channel), Lags())
            lags.counts = [count + more for count, more in zip(lags.counts, each.counts, strict=True)]
            lags.sum_s += each.sum_s
        self.lags |= found

    def measure(self, records: Iterable[Record]) -> None:
        """Count how long the newest of some records was on its way, where it says when it was sent."""
        for record in records:
            sent, channel = record.ts_sent or record.ts_event, CHANNEL_OF.get(type(record))
            if sent and channel is not None and record.source == "ws" and not record.flags:
                self.lags.setdefault((record.exchange, channel), Lags()).add((record.ts_recv - sent) / SECOND_NS)
                return


def kind_of_end(conn: str, bye: str) -> str:
    """The kind of a connection's end, one of a few."""
    words = bye.removeprefix(f"{conn}: ")
    if words.startswith("silent"):
        return "silent"
    if "cannot be read" in words:
        return "unreadable"
    return next((kind for first, kind in ENDS.items() if words.startswith(first)), "other")


def _gap_words(gap: Gap) -> str:
    missed = "" if gap.missed is None else f", {gap.missed} missed"
    if gap.phase == "open":
        return f"gap opened: {gap.cause}{missed}"
    repair = f", repair {gap.repair}" if gap.repair else ""
    return f"gap closed: {gap.cause}{missed}{repair}"
