"""A tap: the raw frames of a topic, each beside the records that it became, for as long as somebody looks."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Raw, Struct, structs

from aggregator.bus.bus import encode_lines
from aggregator.bus.passing import MARK
from aggregator.bus.selection import Pattern, Selection, topic_of
from aggregator.errors import AggregatorError
from aggregator.ingest.overhearing import Ear, Overheard
from aggregator.records import Record

if TYPE_CHECKING:
    from aggregator.daemon.daemon import Daemon

MOST_WAITING = 1000  # frames that wait to be sent
LONGEST_TAP_S = 3600.0
LARGEST_SHOWN_BYTES = 64 * 1024  # bytes of a frame
LOOK_S = 0.5  # between two looks at which connections there are


class NothingToTap(AggregatorError):
    """No connection carries such a topic; the words say what does."""


class Tapped(Struct, frozen=True):
    """A frame, and what became of it.

    conn: the connection that brought it
    ts: when the socket was read (ns)
    frame: as text, inflated; its beginning, where it is very long
    records: those that it became
    error: why it could not be read; null: it could
    skipped: frames before it that nobody had the time to send
    """

    conn: str
    ts: int
    frame: str
    records: list[Raw]
    error: str | None = None
    skipped: int = 0


class Tap:
    """The frames of the topics that a pattern means, with those that could not be read or became nothing."""

    def __init__(self, daemon: "Daemon", pattern: Pattern) -> None:
        """Look at nothing yet. Raises NothingToTap where no exchange fits."""
        self._ears: dict[str, Ear] = {id: ear for id, ear in daemon.attention.ears.items() if pattern.is_of(id)}
        if not self._ears:
            there = ", ".join(daemon.exchanges.configs)
            raise NothingToTap(f"no exchange {pattern.exchange!a} runs; there are: {there}")
        self._pattern = pattern
        self._wanted = Selection([pattern])
        self._names = {
            name.encode()
            for runner in (daemon.exchanges.runners.get(id) for id in self._ears)
            for topic in (runner.topics() if runner is not None else ())
            if topic is not None and topic.channel in pattern.channels
            for name in (topic.raw_symbol,)
            if name and (pattern.symbol in {topic.symbol, topic.raw_symbol})
        }
        self._waiting: deque[Overheard] = deque(maxlen=MOST_WAITING)
        self._skipped = 0
        self._come = asyncio.Event()

    async def frames(self, seconds: float, most: int) -> AsyncGenerator[Tapped, None]:
        """The frames as they come, until the time is up or so many have come."""
        tapped: dict[Ear, set[str]] = {ear: set() for ear in self._ears.values()}
        loop = asyncio.get_running_loop()
        end = loop.time() + min(seconds, LONGEST_TAP_S)
        try:
            while most > 0 and (left := end - loop.time()) > 0:
                self._look(tapped)
                if self._waiting:
                    most -= 1
                    yield self._told(self._waiting.popleft())
                    continue
                self._come.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._come.wait(), min(LOOK_S, left))
        finally:
            for ear, conns in tapped.items():
                for conn in conns:
                    ear.untap(conn, self._take)

    def _look(self, tapped: dict[Ear, set[str]]) -> None:
        """Tap connections that are new."""
        for ear, conns in tapped.items():
            for connection in ear.connections():
                conn = connection.session.conn
                if conn not in conns and self._carries(t.channel for t in connection.session.topics):
                    conns.add(conn)
                    ear.tap(conn, self._take)

    def _carries(self, channels: Iterable[str]) -> bool:
        return not set(self._pattern.channels).isdisjoint(channels)

    def _take(self, heard: Overheard) -> None:
        if not self._concerns(heard):
            return
        if len(self._waiting) == MOST_WAITING:
            self._skipped += 1
        self._waiting.append(heard)
        self._come.set()

    def _concerns(self, heard: Overheard) -> bool:
        """Tell whether a frame is about what is asked for; one without a record is where it names the market."""
        if any(self._is_wanted(record) for record in heard.records):
            return True
        if heard.records and heard.error is None:
            return False
        return not self._names or any(name in heard.frame for name in self._names)

    def _is_wanted(self, record: Record) -> bool:
        return self._wanted.wants(topic_of(record))

    def _told(self, heard: Overheard) -> Tapped:
        wanted = [structs.replace(each) for each in heard.records if self._is_wanted(each)]
        for record in wanted:
            record.offset %= MARK  # in a worker it has none yet
        records = [Raw(encode_lines([each]).rstrip()) for each in wanted]
        text = heard.frame[:LARGEST_SHOWN_BYTES].decode("utf-8", "backslashreplace")
        skipped, self._skipped = self._skipped, 0
        return Tapped(heard.conn, heard.at.wall, text, records, heard.error, skipped)
