"""One conversation with an exchange, without the connection: frames and times go in, records come out.

What must be sent stands in `outbox`, whole books to be fetched in `wanted`; nothing here does I/O or reads a clock.
The live daemon, a replay, the sandbox's tests and every other test drive this very object.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from msgspec import Struct

from aggregator.errors import SessionError
from aggregator.exchange import (
    Accepted,
    Event,
    Hangup,
    Refused,
    Reply,
    Stream,
    Subscription,
)
from aggregator.records import (
    CHANNEL_OF,
    CHANNELS,
    BookSnapshot,
    Cause,
    Channel,
    Gap,
    Health,
    Instrument,
    Record,
    Source,
    TopicState,
)
from aggregator.sequence import unnumbered
from aggregator.topics import (
    BookTopic,
    Carried,
    Now,
    Numbered,
    Place,
    Sized,
    Topic,
    with_flag,
)

SECOND = 1_000_000_000
ACKNOWLEDGE = 10 * SECOND  # how long an acknowledgement may take
HEALTH = 10 * SECOND  # between two health records of one topic
FIRST_RETRY = SECOND // 2  # before a whole book is asked for again; doubles each time
LAST_RETRY = 60 * SECOND
BAD_FRAMES = 16  # kept for a look
MOST_TOPICS = 100_000  # that frames alone may bring into being

Key = tuple[Channel, str | None]


class BadFrameSeen(Struct):
    """A frame that could not be read, kept for a look."""

    frame: bytes
    error: Exception
    ts: int


class Resync(Struct):
    """A whole book that is needed: when it is asked for, and how often it has been."""

    due: int
    tries: int = 0
    asked: bool = False


class Session:
    """One connection's worth of state; every new connection gets a new one."""

    def __init__(
        self,
        exchange: str,
        stream: Stream,
        *,
        conn: str,
        instruments: Mapping[str, Instrument],
        subscriptions: Sequence[Subscription] | None = None,
        carried: Mapping[Key, Carried] | None = None,
        source: Source = "ws",
    ) -> None:
        """Prepare; with no `subscriptions` every record that comes is taken (a replay of what was asked then).

        instruments: raw symbol -> instrument, of those that this stream serves
        carried: what the connection before left over
        """
        self.exchange = exchange
        self.stream = stream
        self.conn = conn
        self.outbox: deque[bytes] = deque()
        self.wanted: deque[str] = deque()
        self.bad_frames: deque[BadFrameSeen] = deque(maxlen=BAD_FRAMES)
        self.frames = 0
        self.bad = 0
        self.unwanted = 0
        self.refused: dict[Key, str] = {}
        self._source: Source = source
        self._instruments = instruments
        self._subscriptions = subscriptions
        self._carried = dict(carried or {})
        self._all: dict[Key, Topic] = {}
        self._parse = stream.parser() if stream.parser is not None else stream.parse
        self._inflate = stream.inflate
        self._asks: dict[int, list[Subscription]] = {}
        self._asked_at: dict[int, int] = {}
        self._next_id = 1
        self._resyncs: dict[str | None, Resync] = {}
        self._heard = 0
        self._wall = 0
        self._beat_at = 0
        self._health_at = 0
        self._gaps = 0
        self._moment = Now(0, 0)
        self._channels: dict[Channel, dict[str | None, Topic]] = {channel: {} for channel in CHANNELS}
        self._topics: dict[type, dict[str | None, Topic]] = {
            record: self._channels[channel] for record, channel in CHANNEL_OF.items()
        }

    # --- the conversation -------------------------------------------------------------------------------------------

    def open(self, now: Now) -> list[Record]:
        """The connection stands: put the subscriptions into the outbox."""
        out: list[Record] = []
        self._moment = now
        self._heard = now.mono
        self._beat_at = now.mono + self._beat_every()
        self._health_at = now.mono + HEALTH
        for subscription in self._subscriptions or ():
            topic = self._topic(subscription.channel, subscription.raw_symbol)
            self._say(topic, "subscribing", out, now)
        self._ask(list(self._subscriptions or ()), now)
        return out

    def receive(self, frame: bytes, now: Now) -> list[Record]:  # noqa: C901 - hot: it calls nothing that it can do itself
        """Read one frame. Raises SessionError when the exchange asks for a new connection."""
        out: list[Record] = []
        wall, mono = now
        exchange, conn, topics_of = self.exchange, self.conn, self._topics
        self.frames += 1
        self._moment = now
        self._heard = mono
        try:
            if self._inflate is not None:
                frame = self._inflate(frame)
            for event in self._parse(frame):  # type: ignore[misc]
                topics = topics_of.get(type(event))
                if topics is None:
                    self._heed(event, out, now)
                    continue
                record: Record = event  # type: ignore[assignment]
                topic = topics.get(record.raw_symbol)
                if topic is None:
                    topic = self._meet(record)
                    if topic is None:
                        continue
                record.exchange = exchange
                record.symbol = topic.symbol
                record.ts_recv = wall
                record.conn = conn
                topic.heard = mono
                topic.take(record, out, now)
        except SessionError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a hostile frame provokes, it is one frame lost
            self._bad_frame(frame, error, out, now)
        if wall < self._wall:
            for record in out:
                with_flag(record, "bad_ts")
        else:
            self._wall = wall
        if self._source != "ws":
            for record in out:
                record.source = self._source if record.source == "ws" else record.source
        return out

    def receive_snapshot(self, raw_symbol: str, body: bytes, now: Now) -> list[Record]:
        """Read the answer to a snapshot that stood in `wanted`."""
        out: list[Record] = []
        self._moment = now
        snapshot = self.stream.snapshot
        if snapshot is None or snapshot.parse is None:
            return out
        try:
            record = snapshot.parse(raw_symbol, body)
        except Exception as error:  # noqa: BLE001 - as for a frame
            self._bad_frame(body, error, out, now)
            self._resync(raw_symbol)
            return out
        self._requested(record, out, now, "rest" if self._source == "ws" else self._source)
        return out

    def snapshot_failed(self, raw_symbol: str) -> None:
        """The snapshot could not be had: it is asked for again later."""
        self._resync(raw_symbol)

    def tick(self, now: Now) -> list[Record]:
        """What is due by time alone; call it about every second. Raises SessionError when the connection is dead."""
        out: list[Record] = []
        self._moment = now
        if self._subscriptions is not None and now.mono - self._heard > self.stream.patience * SECOND:
            raise SessionError(f"{self.conn}: silent for {self.stream.patience} s")
        self._beat(now)
        self._chase(out, now)
        for topic in self._all.values():
            topic.tick(out, now)
        if self._subscriptions is not None and now.mono >= self._health_at:
            self._health_at = now.mono + HEALTH
            self._report(out, now)
        return out

    def close(self, cause: Cause, now: Now) -> list[Record]:
        """The connection is gone: open a gap for every topic that had carried something."""
        out: list[Record] = []
        for topic in self._all.values():
            if isinstance(topic, BookTopic):
                topic.book = None
            if topic.heard:
                topic.open_gap(cause, out, now)
        return out

    def end(self, now: Now) -> list[Record]:
        """There is nothing more to come (a capture's end): say what was held back, and leave no book half joined."""
        out: list[Record] = []
        for topic in self._all.values():
            if isinstance(topic, BookTopic) and topic.book is None and topic.withheld:
                topic.open_gap("no_first_frame", out, now, missed=topic.withheld)
            elif isinstance(topic, Numbered):
                topic.tick(out, Now(now.wall, now.mono + LAST_RETRY))
        return out

    def carried(self) -> dict[Key, Carried]:
        """What the next connection begins with."""
        return self._carried | {key: topic.carried() for key, topic in self._all.items()}

    def books(self, now: Now, raw_symbol: str | None = None) -> list[BookSnapshot]:
        """Every book that can be trusted now (or the one of `raw_symbol`), as records."""
        books = self._channels["book"]
        topics = books.values() if raw_symbol is None else [books[raw_symbol]] if raw_symbol in books else []
        found = (topic.snapshot(now) for topic in topics if isinstance(topic, BookTopic))
        return [snapshot for snapshot in found if snapshot is not None]

    @property
    def moment(self) -> Now:
        """The time of the last thing that happened here."""
        return self._moment

    @property
    def has_carried_data(self) -> bool:
        """Whether anything but acknowledgements has come: then a reconnect may be quick."""
        return any(topic.heard for topic in self._all.values())

    # --- topics -----------------------------------------------------------------------------------------------------

    def _meet(self, record: Record) -> Topic | None:
        """A record of a topic that is not known yet: taken where everything is, or the whole channel was asked for."""
        channel = CHANNEL_OF[type(record)]
        if self._subscriptions is not None and ("*" not in self._topics[type(record)] or len(self._all) > MOST_TOPICS):
            self.unwanted += 1
            return None
        return self._topic(channel, record.raw_symbol)

    def _topic(self, channel: Channel, raw_symbol: str | None) -> Topic:
        key = (channel, raw_symbol)
        topic = self._all.get(key)
        if topic is not None:
            return topic
        topic = self._all[key] = self._new_topic(channel, raw_symbol)
        topic.subscribed = self._moment.mono
        self._channels[channel][raw_symbol] = topic
        return topic

    def _new_topic(self, channel: Channel, raw_symbol: str | None) -> Topic:
        instrument = self._instruments.get(raw_symbol or "")
        place = Place(self.exchange, self.conn)
        carried = self._carried.pop((channel, raw_symbol), Carried())
        rule = self.stream.sequence.get(channel)
        if channel == "book":
            return BookTopic(
                raw_symbol,
                instrument,
                place,
                carried,
                rule=rule or unnumbered,
                depth=self.stream.depth,
                checksum=self.stream.checksum,
                resync=self._resync,
                in_band=self.stream.snapshot is None,
            )
        if rule is not None:
            return Numbered(channel, raw_symbol, instrument, place, carried, rule)
        if channel in {"trades", "liquidations"}:
            return Sized(channel, raw_symbol, instrument, place, carried)
        return Topic(channel, raw_symbol, instrument, place, carried)

    # --- subscriptions ----------------------------------------------------------------------------------------------

    def _ask(self, subscriptions: list[Subscription], now: Now) -> None:
        for start in range(0, len(subscriptions), self.stream.batch):
            part = subscriptions[start : start + self.stream.batch]
            self._asks[self._next_id] = part
            self._asked_at[self._next_id] = now.mono
            self.outbox.extend(self.stream.subscribe(part, self._next_id))
            self._next_id += 1

    def _heed(self, event: Event, out: list[Record], now: Now) -> None:
        if isinstance(event, Reply):
            self.outbox.append(event.frame)
        elif isinstance(event, Accepted):
            for topic in self._named(event.id, event.channel, event.raw_symbol, forget=True):
                self._say(
                    topic,
                    "syncing" if isinstance(topic, BookTopic) else "quiet",
                    out,
                    now,
                )
        elif isinstance(event, Refused):
            self._refuse(event, out, now)
        elif isinstance(event, Hangup):
            raise SessionError(f"{self.conn}: the exchange asks for a new connection: {event.reason}")

    def _named(
        self,
        id: int | None,
        channel: Channel | None,
        raw_symbol: str | None,
        *,
        forget: bool,
    ) -> list[Topic]:
        """The topics that an acknowledgement or refusal is about."""
        if id is not None:
            asked = (self._asks.pop(id, []) if forget else self._asks.get(id)) or []
            self._asked_at.pop(id, None)
            return [self._topic(wanted.channel, wanted.raw_symbol) for wanted in asked]
        return [
            topic
            for (of_channel, of_symbol), topic in self._all.items()
            if raw_symbol is not None and of_symbol == raw_symbol and channel in {None, of_channel}
        ]

    def _refuse(self, event: Refused, out: list[Record], now: Now) -> None:
        asked = self._asks.get(event.id, []) if event.id is not None else []
        if len(asked) > 1:  # one bad symbol takes no other down with it: ask for each alone
            del self._asks[event.id]  # type: ignore[arg-type]
            self._asked_at.pop(event.id, None)  # type: ignore[arg-type]
            for subscription in asked:
                self._ask([subscription], now)
            return
        for topic in self._named(event.id, event.channel, event.raw_symbol, forget=True):
            self.refused[topic.channel, topic.raw_symbol] = event.reason
            self._say(topic, "down", out, now, f"refused: {event.reason}")

    def _say(
        self,
        topic: Topic,
        state: TopicState,
        out: list[Record],
        now: Now,
        reason: str | None = None,
    ) -> None:
        topic.state = state
        out.append(self._health(topic, now, reason))

    def _health(self, topic: Topic, now: Now, reason: str | None = None) -> Health:
        return Health(
            exchange=self.exchange,
            symbol=topic.symbol,
            raw_symbol=topic.raw_symbol,
            ts_recv=now.wall,
            conn=self.conn,
            source="derived",
            channel=topic.channel,
            state=topic.state,
            age_ms=(now.mono - topic.heard) // 1_000_000 if topic.heard else None,
            reason=reason,
        )

    def _report(self, out: list[Record], now: Now) -> None:
        for topic in self._all.values():
            if topic.state not in {"down", "suspect"} or (topic.heard and topic.gap is None):
                silent = not topic.heard
                topic.state = topic.state if silent else "live"
            out.append(self._health(topic, now))

    # --- whole books ------------------------------------------------------------------------------------------------

    def _resync(self, raw_symbol: str | None) -> None:
        """Ask for a whole book: at once the first time, then ever more slowly until one has fitted for a while."""
        now = self._moment.mono
        resync = self._resyncs.get(raw_symbol)
        if resync is None:
            self._resyncs[raw_symbol] = Resync(due=now)
        elif resync.asked:
            quiet = now - resync.due > LAST_RETRY
            resync.tries = 0 if quiet else resync.tries + 1
            resync.due = now + (0 if quiet else min(FIRST_RETRY << min(resync.tries, 10), LAST_RETRY))
            resync.asked = False
        self._send_resyncs()

    def _send_resyncs(self) -> None:
        now = self._moment
        snapshot = self.stream.snapshot
        for raw_symbol, resync in self._resyncs.items():
            if resync.asked or resync.due > now.mono or raw_symbol is None:
                continue
            resync.asked = True
            resync.due = now.mono
            if snapshot is None:
                self._resubscribe(Subscription("book", raw_symbol), now)
            elif snapshot.ask is not None:
                self.outbox.append(snapshot.ask(raw_symbol, self._next_id))
                self._next_id += 1
            else:
                self.wanted.append(raw_symbol)

    def _resubscribe(self, subscription: Subscription, now: Now) -> None:
        if self._subscriptions is None:
            return
        if self.stream.unsubscribe is None:
            raise SessionError(
                f"{self.conn}: {subscription.raw_symbol} needs a new book, and only a new connection brings one"
            )
        self.outbox.extend(self.stream.unsubscribe([subscription], self._next_id))
        self._next_id += 1
        self._ask([subscription], now)

    def _requested(self, record: BookSnapshot, out: list[Record], now: Now, source: Source) -> None:
        topic = self._topic("book", record.raw_symbol)
        record.exchange, record.symbol = self.exchange, topic.symbol
        record.ts_recv, record.conn, record.source = (
            now.wall,
            f"{self.conn}/snapshot",
            source,
        )
        topic.take(record, out, now)

    # --- time -------------------------------------------------------------------------------------------------------

    def _beat_every(self) -> int:
        return int(self.stream.heartbeat.every * SECOND) if self.stream.heartbeat else 0

    def _beat(self, now: Now) -> None:
        heartbeat = self.stream.heartbeat
        if heartbeat is not None and now.mono >= self._beat_at:
            self._beat_at = now.mono + self._beat_every()
            self.outbox.append(heartbeat.frame if isinstance(heartbeat.frame, bytes) else heartbeat.frame(now.wall))

    def _chase(self, out: list[Record], now: Now) -> None:
        """Name the subscriptions that nobody confirmed, and fetch the books that are due."""
        for id, asked_at in list(self._asked_at.items()):
            if now.mono - asked_at > ACKNOWLEDGE:
                del self._asked_at[id]
                if self.stream.acknowledges:
                    for wanted in self._asks.get(id, ()):
                        topic = self._topic(wanted.channel, wanted.raw_symbol)
                        if not topic.heard:
                            self._say(
                                topic,
                                "stalled",
                                out,
                                now,
                                "the subscription was not acknowledged",
                            )
        if self.stream.snapshot is not None:
            for topic in self._all.values():
                if isinstance(topic, BookTopic) and topic.book is None and topic.raw_symbol not in self._resyncs:
                    self._resync(topic.raw_symbol)
        self._send_resyncs()

    def _bad_frame(self, frame: bytes, error: Exception, out: list[Record], now: Now) -> None:
        """One frame is lost: say so; books whose numbers cannot show what it held are in doubt."""
        self.bad += 1
        self._gaps += 1
        self.bad_frames.append(BadFrameSeen(frame[:4096], error, now.wall))
        out.append(
            Gap(
                exchange=self.exchange,
                ts_recv=now.wall,
                conn=self.conn,
                source="derived",
                gap_id=f"{self.conn}:*:*:{self._gaps}",
                phase="close",
                cause="parse_error",
                ts_from=now.wall,
                ts_to=now.wall,
                missed=None,
                repair="none",
            )
        )
        for topic in self._all.values():
            rule = self.stream.sequence.get("book", unnumbered)
            if (
                isinstance(topic, BookTopic)
                and topic.book is not None
                and not rule.sure
                and self.stream.checksum is None
            ):
                topic.lose("parse_error", out, now)
