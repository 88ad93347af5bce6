"""The way of records into files: batches are sorted into chunks."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from aggregator.bus.bus import Batch, TopicKey
from aggregator.records import DAY_S, SECOND_NS, Gap, Health, Lag, Record, Summary, channel_of
from aggregator.sinks.notes import Loss
from aggregator.sinks.paths import Scope, Template, moment
from aggregator.sinks.segment import Segment, Tally

TYPE = "files"  # the sink's type, and the `conn` of its gaps
DAY_NS = DAY_S * SECOND_NS
NO_CHANNEL: dict[object, str] = {Gap: "gaps", Lag: "gaps", Summary: "summary"}  # where such a record names none
ANY_CHANNEL = (Gap, Health, Lag)  # their type does not tell the channel
MOST_ROUTES = 200_000  # remembered; then they are found anew

Key: TypeAlias = TopicKey | tuple[TopicKey, object]


class LinePlace(NamedTuple):
    """The place of a record."""

    offset: int
    ts_recv: int


class FileChunk:
    """Lines for one file and one period, in order, and the counts of their records.

    The records themselves are let go: to free many of them together, long after they were read, takes long.
    """

    __slots__ = ("_own", "counts", "earliest", "first", "last", "latest", "lines", "slot")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.lines: list[bytes] = []
        self.counts: defaultdict[type[Record], int] = defaultdict(int)
        self.first: LinePlace | None = None
        self.last: LinePlace | None = None
        self.earliest = self.latest = 0  # all came, or began, between these times; both are 0 while there is none
        self._own: list[Gap] = []  # gaps that tell what the sink's queue lost

    def note(self, gap: Gap) -> None:
        """Remember a gap that begins here: what it tells of is missing, too, where it is not written."""
        self.earliest = min(self.earliest or gap.ts_from, gap.ts_from)
        if gap.conn == TYPE:
            self._own.append(gap)

    @property
    def received(self) -> int:
        """The records of the stream that it holds."""
        return len(self.lines) - len(self._own)

    def tally(self, *before: Gap) -> Tally:
        """Count its records and those of `before`, and tell the first and the last of their offsets."""
        first, last = (*before, self.first)[0], self.last or before[-1]
        counts = self.counts.copy()
        for gap in before:
            counts[type(gap)] += 1
        return Tally(counts, 0 if first is None else first.offset, last.offset)

    def loss(self) -> Loss | None:
        """The records that are missing if this chunk is not written; a gap that tells of others counts as those."""
        first, last = self.first, self.last
        if first is None or last is None:
            return None
        missed = self.received + sum(gap.missed or 0 for gap in self._own)
        offset_from = min([first.offset, *(gap.expected or first.offset for gap in self._own)])
        return Loss(missed, offset_from, last.offset, self.earliest, max(self.earliest, self.latest))


class Outage(Struct):
    """A file that cannot be written for now, and what has been lost of it since the last write.

    Times are of the monotonic clock.
    wait: seconds between the last try and the next
    over_at: when it has been written for long enough to be trusted again; null: it cannot be written
    """

    loss: Loss | None = None
    wait: float = 0.0
    retry_at: float = 0.0
    over_at: float | None = None


class File:
    """One expansion of the template, over all its segments.

    chunks: what is to be written next
    """

    __slots__ = ("chunks", "last_offset", "name", "outage", "scope", "segment")

    def __init__(self, name: str, scope: Scope) -> None:
        self.name = name
        self.scope = scope
        self.chunks: list[FileChunk] = []
        self.segment: Segment | None = None
        self.outage: Outage | None = None
        self.last_offset = 0

    def chunk(self, slot: int) -> FileChunk:
        """The chunk of a period; a record that comes late for its own goes into the one that is under way."""
        segment = self.segment  # the thread may just be closing it
        if segment is not None:
            slot = max(slot, segment.slot)
        if not self.chunks or slot > self.chunks[-1].slot:
            self.chunks.append(FileChunk(slot))
        return self.chunks[-1]


def span(ts: int, every: int) -> tuple[int, int, int, int]:
    """The day and the period (of `every` ns) that a moment is in, and the times between which both are the same."""
    day, slot = ts // DAY_NS, ts // every
    return day, slot, max(day * DAY_NS, slot * every), min((day + 1) * DAY_NS, (slot + 1) * every)


class FileRoutes:
    """The files of one sink, found by what the template asks of a record."""

    def __init__(self, template: Template, every: int) -> None:
        """Begin without files; `every`: the length of a period, ns."""
        self._template = template
        self._every = every
        self._files: dict[str, File] = {}
        self._routes: dict[int, dict[Key, File]] = {}  # by day
        self._span = span(0, every)  # the latest record is in it
        self.told_from = 0  # where the oldest gap begins that opens in what was sorted last; 0: there was none

    def __iter__(self) -> Iterator[File]:
        return iter(list(self._files.values()))

    def sort(self, batch: Batch) -> dict[File, None]:
        """Give every record to its file. Gives the files that got some."""
        touched: dict[File, None] = {}
        ends: dict[FileChunk, int] = {}  # the position of the last record of each
        offsets, times = batch.offsets, batch.times
        day, slot, start, end = self._span
        self.told_from = 0
        routes = self._routes.setdefault(day, {})
        for at, (key, ts, line) in enumerate(zip(batch.keys, times, batch.lines, strict=True)):
            if not start <= ts < end:
                day, slot, start, end = self._span = span(ts, self._every)
                routes = self._routes.setdefault(day, {})
            file = routes.get(key) or self._find(routes, key, batch.record(at))
            chunk = file.chunks[-1] if file.chunks else None
            if chunk is None or slot > chunk.slot:
                chunk = file.chunk(slot)
                touched[file] = None
            if key[0] is Gap:
                gap = batch.record(at)
                if isinstance(gap, Gap) and (gap.phase == "open" or gap.conn == TYPE):
                    chunk.note(gap)
                    self.told_from = min(self.told_from or gap.ts_from, gap.ts_from)
            chunk.lines.append(line)
            chunk.counts[key[0]] += 1
            ends[chunk] = at
            if chunk.first is None:
                chunk.first = LinePlace(offsets[at], ts)
        earliest, latest = batch.earliest, max(times)
        for chunk, at in ends.items():
            chunk.last = LinePlace(offsets[at], times[at])
            chunk.earliest, chunk.latest = min(chunk.earliest or earliest, earliest), max(chunk.latest, latest)
        return touched

    def _find(self, routes: dict[Key, File], topic: TopicKey, record: Record) -> File:
        """The file of a record whose topic does not tell it, or has not been seen before."""
        key: Key = topic
        if topic[0] in ANY_CHANNEL:
            key = topic, channel_of(record)
            if key in routes:
                return routes[key]
        channel = channel_of(record) or NO_CHANNEL[type(record)]
        exchange, symbol, raw_symbol = record.exchange, record.symbol, record.raw_symbol
        values = {"date": "", "exchange": exchange, "channel": channel, "symbol": symbol, "raw_symbol": raw_symbol}
        name = self._template.name(values | {"date": f"{moment(record.ts_recv):%Y-%m-%d}"})
        file = self._files.get(name)
        if file is None:
            scope = self._template.scope(exchange, channel, symbol, raw_symbol)
            file = self._files[name] = File(name, scope)
        if len(routes) >= MOST_ROUTES:
            routes.clear()
        routes[key] = file
        return file

    def forget_idle(self) -> None:
        """Forget files that have nothing open and no loss to tell."""
        self._files = {name: file for name, file in self._files.items() if file.segment or file.outage or file.chunks}
        self._routes.clear()
