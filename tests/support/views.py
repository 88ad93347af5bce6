"""Views of exchanges that a test makes up or asks."""

from collections.abc import Iterable

from aggregator.bus.view import View, Wanted
from aggregator.records import BookSnapshot, Channel, Health


class Fixed:
    """An exchange whose books and states are as a test has put them; it remembers which books it was asked for."""

    def __init__(self, books: Iterable[BookSnapshot] = (), healths: Iterable[Health] = ()) -> None:
        self.live = {book.raw_symbol: book for book in books}
        self.healths = list(healths)
        self.asked: list[str | None] = []

    def book(self, raw_symbol: str) -> BookSnapshot | None:
        self.asked.append(raw_symbol)
        return self.live.get(raw_symbol)

    def books(self) -> list[BookSnapshot]:
        self.asked.append(None)
        return list(self.live.values())

    def health(self, channel: Channel, raw_symbol: str | None) -> list[Health]:
        return [health for health in self.healths if (health.channel, health.raw_symbol) == (channel, raw_symbol)]

    def wanted(self) -> list[Wanted]:
        topics = [(health.channel, health.exchange, health.raw_symbol, health.symbol) for health in self.healths]
        return [Wanted(channel, *names) for channel, *names in topics if channel is not None]  # type: ignore[arg-type]


def every_health(view: View) -> list[Health]:
    """The state of every topic that is wanted."""
    return [health for topic in view.wanted() for health in view.health(topic.channel, topic.raw_symbol)]
