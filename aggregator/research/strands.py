"""The contract of whatever holds records in their order, and how several of them are read as one stream.

A strand is one file, or one journal. Its records are in the order of their offsets, epoch after epoch. Strands are read
side by side only where they overlap, and no more than a portion of each is in memory.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from aggregator.bus.history import begun
from aggregator.records import Record
from aggregator.research.choice import Choice
from aggregator.research.spans import DAY_NS
from aggregator.tables.arrow import to_batch
from aggregator.tables.extras import needed

PAST = "/history"  # the connection of what `aggregator backfill` asked for ends so
RECORDS = 8192  # a portion holds about so many

Place = tuple[int, str, int]  # when its epoch began, the epoch, and the offset


class Portion(Struct):
    """Records of one epoch that follow each other in a strand.

    offsets: of each
    rows: the records, or a record batch of them
    """

    epoch: str
    offsets: list[int]
    rows: Any

    def part(self, start: int, stop: int) -> "Portion":
        """Some of it."""
        rows = self.rows[start:stop] if isinstance(self.rows, list) else self.rows.slice(start, stop - start)
        return Portion(self.epoch, self.offsets[start:stop], rows)


class Strand(Protocol):
    """One file, or one journal."""

    def begins(self) -> Place:
        """The place of its first record, or one before that."""

    @property
    def past_day(self) -> int | None:
        """The day (since 1970) whose past it holds, as `aggregator backfill` asked for it; null: it was recorded."""

    def records(self, choice: Choice) -> Iterator[Portion]:
        """The records that are wanted, in portions of lists."""

    def batches(self, choice: Choice, record: type[Record]) -> Iterator[Portion]:
        """Those of one type, in portions of record batches."""


def batched(portions: Iterator[Portion], record: type[Record]) -> Iterator[Portion]:
    """Portions of lists as portions of record batches."""
    for portion in portions:
        yield Portion(portion.epoch, portion.offsets, to_batch(record, portion.rows, portion.epoch))


def past_day(conn: str, ts: int) -> int | None:
    """The day (since 1970) of a file of the past, by the connection and the time of its first record; null: no such."""
    return ts // DAY_NS if conn.endswith(PAST) else None


def place(epoch: str, offset: int, ts: int) -> Place:
    """A place in the order of all; `ts` tells when the epoch was where its name does not."""
    return (begun(epoch) or ts, epoch, offset)


S = TypeVar("S", bound=Strand)


class _Open:
    """A strand that is being read, with the portion that is next."""

    def __init__(self, portions: Iterator[Portion], order: int) -> None:
        self._portions = portions
        self.order = order  # among equals the strand that begins first comes first
        self.head: Portion | None = next(portions, None)

    def take(self, last: int) -> Portion | None:
        """The rows of the head up to an offset; the next portion follows where nothing is left."""
        head = self.head
        if head is None:
            return None
        end = bisect_right(head.offsets, last)
        if end == len(head.offsets):
            self.head = next(self._portions, None)
            return head
        self.head = head.part(end, len(head.offsets))
        return head.part(0, end) if end else None


def merged(strands: Sequence[tuple[Place, Iterator[Portion]]]) -> Iterator[Portion]:
    """Several strands as one stream, in the order of epochs and offsets; a record that two of them hold comes once."""
    begins: dict[str, int] = {}
    for (ts, epoch, _), _portions in strands:
        begins[epoch] = min(ts, begins.get(epoch, ts))  # an epoch whose name is no time begins with its first record
    waiting = sorted(
        (((begins[at[1]], at[1], at[2]), portions) for at, portions in strands), key=lambda strand: strand[0]
    )
    reading: list[_Open] = []
    order = 0

    def rank(epoch: str) -> tuple[int, str]:
        return begins.setdefault(epoch, begun(epoch)), epoch

    while waiting or reading:
        reading = [each for each in reading if each.head is not None]
        if not reading:
            if not waiting:
                return
            reading.append(_Open(waiting.pop(0)[1], order := order + 1))
            continue
        heads = [each.head for each in reading if each.head is not None]
        epoch = min((head.epoch for head in heads), key=rank)
        last = min(head.offsets[-1] for head in heads if head.epoch == epoch)
        if waiting and (waiting[0][0][:2], waiting[0][0][2]) <= (rank(epoch), last):
            reading.append(_Open(waiting.pop(0)[1], order := order + 1))
            continue
        here = [each for each in reading if each.head is not None and each.head.epoch == epoch]
        parts = [part for each in here if (part := each.take(last)) is not None]
        yield parts[0] if len(parts) == 1 else _joined(parts)


def _joined(parts: Sequence[Portion]) -> Portion:
    """Portions of one epoch as one, sorted by offset; a record that is in several of them is there once."""
    offsets = [offset for part in parts for offset in part.offsets]
    order = sorted(range(len(offsets)), key=offsets.__getitem__)
    if isinstance(parts[0].rows, list):
        rows = [row for part in parts for row in part.rows]
        kept: list[int] = []
        for at in order:
            if not _is_there(at, kept, offsets, rows):
                kept.append(at)
        return Portion(parts[0].epoch, [offsets[at] for at in kept], [rows[at] for at in kept])
    pa = needed("pyarrow")
    table = pa.Table.from_batches([part.rows for part in parts]).unify_dictionaries().combine_chunks()
    if len(set(offsets)) < len(offsets):
        rows = table.to_pylist()
        kept = []
        for at in order:
            if not _is_there(at, kept, offsets, rows):
                kept.append(at)
        order = kept
    (batch,) = table.take(pa.array(order, pa.int64())).combine_chunks().to_batches(max_chunksize=len(order))
    return Portion(parts[0].epoch, [offsets[at] for at in order], batch)


def _is_there(at: int, kept: Sequence[int], offsets: Sequence[int], rows: Sequence[Any]) -> bool:
    """Tell whether an equal record of the same offset has been kept: two files may hold the same one."""
    for before in reversed(kept):
        if offsets[before] != offsets[at]:
            return False
        if rows[before] == rows[at]:
            return True
    return False
