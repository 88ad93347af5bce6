"""How the daemon fares, for ports that are asked: whether its data are fresh, its status, and its metrics."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

from aggregator.bus.insight import CoverageQuery, Readiness, RecordingPlace, StaleTopic
from aggregator.bus.selection import Pattern, Selection
from aggregator.daemon.coverage import CoverageTeller, recordings_of
from aggregator.daemon.metrics import exposition
from aggregator.daemon.running_exchanges import PAUSED
from aggregator.daemon.status import (
    FINE,
    MOST_TOPICS,
    DaemonStatus,
    ExchangeStatus,
    StatusQuery,
    asked_for,
    gather,
    in_pieces,
)
from aggregator.session.status import TopicStatus

if TYPE_CHECKING:
    from aggregator.daemon.daemon import Daemon

MOST_STALE = 100  # topics that are named
FRESH_S = 1.0  # the metrics that were gathered are told for so long, however many ask


class DaemonInsight:
    """Answers for a daemon."""

    def __init__(self, daemon: "Daemon") -> None:
        self._daemon = daemon
        self._gathering = asyncio.Lock()  # one after the other: a status of many topics takes its time
        self._metrics: tuple[float, tuple[bytes, str]] | None = None
        self._coverage = CoverageTeller()

    async def readiness(self, wanted: Sequence[Pattern]) -> Readiness:
        """Tell whether every topic of these patterns is fresh.

        Without one it is enough that each exchange has something fresh: of thousands of topics some are always not.
        """
        if self._daemon.is_leaving:
            return Readiness(is_ready=False, reasons=["the daemon ends"])
        query = StatusQuery(Selection(wanted) if wanted else None, is_troubled=True, most=MOST_STALE)
        states: Counter[str] = Counter()
        async with self._gathering:
            status = await gather(self._daemon, query, states)
        stale = len(status.topics) + status.left_out
        if wanted:
            reasons = [f"{stale} of the topics that were named are not fresh"] if stale else []
            if not states:
                reasons = ["no topic fits"]
        else:
            reasons = list(_unready(status))
        fresh = sum(states[state] for state in FINE)
        return Readiness(
            is_ready=not reasons, reasons=reasons, fresh=fresh, stale=stale, topics=list(map(_stale, status.topics))
        )

    async def status(self, topics: Sequence[str], *, is_troubled: bool) -> AsyncIterator[bytes]:
        """The status as JSON, in pieces; with patterns it tells of those topics. Raises BadPattern, BadRequest."""
        query = asked_for(topics, is_troubled=is_troubled, most=MOST_TOPICS)
        async with self._gathering:
            status = await gather(self._daemon, query)
        async for piece in in_pieces(status):
            yield piece

    async def metrics(self) -> tuple[bytes, str]:
        """The metrics in the text format of Prometheus, and its media type."""
        async with self._gathering:
            now = asyncio.get_running_loop().time()
            if self._metrics is None or now - self._metrics[0] > FRESH_S:
                status = await gather(self._daemon, StatusQuery())
                self._metrics = now, exposition(status, self._daemon.attention.tally)
            return self._metrics[1]

    def recordings(self) -> list[RecordingPlace]:
        """The recordings that are made."""
        return recordings_of(self._daemon.config.sinks)

    async def coverage(self, query: CoverageQuery) -> bytes:
        """How complete one of them is, as JSON. Raises BadRequest, NoCoverage."""
        return await self._coverage.tell(query, self.recordings())


def _unready(status: DaemonStatus) -> Iterator[str]:
    """Why data are not fresh; nothing where they are."""
    for exchange in status.exchanges:
        why = _stale_exchange(exchange)
        if why is not None:
            yield f"{exchange.id}: {why}"
    for source in status.sources:
        if source.state != "live":
            yield f"{source.name}: {source.state}{f': {source.trouble}' if source.trouble else ''}"
    for sink in status.sinks:
        if sink.state in {"opening", "waiting"}:
            yield f"{sink.name}: {sink.failing or sink.state}"


def _stale_exchange(exchange: ExchangeStatus) -> str | None:
    if exchange.state == "paused":
        return PAUSED
    if exchange.state != "running":
        return f"{exchange.state}: {exchange.trouble or 'its listing is being asked for'}"
    wanted = sum(exchange.topics.values())
    if any(exchange.topics.get(state) for state in FINE) or (exchange.demand is not None and not wanted):
        return None
    if not wanted:
        return "nothing is followed"
    return f"none of its {wanted} topics is fresh"


def _stale(topic: TopicStatus) -> StaleTopic:
    name = f"{topic.channel}:{topic.exchange}:{topic.symbol or topic.raw_symbol or '*'}"
    return StaleTopic(topic=name, state=topic.state, reason=topic.reason, age_ms=topic.age_ms)
