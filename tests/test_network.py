import asyncio
import base64
import hashlib

from aggregator.network import PLAIN_BUFFER, Internet
from aggregator.topics import Now

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
FRAME = b"x" * 120
COUNT = 100_000


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: asyncio.Event) -> None:
    """Shake hands, and send far more than the system holds; `left` is set once the client has hung up."""
    head = await reader.readuntil(b"\r\n\r\n")
    (key,) = [line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")]
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + base64.b64encode(hashlib.sha1(key + MAGIC).digest())  # noqa: S324 - the protocol's own
        + b"\r\n\r\n"
        + bytes([0x81, len(FRAME)]).join([b"", *[FRAME] * COUNT])
    )
    await writer.drain()
    await reader.read()
    writer.close()
    await writer.wait_closed()
    left.set()


class Counting:
    """How many frames each read of the socket brought."""

    name = "toy/counting.0#1"

    def __init__(self) -> None:
        self.reads = [0]
        self.done = asyncio.Event()

    def frame(self, payload: bytes, now: Now, *, last: bool) -> None:  # noqa: ARG002 - a listener's own
        self.reads[-1] += 1
        if last:
            self.reads.append(0)
        if sum(self.reads) == COUNT:
            self.done.set()

    def gone(self, reason: str) -> None:
        pass


async def test_a_plain_line_that_is_flooded_brings_little_at_once() -> None:
    """Else one read brings megabytes, and nothing else has its turn until they are worked through."""
    left = asyncio.Event()
    server = await asyncio.start_server(lambda reader, writer: flood(reader, writer, left), "127.0.0.1")
    internet, counting = Internet(), Counting()
    async with server, asyncio.timeout(20):
        line = await internet.dial(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", counting)
        await counting.done.wait()
        line.hang_up()
        await left.wait()
    await internet.close()
    assert max(counting.reads) * len(FRAME) <= 4 * PLAIN_BUFFER
