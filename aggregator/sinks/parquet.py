"""The `parquet` sink: whole files of every interval, and one file of each day that is over."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

from msgspec import structs
from pydantic import Field

from aggregator.sinks.directory import check_directory
from aggregator.sinks.intervals import IntervalSettings, IntervalWriter, open_intervals
from aggregator.sinks.sink import LOCAL, Context, Sink, Writer
from aggregator.sinks.values import Count
from aggregator.tables.merging import Stopped, merge_folder
from aggregator.tables.parquet import LEVEL, parquet_form

TYPE = "parquet"


class ParquetSettings(IntervalSettings, frozen=True, kw_only=True):
    """Parquet files by record type, day and exchange, as [research](research.md) reads them.

    rotate_rows: they appear earlier where so many records have come
    level: of the compression by zstd: 1 is the fastest, 22 the smallest
    merge: whether the files of a day that is over become one for each type and exchange
    """

    rotate_rows: Count = 20_000_000
    level: Annotated[int, Field(ge=1, le=22)] = LEVEL
    merge: bool = True


async def open_parquet(settings: ParquetSettings, context: Context) -> Writer:
    """Begin. Raises ConfigError where nothing can be written below the directory, OSError."""
    check_directory(settings.path, TYPE)
    merge = partial(_merge, level=settings.level) if settings.merge else None
    form = parquet_form(settings.level)
    return await open_intervals(IntervalWriter(TYPE, settings, form, context, load=_load, merge=merge))


def _load() -> None:
    import pyarrow.parquet  # noqa: F401 - it takes long to load, and here nobody waits for it


def _merge(folder: Path, is_stopped: Callable[[], bool], *, level: int) -> int:
    with suppress(Stopped):
        return merge_folder(folder, level=level, is_stopped=is_stopped)
    return 0


SINK = Sink(
    TYPE,
    ParquetSettings,
    open_parquet,
    kind="local",
    delivery=structs.replace(LOCAL, queue=400_000, batch_records=10_000, batch_bytes=10_000_000, batch_age=1.0),
    unique="path",
    is_recording=True,
    example={"path": "/var/lib/aggregator/parquet"},
    module="pyarrow",
)
