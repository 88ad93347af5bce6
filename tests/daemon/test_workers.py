"""A daemon whose exchanges are gathered by several processes: one daemon to the outside, also where one dies."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.daemon import test_daemon
from tests.daemon.test_daemon import PROGRAM, ROOT, Row, Running, configure, exchanges, files_sink, of, running
from tests.daemon.test_insight import Port, free_port
from tests.daemon.test_killed import in_files, untold
from tests.support.moved_workers import unchained

pytestmark = pytest.mark.waits

__all__ = ["exchanges"]  # the fixture

NUMBERED = ("binance", "coinbaseexchange", "kraken")
WORKERS = "workers = 2"
BEGIN_S = 120.0
BLOCKED_S = 3.0  # a worker has closed gaps by then, and would have marked that
# Several processes begin, and marks wait for a busy disk; to ask all of them keeps each from what it is to do.
until = partial(test_daemon.until, patience=BEGIN_S, pause=0.1)


def ask(directory: Path, patience: float = 20, **request: object) -> Row:
    """Ask the daemon at its control socket; the first line of the answer."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(patience)
        line.connect(str(directory / "state/control.sock"))
        line.sendall(json.dumps(request).encode() + b"\n")
        return dict(json.loads(line.makefile("rb").readline()))


def status(directory: Path, **request: object) -> Row:
    with suppress(OSError):
        return dict(ask(directory, 20, op="status", **request)["status"])
    return {}


def is_well(directory: Path) -> bool:
    """Whether every worker is there, and all that is followed is live."""
    found = status(directory, only="troubled")
    workers = found.get("workers", [])
    return bool(workers) and all(each["pid"] for each in workers) and not found["topics"] and all(
        each["state"] == "running" and each["topics"] for each in found["exchanges"]
    )  # fmt: skip


def all_live(directory: Path) -> None:
    """Wait until everything is live; several processes begin, and a busy machine takes its time for that."""
    end = time.monotonic() + BEGIN_S
    while not is_well(directory):
        assert time.monotonic() < end, status(directory, only="troubled")
        time.sleep(0.1)


@contextmanager
def gathering(directory: Path, exchanges: str, sinks: str = "") -> Iterator[Running]:
    """A daemon with two workers, once all is live."""
    sinks = sinks or '[[sinks]]\ntype = "stdout"\nqueue = 1000000\n'
    path = configure(directory, exchanges, sinks=sinks)
    path.write_text(path.read_text().replace(f"workers = {test_daemon.WORKERS}", WORKERS))
    with running(path) as daemon:
        all_live(directory)
        yield daemon


def is_gone(directory: Path, pid: int) -> bool:
    """Whether a worker is another process now."""
    return pid not in [each["pid"] for each in status(directory).get("workers", [])]


def gaps(rows: list[Row], **fields: Any) -> list[Row]:
    return [row for row in rows if row["type"] == "gap" and fields.items() <= row.items()]


@pytest.mark.timeout(400)
def test_a_worker_that_dies_costs_a_gap_of_its_topics_and_nothing_else(tmp_path: Path, exchanges: str) -> None:
    with gathering(tmp_path, of(exchanges, *NUMBERED)) as daemon:
        kills: list[tuple[int, list[str]]] = []
        for number in (0, 1, 0):
            worker = status(tmp_path)["workers"][number]
            kills.append((time.time_ns(), worker["exchanges"]))
            os.kill(worker["pid"], signal.SIGKILL)
            until(partial(is_gone, tmp_path, worker["pid"]), what="its end")
            all_live(tmp_path)
        until(lambda: not any(each["gaps"] for each in status(tmp_path)["exchanges"]), what="every gap is closed")
        found = status(tmp_path)
        assert [each["begun"] for each in found["workers"]] == [3, 2]
        assert sorted(id for each in found["workers"] for id in each["exchanges"]) == sorted(NUMBERED)
        end = time.time_ns()
        assert daemon.signal(signal.SIGTERM) == 0
    rows = daemon.records()
    assert [row["offset"] for row in rows] == list(range(1, len(rows) + 1))
    assert untold(rows) == []
    before = [row for row in rows if row["ts_recv"] < end]
    opened = gaps(before, phase="open")
    assert {row["cause"] for row in opened} == {"restart"}
    for row in opened:
        assert any(row["exchange"] in ids and abs(ts - row["ts_from"]) < 2 * 10**9 for ts, ids in kills), row
    assert {row["gap_id"] for row in opened} == {row["gap_id"] for row in gaps(before, phase="close")}
    for _, ids in kills:
        assert set(ids) <= {row["exchange"] for row in opened}
    assert "worker 1: process" in daemon.log
    assert "(signal 9); another goes on with" in daemon.log


@pytest.mark.timeout(400)
def test_no_worker_outlives_a_hub_that_is_killed_and_the_next_start_tells_what_is_missing(
    tmp_path: Path, exchanges: str
) -> None:
    sinks = files_sink(tmp_path)
    with gathering(tmp_path, of(exchanges, *NUMBERED), sinks) as daemon:
        pids = [each["pid"] for each in status(tmp_path)["workers"]]
        daemon.signal(signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), what="no worker is left")
    with gathering(tmp_path, of(exchanges, *NUMBERED), sinks) as daemon:
        assert daemon.signal(signal.SIGTERM) == 0
    rows = list(in_files(tmp_path / "data"))
    assert untold(rows) == []
    assert {row["exchange"] for row in gaps(rows, cause="restart") if row["conn"] != "files"} == set(NUMBERED)
    left = {path.stem.partition("+")[0] for path in (tmp_path / "state/left").glob("*.numbers")}
    assert len(left) <= 1, "nothing grows: those of a worker that had to be killed in the end are the next start's"


@contextmanager
def simulated(config: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Exchanges at a port, which end and come again."""
    options = ["--simulate", "binance,kraken", "--port", str(port), "--rate", "300", "--config-out", str(config)]
    sandbox = subprocess.Popen([*PROGRAM, "sandbox", *options], stderr=subprocess.PIPE, cwd=ROOT)
    try:
        assert sandbox.stderr is not None
        assert sandbox.stderr.readline().startswith(b"sandbox: serving")
        yield sandbox
    finally:
        sandbox.kill()
        sandbox.communicate()


def is_connected(port: int) -> bool:
    """Whether somebody has a connection to a port of this machine."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(int(row[2].partition(":")[2], 16) == port and row[3] == "01" for row in rows)


@pytest.mark.timeout(400)
def test_a_gap_of_whose_end_a_blocked_hub_has_not_told_is_closed_by_the_next_start(tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "sandbox.toml"
    with ExitStack() as stack:
        sandbox = stack.enter_context(simulated(config, port))
        exchanges = config.read_text().partition("[[sinks]]")[0]
        daemon = stack.enter_context(gathering(tmp_path, exchanges))
        followed = {(topic["exchange"], topic["channel"]) for topic in status(tmp_path, topics=["*:*:*"])["topics"]}
        sandbox.kill()
        until(
            lambda: {(gap["exchange"], gap["channel"]) for gap in gaps(daemon.records(), phase="open")} >= followed,
            what="a gap of each",
        )
        stack.enter_context(simulated(config, port))
        test_daemon.until(lambda: is_connected(port), what="a worker goes on", pause=0.001)  # the hub has allowed that
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(BLOCKED_S)
        daemon.signal(signal.SIGKILL)
        before = daemon.records()
        later = stack.enter_context(gathering(tmp_path, exchanges))
        assert later.signal(signal.SIGTERM) == 0
    opened = {gap["gap_id"] for gap in gaps(before, phase="open")}
    assert opened - {gap["gap_id"] for gap in gaps([*before, *later.records()], phase="close")} == set()


@pytest.mark.timeout(400)
def test_it_is_asked_and_changed_as_one_daemon(tmp_path: Path, exchanges: str) -> None:
    with gathering(tmp_path, of(exchanges, "binance", "kraken")) as daemon:
        topics = status(tmp_path, topics=["trades:*:*"])["topics"]
        assert {topic["exchange"] for topic in topics} == {"binance", "kraken"}
        (explained,) = ask(tmp_path, op="explain", topic="trades:kraken:BTC/USD")["topics"]
        assert explained["state"] == "live"
        assert any("acknowledged" in step for step in explained["steps"])
        tapped = ask(tmp_path, op="tap", topic="trades:kraken:BTC/USD", most=1)
        assert tapped["conn"].startswith("kraken/")
        assert all("offset" not in record for record in tapped["records"])
        assert any("worker 2" in line for line in ask(tmp_path, op="stacks")["stacks"])
        shown = subprocess.run(
            [*PROGRAM, "ctl", "status", "--socket", str(tmp_path / "state/control.sock")],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert re.search(r"^2\t\d+\t1\t\d+\t.*\t(binance|kraken)$", shown, re.MULTILINE), shown

        assert ask(tmp_path, op="pause", exchange="kraken")["ok"]
        assert {each["id"]: each["state"] for each in status(tmp_path)["exchanges"]}["kraken"] == "paused"
        assert "is paused already" in ask(tmp_path, op="pause", exchange="kraken")["error"]
        worker = next(each for each in status(tmp_path)["workers"] if "kraken" in each["exchanges"])
        os.kill(worker["pid"], signal.SIGKILL)
        until(lambda: [w["begun"] for w in status(tmp_path)["workers"]].count(2) == 1, what="another begins")
        until(lambda: ask(tmp_path, op="resume", exchange="kraken")["ok"], what="it goes on, in another process")
        all_live(tmp_path)

        assert ask(tmp_path, op="unsubscribe", topic="ticker:kraken:*")["topics"] > 0
        worker = next(each for each in status(tmp_path)["workers"] if "kraken" in each["exchanges"])
        os.kill(worker["pid"], signal.SIGKILL)
        until(partial(is_gone, tmp_path, worker["pid"]), what="its end")
        all_live(tmp_path)
        until(lambda: not status(tmp_path, topics=["ticker:kraken:*"])["topics"], what="what was said by hand counts")

        path = tmp_path / "aggregator.toml"
        path.write_text(path.read_text().replace("[[sinks]]", of(exchanges, "okx") + "[[sinks]]"))
        assert ask(tmp_path, op="reload")["changes"] == ["okx: new"]
        until(lambda: daemon.has([("okx", "trade")]), what="its trades")
        config = configure(tmp_path, of(exchanges, "okx", "binance"))
        config.write_text(config.read_text().replace(f"workers = {test_daemon.WORKERS}", WORKERS))
        changes = ask(tmp_path, op="reload")["changes"]
        assert "kraken: gone" in changes
        assert {each["id"] for each in status(tmp_path)["exchanges"]} == {"okx", "binance"}
        config.write_text(config.read_text().replace(WORKERS, "workers = 3"))
        assert "workers cannot change" in ask(tmp_path, op="reload")["error"]
        assert daemon.signal(signal.SIGTERM) == 0
    rows = daemon.records()
    assert gaps(rows, cause="paused", phase="open", exchange="kraken")


def at_worker(directory: Path, exchange: str) -> int:
    """The worker that has an exchange; there is one."""
    (found,) = [each["number"] for each in status(directory)["workers"] if exchange in each["exchanges"]]
    return int(found)


def has_more(daemon: Running, exchange: str, seen: int) -> bool:
    """Whether more trades of an exchange have come."""
    return any(row["type"] == "trade" and row["exchange"] == exchange for row in daemon.records()[seen:])


@pytest.mark.timeout(400)
def test_an_exchange_moves_while_it_streams_and_nobody_notices(tmp_path: Path, exchanges: str) -> None:
    with gathering(tmp_path, of(exchanges, *NUMBERED)) as daemon:
        for id in (*NUMBERED, NUMBERED[0]):
            before = at_worker(tmp_path, id)
            moved = ask(tmp_path, op="move", exchange=id, worker=3 - before, patience=BEGIN_S)
            assert moved == {"ok": True, "worker": 3 - before}
            assert at_worker(tmp_path, id) == 3 - before
            (explained, *_) = ask(tmp_path, op="explain", topic=f"trades:{id}:*")["topics"]
            assert explained["steps"][0].startswith(f"gathered by worker {3 - before}: moved there at ")
            until(partial(has_more, daemon, id, len(daemon.records())), what="more of it")
        found = {each["id"]: each for each in status(tmp_path)["exchanges"]}
        assert {id: each["worker"] for id, each in found.items()} == {id: at_worker(tmp_path, id) for id in NUMBERED}
        assert "an operator has asked for it" in found[NUMBERED[0]]["placed"]
        number = at_worker(tmp_path, "kraken")
        assert "has kraken already" in ask(tmp_path, op="move", exchange="kraken", worker=number)["error"]
        assert "there is no worker 9: they are 1 to 2" in ask(tmp_path, op="move", exchange="kraken", worker=9)["error"]
        assert "is not among the exchanges" in ask(tmp_path, op="move", exchange="nowhere")["error"]
        assert ask(tmp_path, op="pause", exchange="kraken")["ok"]
        assert "kraken is paused" in ask(tmp_path, op="move", exchange="kraken")["error"]
        assert ask(tmp_path, op="resume", exchange="kraken")["ok"]
        all_live(tmp_path)
        end = time.time_ns()
        assert daemon.signal(signal.SIGTERM) == 0
    rows = daemon.records()
    assert [row["offset"] for row in rows] == list(range(1, len(rows) + 1))
    assert untold(rows) == []
    assert {row["cause"] for row in gaps(rows) if row["ts_recv"] < end} <= {"paused"}
    assert unchained(rows) == []


@pytest.mark.timeout(400)
def test_a_worker_that_dies_while_an_exchange_comes_to_it_changes_nothing(tmp_path: Path, exchanges: str) -> None:
    with gathering(tmp_path, of(exchanges, "binance", "kraken")) as daemon:
        before = at_worker(tmp_path, "kraken")
        other = next(each for each in status(tmp_path)["workers"] if each["number"] != before)
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(BEGIN_S)
            line.connect(str(tmp_path / "state/control.sock"))
            line.sendall(b'{"op":"move","exchange":"kraken"}\n')
            until(lambda: any(each.get("coming") for each in status(tmp_path)["workers"]), what="it is on its way")
            assert "one after the other" in ask(tmp_path, op="move", exchange="binance")["error"]
            os.kill(other["pid"], signal.SIGKILL)
            said = json.loads(line.makefile("rb").readline())
        assert "kraken stays where it is" in said["error"]
        assert at_worker(tmp_path, "kraken") == before
        until(partial(is_gone, tmp_path, other["pid"]), what="its end")
        all_live(tmp_path)
        assert ask(tmp_path, op="move", exchange="kraken", patience=BEGIN_S)["worker"] == 3 - before
        worker = status(tmp_path)["workers"][2 - before]
        os.kill(worker["pid"], signal.SIGKILL)
        until(partial(is_gone, tmp_path, worker["pid"]), what="its end")
        all_live(tmp_path)
        until(lambda: not any(each["gaps"] for each in status(tmp_path)["exchanges"]), what="every gap is closed")
        end = time.time_ns()
        assert daemon.signal(signal.SIGTERM) == 0
    rows = daemon.records()
    assert untold(rows) == []
    opened = [row for row in gaps(rows, phase="open") if row["ts_recv"] < end]
    assert {row["cause"] for row in opened} == {"restart"}
    assert {row["exchange"] for row in opened} == {"binance", "kraken"}, "each died with the worker that had it"


@pytest.mark.timeout(400)
def test_readiness_counts_the_topics_of_all_workers(tmp_path: Path, exchanges: str) -> None:
    number = free_port()
    files = f'[[sinks]]\ntype = "files"\npath = "{tmp_path}/data"\n'
    feed = f'[feed]\nlisten = ["http:127.0.0.1:{number}"]\n'
    with gathering(tmp_path, of(exchanges, "binance", "kraken"), files + feed) as daemon:
        port = Port(daemon, number)
        until(port.is_ready, what="fresh data")
        whole = port.json("/readyz")[1]
        until(lambda: port.is_ready("?topic=trades:kraken:*"), what="fresh trades")
        named = port.json("/readyz?topic=trades:kraken:*")[1]
        assert 0 < named["fresh"] < whole["fresh"]
        assert (named["stale"], named["reasons"]) == (0, [])
        assert port.json("/readyz?topic=trades:okx:*")[1]["reasons"] == ["no topic fits"]


@pytest.mark.timeout(400)
def test_whoever_comes_late_to_the_feed_has_books_and_states(tmp_path: Path, exchanges: str) -> None:
    feed = f'[feed]\nlisten = ["unix:{tmp_path}/feed.sock"]\n'
    with gathering(tmp_path, of(exchanges, "binance", "kraken"), feed) as daemon, socket.socket(socket.AF_UNIX) as line:
        line.settimeout(20)
        line.connect(str(tmp_path / "feed.sock"))
        line.sendall(b"book:*:*\n")
        begun: dict[tuple[str, str], str] = {}
        for text in line.makefile("rb"):
            row = json.loads(text)
            if row["type"] in {"book_snapshot", "book_delta"}:
                begun.setdefault((row["exchange"], row["raw_symbol"]), row["type"])
            if len(begun) == 8:
                break
        assert set(begun.values()) == {"book_snapshot"}
        assert daemon.signal(signal.SIGTERM) == 0


@pytest.mark.timeout(400)
def test_topics_on_demand_are_brought_by_the_worker_that_has_the_exchange(tmp_path: Path, exchanges: str) -> None:
    feed = f'[feed]\nlisten = ["unix:{tmp_path}/feed.sock"]\n'
    wanted = of(exchanges, "kraken").replace("symbols =", "on_demand = true\nsymbols =")
    config = configure(tmp_path, of(exchanges, "binance"), wanted, sinks=feed)
    config.write_text(config.read_text().replace(f"workers = {test_daemon.WORKERS}", WORKERS))
    with running(config) as daemon, ExitStack() as stack:
        line = stack.enter_context(socket.socket(socket.AF_UNIX))
        until(
            lambda: all(each["state"] == "running" for each in status(tmp_path).get("exchanges", [{"state": 0}])),
            what="both run",
        )
        assert not status(tmp_path, topics=["*:kraken:*"])["topics"]
        line.settimeout(20)
        line.connect(str(tmp_path / "feed.sock"))
        line.sendall(b"trades:kraken:BTC/USD\ntrades:kraken:BTC/USE\ntrades:nowhere:BTC/USD\n")
        told = stack.enter_context(line.makefile("rb"))
        absent: dict[str, str] = {}
        answers = trades = 0
        while trades < 3 or answers < 3:
            row = json.loads(told.readline())
            answers += row["type"] == "subscribed"
            absent |= {each["topic"]: each["reason"] for each in row.get("absent", ())}
            trades += row["type"] == "trade" and row["exchange"] == "kraken"
        assert set(absent) == {"trades:nowhere:BTC/USD", "trades:kraken:BTC/USE"}
        assert absent["trades:kraken:BTC/USE"] == "kraken lists no 'BTC/USE'"
        (topic,) = status(tmp_path, topics=["trades:kraken:BTC/USD"])["topics"]
        assert topic["demand"] == "live"
        marks = tmp_path / "state/left/kraken.json"
        until(lambda: b'"is_followed":true' in marks.read_bytes(), what="a mark of it")
        worker = next(each for each in status(tmp_path)["workers"] if "kraken" in each["exchanges"])
        os.kill(worker["pid"], signal.SIGKILL)
        while json.loads(told.readline()).get("cause") != "restart":
            pass
        while json.loads(told.readline())["type"] != "trade":
            pass
        assert daemon.signal(signal.SIGTERM) == 0
