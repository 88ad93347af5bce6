"""ZeroMQ: the client sends the same payloads with the same topics; a subscriber reads and throws away."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import zmq

from aggregator.bus.bus import Batch
from aggregator.sinks.brokers.zmq import SINK
from bench.targets.target import Mode, Send, Target
from tests.support.servers import Server

SUBSCRIBER = """
import pathlib, sys, zmq
reader = zmq.Context().socket(zmq.SUB)
reader.setsockopt(zmq.RCVHWM, 0)
reader.setsockopt(zmq.RECONNECT_IVL, 5)
reader.setsockopt(zmq.SUBSCRIBE, b"market:")
reader.connect("tcp://127.0.0.1:" + sys.argv[1])
pathlib.Path(sys.argv[2]).touch()
while True:
    reader.recv_multipart()
"""


def subscriber(folder: Path) -> Server:
    """Read what comes, from when somebody is there to connect to: it tries again every few milliseconds."""
    ready = folder / "ready"
    command = [sys.executable, "-c", SUBSCRIBER]
    return Server(folder, lambda port: [*command, str(port), str(ready)], is_ready=lambda _: ready.exists())


def settings(mode: str, port: int) -> dict[str, object]:
    return {"url": f"tcp://127.0.0.1:{port}", "mode": mode, "high_water": 1_000_000, "slow": "wait"}


@contextmanager
def bound(port: int) -> Iterator["zmq.Socket[bytes]"]:
    """A socket; as it is closed, all that was sent goes to who reads, as with the sink."""
    with zmq.Context() as context, context.socket(zmq.PUB) as client:
        client.setsockopt(zmq.SNDHWM, 1_000_000)
        client.bind(f"tcp://127.0.0.1:{port}")
        yield client


@asynccontextmanager
async def batches(port: int) -> AsyncIterator[Send]:
    """One message a batch."""
    with bound(port) as client:

        async def send(batch: Batch) -> None:
            client.send_multipart((b"market:trades:x:", b"e 1 1000 0", batch.blob), zmq.DONTWAIT)

        yield send


@asynccontextmanager
async def records(port: int) -> AsyncIterator[Send]:
    """One message a record."""
    with bound(port) as client:

        async def send(batch: Batch) -> None:
            for line in batch.lines:
                client.send_multipart((b"market:trades:x:BTC/USDT:", b"e 1 1 0", line), zmq.DONTWAIT)

        yield send


TARGET = Target(
    SINK,
    subscriber,
    {
        "batches": Mode(lambda port: settings("batches", port), batches),
        "records": Mode(lambda port: settings("records", port), records, is_slow=True),
    },
)
