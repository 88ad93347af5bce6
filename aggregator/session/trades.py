"""Trades whose numbers show what is missing, late or twice."""

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from aggregator.records import SECOND_NS, Channel, Instrument, Liquidation, Record, Repair, Trade
from aggregator.sequence import Rule
from aggregator.session.arbitrated import Position
from aggregator.session.moment import Now
from aggregator.session.topics import Origin, Sized, TopicCheckpoint, fill_sizes, with_flag

LATE_NS = 2 * SECOND_NS  # trades out of order are waited for so long before their gap closes
HOLES = 64  # ranges of missing trades remembered at once


class Notes(Protocol):
    """Memory that outlives a process that is killed: the last numbers of an exchange's trades.

    view: 64-bit numbers. The first is when the program last lived, in ns; it is negative while a read of a socket is
        being taken in: numbers are noted then whose records are not published yet
    """

    view: "memoryview[int]"

    def slot(self, raw_symbol: str | None) -> int | None:
        """The place of a market's last number in `view`; None where there is no room."""


class Numbered(Sized):
    """Trades whose numbers show what is missing, late or twice."""

    __slots__ = (
        "_holes",
        "_missed",
        "_noted",
        "_recovered",
        "_rested",
        "_settle_at",
        "_skipped",
        "_slot",
        "_sure",
        "_unsure",
    )

    def __init__(
        self,
        channel: Channel,
        raw_symbol: str | None,
        instrument: Instrument | None,
        place: Origin,
        carried: TopicCheckpoint,
        rule: Rule,
        notes: Notes | None = None,
    ) -> None:
        """Begin with the checkpoint of the connection before; `rule` judges the numbers.

        notes: where the last number is noted for the run after a process that is killed
        """
        super().__init__(channel, raw_symbol, instrument, place, carried)
        self._sure = rule.sure
        self._holes: deque[tuple[int, int]] = deque(carried.holes, maxlen=HOLES)
        self._missed = carried.missed
        self._recovered = carried.recovered
        self._unsure = carried.is_unsure
        self._rested = carried.is_rested
        self._settle_at = 0
        self._skipped = False
        self._slot = (notes.slot(raw_symbol) if notes else None) or 0
        self._noted = notes.view if notes and self._slot else None

    def accept(  # type: ignore[override]  # noqa: C901 - hot: it calls nothing that it can do itself
        self, record: Trade | Liquidation, out: list[Record], now: Now
    ) -> None:
        """Pass the next trade. Skipped numbers open a gap, late trades fill it, and repeated ones are dropped."""
        last, final, time, noted = self.last, record.sequence, record.ts_event, self._noted
        if last is None or final is None:  # the first record, or one outside of the numbering
            self.last = last if final is None else final
        elif final <= last:
            if not self._is_late(record, final, out, now):
                return
        else:
            skipped = (record.sequence_first or final) - last - 1
            if skipped > 0 and self._sure:
                self._miss(last, skipped, out, now)
            elif self.gap is not None:
                self._forgive(out, now)
            self.last = final
        if noted is not None and final is not None and final > noted[self._slot]:
            try:  # noqa: SIM105 - a context would cost more than all the rest
                noted[self._slot] = final
            except ValueError:  # it is larger than 64 bits
                pass
        if time is not None and time > self._newest:
            self._newest = time
        if record.size_unit == "base" and record.base_size is None:
            record.base_size = record.size
        else:
            fill_sizes(record, self.instrument)
        self.count += 1
        out.append(record)
        if self.gap is not None and not self._holes:
            self._settle(out, now)

    @property
    def has_skipped(self) -> bool:
        """Tell whether numbers are missing between two that came on this very connection."""
        return self._skipped

    def position(self) -> Position:
        """How far it is; numbers that were passed over while nobody wanted the topic are not compared."""
        found = super().position()
        return found._replace(last=None) if self._rested and not self.count else found

    def carried(self) -> TopicCheckpoint:
        """The checkpoint for the next connection's topic, with the trades that are still missing."""
        carried = super().carried()
        carried.holes, carried.missed, carried.recovered = tuple(self._holes), self._missed, self._recovered
        carried.is_unsure = self._unsure
        carried.is_rested = self._rested and not self.count
        return carried

    def _miss(self, last: int, skipped: int, out: list[Record], now: Now) -> None:
        """Note that so many numbers after `last` have not come."""
        if self._rested and not self.count and self.gap is None:
            return
        self._holes.append((last + 1, last + skipped))
        self._missed += skipped
        self._settle_at = now.mono + LATE_NS
        if self.count:
            self._skipped = True
        if self.gap is None:
            self.open_gap("sequence", out, now, expected=last + 1, got=last + skipped + 1, missed=skipped)

    def _forgive(self, out: list[Record], now: Now) -> None:
        """Take the next number. A gap from an earlier connection closes if every number has come since."""
        if self.gap is not None and self._sure and not self._missed and not self._unsure:
            self.close_gap(out, now, "not_needed", missed=0)

    def _is_late(self, record: Trade | Liquidation, final: int, out: list[Record], now: Now) -> bool:
        """Tell whether to publish a record whose number is not above the last one."""
        first = record.sequence_first or final
        hole = next((hole for hole in self._holes if hole[0] <= first and final <= hole[1]), None)
        if hole is not None:
            self._fill(hole, first, final)
            with_flag(record, "late")
            return True
        if record.ts_event is not None and record.ts_event > self._newest:  # younger, yet lower: the numbers start anew
            self.open_gap("sequence", out, now, expected=(self.last or 0) + 1, got=first)
            self.close_gap(out, now, "none")
            self.last = final
            if self._noted is not None:
                self._noted[self._slot] = 0
            return True
        self.duplicates += 1
        return False

    def _fill(self, hole: tuple[int, int], first: int, final: int) -> None:
        self._holes.remove(hole)
        self._holes.extend(part for part in ((hole[0], first - 1), (final + 1, hole[1])) if part[0] <= part[1])
        self._recovered += final - first + 1

    def holes(self) -> list[tuple[int, int]]:
        """The ranges of numbers that are missing now, first and last."""
        return list(self._holes)

    def backfill(self, trades: Iterable[Trade], out: list[Record], now: Now) -> int:
        """Publish those trades of an answer that are missing. Gives their number."""
        before = self._recovered
        for trade in trades:
            number = trade.sequence
            hole = next((h for h in self._holes if number is not None and h[0] <= number <= h[1]), None)
            if hole is None or number is None:
                continue
            with_flag(trade, "backfill")
            trade.exchange, trade.symbol, trade.conn = self.exchange, self.symbol, f"{self.conn}/backfill"
            trade.ts_recv, trade.source = now.wall, "backfill"
            fill_sizes(trade, self.instrument)
            self.count += 1
            out.append(trade)
            self._fill(hole, number, number)
        found = self._recovered - before
        if found and not self._holes and self.heard:
            self._settle(out, now)
        return found

    def expect_backfill(self, until: int) -> None:
        """Keep the gap open until this time, because missing trades were asked for; 0: no answer is to come."""
        self._settle_at = until

    def tick(self, out: list[Record], now: Now) -> None:
        """Close the gap of trades that have been waited for long enough.

        An earlier connection's stays open until this one has heard a trade: more may be missing before that.
        """
        if self._holes and self.heard and now.mono >= self._settle_at:
            self._settle(out, now)

    def _settle(self, out: list[Record], now: Now) -> None:
        """Close the gap, and tell how many trades were missing and how many came after all."""
        left = self._missed - self._recovered
        if self._unsure:
            self.close_gap(out, now, "partial" if self._recovered else "none", recovered=self._recovered)
        elif self._missed:
            repair: Repair = "full" if left == 0 else "partial" if self._recovered else "none"
            self.close_gap(out, now, repair, missed=self._missed, recovered=self._recovered)
        else:
            self.close_gap(out, now, "none")
        self._holes.clear()
        self._missed = self._recovered = 0
        self._skipped = self._unsure = False
