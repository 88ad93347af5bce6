"""The conversation with a feed, apart from any socket: bytes that have come go in, records and answers come out.

Both clients, the asynchronous one and the blocking one, hold their conversation by this.
"""

from collections import deque
from collections.abc import Callable
from typing import TypeVar, Union, get_args

import msgspec
from msgspec import Struct

from aggregator.client.books import Books, LiveBook
from aggregator.errors import AggregatorError, BadFrame
from aggregator.feed.protocol import (
    Book,
    Bye,
    Error,
    Hello,
    Pong,
    Reply,
    Request,
    Subscribed,
    Topics,
    Unsubscribed,
)
from aggregator.records import RECORD_TYPES, BookSnapshot, Record

MOST_WAITING_BYTES = 64 * 2**20  # records that came while an answer was waited for, and that nobody takes

Answer = TypeVar("Answer", Subscribed, Unsubscribed, Pong, Topics, Book)


class FeedError(AggregatorError):
    """The feed cannot be reached, or refuses a request; the text says why."""


class CutOff(FeedError):
    """The connection has ended, and the feed had not said that it would."""


class _Kind(Struct):
    type: str


_encode = msgspec.json.Encoder().encode
_kind_of = msgspec.json.Decoder(_Kind).decode
_decode_reply = msgspec.json.Decoder(Reply).decode
_decode_greeting = msgspec.json.Decoder(Hello | Error).decode
_decode_record: Callable[[bytes], Record] = msgspec.json.Decoder(Union[RECORD_TYPES]).decode  # noqa: UP007 - a tuple
REPLIES = frozenset(str(message.__struct_config__.tag) for message in get_args(Reply))


class Conversation:
    """One connection's conversation.

    greeting: what the feed has said first; null until then
    goodbye: why the feed has hung up, in its words; null while it has not
    has_ended: nothing comes any more
    """

    def __init__(self) -> None:
        """Begin before the greeting."""
        self.greeting: Hello | None = None
        self.goodbye: str | None = None
        self.has_ended = False
        self.books = Books()
        self._refusal = ""  # an error that answers no request
        self._rest = b""
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._answers: dict[int, Reply | None] = {}  # the keys are ids; None until the answer comes
        self._told: dict[int, bytes] = {}  # the books that answers to `snapshot` brought
        self._book: Book | None = None  # the next line is this one's book
        self._last_id = 0

    # --- what comes

    def receive(self, data: bytes) -> None:
        """Take bytes as they come; none at all is the end. Raises FeedError where no feed speaks."""
        if not data:
            self.has_ended = True  # a line without its end is none
            if self.greeting is None:
                raise FeedError("what listens there does not speak as the feed does, or has hung up")
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._sort(line)

    def _sort(self, line: bytes) -> None:
        """Put a line where it is waited for."""
        if self.greeting is None:
            self.greeting = _greeting(line)
        elif self._book is not None:
            answer, self._book = self._book, None
            if isinstance(answer.id, int) and answer.id in self._answers:
                self._told[answer.id] = line
                self._answers[answer.id] = answer
        elif _kind_of(line).type not in REPLIES:
            self._lines.append(line + b"\n")
            self._waiting_bytes += len(line) + 1
        else:
            self._sort_reply(_decode_reply(line))

    def _sort_reply(self, reply: Reply) -> None:
        if isinstance(reply, Book):
            self._book = reply
        elif isinstance(reply, Bye):
            self.goodbye = reply.reason
        elif isinstance(reply.id, int) and reply.id in self._answers:
            self._answers[reply.id] = reply
        elif isinstance(reply, Error) and reply.id is None:
            self._refusal = reply.error

    # --- records

    @property
    def has_line(self) -> bool:
        """Tell whether a record can be taken."""
        return bool(self._lines)

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
        """Raise FeedError where the end that has come was announced by nothing."""
        if self._refusal:
            raise FeedError(self._refusal)
        if self.goodbye is None:
            raise CutOff("the connection was cut: it ended, and the feed had not said goodbye")

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
        self.check_end()
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
        raise FeedError("what listens there does not speak as the feed does, or has hung up") from error
    if isinstance(greeting, Error):
        raise FeedError(greeting.error)
    return greeting


def _read(line: bytes) -> Record:
    try:
        return _decode_record(line)
    except msgspec.ValidationError as error:
        said = f"a line that is no record ({error}); with numbers, time or fields set, use lines() and keep no book"
        raise FeedError(said) from error
