"""Records written otherwise than the stream does: numbers as JSON numbers, times in other units."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from math import isfinite
from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

from aggregator.bus.bus import encode_lines
from aggregator.feed.protocol import Numbers, Time
from aggregator.records import SECOND_NS, Levels, Record

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")  # JSON takes such a number as it stands
LEVELS = ("bids", "asks")
# fmt: off
DECIMALS = frozenset({
    "price", "size", "base_size", "quote_size", "bid_floor", "ask_cap", "bid_price", "bid_size", "ask_price",
    "ask_size", "last", "open", "high", "low", "close", "base_volume", "quote_volume", "vwap", "change", "rate",
    "quote_value", "mark_price", "mark_iv", "bid_iv", "ask_iv", "delta", "gamma", "vega", "theta", "rho",
    "underlying_price", "open_interest", "contract_size", "tick_size", "lot_size", "min_size", "max_size",
    "min_notional", "strike", "contract_volume",
})
# fmt: on
TIMES = frozenset({"expiry", "valid_from"})  # and what begins with ts_
DIVISORS = {"us": 1_000, "ms": 1_000_000}

Row = dict[str, Any]  # a record's fields as they are written
_encode_rows = msgspec.json.Encoder().encode_lines


class Options(Struct, frozen=True):
    """How one subscriber wants its records written."""

    numbers: Numbers = "text"
    time: Time = "ns"


PLAIN = Options()


def encode(records: Sequence[Record], options: Options) -> bytes:
    """The records as lines, as the options say; numbers keep their digits."""
    if options == PLAIN:
        return encode_lines(records)
    return _encode_rows([_row(record, options) for record in records])


def _row(record: Record, options: Options) -> Row:
    row: Row = {"type": record.__struct_config__.tag, **structs.asdict(record)}
    if not record.flags:
        del row["flags"]
    times, decimals, has_levels = _fields(type(record))
    if options.time != "ns":
        for name in times:
            row[name] = _time(row[name], options.time)
    if options.numbers == "float":
        for name in decimals:
            row[name] = _number(row[name])
        for name in LEVELS if has_levels else ():
            row[name] = _levels(row[name])
    return row


@cache
def _fields(kind: type[Record]) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    names = kind.__struct_fields__
    times = tuple(name for name in names if name.startswith("ts_") or name in TIMES)
    return times, tuple(name for name in names if name in DECIMALS), LEVELS[0] in names


def _time(ns: int | None, unit: Time) -> int | str | None:
    if ns is None:
        return None
    if unit in DIVISORS:
        return ns // DIVISORS[unit]
    try:
        return f"{datetime.fromtimestamp(ns // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%S}.{ns % SECOND_NS:09d}Z"
    except (ValueError, OverflowError, OSError):
        return ns  # outside of the calendar


def _number(text: str | float | None) -> Raw | str | float | None:
    if not isinstance(text, str):
        return text
    if NUMBER.fullmatch(text):
        return Raw(text)
    try:
        value = float(text)
    except ValueError:
        return text
    return value if isfinite(value) else text


def _levels(levels: Levels) -> list[tuple[object, object]]:
    return [(_number(price), _number(size)) for price, size in levels]
