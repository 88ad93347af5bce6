"""A reader's choice: which records of a recording, and of which time."""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from aggregator.records import CHANNEL_OF, CHANNELS, DERIVED_OF, RECORD_TYPES, Gap, Health, Record, channel_of
from aggregator.tables.columns import tag

_encode = msgspec.json.Encoder().encode
FOREVER = 2**63 - 1
ABOUT: frozenset[type[Record]] = frozenset({Gap, Health})  # types of records that are about a channel


class Choice(Struct, frozen=True):
    """Records of some types that arrived from `start` on, and before `end` (ns).

    exchange, symbol: of these alone; null: of all. A symbol is the unified name or the exchange's own
    is_wide: whether gaps and states of whole channels, exchanges and of the whole stream are meant, too
    channels: those that such are about; empty: any
    """

    types: frozenset[type[Record]]
    exchange: str | None = None
    symbol: str | None = None
    start: int = 0
    end: int = FOREVER
    is_wide: bool = False
    channels: frozenset[str] = frozenset()

    @property
    def is_everything(self) -> bool:
        """Tell whether all records are wanted."""
        return len(self.types) == len(RECORD_TYPES) and self == Choice(self.types)

    def wants(self, record: Record) -> bool:
        """Tell whether a record is one of these."""
        if type(record) not in self.types or not self.start <= record.ts_recv < self.end:
            return False
        if self.is_wide and isinstance(record, Gap | Health):
            return self._concerns(record)
        if self.exchange is not None and record.exchange != self.exchange:
            return False
        return self.symbol is None or self.symbol in {record.symbol, record.raw_symbol}

    def _concerns(self, record: Gap | Health) -> bool:
        if self.exchange is not None and record.exchange and record.exchange != self.exchange:
            return False
        names = {record.symbol, record.raw_symbol} - {None}
        if self.symbol is not None and names and self.symbol not in names:
            return False
        channel = channel_of(record)
        return not self.channels or channel is None or channel in self.channels

    def may_be_in(self, exchange: str | None, channel: str | None, names: frozenset[str | None]) -> bool:
        """Tell whether a file may hold some, all of whose records share these (null: they may differ)."""
        if exchange and self.exchange is not None and exchange != self.exchange:
            return False
        names -= {None}
        if self.symbol is not None and names and self.symbol not in names:
            return False
        if channel not in CHANNELS:
            return True
        held = {kind for kind, name in CHANNEL_OF.items() if name == channel}
        if not self.channels or channel in self.channels:
            held |= ABOUT
        return not held.isdisjoint(self.types)

    def line_filter(self) -> Callable[[bytes], bool]:
        """A quick look at a line of NDJSON that passes whatever may be wanted, and little else."""
        heads = tuple(_head(each) for each in self.types)
        if self.symbol is None:
            return lambda line: line.startswith(heads)
        name = _encode(self.symbol)
        wide = tuple(_head(each) for each in self.types & ABOUT) if self.is_wide else ()
        return lambda line: line.startswith(heads) and (name in line or line.startswith(wide))

    def topics(self) -> list[tuple[str, str | None, str | None]]:
        """The topics that are wanted: channel, exchange, symbol."""
        found = []
        for kind in sorted(self.types, key=tag):
            names = (None, None) if self.is_wide and kind in ABOUT else (self.exchange, self.symbol)
            found.append((CHANNEL_OF.get(kind) or DERIVED_OF.get(kind) or tag(kind), *names))
        return found


def _head(record: type[Record]) -> bytes:
    return b'{"type":"%s"' % tag(record).encode()
