"""The `nats` sink: records as messages of NATS, stored by JetStream or handed to whoever listens now.

The client makes no connection anew by itself here: what it has buffered until then might be gone. A connection that is
lost is a failed write, for which the frame opens the sink anew and gives the same batch again.
Protocol: https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Struct, structs
from pydantic import AfterValidator, Field

from aggregator.sinks.address import addresses
from aggregator.sinks.messages import messages_of
from aggregator.sinks.naming import NATS, Places
from aggregator.sinks.sink import NETWORK, Batch, Context, Refused, Retry, Sink, Writer
from aggregator.sinks.tls import tls_context
from aggregator.sinks.values import Bytes, Count, Duration, FilePath, Secret, Texts, reveal

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from nats.js.api import PubAck

HEADERS_BYTES = 1024  # left free in a message: the server counts its headers too, and the client does not look
TOO_LARGE = 10054  # the server's number for a message that the stream does not take for its size
BUSY = range(500, 600)  # codes of a refusal that may pass
FULL = frozenset({10077, 10167})  # the stream, or what may wait for it, is full
CONNECT_S = 5  # the client takes whole seconds
MOST_PENDING = 1 << 16  # messages without an answer; a batch has fewer

Servers = Annotated[Texts, AfterValidator(addresses(("nats", "ws", "wss", "tls"), "nats://127.0.0.1:4222"))]


class NatsSettings(Struct, frozen=True, kw_only=True):
    """Messages of NATS.

    servers: addresses, like `["nats://127.0.0.1:4222"]`; `tls://` speaks TLS. The others of its cluster are tried too
    mode: `frames`: JetStream stores the records of a batch that are of one channel and exchange as one message, at
        `PREFIX.CHANNEL.EXCHANGE`; `records`: JetStream stores each record, at `PREFIX.CHANNEL.EXCHANGE.SYMBOL`, some
        twenty times as slowly; `core`: each record is handed to those who listen, and is stored nowhere
    prefix: begins every subject
    stream: the stream of JetStream; where it is missing it is made, for all subjects below the prefix
    stream_bytes: the size that a stream made here may reach; the oldest go then. The server must have so much to give
    stream_age: how long a stream made here keeps a message
    stream_replicas: how many servers keep a stream made here
    user: the name to log in with
    password: where its password is: `"file:PATH"`, `"env:NAME"` or `"credential:NAME"`
    token: where a token to log in with is
    credentials: the file of a user's JWT and seed, which needs the package `nkeys`
    ca: the file of the certificates that may have signed the server's; by default those that the system trusts
    certificate: the file of our own certificate, for a server that asks for one
    key: the file of its key; by default the same
    """

    servers: Servers
    mode: Literal["frames", "records", "core"] = "frames"
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")] = "market"
    stream: Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$")] = "market"
    stream_bytes: Bytes = 10_000_000_000
    stream_age: Duration = 86400.0
    stream_replicas: Count = 1
    user: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    credentials: FilePath | None = None
    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: FilePath | None = None


class _Watch:
    """The last words of the client, which it says while nobody asks."""

    def __init__(self) -> None:
        self.gone = asyncio.get_running_loop().create_future()
        self._error: Exception | None = None

    async def note(self, error: Exception) -> None:
        self._error = error

    async def note_end(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    def failure(self, error: Exception | None = None) -> OSError:
        """The reason why something has failed: what the client told by itself says more than what it has raised."""
        told = self._error or error
        return OSError(_said(told)) if told else ConnectionResetError("the connection is gone")


class NatsWriter(Writer):
    """A connection to one of the servers."""

    def __init__(self, settings: NatsSettings, client: "Client", watch: _Watch) -> None:
        """Write over a connection that stands."""
        self._settings = settings
        self._client = client
        self._place = Places(NATS, f"{settings.prefix}.", by_symbol=settings.mode != "frames")
        self._watch = watch
        self._stream: JetStreamContext = client.jetstream(publish_async_max_pending=MOST_PENDING)

    async def prepare(self) -> None:
        """Make the stream that is missing. Raises OSError."""
        from nats.errors import Error

        try:
            if self._settings.mode != "core":
                await self._have_stream()
        except Error as error:
            raise self._watch.failure(error) from error

    async def _have_stream(self) -> None:
        from nats.js.api import DiscardPolicy, StorageType, StreamConfig
        from nats.js.errors import NotFoundError

        given = self._settings
        try:
            await self._stream.stream_info(given.stream)
        except NotFoundError:
            await self._stream.add_stream(
                StreamConfig(
                    name=given.stream,
                    subjects=[f"{given.prefix}.>"],
                    storage=StorageType.FILE,
                    discard=DiscardPolicy.OLD,
                    max_bytes=given.stream_bytes,
                    max_age=given.stream_age,
                    num_replicas=given.stream_replicas,
                )
            )

    async def write(self, batch: Batch) -> None:
        """Hand over a batch, and wait until the server has it. Raises OSError, Retry or Refused."""
        from nats.errors import Error

        room = self._client.max_payload - HEADERS_BYTES
        try:
            if self._settings.mode == "core":
                await self._hand_out(self._client, batch, room)
            else:
                await self._store(batch, room)
        except Error as error:
            raise self._watch.failure(error) from error

    async def _hand_out(self, client: "Client", batch: Batch, room: int) -> None:
        """Publish each record, and have the server answer behind the last of them."""
        too_large = []
        for at, (record, line) in enumerate(zip(batch.records, batch.lines, strict=True)):
            if len(line) > room:
                too_large.append(at)
            else:
                await client.publish(self._place(record), line[:-1])
        await self._while_connected(asyncio.ensure_future(client.flush()))
        if too_large:
            raise Refused(_size(room), too_large)

    async def _store(self, batch: Batch, room: int) -> None:
        """Publish messages, all of them before the first answer, and wait for each one's answer."""
        most_records = 1 if self._settings.mode == "records" else None
        messages, too_large = messages_of(batch, self._place, most_bytes=room, most_records=most_records)
        answers: list[asyncio.Future[PubAck]] = []
        for message in messages:
            headers = {
                "Nats-Msg-Id": f"{batch.epoch}:{message.first}:{message.last}:{message.place}",
                "Aggregator-Epoch": batch.epoch,
            }
            publishing = self._stream.publish_async(
                message.place, message.payload, stream=self._settings.stream, headers=headers
            )
            answers.append(await publishing)
        said = await self._while_connected(asyncio.gather(*answers, return_exceptions=True))
        for message, answer in zip(messages, said, strict=True):
            if isinstance(answer, BaseException):
                too_large.extend(_refused(answer, message.which))
        if too_large:
            raise Refused(_size(room), too_large)

    async def _while_connected(self, answer: "asyncio.Future[list[object]]") -> list[object]:
        """Wait for an answer; a connection that is gone gives none. Raises OSError."""
        await asyncio.wait({answer, self._watch.gone}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        with suppress(asyncio.CancelledError):
            await answer
        raise self._watch.failure()

    async def close(self) -> None:
        """Hang up. All that was taken has its answer by then."""
        await self._client.close()


def _refused(error: BaseException, which: Sequence[int]) -> Sequence[int]:
    """The records that the server will never take, by its answer to their message. Raises Retry or the error."""
    from nats.js.errors import APIError, NoStreamResponseError

    if isinstance(error, NoStreamResponseError):
        raise Retry("no stream takes these subjects: was it removed?") from error
    if isinstance(error, APIError):
        if error.err_code == TOO_LARGE:
            return which
        if error.code in BUSY or error.err_code in FULL:
            raise Retry(_said(error)) from error
    raise error


def _size(room: int) -> str:
    return f"larger than a message may be here, which is {room} bytes"


def _said(error: Exception) -> str:
    description = getattr(error, "description", None)
    return description or str(error).removeprefix("nats: ") or type(error).__name__


async def open_nats(settings: NatsSettings, context: Context) -> Writer:  # noqa: ARG001 - every sink has it
    """Connect, and make the stream that is missing. Raises OSError."""
    import nats
    from nats.errors import Error

    watch = _Watch()
    has_files = settings.ca is not None or settings.certificate is not None
    try:
        client = await nats.connect(
            list(settings.servers),
            name="aggregator",
            allow_reconnect=False,
            connect_timeout=CONNECT_S,
            error_cb=watch.note,
            closed_cb=watch.note_end,
            user=settings.user,
            password=reveal(settings.password),
            token=reveal(settings.token),
            user_credentials=None if settings.credentials is None else str(settings.credentials),
            tls=tls_context(settings.ca, settings.certificate, settings.key) if has_files else None,
        )
    except Error as error:
        raise watch.failure(error) from error
    writer = NatsWriter(settings, client, watch)
    try:
        await writer.prepare()
    except BaseException:
        await writer.close()
        raise
    return writer


SINK = Sink(
    "nats",
    NatsSettings,
    open_nats,
    kind="network",
    delivery=structs.replace(NETWORK, queue=400_000, timeout=15.0),
    example={"servers": ["nats://127.0.0.1:4222"]},
    module="nats",
)
