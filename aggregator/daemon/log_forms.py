"""How a message of the log is written: as a line of text or JSON, or as an entry of the journal with fields.

Whatever an exchange has put into a message, it stays one line of printable characters.
"""

import logging
import re
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from aggregator.catalog.registry import connector_ids, installed_ids
from aggregator.daemon.printable import printable

PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6}
DEBUG_PRIORITY = 7
LONGEST = 4000  # characters of a message, or of a line of a traceback
LARGEST_ENTRY_BYTES = 128 * 1024  # a datagram to the journal has room for no more than some 200 kB


def one_line(text: str) -> str:
    """Write a log entry on one line, whatever an exchange has put into it."""
    return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)")


class Printable(logging.Formatter):
    """A message on one line; only a traceback has several, which are indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - likewise
        return "\n".join(f"  {one_line(line)}" for line in super().formatException(ei).split("\n"))


class OneLine(Printable):
    """A message and its traceback on one line."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " | ")


class Prioritised(OneLine):
    """The journal, reading standard error, stamps lines itself, and takes a priority in front."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_priority(record)}>{super().format(record)}"


def _priority(record: logging.LogRecord) -> int:
    return PRIORITIES.get(record.levelno, DEBUG_PRIORITY)


@cache
def _exchanges() -> frozenset[str]:
    return frozenset((*connector_ids(), *installed_ids()))


def exchange_of(message: str) -> str | None:
    """The exchange that a message is about: one that is, begins with its id, or with its connection's name."""
    match = re.match(r"(\w+)[:/]", message)
    return match[1] if match is not None and match[1] in _exchanges() else None


def journal_entry(text: str, record: logging.LogRecord) -> bytes:
    """A datagram to the journal: fields, each with its length before it, so that no value can be taken for another.

    https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
    """
    message = text.encode("utf-8", "backslashreplace")
    if len(message) > LARGEST_ENTRY_BYTES:
        message = message[:LARGEST_ENTRY_BYTES] + f"… ({len(message)} bytes)".encode()
    fields = {
        "MESSAGE": message,
        "PRIORITY": str(_priority(record)).encode(),
        "SYSLOG_IDENTIFIER": b"aggregator",
        "CODE_FILE": record.pathname.encode(),
        "CODE_LINE": str(record.lineno).encode(),
        "CODE_FUNC": (record.funcName or "").encode(),
        "AGGREGATOR_LOGGER": record.name.encode(),
        "AGGREGATOR_EXCHANGE": (exchange_of(text) or "").encode(),
    }
    return b"".join(
        b"%b\n%b%b\n" % (name.encode(), len(value).to_bytes(8, "little"), value)
        for name, value in fields.items()
        if value
    )


class _JsonLine(Struct, frozen=True, omit_defaults=True):
    """A message as a line of JSON; `exchange` is left out where it is about none."""

    time: datetime
    level: str
    logger: str
    message: str
    exchange: str | None = None


def json_line(text: str, record: logging.LogRecord) -> bytes:
    """A line of JSON."""
    moment = datetime.fromtimestamp(record.created, UTC)
    found = _JsonLine(moment, record.levelname.lower(), record.name, text, exchange_of(text))
    return msgspec.json.encode(found) + b"\n"


def text_line(text: str, record: logging.LogRecord) -> bytes:  # noqa: ARG001 - as the others
    """A line of text."""
    return f"{text}\n".encode("utf-8", "backslashreplace")
