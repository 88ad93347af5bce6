"""Exchanges on loopback: one port, WebSocket and HTTP, at `ws://HOST:PORT/<original host>/<original path>`."""

import asyncio
import importlib
import random
import time
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from itertools import takewhile
from types import TracebackType
from typing import Self

from aiohttp import WSMsgType, web

from aggregator.capture.tape import Recorded, Tape, load
from aggregator.ingest.weight import LARGEST_BODY_BYTES
from aggregator.sandbox.client import Client
from aggregator.sandbox.control import Command, SandboxControl
from aggregator.sandbox.faults import FaultLog, Faults
from aggregator.sandbox.hostile import INSTRUMENTS, Wire, answer, false_certificate, many, refuse
from aggregator.sandbox.settings import (
    AT_START,
    HOSTILE,
    ON_FRAMES,
    ON_HANDSHAKES,
    ON_REQUESTS,
    ON_REST,
    TIMED,
    SandboxSettings,
    check_fault,
    is_loopback,
)
from aggregator.simulation import Change, Deal, Market, Said, Simulation

STEP_S = 0.005  # between two bursts of a simulated market
LEAD_S = 1.0  # a played-back connection waits so long for the client to ask for something
RETRY_AFTER = "1"
SAMPLE = 1000  # instruments by which the size of a listing is judged
PATIENCE_S = 5.0


class Simulated:
    """One simulated exchange: its protocol, its markets, and who listens to what."""

    def __init__(self, id: str, seed: int) -> None:
        """Load the protocol. Raises ValueError where none of that id exists."""
        try:
            self.simulation: Simulation = importlib.import_module(f"connectors.simulated.{id}").SIMULATION
        except ModuleNotFoundError:
            raise ValueError(f"{id!r} cannot be simulated") from None
        self.id = id
        self._rng = random.Random(f"{seed}:{id}")
        made = [
            Market(base, quote, price, decimals, random.Random(f"{seed}:{id}:{base}"))
            for base, quote, price, decimals in self.simulation.markets
        ]
        self.markets = {self.simulation.name(market): market for market in made}
        self._many: dict[str, Market] = {}
        self.listeners: dict[str, set[Client]] = {}
        self.refuse_until = 0.0

    def step(self) -> int:
        """Let one thing happen; how many frames it gave."""
        market = self._rng.choice(list(self.markets.values()))
        now = time.time_ns()
        chance = self._rng.random()
        event: Change | Deal | None = market.change(now) if chance < 0.5 else market.deal(now) if chance < 0.8 else None
        frames = 0
        for said in self.simulation.say(event, market, self.listeners.keys(), now):  # type: ignore[arg-type]
            for client in self.listeners.get(said.topic, ()):
                client.offer(said)
                frames += 1
        return max(frames, 1)

    def hear(self, client: Client, frame: bytes) -> None:
        """Answer a client's frame."""
        refusal = next((kind for kind in ON_REQUESTS if client.faults.wanted.get(kind)), None)
        try:
            if refusal is None:
                heard = self.simulation.hear(frame, self.markets, time.time_ns())
            else:
                client.faults.note(refusal)
                heard = refuse(refusal, self.simulation, frame, time.time_ns())
        except Exception:  # noqa: BLE001 - whatever a client sends, it is no request
            client.offer(b'{"error":"not a request of this exchange"}')
            return
        for reply in heard.replies:
            client.offer(reply)
        for topic in heard.unsubscribe:
            client.topics.discard(topic)
            self._forget(topic, client)
        for said in heard.first:
            client.offer(said)
        for topic in heard.subscribe:
            client.topics.add(topic)
            self.listeners.setdefault(topic, set()).add(client)

    def answer(self, path: str, query: Mapping[str, str], *, is_long: bool = False) -> tuple[int, bytes]:
        """Answer a request by REST; `is_long` adds many more markets than there are to a listing."""
        now = time.time_ns()
        status, body = self.simulation.answer(path, query, self.markets, now)
        if is_long:
            _, more = self.simulation.answer(path, query, self._markets(SAMPLE), now)
            if more != body:  # it grows with the markets, so it is a listing
                fitting = LARGEST_BODY_BYTES * SAMPLE * 9 // (len(more) * 10)  # rows grow with the number in the name
                self._many = self._many or self._markets(min(INSTRUMENTS, fitting))
                return self.simulation.answer(path, query, self._many, now)
        return status, body

    def _markets(self, count: int) -> dict[str, Market]:
        """So many markets: those that there are, and others like one of them."""
        return self.markets | many(self.markets, self.simulation, count - len(self.markets))

    def leave(self, client: Client) -> None:
        """The client is gone."""
        for topic in client.topics:
            self._forget(topic, client)
        self.refuse_until = max(self.refuse_until, client.refuse_until)

    def _forget(self, topic: str, client: Client) -> None:
        listeners = self.listeners.get(topic, set())
        listeners.discard(client)
        if not listeners:
            self.listeners.pop(topic, None)


class Sandbox:
    """`async with Sandbox(settings) as sandbox`: serves until the end of the block."""

    def __init__(self, settings: SandboxSettings) -> None:
        """Read the captures and load the protocols. Raises OSError, BadFrame or ValueError."""
        if settings.hostile and not settings.simulate:
            raise ValueError("only simulated exchanges can be hostile: name some with --simulate")
        _guard(settings, settings.hostile)
        self.settings = settings
        self.log = FaultLog(settings.fault_log)
        self.tape: Tape = load(settings.captures)
        self.simulated = {id: Simulated(id, settings.seed) for id in settings.simulate}
        self.clients: dict[str, Client] = {}
        self.port = 0
        self._by_host = {
            _host(host): exchange for exchange in self.simulated.values() for host in exchange.simulation.hosts
        }
        self._next: dict[str, int] = {}
        self._faults = dict(settings.faults)
        self._turns: Counter[str] = Counter()  # the number of the next hostile behaviour, for lines and for REST
        self._numbers = 0
        self._rng = random.Random(settings.seed)
        self._running = asyncio.Event()
        self._running.set()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Listen. Raises OSError."""
        app = web.Application()
        app.router.add_route("*", "/{host}/{path:.*}", self._handle)
        app.router.add_route("*", "/{host}", self._handle)
        self._site = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._site.setup()
        self._control = SandboxControl(self.settings.control, self._obey) if self.settings.control else None
        try:
            tls = false_certificate() if self._is_false else None
            await web.TCPSite(self._site, self.settings.host, self.settings.port, ssl_context=tls).start()
            if self._control is not None:
                await self._control.start()
        except OSError:
            await self._site.cleanup()
            self.log.close()
            raise
        self.port = self._site.addresses[0][1]
        if self.simulated:
            self._tasks.append(asyncio.create_task(self._trade()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Hang up and listen no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in list(self.clients.values()):
            client.cut()
        if self._control is not None:
            await self._control.stop()
        await self._site.cleanup()
        self.log.close()

    def endpoints(self, id: str | None = None) -> dict[str, str]:
        """The `[exchanges.endpoints]` of a simulated exchange, or (without an id) of all that is played back."""
        hosts = self.simulated[id].simulation.hosts if id is not None else self.tape.hosts()
        return self.here({host: host for host in hosts})

    def here(self, hosts: Mapping[str, str]) -> dict[str, str]:
        """Where each of these addresses, as scheme and host, has what is served of another, or of itself."""
        at = f"{self.settings.host}:{self.port}"
        secure = "s" if self._is_false else ""
        return {host: f"{_here(host)}{secure}://{at}/{_host(served)}" for host, served in hosts.items()}

    @property
    def _is_false(self) -> bool:
        return any(kind in AT_START for kind in self.settings.hostile)

    def lend(self, answers: Mapping[str, bytes]) -> None:
        """Answer these addresses too."""
        self.tape.answers |= {url: (200, body) for url, body in answers.items()}

    # --- serving ----------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        host = request.match_info["host"]
        exchange = self._by_host.get(host)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._converse(request, host, exchange)
        if self._rng.random() < self._faults.get("http_429", 0):
            self._faults_of("http", exchange).note("http_429")
            return web.Response(status=429, headers={"Retry-After": RETRY_AFTER}, text="{}")
        hostile = self._hostile(ON_REST, "http", exchange)
        if exchange is not None:
            status, body = exchange.answer(request.path, request.query, is_long=hostile == "rest_listing")
        else:
            status, body = self._recorded_answer(host, request)
        if hostile is not None:
            return await answer(hostile, request, body)
        return web.Response(status=status, body=body, content_type="application/json")

    def _hostile(self, kinds: Collection[str], conn: str, exchange: Simulated | None) -> str | None:
        """The hostile behaviour of these kinds that is due now, and logged: one that is on, or the next in turn."""
        kind = next((kind for kind in kinds if self._faults.get(kind)), None) or self._turn(kinds)
        if kind is not None:
            self._faults_of(conn, exchange).note(kind)
        return kind

    def _turn(self, kinds: Collection[str]) -> str | None:
        """The next behaviour of the settings, if it is of these kinds; a good answer by REST comes between two bad."""
        border = "rest" if kinds is ON_REST else "line"
        listed: list[str | None] = []
        for name in self.settings.hostile:
            if name not in AT_START and (name in ON_REST) == (border == "rest"):
                listed += [name, None] if border == "rest" else [name]
        if not listed:
            return None
        kind = listed[self._turns[border] % len(listed)]
        if border == "rest" or kind in kinds:
            self._turns[border] += 1
        return kind if kind in kinds else None

    def _recorded_answer(self, host: str, request: web.Request) -> tuple[int, bytes]:
        path = request.raw_path.removeprefix(f"/{host}")
        for address in (f"https://{host}{path}", f"https://{host}{path.partition('?')[0]}"):
            if address in self.tape.answers:
                return self.tape.answers[address]
        return 404, b'{"error":"no capture holds an answer of this address"}'

    def _faults_of(self, conn: str, exchange: Simulated | None) -> Faults:
        return Faults(exchange.id if exchange else "playback", conn, self._faults, self.settings.seed, self.log)

    async def _converse(self, request: web.Request, host: str, exchange: Simulated | None) -> web.StreamResponse:
        if exchange is not None and asyncio.get_running_loop().time() < exchange.refuse_until:
            return web.Response(status=503, text="refused")
        recorded = None if exchange else self._recorded_connection(host, request.path)
        if exchange is None and recorded is None:
            return web.Response(status=404, text="no capture holds a connection to this address")
        hostile = self._hostile(ON_HANDSHAKES, "handshake", exchange)
        if hostile is not None:
            return await answer(hostile, request, b"")
        socket = web.WebSocketResponse(autoping=False, compress=self._is_hostile, max_msg_size=2**20)
        try:
            await socket.prepare(request)
        except ConnectionError:
            return web.Response(status=400, text="the client has left")
        self._numbers += 1
        client = self._client(socket, request, exchange)
        self.clients[client.conn] = client
        tasks = [asyncio.create_task(work) for work in (client.write(), self._misbehave(client), client.torment())]
        asked = asyncio.Event()
        if recorded is not None:
            tasks.append(asyncio.create_task(self._play(client, recorded, asked)))
        try:
            for greeting in exchange.simulation.greeting if exchange else ():
                client.offer(greeting)
            await self._listen(socket, client, exchange, asked)
        finally:
            del self.clients[client.conn]
            if exchange is not None:
                exchange.leave(client)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return socket

    @property
    def _is_hostile(self) -> bool:
        return bool(self.settings.hostile)

    def _client(self, socket: web.WebSocketResponse, request: web.Request, exchange: Simulated | None) -> Client:
        """The client that has connected. A simulated exchange may be hostile to it from the start."""
        faults = self._faults_of(str(self._numbers), exchange)
        wire = None
        if exchange is not None and isinstance(request.transport, asyncio.Transport):
            wire = Wire(request.transport, exchange.simulation, exchange.markets)
            wire.is_packed = bool(socket.compress)
            hostile = self._turn([*ON_FRAMES, *ON_REQUESTS, *TIMED])
            if hostile is not None:
                faults.wanted[hostile] = 1.0
        return Client(socket, request, faults, wire)

    async def _listen(
        self, socket: web.WebSocketResponse, client: Client, exchange: Simulated | None, asked: asyncio.Event
    ) -> None:
        """Hear a client until it leaves; one that is half open is not answered."""
        async for message in socket:
            if client.faults.is_half_open:
                continue
            if message.type is WSMsgType.PING:
                with suppress(ConnectionError):
                    await socket.pong(message.data)
            elif message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                asked.set()
                if exchange is not None:
                    frame = message.data.encode() if isinstance(message.data, str) else bytes(message.data)
                    exchange.hear(client, frame)

    async def _misbehave(self, client: Client) -> None:
        while True:
            await asyncio.sleep(0.05)
            await client.misbehave()

    # --- playback ---------------------------------------------------------------------------------------------------

    def _recorded_connection(self, host: str, path: str) -> Recorded | None:
        """The recorded connections of an address take turns; where there is none, those of the address most like it."""
        own = path.removeprefix(f"/{host}").rstrip("/")
        found = [r for r in self.tape.connections if _host(r.url) == host]
        if not found:
            return None
        likest = max((_path(r.url) for r in found), key=lambda other: (other == own, _alike(other, own)))
        found = [r for r in found if _path(r.url) == likest]
        turn = self._next[host + own] = self._next.get(host + own, -1) + 1
        return found[turn % len(found)]

    async def _play(self, client: Client, recorded: Recorded, asked: asyncio.Event) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAD_S):
                await asked.wait()
        loop = asyncio.get_running_loop()
        while True:
            start = loop.time()
            for at, frame, is_binary in recorded.frames:
                wait = start + at / self.settings.speed - loop.time() if self.settings.speed else 0
                if wait > 0:
                    await asyncio.sleep(wait)
                await client.play(Said("playback", "status", "", frame, None), is_binary=is_binary)
            if not self.settings.loop:
                return
            await asyncio.sleep(0)

    # --- the simulated market ---------------------------------------------------------------------------------------

    async def _trade(self) -> None:
        """Let things happen at the wanted rate, over all simulated exchanges in turn."""
        loop = asyncio.get_running_loop()
        exchanges = list(self.simulated.values())
        owed, at = 0.0, loop.time()
        while True:
            await asyncio.sleep(STEP_S)
            await self._running.wait()
            now = loop.time()
            owed = min(owed + (now - at) * self.settings.rate, self.settings.rate)
            at = now
            while owed > 0:
                owed -= self._rng.choice(exchanges).step()

    # --- control ----------------------------------------------------------------------------------------------------

    def _obey(self, command: Command) -> object:
        """Carry out one command of the control socket. Raises ValueError that says what is allowed."""
        if command.op in {"fault", "fault_off"}:
            return self._set_fault(command)
        if command.op in {"pause", "resume"}:
            (self._running.clear if command.op == "pause" else self._running.set)()
            return {"running": self._running.is_set()}
        if command.op == "books":
            return {
                exchange.id: {
                    name: dict(zip(("bids", "asks"), m.levels(), strict=True)) for name, m in exchange.markets.items()
                }
                for exchange in self.simulated.values()
                if command.exchange in {"*", exchange.id}
            }
        if command.op == "log":
            return [entry for entry in self.log.entries if command.exchange in {"*", entry.exchange}]
        if command.op == "stats":
            clients = {c.conn: {"exchange": c.faults.exchange, "sent": c.sent} for c in self.clients.values()}
            return {"clients": clients, "faults": self.log.counts}
        raise ValueError(f"{command.op!r} is no command; there are: fault, fault_off, books, pause, resume, log, stats")

    def _set_fault(self, command: Command) -> object:
        _guard(self.settings, [command.kind])
        concerned = [
            client.faults
            for client in self.clients.values()
            if command.exchange in {"*", client.faults.exchange} and command.conn in {"*", client.conn}
        ]
        wanted = [faults.wanted for faults in concerned]
        if command.exchange == command.conn == "*":
            wanted.append(self._faults)  # new connections get it too
        for faults in wanted:
            if command.op == "fault":
                faults[command.kind] = check_fault(command.kind, command.value)
            else:
                faults.pop(command.kind, None) if command.kind else faults.clear()
        return {"connections": len(concerned)}


def _guard(settings: SandboxSettings, kinds: Collection[str]) -> None:
    """Raise ValueError where something hostile would be reached from elsewhere."""
    if any(kind in HOSTILE for kind in kinds) and not is_loopback(settings.host):
        raise ValueError(f"what is hostile is served on loopback alone, and {settings.host} is not")


def _host(url: str) -> str:
    return url.split("://", 1)[-1].split("/", 1)[0]


def _alike(one: str, other: str) -> int:
    """How many characters of two addresses are the same, from the first one on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _path(url: str) -> str:
    return "/" + url.split("://", 1)[-1].partition("?")[0].partition("/")[2].rstrip("/") if url else ""


def _here(url: str) -> str:
    return "ws" if url.startswith("ws") else "http"
