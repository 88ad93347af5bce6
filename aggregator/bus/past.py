"""Whoever has to catch up with the stream: it reads what a history keeps, then takes what that has in memory.

Once all of that is taken, the reader lets the stream follow within the same turn of the loop: there is no hole between
the two, and nothing comes twice.
"""

import asyncio
from collections.abc import Callable, Hashable
from logging import Logger
from typing import TypeVar

from aggregator.bus.history import Cursor, History, Stretch
from aggregator.bus.selection import KIND, Selection, topic_key, topic_of
from aggregator.records import Record

T = TypeVar("T")

WAIT_S = 0.02  # before it is read again, where the newest is neither on disk yet nor in memory any more
AGAIN_S = 1.0  # before it is read again, where it could not be
SEAM_RECORDS = 2000  # so many of those in memory are looked at in one turn


class Past:
    """The past, as one reader follows it.

    cursor: the place behind all that was read
    is_at_end: nothing more is on disk; the rest is in memory
    """

    def __init__(self, history: History, selection: Selection, cursor: Cursor, log: Logger) -> None:
        """Begin behind a place; `log` hears of what cannot be read."""
        self.cursor = cursor
        self.is_at_end = False
        self._history = history
        self._selection = selection
        self._log = log
        self._wants: dict[Hashable, bool] = {}

    async def read(self, give: Callable[[Stretch], T], *, with_topics: bool = False) -> tuple[Stretch, T]:
        """Read some of what follows; `give` makes something of it, in the thread that has read it."""
        if self.is_at_end:
            await asyncio.sleep(WAIT_S)
        while True:
            try:
                stretch, given = await self._history.read(
                    self.cursor, self._selection, lambda found: (found, give(found)), with_topics=with_topics
                )
            except OSError as error:
                self._log.error("what was published cannot be read: %s", error)
                await asyncio.sleep(AGAIN_S)
            else:
                self.cursor, self.is_at_end = stretch.cursor, stretch.is_end
                return stretch, given

    def in_memory(self, most: int = SEAM_RECORDS) -> tuple[list[Record], bool] | None:
        """Some of what is in memory behind all that was read, and whether that is all; null: it is to be read."""
        records = self._history.tail(self.cursor) if self.is_at_end else None
        if records is None:
            return None
        some = records[:most]
        if some:
            self.cursor = Cursor(self.cursor.epoch, some[-1].offset)
        return [record for record in some if self._is_wanted(record)], len(some) == len(records)

    def _is_wanted(self, record: Record) -> bool:
        if type(record) in KIND:
            return self._selection.wants(topic_of(record))
        key = topic_key(record)
        wanted = self._wants.get(key)
        if wanted is None:
            wanted = self._wants[key] = self._selection.wants(topic_of(record))
        return wanted
