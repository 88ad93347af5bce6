"""The parts of a journal that have to be read so that its books are known at a place, and no more than these.

A segment tells of each topic in which pages it occurs. Of a book nothing is needed that came before its last whole one,
and that is looked for backwards, in the tables of the segments alone.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from aggregator.bus.history import Cursor
from aggregator.bus.selection import RecordTopic, Selection
from aggregator.records import BookSnapshot
from aggregator.sinks.journal.blocks import LOST, NotReadable
from aggregator.sinks.journal.segments import JournalSegment, Readable

WHOLE = str(BookSnapshot.__struct_config__.tag)
Name = tuple[str, str]  # exchange, and the last of the names, which is the exchange's own


class PastPart(NamedTuple):
    """The records between two places of an epoch, and which of them are read."""

    start: Cursor
    end: Cursor
    wanted: Selection


class _Among(Selection):
    """Those topics among what is wanted that are meant."""

    __slots__ = ("_is_meant", "_wanted")

    def __init__(self, wanted: Selection, is_meant: Callable[[RecordTopic], bool]) -> None:
        super().__init__(())
        self._wanted = wanted
        self._is_meant = is_meant

    def wants(self, topic: RecordTopic) -> bool:
        return self._is_meant(topic) and self._wanted.wants(topic)


def states_of_books(wanted: Selection) -> Selection:
    """The states of the books among what is wanted."""
    return _Among(wanted, lambda topic: "health" in topic.channels and "book" in topic.channels)


def _books(wanted: Selection, names: frozenset[Name] | None) -> Selection:
    """The books of these names among what is wanted, and what concerns all of them; null: all books."""

    def is_meant(topic: RecordTopic) -> bool:
        is_named = names is None or not topic.names or (topic.exchange, topic.names[-1]) in names
        return is_named and "book" in topic.channels and "health" not in topic.channels

    return _Among(wanted, is_meant)


def parts_before(segments: Sequence[JournalSegment], place: Cursor, wanted: Selection) -> Iterator[PastPart]:
    """The parts of the epoch of a place that say how books stand there; together they follow each other.

    segments: those that there are, the oldest first
    """
    there = [segment for segment in segments if segment.epoch == place.epoch and segment.first <= place.offset]
    begun, unknown = _last_whole(there, place.offset, wanted)
    at = min([unknown, *begun.values()])
    for segment in there:
        end = min(segment.last, place.offset)
        if at < min(end, unknown):
            names = frozenset(name for name, begins in begun.items() if begins < end)
            part_end = min(end, unknown)
            yield PastPart(Cursor(place.epoch, at), Cursor(place.epoch, part_end), _books(wanted, names))
            at = part_end
    if at < place.offset:
        yield PastPart(Cursor(place.epoch, at), place, _books(wanted, None))


def _last_whole(segments: Sequence[JournalSegment], end: int, wanted: Selection) -> tuple[dict[Name, int], int]:
    """For each book the offset before the page that has its last whole one, up to an offset.

    Also the offset behind which no index tells that: the segment is open, or the page goes on behind the end.
    """
    found: dict[Name, int] = {}
    unknown = end
    for segment in reversed(segments):
        before = segment.first - 1
        try:
            file = Readable(segment)
        except (OSError, NotReadable):
            continue  # a hole is told when it is read, and leaves no book
        pages, topics = file.pages, file.topics
        whole = [at for at, topic in enumerate(topics) if topic.type == WHOLE and wanted.wants(topic.topic)]
        if file.groups_of(set()) is None or LOST in topics:
            unknown = min(unknown, before)
            continue
        unknown = min([unknown, *(page.first - 1 for page in pages if page.first <= end < page.last)])
        for number in whole:
            name = topics[number].exchange, topics[number].names[-1]
            groups = [at for at in file.groups_of({number}) or () if pages[at].last <= end]
            if name not in found and groups:
                found[name] = pages[max(groups)].first - 1
    return found, unknown
