"""`aggregator cluster top`: its rows, and its screen as a person uses it; and what `apply` reads from the same."""

import pytest
from msgspec import structs

from aggregator.cli.cluster_apply import _outcome
from aggregator.cli.cluster_rows import as_json, cluster_sheets, head, rates_of
from aggregator.cli.cluster_view import ClusterView, shards_of, view_from
from aggregator.cli.ctl import NoAnswer
from aggregator.cli.top_rows import RateHistory
from aggregator.cluster.lease import Lease
from aggregator.cluster.ranking import ClusterMember
from aggregator.cluster.report import MemberLoad, MemberReport, ShareReport
from aggregator.cluster.settings import ClusterKeys
from aggregator.cluster.shared import SharedConfig
from aggregator.cluster.store import BucketEntry, encode
from aggregator.config.config import Config, sinks_without_file
from aggregator.records import SECOND_NS

NOW = 1_000 * SECOND_NS


def member(name: str, *shares: ShareReport, ago: float = 0.0, **others: object) -> MemberReport:
    report = MemberReport(
        member=ClusterMember(name=name, life="1"), ts=NOW - round(ago * SECOND_NS), shares=shares, revision=7
    )
    return structs.replace(report, **others)


def view() -> ClusterView:
    owned = ShareReport(shard="alpha", is_owned=True, number=5000, rate=100.0, held=3, overflowed=2)
    ring = ShareReport(shard="alpha", readiness=0.96, number=4790)
    load = MemberLoad(cpu=0.25, memory_bytes=123_456_789, lag_ms=9.5)
    return ClusterView(
        ts=NOW,
        shared=SharedConfig(revision=8, text="[[exchanges]]"),
        members={
            "amber": member("amber", owned, load=load, revision=8),
            "birch": member("birch", ring, ago=2, refused=8, refusal="no \x1b[31mconnector"),
            "cedar": member("cedar", ring, ago=60),
        },
        leases={
            "alpha": Lease(owner="amber", life="1", fence=3, since=NOW - 90 * SECOND_NS),
            "beta": Lease(owner="cedar", life="1", fence=4),
            "gone": Lease(owner="amber", life="1", fence=2),
        },
        draining=["birch"],
    )


def test_rows_say_who_owns_what_and_how_far_the_standby_is() -> None:
    found = as_json(view(), ["alpha", "beta"])
    alpha, beta = found["shards"]
    assert (alpha["owner"], alpha["since_s"], alpha["records/s"]) == ("amber", 90, 100.0)
    assert (alpha["waiting"], alpha["lost"], alpha["standby"], alpha["ready"]) == (3, 2, "birch", "96%")
    assert alpha["behind"] == 10, "when birch told of itself, two seconds ago, the owner had written 4,800"
    assert (beta["owner"], beta["since_s"], beta["records/s"], beta["standby"]) == ("cedar (silent)", "", 0.0, "")
    amber, birch, cedar = found["members"]
    assert (amber["owns"], amber["cores"], amber["MB"], amber["late_ms"]) == ("alpha", 0.25, 123, 9.5)
    assert (birch["state"], birch["stands_by_for"]) == ("draining", "alpha")
    assert (birch["configuration"], birch["trouble"]) == ("7, refuses 8", "no \\x1b[31mconnector")
    assert (cedar["state"], cedar["cores"], found["revision"]) == ("silent", "", 8)


def test_those_that_are_owned_besides_are_listed_too() -> None:
    found: Config = sinks_without_file(None)
    assert shards_of(found, view()) == ["alpha"]
    assert head(view()) == "2 of 3 members alive, revision 8"


def test_a_revision_is_heard_of_by_all_that_are_alive() -> None:
    outcome = _outcome(view(), 8)
    assert (outcome.took, outcome.silent) == (["amber"], [])
    assert outcome.refused == {"birch": "no \x1b[31mconnector"}
    assert _outcome(view(), 9).silent == ["amber", "birch"]
    assert (_outcome(view(), 9).away, _outcome(view(), 7).away) == (["cedar"], [])


def test_a_member_that_waits_for_its_turn_is_waited_for() -> None:
    shares = ShareReport(shard="alpha", is_owned=True, is_old=True), ShareReport(shard="beta")
    found = structs.replace(view(), members={"amber": member("amber", *shares), "birch": member("birch")})
    outcome = _outcome(found, 7)
    assert (outcome.took, outcome.waiting, outcome.silent) == (["birch"], ["amber"], [])
    assert found.revision("amber") == "7, not yet alpha"


@pytest.mark.waits
async def test_a_person_looks_at_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("textual")
    from textual.coordinate import Coordinate
    from textual.widgets import DataTable, Sparkline, Static, TabbedContent

    from aggregator.cli.cluster_screen import ClusterTop

    asked: list[int] = []
    trouble: list[str] = []

    async def follow(_top: ClusterTop) -> None:
        """Nothing: there are no servers."""

    def seen(_top: ClusterTop) -> ClusterView:
        if trouble:
            raise NoAnswer(trouble[0])
        return view()

    def in_force(shared: SharedConfig) -> Config:
        asked.append(shared.revision)
        return sinks_without_file(None)

    monkeypatch.setattr(ClusterTop, "_follow", follow)
    monkeypatch.setattr(ClusterTop, "view", seen)
    top = ClusterTop(ClusterKeys(nats=("nats://127.0.0.1:1",), name="amber"), in_force, 3600)
    async with top.run_test(size=(140, 30)) as pilot:
        table = top.query_one("#table-shards", DataTable)
        assert str(table.get_cell_at(Coordinate(0, 1))) == "amber"
        await top.look()
        assert list(top.query_one("#rate", Sparkline).data or ()) == [100.0, 100.0]
        assert asked == [8], "the configuration is read once for each revision"
        await pilot.press("2")
        assert top.query_one(TabbedContent).active == "members"
        members = top.query_one("#table-members", DataTable)
        assert [str(members.get_cell_at(Coordinate(row, 0))) for row in range(3)] == ["amber", "birch", "cedar"]
        await pilot.press("r")
        assert str(members.get_cell_at(Coordinate(0, 0))) == "cedar"
        trouble.append("nats://127.0.0.1:1: connection refused")
        await top.look()
        assert "connection refused" in str(top.query_one("#head", Static).render())
        await pilot.press("q")


def test_rates_are_those_of_owners() -> None:
    assert rates_of(view(), ["alpha", "beta"]) == {"alpha": 100.0, "beta": 0.0}
    rates = RateHistory()
    rates.note({"alpha": 100.0})
    assert cluster_sheets(view(), ["alpha"], rates)["shards"].rows[0][4] == "█"


def test_a_member_whose_clock_is_off_is_alive_and_its_troubles_are_told() -> None:
    trouble = "its clock is 180 s behind the servers': have NTP set both"
    told = encode(member("amber", ago=180, troubles=(trouble,)))
    dead = encode(member("birch", ago=-180))
    entries = {
        "member.amber": BucketEntry("member.amber", 8, told, NOW - 2 * SECOND_NS),
        "member.birch": BucketEntry("member.birch", 7, dead, NOW - 60 * SECOND_NS),
    }
    amber, birch = as_json(view_from(entries, SharedConfig(), NOW), [])["members"]
    assert (amber["state"], birch["state"]) == ("alive", "silent")
    assert amber["trouble"] == trouble
