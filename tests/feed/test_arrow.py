"""The `arrow` sink, read by the clients that people have: pyarrow, polars and DuckDB, without our library."""

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.config.config import load_config
from aggregator.errors import ConfigError
from aggregator.feed.arrow import SINK, BadArrowRequest, messages_for, parse_request
from aggregator.records import RECORD_TYPES, BookDelta, Gap, Record, Trade
from aggregator.sinks.running import Running, running
from aggregator.sinks.sink import Batch
from aggregator.tables.arrow import to_records
from aggregator.tables.columns import tag
from tests.support.any_records import Some
from tests.support.written import BTC, FIRST, NOON, numbered, sold

pa = pytest.importorskip("pyarrow")
pytestmark = pytest.mark.waits

SOON = structs.replace(SINK.defaults, batch_age=0.01)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "sinks" / "arrow.md"


async def until(condition: Any) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come")


@asynccontextmanager
async def life(home: Path, **more: Any) -> AsyncIterator[tuple[Bus, Running, str]]:
    bus, path = Bus(FIRST), str(home / "a.sock")
    sink = running(SINK.configured(SOON, **{"listen": f"unix:{path}", **more}), bus, dead=home)
    await sink.start()
    yield bus, sink, path
    sink.end()
    assert sink.task is not None
    await sink.task


def writer_of(sink: Running) -> Any:
    return vars(sink)["_writer"]


def asked(sink: Running) -> int:
    writer = writer_of(sink)
    return 0 if writer is None else sum(client.request is not None for client in writer._clients)


def connected(path: str, line: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(path)
    sock.sendall(line.encode() + b"\n")
    return sock


def read(sock: socket.socket, record: type[Record]) -> list[Record]:
    """All records until the end of the stream. Raises ArrowInvalid where that is no right one."""
    found = list[Record]()
    with sock, sock.makefile("rb") as file:
        for batch in pa.ipc.open_stream(file):
            found += to_records(record, batch)
    return found


def test_every_type_comes_as_it_was() -> None:
    for kind in RECORD_TYPES:
        records = numbered(Some(5, is_odd=True).records(kind, 50))
        request = parse_request(tag(kind).encode())
        (message,) = messages_for(Batch(records, FIRST), [request]).values()
        from aggregator.feed.arrow import beginning

        stream = pa.ipc.open_stream(beginning(kind) + message + bytes(4))
        assert [row for batch in stream for row in to_records(kind, batch)] == records


async def test_each_client_gets_the_type_and_the_topics_that_it_asked_for(tmp_path: Path) -> None:
    async with life(tmp_path) as (bus, sink, path):
        asks: list[tuple[str, type[Record]]] = [
            ("trade", Trade),
            ("trade trades:beta:*", Trade),
            ("book_delta", BookDelta),
            ("gap", Gap),
        ]
        reads = [asyncio.create_task(asyncio.to_thread(read, connected(path, line), kind)) for line, kind in asks]
        await until(lambda: asked(sink) == 4)
        delta = BookDelta(**BTC, ts_recv=NOON, bids=[("1.50", "0")], asks=[])
        bus.publish([sold(0), sold(1, exchange="beta"), delta])
        bus.publish([sold(2, price="0.1234567890123456789")])
        await until(lambda: sink.status().held == 0)
    every, some, deltas, gaps = [await each for each in reads]
    assert [record.offset for record in every] == [1, 2, 4]
    assert isinstance(every[2], Trade)
    assert every[2].price == "0.1234567890123456789"
    assert [record.exchange for record in some] == ["beta"]
    assert deltas == [delta]
    assert gaps == []


async def test_a_client_that_does_not_read_is_cut_and_slows_nobody(tmp_path: Path) -> None:
    async with life(tmp_path, client_bytes=1_000_000) as (bus, sink, path):
        slow = connected(path, "trade")
        quick = asyncio.create_task(asyncio.to_thread(read, connected(path, "trade trades:*:*"), Trade))
        await until(lambda: asked(sink) == 2)
        for start in range(0, 60_000, 1000):
            bus.publish([sold(at) for at in range(start, start + 1000)])
            await until(lambda until=start + 1000: sink.status().written == until)
        assert asked(sink) == 1
        assert "did not read, and was cut off; 1 were" in (sink.status().failing or "")
    assert len(await quick) == 60_000
    with pytest.raises((pa.ArrowInvalid, OSError)):
        await asyncio.to_thread(read, slow, Trade)  # it is told: its end is no right one


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"trades\n", None),
        (b"trade trades:*:*\n", None),
        (b"\n", "send one line"),
        (b"\xff\n", "send one line"),
        (b"trad\n", "ask for one of: trade"),
        (b"book\n", "ask for one of: book_snapshot, book_delta"),
        (b"trade everything\n", "is not a topic"),
        (b"trade " + b"trades:*:* " * 33, "more than 32 topics"),
    ],
)
def test_a_request_that_cannot_be_met_is_answered_in_words(line: bytes, said: str | None) -> None:
    if said is None:
        assert parse_request(line).kind is Trade
        return
    with pytest.raises(BadArrowRequest, match=said):
        parse_request(line)


async def test_hostile_clients_are_answered_and_closed(tmp_path: Path) -> None:
    async with life(tmp_path, max_clients=2) as (_, sink, path):
        endless = connected(path, "x" * 10_000)
        assert b"a line of more than 4096 bytes" in await asyncio.to_thread(endless.recv, 200)
        endless.close()
        wrong = connected(path, "nonsense")
        assert b"error: 'nonsense' is no record type" in await asyncio.to_thread(wrong.recv, 200)
        wrong.close()
        held = [connected(path, "trade") for _ in range(2)]
        await until(lambda: asked(sink) == 2)
        third = connected(path, "trade")
        assert b"too many clients" in await asyncio.to_thread(third.recv, 200)
        held[0].close()  # nothing was sent to it, and its place is free all the same
        fourth = connected(path, "trade")
        await until(lambda: asked(sink) == 2)
        for sock in (third, fourth, held[1]):
            sock.close()


async def test_what_comes_from_a_port(tmp_path: Path) -> None:
    async with life(tmp_path, listen="tcp:127.0.0.1:0") as (bus, sink, _):
        await until(lambda: writer_of(sink) is not None)
        host, port = writer_of(sink).addresses[0]
        sock = socket.create_connection((host, port), timeout=30)
        sock.sendall(b"trade\n")
        reading = asyncio.create_task(asyncio.to_thread(read, sock, Trade))
        await until(lambda: asked(sink) == 1)
        bus.publish([sold(0)])
        await until(lambda: sink.status().written == 1)
    assert len(await reading) == 1


async def test_a_client_that_asks_nothing_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.feed.arrow.ASKING_S", 0.05)
    async with life(tmp_path) as (_, _sink, path):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(path)
            assert b"nothing was asked for" in await asyncio.to_thread(sock.recv, 200)


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ("tcp:0.0.0.0:8792", "other machines could reach it"),
        ("http:127.0.0.1:8792", 'write "unix:/run/aggregator/arrow.sock" or "tcp:127.0.0.1:8792"'),
        ("nowhere", "is not an address"),
    ],
)
def test_a_place_to_listen_is_checked(listen: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(f'[[exchanges]]\nid = "kraken"\n[[sinks]]\ntype = "arrow"\nlisten = "{listen}"\n')
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_config(file, known_channels=lambda _: ("trades", "bbo"))


def test_it_is_as_quiet_on_the_loop_that_the_daemon_has(tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop")
    said = list[dict[str, Any]]()

    async def lives() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: said.append(told))
        for at, one in enumerate(
            (
                test_each_client_gets_the_type_and_the_topics_that_it_asked_for,
                test_a_client_that_does_not_read_is_cut_and_slows_nobody,
                test_hostile_clients_are_answered_and_closed,
                test_what_comes_from_a_port,
            )
        ):
            (tmp_path / str(at)).mkdir()
            await one(tmp_path / str(at))

    uvloop.run(lives())
    assert not said


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_the_snippets_of_the_page_run(number: int, tmp_path: Path) -> None:
    pytest.importorskip("polars")
    pytest.importorskip("duckdb")
    snippet = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[number]
    async with life(tmp_path) as (bus, sink, path):
        code = snippet.replace("/run/aggregator/arrow.sock", path)
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        await until(lambda: asked(sink) == 1)
        for start in (0, 50):
            bus.publish([sold(at, exchange="kraken", price="100.5", size="2") for at in range(start, start + 50)])
            await until(lambda until=start + 50: sink.status().written == until)
    out, error = await client.communicate()
    assert client.returncode == 0, error.decode()
    assert b"BTC/USDT" in out
    assert re.search(rb"201\.0|10050\.0", out)  # 100.5 times 2, or the sum of fifty such
