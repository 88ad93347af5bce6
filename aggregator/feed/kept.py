"""The stream as it stands, kept from its records: of a recording there is no session that could be asked.

A change of a book is only noted, and applied once somebody asks for the book, or many have gathered.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import structs

from aggregator.bus.selection import Selection, topic_of
from aggregator.bus.view import Wanted
from aggregator.derived.kept_book import KeptBook
from aggregator.feed.subscriber_queue import BookName
from aggregator.records import BookDelta, BookSnapshot, Channel, Gap, Health, Instrument, Record

MOST_CHANGES = 1000  # so many of one book may wait to be applied
MOST_PRICES = 10_000  # likewise, where they are put together

RECORDERS = frozenset({"files", "journal", "replay"})  # the `conn` of gaps of those who write and read recordings

StateName = tuple[str, Channel, str | None, str]  # exchange, channel, raw symbol, connection


class _NotedBook:
    """A book, and what has come for it since it was last looked at.

    Changes of a book of any depth are put together: the newest size of each price is all that matters. Those of a book
    that is cut to some levels are applied one by one, as each cuts it.
    """

    __slots__ = ("_asks", "_bids", "_changes", "_is_cut", "_kept", "_last", "_snapshot", "topic")

    def __init__(self, snapshot: BookSnapshot) -> None:
        self._snapshot = snapshot
        self.topic = topic_of(snapshot)
        self._kept: KeptBook | None = None
        self._is_cut = snapshot.depth is not None
        self._changes: list[Record] = []
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        self._last: BookDelta | None = None  # the last that was put together with others

    def note(self, record: Record) -> None:
        if isinstance(record, BookDelta) and not self._is_cut:
            self._bids |= record.bids
            self._asks |= record.asks
            self._last = record
            if len(self._bids) + len(self._asks) > MOST_PRICES:
                self._apply()
            return
        self._changes.append(record)
        if len(self._changes) >= MOST_CHANGES:
            self._apply()

    def _apply(self) -> KeptBook:
        if self._kept is None:
            self._kept = KeptBook()
            self._kept.take(self._snapshot)
        if self._last is not None:
            changed = structs.replace(self._last, bids=list(self._bids.items()), asks=list(self._asks.items()))
            self._kept.take(changed)
            self._last = None
            self._bids.clear()
            self._asks.clear()
        for record in self._changes:
            self._kept.take(record)
        self._changes.clear()
        return self._kept

    def whole(self) -> BookSnapshot | None:
        """The book as a record; null where it is in doubt."""
        kept = self._apply()
        levels = kept.best(None)
        if levels is None or kept.last is None:
            return None
        last = kept.last
        return structs.replace(
            self._snapshot,
            bids=levels[0],
            asks=levels[1],
            ts_event=None,
            ts_sent=None,
            ts_recv=last.ts_recv,
            sequence=last.sequence,
            sequence_first=None,
            sequence_prev=None,
            conn=last.conn,
            source="derived",
            flags=("snapshot",),
            checksum=None,
            reason="request",
        )


class KeptStream:
    """The books and states that records have left.

    noted: the books that have begun
    told_states: the newest state of each topic on each connection
    untold: books that have begun with what was not told, so that nobody has them yet
    """

    def __init__(self, instruments: dict[tuple[str, str], Instrument]) -> None:
        """Begin without books and states; `instruments` are those in force, and are kept so."""
        self._instruments = instruments
        self.untold: dict[BookName, None] = {}
        self._is_past = False
        self.noted: dict[BookName, _NotedBook] = {}
        self.told_states: dict[StateName, Health] = {}
        self._rules: dict[type[Record], Callable[..., bool]] = {
            BookDelta: self._change,
            BookSnapshot: self._begin,
            Gap: self._doubt,
            Health: self._state,
            Instrument: self._list,
        }

    def learn(self, records: Sequence[Record]) -> None:
        """Learn of records that are not told."""
        self._is_past = True
        self.note(records)
        self._is_past = False

    def note(self, records: Sequence[Record]) -> list[int] | None:
        """Learn of records. Gives the positions of those that can be told; null: all of them can.

        A change of a book that has not begun, or of which records are missing, is of no use to anybody.
        """
        rules = self._rules
        useless: set[int] | None = None
        for at, record in enumerate(records):
            rule = rules.get(type(record))
            if rule is not None and not rule(record):
                useless = useless or set()
                useless.add(at)
        return None if useless is None else [at for at in range(len(records)) if at not in useless]

    def _change(self, delta: BookDelta) -> bool:
        book = self.noted.get((delta.exchange, delta.raw_symbol))
        if book is None:
            return False
        book.note(delta)
        return True

    def _begin(self, snapshot: BookSnapshot) -> bool:
        name = snapshot.exchange, snapshot.raw_symbol
        if not self._is_past:
            self.untold.pop(name, None)
        elif name not in self.noted:
            self.untold[name] = None
        self.noted[name] = _NotedBook(snapshot)
        return True

    def _state(self, health: Health) -> bool:
        self.told_states[health.exchange, health.channel, health.raw_symbol, health.conn] = health
        return True

    def _list(self, instrument: Instrument) -> bool:
        self._instruments[instrument.exchange, instrument.symbol or instrument.raw_symbol or ""] = instrument
        return True

    def _doubt(self, gap: Gap) -> bool:
        if gap.channel in {"book", None}:
            is_lost = gap.conn in RECORDERS  # records are missing from here to the next snapshot
            for name in [name for name in self.noted if _is_meant(gap, name)]:
                if is_lost:
                    del self.noted[name]
                    self.untold.pop(name, None)
                else:
                    self.noted[name].note(gap)
        return True

    def adopt(self, before: "KeptStream", wanted: Selection) -> None:
        """Take over what was known before, at the same place, of topics that are still wanted."""
        there = {name: book for name, book in before.noted.items() if wanted.wants(book.topic)}
        self.untold = {name: None for name in self.untold if name not in there}
        self.untold |= {name: None for name in before.untold if name in there}
        self.noted = there | self.noted
        self.told_states = before.told_states | self.told_states

    @property
    def books(self) -> Iterable[BookName]:
        """The books that have begun."""
        return self.noted.keys()

    def book(self, name: BookName) -> BookSnapshot | None:
        """One book as it stands; null: there is none, or none that can be trusted."""
        found = self.noted.get(name)
        return None if found is None else found.whole()

    def states(self, exchange: str, channel: Channel, raw_symbol: str | None) -> list[Health]:
        """The states of a topic, each a record of its own."""
        return [
            structs.replace(state)
            for name, state in self.told_states.items()
            if name[:3] == (exchange, channel, raw_symbol)
        ]


def _is_meant(gap: Gap, name: BookName) -> bool:
    exchange, raw_symbol = name
    return gap.exchange in {"", exchange} and gap.raw_symbol in {None, raw_symbol}


class KeptView:
    """One exchange as it stands in a kept stream (`bus/view.py`); `stream` gives that of the moment."""

    def __init__(self, exchange: str, stream: Callable[[], KeptStream]) -> None:
        """Look there."""
        self._exchange = exchange
        self._stream = stream

    def book(self, raw_symbol: str) -> BookSnapshot | None:
        """The book of a market."""
        return self._stream().book((self._exchange, raw_symbol))

    def books(self) -> list[BookSnapshot]:
        """Every book."""
        stream = self._stream()
        found = [stream.book(name) for name in stream.books if name[0] == self._exchange]
        return [book for book in found if book is not None]

    def health(self, channel: Channel, raw_symbol: str | None) -> list[Health]:
        """The states of a topic."""
        return self._stream().states(self._exchange, channel, raw_symbol)

    def wanted(self) -> list[Wanted]:
        """Nothing is known of what is to come."""
        return []
