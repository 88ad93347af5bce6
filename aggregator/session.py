"""One conversation with an exchange, without the connection: frames and times go in, records come out.

What must be sent stands in `outbox`, whole books to be fetched in `wanted`; nothing here does I/O or reads a clock.
The live daemon, a replay, the sandbox's tests and every other test drive this very object.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from aggregator.asking import Asking, Key
from aggregator.books import BookTopic
from aggregator.errors import SessionError
from aggregator.exchange import (
    Accepted,
    Event,
    Hangup,
    Refused,
    Reply,
    Request,
    Since,
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
from aggregator.resyncs import Resyncs
from aggregator.sequence import unnumbered
from aggregator.topics import Carried, Now, Place, Sized, Topic, with_flag
from aggregator.trades import Numbered

SECOND = 1_000_000_000
HEALTH = 10 * SECOND  # between two health records of one topic
BACKFILL = 30 * SECOND  # that an answer to asked-for trades may take
FOREVER = 3600 * SECOND
MOVING = {"book", "bbo", "ticker"}  # channels that say something at once, on every market
BAD_FRAMES = 16  # kept for a look
MOST_TOPICS = 100_000  # that frames alone may bring into being


class BadFrameSeen(Struct):
    """A frame that could not be read, kept for a look."""

    frame: bytes
    error: Exception
    ts: int


class Fetch(Struct, frozen=True):
    """An answer that is wanted by REST."""

    purpose: Literal["snapshot", "backfill"]
    raw_symbol: str
    request: Request


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
        self.wanted: deque[Fetch] = deque()
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
        self._asking = Asking(stream, self.outbox)
        self._resyncs = Resyncs(stream.snapshot, self._asking, self.outbox, self._fetch_book)
        self._backfilling: dict[str, int] = {}  # raw symbol -> when it was last asked for
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
        self._asking.subscribe(self._subscriptions or (), now.mono)
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
        """Read the whole book that stood in `wanted`."""
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
        topic = self._topic("book", record.raw_symbol)
        record.exchange, record.symbol, record.ts_recv = self.exchange, topic.symbol, now.wall
        record.source = "rest" if self._source == "ws" else self._source
        topic.take(record, out, now)
        return out

    def receive_backfill(self, raw_symbol: str, body: bytes, now: Now) -> list[Record]:
        """Read the missing trades that stood in `wanted`."""
        out: list[Record] = []
        self._moment = now
        topic = self._channels["trades"].get(raw_symbol)
        if self.stream.backfill is None or not isinstance(topic, Numbered):
            return out
        try:
            trades = list(self.stream.backfill.parse(raw_symbol, body))
        except Exception as error:  # noqa: BLE001 - as for a frame
            self._bad_frame(body, error, out, now)
            return out
        topic.backfill(trades, out, now)
        topic.expect_backfill(0)
        return out

    def unanswered(self, fetch: Fetch) -> None:
        """An answer that is wanted could not be had: a book is asked for again later, trades stay missing."""
        if fetch.purpose == "snapshot":
            self._resync(fetch.raw_symbol)

    def tick(self, now: Now) -> list[Record]:
        """What is due by time alone; call it about every second. Raises SessionError when the connection is dead."""
        out: list[Record] = []
        self._moment = now
        if self._subscriptions is not None and now.mono - self._heard > self.stream.patience * SECOND:
            raise SessionError(f"{self.conn}: silent for {self.stream.patience} s")
        self._beat(now)
        for key in self._asking.overdue(now.mono):
            topic = self._all[key]
            if not topic.heard:
                self._say(topic, "stalled", out, now, "the subscription was not acknowledged")
        for topic in self._all.values():
            self._look_at(topic, out, now)
        self._resyncs.send(now.mono)
        if self._subscriptions is not None and now.mono >= self._health_at:
            self._health_at = now.mono + HEALTH
            out += [self._health(topic, now) for topic in self._all.values()]
        return out

    def _look_at(self, topic: Topic, out: list[Record], now: Now) -> None:
        """What time alone does to one topic: missing trades are asked for, and silence is noticed."""
        if isinstance(topic, Numbered):
            self._backfill(topic, now)
        elif isinstance(topic, BookTopic) and self._is_unasked(topic):
            self._resync(topic.raw_symbol)
        topic.tick(out, now)
        topic.pulse.learn(topic.count, topic.heard)
        if self._subscriptions is None or topic.state == "down":
            return
        silence = now.mono - max(topic.heard, topic.subscribed)
        if silence <= topic.pulse.deadline:
            if topic.heard and topic.gap is None and topic.state != "live":
                self._say(topic, "live", out, now)
        elif topic.state not in {"quiet", "stalled", "suspect"}:
            self._fall_silent(topic, out, now)
        elif topic.state == "stalled" and topic.is_due(now):
            self._ask_again(topic, out, now)

    def _is_unasked(self, topic: BookTopic) -> bool:
        """Whether a book must be fetched that no delta has asked for yet."""
        is_fetched = self.stream.snapshot is not None and topic.raw_symbol is not None
        return is_fetched and topic.book is None and not self._resyncs.knows(topic.raw_symbol or "")

    def _fall_silent(self, topic: Topic, out: list[Record], now: Now) -> None:
        """Nothing came for longer than this topic's rhythm allows."""
        if topic.heard:
            self._say(topic, "quiet", out, now, "silent for longer than is usual here")
            return
        self._say(topic, "stalled", out, now, "nothing has come since the subscription")
        if topic.channel in MOVING:
            topic.open_gap("no_first_frame", out, now)
            topic.state = "stalled"
        self._ask_again(topic, out, now)

    def _ask_again(self, topic: Topic, out: list[Record], now: Now) -> None:
        """Subscribe anew to a topic that never delivered; each time is waited for twice as long."""
        topic.retry(now)
        if self.stream.unsubscribe is None or topic.raw_symbol is None:
            return
        asked = [s for s in self._subscriptions or () if (s.channel, s.raw_symbol) == (topic.channel, topic.raw_symbol)]
        self._asking.resubscribe(asked, now.mono)
        out.append(self._health(topic, now, f"asked for again ({topic.retries})"))

    def _backfill(self, topic: Numbered, now: Now) -> None:
        """Ask for trades that are missing, once per hole."""
        backfill, holes = self.stream.backfill, topic.holes()
        if backfill is None or not holes or topic.raw_symbol is None:
            return
        first = holes[0][0]
        if self._backfilling.get(topic.raw_symbol) == first:
            return
        self._backfilling[topic.raw_symbol] = first
        topic.expect_backfill(now.mono + BACKFILL)
        since = Since(first - 1, topic.gap.ts_from if topic.gap else now.wall)
        self.wanted.append(Fetch("backfill", topic.raw_symbol, backfill.request(topic.raw_symbol, since)))

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
                topic.tick(out, Now(now.wall, now.mono + FOREVER))
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

    def is_good(self, channel: Channel, raw_symbol: str | None) -> bool:
        """Whether this connection can be relied on for a topic now."""
        topic = self._all.get((channel, raw_symbol))
        if topic is None or topic.gap is not None or topic.state in {"subscribing", "down", "stalled"}:
            return False
        return not isinstance(topic, BookTopic) or topic.book is not None

    def numbers(self) -> dict[Key, int]:
        """The last number of each topic that is numbered."""
        return {key: topic.last for key, topic in self._all.items() if topic.last is not None}

    @property
    def has_carried_data(self) -> bool:
        """Whether anything but acknowledgements has come: then a reconnect may be quick."""
        return any(topic.heard for topic in self._all.values())

    # --- topics -----------------------------------------------------------------------------------------------------

    def _meet(self, record: Record) -> Topic | None:
        """A record of a topic that is not known yet: taken where everything is, or the whole channel was asked for."""
        channel = CHANNEL_OF[type(record)]
        if self._subscriptions is not None and ("*" not in self._channels[channel] or len(self._all) > MOST_TOPICS):
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

    # --- what is not a record ----------------------------------------------------------------------------------------

    def _heed(self, event: Event, out: list[Record], now: Now) -> None:
        if isinstance(event, Reply):
            self.outbox.append(event.frame)
        elif isinstance(event, Accepted):
            for key in self._asking.accepted(event):
                if self._all[key].state == "subscribing":
                    self._say(self._all[key], "syncing", out, now)
        elif isinstance(event, Refused):
            for key in self._asking.refused(event, now.mono):
                self.refused[key] = event.reason
                self._say(self._all[key], "down", out, now, f"refused: {event.reason}")
        elif isinstance(event, Hangup):
            raise SessionError(f"{self.conn}: the exchange asks for a new connection: {event.reason}")

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

    # --- whole books ------------------------------------------------------------------------------------------------

    def _resync(self, raw_symbol: str | None) -> None:
        if raw_symbol is not None and (self._subscriptions is not None or self.stream.snapshot is not None):
            self._resyncs.need(raw_symbol, self._moment.mono)
            self._resyncs.send(self._moment.mono)

    def _fetch_book(self, raw_symbol: str) -> None:
        snapshot = self.stream.snapshot
        if snapshot is not None and snapshot.request is not None:
            self.wanted.append(Fetch("snapshot", raw_symbol, snapshot.request(raw_symbol)))

    # --- time -------------------------------------------------------------------------------------------------------

    def _beat_every(self) -> int:
        return int(self.stream.heartbeat.every * SECOND) if self.stream.heartbeat else 0

    def _beat(self, now: Now) -> None:
        heartbeat = self.stream.heartbeat
        if heartbeat is not None and now.mono >= self._beat_at:
            self._beat_at = now.mono + self._beat_every()
            self.outbox.append(heartbeat.frame if isinstance(heartbeat.frame, bytes) else heartbeat.frame(now.wall))

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
        if self.stream.sequence.get("book", unnumbered).sure or self.stream.checksum is not None:
            return
        for topic in self._channels["book"].values():
            if isinstance(topic, BookTopic) and topic.book is not None:
                topic.lose("parse_error", out, now)
