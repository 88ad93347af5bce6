"""The lives of daemons, in a small file: beside the segments those that wrote a journal, and in the state all.

A life may leave no segment: the disk was full from its beginning to its end, somebody removed the file, or it was
configured without a journal. A later life must know of it all the same, because whoever resumes from before it has
missed what it published. So the file has its size from the beginning, and a full disk refuses none of its lines.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

NAME = "lives"
LINE_BYTES = 64
LINES = 256  # lives that are remembered: the oldest go
State = Literal["begun", "empty"]

log = logging.getLogger("aggregator.sinks.journal")


class Life(NamedTuple):
    """One life: `begun`, and `empty` where it has ended and published nothing."""

    number: int
    state: str
    epoch: str


class Lives:
    """The file. Errors of the disk are left to the segments to tell: without the file these are asked alone."""

    def __init__(self, directory: Path) -> None:
        """Read what former lives have left. Raises OSError."""
        self._path = directory / NAME
        self._known = sorted(_read(self._path))
        self._number = self._known[-1].number if self._known else 0

    @property
    def before(self) -> Life | None:
        """The life before this one that published anything, or may have; null: none is known."""
        return next((life for life in reversed(self._known) if life.state != "empty"), None)

    @classmethod
    def begun(cls, directory: Path, epoch: str) -> tuple["Lives | None", str]:
        """Note this life of a daemon in its state; the epoch of the one before it, or empty where none is known.

        Where it cannot be noted, the file goes: a later life then knows of none, and tells a gap.
        """
        try:
            lives = cls(directory)
            before = lives.before
            lives.begin(epoch)
        except OSError as error:
            log.warning("%s: this life cannot be noted, so the journal tells a gap: %s", directory / NAME, error)
            with suppress(OSError):
                (directory / NAME).unlink(missing_ok=True)
            return None, ""
        return lives, "" if before is None else before.epoch

    def begin(self, epoch: str) -> None:
        """Note this life. Raises OSError."""
        self._number += 1
        self.note(epoch, "begun")

    def end_empty(self, epoch: str) -> None:
        """Note that this life has published nothing, if that can be: else a gap is told of nothing."""
        with suppress(OSError):
            self.note(epoch, "empty")

    def note(self, epoch: str, state: State) -> None:
        """Write the line of this life. Raises OSError."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            if os.fstat(fd).st_size < LINES * LINE_BYTES:
                os.pwrite(fd, (b" " * (LINE_BYTES - 1) + b"\n") * LINES, 0)
            line = f"{self._number:012} {state} {epoch}".encode()[: LINE_BYTES - 1].ljust(LINE_BYTES - 1) + b"\n"
            os.pwrite(fd, line, self._number % LINES * LINE_BYTES)
        finally:
            os.close(fd)


def _read(path: Path) -> list[Life]:
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except FileNotFoundError:
        return []
    found = [line.split() for line in lines]
    return [Life(int(parts[0]), parts[1], parts[2]) for parts in found if len(parts) == 3 and parts[0].isdecimal()]
