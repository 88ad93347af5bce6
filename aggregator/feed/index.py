"""Topics filed by channel, exchange and symbol: those that a selection wants are found without the others."""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from aggregator.bus.selection import RecordTopic, Selection, Symbols

T = TypeVar("T", bound=Hashable)


class _Shelf(Generic[T]):
    """The entries of one channel of one exchange.

    nameless: entries without a symbol
    wide: those of them that concern every symbol
    """

    __slots__ = ("by_name", "nameless", "wide")

    def __init__(self) -> None:
        self.by_name: dict[str, tuple[T, ...]] = {}  # few each: a dictionary would take five times the room
        self.nameless: dict[T, None] = {}
        self.wide: dict[T, None] = {}

    def find(self, symbols: Symbols) -> Iterator[T]:
        yield from self.nameless if symbols.is_all else self.wide
        for name in symbols.fitting(self.by_name):
            yield from self.by_name[name]


class TopicIndex(Generic[T]):
    """Values, each filed under its topic."""

    def __init__(self) -> None:
        self._shelves: dict[str, dict[str, _Shelf[T]]] = {}  # by channel and exchange

    def add(self, topic: RecordTopic, value: T) -> None:
        """File a value; once more is as good as once."""
        for channel in topic.channels:
            shelf = self._shelves.setdefault(channel, {}).setdefault(topic.exchange, _Shelf())
            for name in topic.names:
                found = shelf.by_name.get(name, ())
                if value not in found:
                    shelf.by_name[name] = (*found, value)
            if not topic.names:
                shelf.nameless[value] = None
                if topic.is_wide:
                    shelf.wide[value] = None

    def named(self, channel: str, exchange: str, name: str) -> list[T]:
        """The values of one channel and exchange that have this name."""
        shelf = self._shelves.get(channel, {}).get(exchange)
        return [] if shelf is None else list(shelf.by_name.get(name, ()))

    def beginning(self, channel: str, exchange: str, starts: tuple[str, ...]) -> list[str]:
        """The names of one channel and exchange that begin with one of these."""
        shelf = self._shelves.get(channel, {}).get(exchange)
        return [] if shelf is None else [name for name in shelf.by_name if name.startswith(starts)]

    def matching(self, selection: Selection) -> list[T]:
        """The values whose topics a selection wants, each once."""
        found: dict[T, None] = {}
        for channel, exchange, symbols in selection.parts():
            shelves = self._shelves.get(channel, {})
            if isinstance(exchange, str):
                near = [shelves[exchange]] if exchange in shelves else []
            else:
                near = [shelf for name, shelf in shelves.items() if exchange.matches(name)]
            for shelf in near:
                found.update(dict.fromkeys(shelf.find(symbols)))
        return list(found)
