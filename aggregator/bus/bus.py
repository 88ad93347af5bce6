"""The one place where records become a stream: each gets its offset, and every sink gets every batch, in one call.

Publishing never waits. A sink that reads in its own time does so through a `Tap`, which is bounded: when it is full
the oldest batches go, and the reader is told what it lost.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct

from aggregator.bus.view import Views
from aggregator.records import SCHEMA, Instrument, Record

ENOUGH = 256  # records that a tap's reader takes without waiting for more
LARGEST_BITS = 64  # bits of an integer
MOST_TAKEN = 8192  # records that it takes at once; a group ends with the batch that takes it there

encode_lines: Callable[[Sequence[Record]], bytes] = msgspec.json.Encoder().encode_lines


class Batch:
    """Records published together; their lines are encoded once, whoever and however many want them."""

    __slots__ = ("_blob", "_lines", "records")

    def __init__(self, records: list[Record]) -> None:
        """Hold records that have their offsets."""
        self.records = records
        self._blob: bytes | None = None
        self._lines: list[bytes] | None = None

    @property
    def blob(self) -> bytes:
        """Every record as NDJSON, each line ended by a newline."""
        if self._blob is None:
            self._blob = _written(self.records)
        return self._blob

    @property
    def lines(self) -> list[bytes]:
        """The records' lines one by one, in order, each with its newline."""
        if self._lines is None:
            self._lines = [self.blob] if len(self.records) == 1 else self.blob.splitlines(keepends=True)
        return self._lines


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


class Lost(Struct, frozen=True):
    """Records that a tap had to drop: how many, and their first and last offset."""

    missed: int
    offset_from: int
    offset_to: int


class Group(Struct):
    """Batches taken from a tap together: `count` records, and what was lost just before them."""

    batches: list[Batch]
    count: int
    lost: Lost | None


class Tap:
    """One sink's bounded queue of batches, which waits to be emptied until the bus is closed."""

    def __init__(self, limit: int) -> None:
        """Hold at most `limit` records (one batch is always held)."""
        self._limit = limit
        self._batches: deque[Batch] = deque()
        self._held = 0
        self._lost: Lost | None = None
        self._ended = False
        self._left = False
        self._awaited = 1  # records, for which somebody waits
        self._drain: Callable[[], object] | None = None
        self._filled = asyncio.Event()
        self._emptier = asyncio.Event()
        self.missed = 0

    def put(self, batch: Batch) -> None:
        """Take a batch; let the oldest go when there is no room."""
        self._batches.append(batch)
        self._held += len(batch.records)
        while self._held > self._limit and len(self._batches) > 1:
            self._drop(self._batches.popleft())
        if self._held >= self._awaited:
            self._filled.set()
        if self._drain is not None and self._held >= ENOUGH:
            self._drain()

    def _drop(self, batch: Batch) -> None:
        first, last, count = batch.records[0].offset, batch.records[-1].offset, len(batch.records)
        lost = self._lost
        self._lost = Lost(count, first, last) if lost is None else Lost(lost.missed + count, lost.offset_from, last)
        self._held -= count
        self.missed += count

    def drain_with(self, drain: Callable[[], object]) -> None:
        """Call `drain`, which takes what it can, whenever there is ENOUGH: the records are still in the caches then."""
        self._drain = drain

    def end(self) -> None:
        """End the stream: the reader gets the held batches, and then the end."""
        self._ended = True
        self._filled.set()

    async def room(self) -> None:
        """Wait until it is at most half full: for a replay, which can wait as a live stream cannot."""
        while self._held > self._limit // 2 and not self._left:
            self._emptier.clear()
            await self._emptier.wait()

    def leave(self) -> None:
        """Note that nobody reads any more, so that nobody waits for room."""
        self._left = True
        self._emptier.set()

    @property
    def held(self) -> int:
        """Records that wait for the reader."""
        return self._held

    async def groups(self, pause: float) -> AsyncIterator[Group]:
        """Give the held batches in groups until the end; `pause`: seconds to wait for more after a first batch."""
        while await self._filling(1, None):
            await self._filling(ENOUGH, pause)
            if self._batches:  # `drain` may have taken them meanwhile
                yield self.take()

    async def _filling(self, count: int, seconds: float | None) -> bool:
        """Wait for so many records to be held, the time to be over, or the end; whether more may come."""
        if self._held < count and not self._ended:
            self._awaited = count
            self._filled.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._filled.wait()
        return bool(self._batches) or not self._ended

    def take(self) -> Group:
        """The oldest batches that are held."""
        batches: list[Batch] = []
        count = 0
        while self._batches and count < MOST_TAKEN:
            batch = self._batches.popleft()
            batches.append(batch)
            count += len(batch.records)
        self._held -= count
        self._emptier.set()
        lost, self._lost = self._lost, None
        return Group(batches, count, lost)


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
    """

    def __init__(self, epoch: str) -> None:
        """Begin an epoch; offsets start at 1."""
        self.epoch = epoch
        self.offset = 0
        self.instruments: dict[tuple[str, str], Instrument] = {}  # (exchange, symbol or else raw symbol)
        self._receivers: list[Callable[[Batch], None]] = []
        self.views = Views(lambda: self.offset)

    def attach(self, receive: Callable[[Batch], None]) -> None:
        """Call this receiver with every batch from now on."""
        self._receivers.append(receive)

    def detach(self, receive: Callable[[Batch], None]) -> None:
        """Call this receiver no more."""
        self._receivers.remove(receive)

    def publish(self, records: list[Record]) -> None:
        """Stamp the records and hand them on; never waits."""
        if not records:
            return
        offset = self.offset
        for record in records:
            offset += 1
            record.offset = offset
        self.offset = offset
        batch = Batch(records)
        for receive in self._receivers:
            receive(batch)

    def status(self) -> BusStatus:
        """How far it is, and who listens."""
        return BusStatus(self.epoch, self.offset, len(self.instruments), len(self._receivers))

    def header(self) -> Header:
        """The stream as it stands."""
        return Header(SCHEMA, self.epoch, self.offset)
