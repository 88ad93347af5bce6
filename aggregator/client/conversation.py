"""The conversation with a feed, apart from any socket: bytes that have come go in, records and answers come out.

Both clients, the asynchronous one and the blocking one, hold their conversation by this.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar, Union, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aggregator.client.books import Books, LiveBook
from aggregator.errors import AggregatorError, BadFrame
from aggregator.feed.protocol import (
    Authenticate,
    Authenticated,
    Book,
    Bye,
    Error,
    Hello,
    Pong,
    Reply,
    Request,
    Subscribe,
    Subscribed,
    Time,
    Topics,
    Unsubscribe,
    Unsubscribed,
)
from aggregator.records import RECORD_TYPES, SECOND_NS, BookSnapshot, Gap, Record

MOST_WAITING_BYTES = 64 * 2**20  # records that came while an answer was waited for, and that nobody takes
LONGEST_LINE_BYTES = 64 * 2**20  # the longest book has a few MiB
SUBSCRIBED_AT_ONCE_BYTES = 16 * 1024  # patterns in one line to the feed, which may have 64 KiB
HOW_TO_SHOW = "give the one that `aggregator token` has printed, as token=TEXT, token=Path(FILE), or --token-file FILE"
STRANGE = "what listens there does not speak as the feed does, or has hung up"
CUT = "the connection was cut: it ended, and the feed had not said goodbye"

Answer = TypeVar("Answer", Authenticated, Subscribed, Unsubscribed, Pong, Topics, Book)


class FeedError(AggregatorError):
    """The feed cannot be reached, or refuses a request; the text says why."""


class CutOff(FeedError):
    """The connection has ended, and the feed had not said that it would."""


class LockedOut(FeedError):
    """The token or a certificate is refused, here or there: to try again does not help."""


class NoFeed(FeedError):
    """Something answers, and it does not speak as the feed does."""


class _Kind(Struct):
    type: str
    offset: int = 0


_encode = msgspec.json.Encoder().encode
_plain: Callable[[object], dict[str, object]] = msgspec.to_builtins
_kind_of = msgspec.json.Decoder(_Kind).decode
_decode_reply = msgspec.json.Decoder(Reply).decode
_decode_greeting = msgspec.json.Decoder(Hello | Error).decode
_decode_record: Callable[[bytes], Record] = msgspec.json.Decoder(Union[RECORD_TYPES]).decode  # noqa: UP007 - a tuple
REPLIES = frozenset(str(message.__struct_config__.tag) for message in get_args(Reply))


class _Turn(Struct):
    """A connection's beginning among the lines: the daemon's life from there on, and what the reader is told there."""

    epoch: str
    told: bytes = b""


class Conversation:
    """The conversation with one feed, over one connection or several, one after the other.

    greeting: what the feed has said first on this connection; null until then
    goodbye: why the feed has hung up, in its words; null while it has not
    has_ended: nothing comes any more on this connection
    has_lost: the connection before has ended, and what it stood for has not been taken up again
    epoch: the daemon's life in which the record was published that was taken last
    """

    def __init__(self) -> None:
        """Begin before the first connection."""
        self.greeting: Hello | None = None
        self.goodbye: str | None = None
        self.has_ended = False
        self.has_lost = False
        self.epoch = ""
        self.books = Books()
        self._refusal = ""  # an error that answers no request
        self._rest = b""
        self._lines: deque[bytes] = deque()  # an empty one stands where a connection begins
        self._turns: deque[_Turn] = deque()  # one for each of these
        self._waiting_bytes = 0
        self._answers: dict[int, Reply | None] = {}  # the keys are ids; None until the answer comes
        self._asked: dict[int, Request] = {}  # the requests that have no answer yet
        self._told: dict[int, bytes] = {}  # the books that answers to `snapshot` brought
        self._book: Book | None = None  # the next line is this one's book
        self._last_id = 0
        self._shown = 0  # the id by which the token is shown
        self._patterns: dict[str, None] = {}  # all that is subscribed, in order
        self._settings = Subscribe([])  # how the connection writes
        self._last_offset = 0  # the last that came
        self._gap: Gap | None = None  # since a connection was lost that stood for something
        self._lost = 0  # connections

    # --- a connection begins

    def begin(self, token: str | None) -> bytes:
        """Begin a connection, the first or another. Gives what the client says first, which may be nothing."""
        self.greeting = self.goodbye = self._book = None
        self.has_ended = False
        self._refusal = ""
        self._rest = b""
        self._shown = 0
        if token is None:
            return b""
        self._shown, line = self.ask(Authenticate(token))
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
        """Tell whether another connection may take up what this one stood for: the feed has refused nothing."""
        return not self._refusal

    def lose(self) -> str:
        """Take note that the connection is lost, tell the reader where it stood for anything, and say why."""
        self.has_lost = True
        self._lost += 1
        if self._patterns and self._gap is None:
            now = time.time_ns()
            self._gap = Gap(
                symbol=None,
                ts_recv=now,
                offset=self._last_offset,
                source="derived",
                gap_id=f"client/{self._lost}",
                phase="open",
                cause="disconnect",
                ts_from=now,
            )
            self._put(self._written(self._gap))
        return self._end

    @property
    def _end(self) -> str:
        """The way in which the connection has ended, in words."""
        return "the connection was cut" if self.goodbye is None else f"the feed has hung up: {self.goodbye}"

    def resumption(self) -> list[tuple[int, bytes]]:
        """Give the requests, with their numbers, that subscribe on a new connection to what there was."""
        return [self.ask(request) for request in self._resubscribe()]

    def _resubscribe(self) -> Iterator[Subscribe]:
        """The requests for all that is subscribed, from now on: here alone a connection says from where it goes on."""
        settings, patterns, size = self._settings, list[str](), 0
        for pattern in self._patterns:
            patterns.append(pattern)
            size += len(pattern.encode("utf-8", "surrogatepass"))
            if size > SUBSCRIBED_AT_ONCE_BYTES:
                yield Subscribe(patterns, numbers=settings.numbers, time=settings.time)
                patterns, size = [], 0
        if patterns:
            yield Subscribe(patterns, numbers=settings.numbers, time=settings.time)

    def resume(self, ids: list[int]) -> list[bytes]:
        """Take up what there was, once all answers to `resumption` are here.

        Gives requests that are to be asked again, as their answers were lost. The reader is told that records may be
        missing. Raises FeedError where the feed refuses now what it had granted.
        """
        for id in ids:
            told = self._answers[id]
            if isinstance(told, Error):
                raise LockedOut(f"the connection was made anew, and the feed refuses now: {told.error}")
            self.answer(id, Subscribed)
            self.forget(id)
        if self._gap is not None:
            self._turns[-1].told = self._closing(self._gap)
            self._gap = None
        self.has_lost = False
        self._asked = {id: request for id, request in self._asked.items() if id in self._answers}
        return [_encode(request) + b"\n" for request in self._asked.values()]

    def _closing(self, gap: Gap) -> bytes:
        """The record that ends the gap which the reader was told of."""
        now = time.time_ns()
        offset = gap.offset if self.greeting is None else self.greeting.offset
        return self._written(replace(gap, phase="close", ts_recv=now, ts_to=now, offset=offset, repair="none"))

    def _written(self, gap: Gap) -> bytes:
        """A record of our own as a line, with times as the connection writes them."""
        said = _plain(gap)
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
        for line in lines:
            self._sort(line)

    def _sort(self, line: bytes) -> None:
        """Put a line where it is waited for."""
        if self.greeting is None:
            self.greeting = _greeting(line)
            self._lines.append(b"")
            self._turns.append(_Turn(self.greeting.epoch))
            self._last_offset = self.greeting.offset
            return
        if self._book is not None:
            answer, self._book = self._book, None
            if isinstance(answer.id, int) and answer.id in self._answers:
                self._told[answer.id] = line
                self._answers[answer.id] = answer
            return
        kind = _kind_of(line)
        if kind.type not in REPLIES:
            self._last_offset = max(self._last_offset, kind.offset)
            self._put(line + b"\n")
        else:
            self._sort_reply(_decode_reply(line))

    def _put(self, line: bytes) -> None:
        self._lines.append(line)
        self._waiting_bytes += len(line)

    def _sort_reply(self, reply: Reply) -> None:
        if isinstance(reply, Book):
            self._book = reply
        elif isinstance(reply, Bye):
            self.goodbye = reply.reason
        elif isinstance(reply.id, int):
            request = self._asked.pop(reply.id, None)
            if request is not None and not isinstance(reply, Error):
                self._remember(request)
            if reply.id in self._answers:
                self._answers[reply.id] = reply
        elif isinstance(reply, Error) and reply.id is None:
            self._refusal = reply.error

    def _remember(self, request: Request) -> None:
        """Keep what is subscribed, for the next connection."""
        if isinstance(request, Subscribe):
            self._patterns |= dict.fromkeys(request.topics)
            self._settings.numbers = request.numbers or self._settings.numbers
            self._settings.time = request.time or self._settings.time
        elif isinstance(request, Unsubscribe):
            for topic in list(self._patterns) if request.topics is None else request.topics:
                self._patterns.pop(topic, None)

    # --- records

    @property
    def has_line(self) -> bool:
        """Tell whether a record can be taken. Behind the beginning of a connection none can until all is subscribed."""
        while self._lines and not self._lines[0] and not self.has_lost:
            self._lines.popleft()
            turn = self._turns.popleft()
            self.epoch = turn.epoch
            if turn.told:
                self._lines.appendleft(turn.told)
                self._waiting_bytes += len(turn.told)
        return bool(self._lines) and bool(self._lines[0])

    def take(self) -> bytes:
        """The next record as its line. Books that are kept learn of it."""
        line = self._lines.popleft()
        self._waiting_bytes -= len(line)
        if self.books.are_kept and self.books.concerns(_kind_of(line).type):
            self._note(_read(line))
        return line

    def take_record(self) -> tuple[Record, list[LiveBook]]:
        """The next record as a struct, and the books that it has changed. Raises FeedError for what is none."""
        line = self._lines.popleft()
        self._waiting_bytes -= len(line)
        record = _read(line)
        return record, self._note(record)

    def _note(self, record: Record) -> list[LiveBook]:
        try:
            return self.books.note(record)
        except BadFrame as error:
            raise FeedError(f"a book of {record.exchange} cannot be kept: {error}") from error

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

    def ask(self, request: Request) -> tuple[int, bytes]:
        """Number a request. Gives the number, by which the answer is known, and the line to send."""
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
        return _decode_record(line)
    except msgspec.ValidationError as error:
        said = f"a line that is no record ({error}); with numbers, time or fields set, use lines() and keep no book"
        raise FeedError(said) from error
