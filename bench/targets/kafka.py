"""Kafka: the client produces the same records with the same settings and headers, and waits for the same answers."""

import asyncio
from functools import partial

from confluent_kafka import Producer

from aggregator.bus.bus import Batch
from aggregator.sinks.brokers.kafka import SINK
from bench.targets.target import Mode, Send, Target
from tests.support.servers import tansu


async def alone(port: int) -> Send:
    """One message a record; its answer is heard by a function, as it must be."""
    client = Producer(
        {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "compression.type": "zstd",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
        }
    )

    def hear(error: object, _: object) -> None:
        if error is not None:
            raise SystemExit(f"kafka: {error}")

    def produce(lines: list[bytes]) -> None:
        headers: list[tuple[str, str | bytes | None]] = [
            ("Aggregator-Type", "trade"),
            ("Aggregator-Schema", "1"),
            ("Aggregator-Epoch", "e"),
        ]
        for line in lines:
            client.produce("market.trades.x", line, b"trades:x:BTC/USDT", headers=headers, on_delivery=hear)
        client.flush()

    async def send(batch: Batch) -> None:
        await asyncio.to_thread(partial(produce, batch.lines))

    return send


TARGET = Target(SINK, tansu, {"records": Mode(lambda port: {"servers": (f"127.0.0.1:{port}",)}, alone)})
