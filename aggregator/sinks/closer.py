"""The last steps for closed files, in a thread of their own: they are repaired if needed, synced and compressed."""

import logging
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from threading import Event
from typing import BinaryIO

import zstandard

from aggregator.sinks.paths import SUFFIX, is_closed
from aggregator.sinks.repair import Deaths, has_footer, is_ours, repair, set_aside
from aggregator.sinks.segment import Segments

ZST = ".zst"
TEMPORARY = ".tmp"
LEVEL = 3
WINDOW = 18  # the power of two of bytes that are looked back: a larger one takes megabytes, and finds no more
PIECE_BYTES = 1 << 18
FRAME_HEADER_BYTES = 18  # the longest that there is

log = logging.getLogger("aggregator.sinks.files")


class _Stopped(Exception):
    pass


class Closer:
    """Finishes closed files one after the other; everything here runs in its thread, and raises nothing.

    pending: closed files that `finish` will be called with
    unfinished: files that an error kept from being finished; `retry` takes them up again
    stopping: set it, and what is under way is left for the next start
    """

    def __init__(
        self,
        root: Path,
        segments: Segments,
        clock: Callable[[], int],
        *,
        compress: bool,
        deaths: Deaths | None = None,
    ) -> None:
        """Look after the files below `root` that `segments` does not own."""
        self._root = root
        self._segments = segments
        self._clock = clock
        self._compress = compress
        self._deaths = deaths or {}
        # kept for good: what is freed in pieces of megabytes teaches the C library to hold on to that much
        settings = zstandard.ZstdCompressionParameters.from_level(LEVEL, window_log=WINDOW, write_checksum=True)
        self._compressor = zstandard.ZstdCompressor(compression_params=settings)
        self._chunk = memoryview(bytearray(PIECE_BYTES))
        self.pending: set[Path] = set()
        self.unfinished: set[Path] = set()
        self.stopping = Event()

    def sweep(self) -> None:
        """Finish whatever a former life left below the root."""
        for directory, _, names in os.walk(self._root, onerror=self._unread):
            for name in sorted(names):
                if self.stopping.is_set():
                    return
                self._look_at(Path(directory, name))

    def _unread(self, error: OSError) -> None:
        log.error("files %s: %s", self._root, error)

    def _look_at(self, path: Path) -> None:
        try:
            if path.name.startswith(".") and path.name.endswith(f"{SUFFIX}{ZST}{TEMPORARY}"):
                path.unlink()
            elif path.suffix == SUFFIX and is_ours(path):
                found = path if is_closed(path) else self._left(path)
                if found is not None:
                    self.finish(found)
        except FileNotFoundError:
            return  # its writer closed it meanwhile
        except OSError as error:
            log.error("%s: %s", path, error)  # noqa: TRY400 - no fault of ours

    def _left(self, path: Path) -> Path | None:
        """A current file that nobody writes to any more, under its final name."""
        with self._segments.lock:
            return None if path in self._segments.owned else set_aside(path)

    def retry(self) -> None:
        """Try again what could not be finished."""
        paths, self.unfinished = self.unfinished, set()
        for path in paths:
            self.finish(path)

    def finish(self, path: Path) -> None:
        """Make a closed file complete and lasting."""
        self.pending.discard(path)
        if self.stopping.is_set():
            return
        try:
            if not is_ours(path) or not (has_footer(path) or repair(path, self._clock(), self._deaths)):
                return
            sync(path)
            if self._compress:
                self._replace(path)
            sync(path.parent)
        except _Stopped:
            log.info("%s: left to be compressed at the next start", path)
        except FileNotFoundError:
            if not os.path.lexists(f"{path}{ZST}"):
                log.warning("%s: removed by someone else", path)
        except (OSError, zstandard.ZstdError) as error:
            log.error("%s: cannot be finished yet: %s", path, error)  # noqa: TRY400 - no fault of ours
            self.unfinished.add(path)

    def _replace(self, path: Path) -> None:
        """Put the compressed file in the plain one's place. Raises OSError."""
        compressed, size = path.with_name(path.name + ZST), path.stat().st_size
        if not os.path.lexists(compressed):
            temporary = path.with_name(f".{path.name}{ZST}{TEMPORARY}")
            try:
                with path.open("rb", buffering=0) as plain, temporary.open("xb") as file:
                    self._copy(plain, file, size)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.rename(compressed)
            finally:
                temporary.unlink(missing_ok=True)
            sync(path.parent)
        elif not _holds(compressed, size):
            log.error("%s: there is another %s already; both are left as they are", path, compressed.name)
            return
        path.unlink()

    def _copy(self, plain: FileIO, file: BinaryIO, size: int) -> None:
        out = self._compressor.stream_writer(file, size=size, closefd=False)
        while count := plain.readinto(self._chunk):
            if self.stopping.is_set():
                raise _Stopped
            out.write(self._chunk[:count])
        out.close()  # type: ignore[no-untyped-call]


def sync(path: Path) -> None:
    """Have what is written to a file or a directory reach the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _holds(compressed: Path, size: int) -> bool:
    """Tell whether a zstd file is of so many bytes: then it is what an earlier start made of the plain one."""
    with compressed.open("rb") as file:
        return bool(zstandard.frame_content_size(file.read(FRAME_HEADER_BYTES)) == size)
