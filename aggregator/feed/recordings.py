"""The recordings that can be replayed: files, a journal, and captures that are played through the live code."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from aggregator.bus.history import EPOCH_FORM, BadStart, Beginning, Cursor, Start
from aggregator.bus.recording import Complain, Excerpt, Excerpts, Opening, Replayable
from aggregator.bus.selection import Selection, topic_of
from aggregator.errors import ConfigError
from aggregator.records import SECOND_NS, Instrument, Record
from aggregator.sinks.journal.recording import JournalRecording, is_journal
from aggregator.sinks.recording import ENDS, FilesRecording, files_below, is_recording

TOGETHER = 500  # records of captures that are given at once

Played = Callable[[Complain], Iterator[Sequence[Record]]]  # gives the records of captures, anew each time


def find_recording(paths: Sequence[Path], complain: Complain) -> Replayable | None:
    """The recording that some files or directories hold; null: they are captures. Raises OSError, ConfigError."""
    journals = [path for path in paths if is_journal(path)]
    if journals:
        if len(paths) > 1:
            raise ConfigError(f"{journals[0]} is a journal, which is replayed alone: name nothing beside it")
        return JournalRecording(journals[0], complain)
    files: list[Path] = []
    captures: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = files_below(path)
            if not found:
                raise ConfigError(
                    f"{path} holds neither a journal nor files that end with .ndjson or .ndjson.zst; "
                    "captures are named one by one"
                )
            files += found
        elif path.name.endswith(ENDS) or is_recording(path):
            files.append(path)
        else:
            captures.append(path)
    if files and captures:
        raise ConfigError(f"{captures[0]} is no recording, and {files[0]} is one: name those of one kind")
    return FilesRecording(files, complain) if files else None


class PlayedCaptures:
    """Captures as a recording: the records that the live code makes of them, numbered from 1."""

    def __init__(self, began: int, instruments: Sequence[Instrument], played: Played) -> None:
        """Know when the captures began, in ns, and how they are played."""
        self._epoch = datetime.fromtimestamp(began // SECOND_NS, UTC).strftime(EPOCH_FORM)
        self._instruments = instruments
        self._played = played

    def opening(self, ts: int | None) -> Opening:  # noqa: ARG002 - nothing is known without playing them
        """Give the instruments that the captures name."""
        return Opening(Cursor(self._epoch, 0), instruments=self._instruments)

    def play(self, start: Beginning, wanted: Selection, complain: Complain) -> Excerpts:
        """Give what follows a place; what comes before it is played too, as it leaves books. Raises BadStart."""
        if isinstance(start, Cursor) and start.epoch != self._epoch:
            raise BadStart(
                f"the epoch {start.epoch!a:.40} is not in these captures, whose records are of {self._epoch}"
            )
        has_begun = False
        for there in _gathered(self._played(complain), wanted):
            at = 0 if has_begun else _count_before(there, start)
            if at:
                yield Excerpt(self._epoch, there[:at], is_past=True)
            if at < len(there):
                has_begun = True
                yield Excerpt(self._epoch, there[at:])


def _gathered(played: Iterator[Sequence[Record]], wanted: Selection) -> Iterator[list[Record]]:
    """Number records, and give those that are wanted, many at once."""
    offset, there = 0, list[Record]()
    for records in played:
        for record in records:
            offset += 1
            record.offset = offset
            if wanted.wants(topic_of(record)):
                there.append(record)
        if len(there) >= TOGETHER:
            yield there
            there = []
    if there:
        yield there


def _count_before(records: Sequence[Record], start: Beginning) -> int:
    """How many of these come before the place where a reader begins."""
    return next((at for at, record in enumerate(records) if _has_begun(record, start)), len(records))


def _has_begun(record: Record, start: Beginning) -> bool:
    if isinstance(start, Cursor):
        return record.offset > start.offset
    return not isinstance(start, Start) or record.ts_recv >= (start.ts or 0)
