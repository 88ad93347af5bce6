"""Something between a client and a feed that cuts connections where chance has it."""

import asyncio
import random
from pathlib import Path

from aggregator.feed.address import TcpAddress, UnixAddress


class Cutter:
    """Listens as the feed does, hands on what is said both ways, and cuts each connection within the feed's words.

    most: so many bytes more of them are handed on at most; null: it does not cut
    """

    def __init__(self, far: UnixAddress | TcpAddress, path: Path, chance: random.Random) -> None:
        """Hand on to `far`; `path` is the socket to listen at where that is a unix socket."""
        self.far = far
        self.path = path
        self.chance = chance
        self.most: int | None = None
        self.cuts = 0
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Listen; gives the address."""
        if isinstance(self.far, UnixAddress):
            self._server = await asyncio.start_unix_server(self._serve, self.path)
            return f"unix:{self.path}"
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"{self.far.scheme}:127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._between(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self.far, UnixAddress):
                far_reader, far_writer = await asyncio.open_unix_connection(self.far.path)
            else:
                far_reader, far_writer = await asyncio.open_connection(self.far.host, self.far.port)
        except OSError:
            writer.transport.abort()
            return
        up = asyncio.ensure_future(self._pass(reader, far_writer))
        down = asyncio.ensure_future(self._pass_some(far_reader, writer))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            writer.transport.abort()
            far_writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()

    async def _pass_some(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left: int | None = None
        while data := await reader.read(1 << 16):
            if self.most is None:
                left = None
            elif left is None:
                left = self.chance.randrange(self.most)
            if left is not None and len(data) >= left:
                writer.write(data[:left])
                await writer.drain()
                self.cuts += 1
                return
            left = None if left is None else left - len(data)
            writer.write(data)
            await writer.drain()
