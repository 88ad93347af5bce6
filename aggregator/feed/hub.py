"""The hub of the feed: topics, queues, books and requests. It gives every subscriber its topics.

No slow subscriber slows another. The hub knows no socket: a transport shows it each new peer (`welcome`).
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from aggregator import __version__
from aggregator.bus.bus import Batch, Bus
from aggregator.bus.selection import BadPattern, Pattern, Selection, parse_pattern
from aggregator.feed.formats import Options, encode
from aggregator.feed.peer import Peer
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
    read_line,
)
from aggregator.feed.routing import Group, TopicRoutes
from aggregator.feed.status import FeedStatus
from aggregator.feed.subscriber import Subscriber
from aggregator.feed.subscriber_queue import TAKE_BYTES, Book, Chunk, Ring, join

log = logging.getLogger("aggregator.feed")


class FeedHub:
    """Serves a bus to its subscribers; attach `publish` to the bus after `start`."""

    def __init__(self, bus: Bus, *, ring: int, max_clients: int) -> None:
        """Keep at most `ring` records for each of `max_clients` subscribers."""
        self._bus = bus
        self._ring = ring
        self._max_clients = max_clients
        self._accepted = self._turned_away = 0
        self._lags = self._missed = 0  # they count those that have left
        self._routes = TopicRoutes()
        self._subscribers: dict[Ring, Subscriber] = {}
        self._filled: dict[Group, None] = {}  # groups with records of this tick
        self._touched: dict[Ring, None] = {}  # rings that got some, and are to be written
        self._is_scheduled = False
        self._is_stopping = False
        self._snapshots: dict[tuple[Book, Options], bytes] = {}  # they hold until something is published
        self._emptied = asyncio.Event()

    def start(self) -> None:
        """Learn which topics are wanted, and which books there are already."""
        self._loop = asyncio.get_running_loop()
        self._bus.views.follow(self._routes.expect)
        for snapshot in self._bus.views.books():
            self._routes.learn(snapshot)

    async def stop(self, drain: float) -> None:
        """Take no more records; give the subscribers `drain` seconds to read what waits for them, and close."""
        self._is_stopping = True
        self._flush()
        for subscriber in list(self._subscribers.values()):
            subscriber.peer.finish()
        if self._subscribers:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), drain)
        for subscriber in list(self._subscribers.values()):
            subscriber.peer.close()

    def status(self, listen: Sequence[str]) -> FeedStatus:
        """How it fares; `listen` says where subscribers connect."""
        found = [subscriber.status() for subscriber in self._subscribers.values()]
        return FeedStatus(
            list(listen),
            found,
            topics=len(self._routes.known),
            accepted=self._accepted,
            turned_away=self._turned_away,
            lags=self._lags + sum(subscriber.lags for subscriber in found),
            missed=self._missed + sum(subscriber.missed for subscriber in found),
        )

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
                subscriber.peer.wake()

    def _collect(self) -> None:
        """Put what was published so far into the rings, joined once for all who got the same."""
        filled, self._filled = self._filled, {}
        joined: dict[tuple[int, ...], Chunk] = {}
        for group in filled:
            parts, group.chunks = group.chunks, []
            key = tuple(map(id, parts))
            chunk = joined.get(key)
            if chunk is None:
                chunk = joined[key] = join(parts)
            for ring in group.rings:
                ring.put(chunk)
            self._touched |= group.rings

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
        while ring.wanted and size < TAKE_BYTES:
            book = next(iter(ring.wanted))
            del ring.wanted[book]
            if not self._routes.wants_book(ring, book):
                continue
            snapshot = self._book(book, options)
            if snapshot:
                ring.has_book(book)
                parts.append(snapshot)
                size += len(snapshot)
        return b"".join(parts)

    def _book(self, book: Book, options: Options) -> bytes:
        """A live book's snapshot as its line; empty where there is none, and then the stream will bring one."""
        key = (book, options)
        if key not in self._snapshots:
            exchange, raw_symbol = book
            found = self._bus.views.book(exchange, raw_symbol) if raw_symbol else None
            self._snapshots[key] = b"" if found is None else encode([found], options)
        return self._snapshots[key]

    # --- subscribers

    def welcome(self, peer: Peer) -> Subscriber:
        """Take in whoever has connected; where there are too many already it is told so, and hung up on."""
        self._accepted += 1
        subscriber = Subscriber(peer, self._ring, refill=self._refill, hear=self._hear, gone=self._forget)
        if len(self._subscribers) >= self._max_clients:
            self._turned_away += 1
            log.warning("feed: %s is turned away: there are %d, max_clients", peer.name, len(self._subscribers))
            subscriber.answer(Error(f"the feed has its {self._max_clients} subscribers already"))
            peer.finish()
            return subscriber
        self._subscribers[subscriber.ring] = subscriber
        header = self._bus.header()
        subscriber.answer(Hello(header.schema, header.epoch, header.offset, __version__))
        return subscriber

    def _forget(self, subscriber: Subscriber) -> None:
        """Forget a subscriber whose connection is closed."""
        self._routes.leave(subscriber.ring)
        if self._subscribers.pop(subscriber.ring, None) is not None:
            self._lags += subscriber.ring.lags
            self._missed += subscriber.ring.missed
        if self._is_stopping and not self._subscribers:
            self._emptied.set()

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
                subscriber.peer.finish()

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
        except BadPattern as error:
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
        health = self._bus.views.health
        return encode([record for topic in self._routes.stated(wanted) for record in health(*topic)], options)

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
