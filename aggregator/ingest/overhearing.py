"""Overhearing: now and then one read of a connection is looked at, the frame beside the records that it became.

It costs nothing while nobody looks: a line calls its listener's `frames`, which is the connection's own, and only for
the next read after `prick_up` something else stands there.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlsplit

from msgspec import Struct

from aggregator.bus.bus import Batch, Bus
from aggregator.exchange import Address, Ignored, Request, Stream
from aggregator.ingest.connection import Connection
from aggregator.ingest.drift import Drift
from aggregator.ingest.lines import Line, LineListener
from aggregator.ingest.network import Answer, Network
from aggregator.records import CHANNEL_OF, SECOND_NS, Record
from aggregator.session.moment import Now

MOST_IN_DOUBT = 20  # frames of a connection that are looked at in a second after one could not be read
MOST_PLACES = 200  # addresses of answers by REST that are told apart


class Overheard(Struct, frozen=True):
    """A frame, and what became of it.

    conn: the connection that brought it
    frame: inflated
    at: when the socket was read
    records: those that were published of it
    error: why it could not be read; null: it could
    """

    conn: str
    frame: bytes
    at: Now
    records: list[Record]
    error: str | None


Tap = Callable[[Overheard], object]


class Ear:
    """A network whose connections can be overheard; what is heard is compared with what the exchange always sends."""

    def __init__(self, network: Network, bus: Bus, drift: Drift, measure: Callable[[Sequence[Record]], object]) -> None:
        """Hear nothing yet; `measure` gets the records of each frame that is looked at."""
        self.drift = drift
        self.taps: dict[str, list[Tap]] = {}  # by the name of a connection: all of it is heard
        self._network = network
        self._bus = bus
        self._measure = measure
        self._listeners: dict[_Listener, int] = {}  # how many frames of each could not be read, at the last look
        self._answered: dict[str, int] = {}  # by address, when an answer was last looked at (monotonic ns)

    def network(self) -> Network:
        """The network, with this ear at it."""
        return Network(self._dial, self._fetch, self._network.now)

    def prick_up(self) -> None:
        """Look at the next read of every connection, and at more where some could not be read. Call it each second."""
        for listener, before in self._listeners.items():
            unread = self._listeners[listener] = listener.connection.session.bad
            listener.hear(MOST_IN_DOUBT if unread > before else 1)

    def connections(self) -> list[Connection]:
        """Those that stand."""
        return [listener.connection for listener in self._listeners]

    def tap(self, conn: str, tap: Tap) -> None:
        """Let somebody hear all of a connection from now on."""
        self.taps.setdefault(conn, []).append(tap)
        for listener in self._listeners:
            if listener.connection.session.conn == conn:
                listener.hear(1)

    def untap(self, conn: str, tap: Tap) -> None:
        """Let them hear no more."""
        taps = self.taps.get(conn, [])
        if tap in taps:
            taps.remove(tap)
        if not taps:
            self.taps.pop(conn, None)
            for listener in self._listeners:
                if listener.connection.session.conn == conn:
                    listener.hear(0)

    async def _dial(self, address: Address, listener: LineListener) -> Line:
        if not isinstance(listener, Connection):
            return await self._network.dial(address, listener)
        overheard = _Listener(self, listener)
        line = await self._network.dial(address, overheard)
        self._listeners[overheard] = 0
        return line

    def forget(self, listener: "_Listener") -> None:
        """A connection has ended."""
        self._listeners.pop(listener, None)

    async def _fetch(self, request: Request) -> Answer:
        answer = await self._network.fetch(request)
        url, now = urlsplit(request.url), self._network.now()
        place = self.drift.place(f"{url.hostname}{url.path}")
        due = now.mono - self._answered.get(place, -SECOND_NS) >= SECOND_NS
        if due and (place in self._answered or len(self._answered) < MOST_PLACES) and answer.status < 300:
            self._answered[place] = now.mono
            self.drift.see(answer.body, now.wall, place=place)
        return answer

    def look(self, listener: "_Listener", payload: bytes, now: Now) -> None:
        """Hand on a frame, and look at what becomes of it."""
        connection = listener.connection
        session, before = connection.session, connection.session.bad
        records: list[Record] = []
        with self._published(records):
            connection.frames([payload], now)
        frame, error = _inflated(session.stream, payload)
        if session.bad > before:
            seen = session.bad_frames[-1].error if session.bad_frames else None
            error = f"{type(seen).__name__}: {seen}" if seen is not None else "it cannot be read"
        for tap in self.taps.get(session.conn, ()):
            tap(Overheard(session.conn, frame, now, records, error))
        self._measure(records)
        self.drift.see(
            frame,
            now.wall,
            channels=sorted({CHANNEL_OF[type(each)] for each in records if type(each) in CHANNEL_OF}),
            is_understood=partial(_is_understood, session.stream, frame),
            unread=error,
        )

    @contextmanager
    def _published(self, into: list[Record]) -> Iterator[None]:
        """Take down what is published meanwhile."""

        def take(batch: Batch) -> None:
            into.extend(batch.records)

        self._bus.attach(take)
        try:
            yield
        finally:
            self._bus.detach(take)


class _Listener:
    """A listener that is overheard: `frames` is the connection's own but for the reads that are looked at."""

    __slots__ = ("_ear", "_left", "connection", "frames")

    def __init__(self, ear: Ear, connection: Connection) -> None:
        self._ear = ear
        self._left = 0
        self.connection = connection
        self.frames: Callable[[list[bytes], Now], None] = connection.frames

    @property
    def name(self) -> str:
        return self.connection.name

    def gone(self, reason: str) -> None:
        self._ear.forget(self)
        self.connection.gone(reason)

    def hear(self, count: int) -> None:
        """Look at so many frames from now on."""
        self._left = count
        self.frames = self._overheard if count else self.connection.frames

    def _overheard(self, payloads: list[bytes], now: Now) -> None:
        """Look at one frame of a read, whichever, or at each where all of them are of interest."""
        connection, is_tapped = self.connection, self.connection.session.conn in self._ear.taps
        if not connection.is_open:
            connection.frames(payloads, now)
            return
        if is_tapped or self._left > 1:
            for payload in payloads:
                if not (is_tapped or self._left > 0):
                    connection.frames([payload], now)
                    continue
                self._left -= 1
                self._ear.look(self, payload, now)
        else:
            at = random.randrange(len(payloads))
            self._left = 0
            if payloads[:at]:
                connection.frames(payloads[:at], now)
            self._ear.look(self, payloads[at], now)
            if payloads[at + 1 :]:
                connection.frames(payloads[at + 1 :], now)
        if self._left <= 0 and not is_tapped:
            self.frames = connection.frames


def _inflated(stream: Stream, payload: bytes) -> tuple[bytes, str | None]:
    """A frame as text, where the exchange compresses frames itself; its error is the session's to tell."""
    if stream.inflate is None:
        return payload, None
    try:
        return stream.inflate(payload), None
    except Exception:  # noqa: BLE001 - whatever a hostile frame provokes: the session has told it
        return payload, None


def _is_understood(stream: Stream, frame: bytes) -> bool:
    """Tell whether a parser reads anything from a frame: an answer to a request, say."""
    try:
        return any(not isinstance(event, Ignored) for event in stream.reader()(frame))
    except Exception:  # noqa: BLE001 - as above
        return False
