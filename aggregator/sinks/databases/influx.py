"""The `influx` sink: points of InfluxDB 1 and 2, and of VictoriaMetrics, by their line protocol.

These are stores of measured values: a point is named by its series and its time, and a second point of that name takes
the place of the first. So records that tell a value go there, and neither trades nor books. Of a time the last three
digits are those of the record's offset: no two records share a point, and one that comes twice is one.
Protocol: https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from math import isfinite
from operator import attrgetter
from types import MappingProxyType
from typing import Annotated, Any, Literal

import aiohttp
from msgspec import Struct, structs
from pydantic import AfterValidator, Field, ValidationInfo

from aggregator.ingest.lines import USER_AGENT
from aggregator.records import (
    CHANNEL_OF,
    Bbo,
    Candle,
    Funding,
    Gap,
    Health,
    IndexPrice,
    Instrument,
    MarkPrice,
    OpenInterest,
    OptionSummary,
    Record,
    Status,
    Summary,
    Ticker,
)
from aggregator.sinks.address import address
from aggregator.sinks.databases.rows import Getter, Part, are_null, getters, parts_of, refusal
from aggregator.sinks.http import WebhookAnswer, in_words, judge
from aggregator.sinks.naming import INFLUX, MOST_PLACES
from aggregator.sinks.sink import NETWORK, Batch, Context, Sink, Writer
from aggregator.sinks.tls import only_with, tls_context
from aggregator.sinks.values import FilePath, Secret, quote, reveal
from aggregator.tables.columns import Column, Kind, are_plain, is_number, tag

# The records that are points, and the fields that tell series apart beside exchange and symbol.
POINTS: Mapping[type[Record], tuple[str, ...]] = MappingProxyType({
    Bbo: ("origin",),
    Ticker: (),
    Candle: ("interval", "origin"),
    Funding: ("kind",),
    OpenInterest: ("size_unit",),
    MarkPrice: (),
    IndexPrice: ("index",),
    OptionSummary: ("underlying",),
})  # fmt: skip
LEFT_OUT = (Gap, Health, Summary, Status, Instrument)  # these come with what was asked for, and are no values
TOPICS = tuple(f"{CHANNEL_OF[kind]}:*:*" for kind in POINTS)
# No chart shows these, and the offset stands in each line by itself.
ENVELOPE = frozenset({"ts_recv", "ts_sent", "offset", "sequence", "sequence_first", "sequence_prev"})
PLAIN_LENGTH = 300  # characters of a plain number, for which no double is too small
PLAIN = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,300})?", re.ASCII)  # likewise
CONNECT_S = 10.0
IDLE_S = 30.0
LARGEST_ANSWER_BYTES = 65_536  # more of an answer is not read
NO_DATABASE = 404


def _dialect(value: str, info: ValidationInfo) -> str:
    """The dialect, beside the keys before it that belong to one of the two. Raises ValueError."""
    given = info.data
    if value == "v1" and given.get("token") is not None:
        raise ValueError("v1 knows no token: write `user` and `password`")
    if value == "v2" and (given.get("user") is not None or given.get("password") is not None):
        raise ValueError("v2 knows no user: write `token`")
    return value


class InfluxSettings(Struct, frozen=True, kw_only=True):
    """Points of InfluxDB or VictoriaMetrics: best prices, tickers, candles, funding and other values.

    url: the server, like `"http://127.0.0.1:8086"`; `https://` speaks TLS
    database: the database of v1, which is made where it is missing; the bucket of v2
    organization: the organization of v2
    user: the name to log in with, of v1
    password: where its password is: `"file:PATH"`, `"env:NAME"` or `"credential:NAME"`
    token: where a token is that lets us in, of v2
    dialect: `v1`: of InfluxDB 1 and VictoriaMetrics; `v2`: of InfluxDB 2 and 3, and of VictoriaMetrics
    ca: the file of the certificates that may have signed the server's; by default those that the system trusts
    certificate: the file of our own certificate, for a server that asks for one
    key: the file of its key; by default the same
    """

    url: Annotated[
        str,
        AfterValidator(address(("http", "https"), "http://127.0.0.1:8086", has_path=True)),
        AfterValidator(lambda value: value.rstrip("/")),
    ]
    database: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,63}$")] = "market"
    organization: str = ""
    user: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    dialect: Annotated[Literal["v1", "v2"], Field(validate_default=True), AfterValidator(_dialect)] = "v1"
    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: Annotated[FilePath | None, Field(validate_default=True), AfterValidator(only_with("https://", "url"))] = None


# --- the points


def time_of(ns: int, offset: int) -> int:
    """The time of a point: to the microsecond that of a record, and behind that the end of its offset."""
    return ns // 1000 * 1000 + offset % 1000


@cache
def _fields(kind: type[Record]) -> tuple[Getter, ...]:
    """The fields of a type that are measured, but the offset; text is not measured."""
    return tuple((column, get) for column, get in getters(kind) if column.kind in SPELL and column.name not in ENVELOPE)


@cache
def _tagged(kind: type[Record]) -> Callable[[Record], tuple[str | None, ...]]:
    """Read that by which the series of a type are told apart: exchange, both symbols, and its further tags."""
    return attrgetter("exchange", "symbol", "raw_symbol", *POINTS[kind])


def _number(value: str) -> str:
    """Spell the double nearest to a number. Raises ValueError where there is none."""
    if PLAIN.fullmatch(value):
        return value
    found = float(value) if is_number(value) else float("nan")
    if not isfinite(found):
        raise ValueError(f"{quote(value)} is no number that a double holds")
    return repr(found)


SPELL: Mapping[Kind, Callable[[Any], str]] = MappingProxyType({
    "number": _number,
    "count": "{}i".format,
    "time": "{}i".format,
    "measure": lambda value: repr(float(value)),
    "flag": lambda value: "true" if value else "false",
})  # fmt: skip


class Lines:
    """Records as lines; the beginning of each series' lines is remembered."""

    def __init__(self) -> None:
        self._known: dict[type[Record], dict[tuple[str | None, ...], str]] = {kind: {} for kind in POINTS}

    def of(self, part: Part, refused: dict[int, str]) -> list[str]:
        """The lines of records of one type that are points; where a number fits no double, its record is refused."""
        kind, records = part.record, part.records
        form = "%s offset=%di"
        offsets = [record.offset for record in records]
        told: list[Iterable[object]] = [self._series(kind, records), offsets]
        for column, get in _fields(kind):
            values = list(map(get, records))
            if are_null(values):
                continue
            if None not in values and column.kind in {"count", "time"}:
                form += f",{column.name}=%di"
            elif None not in values and column.kind == "number" and are_plain(values, PLAIN_LENGTH):
                form += f",{column.name}=%s"  # hot: mostly numbers stand in a line as they are
            else:
                form += "%s"
                values = [_told(column, at, value, refused) for at, value in zip(part.which, values, strict=True)]
            told.append(values)
        told.append(map(attrgetter("ts_open"), records) if kind is Candle else map(time_of, _came(records), offsets))
        lines = list(map(f"{form} %d".__mod__, zip(*told, strict=True)))
        return [line for at, line in zip(part.which, lines, strict=True) if at not in refused] if refused else lines

    def _series(self, kind: type[Record], records: list[Record]) -> list[str]:
        """The beginning of each record's line."""
        known = self._known[kind]
        keys = list(map(_tagged(kind), records))
        try:
            return [known[key] for key in keys]
        except KeyError:
            if len(known) > MOST_PLACES:
                known.clear()
            known |= {key: _beginning(kind, *key) for key in set(keys)}
            return [known[key] for key in keys]


def _beginning(kind: type[Record], exchange: str | None, symbol: str | None, raw: str | None, *tags: str | None) -> str:
    """The measurement and the tags of a series."""
    names = ("exchange", "symbol", *POINTS[kind])
    values = (exchange, raw if symbol is None else symbol, *tags)
    told = [f",{n}={INFLUX.part(each)}" for n, each in zip(names, values, strict=True) if each is not None]
    return tag(kind) + "".join(told)


def _told(column: Column, at: int, value: Any, refused: dict[int, str]) -> str:
    """A field as a line has it; empty: it is null, or its record is refused for it."""
    try:
        return "" if value is None else f",{column.name}={SPELL[column.kind](value)}"
    except ValueError as error:
        refused.setdefault(at, f"{column.name} {error}")
        return ""


def _came(records: list[Record]) -> list[int]:
    return [record.ts_recv for record in records]


# --- the writer


class InfluxWriter(Writer):
    """A server, and the connection to it that is kept open between requests."""

    def __init__(self, settings: InfluxSettings, context: Context, session: aiohttp.ClientSession) -> None:
        """Send with this session. Raises OSError where a secret cannot be read."""
        self._settings = settings
        self._clock = context.clock
        self._session = session
        self._lines = Lines()
        password, token = reveal(settings.password), reveal(settings.token)
        self._headers = {} if token is None else {"Authorization": f"Token {token}"}
        self._login = aiohttp.BasicAuth(settings.user, password or "", "utf-8") if settings.user is not None else None
        if settings.dialect == "v1":
            self._path, self._place = "/write", {"db": settings.database, "precision": "ns"}
        else:
            self._path = "/api/v2/write"
            self._place = {"bucket": settings.database, "org": settings.organization, "precision": "ns"}

    async def write(self, batch: Batch) -> None:
        """Post the points of a batch, and wait for the whole answer. Raises OSError, Retry or Refused."""
        refused: dict[int, str] = {}
        lines: list[str] = []
        for part in parts_of(batch):
            if part.record in POINTS:
                lines += self._lines.of(part, refused)
            elif not issubclass(part.record, LEFT_OUT):
                said = f"a {tag(part.record)} is no measured value: leave its channel out of `topics`"
                refused |= dict.fromkeys(part.which, said)
        if lines:
            await self._send("\n".join(lines).encode())
        if refused:
            raise refusal(refused)

    async def _send(self, body: bytes) -> None:
        answer = await self._posted(self._path, self._place, body)
        if answer.status == NO_DATABASE and self._settings.dialect == "v1" and b"database not found" in answer.body:
            query = {"q": f'CREATE DATABASE "{self._settings.database}"'}
            judge(await self._posted("/query", query, b""), self._clock())
            answer = await self._posted(self._path, self._place, body)
        judge(answer, self._clock())

    async def _posted(self, path: str, query: Mapping[str, str], body: bytes) -> WebhookAnswer:
        url = self._settings.url + path
        try:
            async with self._session.post(
                url, params=query, data=body, headers=self._headers, auth=self._login, allow_redirects=False
            ) as response:
                said = await response.content.read(LARGEST_ANSWER_BYTES)
                if not response.content.at_eof():
                    response.close()
                headers = response.headers
                later, where = headers.get("Retry-After", ""), headers.get("Location", "")
                return WebhookAnswer(response.status, response.reason or "", later, where, said)
        except (aiohttp.ClientError, ValueError) as error:
            raise OSError(in_words(error)) from error

    async def close(self) -> None:
        """Hang up. All that was taken has its answer by then."""
        await self._session.close()


async def open_influx(settings: InfluxSettings, context: Context) -> Writer:
    """Read the secrets; the first batch connects. Raises OSError."""
    is_tls = settings.url.startswith("https")
    tls = await asyncio.to_thread(tls_context, settings.ca, settings.certificate, settings.key) if is_tls else True
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=1, ssl=tls, keepalive_timeout=IDLE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),  # the frame limits the whole
        headers={"User-Agent": USER_AGENT},
        trust_env=False,
    )
    try:
        return InfluxWriter(settings, context, session)
    except BaseException:
        await session.close()
        raise


SINK = Sink(
    "influx",
    InfluxSettings,
    open_influx,
    kind="network",
    delivery=structs.replace(
        NETWORK, topics=TOPICS, queue=400_000, batch_records=5000, batch_bytes=5_000_000, batch_age=1.0, timeout=30.0
    ),
    example={"url": "http://127.0.0.1:8086"},
)
