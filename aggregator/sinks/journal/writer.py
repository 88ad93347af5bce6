"""The thread side of writing: batches become blocks of the open segment, or are noted as lost."""

import logging
import time
from array import array
from collections.abc import Callable, Hashable, Sequence
from threading import Lock

from aggregator.bus.bus import Batch
from aggregator.bus.history import KeptTopic, kept_topic
from aggregator.bus.selection import KIND
from aggregator.records import Record, channel_of
from aggregator.sinks.journal.blocks import OpenFile
from aggregator.sinks.journal.reader import LostRange
from aggregator.sinks.journal.segments import Shelf, is_there
from aggregator.sinks.sink import Context

SEGMENT_S = 3600.0  # an open segment is closed after so long
MOST_LOST = 100  # holes that are remembered: of older ones what is on disk behind them tells
RETRY_S = 1.0  # after an error nothing is written for so long
LOOK_S = 1.0  # between two looks whether the file is still there

log = logging.getLogger("aggregator.sinks.journal")


class BlockWriter:
    """Writes what it is given. Its numbers may be read from elsewhere.

    lost: what could not be written since the start
    written, missed, taken: records; those that were taken are one or the other
    settled: the offset up to which every record is written, or lost
    """

    def __init__(
        self, shelf: Shelf, epoch: str, context: Context, *, segment_bytes: int, on_begin: Callable[[], None]
    ) -> None:
        """Begin with nothing; `on_begin` is called when a segment was begun, as the one before is to be closed."""
        self.lost: list[LostRange] = []
        self.written = self.missed = self.taken = self.settled = 0
        self._shelf = shelf
        self._epoch = epoch
        self._context = context
        self._segment_bytes = segment_bytes
        self._on_begin = on_begin
        self._ts = 0
        self._known: dict[Hashable, int] = {}  # the numbers of topics in this segment
        self._topics: dict[Hashable, KeptTopic] = {}
        self._file: OpenFile | None = None
        self._begun_at = self._looked_at = self._retry_at = 0.0
        self._losing = Lock()

    def write(self, batches: Sequence[Batch]) -> None:
        """Write batches, in order; those that follow each other without a hole become one block."""
        start = 0
        for at in range(1, len(batches) + 1):
            if at == len(batches) or batches[at].first != batches[at - 1].last + 1:
                self._write_block(batches[start:at])
                start = at

    def _write_block(self, batches: Sequence[Batch]) -> None:
        try:
            if time.monotonic() < self._retry_at:
                raise BlockingIOError(0, "not tried again yet")  # noqa: TRY301
            self._append(batches)
        except BlockingIOError:
            self.lose(batches, None)
        except OSError as error:
            self._retry_at = time.monotonic() + RETRY_S
            self.lose(batches, str(error.strerror or error))
        else:
            self.written += sum(batch.count for batch in batches)
            if self._context.trouble is not None:
                self._context.report(None)
                log.warning("journal: it is written again; %d records are missing, and told by a gap", self.missed)
        self._ts = max(self._ts, batches[-1].last_ts)
        self.settled = batches[-1].last
        self.taken += sum(batch.count for batch in batches)

    def _append(self, batches: Sequence[Batch]) -> None:
        """Add a block to the segment. Raises OSError; then nothing of it stays."""
        file = self._segment()
        known, topics = self._known, list[KeptTopic]()
        ids = array("I")
        for batch in batches:
            if batch.is_passed:
                numbers = [known.get(key) for key in batch.keys]
            else:
                numbers = [known.get((type(r), r.exchange, r.raw_symbol, r.symbol)) for r in batch.records]
            if None in numbers:
                for at, number in enumerate(numbers):
                    if number is None:
                        numbers[at] = self._number(batch.record(at), topics, len(file.topics))
            ids.extend(numbers)  # type: ignore[arg-type]  # none is null any more
        try:
            if topics:
                file.add_topics(topics)
            file.add_records(
                ids.tobytes() + b"".join([batch.blob for batch in batches]),
                count=len(ids),
                first=batches[0].first,
                ts=max([max(b.times) if b.is_passed else max([r.ts_recv for r in b.records]) for b in batches]),
            )
        except OSError:
            self._known.clear()  # the topics may not be there
            self._known.update(self._numbered(file))
            raise

    def _number(self, record: Record, new: list[KeptTopic], start: int) -> int:
        """The number of a topic that is not known yet, or that is a gap's, a health record's or a summary's."""
        key: Hashable = (type(record), record.exchange, record.raw_symbol, record.symbol)
        plain = key
        if type(record) in KIND:
            key = (key, channel_of(record))
            if key in self._known:
                return self._known[key]
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = kept_topic(record)
        number = self._known.get(key) if key != plain else None
        if number is None:
            number = self._known[key] = start + len(new)
            new.append(topic)
        return number

    def _numbered(self, file: OpenFile) -> dict[Hashable, int]:
        by_topic = {topic: number for number, topic in enumerate(file.topics)}
        return {key: by_topic[topic] for key, topic in self._topics.items() if topic in by_topic}

    def _segment(self) -> OpenFile:
        """The segment that is written to; a new one where that is large, old or gone. Raises OSError."""
        now, file = time.monotonic(), self._file
        if file is not None and now - self._looked_at >= LOOK_S:
            self._looked_at = now
            if not is_there(file):
                log.error("journal: %s was removed by someone else; a gap tells what is missing", file.path)
                file = self._file = None
        is_full = file is not None and (file.size >= self._segment_bytes or now - self._begun_at >= SEGMENT_S)
        if file is None or (is_full and file.blocks):  # one without records stays: it says that there was this life
            file = self._file = self._shelf.begin(self._epoch)
            self._begun_at = self._looked_at = now
            self._known.clear()
            self._on_begin()
        return file

    def lose(self, batches: Sequence[Batch], reason: str | None) -> None:
        """Note that batches are not written; whoever reads is told by a gap."""
        with self._losing:
            self._note_loss(batches)
        if reason is not None and self._context.trouble is None:
            log.error(
                "journal %s cannot be written: %s; its records are missing until it can", self._shelf.path, reason
            )
        if reason is not None:
            self._context.report(reason)

    def _note_loss(self, batches: Sequence[Batch]) -> None:
        first, last = batches[0].first, batches[-1].last
        count = sum(batch.count for batch in batches)
        ts_to = batches[-1].last_ts
        newest = self.lost[-1] if self.lost else None
        if newest is not None and newest.last + 1 == first:
            self.lost[-1] = newest._replace(last=last, ts_to=max(ts_to, newest.ts_to))
        else:
            self.lost.append(LostRange(first, last, self._ts or batches[0].times[0], ts_to))
            del self.lost[:-MOST_LOST]
        self.missed += count
        self._context.lose(count)

    def begin(self) -> None:
        """Begin the first segment, so that a later life knows that there was this one."""
        try:
            self._shelf.lives.begin(self._epoch)
            self._segment()
        except OSError as error:
            self._context.report(str(error.strerror or error))
            log.error("journal %s cannot be written: %s", self._shelf.path, error)  # noqa: TRY400 - no fault of ours

    def is_lost(self, offset: int) -> bool:
        """Tell whether a record could not be written."""
        return any(lost.first <= offset <= lost.last for lost in self.lost)

    def end(self, offset: int) -> None:
        """Say that the epoch ends with this record, if it is written."""
        file = self._file
        try:
            if not offset:
                self._shelf.lives.note(self._epoch, "empty")
            if file is None:
                return
            if (file.blocks[-1].last if file.blocks else 0) == offset:
                file.add_end()
            file.sync()
        except OSError as error:
            log.error("journal: the end of the epoch cannot be written: %s", error)  # noqa: TRY400 - no fault of ours
