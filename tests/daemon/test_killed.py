"""A daemon that is killed, again and again: what it missed its files and its feed tell, and nothing comes twice.

The simulated exchange numbers its trades one by one, so that every hole shows.
"""

import contextlib
import json
import os
import random
import signal
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard

from aggregator.cli import ctl
from tests.daemon.test_daemon import Row, Running, configure, exchanges, of, until

pytestmark = pytest.mark.waits

__all__ = ["exchanges"]  # the fixture

KILLS = int(os.environ.get("KILLS", "10"))
CHANNELS = {"trade": "trades", "book_snapshot": "book", "book_delta": "book", "bbo": "bbo", "ticker": "ticker"}
DOWN = 3.0  # seconds, once
NUMBERED = ("binance", "coinbaseexchange", "kraken")
SINKS = '[[sinks]]\ntype = "files"\npath = "{0}/data"\n[[sinks]]\ntype = "feed"\npath = "{0}/feed.sock"\n'


class Subscriber:
    """Somebody who follows everything at the feed, and comes back whenever the daemon does."""

    def __init__(self, path: Path) -> None:
        self.rows: list[Row] = []
        self._path = path
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as feed:
                feed.connect(str(self._path))
                feed.sendall(b"*:*:*\n")
                for line in feed.makefile("rb"):
                    if line.endswith(b"\n"):
                        self.rows.append(json.loads(line))
            time.sleep(0.01)

    def leave(self) -> list[Row]:
        self._over.set()
        self._thread.join(10)
        return self.rows


def in_files(directory: Path) -> Iterator[Row]:
    """Every whole line of every file."""
    for path in sorted(directory.rglob("*.ndjson*")):
        blob = path.read_bytes()
        if path.suffix == ".zst":
            blob = zstandard.ZstdDecompressor().stream_reader(blob).read()
        for line in blob.split(b"\n")[:-1]:
            yield json.loads(line)


def have_come(subscriber: Subscriber, seen: int) -> bool:
    """Whether trades of every exchange have come since: several processes may bring them."""
    return {exchange for exchange, _ in trades(subscriber.rows[seen:])} == set(NUMBERED)


def trades(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    found = defaultdict(list)
    for row in rows:
        if row["type"] == "trade":
            found[str(row["exchange"]), str(row["raw_symbol"])].append(row)
    return found


def told(rows: Iterable[Row], exchange: str, raw_symbol: str) -> list[tuple[int, int]]:
    """From when to when something is said to be missing still of a market's trades."""
    return [
        (int(row["ts_from"]), int(row["ts_to"]))
        for row in rows
        if row["type"] == "gap"
        and row["phase"] == "close"
        and row["repair"] not in {"full", "not_needed"}
        and row["channel"] in {"trades", None}
        and row.get("exchange") == exchange
        and row.get("raw_symbol") in {raw_symbol, None}
    ]


def untold(rows: list[Row]) -> list[str]:
    """Holes in the exchange's own numbers that no gap covers; and numbers that came twice."""
    faults = []
    for (exchange, raw_symbol), found in trades(rows).items():
        found.sort(key=lambda row: int(row["sequence"]))
        gaps = told(rows, exchange, raw_symbol)
        for before, after in pairwise(found):
            missing = int(after["sequence"]) - int(before["sequence"]) - 1
            if missing < 0:
                faults.append(f"{raw_symbol}: {after['sequence']} twice")
            elif missing and not any(
                begun <= int(after["ts_recv"]) and ended >= int(before["ts_recv"]) for begun, ended in gaps
            ):
                faults.append(f"{raw_symbol}: {missing} untold after {before['sequence']}")
    return faults


def has_no_gap(control: Path) -> bool:
    """Whether every exchange runs, and no gap of it is open: those of a restart too, which asks for what is missing."""
    answer = json.loads(ctl.ask(control, {"op": "status"}))
    found = answer["status"]["exchanges"]
    return all(each["state"] == "running" and each["topics"] and not each["gaps"] for each in found)


def restarts(rows: Iterable[Row]) -> set[object]:
    """The gaps that the stream itself tells of a restart."""
    return {row["gap_id"] for row in rows if row.get("cause") == "restart" and row["conn"] != "files"}


def covering(rows: Iterable[Row], began: int, ended: int) -> set[tuple[object, ...]]:
    """The topics of which a restart's gap is told that covers a time, and begins no earlier than two seconds before."""
    return {
        (row.get("exchange"), row.get("channel"), row.get("raw_symbol"))
        for row in rows
        if (row["type"], row.get("cause"), row.get("phase")) == ("gap", "restart", "close")
        and began - 2 * 10**9 < int(row["ts_from"]) <= began
        and int(row["ts_to"]) >= ended
    }


def is_told(live: set[tuple[object, ...]], subscriber: Subscriber, seen: int, began: int, ended: int) -> bool:
    """Whether a subscriber has heard of a gap of each of these topics."""
    return live <= covering(subscriber.rows[seen:], began, ended)


@pytest.fixture
def started() -> Iterator[list[Running]]:
    """Daemons that a test starts; none outlives it."""
    daemons: list[Running] = []
    yield daemons
    for daemon in daemons:
        if daemon.process.poll() is None:
            daemon.finish()


@pytest.mark.timeout(300)
def test_what_a_kill_costs_is_told_to_every_sink(tmp_path: Path, exchanges: str, started: list[Running]) -> None:
    config = configure(tmp_path, of(exchanges, *NUMBERED), sinks=SINKS.format(tmp_path))
    subscriber = Subscriber(tmp_path / "feed.sock")
    dice = random.Random(1)

    def start() -> Running:
        started.append(Running(config))
        return started[-1]

    live: set[tuple[object, ...]] = set()
    began = ended = 0
    for kill in range(KILLS):
        daemon, seen = start(), len(subscriber.rows)
        if kill < 2:
            until(partial(have_come, subscriber, seen), what="trades")
        time.sleep(dice.uniform(0.3, 2.0))
        if kill == 1:
            until(partial(is_told, live, subscriber, seen, began, ended), what=f"{live}")
        daemon.signal(signal.SIGKILL)
        daemon.finish()
        assert "Traceback" not in daemon.log, daemon.log
        if kill == 0:
            live = {
                (row["exchange"], CHANNELS[str(row["type"])], row["raw_symbol"])
                for row in subscriber.rows
                if row["type"] in CHANNELS
            }
            assert {exchange for exchange, _, _ in live} == set(NUMBERED)
            began = time.time_ns()
            time.sleep(DOWN)
            ended = time.time_ns()
    daemon, seen = start(), len(subscriber.rows)
    until(lambda: len(trades(subscriber.rows[seen:])) >= 5, what="trades")
    until(lambda: not untold(list(subscriber.rows)), what="the last gaps are closed")
    until(lambda: has_no_gap(tmp_path / "state/control.sock"), what="those that no hole shows, too", pause=0.2)
    assert daemon.signal(signal.SIGTERM) == 0
    daemon.finish()
    rows = subscriber.leave()
    files = list(in_files(tmp_path / "data"))
    assert untold(files) == []
    assert untold(rows) == []
    assert not list((tmp_path / "state/left").glob("*.numbers")), "nothing grows"
    assert live <= covering(files, began, ended)
    assert restarts(rows) <= restarts(files)
    assert len(trades(files)) > 1


def test_a_kill_just_after_the_first_record_is_told(tmp_path: Path, exchanges: str) -> None:
    """What is followed is marked before it is asked for."""
    config = configure(tmp_path, of(exchanges, "kraken"))
    first = Running(config)
    try:
        until(lambda: first.has([("kraken", "trade")]), what="a trade")
        first.process.kill()
    finally:
        first.finish()
    seen = {row["raw_symbol"] for row in first.records() if row["type"] == "trade"}
    second = Running(config)
    try:
        until(lambda: second.has([("kraken", "trade")]), what="a trade")
    finally:
        second.finish()
    gaps = {row.get("raw_symbol") for row in second.records() if row["type"] == "gap" and row["cause"] == "restart"}
    assert seen
    assert seen <= gaps


def test_what_a_stopped_reader_had_not_got_when_it_was_killed_is_told_to_the_next(
    tmp_path: Path, exchanges: str
) -> None:
    """The files have what waited for the reader: all of that is within the gap with which the next life begins."""
    sinks = f'[[sinks]]\ntype = "stdout"\n[[sinks]]\ntype = "files"\npath = "{tmp_path}/data"\n'
    config = configure(tmp_path, of(exchanges, "kraken"), sinks=sinks)

    def written() -> list[Row]:
        return [row for row in in_files(tmp_path / "data") if row["type"] in CHANNELS]

    first = Running(config, read=False)
    try:
        until(lambda: len(written()) > 1000, what="more than a pipe holds", pause=0.2)
        first.process.kill()
        first.process.wait()
        assert first.process.stdout is not None
        came = first.process.stdout.read().split(b"\n")[:-1]
    finally:
        first.finish()
    has = {json.loads(line).get("offset") for line in came}
    missing = [row for row in written() if row["offset"] not in has]
    second = Running(config)
    try:
        until(lambda: second.has([("kraken", "trade")]), what="a trade")
    finally:
        second.finish()
    gap = second.records()[0]
    assert (gap["type"], gap["cause"], gap["conn"], gap["phase"]) == ("gap", "restart", "stdout", "close")
    assert missing
    assert min(int(row["ts_recv"]) for row in missing) == gap["ts_from"]
    assert max(int(row["ts_recv"]) for row in missing) <= gap["ts_to"]
