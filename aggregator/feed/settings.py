"""The settings of the feed: plain values, already checked."""

from msgspec import Struct

from aggregator.feed.access import Token
from aggregator.feed.address import Address


class FeedSettings(Struct, frozen=True, kw_only=True):
    """Where subscribers connect, and what they may cost.

    listen: the addresses
    mode: the permissions of a unix socket
    group: its group, by name; null: that of the daemon
    ring: records kept for each client; one that is too slow loses its oldest
    max_clients: clients at once
    hosts: names by which HTTP may be spoken to beside those of this machine
    origins: sites whose pages may read by HTTP, like `https://charts.example`
    deflate: whether a WebSocket is compressed where its client asks for it
    tokens: those of which a client of a port must show one; none: it need not
    """

    listen: tuple[Address, ...]
    mode: int = 0o660
    group: str | None = None
    ring: int = 10_000
    max_clients: int = 1000
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    deflate: bool = False
    tokens: tuple[Token, ...] = ()
