"""Redis: the client appends or publishes the same payloads in one pipeline a batch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from aggregator.bus.bus import Batch
from aggregator.sinks.brokers.redis import SINK
from bench.targets.target import Mode, Send, Target
from tests.support.servers import redis as server


def settings(mode: str, port: int) -> dict[str, object]:
    return {"url": f"redis://127.0.0.1:{port}/0", "mode": mode}


@asynccontextmanager
async def batches(port: int) -> AsyncIterator[Send]:
    """One entry a batch."""
    client = Redis.from_url(f"redis://127.0.0.1:{port}/0", single_connection_client=True)

    async def send(batch: Batch) -> None:
        await client.xadd("market:trades:x", {"records": batch.blob}, maxlen=1_000_000, approximate=True)

    try:
        yield send
    finally:
        await client.aclose()


@asynccontextmanager
async def records(port: int) -> AsyncIterator[Send]:
    """One entry a record."""
    client = Redis.from_url(f"redis://127.0.0.1:{port}/0", single_connection_client=True)

    async def send(batch: Batch) -> None:
        pipe = client.pipeline(transaction=False)
        for line in batch.lines:
            pipe.xadd("market:trades:x:BTC/USDT", {"records": line}, maxlen=1_000_000, approximate=True)
        await pipe.execute()

    try:
        yield send
    finally:
        await client.aclose()


@asynccontextmanager
async def publish(port: int) -> AsyncIterator[Send]:
    """One message a record."""
    client = Redis.from_url(f"redis://127.0.0.1:{port}/0", single_connection_client=True)

    async def send(batch: Batch) -> None:
        pipe = client.pipeline(transaction=False)
        for line in batch.lines:
            pipe.publish("market:trades:x:BTC/USDT", line)
        await pipe.execute()

    try:
        yield send
    finally:
        await client.aclose()


@asynccontextmanager
async def latest(port: int) -> AsyncIterator[Send]:
    """One command a batch."""
    client = Redis.from_url(f"redis://127.0.0.1:{port}/0", single_connection_client=True)

    async def send(batch: Batch) -> None:
        mapping = {f"x:{record.symbol}": line for record, line in zip(batch.records, batch.lines, strict=True)}
        await client.hset("market:trades", mapping=mapping)

    try:
        yield send
    finally:
        await client.aclose()


TARGET = Target(
    SINK,
    server,
    {
        "batches": Mode(lambda port: settings("batches", port), batches),
        "records": Mode(lambda port: settings("records", port), records, is_slow=True),
        "publish": Mode(lambda port: settings("publish", port), publish, is_slow=True),
        "latest": Mode(lambda port: settings("latest", port), latest),
    },
)
