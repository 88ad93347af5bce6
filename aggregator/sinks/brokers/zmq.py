"""The `zmq` sink: records as messages of a PUB socket of ZeroMQ, which has no server between.

By itself such a socket drops in silence what a subscriber is too slow for. Here it says so when that begins
(`XPUB_NODROP`), and the sink waits, or tells it in its status; how much such a subscriber then misses only it can see,
since each message names the one before it.
Options: https://libzmq.readthedocs.io/en/latest/zmq_setsockopt.html
"""

import asyncio
import errno
import math
import re
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Struct, structs
from pydantic import AfterValidator, Field

from aggregator.sinks.messages import Chain, Message, messages_of
from aggregator.sinks.naming import ZMQ, Places
from aggregator.sinks.sink import NETWORK, Batch, Context, Refused, Retry, Sink, Writer
from aggregator.sinks.values import Bytes, Count, Secret, quote, reveal

if TYPE_CHECKING:
    import zmq

ENDPOINT = re.compile(r"tcp://(\*|\[[0-9a-f:]+\]|[A-Za-z0-9.-]+):[1-9][0-9]{0,4}|ipc://[^\s\0]{1,100}")
LINGER_MS = 3000  # so long the end waits for messages that are on their way
TURN = 64  # messages that are sent before others have their turn
TOLD_S = 60.0  # so long the status says that a subscriber was too slow
FULL_S = 0.05  # until it is looked again whether a subscriber has read


def _endpoint(value: str) -> str:
    """An address of ZeroMQ. Raises ValueError."""
    if not ENDPOINT.fullmatch(value):
        raise ValueError(f'{quote(value)} is no address; write "tcp://127.0.0.1:5556", "tcp://*:5556" or "ipc:///PATH"')
    return value


class ZmqSettings(Struct, frozen=True, kw_only=True):
    """Messages of ZeroMQ, for whoever subscribes.

    url: where those who subscribe connect: `"tcp://127.0.0.1:5556"`, `"tcp://*:5556"` for all networks, or
        `"ipc:///PATH"`
    connect: whether the sink connects there, as to a forwarder, in place of waiting for others
    mode: `batches`: the records of a batch that are of one channel and exchange are one message, with the topic
        `PREFIX:CHANNEL:EXCHANGE:`; `records`: each record is one, with `PREFIX:CHANNEL:EXCHANGE:SYMBOL:`, some ten
        times as slowly
    prefix: begins every topic of ZeroMQ
    slow: what becomes of messages for which a subscriber has no room: `drop`: that one does not get them; `wait`: all
        wait until it has read
    high_water: messages that wait for one subscriber, at most; they are in memory
    largest_message: bytes of the lines in a message, at most
    curve_key: where the secret key of CURVE is, which encrypts all: `"file:PATH"`, `"env:NAME"` or
        `"credential:NAME"`; subscribers need its public key
    """

    url: Annotated[str, AfterValidator(_endpoint)]
    connect: bool = False
    mode: Literal["batches", "records"] = "batches"
    prefix: Annotated[str, Field(pattern="^[A-Za-z0-9_.-]+$", max_length=100)] = "market"
    slow: Literal["drop", "wait"] = "drop"
    high_water: Annotated[Count, Field(le=1_000_000)] = 1000
    largest_message: Annotated[Bytes, Field(ge=1000, le=1_000_000_000)] = 1_000_000
    curve_key: Secret | None = None


class ZmqHeader(Struct, frozen=True):
    """The second part of a message.

    epoch: the daemon's life
    first: the offset of its first record
    last: the offset of its last record
    previous: `last` of the message before it with the same topic; 0: there was none since the sink was opened
    """

    epoch: str
    first: int
    last: int
    previous: int


class ZmqWriter(Writer):
    """A socket, and the last message of each topic."""

    def __init__(self, settings: ZmqSettings, context: Context, zmq_context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self._settings = settings
        self._context = context
        self._zmq = zmq_context
        self._places = Places(ZMQ, f"{settings.prefix}:", by_symbol=settings.mode == "records")
        self._chain = Chain()
        self._encoder = msgspec.json.Encoder()
        self._slow_until = 0.0  # the status says so long that a subscriber was too slow; infinite: it has to say it
        self._sent = 0  # messages of the batch at hand that went out before it had to wait
        self._socket: zmq.Socket[bytes]

    def begin(self) -> None:
        """Bind, or connect. Raises OSError."""
        import zmq

        settings = self._settings
        self._socket = self._zmq.socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, settings.high_water)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        self._socket.setsockopt(zmq.XPUB_NODROP, 1)
        key = reveal(settings.curve_key)
        try:
            if key is not None:
                self._socket.setsockopt(zmq.CURVE_SERVER, 1)
                self._socket.setsockopt(zmq.CURVE_SECRETKEY, key.encode())
            (self._socket.connect if settings.connect else self._socket.bind)(settings.url)
        except zmq.ZMQError as error:
            is_key = key is not None and error.errno == errno.EINVAL
            raise OSError(f"{settings.url}: {'curve_key is no key of CURVE' if is_key else error}") from error

    def write(self, batch: Batch) -> Awaitable[None] | None:
        """Send a batch, within the call that publishes: no message waits. Raises OSError, Retry or Refused."""
        messages, too_large = self._parted(batch)
        with _in_words():
            for message, previous in self._chain.linked(messages)[self._sent :]:
                self._send(batch.epoch, message, previous)
        self._note(messages, too_large)
        return None

    def _parted(self, batch: Batch) -> tuple[list[Message], list[int]]:
        """The messages of a batch, and the positions of the records that are too large for one."""
        most_records = 1 if self._settings.mode == "records" else None
        most = self._settings.largest_message
        return messages_of(batch, self._places.of(batch.records), most_bytes=most, most_records=most_records)

    def _note(self, messages: list[Message], too_large: list[int]) -> None:
        """Note that a batch is sent. Raises Refused for those that are too large."""
        self._sent = 0
        self._chain.passed(messages)
        self._tell()
        if too_large:
            raise Refused(f"larger than {self._settings.largest_message} bytes", too_large)

    def _tell(self) -> None:
        """Have the status say for a while that a subscriber was too slow."""
        now = time.monotonic()
        if self._slow_until and now > self._slow_until:
            self._slow_until = 0.0
            self._context.report(None)
        elif self._slow_until == math.inf:
            self._slow_until = now + TOLD_S
            self._context.report("a subscriber is too slow, and misses records, as it can see by `previous`")

    def _send(self, epoch: str, message: Message, previous: int) -> None:
        """Send a message. Raises Retry, or what the client says."""
        import zmq

        header = ZmqHeader(epoch, message.first, message.last, previous)
        parts = (f"{message.place}:".encode(), self._encoder.encode(header), message.payload)
        try:
            self._socket.send_multipart(parts, zmq.DONTWAIT)
        except zmq.Again:
            if self._settings.slow == "wait":
                raise Retry("a subscriber has no room: it does not read, or too slowly", after=FULL_S) from None
            self._socket.setsockopt(zmq.XPUB_NODROP, 0)  # the others get it
            self._socket.send_multipart(parts, zmq.DONTWAIT)
            self._socket.setsockopt(zmq.XPUB_NODROP, 1)
            self._slow_until = math.inf
        self._sent += 1

    async def close(self) -> None:
        """Close the socket, once what was sent is with those who read."""
        await asyncio.to_thread(self._zmq.destroy)


class ZmqRecordsWriter(ZmqWriter):
    """The same with a message for each record: these are so many that others have their turn between."""

    async def write(self, batch: Batch) -> None:
        """Send a batch. Raises OSError, Retry or Refused."""
        messages, too_large = self._parted(batch)
        with _in_words():
            for at, (message, previous) in enumerate(self._chain.linked(messages)[self._sent :], 1):
                self._send(batch.epoch, message, previous)
                if not at % TURN:
                    await asyncio.sleep(0)
        self._note(messages, too_large)


@contextmanager
def _in_words() -> Iterator[None]:
    """Have what the client says raised as an OSError."""
    import zmq

    try:
        yield
    except zmq.ZMQError as error:
        raise OSError(str(error)) from error


async def open_zmq(settings: ZmqSettings, context: Context) -> Writer:
    """Bind, or connect. Raises OSError."""
    import zmq

    kind = ZmqRecordsWriter if settings.mode == "records" else ZmqWriter
    writer = kind(settings, context, zmq.Context())
    try:
        writer.begin()
    except BaseException:
        await writer.close()
        raise
    return writer


SINK = Sink(
    "zmq",
    ZmqSettings,
    open_zmq,
    kind="network",
    delivery=structs.replace(NETWORK, queue=400_000, timeout=15.0, batch_records=3000),
    unique="url",
    example={"url": "tcp://127.0.0.1:5556"},
    module="zmq",
)
