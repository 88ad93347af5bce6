"""The line for a shard, of which the first member owns it and the second stands by: rendezvous hashing by weight.

Each member has a score for each shard, of both names alone. A member that leaves or joins moves only the shards for
which it is first, and one with twice the weight is first for twice as many.
"""

import math
from collections.abc import Collection, Iterable
from hashlib import blake2b

from msgspec import Struct

BITS = 64


class ClusterMember(Struct, frozen=True, kw_only=True):
    """A member, as the others know it.

    name: no two members share one
    life: of its process; one that begins anew has another
    weight: how much of all it is to own, against the others
    labels: what it can do, or where it is: a shard may need some
    is_draining: it is to own nothing
    ready: shards that it gathers, and of which it could go on at once
    """

    name: str
    life: str
    weight: float = 1.0
    labels: tuple[str, ...] = ()
    is_draining: bool = False
    ready: tuple[str, ...] = ()


def score(shard: str, member: str, weight: float) -> float:
    """The score of a member for a shard; the highest is first in line."""
    digest = blake2b(f"{shard}\0{member}".encode(), digest_size=BITS // 8).digest()
    drawn = (int.from_bytes(digest, "big") + 0.5) / 2**BITS  # between 0 and 1, and neither of them
    return -weight / math.log(drawn)


def line_of(shard: str, members: Iterable[ClusterMember], needs: Collection[str] = ()) -> list[str]:
    """The names of the members that may own a shard, the first in line first.

    needs: labels that a member must have
    """
    able = [m for m in members if m.weight > 0 and not m.is_draining and set(needs) <= set(m.labels)]
    return [m.name for m in sorted(able, key=lambda m: (-score(shard, m.name, m.weight), m.name))]
