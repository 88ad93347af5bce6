"""The client of the feed for programs without asyncio: it waits where the other one awaits.

with connect("/run/aggregator/feed.sock") as feed:
    feed.subscribe("trades:*:BTC/USDT")
    for record in feed:
        print(record)
"""

import logging
import socket
import time as clock
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from aggregator.client import wire
from aggregator.client.books import LiveBook
from aggregator.client.conversation import Answer, Conversation
from aggregator.client.errors import CutOff, FeedError, LockedOut, NoFeed
from aggregator.client.options import StreamPosition, SubscriptionOptions
from aggregator.client.pauses import Pauses
from aggregator.client.security import Entry, PathText, Ssl, Tls, TlsContext
from aggregator.client.wire import READ_BYTES, Wire, parse_place, silence, wire_to
from aggregator.feed.address import UnixAddress
from aggregator.feed.protocol import (
    Book,
    Hello,
    ListTopics,
    Ping,
    Pong,
    Request,
    Subscribed,
    TakeSnapshot,
    Topics,
    TopicStanding,
    Unsubscribe,
    Unsubscribed,
)
from aggregator.records import BookSnapshot, Record

__all__ = [
    "BlockingFeed",
    "CutOff",
    "FeedError",
    "LiveBook",
    "LockedOut",
    "StreamPosition",
    "SubscriptionOptions",
    "Tls",
    "connect",
]

if TYPE_CHECKING:
    from aggregator.client.frames import FrameNumbers, Library

log = logging.getLogger("aggregator.client")


class BlockingFeed:
    """A connection to the feed, for one thread; each call means the same as that of `aggregator.client.Feed`.

    `for record in feed` gives records as structs, `feed.lines()` the same as NDJSON lines. Both end when the feed
    says goodbye, and raise `CutOff` where the connection ends without that; with `reconnect` they go on.
    """

    def __init__(self, entry: Entry, *, reconnect: bool, resume: bool) -> None:
        """Use `connect` instead."""
        self._entry = entry
        self._pauses = Pauses() if reconnect else None
        self._wire: Wire
        self._socket: socket.socket | None = None
        self.hello: Hello  # the greeting: what the stream is, and the offset of the last record before it
        self._talk = Conversation(resumes=reconnect and resume)

    @property
    def goodbye(self) -> str | None:
        """Why the feed has hung up, in its words; None while it has not."""
        return self._talk.goodbye

    @property
    def is_over(self) -> bool:
        """Tell whether this was a replay that has come to its end."""
        return self._talk.is_over

    @property
    def cursor(self) -> str | None:
        """The newest place that the feed has told, not beyond the record taken last; for `start`, at any time later.

        It is told where a subscription had a `start`. Records behind it may have been taken: `position` is exact.
        """
        return self._talk.cursor

    @property
    def position(self) -> StreamPosition | None:
        """The place behind the record taken last, by epoch and offset; for `start` as well, of this one daemon."""
        return self._talk.position

    @property
    def is_live(self) -> bool:
        """Tell whether all of the past is taken that was asked for, or missed while there was no connection."""
        return self._talk.is_live

    def subscribe(self, *topics: str, **options: Unpack[SubscriptionOptions]) -> Subscribed:
        """Subscribe to these patterns (`channel:exchange:symbol`) too. Raises FeedError when the feed refuses them."""
        return self._ask(self._talk.subscription(topics, options), Subscribed)

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

    def frames(
        self, *topics: str, every: str | float = "1s", to: "Library" = "polars", numbers: "FrameNumbers" = "text"
    ) -> Iterator[dict[str, Any]]:
        """Subscribe to these topics, take records, and give what has come as frames, one for each type of record."""
        from aggregator.client.frames import Gathering

        gathering = Gathering(every, to, numbers)
        if topics:
            self.subscribe(*topics)
        while True:
            if gathering.due is None:
                is_here = self._wait(lambda: self._talk.has_line)
            elif self._talk.has_ended and not self._talk.has_line:  # it may take long until there is more
                is_here = False
            else:
                is_here = self._comes_before(gathering.due)
            if is_here:
                gathering.add_all(self._talk, clock.monotonic)
            if gathering.due is not None and (not is_here or gathering.is_due(clock.monotonic())):
                yield gathering.take()
            elif not is_here:
                break
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
        if line:
            self._send(self._wire.sent(line))
        self._wait(lambda: self._talk.is_answered(id))
        return self._talk.answer(id, kind)

    def _wait(self, is_here: Callable[[], bool]) -> bool:
        """Read until `is_here`; False when the end came first."""
        while not is_here():
            if not self._talk.has_ended:
                self._read()
            elif self._pauses is None or not self._talk.may_go_on:
                return False
            else:
                self._go_on(self._pauses)
        return True

    def _comes_before(self, moment: float) -> bool:
        """Wait for a record until a moment of the clock; False where none comes."""
        while not self._talk.has_line and not self._talk.has_ended:
            left = moment - clock.monotonic()
            if left <= 0 or self._socket is None:
                return False
            self._socket.settimeout(left)
            try:
                self._read()
            except TimeoutError:
                return False
            finally:
                self._socket.settimeout(None)
        return self._talk.has_line

    def _read_until(self, is_here: Callable[[], bool]) -> None:
        while not is_here() and not self._talk.has_ended:
            self._read()

    def _read(self) -> None:
        try:
            data = b"" if self._socket is None else self._socket.recv(READ_BYTES)
        except TimeoutError as error:
            if not error.errno:  # it is no word of the system about a connection, but our own patience
                raise
            data = b""
        except OSError as error:  # the system, or TLS, says why
            refusal = self._entry.ended(error)
            if refusal is not None:
                raise refusal from error
            data = b""
        lines = self._wire.received(data)
        self._send(self._wire.to_send())
        if lines or not data:
            self._talk.receive(lines)
            self._send_due()

    def _send(self, data: bytes) -> None:
        if data and self._socket is not None:
            with suppress(OSError):  # reading tells what came before the end
                self._socket.sendall(data)

    def _send_due(self) -> None:
        """Send what became due by what has come."""
        for line in self._talk.due():
            self._send(self._wire.sent(line))

    # --- the connection

    def open(self) -> None:
        """Connect, show the token and hear the greeting, which `connect` does. Raises FeedError."""
        entry = self._entry
        token, context = entry.token(), entry.context()
        self._wire = wire_to(entry.place, speaks_tls=entry.speaks_tls)
        try:
            self._socket = _dial(entry, context)
        except OSError as error:
            raise entry.unreachable(error) from error
        try:
            self._greet(token)
        except TimeoutError:
            raise NoFeed(silence() + entry.advice) from None
        except NoFeed as error:
            raise NoFeed(f"{error}{entry.advice}") from error
        self.hello = self._talk.enter()
        self._socket.settimeout(None)

    def _greet(self, token: str | None) -> None:
        opening = self._talk.begin(token)
        self._send(self._wire.to_send())
        self._read_until(lambda: self._wire.is_open)
        if opening:
            self._send(self._wire.sent(opening))
        self._read_until(lambda: self._talk.is_let_in)

    def close(self) -> None:
        """Close the connection, which the end of `connect` does."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _go_on(self, pauses: Pauses) -> None:
        """Note that the connection is lost, or else make the next try to make it anew."""
        if not self._talk.has_lost:
            pauses.failed(clock.monotonic())
            log.warning("%s: %s; it is made anew", self._entry.place.text, self._talk.lose())
            return
        self.close()
        clock.sleep(pauses.left(clock.monotonic()))
        pauses.failed(clock.monotonic())  # until it is known that it has not
        try:
            self.open()
            self._take_up()
        except BaseException as error:
            self._talk.has_ended = True
            if not isinstance(error, FeedError) or isinstance(error, LockedOut):
                raise
            log.info("%s: %s", self._entry.place.text, error)
            return
        pauses.connected(clock.monotonic())

    def _take_up(self) -> None:
        """Subscribe on a new connection to all that there was. Raises FeedError where it ends meanwhile."""
        for requests in self._talk.take_up():
            for _, line in requests:
                self._send(self._wire.sent(line))
            self._read_until(partial(self._talk.are_answered, requests))
        self._send_due()
        if self._talk.why_anew:
            log.warning("%s: what was missed is lost: %s", self._entry.place.text, self._talk.why_anew)


@contextmanager
def connect(
    address: str | PathLike[str],
    *,
    token: PathText | None = None,
    ssl: Ssl = None,
    insecure: bool = False,
    reconnect: bool = False,
    resume: bool = True,
) -> Iterator[BlockingFeed]:
    """Connect to a daemon's feed, with all that `aggregator.client.connect` takes.

    Raises FeedError, whose text says what to do, when no daemon listens there or it turns the client away.
    """
    feed = BlockingFeed(Entry(parse_place(address), token, ssl, insecure=insecure), reconnect=reconnect, resume=resume)
    try:
        feed.open()
        yield feed
    finally:
        feed.close()


def _dial(entry: Entry, context: "TlsContext | None") -> socket.socket:
    address = entry.place.address
    if isinstance(address, UnixAddress):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(wire.GREETING_S)
            sock.connect(str(address.path))
        except OSError:
            sock.close()
            raise
        return sock
    sock = socket.create_connection((address.host, address.port), timeout=wire.GREETING_S)
    if context is None:
        return sock
    try:
        return context.wrap_socket(sock, server_hostname=entry.server_name)
    except OSError:
        sock.close()
        raise
