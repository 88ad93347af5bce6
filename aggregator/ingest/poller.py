"""One declared poll, asked again and again for each of its symbols."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from aggregator.bus.bus import Bus
from aggregator.errors import SessionError
from aggregator.exchange import Exchange, Poll
from aggregator.ingest.network import Network
from aggregator.ingest.rest import Need, Rest
from aggregator.ingest.status import PollStatus
from aggregator.records import Channel, Health, Instrument, TopicState
from aggregator.session.moment import Now
from aggregator.session.polled import Polling
from aggregator.session.session import UNWANTED
from aggregator.session.status import TopicStatus
from aggregator.session.subscriptions import Key
from aggregator.session.topics import Standing, TopicCheckpoint

MOST_ASKED_AT_ONCE = 4  # polls of one feed that may wait for an answer together
TICK_S = 1.0

log = logging.getLogger("aggregator.runner")


class Poller:
    """One declared poll, kept going."""

    def __init__(self, exchange: Exchange, poll: Poll, name: str, *, network: Network, rest: Rest, bus: Bus) -> None:
        """Begin without topics; nothing is asked before `run`. `name` begins its own name."""
        self.source = poll
        self._wanted: set[Key] = set()
        self._instruments: dict[str, Instrument] = {}
        self._network = network
        self._rest = rest
        self._bus = bus
        self._name = f"{name}/{poll.name}"
        self._silent: set[str] = set()  # symbols whose last request had no answer
        self._polling = Polling(
            exchange.id, poll, conn=f"{self._name}#1", instruments=self._instruments, wanted=self._wanted
        )
        self._free = asyncio.Semaphore(MOST_ASKED_AT_ONCE)
        self._group: asyncio.TaskGroup | None = None
        self._asking: dict[str, asyncio.Task[None]] = {}  # by raw symbol

    def want(
        self, topics: Sequence[Key], instruments: Mapping[str, Instrument], carried: Mapping[Key, TopicCheckpoint]
    ) -> None:
        """Ask for these topics from now on, and for no others; `carried` is what an earlier run has left of them."""
        gone = self._wanted - set(topics)
        self._wanted.clear()
        self._wanted.update(topics)
        self._instruments.clear()
        self._instruments.update(instruments)
        self._bus.publish(self._polling.want(gone, carried, self._network.now()))
        self._spread()

    def carries(self, topic: Key) -> bool:
        """Tell whether a topic is asked for here."""
        return topic in self._wanted

    @property
    def _symbols(self) -> list[str]:
        if self.source.many:
            return [""] if self._wanted else []
        return list(dict.fromkeys(raw or "" for _, raw in sorted(self._wanted, key=str)))

    def _spread(self) -> None:
        """Ask for each symbol in a task of its own, spread over the interval; end those that are no longer wanted."""
        if self._group is None:
            return
        symbols = self._symbols
        for raw_symbol in self._asking.keys() - set(symbols):
            self._asking.pop(raw_symbol).cancel()
            self._silent.discard(raw_symbol)
        new = [raw_symbol for raw_symbol in symbols if raw_symbol not in self._asking]
        is_at_once = bool(self._asking) and len(new) <= MOST_ASKED_AT_ONCE  # somebody has just come to want these
        for at, raw_symbol in enumerate(symbols):
            if raw_symbol not in self._asking:
                offset = 0.0 if is_at_once else self.source.every * at / len(symbols)
                self._asking[raw_symbol] = self._group.create_task(self._repeat(raw_symbol, offset))

    async def run(self) -> None:
        """Ask until cancelled: each symbol every `poll.every` seconds, as far as the budget allows."""
        self._polling.open(self._network.now())
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._spread()
                while True:
                    await asyncio.sleep(TICK_S)
                    self._bus.publish(self._polling.tick(self._network.now()))
        finally:
            now = self._network.now()
            self._bus.publish(self._polling.close("restart", now) + self._polling.bye(UNWANTED, now))

    def health(self, channel: Channel, raw_symbol: str | None) -> Health | None:
        """A topic's state now; null: there is no such topic here."""
        return self._polling.health((channel, raw_symbol), self._network.now())

    def instrument(self, raw_symbol: str | None) -> Instrument | None:
        """The instrument of a topic that is asked for here."""
        return self._instruments.get(raw_symbol or "")

    @property
    def changes(self) -> int:
        """How often a topic's state or gap has changed."""
        return self._polling.changes

    def status(self) -> PollStatus:
        """How this poll fares."""
        return PollStatus(
            name=self._name,
            topics=len(self._wanted),
            every_s=self.source.every,
            silent=len(self._silent),
            session=self._polling.status(),
        )

    def topics(self, now: Now) -> Iterator[TopicStatus]:
        """Each topic as it stands."""
        return self._polling.topics(now)

    def states(self) -> Counter[TopicState]:
        """How many topics are in each state now."""
        return self._polling.states()

    def carried(self) -> dict[Key, TopicCheckpoint]:
        """The checkpoints that the next start begins with."""
        return self._polling.carried()

    def standing(self) -> Iterator[Standing]:
        """How each topic stands while `run` goes on."""
        return self._polling.standing()

    async def _repeat(self, raw_symbol: str, offset: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + offset
        while True:
            await asyncio.sleep(max(0, due - loop.time()))
            due = max(due + self.source.every, loop.time())
            async with self._free:
                await self._ask(raw_symbol)

    async def _ask(self, raw_symbol: str) -> None:
        now = self._network.now
        try:
            body = await self._rest.fetch(self.source.request(raw_symbol), Need.POLL)
        except SessionError as error:
            if not self._silent and not error.is_busy:  # a busy host is logged once, for all its requests
                log.warning("%s: %s; it is asked again every %g s", self._name, error, self.source.every)
            self._silent.add(raw_symbol)
            self._bus.publish(self._polling.failed(raw_symbol, str(error), now()))
            return
        if raw_symbol in self._silent:
            self._silent.remove(raw_symbol)
            if not self._silent:
                log.info("%s: answers again", self._name)
        self._bus.publish(self._polling.receive(raw_symbol, body, now()))
