"""Captures on disk: writing what a live network says while it says it."""

import base64
import errno
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

import zstandard
from msgspec import Struct

from aggregator.capture.line import written
from aggregator.exchange import Address, Request
from aggregator.ingest.lines import Line, LineListener
from aggregator.ingest.network import Answer, Network
from aggregator.records import SECOND_NS
from aggregator.session.moment import Now

FLUSH_NS = 2 * SECOND_NS  # lines may wait in memory for so long
MOST_HELD_BYTES = 2**16  # and as many bytes of them
MOST_UNWRITTEN_BYTES = 16 * 2**20  # so many bytes of an exchange may wait for a disk that is slow
CLOSE_S = 3.0  # the end waits so long for such a disk
LAST_BLOCK = b"\x01\x00\x00"  # an empty one, which ends a zstd frame

log = logging.getLogger("aggregator.capture")


class _Disk:
    """A file that is added to, in whole pieces: of one that does not fit nothing stays."""

    def __init__(self, path: Path) -> None:
        """Go on with `path`, or create it; `.zst` is compressed, a new frame of it. Raises OSError."""
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self.size = os.fstat(self._fd).st_size
        self._compressor = zstandard.ZstdCompressor() if path.suffix == ".zst" else None
        self._frame: zstandard.ZstdCompressionObj | None = None
        self._is_torn = False  # there is more in the file than `size`
        self._is_unended = False  # a frame of which a part is written

    def write(self, piece: bytes) -> None:
        """Add a piece. Raises OSError; then nothing of it stays."""
        self._mend()
        if self._compressor is None:
            self._put(piece)
            return
        frame = self._frame = self._frame or self._compressor.compressobj()
        try:
            self._put(frame.compress(piece) + frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
        except OSError:
            self._frame = None  # later lines of it would refer to some that are not in the file
            raise
        self._is_unended = True

    def close(self) -> None:
        """Finish the file. Raises OSError where there is no room for that."""
        try:
            self._frame = None
            self._mend()
        finally:
            os.close(self._fd)

    def _mend(self) -> None:
        if self._is_torn:
            os.ftruncate(self._fd, self.size)
            self._is_torn = False
        if self._frame is None and self._is_unended:
            self._put(LAST_BLOCK)
            self._is_unended = False

    def _put(self, blob: bytes) -> None:
        rest = memoryview(blob)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            self._is_torn = True
            with suppress(OSError):  # else it is tried again before the next piece
                os.ftruncate(self._fd, self.size)
                self._is_torn = False
            raise
        self.size += len(blob)


class RecorderStatus(Struct, frozen=True):
    """One capture.

    path: where it is written
    size: bytes that are written
    waiting: lines that are not yet
    lost: lines that could not be written
    """

    path: str
    size: int
    waiting: int
    lost: int


class _WriterThread:
    """The thread that writes a capture: whatever its disk does, nobody waits for it."""

    def __init__(self, path: Path) -> None:
        """Begin the file, and the thread. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._disk = _Disk(path)
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.ended: Future[None] = Future()
        self.lines = 0  # lines that are done with, their bytes, and those of them that could not be written
        self.bytes = 0
        self.lost = 0
        try:
            Thread(target=self._run, name="capture", daemon=True).start()
        except RuntimeError as error:
            self._close()
            raise OSError(errno.EAGAIN, str(error)) from None

    @property
    def size(self) -> int:
        """Bytes that stand in the file."""
        return self._disk.size

    def write(self, lines: list[bytes]) -> None:
        """Have these lines written."""
        self._tasks.put(partial(self._write, lines))

    def reopen(self, path: Callable[[], Path]) -> None:
        """Have the file finished, and another begun."""
        self._tasks.put(partial(self._reopen, path))

    def end(self) -> None:
        """Have the file finished after all that."""
        self._tasks.put(self._close)
        self._tasks.put(None)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
        self.ended.set_result(None)

    def _write(self, lines: list[bytes]) -> None:
        piece = b"".join(lines)
        try:
            self._disk.write(piece)
        except OSError as error:  # a full disk: the live stream goes on
            if not self.lost:
                log.warning("%s: cannot write the capture: %s; what comes now is missing from it", self.path, error)
            self.lost += len(lines)
        self.lines += len(lines)
        self.bytes += len(piece)

    def _reopen(self, choose: Callable[[], Path]) -> None:
        try:
            path = choose()
            disk = _Disk(path)
        except OSError as error:
            log.warning("%s: the capture goes on here, as no other can be begun: %s", self.path, error)
            return
        self._close()
        self._disk, self.path = disk, path

    def _close(self) -> None:
        with suppress(OSError):
            self._disk.close()


class Recorder:
    """A network that writes down everything that comes and goes; its own file per exchange."""

    def __init__(self, path: Path, exchange: str, network: Network) -> None:
        """Append to `path` (`.jsonl` or `.jsonl.zst`, a new frame of it). Raises OSError."""
        self._writer = _WriterThread(path)
        self._lines: list[bytes] = []  # these wait to be handed to the thread
        self._held = 0  # bytes of these
        self._given = self._given_bytes = 0  # lines that were handed to it, and their bytes
        self._left_out = 0  # lines for which there was no room
        self._flushed = 0  # monotonic
        self._exchange = exchange
        self._network = network

    def network(self) -> Network:
        """The network, with this recorder listening in."""
        return Network(self._dial, self._fetch, self._network.now)

    @property
    def lost(self) -> int:
        """Lines that are missing from the capture."""
        return self._left_out + self._writer.lost

    def status(self) -> RecorderStatus:
        """How the capture fares."""
        waiting = len(self._lines) + self._given - self._writer.lines
        return RecorderStatus(str(self._writer.path), self._writer.size, waiting, self.lost)

    def end(self) -> Future[None]:
        """Have the file finished; what this gives is done then."""
        self._flush()
        self._writer.end()
        return self._writer.ended

    def close(self) -> None:
        """Have the file finished, and wait until it is, but not for ever."""
        wait([self.end()], CLOSE_S)
        self.sum_up()

    def sum_up(self) -> None:
        """Log at the end what is missing."""
        if not self._writer.ended.done():
            log.error("%s: the disk does not answer: the end of the capture is not written", self._writer.path)
        if self.lost:
            log.error("%s: %d lines are missing", self._writer.path, self.lost)

    def reopen(self, path: Callable[[], Path]) -> None:
        """Finish the file, and go on in another, or in this one where that cannot be begun.

        path: chooses it
        """
        self._flush()
        self._writer.reopen(path)

    def write(self, dir: str, fields: dict[str, str | int], now: Now | None = None) -> None:
        """Write one line, stamped with that moment, or with this one."""
        now = now or self._network.now()
        if self._given_bytes - self._writer.bytes > MOST_UNWRITTEN_BYTES:
            if not self._left_out:
                log.warning("%s: the disk does not keep up; what comes now is missing from it", self._writer.path)
            self._left_out += 1
            return
        line = written(now.wall, dir, fields)
        self._lines.append(line)
        self._held += len(line)
        if self._held > MOST_HELD_BYTES or now.mono - self._flushed > FLUSH_NS:
            self._flushed = now.mono
            self._flush()

    def _flush(self) -> None:
        """Hand on what waits."""
        if self._lines:
            self._given += len(self._lines)
            self._given_bytes += self._held
            self._writer.write(self._lines)
            self._lines, self._held = [], 0

    async def _dial(self, address: Address, listener: LineListener) -> Line:
        conn = listener.name
        overheard = _RecordingListener(
            self, {"exchange": self._exchange, "url": address.url, "conn": conn, "ends": True}, listener
        )
        line = await self._network.dial(address, overheard)
        overheard.opened()
        return _RecordingLine(self, overheard, line)

    async def _fetch(self, request: Request) -> Answer:
        answer = await self._network.fetch(request)
        asked: dict[str, str | int] = {"exchange": self._exchange, "method": request.method, "url": request.url}
        self.write("rest", asked | {"status": answer.status} | as_text(answer.body))
        return answer


class _RecordingListener:
    """A listener that writes down each frame before it is read."""

    def __init__(self, recorder: Recorder, opening: dict[str, str | int], listener: LineListener) -> None:
        self._recorder = recorder
        self._opening: dict[str, str | int] | None = opening
        self.conn: dict[str, str | int] = {"conn": opening["conn"]}
        self._is_closed = False
        self._listener = listener

    @property
    def name(self) -> str:
        """The name of the line: that of its session's connection."""
        return self._listener.name

    def opened(self) -> None:
        """Say once that the connection stands: a first frame may come before the dialling has returned."""
        if self._opening is not None:
            self._recorder.write("open", self._opening)
            self._opening = None

    def closed(self, reason: str) -> None:
        """Say once that the connection is over: what the exchange says after that is missing."""
        if not self._is_closed:
            self._is_closed = True
            self._recorder.write("close", self.conn | {"raw": reason})

    def frames(self, payloads: list[bytes], now: Now) -> None:
        self.opened()
        for payload in payloads:
            self._recorder.write("in", self.conn | as_text(payload), now)
        self._listener.frames(payloads, now)

    def gone(self, reason: str) -> None:
        self.closed(reason)
        self._listener.gone(reason)


class _RecordingLine:
    """A line that writes down each frame that is sent."""

    def __init__(self, recorder: Recorder, overheard: _RecordingListener, line: Line) -> None:
        self._recorder = recorder
        self._heard = overheard
        self._line = line

    def send(self, frame: bytes) -> None:
        self._recorder.write("out", self._heard.conn | as_text(frame))
        self._line.send(frame)

    def hang_up(self, reason: str) -> None:
        self._heard.closed(reason)
        self._line.hang_up(reason)


def as_text(payload: bytes) -> dict[str, str | int]:
    """A frame as the capture's field: text where it is text, else base64."""
    try:
        return {"raw": payload.decode()}
    except UnicodeDecodeError:
        return {"raw_b64": base64.b64encode(payload).decode()}
