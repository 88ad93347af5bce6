"""The process that is kept ready for where a worker dies."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregator.daemon.spawning import Spawned, Spawner

pytestmark = pytest.mark.waits

PATIENCE_S = 60.0


@pytest.fixture
def spawner() -> Iterator[Spawner]:
    found = Spawner()
    yield found
    found.stop()
    until_gone(found)


def until_gone(spawner: Spawner) -> None:
    end = time.monotonic() + PATIENCE_S
    while not spawner.is_gone:
        assert time.monotonic() < end
        time.sleep(0.01)


def end(spawned: Spawned) -> None:
    spawned.end()
    spawned.process.wait(PATIENCE_S)


def test_the_one_that_is_ready_is_taken_and_then_there_is_none(spawner: Spawner) -> None:
    spawner.prepare()
    ready = spawner._ready
    spawner.prepare()
    assert spawner._ready is ready, "one is enough"
    assert ready is not None
    assert spawner.take() is ready
    other = spawner.take()
    assert other.process.pid != ready.process.pid
    assert Path(f"/proc/{other.process.pid}").exists()
    end(ready)
    end(other)


def test_one_that_has_died_meanwhile_is_not_taken(spawner: Spawner) -> None:
    spawner.prepare()
    ready = spawner._ready
    assert ready is not None
    ready.process.kill()
    ready.process.wait(PATIENCE_S)
    taken = spawner.take()
    assert taken.process.poll() is None
    end(taken)


def test_it_goes_with_the_daemon_and_none_is_made_ready_then(spawner: Spawner) -> None:
    spawner.prepare()
    spawner.stop()
    until_gone(spawner)
    taken = spawner.take()
    end(taken)
    spawner.prepare()
    assert spawner._ready is None


def test_where_none_can_be_begun_that_is_told(
    spawner: Spawner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    spawner.prepare()
    assert "no process is kept ready for where a worker dies: " in caplog.text
    with pytest.raises(FileNotFoundError):
        spawner.take()
