"""One client of the feed: its connection, its queue, and what it wants."""

import socket
import struct
from collections.abc import Callable

from msgspec import Struct

from aggregator.feed.connection import Connection
from aggregator.feed.formats import PLAIN, encode
from aggregator.feed.protocol import Hello, Reply, encode_message
from aggregator.feed.ring import Ring
from aggregator.feed.topics import Pattern

MOST_ANSWERS = 64 * 1024  # bytes of answers that a subscriber may leave unread before it is heard again
PEER = struct.Struct("3i")  # pid, uid, gid


class SubscriberStats(Struct, frozen=True):
    """One subscriber as it stands; `queued` records wait for it, `missed` of its records were lost in `lags` lags."""

    pid: int
    uid: int
    topics: list[str]
    queued: int
    queued_bytes: int
    lags: int
    missed: int


class Subscriber:
    """One client: its connection, its queue, and what it wants."""

    def __init__(
        self,
        sock: socket.socket,
        ring: int,
        *,
        refill: "Callable[[Subscriber], bytes]",
        hear: "Callable[[Subscriber, bytes], None]",
        closed: "Callable[[Subscriber], None]",
    ) -> None:
        """Take over an accepted socket; `ring` records may wait. The rest are the server's parts of a Connection."""
        self.pid, self.uid, _ = PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
        self.patterns: dict[str, Pattern] = {}
        self.options = PLAIN
        self.ring = Ring(ring, lambda records: encode(records, self.options))
        self.connection = Connection(
            sock,
            refill=lambda: refill(self),
            hear=lambda line: hear(self, line),
            may_hear=lambda: self.ring.answers < MOST_ANSWERS,
            ended=self._ended,
            closed=lambda: closed(self),
        )

    def _ended(self) -> None:
        """It will ask for nothing more: it is kept for what it subscribed to."""
        if not self.patterns:
            self.connection.finish()

    def answer(self, message: Hello | Reply, lines: bytes = b"") -> None:
        """Queue an answer, and lines that belong to it."""
        self.ring.answer(encode_message(message) + lines)
        self.connection.wake()

    def stats(self) -> SubscriberStats:
        ring = self.ring
        queued_bytes = ring.bytes + ring.answers + self.connection.unsent
        return SubscriberStats(self.pid, self.uid, list(self.patterns), ring.held, queued_bytes, ring.lags, ring.missed)
