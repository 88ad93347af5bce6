"""Many small Parquet files of one folder as one: a day of an exchange is read faster so, and takes less room.

What a kill leaves is never half: a note names the sources and the file that is to be, before that has its name. Who
finds the note later removes the sources where the new file is there, and whatever has been begun of it where not.
Between the moment at which it appears and the end of the sources, which is some milliseconds, readers find rows twice.
This needs pyarrow, and says so.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from aggregator.records import Record
from aggregator.tables.arrow import schema
from aggregator.tables.columns import EPOCH, TYPE_OF, tag
from aggregator.tables.extras import needed
from aggregator.tables.levels import BookLevel
from aggregator.tables.parquet import ParquetFile, is_parquet
from aggregator.tables.tree import GROUP_ROWS, TEMPORARY, sync_folder

NOTE = ".merging"  # the note on what is under way in a folder
PREFIX = "merged-"
READ_ROWS = 16_384  # so many are read at once
KINDS: dict[str, type[Record]] = {**TYPE_OF, tag(BookLevel): BookLevel}


class Stopped(Exception):
    """Somebody asked for the end in the middle of a merge; nothing of it stays."""


class MergeNote(Struct):
    """It names the file that is to be, and those whose rows it has."""

    into: str
    sources: list[str]


class MergeSource(Struct):
    """A whole file that may be merged: its rows begin at this place."""

    path: Path
    record: type[Record]
    place: tuple[str, int]
    rows: int


def merge_folder(folder: Path, *, level: int, is_stopped: Callable[[], bool] = lambda: False) -> int:
    """Make one file of those of a folder; how many those were, 0 where there is nothing to do.

    Files of other columns than those of today stay as they are. Nobody else may change the folder meanwhile.
    Raises OSError, MissingPackage, Stopped.
    """
    mend_folder(folder)
    found = [source for path in sorted(folder.iterdir()) if is_parquet(path) and (source := _looked_at(path))]
    if len(found) < 2:
        return 0
    found.sort(key=lambda source: (source.place, source.path.name))
    _note(folder, MergeNote(_name(found), [source.path.name for source in found]))
    file = ParquetFile(folder / _name(found), found[0].record, level)
    try:
        _pour(found, file, is_stopped)
        file.close()
    except BaseException:
        file.abandon()
        mend_folder(folder)
        raise
    sync_folder(folder)
    mend_folder(folder)
    return len(found)


def mend_folder(folder: Path) -> None:
    """Bring to its end, or undo, what a former life has begun. Raises OSError."""
    path = folder / NOTE
    try:
        note = msgspec.json.decode(path.read_bytes(), type=MergeNote)
    except FileNotFoundError:
        return
    except msgspec.MsgspecError:
        note = MergeNote("", [])  # it is written whole or not at all: this is none of ours
    if note.into and (folder / note.into).exists():
        for name in note.sources:
            if name != note.into and Path(name).name == name:
                (folder / name).unlink(missing_ok=True)
        sync_folder(folder)
    elif note.into:
        (folder / f".{note.into}{TEMPORARY}").unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _note(folder: Path, note: MergeNote) -> None:
    path = folder / NOTE
    new = folder / f"{NOTE}{TEMPORARY}"
    with new.open("wb") as file:
        file.write(msgspec.json.encode(note))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(folder)


def _name(sources: list[MergeSource]) -> str:
    """A name that no file has had: it tells where the rows begin, and of which files they are."""
    epoch, offset = sources[0].place
    mark = blake2b("/".join(source.path.name for source in sources).encode(), digest_size=6).hexdigest()
    plain = "".join(letter if letter.isalnum() else "-" for letter in epoch)[:80]
    return f"{PREFIX}{plain}-{offset}-{mark}.parquet"


def _looked_at(path: Path) -> MergeSource | None:
    """A file of today's columns that has rows; null: it is another, or cannot be read, and stays. Raises OSError."""
    pa, parquet = needed("pyarrow", "merging Parquet"), needed("pyarrow.parquet")
    with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError), parquet.ParquetFile(path) as file:
        said = file.schema_arrow.metadata or {}
        record = KINDS.get(said.get(b"aggregator.type", b"").decode())
        if record is None or said != schema(record).metadata or not file.schema_arrow.equals(schema(record)):
            return None
        first = next(file.iter_batches(1, columns=[EPOCH, "offset"]), None)
        if first is not None and len(first):
            place = first[EPOCH][0].as_py(), first["offset"][0].as_py()
            return MergeSource(path, record, place, file.metadata.num_rows)
    return None


def _pour(sources: list[MergeSource], file: ParquetFile, is_stopped: Callable[[], bool]) -> None:
    """Write the rows of all. Raises OSError, Stopped."""
    for group in _groups(sources):
        if is_stopped():
            raise Stopped
        file.write(group)
    if file.rows != sum(source.rows for source in sources):
        raise OSError(f"{file.path.parent}: its files changed while they were merged")


def _groups(sources: list[MergeSource]) -> Iterator[list[Any]]:
    """The rows of all, in their order, as row groups of the usual size."""
    parquet = needed("pyarrow.parquet")
    group: list[Any] = []
    rows = 0
    for source in sources:
        with parquet.ParquetFile(source.path) as file:
            for batch in file.iter_batches(READ_ROWS):
                group.append(batch)
                rows += len(batch)
                if rows >= GROUP_ROWS:
                    yield group
                    group, rows = [], 0
    if group:
        yield group
