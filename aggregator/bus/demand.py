"""The place where readers of the stream say what they ask for, and hear what cannot be had.

The feed says it for each of its subscribers; whoever has topics brought (the daemon) hears it. Where nobody does, as in
a replay, everything comes or does not come by itself.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple, Protocol

from aggregator.bus.selection import Pattern
from aggregator.records import Channel, DemandState


class Unmet(NamedTuple):
    """A topic or pattern that brings nothing now, and why; `nearest` are names that may have been meant."""

    topic: str
    reason: str
    nearest: tuple[str, ...] = ()


class Demanded(NamedTuple):
    """How a topic that is brought on demand stands; `reason` says why it is not there yet."""

    state: DemandState
    reason: str | None


Tell = Callable[[Sequence[Unmet]], object]


class Supply(Protocol):
    """Whoever has topics brought.

    is_far: another process knows what can be had; so it is to be asked first, by `foresee`
    """

    is_far: bool

    def foresee(self, who: Hashable, patterns: Mapping[str, Pattern], then: Callable[[], object]) -> None:
        """Find out what of these patterns `who` can have; `want` knows it when `then` is called, within a second."""

    def want(self, who: Hashable, patterns: Mapping[str, Pattern], tell: Tell) -> list[Unmet]:
        """From now on `who` asks for these patterns, and for no others; none at all: it has gone.

        Gives those that cannot be had now. Where that changes for the worse later, `tell` is called. Never waits.
        """

    def demanded(self, channel: Channel, exchange: str, raw_symbol: str) -> Demanded | None:
        """How a topic stands that somebody asks for, or did lately; null: it is not brought on demand."""


class NearSupply:
    """The part of those that know at once what can be had."""

    is_far = False

    def foresee(self, who: Hashable, patterns: Mapping[str, Pattern], then: Callable[[], object]) -> None:  # noqa: ARG002
        """Nothing is to be found out."""
        then()


class Nobody(NearSupply):
    """Nothing is brought on demand, and nothing is known of what could be."""

    def want(self, who: Hashable, patterns: Mapping[str, Pattern], tell: Tell) -> list[Unmet]:  # noqa: ARG002
        """Take it as it comes."""
        return []

    def demanded(self, channel: Channel, exchange: str, raw_symbol: str) -> Demanded | None:  # noqa: ARG002
        """No topic is."""
        return None
