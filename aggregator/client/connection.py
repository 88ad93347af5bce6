"""The connection of a conversation, for programs with asyncio: what its socket brings, and what is said there."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aggregator.client import wire
from aggregator.client.conversation import Conversation
from aggregator.client.errors import NoFeed
from aggregator.client.security import Entry, TlsContext
from aggregator.client.wire import READ_BYTES, Wire, silence, wire_to
from aggregator.feed.address import UnixAddress
from aggregator.feed.protocol import Hello

CLOSING_S = 1.0  # the far end has so long to close its side


class FeedConnection:
    """One connection at a time, by which a conversation is held. One task reads."""

    def __init__(self, entry: Entry, talk: Conversation) -> None:
        """Prepare to come in there."""
        self.entry = entry
        self._talk = talk
        self._wire: Wire
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> Hello:
        """Connect, show the token and hear the greeting. Raises FeedError."""
        entry = self.entry
        token, context = entry.token(), entry.context()
        self._wire = wire_to(entry.place, speaks_tls=entry.speaks_tls)
        try:
            async with asyncio.timeout(wire.GREETING_S):
                self._reader, self._writer = await _dial(entry, context)
        except OSError as error:
            raise entry.unreachable(error) from error
        try:
            async with asyncio.timeout(wire.GREETING_S):
                await self._greet(token)
        except TimeoutError:
            raise NoFeed(silence() + entry.advice) from None
        except NoFeed as error:
            raise NoFeed(f"{error}{entry.advice}") from error
        return self._talk.enter()

    async def _greet(self, token: str | None) -> None:
        opening = self._talk.begin(token)
        await self._send(self._wire.to_send())
        await self.read_until(lambda: self._wire.is_open)
        await self.say(opening)
        await self.read_until(lambda: self._talk.is_let_in)

    async def read_until(self, is_here: Callable[[], bool]) -> None:
        """Read until something is so, or the end has come. Raises FeedError."""
        while not is_here() and not self._talk.has_ended:
            await self.read()

    async def read(self) -> None:
        """Wait for what comes, hand it on, and say what has become due by it. Raises FeedError.

        Nothing that has come is lost where the caller waits no longer.
        """
        try:
            data = await self._reader.read(READ_BYTES)
        except OSError as error:  # the system, or TLS, says why
            refusal = self.entry.ended(error)
            if refusal is not None:
                raise refusal from error
            data = b""
        lines = self._wire.received(data)
        if lines or not data:
            self._talk.receive(lines)
        await self._send(self._wire.to_send())
        await self.say_due()

    async def say(self, line: bytes) -> None:
        """Send a line; none where it is empty."""
        if line:
            await self._send(self._wire.sent(line))

    async def say_due(self) -> None:
        """Send what became due by what has come."""
        for line in self._talk.due():
            await self.say(line)

    async def _send(self, data: bytes) -> None:
        if data and self._writer is not None:
            with suppress(OSError):  # reading tells what came before the end
                self._writer.write(data)
                await self._writer.drain()

    async def close(self) -> None:
        """Hang up."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            try:
                async with asyncio.timeout(CLOSING_S):  # TLS waits for the far end to say that it closes too
                    await writer.wait_closed()
            except OSError:
                writer.transport.abort()


async def _dial(entry: Entry, context: "TlsContext | None") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = entry.place.address
    if isinstance(address, UnixAddress):
        return await asyncio.open_unix_connection(address.path, limit=READ_BYTES)
    return await asyncio.open_connection(
        address.host, address.port, limit=READ_BYTES, ssl=context, server_hostname=entry.server_name
    )
