"""Lines by websockets: slower than picows, with permessage-deflate and with proxies that leave names to us."""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State

from aggregator.ingest.lines import (
    DIAL_TIMEOUT_S,
    IDLE_PING_S,
    LARGEST_FRAME_BYTES,
    LOST,
    MOST_FRAMES,
    MOST_UNSENT_BYTES,
    PIECE_BYTES,
    TOO_LARGE,
    UNREAD,
    Fragments,
    Large,
    Line,
    LineListener,
    NotOpened,
    bound,
    closed,
    read_clocks,
    refusal,
)
from aggregator.ingest.proxies import Proxy
from aggregator.session.moment import Now
from aggregator.wire.frames import LARGE_BYTES

FAILURES = (WebSocketException,)  # this transport can also raise these
SLICE_BYTES = 2**13  # so much of a read is worked on in one turn of the loop: it inflates to 8 MiB at the very most
GOODBYE_S = 1.0  # the other side has so long to answer a close
NORMAL = 1000

# The library's own words are of no use here, and its debugging would write every frame.
log = logging.getLogger("aggregator.websockets_line")
log.setLevel(logging.WARNING)


class _Connection(ClientConnection):
    """The library's connection as a `Line` and its `Listener`: what one read brings is handed on together, in PIECEs.

    The library keeps the protocol, answers pings and bounds sizes; nothing waits in a queue of its own.
    """

    def __init__(self, listener: LineListener, protocol: ClientProtocol, *, is_secure: bool) -> None:
        super().__init__(protocol, ping_interval=None, close_timeout=GOODBYE_S, max_queue=None)
        self._listener = listener
        self._is_secure = is_secure
        self._frames: list[bytes] = []  # the frames of this read, and their bytes
        self._held = 0
        self._fragments: Fragments | None = None
        self._read_at: Now | None = None
        self._large = Large()
        self._over: str | None = None  # why we hung up ourselves
        self._slices: deque[tuple[bytes, Now]] = deque()  # parts of a read that wait for later turns
        self._heard = 0.0  # the loop's time when something came last
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._is_secure:
            bound(transport.get_extra_info("socket"))

    def start_keepalive(self) -> None:
        """Ping idle lines only. The library's own method would ping a busy line too, and end it without a pong."""
        self._heard = self.loop.time()
        self._look()

    def _look(self) -> None:
        """Ping a line that has been silent, and end it where that is not answered by anything."""
        silent = self.loop.time() - self._heard
        if silent >= 2 * IDLE_PING_S:
            self._over = f"hung up: silent for {silent:.0f} s, and a ping was not answered"
            self.transport.abort()
            return
        if silent >= IDLE_PING_S and self.protocol.state is State.OPEN:
            self.protocol.send_ping(b"")
            self.send_data()
        patience = IDLE_PING_S if silent < IDLE_PING_S else 2 * IDLE_PING_S
        self._watch = self.loop.call_later(patience - silent, self._look)

    def data_received(self, data: bytes) -> None:
        read_at = read_clocks()
        self._heard = self.loop.time()
        is_first = not self._slices
        self._slices.extend((data[start : start + SLICE_BYTES], read_at) for start in range(0, len(data), SLICE_BYTES))
        if is_first and self._slices:
            self._take_slice()
            if self._slices:
                if not self.transport.is_closing():
                    self.transport.pause_reading()
                self.loop.call_soon(self._catch_up)

    def _catch_up(self) -> None:
        """Work on what is left of a read, a slice in each turn of the loop; until then nothing more is read."""
        if self._slices:
            self._take_slice()
        if self._slices:
            self.loop.call_soon(self._catch_up)
        elif not self.transport.is_closing():
            self.transport.resume_reading()

    def _take_slice(self) -> None:
        data, self._read_at = self._slices.popleft()
        super().data_received(data)
        self._hand_on()
        if self.transport.get_write_buffer_size() > MOST_UNSENT_BYTES and self._over is None:
            self._over = UNREAD
            self.transport.abort()
        elif self.protocol.close_expected():  # a server may leave the rest to us, whatever the protocol says
            self.loop.call_later(GOODBYE_S, self.transport.abort)

    def eof_received(self) -> None:
        """Work on what is left before the library hears that nothing more comes."""
        while self._slices:
            self._take_slice()
        super().eof_received()

    def process_event(self, event: Frame | Response) -> None:  # type: ignore[override]  # as the library calls it
        if not isinstance(event, Frame) or event.opcode is Opcode.PONG:
            super().process_event(event)
        elif event.opcode is Opcode.TEXT or event.opcode is Opcode.BINARY:
            if event.fin:
                self._hold(bytes(event.data))
            else:
                self._fragments = Fragments(bytes(event.data))
        elif event.opcode is Opcode.CONT and self._fragments is not None:
            self._continue(self._fragments, event)

    def _continue(self, fragments: Fragments, frame: Frame) -> None:
        if not fragments.add(bytes(frame.data)):
            self._fragments = None
            self._over = TOO_LARGE
            self.transport.abort()
        elif frame.fin:
            self._fragments = None
            self._hold(fragments.whole())

    def _hold(self, payload: bytes) -> None:
        if len(payload) > LARGE_BYTES and self._read_at is not None and self._over is None:
            self._over = self._large.excess(payload, self._read_at)
            if self._over is not None:
                self.transport.abort()
        if self._over is not None:
            return
        self._frames.append(payload)
        self._held += len(payload)
        if self._held >= PIECE_BYTES or len(self._frames) >= MOST_FRAMES:
            self._hand_on()

    def _hand_on(self) -> None:
        frames, self._frames, self._held = self._frames, [], 0
        if frames and self._read_at is not None:
            self._listener.frames(frames, self._read_at)

    def connection_lost(self, exc: Exception | None) -> None:
        while self._slices:
            self._take_slice()
        was_open = self.response is not None and self.protocol.handshake_exc is None
        super().connection_lost(exc)
        if self._watch is not None:
            self._watch.cancel()
        self._fragments = None  # the library's objects hold each other: it may be minutes until they are collected
        self.protocol.reader.buffer.clear()
        if was_open:
            self._listener.gone(self._over or self._said())

    def _said(self) -> str:
        received, sent = self.protocol.close_rcvd, self.protocol.close_sent
        if received is not None:
            return closed(received.code, received.reason)
        if sent is not None and sent.code != NORMAL:  # a frame that cannot be read, or is too large
            return f"hung up: {sent.reason or sent.code}"
        return LOST


class _Line:
    """The `Line` of a connection, for the caller that has dialled it."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def send(self, frame: bytes) -> None:
        protocol = self._connection.protocol
        if protocol.state is State.OPEN:
            protocol.send_text(frame)
            self._connection.send_data()

    def hang_up(self, reason: str) -> None:  # noqa: ARG002 - see `Line`
        protocol = self._connection.protocol
        if protocol.state is State.OPEN:
            protocol.send_close(NORMAL)
            self._connection.send_data()
        self._connection.transport.close()


class _Connect(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow none: our headers are for the exchange alone."""
        return exc


async def dial(
    target: str,
    headers: Mapping[str, str],
    listener: LineListener,
    *,
    tls: ssl.SSLContext,
    proxy: Proxy | None,
    deflate: bool,
) -> Line:
    """Open a line; with `deflate`, permessage-deflate is asked for. Raises what went wrong, and of FAILURES too."""
    is_secure = target.startswith("wss:")
    secure: dict[str, Any] = {"ssl": tls} if is_secure else {}
    if proxy and proxy.scheme == "https":
        secure["proxy_ssl"] = tls

    def connection(protocol: ClientProtocol, **_: object) -> ClientConnection:
        return _Connection(listener, protocol, is_secure=is_secure)

    opened = await _Connect(
        target,
        additional_headers=headers,
        user_agent_header=None,
        compression="deflate" if deflate else None,
        proxy=proxy.url(proxy.scheme) if proxy else None,
        open_timeout=DIAL_TIMEOUT_S,
        max_size=LARGEST_FRAME_BYTES,
        logger=log,
        create_connection=cast("Any", connection),  # a function will do
        **secure,
    )
    return _Line(cast("_Connection", opened))


def told(error: Exception) -> NotOpened | None:
    """How the exchange refused the handshake, where that is what went wrong."""
    if not isinstance(error, InvalidStatus):
        return None
    response = error.response
    headers = response.headers
    return refusal(response.status_code, response.reason_phrase, headers.get("Retry-After"), headers.get("Location"))
