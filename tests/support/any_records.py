"""Records of every type with whatever a field may hold, hostile values among them; the same ones every time."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET

from aggregator.records import Record
from aggregator.tables.columns import Column, Kind, columns

NOW = 1_795_000_000_000_000_777
TEXTS = ["", "../x", "BTC/USDT:USDT", ".BXBT", "\U0001f600", "'; drop", "%2E", "x" * 300, "null", "NaN", '"\\', "\n"]
NUMBERS = [
    "0", "0.35130000", "0.1234567890123456789", "0.0000000000001", "12345678901234567890123456789", "-0.5", "+1", "5.",
    "100000000000000000000000000.000000000000000001", ".5", "1.10", "1.1", "60424.45", "0.00250000", "-0.00",
]  # fmt: skip
TIMES = [0, 1, NOW, NOW + 1, 1_795_046_399_999_999_999, 4 * 10**18]
INTEGERS = [0, 1, -1, NOW, NOW + 1, 2**62, 2**63 - 1, -(2**63) + 1]
# What no exchange should say, and a table takes all the same.
ODD_TEXTS = ["a\x00b"]
ODD_NUMBERS = ["NaN", "inf", "", "1,5", "abc", "9" * 400, "1e5"]
ODD_INTEGERS = [2**63, -(2**63), 2**64 + 1, -(2**70)]


class Some:
    """Makes records; `is_odd`: also such as no exchange should send."""

    def __init__(self, seed: int = 1, *, is_odd: bool = False) -> None:
        self._random = random.Random(seed)
        draw = self._random.random
        texts = [*TEXTS, *(ODD_TEXTS if is_odd else ())]
        numbers = [*NUMBERS, *(ODD_NUMBERS if is_odd else ())]
        times = [*TIMES, *(ODD_INTEGERS if is_odd else ()), *(INTEGERS if is_odd else ())]
        integers = [*INTEGERS, *(ODD_INTEGERS if is_odd else ())]
        self._values: dict[Kind, Callable[[Column], Any]] = {
            "number": lambda _: self._one_of(numbers, lambda: f"{draw() * 1e6:.{int(draw() * 18)}f}"),
            "time": lambda _: self._one_of(times, lambda: NOW + self._random.getrandbits(49)),
            "count": lambda _: self._one_of(integers, lambda: self._random.getrandbits(61) - 2**60),
            "measure": lambda _: self._one_of([0.0, -1.5, 1e300], draw),
            "flag": lambda _: draw() < 0.5,
            "words": lambda _: self._one_of([UNSET, UNSET, ("late",), ("late", "bad_ts")]),
            "json": lambda _: self._one_of([("20260102T030405.000000Z", 7, "tokyo/london"), ("", 2**62, "\U0001f600")]),
            "word": lambda column: self._one_of(column.values or texts),
            "text": lambda _: self._one_of(texts),
            "rows": lambda column: [tuple(map(self.value, column.parts)) for _ in range(int(draw() * 4))],
        }

    def records(self, kind: type[Record], count: int) -> list[Record]:
        """Some records of a type."""
        return [self.record(kind) for _ in range(count)]

    def record(self, kind: type[Record]) -> Record:
        """A record of a type."""
        told = {column.name: self.value(column) for column in columns(kind)[1:]}
        return kind(**told | {"symbol": told["symbol"] or None})  # an empty one is what nobody has stamped yet

    def value(self, column: Column) -> Any:
        """Whatever a field may hold."""
        if column.is_null and self._random.random() < 0.4:
            return None
        return self._values[column.kind](column)

    def _one_of(self, known: Sequence[Any], make: Callable[[], Any] | None = None) -> Any:
        """One of these values, or as rarely as each of them a new one."""
        at = int(self._random.random() * (len(known) + (make is not None)))
        return known[at] if at < len(known) or make is None else make()
