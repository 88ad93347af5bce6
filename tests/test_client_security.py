"""A client that shows a token and speaks TLS, against the real server; and the words where either is refused."""

import asyncio
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aggregator.bus.bus import Bus
from aggregator.client import CutOff, FeedError, LockedOut, Tls, connect, sync
from aggregator.client.security import Secret
from aggregator.feed import access as access_module
from aggregator.feed import hub as hub_module
from aggregator.feed.access import Token, hash_of
from aggregator.feed.address import TcpAddress, UnixAddress
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.feed.transports import farewell, http
from aggregator.records import Trade
from tests.support.proxy_servers import certificate

pytestmark = pytest.mark.waits

PATIENCE = 20.0  # seconds; nothing here takes nearly as long
TOKEN = "a" * 43
KNOWN = (Token("desk", hash_of(TOKEN)),)
ASYNC_AND_BLOCKING = ["asyncio", "blocking"]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(hub_module, "AUTHENTICATE_S", 0.2)
    for module in (farewell, http):
        monkeypatch.setattr(module, "HANDSHAKE_S", 0.3)


@asynccontextmanager
async def serving(tmp_path: Path, *, tls: bool = True, **settings: Any) -> AsyncIterator[tuple[Bus, dict[str, str]]]:
    """A feed at a socket, at a port of lines and at one of HTTP; and the places of the addresses."""
    bus = Bus("epoch")
    listen = (UnixAddress(tmp_path / "feed.sock"), TcpAddress("127.0.0.1", 0), TcpAddress("127.0.0.1", 0, "http"))
    if tls:
        certificate(tmp_path)
        settings |= {"tls_certificate": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    server = FeedServer(FeedSettings(listen=listen, **settings), bus)
    await server.start()
    bus.attach(server.publish)
    _, tcp, web = (address.rpartition(":")[2] for address in server.addresses)
    try:
        yield bus, {"path": str(tmp_path / "feed.sock"), "tcp": tcp, "http": web, "ca": str(tmp_path / "cert.pem")}
    finally:
        await server.stop(0)


async def topics(how: str, address: str, **given: Any) -> list[str]:
    """The topics that a client is told, connected so."""

    def blocking() -> list[str]:
        with sync.connect(address, **given) as feed:
            return feed.topics()

    async with asyncio.timeout(PATIENCE):
        if how == "blocking":
            return await asyncio.to_thread(blocking)
        async with connect(address, **given) as feed:
            return await feed.topics()


def trade() -> Trade:
    return Trade(exchange="alpha", symbol="BTC/USDT", raw_symbol="BTCUSDT", ts_recv=1, price="1.50", size="1")


# --- it works


@pytest.mark.parametrize("how", ASYNC_AND_BLOCKING)
@pytest.mark.parametrize(
    "address",
    [
        "tcp:localhost:{tcp}",
        "tcp:127.0.0.1:{tcp}",
        "http:localhost:{http}",
        "wss://localhost:{http}/feed",
        "wss://localhost:{http}",
        "https://127.0.0.1:{http}",
        "{path}",
    ],
)
async def test_a_token_over_tls(address: str, how: str, tmp_path: Path) -> None:
    async with serving(tmp_path, tokens=KNOWN) as (bus, places):
        bus.publish([trade()])
        given = {} if address == "{path}" else {"ssl": Tls(ca=places["ca"])}
        assert await topics(how, address.format(**places), token=TOKEN, **given) == ["trades:alpha:BTC/USDT"]


@pytest.mark.parametrize("how", ASYNC_AND_BLOCKING)
async def test_a_token_from_a_file_and_a_context_of_ones_own(how: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    async with serving(tmp_path, tokens=KNOWN) as (_, places):
        context = ssl.create_default_context(cafile=places["ca"])
        for address in ("tcp:localhost:{tcp}", "wss://localhost:{http}"):
            assert await topics(how, address.format(**places), token=token, ssl=context) == []


@pytest.mark.parametrize("how", ASYNC_AND_BLOCKING)
async def test_records_come_over_tls(how: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as (bus, places):
        loop = asyncio.get_running_loop()

        def blocking() -> list[int]:
            with sync.connect(f"tcp:localhost:{places['tcp']}", ssl=Tls(ca=places["ca"])) as feed:
                feed.subscribe("trades:*:*")
                loop.call_soon_threadsafe(lambda: bus.publish([trade() for _ in range(5000)]))
                return [record.offset for _, record in zip(range(5000), feed, strict=False)]

        async def waiting() -> list[int]:
            async with connect(f"wss://localhost:{places['http']}", ssl=Tls(ca=places["ca"])) as feed:
                await feed.subscribe("trades:*:*")
                bus.publish([trade() for _ in range(5000)])
                found: list[int] = []
                async for record in feed:
                    found.append(record.offset)
                    if len(found) == 5000:
                        break
                return found

        async with asyncio.timeout(PATIENCE):
            found = await (asyncio.to_thread(blocking) if how == "blocking" else waiting())
        assert found == [*range(1, 5001)]


@pytest.mark.parametrize("how", ASYNC_AND_BLOCKING)
async def test_a_certificate_of_the_client(how: str, tmp_path: Path) -> None:
    certificate(tmp_path)
    async with serving(tmp_path, tls=True, client_ca=tmp_path / "cert.pem") as (_, places):
        ca, key = places["ca"], tmp_path / "key.pem"
        for address in (f"tcp:localhost:{places['tcp']}", f"wss://localhost:{places['http']}"):
            assert await topics(how, address, ssl=Tls(ca=ca, certificate=ca, key=key)) == []
            with pytest.raises(FeedError, match=r"asks? for a certificate of the client's own"):
                await topics(how, address, ssl=Tls(ca=ca))


async def test_a_name_that_the_certificate_is_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, places):
        tls = Tls(ca=places["ca"], server_name="exchange.test")
        assert await topics("asyncio", f"tcp:127.0.0.1:{places['tcp']}", ssl=tls) == []


# --- it is refused, and says what to do


@pytest.mark.parametrize("how", ASYNC_AND_BLOCKING)
@pytest.mark.parametrize(
    ("address", "given", "said"),
    [
        ("tcp:localhost:{tcp}", {"token": "wrong"}, r"the token is wrong; give the one that `aggregator token`"),
        ("wss://localhost:{http}", {"token": "wrong"}, r"the token is wrong; give the one that `aggregator token`"),
        ("tcp:localhost:{tcp}", {}, r"no token came .*; give the one that .* as token=TEXT, token=Path"),
        ("wss://localhost:{http}", {}, r"no token came .*; give the one that .* as token=TEXT, token=Path"),
    ],
)
async def test_a_token_that_is_wrong_or_missing(
    address: str, given: dict[str, str], said: str, how: str, tmp_path: Path
) -> None:
    async with serving(tmp_path, tokens=KNOWN) as (_, places):
        with pytest.raises(LockedOut, match=said):
            await topics(how, address.format(**places), ssl=Tls(ca=places["ca"]), **given)


@pytest.mark.parametrize("how", ASYNC_AND_BLOCKING)
async def test_a_token_that_nobody_asked_for(how: str, tmp_path: Path) -> None:
    async with serving(tmp_path, tls=False) as (_, places):
        with pytest.raises(LockedOut, match="this feed has no tokens: leave the token out"):
            await topics(how, f"tcp:127.0.0.1:{places['tcp']}", token=TOKEN)


@pytest.mark.parametrize("how", ASYNC_AND_BLOCKING)
@pytest.mark.parametrize("address", ["tcp:localhost:{tcp}", "wss://localhost:{http}"])
async def test_certificates_that_are_not_trusted(address: str, how: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    certificate(tmp_path / "other")
    async with serving(tmp_path) as (_, places):
        place = address.format(**places)
        for trusting in (True, Tls(ca=tmp_path / "other/cert.pem")):
            with pytest.raises(LockedOut, match=r"nobody that is trusted has signed .*name the file .* ssl=Tls\(ca=…"):
                await topics(how, place, ssl=trusting)
        with pytest.raises(LockedOut, match=r"its certificate is not for feed.example; write a name that it is for"):
            await topics(how, place, ssl=Tls(ca=places["ca"], server_name="feed.example"))
        with pytest.raises(LockedOut, match=r"its certificate is not for 127.0.0.2; write a name that it is for"):
            await topics(
                how, place.replace("localhost", "127.0.0.1"), ssl=Tls(ca=places["ca"], server_name="127.0.0.2")
            )


@pytest.mark.parametrize("how", ASYNC_AND_BLOCKING)
async def test_tls_to_a_port_without_it(how: str, tmp_path: Path) -> None:
    async with serving(tmp_path, tls=False) as (_, places):
        for address in (f"tcp:localhost:{places['tcp']}", f"wss://localhost:{places['http']}"):
            with pytest.raises(LockedOut, match="does not speak TLS: leave that out"):
                await topics(how, address, ssl=True)


@pytest.mark.parametrize("how", ASYNC_AND_BLOCKING)
@pytest.mark.parametrize("given", [{}, {"token": TOKEN}])
async def test_no_tls_to_a_port_with_it(given: dict[str, str], how: str, tmp_path: Path) -> None:
    async with serving(tmp_path, tokens=KNOWN) as (_, places):
        for address in (f"tcp:localhost:{places['tcp']}", f"ws://localhost:{places['http']}"):
            with pytest.raises(FeedError, match="; if it speaks TLS, give ssl="):
                await topics(how, address, **given)


@pytest.mark.parametrize(
    ("address", "given", "said"),
    [
        ("/run/feed.sock", {"ssl": True}, "a unix socket speaks no TLS: leave ssl out"),
        ("ws://localhost:1/feed", {"ssl": True}, "means no TLS: write wss:// or https://"),
        ("wss://localhost:1/feed", {"ssl": False}, "means TLS, and ssl=False none"),
        ("tcp:192.0.2.1:1", {"token": TOKEN}, "the token would travel there for everyone .* speak TLS"),
        ("http:feed.example:1", {"token": TOKEN}, "the token would travel there for everyone .* speak TLS"),
        ("tcp:localhost:1", {"ssl": Tls(ca="/nowhere")}, "TLS cannot be had from /nowhere: No such file"),
        ("tcp:localhost:1", {"token": ""}, "the token is empty: give the one line that `aggregator token`"),
        ("tcp:localhost:1", {"token": "a\nb"}, "the token is of more than one line"),
        ("tcp:localhost:1", {"token": Path("/nowhere")}, "the token cannot be read from /nowhere: No such file"),
    ],
)
async def test_what_does_not_go_together(address: str, given: dict[str, Any], said: str) -> None:
    for how in ASYNC_AND_BLOCKING:
        with pytest.raises(FeedError, match=said):
            await topics(how, address, **given)


async def test_a_context_that_would_speak_an_old_tls() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(FeedError, match=r"would speak TLS before 1\.2"):
        await topics("asyncio", "tcp:localhost:1", ssl=context)


async def test_a_locked_key_and_a_file_that_is_no_certificate(tmp_path: Path) -> None:
    certificate(tmp_path)
    locked = tmp_path / "locked.pem"
    command = ["openssl", "ec", "-in", str(tmp_path / "key.pem"), "-aes256", "-passout", "pass:x", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: ASYNC221 - it takes no time
    for tls, said in (
        (Tls(certificate=tmp_path / "cert.pem", key=locked), "locked by a password"),
        (Tls(ca=tmp_path / "key.pem"), "TLS cannot be had from .*key.pem: "),
    ):
        with pytest.raises(FeedError, match=said):
            await topics("asyncio", "tcp:localhost:1", ssl=tls)


async def test_a_feed_that_is_cut_over_tls(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as (_, places),
        connect(f"tcp:localhost:{places['tcp']}", ssl=Tls(ca=places["ca"])) as feed,
    ):
        assert feed._connection._writer is not None
        feed._connection._writer.transport.abort()
        with pytest.raises(CutOff):
            await feed.ping()


# --- a token is a secret


@pytest.mark.parametrize("how", ASYNC_AND_BLOCKING)
@pytest.mark.parametrize("address", ["ws://{token}@h/feed", "wss://u:{token}@h", "https://h/feed?token={token}"])
async def test_no_address_holds_a_token(address: str, how: str) -> None:
    with pytest.raises(FeedError, match="a token is given by itself: token=") as raised:
        await topics(how, address.format(token=TOKEN))
    assert TOKEN not in str(raised.value)


async def test_nothing_shows_a_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert TOKEN not in repr(Secret(TOKEN))
    async with serving(tmp_path, tls=False, tokens=KNOWN) as (_, places):
        async with connect(f"tcp:127.0.0.1:{places['tcp']}", token=TOKEN) as feed:
            entry, talk = feed._connection.entry, feed._talk
            parts = [feed, entry, talk, *vars(entry).values(), *vars(talk).values()]
            assert not any(TOKEN in repr(part) for part in parts)
        with pytest.raises(LockedOut) as raised:
            await topics("asyncio", f"tcp:127.0.0.1:{places['tcp']}", token=f"{TOKEN}x")
    assert TOKEN not in str(raised.value)
    assert TOKEN not in caplog.text
