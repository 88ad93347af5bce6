"""The lives of the daemons that wrote a journal, in a small file beside the segments.

A life may leave no segment: the disk was full from its beginning to its end, or somebody removed the file. A later life
must know of it all the same, because whoever resumes from before it has missed what it published. So the file has its
size from the beginning, and a full disk refuses none of its lines.
"""

import os
from pathlib import Path
from typing import Literal, NamedTuple

NAME = "lives"
LINE_BYTES = 64
LINES = 256  # lives that are remembered: the oldest go
State = Literal["begun", "empty"]


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

    def begin(self, epoch: str) -> None:
        """Note this life. Raises OSError."""
        self._number += 1
        self.note(epoch, "begun")

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
