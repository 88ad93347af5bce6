"""The place in the stream that a sink has reached, in a small file which outlives the daemon.

The file has two slots, which are written in turn, and each has a checksum: whatever ends the daemon in mid-write leaves
the other one whole. It has its size from the beginning, so that a full disk refuses no place.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from aggregator.bus.history import BadStart, Cursor, parse_beginning
from aggregator.errors import AggregatorError
from aggregator.sinks.worker import Worker

SLOT_BYTES = 2048  # a cursor is at most half as long
NOTE_S = 0.1  # a place is written so long after the sink has reached it
LAST_S = 0.3  # the last one may take so long
ENDING = ".place"

log = logging.getLogger("aggregator.sinks")


class NoPlace(AggregatorError):
    """The file is there, and no place can be read of it."""


class PlaceFile:
    """The file. Errors of the disk are raised as OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0

    def read(self) -> Cursor | None:
        """The place that was written last; null: there is no file. Raises OSError, NoPlace."""
        try:
            with self._path.open("rb") as file:
                data = file.read(2 * SLOT_BYTES)
        except FileNotFoundError:
            return None
        found = [_parsed(data[at : at + SLOT_BYTES]) for at in (0, SLOT_BYTES)]
        newest = max((place for place in found if place is not None), key=lambda place: place[0], default=None)
        if newest is None:
            raise NoPlace(f"{self._path}: no place can be read of it")
        self._number = newest[0]
        return newest[1]

    def write(self, place: Cursor) -> None:
        """Write a place: whole, or the one before stays. Raises OSError."""
        self._number += 1
        text = f"{self._number:012} {place.text}".encode()
        slot = b"%s %08x" % (text, crc32(text))
        slot = slot.ljust(SLOT_BYTES - 1) + b"\n"
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._create(slot)
            return
        try:
            os.pwrite(fd, slot, self._number % 2 * SLOT_BYTES)
        finally:
            os.close(fd)

    def _create(self, slot: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.new")
        empty = b" " * (SLOT_BYTES - 1) + b"\n"
        temporary.write_bytes(empty + slot if self._number % 2 else slot + empty)
        temporary.rename(self._path)

    def forget(self) -> None:
        """Remove it, if it is there. Raises OSError."""
        self._path.unlink(missing_ok=True)

    def set_aside(self) -> None:
        """Rename it, as it is of no use. Raises OSError."""
        self._path.rename(self._path.with_name(f"{self._path.name}.bad"))


def _parsed(slot: bytes) -> tuple[int, Cursor] | None:
    try:
        number, text, check = slot.decode("ascii").split()
        place = parse_beginning(text)
        is_whole = int(check, 16) == crc32(f"{number} {text}".encode())
    except (ValueError, BadStart):
        return None
    return (int(number), place) if is_whole and isinstance(place, Cursor) else None


class PlaceNotes:
    """Has a thread write the place of one sink, as it moves; nobody waits for the disk."""

    def __init__(self, name: str, path: Path) -> None:
        """Prepare for the sink that logs call `name`."""
        self._name = name
        self._file = PlaceFile(path)
        self._worker: Worker | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._place: Callable[[], Cursor] | None = None
        self._noted: Cursor | None = None
        self._is_writing = False
        self._is_said = False

    async def begin(self) -> Cursor | None:
        """The place that a former life has left; null: there is none. Raises NoPlace; then the file is set aside."""
        self._worker = Worker("places")
        try:
            return await self._worker.do(self._file.read)
        except OSError as error:
            raise NoPlace(str(error)) from error
        except NoPlace:
            with suppress(OSError):
                await self._worker.do(self._file.set_aside)
            raise

    def follow(self, place: Callable[[], Cursor]) -> None:
        """Write from now on what `place` says, at once and whenever it says something else."""
        self._place = place
        self._look()

    def _look(self) -> None:
        self._note()
        self._timer = asyncio.get_running_loop().call_later(NOTE_S, self._look)

    def _note(self) -> None:
        if self._place is None or self._worker is None or self._is_writing:
            return
        place = self._place()
        if place != self._noted:
            self._noted, self._is_writing = place, True
            self._worker.put(lambda: self._write(place))

    def _write(self, place: Cursor) -> None:
        try:
            self._file.write(place)
        except OSError as error:
            if not self._is_said:
                said = "what it takes comes again after the next start"
                log.error("sink %s: the place that it has reached cannot be written: %s; %s", self._name, error, said)  # noqa: TRY400 - no fault of ours
            self._is_said, self._noted = True, None
        else:
            self._is_said = False
        self._is_writing = False

    async def end(self) -> None:
        """Write where it is now, and let go."""
        if self._timer is not None:
            self._timer.cancel()
        worker, self._worker = self._worker, None
        if worker is None:
            return
        if self._place is not None:
            place = self._place()
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_S):
                    await worker.do(lambda: self._write(place))
        worker.stop()
