"""The kinds of values that a settings struct may have: what a configuration file may hold for each, and how it is told.

A settings struct is a frozen msgspec struct whose fields are of these types, or plain `str`, `int`, `bool` and
`Literal`. Bytes are whole numbers in it, and times are seconds.
"""

import json
import re
from collections.abc import Callable, Collection
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from msgspec import Struct
from pydantic import BeforeValidator, Field, PlainValidator

from aggregator.errors import nearest
from aggregator.ingest.credentials import HOW, KeyPlace, parse_place, read_place
from aggregator.records import DURATIONS, SECOND_NS, duration_ns

__all__ = [
    "HOW",
    "Bytes",
    "Count",
    "Duration",
    "FilePath",
    "KeyPlace",
    "Secret",
    "Texts",
    "Word",
    "choices",
    "names_login",
    "parse_place",
    "path_text",
    "quote",
    "read_place",
    "reveal",
    "socket_path",
    "to_bytes",
    "to_seconds",
]

SOCKET_PATH_BYTES = 107  # the kernel takes no longer path of a unix socket
SHOWN = 80  # characters of a value that a message repeats
SIZE = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,12}))?\s*(?:([kmgt])(i)?)?b?", re.IGNORECASE | re.ASCII)
POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


class Word(Struct, frozen=True):
    """How a type is called in the documentation, and how a value of it stands in a configuration file."""

    name: str
    write: Callable[[object], str] = json.dumps


def quote(value: str) -> str:
    """A text of the file as a message shows it: on one line, whatever it holds, and not long."""
    shown = value if len(value) <= SHOWN else f"{value[:SHOWN]}…"
    return json.dumps(shown, ensure_ascii=not shown.isprintable())


def names_login(value: str) -> bool:
    """Tell whether an address names who logs in, so that a message must not repeat it; it need not be a right one."""
    _, _, behind = value.partition("//")
    return "@" in re.split(r"[/?#]", behind or value, maxsplit=1)[0]


def choices(value: str, allowed: Collection[str]) -> str:
    """The end of a message that says what is allowed, and what was probably meant."""
    meant = nearest(value, allowed)
    hint = f"; did you mean {quote(meant)}?" if meant else ""
    return f"; allowed: {', '.join(sorted(allowed))}{hint}"


def to_bytes(value: object) -> object:
    """A size of the file in bytes. Raises ValueError."""
    if not isinstance(value, str):
        return value
    match = SIZE.fullmatch(value.strip())
    if match is not None:
        decimals, unit = match[2] or "", (1024 if match[4] else 1000) ** POWERS.get((match[3] or "").lower(), 0)
        size, rest = divmod(int(match[1] + decimals) * unit, 10 ** len(decimals))
        if not rest:
            return size
    raise ValueError(f'{quote(value)} is not a size; write bytes, or text like "256MB", "1.5GB" or "256MiB"')


def to_seconds(value: object) -> object:
    """A duration of the file in seconds. Raises ValueError."""
    if not isinstance(value, str):
        return value
    length = duration_ns(value.strip())
    if length is None:
        raise ValueError(f"{quote(value)} is not a duration; write seconds, or text like {DURATIONS}")
    return length / SECOND_NS


def path_text(value: str) -> str:
    """A path of the file with the home directory put in. Raises ValueError."""
    if not value or "\0" in value:
        raise ValueError(f"{quote(value)} is not a path")
    try:
        return str(Path(value).expanduser())
    except RuntimeError as error:
        raise ValueError(f"{quote(value)}: {error}") from error


def socket_path(value: str) -> str:
    """A path of the file at which a unix socket can be. Raises ValueError."""
    if len(value.encode()) > SOCKET_PATH_BYTES:
        raise ValueError(f"is longer than the {SOCKET_PATH_BYTES} bytes that a unix socket's path may have")
    return value


def _to_path(value: object) -> object:
    return Path(path_text(value)) if isinstance(value, str) else value


def write_bytes(value: object) -> str:
    """A size as a configuration file would say it."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if isinstance(value, int) and value >= size and value % size == 0:
            return f'"{value // size}{unit}"'
    return json.dumps(value)


def write_seconds(value: object) -> str:
    """A duration as a configuration file would say it."""
    if not isinstance(value, int | float):
        return json.dumps(value)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if value >= size and value % size == 0:
            return f'"{value // size:.0f}{unit}"'
    milliseconds = Decimal(str(value)) * 1000
    return f'"{milliseconds.normalize():f}ms"' if value else "0"


def _write_path(value: object) -> str:
    return json.dumps(str(value))


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _write_texts(value: object) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def reveal(place: KeyPlace | None) -> str | None:
    """The secret at a place of the configuration; null: there is none. Raises OSError, which says nothing of it."""
    if place is None:
        return None
    try:
        return read_place(place)
    except ValueError as error:
        raise OSError(f"{place} {error}") from None


Count = Annotated[int, Field(ge=1, le=1_000_000_000), Word("count")]
Bytes = Annotated[int, Field(ge=1, le=1 << 50), BeforeValidator(to_bytes), Word("size", write_bytes)]
Duration = Annotated[float, Field(ge=0, le=3.2e9), BeforeValidator(to_seconds), Word("duration", write_seconds)]
FilePath = Annotated[Path, BeforeValidator(_to_path), Word("path", _write_path)]
Texts = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_frozen), Word("list", _write_texts)]
Secret = Annotated[KeyPlace, PlainValidator(parse_place), Word("secret")]
