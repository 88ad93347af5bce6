"""Hosts with addresses of their own on this machine, and cuts between them: network namespaces on one bridge.

All of it is inside a namespace that this process has been begun in (`inside`), so nothing else on the machine sees it,
and it is gone with its processes. What is cut is sent to a hardware address that nobody has: it is lost in silence, as
behind a switch that is broken, one way or both.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

NOBODY = "02:00:00:00:00:01"  # no interface has this hardware address
HUB, EXCHANGE = "10.99.77.1", "10.99.77.2"  # both are this process's own namespace
Way = Literal["both", "in", "out"]


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def inside() -> None:
    """Begin this program anew inside a namespace of its own, as root alone may; give back control in there."""
    if os.environ.get("CLUSTER_HUB"):
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "hub", "type", "bridge")
        for address in (HUB, EXCHANGE):
            run("ip", "addr", "add", f"{address}/24", "dev", "hub")
        run("ip", "link", "set", "hub", "up")
        return
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    arguments = [sys.executable, "-m", "tests.cluster.partitions", *sys.argv[1:]]
    os.execvpe("unshare", ["unshare", "--net", *arguments], {**kept, "CLUSTER_HUB": "1"})  # noqa: S606 - a tool


class NetworkHost:
    """A host: a namespace that stands while its keeper, a process that sleeps, lives.

    address: by which it reaches the other hosts, and they reach it
    """

    def __init__(self, number: int) -> None:
        self.address = f"10.99.77.{10 + number}"
        self._own = f"10.99.77.{20 + number}"  # by which it reaches the exchange, so that this is never cut
        self._wire = f"host{number}"
        self._keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        own = Path("/proc/self/ns/net").readlink()
        end = time.monotonic() + 10
        while Path(f"/proc/{self._keeper.pid}/ns/net").readlink() == own and time.monotonic() < end:
            time.sleep(0.02)
        run("ip", "link", "add", self._wire, "type", "veth", "peer", "name", "wire", "netns", str(self._keeper.pid))
        run("ip", "link", "set", self._wire, "master", "hub", "up")
        self._do("ip", "link", "set", "lo", "up")
        for address in (self.address, self._own):
            self._do("ip", "addr", "add", f"{address}/24", "dev", "wire")
        self._do("ip", "link", "set", "wire", "up")
        self._do("ip", "route", "add", EXCHANGE, "dev", "wire", "src", self._own)

    @property
    def inside(self) -> tuple[str, ...]:
        """The beginning of a command line that runs there."""
        return ("nsenter", "--net", "-t", str(self._keeper.pid), "--")

    def _do(self, *command: str) -> None:
        run(*self.inside, *command)

    def lose(self, address: str) -> None:
        """Have all that this host sends to an address be lost."""
        self._do("ip", "neigh", "replace", address, "lladdr", NOBODY, "dev", "wire", "nud", "permanent")

    def reach(self, address: str) -> None:
        """Have it arrive again."""
        self._do("ip", "neigh", "del", address, "dev", "wire")

    def close(self) -> None:
        self._keeper.kill()
        self._keeper.wait()


def hub_loses(address: str) -> None:
    """Have all that this process's namespace sends to an address be lost."""
    run("ip", "neigh", "replace", address, "lladdr", NOBODY, "dev", "hub", "nud", "permanent")


def hub_reaches(address: str) -> None:
    run("ip", "neigh", "del", address, "dev", "hub")


def cut(host: NetworkHost, others: Iterable[NetworkHost], way: Way) -> None:
    """Cut a host off from the others and from the hub, but for the exchange; `in`: nothing comes to it."""
    for other in others:
        if way != "in":
            host.lose(other.address)
        if way != "out":
            other.lose(host.address)
    if way != "in":
        host.lose(HUB)
    if way != "out":
        hub_loses(host.address)


def heal(host: NetworkHost, others: Iterable[NetworkHost], way: Way) -> None:
    """End what `cut` has begun."""
    for other in others:
        if way != "in":
            host.reach(other.address)
        if way != "out":
            other.reach(host.address)
    if way != "in":
        host.reach(HUB)
    if way != "out":
        hub_reaches(host.address)
