"""Topics that an exchange knows by another name than the instrument's: an index that several perpetuals share.

`spoken` gives a stream that speaks of raw symbols alone, so that nothing else knows of the other names.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from msgspec import structs

from aggregator.exchange import Accepted, Event, Parse, Refused, Stream, Subscribe, Subscription
from aggregator.records import CHANNEL_OF, Channel, Instrument, Record


class Names:
    """The raw symbols behind each name of the exchange: those that were asked for, or else all that are known."""

    def __init__(self, stream: Stream, instruments: Mapping[str, Instrument]) -> None:
        self._stream = stream
        self._instruments = instruments
        self._asked: dict[tuple[Channel, str], dict[str, None]] = {}
        self._known: dict[tuple[Channel, str], list[str]] = {}  # names that were looked up without being asked for

    def theirs(self, s: Subscription) -> str:
        """The exchange's name of a topic."""
        name, instrument = self._stream.named.get(s.channel), self._instruments.get(s.raw_symbol)
        return s.raw_symbol if name is None or instrument is None else name(instrument) or s.raw_symbol

    def ours(self, channel: Channel, name: str) -> list[str]:
        """The raw symbols of a name."""
        asked = self._asked.get((channel, name))
        if asked is not None:
            return list(asked)
        known = self._known.get((channel, name))
        if known is None:
            known = [raw for raw in self._instruments if self.theirs(Subscription(channel, raw)) == name] or [name]
            self._known[channel, name] = known
        return known

    def subscribe(self, wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        """The stream's own frames that subscribe, with the exchange's names in them."""
        for s in wanted:
            if s.channel in self._stream.named:
                self._asked.setdefault((s.channel, self.theirs(s)), {})[s.raw_symbol] = None
        return self._stream.subscribe([self._named(s) for s in wanted], id)

    def unsubscribing(self, ask: Subscribe) -> Subscribe:
        """The stream's own function that unsubscribes, with the exchange's names in its frames."""
        return lambda wanted, number: ask([self._named(s) for s in wanted], number)

    def topic(self, topic: Callable[[Subscription], Hashable]) -> Callable[[Subscription], Hashable]:
        """The stream's own function that names a topic, with the exchange's names in it."""
        return lambda s: topic(self._named(s))

    def _named(self, s: Subscription) -> Subscription:
        return structs.replace(s, raw_symbol=self.theirs(s)) if s.channel in self._stream.named else s

    def reading(self) -> Parse:
        """The stream's reader, but an event about a name comes once for each raw symbol behind it."""
        parse = self._stream.reader()

        def read(frame: bytes) -> Iterable[Event]:
            for event in parse(frame):
                channel, name = self._about(event)
                if channel is None or channel not in self._stream.named or name is None:
                    yield event
                else:
                    yield from (structs.replace(event, raw_symbol=raw) for raw in self.ours(channel, name))

        return read

    def _about(self, event: Event) -> tuple[Channel | None, str | None]:
        if isinstance(event, Record):
            return CHANNEL_OF.get(type(event)), event.raw_symbol
        return (event.channel, event.raw_symbol) if isinstance(event, Accepted | Refused) else (None, None)


def of_market(parse: Parse, raw_symbol: str) -> Parse:
    """A reader that gives what names no market to the one market of its connection."""

    def read(frame: bytes) -> Iterable[Event]:
        for event in parse(frame):
            if isinstance(event, Record) and event.raw_symbol is None:
                event.raw_symbol = raw_symbol
            elif isinstance(event, Refused) and event.raw_symbol is None:
                yield structs.replace(event, raw_symbol=raw_symbol)
                continue
            yield event

    return read


def each_once(ask: Subscribe, topic: Callable[[Subscription], Hashable]) -> Subscribe:
    """A function that subscribes, or the reverse, and gets the first of the topics that have one name."""

    def ask_once(wanted: Sequence[Subscription], number: int) -> Iterable[bytes]:
        first: dict[Hashable, Subscription] = {}
        for s in wanted:
            first.setdefault(topic(s), s)
        return ask(list(first.values()), number)

    return ask_once


def spoken(stream: Stream, instruments: Mapping[str, Instrument]) -> Stream:
    """A stream that is spoken to, and speaks, of raw symbols alone, and is asked for each of its topics once."""
    if stream.topic is not None:
        stream = structs.replace(
            stream,
            subscribe=each_once(stream.subscribe, stream.topic),
            unsubscribe=None if stream.unsubscribe is None else each_once(stream.unsubscribe, stream.topic),
        )
    if not stream.named:
        return stream
    names = Names(stream, instruments)
    return structs.replace(
        stream,
        topic=None if stream.topic is None else names.topic(stream.topic),
        subscribe=names.subscribe,
        unsubscribe=None if stream.unsubscribe is None else names.unsubscribing(stream.unsubscribe),
        parse=None,
        parser=names.reading,
        tells_past=(),  # the reader below it has marked it
    )
