"""Records sorted into files by type, day and exchange: `type=trade/date=2026-11-29/alpha/NAME.parquet`.

The names of the folders tell the type and the UTC day of `ts_recv` to DuckDB, polars, pyarrow and ClickHouse; the
exchange stands in a column, too. A file holds records of one type in the order in which they came, and
appears whole, by its renaming: what is being written has a name that begins with a dot.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from aggregator.records import DAY_S, SECOND_NS, BookDelta, BookSnapshot, OrdersDelta, OrdersSnapshot, Record
from aggregator.tables.columns import tag
from aggregator.tables.levels import BookLevel, levels_of

TEMPORARY = ".tmp"  # the end of the name of a file that is being written; a dot begins it
BATCH_RECORDS = 8192  # records become columns so many at a time
GROUP_ROWS = 131_072  # a row group holds so many, or as much of levels
HELD_ROWS = 4 * GROUP_ROWS  # so many wait in memory, of all files together
FILE_ROWS = 16 * GROUP_ROWS  # then a file is closed, and another begun
LEVELS_A_ROW = 8  # so many levels of a book weigh as much as a row
DAY_NS = DAY_S * SECOND_NS
FOLDER_CHARACTERS = 120  # a folder's name is cut there
WITH_LEVELS = (BookSnapshot, BookDelta, OrdersSnapshot, OrdersDelta)
IN_LEVELS = (BookSnapshot, BookDelta)  # `BookLevel` tells these row by row


def folder(record: type[Record], day: int, exchange: str) -> str:
    """The folder of a type's records of a day (counted from 1970 on) and an exchange."""
    return f"type={tag(record)}/date={day_name(day)}/{exchange_name(exchange)}"


def day_name(day: int) -> str:
    """A day, counted from 1970 on, as it is written; one beyond the calendar is the last before it."""
    return f"{datetime.fromtimestamp(min(max(day, 0), 2_932_896) * DAY_S, UTC):%Y-%m-%d}"


def exchange_name(exchange: str) -> str:
    """An exchange's id as a folder's name: percent-encoded, never empty, never hidden, and no other's."""
    name = quote(exchange, safe="", errors="surrogatepass").replace("~", "%7E") or "%none"
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if len(name) <= FOLDER_CHARACTERS and name == name.lower():
        return name
    mark = blake2b(exchange.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{name[:FOLDER_CHARACTERS]}~{mark}"


def sync_folder(folder: Path) -> None:
    """Have the names of a folder reach the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class TableFile:
    """One file of a table's rows. It is there once it is closed."""

    def __init__(self, path: Path) -> None:
        """Begin it. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.rows = 0
        self._temporary = path.with_name(f".{path.name}{TEMPORARY}")
        self._file = self._temporary.open("wb")

    def write(self, parts: Sequence[Any]) -> None:
        """Add what the form has made of records. Raises OSError."""
        raise NotImplementedError

    def _finish(self) -> None:
        """Write what belongs to its end. Raises OSError."""

    def close(self) -> Path:
        """Have it reach the disk, and give it its name, in the place of one of that name. Raises OSError."""
        self._finish()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self.path)
        return self.path

    def abandon(self) -> None:
        """Leave nothing of it."""
        for closing in (self._finish, self._file.close):
            with suppress(OSError, ValueError):  # a full disk takes no end of it either
                closing()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)


class TableForm(Struct, frozen=True):
    """A kind of file: how its names end, what becomes of records that wait, and how a file is begun.

    suffixes: the first is that of new files, the others those that they had under other settings
    """

    suffixes: tuple[str, ...]
    gathered: Callable[[type[Record], Sequence[Record], str], Any]
    begun: Callable[[Path, type[Record]], TableFile]


class Partition(Struct):
    """The records of one type, day and exchange that wait to be written, and the file that they go into."""

    record: type[Record]
    folder: str
    records: list[Record] = []
    epoch: str = ""
    batches: list[Any] = []
    rows: int = 0  # the batches weigh so much
    number: int = 0  # the file has it in its name
    file: TableFile | None = None


class TableTree:
    """Records of any types into files below a directory. One thread works with it.

    records, files: how many it has taken, and how many files have their name
    kept: how many of the records are in such files
    paths: those files

    Every record that was given is in a file once `close` has returned; until then nothing is there under its own name
    but files that have become full. What an abandoned tree has left begins with a dot, and is overwritten by the next
    that has the same `stem`. The same records given in the same way make the same files.
    """

    def __init__(
        self,
        root: Path,
        stem: str,
        form: TableForm,
        *,
        group_rows: int = GROUP_ROWS,
        held_rows: int = HELD_ROWS,
        file_rows: int = FILE_ROWS,
        has_levels: bool = False,
    ) -> None:
        """Write below `root`; files are called `stem` and a number. `has_levels`: books come level by level besides."""
        self.root = root
        self.records = self.files = self.kept = 0
        self.paths: list[Path] = []
        self._stem, self._form = stem, form
        self._group_rows, self._held_rows, self._file_rows = group_rows, held_rows, file_rows
        self._has_levels = has_levels
        self._parts: dict[tuple[type[Record], int, str], Partition] = {}
        self._held = 0

    def add(self, records: Iterable[Record], epoch: str) -> None:
        """Take records of one epoch, in their order. Raises OSError."""
        kind: type[Record] | None = None
        by_level: Partition | None = None
        exchange, start, end, waiting = "", 0, 0, list[Record]()
        for record in records:
            # hot: mostly a record goes where the one before it went
            if type(record) is not kind or not start <= record.ts_recv < end or record.exchange != exchange:
                kind, exchange, day = type(record), record.exchange, record.ts_recv // DAY_NS
                start, end = day * DAY_NS, (day + 1) * DAY_NS
                part = self._part(kind, day, exchange, epoch)
                waiting = part.records
                by_level = self._levels(kind, day, exchange, epoch)
            waiting.append(record)
            if by_level is not None:
                by_level.records.extend(levels_of(record))
                if len(by_level.records) >= BATCH_RECORDS:
                    self._gather(by_level)
            self.records += 1
            if len(waiting) >= BATCH_RECORDS:
                self._gather(part)
                waiting = part.records

    def _part(self, kind: type[Record], day: int, exchange: str, epoch: str) -> Partition:
        key = kind, day, exchange
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = Partition(kind, folder(*key))
        if epoch != part.epoch:
            self._gather(part)
            part.epoch = epoch
        return part

    def _levels(self, kind: type[Record], day: int, exchange: str, epoch: str) -> Partition | None:
        """Where the levels of such records go besides; null: nowhere."""
        is_wanted = self._has_levels and kind in IN_LEVELS
        return self._part(BookLevel, day, exchange, epoch) if is_wanted else None

    def gather(self) -> None:
        """Make columns of every record that waits, which take less memory. Raises OSError."""
        for part in list(self._parts.values()):
            self._gather(part)

    def flush(self) -> None:
        """Write what waits; it is in files that have no name yet. Raises OSError."""
        for part in list(self._parts.values()):
            self._gather(part)
            self._write(part)

    def close(self) -> None:
        """Write everything, and give every file its name. Raises OSError."""
        self.flush()
        for part in sorted(self._parts.values(), key=lambda each: each.record is not BookLevel):
            self._end(part)  # levels first: what `kept` counts has them besides
        self._parts.clear()

    def abandon(self) -> None:
        """Leave nothing of what has no name yet."""
        for part in self._parts.values():
            if part.file is not None:
                part.file.abandon()
        self._parts.clear()

    def _gather(self, part: Partition) -> None:
        """Make columns of a partition's records, and row groups where enough of them wait."""
        if not part.records:
            return
        batch = self._form.gathered(part.record, part.records, part.epoch)
        weight = len(part.records)
        if part.record in WITH_LEVELS:
            weight += _count(part.records) // LEVELS_A_ROW
        part.records = []
        part.batches.append(batch)
        part.rows += weight
        self._held += weight
        if part.rows >= self._group_rows:
            self._write(part)
        while self._held >= self._held_rows:
            self._write(max(self._parts.values(), key=lambda each: each.rows))

    def _write(self, part: Partition) -> None:
        if not part.batches:
            return
        if part.file is None:
            name = f"{self._stem}-{part.number}{self._form.suffixes[0]}"
            part.file = self._form.begun(self.root / part.folder / name, part.record)
        part.file.write(part.batches)
        self._held -= part.rows
        part.batches, part.rows = [], 0
        if part.file.rows >= self._file_rows:
            self._end(part)

    def _end(self, part: Partition) -> None:
        if part.file is None:
            return
        path = part.file.close()
        self.files += 1
        self.kept += part.file.rows if part.record is not BookLevel else 0
        self.paths.append(path)
        part.file = None
        part.number += 1


def _count(records: Iterable[Any]) -> int:
    return sum(len(record.bids) + len(record.asks) for record in records)
