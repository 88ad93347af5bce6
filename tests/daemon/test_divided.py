"""One exchange whose symbols several workers divide: one exchange to the outside, also where a worker dies or moves."""

import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from aggregator.cluster.buckets import bucket_of
from aggregator.ingest import checkpoint_file
from tests.daemon.test_daemon import WORKERS, Row, Running, configure, exchanges, of, running
from tests.daemon.test_killed import untold
from tests.daemon.test_workers import BEGIN_S, ask, gaps, has_more, is_gone, status, until
from tests.support.moved_workers import unchained

pytestmark = pytest.mark.waits

__all__ = ["exchanges"]  # the fixture

PARTS = ["binance-0of2", "binance-1of2"]
STDOUT = '[[sinks]]\ntype = "stdout"\nqueue = 1000000\n'


def divided(directory: Path, table: str, *, workers: int = 2, buckets: int = 2, sinks: str = STDOUT) -> Path:
    """A configuration in which an exchange is divided."""
    path = configure(directory, table.replace("symbols =", f"buckets = {buckets}\nsymbols ="), sinks=sinks)
    path.write_text(path.read_text().replace(f"workers = {WORKERS}", f"workers = {workers}"))
    return path


@pytest.fixture(scope="module")
def divided_daemon(tmp_path_factory: pytest.TempPathFactory, exchanges: str) -> Iterator[tuple[Running, Path]]:
    """A daemon in which two of three workers have Binance, and its directory; each test leaves it well."""
    directory = tmp_path_factory.mktemp("divided")
    with running(divided(directory, of(exchanges, "binance"), workers=3)) as daemon:
        until(lambda: is_well(directory), what="all is live")
        yield daemon, directory
        assert daemon.signal(signal.SIGTERM) == 0
    rows = daemon.records()
    assert in_order(rows)
    assert untold([row for row in rows if row["exchange"] == "binance"]) == []


def is_well(directory: Path) -> bool:
    """Whether all workers that have something are there, and all that is followed is live."""
    found = status(directory, only="troubled")
    busy = [each for each in found.get("workers", []) if each["exchanges"]]
    return bool(busy) and all(each["pid"] for each in busy) and not found["topics"] and all(
        each["state"] == "running" and each["topics"] and not each["gaps"] for each in found["exchanges"]
    )  # fmt: skip


def all_marked(directory: Path, buckets: int) -> bool:
    """Whether each part has a mark in which no gap is open: a kill opens one of each topic then."""
    names = PARTS if buckets == 2 else ["binance"]
    marks = [checkpoint_file.load(directory / f"state/left/{name}.json") for name in names]
    return all(mark is not None and mark.rows and not any(row.carried.gap for row in mark.rows) for mark in marks)


def worker_of(directory: Path, part: str) -> Row:
    (found,) = [each for each in status(directory)["workers"] if part in each["exchanges"]]
    return dict(found)


def kill(directory: Path, part: str) -> None:
    """Kill the worker of a part, and wait until its successor is well."""
    pid = worker_of(directory, part)["pid"]
    os.kill(pid, signal.SIGKILL)
    until(partial(is_gone, directory, pid), what="its end")
    until(lambda: is_well(directory), what="its successor is well")


def in_order(rows: list[Row]) -> bool:
    return [row["offset"] for row in rows] == list(range(1, len(rows) + 1))


def since(daemon: Running, seen: int) -> list[Row]:
    """What has come of the exchange behind so many records."""
    return [row for row in daemon.records()[seen:] if row["exchange"] == "binance"]


def are_closed(rows: list[Row]) -> bool:
    """Whether there are gaps of both parts, and all of them have ended."""
    opened = gaps(rows, phase="open")
    closed = {row["gap_id"] for row in gaps(rows, phase="close")}
    return buckets_in(opened) == {0, 1} and {row["gap_id"] for row in opened} <= closed


def buckets_in(rows: list[Row]) -> set[int]:
    return {bucket_of(row["raw_symbol"], 2) for row in rows}


@pytest.mark.timeout(400)
def test_what_is_missing_after_a_kill_is_told_once_in_whatever_parts_it_goes_on(tmp_path: Path, exchanges: str) -> None:
    table, rows = of(exchanges, "binance"), list[Row]()
    lives = [2, 1, 2]  # a start puts the parts together, whatever they are, and divides them anew
    for life, buckets in enumerate(lives):
        path = divided(tmp_path, table, buckets=buckets)
        with running(path) as daemon:
            until(lambda: is_well(tmp_path), what="all is live")
            if life + 1 < len(lives):
                until(lambda: all_marked(tmp_path, buckets), what="marks that know of no gap")  # noqa: B023
                daemon.process.kill()
                daemon.process.wait()
            else:
                end = time.time_ns()
                assert daemon.signal(signal.SIGTERM) == 0
        rows += daemon.records()
        names = {path.name for path in (tmp_path / "state/left").glob("binance*.json")}
        assert names == ({"binance.json"} if buckets == 1 else {f"{part}.json" for part in PARTS})
    assert untold(rows) == []
    opened = [row for row in gaps(rows, phase="open", cause="restart", channel="trades") if row["ts_recv"] < end]
    assert Counter(row["raw_symbol"] for row in opened) == Counter(
        {row["raw_symbol"]: len(lives) - 1 for row in rows if row["type"] == "trade"}
    )


@pytest.mark.timeout(400)
def test_topics_on_demand_are_brought_by_the_worker_of_their_part(tmp_path: Path, exchanges: str) -> None:
    feed = f'[feed]\nlisten = ["unix:{tmp_path}/feed.sock"]\n'
    table = of(exchanges, "binance").replace("symbols =", "on_demand = true\nsymbols =")
    with running(divided(tmp_path, table, sinks=feed)) as daemon, ExitStack() as stack:
        until(lambda: [e["state"] for e in status(tmp_path).get("exchanges", [])] == ["running"], what="it runs")
        line = stack.enter_context(socket.socket(socket.AF_UNIX))
        line.settimeout(20)
        line.connect(str(tmp_path / "feed.sock"))
        line.sendall(b"trades:binance:BTC/USDT\ntrades:binance:XRP/USDT\ntrades:binance:BTC/USE\nticker:binance:X*\n")
        told = stack.enter_context(line.makefile("rb"))
        absent: dict[str, str] = {}
        answers, came = 0, set[tuple[str, str]]()
        wanted = {("trade", "BTC/USDT"), ("trade", "XRP/USDT"), ("ticker", "XRP/USDT")}
        while came != wanted or answers < 4:
            row = json.loads(told.readline())
            answers += row["type"] == "subscribed"
            absent |= {each["topic"]: each["reason"] for each in row.get("absent", ())}
            if row["type"] in {"trade", "ticker"}:
                came.add((row["type"], row["symbol"]))
        assert absent == {"trades:binance:BTC/USE": "binance lists no 'BTC/USE'"}
        topics = status(tmp_path, topics=["*:binance:*"])["topics"]
        assert Counter((each["channel"], each["symbol"], each["demand"]) for each in topics) == Counter([
            ("trades", "BTC/USDT", "live"), ("trades", "XRP/USDT", "live"), ("ticker", "XRP/USDT", "live"),
            ("trades", "BTC/USE", "wanted"),
        ])  # fmt: skip
        assert daemon.signal(signal.SIGTERM) == 0


@pytest.mark.timeout(400)
def test_it_is_one_exchange_and_a_worker_that_dies_costs_a_gap_of_its_own_symbols_alone(
    divided_daemon: tuple[Running, Path],
) -> None:
    daemon, directory = divided_daemon
    found = status(directory, topics=["trades:binance:*"])
    exchange = next(each for each in found["exchanges"] if each["id"] == "binance")
    assert [part["name"] for part in exchange["parts"]] == PARTS
    assert len({part["worker"] for part in exchange["parts"]}) == 2
    assert (exchange["state"], exchange["followed"]["markets"]) == ("running", 4)
    assert sum(exchange["topics"].values()) == sum(sum(each["topics"].values()) for each in exchange["channels"])
    lines = [line["conn"] for shard in exchange["shards"] for line in shard["connections"]]
    assert len(lines) == len(set(lines))
    assert {line.partition("/")[0] for line in lines} == set(PARTS)
    trades = {topic["raw_symbol"]: topic["conn"].partition("/")[0] for topic in found["topics"]}
    assert trades == {symbol: PARTS[bucket_of(symbol, 2)] for symbol in trades}
    assert len(trades) == 4
    for topic in found["topics"]:
        (explained,) = ask(directory, op="explain", topic=f"trades:binance:{topic['symbol']}")["topics"]
        part = trades[topic["raw_symbol"]]
        assert explained["steps"][0].startswith(
            f"gathered by worker {worker_of(directory, part)['number']}, which has {part}: "
        )
        tapped = ask(directory, op="tap", topic=f"trades:binance:{topic['symbol']}", most=1)
        assert tapped["conn"].startswith(f"{part}/")
    assert ask(directory, op="explain", topic="trades:binance:NO/SUCH")["topics"][0]["state"] == "unknown"

    seen = len(daemon.records())
    kill(directory, PARTS[1])
    before = time.time_ns()
    kill(directory, PARTS[0])
    until(lambda: are_closed(since(daemon, seen)), what="what the daemon has told of the ends has come here, too")
    rows = since(daemon, seen)
    opened = gaps(rows, phase="open")
    assert {row["cause"] for row in opened} == {"restart"}
    assert buckets_in([row for row in opened if row["ts_recv"] < before]) == {1}
    assert buckets_in([row for row in opened if row["ts_recv"] >= before]) == {0}
    told = Counter(row["symbol"] for row in rows if row["type"] == "instrument")
    assert set(told) == {row["symbol"] for row in rows if row["type"] == "trade"}
    assert set(told.values()) == {1}, "by the successor that has its symbol"


@pytest.mark.timeout(400)
def test_a_part_moves_while_it_streams_and_nobody_notices(divided_daemon: tuple[Running, Path]) -> None:
    daemon, directory = divided_daemon
    before = [int(worker_of(directory, part)["number"]) for part in PARTS]
    (free,) = {1, 2, 3}.difference(before)
    seen = len(daemon.records())
    assert ask(directory, op="move", exchange=PARTS[0], patience=BEGIN_S) == {"ok": True, "worker": free}
    said = ask(directory, op="move", exchange=PARTS[0], worker=before[1])["error"]
    assert said == f"worker {before[1]} has another part of binance already"
    assert ask(directory, op="move", exchange="binance")["error"] == (
        f"binance is divided: name one of its parts, {PARTS[0]}, {PARTS[1]}"
    )
    assert ask(directory, op="move", exchange=PARTS[1], patience=BEGIN_S) == {"ok": True, "worker": before[0]}
    until(partial(has_more, daemon, "binance", len(daemon.records())), what="more of it")
    assert [worker_of(directory, part)["number"] for part in PARTS] == [free, before[0]]
    time.sleep(1)
    rows = since(daemon, seen)
    assert unchained(rows) == []
    assert gaps(rows) == []


@pytest.mark.timeout(400)
def test_it_is_changed_as_one_exchange(divided_daemon: tuple[Running, Path], exchanges: str) -> None:
    daemon, directory = divided_daemon
    seen = len(daemon.records())
    topics = ask(directory, op="unsubscribe", topic="ticker:binance:*")["topics"]
    assert topics == sum(status(directory)["exchanges"][0]["topics"].values())
    assert not status(directory, topics=["ticker:binance:*"])["topics"]
    paused = ask(directory, op="pause", exchange="binance")
    assert paused["topics"] == topics
    assert status(directory)["exchanges"][0]["state"] == "paused"
    assert ask(directory, op="resume", exchange="binance")["ok"]
    until(lambda: is_well(directory), what="it goes on")
    opened = gaps(since(daemon, seen), phase="open")
    assert {row["cause"] for row in opened} == {"paused"}
    assert buckets_in(opened) == {0, 1}

    path = directory / "aggregator.toml"
    whole = path.read_text()
    path.write_text(whole := whole.replace("buckets = 2", "buckets = 2\nmax_topics = 20000"))
    assert ask(directory, op="reload")["changes"] == ["binance: other max_topics"]
    path.write_text(whole.replace("buckets = 2", "buckets = 1"))
    assert "buckets of binance cannot change while the daemon runs" in ask(directory, op="reload")["error"]
    another = of(exchanges, "okx").replace("symbols =", "buckets = 2\nsymbols =")
    path.write_text(path.read_text().replace("buckets = 1", "buckets = 2").replace("[[sinks]]", f"{another}[[sinks]]"))
    assert ask(directory, op="reload")["changes"] == ["okx: new"]
    until(lambda: is_well(directory), what="both are live")
    assert sorted(name for each in status(directory)["workers"] for name in each["exchanges"]) == [
        *PARTS, "okx-0of2", "okx-1of2",
    ]  # fmt: skip
