"""The `influx` sink on InfluxDB 1, which is killed and hangs, and on VictoriaMetrics in both dialects."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import pytest
from msgspec import structs

from aggregator.records import Bbo, Candle, Funding, Gap, Record, Trade
from aggregator.sinks.databases.influx import SINK
from aggregator.sinks.sink import ALL
from tests.support.delivery import EXCHANGES, SYMBOLS, Delivery, is_whole
from tests.support.servers import Server, influxdb, victoria_metrics

pytestmark = pytest.mark.waits

COUNT = 10_000
TS = 1_795_000_000_000_000_777
Point = tuple[float, float]


def records(count: int) -> list[Record]:
    """Best prices and funding rates of many topics, many of them of one moment."""
    return [_record(number) for number in range(count)]


def _record(number: int) -> Record:
    symbol, exchange = SYMBOLS[number % len(SYMBOLS)], EXCHANGES[number // len(SYMBOLS) % len(EXCHANGES)]
    names: dict[str, Any] = {"exchange": exchange, "symbol": symbol, "ts_recv": TS + number // 100 * 1_000_000}
    if number % 7 == 6:
        return Funding(**names, rate=f"-0.{number:06}", ts_next=TS)
    return Bbo(**names, bid_price="60424.4500", bid_size=f"{number}.25", ask_price=None, ask_size="0.00001")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = influxdb(tmp_path / "influxdb")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[Server]:
    server = victoria_metrics(tmp_path / "victoria-metrics")
    server.start()
    yield server
    server.kill()


def delivery(server: Server, folder: Path, **settings: object) -> Delivery:
    return Delivery(SINK, folder, url=f"http://127.0.0.1:{server.port}", **settings)


def asked(server: Server, path: str, **query: str) -> bytes:
    with urlopen(f"http://127.0.0.1:{server.port}{path}?{urlencode(query, quote_via=quote)}") as answer:
        return bytes(answer.read())


def posted(server: Server, path: str, body: bytes) -> None:
    urlopen(f"http://127.0.0.1:{server.port}{path}", data=body).close()


def points(server: Server, measurement: str) -> list[dict[str, Any]]:
    """The points that InfluxDB has, by their times."""
    query = f"SELECT * FROM {measurement} ORDER BY time"  # noqa: S608 - ours
    found = json.loads(asked(server, "/query", db="market", epoch="ns", q=query))["results"][0]
    return [
        {name: value for name, value in zip(series["columns"], row, strict=True) if value is not None}
        for series in found.get("series", [])
        for row in series["values"]
    ]


def wanted(record: Record) -> dict[str, Any]:
    """The point that a record is to be."""
    symbol = {"tBTCF0:USTF0": "tBTCF0:USTF0", "a b": "a%20b"}.get(record.symbol or "", record.symbol)
    time = record.ts_recv // 1000 * 1000 + record.offset % 1000
    point = {"time": time, "exchange": record.exchange, "symbol": symbol, "offset": record.offset}
    if isinstance(record, Bbo):
        assert record.bid_size is not None
        return point | {
            "origin": "native", "bid_price": 60424.45, "bid_size": float(record.bid_size), "ask_size": 0.00001
        }  # fmt: skip
    assert isinstance(record, Funding)
    return point | {"kind": "current", "rate": float(record.rate), "ts_next": TS}


def assert_all_are_there(server: Server, published: list[Record]) -> None:
    for kind in (Bbo, Funding):
        name = "bbo" if kind is Bbo else "funding"
        expected = {record.offset: wanted(record) for record in published if isinstance(record, kind)}
        found = points(server, name)
        assert len(found) == len(expected)
        assert {point["offset"]: point for point in found} == expected


async def test_influxdb_has_every_record_once_though_it_is_killed(server: Server, tmp_path: Path) -> None:
    given, published = delivery(server, tmp_path), records(COUNT)
    status = await given.run(published, outages=3, down=server.kill, up=server.start)
    assert is_whole(status, COUNT)
    assert_all_are_there(server, published)


async def test_a_server_that_hangs_is_waited_for(server: Server, tmp_path: Path) -> None:
    given, published = delivery(server, tmp_path), records(COUNT)
    assert is_whole(await given.run(published, outages=1, down=server.hang, up=server.go_on), COUNT)
    assert_all_are_there(server, published)


async def test_what_is_no_value_and_what_no_double_holds_is_a_dead_letter(server: Server, tmp_path: Path) -> None:
    greedy = structs.replace(SINK, delivery=structs.replace(SINK.defaults, topics=ALL))
    given = Delivery(greedy, tmp_path, url=f"http://127.0.0.1:{server.port}")
    await given.sink.start()
    names: dict[str, Any] = {"exchange": "x", "symbol": "A/B"}
    prices = ("1.5", "9" * 400, "1_000", "nan")
    gap = Gap(**names, gap_id="1", phase="close", cause="sequence", ts_from=1)
    trade = Trade(**names, price="1", size="2")
    given.bus.publish([*[Bbo(**names, bid_price=price) for price in prices], gap, trade])
    status = await given.end()
    assert (status.written, status.refused, status.held) == (2, 4, 0)
    assert [point["bid_price"] for point in points(server, "bbo")] == [1.5]
    reasons = [json.loads(line)["reason"] for line in next((tmp_path / "dead").iterdir()).read_bytes().splitlines()]
    assert "is no number that a double holds" in reasons[0]
    assert any("a trade is no measured value" in reason for reason in reasons)


async def test_a_field_of_another_type_costs_its_own_records_alone(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path)
    await given.sink.start()
    given.bus.publish([Bbo(exchange="x", ts_recv=TS, bid_price="1")])
    assert is_whole(await given.end(), 1)
    posted(server, "/write?db=market", f'funding,exchange=x rate="text" {TS}'.encode())
    given = delivery(server, tmp_path)
    await given.sink.start()
    given.bus.publish([Bbo(exchange="x", ts_recv=TS, bid_price="2"), Funding(exchange="x", ts_recv=TS, rate="1")])
    status = await given.end()
    assert (status.written, status.refused) == (1, 1)


async def test_the_last_state_of_a_candle_stays(server: Server, tmp_path: Path) -> None:
    given = delivery(server, tmp_path)
    await given.sink.start()
    names: dict[str, Any] = {"exchange": "x", "symbol": "A/B", "interval": "1m", "ts_open": TS, "open": "1", "low": "1"}
    given.bus.publish([Candle(**names, high=text, close=text, closed=text == "3") for text in ("1", "2", "3")])
    assert is_whole(await given.end(), 3)
    (candle,) = points(server, "candle")
    assert (candle["time"], candle["high"], candle["closed"]) == (TS, 3.0, True)


@pytest.mark.parametrize("dialect", ["v1", "v2"])
async def test_victoriametrics_has_every_value_to_the_millisecond(
    metrics: Server, tmp_path: Path, dialect: str
) -> None:
    given, published = delivery(metrics, tmp_path, dialect=dialect), records(COUNT)
    assert is_whole(await given.run(published, outages=1, down=metrics.hang, up=metrics.go_on), COUNT)
    expected = {
        (each.ts_recv // 1_000_000, wanted(each)["rate" if isinstance(each, Funding) else "bid_size"])
        for each in published
    }
    for _ in range(20):  # it flushes what it has taken bit by bit
        asked(metrics, "/internal/force_flush")
        if (found := exported(metrics)) == expected:
            break
        await asyncio.sleep(0.5)
    assert found == expected


def exported(server: Server) -> set[Point]:
    """The times (ms) and values that VictoriaMetrics has of two fields."""
    names = {"match[]": '{__name__=~"bbo_bid_size|funding_rate"}', "start": "0", "end": "4000000000"}
    found: set[Point] = set()
    for line in asked(server, "/api/v1/export", **names).splitlines():
        series = json.loads(line)
        assert series["metric"]["exchange"] in EXCHANGES
        found |= set(zip(series["timestamps"], series["values"], strict=True))
    return found
