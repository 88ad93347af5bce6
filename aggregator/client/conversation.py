"""The conversation with a feed, apart from any socket: bytes that have come go in, records and answers come out.

Both clients, the asynchronous one and the blocking one, hold their conversation by this.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TypeVar, get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from aggregator.client.books import Books, LiveBook
from aggregator.client.chains import HISTORY, WATCHED, Chains
from aggregator.client.errors import CutOff, FeedError, LockedOut, NoFeed
from aggregator.client.options import StreamPosition, SubscriptionOptions, subscription
from aggregator.errors import UNREADABLE, BadFrame
from aggregator.feed.protocol import (
    AbsentTopic,
    Authenticate,
    Authenticated,
    Book,
    Bye,
    Error,
    Hello,
    Live,
    Notice,
    Pong,
    Reached,
    Reply,
    Request,
    Resuming,
    Subscribe,
    Subscribed,
    Time,
    Topics,
    Unsubscribe,
    Unsubscribed,
)
from aggregator.records import CHANNELS, SECOND_NS, BookSnapshot, Gap, Health, Record, Repair, decode_record

MOST_WAITING_BYTES = 64 * 2**20  # records that came while an answer was waited for, and that nobody takes
LONGEST_LINE_BYTES = 64 * 2**20  # the longest book has a few MiB
SUBSCRIBED_AT_ONCE_BYTES = 16 * 1024  # patterns in one line to the feed, which may have 64 KiB
RESUMED_BYTES = 60 * 1024  # those of which the feed is asked what was missed: they have to be in one line
BOOKS_AT_ONCE = 200  # likewise, of those that are asked for again
HOW_TO_SHOW = "give the one that `aggregator token` has printed, as token=TEXT, token=Path(FILE), or --token-file FILE"
REFUSED_NOW = "the connection was made anew, and the feed refuses now"
ANOTHER = "it is another daemon"
STRANGE = "what listens there does not speak as the feed does, or has hung up"
CUT = "the connection was cut: it ended, and the feed had not said goodbye"

Numbered = tuple[int, bytes]  # a request: its number, and its line
Answer = TypeVar("Answer", Authenticated, Subscribed, Unsubscribed, Pong, Topics, Book)


class _Kind(Struct):
    type: str
    offset: int = 0


class _Source(Struct):
    conn: str = ""


_encode = msgspec.json.Encoder().encode
_plain: Callable[[object], dict[str, object]] = msgspec.to_builtins
_kind_of = msgspec.json.Decoder(_Kind).decode
_source_of = msgspec.json.Decoder(_Source).decode
_decode_reply = msgspec.json.Decoder(Reply).decode
_decode_notice = msgspec.json.Decoder(Notice).decode
_decode_greeting = msgspec.json.Decoder(Hello | Error).decode
REPLIES = frozenset(str(message.__struct_config__.tag) for message in get_args(Reply))
NOTICES = frozenset(str(message.__struct_config__.tag) for message in get_args(Notice))
ORDINARY = frozenset({*CHANNELS, "gap", "health", "summary"})  # the channels that a journal keeps; others are computed


class _Turn(Struct):
    """A change at a place among the lines, once all before it are taken.

    begins: a connection begins there, whose records are held back until all is subscribed
    place: the stream goes on behind this one; null: as before
    cursor: the place as the feed tells it; null: as before
    is_live: whether all that was missed is told; null: as before
    told: a record of our own
    notice: the one that makes it, for who asks to be told of these
    """

    begins: bool = False
    place: StreamPosition | None = None
    cursor: str | None = None
    is_live: bool | None = None
    told: bytes = b""
    notice: Resuming | Live | None = None


class Conversation:
    """The conversation with one feed, over one connection or several, one after the other.

    greeting: what the feed has said first on this connection; null until then
    goodbye: why the feed has hung up, in its words; null while it has not
    is_over: this was a replay, and everything of it has been told
    has_ended: nothing comes any more on this connection
    has_lost: the connection before has ended, and what it stood for has not been taken up again
    why_anew: why the feed could not go on where it was cut; empty where it could, or was not asked
    """

    def __init__(self, *, resumes: bool = False, on_notice: Callable[[Resuming | Live], object] | None = None) -> None:
        """Begin before the first connection; the next ones ask for what was missed where `resumes` says so.

        on_notice: is told that the past begins, or all of it is told, once all records before that are taken
        """
        self.greeting: Hello | None = None
        self.goodbye: str | None = None
        self.has_ended = False
        self.has_lost = False
        self.why_anew = ""
        self.books = Books()
        self.is_over = False
        self._resumes = resumes
        self._on_notice = on_notice
        self._refusal = ""  # an error that answers no request
        self._rest = b""
        self._lines: deque[bytes] = deque()  # an empty one stands for a turn
        self._turns: deque[_Turn] = deque()  # one for each of these
        self._waiting_bytes = 0
        self._answers: dict[int, Reply | None] = {}  # the keys are ids; None until the answer comes
        self._asked: dict[int, Request] = {}  # the requests that have no answer yet
        self._own: set[int] = set()  # those of them for which nobody waits
        self._again: list[int] = []  # those that take up what there was
        self._told: dict[int, bytes] = {}  # the books that answers to `snapshot` brought
        self._book: Book | None = None  # the next line is this one's book
        self._last_id = 0
        self._shown = 0  # the id by which the token is shown
        self._due: list[bytes] = []  # requests that are to be sent now
        self._later: list[bytes] = []  # those that the feed takes only once it says that it is live
        self._patterns: dict[str, bool] = {}  # all that is subscribed, in order; whether books are sent whole first
        self._settings = Subscribe([])  # how the connection writes
        self._absent: dict[str, str] = {}  # topics that cannot be had, and why, by what the reader was told
        self._chains = Chains()
        self._gap: Gap | None = None  # since a connection was lost that stood for something
        self._lost = 0  # connections

        # how far the stream has come
        self._daemon: str | UnsetType = UNSET  # its name
        self._epoch = ""
        self._offset = 0
        self._is_another = False  # the daemon of this connection is not that of the one before
        self._cursor: str | None = None  # the same as the feed tells it; null: something came behind it, or it does not
        self._behind = Subscribe([]).start  # where to begin, if another place, until the feed has begun there
        self._begins_whole = False  # with whole books
        self._is_late = False  # the feed tells the past
        self._has_hole = False  # not all of it is
        self._recovered = 0  # so many records of it came
        self._begin = _Turn(begins=True)  # this connection's

        # how far the reader has taken it
        self._place: StreamPosition | None = None
        self._place_told: str | None = None  # the newest cursor
        self._last = b""  # the last record, behind that place
        self._is_live = True

    # --- a connection begins

    def begin(self, token: str | None) -> bytes:
        """Begin a connection, the first or another. Gives what the client says first, which may be nothing."""
        self.greeting = self.goodbye = self._book = None
        self.has_ended = False
        self._refusal = ""
        self._rest = b""
        self._shown = 0
        self._is_late = False
        self._due.clear()
        self._later.clear()
        if token is None:
            return b""
        self._shown, line = self._number(Authenticate(token))
        del self._asked[self._shown]  # nothing but the line is to hold it
        return line

    @property
    def is_let_in(self) -> bool:
        """Tell whether the greeting is here, and the token is taken where one was shown."""
        return self.greeting is not None and (not self._shown or self._answers.get(self._shown) is not None)

    def enter(self) -> Hello:
        """The greeting, once it is here. Raises FeedError where the token is refused, or the end came first."""
        if self._shown:
            told = self._answers.get(self._shown)
            if isinstance(told, Error):
                raise LockedOut(told.error)
            self.answer(self._shown, Authenticated)
            self.forget(self._shown)
        if self.greeting is None:
            raise NoFeed(STRANGE)
        return self.greeting

    # --- a connection is lost, and made anew

    @property
    def may_go_on(self) -> bool:
        """Tell whether another connection may take up what this one stood for: nothing is refused, or over."""
        return not self._refusal and not self.is_over

    def lose(self) -> str:
        """Take note that the connection is lost, tell the reader where it stood for anything, and say why."""
        self.has_lost = True
        self._lost += 1
        self._chains.cut(is_late=self._is_late)
        if self._patterns and self._gap is None:
            self._has_hole, self._recovered = False, 0
            now = time.time_ns()
            self._gap = Gap(
                symbol=None,
                ts_recv=now,
                offset=self._offset,
                source="derived",
                gap_id=f"client/{self._lost}",
                phase="open",
                cause="disconnect",
                ts_from=now,
            )
            self._turn(_Turn(is_live=False))
            self._put(self._written(self._gap))
        return self._end

    @property
    def _end(self) -> str:
        """The way in which the connection has ended, in words."""
        return "the connection was cut" if self.goodbye is None else f"the feed has hung up: {self.goodbye}"

    def take_up(self) -> Iterator[list[Numbered]]:
        """Subscribe on a new connection to what there was, and ask again what was not answered.

        Gives requests to send; all must be answered before the next are taken. The reader is told how it went. Raises
        FeedError where the feed refuses now what it had granted, and where the end comes first.
        """
        self.why_anew = ANOTHER if self._is_another else ""
        self._own.clear()
        for id in self._again:  # an attempt before this was cut
            self.forget(id)
            self._asked.pop(id, None)
        kept = [] if self._is_another else self._kept()
        if kept:
            self._is_late = True
            id, line = self._number(self._resumption(kept))
            self._again = [id]
            yield [(id, line)]
            told = self._answers[id]
            if isinstance(told, Error):
                self.why_anew, self._is_late = told.error, False
                self.forget(id)
            else:
                self._tell_absent(self._granted([id]))
        if kept and not self.why_anew:
            self._go_on([topic for topic in self._patterns if topic not in kept])
        else:
            yield from self._begin_anew()
        self.has_lost = False
        self._asked = {id: request for id, request in self._asked.items() if id in self._answers or id in self._own}
        for id, request in self._asked.items():
            if id not in self._own and (line := self._said(request)):
                self._due.append(line)

    def _kept(self) -> list[str]:
        """The topics that are subscribed and of which a journal would hold the past; none: it is not asked for."""
        topics = [topic for topic in self._patterns if "*" in (name := topic.partition(":")[0]) or name in ORDINARY]
        return topics if self._resumes and sum(map(_size, topics)) <= RESUMED_BYTES else []

    def _resumption(self, topics: list[str]) -> Subscribe:
        """The request for what was missed. The reader has its books, unless the feed was yet to begin there."""
        request = self._like(topics, snapshot=self._begins_whole)
        request.start = self._behind
        return request

    def _like(self, topics: list[str], *, snapshot: bool = True) -> Subscribe:
        """A subscription by which everything is written as before."""
        return replace(self._settings, topics=topics, snapshot=snapshot)

    def _granted(self, ids: list[int]) -> list[Subscribed]:
        """The answers to subscriptions that there were before. Raises FeedError where one is refused now."""
        found = []
        for id in ids:
            told = self._answers[id]
            if isinstance(told, Error):
                raise LockedOut(f"{REFUSED_NOW}: {told.error}")
            found.append(self.answer(id, Subscribed))
            self.forget(id)
        return found

    def _go_on(self, rest: list[str]) -> None:
        """The feed tells what was missed, and then what follows; the rest has to wait until then."""
        for request in self._subscriptions(rest):
            id, line = self._number(request)
            self._own.add(id)
            self._later.append(line)
            self._has_hole = True

    def _begin_anew(self) -> Iterator[list[Numbered]]:
        """The feed tells what comes from now on; the time between is a hole."""
        self._chains.begin_anew()
        self._has_hole = True  # if this is cut, too, and the next connection can go on
        asked = [self._number(request) for request in self._subscriptions(self._patterns)]
        self._again = [id for id, _ in asked]
        if asked:
            yield asked
        self._tell_absent(self._granted(self._again))
        self._chains.begun_anew()
        self._behind, self._begins_whole = None, False
        if self.greeting is not None:
            self._daemon = self.greeting.daemon
            self._begin.place = StreamPosition(self.greeting.epoch, self.greeting.offset)
        if self._gap is not None:
            self._begin.is_live, self._begin.told = True, self._closing(self._gap, "none", self._begin.place)
            self._gap = None

    def _subscriptions(self, topics: Iterable[str]) -> Iterator[Subscribe]:
        """The requests for topics, from now on."""
        for wants_whole in (True, False):
            some, size = list[str](), 0
            for topic in topics:
                if self._patterns[topic] is not wants_whole:
                    continue
                some.append(topic)
                size += _size(topic)
                if size > SUBSCRIBED_AT_ONCE_BYTES:
                    yield self._like(some, snapshot=wants_whole)
                    some, size = [], 0
            if some:
                yield self._like(some, snapshot=wants_whole)

    def _tell_absent(self, answers: Iterable[Subscribed]) -> None:
        """Tell the reader of topics that cannot be had any more, as the feed does where that turns out later."""
        for told in answers:
            for absent in told.absent or ():
                if self._absent.get(absent.topic) != absent.reason:
                    self._put(self._written(self._down(absent)))
            self._note_absent(told)

    def _note_absent(self, told: Subscribed) -> None:
        for topic in told.topics:
            self._absent.pop(topic, None)
        self._absent |= {each.topic: each.reason for each in told.absent or ()}

    def _down(self, absent: AbsentTopic) -> Health:
        """The state of a topic that cannot be had."""
        name, exchange, symbol = absent.topic.split(":", 2)
        name = name.partition(".")[0]
        return Health(
            exchange=exchange,
            symbol=symbol,
            ts_recv=time.time_ns(),
            offset=self._offset,
            source="derived",
            channel=next((channel for channel in CHANNELS if channel == name), CHANNELS[0]),
            state="down",
            reason=absent.reason,
        )

    def _closing(self, gap: Gap, repair: Repair, place: StreamPosition | None) -> bytes:
        """The record that ends the gap which the reader was told of."""
        now = time.time_ns()
        offset = gap.offset if place is None else place.offset
        recovered = None if repair == "none" else self._recovered
        return self._written(
            replace(gap, phase="close", ts_recv=now, ts_to=now, offset=offset, repair=repair, recovered=recovered)
        )

    def _written(self, record: Gap | Health) -> bytes:
        """A record of our own as a line, with times as the connection writes them."""
        said = _plain(record)
        for name, value in said.items():
            if name.startswith("ts_") and isinstance(value, int):
                said[name] = _in_unit(value, self._settings.time)
        return _encode(said) + b"\n"

    # --- what comes

    def receive(self, data: bytes) -> None:
        """Take bytes as they come; none at all is the end. Raises FeedError where no feed speaks."""
        if not data:
            self.has_ended = True  # a line without its end is none
            if self.greeting is None:
                raise NoFeed(STRANGE)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE_BYTES:
            raise FeedError(f"a line of more than {LONGEST_LINE_BYTES >> 20} MiB: this is no feed")
        try:
            for line in lines:
                if line:
                    self._sort(line)
        except UNREADABLE as error:
            raise NoFeed(f"{STRANGE}: a line that is none of a feed ({error})") from error

    def _sort(self, line: bytes) -> None:
        """Put a line where it is waited for."""
        if self.greeting is None:
            self._sort_greeting(_greeting(line))
            return
        if self._book is not None:
            answer, self._book = self._book, None
            if isinstance(answer.id, int) and answer.id in self._answers:
                self._told[answer.id] = line
                self._answers[answer.id] = answer
            return
        kind = _kind_of(line)
        if kind.type in REPLIES:
            self._sort_reply(_decode_reply(line))
        elif kind.type in NOTICES:
            self._sort_notice(_decode_notice(line))
        else:
            self._cursor = None
            if kind.offset > self._offset and kind.type != "lag":  # its offset may be that of a record behind it
                self._offset = kind.offset
            if self._resumes and kind.type in WATCHED and not self._is_admitted(kind.type, line):
                return
            self._recovered += self._is_late
            self._put(line + b"\n")

    def _is_admitted(self, kind: str, line: bytes) -> bool:
        if self._is_late and kind == "gap" and _source_of(line).conn == HISTORY:
            self._has_hole = True
        return self._chains.admits(kind, line)

    def _sort_greeting(self, greeting: Hello) -> None:
        self.greeting = greeting
        if self.has_lost and self._behind is None:
            self._behind = subscription([], {"start": self._cursor or StreamPosition(self._epoch, self._offset)}).start
        self._is_another = greeting.daemon != self._daemon and UNSET not in {greeting.daemon, self._daemon}
        self._begin = _Turn(begins=True)
        if not self.has_lost:
            self._daemon = greeting.daemon
            self._begin.place = StreamPosition(greeting.epoch, greeting.offset)
        self._turn(self._begin)
        self._epoch, self._offset, self._cursor = greeting.epoch, greeting.offset, None

    def _turn(self, turn: _Turn) -> None:
        self._lines.append(b"")
        self._turns.append(turn)

    def _put(self, line: bytes) -> None:
        self._lines.append(line)
        self._waiting_bytes += len(line)

    def _sort_notice(self, notice: Notice) -> None:
        if isinstance(notice, Reached):
            self._cursor = notice.cursor
            self._turn(_Turn(cursor=notice.cursor))
            return
        self._epoch, self._offset = place = StreamPosition(notice.epoch, notice.offset)
        self._behind, self._begins_whole = None, False
        if not isinstance(notice, Live):
            self._cursor, self._is_late = None, True
            self._turn(_Turn(place=place, is_live=False, notice=notice))
            return
        self._cursor, self._is_late = notice.cursor, False
        self._turn(_Turn(place=place))
        if self._gap is not None:
            self._put(self._closing(self._gap, "partial" if self._has_hole else "full", place))
            self._gap = None
        self._turn(_Turn(cursor=notice.cursor, is_live=True, notice=notice))
        self._send_later()

    def _send_later(self) -> None:
        """Have that sent which had to wait while what was missed was told."""
        self._due += self._later
        self._later.clear()

    def _sort_reply(self, reply: Reply) -> None:
        if isinstance(reply, Book):
            self._book = reply
        elif isinstance(reply, Bye):
            self.goodbye = reply.reason
            self.is_over = reply.over is True
            if reply.cursor:
                self._cursor = reply.cursor
                self._turn(_Turn(cursor=reply.cursor))
        elif isinstance(reply.id, int):
            self._sort_answer(reply.id, reply)
        elif isinstance(reply, Error) and reply.id is None:
            self._refusal = reply.error

    def _sort_answer(self, id: int, reply: Reply) -> None:
        request = self._asked.pop(id, None)
        if id in self._own:
            self._own.discard(id)
            self._sort_own(request, reply)
            return
        if request is not None and not self.has_lost:  # else it is one that takes up what there was
            if isinstance(request, Subscribe) and request.start is not None:
                self._sort_begun(request, reply)
            self._remember(request, reply)
        if id in self._answers:
            self._answers[id] = reply

    def _sort_own(self, request: Request | None, reply: Reply) -> None:
        """Take the answer to a request of our own."""
        if isinstance(reply, Subscribed):
            self._tell_absent([reply])
        elif isinstance(reply, Error) and isinstance(request, Subscribe) and request.topics[0] in self._patterns:
            raise LockedOut(f"{REFUSED_NOW}: {reply.error}")

    def _sort_begun(self, request: Subscribe, reply: Reply) -> None:
        """Take the answer to the reader's own question for the past."""
        if isinstance(reply, Error):
            self._is_late = False
            self._send_later()
        elif request.start != "now":  # then nothing is missed of what was before
            self._behind, self._begins_whole = request.start, request.snapshot

    def _remember(self, request: Request, reply: Reply) -> None:
        """Keep what is subscribed, for the next connection."""
        if isinstance(request, Subscribe) and isinstance(reply, Subscribed):
            self._patterns |= dict.fromkeys(reply.topics, request.snapshot)
            for name in ("numbers", "time", "fields", "policy"):
                if getattr(request, name) is not None:
                    setattr(self._settings, name, getattr(request, name))
            self._note_absent(reply)
        elif isinstance(request, Unsubscribe) and isinstance(reply, Unsubscribed):
            for topic in list(self._patterns) if request.topics is None else request.topics:
                self._patterns.pop(topic, None)
                self._absent.pop(topic, None)
            if request.topics is None and self._is_late:
                self._leave_the_past()
        else:
            return
        self._chains.want([topic for topic, wants_whole in self._patterns.items() if wants_whole])

    def _leave_the_past(self) -> None:
        """Nothing is subscribed any more: what was missed is not told to its end."""
        self._is_late, self._behind = False, None
        if self._gap is not None:
            self._put(self._closing(self._gap, "none", None))
            self._gap = None
        self._turn(_Turn(is_live=True))
        self._send_later()

    def due(self) -> list[bytes]:
        """Lines that are to be sent now."""
        if self._resumes and not self._is_late and not self.has_lost:
            self._ask_for_books(self._chains.to_ask())
        lines, self._due = self._due, []
        return lines

    def _ask_for_books(self, topics: list[str]) -> None:
        """Have books sent whole, which a pattern of the reader's brings in any case."""
        for start in range(0, len(topics), BOOKS_AT_ONCE):
            some = topics[start : start + BOOKS_AT_ONCE]
            for request in (Subscribe(some), Unsubscribe([topic for topic in some if topic not in self._patterns])):
                if request.topics:
                    id, line = self._number(request)
                    self._own.add(id)
                    self._due.append(line)

    # --- records

    @property
    def has_line(self) -> bool:
        """Tell whether a record can be taken. Behind the beginning of a connection none can until all is subscribed."""
        while self._lines and not self._lines[0] and not (self.has_lost and self._turns[0].begins):
            self._lines.popleft()
            turn = self._turns.popleft()
            if turn.place is not None:
                self._place, self._last = turn.place, b""
            if turn.cursor is not None or (turn.begins and turn.place is not None):
                self._place_told = turn.cursor
            if turn.is_live is not None:
                self._is_live = turn.is_live
            if turn.notice is not None and self._on_notice is not None:
                self._on_notice(turn.notice)
            if turn.told:
                self._lines.appendleft(turn.told)
                self._waiting_bytes += len(turn.told)
        return bool(self._lines) and bool(self._lines[0])

    def take(self) -> bytes:
        """The next record as its line. Books that are kept learn of it."""
        line = self._last = self._lines.popleft()
        self._waiting_bytes -= len(line)
        if self.books.are_kept and self.books.concerns(_kind_of(line).type):
            self._note(_read(line))
        return line

    def take_record(self) -> tuple[Record, list[LiveBook]]:
        """The next record as a struct, and the books that it has changed. Raises FeedError for what is none."""
        line = self._last = self._lines.popleft()
        self._waiting_bytes -= len(line)
        record = _read(line)
        return record, self._note(record)

    def _note(self, record: Record) -> list[LiveBook]:
        try:
            return self.books.note(record)
        except BadFrame as error:
            raise FeedError(f"a book of {record.exchange} cannot be kept: {error}") from error

    @property
    def epoch(self) -> str:
        """The daemon's life in which the record was published that was taken last."""
        return "" if self._place is None else self._place.epoch

    @property
    def position(self) -> StreamPosition | None:
        """The place behind the record that was taken last; null before the first connection."""
        if self._last and self._place is not None:
            kind = _kind_of(self._last)
            if kind.type != "lag":
                self._place = StreamPosition(self._place.epoch, max(self._place.offset, kind.offset))
            self._last = b""
        return self._place

    @property
    def cursor(self) -> str | None:
        """The newest place that the feed has told, and that the reader has reached; null where it tells none."""
        _ = self.has_line
        return self._place_told

    @property
    def is_live(self) -> bool:
        """Tell whether all that was missed is taken."""
        _ = self.has_line
        return self._is_live

    def check_end(self) -> None:
        """Raise FeedError where the end that has come was announced by nothing; books are in doubt from then on."""
        self.books.lose(self._end)
        if self._refusal:
            raise FeedError(self._refusal)
        if self.goodbye is None:
            raise CutOff(CUT)

    def keep(self, name: str) -> LiveBook:
        """Keep the book `exchange:symbol` from the records that are taken. Raises FeedError for what names no book."""
        exchange, _, symbol = name.partition(":")
        if not (exchange and symbol) or "*" in name:
            raise FeedError(f"{name!r:.100} names no book; write exchange:symbol")
        return self.books.keep(exchange, symbol)

    # --- requests

    def subscription(self, topics: tuple[str, ...], options: SubscriptionOptions) -> Subscribe:
        """The request for these topics. Raises FeedError for what no feed would do."""
        request = subscription(topics, options)
        if request.start is not None and self._patterns:
            raise FeedError("start is for the first topics of a connection: open another for these")
        if self._resumes and request.fields and "offset" not in request.fields:
            raise FeedError("with reconnect fields need offset, by which the client knows where to go on: add it")
        return request

    def ask(self, request: Request) -> Numbered:
        """Number a request. Gives the number, by which the answer is known, and the line to send.

        It is empty where the request has to wait, and then the line is among those that are `due` later.
        """
        id, line = self._number(request)
        if self.has_lost:  # all that has no answer is asked as soon as there is a connection
            return id, b""
        return id, self._said(request) and line

    def _said(self, request: Request) -> bytes:
        """The line by which a request is said now; empty where it has to wait."""
        line = _encode(request) + b"\n"
        is_some = isinstance(request, Unsubscribe) and request.topics is not None
        if self._is_late and (is_some or isinstance(request, Subscribe)):
            self._later.append(line)
            return b""
        if isinstance(request, Subscribe) and request.start is not None:
            self._is_late = True
        return line

    def _number(self, request: Request) -> Numbered:
        self._last_id += 1
        request.id = self._last_id
        self._answers[self._last_id] = None
        self._asked[self._last_id] = request
        return self._last_id, _encode(request) + b"\n"

    def is_answered(self, id: int) -> bool:
        """Tell whether the answer is here. Raises FeedError where too much waits that nobody takes."""
        if self._answers[id] is not None:
            return True
        if self._waiting_bytes > MOST_WAITING_BYTES:
            mib = MOST_WAITING_BYTES >> 20
            raise FeedError(f"more than {mib} MiB of records wait to be read; read them before asking for more")
        return False

    def are_answered(self, requests: Iterable[Numbered]) -> bool:
        """Tell whether the answers to all of these are here."""
        return all(self.is_answered(id) for id, _ in requests)

    def answer(self, id: int, kind: type[Answer]) -> Answer:
        """The answer to a request. Raises FeedError where it is a refusal, or the end came first."""
        given = self._answers[id]
        if isinstance(given, kind):
            return given
        if isinstance(given, Error):
            raise FeedError(given.error)
        if given is not None:
            raise FeedError(f"an answer of another kind: {given}")
        if self._refusal:
            raise FeedError(self._refusal)
        if self.goodbye is None:
            raise CutOff(CUT)
        raise FeedError(f"the daemon has hung up: {self.goodbye}")

    def book_told(self, id: int) -> BookSnapshot:
        """The book that came with the answer to `snapshot`."""
        book = _read(self._told[id])
        if not isinstance(book, BookSnapshot):
            raise FeedError(f"the answer to a snapshot is no book: {book}")
        return book

    def forget(self, id: int) -> None:
        """Nobody waits for this answer any more."""
        self._answers.pop(id, None)
        self._told.pop(id, None)


def _size(topic: str) -> int:
    return len(topic.encode("utf-8", "surrogatepass"))


def _greeting(line: bytes) -> Hello:
    try:
        greeting: Hello | Error = _decode_greeting(line)
    except ValueError as error:  # msgspec's errors are ValueErrors
        raise NoFeed(STRANGE) from error
    if isinstance(greeting, Hello):
        return greeting
    if "token" in greeting.error:  # it is wrong, or missing
        raise LockedOut(f"{greeting.error}; {HOW_TO_SHOW}")
    raise FeedError(greeting.error)


def _in_unit(now: int, unit: Time | None) -> int | str:
    """A time as a subscription wants times."""
    if unit == "iso":
        return f"{datetime.fromtimestamp(now // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%S}.{now % SECOND_NS:09}Z"
    return now // {"us": 1_000, "ms": 1_000_000}.get(unit or "", 1)


def _read(line: bytes) -> Record:
    try:
        return decode_record(line)
    except UNREADABLE as error:
        said = f"a line that is no record ({error}); with numbers, time or fields set, use lines() and keep no book"
        raise FeedError(said) from error
