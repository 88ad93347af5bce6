"""`aggregator tail` and `aggregator book` on their way to a feed behind a token and TLS."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aggregator.bus.bus import Bus
from aggregator.feed.access import Token, hash_of
from aggregator.feed.address import TcpAddress
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import BookSnapshot
from tests.support.proxy_servers import certificate
from tests.support.views import Fixed

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds; nothing here takes nearly as long
TOKEN = "x" * 43
BOOK = BookSnapshot(exchange="alpha", symbol="BTC/USD", raw_symbol="XBTUSD", bids=[("100", "2")], asks=[("101", "1")])
ADDRESSES = ["wss://localhost:{http}", "tcp:localhost:{tcp}"]


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[tuple[FeedServer, dict[str, str]]]:
    """A feed that wants a token, TLS and a certificate of the client's own; and the places of the addresses."""
    certificate(tmp_path)
    both = tmp_path / "both.pem"
    both.write_text((tmp_path / "cert.pem").read_text() + (tmp_path / "key.pem").read_text())
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    bus = Bus("epoch")
    bus.views.add("alpha", Fixed([BOOK]))
    settings = FeedSettings(
        listen=(TcpAddress("127.0.0.1", 0), TcpAddress("127.0.0.1", 0, "http")),
        tokens=(Token("desk", hash_of(TOKEN)),),
        tls_certificate=tmp_path / "cert.pem",
        tls_key=tmp_path / "key.pem",
        client_ca=tmp_path / "cert.pem",
    )
    server = FeedServer(settings, bus)
    await server.start()
    tcp, http = (address.rpartition(":")[2] for address in server.addresses)
    try:
        yield server, {"tcp": tcp, "http": http}
    finally:
        await server.stop(0)


async def start(*arguments: str) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "aggregator", *arguments)
    return await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT
    )


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    ("command", "topic", "found"),
    [("tail", "book:*:*", '"bids":[["100","2"]]'), ("book", "alpha:BTC/USD", "2 100 | 101 1")],
)
async def test_a_token_and_certificates_lead_in(
    command: str, topic: str, found: str, address: str, tmp_path: Path
) -> None:
    async with asyncio.timeout(PATIENCE), serving(tmp_path) as (server, places):
        shown = ["--token-file", str(tmp_path / "token"), "--ca", str(tmp_path / "cert.pem")]
        way = ["--feed", address.format(**places), *shown, "--cert", str(tmp_path / "both.pem")]
        process = await start(command, *way, topic)
        assert process.stdout is not None
        while found not in (line := (await process.stdout.readline()).decode()):
            assert line, "it has ended"
        await server.stop(PATIENCE)
        _, said = await process.communicate()
    assert process.returncode == 1
    assert b"the daemon has gone: the daemon ends" in said


async def test_each_thing_that_is_missing_is_named(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), serving(tmp_path) as (_, places):
        (tmp_path / "wrong").write_text("y" * 43)
        feed, ca = ["--feed", f"tcp:localhost:{places['tcp']}"], ["--ca", str(tmp_path / "cert.pem")]
        cert = ["--cert", str(tmp_path / "both.pem")]
        for given, said in (
            ([], "if it speaks TLS, give ssl=True, or --tls"),
            (["--tls"], "ssl=Tls(ca=…), or --ca FILE"),
            (ca, "ssl=Tls(certificate=…), or --cert FILE"),
            ([*ca, *cert], "token=Path(FILE), or --token-file FILE"),
            ([*ca, *cert, "--token-file", str(tmp_path / "wrong")], "the token is wrong"),
            ([*ca, *cert, "--token-file", str(tmp_path / "none")], "the token cannot be read from"),
        ):
            process = await start("tail", *feed, *given, "trades:*:*")
            _, err = await process.communicate()
            assert (process.returncode, said in err.decode()) == (1, True), err
