"""A client of the feed; docs/python.md shows it in use.

    async with connect("/run/aggregator/feed.sock") as feed:
        await feed.subscribe("trades:*:BTC/USDT")
        async for record in feed:
            print(record)

Everything that can go wrong raises `FeedError`, whose text says what and where. `aggregator.client.sync` has the same
for programs without asyncio.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from os import PathLike
from typing import Literal, overload

from aggregator.client.books import LiveBook
from aggregator.client.conversation import Answer, Conversation, CutOff, FeedError
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

__all__ = ["CutOff", "Feed", "FeedError", "LiveBook", "connect"]

GREETING_S = 10.0  # the daemon has so long to say who it is
READ_BYTES = 256 * 1024  # one read, and about as much is read ahead


class Feed:
    """A connection to the feed.

    `async for record in feed` gives records as structs (a `Lag` where this client was too slow), `feed.lines()` the
    same as NDJSON lines, without reading them. Both end when the feed says goodbye, and raise `CutOff` where the
    connection ends without that. Read steadily: what is not read is lost at the daemon's end, and told by a `Lag`.
    """

    def __init__(self, wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use `connect` instead."""
        self._wire = wire
        self._reader = reader
        self._writer = writer
        self.hello: Hello  # the greeting: what the stream is, and the offset of the last record before it
        self._talk = Conversation()
        self._reading = asyncio.Lock()

    @property
    def goodbye(self) -> str | None:
        """Why the feed has hung up, in its words; None while it has not."""
        return self._talk.goodbye

    async def subscribe(
        self,
        *topics: str,
        snapshot: bool = True,
        numbers: Numbers | None = None,
        time: Time | None = None,
    ) -> Subscribed:
        """Subscribe to these patterns (`channel:exchange:symbol`) too. Raises FeedError when the feed refuses them.

        snapshot: whether each book starts with the whole book
        numbers: `float` for JSON numbers; holds for the whole connection, whose records are then read by `lines` only
        time: `us`, `ms` or `iso`; likewise
        """
        return await self._ask(Subscribe(list(topics), snapshot=snapshot, numbers=numbers, time=time), Subscribed)

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
        await self._send(self._wire.sent(line))
        await self._wait(lambda: self._talk.is_answered(id))
        return self._talk.answer(id, kind)

    async def _wait(self, is_here: Callable[[], bool]) -> bool:
        """Read until `is_here`; False when the end came first. Of several tasks that wait, one reads for all."""
        while not is_here():
            async with self._reading:
                if is_here():
                    break
                if self._talk.has_ended:
                    return False
                await self._read()
        return True

    async def _read(self) -> None:
        try:
            data = await self._reader.read(READ_BYTES)
        except ConnectionError:
            data = b""
        lines = self._wire.received(data)
        await self._send(self._wire.to_send())
        if lines or not data:
            self._talk.receive(lines)

    async def _send(self, data: bytes) -> None:
        if data:
            with suppress(ConnectionError):  # reading tells what came before the end
                self._writer.write(data)
                await self._writer.drain()

    async def greet(self) -> None:
        """Hear the greeting, which `connect` has done. Raises FeedError where no feed speaks."""
        try:
            async with asyncio.timeout(GREETING_S):
                await self._send(self._wire.to_send())
                await self._wait(lambda: self._talk.greeting is not None)
        except TimeoutError:
            raise FeedError(silence()) from None
        if self._talk.greeting is not None:
            self.hello = self._talk.greeting


@asynccontextmanager
async def connect(address: str | PathLike[str]) -> AsyncIterator[Feed]:
    """Connect to a daemon's feed: `unix:PATH`, `tcp:HOST:PORT`, `http:HOST:PORT`, or the path of its socket alone.

    `ws://HOST:PORT/feed` and `http://HOST:PORT` mean the same as `http:HOST:PORT`: a WebSocket.
    Raises FeedError when no daemon listens there.
    """
    place = parse_place(address)
    wire = wire_to(place)
    try:
        reader, writer = await _dial(place)
    except OSError as error:
        raise unreachable(place, error) from error
    try:
        feed = Feed(wire, reader, writer)
        await feed.greet()
        yield feed
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _dial(place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = place.address
    if isinstance(address, UnixAddress):
        return await asyncio.open_unix_connection(address.path, limit=READ_BYTES)
    return await asyncio.open_connection(address.host, address.port, limit=READ_BYTES)


def unreachable(place: Place, error: OSError) -> FeedError:
    """The reason why nobody answers at a place, in words."""
    if isinstance(error, FileNotFoundError):
        return FeedError(f"{place.text} is not there: does the daemon run, with a feed at this path?")
    number = error.errno or 0  # it is negative where a name does not resolve
    return FeedError(f"cannot connect to {place.text}: {os.strerror(number) if number > 0 else error}")


def silence() -> str:
    """The complaint about a daemon that does not greet."""
    return f"what listens there has not said a word in {GREETING_S:.0f} s"
