"""The `amqp` sink: records as messages of RabbitMQ, each confirmed by the server.

All messages of a batch are under way before the first confirmation is awaited. One that has its confirmation is not
sent again while the connection stands, though others of its batch have to be.
Protocol: https://www.rabbitmq.com/docs/confirms
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct, structs
from pydantic import AfterValidator, Field

from aggregator.sinks.address import address
from aggregator.sinks.messages import Message, messages_of
from aggregator.sinks.naming import AMQP, Places
from aggregator.sinks.sink import NETWORK, Batch, Context, Refused, Retry, Sink, Writer
from aggregator.sinks.tls import only_with, tls_context
from aggregator.sinks.values import Bytes, FilePath, Secret, reveal

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange

LARGEST_BYTES = 4_000_000  # a message; a server takes 16 MB or more, and its readers would not like it
LONGEST_KEY = 255  # bytes of a routing key, by the protocol
LOOK_S = 1.0  # so often it is looked whether a server that does not answer has said that it takes nothing
SCHEMES = ("amqp", "amqps")
PORTS = {"amqp": 5672, "amqps": 5671}
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,200}$")]


class AmqpSettings(Struct, frozen=True, kw_only=True):
    """Messages of RabbitMQ.

    url: the server, like `"amqp://127.0.0.1:5672"`; `amqps://` speaks TLS. Behind a further `/` a virtual host is named
    mode: `batches`: the records of a batch that are of one channel and exchange are one message, with the routing key
        `PREFIX.CHANNEL.EXCHANGE`; `records`: each record is one, with `PREFIX.CHANNEL.EXCHANGE.SYMBOL`, some thirty
        times as slowly
    prefix: begins every routing key
    exchange: the exchange of RabbitMQ; where it is missing it is made: durable, of the type `topic`
    queue_name: the queue that keeps what is published; where it is missing it is made: durable, for all routing keys.
        `""`: none is made
    largest_queue: the size that a queue made here may reach; it takes nothing more then, and the sink waits
    unrouted: what becomes of a message that no queue takes: `wait`: it is tried again; `drop`: nobody wants it
    user: the name to log in with
    password: where its password is: `"file:PATH"`, `"env:NAME"` or `"credential:NAME"`; by default that which a new
        server has
    ca: the file of the certificates that may have signed the server's; by default those that the system trusts
    certificate: the file of our own certificate, for a server that asks for one
    key: the file of its key; by default the same
    """

    url: Annotated[str, AfterValidator(address(SCHEMES, "amqp://127.0.0.1:5672", has_path=True))]
    mode: Literal["batches", "records"] = "batches"
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=100)] = "market"
    exchange: Name = "market"
    queue_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{0,200}$")] = "market"
    largest_queue: Bytes = 10_000_000_000
    unrouted: Literal["wait", "drop"] = "wait"
    user: str = "guest"
    password: Secret | None = None
    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: Annotated[FilePath | None, Field(validate_default=True), AfterValidator(only_with("amqps://", "url"))] = None


class AmqpWriter(Writer):
    """A connection, a channel on it, and the messages of the batch at hand."""

    def __init__(
        self,
        settings: AmqpSettings,
        connection: "AbstractConnection",
        channel: "AbstractChannel",
        exchange: "AbstractExchange",
        step: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._step = step
        self._connection = connection
        self._channel = channel
        self._exchange = exchange
        self._places = Places(AMQP, f"{settings.prefix}.", by_symbol=settings.mode == "records")
        self._asked: dict[str, asyncio.Task[None]] = {}

    async def write(self, batch: Batch) -> None:
        """Hand over a batch, and wait until the server has it. Raises OSError, Retry or Refused."""
        most_records = 1 if self._settings.mode == "records" else None
        messages, too_large = messages_of(
            batch, self._places.of(batch.records), most_bytes=LARGEST_BYTES, most_records=most_records
        )
        for message in messages:
            id = f"{batch.epoch}:{message.first}:{message.last}:{message.place}"
            if len(message.place) > LONGEST_KEY:
                too_large += message.which
            elif id not in self._asked:
                self._asked[id] = asyncio.create_task(self._publish(batch.epoch, message, id))
        await self._answered()
        self._asked.clear()
        if too_large:
            raise Refused(f"larger than {LARGEST_BYTES} bytes, or its routing key than {LONGEST_KEY}", too_large)

    async def _publish(self, epoch: str, message: Message, id: str) -> None:
        """Publish one message, and wait for its confirmation. Raises Retry, or what the client says."""
        from aio_pika import DeliveryMode
        from aio_pika import Message as Parcel
        from aio_pika.exceptions import DeliveryError, PublishError

        parcel = Parcel(
            message.payload,
            message_id=id,
            app_id="aggregator",
            content_type="application/x-ndjson",
            delivery_mode=DeliveryMode.PERSISTENT,
            headers={
                "Aggregator-Epoch": epoch,
                "Aggregator-First": message.first,
                "Aggregator-Last": message.last,
            },
        )
        is_awaited = self._settings.unrouted == "wait"
        try:
            await self._exchange.publish(parcel, message.place, mandatory=is_awaited)
            self._step()
        except PublishError as error:
            raise Retry(
                f"no queue takes {message.place}: bind one to the exchange {self._settings.exchange}"
            ) from error
        except DeliveryError as error:
            raise Retry("a queue refuses it: it is full, or cannot be reached") from error

    async def _answered(self) -> None:
        """Wait for every confirmation. Raises OSError, or Retry where messages are to be sent again."""
        waiting = set(self._asked.values())
        while waiting:
            _, waiting = await asyncio.wait(waiting, timeout=LOOK_S)
            if waiting and await self._is_blocked():
                raise Retry("the server takes nothing for now: its memory or its disk is full")
        refusal = None
        for id, task in list(self._asked.items()):
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if isinstance(error, Retry):
                del self._asked[id]
                refusal = error
            elif error is not None:
                raise _failure(error)
        if refusal is not None:
            raise refusal

    async def _is_blocked(self) -> bool:
        """Tell whether the server has said that it takes nothing."""
        transport = self._connection.transport
        if transport is None:
            return False
        ready = asyncio.ensure_future(transport.ready())
        await asyncio.wait({ready}, timeout=0)
        return not ready.done() and ready.cancel()

    async def close(self) -> None:
        """Hang up. All that was taken has its answer by then."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        with suppress(Exception):
            await self._connection.close()


def _failure(error: BaseException) -> OSError:
    """Say in words what the client raises: it is of many kinds where a connection goes, some of them without any."""
    said = " ".join(part for part in error.args if isinstance(part, str))
    return OSError(said or "the connection is gone")


async def _have(connection: "AbstractConnection", settings: AmqpSettings) -> "tuple[AbstractChannel, AbstractExchange]":
    """A channel to publish on, and the exchange; what is missing is made, and what is there stays as it is."""
    has_exchange = await _is_there(connection, lambda channel: channel.get_exchange(settings.exchange))
    name = settings.queue_name
    has_queue = not name or await _is_there(connection, lambda channel: channel.get_queue(name))
    channel = await connection.channel(on_return_raises=True)
    if has_exchange:
        exchange = await channel.get_exchange(settings.exchange, ensure=False)
    else:
        exchange = await channel.declare_exchange(settings.exchange, "topic", durable=True)
    if name and not (has_exchange and has_queue):
        if has_queue:
            queue = await channel.get_queue(name)
        else:
            queue = await channel.declare_queue(
                name,
                durable=True,
                arguments={"x-max-length-bytes": settings.largest_queue, "x-overflow": "reject-publish"},
            )
        await queue.bind(exchange, "#")
    return channel, exchange


async def _is_there(connection: "AbstractConnection", look: "Callable[[AbstractChannel], Awaitable[object]]") -> bool:
    """Tell whether something is at the server, by a channel that a wrong guess closes."""
    from aio_pika.exceptions import ChannelNotFoundEntity

    channel = await connection.channel()
    try:
        await look(channel)
    except ChannelNotFoundEntity:
        return False
    await channel.close()
    return True


async def open_amqp(settings: AmqpSettings, context: Context) -> Writer:
    """Connect, and make what is missing. Raises OSError."""
    from aio_pika import Connection
    from aio_pika.connection import make_url
    from aio_pika.exceptions import AMQPError

    parts = urlsplit(settings.url)
    tls = None
    if parts.scheme == "amqps":
        tls = await asyncio.to_thread(tls_context, settings.ca, settings.certificate, settings.key)
    password = reveal(settings.password)
    url = make_url(
        host=parts.hostname or "",
        port=parts.port or PORTS[parts.scheme],
        login=settings.user,
        password="guest" if password is None else password,
        virtualhost=unquote(parts.path[1:]) or "/",
        ssl=tls is not None,
        name=context.name,
    )
    connection = Connection(url, ssl_context=tls)
    try:
        await connection.connect()
        channel, exchange = await _have(connection, settings)
    except BaseException as error:
        await connection.close()  # one that never stood is closed as well: it complains otherwise
        if isinstance(error, AMQPError | RuntimeError):
            raise _failure(error) from error
        raise
    return AmqpWriter(settings, connection, channel, exchange, context.step)


SINK = Sink(
    "amqp",
    AmqpSettings,
    open_amqp,
    kind="network",
    delivery=structs.replace(NETWORK, queue=400_000, timeout=15.0),
    example={"url": "amqp://127.0.0.1:5672"},
    module="aio_pika",
)
