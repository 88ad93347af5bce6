"""The network as a value: how a WebSocket is dialled, how a REST answer is fetched, and what time it is.

Only this module and those of the transports know which libraries are in use. A replay, a capture or a test passes
another `Network`.
"""

import asyncio
import logging
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

import aiohttp
from msgspec import Struct
from python_socks import ProxyError

from aggregator.errors import SessionError
from aggregator.exchange import Address, Compression, Request
from aggregator.ingest import picows_line, websockets_line
from aggregator.ingest.lines import DIAL_TIMEOUT_S, USER_AGENT, Line, LineListener, read_clocks, retry_after
from aggregator.ingest.proxies import DialOptions, Proxy, Transport, proxy_of_environment
from aggregator.ingest.socks import SocksConnector
from aggregator.ingest.weight import Weight
from aggregator.records import MS_NS
from aggregator.session.moment import Now

UNPACKED_BYTES = 2**20  # so much of a compressed body is unpacked before others have their turn
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
FETCH_TIMEOUT_S = 20.0
REST_CONNECTIONS = 4  # open at once, of an exchange that limits connections
MOST_REST_CONNECTIONS = 32  # the same for any other exchange
MOST_REDIRECTS = 3

NOT_LINES = (OSError, TimeoutError, ValueError, *picows_line.FAILURES, *websockets_line.FAILURES)
NO_ANSWER = (OSError, TimeoutError, ValueError, aiohttp.ClientError, ProxyError)

log = logging.getLogger("aggregator.network")


class Answer(Struct, frozen=True):
    """A REST answer."""

    status: int
    body: bytes
    headers: Mapping[str, str]


Dial = Callable[[Address, LineListener], Awaitable[Line]]
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


class Internet:
    """The real network; `endpoints` overrides prefixes of addresses."""

    def __init__(
        self,
        endpoints: Mapping[str, str] | None = None,
        route: DialOptions | None = None,
        rest_connections: int = MOST_REST_CONNECTIONS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._rest_connections = rest_connections
        self._endpoints = dict(endpoints or {})
        self._route = route or DialOptions()
        self._http: dict[Proxy | None, aiohttp.ClientSession] = {}
        self._tls = tls or ssl.create_default_context()
        self._said: set[str] = set()

    def network(self) -> Network:
        """This, as a value."""
        return Network(self.dial, self.fetch, read_clocks)

    async def dial(self, address: Address, listener: LineListener) -> Line:
        """Open a WebSocket. Raises SessionError with the reason."""
        target = redirect(address.url, self._endpoints)
        proxy = self._proxy(target)
        deflate = address.compression == "required" or (self._route.compression and address.compression == "offered")
        transport = choose_transport(self._route.transport, proxy, address.compression, deflate=deflate)
        headers = {"User-Agent": USER_AGENT, **address.headers}
        self._say(listener.name.partition("/")[0], transport, proxy)
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                if transport == "picows":
                    return await picows_line.dial(target, headers, listener, tls=self._tls, proxy=proxy)
                return await websockets_line.dial(
                    target, headers, listener, tls=self._tls, proxy=proxy, deflate=deflate
                )
        except NOT_LINES as error:
            refused = picows_line.told(error) or websockets_line.told(error)
            failure = _failure(
                f"cannot connect to {target}", refused.said if refused else reason(error, DIAL_TIMEOUT_S), proxy
            )
            if refused is not None:
                failure.is_busy = refused.is_busy
                failure.wait = retry_after(refused.retry_after or "", read_clocks().wall) or 0.0
            raise failure from None

    async def fetch(self, request: Request) -> Answer:
        """Ask for a REST answer. Raises SessionError where none comes."""
        if request.sign is not None:  # it has passed no keyring
            raise SessionError(f"{request.url}: not asked for: it takes keys, and there are none")
        target = redirect(_as_sent(request, time.time_ns()), self._endpoints)
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self._ask(request, target)
            location = answer.headers.get("location")
            if answer.status not in {301, 302, 303, 307, 308} or location is None:
                return answer
            target = _followed(target, location, request)
        raise SessionError(f"no answer from {request.url}: more than {MOST_REDIRECTS} redirects")

    async def _ask(self, request: Request, target: str) -> Answer:
        proxy = self._proxy(target)
        http = self._session(proxy)
        through, entry = _http_proxy(proxy)
        try:
            async with http.request(
                request.method,
                target,
                data=request.body,
                proxy=through,
                proxy_headers=entry,
                headers=_headers(request) | ((entry or {}) if target.startswith("http:") else {}),
                allow_redirects=False,
                ssl=self._tls,
            ) as response:
                body, excess = await _body_of(response)
        except NO_ANSWER as error:
            raise _failure(f"no answer from {target}", reason(error, FETCH_TIMEOUT_S), proxy) from None
        if excess:
            raise SessionError(f"the answer from {target} is {excess}")
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, body, headers)

    def _session(self, proxy: Proxy | None) -> aiohttp.ClientSession:
        """Give the HTTP session of a proxy, which is kept open between requests."""
        if proxy not in self._http:
            limit = self._rest_connections
            connector = aiohttp.TCPConnector(limit=limit)
            if proxy is not None and proxy.scheme.startswith("socks"):
                connector = SocksConnector(proxy, limit)
            self._http[proxy] = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S),
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip, deflate"},
                connector=connector,
                auto_decompress=False,  # it would unpack a bomb in one piece: see `unpacker`
            )
        return self._http[proxy]

    def _proxy(self, target: str) -> Proxy | None:
        if self._route.proxy != "environment":
            return self._route.proxy
        try:
            return proxy_of_environment(target)
        except ValueError as error:
            raise SessionError(f"cannot connect to {target}: {error}") from None

    def _say(self, name: str, transport: str, proxy: Proxy | None) -> None:
        """Say once what serves an exchange, where that is not the usual."""
        said = f"{name}: served by {transport}" + (f" through {proxy}" if proxy else "")
        if (transport, proxy) != ("picows", None) and said not in self._said:
            self._said.add(said)
            log.info("%s", said)

    async def close(self) -> None:
        """Close what is kept open between requests."""
        for http in self._http.values():
            await http.close()


def choose_transport(
    wanted: Transport, proxy: Proxy | None, compression: Compression, *, deflate: bool
) -> Literal["picows", "websockets"]:
    """The library that opens a line: picows wherever it can. Raises SessionError if the wanted one cannot."""
    beyond = (
        "permessage-deflate, which this exchange requires"
        if compression == "required"
        else "permessage-deflate"
        if deflate
        else f'{proxy}: it leaves names to the proxy, which is "socks5h"'
        if proxy is not None and proxy.scheme == "socks5"
        else None
    )
    if wanted == "picows" and beyond is not None:
        raise SessionError(f'picows cannot do {beyond}; write transport = "auto" or "websockets"')
    return "websockets" if wanted == "websockets" or beyond is not None else "picows"


async def _body_of(response: aiohttp.ClientResponse) -> tuple[bytes, str | None]:
    """An answer's body, unpacked, and in which way it is more than we take; then nothing more of it is read."""
    unpack = unpacker(response.headers.get("Content-Encoding", ""))
    body, weight = BytesIO(), Weight()  # the first gives all that it holds without a copy
    async for packed in response.content.iter_any():
        for chunk in unpack(packed):
            body.write(chunk)
            weight.add(chunk)
            if weight.excess:
                return b"", weight.excess
            if len(chunk) >= UNPACKED_BYTES:
                await asyncio.sleep(0)
    return body.getvalue(), None


def unpacker(encoding: str) -> Callable[[bytes], Iterator[bytes]]:
    """A function that inflates a body in pieces of at most UNPACKED bytes. It raises ValueError."""
    encoding = encoding.strip().lower()
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        return lambda packed: iter((packed,))
    stream: Any = None
    has_ended = False

    def unpack(packed: bytes) -> Iterator[bytes]:
        nonlocal stream, has_ended
        piece = b""
        while packed or len(piece) == UNPACKED_BYTES:
            if stream is None:  # some send `deflate` without the frame that zlib puts around it
                is_bare = encoding == "deflate" and packed[0] & 0x0F != zlib.DEFLATED
                stream = zlib.decompressobj(-zlib.MAX_WBITS if is_bare else GZIP_OR_ZLIB)
            try:
                piece = stream.decompress(packed, UNPACKED_BYTES)
            except zlib.error as error:
                if has_ended:
                    return  # bytes behind the end of the body mean nothing
                raise ValueError(f"its body cannot be unpacked: {error}") from None
            yield piece
            packed = stream.unconsumed_tail
            if stream.eof:  # gzip may have several members
                packed, piece, stream, has_ended = stream.unused_data, b"", None, True

    return unpack


def reason(error: Exception, patience: float) -> str:
    """An error of a library in words."""
    if isinstance(error, TimeoutError):
        return f"timed out after {patience:.0f} s"
    if isinstance(error, aiohttp.ClientConnectorError):  # its own words would show settings of the library
        error = getattr(error, "os_error", error)
    said = str(error) or type(error).__name__
    cause = error.__cause__
    return f"{said}: {cause}" if cause is not None and str(cause) and str(cause) not in said else said


def _failure(what: str, said: str, proxy: Proxy | None) -> SessionError:
    """An error without the password of a proxy; libraries' own are not kept as its cause, for they may hold it."""
    if proxy is None:
        return SessionError(f"{what}: {said}")
    return SessionError(f"{what} through {proxy}: {proxy.hide(said)}")


def _followed(target: str, location: str, request: Request) -> str:
    """Where a redirect leads, if that is to the same host in the same way. Raises SessionError where it is not."""
    there = urljoin(target, location)
    here, new = urlsplit(target), urlsplit(there)
    if (here.scheme, here.netloc) != (new.scheme, new.netloc) or request.method != "GET":
        raise SessionError(
            f"no answer from {target}: it redirects to {new.scheme}://{new.netloc}, which is not followed"
        )
    return there


def _http_proxy(proxy: Proxy | None) -> tuple[str | None, dict[str, str] | None]:
    """A proxy as aiohttp itself takes it, with the headers that let us in; SOCKS is its connector's."""
    if proxy is None or proxy.scheme.startswith("socks"):
        return None, None
    url = str(proxy).replace("***@", "")
    if proxy.user is None:
        return url, None
    return url, {"Proxy-Authorization": aiohttp.encode_basic_auth(proxy.user, proxy.password or "", "utf-8")}


def _as_sent(request: Request, now: int) -> str:
    """The address to ask: with a time in it, or another one each time, where the exchange needs that."""
    url = request.url
    if request.timed is not None:
        url = f"{url}{'&' if '?' in url else '?'}{request.timed(now)}"
    if request.fresh is not None:
        url = f"{url}{'&' if '?' in url else '?'}{request.fresh}={now // MS_NS}"
    return url


def _headers(request: Request) -> dict[str, str]:
    return ({"Content-Type": "application/json"} if request.body else {}) | dict(request.headers)
