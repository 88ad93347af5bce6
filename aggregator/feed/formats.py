"""Records written otherwise than the stream does: in MessagePack, as arrays, with numbers and times of other kinds."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from math import isfinite
from typing import Any

import msgspec
from msgspec import Raw, Struct

from aggregator.bus.bus import encode_lines
from aggregator.feed.protocol import Encoding, Hello, Layout, Notice, Numbers, Reply, Schema, Time
from aggregator.records import DECIMALS, RECORD_TYPES, SECOND_NS, TIMES, Consolidated, Gap, Health, Lag, Record

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")  # JSON takes such a number as it stands
LEVELS = ("bids", "asks")
PRICED = 3  # columns of a contributor before its prices and sizes
WHOLE = (Gap, Health, Lag)  # these keep every field whatever a reader chose: a hole must say where it is, and of what
DIVISORS = {"us": 1_000, "ms": 1_000_000}

LENGTH_BYTES = 4  # before each message in MessagePack: how long it is, the largest byte first

Row = dict[str, Any]  # a record's fields as they are written
_encode_rows = msgspec.json.Encoder().encode_lines
_json = msgspec.json.Encoder().encode
_msgpack = msgspec.msgpack.Encoder().encode


class Options(Struct, frozen=True):
    """How one subscriber wants its records written.

    fields: only these, beside `type`, but for records that tell of a hole; empty: all
    """

    numbers: Numbers = "text"
    time: Time = "ns"
    encoding: Encoding = "json"
    layout: Layout = "object"
    fields: tuple[str, ...] = ()

    @property
    def is_verbatim(self) -> bool:
        """Tell whether a record's fields stand as they are in the struct."""
        return (self.numbers, self.time, self.layout, self.fields) == ("text", "ns", "object", ())


PLAIN = Options()


def encode(records: Sequence[Record], options: Options) -> bytes:
    """The records one behind the other, as the options say; numbers keep their digits in JSON."""
    if options == PLAIN:
        return encode_lines(records)
    shown = records if options.is_verbatim else [_shown(record, options) for record in records]
    if options.encoding == "json":
        return _encode_rows(shown)
    return b"".join([_measured(_packed(each)) for each in shown])


def encode_message(message: Hello | Reply | Schema | Notice, options: Options = PLAIN) -> bytes:
    """A message of the feed itself: an object in every layout."""
    return _json(message) + b"\n" if options.encoding == "json" else _measured(_packed(message))


def pieces(data: bytes, options: Options) -> list[bytes]:
    """Records that were encoded together, one by one."""
    if options.encoding == "json":
        return data.splitlines(keepends=True)
    found: list[bytes] = []
    start = 0
    while start < len(data):
        end = start + LENGTH_BYTES + int.from_bytes(data[start : start + LENGTH_BYTES], "big")
        found.append(data[start:end])
        start = end
    return found


def _packed(shown: Struct | Row | list[object]) -> bytes:
    """A record or a message in MessagePack, which has no integers of more than 64 bits: such a one is given as text."""
    try:
        return _msgpack(shown)
    except OverflowError:
        row = msgspec.to_builtins(shown)
        if isinstance(row, list):
            return _msgpack([_narrow(value) for value in row])
        return _msgpack({name: _narrow(value) for name, value in row.items()})


def _narrow(value: object) -> object:
    return str(value) if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64 else value


def _measured(payload: bytes) -> bytes:
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


def schema(fields: Sequence[str]) -> Schema:
    """The order of the fields of every type, for records as arrays."""
    return Schema({str(kind.__struct_config__.tag): list(_order(kind, tuple(fields))) for kind in RECORD_TYPES})


def _shown(record: Record, options: Options) -> Row | list[object]:
    row = _row(record, options)
    if options.layout == "array":
        return [row.get(name) for name in _order(type(record), options.fields)]
    if options.fields and not isinstance(record, WHOLE):
        return {name: value for name, value in row.items() if name == "type" or name in options.fields}
    return row


@cache
def _order(kind: type[Record], fields: tuple[str, ...]) -> tuple[str, ...]:
    is_whole = not fields or kind in WHOLE
    return ("type", *(name for name in kind.__struct_fields__ if is_whole or name in fields))


def _row(record: Record, options: Options) -> Row:
    row: Row = msgspec.to_builtins(record)
    times, decimals, has_levels = _fields(type(record))
    if options.time != "ns":
        for name in times:
            if name in row:
                row[name] = _time(row[name], options.time)
    if options.numbers == "float":
        number = _number if options.encoding == "json" else _float
        for name in decimals:
            if name in row:
                row[name] = number(row[name])
        for name in LEVELS if has_levels else ():
            row[name] = [(*id, number(price), number(size)) for *id, price, size in row[name]]
        if isinstance(record, Consolidated):
            row["contributors"] = [(*each[:PRICED], *map(number, each[PRICED:])) for each in record.contributors]
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
    """A number of JSON with the very digits, where it is one."""
    return Raw(text) if isinstance(text, str) and NUMBER.fullmatch(text) else _float(text)


def _float(text: str | float | None) -> str | float | None:
    """The nearest number of 64 bits; what is none stays as it is."""
    if not isinstance(text, str):
        return text
    try:
        value = float(text)
    except ValueError:
        return text
    return value if isfinite(value) else text
