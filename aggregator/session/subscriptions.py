"""The topics that one connection is to carry: which were asked for, and how the exchange has answered.

A request that is refused as a whole, without a word about which of its topics is meant, is asked again in halves until
the culprit stands alone; `refused.py` says when what is refused is asked for again. Deadlines count from when a request
was sent, not from when it was queued.

Candles of several intervals are one topic and as many subscriptions, each of which is answered for itself. Exchanges
name the topic in their answers, not always the interval: so no request holds two intervals of one topic.
"""

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from itertools import islice

from aggregator.exchange import Accepted, Meaning, Refused, Stream, Subscribe, Subscription
from aggregator.records import CHANNELS, SECOND_NS, Channel
from aggregator.session.refused import Memory, Refusal
from aggregator.session.requested import Asked, RequestQueue, Split

ACKNOWLEDGE_NS = 10 * SECOND_NS  # an acknowledgement may take so long
NO_OBJECTION_NS = 2 * SECOND_NS  # after this a request counts as heard, if the exchange answers nothing but refusals

Key = tuple[Channel, str | None]


class Ask(bytes):
    """A frame of the outbox that subscribes or unsubscribes: exchanges count these.

    id: of its request
    ahead: how many frames of its step are still to be sent, this one included; none of them is sent before all
        of them may be
    """

    id: int = 0
    ahead: int = 1

    @classmethod
    def of(cls, frame: bytes, id: int) -> "Ask":
        """Mark a frame as part of a request."""
        ask = cls(frame)
        ask.id = id
        return ask


class Subscriptions:
    """The topics that one connection is to carry: asked for, acknowledged, refused, given up."""

    def __init__(self, stream: Stream, outbox: deque[bytes], memory: Memory | None = None) -> None:
        self._stream = stream
        self._outbox = outbox
        self._memory = Memory() if memory is None else memory
        self.reconnect_reason: str | None = None  # why a new connection is wanted
        self._next_id = 1
        self._wanted: dict[Key, tuple[Subscription, ...]] = {}
        self._by_name: dict[Hashable, dict[Subscription, None]] = {}  # those that are wanted, by the exchange's names
        self._queue = RequestQueue()
        self._open: dict[int, Asked] = {}  # requests that are neither confirmed nor refused
        self._waiting: dict[Subscription, Asked] = {}
        self._refused: dict[Subscription, Refusal] = {}  # topics that were refused on this connection
        self._held: dict[Subscription, None] = {}  # confirmed topics; a request that replaces others names them again
        self._abandoned: dict[Subscription, None] = {}  # topics that nobody wants but that cannot be unsubscribed
        self._kept = set[Subscription]()  # those of them that are wanted again: they come, whatever is answered now
        self._refused_at = -NO_OBJECTION_NS  # when the exchange has last refused something here
        self._may_ask = not stream.greets  # False: the exchange has not spoken yet
        self._is_serial = stream.replaces or not stream.acknowledges  # one request at a time is open

    def __iter__(self) -> Iterator[Subscription]:
        """Every topic that is wanted, once for each interval."""
        return (subscription for found in self._wanted.values() for subscription in found)

    def __len__(self) -> int:
        """How many topics the connection carries, as the exchange counts them."""
        return sum(map(len, self._wanted.values())) + len(self._abandoned)

    def of(self, key: Key) -> Sequence[Subscription]:
        """The wanted subscriptions of one topic."""
        return self._wanted.get(key, ())

    def refusal(self, key: Key) -> Refusal | None:
        """The exchange's word against a topic; None if any subscription of it may come."""
        found = [self._refused.get(s) for s in self.of(key)]
        return found[0] if found and all(found) else None

    def log_once(self, s: Subscription) -> bool:
        """Tell whether the exchange's word against a topic is to be logged: once, however often it is repeated."""
        refusal = self._memory.refusals.get(s)
        is_news = refusal is None or refusal.is_news
        if refusal is not None:
            refusal.is_news = False
        return is_news

    def is_confirmed(self, key: Key) -> bool:
        """Tell whether a topic was asked for, and neither refused nor still without an answer."""
        wanted = self.of(key)
        if not wanted or any(s in self._waiting or s in self._refused for s in wanted):
            return False
        if self._stream.replaces and (self._open or self._queue):
            return False  # one request that is refused may end all that came before it
        return not any(map(self._queue.names, wanted))

    @property
    def has_unsent(self) -> bool:
        """Tell whether some request has not left yet."""
        return bool(self._queue) or any(asked.sent is None for asked in self._open.values())

    def is_unsent(self, key: Key) -> bool:
        """Tell whether a topic is about to be asked for: its request has not left yet."""
        asked = [(s, self._waiting.get(s)) for s in self.of(key)]
        return any(self._queue.names(s) or (a is not None and a.sent is None) for s, a in asked)

    def next_id(self) -> int:
        """A number for a request, unique on the connection."""
        self._next_id += 1
        return self._next_id - 1

    # --- what is wanted ---------------------------------------------------------------------------------------------

    def subscribe(self, subscriptions: Collection[Subscription], now: int) -> tuple[list[Key], list[Key]]:
        """Want topics, and ask for those that are not refused. Gives the topics asked for, and those that come already.

        A topic comes already if another topic has made the same request: some requests ask for a whole channel, and
        some names of the exchange stand for several channels of ours.
        """
        coming = {s for s in subscriptions if self._comes_with_another(s)} if self._wanted else set()
        for s in subscriptions:
            found = self._wanted.get(_key(s), ())
            if s not in found:
                self._wanted[_key(s)] = (*found, s)
                if self._stream.topic is not None:
                    self._by_name.setdefault(self._stream.topic(s), {})[s] = None
            if s in self._abandoned:
                del self._abandoned[s]
                self._kept.add(s)
        asked = [s for s in subscriptions if s not in coming and self._may_be_asked(s, now)]
        self._put(asked)
        self.send(now)
        return _keys(asked), _keys(coming)

    def _comes_with_another(self, s: Subscription) -> bool:
        """Tell whether the very same request was heard for another topic that is still wanted."""
        return any(
            other not in self._waiting and other not in self._refused and not self._queue.names(other)
            for other in self._alike(s, self._stream.subscribe)
        )

    def _alike(self, s: Subscription, ask: Subscribe) -> Iterable[Subscription]:
        """The other wanted topics that one and the same request asks for: they have one name, or make the same frames.

        The frames of the likeliest are compared where the exchange's names of topics are not declared.
        """
        if self._stream.topic is not None:
            return [other for other in self._by_name.get(self._stream.topic(s), ()) if other != s]
        mine = _frames(ask, s)
        return (other for other in self._likeliest(s) if mine and _frames(ask, other) == mine)

    def _likeliest(self, s: Subscription) -> list[Subscription]:
        """The wanted topics that may share a request with this one: those of its market, and one of its channel.

        If several markets may have one name, they are all of its channel.
        """
        found = [other for channel in CHANNELS for other in self._wanted.get((channel, s.raw_symbol), ()) if other != s]
        same = (
            w[0] for (channel, raw), w in self._wanted.items() if channel == s.channel and raw != s.raw_symbol and w
        )
        most = None if s.channel in self._stream.named else 1
        return [*found, *islice((other for other in same if other.interval == s.interval), most)]

    def unsubscribe(self, subscriptions: Collection[Subscription], now: int) -> None:
        """Want topics no more."""
        leaving = []
        asked_again = self._refused.keys() & self._waiting.keys()  # and may be granted this time
        for s in subscriptions:
            key = _key(s)
            found = self._wanted.pop(key, ())
            left = tuple(other for other in found if other != s)
            if left:
                self._wanted[key] = left
            if len(left) < len(found):
                leaving.append(s)
                self._forget_name(s)
            self._waiting.pop(s, None)
        gone = set(leaving)
        queued = set(filter(self._queue.asks_first, gone)) - self._kept
        self._queue.drop(gone)
        refused = (self._refused.keys() & gone) - asked_again - self._kept
        for s in leaving:
            self._held.pop(s, None)
            self._refused.pop(s, None)
        self._leave([s for s in leaving if s not in queued and s not in refused and not self._is_shared(s)], now)

    def _forget_name(self, s: Subscription) -> None:
        if self._stream.topic is None:
            return
        name = self._stream.topic(s)
        alike = self._by_name.get(name, {})
        alike.pop(s, None)
        if not alike:
            self._by_name.pop(name, None)

    def _is_shared(self, s: Subscription) -> bool:
        """Tell whether leaving this topic would end another one that is still wanted."""
        leave = self._stream.unsubscribe
        if leave is None or self._stream.replaces:
            return False
        return any(True for _ in self._alike(s, leave))

    def _leave(self, carried: Sequence[Subscription], now: int) -> None:
        """Unsubscribe from topics, as far as the exchange has a request for that."""
        if not carried:
            return
        if self._stream.replaces:
            self._queue.append(Asked(self.next_id(), []))  # a request that names all the others
        elif self._stream.unsubscribe is None:
            self._abandoned |= dict.fromkeys(carried)
        else:
            for part in _parts(carried, self._batch):
                self._outbox.extend(self._leaving(part, self.next_id()))
        self.send(now)

    def resubscribe(self, subscriptions: Sequence[Subscription], now: int) -> None:
        """Leave topics and ask for them again, each in one step: a topic that cannot be asked for yet is not left yet.

        Where only a new connection can do that, say that one is wanted. What waits for this already stays as it is.
        """
        if self._stream.unsubscribe is None and not self._stream.replaces:
            named = ", ".join(f"{s.channel} of {s.raw_symbol}" for s in subscriptions)
            self.reconnect_reason = f"{named} must be asked for again, and only a new connection can do that"
            return
        again = [s for s in subscriptions if not self._waits_to_be_left(s)]
        for s in again:
            self._held.pop(s, None)
        self._put(again, leaving=self._stream.unsubscribe is not None)
        self.send(now)

    def _waits_to_be_left(self, s: Subscription) -> bool:
        asked = self._waiting.get(s)
        is_next = asked is not None and asked.sent is None and asked.leave is not None and s in asked.topics
        return is_next or self._queue.leaves(s)

    def _leaving(self, topics: Sequence[Subscription], id: int) -> list[Ask]:
        """The frames that unsubscribe from topics."""
        leave = self._stream.unsubscribe
        return [] if leave is None else [Ask.of(frame, id) for frame in leave(topics, id)]

    def _may_be_asked(self, s: Subscription, now: int) -> bool:
        refusal = self._memory.refusals.get(s)
        if refusal is not None:
            self._refused[s] = refusal
        return refusal is None or refusal.due <= now

    @property
    def _batch(self) -> int:
        return min(self._memory.batch or self._stream.batch, self._stream.batch)

    def _put(self, subscriptions: Sequence[Subscription], *, leaving: bool = False) -> None:
        by_interval: dict[str, list[Subscription]] = {}
        doubted = self._memory.doubted
        for s in subscriptions:
            if s not in doubted:
                by_interval.setdefault(s.interval, []).append(s)
        for topics in by_interval.values():
            for part in _parts(topics, self._batch):
                leave = self.next_id() if leaving else None
                self._queue.append(Asked(self.next_id(), list(part), leave=leave))
        alone: dict[Hashable, list[Subscription]] = {}
        for s in subscriptions if doubted else ():
            if s in doubted:
                alone.setdefault(self._name(s), []).append(s)
        for topics in alone.values():
            leave = self.next_id() if leaving else None
            self._queue.append(Asked(self.next_id(), topics, leave=leave, is_alone=True))

    # --- asking -----------------------------------------------------------------------------------------------------

    def begin(self, now: int) -> None:
        """Ask for what has waited for the exchange's greeting."""
        self._may_ask = True
        self.send(now)

    def send(self, now: int) -> None:
        """Put every request that may be made now into the outbox."""
        while self._may_ask and self._queue and not self._must_wait():
            asked = self._queue.popleft()
            if not asked.topics and not self._stream.replaces:
                self._settle(asked)
                continue
            topics = [*self._held, *asked.topics] if self._stream.replaces else asked.topics
            self._open[asked.id] = asked
            self._waiting |= dict.fromkeys(asked.topics, asked)
            if not topics:
                self._pass(asked)
                if not self._queue and len(self):  # the exchange goes on: no request can name nothing
                    self.reconnect_reason = "what it carries is not wanted, and only a new connection ends that"
                continue
            frames = [Ask.of(frame, asked.id) for frame in self._stream.subscribe(topics, asked.id)]
            asked.unsent = len(frames)
            if asked.leave is not None:
                frames = [*self._leaving(topics, asked.leave), *frames]
                for at, frame in enumerate(frames):
                    frame.ahead = len(frames) - at
            self._outbox.extend(frames)
            if not frames:  # the address names them
                asked.sent = now

    def _must_wait(self) -> bool:
        """Tell whether the next request has to wait until those that are open are answered."""
        if not self._open:
            return False
        if self._is_serial or not self._stream.hangs_up:
            return self._is_serial
        return self._queue.next.is_alone or any(asked.is_alone for asked in self._open.values())

    def sent(self, ask: Ask, now: int) -> list[Key]:
        """Note that a frame of a request has left; with its last one the time for answers begins.

        Gives those of its topics that are still wanted.
        """
        asked = self._open.get(ask.id)
        if asked is None:
            return []
        asked.sent = now
        asked.unsent -= 1
        return _keys([s for s in asked.topics if s in self._wanted.get(_key(s), ())])

    def accepted(self, event: Accepted) -> list[Key]:
        """Take an acknowledgement. Gives the topics that it confirms."""
        if event.id is not None:
            asked = self._open.get(event.id)
            # A topic that was asked for once more since then waits for the later answer: it was left in between.
            confirmed = [] if asked is None else [s for s in asked.topics if self._waiting.get(s) is asked]
            if asked is not None and not self._is_awaited(asked):
                self._pass(asked)
        elif event.topic is not None:
            confirmed = self._of_name(event.topic)
        elif event.raw_symbol is None and event.channel is not None:
            confirmed = [s for s in self._waiting if s.channel == event.channel]
        else:
            confirmed = self._named(event.channel, event.raw_symbol)
        confirmed = [s for s in confirmed if not self._was_asked_before(s)]
        if not confirmed:
            self._pass_given_up(event)
        return self._confirm(confirmed)

    def _was_asked_before(self, s: Subscription) -> bool:
        """Tell whether an answer to a topic can only be that to an earlier request: the later one has not left yet."""
        last = self._waiting[s]
        if last.sent is not None or len(self._open) == 1:
            return False
        return any(asked.sent is not None and s in asked.topics for asked in self._open.values())

    def _is_awaited(self, asked: Asked) -> bool:
        """Tell whether some topic of a request still waits for the answer; if none does, nobody wants them any more."""
        return any(self._waiting.get(s) is asked for s in asked.topics)

    def _pass_given_up(self, event: Accepted | Refused) -> None:
        """Close the request that this answer is for, where nobody wants its topics any more."""
        for asked in self._open.values():
            if not self._is_awaited(asked) and any(self._is_meant(s, event) for s in asked.topics):
                self._pass(asked)
                return

    def _is_meant(self, s: Subscription, event: Accepted | Refused) -> bool:
        if event.topic is not None:
            return self._stream.topic is not None and self._stream.topic(s) == event.topic
        return event.raw_symbol == s.raw_symbol and event.channel in {None, s.channel}

    def _confirm(self, topics: Iterable[Subscription]) -> list[Key]:
        confirmed = []
        for s in topics:
            asked = self._waiting.pop(s, None)
            if asked is None:
                continue
            confirmed.append(s)
            self._forgive(s)
            if not self._is_awaited(asked):
                self._pass(asked)
        return _keys(confirmed)

    def _forgive(self, s: Subscription) -> None:
        self._refused.pop(s, None)
        self._memory.refusals.pop(s, None)
        self._memory.doubted.discard(s)

    def _pass(self, asked: Asked) -> None:
        """Close a request that was heard, or of which no topic is left."""
        if self._open.pop(asked.id, None) is None:
            return
        self._held |= {s: None for s in asked.topics if s in self.of(_key(s)) and s not in self._refused}
        self._settle(asked)

    def _settle(self, asked: Asked) -> None:
        split = asked.split
        if split is None:
            return
        split.open -= 1
        if not split.open and not split.has_culprit and asked.topics:
            self._memory.batch = min(self._batch, len(asked.topics))

    # --- refusals ---------------------------------------------------------------------------------------------------

    def refused(self, event: Refused, now: int) -> list[Subscription]:
        """Take a refusal. Gives what is refused; a request refused as a whole is asked again in halves."""
        asked = self._open.get(event.id) if event.id is not None else self._oldest()
        if event.topic is None and event.channel is None and event.raw_symbol is None:
            return [] if asked is None else self._refused_whole(asked, event, now)
        by_name = event.topic is not None
        named = self._of_name(event.topic) if by_name else self._named(event.channel, event.raw_symbol)
        if not named and event.id is None:
            self._pass_given_up(event)
        if event.whole and event.id is None:
            asked = self._waiting.get(named[0]) if named else None
        refused = self._refuse(named, event.reason, event.meaning, now)
        if (event.whole or event.id is not None) and asked is not None and asked.id in self._open:
            self._ask_rest(asked, now)
        return refused

    def _refused_whole(self, asked: Asked, event: Refused, now: int) -> list[Subscription]:
        """Take a refusal that names no topic: it seems to mean this request. Gives what is refused."""
        if not asked.topics:  # it named again what had been confirmed before: now one of these is refused
            asked.topics, self._held = list(self._held), {}
            self._waiting |= dict.fromkeys(asked.topics, asked)
        topics = [s for s in asked.topics if self._waiting.get(s) is asked]
        if not topics:  # nobody wants them any more: they were given up before the answer came
            self._pass(asked)
            self.send(now)
            return []
        if len(topics) <= 1 or event.meaning == "passing":
            return self._refuse(topics, event.reason, event.meaning, now)
        self._halve(asked, topics, now)
        return []

    def _ask_rest(self, asked: Asked, now: int) -> None:
        """Ask again for the other topics of a request that was refused as a whole because of one."""
        self._hold_granted(asked)
        rest = [s for s in asked.topics if self._waiting.get(s) is asked]
        for s in rest:
            self._waiting.pop(s, None)
        if rest:
            self._queue.appendleft(Asked(self.next_id(), rest))
        self.send(now)

    def _hold_granted(self, asked: Asked) -> None:
        """Close a request that is refused, of which some topics may have been granted before: they come."""
        del self._open[asked.id]
        granted = [s for s in asked.topics if s not in self._waiting and s not in self._refused]
        self._held |= {s: None for s in granted if s in self.of(_key(s))}

    def _oldest(self) -> Asked | None:
        """The request that is meant by a refusal which names none: exchanges answer in turn."""
        return next(iter(self._open.values()), None)

    def _halve(self, asked: Asked, topics: Sequence[Subscription], now: int) -> None:
        self._hold_granted(asked)
        if asked.split is not None:
            asked.split.has_culprit = True
        if self._stream.hangs_up:
            self._memory.doubted.update(topics)  # no half may be asked for before it does
        middle = (len(topics) + 1) // 2
        split = Split(open=2)
        halves = [Asked(self.next_id(), list(half), split=split) for half in (topics[:middle], topics[middle:])]
        for s in topics:
            self._waiting.pop(s, None)
        self._queue.appendleft(*halves)
        self._restore()
        self.send(now)

    def _refuse(self, topics: Sequence[Subscription], reason: str, meaning: Meaning, now: int) -> list[Subscription]:
        said = f"refused: {reason}"
        for s in topics:
            self._refused[s] = self._memory.note(s, said, meaning, now, hangs_up=self._stream.hangs_up)
            asked = self._waiting.pop(s, None)
            self._held.pop(s, None)
            if asked is not None and not self._is_awaited(asked):
                if asked.split is not None:
                    asked.split.has_culprit = True
                self._pass(asked)
        if topics:
            self._refused_at = now
            self._restore()
        self.send(now)
        return list(topics)

    def hung_up(self, reason: str, now: int) -> list[Subscription]:
        """The connection is closed, which may be the exchange's way to say that it does not know a market.

        If it has just refused something in words, that is why. Else each topic that has had no answer is asked for
        alone on later connections, behind all others. If this was such a one, its market is refused. Gives the topics
        of it.
        """
        if now - self._refused_at < NO_OBJECTION_NS:
            return []
        unsent = set(self._outbox)
        owed = [
            s
            for asked in self._open.values()
            for s in asked.topics
            if self._waiting.get(s) is asked and unsent.isdisjoint(self._stream.subscribe([s], asked.id))
        ]
        doubted = self._memory.doubted
        if len(set(map(self._name, owed))) != 1 or not doubted.issuperset(owed):
            doubted.update(owed)
            return []
        market = [
            s
            for s in self
            if s.raw_symbol == owed[0].raw_symbol and (s in self._waiting or s in doubted or self._queue.names(s))
        ]
        doubted.update(market)
        for s in market:
            self._memory.note(s, f"refused: {reason}", "unknown", now, hangs_up=True)
        return market

    def _name(self, s: Subscription) -> Hashable:
        """The exchange's name of a topic, where that is known."""
        return s if self._stream.topic is None else self._stream.topic(s)

    def _restore(self) -> None:
        """Ask again for confirmed topics that a refused request has ended by taking their place."""
        if self._stream.replaces and self._held:
            self._queue.appendleft(Asked(self.next_id(), []))

    # --- time -------------------------------------------------------------------------------------------------------

    def again(self, now: int) -> list[Key]:
        """Ask again for refused topics that are due. Gives these topics."""
        again = [
            s
            for s, refusal in self._refused.items()
            if self._memory.is_due(s, refusal, now) and s not in self._waiting and not self._queue.names(s)
        ]
        if again:
            self._put(again)
            self.send(now)
        return _keys(again)

    def overdue(self, now: int) -> list[Key]:
        """The topics that were not confirmed in time, each given once; none if the exchange's silence means consent."""
        limit = ACKNOWLEDGE_NS if self._stream.acknowledges else NO_OBJECTION_NS
        asked_whole = [asked for asked in self._open.values() if not asked.unsent]
        late = [asked for asked in asked_whole if asked.sent is not None and now - asked.sent > limit]
        told: list[Subscription] = []
        for asked in late:
            topics = [s for s in asked.topics if self._waiting.get(s) is asked]
            for s in topics:
                del self._waiting[s]
                if not self._stream.acknowledges:
                    self._forgive(s)
            told += topics if self._stream.acknowledges else []
            self._pass(asked)
        if late:
            self.send(now)
        return _keys(told)

    def _of_name(self, name: Hashable) -> list[Subscription]:
        """The subscriptions that an answer means by the exchange's own name of a topic."""
        return [s for s in self._by_name.get(name, ()) if s in self._waiting]

    def _named(self, channel: Channel | None, raw_symbol: str | None) -> list[Subscription]:
        """The subscriptions that an answer means by a topic; of several intervals the one asked for first."""
        if channel is None:
            return [s for s in self._waiting if raw_symbol is not None and s.raw_symbol == raw_symbol]
        found = [s for s in self.of((channel, raw_symbol)) if s in self._waiting]
        return [] if raw_symbol is None else sorted(found, key=lambda s: self._waiting[s].id)[:1]


def _key(s: Subscription) -> Key:
    return s.channel, s.raw_symbol


def _keys(topics: Iterable[Subscription]) -> list[Key]:
    return list(dict.fromkeys(map(_key, topics)))


def _frames(ask: Subscribe, s: Subscription) -> list[bytes]:
    """The frames of a request for one topic, with a number that is always the same."""
    return list(ask([s], 0))


def _parts(topics: Sequence[Subscription], size: int) -> Iterator[Sequence[Subscription]]:
    return (topics[start : start + size] for start in range(0, len(topics), size))
