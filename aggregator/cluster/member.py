"""A member of a cluster at work: it holds leases, has exchanges gathered, and writes their streams.

What is decided is decided in `lease.py`, `share.py` and `writer.py`, without I/O. Here is the I/O: one connection to
the servers, which is made anew when it is lost; the leases and what was gathered outlive it.
"""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, TypeVar

from msgspec import structs

from aggregator.bus.bus import Batch
from aggregator.cluster.buckets import bucket_of
from aggregator.cluster.lease import RENEWALS, LeaseKeeper, LeaseTiming, LeaseWrite
from aggregator.cluster.ranking import ClusterMember, line_of
from aggregator.cluster.report import MemberLoad, MemberReport, ReadBack, ShareReport, read_report
from aggregator.cluster.settings import ClusterKeys
from aggregator.cluster.share import Share
from aggregator.cluster.shared import SharedConfig, read_shared
from aggregator.cluster.store import (
    DRAIN,
    LEASE,
    MEMBER,
    SHARED,
    BucketEntry,
    ClusterStore,
    Replaced,
    StreamRefused,
    Unanswered,
    frame_of,
    is_drain_mark,
    open_store,
    read_lease,
)
from aggregator.cluster.turns import AGREED_S, LONGEST_S, is_turn
from aggregator.cluster.writer import MOST_FRAME_BYTES, ShardWriter
from aggregator.errors import AggregatorError, in_short
from aggregator.records import BookSnapshot, Channel, Record
from aggregator.sinks.brokers.nats_client import said
from aggregator.sources.nats import Taken
from aggregator.sources.nats_batches import ForeignMessage
from aggregator.sources.source import LinkBroken

TICK_S = 0.25
PACE_S = 0.02  # between two frames of one shard, while a frame is not full
IDLE_S = 0.1
READ_BACK_FRAMES = 3000  # a member that begins reads so many: a minute and more
READY = 0.95  # a member that gathers so much of what the stream tells of could go on at once
STOPPED_S = 2.0  # a member that has not looked at its shards for so long was stopped, or held up
STANDING_S = 5.0  # and that has done so for so long
LINGER_S = 30.0  # a shard is gathered so much longer than this member is one of the first two in line
GATHERERS = 2  # so many in line gather a shard: the first is to own it, the second stands by
LONGEST_PAUSE_S = 5.0
MOST_REFUSALS = 20  # in a row; then the stream is read anew
CLOCK_S = 30.0  # between two looks at the clock of the servers
CLOCK_OFF_S = 1.0  # a clock that is further from it is told
MOST_UNREADABLE = 100  # entries that are none are told by name
LEAVE_S = 5.0  # a member that ends has so long to give up what it owns

T = TypeVar("T")

log = logging.getLogger("aggregator.cluster")


class Gatherer(Protocol):
    """Whoever has exchanges gathered, and their records published on this member's own bus."""

    async def gather(self, exchange: str, buckets: Collection[int]) -> None:
        """Gather these buckets of an exchange, and no others, from now on. Raises AggregatorError if that cannot be."""

    def book(self, exchange: str, raw_symbol: str) -> BookSnapshot | None:
        """A book as it stands."""


class MemberShard:
    """One shard at this member: an exchange, or one bucket of its symbols."""

    def __init__(
        self, name: str, exchange: str, bucket: int, keeper: LeaseKeeper, share: Share, writer: ShardWriter
    ) -> None:
        self.name = name
        self.exchange = exchange
        self.bucket = bucket
        self.keeper = keeper
        self.share = share
        self.writer = writer
        self.wake = asyncio.Event()
        self.has_fresh = asyncio.Event()
        self.is_gathered = False
        self.is_read = False  # the stream was read to its end
        self.is_wanted = False  # this member is to gather it
        self.unwanted_since: float | None = None
        self.ready_since: float | None = None
        self.looked_at = 0.0
        self.was_owned = False
        self.is_dropped = False  # it is to be gathered by nobody any more
        self.trouble = ""  # why it cannot be written
        self.has_foreign = False  # a message of others was found in its stream, and told

    def is_ready(self, now: float) -> bool:
        """Tell whether this member could go on with it at once."""
        if now - self.looked_at > STOPPED_S:
            self.ready_since = None  # the process was stopped: it says nothing of before
        self.looked_at = now
        is_good = self.is_gathered and self.is_read and self.share.readiness() >= READY
        self.ready_since = (self.ready_since or now) if is_good else None
        return self.ready_since is not None and now - self.ready_since >= STANDING_S


class Member:
    """One member."""

    def __init__(
        self,
        keys: ClusterKeys,
        exchanges: Mapping[str, Iterable[Channel]],
        gathering: Gatherer,
        timing: LeaseTiming,
        *,
        apply: Callable[[SharedConfig], Awaitable[object]] | None = None,
        load: Callable[[], MemberLoad] = MemberLoad,
    ) -> None:
        """Prepare.

        exchanges: by id the channels of books whose numbers say which record it is
        apply: has this member go by a revision of the shared configuration, and raises AggregatorError where it cannot,
            and nothing has changed then; null: it goes by its own file, whatever is shared
        load: what the process takes of its host
        """
        self._keys = keys
        self._gathering = gathering
        self._timing = timing
        self._life = secrets.token_hex(6)
        self._begun = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.shards: dict[str, MemberShard] = {}
        self._divided: dict[str, tuple[MemberShard, ...]] = {}  # by exchange its shards, by bucket
        self.needs: Mapping[str, Collection[str]] = keys.needs or {}
        self.shared = SharedConfig()  # the revision that this member goes by
        self._refused = 0  # a newer revision, by which it cannot go
        self._refusal = ""
        self._old: dict[str, float] = {}  # exchanges that are to begin anew here in their turn, and since when
        self._is_applying = False
        self._is_unfit = False  # it has gone by no revision, and its own file may say something else than all others do
        self._has_connected = False
        self._apply = apply
        self._load = load
        self._has_tried = asyncio.Event()  # to reach the servers: they may have another configuration than the file
        self._told: dict[str, tuple[int, float]] = {}  # by shard the number that was told last, and when
        self._leases: dict[str, BucketEntry] = {}  # the newest of each shard, also of those that are none here
        for id, sure in exchanges.items():
            self.take_up(id, keys.shards_of(id), sure)
        self._heard = 0  # the newest revision of the bucket
        self._members: dict[str, tuple[MemberReport, float]] = {}
        self._draining: set[str] = set()
        self._unreadable: set[str] = set()  # keys of entries that are none, as was told
        self._own_revision = 0
        self._read_back = ReadBack()
        self._doubled_until = 0.0
        self._clock_ahead = 0.0  # seconds; of the clock of the servers
        self._store: ClusterStore | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_leaving = False

    # --- from outside

    def receive(self, batch: Batch) -> None:
        """Take what was published on this member's bus."""
        found: dict[MemberShard, list[Record]] = {}
        for record in batch.records:
            for shard in self._shards_of(record):
                if shard.is_gathered:
                    found.setdefault(shard, []).append(copy(record))
        for shard, records in found.items():
            shard.share.gather(records, time.time_ns())
            shard.wake.set()
            shard.has_fresh.set()

    def _shards_of(self, record: Record) -> Sequence[MemberShard]:
        """The shard of a record; all of its exchange where it is about no symbol."""
        divided = self._divided.get(record.exchange, ())
        if len(divided) <= 1 or record.raw_symbol is None:
            return divided
        return (divided[bucket_of(record.raw_symbol, len(divided))],)

    def take_up(self, exchange: str, names: Sequence[str], sure: Iterable[Channel]) -> None:
        """Be in line for the shards of an exchange from now on.

        names: of the shards, by bucket
        sure: channels of books whose numbers say which record it is
        """
        now, channels, found = time.monotonic(), list(sure), list[MemberShard]()
        for bucket, name in enumerate(names):
            keeper = LeaseKeeper(name, self._keys.name, self._life, self._timing, now)
            share = Share(exchange, channels, most=self._keys.buffer)
            writer = ShardWriter(keeper, share, self._life)
            found.append(MemberShard(name, exchange, bucket, keeper, share, writer))
            if (entry := self._leases.get(name)) is not None:
                keeper.observe(entry.revision, read_lease(entry.value), now)
        self._divided[exchange] = tuple(found)
        self.shards |= {shard.name: shard for shard in found}

    async def drop(self, exchange: str) -> None:
        """Be in line for an exchange no more; what it says at its end is still written, where this member owns it.

        A lease is not given up for that, as another member that has not heard of it yet would take it.
        """
        shards = self._divided[exchange]
        for shard in shards:
            shard.is_dropped = True
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                while any(shard.is_gathered for shard in shards):  # noqa: ASYNC110 - `_gather` ends it
                    await asyncio.sleep(TICK_S / 5)
        del self._divided[exchange]
        self._old.pop(exchange, None)
        for shard in shards:
            del self.shards[shard.name]

    def begin_anew(self, exchange: str) -> None:
        """Have an exchange that is gathered gathered anew once it is this member's turn, by what it is then."""
        self._old[exchange] = time.monotonic()

    def is_as_configured(self, exchange: str) -> None:
        """An exchange is gathered as its configuration is."""
        self._old.pop(exchange, None)

    async def run(self) -> None:
        """Be a member until cancelled."""
        from nats.errors import Error

        calls = (self._tick(), self._for_each(self._divided.values, self._gather))
        running = [asyncio.create_task(each) for each in calls]
        pause = 0.5
        try:
            while True:
                begun = time.monotonic()
                try:
                    await self._session()
                except (OSError, LinkBroken, Error) as error:
                    log.warning("cluster: the servers: %s; again in %.1f s", said(error), pause)
                except Exception:
                    log.exception("cluster: an error of our own; again in %.1f s", pause)
                self._has_tried.set()
                if time.monotonic() - begun > LONGEST_PAUSE_S:
                    pause = 0.5
                await asyncio.sleep(pause * random.uniform(0.5, 1))
                pause = min(pause * 2, LONGEST_PAUSE_S)
        finally:
            for task in (*running, *self._tasks):
                task.cancel()
            await asyncio.gather(*running, *self._tasks, return_exceptions=True)

    async def leave(self) -> None:
        """Give up all that this member owns, so that whoever stands by goes on at once."""
        self._is_leaving = True
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                while any(shard.keeper.fence for shard in self.shards.values()) and self._store is not None:  # noqa: ASYNC110 - the servers answer
                    await asyncio.sleep(TICK_S / 5)
        if self._store is not None:
            with suppress(Unanswered):
                await self._store.remove(f"{MEMBER}.{self._keys.name}")

    # --- who is there

    def _line(self, shard: MemberShard, now: float) -> tuple[list[str], list[str]]:
        """The members that may own a shard, the first in line first, and those that could go on at once."""
        own = self._own(now)
        others = [report.member for report in self._others(now)]
        members = [structs.replace(m, is_draining=m.is_draining or m.name in self._draining) for m in (own, *others)]
        line = line_of(shard.name, members, self.needs.get(shard.exchange, ()))
        fresh = {own.name, *(m.name for m in others if now - self._members[m.name][1] < self._timing.ttl / 2)}
        return line, [m.name for m in members if shard.name in m.ready and m.name in fresh]

    def _others(self, now: float) -> list[MemberReport]:
        """The last words of the other members that are alive."""
        known = self._members.items()
        return [report for name, (report, at) in known if name != self._keys.name and now - at < self._timing.ttl]

    def _is_fresh(self, shard: MemberShard, name: str) -> bool:
        """Tell whether a gap would be told if a member went on with a shard now, by its own last words."""
        if name == self._keys.name:
            return shard.share.is_fresh
        known = self._members.get(name)
        return known is not None and any(share.is_fresh for share in known[0].shares if share.shard == shard.name)

    def _own(self, now: float) -> ClusterMember:
        keys = self._keys
        return ClusterMember(
            name=keys.name,
            life=self._life,
            weight=keys.weight,
            labels=keys.labels,
            is_draining=self._is_leaving or now < self._doubled_until or self._is_unfit,
            ready=tuple(shard.name for shard in self.shards.values() if shard.is_ready(now)),
        )

    def _report(self, now: float) -> MemberReport:
        shares = tuple(
            ShareReport(
                shard=shard.name,
                is_owned=shard.keeper.may_publish(now),
                readiness=round(shard.share.readiness(), 3),
                held=len(shard.share),
                number=shard.share.number,
                overflowed=shard.share.overflowed,
                rate=self._rate(shard, now),
                is_old=shard.exchange in self._old,
                is_fresh=shard.share.is_fresh,
            )
            for shard in self.shards.values()
            if shard.is_gathered or shard.keeper.fence
        )
        return MemberReport(
            member=self._own(now),
            ts=time.time_ns(),
            shares=shares,
            revision=self.shared.revision,
            refused=self._refused,
            refusal=self._refusal,
            load=self._load(),
            troubles=tuple(self._troubles(now)),
        )

    def _troubles(self, now: float) -> Iterator[str]:
        if now < self._doubled_until:
            yield "another member has this name, so neither owns anything: give each host a name of its own"
        if self._clock_ahead:
            is_ahead = "ahead of" if self._clock_ahead > 0 else "behind"
            yield f"its clock is {abs(self._clock_ahead):.0f} s {is_ahead} the servers': have NTP set both"
        yield from (shard.trouble for shard in self.shards.values() if shard.trouble)

    def _rate(self, shard: MemberShard, now: float) -> float:
        """Records a second that the stream has got since this was told the last time."""
        number = shard.share.number
        before, at = self._told.get(shard.name, (number, now))
        self._told[shard.name] = number, now
        return round(max(0, number - before) / (now - at), 1) if before and now > at else 0.0

    # --- leases

    async def _tick(self) -> None:
        """Look at every lease again and again."""
        await self._has_tried.wait()
        while True:
            now, is_well = time.monotonic(), True
            for shard in list(self.shards.values()):
                try:
                    self._look_at(shard, now)
                except Exception:
                    log.exception("cluster: %s: an error of our own", shard.name)
                    is_well = False
            await asyncio.sleep(TICK_S if is_well else LONGEST_PAUSE_S)

    async def _for_each(
        self, all_of: Callable[[], Iterable[T]], call: Callable[[T], Coroutine[object, object, None]]
    ) -> None:
        """Have a call run for each of some things while there is that one. Raises what a call raises."""
        running: dict[T, asyncio.Task[None]] = {}
        try:
            while True:
                there = list(all_of())
                for each in [each for each in running if each not in there]:
                    running.pop(each).cancel()
                for each in there:
                    if each not in running:
                        running[each] = asyncio.create_task(call(each))
                await asyncio.sleep(TICK_S)
                for task in running.values():
                    if task.done():
                        task.result()
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)

    def _look_at(self, shard: MemberShard, now: float) -> None:
        if shard.is_dropped and not shard.is_gathered:
            return
        line, ready = self._line(shard, now)
        keeper = shard.keeper
        is_near = self._keys.name in line[:GATHERERS] and not self._is_leaving
        shard.is_wanted = not shard.is_dropped and self._is_to_gather(shard, now, is_near=is_near or keeper.fence > 0)
        if self._is_turn(shard.exchange, now):  # whoever is ready owns it meanwhile
            line = [name for name in line if name != self._keys.name]
        whole = [name for name in ready if not self._is_fresh(shard, name)]
        if whole or (keeper.fence and self._keys.name in line):  # an owner that may stay is in no hurry
            ready = whole
        is_owned = keeper.may_publish(now)
        if is_owned != shard.was_owned:
            shard.was_owned, shard.trouble = is_owned, ""
            log.warning(
                "cluster: %s %s", shard.name, f"is owned, by lease {keeper.fence}" if is_owned else "is not owned"
            )
        if self._store is None:
            return
        if (keeper.is_leaving or (self._is_leaving and keeper.fence)) and shard.writer.is_quiet:
            write = keeper.release(now, line, ready)
        else:
            write = keeper.step(now, line, ready, time.time_ns(), shard.share.fence)
        if write is not None:
            self._spawn(self._lease(shard, write, self._store))

    def _is_to_gather(self, shard: MemberShard, now: float, *, is_near: bool) -> bool:
        """Tell whether to gather a shard; one that need not be gathered any more is gathered a while longer."""
        if is_near:
            shard.unwanted_since = None
            return True
        if not shard.is_gathered or self._is_leaving:
            return False
        shard.unwanted_since = shard.unwanted_since or now
        return now - shard.unwanted_since < LINGER_S

    # --- exchanges that begin anew

    def _is_turn(self, exchange: str, now: float) -> bool:
        """Tell whether it is this member's turn to begin an exchange anew, once it owns none of it."""
        since = self._old.get(exchange)
        if since is None or self._is_applying or now - since < AGREED_S:
            return False
        shards = [shard.name for shard in self._divided[exchange]]
        own, others = self._own(now), self._others(now)
        return now - since > LONGEST_S or is_turn(exchange, shards, own, self.shared.revision, others)

    def _may_begin_anew(self, shards: Sequence[MemberShard], now: float) -> bool:
        """Tell whether to begin an exchange anew: what this member owns of it is handed over where anybody is there."""
        exchange = shards[0].exchange
        if not self._is_turn(exchange, now):
            return False
        owned = [shard for shard in shards if shard.keeper.fence]
        if now - self._old[exchange] > LONGEST_S:
            return True
        return not any(set(self._line(shard, now)[0]) - {self._keys.name} for shard in owned)

    async def _begin_anew(self, shards: Sequence[MemberShard]) -> None:
        """Begin an exchange anew; where that cannot be, it is told as a revision is by which this member cannot go."""
        exchange = shards[0].exchange
        log.warning("cluster: %s begins anew here, as another configuration wants it", exchange)
        if not await self._have_gathered(exchange, [shard for shard in shards if shard.is_gathered]):
            self._old.pop(exchange, None)
            self._refused = self.shared.revision
            self._refusal = f"{exchange} cannot be gathered by it: the log says why"

    def _spawn(self, call: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _lease(self, shard: MemberShard, write: LeaseWrite, store: ClusterStore) -> None:
        """Try a write of a lease."""
        try:
            revision = await store.replace(f"{LEASE}.{shard.name}", write.lease, write.last)
        except Replaced:
            shard.keeper.answered(write, None, time.monotonic())
        except Unanswered:
            shard.keeper.unanswered(write)
        else:
            shard.keeper.answered(write, revision, time.monotonic())
            shard.wake.set()

    # --- what is gathered

    async def _gather(self, shards: Sequence[MemberShard]) -> None:
        """Have the shards of an exchange gathered while they are wanted."""
        while not any(shard.is_dropped for shard in shards):
            changed = [shard for shard in shards if shard.is_wanted != shard.is_gathered]
            for shard in changed:
                shard.is_gathered = shard.is_wanted
                shard.writer.begin_anew(time.time_ns())
                log.info("cluster: %s is gathered here%s", shard.name, "" if shard.is_gathered else " no more")
            if changed and not await self._have_gathered(shards[0].exchange, [s for s in shards if s.is_gathered]):
                for shard in changed:
                    shard.is_gathered = False
                await asyncio.sleep(LONGEST_PAUSE_S)
            elif self._may_begin_anew(shards, time.monotonic()):
                await self._begin_anew(shards)
            await asyncio.sleep(TICK_S)
        await self._say_their_last(shards)

    async def _have_gathered(self, exchange: str, shards: Sequence[MemberShard]) -> bool:
        """Have these shards of an exchange gathered, and no others; tell whether that can be."""
        try:
            await self._gathering.gather(exchange, [shard.bucket for shard in shards])
        except AggregatorError as error:
            log.warning("cluster: %s cannot be gathered here: %s", exchange, error)
            return False
        except Exception:
            log.exception("cluster: %s cannot be gathered here, for an error of our own", exchange)
            return False
        self._old.pop(exchange, None)
        return True

    async def _say_their_last(self, shards: Sequence[MemberShard]) -> None:
        """End an exchange that nobody is to gather any more, and have written what it says at its end."""
        gathered = [shard for shard in shards if shard.is_gathered]
        if gathered:
            await self._have_gathered(shards[0].exchange, ())
        for shard in gathered:
            shard.wake.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S / 2):
                while any(map(self._has_more, gathered)):  # noqa: ASYNC110 - `_publish` writes
                    await asyncio.sleep(TICK_S / 5)
        for shard in gathered:
            shard.is_gathered = False
            shard.writer.begin_anew(time.time_ns())
            log.info("cluster: %s is gathered here no more", shard.name)

    def _has_more(self, shard: MemberShard) -> bool:
        """Tell whether this member owns a shard and has not written all of it yet."""
        return shard.keeper.may_publish(time.monotonic()) and (len(shard.share) > 0 or not shard.writer.is_quiet)

    # --- one connection

    async def _session(self) -> None:
        """Connect, and read and write until the connection is lost. Raises OSError, LinkBroken."""
        store = await open_store(self._keys)
        self._read_back = ReadBack()
        tasks: list[asyncio.Task[None]] = []
        try:
            entries = await store.entries()
            if entries.newest < self._heard:
                self._forget_leases()
            revisions, last = await store.revisions()
            await self._take(revisions[-1] if revisions else SharedConfig())
            self._is_unfit = self._refused > 0 and not self._has_connected
            self._has_connected = True
            coming = await store.revisions_after(last)
            self._store = store
            self._has_tried.set()
            log.info("cluster: connected as %s", self._keys.name)
            calls: Sequence[Coroutine[object, object, None]] = (
                self._read_entries(entries.read),
                self._read_revisions(coming.read),
                self._tell(store),
                self._look_at_clock(store),
                *(self._for_each(self.shards.values, partial(call, store)) for call in self._calls()),
            )
            tasks = [asyncio.create_task(call) for call in calls]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._store = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await store.close()

    def _calls(self) -> Sequence[Callable[[ClusterStore, MemberShard], Coroutine[object, object, None]]]:
        """The calls that there are for each shard while a connection stands."""
        calls = [self._read_frames, self._publish]
        return [*calls, self._hand_out] if self._keys.core else calls

    async def _read_entries(self, read: Callable[[], Coroutine[object, object, list[BucketEntry]]]) -> None:
        while True:
            entries = await read()
            now = time.monotonic()
            for entry in entries:
                self._entry(entry, now)

    async def _read_revisions(self, read: Callable[[], Coroutine[object, object, list[BucketEntry]]]) -> None:
        while True:
            entries = [entry for entry in await read() if entry.key == SHARED]
            if entries:
                try:
                    await self._take(read_shared(entries[-1].value, entries[-1].revision))
                except ValueError as error:
                    log.warning("cluster: %s", error)

    async def _take(self, shared: SharedConfig) -> None:
        """Go by a revision of the shared configuration; where that cannot be, all stays as it was, and that is told."""
        if self._apply is None or shared.revision in {0, self.shared.revision, self._refused}:
            return  # servers that have lost all that they had know of none, and that is no reason to forget it
        try:
            self._is_applying = True
            if self.shared.text or shared.text:  # else both say that members go by their own files
                await self._apply(shared)
        except Exception as error:
            self._refused, self._refusal = shared.revision, in_short(error)
            log.error(  # noqa: TRY400 - only an error of ours has a traceback
                "cluster: revision %d of the shared configuration cannot be had here, and nothing is changed: %s",
                shared.revision,
                self._refusal,
                exc_info=None if isinstance(error, AggregatorError) else error,
            )
        else:
            self.shared, self._refused, self._refusal, self._is_unfit = shared, 0, "", False
            log.warning("cluster: goes by revision %d of the shared configuration", shared.revision)
        finally:
            self._is_applying = False

    def _forget_leases(self) -> None:
        """Begin anew with a bucket that has not got any more what it had."""
        log.warning("cluster: the servers have lost what they knew of leases and members: it is told anew")
        self._heard = self._own_revision = 0
        self._leases.clear()
        self._members.clear()
        self._draining.clear()
        for shard in self.shards.values():
            shard.keeper.forget(time.monotonic())

    def _entry(self, entry: BucketEntry, now: float) -> None:
        self._heard = max(self._heard, entry.revision)
        kind, _, name = entry.key.partition(".")
        found: object
        if kind == LEASE:
            self._leases[name] = entry
            found = lease = read_lease(entry.value)
            shard = self.shards.get(name)
            if shard is not None:
                shard.keeper.observe(entry.revision, lease, now)
                shard.wake.set()
        elif kind == MEMBER:
            if name == self._keys.name:
                self._read_back.heard(entry.revision)
            found = report = read_report(entry.value, name)
            if report is None:
                self._members.pop(name, None)
            else:
                self._members[name] = report, now
                self._look_for_double(report, entry.revision, now)
        elif kind == DRAIN:
            found = is_drain_mark(entry.value)
            (self._draining.add if found else self._draining.discard)(name)
        else:
            return
        if not found and entry.value is not None:
            self._say_unreadable(entry)

    def _say_unreadable(self, entry: BucketEntry) -> None:
        """Tell once of an entry that no member and no command has written: it counts as one that was removed."""
        if entry.key not in self._unreadable and len(self._unreadable) < MOST_UNREADABLE:
            self._unreadable.add(entry.key)
            place = f"entry {entry.revision} of the bucket {self._keys.bucket}"
            log.warning("cluster: %s, %r, is none of this version, and is passed over", place, entry.key)

    def _look_for_double(self, report: MemberReport, revision: int, now: float) -> None:
        """Notice another host that has this member's name: neither of the two owns anything then."""
        member = report.member
        if member.name != self._keys.name or member.life == self._life or not 0 < self._own_revision < revision:
            return
        if now >= self._doubled_until:
            log.error("cluster: another member is named %s: give each host a name of its own", member.name)
        self._doubled_until = now + self._timing.ttl

    async def _tell(self, store: ClusterStore) -> None:
        """Tell the others of this member, a few times in the life of a lease, and whenever it is ready for more.

        Raises LinkBroken where that is not read back.
        """
        told: tuple[object, ...] | None = None
        at = 0.0
        while True:
            now = time.monotonic()
            news = self._own(now).ready, self.shared.revision, self._refused, tuple(self._old)
            if news != told or now - at > self._timing.ttl / RENEWALS:
                with suppress(Unanswered):
                    self._own_revision = await store.replace(f"{MEMBER}.{self._keys.name}", self._report(now), None)
                    self._read_back.wrote(self._own_revision)
                    told, at = news, now
            if self._read_back.is_deaf(time.monotonic()):
                raise LinkBroken("what this member has told is not read back")
            await asyncio.sleep(TICK_S)

    async def _look_at_clock(self, store: ClusterStore) -> None:
        """Notice a clock that is off: what members tell of times is compared, and shown to people."""
        while True:
            with suppress(Unanswered):
                ahead = await store.clock_ahead()
                was_off, self._clock_ahead = bool(self._clock_ahead), ahead if abs(ahead) >= CLOCK_OFF_S else 0.0
                if self._clock_ahead and not was_off:
                    log.error("cluster: the clock here is %+.1f s off that of the servers: have NTP set both", ahead)
            await asyncio.sleep(CLOCK_S)

    def _say_trouble(self, shard: MemberShard, trouble: str) -> None:
        """Tell why a shard cannot be written, or that it can be again."""
        if trouble and trouble != shard.trouble:
            log.error("cluster: %s: %s", shard.name, trouble)
        elif shard.trouble and not trouble:
            log.warning("cluster: %s can be written again", shard.name)
        shard.trouble = trouble

    async def _have_stream(self, store: ClusterStore, shard: MemberShard) -> None:
        """Have the stream of a shard made, however long that takes: other shards do not wait for it."""
        while True:
            try:
                await store.have_stream(shard.name)
            except StreamRefused as error:
                self._say_trouble(shard, str(error))
                await asyncio.sleep(LONGEST_PAUSE_S)
            else:
                self._say_trouble(shard, "")
                return

    async def _read_frames(self, store: ClusterStore, shard: MemberShard) -> None:
        """Follow what the stream of a shard holds."""
        await self._have_stream(store, shard)
        reader, frames = store.frames(shard.name), store.frames_at(shard.name)
        first, last = await reader.numbers()
        writer = shard.writer
        if last < writer.place or first > last:  # the stream was made anew, has lost its end, or holds nothing
            writer.place = 0
        begin = writer.place + 1 if writer.place else max(first, last - READ_BACK_FRAMES + 1)
        shard.is_read = last == 0 or begin > last
        await reader.begin(begin)
        while True:
            for taken in await reader.read():
                if taken.message.subject == frames:
                    self._hear(shard, taken)
                else:
                    self._say_foreign(shard, taken, "no owner writes there")
                shard.is_read = shard.is_read or taken.is_newest or taken.number >= last
                await asyncio.sleep(0)
            shard.wake.set()

    def _hear(self, shard: MemberShard, taken: Taken) -> None:
        """Take a message that stands where frames do; the next frame follows it, whoever has written it."""
        try:
            origin, records, later = frame_of(taken)
        except ForeignMessage as error:
            self._say_foreign(shard, taken, str(error))
            shard.writer.heard(taken.number, 0, 0, [])
            return
        if later:
            log.warning("cluster: %s: %d records of a later version are passed over", shard.name, later)
        if records and origin.fence >= shard.share.fence:
            shard.share.stored_at = taken.ts
        shard.share.epoch = origin.epoch
        shard.writer.heard(taken.number, origin.fence, origin.last, list(records))

    def _say_foreign(self, shard: MemberShard, taken: Taken, why: str) -> None:
        """Tell of the first message in the stream of a shard that no member has written."""
        if not shard.has_foreign:
            shard.has_foreign = True
            place = f"message {taken.number} of the stream {self._keys.stream_of(shard.name)}"
            how = f"is passed over, as each like it is: have nobody else write below {self._keys.prefix_of(shard.name)}"
            log.warning("cluster: %s at %r: %s; it %s", place, taken.message.subject, why, how)

    async def _publish(self, store: ClusterStore, shard: MemberShard) -> None:
        """Write the stream of a shard while this member owns it. Raises OSError, LinkBroken: it cannot be followed."""
        pause, refusals = 0.0, 0
        exchange, name, writer, barriers = shard.exchange, shard.name, shard.writer, ReadBack()
        writer.most_bytes = min(store.most_bytes, MOST_FRAME_BYTES)
        while True:
            shard.wake.clear()
            barriers.heard(writer.place)
            if barriers.is_deaf(time.monotonic()):
                raise LinkBroken(f"the stream of {name} does not bring what was written there")
            is_able = shard.is_read and shard.is_gathered
            now = time.monotonic()
            write = (
                writer.step(now, time.time_ns(), lambda raw: self._gathering.book(exchange, raw)) if is_able else None
            )
            if write is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_S):
                        await shard.wake.wait()
                continue
            if len(write.frame.payload) > store.most_bytes:  # other servers take less than those that it was made for
                writer.refused(write, time.time_ns())
                continue
            try:
                shard.has_fresh.set()
                number = await store.append(name, shard.share.epoch or self._begun, write)
            except Replaced as error:
                refusals += 1
                writer.refused(write, time.time_ns())
                if refusals >= MOST_REFUSALS:
                    raise OSError(f"the stream of {name} refuses what follows: {error}") from error
                await asyncio.sleep(IDLE_S)
            except Unanswered as error:
                pause = min(max(0.1, pause * 2), LONGEST_PAUSE_S / 2)
                await self._wait_out(shard, error, pause)
            else:
                pause, refusals = 0.0, 0
                self._say_trouble(shard, "")
                writer.stored(write, number)
                if not write.frame.records:
                    barriers.wrote(number)
                await asyncio.sleep(0 if writer.is_behind else PACE_S)

    async def _wait_out(self, shard: MemberShard, error: Unanswered, pause: float) -> None:
        """Wait before a frame is sent again; where that happens for long, it is told."""
        if pause == LONGEST_PAUSE_S / 2:
            stream = self._keys.stream_of(shard.name)
            self._say_trouble(shard, f"the servers take nothing for the stream {stream}: {error}")
        await asyncio.sleep(pause * random.uniform(0.5, 1))

    async def _hand_out(self, store: ClusterStore, shard: MemberShard) -> None:
        """Hand out each record by itself as soon as it comes, while this member owns its shard."""
        fence = given = 0
        while True:
            await shard.has_fresh.wait()
            shard.has_fresh.clear()
            records = shard.share.fresh() if shard.keeper.may_publish(time.monotonic()) else ()
            if records:
                if shard.share.begun != fence:
                    fence, given = shard.share.begun, 0
                await store.hand_out(shard.name, fence, given + 1, records)
                given += len(records)
