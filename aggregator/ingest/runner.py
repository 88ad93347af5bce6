"""Everything of one exchange: its topics divided among connections and polls, and what these share."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count, islice

from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.bus.view import Wanted
from aggregator.exchange import Exchange, Limits, Poll, Stream, Subscription
from aggregator.ingest.bounds import MOST_TOPICS
from aggregator.ingest.listing import Identity, identity, letting_go
from aggregator.ingest.network import MOST_REST_CONNECTIONS, REST_CONNECTIONS, Network
from aggregator.ingest.poller import Poller
from aggregator.ingest.rest import Rest
from aggregator.ingest.shard import ConnectionPolicy, ConnectionSlots, ConnectLimiter, ExchangeContext, Shard
from aggregator.ingest.signing import Keyring
from aggregator.records import BookSnapshot, Channel, Health, Instrument, TopicState
from aggregator.session.refused import Memory
from aggregator.session.status import TopicStatus
from aggregator.session.subscriptions import Key
from aggregator.session.topics import Standing, TopicCheckpoint, closed
from aggregator.session.trades import Notes

SHARE = 8  # if connections are limited, REST has one of so many
MOST_RESTED = 10_000  # topics of a feed that are not wanted any more, and of which the last number is remembered
STEP = 200  # after so many instruments other tasks have their turn
TOPICS = 100  # and after so many topics that are asked for or released, which takes ten times as long

SavedCheckpoints = Mapping[
    str, Mapping[Key, TopicCheckpoint]
]  # name of a feed -> checkpoints that an earlier run has left
ChannelsOf = Callable[[Instrument], Collection[Channel]]


def limits_of_one(limits: Limits, processes: int) -> Limits:
    """The limits that one of several processes keeps to, which share the connections that an exchange allows."""
    if limits.connections is None or processes == 1:
        return limits
    return structs.replace(limits, connections=limits.connections // processes)


def for_rest(limits: Limits) -> int:
    """How many connections REST may have at once: one, if the exchange allows few."""
    if limits.connections is None:
        return MOST_REST_CONNECTIONS
    return max(1, min(REST_CONNECTIONS, limits.connections // SHARE))


def for_streams(limits: Limits) -> int | None:
    """How many connections streams may have at once: all but those that REST may need."""
    return None if limits.connections is None else max(1, limits.connections - for_rest(limits))


def by_name(topics: Mapping[Subscription, Instrument]) -> dict[str, Instrument]:
    """The instruments of topics, by raw symbol."""
    return {s.raw_symbol: instrument for s, instrument in topics.items()}


def absent(exchange: str, channel: Channel, instrument: Instrument, reason: str) -> TopicStatus:
    """A topic that is wanted and that nothing carries."""
    return TopicStatus(
        exchange=exchange,
        channel=channel,
        symbol=instrument.symbol,
        raw_symbol=instrument.raw_symbol,
        state="absent",
        reason=reason,
    )


class ExchangeRunner:
    """The shards and the pollers of one exchange, for the topics that are wanted.

    The wanted topics are a set that changes: a new listing or configuration is a difference to it.
    """

    def __init__(
        self,
        exchange: Exchange,
        channels: Sequence[Channel],
        intervals: Sequence[str],
        *,
        network: Network,
        bus: Bus,
        rest: Rest | None = None,
        policy: ConnectionPolicy | None = None,
        left: SavedCheckpoints | None = None,
        notes: Notes | None = None,
        most: int = MOST_TOPICS,
        keyring: Keyring | None = None,
        name: str | None = None,
        processes: int = 1,
    ) -> None:
        """Begin without topics.

        rest: the object for REST calls, if somebody has made calls of this exchange before
        notes: where the last numbers of trades are noted for the run after a process that is killed
        most: topics that are carried; markets beyond are left out
        keyring: the keys, if there are any; feeds that need them are not used else
        name: begins the names of connections; null: the exchange's id does
        processes: that share the exchange's connections, this one among them
        """
        self.exchange = exchange
        self.name = name or exchange.id
        self.shards: list[Shard] = []
        self.pollers: list[Poller] = []
        self.rest = rest or Rest(network, exchange)
        self.unserved: dict[Channel, list[Instrument]] = {}
        self.left_out: list[Instrument] = []  # those for which there is no room
        self._most = most
        self._carried: dict[Identity, None] = {}
        self._divided: list[dict[Subscription, Instrument]] = []  # for each feed the topics that are to be carried
        self._channels = channels
        self._intervals = intervals
        self._bus = bus
        self._network = network
        self._left = {name: dict(carried) for name, carried in (left or {}).items()}
        self._rested: dict[str, dict[Key, TopicCheckpoint]] = {}  # by feed, the checkpoints of topics not wanted now
        limits = limits_of_one(exchange.limits, processes)
        limiter, slots = ConnectLimiter(limits.connects, self.rest.hosts), ConnectionSlots(for_streams(limits))
        policy = policy or ConnectionPolicy()
        self._context = ExchangeContext(self.name, network, self.rest, bus, limiter, slots, policy, notes, keyring)
        self._memories: dict[str, Memory] = {}  # the keys are names of streams
        self._numbers = count(1)
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[Shard | Poller, asyncio.Task[None]] = {}
        self._carriers: dict[Key, tuple[Shard | Poller, ...]] = {}  # candles may be on several, by interval
        bus.views.add(exchange.id, self)

    # --- what is wanted -----------------------------------------------------------------------------------------------

    def configure(self, channels: Sequence[Channel], intervals: Sequence[str], most: int) -> None:
        """Divide by another configuration from now on; what is carried changes with the next `dividing`."""
        self._channels, self._intervals, self._most = channels, intervals, most

    def want(self, instruments: Sequence[Instrument], reason: str = "no longer wanted") -> None:
        """Carry the topics of these instruments, and no others; `reason` is told of those that go."""
        for _ in self.wanting(instruments, reason):
            pass

    def wanting(self, instruments: Sequence[Instrument], reason: str = "no longer wanted") -> Iterator[None]:
        """Do what `want` does in steps, between which other tasks run: there may be a hundred thousand topics."""
        yield from self.dividing(instruments)
        yield from self.carrying(reason)

    def dividing(self, instruments: Sequence[Instrument], channels_of: ChannelsOf | None = None) -> Iterator[None]:
        """Find the feed of each topic of these instruments, and which of them must be left out; in steps.

        channels_of: gives those channels of an instrument that are wanted; null: all
        """
        wanted: list[dict[Subscription, Instrument]] = [{} for _ in self.exchange.feeds]
        unserved: dict[Channel, list[Instrument]] = {}
        feeds = self._feeds_in_force()
        left_out: list[Instrument] = []
        carried: dict[Identity, None] = {}
        here: list[Instrument] = []
        new: list[Instrument] = []
        for at, instrument in enumerate(instruments):
            (here if identity(instrument) in self._carried else new).append(instrument)
            if at % STEP == STEP - 1:
                yield
        instruments = [*here, *new]  # markets that are here stay
        for start in range(0, len(instruments), STEP):
            for instrument in instruments[start : start + STEP]:
                channels = self._channels if channels_of is None else channels_of(instrument)
                self._divide(instrument, channels, feeds, wanted, unserved)
                if sum(map(len, wanted)) > self._most:
                    left_out.append(instrument)
                    self._take_back(instrument, wanted)
                else:
                    carried[identity(instrument)] = None
            yield
        before = self._carried
        self.unserved, self.left_out, self._carried, self._divided = unserved, left_out, carried, wanted
        yield from letting_go(before)

    def carrying(self, reason: str = "no longer wanted") -> Iterator[None]:
        """Carry the topics that `dividing` has found, and no others; in steps."""
        wanted, self._divided = self._divided, []
        for feed, topics in zip(self.exchange.feeds, wanted, strict=True):
            if isinstance(feed, Poll):
                self._want_polled(feed, topics)
                yield
            else:
                yield from self._want_streamed(feed, topics, reason)

    def _take_back(self, instrument: Instrument, wanted: Sequence[dict[Subscription, Instrument]]) -> None:
        """Leave out a market with all of its topics: nobody can make sense of half a market."""
        for topics in wanted:
            while topics and topics[last := next(reversed(topics))] is instrument:
                del topics[last]

    def heed_listing(self) -> None:
        """Let topics that were refused for good be asked for once more, because a new listing has come."""
        for memory in self._memories.values():
            memory.forget()

    def _feeds_in_force(self) -> list[tuple[int, Stream | Poll]]:
        """The feeds that are used today, with their places in the declaration."""
        today = datetime.fromtimestamp(self._network.now().wall / 1e9, UTC).date().isoformat()
        in_force = {id(feed) for feed in self.exchange.feeds_on(today, has_keys=self._has_keys)}
        return [(at, feed) for at, feed in enumerate(self.exchange.feeds) if id(feed) in in_force]

    def _divide(
        self,
        instrument: Instrument,
        channels: Collection[Channel],
        feeds: Sequence[tuple[int, Stream | Poll]],
        wanted: Sequence[dict[Subscription, Instrument]],
        unserved: dict[Channel, list[Instrument]],
    ) -> None:
        """Give each topic of an instrument to the first feed that carries it."""
        raw_symbol = instrument.raw_symbol
        serving = [(at, feed) for at, feed in feeds if feed.serves(instrument)]
        if "orders" in self._channels:  # the feed that tells them tells the book too
            serving.sort(key=lambda place: "orders" not in place[1].channels)
        for channel in channels:
            at = next((at for at, feed in serving if channel in feed.channels), None)
            if at is None:
                unserved.setdefault(channel, []).append(instrument)
            elif raw_symbol is not None:
                for interval in self._intervals if channel == "candles" else ("1m",):
                    wanted[at][Subscription(channel, raw_symbol, interval)] = instrument
                if channel == "orders":  # they come with the book by level, which keeps them
                    wanted[at][Subscription("book", raw_symbol)] = instrument

    def _want_streamed(self, stream: Stream, wanted: Mapping[Subscription, Instrument], reason: str) -> Iterator[None]:
        shards = [shard for shard in self.shards if shard.source is stream]
        portion = stream.batch * max(1, TOPICS // stream.batch)  # topics of one step, in full requests
        carried: set[Subscription] = set()
        for shard in shards:
            leaving = [s for s in shard.subscriptions if s not in wanted]
            for start in range(0, len(leaving), portion):
                some = leaving[start : start + portion]
                self._rest(stream.name, shard.release(some, reason))
                self._note_release(shard, some)
                yield
            for instrument in {wanted[s].raw_symbol: wanted[s] for s in shard.subscriptions}.values():
                shard.refresh(instrument)
            carried |= shard.subscriptions.keys()
            yield
        memory = self._memories.setdefault(stream.name, Memory())
        memory.keep(wanted)
        new = deque[Subscription]()
        coming = iter(wanted)
        while some := list(islice(coming, STEP)):
            new += [s for s in some if s not in carried]
            yield
        for shard in shards:
            while new and self._fill(shard, new, wanted, portion):
                yield
            yield
        while new:
            shard = Shard(self.exchange, stream, next(self._numbers), context=self._context, memory=memory)
            self.shards.append(shard)
            self._fill(shard, new, wanted, stream.per_connection)
            self._start(shard)
            yield
        for shard in shards:  # a shard without topics ends
            if not shard.subscriptions:
                self._end(shard)
                self.shards.remove(shard)

    def _fill(
        self, shard: Shard, new: deque[Subscription], wanted: Mapping[Subscription, Instrument], most: int
    ) -> int:
        """Put as many new topics on a connection as there is room for, but no more than `most`. Gives their number."""
        room = min(most, max(0, shard.room))
        if shard.source.one_market:
            market = next((s.raw_symbol for s in (*shard.subscriptions, *new)), None)
            part = [s for s in new if s.raw_symbol == market][:room]
            for s in part:
                new.remove(s)
        else:
            part = [new.popleft() for _ in range(min(len(new), room))]
        if part:
            carried = self._take_over(shard.source.name, [(s.channel, s.raw_symbol) for s in part])
            shard.want({s: wanted[s] for s in part}, carried)
            self._note_carriers(shard, {s: wanted[s] for s in part})
        return len(part)

    def _want_polled(self, poll: Poll, wanted: Mapping[Subscription, Instrument]) -> None:
        (poller,) = [poller for poller in self.pollers if poller.source is poll] or (None,)
        topics: list[Key] = [(s.channel, s.raw_symbol) for s in wanted]
        if poller is None and topics:
            poller = Poller(self.exchange, poll, self.name, network=self._network, rest=self.rest, bus=self._bus)
            self.pollers.append(poller)
            poller.want(topics, by_name(wanted), self._take_over(poll.name, topics))
            self._start(poller)
        elif poller is not None:
            for key in [key for key, carriers in self._carriers.items() if poller in carriers]:
                self._forget_carrier(poller, key)
            poller.want(topics, by_name(wanted), self._take_over(poll.name, topics))
        if poller is not None:
            self._note_carriers(poller, wanted)

    def _note_carriers(self, keeper: Shard | Poller, topics: Mapping[Subscription, Instrument]) -> None:
        """Remember who carries these topics, and tell that they are wanted."""
        new = [s for s in topics if (s.channel, s.raw_symbol) not in self._carriers]
        alone = (keeper,)  # one for all of them: the collector looks at each tuple
        for s in topics:
            carriers = self._carriers.setdefault((s.channel, s.raw_symbol), alone)
            if keeper not in carriers:
                self._carriers[s.channel, s.raw_symbol] = (*carriers, keeper)
        self._bus.views.tell([Wanted(s.channel, self.exchange.id, s.raw_symbol, topics[s].symbol) for s in new])

    def _note_release(self, shard: Shard, leaving: Sequence[Subscription]) -> None:
        for s in leaving:
            others = self._intervals if s.channel == "candles" else ()
            if not any(Subscription("candles", s.raw_symbol, other) in shard.subscriptions for other in others):
                self._forget_carrier(shard, (s.channel, s.raw_symbol))

    def _forget_carrier(self, keeper: Shard | Poller, key: Key) -> None:
        left = tuple(carrier for carrier in self._carriers.get(key, ()) if carrier is not keeper)
        if left:
            self._carriers[key] = left
        else:
            self._carriers.pop(key, None)

    def _start(self, keeper: Shard | Poller) -> None:
        if self._group is not None:
            self._tasks[keeper] = self._group.create_task(keeper.run())

    def _end(self, keeper: Shard | Poller) -> None:
        task = self._tasks.pop(keeper, None)
        if task is not None:
            task.cancel()

    def _rest(self, feed: str, left: Mapping[Key, TopicCheckpoint]) -> None:
        """Remember what has come of topics that are not wanted any more: they may be wanted again."""
        rested = self._rested.setdefault(feed, {})
        rested.update(left)
        for key in list(islice(rested, max(0, len(rested) - MOST_RESTED))):
            del rested[key]

    def _take_over(self, feed: str, topics: Sequence[Key]) -> dict[Key, TopicCheckpoint]:
        left, rested = self._left.get(feed, {}), self._rested.get(feed, {})
        taken = {topic: rested.pop(topic) for topic in topics if topic in rested}
        return taken | {topic: left.pop(topic) for topic in topics if topic in left}

    def why_not(self, channel: Channel, raw_symbol: str) -> str | None:
        """The reason why a topic of a wanted instrument has no subscription; None if it has one, or is polled.

        One interval of candles that has none is enough.
        """
        keepers = self._carriers.get((channel, raw_symbol))
        if keepers:  # candles of several intervals may be on several connections
            shards = [keeper for keeper in keepers if isinstance(keeper, Shard)]
            return next((why for shard in shards if (why := shard.why_not((channel, raw_symbol))) is not None), None)
        if any(i.raw_symbol == raw_symbol for i in self.unserved.get(channel, ())):
            return self._unserved_words(channel)
        if any(i.raw_symbol == raw_symbol for i in self.left_out):
            return f"it is left out: max_topics is {self._most}"
        return "it is not wanted"

    def is_refused(self, channel: Channel, raw_symbol: str) -> bool:
        """Tell whether the exchange has refused a topic; of candles, any interval."""
        intervals = self._intervals if channel == "candles" else ("1m",)
        wanted = [Subscription(channel, raw_symbol, interval) for interval in intervals]
        return any(s in memory.refusals for memory in self._memories.values() for s in wanted)

    async def run(self) -> None:
        """Run every shard and poller until cancelled."""
        self._report_abandoned()
        async with asyncio.TaskGroup() as group:
            self._group = group
            keepers: list[Shard | Poller] = [*self.pollers, *self.shards]
            for keeper in keepers:
                self._start(keeper)
            await asyncio.get_running_loop().create_future()  # until cancelled, because more topics may be wanted later

    def carried(self) -> dict[str, dict[Key, TopicCheckpoint]]:
        """The checkpoints that the next start begins with, by source; call it when `run` has ended."""
        found: dict[str, dict[Key, TopicCheckpoint]] = {}
        keepers: list[Shard | Poller] = [*self.shards, *self.pollers]
        for keeper in keepers:
            found.setdefault(keeper.source.name, {}).update(keeper.carried())
        return found

    @property
    def rested(self) -> dict[str, dict[Key, TopicCheckpoint]]:
        """The checkpoints of topics that are not wanted any more, by source: they may be wanted again."""
        return {name: dict(left) for name, left in self._rested.items()}

    def standing(self) -> Iterator[tuple[str, Standing]]:
        """How each topic stands while `run` goes on, with the name of its source."""
        keepers: list[Shard | Poller] = [*self.shards, *self.pollers]
        for keeper in keepers:
            for standing in keeper.standing():
                yield keeper.source.name, standing
        for feed, topics in list(self._left.items()):
            for key, carried in list(topics.items()):
                yield feed, Standing(key, carried, None, is_followed=False)

    def leave(self) -> None:
        """Stop answering for this exchange."""
        self._bus.views.remove(self.exchange.id, self)

    # --- as a view of the exchange (bus/view.py) ----------------------------------------------------------------------

    def book(self, raw_symbol: str) -> BookSnapshot | None:
        """The live book of a market."""
        found = (
            keeper.book(raw_symbol) for keeper in self._carriers_of("book", raw_symbol) if isinstance(keeper, Shard)
        )
        return next((book for book in found if book is not None), None)

    def books(self) -> Iterator[BookSnapshot]:
        """Every live book."""
        for shard in self.shards:
            yield from shard.books()

    def health(self, channel: Channel, raw_symbol: str | None) -> Iterator[Health]:
        """The state of a topic now, from each that carries a part of it."""
        for keeper in self._carriers_of(channel, raw_symbol):
            found = keeper.health(channel, raw_symbol)
            if found is not None:
                yield found

    def wanted(self) -> Iterator[Wanted]:
        """Every topic that is wanted."""
        for (channel, raw_symbol), carriers in self._carriers.items():
            instrument = next(iter(carriers)).instrument(raw_symbol)
            if raw_symbol is not None:
                yield Wanted(channel, self.exchange.id, raw_symbol, instrument.symbol if instrument else None)

    def _carriers_of(self, channel: Channel, raw_symbol: str | None) -> list[Shard | Poller]:
        """Those that carry a topic; all, where frames alone have brought it into being."""
        return list(self._carriers.get((channel, raw_symbol)) or (*self.shards, *self.pollers))

    @property
    def changes(self) -> list[object]:
        """Something that differs as soon as a topic's state or gap has changed."""
        keepers: list[Shard | Poller] = [*self.shards, *self.pollers]
        return [keeper.changes for keeper in keepers]

    def states(self) -> Iterator[Counter[TopicState]]:
        """How many topics are in each state now: of one shard or poll after the other, so that others have turns."""
        keepers: list[Shard | Poller] = [*self.shards, *self.pollers]
        return (keeper.states() for keeper in keepers)

    def topics(self) -> Iterator[TopicStatus | None]:
        """Each topic as it stands now, one by one, those that no feed carries among them; nothing now and then."""
        now = self._network.now()
        keepers: list[Shard | Poller] = [*self.shards, *self.pollers]
        for keeper in keepers:
            yield from keeper.topics(now)
        for channel, instruments in list(self.unserved.items()):
            for instrument in instruments:
                yield absent(self.exchange.id, channel, instrument, self._unserved_words(channel))

    def _unserved_words(self, channel: Channel) -> str:
        carrying = [feed for feed in self.exchange.feeds if channel in feed.channels]
        lacks_keys = not self._has_keys and any(feed.needs_keys for feed in carrying)
        return f"no feed of {self.exchange.id} carries {channel} of it{' without keys' if lacks_keys else ''}"

    @property
    def _has_keys(self) -> bool:
        return self._context.keyring is not None

    def words(self) -> dict[str, int]:
        """Words of the exchange that mean nothing to us, and how often each came."""
        told: Counter[str] = Counter()
        for memory in self._memories.values():
            told.update(memory.words.told)
        return dict(told)

    def _report_abandoned(self) -> None:
        """Close the gaps that an earlier run left open of topics that nobody wants any more."""
        now = self._network.now()
        for carried in self._left.values():
            for left in carried.values():
                if left.gap is not None:
                    self._bus.publish([closed(left.gap, left.gap.conn, now)])
        self._left = {}
