"""The journal of a daemon that has none in between, or whose sinks were away: processes on simulated exchanges."""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from aggregator.bus.history import Cursor, Stretch
from aggregator.records import Gap
from aggregator.sinks.journal.lives import Lives
from tests.daemon.test_daemon import configure, exchanges, of, running
from tests.sinks.test_journal import ALL, living, read_all

pytestmark = pytest.mark.waits

__all__ = ["exchanges"]  # the fixture


def until(condition: Callable[[], object], *, what: str) -> None:
    """Wait for another process to make something true, however busy the machine is."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def epoch_of_now(directory: Path) -> str:
    life = Lives(directory / "state").before
    assert life is not None
    return life.epoch


def lived(directory: Path, config: Path) -> str:
    """A life of the daemon, which ends as it should; its epoch."""
    with running(config) as daemon:
        until(lambda: daemon.has([("kraken", "trade")]), what="trades")
        epoch = epoch_of_now(directory)
        assert daemon.signal(signal.SIGTERM) == 0
    return epoch


def test_a_life_without_a_journal_is_told_to_whoever_goes_on(tmp_path: Path, exchanges: str) -> None:
    journal = f'[journal]\npath = "{tmp_path}/journal"\n'
    sinks = '[[sinks]]\ntype = "stdout"\n'
    first = lived(tmp_path, configure(tmp_path, of(exchanges, "kraken"), sinks=sinks + journal))
    second = lived(tmp_path, configure(tmp_path, of(exchanges, "kraken"), sinks=sinks + journal))
    lived(tmp_path, configure(tmp_path, of(exchanges, "kraken"), sinks=sinks))
    fourth = lived(tmp_path, configure(tmp_path, of(exchanges, "kraken"), sinks=sinks + journal))

    async def read() -> list[Gap]:
        async with living(tmp_path / "journal", "20700101T000000.000000Z", before=fourth) as (_, history):
            _, gaps = await read_all(history, Cursor(first, 0), key="offset")
            return gaps

    (gap,) = asyncio.run(read())
    assert gap.cause == "restart"
    assert gap.gap_id.startswith(f"journal:{second}:")
    assert f"-{fourth}:" in gap.gap_id


def test_a_sink_whose_target_was_away_gets_everything_after_a_kill(tmp_path: Path, exchanges: str) -> None:
    """The reader of standard output does not read, the daemon is killed, and the next one goes on where that was."""
    sinks = '[[sinks]]\ntype = "stdout"\nwhen_full = "spill"\nqueue = 200\nbatch_records = 100\n'
    config = configure(tmp_path, of(exchanges, "kraken"), sinks=f'{sinks}[journal]\npath = "{tmp_path}/journal"\n')
    with running(config, read=False) as daemon:
        until(lambda: "its queue is full: what comes now waits in the journal" in daemon.log, what="a full queue")
        first = epoch_of_now(tmp_path)
        segment = tmp_path / "journal" / "000000000001.open"
        size = segment.stat().st_size
        until(lambda: segment.stat().st_size > size + 200_000, what="records that wait")
        daemon.signal(signal.SIGKILL)
        assert daemon.process.stdout is not None
        came = daemon.process.stdout.read().split(b"\n")[:-1]
    with running(config) as daemon:
        until(lambda: any(json.loads(line)["type"] == "gap" for line in whole(daemon.out)), what="the end of the first")
        seen = len(whole(daemon.out))
        until(lambda: len(whole(daemon.out)) > seen + 500, what="the second")
        second = epoch_of_now(tmp_path)
        assert daemon.signal(signal.SIGTERM) == 0
    came += whole(daemon.out)
    told = [row for row in map(json.loads, came) if row["type"] == "gap" and row["conn"] == "stdout"]
    assert [(row["cause"], row["gap_id"].partition("-")[2]) for row in told] == [("restart", f"{second}:0")]
    came = [line for line in came if json.loads(line) not in told]
    assert list(dict.fromkeys(came)) == asyncio.run(kept(tmp_path / "journal", first, second))
    twice = [at for at, (line, count) in enumerate(Counter(came).items()) if count > 1]
    assert len(twice) <= 400, "the batch that was in flight, and what was taken in a tenth of a second"
    assert all(other == one + 1 for one, other in pairwise(twice)), "one run of records"


def whole(out: bytearray) -> list[bytes]:
    return bytes(out).split(b"\n")[:-1]


async def kept(path: Path, first: str, before: str) -> list[bytes]:
    """Every line of a journal."""
    async with living(path, "20700101T000000.000000Z", before=before) as (_, history):
        lines: list[bytes] = []
        cursor, is_end = Cursor(first, 0), False
        while not is_end:
            stretch: Stretch = await history.read(cursor, ALL, lambda found: found)
            lines += [line.rstrip() for line in stretch.lines]
            cursor, is_end = stretch.cursor, stretch.is_end
        return lines
