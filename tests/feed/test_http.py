"""What is HTTP's own: who may ask, single questions, events, and WebSockets as libraries speak them."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import websockets

from aggregator.bus.bus import Bus
from aggregator.feed.address import parse_address
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.feed.transports import http
from aggregator.feed.transports.http_peer import frame
from aggregator.records import BookSnapshot, Health, Instrument
from tests.feed.test_feed import PATIENCE, eventually, trade
from tests.support.views import Fixed

pytestmark = pytest.mark.waits

Row = dict[str, Any]
BOOK = BookSnapshot(exchange="alpha", symbol="BTC/USD", raw_symbol="XBTUSD", bids=[("1", "2")], asks=[("3", "4")])
LIVE = Health(exchange="alpha", symbol="BTC/USD", raw_symbol="XBTUSD", channel="book", state="live", age_ms=12)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[Bus, FeedServer, aiohttp.ClientSession]]:
    """A feed over HTTP, and a session whose addresses are relative to it."""
    bus = Bus("epoch")
    server = FeedServer(FeedSettings(listen=(parse_address("http:127.0.0.1:0"),), **settings), bus)
    await server.start()
    bus.attach(server.publish)
    base = server.addresses[0].replace("http:", "http://")
    timeout = aiohttp.ClientTimeout(PATIENCE)
    try:
        async with aiohttp.ClientSession(base, timeout=timeout) as session:
            yield bus, server, session
    finally:
        bus.detach(server.publish)
        await server.stop(0)


async def events(response: aiohttp.ClientResponse, count: int) -> list[Row]:
    found: list[Row] = []
    while len(found) < count:
        line = await response.content.readline()
        assert line, found
        if line.startswith(b"data: "):
            found.append(json.loads(line[6:]))
    return found


# --- single questions


async def test_topics_with_their_states() -> None:
    async with serving() as (bus, _, session):
        bus.views.add("alpha", Fixed([BOOK], [LIVE]))
        bus.publish([trade(), BOOK])
        async with session.get("/topics") as response:
            assert response.headers["Server"] == "aggregator"
            assert (await response.json())["topics"] == ["book:alpha:BTC/USD", "trades:alpha:BTC/USDT"]
        async with session.get("/topics", params={"topic": "book:*:*", "states": "true"}) as response:
            said = await response.json()
        assert said["topics"] == ["book:alpha:BTC/USD"]
        assert said["states"] == [{"state": "live", "age_ms": 12, "reason": None}]


@pytest.mark.parametrize("symbol", ["BTC/USD", "XBTUSD"])
async def test_a_book_by_either_name(symbol: str) -> None:
    async with serving() as (bus, _, session):
        bus.views.add("alpha", Fixed([BOOK], [LIVE]))
        bus.publish([BOOK])
        async with session.get("/book", params={"exchange": "alpha", "symbol": symbol}) as response:
            row = await response.json()
        assert (row["type"], row["bids"], row["asks"]) == ("book_snapshot", [["1", "2"]], [["3", "4"]])


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/book?exchange=alpha&symbol=BTC/USDX", 404, "did you mean BTC/USD?"),
        ("/book?exchange=beta&symbol=BTC/USD", 404, "no book 'BTC/USD' of 'beta' is followed; {\"op\":\"topics\"}"),
        ("/book?exchange=alpha", 400, "symbol is missing"),
        ("/book?exchange=alpha&symbol=" + "x" * 5000, 404, "is followed"),
        ("/topics?topic=trade:*:*", 400, "did you mean trades?"),
        ("/topics?states=yes", 400, "states is 'yes'; allowed: true, false"),
        ("/topics?key=1", 400, "'key' means nothing to /topics"),
        ("/topics?token=1", 400, "a token never stands in an address"),
        ("/events", 400, "no topic; write /events?topic="),
        ("/events?topic=trades:*:*&numbers=roman", 400, "numbers"),
        ("/events?topic=trades:*:*&depth=5", 400, "is no book"),
        ("/events?topic=book:*:*&depth=five", 400, "depth is 'five'; it is a number"),
        ("/feed", 426, "a WebSocket is spoken here"),
        ("/../etc/passwd", 404, "nothing is at"),
        ("/nothing", 404, "ask for /feed, /events, /records, /topics, /instruments, /book"),
    ],
)
async def test_what_cannot_be_answered_is_said(path: str, status: int, text: str) -> None:
    async with serving() as (bus, _, session):
        bus.publish([BOOK])
        async with session.get(path) as response:
            assert (response.status, text in (await response.json())["error"]) == (status, True)


async def test_a_book_that_is_not_live_says_why() -> None:
    down = Health(exchange="alpha", raw_symbol="XBTUSD", channel="book", state="suspect", reason="checksum")
    async with serving() as (bus, _, session):
        bus.views.add("alpha", Fixed([], [down]))
        bus.publish([BOOK])
        async with session.get("/book?exchange=alpha&symbol=BTC/USD") as response:
            assert (await response.json())["error"] == "the book of alpha BTC/USD is suspect: checksum"


async def test_instruments_in_force() -> None:
    async with serving() as (bus, _, session):
        for number in range(1200):
            instrument = Instrument(exchange="alpha", symbol=f"A{number}/USD", raw_symbol=f"A{number}USD")
            bus.instruments["alpha", f"A{number}/USD"] = instrument
            bus.publish([instrument])
        del bus.instruments["alpha", "A7/USD"]
        async with session.get("/instruments?exchange=alpha&symbol=A*/USD") as response:
            names = [json.loads(line)["symbol"] async for line in response.content]
        assert names == [f"A{number}/USD" for number in range(1200) if number != 7]


# --- who may ask


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:8791"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": "localhost:8791"}, 200),
        ({"Host": "[::1]:8791"}, 200),
        ({"Host": "charts.local"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[::"}, 403),
        ({"Origin": "https://charts.example"}, 200),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
    ],
)
async def test_pages_of_other_sites_are_refused(headers: dict[str, str], status: int) -> None:
    settings = {"hosts": ("charts.local",), "origins": ("https://charts.example",)}
    async with serving(**settings) as (_, _, session):
        async with session.get("/topics", headers=headers) as response:
            assert response.status == status
            allowed = response.headers.get("Access-Control-Allow-Origin")
        assert allowed == ("https://charts.example" if "charts.example" in headers.get("Origin", "") else None)
        if "Origin" in headers:
            upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
            key = {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
            async with session.get("/feed", headers={**headers, **upgrade, **key}) as response:
                assert response.status == (101 if status == 200 else status)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_only_get_is_answered(method: str) -> None:
    async with serving() as (_, _, session), session.request(method, "/topics") as response:
        assert (response.status, await response.json()) == (
            405,
            {"type": "error", "error": "only GET is answered here", "id": None},
        )
        assert response.headers["Allow"] == "GET, HEAD"


async def test_connections_that_never_ask_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "UNASKED", 3)
    async with serving(max_clients=2) as (_, server, session):
        address = parse_address(server.addresses[0])
        lines = [socket.create_connection((address.host, address.port)) for _ in range(20)]  # type: ignore[union-attr]
        try:
            await asyncio.sleep(0.1)
            for line in lines:
                line.settimeout(0.05)
            assert sum(_is_open(line) for line in lines) == 5
        finally:
            for line in lines:
                line.close()
        await asyncio.sleep(0.1)
        async with session.get("/topics") as response:
            assert response.status == 200


def _is_open(line: socket.socket) -> bool:
    try:
        return line.recv(9) not in {b"", b"HTTP/1.1 "}  # why it is not let in
    except TimeoutError:
        return True
    except ConnectionError:
        return False


# --- streams


async def test_events_are_the_lines_of_a_conversation() -> None:
    async with serving() as (bus, server, session):
        address = "/events?topic=trades:*:BTC/USDT&topic=trades:*:ETH/USDT&numbers=float"
        async with session.get(address) as response:
            assert response.content_type == "text/event-stream"
            hello, subscribed = await events(response, 2)
            assert (hello["type"], subscribed["topics"]) == ("hello", ["trades:*:BTC/USDT", "trades:*:ETH/USDT"])
            bus.publish([trade(), trade("XRP/USDT"), trade("ETH/USDT")])
            found = await events(response, 2)
            assert [(row["symbol"], row["price"]) for row in found] == [("BTC/USDT", 1.5), ("ETH/USDT", 1.5)]
        await eventually(lambda: not server.status().subscribers)


async def test_events_of_some_levels() -> None:
    async with serving() as (bus, _, session):
        bus.views.add("alpha", Fixed([BOOK], [LIVE]))
        bus.publish([BOOK])
        async with session.get("/events?topic=book:alpha:BTC/USD&depth=5&interval_ms=100") as response:
            _, subscribed, health, book = await events(response, 4)
        assert subscribed["topics"] == ["book.5.100ms:alpha:BTC/USD"]
        assert health["state"] == "live"
        assert (book["type"], book["depth"], book["bids"]) == ("book_snapshot", 5, [["1", "2"]])


async def test_a_reader_of_events_who_leaves_in_silence_is_found() -> None:
    async with serving() as (_, server, session):
        response = await session.get("/events?topic=trades:*:*")
        await events(response, 2)
        assert len(server.status().subscribers) == 1
        response.close()
        await eventually(lambda: not server.status().subscribers)


@pytest.mark.parametrize("deflate", [False, True])
async def test_a_websocket_as_a_library_speaks_it(deflate: bool) -> None:
    async with serving(deflate=deflate) as (bus, server, _):
        address = server.addresses[0].replace("http:", "ws://") + "/feed"
        async with websockets.connect(address, compression="deflate") as client:
            assert ("permessage-deflate" in client.response.headers.get("Sec-WebSocket-Extensions", "")) is deflate  # type: ignore[union-attr]
            assert json.loads(await client.recv())["type"] == "hello"
            await client.send('trades:*:*\n{"op":"ping","id":1}')
            rows: list[Row] = []
            while not rows or rows[-1]["type"] != "pong":
                rows += map(json.loads, str(await client.recv()).splitlines())
            assert [row["type"] for row in rows] == ["subscribed", "pong"]
            bus.publish([trade() for _ in range(1000)])
            offsets: list[int] = []
            while len(offsets) < 1000:
                offsets += [json.loads(line)["offset"] for line in str(await client.recv()).splitlines()]
            assert offsets == list(range(1, 1001))


async def test_the_end_is_told_and_then_closed() -> None:
    async with serving() as (_, server, _):
        address = server.addresses[0].replace("http:", "ws://") + "/feed"
        async with websockets.connect(address) as client:
            await client.recv()
            stopping = asyncio.ensure_future(server.stop(1))
            assert json.loads(await client.recv()) == {"type": "bye", "reason": "the daemon ends", "id": None}
            with pytest.raises(websockets.ConnectionClosedOK):
                await client.recv()
            await stopping


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 300_000])
def test_frames_have_the_length_that_the_protocol_says(size: int) -> None:
    found = frame(b"x" * size)
    head = 2 if size < 126 else 4 if size < 65_536 else 10
    assert (found[0], len(found)) == (0x81, head + size)
    said = found[1] if head == 2 else int.from_bytes(found[2:head], "big")
    assert said == size


@pytest.mark.parametrize("key", ["\u00e9" * 24, "=", "x"])
async def test_the_key_of_a_websocket_that_is_none(key: str, caplog: pytest.LogCaptureFixture) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
    async with serving() as (_, _, session), session.get("/feed", headers=headers) as response:
        assert response.status in {400, 426}
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_bytes_that_are_no_http_leave_nothing_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as (_, server, _):
        address = parse_address(server.addresses[0])
        reader, writer = await asyncio.open_connection(address.host, address.port)  # type: ignore[union-attr]
        writer.write(b"GET /topics?token=secret HTTP/1ost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.0 400")
        writer.close()
    assert "secret" not in caplog.text
