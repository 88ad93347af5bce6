"""The journal as a strand."""

from collections.abc import Iterator
from pathlib import Path

from aggregator.errors import UNREADABLE
from aggregator.records import Gap, Record, decode_record
from aggregator.research.choice import Choice
from aggregator.research.defects import Defect, Defects
from aggregator.research.strands import Place, Portion, batched, place
from aggregator.sinks.journal.offline import StillJournal, pattern_of


class JournalRecords:
    """One journal."""

    def __init__(self, path: Path, defects: Defects) -> None:
        """Look at its segments. Raises OSError, AnotherFormat."""
        self.path = path
        self._journal = StillJournal(path)
        self._defects = defects
        for damaged, said in self._journal.unreadable:
            defects.tell(Defect(damaged, 0, said, "a gap tells what is missing; restore it from a copy"))

    def begins(self) -> Place:
        """The place of its first record."""
        return place(*self._journal.first)

    def records(self, choice: Choice) -> Iterator[Portion]:
        """The records that are wanted; where something is missing, a gap."""
        patterns = [pattern_of(*topic) for topic in choice.topics()]
        for page in self._journal.pages(patterns, choice.start):
            rows = [page.gap] if page.gap is not None and Gap in choice.types else list(self._decoded(page.lines))
            kept = [row for row in rows if choice.wants(row)]
            offsets = [row.offset for row in kept]
            if kept:
                yield Portion(page.epoch, offsets, kept)

    def batches(self, choice: Choice, record: type[Record]) -> Iterator[Portion]:
        """Those of one type, as record batches."""
        return batched(self.records(choice), record)

    def _decoded(self, lines: list[bytes]) -> Iterator[Record]:
        for line in lines:
            try:
                yield decode_record(line)
            except UNREADABLE as error:
                said = f"a record cannot be read: {error}"
                self._defects.tell(Defect(self.path, 0, said, "it is passed over: a later version may have written it"))
