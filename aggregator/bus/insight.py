"""The place where ports ask how the daemon fares: whether its data are fresh, its status, and its metrics.

The daemon stands behind it. Where nobody does, as in a replay, there is nothing to tell.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from msgspec import Struct

from aggregator.bus.selection import Pattern
from aggregator.errors import AggregatorError


class StaleTopic(Struct, frozen=True, kw_only=True):
    """A topic whose data are not fresh.

    topic: `channel:exchange:symbol`
    state: as in `health`, or `absent`
    reason: in words; null: there is nothing to say
    age_ms: milliseconds since its last record; null: none yet
    """

    topic: str
    state: str
    reason: str | None = None
    age_ms: int | None = None


class Readiness(Struct, frozen=True, kw_only=True):
    """The answer whether data are fresh.

    is_ready: whether all that has to be fresh is
    reasons: why it is not; empty where it is
    fresh: topics that are live or quiet; of those that were named, where some were
    stale: likewise those that are neither
    topics: these, as many as are told
    """

    is_ready: bool
    reasons: list[str] = []
    fresh: int = 0
    stale: int = 0
    topics: list[StaleTopic] = []


class RecordingPlace(Struct, frozen=True, kw_only=True):
    """A recording that the daemon makes.

    name: as logs call who writes it
    type: as the configuration calls that
    path: where it lies
    """

    name: str
    type: str
    path: str


class CoverageQuery(Struct, frozen=True, kw_only=True):
    """The question how complete a recording is.

    recording: its name
    first, last: days of UTC (`2026-11-29`), both of them within
    exchange: of this one alone; null: of all
    """

    recording: str
    first: str
    last: str
    exchange: str | None = None


class NoCoverage(AggregatorError):
    """How complete a recording is cannot be told now; the words say why, and what to do."""


class Insight(Protocol):
    """Whoever knows how the daemon fares."""

    async def readiness(self, wanted: Sequence[Pattern]) -> Readiness:
        """Tell whether every topic of these patterns is fresh; without one, whether enough is."""

    def status(self, topics: Sequence[str], *, is_troubled: bool) -> AsyncIterator[bytes]:
        """The status as JSON, in pieces; with patterns it tells of those topics. Raises BadPattern, BadRequest."""

    async def metrics(self) -> tuple[bytes, str]:
        """The metrics in the text format of Prometheus, and its media type."""

    def recordings(self) -> list[RecordingPlace]:
        """The recordings that are made."""

    async def coverage(self, query: CoverageQuery) -> bytes:
        """How complete one of them is, as JSON. Raises BadRequest, NoCoverage."""
