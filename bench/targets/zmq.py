"""ZeroMQ: the client sends the same payloads with the same topics; a subscriber reads and throws away."""

import sys
from pathlib import Path

import zmq

from aggregator.bus.bus import Batch
from aggregator.sinks.brokers.zmq import SINK
from bench.targets.target import Mode, Send, Target
from tests.support.servers import Server

SUBSCRIBER = """
import sys, zmq
reader = zmq.Context().socket(zmq.SUB)
reader.setsockopt(zmq.RCVHWM, 0)
reader.setsockopt(zmq.RECONNECT_IVL, 5)
reader.setsockopt(zmq.SUBSCRIBE, b"market:")
reader.connect("tcp://127.0.0.1:" + sys.argv[1])
while True:
    reader.recv_multipart()
"""


def subscriber(folder: Path) -> Server:
    return Server(folder, lambda port: [sys.executable, "-c", SUBSCRIBER, str(port)], is_ready=lambda _: True)


def settings(mode: str, port: int) -> dict[str, object]:
    return {"url": f"tcp://127.0.0.1:{port}", "mode": mode, "high_water": 1_000_000, "slow": "wait"}


def bound(port: int) -> "zmq.Socket[bytes]":
    client = zmq.Context().socket(zmq.PUB)
    client.setsockopt(zmq.SNDHWM, 1_000_000)
    client.bind(f"tcp://127.0.0.1:{port}")
    return client


async def batches(port: int) -> Send:
    """One message a batch."""
    client = bound(port)

    async def send(batch: Batch) -> None:
        client.send_multipart((b"market:trades:x:", b"e 1 1000 0", batch.blob), zmq.DONTWAIT)

    return send


async def records(port: int) -> Send:
    """One message a record."""
    client = bound(port)

    async def send(batch: Batch) -> None:
        for line in batch.lines:
            client.send_multipart((b"market:trades:x:BTC/USDT:", b"e 1 1 0", line), zmq.DONTWAIT)

    return send


TARGET = Target(
    SINK,
    subscriber,
    {
        "batches": Mode(lambda port: settings("batches", port), batches),
        "records": Mode(lambda port: settings("records", port), records, is_slow=True),
    },
)
