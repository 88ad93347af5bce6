"""Records gathered into frames of polars, pandas or pyarrow: a frame for each type of record.

Nothing is inferred from values, so that each type has the same columns in every batch. Times are UTC to the nanosecond.
Numbers are text unless another kind is asked for, and one that does not fit is an error: the libraries round it.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import cache, partial
from importlib import import_module
from typing import Any, Literal, get_args

import msgspec
from msgspec import UNSET, inspect

from aggregator.client.conversation import Conversation, FeedError
from aggregator.records import DECIMALS, RECORD_TYPES, TIMES, Record

Library = Literal["polars", "pandas", "pyarrow"]
FrameNumbers = Literal["text", "decimal", "float"]
Kind = Literal["text", "number", "time", "count", "measure", "flag", "texts", "levels", "orders"]

MOST_RECORDS = 100_000  # in one batch: it is given before its time

FRACTION_DIGITS, WHOLE_DIGITS = 18, 19  # so many leave room for `price * size` in each library
FITTING = re.compile(rf"[+-]?(?=\.?[0-9])0*[0-9]{{0,{WHOLE_DIGITS}}}(\.[0-9]{{0,{FRACTION_DIGITS}}}0*)?")
NUMBER = re.compile(r"[+-]?(?=\.?[0-9])[0-9]*(\.[0-9]*)?")
INTERVAL = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
WIDEST = 2**63 - 1


@cache
def columns(kind: type[Record]) -> dict[str, Kind]:
    """The columns of a type of record, in order, and the kind of each. `epoch` is beside the fields."""
    told = inspect.type_info(kind)
    if not isinstance(told, inspect.StructType):
        raise TypeError(f"{kind} is no record")
    found: dict[str, Kind] = {"epoch": "text"}
    return found | {field.name: _kind(field.name, field.type) for field in told.fields}


def _kind(name: str, told: inspect.Type) -> Kind:
    if isinstance(told, inspect.UnionType):
        (told,) = (each for each in told.types if not isinstance(each, inspect.NoneType))
    if isinstance(told, inspect.StrType) and name in DECIMALS:
        return "number"
    if isinstance(told, inspect.IntType) and (name.startswith("ts_") or name in TIMES):
        return "time"
    if isinstance(told, inspect.ListType) and isinstance(told.item_type, inspect.TupleType):
        return "levels" if len(told.item_type.item_types) == len(PARTS["levels"]) else "orders"
    return PLAIN.get(type(told), "text")


PLAIN: dict[type[inspect.Type], Kind] = {
    inspect.IntType: "count",
    inspect.FloatType: "measure",
    inspect.BoolType: "flag",
    inspect.VarTupleType: "texts",
}
PARTS: dict[Kind, tuple[str, ...]] = {"levels": ("price", "size"), "orders": ("id", "price", "size")}
TEXTS = {"id"}  # parts that are no numbers


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
        self._form = None if numbers == "text" else FITTING if numbers == "decimal" and to != "pandas" else NUMBER
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
                if self._form is not None:
                    _check(data, self._form)
                found[str(kind.__struct_config__.tag)] = self._frame(data)
        return found


Columns = dict[str, tuple[Kind, list[Any]]]


def seconds(every: str | float) -> float:
    """The seconds of an interval. Raises FeedError where it is none."""
    found = INTERVAL.fullmatch(every) if isinstance(every, str) else None
    length = float(found[1]) * SECONDS[found[2]] if found else 0.0 if isinstance(every, str) else float(every)
    if not 0 < length < float("inf"):
        raise FeedError(f"every={every!r:.40} is no interval: write seconds, or text like '250ms', '1s', '5m', '1h'")
    return length


def _columns(kind: type[Record], records: Sequence[Record], epochs: list[str]) -> Columns:
    found: Columns = {}
    for name, what in columns(kind).items():
        values: list[Any] = [*epochs] if name == "epoch" else [getattr(record, name) for record in records]
        if name == "upstream":  # a column has one kind of value: what it is in JSON is its text
            values = [value and msgspec.json.encode(value).decode() for value in values]
        if what == "texts":
            values = [[] if value is UNSET else list(value) for value in values]
        elif what in {"count", "time"}:
            for record, value in zip(records, values, strict=True):
                if value is not None and abs(value) > WIDEST:
                    raise FeedError(f"{name} {value} of {record.exchange} {record.raw_symbol} has more than 64 bits")
        found[name] = what, values
    return found


def _check(data: Columns, form: re.Pattern[str]) -> None:
    """Make sure that every number is one, and that none would be rounded. Raises FeedError."""
    for name, (kind, values) in data.items():
        if kind == "number":
            _fitting(values, name, form)
        elif kind in PARTS:
            for at, part in enumerate(PARTS[kind]):
                if part not in TEXTS:
                    _fitting((level[at] for side in values for level in side), f"a {part} of {name}", form)


def _fitting(values: Iterable[str | None], name: str, form: re.Pattern[str]) -> None:
    for value in values:
        if value is None or form.fullmatch(value):
            continue
        if form is NUMBER or not NUMBER.fullmatch(value):
            raise FeedError(f"{name} {value!r:.60} is no number; take numbers='text'")
        most = f"{WHOLE_DIGITS} digits before the point and {FRACTION_DIGITS} behind it"
        raise FeedError(f"{name} {value:.60} fits no decimal column, which has {most}; take numbers='text' or 'float'")


# --- the libraries


def _polars(pl: Any, numbers: FrameNumbers, data: Columns) -> Any:
    number = {"text": pl.String, "decimal": pl.Decimal(38, FRACTION_DIGITS), "float": pl.Float64}[numbers]

    def nested(kind: Kind, inner: Any) -> Any:
        return pl.List(pl.Struct({part: pl.String if part in TEXTS else inner for part in PARTS[kind]}))

    plain = {
        "text": pl.String,
        "count": pl.Int64,
        "measure": pl.Float64,
        "flag": pl.Boolean,
        "texts": pl.List(pl.String),
    }

    def column(name: str, kind: Kind, values: list[Any]) -> Any:
        if kind == "number":
            return pl.Series(name, values, dtype=pl.String).cast(number)
        if kind == "time":
            return pl.Series(name, values, dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))
        if kind in PARTS:
            rows = [[dict(zip(PARTS[kind], level, strict=True)) for level in side] for side in values]
            return pl.Series(name, rows, dtype=nested(kind, pl.String)).cast(nested(kind, number))
        return pl.Series(name, values, dtype=plain[kind])

    return pl.DataFrame([column(name, *held) for name, held in data.items()])


def _pyarrow(pa: Any, numbers: FrameNumbers, data: Columns) -> Any:
    # The product of two columns has the digits of both: 256 bits have room for it, and 128 would not.
    exact = pa.decimal256(WHOLE_DIGITS + FRACTION_DIGITS, FRACTION_DIGITS)
    number = {"text": pa.string(), "decimal": exact, "float": pa.float64()}[numbers]
    convert = CONVERT[numbers]
    plain = {
        "text": pa.string(),
        "time": pa.timestamp("ns", "UTC"),
        "count": pa.int64(),
        "measure": pa.float64(),
        "flag": pa.bool_(),
        "texts": pa.list_(pa.string()),
    }

    def column(kind: Kind, values: list[Any]) -> Any:
        if kind == "number":
            return pa.array([None if value is None else convert(value) for value in values], number)
        if kind in PARTS:
            parts = [(part, pa.string() if part in TEXTS else number) for part in PARTS[kind]]
            rows = [[dict(_level(kind, level, convert)) for level in side] for side in values]
            return pa.array(rows, pa.list_(pa.struct(parts)))
        return pa.array(values, plain[kind])

    return pa.table({name: column(*held) for name, held in data.items()})


def _pandas(pd: Any, numbers: FrameNumbers, data: Columns) -> Any:
    # Exact numbers are objects of Python: the library has no decimals of its own.
    number = {"text": "string", "decimal": "object", "float": "Float64"}[numbers]
    convert = CONVERT[numbers]
    plain = {"text": "string", "count": "Int64", "measure": "Float64", "flag": "boolean", "texts": "object"}

    def column(kind: Kind, values: list[Any]) -> Any:
        if kind == "number":
            return pd.Series([None if value is None else convert(value) for value in values], dtype=number)
        if kind == "time":
            return pd.Series(pd.to_datetime(pd.Series(values, dtype="Int64"), unit="ns", utc=True))
        if kind in PARTS:
            rows = [[tuple(value for _, value in _level(kind, level, convert)) for level in side] for side in values]
            return pd.Series(rows, dtype="object")
        return pd.Series(values, dtype=plain[kind])

    return pd.DataFrame({name: column(*held) for name, held in data.items()})


def _level(kind: Kind, level: tuple[str, ...], convert: Callable[[str], Any]) -> Iterable[tuple[str, Any]]:
    for part, value in zip(PARTS[kind], level, strict=True):
        yield part, value if part in TEXTS else convert(value)


CONVERT: dict[FrameNumbers, Callable[[str], Any]] = {"text": str, "decimal": Decimal, "float": float}
FRAMES: dict[Library, Callable[[Any, FrameNumbers, Columns], Any]] = {
    "polars": _polars,
    "pandas": _pandas,
    "pyarrow": _pyarrow,
}
