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
    rate: records a second that the stream has got since the report before
    """

    shard: str = field(name="exchange")
    is_owned: bool = False
    readiness: float = 0.0
    held: int = 0
    number: int = 0
    overflowed: int = 0
    rate: float = 0.0


class MemberLoad(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The load of a member on its host.

    cpu: cores, since the report before
    memory_bytes: resident memory; null: the system does not tell
    lag_ms: how late its event loop was at most, of the last minute's looks
    """

    cpu: float = 0.0
    memory_bytes: int | None = None
    lag_ms: float = 0.0


class MemberReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A member as it tells of itself a few times in the life of a lease.

    ts: when, ns by its own clock
    revision: of the shared configuration that it goes by; 0: it goes by its own file
    refused: a newer revision, which it cannot go by; 0: there is none
    refusal: why not
    load: null: a member of an older version, which does not tell
    """

    member: ClusterMember
    ts: int
    shares: tuple[ShareReport, ...] = ()
    revision: int = 0
    refused: int = 0
    refusal: str = ""
    load: MemberLoad | None = None


def read_report(value: bytes | None) -> MemberReport | None:
    """The report of an entry; null where it was removed or cannot be read."""
    try:
        return None if value is None else msgspec.json.decode(value, type=MemberReport)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
