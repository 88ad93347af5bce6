"""The counts of one connection or one poll, which its summary tells each minute and at its end."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from statistics import median_low

from aggregator.records import MS_NS, SECOND_NS, Bbo, BookDelta, Record, Summary, Trade
from aggregator.session.moment import Now
from aggregator.session.topics import Origin, Topic

EVERY_NS = 60 * SECOND_NS
LONGEST_NS = 2**63  # an integer of a frame may have hundreds of digits
SAMPLES = 120  # the quickest of so many latest ones, one a second, is told
LOOKED_AT = 100  # records that are searched each second for one that says when it was sent: many say it never
AT_ONCE = (Trade, BookDelta, Bbo)  # records that are sent when they happen


class Counts:
    """The figures of one connection, in all and since its last summary.

    Who owns it adds up `frames`, `bytes`, `refused` and `unread`, and sets `has_news`: a call for each read of a socket
    would cost too much.
    """

    __slots__ = (
        "_due",
        "_from",
        "_gone",
        "_late",
        "_latencies",
        "_looks",
        "_place",
        "_quickest",
        "_ticked",
        "_told",
        "bytes",
        "frames",
        "has_news",
        "is_to_look",
        "refused",
        "unread",
    )

    def __init__(self, place: Origin) -> None:
        self.frames = self.bytes = self.refused = self.unread = 0
        self.is_to_look = True  # True: `look` is to be called with the records of the next read
        self.has_news = False  # True: a frame has told something since the last tick: heartbeats tell nothing
        self._looks = LOOKED_AT
        self._place = place
        self._gone: Counter[str] = Counter()  # the counts of topics that were forgotten
        self._told: Counter[str] = Counter()  # all that had been counted at the last summary
        self._from: int | None = None
        self._due = 0
        self._ticked = 0
        self._late = 0
        self._latencies: list[int] = []
        self._quickest: deque[int] = deque(maxlen=SAMPLES)

    def begin(self, now: Now) -> None:
        """Begin to count: the connection stands."""
        self._from = now.wall
        self._due = now.mono + EVERY_NS
        self._ticked = now.mono

    def look(self, records: Sequence[Record]) -> None:
        """Measure the latency of the first of these records that says when it was sent."""
        self._looks -= len(records)
        self.is_to_look = self._looks > 0
        for record in records:
            sent = record.ts_sent or (record.ts_event if isinstance(record, AT_ONCE) else None)
            if sent and record.source == "ws" and not record.flags:
                took = record.ts_recv - sent
                if abs(took) > LONGEST_NS:
                    continue  # no time of these days
                self._latencies.append(took)
                self._quickest.append(took)
                self.is_to_look = False
                return

    def forget(self, topic: Topic) -> None:
        """Keep the counts of a topic that is being removed."""
        self._gone.update(records=topic.count, opened=topic.opened, closed=topic.closed)

    def tick(self, topics: Iterable[Topic], out: list[Record], now: Now) -> None:
        """Measure how late this call is, and give the summary if it is due. Call it each second."""
        self.is_to_look, self._looks = True, LOOKED_AT
        self._late = max(self._late, now.mono - self._ticked - SECOND_NS)
        self._ticked = now.mono
        if now.mono >= self._due:
            self._due = now.mono + EVERY_NS
            out.append(self.summary(topics, now))

    def summary(self, topics: Iterable[Topic], now: Now, bye: str | None = None) -> Summary:
        """All that was counted since the last one, as a record."""
        topics = list(topics)
        states = Counter(topic.state for topic in topics)
        counted = Counter(
            frames=self.frames,
            bytes=self.bytes,
            records=sum(topic.count for topic in topics),
            unread=self.unread,
            opened=sum(topic.opened for topic in topics),
            closed=sum(topic.closed for topic in topics),
            refused=self.refused,
        )
        counted += self._gone
        new = counted - self._told
        found = Summary(
            exchange=self._place.exchange,
            symbol=None,
            ts_recv=now.wall,
            conn=self._place.conn,
            source="derived",
            ts_from=now.wall if self._from is None else self._from,
            frames=new["frames"],
            bytes=new["bytes"],
            records=new["records"],
            unread=new["unread"],
            gaps_opened=new["opened"],
            gaps_closed=new["closed"],
            refused=new["refused"],
            subscribing=states["subscribing"],
            syncing=states["syncing"],
            live=states["live"],
            quiet=states["quiet"],
            stalled=states["stalled"],
            suspect=states["suspect"],
            down=states["down"],
            latency_ms=_ms(median_low(self._latencies)) if self._latencies else None,
            latency_max_ms=_ms(max(self._latencies)) if self._latencies else None,
            clock_offset_ms=_ms(min(self._quickest)) if self._quickest else None,
            pause_ms=_ms(self._late),
            bye=bye,
        )
        self._told, self._from, self._late = counted, now.wall, 0
        self._latencies.clear()
        return found


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / MS_NS, 3)
