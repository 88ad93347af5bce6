import asyncio
import logging
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request as Handshake
from websockets.http11 import Response

from aggregator.errors import SessionError
from aggregator.exchange import Address, Compression, Request
from aggregator.ingest.network import Internet
from aggregator.ingest.proxies import DialOptions, Proxy, Transport, find_proxy, parse_proxy, proxy_of_environment
from aggregator.session.moment import Now
from tests.support.proxy_servers import PASSWORD, USER, certificate, proxying

pytestmark = pytest.mark.waits

LOGIN = f"{USER}:{quote(PASSWORD, safe='')}@"
KINDS = ["http", "https", "socks5", "socks5h"]
WRONG = "n0t-it"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Ear:
    name = "toy/proxied.0#1"

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.came = asyncio.Event()
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def frames(self, payloads: list[bytes], now: Now) -> None:  # noqa: ARG002 - a listener's own
        self.heard += payloads
        self.came.set()

    def gone(self, reason: str) -> None:
        self.over.set_result(reason)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return certificate(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def exchange(tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[int]:
    """A WebSocket server that echoes; its port."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", 0, ssl=tls, **options) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def rest(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


async def talk(internet: Internet, url: str, address: Address | None = None) -> list[bytes]:
    """What is heard of an echo."""
    ear = Ear()
    async with asyncio.timeout(10):
        line = await internet.dial(address or Address(url), ear)
        line.send(b'{"a":1}')
        await ear.came.wait()
        line.hang_up("enough")
        await ear.over
    return ear.heard


@pytest.mark.parametrize("transport", ["auto", "websockets"])
@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_line_and_rest_go_through_a_proxy(
    transport: Transport, locked: bool, secure: bool, kind: str, tls: tuple[ssl.SSLContext, ssl.SSLContext],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    server, client = tls
    inner, s = (server, "s") if secure else (None, "")
    host = "127.0.0.1" if kind == "socks5" else "exchange.test"  # that only the proxy can resolve
    outer = server if kind == "https" else None
    async with exchange(inner) as ws, rest(hello, inner) as http, proxying(kind, locked=locked, tls=outer) as proxy:
        route = DialOptions(transport, parse_proxy(f"{kind}://{LOGIN if locked else ''}127.0.0.1:{proxy.port}"))
        internet = Internet(route=route, tls=client)
        heard = await talk(internet, f"ws{s}://{host}:{ws}/")
        answer = await internet.fetch(Request(f"http{s}://{host}:{http}/x"))
        await internet.close()
    assert heard == [b'{"a":1}']
    assert (answer.status, answer.body) == (200, b"hello")
    assert len(proxy.asked) == 2
    assert f"through {kind}://" in caplog.text
    assert PASSWORD not in caplog.text
    assert quote(PASSWORD, safe="") not in caplog.text


@pytest.mark.parametrize("transport", ["auto", "websockets"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_that_refuses_is_named_without_its_password(
    transport: Transport, kind: str, tls: tuple[ssl.SSLContext, ssl.SSLContext], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with proxying(kind, locked=True, tls=tls[0] if kind == "https" else None) as proxy:
        wrong = parse_proxy(f"{kind}://{USER}:{WRONG}@127.0.0.1:{proxy.port}")
        internet = Internet(route=DialOptions(transport, wrong), tls=tls[1])
        with pytest.raises(SessionError, match=rf"ws://127.0.0.1:9/ through {kind}://\*\*\*@127") as dialled:
            await internet.dial(Address("ws://127.0.0.1:9/"), Ear())
        with pytest.raises(SessionError, match=rf"https://127.0.0.1:9/ through {kind}://\*\*\*@127") as fetched:
            await internet.fetch(Request("https://127.0.0.1:9/"))
        await internet.close()
    for error in (dialled, fetched):
        assert WRONG not in "".join(traceback.format_exception(error.value))
        assert error.value.__cause__ is None
    assert WRONG not in caplog.text + repr(wrong) + repr(DialOptions(proxy=wrong))


async def test_the_environment_is_obeyed_but_never_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async with exchange() as ws, rest(hello) as http, proxying("http") as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        internet = Internet()
        assert await talk(internet, f"ws://exchange.test:{ws}/") == [b'{"a":1}']
        assert (await internet.fetch(Request(f"http://exchange.test:{http}/x"))).body == b"hello"
        assert len(proxy.asked) == 2
        assert await talk(internet, f"ws://127.0.0.1:{ws}/") == [b'{"a":1}']
        assert (await internet.fetch(Request(f"http://localhost:{http}/x"))).body == b"hello"
        assert len(proxy.asked) == 2
        await internet.close()
        off = Internet(route=DialOptions(proxy=None))
        with pytest.raises(SessionError, match=r"exchange\.test"):
            await off.dial(Address(f"ws://exchange.test:{ws}/"), Ear())
        await off.close()


def test_which_variable_serves_which_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "plain:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://upper:2")
    monkeypatch.setenv("https_proxy", "socks5h://u:p%40@lower:3")
    monkeypatch.setenv("NO_PROXY", "spared.example")
    assert proxy_of_environment("ws://x.example/") == Proxy("http", "plain", 1)
    assert proxy_of_environment("wss://x.example/") == Proxy("socks5h", "lower", 3, "u", "p@")
    assert proxy_of_environment("https://x.example/") == Proxy("socks5h", "lower", 3, "u", "p@")
    for spared in ("wss://spared.example/", "wss://a.spared.example:8443/", "ws://localhost:1", "http://[::1]:1/"):
        assert proxy_of_environment(spared) is None
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("all_proxy", "socks5://any:4")
    assert proxy_of_environment("wss://x.example/") == Proxy("socks5", "any", 4)
    monkeypatch.setenv("all_proxy", "ftp://u:s3cret@any:4")
    with pytest.raises(ValueError, match="what the environment names for https is not a proxy") as error:
        proxy_of_environment("wss://x.example/")
    assert "s3cret" not in str(error.value)


def test_a_proxy_may_be_written_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MINE", "http://u:s3cret@h")
    held = tmp_path / "proxy"
    held.write_text("socks5h://u:s3cret@h\n")
    assert find_proxy("env:MINE") == Proxy("http", "h", 80, "u", "s3cret")
    assert find_proxy(f"file:{held}") == Proxy("socks5h", "h", 1080, "u", "s3cret")
    assert find_proxy("none") is None
    held.write_text("s3cret")
    with pytest.raises(ValueError, match="is not a proxy") as error:
        find_proxy(f"file:{held}")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("transport", ["picows", "websockets"])
async def test_a_refused_handshake_says_status_and_patience(transport: Transport) -> None:
    def refuse(connection: ServerConnection, _: Handshake) -> Response:
        response = connection.respond(429, "slow down")
        response.headers["Retry-After"] = "30"
        return response

    async with exchange(process_request=refuse) as port:
        with pytest.raises(SessionError, match="HTTP 429 Too Many Requests, Retry-After 30") as told:
            await Internet(route=DialOptions(transport)).dial(Address(f"ws://127.0.0.1:{port}/"), Ear())
    assert (told.value.is_busy, told.value.wait) == (True, 30)


@pytest.mark.parametrize("transport", ["picows", "websockets"])
async def test_a_handshake_that_never_ends_says_so(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.ingest.network.DIAL_TIMEOUT_S", 1.0)
    over = asyncio.Event()

    async def nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with await asyncio.start_server(nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SessionError, match=rf"cannot connect to ws://127.0.0.1:{port}/: timed out after 1 s"):
            await Internet(route=DialOptions(transport)).dial(Address(f"ws://127.0.0.1:{port}/"), Ear())
        over.set()


async def test_a_redirect_is_followed_on_the_same_host_alone() -> None:
    async def moved(request: web.Request) -> web.Response:
        where = {"/near": "/x", "/far": "http://elsewhere.test/x"}.get(request.path)
        if where is None:
            return web.Response(text="hello")
        raise web.HTTPFound(where)

    async with rest(moved) as port:
        internet = Internet()
        assert (await internet.fetch(Request(f"http://127.0.0.1:{port}/near"))).body == b"hello"
        with pytest.raises(SessionError, match=r"it redirects to http://elsewhere\.test, which is not followed"):
            await internet.fetch(Request(f"http://127.0.0.1:{port}/far"))
        await internet.close()


@pytest.mark.parametrize(
    ("declared", "asked", "deflated"),
    [("unknown", True, False), ("offered", False, False), ("offered", True, True), ("required", False, True)],
)
async def test_deflate_is_asked_for_where_the_exchange_has_it(
    declared: Compression, asked: bool, deflated: bool
) -> None:
    seen: list[str] = []

    def look(_: ServerConnection, request: Handshake) -> None:
        seen.append(request.headers.get("Sec-WebSocket-Extensions", ""))

    async with exchange(process_request=look) as port:
        url = f"ws://127.0.0.1:{port}/"
        internet = Internet(route=DialOptions(compression=asked))
        assert await talk(internet, url, Address(url, {}, declared)) == [b'{"a":1}']
    assert ("permessage-deflate" in seen[0]) is deflated


async def test_picows_alone_refuses_what_it_cannot_do() -> None:
    with pytest.raises(SessionError, match="picows cannot do permessage-deflate, which this exchange requires"):
        await Internet(route=DialOptions("picows")).dial(Address("ws://127.0.0.1:9/", {}, "required"), Ear())


async def test_a_message_that_inflates_beyond_all_bounds_ends_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.ingest.websockets_line.LARGEST_FRAME_BYTES", 2**20)
    ear = Ear()

    async def bomb(connection: ServerConnection) -> None:
        await connection.send(b"0" * 2**22)
        await connection.wait_closed()

    async with serve(bomb, "127.0.0.1", 0) as server, asyncio.timeout(10):
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await Internet().dial(Address(url, {}, "required"), ear)
        assert "exceeds limit" in await ear.over
    assert ear.heard == []


@pytest.mark.parametrize("transport", ["picows", "websockets"])
async def test_a_message_of_endless_empty_fragments_ends_the_line(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.ingest.lines.MOST_FRAGMENTS", 100)
    ear = Ear()

    async def pieces(connection: ServerConnection) -> None:
        await connection.send([""] * 200)
        await connection.wait_closed()

    async with serve(pieces, "127.0.0.1", 0) as server, asyncio.timeout(10):
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await Internet(route=DialOptions(transport)).dial(Address(url), ear)
        assert "fragments" in await ear.over
    assert ear.heard == []


@pytest.mark.parametrize("transport", ["picows", "websockets"])
async def test_how_the_exchange_closed_is_told(transport: Transport) -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.close(1000, "")

    ear = Ear()
    async with serve(leave, "127.0.0.1", 0) as server, asyncio.timeout(10):
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await Internet(route=DialOptions(transport)).dial(Address(url), ear)
        assert await ear.over == "closed by the exchange: 1000"


@pytest.mark.parametrize("transport", ["picows", "websockets"])
async def test_a_line_that_is_silent_and_answers_no_ping_is_over(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"aggregator.ingest.{transport}_line.IDLE_PING_S", 0.2)
    ear = Ear()

    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await ear.over
        connection.transport.abort()

    async with serve(deaf, "127.0.0.1", 0, ping_interval=None) as server, asyncio.timeout(10):
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await Internet(route=DialOptions(transport)).dial(Address(url), ear)
        assert await ear.over
