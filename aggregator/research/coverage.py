"""How complete a recording is: of each topic and day, how much of the time is covered, and what is missing.

Records pass once, in the order of the stream, and none is kept: a topic holds times, gaps and the last numbers.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from msgspec import Struct, field, structs

from aggregator.client.books import DERIVED
from aggregator.records import CHANNEL_OF, RECORD_TYPES, Channel, Gap, Health, Instrument, Lag, Record, Summary, is_hole
from aggregator.research.chains import BookChain, Break, MissingNumbers, NumberChain, ToldGap
from aggregator.research.choice import FOREVER, Choice
from aggregator.research.past import FilledTopic, is_past, past_channel
from aggregator.research.recording import Recording
from aggregator.research.spans import DAY_NS, Span, by_day, common, minus, union
from aggregator.research.times import Moment, nanoseconds
from aggregator.research.watch import Carrier, DayCounts, TopicWatch
from aggregator.sequence import Rule

ABOUT = frozenset[type[Record]]({Gap, Health, Summary, Lag})  # types that tell how topics fare
# Whatever is asked for, all is read: the records of one topic tell that the connection of another was alive.
READ = frozenset(kind for kind in RECORD_TYPES if kind in CHANNEL_OF or kind in ABOUT) - {Instrument}
MOST_GAPS = 1000  # so many are listed of one topic and day; all are counted
MOST_GAPS_IN_BRIEF = 20  # likewise, for who only draws it
MOST_DAYS = 4000  # so many days one topic may have
EARLIEST_NS, LATEST_NS = 946_684_800 * 10**9, 7_258_118_400 * 10**9  # the years 2000 and 2200: others are no times
CHAINED: frozenset[Channel] = frozenset({"book", "orders"})  # channels whose changes follow snapshots


class CoverageGap(Struct, frozen=True, kw_only=True):
    """A time in which something is missing, or was.

    cause: as the gap says; `untold`: the exchange's numbers show it, and no gap does; `unknown`: no connection was
        good, and no gap says so
    ts_to: null: it was open when the recording ended
    repair: as the gap says; null: it is open, or no gap told it
    missed: how many records are missing; null: nobody knows
    is_mended: whether everything was had after all: then the time is covered
    """

    cause: str
    ts_from: int
    ts_to: int | None
    repair: str | None = None
    missed: int | None = None
    recovered: int | None = None
    is_mended: bool = False


class CoverageDay(Struct, frozen=True, kw_only=True):
    """One topic on one day (UTC).

    followed_ns: for how long it was followed that day; covered_ns: for how long of that nothing is missing
    percent: of the time that it was followed, cut (not rounded) to four decimals; null: it was not followed
    records: how many came
    numbers: `checked`: the exchange numbers them, and each hole in the numbers is found; `unsure`: the numbers grow by
        no known step; `none`: it does not number them; `unknown`: the connector is not installed
    missing: how many numbers did not come; untold: of how many of them, or of how many breaks of a book, no gap tells
    followed, covered: these times, as spans
    gaps: what is missing or was, the longest of them; gaps_left_out: how many more there are
    """

    day: str
    exchange: str
    channel: Channel
    symbol: str | None
    raw_symbol: str | None
    followed_ns: int
    covered_ns: int
    percent: float | None
    records: int
    numbers: str
    missing: int
    untold: int
    times: DayCounts
    gaps: list[CoverageGap]
    gaps_left_out: int
    followed: list[Span] = field(default_factory=list)
    covered: list[Span] = field(default_factory=list)


class CoverageReport(Struct, frozen=True, kw_only=True):
    """The word on how complete a recording is.

    ts_from, ts_to: from its first to its last moment; null: it has no records
    unreadable: what could not be read of it, in words
    remarks: what else is to be known
    """

    ts_from: int | None
    ts_to: int | None
    days: list[CoverageDay]
    unreadable: list[str]
    remarks: list[str]


def coverage_of(
    recording: Recording,
    exchange: str | None = None,
    symbol: str | None = None,
    channel: Channel | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
) -> CoverageReport:
    """Say how complete a recording is; of what is named, and of a time, where it is."""
    begin, until = 0 if start is None else nanoseconds(start), FOREVER if end is None else nanoseconds(end)
    counting = _Counting(symbol, channel)
    if begin:  # how topics stood when the time began
        before = Choice(ABOUT, exchange, None, 0, begin, is_wide=True)
        for epoch, record in recording.stream(before):
            if not is_past(record):
                counting.take(epoch, record)
    for epoch, record in recording.stream(Choice(READ, exchange, None, begin, until, is_wide=True)):
        if is_past(record):
            counting.take_past(record)
        else:
            counting.take(epoch, record)
    if until < FOREVER:
        after = next(recording.stream(Choice(READ, exchange, None, until, FOREVER, is_wide=True)), None)
        if after is not None:
            counting.go_on(after[0], until)
    return counting.report(begin, until, [str(defect) for defect in recording.defects])


def in_brief(report: CoverageReport) -> CoverageReport:
    """The same without spans, and of each row with the longest gaps alone."""
    return structs.replace(report, days=[_shortened(day) for day in report.days])


def _shortened(day: CoverageDay) -> CoverageDay:
    gaps = _longest(day.gaps, MOST_GAPS_IN_BRIEF)
    left_out = day.gaps_left_out + len(day.gaps) - len(gaps)
    return structs.replace(day, gaps=gaps, gaps_left_out=left_out, followed=[], covered=[])


class _Counting:
    """The topics of a recording while its records pass."""

    def __init__(self, symbol: str | None, channel: Channel | None) -> None:
        self._symbol, self._channel = symbol, channel
        self._topics: dict[tuple[str, Channel, str | None], TopicWatch] = {}
        self._carriers: dict[str, Carrier] = {}
        self._carried: dict[str, set[TopicWatch]] = {}  # connection -> topics, of those that are good
        self._received: dict[str, int] = {}  # connection -> when its last record came
        self._rules: dict[tuple[str, str], dict[Channel, Rule] | None] = {}
        self._wide: dict[str, list[tuple[Gap, ToldGap]]] = {}  # exchange -> gaps of more than one topic
        self._opened: dict[str, ToldGap] = {}  # those of them that are open
        self._epoch = ""
        self._ends: dict[str, int] = {}  # when each epoch ended
        self._first, self._last = FOREVER, 0
        self._odd = 0
        self._past: dict[tuple[str, Channel, str | None], FilledTopic] = {}
        self._overlaps: dict[str, str] = {}

    # --- what comes

    def take(self, epoch: str, record: Record) -> None:
        """Take the next record."""
        ts = record.ts_recv
        if not EARLIEST_NS <= ts < LATEST_NS:
            self._odd += 1
            return
        if epoch != self._epoch:
            self._turn(epoch, ts)
        self._last = max(self._last, ts)
        self._first = min(self._first, ts)
        kind = type(record)
        if kind in ABOUT:
            self._hear(epoch, record)
            return
        if record.conn.startswith(DERIVED):
            return
        carrier = self._carriers.get(record.conn) or self._carrier(record.conn)
        carrier.heard = ts
        channel = CHANNEL_OF[kind]
        if not self._is_wanted(channel, record):
            return
        topic = self._topics.get((record.exchange, channel, record.raw_symbol or record.symbol))
        if topic is None or topic.epoch != epoch:
            topic = self._topic(channel, record, epoch)
        if not topic.is_known and carrier.stream:
            self._number(topic, carrier)
        wide: Sequence[ToldGap] = ()
        told = self._wide.get(record.exchange)
        if told is not None and topic.wide < len(told):
            wide = [span for gap, span in told[topic.wide :] if self._is_about(gap, topic)]
            topic.wide = len(told)
        tally = topic.take(record, carrier, wide)
        self._look_at_order(record, tally)
        carried = self._carried.get(carrier.name)
        if carried is None:
            carried = self._carried[carrier.name] = set()
        carried.add(topic)

    def take_past(self, record: Record) -> None:
        """Take what was asked for afterwards: it is of no life of a daemon, and fills what these lack."""
        channel = past_channel(record)
        if channel is None or not self._is_wanted(channel, record):
            return
        key = record.exchange, channel, record.raw_symbol or record.symbol
        self._past.setdefault(key, FilledTopic(record)).take(record)

    def _look_at_order(self, record: Record, tally: DayCounts) -> None:
        """Our clock never runs back on a connection without a word."""
        ts, before = record.ts_recv, self._received.get(record.conn, 0)
        if ts < before:
            tally.bad_ts += 1
            tally.unflagged += "bad_ts" not in (record.flags or ())
        self._received[record.conn] = ts

    def _turn(self, epoch: str, ts: int) -> None:
        """Another life of the daemon, or another capture, begins."""
        if self._epoch or self._last:
            self._ends[self._epoch] = self._last
            if ts < self._last:
                self._overlaps[epoch] = self._epoch
        self._epoch, self._last = epoch, ts
        self._carriers.clear()
        self._carried.clear()
        self._received.clear()

    def go_on(self, epoch: str, until: int) -> None:
        """The recording goes on behind the time that is asked for."""
        if epoch == self._epoch:
            self._last = max(self._last, until)

    def _is_wanted(self, channel: Channel | None, record: Record) -> bool:
        if self._channel not in {None, channel}:
            return False
        return self._symbol is None or self._symbol in {record.symbol, record.raw_symbol}

    def _carrier(self, conn: str) -> Carrier:
        """The connection of a name, to which its answers by REST belong (`name/main.1#2/snapshot`)."""
        shard, _, rest = conn.partition("#")
        number = rest.partition("/")[0]
        name = f"{shard}#{number}" if rest else conn
        stream = shard.partition("/")[2].rpartition(".")[0]
        carrier = self._carriers.get(name) or Carrier(name, shard, stream)
        self._carriers[name] = self._carriers[conn] = carrier
        return carrier

    def _topic(self, channel: Channel, record: Record, epoch: str) -> TopicWatch:
        key = record.exchange, channel, record.raw_symbol or record.symbol
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = TopicWatch(channel, record, epoch)
            topic.wide = len(self._wide.get(record.exchange, ()))
        elif topic.epoch != epoch:
            topic.resume(epoch, self._ends.get(topic.epoch, record.ts_recv))
        topic.symbol = topic.symbol or record.symbol
        return topic

    def _number(self, topic: TopicWatch, carrier: Carrier) -> None:
        """Find by which rule its numbers follow each other."""
        rules = self._rules_of(topic.exchange, carrier.stream)
        if rules is None:
            return
        topic.is_known = True
        topic.rule = rules.get("book" if topic.channel in CHAINED else topic.channel)
        is_sure = topic.rule is not None and topic.rule.sure
        if topic.channel in CHAINED:
            topic.book = BookChain(topic.rule if is_sure else None)
        elif is_sure:
            topic.numbers = NumberChain()

    def _rules_of(self, exchange: str, stream: str) -> dict[Channel, Rule] | None:
        """The rules that a stream declares; null: it is not known."""
        key = exchange, stream
        if key not in self._rules:
            from aggregator.catalog.registry import load_exchange

            loaded = load_exchange(exchange)
            spoken = (*loaded.feeds, *loaded.archived) if loaded is not None else ()
            feeds = [feed for feed in spoken if feed.name == stream]
            self._rules[key] = dict(getattr(feeds[0], "sequence", {})) if feeds else None
        return self._rules[key]

    # --- what tells how topics fare

    def _hear(self, epoch: str, record: Record) -> None:
        if isinstance(record, Summary):
            self._sum_up(record)
        elif isinstance(record, Lag):
            lost = Gap(
                gap_id=f"lag:{record.offset_from}", phase="close", cause="overflow", ts_from=record.ts_recv,
                ts_to=record.ts_recv, ts_recv=record.ts_recv, repair="none", missed=record.missed,
            )  # fmt: skip
            self._take_wide(lost)
        elif isinstance(record, Gap):
            if record.conn.startswith(DERIVED):
                return
            if record.channel is None or record.raw_symbol is record.symbol is None:
                self._take_wide(record)
            elif self._is_wanted(record.channel, record):
                self._topic(record.channel, record, epoch).gap(record, self._carrier(record.conn))
        elif isinstance(record, Health) and self._is_wanted(record.channel, record):
            carrier = self._carrier(record.conn)
            topic = self._topic(record.channel, record, epoch)
            topic.stand(record, carrier)
            self._carried.setdefault(carrier.name, set()).add(topic)

    def _sum_up(self, summary: Summary) -> None:
        carrier = self._carrier(summary.conn)
        if summary.frames:  # they came at some time since then
            carrier.heard = max(carrier.heard, summary.ts_from)
        if summary.bye is not None:
            for topic in self._carried.pop(carrier.name, ()):
                topic.fail(summary.ts_recv, carrier.name)
            for conn in [conn for conn, each in self._carriers.items() if each is carrier]:
                del self._carriers[conn]
                self._received.pop(conn, None)

    def _take_wide(self, gap: Gap) -> None:
        """Take a gap of more than one topic."""
        told = self._opened.pop(gap.gap_id, None)
        if told is None:
            told = ToldGap(cause=gap.cause, ts_from=gap.ts_from, ts_back=gap.ts_from, missed=gap.missed)
            exchanges = [gap.exchange] if gap.exchange else sorted({exchange for exchange, _, _ in self._topics})
            for exchange in exchanges:
                self._wide.setdefault(exchange, []).append((gap, told))
        if gap.phase == "open":
            self._opened[gap.gap_id] = told
            return
        told.close(gap)
        if is_hole(gap):
            for topic in self._topics.values():
                if gap.exchange in {"", topic.exchange} and self._is_about(gap, topic):
                    topic.lose(gap.ts_from)

    def _is_about(self, gap: Gap, topic: TopicWatch) -> bool:
        """Tell whether a gap of more than one topic is about this one."""
        if gap.channel not in {None, topic.channel}:
            return False
        names = {gap.symbol, gap.raw_symbol} - {None}
        if names and names.isdisjoint({topic.symbol, topic.raw_symbol}):
            return False
        shard = gap.conn.partition("#")[0]
        return "/" not in shard or shard in topic.shards  # else whoever recorded has made it

    # --- what comes of it

    def report(self, start: int, end: int, unreadable: list[str]) -> CoverageReport:
        """The report, of the time from `start` on and before `end`."""
        self._ends[self._epoch] = self._last
        self._join_past()
        days: list[CoverageDay] = []
        for topic in self._topics.values():
            days += self._days(topic, start, end)
        days.sort(key=lambda row: (row.day, row.exchange, row.channel, row.symbol or row.raw_symbol or ""))
        last = max(self._ends.values())
        remarks = [
            f"the lives {a} and {b} overlap: two daemons have recorded them, so look at each alone"
            for b, a in self._overlaps.items()
            if not b.startswith("capture:")
        ]
        if self._odd:
            remarks.append(f"{self._odd} records were left out: they say that they came before 2000 or after 2200")
        if self._first > self._last and not days:
            return CoverageReport(ts_from=None, ts_to=None, days=[], unreadable=unreadable, remarks=remarks)
        return CoverageReport(
            ts_from=max(self._first, start), ts_to=min(last, end), days=days, unreadable=unreadable, remarks=remarks
        )

    def _join_past(self) -> None:
        """Take the topics that nobody recorded among the others, and the times of the past into those of all."""
        for key, past in self._past.items():
            if key not in self._topics:
                topic = self._topics[key] = TopicWatch(key[1], past.first, "")
                topic.end(past.first.ts_recv)
                self._ends.setdefault("", 0)
            asked = past.asked
            if asked:
                self._first = min(self._first, asked[0][0])
                self._ends[""] = max(self._ends.get("", 0), asked[-1][1])

    def _days(self, topic: TopicWatch, start: int, end: int) -> Iterator[CoverageDay]:
        ended = self._ends[topic.epoch]
        topic.end(ended)
        past = self._past.get((topic.exchange, topic.channel, topic.raw_symbol or topic.symbol))
        filled = union(past.filled) if past is not None else []
        wanted = union([*topic.followed, *(past.asked if past is not None else ())])
        limit = min(end, (wanted[0][0] // DAY_NS + MOST_DAYS) * DAY_NS) if wanted else end
        followed = common(wanted, [(start, limit)])
        told = [*topic.gaps, *(span for gap, span in self._wide.get(topic.exchange, ()) if self._is_about(gap, topic))]
        holes, bare = topic.numbers.lost(topic.gaps) if topic.numbers is not None else ([], [])
        breaks = topic.book.breaks if topic.book is not None else []
        mended = union((gap.ts_from, gap.ts_to or ended) for gap in told if gap.is_mended)
        missing = union(
            [
                *((gap.ts_from, gap.ts_to or ended) for gap in told if not gap.is_mended),
                *((hole.ts_from, hole.ts_to) for hole in bare),
                *((each.ts_from, each.ts_to or ended) for each in breaks),
            ]
        )
        unknown = minus(union(topic.bad), mended)
        if past is not None:
            holes, bare = ([h for h in each if minus([(h.ts_from, h.ts_to)], filled)] for each in (holes, bare))
            missing = minus(union([*missing, *((g.ts_from, g.ts_to or ended) for g in past.holes)]), filled)
            unknown = minus(unknown, filled)
        covered = minus(followed, union([*missing, *unknown]))
        untold = [each for each in breaks if not each.is_told]
        days = _Days(start, limit)
        days.add_times(followed, covered)
        days.add_gaps(_as_told(gap, filled) for gap in told)
        days.add_gaps(_as_asked(gap) for gap in (past.holes if past is not None else ()))
        days.add_gaps(CoverageGap(cause="untold", ts_from=h.ts_from, ts_to=h.ts_to, missed=h.count) for h in bare)
        days.add_gaps(CoverageGap(cause="untold", ts_from=each.ts_from, ts_to=each.ts_to) for each in untold)
        days.add_gaps(CoverageGap(cause="unknown", ts_from=a, ts_to=b) for a, b in minus(unknown, missing))
        days.add_numbers(holes, bare, untold)
        for number, tally in topic.tallies.items():
            days.of(number).times = tally
        for number, tally in (past.tallies if past is not None else {}).items():
            if start <= number * DAY_NS + DAY_NS and number * DAY_NS < limit:
                days.of(number).times = days.of(number).times.plus(tally)
        for number, day in sorted(days.found.items()):
            yield _row(topic, number, day)


class _Day(Struct):
    """One day of a topic, while it is gathered."""

    followed: list[Span] = field(default_factory=list)
    covered: list[Span] = field(default_factory=list)
    gaps: list[CoverageGap] = field(default_factory=list)
    missing: int = 0
    untold: int = 0
    times: DayCounts = field(default_factory=DayCounts)


class _Days:
    """The days of one topic, from `start` on and before `end`."""

    def __init__(self, start: int, end: int) -> None:
        self.found: dict[int, _Day] = {}
        self._start, self._end = start, end

    def of(self, number: int) -> _Day:
        return self.found.setdefault(number, _Day())

    def add_times(self, followed: Iterable[Span], covered: Iterable[Span]) -> None:
        for number, span in by_day(followed):
            self.of(number).followed.append(span)
        for number, span in by_day(covered):
            self.of(number).covered.append(span)

    def add_gaps(self, gaps: Iterable[CoverageGap]) -> None:
        """Each stands on the day on which it began."""
        for gap in gaps:
            if gap.ts_from < self._end and (gap.ts_to is None or gap.ts_to >= self._start):
                self.of(max(self._start, gap.ts_from) // DAY_NS).gaps.append(gap)

    def add_numbers(
        self, holes: Iterable[MissingNumbers], bare: Iterable[MissingNumbers], breaks: Iterable[Break]
    ) -> None:
        """Each counts on the day on which it was noticed."""
        for hole in holes:
            if self._start <= hole.ts_to < self._end:
                self.of(hole.ts_to // DAY_NS).missing += hole.count
        for hole in bare:
            if self._start <= hole.ts_to < self._end:
                self.of(hole.ts_to // DAY_NS).untold += hole.count
        for each in breaks:
            if self._start <= each.ts_from < self._end:
                self.of(each.ts_from // DAY_NS).untold += 1


def _as_asked(gap: Gap) -> CoverageGap:
    """A time that the exchange gave nothing of, when it was asked for afterwards."""
    return CoverageGap(cause=gap.cause, ts_from=gap.ts_from, ts_to=gap.ts_to, repair=gap.repair)


def _as_told(gap: ToldGap, filled: Sequence[Span]) -> CoverageGap:
    return CoverageGap(
        cause=gap.cause,
        ts_from=gap.ts_from,
        ts_to=gap.ts_to,
        repair=gap.repair,
        missed=gap.missed,
        recovered=gap.recovered,
        is_mended=gap.is_mended or (gap.ts_to is not None and not minus([(gap.ts_from, gap.ts_to)], filled)),
    )


def _numbers(topic: TopicWatch) -> str:
    """Say whether the exchange's numbers could be looked at."""
    if topic.rule is not None:
        return "checked" if topic.rule.sure else "unsure"
    return "none" if topic.is_known else "unknown"


def _row(topic: TopicWatch, number: int, day: _Day) -> CoverageDay:
    followed, covered = _length(day.followed), _length(day.covered)
    gaps = _longest(day.gaps, MOST_GAPS)
    return CoverageDay(
        day=f"{datetime.fromtimestamp(number * DAY_NS // 10**9, UTC):%Y-%m-%d}",
        exchange=topic.exchange,
        channel=topic.channel,
        symbol=topic.symbol,
        raw_symbol=topic.raw_symbol,
        followed_ns=followed,
        covered_ns=covered,
        percent=covered * 1_000_000 // followed / 10_000 if followed else None,
        records=day.times.records,
        numbers=_numbers(topic),
        missing=day.missing,
        untold=day.untold,
        times=day.times,
        gaps=gaps,
        gaps_left_out=len(day.gaps) - len(gaps),
        followed=day.followed,
        covered=day.covered,
    )


def _longest(gaps: Iterable[CoverageGap], most: int) -> list[CoverageGap]:
    """Those that are not mended first, and the longest of them, in the order of their times."""
    first = sorted(gaps, key=lambda gap: (gap.is_mended, gap.ts_from - (gap.ts_to or LATEST_NS)))[:most]
    return sorted(first, key=lambda gap: gap.ts_from)


def _length(spans: Iterable[Span]) -> int:
    return sum(end - start for start, end in spans)
