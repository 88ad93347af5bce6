"""Several connections that carry the same topics, as one stream: each record once, no gap while one of them is good.

Where an exchange numbers its records the first arrival wins; where it does not, one connection (the owner of the topic)
is followed until it fails. A number that none of the connections has brought is told as missing. Used while one
connection replaces another, and for as long as redundancy is wanted.
"""

from collections.abc import Collection
from typing import Any

from msgspec import Struct, structs

from aggregator.exchange import Stream
from aggregator.records import (
    CHANNEL_OF,
    SECOND_NS,
    BookDelta,
    BookSnapshot,
    Candle,
    Channel,
    Gap,
    Liquidation,
    OrdersSnapshot,
    Record,
    Summary,
    Trade,
)
from aggregator.sequence import NEXT, STALE, Judge, contiguous
from aggregator.session.arbitrated import ArbitratedLine, Position
from aggregator.session.moment import Now
from aggregator.session.subscriptions import Key
from aggregator.session.topics import closed, with_flag

REMEMBERED = 10_000  # numbers or ids of a topic's latest trades
MOST_HOLES = 64  # ranges of numbers of one topic that are waited for at once
MOST_LEFT = 500  # topics that are no longer wanted, and trades of each, that are remembered
BEHIND_NS = 10 * SECOND_NS  # a line that is left alone may be so much slower than the one that has gone
WHOLE: tuple[Channel, ...] = ("book", "orders")  # channels whose changes are of use only behind a whole state

# The fields of a record that say how it came, and not what it says.
OF_THE_WAY = frozenset({"ts_sent", "ts_recv", "offset", "conn", "source", "flags"})

UNKNOWN = (0, 0)  # a moment that is not told
TradeId = int | str | tuple[tuple[object, ...], int]


class PublishedTopic(Struct, eq=False):
    """The state of one topic as it was published.

    first: the line that carried it alone until the others came; null: they began together
    heard: when (monotonic ns) the owner last brought something; 0: not yet
    last: the last number published: of a book that stands, or of numbered trades
    at: when (wall clock, ns) that was published; of what came before the others, the exchange's own time
    holes: numbers of trades that were passed over, as the gaps that they will be, and when (monotonic ns) that was
    before: the last number of trades when the others came
    newest: the exchange's time of the newest trade then
    seen: trades that were published, and when (monotonic ns), the oldest first
    brought: how often a line has brought trades that have no name and are alike
    shown: of what tells how something stands the latest (by interval, where there are several), and whose it was
    """

    owner: ArbitratedLine
    first: ArbitratedLine | None = None
    heard: int = 0
    last: int | None = None
    at: int = 0
    holes: list[tuple[int, Gap]] = []
    before: int | None = None
    newest: int = 0
    judge: Judge | None = None
    gap: Gap | None = None
    seen: dict[TradeId, int] = {}
    brought: dict[tuple[str, tuple[object, ...]], int] = {}
    shown: dict[str, tuple[str, Record]] = {}

    def __post_init__(self) -> None:
        self.seen, self.brought, self.shown, self.holes = {}, {}, {}, []

    def is_new(self, id: TradeId, now: int) -> bool:
        """Tell whether a trade was not published yet; it counts as published from now on."""
        if id in self.seen:
            return False
        self.seen[id] = now
        _shorten(self.seen)
        return True

    def id_of(self, line: ArbitratedLine, record: Trade | Liquidation) -> TradeId | None:
        """The identity of a trade, whichever line brings it; null: it has none.

        One that the exchange neither numbers nor names is known by its time and content: the second of its kind on one
        line is the second on every other.
        """
        if record.sequence is not None:
            return record.sequence
        if record.id is not None:
            return record.id
        if record.ts_event is None:
            return None
        content: tuple[object, ...] = (record.ts_event, record.side, record.price, record.size)
        count = self.brought[line.conn, content] = self.brought.pop((line.conn, content), 0) + 1
        _shorten(self.brought)
        return content, count

    def was_before(self, record: Trade | Liquidation, *, is_first_here: bool) -> bool:
        """Tell whether a trade of a line that came later was published before that came, or given up."""
        if record.sequence is not None:
            return self.before is not None and record.sequence <= self.before
        if record.ts_event is None:
            return False
        # The first line will still tell what else is of this very time, unless it has gone.
        return record.ts_event <= self.newest if is_first_here else record.ts_event < self.newest

    def fill(self, first: int, last: int) -> None:
        """Take these numbers from the holes: they have come, or a gap has told them."""
        if last < first:
            return  # the numbers begin anew
        left: list[tuple[int, Gap]] = []
        for since, gap in self.holes:
            begin, end = gap.expected or 0, gap.got or 0
            if last < begin or end <= first:
                left.append((since, gap))
                continue
            for expected, got in ((begin, min(end, first)), (max(begin, last + 1), end)):
                if expected < got:
                    name = f"{gap.gap_id.rpartition(':')[0]}:{expected}"
                    kept = structs.replace(gap, gap_id=name, expected=expected, got=got, missed=got - expected)
                    left.append((since, kept))
        self.holes = left

    def is_news(self, line: ArbitratedLine, record: Record) -> bool:
        """Tell whether something stands otherwise than another line has told before; it counts as told from now on."""
        interval = record.interval if isinstance(record, Candle) else ""
        whose, shown = self.shown.get(interval, (line.conn, record))
        if whose != line.conn:
            time, before = _moment(record), _moment(shown)
            if time < before or (time == before != UNKNOWN and _is_same(record, shown)):
                return False
        self.shown[interval] = line.conn, record
        return True


def _shorten(kept: dict[Any, int]) -> None:
    """Let go of the oldest, where there are too many."""
    if len(kept) > REMEMBERED:
        del kept[next(iter(kept))]


def _is_ahead(topic: Position, told: PublishedTopic) -> bool:
    """Tell whether a line's book stands behind changes that were not published, and that no gap tells."""
    if topic.last is None or told.last is None:
        return False
    return topic.gap is None and told.gap is None and topic.last > told.last


def _moment(record: Record) -> tuple[int, int]:
    """The exchange's time of what a record tells."""
    return record.ts_open if isinstance(record, Candle) else 0, record.ts_event or 0


def _is_same(one: Record, other: Record) -> bool:
    """Tell whether two records say the same, whenever and however they came."""
    return type(one) is type(other) and all(
        getattr(one, name) == getattr(other, name) for name in one.__struct_fields__ if name not in OF_THE_WAY
    )


class LineScore(Struct):
    """The score of one connection against the others.

    wins: how often it was the first with a record
    losses: how often it was not
    behind: how much later (ns) its trades then came: a moving mean
    """

    wins: int = 0
    losses: int = 0
    behind: float = 0.0

    def lose(self, by: int) -> None:
        """Count a record that another connection had brought earlier, by so many ns."""
        self.losses += 1
        self.behind += (by - self.behind) / min(self.losses, 100)


class LineArbiter:
    """The one stream that the lines of a shard make together."""

    def __init__(self, stream: Stream, *, lasting: bool = False) -> None:
        """Begin without lines; `lasting` says that there are always to be several."""
        self.scores: dict[str, LineScore] = {}
        self.dropped = 0
        self.is_merging = lasting  # False: the only line's records need not pass here
        self._lasting = lasting
        self._rules = stream.sequence
        self._lines: list[ArbitratedLine] = []
        self._topics: dict[Key, PublishedTopic] = {}
        self._left: dict[Key, dict[TradeId, int]] = {}  # the latest trades of topics that are no longer wanted
        self._withheld: set[str] = set()  # gaps that are not published, because another line is good
        self._ended: dict[str, None] = {}  # gaps of lines that were closed here, before their line closes them
        self._holed: list[PublishedTopic] = []  # topics of which numbers were passed over
        self._alone_from: int | None = None  # when (monotonic ns) the line that is left needs no comparing any more

    def join(self, line: ArbitratedLine) -> None:
        """Add a line."""
        if len(self._lines) == 1 and not self.is_merging:
            self._begin(self._lines[0])
        self._alone_from = None
        self._lines.append(line)
        self.scores.setdefault(line.conn, LineScore())
        self.is_merging = self._lasting or len(self._lines) > 1

    def _begin(self, only: ArbitratedLine) -> None:
        """Start from the records that the only line has published so far."""
        self._topics.clear()
        self._withheld.clear()
        for topic in only.positions():
            told = self._topics[topic.channel, topic.raw_symbol] = PublishedTopic(only, only)
            told.last, told.gap, told.at = topic.last, topic.gap, topic.newest
            told.before, told.newest = topic.last, topic.newest
            rule = self._rules.get(topic.channel)
            told.judge = rule.follows if rule else None

    def leave(self, line: ArbitratedLine) -> None:
        """Remove a line. Call this before the records of its end are taken, and `settle` after that."""
        if line in self._lines:
            self._lines.remove(line)
        self.scores.pop(line.conn, None)

    def forget(self, keys: Collection[Key]) -> None:
        """Forget topics that are no longer wanted, but for their latest trades.

        If one is wanted again soon, a line that is behind may bring them once more.
        """
        for key in keys:
            told = self._topics.pop(key, None)
            if told is not None and told.seen:
                self._left[key] = dict(list(told.seen.items())[-MOST_LEFT:])
                if len(self._left) > MOST_LEFT:
                    del self._left[next(iter(self._left))]

    def _topic(self, line: ArbitratedLine, key: Key) -> PublishedTopic:
        """The state of a topic as it was published; one that begins belongs to the line that begins it."""
        told = self._topics.get(key)
        if told is None:
            told = self._topics[key] = PublishedTopic(line)
            told.seen = self._left.pop(key, told.seen)
        return told

    def settle(self, now: Now) -> list[Record]:
        """Hand the stream over to the only line that is left. Gives the records that this makes necessary.

        That line may be slower than the one that has gone, so that what was told already is still on its way here:
        its records are compared for a while longer.
        """
        out: list[Record] = []
        if self._lasting or len(self._lines) != 1:
            return out
        self._alone_from = now.mono + BEHIND_NS
        only = self._lines[0]
        for topic in only.positions():
            key = (topic.channel, topic.raw_symbol)
            told = self._topics.get(key)
            if told is None:
                told = self._topics[key] = PublishedTopic(only)
            if topic.gap is not None and topic.gap.gap_id in self._withheld and told.gap is None:
                self._open(told, topic.gap, out)  # another line had made up for this gap until now
                self._withheld.discard(topic.gap.gap_id)
            elif told.gap is not None:
                is_over = topic.gap is None and only.is_good(*key)
                if is_over:
                    self._end(told, told.gap, only, out, now)
                else:
                    only.adopt(*key, told.gap)
            self._go_on(only, topic, told, out, now)
            if told.owner is not only and self._is_owned(topic.channel):
                told.owner = only
                if told.gap is None:
                    out += self._whole(only, topic.channel, topic.raw_symbol, now)
        return out

    def _go_on(self, only: ArbitratedLine, topic: Position, told: PublishedTopic, out: list[Record], now: Now) -> None:
        """Publish a book that is ahead of what was published: the line that has gone owed what lies between."""
        key = (topic.channel, topic.raw_symbol)
        is_compared = topic.channel == "book" and not self._is_owned("book")
        if is_compared and _is_ahead(topic, told) and only.is_good(*key):
            self._take_book(only, told, topic.raw_symbol, out, now)
            if told.gap is not None and only.is_whole(*key):
                self._end(told, told.gap, only, out, now)

    def _end(self, told: PublishedTopic, gap: Gap, line: ArbitratedLine, out: list[Record], now: Now) -> None:
        """Close a gap, because a line has everything from here on; the line that has opened it may close it, too."""
        out.append(closed(gap, line.conn, now))
        told.gap = None
        self._ended[gap.gap_id] = None
        if len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def _compare(self, line: ArbitratedLine, summary: Summary) -> None:
        """Put a line's score against the others into its summary, and count anew."""
        score = self.scores.get(line.conn)
        if score is not None:  # a line that has just left has no score
            summary.first, summary.second, summary.behind_ms = score.wins, score.losses, round(score.behind / 1e6, 3)
            self.scores[line.conn] = LineScore()

    def is_followed(self, line: ArbitratedLine, book: BookSnapshot) -> bool:
        """Tell whether this line's book is the one that has been published."""
        told = self._topics.get(("book", book.raw_symbol))
        if not self.is_merging or told is None:
            return True
        return told.owner is line if self._is_owned("book") else told.last == book.sequence

    def _is_owned(self, channel: Channel) -> bool:
        """Tell whether a single line is followed, because the numbers of this channel do not identify its records."""
        rule = self._rules.get(channel)
        return rule is None or not rule.sure

    def merge(self, line: ArbitratedLine, records: list[Record], now: Now) -> list[Record]:
        """The records of one line that are to be published; all of them if it is the only line."""
        out: list[Record] = []
        if self._alone_from is not None and now.mono >= self._alone_from:
            self.is_merging, self._alone_from = False, None
            self._tell_holes(out, now, now.mono)
            self._topics.clear()  # they know the lines that have gone, and are made anew when another joins
        if not self.is_merging:
            return [*out, *records] if out else records
        if not self._lines:
            self._tell_holes(out, now, now.mono)  # nobody will bring it any more
        for record in records:
            if isinstance(record, Gap):
                self._gap(line, record, out)
                continue
            channel = CHANNEL_OF.get(type(record))
            if channel is None:
                if isinstance(record, Summary):
                    self._compare(line, record)
                out.append(record)
            else:
                self._record(line, channel, record, out, now)
        if self._holed:
            self._tell_holes(out, now, now.mono - BEHIND_NS)
        return out

    def _record(self, line: ArbitratedLine, channel: Channel, record: Record, out: list[Record], now: Now) -> None:
        key = (channel, record.raw_symbol)
        told = self._topic(line, key)
        before = len(out)
        if isinstance(record, Trade | Liquidation) and (id := told.id_of(line, record)) is not None:
            self._trade(line, told, id, record, out, now)
        elif isinstance(record, BookSnapshot | BookDelta) and not self._is_owned("book"):
            self._book(line, told, record, out, now)
        elif channel in WHOLE:
            if self._owns(line, told, key, now):
                out.append(record)
            elif told.owner is line:  # it has just become the owner, and its book already contains this record
                out += self._whole(line, channel, record.raw_symbol, now)
        elif self._owns(line, told, key, now) or told.owner is line:
            if told.is_news(line, record):
                out.append(record)
            else:
                self.dropped += 1
        if told.gap is not None and len(out) > before and line.is_whole(*key):
            self._end(told, told.gap, line, out, now)

    def _owns(self, line: ArbitratedLine, told: PublishedTopic, key: Key, now: Now) -> bool:
        """Tell whether this line is followed already. If the owner has failed, this line becomes the owner.

        Where neither is good, because an answer is late, say, the owner stays it as long as it brings anything.
        """
        if told.owner is line:
            told.heard = now.mono
            return True
        told.heard = told.heard or now.mono
        is_gone = told.owner not in self._lines
        if is_gone or (not told.owner.is_good(*key) and (line.is_good(*key) or now.mono - told.heard > BEHIND_NS)):
            told.owner, told.heard = line, now.mono
        return False

    def _trade(
        self,
        line: ArbitratedLine,
        told: PublishedTopic,
        id: TradeId,
        record: Trade | Liquidation,
        out: list[Record],
        now: Now,
    ) -> None:
        channel: Channel = "trades" if isinstance(record, Trade) else "liquidations"
        if "snapshot" in (record.flags or ()) and self._is_good_elsewhere(line, (channel, record.raw_symbol)):
            self.dropped += 1  # the other lines have told the trades before this line came
            return
        first = told.first
        if first is not None and line is not first and told.was_before(record, is_first_here=first in self._lines):
            self.dropped += 1
            return
        score = self.scores.setdefault(line.conn, LineScore())
        if not told.is_new(id, now.mono):
            self.dropped += 1
            score.lose(now.mono - told.seen[id])
            return
        score.wins += 1
        number = record.sequence
        if number is not None:
            self._number(line, told, channel, record, number, now)
        out.append(record)

    def _number(
        self,
        line: ArbitratedLine,
        told: PublishedTopic,
        channel: Channel,
        record: Trade | Liquidation,
        number: int,
        now: Now,
    ) -> None:
        """Compare a trade's number with those that were published."""
        first = record.sequence_first or number
        if told.last is not None and number <= told.last:
            with_flag(record, "late")
            if told.holes:
                told.fill(first, number)
            return
        if (
            told.last is not None
            and first > told.last + 1
            and told.gap is None
            and self._rules.get(channel) is contiguous
        ):
            told.holes.append((now.mono, self._hole(line, told, channel, record, first, now)))
            if told not in self._holed:
                self._holed.append(told)
        told.last, told.at = number, now.wall

    def _hole(
        self, line: ArbitratedLine, told: PublishedTopic, channel: Channel, record: Record, got: int | None, now: Now
    ) -> Gap:
        """The gap of what lies between the last number that was published and the next."""
        expected = None if told.last is None else told.last + 1
        is_counted = channel != "book" and expected is not None and got is not None
        return Gap(
            exchange=record.exchange,
            symbol=record.symbol,
            raw_symbol=record.raw_symbol,
            ts_recv=now.wall,
            conn=line.conn,
            source="derived",
            gap_id=f"{line.conn}:{channel}:{record.raw_symbol or '*'}:passed:{expected}",
            phase="open",
            channel=channel,
            cause="sequence",
            ts_from=min(told.at or now.wall, now.wall),
            expected=expected,
            got=got,
            missed=(got or 0) - (expected or 0) if is_counted else None,
        )

    def _tell_holes(self, out: list[Record], now: Now, before: int) -> None:
        """Tell what no connection has brought, of what was passed over before a moment (monotonic ns).

        While a gap of the topic is open, that says it, and its end would be taken for the end of this.
        """
        for told in list(self._holed):
            if told.gap is not None:
                continue
            surplus = len(told.holes) - MOST_HOLES
            due = [at < surplus or begun <= before for at, (begun, _) in enumerate(told.holes)]
            for (_, gap), is_due in zip(told.holes, due, strict=True):
                if is_due:
                    out.append(structs.replace(closed(gap, gap.conn, now), ts_to=gap.ts_recv))
            told.holes = [hole for hole, is_due in zip(told.holes, due, strict=True) if not is_due]
            if not told.holes:
                self._holed.remove(told)

    def _book(
        self,
        line: ArbitratedLine,
        told: PublishedTopic,
        record: BookSnapshot | BookDelta,
        out: list[Record],
        now: Now,
    ) -> None:
        rule = self._rules["book"]
        if isinstance(record, BookSnapshot):
            if told.last is None or record.reason == "periodic":
                told.last, told.judge, told.at = record.sequence, rule.joins, now.wall
                out.append(record)
            return
        if told.last is None or record.sequence is None:
            self._take_book(line, told, record.raw_symbol, out, now)
            return
        first = record.sequence if record.sequence_first is None else record.sequence_first
        judge = told.judge or rule.joins
        verdict = judge(told.last, first, record.sequence, record.sequence_prev)
        score = self.scores.setdefault(line.conn, LineScore())
        if verdict is NEXT:
            told.last, told.judge, told.at = record.sequence, rule.follows, now.wall
            score.wins += 1
            out.append(record)
        elif verdict is STALE:
            self.dropped += 1
            score.losses += 1
        elif not self._is_good_elsewhere(line, ("book", record.raw_symbol)):
            self._take_book(line, told, record.raw_symbol, out, now)

    def _take_book(
        self, line: ArbitratedLine, told: PublishedTopic, raw_symbol: str | None, out: list[Record], now: Now
    ) -> None:
        """Publish this line's whole book, and go on from it. What lies before it is missing, where a book stood."""
        for snapshot in self._whole(line, "book", raw_symbol, now):
            if told.last is not None and told.gap is None:
                told.gap = self._hole(line, told, "book", snapshot, snapshot.sequence, now)
                out.append(told.gap)
            told.last, told.judge, told.at = snapshot.sequence, self._rules["book"].follows, now.wall
            out.append(snapshot)

    def _whole(self, line: ArbitratedLine, channel: Channel, raw_symbol: str | None, now: Now) -> list[Record]:
        """This line's whole book, or all its orders; nothing of any other channel."""
        found: list[BookSnapshot] | list[OrdersSnapshot] = []
        if channel in WHOLE:
            found = line.books(now, raw_symbol) if channel == "book" else line.orders(now, raw_symbol)
        for snapshot in found:
            snapshot.reason = "resync"
        return [*found]

    def _gap(self, line: ArbitratedLine, gap: Gap, out: list[Record]) -> None:
        if gap.channel is None:
            if not any(other is not line for other in self._lines):
                out.append(gap)
            return
        key = (gap.channel, gap.raw_symbol)
        told = self._topic(line, key)
        if gap.phase == "open":
            if told.gap is not None or self._is_made_good(line, gap, key):
                self._withheld.add(gap.gap_id)
                return
            self._open(told, gap, out)
        elif gap.gap_id in self._withheld:
            self._withheld.discard(gap.gap_id)
        elif told.gap is not None and told.gap.gap_id == gap.gap_id:
            told.gap = None
            out.append(gap)
        elif gap.gap_id in self._ended:
            del self._ended[gap.gap_id]
        elif self._lasting:
            out.append(gap)  # the run before has opened it

    def _open(self, told: PublishedTopic, gap: Gap, out: list[Record]) -> None:
        """Publish that something is missing; a book goes on with a whole one."""
        told.gap = gap
        if gap.channel == "book":
            told.last = None
        elif gap.expected is not None and gap.got is not None:
            told.fill(gap.expected, gap.got - 1)
        out.append(gap)

    def _is_made_good(self, line: ArbitratedLine, gap: Gap, key: Key) -> bool:
        """Tell whether another line makes up for a gap.

        If this line is dead, the other one must bring what comes from now on; if this line lives on, it must also have
        brought the records that are missing here.
        """
        if gap.cause == "disconnect":
            return self._is_good_elsewhere(line, key)
        return any(other is not line and other.is_whole(*key) for other in self._lines)

    def _is_good_elsewhere(self, line: ArbitratedLine, key: Key) -> bool:
        return any(other is not line and other.is_good(*key) for other in self._lines)
