"""The lease of one shard, as one member sees it: a state machine without I/O, whose time is an argument.

A lease is an entry of a key-value bucket, written by compare-and-set: each write names the revision that it replaces.
Its owner renews it. Everyone else counts by a clock of their own since the last revision that they saw, so no two
clocks are ever compared. The owner counts from before it asked, and gives up earlier than anyone may take over.

That makes two owners at once unlikely, and not impossible: a process can be stopped between its look at the clock and
what it does next. So each ownership has a fencing number that is greater than all before it: the revision with which it
began, or where the servers have lost revisions the number behind the newest that is known. And the stream itself
refuses whoever is not the newest (`share.py`).
"""

from collections.abc import Collection, Sequence
from typing import Literal

from msgspec import Struct

TTL_S = 12.0  # an election of the servers takes 4 to 9 s, and a lease outlives it
RENEWALS = 6  # in the time that a lease lasts
GIVEN_UP = 0.8  # the owner publishes nothing more when so much of it has passed without a renewal
SETTLE_S = 1.0  # a shard that nobody owns is taken when the members have had so long to tell of themselves
STEP_S = 0.5  # whoever is one further back in line waits so much longer
UNREADY_S = 1.0  # likewise whoever could not go on at once
ANSWER_S = 5.0  # an answer that takes longer does not come any more

Role = Literal["owner", "heir", "none"]


class Lease(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The entry of a shard.

    owner: the member that owns it; empty: it was given up
    life: of the owner
    fence: the fencing number of the ownership; 0: the entry's own revision, as it has just begun
    since: when the ownership began, ns by the owner's clock, for people
    beat: counts the writes of one life, so that the writer knows its own again
    heir: who is to take what was given up; empty: whoever is first in line
    """

    owner: str = ""
    life: str = ""
    fence: int = 0
    since: int = 0
    beat: int = 0
    heir: str = ""


class LeaseWrite(Struct, frozen=True):
    """A write that is to be tried: this entry in place of the one of that revision; 0: there is none yet."""

    lease: Lease
    last: int


class LeaseTiming(Struct, frozen=True, kw_only=True):
    """The lengths of time, in seconds.

    ttl: how long a lease lasts after whoever looks on has seen it renewed
    settle: how long a shard that nobody owns is left alone
    step: how much longer whoever is one further back in line waits
    unready: how much longer a member waits that could not go on at once; and half a lease more where another one could
    answer: how long an answer may take
    """

    ttl: float = TTL_S
    settle: float = SETTLE_S
    step: float = STEP_S
    unready: float = UNREADY_S
    answer: float = ANSWER_S


class LeaseKeeper:
    """One member's view of one shard's lease, and what it does about it."""

    def __init__(self, shard: str, name: str, life: str, timing: LeaseTiming, now: float) -> None:
        """Know nothing yet. `now` is this member's monotonic clock, as everywhere here."""
        self.shard = shard
        self.lease: Lease | None = None
        self.revision = 0
        self.fence = 0  # the number of this member's ownership; 0: it has none
        self._name = name
        self._life = life
        self._timing = timing
        self._seen = now  # when the newest revision was seen
        self._until = 0.0  # the ownership may be used before this
        self._renewed = 0.0  # when the last write that stands was tried
        self._began = 0.0  # when the ownership was first seen
        self._beat = 0
        self._tried: tuple[Lease, float] | None = None  # the newest write, and when it was tried
        self._is_waiting = False  # its answer may come yet
        self._is_leaving = False

    # --- what is seen

    def observe(self, revision: int, lease: Lease | None, now: float) -> None:
        """See an entry of the bucket, in whatever order; null: it was removed."""
        if revision <= self.revision:
            return
        self.revision, self.lease, self._seen = revision, lease, now
        if lease is None or (lease.owner, lease.life) != (self._name, self._life):
            self._lose()
            return
        if self._tried is not None and lease.beat == self._tried[0].beat:
            self._renewed = self._tried[1]
            self._until = self._renewed + self._timing.ttl * GIVEN_UP
        if not self.fence:
            self._began = now
        self.fence = lease.fence or revision

    def answered(self, write: LeaseWrite, revision: int | None, now: float) -> None:
        """Take the answer to a write: the revision that it made; null: it was refused.

        One that comes when the write was given up is no answer to the write that was tried since.
        """
        if self._tried is None or write.lease is not self._tried[0]:
            return
        self._is_waiting = False
        if revision is not None:
            self.observe(revision, write.lease, now)

    def unanswered(self, write: LeaseWrite) -> None:
        """No answer comes to a write: it may stand, or come to stand later. What is seen tells."""
        if self._tried is not None and write.lease is self._tried[0]:
            self._is_waiting = False

    def forget(self, now: float) -> None:
        """Know nothing any more: the servers have lost what they had, and count anew."""
        self._lose()
        self.revision, self.lease, self._seen = 0, None, now
        self._tried, self._is_waiting = None, False

    def _lose(self) -> None:
        self.fence, self._until, self._is_leaving = 0, 0.0, False

    # --- what it may do

    def may_publish(self, now: float) -> bool:
        """Tell whether this member is the owner at this moment; asked again at every publish."""
        return self.fence > 0 and now < self._until and not self._is_leaving

    @property
    def is_leaving(self) -> bool:
        """Tell whether the shard is being handed over: nothing more may be published."""
        return self._is_leaving

    def expires_in(self, now: float) -> float:
        """Seconds until the lease that was seen last is over, by this member's clock; negative: it is."""
        return self._seen + self._timing.ttl - now

    # --- what it does

    def step(
        self, now: float, line: Sequence[str], ready: Collection[str], since: int = 0, newest: int = 0
    ) -> LeaseWrite | None:
        """Give the write that is to be tried now, if any; its answer is to be told before another one is given.

        line: the members that may own the shard, the first in line first
        ready: those of them that could go on at once
        since: the wall clock, ns
        newest: the greatest fencing number in the stream
        """
        if self._is_waiting:
            if self._tried is not None and now - self._tried[1] > self._timing.answer:
                self._is_waiting = False
            return None
        lease = self.lease
        if self.fence:
            return self._as_owner(now, line, ready, newest)
        if lease is not None and lease.owner == self._name:  # a former life of this member: it cannot go on
            return self._try(Lease(beat=self._next_beat(), heir=_first(line, ready, self._name)), now)
        if self._name not in line:
            return None
        free = now - self._seen if lease is None or not lease.owner else now - self._seen - self._timing.ttl
        if free < self._patience(lease, line, ready):
            return None
        newest = max(newest, 0 if lease is None else lease.fence)
        return self._try(self._owned(newest + 1 if newest > self.revision else 0, since), now)

    def _patience(self, lease: Lease | None, line: Sequence[str], ready: Collection[str]) -> float:
        """How long a shard has to be free before this member takes it."""
        timing = self._timing
        if lease is not None and not lease.owner and lease.heir == self._name and self._name in ready:
            return 0.0
        others = [name for name in line if lease is None or name != lease.owner]
        able = [name for name in others if name in ready]
        first = able or others
        place = first.index(self._name) if self._name in first else len(first)
        patience = place * timing.step
        if self._name not in ready:
            patience += timing.unready + (timing.ttl / 2 if able else 0.0)
        if lease is None or (not lease.owner and lease.heir):  # members may not know each other yet; an heir is first
            patience += timing.settle
        return patience

    def _as_owner(self, now: float, line: Sequence[str], ready: Collection[str], newest: int) -> LeaseWrite | None:
        lease = self.lease
        if lease is None:
            return None
        if self._is_leaving:
            return None  # `release` gives the write, once what is under way has its answer
        better = _first(line, ready, self._name)
        is_settled = now - self._began >= self._timing.ttl or self._name not in line
        if is_settled and better and (self._name not in line or line.index(better) < line.index(self._name)):
            self._is_leaving = True
            return None
        if newest > self.fence:  # the servers have lost the lease of a later ownership, and still know this one
            return self._try(self._owned(newest + 1, lease.since), now)
        if now >= self._renewed + self._timing.ttl / RENEWALS:
            return self._try(self._owned(self.fence, lease.since), now)
        return None

    def _owned(self, fence: int, since: int) -> Lease:
        return Lease(owner=self._name, life=self._life, fence=fence, since=since, beat=self._next_beat())

    def release(self, now: float, line: Sequence[str], ready: Collection[str]) -> LeaseWrite | None:
        """Give the write that gives the shard up, once nothing that was published is without an answer."""
        self._is_leaving = bool(self.fence)
        if self._is_waiting or not self.fence:
            return None
        return self._try(Lease(beat=self._next_beat(), heir=_first(line, ready, self._name)), now)

    def _next_beat(self) -> int:
        self._beat += 1
        return self._beat

    def _try(self, lease: Lease, now: float) -> LeaseWrite:
        self._tried, self._is_waiting = (lease, now), True
        return LeaseWrite(lease, self.revision)


def _first(line: Sequence[str], ready: Collection[str], but: str) -> str:
    """The first in line that could go on at once, but for one; empty: there is none."""
    return next((name for name in line if name in ready and name != but), "")
