"""Places in files that cannot be read: each is told once, with the file, the line, and what to do."""

import warnings
from pathlib import Path

from msgspec import Struct

from aggregator.errors import AggregatorError


class RecordingWarning(UserWarning):
    """Something of a recording cannot be read; all the rest is given."""


class UnreadableRecording(AggregatorError):
    """There is no recording, or something of it cannot be read and the reader is strict."""


class Defect(Struct, frozen=True):
    """A place in a file that cannot be read.

    line: its number, from 1; 0: it is about the whole file
    said: what is wrong
    remedy: what to do about it
    ts_from, ts_to: between which records it lies, by their `ts_recv`; null: not known
    has_gap: whether a gap in the stream says what is missing
    """

    path: Path
    line: int
    said: str
    remedy: str
    ts_from: int | None = None
    ts_to: int | None = None
    has_gap: bool = False

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.said}; {self.remedy}"


class Defects:
    """The defects that a recording's readers have met."""

    def __init__(self, *, is_strict: bool = False, is_silent: bool = False) -> None:
        """Tell of each as a warning, or (strict) as an error; or note it alone (silent)."""
        self._is_strict, self._is_silent = is_strict, is_silent
        self._found: dict[tuple[Path, int, str], Defect] = {}

    @property
    def all(self) -> list[Defect]:
        """Every one, in the order in which they were met."""
        return list(self._found.values())

    def tell(self, defect: Defect) -> None:
        """Note a defect, and tell of it unless it is known. Raises UnreadableRecording where the reader is strict."""
        if self._is_strict:
            raise UnreadableRecording(str(defect))
        key = (defect.path, defect.line, defect.said)
        if key not in self._found:
            self._found[key] = defect
            if not self._is_silent:
                warnings.warn(str(defect), RecordingWarning, stacklevel=2)
