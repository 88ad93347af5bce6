"""How many records a second one shard takes, by how far away the servers are.

`python -m tests.cluster.throughput --delays 0,50,100` starts three nodes of NATS, each behind a proxy that delays what
passes by so many milliseconds, there and back, and one member. Its exchange has told all records at once: what is
measured is how fast they are gathered, written, and read back. `--max-payload 4MB` has the nodes take larger messages.
"""

import argparse
import asyncio
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from aggregator.bus.bus import Bus
from aggregator.cluster.lease import LeaseTiming
from aggregator.cluster.member import Member
from aggregator.cluster.settings import ClusterKeys
from aggregator.records import BookSnapshot
from tests.cluster.costs import record
from tests.cluster.nodes import nats_nodes
from tests.support.cases import say
from tests.support.servers import LOOPBACK, free_port

MOST_READ = 1 << 16
AT_ONCE = 1000


async def delayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Hand bytes on, each that much later than they came."""
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def hand_on() -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(due - time.monotonic())
            writer.write(data)

    task = asyncio.create_task(hand_on())
    with suppress(OSError):
        while data := await reader.read(MOST_READ):
            waiting.put_nowait((time.monotonic() + delay, data))
    task.cancel()
    writer.close()


async def proxies(ports: Sequence[tuple[int, int]], delay: float) -> None:
    """Proxies, each from a port to another one."""

    async def begin(port: int, to: int) -> None:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            other_reader, other_writer = await asyncio.open_connection(LOOPBACK, to)
            await asyncio.gather(delayed(reader, other_writer, delay), delayed(other_reader, writer, delay))

        await asyncio.start_server(accept, LOOPBACK, port)

    for port, to in ports:
        await begin(port, to)
    await asyncio.Event().wait()


def run_proxies(ports: Sequence[tuple[int, int]], delay: float) -> None:
    asyncio.run(proxies(ports, delay))


class Gathered:
    """An exchange that has told everything already."""

    async def gather(self, _exchange: str, _buckets: Collection[int]) -> None:
        """Nothing comes of it by itself."""

    def book(self, _exchange: str, _raw_symbol: str) -> BookSnapshot | None:
        return None


async def measured(ports: Sequence[int], count: int) -> str:
    """Write so many records; in words how long that took."""
    bus = Bus("20260101T000000.000000Z")
    servers = tuple(f"nats://{LOOPBACK}:{port}" for port in ports)
    keys = ClusterKeys(nats=servers, name="a", replicas=min(3, len(ports)), stream_bytes=1 << 30, buffer=count * 2)
    member = Member(keys, {"x": ()}, Gathered(), LeaseTiming())
    bus.attach(member.receive)
    running = asyncio.create_task(member.run())
    share, keeper = member.shards["x"].share, member.shards["x"].keeper
    while not keeper.may_publish(time.monotonic()) or not share.begun:  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(0.05)
    batches = [[record(number) for number in range(at, at + AT_ONCE)] for at in range(1, count, AT_ONCE)]
    begun, used = time.monotonic(), time.process_time()
    for batch in batches:
        bus.publish(batch)
        await asyncio.sleep(0)
    while share.number < count:
        await asyncio.sleep(0.01)
        if not keeper.fence:
            raise TimeoutError("the member owns nothing any more: the machine has too much else to do")
    took, cpu = time.monotonic() - begun, time.process_time() - used
    frames = member.shards["x"].writer.place
    await member.leave()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return f"{count / took:,.0f} records/s, {count / frames:,.0f} in a frame, {cpu / count * 1e6:.1f} µs of a core each"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--delays", type=lambda text: [float(ms) for ms in text.split(",")], default=[0, 25, 50, 100])
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--nodes", type=int, default=3, help="of NATS")
    parser.add_argument("--max-payload", default="1MB", help="of a message")
    arguments = parser.parse_args()
    for delay in arguments.delays:
        home = Path(tempfile.mkdtemp(prefix="cluster-"))
        with nats_nodes(home, arguments.nodes, f"max_payload: {arguments.max_payload}\n") as nodes:
            ports = [(free_port(), node.port) for node in nodes]
            proxy = multiprocessing.Process(target=run_proxies, args=(ports, delay / 2000), daemon=True)
            proxy.start()
            try:
                said = asyncio.run(measured([port for port, _ in ports], arguments.records))
            finally:
                proxy.kill()
                proxy.join()
        say(f"{delay:.0f} ms there and back, messages of {arguments.max_payload}: {said}")
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
