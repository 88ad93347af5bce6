"""The schema of a configuration: its keys, their types, and the rules for single values."""

import json
import re
from collections.abc import Callable, Collection
from grp import getgrnam
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from aggregator.catalog.catalog import CatalogEntry, closest, load_catalog
from aggregator.errors import nearest
from aggregator.exchange import MOST_INSTRUMENTS, MOST_TOPICS
from aggregator.feed.address import SOCKET_PATH_BYTES, TcpAddress, parse_address
from aggregator.feed.settings import FeedSettings
from aggregator.ingest.proxies import Proxy, find_proxy
from aggregator.records import CHANNELS
from aggregator.sinks.settings import TEMPLATE_FIELDS, FilesSettings, StdoutSettings

SinkSettings = FilesSettings | StdoutSettings | FeedSettings
KnownChannels = Callable[
    [str], Collection[str] | None
]  # gives the channels of a connector; None where an exchange has none
Info = ValidationInfo[KnownChannels]

VERSION = 1  # the version of the configuration's keys and values
SIZE = re.compile(r"([0-9]{1,12})\s*(?:([kmg])(i)?)?b?", re.IGNORECASE)
POWERS = {"k": 1, "m": 2, "g": 3}
DURATION = re.compile(r"([0-9]{1,5})\s*([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
CANDLES = re.compile(r"candles_([1-9][0-9]{0,2}[smhdwM])")
FIRST_INTERVAL = "1m"  # a bare "candles" means this interval
SCHEMES = {"ws": "WebSocket", "wss": "WebSocket", "http": "HTTP", "https": "HTTP"}
SHORTEST_LIFE_S = 5  # seconds of a connection
OWNER, EVERYONE = 0o600, 0o777  # the bits of a mode
SHOWN = 80  # characters of a value that a message repeats

FILES = FilesSettings(path=Path())  # it holds the defaults
FEED = FeedSettings(listen=())
STDOUT = StdoutSettings()


def quote(value: str) -> str:
    """A text of the file as a message shows it: on one line, whatever it holds, and not long."""
    shown = value if len(value) <= SHOWN else f"{value[:SHOWN]}…"
    return json.dumps(shown, ensure_ascii=not shown.isprintable())


def choices(value: str, allowed: Collection[str]) -> str:
    """The end of a message that says what is allowed, and what was probably meant."""
    meant = nearest(value, allowed)
    hint = f"; did you mean {quote(meant)}?" if meant else ""
    return f"; allowed: {', '.join(sorted(allowed))}{hint}"


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


def _end_of(entry: CatalogEntry) -> str:
    """How an id ended, when, and what to write instead."""
    successor = load_catalog().get(entry.successor or "")
    if entry.status == "duplicate-api":
        how = f"{quote(entry.id)} is an old API of {entry.successor}"
    elif entry.status == "renamed":
        how = f"{quote(entry.id)} was renamed to {entry.successor}{_when(entry)}"
    else:
        verb = "closed" if entry.status == "closed" else "was delisted"
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


def _path(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError(f"{quote(value)} is not a path")
    try:
        return str(Path(value).expanduser())
    except RuntimeError as error:
        raise ValueError(f"{quote(value)}: {error}") from error


def _socket_path(value: str) -> str:
    if len(value.encode()) > SOCKET_PATH_BYTES:
        raise ValueError(f"is longer than the {SOCKET_PATH_BYTES} bytes that a unix socket's path may have")
    return value


def _listen(value: str) -> str:
    address = parse_address(value)
    if isinstance(address, TcpAddress) and not address.is_loopback:
        raise ValueError(address.refusal)
    return value


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


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f'{quote(value)} is not a size; write bytes, or text like "256MB" or "256MiB"')
    unit = 1024 if match[3] else 1000
    return int(match[1]) * unit ** POWERS.get((match[2] or "").lower(), 0)


def _duration(value: object) -> object:
    if isinstance(value, str):
        match = DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError(f'{quote(value)} is not a duration; write text like "15m", "1h" or "1d"')
        return int(match[1]) * SECONDS[match[2]]
    return value


def _seconds(value: object) -> object:
    value = _duration(value)
    day = SECONDS["d"]
    if isinstance(value, int | float) and not (0 < value <= day and day % value == 0):
        raise ValueError('must divide a day evenly, like "15m", "1h" or "1d"')
    return value


def _mode(value: object) -> object:
    if isinstance(value, str):
        if not re.fullmatch("(0o?)?[0-7]{3}", value):
            raise ValueError(f'{quote(value)} is not a mode; write it like "0660"')
        value = int(value.removeprefix("0o"), 8)
    if isinstance(value, int) and (value & OWNER != OWNER or value & ~EVERYONE):
        raise ValueError('must be octal and let the owner read and write, like "0660" or 0o660')
    return value


def _group(value: str) -> str:
    try:
        getgrnam(value)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{quote(value)} is not a group of this machine") from error
    return value


Bytes = Annotated[int, Field(ge=1, le=1 << 50), BeforeValidator(_bytes)]
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
    lifetime: Annotated[float, Field(ge=SHORTEST_LIFE_S), BeforeValidator(_duration)] | None = None
    verify: Literal["all", "sampled", "off"] = "all"
    relist: Annotated[float, Field(ge=0), BeforeValidator(_duration)] = 900
    max_instruments: Count = MOST_INSTRUMENTS
    max_topics: Count = MOST_TOPICS
    audit: Annotated[float, Field(ge=1), BeforeValidator(_duration)] | None = None
    proxy: Annotated[Any, BeforeValidator(_proxy)] = "environment"
    compression: bool = False
    transport: Annotated[Literal["auto", "picows", "websockets"], AfterValidator(_transport)] = "auto"


class FilesTable(_Table):
    """A `[[sinks]]` of type `files`."""

    type: Literal["files"]
    path: Annotated[str, AfterValidator(_path)]
    template: Annotated[str, AfterValidator(_template)] = FILES.template
    rotate_bytes: Bytes = FILES.rotate_bytes
    rotate_every: Annotated[float, BeforeValidator(_seconds)] = FILES.rotate_every
    compress: bool = FILES.compress
    queue: Count = FILES.queue

    def settings(self) -> SinkSettings:
        return FilesSettings(
            path=Path(self.path),
            template=self.template,
            rotate_bytes=self.rotate_bytes,
            rotate_every=self.rotate_every,
            compress=self.compress,
            queue=self.queue,
        )


class StdoutTable(_Table):
    """A `[[sinks]]` of type `stdout`."""

    type: Literal["stdout"]
    format: Literal["ndjson"] = "ndjson"
    queue: Count = STDOUT.queue

    def settings(self) -> SinkSettings:
        return StdoutSettings(format=self.format, queue=self.queue)


class FeedTable(_Table):
    """The table `[feed]`, which stands among the sinks when it is read."""

    type: Literal["feed"]
    listen: Annotated[list[Annotated[str, AfterValidator(_listen)]], Field(min_length=1)]
    mode: Annotated[int, BeforeValidator(_mode)] = FEED.mode
    group: Annotated[str, AfterValidator(_group)] | None = FEED.group
    ring: Count = FEED.ring
    max_clients: Count = FEED.max_clients

    def settings(self) -> SinkSettings:
        return FeedSettings(
            listen=tuple(map(parse_address, self.listen)),
            mode=self.mode,
            group=self.group,
            ring=self.ring,
            max_clients=self.max_clients,
        )


SINKS: dict[str, type[_Table]] = {"files": FilesTable, "stdout": StdoutTable, "feed": FeedTable}


class Document(_Table):
    """The whole file. Validate it with `context=` the KnownChannels."""

    version: Annotated[int, Field(ge=1)] = VERSION
    state: Annotated[str, AfterValidator(_path)] | None = None
    control: Annotated[str, AfterValidator(_path), AfterValidator(_socket_path)] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    exchanges: Annotated[list[ExchangeTable], Field(min_length=1)]
    sinks: Annotated[
        list[Annotated[FilesTable | StdoutTable | FeedTable, Field(discriminator="type")]], Field(min_length=1)
    ]


class SinksDocument(Document):
    """The same where only the sinks are wanted."""

    exchanges: list[ExchangeTable] = []
