"""When whole books are asked for: at once the first time, then ever more slowly until one has fitted for a while."""

from collections import deque
from collections.abc import Callable

from msgspec import Struct

from aggregator.exchange import Snapshot, Subscription
from aggregator.records import SECOND_NS
from aggregator.session.moment import NEVER_NS
from aggregator.session.subscriptions import Subscriptions

FIRST_RETRY_NS = SECOND_NS // 2  # before a whole book is asked for again; doubles each time
LAST_RETRY_NS = 60 * SECOND_NS
ANSWER_NS = 15 * SECOND_NS  # the line may take so long to bring a whole book


class Resync(Struct):
    """A whole book that is needed: when it is asked for, how often it has been, and by which of two ways."""

    due: int
    tries: int = 0
    asked: bool = False
    by_rest: bool = True  # if the stream may bring it as well, this is the way that has not failed


class BookResyncs:
    """The whole books that one connection needs, and how they are had: by REST, on the socket, or by resubscribing."""

    def __init__(
        self,
        snapshot: Snapshot | None,
        subscriptions: Subscriptions,
        outbox: deque[bytes],
        fetch: Callable[[str], None],
    ) -> None:
        """Begin with no need; `fetch` is called with the raw symbol of a book to ask for by REST."""
        self._snapshot = snapshot
        self._subscriptions = subscriptions
        self._outbox = outbox
        self._fetch = fetch
        self._resyncs: dict[str, Resync] = {}
        self._unasked: dict[str, Resync] = {}  # those that are to be asked for

    def need(self, raw_symbol: str, now: int, *, failed: bool = False) -> None:
        """Note that a book is needed (again); `failed` says that the last try did not bring it."""
        resync = self._resyncs.get(raw_symbol)
        if resync is None:
            self._resyncs[raw_symbol] = self._unasked[raw_symbol] = Resync(due=now)
        elif resync.asked:
            has_held = now - resync.due > LAST_RETRY_NS
            resync.tries = 0 if has_held else resync.tries + 1
            resync.due = now + (0 if has_held else min(FIRST_RETRY_NS << min(resync.tries, 10), LAST_RETRY_NS))
            resync.asked = False
            self._unasked[raw_symbol] = resync
            resync.by_rest = resync.by_rest != failed

    def remind(self, raw_symbol: str, now: int) -> None:
        """Ask again for a book that is still needed, if the socket has not answered in time."""
        resync = self._resyncs.get(raw_symbol)
        if resync is not None and resync.asked and not self._is_by_rest(resync) and now - resync.due > ANSWER_NS:
            self.need(raw_symbol, now, failed=True)

    def reminds(self, raw_symbol: str, now: int) -> int:
        """When a book that is still needed is to be asked for again, if the socket does not answer."""
        resync = self._resyncs[raw_symbol]
        if not resync.asked:
            return max(resync.due, now) + ANSWER_NS
        return NEVER_NS if self._is_by_rest(resync) else resync.due + ANSWER_NS + 1

    def knows(self, raw_symbol: str) -> bool:
        """Tell whether this book has been needed before."""
        return raw_symbol in self._resyncs

    def forget(self, raw_symbol: str | None) -> None:
        """Forget a book that is no longer wanted."""
        self._resyncs.pop(raw_symbol or "", None)
        self._unasked.pop(raw_symbol or "", None)

    def send(self, now: int) -> None:
        """Ask for the books that are due; those that are had by a new subscription all together."""
        if not self._unasked:
            return
        again: list[Subscription] = []
        for raw_symbol, resync in [(one, resync) for one, resync in self._unasked.items() if resync.due <= now]:
            del self._unasked[raw_symbol]
            resync.asked, resync.due = True, now
            if self._is_by_rest(resync):
                self._fetch(raw_symbol)
            elif self._snapshot is not None and self._snapshot.ask is not None:
                self._outbox.append(self._snapshot.ask(raw_symbol, self._subscriptions.next_id()))
            else:
                again.append(Subscription("book", raw_symbol))
        if again:
            self._subscriptions.resubscribe(again, now)

    def _is_by_rest(self, resync: Resync) -> bool:
        """Tell whether this try is a request."""
        snapshot = self._snapshot
        return snapshot is not None and snapshot.ask is None and (resync.by_rest or not snapshot.in_band)
