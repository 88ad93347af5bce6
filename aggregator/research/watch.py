"""One topic of a recording as its records pass: when it was followed, when something was missing, and what it holds."""

from collections.abc import Sequence

from msgspec import Struct, structs

from aggregator.records import (
    BookDelta,
    BookSnapshot,
    Candle,
    Channel,
    Funding,
    Gap,
    Health,
    Liquidation,
    OrdersDelta,
    OrdersSnapshot,
    Record,
    Trade,
    is_hole,
)
from aggregator.research.chains import BookChain, NumberChain, ToldGap
from aggregator.research.spans import DAY_NS, Span
from aggregator.sequence import Rule

GOOD = frozenset({"live", "quiet"})  # states in which everything comes that there is
# Reasons with which a topic ends because nobody wants it any more.
UNWANTED = frozenset(
    {
        "no longer wanted",
        "nobody asks for it any more",
        "paused by the operator",
        "the market is no longer listed, or not asked for",
    }
)
OF_THE_TOPIC = frozenset({"sequence", "checksum", "crossed", "stalled"})  # noticed by what came, or did not, of it
OF_THE_LINE = frozenset({"disconnect", "restart", "paused"})


class DayCounts(Struct):
    """Counts of one topic's records of one day.

    late: those that came late, or were asked for afterwards, and say so
    twice: those whose number had come before
    ahead: those that happened, by the exchange's clock, after they came; `ahead_ns` by how much at most
    back: those that happened before the one that came before; `back_ns` likewise
    bad_ts: those that came, by our clock, before the one that came before on their connection; `unflagged` of them
        do not say so
    delay_ns: the longest time between when one happened and when it came, of those that came live
    """

    records: int = 0
    late: int = 0
    twice: int = 0
    ahead: int = 0
    ahead_ns: int = 0
    back: int = 0
    back_ns: int = 0
    bad_ts: int = 0
    unflagged: int = 0
    delay_ns: int = 0

    def plus(self, others: "DayCounts") -> "DayCounts":
        """Those of records that were asked for afterwards besides, which are only counted."""
        return structs.replace(self, records=self.records + others.records, late=self.late + others.late)


class Carrier(Struct, eq=False):
    """One connection.

    name: of the connection, without what stands for its answers by REST
    shard: whose connection it is; several come one after the other
    heard: when it last brought something
    """

    name: str
    shard: str
    stream: str
    heard: int = 0


class TopicWatch:
    """One topic.

    followed: when it was wanted
    bad: when no connection was good, or it was not known
    gaps: those that were told of it alone
    shards: whose connections have carried it
    rule: how the exchange numbers it; null: it does not, or (unless `is_known`) nobody knows
    """

    __slots__ = (
        "_event",
        "_good",
        "_open",
        "_since",
        "_tally",
        "_told",
        "_worse",
        "bad",
        "book",
        "channel",
        "day",
        "epoch",
        "exchange",
        "followed",
        "gaps",
        "is_known",
        "last",
        "numbers",
        "raw_symbol",
        "rule",
        "shards",
        "symbol",
        "tallies",
        "wide",
    )

    def __init__(self, channel: Channel, record: Record, epoch: str) -> None:
        """Begin with the first record of it, or about it."""
        self.exchange = record.exchange
        self.channel: Channel = channel
        self.symbol, self.raw_symbol = record.symbol, record.raw_symbol
        self.epoch = epoch
        self.rule: Rule | None = None
        self.is_known = False
        self.followed: list[Span] = []
        self.bad: list[Span] = []
        self.gaps: list[ToldGap] = []
        self.shards: set[str] = set()
        self.tallies: dict[int, DayCounts] = {}
        self.numbers: NumberChain | None = None
        self.book: BookChain | None = None
        self.last = 0  # when its last record came
        self.day = -1
        self.wide = 0  # how many gaps of the whole exchange were told before its last record
        self._event = 0
        self._good: set[str] = set()
        self._since: int | None = record.ts_recv  # since when it has been followed; null: it is not
        self._worse: int | None = record.ts_recv  # since when no connection has been good; null: one is
        self._open: dict[str, ToldGap] = {}
        self._told: list[ToldGap] = []  # gaps since the last record
        self._tally = DayCounts()

    # --- what comes

    def take(self, record: Record, carrier: Carrier, told: Sequence[ToldGap]) -> DayCounts:
        """Take a record of it; `told` are gaps of the whole exchange since the one before. Gives the day's tally."""
        ts = record.ts_recv
        if ts // DAY_NS != self.day:
            self.day = ts // DAY_NS
            self._tally = self.tallies.setdefault(self.day, DayCounts())
        tally = self._tally
        tally.records += 1
        flags = record.flags or ()
        is_late = "late" in flags or "backfill" in flags
        if is_late:
            tally.late += 1
        if record.ts_event is not None:
            self._time(record, record.ts_event, tally, is_live=not flags)
        if record.source != "backfill":
            if carrier.name not in self._good:
                self.begin(ts, carrier)
            if not is_late:
                self.last = ts
        if self.numbers is not None or self.book is not None:
            tally.twice += self._follow(record, told)
        if self._told:
            self._told.clear()
        return tally

    def _follow(self, record: Record, told: Sequence[ToldGap]) -> int:
        """Follow the exchange's numbers; how many records came twice."""
        numbers, book = self.numbers, self.book
        before = (numbers or book or NumberChain()).twice
        if numbers is not None and isinstance(record, Trade | Liquidation):
            numbers.take(record, (*self._told, *self._open.values(), *told))
            return numbers.twice - before
        if book is not None and isinstance(record, BookDelta | OrdersDelta):
            book.take(record)
            return book.twice - before
        if book is not None and isinstance(record, BookSnapshot | OrdersSnapshot):
            book.begin(record)
        return 0

    def _time(self, record: Record, event: int, tally: DayCounts, *, is_live: bool) -> None:
        delay = record.ts_recv - event
        if delay < 0:
            tally.ahead += 1
            tally.ahead_ns = max(tally.ahead_ns, -delay)
        if not is_live or isinstance(record, Candle | Funding | BookSnapshot | OrdersSnapshot):
            return  # it is told anew, or of another time
        tally.delay_ns = max(tally.delay_ns, delay)
        if event < self._event:
            tally.back += 1
            tally.back_ns = max(tally.back_ns, self._event - event)
        else:
            self._event = event

    # --- whether it is followed, and by a good connection

    def begin(self, ts: int, carrier: Carrier | None) -> None:
        """A connection is good from now on; null: it is followed, no more is known."""
        if self._since is None:
            self._since = self._worse = ts
        if carrier is not None:
            self.shards.add(carrier.shard)
            self._good.add(carrier.name)
            if self._worse is not None:
                self.bad.append((self._worse, ts))
                self._worse = None

    def fail(self, ts: int, name: str) -> None:
        """A connection is not good any more."""
        self._good.discard(name)
        if not self._good and self._worse is None:
            self._worse = ts

    def stand(self, health: Health, carrier: Carrier) -> None:
        """Take the state of the topic on one connection."""
        ts = health.ts_recv
        if health.state in GOOD:
            self.begin(ts, carrier)
            return
        self.begin(ts, None)
        self.shards.add(carrier.shard)
        self.fail(ts, carrier.name)
        if health.state == "down" and health.reason in UNWANTED and not self._good:
            self.end(ts)
            if self.numbers is not None:
                self.numbers.rest()

    def end(self, ts: int) -> None:
        """Nobody follows it any more."""
        if self._since is not None:
            if self._worse is not None:
                self.bad.append((self._worse, ts))
            self.followed.append((self._since, ts))
        self._since = self._worse = None

    def resume(self, epoch: str, ended: int) -> None:
        """Another life of the daemon follows it; the one before ended at `ended`, and nothing is known until now."""
        self.epoch = epoch
        self._good.clear()
        if self._since is not None and self._worse is None:
            self._worse = ended
        if self.book is not None:
            self.book.doubt()

    # --- gaps of it

    def gap(self, gap: Gap, carrier: Carrier) -> None:
        """Take a gap of this topic alone."""
        self.shards.add(carrier.shard)
        if gap.phase == "open":
            if gap.gap_id in self._open:
                return
            self.begin(gap.ts_recv, None)
            self._open[gap.gap_id] = self._told_of(gap, carrier)
            if self.book is not None:
                self.book.doubt()
            if gap.cause in OF_THE_LINE:
                self.fail(gap.ts_recv, carrier.name)
            return
        told = self._open.pop(gap.gap_id, None)
        if told is None:  # it is over at once, or its beginning is not there
            told = self._told_of(gap, carrier)
            if is_hole(gap):
                self.lose(gap.ts_from)
        else:
            self.begin(gap.ts_recv, carrier)
        told.close(gap)
        self._told.append(told)

    def _told_of(self, gap: Gap, carrier: Carrier) -> ToldGap:
        """Note a gap: it is told when it is noticed, after the last good record.

        Where numbers show each hole, it may lie anywhere behind the last record, if there is one. Where there are none,
        the topic is taken for quiet as long as its connection brought anything else.
        """
        start = back = gap.ts_from
        if self.last and gap.cause in OF_THE_TOPIC:
            start = back = min(start, self.last)
        elif self.last and gap.cause == "disconnect":
            start = back = min(start, max(self.last, carrier.heard))
        if self.last and gap.cause in OF_THE_LINE and self.is_numbered:
            back = min(start, self.last)
        told = ToldGap(
            cause=gap.cause, ts_from=start, ts_back=back, missed=gap.missed, expected=gap.expected, got=gap.got
        )
        self.gaps.append(told)
        return told

    @property
    def is_numbered(self) -> bool:
        """Tell whether each hole shows in its numbers."""
        return self.rule is not None and self.rule.sure

    def lose(self, ts: int) -> None:
        """Records of it are missing in what was written, not in what came."""
        if self.book is not None and self.last:
            self.book.lose(ts)
