"""The frame of every source: it keeps a link, passes on what comes by it, and tells what does not.

Records are passed on as they are, with their place at the other daemon in `upstream`. While the link is broken each
topic that came by it has a gap; it closes with repair `full` where the link goes on behind the last record that came.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.bus.history import Cursor
from aggregator.records import (
    MS_NS,
    SECOND_NS,
    BookSnapshot,
    Cause,
    Channel,
    Gap,
    Health,
    Instrument,
    Record,
    Repair,
    Upstream,
)
from aggregator.sinks.worker import Worker
from aggregator.sources.kept import KeptFiles, LeftPlace, LeftTopic, last_known
from aggregator.sources.source import KnownPlace, Link, LinkBroken, Passage, SourceConfig
from aggregator.sources.status import SourceStatus, State
from aggregator.sources.topics import PassedTopic, PassedTopics

STEP = 200  # topics of which something is told in one turn
PASSED_AT_ONCE = 256  # records in one batch
CATCH_UP_RATE = 50_000  # records a second while what was missed is told: whoever reads here must keep up
KEEP_S = 0.25  # between two looks at what has become lasting
TOPICS_EVERY = 8  # at so many of these looks the topics are written, where they have changed
REFUSED_S = 60.0  # a link that somebody has to mend is tried so often
ROOM_S = 5.0  # so long a passage of what was missed waits for sinks that are full
FINDING_S = 60.0  # the journal has so long at the start to tell how far it has come
SAID_LEFT_OUT = 10  # the log names so many ways by which topics come otherwise; the status counts all records
END_S = 1.0  # the disk has so long at the end
ANSWERED_NS = 10 * SECOND_NS  # the answer is here by then; a link that breaks before may not have brought it

Progress = Callable[[], Mapping[str, tuple[int, int]]]  # by outlet: records that came for it, and those it is done with

UNWANTED = "no longer wanted"  # the reason with which a topic ends whose source is taken away

T = TypeVar("T")

log = logging.getLogger("aggregator.sources")


class RecordsReturn(LinkBroken):
    """Records of this daemon come back."""


class RunningSource:
    """One source of a configuration at work.

    room: waits until the outlets have room
    progress: how far the outlets that count are
    """

    def __init__(
        self,
        config: SourceConfig,
        bus: Bus,
        topics: PassedTopics,
        own: str,
        files: KeptFiles,
        worker: Worker,
        *,
        room: Callable[[], Awaitable[None]],
        progress: Progress,
    ) -> None:
        self.name = config.name
        self._config = config
        self._bus = bus
        self._topics = topics
        self._own = own
        self._files = files
        self._worker = worker
        self._room = room
        self._progress = progress
        self._known: KnownPlace | None = None
        self._state: State = "connecting"
        self._trouble: str | None = None
        self._paths: dict[str, str] = {}  # by the daemons of a record as it came: with the other daemon
        self._needs_standing = True  # instruments and books are to be told anew
        self._asked_ns = 0  # when that was asked for last (monotonic)
        self._is_catching_up = False
        self._heard_ns = 0  # when something came last (ns)
        self._links = self._resumed = self._records = self._unread = self._left_out = 0
        self._left_out_for: str | None = None
        self._said_left_out: set[str] = set()
        self._pause = config.reception.backoff
        self._is_changed = False  # the file of topics is to be written
        self._awaited: dict[PassedTopic, None] = {}  # books of which a gap is open until they come whole

    # --- from outside

    async def _begin(self) -> None:
        """Take up what the run before has left, and tell that something may be missing since."""
        try:
            kept = await self._worker.do(self._files.read_place)
            topics = await self._worker.do(self._files.read_topics)
        except OSError as error:
            log.warning("source %s: what the last run left over is lost: %s", self.name, error)
            return
        if kept is None:
            return
        known = KnownPlace(kept.daemon, kept.cursor, kept.mark)
        try:
            async with asyncio.timeout(FINDING_S):
                known = await last_known(kept, self._bus.history)
        except TimeoutError:
            log.warning("source %s: the journal does not tell in time how far it has come", self.name)
        now = time.time_ns()
        told: list[Record] = []
        for row in topics:
            topic = self._topics.add((row.exchange, row.channel, row.raw_symbol), row.symbol, self)
            topic.conn, topic.gap = row.conn, row.gap
            if topic.gap is None:
                topic.gap = self._opened(topic, "restart", kept.ts, now)
                told.append(structs.replace(topic.gap))
        self._known = known
        await self._tell(told)

    async def run(self) -> None:
        """Take up what was left, and keep a link until cancelled."""
        try:
            await self._begin()
        except Exception:
            log.exception("source %s: what the last run left over is lost, for an error of our own", self.name)
        keeping = asyncio.get_running_loop().create_task(self._keep())
        try:
            while True:
                try:
                    await self._link()
                except LinkBroken as error:
                    await self._broken(error)
                except Exception as error:
                    log.exception("source %s: an error of our own", self.name)
                    await self._broken(LinkBroken(f"an error of our own: {type(error).__name__}: {error}"))
        finally:
            keeping.cancel()
            self._state = "ended"

    async def end(self) -> None:
        """Tell that something may be missing from now on; nothing comes any more."""
        await self._open_gaps("restart", time.time_ns())

    async def release(self) -> None:
        """Tell that nobody wants its topics any more: no gap of theirs stays open."""
        for some in _in_steps(self._topics.of(self)):
            told: list[Record] = []
            for topic in some:
                told += self._closed(topic, "none") if topic.gap is not None else []
                topic.book, topic.states = None, {topic.conn: ("down", UNWANTED)}
                told += topic.healths(time.monotonic_ns())
            self._bus.publish(told)
            await asyncio.sleep(0)

    async def keep_end(self) -> None:
        """Keep the place for the next start: all outlets have what came."""
        known = self._known
        if known is None:
            return
        place = self._place(known, self._bus.offset, is_end=True)
        try:
            async with asyncio.timeout(END_S):
                await self._worker.do(lambda: self._files.write_topics(self._kept_topics()))
                await self._worker.do(lambda: self._files.write_place(place))
        except OSError as error:
            log.warning("source %s: its place cannot be kept: %s", self.name, str(error) or "the disk does not answer")

    def status(self) -> SourceStatus:
        """How it fares."""
        known, mine = self._known, self._topics.of(self)
        return SourceStatus(
            name=self.name,
            type=self._config.source.name,
            state=self._state,
            trouble=self._trouble,
            daemon=None if known is None else known.daemon,
            epoch=None if known is None else known.cursor.epoch,
            offset=None if known is None else known.cursor.offset,
            links=self._links,
            resumed=self._resumed,
            records=self._records,
            unread=self._unread,
            left_out=self._left_out,
            left_out_for=self._left_out_for,
            topics=dict(Counter(topic.state for topic in mine)),
            gaps=sum(topic.gap is not None for topic in mine),
            age_ms=(time.time_ns() - self._heard_ns) // MS_NS if self._heard_ns else None,
        )

    # --- the link

    async def _link(self) -> None:
        """Make one link, and pass on what comes until it ends. Raises LinkBroken."""
        self._state = "connecting"
        had_place = self._known is not None
        link = await self._config.source.open(self._config.settings, self._config.reception.topics, self._known)
        try:
            daemon = link.daemon
            if daemon == self._own:
                raise RecordsReturn(f"it is this daemon itself ({daemon}); remove this source", is_refused=True)
            self._links += 1
            self._resumed += link.is_resumed
            self._state, self._is_catching_up = "catching up", True
            self._paths.clear()
            log.info(
                "source %s: linked to %s, %s",
                self.name,
                daemon,
                f"behind record {self._known.cursor.offset}" if link.is_resumed and self._known else "from now on",
            )
            await self._follow(link, daemon, is_whole=link.is_resumed or not had_place)
        finally:
            await link.close()

    async def _follow(self, link: Link, daemon: str, *, is_whole: bool) -> None:
        is_first = True
        while True:
            for passage in await link.read():
                self._heard_ns = time.time_ns()
                if is_first:
                    is_first = False
                    await self._taken_up(is_whole=is_whole and passage.gap is None)
                elif passage.gap is not None:
                    await self._missed(passage.gap)
                self._needs_standing = self._needs_standing or passage.gap is not None or not is_whole
                is_whole = True
                await self._pass(passage, daemon)
                self._stand(passage, daemon)
                self._known = KnownPlace(daemon, passage.cursor, passage.mark)
                if passage.is_live:
                    await self._live(link)

    async def _live(self, link: Link) -> None:
        if self._is_catching_up:
            self._is_catching_up = False
            log.info("source %s: live", self.name)
        self._state, self._pause = "live", self._config.reception.backoff
        if self._needs_standing:
            self._needs_standing, self._asked_ns = False, time.monotonic_ns()
            await link.ask_standing(books=link.is_resumed)

    async def _broken(self, error: LinkBroken) -> None:
        """Tell that the link is broken, and wait before another is made."""
        self._trouble = str(error)
        self._needs_standing = self._needs_standing or time.monotonic_ns() - self._asked_ns < ANSWERED_NS
        is_new = self._state in {"live", "catching up"}
        self._state = "refused" if error.is_refused else "waiting"
        pause, self._pause = self._pause, min(self._pause * 2, self._config.reception.longest_backoff)
        pause = REFUSED_S if error.is_refused else pause * random.uniform(0.5, 1)
        (log.error if error.is_refused else log.warning if is_new else log.info)(
            "source %s: %s; again in %.1f s", self.name, error, pause
        )
        await self._open_gaps("disconnect", self._heard_ns or time.time_ns())
        await asyncio.sleep(pause)

    # --- what comes

    async def _pass(self, passage: Passage, daemon: str) -> None:
        """Pass on the records of a passage, as they are but for what is ours. Raises RecordsReturn."""
        epoch, records = passage.cursor.epoch, passage.records
        for start in range(0, len(records), PASSED_AT_ONCE):
            some = records[start : start + PASSED_AT_ONCE]
            now = time.monotonic_ns()
            passed: list[Record] = []
            for record in some:
                came = record.upstream
                path = self._paths.get(came[2] if came else "") or self._path(came, daemon)
                record.upstream = (epoch, record.offset, path)
            for record in some:
                why = self._topics.take(record, self, now)
                if why is None:
                    passed.append(record)
                    if type(record) is Instrument:
                        self._in_force(record)
                else:
                    self._leave_out(why)
            mark = self._known.mark if self._known else 0
            reached = KnownPlace(daemon, Cursor(epoch, some[-1].offset), mark)
            self._records += len(passed)
            self._bus.publish(self._with_ends(passed))
            self._known = reached
            await self._yield(len(passed))
        if passage.unread:
            self._bus.publish([self._unreadable(record) for record in passage.unread])

    def _path(self, came: Upstream | None, daemon: str) -> str:
        """The daemons by which a record has come. Raises RecordsReturn where this one is among them."""
        before = came[2] if came else ""
        path = f"{before}/{daemon}" if before else daemon
        if self._own in path.split("/"):
            raise RecordsReturn(
                f"a loop: records of this daemon ({self._own}) come back from {daemon}, by {path}; name topics here "
                "that this daemon does not give there, or remove this source",
                is_refused=True,
            )
        self._paths[before] = path
        return path

    def _in_force(self, instrument: Instrument) -> None:
        """Take note of an instrument (a copy: the stream stamps each record once)."""
        key = instrument.exchange, instrument.symbol or instrument.raw_symbol or ""
        if instrument.change == "delist":
            self._bus.instruments.pop(key, None)
        else:
            self._bus.instruments[key] = structs.replace(instrument, offset=0)

    def _leave_out(self, why: str) -> None:
        self._left_out += 1
        self._left_out_for = why
        if why not in self._said_left_out and len(self._said_left_out) < SAID_LEFT_OUT:
            self._said_left_out.add(why)
            log.warning("source %s: records are left out: %s", self.name, why)

    def _unreadable(self, record: Record) -> Gap:
        now = time.time_ns()
        self._unread += 1
        return Gap(
            exchange=record.exchange,
            symbol=record.symbol,
            raw_symbol=record.raw_symbol,
            ts_recv=now,
            conn=self.name,
            source="derived",
            gap_id=f"{self.name}:unread:{record.offset}",
            phase="close",
            cause="parse_error",
            ts_from=now,
            ts_to=now,
            missed=1,
            repair="none",
        )

    def _with_ends(self, records: list[Record]) -> list[Record]:
        """Records with the ends of gaps behind the whole books that end them."""
        if not self._awaited:
            return records
        found: list[Record] = []
        for record in records:
            found.append(record)
            if isinstance(record, BookSnapshot):
                topic = self._topics.topics.get((record.exchange, "book", record.raw_symbol))
                if topic is not None and topic in self._awaited:
                    found += self._closed(topic, "none")
        return found

    def _stand(self, passage: Passage, daemon: str) -> None:
        """Tell of what stands otherwise there than it was told here."""
        told: list[Record] = []
        for record in passage.standing:
            came = record.upstream
            path = self._paths.get(came[2] if came else "") or self._path(came, daemon)
            record.upstream = (passage.cursor.epoch, passage.cursor.offset, path)
            if isinstance(record, Instrument):
                told += self._standing_instrument(record)
            elif isinstance(record, Health):
                told += self._standing_state(record)
            elif isinstance(record, BookSnapshot):
                told += self._standing_book(record)
        self._bus.publish(told)

    def _standing_instrument(self, record: Instrument) -> Iterable[Record]:
        before = self._bus.instruments.get((record.exchange, record.symbol or record.raw_symbol or ""))
        if before is not None:
            alike = structs.replace(
                record, ts_recv=before.ts_recv, upstream=before.upstream, offset=before.offset, change=before.change
            )
            if alike == before:
                return
        if self._topics.take(record, self, 0) is None:
            self._in_force(record)
            yield record

    def _standing_state(self, record: Health) -> Iterable[Record]:
        topic = self._topics.topics.get((record.exchange, record.channel, record.raw_symbol))
        if topic is not None and topic.states.get(record.conn) == (record.state, record.reason):
            return
        if self._topics.take(record, self, 0) is None and (topic is None or topic.gap is None):
            yield record

    def _standing_book(self, record: BookSnapshot) -> Iterable[Record]:
        topic = self._topics.topics.get((record.exchange, "book", record.raw_symbol))
        if topic is not None and topic.book is not None and topic.gap is None:
            return
        if self._topics.take(record, self, time.monotonic_ns()) is None:
            record.reason = "resync"
            yield record
            if topic is not None and topic in self._awaited:
                yield from self._closed(topic, "none")

    # --- gaps

    async def _open_gaps(self, cause: Cause, ts_from: int) -> None:
        """Open a gap of each topic that has none: nothing comes by the link."""
        for some in _in_steps(self._topics.of(self)):
            now = time.time_ns()
            told: list[Record] = []
            for topic in some:
                if topic.gap is None:
                    topic.gap = self._opened(topic, cause, ts_from, now)
                    told.append(structs.replace(topic.gap))
            self._is_changed = True
            self._bus.publish(told)
            await asyncio.sleep(0)
        self._awaited.clear()

    def _opened(self, topic: PassedTopic, cause: Cause, ts_from: int, now: int) -> Gap:
        return Gap(
            exchange=topic.exchange,
            symbol=topic.symbol,
            raw_symbol=topic.raw_symbol,
            ts_recv=now,
            conn=topic.conn,
            source="derived",
            gap_id=f"{self.name}:{topic.channel}:{topic.exchange}:{topic.raw_symbol or '*'}:{now}",
            phase="open",
            channel=topic.channel,
            cause=cause,
            ts_from=ts_from,
        )

    def _closed(self, topic: PassedTopic, repair: Repair) -> list[Record]:
        """The end of a topic's gap, and its states where these are not what the end alone says."""
        gap, topic.gap = topic.gap, None
        self._awaited.pop(topic, None)
        if gap is None:
            return []
        now, conn = time.time_ns(), topic.conn or gap.conn
        ended = max(now, gap.ts_from)  # its beginning may be told by the clock of another host
        told: list[Record] = [structs.replace(gap, phase="close", ts_recv=now, ts_to=ended, repair=repair, conn=conn)]
        if any(state != "live" for state, _ in topic.states.values()):
            told += topic.healths(time.monotonic_ns())
        return told

    async def _taken_up(self, *, is_whole: bool) -> None:
        """A link is there again: close the gaps. Where something is missing books wait for their next whole one."""
        self._is_changed = True
        for some in _in_steps(self._topics.of(self)):
            told: list[Record] = []
            for topic in some:
                if not is_whole:
                    topic.book = None
                if topic.gap is None:
                    continue
                if topic.channel == "book" and not is_whole:
                    self._awaited[topic] = None
                    continue
                book = topic.whole("resync")
                if book is not None:
                    told.append(book)
                told += self._closed(topic, "full" if is_whole else "none")
            self._bus.publish(told)
            await asyncio.sleep(0)

    async def _missed(self, hole: Gap) -> None:
        """Tell of each topic that something is missing here; a book's gap is open until the next whole one."""
        self._is_changed = True
        for some in _in_steps(self._topics.of(self)):
            now = time.time_ns()
            told: list[Record] = []
            for topic in some:
                if topic.gap is not None:
                    continue
                gap = self._opened(topic, hole.cause, hole.ts_from, now)
                if topic.channel == "book":
                    topic.book, topic.gap, self._awaited[topic] = None, gap, None
                    told.append(structs.replace(gap))
                else:
                    told.append(structs.replace(gap, phase="close", ts_to=hole.ts_to or now, repair="none"))
            self._bus.publish(told)
            await asyncio.sleep(0)

    async def _tell(self, records: Sequence[Record]) -> None:
        for some in _in_steps(records):
            self._bus.publish(list(some))
            await asyncio.sleep(0)

    async def _yield(self, count: int) -> None:
        """Let others have their turn; while what was missed is told they get as much as they need."""
        if not self._is_catching_up:
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(ROOM_S):
                await self._room()
        await asyncio.sleep(count / CATCH_UP_RATE)

    # --- what is kept

    async def _keep(self) -> None:
        """Write the place again and again, each time one behind which nothing is missing at the outlets."""
        marked: tuple[LeftPlace, Mapping[str, int]] | None = None
        written: Cursor | None = None
        looks = known_topics = 0
        is_said = False
        while True:
            await asyncio.sleep(KEEP_S)
            looks += 1
            known, progress = self._known, self._progress()
            place: LeftPlace | None = None
            if marked is not None and all(progress.get(name, (0, came))[1] >= came for name, came in marked[1].items()):
                place, marked = marked[0], None
            if marked is None and known is not None and known.cursor != written:
                marked = self._place(known, self._bus.offset), {name: came for name, (came, _) in progress.items()}
            try:
                if place is not None and place.cursor != written:
                    await self._worker.do(lambda place=place: self._files.write_place(place))  # type: ignore[misc]
                    written = place.cursor
                if looks % TOPICS_EVERY == 0 and (self._is_changed or known_topics != self._topics.count):
                    known_topics, self._is_changed = self._topics.count, False
                    rows = self._kept_topics()
                    await self._worker.do(lambda rows=rows: self._files.write_topics(rows))  # type: ignore[misc]
                is_said = False
            except OSError as error:
                if not is_said:
                    log.error("source %s: its place cannot be kept: %s", self.name, error)  # noqa: TRY400 - no fault of ours
                is_said = True

    def _place(self, known: KnownPlace, offset: int, *, is_end: bool = False) -> LeftPlace:
        own = Cursor(self._bus.epoch, offset)
        return LeftPlace(
            ts=time.time_ns(), daemon=known.daemon, cursor=known.cursor, mark=known.mark, own=own, is_end=is_end
        )

    def _kept_topics(self) -> list[LeftTopic]:
        mine = self._topics.of(self)
        return [LeftTopic(t.exchange, t.channel, t.raw_symbol, t.symbol, t.conn, t.gap) for t in mine]


def _in_steps(things: Sequence[T]) -> Iterator[Sequence[T]]:
    return (things[at : at + STEP] for at in range(0, len(things), STEP))


class RunningSources:
    """Every source of one daemon."""

    def __init__(
        self, bus: Bus, gathered: Container[str], *, room: Callable[[], Awaitable[None]], progress: Progress
    ) -> None:
        """Prepare; `gathered` are the exchanges that the daemon gathers itself, as that changes."""
        self.sources: list[RunningSource] = []
        self._bus = bus
        self._topics = PassedTopics(bus.views, gathered)
        self._room = room
        self._progress = progress
        self._tasks: dict[RunningSource, asyncio.Task[None]] = {}
        self._worker: Worker | None = None
        self._own = ""
        self._directory = Path()

    def start(self, configs: Sequence[SourceConfig], own: str, directory: Path) -> None:
        """Begin with every source; `own` is the name of this daemon. Raises OSError where no thread can be had."""
        self._own, self._directory = own, directory
        for config in configs:
            self.add(config)

    def add(self, config: SourceConfig) -> None:
        """Begin with a source. Raises OSError where no thread can be had."""
        self._worker = self._worker or Worker("sources")
        source = RunningSource(
            config,
            self._bus,
            self._topics,
            self._own,
            KeptFiles(self._directory, config.name),
            self._worker,
            room=self._room,
            progress=self._progress,
        )
        self.sources.append(source)
        task = asyncio.get_running_loop().create_task(source.run(), name=f"source {source.name}")
        self._tasks[source] = task

    async def remove(self, name: str, *, is_wanted: bool) -> None:
        """End a source, and keep how far it came.

        is_wanted: it is begun anew, so that the gaps of its topics stay open until then
        """
        source = next(source for source in self.sources if source.name == name)
        self.sources.remove(source)
        task = self._tasks.pop(source)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await source.end()
        if not is_wanted:
            await source.release()
        await source.keep_end()
        self._topics.forget(source)

    def let_go(self, exchange: str) -> None:
        """Pass nothing on of an exchange any more: the daemon gathers it itself now."""
        self._topics.forget_exchange(exchange)

    async def end(self) -> None:
        """Take nothing more, and tell so."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for source in self.sources:
            await source.end()

    async def keep(self) -> None:
        """Keep for the next start how far all came: every outlet has it now."""
        for source in self.sources:
            await source.keep_end()
        if self._worker is not None:
            self._worker.stop()

    def topics(self) -> Iterator[PassedTopic]:
        """Every topic that comes by them."""
        return iter(list(self._topics.topics.values()))

    def bringing(self, exchange: str, channel: Channel, raw_symbol: str | None) -> SourceStatus | None:
        """How the source fares by which a topic comes; null: it comes by none."""
        topic = self._topics.topics.get((exchange, channel, raw_symbol))
        return next((each.status() for each in self.sources if topic is not None and topic.owner is each), None)

    def status(self) -> list[SourceStatus]:
        """How each of them fares."""
        return [source.status() for source in self.sources]
