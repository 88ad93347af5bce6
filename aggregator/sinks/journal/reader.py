"""Reading a journal: from a place on, of some topics, in order, with a gap where something is missing."""

import logging
import time
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

import msgspec

from aggregator.bus.history import Cursor, KeptTopic, Stretch, begun, hole, kept_topic
from aggregator.bus.selection import Selection
from aggregator.records import Cause, Gap, decode_record
from aggregator.sinks.journal.blocks import LOST, Block, Head, NotReadable, time_of
from aggregator.sinks.journal.groups import GroupPlace, Loaded
from aggregator.sinks.journal.segments import JournalSegment, Readable, ShelfView, Shelved

READ_BYTES = 1 << 20  # one read gives about so much
READ_S = 0.02  # or as much as it finds in such a time
MOST_READABLE = 8  # segments that are kept open
MOST_WANTED = 64  # selections of which it is remembered which topics they want

log = logging.getLogger("aggregator.sinks.journal")

Page = Block | GroupPlace
_last_of: Callable[[Page], int] = attrgetter("last")
_ts_of: Callable[[Page], int] = attrgetter("ts")


class LostRange(NamedTuple):
    """Records of the epoch of now that could not be written, and between which times they were."""

    first: int
    last: int
    ts_from: int
    ts_to: int


class _Expired(Exception):
    """A segment was removed, or closed, since it was looked for."""


class WantedTopics:
    """The topics that one selection wants, and those of which nobody knows, as their names were damaged."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self._known: dict[KeptTopic, bool] = {}
        self._numbers: OrderedDict[int, tuple[int, set[int] | None, set[int]]] = OrderedDict()  # by segment

    def numbers(self, segment: JournalSegment, topics: Sequence[KeptTopic]) -> tuple[set[int] | None, set[int]]:
        """The numbers of those among a segment's topics, null: all of them; and which of them nobody knows."""
        count = len(topics)
        found = self._numbers.get(segment.number)
        if found is None or found[0] != count:
            numbers = {number for number in range(count) if self._wants(topics[number])}
            nameless = {number for number in range(count) if topics[number] == LOST}
            found = self._numbers[segment.number] = count, None if len(numbers) == count else numbers, nameless
            while len(self._numbers) > MOST_READABLE:
                self._numbers.popitem(last=False)
        return found[1:]

    def _wants(self, topic: KeptTopic) -> bool:
        wanted = self._known.get(topic)
        if wanted is None:
            wanted = self._known[topic] = topic == LOST or self.selection.wants(topic.topic)
        return wanted


class Following(NamedTuple):
    """The page of a segment that comes behind a cursor, and the gap before it, if there is one."""

    segment: JournalSegment
    file: Readable
    page: Page
    number: int
    gap: Gap | None


class JournalReader:
    """Reads for everybody, one call after the other, in a thread of its own.

    lost: what could not be written since the start
    """

    def __init__(self, shelf: Shelved, epoch: str, lost: Sequence[LostRange], *, read_bytes: int = READ_BYTES) -> None:
        self._shelf = shelf
        self._epoch = epoch
        self._lost = lost
        self._read_bytes = read_bytes
        self._files: OrderedDict[tuple[int, bool], Readable] = OrderedDict()
        self._wanted: OrderedDict[int, WantedTopics] = OrderedDict()

    # --- where to begin

    def earliest(self) -> Cursor | None:
        """The place before everything that is kept on disk; null: nothing is."""
        kept = self._shelf.view.kept
        return Cursor(kept[0].epoch, kept[0].first - 1) if kept else None

    def at_time(self, ts: int) -> tuple[Cursor, Gap | None, bool]:
        """The place before the first record of a time or later, what is missing before it, and whether there is one.

        Where no record on disk is as late, it is the place behind them all. Raises OSError.
        """
        kept = self._shelf.view.kept
        if not kept:
            return Cursor(self._epoch, 0), None, False
        oldest = kept[0]
        if ts < oldest.ts_first:
            before = Cursor(oldest.epoch, oldest.first - 1)
            return before, hole("expired", Cursor("", 0), before, (ts, oldest.ts_first)), True
        for segment in kept:
            if segment.ts_last >= ts:
                try:
                    return self._within(segment, ts), None, True
                except _Expired:
                    return self.at_time(ts)
        return Cursor(kept[-1].epoch, kept[-1].last), None, False

    def _within(self, segment: JournalSegment, ts: int) -> Cursor:
        pages = (file := self._readable(segment)).pages
        at = bisect_left(pages, ts, key=_ts_of)
        if at == len(pages):  # the end of the file is damaged
            return Cursor(segment.epoch, segment.last)
        try:
            loaded = file.load(pages[at], None, with_ids=False)
        except NotReadable:
            return Cursor(segment.epoch, pages[at].first - 1)
        for offset, line in zip(loaded.offsets, loaded.lines, strict=True):
            if time_of(line) >= ts:
                return Cursor(segment.epoch, offset - 1)
        return Cursor(segment.epoch, pages[at].last)

    # --- what follows

    def read(
        self, cursor: Cursor, wanted: Selection, *, until: Cursor | None = None, with_topics: bool = False
    ) -> Stretch:
        """Some of what follows a place. Raises OSError."""
        topics_wanted = self._wanted_by(wanted)
        stretch = Stretch(cursor, topics=[] if with_topics else ())
        size, deadline = 0, time.monotonic() + READ_S
        while size < self._read_bytes:
            view = self._shelf.view
            if until is not None and _reaches(view, stretch.cursor, until):
                stretch.is_over = True
                break
            try:
                following = self._following(view, stretch.cursor, topics_wanted)
            except _Expired:
                continue
            if isinstance(following, Cursor):  # nothing in between concerns the reader
                stretch.cursor = following
            elif following is None:
                return self._at_end(view, stretch)
            elif following.gap is not None or following.segment.epoch != stretch.cursor.epoch:
                return stretch if stretch.lines else _beginning(stretch, following)
            else:
                size += self._take(stretch, following, topics_wanted, until)
                if stretch.gap is not None:
                    break
            if time.monotonic() > deadline:
                break
        return stretch

    def _take(self, stretch: Stretch, following: Following, wanted: WantedTopics, until: Cursor | None) -> int:
        """Add the records of a page; how many bytes they are. What is damaged comes alone, behind its gap."""
        segment, file, page = following.segment, following.file, following.page
        numbers, nameless = wanted.numbers(segment, file.topics)
        try:
            loaded = file.load(page, numbers, with_ids=stretch.topics != () or bool(nameless))
        except NotReadable:
            loaded = Loaded((), [], (), page.count if numbers is None and file.topics else -1)
        named = file.topics
        if nameless and not nameless.isdisjoint(loaded.ids):
            loaded, named = _by_their_own_names(loaded, named, nameless, wanted.selection)
        if loaded.lost and stretch.lines:
            return self._read_bytes  # enough: these are next
        start, end = stretch.cursor.offset, page.last
        if until is not None and until.epoch == segment.epoch:
            end = min(end, until.offset)
        if loaded.lost:
            missed = loaded.lost if loaded.lost > 0 else None
            before = Cursor(segment.epoch, max(start, page.first - 1))
            ts = (_before(file.pages, following.number, segment), page.ts)
            stretch.gap = hole("damaged", before, Cursor(segment.epoch, end), ts)
            stretch.gap.missed = missed
            there = set(loaded.offsets)  # the gap has the offset of none of them
            stretch.gap.offset = next((at for at in range(end, before.offset, -1) if at not in there), end)
        stretch.cursor = Cursor(segment.epoch, end)
        low = bisect_right(loaded.offsets, start) if page.first <= start else 0
        high = bisect_right(loaded.offsets, end) if end < page.last else len(loaded.lines)
        lines = loaded.lines if high - low == len(loaded.lines) else loaded.lines[low:high]
        stretch.lines += lines
        if isinstance(stretch.topics, list):
            stretch.topics += [named[number] for number in loaded.ids[low:high]]
        return sum(map(len, lines))

    def _at_end(self, view: ShelfView, stretch: Stretch) -> Stretch:
        """Nothing more is on disk: go on to the epoch of now, or over what could not be written."""
        cursor = stretch.cursor
        if stretch.lines:
            stretch.is_end = cursor.epoch == self._epoch and not self._is_lost(cursor)
            return stretch
        if cursor.epoch != self._epoch:
            stretch.cursor = Cursor(self._epoch, 0)
            kept = view.kept
            now = begun(self._epoch)
            stretch.gap = self._between(kept, len(kept), cursor, stretch.cursor, now)
            return stretch
        for lost in self._lost:
            if lost.first <= cursor.offset + 1 <= lost.last:
                stretch.cursor = Cursor(self._epoch, lost.last)
                stretch.gap = hole("overflow", cursor, stretch.cursor, (lost.ts_from, lost.ts_to))
                return stretch
        stretch.is_end = True
        return stretch

    def _is_lost(self, cursor: Cursor) -> bool:
        return any(lost.first <= cursor.offset + 1 <= lost.last for lost in self._lost)

    def _following(self, view: ShelfView, cursor: Cursor, wanted: WantedTopics) -> Following | Cursor | None:
        """The page that holds what follows a place; or a later place, where all up to it is not wanted; or null."""
        kept = view.kept
        index = view.index_after(kept, cursor)
        if index == len(kept):
            return None
        segment = kept[index]
        file = self._readable(segment)
        is_same = segment.epoch == cursor.epoch
        number = bisect_right(file.pages, cursor.offset, key=_last_of) if is_same else 0
        if number == len(file.pages):  # the end of the file is damaged
            file, number = _Nothing(segment), 0
        pages = file.pages
        page = pages[number]
        before = Cursor(segment.epoch, page.first - 1)
        if not is_same or page.first > cursor.offset + 1:
            ts = segment.ts_first if number == 0 else page.ts
            cause: Cause = "damaged" if file.is_damaged else "overflow"
            gap = (
                self._between(kept, index, cursor, before, ts)
                if number == 0
                else hole(cause, cursor, before, (_before(pages, number, segment), ts))
            )
            return Following(segment, file, page, number, gap)
        return self._wanted_page(segment, file, number, cursor, wanted)

    def _wanted_page(
        self, segment: JournalSegment, file: Readable, number: int, cursor: Cursor, wanted: WantedTopics
    ) -> Following | Cursor:
        """This page, if anything of it is wanted; else the place behind the pages that have nothing, and no hole."""
        pages = file.pages
        numbers, _ = wanted.numbers(segment, file.topics)
        there = None if numbers is None else file.groups_of(numbers)
        if there is None or number in there:
            return Following(segment, file, pages[number], number, None)
        end = number
        while end + 1 < len(pages) and end + 1 not in there and pages[end + 1].first == pages[end].last + 1:
            end += 1
        return Cursor(cursor.epoch, pages[end].last)

    def _between(
        self, kept: Sequence[JournalSegment], index: int, cursor: Cursor, before: Cursor, ts: int
    ) -> Gap | None:
        """The gap from a place to the first record of a segment, at `index`, or to the epoch of now; null: none is."""
        previous = kept[index - 1] if index else None
        if previous is None:
            if (cursor.epoch, cursor.offset) == (before.epoch, before.offset):
                return None
            return hole("expired", cursor, before, (begun(cursor.epoch), ts))
        if cursor.epoch not in {before.epoch, previous.epoch}:  # nothing of its epoch is kept any more
            return hole("expired", cursor, before, (begun(cursor.epoch), ts))
        cause: Cause = "damaged" if self._jumps(kept, index) else "overflow"
        if cursor.epoch == before.epoch:
            cause = "damaged" if self._ends_damaged(previous) else cause
        elif cause != "damaged":
            head = kept[index].head if index < len(kept) else self._newest_head()
            if head is None or (head.before, head.is_whole) != (cursor.epoch, True):
                cause = "restart"
            elif not before.offset:
                return None
        return hole(cause, cursor, before, (previous.ts_last, ts))

    def _jumps(self, kept: Sequence[JournalSegment], index: int) -> bool:
        """Tell whether a file between a segment and the one before it has gone."""
        return index < len(kept) and kept[index].number != kept[index - 1].number + 1

    def _newest_head(self) -> Head | None:
        newest = self._shelf.view.newest
        return None if newest is None or newest.epoch != self._epoch else newest.head

    def _ends_damaged(self, segment: JournalSegment) -> bool:
        try:
            return self._readable(segment).is_damaged
        except _Expired:
            return False

    def _readable(self, segment: JournalSegment) -> Readable:
        """A segment, opened, or one of which nothing can be read. Raises _Expired where it has gone."""
        key = segment.number, segment.open_file is None
        found = self._files.get(key)
        if found is None:
            try:
                found = self._files[key] = Readable(segment)
            except (OSError, NotReadable) as error:
                if segment not in self._shelf.view.kept:
                    raise _Expired from None
                log.error("journal: %s cannot be read: %s; a gap tells what is missing", segment.path, error)  # noqa: TRY400
                found = self._files[key] = _Nothing(segment)
            while len(self._files) > MOST_READABLE:
                self._files.popitem(last=False)
        else:
            self._files.move_to_end(key)
        return found

    def _wanted_by(self, selection: Selection) -> WantedTopics:
        key = id(selection)
        found = self._wanted.get(key)
        if found is None or found.selection is not selection:
            found = self._wanted[key] = WantedTopics(selection)
        self._wanted.move_to_end(key)
        while len(self._wanted) > MOST_WANTED:
            self._wanted.popitem(last=False)
        return found


def _by_their_own_names(
    loaded: Loaded, topics: Sequence[KeptTopic], nameless: set[int], wanted: Selection
) -> tuple[Loaded, Sequence[KeptTopic]]:
    """Judge records whose topics' names were damaged by what the records themselves say; with the topics of all."""
    named = list(topics)
    offsets, lines, ids, lost = list[int](), list[bytes](), list[int](), loaded.lost
    for offset, line, number in zip(loaded.offsets, loaded.lines, loaded.ids, strict=True):
        at = number
        if number in nameless:
            try:
                topic = kept_topic(decode_record(line))
            except msgspec.MsgspecError:
                lost += 1
                continue
            if not wanted.wants(topic.topic):
                continue
            at = len(named)
            named.append(topic)
        offsets.append(offset)
        lines.append(line)
        ids.append(at)
    return Loaded(offsets, lines, ids, lost), named


class _Nothing(Readable):
    """A segment of which nothing can be read."""

    def __init__(self, segment: JournalSegment) -> None:
        self._page = _page_of(segment)

    @property
    def pages(self) -> Sequence[Page]:
        return [self._page]

    @property
    def topics(self) -> Sequence[KeptTopic]:
        return ()

    @property
    def is_damaged(self) -> bool:
        return True

    def load(self, page: Page, wanted: set[int] | None, *, with_ids: bool) -> Loaded:  # noqa: ARG002
        raise NotReadable("nothing of it can be read")


def _page_of(segment: JournalSegment) -> GroupPlace:
    return GroupPlace(0, segment.first, segment.last - segment.first + 1, segment.ts_last)


def _before(pages: Sequence[Page], number: int, segment: JournalSegment) -> int:
    """The time up to which all that is before a page came."""
    return pages[number - 1].ts if number else segment.ts_first


def _beginning(stretch: Stretch, following: Following) -> Stretch:
    """Go on to the place before a page, over the gap before it."""
    stretch.cursor = Cursor(following.segment.epoch, following.page.first - 1)
    stretch.gap = following.gap
    return stretch


def _reaches(view: ShelfView, cursor: Cursor, until: Cursor) -> bool:
    return (view.order(cursor.epoch), cursor.offset) >= (view.order(until.epoch), until.offset)
