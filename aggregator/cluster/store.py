"""All that a cluster has in NATS: buckets of leases, of members and of what they share, and a stream a shard.

Writes into any of them are compare-and-set: each says what it replaces or follows, and the server refuses it otherwise.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, structs

from aggregator.bus.bus import Batch
from aggregator.cluster.lease import Lease
from aggregator.cluster.settings import ClusterKeys
from aggregator.cluster.shared import KEPT, SharedConfig, read_shared
from aggregator.cluster.writer import FrameWrite
from aggregator.errors import UNREADABLE
from aggregator.records import SECOND_NS, Record
from aggregator.sinks.brokers.nats_client import BATCH, BEFORE, DAEMON, EPOCH, FENCE, Watch, answered, connect, said
from aggregator.sinks.naming import NATS, Places
from aggregator.sinks.values import write_bytes
from aggregator.sources.nats import FRAMES, NatsSourceKeys, StreamReader, Taken
from aggregator.sources.nats_batches import BatchOrigin, ForeignMessage, origin_of, records_in

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

REPLACES = "Nats-Expected-Last-Subject-Sequence"
KNOWN_S = 30.0  # so long the server knows a frame again that is sent once more
ANSWER_S = 4.0
ASKED_S = 2.0  # readers ask for so long: one whose server is gone knows it after 6 s, half of what a lease lasts
HEADERS_BYTES = 1024  # left free in a message
AT_ONCE = 100  # records are handed out before others have their turn
WRONG_LAST = frozenset({10071, 10164})  # the server's numbers for a write that follows something else
LEASE, MEMBER, DRAIN = "lease", "member", "drain"  # the keys of the bucket of leases begin so
GREATEST_FENCE = 10**18  # no server counts so far, and readers take no number with more digits
SHARED = "members"  # the key of the shared configuration, in a bucket of its own

encode = msgspec.json.Encoder().encode


class Unanswered(Exception):
    """No answer came, or none that settles it: the write may stand."""


class Replaced(Exception):
    """The write is refused: something else stands where it was to follow."""


class StreamRefused(Exception):
    """The servers do not make a stream."""


class BucketEntry(Struct, frozen=True):
    """An entry of the bucket as it was read.

    value: null where it was removed
    ts: when it was written, ns by the clock of the servers
    """

    key: str
    revision: int
    value: bytes | None
    ts: int


class ServerClock(Struct, frozen=True):
    """An answer of the servers, of which only the time by their clock is read."""

    ts: datetime


@contextmanager
def in_words() -> Iterator[None]:
    """Have what the client raises raised as an OSError."""
    from nats.errors import Error

    try:
        yield
    except Error as error:
        raise OSError(said(error)) from error


class ClusterStore:
    """A connection to the servers of a cluster."""

    def __init__(self, keys: ClusterKeys, client: "Client", watch: Watch) -> None:
        self._keys = keys
        self._client = client
        self.watch = watch
        self._stream: JetStreamContext = client.jetstream(timeout=ANSWER_S)
        self._places: dict[str, Places] = {}  # by shard
        self._root = f"$KV.{keys.bucket}."

    @property
    def most_bytes(self) -> int:
        """So much of records a message may have, beside its headers."""
        most: int = self._client.max_payload
        return most - HEADERS_BYTES

    async def prepare(self) -> None:
        """Make the buckets that are missing. Raises OSError."""
        await answered(self._have_buckets())

    async def _have_buckets(self) -> None:
        from nats.js.api import KeyValueConfig
        from nats.js.errors import BucketNotFoundError, NotFoundError

        for bucket, kept in ((self._keys.bucket, 1), (self._keys.shared_bucket, KEPT)):
            try:
                await self._stream.key_value(bucket)
            except (BucketNotFoundError, NotFoundError):
                config = KeyValueConfig(bucket=bucket, history=kept, replicas=self._keys.replicas)
                await self._stream.create_key_value(config)

    async def have_stream(self, shard: str) -> None:
        """Make the stream of a shard that is missing. Raises StreamRefused, errors of NATS."""
        await answered(self._have_stream(shard))

    async def _have_stream(self, shard: str) -> None:
        from nats.js.api import DiscardPolicy, StorageType, StreamConfig
        from nats.js.errors import APIError, NotFoundError

        keys = self._keys
        name = keys.stream_of(shard)
        try:
            await self._stream.stream_info(name)
        except NotFoundError:
            config: StreamConfig = StreamConfig(
                name=name,
                subjects=[f"{keys.prefix_of(shard)}.>"],
                storage=StorageType.FILE,
                discard=DiscardPolicy.OLD,
                max_bytes=keys.stream_bytes,
                max_age=keys.stream_age,
                duplicate_window=min(KNOWN_S, keys.stream_age),
                num_replicas=keys.replicas,
            )
            try:
                await self._stream.add_stream(config)
            except APIError as error:
                asked = f"`replicas` ({keys.replicas}) and `stream_bytes` ({write_bytes(keys.stream_bytes)})"
                look = f"look at {asked} of [cluster], and at how much the servers may store"
                raise StreamRefused(f"the servers do not make the stream {name}: {said(error)}; {look}") from error

    async def clock_ahead(self) -> float:
        """Seconds by which the clock here is ahead of that of the servers; negative: behind. Raises Unanswered.

        It is 0 where the time that the answer took explains the difference.
        """
        from nats.errors import Error

        before = time.time_ns()
        asked = self._client.request(f"$JS.API.STREAM.INFO.KV_{self._keys.bucket}", timeout=ANSWER_S)
        try:
            answer = await answered(asked)
            told = msgspec.json.decode(answer.data, type=ServerClock).ts.timestamp() * SECOND_NS
        except (Error, OSError, TimeoutError, msgspec.MsgspecError) as error:
            raise Unanswered(said(error)) from error
        return (max(0.0, before - told) + min(0.0, time.time_ns() - told)) / SECOND_NS

    async def replace(self, key: str, value: object, last: int | None) -> int:
        """Write an entry in place of that of a revision, or of any; gives its own. Raises Replaced, Unanswered."""
        headers = {} if last is None else {REPLACES: str(last)}
        return await self._publish(f"{self._root}{key}", encode(value), headers)

    async def remove(self, key: str, last: int | None = None) -> None:
        """Remove an entry, of a revision or of any. Raises Replaced, Unanswered."""
        headers = {} if last is None else {REPLACES: str(last)}
        await self._publish(f"{self._root}{key}", b"", {**headers, "KV-Operation": "DEL"})

    async def share(self, shared: SharedConfig, last: int) -> int:
        """Put a revision of the shared configuration after the last one; gives its number. Raises Replaced, Unanswered.

        last: the number of the revision before it; 0: there is none
        """
        subject = f"$KV.{self._keys.shared_bucket}.{SHARED}"
        return await self._publish(subject, encode(structs.replace(shared, revision=0)), {REPLACES: str(last)})

    async def append(self, shard: str, epoch: str, write: FrameWrite) -> int:
        """Write a frame into the stream of its shard; gives its number. Raises Replaced, Unanswered."""
        frame = write.frame
        before = frame.first - 1 if frame.records else frame.first
        headers = {
            "Nats-Msg-Id": write.id,
            REPLACES: str(write.last),
            DAEMON: self._keys.stream_of(shard),
            EPOCH: epoch,
            BATCH: f"{frame.first}-{frame.last}/1",
            BEFORE: str(before),
            FENCE: str(frame.fence),
        }
        return await self._publish(self.frames_at(shard), frame.payload, headers)

    def frames_at(self, shard: str) -> str:
        """The subject of the frames of a shard; whatever else its stream holds is of others."""
        return f"{self._keys.prefix_of(shard)}.{FRAMES}"

    async def hand_out(self, shard: str, fence: int, first: int, records: Sequence[Record]) -> None:
        """Hand each record to those who listen, numbered from `first` on within an ownership. Raises errors of NATS.

        One that is larger than a message may be is left out, which the number of the next one tells.
        """
        await answered(self._hand_out(shard, fence, first, records))

    async def _hand_out(self, shard: str, fence: int, first: int, records: Sequence[Record]) -> None:
        room = self.most_bytes
        places = self._places.setdefault(shard, Places(NATS, f"{self._keys.core_prefix_of(shard)}."))
        same = {DAEMON: self._keys.stream_of(shard), EPOCH: f"{fence:019d}", FENCE: str(fence)}
        for number, (record, place) in enumerate(zip(records, places.of(records), strict=True), first):
            record.offset = number
            line = Batch([record]).blob
            if len(line) <= room:
                headers = {**same, BATCH: f"{number}-{number}/1", BEFORE: str(number - 1)}
                await self._client.publish(place, line[:-1], headers=headers)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> int:
        from nats.errors import Error
        from nats.js.errors import APIError

        try:
            answer = await answered(self._stream.publish(subject, payload, timeout=ANSWER_S, headers=headers or None))
        except APIError as error:
            if error.err_code in WRONG_LAST:
                raise Replaced(said(error)) from error
            raise Unanswered(said(error)) from error
        except (Error, OSError, TimeoutError) as error:
            raise Unanswered(said(error)) from error
        number: int = answer.seq
        return number

    # --- reading

    async def all_entries(self) -> list[BucketEntry]:
        """The entries that the bucket has now. Raises LinkBroken, OSError."""
        return list({entry.key: entry for entry in await self._all(self._keys.bucket)}.values())

    async def revisions(self) -> tuple[list[SharedConfig], int]:
        """The revisions of the shared configuration that are kept, the oldest first. Raises LinkBroken, OSError.

        Those that are none, because somebody else has written there, are left out; the number of the last is given
        besides, whatever it is.
        """
        found: list[SharedConfig] = []
        last = 0
        for entry in await self._all(self._keys.shared_bucket):
            if entry.key == SHARED:
                last = entry.revision
                with suppress(ValueError):
                    found.append(read_shared(entry.value, entry.revision))
        return found, last

    async def _all(self, bucket: str) -> list[BucketEntry]:
        reader = self._reader(bucket)
        with in_words():
            first, last = await reader.reader.numbers()
            await reader.reader.begin(first)
        found: list[BucketEntry] = []
        while last >= first and (not found or found[-1].revision < last):
            found += await reader.read()
        return found

    async def entries(self) -> "EntryReader":
        """Every entry of the bucket of leases, and then each that is new. Raises LinkBroken, OSError."""
        reader = self._reader(self._keys.bucket)
        with in_words():
            _, reader.newest = await reader.reader.numbers()
            await reader.reader.begin(1)
        return reader

    async def revisions_after(self, revision: int) -> "EntryReader":
        """Each revision of the shared configuration that comes after one. Raises LinkBroken, OSError."""
        reader = self._reader(self._keys.shared_bucket)
        with in_words():
            await reader.reader.begin(revision + 1)
        return reader

    def _reader(self, bucket: str) -> "EntryReader":
        return EntryReader(self._client, self.watch, f"KV_{bucket}", f"$KV.{bucket}.")

    def frames(self, shard: str) -> StreamReader:
        """A reader of the stream of a shard, that is to be begun."""
        keys = _keys(self._keys.stream_of(shard), self._keys.prefix_of(shard))
        return StreamReader(self._client, self.watch, keys, asked_s=ASKED_S)

    async def close(self) -> None:
        """Hang up."""
        await self._client.close()


class EntryReader:
    """Entries of the bucket in the order in which they were written.

    newest: the revision that was the newest when it began; 0: that is not known
    """

    def __init__(self, client: "Client", watch: Watch, stream: str, root: str) -> None:
        self.newest = 0
        self.reader = StreamReader(client, watch, _keys(stream, root.rstrip(".")), asked_s=ASKED_S)
        self._root = root

    async def read(self) -> list[BucketEntry]:
        """Wait for entries; there may be none for a while. Raises OSError, LinkBroken."""
        with in_words():
            return [self._entry(taken) for taken in await self.reader.read()]

    def _entry(self, taken: Taken) -> BucketEntry:
        message = taken.message
        is_gone = "KV-Operation" in (message.headers or {})
        key = message.subject.removeprefix(self._root)
        return BucketEntry(key, taken.number, None if is_gone else message.data, taken.ts)


def _keys(stream: str, prefix: str) -> NatsSourceKeys:
    return NatsSourceKeys(servers=(), stream=stream, prefix=prefix)


def read_lease(value: bytes | None) -> Lease | None:
    """The lease of an entry; null where it was removed or cannot be read."""
    try:
        found = None if value is None else msgspec.json.decode(value, type=Lease)
    except UNREADABLE:
        return None
    return None if found is None or not 0 <= found.fence < GREATEST_FENCE else found


def is_drain_mark(value: bytes | None) -> bool:
    """Tell whether an entry is a mark that a member is to own nothing: it says when it was made."""
    try:
        return value is not None and msgspec.json.decode(value, type=int) > 0
    except UNREADABLE:
        return False


async def open_store(keys: ClusterKeys) -> ClusterStore:
    """Connect to one of the servers. Raises OSError."""
    from nats.errors import Error

    watch = Watch()
    store = ClusterStore(keys, await connect(keys.nats, keys, watch), watch)
    try:
        await store.prepare()
    except BaseException as error:
        await store.close()
        if isinstance(error, Error | TimeoutError):
            raise watch.failure(error if isinstance(error, Error) else None) from error
        raise
    return store


def frame_of(taken: Taken) -> tuple[BatchOrigin, Sequence[Record], int]:
    """A frame, its records, and how many more are of a later version. Raises ForeignMessage."""
    origin = origin_of(taken.message.headers)
    if not origin.fence:
        raise ForeignMessage("no owner has written it")
    records, later = records_in(origin, taken.message.data)
    return origin, records, len(later)
