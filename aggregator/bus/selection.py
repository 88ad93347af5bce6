"""Topics and the patterns that name them: `channel:exchange:symbol`, with `*` for any text in any part."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from typing import NamedTuple

from aggregator.errors import AggregatorError, nearest
from aggregator.records import CHANNELS, Channel, Gap, Health, Record, Status, Summary, channel_of

ALWAYS = ("gap", "health", "summary")  # records that come with every topic, and are channels of their own to a pattern
CHANNEL_NAMES = (*CHANNELS, *ALWAYS)
LONGEST_PATTERN = 256  # characters
ALONE: Mapping[Channel, tuple[str, ...]] = {channel: (channel,) for channel in CHANNELS}
TOLD_BY_CHANNEL = (Gap, Health)  # their type does not tell the channel
KIND: Mapping[type[Record], str] = {Gap: "gap", Health: "health", Summary: "summary"}


class BadPattern(AggregatorError):
    """A text is not a pattern; the words say why, and what is allowed."""


class RecordTopic(NamedTuple):
    """The topic of a record.

    channels: those whose subscribers it reaches
    names: unified and raw symbol; empty for what concerns every symbol
    """

    channels: tuple[str, ...]
    exchange: str
    names: tuple[str, ...]

    @property
    def is_wide(self) -> bool:
        """Tell whether it is about more than one channel: then without a symbol it concerns every symbol."""
        return len(self.channels) > 1


def topic_key(record: Record) -> tuple[object, ...]:
    """The key by which something is remembered of a record's topic: quicker to make than the topic itself."""
    key: tuple[object, ...] = _named(record)
    return (*key, record.channel) if isinstance(record, TOLD_BY_CHANNEL) else key


def topic_keys(records: Sequence[Record]) -> list[tuple[object, ...]]:
    """The keys of many records, each as `topic_key` has it, in a third of the time."""
    if not set(map(type, records)).isdisjoint(TOLD_BY_CHANNEL):
        return list(map(topic_key, records))
    # written out, since fields read in a comprehension take half the time of `attrgetter`
    return [(record.__class__, record.exchange, record.symbol, record.raw_symbol) for record in records]


_named: Callable[[Record], tuple[object, ...]] = attrgetter("__class__", "exchange", "symbol", "raw_symbol")


def topic_of(record: Record) -> RecordTopic:
    """The topic of a record; a gap, health or summary also belongs to the channels that it is about."""
    names = _names(record.symbol, record.raw_symbol)
    channel = channel_of(record)
    kind = type(record)
    if kind in KIND:
        return RecordTopic(_channels(KIND[kind], channel), record.exchange, names)
    if kind is Status and not names:
        return RecordTopic(CHANNELS, record.exchange, names)  # the exchange's state concerns all its listeners
    return RecordTopic(ALONE[channel] if channel else (), record.exchange, names)


@lru_cache(maxsize=2**14)
def _names(*names: str | None) -> tuple[str, ...]:
    """A market's names, the same in all its topics."""
    return tuple(dict.fromkeys(name for name in names if name is not None))


@cache
def _channels(kind: str, about: Channel | None) -> tuple[str, ...]:
    """The channels of a record of this kind: one text of each for thousands of topics."""
    return (kind, *((about,) if about else CHANNELS))


class Glob:
    """A text with `*` for any text: matched part by part, so that no pattern takes long, however hostile."""

    __slots__ = ("_first", "_last", "_least", "_middle")

    def __init__(self, text: str) -> None:
        self._first, *self._middle, self._last = text.split("*")  # there is at least one
        self._least = len(text) - text.count("*")

    def fitting(self, names: Iterable[str]) -> list[str]:
        """Those of many names that match."""
        longest = max((self._first, *self._middle, self._last), key=len)  # few names that do not match have it
        return [name for name in names if longest in name and self.matches(name)]

    def matches(self, name: str) -> bool:
        if len(name) < self._least or not name.startswith(self._first) or not name.endswith(self._last):
            return False
        at, end = len(self._first), len(name) - len(self._last)
        for part in self._middle:
            found = name.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True


class Pattern(NamedTuple):
    """The topics that a text names.

    channels: its first part names them
    is_choice: whether of each market one of these channels is enough, the first that there is
    """

    channels: tuple[str, ...]
    exchange: str
    symbol: str
    is_choice: bool = False

    @property
    def is_searched(self) -> bool:
        """Tell whether all names there are have to be looked at to find those that it means."""
        exchange, symbol = ("*" in text and text != "*" for text in (self.exchange, self.symbol))
        return symbol or (exchange and self.symbol == "*")

    def is_of(self, exchange: str) -> bool:
        """Tell whether it means topics of this exchange."""
        return Glob(self.exchange).matches(exchange) if "*" in self.exchange else self.exchange == exchange


def parse_pattern(text: str) -> Pattern:
    """Read `channel:exchange:symbol`; symbols may hold colons. Raises BadPattern, with what is allowed."""
    parts = text.split(":", 2)
    if len(parts) < 3 or not all(parts) or not text.isprintable():
        raise BadPattern(f"{_shown(text)} is not a topic; write channel:exchange:symbol, like trades:*:BTC/USDT")
    if len(text) > LONGEST_PATTERN:
        raise BadPattern(f"{_shown(text)} is longer than the {LONGEST_PATTERN} characters that a topic may have")
    channel, exchange, symbol = parts
    glob = Glob(channel) if "*" in channel else None
    channels = tuple(name for name in CHANNEL_NAMES if (glob.matches(name) if glob else name == channel))
    if not channels:
        meant = nearest(channel, CHANNEL_NAMES)
        hint = f"; did you mean {meant}?" if meant else ""
        raise BadPattern(f"{_shown(channel)} is not a channel; allowed: {', '.join(CHANNEL_NAMES)}{hint}")
    return Pattern(channels, exchange, symbol)


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else f"{text[:80]}...")


class Symbols:
    """The symbols of one channel and exchange that are wanted."""

    __slots__ = ("_globs", "exact", "is_all")

    def __init__(self) -> None:
        self.exact: set[str] = set()  # those that are named in full
        self._globs: list[Glob] = []
        self.is_all = False

    def add(self, text: str) -> None:
        if text == "*":
            self.is_all = True
        elif "*" in text:
            self._globs.append(Glob(text))
        else:
            self.exact.add(text)

    def fitting(self, names: Mapping[str, object]) -> Iterable[str]:
        """Those of many names that are wanted, each once."""
        if self.is_all:
            return names
        found = dict.fromkeys(name for name in self.exact if name in names)
        for glob in self._globs:
            found |= dict.fromkeys(glob.fitting(names))
        return found

    def matches(self, names: tuple[str, ...]) -> bool:
        if self.is_all or not self.exact.isdisjoint(names):
            return True
        return any(glob.matches(name) for glob in self._globs for name in names)


class Selection:
    """Many patterns as one: exact exchanges and symbols are looked up, only those with `*` are tried in turn."""

    __slots__ = ("_exact", "_globs", "patterns")

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        patterns = self.patterns = tuple(patterns)
        self._exact: dict[tuple[str, str], Symbols] = {}  # (channel, exchange)
        globs: dict[tuple[str, str], Symbols] = {}
        for pattern in patterns:
            among = globs if "*" in pattern.exchange else self._exact
            for channel in pattern.channels:
                among.setdefault((channel, pattern.exchange), Symbols()).add(pattern.symbol)
        self._globs: dict[str, list[tuple[Glob, Symbols]]] = {}
        for (channel, exchange), symbols in globs.items():
            self._globs.setdefault(channel, []).append((Glob(exchange), symbols))

    def wants(self, topic: RecordTopic) -> bool:
        """Tell whether a record of this topic is wanted; what concerns every symbol is, by who wants any.

        Data that names no symbol (an index without an instrument, say) is wanted by `*` alone.
        """
        return any(
            symbols.matches(topic.names) or (topic.is_wide and not topic.names)
            for channel in topic.channels
            for symbols in self._of(channel, topic.exchange)
        )

    def parts(self) -> Iterator[tuple[str, str | Glob, Symbols]]:
        """The wanted symbols: those of a channel and an exchange, or of those exchanges that fit."""
        for (channel, exchange), symbols in self._exact.items():
            yield channel, exchange, symbols
        for channel, globs in self._globs.items():
            for glob, symbols in globs:
                yield channel, glob, symbols

    def _of(self, channel: str, exchange: str) -> Iterable[Symbols]:
        exact = self._exact.get((channel, exchange))
        if exact is not None:
            yield exact
        for glob, symbols in self._globs.get(channel, ()):
            if glob.matches(exchange):
                yield symbols
