"""Members of a cluster share a configuration: a command puts it, and takes it back where a member cannot go by it."""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from click.testing import CliRunner
from msgspec import structs
from nats.js import JetStreamContext
from nats.js.errors import ServiceUnavailableError

from aggregator.bus.bus import Bus
from aggregator.cli import group
from aggregator.cli.cluster_apply import _put
from aggregator.cli.cluster_view import ClusterView
from aggregator.cluster.lease import TTL_S, LeaseTiming
from aggregator.cluster.member import Member
from aggregator.cluster.ranking import ClusterMember
from aggregator.cluster.report import MemberReport
from aggregator.cluster.settings import ClusterKeys
from aggregator.cluster.shared import SharedConfig
from aggregator.cluster.store import ClusterStore, Replaced, encode, open_store
from aggregator.config.config import sinks_without_file
from aggregator.errors import AggregatorError
from aggregator.records import BookSnapshot, Gap, Trade
from tests.cluster.nodes import Daemon, stored
from tests.support.killed_daemons import PROGRAM, ROOT
from tests.support.servers import Server
from tests.support.servers import nats as nats_server

pytestmark = pytest.mark.waits

MEMBER = """\
state = "{home}/state"
control = "none"
{more}
[cluster]
nats = "nats://127.0.0.1:{port}"
name = "{name}"
replicas = 1
stream_bytes = "100MB"
"""
OKX = """
[[exchanges]]
id = "okx"
channels = ["trades"]
symbols = ["*"]
"""
REPORT = MemberReport(member=ClusterMember(name="birch", life="1"), ts=1)
# A host that has an exchange from elsewhere already cannot gather it itself.
FROM_ELSEWHERE = """
[[sources]]
type = "nats"
servers = ["nats://127.0.0.1:{port}"]
topics = ["trades:okx:*"]

[[sinks]]
type = "files"
path = "{home}/data"
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = nats_server(tmp_path / "nats")
    yield server
    server.kill()


def keys(server: Server, name: str = "a") -> ClusterKeys:
    return ClusterKeys(nats=(f"nats://127.0.0.1:{server.port}",), name=name, replicas=1, stream_bytes=1 << 26)


async def until(holds: Callable[[], bool], seconds: float = 40.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.05)


async def written_by_others(server: Server, **entries: bytes) -> None:
    """Write entries of the bucket as they are: `member_x` is the key `member.x`."""
    await (await open_store(keys(server))).close()  # the buckets are made then
    client = await nats.connect(f"nats://127.0.0.1:{server.port}")
    for key, value in entries.items():
        await client.jetstream().publish(f"$KV.cluster-leases.{key.replace('_', '.')}", value)
    await client.close()


class Host:
    """A member that gathers nothing real, and notes what happens to it."""

    def __init__(self, server: Server, name: str = "a") -> None:
        self.noted: list[str] = []
        self.faulty = ""  # an exchange whose beginning meets a fault of the program
        self.is_able = True
        self.member = Member(
            keys(server, name),
            {"alpha": ()},
            self,
            LeaseTiming(ttl=3.0, settle=0.3, step=0.3, unready=0.5),
            apply=self.apply,
        )
        Bus("20260101T000000.000000Z").attach(self.member.receive)
        self.task = asyncio.create_task(self.member.run())

    async def apply(self, shared: SharedConfig) -> None:
        self.noted.append(shared.text)
        if not self.is_able:
            raise AggregatorError("no such exchange")

    async def gather(self, exchange: str, buckets: Collection[int]) -> None:
        if exchange == self.faulty:
            raise KeyError(exchange)
        self.noted.append(f"{'begin' if buckets else 'end'} {exchange}")

    def book(self, _exchange: str, _raw_symbol: str) -> BookSnapshot | None:
        return None

    async def end_all(self) -> None:
        await self.member.leave()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def put(server: Server, text: str, last: int) -> int:
    store = await open_store(keys(server))
    try:
        return await store.share(SharedConfig(text=text), last)
    finally:
        await store.close()


async def test_a_member_takes_what_is_shared_before_it_gathers_anything(server: Server) -> None:
    server.start()
    first = await put(server, "one", 0)
    host = Host(server)
    try:
        await until(lambda: "begin alpha" in host.noted)
        assert host.noted[0] == "one"
        second = await put(server, "two", first)
        await until(lambda: host.member.shared.revision == second)
        with pytest.raises(Replaced):
            await put(server, "three", first)
        assert host.noted.count("two") == 1
    finally:
        await host.end_all()


async def test_a_member_that_reaches_no_server_goes_by_its_own_file(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    host = Host(server)
    try:
        await until(lambda: "begin alpha" in host.noted)
        assert "again in" in caplog.text
        await asyncio.to_thread(server.start)
        await until(lambda: host.member.shards["alpha"].keeper.fence > 0)
        assert host.noted == ["begin alpha"]
    finally:
        await host.end_all()


async def test_a_member_that_can_go_by_no_revision_owns_nothing_until_it_can(server: Server) -> None:
    server.start()
    first = await put(server, "one", 0)
    host = Host(server)
    host.is_able = False
    try:
        await until(lambda: "one" in host.noted)
        await asyncio.sleep(3)
        assert "begin alpha" not in host.noted
        host.is_able = True
        second = await put(server, "two", first)
        await until(lambda: host.member.shards["alpha"].keeper.fence > 0)
        host.is_able = False
        await put(server, "three", second)
        await until(lambda: "three" in host.noted)
        await asyncio.sleep(1)
        assert host.member.shared.revision == second
        assert host.member.shards["alpha"].keeper.fence > 0, "one that has gone by an older one goes on with that"
    finally:
        await host.end_all()


async def test_servers_that_have_lost_all_take_nothing_from_a_member(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "aggregator.cluster")
    server.start()
    await put(server, "one", 0)
    host = Host(server)
    other = nats_server(tmp_path / "other")
    other.port = server.port
    try:
        await until(lambda: "begin alpha" in host.noted)
        server.kill()
        await asyncio.to_thread(other.start)
        await until(lambda: caplog.text.count("connected as a") > 1)
        assert host.member.shared.text == "one"
    finally:
        await host.end_all()
        other.kill()


async def test_a_member_takes_exchanges_up_and_drops_them(server: Server) -> None:
    server.start()
    host = Host(server)
    try:
        await until(lambda: host.member.shards["alpha"].keeper.may_publish(time.monotonic()))
        host.member.take_up("beta", ["beta-0of2", "beta-1of2"], ())
        await until(lambda: host.member.shards["beta-1of2"].keeper.may_publish(time.monotonic()))
        await until(lambda: host.member.shards["beta-1of2"].is_read)
        await host.member.drop("alpha")
        assert host.noted == ["begin alpha", "begin beta", "end alpha"]
        assert host.member.shards.keys() == {"beta-0of2", "beta-1of2"}
        host.member.take_up("alpha", ["alpha"], ())
        await until(lambda: host.member.shards["alpha"].keeper.may_publish(time.monotonic()))
        await until(lambda: host.noted[-1] == "begin alpha")
    finally:
        await host.end_all()


async def test_a_fault_of_one_exchange_leaves_the_others_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aggregator.cluster.member.LONGEST_PAUSE_S", 0.5)
    server.start()
    host = Host(server)
    host.faulty = "alpha"
    try:
        host.member.take_up("beta", ["beta"], ())
        await until(lambda: "begin beta" in host.noted and "an error of our own" in caplog.text)
        host.member.take_up("gamma", ["gamma"], ())
        await until(lambda: "begin gamma" in host.noted)
        host.faulty = ""
        await until(lambda: "begin alpha" in host.noted)
    finally:
        await host.end_all()


async def test_a_person_watches_a_cluster(server: Server) -> None:
    pytest.importorskip("textual")
    from textual.widgets import DataTable, Static

    from aggregator.cli.cluster_screen import ClusterTop

    server.start()
    host = Host(server)
    top = ClusterTop(keys(server), lambda _: sinks_without_file(None), 0.2)
    try:
        async with top.run_test(size=(140, 30)):
            shards, head = top.query_one("#table-shards", DataTable), top.query_one("#head", Static)
            await until(lambda: shards.row_count == 1 and "1 of 1 members alive" in str(head.render()))
            await put(server, "one", 0)
            await until(lambda: "revision 1" in str(head.render()))
            await asyncio.to_thread(server.kill)
            await until(lambda: str(server.port) in str(head.render()))
            await asyncio.to_thread(server.start)
            await until(lambda: "revision 1" in str(head.render()))
    finally:
        await host.end_all()


async def refuses(_self: JetStreamContext, *_given: object, **_named: object) -> None:
    """An answer of servers of which most are gone."""
    raise ServiceUnavailableError(code=503, description="JetStream system temporarily unavailable")


def test_what_the_servers_refuse_is_told_in_words(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start()
    monkeypatch.setattr(JetStreamContext, "add_consumer", refuses)
    both = Cluster(tmp_path, server)
    said = f"aggregator: nats://127.0.0.1:{server.port}: JetStream system temporarily unavailable\n"
    assert both.run("status", code=1) == said
    assert both.run("explain", "okx", code=1) == said
    assert both.run("top", "--once", code=1) == said
    assert both.run("drain", "amber", code=1) == said
    assert both.run("history", code=1) == said
    assert both.apply(OKX, code=1) == said


def test_a_host_that_is_gone_for_good_is_forgotten(server: Server, tmp_path: Path) -> None:
    server.start()
    both = Cluster(tmp_path, server)
    amber = both.members["amber"]
    amber.start()
    try:
        asyncio.run(
            written_by_others(server, member_birch=encode(REPORT), drain_birch=b"1", drain_cedar=b"1", member_x=b"{")
        )
        both.until(lambda found: {"amber", "birch"} <= found["members"].keys())
        assert both.status()["draining"] == ["birch", "cedar"]
        assert "amber is alive: end its daemon first" in both.run("forget", "amber", code=1)
        assert "birch is alive" in both.run("forget", "birch", code=1)
        assert "no member of the cluster is named '*'" in both.run("forget", "*", code=1)
        assert both.run("forget", "cedar") == "cedar: is forgotten\n", "a host that only has a mark is one too"
        assert both.run("forget", "x") == "x: is forgotten\n", "and one of which nothing can be read"
        amber.end(signal.SIGKILL)
        time.sleep(TTL_S + 1)
        assert both.run("forget", "birch") == "birch: is forgotten\n"
        found = both.status()
        assert (list(found["members"]), found["draining"]) == (["amber"], [])
        assert "no member of the cluster is named 'birch'" in both.run("forget", "birch", code=1)
        assert "no member of the cluster is named 'birch'" in both.run("drain", "birch", code=1)
        amber.start()
        both.until(lambda _: both.is_alive("amber"))
        assert both.status()["draining"] == []
    finally:
        amber.abandon()


def test_a_host_that_comes_back_while_it_is_forgotten_stays(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start()
    both = Cluster(tmp_path, server)
    asyncio.run(written_by_others(server, member_birch=encode(REPORT), drain_birch=b"1"))
    remove = ClusterStore.remove

    async def removes(store: ClusterStore, key: str, last: int | None = None) -> None:
        await store.replace(key, REPORT, None)
        await remove(store, key, last)

    monkeypatch.setattr(ClusterStore, "remove", removes)
    monkeypatch.setattr(ClusterView, "is_alive", lambda _view, _name: False)
    assert "birch has come back" in both.run("forget", "birch", code=1)
    assert both.status()["draining"] == ["birch"]


def test_what_no_member_can_own_is_told(server: Server, tmp_path: Path) -> None:
    server.start()
    both = Cluster(tmp_path, server)
    needs = f'[cluster.needs]\nokx = ["asia", "fast"]\n{OKX}'
    said = both.apply(needs)
    assert "nobody owns it" not in said, "where no member is known that says nothing"
    labelled = structs.replace(REPORT, member=structs.replace(REPORT.member, labels=("asia",)))
    asyncio.run(written_by_others(server, member_birch=encode(labelled)))
    warning = "okx: needs asia, fast, and no member has that: nobody owns it until one does\n"
    assert both.apply(needs, "--dry-run") == warning
    assert warning in both.apply(needs, "--wait", "1", code=1)
    able = structs.replace(REPORT, member=structs.replace(REPORT.member, labels=("fast", "asia"), is_draining=True))
    asyncio.run(written_by_others(server, member_birch=encode(able)))
    assert both.apply(needs, "--dry-run") == ""


def test_of_two_who_apply_at_once_one_is_told_so(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start()
    both = Cluster(tmp_path, server)
    share, path = ClusterStore.share, both.home / "shared.toml"
    path.write_text(OKX)
    command = [*PROGRAM, "cluster", "apply", "-c", str(both.members["amber"].config), str(path)]
    at_once = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)]
    said = sorted(each.communicate()[0].decode() for each in at_once)
    count = len(both.run("history", "--json").splitlines())
    assert count == 1, said
    assert all("revision 1" in each or "somebody else has put a revision meanwhile" in each for each in said), said

    async def shares(store: ClusterStore, put: SharedConfig, last: int) -> int:
        await share(store, structs.replace(put, text="other", by="somebody@else"), last)
        return await share(store, put, last)

    monkeypatch.setattr(ClusterStore, "share", shares)
    assert "somebody else has put a revision meanwhile" in both.apply(OKX.replace("trades", "book"), code=1)
    assert both.run("history").count("\n") == 3
    assert "somebody@else" in both.run("history")


async def test_a_revision_that_another_one_follows_while_members_are_awaited_is_told(server: Server) -> None:
    server.start()
    store = await open_store(keys(server))
    try:
        await store.replace("member.birch", REPORT, None)
        putting = asyncio.create_task(_put(store, SharedConfig(text="mine"), SharedConfig(), 0, 30.0))
        while not (await store.revisions())[0]:  # noqa: ASYNC110 - the other task puts it
            await asyncio.sleep(0.05)
        later = await put(server, "of somebody else", 1)
        outcome = await asyncio.wait_for(putting, 10)
        assert outcome is not None
        assert (outcome.revision, outcome.later) == (1, later)
    finally:
        await store.close()


async def test_a_screen_tells_what_the_servers_refuse(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("textual")
    from textual.widgets import Static

    from aggregator.cli.cluster_screen import ClusterTop

    server.start()
    monkeypatch.setattr(JetStreamContext, "add_consumer", refuses)
    top = ClusterTop(keys(server), lambda _: sinks_without_file(None), 0.2)
    async with top.run_test(size=(140, 30)):
        head = top.query_one("#head", Static)
        await until(lambda: "JetStream system temporarily unavailable" in str(head.render()))


# --- members that are daemons, and the commands


class Cluster:
    """Two members with no exchanges of their own, and the commands that an operator has."""

    def __init__(self, home: Path, server: Server) -> None:
        self.home = home
        more = {"birch": FROM_ELSEWHERE.format(port=server.port, home=home / "birch")}
        self.members = {
            name: Daemon(
                home / name, MEMBER.format(home=home / name, name=name, port=server.port, more=more.get(name, ""))
            )
            for name in ("amber", "birch")
        }

    def run(self, command: str, *arguments: str, code: int = 0) -> str:
        config = str(self.members["amber"].config)
        result = CliRunner().invoke(group, ["cluster", command, "-c", config, *arguments])
        assert result.exit_code == code, result.output
        return result.output

    def apply(self, text: str, *arguments: str, code: int = 0) -> str:
        path = self.home / "shared.toml"
        path.write_text(text)
        return self.run("apply", str(path), *arguments, code=code)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "--json"))
        return found

    def revisions(self) -> dict[str, int]:
        return {name: report.get("revision", 0) for name, report in self.status()["members"].items()}

    def until(self, holds: Callable[[dict[str, Any]], bool], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not holds(self.status()):
            if time.monotonic() > end:
                raise TimeoutError(self.run("status"))
            time.sleep(0.5)

    def is_alive(self, name: str) -> bool:
        return any(line.startswith(f"{name}\talive") for line in self.run("status").splitlines())

    def until_owned(self, *shards: str) -> dict[str, str]:
        """Wait until each of these shards, and none else, has its records written."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = self.status()
            shares = {
                share["exchange"]: name
                for name, report in found["members"].items()
                for share in report.get("shares", ())
                if share.get("is_owned") and share.get("number", 0) > 0
            }
            if shares.keys() == set(shards):
                return shares
            time.sleep(0.5)
        raise TimeoutError(f"owned are {self.run('status')}")

    def until_stood_by(self, *shards: str) -> None:
        """Wait until two members could go on with each of these shards."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            reports = self.status()["members"].values()
            ready = [shard for report in reports for shard in report["member"].get("ready", ())]
            if all(ready.count(shard) == 2 for shard in shards):
                return
            time.sleep(2)
        raise TimeoutError(f"nobody stands by: {self.run('status')}")


def simulated(home: Path, rate: float) -> tuple[subprocess.Popen[bytes], str, str]:
    """Simulated exchanges, and what a shared configuration says of each."""
    config = home / "sandbox.toml"
    options = ["--simulate", "binance,kraken", "--port", "0", "--rate", str(rate), "--config-out", str(config)]
    sandbox = subprocess.Popen([*PROGRAM, "sandbox", *options], stderr=subprocess.PIPE, cwd=ROOT, env=os.environ)
    assert sandbox.stderr is not None
    sandbox.stderr.readline()
    first, second = config.read_text().partition("[[sinks]]")[0].split("[[exchanges]]")[1:3]
    both = {"binance" if '"binance"' in each else "kraken": f"[[exchanges]]{each}" for each in (first, second)}
    return sandbox, both["binance"], both["kraken"]


@pytest.mark.timeout(400)
def test_all_members_go_by_what_is_applied(server: Server, tmp_path: Path) -> None:
    server.start()
    sandbox, binance, kraken = simulated(tmp_path, 50)
    cluster = Cluster(tmp_path, server)
    try:
        assert "no member runs" in cluster.apply(binance)
        assert cluster.apply(kraken, "--dry-run") == "kraken: new\nbinance: gone\n"
        for member in cluster.members.values():
            member.start()
        cluster.until_owned("binance")
        said = cluster.apply(f"# a comment\n{binance}{kraken}")
        assert "kraken: new" in said
        assert "revision 2: 2 members of 2: amber, birch" in said
        assert "revision 2 is this already: 2 members" in cluster.apply(f"{binance}\n{kraken}")
        cluster.until_owned("binance", "kraken")
        refused(cluster, f"{binance}{kraken}")
        top(cluster)
        assert "kraken: gone" in cluster.run("apply", "--rollback", "1")
        assert cluster.revisions() == {"amber": 5, "birch": 5}
        cluster.until_owned("binance")
        assert "kraken: new" in cluster.run("apply", "--rollback"), "the one before the newest"
        member_comes_again(cluster, binance)
        said = cluster.apply(f"[cluster]\nbuckets = {{binance = 2}}\n{binance}")
        assert said.startswith("other buckets of members\nrevision 8: 2 members of 2")
        cluster.until_owned("binance-0of2", "binance-1of2")
        history = [json.loads(line) for line in cluster.run("history", "--json").splitlines()]
        origins = [(each["revision"], each.get("origin", 0)) for each in history]
        assert origins == [(8, 0), (7, 0), (6, 4), (5, 1), (4, 2), (3, 0), (2, 0), (1, 0)]
        assert "comment" not in cluster.run("history", "2")
        assert "there is no revision 77" in cluster.run("apply", "--rollback", "77", code=1)
    finally:
        sandbox.kill()
        sandbox.communicate()
        for member in cluster.members.values():
            member.abandon()


@pytest.mark.timeout(400)
def test_an_exchange_that_begins_anew_does_so_at_one_member_after_the_other(server: Server, tmp_path: Path) -> None:
    server.start()
    sandbox, binance, kraken = simulated(tmp_path, 100)  # few enough that some topics are silent for half a minute
    cluster = Cluster(tmp_path, server)
    try:
        cluster.apply(f"{binance}{kraken}")
        for member in cluster.members.values():
            member.start()
        cluster.until_owned("binance", "kraken")
        cluster.until_stood_by("binance", "kraken")
        owner, since = cluster.until_owned("binance", "kraken")["binance"], time.time_ns()
        begun = {name: member.count("binance begins anew") for name, member in cluster.members.items()}
        assert set(begun.values()) == {0}
        other = binance.replace("[[exchanges]]", "[[exchanges]]\nlifetime = '5h'", 1)
        said = cluster.apply(f"{other}{kraken}", "--wait", "120")
        assert "waits for its turn" not in said
        assert cluster.revisions() == {"amber": 2, "birch": 2}
        assert [member.count("binance begins anew") for member in cluster.members.values()] == [1, 1]
        assert [member.count("kraken begins anew") for member in cluster.members.values()] == [0, 0]
        cluster.until_stood_by("binance", "kraken")
        assert cluster.members[owner].count("binance is not owned") >= 1
        time.sleep(2)
    finally:
        for member in cluster.members.values():
            member.abandon()
        sandbox.kill()
        sandbox.communicate()
    for exchange in ("binance", "kraken"):
        check_whole(server, exchange, since)


def check_whole(server: Server, exchange: str, since: int) -> None:
    """Check that the stream tells of no gap after a moment, and has each trade once."""
    records = asyncio.run(stored(server, f"cluster-{exchange}"))[0]
    assert [each for each in records if isinstance(each, Gap) and each.ts_recv > since] == []
    trades: dict[str, list[int]] = {}
    for each in records:
        if isinstance(each, Trade) and each.ts_recv > since:
            trades.setdefault(each.raw_symbol or "", []).append(int(each.id or 0))
    assert len(trades) > 1
    for ids in trades.values():
        assert ids == list(range(ids[0], ids[-1] + 1))


def refused(cluster: Cluster, good: str) -> None:
    """What is wrong is not put; what one member cannot take is taken back on all."""
    owners = cluster.until_owned("binance", "kraken")
    said = cluster.apply("log_level = 3\n" + good.replace('"binance"', '"binanze"'), code=78)
    assert "log_level: is each host's own" in said
    assert '"binanze" is not an exchange' in said
    said = cluster.apply(f"state = 'elsewhere'\n{good}{OKX}credentials = {{key = 'k'}}\n", code=78)
    assert "state: is each host's own" in said
    assert "credentials: is each host's own" in said
    assert cluster.revisions() == {"amber": 2, "birch": 2}
    said = cluster.apply(good + OKX, code=78)
    assert "birch: " in said
    assert "okx is gathered by this daemon itself" in said
    assert "birch cannot go by revision 3, and so nothing is changed: revision 4 is as before" in said
    assert cluster.revisions() == {"amber": 4, "birch": 4}
    assert cluster.until_owned("binance", "kraken") == owners


def top(cluster: Cluster) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = json.loads(cluster.run("top", "--once", "--json"))
        if all(each["records/s"] > 0 and each["standby"] for each in found["shards"]):
            break
        time.sleep(1)
    assert [each["shard"] for each in found["shards"]] == ["binance", "kraken"]
    assert all(each["records/s"] > 0 and each["standby"] for each in found["shards"])
    assert all(each["cores"] > 0 and each["MB"] > 10 and each["state"] == "alive" for each in found["members"])
    assert {each["configuration"] for each in found["members"]} == {"4"}
    shown = cluster.run("top", "--once")
    assert "amber\talive\t4" in shown
    assert "binance" in cluster.run("explain", "binance")
    assert "binance" in cluster.run("status")


def member_comes_again(cluster: Cluster, other: str) -> None:
    """A member that begins takes what is shared, whatever it went by before."""
    birch = cluster.members["birch"]
    birch.end(signal.SIGTERM)
    assert "revision 7: 1 member of 1: amber" in cluster.apply(other)
    birch.start()
    end = time.monotonic() + 60
    while cluster.revisions() != {"amber": 7, "birch": 7} and time.monotonic() < end:
        time.sleep(0.5)
    assert cluster.revisions() == {"amber": 7, "birch": 7}
    cluster.until_owned("binance")
