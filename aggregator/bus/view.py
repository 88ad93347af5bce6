"""The stream as it stands: live books and states of topics, after everything that was published.

Sinks and the feed ask here for what the stream does not repeat. In one process an exchange's runner answers out of its
sessions: their books are there already, and a second copy that follows the stream would cost memory and time for each
delta. Behind a process's border such a copy can take its place. Asking publishes nothing and changes nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from aggregator.records import BookSnapshot, Channel, Health


class View(Protocol):
    """One exchange as it stands after everything that was published of it."""

    def book(self, raw_symbol: str) -> BookSnapshot | None:
        """The live book of a market; null: there is none that can be trusted."""

    def books(self) -> Iterable[BookSnapshot]:
        """Every live book."""

    def health(self, channel: Channel, raw_symbol: str | None) -> Iterable[Health]:
        """The state of a topic, one for each connection that carries a part of it; none: nobody wants it."""

    def wanted(self) -> Iterable["Wanted"]:
        """Every topic that is wanted of it."""


class Wanted(NamedTuple):
    """A topic that is wanted, whether or not anything has come of it yet."""

    channel: Channel
    exchange: str
    raw_symbol: str
    symbol: str | None


class Views:
    """The views of all exchanges; what they give is stamped with the offset of the moment."""

    def __init__(self, offset: Callable[[], int]) -> None:
        """Begin without a view; `offset` gives that of the last record that was published."""
        self._offset = offset
        self._views: dict[str, View] = {}
        self._listeners: list[Callable[[Iterable[Wanted]], None]] = []

    def add(self, exchange: str, view: View) -> None:
        """Ask this view for an exchange from now on."""
        self._views[exchange] = view

    def remove(self, exchange: str, view: View) -> None:
        """Ask this view no more."""
        if self._views.get(exchange) is view:
            del self._views[exchange]

    def __contains__(self, exchange: str) -> bool:
        """Tell whether anything comes of an exchange."""
        return exchange in self._views

    def follow(self, listen: Callable[[Iterable[Wanted]], None]) -> None:
        """Tell a listener which topics are wanted: now, and whenever there are more."""
        self._listeners.append(listen)
        for view in self._views.values():
            listen(view.wanted())

    def leave(self, listen: Callable[[Iterable[Wanted]], None]) -> None:
        """Tell a listener nothing more."""
        self._listeners.remove(listen)

    def tell(self, wanted: Iterable[Wanted]) -> None:
        """Tell that these topics are wanted too."""
        for listen in self._listeners:
            listen(wanted)

    def book(self, exchange: str, raw_symbol: str) -> BookSnapshot | None:
        """One live book."""
        return next(iter(self.books(exchange, raw_symbol)), None)

    def books(self, exchange: str | None = None, raw_symbol: str | None = None) -> list[BookSnapshot]:
        """The live books of an exchange, a market, both, or all."""
        found: list[BookSnapshot] = []
        for view in self._views.values() if exchange is None else self._of(exchange):
            if raw_symbol is None:
                found += view.books()
            elif (book := view.book(raw_symbol)) is not None:
                found.append(book)
        for book in found:
            book.offset = self._offset()
        return found

    def health(self, channel: Channel, exchange: str, raw_symbol: str | None) -> Iterator[Health]:
        """The state of one topic."""
        for view in self._of(exchange):
            for found in view.health(channel, raw_symbol):
                found.offset = self._offset()
                yield found

    def _of(self, exchange: str) -> list[View]:
        return [self._views[exchange]] if exchange in self._views else []
