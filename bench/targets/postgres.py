"""PostgreSQL: the client copies columns into a temporary table, and inserts from there what is not there yet."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from aggregator.bus.bus import Batch
from aggregator.records import Trade
from aggregator.sinks.databases.postgres import SINK
from aggregator.sinks.databases.rows import kept
from bench.targets.target import Mode, Send, Target
from tests.support.servers import postgres as server

# What the client alone stores of a trade: all that the records of this bench hold.
COLUMNS = (
    "epoch", "exchange", "symbol", "raw_symbol", "ts_event", "ts_recv", "offset", "conn", "source", "sequence", "id",
    "price", "size", "side", "base_size", "size_unit", "kind",
)  # fmt: skip
TYPES = {
    "ts_event": "bigint", "ts_recv": "bigint", "offset": "bigint", "sequence": "bigint", "price": "numeric",
    "size": "numeric", "base_size": "numeric",
}  # fmt: skip


def settings(port: int) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": port, "database": "postgres"}


@asynccontextmanager
async def alone(port: int) -> AsyncIterator[Send]:
    """Copy, and insert, in one transaction a batch."""
    client = await asyncpg.connect(host="127.0.0.1", port=port, database="postgres", user="aggregator")
    # fmt: off
    told = ", ".join(f'"{name}" {TYPES.get(name, "text")}' for name in COLUMNS)
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    await client.execute(
        f'CREATE TABLE trade ({told}, time timestamptz, PRIMARY KEY (epoch, "offset", time)); '
        "CREATE INDEX ON trade (exchange, symbol, time); "
        f"CREATE TEMPORARY TABLE staged ({told}) ON COMMIT DELETE ROWS"
    )
    # fmt: on
    insert = (
        f"INSERT INTO trade ({names}, time) SELECT {names}, "  # noqa: S608 - of this file
        "timestamptz 'epoch' + (ts_recv / 1000) * interval '1 microsecond' FROM staged ON CONFLICT DO NOTHING"
    )

    async def send(batch: Batch) -> None:
        rows = [(batch.epoch, *(getattr(record, name) for name in COLUMNS[1:])) for record in batch.records]
        async with client.transaction():
            await client.copy_records_to_table("staged", columns=COLUMNS, records=rows)
            await client.execute(insert)

    try:
        yield send
    finally:
        await client.close()


assert {column.name for column in kept(Trade)} >= set(COLUMNS)  # noqa: S101 - they are the sink's own

TARGET = Target(SINK, server, {"batches": Mode(settings, alone)})
