"""The files of a recording: found below directories by their names, and opened by what they hold."""

import os
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal, NamedTuple

from aggregator.errors import AggregatorError, NotACapture
from aggregator.research.defects import Defect, Defects, UnreadableRecording
from aggregator.research.lines import LinesFile, is_lines
from aggregator.research.strands import Strand
from aggregator.sinks.journal.offline import is_journal
from aggregator.tables.csv import is_csv
from aggregator.tables.extras import MissingPackage
from aggregator.tables.parquet import is_parquet

FileKind = Literal["lines", "parquet", "csv", "capture", "journal"]
JSONL = ".jsonl"


class RecordingFile(NamedTuple):
    """A file, or the directory of a journal."""

    path: Path
    kind: FileKind


def find_files(paths: Sequence[str | PathLike[str]]) -> list[RecordingFile]:
    """Every file of a recording in or below these, in the order of their names. Raises UnreadableRecording: none is."""
    found = [file for path in paths for file in _below(Path(path))]
    if not found:
        told = ", ".join(str(path) for path in paths) or "nothing"
        raise UnreadableRecording(f"{told}: no recording: no .ndjson, .parquet, .jsonl or journal is there")
    return found


def _below(path: Path) -> Iterator[RecordingFile]:
    if not path.exists():
        raise UnreadableRecording(f"{path} is not there")
    if path.is_file():
        yield from _named(path)
        return
    for place, folders, names in os.walk(path):
        folder = Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if is_journal(folder):
            folders.clear()
            yield RecordingFile(folder, "journal")
            continue
        for name in sorted(names):
            yield from _named(folder / name)


def _named(path: Path) -> Iterator[RecordingFile]:
    if is_lines(path):
        yield RecordingFile(path, "lines")
    elif is_parquet(path):
        yield RecordingFile(path, "parquet")
    elif is_csv(path):
        yield RecordingFile(path, "csv")
    elif path.name.removesuffix(".zst").endswith(JSONL) and not path.name.startswith("."):
        yield RecordingFile(path, "capture")


def open_strand(file: RecordingFile, defects: Defects) -> Strand | None:
    """A file, opened; null: it cannot be read, which is told, or holds nothing of ours. Raises MissingPackage."""
    path = file.path
    try:
        return _opened(file, defects)
    except (ValueError, NotACapture):
        return None
    except OSError as error:
        defects.tell(Defect(path, 0, f"cannot be read: {error.strerror or error}", "see who may read it"))
    except MissingPackage:
        raise
    except AggregatorError as error:
        defects.tell(Defect(path, 0, str(error).removeprefix(f"{path}: "), "it is left out"))
    return None


def _opened(file: RecordingFile, defects: Defects) -> Strand:
    """Open it; the rooms behind captures and Parquet are loaded where one is met."""
    if file.kind == "lines":
        return LinesFile(file.path, defects)
    if file.kind == "parquet":
        from aggregator.research.parquet import ParquetRecords

        return ParquetRecords(file.path, defects)
    if file.kind == "csv":
        from aggregator.research.csv import CsvRecords

        return CsvRecords(file.path, defects)
    if file.kind == "journal":
        from aggregator.research.journal import JournalRecords

        return JournalRecords(file.path, defects)
    from aggregator.research.captures import CaptureRecords

    return CaptureRecords(file.path, defects)
