"""Records as Arrow's record batches and back again, to the digit and the nanosecond. This needs pyarrow, and says so.

Batches are typed `Any` throughout: pyarrow may be absent where this is checked.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import accumulate, chain
from math import isinf
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, structs

from aggregator.records import SCHEMA, Record
from aggregator.tables.columns import EPOCH, MISFITS, TEXT, WIDEST, Column, columns, is_number, stored, tag
from aggregator.tables.extras import needed

NARROWEST = -WIDEST - 1
Misfits = dict[int, dict[str, Any]]  # by row: the fields that fit no column

_encode = msgspec.json.Encoder().encode
_decode: Callable[[str], dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode


def arrow() -> Any:
    """Pyarrow. Raises MissingPackage."""
    return needed("pyarrow")


@cache
def schema(record: type[Record]) -> Any:
    """The one schema of a record type's tables, wherever they are written. Raises MissingPackage."""
    fields = [arrow().field(c.name, _type(c)) for c in stored(record)]
    return arrow().schema(fields, metadata={"aggregator.type": tag(record), "aggregator.schema": str(SCHEMA)})


@cache
def _type(column: Column) -> Any:
    pa = arrow()
    if column.kind == "rows":
        return pa.list_(pa.struct([(part.name, _type(part)) for part in column.parts]))
    plain = {
        "text": pa.string(),
        "json": pa.string(),
        "word": pa.dictionary(pa.int32(), pa.string()),
        "time": pa.timestamp("ns", "UTC"),
        "count": pa.int64(),
        "measure": pa.float64(),
        "flag": pa.bool_(),
        "words": pa.list_(pa.string()),
    }
    return plain[column.kind]


# --- records to columns


def to_batch(record: type[Record], records: Sequence[Record], epoch: str | Sequence[str]) -> Any:
    """A record batch of records of one type, which are of one epoch, or of one each. Raises MissingPackage."""
    pa, whole = arrow(), schema(record)
    if not records:
        return pa.record_batch([pa.array([], field.type) for field in whole], schema=whole)
    misfits: Misfits = {}
    epochs = [epoch] * len(records) if isinstance(epoch, str) else epoch
    held = [epochs, *(list(map(get, records)) for get in _getters(record))]  # hot: quicker than a tuple of each
    arrays = _arrays(columns(record), whole, held, misfits)
    odd = [_encode(misfits[row]).decode() if row in misfits else None for row in range(len(records) if misfits else 0)]
    arrays.append(pa.array(odd, pa.string()) if odd else pa.nulls(len(records), pa.string()))
    return pa.record_batch(arrays, schema=whole)


@cache
def _getters(record: type[Record]) -> tuple[Callable[[Record], Any], ...]:
    return tuple(attrgetter(column.name) for column in columns(record)[1:])


def _arrays(
    parts: Sequence[Column], fields: Iterable[Any], held: Sequence[Sequence[Any]], misfits: Misfits
) -> list[Any]:
    """The arrays of columns, and behind them the texts of those that are numbers."""
    text = arrow().string()
    arrays, texts = [], []
    for column, field, values in zip(parts, fields, held, strict=False):  # the fields of the texts come behind
        if column.kind == "number":
            texts.append(arrow().array(values, text))
            arrays.append(_doubles(texts[-1]))
        else:
            arrays.append(_array(column, field.type, values, misfits))
    return [*arrays, *texts]


def _array(column: Column, form: Any, values: Sequence[Any], misfits: Misfits) -> Any:
    match column.kind:
        case "word":
            return _words(values)
        case "count" | "time":
            return _integers(column.name, values, misfits).view(form)
        case "json":
            return arrow().array([None if value is None else _encode(value).decode() for value in values], form)
        case "words":
            return _lists(values, form)
        case "rows":
            return _rows(column, form, values, misfits)
        case _:
            return arrow().array(values, form)


def _words(values: Sequence[str | None]) -> Any:
    """A dictionary of few texts, made here: Arrow would look at every text twice."""
    pa = arrow()
    known = dict.fromkeys(values)
    is_null = None in known
    known.pop(None, None)
    places: dict[str | None, int | None] = {word: at for at, word in enumerate(known)}
    if is_null:
        places[None] = None
    codes = pa.repeat(pa.scalar(next(iter(places.values())), pa.int32()), len(values)) if len(places) == 1 else None
    if codes is None:
        codes = pa.array(list(map(places.__getitem__, values)), pa.int32())
    return pa.DictionaryArray.from_arrays(codes, pa.array(list(known), pa.string()))


def _lists(values: Sequence[Any], form: Any) -> Any:
    """Lists of texts, which are empty in nearly every record."""
    pa = arrow()
    if set(values) == {UNSET}:
        ends = pa.repeat(pa.scalar(0, pa.int32()), len(values) + 1)
        return pa.ListArray.from_arrays(ends, pa.array([], pa.string()), type=form)
    return pa.array([() if value is UNSET else value for value in values], form)


def _integers(name: str, values: Sequence[int | None], misfits: Misfits) -> Any:
    form = arrow().int64()
    try:
        return arrow().array(values, form)
    except OverflowError:
        fitting = list(values)
        for row, value in enumerate(values):
            if value is not None and not NARROWEST <= value <= WIDEST:
                misfits.setdefault(row, {})[name] = value
                fitting[row] = None
        return arrow().array(fitting, form)


def _doubles(text: Any) -> Any:
    """The doubles nearest to numbers. A text that is no number, or too great for a double, is null."""
    compute, form = needed("pyarrow.compute"), arrow().float64()
    try:
        found = text.cast(form)
    except arrow().ArrowInvalid:
        found = None
    if found is not None and compute.all(compute.is_finite(found)).as_py() is not False:
        return found
    given = (float(each) if each is not None and is_number(each) else None for each in text.to_pylist())
    return arrow().array([None if each is None or isinf(each) else each for each in given], form)


def _rows(column: Column, form: Any, values: Sequence[Sequence[tuple[Any, ...]]], misfits: Misfits) -> Any:
    ends = list(accumulate(map(len, values)))
    # hot: all parts of all rows in a line, of which a column is every so many; `zip` of the rows takes far longer
    cells, wide = list(chain.from_iterable(chain.from_iterable(values))), len(column.parts)
    if len(cells) != wide * (ends[-1] if ends else 0):
        raise ValueError(f"a row of {column.name} has not {wide} parts")
    held = [cells[at::wide] for at in range(wide)]
    within: Misfits = {}
    fields = list(form.value_type)
    arrays = _arrays(column.parts, fields, held, within)
    for at in within:
        row = bisect_right(ends, at)
        misfits.setdefault(row, {})[column.name] = values[row]
    rows = arrow().StructArray.from_arrays(arrays, fields=fields)
    return arrow().ListArray.from_arrays(arrow().array([0, *ends], arrow().int32()), rows, type=form)


# --- columns to records


def to_records(record: type[Record], batch: Any) -> list[Record]:
    """The records of a batch or table of this schema; a column that it lacks holds the default."""
    there = set(batch.schema.names)
    names, held = [], []
    for column in columns(record):
        if column.name != EPOCH and column.name in there:
            names.append(column.name)
            held.append(_values(record, column, batch))
    made = [record(**dict(zip(names, row, strict=True))) for row in zip(*held, strict=True)]
    if MISFITS in there:
        _put_back(record, made, batch[MISFITS])
    return made


def _values(record: type[Record], column: Column, batch: Any) -> list[Any]:
    values = batch[column.name + TEXT if column.kind == "number" else column.name]
    match column.kind:
        case "time":
            return list(values.cast(arrow().int64()).to_pylist())
        case "json":
            types = {field.name: field.type for field in structs.fields(record)}
            return [
                each if each is None else msgspec.json.decode(each, type=types[column.name])
                for each in values.to_pylist()
            ]
        case "words":
            return [tuple(each) if each else UNSET for each in values.to_pylist()]
        case "rows":
            names = [part.name + TEXT if part.kind == "number" else part.name for part in column.parts]
            return [[tuple(row[name] for name in names) for row in rows] for rows in values.to_pylist()]
        case _:
            return list(values.to_pylist())


def _put_back(record: type[Record], made: Sequence[Record], misfits: Any) -> None:
    if misfits.null_count == len(misfits):
        return
    types = {field.name: field.type for field in structs.fields(record)}
    for each, odd in zip(made, misfits.to_pylist(), strict=True):
        for name, value in _decode(odd).items() if odd is not None else ():
            setattr(each, name, msgspec.convert(value, types[name]))
