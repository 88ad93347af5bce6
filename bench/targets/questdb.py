"""QuestDB: its client writes the same columns, one request a batch, to a receiver that reads nothing of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from questdb import Protocol, Sender, TimestampNanos

from aggregator.bus.bus import Batch
from aggregator.records import Trade
from aggregator.sinks.databases.questdb import SINK
from bench.targets.target import Mode, Send, Target
from tests.support.servers import questdb

SYMBOLS = ("exchange", "symbol", "raw_symbol", "conn", "source", "side", "size_unit", "kind")


def settings(port: int) -> dict[str, object]:
    return {"url": f"http://127.0.0.1:{port}"}


@asynccontextmanager
async def alone(port: int) -> AsyncIterator[Send]:
    """Write in another thread, as the sink does."""
    sender = Sender(Protocol.Http, "127.0.0.1", port, auto_flush=False, retry_timeout=0)
    await asyncio.to_thread(sender.establish)

    def write(batch: Batch) -> None:
        buffer = sender.new_buffer()
        for record in batch.records:
            assert isinstance(record, Trade)  # noqa: S101 - the bench has no others
            assert record.base_size is not None  # noqa: S101 - likewise
            symbols: dict[str, str | None] = {name: getattr(record, name) for name in SYMBOLS}
            columns: dict[str, Any] = {
                "offset": record.offset,
                "ts_event": TimestampNanos(record.ts_event or 0),
                "sequence": record.sequence,
                "id": record.id,
                "price": Decimal(record.price),
                "size": Decimal(record.size),
                "base_size": Decimal(record.base_size),
            }
            buffer.row(
                "trade", symbols=symbols | {"epoch": batch.epoch}, columns=columns, at=TimestampNanos(record.ts_recv)
            )
        sender.flush(buffer)

    async def send(batch: Batch) -> None:
        await asyncio.to_thread(write, batch)

    try:
        yield send
    finally:
        sender.close(flush=False)


TARGET = Target(SINK, lambda folder: questdb(folder, reads=False), {"batches": Mode(settings, alone)})
