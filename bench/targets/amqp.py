"""RabbitMQ: the client publishes the same payloads as persistent messages, and awaits the same confirmations."""

import asyncio

import aio_pika
from aio_pika import DeliveryMode, Message

from aggregator.bus.bus import Batch
from aggregator.sinks.brokers.amqp import SINK
from bench.targets.target import Mode, Send, Target
from tests.support.servers import rabbitmq


def settings(mode: str, port: int) -> dict[str, object]:
    return {"url": f"amqp://127.0.0.1:{port}", "mode": mode}


async def exchange(port: int) -> aio_pika.abc.AbstractExchange:
    """An exchange with a queue behind it, as the sink makes them."""
    channel = await (await aio_pika.connect(port=port)).channel()
    made = await channel.declare_exchange("market", "topic", durable=True)
    await (await channel.declare_queue("market", durable=True)).bind(made, "#")
    return made


async def batches(port: int) -> Send:
    """One message a batch."""
    target = await exchange(port)

    async def send(batch: Batch) -> None:
        await target.publish(Message(batch.blob, delivery_mode=DeliveryMode.PERSISTENT), "market.trades.x")

    return send


async def records(port: int) -> Send:
    """One message a record, all of a batch before the first confirmation."""
    target = await exchange(port)

    async def send(batch: Batch) -> None:
        parcels = [Message(line, delivery_mode=DeliveryMode.PERSISTENT) for line in batch.lines]
        await asyncio.gather(*[target.publish(parcel, "market.trades.x.BTC/USDT") for parcel in parcels])

    return send


TARGET = Target(
    SINK,
    rabbitmq,
    {
        "batches": Mode(lambda port: settings("batches", port), batches),
        "records": Mode(lambda port: settings("records", port), records, is_slow=True),
    },
)
