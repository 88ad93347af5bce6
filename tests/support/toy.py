"""A toy exchange over real sockets, and a runner on it: what it says is the test's business."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from aiohttp import web

from aggregator.bus.bus import Batch, Bus
from aggregator.exchange import (
    Accepted,
    Denied,
    Event,
    Exchange,
    Limits,
    Listing,
    Poll,
    Ready,
    Refused,
    Request,
    Snapshot,
    Stream,
    Subscription,
)
from aggregator.ingest.credentials import KeyPlace
from aggregator.ingest.network import Internet
from aggregator.ingest.runner import ExchangeRunner, SavedCheckpoints
from aggregator.ingest.shard import ConnectionPolicy
from aggregator.ingest.signing import Keyring
from aggregator.records import BookDelta, BookSnapshot, Channel, Instrument, Record, Trade
from aggregator.sequence import contiguous

HOST = "wss://toy.example"
REST = "https://toy.example"
PATIENCE = 20.0  # seconds; nothing here takes nearly as long


def parse(frame: bytes) -> Iterable[Event]:
    said = json.loads(frame)
    if "ready" in said:
        return (Ready(),)
    if "denied" in said:
        return (Denied(said["denied"]),)
    if "ack" in said:
        return (Accepted(id=said["ack"]),)
    if "refused" in said:
        return (Refused("no such symbol", id=said["refused"]),)
    if "price" in said:
        return (Trade(raw_symbol=said["s"], id=str(said["n"]), sequence=said["n"], price=said["price"], size="1"),)
    return (BookDelta(raw_symbol=said["s"], sequence=said["n"], bids=[(said["bid"], "1")], asks=[]),)


def subscribe(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    yield json.dumps({"id": id, "topics": [f"{s.channel}:{s.raw_symbol}" for s in wanted]}).encode()


def frames_of(op: str) -> object:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        yield json.dumps({"op": op, "id": id, "topics": [f"{s.channel}:{s.raw_symbol}" for s in wanted]}).encode()

    return ask


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
    limits = Limits(weights={REST: ((1000, 1),)}, connects=(100, 1))
    return Exchange(id="toy", docs="https://toy.example", feeds=feeds, listing=Listing(), limits=limits)


def leaving(**changes: object) -> Exchange:
    """The same, whose topics can be left."""
    return toy(subscribe=frames_of("+"), unsubscribe=frames_of("-"), **changes)


class Server:
    """A toy exchange: what it was asked, and what it says, is the test's business."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.connections = 0
        self.ended = asyncio.Event()  # some connection is over
        self.sequence = 0
        self.refuse: set[str] = set()  # raw symbols, or single topics like `bbo:A`
        self.status = 200
        self.polled = 200  # what polls are answered
        self.to_login = '{"ready":true}'  # what a login is answered

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        self.sockets.append(socket)
        async for message in socket:
            asked = json.loads(message.data)
            self.asked.append(asked)
            if "topics" not in asked:
                await socket.send_str(self.to_login)
                continue
            bad = self.refuse & {name for topic in asked["topics"] for name in (topic, topic.partition(":")[2])}
            await socket.send_str(json.dumps({"refused": asked["id"]} if bad else {"ack": asked["id"]}))
        self.ended.set()
        return socket

    async def book(self, _: web.Request) -> web.Response:
        if self.status != 200:
            return web.Response(status=self.status, headers={"Retry-After": "1"})
        return web.json_response({"n": self.sequence})

    async def poll(self, _: web.Request) -> web.Response:
        return web.Response(text="7", status=self.polled)

    async def say(self, **fields: object) -> None:
        await self.sockets[-1].send_str(json.dumps(fields))

    async def say_to_all(self, **fields: object) -> None:
        for socket in self.sockets:
            with suppress(ConnectionError):
                await socket.send_str(json.dumps(fields))

    async def trade(self, n: int, price: str = "5") -> None:
        await self.say(s="A", n=n, price=price)

    async def delta(self, n: int, bid: str = "2") -> None:
        self.sequence = n
        await self.say(s="A", n=n, bid=bid)


R = TypeVar("R", bound=Record)


class Seen:
    """Everything published, and a way to wait for some of it."""

    def __init__(self, bus: Bus) -> None:
        self.records: list[Record] = []
        self._changed = asyncio.Event()
        bus.attach(self._take)

    def _take(self, batch: Batch) -> None:
        self.records += batch.records
        self._changed.set()

    def of(self, kind: type[R]) -> list[R]:
        return [record for record in self.records if isinstance(record, kind)]

    async def until(self, kind: type[R], count: int = 1, **fields: object) -> list[R]:
        async with asyncio.timeout(PATIENCE):
            while True:
                found = [r for r in self.of(kind) if all(getattr(r, k) == v for k, v in fields.items())]
                if len(found) >= count:
                    return found
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def running(
    exchange: Exchange,
    channels: Sequence[Channel] = ("trades", "book"),
    symbols: Sequence[str] = ("A",),
    policy: ConnectionPolicy | None = None,
    left: SavedCheckpoints | None = None,
    places: Mapping[str, KeyPlace] | None = None,
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
    network, keyring = internet.network(), None
    if places is not None and exchange.keys is not None:
        keyring = Keyring(exchange.id, exchange.keys, places, network)
        network = keyring.network()
    bus = Bus("test")
    instruments = [Instrument(raw_symbol=s, symbol=f"{s}/USD", base=s, quote="USD") for s in symbols]
    runner = ExchangeRunner(
        exchange,
        channels,
        ("1m",),
        network=network,
        bus=bus,
        policy=policy,
        left=left,
        keyring=keyring,
    )
    seen = Seen(bus)
    runner.want(instruments)
    task = asyncio.create_task(runner.run())
    try:
        yield server, seen, runner
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await internet.close()
        await site.cleanup()
