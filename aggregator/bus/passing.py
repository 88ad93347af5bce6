"""Batches as they travel from one process to another: lines, and beside them what a receiver needs to know of each.

The sender writes every record once, with a `MARK` where its offset belongs. The receiver puts offsets of its own stream
there by parting the text at the marks, and reads no record that nobody asks for.
"""

import struct
from array import array
from collections.abc import Callable, Hashable, Sequence

import msgspec

from aggregator.bus.bus import Batch, Bus, LazyBatch, TopicKey
from aggregator.errors import AggregatorError
from aggregator.records import RECORD_TYPES, Record, decode_record

MARK = 2**62  # stands for an offset: no stream ever comes so far
MARK_TEXT = b',"offset":%d' % MARK  # no text of a record holds it: a quotation mark is written there with a backslash
HEAD = struct.Struct("<II")  # records, and the bytes that new topics take
ID_BYTES, TIME_BYTES = 4, 8
TYPES: dict[str, type[Record]] = {str(kind.__struct_config__.tag): kind for kind in RECORD_TYPES}
NewTopic = tuple[str, str, str | None, str | None]  # the type as it is written, the exchange, raw and unified symbol

_pack: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
_unpack: Callable[[bytes], list[NewTopic]] = msgspec.msgpack.Decoder(list[NewTopic]).decode


class BadPassage(AggregatorError):
    """Something that came is no batch; the words say why."""


Divert = Callable[[list[Record]], list[Record]]


class MarkingBus(Bus):
    """A bus whose records have a mark for an offset: another process counts them.

    diverted: by exchange, whoever takes what is published of it, and gives what is to be published instead
    """

    def __init__(self, epoch: str) -> None:
        super().__init__(epoch)
        self.diverted: dict[str, Divert] = {}

    def publish(self, records: list[Record]) -> None:
        """Mark the records and hand them on; never waits."""
        if self.diverted:
            records = self._divert(records)
        self.mark(records)

    def _divert(self, records: list[Record]) -> list[Record]:
        for id, divert in list(self.diverted.items()):
            theirs = [record for record in records if record.exchange == id]
            if theirs:
                records = [record for record in records if record.exchange != id] + divert(theirs)
        return records

    def mark(self, records: list[Record]) -> None:
        """Do so with all of them."""
        if not records:
            return
        for record in records:
            record.offset = MARK
        self.offset += len(records)
        self.hand_on(Batch(records, self.epoch))


class Packer:
    """Packs batches whose records have the mark. It numbers their topics, and tells of each once."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def pack(self, batch: Batch) -> list[bytes]:
        """A batch in pieces, which belong together."""
        known, new = self._numbers, list[NewTopic]()
        ids = array("I")
        for key in batch.keys:
            number = known.get(key)
            if number is None:
                number = known[key] = len(known)
                new.append((str(key[0].__struct_config__.tag), *key[1:]))
            ids.append(number)
        topics = _pack(new) if new else b""
        head = HEAD.pack(batch.count, len(topics))
        return [head, topics, ids.tobytes(), array("q", batch.times).tobytes(), batch.blob]


class Unpacker:
    """Makes batches of what one packer has packed, with offsets of this process.

    keys: of the topics so far, by their numbers
    """

    def __init__(self) -> None:
        self.keys: list[TopicKey] = []

    def unpack(self, packed: memoryview, epoch: str, first: int) -> "PassedBatch":
        """A batch whose first record has this offset. Raises BadPassage."""
        try:
            count, length = HEAD.unpack_from(packed)
            at = HEAD.size + length
            if length:
                self.keys += [(TYPES[kind], *rest) for kind, *rest in _unpack(bytes(packed[HEAD.size : at]))]  # type: ignore[misc]
            ids, times = array("I"), array("q")
            ids.frombytes(packed[at : at + count * ID_BYTES])
            at += count * ID_BYTES
            times.frombytes(packed[at : at + count * TIME_BYTES])
            at += count * TIME_BYTES
            known = self.keys
            keys = [known[number] for number in ids]
        except (struct.error, ValueError, LookupError, msgspec.MsgspecError) as error:
            raise BadPassage(f"a batch that cannot be read: {error}") from None
        pieces = bytes(packed[at:]).split(MARK_TEXT)
        if not count or len(pieces) != count + 1 or len(times) != count:
            raise BadPassage(f"a batch of {count} records that has {len(pieces) - 1} lines")
        offsets = range(first, first + count)
        whole = [b""] * (2 * count + 1)
        whole[::2] = pieces
        whole[1::2] = [b',"offset":%d' % offset for offset in offsets]
        return PassedBatch(epoch, keys, times, offsets, blob=b"".join(whole), ids=ids)


class PassedBatch(LazyBatch):
    """Records that another process has written as lines; they are read from these once somebody asks for them.

    ids: the number of each record's topic, as its sender counts them; empty: it is not known any more
    """

    __slots__ = ("_offsets", "_times", "_topics", "ids")

    is_passed = True

    def __init__(
        self,
        epoch: str,
        keys: list[TopicKey],
        times: Sequence[int],
        offsets: Sequence[int],
        *,
        blob: bytes | None = None,
        lines: list[bytes] | None = None,
        ids: Sequence[int] = (),
    ) -> None:
        """Hold lines, together or one by one."""
        super().__init__(len(keys), epoch)
        self._topics = keys
        self._times = times
        self._offsets = offsets
        self._blob = blob
        self._lines = lines
        self.ids = ids

    def _made(self) -> list[Record]:
        return [decode_record(line) for line in self.lines]

    def record(self, at: int) -> Record:
        """The record at a position; others are not read for that."""
        return decode_record(self.lines[at]) if self._found is None else self._found[at]

    @property
    def keys(self) -> list[TopicKey]:
        return self._topics

    @property
    def first(self) -> int:
        return self._offsets[0]

    @property
    def last(self) -> int:
        return self._offsets[-1]

    @property
    def earliest(self) -> int:
        return min(self._times)

    @property
    def last_ts(self) -> int:
        return self._times[-1]

    @property
    def offsets(self) -> Sequence[int]:
        return self._offsets

    @property
    def times(self) -> Sequence[int]:
        return self._times

    def _encoded(self) -> bytes:
        return b"".join(self.lines)

    def part(self, start: int, stop: int) -> Batch:
        return self._of(range(start, stop))

    def chosen(self, positions: Sequence[int]) -> Batch:
        return self._of(positions)

    def few(self, positions: Sequence[int]) -> Batch:
        return self._of(positions)

    def _of(self, positions: Sequence[int]) -> "PassedBatch":
        keys, lines, times, offsets = self.keys, self.lines, self._times, self._offsets
        return PassedBatch(
            self.epoch,
            [keys[at] for at in positions],
            [times[at] for at in positions],
            [offsets[at] for at in positions],
            lines=[lines[at] for at in positions],
        )
