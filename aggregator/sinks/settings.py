"""The settings of each sink: plain values, already checked. Bytes are int, durations are seconds."""

from pathlib import Path
from typing import Literal

from msgspec import Struct

TEMPLATE_FIELDS = ("date", "exchange", "channel", "symbol")


class FilesSettings(Struct, frozen=True, kw_only=True):
    """The `files` sink; `template` names a file below `path` by the TEMPLATE_FIELDS in braces."""

    path: Path
    template: str = "{date}/{exchange}/{channel}"
    rotate_bytes: int = 256_000_000
    rotate_every: float = 3600.0  # divides a day; files turn over at multiples of it, UTC
    compress: bool = True
    queue: int = 100_000  # records that may wait to be sorted, and as many that are and wait for the disk


class StdoutSettings(Struct, frozen=True, kw_only=True):
    """The `stdout` sink."""

    format: Literal["ndjson"] = "ndjson"
    queue: int = 100_000  # records that may wait for the reader
