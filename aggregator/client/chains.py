"""The books that came to a reader without a break: it has to be known after a cut which of them go on."""

import re
from collections.abc import Iterable

import msgspec
from msgspec import Struct

WATCHED = frozenset({"book_snapshot", "book_delta", "gap", "health", "lag"})
BEGUN = frozenset({"live", "quiet"})  # a book in these states is sent whole to a new subscriber
HISTORY = "journal"  # `conn` of a gap behind which books start anew
DERIVED = "derived/"  # the beginning of `conn` of what was computed

Name = tuple[str, str]  # exchange, and raw symbol


class _Named(Struct):
    exchange: str = ""
    symbol: str | None = None
    raw_symbol: str | None = None
    conn: str = ""
    channel: str | None = None
    state: str = ""


_named_in = msgspec.json.Decoder(_Named).decode


class Chains:
    """The books of one reader, whose changes follow each other without a break.

    Behind a cut the feed goes on with each change of every book. To a book that the reader had not whole these are of
    no use: they are withheld until it is sent whole.
    """

    def __init__(self) -> None:
        """Begin without books."""
        self._sound: set[Name] = set()
        self._unsure: set[Name] = set()  # the next record of it tells that it is sound: the feed withholds what is not
        self._lacking: set[Name] = set()  # its changes are withheld here
        self._asked: set[Name] = set()  # those of them that were asked for
        self._is_strict = False  # a book that is not known is not had whole
        self._wanted: re.Pattern[str] | None = None

    def want(self, topics: Iterable[str]) -> None:
        """Have these topics, each of whose books is sent whole first."""
        forms = [":".join(_form(part) for part in topic.split(":", 2)) for topic in topics]
        self._wanted = re.compile("|".join(forms)) if forms else None
        for books in (self._sound, self._unsure, self._lacking):
            books -= {name for name in books if not self._wants(*name)}

    def _wants(self, exchange: str, *symbols: str | None) -> bool:
        wanted = self._wanted
        return wanted is not None and any(wanted.fullmatch(f"book:{exchange}:{symbol}") for symbol in symbols if symbol)

    def admits(self, kind: str, line: bytes) -> bool:
        """Take note of a record of a watched type; tells whether it is for the reader."""
        if kind == "lag" or (kind == "gap" and _named_in(line).conn == HISTORY):
            self._doubt()
        if kind in {"lag", "gap"}:
            return True
        if kind == "book_delta" and not (self._unsure or self._lacking or self._is_strict):
            return True
        record = _named_in(line)
        return record.conn.startswith(DERIVED) or self._admits(kind, record)

    def _admits(self, kind: str, record: _Named) -> bool:
        name = record.exchange, record.raw_symbol or record.symbol or ""
        is_known = name in self._sound or name in self._unsure or name in self._lacking
        if not is_known and not self._wants(record.exchange, record.symbol, record.raw_symbol):
            return True
        if kind == "health":
            if not is_known and record.channel == "book" and record.state in BEGUN:
                (self._lacking if self._is_strict else self._unsure).add(name)
            return True
        if kind == "book_delta" and (name in self._lacking or (self._is_strict and not is_known)):
            self._lacking.add(name)
            return False
        self._lacking.discard(name)
        self._unsure.discard(name)
        self._sound.add(name)
        return True

    def _doubt(self) -> None:
        """Records are missing, nobody knows of which books."""
        self._unsure |= self._sound
        self._sound.clear()

    def cut(self, *, is_late: bool) -> None:
        """The connection was cut, perhaps while the past was told, and with it the beginnings of books."""
        self._lacking |= self._unsure
        self._unsure.clear()
        self._asked.clear()
        self._is_strict = self._is_strict or is_late

    def begin_anew(self) -> None:
        """All books are to be sent whole."""
        for books in (self._sound, self._unsure, self._lacking):
            books.clear()
        self._is_strict = True

    def begun_anew(self) -> None:
        """The feed sends all books whole, and no change before that."""
        self._unsure |= self._lacking
        self._lacking.clear()
        self._is_strict = False

    def to_ask(self) -> list[str]:
        """The topics of books that are to be asked for, as the reader lacks them."""
        books = self._lacking - self._asked
        self._asked |= books
        return [f"book:{exchange}:{symbol}" for exchange, symbol in sorted(books)]


def _form(part: str) -> str:
    """A part of a topic as a regular expression, in which `*` is any text."""
    return ".*".join(map(re.escape, part.split("*")))
