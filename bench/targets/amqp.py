"""RabbitMQ: the client publishes the same payloads as persistent messages, and awaits the same confirmations."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika import DeliveryMode, Message

from aggregator.bus.bus import Batch
from aggregator.sinks.brokers.amqp import SINK
from bench.targets.target import Mode, Send, Target
from tests.support.servers import rabbitmq


def settings(mode: str, port: int) -> dict[str, object]:
    return {"url": f"amqp://127.0.0.1:{port}", "mode": mode}


@asynccontextmanager
async def exchange(port: int) -> AsyncIterator[aio_pika.abc.AbstractExchange]:
    """An exchange with a queue behind it, as the sink makes them."""
    async with await aio_pika.connect(port=port) as connection:
        channel = await connection.channel()
        made = await channel.declare_exchange("market", "topic", durable=True)
        await (await channel.declare_queue("market", durable=True)).bind(made, "#")
        yield made


@asynccontextmanager
async def batches(port: int) -> AsyncIterator[Send]:
    """One message a batch."""
    async with exchange(port) as target:

        async def send(batch: Batch) -> None:
            await target.publish(Message(batch.blob, delivery_mode=DeliveryMode.PERSISTENT), "market.trades.x")

        yield send


@asynccontextmanager
async def records(port: int) -> AsyncIterator[Send]:
    """One message a record, all of a batch before the first confirmation."""
    async with exchange(port) as target:

        async def send(batch: Batch) -> None:
            parcels = [Message(line, delivery_mode=DeliveryMode.PERSISTENT) for line in batch.lines]
            await asyncio.gather(*[target.publish(parcel, "market.trades.x.BTC/USDT") for parcel in parcels])

        yield send


TARGET = Target(
    SINK,
    rabbitmq,
    {
        "batches": Mode(lambda port: settings("batches", port), batches),
        "records": Mode(lambda port: settings("records", port), records, is_slow=True),
    },
)
