"""The least that any program in Python does: reads the WebSocket, and writes each frame to one unix socket."""

import asyncio
import sys
from typing import cast

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect


class Loop(WSListener):
    """Every frame with a newline, in one write for each read of the socket."""

    def __init__(self) -> None:
        """Have nobody to write to yet."""
        self.out: asyncio.Transport | None = None
        self._parts: list[bytes] = []

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002 - picows' own
        """Pass it on."""
        if frame.msg_type is not WSMsgType.TEXT:
            return
        self._parts.append(frame.get_payload_as_bytes())
        if frame.last_in_buffer:
            parts, self._parts = self._parts, []
            if self.out is not None:
                self.out.write(b"\n".join(parts) + b"\n")

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - likewise
        """Leave."""
        asyncio.get_running_loop().stop()


class Reader(asyncio.Protocol):
    """Whoever connects gets everything."""

    def __init__(self, loop: Loop) -> None:
        """Of this loop."""
        self._loop = loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Write to this one from now on."""
        self._loop.out = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own
        """Write to nobody."""
        self._loop.out = None


async def main(url: str, path: str) -> None:
    """Connect, and go on until hung up."""
    found = Loop()
    async with await asyncio.get_running_loop().create_unix_server(lambda: Reader(found), path):
        transport, _ = await ws_connect(lambda: found, url)
        await transport.wait_disconnected()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
