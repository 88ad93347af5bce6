"""An exchange that moves from one worker to another, as the second one sees it: it gathers, and publishes nothing yet.

It hears what the first one has published, so it knows what the stream holds; both is as between members of a cluster
(`cluster/share.py`). Once all that is well there comes here too, the first one lets go, and this one goes on with the
first record that it has and the stream does not.
"""

import time
from contextlib import suppress

from aggregator.bus.passing import MarkingBus
from aggregator.catalog.registry import load_exchange
from aggregator.cluster.share import Share
from aggregator.errors import UNREADABLE
from aggregator.records import SECOND_NS, Record, decode_record

SETTLE_NS = 2 * SECOND_NS  # the past that comes with a subscription is there so long after it is live
MOST_HELD = 200_000  # records that wait for the first one to let go
FIRST, SECOND = 1, 2  # the ownerships


class StandingBy:
    """One exchange that this process is to take over."""

    def __init__(self, exchange: str, bus: MarkingBus) -> None:
        """Divert what is published of it from now on."""
        self._exchange = exchange
        self._bus = bus
        declared = load_exchange(exchange)
        sure = [] if declared is None else declared.sure_channels
        self._share = Share(exchange, sure, most=MOST_HELD, way="worker")
        self._cut: int | None = None
        bus.diverted[exchange] = self._take

    def _take(self, records: list[Record]) -> list[Record]:
        share, now = self._share, time.time_ns()
        share.gather(records, now)
        if not share.begun:
            return []
        if share.is_settled(now):
            self._bus.diverted.pop(self._exchange, None)
        return share.drain()

    def stands(self, lines: bytes) -> None:
        """Hear how the topics stand of which more is to come."""
        for record in _read(lines):
            self._share.positions.note(record)

    def hear(self, lines: bytes) -> None:
        """Hear what the first one has published."""
        records = _read(lines)
        if records:
            self._share.heard(FIRST, records[-1].offset, records)

    def look(self, now: int) -> int:
        """How many topics are not here yet as they are there; 0: this process can go on."""
        share = self._share
        if self._cut is None or share.late(self._cut):
            self._cut = None
            if late := share.late(now - SETTLE_NS):
                return len(late)
            share.cut(now)
            self._cut = now
        return len(share.lacking())

    def take_over(self, now: int) -> None:
        """Go on from what the first one has published, all of which was heard."""
        self._share.take_over(SECOND, now, lambda raw_symbol: self._bus.views.book(self._exchange, raw_symbol))
        self._bus.mark(self._share.drain())


def _read(lines: bytes) -> list[Record]:
    """The records of lines; one that cannot be read cannot be compared either, and may come again."""
    records: list[Record] = []
    for line in lines.splitlines():
        with suppress(*UNREADABLE):
            records.append(decode_record(line))
    return records
