"""The derived topics of the feed: computed while anybody asks for them, and given to whoever does."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from aggregator.bus.bus import Batch, Bus
from aggregator.bus.selection import BadPattern, Pattern, RecordTopic, Selection
from aggregator.derived.channels import derived, needs
from aggregator.derived.derivations import Derivation, Derivations, Input, Told
from aggregator.feed.formats import Options, encode
from aggregator.feed.routing import NO_BOOK, Group, Route, TopicRoutes
from aggregator.feed.subscriber_queue import BookRole
from aggregator.records import Gap, Health

SHORTEST_S = 0.001  # between two looks at what is due
AT_ONCE = 100  # topics whose present state is encoded together for who has just come


class Clock(Protocol):
    """The time by which topics are derived, in ns.

    runs: whether it passes by itself; else it passes with the records, as in a replay
    """

    @property
    def runs(self) -> bool: ...

    def wall(self) -> int: ...

    def mono(self) -> int: ...


class OwnClock:
    """The time of this machine."""

    runs = True
    wall = staticmethod(time.time_ns)
    mono = staticmethod(time.monotonic_ns)


class DerivedTopics:
    """The derived topics that subscribers ask for.

    is_active: whether there are any; while there are none nothing is done for them
    """

    def __init__(
        self, bus: Bus, routes: TopicRoutes, give: Callable[[Iterable[Group]], None], clock: Clock | None = None
    ) -> None:
        """Begin without any; `give` is called with the groups that got records."""
        self._clock = clock or OwnClock()
        self.is_active = False
        self._bus = bus
        self._routes = routes
        self._give = give
        self._derivations = Derivations(bus.views)
        self._known: dict[Derivation, tuple[Route, Route]] = {}  # for its records, and for its gaps and states
        self._known_at = -1  # the version of the groups for which that is so
        self._timer: asyncio.TimerHandle | None = None

    # --- who asks

    def join(self, patterns: Iterable[Pattern]) -> None:
        """Compute what these patterns name, from now on. Patterns of ordinary topics are passed over.

        Raises BadPattern where that is too much, and then computes none of them.
        """
        joined: list[Pattern] = []
        try:
            for pattern in patterns:
                if derived(pattern) is not None:
                    joined.append(pattern)
                    self._derivations.join(pattern, self._inputs(pattern))
        except BadPattern:
            self.leave(joined)
            raise
        self.is_active = bool(self._derivations)
        self._set_timer()

    def leave(self, patterns: Iterable[Pattern]) -> None:
        """Compute no more what nobody else asks for."""
        for pattern in patterns:
            if derived(pattern) is not None:
                self._derivations.leave(pattern)
        self.is_active = bool(self._derivations)
        self._known.clear()

    def of(self, patterns: Iterable[Pattern]) -> list[Derivation]:
        """The topics at work that some patterns name."""
        return self._derivations.of(pattern for pattern in patterns if derived(pattern) is not None)

    def reasons(self, patterns: dict[str, Pattern]) -> list[str]:
        """Why nothing comes of those patterns for now that name a single topic of a market that is followed."""
        return [reason for text, pattern in patterns.items() if (reason := self._reason(text, pattern))]

    def _reason(self, text: str, pattern: Pattern) -> str:
        found = derived(pattern)
        is_wide = "*" in pattern.symbol or ("*" in pattern.exchange and found is not None and not found.kind.merges)
        if found is None or is_wide or self.of([pattern]):
            return ""
        if found.kind.merges:
            return f"{text}: no exchange is followed yet that has {' or '.join(found.kind.inputs)} of it"
        there = self._routes.channels_of(pattern.exchange, pattern.symbol)
        inputs = " or ".join(found.kind.inputs)
        if not there:
            return f"{text}: nothing of {pattern.symbol} is followed at {pattern.exchange} yet; it needs {inputs}"
        return f"{text}: it is computed of {inputs}, and of this market only {', '.join(there)} is followed"

    def _inputs(self, pattern: Pattern) -> Iterator[Input]:
        for known in self._routes.matching(Selection([needs(pattern)])):
            names = self._routes.known[known].names
            symbol = names[0] if len(names) > 1 or "/" in names[0] else None
            yield known.channel, known.exchange, known.raw_symbol, symbol

    # --- what is told

    def take(self, batch: Batch) -> None:
        """Take a batch of the bus, after it was given to those who want it as it is."""
        if not self._clock.runs:
            self._tell(self._derivations.tick(self._clock.wall(), self._clock.mono()))
        self._tell(self._derivations.take(batch.records, self._clock.mono()))
        self._set_timer()

    def states(self, found: Iterable[Derivation]) -> list[Health]:
        """The states of topics, as they are now."""
        healths = [health for each in found for health in self._derivations.states(each)]
        for health in healths:
            health.offset = self._bus.offset
        return healths

    def standing(self, found: Sequence[Derivation], options: Options) -> Iterator[bytes]:
        """How topics stand, as lines, some at a time; each as it is when it is given."""
        for start in range(0, len(found), AT_ONCE):
            records = [each.machine.current() for each in found[start : start + AT_ONCE] if each.is_told_as_it_stands]
            there = [record for record in records if record is not None]
            for record in there:
                record.offset = self._bus.offset
            if there:
                yield encode(there, options)

    def _tell(self, told: Told) -> None:
        if not told:
            return
        if self._known_at != self._routes.version:
            self._known_at = self._routes.version
            self._known.clear()
        records = [record for _, record in told]
        for record in records:
            record.offset = self._bus.offset
        routes = [self._routes_of(each)[isinstance(record, Gap | Health)] for each, record in told]
        self._give(self._routes.spread(Batch(records, self._bus.epoch), routes))

    def _routes_of(self, each: Derivation) -> tuple[Route, Route]:
        found = self._known.get(each)
        if found is None:
            topic = RecordTopic((each.channel.name,), each.exchange, each.names)
            name = each.channel.name
            groups = [g for g in self._routes.groups if any(map(each.fits, g.derived.get(name, ())))]
            fanout = self._routes.fanout(groups)
            role = BookRole(None, False, True) if each.channel.kind.is_superseded else NO_BOOK  # noqa: FBT003
            found = self._known[each] = Route(topic, role, fanout), Route(topic, NO_BOOK, fanout)
        return found

    # --- time

    def _set_timer(self) -> None:
        """Wake when something is due; at the latest then, for what is due may change by itself."""
        if not self.is_active or not self._clock.runs:
            return
        wait = self._derivations.wait_ns(self._clock.wall(), self._clock.mono())
        if wait is None:
            return
        loop = asyncio.get_running_loop()
        delay = max(wait / 1e9, SHORTEST_S)
        if self._timer is not None:
            if self._timer.when() <= loop.time() + delay:
                return
            self._timer.cancel()
        self._timer = loop.call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._tell(self._derivations.tick(self._clock.wall(), self._clock.mono()))
        self._set_timer()

    def stop(self) -> None:
        """Tell nothing more."""
        self.is_active = False
        if self._timer is not None:
            self._timer.cancel()
