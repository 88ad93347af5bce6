"""The `clickhouse` sink on ClickHouse's own engine, which is killed, hangs, and has tables of an earlier version."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from aggregator.bus.bus import Batch
from aggregator.records import Bbo, BookDelta, Consolidated, Gap, Record, Trade
from aggregator.sinks.databases.clickhouse import SINK
from aggregator.sinks.sink import NETWORK, Context
from aggregator.tables.columns import columns, tag
from tests.support.delivery import Delivery, Row, differences, is_whole, repeats, told_again
from tests.support.servers import Server
from tests.support.servers import clickhouse as clickhouse_server

pytestmark = [pytest.mark.waits, pytest.mark.timeout(240)]  # the engine takes seconds to start

COUNT = 10_000
TS = 1_795_000_000_000_000_777


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = clickhouse_server(tmp_path_factory.mktemp("clickhouse"))
    server.start()
    yield server
    server.kill()


def delivery(server: Server, folder: Path, database: str, **settings: object) -> Delivery:
    return Delivery(SINK, folder, url=f"http://127.0.0.1:{server.port}", database=database, **settings)


def asked(server: Server, query: str) -> list[dict[str, Any]]:
    """The rows of an answer, in which integers of 64 bits and times are exact."""
    return [json.loads(line) for line in said(server, f"{query} FORMAT JSONEachRow").splitlines()]


def said(server: Server, query: str) -> bytes:
    """The answer to a query."""
    with urlopen(f"http://127.0.0.1:{server.port}/", data=query.encode()) as answer:
        return bytes(answer.read())


def stored(server: Server, database: str, *kinds: type[Record], final: str = "FINAL") -> list[Row]:
    """The records of the tables, by their offsets."""
    found = []
    for kind in kinds:
        told = []
        for column in columns(kind):
            if column.kind == "time":
                told.append(f"toUnixTimestamp64Nano({column.name}) AS {column.name}_ns")
            elif column.kind == "rows":
                parts = [part.name + ("_text" if part.kind == "number" else "") for part in column.parts]
                told.append(f"arrayZip({', '.join(f'`{column.name}.{part}`' for part in parts)}) AS {column.name}")
            else:
                told.append(f"`{column.name}{'_text' if column.kind == 'number' else ''}` AS `{column.name}_`")
        table = f"{database}.{tag(kind)} {final}"
        for row in asked(server, f"SELECT {', '.join(told)}, misfits FROM {table} ORDER BY epoch, offset"):  # noqa: S608
            fields = {name.removesuffix("_ns").removesuffix("_"): value for name, value in row.items()}
            for column in columns(kind):
                if column.kind == "json" and fields[column.name] is not None:
                    fields[column.name] = json.loads(fields[column.name])
                elif column.kind in {"time", "count"} and fields[column.name] is not None:
                    fields[column.name] = int(fields[column.name])
            found.append(told_again(kind, fields | json.loads(fields["misfits"] or "{}")))
    return found


async def test_tables_have_every_record_once_though_the_server_is_killed(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path, "killed")
    status = await given.run(COUNT, outages=3, down=server.kill, up=server.start)
    assert is_whole(status, COUNT)
    assert status.restarts >= 3
    found = stored(server, "killed", Trade, BookDelta, Gap)
    assert (differences(given.published, found), repeats(found)) == ([], 0)


async def test_a_server_that_hangs_is_waited_for(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path, "hung")
    assert is_whole(await given.run(COUNT, outages=1, down=server.hang, up=server.go_on), COUNT)
    found = stored(server, "hung", Trade, BookDelta, Gap)
    assert (differences(given.published, found), repeats(found)) == ([], 0)


async def written(server: Server, database: str, *batches: Batch) -> None:
    """Give these batches to a writer."""
    settings = SINK.settings(url=f"http://127.0.0.1:{server.port}", database=database)
    writer = await SINK.open(settings, Context("clickhouse", None, lambda: TS, NETWORK))  # type: ignore[arg-type]
    for batch in batches:
        done = writer.write(batch)
        assert done is not None
        await done
    await writer.close()


def trades(*offsets: int) -> Batch:
    made: list[Record] = [
        Trade(exchange="x", symbol="A/B", price="1.50", size="2", ts_recv=TS, offset=n) for n in offsets
    ]
    return Batch(made, "e")


async def test_a_batch_that_comes_again_is_stored_once_and_its_records_with_final(server: Server) -> None:
    await written(server, "again", trades(1, 2, 3))
    await written(server, "again", trades(1, 2, 3))
    assert len(stored(server, "again", Trade, final="")) == 3, "its token is known"
    await written(server, "again", trades(2, 3))
    assert len(stored(server, "again", Trade, final="")) == 5, "another batch with some of its records is not known"
    assert [row["offset"] for row in stored(server, "again", Trade)] == [1, 2, 3]


async def test_numbers_are_doubles_with_their_text_beside_them(server: Server) -> None:
    names: dict[str, Any] = {"exchange": "x", "symbol": None, "size": "2", "ts_recv": TS}
    texts = ("0.1234567890123456789", "1" * 400, "1_000", "-60424.4500")
    made: list[Record] = [Trade(**names, price=text, offset=n) for n, text in enumerate(texts, 1)]
    made.append(Trade(**names, price="1", sequence=2**64 - 1, id="'; DROP TABLE", offset=9))
    await written(server, "numbers", Batch(made, "e"))
    found = asked(server, "SELECT price, price_text, toString(ts_recv) AS ts FROM numbers.trade ORDER BY offset")
    assert [row["price"] for row in found[:4]] == [0.12345678901234568, None, None, -60424.45]
    assert [row["price_text"] for row in found[:4]] == list(texts)
    assert {row["ts"] for row in found} == {"2026-11-18 11:06:40.000000777"}
    (last,) = (row for row in stored(server, "numbers", Trade) if row["offset"] == 9)
    assert (last["sequence"], last["id"]) == (2**64 - 1, "'; DROP TABLE")


async def test_every_part_of_rows_is_a_list(server: Server) -> None:
    record = Consolidated(
        exchange="*", symbol="A/B", offset=1, contributors=[("x", "live", 5, "1.0", "2", None, None)], absent=[]
    )
    record.absent = [("y", "old", None), ("z", "waiting", 7)]
    await written(server, "rows", Batch([record], "e"))
    (row,) = stored(server, "rows", Consolidated)
    assert row["contributors"] == [["x", "live", 5, "1.0", "2", None, None]]
    assert row["absent"] == [["y", "old", None], ["z", "waiting", 7]]


async def test_tables_follow_the_records(server: Server) -> None:
    await written(server, "older", trades(1))
    for statement in ("ALTER TABLE older.trade DROP COLUMN quote_size_text", "DROP TABLE older.bbo"):
        said(server, statement)
    await written(server, "older", trades(2), Batch([Bbo(exchange="x", symbol="A/B", offset=3)], "e"))
    assert len(stored(server, "older", Trade, Bbo)) == 3


async def test_what_the_server_says_is_told(server: Server, tmp_path: Path) -> None:
    said(server, "CREATE DATABASE odd")
    said(server, "CREATE VIEW odd.trade AS SELECT 1 AS price")
    given = delivery(server, tmp_path, "odd")
    await given.sink.start()
    assert "is not supported by storage View" in await given.fails()
    await given.sink.abandon()
