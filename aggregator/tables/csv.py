"""Records as CSV, in the folders of a tree of tables: a header, and the fields of one type as they stand in lines.

Numbers are the exchange's own digits and times are ns since the epoch, both as they came: nothing is rounded, and
nothing is there twice. A null is an empty field, an empty text is `""`. Lists are their JSON, as in NDJSON.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import zstandard
from msgspec import UNSET

from aggregator.records import Record
from aggregator.tables.columns import EPOCH, TYPE_OF, Column, columns
from aggregator.tables.tree import TableFile, TableForm

SUFFIX = ".csv"
ZST = ".zst"
LEVEL = 3  # zstd's own
IN_JSON = frozenset({"words", "rows", "json"})  # kinds of columns whose fields are JSON
TEXTUAL = frozenset({"text", "word", "number"})

_encode = msgspec.json.Encoder().encode
_to_quote = re.compile('[",\r\n]')


class CsvRows(msgspec.Struct, frozen=True):
    """Rows that are written: how many, and as bytes."""

    count: int
    lines: bytes


def header(record: type[Record]) -> str:
    """The first line of a type's files."""
    return ",".join(column.name for column in columns(record))


def to_rows(record: type[Record], records: Sequence[Record], epoch: str) -> CsvRows:
    """The rows of records of one type and epoch."""
    fields = [[_quoted(epoch)] * len(records)]
    for column, get in zip(columns(record)[1:], _getters(record), strict=True):
        fields.append(_fields(column, list(map(get, records))))
    lines = "\n".join(map(",".join, zip(*fields, strict=True)))
    return CsvRows(len(records), (lines + "\n").encode())


@cache
def _getters(record: type[Record]) -> tuple[Callable[[Record], Any], ...]:
    return tuple(attrgetter(column.name) for column in columns(record)[1:])


def _fields(column: Column, values: list[Any]) -> list[str]:
    """The fields of a column; most columns have one value, or none that needs quotes."""
    first = values[0]
    if values.count(first) == len(values):
        return [_field(column, first)] * len(values)
    if column.kind in TEXTUAL:
        if None not in values and "" not in values and not _to_quote.search("\0".join(values)):
            return values
        return ["" if value is None else _quoted(value) for value in values]
    return [_field(column, value) for value in values]


def _field(column: Column, value: Any) -> str:
    if value is None or value is UNSET:
        return ""
    if column.kind in TEXTUAL:
        return _quoted(value)
    if column.kind in IN_JSON:
        return _quoted(_encode(value).decode())
    if column.kind == "flag":
        return "true" if value else "false"
    return repr(value)  # an integer or a double, of which this is the shortest text that says it exactly


def _quoted(text: str) -> str:
    if text and not _to_quote.search(text):
        return text
    return '"' + text.replace('"', '""') + '"'


class CsvFile(TableFile):
    """One file, compressed as a single frame where its name ends so."""

    def __init__(self, path: Path, record: type[Record]) -> None:
        """Begin it with its header. Raises OSError."""
        super().__init__(path)
        self._out: Any = self._file
        if path.name.endswith(ZST):
            self._out = zstandard.ZstdCompressor(LEVEL).stream_writer(self._file, closefd=False)
        self._out.write(header(record).encode() + b"\n")

    def write(self, parts: Sequence[CsvRows]) -> None:
        """Add rows. Raises OSError."""
        for part in parts:
            self._out.write(part.lines)
            self.rows += part.count

    def _finish(self) -> None:
        if self._out is not self._file:
            self._out.close()


def csv_form(*, is_compressed: bool = False) -> TableForm:
    """CSV, plain or compressed by zstd."""
    suffixes = (SUFFIX, SUFFIX + ZST)
    return TableForm(suffixes[::-1] if is_compressed else suffixes, to_rows, CsvFile)


def is_csv(path: Path) -> bool:
    """Tell whether a file's name is that of a whole file of CSV."""
    return path.name.endswith((SUFFIX, SUFFIX + ZST)) and not path.name.startswith(".")


def type_of_file(path: Path, names: Sequence[str]) -> type[Record] | None:
    """The record type of a file whose header has these names, by that of its folder; null: it is none of ours."""
    told = [part.removeprefix("type=") for part in path.parts[:-1] if part.startswith("type=")]
    kind = TYPE_OF.get(told[-1]) if told else None
    known = {column.name for column in columns(kind)} if kind is not None else set()
    return kind if {EPOCH, "offset", "ts_recv"} <= known.intersection(names) else None
