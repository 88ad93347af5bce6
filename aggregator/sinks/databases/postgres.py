"""The `postgres` sink: a table for each record type, in PostgreSQL, or in TimescaleDB as hypertables.

A batch is one transaction. Its records are copied into a temporary table of their type, and from there into the table
itself, where those that are there already are passed over: COPY alone would stop at the first of them.
Manual: https://www.postgresql.org/docs/current/sql-copy.html
"""

from collections.abc import Mapping
from contextlib import suppress
from decimal import InvalidOperation
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Struct, structs
from pydantic import AfterValidator, Field

from aggregator.records import RECORD_TYPES, Record
from aggregator.sinks.databases.rows import Part, as_json, kept, misfitting, parts_of, refusal, values_of
from aggregator.sinks.sink import NETWORK, Batch, Context, Refused, Retry, Sink, Writer
from aggregator.sinks.tls import tls_context, where_spoken
from aggregator.sinks.values import Duration, FilePath, Secret, reveal
from aggregator.tables.columns import EPOCH, Decimals, Kind, tag

if TYPE_CHECKING:
    from asyncpg import Connection

NUMERIC = Decimals(131_072 + 16_383, 16_383)  # the type has room for so much
TYPES: Mapping[Kind, str] = MappingProxyType({
    "text": "text",
    "word": "text",
    "number": "numeric",
    "time": "bigint",
    "count": "bigint",
    "measure": "double precision",
    "flag": "boolean",
    "words": "text[]",
    "rows": "jsonb",
    "json": "jsonb",
})  # fmt: skip
TIME = "time"  # a column that is no field: `ts_recv` as tools know a time
TIME_OF_NS = "timestamptz 'epoch' + (ts_recv / 1000) * interval '1 microsecond'"  # it cuts, and never rounds up
LOCK = 6_077_133_921  # the number of a lock that none but this sink takes: one migration at a time
CONNECT_S = 10.0
CLOSING_S = 0.3  # then the connection is cut
BUSY = ("40", "53", "55")  # classes of errors that may pass: deadlocks, no room, what is locked
OF_DATA = ("21", "22", "23", "54")  # classes of errors for which a record is to blame


class PostgresSettings(Struct, frozen=True, kw_only=True):
    """Tables of PostgreSQL or TimescaleDB.

    host: the name or address of the server, or the folder of its socket, like `"/var/run/postgresql"`
    port: its port
    database: the name of the database
    schema_name: where the tables are, a schema of PostgreSQL; it is made where it is missing
    user: the name to log in with
    password: where its password is: `"file:PATH"`, `"env:NAME"` or `"credential:NAME"`
    tls: whether TLS is spoken, and the server's certificate looked at
    hypertables: whether tables become hypertables where the extension `timescaledb` is in the database
    chunk: the time that one chunk of a hypertable holds
    compress_after: the age at which a chunk is compressed, where the server's licence allows that
    ca: the file of the certificates that may have signed the server's; by default those that the system trusts
    certificate: the file of our own certificate, for a server that asks for one
    key: the file of its key; by default the same
    """

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 5432
    database: Annotated[str, Field(min_length=1, max_length=63)] = "market"
    schema_name: Annotated[str, Field(pattern="^[a-z_][a-z0-9_]{0,62}$")] = "market"
    user: Annotated[str, Field(min_length=1, max_length=63)] = "aggregator"
    password: Secret | None = None
    tls: bool = False
    hypertables: bool = True
    chunk: Annotated[Duration, Field(ge=60)] = 86400.0
    compress_after: Duration | None = None
    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: Annotated[FilePath | None, Field(validate_default=True), AfterValidator(where_spoken)] = None


# --- the tables


def _quoted(*names: str) -> str:
    """A name as a statement has it."""
    return ".".join(['"' + name.replace('"', '""') + '"' for name in names])


def _definitions(record: type[Record]) -> list[str]:
    return [f"{_quoted(column.name)} {TYPES[column.kind]}" for column in kept(record)]


def _table(schema: str, record: type[Record]) -> list[str]:
    """The statements that make the table of a type, with its keys."""
    name = _quoted(schema, tag(record))
    body = ", ".join([f"{TIME} timestamptz NOT NULL", *_definitions(record)])
    return [
        f'CREATE TABLE {name} ({body}, PRIMARY KEY ({EPOCH}, "offset", {TIME}))',
        f"CREATE INDEX ON {name} (exchange, symbol, {TIME})",
    ]


VERSION = 1  # the tables have this one
# Each step brings the tables of a version to the next; `SCHEMA` stands for the schema's name. A step that was published
# is never changed. New types and fields of records need none: a table or a column is made whenever it is missing.
MIGRATIONS: Mapping[int, tuple[str, ...]] = MappingProxyType({})
NOTES = "aggregator_version"  # the table that says which version there is, and since when


async def migrate(connection: "Connection", settings: PostgresSettings) -> None:
    """Bring the tables to this version, all of it or nothing. Raises OSError where they are of a later one."""
    schema, notes = settings.schema_name, _quoted(settings.schema_name, NOTES)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        if not await connection.fetchval("SELECT true FROM pg_namespace WHERE nspname = $1", schema):
            await connection.execute(f"CREATE SCHEMA {_quoted(schema)}")
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {notes} (version integer PRIMARY KEY, applied timestamptz DEFAULT now())"
        )
        there = await connection.fetchval(f"SELECT max(version) FROM {notes}")  # noqa: S608 - quoted
        if there is not None and there > VERSION:
            raise OSError(
                f"the tables of schema {schema} are of version {there}, and this program knows {VERSION}: "
                "use a later one, or another `schema_name`"
            )
        for step in range(there or VERSION, VERSION):
            for statement in MIGRATIONS[step]:
                await connection.execute(statement.replace("SCHEMA", _quoted(schema)))
        await _complete(connection, schema)
        if there != VERSION:
            await connection.execute(f"INSERT INTO {notes} (version) VALUES ($1)", VERSION)  # noqa: S608 - quoted


async def _complete(connection: "Connection", schema: str) -> None:
    """Make the tables and the columns that are missing."""
    found = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = $1", schema
    )
    there = {(row[0], row[1]) for row in found}
    tables = {table for table, _ in there}
    for record in RECORD_TYPES:
        name = tag(record)
        if name not in tables:
            for statement in _table(schema, record):
                await connection.execute(statement)
            continue
        for column, definition in zip(kept(record), _definitions(record), strict=True):
            if (name, column.name) not in there:
                await connection.execute(f"ALTER TABLE {_quoted(schema, name)} ADD COLUMN {definition}")


async def have_hypertables(connection: "Connection", settings: PostgresSettings) -> str | None:
    """Make hypertables of the tables, where the extension is; a word about what its licence does not allow."""
    from asyncpg import FeatureNotSupportedError

    if not await connection.fetchval("SELECT true FROM pg_extension WHERE extname = 'timescaledb'"):
        return None
    names = [_quoted(settings.schema_name, tag(record)) for record in RECORD_TYPES]
    for name in names:
        await connection.execute(
            f"SELECT create_hypertable('{name}', '{TIME}', create_default_indexes => false, if_not_exists => true, "
            f"migrate_data => true, chunk_time_interval => interval '{round(settings.chunk)} s')"
        )
    if settings.compress_after is None:
        return None
    try:
        for name in names:
            await connection.execute(
                f"ALTER TABLE {name} SET (timescaledb.compress, "
                f"timescaledb.compress_segmentby = 'exchange, symbol', timescaledb.compress_orderby = '{TIME}')"
            )
            await connection.execute(
                f"SELECT add_compression_policy('{name}', interval '{round(settings.compress_after)} s', "
                "if_not_exists => true)"
            )
    except FeatureNotSupportedError as error:
        return f"chunks are not compressed: {_said(error)}"
    return None


# --- the writer


class PostgresWriter(Writer):
    """A connection, with its temporary tables."""

    def __init__(self, settings: PostgresSettings, connection: "Connection") -> None:
        """Write over a connection that stands."""
        self._settings = settings
        self._connection = connection
        self._staged: set[type[Record]] = set()

    async def write(self, batch: Batch) -> None:
        """Have a batch in its tables, all of it or nothing. Raises OSError, Retry or Refused."""
        from asyncpg import InterfaceError, PostgresError

        refused = misfitting(batch, NUMERIC)
        parts = parts_of(batch, frozenset(refused))
        try:
            if parts:
                await self._store(parts)
        except (OverflowError, TypeError, ValueError, InvalidOperation) as error:
            raise Refused(_said(error)) from error
        except (PostgresError, InterfaceError) as error:
            raise failure(error) from error
        if refused:
            raise refusal(refused)

    async def _store(self, parts: list[Part]) -> None:
        for part in parts:
            if part.record not in self._staged:
                await self._stage(part.record)
        async with self._connection.transaction():
            for part in parts:
                await self._insert(part)

    async def _stage(self, record: type[Record]) -> None:
        """Have the temporary table of a type: it is emptied by the end of each transaction."""
        body = ", ".join(_definitions(record))
        name = _quoted("pg_temp", tag(record))
        await self._connection.execute(f"CREATE TEMPORARY TABLE {name} ({body}) ON COMMIT DELETE ROWS")
        self._staged.add(record)

    async def _insert(self, part: Part) -> None:
        name = tag(part.record)
        told = kept(part.record)
        held, misfits = values_of(part)
        for at, column in enumerate(told[:-1]):
            if column.kind == "rows":
                held[at] = [as_json(value) for value in held[at]]
        rows: Any = zip(*held, misfits, strict=True)
        names = [column.name for column in told]
        await self._connection.copy_records_to_table(name, schema_name="pg_temp", columns=names, records=rows)
        listed = ", ".join([_quoted(each) for each in names])
        await self._connection.execute(
            f"INSERT INTO {_quoted(self._settings.schema_name, name)} ({TIME}, {listed}) "  # noqa: S608 - quoted
            f"SELECT {TIME_OF_NS}, {listed} FROM {_quoted('pg_temp', name)} ON CONFLICT DO NOTHING"
        )

    async def close(self) -> None:
        """Hang up. All that was taken is in its tables by then."""
        with suppress(Exception):
            await self._connection.close(timeout=CLOSING_S)
        self._connection.terminate()


def failure(error: Exception) -> Exception:
    """A failure in words: of a record, one that may pass, or one that takes a new connection."""
    state = getattr(error, "sqlstate", None) or ""
    if state.startswith(OF_DATA):
        return Refused(_said(error))
    if state.startswith(BUSY):
        return Retry(_said(error))
    return OSError(_said(error))


def _said(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


async def open_postgres(settings: PostgresSettings, context: Context) -> Writer:
    """Connect, and bring the tables to this version. Raises OSError."""
    import asyncpg

    tls = tls_context(settings.ca, settings.certificate, settings.key) if settings.tls else False
    try:
        connection = await asyncpg.connect(
            host=settings.host,
            port=settings.port,
            database=settings.database,
            user=settings.user,
            password=reveal(settings.password),
            ssl=tls,
            timeout=CONNECT_S,
            server_settings={"application_name": "aggregator"},
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise OSError(_said(error)) from error
    writer = PostgresWriter(settings, connection)
    try:
        await migrate(connection, settings)
        context.report(await have_hypertables(connection, settings) if settings.hypertables else None)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        await writer.close()
        raise OSError(_said(error)) from error
    except BaseException:
        await writer.close()
        raise
    return writer


SINK = Sink(
    "postgres",
    PostgresSettings,
    open_postgres,
    kind="network",
    delivery=structs.replace(
        NETWORK, queue=400_000, batch_records=5000, batch_bytes=5_000_000, batch_age=0.5, timeout=30.0
    ),
    example={"host": "127.0.0.1"},
    module="asyncpg",
)
