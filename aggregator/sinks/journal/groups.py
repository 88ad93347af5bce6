"""The closed segment of a journal: groups of records sorted by topic, compressed, with a table of what is where.

A group holds thousands of records that follow each other. Within it they are sorted by topic, and the runs of a few
topics are one frame of zstd, so that the records of one topic are read without unpacking those of the others; each
record's place in the stream is kept beside it. Similar lines beside each other are also smaller than lines in the order
in which they came. The table at the end of the file tells for each topic in which groups it occurs. Each group repeats
its own part of the table before its frames: where the one at the end is damaged, the file is read by these.
"""

import os
import weakref
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from struct import Struct as Layout
from typing import NamedTuple
from zlib import crc32

import msgspec
import zstandard
from msgspec import Struct

from aggregator.bus.history import KeptTopic
from aggregator.sinks.journal.blocks import (
    LOST,
    MODE,
    TEMPORARY,
    Block,
    Head,
    NotReadable,
    OpenFile,
    read_at,
    read_head,
)

GROUP_RECORDS = 16_384
GROUP_BYTES = 4 << 20
FRAME_BYTES = 64 << 10  # a frame is closed once it holds so much
LEVEL = 3
_GROUP = Layout("<2sxxIII")  # mark, bytes of the table and of the frames, checksum of the table
_GROUP_MARK = b"jg"
_TRAILER = Layout("<QII4s")  # where the table is, its bytes, its checksum
_TRAILER_MARK = b"jend"


class GroupTable(Struct, array_like=True):
    """The content of a group.

    first, count: the offset of the first record, and how many there are
    ts: the greatest time up to its end
    frames: for each frame its bytes, and how many runs it holds
    ids: arrays of 32 bits: the number of each run's topic, grown; how many records it has; and bytes of lines
    topics: those that have not come before in this file, in the order of their numbers
    """

    first: int
    count: int
    ts: int
    frames: list[tuple[int, int]]
    ids: bytes
    counts: bytes
    sizes: bytes
    topics: list[KeptTopic] = []


class GroupPlace(Struct, array_like=True):
    """Where a group lies: `at` is that of its header."""

    at: int
    first: int
    count: int
    ts: int

    @property
    def last(self) -> int:
        """The offset of the last record."""
        return self.first + self.count - 1


class SegmentTable(Struct, array_like=True):
    """The table at the end of the file; `postings` gives for each topic the groups that it occurs in."""

    groups: list[GroupPlace]
    topics: list[KeptTopic]
    postings: list[bytes]
    head: Head | None = None


class Loaded(NamedTuple):
    """Records of a group or block that were asked for, in order.

    offsets: of each
    ids: the number of the topic of each; empty where nobody asked
    lost: how many of those that were asked for cannot be read
    """

    offsets: Sequence[int]
    lines: list[bytes]
    ids: Sequence[int]
    lost: int = 0


_pack: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
_unpack_group: Callable[[bytes], GroupTable] = msgspec.msgpack.Decoder(GroupTable).decode
_unpack_table: Callable[[bytes], SegmentTable] = msgspec.msgpack.Decoder(SegmentTable).decode


class _Group:
    """A group that is being gathered."""

    def __init__(self) -> None:
        self.first = self.ts = self.size = 0
        self.lines: list[bytes] = []
        self.ids: list[int] = []

    def add(self, ids: Sequence[int], blob: bytes, first: int, ts: int) -> None:
        if not self.lines:
            self.first = first
        self.lines += blob.splitlines(keepends=True)
        self.ids += ids
        self.size += len(blob)
        self.ts = ts

    @property
    def end(self) -> int:
        """The offset of the record that would follow."""
        return self.first + len(self.lines)

    def runs(self) -> list[tuple[int, list[int]]]:
        """The positions of each topic's records."""
        found: dict[int, list[int]] = {}
        for position, topic in enumerate(self.ids):
            run = found.get(topic)
            if run is None:
                found[topic] = [position]
            else:
                run.append(position)
        return sorted(found.items())


def close_segment(
    source: OpenFile, target: Path, *, records: int = GROUP_RECORDS, bytes_: int = GROUP_BYTES, frame: int = FRAME_BYTES
) -> Head:
    """Write what an open segment holds as a closed one, whole or not at all. Raises OSError, NotReadable."""
    blocks = source.blocks
    head = Head(
        epoch=source.head.epoch,
        schema=source.head.schema,
        before=source.head.before,
        is_whole=source.head.is_whole,
        records=sum(block.count for block in blocks),
        first=blocks[0].first,
        last=blocks[-1].last,
        ts_first=source.ts_first,
        ts_last=blocks[-1].ts,
        is_end=source.is_end,
    )
    temporary = target.with_name(f".{target.name}{TEMPORARY}")
    temporary.unlink(missing_ok=True)
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        with open(fd, "wb", buffering=1 << 18) as file:  # noqa: PTH123 - a descriptor
            writer = _Writer(file.write, head, source.topics, frame)
            writer.put(head.line())
            group = _Group()
            for block in blocks:
                ids, blob = source.read(block)
                if group.lines and (len(group.lines) >= records or group.size >= bytes_ or block.first != group.end):
                    writer.put_group(group)
                    group = _Group()
                group.add(ids, blob, block.first, block.ts)
            writer.put_group(group)
            writer.put_table()
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)
    return head


class _Writer:
    """The bytes of a closed segment, one part after the other."""

    def __init__(self, write: Callable[[bytes], object], head: Head, topics: Sequence[KeptTopic], frame: int) -> None:
        self._write = write
        self._head = head
        self._topics = topics
        self._told = 0  # topics that stand in a group
        self._frame = frame
        self._at = 0
        self._places: list[GroupPlace] = []
        self._postings: dict[int, array[int]] = {}
        settings = zstandard.ZstdCompressionParameters.from_level(LEVEL, write_checksum=True)
        self._compress = zstandard.ZstdCompressor(compression_params=settings).compress

    def put(self, data: bytes) -> None:
        self._write(data)
        self._at += len(data)

    def put_group(self, group: _Group) -> None:
        if not group.lines:
            return
        runs = group.runs()
        table = GroupTable(group.first, len(group.lines), group.ts, [], b"", b"", b"")
        counts, sizes, frames = array("I"), array("I"), []
        positions, lines, size, held = array("I"), list[bytes](), 0, 0
        for topic, run in runs:
            self._postings.setdefault(topic, array("I")).append(len(self._places))
            mine = [group.lines[at] for at in run]
            length = sum(map(len, mine))
            counts.append(len(run))
            sizes.append(length)
            positions.extend(run)
            lines += mine
            size += length
            held += 1
            if size >= self._frame:
                frames.append(self._packed(positions, lines, held, table))
                positions, lines, size, held = array("I"), [], 0, 0
        if held:
            frames.append(self._packed(positions, lines, held, table))
        table.ids = array("I", [topic for topic, _ in runs]).tobytes()
        table.counts, table.sizes = counts.tobytes(), sizes.tobytes()
        most = runs[-1][0] + 1
        table.topics = list(self._topics[self._told : most])
        self._told = max(self._told, most)
        packed = self._compress(_pack(table))
        self._places.append(GroupPlace(self._at, group.first, len(group.lines), group.ts))
        self.put(_GROUP.pack(_GROUP_MARK, len(packed), sum(map(len, frames)), crc32(packed)))
        self.put(packed)
        for each in frames:
            self.put(each)

    def _packed(self, positions: "array[int]", lines: list[bytes], runs: int, table: GroupTable) -> bytes:
        """A frame, which is entered into the table."""
        data = self._compress(positions.tobytes() + b"".join(lines))
        table.frames.append((len(data), runs))
        return data

    def put_table(self) -> None:
        topics = list(self._topics)
        empty = array("I")
        postings = [self._postings.get(number, empty).tobytes() for number in range(len(topics))]
        packed = self._compress(_pack(SegmentTable(self._places, topics, postings, self._head)))
        at = self._at
        self.put(packed)
        self.put(_TRAILER.pack(at, len(packed), crc32(packed), _TRAILER_MARK))


class ClosedFile:
    """A closed segment on disk, opened to be read. One thread works with it."""

    def __init__(self, path: Path) -> None:
        """Open it, and read its table. Raises OSError, AnotherFormat, NotReadable."""
        self.path = path
        self.is_damaged = False
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)
        self._decompress = zstandard.ZstdDecompressor().decompress
        self._latest: tuple[int, GroupTable, int] | None = None  # the table that was asked for last
        try:
            table = self._read_table()
        except (NotReadable, zstandard.ZstdError, msgspec.MsgspecError):
            self.is_damaged = True
            table = self._rebuilt()
            table.head = read_head(path)
        self.head = table.head
        self.blocks = table.groups
        self.topics = table.topics
        self._postings = table.postings

    def _read_table(self) -> SegmentTable:
        size = os.fstat(self._fd).st_size
        at, length, check, mark = _TRAILER.unpack(self._read(size - _TRAILER.size, _TRAILER.size))
        if mark != _TRAILER_MARK or at + length > size:
            raise NotReadable(f"{self.path.name} has no table at its end")
        packed = self._read(at, length)
        if crc32(packed) != check:
            raise NotReadable(f"{self.path.name}: the table at its end is damaged")
        return _unpack_table(self._decompress(packed))

    def _rebuilt(self) -> SegmentTable:
        """The table, made anew of the groups that can be found."""
        data = self.path.read_bytes()
        at, groups, topics = data.find(b"\n") + 1, list[GroupPlace](), list[KeptTopic]()
        postings: dict[int, array[int]] = {}
        while (at := data.find(_GROUP_MARK, at)) >= 0:
            try:
                group, end = self._group_at(at)
            except (NotReadable, zstandard.ZstdError, msgspec.MsgspecError):
                at += 1
                continue
            ids = _array(group.ids)
            for topic in ids:
                postings.setdefault(topic, array("I")).append(len(groups))
            groups.append(GroupPlace(at, group.first, group.count, group.ts))
            lacking = (max(ids, default=-1) + 1) - len(topics) - len(group.topics)
            topics += [LOST] * max(0, lacking)
            topics += group.topics
            at = end
        return SegmentTable(
            groups, topics, [postings.get(number, array("I")).tobytes() for number in range(len(topics))]
        )

    def _group_at(self, at: int) -> tuple[GroupTable, int]:
        """A group's table, and where its frames end. Raises OSError, NotReadable and errors of what unpacks it."""
        mark, length, frames, check = _GROUP.unpack(self._read(at, _GROUP.size))
        packed = self._read(at + _GROUP.size, length) if mark == _GROUP_MARK else b""
        if mark != _GROUP_MARK or crc32(packed) != check:
            raise NotReadable(f"{self.path.name}: a group is damaged")
        return _unpack_group(self._decompress(packed)), at + _GROUP.size + length + frames

    def _table(self, at: int) -> tuple[GroupTable, int]:
        """A group's table, and where its frames begin."""
        if self._latest is None or self._latest[0] != at:
            group, end = self._group_at(at)
            self._latest = at, group, end - sum(length for length, _ in group.frames)
        return self._latest[1], self._latest[2]

    def _read(self, at: int, size: int) -> bytes:
        data = read_at(self._fd, size, at) if at >= 0 else b""
        if len(data) != size:
            raise NotReadable(f"{self.path.name} is shorter than it should be")
        return data

    def groups_of(self, wanted: Iterable[int]) -> set[int]:
        """The numbers of the groups in which any of these topics occurs."""
        found: set[int] = set()
        for topic in wanted:
            found.update(_array(self._postings[topic]))
        return found

    def load(self, place: GroupPlace, wanted: "set[int] | None", *, with_ids: bool) -> Loaded:
        """The records of a group, of these topics or of all. Raises OSError, NotReadable where none can be read."""
        try:
            table, at = self._table(place.at)
        except (zstandard.ZstdError, msgspec.MsgspecError) as error:
            raise NotReadable(f"{self.path.name}: a group is damaged: {error}") from None
        gathered = _Gathered(table, wanted, with_ids=with_ids)
        read = self._read if wanted is not None else self._read_ahead(at, sum(length for length, _ in table.frames))
        for length, runs in table.frames:
            if gathered.wants(runs):
                try:
                    gathered.take(runs, self._unpacked(read(at, length), gathered.size_of(runs)))
                except (NotReadable, zstandard.ZstdError):
                    gathered.lose(runs)
            gathered.pass_by(runs)
            at += length
        return gathered.loaded()

    def _read_ahead(self, start: int, size: int) -> Callable[[int, int], bytes]:
        """Read all of a part of the file at once, as far as it goes; gives what gives pieces of it."""
        try:
            data = read_at(self._fd, size, start)
        except NotReadable:  # the rest of it is read piece by piece
            return self._read

        def piece(at: int, length: int) -> bytes:
            found = data[at - start : at - start + length]
            if len(found) != length:
                raise NotReadable(f"{self.path.name} is shorter than it should be")
            return found

        return piece

    def _unpacked(self, packed: bytes, size: int) -> bytes:
        """The content of a frame, which holds so much. Raises NotReadable and errors of what unpacks it."""
        if zstandard.frame_content_size(packed) != size:
            raise NotReadable(f"{self.path.name}: a frame is damaged")
        return self._decompress(packed)


class _Gathered:
    """The records of a group, gathered frame by frame."""

    def __init__(self, table: GroupTable, wanted: "set[int] | None", *, with_ids: bool) -> None:
        self._first, self._count = table.first, table.count
        self._ids, self._counts, self._sizes = _array(table.ids), _array(table.counts), _array(table.sizes)
        self._wanted = wanted
        self._with_ids = with_ids
        self._run = 0  # the next one
        self._lost = 0
        self._all: list[bytes | None] | None = [None] * table.count if wanted is None else None
        self._positions: list[int] = []
        self._lines: list[bytes] = []
        self._topics: list[int] = []

    def wants(self, runs: int) -> bool:
        """Tell whether any of the next runs is wanted."""
        wanted = self._wanted
        return wanted is None or any(topic in wanted for topic in self._ids[self._run : self._run + runs])

    def size_of(self, runs: int) -> int:
        """The bytes of the next runs, with the positions before them."""
        stop = self._run + runs
        return sum(self._sizes[self._run : stop]) + self._counts.itemsize * sum(self._counts[self._run : stop])

    def pass_by(self, runs: int) -> None:
        self._run += runs

    def lose(self, runs: int) -> None:
        """The next runs cannot be read."""
        for run in range(self._run, self._run + runs):
            if self._wanted is None or self._ids[run] in self._wanted:
                self._lost += self._counts[run]

    def take(self, runs: int, data: bytes) -> None:
        """Take the wanted ones of the next runs, which stand in `data` behind the positions of all."""
        start, stop = self._run, self._run + runs
        count = sum(self._counts[start:stop])
        width = count * self._counts.itemsize
        positions = _array(data[:width])
        if self._wanted is None and not self._with_ids and self._all is not None:
            lines = data[width:].splitlines(keepends=True)
            if len(lines) != count:
                raise NotReadable("lines are missing")
            everything = self._all
            for position, line in zip(positions, lines, strict=True):
                everything[position] = line
            return
        at, number = width, 0
        for run in range(start, stop):
            size, held = self._sizes[run], self._counts[run]
            topic = self._ids[run]
            if self._wanted is None or topic in self._wanted:
                self._positions += positions[number : number + held]
                self._lines += data[at : at + size].splitlines(keepends=True)
                if self._with_ids:
                    self._topics += [topic] * held
            at += size
            number += held

    def loaded(self) -> Loaded:
        first = self._first
        if self._all is not None and not self._with_ids:
            if not self._lost:
                return Loaded(range(first, first + self._count), self._all, ())  # type: ignore[arg-type]
            there = [(at, line) for at, line in enumerate(self._all) if line is not None]
            return Loaded([first + at for at, _ in there], [line for _, line in there], (), self._lost)
        order = sorted(range(len(self._positions)), key=self._positions.__getitem__)
        return Loaded(
            [first + self._positions[at] for at in order],
            [self._lines[at] for at in order],
            [self._topics[at] for at in order] if self._with_ids else (),
            self._lost,
        )


def _array(data: bytes) -> "array[int]":
    found = array("I")
    found.frombytes(data)
    return found


def load_block(file: OpenFile, block: Block, wanted: "set[int] | None", *, with_ids: bool) -> Loaded:
    """The records of a block of an open segment, of these topics or of all. Raises OSError, NotReadable."""
    ids, blob = file.read(block)
    lines, first = blob.splitlines(keepends=True), block.first
    if len(lines) != len(ids):
        raise NotReadable(f"{file.path.name}: the records from {first} on are damaged")
    if wanted is None:
        return Loaded(range(first, first + len(lines)), lines, ids if with_ids else ())
    at = [position for position, topic in enumerate(ids) if topic in wanted]
    return Loaded(
        [first + position for position in at],
        [lines[position] for position in at],
        [ids[position] for position in at] if with_ids else (),
    )
