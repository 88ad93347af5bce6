"""All that the daemon knows of itself at one moment, gathered from the rooms.

Each room tells how it fares by a `status()` of its own. Topics may be a hundred thousand: they are looked at one by
one, and others have their turn every millisecond. So the moment is a little longer than one.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, structs

from aggregator.bus.bus import BusStatus
from aggregator.bus.history import HistoryStatus
from aggregator.bus.selection import RecordTopic, Selection, parse_pattern
from aggregator.capture.recorder import RecorderStatus
from aggregator.daemon.attention import DriftStatus
from aggregator.daemon.followed import Followed, FollowedStatus
from aggregator.daemon.marks import MarksStatus
from aggregator.daemon.on_demand import Offer
from aggregator.daemon.process import ProcessStatus
from aggregator.feed.protocol import BadRequest
from aggregator.feed.status import FeedStatus
from aggregator.ingest.runner import ExchangeRunner, absent
from aggregator.ingest.status import ListingStatus, PollStatus, RestStatus, ShardStatus
from aggregator.records import MS_NS, Channel, Gap
from aggregator.session.status import TopicStatus
from aggregator.sinks.status import SinkStatus
from aggregator.sources.status import SourceStatus
from aggregator.sources.topics import PassedTopic

if TYPE_CHECKING:
    from aggregator.daemon.daemon import Daemon
    from aggregator.daemon.workers import Workers

T = TypeVar("T")

SCHEMA = 1
State = Literal["starting", "running", "waiting", "paused"]
TURN_S = 0.001  # gathering takes so long before others have their turn
FINE = {"live", "quiet"}
MOST_PATTERNS = 100
MOST_TOPICS = 50_000  # an answer tells of no more
PIECE = 200  # topics that are encoded and sent at once
EMPTY = b'"topics":[]}'  # the end of an encoded status without topics

encode: Callable[[object], bytes] = msgspec.json.Encoder(order="deterministic").encode


class ChannelStatus(Struct, frozen=True, kw_only=True):
    """One channel of an exchange.

    channel: of these topics
    topics: how many are in each state, as in `topics` below
    gaps: how many gaps are open, by cause
    rate: records per second, lately
    age_ms: milliseconds since the last record of any of them; null: none yet
    oldest_ms: the same of the topic that is live and has been silent for longest; null: none is live
    """

    channel: Channel
    topics: dict[str, int]
    gaps: dict[str, int] = {}
    rate: float = 0.0
    age_ms: int | None = None
    oldest_ms: int | None = None


class PartStatus(Struct, frozen=True, kw_only=True):
    """One part of an exchange that is divided among several processes.

    name: the bucket of its symbols that is meant
    worker: the number of the process that gathers it
    placed: why that one does
    """

    name: str
    worker: int
    placed: str


class ExchangeStatus(Struct, frozen=True, kw_only=True):
    """One exchange of the configuration.

    id: the exchange's id
    state: `running`; `starting`: its listing is being asked for; `waiting`: that failed, and is tried again; `paused`:
        an operator has done that
    trouble: why it waits, or did the last time; null: it never has
    topics: how many are in each state, as in `topics` below
    gaps: gaps that are open, those that the next connection has to close among them
    rate: records per second, lately
    records: that its connections of now have published
    duplicates: records that these dropped because they had come before
    withheld: changes of books that are held back until the book is whole
    age_ms: milliseconds since its last record; null: none yet
    demand: of its topics on demand, how many are in each state, as in `topics` below; null: nothing is on demand
    followed: which markets are followed; null: it does not run
    listing: its listing of instruments; null: it does not run
    shards: its connections
    polls: what is asked by REST again and again
    words: words of the exchange that mean nothing to us, and how often each came
    capture: where its frames are kept; null: nowhere
    channels: its channels
    drift: differences from what it has always sent; null: it is not listened to yet
    elsewhere: hosts that the configuration has put in the place of the exchange's own: of a simulation, a playback or a
        relay, say
    worker: the number of the process that gathers it; null: this one does, or several do
    placed: why that one does; null: likewise
    parts: of which each has a process of its own; empty: it is not divided
    """

    id: str
    state: State
    trouble: str | None = None
    topics: dict[str, int] = {}
    gaps: int = 0
    rate: float = 0.0
    records: int = 0
    duplicates: int = 0
    withheld: int = 0
    age_ms: int | None = None
    demand: dict[str, int] | None = None
    followed: FollowedStatus | None = None
    listing: ListingStatus | None = None
    shards: list[ShardStatus] = []
    polls: list[PollStatus] = []
    words: dict[str, int] = {}
    capture: RecorderStatus | None = None
    channels: list[ChannelStatus] = []
    drift: DriftStatus | None = None
    elsewhere: list[str] = []
    worker: int | None = None
    placed: str | None = None
    parts: list[PartStatus] = []


class WorkerStatus(Struct, frozen=True, kw_only=True):
    """One process that gathers for this daemon.

    number: the first is 1
    pid: of the process; null: it is being begun anew
    exchanges: those that it has; of one that is divided the name of its part
    begun: how often it was begun
    records: that have come from this process
    cpu_s: seconds of processor time that this process has taken
    memory_bytes: its resident memory; null: it is not known
    lag_max_ms: how late its event loop was at most, in the last minute; null: likewise
    coming: an exchange that is on its way to it, and how far that is; null: none is
    """

    number: int
    pid: int | None
    exchanges: list[str]
    begun: int
    records: int = 0
    cpu_s: float = 0.0
    memory_bytes: int | None = None
    lag_max_ms: float | None = None
    coming: str | None = None


class DaemonStatus(Struct, frozen=True, kw_only=True):
    """The whole daemon.

    schema: of this answer; later versions only add to it
    ts: when it was gathered (ns)
    process: the process itself
    bus: the stream
    rest: the budgets of requests and connections, over all exchanges
    marks: what is noted for a start after a crash; null: the daemon has only begun
    exchanges: those of the configuration
    sources: other daemons whose records are passed on
    sinks: where records are written
    feeds: where subscribers are served
    journal: what is kept of the stream; null: there is no `[journal]`
    workers: the processes that gather, where there are several; empty: this one does
    left_out: topics that were asked for and are more than were to be told
    topics: those that were asked for
    """

    schema: int = SCHEMA
    ts: int
    process: ProcessStatus
    bus: BusStatus
    rest: RestStatus
    marks: MarksStatus | None = None
    exchanges: list[ExchangeStatus]
    sources: list[SourceStatus] = []
    sinks: list[SinkStatus] = []
    feeds: list[FeedStatus] = []
    journal: HistoryStatus | None = None
    workers: list[WorkerStatus] = []
    left_out: int = 0
    topics: list[TopicStatus] = []


class StatusQuery(Struct, frozen=True):
    """The topics that are to be told.

    wanted: by pattern; null: all
    is_troubled: only those that are neither live nor quiet
    most: no more than so many
    but: exchanges of which another process tells
    """

    wanted: Selection | None = None
    is_troubled: bool = False
    most: int = 0
    but: frozenset[str] = frozenset()

    def fits(self, topic: TopicStatus) -> bool:
        """Tell whether a topic fits the patterns, in trouble or not."""
        if self.wanted is None:
            return True
        names = tuple(dict.fromkeys(name for name in (topic.symbol, topic.raw_symbol) if name is not None))
        return self.wanted.wants(RecordTopic((topic.channel,), topic.exchange, names))


class _ChannelTotals:
    """The topics of one channel, added up."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self.rate = 0.0
        self.age_ms: int | None = None
        self.oldest_ms: int | None = None

    def take(self, topic: TopicStatus) -> None:
        self.states[topic.state] += 1
        if topic.gap is not None:
            self.gaps[topic.gap] += 1
        self.rate += topic.rate or 0.0
        if topic.age_ms is not None:
            self.age_ms = topic.age_ms if self.age_ms is None else min(self.age_ms, topic.age_ms)
            if topic.state == "live":
                self.oldest_ms = max(self.oldest_ms or 0, topic.age_ms)

    def status(self, channel: Channel) -> ChannelStatus:
        return ChannelStatus(
            channel=channel,
            topics=dict(self.states),
            gaps=dict(self.gaps),
            rate=round(self.rate, 1),
            age_ms=self.age_ms,
            oldest_ms=self.oldest_ms,
        )


class _TopicTotals:
    """The topics of one exchange, added up."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.demands: Counter[str] = Counter()
        self.gaps = self.records = self.duplicates = self.withheld = 0
        self.rate = 0.0
        self.age_ms: int | None = None
        self.channels: dict[Channel, _ChannelTotals] = {}

    def take_gaps(self, gaps: Iterable[Gap]) -> None:
        """Take open gaps of topics that nobody tells of."""
        for gap in gaps:
            self.gaps += 1
            if gap.channel is not None:
                self.channels.setdefault(gap.channel, _ChannelTotals()).gaps[gap.cause] += 1

    def take(self, topic: TopicStatus) -> None:
        self.states[topic.state] += 1
        self.channels.setdefault(topic.channel, _ChannelTotals()).take(topic)
        if topic.demand is not None:
            self.demands[topic.demand] += 1
        self.gaps += topic.gap is not None
        self.records += topic.records
        self.duplicates += topic.duplicates
        self.withheld += topic.withheld
        self.rate += topic.rate or 0.0
        if topic.age_ms is not None and (self.age_ms is None or topic.age_ms < self.age_ms):
            self.age_ms = topic.age_ms


class _ToldTopics:
    """The topics that an answer tells of, and how many more were asked for."""

    def __init__(self, asked: StatusQuery, states: Counter[str]) -> None:
        self.topics: list[TopicStatus] = []
        self.left_out = 0
        self._asked = asked
        self._states = states
        self._nowhere: set[tuple[str, str, str | None]] = set()  # topics that others tell of, and that name no market

    def take(self, topic: TopicStatus) -> None:
        """Tell of a topic if it is asked for, and there is room."""
        if not self._asked.most or not self._asked.fits(topic):
            return
        self._states[topic.state] += 1
        if self._asked.is_troubled and topic.state in FINE:
            return
        if len(self.topics) < self._asked.most:
            self.topics.append(topic)
        else:
            self.left_out += 1

    def add(self, topics: Iterable[TopicStatus], left_out: int, states: dict[str, int]) -> None:
        """Tell what another process has chosen in the same way, and counted."""
        room = self._asked.most - len(self.topics)
        found: list[TopicStatus] = []
        for topic in topics:
            name = topic.channel, topic.exchange, topic.symbol
            if topic.raw_symbol is None and name in self._nowhere:
                continue  # each part of an exchange that is divided says that it is not listed
            if topic.raw_symbol is None:
                self._nowhere.add(name)
            found.append(topic)
        self.topics += found[: max(0, room)]
        self.left_out += left_out + max(0, len(found) - max(0, room))
        self._states.update(states)


async def gather(daemon: "Daemon", asked: StatusQuery, states: Counter[str] | None = None) -> DaemonStatus:
    """All of it, in steps.

    states: where it is counted how many of the topics that fit are in each state, told or not
    """
    told = _ToldTopics(asked, Counter() if states is None else states)
    exchanges: list[ExchangeStatus] = []
    rest, marks = daemon.hosts.status(time.monotonic_ns()), None if daemon.marks is None else daemon.marks.status()
    workers: list[WorkerStatus] = []
    if daemon.workers is not None:
        exchanges, rest, marks, workers = await _of_workers(daemon, daemon.workers, asked, told)
    for id in () if daemon.workers is not None else [id for id in daemon.exchanges.configs if id not in asked.but]:
        totals, offer = _TopicTotals(), daemon.demand.offers.get(id)
        if offer is None:  # it was taken away in the meantime
            continue
        runner, followed = daemon.exchanges.runners.get(id), daemon.exchanges.followed.get(id)
        gaps = daemon.exchanges.left_open(id) if runner is None else _waiting_gaps(runner)
        left = {(gap.channel, gap.raw_symbol): gap async for gap in _in_turns(gaps)}
        async for topic in _in_turns(_topics(runner, followed, offer)):
            gap = left.pop((topic.channel, topic.raw_symbol), None)
            found = topic
            if gap is not None and topic.gap is None:
                found = structs.replace(topic, gap=gap.cause, gap_since=gap.ts_from)
            totals.take(found)
            told.take(found)
        totals.take_gaps(left.values())
        exchanges.append(_exchange(daemon, id, totals, is_on_demand=offer.config.on_demand))
        await asyncio.sleep(0)
    async for topic in _in_turns(map(_passed, daemon.sources.topics())):
        told.take(topic)
    return DaemonStatus(
        ts=time.time_ns(),
        process=daemon.process.status(),
        bus=daemon.bus.status(),
        rest=rest,
        marks=marks,
        exchanges=exchanges,
        sources=daemon.sources.status(),
        sinks=daemon.outputs.status(),
        feeds=daemon.outputs.feed_status(),
        journal=None if daemon.bus.history is None else daemon.bus.history.status(),
        workers=workers,
        left_out=told.left_out,
        topics=told.topics,
    )


async def _of_workers(
    daemon: "Daemon", workers: "Workers", asked: StatusQuery, told: _ToldTopics
) -> tuple[list[ExchangeStatus], RestStatus, MarksStatus | None, list[WorkerStatus]]:
    """Put together what workers say of their exchanges, as if it were of one process."""
    from aggregator.daemon.words import GatherStatus

    patterns = None if asked.wanted is None else list(asked.wanted.patterns)
    found = await workers.gathered(GatherStatus(patterns, asked.is_troubled, asked.most))
    told_of = {(worker.number, exchange.id): exchange for worker, each in found for exchange in each.exchanges}
    for _, each in found:
        told.add(each.topics, each.left_out, each.states)
    daemon.attention.tally.told_lags([lags for _, each in found for lags in each.lags])
    exchanges: list[ExchangeStatus] = []
    for id in list(daemon.exchanges.configs):
        paused: State | None = "paused" if id in daemon.exchanges.paused else None
        exchange = workers.fares(id, told_of)
        exchanges.append(structs.replace(exchange, state=paused or exchange.state))
    rest = daemon.hosts.status(time.monotonic_ns())  # workers ask the hub for each turn
    rest = structs.replace(rest, refused=sum(each.rest.refused for _, each in found))
    marks = None if daemon.marks is None else daemon.marks.status()
    for _, each in found:
        if marks is not None and each.marks is not None:
            numbered = None if each.marks.numbered is None else (marks.numbered or 0) + each.marks.numbered
            marks = structs.replace(marks, numbered=numbered, failing=sorted({*marks.failing, *each.marks.failing}))
    return exchanges, rest, marks, workers.status({worker.number: each for worker, each in found})


async def in_pieces(status: DaemonStatus) -> AsyncIterator[bytes]:
    """A status as JSON, a few topics at a time, so that others have their turn."""
    before, _, after = encode(structs.replace(status, topics=[])).rpartition(EMPTY)
    yield before + EMPTY.removesuffix(b"]}")
    for at in range(0, len(status.topics), PIECE):
        yield (b"," if at else b"") + encode(status.topics[at : at + PIECE])[1:-1]
        await asyncio.sleep(0)
    yield b"]}" + after


def asked_for(topics: Sequence[str], *, is_troubled: bool, most: int) -> StatusQuery:
    """The topics that patterns mean; without any none, or all in trouble. Raises BadPattern, BadRequest."""
    if len(topics) > MOST_PATTERNS:
        raise BadRequest(f"more than {MOST_PATTERNS} patterns")
    wanted = Selection([parse_pattern(text) for text in topics]) if topics else None
    return StatusQuery(
        wanted, is_troubled=is_troubled, most=min(max(0, most), MOST_TOPICS) if topics or is_troubled else 0
    )


async def _in_turns(found: Iterable[T | None]) -> AsyncIterator[T]:
    """Whatever is found one by one; others have their turn as often as they should."""
    turn = time.perf_counter()
    for each in found:
        if each is not None:
            yield each
        if time.perf_counter() - turn > TURN_S:
            await asyncio.sleep(0)
            turn = time.perf_counter()


def _waiting_gaps(runner: ExchangeRunner) -> Iterator[Gap | None]:
    """The open gaps of connections that do not stand: the next ones have to close them."""
    for shard in list(runner.shards):
        if not any(connection.is_open for connection in shard.status().connections):
            yield from (standing.carried.gap for standing in shard.standing())


def _passed(topic: PassedTopic) -> TopicStatus:
    """A topic that comes by a source: what the other daemon counts of it, only that one can tell."""
    gap, last_ns = topic.gap, topic.last_ns
    return TopicStatus(
        exchange=topic.exchange,
        channel=topic.channel,
        symbol=topic.symbol,
        raw_symbol=topic.raw_symbol,
        state=topic.state,
        reason=topic.reason,
        age_ms=None if last_ns is None else max(0, time.monotonic_ns() - last_ns) // MS_NS,
        conn=topic.conn or None,
        gap=None if gap is None else gap.cause,
        gap_since=None if gap is None else gap.ts_from,
    )


def _topics(runner: ExchangeRunner | None, followed: Followed | None, offer: Offer) -> Iterator[TopicStatus | None]:
    """Every topic that is wanted of an exchange; nothing now and then, where the search for the next takes long."""
    if offer.config.on_demand:
        yield from _demanded(runner, offer)
        return
    if runner is not None:
        yield from runner.topics()
    if followed is not None:
        for found in followed.waiting():
            if found is None:
                yield None
                continue
            instrument, reason = found
            yield from (absent(instrument.exchange, channel, instrument, reason) for channel in followed.channels)


def _demanded(runner: ExchangeRunner | None, offer: Offer) -> Iterator[TopicStatus | None]:
    """Every topic that somebody asks for, or did lately; with those that cannot be had."""
    told: set[tuple[str, str | None]] = set()
    for topic in runner.topics() if runner is not None else ():
        demanded = None if topic is None else offer.demanded(topic.channel, topic.raw_symbol)
        if topic is None or demanded is None:
            yield topic
            continue
        told.add((topic.channel, topic.raw_symbol))
        reason = topic.reason or demanded.reason
        yield structs.replace(topic, demand=demanded.state, reason=reason)
    for topic in offer.absent():
        if (topic.channel, topic.raw_symbol) not in told:
            yield topic


def _exchange(daemon: "Daemon", id: str, totals: _TopicTotals, *, is_on_demand: bool) -> ExchangeStatus:
    exchanges = daemon.exchanges
    runner, followed, recorder = exchanges.runners.get(id), exchanges.followed.get(id), exchanges.recorders.get(id)
    trouble = exchanges.troubles.get(id)
    state: State = "running" if runner is not None else "starting" if trouble is None else "waiting"
    return ExchangeStatus(
        id=id,
        state="paused" if id in exchanges.paused else state,
        trouble=trouble,
        topics=dict(totals.states),
        gaps=totals.gaps,
        rate=round(totals.rate, 1),
        records=totals.records,
        duplicates=totals.duplicates,
        withheld=totals.withheld,
        age_ms=totals.age_ms,
        demand=dict(totals.demands) if is_on_demand else None,
        followed=None if followed is None else followed.status(),
        listing=None if followed is None else followed.markets.status(),
        shards=[] if runner is None else [shard.status() for shard in runner.shards],
        polls=[] if runner is None else [poller.status() for poller in runner.pollers],
        words={} if runner is None else runner.words(),
        capture=None if recorder is None else recorder.status(),
        channels=[found.status(channel) for channel, found in totals.channels.items()],
        drift=daemon.attention.status(id),
        elsewhere=sorted({urlsplit(here).netloc for here in exchanges.configs[id].endpoints.values()}),
    )
