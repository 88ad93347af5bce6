"""One topic's state: what was last heard of it, whether a gap is open, and for a book the book itself."""

from collections import deque
from collections.abc import Callable
from decimal import Context, Decimal
from typing import NamedTuple

from msgspec import Struct

from aggregator.book import Book
from aggregator.errors import BadFrame
from aggregator.records import (
    BookDelta,
    BookSnapshot,
    Cause,
    Channel,
    Flag,
    Flags,
    Gap,
    Instrument,
    Liquidation,
    Record,
    Repair,
    TopicState,
    Trade,
)
from aggregator.sequence import GAP, NEXT, Rule, Verdict

BUFFER = 5_000  # deltas kept while a snapshot is on its way; older ones are covered by it anyway
LATE = 2_000_000_000  # ns that trades out of order are waited for before their gap closes
EXACT = Context(prec=200)  # enough for any two numbers that an exchange sends
HOLES = 64  # ranges of missing trades remembered at once


class Now(NamedTuple):
    """One moment: nanoseconds of the wall clock (for stamps) and of the monotonic clock (for timers)."""

    wall: int
    mono: int


class Place(Struct, frozen=True):
    """Where a topic's records come from: what its stamps say."""

    exchange: str
    conn: str


class Carried(Struct):
    """What one connection's topic leaves to the next: its open gap, the last number that it knew, and its time."""

    gap: Gap | None = None
    last: int | None = None
    newest: int = 0


def with_flag(record: Record, flag: Flag) -> None:
    """Add a flag to a record."""
    flags: Flags = record.flags or ()
    if flag not in flags:
        record.flags = (*flags, flag)


class Topic:
    """A topic of no numbering: every record passes, and the first one ends a gap."""

    __slots__ = (
        "_gaps",
        "_newest",
        "channel",
        "conn",
        "count",
        "duplicates",
        "exchange",
        "gap",
        "heard",
        "instrument",
        "last",
        "raw_symbol",
        "state",
        "subscribed",
        "symbol",
    )

    def __init__(
        self, channel: Channel, raw_symbol: str | None, instrument: Instrument | None, place: Place, carried: Carried
    ) -> None:
        """Begin with what the connection before left over."""
        self.channel: Channel = channel
        self.raw_symbol = raw_symbol
        self.instrument = instrument
        self.symbol = instrument.symbol if instrument else None
        self.exchange = place.exchange
        self.conn = place.conn
        self.gap = carried.gap
        self.last = carried.last
        self.state: TopicState = "subscribing"
        self.subscribed = 0  # mono
        self.heard = 0  # mono; 0: never
        self.count = 0
        self.duplicates = 0
        self._newest = carried.newest  # the exchange's time of the last record that was numbered as next
        self._gaps = 0

    def take(self, record: Record, out: list[Record], now: Now) -> None:
        """Check a stamped record and put what may be published into `out`."""
        self.count += 1
        out.append(record)
        if self.gap is not None:
            self.close_gap(out, now, "none")

    def tick(self, out: list[Record], now: Now) -> None:
        """Do what is due by time alone."""

    def lose(self, cause: Cause, out: list[Record], now: Now) -> None:
        """The topic can no longer be trusted: open a gap, unless one is open."""
        self.open_gap(cause, out, now)

    def carried(self) -> Carried:
        """What the next connection's topic begins with."""
        return Carried(self.gap, self.last, self._newest)

    def open_gap(
        self,
        cause: Cause,
        out: list[Record],
        now: Now,
        *,
        expected: int | None = None,
        got: int | None = None,
        missed: int | None = None,
    ) -> None:
        """Publish that something is missing from here on, unless that is said already."""
        if self.gap is not None:
            return
        self._gaps += 1
        self.state = "suspect"
        self.gap = Gap(
            gap_id=f"{self.conn}:{self.channel}:{self.raw_symbol or '*'}:{self._gaps}",
            phase="open",
            channel=self.channel,
            cause=cause,
            ts_from=now.wall,
            expected=expected,
            got=got,
            missed=missed,
        )
        out.append(self._stamped(self.gap, now))

    def close_gap(
        self, out: list[Record], now: Now, repair: Repair, *, missed: int | None = None, recovered: int = 0
    ) -> None:
        """Publish that the open gap has ended."""
        gap = self.gap
        if gap is None:
            return
        self.gap = None
        self.state = "live"
        closed = Gap(
            gap_id=gap.gap_id,
            phase="close",
            channel=self.channel,
            cause=gap.cause,
            ts_from=gap.ts_from,
            ts_to=now.wall,
            expected=gap.expected,
            got=gap.got,
            missed=gap.missed if missed is None else missed,
            repair=repair,
            recovered=recovered,
        )
        out.append(self._stamped(closed, now))

    def _stamped(self, gap: Gap, now: Now) -> Gap:
        gap.exchange, gap.symbol, gap.raw_symbol = self.exchange, self.symbol, self.raw_symbol
        gap.ts_recv, gap.conn, gap.source = now.wall, self.conn, "derived"
        return gap


class Sized(Topic):
    """A topic whose records have sizes: contracts are told in base or quote amounts where the instrument says how."""

    __slots__ = ()

    def take(self, record: Trade | Liquidation, out: list[Record], now: Now) -> None:  # type: ignore[override]
        """As any topic, with the sizes filled in."""
        if record.size_unit == "base" and record.base_size is None:
            record.base_size = record.size
        else:
            fill_sizes(record, self.instrument)
        self.count += 1
        out.append(record)
        if self.gap is not None:
            self.close_gap(out, now, "none")


class Numbered(Sized):
    """Trades whose numbers show what is missing, late or twice."""

    __slots__ = ("_follows", "_holes", "_missed", "_recovered", "_settle_at")

    def __init__(
        self,
        channel: Channel,
        raw_symbol: str | None,
        instrument: Instrument | None,
        place: Place,
        carried: Carried,
        rule: Rule,
    ) -> None:
        """Begin with what the connection before left over; `rule` judges the numbers."""
        super().__init__(channel, raw_symbol, instrument, place, carried)
        self._follows = rule.follows
        self._holes: deque[tuple[int, int]] = deque(maxlen=HOLES)
        self._missed = 0
        self._recovered = 0
        self._settle_at = 0

    def take(self, record: Trade | Liquidation, out: list[Record], now: Now) -> None:  # type: ignore[override]
        """Pass what is next; open a gap where numbers are skipped; let late ones fill it; drop what came before."""
        last, final = self.last, record.sequence
        if final is None or last is None:
            self.last = final
        else:
            first = final if record.sequence_first is None else record.sequence_first
            verdict = self._follows(last, first, final, record.sequence_prev)
            if verdict is not NEXT and not self._is_welcome(record, verdict, first, final, out, now):
                return
            self.last = final if final > last or verdict is NEXT else last
            if self.gap is not None and not self._holes:  # an earlier connection's, and nothing is missing
                self.close_gap(out, now, "not_needed", missed=0)
        if record.ts_event is not None and record.ts_event > self._newest:
            self._newest = record.ts_event
        if record.size_unit == "base" and record.base_size is None:
            record.base_size = record.size
        else:
            fill_sizes(record, self.instrument)
        self.count += 1
        out.append(record)
        if self.gap is not None and not self._holes:
            self.close_gap(out, now, "none")

    def _is_welcome(
        self, record: Trade | Liquidation, verdict: Verdict, first: int, final: int, out: list[Record], now: Now
    ) -> bool:
        """Whether a record out of sequence is published: what it skips is a hole, what fills a hole is late."""
        if verdict is GAP:
            self._skip((self.last or 0) + 1, first, out, now)
            return True
        hole = next((hole for hole in self._holes if hole[0] <= first and final <= hole[1]), None)
        if hole is not None:
            self._fill(hole, first, final, out, now)
            with_flag(record, "late")
            return True
        if record.ts_event is not None and record.ts_event > self._newest:  # younger, yet lower: they count anew
            self.open_gap("sequence", out, now, expected=(self.last or 0) + 1, got=first)
            self.close_gap(out, now, "none")
            self.last = final
            return True
        self.duplicates += 1
        return False

    def _skip(self, expected: int, got: int, out: list[Record], now: Now) -> None:
        self._holes.append((expected, got - 1))
        self._missed += got - expected
        self._settle_at = now.mono + LATE
        self.open_gap("sequence", out, now, expected=expected, got=got, missed=got - expected)

    def _fill(self, hole: tuple[int, int], first: int, final: int, out: list[Record], now: Now) -> None:
        self._holes.remove(hole)
        self._holes.extend(part for part in ((hole[0], first - 1), (final + 1, hole[1])) if part[0] <= part[1])
        self._recovered += final - first + 1
        if not self._holes:
            self._settle(out, now)

    def tick(self, out: list[Record], now: Now) -> None:
        """Close the gap of trades that have been waited for long enough."""
        if self._holes and now.mono >= self._settle_at:
            self._settle(out, now)

    def _settle(self, out: list[Record], now: Now) -> None:
        left = self._missed - self._recovered
        repair: Repair = "full" if left == 0 else "partial" if self._recovered else "none"
        self.close_gap(out, now, repair, missed=self._missed, recovered=self._recovered)
        self._holes.clear()
        self._missed = self._recovered = 0


class BookTopic(Topic):
    """A book: deltas are joined to a snapshot, checked by number, checksum and crossing, and withheld while in doubt.

    resync: called with the raw symbol when a whole book is needed from the exchange
    in_band: whether the stream brings the whole book by itself, before its deltas
    """

    __slots__ = (
        "_asked",
        "_buffer",
        "_checksum",
        "_depth",
        "_in_band",
        "_judge",
        "_resync",
        "_rule",
        "_snapshots",
        "book",
        "withheld",
    )

    def __init__(
        self,
        raw_symbol: str | None,
        instrument: Instrument | None,
        place: Place,
        carried: Carried,
        *,
        rule: Rule,
        depth: int | None,
        checksum: Callable[[Book], int] | None,
        resync: Callable[[str | None], None],
        in_band: bool,
    ) -> None:
        """Begin without a book; a gap that the connection before left stays open until a snapshot comes."""
        super().__init__("book", raw_symbol, instrument, place, Carried(carried.gap))
        self._rule = rule
        self._judge = rule.joins
        self._depth = depth
        self._checksum = checksum
        self._resync = resync
        self._in_band = in_band
        self._buffer: deque[BookDelta] = deque(maxlen=BUFFER)
        self._asked = False
        self._snapshots = 0
        self.book: Book | None = None
        self.withheld = 0  # deltas held back since the book was last good

    def take(self, record: Record, out: list[Record], now: Now) -> None:
        """Pass a delta that fits the book, or a snapshot that starts it anew."""
        if type(record) is BookDelta:
            if self.book is None:
                self._hold(record)
            else:
                self._continue(self.book, record, out, now)
        elif type(record) is BookSnapshot:
            self._start(record, out, now)

    def _continue(self, book: Book, delta: BookDelta, out: list[Record], now: Now) -> None:
        last, final = self.last, delta.sequence
        if last is not None and final is not None:
            first = final if delta.sequence_first is None else delta.sequence_first
            verdict = self._judge(last, first, final, delta.sequence_prev)
            if verdict is not NEXT:
                self._stumble(delta, verdict, out, now)
                return
        try:
            crossed = book.apply(delta.bids, delta.asks)
        except BadFrame:
            self._doubt("parse_error", out, now)
            raise
        if crossed:
            self._doubt("crossed", out, now)
        elif delta.checksum is not None and self._checksum is not None and self._checksum(book) != delta.checksum:
            self._doubt("checksum", out, now, got=delta.checksum)
        else:
            if final is not None:
                self.last = final
                self._judge = self._rule.follows
            self._newest = delta.ts_event or delta.ts_sent or 0
            self.count += 1
            out.append(delta)

    def _stumble(self, delta: BookDelta, verdict: Verdict, out: list[Record], now: Now) -> None:
        """A delta that is not the next one: a hole, a duplicate, or (younger, yet lower) numbers that start anew."""
        time = delta.ts_event or delta.ts_sent or 0
        if verdict is GAP or (self._judge is self._rule.follows and 0 < self._newest < time):
            expected, got = (self.last or 0) + 1, delta.sequence_first or delta.sequence
            self._doubt("sequence", out, now, expected=expected, got=got)
            self._hold(delta)
        else:
            self.duplicates += 1

    def _doubt(
        self, cause: Cause, out: list[Record], now: Now, *, expected: int | None = None, got: int | None = None
    ) -> None:
        self.book = None
        self.last = None
        self._buffer.clear()
        self.open_gap(cause, out, now, expected=expected, got=got)
        self.ask()

    def lose(self, cause: Cause, out: list[Record], now: Now) -> None:
        """The book can no longer be trusted: open a gap and ask for a whole book."""
        self._doubt(cause, out, now)

    def ask(self) -> None:
        """Ask for a whole book."""
        self._asked = True
        self._resync(self.raw_symbol)

    def _hold(self, delta: BookDelta) -> None:
        self.withheld += 1
        if self._in_band:
            return
        self._buffer.append(delta)
        if not self._asked:
            self.ask()

    def _start(self, snapshot: BookSnapshot, out: list[Record], now: Now) -> None:
        buffered = self._joinable(snapshot)
        if buffered is None:
            self.ask()  # it is older than what is held
            return
        book = Book(snapshot.bids, snapshot.asks, self._depth)
        cause: Cause | None = "crossed" if book.is_crossed() else None
        if snapshot.checksum is not None and self._checksum is not None and self._checksum(book) != snapshot.checksum:
            cause = "checksum"
        if cause is not None:
            self._doubt(cause, out, now, got=snapshot.checksum)
            return
        limit(snapshot)
        if self._snapshots and snapshot.reason == "initial":
            snapshot.reason = "resync"
        self._snapshots += 1
        self._judge = self._rule.joins
        self.book, self.last, self._asked, self.withheld = book, snapshot.sequence, False, 0
        self._newest = 0
        self._buffer.clear()
        self.count += 1
        self.state = "live"
        out.append(snapshot)
        self.close_gap(out, now, "none")
        for delta in buffered:
            self.take(delta, out, now)

    def _joinable(self, snapshot: BookSnapshot) -> list[BookDelta] | None:
        """The held deltas that come after the snapshot; None where something between is missing."""
        if snapshot.sequence is None:
            return []
        buffered = list(self._buffer)
        for at, delta in enumerate(buffered):
            final = delta.sequence or 0
            first = final if delta.sequence_first is None else delta.sequence_first
            verdict = self._rule.joins(snapshot.sequence, first, final, delta.sequence_prev)
            if verdict is GAP or (verdict is NEXT and at == 0 and not self._rule.sure):
                return None  # where numbers show no holes, the snapshot must be newer than the first delta held
            if verdict is NEXT:
                return buffered[at:]
        return []

    def snapshot(self, now: Now) -> BookSnapshot | None:
        """The live book as a record, or None where there is none that can be trusted."""
        if self.book is None:
            return None
        found = BookSnapshot(
            exchange=self.exchange,
            symbol=self.symbol,
            raw_symbol=self.raw_symbol,
            ts_recv=now.wall,
            conn=self.conn,
            source="derived",
            flags=("snapshot",),
            sequence=self.last,
            bids=self.book.bids(),
            asks=self.book.asks(),
            depth=self._depth,
            reason="request",
        )
        limit(found)
        return found


def limit(snapshot: BookSnapshot) -> None:
    """Say beyond which prices a snapshot of limited depth knows nothing."""
    depth = snapshot.depth
    if depth is not None and len(snapshot.bids) >= depth:
        snapshot.bid_floor = snapshot.bids[-1][0]
    if depth is not None and len(snapshot.asks) >= depth:
        snapshot.ask_cap = snapshot.asks[-1][0]


def fill_sizes(record: Trade | Liquidation, instrument: Instrument | None) -> None:
    """Give a trade or liquidation its size in base or quote units, where the contract size is known."""
    if record.size_unit == "base":
        record.base_size = record.base_size or record.size
    elif record.size_unit == "quote":
        record.quote_size = record.quote_size or record.size
    elif instrument is not None and instrument.contract_size is not None:
        amount = times(record.size, instrument.contract_size)
        if instrument.linear:
            record.base_size = record.base_size or amount
        else:
            record.quote_size = record.quote_size or amount


def times(size: str, contract_size: str) -> str:
    """Two decimal texts multiplied, exactly."""
    return size if contract_size == "1" else f"{EXACT.multiply(Decimal(size), Decimal(contract_size)):f}"
