import asyncio

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from aggregator.network import PLAIN_BUFFER, Internet
from aggregator.topics import Now

FRAME = b"x" * 120
COUNT = 100_000


class Flood(WSListener):
    """Sends far more than the system holds; `left` is set once the client has hung up."""

    def __init__(self, left: asyncio.Event) -> None:
        self._left = left

    def on_ws_connected(self, transport: WSTransport) -> None:
        for _ in range(COUNT):
            transport.send(WSMsgType.TEXT, FRAME)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows' own
        self._left.set()


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
    server = await ws_create_server(lambda _: Flood(left), "127.0.0.1", 0)
    internet, counting = Internet(), Counting()
    async with server, asyncio.timeout(20):
        line = await internet.dial(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", counting)
        await counting.done.wait()
        line.hang_up()
        await left.wait()
    await internet.close()
    assert max(counting.reads) * len(FRAME) <= 4 * PLAIN_BUFFER
