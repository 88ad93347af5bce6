"""The columns of each record type: their names and kinds, made from the records themselves.

A table that keeps records has `stored` columns. A number stands there twice: by its own name as a double, with which
every tool computes, and as the exchange's own digits under `<name>_text`. No decimal column does both jobs: the
product of two `decimal(38,18)` overflows, a narrower one has no room for real prices and sizes, and a column whose
scale differs from file to file is rounded to that of the first. docs/decisions.md has what was tried.

A value that fits no column (an integer of more than 64 bits) is null there, and stands as JSON in `misfits`: nothing
is rounded, and nothing is left out in silence. No library is needed here.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Literal

from msgspec import Struct, inspect

from aggregator.records import DECIMALS, RECORD_TYPES, TIMES, Record

Kind = Literal["text", "word", "number", "time", "count", "measure", "flag", "words", "rows", "json"]

EPOCH, MISFITS = "epoch", "misfits"  # columns that are no fields: a record's epoch, and what fits no other column
TEXT = "_text"  # the end of the name of a number's exact text
WIDEST = 2**63 - 1  # a count or a time holds no more

# Texts that take few values each, so that a column of them is worth a dictionary.
FEW = frozenset({
    EPOCH, "exchange", "symbol", "raw_symbol", "conn", "interval", "bid_exchange", "ask_exchange", "base", "quote",
    "settle", "underlying",
})  # fmt: skip
# The names of what stands in rows, by the number of its parts: docs/records.md describes them.
ROWS: dict[str, tuple[tuple[str, ...], ...]] = {
    "bids": (("price", "size"), ("id", "price", "size")),
    "asks": (("price", "size"), ("id", "price", "size")),
    "contributors": (("exchange", "state", "age_ms", "bid_price", "bid_size", "ask_price", "ask_size"),),
    "absent": (("exchange", "reason", "age_ms"),),
}
PLAIN: dict[type[inspect.Type], Kind] = {
    inspect.StrType: "text",
    inspect.LiteralType: "word",
    inspect.IntType: "count",
    inspect.FloatType: "measure",
    inspect.BoolType: "flag",
    inspect.VarTupleType: "words",
    inspect.ListType: "rows",
    inspect.TupleType: "json",
}


class Column(Struct, frozen=True):
    """One column.

    kind: `text`; `word`: one of few texts; `number`: decimal text; `time`: nanoseconds since the epoch, UTC; `count`:
        an integer of 64 bits; `measure`: a double; `flag`: true or false; `words`: a list of texts; `rows`: a list of
        rows, whose columns are `parts`; `json`: a value of several kinds at once, as its JSON
    is_null: whether it may be null
    values: of a word, those that there are today; later versions may add some
    """

    name: str
    kind: Kind
    is_null: bool = False
    values: tuple[str, ...] = ()
    parts: "tuple[Column, ...]" = ()


@cache
def columns(record: type[Record]) -> tuple[Column, ...]:
    """The columns of a record type, as its fields stand: the epoch first, and each number once."""
    told = inspect.type_info(record)
    if not isinstance(told, inspect.StructType):
        raise TypeError(f"{record} is no record")
    return (Column(EPOCH, "word"), *(_column(field.name, field.type) for field in told.fields))


def _column(name: str, told: inspect.Type) -> Column:
    is_null = False
    if isinstance(told, inspect.UnionType):
        is_null = any(isinstance(each, inspect.NoneType) for each in told.types)
        (told,) = (each for each in told.types if not isinstance(each, inspect.NoneType))
    kind = PLAIN[type(told)]
    if name in DECIMALS and kind == "text":
        kind = "number"
    elif kind == "text" and name in FEW:
        kind = "word"
    elif kind == "count" and (name.startswith("ts_") or name in TIMES):
        kind = "time"
    values = tuple(map(str, told.values)) if isinstance(told, inspect.LiteralType) else ()
    parts: tuple[Column, ...] = ()
    if isinstance(told, inspect.ListType) and isinstance(told.item_type, inspect.TupleType):
        types = told.item_type.item_types
        names = next(names for names in ROWS[name] if len(names) == len(types))
        parts = tuple(map(_column, names, types))
    return Column(name, kind, is_null, values, parts)


@cache
def stored(record: type[Record]) -> tuple[Column, ...]:
    """The columns of a table that keeps all of a record: each number as a double and as text, and the misfits."""
    return (*_twice(columns(record)), Column(MISFITS, "text", is_null=True))


def _twice(given: tuple[Column, ...]) -> tuple[Column, ...]:
    """The columns, with numbers as doubles, and behind them the texts of these; a text that is no number is null."""
    doubles = (Column(c.name, "measure", is_null=True) if c.kind == "number" else _within(c) for c in given)
    texts = (Column(c.name + TEXT, "text", c.is_null) for c in given if c.kind == "number")
    return (*doubles, *texts)


def _within(column: Column) -> Column:
    return Column(column.name, column.kind, column.is_null, column.values, _twice(column.parts))


def types_of(name: str) -> tuple[type[Record], ...]:
    """The record types that a channel carries, or the one of this name; empty: there is none."""
    from aggregator.records import CHANNEL_OF, DERIVED_OF

    of_channel = tuple(kind for kind, channel in {**CHANNEL_OF, **DERIVED_OF}.items() if channel == name)
    return of_channel or tuple(kind for kind in RECORD_TYPES if tag(kind) == name)


def tag(record: type[Record]) -> str:
    """The name of a record type."""
    return str(record.__struct_config__.tag)


TYPE_OF: dict[str, type[Record]] = {tag(kind): kind for kind in RECORD_TYPES}

# --- numbers

NUMBER = re.compile(r"[+-]?(?=\.?[0-9])[0-9]*(\.[0-9]*)?", re.ASCII)


def is_number(text: str) -> bool:
    """Tell whether a text is decimal digits, as numbers in records are."""
    return NUMBER.fullmatch(text) is not None


def are_plain(texts: Sequence[str], longest: int) -> bool:
    """Tell whether each of many texts is plain: digits, a point between some or none, and before them a minus or none.

    They are looked at as one text, in half the time that a pattern takes for each. What is not plain may be a number.
    No pattern of all of them serves: possessive ones, which are as fast, fit too much in Python 3.11.2 (gh-106052).

    longest: characters of each, at most
    """
    if max(map(len, texts), default=0) > longest or not (joined := ",".join(texts)).isascii():
        return False
    told = f",{joined},".encode().replace(b",-", b",")
    marks = told.translate(None, b"0123456789")  # a comma before and behind each number, and its point
    commas, points = marks.count(b","), marks.count(b".")
    if commas != len(texts) + 1 or commas + points != len(marks) or b".." in marks:
        return False
    return b",," not in told and b",." not in told and b".," not in told


class Decimals(Struct, frozen=True):
    """A decimal column: so many digits in all, and so many of them behind the point.

    What does not fit is refused by some (pyarrow), rounded by others (DuckDB, PostgreSQL) and cut by the rest
    (ClickHouse), the last two in silence: ask here first.
    """

    digits: int
    fraction: int

    def fits(self, text: str) -> bool:
        """Tell whether a number has room to its last digit; zeros at either end need none."""
        return _fitting(self.digits - self.fraction, self.fraction).fullmatch(text) is not None

    def fit(self, texts: Sequence[str]) -> bool:
        """Tell whether each of many numbers has room."""
        whole = self.digits - self.fraction
        return are_plain(texts, min(whole, self.fraction)) or all(map(_fitting(whole, self.fraction).fullmatch, texts))


WIDE = Decimals(38, 18)  # the widest that every database has


@cache
def _fitting(whole: int, fraction: int) -> re.Pattern[str]:
    return re.compile(rf"[+-]?(?=\.?[0-9])0*[0-9]{{0,{whole}}}(\.[0-9]{{0,{fraction}}}0*)?", re.ASCII)
