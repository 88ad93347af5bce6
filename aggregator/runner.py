"""The I/O around sessions: one task per connection and per poll, shards, backoff, snapshots, and the outlet to the bus.

Each attempt builds a fresh session, so there is no state to reset. What a session decides (what to send, what to
fetch, when to give up) it decides itself; here it is carried out.
"""

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress

from aggregator.asking import Key
from aggregator.bus import Bus
from aggregator.errors import AggregatorError, SessionError
from aggregator.exchange import Exchange, Poll, Stream, Subscription
from aggregator.network import Line, Network
from aggregator.polling import Polling
from aggregator.records import BookSnapshot, Channel, Instrument, Record
from aggregator.rest import Need, Rest
from aggregator.session import Fetch, Session
from aggregator.topics import Carried

SECOND = 1_000_000_000
TICK = 1.0  # seconds
FIRST_BACKOFF = 0.5  # seconds before a reconnect; doubles
LONGEST_BACKOFF = 60.0
MOST_RECORDS = 128  # gathered before they are published, unless the socket read ends sooner
MOST_ASKED_AT_ONCE = 4  # polls of one feed that may wait for an answer together
EXPECTED = (AggregatorError, ValueError, LookupError, TypeError, AttributeError)  # what a hostile frame provokes

log = logging.getLogger("aggregator.runner")


class Outlet:
    """Gathers records for the bus: published at the end of a socket read, or when there are many."""

    def __init__(self, bus: Bus) -> None:
        """Publish to `bus`."""
        self._bus = bus
        self._records: list[Record] = []
        self._scheduled = False

    def add(self, records: list[Record], *, last: bool = True) -> None:
        """Take records; `last` says that this socket read has no more."""
        if records:
            self._records += records
        if len(self._records) >= MOST_RECORDS or (last and self._records):
            self.flush()
        elif self._records and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Publish what has gathered."""
        self._scheduled = False
        if self._records:
            records, self._records = self._records, []
            self._bus.publish(records)


class Conversation:
    """One live connection: the `Listener` that feeds a session, and what sends its outbox at the declared pace."""

    def __init__(self, session: Session, outlet: Outlet, network: Network) -> None:
        """Join a session to the outlet; `start` gives the line."""
        self.session = session
        self.over: str | None = None  # why, once it is
        self.woken = asyncio.Event()  # there is something to fetch, or it is over
        self._outlet = outlet
        self._now = network.now
        self._line: Line | None = None
        self._next_send = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self, line: Line) -> None:
        """The line stands: subscribe."""
        self._line = line
        self._outlet.add(self.session.open(self._now()))
        self.send()

    def frame(self, payload: bytes, *, last: bool) -> None:
        """A frame has come."""
        session = self.session
        if self.over is not None:
            return  # what still comes over a line that was given up belongs to nobody
        try:
            records = session.receive(payload, self._now())
        except SessionError as error:
            self.gone(str(error))
            return
        self._outlet.add(records, last=last)
        if session.outbox:
            self.send()
        if session.wanted:
            self.woken.set()

    def gone(self, reason: str) -> None:
        """The connection is of no more use."""
        self.over = self.over or reason
        self.woken.set()

    def tick(self) -> None:
        """Let the session do what is due by time."""
        try:
            self._outlet.add(self.session.tick(self._now()))
        except SessionError as error:
            self.gone(str(error))
        self.send()

    def send(self) -> None:
        """Send the outbox, no faster than the stream's pace."""
        loop = asyncio.get_running_loop()
        outbox = self.session.outbox
        while outbox and self._line is not None and self._timer is None:
            wait = self._next_send - loop.time()
            if wait > 0:
                self._timer = loop.call_later(wait, self._resume)
                return
            self._next_send = loop.time() + self.session.stream.pace
            self._line.send(outbox.popleft())

    def _resume(self) -> None:
        self._timer = None
        self.send()

    def stop(self) -> None:
        """Hang up."""
        if self._timer is not None:
            self._timer.cancel()
        if self._line is not None:
            self._line.hang_up()


class Shard:
    """One connection's worth of subscriptions, kept alive: connect, converse, wait, again."""

    def __init__(
        self,
        exchange: Exchange,
        stream: Stream,
        number: int,
        subscriptions: Sequence[Subscription],
        instruments: Mapping[str, Instrument],
        *,
        network: Network,
        rest: Rest,
        outlet: Outlet,
    ) -> None:
        """Prepare; nothing is dialled before `run`."""
        self._exchange = exchange
        self._stream = stream
        self._name = f"{exchange.id}/{stream.name}.{number}"
        self._subscriptions = list(subscriptions)
        self._instruments = instruments
        self._network = network
        self._rest = rest
        self._outlet = outlet
        self._carried: dict[Key, Carried] = {}
        self._backoff = FIRST_BACKOFF
        self._attempts = 0
        self.session: Session | None = None

    async def run(self) -> None:
        """Keep this shard connected until cancelled."""
        while True:
            self._attempts += 1
            session = Session(
                self._exchange.id,
                self._stream,
                conn=f"{self._name}#{self._attempts}",
                instruments=self._instruments,
                subscriptions=self._subscriptions,
                carried=self._carried,
            )
            self.session = session
            reason = await self._converse(session)
            self._outlet.add(session.close("disconnect", self._network.now()))
            self._carried = session.carried()
            refused = session.refused
            self._subscriptions = [s for s in self._subscriptions if (s.channel, s.raw_symbol) not in refused]
            self._backoff = FIRST_BACKOFF if session.has_carried_data else min(self._backoff * 2, LONGEST_BACKOFF)
            wait = self._backoff * random.uniform(0.5, 1.0)
            log.warning("%s: %s; again in %.1f s", session.conn, reason, wait)
            await asyncio.sleep(wait)

    async def _converse(self, session: Session) -> str:
        """One connection from dialling to its end; the reason of the end."""
        conversation = Conversation(session, self._outlet, self._network)
        fetching: set[asyncio.Task[None]] = set()
        try:
            line = await self._network.dial(await self._address(), conversation)
            conversation.start(line)
            while conversation.over is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(TICK):
                        await conversation.woken.wait()
                conversation.woken.clear()
                conversation.tick()
                self._fetch_wanted(session, fetching)
                self._look_at_bad_frames(session)
            return conversation.over
        except SessionError as error:
            return str(error)
        except Exception:
            log.exception("%s: an error of our own", session.conn)
            return "an error of our own"
        finally:
            conversation.stop()
            for task in fetching:
                task.cancel()

    async def _address(self) -> str:
        stream = self._stream
        if stream.ticket is not None:
            return stream.ticket.read(await self._rest.fetch(stream.ticket.request, Need.SNAPSHOT))
        return stream.url if isinstance(stream.url, str) else stream.url(self._subscriptions)

    def _fetch_wanted(self, session: Session, fetching: set[asyncio.Task[None]]) -> None:
        while session.wanted:
            task = asyncio.create_task(self._fetch(session, session.wanted.popleft()))
            fetching.add(task)
            task.add_done_callback(fetching.discard)

    async def _fetch(self, session: Session, wanted: Fetch) -> None:
        is_book = wanted.purpose == "snapshot"
        try:
            body = await self._rest.fetch(wanted.request, Need.SNAPSHOT if is_book else Need.BACKFILL)
        except SessionError as error:
            log.warning("%s: no %s of %s: %s", session.conn, wanted.purpose, wanted.raw_symbol, error)
            session.unanswered(wanted)
            return
        receive = session.receive_snapshot if is_book else session.receive_backfill
        self._outlet.add(receive(wanted.raw_symbol, body, self._network.now()))

    def _look_at_bad_frames(self, session: Session) -> None:
        while session.bad_frames:
            bad = session.bad_frames.popleft()
            is_ours = not isinstance(bad.error, EXPECTED)
            log.error(
                "%s: a frame that cannot be read: %s: %.300r",
                session.conn,
                bad.error,
                bad.frame,
                exc_info=bad.error if is_ours else None,
            )


class Poller:
    """One declared poll, asked again and again for each of its symbols."""

    def __init__(
        self,
        exchange: Exchange,
        poll: Poll,
        wanted: Sequence[tuple[Channel, str]],
        instruments: Mapping[str, Instrument],
        *,
        network: Network,
        rest: Rest,
        outlet: Outlet,
    ) -> None:
        """Prepare; nothing is asked before `run`."""
        self._poll = poll
        self._symbols = [""] if poll.many else list(dict.fromkeys(raw for _, raw in wanted))
        self._network = network
        self._rest = rest
        self._outlet = outlet
        self._polling = Polling(
            exchange.id, poll, conn=f"{exchange.id}/{poll.name}#1", instruments=instruments, wanted=set(wanted)
        )

    async def run(self) -> None:
        """Ask until cancelled: each symbol every `poll.every` seconds, as far as the budget allows."""
        free = asyncio.Semaphore(MOST_ASKED_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                for at, raw_symbol in enumerate(self._symbols):
                    offset = self._poll.every * at / len(self._symbols)
                    group.create_task(self._repeat(raw_symbol, offset, free))
        finally:
            self._outlet.add(self._polling.close(self._network.now()))

    async def _repeat(self, raw_symbol: str, offset: float, free: asyncio.Semaphore) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + offset
        while True:
            await asyncio.sleep(max(0, due - loop.time()))
            due = max(due + self._poll.every, loop.time())
            async with free:
                await self._ask(raw_symbol)

    async def _ask(self, raw_symbol: str) -> None:
        now = self._network.now
        try:
            body = await self._rest.fetch(self._poll.request(raw_symbol), Need.POLL)
        except SessionError as error:
            self._outlet.add(self._polling.failed(raw_symbol, str(error), now()))
            return
        self._outlet.add(self._polling.receive(raw_symbol, body, now()) + self._polling.tick(now()))


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
        outlet: Outlet,
    ) -> None:
        """Divide the topics of these instruments among connections; the first feed that carries a topic has it."""
        self.exchange = exchange
        self._outlet = outlet
        self.rest = Rest(network, exchange.limits)
        self.shards: list[Shard] = []
        self.pollers: list[Poller] = []
        left = {(channel, id(i)): i for channel in channels for i in instruments}
        for feed in exchange.feeds:
            mine = [(channel, i) for (channel, _), i in left.items() if channel in feed.channels and feed.serves(i)]
            for channel, instrument in mine:
                del left[channel, id(instrument)]
            by_name = {i.raw_symbol: i for _, i in mine if i.raw_symbol is not None}
            topics = [(channel, i.raw_symbol) for channel, i in mine if i.raw_symbol is not None]
            if not topics:
                continue
            if isinstance(feed, Poll):
                self.pollers.append(
                    Poller(exchange, feed, topics, by_name, network=network, rest=self.rest, outlet=outlet)
                )
            else:
                self._shard(feed, topics, by_name, intervals, network, outlet)
        self.unserved = [f"{channel} of {i.raw_symbol}" for (channel, _), i in left.items()]
        self._bus = bus
        bus.add_books(self.books)

    def _shard(
        self,
        stream: Stream,
        topics: Sequence[tuple[Channel, str]],
        instruments: Mapping[str, Instrument],
        intervals: Sequence[str],
        network: Network,
        outlet: Outlet,
    ) -> None:
        wanted = [
            Subscription(channel, raw_symbol, interval)
            for channel, raw_symbol in topics
            for interval in (intervals if channel == "candles" else ("1m",))
        ]
        for start in range(0, len(wanted), stream.per_connection):
            part = wanted[start : start + stream.per_connection]
            self.shards.append(
                Shard(
                    self.exchange,
                    stream,
                    len(self.shards) + 1,
                    part,
                    instruments,
                    network=network,
                    rest=self.rest,
                    outlet=outlet,
                )
            )

    async def run(self) -> None:
        """Run every shard and poller until cancelled; connections are opened at the declared rate."""
        connects = self.exchange.limits.connects
        pause = connects[1] / connects[0] if connects else 0.1
        async with asyncio.TaskGroup() as group:
            for poller in self.pollers:
                group.create_task(poller.run())
            for shard in self.shards:
                group.create_task(shard.run())
                await asyncio.sleep(pause)

    def leave(self) -> None:
        """Be asked for books no more."""
        self._bus.remove_books(self.books)

    def books(self, exchange: str | None, raw_symbol: str | None) -> list[BookSnapshot]:
        """The live books, after all that came before them is published."""
        if exchange not in {None, self.exchange.id}:
            return []
        self._outlet.flush()  # what is gathered belongs before the books as they stand
        found: list[BookSnapshot] = []
        for shard in self.shards:
            if shard.session is not None:
                found += shard.session.books(shard.session.moment, raw_symbol)
        return found
