"""Kafka: the client produces the same records with the same settings and headers, and waits for the same answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from confluent_kafka import Producer

from aggregator.bus.bus import Batch
from aggregator.records import MS_NS
from aggregator.sinks.brokers.kafka import SINK
from bench.targets.target import Mode, Send, Target
from tests.support.servers import tansu


@asynccontextmanager
async def alone(port: int) -> AsyncIterator[Send]:
    """One message a record, with its key and time; its answer is heard by a function, as it must be."""
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

    def produce(batch: Batch) -> None:
        headers: list[tuple[str, str | bytes | None]] = [
            ("Aggregator-Type", "trade"),
            ("Aggregator-Schema", "1"),
            ("Aggregator-Epoch", "e"),
        ]
        for record, line in zip(batch.records, batch.lines, strict=True):
            client.produce(
                "market.trades.x",
                line[:-1],
                f"trades:x:{record.symbol}",
                timestamp=record.ts_recv // MS_NS,
                headers=headers,
                on_delivery=hear,
            )
        client.flush()

    async def send(batch: Batch) -> None:
        await asyncio.to_thread(produce, batch)

    yield send  # each batch is flushed, and a producer has nothing to close


TARGET = Target(SINK, tansu, {"records": Mode(lambda port: {"servers": (f"127.0.0.1:{port}",)}, alone)})
