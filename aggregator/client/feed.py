"""The client of the feed for programs with asyncio, which `aggregator.client` gives."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from aggregator.client.books import LiveBook
from aggregator.client.connection import FeedConnection
from aggregator.client.conversation import Answer, Conversation
from aggregator.client.errors import FeedError, LockedOut
from aggregator.client.options import StreamPosition, SubscriptionOptions
from aggregator.client.pauses import Pauses
from aggregator.client.security import Entry, PathText, Ssl
from aggregator.client.wire import parse_place
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

if TYPE_CHECKING:
    from aggregator.client.frames import FrameNumbers, Library

log = logging.getLogger("aggregator.client")


class Feed:
    """A connection to the feed.

    `async for record in feed` gives records as structs (a `Lag` where this client was too slow), `feed.lines()` the
    same as NDJSON lines, without reading them. Both end when the feed says goodbye, and raise `CutOff` where the
    connection ends without that; with `reconnect` they go on, and a `Gap` without an exchange says what became of the
    time between. Read steadily: what is not read is lost at the daemon's end, and told by a `Lag`.
    """

    def __init__(self, entry: Entry, *, reconnect: bool, resume: bool) -> None:
        """Use `connect` instead."""
        self._pauses = Pauses() if reconnect else None
        self.hello: Hello  # the greeting: what the stream is, and the offset of the last record before it
        self._talk = Conversation(resumes=reconnect and resume)
        self._connection = FeedConnection(entry, self._talk)
        self._reading = asyncio.Lock()

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

    async def subscribe(self, *topics: str, **options: Unpack[SubscriptionOptions]) -> Subscribed:
        """Subscribe to these patterns (`channel:exchange:symbol`) too. Raises FeedError when the feed refuses them.

        The options are those of `aggregator.client.SubscriptionOptions`.
        """
        return await self._ask(self._talk.subscription(topics, options), Subscribed)

    async def unsubscribe(self, *topics: str) -> Unsubscribed:
        """Leave these patterns, or all if none is named. Raises FeedError for one that was not had."""
        return await self._ask(Unsubscribe(list(topics) or None), Unsubscribed)

    async def ping(self) -> None:
        """Return once everything is here that the feed sent before."""
        await self._ask(Ping(), Pong)

    @overload
    async def topics(self, patterns: Sequence[str] | None = None, *, states: Literal[False] = False) -> list[str]: ...

    @overload
    async def topics(
        self, patterns: Sequence[str] | None = None, *, states: Literal[True]
    ) -> dict[str, TopicStanding | None]: ...

    async def topics(
        self, patterns: Sequence[str] | None = None, *, states: bool = False
    ) -> list[str] | dict[str, TopicStanding | None]:
        """Give every topic that the daemon knows now and that fits one of the patterns (None: all).

        With `states` each comes with its state, None where no connection answers for it.
        """
        found = await self._ask(ListTopics(None if patterns is None else list(patterns), states=states), Topics)
        return dict(zip(found.topics, found.states or (), strict=True)) if states else found.topics

    async def snapshot(self, exchange: str, symbol: str) -> BookSnapshot:
        """Give a book as it stands now, without subscribing to it. Raises FeedError where there is none."""
        id, line = self._talk.ask(TakeSnapshot(exchange, symbol))
        try:
            await self._answer(id, line, Book)
            return self._talk.book_told(id)
        finally:
            self._talk.forget(id)

    async def book(self, name: str) -> LiveBook:
        """Subscribe to a book, `exchange:symbol`, and keep it: it changes as records are taken.

        Raises FeedError for a name with `*`, and where the feed refuses it.
        """
        book = self._talk.keep(name)
        await self.subscribe(f"book:{name}")
        return book

    async def changes(self) -> AsyncIterator[LiveBook]:
        """Take records, and give each book that one of them has changed, or has put in doubt."""
        while await self._wait(lambda: self._talk.has_line):
            for book in self._talk.take_record()[1]:
                yield book
        self._talk.check_end()

    async def frames(
        self, *topics: str, every: str | float = "1s", to: "Library" = "polars", numbers: "FrameNumbers" = "text"
    ) -> AsyncIterator[dict[str, Any]]:
        """Subscribe to these topics, take records, and give what has come as frames, one for each type of record.

        every: how long records are gathered: seconds, or text like `250ms`, `1s`, `5m`
        to: `polars`, `pandas` or `pyarrow`
        numbers: `text`, `decimal` (exact), or `float`

        Raises FeedError where the library is not installed, and for a number that does not fit a `decimal`.
        """
        from aggregator.client.frames import Gathering

        loop = asyncio.get_running_loop()
        gathering = Gathering(every, to, numbers)
        if topics:
            await self.subscribe(*topics)
        while True:
            if gathering.due is None:
                is_here = await self._wait(lambda: self._talk.has_line)
            elif self._talk.has_ended and not self._talk.has_line:  # it may take long until there is more
                is_here = False
            else:
                is_here = await self._comes_before(gathering.due)
            if is_here:
                gathering.add_all(self._talk, loop.time)
            if gathering.due is not None and (not is_here or gathering.is_due(loop.time())):
                yield gathering.take()
            elif not is_here:
                break
        self._talk.check_end()

    async def lines(self) -> AsyncIterator[bytes]:
        """The records as they come, each line with its newline."""
        while await self._wait(lambda: self._talk.has_line):
            while self._talk.has_line:
                yield self._talk.take()
        self._talk.check_end()

    async def __aiter__(self) -> AsyncIterator[Record]:
        """The records as structs. Raises FeedError when `numbers` or `time` of a subscription forbid that."""
        while await self._wait(lambda: self._talk.has_line):
            while self._talk.has_line:
                yield self._talk.take_record()[0]
        self._talk.check_end()

    # --- the conversation

    async def _ask(self, request: Request, kind: type[Answer]) -> Answer:
        id, line = self._talk.ask(request)
        try:
            return await self._answer(id, line, kind)
        finally:
            self._talk.forget(id)

    async def _answer(self, id: int, line: bytes, kind: type[Answer]) -> Answer:
        await self._connection.say(line)
        await self._wait(lambda: self._talk.is_answered(id))
        return self._talk.answer(id, kind)

    async def _wait(self, is_here: Callable[[], bool]) -> bool:
        """Read until `is_here`; False when the end came first. Of several tasks that wait, one reads for all."""
        while not is_here():
            async with self._reading:
                if is_here():
                    break
                if not self._talk.has_ended:
                    await self._connection.read()
                elif self._pauses is None or not self._talk.may_go_on:
                    return False
                else:
                    await self._go_on(self._pauses)
        return True

    async def _comes_before(self, moment: float) -> bool:
        """Wait for a record until a moment of the loop's clock; False where none comes."""
        try:
            async with asyncio.timeout_at(moment):
                return await self._wait(lambda: self._talk.has_line)
        except TimeoutError:
            return False

    # --- the connection

    async def open(self) -> None:
        """Connect, show the token and hear the greeting, which `connect` does. Raises FeedError."""
        self.hello = await self._connection.open()

    async def close(self) -> None:
        """Close the connection, which the end of `connect` does."""
        await self._connection.close()

    async def _go_on(self, pauses: Pauses) -> None:
        """Note that the connection is lost, or else make the next try to make it anew."""
        loop = asyncio.get_running_loop()
        if not self._talk.has_lost:
            pauses.failed(loop.time())
            log.warning("%s: %s; it is made anew", self._connection.entry.place.text, self._talk.lose())
            return
        await self.close()
        await asyncio.sleep(pauses.left(loop.time()))
        pauses.failed(loop.time())  # until it is known that it has not
        try:
            await self.open()
            await self._take_up()
        except BaseException as error:
            self._talk.has_ended = True  # also where who waits has given up: the next one who reads tries again
            if not isinstance(error, FeedError) or isinstance(error, LockedOut):
                raise
            log.info("%s: %s", self._connection.entry.place.text, error)
            return
        pauses.connected(loop.time())

    async def _take_up(self) -> None:
        """Subscribe on a new connection to all that there was. Raises FeedError where it ends meanwhile."""
        for requests in self._talk.take_up():
            for _, line in requests:
                await self._connection.say(line)
            await self._connection.read_until(partial(self._talk.are_answered, requests))
        await self._connection.say_due()
        if self._talk.why_anew:
            log.warning("%s: what was missed is lost: %s", self._connection.entry.place.text, self._talk.why_anew)


@asynccontextmanager
async def connect(
    address: str | PathLike[str],
    *,
    token: PathText | None = None,
    ssl: Ssl = None,
    insecure: bool = False,
    reconnect: bool = False,
    resume: bool = True,
) -> AsyncIterator[Feed]:
    """Connect to a daemon's feed: `unix:PATH`, `tcp:HOST:PORT`, `http:HOST:PORT`, or the path of its socket alone.

    `ws://HOST:PORT/feed` and `http://HOST:PORT` mean a WebSocket; `wss://` and `https://` one over TLS.

    token: the token as text, or the path (a `pathlib.Path`) of a file that holds it
    ssl: `True`, a `Tls` or a context of the standard library: TLS is spoken, as with `wss://` in any case
    insecure: a token is shown without TLS even to another machine
    reconnect: where the connection ends it is made anew, again and again, and a `Gap` tells of the time between
    resume: what was missed in that time is asked for, where the daemon keeps a journal

    Raises FeedError, whose text says what to do, when no daemon listens there or it turns the client away.
    """
    feed = Feed(Entry(parse_place(address), token, ssl, insecure=insecure), reconnect=reconnect, resume=resume)
    try:
        await feed.open()
        yield feed
    finally:
        await feed.close()
