"""A WebSocket client as a pair of streams, so that a test of lines runs over it as over a socket."""

import asyncio
import os
import socket
from base64 import b64encode
from typing import Any

TEXT, BINARY, CLOSE = 0x81, 0x82, 0x88  # first bytes of frames that are whole
MASK = b"\0\0\0\0"  # a client's frames are masked; with this one they stay readable
END = b"\r\n\r\n"


class LinesProtocol(asyncio.Protocol):
    """Gives what the server's frames hold to a stream reader, which pauses the socket where nobody reads."""

    def __init__(self, ahead: int) -> None:
        self.reader = asyncio.StreamReader(limit=ahead)
        self.opened: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.reader.set_transport(transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.opened.done():
            head, end, rest = bytes(self._buffer).partition(END)
            if not end:
                return
            self._buffer = bytearray(rest)
            self.opened.set_result(head)
        while (frame := self._frame()) is not None:
            first, payload = frame
            if first in {TEXT, BINARY}:
                self.reader.feed_data(payload)
            elif first == CLOSE:
                self.reader.feed_eof()

    def _frame(self) -> tuple[int, bytes] | None:
        """The next frame of the server, which masks none."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, head = buffer[1], 2
        if size >= 126:
            head = 4 if size == 126 else 10
            size = int.from_bytes(buffer[2:head], "big")
        if len(buffer) < head + size:
            return None
        frame = buffer[0], bytes(buffer[head : head + size])
        del buffer[: head + size]
        return frame

    def connection_lost(self, _: Exception | None) -> None:
        self.reader.feed_eof()
        if not self.closed.done():
            self.closed.set_result(None)


class Writer:
    """What a stream writer is to such a test."""

    def __init__(self, transport: asyncio.Transport, protocol: LinesProtocol) -> None:
        self.transport = transport
        self._closed = protocol.closed

    def write(self, data: bytes) -> None:
        """Send each line as a message; one that is no text as a binary one."""
        frames = b"".join(map(_masked, data.splitlines(keepends=True)))
        self.transport.write(frames)

    def write_eof(self) -> None:
        self.transport.write(bytes([CLOSE, 0x82]) + MASK + (1000).to_bytes(2, "big"))

    def close(self) -> None:
        self.transport.close()

    async def drain(self) -> None:
        await asyncio.sleep(0)

    async def wait_closed(self) -> None:
        await self._closed


def _masked(payload: bytes) -> bytes:
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 127]) + size.to_bytes(8, "big")
    try:
        payload.decode()
    except UnicodeDecodeError:
        return bytes([BINARY]) + length + MASK + payload
    return bytes([TEXT]) + length + MASK + payload


async def connect(sock: socket.socket, path: str, ahead: int) -> tuple[asyncio.StreamReader, Writer]:
    """Open a WebSocket over a connected socket."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(lambda: LinesProtocol(ahead), sock=sock)
    key = b64encode(os.urandom(16)).decode()
    head = [f"GET {path} HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade"]
    head += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
    transport.write("\r\n".join(head).encode())
    said = await protocol.opened
    assert said.startswith(b"HTTP/1.1 101"), said
    return protocol.reader, Writer(transport, protocol)
