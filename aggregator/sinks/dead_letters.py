"""The records that a sink refused, in a file: one JSON object a line, with the reason. The file is bounded."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from aggregator.sinks.worker import Worker

FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class DeadLetter(Struct):
    """A line of the file.

    ts: when it was refused, ns
    sink: as logs call it
    epoch: of the stream that the record is of
    reason: in the sink's words
    record: as it would have been written
    """

    ts: int
    sink: str
    epoch: str
    reason: str
    record: Raw


class DeadLetters:
    """One sink's file; it is opened for each write, since few are expected."""

    def __init__(self, path: Path, most: int) -> None:
        self.path = path
        self._most = most
        self._worker: Worker | None = None

    async def add(self, letters: Sequence[DeadLetter]) -> int:
        """Write as many as there is room for; how many that is. Raises OSError, and then it is none."""
        lines = [msgspec.json.encode(letter) + b"\n" for letter in letters]
        if self._worker is None:
            self._worker = Worker("dead-letters")
        return await self._worker.do(lambda: self._write(lines))

    def _write(self, lines: list[bytes]) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, FLAGS, 0o644)
        try:
            size = before = os.fstat(fd).st_size
            fitting = []
            for line in lines:
                if size + len(line) > self._most:
                    break
                size += len(line)
                fitting.append(line)
            rest = memoryview(b"".join(fitting))
            try:
                while rest:
                    rest = rest[os.write(fd, rest) :]
            except OSError:
                os.ftruncate(fd, before)
                raise
        finally:
            os.close(fd)
        return len(fitting)

    def close(self) -> None:
        """End the thread after what it is at."""
        if self._worker is not None:
            self._worker.stop()
