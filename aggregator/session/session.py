"""One conversation with an exchange, without the connection: frames and times go in, records come out.

What must be sent stands in `outbox`, what must be asked for by REST in `wanted`; nothing here does I/O or reads a
clock. The live daemon, a replay, the sandbox's tests and every other test drive this very object.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from msgspec import structs

from aggregator.errors import Bomb
from aggregator.exchange import Accepted, Denied, Event, Hangup, Ignored, Ready, Refused, Reply, Stream, Subscription
from aggregator.records import (
    CHANNEL_OF,
    CHANNELS,
    SECOND_NS,
    BookSnapshot,
    Cause,
    Channel,
    Gap,
    Instrument,
    OrdersSnapshot,
    Record,
    Source,
)
from aggregator.sequence import unnumbered
from aggregator.session.arbitrated import Position
from aggregator.session.audit import Audits
from aggregator.session.due import DueTopics
from aggregator.session.fetches import Fetch, Fetches
from aggregator.session.moment import NEVER_NS, Now
from aggregator.session.naming import of_market, spoken
from aggregator.session.order_book import BookNeed, BookTopic
from aggregator.session.orders import OrdersTopic
from aggregator.session.refused import Memory
from aggregator.session.resync import ANSWER_NS, BookResyncs
from aggregator.session.silence import SilenceWatch
from aggregator.session.status import SessionStatus
from aggregator.session.subscriptions import Ask, Key, Subscriptions
from aggregator.session.summaries import Counts
from aggregator.session.table import READ_BY, TopicContext, TopicTable
from aggregator.session.topics import (
    LONGEST_WORD,
    NOTHING,
    STRAY,
    Origin,
    Topic,
    TopicCheckpoint,
    closed,
    happen,
    rested,
    with_flag,
)
from aggregator.session.trades import Notes, Numbered
from aggregator.session.unreadable import Unread, Unreadable, unread_yet

WEIGHED_BYTES = 2**14  # a larger frame, which comes alone, is read to its end before any of its records is published
MOST_EVENTS = 10_000  # one frame may give no more: the largest exchange lists a third as many markets
FOREVER_NS = 3600 * SECOND_NS
NUMBER = attrgetter("number")
REFUSALS = 1000  # kept for the log
MOST_TOPICS = 100_000  # frames alone bring no more topics into being
HUNG_UP = "the exchange closes the connection where this is asked for"
UNWANTED = "no longer wanted"  # the reason of an end that the program itself has chosen


class Session:
    """The state of one connection; every new connection gets a session of its own."""

    def __init__(
        self,
        exchange: str,
        stream: Stream,
        *,
        conn: str,
        instruments: Mapping[str, Instrument],
        subscriptions: Sequence[Subscription] | None = None,
        carried: Mapping[Key, TopicCheckpoint] | None = None,
        memory: Memory | None = None,
        source: Source = "ws",
        verify: int = 1,
        audit: float | None = None,
        channels: Collection[Channel] = CHANNELS,
        notes: Notes | None = None,
    ) -> None:
        """Without `subscriptions` every record of `channels` is taken: a replay cannot know what was asked for then.

        instruments: raw symbol -> instrument, of those that this stream serves
        carried: the checkpoints of topics that the connection before has left
        memory: whatever earlier connections have learnt of the exchange
        verify: one of so many checksums is computed; 0: none
        audit: seconds between two comparisons of a book with the exchange's own; None: never
        notes: where the last numbers of trades are noted for the run after a process that is killed
        """
        self.exchange = exchange
        self.stream = stream
        stream = spoken(stream, instruments)
        self.conn = conn
        self.outbox: deque[bytes] = deque()
        self.unwanted = 0
        self.close_reason: str | None = None  # the reason why a new connection is needed, once it is
        self.denied: str | None = None  # the exchange's words against our keys
        self.refusals: deque[Refused] = deque(maxlen=REFUSALS)  # those that are news, each with its topic, for the log
        self.moment = Now(0, 0)  # when something last happened here
        self._source: Source = source
        self._is_live = subscriptions is not None
        self._first = tuple(subscriptions or ())
        self._unasked = frozenset(channels if subscriptions is None else ())
        memory = memory or Memory()
        self.words = memory.words  # words of the exchange that are not known, for the log
        self.subscriptions = Subscriptions(stream, self.outbox, memory)
        self._answers = Fetches(stream)
        self.wanted = self._answers.wanted
        self._resyncs = BookResyncs(stream.snapshot, self.subscriptions, self.outbox, self._answers.want_book)
        self._watch = SilenceWatch(stream, self.subscriptions, self._answers.probe)
        self._needs: deque[BookNeed] = deque()
        self._touched: dict[Topic, None] = {}  # topics to which something has happened since the last tick
        self._place = place = Origin(exchange, conn, touched=self._touched)
        self._unreadable = Unreadable(place)
        self.bad_frames = self._unreadable.seen
        self._counts = Counts(place)
        context = TopicContext(stream, place, instruments, dict(carried or {}), self._needs, verify, self.words, notes)
        self.topics = TopicTable(context)
        self._parse = stream.reader()
        if stream.one_market and subscriptions:
            self._parse = of_market(self._parse, subscriptions[0].raw_symbol)
        self._reading = exchange, conn, source, self.topics.by_type, stream.inflate, self._parse, self._counts
        rule, snapshot = stream.sequence.get("book", unnumbered), stream.snapshot
        self._guards_books = rule.sure or (stream.checksum is not None and verify == 1)
        self._asks_at_once = snapshot is not None and not snapshot.in_band and (rule.sure or not snapshot.after_delta)
        self._audits = Audits(self.topics, self._answers, audit)
        self._is_open = False
        self._due = DueTopics(self.topics.numbered)
        self._looking: deque[Topic] = deque()  # topics that this tick has still to look at
        self._heard = 0  # when the last frame came, as known at the last tick
        self._frames = 0  # frames that had come then
        self._wall = 0
        self._beat_at = 0

    @property
    def changes(self) -> int:
        """How often a topic's state or gap has changed."""
        return self._place.changes

    # --- the conversation -------------------------------------------------------------------------------------------

    def open(self, now: Now) -> list[Record]:
        """The connection stands: put the subscriptions into the outbox."""
        self.moment = now
        self._heard = now.mono
        self._beat_at = now.mono + self._beat_every()
        self._counts.begin(now)
        if self.stream.login is not None:
            self.outbox.append(self.stream.login)
        told = self.subscribe(self._first, now)
        self._is_open = True
        return told

    def subscribe(
        self, subscriptions: Collection[Subscription], now: Now, carried: Mapping[Key, TopicCheckpoint] | None = None
    ) -> list[Record]:
        """Carry more topics from now on; `carried` are the checkpoints that an earlier run has left of them."""
        out: list[Record] = []
        self.topics.carry(carried or {})
        asked, coming = map(set, self.subscriptions.subscribe(subscriptions, now.mono))
        for key in dict.fromkeys((s.channel, s.raw_symbol) for s in subscriptions):
            topic = self.topics.known(*key, now)
            if key in asked:
                self._wait(topic)
                happen(topic, "asked", out, now)
            elif key in coming:
                happen(topic, "accepted", out, now)
            else:
                refusal = self.subscriptions.refusal(key)
                if refusal is not None:
                    happen(topic, "refused", out, now, refusal.reason)
        if asked and self._is_open and not isinstance(self.stream.url, str):
            self.subscriptions.reconnect_reason = "more topics are wanted than the address names"
        return out

    def _wait(self, topic: Topic) -> None:
        """The silence of a topic counts from when it is asked for: its request may have to wait for its turn."""
        if isinstance(self.stream.url, str):  # else the address has asked for it
            topic.subscribed = NEVER_NS

    def sent(self, frame: bytes, now: Now) -> None:
        """A frame of the outbox has left."""
        if isinstance(frame, Ask):
            for key in self.subscriptions.sent(frame, now.mono):
                topic = self.topics.known(*key, now)
                if topic.subscribed == NEVER_NS or not topic.heard:
                    topic.subscribed = now.mono
                    self._place.touch(topic)

    def unsubscribe(self, subscriptions: Collection[Subscription], now: Now, reason: str = UNWANTED) -> list[Record]:
        """Carry these topics no more: records of them that still come are dropped."""
        out: list[Record] = []
        gone = set(subscriptions)
        self._first = tuple(s for s in self._first if s not in gone)
        self.subscriptions.unsubscribe(subscriptions, now.mono)
        for key in dict.fromkeys((s.channel, s.raw_symbol) for s in subscriptions):
            topic = self.topics.get(*key)
            if topic is not None and not self.subscriptions.of(key):
                self._give_up(topic, out, now, reason)
            elif topic is None and all((s.channel, s.raw_symbol) != key for s in self._first):
                left = self.topics.unmet().pop(key, None)
                if left is not None and left.gap is not None:
                    out.append(closed(left.gap, self.conn, now))
        return out

    def rests(self, subscriptions: Collection[Subscription]) -> dict[Key, TopicCheckpoint]:
        """The checkpoints with which these topics begin when they are wanted again: nothing comes twice."""
        found: dict[Key, TopicCheckpoint] = {}
        for key in dict.fromkeys((s.channel, s.raw_symbol) for s in subscriptions):
            topic = self.topics.get(*key)
            left = self.topics.unmet().get(key) if topic is None else topic.carried()
            if left is not None and key[0] not in {"book", "orders"} and (left.last is not None or left.newest):
                found[key] = rested(left)
        return found

    def receive(self, frames: Sequence[bytes], now: Now) -> list[Record]:  # noqa: C901, PLR0912 - hot, so no calls
        """Make records of the frames of one read of the socket; `reconnect_reason` may change."""
        out: list[Record] = []
        event: Event | None = None
        wall, mono = now.wall, now.mono
        exchange, conn, source, topics_of, inflate, parse, counts = self._reading
        self.moment = now
        rest = iter(frames)
        if len(frames) == 1 and len(frames[0]) > WEIGHED_BYTES:
            self._read_on(*self._inflated(next(rest)), rest, out, now)
        for payload in rest:
            frame = payload
            try:
                if inflate is not None:
                    frame = inflate(payload)
                for event in parse(frame):
                    record: Record = event  # type: ignore[assignment]
                    try:
                        topic = topics_of[type(event)][record.raw_symbol]
                    except KeyError:  # an event that is no record, or a topic's first
                        found = self._topic_of(event, out, now)
                        if found is None:
                            continue
                        topic = found
                    record.exchange = exchange
                    record.symbol = topic.symbol
                    record.ts_recv = wall
                    record.conn = conn
                    record.source = source
                    topic.heard = mono
                    topic.accept(record, out, now)
            except Exception as error:  # noqa: BLE001 - whatever a hostile frame provokes, it is one frame lost
                self._read_on(frame, error, rest, out, now)
                if self.close_reason is not None:
                    break
        counts.frames += len(frames)
        counts.bytes += sum(map(len, frames))
        if event is not None:
            counts.has_news = True
            if counts.is_to_look:
                counts.look(out)
        if self._needs:
            self._serve(now)
        if wall < self._wall:
            for record in out:
                with_flag(record, "bad_ts")  # our clock ran back
        else:
            self._wall = wall
        return out

    def receive_each(self, timed: Iterable[tuple[bytes, Now]], out: list[Record]) -> int:  # noqa: C901 - likewise hot
        """Add the records of frames that came one by one, as `receive` would for each, and say how many it took.

        It stops behind a frame of which more than records has come. None is larger than `WEIGHED_BYTES`, and none older
        than any before it: they are a capture's.
        """
        exchange, conn, source, topics_of, inflate, parse, counts = self._reading
        needs, news, outbox = self._needs, self.words.news, self.outbox
        count = size = 0
        for payload, now in timed:
            self.moment = now
            count += 1
            size += len(payload)
            frame = payload
            try:
                if inflate is not None:
                    frame = inflate(payload)
                for event in parse(frame):
                    record: Record = event  # type: ignore[assignment]
                    try:
                        topic = topics_of[type(event)][record.raw_symbol]
                    except KeyError:  # an event that is no record, or a topic's first
                        found = self._topic_of(event, out, now)
                        if found is None:
                            continue
                        topic = found
                    record.exchange = exchange
                    record.symbol = topic.symbol
                    record.ts_recv = now.wall
                    record.conn = conn
                    record.source = source
                    topic.heard = now.mono
                    topic.accept(record, out, now)
            except Exception as error:  # noqa: BLE001 - as in `receive`
                self._read_on(frame, error, iter(()), out, now)
                break
            if needs:
                self._serve(now)
            if news or outbox:
                break
        counts.frames += count
        counts.bytes += size
        counts.has_news = True
        if needs:
            self._serve(self.moment)
        if count:
            self._wall = self.moment.wall
        return count

    def _read_on(self, frame: bytes, error: Exception, rest: Iterator[bytes], out: list[Record], now: Now) -> None:
        """Go on behind a frame that cannot be read, up to the next one that can, and read that too.

        Unreadable frames one behind the other are one gap, over as many reads as they come in. It is told before
        anything that came after them: until then every frame is read here.
        """
        is_new = False  # True: this read has brought more of them
        while True:
            events = self._events(frame, error, now)
            if events is not None:
                self._end_run(out, now, doubt=is_new)
                is_new = False
                try:
                    self._take(events, out, now)
                except Exception as found:  # noqa: BLE001 - as in `receive`
                    error = found
                    continue
                return
            is_new = True
            if self._is_live and self._unreadable.is_flood:
                self.close_reason = f"{self.conn}: {self._unreadable.words}"
                break
            payload = next(rest, None)
            if payload is None:
                break
            frame, error = self._inflated(payload)
        if self.close_reason is not None:
            self._end_run(out, now, doubt=True)
            return
        self._doubt_books(out, now)
        self._reading = (*self._reading[:5], unread_yet, self._reading[6])

    def _events(self, frame: bytes, error: Exception, now: Now) -> list[Event] | None:
        """Give the events of a frame; None where it cannot be read, which is noted.

        error: `Unread`, or what its reading has already come to
        """
        if isinstance(error, Unread):
            try:
                events = list(self._parse(frame))
            except Exception as found:  # noqa: BLE001 - as in `receive`
                error = found
            else:
                if len(events) <= MOST_EVENTS:
                    return events
                error = Bomb(f"a frame of {len(events)} records")
        self._unreadable.note(frame, error, now)
        self._unreadable.run.add(now)
        self._counts.unread += 1
        return None

    def _inflated(self, payload: bytes) -> tuple[bytes, Exception]:
        """A frame that is to be read yet, or the error of its compression."""
        try:
            return payload if self.stream.inflate is None else self.stream.inflate(payload), Unread()
        except Exception as error:  # noqa: BLE001 - as in `receive`
            return payload, error

    def _take(self, events: Iterable[Event], out: list[Record], now: Now) -> None:
        """Make records of the events of one frame, as `receive` does, off the hot path."""
        self._counts.has_news = True
        for event in events:
            topic = self._topic_of(event, out, now)
            if topic is not None:
                record: Record = event  # type: ignore[assignment]
                record.exchange, record.symbol = self.exchange, topic.symbol
                record.ts_recv, record.conn, record.source = now.wall, self.conn, self._source
                topic.heard = now.mono
                topic.accept(record, out, now)

    def tick(self, now: Now, most: int | None = None) -> list[Record]:
        """Do whatever is due by time alone. Call it about every second; `reconnect_reason` may change.

        most: look at no more topics in this call; while `is_looking`, call it again soon
        """
        out: list[Record] = []
        if not self._looking and not self._begin_tick(out, now):
            return out
        self._look(most, out, now)
        if not self._looking:
            self._watch.ask(now)
            self._audits.tick(out, now)
            self._serve(now)
            if self._is_live:
                self._counts.tick(self.topics, out, now)
        return out

    @property
    def is_looking(self) -> bool:
        """Tell whether this tick has still topics to look at."""
        return bool(self._looking)

    def _begin_tick(self, out: list[Record], now: Now) -> bool:
        """Do what concerns the connection as a whole, and find the topics to look at. False: the connection is dead."""
        if self._counts.frames != self._frames:
            self._frames, self._heard = self._counts.frames, self.moment.mono
        self.moment = now
        if self._unreadable.run.is_over(now):
            self._end_run(out, now)
        if self._is_live and now.mono - self._heard > self.stream.patience * SECOND_NS:
            self.close_reason = f"{self.conn}: silent for {self.stream.patience} s"
            return False
        self._beat(now)
        for key in self.subscriptions.again(now.mono):
            refused = self.topics.known(*key, now)
            if refused.state == "down":  # else other candles of it come
                self._wait(refused)
                happen(refused, "asked", out, now, "asked for again after a refusal")
        for channel, raw_symbol in self.subscriptions.overdue(now.mono):
            topic = self.topics.get(channel, raw_symbol)
            if topic is not None and not topic.heard:
                happen(topic, "unacknowledged", out, now, "the subscription was not acknowledged")
        self._looking.extend(self._to_look_at(now))
        return True

    def _to_look_at(self, now: Now) -> list[Topic]:
        """The topics to which something has happened, and those that time alone makes due; the oldest first."""
        found = dict.fromkeys(self.topics.fresh()) if self._counts.has_news else {}
        self._counts.has_news = False
        found |= dict.fromkeys(self._due.take(now.mono))
        if self._touched:
            found |= self._touched
            self._touched.clear()
        return sorted(found, key=NUMBER)

    def _look(self, most: int | None, out: list[Record], now: Now) -> None:
        """Look at topics, in the order in which they came into being."""
        looking = self._looking
        for _ in range(len(looking) if most is None else min(most, len(looking))):
            topic = looking.popleft()
            if topic.number >= 0:  # else it was removed meanwhile
                self._look_at(topic, out, now)

    def bye(self, reason: str, now: Now) -> list[Record]:
        """Give the last summary of a connection that has ended or was never made."""
        out: list[Record] = []
        self._end_run(out, now)
        return [*out, self._counts.summary(self.topics, now, reason)] if self._is_live else out

    def close(self, cause: Cause, now: Now) -> list[Record]:
        """The connection is gone: open a gap for every topic that had carried something; the others are down."""
        out: list[Record] = []
        if self.stream.hangs_up and cause == "disconnect":
            for s in self.subscriptions.hung_up(HUNG_UP, now.mono):
                self._note_refusal(s, Refused(HUNG_UP))
        self._end_run(out, now)
        for topic in self.topics:
            if topic.heard or (isinstance(topic, BookTopic) and topic.book is not None):
                topic.open_gap(cause, out, now)
            elif topic.gap is None and self._is_live:
                happen(topic, "disconnected", out, now, "the connection is gone")
            if isinstance(topic, BookTopic):
                topic.drop()
        self._touched.clear()  # nobody looks at them any more, and they would hold each other
        return out

    def refresh(self, instrument: Instrument) -> None:
        """The figures of an instrument have changed: sizes are told by the new ones."""
        for channel in CHANNELS:
            topic = self.topics.get(channel, instrument.raw_symbol)
            if topic is not None:
                topic.instrument = instrument

    def _give_up(self, topic: Topic, out: list[Record], now: Now, reason: str) -> None:
        topic.close_gap(out, now, "none")
        happen(topic, "unwanted", out, now, reason)
        self.topics.forget((topic.channel, topic.raw_symbol))
        self._counts.forget(topic)
        if isinstance(topic, BookTopic):
            topic.drop()
            self._resyncs.forget(topic.raw_symbol)

    def end(self, now: Now) -> list[Record]:
        """Finish a capture: tell which deltas were withheld, and give up trades that are still missing."""
        out: list[Record] = []
        self._end_run(out, now)
        for topic in self.topics:
            if isinstance(topic, BookTopic) and topic.book is None and topic.withheld:
                topic.open_gap("no_first_frame", out, now, missed=topic.withheld)
            elif isinstance(topic, Numbered):
                topic.tick(out, Now(now.wall, now.mono + FOREVER_NS))
        return out

    # --- answers by REST --------------------------------------------------------------------------------------------

    def receive_snapshot(self, raw_symbol: str, body: bytes, now: Now) -> list[Record]:
        """Read a whole book."""
        out: list[Record] = []
        self.moment = now
        try:
            record = self._answers.read_book(raw_symbol, body)
            topic = None if record is None else self.topics.get("book", record.raw_symbol) or self._meet(record)
            if record is not None and topic is not None:  # else the topic was left while the answer was on its way
                if isinstance(record, OrdersSnapshot) and "orders" in self._unasked:
                    self.topics.known("orders", record.raw_symbol, now)
                record.exchange, record.symbol, record.ts_recv = self.exchange, topic.symbol, now.wall
                record.source = "rest" if self._source == "ws" else self._source
                self._place.touch(topic)
                topic.accept(record, out, now)
        except Exception as error:  # noqa: BLE001 - as for a frame: it, or a delta that was held, cannot be read
            self._bad_answer(body, error, out, now)
            self._want_missing(raw_symbol)
        self._serve(now)
        return out

    def receive_backfill(self, raw_symbol: str, body: bytes, now: Now) -> list[Record]:
        """Read trades that were missing."""
        out: list[Record] = []
        self.moment = now
        topic = self.topics.get("trades", raw_symbol)
        if isinstance(topic, Numbered):
            self._place.touch(topic)
            try:
                topic.backfill(self._answers.read_trades(raw_symbol, body), out, now)
                topic.expect_backfill(0)
            except Exception as error:  # noqa: BLE001 - as for a frame
                self._bad_answer(body, error, out, now)
        return out

    def answer(self, fetch: Fetch, body: bytes, now: Now) -> list[Record]:
        """Read the answer to what stood in `wanted`."""
        if fetch.purpose == "snapshot":
            return self.receive_snapshot(fetch.raw_symbol, body, now)
        if fetch.purpose == "backfill":
            return self.receive_backfill(fetch.raw_symbol, body, now)
        if fetch.purpose == "audit":
            return self._receive_audit(fetch, body, now)
        return self._hear_of(fetch, body, now)

    def _receive_audit(self, fetch: Fetch, body: bytes, now: Now) -> list[Record]:
        out: list[Record] = []
        self.moment = now
        try:
            self._audits.answer(self._answers.read_book(fetch.raw_symbol, body))
        except Exception as error:  # noqa: BLE001 - as for a frame
            self._bad_answer(body, error, out, now)
        return out

    def unanswered(self, fetch: Fetch) -> None:
        """A request has no answer: a book is asked for again later, and trades stay missing."""
        topic = self.topics.get(fetch.channel, fetch.raw_symbol)
        if fetch.purpose == "snapshot":
            self._want_missing(fetch.raw_symbol)
            self._serve(self.moment)
        elif fetch.purpose == "backfill" and isinstance(topic, Numbered):
            topic.expect_backfill(0)
            self._place.touch(topic)

    def _hear_of(self, fetch: Fetch, body: bytes, now: Now) -> list[Record]:
        """Judge a silent topic by the exchange's answer: nothing has happened there, or it did not reach us."""
        out: list[Record] = []
        self.moment = now
        topic = self.topics.get(fetch.channel, fetch.raw_symbol)
        try:
            newest = self._answers.newest(fetch, body)
        except Exception as error:  # noqa: BLE001 - as for a frame
            self._bad_answer(body, error, out, now)
            return out
        if topic is None or topic.state != "quiet":
            return out  # it has come back by itself
        if newest is None or topic.last is None or newest <= topic.last:
            happen(topic, "nothing new", out, now, "the exchange has nothing new either")
            return out
        self._watch.stall(topic, "stalled", f"the exchange is at {newest}, we are at {topic.last}", out, now)
        self._watch.ask(now)
        self._serve(now)
        return out

    # --- for others ---------------------------------------------------------------------------------------------------

    def status(self) -> SessionStatus:
        """Tell what this connection has brought."""
        counts = self._counts
        return SessionStatus(
            frames=counts.frames,
            bytes=counts.bytes,
            unread=self.bad,
            unwanted=self.unwanted,
            refused=counts.refused,
            unsent=len(self.outbox),
            unasked=len(self.wanted),
            reconnect_reason=self.reconnect_reason,
        )

    @property
    def bad(self) -> int:
        """How many frames and answers could not be read."""
        return self._unreadable.count

    @property
    def is_garbage(self) -> bool:
        """Tell whether more frames than a connection is worth could not be read."""
        return self._unreadable.is_flood

    @property
    def reconnect_reason(self) -> str | None:
        """The reason why a new connection should take the place of this one; None if it need not."""
        return self.subscriptions.reconnect_reason

    def carried(self) -> dict[Key, TopicCheckpoint]:
        """Give the checkpoints that the next connection begins with."""
        return self.topics.carried()

    def books(self, now: Now, raw_symbol: str | None = None) -> list[BookSnapshot]:
        """Every book that can be trusted now (or the one of `raw_symbol`), as records."""
        return self.topics.books(now, raw_symbol)

    def orders(self, now: Now, raw_symbol: str | None) -> list[OrdersSnapshot]:
        """Every order of a book that can be trusted now, as a record; none where it is not told order by order."""
        return self.topics.orders(now, raw_symbol)

    def positions(self) -> Iterator[Position]:
        """How far this connection is with each topic."""
        return (topic.position() for topic in self.topics)

    def is_good(self, channel: Channel, raw_symbol: str | None) -> bool:
        """Tell whether this connection brings all records of a topic from now on."""
        return self.topics.is_good(channel, raw_symbol)

    def is_whole(self, channel: Channel, raw_symbol: str | None) -> bool:
        """Tell whether nothing of a topic is missing here."""
        return self.topics.is_whole(channel, raw_symbol)

    def adopt(self, channel: Channel, raw_symbol: str | None, gap: Gap) -> None:
        """Take a gap that the stream has open for this connection's own: it closes it once nothing is missing."""
        topic = self.topics.get(channel, raw_symbol)
        if topic is not None:
            topic.gap = gap

    # --- inside -------------------------------------------------------------------------------------------------------

    def _meet(self, record: Record) -> Topic | None:
        """Make a topic for a record that has none, if all records are wanted or its whole channel was asked for."""
        channel, told = READ_BY[type(record)], CHANNEL_OF[type(record)]
        # A record without a symbol is about the exchange: any topic of its channel brings it.
        asked = self.topics.of(channel)
        is_wanted = channel in self._unasked or "*" in asked or (record.raw_symbol is None and asked)
        if not is_wanted or len(self.topics) > MOST_TOPICS:
            self.unwanted += 1
            return None
        if told != channel and told in self._unasked:
            self.topics.known(told, record.raw_symbol, self.moment)
        return self.topics.known(channel, record.raw_symbol, self.moment)

    def _topic_of(self, event: Event, out: list[Record], now: Now) -> Topic | None:
        """The topic of a record, which is made where it is to have one; what is no record is heeded."""
        topics = self.topics.by_type.get(type(event))
        if topics is None:
            self._heed(event, out, now)
            return None
        record: Record = event  # type: ignore[assignment]
        return topics.get(record.raw_symbol) or self._meet(record)

    def _heed(self, event: Event, out: list[Record], now: Now) -> None:
        """Do what an event asks for that is not a record."""
        if isinstance(event, Reply):
            self.outbox.append(event.frame)
        elif isinstance(event, Accepted):
            for key in self.subscriptions.accepted(event):
                happen(self.topics.known(*key, now), "accepted", out, now)
            self.subscriptions.send(now.mono)  # a request may have waited for this answer
        elif isinstance(event, Refused):
            self._heed_refusals(event, out, now)
        elif isinstance(event, Ignored):
            self.words.tell(NOTHING, event.reason)
        elif isinstance(event, Ready):
            self.subscriptions.begin(now.mono)
        elif isinstance(event, Denied):
            self.denied = event.reason[:LONGEST_WORD]
            if self._is_live:
                self.close_reason = f"the exchange refuses the keys: {self.denied}"
        elif isinstance(event, Hangup):
            self.subscriptions.reconnect_reason = f"the exchange is about to close the connection: {event.reason}"

    def _heed_refusals(self, event: Refused, out: list[Record], now: Now) -> None:
        if len(event.reason) > LONGEST_WORD:  # each refused topic keeps it
            event = structs.replace(event, reason=event.reason[:LONGEST_WORD])
        refused = self.subscriptions.refused(event, now.mono)
        for s in refused:
            self._heed_refusal(s, event, out, now)
        if not refused:
            self.words.tell(STRAY, event.reason)

    def _heed_refusal(self, s: Subscription, event: Refused, out: list[Record], now: Now) -> None:
        """A topic is down when all of it is refused: of candles, each interval that is asked for."""
        self._note_refusal(s, event)
        refusal = self.subscriptions.refusal((s.channel, s.raw_symbol))
        if refusal is None:
            return
        topic = self.topics.known(s.channel, s.raw_symbol, now)
        if event.meaning == "final":
            topic.close_gap(out, now, "none")
        happen(topic, "refused", out, now, refusal.reason)

    def _note_refusal(self, s: Subscription, event: Refused) -> None:
        """Count a refusal, and keep it for the log where it is news."""
        self._counts.refused += 1
        if self.subscriptions.log_once(s):
            interval = s.interval if s.channel == "candles" else None
            self.refusals.append(structs.replace(event, channel=s.channel, raw_symbol=s.raw_symbol, interval=interval))

    def _look_at(self, topic: Topic, out: list[Record], now: Now) -> None:
        """Look after one topic: ask for its missing trades or its book, and notice its silence."""
        due = NEVER_NS
        topic.looked_at = topic.heard
        if isinstance(topic, Numbered):
            self._answers.want_missing(topic, now)
        elif isinstance(topic, BookTopic) and topic.book is None and topic.state != "down":
            due = self._want_book(topic, now)
        topic.tick(out, now)
        topic.learn()
        if isinstance(topic, Numbered) and topic.holes():
            self._place.touch(topic)
        if self._is_live and not isinstance(topic, OrdersTopic):  # orders fare as their book does
            due = min(due, self._watch.look_at(topic, out, now))
        self._due.put(topic, due)

    def _want_book(self, topic: BookTopic, now: Now) -> int:
        """Ask for a book that is not there, if it does not come by itself or has not come in time.

        Gives when (monotonic ns) that is to be looked at again.
        """
        raw_symbol = topic.raw_symbol
        if raw_symbol is None:
            return NEVER_NS
        if self._resyncs.knows(raw_symbol):
            self._resyncs.remind(raw_symbol, now.mono)
            return self._resyncs.reminds(raw_symbol, now.mono)
        if self._asks_at_once or now.mono - topic.subscribed > ANSWER_NS:
            self._needs.append(BookNeed(raw_symbol))
            return now.mono + ANSWER_NS
        return topic.subscribed + ANSWER_NS + 1

    def _want_missing(self, raw_symbol: str) -> None:
        """Ask for a whole book, unless the stream has brought one meanwhile."""
        topic = self.topics.get("book", raw_symbol)
        if not isinstance(topic, BookTopic) or topic.book is None:
            self._needs.append(BookNeed(raw_symbol, has_failed=True))

    def _serve(self, now: Now) -> None:
        """Ask for the whole books that topics have come to need."""
        while self._needs:
            need = self._needs.popleft()
            topic = self.topics.get("book", need.raw_symbol)
            if topic is not None:
                self._place.touch(topic)
            if need.raw_symbol is not None and (self._is_live or self.stream.snapshot is not None):
                self._resyncs.need(need.raw_symbol, now.mono, failed=need.has_failed)
        self._resyncs.send(now.mono)

    def _beat_every(self) -> int:
        return int(self.stream.heartbeat.every * SECOND_NS) if self.stream.heartbeat else 0

    def _beat(self, now: Now) -> None:
        heartbeat = self.stream.heartbeat
        if heartbeat is not None and now.mono >= self._beat_at:
            self._beat_at = now.mono + self._beat_every()
            self.outbox.append(heartbeat.frame if isinstance(heartbeat.frame, bytes) else heartbeat.frame(now.wall))

    def _bad_answer(self, body: bytes, error: Exception, out: list[Record], now: Now) -> None:
        """Tell that an answer by REST cannot be read."""
        self._unreadable.note(body, error, now)
        self._counts.unread += 1
        out.append(self._unreadable.gap(1, now))

    def _end_run(self, out: list[Record], now: Now, *, doubt: bool = False) -> None:
        """Tell of the frames in a row that could not be read, if there are any."""
        gap = self._unreadable.take(now)
        if gap is not None:
            out.append(gap)
            self._reading = (*self._reading[:5], self._parse, self._reading[6])
        if doubt:
            self._doubt_books(out, now)

    def _doubt_books(self, out: list[Record], now: Now) -> None:
        """Doubt each book whose numbers cannot show what lost frames held."""
        if self._guards_books:
            return
        for topic in self.topics:
            if isinstance(topic, BookTopic) and topic.book is not None:
                topic.lose("parse_error", out, now)
            elif isinstance(topic, BookTopic):
                topic.forget()
