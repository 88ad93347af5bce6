"""The one place where records become a stream: each gets its offset, and every sink gets every batch, in one call.

Publishing never waits. A sink that works in its own time has a bounded queue (`sinks/queue.py`).
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import chain

import msgspec
from msgspec import Struct

from aggregator.bus.demand import Nobody, Supply
from aggregator.bus.history import History
from aggregator.bus.insight import Insight
from aggregator.bus.selection import KIND
from aggregator.bus.view import Views
from aggregator.records import SCHEMA, Instrument, Record

LARGEST_BITS = 64  # bits of an integer
OF_THE_STREAM = frozenset(KIND)  # the types of records about the stream itself; they are few

encode_lines: Callable[[Sequence[Record]], bytes] = msgspec.json.Encoder().encode_lines


TopicKey = tuple[type[Record], str, str | None, str | None]  # the type, the exchange, and its raw and unified symbol


class Batch:
    """Records of one epoch, in order; their lines are encoded once, whoever and however many want them.

    count: how many records there are
    tells: whether there may be a gap, a state or a summary among those that were published together
    is_passed: whether another process has written them, so that they are better not read
    """

    __slots__ = ("_blob", "_earliest", "_lines", "count", "epoch", "records", "tells")

    is_passed = False

    def __init__(self, records: list[Record], epoch: str = "") -> None:
        """Hold records that have their offsets, at least one."""
        self.records = records
        self.count = len(records)
        self.epoch = epoch
        self.tells = False
        self._earliest: int | None = None
        self._blob: bytes | None = None
        self._lines: list[bytes] | None = None

    @staticmethod
    def joined(parts: "Sequence[Batch]") -> "Batch":
        """Batches that follow each other, as one; what is encoded of them is not encoded again."""
        if len(parts) == 1:
            return parts[0]
        return _JoinedUnread(parts) if True in [part.is_passed for part in parts] else _Joined(parts)

    def __len__(self) -> int:
        return self.count

    @property
    def first(self) -> int:
        """The offset of the first record."""
        return self.records[0].offset

    @property
    def last(self) -> int:
        """The offset of the last record."""
        return self.records[-1].offset

    @property
    def earliest(self) -> int:
        """The earliest `ts_recv`: some records are held back, and are published behind later ones."""
        found = self._earliest
        if found is None:
            found = self._earliest = min([record.ts_recv for record in self.records])
        return found

    @property
    def last_ts(self) -> int:
        """The `ts_recv` of the last record."""
        return self.records[-1].ts_recv

    # These can be told of records that another process has written without reading them.

    @property
    def keys(self) -> list[TopicKey]:
        """The key of each record's topic; a gap, a state or a summary is about another, which it tells itself."""
        return [(type(r), r.exchange, r.raw_symbol, r.symbol) for r in self.records]

    @property
    def offsets(self) -> Sequence[int]:
        """The offset of each record."""
        records = self.records
        first, last = records[0].offset, records[-1].offset
        if last - first == len(records) - 1:
            return range(first, last + 1)
        return [record.offset for record in records]

    @property
    def times(self) -> Sequence[int]:
        """The `ts_recv` of each record."""
        return [record.ts_recv for record in self.records]

    def record(self, at: int) -> Record:
        """The record at a position."""
        return self.records[at]

    @property
    def blob(self) -> bytes:
        """Every record as NDJSON, each line ended by a newline."""
        if self._blob is None:
            self._blob = self._encoded()
        return self._blob

    @property
    def lines(self) -> list[bytes]:
        """The records' lines one by one, in order, each with its newline."""
        if self._lines is None:
            self._lines = self._parted()
        return self._lines

    @property
    def size(self) -> int:
        """The bytes of all lines."""
        return len(self.blob)

    def _encoded(self) -> bytes:
        return _written(self.records)

    def _parted(self) -> list[bytes]:
        return [self.blob] if self.count == 1 else self.blob.splitlines(keepends=True)

    def part(self, start: int, stop: int) -> "Batch":
        """The records from one position to another, with their lines."""
        part = Batch(self.records[start:stop], self.epoch)
        part._lines = lines = self.lines[start:stop]
        part._blob = b"".join(lines)
        return part

    def chosen(self, positions: Sequence[int]) -> "Batch":
        """The records at some positions, with their lines."""
        chosen = Batch([self.records[at] for at in positions], self.epoch)
        chosen._lines = lines = [self.lines[at] for at in positions]
        chosen._blob = b"".join(lines)
        return chosen

    def few(self, positions: Sequence[int]) -> "Batch":
        """The records at some positions, which are encoded for themselves where all together are not yet."""
        return Batch([self.records[at] for at in positions], self.epoch)


class LazyBatch(Batch):
    """A batch whose records are made once somebody asks for them."""

    __slots__ = ("_found",)

    def __init__(self, count: int, epoch: str) -> None:
        self.count = count
        self.epoch = epoch
        self.tells = False
        self._blob = self._lines = self._earliest = None
        self._found: list[Record] | None = None

    @property
    def records(self) -> list[Record]:  # type: ignore[override]  # it is only read
        """The records."""
        if self._found is None:
            self._found = self._made()
        return self._found

    def _made(self) -> list[Record]:
        raise NotImplementedError


class _Joined(Batch):
    """Batches that follow each other; what is encoded of them is not encoded again."""

    __slots__ = ("_parts", "_size")

    def __init__(self, parts: Sequence[Batch]) -> None:
        super().__init__(list(chain.from_iterable([part.records for part in parts])), parts[0].epoch)
        self._parts = parts
        self._size: int | None = None

    @property
    def earliest(self) -> int:
        return min([part.earliest for part in self._parts])

    @property
    def size(self) -> int:
        if self._size is None:
            self._size = sum(map(len, self.lines)) if self._blob is None else len(self._blob)
        return self._size

    def _encoded(self) -> bytes:
        return b"".join([part.blob for part in self._parts])

    def _parted(self) -> list[bytes]:
        return list(chain.from_iterable([part.lines for part in self._parts]))


class _JoinedUnread(LazyBatch):
    """The same, where some of them are better not read."""

    __slots__ = ("_keys", "_parts")

    is_passed = True

    def __init__(self, parts: Sequence[Batch]) -> None:
        super().__init__(sum([part.count for part in parts]), parts[0].epoch)
        self._parts = parts
        self._keys: list[TopicKey] | None = None

    def _made(self) -> list[Record]:
        return list(chain.from_iterable([part.records for part in self._parts]))

    @property
    def first(self) -> int:
        return self._parts[0].first

    @property
    def last(self) -> int:
        return self._parts[-1].last

    @property
    def earliest(self) -> int:
        return min([part.earliest for part in self._parts])

    @property
    def last_ts(self) -> int:
        return self._parts[-1].last_ts

    @property
    def keys(self) -> list[TopicKey]:
        if self._keys is None:
            self._keys = list(chain.from_iterable([part.keys for part in self._parts]))
        return self._keys

    @property
    def offsets(self) -> Sequence[int]:
        return list(chain.from_iterable([part.offsets for part in self._parts]))

    @property
    def times(self) -> Sequence[int]:
        return list(chain.from_iterable([part.times for part in self._parts]))

    def record(self, at: int) -> Record:
        if self._found is None:
            for part in self._parts:
                if at < part.count:
                    return part.record(at)
                at -= part.count
        return self.records[at]

    def _encoded(self) -> bytes:
        return b"".join([part.blob for part in self._parts])

    def _parted(self) -> list[bytes]:
        return list(chain.from_iterable([part.lines for part in self._parts]))


def _written(records: Sequence[Record]) -> bytes:
    """The records' lines; an integer of thousands of digits, which nothing can write, is left out of its record."""
    try:
        return encode_lines(records)
    except ValueError:
        for record in records:
            for name in record.__struct_fields__:
                value = getattr(record, name)
                if isinstance(value, int) and value.bit_length() > LARGEST_BITS:
                    setattr(record, name, None)
        return encode_lines(records)


class Header(Struct, frozen=True):
    """The content of a file's or a stream's first line."""

    schema: int
    epoch: str
    offset: int


class BusStatus(Struct, frozen=True):
    """The stream.

    epoch: of this daemon's life
    offset: of the last record
    instruments: that are in force, over all exchanges
    receivers: sinks and others that get every batch
    """

    epoch: str
    offset: int
    instruments: int
    receivers: int


class Bus:
    """Stamps offsets and hands every batch to whoever is attached.

    views: the books and states as they stand after what was published
    supply: who has topics brought that a reader asks for
    history: whoever keeps what was published; null: nobody does
    insight: whoever knows how the daemon fares; null: nobody does
    turn: held for one turn of the loop by whoever publishes, in steps, what time alone makes due
    """

    def __init__(self, epoch: str) -> None:
        """Begin an epoch; offsets start at 1."""
        self.epoch = epoch
        self.offset = 0
        self.instruments: dict[tuple[str, str], Instrument] = {}  # (exchange, symbol or else raw symbol)
        self._receivers: list[Callable[[Batch], object]] = []
        self._watchers: list[Callable[[Batch], object]] = []
        self.views = Views(lambda: self.offset)
        self.supply: Supply = Nobody()
        self.history: History | None = None
        self.insight: Insight | None = None
        self.turn = asyncio.Lock()

    def attach(self, receive: Callable[[Batch], object]) -> None:
        """Call this receiver with every batch from now on."""
        self._receivers.append(receive)

    def detach(self, receive: Callable[[Batch], object]) -> None:
        """Call this receiver no more."""
        self._receivers.remove(receive)

    def watch(self, look: Callable[[Batch], object]) -> None:
        """Call this with every batch that holds a gap, a state or a summary."""
        self._watchers.append(look)

    def publish(self, records: list[Record]) -> None:
        """Stamp the records and hand them on; never waits."""
        if not records:
            return
        offset = self.offset
        for record in records:
            offset += 1
            record.offset = offset
        self.offset = offset
        batch = Batch(records, self.epoch)
        # hot: whoever counts is not called for nothing
        if type(records[0]) in OF_THE_STREAM or (len(records) > 1 and not OF_THE_STREAM.isdisjoint(map(type, records))):
            batch.tells = True
        for receive in self._receivers:
            receive(batch)
        if batch.tells:
            for look in self._watchers:
                look(batch)

    def hand_on(self, batch: Batch) -> None:
        """Hand on a batch that has the next offsets already; never waits."""
        kinds = [key[0] for key in batch.keys] if batch.is_passed else map(type, batch.records)
        batch.tells = not OF_THE_STREAM.isdisjoint(kinds)
        for receive in self._receivers:
            receive(batch)
        if batch.tells:
            for look in self._watchers:
                look(batch)

    def status(self) -> BusStatus:
        """How far it is, and who listens."""
        return BusStatus(self.epoch, self.offset, len(self.instruments), len(self._receivers))

    def header(self) -> Header:
        """The stream as it stands."""
        return Header(SCHEMA, self.epoch, self.offset)
