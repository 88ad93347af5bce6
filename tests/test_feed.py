import asyncio
import grp
import json
import os
import random
import shutil
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from aggregator import __version__
from aggregator.bus.bus import Bus
from aggregator.errors import ConfigError
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Levels, Trade
from aggregator.session.moment import Now
from aggregator.session.summaries import Counts
from aggregator.session.topics import Origin

pytestmark = pytest.mark.waits

Row = dict[str, Any]
Scenario = Callable[[Path], Coroutine[Any, Any, None]]
PATIENCE = 10.0  # seconds; nothing here takes nearly as long


def both(scenario: Scenario) -> Callable[..., None]:
    """Run a scenario on the standard library's loop and on uvloop."""

    @pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
    def test(run: Callable[[Awaitable[None]], None], tmp_path: Path) -> None:
        run(scenario(tmp_path / "feed.sock"))

    return test


@asynccontextmanager
async def serving(
    path: Path, *, ring: int = 10_000, max_clients: int = 1000, bus: Bus | None = None
) -> AsyncIterator[tuple[Bus, FeedServer]]:
    bus = bus or Bus("epoch")
    server = FeedServer(FeedSettings(path=path, ring=ring, max_clients=max_clients), bus)
    await server.start()
    bus.attach(server.publish)
    try:
        yield bus, server
    finally:
        bus.detach(server.publish)
        await server.stop(0)


class Peer:
    """A client that says what the test wants, well-behaved or not."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, *lines: str | bytes | Row) -> None:
        texts = (json.dumps(line) if isinstance(line, dict) else line for line in lines)
        self.writer.write(b"".join((text.encode() if isinstance(text, str) else text) + b"\n" for text in texts))

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readline(), PATIENCE)

    async def row(self) -> Row:
        row: Row = json.loads(await self.line())
        return row

    async def ask(self, line: str | bytes | Row) -> Row:
        self.say(line)
        return await self.row()

    async def until_offset(self, last: int) -> list[Row]:
        """Every row up to the one that brings the stream to this offset."""
        rows = [await self.row()]
        while rows[-1].get("offset", 0) < last:
            rows.append(await self.row())
        return rows

    async def rest(self) -> list[Row]:
        """Every row until the server hangs up."""
        data = await asyncio.wait_for(self.reader.read(), PATIENCE)
        return [json.loads(line) for line in data.splitlines()]


@asynccontextmanager
async def peer(path: Path, *, ahead: int = 2**24) -> AsyncIterator[Peer]:
    """A client that takes some bytes `ahead` of the test's reading: a quick one many, a slow one few."""
    reader, writer = await asyncio.open_unix_connection(path, limit=ahead)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()  # what is unsent may never be taken
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def subscriber(path: Path, *topics: str, ahead: int = 2**24) -> AsyncIterator[Peer]:
    async with peer(path, ahead=ahead) as client:
        assert (await client.row())["type"] == "hello"
        assert (await client.ask(" ".join(topics)))["type"] == "subscribed"
        yield client


def trade(symbol: str = "BTC/USDT", exchange: str = "alpha", price: str = "1.50") -> Trade:
    return Trade(exchange=exchange, symbol=symbol, raw_symbol=symbol.replace("/", ""), ts_recv=1, price=price, size="1")


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_so():  # noqa: ASYNC110 - what is awaited is the server's, and it tells nobody
            await asyncio.sleep(0.01)


class Market:
    """Books that change at random, their records numbered as an exchange would; also the source that a bus asks."""

    def __init__(self, bus: Bus, names: list[str]) -> None:
        self.bus = bus
        self.books = {name: Model() for name in names}
        self.alive = dict.fromkeys(names, True)
        self.asked = 0
        self._random = random.Random(7)
        bus.add_books(self.source)

    def source(self, exchange: str | None, raw_symbol: str | None) -> list[BookSnapshot]:
        self.asked += 1
        assert exchange in {None, "alpha"}
        wanted = [raw_symbol] if raw_symbol else list(self.books)
        return [self.snapshot(name, "request") for name in wanted if name in self.books and self.alive[name]]

    def snapshot(self, name: str, reason: str) -> BookSnapshot:
        book = self.books[name]
        return BookSnapshot(
            exchange="alpha",
            symbol=f"{name[:3]}/{name[3:]}",
            raw_symbol=name,
            bids=list(book.bids.items()),
            asks=list(book.asks.items()),
            reason=reason,
            sequence=book.sequence,
        )

    def delta(self, name: str) -> BookDelta:
        book = self.books[name]
        book.sequence += 1
        bids = self._levels(100)
        asks = self._levels(200)
        book.apply(bids, asks)
        return BookDelta(
            exchange="alpha",
            symbol=f"{name[:3]}/{name[3:]}",
            raw_symbol=name,
            bids=bids,
            asks=asks,
            sequence=book.sequence,
        )

    def _levels(self, start: int) -> Levels:
        return [(str(start + self._random.randrange(50)), str(self._random.randrange(4))) for _ in range(3)]


class Model:
    """A book as a reader keeps it."""

    def __init__(self) -> None:
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.sequence = 0

    def apply(self, bids: Levels, asks: Levels) -> None:
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            side.update(levels)
            for price in [price for price, size in side.items() if size == "0"]:
                del side[price]


class Reader:
    """Reads a stream as a careful client would: every delta must be the next one of a book that it has."""

    def __init__(self) -> None:
        self.books: dict[str, Model] = {}
        self.counts: Counter[str] = Counter()
        self.missed = 0
        self.offset = 0

    def read(self, row: Row) -> None:
        kind, name = row["type"], row.get("raw_symbol")
        assert row["offset"] >= self.offset
        self.offset = row["offset"]
        if kind == "book_snapshot":
            model = self.books[name] = Model()
            model.apply(row["bids"], row["asks"])
            model.sequence = row["sequence"]
            kind = f"{kind} {row['reason']}"
        elif kind == "book_delta":
            model = self.books[name]
            assert row["sequence"] == model.sequence + 1, f"{name}: a delta is missing"
            model.apply(row["bids"], row["asks"])
            model.sequence += 1
        elif kind == "lag":
            self.missed += row["missed"]
        self.counts[kind] += 1

    @property
    def published(self) -> int:
        """Records of the stream itself that were read or told as lost."""
        own = self.counts["lag"] + self.counts["book_snapshot request"]
        return self.counts.total() - own + self.missed


# --- what is said


async def _greeting(path: Path) -> None:
    async with serving(path) as (bus, _):
        bus.publish([trade(), trade()])
        async with peer(path) as client:
            expected = {"type": "hello", "schema": 1, "epoch": "epoch", "offset": 2, "version": __version__}
            assert await client.row() == expected


test_the_server_says_hello = both(_greeting)


async def _requests(path: Path) -> None:
    async with serving(path) as (bus, server), peer(path) as client:
        await client.row()
        bus.publish(
            [trade(), trade("ETH/USDT"), Health(exchange="alpha", raw_symbol="X", channel="book", state="live")]
        )
        assert await client.ask({"op": "ping", "id": "a"}) == {"type": "pong", "id": "a"}
        known = ["book:alpha:X", "trades:alpha:BTC/USDT", "trades:alpha:ETH/USDT"]
        assert await client.ask({"op": "topics"}) == {"type": "topics", "topics": known, "id": None}
        topics = ["trades:alpha:*", "book:beta:*"]
        expected = {"type": "subscribed", "topics": topics, "matched": 2, "id": 1}
        assert await client.ask({"op": "subscribe", "id": 1, "topics": topics}) == expected
        assert server.stats()[0].topics == topics
        assert (server.stats()[0].pid, server.stats()[0].uid) == (os.getpid(), os.getuid())
        gone = {"op": "unsubscribe", "id": 2, "topics": ["trades:alpha:*"]}
        assert await client.ask(gone) == {"type": "unsubscribed", "topics": ["trades:alpha:*"], "id": 2}
        bus.publish([trade()])
        assert (await client.ask(gone))[
            "error"
        ] == "trades:alpha:* was not subscribed; name patterns as they were, or none"
        assert (await client.ask({"op": "unsubscribe"}))["topics"] == ["book:beta:*"]


test_every_request_is_answered = both(_requests)


async def _bare_lines(path: Path) -> None:
    async with serving(path) as (bus, _), peer(path) as client:
        await client.row()
        client.say(b"", b"  trades:*:BTC/USDT\tbook:alpha:*  \r")
        assert (await client.row())["topics"] == ["trades:*:BTC/USDT", "book:alpha:*"]
        bus.publish([trade("ETH/USDT"), trade(), trade(exchange="beta")])
        assert [(await client.row())["exchange"] for _ in range(2)] == ["alpha", "beta"]


test_bare_patterns_subscribe = both(_bare_lines)


async def _routes(path: Path) -> None:
    async with (
        serving(path) as (bus, _),
        subscriber(path, "trades:alpha:*") as alpha,
        subscriber(path, "trades:*:BTC/USDT") as bitcoin,
        subscriber(path, "*:*:*") as everything,
        subscriber(path, "gap:*:*") as gaps,
    ):
        hole = Gap(exchange="beta", gap_id="1", phase="open", cause="disconnect", ts_from=1)
        bus.publish([trade(), trade("ETH/USDT"), trade(exchange="beta"), hole, trade("ETH/USDT", "beta")])
        bus.publish([trade("ETH/USDT")])
        expected = [(alpha, [1, 2, 6]), (bitcoin, [1, 3, 4]), (everything, [1, 2, 3, 4, 5, 6]), (gaps, [4])]
        for client, offsets in expected:
            assert [(await client.row())["offset"] for _ in offsets] == offsets
        alpha.say("trades:beta:ETH/USDT")
        assert (await alpha.row())["matched"] == 1
        bus.publish([trade("ETH/USDT", "beta"), trade(exchange="beta")])
        assert (await alpha.row())["offset"] == 7
        assert (await alpha.ask({"op": "ping"}))["type"] == "pong"


test_each_gets_what_it_asked_for_and_no_more = both(_routes)


async def _order(path: Path) -> None:
    """What was published before a request is subject to what was wanted then, though one tick brings both."""
    async with serving(path) as (bus, server), peer(path) as client:
        await client.row()
        ours = next(iter(server._subscribers.values()))
        bus.publish([trade()])
        server._hear(ours, b"trades:*:*")
        bus.publish([trade()])
        server._hear(ours, b'{"op":"unsubscribe"}')
        bus.publish([trade()])
        server._hear(ours, b'{"op":"ping"}')
        rows = [await client.row() for _ in range(4)]
        assert [row.get("offset", row["type"]) for row in rows] == ["subscribed", 2, "unsubscribed", "pong"]


test_requests_take_effect_at_once = both(_order)


async def _options(path: Path) -> None:
    async with (
        serving(path) as (bus, _),
        subscriber(path, "trades:*:*") as plain,
        subscriber(path, "trades:*:*") as other,
    ):
        await other.ask({"op": "subscribe", "topics": ["book:*:*"], "numbers": "float", "time": "iso"})
        bus.publish([trade(), trade(exchange="beta")])
        assert b'"price":"1.50"' in await plain.line()
        line = await other.line()
        assert b'"price":1.50,' in line
        assert b'"ts_recv":"1970-01-01T00:00:00.000000001Z"' in line
        assert b'"beta"' in await other.line()
        await other.ask({"op": "subscribe", "topics": ["trades:*:*"], "time": "ns"})
        bus.publish([trade()])
        line = await other.line()
        assert b'"price":1.50,' in line
        assert b'"ts_recv":1,' in line


test_numbers_and_times_as_asked = both(_options)

# --- books


async def _snapshot_first(path: Path) -> None:
    async with serving(path) as (bus, _):
        market = Market(bus, ["BTCUSD", "ETHUSD", "XRPUSD"])
        market.alive["XRPUSD"] = False
        bus.publish([market.snapshot("BTCUSD", "initial"), market.snapshot("ETHUSD", "initial")])
        bus.publish([market.delta(name) for name in market.books])
        async with subscriber(path, "book:alpha:BTC/*", "book:alpha:XRP*") as client:
            row = await client.row()
            assert (row["type"], row["raw_symbol"], row["offset"]) == ("book_snapshot", "BTCUSD", 5)
            bus.publish([market.delta(name) for name in market.books])
            row = await client.row()
            assert (row["type"], row["raw_symbol"], row["offset"]) == ("book_delta", "BTCUSD", 6)
            bus.publish([market.snapshot("XRPUSD", "initial"), market.delta("XRPUSD")])
            rows = [await client.row() for _ in range(2)]
            assert [(row["type"], row["offset"]) for row in rows] == [("book_snapshot", 9), ("book_delta", 10)]


test_a_book_starts_with_a_snapshot = both(_snapshot_first)


async def _no_snapshot(path: Path) -> None:
    async with serving(path) as (bus, _), peer(path) as client:
        market = Market(bus, ["BTCUSD"])
        bus.publish([market.snapshot("BTCUSD", "initial")])
        await client.row()
        await client.ask({"op": "subscribe", "topics": ["book:*:*"], "snapshot": False})
        bus.publish([market.delta("BTCUSD")])
        assert (await client.row())["type"] == "book_delta"
        await client.ask({"op": "subscribe", "topics": ["book:*:*"]})
        assert (await client.row())["type"] == "book_snapshot"


test_a_snapshot_can_be_declined_and_had_again = both(_no_snapshot)


async def _late_server(path: Path) -> None:
    """A server that starts when books are live already knows them, and awaits those whose start nobody saw."""
    bus = Bus("epoch")
    market = Market(bus, ["BTCUSD", "ETHUSD"])
    market.alive["ETHUSD"] = False
    bus.publish([market.delta("BTCUSD")])
    async with serving(path, bus=bus), subscriber(path, "book:*:*") as client:
        assert (await client.row())["raw_symbol"] == "BTCUSD"
        bus.publish([market.delta("ETHUSD"), market.delta("BTCUSD")])
        assert (await client.row())["raw_symbol"] == "BTCUSD"
        bus.publish([market.snapshot("ETHUSD", "resync"), market.delta("ETHUSD")])
        assert [(await client.row())["type"] for _ in range(2)] == ["book_snapshot", "book_delta"]


test_books_that_were_live_before = both(_late_server)


async def _published_on_asking(path: Path) -> None:
    """Who is asked for a book may first publish what was gathered: that comes before the snapshot, and once."""
    async with serving(path) as (bus, _):
        market = Market(bus, ["BTCUSD", "ETHUSD"])
        bus.publish([market.snapshot("BTCUSD", "initial"), market.snapshot("ETHUSD", "initial")])
        gathered = [market.delta("ETHUSD"), market.delta("BTCUSD"), trade()]

        def flush(_: str | None, __: str | None) -> list[BookSnapshot]:
            bus.publish(gathered.copy())
            gathered.clear()
            return []

        bus._book_sources.insert(0, flush)
        async with subscriber(path, "*:alpha:*") as client:
            bus.publish([market.delta("ETHUSD"), market.delta("BTCUSD")])
            reader = Reader()
            for row in await client.until_offset(7):
                reader.read(row)
            assert reader.counts == {"trade": 1, "book_snapshot request": 2, "book_delta": 2}


test_what_asking_for_a_book_publishes = both(_published_on_asking)


async def _books_under_load(path: Path) -> None:
    """Clients come and go, and are slow, while books change: none ever has a book with a hole, and all end alike."""
    names = [f"{name}USD" for name in ("BTC", "ETH", "XRP", "SOL")]
    async with serving(path, ring=300) as (bus, server):
        market = Market(bus, names)
        bus.publish([market.snapshot(name, "initial") for name in names])
        total = 400

        async def trading() -> None:
            chance = random.Random(3)
            for step in range(total):
                batch = [market.delta(chance.choice(names)) for _ in range(chance.randrange(1, 30))]
                bus.publish([*batch, trade()])
                if step % 50 == 25:
                    bus.publish([market.snapshot(chance.choice(names), "resync")])
                await asyncio.sleep(0 if step % 4 else 0.001)

        async def following(topics: str, start: float, pause: float) -> Reader:
            await asyncio.sleep(start)
            reader = Reader()
            async with subscriber(path, topics, ahead=2**16 if pause else 2**24) as client:
                while not (published.done() and has_all(reader)):
                    reader.read(await client.row())
                    if pause and reader.counts.total() % 100 == 0:
                        await asyncio.sleep(pause)
            return reader

        def has_all(reader: Reader) -> bool:
            ends = {name: book.sequence for name, book in market.books.items()}
            return {name: book.sequence for name, book in reader.books.items()} == ends

        published = asyncio.ensure_future(trading())
        published.add_done_callback(lambda _: bus.publish([*(market.delta(name) for name in names), trade()]))
        wishes = [("*:alpha:*", 0, 0), ("book:*:*", 0.01, 0), ("book:alpha:*USD", 0.05, 0.02), ("*:*:*", 0.02, 0.05)]
        readers = await asyncio.gather(*(following(*wish) for wish in wishes))
        for reader in readers:
            for name in names:
                assert vars(reader.books[name]) == vars(market.books[name])
        assert (readers[0].missed, readers[3].missed > 0) == (0, True)
        await eventually(lambda: not server.stats())


test_books_are_exact_under_load = both(_books_under_load)

# --- slow clients


async def _lag(path: Path) -> None:
    """A client stops, then reads: what it had and what it was told it missed is all, and in order."""
    total = 20_000
    async with (
        serving(path, ring=500) as (bus, server),
        subscriber(path, "trades:*:*") as slow,
        subscriber(path, "trades:*:*") as quick,
    ):
        slow.writer.transport.pause_reading()
        for _ in range(total // 50):
            bus.publish([trade() for _ in range(50)])
            await asyncio.sleep(0)
        offsets = [row["offset"] for row in await quick.until_offset(total)]
        assert offsets == list(range(1, total + 1))
        stats = max(server.stats(), key=lambda client: client.queued)
        assert 400 <= stats.queued <= 500
        assert stats.queued_bytes < 500 * 1000 + 512 * 1024
        slow.writer.transport.resume_reading()
        expected = 1
        for row in await slow.until_offset(total):
            if row["type"] == "lag":
                assert row["offset_from"] == expected
                assert row["missed"] == row["offset_to"] + 1 - row["offset_from"]
                expected = row["offset_to"]
            else:
                assert row["offset"] == expected
            expected += 1
        assert expected == total + 1
        assert max(client.lags for client in server.stats()) == 1


test_a_slow_client_is_told_what_it_missed = both(_lag)


async def _lag_of_books(path: Path) -> None:
    """After a lag no delta comes before a fresh snapshot, and what was withheld is counted as missed."""
    async with (
        serving(path, ring=500) as (bus, _),
        subscriber(path, "*:alpha:*") as slow,
        subscriber(path, "*:alpha:*") as quick,
    ):
        names = ["BTCUSD", "ETHUSD"]
        market = Market(bus, names)
        bus.publish([market.snapshot(name, "initial") for name in names])
        readers = (Reader(), Reader())
        slow.writer.transport.pause_reading()
        for _ in range(200):
            bus.publish([record for _ in range(15) for name in names for record in (market.delta(name), trade())])
            await asyncio.sleep(0)
        for row in await quick.until_offset(bus.offset):
            readers[0].read(row)
        slow.writer.transport.resume_reading()
        while [book.sequence for book in readers[1].books.values()] != [3000, 3000]:
            readers[1].read(await slow.row())
        bus.publish([market.delta(name) for name in names])
        for client, reader in zip((quick, slow), readers, strict=True):
            for row in await client.until_offset(bus.offset):
                reader.read(row)
            assert reader.published == bus.offset
            assert {name: vars(book) for name, book in reader.books.items()} == {
                name: vars(book) for name, book in market.books.items()
            }
        assert readers[0].missed == 0
        assert readers[1].counts["book_snapshot request"] == 2


test_a_book_starts_anew_after_a_lag = both(_lag_of_books)


async def _all_want_the_same(path: Path) -> None:
    """A hundred subscribers of one wish cost one join; the stream's own bytes are shared where all is wanted."""
    async with serving(path) as (bus, server):
        clients = [await asyncio.open_unix_connection(path) for _ in range(100)]
        for reader, writer in clients:
            writer.write(b"trades:*:*\n")
            await reader.readline()
            await reader.readline()
        assert len(server._routes._audiences) == 1
        bus.publish([trade(), trade("ETH/USDT")])
        server._collect()
        assert len({id(ring._chunks[0]) for ring in server._subscribers}) == 1
        for reader, writer in clients:
            assert len(json.loads(await reader.readline())) > 10
            writer.close()


test_many_share_one_join = both(_all_want_the_same)

# --- hostile clients


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"garbage", "'garbage' is not a topic; write channel:exchange:symbol"),
        (b"trade:*:BTC/USDT", "did you mean trades?"),
        (b"\xff\xfe:*:*", "not UTF-8 (byte 0)"),
        (b"{", "not JSON"),
        (b"{}", "allowed: {"),
        (b'{"op":"subscribe"}', "missing required field `topics`"),
        (b'{"op":"subscribe","topics":[]}', "no topics"),
        (b'{"op":"subscribe","topics":["a:b"]}', "'a:b' is not a topic"),
        (b'{"op":"subscribe","topics":[1]}', "Expected `str`, got `int`"),
        (b'{"op":"subscribe","topics":["trades:*:*"],"numbers":"decimal"}', '"numbers" ("text", "float")'),
        (b'{"op":"subscribe","topics":["trades:*:*"],"times":"ms"}', "unknown field `times`"),
        (b'{"op":"unsubscribe","topics":["trades:*:*"]}', "was not subscribed"),
        (b'{"op":"drop"}', "Invalid value 'drop'"),
        (b'{"op":' + b"[" * 5000, "not JSON"),
        (b"\x00" * 100, "is not a topic"),
        (" ".join(f"trades:*:{n}" for n in range(1001)).encode(), "more than the 1000 topics"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_bad_input_is_answered_and_the_connection_lives(line: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    async with serving(path) as (_, server), peer(path) as client:
        await client.row()
        row = await client.ask(line)
        assert row["type"] == "error"
        assert complaint in row["error"]
        assert server.stats()[0].topics == []
        assert await client.ask({"op": "ping", "id": 9}) == {"type": "pong", "id": 9}


async def test_an_error_names_the_request(tmp_path: Path) -> None:
    async with serving(tmp_path / "feed.sock"), peer(tmp_path / "feed.sock") as client:
        await client.row()
        for request in ({"op": "subscribe", "topics": ["x"]}, {"op": "none"}, {"op": "unsubscribe", "topics": ["x"]}):
            assert (await client.ask({**request, "id": "mine"}))["id"] == "mine"


async def test_of_two_topics_with_one_bad_none_is_had(tmp_path: Path) -> None:
    async with serving(tmp_path / "feed.sock") as (_, server), peer(tmp_path / "feed.sock") as client:
        await client.row()
        assert (await client.ask("trades:*:* trads:*:*"))["type"] == "error"
        assert server.stats()[0].topics == []


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_a_line_too_long_ends_the_connection(end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    async with serving(path) as (_, server), peer(path) as client:
        await client.row()
        client.writer.write(b"x" * 70_000 + end)
        [row] = await client.rest()
        assert "more than 65536 bytes" in row["error"]
        await eventually(lambda: not server.stats())


async def _half_close(path: Path) -> None:
    async with serving(path) as (bus, server), peer(path) as client:
        await client.row()
        client.writer.write(b"trades:*:BTC/USDT")  # no newline, as printf leaves it
        client.writer.write_eof()
        assert (await client.row())["type"] == "subscribed"
        for offset in (1, 2):
            bus.publish([trade()])
            assert (await client.row())["offset"] == offset
        await asyncio.sleep(1.2)
        assert len(server.stats()) == 1


test_a_client_that_ends_its_side_keeps_receiving = both(_half_close)


async def test_a_client_that_ends_its_side_without_a_topic_is_done(tmp_path: Path) -> None:
    async with serving(tmp_path / "feed.sock"), peer(tmp_path / "feed.sock") as client:
        client.say("what?")
        client.writer.write_eof()
        assert [row["type"] for row in await client.rest()] == ["hello", "error"]


async def _gone_in_silence(path: Path) -> None:
    """A peer that ended its side, and later is gone, is found though nothing is published."""
    async with serving(path) as (_, server):
        async with peer(path) as client:
            client.say("trades:*:*")
            client.writer.write_eof()
            await eventually(lambda: bool(server.stats() and server.stats()[0].topics))
        await eventually(lambda: not server.stats())


test_a_client_that_left_is_found = both(_gone_in_silence)


async def _sudden_close(path: Path) -> None:
    async with serving(path) as (bus, server), subscriber(path, "trades:*:*") as steady:
        for _ in range(20):
            rude = socket.socket(socket.AF_UNIX)
            rude.connect(str(path))
            rude.sendall(b"trades:*:*\n")
            await eventually(lambda: len(server.stats()) == 2 and bool(server.stats()[1].topics))
            bus.publish([trade() for _ in range(100)])
            rude.close()  # with everything unread
            bus.publish([trade() for _ in range(100)])
            await eventually(lambda: len(server.stats()) == 1)
        assert [row["offset"] for row in await steady.until_offset(4000)] == list(range(1, 4001))


test_a_sudden_close_disturbs_nobody = both(_sudden_close)


async def _many_lines(path: Path) -> None:
    async with serving(path), peer(path) as client:
        client.say(*({"op": "ping", "id": number} for number in range(10_000)))
        await client.row()
        assert [(await client.row())["id"] for _ in range(10_000)] == list(range(10_000))


test_ten_thousand_lines_at_once = both(_many_lines)


async def _never_reads(path: Path) -> None:
    """Who asks without end and never reads is heard no more, and costs no more than a fixed amount."""
    async with serving(path) as (bus, server), peer(path) as hostile, subscriber(path, "trades:*:*") as steady:
        hostile.writer.transport.pause_reading()
        hostile.say(*['{"op":"topics"}'] * 100_000)
        bus.publish([trade(f"C{number}/USDT") for number in range(1000)])
        for _ in range(50):
            await asyncio.sleep(0.002)
            bus.publish([trade()])
        assert len(await steady.until_offset(1050)) == 1050
        assert max(client.queued_bytes for client in server.stats()) < 400_000


test_a_client_that_never_reads_costs_little = both(_never_reads)


async def _full_house(path: Path) -> None:
    async with serving(path, max_clients=1), peer(path) as first:
        await first.row()
        async with peer(path) as second:
            assert "has its 1 subscribers already" in (await second.rest())[0]["error"]
        assert (await first.ask({"op": "ping"}))["type"] == "pong"


test_there_is_a_most_of_subscribers = both(_full_house)

# --- the socket


async def test_the_socket_has_its_rights_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    group = grp.getgrgid(os.getgid()).gr_name
    for mode in (0o660, 0o600):
        server = FeedServer(FeedSettings(path=path, mode=mode, group=group), Bus("epoch"))
        await server.start()
        assert path.stat().st_mode & 0o777 == mode
        assert path.stat().st_gid == os.getgid()
        await server.stop(0)
        assert not path.exists()


async def test_the_socket_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(path), peer(path) as client:
        assert (await client.row())["type"] == "hello"


async def test_the_socket_of_a_live_daemon_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    async with serving(path):
        with pytest.raises(ConfigError, match=r"another daemon listens at .*feed.sock: stop it"):
            await FeedServer(FeedSettings(path=path), Bus("other")).start()
        async with peer(path) as client:
            assert (await client.row())["epoch"] == "epoch"


async def test_a_file_is_never_taken_for_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="is no socket"):
        await FeedServer(FeedSettings(path=path), Bus("epoch")).start()
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "group", "complaint"),
    [
        ("none/feed.sock", None, "cannot listen at .*: No such file or directory"),
        ("x" * 200, None, "cannot listen at .*: AF_UNIX path too long"),
        ("feed.sock", "no-such-group", "'no-such-group' is not a group"),
    ],
)
async def test_why_it_cannot_listen(name: str, group: str | None, complaint: str, tmp_path: Path) -> None:
    server = FeedServer(FeedSettings(path=tmp_path / name, group=group), Bus("epoch"))
    with pytest.raises(ConfigError, match=complaint):
        await server.start()
    assert list(tmp_path.iterdir()) == []
    await server.stop(0)


async def test_the_socket_of_a_successor_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    async with serving(path):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))
    assert path.exists()


async def _drain(path: Path) -> None:
    """At the stop everyone gets the time to read what is there, and who does not read is not waited for long."""
    bus = Bus("epoch")
    server = FeedServer(FeedSettings(path=path), bus)
    await server.start()
    bus.attach(server.publish)
    async with subscriber(path, "trades:*:*") as steady, subscriber(path, "trades:*:*") as stopped:
        stopped.writer.transport.pause_reading()
        bus.publish([trade() for _ in range(5000)])
        stopping = asyncio.ensure_future(server.stop(0.3))
        assert [row["offset"] for row in await steady.rest()] == list(range(1, 5001))
        await asyncio.wait_for(stopping, PATIENCE)
        assert server.stats() == []


test_a_stop_drains = both(_drain)


@pytest.mark.skipif(shutil.which("nc") is None, reason="nc is not installed")
async def test_netcat_is_a_client(tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    async with serving(path) as (bus, server):
        command = ["sh", "-c", f"echo 'trades:*:BTC/USDT' | nc -U {path}"]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout is not None
        await eventually(lambda: bool(server.stats() and server.stats()[0].topics))
        bus.publish([trade("ETH/USDT"), trade()])
        rows = [json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE)) for _ in range(3)]
        assert [row.get("offset", row["type"]) for row in rows[1:]] == ["subscribed", 2]
        os.killpg(process.pid, signal.SIGKILL)  # the shell, and nc, which holds the pipe's other end
        await process.wait()


# --- the state of topics


class States:
    """Topics whose states a bus can ask for."""

    def __init__(self, bus: Bus) -> None:
        self.found = [
            Health(exchange="alpha", channel=channel, raw_symbol=name, symbol=f"{name}/USDT", state=state, ts_recv=7)
            for channel, name, state in (("trades", "BTC", "live"), ("trades", "ETH", "quiet"), ("book", "BTC", "down"))
        ]  # type: ignore[misc]
        bus.add_health(lambda: self.found)


async def _told(path: Path) -> None:
    async with serving(path) as (bus, _), peer(path) as client:
        await client.row()
        states = States(bus)
        bus.publish([trade(), trade()])
        assert (await client.ask("trades:alpha:*"))["type"] == "subscribed"
        rows = [await client.row(), await client.row()]
        assert [(row["type"], row["symbol"], row["state"], row["offset"]) for row in rows] == [
            ("health", "BTC/USDT", "live", 2),
            ("health", "ETH/USDT", "quiet", 2),
        ]
        states.found[0].state = "stalled"
        assert (await client.ask({"op": "subscribe", "topics": ["*:*:BTC/USDT"], "time": "iso"}))[
            "type"
        ] == "subscribed"
        rows = [await client.row(), await client.row()]
        assert [(row["channel"], row["state"], row["ts_recv"]) for row in rows] == [
            ("trades", "stalled", "1970-01-01T00:00:00.000000007Z"),
            ("book", "down", "1970-01-01T00:00:00.000000007Z"),
        ]
        assert (await client.ask("trades:beta:*"))["type"] == "subscribed"
        assert (await client.ask({"op": "ping"}))["type"] == "pong"


test_a_new_subscriber_is_told_the_state_of_each_of_its_topics = both(_told)


async def _told_apart(path: Path) -> None:
    async with (
        serving(path) as (bus, _),
        subscriber(path, "health:*:*") as only,
        subscriber(path, "book:alpha:*") as all,
    ):
        States(bus)
        summary = Counts(Origin("alpha", "alpha/main.1#1")).summary((), Now(1, 1), "line lost")
        bus.publish([summary])
        assert (await all.row())["bye"] == "line lost"
        assert (await only.ask("health:alpha:*"))["type"] == "subscribed"
        assert [(await only.row())["state"] for _ in range(3)] == ["live", "quiet", "down"]
    async with serving(path) as (bus, _), subscriber(path, "summary:*:*") as client:
        bus.publish([trade()])
        bus.publish([Counts(Origin("beta", "beta/main.1#1")).summary((), Now(1, 1))])
        assert (await client.row())["exchange"] == "beta"


test_a_summary_comes_with_every_topic_of_its_exchange = both(_told_apart)
