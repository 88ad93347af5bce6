"""The reports by which members know each other, in the bucket; `aggregator cluster status` shows them."""

import msgspec
from msgspec import Struct, field

from aggregator.cluster.ranking import ClusterMember


class ShareReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One shard at one member.

    shard: its name
    is_owned: whether this member publishes it
    readiness: the part of the topics of the stream that come here too
    held: records that wait to be published, or of a standby the ring
    number: of the last record that the stream is known to hold
    overflowed: records that were lost because no server took them in time
    """

    shard: str = field(name="exchange")
    is_owned: bool = False
    readiness: float = 0.0
    held: int = 0
    number: int = 0
    overflowed: int = 0


class MemberReport(Struct, frozen=True, kw_only=True):
    """A member as it tells of itself a few times in the life of a lease.

    ts: when, ns by its own clock
    """

    member: ClusterMember
    ts: int
    shares: tuple[ShareReport, ...] = ()


def read_report(value: bytes | None) -> MemberReport | None:
    """The report of an entry; null where it was removed or cannot be read."""
    try:
        return None if value is None else msgspec.json.decode(value, type=MemberReport)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
