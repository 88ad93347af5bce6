"""Members of a cluster on a real server: they hand over, die, and are found out, and a reader has each record once."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest

from aggregator.bus.bus import Bus
from aggregator.cluster.lease import LeaseTiming
from aggregator.cluster.member import Member
from aggregator.cluster.settings import ClusterKeys
from aggregator.records import BookSnapshot, Gap, Health, Record, Trade, decode_record
from tests.support.servers import Server
from tests.support.servers import nats as nats_server

pytestmark = pytest.mark.waits

TIMING = LeaseTiming(ttl=3.0, settle=0.3, step=0.3, unready=0.5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = nats_server(tmp_path / "nats")
    server.start()
    yield server
    server.kill()


class Host:
    """A member, and the exchange as it gathers it."""

    def __init__(self, server: Server, name: str, exchange: "Alpha", monkey: pytest.MonkeyPatch) -> None:
        monkey.setattr("aggregator.cluster.member.STANDING_S", 0.5)
        self.bus = Bus("20260101T000000.000000Z")
        self.exchange = exchange
        keys = ClusterKeys(nats=(f"nats://127.0.0.1:{server.port}",), name=name, replicas=1, stream_bytes=1 << 28)
        self.member = Member(keys, {"alpha": ()}, self, TIMING)
        self.bus.attach(self.member.receive)
        self.task: asyncio.Task[None] | None = None
        self.is_gathering = False

    def start(self) -> None:
        self.task = asyncio.create_task(self.member.run())

    async def begin(self, _exchange: str) -> None:
        self.is_gathering = True
        self.exchange.hosts.append(self)
        state = Health(exchange="alpha", symbol="A/B", raw_symbol="AB", conn="1", channel="trades", state="live")
        state.ts_recv = time.time_ns()
        self.bus.publish([state])

    async def end(self, _exchange: str) -> None:
        self.is_gathering = False
        self.exchange.hosts.remove(self)

    def book(self, _exchange: str, _raw_symbol: str) -> BookSnapshot | None:
        return None

    @property
    def owns(self) -> bool:
        return self.member.shards["alpha"].keeper.may_publish(time.monotonic())

    async def kill(self) -> None:
        """End it with no more words."""
        if self in self.exchange.hosts:
            self.exchange.hosts.remove(self)
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def leave(self) -> None:
        await self.member.leave()
        await self.kill()


class Alpha:
    """An exchange of one market, which tells all who gather it the same."""

    def __init__(self) -> None:
        self.hosts: list[Host] = []
        self.number = 0

    async def run(self) -> None:
        while True:
            self.number += 1
            for host in list(self.hosts):
                trade = Trade(exchange="alpha", symbol="A/B", raw_symbol="AB", price="1", size="1", id=str(self.number))
                trade.ts_recv = time.time_ns()
                host.bus.publish([trade])
            await asyncio.sleep(0.005)


@asynccontextmanager
async def cluster(server: Server, names: str, monkey: pytest.MonkeyPatch) -> AsyncIterator[dict[str, Host]]:
    exchange = Alpha()
    running = asyncio.create_task(exchange.run())
    hosts = {name: Host(server, name, exchange, monkey) for name in names}
    for host in hosts.values():
        host.start()
    try:
        yield hosts
    finally:
        running.cancel()
        for host in hosts.values():
            await host.kill()


async def until(holds: Callable[[], bool], seconds: float = 40.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.05)


def owner(hosts: dict[str, Host]) -> str:
    return next((name for name, host in hosts.items() if host.owns), "")


def stands_by(hosts: dict[str, Host]) -> bool:
    """Tell whether one owns, and another could go on at once."""
    now = time.monotonic()
    return bool(owner(hosts)) and any(
        host.member.shards["alpha"].is_ready(now) and host.member.shards["alpha"].share.number > 0
        for name, host in hosts.items()
        if name != owner(hosts)
    )


async def stored(server: Server) -> tuple[list[Record], list[int]]:
    """All that the stream holds, and the fencing numbers in order."""
    client = await nats.connect(f"nats://127.0.0.1:{server.port}")
    try:
        stream = client.jetstream()
        last = (await stream.stream_info("cluster-alpha")).state.last_seq
        messages = [await stream.get_msg("cluster-alpha", seq) for seq in range(1, last + 1)]
    finally:
        await client.close()
    lines = [line for message in messages for line in (message.data or b"").splitlines()]
    return [decode_record(line) for line in lines], [int((m.headers or {})["Aggregator-Fence"]) for m in messages]


async def check(server: Server, owners: int) -> None:
    records, fences = await stored(server)
    ids = [int(record.id or 0) for record in records if isinstance(record, Trade)]
    assert ids == list(range(ids[0], ids[-1] + 1)), "each once, in order"
    assert [record.offset for record in records] == list(range(1, len(records) + 1))
    assert fences == sorted(fences)
    assert len(set(fences)) >= owners
    assert [record for record in records if isinstance(record, Gap)] == []


@pytest.mark.timeout(180)
async def test_nothing_is_missing_whoever_is_killed_or_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster(server, "abc", monkeypatch) as hosts:
        await until(lambda: stands_by(hosts))
        first = owner(hosts)
        await hosts.pop(first).kill()
        await until(lambda: stands_by(hosts))
        second = owner(hosts)
        await hosts[second].leave()
        left = {name: host for name, host in hosts.items() if name != second}
        await until(lambda: owner(left) != "")
        await asyncio.sleep(0.5)
    await check(server, 3)


@pytest.mark.timeout(180)
async def test_nothing_is_missing_while_the_server_is_away(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster(server, "ab", monkeypatch) as hosts:
        await until(lambda: stands_by(hosts))
        server.kill()
        await asyncio.sleep(4)
        assert owner(hosts) == "", "whoever cannot renew the lease gives it up"
        await asyncio.to_thread(server.start)
        await until(lambda: stands_by(hosts))
        await asyncio.sleep(0.5)
    await check(server, 1)


@pytest.mark.timeout(180)
async def test_two_hosts_of_one_name_own_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with cluster(server, "ab", monkeypatch) as hosts:
        await until(lambda: stands_by(hosts))
        other = Host(server, "a", hosts["a"].exchange, monkeypatch)
        other.start()
        await until(lambda: "another member is named a" in caplog.text)
        await until(lambda: hosts["b"].owns)
        await other.kill()
