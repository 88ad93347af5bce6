"""Records for a person's eyes: one line each, coloured on a terminal."""

from datetime import UTC, datetime

import click
import orjson

from aggregator.daemon.printable import printable
from aggregator.records import RECORD_TYPES, Record, defaults

COLOURS = {
    "trade": "cyan",
    "bbo": "blue",
    "book_snapshot": "magenta",
    "gap": "red",
    "lag": "red",
    "health": "yellow",
    "summary": "yellow",
}
SIDES = {"buy": "green", "sell": "red"}
HEADS = frozenset(Record.__struct_fields__) | {"type"}
TIMES = {"expiry"}  # and all fields whose name begins with ts_
MOST_FIELDS = 9  # fields shown of a record
LEVELS = 2  # levels shown of a side

KNOWN = frozenset(type.__struct_config__.tag for type in RECORD_TYPES)
USUAL = {  # these values go without saying
    type.__struct_config__.tag: defaults(type) for type in RECORD_TYPES
}


def show(line: bytes) -> str:
    """One line of NDJSON as one line for a person, safe for the terminal; what is no record is shown as it is."""
    record = orjson.loads(line)
    kind = record.get("type")
    if kind not in KNOWN:
        return click.style(printable(line.decode(errors="replace").rstrip()), dim=True)
    at = datetime.fromtimestamp((record.get("ts_recv") or 0) / 1e9, UTC)
    name = printable(str(record.get("symbol") or record.get("raw_symbol") or "-"))
    head = f"{at:%H:%M:%S.%f}"[:-3] + f" {printable(str(record.get('exchange', ''))):<17}{name:<12}"
    usual = USUAL[kind]
    said = [(name, value) for name, value in record.items() if name not in HEADS and value is not None]
    fields = [(name, value) for name, value in said if name == "state" or value != usual.get(name)]
    shown = " ".join(_field(name, value, at) for name, value in fields[:MOST_FIELDS])
    return f"{click.style(head, dim=True)}{click.style(f'{kind:<14}', fg=COLOURS.get(str(kind)))}{shown}"


def _field(name: str, value: object, at: datetime) -> str:
    if isinstance(value, int) and (name.startswith("ts_") or name in TIMES):
        return f"{name.removeprefix('ts_')} {_time(value, at)}"
    if name in {"bids", "asks"} and isinstance(value, list):
        best = ", ".join(f"{size} @ {price}" for price, size in value[:LEVELS])
        more = f" +{len(value) - LEVELS}" if len(value) > LEVELS else ""
        return printable(f"{name} {best or '-'}{more}")
    if name in {"contributors", "absent"} and isinstance(value, list):
        return printable(f"{name} {', '.join(str(each[0]) for each in value) or '-'}")
    if name == "side" and isinstance(value, str):
        return click.style(printable(value), fg=SIDES.get(value))
    return printable(str(value) if name in {"price", "size", "state", "phase", "cause"} else f"{name} {value}")


def _time(ts: int, at: datetime) -> str:
    """A time in nanoseconds as a person reads it; without its date where that is today's."""
    time = datetime.fromtimestamp(ts / 1e9, UTC)
    shown = f"{time:%H:%M:%S}" if time.date() == at.date() else f"{time:%Y-%m-%d %H:%M:%S}"
    return shown.removesuffix(" 00:00:00")
