"""The schema of a configuration: its keys, their types, and the rules for single values."""

import os
import re
from collections.abc import Callable, Collection
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_type_hints
from urllib.parse import urlsplit

from msgspec import NODEFAULT, Struct, structs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    create_model,
)

from aggregator.catalog.catalog import CatalogEntry, ids_by_name, load_catalog
from aggregator.cluster.settings import ClusterKeys
from aggregator.errors import nearest
from aggregator.ingest.bounds import MOST_INSTRUMENTS, MOST_TOPICS
from aggregator.ingest.credentials import KeyPlace, parse_place
from aggregator.ingest.proxies import Proxy, find_proxy
from aggregator.records import CHANNELS
from aggregator.sinks.sink import Delivery, Patterns, Sink, SinkConfig
from aggregator.sinks.values import choices, path_text, quote, socket_path, to_seconds
from aggregator.sources.source import Reception, Source, SourceConfig

KnownChannels = Callable[
    [str], Collection[str] | None
]  # gives the channels of a connector; None where an exchange has none
Info = ValidationInfo[KnownChannels]

S = TypeVar("S", bound=Struct)

VERSION = 1  # the version of the configuration's keys and values
CANDLES = re.compile(r"candles_([1-9][0-9]{0,2}[smhdwM])")
FIRST_INTERVAL = "1m"  # a bare "candles" means this interval
SCHEMES = {"ws": "WebSocket", "wss": "WebSocket", "http": "HTTP", "https": "HTTP"}
LINGER_S = 60.0  # a client that begins anew is back by then
START_GRACE_S = 60.0  # most topics of most exchanges are live within this time
MOST_WORKERS = 64  # processes that gather
SHORTEST_LIFE_S = 5  # a connection lives at least so long
LONGEST_S = 3.2e9  # seconds, a century: a clock's nanoseconds have room for it


def split_channel(name: str) -> tuple[str, str | None]:
    """A channel of the file as the channel's own name and, of candles, the interval."""
    if match := CANDLES.fullmatch(name):
        return "candles", match[1]
    return name, FIRST_INTERVAL if name == "candles" else None


def _exchange(value: str, info: Info) -> str:
    refusal = why_not(value, is_built=info.context(value) is not None)
    if refusal is not None:
        raise ValueError(refusal)
    return value


def why_not(id: str, *, is_built: bool) -> str | None:
    """Why nothing can be had of an exchange of this id: unknown, ended, or without a connector; None where it can."""
    entry = load_catalog().get(id)
    if entry is None and is_built:
        return None  # a connector that somebody else has written
    if entry is None:
        meant = closest(id)
        hint = f"; did you mean {quote(meant)}?" if meant else '; "aggregator exchanges" lists all'
        return f"{quote(id)} is not an exchange of the catalogue{hint}"
    if entry.status not in {"live", "delisted"} or (entry.status == "delisted" and not is_built):
        return _end_of(entry)
    return (
        None if is_built else f'there is no connector for {quote(id)} yet; "aggregator exchanges" shows which have one'
    )


def closest(exchange: str) -> str | None:
    """The id that was most likely meant by an id or a name; where that id gave way to a live one, the live one."""
    catalog, names = load_catalog(), ids_by_name()
    meant = nearest(exchange, names)
    if meant is None:
        return None
    entry = catalog[names[meant]]
    successor = catalog.get(entry.successor or "")
    return successor.id if successor and successor.status == "live" else entry.id


def _end_of(entry: CatalogEntry) -> str:
    """How an id ended, when, and what to write instead."""
    successor = load_catalog().get(entry.successor or "")
    if entry.status == "duplicate-api":
        how = f"{quote(entry.id)} is an old API of {entry.successor}"
    elif entry.status == "renamed":
        how = f"{quote(entry.id)} was renamed to {entry.successor}{_when(entry)}"
    else:
        verb = {"closed": "closed", "suspended": "suspended trading"}.get(entry.status, "was delisted")
        how = f"{quote(entry.id)} {verb}{_when(entry)}: {entry.reason}"
    if successor and successor.status == "live":
        return f'{how}; use id = "{successor.id}"'
    if successor:
        verb = "closed" if successor.status == "closed" else "was delisted"
        return f"{how}; its successor {quote(successor.id)} {verb}{_when(successor)}"
    return f"{how}; {quote(entry.successor)} is not in the catalogue" if entry.successor else how


def _when(entry: CatalogEntry) -> str:
    first, _, last = (entry.closed or "").partition("..")
    if last:
        return f" between {first} and {last}"
    whole_day = len("2023-12-04")
    return f" {'on' if len(first) == whole_day else 'in'} {first}" if first else ""


def _channel(value: str, info: Info) -> str:
    exchange = info.data.get("id")
    offered = info.context(exchange) if exchange else CHANNELS
    name, _ = split_channel(value)
    if name.startswith("candles_"):
        raise ValueError(f'{quote(value)} is not an interval of candles; write it like "candles_5m" or "candles_1h"')
    if offered is not None and name not in offered:
        owner = f"a channel of {exchange}" if exchange else "a channel"
        raise ValueError(f"{quote(value)} is not {owner}{choices(value, offered)}")
    return value


def _symbol(value: str) -> str:
    if not value or value != value.strip() or not value.isprintable():
        raise ValueError(f'{quote(value)} is not a symbol; write "BTC/USDT", the exchange\'s own name, or a pattern')
    return value


def _address(value: str) -> str:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        raise ValueError('is not an address; write it like "wss://host:port/path"') from None  # it may hold a password
    if "@" in parts.netloc or ("@" in value and parts.scheme not in SCHEMES):
        raise ValueError("must not hold a user or password")
    if parts.scheme not in SCHEMES or f"{parts.scheme}://" != value[: len(parts.scheme) + 3]:
        raise ValueError(f"{quote(value)} must begin with ws://, wss://, http:// or https://")
    if not parts.hostname or parts.fragment or re.search(r"[\s\x00-\x1f\x7f]", value):
        raise ValueError(f'{quote(value)} is not an address; write it like "wss://host:port/path"')
    return value


def _endpoints(value: dict[str, str]) -> dict[str, str]:
    for original, replacement in value.items():
        if SCHEMES[urlsplit(original).scheme] != SCHEMES[urlsplit(replacement).scheme]:
            raise ValueError(f"{quote(replacement)} cannot stand for {quote(original)}: one is WebSocket, one HTTP")
    return value


def _proxy(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be text")  # noqa: TRY004 - pydantic takes a ValueError
    return value if value == "environment" else find_proxy(value)


def _transport(value: str, info: Info) -> str:
    proxy = info.data.get("proxy")
    if value == "picows" and info.data.get("compression"):
        raise ValueError('"picows" cannot do compression; write "auto" or "websockets"')
    if value == "picows" and isinstance(proxy, Proxy) and proxy.scheme == "socks5":
        raise ValueError('"picows" cannot do a proxy socks5://; write "auto" or "websockets", or a proxy socks5h://')
    return value


Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ExchangeTable(_Table):
    """One `[[exchanges]]`. A rule may look at what stands before: channels at `id`, `transport` at what it serves."""

    id: Annotated[str, AfterValidator(_exchange)]
    channels: Annotated[list[Annotated[str, AfterValidator(_channel)]], Field(min_length=1)]
    symbols: Annotated[list[Annotated[str, AfterValidator(_symbol)]], Field(min_length=1)]
    endpoints: Annotated[
        dict[Annotated[str, AfterValidator(_address)], Annotated[str, AfterValidator(_address)]],
        AfterValidator(_endpoints),
    ] = {}
    redundancy: Annotated[int, Field(ge=1, le=2)] = 1
    lifetime: Annotated[float, Field(ge=SHORTEST_LIFE_S, le=LONGEST_S), BeforeValidator(to_seconds)] | None = None
    verify: Literal["all", "sampled", "off"] = "all"
    relist: Annotated[float, Field(ge=0, le=LONGEST_S), BeforeValidator(to_seconds)] = 900
    max_instruments: Count = MOST_INSTRUMENTS
    max_topics: Count = MOST_TOPICS
    buckets: Annotated[int, Field(ge=1, le=MOST_WORKERS)] | None = None
    on_demand: bool = False
    linger: Annotated[float, Field(ge=0, le=LONGEST_S), BeforeValidator(to_seconds)] = LINGER_S
    on_start_error: Literal["fail", "retry"] = "retry"
    audit: Annotated[float, Field(ge=1, le=LONGEST_S), BeforeValidator(to_seconds)] | None = None
    credentials: dict[str, Annotated[KeyPlace, PlainValidator(parse_place)]] = {}
    proxy: Annotated[Any, BeforeValidator(_proxy)] = "environment"
    compression: bool = False
    transport: Annotated[Literal["auto", "picows", "websockets"], AfterValidator(_transport)] = "auto"


class SinkTable(_Table):
    """A `[[sinks]]` of one type: the fields are those of its settings struct, and of `Delivery` if it has a queue."""

    type: str


class SourceTable(_Table):
    """A `[[sources]]` of one type: the fields are those of its settings struct, and of `Reception`."""

    type: str


@cache
def sink_table(sink: Sink) -> type[SinkTable]:
    """The keys of a sink's table. Raises ValueError where its own are those that every sink has."""
    common = sink.defaults if sink.has_queue else None
    return create_model(f"{sink.name}Table", __base__=SinkTable, **_fields("sink", sink.name, sink.settings, common))


@cache
def source_table(source: Source) -> type[SourceTable]:
    """The keys of a source's table. Raises ValueError where its own are those that every source has."""
    fields = _fields("source", source.name, source.settings, Reception())
    return create_model(f"{source.name}SourceTable", __base__=SourceTable, **fields)


def _fields(what: str, name: str, own: type[Struct], common: Struct | None) -> dict[str, Any]:
    """The fields of a table: its own, and those that every such table has."""
    fields: dict[str, Any] = {}
    for owner, defaults in ((own, None), *(((type(common), common),) if common is not None else ())):
        hints = get_type_hints(owner, include_extras=True)
        for field in structs.fields(owner):
            if field.name in fields or field.name == "type":
                raise ValueError(f"the {what} {name!r} has a key {field.name!r} that every {what} has: rename it")
            value = _default(field) if defaults is None else getattr(defaults, field.name)
            fields[field.name] = hints[field.name], value
    return fields


def _default(field: structs.FieldInfo) -> object:
    if field.required:
        return ...
    return field.default if field.default_factory is NODEFAULT else Field(default_factory=field.default_factory)


def configured(sink: Sink, table: SinkTable) -> SinkConfig:
    """A checked table as the sink's settings, and what the frame goes by."""
    delivery = _read(Delivery, table) if sink.has_queue else sink.defaults
    return SinkConfig(sink, _read(sink.settings, table), delivery)


@cache
def cluster_table() -> type[BaseModel]:
    """The keys of the table `[cluster]`."""
    return create_model("ClusterTable", __base__=_Table, **_fields("cluster", "cluster", ClusterKeys, None))


def configured_cluster(table: BaseModel) -> ClusterKeys:
    """The checked table `[cluster]`."""
    return ClusterKeys(**{name: getattr(table, name) for name in ClusterKeys.__struct_fields__})


def configured_source(source: Source, table: SourceTable) -> SourceConfig:
    """A checked table as the source's settings, and what the frame goes by."""
    return SourceConfig(source, _read(source.settings, table), _read(Reception, table))


def _read(kind: type[S], table: _Table) -> S:
    return kind(**{name: getattr(table, name) for name in kind.__struct_fields__})


def _workers(value: object) -> object:
    """Read how many processes gather; `auto`: as many as there are processors for this one."""
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS) if value == "auto" else value


class Document(_Table):
    """The whole file. Validate it with `context=` the KnownChannels."""

    version: Annotated[int, Field(ge=1)] = VERSION
    state: Annotated[str, AfterValidator(path_text)] | None = None
    control: Annotated[str, AfterValidator(path_text), AfterValidator(socket_path)] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "journal", "console", "json"] = "auto"
    required: Patterns = ()
    start_grace: Annotated[float, Field(ge=0, le=LONGEST_S), BeforeValidator(to_seconds)] = START_GRACE_S
    workers: Annotated[int, Field(ge=1, le=MOST_WORKERS), BeforeValidator(_workers)] = 1
    exchanges: Annotated[list[ExchangeTable], Field(min_length=1)]
    cluster: dict[str, Any] | None = None  # read by `cluster_table`
    sources: list[dict[str, Any]] = []  # each is read by the table of its type
    sinks: Annotated[list[dict[str, Any]], Field(min_length=1)]  # likewise


class SourcesDocument(Document):
    """A file that names sources, and so need not name an exchange."""

    exchanges: list[ExchangeTable] = []


class ClusterDocument(Document):
    """A file of a member of a cluster, which need not write anything itself, and may leave exchanges to the cluster."""

    exchanges: list[ExchangeTable] = []
    sinks: list[dict[str, Any]] = []


class SinksDocument(Document):
    """A file of which only the sinks are wanted."""

    exchanges: list[ExchangeTable] = []
