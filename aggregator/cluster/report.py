"""The reports by which members know each other, in the bucket; `aggregator cluster status` shows them."""

import msgspec
from msgspec import Struct, field

from aggregator.cluster.ranking import ClusterMember
from aggregator.errors import UNREADABLE

UNHEARD_S = 6.0  # half of what a lease lasts: so long whoever could go on is taken for ready
LOOKED_S = 1.0  # more than that passes between two looks only where the process was held up


class ShareReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One shard at one member.

    shard: its name
    is_owned: whether this member publishes it
    readiness: the part of the topics of the stream that come here too
    held: records that wait to be published, or of a standby the ring
    number: of the last record that the stream is known to hold
    overflowed: records that were lost because no server took them in time
    rate: records a second that the stream has got since the report before
    is_old: whether it is gathered by an older configuration than the member goes by, until its turn comes
    is_fresh: whether a gap would be told if the member went on with it now, and not some time later
    """

    shard: str = field(name="exchange")
    is_owned: bool = False
    readiness: float = 0.0
    held: int = 0
    number: int = 0
    overflowed: int = 0
    rate: float = 0.0
    is_old: bool = False
    is_fresh: bool = False


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
    troubles: what else is wrong with it, in words
    """

    member: ClusterMember
    ts: int
    shares: tuple[ShareReport, ...] = ()
    revision: int = 0
    refused: int = 0
    refusal: str = ""
    load: MemberLoad | None = None
    troubles: tuple[str, ...] = ()


def read_report(value: bytes | None, name: str) -> MemberReport | None:
    """The report of a member's entry; null where it was removed, cannot be read, or is another one's."""
    try:
        found = None if value is None else msgspec.json.decode(value, type=MemberReport)
    except UNREADABLE:
        return None
    return None if found is None or found.member.name != name else found


class ReadBack:
    """It knows whether a reader still hears what its own member writes.

    A reader whose server lags behind the others, or is cut off from the one that leads, is answered all the same, and
    hears of nothing: the member would take all others for dead. What was acknowledged has to come by the reader too.
    """

    def __init__(self) -> None:
        """Wait for nothing yet."""
        self._heard = 0
        self._written = 0  # the oldest number that has not been heard; 0: there is none
        self._waited = 0.0
        self._looked: float | None = None

    def wrote(self, number: int) -> None:
        """A write of this member was acknowledged, under this number."""
        if not self._written and number > self._heard:
            self._written, self._waited, self._looked = number, 0.0, None

    def heard(self, number: int) -> None:
        """The reader has come to this number."""
        self._heard = max(self._heard, number)
        if self._heard >= self._written:
            self._written = 0

    def is_deaf(self, now: float) -> bool:
        """Tell whether something has not been heard for too long; time in which the process was stopped is left out."""
        if self._looked is not None:
            self._waited += min(now - self._looked, LOOKED_S)
        self._looked = now
        return self._written > 0 and self._waited > UNHEARD_S
