"""The wishes of the feed's subscribers, where workers bring what is asked for: each hears what concerns its exchanges.

A worker knows what its exchanges list, and meets a wish as a single process does. What cannot be had is known a little
later here: a subscriber is told it as a topic that is `down`, and not within the answer to its request.
"""

from collections.abc import Callable, Container, Hashable, Iterable, Mapping
from itertools import count

from aggregator.bus.demand import Demanded, Tell, Unmet
from aggregator.bus.selection import Pattern
from aggregator.daemon.on_demand import why_no_exchange
from aggregator.records import Channel

Send = Callable[[int, dict[str, Pattern]], object]  # the number of whoever asks, and all that it asks for


class Relay:
    """The wishes that one worker has been told of.

    exchanges: those that it has, as that changes
    """

    def __init__(self, exchanges: Iterable[str], send: Send) -> None:
        self.exchanges = exchanges
        self._send = send
        self._sent: dict[int, dict[str, Pattern]] = {}

    def tell(self, number: int, patterns: Mapping[str, Pattern]) -> None:
        """Have it know what somebody asks for now, as far as that concerns its exchanges."""
        meant = {text: pattern for text, pattern in patterns.items() if any(map(pattern.is_of, self.exchanges))}
        if meant != self._sent.get(number, {}):
            self._send(number, meant)
            if meant:
                self._sent[number] = meant
            else:
                del self._sent[number]

    def forget(self) -> None:
        """Another process has taken its place, which knows nothing yet."""
        self._sent.clear()


class _Subscriber:
    """Somebody who asks; `unmet` is what it was told last of each pattern."""

    def __init__(self, number: int, tell: Tell) -> None:
        self.number = number
        self.tell = tell
        self.patterns: dict[str, Pattern] = {}
        self.unmet: dict[str, Unmet] = {}


class RelayedDemand:
    """The wishes of all subscribers (`bus/demand.py`), handed on to workers."""

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
        asker = self._askers.get(who)
        if asker is None:
            if not patterns:
                return []
            asker = self._askers[who] = _Subscriber(next(self._numbers), tell)
            self._by_number[asker.number] = asker
        asker.patterns = dict(patterns)
        asker.unmet = {text: unmet for text, unmet in asker.unmet.items() if text in patterns}
        for text, pattern in patterns.items():
            if "*" not in pattern.exchange and not self._may_come(pattern.exchange):
                asker.unmet[text] = Unmet(text, why_no_exchange(pattern.exchange))
        for relay in self.relays:
            relay.tell(asker.number, patterns)
        if not patterns:
            del self._askers[who], self._by_number[asker.number]
        return list(asker.unmet.values())

    def _may_come(self, exchange: str) -> bool:
        return exchange in self._configured or self._elsewhere(exchange)

    def demanded(self, channel: Channel, exchange: str, raw_symbol: str) -> Demanded | None:  # noqa: ARG002
        """Nothing is known of it here: the status asks the workers."""
        return None

    def again(self, relay: Relay) -> None:
        """Have a worker know all wishes: it is another process, or has other exchanges."""
        for asker in self._askers.values():
            relay.tell(asker.number, asker.patterns)

    def told(self, number: int, unmet: Iterable[Unmet]) -> None:
        """Hear of a worker what somebody cannot have."""
        asker = self._by_number.get(number)
        if asker is None:
            return
        new = [each for each in unmet if each.topic in asker.patterns and asker.unmet.get(each.topic) != each]
        asker.unmet |= {each.topic: each for each in new}
        if new:
            asker.tell(new)
