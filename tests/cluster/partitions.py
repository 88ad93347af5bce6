"""A host with a member and a node of NATS is cut off from two others, both ways and one way, while records flow.

`python -m tests.cluster.partitions --cuts both,in,out --seconds 60` makes three hosts as network namespaces, for which
it needs root, and cuts off the one whose member owns the exchange; the exchange itself stays in reach. It says whether
the stream has ever had two writers, compares what a reader has with an oracle, and waits until the host that was cut
off could go on again.
"""

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from tests.cluster.killed import EXCHANGE, NAMES, judge, simulated
from tests.cluster.networks import EXCHANGE as EXCHANGE_ADDRESS
from tests.cluster.networks import NetworkHost, Way, cut, heal, inside
from tests.cluster.nodes import MEMBER, ORACLE, READER, Daemon, addresses, nodes_on, until_owned
from tests.cluster.watching import Watching
from tests.support.cases import say

SETTLED_S = 90.0
T = TypeVar("T")


async def tried(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the servers until they answer: they may be choosing who leads."""
    from nats.errors import Error

    for _ in range(20):
        try:
            return await ask()
        except (Error, TimeoutError):
            await asyncio.sleep(3)
    return await ask()


def writers(servers: list[str]) -> tuple[int, list[str]]:
    """How many ownerships the stream has had, and what is wrong with their order."""

    async def read() -> tuple[int, list[str]]:
        import nats
        from nats.js.api import AckPolicy, ConsumerConfig

        client = await nats.connect(servers)
        stream = client.jetstream(timeout=20)
        last = (await tried(lambda: stream.stream_info(f"cluster-{EXCHANGE}"))).state.last_seq
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, headers_only=True)
        frames = await tried(lambda: stream.subscribe(f"cluster.{EXCHANGE}.>", ordered_consumer=True, config=config))
        found, lives, newest = [], dict[int, str](), 0
        for _ in range(last):
            headers = (await frames.next_msg(20)).headers or {}
            fence, life = int(headers["Aggregator-Fence"]), headers["Nats-Msg-Id"].partition(":")[0]
            if fence < newest:
                found.append(f"a frame of ownership {fence} stands behind one of {newest}")
            newest = max(newest, fence)
            if lives.setdefault(fence, life) != life:
                found.append(f"two write with the fencing number {fence}")
        await client.close()
        return len(lives), found

    return asyncio.run(read())


def cut_off(
    way: Way,
    hosts: list[NetworkHost],
    daemons: dict[str, Daemon],
    watching: Watching,
    seconds: float,
    pause: float,
) -> str:
    """Cut off the host of the owner for a while, and wait until all is as it was; in words."""
    begun = time.monotonic()
    name, _ = until_owned(daemons)
    host = hosts[NAMES.index(name)]
    others = [each for each in hosts if each is not host]
    cut(host, others, way)
    other, waited = until_owned(daemons, but=name)
    time.sleep(max(0.0, begun + seconds - time.monotonic()))
    heal(host, others, way)
    healed, since = time.monotonic(), time.time_ns()
    while not watching.is_ready(name, EXCHANGE, since) and time.monotonic() < healed + SETTLED_S:
        time.sleep(0.2)
    back = time.monotonic() - healed
    time.sleep(pause)
    longest = watching.longest(begun)
    return (
        f"{name} was cut off ({way}); {other} owns {EXCHANGE} after {waited:.1f} s; {name} could go on again"
        f" {back:.1f} s after the end of that; the longest pause at the reader was {longest:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuts", type=lambda text: text.split(","), default=["both", "in", "out"])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--pause", type=float, default=40, help="seconds until the next cut")
    arguments = parser.parse_args()
    inside()
    home = Path(tempfile.mkdtemp(prefix="cluster-"))
    say(f"in {home}")
    with ExitStack() as stack:
        hosts = [NetworkHost(number) for number in range(len(NAMES))]
        for host in hosts:
            stack.callback(host.close)
        sandbox, exchanges = simulated(home, arguments.rate, EXCHANGE_ADDRESS)
        stack.callback(sandbox.kill)
        nodes = nodes_on([(host.address, host.inside) for host in hosts], home)
        for node in nodes:
            stack.callback(node.kill)
            node.start()
        servers = addresses(nodes, [host.address for host in hosts])
        known = {"exchanges": exchanges, "servers": servers, "replicas": 3}
        daemons = {
            name: Daemon(home / name, MEMBER.format(home=home / name, name=name, **known), host.inside)
            for name, host in zip(NAMES, hosts, strict=True)
        }
        oracle = Daemon(home / "oracle", ORACLE.format(home=home / "oracle", **known))
        reader = Daemon(home / "reader", READER.format(home=home / "reader", exchange=EXCHANGE, **known))
        for daemon in (*daemons.values(), oracle, reader):
            stack.callback(daemon.abandon)
            daemon.start()
        watching = Watching(reader, json.loads(servers))
        until_owned(daemons)
        watching.begin()
        time.sleep(arguments.pause)
        for way in arguments.cuts:
            say(cut_off(way, hosts, daemons, watching, arguments.seconds, arguments.pause))
        time.sleep(10)
        watching.end()
        count, found = writers(json.loads(servers))
        say(f"{count} ownerships, {len(found)} wrong {found[:3]}")
        ended_ns = time.time_ns()
        for daemon in (reader, oracle):
            daemon.end(15)
        wrong = judge(reader, oracle, ended_ns) + len(found)
        say(
            f"an owner held at most {watching.held} records of 400000 that may wait; {watching.lost} were lost for that"
        )
    if not wrong:
        shutil.rmtree(home)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
