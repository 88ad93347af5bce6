"""Recordings into Parquet: one input after the other, or several at once, and again from where that ended.

An input is a file or a journal. Its records go into files whose names are made of its own, so that converting it again
makes the same files. What is written has no name before all of an input is; then a marker says that it is done. A
conversion that was killed has left no such marker: begun again, it writes that input anew, in the place of what it
finds of it.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from hashlib import blake2b
from multiprocessing import get_context
from os import PathLike
from pathlib import Path
from time import perf_counter

import msgspec
from msgspec import Struct

from aggregator.records import RECORD_TYPES
from aggregator.research.choice import Choice
from aggregator.research.defects import Defects
from aggregator.research.finding import RecordingFile, find_files, open_strand
from aggregator.research.journal import JournalRecords
from aggregator.research.lines import NDJSON, LinesFile
from aggregator.sinks.paths import STAMPED
from aggregator.sinks.recorded_file import ZST
from aggregator.tables.parquet import parquet_form
from aggregator.tables.tree import TableTree

MARKERS = ".converted"  # the folder of the markers, in the directory that is written
EVERYTHING = Choice(frozenset(RECORD_TYPES))
STEM_CHARACTERS = 48  # a name is cut there


class Marker(Struct):
    """The word that an input is done, or begun; it is done again where its `signature` has changed."""

    path: str
    signature: str
    is_done: bool = False
    records: int = 0


class Converted(Struct):
    """How it went with one input.

    state: `done`; `before`: an earlier run had done it; `current`: its writer has not closed it yet; `empty`: nothing
        of ours is in it; `failed`
    defects: what could not be read of it, and in words why it failed
    """

    path: Path
    state: str
    records: int = 0
    files: int = 0
    seconds: float = 0.0
    defects: list[str] = []


class Task(Struct):
    """One input, the directory that is written, and whether a file without an end is taken, too."""

    file: RecordingFile
    out: Path
    takes_current: bool


def convert(
    paths: Sequence[str | PathLike[str]],
    out: Path,
    *,
    jobs: int = 1,
    takes_current: bool = False,
    told: Callable[[Converted, int], None] = lambda _one, _left: None,
) -> list[Converted]:
    """Convert every input in or below these paths that is not done yet; `told` hears of each, and how many are left.

    takes_current: whether files that their writer has not closed are taken as they are
    Raises UnreadableRecording where nothing is, OSError where `out` cannot be written, MissingPackage.
    """
    files = [file for file in find_files(paths) if file.kind != "parquet"]
    (out / MARKERS).mkdir(parents=True, exist_ok=True)
    tasks = [Task(file, out, takes_current) for file in files]
    found: list[Converted] = []
    for one in _all(tasks, min(jobs, len(tasks))):
        found.append(one)
        told(one, len(tasks) - len(found))
    return found


def _all(tasks: Sequence[Task], jobs: int) -> Iterator[Converted]:
    if jobs <= 1:
        yield from map(convert_one, tasks)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(convert_one, task) for task in tasks]):
            yield future.result()


def convert_one(task: Task) -> Converted:
    """Convert one input. Raises MissingPackage."""
    begun = perf_counter()
    defects = Defects(is_silent=True)
    path = task.file.path
    strand = open_strand(task.file, defects)
    if strand is None:
        said = list(map(str, defects.all))
        return Converted(path, "failed" if said else "empty", defects=said)
    if isinstance(strand, LinesFile) and not (strand.is_closed or task.takes_current):
        return Converted(path, "current")
    stem = stem_of(task.file, strand)
    marker = task.out / MARKERS / f"{stem}.json"
    signature = signature_of(task.file, strand)
    known = _known(marker)
    if known is not None and known.is_done and known.signature == signature:
        return Converted(path, "before", known.records)
    try:
        if known is not None:
            _remove(task.out, stem)
        _mark(marker, Marker(str(path), signature))
        tree = TableTree(task.out, stem, parquet_form())
        try:
            for portion in strand.records(EVERYTHING):
                tree.add(portion.rows, portion.epoch)
            tree.close()
        except BaseException:
            tree.abandon()
            raise
        _mark(marker, Marker(str(path), signature, is_done=True, records=tree.records))
    except OSError as error:
        said = [*map(str, defects.all), f"{error.filename or task.out}: {error.strerror or error}"]
        return Converted(path, "failed", defects=said)
    seconds = perf_counter() - begun
    return Converted(path, "done", tree.records, tree.files, seconds, list(map(str, defects.all)))


def stem_of(file: RecordingFile, strand: object) -> str:
    """The beginning of the names of an input's files; the same once its file has been closed and compressed."""
    path = file.path.resolve()
    name = STAMPED.sub("", path.name.removesuffix(ZST).removesuffix(NDJSON))
    told = f"{path.parent}/{name}"
    if isinstance(strand, LinesFile):
        told += f" {strand.head.epoch} {strand.head.offset} {strand.head.ts}"
    mark = blake2b(told.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:STEM_CHARACTERS].strip("-")
    return f"{plain or 'input'}-{mark}"


def signature_of(file: RecordingFile, strand: object) -> str:
    """A word that changes with the content; that of a closed file stays while it is compressed."""
    if isinstance(strand, LinesFile) and strand.is_closed and strand.first is not None:
        return f"{strand.head.epoch} {strand.head.offset} {strand.head.ts} {strand.first.offset}"
    paths = sorted(file.path.iterdir()) if isinstance(strand, JournalRecords) else [file.path]
    found = blake2b(digest_size=16)
    for path in paths:
        with suppress(FileNotFoundError):
            told = path.stat()
            found.update(f"{path.name} {told.st_size} {told.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def _known(marker: Path) -> Marker | None:
    try:
        return msgspec.json.decode(marker.read_bytes(), type=Marker)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _mark(marker: Path, word: Marker) -> None:
    temporary = marker.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(msgspec.json.encode(word))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(marker)


def _remove(out: Path, stem: str) -> None:
    """Remove what a former run has made of an input, whole or not."""
    for pattern in (f"type=*/date=*/*/{stem}-*.parquet", f"type=*/date=*/*/.{stem}-*"):
        for path in out.glob(pattern):
            path.unlink(missing_ok=True)
