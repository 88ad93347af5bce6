"""A member whose disk is full goes on publishing, and says what it cannot write."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from aggregator.records import Gap, Trade
from tests.cluster.killed import simulated
from tests.cluster.nodes import Daemon, stored, until_owned
from tests.support.servers import Server
from tests.support.servers import nats as nats_server

pytestmark = pytest.mark.waits

MEMBER = """\
state = "{disk}/state"
control = "none"
{exchanges}
[cluster]
nats = "nats://127.0.0.1:{port}"
name = "amber"
replicas = 1
stream_bytes = "100MB"

[[sinks]]
type = "files"
path = "{disk}/data"

[journal]
path = "{disk}/journal"
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount a small tmpfs here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = nats_server(tmp_path / "nats")
    server.start()
    yield server
    server.kill()


def fill(disk: Path) -> None:
    """Leave no byte."""
    with suppress(OSError), (disk / "filler").open("ab", buffering=0) as file:
        while True:
            file.write(os.urandom(4096))


def newest(server: Server) -> int:
    return asyncio.run(stored(server, "cluster-binance"))[0][-1].offset


@pytest.mark.timeout(400)
def test_a_member_whose_disk_is_full_goes_on_publishing(server: Server, disk: Path, tmp_path: Path) -> None:
    sandbox, exchanges = simulated(tmp_path, 200)
    member = Daemon(tmp_path / "amber", MEMBER.format(disk=disk, exchanges=exchanges, port=server.port))
    member.start()
    try:
        until_owned({"amber": member})
        time.sleep(1)
        before = newest(server)
        for _ in range(5):  # what is let go of is filled again
            fill(disk)
            time.sleep(2)
        full = newest(server)
        assert full > before + 150
        assert member.count("No space left on device") > 0
        (disk / "filler").unlink()
        time.sleep(2)
        assert newest(server) > full
        member.end(signal.SIGTERM)
        records = asyncio.run(stored(server, "cluster-binance"))[0]
    finally:
        member.abandon()
        sandbox.kill()
        sandbox.communicate()
    assert [record.offset for record in records] == list(range(1, len(records) + 1))
    assert [r for r in records if isinstance(r, Gap) and r.cause != "restart"] == []
    for symbol in {record.raw_symbol for record in records if isinstance(record, Trade)}:
        ids = [int(r.id or 0) for r in records if isinstance(r, Trade) and r.raw_symbol == symbol]
        assert ids == list(range(ids[0], ids[-1] + 1))
    assert member.count("is not owned") <= 1, "at its end"
    assert member.count("error of our own") == 0
