"""A daemon that is a member of a cluster: its exchanges are gathered while the cluster wants that of it."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from aggregator.catalog.registry import load_exchange
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

    async def begin(self, exchange: str) -> None:
        """Gather an exchange from now on. Raises AggregatorError where that cannot be."""
        await self._daemon.exchanges.add(self._configs[exchange])

    async def end(self, exchange: str) -> None:
        """Gather it no more."""
        await self._daemon.exchanges.remove(exchange)

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
