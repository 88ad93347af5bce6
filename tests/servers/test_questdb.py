"""The `questdb` sink at its protocol: at a receiver that is killed, hangs, refuses rows, or is too old."""

import base64
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aggregator.records import Bbo, BookDelta, Candle, Gap, Record, Trade
from aggregator.sinks.databases.questdb import SINK, statement
from aggregator.sinks.databases.rows import kept
from aggregator.tables.columns import TYPE_OF, WIDE
from tests.support.delivery import Delivery, Row, differences, is_whole, records, told_again
from tests.support.questdb import rows
from tests.support.servers import Server, questdb

pytestmark = pytest.mark.waits

COUNT = 10_000
TS = 1_795_000_000_000_000_777


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = questdb(tmp_path / "questdb")
    server.start()
    yield server
    server.kill()


def delivery(server: Server, folder: Path, **settings: object) -> Delivery:
    return Delivery(SINK, folder, url=f"http://127.0.0.1:{server.port}", **settings)


def taken(server: Server) -> list[tuple[str, dict[str, Any], int]]:
    """The rows that were taken: table, values and time."""
    lines = (server.folder / "data/taken").read_bytes().splitlines()
    return [row for line in lines for row in rows(base64.b64decode(line))]


def stored(server: Server) -> list[Row]:
    """The records of all rows; those of the same keys are one, as the tables were made so."""
    found: dict[tuple[int, str, int], Row] = {}
    for table, values, time in taken(server):
        kind = TYPE_OF[table.removeprefix("market_")]
        for column in kept(kind):
            value = values.get(column.name)
            if value is not None and column.kind == "number":
                values[column.name] = format(value, "f")
            elif value is not None and column.kind in {"rows", "json", "words"}:
                values[column.name] = json.loads(value)
        row = told_again(kind, {**values, "ts_recv": time})
        found[time, values["epoch"], values["offset"]] = row
    return sorted(found.values(), key=lambda row: int(row["offset"]))


def fitting(count: int) -> list[Record]:
    """The records of other tests, with sizes of 18 digits behind the point."""
    made = records(count)
    for record in made:
        if isinstance(record, Trade):
            record.size = f"0.{int(record.size[2:]):018}"
    return made


async def test_every_record_arrives_though_the_receiver_is_killed(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path)
    status = await given.run(fitting(COUNT), outages=3, down=server.kill, up=server.start)
    assert is_whole(status, COUNT)
    assert status.restarts >= 3
    assert differences(given.published, stored(server)) == []


async def test_a_receiver_that_hangs_is_waited_for(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path)
    status = await given.run(fitting(COUNT), outages=1, down=server.hang, up=server.go_on)
    assert is_whole(status, COUNT)
    assert differences(given.published, stored(server)) == []


async def test_a_record_that_fits_no_column_is_a_dead_letter(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path)
    await given.sink.start()
    names: dict[str, Any] = {"exchange": "x", "symbol": "A/B", "ts_recv": TS}
    texts = ("60424.4500", "0.1234567890123456789", "1_000", "-0.0000000000000000010")
    given.bus.publish([Trade(**names, price=text, size="1") for text in texts])
    given.bus.publish([Trade(**names, price="1", size="1", id=text) for text in ("good", "poison", "last")])
    status = await given.end()
    assert (status.written, status.refused, status.held) == (4, 3, 0)
    found = [(values["price"], values.get("id")) for _, values, _ in taken(server)]
    tiny = Decimal("-0.000000000000000001")
    assert sorted(found, key=str) == sorted(
        [(Decimal("60424.45"), None), (tiny, None), (Decimal(1), "good"), (Decimal(1), "last")], key=str
    )
    reasons = {json.loads(line)["reason"] for line in next((tmp_path / "dead").iterdir()).read_bytes().splitlines()}
    assert any("0.1234567890123456789" in reason and "18 behind the point" in reason for reason in reasons)
    assert any("failed to parse line protocol" in reason for reason in reasons)


async def test_a_row_has_each_value_as_it_is(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path)
    await given.sink.start()
    text = 'a "quoted", one=\\ \n'
    candle = Candle(exchange="x", symbol=text, interval="1m", ts_open=TS, open="1", high="2", low="1", close="1.0")
    candle.ts_recv, candle.closed, candle.sequence = TS, False, 2**64 - 1
    given.bus.publish([candle, BookDelta(exchange="x", symbol=None, bids=[("1.10", "0")], asks=[], flags=("late",))])
    assert is_whole(await given.end(), 2)
    (_, first, time), (_, second, zero) = taken(server)
    assert (time, zero) == (TS, 0)
    assert (first["symbol"], first["ts_open"], first["closed"], first["close"]) == (text, TS, "false", Decimal("1.0"))
    assert "sequence" not in first
    assert json.loads(first["misfits"]) == {"sequence": 2**64 - 1}
    assert (second["bids"], second["asks"], second["flags"]) == ('[["1.10","0"]]', "[]", '["late"]')
    assert "symbol" not in second


async def test_tables_are_made_with_keys_and_decimals(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path, prefix="")
    await given.sink.start()
    given.bus.publish([Bbo(exchange="x", symbol="A/B")])
    assert is_whole(await given.end(), 1)
    made = (server.folder / "data/tables").read_text().splitlines()
    assert len(made) == len(set(made)) == len(TYPE_OF)
    assert statement("", Trade) in made
    assert f'"price" DECIMAL({WIDE.digits}, {WIDE.fraction})' in statement("", Trade)
    assert statement("", Gap).endswith(
        'TIMESTAMP(ts_recv) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts_recv, epoch, "offset")'
    )


async def test_a_server_without_decimals_is_told(tmp_path: Path) -> None:
    server = questdb(tmp_path / "old", versions=(1, 2))
    server.start()
    given = delivery(server, tmp_path)
    await given.sink.start()
    assert "has no decimals" in await given.fails()
    await given.sink.abandon()
    server.kill()
