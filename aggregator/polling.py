"""One poll's answers as records: what is new in them, and what may have been missed between two."""

from collections.abc import Collection, Mapping

from aggregator.books import BookTopic
from aggregator.exchange import Poll
from aggregator.records import CHANNEL_OF, Channel, Gap, Health, Instrument, Record, Source, Trade
from aggregator.sequence import unnumbered
from aggregator.topics import Carried, Now, Place, Sized, Topic

SECOND = 1_000_000_000
HEALTH = 10 * SECOND


class PolledTrades(Sized):
    """Trades of overlapping answers: each once, by id, and a gap where two answers do not overlap."""

    __slots__ = ("_seen",)

    def __init__(self, raw_symbol: str | None, instrument: Instrument | None, place: Place) -> None:
        """Begin knowing no trade."""
        super().__init__("trades", raw_symbol, instrument, place, Carried())
        self._seen: set[str | None] = set()

    def take_all(self, trades: list[Trade], out: list[Record], now: Now) -> None:
        """Publish what the answer before did not hold; `trades` is one whole answer, oldest first."""
        ids = {trade.id for trade in trades}
        if self._seen and ids and self._seen.isdisjoint(ids):
            self.open_gap("overflow", out, now)  # more trades in between than one answer holds
        first = not self.count
        for trade in trades:
            if trade.id not in self._seen:
                if first:
                    trade.flags = ("snapshot",)
                self.take(trade, out, now)
        self._seen = ids or self._seen


class Polling:
    """The answers of one declared poll; no I/O, no clock."""

    def __init__(
        self,
        exchange: str,
        poll: Poll,
        *,
        conn: str,
        instruments: Mapping[str, Instrument],
        wanted: Collection[tuple[Channel, str]] | None = None,
        source: Source = "rest",
    ) -> None:
        """Prepare; with no `wanted` topics every record is taken."""
        self.exchange = exchange
        self.poll = poll
        self.conn = conn
        self.bad = 0
        self._instruments = instruments
        self._wanted = wanted
        self._source: Source = source
        self._topics: dict[tuple[Channel, str | None], Topic] = {}
        self._health_at = 0

    def receive(self, raw_symbol: str, body: bytes, now: Now) -> list[Record]:
        """Read one answer; one that cannot be read is a gap of cause `parse_error`."""
        out: list[Record] = []
        try:
            records = list(self.poll.parse(raw_symbol, body))
        except Exception:  # noqa: BLE001 - whatever a hostile answer provokes, it is one answer lost
            self.bad += 1
            out.append(self._unread(raw_symbol, now))
            return out
        trades: dict[str | None, list[Trade]] = {}
        for record in records:
            channel = CHANNEL_OF[type(record)]
            if self._wanted is not None and (channel, record.raw_symbol) not in self._wanted:
                continue
            topic = self._topic(channel, record.raw_symbol)
            record.exchange, record.symbol = self.exchange, topic.symbol
            record.ts_recv, record.conn, record.source = now.wall, self.conn, self._source
            topic.heard = now.mono
            if isinstance(record, Trade):
                trades.setdefault(record.raw_symbol, []).append(record)
            else:
                topic.take(record, out, now)
        for symbol, answered in trades.items():
            topic = self._topic("trades", symbol)
            if isinstance(topic, PolledTrades):
                topic.take_all(answered, out, now)
        return out

    def failed(self, raw_symbol: str, reason: str, now: Now) -> list[Record]:
        """No answer came: say so, once until one comes again."""
        out: list[Record] = []
        for channel in self.poll.channels:
            topic = self._topic(channel, raw_symbol or None)
            if topic.state != "down":
                topic.state = "down"
                out.append(self._health(topic, now, reason))
        return out

    def tick(self, now: Now) -> list[Record]:
        """Health, every so often."""
        if now.mono < self._health_at:
            return []
        self._health_at = now.mono + HEALTH
        return [self._health(topic, now, None) for topic in self._topics.values()]

    def close(self, now: Now) -> list[Record]:
        """Asking has stopped: what is heard next comes after a hole."""
        out: list[Record] = []
        for topic in self._topics.values():
            if topic.heard:
                topic.open_gap("disconnect", out, now)
        return out

    def _topic(self, channel: Channel, raw_symbol: str | None) -> Topic:
        topic = self._topics.get((channel, raw_symbol))
        if topic is None:
            topic = self._topics[channel, raw_symbol] = self._new_topic(channel, raw_symbol)
        if topic.state in {"subscribing", "down"}:
            topic.state = "live"
        return topic

    def _new_topic(self, channel: Channel, raw_symbol: str | None) -> Topic:
        instrument = self._instruments.get(raw_symbol or "")
        place = Place(self.exchange, self.conn)
        if channel == "trades":
            return PolledTrades(raw_symbol, instrument, place)
        if channel == "book":
            return BookTopic(
                raw_symbol,
                instrument,
                place,
                Carried(),
                rule=unnumbered,
                depth=None,
                checksum=None,
                resync=lambda _: None,
                in_band=True,
            )
        return Topic(channel, raw_symbol, instrument, place, Carried())

    def _health(self, topic: Topic, now: Now, reason: str | None) -> Health:
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

    def _unread(self, raw_symbol: str, now: Now) -> Gap:
        instrument = self._instruments.get(raw_symbol)
        return Gap(
            exchange=self.exchange,
            symbol=instrument.symbol if instrument else None,
            raw_symbol=raw_symbol or None,
            ts_recv=now.wall,
            conn=self.conn,
            source="derived",
            gap_id=f"{self.conn}:*:{raw_symbol or '*'}:{self.bad}",
            phase="close",
            cause="parse_error",
            ts_from=now.wall,
            ts_to=now.wall,
            repair="none",
        )
