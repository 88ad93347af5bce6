"""InfluxDB: aiohttp posts lines of the same kind, which it makes by one format, one request a batch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from aggregator.bus.bus import Batch
from aggregator.records import Bbo, Record
from aggregator.sinks.databases.influx import SINK
from bench.targets.target import Mode, Send, Target
from tests.support.servers import influxdb as server


def record(number: int) -> Record:
    """A best price."""
    return Bbo(
        exchange="x",
        symbol=f"S{number % 50}/USDT",
        ts_recv=1_795_000_000_001_000_777 + number * 1000,
        offset=number + 1,
        conn="x/1#1",
        source="ws",
        bid_price="60424.45",
        bid_size=f"0.{number % 10**8:08}",
        ask_price="60424.46",
        ask_size=f"0.{number % 10**8:08}",
    )


def settings(port: int) -> dict[str, object]:
    return {"url": f"http://127.0.0.1:{port}"}


@asynccontextmanager
async def alone(port: int) -> AsyncIterator[Send]:
    """One request a batch, into a database that is made before."""
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as client:
        async with client.post(f"{url}/query", params={"q": 'CREATE DATABASE "market"'}) as response:
            response.raise_for_status()

        async def send(batch: Batch) -> None:
            lines = [
                f"bbo,exchange={r.exchange},symbol={r.symbol},origin={r.origin} offset={r.offset}i,"
                f"bid_price={r.bid_price},bid_size={r.bid_size},ask_price={r.ask_price},ask_size={r.ask_size} "
                f"{r.ts_recv}"
                for r in batch.records
                if isinstance(r, Bbo)
            ]
            body = "\n".join(lines).encode()
            async with client.post(f"{url}/write", params={"db": "market", "precision": "ns"}, data=body) as response:
                response.raise_for_status()

        yield send


TARGET = Target(SINK, server, {"batches": Mode(settings, alone)}, record)
