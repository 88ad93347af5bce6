"""The past that `aggregator backfill` asked for, beside a recording: it fills time, and trades of both come once."""

from collections.abc import Collection, Iterator
from typing import Any

from msgspec import Struct, field

from aggregator.records import CHANNEL_OF, Channel, Gap, Record, Trade
from aggregator.research.spans import DAY_NS, Span, union
from aggregator.research.strands import PAST, Portion
from aggregator.research.watch import DayCounts


def is_past(record: Record) -> bool:
    """Tell whether a record was asked for of the past."""
    return record.conn.endswith(PAST)


class FilledTopic(Struct):
    """The past of one topic.

    first: one of its records, which names it
    filled: the times of which all was had; holes: those of which the exchange gave nothing
    tallies: records by day
    """

    first: Record
    filled: list[Span] = field(default_factory=list)
    holes: list[Gap] = field(default_factory=list)
    tallies: dict[int, DayCounts] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        """Take a record of it."""
        if not isinstance(record, Gap):
            tally = self.tallies.setdefault(record.ts_recv // DAY_NS, DayCounts())
            tally.records += 1
            tally.late += 1
        elif record.repair == "full":
            self.filled.append((record.ts_from, record.ts_to or record.ts_recv))
        else:
            self.holes.append(record)

    @property
    def asked(self) -> list[Span]:
        """All times that were asked for."""
        return union([*self.filled, *((gap.ts_from, gap.ts_to or gap.ts_recv) for gap in self.holes)])


def past_channel(record: Record) -> Channel | None:
    """The channel that a record of the past is about."""
    return record.channel if isinstance(record, Gap) else CHANNEL_OF.get(type(record))


def names_of(trade: Trade) -> Collection[str]:
    """The ids that a trade stands for: where several fills are told as one, the id is that of the last of them."""
    last, count = trade.id, trade.count
    if last is None:
        return ()
    if trade.kind != "aggregate" or count is None or trade.last_id != last or not last.isdecimal():
        return (last,)
    return [str(number) for number in range(int(last) - count + 1, int(last) + 1)]


class Once:
    """Lets each trade through once, of those that were recorded and asked for besides: which of them comes first stays.

    It remembers the ids of the days of which anything was asked for, and of no others.
    """

    def __init__(self, days: Collection[int]) -> None:
        """Heed these days, by their numbers since 1970."""
        self._days = days
        self._known: dict[tuple[str, str | None, bool], set[str]] = {}

    def portions(self, portions: Iterator[Portion]) -> Iterator[Portion]:
        """The portions of a stream without the doubles; they are lists, or record batches of trades."""
        for portion in portions:
            rows = portion.rows
            if isinstance(rows, list):
                kept = [at for at, row in enumerate(rows) if not isinstance(row, Trade) or self._lets(row)]
                if len(kept) < len(rows):
                    rows = [rows[at] for at in kept]
            else:
                kept = self._kept(rows)
                if len(kept) < len(rows):
                    rows = rows.take(kept)
            if len(rows):
                yield Portion(portion.epoch, [portion.offsets[at] for at in kept], rows)

    def _kept(self, batch: Any) -> list[int]:
        """The rows of a batch that are let through."""
        from aggregator.tables.arrow import to_records

        found = to_records(Trade, batch)
        return [at for at, row in enumerate(found) if isinstance(row, Trade) and self._lets(row)]

    def _lets(self, trade: Trade) -> bool:
        if trade.id is None or (trade.ts_event or trade.ts_recv) // DAY_NS not in self._days:
            return True
        was_asked = is_past(trade)
        asked = self._known.setdefault((trade.exchange, trade.raw_symbol, True), set())
        heard = self._known.setdefault((trade.exchange, trade.raw_symbol, False), set())
        if trade.id in asked or (was_asked and trade.id in heard):
            return False
        (asked if was_asked else heard).update(names_of(trade))
        return True
