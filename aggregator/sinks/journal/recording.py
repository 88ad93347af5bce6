"""A journal, read as a recording: nothing of it is changed, and a daemon may be writing to it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from aggregator.bus.bus import encode_lines
from aggregator.bus.history import BadStart, Beginning, Cursor, Start, hole, kept_records
from aggregator.bus.recording import Complain, Excerpt, Excerpts, Opening
from aggregator.bus.selection import Selection
from aggregator.bus.view import Wanted
from aggregator.records import CHANNELS, Gap, Record
from aggregator.sinks.journal.blocks import CLOSED, OPEN, NotReadable
from aggregator.sinks.journal.known_books import PastPart, parts_before, states_of_books
from aggregator.sinks.journal.lives import NAME
from aggregator.sinks.journal.offline import StillShelf
from aggregator.sinks.journal.reader import JournalReader
from aggregator.sinks.journal.segments import JournalSegment, Readable


def is_journal(path: Path) -> bool:
    """Tell whether a directory is that of a journal."""
    return path.is_dir() and ((path / NAME).exists() or any(_numbered(path)))


def _numbered(path: Path) -> Iterator[Path]:
    return (each for each in path.iterdir() if each.suffix in {OPEN, CLOSED} and each.stem.isdecimal())


class JournalRecording:
    """The journal of a directory, as it stands when it is begun to be read."""

    def __init__(self, path: Path, complain: Complain) -> None:
        """Look at its segments. Raises OSError."""
        self._path = path
        for segment, reason in StillShelf(path).unreadable:
            complain(f"{segment}: {reason}; a gap tells what is missing")

    def opening(self, ts: int | None) -> Opening | None:
        """Name the topics of its first segment and of its last one; none of them says anything of instruments."""
        shelf = StillShelf(self._path)
        kept = shelf.view.kept
        if not kept:
            return None
        place = Cursor(kept[0].epoch, kept[0].first - 1)
        if ts is not None:
            place = JournalReader(shelf, kept[-1].epoch, ()).at_time(ts)[0]
        topics: dict[Wanted, None] = {}
        for segment in {kept[0], kept[-1]}:
            try:
                known = Readable(segment).topics
            except (OSError, NotReadable):
                continue
            for topic in known:
                channel = next((each for each in topic.channels if each in CHANNELS), None)
                if len(topic.channels) == 1 and channel is not None and topic.raw_symbol:
                    symbol = next((name for name in topic.names if name != topic.raw_symbol), None)
                    topics[Wanted(channel, topic.exchange, topic.raw_symbol, symbol)] = None
        return Opening(place, list(topics))

    def play(self, start: Beginning, wanted: Selection, complain: Complain) -> Excerpts:
        """Give what follows a place. Raises BadStart."""
        shelf = StillShelf(self._path)
        kept = shelf.view.kept
        if not kept:
            return
        reader = JournalReader(shelf, kept[-1].epoch, ())
        cursor, gap = _begin(reader, start, shelf)
        if isinstance(start, Start | Cursor):
            yield from _known_before(reader, kept, cursor, wanted)
        if gap is not None:
            yield _told(cursor, [gap])
        while True:
            stretch = reader.read(cursor, wanted)
            cursor = stretch.cursor
            if stretch.gap is not None:
                if stretch.gap.cause == "damaged":
                    complain(f"{self._path}: {_in_words(stretch.gap)}")
                yield _told(cursor, [stretch.gap])
            if stretch.lines:
                records, reason = kept_records(stretch.lines, cursor.epoch)
                if reason:
                    complain(f"{self._path}: not all records can be read by this version: {reason}")
                yield Excerpt(cursor.epoch, records, None if reason else stretch.lines)
            if stretch.is_end and not stretch.lines:
                return


def _begin(reader: JournalReader, start: Beginning, shelf: StillShelf) -> tuple[Cursor, Gap | None]:
    kept = shelf.view.kept
    if isinstance(start, Start):
        cursor, gap, _ = reader.at_time(start.ts or 0)
        return cursor, gap
    if isinstance(start, Cursor):
        epochs = list(dict.fromkeys(segment.epoch for segment in kept))
        if start.epoch not in epochs:
            raise BadStart(f"the epoch {start.epoch!a:.40} is not in this journal, which has {', '.join(epochs)}")
        return start, None
    place = Cursor(kept[0].epoch, kept[0].first - 1)
    is_damaged = any(int(path.stem) < kept[0].number for path, _ in shelf.unreadable)
    ts = kept[0].ts_first
    return place, hole("damaged", Cursor("", 0), place, (ts, ts)) if is_damaged else None


def _known_before(
    reader: JournalReader, segments: Sequence[JournalSegment], place: Cursor, wanted: Selection
) -> Iterator[Excerpt]:
    """Give what the epoch has of books before a place, as far as it says how they stand there."""
    states = states_of_books(wanted)
    for part in (PastPart(Cursor(place.epoch, 0), place, states), *parts_before(segments, place, wanted)):
        cursor, is_over = part.start, part.start.offset >= part.end.offset
        while not is_over:
            stretch = reader.read(cursor, part.wanted, until=part.end)
            cursor = stretch.cursor
            is_over = stretch.is_over or stretch.is_end or cursor.epoch != place.epoch
            gaps: list[Record] = [] if stretch.gap is None or part.wanted is states else [stretch.gap]
            yield Excerpt(place.epoch, [*gaps, *kept_records(stretch.lines, place.epoch)[0]], is_past=True)


def _told(cursor: Cursor, gaps: list[Record]) -> Excerpt:
    return Excerpt(cursor.epoch, gaps, [encode_lines(gaps)])


def _in_words(gap: Gap) -> str:
    missed = "records are" if gap.missed is None else f"{gap.missed} records are"
    return f"{missed} missing before record {gap.got or 1} ({gap.cause})"
