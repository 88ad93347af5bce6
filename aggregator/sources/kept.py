"""A source keeps for the next start the place from which to go on, and its topics with the gaps that are open.

The place is kept behind what the journal has, or without one behind what all sinks have taken. A journal knows better:
the place of its last record that came by the source is looked for there, so that nothing stands in it twice.
"""

import logging
import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from aggregator.bus.history import BadStart, Cursor, History, Stretch
from aggregator.bus.selection import Selection, parse_pattern
from aggregator.ingest import state
from aggregator.records import Channel, Gap, Upstream
from aggregator.sources.source import KnownPlace

EVERYTHING = Selection([parse_pattern("*:*:*")])
NAME_CHARACTERS = 60  # so much of a source's name stands in those of its files

log = logging.getLogger("aggregator.sources")


class LeftPlace(Struct, frozen=True, kw_only=True):
    """The place from which to go on.

    ts: when it was written
    daemon: the name of the other daemon
    cursor: the place behind all that came from it
    mark: where the link finds that place, or one before it
    own: the place in the stream of this daemon behind all of that
    is_end: the daemon has ended by itself, and has told that its topics have gaps
    """

    version: int = state.VERSION
    ts: int
    daemon: str
    cursor: Cursor
    own: Cursor
    is_end: bool = False
    mark: int = 0


class LeftTopic(Struct, frozen=True, omit_defaults=True):
    """A topic of the source, and the gap that is open of it."""

    exchange: str
    channel: Channel
    raw_symbol: str | None
    symbol: str | None
    conn: str
    gap: Gap | None = None


class LeftTopics(Struct, frozen=True):
    """All topics of the source."""

    version: int = state.VERSION
    topics: list[LeftTopic] = []


_encode = msgspec.json.Encoder().encode


class KeptFiles:
    """The two files of one source. They are read and written in a thread."""

    def __init__(self, directory: Path, name: str) -> None:
        plain = re.sub(r"[^A-Za-z0-9.-]+", "-", name)[:NAME_CHARACTERS]
        mark = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
        self._place = directory / f"{plain}-{mark}.place"
        self._topics = directory / f"{plain}-{mark}.topics"

    def read_place(self) -> LeftPlace | None:
        """The place; null: there is none. Raises OSError."""
        return _read(self._place, LeftPlace)

    def read_topics(self) -> Sequence[LeftTopic]:
        """The topics. Raises OSError."""
        found = _read(self._topics, LeftTopics)
        return () if found is None else found.topics

    def write_place(self, place: LeftPlace) -> None:
        """Put the place in place. Raises OSError."""
        state.write(self._place, [_encode(place)])

    def write_topics(self, topics: list[LeftTopic]) -> None:
        """Put the topics in place. Raises OSError."""
        state.write(self._topics, [_encode(LeftTopics(topics=topics))])


K = TypeVar("K", LeftPlace, LeftTopics)


def _read(path: Path, kind: type[K]) -> K | None:
    blob = state.read(path)
    if blob is None or state.is_newer(path, blob):
        return None
    try:
        return msgspec.json.decode(blob, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        state.set_aside(path, f"it cannot be read: {error}")
        return None


class _Line(Struct):
    upstream: Upstream | None = None


_decode_line: Callable[[bytes], _Line] = msgspec.json.Decoder(_Line).decode


async def last_known(kept: LeftPlace, history: History | None) -> KnownPlace:
    """The place behind the last record of the other daemon that the journal has; without one, that which was kept."""
    cursor = kept.cursor
    if history is None or kept.is_end:
        return KnownPlace(kept.daemon, cursor, kept.mark)

    def last(stretch: Stretch) -> tuple[Stretch, Cursor | None]:
        for line in reversed(stretch.lines):
            upstream = _decode_line(line).upstream
            if upstream is not None and upstream[2].rpartition("/")[2] == kept.daemon:
                return stretch, Cursor(upstream[0], upstream[1])
        return stretch, None

    try:
        place, _ = await history.begin(kept.own)
        while True:
            stretch, found = await history.read(place, EVERYTHING, last)
            cursor, place = found or cursor, stretch.cursor
            if stretch.is_end:
                break
    except (BadStart, OSError) as error:
        log.warning("source: the journal does not tell how far it has come: %s", error)
    return KnownPlace(kept.daemon, cursor, kept.mark)
