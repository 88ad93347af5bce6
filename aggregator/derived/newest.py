"""`ticker.1000ms`, `bbo.100ms`, …: the newest record of a topic, at an interval, without those in between."""

from collections.abc import Sequence

from msgspec import structs

from aggregator.bus.selection import BadPattern
from aggregator.derived.channel import Derived, Stamp, Start
from aggregator.records import CHANNEL_OF, CHANNELS, Channel, Record

# The channels of which the newest record says all that those before it said.
NEWEST_CHANNELS: tuple[Channel, ...] = ("ticker", "bbo", "mark_price", "index_price", "open_interest", "options")


class Newest:
    """The machine: it remembers the newest record."""

    due = 0

    def __init__(self, stamp: Stamp) -> None:
        self._stamp = stamp
        self._last: Record | None = None
        self._is_new = False

    def take(self, record: Record) -> Sequence[Record]:
        """Take a record; gaps and states are told beside it."""
        if type(record) in CHANNEL_OF:
            self._last, self._is_new = record, True
        return ()

    def tick(self, _wall: int) -> Sequence[Record]:
        """Do nothing: the engine asks for news at the interval."""
        return ()

    def news(self) -> Record | None:
        """The newest record, if it has not been told."""
        if not self._is_new:
            return None
        self._is_new = False
        return self.current()

    def current(self) -> Record | None:
        """The newest record."""
        return None if self._last is None else structs.replace(self._last, conn=self._stamp.conn, source="derived")


def _of(channel: Channel) -> Derived:
    def read(parts: tuple[str, ...]) -> Start | None:
        return Newest if parts == (channel,) else None

    return Derived(f"{channel}.Nms", f"the newest of `{channel}`, at most every N ms", channel, (channel,), read)


def _read_others(parts: tuple[str, ...]) -> Start | None:
    """Refuse to leave out records of channels of which each one counts."""
    if len(parts) == 1 and parts[0] in CHANNELS:
        raise BadPattern(
            f"each record of {parts[0]} counts: none can be left out by an interval; of {', '.join(NEWEST_CHANNELS)} "
            "and book the newest says all, and trades are summed up by candles.1s"
        )
    return None


NEWEST = tuple(map(_of, NEWEST_CHANNELS))
EACH_COUNTS = Derived("", "", None, (), _read_others)  # it makes nothing: it says why
