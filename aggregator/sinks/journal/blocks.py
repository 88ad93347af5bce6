"""The open segment of a journal: blocks as they were written, each with a checksum, and where each of them lies.

The file begins with a line of JSON (`Head`). A block is a header of fixed length and a body. It holds records (the
number of each one's topic, then their lines), topics that have not come before in this file, or the word that the epoch
has ended. A writer that is killed leaves at most a torn block at the end, which its checksum shows.
"""

import errno
import os
import weakref
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from struct import Struct as Layout
from zlib import crc32

import msgspec
from msgspec import Struct

from aggregator.bus.history import KeptTopic
from aggregator.records import SCHEMA

FORMAT = 1  # the version of the files of a journal
OPEN, CLOSED, TEMPORARY = ".open", ".journal", ".tmp"
HEAD_BYTES = 4096  # a head is shorter
RECORDS, TOPICS, END = 1, 2, 3
_HEADER = Layout("<2sBxIIQQI")  # mark, kind, records, bytes of the body, offset of the first, greatest time, checksum
_MARK = b"jb"
_CHECK = b',"check":'
APPEND = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
CREATE = APPEND | os.O_CREAT | os.O_EXCL
MODE = 0o640
LOST = KeptTopic("", (), "", (), None)  # a topic whose name was in a damaged block

_encode_lines: Callable[[Sequence[object]], bytes] = msgspec.json.Encoder().encode_lines
_decode_topics: Callable[[bytes], list[KeptTopic]] = msgspec.json.Decoder(KeptTopic).decode_lines


class Head(Struct, kw_only=True, tag_field="type", tag="journal"):
    """The first line of a segment. What stands in an open one's is known when it is begun.

    format: the version of the file
    schema: that of the records
    before: the epoch that the journal was of before this one; empty: none
    is_whole: whether everything of that one was written
    records, first, last: of a closed one: how many, and the offsets of the first and the last
    ts_first, ts_last: of a closed one: the time of its first record, and the greatest of all
    is_end: of a closed one: whether its last record is the last of the epoch
    """

    format: int = FORMAT
    schema: int = SCHEMA
    epoch: str
    before: str = ""
    is_whole: bool = True
    records: int = 0
    first: int = 0
    last: int = 0
    ts_first: int = 0
    ts_last: int = 0
    is_end: bool = False

    def line(self) -> bytes:
        """The line of JSON. It ends with its checksum, in every version of the format."""
        text = _encode_head(self).removesuffix(b"}")
        return text + _CHECK + b"%d}\n" % crc32(text)


class Version(Struct):
    """The first two words of a head, in every version of the format."""

    type: str = ""
    format: int = 0


_encode_head: Callable[[object], bytes] = msgspec.json.Encoder().encode
_decode_head: Callable[[bytes], Head] = msgspec.json.Decoder(Head).decode
_decode_version: Callable[[bytes], Version] = msgspec.json.Decoder(Version).decode


class NotReadable(ValueError):
    """A file, or a part of one, is not what it should be."""


class AnotherFormat(NotReadable):
    """A file of a version that this program does not read; the words say what to do."""


def read_head(path: Path) -> Head:
    """The head of a segment. Raises OSError, AnotherFormat, NotReadable."""
    with path.open("rb") as file:
        line = file.readline(HEAD_BYTES)
    text, _, check = line.partition(_CHECK)
    if check != b"%d}\n" % crc32(text):
        raise NotReadable(f"{path.name} has no head that can be read")
    try:
        found = _decode_version(line)
        if found.type == "journal" and found.format != FORMAT:
            raise AnotherFormat(
                f"{path} is of version {found.format} of the journal's format, and this program reads {FORMAT}: "
                f"run the version that wrote it, or move the directory away to begin a new journal"
            )
        return _decode_head(line)
    except msgspec.MsgspecError as error:
        raise NotReadable(f"{path.name} has no head that can be read: {error}") from None


def read_at(fd: int, size: int, at: int) -> bytes:
    """Bytes of a file, fewer where it ends. Raises OSError, and NotReadable where the disk has lost some of them."""
    try:
        return os.pread(fd, size, at)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise NotReadable(f"the disk cannot read it: {error.strerror}") from error


class _Time(Struct):
    ts_recv: int = 0


_decode_time: Callable[[bytes], _Time] = msgspec.json.Decoder(_Time).decode


def time_of(line: bytes) -> int:
    """The `ts_recv` of a record."""
    return _decode_time(line).ts_recv


def has_head(path: Path) -> bool:
    """Tell whether a segment has a whole first line, whatever it says. Raises OSError."""
    with path.open("rb") as file:
        return file.readline(HEAD_BYTES).endswith(b"\n")


class Block(Struct, frozen=True):
    """Where records that were written together lie.

    at: of the body
    ts: the greatest time of this block and those before it
    """

    at: int
    size: int
    first: int
    count: int
    ts: int

    @property
    def last(self) -> int:
        """The offset of the last record."""
        return self.first + self.count - 1


def packed(kind: int, body: bytes, *, count: int = 0, first: int = 0, ts: int = 0) -> bytes:
    """A block as it is written."""
    bare = _HEADER.pack(_MARK, kind, count, len(body), first, ts, 0)
    return _HEADER.pack(_MARK, kind, count, len(body), first, ts, crc32(body, crc32(bare))) + body


def _whole(data: bytes, at: int) -> tuple[int, int, int, int, int, int] | None:
    """A block's kind, count, first, ts, and where its body begins and ends; null where no whole one is here."""
    if len(data) < at + _HEADER.size:
        return None
    mark, kind, count, size, first, ts, check = _HEADER.unpack_from(data, at)
    start = at + _HEADER.size
    if mark != _MARK or len(data) < start + size:
        return None
    bare = _HEADER.pack(_MARK, kind, count, size, first, ts, 0)
    if crc32(memoryview(data)[start : start + size], crc32(bare)) != check:
        return None
    return kind, count, first, ts, start, start + size


class OpenFile:
    """An open segment on disk, and all that is known of it. One thread writes; others read what it has written.

    size: of the file, up to the end of the last whole block
    """

    def __init__(self, path: Path, head: Head, fd: int, size: int) -> None:
        self.path = path
        self.head = head
        self.size = size
        self.blocks: list[Block] = []
        self.topics: list[KeptTopic] = []
        self.ts_first = 0
        self.is_end = False
        self.is_damaged = False  # something between whole blocks cannot be read
        self._fd = fd
        self._torn = False
        status = os.fstat(fd)
        self.identity = status.st_dev, status.st_ino
        weakref.finalize(self, os.close, fd)  # once the last reader has let go of it

    @classmethod
    def create(cls, path: Path, head: Head) -> "OpenFile":
        """Begin a segment. Raises OSError; then there is no file."""
        fd = os.open(path, CREATE, MODE)
        opened = cls(path, head, fd, 0)
        try:
            opened._put(head.line())
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return opened

    @classmethod
    def found(cls, path: Path) -> "tuple[OpenFile, int]":
        """Take up a segment that a former life has left, and how many bytes of a torn block were cut off its end.

        Raises OSError, AnotherFormat, NotReadable.
        """
        head = read_head(path)
        fd = os.open(path, APPEND)
        opened = cls(path, head, fd, 0)
        whole = opened._survey()
        torn = os.fstat(fd).st_size - whole
        if torn:
            os.ftruncate(fd, whole)
        return opened, torn

    @classmethod
    def seen(cls, path: Path) -> "OpenFile":
        """A segment as it lies there, to be read and nothing else. Raises OSError, AnotherFormat, NotReadable."""
        opened = cls(path, read_head(path), os.open(path, os.O_RDONLY | os.O_CLOEXEC), 0)
        opened._survey()
        return opened

    def _survey(self) -> int:
        """Find every whole block; where the last of them ends. What is damaged before that is passed over."""
        data = self.path.read_bytes()
        at = end = data.index(b"\n") + 1
        while True:
            found = _whole(data, at)
            if found is None:
                at = data.find(_MARK, at + 1)
                if at < 0:
                    break
                continue
            kind, count, first, ts, start, stop = found
            self.is_damaged = self.is_damaged or at != end
            self._note(kind, data[start:stop], Block(start, stop - start, first, count, ts))
            at = end = stop
        self.size = end
        if self.is_damaged:  # topics at the end may be missing
            most = max((max(self.read(block)[0], default=-1) for block in self.blocks), default=-1)
            self.topics += [LOST] * (most + 1 - len(self.topics))
        return end

    def _note(self, kind: int, body: bytes, block: Block) -> None:
        if kind == RECORDS:
            self._add(block, body)
        elif kind == TOPICS:
            self.topics += [LOST] * (block.first - len(self.topics))
            self.topics += _decode_topics(body)
        elif kind == END:
            self.is_end = True

    def _add(self, block: Block, body: bytes) -> None:
        if not self.blocks:
            line = body[4 * block.count : body.index(b"\n", 4 * block.count)]
            self.ts_first = time_of(line)
        self.blocks.append(block)

    # --- for its writer

    def add_topics(self, topics: Sequence[KeptTopic]) -> None:
        """Number topics, in the order in which they are given. Raises OSError; then nothing of them stays."""
        body = _encode_lines(topics)
        self._put(packed(TOPICS, body, count=len(topics), first=len(self.topics)))
        self.topics += topics

    def add_records(self, body: bytes, *, count: int, first: int, ts: int) -> None:
        """Write records. Raises OSError; then nothing of them stays."""
        ts = max(ts, self.blocks[-1].ts) if self.blocks else ts
        at = self.size + _HEADER.size
        self._put(packed(RECORDS, body, count=count, first=first, ts=ts))
        self._add(Block(at, len(body), first, count, ts), body)

    def add_end(self) -> None:
        """Say that the epoch ends with what is here. Raises OSError."""
        self._put(packed(END, b""))
        self.is_end = True

    def _put(self, data: bytes) -> None:
        if self._torn:
            self._cut()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            self._torn = True
            self._cut()
            raise
        self.size += len(data)

    def _cut(self) -> None:
        os.ftruncate(self._fd, self.size)
        self._torn = False

    def sync(self) -> None:
        """Have all of it reach the disk. Raises OSError."""
        os.fsync(self._fd)

    # --- for readers

    def read(self, block: Block) -> tuple["array[int]", bytes]:
        """The number of each record's topic, and their lines. Raises OSError, NotReadable."""
        body = read_at(self._fd, block.size, block.at)
        ids = array("I")
        if len(body) != block.size or block.count * ids.itemsize > block.size:
            raise NotReadable(f"{self.path.name}: the records from {block.first} on are not there")
        ids.frombytes(body[: block.count * ids.itemsize])
        return ids, body[block.count * ids.itemsize :]
