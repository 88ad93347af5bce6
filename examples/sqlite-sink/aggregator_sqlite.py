"""Records in a table of SQLite: a sink of aggregator in a package of its own."""

import sqlite3
from typing import Annotated

from msgspec import Struct
from pydantic import Field

from aggregator.records import Record, channel_of
from aggregator.sinks.sink import Batch, Context, Refused, Retry, Sink, Writer
from aggregator.sinks.values import FilePath
from aggregator.sinks.worker import Worker

# A batch may come twice where a write failed half-way; epoch and offset are the same then, and it is stored once.
TABLE = """
create table if not exists {table} (
    epoch text, "offset" integer, type text, exchange text, channel text, symbol text, ts_recv integer, record text,
    primary key (epoch, "offset")
) without rowid
"""
INSERT = "insert or ignore into {table} values (?, ?, ?, ?, ?, ?, ?, ?)"


class SqliteSettings(Struct, frozen=True, kw_only=True):
    """A table of records in a file of SQLite.

    path: the file; it is made where it is missing
    table: the name of the table
    """

    path: FilePath
    table: Annotated[str, Field(pattern="^[a-z_]+$")] = "records"


class SqliteWriter(Writer):
    """SQLite waits for the disk, so all of it happens in a thread of its own."""

    def __init__(self, settings: SqliteSettings) -> None:
        self._settings = settings
        self._worker = Worker("sqlite")

    async def open(self) -> None:
        """Open the file, or make it. Raises OSError or sqlite3.Error."""
        self._database = await self._worker.do(self._connect)

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._settings.path)
        database.execute("pragma journal_mode = wal")
        database.execute(TABLE.format(table=self._settings.table))
        return database

    async def write(self, batch: Batch) -> None:
        """Store a batch, whole or not at all."""
        rows = [_row(batch.epoch, record, line) for record, line in zip(batch.records, batch.lines, strict=True)]
        try:
            await self._worker.do(lambda: self._insert(rows))
        except sqlite3.OperationalError as error:  # locked, full, no longer there: it may pass
            raise Retry(str(error)) from error
        except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError, UnicodeError) as error:
            raise Refused(str(error)) from error  # some record's fault: the frame finds out whose

    def _insert(self, rows: list[tuple[object, ...]]) -> None:
        with self._database:  # a transaction
            self._database.executemany(INSERT.format(table=self._settings.table), rows)

    async def close(self) -> None:
        """Close the file."""
        if hasattr(self, "_database"):
            await self._worker.do(self._database.close)
        self._worker.stop()


def _row(epoch: str, record: Record, line: bytes) -> tuple[object, ...]:
    kind, channel = type(record).__struct_config__.tag, channel_of(record)
    return epoch, record.offset, kind, record.exchange, channel, record.symbol, record.ts_recv, line.decode()


async def open_sqlite(settings: SqliteSettings, context: Context) -> Writer:  # noqa: ARG001 - as any sink
    """Open the file. Raises sqlite3.Error where that cannot be."""
    writer = SqliteWriter(settings)
    try:
        await writer.open()
    except Exception:
        await writer.close()
        raise
    return writer


SINK = Sink(
    "sqlite",
    SqliteSettings,
    open_sqlite,
    kind="local",
    unique="path",
    example={"path": "/var/lib/aggregator/records.sqlite"},
)
