import asyncio
import json
import os
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import uvloop

from aggregator import __version__
from aggregator.bus.bus import Bus
from aggregator.bus.view import Wanted
from aggregator.feed.address import UnixAddress, parse_address
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Levels, Trade
from aggregator.session.moment import Now
from aggregator.session.summaries import Counts
from aggregator.session.topics import Origin
from tests.support import websocket
from tests.support.views import Fixed

pytestmark = pytest.mark.waits

Row = dict[str, Any]
PATIENCE = 10.0  # seconds; nothing here takes nearly as long
TAKEN = 256 * 1024  # bytes that the system takes for a client that does not read


class Spot:
    """A place where a feed listens, by one of the transports."""

    def __init__(self, transport: str, directory: Path) -> None:
        self.transport = transport
        self.is_unix = transport == "unix"
        self.address = parse_address(f"unix:{directory}/feed.sock" if self.is_unix else f"{transport}:127.0.0.1:0")

    async def connect(self, ahead: int) -> tuple[asyncio.StreamReader, Any]:
        """A reader of lines, and an `asyncio.StreamWriter` or what is like one."""
        if self.transport == "http":
            return await websocket.connect(self.socket(), "/feed", ahead)
        if isinstance(self.address, UnixAddress):
            return await asyncio.open_unix_connection(self.address.path, limit=ahead)
        return await asyncio.open_connection(sock=self.socket(), limit=ahead)

    def socket(self) -> socket.socket:
        """A connected socket that takes little on its own, as unix sockets do."""
        if isinstance(self.address, UnixAddress):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(self.address.path))
        else:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TAKEN)
            sock.connect((self.address.host, self.address.port))
        return sock


Scenario = Callable[[Spot], Coroutine[Any, Any, None]]
TRANSPORTS = ("unix", "tcp", "http")


@pytest.fixture(params=TRANSPORTS)
def spot(request: pytest.FixtureRequest, tmp_path: Path) -> Spot:
    return Spot(request.param, tmp_path)


def both(scenario: Scenario) -> Callable[..., None]:
    """Run a scenario over every transport, on the standard library's loop and on uvloop."""

    @pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
    def test(run: Callable[[Awaitable[None]], None], spot: Spot) -> None:
        run(scenario(spot))

    return test


@asynccontextmanager
async def serving(
    spot: Spot, *, ring: int = 10_000, max_clients: int = 1000, bus: Bus | None = None
) -> AsyncIterator[tuple[Bus, FeedServer]]:
    bus = bus or Bus("epoch")
    server = FeedServer(FeedSettings(listen=(spot.address,), ring=ring, max_clients=max_clients), bus)
    await server.start()
    spot.address = parse_address(server.addresses[0])
    bus.attach(server.publish)
    try:
        yield bus, server
    finally:
        bus.detach(server.publish)
        await server.stop(0)


class Peer:
    """A client that says what the test wants, well-behaved or not."""

    def __init__(self, reader: asyncio.StreamReader, writer: Any) -> None:
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

    def pause(self) -> None:
        """Take nothing from the socket."""
        transport: Any = self.writer.transport  # a socket's, which is read from, too
        transport.pause_reading()

    def resume(self) -> None:
        transport: Any = self.writer.transport
        transport.resume_reading()

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
async def peer(spot: Spot, *, ahead: int = 2**24) -> AsyncIterator[Peer]:
    """A client that takes some bytes `ahead` of the test's reading: a quick one many, a slow one few."""
    reader, writer = await spot.connect(ahead)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()  # what is unsent may never be taken
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def subscriber(spot: Spot, *topics: str, ahead: int = 2**24) -> AsyncIterator[Peer]:
    async with peer(spot, ahead=ahead) as client:
        assert (await client.row())["type"] == "hello"
        assert (await client.ask(" ".join(topics)))["type"] == "subscribed"
        yield client


def trade(symbol: str = "BTC/USDT", exchange: str = "alpha", price: str = "1.50") -> Trade:
    return Trade(exchange=exchange, symbol=symbol, raw_symbol=symbol.replace("/", ""), ts_recv=1, price=price, size="1")


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_so():  # noqa: ASYNC110 - what is awaited is the server's, and it tells nobody
            await asyncio.sleep(0.01)


async def all_left(spot: Spot, bus: Bus, server: FeedServer) -> None:
    """Wait until nobody is there; over TCP one that ended its side first is found when something is sent to it."""

    def is_so() -> bool:
        if not spot.is_unix:
            bus.publish([trade(), BookDelta(exchange="alpha", symbol=None, raw_symbol="BTCUSD", bids=[], asks=[])])
        return not server.status().subscribers

    await eventually(is_so)


class Market:
    """Books that change at random, their records numbered as an exchange would; also the view that a bus asks."""

    def __init__(self, bus: Bus, names: list[str]) -> None:
        self.bus = bus
        self.models = {name: Model() for name in names}
        self.alive = dict.fromkeys(names, True)
        self._random = random.Random(7)
        bus.views.add("alpha", self)

    def book(self, raw_symbol: str) -> BookSnapshot | None:
        is_live = raw_symbol in self.models and self.alive[raw_symbol]
        return self.snapshot(raw_symbol, "request") if is_live else None

    def books(self) -> list[BookSnapshot]:
        return [self.snapshot(name, "request") for name in self.models if self.alive[name]]

    def health(self, *_: object) -> list[Health]:
        return []

    def wanted(self) -> list[Wanted]:
        return []

    def snapshot(self, name: str, reason: Literal["initial", "resync", "periodic", "request"]) -> BookSnapshot:
        book = self.models[name]
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
        book = self.models[name]
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
        kind, name = row["type"], row.get("raw_symbol", "")
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


async def _greeting(spot: Spot) -> None:
    async with serving(spot) as (bus, _):
        bus.publish([trade(), trade()])
        async with peer(spot) as client:
            expected = {"type": "hello", "schema": 1, "epoch": "epoch", "offset": 2, "version": __version__}
            assert await client.row() == expected


test_the_server_says_hello = both(_greeting)


async def _requests(spot: Spot) -> None:
    async with serving(spot) as (bus, server), peer(spot) as client:
        await client.row()
        bus.publish(
            [
                trade(),
                trade("ETH/USDT"),
                Health(exchange="alpha", symbol=None, raw_symbol="X", channel="book", state="live"),
            ]
        )
        assert await client.ask({"op": "ping", "id": "a"}) == {"type": "pong", "id": "a"}
        known = ["book:alpha:X", "trades:alpha:BTC/USDT", "trades:alpha:ETH/USDT"]
        assert await client.ask({"op": "topics"}) == {"type": "topics", "topics": known, "id": None}
        topics = ["trades:alpha:*", "book:beta:*"]
        expected = {"type": "subscribed", "topics": topics, "matched": 2, "id": 1}
        assert await client.ask({"op": "subscribe", "id": 1, "topics": topics}) == expected
        assert server.status().subscribers[0].topics == topics
        own = f"unix:pid={os.getpid()},uid={os.getuid()}"
        assert server.status().subscribers[0].peer == own or not spot.is_unix
        gone = {"op": "unsubscribe", "id": 2, "topics": ["trades:alpha:*"]}
        assert await client.ask(gone) == {"type": "unsubscribed", "topics": ["trades:alpha:*"], "id": 2}
        bus.publish([trade()])
        assert (await client.ask(gone))[
            "error"
        ] == "trades:alpha:* was not subscribed; name patterns as they were, or none"
        assert (await client.ask({"op": "unsubscribe"}))["topics"] == ["book:beta:*"]


test_every_request_is_answered = both(_requests)


async def _bare_lines(spot: Spot) -> None:
    async with serving(spot) as (bus, _), peer(spot) as client:
        await client.row()
        client.say(b"", b"  trades:*:BTC/USDT\tbook:alpha:*  \r")
        assert (await client.row())["topics"] == ["trades:*:BTC/USDT", "book:alpha:*"]
        bus.publish([trade("ETH/USDT"), trade(), trade(exchange="beta")])
        assert [(await client.row())["exchange"] for _ in range(2)] == ["alpha", "beta"]


test_bare_patterns_subscribe = both(_bare_lines)


async def _routes(spot: Spot) -> None:
    async with (
        serving(spot) as (bus, _),
        subscriber(spot, "trades:alpha:*") as alpha,
        subscriber(spot, "trades:*:BTC/USDT") as bitcoin,
        subscriber(spot, "*:*:*") as everything,
        subscriber(spot, "gap:*:*") as gaps,
    ):
        hole = Gap(exchange="beta", symbol=None, gap_id="1", phase="open", cause="disconnect", ts_from=1)
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


async def _order(spot: Spot) -> None:
    """What was published before a request is subject to what was wanted then, though one tick brings both."""
    async with serving(spot) as (bus, server), peer(spot) as client:
        await client.row()
        ours = next(iter(server.hub._subscribers.values()))
        bus.publish([trade()])
        server.hub._hear(ours, b"trades:*:*")
        bus.publish([trade()])
        server.hub._hear(ours, b'{"op":"unsubscribe"}')
        bus.publish([trade()])
        server.hub._hear(ours, b'{"op":"ping"}')
        rows = [await client.row() for _ in range(4)]
        assert [row.get("offset", row["type"]) for row in rows] == ["subscribed", 2, "unsubscribed", "pong"]


test_requests_take_effect_at_once = both(_order)


async def _options(spot: Spot) -> None:
    async with (
        serving(spot) as (bus, _),
        subscriber(spot, "trades:*:*") as plain,
        subscriber(spot, "trades:*:*") as other,
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


async def _snapshot_first(spot: Spot) -> None:
    async with serving(spot) as (bus, _):
        market = Market(bus, ["BTCUSD", "ETHUSD", "XRPUSD"])
        market.alive["XRPUSD"] = False
        bus.publish([market.snapshot("BTCUSD", "initial"), market.snapshot("ETHUSD", "initial")])
        bus.publish([market.delta(name) for name in market.models])
        async with subscriber(spot, "book:alpha:BTC/*", "book:alpha:XRP*") as client:
            row = await client.row()
            assert (row["type"], row["raw_symbol"], row["offset"]) == ("book_snapshot", "BTCUSD", 5)
            bus.publish([market.delta(name) for name in market.models])
            row = await client.row()
            assert (row["type"], row["raw_symbol"], row["offset"]) == ("book_delta", "BTCUSD", 6)
            bus.publish([market.snapshot("XRPUSD", "initial"), market.delta("XRPUSD")])
            rows = [await client.row() for _ in range(2)]
            assert [(row["type"], row["offset"]) for row in rows] == [("book_snapshot", 9), ("book_delta", 10)]


test_a_book_starts_with_a_snapshot = both(_snapshot_first)


async def _no_snapshot(spot: Spot) -> None:
    async with serving(spot) as (bus, _), peer(spot) as client:
        market = Market(bus, ["BTCUSD"])
        bus.publish([market.snapshot("BTCUSD", "initial")])
        await client.row()
        await client.ask({"op": "subscribe", "topics": ["book:*:*"], "snapshot": False})
        bus.publish([market.delta("BTCUSD")])
        assert (await client.row())["type"] == "book_delta"
        await client.ask({"op": "subscribe", "topics": ["book:*:*"]})
        assert (await client.row())["type"] == "book_snapshot"


test_a_snapshot_can_be_declined_and_had_again = both(_no_snapshot)


async def _late_server(spot: Spot) -> None:
    """A server that starts when books are live already knows them, and awaits those whose start nobody saw."""
    bus = Bus("epoch")
    market = Market(bus, ["BTCUSD", "ETHUSD"])
    market.alive["ETHUSD"] = False
    bus.publish([market.delta("BTCUSD")])
    async with serving(spot, bus=bus), subscriber(spot, "book:*:*") as client:
        assert (await client.row())["raw_symbol"] == "BTCUSD"
        bus.publish([market.delta("ETHUSD"), market.delta("BTCUSD")])
        assert (await client.row())["raw_symbol"] == "BTCUSD"
        bus.publish([market.snapshot("ETHUSD", "resync"), market.delta("ETHUSD")])
        assert [(await client.row())["type"] for _ in range(2)] == ["book_snapshot", "book_delta"]


test_books_that_were_live_before = both(_late_server)


async def _books_under_load(spot: Spot) -> None:
    """Clients come and go, and are slow, while books change: none ever has a book with a hole, and all end alike."""
    names = [f"{name}USD" for name in ("BTC", "ETH", "XRP", "SOL")]
    async with serving(spot, ring=300) as (bus, server):
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
            async with subscriber(spot, topics, ahead=2**16 if pause else 2**24) as client:
                while not (published.done() and has_all(reader)):
                    reader.read(await client.row())
                    if pause and reader.counts.total() % 100 == 0:
                        await asyncio.sleep(pause)
            return reader

        def has_all(reader: Reader) -> bool:
            ends = {name: book.sequence for name, book in market.models.items()}
            return {name: book.sequence for name, book in reader.books.items()} == ends

        published = asyncio.ensure_future(trading())
        published.add_done_callback(lambda _: bus.publish([*(market.delta(name) for name in names), trade()]))
        wishes = [("*:alpha:*", 0, 0), ("book:*:*", 0.01, 0), ("book:alpha:*USD", 0.05, 0.02), ("*:*:*", 0.02, 0.1)]
        readers = await asyncio.gather(*(following(*wish) for wish in wishes))
        for reader in readers:
            for name in names:
                assert vars(reader.books[name]) == vars(market.models[name])
        assert (readers[0].missed, readers[3].missed > 0) == (0, True)
        await all_left(spot, bus, server)


test_books_are_exact_under_load = both(_books_under_load)

# --- slow clients


async def _lag(spot: Spot) -> None:
    """A client stops, then reads: what it had and what it was told it missed is all, and in order."""
    total = 20_000
    async with (
        serving(spot, ring=500) as (bus, server),
        subscriber(spot, "trades:*:*") as slow,
        subscriber(spot, "trades:*:*") as quick,
    ):
        slow.pause()
        for _ in range(total // 50):
            bus.publish([trade() for _ in range(50)])
            await asyncio.sleep(0)
        offsets = [row["offset"] for row in await quick.until_offset(total)]
        assert offsets == list(range(1, total + 1))
        stats = max(server.status().subscribers, key=lambda client: client.queued_bytes)
        assert stats.queued <= 500
        assert stats.queued >= 400 or not spot.is_unix  # of TCP the system may take more just now
        assert stats.queued_bytes < 500 * 1000 + 512 * 1024
        slow.resume()
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
        lags = max(client.lags for client in server.status().subscribers)
        assert lags == 1 or (lags and not spot.is_unix)
        assert server.status().lags == lags


test_a_slow_client_is_told_what_it_missed = both(_lag)


async def _lag_of_books(spot: Spot) -> None:
    """After a lag no delta comes before a fresh snapshot, and what was withheld is counted as missed."""
    async with (
        serving(spot, ring=500) as (bus, _),
        subscriber(spot, "*:alpha:*") as slow,
        subscriber(spot, "*:alpha:*") as quick,
    ):
        names = ["BTCUSD", "ETHUSD"]
        market = Market(bus, names)
        bus.publish([market.snapshot(name, "initial") for name in names])
        readers = (Reader(), Reader())
        slow.pause()
        for _ in range(200):
            bus.publish([record for _ in range(15) for name in names for record in (market.delta(name), trade())])
            await asyncio.sleep(0)
        for row in await quick.until_offset(bus.offset):
            readers[0].read(row)
        slow.resume()
        while [book.sequence for book in readers[1].books.values()] != [3000, 3000]:
            readers[1].read(await slow.row())
        bus.publish([market.delta(name) for name in names])
        for client, reader in zip((quick, slow), readers, strict=True):
            for row in await client.until_offset(bus.offset):
                reader.read(row)
            assert reader.published == bus.offset
            assert {name: vars(book) for name, book in reader.books.items()} == {
                name: vars(book) for name, book in market.models.items()
            }
        assert readers[0].missed == 0
        snapshots = readers[1].counts["book_snapshot request"]
        assert snapshots == 2 or (snapshots > 2 and not spot.is_unix)


test_a_book_starts_anew_after_a_lag = both(_lag_of_books)


async def _all_want_the_same(spot: Spot) -> None:
    """A hundred subscribers of one wish cost one join; the stream's own bytes are shared where all is wanted."""
    async with serving(spot) as (bus, server):
        clients = [await spot.connect(2**16) for _ in range(100)]
        for reader, writer in clients:
            writer.write(b"trades:*:*\n")
            await reader.readline()
            await reader.readline()
        assert len(server.hub._routes._groups) == 1
        bus.publish([trade(), trade("ETH/USDT")])
        server.hub._collect()
        assert len({id(ring._chunks[0]) for ring in server.hub._subscribers}) == 1
        for reader, writer in clients:
            assert len(json.loads(await reader.readline())) > 9
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
        (" ".join(f"trades:*:*{n}" for n in range(51)).encode(), "more than the 50 topics with * beside other text"),
        (" ".join(f"trades:a{n}*:*" for n in range(51)).encode(), "more than the 50 topics with * beside other text"),
        (b'{"op":"topics","topics":[%b]}' % b",".join(b'"*:*:*%d"' % n for n in range(51)), "more than the 50 topics"),
        (" ".join(f"book.{n}:a:B" for n in range(1, 34)).encode(), "more than the 32 derived channels"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_bad_input_is_answered_and_the_connection_lives(line: bytes, complaint: str, spot: Spot) -> None:
    async with serving(spot) as (_, server), peer(spot) as client:
        await client.row()
        row = await client.ask(line)
        assert row["type"] == "error"
        assert complaint in row["error"]
        assert server.status().subscribers[0].topics == []
        assert await client.ask({"op": "ping", "id": 9}) == {"type": "pong", "id": 9}


async def test_what_a_connection_may_search_for_is_all_of_its_requests_together(spot: Spot) -> None:
    async with serving(spot), peer(spot) as client:
        await client.row()
        for first in (0, 25):
            line = " ".join(f"trades:*:*{n} trades:a*:{n} trades:a{n}:*" for n in range(first, first + 25))
            assert (await client.ask(line))["type"] == "subscribed"
        assert "more than the 50 topics" in (await client.ask("book:a*:*"))["error"]
        assert (await client.ask("book:*:* trades:a*:B"))["type"] == "subscribed"


async def test_an_error_names_the_request(spot: Spot) -> None:
    async with serving(spot), peer(spot) as client:
        await client.row()
        for request in ({"op": "subscribe", "topics": ["x"]}, {"op": "none"}, {"op": "unsubscribe", "topics": ["x"]}):
            assert (await client.ask({**request, "id": "mine"}))["id"] == "mine"


async def test_of_two_topics_with_one_bad_none_is_had(spot: Spot) -> None:
    async with serving(spot) as (_, server), peer(spot) as client:
        await client.row()
        assert (await client.ask("trades:*:* trads:*:*"))["type"] == "error"
        assert server.status().subscribers[0].topics == []


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_a_line_too_long_ends_the_connection(end: bytes, spot: Spot) -> None:
    async with serving(spot) as (_, server), peer(spot) as client:
        await client.row()
        client.writer.write(b"x" * 70_000 + end)
        error, bye = await client.rest()
        assert "more than 65536 bytes" in error["error"]
        assert bye == {"type": "bye", "reason": "a line was too long", "id": None}
        await eventually(lambda: not server.status().subscribers)


async def _half_close(spot: Spot) -> None:
    if spot.transport == "http":
        pytest.skip("a WebSocket is closed on both sides at once")
    async with serving(spot) as (bus, server), peer(spot) as client:
        await client.row()
        client.writer.write(b"trades:*:BTC/USDT")  # no newline, as printf leaves it
        client.writer.write_eof()
        assert (await client.row())["type"] == "subscribed"
        for offset in (1, 2):
            bus.publish([trade()])
            assert (await client.row())["offset"] == offset
        await asyncio.sleep(1.2)
        assert len(server.status().subscribers) == 1


test_a_client_that_ends_its_side_keeps_receiving = both(_half_close)


async def test_a_client_that_ends_its_side_without_a_topic_is_done(spot: Spot) -> None:
    if spot.transport == "http":
        pytest.skip("a WebSocket is closed on both sides at once")
    async with serving(spot), peer(spot) as client:
        client.say("what?")
        client.writer.write_eof()
        assert [row["type"] for row in await client.rest()] == ["hello", "error", "bye"]


async def _gone_in_silence(spot: Spot) -> None:
    """A peer that ended its side, and later is gone, is found; on a unix socket though nothing is published."""
    async with serving(spot) as (bus, server):
        async with peer(spot) as client:
            client.say("trades:*:*")
            await eventually(lambda: bool(server.status().subscribers and server.status().subscribers[0].topics))
            client.writer.write_eof()
        await all_left(spot, bus, server)


test_a_client_that_left_is_found = both(_gone_in_silence)


async def _reset(spot: Spot) -> None:
    """What it said and the end of it come at once: what was said to it is unread, so that its end is a reset."""
    async with serving(spot) as (_, server):
        clients = [spot.socket() for _ in range(20)]
        if spot.transport != "http":
            await eventually(lambda: len(server.status().subscribers) == len(clients))
        await asyncio.sleep(0.05)
        for client in clients:
            client.sendall(b"abc")
            client.close()
        await eventually(lambda: not server.status().subscribers)


test_a_client_that_was_reset_is_found = both(_reset)


async def _sudden_close(spot: Spot) -> None:
    async with serving(spot) as (bus, server), subscriber(spot, "trades:*:*") as steady:
        for _ in range(20):
            _, rude = await spot.connect(ahead=1)
            rude.write(b"trades:*:*\n")
            await eventually(
                lambda: len(server.status().subscribers) == 2 and bool(server.status().subscribers[1].topics)
            )
            bus.publish([trade() for _ in range(100)])
            rude.transport.abort()  # with everything unread
            bus.publish([trade() for _ in range(100)])
            await eventually(lambda: len(server.status().subscribers) == 1)
        assert [row["offset"] for row in await steady.until_offset(4000)] == list(range(1, 4001))


test_a_sudden_close_disturbs_nobody = both(_sudden_close)


async def _many_lines(spot: Spot) -> None:
    async with serving(spot), peer(spot) as client:
        client.say(*({"op": "ping", "id": number} for number in range(10_000)))
        await client.row()
        assert [(await client.row())["id"] for _ in range(10_000)] == list(range(10_000))


test_ten_thousand_lines_at_once = both(_many_lines)


async def _never_reads(spot: Spot) -> None:
    """Who asks without end and never reads is heard no more, and costs no more than a fixed amount."""
    async with serving(spot) as (bus, server), peer(spot) as hostile, subscriber(spot, "trades:*:*") as steady:
        hostile.pause()
        hostile.say(*['{"op":"topics"}'] * 100_000)
        bus.publish([trade(f"C{number}/USDT") for number in range(1000)])
        for _ in range(50):
            await asyncio.sleep(0.002)
            bus.publish([trade()])
        assert len(await steady.until_offset(1050)) == 1050
        assert max(client.queued_bytes for client in server.status().subscribers) < 400_000


test_a_client_that_never_reads_costs_little = both(_never_reads)


async def _full_house(spot: Spot) -> None:
    async with serving(spot, max_clients=1), peer(spot) as first:
        await first.row()
        async with peer(spot) as second:
            assert "has its 1 subscribers already" in (await second.rest())[0]["error"]
        assert (await first.ask({"op": "ping"}))["type"] == "pong"


test_there_is_a_most_of_subscribers = both(_full_house)


async def _drain(spot: Spot) -> None:
    """At the stop everyone gets the time to read what is there, and who does not read is not waited for long."""
    bus = Bus("epoch")
    server = FeedServer(FeedSettings(listen=(spot.address,)), bus)
    await server.start()
    spot.address = parse_address(server.addresses[0])
    bus.attach(server.publish)
    async with subscriber(spot, "trades:*:*") as steady, subscriber(spot, "trades:*:*") as stopped:
        stopped.pause()
        bus.publish([trade() for _ in range(5000)])
        stopping = asyncio.ensure_future(server.stop(0.3))
        *rows, bye = await steady.rest()
        assert [row["offset"] for row in rows] == list(range(1, 5001))
        assert bye == {"type": "bye", "reason": "the daemon ends", "id": None}
        await asyncio.wait_for(stopping, PATIENCE)
        assert server.status().subscribers == []


test_a_stop_drains = both(_drain)


# --- the state of topics


class States:
    """Topics whose states a bus can ask for."""

    def __init__(self, bus: Bus) -> None:
        self.found = [
            Health(channel="trades", raw_symbol="BTC", symbol="BTC/USDT", state="live", exchange="alpha", ts_recv=7),
            Health(channel="trades", raw_symbol="ETH", symbol="ETH/USDT", state="quiet", exchange="alpha", ts_recv=7),
            Health(channel="book", raw_symbol="BTC", symbol="BTC/USDT", state="down", exchange="alpha", ts_recv=7),
        ]
        bus.views.add("alpha", Fixed((), self.found))
        for topic in Fixed((), self.found).wanted():
            bus.views.tell([topic])


async def _told(spot: Spot) -> None:
    async with serving(spot) as (bus, _), peer(spot) as client:
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


async def _told_apart(spot: Spot) -> None:
    async with (
        serving(spot) as (bus, _),
        subscriber(spot, "health:*:*") as only,
        subscriber(spot, "book:alpha:*") as all,
    ):
        States(bus)
        summary = Counts(Origin("alpha", "alpha/main.1#1")).summary((), Now(1, 1), "line lost")
        bus.publish([summary])
        assert (await all.row())["bye"] == "line lost"
        assert (await only.ask("health:alpha:*"))["type"] == "subscribed"
        assert {(await only.row())["state"] for _ in range(3)} == {"live", "quiet", "down"}
    async with serving(spot) as (bus, _), subscriber(spot, "summary:*:*") as client:
        bus.publish([trade()])
        bus.publish([Counts(Origin("beta", "beta/main.1#1")).summary((), Now(1, 1))])
        assert (await client.row())["exchange"] == "beta"


test_a_summary_comes_with_every_topic_of_its_exchange = both(_told_apart)


# --- encodings and policies


async def _messages(client: Peer, count: int) -> list[Any]:
    """So many messages in MessagePack."""
    found = []
    for _ in range(count):
        size = int.from_bytes(await asyncio.wait_for(client.reader.readexactly(4), PATIENCE), "big")
        found.append(msgspec.msgpack.decode(await asyncio.wait_for(client.reader.readexactly(size), PATIENCE)))
    return found


async def _messagepack(spot: Spot) -> None:
    async with serving(spot) as (bus, _), peer(spot) as client:
        assert (await client.row())["type"] == "hello"
        client.say({"op": "hello", "encoding": "msgpack", "layout": "array", "id": 7})
        hello, schema = await _messages(client, 2)
        assert (hello["type"], hello["epoch"], hello["id"], schema["type"]) == ("hello", "epoch", 7, "schema")
        client.say({"op": "subscribe", "topics": ["trades:*:*"], "fields": ["price", "offset"]})
        subscribed, schema = await _messages(client, 2)
        assert (subscribed["type"], schema["types"]["trade"]) == ("subscribed", ["type", "offset", "price"])
        bus.publish([trade(), trade(price="2.00")])
        assert await _messages(client, 2) == [["trade", 1, "1.50"], ["trade", 2, "2.00"]]
        client.say({"op": "hello"})
        (error,) = await _messages(client, 1)
        assert "before anything is subscribed" in error["error"]


test_messagepack_and_arrays = both(_messagepack)


async def _unknown_field(spot: Spot) -> None:
    async with serving(spot), peer(spot) as client:
        await client.row()
        error = await client.ask({"op": "subscribe", "topics": ["trades:*:*"], "fields": ["prize"], "id": 1})
        assert (error["error"], error["id"]) == ("'prize' is a field of no record; docs/records.md has them all", 1)


test_a_field_that_no_record_has_is_refused = both(_unknown_field)


async def _disconnected(spot: Spot) -> None:
    """Who asked to be hung up on instead of losing records is, with the reason; nobody else notices."""
    async with serving(spot, ring=100) as (bus, server), subscriber(spot, "trades:*:*") as steady:
        async with peer(spot, ahead=2**16) as slow:
            await slow.row()
            await slow.ask({"op": "subscribe", "topics": ["trades:*:*"], "policy": "disconnect"})
            slow.pause()
            for _ in range(100):
                bus.publish([trade() for _ in range(90)])
                await asyncio.sleep(0)
            await asyncio.sleep(0.05)
            slow.resume()  # as late as it likes, within half a minute
            rows = await slow.rest()
        assert (rows[-1]["type"], "too slow" in rows[-1]["reason"]) == ("bye", True)
        assert [row for row in rows if row["type"] == "lag"] == []
        await eventually(lambda: len(server.status().subscribers) == 1)
        offsets = [row["offset"] for row in rows if row["type"] == "trade"]
        assert offsets == list(range(1, len(offsets) + 1)), "there is no hole before the end"
        assert len(offsets) < 9000
        assert [row["offset"] for row in await steady.until_offset(9000)] == list(range(1, 9001))


test_who_asked_for_that_is_hung_up_on_where_it_is_too_slow = both(_disconnected)
