"""The `feed` sink: gives every subscriber of the unix socket its topics, and lets no slow one slow another."""

import asyncio
import logging
import socket
from contextlib import suppress

from aggregator import __version__
from aggregator.bus.bus import Batch, Bus
from aggregator.feed.formats import Options, encode
from aggregator.feed.listener import Listener
from aggregator.feed.protocol import (
    MOST_PATTERNS,
    BadRequest,
    Error,
    Hello,
    LineTooLong,
    ListTopics,
    Ping,
    Pong,
    Request,
    Subscribe,
    Subscribed,
    Topics,
    Unsubscribe,
    Unsubscribed,
    encode_message,
    read_line,
)
from aggregator.feed.ring import TAKE, Book, Chunk, Ring, join
from aggregator.feed.routing import Audience, Routes
from aggregator.feed.settings import FeedSettings
from aggregator.feed.subscriber import Subscriber, SubscriberStats
from aggregator.feed.topics import Pattern, Selection, parse_pattern, topic_of

SWEEP = 1.0  # seconds between two looks for peers that left without a word

log = logging.getLogger("aggregator.feed")


class FeedServer:
    """Serves a bus at a unix socket; attach `publish` to the bus after `start`."""

    def __init__(self, settings: FeedSettings, bus: Bus) -> None:
        """Prepare; nothing listens before `start`."""
        self._settings = settings
        self._bus = bus
        self._routes = Routes()
        self._subscribers: dict[Ring, Subscriber] = {}
        self._filled: dict[Audience, None] = {}  # audiences with records of this tick
        self._touched: dict[Ring, None] = {}  # rings that got some, and are to be written
        self._is_scheduled = False
        self._is_stopping = False
        self._snapshots: dict[tuple[Book, Options], bytes] = {}  # they hold until something is published
        self._listener: Listener | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._emptied = asyncio.Event()

    async def start(self) -> None:
        """Listen. Raises ConfigError when the socket cannot be had."""
        self._loop = asyncio.get_running_loop()
        self._listener = Listener(self._settings.path, self._settings.mode, self._settings.group)
        for snapshot in self._bus.books():
            self._routes.learn(snapshot)
        self._accepting = self._loop.create_task(self._accept(self._listener.socket))
        self._sweep()

    async def stop(self, drain: float) -> None:
        """Take no more records and subscribers; give those there are `drain` seconds to read what waits for them."""
        if self._listener is None or self._accepting is None:
            return
        self._is_stopping = True
        self._accepting.cancel()
        await asyncio.wait([self._accepting])
        self._listener.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._flush()
        for subscriber in list(self._subscribers.values()):
            subscriber.connection.finish()
        if self._subscribers:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), drain)
        for subscriber in list(self._subscribers.values()):
            subscriber.connection.close()

    def stats(self) -> list[SubscriberStats]:
        """Every subscriber as it stands."""
        return [subscriber.stats() for subscriber in self._subscribers.values()]

    # --- records

    def publish(self, batch: Batch) -> None:
        """Take a batch of the bus; it is written once the loop has had its turn. Never waits."""
        if self._is_stopping:
            return
        self._snapshots.clear()
        self._filled.update(dict.fromkeys(self._routes.distribute(batch)))
        if self._filled and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write what this tick has brought, at once for each subscriber."""
        self._is_scheduled = False
        self._collect()
        touched, self._touched = self._touched, {}
        for ring in touched:
            subscriber = self._subscribers.get(ring)
            if subscriber is not None:
                subscriber.connection.wake()

    def _collect(self) -> None:
        """Put what was published so far into the rings, joined once for all who got the same."""
        filled, self._filled = self._filled, {}
        joined: dict[tuple[int, ...], Chunk] = {}
        for audience in filled:
            parts, audience.chunks = audience.chunks, []
            key = tuple(map(id, parts))
            chunk = joined.get(key)
            if chunk is None:
                chunk = joined[key] = join(parts)
            for ring in audience.rings:
                ring.put(chunk)
            self._touched |= audience.rings

    def _refill(self, subscriber: Subscriber) -> bytes:
        """The bytes to write next to a subscriber: records and, once it has them all, the books that it waits for."""
        ring = subscriber.ring
        data = ring.take()
        if data or not ring.wanted:
            return data
        self._collect()
        return ring.take() or self._books(ring, subscriber.options)

    def _books(self, ring: Ring, options: Options) -> bytes:
        """Snapshots of books that a ring wants: some at once, so that many or deep ones take nobody's time."""
        parts: list[bytes] = []
        size = 0
        while ring.wanted and size < TAKE:
            book = next(iter(ring.wanted))
            del ring.wanted[book]
            if not self._routes.wants_book(ring, book):
                continue
            snapshot = self._book(book, options)
            self._collect()  # asking for a book may publish what came before it
            while data := ring.take():
                parts.append(data)
            if snapshot:
                ring.has_book(book)
                parts.append(snapshot)
            size = sum(map(len, parts))
        return b"".join(parts)

    def _book(self, book: Book, options: Options) -> bytes:
        """A live book's snapshot as its line; empty where there is none, and then the stream will bring one."""
        key = (book, options)
        if key not in self._snapshots:
            self._snapshots[key] = encode(self._bus.books(*book), options)
        return self._snapshots[key]

    # --- subscribers

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, _ = await self._loop.sock_accept(listening)
            except OSError as error:
                log.error("feed: cannot take a subscriber: %s", error)  # noqa: TRY400 - it says all
                await asyncio.sleep(SWEEP)
                continue
            try:
                self._welcome(sock)
            except OSError:  # it has left already
                sock.close()

    def _welcome(self, sock: socket.socket) -> None:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        if len(self._subscribers) >= self._settings.max_clients:
            log.warning("feed: a subscriber is turned away: there are %d, max_clients", len(self._subscribers))
            with sock:
                sock.send(encode_message(Error(f"the feed has its {self._settings.max_clients} subscribers already")))
            return
        subscriber = Subscriber(sock, self._settings.ring, refill=self._refill, hear=self._hear, closed=self._forget)
        self._subscribers[subscriber.ring] = subscriber
        header = self._bus.header()
        subscriber.connection.open()
        subscriber.answer(Hello(header.schema, header.epoch, header.offset, __version__))

    def _forget(self, subscriber: Subscriber) -> None:
        """A subscriber's connection is closed."""
        self._routes.leave(subscriber.ring)
        self._subscribers.pop(subscriber.ring, None)
        if self._is_stopping and not self._subscribers:
            self._emptied.set()

    def _sweep(self) -> None:
        """Hang up on peers that ended their side and have since closed the other: only a look can tell."""
        for subscriber in list(self._subscribers.values()):
            if subscriber.connection.has_ended and subscriber.connection.is_gone():
                subscriber.connection.close()
        self._sweeping = self._loop.call_later(SWEEP, self._sweep)

    # --- requests

    def _hear(self, subscriber: Subscriber, line: bytes) -> None:
        """Do what a line asks for, and answer it."""
        try:
            request = read_line(line)
            if request is not None:
                self._heed(subscriber, request)
        except BadRequest as error:
            subscriber.answer(Error(str(error), error.id))
            if isinstance(error, LineTooLong):
                self._routes.leave(subscriber.ring)
                subscriber.connection.finish()

    def _heed(self, subscriber: Subscriber, request: Request) -> None:
        match request:
            case Subscribe():
                self._subscribe(subscriber, request)
            case Unsubscribe():
                self._unsubscribe(subscriber, request)
            case Ping():
                subscriber.answer(Pong(request.id))
            case ListTopics():
                subscriber.answer(Topics(self._routes.names(), request.id))

    def _subscribe(self, subscriber: Subscriber, request: Subscribe) -> None:
        new: dict[str, Pattern] = {}
        try:
            new = {text: parse_pattern(text) for text in request.topics}
        except BadRequest as error:
            raise BadRequest(str(error), request.id) from None
        if not new:
            raise BadRequest("no topics: name at least one, like trades:*:BTC/USDT", request.id)
        if len(subscriber.patterns | new) > MOST_PATTERNS:
            raise BadRequest(f"more than the {MOST_PATTERNS} topics that one connection may name", request.id)
        self._collect()  # records that were published before are not subject to what is wanted now
        held = self._routes.selection_of(subscriber.ring)
        wanted = Selection(new.values())
        matched = self._routes.matching(wanted)
        subscriber.patterns |= new
        subscriber.options = Options(
            request.numbers or subscriber.options.numbers, request.time or subscriber.options.time
        )
        self._routes.join(subscriber.ring, subscriber.patterns, subscriber.options)
        for known in matched:
            if known.channel == "book":
                book, is_new = (known.exchange, known.raw_symbol), not held.wants(self._routes.known[known])
                if request.snapshot:
                    subscriber.ring.await_book(book, is_new=is_new)
                elif is_new:
                    subscriber.ring.has_book(book)  # so it says
        subscriber.answer(Subscribed(list(new), len(matched), request.id), self._health(wanted, subscriber.options))

    def _health(self, wanted: Selection, options: Options) -> bytes:
        """The state of every topic that is wanted, as lines."""
        return encode([health for health in self._bus.health() if wanted.wants(topic_of(health))], options)

    def _unsubscribe(self, subscriber: Subscriber, request: Unsubscribe) -> None:
        gone = list(subscriber.patterns) if request.topics is None else list(dict.fromkeys(request.topics))
        unknown = [text for text in gone if text not in subscriber.patterns]
        if unknown:
            raise BadRequest(f"{unknown[0]:.80} was not subscribed; name patterns as they were, or none", request.id)
        self._collect()
        for text in gone:
            del subscriber.patterns[text]
        self._routes.join(subscriber.ring, subscriber.patterns, subscriber.options)
        subscriber.answer(Unsubscribed(gone, request.id))
