"""The sink `link`: every batch to another process of this daemon, over a socket that both have.

What is written is in the hands of the system once `write` has been followed by a turn of the loop, and outlives this
process then. A receiver that is slow is waited for, as a single process would wait for itself.
"""

import asyncio
import select
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from msgspec import Struct

from aggregator.bus.passing import Packer
from aggregator.sinks.sink import Batch, Context, Sink, Writer

HEAD = struct.Struct("<IB3x")  # the length of what follows, and its kind
RECORDS, WHOLE, WORD = 1, 2, 3  # kinds: a batch; a record that tells how something stands; what is said beside these
RECV_BYTES = 1 << 20
DRAIN_LOOK_S = 0.001
MOST_PIECES = 512  # so many are given to the system at once
MOST_WAITING_BYTES = 8 << 20  # beyond these the loop waits until the other side reads
TOGETHER_RECORDS = 1024  # batches of one turn travel as one, up to so many records

Take = Callable[[int, memoryview], object]


class LinkEnd:
    """One end of a socket between two processes: frames come and go, and nothing is read of them here.

    take: is called with the kind and the content of each frame that comes
    ended: is called when the other end has gone
    """

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)  # noqa: FBT003 - the library's own signature
        self.line = line
        self.take: Take = lambda kind, frame: None  # noqa: ARG005
        self.ended: Callable[[], object] = lambda: None
        self.sent: Callable[[], object] = lambda: None  # nothing waits any more
        self.waiting = 0  # bytes
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[memoryview] = deque()
        self._have: list[bytes] = []
        self._size, self._needed = 0, HEAD.size
        self._is_writing = self._is_over = False

    def begin(self) -> None:
        """Read what comes."""
        self._loop.add_reader(self.line, self._read)

    def send(self, kind: int, pieces: Sequence[bytes]) -> None:
        """Send a frame, or as much of it as the system takes for now. Where much waits, wait for the other side."""
        if self._is_over:
            return
        length = sum(map(len, pieces))
        self._pieces += [memoryview(piece) for piece in (HEAD.pack(length, kind), *pieces) if piece]
        self.waiting += length + HEAD.size
        self._write()
        while self.waiting > MOST_WAITING_BYTES and not self._is_over:
            poll = select.poll()
            poll.register(self.line, select.POLLOUT)
            poll.poll()
            self._write()

    def _write(self) -> None:
        pieces = self._pieces
        try:
            while pieces:
                done = self.line.sendmsg([pieces[at] for at in range(min(len(pieces), MOST_PIECES))])
                self.waiting -= done
                while pieces and done >= len(pieces[0]):
                    done -= len(pieces.popleft())
                if done:
                    pieces[0] = pieces[0][done:]
        except BlockingIOError:
            if not self._is_writing:
                self._is_writing = True
                self._loop.add_writer(self.line, self._write)
            return
        except OSError:
            self._end()
            return
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self.line)
        self.sent()

    def _read(self) -> None:
        try:
            data = self.line.recv(RECV_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        self._have.append(data)
        self._size += len(data)
        if self._size >= self._needed:
            self._part()

    def _part(self) -> None:
        """Hand on the frames that are whole."""
        whole = self._have[0] if len(self._have) == 1 else b"".join(self._have)
        view, at, size = memoryview(whole), 0, len(whole)
        self._needed = HEAD.size
        while size - at >= HEAD.size and not self._is_over:
            length, kind = HEAD.unpack_from(whole, at)
            if size - at - HEAD.size < length:
                self._needed = HEAD.size + length
                break
            at += HEAD.size + length
            self.take(kind, view[at - length : at])
        self._have = [whole[at:]] if at < size else []
        self._size = size - at

    async def drain(self) -> None:
        """Wait until the system has all that was sent, or the other end has gone."""
        while self._pieces and not self._is_over:  # noqa: ASYNC110 - the system takes it, and tells nobody
            await asyncio.sleep(DRAIN_LOOK_S)

    def _end(self) -> None:
        if not self._is_over:
            self.close()
            self.ended()

    def close(self) -> None:
        """Neither read nor write any more."""
        if self._is_over:
            return
        self._is_over = True
        self._loop.remove_reader(self.line)
        self._loop.remove_writer(self.line)
        self._pieces.clear()
        with suppress(OSError):
            self.line.close()


class LinkWriter(Writer):
    """Sends the batches of one turn of the loop together."""

    def __init__(
        self, end: LinkEnd, packer: Packer, handed: Callable[[int | None], object], over: Callable[[], object]
    ) -> None:
        """Begin.

        handed: is told the time of the last record once the system has all, or a null before that
        over: is called behind the last record
        """
        self._over = over
        self._end = end
        self._packer = packer
        self._handed = handed
        self._loop = asyncio.get_running_loop()
        self._batches: list[Batch] = []
        self._count = 0
        self._last_ts = 0
        self._end.sent = self._note

    def write(self, batch: Batch) -> None:
        """Take a batch. Never waits, unless far too much has not been read."""
        if not self._batches:
            self._handed(None)
            self._loop.call_soon(self.send)
        self._batches.append(batch)
        self._count += batch.count
        if self._count >= TOGETHER_RECORDS:
            self.send()

    def send(self) -> None:
        """Send what was published so far."""
        if self._batches:
            batches, self._batches, self._count = self._batches, [], 0
            self._last_ts = batches[-1].last_ts
            self._end.send(RECORDS, self._packer.pack(Batch.joined(batches)))

    def _note(self) -> None:
        if not self._batches and self._last_ts:
            self._handed(self._last_ts)

    async def close(self) -> None:
        self.send()
        self._over()
        await self._end.drain()


class LinkSettings(Struct, frozen=True):
    """The settings of a link, which no configuration has: the two processes have its socket already.

    writer: what sends
    """

    writer: Any


async def open_link(settings: LinkSettings, context: Context) -> Writer:  # noqa: ARG001 - as any sink
    """Begin; the socket is open already."""
    writer: LinkWriter = settings.writer
    return writer


SINK = Sink("link", LinkSettings, open_link, has_queue=False, is_table=True)
