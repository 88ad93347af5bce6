"""The programs of `examples/clients`, run as anybody would."""

import asyncio
import json
import shutil
import sys
import time
from pathlib import Path

import pytest

from aggregator.bus.bus import Bus
from aggregator.docgen.typescript import types_page
from aggregator.feed.address import TcpAddress, UnixAddress
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import RECORD_TYPES, BookDelta, BookSnapshot, Gap, Record, Trade
from tests.support.numbered import numbered
from tests.support.views import Fixed

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "examples/clients"
NODE, CURL = shutil.which("node") or "", shutil.which("curl") or ""
EPOCH = "20260102T030405.000000Z"
PATIENCE = 60.0  # seconds; nothing here takes nearly as long
BTC = {"exchange": "alpha", "symbol": "BTC/USD", "raw_symbol": "XBTUSD"}
WHOLE = BookSnapshot(**BTC, bids=[("100", "2")], asks=[("101", "1")])  # type: ignore[arg-type]
DELTA = BookDelta(**BTC, bids=[("100.5", "3")], asks=[])  # type: ignore[arg-type]
TRADE = Trade(**BTC, price="100.50", size="0.10", side="buy", ts_recv=1_764_000_000_123_456_789)  # type: ignore[arg-type]


def gap(channel: str) -> Gap:
    return Gap(**BTC, gap_id="1", phase="open", channel=channel, cause="sequence", ts_from=1)  # type: ignore[arg-type]


async def said(tmp_path: Path, *program: str, topics: str, publish: list[Record]) -> list[str]:
    """What a program prints of records, from its start to the end of the feed."""
    bus, path = Bus("epoch"), tmp_path / "feed.sock"
    bus.views.add("alpha", Fixed([WHOLE]))
    listen = (UnixAddress(path), TcpAddress("127.0.0.1", 0), TcpAddress("127.0.0.1", 0, "http"))
    server = FeedServer(FeedSettings(listen=listen), bus)
    await server.start()
    bus.attach(server.publish)
    _, tcp, http = server.addresses
    places = {"path": str(path), "tcp": tcp, "http": http, "port": tcp.removeprefix("tcp:")}
    command = [part.format(**places) for part in (*program, topics)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    try:
        async with asyncio.timeout(PATIENCE):
            while not (server.status().subscribers and server.status().subscribers[0].topics):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.02)
            bus.publish(publish)
            await asyncio.sleep(0)
            await server.stop(PATIENCE)
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    return out.decode().splitlines()


@pytest.mark.parametrize("address", ["{path}", "{tcp}", "{http}"])
async def test_trades_are_printed(address: str, tmp_path: Path) -> None:
    program = (sys.executable, str(CLIENTS / "print_trades.py"), address)
    assert await said(tmp_path, *program, topics="trades:*:*", publish=[TRADE, gap("trades")]) == [
        "alpha BTC/USD buy 0.10 at 100.50",
        "alpha BTC/USD something is missing from here on: sequence",
        "the feed has ended: the daemon ends",
    ]


async def test_a_book_is_kept(tmp_path: Path) -> None:
    program = (sys.executable, str(CLIENTS / "keep_a_book.py"), "{path}")
    found = await said(tmp_path, *program, topics="alpha:BTC/USD", publish=[DELTA, gap("book")])
    assert found[-3:] == [
        "('100.5', '3') ('101', '1')",
        "a gap is open: sequence",
        "the feed has ended: the daemon ends",
    ]


async def test_best_prices_are_of_the_books_that_can_be_trusted(tmp_path: Path) -> None:
    """Three exchanges, of which one has an old book and another a gap; then the daemon goes, and comes back.

    The good books are of a clock that is ahead: they do not age while a busy machine lets the program wait.
    """
    path = tmp_path / "feed.sock"

    def whole(exchange: str, bid: str, ask: str, age_s: float = -PATIENCE) -> BookSnapshot:
        names = {"exchange": exchange, "symbol": "BTC/USD", "raw_symbol": "XBTUSD"}
        ts = time.time_ns() - round(age_s * 1e9)
        return BookSnapshot(**names, ts_recv=ts, bids=[(bid, "1")], asks=[(ask, "1")])  # type: ignore[arg-type]

    async def start() -> tuple[Bus, FeedServer]:
        bus = Bus("epoch")
        bus.views.add("alpha", Fixed([whole("alpha", "100.0", "101.0")]))
        bus.views.add("beta", Fixed([whole("beta", "99.5", "100.5")]))
        bus.views.add("old", Fixed([whole("old", "200", "50", 3600)]))
        server = FeedServer(FeedSettings(listen=(UnixAddress(path),)), bus)
        await server.start()
        bus.attach(server.publish)
        return bus, server

    bus, server = await start()
    names = [f"{exchange}:BTC/USD" for exchange in ("alpha", "beta", "old")]
    program = (sys.executable, str(CLIENTS / "consolidated_prices.py"), str(path), *names)
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None

    async def until(*wanted: str) -> None:
        """Read until all of these stand in one telling of four lines."""
        lines: list[str] = []
        while not all(any(each in line for line in lines) for each in wanted):
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode()
            assert line, "it has ended"
            lines = [*lines, line][-4:]

    try:
        async with asyncio.timeout(PATIENCE):
            await until("100.0 alpha | 100.5 beta  (2 of 3)", "old BTC/USD: 200 | 50, nothing for 36", "live, 0 s old")
            bus.publish([gap("book")])
            await until("99.5 beta | 100.5 beta  (1 of 3)", "alpha BTC/USD: 100.0 | 101.0, a gap is open: sequence")
            await server.stop(0)
            await until("no book can be trusted", "beta BTC/USD: 99.5 | 100.5, a gap is open: disconnect")
            bus, server = await start()
            await until("100.0 alpha | 100.5 beta  (2 of 3)")
    finally:
        await server.stop(0)
        process.kill()
        await process.communicate()


@pytest.mark.skipif(not NODE, reason="Node is not installed")
@pytest.mark.parametrize("address", ["{path}", "{port}"])
async def test_node_prints_trades(address: str, tmp_path: Path) -> None:
    program = (NODE, str(CLIENTS / "print_trades.mjs"), address)
    assert await said(tmp_path, *program, topics="trades:*:*", publish=[TRADE, gap("trades")]) == [
        "alpha BTC/USD buy 0.10 at 100.50",
        "alpha BTC/USD something is missing from here on: sequence",
        "the feed has ended: the daemon ends",
    ]


@pytest.mark.skipif(not CURL, reason="curl is not installed")
async def test_curl_reads_events_and_goes_on_where_it_was(tmp_path: Path) -> None:
    """As a shell does it: the id of the last event is what the next call begins behind."""
    async with asyncio.timeout(PATIENCE), numbered(tmp_path, EPOCH, "http:127.0.0.1:0") as daemon:
        place = daemon.server.addresses[0].replace("http:", "http://", 1)

        async def events(*options: str, last: int) -> tuple[list[int], str]:
            address = f"{place}/events?topic=trades:*:*&from=earliest"
            process = await asyncio.create_subprocess_exec(
                CURL, "-sN", *options, address, stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            found, id = list[int](), ""
            async for line in process.stdout:
                if line.startswith(b"id: "):
                    id = line[4:].decode().strip()
                elif b'"type":"trade"' in line:
                    found.append(json.loads(line.removeprefix(b"data: "))["offset"])
                elif b'"type":"cursor"' in line and found[-1:] == [last]:
                    break
            process.kill()
            await process.wait()
            return found, id

        daemon.publish(10)
        assert (found := await events(last=10))[0] == [2, 3, 4, 5, 8, 9, 10]
        daemon.publish(5)
        assert (await events("-H", f"Last-Event-ID: {found[1]}", last=15))[0] == [11, 14, 15]


def test_every_record_has_a_type() -> None:
    page = types_page()
    for kind in RECORD_TYPES:
        declared = page.partition(f"export interface {kind.__name__} {{\n")[2].partition("\n}\n")[0].splitlines()
        names = [line.strip().partition(":")[0].rstrip("?") for line in declared]
        assert names == ["type", *kind.__struct_fields__]
    assert "  symbol: string | null;" in page
    assert "  side?: " in page
    assert "  bids: [string, string][];" in page
