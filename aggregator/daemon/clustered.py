"""A daemon that is a member of a cluster: its exchanges are gathered while the cluster wants that of it."""

import asyncio
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from msgspec import structs

from aggregator.catalog.registry import load_exchange
from aggregator.cluster.buckets import part_of
from aggregator.cluster.lease import LeaseTiming
from aggregator.cluster.member import Member
from aggregator.cluster.settings import ClusterKeys
from aggregator.records import BookSnapshot, Channel

if TYPE_CHECKING:
    from aggregator.daemon.daemon import Daemon


class ClusteredExchanges:
    """The exchanges of a configuration that has a table `[cluster]`."""

    def __init__(self, daemon: "Daemon", keys: ClusterKeys) -> None:
        self._daemon = daemon
        self._configs = {config.id: config for config in daemon.config.exchanges}
        self._buckets = {id: keys.buckets_of(id) for id in self._configs}
        self._member = Member(keys, {id: sure_channels(id) for id in self._configs}, self, LeaseTiming())
        self._task: asyncio.Task[None] | None = None

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

    async def gather(self, exchange: str, buckets: Collection[int]) -> None:
        """Gather these buckets of an exchange, and no others, from now on. Raises AggregatorError if that cannot be."""
        exchanges = self._daemon.exchanges
        part = part_of(self._buckets[exchange], buckets)
        config = structs.replace(self._configs[exchange], part=part)
        if exchange not in exchanges.configs:
            await exchanges.add(config)
        elif buckets:
            await exchanges.change(config)
        else:
            await exchanges.remove(exchange)

    def book(self, exchange: str, raw_symbol: str) -> BookSnapshot | None:
        """A book as it stands."""
        return self._daemon.bus.views.book(exchange, raw_symbol)


def sure_channels(id: str) -> Iterable[Channel]:
    """The channels of an exchange whose numbers say which record it is, on whatever connection."""
    exchange = load_exchange(id)
    for channel in exchange.channels if exchange is not None else ():
        streams = [stream for stream in exchange.streams if channel in stream.channels] if exchange is not None else []
        if streams and all((rule := stream.sequence.get(channel)) is not None and rule.sure for stream in streams):
            yield channel
