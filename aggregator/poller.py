"""One declared poll, asked again and again for each of its symbols."""

import asyncio
from collections.abc import Mapping, Sequence

from aggregator.asking import Key
from aggregator.bus import Bus
from aggregator.errors import SessionError
from aggregator.exchange import Exchange, Poll
from aggregator.network import Network
from aggregator.polling import Polling
from aggregator.records import Channel, Instrument
from aggregator.rest import Need, Rest
from aggregator.topics import Carried

MOST_ASKED_AT_ONCE = 4  # polls of one feed that may wait for an answer together


class Poller:
    """One declared poll, kept going."""

    def __init__(
        self,
        exchange: Exchange,
        poll: Poll,
        wanted: Sequence[tuple[Channel, str]],
        instruments: Mapping[str, Instrument],
        *,
        network: Network,
        rest: Rest,
        bus: Bus,
        carried: Mapping[Key, Carried],
    ) -> None:
        """Prepare; nothing is asked before `run`."""
        self.feed = poll
        self._symbols = [""] if poll.many else list(dict.fromkeys(raw for _, raw in wanted))
        self._network = network
        self._rest = rest
        self._bus = bus
        self._polling = Polling(
            exchange.id,
            poll,
            conn=f"{exchange.id}/{poll.name}#1",
            instruments=instruments,
            wanted=set(wanted),
            carried=carried,
        )

    async def run(self) -> None:
        """Ask until cancelled: each symbol every `poll.every` seconds, as far as the budget allows."""
        free = asyncio.Semaphore(MOST_ASKED_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                for at, raw_symbol in enumerate(self._symbols):
                    offset = self.feed.every * at / len(self._symbols)
                    group.create_task(self._repeat(raw_symbol, offset, free))
        finally:
            self._bus.publish(self._polling.close("restart", self._network.now()))

    def carried(self) -> dict[Key, Carried]:
        """What the next start begins with."""
        return self._polling.carried()

    async def _repeat(self, raw_symbol: str, offset: float, free: asyncio.Semaphore) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + offset
        while True:
            await asyncio.sleep(max(0, due - loop.time()))
            due = max(due + self.feed.every, loop.time())
            async with free:
                await self._ask(raw_symbol)

    async def _ask(self, raw_symbol: str) -> None:
        now = self._network.now
        try:
            body = await self._rest.fetch(self.feed.request(raw_symbol), Need.POLL)
        except SessionError as error:
            self._bus.publish(self._polling.failed(raw_symbol, str(error), now()))
            return
        self._bus.publish(self._polling.receive(raw_symbol, body, now()) + self._polling.tick(now()))
