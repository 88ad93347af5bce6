"""The `kafka` sink: each record as a message of Kafka, by an idempotent producer.

The client gathers, compresses and repeats by itself. It is kept as long as it can go on, since only the same producer
knows what the server has had of it: a server that is away for a while costs no repeated message.
Settings: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
"""

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Struct, structs
from pydantic import AfterValidator, Field

from aggregator.bus.selection import topic_key
from aggregator.records import MS_NS, SCHEMA, Record
from aggregator.sinks.naming import KAFKA, KAFKA_KEY, MOST_PLACES, topic_parts
from aggregator.sinks.sink import NETWORK, Batch, Context, Refused, Retry, Sink, Writer
from aggregator.sinks.tls import tls_context, where_spoken
from aggregator.sinks.values import Bytes, FilePath, Secret, Texts, names_login, quote, reveal
from aggregator.sinks.worker import Worker

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

WAIT_S = 10.0  # a batch is waited for so long; then the status says why there is no answer, and it is waited for again
STEP_S = 0.1  # so often the thread looks whether it is to end
Place = tuple[str, bytes, list[tuple[str, str | bytes | None]]]  # a topic of Kafka, a key, and headers
OF_THE_RECORD = frozenset({2, 10, 87})  # codes for the sum, the size and the form of a message


def _servers(values: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses of servers. Raises ValueError."""
    for value in values:
        if names_login(value):
            raise ValueError("names who logs in: write user and password as keys of their own")
        host, _, port = value.rpartition(":")
        if (
            not host
            or not host.isprintable()
            or {*host} & {*",/@ "}
            or not port.isdecimal()
            or not 0 < int(port) < 1 << 16
        ):
            raise ValueError(f'{quote(value)} is no server; write "HOST:PORT"')
    return values


class KafkaSettings(Struct, frozen=True, kw_only=True):
    """Messages of Kafka.

    servers: addresses, like `["127.0.0.1:9092"]`; the others of their cluster are found
    prefix: begins every topic of Kafka, which is `PREFIX.CHANNEL.EXCHANGE`
    compression: of what is sent: `none`, `gzip`, `snappy`, `lz4` or `zstd`
    partitioner: chooses the partition by the key: `murmur2_random` as the clients of Java do, `consistent_random` as
        those of librdkafka, `fnv1a_random` as those of Sarama
    largest_message: bytes that a message has at most, as the servers allow it (`message.max.bytes`)
    tls: whether TLS is spoken
    sasl: how one logs in
    user: the name to log in with
    password: where its password is: `"file:PATH"`, `"env:NAME"` or `"credential:NAME"`
    ca: the file of the certificates that may have signed the servers'; by default those that the system trusts
    certificate: the file of our own certificate, for servers that ask for one
    key: the file of its key; by default the same
    """

    servers: Annotated[Texts, AfterValidator(_servers)]
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=100)] = "market"
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "zstd"
    partitioner: Literal["murmur2_random", "consistent_random", "fnv1a_random"] = "murmur2_random"
    largest_message: Annotated[Bytes, Field(ge=1000, le=1_000_000_000)] = 1_000_000
    tls: bool = False
    sasl: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    user: str | None = None
    password: Secret | None = None
    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: Annotated[FilePath | None, Field(validate_default=True), AfterValidator(where_spoken)] = None


class _Waiting:
    """The batch at hand, of which the server has not said yet that it has every record.

    epoch: its epoch
    name: by which it is known when it comes again
    lines: its lines, as the server gets them
    left: positions that are to be given to the client, once more or for the first time
    open: so many are with the client
    stuck: so many were when they had been waited for last
    refused: positions that the server will never take
    trouble: the last words about those that it did not take now
    """

    def __init__(self, batch: Batch, lines: list[bytes]) -> None:
        self.epoch = batch.epoch
        self.name = (batch.epoch, batch.first, batch.last, len(batch))
        self.lines = [line[:-1] for line in lines]
        self.left = list(range(len(batch)))
        self.open = 0
        self.stuck = 0
        self.refused: list[int] = []
        self.trouble = ""

    def position(self, line: bytes | None) -> int:
        """Where in the batch a line stands: each has an offset of its own, so that there is one of it."""
        return self.lines.index(line or b"")


class KafkaWriter(Writer):
    """A producer, which is used in a thread of its own."""

    def __init__(self, settings: KafkaSettings, context: Context) -> None:
        self._settings = settings
        limit = context.delivery.timeout
        self._patience = min(WAIT_S, limit * 0.6) if limit else WAIT_S
        self._places: dict[tuple[object, ...], Place] = {}
        self._waiting: _Waiting | None = None
        self._is_over = False
        self._said = "no server answers"
        self._fatal: str | None = None
        self._producer: Producer
        self._worker = Worker("kafka")

    async def begin(self) -> None:
        """Connect to one of the servers. Raises OSError."""
        await self._worker.do(self._begin)

    def _begin(self) -> None:
        from confluent_kafka import KafkaException, Producer

        try:
            self._producer = Producer(
                {**options(self._settings), "error_cb": self._hear},
                logger=logging.getLogger("kafka"),
            )
            self._producer.list_topics(timeout=self._patience)
        except KafkaException as error:
            if hasattr(self, "_producer"):
                self._producer.poll(0)  # it may have more to say
            raise OSError(f"{_words(error.args[0])}: {self._said}") from error

    async def write(self, batch: Batch) -> None:
        """Hand over a batch, and wait until the servers have it. Raises OSError, Retry or Refused."""
        await self._worker.do(partial(self._write, batch, batch.lines))

    def _write(self, batch: Batch, lines: list[bytes]) -> None:
        waiting = self._waiting
        if waiting is None or waiting.name != (batch.epoch, batch.first, batch.last, len(batch)):
            waiting = self._waiting = _Waiting(batch, lines)
        left, waiting.left = waiting.left, []
        self._produce(waiting, left, batch.records)
        end = time.monotonic() + self._patience
        while waiting.open and not self._is_over and self._fatal is None and time.monotonic() < end:
            self._producer.flush(STEP_S)
        if self._fatal is not None:
            raise OSError(self._fatal)
        if waiting.open:
            self._give_up_or_go_on(waiting)
        if waiting.left:
            raise Retry(waiting.trouble)
        self._waiting = None
        if waiting.refused:
            raise Refused(waiting.trouble, waiting.refused)

    def _give_up_or_go_on(self, waiting: _Waiting) -> None:
        """Say why there is no answer. Raises Retry; or OSError where the servers are there, and nothing moves.

        So it is with a topic that was removed meanwhile, which the client does not notice for a long time.
        """
        from confluent_kafka import KafkaException

        try:
            self._producer.list_topics(timeout=self._patience / 3)
        except KafkaException:
            raise Retry(f"no answer: {self._said}") from None
        if waiting.open == waiting.stuck:
            raise OSError("the servers are there, but do not answer to what was sent")
        waiting.stuck = waiting.open
        raise Retry(f"the servers have still to answer to {waiting.open} records")

    def _produce(self, waiting: _Waiting, which: list[int], records: list[Record]) -> None:
        """Give records to the client; where it holds too much already, wait for it."""
        from confluent_kafka import KafkaException

        report = partial(self._report, waiting)  # hot: one for all records
        for at in which:
            record = records[at]
            topic, key, headers = self._place(record, waiting.epoch)
            while not self._is_over:
                try:
                    self._producer.produce(
                        topic,
                        waiting.lines[at],
                        key,
                        timestamp=record.ts_recv // MS_NS,
                        headers=headers,
                        on_delivery=report,
                    )
                except BufferError:
                    self._producer.poll(STEP_S)
                except KafkaException as error:
                    self._judge(waiting, at, error.args[0])
                    break
                else:
                    waiting.open += 1
                    break

    def _place(self, record: Record, epoch: str) -> Place:
        """Where a record goes, remembered: a stream has few topics and many records."""
        name = topic_key(record)
        place = self._places.get(name)
        if place is None or place[2][-1][1] != epoch:
            if len(self._places) == MOST_PLACES:
                self._places.clear()
            headers: list[tuple[str, str | bytes | None]] = [
                ("Aggregator-Type", str(record.__struct_config__.tag)),
                ("Aggregator-Schema", str(SCHEMA)),
                ("Aggregator-Epoch", epoch),
            ]
            channel, exchange, symbol = topic_parts(record)
            topic = f"{self._settings.prefix}.{KAFKA.join(channel, exchange)}"
            place = self._places[name] = (topic, KAFKA_KEY.join(channel, exchange, symbol).encode(), headers)
        return place

    def _report(self, waiting: _Waiting, error: "KafkaError | None", message: "Message") -> None:
        waiting.open -= 1
        if error is not None:
            self._judge(waiting, waiting.position(message.value()), error)

    def _judge(self, waiting: _Waiting, at: int, error: "KafkaError") -> None:
        """Note what becomes of a record that the servers have not taken."""
        waiting.trouble = _words(error)
        if error.code() in OF_THE_RECORD:
            waiting.refused.append(at)
        else:
            waiting.left.append(at)
            if error.fatal():
                self._fatal = waiting.trouble

    def _hear(self, error: "KafkaError") -> None:
        """Note what the client says of itself."""
        self._said = _words(error)
        if error.fatal():
            self._fatal = self._said

    async def close(self) -> None:
        """Let the producer go, with what it holds. All that was taken has its answer by then."""
        self._is_over = True
        self._worker.put(self._end)
        self._worker.stop()

    def _end(self) -> None:
        producer = self.__dict__.pop("_producer", None)
        if producer is not None:
            producer.purge()


def _words(error: "KafkaError") -> str:
    return f"{error.str()} ({error.name()})"


def options(settings: KafkaSettings) -> dict[str, Any]:
    """Settings of the client. Raises OSError where a file or a secret cannot be read."""
    found: dict[str, Any] = {
        "bootstrap.servers": ",".join(settings.servers),
        "client.id": "aggregator",
        "compression.type": settings.compression,
        "enable.idempotence": True,
        "message.max.bytes": settings.largest_message,
        "message.timeout.ms": 0,  # the frame waits, and the client goes on trying
        "partitioner": settings.partitioner,
        "reconnect.backoff.max.ms": 2000,
        "security.protocol": ("sasl_" if settings.user is not None else "") + ("ssl" if settings.tls else "plaintext"),
        "socket.keepalive.enable": True,
    }
    if settings.user is not None:
        password = reveal(settings.password)
        found |= {"sasl.mechanism": settings.sasl, "sasl.username": settings.user, "sasl.password": password or ""}
    if settings.tls:
        tls_context(settings.ca, settings.certificate, settings.key)  # it says what is wrong with the files
        names = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
        files = (settings.ca, settings.certificate, settings.key or settings.certificate)
        found |= {name: str(path) for name, path in zip(names, files, strict=True) if path is not None}
    return found


async def open_kafka(settings: KafkaSettings, context: Context) -> Writer:
    """Connect to one of the servers. Raises OSError."""
    writer = KafkaWriter(settings, context)
    try:
        await writer.begin()
    except BaseException:
        await writer.close()
        raise
    return writer


SINK = Sink(
    "kafka",
    KafkaSettings,
    open_kafka,
    kind="network",
    delivery=structs.replace(NETWORK, queue=400_000, timeout=15.0),
    example={"servers": ["127.0.0.1:9092"]},
    module="confluent_kafka",
)
