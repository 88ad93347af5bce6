"""The ports of a feed: TLS and its certificates, who may listen where, and how many may come from one address."""

import asyncio
import json
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop

from aggregator.bus.bus import Bus
from aggregator.errors import ConfigError
from aggregator.feed.access import Token, hash_of
from aggregator.feed.address import TcpAddress, UnixAddress, parse_address
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.feed.transports import farewell, http
from tests.feed.test_feed import PATIENCE, Peer, Spot, eventually, peer, trade
from tests.support.proxy_servers import certificate

pytestmark = pytest.mark.waits

OPEN: list[asyncio.StreamWriter] = []  # those of this test, to be closed at its end
TOKENS = (Token("desk", hash_of("x")),)


@asynccontextmanager
async def serving(listen: str, **settings: Any) -> AsyncIterator[tuple[Bus, FeedServer, TcpAddress]]:
    bus = Bus("epoch")
    server = FeedServer(FeedSettings(listen=(parse_address(listen),), **settings), bus)
    await server.start()
    bus.attach(server.publish)
    address = parse_address(server.addresses[0])
    assert isinstance(address, TcpAddress)
    try:
        yield bus, server, address
    finally:
        for writer in OPEN:
            writer.transport.abort()
        OPEN.clear()
        await server.stop(0)


def files(folder: Path) -> dict[str, Path]:
    return {"tls_certificate": folder / "cert.pem", "tls_key": folder / "key.pem"}


async def secured(address: TcpAddress, context: ssl.SSLContext) -> Peer:
    reader, writer = await asyncio.open_connection("localhost", address.port, ssl=context, limit=2**24)
    OPEN.append(writer)
    return Peer(reader, writer)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_lines_over_tls(run: Callable[[Awaitable[None]], None], tmp_path: Path) -> None:
    _, trusting = certificate(tmp_path)

    async def main() -> None:
        async with serving("tcp:127.0.0.1:0", **files(tmp_path)) as (bus, server, address):
            client = await secured(address, trusting)
            assert (await client.row())["type"] == "hello"
            await client.ask("trades:*:*")
            client.pause()
            for _ in range(300):
                bus.publish([trade(str(number)) for number in range(100)])
                await asyncio.sleep(0)
            client.resume()
            rows = await client.until_offset(30_000)
            lost = sum(row["missed"] for row in rows if row["type"] == "lag")
            assert lost + sum(row["type"] == "trade" for row in rows) == 30_000
            client.say(b"x" * 60_000)  # a line that comes in several records of TLS
            assert (await client.row())["type"] == "error"
            await server.stop(1)
            assert [row["type"] for row in await client.rest()] == ["bye"]  # and an end that TLS knows as one

    run(main())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_http_over_tls(run: Callable[[Awaitable[None]], None], tmp_path: Path) -> None:
    _, trusting = certificate(tmp_path)

    async def main() -> None:
        async with (
            serving("http:127.0.0.1:0", **files(tmp_path)) as (bus, _, address),
            aiohttp.ClientSession(
                f"https://localhost:{address.port}", connector=aiohttp.TCPConnector(ssl=trusting)
            ) as session,
        ):
            async with session.get("/topics") as response:
                assert response.status == 200
            async with session.ws_connect("/feed") as feed:
                await feed.receive()
                await feed.send_str("trades:*:*")
                assert (await feed.receive_json())["type"] == "subscribed"
                for _ in range(300):
                    bus.publish([trade(str(number)) for number in range(100)])
                    await asyncio.sleep(0)
                last = 0
                while last < 30_000:
                    last = json.loads((await feed.receive_str()).splitlines()[-1])["offset"]

    run(main())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_streams_over_tls_stay_and_others_come(
    run: Callable[[Awaitable[None]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has asked is not taken for one who asks nothing, however soon the question came."""
    monkeypatch.setattr(http, "HEAD_S", 0.5)
    monkeypatch.setattr(http, "SWEEP_S", 0.05)
    _, trusting = certificate(tmp_path)

    async def main() -> None:
        async with serving("http:127.0.0.1:0", **files(tmp_path)) as (bus, _, address):
            silent = await secured(address, trusting)
            feeds: list[Peer] = []
            for _ in range(2):
                feeds.append(await secured(address, trusting))
                feeds[-1].say("GET /events?topic=trades:*:* HTTP/1.1\r\nHost: localhost\r\n\r")
                await feeds[-1].reader.readuntil(b"subscribed")
                await asyncio.sleep(0.7)
            bus.publish([trade()])
            for feed in feeds:
                said = await feed.reader.readuntil(b'"trade"')
                assert b"HTTP/1.1 408" not in said
            assert b"nothing was asked within" in await silent.reader.read()

    run(main())


@pytest.mark.parametrize("scheme", ["tcp", "http"])
async def test_who_speaks_no_tls_or_an_old_one_is_hung_up_on(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (farewell, http):
        monkeypatch.setattr(module, "HANDSHAKE_S", 0.2)
    _, trusting = certificate(tmp_path)
    async with serving(f"{scheme}:127.0.0.1:0", **files(tmp_path)) as (_, server, address):
        for said in (b"", b"trades:*:*\n", b"GET / HTTP/1.1\r\n\r\n", os.urandom(1000)):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(said)
            with suppress(ConnectionError):
                assert b"hello" not in await asyncio.wait_for(reader.read(), PATIENCE)
            writer.close()
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(address.host, address.port, ssl=old)
        assert server.status().accepted == 0
        client = await secured(address, trusting)  # and others are served
        client.writer.close()


async def test_a_new_certificate_is_shown_and_connections_stay(tmp_path: Path, caplog: Any) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    (_, trusts_first), (_, trusts_second) = certificate(first), certificate(second)
    async with serving("tcp:127.0.0.1:0", **files(first)) as (_, _, address):
        early = await secured(address, trusts_first)
        await early.row()
        (first / "cert.pem").write_text("half of a certif")
        client = await secured(address, trusts_first)
        assert (await client.row())["type"] == "hello"
        assert "the certificate that was read before stays" in caplog.text
        for name in ("key.pem", "cert.pem"):
            shutil.copy(second / name, first / name)
        client = await secured(address, trusts_second)
        assert (await client.row())["type"] == "hello"
        with pytest.raises(ssl.SSLCertVerificationError):
            await secured(address, trusts_first)
        assert (await early.ask({"op": "ping"}))["type"] == "pong"


async def test_certificates_of_clients(tmp_path: Path) -> None:
    _, trusting = certificate(tmp_path)
    async with serving("tcp:127.0.0.1:0", **files(tmp_path), client_ca=tmp_path / "cert.pem") as (_, server, address):
        with pytest.raises((OSError, json.JSONDecodeError)):
            await (await secured(address, trusting)).row()
        assert server.status().accepted == 0
        trusting.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
        assert (await (await secured(address, trusting)).row())["type"] == "hello"


async def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"feed: TLS cannot be had from .*cert.pem, .*key.pem: .*No such file"):
        async with serving("tcp:127.0.0.1:0", **files(tmp_path)):
            pass


@pytest.mark.parametrize("scheme", ["tcp", "http"])
async def test_an_address_that_others_can_reach_needs_tls_and_tokens(scheme: str, tmp_path: Path) -> None:
    certificate(tmp_path)
    guarded = files(tmp_path)
    for settings in ({}, {"tokens": TOKENS}, guarded):
        with pytest.raises(ConfigError, match=r"0\.0\.0\.0:0 is refused: other machines could reach it"):
            async with serving(f"{scheme}:0.0.0.0:0", **settings):
                pass
    for good in ({"insecure": True}, {"tokens": TOKENS, **guarded}):
        async with serving(f"{scheme}:0.0.0.0:0", **good):
            pass


@pytest.mark.parametrize("is_secure", [False, True])
@pytest.mark.parametrize("scheme", ["tcp", "http"])
async def test_so_many_come_from_one_address(scheme: str, is_secure: bool, tmp_path: Path) -> None:
    _, trusting = certificate(tmp_path)
    settings = files(tmp_path) if is_secure else {}
    context = trusting if is_secure else None
    async with serving(f"{scheme}:127.0.0.1:0", max_clients_per_address=3, **settings) as (_, _, address):
        for _ in range(2):
            found = [await asyncio.open_connection("localhost", address.port, ssl=context) for _ in range(5)]
            for _, writer in found:
                writer.write(b"GET /feed" if scheme == "http" else b"\n")
            ended = [asyncio.ensure_future(reader.read()) for reader, _ in found]
            await asyncio.sleep(0.4)
            said = [one.result() for one in ended if one.done()]
            assert len(said) == 2
            for text in said:
                assert text.startswith(b"HTTP/1.1 503 " if scheme == "http" else b'{"type":"error"')
                bye = json.loads(text.splitlines()[-1])
                reason = "there are 3 connections from 127.0.0.1 already, max_clients_per_address"
                assert bye == {"type": "bye", "reason": reason, "id": None}
            for one, (_, writer) in zip(ended, found, strict=True):
                one.cancel()
                writer.transport.abort()
            await asyncio.sleep(0.2)


async def test_farewells_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farewell, "MOST_FAREWELLS", 2)
    async with serving("tcp:127.0.0.1:0", max_clients_per_address=1) as (_, server, address):
        found = [await asyncio.open_connection("127.0.0.1", address.port) for _ in range(6)]
        said = [await asyncio.wait_for(reader.read(), PATIENCE) for reader, _ in found[1:]]
        assert all(text.splitlines()[-1].startswith(b'{"type":"bye"') for text in said)
        transport: Any = server._doors._transports[0]
        assert len(transport._farewells._open) <= 2
        for _, writer in found:
            writer.close()


async def test_who_does_not_ask_over_http_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEAD_S", 0.2)
    monkeypatch.setattr(http, "SWEEP_S", 0.05)
    async with serving("http:127.0.0.1:0") as (_, _, address):
        silent, slow, good = [await asyncio.open_connection(address.host, address.port) for _ in range(3)]
        good[1].write(b"GET /events?topic=trades:*:* HTTP/1.1\r\nHost: localhost\r\n\r\n")
        slow[1].write(b"GET /topics HTTP/1.1\r\n")
        for number in range(100):
            slow[1].write(b"X-%d: 1\r\n" % number)
            await asyncio.sleep(0.01)
            if slow[0].at_eof() or slow[1].transport.is_closing():
                break
        assert number < 99
        told = await asyncio.wait_for(silent[0].read(), PATIENCE)
        assert told.startswith(b"HTTP/1.1 408 ")
        assert b'{"type":"bye","reason":"nothing was asked within 0.2 s"' in told
        assert b"hello" in await good[0].readuntil(b"hello")
        assert not good[0].at_eof()
        for _, writer in (silent, slow, good):
            writer.close()


@pytest.mark.parametrize(
    ("lists", "is_let_in"),
    [
        ({}, True),
        ({"allow_uids": (os.getuid(),)}, True),
        ({"allow_uids": (os.getuid() + 1,)}, False),
        ({"allow_gids": (os.getgid(),)}, True),
        ({"allow_gids": (os.getgid() + 1,)}, False),
        ({"allow_uids": (os.getuid() + 1,), "allow_gids": (os.getgid(),)}, True),
    ],
)
async def test_lists_of_users_and_groups(lists: Any, is_let_in: bool, tmp_path: Path) -> None:
    spot = Spot("unix", tmp_path)
    server = FeedServer(FeedSettings(listen=(UnixAddress(tmp_path / "feed.sock"),), **lists), Bus("epoch"))
    await server.start()
    async with peer(spot) as client:
        rows = [await client.row()] if is_let_in else await client.rest()
    assert [row["type"] for row in rows] == (["hello"] if is_let_in else ["error", "bye"])
    await eventually(lambda: not server.status().subscribers)
    await server.stop(0)
