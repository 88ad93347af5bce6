"""The `clickhouse` sink: a table for each record type, written column by column.

A table is a ReplacingMergeTree whose key ends with (epoch, offset), so that a record which comes twice is one once its
parts are merged, and at once with FINAL. An insert that is repeated as it was is not stored a second time at all: it
has the same token.
Manual: https://clickhouse.com/docs/engines/table-engines/mergetree-family/replacingmergetree
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache, partial
from math import isinf
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from msgspec import Struct, structs
from pydantic import AfterValidator, Field

from aggregator.records import RECORD_TYPES, Record
from aggregator.sinks.address import address
from aggregator.sinks.databases.rows import Part, are_null, parts_of, values_of
from aggregator.sinks.sink import NETWORK, Batch, Context, Refused, Retry, Sink, Writer
from aggregator.sinks.tls import only_with, tls_context
from aggregator.sinks.values import FilePath, Secret, reveal
from aggregator.sinks.worker import Worker
from aggregator.tables.columns import EPOCH, Column, Kind, are_plain, columns, is_number, stored, tag

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

# The type of a kind of column, and how it is packed: times and counts as differences.
TYPES: Mapping[Kind, tuple[str, str]] = MappingProxyType({
    "text": ("String", "ZSTD(1)"),
    "json": ("String", "ZSTD(1)"),
    "word": ("LowCardinality(String)", "ZSTD(1)"),
    "time": ("DateTime64(9, 'UTC')", "Delta(8), ZSTD(1)"),
    "count": ("Int64", "Delta(8), ZSTD(1)"),
    "measure": ("Float64", "ZSTD(1)"),
    "flag": ("Bool", "ZSTD(1)"),
})  # fmt: skip
KEY = f"(exchange, symbol, ts_recv, {EPOCH}, offset)"
TOKENS = 10_000  # inserts of a table that the server remembers, to know one that is repeated
PLAIN = 300  # so long a plain number is less than the greatest double
CONNECT_S = 10
ANSWER_S = 60  # then a request has failed, whatever the frame's own timeout is
BUSY = frozenset({159, 202, 209, 241, 242, 243, 252, 285, 319, 425, 439, 473, 999})  # codes of what may pass
SCHEMES = {"http": 8123, "https": 8443}


class ClickhouseSettings(Struct, frozen=True, kw_only=True):
    """Tables of ClickHouse.

    url: the server, by HTTP, like `"http://127.0.0.1:8123"`; `https://` speaks TLS
    database: where the tables are; it is made where it is missing
    user: the name to log in with
    password: where its password is: `"file:PATH"`, `"env:NAME"` or `"credential:NAME"`
    ca: the file of the certificates that may have signed the server's; by default those that the system trusts
    certificate: the file of our own certificate, for a server that asks for one
    key: the file of its key; by default the same
    """

    url: Annotated[str, AfterValidator(address(SCHEMES, "http://127.0.0.1:8123", has_path=True))]
    database: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,62}$")] = "market"
    user: Annotated[str, Field(min_length=1)] = "default"
    password: Secret | None = None
    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: Annotated[FilePath | None, Field(validate_default=True), AfterValidator(only_with("https://", "url"))] = None


# --- the tables


class TableColumn(Struct, frozen=True):
    """A column as the server knows it."""

    name: str
    type: str
    codec: str


@cache
def table_columns(record: type[Record]) -> tuple[TableColumn, ...]:
    """The columns of a type's table: those that keep all of it, with a list of its own for each part of rows."""
    return tuple(found for column in stored(record) for found in _table_columns(column))


def _table_columns(column: Column) -> Iterator[TableColumn]:
    if column.kind == "rows":
        for part in column.parts:
            (inner,) = _table_columns(part)
            yield TableColumn(f"{column.name}.{part.name}", f"Array({inner.type})", inner.codec)
        return
    if column.kind == "words":
        yield TableColumn(column.name, "Array(LowCardinality(String))", "ZSTD(1)")
        return
    kind, codec = TYPES[column.kind]
    if column.is_null and column.kind == "word":
        kind = "LowCardinality(Nullable(String))"
    elif column.is_null:
        kind = f"Nullable({kind})"
    yield TableColumn(column.name, kind, codec)


def missing(database: str, there: Collection[tuple[str, str]]) -> Iterator[str]:
    """The statements that make what is not there yet: tables, and columns that records have gained since.

    there: the columns that there are, as table and name
    """
    tables = {table for table, _ in there}
    for record in RECORD_TYPES:
        name = f"{database}.{tag(record)}"
        lacking = [column for column in table_columns(record) if (tag(record), column.name) not in there]
        told = [f"`{column.name}` {column.type} CODEC({column.codec})" for column in lacking]
        if tag(record) not in tables:
            yield (
                f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(told)}) "
                f"ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(ts_recv) ORDER BY {KEY} "
                f"SETTINGS allow_nullable_key = 1, non_replicated_deduplication_window = {TOKENS}"
            )
        elif told:
            yield f"ALTER TABLE {name} {', '.join(f'ADD COLUMN IF NOT EXISTS {each}' for each in told)}"


# --- the values


def table_values(part: Part) -> list[Sequence[Any]]:
    """The values of each of the columns of a type's table, in their order."""
    held, misfits = values_of(part)
    values, texts = _twice(columns(part.record), held)
    return [*values, *texts, misfits]


def _twice(given: Sequence[Column], held: Sequence[Sequence[Any]]) -> tuple[list[Sequence[Any]], list[Sequence[Any]]]:
    """The values of columns, with numbers as doubles, and the texts of those that are numbers."""
    values: list[Sequence[Any]] = []
    texts: list[Sequence[Any]] = []
    for column, there in zip(given, held, strict=True):
        if column.kind == "number":
            values.append(_doubles(there))
            texts.append(there)
        elif column.kind == "rows":
            values += _lists(column, there)
        else:
            values.append(there)
    return values, texts


def _lists(column: Column, there: Sequence[Sequence[tuple[Any, ...]]]) -> list[Sequence[Any]]:
    """The parts of rows as lists, each part for itself, and behind them the texts of those that are numbers."""
    apart = [
        _twice(column.parts, list(zip(*rows, strict=True)) if rows else [()] * len(column.parts)) for rows in there
    ]
    return list(zip(*[(*values, *texts) for values, texts in apart], strict=True))


def _doubles(texts: Sequence[Any]) -> list[float | None]:
    """The double nearest to each number; null where there is none, or where it is too great."""
    if None not in texts and are_plain(texts, PLAIN):  # hot: mostly they are
        return list(map(float, texts))
    return [None if text is None else _double(text) for text in texts]


def _double(text: str) -> float | None:
    """The double nearest to a number; null: it is none, or too great."""
    found = float(text) if is_number(text) else None
    return None if found is None or isinf(found) else found


def _are_empty(values: Sequence[Any]) -> bool:
    """Tell whether all values of a column are null, or all of them lists without anything in them."""
    return are_null(values) or (isinstance(values[0], (list, tuple)) and not any(values))


# --- the writer


class ClickhouseWriter(Writer):
    """A client, which one thread works with."""

    def __init__(self, settings: ClickhouseSettings, worker: Worker, client: "Client") -> None:
        """Write by a client that has greeted the server."""
        self._database = settings.database
        self._worker = worker
        self._client = client

    async def write(self, batch: Batch) -> None:
        """Have a batch in its tables. Raises OSError, Retry or Refused."""
        await self._worker.do(partial(self._insert, batch))

    def _insert(self, batch: Batch) -> None:
        from clickhouse_connect.driver.exceptions import DataError, Error

        try:
            for part in parts_of(batch):
                told = zip(table_columns(part.record), table_values(part), strict=True)
                # Most columns of a type are null throughout; what an insert does not name is null in its rows.
                filled = [(column, values) for column, values in told if not _are_empty(values)]
                self._client.insert(
                    tag(part.record),
                    [values for _, values in filled],
                    database=self._database,
                    column_names=[column.name for column, _ in filled],
                    column_type_names=[column.type for column, _ in filled],
                    column_oriented=True,
                    settings={
                        "async_insert": 0,
                        "insert_deduplication_token": f"{batch.epoch}:{batch.first}:{batch.last}:{len(batch)}",
                    },
                )
        except (DataError, TypeError, ValueError, OverflowError) as error:
            raise Refused(str(error)) from error
        except Error as error:
            raise failure(error) from error

    async def close(self) -> None:
        """Hang up. All that was taken is in its tables by then."""
        self._worker.put(self._client.close)
        self._worker.stop()


def failure(error: Exception) -> Exception:
    """A failure in words: one that may pass while the connection stands, or one that takes a new connection."""
    code = getattr(error, "code", None)
    cause = error.__cause__
    said = " ".join(str(error if cause is None else getattr(cause, "reason", cause)).split())
    said = said.partition("server response: ")[2].partition(" (for url ")[0] or said
    return Retry(said) if code in BUSY else OSError(said)


async def open_clickhouse(settings: ClickhouseSettings, context: Context) -> Writer:  # noqa: ARG001 - every sink has it
    """Connect, and make the tables that are missing. Raises OSError."""
    worker = Worker("clickhouse")
    try:
        return ClickhouseWriter(settings, worker, await worker.do(partial(_connected, settings)))
    except BaseException:
        worker.stop()
        raise


def _connected(settings: ClickhouseSettings) -> "Client":
    """A client of a server with all tables; it is called in the thread. Raises OSError."""
    import clickhouse_connect
    from clickhouse_connect.driver.exceptions import Error
    from clickhouse_connect.driver.httputil import get_pool_manager

    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # the frame says what has failed, once
    parts = urlsplit(settings.url)
    is_tls = parts.scheme == "https"
    tls = tls_context(settings.ca, settings.certificate, settings.key) if is_tls else None
    try:
        client = clickhouse_connect.get_client(
            interface=parts.scheme,
            host=parts.hostname,
            port=parts.port or SCHEMES[parts.scheme],
            proxy_path=parts.path,
            username=settings.user,
            password=reveal(settings.password) or "",
            pool_mgr=get_pool_manager(maxsize=1, retries=False, ssl_context=tls),
            compress=False,
            connect_timeout=CONNECT_S,
            send_receive_timeout=ANSWER_S,
            query_retries=0,
            client_name="aggregator",
            autogenerate_session_id=False,
            show_clickhouse_errors=True,
        )
        client.command(f"CREATE DATABASE IF NOT EXISTS {settings.database}")
        found = client.query(f"SELECT table, name FROM system.columns WHERE database = '{settings.database}'")  # noqa: S608
        for statement in missing(settings.database, {(table, name) for table, name in found.result_rows}):
            client.command(statement)
    except Error as error:
        raise failure(error) from error
    return client


SINK = Sink(
    "clickhouse",
    ClickhouseSettings,
    open_clickhouse,
    kind="network",
    delivery=structs.replace(
        NETWORK, queue=400_000, batch_records=10_000, batch_bytes=10_000_000, batch_age=1.0, timeout=30.0
    ),
    example={"url": "http://127.0.0.1:8123"},
    module="clickhouse_connect",
)
