"""One client's connection, from the exchange's side: its topics, its queue, and its faults."""

import asyncio
import random
from collections import deque
from collections.abc import Iterable

from aiohttp import WSMsgType, web

from aggregator.sandbox.faults import REFUSE_S, STALL_S, Faults
from aggregator.sandbox.hostile import SENDERS, TEXT, Wire, frame
from aggregator.simulation import Said

LOOK_S = 0.05  # between two looks at whether something hostile is to be done

LONGEST_QUEUE = 50_000  # frames; a reader that is this far behind is disconnected, as exchanges do


class Client:
    """A WebSocket that frames are offered to; faults are applied as they leave."""

    def __init__(
        self, socket: web.WebSocketResponse, request: web.Request, faults: Faults, wire: Wire | None = None
    ) -> None:
        """Take over a prepared socket; `wire` is how bytes of no message are sent, where the exchange is simulated."""
        self.faults = faults
        self._wire = wire
        self.topics: set[str] = set()
        self.sent: dict[str, int] = {}
        self.refuse_until = 0.0
        self._socket = socket
        self._request = request
        self._queue: deque[Said | bytes] = deque()
        self._filled = asyncio.Event()
        self._rng = random.Random(faults.conn)
        self._loop = asyncio.get_running_loop()

    @property
    def conn(self) -> str:
        """Its number, as the control socket and the log name it."""
        return self.faults.conn

    def offer(self, said: Said | bytes) -> None:
        """Queue a frame; what is no market data (bytes) is spared from faults."""
        if len(self._queue) >= LONGEST_QUEUE:
            self.faults.note("overflow")
            self.cut()
            return
        self._queue.append(said)
        self._filled.set()

    async def play(self, said: Said, *, is_binary: bool) -> None:
        """Send a recorded frame, when the reader has room for it."""
        for payload in self.faults.pass_on(said, self._loop.time()):
            await self._socket.send_frame(payload, WSMsgType.BINARY if is_binary else WSMsgType.TEXT)

    async def write(self) -> None:
        """Send what is offered until cancelled or cut."""
        while not self._socket.closed:
            self._filled.clear()
            while self._queue:
                await self._send(self._queue.popleft())
            await self._filled.wait()

    async def _send(self, said: Said | bytes) -> None:
        now = self._loop.time()
        frames: Iterable[bytes]
        if isinstance(said, bytes):
            frames = () if self.faults.is_half_open else (said,)
        else:
            frames = self.faults.pass_on(said, now)
            self.sent[said.topic] = self.sent.get(said.topic, 0) + 1
        if delay := self.faults.wanted.get("slow", 0):
            await asyncio.sleep(delay)
        for payload in frames:
            await self._say(payload)

    async def _say(self, payload: bytes) -> None:
        if self._wire is None:
            await self._socket.send_frame(payload, WSMsgType.TEXT)
        else:
            self._wire.latest = payload
            await self._wire.send(frame(TEXT, payload))

    async def torment(self) -> None:
        """Do what is hostile, again and again, while it is wanted of this connection."""
        noted: set[str] = set()
        while self._wire is not None:
            wanted = [kind for kind in SENDERS if self.faults.wanted.get(kind)]
            for kind in wanted:
                if kind not in noted:
                    noted.add(kind)
                    self.faults.note(kind)
                await SENDERS[kind](self._wire)
            noted &= set(wanted)
            await asyncio.sleep(0 if wanted else LOOK_S)

    async def misbehave(self) -> None:
        """Let a timed fault happen, if one is due."""
        kind = self.faults.due(self._loop.time())
        if kind is None:
            return
        self.faults.note(kind)
        if kind == "stall":
            self.faults.stalled_until = self._loop.time() + STALL_S
        elif kind == "half_open":
            self.faults.is_half_open = True
        elif kind == "close" and self._rng.random() < 0.5:
            await self._socket.close()
        else:
            if kind == "refuse":
                self.refuse_until = self._loop.time() + REFUSE_S
            self.cut()

    def cut(self) -> None:
        """End the connection without a word."""
        if self._request.transport is not None:
            self._request.transport.abort()
        self._filled.set()
