"""The topics of one connection that time alone makes due, and when.

A place here is one whole number, which the garbage collector does not see. All topics of a silent market change
their places every ten minutes: were these objects of the collector, it would look at as many in one step.
"""

import heapq
from collections.abc import Iterator, Mapping

from aggregator.session.moment import NEVER_NS
from aggregator.session.topics import Topic

NUMBER_BITS = 32  # a place has so many below its time


class DueTopics:
    """A heap of places."""

    def __init__(self, numbered: Mapping[int, Topic]) -> None:
        """Begin without any; `numbered` are the topics of the connection by their numbers."""
        self._numbered = numbered
        self._places: list[int] = []

    def put(self, topic: Topic, at: int) -> None:
        """Have a topic looked at then (monotonic ns), unless it is to be looked at sooner."""
        if at < topic.due:
            topic.due = at
            heapq.heappush(self._places, at << NUMBER_BITS | topic.number)

    def take(self, now: int) -> Iterator[Topic]:
        """The topics that are due now (monotonic ns), which have no place here any more."""
        places, end = self._places, (now + 1) << NUMBER_BITS
        while places and places[0] < end:
            place = heapq.heappop(places)
            topic = self._numbered.get(place & ((1 << NUMBER_BITS) - 1))
            if topic is not None and topic.due == place >> NUMBER_BITS:  # else it has another place, or was removed
                topic.due = NEVER_NS
                yield topic
