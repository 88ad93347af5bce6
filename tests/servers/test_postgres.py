"""The `postgres` sink on a real server that is killed, that hangs, and whose tables are not as they should be."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from aggregator.records import Bbo, BookDelta, Gap, Health, Record, Trade
from aggregator.sinks.databases import postgres
from aggregator.sinks.databases.postgres import SINK
from aggregator.sinks.databases.rows import kept
from aggregator.tables.columns import tag
from tests.support.delivery import Delivery, Row, differences, is_whole, repeats, told_again
from tests.support.servers import Server
from tests.support.servers import postgres as postgres_server

pytestmark = pytest.mark.waits

COUNT = 10_000
TS = 1_795_000_000_000_000_777


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = postgres_server(tmp_path / "postgres")
    server.start()
    yield server
    server.kill()


def delivery(server: Server, folder: Path, **settings: object) -> Delivery:
    return Delivery(SINK, folder, host="127.0.0.1", port=server.port, database="postgres", **settings)


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[asyncpg.Connection]:
    client = await asyncpg.connect(host="127.0.0.1", port=server.port, user="aggregator", database="postgres")
    yield client
    await client.close()


async def stored(server: Server, *kinds: type[Record]) -> list[Row]:
    """The records of the tables, by their offsets."""
    found = []
    async with connected(server) as client:
        for kind in kinds:
            told = [f'"{c.name}"::text' if c.kind in {"number", "rows", "json"} else f'"{c.name}"' for c in kept(kind)]
            rows = await client.fetch(f'SELECT {", ".join(told)} FROM market.{tag(kind)} ORDER BY epoch, "offset"')  # noqa: S608 - ours
            whole = {c.name for c in kept(kind) if c.kind in {"rows", "json"}}
            for row in rows:
                fields = {
                    name: json.loads(value) if name in whole and value is not None else value
                    for name, value in row.items()
                }
                found.append(told_again(kind, fields | (fields["misfits"] or {})))
    return found


async def test_tables_have_every_record_once_though_the_server_is_killed(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path)
    status = await given.run(COUNT, outages=3, down=server.kill, up=server.start)
    assert is_whole(status, COUNT)
    assert status.restarts == 3
    found = await stored(server, Trade, BookDelta, Gap)
    assert differences(given.published, found) == []
    assert repeats(found) == 0


async def test_a_server_that_hangs_is_waited_for(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path)
    assert is_whole(await given.run(COUNT, outages=1, down=server.hang, up=server.go_on), COUNT)
    found = await stored(server, Trade, BookDelta, Gap)
    assert differences(given.published, found) == []
    assert repeats(found) == 0, "what was under way when it hung is not there twice"


async def publish(server: Server, folder: Path, *records: Record, epoch: str = "e") -> tuple[int, int]:
    """How many of these records were written, and how many refused."""
    given = delivery(server, folder)
    given.bus.epoch = epoch
    await given.sink.start()
    given.bus.publish(list(records))
    status = await given.end()
    assert status.held == 0
    return status.written, status.refused


async def test_a_record_that_fits_no_column_is_a_dead_letter(server: Server, tmp_path: Path) -> None:
    names: dict[str, Any] = {"exchange": "x", "symbol": "A/B", "size": "1"}
    texts = ("60424.4500", "1_000", "NaN", "0." + "1" * 16_384, "1e5", "0.0000000000000000001")
    with_nul = Trade(**names, price="1", id="a\0b")
    assert await publish(server, tmp_path, *[Trade(**names, price=text) for text in texts], with_nul) == (2, 5)
    assert [row["price"] for row in await stored(server, Trade)] == ["60424.4500", "0.0000000000000000001"]
    reasons = [json.loads(line)["reason"] for line in next((tmp_path / "dead").iterdir()).read_bytes().splitlines()]
    assert len(reasons) == 5
    assert "price '1_000' has no room" in reasons[0]
    assert "0x00" in reasons[-1]


async def test_a_time_is_cut_and_the_nanoseconds_stay(server: Server, tmp_path: Path) -> None:
    times = (TS, 1_795_046_399_999_999_999, 0)
    assert await publish(server, tmp_path, *[Bbo(exchange="x", symbol="A/B", ts_recv=ts) for ts in times]) == (3, 0)
    async with connected(server) as client:
        await client.execute("SET timezone TO 'UTC'")
        found = await client.fetch('SELECT time::text, ts_recv FROM market.bbo ORDER BY "offset"')
    assert [tuple(row) for row in found] == [
        ("2026-11-18 11:06:40+00", TS),
        ("2026-11-18 23:59:59.999999+00", 1_795_046_399_999_999_999),
        ("1970-01-01 00:00:00+00", 0),
    ]


async def test_an_integer_that_no_column_holds_stands_in_misfits(server: Server, tmp_path: Path) -> None:
    record = Trade(exchange="x", symbol="A/B", price="1", size="2", sequence=2**64 - 1, id="'; drop table trade; --")
    assert await publish(server, tmp_path, record) == (1, 0)
    (row,) = await stored(server, Trade)
    assert (row["sequence"], row["id"]) == (2**64 - 1, record.id)


async def test_tables_follow_the_records(server: Server, tmp_path: Path) -> None:
    """Tables that an earlier version made lack types and columns that were added since."""
    record = Trade(exchange="x", symbol="A/B", price="1", size="2", quote_size="2.0")
    assert await publish(server, tmp_path, record, epoch="1") == (1, 0)
    async with connected(server) as client:
        await client.execute("ALTER TABLE market.trade DROP COLUMN quote_size")
        await client.execute("DROP TABLE market.health")
    assert await publish(server, tmp_path, record, epoch="2") == (1, 0)
    assert [row.get("quote_size") for row in await stored(server, Trade)] == [None, "2.0"]
    assert await stored(server, Health) == []


async def test_a_migration_is_done_once(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Bbo(exchange="x", symbol="A/B")
    assert await publish(server, tmp_path, record) == (1, 0)
    monkeypatch.setattr(postgres, "VERSION", 2)
    monkeypatch.setattr(postgres, "MIGRATIONS", {1: ("CREATE TABLE SCHEMA.added (number integer)",)})
    for epoch in ("2", "3"):
        assert await publish(server, tmp_path, record, epoch=epoch) == (1, 0)
    async with connected(server) as client:
        assert await client.fetch("SELECT version FROM market.aggregator_version ORDER BY 1") == [(1,), (2,)]
        assert await client.fetchval("SELECT count(*) FROM market.added") == 0
    monkeypatch.setattr(postgres, "VERSION", 1)
    given = delivery(server, tmp_path)
    await given.sink.start()
    assert "are of version 2, and this program knows 1" in await given.fails()
    await given.sink.abandon()


async def test_who_may_not_write_is_told(server: Server, tmp_path: Path) -> None:
    async with connected(server) as client:
        await client.execute("CREATE USER guest")
    given = delivery(server, tmp_path, user="guest")
    await given.sink.start()
    assert "permission denied" in await given.fails()
    await given.sink.abandon()
