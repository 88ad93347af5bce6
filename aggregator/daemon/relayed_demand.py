"""The wishes of the feed's subscribers, where workers bring what is asked for: each hears what concerns its exchanges.

A worker knows what its exchanges list, and meets a wish as a single process does. So it is asked before a subscription
is answered (`foresee`). One that does not say it within a second is not waited for: what cannot be had is told as a
topic that is `down` then, once that is known.
"""

import asyncio
from collections.abc import Callable, Container, Hashable, Iterable, Mapping
from itertools import count

from aggregator.bus.demand import Demanded, Tell, Unmet
from aggregator.bus.selection import Pattern
from aggregator.daemon.on_demand import why_no_exchange
from aggregator.records import Channel

FORESEE_S = 1.0  # workers have so long to say what cannot be had, before the answer goes without that

# It has the number of whoever asks, and all that is asked for now; it tells whether a worker is there to answer.
Send = Callable[[int, dict[str, Pattern]], bool]


class Relay:
    """The wishes that one worker has been told of.

    exchanges: those that it has, as that changes
    """

    def __init__(self, exchanges: Iterable[str], send: Send) -> None:
        self.exchanges = exchanges
        self._send = send
        self._sent: dict[int, dict[str, Pattern]] = {}

    def tell(self, number: int, patterns: Mapping[str, Pattern]) -> bool:
        """Have it know what somebody asks for now, as far as that concerns its exchanges; whether it is to answer."""
        meant = {text: pattern for text, pattern in patterns.items() if any(map(pattern.is_of, self.exchanges))}
        if meant == self._sent.get(number, {}):
            return False
        if meant:
            self._sent[number] = meant
        else:
            del self._sent[number]
        return self._send(number, meant)

    def forget(self) -> None:
        """Another process has taken its place, which knows nothing yet."""
        self._sent.clear()


class _Subscriber:
    """Somebody who asks.

    unmet: what it was told last of each pattern
    awaited: the workers that have not said yet what it cannot have
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.tell: Tell = lambda unmet: None  # noqa: ARG005
        self.patterns: dict[str, Pattern] = {}
        self.unmet: dict[str, Unmet] = {}
        self.awaited: set[Relay] = set()
        self._then: Callable[[], object] | None = None

    def wait(self, awaited: Iterable[Relay], then: Callable[[], object]) -> None:
        """Have `then` called once all of them have answered, or the time is up."""
        self.awaited, self._then = set(awaited), then
        if self.awaited:
            asyncio.get_running_loop().call_later(FORESEE_S, self._go_on, then)
        else:
            self._go_on(then)

    def answered(self, relay: Relay) -> None:
        """One of them has answered."""
        self.awaited.discard(relay)
        if not self.awaited:
            self._go_on(self._then)

    def _go_on(self, then: Callable[[], object] | None) -> None:
        if then is not None and then is self._then:
            self._then = None
            then()


class RelayedDemand:
    """The wishes of all subscribers (`bus/demand.py`), handed on to workers."""

    is_far = True

    def __init__(self, configured: Container[str], elsewhere: Callable[[str], bool]) -> None:
        """Begin without workers.

        configured: the exchanges of the configuration, as that changes
        elsewhere: tells whether something comes of an exchange, as by a source
        """
        self.relays: list[Relay] = []
        self._configured = configured
        self._elsewhere = elsewhere
        self._numbers = count(1)
        self._askers: dict[Hashable, _Subscriber] = {}
        self._by_number: dict[int, _Subscriber] = {}

    def want(self, who: Hashable, patterns: Mapping[str, Pattern], tell: Tell) -> list[Unmet]:
        """From now on `who` asks for these patterns, and for no others; none at all: it has gone."""
        if who not in self._askers and not patterns:
            return []
        asker = self._asker(who)
        asker.tell = tell
        self._hand_on(asker, patterns)
        if not patterns:
            del self._askers[who], self._by_number[asker.number]
        return list(asker.unmet.values())

    def foresee(self, who: Hashable, patterns: Mapping[str, Pattern], then: Callable[[], object]) -> None:
        """Find out what of these patterns `who` can have; `want` knows it when `then` is called, within a second."""
        asker = self._asker(who)
        asker.wait(self._hand_on(asker, patterns), then)

    def _asker(self, who: Hashable) -> _Subscriber:
        found = self._askers.get(who)
        if found is None:
            found = self._askers[who] = _Subscriber(next(self._numbers))
            self._by_number[found.number] = found
        return found

    def _hand_on(self, asker: _Subscriber, patterns: Mapping[str, Pattern]) -> list[Relay]:
        """Have workers know what somebody asks for now; those that are to answer."""
        asker.patterns = dict(patterns)
        asker.unmet = {text: unmet for text, unmet in asker.unmet.items() if text in patterns}
        for text, pattern in patterns.items():
            if "*" not in pattern.exchange and not self._may_come(pattern.exchange):
                asker.unmet[text] = Unmet(text, why_no_exchange(pattern.exchange))
        return [relay for relay in self.relays if relay.tell(asker.number, patterns)]

    def _may_come(self, exchange: str) -> bool:
        return exchange in self._configured or self._elsewhere(exchange)

    def demanded(self, channel: Channel, exchange: str, raw_symbol: str) -> Demanded | None:  # noqa: ARG002
        """Nothing is known of it here: the status asks the workers."""
        return None

    def again(self, relay: Relay) -> None:
        """Have a worker know all wishes: it is another process, or has other exchanges."""
        for asker in self._askers.values():
            relay.tell(asker.number, asker.patterns)

    def told(self, number: int, unmet: Iterable[Unmet], answering: Relay | None = None) -> None:
        """Hear of a worker what somebody cannot have; `answering`: the worker was told of a wish, and has met it."""
        asker = self._by_number.get(number)
        if asker is None:
            return
        new = [each for each in unmet if each.topic in asker.patterns and asker.unmet.get(each.topic) != each]
        asker.unmet |= {each.topic: each for each in new}
        if new:
            asker.tell(new)
        if answering is not None:
            asker.answered(answering)
