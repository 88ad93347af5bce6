"""The network as a value: how a WebSocket is dialled, how a REST answer is fetched, and what time it is.

Only this module knows which libraries are in use. A replay, a capture or a test passes another `Network`.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp
from msgspec import Struct
from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from aggregator.errors import SessionError
from aggregator.exchange import Address, Request
from aggregator.topics import Now

LARGEST_FRAME = 32 * 2**20  # bytes; the deepest books are far below
LARGEST_BODY = 64 * 2**20
DIAL_TIMEOUT = 15.0  # seconds, for a connection and its handshake
FETCH_TIMEOUT = 20.0
PIECE = 2**14  # bytes of one read that are handed on together: more would not stay in the caches
PLAIN_BUFFER = 2**17  # bytes that the system holds of a line without TLS, see `_bound`
IDLE_PING = 20.0  # seconds of silence before a protocol ping; no pong in as many again: the line is dead
REST_CONNECTIONS = 4  # open at once, of an exchange that limits connections
MOST_REST_CONNECTIONS = 32  # of any other
USER_AGENT = "market-aggregator"


class Answer(Struct, frozen=True):
    """A REST answer."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Listener(Protocol):
    """Who hears what comes over a line.

    name: what the line is for, `exchange/stream.shard#attempt`
    """

    @property
    def name(self) -> str: ...

    def frames(self, payloads: list[bytes], now: Now) -> None:
        """Frames have come; `now` is when the socket was read."""

    def gone(self, reason: str) -> None:
        """The line is dead."""


class Line(Protocol):
    """An open WebSocket."""

    def send(self, frame: bytes) -> None:
        """Send a text frame; never waits."""

    def hang_up(self, reason: str) -> None:
        """Close it; `Listener.gone` follows, once. The reason is for who listens in: the exchange is told none."""


Dial = Callable[[Address, Listener], Awaitable[Line]]
Fetch = Callable[[Request], Awaitable[Answer]]


class Network(Struct, frozen=True):
    """All that the outside world is to the daemon.

    dial: opens a WebSocket; raises SessionError with the reason where it cannot
    fetch: asks for a REST answer, whatever its status; raises SessionError where none comes
    now: both clocks, in nanoseconds
    """

    dial: Dial
    fetch: Fetch
    now: Callable[[], Now]


def read_clocks() -> Now:
    """Wall and monotonic clock, taken together."""
    return Now(time.time_ns(), time.monotonic_ns())


def moved(endpoints: Iterable[str], urls: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Endpoints that replace nothing because an exchange has left their port, each with an address of it today."""
    for prefix in endpoints:
        name = urlsplit(prefix).hostname
        today = next((url for url in urls if name is not None and urlsplit(url).hostname == name), None)
        if today is not None and all(urlsplit(url).netloc != urlsplit(prefix).netloc for url in urls):
            yield prefix, today


def redirect(url: str, endpoints: Mapping[str, str]) -> str:
    """The address to use instead, where the configuration overrides the longest matching prefix of it."""
    prefix = max((prefix for prefix in endpoints if url.startswith(prefix)), key=len, default="")
    return endpoints[prefix] + url[len(prefix) :] if prefix else url


class _Socket(WSListener):
    """picows' callbacks as a `Line` and its `Listener`: what one read brings is handed on together, in PIECEs.

    It answers pings, and knows its pongs, itself: either may be the last frame of a read.
    """

    def __init__(self, listener: Listener, *, is_secure: bool) -> None:
        self._listener = listener
        self._is_secure = is_secure
        self._frames: list[bytes] = []  # of this read, and their bytes
        self._held = 0
        self._parts: list[bytes] = []  # of a message that is fragmented
        self._transport: WSTransport | None = None
        self._read_at: Now | None = None  # the moment of the read whose frames come one by one

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        if not self._is_secure:
            _bound(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._read_at is None:
            self._read_at = read_clocks()
        kind = frame.msg_type
        if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
            if frame.fin:
                self._hold(frame.get_payload_as_bytes())
            else:
                self._parts = [frame.get_payload_as_bytes()]
        elif kind is WSMsgType.CONTINUATION:
            self._continue(transport, frame)
        elif kind is WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind is WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        if frame.last_in_buffer:
            self._end_read()

    def is_user_specific_pong(self, frame: WSFrame) -> bool:
        """As picows asks of each frame while it waits for a pong; `on_ws_frame` does not see the one that is it."""
        is_pong = frame.msg_type is WSMsgType.PONG
        if is_pong and frame.last_in_buffer:
            self._end_read()
        return is_pong

    def _continue(self, transport: WSTransport, frame: WSFrame) -> None:
        self._parts.append(frame.get_payload_as_bytes())
        if sum(map(len, self._parts)) > LARGEST_FRAME:
            transport.disconnect(graceful=False)
        elif frame.fin:
            self._hold(b"".join(self._parts))
            self._parts = []

    def _hold(self, payload: bytes) -> None:
        self._frames.append(payload)
        self._held += len(payload)
        if self._held >= PIECE:
            self._hand_on()

    def _hand_on(self) -> None:
        frames, self._frames, self._held = self._frames, [], 0
        if frames and self._read_at is not None:
            self._listener.frames(frames, self._read_at)

    def _end_read(self) -> None:
        self._hand_on()
        self._read_at = None

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._end_read()  # what came before a frame that breaks the protocol
        received = transport.close_handshake.recv if transport.close_handshake else None
        reason = (received.reason or "") if received else ""
        said = f"closed by the exchange: {received.code.value} {reason}".strip() if received else "line lost"
        self._listener.gone(said)

    def send(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.send(WSMsgType.TEXT, frame)

    def hang_up(self, reason: str) -> None:  # noqa: ARG002 - see `Line`
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()


class Internet:
    """The real network; `endpoints` overrides prefixes of addresses."""

    def __init__(
        self,
        endpoints: Mapping[str, str] | None = None,
        proxy: str | None = None,
        rest_connections: int = MOST_REST_CONNECTIONS,
    ) -> None:
        """Open nothing yet."""
        self._rest_connections = rest_connections
        self._endpoints = dict(endpoints or {})
        self._proxy = proxy
        self._http: aiohttp.ClientSession | None = None
        self._tls = ssl.create_default_context()

    def network(self) -> Network:
        """This, as a value."""
        return Network(self.dial, self.fetch, read_clocks)

    async def dial(self, address: Address, listener: Listener) -> Line:
        """Open a WebSocket. Raises SessionError with the reason."""
        target = redirect(address.url, self._endpoints)
        is_secure = target.startswith("wss:")
        line = _Socket(listener, is_secure=is_secure)
        try:
            async with asyncio.timeout(DIAL_TIMEOUT):
                await ws_connect(
                    lambda: line,
                    target,
                    ssl_context=self._tls if is_secure else None,
                    websocket_handshake_timeout=DIAL_TIMEOUT,
                    max_frame_size=LARGEST_FRAME,
                    enable_auto_pong=False,
                    enable_auto_ping=True,
                    auto_ping_idle_timeout=IDLE_PING,
                    auto_ping_reply_timeout=IDLE_PING,
                    extra_headers={"User-Agent": USER_AGENT, **address.headers},
                    proxy=self._proxy,
                )
        except (OSError, WSError, TimeoutError, ValueError) as error:
            raise SessionError(f"cannot connect to {target}: {error or type(error).__name__}") from error
        return line

    async def fetch(self, request: Request) -> Answer:
        """Ask for a REST answer. Raises SessionError where none comes."""
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT)
            self._http = aiohttp.ClientSession(
                timeout=timeout,
                headers={"User-Agent": USER_AGENT},
                connector=aiohttp.TCPConnector(limit=self._rest_connections),
            )
        target = redirect(_past_caches(request), self._endpoints)
        try:
            async with self._http.request(
                request.method, target, data=request.body, proxy=self._proxy, headers=_headers(request)
            ) as response:
                body = await response.content.read(LARGEST_BODY + 1)
                chunks = [body]
                while not response.content.at_eof() and sum(map(len, chunks)) <= LARGEST_BODY:
                    chunks.append(await response.content.read(LARGEST_BODY))
        except (OSError, aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise SessionError(f"no answer from {target}: {error or type(error).__name__}") from error
        whole = b"".join(chunks)
        if len(whole) > LARGEST_BODY:
            raise SessionError(f"the answer from {target} is larger than {LARGEST_BODY} bytes")
        return Answer(response.status, whole, {name.lower(): value for name, value in response.headers.items()})

    async def close(self) -> None:
        """Close what is kept open between requests."""
        if self._http is not None:
            await self._http.close()


def _bound(transport: WSTransport) -> None:
    """Let no read of a line without TLS bring more than can be worked on at once: the rest waits in the sender.

    Such a line leads to a program on this machine or nearby, which may send faster than we read. Its buffers then grow
    to megabytes, picows takes all of them in one read, and until that is worked through nothing else has its turn. What
    comes by TLS comes in pieces anyway, from too far away for small buffers.
    """
    transport.underlying_transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_RCVBUF, PLAIN_BUFFER
    )


def _past_caches(request: Request) -> str:
    """The address to ask, another one each time where a cache would answer else; captures know the plain one."""
    if request.fresh is None:
        return request.url
    return f"{request.url}{'&' if '?' in request.url else '?'}{request.fresh}={time.time_ns() // 1_000_000}"


def _headers(request: Request) -> dict[str, str]:
    return ({"Content-Type": "application/json"} if request.body else {}) | dict(request.headers)
