"""The options of a subscription, read and checked before anything is sent."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypedDict, get_args

import msgspec

from aggregator.client.errors import FeedError
from aggregator.feed.protocol import Numbers, Policy, Subscribe, Time
from aggregator.records import SECOND_NS

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LEAST_NS = 10**8 * SECOND_NS  # a time before this, in 1973, is meant in seconds or milliseconds
HOW_TO_BEGIN = "a cursor, (epoch, offset), nanoseconds, a datetime with a time zone, 'earliest' or 'now'"


class StreamPosition(NamedTuple):
    """A place in the stream: behind the record with this offset, in this life of the daemon."""

    epoch: str
    offset: int


Beginning = str | tuple[str, int] | int | datetime


class SubscriptionOptions(TypedDict, total=False):
    """The options of a subscription.

    snapshot: whether each book starts with the whole book, and `instruments` with those in force; true by default
    depth: of books the best so many levels a side, whole each time
    interval_ms: the newest of each topic, at most once in so many milliseconds
    start: where in the past to begin, where the daemon keeps a journal: a cursor, the epoch and the offset of a record,
        a time (ns, or a `datetime` with a time zone), `earliest` or `now`; for the first topics of a connection

    These hold for the whole connection, until a later subscription says otherwise:

    policy: what becomes of records when too many wait: `drop_oldest`, `conflate`, `disconnect` or `lossless`
    fields: only these fields of records, which are then read by `lines` only; an empty list: all
    numbers: `float` for JSON numbers; likewise
    time: `us`, `ms` or `iso`; likewise
    """

    snapshot: bool
    depth: int | None
    interval_ms: int | None
    start: Beginning | None
    policy: Policy | None
    fields: Sequence[str] | None
    numbers: Numbers | None
    time: Time | None


ALLOWED = {"policy": Policy, "numbers": Numbers, "time": Time}


def subscription(topics: Sequence[str], options: SubscriptionOptions) -> Subscribe:
    """The request for these topics. Raises FeedError for what no feed would do."""
    start, fields = options.get("start"), options.get("fields")
    for name, words in ALLOWED.items():
        given = options.get(name)
        if given is not None and given not in get_args(words):
            raise FeedError(f"{name}={given!r:.40}: there are {', '.join(get_args(words))}")
    for name in ("depth", "interval_ms"):
        if options.get(name) is not None and start is not None:
            raise FeedError(f"what is computed is not kept: leave start or {name} out")
    if isinstance(fields, str):
        raise FeedError(f"fields={fields!r:.40}: write a list of names")
    said: dict[str, object] = {"topics": list(topics), **options}
    said.pop("start", None)
    if start is not None:
        said["from"] = beginning(start)
    if fields is not None:
        said["fields"] = list(fields)
    try:
        return msgspec.convert(said, Subscribe)
    except msgspec.ValidationError as error:
        raise FeedError(f"no subscription: {error}") from None


def beginning(given: Beginning) -> str | dict[str, object]:
    """Where to begin, as the feed reads it. Raises FeedError, which says how it is written."""
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise FeedError(f"start={given!r}: a time without its time zone; write datetime(…, tzinfo=UTC)")
        return {"ts": (given - EPOCH) // timedelta(microseconds=1) * 1000}
    if isinstance(given, str) and given:
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        if given < LEAST_NS:
            raise FeedError(f"start={given}: a time in nanoseconds since 1970 has 19 digits")
        return {"ts": given}
    match given:
        case (str() as epoch, int() as offset) if epoch and offset >= 0:
            return {"epoch": epoch, "offset": offset}
    raise FeedError(f"start={given!r:.60}: write {HOW_TO_BEGIN}")
