"""Which subscriptions were asked for on one connection, and what the exchange has said of them."""

from collections import deque
from collections.abc import Iterable, Sequence

from aggregator.exchange import Accepted, Refused, Stream, Subscription
from aggregator.records import Channel

ACKNOWLEDGE = 10_000_000_000  # ns that an acknowledgement may take

Key = tuple[Channel, str | None]


class Ask(bytes):
    """A frame of the outbox that subscribes or unsubscribes: exchanges count these."""


class Asking:
    """Puts subscriptions into an outbox, and relates acknowledgements and refusals to their topics."""

    def __init__(self, stream: Stream, outbox: deque[bytes]) -> None:
        """Ask for nothing yet."""
        self._stream = stream
        self._outbox = outbox
        self.replace: str | None = None  # why a new connection is wanted
        self._next_id = 1
        self._asked: dict[int, list[Subscription]] = {}
        self._waiting: dict[Key, int] = {}  # topic -> when it was asked for

    def next_id(self) -> int:
        """A number for a request, unique on the connection."""
        self._next_id += 1
        return self._next_id - 1

    def subscribe(self, subscriptions: Sequence[Subscription], now: int) -> None:
        """Ask for topics, as many at once as the stream takes."""
        for start in range(0, len(subscriptions), self._stream.batch):
            part = list(subscriptions[start : start + self._stream.batch])
            id = self.next_id()
            self._asked[id] = part
            self._waiting |= {(s.channel, s.raw_symbol): now for s in part}
            self._send(self._stream.subscribe(part, id))

    def resubscribe(self, subscriptions: Sequence[Subscription], now: int) -> None:
        """Leave topics and ask for them again; where only a new connection can do that, say that one is wanted."""
        if self._stream.unsubscribe is None:
            named = ", ".join(f"{s.channel} of {s.raw_symbol}" for s in subscriptions)
            self.replace = f"{named} must be asked for again, and only a new connection can do that"
            return
        self._send(self._stream.unsubscribe(subscriptions, self.next_id()))
        self.subscribe(subscriptions, now)

    def accepted(self, event: Accepted) -> list[Key]:
        """The topics that were waiting for this acknowledgement."""
        if event.id is not None:
            keys: list[Key] = [(s.channel, s.raw_symbol) for s in self._asked.pop(event.id, ())]
        elif event.raw_symbol is None and event.channel is not None:
            keys = [key for key in self._waiting if key[0] == event.channel]
        else:
            keys = self._named(event.channel, event.raw_symbol)
        return [key for key in keys if self._waiting.pop(key, None) is not None]

    def refused(self, event: Refused, now: int) -> list[Key]:
        """The topics that are refused for good; of several in one request, each is first asked for alone."""
        if event.id is None:
            keys = self._named(event.channel, event.raw_symbol)
            if not keys and event.raw_symbol is None and event.channel is None and len(self._waiting) == 1:
                keys = list(self._waiting)  # it names nothing, and only one is waiting
        else:
            asked = self._asked.pop(event.id, [])
            if len(asked) > 1:
                for subscription in asked:
                    self._alone(subscription, now)
                return []
            keys = [(s.channel, s.raw_symbol) for s in asked]
        for key in keys:
            self._waiting.pop(key, None)
        return keys

    def overdue(self, now: int) -> list[Key]:
        """The topics that nobody has confirmed in time, each told once."""
        late = [key for key, at in self._waiting.items() if now - at > ACKNOWLEDGE]
        for key in late:
            del self._waiting[key]
        return late if self._stream.acknowledges else []

    def _send(self, frames: Iterable[bytes]) -> None:
        self._outbox.extend(map(Ask, frames))

    def _alone(self, subscription: Subscription, now: int) -> None:
        id = self.next_id()
        self._asked[id] = [subscription]
        self._waiting[subscription.channel, subscription.raw_symbol] = now
        self._send(self._stream.subscribe([subscription], id))

    def _named(self, channel: Channel | None, raw_symbol: str | None) -> list[Key]:
        return [
            key
            for key in self._waiting
            if raw_symbol is not None and key[1] == raw_symbol and channel in {None, key[0]}
        ]
