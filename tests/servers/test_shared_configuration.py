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

import pytest
from click.testing import CliRunner
from nats.js import JetStreamContext
from nats.js.errors import ServiceUnavailableError

from aggregator.bus.bus import Bus
from aggregator.cli import group
from aggregator.cluster.lease import LeaseTiming
from aggregator.cluster.member import Member
from aggregator.cluster.settings import ClusterKeys
from aggregator.cluster.shared import SharedConfig
from aggregator.cluster.store import Replaced, open_store
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
