"""Messages of the `nats` sink, put together: records in the order of their offsets, each once, and what is missing.

A batch comes as one message or several, and before any of the next one. A batch that the sink or its daemon has sent
again, after whatever failed, has records that came before: they are at offsets up to the last that was given.
"""

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from aggregator.bus.history import Cursor
from aggregator.errors import UNREADABLE
from aggregator.records import Cause, Gap, Record, decode_record
from aggregator.sinks.brokers.nats_client import BATCH, BEFORE, DAEMON, EPOCH, FENCE
from aggregator.sources.source import UNNAMED, LinkBroken, Passage
from aggregator.sources.unread import unread_record

GAP = b'"type":"gap"'
FORM = re.compile(r"(\d{1,19})-(\d{1,19})/(\d{1,9})", re.ASCII)


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


def origin_of(headers: Mapping[str, str] | None, subject: str) -> BatchOrigin:
    """Read the headers of a message. Raises LinkBroken where the sink did not write it."""
    given = headers or {}
    found = FORM.fullmatch(given.get(BATCH, ""))
    before, fence = given.get(BEFORE, ""), given.get(FENCE, "0")
    if found is None or not given.get(EPOCH) or not all(n.isascii() and n.isdecimal() for n in (before, fence)):
        said = (
            f"a message at {subject!r} is none of the `nats` sink of this version: give the source a prefix of its own"
        )
        raise LinkBroken(said, is_refused=True)
    return BatchOrigin(
        given[EPOCH],
        given.get(DAEMON) or UNNAMED,
        int(found[1]),
        int(found[2]),
        int(found[3]),
        int(before),
        int(fence),
    )


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
        """Take a message that was written at `ts`; gives what can be told now. Raises LinkBroken.

        follows: it is sure that none is missing between it and the one before it
        """
        told = self._told_there(payload)
        offset = self.cursor.offset
        if origin.epoch < self.cursor.epoch or (origin.epoch == self.cursor.epoch and origin.last <= offset):
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
        unread = self._keep(payload.splitlines())
        if unread:
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

    def _keep(self, lines: Iterable[bytes]) -> list[Record]:
        """Hold records that have not been given; gives those that cannot be read."""
        unread = []
        for line in lines:
            try:
                record = decode_record(line)
            except UNREADABLE:
                found = unread_record(line)
                if found.offset > self.cursor.offset:
                    unread.append(found)
                continue
            if record.offset > self.cursor.offset and (record.exchange or not isinstance(record, Gap)):
                self._waiting[record.offset] = record
        return unread

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
