"""The client of the feed for programs without asyncio: it waits where the other one awaits.

with connect("/run/aggregator/feed.sock") as feed:
    feed.subscribe("trades:*:BTC/USDT")
    for record in feed:
        print(record)
"""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from os import PathLike
from typing import Literal, overload

from aggregator import client
from aggregator.client import READ_BYTES, CutOff, FeedError, LiveBook, silence, unreachable
from aggregator.client.conversation import Answer, Conversation
from aggregator.client.wire import Place, Wire, parse_place, wire_to
from aggregator.feed.address import UnixAddress
from aggregator.feed.protocol import (
    Book,
    Hello,
    ListTopics,
    Numbers,
    Ping,
    Pong,
    Request,
    Subscribe,
    Subscribed,
    TakeSnapshot,
    Time,
    Topics,
    TopicStanding,
    Unsubscribe,
    Unsubscribed,
)
from aggregator.records import BookSnapshot, Record

__all__ = ["BlockingFeed", "CutOff", "FeedError", "LiveBook", "connect"]


class BlockingFeed:
    """A connection to the feed, for one thread; each call means the same as that of `aggregator.client.Feed`.

    `for record in feed` gives records as structs, `feed.lines()` the same as NDJSON lines. Both end when the feed
    says goodbye, and raise `CutOff` where the connection ends without that.
    """

    def __init__(self, wire: Wire, sock: socket.socket) -> None:
        """Use `connect` instead."""
        self._wire = wire
        self._socket = sock
        self.hello: Hello  # the greeting: what the stream is, and the offset of the last record before it
        self._talk = Conversation()

    @property
    def goodbye(self) -> str | None:
        """Why the feed has hung up, in its words; None while it has not."""
        return self._talk.goodbye

    def subscribe(
        self,
        *topics: str,
        snapshot: bool = True,
        numbers: Numbers | None = None,
        time: Time | None = None,
    ) -> Subscribed:
        """Subscribe to these patterns (`channel:exchange:symbol`) too. Raises FeedError when the feed refuses them."""
        return self._ask(Subscribe(list(topics), snapshot=snapshot, numbers=numbers, time=time), Subscribed)

    def unsubscribe(self, *topics: str) -> Unsubscribed:
        """Leave these patterns, or all if none is named. Raises FeedError for one that was not had."""
        return self._ask(Unsubscribe(list(topics) or None), Unsubscribed)

    def ping(self) -> None:
        """Return once everything is here that the feed sent before."""
        self._ask(Ping(), Pong)

    @overload
    def topics(self, patterns: Sequence[str] | None = None, *, states: Literal[False] = False) -> list[str]: ...

    @overload
    def topics(
        self, patterns: Sequence[str] | None = None, *, states: Literal[True]
    ) -> dict[str, TopicStanding | None]: ...

    def topics(
        self, patterns: Sequence[str] | None = None, *, states: bool = False
    ) -> list[str] | dict[str, TopicStanding | None]:
        """Give every topic that the daemon knows now and that fits one of the patterns (None: all)."""
        found = self._ask(ListTopics(None if patterns is None else list(patterns), states=states), Topics)
        return dict(zip(found.topics, found.states or (), strict=True)) if states else found.topics

    def snapshot(self, exchange: str, symbol: str) -> BookSnapshot:
        """Give a book as it stands now, without subscribing to it. Raises FeedError where there is none."""
        id, line = self._talk.ask(TakeSnapshot(exchange, symbol))
        try:
            self._answer(id, line, Book)
            return self._talk.book_told(id)
        finally:
            self._talk.forget(id)

    def book(self, name: str) -> LiveBook:
        """Subscribe to a book, `exchange:symbol`, and keep it: it changes as records are taken."""
        book = self._talk.keep(name)
        self.subscribe(f"book:{name}")
        return book

    def changes(self) -> Iterator[LiveBook]:
        """Take records, and give each book that one of them has changed, or has put in doubt."""
        while self._wait(lambda: self._talk.has_line):
            yield from self._talk.take_record()[1]
        self._talk.check_end()

    def lines(self) -> Iterator[bytes]:
        """The records as they come, each line with its newline."""
        while self._wait(lambda: self._talk.has_line):
            yield self._talk.take()
        self._talk.check_end()

    def __iter__(self) -> Iterator[Record]:
        """The records as structs. Raises FeedError when `numbers` or `time` of a subscription forbid that."""
        while self._wait(lambda: self._talk.has_line):
            yield self._talk.take_record()[0]
        self._talk.check_end()

    # --- the conversation

    def _ask(self, request: Request, kind: type[Answer]) -> Answer:
        id, line = self._talk.ask(request)
        try:
            return self._answer(id, line, kind)
        finally:
            self._talk.forget(id)

    def _answer(self, id: int, line: bytes, kind: type[Answer]) -> Answer:
        self._send(self._wire.sent(line))
        self._wait(lambda: self._talk.is_answered(id))
        return self._talk.answer(id, kind)

    def _wait(self, is_here: Callable[[], bool]) -> bool:
        """Read until `is_here`; False when the end came first."""
        while not is_here():
            if self._talk.has_ended:
                return False
            self._read()
        return True

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except ConnectionError:
            data = b""
        lines = self._wire.received(data)
        self._send(self._wire.to_send())
        if lines or not data:
            self._talk.receive(lines)

    def _send(self, data: bytes) -> None:
        if data:
            with suppress(ConnectionError):  # reading tells what came before the end
                self._socket.sendall(data)

    def greet(self) -> None:
        """Hear the greeting, which `connect` has done. Raises FeedError where no feed speaks."""
        try:
            self._send(self._wire.to_send())
            self._wait(lambda: self._talk.greeting is not None)
        except TimeoutError:
            raise FeedError(silence()) from None
        if self._talk.greeting is not None:
            self.hello = self._talk.greeting


@contextmanager
def connect(address: str | PathLike[str]) -> Iterator[BlockingFeed]:
    """Connect to a daemon's feed, at any address that `aggregator.client.connect` takes.

    Raises FeedError when no daemon listens there.
    """
    place = parse_place(address)
    wire = wire_to(place)
    try:
        sock = _dial(place)
    except OSError as error:
        raise unreachable(place, error) from error
    with sock:
        feed = BlockingFeed(wire, sock)
        feed.greet()
        sock.settimeout(None)
        yield feed


def _dial(place: Place) -> socket.socket:
    address = place.address
    if not isinstance(address, UnixAddress):
        return socket.create_connection((address.host, address.port), timeout=client.GREETING_S)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(client.GREETING_S)
        sock.connect(str(address.path))
    except OSError:
        sock.close()
        raise
    return sock
