"""What somebody would write after reading the description of the records, and nothing else."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any


class ReadBook:
    """A book as a reader keeps it."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.sides = tuple({Decimal(p): Decimal(s) for p, s in snapshot[name]} for name in ("bids", "asks"))
        self.sequence: int | None = snapshot.get("sequence")
        self.floor, self.cap = (
            Decimal(snapshot[name]) if name in snapshot else None for name in ("bid_floor", "ask_cap")
        )
        self.depth: int | None = snapshot.get("depth")
        if self.depth is not None:  # it is said what comes into the book, however far it was cut
            self.floor = self.cap = None

    def apply(self, delta: dict[str, Any]) -> None:
        for side, name in zip(self.sides, ("bids", "asks"), strict=True):
            for price, size in delta[name]:
                side[Decimal(price)] = Decimal(size)
                if not Decimal(size):
                    del side[Decimal(price)]
            for price in sorted(side, reverse=name == "bids")[self.depth :] if self.depth else ():
                del side[price]
        self.sequence = delta.get("sequence")

    def is_known(self, price: int, side: int) -> bool:
        """Whether the snapshot reached this far."""
        if side == 0:
            return self.floor is None or price >= self.floor
        return self.cap is None or price <= self.cap

    def equals(self, sides: tuple[dict[int, int], dict[int, int]]) -> bool:
        """Whether these are the levels, as far as the book is known at all."""
        return all(
            {p: s for p, s in own.items() if self.is_known(p, at)}  # type: ignore[arg-type]
            == {p: s for p, s in other.items() if self.is_known(p, at)}
            for at, (own, other) in enumerate(zip(self.sides, sides, strict=True))
        )


class NaiveReader:
    """Books, trades and open gaps, from the lines of the stream."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.books: dict[str, ReadBook] = {}
        self.gaps: dict[tuple[str, str], dict[str, Any]] = {}  # channel and symbol -> the open gap
        self.trades: dict[str, set[int]] = {symbol: set() for symbol in symbols}
        self.doubtful: set[str] = set()  # symbols whose book had a gap and no snapshot since

    def read(self, line: bytes) -> dict[str, Any]:
        """Take one record of the stream. Raises AssertionError for what the description forbids."""
        record: dict[str, Any] = json.loads(line)
        symbol = record["raw_symbol"]
        match record["type"]:
            case "book_snapshot":
                self.books[symbol] = ReadBook(record)
                self.doubtful.discard(symbol)
            case "book_delta":
                assert symbol in self.books, f"{symbol}: a delta before any snapshot"
                assert symbol not in self.doubtful, f"{symbol}: a delta within a gap"
                self.books[symbol].apply(record)
            case "trade":
                number = int(record["id"])
                assert number not in self.trades[symbol], f"{symbol}: trade {number} twice"
                self.trades[symbol].add(number)
            case "gap":
                self._gap(record)
        return record

    def _gap(self, gap: dict[str, Any]) -> None:
        topic = (gap["channel"], gap["raw_symbol"])
        if gap["channel"] is None:
            assert gap["phase"] == "close", "a gap of everything that stays open"
        elif gap["phase"] == "open":
            assert topic not in self.gaps, f"{topic}: a gap within a gap"
            self.gaps[topic] = gap
            if gap["channel"] == "book":
                self.doubtful.add(gap["raw_symbol"])
        else:
            opened = self.gaps.pop(topic, None)
            assert opened is not None, f"{topic}: a gap ends that never began"
            assert opened["gap_id"] == gap["gap_id"], f"{topic}: another gap ends than began"

    def trusted(self, symbol: str) -> ReadBook | None:
        """The book that may be relied on now."""
        return None if ("book", symbol) in self.gaps else self.books.get(symbol)
