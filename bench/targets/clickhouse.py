"""ClickHouse: the client inserts the same columns into the same table, in its native form, one insert a batch.

The server is its engine behind a server of the tests, so the rates say how both fare there, and nothing of a real one.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import clickhouse_connect

from aggregator.bus.bus import Batch
from aggregator.records import Trade
from aggregator.sinks.databases.clickhouse import SINK, missing, table_columns
from bench.targets.target import Mode, Send, Target
from tests.support.servers import clickhouse as server

# What the client alone stores of a trade: all that the records of this bench hold.
FIELDS = (
    "exchange", "symbol", "raw_symbol", "ts_event", "ts_recv", "offset", "conn", "source", "sequence", "id", "side",
    "size_unit", "kind",
)  # fmt: skip
NUMBERS = ("price", "size", "base_size")


def settings(port: int) -> dict[str, object]:
    return {"url": f"http://127.0.0.1:{port}"}


@asynccontextmanager
async def alone(port: int) -> AsyncIterator[Send]:
    """Insert in another thread, as the sink does."""
    client = await asyncio.to_thread(clickhouse_connect.get_client, host="127.0.0.1", port=port, compress=False)
    names = ["epoch", *FIELDS, *NUMBERS, *(f"{name}_text" for name in NUMBERS)]
    types = {column.name: column.type for column in table_columns(Trade)}
    client.command("CREATE DATABASE IF NOT EXISTS market")
    for statement in missing("market", ()):
        client.command(statement)

    async def send(batch: Batch) -> None:
        records = batch.records
        texts = [[getattr(record, name) for record in records] for name in NUMBERS]
        plain = [[getattr(record, name) for record in records] for name in FIELDS]
        held = [[batch.epoch] * len(records), *plain, *([float(text) for text in each] for each in texts), *texts]
        insert = partial(client.insert, "trade", held, database="market", column_names=names, column_oriented=True)
        await asyncio.to_thread(insert, column_type_names=[types[name] for name in names])

    try:
        yield send
    finally:
        client.close()


TARGET = Target(SINK, server, {"batches": Mode(settings, alone)})
