"""Records of every type with whatever a field may hold, hostile values among them; the same ones every time."""

import random
from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from aggregator.records import Record
from aggregator.tables.columns import Column, columns

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
        self._texts = [*TEXTS, *(ODD_TEXTS if is_odd else ())]
        self._numbers = [*NUMBERS, *(ODD_NUMBERS if is_odd else ())]
        self._times = [*TIMES, *(ODD_INTEGERS if is_odd else ()), *(INTEGERS if is_odd else ())]
        self._integers = [*INTEGERS, *(ODD_INTEGERS if is_odd else ())]

    def records(self, kind: type[Record], count: int) -> list[Record]:
        """Some records of a type."""
        return [self.record(kind) for _ in range(count)]

    def record(self, kind: type[Record]) -> Record:
        """A record of a type."""
        told = {column.name: self.value(column) for column in columns(kind)[1:]}
        return kind(**told | {"symbol": told["symbol"] or None})  # an empty one is what nobody has stamped yet

    def value(self, column: Column) -> Any:
        """Whatever a field may hold."""
        random = self._random
        if column.is_null and random.random() < 0.4:
            return None
        if column.kind == "rows":
            return [tuple(map(self.value, column.parts)) for _ in range(random.randrange(4))]
        choices: dict[str, Sequence[Any]] = {
            "number": [*self._numbers, f"{random.uniform(0, 1e6):.{random.randrange(18)}f}"],
            "time": [*self._times, NOW + random.randrange(10**15)],
            "count": [*self._integers, random.randrange(-(2**60), 2**60)],
            "measure": [0.0, -1.5, 1e300, random.random()],
            "flag": [False, True],
            "words": [UNSET, UNSET, ("late",), ("late", "bad_ts")],
            "json": [("20260102T030405.000000Z", 7, "tokyo/london"), ("", 2**62, "\U0001f600")],
            "word": column.values or self._texts,
            "text": self._texts,
        }
        return random.choice(choices[column.kind])
