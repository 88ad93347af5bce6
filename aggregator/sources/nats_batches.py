"""Messages of the `nats` sink, put together: records in the order of their offsets, each once, and what is missing.

A batch comes as one message or several, and before any of the next one. A batch that the sink or its daemon has sent
again, after whatever failed, has records that came before: they are at offsets up to the last that was given.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from aggregator.bus.history import Cursor
from aggregator.errors import UNREADABLE
from aggregator.records import Cause, Gap, Record, decode_record
from aggregator.sinks.brokers.nats_client import BATCH, BEFORE, DAEMON, EPOCH, FENCE
from aggregator.sources.source import UNNAMED, LinkBroken, Passage
from aggregator.sources.unread import unread_record

GAP = b'"type":"gap"'
FORM = re.compile(r"(\d{1,18})-(\d{1,18})/(\d{1,9})", re.ASCII)
NUMBER = re.compile(r"\d{1,18}", re.ASCII)


class ForeignMessage(Exception):
    """A message that neither a sink nor an owner has written."""


class BatchOrigin(Struct, frozen=True):
    """The headers of a message.

    epoch: of the daemon that wrote it
    daemon: its name
    first, last: the offsets of the first and the last record of the batch
    count: the messages in which the batch comes
    before: the offset of the last record of the batch before; 0: that is not known
    fence: of an owner in a cluster: the number of its ownership; 0: one daemon alone writes there
    """

    epoch: str
    daemon: str
    first: int
    last: int
    count: int
    before: int
    fence: int = 0


def origin_of(headers: Mapping[str, str] | None) -> BatchOrigin:
    """Read the headers of a message. Raises ForeignMessage."""
    given = headers or {}
    found = FORM.fullmatch(given.get(BATCH, ""))
    before, fence = given.get(BEFORE, ""), given.get(FENCE, "0")
    if found is None or not given.get(EPOCH) or not all(map(NUMBER.fullmatch, (before, fence))):
        raise ForeignMessage("its headers are none of the `nats` sink of this version")
    return BatchOrigin(
        given[EPOCH],
        given.get(DAEMON) or UNNAMED,
        int(found[1]),
        int(found[2]),
        int(found[3]),
        int(before),
        int(fence),
    )


def _lines(origin: BatchOrigin, payload: bytes) -> Sequence[bytes]:
    """The lines of a message; an owner's frame has as many as its headers say. Raises ForeignMessage."""
    lines = payload.splitlines()
    count = origin.last - origin.first + 1
    if origin.fence and len(lines) != count and (lines or count != 1):  # a frame without lines is a barrier
        raise ForeignMessage(f"its headers tell of {count} records, and it has {len(lines)}")
    return lines


def records_in(origin: BatchOrigin, payload: bytes) -> tuple[Sequence[Record], Sequence[Record]]:
    """The records of a message, and those of a later version as far as they are known. Raises ForeignMessage."""
    records: list[Record] = []
    later: list[Record] = []
    for line in _lines(origin, payload):
        try:
            records.append(decode_record(line))
        except UNREADABLE:
            try:
                later.append(unread_record(line))
            except LinkBroken:
                raise ForeignMessage("it has a line that is no record") from None
    return records, later


class Batches:
    """The batches of one daemon, of which messages come one after the other.

    cursor: all up to this place was given, or never came
    cause: of what is missing
    """

    def __init__(self, cursor: Cursor | None, cause: Cause) -> None:
        """Begin behind a place; null: with whatever comes first."""
        self.cursor = cursor or Cursor("", 0)
        self._cause = cause
        self._gap_id = ""  # the newest of those that the journal there has told
        self._ts = 0  # when the newest message was written
        self._top = self.cursor.offset  # the last record of the batches of which something came
        self._waiting: dict[int, Record] = {}
        self._batch = (0, 0)  # the first and the last offset of the batch of which something came last
        self._come: set[tuple[str, int]] | None = None  # its messages that have come; null: all have
        self._is_first = cursor is None  # it may have begun before us

    @property
    def is_between(self) -> bool:
        """Tell whether nothing is held, nor expected, of the batch of which something came last."""
        return self._come is None and not self._waiting

    def take(self, origin: BatchOrigin, subject: str, payload: bytes, ts: int, *, follows: bool) -> list[Passage]:
        """Take a message that was written at `ts`; gives what can be told now. Raises ForeignMessage: it is not taken.

        follows: it is sure that none is missing between it and the one before it
        """
        is_old = origin.epoch < self.cursor.epoch
        is_old = is_old or (origin.epoch == self.cursor.epoch and origin.last <= self.cursor.offset)
        records, later = ((), ()) if is_old else records_in(origin, payload)
        told = self._told_there(payload)
        if is_old:
            return told
        is_unsure = not follows and origin.before == 0
        if not self.cursor.epoch:
            self.cursor = Cursor(origin.epoch, 0)
        elif origin.epoch != self.cursor.epoch:
            told += self._end(self._top, ts)
            self.cursor, self._top, self._batch = Cursor(origin.epoch, 0), 0, (0, 0)
            told += self._hole(ts, is_missing=is_unsure or origin.before > 0)
        elif (origin.first, origin.last) != self._batch:
            if origin.first > self._batch[1]:
                told += self._end(origin.first - 1, ts)
            told += self._hole(ts, is_missing=is_unsure or origin.before > self._top)
        if (origin.first, origin.last) != self._batch:
            self._batch, self._come = (origin.first, origin.last), set()
        self._top, self._ts = max(self._top, origin.last), ts
        self._keep(records, origin.last)
        if unread := [each for each in later if each.offset > self.cursor.offset]:
            told.append(Passage(self.cursor, unread=unread))
        if self._come is not None:
            self._come.add((subject, hash(payload)))
            if len(self._come) >= origin.count:
                self._come, self._is_first = None, False
                told += self._give(origin.last)
        return told

    def finish(self, ts: int) -> list[Passage]:
        """Nothing of this daemon comes any more."""
        return self._end(self._top, ts)

    def _told_there(self, payload: bytes) -> list[Passage]:
        """Gaps of the journal there, in whatever batch they are told: they have no place of their own."""
        told = []
        for line in payload.splitlines() if GAP in payload else ():
            try:
                record = decode_record(line)
            except UNREADABLE:
                continue
            if isinstance(record, Gap) and not record.exchange and record.gap_id != self._gap_id:
                self._gap_id = record.gap_id
                told.append(Passage(self.cursor, gap=record))
        return told

    def _keep(self, records: Iterable[Record], last: int) -> None:
        """Hold the records of a batch that have not been given; `last`: the number of its last one."""
        given = self.cursor.offset
        for record in records:
            if given < record.offset <= last and (record.exchange or not isinstance(record, Gap)):
                self._waiting[record.offset] = record

    def _end(self, last: int, ts: int) -> list[Passage]:
        """Nothing of the records up to this offset comes any more."""
        told = self._give(last)
        is_missing, self._come = self._come is not None, None
        told += self._hole(ts, is_missing=is_missing)
        self._is_first = False
        return told

    def _give(self, last: int) -> list[Passage]:
        """All that is held up to an offset, in order."""
        due = sorted(offset for offset in self._waiting if offset <= last)
        self.cursor = Cursor(self.cursor.epoch, max(self.cursor.offset, last))
        return [Passage(self.cursor, records=[self._waiting.pop(offset) for offset in due])] if due else []

    def _hole(self, ts: int, *, is_missing: bool) -> list[Passage]:
        if not is_missing or self._is_first:
            return []
        return [Passage(self.cursor, gap=hole(self._cause, self._ts or ts, ts))]


def hole(cause: Cause, ts_from: int, ts_to: int) -> Gap:
    """A gap that says that something is missing, and no more."""
    return Gap(symbol=None, ts_recv=ts_to, gap_id="", phase="close", cause=cause, ts_from=ts_from, ts_to=ts_to)
