"""Whose turn it is to begin an exchange anew."""

from aggregator.cluster.ranking import ClusterMember, line_of
from aggregator.cluster.report import MemberReport, ShareReport
from aggregator.cluster.turns import is_turn

NAMES = ("a", "b", "c")
LAST, MIDDLE, FIRST = reversed(line_of("x", [ClusterMember(name=name, life="1") for name in NAMES]))


def report(
    name: str, revision: int = 2, *, is_old: bool = False, is_ready: bool = True, is_fresh: bool = False
) -> MemberReport:
    member = ClusterMember(name=name, life="1", ready=("x",) if is_ready else ())
    share = ShareReport(shard="x", is_old=is_old, is_fresh=is_fresh)
    return MemberReport(member=member, ts=0, revision=revision, shares=(share,))


def turn(name: str, *others: MemberReport) -> bool:
    return is_turn("x", ["x"], ClusterMember(name=name, life="1"), 2, others)


def test_the_last_in_line_waits_for_nobody() -> None:
    assert turn(LAST, report(MIDDLE, 1), report(FIRST, is_old=True))


def test_the_others_wait_until_all_before_them_could_go_on_by_the_new_configuration() -> None:
    assert not turn(FIRST, report(LAST, 1)), "it has not heard of it yet"
    assert not turn(FIRST, report(LAST, is_old=True)), "it has yet to begin anew"
    assert not turn(FIRST, report(LAST, is_ready=False)), "it has just begun anew"
    assert not turn(FIRST, report(LAST, is_fresh=True)), "it would tell a gap of a topic that is silent"
    assert not turn(FIRST, report(LAST), report(MIDDLE, is_old=True))
    assert turn(FIRST, report(LAST), report(MIDDLE, 3))


def test_who_does_not_gather_it_is_waited_for_by_nobody() -> None:
    elsewhere = MemberReport(member=ClusterMember(name=LAST, life="1"), ts=0, shares=(ShareReport(shard="y"),))
    assert turn(FIRST, elsewhere)
