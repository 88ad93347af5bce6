"""How far an exchange's clock is from ours: learned from the times that its records say they were sent at."""

from collections import deque
from collections.abc import Sequence

from aggregator.records import Health, Record

SAMPLES = 120  # one a second
FEWEST = 5
MS = 1_000_000


class ClockOffset:
    """Our time of receiving less the exchange's of sending, lately: the way here and the clocks' difference in one."""

    def __init__(self, exchange: str) -> None:
        """Know nothing."""
        self.is_due = True  # whether the next record is to be looked at
        self._exchange = exchange
        self._samples: deque[int] = deque(maxlen=SAMPLES)

    def sample(self, records: Sequence[Record]) -> None:
        """Look at one record of those just received."""
        for record in records:
            sent = record.ts_sent or record.ts_event
            if sent and record.source == "ws" and not record.flags:
                self._samples.append(record.ts_recv - sent)
                self.is_due = False
                return

    def health(self, now: int) -> Health | None:
        """The offset (that of the quickest way lately) and the spread as a record; None while too little is known."""
        if len(self._samples) < FEWEST:
            return None
        found = sorted(self._samples)
        middle, late = found[len(found) // 2], found[len(found) * 95 // 100]
        return Health(
            exchange=self._exchange,
            ts_recv=now,
            source="derived",
            state="live",
            clock_offset_ms=round(found[0] / MS, 3),
            clock_spread_ms=round((late - found[0]) / MS, 3),
            reason=f"its records reach us {middle / MS:.1f} ms after the time that they say",
        )
