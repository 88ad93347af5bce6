"""A capture through the same sessions that run live: its own times, its own connections, no network and no clock."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from aggregator.capture.line import CaptureLine
from aggregator.capture.replayed import ReplayedSessions
from aggregator.errors import SessionError
from aggregator.exchange import ANY, Exchange, Ignored, Poll, Request, Stream
from aggregator.records import CHANNEL_OF, CHANNELS, SECOND_NS, Gap, Instrument, Record, Source
from aggregator.session.moment import Now
from aggregator.session.naming import spoken
from aggregator.session.polled import Polling
from aggregator.session.session import UNWANTED, Session
from aggregator.session.topics import NOTHING, Words, fill_amounts

TICK_NS = SECOND_NS
WHOLLY = 3  # a stream declares the channels of all records of a frame, and serves their instruments


class Reader:
    """The part that all ways of reading a capture share: the stream of a frame, and the capture's time."""

    def __init__(self, exchange: Exchange, instruments: Sequence[Instrument], stream: str | None) -> None:
        """Read frames of `exchange`; `stream` names one stream (or poll), else each frame finds its own.

        Raises ValueError when the exchange has none of that name.
        """
        self.exchange = exchange
        self._instruments = list(instruments)
        streams = (*exchange.streams, *exchange.archived)
        self._only = next((s for s in streams if s.name == stream), None)
        self._polls = [p for p in exchange.polls if stream in {None, p.name}]
        self._is_streamed = bool(streams) and (stream is None or self._only is not None)
        if stream is not None and self._only is None and not self._polls:
            names = ", ".join(feed.name for feed in (*exchange.feeds, *exchange.archived)) or "none"
            raise ValueError(f"{exchange.id} has no stream {stream!r}; it has: {names}")
        self._named = {s.name: s for s in streams}
        self._older = {s.name for s in exchange.archived}
        self._parses = {s.name: spoken(s, self.instruments_of(s)).reader() for s in streams}
        self._served = {s.name: self.instruments_of(s).keys() for s in streams}
        self._tried: dict[
            str, list[object]
        ] = {}  # the events that each stream reads in the frame whose stream is sought
        self._at = 0
        self.words = Words()  # words that mean nothing to us, for the log

    def instruments_of(self, feed: Stream | Poll) -> dict[str, Instrument]:
        """The instruments that a feed serves, by raw symbol."""
        return {i.raw_symbol: i for i in self._instruments if i.raw_symbol is not None and feed.serves(i)}

    def now(self, line: CaptureLine) -> Now:
        """The capture's time: the monotonic clock never runs back."""
        wall = line.time
        self._at = max(self._at, wall)
        return Now(wall, self._at)

    def stream_of(self, url: str, frame: bytes, conn: str = "", ts: int = 0) -> Stream:
        """The stream that `conn` names, else of those whose address matches the one that the frame's records are of.

        conn: `exchange/stream.shard#attempt`, as the daemon names its connections; anything else names none
        ts: when the frame came (ns), which tells the format that the exchange spoke then; 0: it is not known
        """
        self._tried.clear()
        if self._only is not None:
            return self._only
        named = self._named_by(conn)
        if named is not None:
            return named
        streams = self.exchange.streams_at(ts)
        if not streams:
            raise ValueError(f"{self.exchange.id} has no stream: its feeds are polled")
        if len(streams) == 1:
            return streams[0]
        today = matching([stream for stream in streams if stream.name not in self._older], url)
        fitting = [stream for stream in streams if not today or stream in today or stream.name in self._older]
        return fitting[0] if len(fitting) == 1 else self._readable(fitting, frame)

    def _named_by(self, conn: str) -> Stream | None:
        return self._named.get(conn.partition("/")[2].rpartition(".")[0])

    def _readable(self, streams: Sequence[Stream], frame: bytes) -> Stream:
        """The stream that declares the channels of the frame's records and serves their instruments, or nearly so.

        Several streams of an exchange may read a frame, and each would check its records by a rule of its own.
        """
        best, most = streams[0], -1
        unread: Stream | None = None
        for stream in streams:
            try:
                said = self._tried[stream.name] = list(self.events(stream, frame))
            except Exception:  # noqa: BLE001 - it is not this stream's, whatever it says
                unread = unread or (stream if streams[0].name in self._older else None)
                continue
            fit = self._fit(stream, said)
            if fit > most and (most <= 0 or stream.parser is None):  # one that remembers would have missed the start
                best, most = stream, fit
            if fit == WHOLLY:
                break
        if most <= 0 and unread is not None:  # to another format it only means nothing
            return unread
        if most < 0:  # a frame that no stream can read may have changed a book, which is then suspect
            return next((stream for stream in streams if "book" in stream.channels), best)
        return best

    def _fit(self, stream: Stream, said: Iterable[object]) -> int:
        """How well a stream fits the events that it has read; a frame without records fits every stream."""
        records = [event for event in said if isinstance(event, Record)]
        if not records:
            return 0
        served = self._served[stream.name]
        declares = all(CHANNEL_OF.get(type(record)) in stream.channels for record in records)
        serves = not self._instruments or any(record.raw_symbol in served for record in records)
        return 1 + declares + serves

    def events(self, stream: Stream | Poll, frame: bytes) -> Iterable[object]:
        """The events that the parser makes of a frame, once. Raises whatever an unreadable frame provokes."""
        if stream.name in self._tried:
            return self._tried.pop(stream.name)  # a parser with a memory must not hear a frame twice
        parse = self._parses[stream.name]
        if parse is None or isinstance(stream, Poll):
            return ()
        return list(parse(stream.inflate(frame) if stream.inflate is not None else frame))


def matching(streams: Sequence[Stream], url: str) -> list[Stream]:
    """The streams whose host and path are those of `url`; of several paths, those with the longest common one."""
    asked = urlsplit(url)
    best: list[Stream] = []
    longest = -1
    for stream in streams:
        address = stream.url if isinstance(stream.url, str) else stream.url(())
        own = urlsplit(address)
        if own.hostname != asked.hostname or not asked.path.rstrip("/").startswith(own.path.rstrip("/")):
            continue
        if len(own.path) > longest:
            best, longest = [], len(own.path)
        if len(own.path) == longest:
            best.append(stream)
    return best


class ParseOnly(Reader):
    """The events that the parser makes of frames and REST answers: no book is joined, no sequence is checked."""

    def feed(self, line: CaptureLine) -> list[Record]:
        """The records of one line. Raises what a frame that cannot be read provokes."""
        feed: Stream | Poll
        events: Iterable[object]
        if line.dir == "in" and self._is_streamed:
            frame = line.payload
            feed = self.stream_of(line.address, frame, line.conn, line.time)
            events = self.events(feed, frame)
        elif line.dir == "rest" and line.address:
            feed, events = self._answered(line)
        elif line.dir in {"in", "rest"} and self._polls:
            feed, events = self._polled(line.payload)
        else:
            return []
        now = self.now(line)
        known = self.instruments_of(feed)
        records = []
        for event in events:
            if isinstance(event, Record):
                records.append(event)
            elif isinstance(event, Ignored):
                self.words.tell(NOTHING, event.reason)
        for record in records:
            instrument = known.get(record.raw_symbol or "")
            record.exchange = self.exchange.id
            record.symbol = instrument.symbol if instrument else None
            record.ts_recv, record.source = now.wall, "replay"
            fill_amounts(record, instrument)
        return records

    def _polled(self, body: bytes) -> tuple[Poll, list[Record]]:
        """Read an answer to an unknown request, by the first poll that finds records. Raises as the last one does."""
        unread: Exception | None = None
        for poll in self._polls:
            try:
                records = list(poll.parse("", body))
            except Exception as error:  # noqa: BLE001 - it is not this poll's, whatever it says
                unread = error
                continue
            if records:
                for record in records:
                    record.raw_symbol = record.raw_symbol or None
                return poll, records
        if unread is not None:
            raise unread
        return self._polls[0], []

    def _answered(self, line: CaptureLine) -> tuple[Stream | Poll, Iterable[object]]:
        for feed in self.exchange.feeds:
            known = self.instruments_of(feed)
            if isinstance(feed, Poll):
                raw_symbol = asked_for(feed.request, line.address, ("",) if feed.many else known)
                if raw_symbol is not None:
                    return feed, list(feed.parse(raw_symbol, line.payload))
            elif feed.snapshot is not None and feed.snapshot.request is not None and feed.snapshot.parse is not None:
                raw_symbol = asked_for(feed.snapshot.request, line.address, known)
                if raw_symbol is not None:
                    return feed, [feed.snapshot.parse(raw_symbol, line.payload)]
        return (*self.exchange.feeds, *self.exchange.archived)[0], ()


class Replay(Reader):
    """A capture through sessions: one a connection, books joined, sequences checked, gaps told."""

    def __init__(
        self,
        exchange: Exchange,
        instruments: Sequence[Instrument],
        *,
        stream: str | None = None,
        source: Source = "replay",
    ) -> None:
        """Read as `Reader` does; the records will have this `source`."""
        super().__init__(exchange, instruments, stream)
        self._source: Source = source
        self._urls: dict[str, str] = {}
        self._connections = ReplayedSessions(exchange.id, source)
        self._pollings: dict[str, Polling] = {}
        self._tick_at = 0
        self._last = Now(0, 0)
        self.bad_frames: list[tuple[Exception, bytes]] = []

    def feed(self, line: CaptureLine) -> list[Record]:
        """The records of one line, and of the time that passed before it."""
        now = self._last = self.now(line)
        out = self._tick(now)
        if line.dir == "open":
            self._urls[line.conn] = line.address
            if line.ends:
                self._connections.expect_end(line.conn)
        elif line.dir == "close":
            out += self._connections.close(line.conn, "restart" if line.raw == UNWANTED else "disconnect", now)
        elif line.dir == "rest":
            out += self._rest(line, now)
        elif line.dir == "in":
            frame = line.payload
            stream = self.stream_of(line.address or self._urls.get(line.conn, ""), frame, line.conn, now.wall)
            session = self._session(stream, line.conn)
            out += self._connections.merged(session, session.receive((frame,), now), now)
            if session.close_reason is not None:
                out += self._connections.close(line.conn, "disconnect", now)
                self.bad_frames.append((SessionError(session.close_reason), frame))
            session.outbox.clear()
            self.bad_frames += [(bad.error, bad.frame) for bad in session.bad_frames]
            session.bad_frames.clear()
            self.words.news += session.words.news
            session.words.news.clear()
        return out

    def end(self) -> list[Record]:
        """Give the last records when the capture is over."""
        return self._connections.end(self._last)

    def _session(self, stream: Stream, conn: str) -> Session:
        session = self._connections.get(stream, conn)
        if session is not None:
            return session
        # a connection that the daemon has named carried what its stream declares; any other may be a stranger's
        channels = stream.channels if self._named_by(conn) is stream else CHANNELS
        return self._connections.begin(stream, conn, self.instruments_of(stream), channels, self._last)

    def _tick(self, now: Now) -> list[Record]:
        if now.mono < self._tick_at:
            return []
        self._tick_at = now.mono + TICK_NS
        return self._connections.tick(now)

    def _rest(self, line: CaptureLine, now: Now) -> list[Record]:
        """Read a REST answer: a book's snapshot, or the answer to a poll."""
        body = line.payload
        for feed in self.exchange.feeds:
            known = self.instruments_of(feed)
            if isinstance(feed, Poll):
                out = self._poll_answer(feed, known, line, body, now)
            else:
                out = self._answer(feed, known, line, body, now)
            if out is not None:
                return out
        return []

    def _poll_answer(
        self, poll: Poll, known: Mapping[str, Instrument], line: CaptureLine, body: bytes, now: Now
    ) -> list[Record] | None:
        """The records that a poll makes of a REST answer; None if it is not its own."""
        raw_symbol = asked_for(poll.request, line.address, ("",) if poll.many else known)
        if raw_symbol is None:
            return None
        polling = self._polling(poll, known)
        if line.is_refused:
            return polling.failed(raw_symbol, f"HTTP {line.status}", now)
        return polling.receive(raw_symbol, body, now)

    def _answer(
        self, stream: Stream, known: Mapping[str, Instrument], line: CaptureLine, body: bytes, now: Now
    ) -> list[Record] | None:
        """The records that a stream's sessions make of a REST answer; None if it is not theirs."""
        wanting = self._connections.wanting(stream, line.address)
        if wanting is not None:
            session, wanted = wanting
            session.wanted.remove(wanted)
            if line.is_refused:
                session.unanswered(wanted)
                return []
            return self._connections.merged(session, session.answer(wanted, body, now), now)
        if stream.snapshot is None or stream.snapshot.request is None or line.is_refused:
            return None
        raw_symbol = asked_for(stream.snapshot.request, line.address, known)
        if raw_symbol is None:
            return None
        conn = self._connections.newest(stream)
        session = self._session(stream, self._newest(stream) if conn is None else conn)
        return self._connections.merged(session, session.receive_snapshot(raw_symbol, body, now), now)

    def _newest(self, stream: Stream) -> str:
        """The connection that was opened last for a stream that has said nothing yet."""
        opened = (conn for conn, url in reversed(self._urls.items()) if self.stream_of(url, b"", conn) is stream)
        return next(opened, "")

    def _polling(self, poll: Poll, known: Mapping[str, Instrument]) -> Polling:
        polling = self._pollings.get(poll.name)
        if polling is None:
            conn = f"{self.exchange.id}/{poll.name}#1"
            polling = Polling(self.exchange.id, poll, conn=conn, instruments=known, source=self._source)
            self._pollings[poll.name] = polling
        return polling


def asked_for(request: Callable[[str], Request], url: str, raw_symbols: Iterable[str]) -> str | None:
    """The raw symbol for which a request has this address; of one that is not known, the part that stands for it."""
    for raw_symbol in raw_symbols:
        if request(raw_symbol).url == url:
            return raw_symbol
    before, found, after = request(ANY).url.partition(ANY)
    if found and url.startswith(before) and url.endswith(after) and len(url) > len(before) + len(after):
        return url[len(before) : len(url) - len(after)]
    return None


def unread(exchange: str, conn: str, number: int, ts: int) -> Gap:
    """The gap that stands for one frame that a parser alone could not read."""
    return Gap(
        exchange=exchange,
        symbol=None,
        conn=conn,
        source="replay",
        ts_recv=ts,
        gap_id=f"{conn or exchange}:*:*:{number}",
        phase="close",
        cause="parse_error",
        ts_from=ts,
        ts_to=ts,
        repair="none",
    )
