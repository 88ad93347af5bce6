"""A capture through the same sessions that run live: its own times, its own connections, no network and no clock."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from urllib.parse import unquote, urlsplit

from msgspec import Struct, structs

from aggregator.capture.line import CaptureBlock, CaptureLine
from aggregator.capture.replayed import ReplayedSessions
from aggregator.errors import BadFrame, SessionError
from aggregator.exchange import ANY, Accepted, Event, Exchange, Ignored, Parse, Poll, Request, Stream
from aggregator.records import CHANNEL_OF, CHANNELS, SECOND_NS, Gap, Instrument, Record, Source
from aggregator.session.arbiter import LineArbiter
from aggregator.session.moment import Now
from aggregator.session.naming import spoken
from aggregator.session.polled import Polling
from aggregator.session.session import UNWANTED, WEIGHED_BYTES, Session
from aggregator.session.topics import NOTHING, Words, fill_amounts
from aggregator.session.unreadable import BadFrameSeen

TICK_NS = SECOND_NS
DAY_NS = 86400 * SECOND_NS
JOINTS = "-_/"  # one of these stands between the two assets of a symbol
OTHER = "OTHERS"  # it stands for the second of them in a request that is made to be looked at, as `ANY` for the first
TOGETHER = 128  # frames that a session is given at once: the records of more do not stay in the caches
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
            if isinstance(event, Record) or (isinstance(event, Accepted) and event.channel and event.raw_symbol):
                has_records = True  # or what confirms a topic of them, which belongs where these do
                channel = event.channel if isinstance(event, Accepted) else CHANNEL_OF.get(type(event))
                declares = declares and channel in channels
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


class Likely(Struct, frozen=True):
    """The session to which the frames of an address and a connection belong.

    parse: reads a frame to see whether it is of this stream; null: no other comes in question
    declared: the types of the records of its channels
    arbiter: merges the records with those of other connections; null: there are none
    begins, ends: the times (ns) between which this holds
    """

    session: Session
    stream: Stream
    parse: Parse | None
    declared: Collection[type]
    arbiter: LineArbiter | None
    begins: int
    ends: int


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
        self.bad_frames: list[BadFrameSeen] = []  # whoever feeds lines clears it

    @property
    def wall(self) -> int:
        """The time (ns) of the line that was fed last."""
        return self._last.wall

    def feed(self, line: CaptureLine) -> list[Record]:
        """The records of one line, and of the time that passed before it."""
        return self.feed_at(line.time, line)

    def feed_at(self, wall: int, line: CaptureLine) -> list[Record]:
        """Likewise, where it is known already what time the line tells (ns)."""
        self._at = max(self._at, wall)
        now = self._last = Now(wall, self._at)
        out = [] if now.mono < self._tick_at else self._tick(now)
        if line.dir == "in":
            self._receive(line, out, now)
            return out
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

    def feed_run(self, block: CaptureBlock, begin: int, out: list[Record]) -> int:
        """Feed lines from `begin` on while all are frames of one session that is known, and say how many these are.

        It comes to the same as to feed each by itself, but for what that costs. None are fed where the first is no such
        frame, or where time has something to do before it.
        """
        first = block.lines[begin]
        if type(first) is not CaptureLine or first.dir != "in":
            return 0
        likely = self._direct.get((first.url, first.conn))
        if likely is None or (likely.arbiter is not None and likely.arbiter.is_merging):
            return 0
        session = likely.session
        count = session.receive_each(self._run(block, begin, likely), out)
        self._tried.clear()
        if count:
            self._last = session.moment
            self._at = self._last.mono
            if session.outbox or session.bad_frames or session.close_reason is not None or session.words.news:
                last = block.lines[begin + count - 1]
                self._heed(session, first.conn, last.payload, out, self._last)  # type: ignore[union-attr]
        return count

    def _run(self, block: CaptureBlock, begin: int, likely: Likely) -> Iterator[tuple[bytes, Now]]:
        """The frames of lines from `begin` on, with their times, up to one that must be fed by itself."""
        at, end, parse = max(self._at, likely.begins), min(self._tick_at, likely.ends), likely.parse
        lines, stop = block.lines, begin + TOGETHER
        url, conn = lines[begin].url, lines[begin].conn  # type: ignore[union-attr]
        for line, wall in zip(lines[begin:stop], block.times[begin:stop], strict=True):
            if not at <= wall < end:  # so is one that is no line, or tells no time
                return
            if line.conn != conn or line.url != url or line.dir != "in":  # type: ignore[union-attr]
                return
            raw = line.raw  # type: ignore[union-attr]
            try:
                frame = raw.encode() if raw is not None and line.raw_b64 is None else line.payload  # type: ignore[union-attr]
            except (BadFrame, ValueError):
                return
            if len(frame) > WEIGHED_BYTES or (parse is not None and not self._is_of(likely, parse, frame)):
                return
            at = wall
            yield frame, Now(wall, wall)

    def _receive(self, line: CaptureLine, out: list[Record], now: Now) -> None:
        """Add the records of a frame to `out`."""
        frame, likely = line.payload, self._direct.get((line.url, line.conn))
        if likely is not None and (
            not likely.begins <= now.wall < likely.ends
            or (likely.parse is not None and not self._is_of(likely, likely.parse, frame))
        ):
            likely = None
        if likely is None:
            stream = self.stream_of(line.url or self._urls.get(line.conn, ""), frame, line.conn, now.wall)
            session = self._connections.get(stream, line.conn) or self._session(stream, line.conn)
            arbiter = self._connections.arbiter_of(session)
        else:
            session, arbiter = likely.session, likely.arbiter
        records = session.receive([frame], now)
        self._tried.clear()
        out += records if arbiter is None else arbiter.merge(session, records, now)
        self._heed(session, line.conn, frame, out, now)
        if likely is None:
            self._go_directly(line, stream, session, now.wall)

    def _heed(self, session: Session, conn: str, frame: bytes, out: list[Record], now: Now) -> None:
        """Take from a session whatever is no record, behind this frame."""
        if session.close_reason is not None:
            out += self._connections.close(conn, "disconnect", now)
            self.bad_frames.append(BadFrameSeen(frame, SessionError(session.close_reason), now.wall))
            self._direct.clear()
        if session.outbox:
            session.outbox.clear()
        if session.bad_frames:
            self.bad_frames += session.bad_frames
            session.bad_frames.clear()
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
            {type for type, channel in CHANNEL_OF.items() if channel in stream.channels},
            self._connections.arbiter_of(session),
            day * DAY_NS,
            (day + 1) * DAY_NS,
        )

    def _is_of(self, likely: "Likely", parse: Parse, frame: bytes) -> bool:
        """Tell whether a frame is surely of the first of several streams, as `_readable` would say; it is read then."""
        stream, declared = likely.stream, likely.declared
        try:
            said: list[object] = list(parse(frame if stream.inflate is None else stream.inflate(frame)))
        except Exception:  # noqa: BLE001 - whatever it provokes, it is not surely this stream's
            return False
        served = self._served[stream.name] if self._instruments else None
        serves = served is None
        for event in said:
            if type(event) not in declared:
                return False
            serves = serves or event.raw_symbol in served  # type: ignore[attr-defined, operator]
        if not said or not serves:
            return False
        self._tried[stream.name] = said
        return True

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
        if stream.named or stream.parser is not None or stream.tells_past:
            return stream  # its events are not the session's, or are of its own past
        if len(self._parses) == 1:  # it is not sought
            return stream
        parse, name, tried = stream.reader(), stream.name, self._tried

        def read(frame: bytes) -> Iterable[Event]:
            said = tried.pop(name, None)
            return parse(frame) if said is None else said  # type: ignore[return-value]

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
    """The raw symbol for which a request has this address; of one that is not known, the part that stands for it.

    Where a request makes the letters of a symbol small ones, the exchange's own are taken to be capital, and the other
    way round.
    """
    for raw_symbol in raw_symbols:
        if request(raw_symbol).url == url:
            return raw_symbol
    return _in_two_parts(request, url) or _in_one_part(request, url)


def _in_one_part(request: Callable[[str], Request], url: str) -> str | None:
    is_small = ANY in request(ANY.lower()).url  # so it makes small letters capital ones
    for mark in (ANY, ANY.lower()):
        before, found, after = request(ANY).url.partition(mark)
        if found and url.startswith(before) and url.endswith(after) and len(url) > len(before) + len(after):
            part = unquote(url[len(before) : len(url) - len(after)])
            return part.upper() if mark != ANY else part.lower() if is_small else part
    return None


def _in_two_parts(request: Callable[[str], Request], url: str) -> str | None:
    """The symbol of which the address has each asset in a place of its own, or both joined in another way."""
    for joint in JOINTS:
        before, _, rest = request(f"{ANY}{joint}{OTHER}").url.partition(ANY)
        between, found, after = rest.partition(OTHER)
        if found and between not in {"", joint}:
            found_parts = re.fullmatch(f"{re.escape(before)}(.+?){re.escape(between)}(.+){re.escape(after)}", url)
            if found_parts is not None:
                return f"{found_parts[1]}{joint}{found_parts[2]}"
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
