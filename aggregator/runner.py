"""Everything of one exchange: its topics divided among connections and polls, and what these share."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from aggregator.asking import Key
from aggregator.bus import Bus
from aggregator.clocks import ClockOffset
from aggregator.exchange import Exchange, Limits, Poll, Stream, Subscription
from aggregator.network import REST_CONNECTIONS, Network
from aggregator.poller import Poller
from aggregator.records import BookSnapshot, Channel, Instrument
from aggregator.rest import Rest
from aggregator.shard import Care, Gate, Means, Places, Shard
from aggregator.topics import Carried, closed

CLOCK_SAMPLE = 1.0  # seconds between two looks at the exchange's clock
CLOCK_HEALTH = 30  # samples between two records of it

Left = Mapping[str, Mapping[Key, Carried]]  # name of a feed -> what an earlier run left over of its topics


def for_streams(limits: Limits) -> int | None:
    """How many connections streams may have at once: all but those that REST may need."""
    return None if limits.connections is None else max(1, limits.connections - REST_CONNECTIONS)


class ExchangeRunner:
    """Everything of one exchange: its shards and its pollers, for the topics that are wanted."""

    def __init__(
        self,
        exchange: Exchange,
        instruments: Sequence[Instrument],
        channels: Sequence[Channel],
        intervals: Sequence[str],
        *,
        network: Network,
        bus: Bus,
        care: Care | None = None,
        left: Left | None = None,
    ) -> None:
        """Divide the topics of these instruments among connections; the first feed that carries a topic has it."""
        self.exchange = exchange
        self.shards: list[Shard] = []
        self.pollers: list[Poller] = []
        self.clock = ClockOffset(exchange.id)
        self.rest = Rest(network, exchange.limits)
        self._intervals = intervals
        self._bus = bus
        self._network = network
        self._left = {name: dict(carried) for name, carried in (left or {}).items()}
        limits = exchange.limits
        gate, places = Gate(limits.connects), Places(for_streams(limits))
        self._means = Means(network, self.rest, bus, gate, places, self.clock, care or Care())
        self._channels = channels
        self._group: asyncio.TaskGroup | None = None
        self.unserved = self._divide(instruments, channels)
        bus.add_books(self.books)

    def add(self, instruments: Sequence[Instrument]) -> None:
        """Carry more instruments from now on, on connections of their own."""
        shards, pollers = len(self.shards), len(self.pollers)
        self._divide(instruments, self._channels)
        keepers: list[Shard | Poller] = [*self.shards[shards:], *self.pollers[pollers:]]
        for keeper in keepers:
            if self._group is not None:
                self._group.create_task(keeper.run())

    def drop(self, instruments: Sequence[Instrument]) -> None:
        """These instruments are no more: they are not asked for again."""
        for shard in self.shards:
            shard.drop({instrument.raw_symbol for instrument in instruments if shard.feed.serves(instrument)})

    def _divide(
        self, instruments: Sequence[Instrument], channels: Sequence[Channel]
    ) -> dict[Channel, list[Instrument]]:
        """Give each feed its topics; what no feed carries."""
        left = {(channel, id(i)): i for channel in channels for i in instruments}
        today = datetime.fromtimestamp(self._network.now().wall / 1e9, UTC).date().isoformat()
        for feed in self.exchange.feeds_on(today):
            mine = [(channel, i) for (channel, _), i in left.items() if channel in feed.channels and feed.serves(i)]
            for channel, instrument in mine:
                del left[channel, id(instrument)]
            by_name = {i.raw_symbol: i for _, i in mine if i.raw_symbol is not None}
            topics = [(channel, i.raw_symbol) for channel, i in mine if i.raw_symbol is not None]
            if topics and isinstance(feed, Poll):
                self._poll(feed, topics, by_name)
            elif topics and isinstance(feed, Stream):
                self._shard(feed, topics, by_name)
        unserved: dict[Channel, list[Instrument]] = {}
        for (channel, _), instrument in left.items():
            unserved.setdefault(channel, []).append(instrument)
        return unserved

    def _poll(self, poll: Poll, topics: Sequence[tuple[Channel, str]], instruments: Mapping[str, Instrument]) -> None:
        self.pollers.append(
            Poller(
                self.exchange,
                poll,
                topics,
                instruments,
                network=self._network,
                rest=self.rest,
                bus=self._bus,
                carried=self._take_over(poll.name, topics),
            )
        )

    def _shard(
        self, stream: Stream, topics: Sequence[tuple[Channel, str]], instruments: Mapping[str, Instrument]
    ) -> None:
        wanted = [
            Subscription(channel, raw_symbol, interval)
            for channel, raw_symbol in topics
            for interval in (self._intervals if channel == "candles" else ("1m",))
        ]
        for start in range(0, len(wanted), stream.per_connection):
            part = wanted[start : start + stream.per_connection]
            carried = self._take_over(stream.name, [(s.channel, s.raw_symbol) for s in part])
            number = len(self.shards) + 1
            self.shards.append(
                Shard(self.exchange, stream, number, part, instruments, means=self._means, carried=carried)
            )

    def _take_over(self, feed: str, topics: Sequence[Key]) -> dict[Key, Carried]:
        left = self._left.get(feed, {})
        return {topic: left.pop(topic) for topic in topics if topic in left}

    async def run(self) -> None:
        """Run every shard and poller until cancelled."""
        self._report_abandoned()
        async with asyncio.TaskGroup() as group:
            self._group = group
            for poller in self.pollers:
                group.create_task(poller.run())
            for shard in self.shards:
                group.create_task(shard.run())
            group.create_task(self._watch_clock())

    def carried(self) -> dict[str, dict[Key, Carried]]:
        """What the next start begins with, by feed, once `run` has ended."""
        found: dict[str, dict[Key, Carried]] = {}
        keepers: list[Shard | Poller] = [*self.shards, *self.pollers]
        for keeper in keepers:
            found.setdefault(keeper.feed.name, {}).update(keeper.carried())
        return found

    def leave(self) -> None:
        """Be asked for books no more."""
        self._bus.remove_books(self.books)

    def books(self, exchange: str | None, raw_symbol: str | None) -> list[BookSnapshot]:
        """The live books, after all that came before them is published."""
        if exchange not in {None, self.exchange.id}:
            return []
        return [book for shard in self.shards for book in shard.books(raw_symbol)]

    def _report_abandoned(self) -> None:
        """Close the gaps that an earlier run left open, of topics that nobody wants any more."""
        now = self._network.now()
        for carried in self._left.values():
            for left in carried.values():
                if left.gap is not None:
                    self._bus.publish([closed(left.gap, left.gap.conn, now)])

    async def _watch_clock(self) -> None:
        samples = 0
        while True:
            await asyncio.sleep(CLOCK_SAMPLE)
            self.clock.is_due = True
            samples += 1
            if samples % CLOCK_HEALTH == 0:
                now = self._network.now().wall
                self._bus.publish([health for health in (self.clock.health(now),) if health is not None])
                for shard in self.shards:
                    self._bus.publish(list(shard.merger.health(self.exchange.id, now)))
