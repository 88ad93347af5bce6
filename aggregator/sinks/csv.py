"""The `csv` sink: files with fixed columns for each record type, which appear whole when an interval is over."""

from msgspec import structs

from aggregator.sinks.directory import check_directory
from aggregator.sinks.intervals import IntervalSettings, IntervalWriter, open_intervals
from aggregator.sinks.sink import LOCAL, Context, Sink, Writer
from aggregator.tables.csv import csv_form

TYPE = "csv"


class CsvSettings(IntervalSettings, frozen=True, kw_only=True):
    """CSV files by record type, day and exchange, with the same columns in every file of a type.

    compress: whether files are compressed with zstd, and end with `.csv.zst`
    """

    compress: bool = False


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
    is_recording=True,
    example={"path": "/var/lib/aggregator/csv"},
)
