"""A daemon that is a member of a cluster: its exchanges are gathered while the cluster wants that of it."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING

from msgspec import structs

from aggregator.catalog.registry import load_exchange
from aggregator.cluster.buckets import part_of
from aggregator.cluster.lease import LeaseTiming
from aggregator.cluster.member import Member
from aggregator.cluster.report import MemberLoad
from aggregator.cluster.settings import ClusterKeys
from aggregator.config.config import ExchangeConfig
from aggregator.daemon.running_exchanges import begins_anew
from aggregator.records import BookSnapshot, Channel

if TYPE_CHECKING:
    from aggregator.daemon.daemon import Daemon


class ClusteredExchanges:
    """The exchanges of a configuration that has a table `[cluster]`."""

    def __init__(self, daemon: "Daemon", keys: ClusterKeys) -> None:
        self._daemon = daemon
        self._configs = {config.id: config for config in daemon.config.exchanges}
        self._keys = keys
        self._member = Member(
            keys,
            {id: sure_channels(id) for id in self._configs},
            self,
            LeaseTiming(),
            apply=daemon.changes.share,
            load=self._load,
        )
        self._task: asyncio.Task[None] | None = None
        self._changing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # by exchange: one after the other
        self._seen = time.monotonic(), time.process_time()

    def start(self) -> None:
        """Be a member from now on."""
        self._daemon.bus.attach(self._member.receive)
        self._task = asyncio.get_running_loop().create_task(self._member.run(), name="cluster")

    async def leave(self) -> None:
        """Hand on what this member owns, and be none any more."""
        if self._task is None:
            return
        await self._member.leave()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._daemon.bus.detach(self._member.receive)

    # --- the member says what is gathered

    async def gather(self, exchange: str, buckets: Collection[int]) -> None:
        """Gather these buckets of an exchange, and no others, from now on. Raises AggregatorError if that cannot be."""
        exchanges = self._daemon.exchanges
        async with self._changing[exchange]:
            part = part_of(self._keys.buckets_of(exchange), buckets)
            if not buckets:
                if exchange in exchanges.configs:
                    await exchanges.remove(exchange)
            elif exchange in exchanges.configs:
                await exchanges.change(structs.replace(self._configs[exchange], part=part))
            else:
                await exchanges.add(structs.replace(self._configs[exchange], part=part))

    def book(self, exchange: str, raw_symbol: str) -> BookSnapshot | None:
        """A book as it stands."""
        return self._daemon.bus.views.book(exchange, raw_symbol)

    def _load(self) -> MemberLoad:
        """Tell what this process has taken of its host since it was asked the last time."""
        (before, used), self._seen = self._seen, (time.monotonic(), time.process_time())
        (now, total), process = self._seen, self._daemon.process.status()
        cpu = round((total - used) / max(now - before, 1e-3), 3)
        return MemberLoad(cpu=cpu, memory_bytes=process.memory_bytes, lag_ms=process.lag_max_ms)

    # --- the configuration says which exchanges there are

    async def add(self, config: ExchangeConfig) -> None:
        """Be in line for an exchange from now on."""
        self._configs[config.id] = config
        self._member.take_up(config.id, self._keys.shards_of(config.id), sure_channels(config.id))

    async def change(self, config: ExchangeConfig) -> None:
        """Have an exchange follow another configuration where it is gathered. Raises AggregatorError.

        That is at once where its connections can go on, and else once it is this member's turn to begin it anew.
        """
        exchanges = self._daemon.exchanges
        async with self._changing[config.id]:
            running = exchanges.configs.get(config.id)
            if running is not None and begins_anew(running, structs.replace(config, part=running.part)):
                self._member.begin_anew(config.id)
            elif running is not None:
                await exchanges.change(structs.replace(config, part=running.part))
                self._member.is_as_configured(config.id)
            self._configs[config.id] = config

    async def remove(self, id: str) -> None:
        """Be in line for an exchange no more."""
        await self._member.drop(id)
        await self.gather(id, ())
        del self._configs[id]

    async def share(self, keys: ClusterKeys) -> None:
        """Go by the keys that members have alike: the labels that they need, and buckets, by which shards are named."""
        others = [each for id, each in self._configs.items() if keys.buckets_of(id) != self._keys.buckets_of(id)]
        for config in others:
            await self.remove(config.id)
        self._keys = keys
        self._member.needs = keys.needs or {}
        for config in others:
            await self.add(config)


def sure_channels(id: str) -> Collection[Channel]:
    """The channels of an exchange whose numbers say which record it is, on whatever connection."""
    exchange = load_exchange(id)
    return () if exchange is None else exchange.sure_channels
