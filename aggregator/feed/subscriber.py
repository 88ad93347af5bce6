"""One client of the feed: who it is, its queue, and what it wants."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain

from msgspec import UNSET

from aggregator.bus.history import Cursor
from aggregator.bus.selection import Pattern
from aggregator.feed.access import Access
from aggregator.feed.catching_up import CatchUp
from aggregator.feed.formats import PLAIN, encode, encode_message
from aggregator.feed.peer import Peer
from aggregator.feed.protocol import Bye, Hello, Notice, Reached, Reply, Schema
from aggregator.feed.status import SubscriberStatus
from aggregator.feed.subscriber_queue import Ring
from aggregator.records import Record

MOST_ANSWERS_BYTES = 64 * 1024  # a subscriber that leaves more of its answers unread is not heard

log = logging.getLogger("aggregator.feed")


class Subscriber:
    """One client; the hub's side of its connection (`feed/peer.py` says who calls what)."""

    def __init__(
        self,
        peer: Peer,
        ring: int,
        *,
        refill: "Callable[[Subscriber], bytes]",
        hear: "Callable[[Subscriber, bytes], None]",
        gone: "Callable[[Subscriber], None]",
    ) -> None:
        """Let at most `ring` records wait; `refill`, `hear` and `gone` are the methods of the hub that do the work."""
        self.peer = peer
        self.access: Access | None = None  # all that it may have; null until it has shown a token
        self.is_held = False  # nothing that it says is heard any more: it is to be hung up on
        self.patterns: dict[str, Pattern] = {}
        self.has_subscribed = False  # records may wait, and these are written in one way
        self.options = PLAIN
        self.ring = Ring(ring, lambda records: encode(records, self.options))
        self.has_later = False
        self.catch_up: CatchUp | None = None  # while it is told what it has missed
        self.epoch: str | None = None  # it is told cursors, of this epoch; null: it is told none
        self.hears = True  # it can be given an answer to which it says something else
        self._is_waiting = False  # for another process to say what it can have
        self._has_ended = False  # the far end will say no more
        self._told: Cursor | None = None  # the last cursor
        self._later: Iterator[bytes] = iter(())
        self._refill = refill
        self._hear = hear
        self._gone = gone

    def answer(self, message: Hello | Reply | Schema | Notice, lines: bytes = b"") -> None:
        """Queue an answer, and lines that belong to it."""
        self.ring.answer(encode_message(message, self.options) + lines, self.options)
        self.peer.wake()

    def tell(self, records: Sequence[Record]) -> None:
        """Queue records that are for this subscriber alone, and are never lost."""
        self.ring.answer(encode(records, self.options), self.options)
        self.peer.wake()

    def part(self, reason: str, *, is_over: bool = False) -> None:
        """Say why the feed hangs up, and do so once all is sent; `is_over`: nothing will ever follow."""
        self.is_held = True
        cursor = self._place(self.ring.last)
        if self.catch_up is not None:
            self.catch_up.stop()
            self.catch_up = None
        self.epoch = None  # no cursor comes behind the last word
        self.answer(Bye(reason, cursor=UNSET if cursor is None else cursor.text, over=is_over or UNSET))
        self.peer.finish()

    def _place(self, offset: int) -> Cursor | None:
        """The place that it has reached, in the stream behind this record; null where it is told no cursors."""
        if self.catch_up is not None:
            return self.catch_up.told
        return None if self.epoch is None else Cursor(self.epoch, offset)

    def _with_cursor(self, data: bytes) -> bytes:
        """Tell how far the records reach that are sent now, behind the last of them."""
        place = self._place(self.ring.offset)
        if place is None or place == self._told:
            return data
        self._told = place
        return data + encode_message(Reached(place.text), self.options)

    def told_later(self, lines: Iterator[bytes]) -> None:
        """Have these lines sent once nothing else waits."""
        self._later = chain(self._later, lines)
        self.has_later = True
        self.peer.wake()

    def later(self) -> bytes:
        """Some of what was to be sent once nothing else waits."""
        lines = next(self._later, b"")
        self.has_later = bool(lines)
        return lines

    def status(self) -> SubscriberStatus:
        ring = self.ring
        queued_bytes = ring.bytes + ring.answers + self.peer.unsent
        return SubscriberStatus(self.peer.name, list(self.patterns), ring.held, queued_bytes, ring.lags, ring.missed)

    # --- for the transport

    def refill(self) -> bytes:
        """Give what is to be sent next, in whole lines; empty when there is nothing."""
        try:
            data = self._refill(self)
            return data if self.epoch is None or not data else self._with_cursor(data)
        except Exception:
            log.exception("feed: %s is hung up on, for an error of ours", self.peer.name)
            self.peer.close()
            return b""

    @property
    def has_more(self) -> bool:
        """Tell whether `refill` may give something."""
        ring = self.ring
        return bool(ring.held or ring.answers or ring.wanted or self.has_later or self.catch_up is not None)

    @property
    def may_hear(self) -> bool:
        """Tell whether answers may be made now: a peer that leaves them unread is not heard."""
        return not (self.is_held or self._is_waiting) and self.ring.answers < MOST_ANSWERS_BYTES

    def hear(self, line: bytes) -> None:
        """Take a line, without its end."""
        self._do(partial(self._hear, self, line))

    def wait(self) -> None:
        """Take no line before `go_on`."""
        self._is_waiting = True

    def go_on(self, act: Callable[[], object]) -> None:
        """Do what was waited for, and take lines again."""
        self._is_waiting = False
        self._do(act)
        if self._has_ended:
            self.ended()
        self.peer.wake()

    def _do(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception:
            log.exception("feed: %s is hung up on, for an error of ours", self.peer.name)
            self.peer.close()

    def ended(self) -> None:
        """The far end will say no more: it is kept for what it subscribed to."""
        self._has_ended = True
        if not (self.patterns or self._is_waiting or self.is_held):
            self.part("nothing is subscribed, and nothing more will be asked for")

    def gone(self) -> None:
        """The connection is closed."""
        self._gone(self)
