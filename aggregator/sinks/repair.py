"""The repair of files that a killed daemon left: they get a footer, after a gap of cause `restart`."""

import logging
import os
from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

import msgspec
from msgspec import Struct

from aggregator.errors import UNREADABLE
from aggregator.records import SCHEMA
from aggregator.sinks.notes import FOOTER, HEADER, Footer, encode, sink_gap
from aggregator.sinks.paths import Scope, closed_path

SINK = "files"
Deaths = Mapping[tuple[str, str], int]  # (epoch, exchange) -> ns
TAIL_BYTES = 4096  # a footer is shorter

log = logging.getLogger("aggregator.sinks.files")


class _Line(Struct):
    """The fields that tell what a line is; they are null if it is none of ours."""

    type: str | None = None
    offset: int | None = None
    ts_recv: int | None = None
    ts: int | None = None
    schema: int | None = None
    epoch: str | None = None
    exchange: str | None = None
    channel: str | None = None
    symbol: str | None = None
    raw_symbol: str | None = None


decode = msgspec.json.Decoder(_Line).decode


def read(line: bytes) -> _Line | None:
    """A whole line, or null where it is torn or no JSON object."""
    try:
        return decode(line) if line.endswith(b"\n") else None
    except UNREADABLE:
        return None


def is_ours(path: Path) -> bool:
    """Tell whether it is a regular file that begins as this sink's files do, be it torn. Raises OSError."""
    if not S_ISREG(path.lstat().st_mode):
        return False
    with path.open("rb") as file:
        start = file.read(len(HEADER))
    return HEADER.startswith(start)


def has_footer(path: Path) -> bool:
    """Tell whether a file is complete. Raises OSError."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        tail = file.read()
    return tail.endswith(b"\n") and tail[tail.rfind(b"\n", 0, -1) + 1 :].startswith(FOOTER)


def set_aside(path: Path) -> Path | None:
    """Give a left current file, or whatever is in its place, the name of a closed one; null: there was none.

    Raises OSError.
    """
    if not os.path.lexists(path):
        return None
    ts, offset = path.lstat().st_mtime_ns, 0
    if is_ours(path):
        with path.open("rb") as file:
            header, first = read(file.readline()), read(file.readline())
        ts = header.ts if header is not None and header.ts is not None else ts
        offset = first.offset if first is not None and first.offset is not None else offset
    closed = closed_path(path, ts, offset)
    path.rename(closed)
    return closed


class _Survey:
    """The content of a file's whole lines, counted."""

    def __init__(self, file: BinaryIO) -> None:
        """Read it from its beginning; lines that cannot be read count as whole only if others follow."""
        self.header: _Line | None = None
        self.last_ts = 0
        self.tags: Counter[str] = Counter()
        self.offset_first: int | None = None
        self.offset_last: int | None = None
        self.size = 0  # up to the end of the last whole line
        self.digest = sha256()
        unread: list[bytes] = []
        for raw in file:
            line = read(raw)
            if line is None or line.type is None:
                unread.append(raw)
                continue
            self.add(b"".join([*unread, raw]))
            if unread:
                self.tags["unreadable"] += len(unread)
                unread.clear()
            self._take(line, line.type)

    def add(self, blob: bytes) -> None:
        self.digest.update(blob)
        self.size += len(blob)

    def _take(self, line: _Line, kind: str) -> None:
        if self.header is None:
            self.header, self.last_ts = line, line.ts or 0
            return
        self.tags[kind] += 1
        self.last_ts = line.ts_recv or self.last_ts
        if line.offset is not None:
            self.offset_first = line.offset if self.offset_first is None else self.offset_first
            self.offset_last = line.offset


def repair(path: Path, now: int, deaths: Deaths | None = None) -> bool:
    """Complete a file that its writer left; whether it is still there. Raises OSError.

    deaths: of runs that were killed, from when on the stream itself tells what is missing of an exchange

    A file of a later schema is left as it is: its end is for the program that began it.

    Behind the last whole line comes nothing of use: it is cut off. A file without a whole header is removed.
    """
    with path.open("r+b") as file:
        found = _Survey(file)
        torn = file.seek(0, os.SEEK_END) - found.size
        if found.header is None:
            path.unlink()
            log.warning("%s: removed: it held %d bytes, and not one whole line", path, torn)
            return False
        if (found.header.schema or SCHEMA) > SCHEMA:
            log.error(
                "%s: left as it is: a later version of this program wrote it (schema %s)", path, found.header.schema
            )
            return False
        file.truncate(found.size)
        file.seek(found.size)
        file.write(_ending(found, found.header, now, deaths or {}))
    cut = f"; {torn} bytes of a torn line cut off" if torn else ""
    log.warning("%s: its writer left it without an end%s", path, cut)
    return True


def complete(path: Path, now: int) -> None:
    """Give a file its footer that has none and lacks nothing else. Raises OSError."""
    with path.open("r+b") as file:
        found = _Survey(file)
        file.seek(found.size)
        file.truncate()
        file.write(_footer(found, found.offset_last or 0, now))


def _ending(found: _Survey, header: _Line, now: int, deaths: Deaths) -> bytes:
    """The gap and the footer that a killed daemon owed.

    What it had not written yet is missing between the last line and its death; from there on the stream tells. A last
    line as late as the death proves nothing: what one read of a socket brought has one time, and may be half written.
    """
    offset = found.offset_last or 0
    died = deaths.get((header.epoch or "", header.exchange or ""), now)
    scope = Scope(header.exchange, header.channel, header.symbol, header.raw_symbol)
    gap = sink_gap(
        SINK,
        scope,
        gap_id=f"{SINK}:{header.epoch}:{offset}-end",
        cause="restart",
        ts=(found.last_ts, max(found.last_ts, died)),
        offset=offset,
    )
    line = encode(gap) + b"\n"
    found.add(line)
    found.tags["gap"] += 1
    return line + _footer(found, offset, now)


def _footer(found: _Survey, offset: int, now: int) -> bytes:
    return Footer(
        records=found.tags.total(),
        by_type=dict(found.tags),
        offset_first=offset if found.offset_first is None else found.offset_first,
        offset_last=offset,
        size=found.size,
        hash=found.digest.hexdigest(),
        ts=now,
    ).line()
