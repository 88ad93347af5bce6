"""The table `[cluster]` of a configuration."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from aggregator.sinks.address import addresses
from aggregator.sinks.brokers.nats_client import MOST_BUCKETS, SCHEMES, NatsLogin, bucket_names
from aggregator.sinks.values import Bytes, Count, Duration, Texts, Word

NAME = r"^[A-Za-z0-9_-]{1,60}$"
EVERY = "*"  # in a table by exchange: those that it does not name
Label = Annotated[str, Field(pattern=NAME)]


def _several(value: object) -> object:
    """One text, or a list, as a tuple."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _by_exchange(value: object) -> object:
    """One number as that of every exchange; a table by exchange as it is."""
    return {EVERY: value} if isinstance(value, int) else value


BucketCount = Annotated[int, Field(ge=1, le=MOST_BUCKETS)]
BUCKETS_SCHEMA: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": MOST_BUCKETS}
BucketCounts = Annotated[
    Mapping[str, BucketCount],
    BeforeValidator(_by_exchange),
    WithJsonSchema({"anyOf": [BUCKETS_SCHEMA, {"type": "object", "additionalProperties": BUCKETS_SCHEMA}]}),
    Word("count"),
]
Labels = Annotated[tuple[Label, ...], BeforeValidator(_several)]
Addresses = Annotated[Texts, AfterValidator(addresses(SCHEMES, "nats://127.0.0.1:4222")), BeforeValidator(_several)]


class ClusterKeys(NatsLogin, frozen=True, kw_only=True):
    """The keys that make a daemon a member of a cluster: [beyond one host](cluster.md).

    nats: addresses of the servers, like `"nats://127.0.0.1:4222"`, or a list of them; `tls://` speaks TLS
    name: of this member; no two may share one
    weight: how much of all it is to own, against the others; 0: nothing
    labels: what it can do, or where it is
    needs: by exchange the labels that a member must have to own it; every member must have the same, and may share them
    buckets: into so many the symbols of an exchange are divided, each of which is owned and written by itself; or a
        table of that by exchange, in which `"*"` stands for the others. By default none is divided. Every member, and
        every reader, has the same; members may share it
    prefix: begins the names of all that the cluster has in NATS; every member, and every reader, has the same
    replicas: how many servers keep it
    stream_age: how long the stream of an exchange keeps its records
    stream_bytes: the size that one may reach; the oldest go then
    core: whether each record is handed at once, too, to those who listen at `PREFIX-core.SHARD.>`, and stored nowhere
    buffer: records that an owner may keep while no server takes them; those beyond are lost, the oldest first, and told
    """

    nats: Addresses
    name: Annotated[str, Field(pattern=NAME)]
    weight: Annotated[float, Field(ge=0, le=1000), Word("number")] = 1.0
    labels: Annotated[Labels, Word("list", lambda names: json.dumps(list(names)))] = ()
    needs: Annotated[Mapping[str, Labels] | None, Word("table", str)] = None
    buckets: BucketCounts | None = None
    prefix: Annotated[str, Field(pattern=NAME)] = "cluster"
    replicas: Annotated[int, Field(ge=1, le=5), Word("count")] = 3
    stream_age: Duration = 86400.0
    stream_bytes: Bytes = 10_000_000_000
    core: bool = False
    buffer: Count = 400_000

    @property
    def bucket(self) -> str:
        """The bucket of leases and members."""
        return f"{self.prefix}-leases"

    def buckets_of(self, exchange: str) -> int:
        """The number of buckets into which the symbols of an exchange are divided."""
        given = self.buckets or {}
        return given.get(exchange, given.get(EVERY, 1))

    @property
    def shared_bucket(self) -> str:
        """The bucket of the configuration that members share."""
        return f"{self.prefix}-config"

    def shards_of(self, exchange: str) -> list[str]:
        """The shards of an exchange: itself, or its buckets."""
        return bucket_names(exchange, self.buckets_of(exchange))

    def stream_of(self, shard: str) -> str:
        """The stream of a shard."""
        return f"{self.prefix}-{shard}"

    def prefix_of(self, shard: str) -> str:
        """The beginning of the subjects of a shard, as a source `nats` names it."""
        return f"{self.prefix}.{shard}"

    def core_prefix_of(self, shard: str) -> str:
        """The beginning of the subjects at which a shard's records are handed out at once."""
        return f"{self.prefix}-core.{shard}"
