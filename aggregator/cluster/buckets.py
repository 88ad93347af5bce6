"""The buckets into which the symbols of an exchange are divided, so that several members own it together.

A symbol's bucket follows from its own name alone: whatever else an exchange lists, or a configuration names, no symbol
moves for it. A shard is one bucket, and an exchange that is not divided is a shard itself.
"""

from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b

from msgspec import Struct

MOST_REMEMBERED = 1 << 17  # symbols whose bucket is known without computing it anew


@lru_cache(MOST_REMEMBERED)
def bucket_of(raw_symbol: str, count: int) -> int:
    """The bucket of a symbol, as the exchange calls it, among so many; the first is 0."""
    digest = blake2b(raw_symbol.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count


class SymbolPart(Struct, frozen=True):
    """Some of the buckets of an exchange.

    count: how many there are in all
    buckets: those that are meant
    """

    count: int
    buckets: frozenset[int]

    def has(self, raw_symbol: str | None) -> bool:
        """Tell whether a symbol is in it; what is about no symbol is in every part."""
        return raw_symbol is None or bucket_of(raw_symbol, self.count) in self.buckets


def part_of(count: int, buckets: Collection[int]) -> SymbolPart | None:
    """These buckets as a part; null where they are the whole exchange."""
    return None if count == 1 else SymbolPart(count, frozenset(buckets))
