"""The journal as a strand."""

from collections.abc import Iterator
from pathlib import Path

from aggregator.bus.history import kept_records
from aggregator.records import Gap, Record
from aggregator.research.choice import Choice
from aggregator.research.defects import Defect, Defects
from aggregator.research.strands import Place, Portion, batched, place
from aggregator.sinks.journal.offline import JournalPage, StillJournal, pattern_of


class JournalRecords:
    """One journal."""

    past_day: int | None = None  # nothing of it was asked for afterwards

    def __init__(self, path: Path, defects: Defects) -> None:
        """Look at its segments. Raises OSError, AnotherFormat."""
        self.path = path
        self._journal = StillJournal(path)
        self._defects = defects
        for damaged, said in self._journal.unreadable:
            remedy = "a gap tells what is missing; restore it from a copy"
            defects.tell(Defect(damaged, 0, said, remedy, has_gap=True))

    def begins(self) -> Place:
        """The place of its first record."""
        return place(*self._journal.first)

    def records(self, choice: Choice) -> Iterator[Portion]:
        """The records that are wanted; where something is missing, a gap."""
        patterns = [pattern_of(*topic) for topic in choice.topics()]
        for page in self._journal.pages(patterns, choice.start):
            rows = [page.gap] if page.gap is not None and Gap in choice.types else self._decoded(page)
            kept = [row for row in rows if choice.wants(row)]
            offsets = [row.offset for row in kept]
            if kept:
                yield Portion(page.epoch, offsets, kept)

    def batches(self, choice: Choice, record: type[Record]) -> Iterator[Portion]:
        """Those of one type, as record batches."""
        return batched(self.records(choice), record)

    def _decoded(self, page: JournalPage) -> list[Record]:
        records, reason = kept_records(page.lines, page.epoch)
        if reason:
            said = f"records cannot be read by this version: {reason}"
            self._defects.tell(Defect(self.path, 0, said, "gaps tell which; read it with the version that wrote it"))
        return records
