"""Members of a cluster on a real server: they hand over, die, and are found out, and a reader has each record once."""

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nats
import pytest

from aggregator.bus.bus import Bus
from aggregator.cli.cluster_view import view_of
from aggregator.cluster.buckets import bucket_of
from aggregator.cluster.lease import LeaseTiming
from aggregator.cluster.member import Member
from aggregator.cluster.ranking import ClusterMember, line_of
from aggregator.cluster.report import UNHEARD_S
from aggregator.cluster.settings import ClusterKeys
from aggregator.cluster.store import BucketEntry, ClusterStore, EntryReader, Unanswered, open_store
from aggregator.cluster.writer import FrameWrite
from aggregator.records import SECOND_NS, BookSnapshot, Gap, Health, Record, Trade, decode_record
from tests.cluster.nodes import stored
from tests.servers.test_nats_source import Here
from tests.support.servers import Server
from tests.support.servers import nats as nats_server
from tests.support.strangers import publish_foreign

pytestmark = pytest.mark.waits

MEMBER_A, MEMBER_B = (ClusterMember(name=name, life="1") for name in "ab")
TIMING = LeaseTiming(ttl=3.0, settle=0.3, step=0.3, unready=0.5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = nats_server(tmp_path / "nats")
    server.start()
    yield server
    server.kill()


class Host:
    """A member, and the exchange as it gathers it."""

    def __init__(self, server: Server, name: str, exchange: "Alpha", monkey: pytest.MonkeyPatch, **keys: Any) -> None:
        monkey.setattr("aggregator.cluster.member.STANDING_S", 0.5)
        self.bus = Bus("20260101T000000.000000Z")
        self.exchange = exchange
        self.keys = ClusterKeys(
            nats=(f"nats://127.0.0.1:{server.port}",), name=name, replicas=1, stream_bytes=1 << 28, **keys
        )
        self.member = Member(self.keys, {"alpha": ()}, self, TIMING)
        self.bus.attach(self.member.receive)
        self.task: asyncio.Task[None] | None = None
        self.gathered: set[int] = set()

    def start(self) -> None:
        self.task = asyncio.create_task(self.member.run())

    async def gather(self, _exchange: str, buckets: Collection[int]) -> None:
        if self in self.exchange.hosts:
            self.exchange.hosts.remove(self)
        self.gathered = set(buckets)
        if self.gathered:
            self.exchange.hosts.append(self)
            for symbol in filter(self.wants, self.exchange.symbols):
                state = Health(
                    exchange="alpha", symbol=symbol, raw_symbol=symbol, conn="1", channel="trades", state="live"
                )
                state.ts_recv = time.time_ns()
                self.bus.publish([state])

    def wants(self, raw_symbol: str) -> bool:
        return bucket_of(raw_symbol, self.keys.buckets_of("alpha")) in self.gathered

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
    """An exchange whose trades come to all who gather their market; most tests have one market alone."""

    def __init__(self, symbols: Sequence[str] = ("AB",)) -> None:
        self.symbols = symbols
        self.hosts: list[Host] = []
        self.number = 0

    async def run(self, gatherers: int) -> None:
        """Trade once so many gather: one that a single member had before the stream began would be told afterwards."""
        while len(self.hosts) < gatherers:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
        while True:
            self.number += 1
            symbol = self.symbols[self.number % len(self.symbols)]
            for host in list(self.hosts):
                if host.wants(symbol):
                    trade = Trade(exchange="alpha", raw_symbol=symbol, price="1", size="1", id=str(self.number))
                    trade.symbol, trade.ts_recv = symbol, time.time_ns()
                    host.bus.publish([trade])
            await asyncio.sleep(0.005)


@asynccontextmanager
async def cluster(
    server: Server, names: str, monkey: pytest.MonkeyPatch, exchange: Alpha | None = None, **keys: Any
) -> AsyncIterator[dict[str, Host]]:
    exchange = exchange or Alpha()
    running = asyncio.create_task(exchange.run(min(2, len(names))))
    hosts = {name: Host(server, name, exchange, monkey, **keys) for name in names}
    for host in hosts.values():
        host.start()
    try:
        yield hosts
    finally:
        running.cancel()
        for host in hosts.values():
            await host.kill()


async def until_told(store: ClusterStore, name: str, words: str) -> None:
    """Wait until a member tells of a trouble that begins so; of none where there are no words."""
    async with asyncio.timeout(40):
        while True:
            told = (await view_of(store)).members[name].troubles
            if any(each.startswith(words) for each in told) if words else not told:
                return
            await asyncio.sleep(0.1)


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
@pytest.mark.parametrize("is_all", [False, True])
async def test_members_go_on_when_the_servers_have_lost_what_they_had(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, is_all: bool
) -> None:
    """As after a power failure of all nodes: the end of what was acknowledged is gone, or everything."""
    store = tmp_path / "nats" / "store"
    async with cluster(server, "ab", monkeypatch) as hosts:
        await until(lambda: stands_by(hosts))
        server.kill()
        if not is_all:
            shutil.copytree(store, tmp_path / "kept")
        await asyncio.to_thread(server.start)
        await until(lambda: stands_by(hosts))
        await asyncio.sleep(4)
        server.kill()
        shutil.rmtree(store)
        if not is_all:
            shutil.copytree(tmp_path / "kept", store)
        await asyncio.to_thread(server.start)
        number = hosts["a"].exchange.number
        await until(lambda: owner(hosts) != "" and all(h.member.shards["alpha"].is_read for h in hosts.values()))
        await asyncio.sleep(3)
    records, fences = await stored(server)
    ids = [int(record.id or 0) for record in records if isinstance(record, Trade)]
    assert ids[-1] > number
    assert len(ids) == len(set(ids))
    assert fences == sorted(fences)


@pytest.mark.timeout(180)
async def test_a_member_that_does_not_read_back_what_it_tells_connects_anew(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server by which it reads lags behind the one that leads, and answers all the same: nothing has come."""
    readers: list[EntryReader] = []
    begin = ClusterStore.entries

    async def hears_nothing() -> list[BucketEntry]:
        await asyncio.sleep(0.1)
        return []

    async def entries(store: ClusterStore) -> EntryReader:
        readers.append(await begin(store))
        if len(readers) == 1:
            monkeypatch.setattr(readers[0], "read", hears_nothing)
        return readers[-1]

    monkeypatch.setattr(ClusterStore, "entries", entries)
    async with cluster(server, "a", monkeypatch) as hosts:
        await until(lambda: len(readers) == 2)
        assert caplog.text.count("what this member has told is not read back") == 1
        await until(lambda: hosts["a"].owns)
        await asyncio.sleep(UNHEARD_S + 1)
    assert len(readers) == 2, "what it tells is read back there"
    await check(server, 1)


@pytest.mark.timeout(180)
async def test_a_stream_that_the_servers_do_not_make_is_told_and_others_go_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await nats.connect(f"nats://127.0.0.1:{server.port}")
    await client.jetstream().add_stream(name="other", subjects=["cluster.alpha-1of2.>"])
    symbols = [f"S{number}" for number in range(12)]
    async with cluster(server, "a", monkeypatch, Alpha(symbols), buckets={"alpha": 2}) as hosts:
        made, refused = hosts["a"].member.shards.values()
        await until(lambda: bool(refused.trouble) and made.share.number > 100)
        store = await open_store(hosts["a"].keys)
        try:
            await until_told(store, "a", "the servers do not make the stream cluster-alpha-1of2: ")
            (told,) = (await view_of(store)).members["a"].troubles
            assert "`replicas` (1) and `stream_bytes` (" in told
            assert refused.share.number == 0
            await client.jetstream().delete_stream("other")
            await until(lambda: refused.share.number > 0)
            await until_told(store, "a", "")
        finally:
            await store.close()
            await client.close()


@pytest.mark.timeout(180)
async def test_an_owner_whose_frames_are_not_taken_tells_that_until_they_are(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    append, is_full = ClusterStore.append, asyncio.Event()

    async def refuses(self: ClusterStore, shard: str, epoch: str, write: FrameWrite) -> int:
        if is_full.is_set():
            raise Unanswered("maximum bytes exceeded")
        return await append(self, shard, epoch, write)

    monkeypatch.setattr(ClusterStore, "append", refuses)
    async with cluster(server, "a", monkeypatch) as hosts:
        shard = hosts["a"].member.shards["alpha"]
        await until(lambda: shard.share.number > 10)
        is_full.set()
        await until(lambda: bool(shard.trouble))
        assert shard.trouble == "the servers take nothing for the stream cluster-alpha: maximum bytes exceeded"
        is_full.clear()
        await until(lambda: not shard.trouble)
        assert "alpha can be written again" in caplog.text
    await check(server, 1)


async def test_a_clock_that_is_off_is_known_by_that_of_the_servers(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ClusterKeys(nats=(f"nats://127.0.0.1:{server.port}",), name="a", replicas=1)
    store = await open_store(keys)
    try:
        assert await store.clock_ahead() == 0.0
        for off in (180, -180):
            wrong = SimpleNamespace(time_ns=lambda off=off: time.time_ns() + off * SECOND_NS)
            monkeypatch.setattr("aggregator.cluster.store.time", wrong)
            assert 170 < abs(await store.clock_ahead()) <= 180
            assert (await store.clock_ahead() > 0) == (off > 0)
    finally:
        await store.close()
    async with cluster(server, "a", monkeypatch) as hosts:
        await until(lambda: "off that of the servers: have NTP set both" in caplog.text)
        share = hosts["a"].member.shards["alpha"].share
        await until(lambda: share.stored_at > 0)
        assert abs(time.time_ns() - share.stored_at) < 60 * SECOND_NS, "frames are dated by the servers"
        (told,) = hosts["a"].member._troubles(time.monotonic())
        assert "s behind the servers'" in told


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


ENTRIES = (
    b"",
    b"hello",
    b"\xff",
    b"{}",
    b"[1]",
    b"-1",
    b"1e999",
    b"[" * 50_000,
    b'{"owner":7}',
    b'{"fence":%d}' % 10**30,
    b'{"member":{"name":"nobody","life":"1"},"ts":1}',
    b'{"member":{"name":"a","life":"1","weight":1e999},"ts":1}',
    b'{"ts":%d,"text":"x"}' % 10**30,
)


@pytest.mark.timeout(180)
async def test_what_others_write_among_frames_and_entries_is_passed_over(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    reader = Here(server, tmp_path)
    client = await nats.connect(f"nats://127.0.0.1:{server.port}")
    stream = client.jetstream()

    def told() -> list[int]:
        return [int(record.id or 0) for record in reader.came() if isinstance(record, Trade)]

    async with (
        cluster(server, "ab", monkeypatch) as hosts,
        reader.linked(prefix="cluster.alpha", stream="cluster-alpha", begin="earliest"),
    ):
        await until(lambda: stands_by(hosts) and len(told()) > 10)
        await publish_foreign(server.port, "cluster.alpha.other", "cluster.alpha.frames")
        count = len(told())
        await until(lambda: len(told()) > count + 100)
        for value in ENTRIES:
            for key in ("member.a", "member.b", "member.x", "member.a.b", "drain.a", "drain.b", "drain.x", "lease.x"):
                await stream.publish(f"$KV.cluster-leases.{key}", value)
            await stream.publish("$KV.cluster-config.members", value)
            await stream.publish("$KV.cluster-config.x", value)
        await publish_foreign(server.port, "$KV.cluster-leases.member.x", "$KV.cluster-config.members")
        await until(lambda: stands_by(hosts))
        for value in ENTRIES:
            await stream.publish("$KV.cluster-leases.lease.alpha", value)
        count = len(told())
        await until(lambda: stands_by(hosts) and len(told()) > count + 100)
        late = Host(server, "c", hosts["a"].exchange, monkeypatch)
        late.start()
        await until(lambda: late.member.shards["alpha"].is_ready(time.monotonic()))
        store = await open_store(late.keys)
        view = await view_of(store)
        await store.close()
        assert (set(view.members), view.draining, view.shared.revision) == ({"a", "b", "c"}, [], 0)
        assert late.member.shared.revision == 0
        await late.kill()
    await client.close()
    assert told() == list(range(told()[0], told()[-1] + 1)), "each once, in order"
    assert [record for record in reader.came() if isinstance(record, Gap)] == []
    assert reader.status.links == 1
    assert "again in" not in caplog.text
    assert "error of our own" not in caplog.text
    place = r"message \d+ of the stream cluster-alpha at 'cluster.alpha.other'"
    assert len(re.findall(f"cluster: {place}", caplog.text)) == 3, "once at each member"
    assert len(re.findall(f"source nats: {place}", caplog.text)) == 1
    for key in ("member.x", "drain.x", "lease.alpha"):
        assert 1 <= len(re.findall(rf"entry \d+ of the bucket cluster-leases, '{key}'", caplog.text)) <= 3


@pytest.mark.timeout(180)
async def test_two_members_own_the_buckets_of_one_exchange(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    symbols = [f"S{number}" for number in range(12)]
    names = [f"alpha-{bucket}of4" for bucket in range(4)]
    async with cluster(server, "ab", monkeypatch, Alpha(symbols), buckets={"alpha": 4}) as hosts:
        shards = {name: host.member.shards for name, host in hosts.items()}

        def owners() -> dict[str, str]:
            now = time.monotonic()
            return {s: n for n, each in shards.items() for s in names if each[s].keeper.may_publish(now)}

        def is_settled() -> bool:
            now = time.monotonic()
            are_ready = all(shard.is_ready(now) for each in shards.values() for shard in each.values())
            return are_ready and owners() == {s: line_of(s, (MEMBER_A, MEMBER_B))[0] for s in names}

        await until(is_settled)
        before = owners()
        assert set(before.values()) == {"a", "b"}
        await hosts["a"].kill()
        await until(lambda: all(shards["b"][s].keeper.may_publish(time.monotonic()) for s in names))
        await asyncio.sleep(1)
    told: dict[int, str] = {}
    for bucket, name in enumerate(names):
        records, fences = await stored(server, f"cluster-{name}")
        assert [record for record in records if isinstance(record, Gap)] == []
        assert len(set(fences)) >= (2 if before[name] == "a" else 1)
        for record in records:
            assert bucket_of(str(record.raw_symbol), 4) == bucket
            if isinstance(record, Trade):
                assert int(record.id or 0) not in told
                told[int(record.id or 0)] = name
    last = max(told)
    assert [number for number in range(min(told) + 50, last - 50) if number not in told] == []


@pytest.mark.timeout(180)
async def test_records_are_handed_out_one_by_one_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await nats.connect(f"nats://127.0.0.1:{server.port}")
    came: dict[str, list[Record]] = {}

    async def take(message: Any) -> None:
        record = decode_record(message.data)
        came.setdefault(message.headers["Aggregator-Epoch"], []).append(record)
        assert message.subject.startswith("cluster-core.alpha.trades.alpha.AB")

    def ids(epoch: str) -> list[int]:
        return [int(record.id or 0) for record in came[epoch] if isinstance(record, Trade)]

    await client.subscribe("cluster-core.alpha.>", cb=take)
    async with cluster(server, "ab", monkeypatch, core=True) as hosts:
        await until(lambda: stands_by(hosts))
        await hosts.pop(owner(hosts)).kill()
        await until(lambda: len(came) == 2 and len(ids(max(came))) > 100)
    await client.close()
    for records in came.values():
        assert [record.offset for record in records] == list(range(1, len(records) + 1))
    before, behind = map(ids, sorted(came))
    assert before == list(range(before[0], before[-1] + 1))
    assert behind == list(range(behind[0], behind[-1] + 1))
    assert behind[0] <= before[-1] + 1, "what the ring held is handed out too"
