"""The parts that frames of the WOO protocol share in its longer and its shorter words."""

from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from aggregator.records import Record

D = TypeVar("D")


class Row(Protocol):
    """The row of a frame about one symbol."""

    def record(self, at: int, /) -> Record | None:
        """The record that it is, given the time (ns) of its frame; None where it says nothing."""


class Frame(Struct, Generic[D], gc=False):
    ts: int  # milliseconds
    data: D


def perpetual_of(index: str) -> str:
    """The perpetual of an index, which is named as its spot pair."""
    return f"PERP_{index.removeprefix('SPOT_')}"


def index_of(perpetual: str) -> str:
    """The index of a perpetual."""
    return f"SPOT_{perpetual.removeprefix('PERP_')}"
