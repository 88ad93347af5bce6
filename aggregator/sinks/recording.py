"""The files that this sink wrote, read as the stream that they hold: one after the other, and several at once in order.

Each file has some of the stream's topics for some of the time. Together they are one stream again, by epoch and offset.
"""

import re
import resource
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import groupby, islice, pairwise
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
import zstandard
from msgspec import Struct

from aggregator.bus.bus import encode_lines
from aggregator.bus.history import BadStart, Beginning, Cursor, Start
from aggregator.bus.recording import Complain, Excerpt, Excerpts, Opening
from aggregator.bus.selection import ALWAYS, KIND, Glob, Selection, topic_of
from aggregator.bus.view import Wanted
from aggregator.errors import UNREADABLE, ConfigError
from aggregator.records import CHANNELS, SCHEMA, BookSnapshot, Instrument, Record, decode_record
from aggregator.sinks.notes import FOOTER, HEADER, Footer, sink_gap
from aggregator.sinks.paths import STAMPED, SUFFIX, Scope
from aggregator.sinks.recorded_file import (
    LONGEST_LINE_BYTES,
    FileHead,
    RecordPlace,
    decode_head,
    decode_place,
    open_lines,
)

ENDS = (SUFFIX, SUFFIX + ".zst")
CHUNK_BYTES = 256 * 1024  # read of one file at once, and less where there are many
ALL_CHUNKS_BYTES = 16 * 2**20
LEAST_CHUNK_BYTES = 16 * 1024
READER = "replay"  # the `conn` of gaps that tell what cannot be read
LOOK_LINES = 100  # the first records of a file: one of them says where it begins
SPARE_FILES = 64  # descriptors that are left to others


class _State(Struct, tag_field="type", tag="header"):
    """The part of a header that says how things stood."""

    instruments: list[Instrument] = []
    books: list[BookSnapshot] = []


_state: Callable[[bytes], _State] = msgspec.json.Decoder(_State).decode
_footer: Callable[[bytes], Footer] = msgspec.json.Decoder(Footer).decode


class RecordedFile(Struct, frozen=True):
    """One file, and its place in the stream.

    first, first_ts: the offset and the time of its first record
    ends_ts, ends_offset: what follows of the same topics begins then and there, in another file; null: nothing does
    """

    path: Path
    head: FileHead
    first: int
    first_ts: int
    ends_ts: int | None = None
    ends_offset: int | None = None

    @property
    def scope(self) -> Scope:
        """The topics that all its records have in common."""
        return Scope(self.head.exchange, self.head.channel, self.head.symbol, self.head.raw_symbol)

    @property
    def series(self) -> tuple[str, Scope, str]:
        """The part that it has in common with the files before and after it."""
        return self.head.epoch, self.scope, STAMPED.sub("", _stem(self.path))

    @property
    def is_current(self) -> bool:
        """Tell whether its writer may not have come to its end: nobody has closed it."""
        return self.path.name.endswith(SUFFIX) and not STAMPED.search(_stem(self.path))

    def may_hold(self, wanted: Selection) -> bool:
        """Tell whether any of its records may be wanted."""
        head = self.head
        channels = {head.channel, *ALWAYS} if head.channel in CHANNELS else None
        names = {head.symbol, head.raw_symbol} - {None}
        for channel, exchange, symbols in wanted.parts():
            is_there = head.exchange is None or _fits(exchange, head.exchange)
            is_meant = channels is None or head.channel is None or channel in channels
            if is_there and is_meant and (not names or channel in ALWAYS or symbols.matches(tuple(map(str, names)))):
                return True
        return False


def _fits(exchange: str | Glob, name: str) -> bool:
    return exchange.matches(name) if isinstance(exchange, Glob) else exchange == name


def _stem(path: Path) -> str:
    return re.sub(r"\.ndjson(\.zst)?\Z", "", path.name)


def is_recording(path: Path) -> bool:
    """Tell whether a file begins as those of the sink do. Raises OSError."""
    with open_lines(path) as file:
        try:
            return file.read(len(HEADER)) == HEADER
        except zstandard.ZstdError:
            return False


def files_below(path: Path) -> list[Path]:
    """The files in a directory, and in those below it, that have the name of a recording."""
    return sorted(each for each in path.rglob("*") if each.name.endswith(ENDS) and each.is_file())


class FilesRecording:
    """Files of one daemon, of one life or several."""

    def __init__(self, paths: Iterable[Path], complain: Complain) -> None:
        """Look at the beginning of each file. Raises OSError; ConfigError where they are not of one stream."""
        self.lost: list[Path] = []  # those of which nothing can be read
        found: list[RecordedFile] = []
        for path in dict.fromkeys(path.absolute() for path in paths):
            try:
                file = _found(path)
            except OSError as error:
                complain(f"{path}: {error.strerror or error}")
                self.lost.append(path)
                continue
            except (*UNREADABLE, zstandard.ZstdError, ValueError) as error:
                complain(f"{path}:1: not the header of a recording: {error}")
                self.lost.append(path)
                continue
            if file is not None:
                found.append(file)
        self.files = _in_order(found)
        _check_lives(self.files)
        self._epochs = list(dict.fromkeys(file.head.epoch for file in self.files))
        _have_descriptors(len(self.files))

    def opening(self, ts: int | None) -> Opening | None:
        """Give what the headers of that time say, and the topics that all of them name."""
        if not self.files:
            return None
        first = self.files[0]
        begun = [file.head for file in self.files if ts is not None and file.head.ts <= ts]
        newest_head = max(begun, key=lambda head: (head.epoch, head.offset), default=None)
        place = Cursor(first.head.epoch, max(0, first.first - 1))
        if newest_head is not None:
            place = Cursor(newest_head.epoch, newest_head.offset)
        ts = first.first_ts if ts is None else ts
        instruments: dict[tuple[str, str | None], Instrument] = {}
        topics: dict[Wanted, None] = {}
        newest: dict[tuple[Scope, str], RecordedFile] = {}
        for file in self.files:
            head, series = file.head, file.series[1:]
            if head.channel in CHANNELS and head.exchange and head.raw_symbol:
                topics[Wanted(head.channel, head.exchange, head.raw_symbol, head.symbol)] = None
            if head.ts <= ts or series not in newest:
                newest[series] = file
        for file in newest.values():
            state = _state_of(file)
            instruments |= {(each.exchange, each.raw_symbol): each for each in state.instruments if each.ts_recv < ts}
            for book in state.books:
                topics[Wanted("book", book.exchange, book.raw_symbol or "", book.symbol)] = None
        return Opening(place, list(topics), list(instruments.values()))

    def play(self, start: Beginning, wanted: Selection, complain: Complain) -> Excerpts:
        """Give what follows a place. Raises BadStart."""
        place, ts = self._begin(start)
        files = [file for file in self.files if file.may_hold(wanted) and not _is_over(file, place, ts, self._epochs)]
        has_begun = False
        for epoch, those in groupby(files, key=lambda file: file.head.epoch):
            if place is not None and self._epochs.index(epoch) > self._epochs.index(place.epoch):
                has_begun = True
            for excerpt in _Merge(list(those), wanted, complain).excerpts():
                if has_begun or excerpt.is_past:
                    yield excerpt
                    continue
                at = _beginning(excerpt.records, place, ts)
                if at:
                    yield _part(excerpt, 0, at, is_past=True)
                if at < len(excerpt.records):
                    has_begun = True
                    if place is None and self.lost:
                        yield self._tell_lost(epoch, excerpt.records[at])
                    yield _part(excerpt, at, len(excerpt.records))

    def _begin(self, start: Beginning) -> tuple[Cursor | None, int | None]:
        """The place behind which, or the time at which, to begin; both null: at the beginning."""
        if isinstance(start, Start):
            return None, start.ts or 0
        if not isinstance(start, Cursor):
            return None, None
        if start.epoch not in self._epochs:
            known = ", ".join(self._epochs)
            raise BadStart(f"the epoch {start.epoch!a:.40} is not in this recording, which has {known}")
        return start, None

    def _tell_lost(self, epoch: str, first: Record) -> Excerpt:
        """Say before the first record that there are files of which nothing can be read."""
        offset, ts = max(0, first.offset - 1), (self.files[0].head.ts, first.ts_recv)
        return Excerpt(
            epoch,
            [
                sink_gap(
                    READER,
                    Scope(),
                    gap_id=f"{READER}:{path.name}",
                    cause="damaged",
                    ts=(min(ts), max(ts)),
                    offset=offset,
                )
                for path in self.lost
            ],
        )


def _part(excerpt: Excerpt, start: int, stop: int, *, is_past: bool = False) -> Excerpt:
    lines = None if excerpt.lines is None else excerpt.lines[start:stop]
    return Excerpt(excerpt.epoch, excerpt.records[start:stop], lines, is_past)


def _beginning(records: Sequence[Record], place: Cursor | None, ts: int | None) -> int:
    """How many of these come before the place, or the time."""
    if place is not None:
        return bisect_right(records, place.offset, key=attrgetter("offset"))
    if ts is None:
        return 0
    return next((at for at, record in enumerate(records) if record.ts_recv >= ts), len(records))


# --- the files


def _found(path: Path) -> RecordedFile | None:
    """A file and its place; null: it holds no record. Raises OSError, and what tells that it is none."""
    with open_lines(path) as file:
        line = file.readline(LONGEST_LINE_BYTES)
        if not line:
            return None
        head = decode_head(line)
        if not head.epoch:
            raise ValueError("it does not say of which epoch it is")
        if head.schema > SCHEMA:
            raise ValueError(f"a later version of this program wrote it (schema {head.schema})")
        first = RecordPlace(head.offset, head.ts)
        with suppress(zstandard.ZstdError):
            first = next(filter(None, map(_place_of, islice(file, LOOK_LINES))), first)
    return RecordedFile(path, head, first.offset, first.ts_recv)


def _place_of(line: bytes) -> RecordPlace | None:
    """The offset and the time of a record; null where they cannot be read."""
    try:
        found = decode_place(line)
    except UNREADABLE:
        return None
    return found if found.offset else None


def _state_of(file: RecordedFile) -> _State:
    with open_lines(file.path) as lines:
        return _state(lines.readline(LONGEST_LINE_BYTES))


def _in_order(found: Iterable[RecordedFile]) -> list[RecordedFile]:
    """The files by their place in the stream; each knows the one that follows it."""
    following: dict[object, RecordedFile] = {}
    files: list[RecordedFile] = []
    for file in sorted(found, key=lambda file: (file.head.epoch, file.first, file.head.ts), reverse=True):
        later = following.get(file.series)
        if later is not None:
            file = msgspec.structs.replace(file, ends_ts=later.head.ts, ends_offset=later.first)  # noqa: PLW2901
        following[file.series] = file
        files.append(file)
    return files[::-1]


def _check_lives(files: Sequence[RecordedFile]) -> None:
    """See that one life followed the other. Raises ConfigError where two were at once."""
    spans = [
        (epoch, [file.head.ts for file in those]) for epoch, those in groupby(files, key=lambda file: file.head.epoch)
    ]
    for (one, before), (other, after) in pairwise(spans):
        if max(before) >= min(after):
            raise ConfigError(
                f"these are recordings of two daemons that ran at once (epochs {one} and {other}): name those of one"
            )


def _is_over(file: RecordedFile, place: Cursor | None, ts: int | None, epochs: Sequence[str]) -> bool:
    """Tell whether all of a file comes before the place where a reader begins."""
    if place is not None:
        one, other = epochs.index(file.head.epoch), epochs.index(place.epoch)
        is_behind = one == other and file.ends_offset is not None and file.ends_offset <= place.offset + 1
        return one < other or is_behind
    return ts is not None and file.ends_ts is not None and file.ends_ts <= ts


def _have_descriptors(count: int) -> None:
    """Have room for so many open files, as far as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


# --- reading


class _Item(NamedTuple):
    offset: int
    record: Record
    line: bytes


class _Source:
    """One file that is being read: some of its records, in order. A header's books are a source by themselves."""

    def __init__(self, items: list[_Item], chunks: Generator[list[_Item], None, None] | None = None) -> None:
        self.items = items
        self.is_past = chunks is None
        self._chunks = chunks

    def fill(self, chosen: Callable[[list[_Item]], list[_Item]]) -> bool:
        """Have records that are wanted, if there are any more."""
        while not self.items:
            items = None if self._chunks is None else next(self._chunks, None)
            if items is None:
                return False
            self.items = chosen(items)
        return True

    def close(self) -> None:
        """Read no more."""
        if self._chunks is not None:
            self._chunks.close()

    def take(self, offset: int) -> list[_Item]:
        """The records up to this one."""
        at = bisect_right(self.items, offset, key=itemgetter(0))
        taken, self.items = self.items[:at], self.items[at:]
        return taken


class _Merge:
    """The files of one epoch, as one stream."""

    def __init__(self, files: Sequence[RecordedFile], wanted: Selection, complain: Complain) -> None:
        self._files = list(reversed(files))  # the next one is the last
        self._chunk_bytes = max(LEAST_CHUNK_BYTES, min(CHUNK_BYTES, ALL_CHUNKS_BYTES // len(files)))
        self._complain = complain
        self._wanted = wanted
        self._wants: dict[object, bool] = {}
        self._sources: list[_Source] = []
        self._epoch = files[0].head.epoch

    def excerpts(self) -> Iterator[Excerpt]:
        """Give all that they hold."""
        try:
            yield from self._all()
        finally:
            for source in self._sources:
                source.close()

    def _all(self) -> Iterator[Excerpt]:
        while True:
            self._sources = [source for source in self._sources if source.fill(self._chosen)]
            least = min((source.items[0].offset for source in self._sources), default=None)
            while self._files and (least is None or self._files[-1].first <= least):
                least = self._open(self._files.pop(), least)
            if least is None:
                return
            end = min(source.items[-1].offset for source in self._sources if source.items)
            if self._files:
                end = min(end, self._files[-1].first - 1)
            yield from self._together([(source, source.take(end)) for source in self._sources])

    def _open(self, file: RecordedFile, least: int | None) -> int | None:
        """Begin to read a file; the least offset of what is there then."""
        reading = _Reading(file, self._complain, self._chunk_bytes)
        source = _Source([], reading.chunks())
        self._sources.append(source)
        new = [source] if source.fill(self._chosen) else []
        if reading.books:
            books = [_Item(reading.offset, book, b"") for book in reading.books if self._is_wanted(book)]
            if books:
                new.append(_Source(books))
                self._sources.append(new[-1])
        return min([each.items[0].offset for each in new] + ([] if least is None else [least]), default=None)

    def _together(self, taken: Sequence[tuple[_Source, list[_Item]]]) -> Iterator[Excerpt]:
        there = [(source, items) for source, items in taken if items]
        if all(not source.is_past for source, _ in there):
            items = (
                there[0][1] if len(there) == 1 else sorted((i for _, some in there for i in some), key=itemgetter(0))
            )
            yield self._excerpt(items)
            return
        mixed = [(item, source.is_past) for source, some in there for item in some]
        mixed.sort(key=lambda each: (each[0].offset, each[1]))  # a header's books are as of behind that offset
        for is_past, group in groupby(mixed, key=itemgetter(1)):
            yield self._excerpt([item for item, _ in group], is_past=is_past)

    def _excerpt(self, items: Sequence[_Item], *, is_past: bool = False) -> Excerpt:
        return Excerpt(self._epoch, [i.record for i in items], [i.line for i in items], is_past)

    def _chosen(self, items: list[_Item]) -> list[_Item]:
        wants = self._is_wanted
        return [item for item in items if wants(item.record)]

    def _is_wanted(self, record: Record) -> bool:
        if type(record) in KIND:
            return self._wanted.wants(topic_of(record))
        key = type(record), record.exchange, record.raw_symbol, record.symbol
        wanted = self._wants.get(key)
        if wanted is None:
            wanted = self._wants[key] = self._wanted.wants(topic_of(record))
        return wanted


def _some_lines(file: BinaryIO, size: int) -> tuple[list[bytes], str]:
    """Some lines, none at the end, and why nothing can be read behind them. Raises OSError."""
    lines: list[bytes] = []
    try:
        while size > 0:
            line = file.readline(LONGEST_LINE_BYTES)
            if not line:
                break
            lines.append(line)
            size -= len(line)
    except zstandard.ZstdError as error:
        return lines, f"cut off, or not zstd: {error}"
    return lines, ""


class _Reading:
    """One file from its beginning to its end. What cannot be read is named, and a gap stands in its place.

    books, offset: those of its header, which are as of that offset
    """

    def __init__(self, file: RecordedFile, complain: Complain, chunk_bytes: int) -> None:
        self.books: list[BookSnapshot] = []
        self.offset = file.head.offset
        self._file = file
        self._complain = complain
        self._chunk_bytes = chunk_bytes
        self._number = 0  # the last line that was read
        self._count = 0  # records, those that cannot be read among them
        self._bad = 0  # lines that cannot be read, since the last record
        self._bad_from = 0
        self._has_bad = False  # some lines could not be read
        self._offset, self._ts = max(0, file.first - 1), file.head.ts  # the place of the last record
        self._first_ts = self._ts
        self._footer: Footer | None = None
        self._digest = sha256()  # it is taken of all lines but the footer

    def chunks(self) -> Generator[list[_Item], None, None]:
        """Give its records, some at a time."""
        try:
            with open_lines(self._file.path) as file:
                yield from self._read(file)
        except OSError as error:
            self._complain(f"{self._file.path}:{self._number + 1}: {error.strerror or error}")
            yield [self._gap(self._ts, None)]

    def _read(self, file: BinaryIO) -> Iterator[list[_Item]]:
        reason, lines = "", [b""]
        while lines and not reason:
            lines, reason = _some_lines(file, self._chunk_bytes)
            items = self._items(lines)
            if items:
                yield items
        yield from self._ending(reason)

    def _items(self, lines: list[bytes]) -> list[_Item]:
        has_footer = bool(lines) and lines[-1].startswith(FOOTER)
        self._digest.update(b"".join(lines[:-1] if has_footer else lines))
        if lines and not self._number:
            self._number = 1
            with suppress(*UNREADABLE):
                self.books = _state(lines[0]).books
            del lines[0]
        if not self._bad and lines and not has_footer:
            with suppress(*UNREADABLE):
                records = [decode_record(line) for line in lines]
                offsets = [self._offset, *(record.offset for record in records)]
                if lines[-1].endswith(b"\n") and offsets == sorted(offsets):
                    self._number += len(lines)
                    self._count += len(lines)
                    self._first_ts = min(self._first_ts, records[0].ts_recv)
                    self._offset, self._ts = records[-1].offset, records[-1].ts_recv
                    return [_Item(record.offset, record, line) for record, line in zip(records, lines, strict=True)]
        return self._one_by_one(lines)

    def _one_by_one(self, lines: Iterable[bytes]) -> list[_Item]:
        items: list[_Item] = []
        for line in lines:
            self._number += 1
            if line.startswith(FOOTER):
                with suppress(*UNREADABLE):
                    self._footer = _footer(line)
                    continue
            try:
                record = decode_record(line)
            except UNREADABLE as error:
                if not line.endswith(b"\n") and self._file.is_current:
                    continue  # it is being written
                self._miss(str(error))
                continue
            if self._bad:
                items.append(self._gap(record.ts_recv, self._bad))
            self._count += 1
            self._offset, self._ts = max(self._offset, record.offset), record.ts_recv  # nothing is told out of order
            self._first_ts = min(self._first_ts, record.ts_recv)
            items.append(_Item(self._offset, record, line if line.endswith(b"\n") else line + b"\n"))
        return items

    def _miss(self, reason: str) -> None:
        self._complain(f"{self._file.path}:{self._number}: not a record: {reason}")
        if not self._bad:
            self._bad_from = self._number
        self._bad += 1
        self._has_bad = True
        self._count += 1

    def _ending(self, reason: str) -> Iterator[list[_Item]]:
        """Say what is missing at the end of the file."""
        footer = self._footer
        missing = 0 if footer is None else max(0, footer.records - self._count)
        is_changed = footer is not None and footer.hash != self._digest.hexdigest() and not self._has_bad
        if footer is not None and (missing or is_changed):
            known = f"{missing} of its records are not there" if missing else "any of its records may be wrong"
            self._complain(f"{self._file.path}:{self._number}: it is not what was written: {known}")
            self._ts = self._first_ts
            yield [self._gap(max(self._ts, footer.ts), self._bad + missing or None)]
        elif footer is None and (reason or not self._file.is_current):
            self._complain(f"{self._file.path}:{self._number + 1}: {reason or 'cut off: its last line is missing'}")
            end = self._ts
            if reason:  # the records before that may be wrong already
                self._ts = self._first_ts
            yield [self._gap(end, None)]
        elif self._bad:
            yield [self._gap(self._ts if footer is None else max(self._ts, footer.ts), self._bad)]

    def _gap(self, ts: int, missed: int | None) -> _Item:
        """The gap for what cannot be read behind the last record."""
        gap = sink_gap(
            READER,
            self._file.scope,
            gap_id=f"{READER}:{self._file.path.name}:{self._bad_from or self._number + 1}",
            cause="damaged",
            ts=(min(self._ts, ts), max(self._ts, ts)),
            offset=self._offset,
            missed=missed,
        )
        self._bad = self._bad_from = 0
        return _Item(gap.offset, gap, encode_lines([gap]))
