"""The `csv` sink: files with fixed columns for each record type, which appear whole when an interval is over."""

from msgspec import Struct, structs

from aggregator.sinks.directory import check_directory
from aggregator.sinks.files_settings import Age, Period
from aggregator.sinks.intervals import IntervalWriter, open_intervals
from aggregator.sinks.sink import LOCAL, Context, Sink, Writer
from aggregator.sinks.values import Bytes, Count, FilePath
from aggregator.tables.csv import csv_form

TYPE = "csv"


class CsvSettings(Struct, frozen=True, kw_only=True):
    """CSV files by record type, day and exchange, with the same columns in every file of a type.

    path: the directory below which all is written; no other sink may have it
    rotate_every: files appear at each multiple of this, UTC; it divides a day: `"15m"`, `"1h"`, `"1d"`, or seconds
    rotate_rows: they appear earlier where so many records have come
    compress: whether files are compressed with zstd, and end with `.csv.zst`
    book_levels: whether books come level by level besides, a row each, as the type `book_levels`
    keep: files go when the day that they are of ended so long ago, like `"30d"`; by default they stay
    keep_bytes: the oldest files go while all take more than this; by default they stay
    min_free: the oldest files go while the disk has less than this left; by default they stay
    """

    path: FilePath
    rotate_every: Period = 3600.0
    rotate_rows: Count = 5_000_000
    compress: bool = False
    book_levels: bool = False
    keep: Age | None = None
    keep_bytes: Bytes | None = None
    min_free: Bytes | None = None


async def open_csv(settings: CsvSettings, context: Context) -> Writer:
    """Begin. Raises ConfigError where nothing can be written below the directory, OSError."""
    check_directory(settings.path, TYPE)
    return await open_intervals(IntervalWriter(TYPE, settings, csv_form(is_compressed=settings.compress), context))


SINK = Sink(
    TYPE,
    CsvSettings,
    open_csv,
    kind="local",
    delivery=structs.replace(LOCAL, queue=400_000, batch_records=10_000, batch_bytes=10_000_000, batch_age=1.0),
    unique="path",
    example={"path": "/var/lib/aggregator/csv"},
)
