"""The book's structure, chosen by measurement: ours against the other sensible ones, on the same deltas.

Each keeps exact books of text, removes at size zero, and says after every delta whether the book is crossed; the ten
best levels are read after every so many deltas. What the parser takes is measured in the same turn and left out.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Protocol

from msgspec import Struct

from aggregator.book import OrderBook
from aggregator.catalog.registry import load_exchange
from aggregator.records import BookDelta, BookSnapshot, Levels
from aggregator.wire import is_zero
from bench.frames import Capture
from bench.measure import MICRO, pinned, processors, table, take_turns, timed

READ = 10  # levels a side
EVERY = (1, 10, 100, 0)  # deltas between two readings; 0: never
HEAD = ("structure", "frames", "top 10 each delta", "each 10", "each 100", "never")


class Structure(Protocol):
    """A book."""

    def apply(self, bids: Levels, asks: Levels) -> bool:
        """Set sizes; whether it is crossed now."""

    def bids(self, count: int | None = None) -> Levels:
        """The best bids, best first."""

    def asks(self, count: int | None = None) -> Levels:
        """The best asks, best first."""


Make = Callable[[Levels, Levels], Structure]


class SortedOnRead:
    """A dictionary a side, from the price's number to the level; the best is looked for, the top sorted, when asked."""

    def __init__(self, bids: Levels, asks: Levels) -> None:
        self._bids = {float(price): (price, size) for price, size in bids}
        self._asks = {float(price): (price, size) for price, size in asks}

    def apply(self, bids: Levels, asks: Levels) -> bool:
        _set(self._bids, bids)
        _set(self._asks, asks)
        return bool(self._bids and self._asks) and max(self._bids) >= min(self._asks)

    def bids(self, count: int | None = None) -> Levels:
        return [self._bids[key] for key in sorted(self._bids, reverse=True)[:count]]

    def asks(self, count: int | None = None) -> Levels:
        return [self._asks[key] for key in sorted(self._asks)[:count]]


def _set(side: dict[float, tuple[str, str]], levels: Levels) -> None:
    for level in levels:
        if is_zero(level[1]):
            side.pop(float(level[0]), None)
        else:
            side[float(level[0])] = level


def sorted_dict() -> Make:
    """Sortedcontainers' SortedDict a side. Raises ImportError where it is not installed."""
    from sortedcontainers import SortedDict  # type: ignore[import-untyped, import-not-found, unused-ignore]

    class SortedDicts:
        def __init__(self, bids: Levels, asks: Levels) -> None:
            self._bids = SortedDict({float(level[0]): level for level in bids})
            self._asks = SortedDict({float(level[0]): level for level in asks})

        def apply(self, bids: Levels, asks: Levels) -> bool:
            _set(self._bids, bids)
            _set(self._asks, asks)
            return bool(self._bids and self._asks) and self._bids.peekitem(-1)[0] >= self._asks.peekitem(0)[0]

        def bids(self, count: int | None = None) -> Levels:
            return [self._bids[key] for key in islice(reversed(self._bids), count)]

        def asks(self, count: int | None = None) -> Levels:
            return list(islice(self._asks.values(), count))

    return SortedDicts


def compiled() -> Make:
    """The `order-book` package, in C, with numbers as keys. Raises ImportError where it is not installed."""
    from order_book import OrderBook  # type: ignore[import-untyped, import-not-found, unused-ignore]

    class Compiled:
        def __init__(self, bids: Levels, asks: Levels) -> None:
            self._book = OrderBook()
            self._set(self._book.bids, bids)
            self._set(self._book.asks, asks)

        def _set(self, side: dict[float, tuple[str, str]], levels: Levels) -> None:
            for level in levels:
                key = float(level[0])
                if not is_zero(level[1]):
                    side[key] = level
                elif key in side:
                    del side[key]

        def apply(self, bids: Levels, asks: Levels) -> bool:
            self._set(self._book.bids, bids)
            self._set(self._book.asks, asks)
            both = len(self._book.bids) and len(self._book.asks)
            return bool(both and self._book.bids.index(0)[0] >= self._book.asks.index(0)[0])

        def bids(self, count: int | None = None) -> Levels:
            side = self._book.bids
            return [side[key] for key in side.keys()[:count]]

        def asks(self, count: int | None = None) -> Levels:
            side = self._book.asks
            return [side[key] for key in side.keys()[:count]]

    return Compiled


class Row(Struct):
    """One structure on one capture: µs per delta without the parser, for each of EVERY."""

    structure: str
    kind: str
    times: list[float]


def structures() -> dict[str, Make]:
    """Those that can be measured here; what is not installed is named and left out."""
    found: dict[str, Make] = {"ours": OrderBook, "dict, sorted on read": SortedOnRead}
    for name, load in {"sortedcontainers": sorted_dict, "order-book": compiled}.items():
        try:
            found[name] = load()
        except ImportError as error:
            print(f"{name}: left out: {error}")
    return found


class Contest:
    """One capture of deltas, for any structure."""

    def __init__(self, capture: Capture) -> None:
        """Read the whole books. Raises LookupError when there is no connector."""
        exchange = load_exchange(capture.exchange)
        if exchange is None:
            raise LookupError(capture.exchange)
        stream = exchange.streams[0]
        if stream.snapshot is None or stream.snapshot.parse is None:
            raise LookupError(f"{capture.exchange} has no books by REST")
        self._parse = stream.reader()
        self._frames = capture.frames
        self.count = len(capture.frames)
        self._whole: dict[str, BookSnapshot] = {
            symbol: whole
            for symbol, body in capture.snapshots.items()
            if isinstance(whole := stream.snapshot.parse(symbol, body), BookSnapshot)
        }

    def parse(self) -> float:
        """The parser alone."""

        def work() -> None:
            for _ in self._deltas():
                pass

        return timed(work)

    def _deltas(self) -> Iterable[BookDelta]:
        for frame in self._frames:
            for event in self._parse(frame):
                if isinstance(event, BookDelta):
                    yield event

    def run(self, make: Make, every: int) -> float:
        """Apply every delta; read both tops after each `every` of them. Raises ValueError when the book crosses."""
        books = {symbol: make(whole.bids, whole.asks) for symbol, whole in self._whole.items()}
        for book in books.values():
            book.apply([], [])

        def work() -> None:
            for at, delta in enumerate(self._deltas(), 1):
                book = books[delta.raw_symbol or ""]
                if book.apply(delta.bids, delta.asks):
                    raise ValueError(f"delta {at} crosses the book of {delta.raw_symbol}")
                if every and at % every == 0:
                    book.bids(READ)
                    book.asks(READ)

        return timed(work)


def report(captures: Iterable[Capture], rounds: int) -> list[Row]:
    """Measure every structure on every capture, and print the table."""
    found: list[Row] = []
    makers = structures()
    with pinned(processors()[0]):
        for capture in captures:
            found += _rows(Contest(capture), capture.kind, makers, rounds)
    cells = [[row.structure, row.kind, *row.times] for row in found]
    table("books: µs of processor time per delta, without the parser", HEAD, cells)
    return found


def _rows(contest: Contest, kind: str, makers: Mapping[str, Make], rounds: int) -> list[Row]:
    tasks: dict[str, Callable[[], float]] = {"": contest.parse}
    for name, make in makers.items():
        tasks |= {f"{name} {every}": partial(contest.run, make, every) for every in EVERY}
    least = take_turns(tasks, rounds)
    parse = least[""]
    scale = MICRO / contest.count
    return [Row(name, kind, [(least[f"{name} {every}"] - parse) * scale for every in EVERY]) for name in makers]
