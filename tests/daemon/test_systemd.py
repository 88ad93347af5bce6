"""The conversation with the service manager, whose socket the test plays."""

import asyncio
import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from aggregator.bus.bus import Bus
from aggregator.daemon.systemd import STILL_S, Watchdog, more_time, notify, ready, reloading, watchdog_s
from aggregator.records import Trade

pytestmark = pytest.mark.waits


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


def test_a_reload_says_when_it_began_by_the_monotonic_clock(manager: socket.socket) -> None:
    before = time.monotonic_ns() // 1000
    reloading()
    ready()
    said = manager.recv(1000).decode().splitlines()
    assert said[0] == "RELOADING=1"
    assert before <= int(said[1].removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    assert manager.recv(1000) == b"READY=1"


def test_more_time_is_asked_for_in_microseconds(manager: socket.socket) -> None:
    more_time(90.5)
    assert manager.recv(1000) == b"EXTEND_TIMEOUT_USEC=90500000"


def test_a_manager_that_is_gone_or_was_never_there_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("30000000", "own", 30.0),
        ("30000000", None, 30.0),
        ("30000000", "1", None),
        ("0", "own", None),
        ("soon", "own", None),
        (None, "own", None),
    ],
)
def test_the_watchdog_is_fed_where_this_process_is_asked_to(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, seconds: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert watchdog_s() == seconds


class Runner:
    """A runner with one connection."""

    def __init__(self, *, is_open: bool) -> None:
        shard = SimpleNamespace(status=lambda: SimpleNamespace(connections=[SimpleNamespace(is_open=is_open)]))
        self.shards = [shard]


def watchdog(*, is_open: bool) -> tuple[Watchdog, Bus]:
    bus, runners = Bus("e"), {"toy": Runner(is_open=is_open)}
    return Watchdog(bus, runners), bus  # type: ignore[arg-type]


def test_a_loop_that_is_late_is_trouble() -> None:
    dog, _ = watchdog(is_open=True)
    assert dog.trouble(1.0, late=2.0, bound=1.0) == "the event loop is late by 2.0 s"
    assert dog.trouble(1.0, late=0.5, bound=1.0) is None


def test_a_bus_that_stands_still_though_a_connection_stands_is_trouble_until_it_moves() -> None:
    dog, bus = watchdog(is_open=True)
    assert dog.trouble(STILL_S, late=0, bound=1) is None
    said = dog.trouble(STILL_S + 1, late=0, bound=1)
    assert said == "no record was published for 151 s, though a connection stands"
    bus.publish([Trade(price="1", size="1")])
    assert dog.trouble(STILL_S + 2, late=0, bound=1) is None


def test_without_a_connection_nothing_can_come_and_a_restart_would_mend_nothing() -> None:
    dog, _ = watchdog(is_open=False)
    assert dog.trouble(10 * STILL_S, late=0, bound=1) is None


async def test_a_blocked_loop_is_not_fed(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    dog, _ = watchdog(is_open=False)
    task = asyncio.create_task(dog.watch())
    assert await asyncio.to_thread(manager.recv, 100) == b"WATCHDOG=1"
    said_before = waiting(manager)
    time.sleep(0.5)  # noqa: ASYNC251 - this is the block
    assert not said_before - {b"WATCHDOG=1"}
    assert waiting(manager) == set(), "the thread of the loop alone would have said it"
    await asyncio.sleep(0.05)  # the look that comes too late says nothing
    assert waiting(manager) == set()
    assert await asyncio.to_thread(manager.recv, 100) == b"WATCHDOG=1", "the loop turns again"
    task.cancel()


def waiting(manager: socket.socket) -> set[bytes]:
    """What the service manager was told and has not read."""
    found = set()
    while select.select([manager], [], [], 0)[0]:
        found.add(manager.recv(100))
    return found
