"""Since when records that have come for a sink are not written: a note in mapped memory, which outlives a kill.

What waits in a queue, or in a writer, is lost with the process. What is missing from its death on the stream itself
tells, and what had come before for one sink and was not written yet only that sink lacks: the next life tells it there.
"""

import logging
import mmap
import os
import stat
from pathlib import Path

NUMBERS = 2
NUMBER_BYTES = 8
UNWRITTEN, WAITING = ".unwritten", ".waiting"  # files of sinks; and of what waits for one that is being replaced

log = logging.getLogger("aggregator.sinks")


class UnwrittenNote:
    """The note of one sink, in a file: since when, and until when if the process ended by itself, ns; 0: never.

    left: the note as an earlier life has left it; null: all was written
    view: the note of this life, which begins as that of the one before
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or begin it. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(f"{path} is no file")
            size = NUMBERS * NUMBER_BYTES
            if found.st_size != size:
                os.ftruncate(handle, 0)
                os.posix_fallocate(handle, 0, size)  # a disk that is full when a page is first used ends the process
            self._map = mmap.mmap(handle, size)
        finally:
            os.close(handle)
        self.view = memoryview(self._map).cast("q")
        since, until = self.view
        self.left = (since, until) if since > 0 else None
        self.view[0], self.view[1] = max(0, since), 0

    def end(self, ts: int) -> None:
        """Let go of the file, at a moment (ns)."""
        if self.view[0] and not self.view[1]:
            self.view[1] = ts
        self.view.release()
        self._map.close()


def take_over(folder: Path) -> None:
    """Have a sink that was being replaced when the process was killed lack what waited for it meanwhile."""
    for path in folder.glob(f"*{WAITING}"):
        try:
            waiting, own = UnwrittenNote(path), UnwrittenNote(path.with_suffix(UNWRITTEN))
            if waiting.left is not None:
                own.view[0] = min(waiting.left[0], own.view[0] or waiting.left[0])
            own.end(0)
            path.unlink()
        except OSError as error:
            log.warning("%s: what waited for a sink is not known: %s", path, error)
