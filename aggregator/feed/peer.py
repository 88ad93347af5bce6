"""The contract between the hub and a transport: a peer for each connection, a subscriber for each peer.

A transport accepts connections and carries bytes. For each connection it makes a `Peer`, shows it to the hub
(`welcome`), and drives the `Subscriber` that it gets for it:

- `refill()` gives what is to be sent next, always whole lines, and empty when there is nothing: the peer takes more
  whenever it has sent what it took, and once it is woken;
- `hear(line)` is called with each line that comes, without its end, as long as `may_hear`;
- `ended()` is called once the far end will say no more, and `gone()` once the connection is closed, however it was.
"""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from aggregator.bus.history import Beginning
    from aggregator.bus.insight import Insight
    from aggregator.bus.selection import Selection
    from aggregator.feed.access import Access, Gate
    from aggregator.feed.formats import Options
    from aggregator.feed.protocol import ListTopics, Ping, Reply, TakeSnapshot
    from aggregator.feed.subscriber import Subscriber


class Peer(Protocol):
    """The far end of one connection. Nothing here ever waits."""

    @property
    def name(self) -> str:
        """Its name, for logs: `unix:pid=12,uid=0`, `tcp:127.0.0.1:54321`."""

    @property
    def host(self) -> str:
        """The address that it came from, without a port; empty for this machine's own sockets."""

    @property
    def unsent(self) -> int:
        """Bytes that were taken to be sent, and could not be yet."""

    def wake(self) -> None:
        """There may be something to send."""

    def finish(self) -> None:
        """Hear no more, and close once everything is sent."""

    def close(self) -> None:
        """Close at once."""


class Host(Protocol):
    """The hub, as a transport sees it."""

    @property
    def gate(self) -> "Gate":
        """The tokens."""

    @property
    def is_ready(self) -> bool:
        """Tell whether who comes is served: the daemon does not end."""

    @property
    def insight(self) -> "Insight | None":
        """Whoever knows how the daemon fares; null: nobody does."""

    def welcome(self, peer: Peer, access: "Access | None") -> "Subscriber":
        """Take in whoever has connected; with `access` null it must show a token first."""

    def reply(
        self, request: "Ping | ListTopics | TakeSnapshot", options: "Options", access: "Access"
    ) -> "tuple[Reply, bytes]":
        """Answer what asks for no stream, with lines that belong to it. Raises BadRequest."""

    def records(
        self, wanted: "Selection", start: "Beginning", to: "Beginning", options: "Options"
    ) -> AsyncIterator[bytes]:
        """Give what was published between two places, as lines, some at a time. Raises BadRequest, BadStart."""

    @property
    def has_history(self) -> bool:
        """Tell whether what was published is kept."""

    def instruments(self, wanted: "Selection", options: "Options", access: "Access") -> Iterator[bytes]:
        """Give the instruments in force that are wanted and allowed, as lines, some at a time."""
