"""Lines by picows: the fastest, and without permessage-deflate."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSParsedURL,
    WSProtocolError,
    WSTransport,
    ws_connect,
)
from python_socks import ProxyError
from python_socks.async_.asyncio import Proxy as SocksProxy

from aggregator.ingest.host_names import open_socket
from aggregator.ingest.lines import (
    DIAL_TIMEOUT_S,
    IDLE_PING_S,
    LARGEST_FRAME_BYTES,
    LOST,
    MOST_AT_ONCE,
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

FAILURES = (WSError, ProxyError)  # this transport can also raise these
TEXT, BINARY = WSMsgType.TEXT, WSMsgType.BINARY  # hot: to find them in the enumeration takes 0.07 µs a frame
FRAME_BYTES = PIECE_BYTES // MOST_FRAMES  # a frame counts for so much more: a piece is of MOST_FRAMES at most


class _Socket(WSListener):
    """picows' callbacks as a `Line` and its `Listener`: what one read brings is handed on together, in PIECEs.

    Of a read with very many frames the rest is handed on in later turns of the loop, in order; until then nothing more
    is read. It answers pings, and knows its pongs, itself: either may be the last frame of a read.
    """

    def __init__(self, listener: LineListener, *, is_secure: bool) -> None:
        self._listener = listener
        self._is_secure = is_secure
        self._frames: list[bytes] = []  # the frames of this read, and their bytes
        self._held = 0
        self._fragments: Fragments | None = None
        self._transport: WSTransport | None = None
        self._read_at: Now | None = None  # the moment of the read whose frames come one by one
        self._large = Large()
        self._over: str | None = None  # why we hung up ourselves
        self._given = 0  # frames of this read that were handed on at once
        self._later: deque[tuple[list[bytes], Now]] = deque()  # those that are handed on in later turns
        self._said: str | None = None  # how the line ended, to be told after them
        self._ending: asyncio.Future[None] | None = None

    @property
    def was_open(self) -> bool:
        """Tell whether the handshake has ever been answered."""
        return self._transport is not None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        if not self._is_secure:
            bound(transport.underlying_transport.get_extra_info("socket"))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._read_at is None:
            self._read_at = read_clocks()
        kind = frame.msg_type
        if kind is TEXT or kind is BINARY:
            payload = frame.get_payload_as_bytes()
            if frame.fin:
                self._frames.append(payload)
                self._held += len(payload) + FRAME_BYTES
                if self._held >= PIECE_BYTES:
                    self._hand_on()
            else:
                self._fragments = Fragments(payload)
        elif kind is WSMsgType.CONTINUATION:
            self._continue(transport, frame)
        elif kind is WSMsgType.PING:
            self._pong(transport, frame)
        elif kind is WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        if frame.last_in_buffer:
            self._end_read()

    def is_user_specific_pong(self, frame: WSFrame) -> bool:
        """Tell picows, which waits for a pong, whether this frame is one; `on_ws_frame` does not see that frame."""
        is_pong = frame.msg_type is WSMsgType.PONG
        if is_pong and frame.last_in_buffer:
            self._end_read()
        return is_pong

    def _continue(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._fragments is None:
            return  # picows itself refuses a continuation of nothing
        if not self._fragments.add(frame.get_payload_as_bytes()):
            self._fragments = None
            self._give_up(transport, TOO_LARGE)
        elif frame.fin:
            self._frames.append(self._fragments.whole())
            self._held += len(self._frames[-1]) + FRAME_BYTES
            self._fragments = None
            if self._held >= PIECE_BYTES:
                self._hand_on()

    def _pong(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._over is not None:
            return
        if transport.underlying_transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            self._give_up(transport, UNREAD)
        else:
            transport.send_pong(frame.get_payload_as_bytes())

    def _give_up(self, transport: WSTransport, why: str) -> None:
        """Hang up for a reason of ours; the frames that came before it are handed on, and none behind it."""
        self._hand_on()
        self._over = why
        transport.disconnect(graceful=False)

    def _hand_on(self) -> None:
        frames, held = self._frames, self._held
        self._frames, self._held = [], 0
        if not frames or self._read_at is None or self._over is not None:
            return
        if held > LARGE_BYTES and len(frames[-1]) > LARGE_BYTES:  # only the last can be large: it is more than a piece
            self._over = self._large.excess(frames[-1], self._read_at)
            if self._over is not None:
                if self._transport is not None:
                    self._transport.disconnect(graceful=False)
                del frames[-1]
                if not frames:
                    return
        self._given += len(frames)
        if self._given <= MOST_AT_ONCE and not self._later:
            self._listener.frames(frames, self._read_at)
            return
        if not self._later:
            self._pause()
        self._later.append((frames, self._read_at))

    def _pause(self) -> None:
        """Read nothing more until what is here is handed on."""
        if self._transport is not None and not self._transport.underlying_transport.is_closing():
            self._transport.underlying_transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._catch_up)

    def _catch_up(self) -> None:
        """Hand on a part of what is left, and come back in the next turn of the loop."""
        given = 0
        while self._later and given < MOST_AT_ONCE:
            frames, read_at = self._later.popleft()
            given += len(frames)
            self._listener.frames(frames, read_at)
        if self._later:
            asyncio.get_running_loop().call_soon(self._catch_up)
        elif self._said is not None:
            self._listener.gone(self._said)
        elif self._transport is not None and not self._transport.underlying_transport.is_closing():
            self._transport.underlying_transport.resume_reading()

    def _end_read(self) -> None:
        self._hand_on()
        self._read_at = None
        self._given = 0

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._end_read()  # frames that came before the one that breaks the protocol
        self._fragments = None
        self._ending = asyncio.ensure_future(transport.wait_disconnected())  # nothing else tells of such a frame
        self._ending.add_done_callback(self._end)

    def _end(self, ending: asyncio.Future[None]) -> None:
        error = None if ending.cancelled() else ending.exception()
        shaking = self._transport.close_handshake if self._transport is not None else None
        received = shaking.recv if shaking is not None else None
        said = closed(received.code.value, received.reason) if received else _broken(error)
        self._said = self._over or said
        if not self._later:
            self._listener.gone(self._said)

    def send(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.send(WSMsgType.TEXT, frame)

    def hang_up(self, reason: str) -> None:  # noqa: ARG002 - see `Line`
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()


def _broken(error: BaseException | None) -> str:
    """How a line ended without a close."""
    if not isinstance(error, WSProtocolError):
        return LOST
    code, *words = error.args
    return TOO_LARGE if code is WSCloseCode.MESSAGE_TOO_BIG else f"hung up: {' '.join(map(str, words)) or code}"


async def dial(
    target: str, headers: Mapping[str, str], listener: LineListener, *, tls: ssl.SSLContext, proxy: Proxy | None
) -> Line:
    """Open a line; `proxy` resolves names itself. Raises what went wrong, and of FAILURES too."""
    is_secure = target.startswith("wss:")
    line = _Socket(listener, is_secure=is_secure)
    socks = proxy if proxy and proxy.scheme.startswith("socks") else None
    opened: list[socket.socket] = []

    async def connect(url: WSParsedURL) -> socket.socket:
        if socks is not None:
            opened.append(await SocksProxy.from_url(socks.url("socks5")).connect(url.host, url.port))
        else:
            opened.append(await open_socket(url.host, url.port))
        return opened[-1]

    try:
        await ws_connect(
            lambda: line,
            target,
            ssl_context=tls if is_secure else None,
            websocket_handshake_timeout=DIAL_TIMEOUT_S,
            max_frame_size=LARGEST_FRAME_BYTES,
            enable_auto_pong=False,
            enable_auto_ping=True,
            auto_ping_idle_timeout=IDLE_PING_S,
            auto_ping_reply_timeout=IDLE_PING_S,
            extra_headers=headers,
            max_redirects=0,
            proxy=proxy.url(proxy.scheme) if proxy and not socks else None,
            proxy_ssl_context=tls if proxy and proxy.scheme == "https" else None,
            socket_factory=connect,
        )
    except BaseException:  # picows goes on with a handshake that nobody waits for any more: this ends it
        for each in opened:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        raise
    if not line.was_open:  # for picows a connection that ends before the answer is no error
        raise ConnectionResetError("the connection was closed before the handshake was answered")
    return line


def told(error: Exception) -> NotOpened | None:
    """How the exchange refused the handshake, where that is what went wrong."""
    response = error.response if isinstance(error, WSHandshakeError) else None
    if response is None or response.status == 101:
        return None
    headers = response.headers
    return refusal(response.status.value, response.status.phrase, headers.get("Retry-After"), headers.get("Location"))
