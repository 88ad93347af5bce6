"""The contract of a source: one settings struct, and one coroutine that opens a link to where the records are.

All else is the frame's (`sources/running.py`), and the same for every source: which records are asked for, trying
again, the place from which to go on, what is told while the link is broken, states and books, loops, and the status.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from msgspec import Struct

from aggregator.bus.history import Cursor
from aggregator.errors import AggregatorError
from aggregator.records import Gap, Record
from aggregator.sinks.sink import ALL, Patterns
from aggregator.sinks.values import Duration

UNNAMED = "unnamed"  # the name of a daemon that gives none


class LinkBroken(AggregatorError):
    """A link cannot be had, or has ended: it is tried again.

    is_refused: somebody has to act first, here or there: the frame waits long before it tries again
    """

    def __init__(self, reason: str, *, is_refused: bool = False) -> None:
        super().__init__(reason)
        self.is_refused = is_refused


class Reception(Struct, frozen=True, kw_only=True):
    """The keys that every source has: it says which records are asked for, and how often a link is tried.

    topics: which records are had from it, by patterns `channel:exchange:symbol` as the feed has them; `gap`, `health`
        and `summary` come with the channels that they are about
    backoff: the pause before a link that failed is tried again; it doubles each time, and chance makes it shorter
    longest_backoff: the longest such pause
    """

    topics: Patterns = ALL
    backoff: Duration = 0.5
    longest_backoff: Duration = 30.0


class KnownPlace(Struct, frozen=True):
    """The other daemon's name as it was before, and the place behind all that came from it.

    mark: where the link finds that place, or one before it; as the link has told it
    """

    daemon: str
    cursor: Cursor
    mark: int = 0


class Passage(Struct):
    """Some of what a link has brought. Its parts are in the order in which they stand here.

    cursor: the place behind all of it
    mark: a number by which the link finds this place, or one before it, if it needs more than the cursor
    gap: what is missing before the rest; null: nothing
    records: as they were published there, each with the offset that it has there, all of the epoch of `cursor`
    standing: how topics, books and instruments stand there at that place: records that were not published there
    unread: lines that could not be read; what they are about where that is known
    is_live: all that is past has been told
    """

    cursor: Cursor
    gap: Gap | None = None
    records: list[Record] = []
    standing: list[Record] = []
    unread: list[Record] = []
    is_live: bool = False
    mark: int = 0


class Link(Protocol):
    """An open way to the other daemon.

    daemon: the name that it gives itself
    is_resumed: it goes on behind the place that was asked for; else with what is published from now on
    """

    daemon: str
    is_resumed: bool

    async def read(self) -> Sequence[Passage]:
        """Wait for what comes. The first that are had behind a place tell what is missing there. Raises LinkBroken."""

    async def ask_standing(self, *, books: bool) -> None:
        """Have told how instruments stand, and `books`: also those, and all states. They come as `standing`."""

    async def close(self) -> None:
        """Give everything back; nothing is raised."""


class Source(Struct, frozen=True, eq=False):
    """A kind of source: what an entry point of the group `aggregator.sources` names.

    name: what `type` of `[[sources]]` says; that of the entry point
    settings: a frozen struct of its own keys; the lines `key: meaning` of its docstring are their documentation
    open: opens a link that gives these topics, behind a known place where there is one. Raises LinkBroken
    unique: the key of which no two sources may have the same value
    several: gives the settings of all the sources for which one table stands; null: of one alone
    check: says what is wrong with what the settings name, such as a file; `aggregator check` asks it. Null: nothing is
    example: values of the keys without a default, for the configuration that shows every key
    module: the module of its client library, which the extra of the source's name installs; null: it needs none
    """

    name: str
    settings: type[Struct]
    open: Callable[[Any, Sequence[str], KnownPlace | None], Awaitable[Link]]
    unique: str
    several: Callable[[Any], Sequence[Any]] | None = None
    check: Callable[[Any], str | None] | None = None
    example: Mapping[str, object] = MappingProxyType({})
    module: str | None = None


class SourceConfig(Struct, frozen=True):
    """One `[[sources]]` of a configuration, checked."""

    source: Source
    settings: Any
    reception: Reception

    def all(self) -> list["SourceConfig"]:
        """The sources for which it stands, itself alone mostly."""
        several = self.source.several
        if several is None:
            return [self]
        return [SourceConfig(self.source, each, self.reception) for each in several(self.settings)]

    @property
    def name(self) -> str:
        """The name in logs, in gaps and of the files of state: the type, and the value that tells it from others."""
        return f"{self.source.name} {getattr(self.settings, self.source.unique)}"
