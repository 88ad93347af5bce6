"""One market of a recording as the steps that every export is made of, so that a book in doubt is in none.

A step is a book that is whole, a change of it, the moment from which it is not known, or what is told beside it.

A book is not known from the moment on at which a gap of it begins (`ts_from`), however much later that was noticed,
until it is whole again. The same holds for records that cannot be read, and for a daemon's new life.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from aggregator.client.books import DERIVED, LiveBook
from aggregator.errors import AggregatorError
from aggregator.records import BookDelta, BookSnapshot, Gap, Instrument, Levels, Record, Trade, is_hole
from aggregator.research.choice import FOREVER, Choice
from aggregator.research.defects import Defect, UnreadableRecording
from aggregator.research.gaps import GapInterval, intervals
from aggregator.research.recording import OF_BOOKS, Recording
from aggregator.research.times import Moment, nanoseconds

OFF_BOOK = frozenset({"block", "rfq"})  # trades that met no order of the book
NO_LEVELS: Levels = []


class NoSuchMarket(AggregatorError):
    """The recording has nothing of a market, or the name means several."""


class WholeBook(Struct):
    """The book is these levels; whatever it was before.

    ts: our clock, which never runs back from one step to the next
    ts_exchange: the exchange's; null: it did not say
    """

    ts: int
    ts_exchange: int | None
    sequence: int | None
    bids: Levels
    asks: Levels


class BookChange(Struct):
    """Levels have changed; a size of zero removes. Levels that left a book of limited depth are among them."""

    ts: int
    ts_exchange: int | None
    sequence: int | None
    bids: Levels
    asks: Levels


class BookLost(Struct):
    """The book is not known from here on; it was these levels."""

    ts: int
    bids: Levels
    asks: Levels


class Beside(Struct):
    """A record that is not of the book."""

    ts: int
    ts_exchange: int | None
    record: Record


Step = WholeBook | BookChange | BookLost | Beside


class Unknown(Struct):
    """A time in which the book is not known, and so is not exported. A null `ts_to`: to the end."""

    ts_from: int
    ts_to: int | None
    why: str


class _Hole(Struct, frozen=True):
    """A moment from which the book is not known, and the gap that says so."""

    ts: int
    why: str
    key: tuple[str, str, str | None, str | None]


class RecordedMarket:
    """One market of a recording, in a time.

    exchange, symbol, raw_symbol: its names; symbol is null where no record gives it
    instrument: its steps and its kind; null: nothing in the recording tells them
    gaps: what is missing of it, of any channel
    unknown: when the book is not known; whole once the steps are through
    counts: the records that the steps were made of, by type; whole once they are through
    left_out: what the steps leave out, by the reason; likewise
    book: the book as it is at the step that was given last
    """

    def __init__(
        self, recording: Recording, exchange: str, symbol: str, start: Moment | None = None, end: Moment | None = None
    ) -> None:
        """Look for its gaps and its instrument. Raises BadMoment, UnreadableRecording."""
        self.exchange = exchange
        self.start = 0 if start is None else nanoseconds(start)
        self.end = FOREVER if end is None else nanoseconds(end)
        self.instrument: Instrument | None = recording.instrument(exchange, symbol, self.end)
        self.symbol: str | None = None if self.instrument is None else self.instrument.symbol
        self.raw_symbol: str | None = None if self.instrument is None else self.instrument.raw_symbol
        self.unknown: list[Unknown] = []
        self.counts: dict[str, int] = {}
        self.left_out: dict[str, int] = {}
        self._recording = recording
        self._name = symbol
        self._holes: list[_Hole] = []
        self.gaps: list[GapInterval] = []
        self.book = LiveBook(exchange, symbol)
        self._look_for_gaps()

    @property
    def name(self) -> str:
        """The name that it has in files: the exchange's own."""
        return self.raw_symbol or self._name

    def _look_for_gaps(self) -> None:
        choice = Choice(frozenset({Gap}), self.exchange, self._name, is_wide=True)
        told = [(epoch, gap) for epoch, gap in self._recording.stream(choice) if isinstance(gap, Gap)]
        found: dict[tuple[str, str, str | None, str | None], _Hole] = {}
        for _, gap in told:
            is_wide = gap.phase == "close" and gap.repair == "none" and not gap.exchange
            is_meant = gap.phase == "open" or is_hole(gap) or is_wide
            if gap.channel in {"book", None} and self.start <= gap.ts_recv and is_meant:
                found.setdefault(_key(gap), _Hole(gap.ts_from, f"gap: {gap.cause}", _key(gap)))
        self._holes = sorted((hole for hole in found.values() if hole.ts < self.end), key=lambda hole: hole.ts)
        self.gaps = [
            gap for gap in intervals(told) if gap.ts_from < self.end and (gap.ts_to is None or gap.ts_to >= self.start)
        ]

    def steps(self, *beside: type[Record]) -> Iterator[Step]:
        """The steps, in the order of the stream; of records that are not of the book, those of these types.

        Raises UnreadableRecording where a file has fewer records than it should, and nothing tells where.
        """
        self.unknown, self.counts, self.left_out = [], {}, {}
        self.book = book = self._recording.book_before(self.exchange, self._name, self.start)
        following = _Following(book, list(self._holes), self.start)
        choice = Choice(
            OF_BOOKS | frozenset(beside),
            self.exchange,
            self._name,
            self.start,
            self.end,
            is_wide=True,
            channels=frozenset({"book"}),
        )
        yield from following.begin()
        seen = 0
        for epoch, record in self._recording.follow(book, choice):
            defects = self._recording.defects
            if len(defects) > seen:
                following.miss(defects[seen:])
                seen = len(defects)
            yield from following.meet(epoch, record.ts_recv)
            if isinstance(record, Gap) or type(record) in OF_BOOKS:
                yield from self._of_book(following, record)
            elif self._is_meant(record):
                self._count(record)
                yield Beside(following.ts, exchange_time(record), record)
        following.miss(self._recording.defects[seen:])
        yield from following.end()
        self.unknown = following.unknown
        self.left_out["changes of a book that is not known"] = following.ignored
        self.left_out = {why: count for why, count in self.left_out.items() if count}

    def _of_book(self, following: "_Following", record: Record) -> Iterator[Step]:
        if not following.book.is_meant(record):
            following.pass_by(record)
            return
        if isinstance(record, BookSnapshot | BookDelta):
            self._call(record)
            self._count(record)
        yield from following.take(record)

    def _is_meant(self, record: Record) -> bool:
        if record.conn.startswith(DERIVED):
            return False
        self._call(record)
        if isinstance(record, Trade) and record.kind in OFF_BOOK:
            why = f"trades of kind {record.kind}, which met no order of the book"
            self.left_out[why] = self.left_out.get(why, 0) + 1
            return False
        return True

    def _call(self, record: Record) -> None:
        """Learn the names, and see that they stay. Raises NoSuchMarket."""
        if self.raw_symbol is None:
            self.raw_symbol = record.raw_symbol
        elif record.raw_symbol != self.raw_symbol:
            raise NoSuchMarket(
                f"{self.exchange} {self._name} is the name of {self.raw_symbol} and of {record.raw_symbol}: "
                "give the exchange's own name"
            )
        self.symbol = self.symbol or record.symbol

    def _count(self, record: Record) -> None:
        name = type(record).__name__
        self.counts[name] = self.counts.get(name, 0) + 1


class _Following:
    """A book that is followed: what it becomes for a reader who sees only what is sure.

    ts: the time of the last step
    ignored: changes that came while it was not known
    """

    def __init__(self, book: LiveBook, holes: list[_Hole], start: int) -> None:
        self.book = book
        self.ts = start
        self.ignored = 0
        self.unknown: list[Unknown] = []
        self._holes = holes  # the earliest first
        self._pending: set[tuple[str, str, str | None, str | None]] = set()  # holes whose gap has not been told yet
        self._defects: list[Defect] = []
        self._epoch: str | None = None
        self._last = -1  # the time of the last record, as it has it
        self._is_known = False
        self._levels: tuple[set[str], set[str]] = set(), set()  # prices that a reader has, of a book of limited depth

    def begin(self) -> Iterator[Step]:
        """The book as it stands at the beginning."""
        if self.book.is_whole:
            yield self._whole()
        elif self.ts:
            self.unknown.append(Unknown(self.ts, None, self.book.doubt))

    def miss(self, defects: Sequence[Defect]) -> None:
        """Note what cannot be read. Raises UnreadableRecording where nobody knows when that was."""
        for defect in defects:
            if not (defect.line or defect.has_gap):
                raise UnreadableRecording(f"{defect}; or name the other files: whatever is missing here is not known")
            if not defect.has_gap:
                self._defects.append(defect)

    def meet(self, epoch: str, ts: int) -> Iterator[Step]:
        """The steps before a record of this time: what is missing up to there ends the book."""
        before = self.ts
        self.ts = max(before, ts)
        while self._holes and self._holes[0].ts <= ts:
            hole = self._holes.pop(0)
            self._pending.add(hole.key)
            yield from self._lose(max(before, hole.ts), hole.why)
        for defect in [defect for defect in self._defects if (defect.ts_from or 0) <= ts]:
            begins = defect.ts_from or 0
            if begins < ts:
                self._defects.remove(defect)
            elif self._last < begins:
                continue  # this record stands before it; of more of that time nobody can say
            self.book.lose("a part of the recording cannot be read")
            yield from self._lose(max(before, begins), f"{defect.path.name}:{defect.line}: {defect.said}")
        self._last = ts
        if self._epoch is not None and epoch != self._epoch:
            self.book.lose("another life of the daemon has begun")
            yield from self._lose(before, self.book.doubt)
        self._epoch = epoch
        if not (self._is_known or self.unknown):
            self.unknown.append(Unknown(ts, None, self.book.doubt))

    def pass_by(self, record: Record) -> None:
        """Note that a gap has been told, which is not this book's after all."""
        if isinstance(record, Gap):
            self._pending.discard(_key(record))

    def take(self, record: Record) -> Iterator[Step]:
        """The steps that a record makes of the book."""
        self.pass_by(record)
        if isinstance(record, BookSnapshot) and not record.bids and not record.asks:
            yield from self._lose(self.ts, "the book is empty")  # a snapshot without levels cannot say so everywhere
        has_changed = self.book.note(record)
        is_sure = self.book.is_whole and not self._pending
        if not is_sure:
            self.ignored += isinstance(record, BookSnapshot | BookDelta)
            yield from self._lose(self.ts, self.book.doubt)
        elif not self._is_known or (has_changed and isinstance(record, BookSnapshot)):
            yield self._whole()
        elif has_changed and isinstance(record, BookDelta):
            bids, asks = record.bids, record.asks
            snapshot = self.book.snapshot
            if snapshot is not None and snapshot.depth is not None:
                bids = bids + self._fallen(0, bids, snapshot.depth)
                asks = asks + self._fallen(1, asks, snapshot.depth)
            yield BookChange(self.ts, exchange_time(record), record.sequence, bids, asks)

    def end(self) -> Iterator[Step]:
        """The steps behind the last record: something may be missing there, too."""
        for hole in self._holes:
            yield from self._lose(max(self.ts, hole.ts), hole.why)
        for defect in self._defects:
            yield from self._lose(max(self.ts, defect.ts_from or 0), f"{defect.path.name}:{defect.line}: {defect.said}")

    def _whole(self) -> WholeBook:
        last = self.book.last
        self._is_known = True
        if self.unknown and self.unknown[-1].ts_to is None:
            self.unknown[-1].ts_to = self.ts
            if self.unknown[-1].ts_from == self.ts:
                self.unknown.pop()
        bids, asks = self.book.bids(), self.book.asks()
        self._levels = ({plain(price) for price, _ in bids}, {plain(price) for price, _ in asks})
        if last is None:
            return WholeBook(self.ts, None, None, bids, asks)
        return WholeBook(self.ts, exchange_time(last), last.sequence, bids, asks)

    def _lose(self, ts: int, why: str) -> Iterator[Step]:
        if self._is_known:
            self._is_known = False
            self.unknown.append(Unknown(ts, None, why))
            yield BookLost(ts, self.book.bids(), self.book.asks())

    def _fallen(self, side: int, levels: Levels, depth: int) -> Levels:
        """Levels that a book of limited depth has no more, though nobody said that they are gone."""
        known = self._levels[side]
        for price, size in levels:
            (known.discard if is_zero(size) else known.add)(plain(price))
        if len(known) <= depth:
            return NO_LEVELS
        left = {plain(price) for price, _ in (self.book.asks() if side else self.book.bids())}
        fallen = known - left
        known &= left
        return [(price, "0") for price in sorted(fallen)]


def _key(gap: Gap) -> tuple[str, str, str | None, str | None]:
    return gap.gap_id, gap.exchange, gap.raw_symbol, gap.channel


def exchange_time(record: Record) -> int | None:
    """When the exchange says that it happened, or else that it was published."""
    return record.ts_sent if record.ts_event is None else record.ts_event


def is_zero(size: str) -> bool:
    """Tell whether a size removes its level."""
    return not size.lstrip("0.")


def plain(number: str) -> str:
    """A decimal number without zeros that say nothing: two spellings of one number give the same text."""
    sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number.removeprefix("+"))
    whole, _, fraction = digits.partition(".")
    fraction = fraction.rstrip("0")
    text = (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")
    return text if text == "0" else sign + text


def decimals(number: str) -> int:
    """How many digits behind the point say something."""
    return len(number.partition(".")[2].rstrip("0"))
