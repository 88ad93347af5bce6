"""Records gathered into frames of polars, pandas or pyarrow: a frame for each type of record.

Nothing is inferred from values, so that each type has the same columns in every batch. Times are UTC to the nanosecond.
Numbers are text unless another kind is asked for, and one that does not fit is an error: the libraries round it.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import partial
from importlib import import_module
from typing import Any, Literal, get_args

import msgspec
from msgspec import UNSET

from aggregator.client.conversation import Conversation
from aggregator.client.errors import FeedError
from aggregator.records import DURATIONS, RECORD_TYPES, SECOND_NS, Record, duration_ns
from aggregator.tables.columns import WIDEST, Column, Decimals, columns, is_number

Library = Literal["polars", "pandas", "pyarrow"]
FrameNumbers = Literal["text", "decimal", "float"]
Fits = Callable[[str], bool]

MOST_RECORDS = 100_000  # in one batch: it is given before its time

EXACT = Decimals(37, 18)  # so many digits leave room for `price * size` in each library


class Gathering:
    """Records of one interval, until they are taken as frames."""

    def __init__(self, every: str | float, to: Library, numbers: FrameNumbers) -> None:
        """Gather for so long, for a library. Raises FeedError for what is not to be had."""
        if to not in get_args(Library):
            raise FeedError(f"frames of {to!r}: there are those of {', '.join(get_args(Library))}")
        if numbers not in get_args(FrameNumbers):
            raise FeedError(f"numbers as {numbers!r}: there are {', '.join(get_args(FrameNumbers))}")
        try:
            library = import_module(to)
        except ImportError:
            raise FeedError(f"frames of {to} need the package {to}: pip install {to}, or the extra `frames`") from None
        self._every = seconds(every)
        is_bounded = numbers == "decimal" and to != "pandas"
        self._fits: Fits | None = None if numbers == "text" else EXACT.fits if is_bounded else is_number
        self._frame: Callable[[Columns], Any] = partial(FRAMES[to], library, numbers)
        self._gathered: dict[type[Record], tuple[list[Record], list[str]]] = {}
        self._count = 0
        self.due: float | None = None  # when the frames are to be given; null while there is nothing

    def add(self, record: Record, epoch: str, now: float) -> None:
        """Add a record, published in a life of the daemon; `now` in seconds of any clock."""
        if self.due is None:
            self.due = now + self._every
        records, epochs = self._gathered.setdefault(type(record), ([], []))
        records.append(record)
        epochs.append(epoch)
        self._count += 1

    def add_all(self, talk: Conversation, clock: Callable[[], float]) -> None:
        """Add the records that are here, until the frames are due; `clock` gives seconds."""
        while talk.has_line:
            self.add(talk.take_record()[0], talk.epoch, clock())
            if self.is_due(clock()):
                return

    def is_due(self, now: float) -> bool:
        """Tell whether the frames are to be given."""
        return self.due is not None and (now >= self.due or self._count >= MOST_RECORDS)

    def take(self) -> dict[str, Any]:
        """The frames, one for each type that has come. Raises FeedError for a number that does not fit."""
        gathered, self._gathered, self._count, self.due = self._gathered, {}, 0, None
        found = {}
        for kind in RECORD_TYPES:
            if kind in gathered:
                data = _columns(kind, *gathered[kind])
                if self._fits is not None:
                    _check(data, self._fits)
                found[str(kind.__struct_config__.tag)] = self._frame(data)
        return found


Columns = list[tuple[Column, list[Any]]]


def seconds(every: str | float) -> float:
    """The seconds of an interval. Raises FeedError where it is none."""
    length = (duration_ns(every) or 0) / SECOND_NS if isinstance(every, str) else float(every)
    if not 0 < length < float("inf"):
        raise FeedError(f"every={every!r:.40} is no interval: write seconds, or text like {DURATIONS}")
    return length


def _columns(kind: type[Record], records: Sequence[Record], epochs: list[str]) -> Columns:
    found: Columns = []
    for at, column in enumerate(columns(kind)):
        name = column.name
        values: list[Any] = [getattr(record, name) for record in records] if at else [*epochs]
        if column.kind == "json":
            values = [value and msgspec.json.encode(value).decode() for value in values]
        elif column.kind == "words":
            values = [[] if value is UNSET else list(value) for value in values]
        elif column.kind in {"count", "time"}:
            for record, value in zip(records, values, strict=True):
                if value is not None and abs(value) > WIDEST:
                    raise FeedError(f"{name} {value} of {record.exchange} {record.raw_symbol} has more than 64 bits")
        found.append((column, values))
    return found


def _check(data: Columns, fits: Fits) -> None:
    """Make sure that every number is one, and that none would be rounded. Raises FeedError."""
    for column, values in data:
        if column.kind == "number":
            _fitting(values, column.name, fits)
        for at, part in enumerate(column.parts):
            if part.kind == "number":
                _fitting((row[at] for rows in values for row in rows), f"a {part.name} of {column.name}", fits)


def _fitting(values: Iterable[str | None], name: str, fits: Fits) -> None:
    for value in values:
        if value is None or fits(value):
            continue
        if not is_number(value):
            raise FeedError(f"{name} {value!r:.60} is no number; take numbers='text'")
        most = f"{EXACT.digits - EXACT.fraction} digits before the point and {EXACT.fraction} behind it"
        raise FeedError(f"{name} {value:.60} fits no decimal column, which has {most}; take numbers='text' or 'float'")


# --- the libraries


def _polars(pl: Any, numbers: FrameNumbers, data: Columns) -> Any:
    number = {"text": pl.String, "decimal": pl.Decimal(EXACT.digits + 1, EXACT.fraction), "float": pl.Float64}[numbers]
    plain = {
        "text": pl.String,
        "word": pl.String,
        "json": pl.String,
        "count": pl.Int64,
        "measure": pl.Float64,
        "flag": pl.Boolean,
        "words": pl.List(pl.String),
    }

    def nested(column: Column, inner: Any) -> Any:
        parts = {part.name: inner if part.kind == "number" else plain[part.kind] for part in column.parts}
        return pl.List(pl.Struct(parts))

    def series(column: Column, values: list[Any]) -> Any:
        if column.kind == "number":
            return pl.Series(column.name, values, dtype=pl.String).cast(number)
        if column.kind == "time":
            return pl.Series(column.name, values, dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))
        if column.kind == "rows":
            rows = [[dict(_parts(column, row, str)) for row in rows] for rows in values]
            return pl.Series(column.name, rows, dtype=nested(column, pl.String)).cast(nested(column, number))
        return pl.Series(column.name, values, dtype=plain[column.kind])

    return pl.DataFrame([series(*held) for held in data])


def _pyarrow(pa: Any, numbers: FrameNumbers, data: Columns) -> Any:
    # The product of two columns has the digits of both: 256 bits have room for it, and 128 would not.
    exact = pa.decimal256(EXACT.digits, EXACT.fraction)
    number = {"text": pa.string(), "decimal": exact, "float": pa.float64()}[numbers]
    convert = CONVERT[numbers]
    plain = {
        "text": pa.string(),
        "word": pa.string(),
        "json": pa.string(),
        "time": pa.timestamp("ns", "UTC"),
        "count": pa.int64(),
        "measure": pa.float64(),
        "flag": pa.bool_(),
        "words": pa.list_(pa.string()),
    }

    def array(column: Column, values: list[Any]) -> Any:
        if column.kind == "number":
            return pa.array([None if value is None else convert(value) for value in values], number)
        if column.kind == "rows":
            parts = [(part.name, number if part.kind == "number" else plain[part.kind]) for part in column.parts]
            rows = [[dict(_parts(column, row, convert)) for row in rows] for rows in values]
            return pa.array(rows, pa.list_(pa.struct(parts)))
        return pa.array(values, plain[column.kind])

    return pa.table({column.name: array(column, values) for column, values in data})


def _pandas(pd: Any, numbers: FrameNumbers, data: Columns) -> Any:
    # Exact numbers are objects of Python: the library has no decimals of its own.
    number = {"text": "string", "decimal": "object", "float": "Float64"}[numbers]
    convert = CONVERT[numbers]
    plain = {
        "text": "string",
        "word": "string",
        "json": "string",
        "count": "Int64",
        "measure": "Float64",
        "flag": "boolean",
        "words": "object",
    }

    def series(column: Column, values: list[Any]) -> Any:
        if column.kind == "number":
            return pd.Series([None if value is None else convert(value) for value in values], dtype=number)
        if column.kind == "time":
            return pd.Series(pd.to_datetime(pd.Series(values, dtype="Int64"), unit="ns", utc=True))
        if column.kind == "rows":
            rows = [[tuple(value for _, value in _parts(column, row, convert)) for row in rows] for rows in values]
            return pd.Series(rows, dtype="object")
        return pd.Series(values, dtype=plain[column.kind])

    return pd.DataFrame({column.name: series(column, values) for column, values in data})


def _parts(column: Column, row: tuple[Any, ...], convert: Callable[[str], Any]) -> Iterable[tuple[str, Any]]:
    for part, value in zip(column.parts, row, strict=True):
        yield part.name, convert(value) if part.kind == "number" and value is not None else value


CONVERT: dict[FrameNumbers, Callable[[str], Any]] = {"text": str, "decimal": Decimal, "float": float}
FRAMES: dict[Library, Callable[[Any, FrameNumbers, Columns], Any]] = {
    "polars": _polars,
    "pandas": _pandas,
    "pyarrow": _pyarrow,
}
