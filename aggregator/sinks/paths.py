"""Names of files: what a template makes of a record, safe whatever an exchange calls its symbols."""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import count
from pathlib import Path
from string import Formatter, ascii_lowercase, ascii_uppercase
from urllib.parse import quote

from msgspec import Struct

from aggregator.errors import ConfigError
from aggregator.records import SECOND_NS

SUFFIX = ".ndjson"
FIELDS = ("date", "exchange", "channel", "symbol", "raw_symbol")
LONGEST_PART_BYTES = 200  # leaves room in 255 for a closed file's stamp, offset and suffixes
STAMPED = re.compile(r"-\d{8}T\d{6}Z-\d+(-\d+)?\Z")
LAST_S = 253_402_300_799  # the last of the year 9999
ODD_CASE = dict.fromkeys(("symbol", "raw_symbol"), ascii_lowercase) | dict.fromkeys(
    ("exchange", "channel"), ascii_uppercase
)


class Scope(Struct, frozen=True):
    """The values that all records of a file share; null where they may differ."""

    exchange: str | None = None
    channel: str | None = None
    symbol: str | None = None
    raw_symbol: str | None = None


class Template:
    """A template like `{date}/{exchange}/{channel}`, checked. Raises ConfigError.

    Every value stays within one part of the path. Text that two values could share on a file system that ignores
    case, that would be too long, or that looks like a closed file's name, gets a `~` and a hash of the value.
    """

    def __init__(self, text: str) -> None:
        """Check the text; a `/` separates directories."""
        try:
            self.fields = frozenset(field for _, field, _, _ in Formatter().parse(text) if field is not None)
        except ValueError as error:
            raise ConfigError(f"template {text!r}: {error}") from error
        if unknown := self.fields - set(FIELDS):
            raise ConfigError(f"template {text!r}: {{{min(unknown)}}} is not a field; allowed: {', '.join(FIELDS)}")
        self._parts = text.split("/")
        if {"", ".", ".."} & set(self._parts) or not text.isprintable():
            raise ConfigError(f'template {text!r}: every part between "/" must be a name below path')

    def scope(self, exchange: str, channel: str, symbol: str | None, raw_symbol: str | None) -> Scope:
        """The values that the file of such a record is bound to."""
        fields = self.fields
        single = "exchange" in fields and (
            (symbol is not None and "symbol" in fields) or (raw_symbol is not None and "raw_symbol" in fields)
        )
        return Scope(
            exchange if "exchange" in fields else None,
            channel if "channel" in fields else None,
            symbol if single else None,
            raw_symbol if single else None,
        )

    def name(self, values: Mapping[str, str | None]) -> str:
        """The path of the file below the sink's directory, without suffix."""
        encoded = {field: encode(values[field]) for field in self.fields}
        return "/".join(self._part(part, values, encoded) for part in self._parts)

    def _part(self, part: str, values: Mapping[str, str | None], encoded: Mapping[str, str]) -> str:
        text = part.format_map(encoded)
        fields = [field for _, field, _, _ in Formatter().parse(part) if field]
        odd = any(letter in ODD_CASE.get(field, "") for field in fields for letter in values[field] or "")
        if not odd and len(text.encode()) <= LONGEST_PART_BYTES and not STAMPED.search(text):
            return text
        whole = repr([values[field] for field in fields]).encode("utf-8", "surrogatepass")
        mark = "~" + blake2b(whole, digest_size=8).hexdigest()
        return shorten(text, LONGEST_PART_BYTES - len(mark)) + mark


def encode(value: str | None) -> str:
    """A value as part of a name: percent-encoded as in an address, never empty, never hidden; `%none` is null."""
    if not value:
        return "%none" if value is None else "%empty"
    text = quote(value, safe="", errors="surrogatepass").replace("~", "%7E")
    return f"%2E{text[1:]}" if text.startswith(".") else text


def shorten(text: str, most: int) -> str:
    """The first `most` bytes at most, without half a character or half an escape at the end."""
    cut = text.encode()[:most].decode(errors="ignore")
    return re.sub(r"%[0-9A-F]?$", "", cut) if len(cut) < len(text) else cut


def moment(ts: int) -> datetime:
    """A time in ns as a UTC datetime, kept within the calendar."""
    return datetime.fromtimestamp(min(max(ts // SECOND_NS, 0), LAST_S), UTC)


def closed_path(current: Path, ts: int, offset: int) -> Path:
    """Where a closed file goes: a name that is not taken, compressed or not."""
    stem = f"{current.name.removesuffix(SUFFIX)}-{moment(ts):%Y%m%dT%H%M%SZ}-{offset}"
    for number in count(1):
        path = current.with_name(f"{stem}{SUFFIX}" if number == 1 else f"{stem}-{number}{SUFFIX}")
        if not os.path.lexists(path) and not os.path.lexists(f"{path}.zst"):
            return path
    raise AssertionError  # count has no end


def is_closed(path: Path) -> bool:
    """Tell whether the name is that of a closed file."""
    return bool(STAMPED.search(path.name.removesuffix(SUFFIX)))
