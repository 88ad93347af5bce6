"""The queue of a sink that loses nothing: what does not fit is left to the journal, and read from there.

While the sink keeps up, it is a queue like any other. Once that is full, what comes is only counted; what is held is
given first, then what the journal keeps behind it, a piece at a time, and when all of that is taken the queue fills
again. A sink that begins behind, because a former life of the daemon has left it there, begins with the journal.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeGuard

import msgspec
from msgspec import Struct, structs

from aggregator.bus.bus import Batch, Bus
from aggregator.bus.history import Cursor, History, Stretch, hole
from aggregator.bus.past import SEAM_RECORDS, Past
from aggregator.bus.selection import Selection, parse_pattern
from aggregator.records import Gap, Record, decode_record
from aggregator.sinks.queue import Queue, weight
from aggregator.sinks.sink import Delivery

TOGETHER = 100  # records that are decoded at once
SILENT_S = 60.0  # a sink that falls behind again within such a time is not named anew

log = logging.getLogger("aggregator.sinks")


class _Offset(Struct):
    offset: int = 0


_decode_offset: Callable[[bytes], _Offset] = msgspec.json.Decoder(_Offset).decode


class _Read(Batch):
    """Records that were read, with the lines that they were read from."""

    __slots__ = ()

    def __init__(self, records: list[Record], lines: list[bytes], epoch: str) -> None:
        super().__init__(records, epoch)
        self._lines = lines
        self._blob = b"".join(lines)


class _Piece(Struct):
    """Some of what a history keeps, as the queue takes it.

    batches: each with its weight
    reached: the place behind them
    gap: what is missing there; null: nothing
    """

    batches: list[tuple[Batch, int]]
    reached: Cursor
    gap: Gap | None = None


def _decoded(lines: list[bytes], bad: list[int]) -> tuple[list[Record], list[bytes]]:
    """The records of lines, with these; the offsets of those that cannot be read are added to `bad`."""
    try:
        return [decode_record(line) for line in lines], lines
    except msgspec.MsgspecError:
        records, good = list[Record](), list[bytes]()
    for line in lines:
        try:
            records.append(decode_record(line))
        except msgspec.MsgspecError:
            bad.append(_decode_offset(line).offset)
        else:
            good.append(line)
    return records, good


class SpillQueue(Queue):
    """The records that one sink has still to take, those in the journal among them.

    spilled: records of this epoch that wait in the journal
    """

    def __init__(self, sink: str, bus: Bus, history: History, delivery: Delivery) -> None:
        super().__init__(sink, bus.epoch, delivery)
        self._now = bus.epoch
        self._history = history
        self._selection = Selection(map(parse_pattern, delivery.topics))
        self._past: Past | None = None  # null: it keeps up
        self._begun = self._seen = bus.offset  # the newest record when it began, and the newest of all
        self._told = self._reached = Cursor(bus.epoch, bus.offset)  # behind what was taken; behind what is held
        self._owed: Gap | None = None  # the gap of the journal that the sink has still to be told
        self._given: int | None = None  # the offset of the last that the sink is at; null: it is at none
        self._passed = ""  # the epoch of what it took last
        self._counted = 0  # up to this offset of this epoch all that was read is counted
        self._anew: Gap | None = None  # the gap with which it began
        self._start = self._told  # the place at which it did
        self._silent_until = 0.0
        self._is_said = False

    def begin_at(self, place: Cursor) -> None:
        """Begin where a former life has left the sink."""
        self._told = self._reached = self._start = place
        self._past = Past(self._history, self._selection, place, log)

    def begin_anew(self, ts: int) -> None:
        """Begin now, and tell that nobody knows since when something is missing; `ts` is the time of now."""
        self._owe(hole("damaged", Cursor("", 0), self._reached, (ts, ts)))
        self._anew = self._owed

    @property
    def held(self) -> int:
        return self._records + self.spilled

    @property
    def place(self) -> Cursor:
        """The place behind everything that the sink has taken, or been told of: it goes on there after a restart."""
        if self._given is not None:
            return self._told
        if self._losses:
            first = min(loss.offset_from for loss in self._losses.values())
            return Cursor(self._epoch, max(0, first - 1))
        if self._records or self._owed is not None:
            return self._told
        return Cursor(self._now, self._seen) if self._past is None else self._reached

    # --- filling ----------------------------------------------------------------------------------------------------

    def put(self, batch: Batch) -> None:
        """Take a batch of the bus, or leave it to the journal; never waits."""
        wanted = batch if self._wants is None else self._chosen(batch)
        if wanted is None:
            self._seen = batch.last
            return
        if not self._records:
            self._told = self.place
        self._seen = batch.last
        count = wanted.count
        self.received += count
        if self._past is None:
            weighed = weight(wanted)
            is_full = self._records + count > self._most or self._bytes + weighed > self._most_bytes
            if not is_full or not self._records:
                self._add(wanted, weighed)
                return
            self._fall_behind(Cursor(self._epoch, batch.first - 1))
        self.spilled += count

    def _add(self, batch: Batch, weighed: int) -> None:
        self._batches.append((batch, weighed))
        self._records += batch.count
        self._bytes += weighed
        self._announce()

    def _fall_behind(self, place: Cursor) -> None:
        self._reached = place
        self._past = Past(self._history, self._selection, place, log)
        self._filled.set()
        now = asyncio.get_running_loop().time()
        if now >= self._silent_until:
            self._silent_until, self._is_said = now + SILENT_S, True
            log.warning("sink %s: its queue is full: what comes now waits in the journal", self.sink)

    def is_own(self, record: Record) -> TypeGuard[Gap]:
        """Tell a gap of this queue's making from the records of the stream."""
        return type(record) is Gap and record.conn == self.sink

    def begin_behind(self, gap: Gap) -> None:
        """Have the sink told first of what the life before had not written, which did not spill."""
        self._anew = self._owed = gap
        self.has_gaps = True
        self._filled.set()

    def _owe(self, gap: Gap) -> None:
        """Have the sink told of a gap of the journal, as one of its own."""
        name = f"{self.sink}:{gap.gap_id.removeprefix('journal:')}"
        self._owed = structs.replace(gap, conn=self.sink, gap_id=name)
        self.has_gaps = True
        self._filled.set()

    # --- emptying ---------------------------------------------------------------------------------------------------

    @property
    def has_enough(self) -> bool:
        """There is nothing to be given within the call that publishes: the place that is reached must be known."""
        return False

    async def filled(self) -> bool:
        """Wait for enough to give; false: the stream has ended, and what is left is for the next life."""
        while (past := self._past) is not None and not (self._batches or self._losses or self._owed is not None):
            if self.ended.is_set():
                return False
            await self._read_on(past)
        return self._past is not None or self._owed is not None or await super().filled()

    async def _read_on(self, past: Past) -> None:
        """Take what comes next of the journal: from memory, where that is all that is left, or from the disk."""
        found = past.in_memory(min(SEAM_RECORDS, self._most))
        if found is not None:
            records, is_all = found
            batches = [Batch(records, past.cursor.epoch)] if records else []
            self._take_up(_Piece([(batch, weight(batch)) for batch in batches], past.cursor))
            if is_all:
                self._keep_up()
            return
        reading = asyncio.ensure_future(past.read(self._piece))
        ending = asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                stretch, piece = reading.result()
                if piece.reached != stretch.cursor:  # the rest would not fit, and is read again
                    past.cursor, past.is_at_end = piece.reached, False
                self._take_up(piece)
        finally:
            reading.cancel()
            ending.cancel()

    def _piece(self, stretch: Stretch) -> _Piece:
        """The batches of a stretch, as many as may be held; made in the thread that has read it."""
        piece = _Piece([], stretch.cursor, stretch.gap)
        epoch, lines, held = stretch.cursor.epoch, stretch.lines, 0
        bad: list[int] = []
        for start in range(0, len(lines), TOGETHER):
            records, some = _decoded(lines[start : start + TOGETHER], bad)
            if not records:
                continue
            batch = _Read(records, some, epoch)
            weighed = weight(batch)
            if held and held + weighed > self._most_bytes and piece.gap is None:
                piece.reached = Cursor(epoch, batch.first - 1)
                break
            piece.batches.append((batch, weighed))
            held += weighed
        if bad := [offset for offset in bad if offset <= piece.reached.offset]:
            self._lack(piece, bad)
        return piece

    def _lack(self, piece: _Piece, bad: list[int]) -> None:
        """Tell of records that another version wrote, and that cannot be read."""
        log.error("sink %s: %d records of the journal cannot be read by this version", self.sink, len(bad))
        if piece.gap is not None:  # it tells of this range
            piece.gap.missed = None if piece.gap.missed is None else piece.gap.missed + len(bad)
            return
        epoch = piece.reached.epoch
        ts = piece.batches[0][0].records[0].ts_recv if piece.batches else 0
        piece.gap = hole("damaged", Cursor(epoch, bad[0] - 1), Cursor(epoch, bad[-1]), (ts, ts), missed=len(bad))

    def _take_up(self, piece: _Piece) -> None:
        """Hold what was read, and count it: what was published in this life before it was read is counted already."""
        if not self._records:
            self._told = self.place
        self._epoch, self._reached = piece.reached.epoch, piece.reached
        is_now = self._epoch == self._now
        for batch, weighed in piece.batches:
            known = sum(not self._counted < record.offset <= self._begun for record in batch.records) if is_now else 0
            self.spilled -= known
            self.received += len(batch.records) - known
            self._batches.append((batch, weighed))
            self._records += len(batch.records)
            self._bytes += weighed
        if is_now:
            self._counted = max(self._counted, self._reached.offset)
        if piece.gap is not None:
            self._owe(piece.gap)

    def _keep_up(self) -> None:
        """Everything that was published is held or taken: what comes now is held again."""
        self._past = None
        self.dropped += self.spilled  # the journal lacks these, and gaps have told it
        self.spilled = 0
        if self._is_said:
            self._is_said = False
            log.warning("sink %s: has caught up", self.sink)

    def take(self, *, is_whole: bool = False) -> Batch | None:
        """The next batch; what the journal lacks is told where the last of it would have been."""
        self._told = self.place
        batch, gap = super().take(is_whole=is_whole), self._owed
        if gap is not None and (batch is None or gap.offset <= batch.last):
            self._owed = None
            batch = self._with(gap, batch)
        self._given = None if batch is None else batch.last
        return batch

    def _with(self, gap: Gap, batch: Batch | None) -> Batch:
        alone = Batch([gap], self._epoch)
        if batch is None:
            return alone
        if gap.offset < batch.first:
            return Batch.joined([alone, batch])
        return Batch(sorted([*batch.records, gap], key=lambda record: record.offset), self._epoch)

    def passed(self, batch: Batch) -> None:
        """Note that the sink is done with a batch, and all before it."""
        self._told = Cursor(batch.epoch, batch.last)
        self._passed = batch.epoch
        if batch.last == self._given:
            self._given = None

    def go_back(self, place: Cursor, count: int) -> None:
        """Give once more what follows a place: what is held, and so many records that were taken."""
        for records, epoch in ((count, self._passed), (self._records, self._epoch)):
            if epoch == self._now:
                self.spilled += records
            else:
                self.received -= records  # they are counted when they are read
        super().abandon()
        self._is_left = False
        self._given = self._owed = None
        self._told = self._reached = place
        self._past = Past(self._history, self._selection, place, log)
        if place == self._start:
            self._owed = self._anew
        self.wake()

    def abandon(self) -> int:
        """Let go all that is held; nothing of it is lost, as the next life reads it from the journal."""
        self.go_back(self.place, 0)
        self._is_left = True
        return 0
