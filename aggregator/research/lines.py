"""Files of NDJSON, plain or compressed: those of the `files` sink, and lines that somebody kept of standard output."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Union

import msgspec
import zstandard
from msgspec import Struct

from aggregator.errors import UNREADABLE
from aggregator.records import HOUR_S, RECORD_TYPES, SECOND_NS, BookSnapshot, Instrument, Record, decode_record
from aggregator.research.choice import Choice
from aggregator.research.defects import Defect, Defects
from aggregator.research.strands import RECORDS, Place, Portion, batched, past_day, place
from aggregator.sinks.notes import FOOTER, HEADER
from aggregator.sinks.recorded_file import ZST, FileHead, RecordPlace, decode_place, open_lines
from aggregator.sinks.repair import has_footer

SLACK_NS = HOUR_S * SECOND_NS  # times within a file may lie so far before its first record, or behind its last change
READ_BYTES = 2**20
RECORD = b'{"type":"'
NDJSON = ".ndjson"

decode_lines: Callable[[bytes], list[Record]] = msgspec.json.Decoder(Union[RECORD_TYPES]).decode_lines  # noqa: UP007


class LinesHead(FileHead, tag_field="type", tag="header"):
    """A header, with the books and instruments with which it begins."""

    books: msgspec.Raw = msgspec.Raw(b"[]")
    instruments: msgspec.Raw = msgspec.Raw(b"[]")


class FileTail(Struct):
    """The fields of a footer that a reader needs."""

    records: int = 0


decode_head = msgspec.json.Decoder(LinesHead).decode
decode_tail = msgspec.json.Decoder(FileTail).decode
decode_books: Callable[[Any], list[BookSnapshot]] = msgspec.json.Decoder(list[BookSnapshot]).decode
decode_instruments: Callable[[Any], list[Instrument]] = msgspec.json.Decoder(list[Instrument]).decode


class LinesFile:
    """One file of NDJSON.

    head: what its header says; nothing, where it has none
    first: where its first record stands; null: it has no record
    """

    def __init__(self, path: Path, defects: Defects) -> None:
        """Look at its beginning. Raises OSError, ValueError where it holds no records."""
        self.path = path
        self.head = LinesHead()
        self.first: RecordPlace | None = None
        self._defects = defects
        try:
            with open_lines(path) as file:
                self._look(file)
        except zstandard.ZstdError as error:
            self._complain(
                1, f"its beginning cannot be read: {error}", "restore it from a copy; nothing of it is given"
            )

    def _look(self, file: BinaryIO) -> None:
        """Read the header, and on to the first record that can be read: the others are told when they are met."""
        line = file.readline()
        if not line.startswith(RECORD):
            raise ValueError(f"{self.path} holds no records")
        if line.startswith(HEADER):
            try:
                self.head = decode_head(line)
            except UNREADABLE as error:
                self._complain(1, f"its header cannot be read: {error}", "its records are given, of an unknown epoch")
            line = file.readline()
        while line and not line.startswith(FOOTER):
            with suppress(*UNREADABLE):
                self.first = decode_place(line)
                return
            line = file.readline()

    @property
    def past_day(self) -> int | None:
        """The day (since 1970) whose past it holds, as `aggregator backfill` asked for it; null: it was recorded."""
        return past_day(self.first.conn, self.first.ts_recv) if self.first is not None else None

    @property
    def is_closed(self) -> bool:
        """Tell whether its writer has closed it; lines that somebody kept are as closed as they will be."""
        if not self.head.epoch or self.path.suffix == ZST:
            return True
        return has_footer(self.path)

    def begins(self) -> Place:
        """The place of its first record."""
        first = self.first or RecordPlace(self.head.offset, self.head.ts)
        return place(self.head.epoch, first.offset, first.ts_recv)

    def may_hold(self, choice: Choice) -> bool:
        """Tell whether any record that is wanted may be in it, as far as can be told from outside."""
        head = self.head
        if self.first is None or self.first.ts_recv - SLACK_NS >= choice.end:
            return False
        changed = self.path.stat().st_mtime_ns
        if self.first.ts_recv <= changed < choice.start - SLACK_NS:  # else its times are of another clock
            return False
        return choice.may_be_in(head.exchange, head.channel, frozenset({head.symbol, head.raw_symbol}))

    def records(self, choice: Choice) -> Iterator[Portion]:
        """The records that are wanted; what cannot be read is told, and passed over."""
        if not self.may_hold(choice):
            return
        for rows in self._read(choice):
            for at in range(0, len(rows), RECORDS):
                part = rows[at : at + RECORDS]
                yield Portion(self.head.epoch, [row.offset for row in part], part)

    def batches(self, choice: Choice, record: type[Record]) -> Iterator[Portion]:
        """Those of one type, as record batches."""
        return batched(self.records(choice), record)

    def books(self, choice: Choice) -> list[BookSnapshot]:
        """The books that the header begins with, of those that are wanted; each is as of its own offset.

        None where records that follow it lie before `start`: a reader would miss what changed the book there.
        """
        if self.first is None or self.first.ts_recv < choice.start or not self.may_hold(choice):
            return []
        try:
            return [book for book in decode_books(self.head.books) if choice.symbol in {book.symbol, book.raw_symbol}]
        except UNREADABLE as error:
            self._complain(1, f"the books of its header cannot be read: {error}", "books begin with the next snapshot")
            return []

    def instruments(self, choice: Choice) -> list[Instrument]:
        """The instruments in force that the header tells, of those that are wanted; one of no time is of the file's."""
        try:
            found = decode_instruments(self.head.instruments)
        except UNREADABLE as error:
            self._complain(1, f"the instruments of its header cannot be read: {error}", "they are passed over")
            return []
        for told in found:
            told.ts_recv = told.ts_recv or self.head.ts
        return [told for told in found if choice.symbol in {told.symbol, told.raw_symbol}]

    def _read(self, choice: Choice) -> Iterator[list[Record]]:
        """The records of some lines at a time: decoded together, and one by one only where one of them is bad."""
        may_be_wanted = None if choice.is_everything else choice.line_filter()
        number, at = 0, 0
        tail: FileTail | None = None
        try:
            with open_lines(self.path) as file:
                while lines := file.readlines(READ_BYTES):
                    start, number = number, number + len(lines)
                    if lines[-1].startswith(FOOTER):
                        tail = decode_tail(lines.pop())
                    if not start and lines and lines[0].startswith(HEADER):
                        del lines[0]
                        start += 1
                    if may_be_wanted is None:
                        rows = self._decoded(lines, lines, start, at)
                    else:
                        some = [line for line in lines if may_be_wanted(line) or not line.startswith(RECORD)]
                        rows = list(filter(choice.wants, self._decoded(some, lines, start, at)))
                    at = rows[-1].ts_recv if rows else at
                    yield rows
        except (zstandard.ZstdError, msgspec.MsgspecError, OSError) as error:
            self._complain(
                number + 1, f"cannot be read from here on: {error}", "what stands before is given; restore it", at, None
            )
            return
        self._look_at_end(number, tail, at)

    def _decoded(self, some: list[bytes], lines: list[bytes], start: int, at: int) -> list[Record]:
        """The records of some of these lines; `start` are before them, `at` is the time of the last record there."""
        if not some:
            return []
        try:
            found = decode_lines(b"".join(some))
            if len(found) == len(some):
                return found
        except UNREADABLE:
            pass
        left, found = set(map(id, some)), []
        for number, line in enumerate(lines, start + 1):
            record = self._one(line, number, at) if id(line) in left else None
            if record is not None:
                at = record.ts_recv
                found.append(record)
        return found

    def _one(self, line: bytes, number: int, at: int) -> Record | None:
        if line.isspace():
            return None
        try:
            return decode_record(line)
        except UNREADABLE as error:
            if line.startswith(HEADER):
                return None
            torn = "" if line.endswith(b"\n") else "torn: "
            remedy = "it is passed over; a daemon that starts on this directory repairs torn files"
            self._complain(number, f"{torn}{error}", remedy if torn else "it is passed over", at, None)
            return None

    def _look_at_end(self, number: int, tail: FileTail | None, at: int) -> None:
        """Say where a file that is closed lacks its end, or lines of it."""
        if not self.head.epoch:
            return  # somebody's own lines: nothing says how many there should be
        if tail is None:
            if self.path.suffix == ZST:
                self._complain(number, "ends without its footer: it is cut off", "restore it from a copy", at, None)
            return  # a current file is written to
        if tail.records != number - 2:
            said = f"holds {number - 2} records, and its footer says {tail.records}"
            self._complain(0, said, "it was changed after it was closed; restore it from a copy")

    def _complain(
        self, line: int, said: str, remedy: str, ts_from: int | None = None, ts_to: int | None = None
    ) -> None:
        self._defects.tell(Defect(self.path, line, said, remedy, ts_from or None, ts_to))


def is_lines(path: Path) -> bool:
    """Tell whether a file's name is that of lines of records."""
    name = path.name.removesuffix(ZST)
    return name.endswith(NDJSON) and not name.startswith(".") and not path.is_symlink()
