"""Where the daemon's own words go: to the journal with fields, or to standard error as text or JSON.

A thread writes, so that a reader of the log that has stopped keeps nothing waiting. What does not fit into its queue is
left out, counted, and told in its place. A line that comes again and again is counted, and told once in a while.
"""

import asyncio
import logging
import os
import select
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import RLock, Thread

from aggregator.config.config import LogFormat
from aggregator.daemon.log_forms import OneLine, Printable, Prioritised, journal_entry, json_line, text_line
from aggregator.daemon.repeats import FOLD_S, Lately

JOURNAL = Path("/run/systemd/journal/socket")
MOST_WAITING = 5000  # messages that nobody has read yet
FLUSH_S = 0.5  # the end of the program waits so long for the log
STDERR = 2


def to_descriptor(fd: int) -> Callable[[bytes], None]:
    """Have pieces written to a descriptor, however long that takes."""
    return partial(_write, fd)


def _write(fd: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:  # whoever shares the descriptor made it non-blocking
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


def to_journal(path: Path) -> Callable[[bytes], None]:
    """Have pieces sent to the journal's socket: by its name each time, as the journal may begin anew."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def send(piece: bytes) -> None:
        sock.sendto(piece, str(path))

    return send


class Scribe:
    """A thread that writes one piece after the other, however long that takes."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        """Start the thread when there is something to write; `write` writes a piece, or raises OSError."""
        self._write = write
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


class ScribeHandler(logging.Handler):
    """The log as a scribe writes it; what is left out is told in its place, and what comes again is counted."""

    def __init__(
        self,
        scribe: Scribe,
        encode: Callable[[str, logging.LogRecord], bytes] = text_line,
        lately: Lately | None = None,
    ) -> None:
        """Have `scribe` write what `encode` makes of a formatted message."""
        super().__init__()
        self._scribe = scribe
        self._encode = encode
        self._lately = lately or Lately()
        self._lock = RLock()  # the library's own is held by whoever calls `emit`
        self._left_out = 0
        self._failed = 0  # pieces that are told to be missing

    def emit(self, record: logging.LogRecord) -> None:
        """Have a message written. One that cannot be formatted is no reason to fail."""
        try:
            with self._lock:
                self.tell_again()
                if not self._lately.takes(record):
                    self._put(record)
        except Exception:  # noqa: BLE001 - logging's own rule
            self.handleError(record)

    def tell_again(self, *, is_end: bool = False) -> None:
        """Tell of messages that came again, as far as it is time for that."""
        with self._lock:
            for record in self._lately.due(is_end=is_end):
                self._put(record)

    def flush(self) -> None:
        """Wait for what is written, at the end of the program, for a moment."""
        self.tell_again(is_end=True)
        self._tell()
        self._scribe.flush(FLUSH_S)

    def _put(self, record: logging.LogRecord) -> None:
        if self._scribe.waiting >= MOST_WAITING:
            self._left_out += 1
            return
        self._tell()
        self._scribe.write(self._encode(self.format(record), record))

    def _tell(self) -> None:
        """Tell how many messages are missing since the last one."""
        failed = self._scribe.failed
        missing, self._left_out, self._failed = self._left_out + failed - self._failed, 0, failed
        if missing:
            words = "the log: %d messages are missing here, as they could not be written"
            told = {"name": "aggregator.daemon", "levelno": logging.WARNING, "levelname": "WARNING"}
            record = logging.makeLogRecord(told | {"msg": words, "args": (missing,)})
            self._scribe.write(self._encode(self.format(record), record))


_scribe = Scribe(to_descriptor(STDERR))


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


def set_up(level: str, form: LogFormat = "auto") -> None:
    """Log from `level` on.

    form: `journal`: to the journal, with fields; `console` and `json`: text and JSON on standard error; `auto`: to the
        journal where standard error leads there, and text elsewhere
    """
    logging.raiseExceptions = False  # a log that cannot be written (a full disk) is no reason for a traceback in it
    logging.basicConfig(handlers=[_handler(form)], force=True)
    set_level(level)
    for library in ("aio_pika", "aiormq", "kafka", "picows"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # a line that is lost is ours to report, once


def _handler(form: LogFormat) -> logging.Handler:
    leads_there = leads_to_journal(STDERR)
    if form == "json":
        handler = ScribeHandler(_scribe, json_line)
        handler.setFormatter(OneLine("%(message)s"))
    elif form == "journal" or (form == "auto" and leads_there):
        if JOURNAL.exists():
            handler = ScribeHandler(Scribe(to_journal(JOURNAL)), journal_entry)
            handler.setFormatter(OneLine("%(message)s"))
        else:
            handler = ScribeHandler(_scribe)
            handler.setFormatter(Prioritised("%(name)s: %(message)s"))
    else:
        handler = ScribeHandler(_scribe)
        handler.setFormatter(Printable("%(asctime)s %(levelname).1s %(name)s: %(message)s"))
    return handler


def leads_to_journal(fd: int) -> bool:
    """Tell whether a descriptor is the stream that the service manager has connected to the journal.

    https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#%24JOURNAL_STREAM
    """
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


async def tell_repeats() -> None:
    """Tell of messages that came again also while no other comes, until cancelled."""
    while True:
        await asyncio.sleep(FOLD_S / 2)
        for handler in logging.getLogger().handlers:
            if isinstance(handler, ScribeHandler):
                handler.tell_again()
