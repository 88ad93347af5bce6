"""The queue between the bus and one sink: bounded in records and in memory, and exact about what did not fit.

What goes is counted by topic, and told: `take` puts a `gap` of cause `overflow` for each topic that lost something
where the last of its missing records would have been.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TypeGuard

from msgspec import structs

from aggregator.bus.bus import Batch
from aggregator.bus.selection import KIND, Selection, parse_pattern, topic_key, topic_of
from aggregator.records import (
    Bbo,
    Candle,
    Funding,
    Gap,
    IndexPrice,
    MarkPrice,
    OpenInterest,
    OptionSummary,
    Record,
    Ticker,
    channel_of,
)
from aggregator.sinks.notes import Loss, overflow
from aggregator.sinks.paths import Scope
from aggregator.sinks.sink import ALL, Delivery

RECORD_BYTES = 450  # the memory of a record, about, beside its COPIES
LEVEL_BYTES = 200  # the memory of a level of a book, about: two texts and what holds them
LEVEL_LENGTH = 20  # the bytes of a level in a line, about
LINE_BYTES = 260  # the bytes of a line without levels, about
BATCH_BYTES = 500  # the memory of a batch itself, about
COPIES = 3  # a line's bytes are held so often: as the record's texts, in the blob, and alone where somebody wants that
LATEST = (Bbo, Ticker, Candle, Funding, OpenInterest, MarkPrice, IndexPrice, OptionSummary)  # the newest says it all
MOST_TOLD = 10_000  # topics whose losses are told one by one; those of all others are told together
MOST_KNOWN = 100_000  # topics of which it is remembered whether the sink gets them; then they are looked up anew
NOBODY = 1 << 62  # stands for the number of records that somebody waits for, while nobody waits
LATEST_NS = 1 << 63
FIRST_BATCHES = 1000  # the oldest record that waits is looked for in so many
ROOM = 4  # where making room takes long, one part of so many of a full queue is emptied at once

Key = tuple[object, ...]


def weight(batch: Batch) -> int:
    """About how many bytes of memory a batch takes while it waits, with its lines.

    What a line holds beyond a plain record's length is taken for levels of a book.
    """
    count, length = batch.count, len(batch.blob)
    found = length * COPIES + count * RECORD_BYTES + BATCH_BYTES
    levels = length - count * LINE_BYTES
    return found if levels <= 0 else found + levels * LEVEL_BYTES // LEVEL_LENGTH


class Queue:
    """The records that one sink has still to take.

    sink: its name in the gaps that tell what is missing
    received: records that came for it; those that its patterns leave out do not count
    dropped: records that are lost to it, and told, or still to be told, by a gap
    spilled: records that wait elsewhere than in memory
    has_gaps: there may be gaps of this queue's own making among what it gives
    unwritten: since when something is not written, ns, 0: all is; and until when, 0: something has come in this life
    held_since: since when the writer holds what it was given, likewise
    """

    def __init__(self, sink: str, epoch: str, delivery: Delivery) -> None:
        self.sink = sink
        self.received = 0
        self.dropped = 0
        self.spilled = 0
        self.has_gaps = False
        self.unwritten: list[int] | memoryview[int] = [0, 0]
        self.held_since: Callable[[], int] = int
        self._before: list[Gap] = []  # they tell what a former life, or a writer that failed, had not written
        self._telling = 0  # the sink is at so many of those
        self._epoch = epoch
        self._delivery = delivery
        self._most = delivery.queue
        self._most_bytes = delivery.queue_bytes
        self._drops_newest = delivery.when_full == "drop_newest"
        self._wants = None if delivery.topics == ALL else Selection(map(parse_pattern, delivery.topics))
        self._known: dict[Key, bool] = {}
        self._batches: deque[tuple[Batch, int]] = deque()  # each with its weight
        self._taken = (0, 0)  # records and bytes that the sink has been given, and has not said what became of
        self._records = 0  # with those
        self._bytes = 0
        self._losses: dict[Scope, Loss] = {}
        self._gaps: deque[tuple[int, int]] = deque()  # offset and beginning of those that wait, and open there
        self._enough = min(delivery.batch_records, delivery.queue // 2 or 1)
        self._enough_bytes = min(delivery.batch_bytes * 5, delivery.queue_bytes // ROOM or 1)  # nothing is never enough
        self._awaited = 1
        self._is_woken = False
        self._hand_over: Callable[[], object] | None = None
        self._filled = asyncio.Event()
        self._emptier = asyncio.Event()
        self.ended = asyncio.Event()
        self._is_left = False

    @property
    def held(self) -> int:
        """Records that wait, those that the sink is at among them."""
        return self._records

    @property
    def held_bytes(self) -> int:
        """About how many bytes of memory those take."""
        return self._bytes

    # --- filling ----------------------------------------------------------------------------------------------------

    def put(self, batch: Batch) -> None:
        """Take a batch of the bus; never waits."""
        if self._wants is not None:
            wanted = self._chosen(batch)
            if wanted is None:
                return
            batch = wanted
        if batch.tells:
            self._heed(batch)
        earliest, since = batch.earliest, self.unwritten[0]
        if earliest < since or not since:
            self._lack_since(earliest)
        count, weighed = batch.count, weight(batch)
        if not self.received:
            self.unwritten[1] = 0
        self.received += count
        records = self._records + count
        held = self._bytes + weighed
        if records > self._most or held > self._most_bytes:
            if self._drops_newest and self._records:
                self.lose(batch.records)
                return
            self._batches.append((batch, weighed))
            self._records, self._bytes = records, held
            self._make_room()
        else:
            self._batches.append((batch, weighed))
            self._records = records
            self._bytes = held
        self._announce()

    def _chosen(self, batch: Batch) -> Batch | None:
        """The records of a batch that the sink wants; null: none."""
        wanted = list(map(self._known.get, batch.keys))  # hot: mostly all is known, and wanted
        if None in wanted:
            wanted = [self._is_wanted(key, batch, at) for at, key in enumerate(batch.keys)]
        if False not in wanted:
            return batch
        chosen = [at for at, is_wanted in enumerate(wanted) if is_wanted]
        if not chosen:
            return None
        few = batch.few(chosen)
        few.tells = batch.tells
        return few

    def _heed(self, batch: Batch) -> None:
        """Note where the gaps begin that open in a batch: what one tells of is silent where it is not written."""
        for at, key in enumerate(batch.keys):
            if key[0] is Gap and isinstance(gap := batch.record(at), Gap) and gap.phase == "open":
                self._gaps.append((gap.offset, gap.ts_from))
                self._lack_since(gap.ts_from)

    def _announce(self) -> None:
        """Let whoever waits for records know that there are more."""
        records = self._records
        if records >= self._awaited or self._bytes >= self._enough_bytes:
            self._awaited = NOBODY
            self._filled.set()
        if records >= self._enough and self._hand_over is not None:
            self._hand_over()

    def _is_wanted(self, key: Key, batch: Batch, at: int) -> bool:
        if key[0] in KIND:
            key = topic_key(batch.record(at))
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[key] = self._wants is None or self._wants.wants(topic_of(batch.record(at)))
        return known

    def _is_full(self) -> bool:
        return self._records > self._most or self._bytes > self._most_bytes

    def _make_room(self) -> None:
        """Let go what the policy says; one batch is always held, however large."""
        if self._delivery.when_full == "conflate":
            self._conflate()
        while len(self._batches) > 1 and self._is_full():
            batch, size = self._batches.popleft()
            self._release(len(batch), size)
            self.lose(batch.records)

    def _conflate(self) -> None:
        """Keep the newest of each topic that only tells how something stands; and no more than leaves some room."""
        seen: set[Key] = set()
        kept: deque[tuple[Batch, int]] = deque()
        for batch, size in reversed(self._batches):
            old = [at for at in reversed(range(len(batch))) if _is_superseded(batch.records[at], seen)]
            if not old:
                kept.appendleft((batch, size))
                continue
            self._release(len(batch), size)
            self.lose(batch.records[at] for at in reversed(old))
            gone = set(old)
            if len(gone) < len(batch):
                rest = batch.chosen([at for at in range(len(batch)) if at not in gone])
                rest_size = weight(rest)
                kept.appendleft((rest, rest_size))
                self._records += len(rest)
                self._bytes += rest_size
        self._batches = kept
        most, most_bytes = (limit - limit // ROOM for limit in (self._most, self._most_bytes))
        while len(self._batches) > 1 and (self._records > most or self._bytes > most_bytes):
            batch, size = self._batches.popleft()
            self._release(len(batch), size)
            self.lose(batch.records)

    def _release(self, count: int, size: int) -> None:
        self._records -= count
        self._bytes -= size
        self._emptier.set()

    def lose(self, records: Iterable[Record]) -> None:
        """Note that these will not reach the sink: a gap of each topic will tell it.

        A gap of this queue's own making counts as what it tells.
        """
        self.has_gaps = True
        since = 0
        for record in records:
            scope = Scope(record.exchange, channel_of(record), record.symbol, record.raw_symbol)
            ts_from = record.ts_recv
            if isinstance(record, Gap):
                ts_from = min(ts_from, record.ts_from)  # the gap in its place tells that, too
            loss = Loss(1, record.offset, record.offset, ts_from, record.ts_recv)
            if self.is_own(record):
                loss = Loss(record.missed or 0, record.expected or 0, record.offset, ts_from, record.ts_recv)
            else:
                self.dropped += 1
            if scope not in self._losses and len(self._losses) >= MOST_TOLD:
                scope = Scope()
            before = self._losses.get(scope)
            self._losses[scope] = loss if before is None else before + loss
            since = min(since or loss.ts_from, loss.ts_from)
        if since:
            self._lack_since(since)
        self._filled.set()

    def is_own(self, record: Record) -> TypeGuard[Gap]:
        """Tell a gap of this queue's making from the records of the stream."""
        return type(record) is Gap and (
            (record.conn == self.sink and record.cause == "overflow") or any(record is gap for gap in self._before)
        )

    # --- what outlives the process

    def begin_behind(self, gap: Gap) -> None:
        """Have the sink told, before all that waits, what a former life or a writer that failed had not written."""
        self._before.append(gap)
        self.has_gaps = True
        self._lack_since(gap.ts_from)
        self._filled.set()

    def _lack_since(self, ts: int) -> None:
        """Note that something of this time is not written; what is no time, as a source may tell it, is left out."""
        if (ts < self.unwritten[0] or not self.unwritten[0]) and 0 < ts < LATEST_NS:
            self.unwritten[0] = ts

    def settle(self) -> None:
        """Note since when something is not written, as all that was taken is."""
        found = [batch.earliest for batch, _ in islice(self._batches, FIRST_BATCHES)]
        found += [loss.ts_from for loss in self._losses.values()]
        found += [ts_from for _, ts_from in self._gaps]
        found += [gap.ts_from for gap in self._before]
        found.append(self.held_since())
        self.unwritten[0] = min([ts for ts in found if 0 < ts < LATEST_NS], default=0)

    # --- emptying ---------------------------------------------------------------------------------------------------

    def hand_over_with(self, hand_over: Callable[[], object] | None) -> None:
        """Call `hand_over`, which takes what it can, whenever there is enough: records are in the caches then."""
        self._hand_over = hand_over

    async def filled(self) -> bool:
        """Wait for enough to give, or for the first to be old enough; false: the stream has ended, and all is given."""
        await self._wait(1, None)
        await self._wait(self._enough, self._delivery.batch_age)
        self._is_woken = False
        return bool(self._batches or self._losses or self._before) or not self.ended.is_set()

    async def _wait(self, count: int, seconds: float | None) -> None:
        has_enough = self._waiting() >= count or self._bytes >= self._enough_bytes
        if self._is_woken or self.ended.is_set() or has_enough:
            return
        if self._before or (seconds is None and self._losses):
            return
        self._awaited = count
        self._filled.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._filled.wait()

    def _waiting(self) -> int:
        return self._records - self._taken[0]

    def wake(self) -> None:
        """Let whoever waits for records look."""
        self._is_woken = True
        self._filled.set()

    @property
    def has_enough(self) -> bool:
        """There is a full batch to give."""
        return self._waiting() >= self._enough

    def take(self, *, is_whole: bool = False) -> Batch | None:
        """The next batch, behind the gaps for what is missing before its end; the one taken before is done with.

        is_whole: what was published together is not parted, so that it may be somewhat larger than a batch is to be
        """
        self.done()
        if self._before:
            if self._batches:
                offset = self._batches[0][0].first - 1
                self._before = [structs.replace(gap, offset=offset) for gap in self._before]
            self._telling = len(self._before)
            return Batch(list[Record](self._before), self._epoch)
        parts: list[Batch] = []
        count = size = weighed = 0
        batches, most, most_bytes = self._batches, self._delivery.batch_records, self._delivery.batch_bytes
        if is_whole and batches and self._records - len(batches[-1][0]) < most and self._bytes < most_bytes:
            parts, count, weighed = [batch for batch, _ in batches], self._records, self._bytes  # all that there is
            batches.clear()
        while batches and count < most and size < most_bytes:
            batch, own = batches[0]
            records, length = batch.count, len(batch.blob)
            fitting = records
            if not is_whole and (count + records > most or size + length > most_bytes):
                fitting = _fitting(batch, most - count, most_bytes - size, is_first=not parts)
            if fitting == records:
                batches.popleft()
            elif not fitting:
                break
            else:
                rest = batch.part(fitting, records)
                batch = batch.part(0, fitting)
                left, whole = weight(rest), own
                own = weight(batch)
                batches[0] = rest, left
                self._bytes += left + own - whole
                records, length = fitting, len(batch.blob)
            parts.append(batch)
            count += records
            size += length
            weighed += own
        self._taken = count, weighed
        if not self._losses:
            return Batch.joined(parts) if parts else None
        return self._with_gaps(parts)

    def _with_gaps(self, parts: list[Batch]) -> Batch | None:
        """The batch with the gaps that belong before its end; all of them where nothing more waits."""
        is_all = not self._batches
        last = parts[-1].last if parts else 0
        told = {scope: loss for scope, loss in self._losses.items() if is_all or loss.offset_to < last}
        if not told:
            return Batch.joined(parts) if parts else None
        for scope in told:
            del self._losses[scope]
        gaps = [overflow(self.sink, self._epoch, loss, scope) for scope, loss in told.items()]
        gaps.sort(key=lambda gap: gap.offset)
        if not parts:
            return Batch(list[Record](gaps), self._epoch)
        if gaps[-1].offset < parts[0].first:
            return Batch.joined([Batch(list[Record](gaps), self._epoch), *parts])
        records = [*gaps, *(record for part in parts for record in part.records)]
        return Batch(sorted(records, key=lambda record: record.offset), self._epoch)

    def passed(self, batch: Batch) -> None:
        """Note that the sink is done with a batch that was taken, or a part of it, and with all before it."""
        gaps = self._gaps
        while gaps and gaps[0][0] <= batch.last:
            gaps.popleft()

    def done(self, count: int | None = None) -> None:
        """Note that so many records of those taken last, or all, are written, or lost, or elsewhere."""
        taken, size = self._taken
        if taken:
            count = taken if count is None else min(count, taken)
            share = size * count // taken
            self._release(count, share)
            self._taken = taken - count, size - share
        del self._before[: self._telling]
        self._telling = 0

    def end(self) -> None:
        """End the stream: the sink gets what is held, and then the end."""
        self.ended.set()
        self.wake()

    def abandon(self) -> int:
        """Let go all that is held, as nobody will take it; how many records of the stream that is."""
        self._is_left = True
        left = self._records
        self._batches.clear()
        self._records = self._bytes = 0
        self._taken = 0, 0
        self._emptier.set()
        return left

    async def room(self) -> None:
        """Wait until it is at most half full: for a replay, which can wait as a live stream cannot."""
        while (self._records > self._most // 2 or self._bytes > self._most_bytes // 2) and not self._is_left:
            self._emptier.clear()
            await self._emptier.wait()


def _fitting(batch: Batch, most: int, most_bytes: int, *, is_first: bool) -> int:
    """How many of a batch's records may be given; the first of all always may."""
    return sum(1 for _ in _within(batch.lines[:most], most_bytes)) or int(is_first)


def _within(lines: list[bytes], most: int) -> Iterator[bytes]:
    for line in lines:
        most -= len(line)
        if most < 0:
            return
        yield line


def _is_superseded(record: Record, seen: set[Key]) -> bool:
    """Tell whether a later record says how the same thing stands now."""
    if not isinstance(record, LATEST):
        return False
    period = (record.interval, record.ts_open) if isinstance(record, Candle) else None
    key = (type(record), record.exchange, record.symbol, record.raw_symbol, period)
    if key in seen:
        return True
    seen.add(key)
    return False
