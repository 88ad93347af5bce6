"""A client of the feed; docs/python.md shows it in use.

    async with connect("/run/aggregator/feed.sock") as feed:
        await feed.subscribe("trades:*:BTC/USDT")
        async for record in feed:
            print(record)

Everything that can go wrong raises `FeedError`, whose text says what and where.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from os import PathLike, fspath
from pathlib import Path
from typing import TypeVar, Union, get_args

import msgspec
from msgspec import Struct

from aggregator.errors import AggregatorError
from aggregator.feed.address import TcpAddress, UnixAddress, parse_address
from aggregator.feed.protocol import (
    Error,
    Hello,
    ListTopics,
    Numbers,
    Ping,
    Pong,
    Reply,
    Request,
    Subscribe,
    Subscribed,
    Time,
    Topics,
    Unsubscribe,
    Unsubscribed,
)
from aggregator.records import RECORD_TYPES, Record

GREETING_S = 10.0  # the daemon has so long to say who it is
READ_BYTES = 256 * 1024  # one read, and about as much is read ahead

Answer = TypeVar("Answer", Subscribed, Unsubscribed, Pong, Topics)


class FeedError(AggregatorError):
    """The feed cannot be reached, or refuses a request; the text says why."""


class _Kind(Struct):
    type: str


_encode = msgspec.json.Encoder().encode
_kind_of = msgspec.json.Decoder(_Kind).decode
_decode_reply = msgspec.json.Decoder(Reply).decode
_decode_greeting = msgspec.json.Decoder(Hello | Error).decode
_decode_record: Callable[[bytes], Record] = msgspec.json.Decoder(Union[RECORD_TYPES]).decode  # noqa: UP007 - a tuple
REPLIES = frozenset(str(message.__struct_config__.tag) for message in get_args(Reply))


class Feed:
    """A connection to the feed.

    `async for record in feed` gives records as structs (a `Lag` where this client was too slow), `feed.lines()` the
    same as NDJSON lines, without reading them. Both end when the daemon does. Read steadily: what is not read is lost
    at the daemon's end, and told by a `Lag`.
    """

    def __init__(self, hello: Hello, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use `connect` instead."""
        self.hello = hello
        self._reader = reader
        self._writer = writer
        self._rest = b""
        self._lines: deque[bytes] = deque()
        self._answers: dict[int, Reply | None] = {}  # the keys are ids; None until the answer comes
        self._last_id = 0
        self._reading = asyncio.Lock()
        self._has_ended = False

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
        id = self._new_id()
        request = Subscribe(topics=list(topics), id=id, snapshot=snapshot, numbers=numbers, time=time)
        return await self._ask(id, request, Subscribed)

    async def unsubscribe(self, *topics: str) -> Unsubscribed:
        """Leave these patterns, or all if none is named. Raises FeedError for one that was not had."""
        id = self._new_id()
        return await self._ask(id, Unsubscribe(topics=list(topics) or None, id=id), Unsubscribed)

    async def ping(self) -> None:
        """Return once everything is here that the feed sent before."""
        id = self._new_id()
        await self._ask(id, Ping(id=id), Pong)

    async def topics(self) -> list[str]:
        """Give every topic that the daemon knows now."""
        id = self._new_id()
        return (await self._ask(id, ListTopics(id=id), Topics)).topics

    async def lines(self) -> AsyncIterator[bytes]:
        """The records as they come, each line with its newline."""
        while await self._wait(lambda: bool(self._lines)):
            while self._lines:
                yield self._lines.popleft()

    async def __aiter__(self) -> AsyncIterator[Record]:
        """The records as structs. Raises FeedError when `numbers` or `time` of a subscription forbid that."""
        async for line in self.lines():
            try:
                record = _decode_record(line)
            except msgspec.ValidationError as error:
                raise FeedError(f"a line that is no record ({error}); with numbers or time set, use lines()") from error
            yield record

    # --- the conversation

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id

    async def _ask(self, id: int, request: Request, answer: type[Answer]) -> Answer:
        self._answers[id] = None
        try:
            with suppress(ConnectionError):  # reading tells what came before the end
                self._writer.write(_encode(request) + b"\n")
                await self._writer.drain()
            if not await self._wait(lambda: self._answers[id] is not None):
                raise FeedError("the daemon has hung up")
            given = self._answers[id]
        finally:
            del self._answers[id]
        if isinstance(given, answer):
            return given
        raise FeedError(given.error if isinstance(given, Error) else f"an answer of another kind: {given}")

    async def _wait(self, is_here: Callable[[], bool]) -> bool:
        """Read until `is_here`; False when the end came first. Of several tasks that wait, one reads for all."""
        while not is_here():
            async with self._reading:
                if is_here():
                    break
                if self._has_ended:
                    return False
                await self._read()
        return True

    async def _read(self) -> None:
        try:
            data = await self._reader.read(READ_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            self._has_ended = True  # a line without its end is none
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._sort(line)

    def _sort(self, line: bytes) -> None:
        """Put a line where it is waited for."""
        if _kind_of(line).type not in REPLIES:
            self._lines.append(line + b"\n")
            return
        message = _decode_reply(line)
        if isinstance(message.id, int) and message.id in self._answers:
            self._answers[message.id] = message
        elif isinstance(message, Error) and message.id is None:
            raise FeedError(message.error)


@asynccontextmanager
async def connect(address: str | PathLike[str]) -> AsyncIterator[Feed]:
    """Connect to a daemon's feed: `unix:PATH`, `tcp:HOST:PORT`, or the path of its socket alone.

    Raises FeedError when no daemon listens there.
    """
    place = fspath(address)
    try:
        reader, writer = await _dial(place)
    except FileNotFoundError:
        raise FeedError(f"{place} is not there: does the daemon run, with a feed at this path?") from None
    except OSError as error:
        number = error.errno or 0  # it is negative where a name does not resolve
        said = os.strerror(number) if number > 0 else str(error)
        raise FeedError(f"cannot connect to {place}: {said}") from error
    except ValueError as error:  # the address
        raise FeedError(str(error)) from None
    try:
        yield Feed(await _greeting(reader), reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _dial(place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    is_address = place.startswith(("unix:", "tcp:"))
    address = parse_address(place) if is_address else UnixAddress(Path(place))
    if isinstance(address, TcpAddress):
        return await asyncio.open_connection(address.host, address.port, limit=READ_BYTES)
    return await asyncio.open_unix_connection(address.path, limit=READ_BYTES)


async def _greeting(reader: asyncio.StreamReader) -> Hello:
    try:
        async with asyncio.timeout(GREETING_S):
            line = await reader.readline()
        greeting: Hello | Error = _decode_greeting(line)
    except TimeoutError:
        raise FeedError(f"what listens there has not said a word in {GREETING_S:.0f} s") from None
    except (ConnectionError, ValueError) as error:  # msgspec's errors and that of a line too long are ValueErrors
        raise FeedError("what listens there does not speak as the feed does, or has hung up") from error
    if isinstance(greeting, Error):
        raise FeedError(greeting.error)
    return greeting
