"""The lines of another daemon's feed, in passages: what was published there, what stands there, and what is missing."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Union, get_args

import msgspec
from msgspec import Struct

from aggregator.bus.history import Cursor
from aggregator.feed.protocol import Bye, Error, Hello, Live, Notice, Reply, Resuming
from aggregator.records import RECORD_TYPES, BookSnapshot, Gap, Health, Instrument, Lag, Record
from aggregator.sources.source import LinkBroken, Passage

JOURNAL = "journal"  # `conn` of the gaps by which a journal tells what it does not have


class UnreadLine(Struct):
    """A line that is nothing of this version, as far as it can be read."""

    type: str = ""
    exchange: str | None = None
    symbol: str | None = None
    raw_symbol: str | None = None
    offset: int = 0


Line = Record | Reply | Notice | Hello | UnreadLine

_decode: Callable[[bytes], Line] = msgspec.json.Decoder(
    Union[(*RECORD_TYPES, *get_args(Reply), *get_args(Notice), Hello)]
).decode
_decode_unread = msgspec.json.Decoder(UnreadLine).decode


def read_line(line: bytes) -> Line:
    """A line as what it is. Raises LinkBroken where it is none of a feed."""
    try:
        return _decode(line)
    except msgspec.ValidationError:
        with suppress(msgspec.MsgspecError):
            return _decode_unread(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    raise LinkBroken("what comes there is no feed: a line that is no JSON object")


class Passages:
    """Sorts the lines of one connection.

    A record whose offset is greater than that of the one before was published; another tells how something stands.

    end: the feed has said that it hangs up; null: it has not
    is_refused: it has refused a request since that was looked at last: it takes none while the past is being told
    """

    def __init__(self, cursor: Cursor) -> None:
        """Begin behind a place."""
        self.end: LinkBroken | None = None
        self.is_refused = False
        self._epoch = cursor.epoch
        self._offset = cursor.offset
        self._passage = Passage(cursor)
        self._found: list[Passage] = []

    def sort(self, lines: Sequence[bytes]) -> list[Passage]:
        """The passages that lines make. Raises LinkBroken where they are none of a feed."""
        for line in lines:
            told = read_line(line)
            if isinstance(told, Record):
                self._record(told)
            elif isinstance(told, UnreadLine):
                self._unread(told)
            elif isinstance(told, Resuming):
                self._part()
                self._epoch, self._offset = told.epoch, told.offset
            elif isinstance(told, Live):
                self._live(told)
            elif isinstance(told, Error) and told.id is not None:
                self.is_refused = True
            elif isinstance(told, Bye | Error):
                said = f"it has hung up: {told.reason}" if isinstance(told, Bye) else f"it refuses: {told.error}"
                self.end = LinkBroken(said, is_refused=isinstance(told, Error))
                break
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
        elif isinstance(record, Gap) and not record.exchange and record.conn == JOURNAL:
            self._part()
            self._passage.gap = record
        elif record.offset > self._offset:
            if self._passage.standing:
                self._part()
            self._offset = record.offset
            self._passage.records.append(record)
        elif isinstance(record, Health | BookSnapshot | Instrument):
            self._passage.standing.append(record)

    def _unread(self, line: UnreadLine) -> None:
        """Keep what is known of a record that cannot be read; what has no offset is a message of a later version."""
        if line.offset > self._offset:
            self._offset = line.offset
            self._passage.unread.append(
                Record(exchange=line.exchange or "", symbol=line.symbol, raw_symbol=line.raw_symbol, offset=line.offset)
            )

    def _live(self, live: Live) -> None:
        self._epoch, self._offset = live.epoch, max(self._offset, live.offset)
        self._passage.is_live = True
        self._part()


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
