"""The buckets of an exchange's symbols, and the names of their shards."""

from collections import Counter

from aggregator.cluster.buckets import SymbolPart, bucket_of, part_of
from aggregator.cluster.settings import ClusterKeys

SYMBOLS = [f"{base}{quote}" for base in range(1500) for quote in ("USDT", "BTC")]


def keys(buckets: dict[str, int] | None) -> ClusterKeys:
    return ClusterKeys(nats=("nats://127.0.0.1:4222",), name="a", buckets=buckets)


def test_a_symbol_has_the_same_bucket_in_every_version() -> None:
    """Members of two versions own the same symbols while one is replaced by the other."""
    assert [bucket_of(symbol, 8) for symbol in ("BTCUSDT", "ETHUSDT", "XBT/USD", "币安人生USDT", "")] == [2, 2, 0, 7, 4]


def test_buckets_are_of_one_size() -> None:
    counts = Counter(bucket_of(symbol, 8) for symbol in SYMBOLS)
    assert len(counts) == 8
    assert all(300 < count < 450 for count in counts.values())


def test_a_part_has_what_is_about_no_symbol() -> None:
    part = SymbolPart(8, frozenset({1, 5}))
    assert [symbol for symbol in SYMBOLS if part.has(symbol)] == [s for s in SYMBOLS if bucket_of(s, 8) in {1, 5}]
    assert part.has(None)
    assert part_of(1, [0]) is None
    assert part_of(8, [5, 1]) == part


def test_an_exchange_that_is_not_divided_is_a_shard_itself() -> None:
    assert keys(None).shards_of("x") == ["x"]
    assert keys({"x": 2, "*": 1}).shards_of("y") == ["y"]
    assert keys({"x": 2}).shards_of("x") == ["x-0of2", "x-1of2"]
    assert keys({"*": 2}).shards_of("y") == ["y-0of2", "y-1of2"]
    assert [keys(None).stream_of("x-0of2"), keys(None).prefix_of("x-0of2")] == ["cluster-x-0of2", "cluster.x-0of2"]
