"""The `questdb` sink: a table for each record type, by the line protocol over HTTP, whose version 3 has decimals.

Tables are made with keys by which the server passes over a row that comes twice. The client is of blocking calls, so it
works in a thread. It sends nothing by itself and repeats nothing: the frame does.
Protocol: https://questdb.com/docs/ingestion/ilp/overview/
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache, partial
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import aiohttp
from msgspec import Struct, structs
from pydantic import AfterValidator, Field, ValidationInfo

from aggregator.ingest.lines import USER_AGENT
from aggregator.records import RECORD_TYPES, Record
from aggregator.sinks.address import address
from aggregator.sinks.databases.rows import (
    Getter,
    Part,
    are_null,
    as_json,
    getters,
    kept,
    misfitting,
    parts_of,
    refusal,
    values_of,
)
from aggregator.sinks.http import in_words
from aggregator.sinks.naming import MOST_PLACES
from aggregator.sinks.sink import NETWORK, Batch, Context, Refused, Retry, Sink, Writer
from aggregator.sinks.tls import tls_context
from aggregator.sinks.values import FilePath, Secret, reveal
from aggregator.sinks.worker import Worker
from aggregator.tables.columns import EPOCH, WIDE, Column, Kind, columns, tag

if TYPE_CHECKING:
    from questdb import Sender

TYPES: Mapping[Kind, str] = MappingProxyType({
    "text": "VARCHAR",
    "word": "SYMBOL",
    "number": f"DECIMAL({WIDE.digits}, {WIDE.fraction})",
    "time": "TIMESTAMP_NS",
    "count": "LONG",
    "measure": "DOUBLE",
    "flag": "BOOLEAN",
    "words": "VARCHAR",
    "rows": "VARCHAR",
    "json": "VARCHAR",
})  # fmt: skip
TIME = "ts_recv"  # each table's own time
WITH_DECIMALS = 3  # the first version of the protocol that has them
SCHEMES = {"http": 9000, "https": 9000}
REQUEST_S = 20.0  # then a request has failed, whatever the frame's own timeout is
INVALID = re.compile(r'code"?: *"?invalid')  # the server says so where a row is to blame
SHOWN = 300  # characters of an answer, which the reason repeats


def _ca(value: Any, info: ValidationInfo) -> Any:
    if value is not None and not info.data.get("url", "https").startswith("https"):
        raise ValueError("is of TLS: write https:// in `url`")
    return value


class QuestdbSettings(Struct, frozen=True, kw_only=True):
    """Tables of QuestDB.

    url: the server, by HTTP, like `"http://127.0.0.1:9000"`; `https://` speaks TLS
    prefix: begins the name of each table, as there are no schemas
    user: the name to log in with
    password: where its password is: `"file:PATH"`, `"env:NAME"` or `"credential:NAME"`
    token: where a token is that lets us in, in place of both
    ca: the file of the certificates that may have signed the server's; by default well-known ones
    """

    url: Annotated[
        str, AfterValidator(address(SCHEMES, "http://127.0.0.1:9000")), AfterValidator(lambda value: value.rstrip("/"))
    ]
    prefix: Annotated[str, Field(pattern="^[a-z0-9_]{0,63}$")] = "market_"
    user: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    ca: Annotated[FilePath | None, AfterValidator(_ca)] = None


# --- the tables


def is_symbol(column: Column) -> bool:
    """Tell whether a column is a SYMBOL: words are, and truths that may be null, as a BOOLEAN is never."""
    return column.kind == "word" or (column.kind == "flag" and column.is_null)


def statement(prefix: str, record: type[Record]) -> str:
    """The statement that makes the table of a type."""
    told = [f'"{c.name}" {"SYMBOL" if is_symbol(c) else TYPES[c.kind]}' for c in kept(record)]
    return (
        f'CREATE TABLE IF NOT EXISTS "{prefix}{tag(record)}" ({", ".join(told)}) TIMESTAMP({TIME}) '
        f'PARTITION BY DAY WAL DEDUP UPSERT KEYS({TIME}, {EPOCH}, "offset")'
    )


# --- the values


@cache
def _makers() -> Mapping[Kind, Callable[[Any], Any]]:
    """The calls that make of a value of each kind what the client takes; other kinds are taken as they are."""
    from questdb import TimestampNanos

    return {
        "number": Decimal,
        "time": TimestampNanos,
        "words": lambda value: as_json(value) if value else None,
        "rows": as_json,
    }


@cache
def _others(record: type[Record]) -> tuple[Getter, ...]:
    """The columns of a type that are no symbols, but the time of the table, and what reads them."""
    return tuple(each for each in getters(record) if each[0].name != TIME and not is_symbol(each[0]))


@cache
def _symbols(record: type[Record]) -> tuple[tuple[Column, ...], Callable[[Record], tuple[Any, ...]]]:
    """The columns of a type that are symbols, the epoch first, and what reads all but that."""
    found = tuple(filter(is_symbol, columns(record)))
    return found, attrgetter(*[column.name for column in found[1:]])


class RowSymbols:
    """The symbols of records; of each set of them one dictionary is remembered, as there are few."""

    def __init__(self) -> None:
        self._known: dict[type[Record], dict[tuple[Any, ...], dict[str, str]]] = {}
        self._epoch = ""  # all of them are of this one

    def of(self, part: Part) -> list[dict[str, str]]:
        """The symbols of each record; null is left out."""
        if part.epoch != self._epoch:
            self._epoch = part.epoch
            self._known.clear()
        known = self._known.setdefault(part.record, {})
        told, get = _symbols(part.record)
        keys = list(map(get, part.records))
        try:
            return [known[key] for key in keys]
        except KeyError:
            if len(known) > MOST_PLACES:
                known.clear()
            known |= {key: dict(_told(told, (part.epoch, *key))) for key in set(keys)}
            return [known[key] for key in keys]


def _told(told: Sequence[Column], values: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for column, value in zip(told, values, strict=True):
        if value not in {None, ""}:  # an empty symbol is none of the protocol
            yield column.name, str(value).lower() if column.kind == "flag" else value


def rows_of(part: Part, symbols: RowSymbols) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """The symbols and the other columns of each record; null is none. The time of the table is not among them.

    The dictionary of the other columns is one and the same, which is filled anew for each record.
    """
    others = _others(part.record)
    held, misfits = values_of(part, others)
    named = [*(column for column, _ in others), kept(part.record)[-1]]
    told = {column.name: _made(column, values) for column, values in zip(named, [*held, misfits], strict=True)}
    there = {name: values for name, values in told.items() if values}
    names = tuple(there)
    row: dict[str, Any] = {}
    for symbol, values in zip(symbols.of(part), zip(*there.values(), strict=True), strict=True):
        row.update(zip(names, values))  # noqa: B905 - hot: they are as many
        yield symbol, row


def _made(column: Column, values: Sequence[Any]) -> Sequence[Any]:
    """The values of a column as the client takes them; empty: all are null."""
    if not any(values) if column.kind == "words" else are_null(values):
        return ()
    make = _makers().get(column.kind)
    if make is None:
        return values
    if None in values:
        return [None if value is None else make(value) for value in values]
    return list(map(make, values))


# --- the writer


class QuestdbWriter(Writer):
    """A sender, which one thread works with."""

    def __init__(self, settings: QuestdbSettings, worker: Worker, sender: "Sender") -> None:
        """Write by a sender that has greeted the server."""
        self._prefix = settings.prefix
        self._worker = worker
        self._sender = sender
        self._symbols = RowSymbols()

    async def write(self, batch: Batch) -> None:
        """Have a batch in its tables. Raises OSError, Retry or Refused."""
        await self._worker.do(partial(self._send, batch))

    def _send(self, batch: Batch) -> None:
        from questdb import QuestDBError, TimestampNanos

        refused = misfitting(batch, WIDE)
        buffer = self._sender.new_buffer()
        for part in parts_of(batch, frozenset(refused)):
            name = self._prefix + tag(part.record)
            for at, record, (symbols, others) in zip(
                part.which, part.records, rows_of(part, self._symbols), strict=True
            ):
                try:
                    buffer.row(name, symbols=symbols, columns=others, at=TimestampNanos(record.ts_recv))
                except (QuestDBError, ValueError, TypeError, OverflowError) as error:
                    refused[at] = _said(error)  # nothing of it is in the buffer
        try:
            if len(buffer):
                self._sender.flush(buffer)
        except QuestDBError as error:
            raise failure(error) from error
        if refused:
            raise refusal(refused)

    async def close(self) -> None:
        """Hang up. All that was taken has its answer by then."""
        self._worker.put(partial(self._sender.close, flush=False))
        self._worker.stop()


def failure(error: Exception) -> Exception:
    """A failure in words: of a record, one that may pass, or one that takes a new connection."""
    from questdb import QuestDBErrorCode

    said = _said(error)
    if getattr(error, "code", None) == QuestDBErrorCode.ServerFlushError:
        return Refused(said) if INVALID.search(str(error)) else Retry(said)
    return OSError(said)


def _said(error: Exception) -> str:
    return " ".join(str(error).removeprefix("Could not flush buffer: ").split())[:SHOWN]


async def open_questdb(settings: QuestdbSettings, context: Context) -> Writer:  # noqa: ARG001 - every sink has it
    """Make the tables that are missing, and connect. Raises OSError."""
    parts = urlsplit(settings.url)
    tls = await asyncio.to_thread(tls_context, settings.ca, None, None) if parts.scheme == "https" else True
    await _have_tables(settings, tls)
    worker = Worker("questdb")
    try:
        return QuestdbWriter(settings, worker, await worker.do(partial(_sender, settings)))
    except BaseException:
        worker.stop()
        raise


async def _have_tables(settings: QuestdbSettings, tls: Any) -> None:
    """Make the tables that are missing. Raises OSError."""
    password, token = reveal(settings.password), reveal(settings.token)
    headers = {"User-Agent": USER_AGENT} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    login = aiohttp.BasicAuth(settings.user, password or "", "utf-8") if settings.user is not None else None
    timeout = aiohttp.ClientTimeout(total=REQUEST_S)
    connector = aiohttp.TCPConnector(limit=1, ssl=tls)
    try:
        async with aiohttp.ClientSession(connector=connector, headers=headers, auth=login, timeout=timeout) as session:
            for record in RECORD_TYPES:
                query = {"query": statement(settings.prefix, record)}
                async with session.get(f"{settings.url}/exec", params=query, allow_redirects=False) as response:
                    said = (await response.content.read(SHOWN)).decode("utf-8", "replace")
                    if response.status != 200:
                        raise OSError(f"the table {tag(record)} cannot be made: {response.status} {said}")
    except aiohttp.ClientError as error:
        raise OSError(in_words(error)) from error


def _sender(settings: QuestdbSettings) -> "Sender":
    """A sender that has greeted the server; it is called in the thread. Raises OSError."""
    from questdb import Protocol, QuestDBError, Sender

    parts = urlsplit(settings.url)
    try:
        sender = Sender(
            Protocol.Https if parts.scheme == "https" else Protocol.Http,
            parts.hostname or "",
            parts.port or SCHEMES[parts.scheme],
            username=settings.user,
            password=reveal(settings.password),
            token=reveal(settings.token),
            tls_roots=settings.ca,
            auto_flush=False,
            retry_timeout=0,
            request_timeout=round(REQUEST_S * 1000),
        )
        sender.establish()  # type: ignore[no-untyped-call,unused-ignore]
    except QuestDBError as error:
        raise OSError(_said(error)) from error
    if sender.protocol_version < WITH_DECIMALS:
        version = sender.protocol_version
        sender.close(flush=False)
        raise OSError(f"the server speaks version {version} of the protocol, which has no decimals: take QuestDB 9.2")
    return sender


SINK = Sink(
    "questdb",
    QuestdbSettings,
    open_questdb,
    kind="network",
    delivery=structs.replace(
        NETWORK, queue=400_000, batch_records=5000, batch_bytes=5_000_000, batch_age=0.5, timeout=30.0
    ),
    example={"url": "http://127.0.0.1:9000"},
    module="questdb",
)
