"""The source `nats`: what the `nats` sink of another daemon wrote, from a stream of JetStream or as it is published.

Each link reads with a consumer that ends with it. How far it has come is kept here, beside all else that a source
keeps: the number of a message in the stream, before which all was given.
Consumers: https://docs.nats.io/nats-concepts/jetstream/consumers
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Struct, structs
from pydantic import Field

from aggregator.bus.history import Cursor
from aggregator.bus.selection import Selection, parse_pattern, topic_of
from aggregator.records import SECOND_NS
from aggregator.sinks.brokers.nats_client import MOST_BUCKETS, NatsKeys, Watch, answered, bucket_names, connect
from aggregator.sources.nats_batches import Batches, BatchOrigin, ForeignMessage, hole, origin_of, records_in
from aggregator.sources.source import KnownPlace, LinkBroken, Passage, Source

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

AT_ONCE = 64  # messages that are asked for at once; fewer where the server takes large ones
ASKED_S = 5.0  # they are asked for so long, and then anew
SILENT = 3  # times as long: every request is answered by then, be it with nothing
UNUSED_S = 60.0  # the server forgets a consumer that nobody asks any more
OVER = frozenset({"404", "408"})  # the status that ends what was asked for, where nothing is wrong
MOST_WAITING_BYTES = 64_000_000  # messages that are not read yet take so much; those beyond are lost, and told
FRAMES = "frames"  # owners in a cluster write at this subject below the prefix

log = logging.getLogger("aggregator.sources")


class NatsSourceKeys(NatsKeys, frozen=True, kw_only=True):
    """Messages that the `nats` sink of another daemon writes: [several daemons](sources.md#by-nats).

    mode: `stream`: what JetStream has stored, in `frames` or `records`; `core`: what is published while this source
        listens, where the sink has `mode = "core"`
    prefix: begins every subject, as it does at the sink; one daemon alone may write there
    stream: the stream of JetStream
    buckets: into so many a cluster divides the symbols, by its own key `buckets`; this stands for as many sources,
        `PREFIX-0ofN` with `STREAM-0ofN` and so on
    begin: where the first link begins: with what is stored from `now` on, or with the `earliest` that there is
    """

    mode: Literal["stream", "core"] = "stream"
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")] = "market"
    stream: Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$")] = "market"
    buckets: Annotated[int, Field(ge=1, le=MOST_BUCKETS)] = 1
    begin: Literal["now", "earliest"] = "now"


class Taken(Struct, frozen=True):
    """A message, and what is known of it beside.

    number: in the stream; 0: it is not stored
    ts: when it was stored, or came, ns
    is_newest: none is waiting behind it
    """

    message: "Msg"
    number: int
    ts: int
    is_newest: bool


class MessageReader:
    """Messages in the order in which they come, until they are read."""

    def __init__(self, client: "Client", watch: Watch) -> None:
        self.client = client
        self._watch = watch
        self._came: list[Taken] = []
        self._bytes = 0
        self._has_come = asyncio.Event()

    async def listen(self, subject: str) -> None:
        """Take what is published there from now on."""
        await answered(self.client.subscribe(subject, cb=self._take, pending_msgs_limit=-1))
        await answered(self.client.flush())

    async def _take(self, message: "Msg") -> None:
        if self._bytes < MOST_WAITING_BYTES:
            self._add(Taken(message, 0, time.time_ns(), is_newest=True))

    def _add(self, taken: Taken) -> None:
        self._bytes += len(taken.message.data)
        self._came.append(taken)
        self._has_come.set()

    async def read(self) -> Sequence[Taken]:
        """Wait for messages. Raises OSError."""
        await self._watch.while_connected(asyncio.ensure_future(self._has_come.wait()))
        self._has_come.clear()
        came, self._came, self._bytes = self._came, [], 0
        return came


class StreamReader(MessageReader):
    """Messages of a stream, from a number on: so many as are asked for come as soon as they are there."""

    def __init__(self, client: "Client", watch: Watch, keys: NatsSourceKeys, *, asked_s: float = ASKED_S) -> None:
        """Prepare; `asked_s`: messages are asked for so long, and a server that is gone is found out after three."""
        super().__init__(client, watch)
        self._stream: JetStreamContext = client.jetstream()
        self._keys = keys
        self._asked_s = asked_s
        self._inbox = client.new_inbox()
        self._subject = ""
        self._at_once = min(AT_ONCE, MOST_WAITING_BYTES // client.max_payload or 1)
        self._asked = 0  # messages that were asked for, and have not come
        self._refusal: str | None = None

    async def numbers(self) -> tuple[int, int]:
        """The numbers of the first message that is stored or will be, and of the last that ever was. Raises LinkBroken.

        Of a stream that never had one they are 1 and 0: the server says 0 of both.
        """
        from nats.js.errors import NotFoundError

        try:
            state = (await answered(self._stream.stream_info(self._keys.stream))).state
        except NotFoundError:
            raise LinkBroken(f"there is no stream {self._keys.stream!r} yet: the sink makes it") from None
        return max(1, state.first_seq), state.last_seq

    async def begin(self, number: int) -> None:
        """Begin with the message of this number, or the next one that there is."""
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        asked = self._stream.add_consumer(
            self._keys.stream,
            ConsumerConfig(
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=number,
                filter_subject=f"{self._keys.prefix}.>",
                inactive_threshold=UNUSED_S,
                mem_storage=True,
            ),
        )
        consumer = await answered(asked)
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._keys.stream}.{consumer.name}"
        await self.listen(self._inbox)

    async def _take(self, message: "Msg") -> None:
        status = (message.headers or {}).get("Status") or "no status"
        if message.subject != self._inbox:  # a stored message has its own subject, whatever its headers say
            about = message.metadata
            ts = round(about.timestamp.timestamp() * SECOND_NS)
            self._asked -= 1
            self._add(Taken(message, about.sequence.stream, ts, is_newest=about.num_pending == 0))
            return
        self._asked = 0
        if status not in OVER:
            self._refusal = (message.headers or {}).get("Description") or f"status {status}"
        self._has_come.set()

    async def read(self) -> Sequence[Taken]:
        """Wait for messages; there may be none for a while. Raises OSError, LinkBroken."""
        if self._asked <= 0:
            self._asked = self._at_once
            request = {"batch": self._at_once, "expires": round(self._asked_s * SECOND_NS)}
            await answered(self.client.publish(self._subject, msgspec.json.encode(request), self._inbox))
        silent_s = SILENT * self._asked_s
        try:
            async with asyncio.timeout(silent_s):
                came = await super().read()
        except TimeoutError:  # the server that kept the consumer is gone, and with it whoever would say so
            raise LinkBroken(f"the server has not answered for {silent_s:.0f} s") from None
        if self._refusal is not None and not came:
            raise LinkBroken(f"the server gives no more: {self._refusal}")
        return came


class NatsLink:
    """One connection, by which messages are read."""

    def __init__(self, client: "Client", watch: Watch, keys: NatsSourceKeys, topics: Sequence[str]) -> None:
        self.daemon = ""
        self.is_resumed = False
        self._client = client
        self._watch = watch
        self._keys = keys
        self._wanted = Selection(map(parse_pattern, topics))
        self._is_all = "*:*:*" in topics
        self._reader: MessageReader
        self._batches: Batches
        self._held: Sequence[Taken] = ()  # messages that came while the link was opened
        self._begun: list[Passage] = []
        self._fence = 0  # the greatest number of an ownership that has come
        self._has_told_foreign = False
        self._next = self._mark = 0  # the number of the next message, and of one before which all was given

    # --- it begins

    async def open(self, known: KnownPlace | None) -> None:
        """Begin to read, and find out whose messages they are. Raises LinkBroken, OSError, errors of the client."""
        if self._keys.mode == "core":
            await self._open_core(known)
        else:
            await self._open_stream(known)

    async def _open_core(self, known: KnownPlace | None) -> None:
        """Listen; whether anything is missing since is known once something comes."""
        self._reader = reader = MessageReader(self._client, self._watch)
        await reader.listen(f"{self._keys.prefix}.>")
        origin = await self._wait_for_first()
        self.is_resumed = known is not None and known.daemon == origin.daemon
        place = known.cursor if known is not None and self.is_resumed else None
        self._batches = Batches(place, "disconnect")

    async def _open_stream(self, known: KnownPlace | None) -> None:
        self._reader = reader = StreamReader(self._client, self._watch, self._keys)
        first, last = await reader.numbers()
        is_same = known is not None and 0 < known.mark <= last + 1
        if known is not None:
            number = known.mark if is_same else first
        else:
            number = first if self._keys.begin == "earliest" else last + 1
        self._next = self._mark = number
        await reader.begin(number)
        if known is None or number <= last:
            origin = await self._wait_for_first()
            self._begun = [Passage(Cursor(origin.epoch, origin.first - 1), mark=number)]
        else:
            self.daemon = known.daemon
        self.is_resumed = known is not None and is_same and known.daemon == self.daemon
        self._batches = Batches(known.cursor if known is not None and self.is_resumed else None, "expired")
        if known is not None and self.is_resumed:
            now = time.time_ns()
            gap = hole("expired", now, now) if first > number else None
            self._next = max(self._next, first)
            self._begun = [Passage(known.cursor, gap=gap, is_live=number > last, mark=number)]

    async def _wait_for_first(self) -> BatchOrigin:
        """Wait for the first message of a daemon, however long that takes: it tells which one writes."""
        while True:
            held = await self._reader.read()
            for at, taken in enumerate(held):
                try:
                    origin = self._origin(taken)
                    records_in(origin, taken.message.data)
                except ForeignMessage as error:
                    self._pass_over(taken, error)
                else:
                    self.daemon, self._held = origin.daemon, held[at:]
                    return origin

    def _origin(self, taken: Taken) -> BatchOrigin:
        """Read the headers of a message. Raises ForeignMessage."""
        origin, subject = origin_of(taken.message.headers), taken.message.subject
        if origin.fence and taken.number and subject != f"{self._keys.prefix}.{FRAMES}":
            raise ForeignMessage("no owner writes there")
        return origin

    def _pass_over(self, taken: Taken, error: ForeignMessage) -> None:
        """Leave a message out that no daemon has written; the first of a link is told."""
        number, stream = taken.number, self._keys.stream
        if number > 0 and number == self._next:
            self._next = number + 1
        if not self._has_told_foreign:
            self._has_told_foreign = True
            place = f"message {number} of the stream {stream}" if number else "a message"
            how = "is passed over, as each like it is: give each daemon that writes a prefix of its own"
            log.warning("source nats: %s at %r: %s; it %s", place, taken.message.subject, error, how)

    # --- it goes on

    async def read(self) -> Sequence[Passage]:
        """Wait for what comes. Raises LinkBroken."""
        from nats.errors import Error

        begun, self._begun = self._begun, []
        if begun:
            return begun
        try:
            while True:
                held, self._held = self._held, ()
                if told := self._tell(held or await self._reader.read()):
                    return told
        except (Error, OSError) as error:
            raise _broken(self._watch, error) from error

    def _tell(self, messages: Sequence[Taken]) -> list[Passage]:
        """Take messages; gives the passages that they bring. Raises LinkBroken."""
        told: list[Passage] = []
        for at, taken in enumerate(messages):
            try:
                origin = self._origin(taken)
                if origin.fence < self._fence:  # its writer was stopped, and knew nothing of the one that took over
                    continue
                if origin.daemon == self.daemon:
                    told += self._take(taken, origin)
                    continue
                records_in(origin, taken.message.data)
            except ForeignMessage as error:
                self._pass_over(taken, error)
                self._go_past()
                continue
            if at == 0 and self._mark in {taken.number, 0}:
                raise self._changed(origin)
            told += self._batches.finish(taken.ts)
            self._mark, self._held = taken.number, messages[at:]
            return [*told, Passage(self._batches.cursor, mark=taken.number)]
        if messages and messages[-1].is_newest:
            told.append(Passage(self._batches.cursor, is_live=True, mark=self._mark))
        return told

    def _take(self, taken: Taken, origin: BatchOrigin) -> list[Passage]:
        """Take a message of the daemon that writes here. Raises ForeignMessage."""
        message, number = taken.message, taken.number
        follows = number > 0 and number == self._next
        passages = self._batches.take(origin, message.subject, message.data, taken.ts, follows=follows)
        self._fence, self._next = origin.fence, number + 1
        for passage in passages:
            passage.mark = self._mark
            if not self._is_all:
                passage.records = [each for each in passage.records if self._wanted.wants(topic_of(each))]
        self._go_past()
        if passages:
            passages[-1].mark = self._mark
        return passages

    def _go_past(self) -> None:
        """Begin behind the newest message the next time, where nothing of a batch is awaited."""
        if self._batches.is_between:
            self._mark = self._next

    def _changed(self, origin: BatchOrigin) -> LinkBroken:
        """End the link: another daemon writes than the one whose messages came before."""
        if origin.epoch < self._batches.cursor.epoch:
            words = f"two daemons write there, {origin.daemon} and {self.daemon}: give each sink a prefix of its own"
            return LinkBroken(words, is_refused=True)
        return LinkBroken(f"the daemon {origin.daemon} writes there now, and not {self.daemon} any more")

    async def ask_standing(self, *, books: bool) -> None:
        """Nothing: a stream tells what was published, and how things stand comes with that."""

    async def close(self) -> None:
        """Hang up."""
        await self._client.close()


def _broken(watch: Watch, error: Exception) -> LinkBroken:
    return LinkBroken(str(error) if isinstance(error, OSError) else str(watch.failure(error)))


async def open_nats(keys: NatsSourceKeys, topics: Sequence[str], known: KnownPlace | None) -> NatsLink:
    """Open a link. Raises LinkBroken."""
    from nats.errors import Error

    watch = Watch()
    try:
        client = await connect(keys.servers, keys, watch)
    except OSError as error:
        raise LinkBroken(str(error)) from error
    link = NatsLink(client, watch, keys, topics)
    try:
        await link.open(known)
    except BaseException as error:
        await link.close()
        if isinstance(error, Error | OSError):
            raise _broken(watch, error) from error
        raise
    return link


def _buckets(keys: NatsSourceKeys) -> list[NatsSourceKeys]:
    """The sources for which one table stands."""
    names = zip(bucket_names(keys.prefix, keys.buckets), bucket_names(keys.stream, keys.buckets), strict=True)
    return [structs.replace(keys, prefix=prefix, stream=stream, buckets=1) for prefix, stream in names]


SOURCE = Source(
    "nats",
    NatsSourceKeys,
    open_nats,
    unique="prefix",
    several=_buckets,
    example={"servers": ["nats://127.0.0.1:4222"], "user": "reader", "password": "file:/etc/aggregator/nats.password"},
    module="nats",
)
