"""A cluster as its servers tell of it, for the commands of `aggregator cluster`."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import click
from msgspec import Struct, structs

from aggregator.catalog.registry import known_channels, known_keys
from aggregator.cli import fail
from aggregator.cluster.lease import TTL_S, Lease
from aggregator.cluster.report import MemberReport, ShareReport, read_report
from aggregator.cluster.settings import ClusterKeys
from aggregator.cluster.shared import SharedConfig, read_shared
from aggregator.cluster.store import (
    DRAIN,
    LEASE,
    MEMBER,
    SHARED,
    BucketEntry,
    ClusterStore,
    Unanswered,
    is_drain_mark,
    open_store,
    read_lease,
)
from aggregator.config.config import Config, load_config, shared_file
from aggregator.errors import AggregatorError, ConfigError, in_short
from aggregator.records import SECOND_NS

ANSWER_S = 10.0
T = TypeVar("T")

CONFIG = click.option("--config", "-c", "config", type=click.Path(path_type=Path), required=True, help="A member's.")


class ClusterView(Struct, frozen=True, kw_only=True):
    """The buckets as they stand.

    ts: when they were read, ns by the clock of the servers, as are the times of members here
    shared: the configuration that members share
    members: by name
    leases: by shard
    draining: members that are to own nothing
    """

    ts: int
    shared: SharedConfig
    members: dict[str, MemberReport]
    leases: dict[str, Lease]
    draining: list[str]

    def is_alive(self, name: str) -> bool:
        """Tell whether a member has told of itself lately."""
        report = self.members.get(name)
        return report is not None and self.ts - report.ts < TTL_S * SECOND_NS

    def share(self, name: str, shard: str) -> ShareReport | None:
        """The word of a member about a shard."""
        report = self.members.get(name)
        return next((s for s in report.shares if s.shard == shard), None) if report is not None else None

    def owner(self, shard: str) -> str:
        """The owner of a shard; empty: nobody."""
        lease = self.leases.get(shard)
        return lease.owner if lease is not None else ""

    def standbys(self, shard: str) -> dict[str, ShareReport]:
        """Those that gather a shard and do not own it, each with its word about it."""
        others = sorted(name for name in self.members if name != self.owner(shard) and self.is_alive(name))
        return {name: share for name in others if (share := self.share(name, shard)) is not None}

    def behind(self, shard: str, standby: str) -> int:
        """How many records a standby was behind the owner when it told of itself; members tell at other moments."""
        owner = self.owner(shard)
        own, other = self.share(owner, shard), self.share(standby, shard)
        if own is None or other is None:
            return 0
        since = (self.members[owner].ts - self.members[standby].ts) / SECOND_NS
        return max(0, round(own.number - own.rate * since) - other.number)

    def owned(self, name: str) -> list[str]:
        """The shards that a member owns, by name: a lease of what is not gathered any more is not given up."""
        leases = [shard for shard, lease in self.leases.items() if lease.owner == name]
        return sorted(shard for shard in leases if self.share(name, shard) is not None or not self.is_alive(name))

    def stood_by(self, name: str) -> list[str]:
        """The shards that a member gathers, and does not own, by name."""
        return sorted({share.shard for share in self.members[name].shares} - set(self.owned(name)))

    def since(self, shard: str) -> int | None:
        """Seconds for which its owner has owned a shard; null: nobody does, or that is not told."""
        lease = self.leases.get(shard)
        if lease is None or not lease.owner or not lease.since:
            return None
        return max(0, self.ts - lease.since) // SECOND_NS

    def owner_in_words(self, shard: str) -> str:
        """The owner of a shard, and whether nothing is heard of it."""
        owner = self.owner(shard)
        return (owner or "nobody") + ("" if not owner or self.is_alive(owner) else " (silent)")

    def state(self, name: str) -> str:
        """How a member is: draining, alive or silent."""
        if not self.is_alive(name):
            return "silent"
        return "draining" if name in self.draining or self.members[name].member.is_draining else "alive"

    def revision(self, name: str) -> str:
        """The revision by which a member goes, what has yet to begin anew for it, and a newer one that it refuses."""
        report = self.members[name]
        known = str(report.revision) if report.revision else "its own file"
        if old := " ".join(share.shard for share in report.shares if share.is_old):
            known = f"{known}, not yet {old}"
        return f"{known}, refuses {report.refused}" if report.refused else known


def read_member(config: Path) -> tuple[Config, ClusterKeys]:
    """The configuration of a member, or leave."""
    from aggregator.cli.run import read_config

    found = read_config(config)
    if found.cluster is None:
        raise fail(f"{config}: it has no table [cluster], so its daemon is a member of none")
    return found, found.cluster


def in_force(config: Path, found: Config, shared: SharedConfig) -> Config:
    """The configuration of a member with what the cluster shares, as far as this version can read that."""
    if shared.text:
        with suppress(ConfigError):
            return load_config(config, known_channels=known_channels, known_keys=known_keys, shared=shared_file(shared))
    return found


def shards_of(found: Config, view: ClusterView) -> list[str]:
    """The shards of a configuration that is in force, and those that a member owns besides, by name."""
    owned = {share.shard for report in view.members.values() for share in report.shares if share.is_owned}
    alike = found.cluster
    return sorted(owned if alike is None else owned.union(*(alike.shards_of(each.id) for each in found.exchanges)))


def ask_servers(keys: ClusterKeys, ask: Callable[[ClusterStore], Awaitable[T]], *, patience: float = ANSWER_S) -> T:
    """Ask the servers, or leave with the reason why that cannot be."""

    async def asked() -> T:
        async with asyncio.timeout(patience):
            store = await open_store(keys)
            try:
                return await ask(store)
            finally:
                await store.close()

    try:
        return asyncio.run(asked())
    except TimeoutError:
        raise fail(f"the servers do not answer within {patience:.0f} s: {', '.join(keys.nats)}") from None
    except (OSError, AggregatorError, Unanswered) as error:
        raise fail(f"{', '.join(keys.nats)}: {in_short(error)}") from None


async def view_of(store: ClusterStore) -> ClusterView:
    """The cluster as it stands. Raises LinkBroken, OSError, Unanswered."""
    watch = ClusterWatch(store)
    await watch.begin()
    return watch.view()


def view_from(entries: Mapping[str, BucketEntry], shared: SharedConfig, ts: int) -> ClusterView:
    """The cluster as the entries of its buckets tell of it; `ts`: the time by the clock of the servers, ns."""

    def of(kind: str) -> dict[str, BucketEntry]:
        return {k.removeprefix(f"{kind}."): e for k, e in entries.items() if k.startswith(f"{kind}.")}

    told = {name: (read_report(entry.value, name), entry.ts) for name, entry in of(MEMBER).items()}
    members = {name: structs.replace(report, ts=at) for name, (report, at) in told.items() if report is not None}
    leases = {name: lease for name, entry in of(LEASE).items() if (lease := read_lease(entry.value)) is not None}
    draining = [name for name, entry in of(DRAIN).items() if is_drain_mark(entry.value)]
    return ClusterView(
        ts=ts,
        shared=shared,
        members=dict(sorted(members.items())),
        leases=leases,
        draining=sorted(draining),
    )


class ClusterWatch:
    """The buckets as they change, over one connection.

    entries: the newest of each key
    shared: the configuration that members share
    """

    def __init__(self, store: ClusterStore) -> None:
        self.store = store
        self.entries: dict[str, BucketEntry] = {}
        self.shared = SharedConfig()
        self._last = 0
        self._clock_ahead = 0.0  # seconds; of the clock of the servers

    async def begin(self) -> None:
        """Read how it stands. Raises LinkBroken, OSError, Unanswered."""
        self._clock_ahead = await self.store.clock_ahead()
        self.entries = {entry.key: entry for entry in await self.store.all_entries()}
        revisions, self._last = await self.store.revisions()
        self.shared = revisions[-1] if revisions else SharedConfig()

    async def follow(self) -> None:
        """Follow what changes, until cancelled. Raises LinkBroken, OSError."""
        tasks = [asyncio.create_task(each) for each in (self._follow_entries(), self._follow_revisions())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_entries(self) -> None:
        reader = await self.store.entries()
        while True:
            for entry in await reader.read():
                self.entries[entry.key] = entry

    async def _follow_revisions(self) -> None:
        reader = await self.store.revisions_after(self._last)
        while True:
            for entry in await reader.read():
                if entry.key == SHARED:
                    with suppress(ValueError):
                        self.shared = read_shared(entry.value, entry.revision)

    def view(self) -> ClusterView:
        """The cluster now."""
        now = time.time_ns() - round(self._clock_ahead * SECOND_NS)
        return view_from(self.entries, self.shared, now)
