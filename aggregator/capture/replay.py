"""A capture through the same sessions that run live: its own times, its own connections, no network and no clock."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from msgspec import Struct, structs

from aggregator.capture.line import CaptureLine
from aggregator.capture.replayed import ReplayedSessions
from aggregator.errors import BadFrame, SessionError
from aggregator.exchange import ANY, Event, Exchange, Ignored, Parse, Poll, Request, Stream
from aggregator.records import CHANNEL_OF, CHANNELS, SECOND_NS, Gap, Instrument, Record, Source
from aggregator.session.arbiter import LineArbiter
from aggregator.session.moment import Now
from aggregator.session.naming import spoken
from aggregator.session.polled import Polling
from aggregator.session.session import UNWANTED, WEIGHED_BYTES, Session
from aggregator.session.topics import NOTHING, Words, fill_amounts
from aggregator.session.unreadable import KEPT, KEPT_BYTES

TICK_NS = SECOND_NS
TOGETHER = KEPT  # frames of one read: of no more does a session keep those that it cannot read
DAY_NS = 86400 * SECOND_NS
SHORT_CHARACTERS = WEIGHED_BYTES // 4  # characters
MOST_FOUND = 1000  # addresses and connections whose streams are remembered
NOTED, WHOLLY = 1, 4  # a frame gives a stream no record, but an event; records that it declares and serves, all of them


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
        self._known: dict[str, dict[str, Instrument]] = {}  # by feed
        self._found: dict[tuple[str, str, int], Sequence[Stream]] = {}  # the streams of address, connection and day
        self._parses = {s.name: spoken(s, self.instruments_of(s)).reader() for s in streams}
        self._served = {s.name: self.instruments_of(s).keys() for s in streams}
        self._tried: dict[
            str, list[object]
        ] = {}  # the events that each stream reads in the frame whose stream is sought
        self._at = 0
        self.words = Words()  # words that mean nothing to us, for the log

    def instruments_of(self, feed: Stream | Poll) -> dict[str, Instrument]:
        """The instruments that a feed serves, by raw symbol."""
        known = self._known.get(feed.name)
        if known is None:
            served = (i for i in self._instruments if feed.serves(i))
            known = self._known[feed.name] = {i.raw_symbol: i for i in served if i.raw_symbol is not None}
        return known

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
        if self._tried:
            self._tried.clear()
        day = self._day_of(ts)
        found = self._found.get((url, conn, day))
        if found is None:
            if len(self._found) >= MOST_FOUND:
                self._found.clear()
            found = self._found[url, conn, day] = self._streams_of(url, conn, ts)
        return found[0] if len(found) == 1 else self._readable(found, frame)

    def _day_of(self, ts: int) -> int:
        """The day whose formats a frame may be of; -1 where there are no others, or its time is not known."""
        return ts // DAY_NS if ts and self.exchange.archives else -1

    def _streams_of(self, url: str, conn: str, ts: int) -> Sequence[Stream]:
        """The streams that a frame may be of, if all that is known is its address, its connection and its time."""
        if self._only is not None:
            return (self._only,)
        named = self._named_by(conn)
        if named is not None:
            return (named,)
        streams = self.exchange.streams_at(ts)
        if not streams:
            raise ValueError(f"{self.exchange.id} has no stream: its feeds are polled")
        if len(streams) == 1:
            return streams
        today = matching([stream for stream in streams if stream.name not in self._older], url)
        return [stream for stream in streams if not today or stream in today or stream.name in self._older]

    def _named_by(self, conn: str) -> Stream | None:
        return self._named.get(conn.partition("/")[2].rpartition(".")[0])

    def _readable(self, streams: Sequence[Stream], frame: bytes) -> Stream:
        """The stream that declares the channels of the frame's records and serves their instruments, or nearly so.

        Several streams of an exchange may read a frame, and each would check its records by a rule of its own.
        """
        best, most = streams[0], -1
        failed: list[Stream] = []
        for stream in streams:
            try:
                said = self._tried[stream.name] = list(self.events(stream, frame))
            except Exception:  # noqa: BLE001 - it is not this stream's, whatever it says
                failed.append(stream)
                continue
            fit = self._fit(stream, said)
            if fit > most and (
                most <= NOTED or stream.parser is None
            ):  # one that remembers would have missed the start
                best, most = stream, fit
            if fit == WHOLLY:
                break
        if most == 0 and failed:
            return self._unreadable(streams, failed) or best
        if most < 0:  # a frame that no stream can read may have changed a book, which is then suspect
            return next((stream for stream in streams if "book" in stream.channels), best)
        return best

    def _unreadable(self, streams: Sequence[Stream], failed: Sequence[Stream]) -> Stream | None:
        """The stream of a frame that some cannot read, and that means nothing to the others; null: it means nothing.

        It is of a format that was spoken before if that cannot read it, and of today's if none of today's can.
        """
        if not any(stream.name in self._older for stream in streams):
            return None
        is_of_today = all(stream in failed for stream in streams if stream.name not in self._older)
        return next((stream for stream in failed if is_of_today or stream.name in self._older), None)

    def _fit(self, stream: Stream, said: Iterable[object]) -> int:
        """How well a stream fits the events that it has read; a frame that means nothing to it fits every stream."""
        served, channels = self._served[stream.name], stream.channels
        fit, has_records, declares, serves = 0, False, True, not self._instruments
        for event in said:
            fit = NOTED
            if isinstance(event, Record):
                has_records = True
                declares = declares and CHANNEL_OF.get(type(event)) in channels
                serves = serves or event.raw_symbol in served
        return NOTED + 1 + declares + serves if has_records else fit

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


def _is_steady(stream: Stream) -> bool:
    """Tell whether a frame that cannot be read changes nothing for those behind it, whatever the order."""
    rule = stream.sequence.get("book")
    return stream.inflate is None and (stream.checksum is not None or (rule is not None and rule.sure))


def _is_short(line: CaptureLine) -> bool:
    """Tell whether a frame is text and so short that a session treats it alike, alone and among others."""
    return line.raw_b64 is None and len(line.raw or "") <= SHORT_CHARACTERS


class Read(Struct):
    """One line with its number from 1, and those behind it whose frames came with its own."""

    number: int
    line: CaptureLine | BadFrame
    more: list[CaptureLine]


class Likely(Struct, frozen=True):
    """The session to which the frames of an address and a connection belong.

    parse: reads a frame to see whether it is of this stream; null: no other comes in question
    arbiter: merges the records with those of other connections; null: there are none
    begins, ends: the times (ns) between which this holds
    """

    session: Session
    stream: Stream
    parse: Parse | None
    arbiter: LineArbiter | None
    begins: int
    ends: int


class BadLine(Struct, frozen=True):
    """A frame that cannot be read, and how many lines behind the one that was fed it stands."""

    error: Exception
    frame: bytes
    at: int = 0


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
        self._direct: dict[tuple[str | None, str], Likely] = {}  # by address and connection
        self._last = Now(0, 0)
        self.bad_frames: list[BadLine] = []

    def reads(self, lines: Iterable[tuple[int, CaptureLine | BadFrame]]) -> Iterator[Read]:
        """Numbered lines, where those of frames that one read of the socket has brought come together.

        The daemon gives these one time; of any other program's lines it is all the same how their frames had come.
        """
        read: Read | None = None
        first: CaptureLine | None = None  # it begins that read
        for number, line in lines:
            if type(line) is CaptureLine:
                if first is not None and line.ts == first.ts and read and self._goes_on(line, first, number, read):
                    read.more.append(line)
                    continue
                first = line
            else:
                first = None
            if read is not None:
                yield read
            read = Read(number, line, [])
        if read is not None:
            yield read

    def _goes_on(self, line: CaptureLine, first: CaptureLine, number: int, read: "Read") -> bool:
        """Tell whether a line holds one more frame of a read, and whether all of them can only be of one stream."""
        if line.conn != first.conn:
            return False
        if not (first.dir == line.dir == "in" and first.url == line.url and _is_short(first) and _is_short(line)):
            return False
        day = self._day_of(line.time)
        found = self._found.get((line.address or self._urls.get(line.conn, ""), line.conn, day), ())
        if len(found) != 1 or not _is_steady(found[0]) or self._connections.is_merging(found[0], line.conn):
            return False
        return number == read.number + 1 + len(read.more) and len(read.more) + 1 < TOGETHER

    def feed(self, line: CaptureLine, more: Sequence[CaptureLine] = ()) -> list[Record]:
        """The records of one line, and of the time that passed before it.

        more: those behind it that `reads` has given with it
        """
        return self.feed_at(line.time, line, more)

    def feed_at(self, wall: int, line: CaptureLine, more: Sequence[CaptureLine] = ()) -> list[Record]:
        """Likewise, where it is known already what time the line tells (ns)."""
        self._at = max(self._at, wall)
        now = self._last = Now(wall, self._at)
        out = [] if now.mono < self._tick_at else self._tick(now)
        if line.dir == "in":
            likely = self._direct.get((line.url, line.conn))
            if likely is not None and likely.begins <= wall < likely.ends:
                return self._receive_directly(likely, line, more, out, now)
            return out + self._receive(line, more, now)
        self._direct.clear()  # connections begin or end here, or an answer may begin one
        if line.dir == "open":
            self._urls[line.conn] = line.address
            if line.ends:
                self._connections.expect_end(line.conn)
        elif line.dir == "close":
            out += self._connections.close(line.conn, "restart" if line.raw == UNWANTED else "disconnect", now)
        elif line.dir == "rest":
            out += self._rest(line, now)
        return out

    def _receive_directly(
        self, likely: "Likely", line: CaptureLine, more: Sequence[CaptureLine], out: list[Record], now: Now
    ) -> list[Record]:
        """Do what `_receive` does, where the session is known beforehand, and add it to `out`."""
        frames = [line.payload]
        if likely.parse is not None and not self._is_of(likely, likely.parse, frames[0]):
            return out + self._receive(line, more, now)
        if more:
            frames += [other.payload for other in more]
        session = likely.session
        records = session.receive(frames, now)
        self._tried.clear()
        if likely.arbiter is not None:
            records = likely.arbiter.merge(session, records, now)
        if out:
            records = out + records
        if session.outbox or session.bad_frames or session.close_reason is not None or session.words.news:
            self._heed(session, line.conn, frames, records, now)
        return records

    def _receive(self, line: CaptureLine, more: Sequence[CaptureLine], now: Now) -> list[Record]:
        frame = line.payload
        stream = self.stream_of(line.url or self._urls.get(line.conn, ""), frame, line.conn, now.wall)
        session = self._connections.get(stream, line.conn) or self._session(stream, line.conn)
        frames = [frame, *(other.payload for other in more)]
        out = self._connections.merged(session, session.receive(frames, now), now)
        self._heed(session, line.conn, frames, out, now)
        self._go_directly(line, stream, session, now.wall)
        return out

    def _heed(self, session: Session, conn: str, frames: Sequence[bytes], out: list[Record], now: Now) -> None:
        """Take from a session whatever is no record."""
        if session.close_reason is not None:
            out += self._connections.close(conn, "disconnect", now)
            self.bad_frames.append(BadLine(SessionError(session.close_reason), frames[0]))
            self._direct.clear()
        if session.outbox:
            session.outbox.clear()
        if session.bad_frames:
            self._note_bad(frames, session)
        if session.words.news:
            self.words.news += session.words.news
            session.words.news.clear()

    def _go_directly(self, line: CaptureLine, stream: Stream, session: Session, wall: int) -> None:
        """Remember the session of an address and a connection: of this day all frames are its own, or nearly all."""
        day = wall // DAY_NS
        found = self._found.get((line.url or self._urls.get(line.conn, ""), line.conn, self._day_of(wall)), ())
        if not found or found[0] is not stream or session.close_reason is not None:
            return
        if len(found) > 1 and stream.parser is not None:
            return
        if len(self._direct) >= MOST_FOUND:
            self._direct.clear()
        self._direct[line.url, line.conn] = Likely(
            session,
            stream,
            self._parses[stream.name] if len(found) > 1 else None,
            self._connections.arbiter_of(session),
            day * DAY_NS,
            (day + 1) * DAY_NS,
        )

    def _is_of(self, likely: "Likely", parse: Parse, frame: bytes) -> bool:
        """Tell whether a frame is surely of the first of several streams, as `_readable` would say; it is read then."""
        stream = likely.stream
        try:
            said: list[object] = list(parse(frame if stream.inflate is None else stream.inflate(frame)))
        except Exception:  # noqa: BLE001 - whatever it provokes, it is not surely this stream's
            return False
        serves = not self._instruments
        for event in said:
            if not isinstance(event, Record) or CHANNEL_OF.get(type(event)) not in stream.channels:
                return False
            serves = serves or event.raw_symbol in self._served[stream.name]
        if not said or not serves:
            return False
        self._tried = {stream.name: said}
        return True

    def _note_bad(self, frames: Sequence[bytes], session: Session) -> None:
        """Note which of these frames the session could not read, after the answers that it could not read before."""
        kept = [frame[:KEPT_BYTES] for frame in frames]
        begin = 0
        for bad in session.bad_frames:
            at = kept.index(bad.frame, begin) if bad.frame in kept[begin:] else None
            begin = begin if at is None else at + 1
            self.bad_frames.append(BadLine(bad.error, bad.frame, at or 0))
        session.bad_frames.clear()

    def end(self) -> list[Record]:
        """Give the last records when the capture is over."""
        return self._connections.end(self._last)

    def _session(self, stream: Stream, conn: str) -> Session:
        # a connection that the daemon has named carried what its stream declares; any other may be a stranger's
        channels = stream.channels if self._named_by(conn) is stream else CHANNELS
        self._direct.clear()
        return self._connections.begin(self._read_once(stream), conn, self.instruments_of(stream), channels, self._last)

    def _read_once(self, stream: Stream) -> Stream:
        """The stream, but what was read of a frame when its stream was sought is not read again."""
        if stream.named or stream.parser is not None:  # its events are not the session's, or are of its own past
            return stream
        parse = stream.reader()

        def read(frame: bytes) -> Iterable[Event]:
            tried = self._tried
            return tried.pop(stream.name) if tried and stream.name in tried else parse(frame)  # type: ignore[return-value]

        return structs.replace(stream, parse=read)

    def _tick(self, now: Now) -> list[Record]:
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
        conn = self._newest(stream) if conn is None else conn
        session = self._connections.get(stream, conn) or self._session(stream, conn)
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
