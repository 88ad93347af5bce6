"""The `nats` sink: records as messages of NATS, stored by JetStream or handed to whoever listens now.

A connection that is lost is a failed write, for which the frame opens the sink anew and gives the same batch again.
The headers of each message say of which batch it is, and which came before, so that a reader sees what it has missed.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import structs
from pydantic import Field

from aggregator.sinks.brokers.nats_client import BATCH, BEFORE, DAEMON, EPOCH, NatsKeys, Watch, answered, connect, said
from aggregator.sinks.messages import messages_of
from aggregator.sinks.naming import NATS, Places
from aggregator.sinks.sink import NETWORK, Batch, Context, Refused, Retry, Sink, Writer
from aggregator.sinks.values import Bytes, Count, Duration

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from nats.js.api import PubAck

HEADERS_BYTES = 1024  # left free in a message: the server counts its headers too, and the client does not look
TOO_LARGE = 10054  # the server's number for a message that the stream does not take for its size
BUSY = range(500, 600)  # codes of a refusal that may pass
FULL = frozenset({10077, 10167})  # the stream, or what may wait for it, is full
MOST_PENDING = 1 << 16  # messages without an answer; a batch has fewer


class NatsSettings(NatsKeys, frozen=True, kw_only=True):
    """Messages of NATS.

    mode: `frames`: JetStream stores the records of a batch that are of one channel and exchange as one message, at
        `PREFIX.CHANNEL.EXCHANGE`; `records`: JetStream stores each record, at `PREFIX.CHANNEL.EXCHANGE.SYMBOL`, some
        twenty times as slowly; `core`: each record is handed to those who listen, and is stored nowhere
    prefix: begins every subject
    stream: the stream of JetStream; where it is missing it is made, for all subjects below the prefix
    stream_bytes: the size that a stream made here may reach; the oldest go then. The server must have so much to give
    stream_age: how long a stream made here keeps a message
    stream_replicas: how many servers keep a stream made here
    """

    mode: Literal["frames", "records", "core"] = "frames"
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")] = "market"
    stream: Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$")] = "market"
    stream_bytes: Bytes = 10_000_000_000
    stream_age: Duration = 86400.0
    stream_replicas: Count = 1


class NatsWriter(Writer):
    """A connection to one of the servers."""

    def __init__(self, settings: NatsSettings, client: "Client", watch: Watch, context: Context) -> None:
        """Write over a connection that stands."""
        self._settings = settings
        self._step, daemon = context.step, context.daemon
        self._client = client
        self._places = Places(NATS, f"{settings.prefix}.", by_symbol=settings.mode != "frames")
        self._watch = watch
        self._named = {DAEMON: daemon} if daemon else {}
        self._written: tuple[str, int] = ("", 0)  # the epoch and the last offset of the batch before
        self._stream: JetStreamContext = client.jetstream(publish_async_max_pending=MOST_PENDING)

    async def prepare(self) -> None:
        """Make the stream that is missing. Raises OSError."""
        from nats.errors import Error

        try:
            if self._settings.mode != "core":
                await answered(self._have_stream())
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
            places = self._places.of(batch.records)
            if self._settings.mode == "core":
                too_large = await answered(self._hand_out(batch, places, room))
            else:
                too_large = await answered(self._store(batch, places, room))
        except Error as error:
            raise self._watch.failure(error) from error
        if too_large:
            raise Refused(_size(room), too_large)

    def _headers(self, batch: Batch, count: int) -> dict[str, str]:
        """The headers of every message of a batch."""
        epoch, last = self._written
        return {
            **self._named,
            EPOCH: batch.epoch,
            BATCH: f"{batch.first}-{batch.last}/{count}",
            BEFORE: str(last if epoch == batch.epoch else 0),
        }

    async def _hand_out(self, batch: Batch, places: Sequence[str], room: int) -> list[int]:
        """Publish each record that is not too large, in their order, and have the server answer behind the last."""
        lines = batch.lines
        too_large = [at for at, line in enumerate(lines) if len(line) > room]
        headers = self._headers(batch, len(lines) - len(too_large))
        publish = self._client.publish
        for place, line in zip(places, lines, strict=True):
            if len(line) <= room:
                await publish(place, line[:-1], headers=headers)
        await self._watch.while_connected(asyncio.ensure_future(self._client.flush()))
        if len(too_large) < len(lines):
            self._written = batch.epoch, batch.last
        return too_large

    async def _store(self, batch: Batch, places: Sequence[str], room: int) -> list[int]:
        """Publish messages, all of them before the first answer, and wait for each one's answer; which are refused."""
        most_records = None if self._settings.mode == "frames" else 1
        messages, refused = messages_of(batch, places, most_bytes=room, most_records=most_records)
        headers = self._headers(batch, len(messages))
        answers: list[asyncio.Future[PubAck]] = []
        for message in messages:
            id = f"{batch.epoch}:{batch.first}-{batch.last}:{message.first}:{message.last}:{message.place}"
            publishing = self._stream.publish_async(
                message.place, message.payload, stream=self._settings.stream, headers={"Nats-Msg-Id": id, **headers}
            )
            answers.append(await publishing)
            answers[-1].add_done_callback(lambda _: self._step())
        said_of = await self._watch.while_connected(asyncio.gather(*answers, return_exceptions=True))
        for message, answer in zip(messages, said_of, strict=True):
            if isinstance(answer, BaseException):
                refused.extend(_refused(answer, message.which))
        if messages:
            self._written = batch.epoch, batch.last
        return refused

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
            raise Retry(said(error)) from error
    raise error


def _size(room: int) -> str:
    return f"larger than a message may be here, which is {room} bytes"


async def open_nats(settings: NatsSettings, context: Context) -> Writer:
    """Connect, and make the stream that is missing. Raises OSError."""
    watch = Watch()
    writer = NatsWriter(settings, await connect(settings.servers, settings, watch), watch, context)
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
