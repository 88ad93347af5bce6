"""The `feed` as a sink: it has no queue of its own, since each subscriber has one."""

import logging
import re
from collections.abc import Iterable
from grp import getgrnam
from typing import Annotated

from msgspec import Struct, structs
from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationInfo

from aggregator.bus.selection import BadPattern
from aggregator.errors import ConfigError
from aggregator.feed.access import HASH, Access, Token
from aggregator.feed.activation import check_activated
from aggregator.feed.address import UnixAddress, parse_address
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.feed.status import FeedStatus
from aggregator.sinks.sink import Batch, Context, Sink, SinkConfig, Writer
from aggregator.sinks.values import HOW, Count, FilePath, Word, parse_place, quote, read_place, socket_path

HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
ORIGIN = re.compile(r"https?://[a-z0-9_.:\[\]-]{1,253}")
OWNER, EVERYONE = 0o600, 0o777  # the bits of a mode
DRAIN_S = 2.0  # subscribers have so long at the end to read what waits for them

log = logging.getLogger("aggregator.feed")


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


def _listen(value: str) -> str:
    address = parse_address(value)
    if isinstance(address, UnixAddress):
        socket_path(str(address.path))
    return value


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _host(value: str) -> str:
    if not HOST.fullmatch(value):
        raise ValueError(f'{quote(value)} is not the name of a host; write it without a port, like "market.local"')
    return value


def _origin(value: str) -> str:
    if not ORIGIN.fullmatch(value):
        raise ValueError(f'{quote(value)} is not an origin; write it like "https://charts.example", as browsers do')
    return value


def _tokens(value: object) -> tuple[Token, ...]:
    """The tokens of a configuration. Raises ValueError."""
    if not isinstance(value, list | tuple) or not all(isinstance(each, dict) for each in value):
        raise ValueError("must be tables [[feed.tokens]]")
    found = tuple(map(_token, value))
    twice = [token.name for token in found if sum(token.name == other.name for other in found) > 1]
    if twice:
        raise ValueError(f"two tokens are called {quote(twice[0])}")
    return found


def _token(table: dict[str, object]) -> Token:
    unknown = [key for key in table if key not in Token.__struct_fields__]
    if unknown:
        raise ValueError(f"{quote(unknown[0])} is no key of a token; allowed: {', '.join(Token.__struct_fields__)}")
    name, hash, topics = table.get("name"), table.get("hash"), table.get("topics")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError('each has a name of letters, digits, "_", "-" and ".", like name = "desk"')
    if not isinstance(hash, str) or not (HASH.fullmatch(hash) or _is_place(hash)):
        raise ValueError(f'{name}: hash must be "sha256:…" as `aggregator token` prints it, or the place of it: {HOW}')
    if topics is None:
        return Token(name, hash)
    if not isinstance(topics, list) or not topics or not all(isinstance(topic, str) for topic in topics):
        raise ValueError(f'{name}: topics must be a list of patterns, like ["trades:*:*"]; without it all are allowed')
    try:
        Access(name, topics)
    except BadPattern as error:
        raise ValueError(f"{name}: topics: {error}") from None
    return Token(name, hash, tuple(topics))


def _is_place(text: str) -> bool:
    try:
        return parse_place(text).kind != "plain"
    except ValueError:
        return False


def _with_hash(token: Token) -> Token:
    """A token with its hash, which may stand in a place of its own. Raises ConfigError."""
    if HASH.fullmatch(token.hash):
        return token
    place = parse_place(token.hash)
    try:
        text = read_place(place)
    except ValueError as error:
        raise ConfigError(f"feed: the hash of the token {token.name}: {place} {error}") from None
    if not HASH.fullmatch(text):
        raise ConfigError(
            f"feed: the hash of the token {token.name}: {place} holds no hash, as `aggregator token` prints"
        )
    return structs.replace(token, hash=text)


def _insecure(value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's own signature
    """Judge the ports by all that stands beside them. Raises ValueError for one that others reach unguarded."""
    given = info.data
    if given.get("tls_certificate") is None and (given.get("tls_key") or given.get("client_ca")):
        raise ValueError("tls_key and client_ca need a tls_certificate")
    settings = FeedSettings(
        listen=tuple(map(parse_address, given.get("listen", ()))),
        tokens=given.get("tokens", ()),
        tls_certificate=given.get("tls_certificate"),
        insecure=value,
    )
    for address in settings.listen:
        if refusal := settings.refusal(address):
            raise ValueError(refusal)
    return value


def check_sockets(sinks: Iterable[SinkConfig]) -> None:
    """Raise ConfigError where the service manager has opened a socket that no feed of these sinks names."""
    settings = [sink.settings for sink in sinks]
    listen = [address for each in settings if isinstance(each, FeedKeys) for address in each.listen]
    check_activated(map(parse_address, listen))


Mode = Annotated[int, BeforeValidator(_mode), Word("octal", lambda value: f'"0{value:o}"')]
GroupName = Annotated[str, AfterValidator(_group)]
Addresses = Annotated[list[Annotated[str, AfterValidator(_listen)]], Field(min_length=1), Word("list")]


Hosts = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], BeforeValidator(_frozen), Word("list")]
Insecure = Annotated[bool, Field(validate_default=True), AfterValidator(_insecure)]
Numbers = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_frozen), Word("list")]
Tokens = Annotated[tuple[Token, ...], PlainValidator(_tokens), Word("tables")]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_frozen), Word("list")]


class FeedKeys(Struct, frozen=True, kw_only=True):
    """Where subscribers connect.

    listen: `"unix:PATH"` (at most 107 bytes long), `"tcp:127.0.0.1:8790"` and `"http:127.0.0.1:8791"` (or `[::1]`), as
        many as wanted. A socket that systemd has opened at one of these addresses is taken over; one that none names is
        a mistake
    mode: the permissions of the unix socket: text, or `0o660`; of one of systemd's, `SocketMode=` says them
    group: its group, by name; by default the daemon's
    ring: records kept per client; one that is too slow loses its oldest and is told how many
    max_clients: further clients are turned away
    hosts: names by which HTTP may be spoken to, beside `localhost` and numbers of this machine
    origins: sites whose pages may read by HTTP, like `"https://charts.example"`
    deflate: whether a WebSocket is compressed where its client asks for it
    tokens: who may come by a port, as tables `[[feed.tokens]]` with `name`, `hash` and `topics`; `aggregator token`
        makes one. With any, no port gives anything to who shows none
    tls_certificate: the file of a certificate, with those between it and its root: all ports then speak TLS, 1.2 or
        later. It is read anew when it changes
    tls_key: the file of its key; by default the same
    client_ca: the file of those who sign the certificates that clients must have; without it they need none
    insecure: whether ports that other machines reach may be listened at without TLS and tokens
    max_clients_per_address: connections to all ports at once from one address (of IPv6: from one /64)
    allow_uids: users who may use a unix socket, by number; by default everybody whom its rights let in
    allow_gids: groups likewise, of which each must be its client's first
    """

    listen: Addresses
    mode: Mode = 0o660
    group: GroupName | None = None
    ring: Count = 10_000
    max_clients: Count = 1000
    hosts: Hosts = ()
    origins: Origins = ()
    deflate: bool = False
    tokens: Tokens = ()
    tls_certificate: FilePath | None = None
    tls_key: FilePath | None = None
    client_ca: FilePath | None = None
    insecure: Insecure = False
    max_clients_per_address: Count = 250
    allow_uids: Numbers = ()
    allow_gids: Numbers = ()


class FeedWriter(Writer):
    """Gives each batch to the server of the socket within the call that publishes it."""

    def __init__(self, server: FeedServer) -> None:
        self._server = server

    def write(self, batch: Batch) -> None:
        self._server.publish(batch)

    async def close(self) -> None:
        await self._server.stop(DRAIN_S)

    def detail(self) -> FeedStatus:
        """How the feed and its subscribers fare."""
        return self._server.status()


async def open_feed(keys: FeedKeys, context: Context) -> Writer:
    """Listen. Raises ConfigError where the socket cannot be had."""
    listen = tuple(map(parse_address, keys.listen))
    settings = FeedSettings(
        listen=listen,
        mode=keys.mode,
        group=keys.group,
        ring=keys.ring,
        max_clients=keys.max_clients,
        hosts=keys.hosts,
        origins=keys.origins,
        deflate=keys.deflate,
        tokens=tuple(map(_with_hash, keys.tokens)),
        tls_certificate=keys.tls_certificate,
        tls_key=keys.tls_key,
        client_ca=keys.client_ca,
        insecure=keys.insecure,
        max_clients_per_address=keys.max_clients_per_address,
        allow_uids=keys.allow_uids,
        allow_gids=keys.allow_gids,
    )
    server = FeedServer(settings, context.bus, context.daemon)
    await server.start()
    log.info("feed: whoever subscribes at %s is served", ", ".join(server.addresses))
    return FeedWriter(server)


SINK = Sink(
    "feed",
    FeedKeys,
    open_feed,
    example={
        "listen": ["unix:/run/aggregator/feed.sock"],
        "group": "market-data",
        "tls_certificate": "/etc/aggregator/feed.pem",
        "tls_key": "/etc/aggregator/feed.key",
        "client_ca": "/etc/aggregator/clients.pem",
    },
    has_queue=False,
    is_table=True,
)
