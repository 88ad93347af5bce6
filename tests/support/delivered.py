"""A sink and its server, killed again and again while records flow, and what came of them at the target.

`python -m tests.support.delivered --sink nats --records 1000000` publishes so many records from a daemon, which is a
program of its own with a journal and a sink that spills. The server is killed three times on the way by SIGKILL, the
daemon twice. Then all is read back: each record must be there as it was, each topic in its order, and what is there
more than once must be so by (epoch, offset) alone. It prints figures, and is no test: it takes minutes.
"""

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from aggregator.bus.bus import Bus
from aggregator.bus.history import EPOCH_FORM
from aggregator.records import BookDelta, Gap, Trade
from aggregator.sinks.brokers.amqp import SINK as AMQP
from aggregator.sinks.brokers.nats import SINK as NATS
from aggregator.sinks.brokers.redis import SINK as REDIS
from aggregator.sinks.databases.postgres import SINK as POSTGRES
from aggregator.sinks.databases.rows import kept
from aggregator.sinks.journal.offline import JournalPage, StillJournal
from aggregator.sinks.journal.sink import SINK as JOURNAL
from aggregator.sinks.running import running
from aggregator.sinks.sink import Sink
from aggregator.tables.columns import tag
from tests.support import servers
from tests.support.cases import say
from tests.support.delivery import _record, line_again
from tests.support.servers import Server

ROOT = Path(__file__).resolve().parents[2]
PIECE = 1000
MOST_HELD = 20_000
KILLS_OF_SERVER, KILLS_OF_DAEMON = 3, 2
Found = tuple[str, int, bytes]  # the epoch, the offset and the line of a record at the target


class Kind(Struct, frozen=True):
    """A sink, its server, the settings for a port, and how all of it is read back, each topic in its order.

    prepare: what is made at the server before the daemon begins; null: nothing
    """

    sink: Sink
    server: Callable[[Path], Server]
    settings: Callable[[int], dict[str, Any]]
    read: Callable[[int], AsyncIterator[Found]]
    prepare: Callable[[int], Coroutine[Any, Any, None]] | None = None


def _found(epoch: str, lines: bytes) -> list[Found]:
    return [(epoch, json.loads(line).get("offset", 0), line) for line in lines.splitlines()]


async def _publish(arguments: argparse.Namespace, home: Path, port: int) -> None:
    """One life of the daemon: go on behind what its journal has, and say how far it is."""
    kind, bus = KINDS[arguments.sink], Bus(datetime.now(UTC).strftime(EPOCH_FORM))
    count = sum(len(page.lines) for page in _journal(home))
    journal = running(JOURNAL.configured(path=home / "journal"), bus)
    await journal.start()
    keys = structs.replace(kind.sink.defaults, when_full="spill", backoff=0.1, longest_backoff=1.0)
    config = kind.sink.configured(keys, **kind.settings(port))
    sink = running(config, bus, dead=home / "dead", places=home / "places")
    await sink.start()
    while count < arguments.records:
        bus.publish([_record(number) for number in range(count, min(count + PIECE, arguments.records))])
        count = min(count + PIECE, arguments.records)
        await journal.room()
        while sink.status().held > MOST_HELD:  # noqa: ASYNC110 - else all is published before anything is killed
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        sys.stdout.write(f"{count}\n")
        sys.stdout.flush()
    while sink.status().held:  # noqa: ASYNC110 - a sink tells its status when asked
        await asyncio.sleep(0.01)
    for each in (sink, journal):
        each.end()
        assert each.task is not None
        await each.task
    assert sink.status().refused == sink.status().dropped == 0, sink.status()


def _journal(home: Path) -> Iterator[JournalPage]:
    if (home / "journal").exists():
        yield from (page for page in StillJournal(home / "journal").pages(["*:*:*"], 0) if page.gap is None)


async def _of_nats(port: int) -> AsyncIterator[Found]:
    import nats
    from nats.js.api import AckPolicy, ConsumerConfig

    client = await nats.connect(f"nats://127.0.0.1:{port}")
    stream = client.jetstream()
    left = (await stream.stream_info("market")).state.messages
    reader = await stream.pull_subscribe("market.>", stream="market", config=ConsumerConfig(ack_policy=AckPolicy.NONE))
    while left:
        for message in await reader.fetch(min(256, left), timeout=60):
            left -= 1
            for each in _found((message.header or {})["Aggregator-Epoch"], message.data):
                yield each
    await client.close()


async def _of_redis(port: int) -> AsyncIterator[Found]:
    from redis.asyncio import Redis

    async with Redis.from_url(f"redis://127.0.0.1:{port}/0") as client:
        for key in await client.keys("market:*"):
            start = "-"
            while entries := await client.xrange(key, min=start, count=500):
                start = f"({entries[-1][0].decode()}"
                for _, fields in entries:
                    for each in _found(fields[b"epoch"].decode(), fields[b"records"]):
                        yield each


async def _quorum_queue(port: int) -> None:
    """The exchange of the sink, and a queue whose messages are a log on disk, as an operator would make both."""
    import aio_pika

    connection = await aio_pika.connect(port=port)
    channel = await connection.channel()
    exchange = await channel.declare_exchange("market", "topic", durable=True)
    queue = await channel.declare_queue("market", durable=True, arguments={"x-queue-type": "quorum"})
    await queue.bind(exchange, "#")
    await connection.close()


async def _of_amqp(port: int) -> AsyncIterator[Found]:
    import aio_pika

    connection = await aio_pika.connect(port=port)
    channel = await connection.channel()
    await channel.set_qos(500)
    queue = await channel.get_queue("market")
    left = queue.declaration_result.message_count or 0
    async with queue.iterator(no_ack=False) as messages:
        while left:
            message = await anext(messages)
            await message.ack()
            left -= 1
            for each in _found(str(message.headers["Aggregator-Epoch"]), message.body):
                yield each
    await connection.close()


async def _of_postgres(port: int) -> AsyncIterator[Found]:
    import asyncpg

    client = await asyncpg.connect(host=servers.LOOPBACK, port=port, user="aggregator", database="postgres")
    for record in (Trade, BookDelta, Gap):
        of_json = [column.name for column in kept(record) if column.kind in {"rows", "json"}]
        as_text = {*of_json, *(column.name for column in kept(record) if column.kind == "number")}
        told = ", ".join(f'"{c.name}"::text' if c.name in as_text else f'"{c.name}"' for c in kept(record))
        asked = f'SELECT epoch, {told} FROM market.{tag(record)} ORDER BY epoch, "offset"'  # noqa: S608 - ours
        async with client.transaction():
            async for row in client.cursor(asked, prefetch=5000):
                fields = dict(row)
                fields.update((name, json.loads(fields[name])) for name in of_json if fields[name] is not None)
                yield row["epoch"], row["offset"], line_again(record, fields | (fields["misfits"] or {}))
    await client.close()


RABBITMQ = Kind(AMQP, servers.rabbitmq, lambda port: {"url": f"amqp://127.0.0.1:{port}"}, _of_amqp)
KINDS = {
    "amqp": RABBITMQ,
    "amqp-quorum": structs.replace(RABBITMQ, prepare=_quorum_queue),
    "nats": Kind(
        NATS,
        servers.nats,
        lambda port: {"servers": (f"nats://127.0.0.1:{port}",), "stream_bytes": 1 << 32},
        _of_nats,
    ),
    "postgres": Kind(
        POSTGRES,
        servers.postgres,
        lambda port: {"host": servers.LOOPBACK, "port": port, "database": "postgres"},
        _of_postgres,
    ),
    "redis": Kind(REDIS, servers.redis, lambda port: {"url": f"redis://127.0.0.1:{port}/0"}, _of_redis),
}


class Life:
    """The daemon, started anew each time that it is killed."""

    def __init__(self, arguments: argparse.Namespace, home: Path, port: int) -> None:
        child = ["--home", str(home), "--child", str(port)]
        self._command = [sys.executable, "-m", "tests.support.delivered", "--sink", arguments.sink, *child]
        self._command += ["--records", str(arguments.records)]
        self._log = home / "log"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, text=True)

    def until(self, count: int) -> None:
        """Read how far it is, until it is so far. Raises AssertionError where it ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if int(line) >= count:
                return
        raise AssertionError(self._log.read_text()[-2000:])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def wait(self) -> None:
        self.process.wait()
        assert self.process.returncode == 0, self._log.read_text()[-2000:]


def _run(arguments: argparse.Namespace, home: Path) -> int:
    """Kill both, each as often as is due; gives the number of what is wrong."""
    kind, records = KINDS[arguments.sink], arguments.records
    kills = ["server"] * KILLS_OF_SERVER + ["daemon"] * KILLS_OF_DAEMON
    random.shuffle(kills)
    server = kind.server(home / "server")
    server.start()
    if kind.prepare is not None:
        asyncio.run(kind.prepare(server.port))
    begun = time.monotonic()
    life = Life(arguments, home, server.port)
    try:
        for number, each in enumerate(kills):
            life.until(records * (number + 1) // (len(kills) + 1))
            say(f"{each} killed after {time.monotonic() - begun:.0f} s")
            if each == "server":
                server.kill()
                server.start()
            else:
                life.kill()
                life.start()
        life.until(records)
        life.wait()
        took = time.monotonic() - begun
        say(f"{records:,} records in {took:.0f} s: {records / took:,.0f} a second with all deaths")
        return asyncio.run(_judge(kind, server.port, home, records))
    finally:
        life.kill()
        server.kill()


async def _judge(kind: Kind, port: int, home: Path, records: int) -> int:
    """Compare what is at the target with what the journal holds."""
    kept = {(page.epoch, json.loads(line)["offset"]): line.rstrip() for page in _journal(home) for line in page.lines}
    there: dict[tuple[str, int], bytes] = {}
    last: defaultdict[tuple[str, ...], tuple[str, int]] = defaultdict(lambda: ("", 0))
    twice = differ = disordered = 0
    async for epoch, offset, line in kind.read(port):
        if not offset:
            say(f"a gap of the sink's own: {line.decode()}")
            continue
        before = there.get((epoch, offset))
        if before is not None:
            twice += 1
            differ += before != line.rstrip()
            continue
        there[epoch, offset] = line.rstrip()
        row = json.loads(line)
        topic = row.get("channel", row["type"]), row["exchange"], row["symbol"]
        disordered += (epoch, offset) < last[topic]
        last[topic] = epoch, offset
    missing = [place for place in kept if place not in there]
    changed = [place for place in kept if place in there and there[place] != kept[place]]
    beyond = there.keys() - kept.keys()  # a killed daemon had given them, and its journal had not written them yet
    say(f"{len(kept):,} records in the journal, {len(there):,} at the target")
    say(f"{twice:,} there more than once, of which {differ} not alike")
    say(f"missing {len(missing)}, changed {len(changed)}, out of order {disordered}, beyond the journal {len(beyond)}")
    return len(missing) + len(changed) + disordered + differ + (len(kept) != records)


def main() -> None:
    """Run it in a directory of its own, which stays where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sink", choices=KINDS, required=True)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        asyncio.run(_publish(arguments, arguments.home, arguments.child))
        return
    home = arguments.home or Path(tempfile.mkdtemp(prefix="delivered-"))
    home.mkdir(exist_ok=True)
    wrong = _run(arguments, home)
    if arguments.home is None and not wrong:
        shutil.rmtree(home)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
