"""Where the daemon's own words go: standard error, with the priority that the journal understands.

A thread writes, so that a reader of the log that has stopped keeps nothing waiting. What does not fit into its queue is
left out, counted, and told in its place.
"""

import logging
import os
import select
import time
from queue import SimpleQueue
from threading import Thread
from typing import Any

from aggregator.daemon.printable import printable

PRIORITIES = {logging.CRITICAL: "<2>", logging.ERROR: "<3>", logging.WARNING: "<4>", logging.INFO: "<6>"}
LONGEST = 4000  # characters of a message, or of a line of a traceback
MOST_WAITING = 5000  # messages that nobody has read yet
FLUSH_S = 0.5  # the end of the program waits so long for the log
STDERR = 2


def _line(text: str) -> str:
    """Write a log entry on one line, whatever an exchange has put into it."""
    return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)")


class _Printable(logging.Formatter):
    """A message on one line; only a traceback has several, which are indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own
        return _line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - likewise
        return "\n".join(f"  {_line(line)}" for line in super().formatException(ei).split("\n"))


class _Journal(_Printable):
    """The journal stamps lines itself, and reads a priority in front."""

    def format(self, record: logging.LogRecord) -> str:
        return PRIORITIES.get(record.levelno, "<7>") + super().format(record).replace("\n", " | ")


class Scribe:
    """A thread that writes to a descriptor, one piece after the other, however long that takes."""

    def __init__(self, fd: int) -> None:
        """Start the thread when there is something to write."""
        self._fd = fd
        self._pieces: SimpleQueue[bytes] = SimpleQueue()  # a signal's handler may put something there at any moment
        self._taken = 0  # pieces that were put there, and those of them that are done with
        self._done = 0
        self._thread: Thread | None = None
        self.failed = 0  # pieces that could not be written: a full disk, say

    def write(self, piece: bytes) -> None:
        """Have a piece written, and go on."""
        self._pieces.put(piece)
        self._taken += 1
        if self._thread is None:
            thread = Thread(target=self._run, name="log", daemon=True)
            thread.start()
            self._thread = thread

    @property
    def waiting(self) -> int:
        """Pieces that are not written yet."""
        return self._pieces.qsize()

    def flush(self, patience: float) -> None:
        """Wait until all is written, but no longer than so many seconds."""
        end = time.monotonic() + patience
        while self._done < self._taken and time.monotonic() < end:
            time.sleep(0.001)

    def _run(self) -> None:
        while True:
            piece = self._pieces.get()
            try:
                self._write(piece)
            except OSError:
                self.failed += 1
            self._done += 1

    def _write(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # whoever shares the descriptor made it non-blocking
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()


class ScribeHandler(logging.Handler):
    """The log as a scribe writes it; what is left out is told in its place."""

    def __init__(self, scribe: Scribe) -> None:
        super().__init__()
        self._scribe = scribe
        self._left_out = 0
        self._failed = 0  # pieces that are told to be missing

    def emit(self, record: logging.LogRecord) -> None:
        """Have a message written. One that cannot be formatted is no reason to fail."""
        if self._scribe.waiting >= MOST_WAITING:
            self._left_out += 1
            return
        self._tell()
        try:
            self._put(record)
        except Exception:  # noqa: BLE001 - logging's own rule
            self.handleError(record)

    def flush(self) -> None:
        """Wait for what is written, at the end of the program, for a moment."""
        self._tell()
        self._scribe.flush(FLUSH_S)

    def _put(self, record: logging.LogRecord) -> None:
        self._scribe.write(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))

    def _tell(self) -> None:
        """Tell how many messages are missing since the last one."""
        failed = self._scribe.failed
        missing, self._left_out, self._failed = self._left_out + failed - self._failed, 0, failed
        if missing:
            words = "the log: %d messages are missing here, as standard error did not take them"
            told = {"name": "aggregator.daemon", "levelno": logging.WARNING, "levelname": "WARNING"}
            self._put(logging.makeLogRecord(told | {"msg": words, "args": (missing,)}))


_scribe = Scribe(STDERR)


def write_past_the_log(lines: bytes, patience: float = 0) -> None:
    """Write something to standard error, from a signal's handler too: the log's locks may be held where it came.

    patience: seconds to wait until it is written
    """
    if _scribe.waiting < MOST_WAITING:
        _scribe.write(lines)
    _scribe.flush(patience)


def set_level(level: str) -> None:
    """Log from another level on."""
    logging.getLogger().setLevel(level.upper())


def set_up(level: str) -> None:
    """Log to standard error from `level` on."""
    logging.raiseExceptions = False  # a log that cannot be written (a full disk) is no reason for a traceback in it
    handler = ScribeHandler(_scribe)
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_Journal("%(name)s: %(message)s"))
    else:
        handler.setFormatter(_Printable("%(asctime)s %(levelname).1s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], force=True)
    set_level(level)
    for library in ("aio_pika", "aiormq", "kafka", "picows"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # a line that is lost is ours to report, once
