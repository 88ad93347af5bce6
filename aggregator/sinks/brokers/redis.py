"""The `redis` sink: records in streams, as published messages, or the latest of each topic in hashes.

Redis knows no repeated XADD by itself, so the place that a stream has reached is read from it whenever the sink is
opened: an entry's id holds the offset of its last record, and its field `epoch` the daemon's life.
Commands: https://redis.io/docs/latest/commands/xadd/
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Struct, structs
from pydantic import AfterValidator, Field

from aggregator.bus.selection import topic_keys
from aggregator.records import MS_NS, BookDelta, BookSnapshot, Gap, OrdersDelta, OrdersSnapshot, Record
from aggregator.sinks.messages import Message, messages_of
from aggregator.sinks.naming import REDIS, Places
from aggregator.sinks.sink import NETWORK, Batch, Context, Refused, Retry, Sink, Writer
from aggregator.sinks.values import Count, FilePath, Secret, names_login, quote, reveal

if TYPE_CHECKING:
    from redis.asyncio import Redis

LARGEST_BYTES = 4_000_000  # an entry, or a message; a server takes 512 MB, and its readers would not like it
SCHEMES = ("redis", "rediss", "unix")
NO_LATEST = (BookDelta, BookSnapshot, OrdersDelta, OrdersSnapshot, Gap)  # the latest of these alone tells nothing
CONNECT_S = 5.0


def _url(value: str) -> str:
    """An address of a server. Raises ValueError."""
    if names_login(value):
        raise ValueError("names who logs in: write user and password as keys of their own")
    try:
        parts = urlsplit(value)
        has_port = parts.port is None or parts.port > 0
    except ValueError as error:
        raise ValueError(f"{quote(value)}: {error}") from None
    if parts.scheme not in SCHEMES or not (parts.path if parts.scheme == "unix" else parts.hostname) or not has_port:
        raise ValueError(
            f'{quote(value)} is no address; write "redis://127.0.0.1:6379/0", "rediss://…" for TLS or "unix:///PATH"'
        )
    return value


class RedisSettings(Struct, frozen=True, kw_only=True):
    """Streams, messages or hashes of Redis or Valkey.

    url: the server, like `"redis://127.0.0.1:6379/0"`; `rediss://` speaks TLS, `unix:///PATH` is a socket
    mode: `batches`: the records of a batch that are of one channel and exchange are one entry of the stream
        `PREFIX:CHANNEL:EXCHANGE`; `records`: each record is an entry of `PREFIX:CHANNEL:EXCHANGE:SYMBOL`, some ten
        times as slowly; `publish`: each record is published to those who listen at that name, and is stored nowhere;
        `latest`: the latest record of each topic but books and orders is in the hash `PREFIX:CHANNEL`
    prefix: begins every key
    maxlen: entries that a stream keeps, about; the oldest go then
    user: the name to log in with
    password: where its password is: `"file:PATH"`, `"env:NAME"` or `"credential:NAME"`
    ca: the file of the certificates that may have signed the server's; by default those that the system trusts
    certificate: the file of our own certificate, for a server that asks for one
    key: the file of its key; by default the same
    """

    url: Annotated[str, AfterValidator(_url)]
    mode: Literal["batches", "records", "publish", "latest"] = "batches"
    prefix: Annotated[str, Field(pattern="^[A-Za-z0-9_.-]+$")] = "market"
    maxlen: Count = 1_000_000
    user: str | None = None
    password: Secret | None = None
    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: FilePath | None = None


class StreamEnd(Struct):
    """How far a stream is.

    ms: the first part of its last id
    epoch: of its last entry
    offset: of the last record in that
    """

    ms: int = 0
    epoch: str = ""
    offset: int = -1


class RedisWriter(Writer):
    """A connection, and how far each stream has come."""

    def __init__(self, settings: RedisSettings, client: "Redis") -> None:
        self._settings = settings
        self._client = client
        self._places = Places(REDIS, f"{settings.prefix}:", by_symbol=settings.mode != "batches")
        self._reached: dict[str, StreamEnd] = {}

    async def write(self, batch: Batch) -> None:
        """Hand over a batch, and wait for the server's answers. Raises OSError, Retry or Refused."""
        from redis.exceptions import RedisError

        try:
            match self._settings.mode:
                case "publish":
                    await self._publish(batch)
                case "latest":
                    await self._keep_latest(batch)
                case _:
                    await self._append(batch)
        except RedisError as error:
            raise _failure(error) from error

    async def _append(self, batch: Batch) -> None:
        """Append what the streams do not have yet."""
        most_records = 1 if self._settings.mode == "records" else None
        messages, too_large = messages_of(
            batch, self._places.of(batch.records), most_bytes=LARGEST_BYTES, most_records=most_records
        )
        await self._look({message.place for message in messages if message.place not in self._reached})
        pipe = self._client.pipeline(transaction=False)
        sent = []
        for message in messages:
            payload = self._missing(batch, message)
            if payload:
                entry = {"epoch": batch.epoch, "records": payload}
                id = self._next_id(batch, message)
                pipe.xadd(message.place, entry, id=id, maxlen=self._settings.maxlen, approximate=True)
                sent.append(message)
        try:
            answers = await pipe.execute(raise_on_error=False) if sent else []
            too_large += _refused(sent, answers)
        except BaseException:
            self._reached.clear()  # nobody knows how far the streams are now: they are asked before anything is sent
            raise
        if too_large:
            raise Refused("too large, or its key holds something that is no stream", too_large)

    async def _look(self, places: set[str]) -> None:
        """Find out how far streams are that were not written to since the sink was opened."""
        if not places:
            return
        names = sorted(places)
        pipe = self._client.pipeline(transaction=False)
        for name in names:
            pipe.xrevrange(name, count=1)
        for name, found in zip(names, await pipe.execute(raise_on_error=False), strict=True):
            if isinstance(found, Exception) and not str(found).startswith("WRONGTYPE"):
                raise found
            reached = self._reached[name] = StreamEnd()
            if isinstance(found, list) and found:
                id, fields = found[0]
                ms, offset = map(int, id.split(b"-"))
                reached.ms, reached.epoch, reached.offset = ms, fields.get(b"epoch", b"").decode(), offset

    def _missing(self, batch: Batch, message: Message) -> bytes:
        """The lines of a message that its stream does not have: all of them, but for a batch that comes again."""
        reached = self._reached[message.place]
        if reached.epoch != batch.epoch or reached.offset < message.first:
            return message.payload
        left = [at for at in message.which if batch.records[at].offset > reached.offset]
        return b"".join([batch.lines[at] for at in left])

    def _next_id(self, batch: Batch, message: Message) -> str:
        """An id above all of the stream's: the time in ms and the offset, whatever the clock has done since."""
        reached = self._reached[message.place]
        ms = max(reached.ms if reached.epoch == batch.epoch else reached.ms + 1, _ms(batch.records[message.which[-1]]))
        reached.ms, reached.epoch, reached.offset = ms, batch.epoch, message.last
        return f"{ms}-{message.last}"

    async def _publish(self, batch: Batch) -> None:
        pipe = self._client.pipeline(transaction=False)
        for place, line in zip(self._places.of(batch.records), batch.lines, strict=True):
            pipe.publish(place, line[:-1])
        await pipe.execute()

    async def _keep_latest(self, batch: Batch) -> None:
        """Set the latest record of each topic, by one command for each channel."""
        records, lines = batch.records, batch.lines
        newest = sorted(dict(zip(topic_keys(records), range(len(batch)), strict=True)).values())
        newest = [at for at in newest if not isinstance(records[at], NO_LATEST)]
        hashes: dict[str, dict[str, bytes]] = {}
        for at, place in zip(newest, self._places.of([records[at] for at in newest]), strict=True):
            prefix, channel, field = place.split(REDIS.separator, 2)  # no part of a name holds the separator
            hashes.setdefault(f"{prefix}:{channel}", {})[field] = lines[at][:-1]
        if len(hashes) == 1:  # a pipeline for one command takes a tenth longer
            [(key, latest)] = hashes.items()
            await self._client.hset(key, mapping=latest)
            return
        pipe = self._client.pipeline(transaction=False)
        for key, latest in hashes.items():
            pipe.hset(key, mapping=latest)
        await pipe.execute()

    async def close(self) -> None:
        """Hang up. All that was taken has its answer by then."""
        await self._client.aclose()


def _ms(record: Record) -> int:
    return record.ts_recv // MS_NS


def _refused(sent: Sequence[Message], answers: Sequence[object]) -> list[int]:
    """The records that the server will never take, by its answers to their messages. Raises any other error."""
    from redis.exceptions import RedisError, ResponseError

    which: list[int] = []
    for message, answer in zip(sent, answers, strict=True):
        if isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE"):
            which += message.which
        elif isinstance(answer, RedisError):
            raise answer
    return which


def _failure(error: Exception) -> Exception:
    """A failure in words: one that may pass while the connection stands, or one that takes a new connection."""
    from redis.exceptions import OutOfMemoryError

    said = str(error) or type(error).__name__
    if isinstance(error, OutOfMemoryError) or said.startswith(("MISCONF", "OOM", "NOREPLICAS", "BUSY")):
        return Retry(said)
    if "equal or smaller" in said:
        return OSError("another program appends to the same streams: give this sink a prefix of its own")
    return OSError(said)


async def open_redis(settings: RedisSettings, context: Context) -> Writer:  # noqa: ARG001 - every sink has it
    """Connect. Raises OSError."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry as Repeating
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError

    tls = {"ssl_ca_certs": settings.ca, "ssl_certfile": settings.certificate, "ssl_keyfile": settings.key}
    client = Redis.from_url(
        settings.url,
        username=settings.user,
        password=reveal(settings.password),
        client_name="aggregator",
        socket_connect_timeout=CONNECT_S,
        retry=Repeating(NoBackoff(), 0),  # type: ignore[no-untyped-call,unused-ignore]
        single_connection_client=True,
        **({name: str(path) for name, path in tls.items() if path is not None}),
    )
    try:
        await client.ping()
    except BaseException as error:
        with suppress(Exception):
            await client.aclose()
        if isinstance(error, RedisError):
            raise OSError(str(error)) from error
        raise
    return RedisWriter(settings, client)


SINK = Sink(
    "redis",
    RedisSettings,
    open_redis,
    kind="network",
    delivery=structs.replace(NETWORK, queue=400_000, timeout=15.0),
    example={"url": "redis://127.0.0.1:6379/0"},
    module="redis",
)
