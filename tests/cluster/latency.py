"""How late records are at whoever listens: on core subjects, and in the frames of the stream.

`python -m tests.cluster.latency --rate 1000 --seconds 30` starts a simulated exchange, three nodes of NATS and two
members, and listens both ways. The time is from when a record had come to its owner until it has come here.
"""

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from aggregator.records import decode_record
from tests.cluster.killed import EXCHANGE, simulated
from tests.cluster.nodes import MEMBER, Daemon, addresses, nats_nodes, until_owned
from tests.support.cases import say

BEGIN_S = 10.0


async def listen(servers: list[str], seconds: float) -> dict[str, list[int]]:
    """How late each record was, ns, by the way that it came."""
    import nats
    from nats.js.api import ConsumerConfig, DeliverPolicy

    late: dict[str, list[int]] = {"core": [], "frames": []}

    def take(way: str, payload: bytes) -> None:
        now = time.time_ns()
        late[way] += [now - decode_record(line).ts_recv for line in payload.splitlines()]

    async def take_one(message: Any) -> None:
        take("core", message.data)

    async def take_frame(message: Any) -> None:
        take("frames", message.data)

    client = await nats.connect(servers)
    for channel in ("trades", "book"):
        await client.subscribe(f"cluster-core.{EXCHANGE}.{channel}.>", cb=take_one)
    config = ConsumerConfig(deliver_policy=DeliverPolicy.NEW)
    await client.jetstream().subscribe(f"cluster.{EXCHANGE}.>", ordered_consumer=True, cb=take_frame, config=config)
    await asyncio.sleep(seconds)
    await client.close()
    return late


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=1000, help="frames a second of the sandbox")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--nodes", type=int, default=3, help="of NATS")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="cluster-"))
    with ExitStack() as stack:
        sandbox, exchanges = simulated(home, arguments.rate)
        stack.callback(sandbox.kill)
        nodes = stack.enter_context(nats_nodes(home, arguments.nodes))
        known = {"exchanges": exchanges, "servers": addresses(nodes), "replicas": min(3, arguments.nodes)}
        daemons = {}
        for name in ("amber", "birch"):
            text = MEMBER.format(home=home / name, name=name, **known) + "core = true\n"
            daemons[name] = Daemon(home / name, text)
            stack.callback(daemons[name].abandon)
            daemons[name].start()
        until_owned(daemons)
        time.sleep(BEGIN_S)
        late = asyncio.run(listen(json.loads(str(known["servers"])), arguments.seconds))
    for way, times in late.items():
        times.sort()
        parts = [f"{times[int(len(times) * part)] / 1e6:.1f}" for part in (0.5, 0.9, 0.99)] if times else []
        say(f"{way}: {len(times)} records, ms of the median, 90 % and 99 %: {parts}")
    shutil.rmtree(home)


if __name__ == "__main__":
    main()
