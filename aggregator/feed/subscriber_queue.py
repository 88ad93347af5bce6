"""The bounded queue of one subscriber: the oldest records go first, losses are told, and no book has a hole."""

import time
from collections import deque
from collections.abc import Callable, Sequence

from msgspec import Struct

from aggregator.feed.formats import PLAIN, Options, pieces
from aggregator.feed.protocol import Encoding, Policy
from aggregator.records import Lag, Record

RING_BYTES = 64 * 2**20
ROOM = 0.75  # the share of a full queue that is kept where the newest supersedes what was before
TAKE_BYTES = 256 * 1024  # so much is given to be written at once
PRESSING = 4  # a queue of which this part is full, in records, is written at once
PRESSING_BYTES = 64 * 1024  # or one of so many bytes

BookName = tuple[str, str | None]  # exchange and raw symbol


class BookRole(Struct, frozen=True, eq=False):
    """The part of a record in a queue: its book, if any, whether it starts that, and whether only the newest matters.

    Records of one route share a role, so that it is told by identity.
    """

    book: BookName | None
    starts: bool
    is_superseded: bool = False  # by the next record of its route, of which it tells how something stands


class Chunk:
    """Lines that belong together, shared by every ring that holds them; `roles` and `offsets` are those of its records.

    The feed's own answers are chunks without records: never lost, and not counted.
    """

    __slots__ = ("_books", "_kept", "_starts", "data", "offsets", "options", "roles")

    def __init__(
        self,
        data: bytes,
        roles: Sequence[BookRole] = (),
        offsets: Sequence[int] = (),
        options: Options = PLAIN,
    ) -> None:
        self.data = data
        self.options = options
        self.roles = roles
        self.offsets = offsets
        self._books: frozenset[BookName] | None = None
        self._starts: frozenset[BookName] | None = None
        self._kept: tuple[object, bytes, MissedRecords] | None = None

    @property
    def books(self) -> frozenset[BookName]:
        """The books that it holds something of."""
        if self._books is None:
            self._books = frozenset(role.book for role in self.roles if role.book is not None)
        return self._books

    @property
    def starts(self) -> frozenset[BookName]:
        """The books that it holds a whole snapshot of."""
        if self._starts is None:
            self._starts = frozenset(role.book for role in self.roles if role.starts and role.book is not None)
        return self._starts

    def lines(self) -> list[bytes]:
        return pieces(self.data, self.options)

    def without(self, books: frozenset[BookName], counted: frozenset[BookName]) -> tuple[bytes, "MissedRecords"]:
        """The lines but those of some books, and how many of these are of the `counted` ones.

        Rings that are behind mostly wait for the same books: the last answer is kept for the next of them.
        """
        asked = books, counted
        if self._kept is None or self._kept[0] != asked:
            kept, lost = [], MissedRecords()
            for line, role, offset in zip(self.lines(), self.roles, self.offsets, strict=True):
                if role.book not in books:
                    kept.append(line)
                elif role.book in counted:
                    lost.add(1, offset, offset)
            self._kept = asked, b"".join(kept), lost
        return self._kept[1], self._kept[2]

    def split(self, at: int) -> tuple["Chunk", "Chunk"]:
        """The first `at` records, and the rest."""
        lines, options = self.lines(), self.options
        return (
            Chunk(b"".join(lines[:at]), self.roles[:at], self.offsets[:at], options),
            Chunk(b"".join(lines[at:]), self.roles[at:], self.offsets[at:], options),
        )

    def newest(self, seen: set[BookRole]) -> tuple["Chunk", "MissedRecords"]:
        """The chunk without what a later record supersedes, and what that was; `seen` are roles of later records."""
        lost = MissedRecords()
        kept: list[int] = []
        for at in range(len(self.roles) - 1, -1, -1):
            role = self.roles[at]
            if role.is_superseded and role in seen:
                lost.add(1, self.offsets[at], self.offsets[at])
                continue
            seen.add(role)
            kept.append(at)
        if not lost.count:
            return self, lost
        lost.first, lost.last = lost.last, lost.first  # they were met backwards
        kept.reverse()
        lines = self.lines()
        return (
            Chunk(
                b"".join([lines[at] for at in kept]),
                [self.roles[at] for at in kept],
                [self.offsets[at] for at in kept],
                self.options,
            ),
            lost,
        )


def join(chunks: Sequence[Chunk]) -> Chunk:
    """Several chunks as one."""
    if len(chunks) == 1:
        return chunks[0]
    return Chunk(
        b"".join([chunk.data for chunk in chunks]),
        [role for chunk in chunks for role in chunk.roles],
        [offset for chunk in chunks for offset in chunk.offsets],
        chunks[0].options,
    )


class MissedRecords(Struct):
    """How many records a subscriber has missed, and the offsets of the first and the last of them."""

    count: int = 0
    first: int = 0
    last: int = 0

    def add(self, count: int, first: int, last: int) -> None:
        self.first = first if not self.count else self.first
        self.count += count
        self.last = last

    def merge(self, other: "MissedRecords") -> None:
        """Add records that were missed too, in any order."""
        self.first = min(self.first, other.first) if self.count else other.first
        self.last = max(self.last, other.last)
        self.count += other.count


class Ring:
    """One subscriber's queue.

    waiting: books whose deltas are withheld until a snapshot; the value says whether that is for a loss, so that what
        is withheld counts as lost too
    wanted: books of which a snapshot is to be sent as soon as everything before it is
    """

    def __init__(
        self, limit: int, encode: Callable[[Sequence[Record]], bytes], *, limit_bytes: int = RING_BYTES
    ) -> None:
        """Hold at most `limit` records and `limit_bytes`; `encode` writes a lag as its subscriber reads it."""
        self.encode = encode
        self.held = 0
        self.bytes = 0
        self.answers = 0  # bytes of answers that wait
        self.lags = 0
        self.missed = 0
        self.waiting: dict[BookName, bool] = {}
        self.wanted: dict[BookName, None] = {}
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._chunks: deque[Chunk] = deque()
        self._ahead: list[bytes] = []  # answers before all chunks
        self._lost = MissedRecords()  # before all chunks
        self._withheld = MissedRecords()  # records of books that wait for their loss to be told
        self._offset = 0
        self.policy: Policy = "drop_oldest"
        self.was_full = False
        self.encoding: Encoding = "json"  # the last bytes that were taken are written so

    def put(self, chunk: Chunk) -> None:
        """Take records; let go what the policy says when there is no room."""
        self._chunks.append(chunk)
        held = self.held = self.held + len(chunk.roles)
        size = self.bytes = self.bytes + len(chunk.data)
        if held > self._limit or size > self._limit_bytes:
            self.was_full = True
            if self.policy == "conflate":
                self._conflate()
            elif self.policy in {"lossless", "disconnect"}:
                return  # the hub has it all told from the journal, or hangs up
            while self.held > self._limit or self.bytes > self._limit_bytes:
                self._make_room()

    @property
    def is_pressing(self) -> bool:
        """Tell whether so much waits that it is better written now than gathered with what comes next."""
        return self.held * PRESSING >= self._limit or self.bytes + self.answers >= PRESSING_BYTES

    def _conflate(self) -> None:
        """Keep the newest of what only tells how something stands; and no more than leaves some room."""
        seen: set[BookRole] = set()
        kept: deque[Chunk] = deque()
        for chunk in reversed(self._chunks):
            rest, lost = chunk.newest(seen)
            if lost.count:
                self.held -= lost.count
                self.bytes -= len(chunk.data) - len(rest.data)
                self._withheld.merge(lost)
            if rest.data:
                kept.appendleft(rest)
        self._chunks = kept
        while self._chunks and (self.held > self._limit * ROOM or self.bytes > self._limit_bytes * ROOM):
            self._make_room()

    @property
    def offset(self) -> int:
        """The offset of the last record that was taken, or told as lost."""
        return self._offset

    @property
    def last(self) -> int:
        """The offset of the last record that waits, or that was taken."""
        for chunk in reversed(self._chunks):
            if chunk.offsets:
                return chunk.offsets[-1]
        return self._offset

    def resume(self, offset: int) -> None:
        """Go on behind this record, which was told from elsewhere."""
        self._offset = offset
        self.was_full = False

    def rewind(self) -> None:
        """Let go of the records that wait, as they come from elsewhere; answers stay."""
        self._chunks = deque(chunk for chunk in self._chunks if not chunk.roles)
        self.held = self.bytes = 0
        self.wanted.clear()
        self.was_full = False

    def clear(self) -> None:
        """Let go of everything that waits."""
        self._chunks.clear()
        self.held = self.bytes = self.answers = 0

    def answer(self, line: bytes, options: Options = PLAIN) -> None:
        """Take an answer of the feed, which is never lost and keeps its place among the records."""
        self._chunks.append(Chunk(line, options=options))
        self.answers += len(line)

    def _make_room(self) -> None:
        chunk = self._pop()
        if not chunk.roles:
            self._ahead.append(chunk.data)
            self.answers += len(chunk.data)
            return
        room = self._limit - self.held
        if room > 0 and self.bytes + len(chunk.data) <= self._limit_bytes and len(chunk.roles) > self._limit:
            chunk, kept = chunk.split(len(chunk.roles) - room)  # one tick holds more than the ring
            self._chunks.appendleft(kept)
            self.held += len(kept.roles)
            self.bytes += len(kept.data)
        self._lost.add(len(chunk.roles), chunk.offsets[0], chunk.offsets[-1])
        for book in chunk.books:
            self.waiting.setdefault(book, True)
            self.wanted[book] = None

    def _pop(self) -> Chunk:
        chunk = self._chunks.popleft()
        if chunk.roles:
            self.held -= len(chunk.roles)
            self.bytes -= len(chunk.data)
        else:
            self.answers -= len(chunk.data)
        return chunk

    def await_book(self, book: BookName, *, is_new: bool) -> None:
        """Have a snapshot sent; of a book that is new to the subscriber nothing else is sent before it."""
        self.wanted[book] = None
        if is_new:
            self.waiting.setdefault(book, False)

    def has_book(self, book: BookName) -> None:
        """The subscriber has, or is just being given, the whole book."""
        self.waiting.pop(book, None)
        self.wanted.pop(book, None)

    def take(self) -> bytes:
        """The bytes to write next, many records at once and in order; empty when there is nothing."""
        parts, self._ahead = self._ahead, []
        size = sum(map(len, parts))
        self.answers -= size
        if self._lost.count:
            parts.append(self._lag(self._lost))
            self._lost = MissedRecords()
        while self._chunks and size < TAKE_BYTES:
            encoding = self._chunks[0].options.encoding
            if parts and encoding != self.encoding:
                break  # one message holds one encoding
            self.encoding = encoding
            chunk = self._pop()
            if chunk.roles:
                self._offset = chunk.offsets[-1]
            elif self._withheld.count and not self.held:
                parts.append(self._withheld_lag())  # nothing comes behind a last word
            is_whole = not self.waiting or chunk.books.isdisjoint(self.waiting)
            parts.append(chunk.data if is_whole else self._but_waiting(chunk))
            size += len(parts[-1])
        if self._withheld.count and not self._chunks:
            parts.append(self._withheld_lag())
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _but_waiting(self, chunk: Chunk) -> bytes:
        """The chunk's lines but the deltas of books that are waiting; a snapshot among them ends the wait."""
        withheld = chunk.books.intersection(self.waiting)
        if not chunk.starts.isdisjoint(withheld):
            return self._line_by_line(chunk)
        data, lost = chunk.without(withheld, frozenset(book for book in withheld if self.waiting[book]))
        if lost.count:
            self._withheld.add(lost.count, lost.first, lost.last)
        return data

    def _line_by_line(self, chunk: Chunk) -> bytes:
        kept: list[bytes] = []
        for line, role, offset in zip(chunk.lines(), chunk.roles, chunk.offsets, strict=True):
            if role.book not in self.waiting:
                kept.append(line)
            elif role.starts:
                if self._withheld.count:
                    kept.append(self._withheld_lag())
                self.has_book(role.book)
                kept.append(line)
            elif self.waiting[role.book]:
                self._withheld.add(1, offset, offset)
        return b"".join(kept)

    def _withheld_lag(self) -> bytes:
        withheld, self._withheld = self._withheld, MissedRecords()
        return self._lag(withheld)

    def _lag(self, lost: MissedRecords) -> bytes:
        self.lags += 1
        self.missed += lost.count
        self._offset = max(self._offset, lost.last)
        lag = Lag(
            symbol=None,
            ts_recv=time.time_ns(),
            offset=self._offset,
            source="derived",
            missed=lost.count,
            offset_from=lost.first,
            offset_to=lost.last,
        )
        return self.encode((lag,))
