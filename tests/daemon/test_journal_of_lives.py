"""The journal of a daemon that has none in between, or whose sinks were away: processes on simulated exchanges."""

import asyncio
import signal
from pathlib import Path

import pytest

from aggregator.bus.history import Cursor
from aggregator.records import Gap
from aggregator.sinks.journal.lives import Lives
from tests.daemon.test_daemon import configure, exchanges, of, running, until
from tests.sinks.test_journal import living, read_all

pytestmark = pytest.mark.waits

__all__ = ["exchanges"]  # the fixture


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
