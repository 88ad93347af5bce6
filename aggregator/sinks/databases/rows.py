"""A batch as tables take it: its records by type, and the values of their columns.

The columns are those of `aggregator.tables.columns`. What is alike for every database is said once here: which values
a column takes, what stands in `misfits`, and which records hold a number that a decimal column has no room for.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from aggregator.bus.bus import Batch
from aggregator.records import Record
from aggregator.sinks.sink import Refused
from aggregator.tables.columns import EPOCH, MISFITS, WIDEST, Column, Decimals, columns

NARROWEST = -WIDEST - 1
MOST_REASONS = 5  # so many stand beside the records of one batch

Getter = tuple[Column, Callable[[Record], Any]]  # a column, and what reads it

_encode = msgspec.json.Encoder().encode


class Part(Struct, frozen=True):
    """The records of one type within a batch, in their order.

    which: their positions in it
    """

    record: type[Record]
    which: list[int]
    records: list[Record]
    epoch: str


def parts_of(batch: Batch, left_out: frozenset[int] = frozenset()) -> list[Part]:
    """The parts of a batch, without the records at some positions."""
    if not left_out and len({*map(type, batch.records)}) == 1:  # hot: mostly it is so
        return [Part(type(batch.records[0]), list(range(len(batch))), batch.records, batch.epoch)]
    found: dict[type[Record], Part] = {}
    for at, record in enumerate(batch.records):
        if at in left_out:
            continue
        part = found.get(type(record))
        if part is None:
            part = found[type(record)] = Part(type(record), [], [], batch.epoch)
        part.which.append(at)
        part.records.append(record)
    return list(found.values())


def values_of(part: Part, wanted: Sequence[Getter] | None = None) -> tuple[list[Sequence[Any]], list[str | None]]:
    """The values of each of the columns, in their order, or of those that are wanted; and what stands in `misfits`.

    Numbers are text, times and counts integers of 64 bits, rows lists of tuples; an integer that is larger is null.
    """
    misfits: dict[int, dict[str, Any]] = {}
    found: list[Sequence[Any]] = [[part.epoch] * len(part.records)] if wanted is None else []
    for column, get in getters(part.record) if wanted is None else wanted:
        values = list(map(get, part.records))
        if column.kind in {"time", "count"}:
            values = _integers(column.name, values, misfits)
        elif column.kind == "words":
            values = [list(value) if value else [] for value in values] if any(values) else [[]] * len(values)
        elif column.kind == "json":
            values = [None if value is None else as_json(value) for value in values]
        elif column.kind == "rows" and any(each.kind == "count" for each in column.parts):
            values = _small(column, values, misfits)
        found.append(values)
    odd = [as_json(misfits[at]) if at in misfits else None for at in range(len(part.records))] if misfits else []
    return found, odd or [None] * len(part.records)


def kept(record: type[Record]) -> tuple[Column, ...]:
    """The columns of a table in which a number stands once, as its decimals keep every digit; misfits are the last."""
    return (*columns(record), Column(MISFITS, "json", is_null=True))


@cache
def getters(record: type[Record]) -> tuple[Getter, ...]:
    """Each column of a type but the epoch, and what reads it."""
    return tuple((column, attrgetter(column.name)) for column in columns(record) if column.name != EPOCH)


def as_json(value: object) -> str:
    """A value as JSON."""
    return _encode(value).decode()


def are_null(values: Sequence[Any]) -> bool:
    """Tell whether every value of a column is null; there is at least one."""
    return values[0] is None and values.count(None) == len(values)


def _integers(name: str, values: list[Any], misfits: dict[int, dict[str, Any]]) -> list[Any]:
    if are_null(values):
        return values
    there = [value for value in values if value is not None] if None in values else values
    if not there or (max(there) <= WIDEST and min(there) >= NARROWEST):
        return values
    for at, value in enumerate(values):
        if value is not None and not NARROWEST <= value <= WIDEST:
            misfits.setdefault(at, {})[name] = value
            values[at] = None
    return values


def _small(column: Column, values: list[Any], misfits: dict[int, dict[str, Any]]) -> list[Any]:
    """Rows with integers, of which one that is too large is null."""
    counts = [at for at, part in enumerate(column.parts) if part.kind == "count"]
    for at, rows in enumerate(values):
        if any(row[count] is not None and abs(row[count]) > WIDEST for row in rows for count in counts):
            misfits.setdefault(at, {})[column.name] = rows
            values[at] = [
                tuple(None if where in counts and abs(each or 0) > WIDEST else each for where, each in enumerate(row))
                for row in rows
            ]
    return values


def misfitting(batch: Batch, decimals: Decimals) -> dict[int, str]:
    """The positions of records of which a number has no room in a decimal column, or is none; and the reason."""
    found: dict[int, str] = {}
    for part in parts_of(batch):
        last: list[Any] = []
        for column, get in getters(part.record):
            if column.kind != "number":
                continue
            values = list(map(get, part.records))
            if values == last:  # hot: a size is often the size in the base currency
                continue
            last = values
            there = [value for value in values if value is not None] if None in values else values
            if not there or decimals.fit(there):  # hot: mostly they do
                continue
            for at, value in zip(part.which, values, strict=True):
                if value is not None and not decimals.fits(value):
                    found.setdefault(at, _reason(column.name, value, decimals))
    return found


def _reason(name: str, value: str, decimals: Decimals) -> str:
    shown = value if len(value) <= 60 else f"{value[:60]}…"
    whole = decimals.digits - decimals.fraction
    return f"{name} {shown!r} has no room in {whole} digits and {decimals.fraction} behind the point, or is no number"


def refusal(found: Mapping[int, str]) -> Refused:
    """The refusal of records at these positions; all others of their batch were taken. It has the first few reasons."""
    reasons = list(dict.fromkeys(found.values()))
    more = f"; and {len(reasons) - MOST_REASONS} others" if len(reasons) > MOST_REASONS else ""
    return Refused("; or ".join(reasons[:MOST_REASONS]) + more, found)
