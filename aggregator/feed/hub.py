"""The hub of the feed: topics, queues, books and requests. It gives every subscriber its topics.

No slow subscriber slows another. The hub knows no socket: a transport shows it each new peer (`welcome`).
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

from msgspec import UNSET, UnsetType, structs

from aggregator import __version__
from aggregator.bus.bus import Batch, Bus
from aggregator.bus.demand import Unmet
from aggregator.bus.history import BadStart, Beginning, Cursor, History, Start, parse_beginning
from aggregator.bus.insight import Insight
from aggregator.bus.selection import LONGEST_PATTERN, BadPattern, Pattern, Selection
from aggregator.derived.channels import narrowed, needs, parse_topics
from aggregator.errors import nearest
from aggregator.feed.access import EVERYTHING, Access, Gate
from aggregator.feed.catching_up import BegunBooks, CatchUp, past_records
from aggregator.feed.derived import Clock, DerivedTopics
from aggregator.feed.formats import Options, encode, encode_message, schema
from aggregator.feed.peer import Peer
from aggregator.feed.protocol import (
    MOST_DERIVED_CHANNELS,
    MOST_PATTERNS,
    MOST_SEARCHED,
    AbsentTopic,
    Authenticate,
    Authenticated,
    BadRequest,
    Book,
    Error,
    Greet,
    Hello,
    Id,
    LineTooLong,
    ListTopics,
    Live,
    Ping,
    Pong,
    Reply,
    Request,
    Resuming,
    Subscribe,
    Subscribed,
    TakeSnapshot,
    Topics,
    TopicStanding,
    Unsubscribe,
    Unsubscribed,
    read_line,
)
from aggregator.feed.routing import Group, Known, TopicRoutes
from aggregator.feed.status import FeedStatus
from aggregator.feed.subscriber import Subscriber
from aggregator.feed.subscriber_queue import TAKE_BYTES, BookName, Chunk, Ring, join
from aggregator.records import CHANNELS, RECORD_TYPES, Health

FIELDS = {name for kind in RECORD_TYPES for name in ("type", *kind.__struct_fields__)}
PARTING_S = 2.0  # seconds that a client has to read why it is hung up on
SLOW_PARTING_S = 30.0  # and one that has read nothing for a while, and is hung up on for that
AUTHENTICATE_S = 3.0  # seconds that a client has to show its token, where one is needed
HOW_TO_SHOW = 'the first message is {"op":"auth","token":"TOKEN"}; over HTTP a header does, Authorization: Bearer TOKEN'
WRONG_TOKEN = "the token is wrong"  # noqa: S105 - what is said of it
NO_JOURNAL = "this daemon keeps none; [journal] in its configuration says where"
INSTRUMENTS_AT_ONCE = 500  # encoded together when those in force are told
CROWD = 32  # subscribers that get records in one turn: where there are more, turns are not made so often
GATHER_S = 0.001  # but with so much between them

log = logging.getLogger("aggregator.feed")


class FeedHub:
    """Serves a bus to its subscribers; attach `publish` to the bus after `start`."""

    def __init__(
        self,
        bus: Bus,
        *,
        ring: int,
        max_clients: int,
        gate: Gate | None = None,
        daemon: str = "",
        clock: Clock | None = None,
        taken: Callable[[], object] = int,
    ) -> None:
        """Keep at most `ring` records for each of `max_clients` subscribers.

        gate: has the tokens
        daemon: the name that the daemon gives of itself; empty: none
        clock: the time by which topics are derived; null: that of this machine
        taken: is called whenever a subscriber has been given what waited for it
        """
        self.gate = gate or Gate()
        self._taken = taken
        self._bus = bus
        self._ring = ring
        self._max_clients = max_clients
        self._daemon = daemon or UNSET
        self._accepted = self._turned_away = 0
        self._lags = self._missed = 0  # they count those that have left
        self._routes = TopicRoutes()
        self._derived = DerivedTopics(bus, self._routes, self._hand_out, clock)
        self._subscribers: dict[Ring, Subscriber] = {}
        self._filled: dict[Group, None] = {}  # groups with records of this tick
        self._touched: dict[Ring, None] = {}  # rings that got some, and are to be written
        self._is_scheduled = False
        self._rest_until = 0.0  # the time of the loop before which records gather, as many subscribers had some
        self._is_stopping = False
        self._snapshots: dict[tuple[BookName, Options], bytes] = {}  # they hold until something is published
        self._emptied = asyncio.Event()

    def start(self) -> None:
        """Learn which topics are wanted, and which books there are already."""
        self._loop = asyncio.get_running_loop()
        self._bus.views.follow(self._routes.expect)
        for snapshot in self._bus.views.books():
            self._routes.learn(snapshot)

    async def stop(self, drain: float, reason: str = "the daemon ends") -> None:
        """Take no more records; give the subscribers `drain` seconds to read what waits for them, and close."""
        self._is_stopping = True
        self._derived.stop()
        self._flush()
        for subscriber in list(self._subscribers.values()):
            subscriber.part(reason)
        if self._subscribers:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), drain)
        for subscriber in list(self._subscribers.values()):
            subscriber.peer.close()

    @property
    def is_deriving(self) -> bool:
        """Tell whether anything is computed for a subscriber."""
        return self._derived.is_active

    @property
    def is_empty(self) -> bool:
        """Tell whether there is no subscriber."""
        return not self._subscribers

    @property
    def is_ready(self) -> bool:
        """Tell whether who comes is served: the daemon does not end."""
        return not self._is_stopping

    @property
    def insight(self) -> Insight | None:
        """Whoever knows how the daemon fares; null: nobody does."""
        return self._bus.insight

    def status(self, listen: Sequence[str]) -> FeedStatus:
        """How it fares; `listen` says where subscribers connect."""
        found = [subscriber.status() for subscriber in self._subscribers.values()]
        return FeedStatus(
            list(listen),
            found,
            topics=len(self._routes.known),
            accepted=self._accepted,
            turned_away=self._turned_away,
            lags=self._lags + sum(subscriber.lags for subscriber in found),
            missed=self._missed + sum(subscriber.missed for subscriber in found),
        )

    # --- records

    def publish(self, batch: Batch) -> None:
        """Take a batch of the bus; it is written once the loop has had its turn. Never waits."""
        if self._is_stopping:
            return
        self._snapshots.clear()
        self._hand_out(self._routes.distribute(batch))
        if self._derived.is_active:
            self._derived.take(batch)

    def _hand_out(self, groups: Iterable[Group]) -> None:
        """Have those written that got something."""
        self._filled.update(dict.fromkeys(groups))
        if self._filled and not self._is_scheduled:
            self._is_scheduled = True
            if self._rest_until and self._loop.time() < self._rest_until:
                self._loop.call_at(self._rest_until, self._flush)
            else:
                self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write what this tick has brought, at once for each subscriber."""
        self._is_scheduled = False
        self._collect()
        touched, self._touched = self._touched, {}
        self._rest_until = self._loop.time() + GATHER_S if len(touched) > CROWD else 0.0
        for ring in touched:
            subscriber = self._subscribers.get(ring)
            if subscriber is not None and ring.was_full and ring.policy == "disconnect":
                self._part_slow(subscriber)
            elif subscriber is not None and ring.was_full and ring.policy == "lossless":
                self._fall_back(subscriber)
            elif subscriber is not None:
                subscriber.peer.wake()

    def _part_slow(self, subscriber: Subscriber) -> None:
        """Hang up on a subscriber that asked for this where it is too slow; what waits for it is let go."""
        self._routes.leave(subscriber.ring)
        subscriber.ring.clear()
        subscriber.part(f"too slow: more than the {self._ring} records that may wait")
        self._loop.call_later(SLOW_PARTING_S, subscriber.peer.close)

    def _fall_back(self, subscriber: Subscriber) -> None:
        """Have a subscriber that is too slow told from the journal what would be lost."""
        history, ring = self._bus.history, subscriber.ring
        if history is None:  # the daemon ends
            return
        self._routes.leave(ring)
        books = BegunBooks(has_all=True, but=ring.waiting)
        ring.rewind()
        subscriber.catch_up = self._catching_up(subscriber, history, books)
        subscriber.catch_up.go_on(Cursor(self._bus.epoch, ring.offset))

    def _collect(self) -> None:
        """Put what was published so far into the rings, joined once for all who got the same."""
        filled, self._filled = self._filled, {}
        joined: dict[tuple[int, ...], Chunk] = {}
        for group in filled:
            parts, group.chunks = group.chunks, []
            key = tuple(map(id, parts))
            chunk = joined.get(key)
            if chunk is None:
                chunk = joined[key] = join(parts)
            for ring in group.rings:
                ring.put(chunk)
            self._touched |= group.rings

    def _refill(self, subscriber: Subscriber) -> bytes:
        """The bytes to write next to a subscriber: records and, once it has them all, the books that it waits for."""
        data = self._next(subscriber)
        self._taken()
        return data

    def _next(self, subscriber: Subscriber) -> bytes:
        ring = subscriber.ring
        data = ring.take()
        if subscriber.catch_up is not None:
            return data or self._missed_records(subscriber, subscriber.catch_up)
        if data or not (ring.wanted or subscriber.has_later):
            return data
        self._collect()
        return ring.take() or self._books(ring, subscriber.options) or subscriber.later()

    def _missed_records(self, subscriber: Subscriber, catch_up: CatchUp) -> bytes:
        """Some of what a subscriber has missed; once that is all, the stream follows without a hole between."""
        piece = catch_up.take()
        if piece is not None:
            said = Resuming(piece.cursor.epoch, piece.cursor.offset)
            return encode_message(said, subscriber.options) if piece.begins else piece.data
        found = catch_up.seam()
        if found is None:
            return b""
        data, is_all = found
        return (
            data + self._let_follow(subscriber, catch_up)
            if is_all
            else data or self._missed_records(subscriber, catch_up)
        )

    def _let_follow(self, subscriber: Subscriber, catch_up: CatchUp) -> bytes:
        """Have a subscriber get what is published from now on; the lines that begin it."""
        self._collect()  # others get what was published so far; this one has had it
        ring, options = subscriber.ring, subscriber.options
        subscriber.catch_up = None
        ring.resume(self._bus.offset)
        self._routes.join(ring, subscriber.patterns, options)
        matched = self._routes.matching(catch_up.selection)
        ring.waiting.clear()
        for known in matched:
            book = known.exchange, known.raw_symbol
            if known.channel == "book" and not catch_up.books.has(book):
                ring.await_book(book, is_new=True)
        cursor = Cursor(self._bus.epoch, self._bus.offset)
        live = Live(cursor.epoch, cursor.offset, cursor.text)
        return encode_message(live, options) + self._health(catch_up.selection, options)

    def go_on_in(self, epoch: str, offset: int) -> None:
        """Have those told who are told cursors that the stream goes on in another epoch; nothing waits for them."""
        self._collect()
        for subscriber in self._subscribers.values():
            subscriber.ring.resume(offset)
            if subscriber.epoch is not None:
                subscriber.epoch = epoch
                if subscriber.catch_up is None:
                    subscriber.answer(Resuming(epoch, offset))

    def _books(self, ring: Ring, options: Options) -> bytes:
        """Snapshots of books that a ring wants: some at once, so that many or deep ones take nobody's time."""
        parts: list[bytes] = []
        size = 0
        while ring.wanted and size < TAKE_BYTES:
            book = next(iter(ring.wanted))
            del ring.wanted[book]
            if not self._routes.wants_book(ring, book):
                continue
            snapshot = self._book(book, options)
            if snapshot:
                ring.has_book(book)
                parts.append(snapshot)
                size += len(snapshot)
        return b"".join(parts)

    def _book(self, book: BookName, options: Options) -> bytes:
        """A live book's snapshot as its line; empty where there is none, and then the stream will bring one."""
        key = (book, options)
        if key not in self._snapshots:
            exchange, raw_symbol = book
            found = self._bus.views.book(exchange, raw_symbol) if raw_symbol else None
            self._snapshots[key] = b"" if found is None else encode([found], options)
        return self._snapshots[key]

    # --- subscribers

    def welcome(self, peer: Peer, access: Access | None = EVERYTHING) -> Subscriber:
        """Take in whoever has connected; where there are too many already it is told so, and hung up on.

        With `access` null nothing is said to it, and nothing done for it, before it has shown a token.
        """
        self._accepted += 1
        subscriber = Subscriber(peer, self._ring, refill=self._refill, hear=self._hear, gone=self._forget)
        if len(self._subscribers) >= self._max_clients:
            self._turned_away += 1
            log.warning("feed: %s is turned away: there are %d, max_clients", peer.name, len(self._subscribers))
            reason = f"the feed has its {self._max_clients} subscribers already"
            subscriber.answer(Error(reason))
            subscriber.part(reason)
            return subscriber
        self._subscribers[subscriber.ring] = subscriber
        subscriber.access = access
        if access is None:
            self._loop.call_later(AUTHENTICATE_S, self._remind, subscriber)
        else:
            subscriber.answer(self._hello())
        return subscriber

    def _remind(self, subscriber: Subscriber) -> None:
        """Hang up on a subscriber that has shown no token in all its time."""
        if subscriber.access is None and not subscriber.is_held:
            self._shut_out(subscriber, f"no token came within {AUTHENTICATE_S:.0f} s; {HOW_TO_SHOW}")

    def _shut_out(self, subscriber: Subscriber, reason: str, id: Id = None) -> None:
        """Say why, and hang up, on those too who do not read it."""
        subscriber.is_held = True
        if subscriber.ring in self._subscribers:
            subscriber.answer(Error(reason, id))
            subscriber.part(reason)
            self._loop.call_later(PARTING_S, subscriber.peer.close)

    def _authenticate(self, subscriber: Subscriber, request: Authenticate) -> None:
        """Let a subscriber have what its token allows; a wrong one is answered after a pause, and hung up on."""
        if not self.gate.has_tokens:
            raise BadRequest("this feed has no tokens: leave the token out", request.id)
        if subscriber.patterns:
            raise BadRequest("a token is shown before anything is subscribed", request.id)
        access = self.gate.find(request.token)
        if access is None:
            subscriber.is_held = True
            pause = self.gate.pause(subscriber.peer.host, self._loop.time())
            log.warning("feed: %s showed a wrong token, and is answered in %.1f s", subscriber.peer.name, pause)
            self._loop.call_later(pause, self._shut_out, subscriber, WRONG_TOKEN, request.id)
            return
        if subscriber.access is None:
            subscriber.answer(self._hello())
        subscriber.access = access
        topics = None if access.topics is None else list(access.topics)
        subscriber.answer(Authenticated(access.name, topics, request.id))

    def _forget(self, subscriber: Subscriber) -> None:
        """Forget a subscriber whose connection is closed."""
        self._routes.leave(subscriber.ring)
        if subscriber.catch_up is not None:
            subscriber.catch_up.stop()
        if self._subscribers.pop(subscriber.ring, None) is not None:
            self._derived.leave(subscriber.patterns.values())
            self._lags += subscriber.ring.lags
            self._missed += subscriber.ring.missed
        subscriber.patterns.clear()
        self._demand(subscriber)
        if self._is_stopping and not self._subscribers:
            self._emptied.set()

    # --- requests

    def _hear(self, subscriber: Subscriber, line: bytes) -> None:
        """Do what a line asks for, and answer it."""
        try:
            request = read_line(line)
            if isinstance(request, Authenticate):
                self._authenticate(subscriber, request)
            elif subscriber.access is None:
                self._shut_out(subscriber, f"a token is needed first: {HOW_TO_SHOW}")
            elif request is not None:
                self._heed(subscriber, request, subscriber.access)
        except BadRequest as error:
            if subscriber.access is None:
                self._shut_out(subscriber, f"a token is needed first: {HOW_TO_SHOW}")
                return
            subscriber.answer(Error(str(error), error.id))
            if isinstance(error, LineTooLong):
                self._routes.leave(subscriber.ring)
                subscriber.part("a line was too long")

    def _heed(self, subscriber: Subscriber, request: Request, access: Access) -> None:
        match request:
            case Greet():
                self._greet(subscriber, request)
            case Subscribe():
                self._foresee(subscriber, request, access)
            case Unsubscribe():
                self._unsubscribe(subscriber, request)
            case Ping() | ListTopics() | TakeSnapshot():
                self._collect()
                subscriber.answer(*self.reply(request, subscriber.options, access))

    def reply(self, request: Ping | ListTopics | TakeSnapshot, options: Options, access: Access) -> tuple[Reply, bytes]:
        """Answer what asks for no stream, with lines that belong to it. Raises BadRequest."""
        match request:
            case Ping():
                return Pong(request.id), b""
            case ListTopics():
                return self._topics(request, access), b""
            case TakeSnapshot():
                return self._snapshot(request, options, access)

    def _topics(self, request: ListTopics, access: Access) -> Topics:
        wanted, patterns = access.selection, None
        if request.topics is not None:
            patterns = patterns_of(request.topics, request.id, access).values()
            wanted = Selection(patterns)
        known = sorted((name, topic) for topic, name in self._routes.named(wanted))
        derived = sorted(self._derived.of(patterns or ()), key=lambda each: each.topic)
        found = Topics([name for name, _ in known] + [each.topic for each in derived], id=request.id)
        if request.states:
            found.states = [self._standing(topic) for _, topic in known]
            found.states += [_stand(next(iter(self._derived.states([each])), None)) for each in derived]
        return found

    def _standing(self, topic: Known) -> TopicStanding | None:
        stands = _stand(next(iter(self._bus.views.health(*topic)), None))
        demanded = self._bus.supply.demanded(*topic)
        if demanded is None:
            return stands
        stands = stands or TopicStanding("down", None, None)
        return structs.replace(stands, reason=stands.reason or demanded.reason, demand=demanded.state)

    def _snapshot(self, request: TakeSnapshot, options: Options, access: Access) -> tuple[Reply, bytes]:
        exchange, symbol = request.exchange, request.symbol
        topics = [topic for topic in self._routes.books_of(exchange, symbol) if self._allows(access, topic)]
        if not topics and not access.covers(Pattern(("book",), exchange, symbol)):
            raise BadRequest(access.refusal(f"book:{exchange}:{symbol}"), request.id)
        for topic in topics:
            book = self._book((topic.exchange, topic.raw_symbol), options)
            if book:
                return Book(exchange, symbol, request.id), book
        standings = [standing for topic in topics if (standing := self._standing(topic)) is not None]
        if standings:
            reason = f": {standings[0].reason}" if standings[0].reason else ""
            raise BadRequest(f"the book of {exchange} {symbol} is {standings[0].state}{reason}", request.id)
        alike = {name.casefold(): name for name in self._routes.like(exchange, symbol)}
        if access.selection is not None:  # no hint tells of a book that the token does not allow
            alike = {}
        meant = nearest(symbol, alike) if len(symbol) <= LONGEST_PATTERN else None
        hint = f"did you mean {alike[meant]}?" if meant else '{"op":"topics"} names those that are'
        raise BadRequest(f"no book {symbol!a:.80} of {exchange!a:.80} is followed; {hint}", request.id)

    def _allows(self, access: Access, topic: Known) -> bool:
        return access.allows(self._routes.known[topic])

    def instruments(self, wanted: Selection, options: Options, access: Access) -> Iterator[bytes]:
        """The instruments in force that a selection wants, as lines, some at a time; each as it is when it is given."""
        found = [topic for topic in self._routes.matching(wanted) if topic.channel == "instruments"]
        return self._in_force([topic for topic in found if self._allows(access, topic)], options)

    def _in_force(self, topics: Sequence[Known], options: Options) -> Iterator[bytes]:
        known, names = self._bus.instruments, self._routes.known
        for start in range(0, len(topics), INSTRUMENTS_AT_ONCE):
            some = [(topic.exchange, names[topic].names[0]) for topic in topics[start : start + INSTRUMENTS_AT_ONCE]]
            there = [known[name] for name in some if name in known]
            if there:
                yield encode(there, options)

    def _greet(self, subscriber: Subscriber, request: Greet) -> None:
        if subscriber.has_subscribed:
            raise BadRequest("how the connection is written is chosen before anything is subscribed", request.id)
        subscriber.options = structs.replace(subscriber.options, encoding=request.encoding, layout=request.layout)
        subscriber.answer(self._hello(request.id))
        if request.layout == "array":
            subscriber.answer(schema(subscriber.options.fields))

    def _hello(self, id: Id | UnsetType = UNSET) -> Hello:
        header = self._bus.header()
        return Hello(header.schema, header.epoch, header.offset, __version__, id, self._daemon)

    def _foresee(self, subscriber: Subscriber, request: Subscribe, access: Access) -> None:
        """Subscribe as soon as it is known what can be had; nothing else that is said is heard before."""
        supply = self._bus.supply
        if not supply.is_far:
            self._subscribe(subscriber, request, access)
            return
        patterns = subscriber.patterns | self._new_patterns(subscriber, request, access)
        asked = {text: needs(pattern) for text, pattern in patterns.items()}
        foreseen = partial(self._foreseen, subscriber, request, access)
        subscriber.wait()
        supply.foresee(subscriber, asked, partial(subscriber.go_on, foreseen))

    def _foreseen(self, subscriber: Subscriber, request: Subscribe, access: Access) -> None:
        if subscriber.is_held or subscriber.ring not in self._subscribers:  # it was hung up on meanwhile, or has left
            self._demand(subscriber)
            return
        try:
            self._subscribe(subscriber, request, access)
        except BadRequest as error:
            self._demand(subscriber)  # nothing of it is to be brought
            subscriber.answer(Error(str(error), error.id))

    def _subscribe(self, subscriber: Subscriber, request: Subscribe, access: Access) -> None:
        new = self._new_patterns(subscriber, request, access)
        if request.start is not None:
            self._resume(subscriber, request, new, request.start)
            return
        self._collect()  # records that were published before are not subject to what is wanted now
        held = self._routes.selection_of(subscriber.ring)
        wanted = Selection(new.values())
        added = {text: pattern for text, pattern in new.items() if text not in subscriber.patterns}
        there = self._derived.of(new.values() if request.snapshot else ())
        subscriber.patterns |= new
        subscriber.has_subscribed = True
        absent = [each for each in self._demand(subscriber) if each.topic in new]
        self._join_derived(subscriber, added, request.id)
        matched = self._routes.matching(wanted)
        derived = self._derived.of(new.values())
        before = self._choose(subscriber, request)
        self._routes.join(subscriber.ring, subscriber.patterns, subscriber.options)
        for known in matched:
            if known.channel == "book":
                book, is_new = (known.exchange, known.raw_symbol), not held.wants(self._routes.known[known])
                if request.snapshot:
                    subscriber.ring.await_book(book, is_new=is_new)
                elif is_new:
                    subscriber.ring.has_book(book)  # so it says
        options, said = subscriber.options, b""
        if options.layout == "array" and options.fields != before.fields:
            said = encode_message(schema(options.fields), options)
        said_absent = {each.topic for each in absent}
        reasons = self._derived.reasons({text: pattern for text, pattern in new.items() if text not in said_absent})
        count = len(matched) + len(derived)
        answer = Subscribed(list(new), count, absent or UNSET, request.id, reasons or UNSET)
        subscriber.answer(answer, said + self._health(wanted, options) + encode(self._derived.states(derived), options))
        if there:
            subscriber.told_later(self._derived.standing(there, options))
        instruments = [topic for topic in matched if topic.channel == "instruments"]
        if instruments and request.snapshot:
            subscriber.told_later(self._in_force(instruments, subscriber.options))

    def _choose(self, subscriber: Subscriber, request: Subscribe) -> Options:
        """Have the connection written as a request says; how it was before."""
        before = subscriber.options
        subscriber.options = structs.replace(
            before,
            numbers=request.numbers or before.numbers,
            time=request.time or before.time,
            fields=before.fields if request.fields is None else tuple(dict.fromkeys(request.fields)),
        )
        subscriber.ring.policy = request.policy or subscriber.ring.policy
        return before

    def _resume(self, subscriber: Subscriber, request: Subscribe, new: dict[str, Pattern], given: str | Start) -> None:
        """Have a subscriber told what was published since some place, and then the stream."""
        history, id = self._bus.history, request.id
        if history is None:
            raise BadRequest(f'"from" needs a journal: {NO_JOURNAL}', id)
        if subscriber.patterns:
            raise BadRequest('"from" is for the first topics of a connection: open another', id)
        if any(needs(pattern) is not pattern for pattern in new.values()):
            raise BadRequest('what is computed is not kept: leave "from" out, or ask for what it is computed of', id)
        start = beginning_of(given, id)
        before = self._choose(subscriber, request)
        subscriber.patterns = dict(new)
        subscriber.has_subscribed = True
        subscriber.epoch = self._bus.epoch
        catch_up = self._catching_up(subscriber, history, BegunBooks(has_all=not request.snapshot))
        subscriber.catch_up = catch_up
        absent = self._demand(subscriber)

        def begun() -> None:
            said, options = b"", subscriber.options
            if options.layout == "array" and options.fields != before.fields:
                said = encode_message(schema(options.fields), options)
            if catch_up.cursor is not None:
                said += encode_message(Resuming(catch_up.cursor.epoch, catch_up.cursor.offset, id), options)
            count = len(self._routes.matching(catch_up.selection))
            subscriber.answer(Subscribed(list(new), count, absent or UNSET, id), said)

        def failed(reason: str) -> None:
            subscriber.catch_up, subscriber.patterns, subscriber.epoch = None, {}, None
            self._demand(subscriber)
            subscriber.answer(Error(reason, id))
            if not subscriber.hears:
                subscriber.part(reason)

        catch_up.begin(start, begun, failed)

    def _catching_up(self, subscriber: Subscriber, history: History, books: BegunBooks) -> CatchUp:
        selection = Selection(subscriber.patterns.values())
        return CatchUp(
            history, selection, subscriber.options, books, wake=subscriber.peer.wake, give_up=subscriber.part
        )

    @property
    def has_history(self) -> bool:
        """Tell whether what was published is kept."""
        return self._bus.history is not None

    async def records(
        self, wanted: Selection, start: Beginning, to: Beginning, options: Options
    ) -> AsyncIterator[bytes]:
        """Give what was published between two places, as lines, some at a time. Raises BadRequest."""
        history = self._bus.history
        if history is None:
            raise BadRequest(f"nothing of the past is there: {NO_JOURNAL}")
        try:
            async for data in past_records(history, wanted, start, to, options):
                yield data
        except BadStart as error:
            raise BadRequest(str(error)) from None

    def _new_patterns(self, subscriber: Subscriber, request: Subscribe, access: Access) -> dict[str, Pattern]:
        """The patterns of a request. Raises BadRequest where it cannot be done."""
        if subscriber.catch_up is not None:
            raise BadRequest("what was missed is being told: subscribe to more once the feed says live", request.id)
        if request.policy == "lossless" and self._bus.history is None:
            raise BadRequest(f'"lossless" needs a journal: {NO_JOURNAL}', request.id)
        new = patterns_of(meant(request), request.id, access)
        if not new:
            raise BadRequest("no topics: name at least one, like trades:*:BTC/USDT", request.id)
        bound((subscriber.patterns | new).values(), request.id)
        unknown = next((name for name in request.fields or () if name not in FIELDS), None)
        if unknown is not None:
            raise BadRequest(f"{unknown!a:.80} is a field of no record; docs/records.md has them all", request.id)
        return new

    def _join_derived(self, subscriber: Subscriber, added: Mapping[str, Pattern], id: Id) -> None:
        """Compute what is new of derived topics. Raises BadRequest where that is too much, and then nothing is new."""
        try:
            self._derived.join(added.values())
        except BadPattern as error:
            for text in added:
                del subscriber.patterns[text]
            self._demand(subscriber)
            raise BadRequest(str(error), id) from None

    def _demand(self, subscriber: Subscriber) -> list[AbsentTopic]:
        """Have brought what a subscriber asks for now; what cannot be had. A token's hints tell of no other topics."""

        def told(unmet: Iterable[Unmet]) -> None:
            known = [(subscriber.patterns.get(each.topic), each) for each in unmet]
            self._collect()  # records that were published before come before it
            subscriber.tell([self._down(pattern, each) for pattern, each in known if pattern is not None])

        asked = {text: needs(pattern) for text, pattern in subscriber.patterns.items()}
        is_free = subscriber.access is not None and subscriber.access.selection is None
        absent = self._bus.supply.want(subscriber, asked, told)
        return [AbsentTopic(each.topic, each.reason, list(each.nearest) if is_free else []) for each in absent]

    def _down(self, pattern: Pattern, unmet: Unmet) -> Health:
        """The state of a topic that cannot be had, for the one who asks for it: no stream has such a record."""
        channel = next(channel for channel in CHANNELS if channel in needs(pattern).channels)
        return Health(
            exchange=pattern.exchange,
            symbol=pattern.symbol,
            raw_symbol=None,
            ts_recv=time.time_ns(),
            source="derived",
            offset=self._bus.offset,
            channel=channel,
            state="down",
            reason=unmet.reason,
        )

    def _health(self, wanted: Selection, options: Options) -> bytes:
        """The state of every topic that is wanted, as lines."""
        health = self._bus.views.health
        return encode([record for topic in self._routes.stated(wanted) for record in health(*topic)], options)

    def _unsubscribe(self, subscriber: Subscriber, request: Unsubscribe) -> None:
        gone = list(subscriber.patterns) if request.topics is None else list(dict.fromkeys(request.topics))
        unknown = [text for text in gone if text not in subscriber.patterns]
        if unknown:
            raise BadRequest(f"{unknown[0]:.80} was not subscribed; name patterns as they were, or none", request.id)
        if subscriber.catch_up is not None:
            if len(gone) < len(subscriber.patterns):
                raise BadRequest("what was missed is being told: take back all topics, or wait for live", request.id)
            subscriber.catch_up.stop()
            subscriber.catch_up = None
        self._collect()
        self._derived.leave([subscriber.patterns.pop(text) for text in gone])
        self._demand(subscriber)
        self._routes.join(subscriber.ring, subscriber.patterns, subscriber.options)
        subscriber.answer(Unsubscribed(gone, request.id))


def _stand(health: Health | None) -> TopicStanding | None:
    return None if health is None else TopicStanding(health.state, health.age_ms, health.reason)


def beginning_of(given: str | Start, id: Id = None) -> Beginning:
    """Read where to begin. Raises BadRequest."""
    try:
        return parse_beginning(given)
    except BadStart as error:
        raise BadRequest(str(error), id) from None


def meant(request: Subscribe) -> list[str]:
    """The topics of a request, as its depth and interval mean them. Raises BadRequest."""
    if request.depth is None and request.interval_ms is None:
        return request.topics
    try:
        return [narrowed(text, request.depth, request.interval_ms) for text in request.topics]
    except BadPattern as error:
        raise BadRequest(str(error), request.id) from None


def patterns_of(texts: Iterable[str], id: Id, access: Access) -> dict[str, Pattern]:
    """Read patterns. Raises BadRequest where there are too many, or for the first that is none, or is not allowed."""
    try:
        found = {text: parse_topics(text) for text in texts}
    except BadPattern as error:
        raise BadRequest(str(error), id) from None
    bound(found.values(), id)
    for text, pattern in found.items():
        if not access.covers(needs(pattern)):
            raise BadRequest(access.refusal(text), id)
    return found


def bound(patterns: Collection[Pattern], id: Id) -> None:
    """Raise BadRequest where patterns would have too much searched, or computed, for one client."""
    if len(patterns) > MOST_PATTERNS:
        raise BadRequest(f"more than the {MOST_PATTERNS} topics that one connection may name", id)
    if sum(pattern.is_searched for pattern in patterns) > MOST_SEARCHED:
        words = f"more than the {MOST_SEARCHED} topics with * beside other text that one connection may name"
        raise BadRequest(f"{words}; name markets in full, or all of them by a * alone", id)
    names = {pattern.channels[0] for pattern in patterns if needs(pattern) is not pattern}
    if len(names) > MOST_DERIVED_CHANNELS:
        raise BadRequest(f"more than the {MOST_DERIVED_CHANNELS} derived channels that one connection may name", id)
