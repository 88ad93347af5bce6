"""The sandbox as a client meets it: real sockets, spoken to with another WebSocket implementation than the daemon's."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import aiohttp
import pytest
from click.testing import CliRunner
from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from aggregator.cli.sandbox import command, write_config
from aggregator.sandbox import Sandbox, SandboxSettings, read_faults
from aggregator.simulation import Said
from tests.support.hurry import hurried, seconds

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "aggregator", "sandbox"]
IDS = ("binance", "coinbaseexchange", "kraken", "okx")
PATIENCE = 40.0  # seconds; nothing here takes nearly as long
ENOUGH = 30  # faults of a kind, to compare with the log
SILENCE = 0.3  # seconds in which hundreds of frames would come

Row = dict[str, Any]


class Served(Struct):
    """A sandbox that runs: where it is."""

    port: int
    control: Path
    config: str
    process: subprocess.Popen[str]

    def ws(self, path: str) -> str:
        return f"ws://127.0.0.1:{self.port}/{path}"

    def http(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"


@contextmanager
def serving(directory: Path, *options: str) -> Iterator[Served]:
    """A process of its own; it must end well."""
    control, config = directory / "control.sock", directory / "daemon.toml"
    program = [*COMMAND, "--port", "0", "--control", str(control), "--config-out", str(config), *options]
    process = subprocess.Popen(program, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        assert first.startswith("sandbox: serving on port "), first + process.stderr.read()
        yield Served(int(first.split()[-1]), control, config.read_text(), process)
    finally:
        process.terminate()
        said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, said
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("sandbox"), "--simulate", ",".join(IDS), "--rate", "800") as served:
        yield served


async def tell(control: Path, **command: object) -> Any:
    """Say one thing to the control socket."""
    reader, writer = await asyncio.open_unix_connection(control, limit=2**26)
    try:
        writer.write(json.dumps(command).encode() + b"\n")
        return json.loads(await reader.readline())
    finally:
        writer.close()


@asynccontextmanager
async def speaking(sandbox: Served, path: str, *said: object) -> AsyncIterator[tuple[ClientConnection, str]]:
    """A connection that has said something, and its number in the sandbox."""
    async with asyncio.timeout(PATIENCE), connect(sandbox.ws(path), ping_interval=None) as socket:
        for frame in said:
            await socket.send(json.dumps(frame))
        stats = await tell(sandbox.control, op="stats")
        yield socket, max(stats["clients"], key=int)


async def hear(socket: ClientConnection) -> Row:
    row: Row = json.loads(await socket.recv())
    return row


async def hear_out(socket: ClientConnection) -> None:
    """Listen until the connection ends. Raises ConnectionClosed."""
    while True:
        await socket.recv()


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - another process gives no event
            await asyncio.sleep(0.02)


# --- each exchange in its own protocol --------------------------------------------------------------------------------


class Book:
    """A book put together from frames, without any of the daemon's code."""

    def __init__(self) -> None:
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}

    def change(self, bids: list[list[str]], asks: list[list[str]]) -> None:
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for price, size, *_ in levels:
                if float(size):
                    side[price] = size
                else:
                    side.pop(price, None)

    def best(self, depth: int) -> dict[str, list[list[str]]]:
        def ordered(side: dict[str, str], *, reverse: bool) -> list[list[str]]:
            return [[price, side[price]] for price in sorted(side, key=float, reverse=reverse)[:depth]]

        return {"bids": ordered(self.bids, reverse=True), "asks": ordered(self.asks, reverse=False)}


@asynccontextmanager
async def paused(sandbox: Served, exchange: str, symbol: str) -> AsyncIterator[dict[str, list[list[str]]]]:
    """The market stands still: the book as it truly is."""
    try:
        assert await tell(sandbox.control, op="pause") == {"running": False}
        books = await tell(sandbox.control, op="books", exchange=exchange)
        yield books[exchange][symbol]
    finally:
        await tell(sandbox.control, op="resume")


def truth(book: dict[str, list[list[str]]], depth: int) -> dict[str, list[list[str]]]:
    return {side: levels[:depth] for side, levels in book.items()}


async def test_binance_numbers_its_updates_and_has_the_snapshot_by_rest(sandbox: Served) -> None:
    ask = {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms", "btcusdt@trade"], "id": 7}
    path = "stream.binance.com:9443/stream?timeUnit=MICROSECOND"
    async with speaking(sandbox, path, ask) as (socket, _), aiohttp.ClientSession() as http:
        assert await hear(socket) == {"result": None, "id": 7}
        updates, trades = list[Row](), list[Row]()
        while len(updates) < 20 or len(trades) < 10:
            frame = await hear(socket)
            (updates if frame["stream"] == "btcusdt@depth@100ms" else trades).append(frame["data"])
        async with http.get(sandbox.http("api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000")) as response:
            snapshot = await response.json()
        async with paused(sandbox, "binance", "BTCUSDT") as true:
            book = Book()
            book.change(snapshot["bids"], snapshot["asks"])
            while not updates or updates[-1]["u"] <= snapshot["lastUpdateId"] or book.best(150) != true:
                for update in updates:
                    if update["u"] > snapshot["lastUpdateId"]:
                        book.change(update["b"], update["a"])
                if book.best(150) == true:
                    break
                frame = await hear(socket)
                (updates if frame["stream"] == "btcusdt@depth@100ms" else trades).append(frame["data"])
    assert [update["U"] for update in updates[1:]] == [update["u"] + 1 for update in updates[:-1]]
    assert [row["t"] for row in trades] == list(range(trades[0]["t"], trades[0]["t"] + len(trades)))
    assert abs(trades[0]["T"] / 1e6 - time.time()) < 60, "the address asks for microseconds"


async def test_coinbase_sends_the_whole_book_first(sandbox: Served) -> None:
    ask = {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["level2_batch", "matches"]}
    async with speaking(sandbox, "ws-feed.exchange.coinbase.com", ask) as (socket, _):
        said, snapshot = await hear(socket), await hear(socket)
        assert (said["type"], snapshot["type"], snapshot["product_id"]) == ("subscriptions", "snapshot", "BTC-USD")
        book, trades = Book(), list[int]()
        book.change(snapshot["bids"], snapshot["asks"])
        async with asyncio.timeout(PATIENCE):
            while len(trades) < 10:
                take_coinbase(await hear(socket), book, trades)
            async with paused(sandbox, "coinbaseexchange", "BTC-USD") as true:
                while book.best(150) != true:
                    take_coinbase(await hear(socket), book, trades)
    assert trades == list(range(trades[0], trades[0] + len(trades)))


def take_coinbase(frame: Row, book: Book, trades: list[int]) -> None:
    if frame["type"] == "match":
        trades.append(frame["trade_id"])
        return
    assert frame["type"] == "l2update"
    sides = {side: [[p, s] for which, p, s in frame["changes"] if which == side] for side in ("buy", "sell")}
    book.change(sides["buy"], sides["sell"])


async def test_kraken_checksums_the_ten_best_levels(sandbox: Served) -> None:
    ask = {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 25}, "req_id": 3}
    async with speaking(sandbox, "ws.kraken.com/v2", ask) as (socket, _):
        status, said = await hear(socket), await hear(socket)
        assert status["channel"] == "status"
        assert (said["success"], said["req_id"], said["result"]["symbol"]) == (True, 3, "BTC/USD")
        book, checked = Book(), 0
        while checked < 40:
            checked += take_kraken(await socket.recv(), book)
        async with paused(sandbox, "kraken", "BTC/USD") as true:
            while book.best(25) != truth(true, 25):
                take_kraken(await socket.recv(), book)


def take_kraken(frame: str | bytes, book: Book) -> bool:
    """Apply a frame whose numbers keep all their digits, and compare its checksum."""
    (data,) = json.loads(frame, parse_float=str, parse_int=str)["data"]
    book.change(*[[[level["price"], level["qty"]] for level in data[side]] for side in ("bids", "asks")])
    kept = book.best(25)
    book.bids, book.asks = ({level[0]: level[1] for level in kept[side]} for side in ("bids", "asks"))
    best = book.best(10)
    text = "".join(
        part.replace(".", "").lstrip("0") for side in ("asks", "bids") for level in best[side] for part in level
    )
    assert crc32(text.encode()) == int(data["checksum"])
    return True


async def test_okx_links_each_update_to_the_one_before(sandbox: Served) -> None:
    ask = {"op": "subscribe", "args": [{"channel": "books", "instId": "BTC-USDT"}]}
    async with speaking(sandbox, "ws.okx.com/ws/v5/public", ask) as (socket, _):
        await socket.send("ping")
        assert (await hear(socket))["event"] == "subscribe"
        book, links, pongs = Book(), list[tuple[int, int]](), 0
        async with asyncio.timeout(PATIENCE):
            while len(links) < 20 or not pongs:
                pongs += take_okx(await socket.recv(), book, links)
            async with paused(sandbox, "okx", "BTC-USDT") as true:
                while book.best(150) != true:
                    take_okx(await socket.recv(), book, links)
    assert [previous for previous, _ in links] == [-1, *(last for _, last in links[:-1])]


def take_okx(frame: str | bytes, book: Book, links: list[tuple[int, int]]) -> bool:
    if frame == "pong":
        return True
    (row,) = json.loads(frame)["data"]
    book.change(row["bids"], row["asks"])
    links.append((row["prevSeqId"], row["seqId"]))
    return False


REFUSED = [
    (
        "stream.binance.com:9443/stream",
        {"method": "SUBSCRIBE", "params": ["nosuch@trade"], "id": 1},
        "Invalid request",
    ),
    (
        "ws-feed.exchange.coinbase.com",
        {"type": "subscribe", "product_ids": ["NO-SUCH"], "channels": ["matches"]},
        "NO-SUCH is not a valid product",
    ),
    (
        "ws.kraken.com/v2",
        {"method": "subscribe", "params": {"channel": "trade", "symbol": ["NO/SUCH"]}},
        "Currency pair not supported NO/SUCH",
    ),
    (
        "ws.okx.com/ws/v5/public",
        {"op": "subscribe", "args": [{"channel": "trades", "instId": "NO-SUCH"}]},
        "doesn't exist",
    ),
]


@pytest.mark.parametrize(("path", "ask", "said"), REFUSED, ids=IDS)
async def test_what_is_not_traded_is_refused_as_the_exchange_would(
    sandbox: Served, path: str, ask: Row, said: str
) -> None:
    async with speaking(sandbox, path, ask) as (socket, _):
        answer = str(await socket.recv())
        if path.startswith("ws.kraken"):
            answer = str(await socket.recv())  # after the greeting
        assert said in answer
        for rubbish in ("{", "null", "[" * 10_000, b"\xff\xfe"):
            await socket.send(rubbish)
            assert await socket.recv() == '{"error":"not a request of this exchange"}'


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("api.binance.com/api/v3/exchangeInfo", lambda body: body["symbols"]),
        ("api.exchange.coinbase.com/products", lambda body: body),
        ("api.kraken.com/0/public/AssetPairs", lambda body: body["result"]),
        ("www.okx.com/api/v5/public/instruments?instType=SPOT", lambda body: body["data"]),
    ],
    ids=IDS,
)
async def test_each_lists_what_it_trades(sandbox: Served, path: str, rows: object) -> None:
    async with aiohttp.ClientSession() as http, http.get(sandbox.http(path)) as response:
        assert response.status == 200
        assert len(rows(await response.json())) == 4  # type: ignore[operator]


async def test_what_is_not_served_is_not_found(sandbox: Served) -> None:
    async with aiohttp.ClientSession() as http:
        for path in ("api.binance.com/api/v3/nothing?symbol=BTCUSDT", "example.com/", "..%2f..%2fetc/passwd"):
            async with http.get(sandbox.http(path)) as response:
                assert response.status == 404
    with pytest.raises(InvalidStatus, match="404"):
        async with connect(sandbox.ws("example.com/stream")):
            pytest.fail("nobody is there")


def test_the_configuration_that_it_writes_names_every_exchange(sandbox: Served) -> None:
    for id in IDS:
        assert f'id = "{id}"' in sandbox.config
    assert f'"wss://ws.kraken.com" = "ws://127.0.0.1:{sandbox.port}/ws.kraken.com"' in sandbox.config


# --- faults -----------------------------------------------------------------------------------------------------------

TRADES = ("stream.binance.com:9443/stream", {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One exchange with some two hundred trades of each symbol a second."""
    options = ("--simulate", "binance,kraken", "--rate", "4000")
    with serving(tmp_path_factory.mktemp("busy"), *options) as served:
        yield served


async def injected(sandbox: Served, conn: str, kind: str) -> list[int]:
    """The numbers of the trades that the log says a fault was done to."""
    log = await tell(sandbox.control, op="log", exchange="binance")
    mine = [entry for entry in log if entry["conn"] == conn and entry["kind"] == kind]
    return [entry["numbers"][0] for entry in mine if entry["numbers"]]


async def struck(sandbox: Served, conn: str, kind: str, times: int) -> bool:
    return len(await injected(sandbox, conn, kind)) >= times


async def take_trades(socket: ClientConnection, count: int) -> tuple[list[int], int]:
    """The numbers of trades as they come, and how many frames could not be read."""
    found: list[int] = []
    bad = 0
    while len(found) < count:
        try:
            found.append(json.loads(await socket.recv())["data"]["t"])
        except (ValueError, TypeError):
            bad += 1
    return found, bad


async def test_each_fault_does_what_it_says_and_is_logged(busy: Served) -> None:
    async with speaking(busy, *TRADES) as (socket, conn):
        assert await hear(socket) == {"result": None, "id": 1}
        for kind in ("drop", "duplicate", "reorder", "corrupt"):
            seen, _ = await take_trades(socket, 3)
            told = await tell(busy.control, op="fault", exchange="binance", conn=conn, kind=kind, value=0.4)
            assert told == {"connections": 1}
            await until(partial(struck, busy, conn, kind, ENOUGH))
            await tell(busy.control, op="fault_off", conn=conn, kind=kind)
            log, bad = await injected(busy, conn, kind), 0
            while max(seen) <= max(log) + 2:
                found, unreadable = await take_trades(socket, 1)
                seen, bad = seen + found, bad + unreadable
            check_fault(kind, seen, log, bad)


def check_fault(kind: str, seen: list[int], log: list[int], bad: int) -> None:
    """What came is exactly what the log explains."""
    whole = set(range(min(seen), max(seen) + 1))
    if kind == "drop":
        assert whole - set(seen) == set(log)
        assert seen == sorted(set(seen))
    elif kind == "duplicate":
        assert {number for number in seen if seen.count(number) == 2} == set(log)
        assert set(seen) == whole
    elif kind == "reorder":
        assert {later for earlier, later in pairwise(seen) if later < earlier} == set(log)
        assert set(seen) == whole
    else:
        assert whole - set(seen) == set(log)
        assert bad == len(log)


async def test_a_stalled_connection_is_silent_but_answers_pings_and_goes_on(busy: Served) -> None:
    async with speaking(busy, *TRADES) as (socket, conn):
        await hear(socket)
        await tell(busy.control, op="fault", conn=conn, kind="stall", value=0.001)
        await until(lambda: injected(busy, conn, "stall"))
        await tell(busy.control, op="fault_off", conn=conn)
        pong = await socket.ping()
        seen, _ = await take_trades(socket, 1)
        while seen[-1] == seen[0] + len(seen) - 1:  # until there is a hole
            seen += (await take_trades(socket, 1))[0]
        assert set(range(seen[-2] + 1, seen[-1])) <= set(await injected(busy, conn, "stall"))
        await asyncio.wait_for(pong, PATIENCE)


async def test_a_half_open_connection_says_nothing_at_all(busy: Served) -> None:
    async with speaking(busy, *TRADES) as (socket, conn):
        await hear(socket)
        await tell(busy.control, op="fault", conn=conn, kind="half_open", value=0.001)
        await until(lambda: injected(busy, conn, "half_open"))
        await drained(socket)
        await socket.send(json.dumps(TRADES[1]))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(await socket.ping(), SILENCE)
        socket.transport.abort()


async def drained(socket: ClientConnection) -> None:
    """Hear what comes until the line has fallen silent."""
    with suppress(TimeoutError):
        while True:
            await asyncio.wait_for(socket.recv(), SILENCE)


async def test_a_connection_is_closed(busy: Served) -> None:
    async with speaking(busy, *TRADES) as (socket, conn):
        await tell(busy.control, op="fault", conn=conn, kind="close", value=0.001)
        with pytest.raises(ConnectionClosed):
            await hear_out(socket)
        log = await tell(busy.control, op="log", exchange="binance")
        assert [entry["kind"] for entry in log if entry["conn"] == conn][-1] == "close"
        stats = await tell(busy.control, op="stats")
        assert conn not in stats["clients"]


async def test_a_refusing_exchange_takes_no_connection_for_a_while(busy: Served) -> None:
    path, ask = TRADES
    async with speaking(busy, path, ask) as (socket, conn):
        await tell(busy.control, op="fault", conn=conn, kind="refuse", value=0.001)
        with pytest.raises(ConnectionClosed):
            await hear_out(socket)
    with pytest.raises(InvalidStatus, match="503"):
        async with connect(busy.ws(path)):
            pytest.fail("it takes connections")
    async with speaking(busy, "ws.kraken.com/v2") as (other, _):
        assert await hear(other), "the others go on"
    await until(lambda: is_open(busy.ws(path)))


async def is_open(address: str) -> bool:
    try:
        async with connect(address):
            return True
    except InvalidStatus:
        return False


async def test_requests_are_refused_with_429(sandbox: Served) -> None:
    async with aiohttp.ClientSession() as http:
        await tell(sandbox.control, op="fault", kind="http_429", value=1)
        async with http.get(sandbox.http("api.exchange.coinbase.com/products")) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "1")
        await tell(sandbox.control, op="fault_off", kind="http_429")
        async with http.get(sandbox.http("api.exchange.coinbase.com/products")) as response:
            assert response.status == 200


async def test_the_control_socket_says_what_it_does_not_understand(sandbox: Served) -> None:
    commands: list[tuple[Row, str]] = [
        ({"op": "explode"}, "'explode' is no command; there are: fault, fault_off, books"),
        ({"op": "fault", "kind": "fire", "value": 1}, "there is no fault 'fire'; there are: drop"),
        ({"op": "fault", "kind": "drop", "value": 2}, "a probability is at most 1"),
        ({"op": "fault", "kind": "close", "value": -1}, "must be a number from 0 up"),
        ({"op": 5}, "Expected `str`, got `int`"),
        ({}, "missing required field `op`"),
    ]
    for asked, said in commands:
        assert said in (await tell(sandbox.control, **asked))["error"]
    reader, writer = await asyncio.open_unix_connection(sandbox.control)
    writer.write(b'not JSON\n{"op":"pause"}\n{"op":"resume"}\n')
    answers = [json.loads(await reader.readline()) for _ in range(3)]
    writer.close()
    assert "malformed" in answers[0]["error"]
    assert answers[1:] == [{"running": False}, {"running": True}]


async def test_faults_by_option_hold_from_the_first_frame(tmp_path: Path) -> None:
    log = tmp_path / "faults.jsonl"
    options = ["--simulate", "binance", "--faults", "drop=1,http_429=1,close=30s", "--fault-log", str(log)]
    with serving(tmp_path, *options, "--rate", "400") as served:
        async with speaking(served, *TRADES) as (socket, _), aiohttp.ClientSession() as http:
            assert await hear(socket) == {"result": None, "id": 1}
            async with http.get(served.http("api.binance.com/api/v3/exchangeInfo")) as response:
                assert response.status == 429
            await until(lambda: has_lines(log, 10))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), SILENCE)
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert {entry["kind"] for entry in entries} == {"drop", "http_429"}
    assert {entry["exchange"] for entry in entries} == {"binance"}


async def has_lines(path: Path, count: int) -> bool:
    return path.read_text().count("\n") >= count


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--faults", "fire=1"], 2, "'fire=1' is not a fault; write kind=value with one of: drop, duplicate"),
        (["--faults", "drop"], 2, "'drop' is not a fault; write kind=value"),
        (["--faults", "drop=2"], 2, "a probability is at most 1"),
        (["--faults", "drop=nan"], 2, "must be a number"),
        (["--faults", "drop=x"], 2, "drop=x"),
        ([], 2, "nothing to serve: name captures, or simulate exchanges: --simulate binance,"),
        (["--rate", "inf"], 2, "inf is not above 0"),
        (["--simulate", "nosuch"], 2, "'nosuch' cannot be simulated"),
        (["--simulate", "../okx"], 2, "'../okx' cannot be simulated"),
        (["--simulate", "okx", "--control", "/nowhere/at/all.sock"], 1, "/nowhere/at/all.sock"),
        (["none.jsonl"], 2, "'none.jsonl' does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_options_are_named(options: list[str], code: int, said: str) -> None:
    done = CliRunner().invoke(command, ["--port", "0", *options])
    assert done.exit_code == code
    assert said in " ".join(done.stderr.split())


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    program = [*COMMAND, "--port", "0", "--simulate", "okx", "--control", str(path)]
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, timeout=30, check=False)
    assert (done.returncode, path.read_text()) == (1, "mine")
    assert str(path) in done.stderr


def test_a_port_that_is_taken_is_named(sandbox: Served) -> None:
    program = [*COMMAND, "--port", str(sandbox.port), "--simulate", "okx"]
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, timeout=30, check=False)
    assert done.returncode == 1
    assert str(sandbox.port) in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt_ends_it_with_clients_connected(tmp_path: Path) -> None:
    with serving(tmp_path, "--simulate", "kraken") as served:

        async def scenario() -> None:
            async with connect(served.ws("ws.kraken.com/v2")) as socket:
                await socket.recv()
                served.process.send_signal(signal.SIGINT)
                with pytest.raises(ConnectionClosed):
                    await socket.recv()

        asyncio.run(scenario())
        assert served.process.wait(PATIENCE) == 0
    assert not served.control.exists()


# --- playback ---------------------------------------------------------------------------------------------------------

HOST = "wss://stream.example.com:9443"
ORDERS = "https://api.example.com/orders?symbol=A&limit=5"


def capture_line(dir: str, raw: str = "", *, at: float = 0, **others: object) -> str:
    return json.dumps({"ts": f"{1_700_000_000 + at:.3f}", "dir": dir, "raw": raw} | others)


CAPTURE = [
    capture_line("open", url=f"{HOST}/one", conn="1"),
    capture_line("open", url=f"{HOST}/two", conn="2"),
    capture_line("out", "subscribe", conn="1"),
    capture_line("in", "one: subscribed", conn="1", at=10),
    capture_line("in", "two: subscribed", conn="2", at=10),
    json.dumps({"ts": "1700000011", "dir": "in", "raw_b64": base64.b64encode(b"\x1f\x8b\xff").decode(), "conn": "1"}),
    capture_line("in", "one: data", conn="1", at=12),
    capture_line("rest", '{"orders":[]}', url=ORDERS, method="GET", status=200),
    capture_line("rest", "busy", url="https://api.example.com/busy", status=503),
]


@asynccontextmanager
async def playing(path: Path, *content: str, speed: float = 0, loop: bool = False) -> AsyncIterator[Sandbox]:
    path.write_text("\n".join(content) + "\n")
    async with asyncio.timeout(PATIENCE), Sandbox(SandboxSettings(captures=(path,), speed=speed, loop=loop)) as sandbox:
        yield sandbox


async def heard(sandbox: Sandbox, path: str, count: int) -> list[str | bytes]:
    async with connect(f"ws://127.0.0.1:{sandbox.port}/stream.example.com:9443/{path}") as socket:
        await socket.send("subscribe")
        return [await socket.recv() for _ in range(count)]


async def test_a_capture_is_played_back_by_path(tmp_path: Path) -> None:
    async with playing(tmp_path / "a.jsonl", *CAPTURE) as sandbox:
        assert sandbox.endpoints() == {
            HOST: f"ws://127.0.0.1:{sandbox.port}/stream.example.com:9443",
            "https://api.example.com": f"http://127.0.0.1:{sandbox.port}/api.example.com",
        }
        assert await heard(sandbox, "one", 3) == ["one: subscribed", b"\x1f\x8b\xff", "one: data"]
        assert await heard(sandbox, "two?timeUnit=MICROSECOND", 1) == ["two: subscribed"]
        assert await heard(sandbox, "one", 1) == ["one: subscribed"], "again, for who comes again"


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("api.example.com/orders?symbol=A&limit=5", 200, '{"orders":[]}'),
        ("api.example.com/orders?symbol=B", 200, '{"orders":[]}'),
        ("api.example.com/busy", 503, "busy"),
        ("api.example.com/none", 404, '{"error":"no capture holds an answer of this address"}'),
    ],
)
async def test_recorded_answers_are_given_again(tmp_path: Path, path: str, status: int, body: str) -> None:
    async with playing(tmp_path / "a.jsonl", *CAPTURE) as sandbox, aiohttp.ClientSession() as http:
        response = await http.get(f"http://127.0.0.1:{sandbox.port}/{path}")
        assert (response.status, await response.text()) == (status, body)


async def test_a_capture_of_a_port_that_has_moved_is_found_where_the_exchange_is_dialled_now(tmp_path: Path) -> None:
    """OKX left port 8443 in October 2026."""
    trade = {"instId": "A-B", "tradeId": "7", "px": "1", "sz": "2", "side": "buy", "ts": "1700000000000"}
    frame = json.dumps({"arg": {"channel": "trades", "instId": "A-B"}, "data": [trade]}, separators=(",", ":"))
    line = capture_line("in", frame, url="wss://ws.okx.com:8443/ws/v5/public", conn="1")
    async with playing(tmp_path / "a.jsonl", line) as sandbox:
        config = write_config(sandbox)
        assert f'"wss://ws.okx.com" = "ws://127.0.0.1:{sandbox.port}/ws.okx.com:8443"' in config


async def test_connections_of_one_address_take_turns(tmp_path: Path) -> None:
    lines = [capture_line("in", f"of {conn}", conn=conn, url=f"{HOST}/one") for conn in "ab"]
    async with playing(tmp_path / "a.jsonl", *lines) as sandbox:
        assert [(await heard(sandbox, "one", 1))[0] for _ in range(3)] == ["of a", "of b", "of a"]


async def test_an_address_that_was_not_recorded_has_what_was_said_at_the_one_most_like_it(tmp_path: Path) -> None:
    lines = [capture_line("in", f"of {path}", conn=path, url=f"{HOST}/{path}") for path in ("figures", "books@A")]
    async with playing(tmp_path / "a.jsonl", *lines) as sandbox:
        assert [(await heard(sandbox, path, 1))[0] for path in ("books@B", "books@B", "figures")] == [
            "of books@A",
            "of books@A",
            "of figures",
        ]


@hurried
async def test_playback_keeps_the_pace_divided_by_speed(tmp_path: Path) -> None:
    path, said = tmp_path / "a.jsonl", list[tuple[float, bytes]]()
    path.write_text("".join(capture_line("in", str(at), at=at, url=f"{HOST}/one") + "\n" for at in (0, 1, 4)))
    sandbox, asked = Sandbox(SandboxSettings(captures=(path,), speed=10)), asyncio.Event()

    class Client:
        async def play(self, what: Said, *, is_binary: bool) -> None:  # noqa: ARG002 - as the server calls it
            said.append((seconds(), what.frame))

    asked.set()
    await sandbox._play(Client(), sandbox.tape.connections[0], asked)  # type: ignore[arg-type]
    assert said == [(0, b"0"), (0.1, b"1"), (0.4, b"4")]


async def test_playback_repeats_where_that_is_wanted(tmp_path: Path) -> None:
    lines = [capture_line("in", text, url=f"{HOST}/one") for text in ("a", "b")]
    async with playing(tmp_path / "a.jsonl", *lines, loop=True) as sandbox:
        assert await heard(sandbox, "one", 5) == ["a", "b", "a", "b", "a"]


async def test_the_address_stands_beside_a_capture_that_has_none(tmp_path: Path) -> None:
    meta = {"files": [{"file": "a.jsonl", "connections": [{"url": f"{HOST}/one"}]}]}
    (tmp_path / "META.json").write_text(json.dumps(meta))
    (tmp_path / "rest.jsonl").write_text(capture_line("rest", "[]", url="https://api.example.com/beside") + "\n")
    async with playing(tmp_path / "a.jsonl", capture_line("in", "x")) as sandbox, aiohttp.ClientSession() as http:
        assert await heard(sandbox, "one", 1) == ["x"]
        async with http.get(f"http://127.0.0.1:{sandbox.port}/api.example.com/beside") as response:
            assert await response.text() == "[]"


async def test_the_configuration_names_the_exchanges_that_speak_in_captures(tmp_path: Path) -> None:
    cases = map(json.loads, (ROOT / "tests" / "frames" / "bitstamp.jsonl").read_text().splitlines())
    frames = [case["frame"] for case in cases if "type" in str(case["gives"]) and case.get("stream") == "main"]
    lines = [capture_line("in", frame, url="wss://ws.bitstamp.net", conn="1") for frame in frames[:3]]
    async with playing(tmp_path / "a.jsonl", *lines, *CAPTURE) as sandbox:
        written = tomllib.loads(write_config(sandbox))
    (exchange,) = written["exchanges"]
    assert (exchange["id"], exchange["channels"]) == ("bitstamp", ["trades"])
    assert set(exchange["symbols"]) == {"ethusd", "ethusd-perp"}
    assert exchange["endpoints"] == {
        "https://www.bitstamp.net": f"http://127.0.0.1:{sandbox.port}/www.bitstamp.net",
        "wss://ws.bitstamp.net": f"ws://127.0.0.1:{sandbox.port}/ws.bitstamp.net",
    }


@pytest.mark.parametrize(
    "line", ["not JSON", '{"dir":"in","raw":"x","ts":"soon"}', '{"dir":"in","raw_b64":"!","ts":"1"}']
)
def test_a_capture_that_cannot_be_read_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(capture_line("in", "x") + "\n" + line + "\n")
    done = CliRunner().invoke(command, ["--port", "0", str(path)])
    assert done.exit_code == 1
    assert done.stderr.startswith("aggregator: ")


# --- settings ---------------------------------------------------------------------------------------------------------


def test_faults_are_read_from_text() -> None:
    assert read_faults("") == {}
    assert read_faults(" drop=0.001 , close=30s,slow=0.5,") == {"drop": 0.001, "close": 30.0, "slow": 0.5}
