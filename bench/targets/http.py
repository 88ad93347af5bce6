"""A webhook: the client posts the same bodies over one connection, without headers of ours and without a signature."""

import aiohttp

from aggregator.bus.bus import Batch
from aggregator.sinks.http import SINK
from aggregator.sinks.values import KeyPlace
from bench.targets.target import Mode, Send, Target
from tests.support.webhook import webhook


def settings(port: int, **more: object) -> dict[str, object]:
    return {"url": f"http://127.0.0.1:{port}/market", **more}


async def alone(port: int) -> Send:
    """One request a batch."""
    client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))

    async def send(batch: Batch) -> None:
        async with client.post(f"http://127.0.0.1:{port}/market", data=batch.blob) as response:
            response.raise_for_status()
            await response.read()

    return send


TARGET = Target(
    SINK,
    lambda folder: webhook(folder, "forgets"),
    {
        "plain": Mode(settings, alone),
        "signed": Mode(lambda port: settings(port, secret=KeyPlace("plain", "the key")), alone),
        "gzip": Mode(lambda port: settings(port, compression="gzip"), alone),
        "zstd": Mode(lambda port: settings(port, compression="zstd"), alone),
    },
)
