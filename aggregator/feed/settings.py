"""The settings of the feed: plain values, already checked."""

from msgspec import Struct

from aggregator.feed.address import Address


class FeedSettings(Struct, frozen=True, kw_only=True):
    """Where subscribers connect, and what they may cost.

    listen: the addresses
    mode: the permissions of a unix socket
    group: its group, by name; null: that of the daemon
    ring: records kept for each client; one that is too slow loses its oldest
    max_clients: clients at once
    """

    listen: tuple[Address, ...]
    mode: int = 0o660
    group: str | None = None
    ring: int = 10_000
    max_clients: int = 1000
