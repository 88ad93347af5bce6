"""Topics on demand: had from an exchange while some subscriber of the feed asks for them, and a little longer.

`OnDemand` hears what each subscriber asks for, and an `Offer` for each exchange finds out what that means there. The
offer only chooses: it gives `Followed` the channels of each market that are asked for, and the runner makes of this,
as of a listing or a configuration, a difference to what it carries.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import NamedTuple

from aggregator.bus.bus import Bus
from aggregator.bus.demand import Demanded, NearSupply, Tell, Unmet
from aggregator.bus.selection import ALWAYS, Glob, Pattern
from aggregator.bus.view import Wanted
from aggregator.catalog.registry import connector_ids, installed_ids
from aggregator.config.config import ExchangeConfig
from aggregator.config.schema import why_not
from aggregator.daemon.followed import Followed
from aggregator.daemon.names import NamesOfMarkets
from aggregator.ingest.budget import Window
from aggregator.ingest.listing import Identity, identity
from aggregator.records import CHANNELS, SECOND_NS, Channel, Instrument
from aggregator.session.status import TopicStatus

MOST_OF_A_PATTERN = 100  # topics that one pattern may have brought
MOST_PATTERNS = 20  # patterns of one subscriber with * in the symbol that may have something brought
MOST_OF_A_SUBSCRIBER = 1000  # topics that one subscriber may have brought
CHANGES = (50, 1.0)  # so many topics of an exchange are begun or released in so many seconds
MOST_HINTS = 10  # names of one request for which it is searched what was meant
GATHER_S = 0.02  # wishes of so long are one change
LOOK_S = 1.0  # so often it is looked whether the exchange has refused the first of a choice
SHARE = 10  # a change is made again after at least so many times what it took
STEP = 100  # others may have their turn after so many wishes
UNASKED: Collection[str] = ("instruments", *ALWAYS)  # they come by themselves

Place = tuple[Channel, Identity]  # a topic within its exchange


class Meant(NamedTuple):
    """The topics that a wish means; why there are none, or not all; and names that may have been meant."""

    topics: dict[Place, Instrument]
    reason: str | None = None
    nearest: tuple[str, ...] = ()


class Asker:
    """One subscriber of the feed, and all that it asks for."""

    __slots__ = ("brought", "tell", "wide", "wishes")

    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self.wishes: dict[str, Wish] = {}
        self.brought = 0  # topics, each counted once for each of its wishes
        self.wide = 0  # wishes that may have several markets brought


class Wish:
    """One pattern of one asker."""

    __slots__ = ("asker", "is_counted", "is_wide", "pattern", "text", "topics", "unmet")

    def __init__(self, text: str, pattern: Pattern, asker: Asker) -> None:
        self.text = text
        self.pattern = pattern
        self.asker = asker
        self.is_wide = "*" in pattern.symbol
        self.is_counted = False  # it is one of the few patterns that may have something brought
        self.topics: dict[AskedTopic, None] = {}
        self.unmet: Unmet | None = None  # the reason that was told last


class AskedTopic:
    """A topic that somebody asks for, or did lately.

    until: when it is released (monotonic ns), once nobody asks for it any more
    is_begun: whether it is among those that the runner is to carry
    is_refused: whether the exchange has refused it when that was looked at last, as it is for a choice
    unserved: why no feed of the exchange carries it; null: one does, or it is not known yet
    """

    __slots__ = ("channel", "instrument", "is_begun", "is_refused", "offer", "unserved", "until", "wishes")

    def __init__(self, offer: "Offer", channel: Channel, instrument: Instrument) -> None:
        self.offer = offer
        self.channel = channel
        self.instrument = instrument
        self.wishes: dict[Wish, None] = {}
        self.until = 0
        self.is_begun = self.is_refused = False
        self.unserved: str | None = None

    @property
    def place(self) -> Place:
        return self.channel, identity(self.instrument)


class Offer:
    """All that may be asked for of one exchange, and what is."""

    def __init__(self, config: ExchangeConfig, bus: Bus, trouble: Callable[[], str | None]) -> None:
        """Begin without a listing.

        trouble: says why the exchange is not there, where that is known
        """
        self.configure(config)
        self._bus = bus
        self._trouble = trouble
        self._followed: Followed | None = None
        self._names: NamesOfMarkets | None = None
        self._wishes: dict[Wish, None] = {}
        self._topics: dict[Place, AskedTopic] = {}
        self._by_name: dict[tuple[Channel, str | None], dict[AskedTopic, None]] = {}  # markets may share a raw symbol
        self._weight = 0  # subscriptions that its topics take
        self._waiting: dict[AskedTopic, None] = {}  # those that are not begun yet
        self._lingering: dict[AskedTopic, None] = {}  # those that nobody asks for, the first to go in front
        self._window = Window(CHANGES)
        self._changed = asyncio.Event()

    def configure(self, config: ExchangeConfig) -> None:
        """Offer what another configuration names; `meeting` sees what every wish means then."""
        self.config = config
        self._channels = [channel for channel in CHANNELS if channel in config.channels]

    # --- wishes -------------------------------------------------------------------------------------------------------

    def take(self, wish: Wish, *, hint: bool) -> None:
        """Bring what a wish means here, as far as that can be had; its `unmet` says what cannot."""
        if self.config.on_demand:
            self._wishes[wish] = None
        self._meet(wish, hint=hint)

    def drop(self, wish: Wish) -> None:
        """Forget a wish; topics that nobody else asks for linger."""
        self._wishes.pop(wish, None)
        for topic in [topic for topic in wish.topics if topic.offer is self]:
            self._leave(topic, wish)

    def _meet(self, wish: Wish, *, hint: bool) -> None:
        found, reason, nearest = self._find(wish, hint=hint)
        for topic in [topic for topic in wish.topics if topic.offer is self and topic.place not in found]:
            self._leave(topic, wish)
        for (channel, _), instrument in found.items():
            reason = self._join(wish, channel, instrument) or reason
        if wish.pattern.exchange == self.config.id:
            wish.unmet = None if reason is None else Unmet(wish.text, reason, nearest)

    def _find(self, wish: Wish, *, hint: bool) -> Meant:
        """Say what a wish means now, or why nothing of it can be had."""
        pattern, config, followed = wish.pattern, self.config, self._followed
        channels = [channel for channel in pattern.channels if channel in self._channels]
        if not channels:
            return Meant({}, self._of_channels(pattern))
        if followed is None:
            return Meant({}, self._not_there())
        if wish.is_wide:
            return self._find_wide(wish, followed, channels) if config.on_demand else Meant({})
        names = self._names_of(followed)
        everywhere = names.named(pattern.symbol)
        if not everywhere:
            nearest = names.near(pattern.symbol) if hint else ()
            return Meant({}, f"{config.id} lists no {pattern.symbol!a:.80}", nearest)
        listed = [instrument for instrument in everywhere if followed.is_ours(instrument)]
        if not listed:
            return Meant({})  # another process gathers it, and says what can be had
        found = [instrument for instrument in listed if followed.offered(instrument) is not None]
        topics = {place: one for one in found for place in self._places(pattern, channels, one, followed)}
        return Meant(topics if config.on_demand else {}, None if found else self._why_not(listed[0], followed))

    def _find_wide(self, wish: Wish, followed: Followed, channels: Sequence[Channel]) -> Meant:
        """Find the topics of a pattern with a `*` in the symbol: all of them, or none where they are too many."""
        if "*" in wish.pattern.exchange:
            return Meant({})
        found: dict[Place, Instrument] = {}
        is_elsewhere = False  # another process gathers some of it, and says what can be had
        for instrument in self._names_of(followed).fitting(Glob(wish.pattern.symbol)):
            is_elsewhere = is_elsewhere or not followed.is_ours(instrument)
            if followed.offered(instrument) is not None:
                places = self._places(wish.pattern, channels, instrument, followed)
                found |= dict.fromkeys(places, instrument)
            if len(found) > MOST_OF_A_PATTERN:
                before = {topic.place: topic.instrument for topic in wish.topics if topic.offer is self}
                words = f"it means more than {MOST_OF_A_PATTERN} topics, and none is brought for that; name markets"
                return Meant(before, words)
        return Meant(found, None if found or is_elsewhere else f"no market of {self.config.id} fits")

    def _places(
        self, pattern: Pattern, channels: Sequence[Channel], instrument: Instrument, followed: Followed
    ) -> list[Place]:
        """The topics of a market that a pattern means.

        Of a choice it is the first that a feed carries, and where the exchange refuses that the next one beside it: a
        refusal may be over some day.
        """
        places = [(channel, identity(instrument)) for channel in channels]
        if not pattern.is_choice:
            return places
        served = [place for place in places if followed.serves(place[0], instrument)] or places[:1]
        last = next((at for at, place in enumerate(served) if not self._is_refused(place)), len(served))
        return served[: last + 1]

    def _is_refused(self, place: Place) -> bool:
        topic = self._topics.get(place)
        return topic is not None and topic.is_refused

    def _choose_anew(self, followed: Followed) -> None:
        """See which topics of choices the exchange has refused since, or takes again."""
        for wish in [wish for wish in self._wishes if wish.pattern.is_choice]:
            changed = False
            for topic in [topic for topic in wish.topics if topic.offer is self]:
                is_refused = followed.runner.is_refused(topic.channel, topic.instrument.raw_symbol or "")
                changed = changed or is_refused != topic.is_refused
                topic.is_refused = is_refused
            if changed:
                self._meet_again(wish)

    def _not_there(self) -> str:
        return f"{self.config.id} is not there yet: {self._trouble() or 'its instruments are being asked for'}"

    def _of_channels(self, pattern: Pattern) -> str | None:
        if all(channel in UNASKED for channel in pattern.channels):
            return None
        named = ", ".join(self.config.channels)
        return f"the configuration has no such channel of {self.config.id}: {named}"

    def _why_not(self, instrument: Instrument, followed: Followed) -> str | None:
        if not followed.is_named(instrument):
            return f"the configuration does not name it among the symbols of {self.config.id}"
        return followed.why_not(instrument)

    def _names_of(self, followed: Followed) -> NamesOfMarkets:
        if self._names is None:
            self._names = NamesOfMarkets()
            for _ in self._names.reading(followed.listed):
                pass
        return self._names

    def _join(self, wish: Wish, channel: Channel, instrument: Instrument) -> str | None:
        """Add a wish to a topic. Gives the reason where it cannot be had, or there is no room for one more."""
        topic = self._topics.get((channel, identity(instrument)))
        if topic is not None and topic in wish.topics:
            return topic.unserved
        if wish.asker.brought >= MOST_OF_A_SUBSCRIBER:
            return f"one subscriber has at most {MOST_OF_A_SUBSCRIBER} topics brought"
        if topic is None:
            weight = self._weight_of(channel)
            if self._weight + weight > self.config.max_topics:
                return f"there is no room for one more: max_topics of {self.config.id} is {self.config.max_topics}"
            topic = self._topics[channel, identity(instrument)] = AskedTopic(self, channel, instrument)
            self._by_name.setdefault((channel, instrument.raw_symbol), {})[topic] = None
            self._weight += weight
            self._waiting[topic] = None
            if instrument.raw_symbol is not None:
                self._bus.views.tell([Wanted(channel, self.config.id, instrument.raw_symbol, instrument.symbol)])
        topic.wishes[wish] = wish.topics[topic] = None
        wish.asker.brought += 1
        self._lingering.pop(topic, None)
        self._changed.set()
        return topic.unserved

    def _weight_of(self, channel: Channel) -> int:
        return {"candles": len(self.config.intervals), "orders": 2}.get(channel, 1)  # orders bring the book with them

    def _leave(self, topic: AskedTopic, wish: Wish) -> None:
        del topic.wishes[wish], wish.topics[topic]
        wish.asker.brought -= 1
        if topic.wishes:
            return
        if not topic.is_begun:
            self._forget(topic)
            return
        topic.until = _now() + int(self.config.linger * SECOND_NS)
        self._lingering[topic] = None
        self._changed.set()

    def _forget(self, topic: AskedTopic) -> None:
        del self._topics[topic.place]
        alike = self._by_name[topic.channel, topic.instrument.raw_symbol]
        del alike[topic]
        if not alike:
            del self._by_name[topic.channel, topic.instrument.raw_symbol]
        self._weight -= self._weight_of(topic.channel)
        self._waiting.pop(topic, None)
        self._lingering.pop(topic, None)

    # --- what is carried ----------------------------------------------------------------------------------------------

    def channels_of(self, instrument: Instrument) -> list[Channel]:
        """The channels of a market that are to be carried."""
        return [
            channel
            for channel in self._channels
            if (topic := self._topics.get((channel, identity(instrument)))) is not None and topic.is_begun
        ]

    def markets(self) -> list[Instrument]:
        """The markets of which something is to be carried."""
        begun = (topic.instrument for topic in self._topics.values() if topic.is_begun)
        return list({identity(instrument): instrument for instrument in begun}.values())

    def meeting(self, followed: Followed) -> Iterator[None]:
        """A listing has come, the first or a later one: see what every wish means now; in steps."""
        if not self.config.on_demand:
            self._followed, self._names = followed, None
            return
        names = NamesOfMarkets()
        yield from names.reading(followed.listed)
        self._followed, self._names = followed, names
        for at, topic in enumerate(list(self._topics.values())):
            offered = followed.offered(topic.instrument)
            if offered is not None:
                topic.instrument = offered
            elif self._topics.get(topic.place) is topic:
                for wish in list(topic.wishes):
                    del topic.wishes[wish], wish.topics[topic]
                    wish.asker.brought -= 1
                self._forget(topic)
            if at % STEP == STEP - 1:
                yield
        for at, wish in enumerate(list(self._wishes)):
            if wish in self._wishes:
                self._meet_again(wish)
            if at % STEP == STEP - 1:
                yield
        self._begin_some(_now())

    def _meet_again(self, wish: Wish) -> None:
        before = wish.unmet
        self._meet(wish, hint=before is None or bool(before.nearest))
        if wish.unmet is not None and (before is None or wish.unmet.reason != before.reason):
            wish.asker.tell([wish.unmet])

    def close(self) -> None:
        """The exchange has ended, to be tried again: what is asked for is kept, and nothing lingers."""
        self._followed = self._names = None
        for topic in list(self._lingering):
            self._forget(topic)

    def release(self) -> None:
        """Nothing is offered here any more: every wish is let go."""
        self._followed = self._names = None
        for topic in list(self._topics.values()):
            for wish in list(topic.wishes):
                del topic.wishes[wish], wish.topics[topic]
                wish.asker.brought -= 1
            self._forget(topic)
        self._wishes.clear()

    async def run(self, followed: Followed) -> None:
        """Have the runner carry what is asked for, as that changes, until cancelled."""
        while True:
            await self._sleep()
            await asyncio.sleep(GATHER_S)
            self._changed.clear()
            self._choose_anew(followed)
            if not self._begin_some(_now()):
                continue
            begun = time.perf_counter()
            await followed.change()
            self._tell_unserved(followed)
            await asyncio.sleep((time.perf_counter() - begun) * SHARE)

    async def _sleep(self) -> None:
        """Wait until something is asked for or left, or is due."""
        now = _now()
        waits = [self._window.wait(1, now)] if self._waiting else []
        waits += [max(0, topic.until - now, self._window.wait(1, now)) for topic in self._first_lingering()]
        waits += [int(LOOK_S * SECOND_NS)] if any(wish.pattern.is_choice for wish in self._wishes) else []
        try:
            async with asyncio.timeout(min(waits) / SECOND_NS if waits else None):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _first_lingering(self) -> list[AskedTopic]:
        return [next(iter(self._lingering))] if self._lingering else []

    def _begin_some(self, now: int) -> bool:
        """Begin topics that wait, of every subscriber in turn, and release those that are due, as the budget allows."""
        some = False
        for topic in self._in_turn() if self._waiting else ():
            if self._window.wait(1, now) > 0:
                return some
            self._window.spend(1, now)
            del self._waiting[topic]
            topic.is_begun = some = True
        while self._lingering:
            topic = next(iter(self._lingering))
            if topic.until > now or self._window.wait(1, now) > 0:
                return some
            self._window.spend(1, now)
            self._forget(topic)
            some = True
        return some

    def _in_turn(self) -> list[AskedTopic]:
        """The topics that wait, of one subscriber after the other: nobody's thousand keeps another's one waiting."""
        queues: dict[int, list[AskedTopic]] = {}
        for topic in self._waiting:
            queues.setdefault(id(next(iter(topic.wishes)).asker), []).append(topic)
        return [topic for row in zip_longest(*queues.values()) for topic in row if topic is not None]

    def _tell_unserved(self, followed: Followed) -> None:
        """Tell who asks for a topic that no feed carries."""
        for channel, instruments in followed.runner.unserved.items():
            for instrument in instruments:
                topic = self._topics.get((channel, identity(instrument)))
                if topic is None or topic.unserved is not None:
                    continue
                topic.unserved = followed.runner.why_not(channel, instrument.raw_symbol or "")
                for wish in topic.wishes:
                    wish.unmet = Unmet(wish.text, topic.unserved or "")
                    wish.asker.tell([wish.unmet])

    # --- for others ---------------------------------------------------------------------------------------------------

    def demanded(self, channel: Channel, raw_symbol: str | None) -> Demanded | None:
        """How a topic stands; null: nobody asks for it."""
        topics = self._by_name.get((channel, raw_symbol))
        if not topics:
            return None
        return self._standing(next((topic for topic in topics if topic.wishes), next(iter(topics))))

    def _standing(self, topic: AskedTopic) -> Demanded:
        if not topic.wishes:
            seconds = max(0, topic.until - _now()) / SECOND_NS
            return Demanded("lingering", f"nobody asks for it; it is released in {seconds:.0f} s")
        if self._followed is None:
            return Demanded("wanted", self._not_there())
        if not topic.is_begun:
            return Demanded("pending", f"at most {CHANGES[0]} topics are begun in {CHANGES[1]:g} s")
        raw_symbol = topic.instrument.raw_symbol
        health = list(self._bus.views.health(topic.channel, self.config.id, raw_symbol))
        if any(one.state not in {"subscribing", "down"} for one in health):
            return Demanded("live", None)
        runner = self._followed.runner
        is_refused = runner.is_refused(topic.channel, raw_symbol or "")
        told = health[0].reason or runner.why_not(topic.channel, raw_symbol or "") if health else None
        reason = topic.unserved or told or "it is about to be asked for"
        return Demanded("wanted" if is_refused or topic.unserved else "pending", reason)

    def absent(self) -> Iterator[TopicStatus]:
        """The topics that are not begun, and those that are asked for by name and cannot be had."""
        for topic in list(self._topics.values()):
            demanded = self.demanded(topic.channel, topic.instrument.raw_symbol)
            if demanded is not None and (self._followed is None or not topic.is_begun):
                yield TopicStatus(
                    exchange=self.config.id,
                    channel=topic.channel,
                    symbol=topic.instrument.symbol,
                    raw_symbol=topic.instrument.raw_symbol,
                    state="absent",
                    reason=demanded.reason,
                    demand=demanded.state,
                )
        told: set[tuple[Channel, str]] = set()
        for wish in list(self._wishes):
            symbol = wish.pattern.symbol
            if wish.unmet is None or wish.topics or wish.is_wide:
                continue
            for channel in wish.pattern.channels[: 1 if wish.pattern.is_choice else None]:
                if channel not in CHANNELS or (channel, symbol) in told:
                    continue
                told.add((channel, symbol))
                yield TopicStatus(
                    exchange=self.config.id,
                    channel=channel,
                    symbol=symbol,
                    raw_symbol=None,
                    state="absent",
                    reason=wish.unmet.reason,
                    demand="wanted",
                )


class OnDemand(NearSupply):
    """The wishes of all subscribers, over all exchanges of one daemon."""

    def __init__(self, exchanges: Sequence[ExchangeConfig], bus: Bus, troubles: Mapping[str, str]) -> None:
        """Offer what the configuration names; `troubles` says by exchange why it could not be run the last time."""
        self._bus = bus
        self._troubles = troubles
        self.offers = {config.id: self._offer(config) for config in exchanges}
        self._views = bus.views
        self._askers: dict[Hashable, Asker] = {}

    def _offer(self, config: ExchangeConfig) -> Offer:
        return Offer(config, self._bus, lambda: self._troubles.get(config.id))

    def add(self, config: ExchangeConfig) -> None:
        """Offer an exchange from now on, instead of what was offered of it: every wish that means it is met there."""
        self._drop(config.id)
        offer = self.offers[config.id] = self._offer(config)
        for wish in self._meaning(config.id):
            if "*" not in wish.pattern.exchange:
                wish.unmet = None
                self._take(wish, hint=False)
            else:
                offer.take(wish, hint=False)

    def remove(self, id: str) -> None:
        """Offer nothing of an exchange any more; who asks for a topic of it by name is told."""
        self._drop(id)
        for wish in self._meaning(id):
            if wish.pattern.exchange == id:
                wish.unmet = Unmet(wish.text, why_no_exchange(id))
                wish.asker.tell([wish.unmet])

    def _drop(self, id: str) -> None:
        offer = self.offers.pop(id, None)
        if offer is None:
            return
        offer.release()
        for wish in self._meaning(id):
            if wish.is_counted and wish.pattern.exchange == id:
                wish.is_counted = False
                wish.asker.wide -= 1

    def _meaning(self, id: str) -> list[Wish]:
        """Every wish that means topics of an exchange."""
        wishes = [wish for asker in self._askers.values() for wish in asker.wishes.values()]
        return [wish for wish in wishes if wish.pattern.is_of(id)]

    def want(self, who: Hashable, patterns: Mapping[str, Pattern], tell: Tell) -> list[Unmet]:
        """From now on `who` asks for these patterns, and for no others; none at all: it has gone."""
        asker = self._askers.get(who)
        if asker is None:
            if not patterns:
                return []
            asker = self._askers[who] = Asker(tell)
        for text in [text for text in asker.wishes if text not in patterns]:
            wish = asker.wishes.pop(text)
            asker.wide -= wish.is_counted
            for offer in self._offers_of(wish.pattern):
                offer.drop(wish)
        if not patterns:
            del self._askers[who]
            return []
        hints = 0
        for text, pattern in patterns.items():
            if text in asker.wishes:
                continue
            wish = asker.wishes[text] = Wish(text, pattern, asker)
            self._take(wish, hint=hints < MOST_HINTS)
            hints += wish.unmet is not None
        return [wish.unmet for wish in asker.wishes.values() if wish.unmet is not None]

    def _take(self, wish: Wish, *, hint: bool) -> None:
        pattern, asker = wish.pattern, wish.asker
        if "*" not in pattern.exchange:
            offer = self.offers.get(pattern.exchange)
            if offer is None:
                if pattern.exchange not in self._views:  # else it comes by a source
                    wish.unmet = Unmet(wish.text, why_no_exchange(pattern.exchange))
                return
            if wish.is_wide and offer.config.on_demand:
                if asker.wide >= MOST_PATTERNS:
                    words = f"only {MOST_PATTERNS} patterns with * in the symbol may have something brought"
                    wish.unmet = Unmet(wish.text, words)
                    return
                wish.is_counted = True
                asker.wide += 1
        for offer in self._offers_of(pattern):
            offer.take(wish, hint=hint)

    def demanded(self, channel: Channel, exchange: str, raw_symbol: str) -> Demanded | None:
        """How a topic stands that somebody asks for, or did lately; null: it is not brought on demand."""
        offer = self.offers.get(exchange)
        return None if offer is None else offer.demanded(channel, raw_symbol)

    def _offers_of(self, pattern: Pattern) -> list[Offer]:
        if "*" not in pattern.exchange:
            return [self.offers[pattern.exchange]] if pattern.exchange in self.offers else []
        glob = Glob(pattern.exchange)
        return [offer for id, offer in self.offers.items() if glob.matches(id)]


def _now() -> int:
    """The loop's time in ns: the same clock as that of the budgets."""
    return int(asyncio.get_running_loop().time() * SECOND_NS)


@lru_cache(maxsize=1024)
def why_no_exchange(id: str) -> str:
    """Why nothing can be had of an exchange that the configuration does not name."""
    words = why_not(id, is_built=id in {*connector_ids(), *installed_ids()})
    return words or f"{id} is not among the exchanges of the configuration"
