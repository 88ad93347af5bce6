"""NATS: the client publishes the same payloads, prepared beforehand or not, and awaits the same answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats

from aggregator.bus.bus import Batch
from aggregator.sinks.brokers.nats import SINK
from aggregator.sinks.brokers.nats_client import BATCH, BEFORE, EPOCH
from bench.targets.target import Mode, Send, Target
from tests.support.servers import nats as server


def settings(mode: str, port: int) -> dict[str, object]:
    return {"servers": (f"nats://127.0.0.1:{port}",), "mode": mode, "stream_bytes": 1 << 33}


@asynccontextmanager
async def frames(port: int) -> AsyncIterator[Send]:
    """One message a batch."""
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    stream = client.jetstream()
    await stream.add_stream(name="market", subjects=["market.>"])

    async def send(batch: Batch) -> None:
        await stream.publish("market.trades.x", batch.blob, headers={"Nats-Msg-Id": str(batch.first)})

    try:
        yield send
    finally:
        await client.close()


@asynccontextmanager
async def records(port: int) -> AsyncIterator[Send]:
    """One message a record, all of a batch before the first answer."""
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    stream = client.jetstream(publish_async_max_pending=1 << 16)
    await stream.add_stream(name="market", subjects=["market.>"])

    async def send(batch: Batch) -> None:
        answers = [
            await stream.publish_async("market.trades.x.BTC/USDT", line, headers={"Nats-Msg-Id": f"{batch.first}:{at}"})
            for at, line in enumerate(batch.lines)
        ]
        await asyncio.gather(*answers)

    try:
        yield send
    finally:
        await client.close()


@asynccontextmanager
async def core(port: int) -> AsyncIterator[Send]:
    """One message a record with the headers that a reader needs, and one answer a batch."""
    client = await nats.connect(f"nats://127.0.0.1:{port}")

    async def send(batch: Batch) -> None:
        headers = {EPOCH: batch.epoch, BATCH: f"{batch.first}-{batch.last}/{len(batch)}", BEFORE: str(batch.first - 1)}
        for line in batch.lines:
            await client.publish("market.trades.x.BTC/USDT", line, headers=headers)
        await client.flush()

    try:
        yield send
    finally:
        await client.close()


TARGET = Target(
    SINK,
    server,
    {
        "frames": Mode(lambda port: settings("frames", port), frames),
        "records": Mode(lambda port: settings("records", port), records, is_slow=True),
        "core": Mode(lambda port: settings("core", port), core),
    },
)
