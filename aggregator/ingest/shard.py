"""One connection's worth of topics, which may change, kept alive over as many connections as that takes.

A shard keeps one line, or two where redundancy is wanted. A line whose connection ends comes back after a pause that
doubles; one whose connection is soon to end is replaced while it still lives, so that nothing is lost or doubled.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager

from msgspec import Struct

from aggregator.bus.bus import Bus
from aggregator.exchange import Address, Budget, Exchange, Stream, Subscription
from aggregator.ingest.connection import Connection
from aggregator.ingest.lines import ABUSES
from aggregator.ingest.network import Network
from aggregator.ingest.rest import Hosts, Need, Rest, host_of, mono_now
from aggregator.ingest.signing import Keyring
from aggregator.ingest.status import ShardStatus
from aggregator.records import SECOND_NS, BookSnapshot, Channel, Health, Instrument, Record, TopicState
from aggregator.session.arbiter import LineArbiter, LineScore
from aggregator.session.moment import Now
from aggregator.session.refused import Memory
from aggregator.session.session import UNWANTED, Session
from aggregator.session.status import TopicStatus, topic_status
from aggregator.session.subscriptions import Key
from aggregator.session.topics import Standing, Topic, TopicCheckpoint, closed, health
from aggregator.session.trades import Notes

FIRST_BACKOFF_S = 0.5  # before a reconnect; doubles
LONGEST_BACKOFF_S = 60.0
LOOK_S = 0.5  # between two looks at whether a connection is to be replaced
LINGER_S = 1.0  # a connection stays so long after its successor has taken over: what is on its way arrives
JOINING_S = 30.0  # after this time a successor must have its books, but no longer word of every quiet topic
MARGIN_S = 300.0  # a connection is replaced at most so long before the end of its lifetime
STEP = 500  # others may have their turn after so many topics
AGAIN_S = 5.0  # before a replacement that failed, or did not help, is tried again; doubles
LONGEST_PAUSE_S = 600.0

log = logging.getLogger("aggregator.runner")


class ConnectionPolicy(Struct, frozen=True):
    """The choices that a user has about connections and checks.

    redundancy: connections that carry the same topics
    lifetime: seconds after which a connection is replaced; null: what the exchange declares
    verify: one of so many checksums is computed; 0: none
    audit: seconds between two comparisons of a connection's books with the exchange's own; null: never
    """

    redundancy: int = 1
    lifetime: float | None = None
    verify: int = 1
    audit: float | None = None


class ConnectLimiter:
    """At most so many connects in so many seconds to one host, over all that connect to it."""

    def __init__(self, connects: Budget | None, hosts: Hosts) -> None:
        """Let `connects[0]` pass in `connects[1]` seconds; None: ten a second."""
        self._connects = connects or (10, 1.0)
        self._hosts = hosts

    async def wait(self, host: str) -> None:
        """Wait until one more may connect. Raises SessionError where the host wants a long rest."""
        await self._hosts.connect(host, self._connects)


class ConnectionSlots:
    """The connections that may be open at once, over all shards of one exchange."""

    def __init__(self, count: int | None) -> None:
        """Allow `count` connections; None: any number."""
        self.count = count
        self._free = None if count is None else asyncio.Semaphore(count)

    @property
    def is_full(self) -> bool:
        """Tell whether one more connection would have to wait."""
        return self._free is not None and self._free.locked()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold one of the slots; wait if none is free."""
        if self._free is None:
            yield
            return
        async with self._free:
            yield


class ExchangeContext(Struct, frozen=True):
    """The things that all shards of one exchange share; `name` begins the names of their connections."""

    name: str
    network: Network
    rest: Rest
    bus: Bus
    limiter: ConnectLimiter
    slots: ConnectionSlots
    policy: ConnectionPolicy
    notes: Notes | None = None
    keyring: Keyring | None = None


class Shard:
    """One connection's worth of subscriptions, kept alive: connect, run, wait, again."""

    def __init__(
        self,
        exchange: Exchange,
        stream: Stream,
        number: int,
        *,
        context: ExchangeContext,
        memory: Memory,
    ) -> None:
        """Begin without topics; nothing is dialled before `run`.

        memory: the refusals that are known, shared by all connections of a stream
        """
        self.source = stream
        self.arbiter = LineArbiter(stream, lasting=context.policy.redundancy > 1)
        self._exchange = exchange
        self._name = f"{context.name}/{stream.name}.{number}"
        self.subscriptions: dict[Subscription, None] = {}
        self._instruments: dict[str, Instrument] = {}
        self._context = context
        self._memory = memory
        self._carried: dict[Key, TopicCheckpoint] = {}
        self._arrived: dict[Key, TopicCheckpoint] = {}  # checkpoints of topics that came while there was no connection
        self._resting: dict[
            int, dict[Key, TopicCheckpoint]
        ] = {}  # checkpoints of lines that are between two connections
        self.trouble: str | None = None  # why the last connection ended
        self._attempts = 0
        self._failures = 0  # attempts in a row that brought no data
        self._connections: list[Connection] = []

    async def run(self) -> None:
        """Keep this shard connected until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for line in range(self._context.policy.redundancy):
                    group.create_task(self._keep(line, self._carried if line == 0 else {}))
        finally:
            self._leave()

    def books(self, raw_symbol: str | None = None) -> list[BookSnapshot]:
        """The live books (or the one of `raw_symbol`), each from the connection whose book is published."""
        found: dict[str | None, BookSnapshot] = {}
        for connection in self._connections:
            for book in connection.session.books(connection.session.moment, raw_symbol):
                if self.arbiter.is_followed(connection.session, book):
                    found[book.raw_symbol] = book
        return list(found.values())

    def book(self, raw_symbol: str) -> BookSnapshot | None:
        """The live book of one market."""
        return next(iter(self.books(raw_symbol)), None)

    def instrument(self, raw_symbol: str | None) -> Instrument | None:
        """The instrument of a topic that is carried here."""
        return self._instruments.get(raw_symbol or "")

    @property
    def room(self) -> int:
        """How many more topics may be put on this connection."""
        carried = [len(self.subscriptions), *(len(c.session.subscriptions) for c in self._connections)]
        return self.source.per_connection - max(carried)

    def want(self, topics: Mapping[Subscription, Instrument], carried: Mapping[Key, TopicCheckpoint]) -> None:
        """Carry more topics; `carried` are the checkpoints that an earlier run has left of them."""
        new = [s for s in topics if s not in self.subscriptions]
        self.subscriptions |= dict.fromkeys(new)
        self._instruments |= {s.raw_symbol: instrument for s, instrument in topics.items()}
        self._arrived |= carried
        if not self._connections:
            return
        carried, self._arrived = self._arrived, {}
        for at, connection in enumerate(self._connections):
            self._publish(connection, connection.subscribe(new, carried if at == 0 else _rested(carried)))

    def release(self, topics: Collection[Subscription], reason: str) -> dict[Key, TopicCheckpoint]:
        """Carry these topics no more. Gives the checkpoints with which they begin when they are wanted again."""
        leaving = [s for s in topics if s in self.subscriptions]
        left: dict[Key, TopicCheckpoint] = {}
        for s in leaving:
            del self.subscriptions[s]
        for connection in self._connections:
            _keep_newest(left, connection.session.rests(leaving))
            self._publish(connection, connection.unsubscribe(leaving, reason))
        self._close_left(leaving)
        kept = {s.raw_symbol for s in self.subscriptions}
        for raw_symbol in {s.raw_symbol for s in leaving} - kept:
            self._instruments.pop(raw_symbol, None)
        self.arbiter.forget({(s.channel, s.raw_symbol) for s in leaving})
        return left

    def _close_left(self, leaving: Collection[Subscription]) -> None:
        """Close the gaps that a connection has left open of topics that nobody wants any more."""
        now = self._context.network.now()
        kept = {(s.channel, s.raw_symbol) for s in self.subscriptions}
        for key in {(s.channel, s.raw_symbol) for s in leaving} - kept:
            for checkpoints in (self._arrived, *self._resting.values(), self._carried):
                left = checkpoints.pop(key, None)
                if left is not None and left.gap is not None:
                    self._context.bus.publish([closed(left.gap, left.gap.conn, now)])

    def refresh(self, instrument: Instrument) -> None:
        """Use the new figures of an instrument from now on."""
        if instrument.raw_symbol is not None and self._instruments.get(instrument.raw_symbol) is not instrument:
            self._instruments[instrument.raw_symbol] = instrument
            for connection in self._connections:
                connection.session.refresh(instrument)

    def why_not(self, topic: Key) -> str | None:
        """The reason why a topic that is wanted here has no subscription; None if it has one."""
        live = [connection for connection in self._connections if connection.is_open]
        if any(connection.session.subscriptions.is_confirmed(topic) for connection in live):
            return None
        for s, refusal in self._memory.refusals.items():
            if (s.channel, s.raw_symbol) == topic and s in self.subscriptions:
                interval = f"{s.interval} " if s.channel == "candles" else ""
                return f"{interval}{refusal.reason}"
        held = next((why for leg in live if (why := leg.why_unsent(topic)) is not None), None)
        waiting = "it waits for its turn to be asked for, or for the answer" if live else None
        return held or waiting or self.trouble or "its connection is being made"

    def health(self, channel: Channel, raw_symbol: str | None) -> Health | None:
        """A topic's state now, if possible from a connection that can be relied on for it; null: it is not wanted."""
        now, found = self._context.network.now(), None
        for connection in self._connections:
            table = connection.session.topics
            topic = table.get(channel, raw_symbol)
            if topic is not None and (found is None or table.is_good(channel, raw_symbol)):
                found = topic
        if found is not None:
            return health(found, now)
        return (
            None if raw_symbol is None or not self._wants(channel, raw_symbol) else self._down(channel, raw_symbol, now)
        )

    def _wants(self, channel: Channel, raw_symbol: str) -> bool:
        if channel == "candles":  # the interval may be any
            return any((s.channel, s.raw_symbol) == (channel, raw_symbol) for s in self.subscriptions)
        return Subscription(channel, raw_symbol) in self.subscriptions

    def status(self) -> ShardStatus:
        """How this shard and its connections fare."""
        scores = self.arbiter.scores
        return ShardStatus(
            name=self._name,
            topics=len(self.subscriptions),
            room=self.room,
            attempts=self._attempts,
            failures=self._failures,
            trouble=self.trouble,
            dropped=self.arbiter.dropped,
            connections=[each.status(scores.get(each.session.conn) or LineScore()) for each in self._connections],
        )

    def topics(self, now: Now) -> Iterator[TopicStatus | None]:
        """Each topic as it stands, if possible on a connection that can be relied on for it.

        They are looked at one by one, so that others may have their turn between two of a hundred thousand. Nothing
        comes now and then where the next one is far.
        """
        tables = [each.session.topics for each in self._connections]
        wanted = list(self.subscriptions)
        told: set[Key] = set()
        for table in tables:
            for topic in table:
                key = topic.channel, topic.raw_symbol
                if key in told:
                    continue
                told.add(key)
                good = (each.get(*key) for each in tables if len(tables) > 1 and each.is_good(*key))
                shown = next(good, None) or topic
                is_asked = shown.state not in {"subscribing", "down"} or shown.reason
                yield topic_status(shown, now, None if is_asked else self.why_not(key))
        for at, s in enumerate(wanted):
            if at % STEP == STEP - 1:
                yield None
            if (s.channel, s.raw_symbol) not in told and s in self.subscriptions:
                told.add((s.channel, s.raw_symbol))
                instrument = self._instruments.get(s.raw_symbol)
                yield TopicStatus(
                    exchange=self._exchange.id,
                    channel=s.channel,
                    symbol=instrument.symbol if instrument else None,
                    raw_symbol=s.raw_symbol,
                    state="down",
                    reason=self.why_not((s.channel, s.raw_symbol)),
                )

    @property
    def changes(self) -> tuple[tuple[str, int], ...]:
        """How often a topic's state or gap has changed, by connection."""
        return tuple((connection.session.conn, connection.session.changes) for connection in self._connections)

    def states(self) -> Counter[TopicState]:
        """How many topics are in each state now."""
        topics = self._topics()
        found: Counter[TopicState] = Counter(topic.state for topic in topics.values())
        found["down"] += len(self._uncarried(topics))
        return found

    def _topics(self) -> dict[Key, Topic]:
        topics: dict[Key, Topic] = {}
        for connection in self._connections:
            table = connection.session.topics
            for topic in table:
                key = topic.channel, topic.raw_symbol
                if key not in topics or table.is_good(*key):
                    topics[key] = topic
        return topics

    def _uncarried(self, topics: Mapping[Key, Topic]) -> list[tuple[Channel, str]]:
        wanted = dict.fromkeys((s.channel, s.raw_symbol) for s in self.subscriptions)
        return [key for key in wanted if key not in topics]

    def _down(self, channel: Channel, raw_symbol: str, now: Now) -> Health:
        """The state of a topic that no connection carries."""
        instrument = self._instruments.get(raw_symbol)
        return Health(
            exchange=self._exchange.id,
            symbol=instrument.symbol if instrument else None,
            raw_symbol=raw_symbol,
            ts_recv=now.wall,
            conn=self._name,
            source="derived",
            channel=channel,
            state="down",
            reason=self.why_not((channel, raw_symbol)),
        )

    def _publish(self, connection: Connection, records: list[Record]) -> None:
        self._context.bus.publish(self.arbiter.merge(connection.session, records, self._context.network.now()))

    def carried(self) -> dict[Key, TopicCheckpoint]:
        """The checkpoints that the next start begins with; call it when `run` has ended."""
        found = dict(self._carried)
        for resting in self._resting.values():
            found |= resting
        return found | self._arrived

    def standing(self) -> Iterator[Standing]:
        """How each topic stands while `run` goes on."""
        topics, left = self._topics(), self.carried()
        for connection in self._connections:
            left |= connection.session.topics.unmet()
        wanted = dict.fromkeys((s.channel, s.raw_symbol) for s in self.subscriptions)
        granted = {(s.channel, s.raw_symbol) for s in self.subscriptions if s not in self._memory.refusals}
        for key in dict.fromkeys([*wanted, *topics, *left]):
            topic = topics.get(key)
            if topic is not None:
                is_followed = bool(topic.heard) or key in granted
                yield Standing(key, topic.carried(), topic.symbol, is_followed)
                continue
            instrument = self._instruments.get(key[1] or "")
            symbol = instrument.symbol if instrument else None
            yield Standing(key, left.get(key) or TopicCheckpoint(), symbol, key in granted)

    # --- a line -------------------------------------------------------------------------------------------------------

    async def _keep(self, line: int, carried: dict[Key, TopicCheckpoint]) -> None:
        """Keep one line connected."""
        backoff = FIRST_BACKOFF_S
        while True:
            connection = await self._attend(line, *self._begin(line, carried))
            session = connection.session
            self._end(connection)
            carried = self._resting[line] = session.carried()
            has_flowed = session.topics.is_heard and not session.is_garbage and connection.close_reason not in ABUSES
            backoff = FIRST_BACKOFF_S if has_flowed else min(backoff * 2, LONGEST_BACKOFF_S)
            self._failures = 0 if has_flowed else self._failures + 1
            wait = max(backoff * random.uniform(0.5, 1.0), self._rest_wanted(connection), self._judge_keys(session))
            is_busy = connection.error is not None and connection.error.is_busy  # its words stand in the log already
            reason = "too many requests" if is_busy else connection.close_reason
            log.warning("%s: %s; again in %.1f s", session.conn, reason, wait)
            del connection, session  # else its topics would stay in memory for as long as the next connection lives
            await asyncio.sleep(wait)

    def _judge_keys(self, session: Session) -> float:
        """Tell the keyring how its keys were taken. Gives the seconds for which they are not to be shown."""
        keyring = self._context.keyring
        if keyring is None or not self.source.needs_keys:
            return 0.0
        if session.denied is not None:
            return keyring.deny(session.denied)
        if session.topics.is_heard:
            keyring.is_fine()
        return 0.0

    def _rest_wanted(self, connection: Connection) -> float:
        """The seconds during which the exchange wants no new connection."""
        error = connection.error
        if error is None or not error.is_busy:
            return 0.0 if error is None else error.wait
        return self._context.rest.hosts.leave_alone(self._host, str(error), error.wait or None, mono_now())

    def _begin(self, line: int, carried: Mapping[Key, TopicCheckpoint]) -> tuple[Connection, asyncio.Task[str]]:
        """Begin another connection, with a session of its own."""
        self._attempts += 1
        is_last = self._attempts >= self._context.policy.redundancy
        carried, self._arrived = {**carried, **self._arrived}, {} if is_last else _rested(self._arrived)
        self._resting.pop(line, None)
        self._carried = {} if line == 0 else self._carried
        context = self._context
        session = Session(
            self._exchange.id,
            self.source,
            conn=f"{self._name}#{self._attempts}",
            instruments=self._instruments,
            subscriptions=tuple(self.subscriptions),
            carried=carried,
            memory=self._memory,
            verify=context.policy.verify,
            audit=context.policy.audit,
            notes=context.notes,
        )
        connection = Connection(
            session,
            bus=context.bus,
            arbiter=self.arbiter,
            network=context.network,
            rest=context.rest,
            requests=self._exchange.limits.requests,
            notes=context.notes,
        )
        self.arbiter.join(session)
        self._connections.append(connection)
        return connection, asyncio.create_task(self._run_one(line, connection))

    async def _run_one(self, line: int, connection: Connection) -> str:
        """Run a connection as soon as one more may be open. Gives the reason of its end."""
        slots = self._context.slots
        if slots.is_full:
            before, self.trouble = self.trouble, f"it waits: {slots.count} connections are open, and no more may be"
            log.warning("%s: %s", self._name, self.trouble)
        else:
            before = self.trouble
        async with slots.one():
            self.trouble = before
            return await connection.run(lambda: self._address(line))

    def _end(self, connection: Connection) -> None:
        """A connection is gone: what it carried is missing from here on, unless another one carries it."""
        session, now = connection.session, self._context.network.now()
        self.trouble = connection.close_reason
        self._connections.remove(connection)
        self.arbiter.leave(session)
        records = session.close("disconnect", now) + session.bye(connection.close_reason or "", now)
        connection.look_at_refusals()
        self._context.bus.publish(self.arbiter.merge(session, records, now))
        self._context.bus.publish(self.arbiter.settle(now))

    async def _attend(self, line: int, connection: Connection, ending: asyncio.Task[str]) -> Connection:
        """Watch a connection until it ends, or the last of those that have taken its place, which this gives.

        Nobody else keeps the first: its books are freed once another has taken its place.
        """
        loop = asyncio.get_running_loop()
        next_try, pause = 0.0, AGAIN_S
        try:
            while not ending.done():
                await asyncio.wait({ending}, timeout=LOOK_S)
                reason = self._reason_to_replace(connection)
                if ending.done() or reason is None or loop.time() < next_try:
                    continue
                if self._context.slots.is_full:
                    connection.gone(reason)  # a successor would wait for this one's slot
                    continue
                log.info("%s: %s: a new connection is made before this one goes", connection.session.conn, reason)
                successor, its_ending = self._begin(line, _asked(connection.session.carried()))
                try:
                    await self._join(connection, ending, successor, its_ending)
                except asyncio.CancelledError:
                    its_ending.cancel()
                    raise
                next_try = loop.time() + pause if its_ending.done() or connection.session.reconnect_reason else 0.0
                pause = min(pause * 2, LONGEST_PAUSE_S) if connection.session.reconnect_reason else AGAIN_S
                if its_ending.done() and not ending.done():
                    self._end(successor)
                    del successor
                    continue
                if ending.done():
                    self._end(connection)
                else:
                    await self._retire(connection, ending, reason)
                connection, ending = successor, its_ending
        finally:
            ending.cancel()
        return connection

    def _reason_to_replace(self, connection: Connection) -> str | None:
        if not connection.is_open:
            return None  # it waits for a slot or for its turn to connect, and none of its lifetime has passed
        policy, limits = self._context.policy, self._exchange.limits
        lifetime = policy.lifetime or limits.lifetime
        age = (self._context.network.now().mono - connection.since) / SECOND_NS
        if lifetime is not None and age > lifetime - min(MARGIN_S, lifetime / 2):
            return f"its {lifetime:.0f} s are nearly over"
        return connection.session.reconnect_reason

    async def _join(
        self, old: Connection, old_ending: asyncio.Task[str], new: Connection, new_ending: asyncio.Task[str]
    ) -> None:
        """Wait until the new connection has all that the old one has, or either has ended.

        Its time begins once it has asked for everything: it may have to wait for a slot, for its turn to connect, or
        for a limit on requests.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not (old_ending.done() or new_ending.done()):
            await asyncio.wait({old_ending, new_ending}, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            if not new.is_open or new.session.subscriptions.has_unsent:
                begun = loop.time()
            missing = old.session.topics.good() - new.session.topics.good()
            if not missing or (loop.time() - begun > JOINING_S and not any(key[0] == "book" for key in missing)):
                await asyncio.wait({old_ending, new_ending}, timeout=LINGER_S, return_when=asyncio.FIRST_COMPLETED)
                return

    async def _retire(self, connection: Connection, ending: asyncio.Task[str], reason: str) -> None:
        """End a connection whose successor carries everything; no gap is opened."""
        ending.cancel()
        await asyncio.wait({ending})
        now = self._context.network.now()
        self._connections.remove(connection)
        self.arbiter.leave(connection.session)
        self._context.bus.publish(connection.session.bye(f"replaced: {reason}", now))
        self._context.bus.publish(self.arbiter.settle(now))

    async def _address(self, line: int) -> Address:
        await self._context.limiter.wait(self._host)
        stream = self.source
        return Address(await self._url(line), stream.headers, stream.compression, stream.login, stream.sign)

    @property
    def _host(self) -> str:
        """The host whose budget of new connections is spent; the exchange's id while the host is not known."""
        stream = self.source
        is_known = isinstance(stream.url, str) and stream.ticket is None
        return host_of(str(stream.url)) if is_known else self._exchange.id

    async def _url(self, line: int) -> str:
        stream = self.source
        if stream.ticket is not None:
            return stream.ticket.read(await self._context.rest.fetch(stream.ticket.request, Need.SNAPSHOT))
        if not isinstance(stream.url, str):
            return stream.url(tuple(self.subscriptions))
        hosts = (stream.url, *stream.mirrors)
        return hosts[(line + self._failures) % len(hosts)]

    def _leave(self) -> None:
        """End all connections because the program ends, and open gaps that last until it starts again."""
        now, bus = self._context.network.now(), self._context.bus
        for connection in self._connections:
            connection.gone(UNWANTED)
        for connection in self._connections:
            session = connection.session
            self.arbiter.leave(session)
            records = session.close("restart", now) + session.bye(connection.close_reason or UNWANTED, now)
            bus.publish(self.arbiter.merge(session, records, now))
            self._carried = session.carried()
        self._connections.clear()


def _keep_newest(left: dict[Key, TopicCheckpoint], found: Mapping[Key, TopicCheckpoint]) -> None:
    """Keep the checkpoint that is further, of each topic, where two connections have left some."""
    for key, checkpoint in found.items():
        other = left.get(key)
        if other is None or (checkpoint.last or 0, checkpoint.newest) > (other.last or 0, other.newest):
            left[key] = checkpoint


def _rested(carried: Mapping[Key, TopicCheckpoint]) -> dict[Key, TopicCheckpoint]:
    """The checkpoints that every line begins with: those that only say what has come already."""
    return {key: left for key, left in carried.items() if left.is_rested}


def _asked(carried: Mapping[Key, TopicCheckpoint]) -> dict[Key, TopicCheckpoint]:
    """The checkpoints for a successor of a living connection: only how often each topic was asked for in vain."""
    return {key: TopicCheckpoint(asked=left.asked) for key, left in carried.items() if left.asked}
