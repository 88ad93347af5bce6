"""The stream as it was: where a reader may begin in it, and the contract of whoever keeps it.

A journal keeps it (`sinks/journal/`). The feed, and whatever else reads what is past, knows this contract alone.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal, Protocol, TypeVar

import msgspec
from msgspec import Struct

from aggregator.bus.selection import RecordTopic, Selection, topic_of
from aggregator.errors import UNREADABLE, AggregatorError
from aggregator.records import SECOND_NS, Cause, Gap, Record, decode_record

T = TypeVar("T")

LONGEST_CURSOR = 1024  # characters
CURSOR_VERSION = 1
KEEPER = "journal"  # `conn` of the gaps by which a history tells what it does not have
EPOCH_FORM = "%Y%m%dT%H%M%S.%fZ"  # an epoch is called by the moment at which it began


class BadStart(AggregatorError):
    """A reader wants to begin where it cannot; the words say why, and what is allowed."""


class Cursor(Struct, frozen=True):
    """A place in the stream: everything up to this record has been told, and the next one follows.

    offset: of the last record that was told; 0: none of the epoch was
    """

    epoch: str
    offset: int

    @property
    def text(self) -> str:
        """The cursor as its holder keeps it. Only this module reads what stands in it, and it may come to hold more."""
        packed = _pack((CURSOR_VERSION, self.epoch, self.offset))
        return urlsafe_b64encode(packed).rstrip(b"=").decode()


_pack = msgspec.msgpack.Encoder().encode
_unpack: Callable[[bytes], tuple[int, str, int]] = msgspec.msgpack.Decoder(tuple[int, str, int]).decode


class Start(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to begin, in words of its own: behind a record of an epoch, or with the first record of a time on.

    epoch, offset: that of a record which has been told
    ts: ns; the first record with a `ts_recv` of this or later is the first that is told
    """

    epoch: str | None = None
    offset: int | None = None
    ts: int | None = None


Beginning = Cursor | Start | Literal["earliest", "now"]
WORDS: dict[str, Literal["earliest", "now"]] = {"earliest": "earliest", "now": "now"}


def parse_beginning(given: str | Start) -> Beginning:
    """Read what a client gives as the place to begin. Raises BadStart."""
    if isinstance(given, str):
        return WORDS.get(given) or _cursor(given)
    if given.ts is not None and (given.epoch, given.offset) == (None, None):
        return given
    if given.ts is None and given.epoch is not None and given.offset is not None and given.offset >= 0:
        return Cursor(given.epoch, given.offset)
    raise BadStart('write {"epoch":"…","offset":N} or {"ts":NANOSECONDS}')


def _cursor(text: str) -> Cursor:
    try:
        version, epoch, offset = _unpack(urlsafe_b64decode(text[:LONGEST_CURSOR] + "=" * (-len(text) % 4)))
    except (ValueError, msgspec.MsgspecError):
        version, epoch, offset = 0, "", 0
    if version != CURSOR_VERSION or offset < 0 or len(text) > LONGEST_CURSOR:
        raise BadStart(
            f'{text!a:.80} is no cursor of this feed; give one as it came, {{"epoch":"…","offset":N}}, '
            f'{{"ts":NANOSECONDS}}, or one of {", ".join(WORDS)}'
        )
    return Cursor(epoch, offset)


def begun(epoch: str) -> int:
    """The moment at which an epoch began, in ns; 0 where its name does not tell."""
    try:
        return int(datetime.strptime(epoch, EPOCH_FORM).replace(tzinfo=UTC).timestamp()) * SECOND_NS
    except ValueError:
        return 0


class KeptTopic(Struct, frozen=True):
    """A topic of records that are kept, and their type."""

    type: str
    channels: tuple[str, ...]
    exchange: str
    names: tuple[str, ...]
    raw_symbol: str | None

    @property
    def topic(self) -> RecordTopic:
        """The topic by which a selection judges."""
        return RecordTopic(self.channels, self.exchange, self.names)


def kept_topic(record: Record) -> KeptTopic:
    """The topic under which a record is kept."""
    channels, exchange, names = topic_of(record)
    return KeptTopic(str(record.__struct_config__.tag), channels, exchange, names, record.raw_symbol)


class KeptLine(Struct, frozen=True):
    """The part of a record that can be read though another version wrote it."""

    type: str = ""
    exchange: str = ""
    raw_symbol: str | None = None
    offset: int = 0
    ts_recv: int = 0


kept_line: Callable[[bytes], KeptLine] = msgspec.json.Decoder(KeptLine).decode


class Stretch(Struct):
    """Records of one epoch that follow each other, of those topics that were asked for.

    cursor: the place behind them; everything before it was looked at
    gap: what is missing before them; null: nothing
    lines: each record as NDJSON, with its newline
    topics: the topic of each, where that was asked for; else empty
    is_end: whether nothing that follows is kept, but for what the history has in memory
    is_over: whether the place at which the reader wanted to stop is reached
    """

    cursor: Cursor
    gap: Gap | None = None
    lines: list[bytes] = []
    topics: Sequence[KeptTopic] = ()
    is_end: bool = False
    is_over: bool = False


class HistoryStatus(Struct, frozen=True, kw_only=True):
    """How much is kept of the stream.

    path: the directory
    failing: what keeps it from writing; null: nothing
    epochs: lives of the daemon of which something is kept
    segments: files
    bytes: that they take
    records: that were written since the start
    missed: that could not be written since the start; a gap stands in their place
    held: that wait to be written
    ts_from: the time of the oldest record that is kept (ns); null: there is none
    expired: files that were removed since the start, because of their age or to make room
    readers: reads that are under way or wait for their turn
    """

    path: str
    failing: str | None = None
    epochs: int = 0
    segments: int = 0
    bytes: int = 0
    records: int = 0
    missed: int = 0
    held: int = 0
    ts_from: int | None = None
    expired: int = 0
    readers: int = 0


class History(Protocol):
    """Whoever keeps the stream. No call but `begin` and `read` waits, and these keep nobody else waiting."""

    async def begin(self, start: Beginning) -> tuple[Cursor, Gap | None]:
        """Find a place, and tell what is missing before it. Raises BadStart."""

    async def read(
        self,
        cursor: Cursor,
        wanted: Selection,
        give: Callable[[Stretch], T],
        *,
        until: Cursor | None = None,
        with_topics: bool = False,
    ) -> T:
        """Read some of what follows a place; `give` makes of it, off the loop, what is returned. Raises OSError."""

    def tail(self, cursor: Cursor) -> list[Record] | None:
        """The records behind a place up to the newest that was published; null: that is more than is in memory."""

    def status(self) -> HistoryStatus:
        """How much is kept, and whether all is well."""


def hole(
    cause: Cause,
    cursor: Cursor,
    following: Cursor,
    ts: tuple[int, int],
    *,
    missed: int | None = None,
) -> Gap:
    """The gap of a history: what was published between two places is not there, or not all of it.

    cursor: the place behind the last record before
    following: the place before the first record after
    missed: how many records; null: every one between the places, where these are of one epoch
    """
    is_one = cursor.epoch == following.epoch
    return Gap(
        exchange="",
        symbol=None,
        raw_symbol=None,
        ts_recv=ts[1],
        offset=following.offset,
        conn=KEEPER,
        source="derived",
        gap_id=f"journal:{cursor.epoch}:{cursor.offset}-{'' if is_one else f'{following.epoch}:'}{following.offset}",
        phase="close",
        channel=None,
        cause=cause,
        ts_from=min(ts),
        ts_to=ts[1],
        expected=cursor.offset + 1 if is_one else None,
        got=following.offset + 1 if is_one else None,
        missed=following.offset - cursor.offset if missed is None and is_one else missed,
        repair="none",
    )


def kept_records(lines: Sequence[bytes], epoch: str) -> tuple[list[Record], str]:
    """The records of lines that a history gives, and why some are none; empty: all are.

    Another version wrote those; a gap stands in their place.
    """
    try:
        return [decode_record(line) for line in lines], ""
    except UNREADABLE as error:
        reason = str(error)
    found: list[Record] = []
    unread: list[KeptLine] = []
    for line in lines:
        try:
            record = decode_record(line)
        except UNREADABLE:
            unread.append(kept_line(line))
            continue
        found += _unread(unread, epoch)
        unread.clear()
        found.append(record)
    return [*found, *_unread(unread, epoch)], reason


def _unread(lines: Sequence[KeptLine], epoch: str) -> Iterator[Gap]:
    """The gap for records that follow each other and cannot be read, if there are any."""
    if lines:
        first, last = lines[0], lines[-1]
        places, ts = (Cursor(epoch, first.offset - 1), Cursor(epoch, last.offset)), (first.ts_recv, last.ts_recv)
        yield hole("damaged", *places, ts, missed=len(lines))
