"""The lease of a shard, step by step."""

from collections import Counter
from collections.abc import Sequence

import pytest

from aggregator.cluster.lease import Lease, LeaseKeeper, LeaseTiming, LeaseWrite
from aggregator.cluster.ranking import ClusterMember, line_of

TIMING = LeaseTiming()
LINE = ["a", "b", "c"]


def keeper(name: str, life: str = "1", now: float = 0.0) -> LeaseKeeper:
    return LeaseKeeper("x", name, life, TIMING, now)


def tried(found: LeaseKeeper, now: float, line: Sequence[str] = LINE, ready: Sequence[str] = LINE) -> LeaseWrite:
    write = found.step(now, line, ready)
    assert write is not None
    return write


def owner(now: float = 10.0) -> LeaseKeeper:
    found = keeper("a")
    found.answered(tried(found, now), 7, now + 0.1)
    return found


def test_the_first_in_line_takes_what_nobody_owns_and_the_revision_is_its_number() -> None:
    found = owner()
    assert (found.fence, found.may_publish(10.2)) == (7, True)
    assert keeper("b").step(1.4, LINE, LINE) is None
    assert keeper("b").step(1.5, LINE, LINE) is not None


def test_a_lease_is_renewed_each_sixth_and_keeps_its_number() -> None:
    found = owner()
    assert found.step(11.9, LINE, LINE) is None
    write = tried(found, 12.0)
    assert (write.last, write.lease.fence) == (7, 7)
    found.answered(write, 9, 12.1)
    assert (found.fence, found.revision) == (7, 9)


def test_a_bucket_that_counts_anew_gives_numbers_behind_those_of_before() -> None:
    """The servers have lost their end, or all: a lower fencing number would be taken for that of an older owner."""
    found = owner()
    before = tried(found, 12.0)
    found.forget(12.5)
    found.answered(before, 9, 12.6)
    assert (found.fence, found.revision, found.may_publish(12.6)) == (0, 0, False)
    found.observe(3, Lease(owner="z", life="1"), 13.0)
    write = found.step(25.0, LINE, LINE, 0, 7)
    assert write is not None
    assert (write.last, write.lease.fence) == (3, 8)
    found.answered(before, 9, 25.1)
    assert found.fence == 0, "it answers what was asked of the servers before"
    found.answered(write, 4, 25.1)
    assert found.fence == 8
    other = keeper("b")
    other.observe(4, write.lease, 25.1)
    write = other.step(38.0, LINE, ["b"], 0, 7)
    assert write is not None
    assert write.lease.fence == 9, "whoever had 8 may have begun to write"


def test_an_owner_whose_later_lease_the_servers_have_lost_takes_a_number_behind_that() -> None:
    found = owner()
    write = found.step(10.5, LINE, LINE, 0, 26)
    assert write is not None
    assert (write.last, write.lease.owner, write.lease.fence) == (7, "a", 27)
    found.answered(write, 8, 10.6)
    assert found.fence == 27
    assert found.step(10.7, LINE, LINE, 0, 27) is None


def test_an_owner_gives_up_before_anyone_may_take_over() -> None:
    found, other = owner(), keeper("b")
    other.observe(7, Lease(owner="a", life="1"), 10.1)
    assert found.may_publish(10 + 0.8 * 12 - 0.01)
    assert not found.may_publish(10 + 0.8 * 12)
    assert other.step(22.0, LINE, ["b"]) is None
    write = other.step(22.2, LINE, ["b"])
    assert write is not None
    assert (write.last, write.lease.owner) == (7, "b")


def test_it_counts_from_before_the_write_and_not_from_its_answer() -> None:
    found = keeper("a")
    found.answered(tried(found, 10.0), 7, 14.0)
    assert found.may_publish(19.5)
    assert not found.may_publish(19.6)


def test_an_answer_that_is_lost_is_made_up_for_by_what_is_seen() -> None:
    found = keeper("a")
    write = found.step(10.0, LINE, LINE)
    assert write is not None
    found.unanswered(write)
    assert not found.may_publish(11.0)
    found.observe(7, write.lease, 16.0)
    assert found.may_publish(16.0)
    assert not found.may_publish(19.6)


def test_an_answer_that_comes_after_the_write_was_given_up_is_taken_for_no_other() -> None:
    """An owner that was stopped goes on: others have owned the shard since, whose frames it hears before their leases.

    It tries for a number behind theirs, and then comes the answer to what it wrote before it was stopped.
    """
    found = owner()
    late = tried(found, 12.0)
    assert found.step(50.0, LINE, LINE, 0, 13) is None, "it gives the write up"
    write = found.step(50.0, LINE, LINE, 0, 13)
    assert write is not None
    assert write.lease.fence == 14
    found.answered(late, 8, 50.1)
    assert not found.may_publish(50.1)
    assert found.fence == 7
    found.observe(8, late.lease, 50.2)
    assert not found.may_publish(50.2)
    found.answered(write, None, 50.3)
    found.observe(14, Lease(owner="c", life="1"), 50.4)
    assert (found.fence, found.may_publish(50.4)) == (0, False)


def test_a_newer_owner_ends_an_ownership() -> None:
    found = owner()
    found.observe(8, Lease(owner="b", life="1"), 11.0)
    assert not found.may_publish(11.0)
    found.observe(7, Lease(owner="a", life="1", beat=1), 11.1)
    assert not found.may_publish(11.1), "an older revision comes late"


def test_a_member_that_begins_anew_hands_on_what_its_former_life_owned() -> None:
    found = keeper("a", "2")
    found.observe(7, Lease(owner="a", life="1"), 1.0)
    write = found.step(1.1, LINE, ["b"])
    assert write is not None
    assert (write.lease.owner, write.lease.heir) == ("", "b")
    heir = keeper("b")
    heir.observe(8, write.lease, 1.2)
    assert heir.step(1.2, LINE, ["b"]) is not None


def test_it_is_handed_over_once_the_first_in_line_could_go_on() -> None:
    found = keeper("b")
    found.answered(tried(found, 10.0, ["b"], ["b"]), 7, 10.0)
    found.answered(tried(found, 20.0, LINE, ["b", "a"]), 8, 20.0)  # it is too early, and so it is renewed
    found.answered(tried(found, 22.5, LINE, ["b"]), 9, 22.5)  # the first in line is not ready
    assert found.step(23.0, LINE, ["b", "a"]) is None
    assert (found.is_leaving, found.may_publish(23.0)) == (True, False)
    write = found.release(23.1, LINE, ["b", "a"])
    assert write is not None
    assert (write.lease.owner, write.lease.heir) == ("", "a")


def test_whoever_could_not_go_on_waits_for_those_who_could() -> None:
    found = keeper("a")
    found.observe(7, Lease(owner="z", life="1"), 0.0)
    assert found.step(19.0, LINE, ["b"]) is None
    assert found.step(20.0, LINE, ["b"]) is not None
    alone = keeper("a")
    alone.observe(7, Lease(owner="z", life="1"), 0.0)
    assert alone.step(12.9, LINE, []) is None, "one that could go on may not be known yet"
    assert alone.step(13.0, LINE, []) is not None


def test_the_last_of_three_takes_over_within_fourteen_seconds() -> None:
    """The worst that there is: nobody could go on at once, and the first in line is gone too."""
    last = keeper("c")
    last.observe(7, Lease(owner="z", life="1"), 0.0)
    assert last.step(13.5 + 0.5, LINE, []) is not None
    assert TIMING.ttl + TIMING.unready + (len(LINE) - 1) * TIMING.step <= 14.0


def members(*names: str, **others: float) -> list[ClusterMember]:
    weights = dict.fromkeys(names, 1.0) | others
    return [ClusterMember(name=name, life="1", weight=weight) for name, weight in weights.items()]


SHARDS = [f"exchange-{number}" for number in range(3000)]


def test_a_member_that_leaves_moves_only_what_it_was_first_for() -> None:
    before = {shard: line_of(shard, members("a", "b", "c")) for shard in SHARDS}
    after = {shard: line_of(shard, members("a", "c")) for shard in SHARDS}
    assert all(after[shard] == [name for name in before[shard] if name != "b"] for shard in SHARDS)
    counts = Counter(line[0] for line in before.values())
    assert all(900 < count < 1100 for count in counts.values())


def test_twice_the_weight_is_twice_as_much() -> None:
    counts = Counter(line_of(shard, members("a", "b", c=2.0))[0] for shard in SHARDS)
    assert counts["c"] == pytest.approx(1500, abs=120)


def test_who_drains_lacks_a_label_or_has_no_weight_is_not_in_line() -> None:
    some = [
        ClusterMember(name="a", life="1", labels=("eu",)),
        ClusterMember(name="b", life="1"),
        ClusterMember(name="c", life="1", labels=("eu",), is_draining=True),
        ClusterMember(name="d", life="1", labels=("eu",), weight=0.0),
    ]
    assert line_of("x", some, ["eu"]) == ["a"]
