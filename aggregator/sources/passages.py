"""The words of another daemon's feed, in passages: what was published, what stands there, and what is missing."""

from aggregator.bus.history import KEEPER, Cursor
from aggregator.client.conversation import Conversation
from aggregator.errors import UNREADABLE
from aggregator.feed.protocol import Live, Resuming
from aggregator.records import BookSnapshot, Gap, Health, Instrument, Lag, Record, decode_record
from aggregator.sources.source import Passage
from aggregator.sources.unread import unread_record


class Passages:
    """Sorts what one conversation brings.

    A record whose offset is greater than that of the one before was published; another tells how something stands.
    """

    def __init__(self) -> None:
        """Begin at no place yet."""
        self._epoch, self._offset = "", 0
        self._passage = Passage(Cursor("", 0))
        self._found: list[Passage] = []

    def begin(self, cursor: Cursor) -> None:
        """Begin behind a place."""
        self._epoch, self._offset = cursor.epoch, cursor.offset
        self._passage = Passage(cursor)

    def note(self, notice: Resuming | Live) -> None:
        """Take note that the past begins, or that all of it is told; the conversation calls it."""
        if isinstance(notice, Resuming):
            self._part()
            self._epoch, self._offset = notice.epoch, notice.offset
        else:
            self._epoch, self._offset = notice.epoch, max(self._offset, notice.offset)
            self._passage.is_live = True
            self._part()

    def take(self, talk: Conversation) -> list[Passage]:
        """The passages that all which has come makes. Raises LinkBroken where a line is none of a feed."""
        while talk.has_line:
            line = talk.take()
            try:
                record = decode_record(line)
            except UNREADABLE:
                self._unread(line)
            else:
                self._record(record)
        self._part()
        found, self._found = self._found, []
        return found

    def _part(self) -> None:
        """End the passage of what has come so far, and begin another."""
        passage = self._passage
        self._passage = Passage(Cursor(self._epoch, self._offset))
        if passage.gap or passage.records or passage.standing or passage.unread or passage.is_live:
            passage.cursor = self._passage.cursor
            self._found.append(passage)

    def _record(self, record: Record) -> None:
        if isinstance(record, Lag):
            self._part()
            self._offset = max(self._offset, record.offset)
            self._passage.gap = _hole(record)
        elif isinstance(record, Gap) and not record.exchange and record.conn == KEEPER:
            self._part()
            self._passage.gap = record
        elif record.offset > self._offset:
            if self._passage.standing:
                self._part()
            self._offset = record.offset
            self._passage.records.append(record)
        elif isinstance(record, Health | BookSnapshot | Instrument):
            self._passage.standing.append(record)

    def _unread(self, line: bytes) -> None:
        """Keep what is known of a record that cannot be read; what has no offset is a message of a later version."""
        found = unread_record(line)
        if found.offset > self._offset:
            self._offset = found.offset
            self._passage.unread.append(found)


def _hole(lag: Lag) -> Gap:
    return Gap(
        symbol=None,
        ts_recv=lag.ts_recv,
        gap_id="",
        phase="close",
        cause="overflow",
        ts_from=lag.ts_recv,
        ts_to=lag.ts_recv,
        missed=lag.missed,
    )
