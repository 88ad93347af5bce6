"""The settings of the `files` sink."""

from decimal import Decimal
from string import Formatter
from typing import Annotated

from msgspec import Struct
from pydantic import AfterValidator, BeforeValidator, Field

from aggregator.records import DAY_S
from aggregator.sinks.values import Bytes, FilePath, Word, choices, quote, to_seconds, write_seconds

TEMPLATE_FIELDS = ("date", "exchange", "channel", "symbol")


def _template(value: str) -> str:
    allowed = [f"{{{name}}}" for name in TEMPLATE_FIELDS]
    try:
        parts = [part for part in Formatter().parse(value) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"{quote(value)}: {error}") from error
    for _, field, form, conversion in parts:
        written = f"{{{field}{'!' if conversion else ''}{conversion or ''}{':' if form else ''}{form}}}"
        if written not in allowed:
            raise ValueError(f"{quote(written)} is not a field{choices(written, allowed)}")
    if {"", ".", ".."} & set(value.split("/")) or not value.isprintable():
        raise ValueError(f'{quote(value)} must stay below path: no "/" at an end, no "//", no "." or ".." as a part')
    return value


def _period(value: object) -> object:
    value = to_seconds(value)
    if isinstance(value, int | float) and not (0 < value <= DAY_S and DAY_S % Decimal(str(float(value))) == 0):
        raise ValueError('must divide a day evenly, like "15m", "1h" or "1d"')
    return value


TemplateText = Annotated[str, AfterValidator(_template)]
Age = Annotated[float, Field(gt=0, le=3.2e9), BeforeValidator(to_seconds), Word("duration", write_seconds)]
Period = Annotated[float, Field(gt=0), BeforeValidator(_period), Word("duration", write_seconds)]


class FilesSettings(Struct, frozen=True, kw_only=True):
    """NDJSON files, a directory tree of them; what they hold is in [`files.md`](files.md).

    path: the directory below which all is written; no other sink may have it
    template: a record's file, of `{date}`, `{exchange}`, `{channel}`, `{symbol}`; it cannot leave `path`
    rotate_bytes: a file that has grown to this is closed; bytes, or text with KB, MB, GB (1000) or KiB, MiB, GiB (1024)
    rotate_every: files are closed at each multiple of this, UTC; it divides a day: `"15m"`, `"6h"`, `"1d"`, or seconds
    compress: whether closed files are compressed with zstd
    keep: closed files go when all of their records are older than this, like `"30d"`; by default they stay
    keep_bytes: the oldest closed files go while all files take more than this; by default they stay
    min_free: the oldest closed files go while the disk has less than this left; by default they stay
    """

    path: FilePath
    template: TemplateText = "{date}/{exchange}/{channel}"
    rotate_bytes: Bytes = 256_000_000
    rotate_every: Period = 3600.0
    compress: bool = True
    keep: Age | None = None
    keep_bytes: Bytes | None = None
    min_free: Bytes | None = None
