"""The far end of a stream over HTTP: a WebSocket, or server-sent events."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

from aggregator.feed.address import TcpAddress
from aggregator.feed.protocol import Encoding
from aggregator.feed.subscriber import Subscriber
from aggregator.feed.transports.pace import Pace

SENDS_AT_ONCE = 8  # so many writes, before others have their turn
MOST_UNSENT_BYTES = 64 * 1024  # a peer of which more waits in its transport is given more by its task alone

CURSOR, CURSOR_END = b'data: {"type":"cursor","cursor":"', b'"}\n\n'

Shape = Callable[[bytes, Encoding], bytes]  # lines as the bytes that are sent for them


class HttpPeer:
    """The far end of one stream over HTTP.

    While it keeps up it is written to as any other socket is, and no task is woken for it. What cannot be sent at once
    goes to the library's transport, and a task goes on when there is room there.
    """

    def __init__(self, request: web.Request, pace: Pace, sock: socket.socket | None, shape: Shape | None) -> None:
        """Begin to be a peer, written to at a pace; `run` sends until the end.

        sock: the connection's own, where its bytes are not enciphered
        shape: how lines are written; null where only the library can tell, as it compresses them
        """
        peer = request.transport.get_extra_info("peername") if request.transport else None
        self.name = str(TcpAddress(peer[0], peer[1], "http")) if peer else "http:?"
        self.host = request.remote or ""
        self.has_sent = asyncio.Event()  # something was sent since somebody waited for room
        self.is_finishing = False
        self._request = request
        self._pace = pace
        self._sock = sock
        self._shape = shape
        self._wanted = asyncio.Event()
        self._resting: Subscriber | None = None  # while the task waits

    @property
    def unsent(self) -> int:
        """Bytes that the transport has and could not send yet."""
        transport = self._request.transport
        return transport.get_write_buffer_size() if transport is not None else 0

    def wake(self) -> None:
        """Write what there is, or have that done within a millisecond."""
        if self._resting is None or self.is_finishing:
            self._wanted.set()
        elif self._resting.ring.is_pressing or self._pace.may_write_to_port(self):
            self.flush()

    def finish(self) -> None:
        """Hear no more, and close once everything is sent."""
        self.is_finishing = True
        self.has_sent.set()
        self._wanted.set()

    def close(self) -> None:
        """Close at once."""
        self.is_finishing = True
        if self._request.transport is not None:
            self._request.transport.abort()

    def flush(self) -> None:
        """Write what there is now, or wake the task where not all can be sent at once."""
        resting, shape, transport = self._resting, self._shape, self._request.transport
        if resting is None or shape is None or transport is None or transport.get_write_buffer_size():
            self._wanted.set()
            return
        self._resting = None  # a refill may wake this very peer
        is_all = self._send(resting, shape, transport)
        self._resting = resting
        if not is_all or self.is_finishing:
            self._wanted.set()

    def _send(self, subscriber: Subscriber, shape: Shape, transport: asyncio.WriteTransport) -> bool:
        """Send what there is; tell whether that was all."""
        for _ in range(SENDS_AT_ONCE):
            data = subscriber.refill()
            if not data:
                return True
            rest = shape(data, subscriber.ring.encoding)
            if self._sock is not None and not transport.is_closing():
                with suppress(OSError):  # the transport takes what does not fit, and meets the errors
                    rest = rest[self._sock.send(rest) :]
            self.has_sent.set()
            if rest:
                transport.write(rest)
            if (rest and self._sock is not None) or transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
                break
            if not subscriber.has_more:
                return True
        return False

    async def run(self, subscriber: Subscriber, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send until everything is sent, and that was waited for. Raises ConnectionError where the far end is gone."""
        while True:
            self._wanted.clear()
            data = subscriber.refill()
            if data:
                await send(data)
                self.has_sent.set()
            elif self.is_finishing:
                return
            else:
                self._resting = subscriber
                try:
                    await self._wanted.wait()
                finally:
                    self._resting = None


def frame(payload: bytes, encoding: Encoding = "json") -> bytes:
    """A message as a server's frame (RFC 6455, section 5.2)."""
    size, first = len(payload), b"\x81" if encoding == "json" else b"\x82"
    if size < 126:
        return first + bytes((size,)) + payload
    if size < 1 << 16:
        return first + b"\x7e" + size.to_bytes(2, "big") + payload
    return first + b"\x7f" + size.to_bytes(8, "big") + payload


def events(lines: bytes) -> bytes:
    """Each line as a server-sent event; the place in the stream is the id of the event that tells it."""
    shaped = b"data: " + lines[:-1].replace(b"\n", b"\n\ndata: ") + b"\n\n"
    start = shaped.rfind(b"data: ")
    if shaped.startswith(CURSOR, start):
        cursor = shaped[start + len(CURSOR) : -len(CURSOR_END)]
        return b"%bid: %b\n%b" % (shaped[:start], cursor, shaped[start:])
    return shaped


def chunk(lines: bytes, _encoding: Encoding = "json") -> bytes:
    """Each line as a server-sent event, within a chunk of HTTP."""
    shaped = events(lines)
    return b"%x\r\n%b\r\n" % (len(shaped), shaped)
