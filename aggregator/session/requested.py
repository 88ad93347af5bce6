"""One request for topics, and the queue of those that wait for their turn."""

from collections import Counter, deque
from collections.abc import Collection

from msgspec import Struct

from aggregator.exchange import Subscription


class Split(Struct):
    """A request that was refused whole and is asked again in parts; if all of them pass, its size was the fault."""

    open: int
    has_culprit: bool = False


class Asked(Struct):
    """One request.

    sent: when its last frame so far was sent; None: none yet
    unsent: how many of its frames are still to be sent: a limit may hold them for long
    split: the larger request that it is a part of
    leave: the number of the request that leaves its topics first, where they are left and asked for again in one step
    is_alone: no other request is open beside it
    """

    id: int
    topics: list[Subscription]
    sent: int | None = None
    unsent: int = 0
    split: Split | None = None
    leave: int | None = None
    is_alone: bool = False


class RequestQueue:
    """Requests that wait for their turn. Whether they name a topic is known without a walk: there may be thousands."""

    def __init__(self) -> None:
        self._requests: deque[Asked] = deque()
        self._naming: Counter[Subscription] = Counter()  # how many requests name a topic
        self._leaving: Counter[Subscription] = Counter()  # how many of these leave it first

    def __len__(self) -> int:
        """How many there are."""
        return len(self._requests)

    @property
    def next(self) -> Asked:
        """The one whose turn comes next."""
        return self._requests[0]

    def append(self, asked: Asked) -> None:
        """Add a request behind all others."""
        self._requests.append(asked)
        self._count(asked)

    def appendleft(self, *asked: Asked) -> None:
        """Add requests before all others, in this order."""
        self._requests.extendleft(reversed(asked))
        for one in asked:
            self._count(one)

    def _count(self, asked: Asked) -> None:
        self._naming.update(asked.topics)
        if asked.leave is not None:
            self._leaving.update(asked.topics)

    def popleft(self) -> Asked:
        """Take the next one."""
        asked = self._requests.popleft()
        _take(self._naming, asked.topics)
        if asked.leave is not None:
            _take(self._leaving, asked.topics)
        return asked

    def names(self, s: Subscription) -> bool:
        """Tell whether some request is for this topic."""
        return s in self._naming

    def leaves(self, s: Subscription) -> bool:
        """Tell whether some request leaves this topic, and asks for it again."""
        return s in self._leaving

    def asks_first(self, s: Subscription) -> bool:
        """Tell whether some request is for this topic without leaving it."""
        return self._naming[s] > self._leaving[s] if s in self._naming else False

    def drop(self, gone: Collection[Subscription]) -> None:
        """Ask for these topics no more."""
        if not any(s in self._naming for s in gone):
            return
        for asked in self._requests:
            asked.topics = [s for s in asked.topics if s not in gone]
        for s in gone:
            self._naming.pop(s, None)
            self._leaving.pop(s, None)


def _take(counts: Counter[Subscription], topics: Collection[Subscription]) -> None:
    for s in topics:
        if counts[s] > 1:
            counts[s] -= 1
        else:
            del counts[s]
