"""Members begin an exchange anew one after the other, where its configuration wants that: never two at a time.

The last in line for the exchange is the first. Each of the others waits until all before it go by the new
configuration and could go on without a gap, and hands over what it owns before it begins anew itself. So one that
goes on is always there.
"""

from collections.abc import Collection, Iterable

from aggregator.cluster.ranking import ClusterMember, score
from aggregator.cluster.report import MemberReport

AGREED_S = 3.0  # so long after a change all members have told which configuration they go by
LONGEST_S = 300.0  # nobody waits longer for those before it


def is_turn(
    exchange: str, shards: Collection[str], own: ClusterMember, revision: int, others: Iterable[MemberReport]
) -> bool:
    """Tell whether all before this member gather an exchange by the new configuration, and could go on without a gap.

    shards: those of the exchange
    revision: of the shared configuration by which this member goes
    others: the last words of the other members that are alive
    """
    for report in others:
        gathered = {share.shard: share for share in report.shares if share.shard in shards}
        if not gathered or _place(exchange, report.member) > _place(exchange, own):
            continue
        is_new = report.revision >= revision and not any(share.is_old or share.is_fresh for share in gathered.values())
        if not is_new or not gathered.keys() <= set(report.member.ready):
            return False
    return True


def _place(exchange: str, member: ClusterMember) -> tuple[float, str]:
    return score(exchange, member.name, member.weight), member.name
