"""What is hostile, as a client meets it: spoken to byte by byte, or by libraries that refuse what they should."""

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from msgspec import structs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus, InvalidURI

from aggregator.catalog.registry import load_exchange, simulated_ids
from aggregator.cli.sandbox import command
from aggregator.exchange import Hangup, Refused, Subscription
from aggregator.ingest.bounds import MOST_INSTRUMENTS
from aggregator.ingest.lines import LARGEST_FRAME_BYTES, MOST_FRAGMENTS
from aggregator.ingest.weight import LARGEST_BODY_BYTES
from aggregator.sandbox import Sandbox, SandboxSettings, read_hostile
from aggregator.sandbox.control import Command
from aggregator.sandbox.hostile import INSTRUMENTS, SENDERS, lengthen, packed, refuse
from aggregator.sandbox.settings import AT_START, HOSTILE, ON_FRAMES, ON_REST, TIMED
from aggregator.simulation import Market
from tests.sandbox.test_sandbox import tell

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0
WS = "ws.okx.com/ws/v5/public"
LISTING = "www.okx.com/api/v5/public/instruments?instType=SPOT"
ASK = {"op": "subscribe", "args": [{"channel": "trades", "instId": "BTC-USDT"}]}


@asynccontextmanager
async def hostile(*names: str, **settings: Any) -> AsyncIterator[Sandbox]:
    wanted = SandboxSettings(simulate=("okx",), rate=200, hostile=names, **settings)
    async with asyncio.timeout(PATIENCE), Sandbox(wanted) as sandbox:
        yield sandbox


@asynccontextmanager
async def speaking(sandbox: Sandbox, **options: Any) -> AsyncIterator[ClientConnection]:
    address = f"ws://127.0.0.1:{sandbox.port}/{WS}"
    async with connect(
        address, max_size=2 * LARGEST_FRAME_BYTES, ping_interval=None, close_timeout=0.1, **options
    ) as socket:
        yield socket


async def get(sandbox: Sandbox, path: str = LISTING) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{sandbox.port}/{path}", allow_redirects=False) as answer,
    ):
        return answer.status, await answer.read()


@pytest.mark.parametrize(
    ("name", "sent"),
    [("rubbish", b"\xff"), ("empty", b""), ("idle", b"pong"), ("fragments", b"pong")],
)
async def test_a_flood_is_of_this(name: str, sent: bytes) -> None:
    async with hostile(name) as sandbox, speaking(sandbox, compression=None) as socket:
        heard = [await socket.recv(decode=False) for _ in range(200)]
        assert set(heard) == {sent}


async def test_deep_and_wide_messages_are_json() -> None:
    async with hostile("wide") as sandbox, speaking(sandbox) as socket:
        keys, rows = json.loads(await socket.recv()), json.loads(await socket.recv())
        assert len(keys) == len(rows["data"]) == 100_000
    async with hostile("deep") as sandbox, speaking(sandbox) as socket:
        with pytest.raises(RecursionError):
            json.loads(await socket.recv())


async def test_more_fragments_than_may_be() -> None:
    async with hostile("empty_fragments") as sandbox:
        reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
        writer.write(
            f"GET /{WS} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(2) == b"\x01\x00"
        parts = await reader.readexactly(2 * MOST_FRAGMENTS)
        assert parts == b"\x00\x00" * MOST_FRAGMENTS
        writer.close()


@pytest.mark.parametrize("name", ["oversized", "endless_fragments", "bomb"])
async def test_what_is_too_large_is_so_by_little(name: str) -> None:
    """`bomb` is one where permessage-deflate was agreed upon."""
    async with hostile(name) as sandbox, speaking(sandbox) as socket:
        if name == "endless_fragments":
            size = 0
            async for part in socket.recv_streaming(decode=False):
                size += len(part)
                if size > LARGEST_FRAME_BYTES:
                    break
        else:
            size = len(await socket.recv(decode=False))
        assert LARGEST_FRAME_BYTES < size <= LARGEST_FRAME_BYTES + 2**17


async def test_numbers_have_a_million_digits() -> None:
    long = lengthen(b'{"id":1,"a":["2.5",3]}')
    assert long.count(b"7") == 2_000_000
    assert long.endswith((b",3]}", b'",3]}'))


async def test_a_connection_that_was_announced_to_end_ends() -> None:
    async with hostile("announced") as sandbox, speaking(sandbox) as socket:
        assert json.loads(await socket.recv())["code"] == "64008"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


async def test_connections_have_the_behaviours_in_turn() -> None:
    async with hostile("idle", "handshake_429", "rubbish") as sandbox:
        async with speaking(sandbox) as socket:
            assert await socket.recv() == "pong"
        with pytest.raises(InvalidStatus) as refused:
            async with speaking(sandbox):
                pytest.fail("it was let in")
        assert refused.value.response.headers["Retry-After"] == "2"
        async with speaking(sandbox) as socket:
            assert await socket.recv(decode=False) == b"\xff"


async def test_a_line_that_is_half_open_answers_nothing() -> None:
    async with hostile("half_open") as sandbox, speaking(sandbox) as socket:
        (client,) = sandbox.clients.values()
        while not client.faults.is_half_open:  # noqa: ASYNC110 - a moment, by chance
            await asyncio.sleep(0.05)
        await socket.send(json.dumps(ASK))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.3)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("handshake_429", InvalidStatus),
        ("handshake_redirect", InvalidURI),
        ("handshake_endless", InvalidMessage),
        ("handshake_junk", InvalidMessage),
        ("handshake_cut", InvalidMessage),
        ("handshake_silent", TimeoutError),
        ("handshake_escapes", (InvalidMessage, InvalidStatus)),
        ("handshake_slow", TimeoutError),
    ],
)
async def test_no_handshake_succeeds(name: str, error: type[Exception]) -> None:
    async with hostile(name) as sandbox:
        with pytest.raises(error):
            async with connect(f"ws://127.0.0.1:{sandbox.port}/{WS}", open_timeout=1.0):
                pytest.fail("it was let in")


async def test_every_second_answer_is_good() -> None:
    async with hostile("rest_redirect", "rest_error") as sandbox:
        answers = [await get(sandbox) for _ in range(4)]
    assert [status for status, _ in answers] == [302, 200, 200, 200]
    codes = [json.loads(body)["code"] for status, body in answers if status == 200]
    assert codes == ["0", 50001, "0"]


@pytest.mark.parametrize(("wanted", "largest"), [(MOST_INSTRUMENTS + 1, LARGEST_BODY_BYTES), (10**9, 2**24)])
async def test_a_listing_is_too_long_and_not_too_large(
    wanted: int, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert INSTRUMENTS > 2 * MOST_INSTRUMENTS
    monkeypatch.setattr("aggregator.sandbox.server.INSTRUMENTS", wanted)
    monkeypatch.setattr("aggregator.sandbox.server.LARGEST_BODY_BYTES", largest)
    async with hostile("rest_listing") as sandbox:
        status, body = await get(sandbox)
    assert status == 200
    assert len(json.loads(body)["data"]) == wanted or largest * 0.8 < len(body) <= largest


def test_what_is_no_listing_does_not_grow() -> None:
    okx = Sandbox(SandboxSettings(simulate=("okx",))).simulated["okx"]
    path, query = "/www.okx.com/api/v5/market/books", {"instId": next(iter(okx.markets)), "sz": "5"}
    (_, book), (_, same) = okx.answer(path, query), okx.answer(path, query, is_long=True)
    assert json.loads(same)["data"][0]["bids"] == json.loads(book)["data"][0]["bids"] != []
    listing = "/www.okx.com/api/v5/public/instruments", {"instType": "SPOT"}
    assert len(okx.answer(*listing)[1]) * 1000 < len(okx.answer(*listing, is_long=True)[1])


async def test_a_body_that_is_shorter_than_was_announced() -> None:
    async with hostile("rest_short") as sandbox:
        with pytest.raises(aiohttp.ClientPayloadError):
            await get(sandbox)


async def test_a_body_that_comes_byte_by_byte() -> None:
    async with hostile("rest_slow") as sandbox:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await get(sandbox)


async def test_a_body_that_is_larger_than_is_taken() -> None:
    async with hostile("rest_large") as sandbox:
        _, body = await get(sandbox)
    assert len(body) > LARGEST_BODY_BYTES


def test_a_bomb_unpacks_to_one_byte_too_many() -> None:
    assert len(gzip.decompress(packed(LARGEST_BODY_BYTES, 31))) == LARGEST_BODY_BYTES + 1
    assert len(packed(LARGEST_BODY_BYTES, 31)) < LARGEST_BODY_BYTES // 500


async def test_the_certificate_is_nobody_s() -> None:
    async with hostile("false_certificate") as sandbox:
        assert sandbox.endpoints("okx")["wss://ws.okx.com"].startswith("wss://127.0.0.1:")
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(f"wss://127.0.0.1:{sandbox.port}/{WS}"):
                pytest.fail("it was trusted")


async def test_one_connection_alone_by_the_control_socket(tmp_path: Path) -> None:
    async with hostile(control=tmp_path / "c.sock") as sandbox, speaking(sandbox) as one, speaking(sandbox) as other:
        assert await tell(tmp_path / "c.sock", op="fault", kind="idle", value=1, conn="1") == {"connections": 1}
        assert await one.recv() == "pong"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(other.recv(), 0.3)
        said = await tell(tmp_path / "c.sock", op="fault", kind="false_certificate", value=1)
        assert "from the start" in str(said)
        await tell(tmp_path / "c.sock", op="fault", kind="rest_error", value=1)
        assert json.loads((await get(sandbox))[1])["code"] == 50001
        log = await tell(tmp_path / "c.sock", op="log")
    assert [(entry["kind"], entry["conn"]) for entry in log] == [("idle", "1"), ("rest_error", "http")]


@pytest.mark.parametrize("kind", ["refuse_final", "refuse_passing", "refuse_unnamed", "refuse_escapes"])
@pytest.mark.parametrize("id", simulated_ids())
def test_each_exchange_refuses_in_its_own_protocol(id: str, kind: str) -> None:
    sandbox = Sandbox(SandboxSettings(simulate=(id,)))
    exchange = load_exchange(id)
    assert exchange is not None
    stream = next(stream for stream in exchange.streams if "trades" in stream.channels)
    simulation, markets = sandbox.simulated[id].simulation, sandbox.simulated[id].markets
    name = simulation.name(_first(markets))
    asked = next(iter(stream.subscribe([_topic(name)], 1)))
    replies = refuse(kind, simulation, asked, 1).replies
    events = [event for reply in replies for event in stream.reader()(reply)]
    assert any(isinstance(event, Refused) for event in events), replies
    if kind == "refuse_escapes":
        assert all("\x1b" in event.reason for event in events if isinstance(event, Refused))


def _first(markets: dict[str, Market]) -> Market:
    return next(iter(markets.values()))


def _topic(raw_symbol: str) -> Subscription:
    return Subscription("trades", raw_symbol)


@pytest.mark.parametrize("id", simulated_ids())
def test_what_each_exchange_says_of_nothing_and_of_its_end(id: str) -> None:
    sandbox = Sandbox(SandboxSettings(simulate=(id,)))
    exchange = load_exchange(id)
    assert exchange is not None
    simulation = sandbox.simulated[id].simulation
    parse = exchange.streams[0].reader()
    assert not [event for event in parse(simulation.idle) if not hasattr(event, "id")]
    if simulation.farewell:
        (event,) = parse(simulation.farewell)
        assert isinstance(event, Hangup)


def test_names_are_checked() -> None:
    assert set(read_hostile("all")) == (HOSTILE.keys() | set(TIMED)) - AT_START.keys()
    assert read_hostile("idle, bomb") == ("idle", "bomb")
    with pytest.raises(ValueError, match="'fire' is no hostile behaviour; there are: all, fragments"):
        read_hostile("fire")
    assert SENDERS.keys() == ON_FRAMES.keys()
    assert not ON_FRAMES.keys() & ON_REST.keys()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--simulate", "okx", "--hostile", "idle", "--host", "0.0.0.0"], "on loopback alone, and 0.0.0.0 is not"),
        (["--hostile", "idle"], "only simulated exchanges can be hostile"),
        (["--simulate", "okx", "--hostile", "fire"], "'fire' is no hostile behaviour"),
    ],
)
def test_it_is_served_to_nobody_else(options: list[str], said: str) -> None:
    done = CliRunner().invoke(command, ["--port", "0", *options])
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())


async def test_nor_by_the_control_socket() -> None:
    sandbox = Sandbox(structs.replace(SandboxSettings(simulate=("okx",)), host="192.0.2.1"))
    with pytest.raises(ValueError, match="on loopback alone"):
        sandbox._obey(_command("idle"))


def _command(kind: str) -> Command:
    return Command("fault", kind=kind, value=1)


def test_the_page_says_all_of_them() -> None:
    text = (ROOT / "docs" / "sandbox.md").read_text()
    assert [name for name, words in HOSTILE.items() if f"| `{name}` | {words} |" not in text] == []
