"""A recording: everything below a directory, whatever it was written by, read as one stream."""

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, structs

from aggregator.client.books import LiveBook
from aggregator.derived.channel import SOURCE, Stamp
from aggregator.derived.channels import find
from aggregator.records import (
    CHANNEL_OF,
    HOUR_S,
    RECORD_TYPES,
    SECOND_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Gap,
    Health,
    Instrument,
    Levels,
    Record,
    Trade,
)
from aggregator.research.choice import FOREVER, Choice
from aggregator.research.defects import Defect, Defects
from aggregator.research.finding import RecordingFile, find_files, open_strand
from aggregator.research.gaps import Gaps, intervals
from aggregator.research.lines import LinesFile
from aggregator.research.past import Once
from aggregator.research.rows import Rows
from aggregator.research.strands import RECORDS, Place, Portion, Strand, merged
from aggregator.research.times import Moment, nanoseconds
from aggregator.tables.arrow import to_batch
from aggregator.tables.columns import TYPE_OF, types_of

Origin = Literal["exchange", "computed"]
LOOKS_BACK_S = (HOUR_S, 6 * HOUR_S, 24 * HOUR_S, 7 * 24 * HOUR_S)  # a book's last snapshot is looked for so far back
OF_BOOKS: frozenset[type[Record]] = frozenset({BookSnapshot, BookDelta, Gap, Health})
OF_MARKETS: frozenset[type[Record]] = frozenset({Trade, Bbo, Instrument})


class BookAt(Struct, frozen=True, kw_only=True):
    """A book as it stood at one moment.

    bids, asks: levels of text, best first
    ts: the `ts_recv` of the last record that changed it
    doubt: why it cannot be trusted; empty where it can
    """

    exchange: str
    symbol: str
    bids: Levels
    asks: Levels
    ts: int
    offset: int
    doubt: str

    @property
    def is_whole(self) -> bool:
        """Tell whether it is as the exchange had it."""
        return not self.doubt


class Recording:
    """Everything that a daemon, a capture or `aggregator convert` has left below a directory, or in a single file.

    Files of NDJSON, plain and compressed, Parquet, captures and the journal may stand side by side; a record that is in
    two of them comes once. Times that are asked for are those of `ts_recv`; `start` is within, `end` is not.
    defects: what could not be read, each told by a warning once
    """

    def __init__(self, *paths: str | PathLike[str], strict: bool = False) -> None:
        """Look what is there. Raises UnreadableRecording where nothing is; `strict`: also for what cannot be read."""
        self._defects = Defects(is_strict=strict)
        self._strands: dict[RecordingFile, Strand | None] = {}
        self._found = find_files(paths)

    @property
    def defects(self) -> list[Defect]:
        """The defects that were met so far."""
        return self._defects.all

    @property
    def files(self) -> list[Path]:
        """The files and journals that it is made of."""
        return [file.path for file in self._found]

    # --- what is asked of it

    def trades(
        self,
        exchange: str | None = None,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Rows:
        """Trades of a market; without names of every one."""
        return self.table("trade", exchange, symbol, start, end)

    def table(
        self,
        type: str,
        exchange: str | None = None,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Rows:
        """Records of one type: its name, or that of a channel which carries one type alone. Raises ValueError."""
        found = types_of(type)
        if len(found) != 1:
            names = ", ".join(each for each, kind in TYPE_OF.items() if not found or kind in found)
            raise ValueError(f"{type!r} is not the name of one record type; there are {names}")
        choice = Choice(frozenset(found), exchange, symbol, *_times(start, end))
        return Rows(found[0], lambda: self._batches(choice, found[0]))

    def candles(
        self,
        exchange: str | None = None,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        interval: str = "1m",
        origin: Origin = "exchange",
    ) -> Rows:
        """Candles of an interval: the exchange's own as they were told, the last word on each, or computed of trades.

        Computed ones need both names. `complete` tells whether a gap lies inside.
        """
        choice = Choice(frozenset({Candle}), exchange, symbol, *_times(start, end))
        if origin == "exchange":
            return Rows(Candle, lambda: self._last_candles(choice, interval))
        if exchange is None or symbol is None:
            raise ValueError("candles are computed of one market: name the exchange and the symbol")
        return Rows(Candle, lambda: self._computed(choice, interval))

    def records(
        self,
        *types: str,
        exchange: str | None = None,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Iterator[Record]:
        """The records themselves, in the order of the stream; `types` names record types or channels (none: all)."""
        kinds = [kind for name in types for kind in self._types(name)] if types else RECORD_TYPES
        for _, record in self.stream(Choice(frozenset(kinds), exchange, symbol, *_times(start, end))):
            yield record

    def gaps(
        self,
        exchange: str | None = None,
        symbol: str | None = None,
        channel: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Gaps:
        """The times in which something is missing of what is named, also those of whole channels and exchanges."""
        channels = frozenset({CHANNEL_OF[kind] for kind in self._types(channel)} if channel is not None else ())
        choice = Choice(frozenset({Gap}), exchange, symbol, is_wide=True, channels=channels)
        start_ns, end_ns = _times(start, end)
        found = intervals((epoch, gap) for epoch, gap in self.stream(choice) if isinstance(gap, Gap))
        return Gaps([g for g in found if g.ts_from < end_ns and (g.ts_to is None or g.ts_to >= start_ns)])

    def books(
        self, exchange: str, symbol: str, start: Moment | None = None, end: Moment | None = None
    ) -> Iterator[tuple[int, LiveBook]]:
        """A book after each of its changes, with the time (ns): one that is kept, so look at it before the next."""
        start_ns, end_ns = _times(start, end)
        book = self.book_before(exchange, symbol, start_ns)
        yield from self._followed(book, start_ns, end_ns)

    def book_at(self, exchange: str, symbol: str, moment: Moment, depth: int | None = None) -> BookAt:
        """A book as it stood at a moment: after every record that had arrived by then. Raises LookupError: none had."""
        ts = nanoseconds(moment)
        book = self.book_before(exchange, symbol, ts + 1)
        if book.last is None:
            raise LookupError(f"no book of {exchange} {symbol} is known at {ts}: no snapshot of it came before")
        return BookAt(
            exchange=exchange,
            symbol=symbol,
            bids=book.bids(depth),
            asks=book.asks(depth),
            ts=book.last.ts_recv,
            offset=book.last.offset,
            doubt=book.doubt,
        )

    # --- how it is read

    def _reading(self, choice: Choice) -> Iterator[Strand]:
        """The strands that may hold what is wanted, by the names of their folders."""
        from aggregator.research.parquet import may_hold

        for file in self._found:
            if file.kind in {"csv", "parquet"} and not may_hold(file.path, choice):
                continue
            if file not in self._strands:
                self._strands[file] = open_strand(file, self._defects)
            strand = self._strands[file]
            if strand is not None:
                yield strand

    def stream(self, choice: Choice) -> Iterator[tuple[str, Record]]:
        """The records that are wanted, each with its epoch."""
        strands = list(self._reading(choice))
        found = merged([(strand.begins(), strand.records(choice)) for strand in strands])
        for portion in _once(strands, found, has_trades=Trade in choice.types):
            for record in portion.rows:
                yield portion.epoch, record

    def _types(self, name: str) -> tuple[type[Record], ...]:
        found = types_of(name)
        if not found:
            raise ValueError(f"{name!r} is neither a channel nor a record type; there are {', '.join(TYPE_OF)}")
        return found

    def _batches(self, choice: Choice, record: type[Record]) -> Iterator[Any]:
        strands = list(self._reading(choice))
        found = merged([(strand.begins(), strand.batches(choice, record)) for strand in strands])
        for portion in _once(strands, found, has_trades=record is Trade):
            yield portion.rows

    # --- candles

    def _last_candles(self, choice: Choice, interval: str) -> Iterator[Any]:
        """The last word on each candle, in the order of their beginnings."""
        last: dict[tuple[str, str | None, int], tuple[str, Candle]] = {}
        for epoch, record in self.stream(choice):
            if isinstance(record, Candle) and record.interval == interval and record.origin == "exchange":
                last[record.exchange, record.raw_symbol, record.ts_open] = epoch, record
        yield from _in_batches(sorted(last.values(), key=lambda held: (held[1].ts_open, held[1].exchange)))

    def _computed(self, choice: Choice, interval: str) -> Iterator[Any]:
        exchange, symbol = str(choice.exchange), str(choice.symbol)
        made = find(f"candles.{interval}")
        if made is None:
            raise ValueError(f"{interval!r} is no interval: write 1m, 5m, 1h, 1d, 100trades, 5base or 1000000quote")
        machine = made.start(Stamp(exchange, symbol, None, f"{SOURCE}candles.{interval}"))
        wide = structs.replace(
            choice, types=frozenset({Trade, Gap, Health}), is_wide=True, channels=frozenset({"trades"})
        )
        last: dict[int, tuple[str, Candle]] = {}
        epoch = ""
        for epoch, record in self.stream(wide):
            told = [*machine.tick(record.ts_recv), *machine.take(record)]
            last |= {candle.ts_open: (epoch, candle) for candle in told if isinstance(candle, Candle)}
        current = machine.current()
        if isinstance(current, Candle):
            last.setdefault(current.ts_open, (epoch, current))
        yield from _in_batches([last[start] for start in sorted(last)])

    # --- books

    def book_before(self, exchange: str, symbol: str, before: int) -> LiveBook:
        """A book as all records before a time (ns) have left it; its snapshot is looked for backwards."""
        book = LiveBook(exchange, symbol)
        if before <= 0:
            return book
        for back in (*(seconds * SECOND_NS for seconds in LOOKS_BACK_S), before):
            book = LiveBook(exchange, symbol)
            for _ in self._followed(book, max(0, before - back), before):
                pass
            if book.last is not None or back >= before:
                break
        return book

    def _followed(self, book: LiveBook, start: int, end: int) -> Iterator[tuple[int, LiveBook]]:
        """Show a book what concerns it, and give it after each change."""
        choice = Choice(OF_BOOKS, book.exchange, book.symbol, start, end, is_wide=True, channels=frozenset({"book"}))
        for _, record in self.follow(book, choice):
            if book.is_meant(record) and book.note(record):
                yield record.ts_recv, book

    def follow(self, book: LiveBook, choice: Choice) -> Iterator[tuple[str, Record]]:
        """The records that are wanted, each with its epoch, before the book has taken them: that is left to the caller.

        A book that has no snapshot yet is given one that a file's header holds. A change that is in this already is
        left out.
        """
        headers = _Headers(self._headers(choice))
        for epoch, record in self.stream(choice):
            if book.snapshot is None and (begun := headers.last_before(epoch, record)) is not None:
                yield epoch, begun
            if not headers.holds(epoch, record):
                yield epoch, record
        if book.snapshot is None and (begun := headers.last_before()) is not None:
            yield headers.epoch, begun

    def instrument(self, exchange: str, symbol: str, end: Moment | None = None) -> Instrument | None:
        """The last word on a market before a time, or else the first after it, by records and by headers of files."""
        choice = Choice(frozenset({Instrument}), exchange, symbol)
        before = _times(None, end)[1]
        found = [record for _, record in self.stream(choice) if isinstance(record, Instrument)]
        for strand in self._reading(structs.replace(choice, types=OF_BOOKS | OF_MARKETS)):
            if isinstance(strand, LinesFile):
                found += [told for told in strand.instruments(choice) if told.exchange == exchange]
        found.sort(key=lambda told: told.ts_recv)
        return next((told for told in reversed(found) if told.ts_recv < before), found[0] if found else None)

    def _headers(self, choice: Choice) -> list[tuple[Place, BookSnapshot]]:
        found = []
        for strand in self._reading(choice):
            if isinstance(strand, LinesFile):
                epoch, ts = strand.head.epoch, strand.begins()[0]
                books = (book for book in strand.books(choice) if book.exchange == choice.exchange)
                found += [((ts, epoch, book.offset), book) for book in books if book.ts_recv < choice.end]
        return sorted(found, key=lambda held: held[0])


class _Headers:
    """The books of headers, with which one may begin that has no snapshot of its own."""

    def __init__(self, books: list[tuple[Place, BookSnapshot]]) -> None:
        self._books = books
        self.epoch, self._offset = "", -1  # everything up to here is in the book that was given

    def last_before(self, epoch: str | None = None, record: Record | None = None) -> BookSnapshot | None:
        """The last book that stands before a record (null: before the end), if there is one."""
        found = None
        while self._books and (record is None or self._is_before(epoch, record)):
            found = self._books.pop(0)
        if found is None:
            return None
        (_, self.epoch, self._offset), snapshot = found
        return snapshot

    def _is_before(self, epoch: str | None, record: Record) -> bool:
        (_, name, offset), snapshot = self._books[0]
        return offset < record.offset if name == epoch else snapshot.ts_recv <= record.ts_recv

    def holds(self, epoch: str, record: Record) -> bool:
        """Tell whether a change is in the book that was taken."""
        return isinstance(record, BookDelta) and epoch == self.epoch and record.offset <= self._offset


def _once(strands: Sequence[Strand], found: Iterator[Portion], *, has_trades: bool) -> Iterator[Portion]:
    """A stream in which no trade comes twice that was recorded and, of the past, asked for."""
    days = {strand.past_day for strand in strands if has_trades and strand.past_day is not None}
    return Once(days).portions(found) if days else found


def _times(start: Moment | None, end: Moment | None) -> tuple[int, int]:
    return 0 if start is None else nanoseconds(start), FOREVER if end is None else nanoseconds(end)


def _in_batches(held: list[tuple[str, Candle]]) -> Iterator[Any]:
    for at in range(0, len(held), RECORDS):
        part = held[at : at + RECORDS]
        yield to_batch(Candle, [candle for _, candle in part], [epoch for epoch, _ in part])
