"""The messages between a subscriber and the feed: each line is one JSON object, or patterns from the subscriber."""

from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from aggregator.bus.history import Start
from aggregator.errors import AggregatorError
from aggregator.records import DemandState, TopicState

LONGEST_LINE_BYTES = 64 * 1024  # a subscriber may send so much as one line
MOST_PATTERNS = 1000  # one subscriber may hold so many
MOST_SEARCHED = 50  # patterns for which all names are looked at
MOST_DERIVED_CHANNELS = 32  # one subscriber may have topics of so many

Id = int | str | None  # the subscriber's own, given back with the answer
Numbers = Literal["text", "float"]
Time = Literal["ns", "us", "ms", "iso"]
Encoding = Literal["json", "msgpack"]
Layout = Literal["object", "array"]
Policy = Literal["drop_oldest", "conflate", "disconnect", "lossless"]

OPERATIONS = (
    '{"op":"subscribe","topics":["channel:exchange:symbol"]}, {"op":"unsubscribe"}, {"op":"ping"}, {"op":"topics"}, '
    '{"op":"snapshot","exchange":"ID","symbol":"BTC/USD"}, '
    'or bare patterns like trades:*:BTC/USDT; subscribe also takes "id", "snapshot" (true, false), '
    '"numbers" ("text", "float"), "time" ("ns", "us", "ms", "iso"), "fields" (names), '
    '"policy" ("drop_oldest", "conflate", "disconnect", "lossless"), "depth" (levels), "interval_ms", '
    '"from" (a cursor, {"epoch","offset"}, {"ts"}, "earliest", "now"); '
    '{"op":"hello"} takes "encoding" ("json", "msgpack") and "layout" ("object", "array"); '
    '{"op":"auth","token":"TOKEN"}'
)


class BadRequest(AggregatorError):
    """A subscriber said what cannot be done; `id` is that of its request."""

    def __init__(self, text: str, id: Id = None) -> None:
        """Say what is wrong and what is allowed."""
        super().__init__(text)
        self.id = id


class LineTooLong(BadRequest):
    """A line that has no end in sight: nothing after it can be understood, so the connection is closed."""


# --- what a subscriber says


class Subscribe(Struct, tag_field="op", tag="subscribe", forbid_unknown_fields=True):
    """Have these topics from now on, beside those had already.

    snapshot: whether each book among them starts with the whole book
    numbers: how prices and sizes are written, on the whole connection; null leaves it as it is
    time: how times are written, on the whole connection; null leaves it as it is
    fields: the only fields that are sent, beside `type`, on the whole connection; null leaves it as it is, and an empty
        list means all
    policy: what becomes of records that there is no room for, on the whole connection; null leaves it as it is
    depth: of the books among these topics only so many levels a side, whole each time
    interval_ms: of each of these topics only the newest, at most once in so many milliseconds
    from: where in the past to begin, where there is a journal: a cursor, `{"epoch":"…","offset":N}`, `{"ts":N}`,
        `"earliest"` or `"now"`; with it cursors are told
    """

    topics: list[str]
    id: Id = None
    snapshot: bool = True
    numbers: Numbers | None = None
    time: Time | None = None
    fields: list[str] | None = None
    policy: Policy | None = None
    depth: int | None = None
    interval_ms: int | None = None
    start: str | Start | None = field(name="from", default=None)


class Greet(Struct, tag_field="op", tag="hello", forbid_unknown_fields=True):
    """Choose how everything on this connection is written from now on; the answer is a `hello` written so.

    It is taken as long as nothing is subscribed. What a client says is JSON in any case.
    """

    encoding: Encoding = "json"
    layout: Layout = "object"
    id: Id = None


class Authenticate(Struct, tag_field="op", tag="auth", forbid_unknown_fields=True):
    """Show a token, as the first message where one is needed."""

    token: str
    id: Id = None


class Unsubscribe(Struct, tag_field="op", tag="unsubscribe", forbid_unknown_fields=True):
    """Have these patterns no more, each spelled as it was subscribed; null: none at all."""

    topics: list[str] | None = None
    id: Id = None


class Ping(Struct, tag_field="op", tag="ping", forbid_unknown_fields=True):
    id: Id = None


class ListTopics(Struct, tag_field="op", tag="topics", forbid_unknown_fields=True):
    """Name the topics that are known now.

    topics: only those that fit one of these patterns; null: all
    states: whether each one's state is told, too
    """

    topics: list[str] | None = None
    states: bool = False
    id: Id = None


class TakeSnapshot(Struct, tag_field="op", tag="snapshot", forbid_unknown_fields=True):
    """Give one book as it stands now; nothing is subscribed by that.

    symbol: the unified one, or the exchange's own
    """

    exchange: str
    symbol: str
    id: Id = None


Request = Authenticate | Greet | Subscribe | Unsubscribe | Ping | ListTopics | TakeSnapshot

# --- what the feed says, beside records


class Hello(Struct, tag_field="type", tag="hello"):
    """The first line: what the stream is, and the offset of the last record before it.

    daemon: the name of the daemon, by which others that pass its records on know it; left out where it has none
    """

    schema: int
    epoch: str
    offset: int
    version: str
    id: Id | UnsetType = UNSET
    daemon: str | UnsetType = UNSET


class Schema(Struct, tag_field="type", tag="schema"):
    """The fields of each type of record, in the order in which an array holds them; it follows the `hello`."""

    types: dict[str, list[str]]


class Authenticated(Struct, tag_field="type", tag="authenticated"):
    """The token is right: the patterns that it allows, or null where it allows everything."""

    name: str
    topics: list[str] | None
    id: Id = None


class AbsentTopic(Struct, frozen=True):
    """A topic or pattern of which nothing can be had now, and why; `nearest` are names that may have been meant."""

    topic: str
    reason: str
    nearest: list[str] = []


class Subscribed(Struct, tag_field="type", tag="subscribed"):
    """The patterns were taken; `matched` of the topics known now fit them.

    reasons: why nothing comes for now of derived topics that were named in full; left out where there are none
    absent: those of which nothing can be had now, and why; it is left out where there are none
    """

    topics: list[str]
    matched: int
    absent: list[AbsentTopic] | UnsetType = UNSET
    id: Id = None
    reasons: list[str] | UnsetType = UNSET


class Unsubscribed(Struct, tag_field="type", tag="unsubscribed"):
    topics: list[str]
    id: Id = None


class Pong(Struct, tag_field="type", tag="pong"):
    id: Id = None


class TopicStanding(Struct, frozen=True):
    """The state of a topic: how long ago something of it came (null: nothing has yet), and the reason of the state.

    demand: how it stands if it is brought on demand: `wanted`, `pending`, `live` or `lingering`; left out otherwise
    """

    state: TopicState
    age_ms: int | None
    reason: str | None
    demand: DemandState | UnsetType = UNSET


class Topics(Struct, tag_field="type", tag="topics"):
    """Every topic known now, as `channel:exchange:symbol`, sorted; `states`, where asked for, are in the same order.

    A state is null where no connection answers for the topic.
    """

    topics: list[str]
    states: list[TopicStanding | None] | UnsetType = UNSET
    id: Id = None


class Book(Struct, tag_field="type", tag="snapshot"):
    """The answer to `snapshot`: the next line is the book."""

    exchange: str
    symbol: str
    id: Id = None


class Error(Struct, tag_field="type", tag="error"):
    """The answer to a request that cannot be done; it says what can."""

    error: str
    id: Id = None


class Resuming(Struct, tag_field="type", tag="resuming"):
    """The records that follow were missed, and are of this epoch; the first of them comes behind this offset."""

    epoch: str
    offset: int
    id: Id | UnsetType = UNSET


class Live(Struct, tag_field="type", tag="live"):
    """All that was missed has been told: what comes now is told as it is published."""

    epoch: str
    offset: int
    cursor: str
    id: Id | UnsetType = UNSET


class Reached(Struct, tag_field="type", tag="cursor"):
    """The place behind the record that came before this message, to be given as `from`."""

    cursor: str


class Bye(Struct, tag_field="type", tag="bye"):
    """The last line: the feed hangs up, and says why; with the place behind the last record, where cursors are told.

    over: true where a replay has come to its end: a client that connects again would have it from the beginning
    """

    reason: str
    id: Id = None
    cursor: str | UnsetType = UNSET
    over: bool | UnsetType = UNSET


ANSWERS: dict[str, tuple[type[Struct], ...]] = {  # by operation; what cannot be done is answered by an `Error`
    "hello": (Hello, Schema),
    "auth": (Hello, Authenticated),
    "subscribe": (Subscribed, Resuming, Live, Reached),
    "unsubscribe": (Unsubscribed,),
    "ping": (Pong,),
    "topics": (Topics,),
    "snapshot": (Book,),
}

Reply = Authenticated | Subscribed | Unsubscribed | Pong | Topics | Book | Error | Bye
Notice = Resuming | Live | Reached  # they come to whoever is told what it has missed


class _Identified(Struct):
    id: Id = None


_decode: Callable[[bytes], Request] = msgspec.json.Decoder(Request).decode
_decode_id = msgspec.json.Decoder(_Identified).decode


def read_line(line: bytes) -> Request | None:
    """Read the request in a line; None for a blank line. Raises BadRequest."""
    if len(line) > LONGEST_LINE_BYTES:
        raise LineTooLong(f"a line of more than {LONGEST_LINE_BYTES} bytes: the connection is closed")
    line = line.strip()
    if not line:
        return None
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"not UTF-8 (byte {error.start}): a line is JSON or bare patterns") from None
    if not text.startswith("{"):
        return Subscribe(topics=text.split())
    try:
        return _decode(line)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{error}; allowed: {OPERATIONS}", _id_of(line)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"not JSON: {error}; allowed: {OPERATIONS}") from None


def _id_of(line: bytes) -> Id:
    try:
        return _decode_id(line).id
    except (msgspec.MsgspecError, RecursionError):
        return None
