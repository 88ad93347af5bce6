"""Where the daemon's own words go: standard error, with the priority that the journal understands."""

import logging
import os
import sys
from typing import Any

from aggregator.daemon.printable import printable

PRIORITIES = {logging.CRITICAL: "<2>", logging.ERROR: "<3>", logging.WARNING: "<4>", logging.INFO: "<6>"}
LONGEST = 4000  # characters of a message, or of a line of a traceback


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


def set_up(level: str) -> None:
    """Log to standard error from `level` on."""
    logging.raiseExceptions = False  # a log that cannot be written (a full disk) is no reason for a traceback in it
    handler = logging.StreamHandler(sys.stderr)
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_Journal("%(name)s: %(message)s"))
    else:
        handler.setFormatter(_Printable("%(asctime)s %(levelname).1s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("picows").setLevel(logging.CRITICAL)  # a line that is lost is ours to report, once
