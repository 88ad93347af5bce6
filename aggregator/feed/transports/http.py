"""A port of this machine at which HTTP is spoken.

`/feed` is a WebSocket with the protocol of every transport, `/events` the same as server-sent events, and `/topics`,
`/instruments` and `/book` answer single questions. `/livez` and `/readyz` tell whoever asks how the daemon is,
`/status`, `/metrics` and `/coverage` whoever may know all of it, and a browser logs in at `/login`. The web page is at
`/`.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import HttpVersion11, WSCloseCode, WSMsgType, web
from aiohttp.http_exceptions import HttpProcessingError

from aggregator.bus.history import Start
from aggregator.bus.insight import CoverageQuery, Insight, NoCoverage
from aggregator.bus.selection import BadPattern, Selection
from aggregator.derived.channels import needs
from aggregator.errors import UNREADABLE
from aggregator.feed.access import EVERYTHING, Access
from aggregator.feed.address import LOCALHOST, TcpAddress
from aggregator.feed.formats import PLAIN, Options, encode_message
from aggregator.feed.hub import HOW_TO_SHOW, WRONG_TOKEN, beginning_of, meant, patterns_of
from aggregator.feed.peer import Host
from aggregator.feed.protocol import (
    LONGEST_LINE_BYTES,
    BadRequest,
    Error,
    ListTopics,
    Subscribe,
    TakeSnapshot,
    read_line,
)
from aggregator.feed.settings import FeedSettings
from aggregator.feed.subscriber import Subscriber
from aggregator.feed.transports import page
from aggregator.feed.transports.farewell import HANDSHAKE_S, Farewells, last_words
from aggregator.feed.transports.http_peer import HttpPeer, Shape, chunk, events, frame
from aggregator.feed.transports.logins import LONGEST_BODY_BYTES, Login, Logins, token_in
from aggregator.feed.transports.tasks import lasting
from aggregator.feed.transports.tcp import Ports, bound, listen, set_up

LONGEST_MESSAGE_BYTES = 4 * LONGEST_LINE_BYTES  # a WebSocket's client that sends a longer one is cut off
LINES_AT_ONCE = 8  # so many of one peer are heard before others have their turn
UNASKED = 64  # connections that may be there beyond `max_clients`: they ask, or have not asked yet
_decode_start = msgspec.json.Decoder(Start).decode
TIME_DIGITS = 20  # a time in nanoseconds has fewer
MOST_DIGITS = 10  # a number in an address has fewer
HEAD_S = 3.0  # seconds that a client has to ask something
KEEP_S = 15.0  # seconds that a connection stays without another question
SWEEP_S = 1.0  # between two looks at connections
SHUTDOWN_S = 1.0  # answers to single questions have so long at the end
HOW_TO_COME_IN = "a token is needed: send a header, Authorization: Bearer TOKEN, or log in at /login"
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "aggregator"}
SAME_ORIGIN = {"Cross-Origin-Resource-Policy": "same-origin"}  # no page of others has an answer as an image or a script

LIVE, READY = ("/livez", "/live"), ("/readyz", "/ready")
OPEN = {*LIVE, *READY, "/login", "/logout"}  # no token is needed there

ACCESS: web.RequestKey[Any] = web.RequestKey("access", object)  # where a request keeps what its token allows
LOGIN: web.RequestKey[Login] = web.RequestKey("login", Login)  # and the login by which it has that, if any

log = logging.getLogger("aggregator.feed")
requests_log = logging.getLogger("aggregator.feed.http")  # mistakes of ours in answering

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RequestRefused(Exception):
    """A request is not answered; `status` and the words say why."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


def _is_ours(record: logging.LogRecord) -> bool:
    """Tell whether a line of the log is about more than bytes that are no HTTP: with those anybody could fill it."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


requests_log.addFilter(_is_ours)


class HttpConnection:
    """One connection over HTTP: where it came from, since when it is there, and whether it has asked anything.

    sock: its socket, where that may be written to: there is no TLS
    since: null while TLS begins
    was_told: whether it was told that it is hung up on
    """

    __slots__ = ("has_asked", "host", "since", "sock", "was_told")

    def __init__(self, host: str, sock: socket.socket | None) -> None:
        self.host = host
        self.sock = sock
        self.since: float | None = None
        self.has_asked = False
        self.was_told = False


class HttpTransport:
    """Listens at a port."""

    def __init__(self, address: TcpAddress, settings: FeedSettings, ports: Ports) -> None:
        """Listen. Raises ConfigError when that cannot be."""
        self._socket = listen(address)
        self._socket.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        self._ports = ports
        self.address = bound(self._socket, address)
        self._settings = settings
        self._host: Host
        self._runner: web.AppRunner | None = None
        self._server: web.Server
        self._tasks: list[asyncio.Task[None]] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._here: dict[web.RequestHandler, HttpConnection] = {}
        self._farewells = Farewells(partial(_unasked, HTTPStatus.SERVICE_UNAVAILABLE))
        self._places: dict[str, Handler] = {
            "/feed": self._feed,
            "/events": self._events,
            "/records": self._records,
            "/topics": self._topics,
            "/instruments": self._instruments,
            "/book": self._book,
            **dict.fromkeys(LIVE, self._live),
            **dict.fromkeys(READY, self._ready),
            "/status": self._status,
            "/metrics": self._metrics,
            "/coverage": self._coverage,
        }
        self._files: dict[str, Handler] = dict.fromkeys(page.page_files(), self._file)
        self._posts: dict[str, Handler] = {"/login": self._login, "/logout": self._logout}
        self._logins = Logins(self.address.port, is_secure=ports.certificates is not None)
        self._hosts = {LOCALHOST, address.host.lower(), *map(str.lower, settings.hosts)}

    async def start(self, host: Host) -> None:
        """Serve everyone who connects from now on."""
        self._host = host
        app = web.Application(middlewares=[self._guard], client_max_size=LONGEST_BODY_BYTES)
        app.add_routes([web.get(path, handler) for path, handler in (self._places | self._files).items()])
        app.add_routes([web.post(path, handler) for path, handler in self._posts.items()])
        app.on_response_prepare.append(self._head)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=requests_log,
            shutdown_timeout=SHUTDOWN_S,
            handler_cancellation=True,
            keepalive_timeout=KEEP_S,
        )
        await self._runner.setup()
        if self._runner.server is None:
            raise RuntimeError("the library has made no server")
        self._server = self._runner.server
        self._tasks = lasting(self._accept(), self._sweep())

    async def _accept(self) -> None:
        """Take in whoever connects, or hang up where there are too many."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self._socket)
            except OSError as error:
                log.error("feed: cannot take a client: %s", error)  # noqa: TRY400 - it says all
                await asyncio.sleep(SWEEP_S)
                continue
            sock.setblocking(False)  # noqa: FBT003 - the standard library's own signature
            try:
                host = str(sock.getpeername()[0])
                set_up(sock)
            except OSError:  # it has left already
                sock.close()
                continue
            self._look()
            there = len(self._here)
            is_full = there >= self._settings.max_clients + UNASKED
            refusal = f"there are {there} connections already" if is_full else self._ports.crowd.refuse(host)
            if refusal:
                self._farewells.say(sock, refusal, self._ports.certificates)
                continue
            speaking = self._server()
            self._here[speaking] = HttpConnection(host, None if self._ports.certificates else sock)
            task = loop.create_task(self._connect(sock, speaking))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, sock: socket.socket, speaking: web.RequestHandler) -> None:
        """Begin TLS where there is a certificate, and then HTTP; the first question may come with the end of that."""
        loop = asyncio.get_running_loop()
        certificates, connection = self._ports.certificates, self._here[speaking]
        try:
            await loop.connect_accepted_socket(
                lambda: speaking,
                sock,
                ssl=certificates.context() if certificates else None,
                ssl_handshake_timeout=HANDSHAKE_S if certificates else None,
            )
        except (OSError, asyncio.CancelledError) as error:
            log.info("feed: http:%s did not begin: %s", connection.host, error)
            sock.close()
            self._leave(speaking)
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        connection.since = loop.time()

    def _leave(self, speaking: web.RequestHandler) -> None:
        self._ports.crowd.leave(self._here.pop(speaking).host)

    def _look(self) -> None:
        """Forget connections that are closed, and hang up on those that have asked nothing in all their time."""
        now = asyncio.get_running_loop().time()
        for speaking, connection in list(self._here.items()):
            if connection.since is None:
                continue
            if speaking.transport is None:
                self._leave(speaking)
            elif not connection.has_asked and now - connection.since > HEAD_S:
                self._hang_up(speaking.transport, connection)

    def _hang_up(self, transport: asyncio.Transport, connection: HttpConnection) -> None:
        """Hang up on a connection that asks nothing: the first time with a word, and then at once."""
        if connection.was_told:
            transport.abort()
            return
        connection.was_told = True
        words = last_words(f"nothing was asked within {HEAD_S:g} s")
        transport.write(_unasked(HTTPStatus.REQUEST_TIMEOUT, words))
        transport.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._look()
            self._logins.sweep(asyncio.get_running_loop().time())

    async def stop(self) -> None:
        """Let nobody in any more; those who are there stay."""
        tasks = [*self._tasks, *self._connecting]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._farewells.end()
        self._socket.close()

    async def close(self) -> None:
        """Close what is there still."""
        if self._runner is not None:
            await self._runner.cleanup()

    # --- who may ask

    async def _head(self, request: web.Request, response: web.StreamResponse) -> None:
        """Say of every answer how it is to be read, and let the pages of other sites read it where they may ask."""
        response.headers.update(HEADERS)
        if request.path in self._files:
            response.headers.update(page.HEADERS)
        origin = request.headers.get("Origin")
        if origin in self._settings.origins:
            response.headers.update({"Access-Control-Allow-Origin": origin, "Vary": "Origin"})
        else:
            response.headers.update(SAME_ORIGIN)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what a page of another site could have a browser do, and answer every error in words."""
        try:
            return await self._heed(request, handler)
        except RequestRefused as refused:
            return _error(refused.status, str(refused))
        except (ConnectionError, UnicodeError) as error:  # it is gone, or its head is no text that could be answered
            log.info("feed: http:%s: %s", request.remote, error)
            return _error(HTTPStatus.BAD_REQUEST, "the request cannot be read")
        except web.HTTPNotFound:
            return _error(
                HTTPStatus.NOT_FOUND, f"nothing is at {request.path!a:.80}; ask for {', '.join(self._places)}"
            )
        except web.HTTPMethodNotAllowed:
            only = "POST" if request.path in self._posts else "GET"
            answer = _error(HTTPStatus.METHOD_NOT_ALLOWED, f"only {only} is answered here")
            answer.headers["Allow"] = "GET, HEAD" if only == "GET" else only
            return answer
        except BadRequest as error:
            return _error(HTTPStatus.BAD_REQUEST, str(error))

    async def _heed(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._let_in(request)
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return _may_ask(request)
        if request.path not in OPEN and request.path not in self._files:
            request[ACCESS] = await self._access(request)
        return await handler(request)

    def _let_in(self, request: web.Request) -> None:
        """Refuse what nobody may ask, whatever is shown with it. Raises RequestRefused."""
        connection = self._here.get(request.protocol)
        if connection is not None:
            connection.has_asked = True
        refusal = self._refusal(request)
        if refusal:
            raise RequestRefused(HTTPStatus.FORBIDDEN, refusal)
        if "token" in request.query:
            text = f"a token never stands in an address, which logs keep: {HOW_TO_SHOW}"
            raise RequestRefused(HTTPStatus.BAD_REQUEST, text)

    async def _access(self, request: web.Request) -> Access | None:
        """Tell what a request may have; null for a WebSocket that is to show a token first. Raises RequestRefused."""
        access, shown = self._host.gate.unasked, _token_of(request)
        if access is None and shown is not None:
            access = await self._check(request, shown)
        elif access is None:
            login = self._logins.find(request)
            if login is not None:
                request[LOGIN], access = login, login.access
        if access is None and request.path != "/feed":
            raise RequestRefused(HTTPStatus.UNAUTHORIZED, HOW_TO_COME_IN)
        return access

    async def _check(self, request: web.Request, token: str) -> Access:
        """Tell what a token allows. Raises RequestRefused for a wrong one, after a pause."""
        access = self._host.gate.find(token)
        if access is None:
            await self._pause(request)
            raise RequestRefused(HTTPStatus.UNAUTHORIZED, WRONG_TOKEN)
        return access

    async def _pause(self, request: web.Request) -> None:
        """Let a wrong token wait for its answer."""
        origin = request.remote or ""
        pause = self._host.gate.pause(origin, asyncio.get_running_loop().time())
        log.warning("feed: http:%s showed a wrong token, and is answered in %.1f s", origin, pause)
        await asyncio.sleep(pause)

    def _refusal(self, request: web.Request) -> str:
        """Why a request is refused; empty where it is not.

        A name that is not ours is DNS rebinding: a page has its own name mean this machine. An `Origin` that is not
        ours is a page of another site.
        """
        if not self._is_ours(request.host, request.transport):
            return f"the feed is not {request.host!a:.80}; a name that means it stands in `hosts`"
        origin = request.headers.get("Origin")
        if origin is None or origin in self._settings.origins:
            return ""
        if origin in {f"http://{request.host}", f"https://{request.host}"}:
            return ""
        return f"pages of {origin!a:.80} may not read the feed; those that may stand in `origins`"

    def _is_ours(self, host: str, transport: asyncio.BaseTransport | None) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            return name in self._hosts or ip_address(name).is_loopback or name == _here(transport)
        except ValueError:
            return False

    async def _file(self, request: web.Request) -> web.StreamResponse:
        """Give a file of the web page."""
        _asked(request, set())
        return page.answer(request)

    # --- logins, and how the daemon is

    async def _login(self, request: web.Request) -> web.StreamResponse:
        """Give a browser that shows a token a cookie in its place."""
        if not self._host.gate.has_tokens:
            raise BadRequest("this feed has no tokens: nobody needs to log in")
        return self._logins.begin(await self._check(request, await token_in(request, HEAD_S)))

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        return self._logins.end(request)

    async def _live(self, _: web.Request) -> web.StreamResponse:
        """Say that the daemon lives; whoever asks learns nothing else."""
        return _answer(b'{"status":"ok"}\n')

    async def _ready(self, request: web.Request) -> web.StreamResponse:
        """Say whether data are fresh, and which are not to whoever may know that."""
        _asked(request, {"topic"})
        if not self._host.is_ready:
            return _answer(b'{"status":"the daemon ends"}\n', HTTPStatus.SERVICE_UNAVAILABLE)
        insight, access = self._host.insight, self._host.gate.unasked
        shown = _token_of(request)
        if access is None and shown is not None:
            access = await self._check(request, shown)
        if insight is None:
            return _answer(b'{"status":"ok"}\n')
        topics = request.query.getall("topic", [])
        if topics and access is None:
            raise RequestRefused(HTTPStatus.UNAUTHORIZED, HOW_TO_COME_IN)
        found = await insight.readiness(
            list(patterns_of(topics, None, access or EVERYTHING).values()) if topics else []
        )
        status = HTTPStatus.OK if found.is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        said: dict[str, object] = {"status": "ok" if found.is_ready else "not ready"}
        if access is not None and access.selection is None:
            said |= msgspec.to_builtins(found)
        return _answer(msgspec.json.encode(said) + b"\n", status)

    def _insight(self, request: web.Request) -> Insight:
        """Give whoever knows how the daemon fares. Raises RequestRefused where it is not for who asks."""
        access: Access = request[ACCESS]
        if access.selection is not None:
            text = f"the token {access.name} is for some topics alone, and this tells of all"
            raise RequestRefused(HTTPStatus.FORBIDDEN, text)
        if self._host.insight is None:
            raise RequestRefused(HTTPStatus.NOT_FOUND, "this is a replay, which has neither status nor metrics")
        return self._host.insight

    async def _status(self, request: web.Request) -> web.StreamResponse:
        """Give the whole status, as the control socket does."""
        asked, insight = _asked(request, {"topic", "troubled"}), self._insight(request)
        is_troubled = _flag("troubled", asked.get("troubled", "false"))
        pieces = insight.status(request.query.getall("topic", []), is_troubled=is_troubled)
        try:
            first = await anext(aiter(pieces))  # by then it is known whether it can be done
        except BadPattern as error:
            raise BadRequest(str(error)) from None
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(first)
        async for piece in pieces:
            await response.write(piece)
        await response.write(b"\n")
        return response

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        """Give the metrics in the text format of Prometheus."""
        _asked(request, set())
        body, media_type = await self._insight(request).metrics()
        return web.Response(body=body, headers={"Content-Type": media_type})

    async def _coverage(self, request: web.Request) -> web.StreamResponse:
        """Name the recordings that the daemon makes, or tell how complete one of them is."""
        asked, insight = _asked(request, {"recording", "first", "last", "exchange"}), self._insight(request)
        if not asked:
            return _answer(msgspec.json.encode({"recordings": insight.recordings()}) + b"\n")
        try:
            query = msgspec.convert(asked, CoverageQuery)
        except msgspec.ValidationError as error:
            how = "write /coverage?recording=NAME&first=2026-11-23&last=2026-11-29"
            raise BadRequest(f"{error}; {how}") from None
        try:
            return _answer(await insight.coverage(query))
        except NoCoverage as error:
            raise RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None

    def _welcome(self, peer: HttpPeer, request: web.Request) -> Subscriber:
        """Take in a stream, which ends with the login that opened it."""
        subscriber = self._host.welcome(peer, request[ACCESS])
        login = request.get(LOGIN)
        if login is not None:
            login.streams.add(subscriber)
        return subscriber

    def _bid_farewell(self, subscriber: Subscriber, request: web.Request) -> None:
        login = request.get(LOGIN)
        if login is not None:
            login.streams.discard(subscriber)
        subscriber.gone()

    # --- streams

    def _peer(self, request: web.Request, shape: Shape | None) -> HttpPeer:
        connection = self._here.get(request.protocol)
        return HttpPeer(request, self._ports.pace, connection.sock if connection is not None else None, shape)

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        """Hold the conversation of every transport over a WebSocket; each message holds whole lines."""
        socket = web.WebSocketResponse(
            max_msg_size=LONGEST_MESSAGE_BYTES, compress=self._settings.deflate, writer_limit=0
        )
        try:
            is_one = socket.can_prepare(request)
        except ValueError as error:  # the library does not expect every text in a key
            raise BadRequest(f"no WebSocket begins so: {error}") from None
        if not is_one:
            return _error(HTTPStatus.UPGRADE_REQUIRED, "a WebSocket is spoken here; /events can be read without one")
        await socket.prepare(request)
        peer = self._peer(request, None if socket.compress else frame)
        subscriber = self._welcome(peer, request)

        async def send(data: bytes) -> None:
            is_text = subscriber.ring.encoding == "json"
            await socket.send_frame(data, WSMsgType.TEXT if is_text else WSMsgType.BINARY)

        sending = asyncio.ensure_future(peer.run(subscriber, send))
        hearing = asyncio.ensure_future(_hear(socket, peer, subscriber))
        try:
            done, _ = await asyncio.wait((sending, hearing), return_when=asyncio.FIRST_COMPLETED)
            if hearing in done and not sending.done():
                subscriber.ended()
        finally:
            try:
                await _end(sending, hearing)
            finally:  # the connection may be lost meanwhile, which cancels this
                self._bid_farewell(subscriber, request)
        with suppress(ConnectionError):
            await socket.close(code=WSCloseCode.OK)
        return socket

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Give the records of the topics that the address names: each line of the conversation is one event."""
        asked = _asked(request, {"topic", "snapshot", "numbers", "time", "depth", "interval_ms", "from"})
        subscribe: dict[str, object] = {"op": "subscribe", **asked, "topics": request.query.getall("topic", [])}
        subscribe.pop("topic", None)
        if "snapshot" in asked:
            subscribe["snapshot"] = _flag("snapshot", asked["snapshot"])
        subscribe |= {name: _count(name, asked[name]) for name in ("depth", "interval_ms") if name in asked}
        start = request.headers.get("Last-Event-ID") or asked.get("from") or ("now" if self._host.has_history else None)
        if start is not None:
            subscribe["from"] = msgspec.to_builtins(_place(start))
        line = msgspec.json.encode(subscribe)
        wanted = read_line(line)
        if not isinstance(wanted, Subscribe) or not patterns_of(meant(wanted), None, request[ACCESS]):
            raise BadRequest("no topic; write /events?topic=trades:*:BTC/USDT, and as many more as wanted")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if request.version >= HttpVersion11:
            response.enable_chunked_encoding()
        await response.prepare(request)
        peer = self._peer(request, chunk if response.chunked else None)
        subscriber = self._welcome(peer, request)
        subscriber.hears = False
        if not peer.is_finishing:
            subscriber.hear(line)

        async def send(data: bytes) -> None:
            await response.write(events(data))

        try:
            await peer.run(subscriber, send)
        finally:
            self._bid_farewell(subscriber, request)
        return response

    async def _records(self, request: web.Request) -> web.StreamResponse:
        """Give what was published of the topics that the address names, from one place to another."""
        asked = _asked(request, {"topic", "from", "to", "numbers", "time"})
        patterns = patterns_of(request.query.getall("topic", []), None, request[ACCESS])
        if not patterns or "from" not in asked:
            raise BadRequest("topic or from is missing; write /records?topic=trades:*:BTC/USDT&from=NANOSECONDS")
        if any(needs(pattern) is not pattern for pattern in patterns.values()):
            raise BadRequest("what is computed is not kept: ask for what it is computed of")
        start, to = (beginning_of(_place(asked.get(name, "now"))) for name in ("from", "to"))
        try:
            options = msgspec.convert({name: asked[name] for name in ("numbers", "time") if name in asked}, Options)
        except msgspec.ValidationError as error:
            raise BadRequest(f'{error}; allowed: numbers "text", "float"; time "ns", "us", "ms", "iso"') from None
        lines = self._host.records(Selection(patterns.values()), start, to, options)
        first = await anext(lines, b"")  # by then it is known whether it can be done
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await response.write(first)
        async for data in lines:
            await response.write(data)
        return response

    # --- single questions

    async def _topics(self, request: web.Request) -> web.StreamResponse:
        asked = _asked(request, {"topic", "states"})
        topics = request.query.getall("topic", []) or None
        reply, _ = self._host.reply(
            ListTopics(topics, _flag("states", asked.get("states", "false"))), PLAIN, request[ACCESS]
        )
        return _answer(encode_message(reply))

    async def _instruments(self, request: web.Request) -> web.StreamResponse:
        asked = _asked(request, {"exchange", "symbol"})
        pattern = f"instruments:{asked.get('exchange', '*')}:{asked.get('symbol', '*')}"
        access = request[ACCESS]
        wanted = Selection(patterns_of([pattern], None, access if asked else EVERYTHING).values())
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for lines in self._host.instruments(wanted, PLAIN, access):
            await response.write(lines)
        return response

    async def _book(self, request: web.Request) -> web.StreamResponse:
        asked = _asked(request, {"exchange", "symbol"})
        missing = [name for name in ("exchange", "symbol") if not asked.get(name)]
        if missing:
            raise BadRequest(f"{missing[0]} is missing; write /book?exchange=ID&symbol=BTC/USD")
        try:
            _, line = self._host.reply(TakeSnapshot(asked["exchange"], asked["symbol"]), PLAIN, request[ACCESS])
        except BadRequest as error:
            return _error(HTTPStatus.NOT_FOUND, str(error))
        return _answer(line)


async def _hear(socket: web.WebSocketResponse, peer: HttpPeer, subscriber: Subscriber) -> None:
    """Take what the far end says, until its end; the next line not before there is room for its answer."""
    async for message in socket:
        if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
            return
        data = message.data if isinstance(message.data, bytes) else message.data.encode()
        for number, line in enumerate(data.split(b"\n"), 1):
            if number % LINES_AT_ONCE == 0:
                await asyncio.sleep(0)
            while not subscriber.may_hear and not peer.is_finishing:
                peer.has_sent.clear()
                await peer.has_sent.wait()
            if peer.is_finishing:
                return
            subscriber.hear(line)


async def _end(*tasks: asyncio.Task[None]) -> None:
    """End tasks; one that failed has said so, or its far end was gone."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _here(transport: asyncio.BaseTransport | None) -> str | None:
    """The number of this machine by which a connection came."""
    name = transport.get_extra_info("sockname") if transport else None
    return str(name[0]) if name else None


def _asked(request: web.Request, known: set[str]) -> dict[str, str]:
    """The parameters of an address. Raises BadRequest for one that means nothing here."""
    for name in request.query:
        if name not in known:
            raise BadRequest(f"{name!a:.80} means nothing to {request.path}; allowed: {', '.join(sorted(known))}")
    return dict(request.query)


def _place(text: str) -> str | Start:
    """The place in the stream that a text of an address means: a time in nanoseconds, or what `from` may be.

    Raises BadRequest.
    """
    if text.startswith("{"):
        try:
            return _decode_start(text)
        except UNREADABLE as error:
            raise BadRequest(f'{text!a:.80} is no place: {error}; write {{"epoch":"…","offset":N}}') from None
    return Start(ts=int(text)) if text.isascii() and text.isdecimal() and len(text) < TIME_DIGITS else text


def _flag(name: str, text: str) -> bool:
    if text not in {"true", "false"}:
        raise BadRequest(f"{name} is {text!a:.80}; allowed: true, false")
    return text == "true"


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < MOST_DIGITS):
        raise BadRequest(f"{name} is {text!a:.80}; it is a number")
    return int(text)


def _token_of(request: web.Request) -> str | None:
    """The token in a request's header; null where there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _may_ask(request: web.Request) -> web.Response:
    """Tell a browser what a page that may read the feed can ask with; the guard has looked at its `Origin`.

    Only GET is for other sites: a page of theirs logs nobody in.
    """
    headers = {"Access-Control-Allow-Methods": "GET", "Access-Control-Allow-Headers": "Authorization"}
    if request.headers["Access-Control-Request-Method"] != "GET":
        return _error(HTTPStatus.METHOD_NOT_ALLOWED, "a page of another site may ask by GET alone")
    return web.Response(status=HTTPStatus.NO_CONTENT, headers={**headers, "Access-Control-Max-Age": "600"})


def _unasked(status: HTTPStatus, lines: bytes) -> bytes:
    """Lines as an answer to what was not asked, or not understood yet."""
    kind = f"Content-Type: application/x-ndjson\r\nContent-Length: {len(lines)}\r\nConnection: close"
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{kind}\r\n\r\n".encode() + lines


def _answer(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")


def _error(status: HTTPStatus, text: str) -> web.Response:
    """An error in words, as the feed's own are."""
    headers = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else None
    return web.Response(
        status=status, body=encode_message(Error(text)), headers=headers, content_type="application/json"
    )
