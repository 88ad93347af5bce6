"""A journal under everything that can happen to one, beside a list that forgets nothing.

`python -m tests.support.journal_model 50000` runs so many cases, each made by chance, and counts what it has looked at.
"""

import errno
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from aggregator.bus.bus import Batch, Bus
from aggregator.bus.history import Cursor, Stretch
from aggregator.bus.selection import Selection, parse_pattern, topic_of
from aggregator.records import Gap, Health, Record, Trade
from aggregator.sinks.journal.blocks import OPEN
from aggregator.sinks.journal.groups import close_segment
from aggregator.sinks.journal.reader import JournalReader
from aggregator.sinks.journal.segments import Shelf
from aggregator.sinks.journal.writer import BlockWriter
from aggregator.sinks.sink import LOCAL, Context
from tests.support.cases import Chance, main

ALL = 1 << 62
BASE_NS = 1_767_000_000_000_000_000
SYMBOLS = ("A", "B", "C", "D")
PATTERNS = (
    ("*:*:*",),
    ("trades:alpha:A",),
    ("trades:alpha:A", "trades:alpha:C"),
    ("trades:*:D",),
    ("health:*:*",),
    ("trades:beta:*",),
)
close_small = partial(close_segment, records=7, bytes_=2000, frame=300)


@contextmanager
def full_disk() -> Iterator[None]:
    """Each write puts down a part of what it should, and then there is no room."""
    write = os.write

    def refuse(fd: int, data: Any) -> int:
        if len(data) > 40:
            return write(fd, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    os.write = refuse
    try:
        yield
    finally:
        os.write = write


class JournalModel:
    """Lives of a daemon, one after the other, whose journal is one directory.

    published: every record that there ever was, with the number of its epoch
    """

    def __init__(self, path: Path, chance: Chance) -> None:
        self.path = path
        self.chance = chance
        self.published: list[tuple[int, Record]] = []
        self.epochs: list[str] = []
        self.is_damaged = False
        self.seen: Counter[str] = Counter()
        self._clock = BASE_NS
        self._begin_life()

    def _begin_life(self) -> None:
        self.epochs.append(f"20260102T03040{len(self.epochs)}.000000Z")
        self.bus = Bus(self.epochs[-1])
        self.pending: list[Batch] = []
        self.bus.attach(self.pending.append)
        self.shelf = Shelf(self.path, keep_bytes=ALL, keep_ns=ALL, close=close_small)
        self.shelf.recover()
        context = Context("journal", self.bus, time.time_ns, LOCAL)
        self.writer = BlockWriter(
            self.shelf, self.bus.epoch, context, segment_bytes=self.chance(200, 6000), on_begin=lambda: None
        )
        self.writer.begin()
        self.reader = JournalReader(self.shelf, self.bus.epoch, self.writer.lost, read_bytes=self.chance(1, 3000))

    # --- what happens

    def publish(self) -> None:
        records = [self._record() for _ in range(self.chance(1, 12))]
        self.bus.publish(records)
        self.published += [(len(self.epochs) - 1, record) for record in records]

    def _record(self) -> Record:
        self._clock += self.chance(0, 1000)
        symbol = SYMBOLS[self.chance(0, 3)]
        exchange = ("alpha", "beta")[self.chance(0, 1)]
        ts = self._clock - self.chance(0, 200)
        if not self.chance(0, 7):
            return Health(
                exchange=exchange, symbol=symbol, raw_symbol=symbol, ts_recv=ts, channel="trades", state="live"
            )
        size = "1" * self.chance(1, 60)
        return Trade(exchange=exchange, symbol=symbol, raw_symbol=symbol, ts_recv=ts, price="1", size=size, id=str(ts))

    def write(self) -> None:
        while self.pending:
            count = self.chance(1, len(self.pending))
            some, self.pending[:] = self.pending[:count], self.pending[count:]
            self.writer.write(some)

    def write_in_vain(self) -> None:
        with full_disk():
            self.write()
        self.writer._retry_at = 0.0

    def miss(self) -> None:
        """The disk is too slow for what was published last."""
        if self.pending:
            self.writer.lose([self.pending.pop()], "too slow")

    def close(self) -> None:
        self.shelf.close_one()

    def roll(self) -> None:
        if self.pending:
            self.writer._begun_at = -1e9
            self.write()

    def expire(self) -> None:
        self.shelf._keep_bytes = self.shelf.size() * self.chance(30, 100) // 100
        self.shelf.expire()
        self.shelf._keep_bytes = ALL

    def stop(self) -> None:
        self.write()
        self.writer.end(self.bus.offset)
        self._begin_life()

    def kill(self) -> None:
        """End without a word; perhaps within a write."""
        file = self.writer._file
        if file is not None and self.pending and self.chance(0, 1):
            before = file.size
            self.write()
            newest = self.writer._file
            if newest is not None and newest.path.exists():
                os.truncate(newest.path, self.chance(before if newest is file else 0, newest.size))
        self._begin_life()

    def damage(self) -> None:
        """Something in a closed file changes, or it goes."""
        closed = sorted(path for path in self.path.iterdir() if path.suffix != OPEN and not path.name.startswith("."))
        if not closed:
            return
        self.is_damaged = True
        path = closed[self.chance(0, len(closed) - 1)]
        if not self.chance(0, 3):
            path.unlink()
        else:
            data = bytearray(path.read_bytes())
            for _ in range(self.chance(1, 3)):
                data[self.chance(0, len(data) - 1)] ^= 1 << self.chance(0, 7)
            path.write_bytes(data)

    # --- what is read

    def look(self) -> None:
        """Read from somewhere to the end: each record came once and in order, or a gap tells of it."""
        cursor = self._somewhere()
        patterns = PATTERNS[self.chance(0, len(PATTERNS) - 1)]
        selection = Selection([parse_pattern(text) for text in patterns])
        self.follow(cursor, selection, with_topics=bool(self.chance(0, 1)))

    def _somewhere(self) -> Cursor:
        if not self.published or not self.chance(0, 4):
            return self.reader.earliest() or Cursor(self.epochs[self.chance(0, len(self.epochs) - 1)], 0)
        epoch, record = self.published[self.chance(0, len(self.published) - 1)]
        if not self.chance(0, 3) and not self.is_damaged:
            return self._at_time(record.ts_recv + self.chance(-50, 50))
        return Cursor(self.epochs[epoch], record.offset - self.chance(0, 1))

    def _at_time(self, ts: int) -> Cursor:
        cursor, gap, is_found = self.reader.at_time(ts)
        kept = self.shelf.view.kept
        if kept and is_found and gap is None:
            there = {place: ts for place, ts in self._everything() if place <= self._place(cursor)}
            assert not there or max(there.values()) < ts, "a record of that time or later is left out"
            self.seen["times"] += 1
        return cursor

    def _everything(self) -> Iterator[tuple[tuple[int, int], int]]:
        """Every record that is on disk: its place and its time."""
        cursor, selection = self.reader.earliest(), Selection([parse_pattern("*:*:*")])
        while cursor is not None:
            stretch = self.reader.read(cursor, selection)
            for row in map(json.loads, stretch.lines):
                yield (self.epochs.index(stretch.cursor.epoch), row["offset"]), row["ts_recv"]
            cursor = None if stretch.is_end else stretch.cursor

    def follow(self, cursor: Cursor, selection: Selection, *, with_topics: bool) -> Cursor:
        """Read to the end, and judge it; the place that was reached."""
        start = self._place(cursor)
        got: list[tuple[int, int]] = []
        told: list[tuple[tuple[int, int], tuple[int, int], Gap]] = []
        for _ in range(10_000):
            stretch = self.reader.read(cursor, selection, with_topics=with_topics)
            self._take(cursor, stretch, got, told)
            cursor = stretch.cursor
            if stretch.is_end:
                break
        else:
            raise AssertionError("it comes to no end")
        self._judge(start, self._place(cursor), selection, got, told)
        assert cursor.offset >= self.writer.settled, "it ends before what is written"
        self.seen["reads"] += 1
        return cursor

    def _place(self, cursor: Cursor) -> tuple[int, int]:
        return self.epochs.index(cursor.epoch), cursor.offset

    def _take(self, cursor: Cursor, stretch: Stretch, got: list[Any], told: list[Any]) -> None:
        epoch = self.epochs.index(stretch.cursor.epoch)
        gap = stretch.gap
        if gap is not None:
            self.seen[f"gaps {gap.cause}"] += 1
            if gap.expected is not None and gap.got is not None:
                assert gap.cause == "damaged" or not stretch.lines
                told.append(((epoch, gap.expected - 1), (epoch, gap.got - 1), gap))
            else:
                assert not stretch.lines
                told.append((self._place(cursor), self._place(stretch.cursor), gap))
        else:
            assert stretch.cursor.epoch == cursor.epoch or not stretch.lines
        for line in stretch.lines:
            got.append((epoch, json.loads(line)["offset"]))
            self.seen["records"] += 1
        if stretch.topics != ():
            assert len(stretch.topics) == len(stretch.lines)
            for line, topic in zip(stretch.lines, stretch.topics, strict=True):
                row = json.loads(line)
                assert (topic.type, topic.exchange, topic.raw_symbol) in {
                    (row["type"], row["exchange"], row["raw_symbol"]),
                    ("", "", None),  # its name was damaged
                }

    def _judge(
        self,
        start: tuple[int, int],
        end: tuple[int, int],
        selection: Selection,
        got: Sequence[tuple[int, int]],
        told: Sequence[tuple[tuple[int, int], tuple[int, int], Gap]],
    ) -> None:
        assert all(a < b for a, b in pairwise(got)), "not in order, or twice"
        wanted = [
            (epoch, record.offset)
            for epoch, record in self.published
            if start < (epoch, record.offset) <= end and selection.wants(topic_of(record))
        ]
        strangers = set(got) - set(wanted)
        assert not strangers or self.is_damaged, f"not asked for: {sorted(strangers)[:5]}"
        for place in sorted(set(wanted) - set(got)):
            assert any(low < place <= high for low, high, _ in told), f"{place} is missing in silence"
            self.seen["missing, and told"] += 1
        for low, high, gap in told:
            assert low < high
            if gap.cause != "damaged":
                inside = [place for place in got if low < place <= high]
                assert not inside, f"{inside[0]} came, and a gap of cause {gap.cause} says it did not"
            if gap.missed is not None and gap.cause in {"overflow", "expired"}:
                assert gap.missed == high[1] - low[1] > 0, (low, high, gap)
            if gap.cause == "damaged":
                assert self.is_damaged


ACTIONS: tuple[tuple[Callable[[JournalModel], None], int], ...] = (
    (JournalModel.publish, 30),
    (JournalModel.write, 20),
    (JournalModel.roll, 5),
    (JournalModel.close, 10),
    (JournalModel.look, 15),
    (JournalModel.write_in_vain, 4),
    (JournalModel.miss, 2),
    (JournalModel.expire, 3),
    (JournalModel.stop, 3),
    (JournalModel.kill, 3),
    (JournalModel.damage, 2),
)
WEIGHTS = [action for action, weight in ACTIONS for _ in range(weight)]


def run_case(chance: Chance, path: Path) -> Counter[str]:
    """One case; what was seen in it."""
    path.mkdir()
    try:
        model = JournalModel(path, chance)
        for _ in range(chance(5, 60)):
            WEIGHTS[chance(0, len(WEIGHTS) - 1)](model)
            if len(model.epochs) > 9:
                break
        model.look()
        return model.seen
    finally:
        shutil.rmtree(path)


if __name__ == "__main__":
    main("tests.support.journal_model", run_case)
