"""Captures as a strand: their frames go through the live code as they are read, so that records come of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from aggregator.capture.line import CaptureLine
from aggregator.capture.listed import BadCapture, listed_in
from aggregator.capture.reading import read_capture
from aggregator.capture.replay import Replay
from aggregator.catalog.catalog import aliases_of
from aggregator.catalog.registry import load_exchange
from aggregator.errors import BadFrame
from aggregator.records import Instrument, Record
from aggregator.research.choice import Choice
from aggregator.research.defects import Defect, Defects
from aggregator.research.strands import RECORDS, Place, Portion, batched, place

JSONL = ".jsonl"
CAPTURE = b'{"ts":'  # begins the lines that the recorder writes


def exchange_of(path: Path) -> str | None:
    """The exchange of a capture's frames: by its own lines, by its name, or by its folder's name. Raises OSError."""
    _, first = next(read_capture(path), (0, None))
    if isinstance(first, CaptureLine) and first.exchange:
        return first.exchange
    return next((id for id in (path.name.split("-")[0], path.parent.name) if load_exchange(id) is not None), None)


def replay_of(path: Path, exchange: str | None = None, instruments: Sequence[Instrument] | None = None) -> Replay:
    """A replay of one capture. Raises OSError, NotACapture, BadCapture."""
    found = exchange or exchange_of(path)
    loaded = load_exchange(found) if found is not None else None
    if loaded is None:
        raise _unknown(path)
    return Replay(loaded, listed_in(loaded, path, aliases_of(loaded.id)) if instruments is None else instruments)


def _unknown(path: Path) -> BadCapture:
    return BadCapture(f"{path} does not say whose frames it holds: let its name begin with the exchange's id")


class CaptureRecords:
    """One capture. Its records have no epoch but the file's name, and are numbered as they come."""

    past_day: int | None = None  # nothing of it was asked for afterwards

    def __init__(self, path: Path, defects: Defects) -> None:
        """Look at its first line. Raises OSError, NotACapture, BadCapture."""
        self.path = path
        self._defects = defects
        if load_exchange(exchange_of(path) or "") is None:
            raise _unknown(path)  # now, as it would end the reading of all others later
        self.epoch = f"capture:{path.name.removesuffix('.zst').removesuffix(JSONL)}"
        self._at = 0  # the time of the last line that could be read
        self._begins = next((line.time for _, line in read_capture(path) if isinstance(line, CaptureLine)), 0)

    def begins(self) -> Place:
        """The place of its first record."""
        return place(self.epoch, 1, self._begins)

    def records(self, choice: Choice) -> Iterator[Portion]:
        """The records that are wanted."""
        rows: list[Record] = []
        for record in self._replayed():
            if choice.wants(record):
                rows.append(record)
            if len(rows) >= RECORDS:
                yield Portion(self.epoch, [row.offset for row in rows], rows)
                rows = []
        if rows:
            yield Portion(self.epoch, [row.offset for row in rows], rows)

    def batches(self, choice: Choice, record: type[Record]) -> Iterator[Portion]:
        """Those of one type, as record batches."""
        return batched(self.records(choice), record)

    def _replayed(self) -> Iterator[Record]:
        try:
            replay = replay_of(self.path)
        except BadCapture as error:  # the listing in it, or beside it, cannot be read
            said = str(error).removeprefix(f"{self.path}: ")
            self._defects.tell(Defect(self.path, 0, said, "it is left out"))
            return
        offset = 0
        for number, line in read_capture(self.path):
            if isinstance(line, CaptureLine):
                self._at = line.time
            try:
                if isinstance(line, BadFrame):
                    raise line
                records = replay.feed(line)
            except (BadFrame, ValueError) as error:
                self._complain(number, error)
                continue
            for bad in replay.bad_frames:
                self._complain(number, bad.error)
            replay.bad_frames.clear()
            for record in records:
                offset += 1
                record.offset = offset
                yield record
        for record in replay.end():
            offset += 1
            record.offset = offset
            yield record

    def _complain(self, number: int, error: Exception) -> None:
        said = str(error).removeprefix(f"{self.path}:{number}: ") or type(error).__name__
        self._defects.tell(Defect(self.path, number, said, "it is passed over", self._at or None))
