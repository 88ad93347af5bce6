"""The runner over real sockets: connect, subscribe, lose the line, come back, stop."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from aggregator.bus import Batch, Bus
from aggregator.exchange import (
    Accepted,
    Event,
    Exchange,
    Limits,
    Listing,
    Poll,
    Refused,
    Request,
    Snapshot,
    Stream,
    Subscription,
)
from aggregator.network import Internet
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Instrument, Record, Trade
from aggregator.runner import ExchangeRunner, Outlet
from aggregator.sequence import contiguous

HOST = "wss://toy.example"
REST = "https://toy.example"


def parse(frame: bytes) -> Iterable[Event]:
    said = json.loads(frame)
    if "ack" in said:
        return (Accepted(id=said["ack"]),)
    if "refused" in said:
        return (Refused("no such symbol", id=said["refused"]),)
    if "price" in said:
        return (Trade(raw_symbol=said["s"], id=str(said["n"]), sequence=said["n"], price=said["price"], size="1"),)
    return (BookDelta(raw_symbol=said["s"], sequence=said["n"], bids=[(said["bid"], "1")], asks=[]),)


def subscribe(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    yield json.dumps({"id": id, "topics": [f"{s.channel}:{s.raw_symbol}" for s in wanted]}).encode()


def read_book(raw_symbol: str, body: bytes) -> BookSnapshot:
    said = json.loads(body)
    return BookSnapshot(raw_symbol=raw_symbol, sequence=said["n"], bids=[("1", "1")], asks=[("9", "1")])


def toy(**changes: object) -> Exchange:
    stream = {
        "url": f"{HOST}/ws",
        "channels": {"trades": "t", "book": "b"},
        "subscribe": subscribe,
        "parse": parse,
        "sequence": {"trades": contiguous, "book": contiguous},
        "snapshot": Snapshot(request=lambda s: Request(f"{REST}/book/{s}"), parse=read_book),
        "pace": 0.01,
    }
    poll = Poll(
        channels=("ticker",),
        every=0.05,
        request=lambda s: Request(f"{REST}/poll/{s}"),
        parse=lambda s, body: [Trade(raw_symbol=s, price=body.decode(), size="1")],
    )
    feeds = (Stream(**{**stream, **changes}), poll)  # type: ignore[arg-type]
    limits = Limits(weights={REST: (1000, 1)}, connects=(100, 1))
    return Exchange(id="toy", docs="https://toy.example", feeds=feeds, listing=Listing(), limits=limits)


class Server:
    """A toy exchange: what it was asked, and what it says, is the test's business."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.connections = 0
        self.sequence = 0
        self.refuse: set[str] = set()
        self.status = 200

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        self.sockets.append(socket)
        async for message in socket:
            asked = json.loads(message.data)
            self.asked.append(asked)
            bad = self.refuse & {topic.partition(":")[2] for topic in asked["topics"]}
            await socket.send_str(json.dumps({"refused": asked["id"]} if bad else {"ack": asked["id"]}))
        return socket

    async def book(self, _: web.Request) -> web.Response:
        if self.status != 200:
            return web.Response(status=self.status, headers={"Retry-After": "1"})
        return web.json_response({"n": self.sequence})

    async def poll(self, _: web.Request) -> web.Response:
        return web.Response(text="7")

    async def say(self, **fields: object) -> None:
        await self.sockets[-1].send_str(json.dumps(fields))

    async def trade(self, n: int, price: str = "5") -> None:
        await self.say(s="A", n=n, price=price)

    async def delta(self, n: int, bid: str = "2") -> None:
        self.sequence = n
        await self.say(s="A", n=n, bid=bid)


class Seen:
    """Everything published, and a way to wait for some of it."""

    def __init__(self, bus: Bus) -> None:
        self.records: list[Record] = []
        self._changed = asyncio.Event()
        bus.attach(self._take)

    def _take(self, batch: Batch) -> None:
        self.records += batch.records
        self._changed.set()

    def of(self, kind: type[Record]) -> list[Record]:
        return [record for record in self.records if type(record) is kind]

    async def until(self, kind: type[Record], count: int = 1, **fields: object) -> list[Record]:
        async with asyncio.timeout(10):
            while True:
                found = [r for r in self.of(kind) if all(getattr(r, k) == v for k, v in fields.items())]
                if len(found) >= count:
                    return found
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def running(
    exchange: Exchange, channels: Sequence[str] = ("trades", "book"), symbols: Sequence[str] = ("A",)
) -> AsyncIterator[tuple[Server, Seen, ExchangeRunner]]:
    server = Server()
    app = web.Application()
    app.router.add_get("/ws", server.socket)
    app.router.add_get("/book/{symbol}", server.book)
    app.router.add_get("/poll/{symbol}", server.poll)
    site = web.AppRunner(app, shutdown_timeout=0.1)
    await site.setup()
    await web.TCPSite(site, "127.0.0.1", 0).start()
    port = site.addresses[0][1]
    internet = Internet({HOST: f"ws://127.0.0.1:{port}", REST: f"http://127.0.0.1:{port}"})
    bus = Bus("test")
    instruments = [Instrument(raw_symbol=s, symbol=f"{s}/USD", base=s, quote="USD") for s in symbols]
    runner = ExchangeRunner(
        exchange, instruments, channels, ("1m",), network=internet.network(), bus=bus, outlet=Outlet(bus)
    )
    seen = Seen(bus)
    task = asyncio.create_task(runner.run())
    try:
        yield server, seen, runner
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await internet.close()
        await site.cleanup()


async def test_subscribes_joins_a_book_and_publishes_with_offsets() -> None:
    async with running(toy()) as (server, seen, _):
        await seen.until(Health, channel="book", state="syncing")
        await server.delta(1)
        await seen.until(BookSnapshot)
        await server.delta(2)
        await server.trade(1)
        await seen.until(BookDelta, sequence=2)
        trade = (await seen.until(Trade))[0]
        assert server.asked == [{"id": 1, "topics": ["trades:A", "book:A"]}]
        assert (trade.exchange, trade.symbol, trade.conn) == ("toy", "A/USD", "toy/main.1#1")
        assert [r.offset for r in seen.records] == list(range(1, len(seen.records) + 1))


async def test_a_lost_line_opens_gaps_that_the_next_one_closes() -> None:
    async with running(toy()) as (server, seen, _):
        await seen.until(Health, state="syncing")
        await server.delta(1)
        await server.trade(1)
        await seen.until(Trade)
        await seen.until(BookSnapshot)
        await server.sockets[-1].close()
        opened = await seen.until(Gap, 2, phase="open", cause="disconnect")
        assert {gap.channel for gap in opened} == {"trades", "book"}
        await seen.until(Health, 4, state="syncing")
        await server.trade(2)
        await server.delta(5)
        closed = await seen.until(Gap, 2, phase="close")
        repairs = {gap.channel: gap.repair for gap in closed}
        assert repairs == {"trades": "not_needed", "book": "none"}
        assert {gap.gap_id for gap in closed} == {gap.gap_id for gap in opened}
        assert server.connections == 2


async def test_trades_missed_while_away_are_counted() -> None:
    async with running(toy(), channels=("trades",)) as (server, seen, _):
        await seen.until(Health)
        await asyncio.sleep(0.05)
        await server.trade(1)
        await seen.until(Trade)
        await server.sockets[-1].close()
        await seen.until(Gap, phase="open")
        await seen.until(Health, 2, channel="trades", state="syncing")
        await server.trade(5)
        gap = (await seen.until(Gap, phase="close"))[0]
        assert (gap.cause, gap.missed, gap.repair) == ("disconnect", 3, "none")


async def test_one_refused_symbol_takes_no_other_down() -> None:
    async with running(toy(), channels=("trades",), symbols=("A", "B", "C")) as (server, seen, _):
        server.refuse = {"B"}
        down = await seen.until(Health, state="down")
        assert [health.raw_symbol for health in down] == ["B"]
        assert "no such symbol" in str(down[0].reason)
        await server.trade(1)
        await seen.until(Trade)
        assert server.connections == 1


async def test_a_frame_that_cannot_be_read_is_one_gap() -> None:
    async with running(toy(), channels=("trades",)) as (server, seen, _):
        await seen.until(Health)
        await asyncio.sleep(0.05)
        await server.sockets[-1].send_str("{broken")
        await server.trade(1)
        await seen.until(Trade)
        assert [gap.cause for gap in seen.of(Gap)] == ["parse_error"]
        assert server.connections == 1


async def test_snapshots_wait_out_a_429() -> None:
    async with running(toy(), channels=("book",)) as (server, seen, runner):
        server.status = 429
        await seen.until(Health, state="syncing")
        await server.delta(1)
        await asyncio.sleep(0.3)
        assert runner.rest.refused == 1
        server.status = 200
        await seen.until(BookSnapshot)


async def test_shards_by_the_declared_number_of_topics() -> None:
    symbols = tuple("ABCDE")
    async with running(toy(per_connection=2), channels=("trades",), symbols=symbols) as (server, seen, runner):
        await seen.until(Health, 5, state="syncing")
        assert server.connections == len(runner.shards) == 3


async def test_books_of_the_moment_stand_at_the_offset_of_the_stream() -> None:
    async with running(toy(), channels=("book",)) as (server, seen, runner):
        await seen.until(Health, state="syncing")
        await server.delta(1)
        await seen.until(BookSnapshot)
        await server.delta(2, bid="3")
        await seen.until(BookDelta, sequence=2)
        (book,) = runner.books("toy", "A")
        assert (book.bids, book.asks, book.sequence) == ([("3", "1"), ("1", "1")], [("9", "1")], 2)
        assert runner.books("other", None) == []


async def test_a_stop_always_stops() -> None:
    for delay in (0, 0.01, 0.05, 0.2):
        async with asyncio.timeout(5), running(toy()):
            await asyncio.sleep(delay)


@pytest.mark.parametrize("reason", ["refused", "handshake"])
async def test_an_exchange_that_cannot_be_reached_is_tried_again(reason: str) -> None:
    stream = {"url": "wss://nowhere.example/ws"} if reason == "refused" else {"url": f"{HOST}/book/A"}
    internet_target = {"wss://nowhere.example": "ws://127.0.0.1:1"}
    exchange = toy(**stream)
    bus = Bus("test")
    internet = Internet(internet_target)
    outlet = Outlet(bus)
    instruments = [Instrument(raw_symbol="A", symbol="A/USD")]
    runner = ExchangeRunner(
        exchange, instruments, ("trades",), ("1m",), network=internet.network(), bus=bus, outlet=outlet
    )
    task = asyncio.create_task(runner.run())
    await asyncio.sleep(0.2)
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await internet.close()
