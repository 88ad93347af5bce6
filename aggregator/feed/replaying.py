"""A recorded stream, served as a daemon serves its own: each connection has a replay to itself.

A connection has a bus and a hub of its own, and a player that reads the recording and publishes it there at its pace.
It waits for its reader, so nothing is ever lost. Where the client says from where it begins, the player goes there; a
client that subscribes to more, or to less, has that from the place where it is.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from msgspec import Struct

from aggregator.bus.demand import Demanded, NearSupply, Tell, Unmet
from aggregator.bus.history import BadStart, Beginning, Cursor, HistoryStatus, Start, Stretch
from aggregator.bus.recording import Complain, Excerpt, Excerpts, Opening, Replayable, ReplayedBus
from aggregator.bus.selection import Pattern, Selection
from aggregator.bus.view import Wanted
from aggregator.errors import ConfigError
from aggregator.feed.access import Access, Gate
from aggregator.feed.derived import Clock
from aggregator.feed.formats import PLAIN, Options, encode
from aggregator.feed.hub import FeedHub
from aggregator.feed.kept import KeptStream, KeptView
from aggregator.feed.peer import Peer
from aggregator.feed.protocol import BadRequest, ListTopics, Ping, Reply, TakeSnapshot
from aggregator.feed.server import Doors
from aggregator.feed.settings import FeedSettings
from aggregator.feed.subscriber import Subscriber
from aggregator.records import Channel, Record
from aggregator.sinks.worker import Worker

T = TypeVar("T")

ALONG_S = 0.2  # a replay begins so long after the first `subscribe`, so that others of the client come along
AT_ONCE = 500  # records that are published together
UNREAD = 2000  # records that may wait for the reader before more are published
UNREAD_BYTES = 4 * 2**20
RING = 1_000_000  # more than ever waits
DRAIN_S = 2.0  # clients have so long at the end to read what waits for them
MOST_SAID = 10_000  # complaints that are remembered
IS_OVER = "the replay is over"
IS_STOPPED = "the replay was stopped"

log = logging.getLogger("aggregator.feed")


class ReplayTerms(Struct, frozen=True, kw_only=True):
    """The way in which a recording is replayed.

    speed: 1 is as recorded; 0 as fast as it is read
    ts: ns; the time at which a replay begins whose client does not say it; null: with the recording
    end: ns; it ends before the first record of this time or later; null: with the recording
    along_s: seconds between the first `subscribe` and the beginning
    """

    speed: float = 1.0
    ts: int | None = None
    end: int | None = None
    along_s: float = ALONG_S

    @property
    def start(self) -> Beginning:
        """The place where it begins."""
        return "earliest" if self.ts is None else Start(ts=self.ts)


class Timetable:
    """When each record is due: the times between them are those of `ts_recv`, divided by the speed."""

    def __init__(self, speed: float) -> None:
        """Begin with the first record that is asked about."""
        self._speed = speed
        self._begun: tuple[float, int] | None = None

    def restart(self) -> None:
        """Begin anew with the next record."""
        self._begun = None

    def wait(self, ts: int, now: float) -> float:
        """Give the seconds until a record of this time is due; 0 or less: it is."""
        if not self._speed:
            return 0.0
        if self._begun is None:
            self._begun = now, ts
        return self._begun[0] + (ts - self._begun[1]) / 1e9 / self._speed - now


class _RecordedTime:
    """The time by which topics are derived: that of the last record."""

    runs = False

    def __init__(self) -> None:
        self.ts = 0

    def wall(self) -> int:
        return self.ts

    mono = wall


class Replaying(NearSupply):
    """The replay of one connection. To its hub it is the history, and whoever has topics brought."""

    def __init__(
        self,
        recording: Replayable,
        opening: Opening,
        terms: ReplayTerms,
        complain: Complain,
        forget: "Callable[[Replaying], None]",
        *,
        is_room: bool = True,
    ) -> None:
        """Stand at the beginning; `forget` is called when the connection is gone."""
        self._recording = recording
        self._terms = terms
        self._complain = complain
        self._forget = forget
        self._time = _RecordedTime()
        self._table = Timetable(terms.speed)
        self._bus, self._hub = _hub_at(opening, max_clients=1 if is_room else 0, clock=self._time, taken=self._wake_up)
        self._bus.supply, self._bus.history = self, self
        self._bus.attach(self._hub.publish)
        self._views: set[str] = set()
        self._kept = KeptStream(self._bus.instruments)
        self._selection = Selection(())
        self._has_wants = self._is_changed = False
        self._start: Beginning = terms.start
        self._excerpts: Excerpts | None = None
        self._held: Excerpt | None = None  # it was read, and is to be told next
        self._subscriber: Subscriber
        self.name = ""  # its client's
        self._wake = asyncio.Event()
        self._worker = Worker("replay")
        self._seeking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.records = 0

    def welcome(self, peer: Peer, access: Access | None) -> Subscriber:
        """Take in the one who has connected."""
        self.name = peer.name
        self._subscriber = self._hub.welcome(peer, access)
        return self._subscriber

    async def stop(self, drain: float) -> None:
        """End, whatever is left; the client has `drain` seconds to read why."""
        if self._task is not None:
            self._task.cancel()
        await self._hub.stop(drain, IS_STOPPED)
        self._end_reading()
        self._worker.stop()

    # --- what the hub asks for

    def want(self, who: Hashable, patterns: Mapping[str, Pattern], tell: Tell) -> list[Unmet]:  # noqa: ARG002
        """Read what the client wants now; nothing at all: stand still, or end where it has gone."""
        self._selection = Selection(patterns.values())
        self._has_wants, self._is_changed = bool(patterns), True
        if self._hub.is_empty:
            if self._task is not None:
                self._task.cancel()
            self._end_reading()
            self._worker.stop()
            self._forget(self)
        elif patterns and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="replay")
        self._wake.set()
        return []

    def demanded(self, channel: Channel, exchange: str, raw_symbol: str) -> Demanded | None:  # noqa: ARG002
        """No topic is brought on demand."""
        return None

    async def begin(self, start: Beginning) -> tuple[Cursor, None]:
        """Go where the client wants to begin. Raises BadStart."""
        if start != "now":
            await self._open(start)
        return self._place, None

    async def read(
        self,
        cursor: Cursor,
        wanted: Selection,  # noqa: ARG002
        give: Callable[[Stretch], T],
        *,
        until: Cursor | None = None,  # noqa: ARG002
        with_topics: bool = False,  # noqa: ARG002
    ) -> T:
        """Give nothing: the place where a client begins is the one where its replay is."""
        return give(Stretch(cursor, is_end=True))

    def tail(self, cursor: Cursor) -> list[Record] | None:  # noqa: ARG002
        """Nothing has been published since."""
        return []

    def status(self) -> HistoryStatus:
        """A replay keeps nothing."""
        return HistoryStatus(path="")

    # --- the player

    @property
    def _place(self) -> Cursor:
        return Cursor(self._bus.epoch, self._bus.offset)

    def _wake_up(self) -> None:
        self._wake.set()

    async def _rest(self, seconds: float | None = None) -> None:
        """Wait until something has changed, or for so long."""
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _run(self) -> None:
        try:
            await asyncio.sleep(self._terms.along_s)
            await self._play()
        except (BadStart, OSError) as error:
            self._subscriber.part(str(error))
        except Exception:
            log.exception("replay: %s is hung up on, for an error of ours", self.name)
            self._subscriber.peer.close()

    async def _play(self) -> None:
        is_over = False
        while not is_over:
            await self._until_wanted()
            if self._is_changed:
                await self._open(self._start)
            await self._give_books()
            excerpt, self._held = self._held or await self._next(self._excerpts), None
            is_over = excerpt is None or await self._tell(excerpt)
        await self._have_read(0)
        self._subscriber.part(IS_OVER, is_over=True)

    async def _until_wanted(self) -> None:
        """Stand still while the client wants nothing, and while it is told where it begins."""
        while not self._has_wants or self._subscriber.catch_up is not None:
            await self._rest()
            self._table.restart()

    async def _have_read(self, unread: int = UNREAD) -> None:
        """Wait until no more records than this wait for the client."""
        await asyncio.sleep(0)  # the hub gives its queue the records that were published
        ring = self._subscriber.ring
        while ring.held > unread or ring.bytes > UNREAD_BYTES:
            await self._rest()

    async def _open(self, start: Beginning) -> None:
        """Begin to read at a place what is wanted now, and learn how things stand there. Raises BadStart."""
        async with self._seeking:
            self._is_changed = False
            selection, before = self._selection, self._kept
            excerpts = self._recording.play(start, selection, self._complain)
            kept, place = KeptStream(self._bus.instruments), start if isinstance(start, Cursor) else self._place
            while (excerpt := await self._next(excerpts)) is not None and excerpt.is_past:
                kept.learn(excerpt.records)
                if excerpt.records and not isinstance(start, Cursor):
                    place = Cursor(excerpt.epoch, excerpt.records[-1].offset)
            if excerpt is not None and excerpt.records and not isinstance(start, Cursor):
                place = Cursor(excerpt.epoch, max(0, excerpt.records[0].offset - 1))
            if place == self._place:
                kept.adopt(before, selection)
            self._end_reading()
            self._kept, self._excerpts, self._held = kept, excerpts, excerpt
            self._start = place
            self._move(place)

    async def _next(self, excerpts: Excerpts | None) -> Excerpt | None:
        """Read on; null: there is nothing more."""
        return None if excerpts is None else await self._worker.do(lambda: next(excerpts, None))

    def _end_reading(self) -> None:
        if self._excerpts is not None:
            self._worker.put(self._excerpts.close)
            self._excerpts = None

    def _move(self, place: Cursor) -> None:
        """Stand at another place; the client is told so where its cursors would not show it."""
        is_elsewhere = place.epoch != self._bus.epoch or place.offset < self._bus.offset
        self._bus.move(place)
        if is_elsewhere:
            self._hub.go_on_in(place.epoch, place.offset)

    async def _give_books(self) -> None:
        """Publish each book that has begun before this place, and that the client has not yet."""
        while self._kept.untold:
            name = next(iter(self._kept.untold))
            del self._kept.untold[name]
            book = self._kept.book(name)
            if book is not None:
                book.offset = self._bus.offset
                self._publish([book], None)
                await self._have_read()

    async def _tell(self, excerpt: Excerpt) -> bool:
        """Publish records as they are due; whether the end is reached."""
        if excerpt.is_past or not excerpt.records:
            self._kept.learn(excerpt.records)
            return False
        if excerpt.epoch != self._bus.epoch:
            await self._have_read(0)
            self._move(Cursor(excerpt.epoch, max(0, excerpt.records[0].offset - 1)))
        records, lines, at = excerpt.records, excerpt.lines, 0
        loop, end = asyncio.get_running_loop(), self._terms.end
        while at < len(records):
            await self._have_read()
            await self._until_wanted()
            if self._is_changed:
                return False  # the rest is read anew, for the topics that are wanted now
            wait = self._table.wait(records[at].ts_recv, loop.time())
            if end is not None and records[at].ts_recv >= end:
                return True
            if wait > 0:
                await self._rest(wait)
                continue
            stop = self._due(records, at, loop.time())
            self._publish_noted(records[at:stop], None if lines is None else lines[at:stop])
            self._start = self._place
            at = stop
        return False

    def _due(self, records: Sequence[Record], at: int, now: float) -> int:
        """Up to which position records are due now and are published together."""
        most, end = min(len(records), at + AT_ONCE), self._terms.end
        is_stepwise = self._hub.is_deriving  # time passes with the records, one moment after the other
        if not is_stepwise and not self._terms.speed and end is None:
            return most
        ts = records[at].ts_recv
        stop = at + 1
        while stop < most:
            later = records[stop].ts_recv
            if later != ts and (is_stepwise or self._table.wait(later, now) > 0 or (end is not None and later >= end)):
                break
            stop += 1
        return stop

    def _publish_noted(self, records: Sequence[Record], lines: Sequence[bytes] | None) -> None:
        told = self._kept.note(records)
        if told is not None:
            records = [records[at] for at in told]
            lines = None if lines is None else [lines[at] for at in told]
        self._publish(list(records), lines)

    def _publish(self, records: list[Record], lines: Sequence[bytes] | None) -> None:
        if not records:
            return
        for exchange in {record.exchange for record in records} - self._views:
            self._views.add(exchange)
            self._bus.views.add(exchange, KeptView(exchange, lambda: self._kept))
        self._time.ts = max(self._time.ts, records[-1].ts_recv)
        self.records += len(records)
        self._bus.replay(records, lines)


def _hub_at(
    opening: Opening, *, max_clients: int, clock: Clock | None = None, taken: Callable[[], object] = int
) -> tuple[ReplayedBus, FeedHub]:
    """Make a bus that stands where a recording begins, and its hub."""
    bus = ReplayedBus(opening.place.epoch, opening.place.offset)
    known = opening.instruments
    bus.instruments |= {(each.exchange, each.symbol or each.raw_symbol or ""): each for each in known}
    hub = FeedHub(bus, ring=RING, max_clients=max_clients, clock=clock, taken=taken)
    hub.start()
    named = [Wanted("instruments", each.exchange, each.raw_symbol or "", each.symbol) for each in known]
    bus.views.tell([*opening.topics, *named])
    return bus, hub


class ReplayServer:
    """Serves a recording wherever its settings say; to the transports it is the hub."""

    has_history = True
    insight = None

    def __init__(self, settings: FeedSettings, recording: Replayable, terms: ReplayTerms, complain: Complain) -> None:
        """Prepare; nothing is read, and nothing listens, before `start`."""
        self.gate = Gate()
        self.is_ready = True
        self._settings = settings
        self._recording = recording
        self._terms = terms
        self._said: set[str] = set()
        self._tell = complain
        self._doors = Doors(settings)
        self._opening: Opening
        self._front: FeedHub  # it answers single questions
        self._replays: dict[Replaying, None] = {}

    async def start(self) -> Cursor:
        """Find the place where replays begin, and listen; the place. Raises BadStart, ConfigError, OSError."""
        worker = Worker("replay")
        try:
            opening = await worker.do(lambda: self._recording.opening(self._terms.ts))
        finally:
            worker.stop()
        if opening is None:
            raise ConfigError("there is no record to replay")
        self._opening = opening
        _, self._front = _hub_at(opening, max_clients=0)
        await self._doors.open(self)
        return opening.place

    def _complain(self, text: str) -> None:
        """Name what cannot be read once, however many read it."""
        if text not in self._said and len(self._said) < MOST_SAID:
            self._said.add(text)
            self._tell(text)

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return self._doors.addresses

    async def stop(self) -> None:
        """Let nobody in any more, and end all replays."""
        self.is_ready = False
        await self._doors.shut()
        await asyncio.gather(*[each.stop(DRAIN_S) for each in self._replays])
        await self._doors.close()

    # --- for the transports

    def welcome(self, peer: Peer, access: Access | None) -> Subscriber:
        """Begin a replay for whoever has connected."""
        is_room = len(self._replays) < self._settings.max_clients
        replay = Replaying(self._recording, self._opening, self._terms, self._complain, self._forget, is_room=is_room)
        self._replays[replay] = None
        return replay.welcome(peer, access)

    def _forget(self, replay: Replaying) -> None:
        if self._replays.pop(replay, self) is None:
            log.info("replay: %s has gone, after %d records", replay.name, replay.records)

    def reply(self, request: Ping | ListTopics | TakeSnapshot, options: Options, access: Access) -> tuple[Reply, bytes]:
        """Answer what is asked beside the replays. Raises BadRequest."""
        if isinstance(request, TakeSnapshot):
            raise BadRequest("each connection of a replay has books of its own: ask over /feed, or over a socket")
        return self._front.reply(request, options, access)

    def instruments(self, wanted: Selection, options: Options, access: Access) -> Iterator[bytes]:
        """Give the instruments that the recording names at its beginning."""
        return self._front.instruments(wanted, options, access)

    async def records(
        self, wanted: Selection, start: Beginning, to: Beginning, options: Options
    ) -> AsyncIterator[bytes]:
        """Give what lies between two places, as lines, some at a time. Raises BadRequest."""
        if start == "now" or to == "earliest":
            raise BadRequest('a recording has no "now" to begin at, and nothing before "earliest"')
        worker = Worker("replay")
        excerpts = self._recording.play(start, wanted, self._complain)
        try:
            while (excerpt := await worker.do(lambda: next(excerpts, None))) is not None:
                if excerpt.is_past:
                    continue
                count = len(excerpt.records)
                stop = next((at for at in range(count) if _is_behind(excerpt, at, to, self._terms.end)), count)
                if stop and options == PLAIN and excerpt.lines is not None:
                    yield b"".join(excerpt.lines[:stop])
                elif stop:
                    yield encode(excerpt.records[:stop], options)
                if stop < count:
                    break
        except BadStart as error:
            raise BadRequest(str(error)) from None
        finally:
            worker.put(excerpts.close)
            worker.stop()


def _is_behind(excerpt: Excerpt, at: int, to: Beginning, end: int | None) -> bool:
    """Tell whether a record comes behind the place where a reader stops."""
    record = excerpt.records[at]
    if end is not None and record.ts_recv >= end:
        return True
    if isinstance(to, Cursor):
        return (excerpt.epoch, record.offset) > (to.epoch, to.offset)
    return isinstance(to, Start) and record.ts_recv >= (to.ts or 0)
