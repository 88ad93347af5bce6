"""Books that are kept from a feed's records, and that say when they cannot be trusted."""

from msgspec import Struct

from aggregator.book import OrderBook
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Lag, Levels, Record, is_hole

CONCERNED = frozenset({"book_snapshot", "book_delta", "gap", "health", "lag"})
DERIVED = "derived/"  # the beginning of `conn` of what was computed
GOOD = frozenset({"live", "quiet"})  # states of a topic in which its book is as the exchange has it


class LiveBook:
    """A book as the records that were taken have left it.

    exchange: its exchange
    symbol: its name, as it was asked for
    snapshot: the last whole book that came; null until the first
    last: the last record that changed it
    doubt: why it cannot be trusted now; empty where it can
    """

    def __init__(self, exchange: str, symbol: str) -> None:
        """Begin without levels; `Feed.book` gives one that is kept."""
        self.exchange = exchange
        self.symbol = symbol
        self.snapshot: BookSnapshot | None = None
        self.last: BookSnapshot | BookDelta | None = None
        self.doubt = "no snapshot has come yet"
        self._raw_symbol: str | None = None  # the first that comes is kept where two markets share the name
        self._book = OrderBook([], [])
        self._needs: type[Lag | BookSnapshot] | None = BookSnapshot  # whatever ends the doubt
        self._cut: str | None = None  # the gap of a cut connection, while it is open: what comes is of the past

    @property
    def is_whole(self) -> bool:
        """Tell whether it is as the exchange has it."""
        return not self.doubt

    def bids(self, count: int | None = None) -> Levels:
        """The best `count` bids (None: all), best first; those of before, where the book is in doubt."""
        return self._book.bids(count)

    def asks(self, count: int | None = None) -> Levels:
        """The best `count` asks (None: all), best first; those of before, where the book is in doubt."""
        return self._book.asks(count)

    def note(self, record: Record) -> bool:
        """Take a record; tells whether anything has changed. Raises BadPrice for a price that is no number."""
        if isinstance(record, BookDelta):
            return self._change(record)
        if isinstance(record, BookSnapshot):
            return self._start(record)
        if isinstance(record, Lag):
            return self._lost()
        if isinstance(record, Gap):
            return self._broken(record)
        return isinstance(record, Health) and self._stands(record)

    def lose(self, reason: str) -> None:
        """Mistrust the book until the next snapshot, as nothing comes any more by the way that it came."""
        self.doubt, self._needs = reason, BookSnapshot

    def is_meant(self, record: Record) -> bool:
        """Tell whether a record is about this book, about its whole exchange, or about everything."""
        if isinstance(record, Lag) or not record.exchange:  # about the whole stream
            return True
        if record.conn.startswith(DERIVED):  # some levels of it, of a topic of their own
            return False
        if record.exchange != self.exchange or (isinstance(record, Gap | Health) and record.channel not in OF_BOOKS):
            return False
        if record.raw_symbol is None and record.symbol is None:
            return True
        if self._raw_symbol is not None:
            return record.raw_symbol == self._raw_symbol
        return self.symbol in {record.symbol, record.raw_symbol}

    def _start(self, snapshot: BookSnapshot) -> bool:
        self._raw_symbol = snapshot.raw_symbol
        self._book = OrderBook(snapshot.bids, snapshot.asks, snapshot.depth)
        self.snapshot = self.last = snapshot
        self._settle()
        return True

    def _settle(self) -> None:
        """Nothing of its own is missing; it is to be trusted unless what comes is of the past."""
        self._needs = None
        if self._cut is None:
            self.doubt = ""

    def _change(self, delta: BookDelta) -> bool:
        """Apply a delta, unless something before it is missing.

        After a `lag` the feed sends no delta of a book that lost a record before a snapshot of it: a delta says that
        this book lost none.
        """
        if self._needs is BookSnapshot:
            return False
        if self._needs is Lag:
            self._settle()
        self._book.apply(delta.bids, delta.asks)
        self.last = delta
        return True

    def _lost(self) -> bool:
        if self._needs is not None:
            return False
        self.doubt, self._needs = "this program was too slow, and lost records", Lag
        return True

    def _broken(self, gap: Gap) -> bool:
        """Mistrust the book until the next snapshot, which comes before the gap closes."""
        if not gap.exchange:
            return self._cut_off(gap)
        is_open = gap.phase == "open"
        if self.snapshot is None or not (is_open or is_hole(gap)):
            return False
        said = "a gap is open" if is_open else "records are missing"
        self.doubt, self._needs = f"{said}: {gap.cause}", BookSnapshot
        return True

    def _cut_off(self, gap: Gap) -> bool:
        """Mistrust the book while a connection is cut, and until the past is told; and where that has a hole."""
        if gap.phase == "open":
            self._cut = gap.gap_id
            if self.snapshot is not None:
                self.doubt = f"a gap is open: {gap.cause}"
            return self.snapshot is not None
        if gap.gap_id == self._cut:
            self._cut = None
        elif self._needs is BookSnapshot:
            return False
        if gap.repair == "none" and self.snapshot is not None:
            self.doubt, self._needs = f"records are missing: {gap.cause}", BookSnapshot
        elif self._needs is None:
            self.doubt = ""
        return True

    def _stands(self, health: Health) -> bool:
        """Mistrust the book while its topic is neither live nor quiet; that is told anew behind what is past."""
        if self._needs is not None or self._cut is not None:
            return False
        doubt = "" if health.state in GOOD else f"{health.state}: {health.reason}" if health.reason else health.state
        has_changed = doubt != self.doubt
        self.doubt = doubt
        return has_changed


OF_BOOKS = ("book", None)  # channels of gaps and health that concern books


class Books(Struct):
    """The books that one client keeps."""

    found: dict[tuple[str, str], LiveBook] = {}

    @property
    def are_kept(self) -> bool:
        """Tell whether there is one."""
        return bool(self.found)

    def keep(self, exchange: str, symbol: str) -> LiveBook:
        """Keep this book from now on; one that is kept already is given again."""
        return self.found.setdefault((exchange, symbol), LiveBook(exchange, symbol))

    def concerns(self, kind: str) -> bool:
        """Tell whether a record of this type may change a book."""
        return kind in CONCERNED

    def note(self, record: Record) -> list[LiveBook]:
        """Show a record to the books. Gives those that it changed. Raises BadPrice for a price that is no number."""
        return [book for book in self.found.values() if book.is_meant(record) and book.note(record)]

    def lose(self, reason: str) -> None:
        """Mistrust all of them, as the connection has ended."""
        for book in self.found.values():
            book.lose(reason)
