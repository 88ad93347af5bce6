"""Topics on demand, over a real feed and real sockets: connections and subscriptions are counted at the exchange."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from aggregator.catalog.registry import known_channels
from aggregator.config.config import load_config
from aggregator.daemon import running_exchanges
from aggregator.daemon.daemon import Daemon
from aggregator.daemon.status import ExchangeStatus, StatusQuery, gather
from aggregator.records import Gap, Record
from aggregator.sandbox import Sandbox, SandboxSettings
from tests.daemon.test_daemon import WORKERS

pytestmark = pytest.mark.waits

Row = dict[str, Any]
PATIENCE = 20.0 if WORKERS == 1 else 120.0  # seconds; nothing here takes nearly as long
EXCHANGE = "kraken"
BTC, ETH = "trades:kraken:BTC/USD", "trades:kraken:ETH/USD"
KILLED = """
import socket, sys, time
feed = socket.socket(socket.AF_UNIX)
feed.connect(sys.argv[1])
feed.sendall(sys.argv[2].encode() + b"\\n")
time.sleep(99)
"""


class Client:
    """One subscriber at the unix socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def row(self) -> Row:
        async with asyncio.timeout(PATIENCE):
            row: Row = json.loads(await self.reader.readline())
        return row

    async def until(self, **fields: object) -> Row:
        """The next row that has these fields."""
        while True:
            row = await self.row()
            if all(row.get(name) == value for name, value in fields.items()):
                return row

    async def until_all(self, *wanted: tuple[str, str]) -> None:
        """Wait for a record of each of these types and symbols, in whatever order."""
        missing = set(wanted)
        while missing:
            row = await self.row()
            missing.discard((row["type"], str(row.get("symbol"))))

    def say(self, **fields: object) -> None:
        self.writer.write(json.dumps(fields).encode() + b"\n")

    async def subscribe(self, *topics: str) -> Row:
        self.say(op="subscribe", topics=topics)
        return await self.until(type="subscribed")

    async def reasons(self, *topics: str) -> dict[str, tuple[str, list[str]]]:
        absent = (await self.subscribe(*topics)).get("absent", [])
        return {each["topic"]: (each["reason"], each["nearest"]) for each in absent}

    async def states(self, *topics: str) -> dict[str, Row | None]:
        self.say(op="topics", topics=topics, states=True)
        row = await self.until(type="topics")
        return dict(zip(row["topics"], row["states"], strict=True))

    def die(self) -> None:
        self.writer.transport.abort()


class Scene:
    """A daemon on a sandbox, in this very process."""

    def __init__(self, sandbox: Sandbox, daemon: Daemon, path: Path) -> None:
        self.sandbox = sandbox
        self.daemon = daemon
        self.path = path
        self.clients: list[Client] = []
        self.records: list[Record] = []
        self.exchange = sandbox.simulated[EXCHANGE]
        self._answer = self.exchange.answer
        daemon.bus.attach(lambda batch: self.records.extend(batch.records))

    async def status(self) -> ExchangeStatus:
        """How the exchange fares."""
        (found,) = (await gather(self.daemon, StatusQuery())).exchanges
        return found

    async def demanded(self, client: Client, topic: str) -> str | None:
        """How far a topic has come that is asked for: the feed says it, or where workers bring it the status."""
        if WORKERS == 1:
            state = (await client.states(topic))[topic]
            return None if state is None else str(state["demand"])
        topics = (await gather(self.daemon, StatusQuery(most=9))).topics
        return next((t.demand for t in topics if f"{t.channel}:{t.exchange}:{t.symbol}" == topic), None)

    async def fares(self, condition: Callable[[ExchangeStatus], bool]) -> None:
        """Wait until the exchange fares in some way. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while not condition(await self.status()):  # noqa: ASYNC110 - it is asked as an operator asks
                await asyncio.sleep(0.01)

    async def client(self) -> Client:
        reader, writer = await asyncio.open_unix_connection(self.path, limit=2**24)
        client = Client(reader, writer)
        assert (await client.row())["type"] == "hello"
        self.clients.append(client)
        return client

    @property
    def upstream(self) -> tuple[int, int]:
        """How many connections the exchange has now, and has ever had."""
        return len(self.sandbox.clients), self.sandbox._numbers

    def list(self) -> None:
        """Let the exchange answer what its markets are."""
        self.exchange.answer = self._answer  # type: ignore[method-assign]

    def subscribed(self) -> dict[str, int]:
        """The topics that the exchange has, and by how many connections each."""
        return {topic.replace(".100", ""): len(who) for topic, who in self.exchange.listeners.items() if who}

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - nothing tells it
                await asyncio.sleep(0.005)


@asynccontextmanager
async def scene(directory: Path, *, is_listed: bool = True, **keys: object) -> AsyncIterator[Scene]:
    table = {"id": EXCHANGE, "channels": ["trades", "book"], "symbols": ["*"], "on_demand": True, "linger": 0.5, **keys}
    async with Sandbox(SandboxSettings(simulate=(EXCHANGE,), rate=300.0, port=0)) as sandbox:
        shown = "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
        endpoints = "\n".join(f'"{real}" = "{here}"' for real, here in sandbox.endpoints(EXCHANGE).items())
        path = directory / "aggregator.toml"
        path.write_text(
            f'state = "{directory}/state"\ncontrol = "none"\nworkers = {WORKERS}\n'
            f"[[exchanges]]\n{shown}\n[exchanges.endpoints]\n{endpoints}\n"
            f'[feed]\nlisten = ["unix:{directory}/feed.sock"]\n'
        )
        daemon = Daemon(load_config(path, known_channels=known_channels))
        found = Scene(sandbox, daemon, directory / "feed.sock")
        if not is_listed:
            found.exchange.answer = lambda *_, **__: (500, b"sorry")  # type: ignore[method-assign]
        task = asyncio.create_task(daemon.run())
        try:
            await found.until(found.path.exists)
            if is_listed:
                await found.fares(lambda status: status.state == "running")
            yield found
        finally:
            for client in found.clients:
                client.die()
            daemon.stop()
            with suppress(TimeoutError):
                await asyncio.wait_for(task, PATIENCE)


async def test_nothing_is_connected_before_somebody_asks_and_all_share_one_connection(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        assert it.upstream == (0, 0)
        clients = [await it.client() for _ in range(40)]
        for at, client in enumerate(clients):
            assert (await client.subscribe(BTC if at % 2 else ETH, "book:kraken:BTC/USD"))["matched"] == 2
        for at, client in enumerate(clients):
            symbol = "BTC/USD" if at % 2 else "ETH/USD"
            await client.until_all(("trade", symbol), ("book_snapshot", "BTC/USD"))
        assert it.upstream == (1, 1)
        assert it.subscribed() == {"trade:BTC/USD": 1, "trade:ETH/USD": 1, "book:BTC/USD": 1}


async def test_a_derived_topic_brings_what_it_is_computed_of(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        client = await it.client()
        said = await client.subscribe("book.2:kraken:SOL/USD", "book.2:kraken:NO/SUCH")
        assert (said["matched"], said.get("reasons")) == (1, None)
        assert [each["topic"] for each in said["absent"]] == ["book.2:kraken:NO/SUCH"]
        book = await client.until(type="book_snapshot")
        assert (book["symbol"], len(book["bids"])) == ("SOL/USD", 2)
        assert it.subscribed() == {"book:SOL/USD": 1}
        client.die()
        await it.until(lambda: not it.subscribed())


async def test_derived_topics_bring_only_what_they_need(tmp_path: Path) -> None:
    topics = {
        "consolidated:*:BTC/USD": "ticker:BTC/USD",  # its own best prices, and not its book besides
        "bbo.book:kraken:ETH/USD": "book:ETH/USD",
        "candles.1s:kraken:SOL/USD": "trade:SOL/USD",
        "bbo.100ms:kraken:XRP/USD": "ticker:XRP/USD",
    }
    async with scene(tmp_path, channels=["trades", "book", "bbo"]) as it:
        client = await it.client()
        assert "absent" not in await client.subscribe(*topics)
        while not (await client.until(type="consolidated"))["contributors"]:
            pass
        await it.until(lambda: it.subscribed() == dict.fromkeys(topics.values(), 1))
        client.say(op="unsubscribe")
        await it.until(lambda: not it.subscribed())


async def test_a_topic_lingers_and_is_released_after_that_and_then_the_connection_ends(tmp_path: Path) -> None:
    async with scene(tmp_path, linger=1) as it:
        one, other = await it.client(), await it.client()
        await one.subscribe(BTC)
        await one.until(type="trade")
        assert await it.demanded(other, BTC) == "live"
        one.die()
        await asyncio.sleep(0.3)
        assert await it.demanded(other, BTC) == "lingering"
        if WORKERS == 1:
            state = (await other.states(BTC))[BTC]
            assert state is not None
            assert state["reason"] == "nobody asks for it; it is released in 1 s"
        await other.subscribe(BTC)  # it stays as it was
        await asyncio.sleep(1.5)
        assert await it.demanded(other, BTC) == "live"
        assert it.upstream == (1, 1)
        other.say(op="unsubscribe")
        await it.until(lambda: not it.subscribed())
        await it.until(lambda: it.upstream == (0, 1))
        (state,) = (await other.states("trades:kraken:*")).values()
        if WORKERS == 1:
            assert state is None
        else:  # the hub knows what the stream has told last
            assert state is not None
            assert (state["state"], state["reason"]) == ("down", "nobody asks for it any more")


async def test_what_a_killed_client_asked_for_is_released(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        program = [sys.executable, "-c", KILLED, str(it.path), "book:kraken:SOL/USD"]
        process = await asyncio.create_subprocess_exec(*program)
        await it.until(lambda: it.subscribed() == {"book:SOL/USD": 1})
        process.kill()
        await process.wait()
        await it.until(lambda: not it.subscribed())


async def test_the_first_record_comes_with_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_exchanges, "RETRY_LISTING_S", 0.2)
    async with scene(tmp_path, is_listed=False) as it:
        client = await it.client()
        said = await client.reasons(BTC, "trades:kraken:BTC/USX")
        if WORKERS == 1:  # a worker that has only begun does not say in time what cannot be had
            assert said[BTC][0].startswith("kraken is not there yet: ")
        await it.fares(lambda status: status.trouble is not None and (status.demand or {}).get("wanted") == 2)
        status = await gather(it.daemon, StatusQuery(most=9))
        assert {(t.symbol, t.state, t.demand) for t in status.topics} == {
            ("BTC/USD", "absent", "wanted"),
            ("BTC/USX", "absent", "wanted"),
        }
        it.list()
        await it.fares(lambda status: status.state == "running")
        await client.until_all(("health", "BTC/USX"), ("trade", "BTC/USD"))


async def test_what_cannot_be_had_is_answered_with_the_reason(tmp_path: Path) -> None:
    async with scene(tmp_path, symbols=["BTC/USD", "ETH/USD"]) as it:
        client = await it.client()
        said = await client.reasons(
            "trades:kraken:BTC-USD",
            "trades:kraken:SOL/USD",
            "ticker:kraken:BTC/USD",
            "trades:ftx:BTC/USD",
            "trades:okex:BTC/USD",
            "trades:okx:BTC/USD",
            "trades:krakn:BTC/USD",
            "trades:kraken:*/JPY",
            "trades:*:NO/SUCH",
            "instruments:kraken:*",
            "health:kraken:BTC/USD",
            BTC,
        )
        assert said == {
            "trades:kraken:BTC-USD": ("kraken lists no 'BTC-USD'", ["BTC/USD"]),
            "trades:kraken:SOL/USD": ("the configuration does not name it among the symbols of kraken", []),
            "ticker:kraken:BTC/USD": ("the configuration has no such channel of kraken: trades, book", []),
            "trades:ftx:BTC/USD": ('"ftx" closed on 2022-11-11: bankruptcy', []),
            "trades:okex:BTC/USD": ('"okex" was renamed to okx in 2022-01; use id = "okx"', []),
            "trades:okx:BTC/USD": ("okx is not among the exchanges of the configuration", []),
            "trades:krakn:BTC/USD": ('"krakn" is not an exchange of the catalogue; did you mean "kraken"?', []),
            "trades:kraken:*/JPY": ("no market of kraken fits", []),
        }
        await client.until(type="trade")
        assert it.subscribed() == {"trade:BTC/USD": 1}


async def test_an_exchange_that_hangs_up_while_topics_linger_leaves_no_gap_open(tmp_path: Path) -> None:
    async with scene(tmp_path, linger=0.3) as it:
        client = await it.client()
        await client.subscribe(BTC, "book:kraken:ETH/USD")
        await client.until_all(("trade", "BTC/USD"), ("book_snapshot", "ETH/USD"))
        client.die()
        it.exchange.refuse_until = asyncio.get_running_loop().time() + 3600
        await asyncio.sleep(0.05)
        for upstream in list(it.sandbox.clients.values()):
            upstream.cut()
        await it.until(lambda: any(isinstance(r, Gap) and r.phase == "open" for r in it.records))
        await it.fares(lambda status: not status.shards)
        gaps = [r for r in it.records if isinstance(r, Gap)]
        is_open = {g.gap_id for g in gaps if g.phase == "open"} - {g.gap_id for g in gaps if g.phase == "close"}
        assert len(gaps) == 4
        assert is_open == set()


async def test_the_status_tells_how_each_topic_stands(tmp_path: Path) -> None:
    async with scene(tmp_path, linger=60) as it:
        one, other = await it.client(), await it.client()
        await one.subscribe(BTC, "trades:kraken:NO/SUCH")
        await other.subscribe(ETH)
        await one.until(type="trade")
        await other.until(type="trade")
        other.die()
        await it.fares(lambda status: (status.demand or {}).get("lingering") == 1)
        status = await gather(it.daemon, StatusQuery(most=9))
        (exchange,) = status.exchanges
        assert exchange.demand == {"live": 1, "lingering": 1, "wanted": 1}
        assert exchange.followed is not None
        assert exchange.followed.markets == 2
        assert {(t.symbol, t.demand) for t in status.topics} == {
            ("BTC/USD", "live"),
            ("ETH/USD", "lingering"),
            ("NO/SUCH", "wanted"),
        }


async def test_clients_that_come_and_go_as_fast_as_they_can_change_little_upstream(tmp_path: Path) -> None:
    async with scene(tmp_path, linger=0.2) as it:
        good = await it.client()
        await good.subscribe("book:kraken:BTC/USD")
        await good.until(type="book_snapshot")
        asked: list[bytes] = []
        exchange = it.exchange
        hear = exchange.hear

        def overhear(client: Any, frame: bytes) -> None:
            asked.append(frame)
            hear(client, frame)

        exchange.hear = overhear  # type: ignore[method-assign]
        end = time.perf_counter() + 2.0
        while time.perf_counter() < end:
            bad = await it.client()
            for _ in range(20):
                bad.say(op="subscribe", topics=["*:kraken:ETH/USD", "*:kraken:SOL/USD", "*:kraken:XRP/USD"])
                bad.say(op="unsubscribe")
            await bad.until(type="unsubscribed")
            bad.die()
        assert len([frame for frame in asked if b"subscribe" in frame]) < 60
        assert it.upstream == (1, 1)
        await it.until(lambda: it.subscribed() == {"book:BTC/USD": 1})
        good.say(op="ping")
        rows = [await good.row()]
        while rows[-1]["type"] != "pong":
            rows.append(await good.row())
        assert {row["type"] for row in rows} <= {"book_delta", "pong", "health", "summary"}
